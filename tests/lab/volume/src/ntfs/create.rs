//! Create: the checks on the way to an open, in the order of NTFS, and what it makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::grant::{grant_creator, implied_access};
use super::oplocks::{Existing, OplockCheck, Stage};
use super::record::{Change, Entry, FileId, FileRecord, ROOT, RecordNumber, Stream, Times};
use super::request::{Action, Create, CreateRequest, Created, Disposition, Options, ReparseStop, Target};
use super::security::{self, access, attributes};
use super::walk::{Found, Walk};
use super::watch::{NotifyAction, notify};
use super::{Open, OpenId, View, Volume};
use crate::Status;
use crate::ktm::{Ktm, Mask, Participant, TxId};
use crate::names::{Key, Path, Wide};

impl Volume {
    /// Opens, creates, overwrites or supersedes. `ktm` says whether the transaction is active, and takes the
    /// volume's enlistment at its first use.
    ///
    /// # Errors
    /// Those of NtCreateFile. For transactions: TRANSACTION_NOT_ACTIVE after its end (`txf-ktm §4.4`),
    /// [`no_transactions`](crate::Switches::no_transactions) and RM_NOT_ACTIVE (`§4.12`),
    /// TRANSACTION_FREEZE_IN_PROGRESS, and the conflicts of `§4.2` and `§4.3`.
    pub fn create(&mut self, ktm: &mut Ktm, request: CreateRequest) -> Result<Create, Status> {
        self.create_checked(ktm, request, &mut |_, _| Ok(()))
    }

    /// As [`create`](Volume::create), asking `oplocks` on the way to an open of a stream that exists. What it refuses is
    /// refused, before anything has been done.
    ///
    /// # Errors
    /// Those of [`create`](Volume::create), and what `oplocks` says.
    pub fn create_checked(
        &mut self,
        ktm: &mut Ktm,
        request: CreateRequest,
        oplocks: OplockCheck<'_>,
    ) -> Result<Create, Status> {
        self.report_aborts(ktm);
        if self.disk.power_is_gone() {
            return Err(Status::DEVICE_POWER_FAILURE);
        }
        if self.is_locked() {
            return Err(Status::ACCESS_DENIED);
        }
        if request.options.contains(Options::DIRECTORY_FILE)
            && (request.options.contains(Options::NON_DIRECTORY_FILE) || request.disposition.replaces())
        {
            return Err(Status::INVALID_PARAMETER);
        }
        if let Some(tx) = request.transaction {
            self.admit(ktm, tx)?;
        }
        let created = self.create_admitted(request, oplocks)?;
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
        if self.switches.transacted_open != Status::SUCCESS {
            return Err(self.switches.transacted_open);
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

    fn create_admitted(
        &mut self,
        request: CreateRequest,
        oplocks: OplockCheck<'_>,
    ) -> Result<Create, Status> {
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
        self.open_existing(&request, found, number, oplocks).map(Create::Opened)
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
        let opened = self.open_existing(&request, found, link.parent, &mut |_, _| Ok(()))?;
        Ok(Created { action, last_component: asked, ..opened })
    }

    fn open_existing(
        &mut self,
        request: &CreateRequest,
        found: Found,
        number: RecordNumber,
        oplocks: OplockCheck<'_>,
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
        let for_lock = if request.open_target_directory && !self.switches.target_directory_is_writer {
            effective & !(access::WRITE_DATA | access::APPEND_DATA)
        } else {
            effective
        };
        let existing = exists.then(|| {
            let opens = self.opens_of(number).filter(|open| open.stream == key).count();
            Existing { id: FileId::new(number, record.sequence), stream: key.clone(), opens, access: granted }
        });
        let mut ask = |stage| existing.as_ref().map_or(Ok(()), |existing| oplocks(stage, existing));
        let late = !self.switches.oplock_breaks_before_transactional_check;
        if !late {
            ask(Stage::BeforeSharing)?;
        }
        let writer = self.transactional_check(request.transaction, number, for_lock)?;
        if late {
            ask(Stage::BeforeSharing)?;
        }
        if !request.ignore_share
            && let Err(status) = self.share_check(number, &key, effective, request.share)
        {
            ask(Stage::SharingViolation)?;
            return Err(status);
        }
        ask(Stage::Passed)?;
        if exists && self.is_image(number, &key, request.transaction) {
            if granted & access::WRITE_DATA != 0 {
                return Err(Status::SHARING_VIOLATION);
            }
            if request.options.contains(Options::DELETE_ON_CLOSE) {
                return Err(Status::CANNOT_DELETE);
            }
        }
        if writer && record.attributes & attributes::ENCRYPTED != 0 && request.transaction.is_some() {
            return Err(Status::EFS_NOT_ALLOWED_IN_TRANSACTION);
        }
        if writer && request.transaction.is_some() {
            self.lock_for(request.transaction, number)?;
        }
        let mut action = Action::Opened;
        let mut change = Ok(());
        if !exists {
            change = self.add_stream(request, number, found.path.stream.clone().unwrap_or_default());
            action = Action::Created;
        } else if replaces {
            change = self.replace(request, number, &key);
            let superseded = request.disposition == Disposition::Supersede;
            action = if superseded { Action::Superseded } else { Action::Overwritten };
        }
        if let Err(status) = change {
            self.unlock_if_unused(request.transaction, number);
            return Err(status);
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
        match action {
            Action::Created => self.report_stream_name(&open, NotifyAction::AddedStream),
            Action::Overwritten | Action::Superseded if whole => {
                self.report_change(&open, notify::ATTRIBUTES | notify::SIZE | notify::LAST_WRITE);
            }
            Action::Overwritten | Action::Superseded => {
                self.report_emptied(&open);
            }
            _ => {}
        }
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
            link: Some(link.clone()),
            directory,
            access: granted,
            writer: request.transaction.is_some() || granted & access::TXF_WRITER != 0,
            view,
            ..Open::of(request, id)
        };
        self.report_name(view, number, directory, &link, NotifyAction::Added);
        if !open.stream.is_empty() {
            self.report_stream_name(&open, NotifyAction::AddedStream);
        }
        self.report_directory(view, link.parent);
        let open = self.insert(open);
        Ok(Created { open, action: Action::Created, granted, id, directory, last_component: None })
    }

    /// Whether a record number may not be given out although no committed record has it.
    pub(super) fn is_claimed(&self, number: RecordNumber) -> bool {
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
            ended: None,
            frozen: None,
            delete_on_close: request.options.contains(Options::DELETE_ON_CLOSE),
            target_directory: request.open_target_directory,
            cleaned: false,
            process: request.process,
        }
    }
}
