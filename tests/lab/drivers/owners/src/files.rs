//! Instances, volumes, files opened below, their names, locks, sections and contexts.

use kernel::callback::{Callback, LockRange};
use kernel::context::{Context, ContextKind, ContextRef};
use kernel::file::{LowerFile, Open, Opened};
use kernel::fltkernel::{IRP_MJ_CREATE, STATUS_FLT_CONTEXT_ALREADY_DEFINED};
use kernel::name::{FileName, NameForm};
use kernel::pool::{PoolSlice, Tag};
use kernel::rename::{DELETE, Folder, NewName, POSIX, REPLACE};
use kernel::section::{self, Loan, Section};
use kernel::transaction::Transaction;
use kernel::{Result, Status};
use widestring::{U16Str, u16str};

use crate::{TAG, handle};

const GENERIC_READ: u32 = 0x8000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const DELETE_ACCESS: u32 = 0x0001_0000;
const FILE_READ_DATA: u32 = 0x1;
const SYNCHRONIZE: u32 = 0x0010_0000;
const FILE_OPEN: u32 = 1;
const FILE_CREATE: u32 = 2;
const FILE_OPENED: usize = 1;
const FILE_CREATED: usize = 2;
const FO_OPENED_CASE_SENSITIVE: u32 = 0x0002_0000;
const FILE_SYNCHRONOUS_IO_NONALERT: u32 = 0x20;
const FILE_ATTRIBUTE_READONLY: u32 = 0x1;
const FILE_ATTRIBUTE_HIDDEN: u32 = 0x2;
const FILE_ATTRIBUTE_DIRECTORY: u32 = 0x10;
const FILE_ATTRIBUTE_ARCHIVE: u32 = 0x20;
const FILE_ATTRIBUTE_REPARSE_POINT: u32 = 0x400;
const FILE_SUPPORTS_TRANSACTIONS: u32 = 0x0020_0000;
const SHARE_ALL: u32 = 7;

/// `STATUS_MAPPED_FILE_SIZE_ZERO`.
const MAPPED_FILE_SIZE_ZERO: Status = Status(0xC000_011E_u32 as i32);

/// The volume's device, and so the beginning of each name.
const VOLUME: &U16Str = u16str!(r"\Device\HarddiskVolume1");

/// An open of a file that all may share, for reading and writing, without a check.
fn plain(name: &U16Str) -> Open<'_> {
    Open {
        access: GENERIC_READ | GENERIC_WRITE | DELETE_ACCESS | SYNCHRONIZE,
        options: FILE_SYNCHRONOUS_IO_NONALERT,
        disposition: FILE_OPEN,
        share: SHARE_ALL,
        ..Open::look(name, false)
    }
}

fn open(data: &Callback<'_>, open: &Open<'_>) -> Result<Opened> {
    open.open(handle()?, data.instance())
}

fn opened(data: &Callback<'_>, name: &U16Str) -> Result<LowerFile> {
    Ok(open(data, &plain(name))?.file)
}

pub(crate) fn instance(data: &mut Callback<'_>) -> Result<()> {
    let kept = data.instance().reference()?;
    check!(kept.get().is(data.instance()));
    drop(kept);
    check!(data.volume().is_writable()?);
    let mut name = [0; 64];
    let length = data.volume().name(&mut name)?;
    check!(name.get(..length) == Some(VOLUME.as_slice()));
    check!(data.volume().name(&mut [0; 4]).err() == Some(Status::BUFFER_TOO_SMALL));
    let mut large = PoolSlice::<u16>::zeroed(TAG, 40_000)?;
    check!(data.volume().name(&mut large)? == length);
    check!(data.instance().file_system_attributes()? & FILE_SUPPORTS_TRANSACTIONS != 0);
    Ok(())
}

/// `C:\a` has ten digits, `C:\folder` is one, and `C:\new` is not there.
pub(crate) fn opens(data: &mut Callback<'_>) -> Result<()> {
    let a = u16str!(r"\Device\HarddiskVolume1\a");
    let looked = open(data, &Open::look(a, false))?;
    check!(looked.information == FILE_OPENED && looked.status == Status::SUCCESS);
    check!(looked.granted & FILE_READ_DATA == 0 && looked.file.is_open());
    check!(!looked.file.object().is_synchronous());
    looked.file.close();
    check!(!looked.file.is_open());
    looked.file.close();
    drop(looked);
    // At the link itself, and not at what it leads to.
    let link = open(data, &Open::look(u16str!(r"\Device\HarddiskVolume1\link"), false))?;
    check!(link.file.object().attributes(data.instance())? & FILE_ATTRIBUTE_REPARSE_POINT != 0);
    drop(link);
    let upper = u16str!(r"\Device\HarddiskVolume1\A");
    let sensitive = |case_sensitive, name| {
        open(data, &Open { case_sensitive, ..plain(name) })
            .map(|opened| opened.file.object().flags() & FO_OPENED_CASE_SENSITIVE != 0)
    };
    check!(!sensitive(false, upper)? && sensitive(true, a)?);
    let made = open(
        data,
        &Open {
            disposition: FILE_CREATE,
            attributes: FILE_ATTRIBUTE_HIDDEN,
            allocation: 8192,
            ..plain(u16str!(r"\Device\HarddiskVolume1\new"))
        },
    )?;
    let (file, instance) = (made.file.object(), data.instance());
    check!(made.information == FILE_CREATED && made.granted & FILE_READ_DATA != 0);
    check!(file.attributes(instance)? == FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_ARCHIVE);
    check!(file.end_of_file(instance)? == 0 && file.size()? == 0 && !file.is_directory(instance)?);
    check!(file.is_synchronous() && !file.is_transacted() && file.position() == 0);
    file.delete(instance)?;
    let kept = file.reference();
    made.file.close();
    check!(kept.object().flags() != 0);
    drop((kept, made));
    let folder = opened(data, u16str!(r"\Device\HarddiskVolume1\folder"))?;
    check!(folder.object().is_directory(instance)?);
    check!(folder.object().attributes(instance)? & FILE_ATTRIBUTE_DIRECTORY != 0);
    let first = opened(data, a)?;
    let second = opened(data, a)?;
    check!(first.object().id(instance)? == second.object().id(instance)?);
    check!(first.object().id(instance)? != folder.object().id(instance)?);
    let mut text = [0; 16];
    check!(first.object().read(instance, 2, &mut text)? == 8 && text.starts_with(b"23456789\0"));
    check!(first.object().position() == 0);
    check!(first.object().read(instance, 10, &mut text).err() == Some(Status::END_OF_FILE));
    check!(first.object().end_of_file(instance)? == 10 && first.object().size()? == 10);
    first.object().flush(instance)?;
    // In a transaction.
    let transaction = Transaction::begin()?;
    let object = transaction.object();
    let inside = open(
        data,
        &Open {
            disposition: FILE_CREATE,
            transaction: Some(&object),
            ..plain(u16str!(r"\Device\HarddiskVolume1\new"))
        },
    )?;
    check!(inside.file.object().is_transacted());
    drop((inside, object));
    transaction.rollback()?;
    check!(
        opened(data, u16str!(r"\Device\HarddiskVolume1\new")).err() == Some(Status::OBJECT_NAME_NOT_FOUND)
    );
    Ok(())
}

/// Nobody may do more than read `C:\guarded` but by an open that is not checked.
pub(crate) fn shares(data: &mut Callback<'_>) -> Result<()> {
    let a = u16str!(r"\Device\HarddiskVolume1\a");
    let alone = open(data, &Open { share: 0, ..plain(a) })?;
    check!(opened(data, a).err() == Some(Status::SHARING_VIOLATION));
    check!(open(data, &Open::look(a, false)).is_ok());
    check!(open(data, &Open { ignore_share: true, ..plain(a) }).is_ok());
    drop(alone);
    // And it is out of the way of others.
    let ignored = open(data, &Open { share: 0, ignore_share: true, ..plain(a) })?;
    check!(opened(data, a).is_ok());
    drop(ignored);
    let guarded = u16str!(r"\Device\HarddiskVolume1\guarded");
    check!(opened(data, guarded).is_ok() && open(data, &Open::look(guarded, false)).is_ok());
    check!(open(data, &Open { checked: true, ..plain(guarded) }).err() == Some(Status::ACCESS_DENIED));
    let reads = Open { checked: true, access: FILE_READ_DATA | SYNCHRONIZE, ..plain(guarded) };
    check!(open(data, &reads)?.granted & (FILE_READ_DATA | SYNCHRONIZE) == FILE_READ_DATA | SYNCHRONIZE);
    check!(open(data, &Open { checked: true, ..plain(a) }).is_ok());
    Ok(())
}

pub(crate) fn attributes(data: &mut Callback<'_>) -> Result<()> {
    let instance = data.instance();
    let file = opened(data, u16str!(r"\Device\HarddiskVolume1\a"))?;
    let before = file.object().basic(instance)?;
    file.object().set_attributes(instance, FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_READONLY)?;
    check!(file.object().attributes(instance)? == FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_READONLY);
    // None at all is something else than none that is said.
    file.object().set_attributes(instance, 0)?;
    let now = file.object().attributes(instance)?;
    check!(now & (FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_READONLY) == 0);
    file.object().set_attributes(instance, before.attributes)?;
    check!(file.object().attributes(instance)? == before.attributes);
    Ok(())
}

pub(crate) fn names(data: &mut Callback<'_>) -> Result<()> {
    let instance = data.instance();
    let own = FileName::of(data, NameForm::Opened)?;
    check!(own.full() == u16str!(r"\Device\HarddiskVolume1\a"));
    check!(own.volume_length() == VOLUME.len() && own.stream().is_empty());
    let file = opened(data, u16str!(r"\Device\HarddiskVolume1\first"))?;
    let full = |file: &LowerFile, name: &U16Str| {
        FileName::of_open(file.object(), instance).map(|known| known.full() == name)
    };
    check!(full(&file, u16str!(r"\Device\HarddiskVolume1\first"))?);
    // Another name in its folder; not over one that is there, unless that is said.
    let to = |name, folder, flags| NewName { folder, name, flags };
    file.object().rename(instance, &to(u16str!("b"), None, 0))?;
    check!(full(&file, u16str!(r"\Device\HarddiskVolume1\b"))?);
    let collision = file.object().rename(instance, &to(u16str!("c"), None, 0));
    check!(collision == Err(Status::OBJECT_NAME_COLLISION));
    file.object().rename(instance, &to(u16str!("c"), None, REPLACE))?;
    // With a reader of what is there: by POSIX semantics only.
    let reader = opened(data, u16str!(r"\Device\HarddiskVolume1\d"))?;
    check!(file.object().rename(instance, &to(u16str!("d"), None, REPLACE)) == Err(Status::ACCESS_DENIED));
    file.object().rename(instance, &to(u16str!("d"), None, REPLACE | POSIX))?;
    drop(reader);
    check!(full(&file, u16str!(r"\Device\HarddiskVolume1\d"))?);
    // In another folder, and a link back.
    let place = open(data, &Open::look(u16str!(r"\Device\HarddiskVolume1\folder"), false))?.file;
    let folder = Folder::of(place.object())?;
    file.object().rename(instance, &to(u16str!("longer than before"), Some(&folder), 0))?;
    check!(full(&file, u16str!(r"\Device\HarddiskVolume1\folder\longer than before"))?);
    file.object().link(instance, &to(u16str!("e"), Some(&folder), 0))?;
    let over = file.object().link(instance, &to(u16str!("there"), Some(&folder), 0));
    check!(over == Err(Status::OBJECT_NAME_COLLISION));
    file.object().link(instance, &to(u16str!("there"), Some(&folder), REPLACE))?;
    let also = opened(data, u16str!(r"\Device\HarddiskVolume1\folder\also"))?;
    check!(
        file.object().link(instance, &to(u16str!("also"), Some(&folder), REPLACE))
            == Err(Status::ACCESS_DENIED)
    );
    file.object().link(instance, &to(u16str!("also"), Some(&folder), REPLACE | POSIX))?;
    drop(also);
    let linked = opened(data, u16str!(r"\Device\HarddiskVolume1\folder\also"))?;
    check!(linked.object().id(instance)? == file.object().id(instance)?);
    // Deleted, and not after all; and by POSIX semantics at once.
    linked.object().dispose(instance, DELETE)?;
    let name = u16str!(r"\Device\HarddiskVolume1\folder\also");
    check!(opened(data, name).err() == Some(Status::DELETE_PENDING));
    linked.object().dispose(instance, 0)?;
    drop(opened(data, name)?);
    linked.object().dispose(instance, DELETE | POSIX)?;
    linked.close();
    check!(opened(data, name).err() == Some(Status::OBJECT_NAME_NOT_FOUND));
    drop((folder, place));
    Ok(())
}

pub(crate) fn sections(data: &mut Callback<'_>) -> Result<()> {
    let file = opened(data, u16str!(r"\Device\HarddiskVolume1\a"))?;
    check!(!section::is_mapped(file.object()) && !section::is_written_through_views(file.object()));
    let made = Section::over(&file)?;
    check!(section::is_mapped(file.object()) && !section::is_written_through_views(file.object()));
    drop(made);
    check!(!section::is_mapped(file.object()));
    // Lent for a while.
    let borrower = opened(data, u16str!(r"\Device\HarddiskVolume1\c"))?;
    let made = Section::over(&file)?;
    check!(!section::is_mapped(borrower.object()));
    let loan = Loan::make(borrower.object(), file.object());
    check!(section::is_mapped(borrower.object()));
    drop(loan);
    check!(!section::is_mapped(borrower.object()));
    drop(made);
    let empty = opened(data, u16str!(r"\Device\HarddiskVolume1\empty"))?;
    check!(Section::over(&empty).err() == Some(MAPPED_FILE_SIZE_ZERO));
    Ok(())
}

pub(crate) fn byte_range_locks(data: &mut Callback<'_>) -> Result<()> {
    let instance = data.instance();
    let a = u16str!(r"\Device\HarddiskVolume1\a");
    let (one, two) = (opened(data, a)?, opened(data, a)?);
    let range = |exclusive| LockRange { offset: 0, length: 4, key: 0, exclusive };
    one.object().lock(instance, &range(false))?;
    // With others, but not alone, and nothing is waited for.
    two.object().lock(instance, &range(false))?;
    check!(two.object().lock(instance, &range(true)) == Err(Status::LOCK_NOT_GRANTED));
    two.object().unlock_all(instance)?;
    one.object().unlock_all(instance)?;
    two.object().lock(instance, &range(true))?;
    check!(one.object().lock(instance, &range(false)) == Err(Status::LOCK_NOT_GRANTED));
    two.object().unlock_all(instance)?;
    one.object().lock(instance, &range(true))?;
    one.object().unlock_all(instance)?;
    Ok(())
}

/// What is noted of a handle.
pub(crate) struct Noted(u64);

impl Context for Noted {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

/// Another thing that could be noted of a handle.
pub(crate) struct Other([u64; 4]);

impl Context for Other {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

/// What is noted of an instance.
pub(crate) struct OfInstance(u64);

impl Context for OfInstance {
    const KIND: ContextKind = ContextKind::Instance;
    const TAG: Tag = TAG;
}

pub(crate) fn contexts(data: &mut Callback<'_>) -> Result<()> {
    check!(data.major() == IRP_MJ_CREATE);
    let (instance, file) = (data.instance(), data.file().ok_or(Status::NOT_FOUND)?);
    check!(ContextRef::<Noted>::of_handle(instance, file)?.is_none());
    let noted = ContextRef::new(handle()?, Noted(3))?;
    let other = ContextRef::new(handle()?, Noted(4))?;
    check!(noted.is(&noted.clone()) && !noted.is(&other));
    noted.set_on_handle(instance, file)?;
    check!(other.set_on_handle(instance, file) == Err(Status(STATUS_FLT_CONTEXT_ALREADY_DEFINED)));
    drop((noted, other));
    check!(ContextRef::<Noted>::of_handle(instance, file)?.is_some_and(|noted| noted.0 == 3));
    // What is there is of another type.
    check!(ContextRef::<Other>::of_handle(instance, file)?.is_none());
    let unused = ContextRef::new(handle()?, Other([7; 4]))?;
    check!(unused.0 == [7; 4]);
    check!(ContextRef::<OfInstance>::of_instance(instance).err() == Some(Status::NOT_FOUND));
    let own = ContextRef::new(handle()?, OfInstance(5))?;
    own.set_on_instance(instance)?;
    check!(ContextRef::<OfInstance>::of_instance(instance)?.0 == 5);
    Ok(())
}
