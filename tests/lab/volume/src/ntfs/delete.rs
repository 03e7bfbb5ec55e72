//! Deletion, cleanup and close.

use std::sync::Arc;

use super::record::{Change, Link, ROOT, RecordNumber, Run};
use super::security::attributes;
use super::watch::{NotifyAction, notify};
use super::{DispositionFlags, Open, OpenId, View, Volume};
use crate::Status;
use crate::ktm::TxId;
use crate::names::Key;

/// A deletion that waits for the last handle.
#[derive(Clone, Debug)]
pub(super) struct Doom {
    /// The named stream, or the empty key for the whole file.
    stream: Key,
    link: Option<Link>,
    /// With POSIX semantics it takes place when this handle is cleaned up.
    posix: Option<OpenId>,
}

impl Volume {
    pub(super) fn is_doomed(&self, view: View, number: RecordNumber, stream: &Key) -> bool {
        let inside = view.transaction().and_then(|tx| self.transactions.get(&tx)?.files.get(&number));
        let doom = match inside {
            Some(file) => file.doom.as_ref(),
            None => self.doomed.get(&number),
        };
        doom.is_some_and(|doom| doom.stream.is_empty() || doom.stream == *stream)
    }

    /// Marks for deletion, or takes the mark back (FileDispositionInformation and its Ex form). Inside a
    /// transaction the deletion counts only if the last transacted writer handle is closed before the
    /// transaction ends (`txf-ktm §4.3`).
    ///
    /// # Errors
    /// CANNOT_DELETE for a read-only file or the root, DIRECTORY_NOT_EMPTY,
    /// CANT_BREAK_TRANSACTIONAL_DEPENDENCY for a directory that somebody's transaction has changes in
    /// (assumed, as for renames).
    pub fn set_disposition(&mut self, id: OpenId, flags: DispositionFlags) -> Result<(), Status> {
        let open = self.live_file(id)?;
        let number = open.file.number();
        if open.transaction.is_some() && flags.contains(DispositionFlags::POSIX) {
            let status = self.switches.posix_in_transaction;
            if status != Status::SUCCESS {
                return Err(status);
            }
        }
        if flags.contains(DispositionFlags::ON_CLOSE) {
            if let Some(open) = self.opens.get_mut(&id) {
                open.delete_on_close = flags.contains(DispositionFlags::DELETE);
            }
            return Ok(());
        }
        self.may_change_names(&open)?;
        self.lock_for(open.transaction, number)?;
        let doom = if flags.contains(DispositionFlags::DELETE) {
            self.may_delete(&open, flags.contains(DispositionFlags::IGNORE_READONLY))?;
            if self.is_user_mapped(number, &open.stream, open.transaction)
                || self.is_image(number, &open.stream, open.transaction)
            {
                return Err(Status::CANNOT_DELETE);
            }
            let posix = flags.contains(DispositionFlags::POSIX).then_some(id);
            Some(Doom { stream: open.stream.clone(), link: open.link.clone(), posix })
        } else {
            None
        };
        let goes = doom.is_some() && open.directory && open.transaction.is_none();
        self.set_doom(open.transaction, number, doom);
        if goes {
            self.directory_goes(number);
        }
        Ok(())
    }

    fn may_delete(&self, open: &Open, ignore_readonly: bool) -> Result<(), Status> {
        let number = open.file.number();
        let view = View::of(open.transaction);
        let record = self.record(view, number).ok_or(Status::FILE_DELETED)?;
        if number == ROOT || (record.attributes & attributes::READONLY != 0 && !ignore_readonly) {
            return Err(Status::CANNOT_DELETE);
        }
        if open.directory {
            if !self.children(view, number).is_empty() {
                return Err(Status::DIRECTORY_NOT_EMPTY);
            }
            if self.is_pinned(number, open.transaction) {
                return Err(Status::CANT_BREAK_TRANSACTIONAL_DEPENDENCY);
            }
        }
        Ok(())
    }

    fn set_doom(&mut self, transaction: Option<TxId>, number: RecordNumber, doom: Option<Doom>) {
        match transaction {
            Some(tx) => {
                if let Some(file) = self.transactions.get_mut(&tx).and_then(|tx| tx.files.get_mut(&number)) {
                    file.doom = doom;
                }
            }
            None => match doom {
                Some(doom) => drop(self.doomed.insert(number, doom)),
                None => drop(self.doomed.remove(&number)),
            },
        }
    }

    /// A name that is to be deleted has become another one: a deletion is of the link (MS-FSA 2.1.5.15.3, Link.IsDeleted),
    /// never of the file that is called by its old name next.
    pub(super) fn doom_follows(
        &mut self,
        transaction: Option<TxId>,
        number: RecordNumber,
        old: &Link,
        new: &Link,
    ) {
        let doom = match transaction {
            Some(tx) => {
                let file = self.transactions.get_mut(&tx).and_then(|tx| tx.files.get_mut(&number));
                file.and_then(|file| file.doom.as_mut())
            }
            None => self.doomed.get_mut(&number),
        };
        if let Some(link) = doom.and_then(|doom| doom.link.as_mut()).filter(|link| **link == *old) {
            *link = new.clone();
        }
    }

    /// The last handle is gone: byte-range locks of `process` on this open are released, pending deletions
    /// take place if this was the last handle that held them up. Never fails for a valid open.
    ///
    /// # Errors
    /// INVALID_HANDLE for an unknown open.
    pub fn cleanup(&mut self, id: OpenId, process: u64) -> Result<(), Status> {
        if self.lets_go_of_dead(id, false) {
            return Ok(());
        }
        let open = self.open(id)?.clone();
        self.release_locks(id, process, None);
        if open.volume {
            // A lock of the volume is its handle's.
            let _ = self.unlock_volume(id);
        }
        if open.cleaned || open.volume {
            return Ok(());
        }
        if let Some(open) = self.opens.get_mut(&id) {
            open.cleaned = true;
        }
        self.end_watches(Status::NOTIFY_CLEANUP, |own, _| own == id);
        if open.ended.is_some() {
            return Ok(());
        }
        let number = open.file.number();
        if open.delete_on_close && self.may_delete(&open, false).is_ok() {
            let doom = Doom { stream: open.stream.clone(), link: open.link.clone(), posix: None };
            self.set_doom(open.transaction, number, Some(doom));
            if open.directory && open.transaction.is_none() {
                self.directory_goes(number);
            }
        }
        // Nobody hears of an error here, as on Windows.
        if open.transaction.is_none() {
            let _ = self.log_write_time(number);
        }
        let _ = self.delete_if_last(id, &open);
        let by = (!self.switches.any_cleanup_reports_writes).then_some(id);
        self.report_written(&open, by);
        if !self.switches.lock_outlives_unmodified_handle {
            self.unlock_if_unused(open.transaction, number);
        }
        self.lazy_writer();
        Ok(())
    }

    fn delete_if_last(&mut self, id: OpenId, open: &Open) -> Result<(), Status> {
        let number = open.file.number();
        let view = View::of(open.transaction);
        let doom = match open.transaction {
            Some(tx) => self.transactions.get(&tx).and_then(|tx| tx.files.get(&number)?.doom.clone()),
            None => self.doomed.get(&number).cloned(),
        };
        let Some(doom) = doom else { return Ok(()) };
        if open.transaction.and_then(|tx| self.transactions.get(&tx)).is_some_and(|tx| tx.prepared) {
            return Ok(());
        }
        let others = self.opens_of(number).any(|other| match open.transaction {
            // Only the transaction's own writers hold its deletion up.
            Some(_) => other.transaction == open.transaction && other.writer,
            None => other.ended.is_none() && (doom.stream.is_empty() || other.stream == doom.stream),
        });
        if others && doom.posix != Some(id) {
            return Ok(());
        }
        self.set_doom(open.transaction, number, None);
        if doom.stream.is_empty() {
            let link = doom.link.or_else(|| self.record(view, number)?.links.first().cloned());
            link.map_or(Ok(()), |link| self.remove_link(view, number, &link))
        } else {
            self.remove_stream(view, number, &doom.stream)
        }
    }

    /// Takes one name away; with the last name the file goes, once nobody has it open.
    pub(super) fn remove_link(
        &mut self,
        view: View,
        number: RecordNumber,
        link: &Link,
    ) -> Result<(), Status> {
        let mut record = self.folded(view, number)?;
        record.links.retain(|other| other != link);
        record.times.change = self.now;
        let runs: Vec<Run> = record.streams.values().flat_map(|stream| stream.runs.clone()).collect();
        let directory = record.directory;
        let free = record.links.is_empty() && view == View::Committed && !self.is_open(number);
        let last = if free { Change::Remove(number) } else { Change::Put(number, Arc::new(record)) };
        let changes =
            vec![Change::Unlink(link.parent, link.key()), last, Change::Touch(link.parent, self.now)];
        self.change(view, changes)?;
        if self.record(view, number).is_none_or(|record| record.links.is_empty()) {
            self.forget_unreported(view.transaction(), Some(number));
        }
        self.report_name(view, number, directory, link, NotifyAction::Removed);
        self.report_directory(view, link.parent);
        if free {
            self.forget(number, &runs);
        }
        if directory && view == View::Committed {
            self.directory_goes(number);
        }
        Ok(())
    }

    fn remove_stream(&mut self, view: View, number: RecordNumber, key: &Key) -> Result<(), Status> {
        let mut record = self.folded(view, number)?;
        let Some(stream) = record.streams.remove(key) else { return Ok(()) };
        let link = record.links.first().cloned();
        record.times.change = self.now;
        self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        if view == View::Committed {
            self.valid_ahead.remove(&(number, key.clone()));
        }
        self.drop_clusters(view.transaction(), &stream.runs);
        self.unreported.retain(|(own, file, stream, _), _| {
            (*own, *file) != (view.transaction(), number) || stream != key
        });
        if let Some(link) = link {
            let (action, kind) = (NotifyAction::RemovedStream, notify::STREAM_NAME);
            self.report_stream(view, number, &link, Some(&stream.name), action, kind);
        }
        Ok(())
    }

    /// Whether anybody has a file open, cleaned up or not.
    fn is_open(&self, number: RecordNumber) -> bool {
        self.opens.values().any(|open| open.file.number() == number && !open.volume && !open.cleaned)
    }

    /// Drops what the cache knows of a record that is free now.
    pub(super) fn forget(&mut self, number: RecordNumber, runs: &[Run]) {
        self.written_at.remove(&number);
        self.doomed.remove(&number);
        self.valid_ahead.retain(|(file, _), _| *file != number);
        self.space.release_later(runs);
    }

    /// Gives back the lock of a transaction that neither modified the file nor has a writer on it.
    pub(super) fn unlock_if_unused(&mut self, transaction: Option<TxId>, number: RecordNumber) {
        let Some(id) = transaction else { return };
        let held = self.opens_of(number).any(|other| other.transaction == Some(id) && other.writer);
        if let Some(tx) = self.transactions.get_mut(&id)
            && !held
            && tx.files.get(&number).is_some_and(|file| !file.modified)
        {
            tx.files.remove(&number);
        }
    }

    /// The last reference is gone.
    ///
    /// # Errors
    /// INVALID_HANDLE for an unknown open.
    pub fn close(&mut self, id: OpenId) -> Result<(), Status> {
        if self.lets_go_of_dead(id, true) {
            return Ok(());
        }
        let open = self.open(id)?.clone();
        self.cleanup(id, open.process)?;
        self.opens.remove(&id);
        let number = open.file.number();
        let still_open = self.opens.values().any(|other| other.file.number() == number && !other.volume);
        if open.volume || still_open {
            return Ok(());
        }
        self.report_left(None, Some(number));
        // Locks that no cleanup released (taken by another process than the closing one) end with the file
        // control block.
        self.locks.retain(|(file, _), _| *file != number);
        if number == ROOT {
            return Ok(());
        }
        if let Some(record) = self.metadata.file(number).filter(|record| record.links.is_empty()).cloned() {
            let runs: Vec<Run> = record.streams.values().flat_map(|stream| stream.runs.clone()).collect();
            if self.change(View::Committed, vec![Change::Remove(number)]).is_ok() {
                self.forget(number, &runs);
            }
        }
        Ok(())
    }
}
