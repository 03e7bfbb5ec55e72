//! Transactional NTFS: what a transaction holds, when it reaches the disk, and how it ends.
//!
//! The undo model of `txf-ktm §4.6`. A transaction keeps private copies of the records it changed, the
//! directory entries it added and removed, and the sectors it wrote. Sectors of clusters that the committed
//! file owns are overwritten in place, but only after their old contents are in the flushed log; sectors of
//! clusters that the transaction allocated need no undo. Writing out happens at a flush, at commit, and when
//! many sectors are dirty. Commit: undo flushed, data flushed, commit record (with all metadata changes)
//! written and flushed. Recovery undoes what has no commit record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::delete::Doom;
use super::record::{Change, Entry, FileRecord, LogRecord, RecordNumber, Run};
use super::report::Report;
use super::{Frozen, SectorBytes, View, Volume};
use crate::Status;
use crate::disk::{MAX_WRITE, SECTOR, SECTORS_PER_CLUSTER};
use crate::ktm::{Answer, Delivery, Ktm, Mask, TxId};
use crate::names::Key;
use crate::switches::WritableView;

/// A file that a transaction has locked for writing.
#[derive(Clone, Debug)]
pub(super) struct TxFile {
    /// The transaction's version.
    pub(super) record: Arc<FileRecord>,
    pub(super) modified: bool,
    /// Deletion asked for; it takes place when the last writer handle is closed in time.
    pub(super) doom: Option<Doom>,
}

/// What one transaction has done on this volume.
#[derive(Clone, Debug, Default)]
pub(super) struct Tx {
    pub(super) files: BTreeMap<RecordNumber, TxFile>,
    /// Directory entries that it added (`Some`) or removed (`None`).
    pub(super) index: BTreeMap<(RecordNumber, Key), Option<Entry>>,
    touched: BTreeMap<RecordNumber, i64>,
    /// Sectors that it wrote and that are not on the disk.
    pub(super) dirty: BTreeMap<u64, SectorBytes>,
    /// Clusters that it allocated.
    pub(super) fresh: BTreeSet<u64>,
    /// Sectors with undo in the log; their committed contents are in `Volume::shadowed`.
    undone: BTreeSet<u64>,
    /// What to report if it commits.
    pub(super) reports: Vec<Report>,
    /// Everything is durable but the commit record: no more changes.
    pub(super) prepared: bool,
}

impl Tx {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Put(number, record) => match self.files.get_mut(&number) {
                Some(file) => (file.record, file.modified) = (record, true),
                None => drop(self.files.insert(number, TxFile { record, modified: true, doom: None })),
            },
            Change::Link(parent, entry) => {
                self.index.insert((parent, Key::of(&entry.name.0)), Some(entry));
            }
            Change::Unlink(parent, key) => drop(self.index.insert((parent, key), None)),
            Change::Touch(number, time) => drop(self.touched.insert(number, time)),
            Change::Remove(_) | Change::Label(_) => unreachable!("not done inside transactions"),
        }
    }

    /// Clusters that the transaction's version no longer has: nothing is written there any more, and those
    /// it allocated are not its own any more.
    pub(super) fn forget_clusters(&mut self, runs: &[Run]) {
        for lcn in runs.iter().flat_map(|run| run.lcn..run.lcn + run.count) {
            self.fresh.remove(&lcn);
            super::sectors_of(lcn).for_each(|sector| drop(self.dirty.remove(&sector)));
        }
    }
}

impl Volume {
    /// Makes sure that a modification of this file may go on: outside transactions nobody's transaction may
    /// hold it, inside one that transaction locks it. A prepared transaction serves no more changes
    /// (`txf-ktm §1.6`; the status is assumed).
    pub(super) fn lock_for(&mut self, transaction: Option<TxId>, number: RecordNumber) -> Result<(), Status> {
        let other = self.locked_by_other(number, transaction).is_some();
        let Some(id) = transaction else {
            return if other { Err(Status::TRANSACTIONAL_CONFLICT) } else { Ok(()) };
        };
        let tx = self.transactions.get(&id).filter(|tx| !tx.prepared);
        if tx.ok_or(Status::TRANSACTION_NOT_ACTIVE)?.files.contains_key(&number) {
            return Ok(());
        }
        if other {
            return Err(Status::SHARING_VIOLATION);
        }
        if self.has_plain_writer(number) {
            return Err(Status::TRANSACTIONAL_CONFLICT);
        }
        let mut record = self.folded(View::Committed, number)?;
        for (key, stream) in &mut record.streams {
            stream.valid = self.valid(View::Committed, number, key);
        }
        let file = TxFile { record: Arc::new(record), modified: false, doom: None };
        self.transactions.get_mut(&id).expect("looked up above").files.insert(number, file);
        Ok(())
    }

    /// Whether an outsider of `own` may use this name: names that a transaction created are reserved
    /// (`txf-ktm §4.3`), and so is everything in a directory that a transaction removed.
    pub(super) fn name_is_free(
        &self,
        own: Option<TxId>,
        parent: RecordNumber,
        key: &Key,
    ) -> Result<(), Status> {
        let conflict = self.transactions.iter().filter(|(id, _)| Some(**id) != own).any(|(_, tx)| {
            tx.index.get(&(parent, key.clone())).is_some_and(Option::is_some)
                || tx
                    .files
                    .get(&parent)
                    .is_some_and(|file| file.record.links.is_empty() || file.doom.is_some())
        });
        if conflict { Err(Status::TRANSACTIONAL_CONFLICT) } else { Ok(()) }
    }

    /// Whether somebody else's transaction depends on this directory staying where it is: it modified
    /// something below (`txf-ktm §4.3`).
    pub(super) fn is_pinned(&self, directory: RecordNumber, own: Option<TxId>) -> bool {
        self.transactions.iter().filter(|(id, _)| Some(**id) != own).any(|(&id, tx)| {
            let view = View::Inside(id);
            let modified = tx.files.iter().filter(|(_, file)| file.modified).map(|(&number, _)| number);
            // Directories that something was added to or taken from, so both ends of a move.
            let parents = tx.index.keys().map(|(parent, _)| *parent);
            parents.clone().any(|parent| parent == directory)
                || modified.chain(parents).any(|number| self.is_below(view, number, directory))
        })
    }

    /// Whether `number` lies somewhere below `directory`, by any of its names.
    pub(super) fn is_below(&self, view: View, number: RecordNumber, directory: RecordNumber) -> bool {
        let Some(record) = self.record(view, number) else { return false };
        record.links.iter().any(|link| {
            link.parent == directory
                || (link.parent != super::record::ROOT && self.is_below(view, link.parent, directory))
        })
    }

    /// An operation of a transaction begins: the place where a planned abort strikes.
    pub(super) fn boundary(&mut self, id: TxId) {
        self.transacted_operations += 1;
        match &mut self.abort_countdown {
            Some(0) => {
                self.abort_countdown = None;
                self.abort(id);
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// Plans an abort at a coming operation boundary of whichever transaction reaches it: 0 is the next
    /// (`txf-ktm §1.5`: at any time, for the system's own reasons).
    pub fn abort_after_operations(&mut self, operations: u64) {
        self.abort_countdown = Some(operations);
    }

    /// Transacted operations so far, to enumerate the boundaries.
    pub fn transacted_operations(&self) -> u64 {
        self.transacted_operations
    }

    /// Aborts a transaction for a reason of the volume's own.
    pub(super) fn abort(&mut self, id: TxId) {
        self.undo_transaction(id);
        self.aborted.push(id);
    }

    /// The resource manager stops and starts again underneath: its transactions are aborted, their opens get
    /// EXPIRED_HANDLE (`txf-ktm §4.4`), and it is active afterwards.
    pub fn restart_resource_manager(&mut self) {
        self.end_all_with(Status::EXPIRED_HANDLE);
        self.switches.resource_manager_active = true;
    }

    /// The resource manager stops (`fsutil resource stop`, `txf-ktm §4.12`): its transactions are aborted, new transacted
    /// opens get RM_NOT_ACTIVE until it is started again, and what its opens get is a switch.
    pub fn stop_resource_manager(&mut self) {
        self.end_all_with(self.switches.open_of_stopped_manager);
        self.switches.resource_manager_active = false;
    }

    fn end_all_with(&mut self, status: Status) {
        for id in self.transactions.keys().copied().collect::<Vec<_>>() {
            self.abort(id);
            for open in self.opens.values_mut().filter(|open| open.transaction == Some(id)) {
                open.ended = Some(status);
            }
        }
    }

    /// Transactions that the volume has aborted by itself since the last call; KTM must be told with
    /// [`Ktm::abort`]. [`Volume::create`] and [`Volume::notify`] tell it themselves.
    pub fn take_aborted(&mut self) -> Vec<TxId> {
        std::mem::take(&mut self.aborted)
    }

    pub(super) fn report_aborts(&mut self, ktm: &mut Ktm) {
        for id in self.take_aborted() {
            ktm.abort(id);
        }
    }

    /// Takes a notification from KTM, as a resource manager.
    pub fn notify(&mut self, delivery: Delivery) -> Answer {
        let id = delivery.transaction;
        if !self.transactions.contains_key(&id) {
            let undo = delivery.notification == Mask::ROLLBACK;
            return if undo { Answer::Complete } else { Answer::Failed(Status::TRANSACTION_NOT_ACTIVE) };
        }
        let result = match delivery.notification {
            Mask::PREPREPARE => self.write_out(id),
            Mask::PREPARE => match self.prepare(id) {
                Err(Status::PENDING) => return Answer::Pending,
                result => result,
            },
            Mask::COMMIT => self.commit_transaction(id),
            Mask::ROLLBACK => {
                self.undo_transaction(id);
                Ok(())
            }
            _ => Ok(()),
        };
        result.map_or_else(Answer::Failed, |()| Answer::Complete)
    }

    /// Says whether a file has a user-writable view or section, for
    /// [`WritableView`](crate::WritableView) at commit.
    pub fn set_writable_view(&mut self, file: super::FileId, present: bool) {
        if present {
            self.writable_views.insert(file.number());
        } else {
            self.writable_views.remove(&file.number());
        }
    }

    /// Says whether a stream has sections, in the version that a transaction (or everybody) sees. Such a stream is not
    /// cut, emptied or deleted (ntifs/MmCanFileBeTruncated, ntifs/MmFlushImageSection).
    pub fn set_user_mapped(&mut self, file: super::FileId, stream: &Key, view: Option<u64>, present: bool) {
        let mapped = (file.number(), stream.clone(), view.map(TxId));
        if present {
            self.user_mapped.insert(mapped);
        } else {
            self.user_mapped.remove(&mapped);
        }
    }

    /// Says whether a stream has image sections, in the version that a transaction (or everybody) sees
    /// (`minifilter-rules §2.10`). They are sections besides: [`set_user_mapped`](Volume::set_user_mapped).
    pub fn set_image(&mut self, file: super::FileId, stream: &Key, view: Option<u64>, present: bool) {
        let image = (file.number(), stream.clone(), view.map(TxId));
        if present {
            self.images.insert(image);
        } else {
            self.images.remove(&image);
        }
    }

    /// Whether a stream has an image section that keeps an open in this view from writing or deleting it.
    pub(super) fn is_image(&self, number: RecordNumber, stream: &Key, view: Option<TxId>) -> bool {
        let is_there = |view| self.images.contains(&(number, stream.clone(), view));
        let published = || view.is_some() && self.switches.image_keeps_transactions_out && is_there(None);
        !self.images.is_empty() && (is_there(view) || published())
    }

    /// Whether a file has an image section, in any view.
    pub(super) fn has_image(&self, number: RecordNumber) -> bool {
        self.images.iter().any(|(file, ..)| *file == number)
    }

    pub(super) fn is_user_mapped(&self, number: RecordNumber, stream: &Key, view: Option<TxId>) -> bool {
        !self.user_mapped.is_empty() && self.user_mapped.contains(&(number, stream.clone(), view))
    }

    /// Writes a transaction's dirty sectors in place, their undo first.
    pub(super) fn write_out(&mut self, id: TxId) -> Result<(), Status> {
        let Some(tx) = self.transactions.get(&id) else { return Err(Status::TRANSACTION_NOT_ACTIVE) };
        let in_place =
            |sector: &u64| !tx.fresh.contains(&(sector / SECTORS_PER_CLUSTER)) && !tx.undone.contains(sector);
        let new: Vec<u64> = tx.dirty.keys().filter(|sector| in_place(sector)).copied().collect();
        let dirty = tx.dirty.clone();
        if !new.is_empty() {
            let held: usize = self.transactions.values().map(|tx| tx.undone.len()).sum();
            if ((held + new.len()) * SECTOR) as u64 > self.switches.log_capacity {
                self.abort(id);
                return Err(Status::LOG_FULL);
            }
            self.log_undo(id, &new)?;
        }
        for (first, bytes) in pieces(dirty.iter().map(|(&sector, bytes)| (sector, &bytes[..]))) {
            self.disk.write(first, &bytes)?;
        }
        if let Some(tx) = self.transactions.get_mut(&id) {
            tx.dirty.clear();
        }
        Ok(())
    }

    fn log_undo(&mut self, id: TxId, sectors: &[u64]) -> Result<(), Status> {
        let old: Vec<(u64, SectorBytes)> =
            sectors.iter().map(|&sector| (sector, Arc::new(self.disk.peek_sector(sector)))).collect();
        for (first, bytes) in pieces(old.iter().map(|(sector, bytes)| (*sector, &bytes[..]))) {
            self.log(LogRecord::Undo { transaction: id.0, first, bytes: bytes.into() })?;
        }
        self.flush_disk()?;
        if let Some(tx) = self.transactions.get_mut(&id) {
            tx.undone.extend(sectors);
        }
        self.shadowed.extend(old);
        Ok(())
    }

    /// The transaction that has an open's file locked for writing, as FSCTL_TXFS_GET_METADATA_INFO reports.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn locking_transaction(&self, id: super::OpenId) -> Result<Option<TxId>, Status> {
        let number = self.open(id)?.file.number();
        Ok(self.locked_by_other(number, None))
    }

    /// The files that a transaction has locked for writing, as FSCTL_TXFS_LIST_TRANSACTION_LOCKED_FILES.
    pub fn locked_files(&self, transaction: TxId) -> Vec<super::FileId> {
        let files = self.transactions.get(&transaction).into_iter().flat_map(|tx| &tx.files);
        files.map(|(&number, file)| super::FileId::new(number, file.record.sequence)).collect()
    }

    /// Whether a transaction overwrote this sector in place.
    pub(super) fn has_overwritten(&self, id: TxId, sector: u64) -> bool {
        self.transactions.get(&id).is_some_and(|tx| tx.undone.contains(&sector))
    }

    /// Undo flushed, data flushed: from here a commit record alone decides.
    fn prepare(&mut self, id: TxId) -> Result<(), Status> {
        let files = &self.transactions[&id].files;
        let viewed = files.iter().any(|(number, file)| file.modified && self.writable_views.contains(number));
        match self.switches.writable_view_at_commit {
            WritableView::Abort if viewed => return Err(Status::USER_MAPPED_FILE),
            WritableView::Wait if viewed => return Err(Status::PENDING),
            _ => {}
        }
        self.write_out(id)?;
        self.flush_disk()?;
        if let Some(tx) = self.transactions.get_mut(&id) {
            tx.prepared = true;
        }
        Ok(())
    }

    fn commit_transaction(&mut self, id: TxId) -> Result<(), Status> {
        self.report_left(Some(id), None);
        let changes = self.final_changes(id);
        let frozen = self.freeze_readers(id);
        let record = LogRecord::Commit { transaction: id.0, changes };
        self.disk.append(record.encode())?;
        // The record is in the log: nothing after it can take it back. If it cannot be made durable the
        // volume is lost, and the next mount finds out which it was.
        if self.disk.flush().is_err() && self.disk.flush().is_err() {
            self.disk.cut_power();
            return Err(Status::IO_DEVICE_ERROR);
        }
        self.space.flushed();
        let LogRecord::Commit { changes, .. } = record else { unreachable!("made above") };
        self.publish(id, &changes, frozen);
        Ok(())
    }

    /// Everything that the transaction did to metadata, in an order that [`Metadata`](super::Metadata) can
    /// apply.
    fn final_changes(&self, id: TxId) -> Vec<Change> {
        let tx = &self.transactions[&id];
        let mut changes = Vec::new();
        for (&number, file) in tx.files.iter().filter(|(_, file)| file.modified) {
            let gone = file.record.links.is_empty() && number != super::record::ROOT;
            let existed = self.metadata.file(number).is_some();
            let in_use = self
                .opens
                .values()
                .any(|open| open.file.number() == number && !open.volume && open.transaction != Some(id));
            match (gone, existed, in_use) {
                (false, ..) | (true, true, true) => changes.push(Change::Put(number, file.record.clone())),
                (true, true, false) => changes.push(Change::Remove(number)),
                (true, false, _) => {}
            }
        }
        let (added, removed): (Vec<_>, Vec<_>) = tx.index.iter().partition(|(_, entry)| entry.is_some());
        changes.extend(removed.into_iter().map(|((parent, key), _)| Change::Unlink(*parent, key.clone())));
        let entries = added.into_iter().filter_map(|((parent, _), entry)| Some((*parent, entry.clone()?)));
        changes.extend(entries.map(|(parent, entry)| Change::Link(parent, entry)));
        // Others change directories meanwhile (`txf-ktm §4.1`): a later change's times stay.
        let is_later = |number: RecordNumber, time: i64| {
            self.metadata.file(number).is_none_or(|directory| directory.times.change <= time)
        };
        let touched = tx.touched.iter().filter(|&(&number, &time)| is_later(number, time));
        changes.extend(touched.map(|(&number, &time)| Change::Touch(number, time)));
        changes
    }

    /// Transacted readers keep the version that they opened (`txf-ktm §4.1`).
    fn freeze_readers(&mut self, id: TxId) -> BTreeMap<RecordNumber, Arc<Frozen>> {
        let tx = &self.transactions[&id];
        let modified: Vec<RecordNumber> =
            tx.files.iter().filter(|(_, file)| file.modified).map(|(&number, _)| number).collect();
        let mut frozen = BTreeMap::new();
        for number in modified {
            let read = |open: &&super::Open| {
                open.transaction.is_some_and(|other| other != id) && !open.directory && open.frozen.is_none()
            };
            if self.opens_of(number).any(|open| read(&open)) {
                let Ok(record) = self.folded(View::Committed, number) else { continue };
                let streams = record.streams.iter().map(|(key, stream)| {
                    (key.clone(), self.peek_stream(View::Committed, number, key, stream))
                });
                let streams = streams.collect();
                frozen.insert(number, Arc::new(Frozen { record: Arc::new(record), streams }));
            }
        }
        frozen
    }

    fn publish(&mut self, id: TxId, changes: &[Change], frozen: BTreeMap<RecordNumber, Arc<Frozen>>) {
        let tx = self.transactions.remove(&id).expect("the caller looked it up");
        let mut used = BTreeSet::new();
        let mut released = Vec::new();
        for (&number, file) in tx.files.iter().filter(|(_, file)| file.modified) {
            let removed = changes.contains(&Change::Remove(number));
            if !removed
                && changes.iter().any(|change| matches!(change, Change::Put(put, _) if *put == number))
            {
                used.extend(clusters(&file.record));
            }
            released.extend(self.metadata.file(number).into_iter().flat_map(|old| clusters(old)));
        }
        released.extend(tx.fresh.iter().copied());
        changes.iter().for_each(|change| self.metadata.apply(change));
        let free: Vec<Run> = released
            .into_iter()
            .filter(|cluster| !used.contains(cluster))
            .map(|lcn| Run { vcn: 0, lcn, count: 1 })
            .collect();
        self.space.release(&free);
        tx.undone.iter().for_each(|sector| drop(self.shadowed.remove(sector)));
        self.end_watches_of(id);
        for open in self.opens.values_mut().filter(|open| !open.volume) {
            let number = open.file.number();
            if open.transaction == Some(id) {
                open.ended = Some(Status::HANDLE_NO_LONGER_VALID);
            } else if let Some(version) = frozen.get(&number).filter(|_| open.transaction.is_some()) {
                open.frozen.get_or_insert_with(|| version.clone());
            }
            // A name that the transaction took away is replaced by one that the file has now.
            if tx.files.contains_key(&number)
                && let Some(record) = self.metadata.file(number)
                && open.link.as_ref().is_some_and(|link| !record.links.contains(link))
                && !record.links.is_empty()
            {
                open.link = record.links.first().cloned();
            }
        }
        self.deliver_committed(tx.reports);
        let gone = tx.files.iter().filter(|(_, file)| file.modified && file.record.links.is_empty());
        gone.for_each(|(&number, _)| self.directory_goes(number));
    }

    /// The directory handles of a transaction have ended.
    fn end_watches_of(&mut self, id: TxId) {
        let own = |open: &super::Open| open.transaction == Some(id);
        let opens: BTreeSet<super::OpenId> =
            self.opens.iter().filter(|(_, open)| own(open)).map(|(open, _)| *open).collect();
        self.end_watches(Status::HANDLE_NO_LONGER_VALID, |open, _| opens.contains(&open));
    }

    /// Undoes everything: sectors first, then, once they are durable, the record that ends the undo.
    pub(super) fn undo_transaction(&mut self, id: TxId) {
        let Some(tx) = self.transactions.remove(&id) else { return };
        self.end_watches_of(id);
        self.forget_unreported(Some(id), None);
        for open in self.opens.values_mut().filter(|open| open.transaction == Some(id)) {
            open.ended = Some(Status::HANDLE_NO_LONGER_VALID);
        }
        let fresh: Vec<Run> = tx.fresh.iter().map(|&lcn| Run { vcn: 0, lcn, count: 1 }).collect();
        self.space.release(&fresh);
        if tx.undone.is_empty() {
            return;
        }
        if self.restore(id, &tx.undone).is_ok() {
            tx.undone.iter().for_each(|sector| drop(self.shadowed.remove(sector)));
        } else {
            // The committed contents stay in the cache, recovery restores them on the disk.
            self.switches.resource_manager_active = false;
        }
    }

    fn restore(&mut self, id: TxId, sectors: &BTreeSet<u64>) -> Result<(), Status> {
        let old: Vec<(u64, SectorBytes)> =
            sectors.iter().map(|sector| (*sector, self.shadowed[sector].clone())).collect();
        for (first, bytes) in pieces(old.iter().map(|(sector, bytes)| (*sector, &bytes[..]))) {
            self.disk.write(first, &bytes)?;
        }
        self.flush_disk()?;
        self.log(LogRecord::Abort { transaction: id.0 })
    }
}

/// The clusters of every stream.
fn clusters(record: &FileRecord) -> impl Iterator<Item = u64> {
    record.streams.values().flat_map(|stream| &stream.runs).flat_map(|run| run.lcn..run.lcn + run.count)
}

/// Joins neighbouring sectors into pieces of at most [`MAX_WRITE`] bytes.
pub(super) fn pieces<'a>(sectors: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<(u64, Vec<u8>)> {
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    for (sector, bytes) in sectors {
        match pieces.last_mut() {
            Some((first, piece))
                if *first + (piece.len() / SECTOR) as u64 == sector && piece.len() < MAX_WRITE =>
            {
                piece.extend_from_slice(bytes);
            }
            _ => pieces.push((sector, bytes.to_vec())),
        }
    }
    pieces
}
