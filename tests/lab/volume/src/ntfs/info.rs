//! Set information: times and attributes, names, EAs, security, reparse points.

use std::sync::Arc;

use bitflags::bitflags;

use super::record::{Change, Ea, Entry, FileId, Link, ROOT, RecordNumber, Reparse, Run};
use super::security::{self, attributes};
use super::watch::{NotifyAction, notify};
use super::{Open, OpenId, View, Volume};
use crate::Status;
use crate::names::{Key, Path, Wide, is_valid_component};

/// FILE_BASIC_INFORMATION to set: `None` leaves a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicUpdate {
    /// Creation time.
    pub creation: Option<i64>,
    /// Last access time.
    pub access: Option<i64>,
    /// Last write time.
    pub write: Option<i64>,
    /// Change time.
    pub change: Option<i64>,
    /// FILE_ATTRIBUTE_*; bits that cannot be set this way are ignored.
    pub attributes: Option<u32>,
}

bitflags! {
    /// FILE_DISPOSITION_* of FileDispositionInformationEx; plain FileDispositionInformation is `DELETE` or
    /// empty.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct DispositionFlags: u32 {
        /// Delete.
        const DELETE = 0x1;
        /// The name goes with this handle, not with the last.
        const POSIX = 0x2;
        /// Images are always asked for.
        const FORCE_IMAGE_SECTION_CHECK = 0x4;
        /// Change the delete-on-close state instead.
        const ON_CLOSE = 0x8;
        /// Also a read-only file.
        const IGNORE_READONLY = 0x10;
    }
}

bitflags! {
    /// FILE_RENAME_* and FILE_LINK_* flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct NameFlags: u32 {
        /// Replace a file of that name.
        const REPLACE = 0x1;
        /// Also one that is open.
        const POSIX = 0x2;
        /// Also a read-only one.
        const IGNORE_READONLY = 0x40;
    }
}

/// The new name for a rename or a hard link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTarget {
    /// An open of the directory (as from a target-directory open); `None`: `name` is a full path if it
    /// begins with a backslash, else a name in the same directory.
    pub directory: Option<OpenId>,
    /// The name.
    pub name: Wide,
}

impl NameTarget {
    /// A full path, or a name in the same directory.
    pub fn named(name: &str) -> NameTarget {
        NameTarget { directory: None, name: name.into() }
    }
}

impl BasicUpdate {
    /// What it is to those who watch the directory.
    fn kinds(&self) -> u32 {
        let of = |set: bool, kind: u32| if set { kind } else { 0 };
        of(self.creation.is_some(), notify::CREATION)
            | of(self.access.is_some(), notify::LAST_ACCESS)
            | of(self.write.is_some(), notify::LAST_WRITE)
            | of(self.attributes.is_some(), notify::ATTRIBUTES)
    }
}

impl Volume {
    /// Sets times and attributes.
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID, TRANSACTIONAL_CONFLICT, log errors.
    pub fn set_basic(&mut self, id: OpenId, update: BasicUpdate) -> Result<(), Status> {
        let open = self.live_file(id)?;
        let now = self.now;
        self.edit(&open, |record| {
            let times = &mut record.times;
            times.creation = update.creation.unwrap_or(times.creation);
            times.access = update.access.unwrap_or(times.access);
            times.write = update.write.unwrap_or(times.write);
            times.change = update.change.unwrap_or(now);
            if let Some(new) = update.attributes {
                record.attributes = record.attributes & !attributes::SETTABLE | new & attributes::SETTABLE;
            }
        })?;
        if update.write.is_some() && open.transaction.is_none() {
            self.written_at.remove(&open.file.number());
        }
        self.report_change(&open, update.kinds());
        Ok(())
    }

    /// Sets bits of the attributes that a program cannot set, such as FILE_ATTRIBUTE_ENCRYPTED, for tests of
    /// how such files are treated.
    ///
    /// # Errors
    /// As [`set_basic`](Volume::set_basic).
    pub fn force_attributes(&mut self, id: OpenId, bits: u32) -> Result<(), Status> {
        let open = self.live_file(id)?;
        self.edit(&open, |record| record.attributes |= bits)
    }

    /// Sets EAs.
    ///
    /// # Errors
    /// INVALID_EA_NAME, EA_TOO_LARGE, EAS_NOT_SUPPORTED on a reparse point.
    pub fn set_ea(&mut self, id: OpenId, eas: &[Ea]) -> Result<(), Status> {
        let open = self.live_file(id)?;
        let mut record = (*self.record_of(&open)?).clone();
        record.merge_eas(eas)?;
        self.edit(&open, |stored| stored.eas = record.eas)?;
        self.report_change(&open, notify::EA);
        Ok(())
    }

    /// Replaces the security descriptor; the caller has merged the parts that it does not set.
    ///
    /// # Errors
    /// INVALID_SECURITY_DESCR.
    pub fn set_security(&mut self, id: OpenId, descriptor: &[u8]) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if !security::is_descriptor(descriptor) {
            return Err(Status::INVALID_SECURITY_DESCR);
        }
        self.edit(&open, |record| record.security = descriptor.into())?;
        self.report_change(&open, notify::SECURITY);
        Ok(())
    }

    /// Sets a reparse point (FSCTL_SET_REPARSE_POINT).
    ///
    /// # Errors
    /// IO_REPARSE_TAG_MISMATCH over another tag, DIRECTORY_NOT_EMPTY, EAS_NOT_SUPPORTED, and in a
    /// transaction what [`reparse_in_transaction`](crate::Switches::reparse_in_transaction) says.
    pub fn set_reparse(&mut self, id: OpenId, reparse: Reparse) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if open.transaction.is_some() && self.switches.reparse_in_transaction != Status::SUCCESS {
            return Err(self.switches.reparse_in_transaction);
        }
        let record = self.record_of(&open)?;
        if record.reparse.as_ref().is_some_and(|old| old.tag != reparse.tag) {
            return Err(Status::IO_REPARSE_TAG_MISMATCH);
        }
        if !record.eas.is_empty() {
            return Err(Status::EAS_NOT_SUPPORTED);
        }
        if record.directory && !self.children(open.view, open.file.number()).is_empty() {
            return Err(Status::DIRECTORY_NOT_EMPTY);
        }
        self.edit(&open, |record| record.reparse = Some(reparse))?;
        self.report_change(&open, notify::ATTRIBUTES);
        Ok(())
    }

    /// Deletes a reparse point of this tag.
    ///
    /// # Errors
    /// NOT_A_REPARSE_POINT, IO_REPARSE_TAG_MISMATCH.
    pub fn delete_reparse(&mut self, id: OpenId, tag: u32) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if open.transaction.is_some() && self.switches.reparse_in_transaction != Status::SUCCESS {
            return Err(self.switches.reparse_in_transaction);
        }
        match &self.record_of(&open)?.reparse {
            None => return Err(Status::NOT_A_REPARSE_POINT),
            Some(old) if old.tag != tag => return Err(Status::IO_REPARSE_TAG_MISMATCH),
            Some(_) => self.edit(&open, |record| record.reparse = None)?,
        }
        self.report_change(&open, notify::ATTRIBUTES);
        Ok(())
    }

    /// FSCTL_SET_COMPRESSION: compression is not modelled, its refusal in a transaction is.
    ///
    /// # Errors
    /// COMPRESSION_NOT_ALLOWED_IN_TRANSACTION (`txf-ktm §4.9`), else INVALID_DEVICE_REQUEST.
    pub fn set_compression(&mut self, id: OpenId) -> Result<(), Status> {
        let open = self.live_file(id)?;
        Err(match open.transaction {
            Some(_) => Status::COMPRESSION_NOT_ALLOWED_IN_TRANSACTION,
            None => Status::INVALID_DEVICE_REQUEST,
        })
    }

    /// Renames, or moves within the volume.
    ///
    /// # Errors
    /// OBJECT_NAME_COLLISION; ACCESS_DENIED for a target that is a directory, read-only, open or an image, and for a
    /// directory with open files below; TRANSACTIONAL_CONFLICT for a name that a transaction reserved;
    /// CANT_BREAK_TRANSACTIONAL_DEPENDENCY for an ancestor of a file that a transaction modified
    /// (`txf-ktm §4.3`).
    pub fn rename(&mut self, id: OpenId, target: &NameTarget, flags: NameFlags) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if target.name.0.first() == Some(&u16::from(b':')) {
            return self.rename_stream(&open, &target.name);
        }
        self.check_posix(&open, flags)?;
        self.may_change_names(&open)?;
        let number = open.file.number();
        let view = View::of(open.transaction);
        let old = self.name_of(&open, view).ok_or(Status::INVALID_PARAMETER)?;
        let new = self.target_link(target, &old, view)?;
        self.lock_for(open.transaction, number)?;
        if open.directory {
            if new.parent == number || self.is_below(view, new.parent, number) {
                return Err(Status::INVALID_PARAMETER);
            }
            if self.is_pinned(number, open.transaction) {
                return Err(Status::CANT_BREAK_TRANSACTIONAL_DEPENDENCY);
            }
            let below =
                self.opens.values().filter(|other| !other.cleaned && !other.volume && other.ended.is_none());
            if below.into_iter().any(|other| self.is_below(other.view, other.file.number(), number)) {
                return Err(Status::ACCESS_DENIED);
            }
        }
        let replaced = self.clear_target(&open, number, &new, flags)?;
        let mut record = self.folded(view, number)?;
        match record.links.iter_mut().find(|link| **link == old) {
            Some(link) => *link = new.clone(),
            None => return Err(Status::FILE_DELETED),
        }
        record.times.change = self.now;
        let mut changes = vec![Change::Unlink(old.parent, old.key())];
        changes.extend(replaced.changes);
        changes.push(Change::Put(number, Arc::new(record)));
        changes.push(Change::Link(new.parent, Entry { name: new.name.clone(), target: number }));
        changes.push(Change::Touch(old.parent, self.now));
        changes.push(Change::Touch(new.parent, self.now));
        self.change(view, changes)?;
        if let Some(victim) = replaced.victim {
            self.report_name(view, victim, false, &new, NotifyAction::Removed);
        }
        self.report_rename(&open, &old, &new);
        if let Some((gone, runs)) = replaced.freed {
            self.forget(gone, &runs);
        }
        let same = |other: &&mut Open| {
            other.file == open.file
                && other.transaction == open.transaction
                && other.link.as_ref() == Some(&old)
        };
        for other in self.opens.values_mut().filter(same) {
            other.link = Some(new.clone());
        }
        self.doom_follows(open.transaction, number, &old, &new);
        if open.transaction.is_none()
            && let Some(other) = self.opens.get_mut(&id)
        {
            other.link = Some(new);
        }
        self.lazy_writer();
        Ok(())
    }

    /// Makes a hard link.
    ///
    /// # Errors
    /// As [`rename`](Volume::rename); FILE_IS_A_DIRECTORY.
    pub fn link(&mut self, id: OpenId, target: &NameTarget, flags: NameFlags) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if open.directory {
            return Err(Status::FILE_IS_A_DIRECTORY);
        }
        self.check_posix(&open, flags)?;
        self.may_change_names(&open)?;
        let number = open.file.number();
        let view = View::of(open.transaction);
        let old = self.name_of(&open, view).ok_or(Status::INVALID_PARAMETER)?;
        let new = self.target_link(target, &old, view)?;
        self.lock_for(open.transaction, number)?;
        let replaced = self.clear_target(&open, number, &new, flags)?;
        let mut record = self.folded(view, number)?;
        if record.links.len() >= 1024 {
            return Err(Status::TOO_MANY_LINKS);
        }
        // Its own name, perhaps in another case: the entry stays as it is spelled.
        if record.links.iter().any(|link| (link.parent, link.key()) == (new.parent, new.key())) {
            return Ok(());
        }
        record.links.push(new.clone());
        record.times.change = self.now;
        let mut changes = replaced.changes;
        changes.push(Change::Put(number, Arc::new(record)));
        changes.push(Change::Link(new.parent, Entry { name: new.name.clone(), target: number }));
        changes.push(Change::Touch(new.parent, self.now));
        self.change(view, changes)?;
        if let Some(victim) = replaced.victim {
            self.report_name(view, victim, false, &new, NotifyAction::Removed);
        }
        self.report_name(view, number, false, &new, NotifyAction::Added);
        self.report_directory(view, new.parent);
        if let Some((gone, runs)) = replaced.freed {
            self.forget(gone, &runs);
        }
        Ok(())
    }

    /// A rename within a directory is one change, one to another directory a file less here and one more there
    /// (MS-FSCC 2.7.1).
    fn report_rename(&mut self, open: &Open, old: &Link, new: &Link) {
        if old == new {
            return;
        }
        let (view, number) = (View::of(open.transaction), open.file.number());
        let (from, to) = match old.parent == new.parent {
            true => (NotifyAction::RenamedOldName, NotifyAction::RenamedNewName),
            false => (NotifyAction::Removed, NotifyAction::Added),
        };
        self.report_name(view, number, open.directory, old, from);
        self.report_name(view, number, open.directory, new, to);
        self.report_directory(view, old.parent);
        if old.parent != new.parent {
            self.report_directory(view, new.parent);
        }
    }

    fn check_posix(&self, open: &Open, flags: NameFlags) -> Result<(), Status> {
        match self.switches.posix_in_transaction {
            Status::SUCCESS => Ok(()),
            status if open.transaction.is_some() && flags.contains(NameFlags::POSIX) => Err(status),
            _ => Ok(()),
        }
    }

    pub(super) fn name_of(&self, open: &Open, view: View) -> Option<Link> {
        let by_id = || self.record(view, open.file.number())?.links.first().cloned();
        open.link.clone().or_else(by_id)
    }

    /// Finds the directory of a new name.
    pub(super) fn target_link(&self, target: &NameTarget, old: &Link, view: View) -> Result<Link, Status> {
        let (mut parent, path) = match target.directory {
            Some(directory) => {
                let directory = self.open(directory)?;
                if !directory.directory {
                    return Err(Status::NOT_A_DIRECTORY);
                }
                (directory.file.number(), target.name.clone())
            }
            None if target.name.0.first() == Some(&u16::from(b'\\')) => (ROOT, target.name.clone()),
            None => (old.parent, target.name.clone()),
        };
        let path = Path::parse(&path.0).ok_or(Status::OBJECT_NAME_INVALID)?;
        let (name, above) = path.components.split_last().ok_or(Status::OBJECT_NAME_INVALID)?;
        if path.stream.is_some() || path.names_data || !is_valid_component(&name.0) {
            return Err(Status::OBJECT_NAME_INVALID);
        }
        for part in above {
            let entry = self.lookup(view, parent, &Key::of(&part.0)).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            parent = entry.target;
        }
        if !self.record(view, parent).is_some_and(|record| record.directory) {
            return Err(Status::OBJECT_PATH_NOT_FOUND);
        }
        Ok(Link { parent, name: name.clone() })
    }

    /// Makes room for a new name: what happens to the file that has it.
    fn clear_target(
        &mut self,
        open: &Open,
        number: RecordNumber,
        new: &Link,
        flags: NameFlags,
    ) -> Result<Replaced, Status> {
        let view = View::of(open.transaction);
        self.name_is_free(open.transaction, new.parent, &new.key())?;
        let Some(victim) = self.lookup(view, new.parent, &new.key()).map(|entry| entry.target) else {
            return Ok(Replaced::default());
        };
        if victim == number {
            return Ok(Replaced::default());
        }
        if !flags.contains(NameFlags::REPLACE) {
            return Err(Status::OBJECT_NAME_COLLISION);
        }
        let record = self.record(view, victim).ok_or(Status::OBJECT_NAME_NOT_FOUND)?.clone();
        let protected =
            record.attributes & attributes::READONLY != 0 && !flags.contains(NameFlags::IGNORE_READONLY);
        let open_somewhere = self.opens_of(victim).any(|other| other.ended.is_none());
        let held = self.has_image(victim) || open_somewhere && !flags.contains(NameFlags::POSIX);
        if record.directory || protected || held {
            return Err(Status::ACCESS_DENIED);
        }
        self.lock_for(open.transaction, victim)?;
        let mut record = self.folded(view, victim)?;
        record.links.retain(|link| (link.parent, link.key()) != (new.parent, new.key()));
        record.times.change = self.now;
        let free = record.links.is_empty() && view == View::Committed && !open_somewhere;
        let runs: Vec<Run> = record.streams.values().flat_map(|stream| stream.runs.clone()).collect();
        let last = if free { Change::Remove(victim) } else { Change::Put(victim, Arc::new(record)) };
        let changes = vec![Change::Unlink(new.parent, new.key()), last];
        Ok(Replaced { changes, freed: free.then_some((victim, runs)), victim: Some(victim) })
    }

    /// Renames a named stream; not possible in a transaction (`txf-ktm §4.3`, status assumed).
    fn rename_stream(&mut self, open: &Open, name: &Wide) -> Result<(), Status> {
        if open.transaction.is_some() {
            return Err(Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION);
        }
        let path = Path::parse(&name.0).ok_or(Status::OBJECT_NAME_INVALID)?;
        let name = path.stream.filter(|_| path.components.is_empty()).ok_or(Status::OBJECT_NAME_INVALID)?;
        let (old, new) = (open.stream.clone(), Key::of(&name.0));
        if old.is_empty() {
            return Err(Status::NOT_SUPPORTED);
        }
        let record = self.record_of(open)?;
        if new != old && record.streams.contains_key(&new) {
            return Err(Status::OBJECT_NAME_COLLISION);
        }
        if !record.streams.contains_key(&old) {
            return Err(Status::FILE_DELETED);
        }
        self.report_stream_name(open, NotifyAction::RemovedStream);
        self.edit(open, |record| {
            if let Some(mut stream) = record.streams.remove(&old) {
                stream.name = name;
                record.streams.insert(new.clone(), stream);
            }
        })?;
        let number = open.file.number();
        if let Some(ahead) = self.valid_ahead.remove(&(number, old.clone())) {
            self.valid_ahead.insert((number, new.clone()), ahead);
        }
        if let Some(locks) = self.locks.remove(&(number, old.clone())) {
            self.locks.insert((number, new.clone()), locks);
        }
        let moved = self.unreported.extract_if(.., |(own, file, stream, _), _| {
            (*own, *file) == (open.transaction, number) && *stream == old
        });
        let moved: Vec<_> =
            moved.map(|((own, file, _, by), kinds)| ((own, file, new.clone(), by), kinds)).collect();
        self.unreported.extend(moved);
        let same = |other: &&mut Open| other.file.number() == number && other.stream == old;
        self.opens.values_mut().filter(same).for_each(|other| other.stream = new.clone());
        self.report_stream_name(&Open { stream: new, ..open.clone() }, NotifyAction::AddedStream);
        Ok(())
    }

    /// The id of an open file.
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID.
    pub fn id(&mut self, id: OpenId) -> Result<FileId, Status> {
        Ok(self.live_file(id)?.file)
    }
}

/// What clearing a name for another file changes.
#[derive(Default)]
struct Replaced {
    changes: Vec<Change>,
    freed: Option<(RecordNumber, Vec<Run>)>,
    /// The file that had the name.
    victim: Option<RecordNumber>,
}
