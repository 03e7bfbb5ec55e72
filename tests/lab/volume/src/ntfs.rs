//! NTFS with TxF: files, opens, and what of them survives a crash.
//!
//! Metadata is a structure that only log records change, by the same function while running and in recovery.
//! File data lives in clusters of the [`Disk`]. Outside transactions a write emits its sectors at once and
//! does not flush (the crash model's subset rule is the lazy writer), size and name changes are log records,
//! and the valid data length in the log moves only after the data under it was flushed, so a crash can lose
//! the tail of a file to zeros but never shows another file's old data.
//!
//! Approximated: there are no resident streams, short names, compression or quotas; last-access times do not
//! move by themselves; a directory has no size.

mod check;
mod clusters;
mod create;
mod data;
mod delete;
mod directory;
mod dismount;
mod grant;
mod info;
mod locks;
mod oplocks;
mod overwrite;
mod query;
mod record;
mod recovery;
mod report;
mod request;
mod security;
mod sharing;
mod size;
mod space;
mod tree;
mod txf;
mod volume_info;
mod walk;
mod watch;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::{Base, CLUSTER, Disk, SECTOR, SECTORS_PER_CLUSTER};
use crate::ktm::TxId;
use crate::names::{Key, Wide};
use crate::{Status, Switches};

pub use data::{Io, WriteAt};
pub use directory::DirectoryEntry;
pub use info::{BasicUpdate, DispositionFlags, NameFlags, NameTarget};
pub use locks::LockOwner;
pub use oplocks::{Existing, OplockCheck, Stage};
pub use query::{AllInformation, Basic, Standard, StreamInformation};
pub use record::{Ea, FileId, Reparse, Times};
pub use recovery::MountError;
pub use request::{Action, Create, CreateRequest, Created, Disposition, Options, ReparseStop, Share, Target};
pub use security::{
    Ace, EVERYONE, LOCAL_SYSTEM, Subject, access, attributes, descriptor, everyone_all, is_descriptor,
    map_generic,
};
pub use tree::{Node, Tree};
pub use volume_info::{RmInformation, SUPPORTS_TRANSACTIONS, VolumeInformation};
pub use watch::{Notified, NotifyAction, NotifyId, NotifyRecord, Watching, notify};
pub use whole::Whole;

use delete::Doom;
use locks::Lock;
use record::{Change, Entry, FileRecord, Link, LogRecord, Metadata, RecordNumber};
use space::Space;
use txf::Tx;

/// Identifies an open (a file object's file-system half); never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenId(pub u64);

/// Which version of the volume somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// The last committed one.
    Committed,
    /// That, with the changes of one transaction.
    Inside(TxId),
}

impl View {
    fn of(transaction: Option<TxId>) -> View {
        transaction.map_or(View::Committed, View::Inside)
    }

    fn transaction(self) -> Option<TxId> {
        match self {
            View::Committed => None,
            View::Inside(tx) => Some(tx),
        }
    }
}

/// The contents of a file at one moment, for transacted readers of a file that somebody else then changed.
#[derive(Clone, Debug)]
struct Frozen {
    record: Arc<FileRecord>,
    streams: BTreeMap<Key, Vec<u8>>,
}

/// State of one open.
#[derive(Clone, Debug)]
struct Open {
    file: FileId,
    stream: Key,
    /// The name that it was opened by; the target of rename and delete.
    link: Option<Link>,
    directory: bool,
    /// The volume itself, not a file.
    volume: bool,
    access: u32,
    share: Share,
    /// Whether it takes part in share-mode checks.
    shares: bool,
    transaction: Option<TxId>,
    /// A TxF writer, by its access or because its transaction had one already.
    writer: bool,
    view: View,
    /// Its transaction is over, and this is what every operation gets now.
    ended: Option<Status>,
    frozen: Option<Arc<Frozen>>,
    delete_on_close: bool,
    /// Opened as the folder of a rename's or link's new name.
    target_directory: bool,
    cleaned: bool,
    process: u64,
}

type StreamKey = (RecordNumber, Key);
type SectorBytes = Arc<[u8; SECTOR]>;

/// A mounted volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Undocumented behaviour, both ways.
    pub switches: Switches,
    /// The disk, for planning faults and building crashes.
    pub disk: Disk,
    number: u32,
    serial: u32,
    now: i64,
    metadata: Metadata,
    space: Space,
    /// Valid data lengths that the log does not know yet, because the data is not flushed.
    valid_ahead: BTreeMap<StreamKey, u64>,
    /// Times of writes that the log does not know yet.
    written_at: BTreeMap<RecordNumber, i64>,
    opens: BTreeMap<OpenId, Open>,
    /// Opens that a dismount has left behind, until they are closed.
    dismounted: BTreeMap<OpenId, dismount::Dead>,
    /// Who has the volume for itself.
    locked: Option<dismount::Lock>,
    next_open: u64,
    doomed: BTreeMap<RecordNumber, Doom>,
    locks: BTreeMap<StreamKey, Vec<Lock>>,
    watches: BTreeMap<OpenId, watch::Watch>,
    /// Requests for changes that have ended, until somebody asks.
    notified: BTreeMap<NotifyId, Notified>,
    next_notify: u64,
    unreported: report::Unreported,
    transactions: BTreeMap<TxId, Tx>,
    /// Committed contents of sectors that a live transaction has overwritten in place.
    shadowed: BTreeMap<u64, SectorBytes>,
    writable_views: BTreeSet<RecordNumber>,
    /// Streams with sections, in the version that a transaction or everybody sees.
    user_mapped: BTreeSet<(RecordNumber, Key, Option<TxId>)>,
    images: BTreeSet<(RecordNumber, Key, Option<TxId>)>,
    /// Transactions that this volume has aborted by itself and KTM must hear of.
    aborted: Vec<TxId>,
    /// Abort the transaction that reaches this many more operation boundaries.
    abort_countdown: Option<u64>,
    transacted_operations: u64,
    /// Fail a coming write: how many before it, and the status.
    write_failure: Option<(u64, Status)>,
    /// Fail every change of a name with this status.
    name_failure: Option<Status>,
}

impl Volume {
    /// Sets the clock, in 100 ns since 1601.
    pub fn set_time(&mut self, now: i64) {
        self.now = now;
    }

    /// The clock.
    pub fn time(&self) -> i64 {
        self.now
    }

    fn open(&self, id: OpenId) -> Result<&Open, Status> {
        self.opens
            .get(&id)
            .ok_or_else(|| self.dismounted.get(&id).map_or(Status::INVALID_HANDLE, |dead| dead.status()))
    }

    /// The open, if it may still be used for something other than cleanup and close: its transaction is not
    /// over (`txf-ktm §4.4`). This is also the boundary at which planned aborts strike.
    fn live(&mut self, id: OpenId) -> Result<Open, Status> {
        self.open(id)?;
        if self.disk.power_is_gone() {
            return Err(Status::DEVICE_POWER_FAILURE);
        }
        if let Some(tx) = self.open(id)?.transaction.filter(|_| self.opens[&id].ended.is_none()) {
            self.boundary(tx);
        }
        let open = self.open(id)?;
        match open.ended {
            Some(status) => Err(status),
            None => Ok(open.clone()),
        }
    }

    /// As [`live`](Volume::live), for an open of a file or directory rather than of the volume.
    fn live_file(&mut self, id: OpenId) -> Result<Open, Status> {
        let open = self.live(id)?;
        if open.volume { Err(Status::INVALID_DEVICE_REQUEST) } else { Ok(open) }
    }

    fn record(&self, view: View, number: RecordNumber) -> Option<&Arc<FileRecord>> {
        let inside = view.transaction().and_then(|tx| self.transactions.get(&tx)?.files.get(&number));
        match inside {
            Some(file) => Some(&file.record),
            None => self.metadata.file(number),
        }
    }

    fn record_of(&self, open: &Open) -> Result<Arc<FileRecord>, Status> {
        if let Some(frozen) = &open.frozen {
            return Ok(frozen.record.clone());
        }
        let record = self.record(open.view, open.file.number()).ok_or(Status::FILE_DELETED)?;
        if record.sequence != (open.file.0 >> 48) as u16 {
            return Err(Status::FILE_DELETED);
        }
        Ok(record.clone())
    }

    fn lookup(&self, view: View, parent: RecordNumber, key: &Key) -> Option<&Entry> {
        let inside =
            view.transaction().and_then(|tx| self.transactions.get(&tx)?.index.get(&(parent, key.clone())));
        match inside {
            Some(entry) => entry.as_ref(),
            None => self.metadata.lookup(parent, key),
        }
    }

    /// Everything in a directory, by folded name.
    fn children(&self, view: View, parent: RecordNumber) -> BTreeMap<Key, Entry> {
        let mut all: BTreeMap<Key, Entry> =
            self.metadata.entries(parent).map(|(key, entry)| (key.clone(), entry.clone())).collect();
        if let Some(tx) = view.transaction().and_then(|tx| self.transactions.get(&tx)) {
            for ((directory, key), entry) in &tx.index {
                match entry {
                    _ if *directory != parent => {}
                    Some(entry) => drop(all.insert(key.clone(), entry.clone())),
                    None => drop(all.remove(key)),
                }
            }
        }
        all
    }

    /// The transaction, other than `own`, that has locked this file for writing.
    fn locked_by_other(&self, number: RecordNumber, own: Option<TxId>) -> Option<TxId> {
        self.transactions
            .iter()
            .find(|(id, tx)| Some(**id) != own && tx.files.contains_key(&number))
            .map(|(&id, _)| id)
    }

    /// Makes metadata changes: in the log, or in the transaction's private copies.
    fn change(&mut self, view: View, changes: Vec<Change>) -> Result<(), Status> {
        match view {
            View::Committed => self.log(LogRecord::Changes(changes)),
            View::Inside(id) => {
                let tx = self.transactions.get_mut(&id).ok_or(Status::TRANSACTION_NOT_ACTIVE)?;
                for change in changes {
                    match change {
                        // A name of its own that it takes away again is nobody's: an outsider may have it.
                        Change::Unlink(parent, key) if self.metadata.lookup(parent, &key).is_none() => {
                            tx.index.remove(&(parent, key));
                        }
                        change => tx.change(change),
                    }
                }
                Ok(())
            }
        }
    }

    fn log(&mut self, record: LogRecord) -> Result<(), Status> {
        self.disk.append(record.encode())?;
        if let LogRecord::Changes(changes) | LogRecord::Commit { changes, .. } = &record {
            changes.iter().for_each(|change| self.metadata.apply(change));
        }
        Ok(())
    }

    /// Changes a file's record in the view of an open, its change time included.
    fn edit(&mut self, open: &Open, edit: impl FnOnce(&mut FileRecord)) -> Result<(), Status> {
        let number = open.file.number();
        self.lock_for(open.transaction, number)?;
        let view = View::of(open.transaction);
        let mut record = self.folded(view, number)?;
        record.times.change = self.now;
        edit(&mut record);
        self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        if open.transaction.is_none() {
            // The log knows it now; folded in again, it would undo what was set.
            self.written_at.remove(&number);
        }
        Ok(())
    }

    /// The record with what only the cache knows: times of writes. (Valid data lengths stay behind: the log
    /// may learn them only after a flush.)
    fn folded(&self, view: View, number: RecordNumber) -> Result<FileRecord, Status> {
        let mut record = FileRecord::clone(self.record(view, number).ok_or(Status::FILE_DELETED)?);
        if let Some(&time) = self.written_at.get(&number)
            && self.is_committed_version(view, number)
        {
            record.note_write(time);
        }
        Ok(record)
    }

    fn is_committed_version(&self, view: View, number: RecordNumber) -> bool {
        view.transaction()
            .and_then(|tx| self.transactions.get(&tx))
            .is_none_or(|tx| !tx.files.contains_key(&number))
    }

    /// Bytes of a stream that hold written data, in a view.
    fn valid(&self, view: View, number: RecordNumber, key: &Key) -> u64 {
        let stored =
            self.record(view, number).and_then(|record| record.streams.get(key)).map_or(0, |s| s.valid);
        if self.is_committed_version(view, number) {
            let ahead = self.valid_ahead.get(&(number, key.clone())).copied().unwrap_or(0);
            stored.max(ahead)
        } else {
            stored
        }
    }

    /// Makes everything durable that was written outside transactions, and lets the log catch up with the
    /// valid data lengths.
    fn flush_disk(&mut self) -> Result<(), Status> {
        self.disk.flush()?;
        self.space.flushed();
        let mut records: BTreeMap<RecordNumber, FileRecord> = BTreeMap::new();
        for ((number, key), &valid) in &self.valid_ahead {
            let Some(record) = self.metadata.file(*number) else { continue };
            let record = records.entry(*number).or_insert_with(|| FileRecord::clone(record));
            if let Some(stream) = record.streams.get_mut(key) {
                stream.valid = stream.valid.max(valid.min(stream.size));
            }
        }
        if !records.is_empty() {
            let changes = records.into_iter().map(|(number, record)| Change::Put(number, Arc::new(record)));
            self.log(LogRecord::Changes(changes.collect()))?;
        }
        self.valid_ahead.clear();
        Ok(())
    }

    /// What the lazy writer does by itself after an operation.
    fn lazy_writer(&mut self) {
        let interval = self.switches.lazy_writer_interval;
        if interval > 0 && self.disk.unflushed_count() >= interval {
            // Nobody waits for the lazy writer: what fails here fails again where somebody does.
            let _ = self.flush_disk();
        }
    }

    /// Takes clusters, waiting for a flush if only unflushed ones are free.
    fn allocate(&mut self, count: u64) -> Result<Vec<(u64, u64)>, Status> {
        if self.space.available() < count {
            return Err(Status::DISK_FULL);
        }
        if self.space.ready() < count {
            self.flush_disk()?;
        }
        Ok(self.space.take(count))
    }

    /// Limits the free space to this many bytes from now on, as if the disk were smaller; `None` lifts the
    /// limit.
    pub fn set_free_space(&mut self, bytes: Option<u64>) {
        self.space.budget = bytes.map(|bytes| bytes / CLUSTER as u64);
    }

    /// Lets every rename, link and deletion mark fail with this status from now on, as where the disk or its log is
    /// full; `None` lets them succeed again.
    pub fn fail_name_changes(&mut self, status: Option<Status>) {
        self.name_failure = status;
    }

    /// Whether the name of an open file may be changed now.
    fn may_change_names(&self, open: &Open) -> Result<(), Status> {
        if let Some(status) = self.name_failure {
            return Err(status);
        }
        let beside = self.switches.names_beside_plain_open;
        let others = || self.opens_of(open.file.number()).any(|other| other.transaction.is_none());
        if open.transaction.is_some() && beside != Status::SUCCESS && others() {
            return Err(beside);
        }
        Ok(())
    }

    /// Everything on the volume as after an orderly dismount: flushed, transactions undone, and the log
    /// shortened to a checkpoint.
    pub fn dismount(mut self) -> Base {
        for id in self.transactions.keys().copied().collect::<Vec<_>>() {
            self.undo_transaction(id);
        }
        let _ = self.flush_disk();
        let mut base = self.disk.orderly();
        base.set_log(vec![LogRecord::Checkpoint(Box::new(self.metadata)).encode().into()]);
        base
    }

    /// Names of the link with the given parent, up to the root: a path from the root of the volume.
    fn path_of(&self, view: View, link: &Link) -> Wide {
        let mut parts = vec![link.name.clone()];
        let mut parent = link.parent;
        while parent != record::ROOT
            && let Some(up) = self.record(view, parent).and_then(|record| record.links.first())
        {
            parts.push(up.name.clone());
            parent = up.parent;
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(u16::from(b'\\'));
            path.extend_from_slice(&part.0);
        }
        Wide(path)
    }
}

/// Sectors of a logical cluster.
fn sectors_of(lcn: u64) -> std::ops::Range<u64> {
    lcn * SECTORS_PER_CLUSTER..(lcn + 1) * SECTORS_PER_CLUSTER
}
