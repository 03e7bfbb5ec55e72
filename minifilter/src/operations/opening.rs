//! What all ways to a twin share: a create's part in a save, joining, and binding a twin to the application's handle.

use kernel::callback::{Callback, Create as Parameters};
use kernel::context::ContextRef;
use kernel::file::{FileObject, Open, Opened};
use kernel::instance::Instance;
use kernel::name::{FileName, NameForm};
use kernel::pool::Shared;
use kernel::{Result, Status};
use wdk_sys::SL_CASE_SENSITIVE;

use super::create::Candidate;
use super::decision::{self, Intent, Request};
use super::existing::Twin;
use crate::Intact;
use crate::save::files::Files;
use crate::save::live::{Redirect, Save, stream_of};
use crate::save::outcome::Ending;
use crate::save::settling;
use crate::save::state::Stream;

/// A create's part in a save, until its handle has one. Dropped before, the create leaves the save, and a save that it
/// began is rolled back.
pub struct Part {
    pub(super) save: Shared<Save>,
    pub(super) files: ContextRef<Files>,
    pub(super) joined: bool,
    /// The open itself modified the file.
    pub(super) modified: bool,
    kept: bool,
}

impl Part {
    /// Of a save that was begun or joined: its gate is left when this ends.
    pub(super) fn new(save: Shared<Save>, files: &ContextRef<Files>, joined: bool) -> Self {
        Part { save, files: files.clone(), joined, modified: false, kept: false }
    }

    /// The handle takes over.
    fn keep(mut self) {
        self.kept = true;
    }

    /// It has a twin: the save may be joined from now on.
    pub(super) fn establish(&self, intact: &Intact, instance: Instance<'_>, file: u64) {
        if self.joined {
            intact.report.joined(&self.save, true);
        } else {
            self.save.establish(intact, file);
            // A limit that cannot be kept for want of memory is no reason to leave the file without a save.
            if let Ok(true) = intact.clock.limits().add(&self.save, instance) {
                intact.clock.wake();
            }
        }
    }

    pub(super) fn modified(&mut self) {
        self.modified = true;
        self.save.note_modified();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.save.is_through();
        if self.kept {
            return;
        }
        if self.modified {
            // What the open did inside the transaction cannot be taken back alone.
            self.save.force();
        }
        if let Some(intact) = Intact::get() {
            settling::leave(&self.save, intact, &self.files, Ending::Closed, None);
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
    /// In the save that it joined, this is the answer. Outside of it the file system would give another one.
    Fail(Status),
    /// The create goes down untouched.
    Pass,
}

/// The save of the create's process that the file is in already, joined. Waits while that save is ending.
/// PASSIVE_LEVEL.
pub fn join(data: &Callback<'_>, candidate: &Candidate<'_>) -> Option<Part> {
    let process = candidate.process.key();
    if !candidate.files.has(process) {
        return None;
    }
    if let Some(alias) = candidate.alias {
        if alias.save.join() {
            return Some(Part::new(alias.save.clone(), candidate.files, true));
        }
        alias.save.wait_if_ending();
    }
    // Another thread may be on the way to the same file.
    if let Some(save) = candidate.files.opening(process, Some(candidate.name.full())) {
        save.wait_until_opened();
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
    id: u64,
    stream: Stream,
) -> Result<()> {
    // A name that cannot be had says nothing against it.
    let same_stream = |name: FileName| stream_of(name.stream()) == stream;
    if file.id(instance)? == id && FileName::of(data, NameForm::Opened).map_or(true, same_stream) {
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
    instance: Instance<'_>,
    file: FileObject<'_>,
    redirect: &ContextRef<Redirect>,
    part: Option<Part>,
) -> Result<()> {
    redirect.set_on_handle(instance, file).inspect_err(|_| redirect.close_twin())?;
    if let Some(part) = part {
        if !part.save.enlist(redirect) {
            // Broken off meanwhile: the volume is going.
            redirect.close_twin();
            return Err(Status::UNEXPECTED_IO_ERROR);
        }
        part.keep();
    }
    Ok(())
}

/// The twin must be the file that the application's create made or found, and no oplock may be in its way.
pub(super) fn accept_same(opened: Opened, file: FileObject<'_>, instance: Instance<'_>) -> Result<Opened> {
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
