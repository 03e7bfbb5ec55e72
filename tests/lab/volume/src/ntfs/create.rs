//! Create: finding or making the file, and the checks on the way, in the order of NTFS.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitflags::bitflags;

use super::record::{
    Change, Ea, Entry, FileId, FileRecord, Link, ROOT, RecordNumber, Reparse, Stream, Times,
};
use super::security::{self, Subject, access, attributes};
use super::{Open, OpenId, View, Volume};
use crate::Status;
use crate::ktm::{Ktm, Mask, Participant, TxId};
use crate::names::{Key, Path, Wide};

bitflags! {
    /// FILE_SHARE_*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Share: u32 {
        /// Others may read.
        const READ = 1;
        /// Others may write.
        const WRITE = 2;
        /// Others may delete and rename.
        const DELETE = 4;
    }
}

bitflags! {
    /// The create options that the file system looks at, by their NT values. Others may be set and are the
    /// I/O manager's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct Options: u32 {
        /// FILE_DIRECTORY_FILE.
        const DIRECTORY_FILE = 0x1;
        /// FILE_NON_DIRECTORY_FILE.
        const NON_DIRECTORY_FILE = 0x40;
        /// FILE_DELETE_ON_CLOSE.
        const DELETE_ON_CLOSE = 0x1000;
        /// FILE_OPEN_BY_FILE_ID: said by [`Target::Id`], ignored here.
        const OPEN_BY_FILE_ID = 0x2000;
        /// FILE_OPEN_REPARSE_POINT.
        const OPEN_REPARSE_POINT = 0x20_0000;
        const _ = !0;
    }
}

/// The create disposition, by its NT value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Disposition {
    /// Replace what is there, or create.
    Supersede = 0,
    /// Open what is there.
    #[default]
    Open = 1,
    /// Create; fail if there is something.
    Create = 2,
    /// Open, or create.
    OpenIf = 3,
    /// Empty what is there.
    Overwrite = 4,
    /// Empty what is there, or create.
    OverwriteIf = 5,
}

impl Disposition {
    /// From its NT value.
    pub fn from_nt(value: u32) -> Option<Disposition> {
        use Disposition::*;
        [Supersede, Open, Create, OpenIf, Overwrite, OverwriteIf].get(value as usize).copied()
    }

    fn replaces(self) -> bool {
        matches!(self, Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf)
    }
}

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A path from the root of the volume, `\dir\file:stream`. Empty is the volume itself.
    Path(Wide),
    /// A path below an open directory; empty reopens, `:stream` opens a stream of an open file.
    Relative(OpenId, Wide),
    /// A file id.
    Id(FileId),
}

/// Everything that a create is asked.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// What to open.
    pub target: Target,
    /// Desired access; generic rights and MAXIMUM_ALLOWED are understood.
    pub access: u32,
    /// Share access.
    pub share: Share,
    /// Create disposition.
    pub disposition: Disposition,
    /// Create options.
    pub options: Options,
    /// Attributes for a new or replaced file.
    pub attributes: u32,
    /// Self-relative security descriptor for a new file; `None` copies the directory's.
    pub security: Option<Arc<[u8]>>,
    /// EAs for a new or replaced file.
    pub ea: Vec<Ea>,
    /// Bytes to allocate for a new or replaced file.
    pub allocation: u64,
    /// The transaction of the create (the I/O manager's transaction parameter block, default view).
    pub transaction: Option<TxId>,
    /// The requesting process.
    pub process: u64,
    /// IO_IGNORE_SHARE_ACCESS_CHECK: neither checked nor recorded. The transactional lock matrix still
    /// applies; whether it does on Windows is unknown.
    pub ignore_share: bool,
    /// On whose behalf access is checked; `None` is kernel mode without a forced check.
    pub subject: Option<Subject>,
    /// SL_OPEN_TARGET_DIRECTORY: open the parent instead, and say whether the last component exists.
    pub open_target_directory: bool,
}

impl CreateRequest {
    /// A request to open a path, with all sharing and no rights; change the fields that matter.
    pub fn path(path: &str) -> CreateRequest {
        CreateRequest::new(Target::Path(path.into()))
    }

    /// As [`path`](CreateRequest::path), for any target.
    pub fn new(target: Target) -> CreateRequest {
        CreateRequest {
            target,
            access: 0,
            share: Share::all(),
            disposition: Disposition::Open,
            options: Options::empty(),
            attributes: 0,
            security: None,
            ea: Vec::new(),
            allocation: 0,
            transaction: None,
            process: 0,
            ignore_share: false,
            subject: None,
            open_target_directory: false,
        }
    }

    /// With this desired access.
    pub fn access(self, access: u32) -> CreateRequest {
        CreateRequest { access, ..self }
    }

    /// With this share access.
    pub fn share(self, share: Share) -> CreateRequest {
        CreateRequest { share, ..self }
    }

    /// With this disposition.
    pub fn disposition(self, disposition: Disposition) -> CreateRequest {
        CreateRequest { disposition, ..self }
    }

    /// With these options.
    pub fn options(self, options: Options) -> CreateRequest {
        CreateRequest { options, ..self }
    }

    /// Inside this transaction.
    pub fn inside(self, transaction: TxId) -> CreateRequest {
        CreateRequest { transaction: Some(transaction), ..self }
    }
}

/// What a create did, by the NT value of IoStatus.Information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// FILE_SUPERSEDED.
    Superseded = 0,
    /// FILE_OPENED.
    Opened = 1,
    /// FILE_CREATED.
    Created = 2,
    /// FILE_OVERWRITTEN.
    Overwritten = 3,
    /// FILE_EXISTS, from a target-directory open.
    Exists = 4,
    /// FILE_DOES_NOT_EXIST, from a target-directory open.
    DoesNotExist = 5,
}

/// A successful create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The open.
    pub open: OpenId,
    /// What happened.
    pub action: Action,
    /// The rights that the open has.
    pub granted: u32,
    /// The file.
    pub id: FileId,
    /// Whether it is a directory.
    pub directory: bool,
    /// For a target-directory open: the last component, to rename or link to.
    pub last_component: Option<Wide>,
}

/// A create that ran into a reparse point: STATUS_REPARSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReparseStop {
    /// The reparse point.
    pub reparse: Reparse,
    /// Units of the path after the reparse point, the separator included.
    pub unparsed: u16,
}

/// How a create ended, if not with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Create {
    /// With an open.
    Opened(Created),
    /// With STATUS_REPARSE.
    Reparse(ReparseStop),
}

impl Create {
    /// The open.
    ///
    /// # Errors
    /// [`Status::REPARSE`].
    pub fn opened(self) -> Result<Created, Status> {
        match self {
            Create::Opened(created) => Ok(created),
            Create::Reparse(_) => Err(Status::REPARSE),
        }
    }
}

/// A name, and what is there.
struct Found {
    /// `None` for an open by id and for the root.
    link: Option<Link>,
    record: Option<RecordNumber>,
    path: Path,
}

enum Walk {
    Found(Found),
    Stopped(ReparseStop),
}

impl Volume {
    /// Opens, creates, overwrites or supersedes. `ktm` says whether the transaction is active, and takes the
    /// volume's enlistment at its first use.
    ///
    /// # Errors
    /// Those of NtCreateFile. For transactions: TRANSACTION_NOT_ACTIVE after its end (`txf-ktm §4.4`),
    /// [`no_transactions`](crate::Switches::no_transactions) and RM_NOT_ACTIVE (`§4.12`),
    /// TRANSACTION_FREEZE_IN_PROGRESS, and the conflicts of `§4.2` and `§4.3`.
    pub fn create(&mut self, ktm: &mut Ktm, request: CreateRequest) -> Result<Create, Status> {
        self.report_aborts(ktm);
        if self.disk.power_is_gone() {
            return Err(Status::DEVICE_POWER_FAILURE);
        }
        if request.options.contains(Options::DIRECTORY_FILE)
            && (request.options.contains(Options::NON_DIRECTORY_FILE) || request.disposition.replaces())
        {
            return Err(Status::INVALID_PARAMETER);
        }
        if let Some(tx) = request.transaction {
            self.admit(ktm, tx)?;
        }
        let created = self.create_admitted(request)?;
        self.lazy_writer();
        Ok(created)
    }

    /// Lets a transaction do its first or next open here.
    fn admit(&mut self, ktm: &mut Ktm, tx: TxId) -> Result<(), Status> {
        if !ktm.is_active(tx) {
            return Err(Status::TRANSACTION_NOT_ACTIVE);
        }
        if !self.switches.transactions {
            return Err(self.switches.no_transactions);
        }
        if !self.switches.resource_manager_active {
            return Err(Status::RM_NOT_ACTIVE);
        }
        if ktm.is_frozen() {
            return Err(Status::TRANSACTION_FREEZE_IN_PROGRESS);
        }
        ktm.enlist(tx, Participant::Volume(self.number), Mask::RESOURCE_MANAGER)?;
        self.transactions.entry(tx).or_default();
        self.boundary(tx);
        self.report_aborts(ktm);
        if self.transactions.contains_key(&tx) { Ok(()) } else { Err(Status::TRANSACTION_NOT_ACTIVE) }
    }

    fn create_admitted(&mut self, request: CreateRequest) -> Result<Create, Status> {
        if request.target == Target::Path(Wide::new()) {
            return self.open_volume(&request).map(Create::Opened);
        }
        let found = match self.find(&request)? {
            Walk::Found(found) => found,
            Walk::Stopped(stop) => return Ok(Create::Reparse(stop)),
        };
        if request.open_target_directory {
            return self.open_parent(&request, found).map(Create::Opened);
        }
        let Some(number) = found.record else { return self.create_file(&request, found).map(Create::Opened) };
        let record =
            self.record(View::of(request.transaction), number).ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
        if let Some(reparse) = &record.reparse
            && !request.options.contains(Options::OPEN_REPARSE_POINT)
        {
            return Ok(Create::Reparse(ReparseStop { reparse: reparse.clone(), unparsed: 0 }));
        }
        self.open_existing(&request, found, number).map(Create::Opened)
    }

    fn open_volume(&mut self, request: &CreateRequest) -> Result<Created, Status> {
        if request.transaction.is_some() {
            return Err(Status::TRANSACTIONAL_OPEN_NOT_ALLOWED);
        }
        let granted = security::map_generic(request.access & !access::MAXIMUM_ALLOWED);
        let open = Open { volume: true, access: granted, ..Open::of(request, FileId(0)) };
        Ok(Created {
            open: self.insert(open),
            action: Action::Opened,
            granted,
            id: FileId(0),
            directory: false,
            last_component: None,
        })
    }

    /// Walks to the target. Path errors end the walk, a missing last component does not.
    fn find(&mut self, request: &CreateRequest) -> Result<Walk, Status> {
        let view = View::of(request.transaction);
        let (start, link, units) = match &request.target {
            Target::Path(path) => (ROOT, None, path.clone()),
            Target::Relative(base, path) => {
                if path.0.first() == Some(&u16::from(b'\\')) {
                    return Err(Status::OBJECT_NAME_INVALID);
                }
                let base = self.open(*base)?;
                (base.file.number(), base.link.clone(), path.clone())
            }
            Target::Id(id) => {
                let record = self.record(view, id.number()).filter(|r| r.sequence == (id.0 >> 48) as u16);
                // The delete sample of Microsoft's relies on INVALID_PARAMETER for a file that is gone
                // (`txf-ktm §3`).
                let record = record.filter(|r| !r.links.is_empty() || id.number() == ROOT);
                let record = record.ok_or(Status::INVALID_PARAMETER)?;
                (id.number(), record.links.first().cloned(), Wide::new())
            }
        };
        let path = Path::parse(&units.0).ok_or(Status::OBJECT_NAME_INVALID)?;
        if start == ROOT && path.components.first().is_some_and(|name| is_metadata_file(name)) {
            let inside = request.transaction.is_some();
            return Err(if inside { Status::TRANSACTIONAL_OPEN_NOT_ALLOWED } else { Status::ACCESS_DENIED });
        }
        let mut found = Found { link, record: Some(start), path };
        let components = found.path.components.clone();
        let mut unparsed = units.0.len() - usize::from(units.0.first() == Some(&u16::from(b'\\')));
        for (index, name) in components.iter().enumerate() {
            let parent = found.record.ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            let record = self.record(view, parent).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            if let Some(reparse) = record.reparse.clone().filter(|_| index > 0) {
                let unparsed = unparsed as u16 + 1;
                return Ok(Walk::Stopped(ReparseStop { reparse, unparsed }));
            }
            if !record.directory {
                return Err(Status::OBJECT_PATH_NOT_FOUND);
            }
            let entry = self.lookup(view, parent, &Key::of(&name.0));
            let last = index + 1 == components.len();
            found.record = entry.map(|entry| entry.target);
            let name = entry.filter(|_| found.record.is_some()).map_or(name, |entry| &entry.name).clone();
            unparsed = unparsed.saturating_sub(components[index].0.len() + usize::from(!last));
            found.link = Some(Link { parent, name });
        }
        Ok(Walk::Found(found))
    }

    fn open_parent(&mut self, request: &CreateRequest, found: Found) -> Result<Created, Status> {
        let link = found.link.ok_or(Status::OBJECT_NAME_INVALID)?;
        let action = if found.record.is_some() { Action::Exists } else { Action::DoesNotExist };
        let view = View::of(request.transaction);
        let parent = self.record(view, link.parent).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
        let above = parent.links.first().cloned();
        let mut request = request.clone();
        request.disposition = Disposition::Open;
        request.options = Options::DIRECTORY_FILE;
        // The name as asked for, not as stored: a rename may change nothing but its case.
        let asked = found.path.components.last().cloned();
        let path = Path { components: Vec::new(), stream: None, names_data: false, trailing: false };
        let found = Found { link: above, record: Some(link.parent), path };
        let opened = self.open_existing(&request, found, link.parent)?;
        Ok(Created { action, last_component: asked, ..opened })
    }

    fn open_existing(
        &mut self,
        request: &CreateRequest,
        found: Found,
        number: RecordNumber,
    ) -> Result<Created, Status> {
        let view = View::of(request.transaction);
        let record = self.record(view, number).ok_or(Status::OBJECT_NAME_NOT_FOUND)?.clone();
        let key = found.path.stream.as_ref().map_or(Key::default(), |name| Key::of(&name.0));
        if self.is_doomed(view, number, &key) {
            return Err(Status::DELETE_PENDING);
        }
        let whole = key.is_empty();
        let exists = whole || record.streams.contains_key(&key);
        if !exists && matches!(request.disposition, Disposition::Open | Disposition::Overwrite) {
            return Err(Status::OBJECT_NAME_NOT_FOUND);
        }
        if exists && request.disposition == Disposition::Create {
            return Err(Status::OBJECT_NAME_COLLISION);
        }
        let as_directory = record.directory && whole && !found.path.names_data;
        let wants_directory = request.options.contains(Options::DIRECTORY_FILE) || found.path.trailing;
        if wants_directory && !as_directory {
            return Err(Status::NOT_A_DIRECTORY);
        }
        if as_directory && request.options.contains(Options::NON_DIRECTORY_FILE) {
            return Err(Status::FILE_IS_A_DIRECTORY);
        }
        if record.directory && whole && (found.path.names_data || request.disposition.replaces()) {
            return Err(if found.path.names_data {
                Status::FILE_IS_A_DIRECTORY
            } else {
                Status::OBJECT_NAME_COLLISION
            });
        }
        let replaces = exists && request.disposition.replaces();
        let implied = implied_access(request.disposition, replaces);
        let granted = self.grant(request, &found, &record, number, implied)?;
        if request.options.contains(Options::DELETE_ON_CLOSE) {
            if record.attributes & attributes::READONLY != 0 || number == ROOT {
                return Err(Status::CANNOT_DELETE);
            }
            if granted & access::DELETE == 0 {
                return Err(Status::INVALID_PARAMETER);
            }
        }
        if replaces && whole {
            // A replaced file keeps neither a hidden nor a system attribute that the caller did not ask for.
            let protected = record.attributes & (attributes::HIDDEN | attributes::SYSTEM);
            if protected & !request.attributes != 0 {
                return Err(Status::ACCESS_DENIED);
            }
        }
        let effective = granted | implied | if exists { 0 } else { access::WRITE_DATA };
        let writer = self.transactional_check(request.transaction, number, effective)?;
        if !request.ignore_share {
            self.share_check(number, &key, effective, request.share)?;
        }
        if writer && record.attributes & attributes::ENCRYPTED != 0 && request.transaction.is_some() {
            return Err(Status::EFS_NOT_ALLOWED_IN_TRANSACTION);
        }
        if writer && request.transaction.is_some() {
            self.lock_for(request.transaction, number)?;
        }
        let mut action = Action::Opened;
        if !exists {
            self.add_stream(request, number, found.path.stream.clone().unwrap_or_default())?;
            action = Action::Created;
        } else if replaces {
            self.replace(request, number, &key)?;
            let superseded = request.disposition == Disposition::Supersede;
            action = if superseded { Action::Superseded } else { Action::Overwritten };
        }
        let id = self.id_of(view, number)?;
        let open = Open {
            stream: key,
            link: found.link,
            directory: as_directory,
            access: granted,
            writer,
            view: self.view_for(request.transaction, number, record.directory),
            ..Open::of(request, id)
        };
        let open = self.insert(open);
        Ok(Created { open, action, granted, id, directory: as_directory, last_component: None })
    }

    fn id_of(&self, view: View, number: RecordNumber) -> Result<FileId, Status> {
        let record = self.record(view, number).ok_or(Status::FILE_DELETED)?;
        Ok(FileId::new(number, record.sequence))
    }

    /// A transacted open sees its transaction's version if that is modifying the file, else the committed
    /// one as of now. Directories show everything that the transaction did (`txf-ktm §2`, `§4.1`).
    fn view_for(&self, tx: Option<TxId>, number: RecordNumber, directory: bool) -> View {
        let modifying = tx.is_some_and(|tx| self.transactions[&tx].files.contains_key(&number));
        if modifying || directory { View::of(tx) } else { View::Committed }
    }

    fn grant(
        &self,
        request: &CreateRequest,
        found: &Found,
        record: &FileRecord,
        number: RecordNumber,
        implied: u32,
    ) -> Result<u32, Status> {
        let subject = request.subject.as_ref();
        let mut allowed = security::allowed(&record.security, subject);
        if let Some(parent) =
            found.link.as_ref().and_then(|link| self.record(View::of(request.transaction), link.parent))
        {
            let above = security::allowed(&parent.security, subject);
            if above & access::DELETE_CHILD != 0 {
                allowed |= access::DELETE;
            }
            if above & access::READ_DATA != 0 {
                allowed |= access::READ_ATTRIBUTES;
            }
        }
        if record.attributes & attributes::READONLY != 0 && !record.directory {
            allowed &= !(access::WRITE_DATA | access::APPEND_DATA);
        }
        let maximum = request.access & access::MAXIMUM_ALLOWED != 0;
        let wanted = security::map_generic(request.access & !access::MAXIMUM_ALLOWED);
        if wanted & access::ACCESS_SYSTEM_SECURITY & !allowed != 0 {
            return Err(Status::PRIVILEGE_NOT_HELD);
        }
        if (wanted | implied) & !allowed != 0 {
            return Err(Status::ACCESS_DENIED);
        }
        let mut granted = wanted | if maximum { allowed & access::ALL } else { 0 };
        if granted & access::EXECUTE != 0
            && !record.directory
            && !self.may_execute(request.transaction, number, granted | implied)
        {
            if wanted & access::EXECUTE != 0 {
                return Err(Status::CANNOT_EXECUTE_FILE_IN_TRANSACTION);
            }
            granted &= !access::EXECUTE;
        }
        Ok(granted)
    }

    fn create_file(&mut self, request: &CreateRequest, found: Found) -> Result<Created, Status> {
        let view = View::of(request.transaction);
        let link = found.link.ok_or(Status::OBJECT_NAME_INVALID)?;
        if matches!(request.disposition, Disposition::Open | Disposition::Overwrite) {
            return Err(Status::OBJECT_NAME_NOT_FOUND);
        }
        let directory = request.options.contains(Options::DIRECTORY_FILE);
        if found.path.trailing && !directory {
            return Err(Status::OBJECT_NAME_INVALID);
        }
        if directory && (found.path.stream.is_some() || found.path.names_data) {
            return Err(Status::NOT_A_DIRECTORY);
        }
        let parent = self.record(view, link.parent).ok_or(Status::OBJECT_PATH_NOT_FOUND)?.clone();
        if self.is_doomed(view, link.parent, &Key::default()) {
            return Err(Status::DELETE_PENDING);
        }
        let subject = request.subject.as_ref();
        let right = if directory { access::APPEND_DATA } else { access::WRITE_DATA };
        if security::allowed(&parent.security, subject) & right == 0 {
            return Err(Status::ACCESS_DENIED);
        }
        self.name_is_free(request.transaction, link.parent, &link.key())?;
        let security = request.security.clone().unwrap_or_else(|| parent.security.clone());
        if !security::is_descriptor(&security) {
            return Err(Status::INVALID_SECURITY_DESCR);
        }
        let granted = grant_creator(request, &security)?;
        let wants_delete = request.options.contains(Options::DELETE_ON_CLOSE);
        if wants_delete && granted & access::DELETE == 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        if wants_delete && request.attributes & attributes::READONLY != 0 {
            return Err(Status::CANNOT_DELETE);
        }
        let (number, sequence) = self.metadata.free_record(|number| self.is_claimed(number));
        let archive = if directory { 0 } else { attributes::ARCHIVE };
        let mut record = FileRecord {
            sequence,
            directory,
            attributes: request.attributes & attributes::SETTABLE | archive,
            sparse: false,
            times: Times { creation: self.now, access: self.now, write: self.now, change: self.now },
            security,
            eas: Vec::new(),
            reparse: None,
            links: vec![link.clone()],
            streams: BTreeMap::new(),
        };
        record.merge_eas(&request.ea)?;
        if !directory {
            record.streams.insert(Key::default(), Stream::default());
        }
        let key = found.path.stream.as_ref().map_or(Key::default(), |name| Key::of(&name.0));
        if let Some(name) = found.path.stream {
            record.streams.insert(key.clone(), Stream { name, ..Stream::default() });
        }
        if let Some(stream) = record.streams.get_mut(&key) {
            self.reserve(request.transaction, stream, request.allocation)?;
        }
        let runs = record.streams.values().flat_map(|stream| stream.runs.clone()).collect::<Vec<_>>();
        let changes = vec![
            Change::Put(number, Arc::new(record)),
            Change::Link(link.parent, Entry { name: link.name.clone(), target: number }),
            Change::Touch(link.parent, self.now),
        ];
        if let Err(status) = self.change(view, changes) {
            self.space.release(&runs);
            return Err(status);
        }
        let id = FileId::new(number, sequence);
        let open = Open {
            stream: key,
            link: Some(link),
            directory,
            access: granted,
            writer: request.transaction.is_some() || granted & access::TXF_WRITER != 0,
            view,
            ..Open::of(request, id)
        };
        let open = self.insert(open);
        Ok(Created { open, action: Action::Created, granted, id, directory, last_component: None })
    }

    /// Whether a record number may not be given out although no committed record has it.
    fn is_claimed(&self, number: RecordNumber) -> bool {
        self.transactions.values().any(|tx| tx.files.contains_key(&number))
            || self.opens.values().any(|open| open.file.number() == number)
    }

    fn insert(&mut self, open: Open) -> OpenId {
        let id = OpenId(self.next_open);
        self.next_open += 1;
        self.opens.insert(id, open);
        id
    }
}

impl Open {
    fn of(request: &CreateRequest, file: FileId) -> Open {
        Open {
            file,
            stream: Key::default(),
            link: None,
            directory: false,
            volume: false,
            access: 0,
            share: request.share,
            shares: !request.ignore_share,
            transaction: request.transaction,
            writer: false,
            view: View::Committed,
            expired: false,
            frozen: None,
            delete_on_close: request.options.contains(Options::DELETE_ON_CLOSE),
            cleaned: false,
            process: request.process,
        }
    }
}

/// The creator of a file gets what it asks for, whatever the new descriptor says; only MAXIMUM_ALLOWED is
/// measured by the descriptor.
fn grant_creator(request: &CreateRequest, security: &[u8]) -> Result<u32, Status> {
    let subject = request.subject.as_ref();
    let wanted = security::map_generic(request.access & !access::MAXIMUM_ALLOWED);
    let privileged = subject.is_none_or(|subject| subject.privileged);
    if wanted & access::ACCESS_SYSTEM_SECURITY != 0 && !privileged {
        return Err(Status::PRIVILEGE_NOT_HELD);
    }
    let maximum = request.access & access::MAXIMUM_ALLOWED != 0;
    Ok(wanted | if maximum { security::allowed(security, subject) & access::ALL } else { 0 })
}

/// What a disposition asks for beyond the desired access, when there is something to replace.
fn implied_access(disposition: Disposition, replaces: bool) -> u32 {
    let overwrite = access::WRITE_DATA | access::WRITE_EA | access::WRITE_ATTRIBUTES;
    match disposition {
        Disposition::Supersede if replaces => overwrite | access::DELETE,
        _ if replaces => overwrite,
        _ => 0,
    }
}

/// NTFS's own files in the root directory.
fn is_metadata_file(name: &Wide) -> bool {
    let own =
        ["$Mft", "$MftMirr", "$LogFile", "$Volume", "$AttrDef", "$Bitmap", "$Boot", "$BadClus", "$Secure"];
    let more = ["$UpCase", "$Extend"];
    own.iter().chain(&more).any(|known| Key::of(&Wide::from(*known).0) == Key::of(&name.0))
}
