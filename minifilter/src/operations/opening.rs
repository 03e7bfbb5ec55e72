//! Opening a twin, and binding it to the application's handle.

use kernel::access::AccessEdit;
use kernel::callback::{Callback, Create as Parameters};
use kernel::context::ContextRef;
use kernel::file::{FileObject, LowerFile, Open, Opened};
use kernel::instance::Instance;
use kernel::name::{FileName, NameForm};
use kernel::pool::{PoolSlice, Shared, Tag};
use kernel::{Result, Status};
use wdk_sys::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY, FILE_ATTRIBUTE_REPARSE_POINT, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE, SL_CASE_SENSITIVE,
};
use widestring::U16Str;

use super::create::Candidate;
use super::decision::{self, FILE_CREATED, FILE_OPEN, FILE_OPENED, Rights};
use crate::Intact;
use crate::report::Why;
use crate::save::failure::is_transaction_problem;
use crate::save::files::{Files, Pass};
use crate::save::live::{Redirect, Save, stream_of};
use crate::save::outcome::Ending;
use crate::save::state::Stream;

const TAG: Tag = Tag::new(b"InOp");

const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// A create's part in a save, until its handle has one. Dropped before, the create leaves the save, and a save that it
/// began is rolled back.
pub struct Part {
    save: Shared<Save>,
    files: ContextRef<Files>,
    joined: bool,
    /// The open itself modified the file.
    modified: bool,
    kept: bool,
}

impl Part {
    fn new(save: Shared<Save>, files: &ContextRef<Files>, joined: bool) -> Self {
        Part { save, files: files.clone(), joined, modified: false, kept: false }
    }

    /// The handle takes over.
    fn keep(mut self) {
        self.kept = true;
    }

    /// It has a twin: the save may be joined from now on. Fails with `INSUFFICIENT_RESOURCES`.
    fn establish(&self, intact: &Intact, file: u64) -> Result<()> {
        if self.joined {
            intact.report.joined(&self.save, true);
            return Ok(());
        }
        self.save.establish(intact, file);
        self.files.insert(&self.save)
    }

    fn modified(&mut self) {
        self.modified = true;
        self.save.modified_by_open();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.modified {
            // What the open did inside the transaction cannot be taken back alone.
            self.save.force();
        }
        if let Some(intact) = Intact::get() {
            self.save.leave(intact, &self.files, Ending::Closed, None);
        }
    }
}

/// What became of the attempt to open a twin before the application's create.
pub enum Verdict {
    /// It is open.
    Twin(Twin),
    /// There is no such file. The save that would have been, if it can still be used.
    NoFile(Option<Part>),
    /// Somebody is in the way who may be a thread of the same process.
    Rival(Status),
    /// The create goes down untouched.
    Pass,
}

/// An open twin of an existing file. (Fields are dropped in order: the twin is closed before its transaction ends.)
pub struct Twin {
    file: LowerFile,
    part: Part,
    id: u64,
    granted: u32,
    information: usize,
    shown: u32,
}

/// The save of the create's process that the file is in already, joined. Waits while that save is ending.
/// PASSIVE_LEVEL.
pub fn join(data: &Callback<'_>, candidate: &Candidate<'_>) -> Option<Part> {
    let process = candidate.process.key();
    if !candidate.files.has(process) {
        return None;
    }
    // By what it is, not by how it is called: it may be opened by another of its names.
    let look = Open::look(candidate.name.full(), is_case_sensitive(data));
    let id = look.open(Intact::filter()?, data.instance()).ok()?.file.object().id(data.instance()).ok()?;
    let save = candidate.files.find(process, id)?;
    if save.join() {
        return Some(Part::new(save, candidate.files, true));
    }
    save.wait_if_ending();
    None
}

fn is_case_sensitive(data: &Callback<'_>) -> bool {
    u32::from(data.operation_flags()) & SL_CASE_SENSITIVE != 0
}

/// Opens the twin of an existing file with the application's own rights, sharing and disposition. PASSIVE_LEVEL.
pub fn existing(
    data: &Callback<'_>,
    candidate: &Candidate<'_>,
    joined: Option<Part>,
    disposition: u32,
) -> Verdict {
    let (Some(filter), instance) = (Intact::filter(), data.instance()) else { return Verdict::Pass };
    let part = match joined {
        Some(part) => part,
        None => match candidate.begin() {
            Some(save) => Part::new(save, candidate.files, false),
            None => return Verdict::Pass,
        },
    };
    let parameters = &candidate.parameters;
    let rights = decision::rights(parameters.access);
    let opened = Open {
        name: candidate.name.full(),
        case_sensitive: is_case_sensitive(data),
        access: rights.twin,
        share: u32::from(parameters.share),
        disposition,
        options: decision::twin_options(parameters.options),
        attributes: u32::from(parameters.attributes),
        allocation: parameters.allocation,
        ea: data.create_ea(),
        checked: true,
        ignore_share: false,
        transaction: Some(&part.save.inside),
        extra: data.extra_parameters(filter),
    }
    .open(filter, instance);
    match opened {
        Ok(opened) => accept(candidate, instance, part, opened, &rights),
        Err(status) => decline(candidate, part, status),
    }
}

/// The twin could not be opened. Most reasons are the file system's own answer to the application, which it gets by
/// passing through.
fn decline(candidate: &Candidate<'_>, part: Part, status: Status) -> Verdict {
    match status {
        Status::OBJECT_NAME_NOT_FOUND => return Verdict::NoFile(Some(part)),
        Status::SHARING_VIOLATION | Status::TRANSACTIONAL_CONFLICT
            if !part.joined && candidate.files.has(candidate.process.key()) =>
        {
            return Verdict::Rival(status);
        }
        Status::INSUFFICIENT_RESOURCES => candidate.passes(Why::Resources, status),
        _ if is_transaction_problem(status.0 as u32) => candidate.passes(Why::Transaction, status),
        _ => {}
    }
    Verdict::Pass
}

fn accept(
    candidate: &Candidate<'_>,
    instance: Instance<'_>,
    mut part: Part,
    opened: Opened,
    rights: &Rights,
) -> Verdict {
    let Opened { file, status, information, granted } = opened;
    if status == Status::OPLOCK_BREAK_IN_PROGRESS {
        file.close();
        candidate.passes(Why::Oplock, status);
        return Verdict::Pass;
    }
    match information {
        FILE_OPENED => {}
        // Superseding made it inside the transaction, where the application's own create could not find it.
        FILE_CREATED => {
            part.modified = part.joined;
            file.close();
            return Verdict::NoFile(None);
        }
        _ => part.modified(),
    }
    // MAXIMUM_ALLOWED may turn out to be no right to modify, and a save of its own would only be in the way then.
    if !part.joined && !part.modified && !decision::can_modify_data(granted) {
        file.close();
        return Verdict::Pass;
    }
    let untouched = FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DIRECTORY;
    let (Ok(attributes), Ok(id)) = (file.object().attributes(instance), file.object().id(instance)) else {
        file.close();
        return Verdict::Pass;
    };
    if attributes & untouched != 0 {
        file.close();
        return Verdict::Pass;
    }
    if let Err(status) = part.establish(candidate.intact, id) {
        file.close();
        candidate.passes(Why::Resources, status);
        return Verdict::Pass;
    }
    let granted = granted & !rights.surplus;
    Verdict::Twin(Twin { file, part, id, granted, information, shown: rights.shown })
}

/// A create of an existing file that went down for attributes only.
pub struct Existing {
    edit: AccessEdit,
    twin: Twin,
    pass: Pass,
    stream: Stream,
}

impl Twin {
    /// Reduces the application's create to a harmless open. `None`: out of memory; nothing was changed.
    pub fn reduce(self, candidate: &Candidate<'_>, data: &mut Callback<'_>, pass: Pass) -> Option<Existing> {
        let edit = match AccessEdit::begin(data, self.shown, TAG) {
            Ok(edit) => edit,
            Err(status) => {
                self.discard();
                candidate.passes(Why::Resources, status);
                return None;
            }
        };
        data.set_create(&Parameters {
            disposition: FILE_OPEN,
            attributes: 0,
            allocation: 0,
            ..candidate.parameters
        });
        data.drop_create_ea();
        let stream = stream_of(candidate.name.stream());
        Some(Existing { edit, twin: self, pass, stream })
    }

    fn discard(self) {
        // The twin's handle first: the transaction may end with the part.
        self.file.close();
        drop(self.part);
    }
}

impl Existing {
    /// After the application's create.
    pub fn complete(self, _intact: &Intact, data: &mut Callback<'_>) {
        let Existing { edit, twin, pass, stream } = self;
        let (Some(file), true) = (data.file(), came_through(data)) else {
            drop(edit);
            twin.discard();
            return;
        };
        let instance = data.instance();
        if !is_same(data, file, instance, twin.id, stream) {
            drop(edit);
            twin.discard();
            undo(data, file, Status::SHARING_VIOLATION);
            return;
        }
        let Twin { file: lower, part, granted, information, .. } = twin;
        match bind(instance, file, lower, Some(part), pass, stream) {
            Ok(()) => {
                edit.grant(granted);
                data.set_status(data.status(), information);
            }
            Err(status) => {
                drop(edit);
                undo(data, file, status);
            }
        }
    }
}

/// Whether the application's create opened a file, and not the way to another one.
fn came_through(data: &Callback<'_>) -> bool {
    data.status().is_success() && data.status() != Status::REPARSE
}

/// Whether the application's handle and the twin are the same stream of the same file: names may have changed between
/// the two opens, and lower filters may lead them apart.
fn is_same(
    data: &Callback<'_>,
    file: FileObject<'_>,
    instance: Instance<'_>,
    id: u64,
    stream: Stream,
) -> bool {
    // A name that cannot be had says nothing against it.
    let same_stream = |name: FileName| stream_of(name.stream()) == stream;
    file.id(instance) == Ok(id) && FileName::of(data, NameForm::Opened).map_or(true, same_stream)
}

/// Takes a successful create back.
fn undo(data: &mut Callback<'_>, file: FileObject<'_>, status: Status) {
    file.cancel_open(data.instance());
    data.set_status(status, 0);
}

/// Gives the application's handle its twin. On failure the twin is closed and the part is over.
fn bind(
    instance: Instance<'_>,
    file: FileObject<'_>,
    lower: LowerFile,
    part: Option<Part>,
    pass: Pass,
    stream: Stream,
) -> Result<()> {
    let save = part.as_ref().map(|part| part.save.clone());
    let redirect = Redirect::new(lower, save, Some(pass), stream)?;
    redirect.set_on_handle(instance, file).inspect_err(|_| redirect.twin.close())?;
    if let Some(part) = part {
        if !part.save.enlist(&redirect) {
            // Broken off meanwhile: the volume is going.
            redirect.twin.close();
            return Err(Status::UNEXPECTED_IO_ERROR);
        }
        part.keep();
    }
    Ok(())
}

/// A create that makes a file.
pub struct New {
    edit: AccessEdit,
    part: Part,
    pass: Pass,
    name: PoolSlice<u16>,
    parameters: Parameters,
    rights: Rights,
    case_sensitive: bool,
    stream: Stream,
}

/// Lets the application's create make the placeholder: everything kept but its rights, and without the read-only
/// attribute, which would keep the twin out. PASSIVE_LEVEL. `None`: it passes through untouched.
pub fn new(
    data: &mut Callback<'_>,
    candidate: &Candidate<'_>,
    part: Option<Part>,
    pass: Pass,
) -> Option<New> {
    let part = match part {
        Some(part) => part,
        None => Part::new(candidate.begin()?, candidate.files, false),
    };
    let parameters = candidate.parameters;
    let rights = decision::rights(parameters.access);
    let case_sensitive = is_case_sensitive(data);
    let stream = stream_of(candidate.name.stream());
    let prepared = PoolSlice::copy_of(TAG, candidate.name.full().as_slice())
        .and_then(|name| Ok((name, AccessEdit::begin(data, rights.shown, TAG)?)));
    let (name, edit) = match prepared {
        Ok(prepared) => prepared,
        Err(status) => {
            candidate.passes(Why::Resources, status);
            return None;
        }
    };
    let writable = u32::from(parameters.attributes) & !FILE_ATTRIBUTE_READONLY;
    data.set_create(&Parameters { attributes: writable as u16, ..parameters });
    Some(New { edit, part, pass, name, parameters, rights, case_sensitive, stream })
}

impl New {
    /// After the application's create.
    pub fn complete(self, intact: &Intact, data: &mut Callback<'_>) {
        let (Some(file), Some(filter), true) = (data.file(), Intact::filter(), came_through(data)) else {
            return;
        };
        let instance = data.instance();
        let created = data.information() == FILE_CREATED;
        let process_id = data.process().id();
        let New { edit, mut part, pass, name, parameters, rights, case_sensitive, stream } = self;
        let name = U16Str::from_slice(&name);
        let inside = part.save.inside.clone();
        let open = |transaction| {
            Open {
                name,
                case_sensitive,
                access: rights.twin,
                share: u32::from(parameters.share),
                disposition: FILE_OPEN,
                options: decision::twin_options(parameters.options),
                attributes: 0,
                allocation: 0,
                ea: &[],
                // Who makes a file has the access that was asked for, whatever it inherits.
                checked: !created,
                ignore_share: false,
                transaction,
                extra: None,
            }
            .open(filter, instance)
            .and_then(|opened| accept_new(opened, file, instance))
        };
        let (opened, part) = match open(Some(&inside)) {
            Ok(opened) => {
                if created {
                    part.save.made_its_file();
                    part.modified = true;
                }
                let id = file.id(instance).unwrap_or(0);
                match part.establish(intact, id) {
                    Ok(()) => (Ok(opened), Some(part)),
                    Err(status) => {
                        opened.file.close();
                        (Err(status), Some(part))
                    }
                }
            }
            Err(Status::SHARING_VIOLATION) => (Err(Status::SHARING_VIOLATION), Some(part)),
            Err(status) => {
                // It exists now, and its handle needs something to write to: a twin outside any transaction.
                intact.report.passed_through(
                    name,
                    process_id,
                    part.save.label.rule().as_slice(),
                    Why::Plain,
                    status,
                );
                drop(part);
                (open(None), None)
            }
        };
        let bound = opened.and_then(|opened| {
            let Opened { file: lower, granted, .. } = opened;
            let attributes = u32::from(parameters.attributes);
            if created && attributes & FILE_ATTRIBUTE_READONLY != 0 {
                lower.object().set_attributes(instance, attributes)?;
            }
            bind(instance, file, lower, part, pass, stream)?;
            Ok(granted & !rights.surplus)
        });
        match bound {
            Ok(granted) => edit.grant(granted),
            Err(status) => {
                drop(edit);
                if created {
                    // Cancelling does not undo what the create made (minifilter-rules §1.9).
                    let _ = file.delete(instance);
                }
                undo(data, file, status);
            }
        }
    }
}

/// The twin must be the file that the application's create made or found, and no oplock may be in its way.
fn accept_new(opened: Opened, file: FileObject<'_>, instance: Instance<'_>) -> Result<Opened> {
    if opened.status == Status::OPLOCK_BREAK_IN_PROGRESS {
        opened.file.close();
        return Err(Status::OPLOCK_NOT_GRANTED);
    }
    match (opened.file.object().id(instance), file.id(instance)) {
        (Ok(twin), Ok(own)) if twin == own => Ok(opened),
        _ => {
            opened.file.close();
            Err(Status::SHARING_VIOLATION)
        }
    }
}

/// A handle that only reads, opened in a process that has a live save of this file: it sees what its process has
/// written, as it would without us. Its own create was not touched, and if this fails it sees the last committed
/// version. PASSIVE_LEVEL.
pub fn read_in_save(intact: &Intact, data: &mut Callback<'_>) {
    let (Some(file), Some(filter), Some(parameters)) = (data.file(), Intact::filter(), data.create()) else {
        return;
    };
    if !came_through(data) {
        return;
    }
    let instance = data.instance();
    let Some(files) = ContextRef::<Files>::of_instance(instance) else { return };
    let Some(save) = file.id(instance).ok().and_then(|id| files.find(data.process().key(), id)) else {
        return;
    };
    save.wait_if_ending();
    let Ok(name) = FileName::of(data, NameForm::Opened) else { return };
    let opened = Open {
        name: name.full(),
        case_sensitive: is_case_sensitive(data),
        access: decision::reader_rights(parameters.access),
        share: SHARE_ALL,
        disposition: FILE_OPEN,
        options: decision::twin_options(parameters.options),
        attributes: 0,
        allocation: 0,
        ea: &[],
        // The application's own create was checked.
        checked: false,
        ignore_share: true,
        transaction: Some(&save.inside),
        extra: None,
    }
    .open(filter, instance)
    .and_then(|opened| accept_new(opened, file, instance));
    let Ok(opened) = opened else { return };
    let stream = stream_of(name.stream());
    let Ok(redirect) = Redirect::new(opened.file, Some(save.clone()), None, stream) else { return };
    if redirect.set_on_handle(instance, file).is_err() {
        redirect.twin.close();
    } else if save.enlist(&redirect) {
        intact.report.joined(&save, false);
    } else {
        // It ended meanwhile: the handle reads its own file.
        redirect.gate.close_and_wait(None);
        redirect.twin.close();
    }
}
