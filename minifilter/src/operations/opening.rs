//! What all ways to a twin share: a create's part in a save, joining, and binding a twin to the application's handle.

use intact_policy::Scope;
use kernel::callback::{Callback, Create as Parameters};
use kernel::context::ContextRef;
use kernel::file::{FileObject, Open, Opened};
use kernel::instance::{Instance, InstanceRef};
use kernel::name::{FileName, NameForm};
use kernel::pool::Shared;
use kernel::process::Process;
use kernel::{Result, Status};
use wdk_sys::SL_CASE_SENSITIVE;
use widestring::U16Str;

use super::create::Candidate;
use super::decision::{self, FILE_OPEN, Intent, Request, Way};
use super::existing::Twin;
use super::swap::resume;
use crate::Intact;
use crate::save::files::Files;
use crate::save::live::{Save, stream_of};
use crate::save::outcome::Ending;
use crate::save::redirect::Redirect;
use crate::save::settling;
use crate::save::state::Place;

/// A create's part in a save, until its handle has one. Dropped before, the create leaves the save, and a save that it
/// began is rolled back.
pub struct Part {
    pub(super) save: Shared<Save>,
    pub(super) files: ContextRef<Files>,
    instance: InstanceRef,
    way: Way,
    /// The open itself modified the file.
    pub(super) modified: bool,
    kept: bool,
}

impl Part {
    /// Of a save that was begun or joined: its gate is left when this ends.
    pub(super) fn new(
        save: Shared<Save>,
        files: &ContextRef<Files>,
        instance: InstanceRef,
        way: Way,
    ) -> Self {
        Part { save, files: files.clone(), instance, way, modified: false, kept: false }
    }

    /// How the create came to it.
    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// Whether the file is in the save already.
    pub(super) fn joined(&self) -> bool {
        self.way == Way::Joins
    }

    /// Whether the create began the save.
    pub(super) fn began(&self) -> bool {
        self.way == Way::Begins
    }

    /// The handle takes over.
    fn keep(mut self) {
        self.kept = true;
    }

    /// It has a twin of this file: the save may be joined from now on. IRQL up to APC_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES`.
    pub(super) fn establish(
        &self,
        intact: &Intact,
        process: Process<'_>,
        file: u64,
        name: &U16Str,
    ) -> Result<()> {
        let first = self.save.establish(intact, process, file, name)?;
        // A limit that cannot be kept for want of memory is no reason to leave the file without a save.
        if first && let Ok(true) = intact.clock.limits().add(&self.save, self.instance.get()) {
            intact.clock.wake();
        }
        Ok(())
    }

    pub(super) fn modified(&mut self) {
        self.modified = true;
        self.save.note_modified();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.kept {
            self.save.is_through();
            return;
        }
        if self.modified {
            // What the open did inside the transaction cannot be taken back alone.
            self.save.force();
        }
        self.save.is_through();
        if let Some(intact) = Intact::get() {
            settling::leave(&self.save, intact, self.instance.get(), &self.files, Ending::Closed, None);
        }
    }
}

/// What became of the attempt to open a twin before the application's create.
pub enum Verdict {
    /// It is open.
    Twin(Twin),
    /// There is no such file. The save that would have been, if it can still be used.
    NoFile(Option<Part>),
    /// Somebody is in the way who may be a thread of the same process. The create had begun a save for it, or had not.
    Rival {
        /// What the file system said.
        status: Status,
        /// The save has come and gone.
        began: bool,
    },
    /// In the save that it joined, this is the answer. Outside of it the file system would give another one.
    Fail(Status),
    /// The create goes down untouched.
    Pass,
}

/// The save of the create's process that the file is in already, joined. Waits while that save is ending.
/// PASSIVE_LEVEL.
///
/// If there is none, that of all that the process modifies under the rule.
pub fn join(data: &Callback<'_>, candidate: &Candidate<'_>) -> Option<Part> {
    if !candidate.files.has(candidate.process.key()) {
        return None;
    }
    join_its_own(data, candidate).or_else(|| extend(data, candidate))
}

fn extend(data: &Callback<'_>, candidate: &Candidate<'_>) -> Option<Part> {
    let rule = candidate.rule.filter(|rule| rule.settings.scope == Scope::Process)?;
    let save = candidate.files.of_process(candidate.process.key(), rule.name)?;
    part_of(data, candidate, save, Way::Extends)
}

/// A part in a save that is joined for it.
pub(super) fn part_of(
    data: &Callback<'_>,
    candidate: &Candidate<'_>,
    save: Shared<Save>,
    way: Way,
) -> Option<Part> {
    let instance = data.instance().reference().ok()?;
    // What opening does is in a transaction, too.
    if candidate.parameters.disposition != FILE_OPEN {
        resume(data, &save);
        if way != Way::Joins && !save.takes_more() {
            return None;
        }
    }
    // Nobody writes into it, and those whose it was are gone: it is over, though nobody has noticed.
    if save.settings.include_children
        && save.is_alone()
        && save.has_lost_its_process()
        && let Some(intact) = Intact::get()
    {
        save.settle(intact, data.instance(), candidate.files, None);
    }
    if save.join() {
        return Some(Part::new(save, candidate.files, instance, way));
    }
    save.wait_if_ending();
    None
}

fn join_its_own(data: &Callback<'_>, candidate: &Candidate<'_>) -> Option<Part> {
    let process = candidate.process.key();
    if let Some(alias) = candidate.alias
        && let Some(part) = part_of(data, candidate, alias.save.clone(), Way::Joins)
    {
        return Some(part);
    }
    // Another thread may be on the way to the same file.
    if let Some(save) = candidate.files.opening(process, Some(candidate.name.full())) {
        save.wait_until_opened();
    }
    // By what it is, not by how it is called: it may be opened by another of its names.
    let look = |name| {
        let opened = Open::look(name, is_case_sensitive(data)).open(Intact::filter()?, data.instance());
        Some(opened.and_then(|opened| opened.file.object().id(data.instance())))
    };
    let id = match look(candidate.name.full())? {
        // It may be a new stream of a file that is in a save.
        Err(Status::OBJECT_NAME_NOT_FOUND) => look(file_of(candidate.name)?)?,
        looked => looked,
    };
    part_of(data, candidate, candidate.files.find(process, id.ok()?)?, Way::Joins)
}

/// What the file of a named stream is called; `None` where no stream is named.
pub(super) fn file_of(name: &FileName) -> Option<&U16Str> {
    let (full, stream) = (name.full().as_slice(), name.stream().len());
    let file = full.get(..full.len().checked_sub(stream)?)?;
    (stream != 0).then(|| U16Str::from_slice(file))
}

/// A part in the save of another thread that has the file, or is on the way to it by this name and has been waited for.
/// PASSIVE_LEVEL, without locks and without a save of one's own under way: threads of which each has begun one would wait
/// for each other.
pub(super) fn join_rival(
    data: &Callback<'_>,
    files: &ContextRef<Files>,
    file: u64,
    name: &U16Str,
) -> Option<Part> {
    let (process, mut after) = (data.process().key(), 0);
    loop {
        if let Some(save) = files.find(process, file) {
            let instance = data.instance().reference().ok()?;
            return save.join().then(|| Part::new(save, files, instance, Way::Joins));
        }
        let other = files.next(after)?;
        after = other.number;
        if other.belongs_to(process) && other.label.file().as_slice() == name.as_slice() {
            other.wait_until_opened();
        }
    }
}

/// What decides about a create.
pub(super) fn request(data: &Callback<'_>, file: FileObject<'_>, parameters: &Parameters) -> Request {
    Request {
        from_kernel: data.is_from_kernel(),
        operation_flags: data.operation_flags(),
        file_flags: file.flags(),
        access: parameters.access,
        disposition: parameters.disposition,
        options: parameters.options,
    }
}

/// What a create wants.
pub(super) fn intent(data: &Callback<'_>, file: FileObject<'_>, parameters: &Parameters) -> Intent {
    decision::intent(&request(data, file, parameters))
}

pub(super) fn is_case_sensitive(data: &Callback<'_>) -> bool {
    u32::from(data.operation_flags()) & SL_CASE_SENSITIVE != 0
}

/// Whether the application's create opened a file, and not the way to another one.
pub(super) fn came_through(data: &Callback<'_>) -> bool {
    data.status().is_success() && data.status() != Status::REPARSE
}

/// Fails unless the application's handle and the twin are the same stream of the same file: names may have changed
/// between the two opens, and lower filters may lead them apart.
pub(super) fn same(
    data: &Callback<'_>,
    file: FileObject<'_>,
    instance: Instance<'_>,
    place: Place,
) -> Result<()> {
    // A name that cannot be had says nothing against it.
    let same_stream = |name: FileName| stream_of(name.stream()) == place.stream;
    if file.id(instance)? == place.file && FileName::of(data, NameForm::Opened).map_or(true, same_stream) {
        Ok(())
    } else {
        Err(Status::SHARING_VIOLATION)
    }
}

/// Takes a successful create back.
pub(super) fn undo(data: &mut Callback<'_>, file: FileObject<'_>, status: Status) {
    file.cancel_open(data.instance());
    data.set_status(status, 0);
}

/// Gives the application's handle its redirect. On failure the twin is closed and the part is over.
pub(super) fn bind(
    data: &Callback<'_>,
    file: FileObject<'_>,
    redirect: &ContextRef<Redirect>,
    part: Option<Part>,
) -> Result<()> {
    redirect.set_on_handle(data.instance(), file).inspect_err(|_| redirect.close_twin(None))?;
    if let Some(part) = part {
        part.save.has_partner(data).inspect_err(|_| redirect.close_twin(None))?;
        if !part.save.enlist(redirect) {
            // Broken off meanwhile: the volume is going.
            redirect.close_twin(None);
            return Err(Status::UNEXPECTED_IO_ERROR);
        }
        part.keep();
    }
    Ok(())
}

/// The twin must be the file that the application's create made or found, and no oplock may be in its way.
pub(super) fn accept_same(opened: Opened, file: FileObject<'_>, instance: Instance<'_>) -> Result<Opened> {
    if opened.status == Status::OPLOCK_BREAK_IN_PROGRESS {
        return Err(Status::OPLOCK_NOT_GRANTED);
    }
    match (opened.file.object().id(instance), file.id(instance)) {
        (Ok(twin), Ok(own)) if twin == own => Ok(opened),
        _ => Err(Status::SHARING_VIOLATION),
    }
}
