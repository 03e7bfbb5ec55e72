//! Operations other than creates: what a callback sees of each, and how answers and what they carry go back.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use kernel::access::AccessEdit;
use kernel::callback::{Before, Callback, Create, LockRange, LockRequest, Operation, Parcel, Range};
use kernel::file::FileObject;
use kernel::fltkernel::*;
use kernel::pool::PoolBox;
use kernel::{Result, Status};
use widestring::u16str;

use crate::{TAG, way};

/// What is done with every operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its parameters are looked at, and its end.
    Parameters,
    /// It is not to come in a fast form.
    Refuses,
    /// It comes back in its own thread.
    Synchronizes,
    /// Queries are answered by the driver itself.
    Completes,
    /// One comes back; what else is under way when the driver goes is drained.
    Drains,
}

/// What is carried: it must be released by hand.
pub(crate) struct Carried {
    major: u8,
    kept: ManuallyDrop<PoolBox<u64>>,
}

const KEPT: u64 = 0x0123_4567_89AB_CDEF;

impl Carried {
    fn pack(major: u8) -> Result<Parcel<Carried>> {
        Parcel::new(TAG, Carried { major, kept: ManuallyDrop::new(PoolBox::new(TAG, KEPT)?) })
    }

    /// Releases it. Whether it is what was carried.
    fn release(parcel: Parcel<Carried>, major: Option<u8>) -> bool {
        let Carried { major: carried, kept } = parcel.unpack();
        let kept = ManuallyDrop::into_inner(kept);
        *kept == KEPT && major.is_none_or(|major| major == carried)
    }
}

/// The first check that failed where nobody could be told.
static FAILED: AtomicI32 = AtomicI32::new(0);

/// What failed since.
pub(crate) fn failure() -> Result<()> {
    Status(FAILED.load(Ordering::Acquire)).ok()
}

fn note(result: Result<()>) {
    if let Err(status) = result {
        FAILED.store(status.0, Ordering::Release);
    }
}

/// How many came back where most are to be drained.
static BACK: AtomicUsize = AtomicUsize::new(0);

/// An operation.
pub(crate) struct Watched<const MAJOR: u8>;

impl<const MAJOR: u8> Operation for Watched<MAJOR> {
    const MAJOR: u8 = MAJOR;
    type Carry = Parcel<Carried>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let Some(way) = way() else { return Before::Pass };
        if way == Way::Refuses || way == Way::Drains && data.is_fast_io() {
            return Before::DisallowFastIo;
        }
        if way == Way::Completes && MAJOR == IRP_MJ_QUERY_INFORMATION {
            return Before::Complete(Status::SUCCESS, ANSWERED);
        }
        if way == Way::Parameters {
            note(parameters(data));
        }
        match Carried::pack(MAJOR) {
            Ok(carried) if way == Way::Synchronizes => Before::Synchronize(carried),
            Ok(carried) => Before::Watch(carried),
            Err(_) => Before::Pass,
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        if way() == Some(Way::Drains) && BACK.fetch_add(1, Ordering::AcqRel) != 0 {
            // It is left, and so found.
            return;
        }
        let carried = Carried::release(carry, Some(data.major()));
        let ended = || {
            check!(carried);
            // How much was written goes with the status.
            check!(MAJOR != IRP_MJ_WRITE || !data.status().is_success() || data.information() == WRITTEN);
            Ok(())
        };
        note(ended());
    }

    fn drained(carry: Self::Carry) {
        Carried::release(carry, None);
    }
}

/// How many bytes a query is told that it has got.
const ANSWERED: usize = 3;
/// What the program writes, in bytes.
const WRITTEN: usize = 1;

const FILE_END_OF_FILE_INFORMATION: u32 = 20;
const FILE_RENAME_INFORMATION: u32 = 10;
const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;
const FILE_SHARE_ALL: u16 = 7;
/// `IRP_CREATE_OPERATION`, `IRP_SYNCHRONOUS_API`, `IRP_DEFER_IO_COMPLETION`.
const OF_A_CREATE: u32 = 0x80 | 0x4 | 0x800;

/// Each operation shows its own parameters, and none of another.
fn parameters(data: &mut Callback<'_>) -> Result<()> {
    let major = data.major();
    check!(data.range().is_some() == matches!(major, IRP_MJ_READ | IRP_MJ_WRITE));
    let has_class = matches!(major, IRP_MJ_QUERY_INFORMATION | IRP_MJ_SET_INFORMATION);
    check!(data.information_class().is_some() == has_class);
    check!(data.control_code().is_some() == (major == IRP_MJ_FILE_SYSTEM_CONTROL));
    check!(data.lock_request().is_some() == (major == IRP_MJ_LOCK_CONTROL && !data.is_fast_io()));
    check!(data.create().is_some() == (major == IRP_MJ_CREATE));
    check!(data.has_transaction() == data.transaction().is_some());
    check!(data.has_transaction() == data.file().is_some_and(FileObject::is_transacted));
    if major == IRP_MJ_CREATE {
        check!(data.irp_flags() & OF_A_CREATE == OF_A_CREATE && !data.is_fast_io());
    } else {
        no_create(data)?;
    }
    if major == IRP_MJ_SET_INFORMATION {
        set_information(data)?;
    } else {
        check!(data.new_end_of_file().is_none() && data.information_buffer().is_empty());
        check!(data.target_folder().is_none());
    }
    match major {
        IRP_MJ_WRITE => check!(data.range() == Some(Range { offset: 3, length: WRITTEN as u32 })),
        IRP_MJ_LOCK_CONTROL => lock(data)?,
        IRP_MJ_FILE_SYSTEM_CONTROL => control(data)?,
        _ => {}
    }
    check!(major == IRP_MJ_FILE_SYSTEM_CONTROL || data.zero_range().is_none());
    let section = major == IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION;
    check!(section || !data.creates_section() && !data.creates_writable_section());
    check!(!data.creates_image_section() && (!data.creates_writable_section() || data.creates_section()));
    Ok(())
}

/// What is about creates does nothing to others.
fn no_create(data: &mut Callback<'_>) -> Result<()> {
    check!(data.create_ea().is_empty() && data.may_name_stream());
    let nothing =
        Create { access: 0, disposition: 0, options: 0, attributes: 0, share: FILE_SHARE_ALL, allocation: 1 };
    data.set_create(&nothing);
    check!(data.replace_name(u16str!(r"\b")) == Err(Status::INVALID_PARAMETER));
    check!(AccessEdit::begin(data, 0, TAG).err() == Some(Status::INVALID_PARAMETER));
    Ok(())
}

fn set_information(data: &Callback<'_>) -> Result<()> {
    let class = data.information_class();
    let buffer = data.information_buffer();
    if class == Some(FILE_END_OF_FILE_INFORMATION) {
        check!(data.new_end_of_file() == Some(7) && buffer == 7_i64.to_le_bytes());
    } else {
        check!(data.new_end_of_file().is_none() && buffer.len() >= 8);
    }
    check!(data.target_folder().is_some() == (class == Some(FILE_RENAME_INFORMATION)));
    Ok(())
}

/// Minor functions of a lock request.
const IRP_MN_LOCK: u8 = 1;
const IRP_MN_UNLOCK_SINGLE: u8 = 2;

fn lock(data: &Callback<'_>) -> Result<()> {
    let Some(request) = data.lock_request() else { return Ok(()) };
    check!(request.minor == data.minor() && matches!(request.minor, IRP_MN_LOCK | IRP_MN_UNLOCK_SINGLE));
    // An odd length is locked alone, and not waited for.
    let exclusive = request.range.length == 1 && request.minor == IRP_MN_LOCK;
    let range = LockRange { offset: 1, length: request.range.length, key: 0, exclusive };
    check!(request == LockRequest { minor: request.minor, range, waits: !exclusive });
    Ok(())
}

fn control(data: &Callback<'_>) -> Result<()> {
    let zeroes = data.control_code() == Some(FSCTL_SET_ZERO_DATA);
    // The program gives another control sixteen bytes, and this one too few once.
    check!(data.zero_range().is_none_or(|range| zeroes && range == (2, 5)));
    ZEROED.fetch_add(usize::from(data.zero_range().is_some()), Ordering::AcqRel);
    Ok(())
}

/// How many ranges were zeroed.
static ZEROED: AtomicUsize = AtomicUsize::new(0);

/// A create. That of a new file is the last: one range was zeroed, of two that were asked for. One that does not mind
/// whether the file is there is relative to a folder.
pub(crate) fn create(data: &mut Callback<'_>) -> Result<()> {
    const FILE_CREATE: u32 = 2;
    const FILE_OPEN_IF: u32 = 3;
    let disposition = data.create().map(|create| create.disposition);
    check!(disposition != Some(FILE_CREATE) || ZEROED.load(Ordering::Acquire) == 1);
    let is_relative = disposition == Some(FILE_OPEN_IF);
    check!(data.file().is_some_and(FileObject::is_relative) == is_relative);
    if is_relative {
        check!(data.replace_name(u16str!(r"\a")) == Err(Status::INVALID_PARAMETER));
        // A stream of what is there.
        check!(data.may_name_stream());
    }
    parameters(data)
}
