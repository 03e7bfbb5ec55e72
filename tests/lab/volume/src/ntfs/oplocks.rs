//! What whoever keeps oplocks asks the volume: who is in the way, and which files an operation is about. The volume keeps no
//! oplocks itself.

use super::info::NameTarget;
use super::record::FileId;
use super::{OpenId, View, Volume};
use crate::Status;
use crate::names::Key;

/// A stream that is about to be opened.
#[derive(Clone, Debug)]
pub struct Existing {
    /// Its file.
    pub id: FileId,
    /// Its name; empty for the file's data.
    pub stream: Key,
    /// How many other opens it has that have not been cleaned up.
    pub opens: usize,
    /// What the open would be granted.
    pub access: u32,
}

/// Where an open of an existing stream stands when oplocks are asked (`minifilter-rules §2.9`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Access is granted; share modes have not been asked.
    BeforeSharing,
    /// It fails with SHARING_VIOLATION if nobody gets out of its way.
    SharingViolation,
    /// Nothing else is in its way.
    Passed,
}

/// Asked at each stage; an error ends the create.
pub type OplockCheck<'a> = &'a mut dyn FnMut(Stage, &Existing) -> Result<(), Status>;

impl Volume {
    /// Whether an oplock may be granted as far as transactions go: never while one has the file (`txf-ktm §4.8`).
    ///
    /// # Errors
    /// OPLOCK_NOT_GRANTED.
    pub fn may_grant_oplock(&mut self, id: OpenId) -> Result<(), Status> {
        let open = self.live_file(id)?;
        let number = open.file.number();
        let held = self.locked_by_other(number, None).is_some()
            || self.opens_of(number).any(|open| open.transaction.is_some() && open.ended.is_none());
        if held { Err(Status::OPLOCK_NOT_GRANTED) } else { Ok(()) }
    }

    /// How many opens the stream of an open has that have not been cleaned up, this one among them.
    ///
    /// # Errors
    /// Those of an open that is dead.
    pub fn opens_of_stream(&mut self, id: OpenId) -> Result<usize, Status> {
        let open = self.live_file(id)?;
        Ok(self.opens_of(open.file.number()).filter(|other| other.stream == open.stream).count())
    }

    /// Whether anybody holds a byte-range lock on the stream of an open.
    ///
    /// # Errors
    /// Those of an open that is dead.
    pub fn stream_has_locks(&mut self, id: OpenId) -> Result<bool, Status> {
        let open = self.live_file(id)?;
        Ok(self.locks.get(&(open.file.number(), open.stream)).is_some_and(|locks| !locks.is_empty()))
    }

    /// The file that a rename or a link to this name would replace: `None` if there is none, or if it is the same file.
    pub fn replaced_by(&mut self, id: OpenId, target: &NameTarget) -> Option<FileId> {
        let open = self.live_file(id).ok()?;
        let view = View::of(open.transaction);
        let old = self.name_of(&open, view)?;
        let new = self.target_link(target, &old, view).ok()?;
        let victim = self.lookup(view, new.parent, &new.key())?.target;
        let record = self.record(view, victim).filter(|_| victim != open.file.number())?;
        Some(FileId::new(victim, record.sequence))
    }

    /// Whether a file is somewhere below the directory of an open.
    pub fn is_file_below(&mut self, directory: OpenId, file: FileId) -> bool {
        let Ok(open) = self.live_file(directory) else { return false };
        self.is_below(View::of(open.transaction), file.number(), open.file.number())
    }
}
