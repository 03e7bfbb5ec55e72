//! Formatting, mounting, and the recovery that mounting is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::record::{Change, FileRecord, LogRecord, Metadata, ROOT, RecordNumber, Run, Times};
use super::{Base, Disk, Space, Volume, everyone_all};
use crate::names::Wide;
use crate::{Status, Switches};

/// Why a base cannot be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountError {
    /// There is no volume on it: its log is empty.
    NotFormatted,
    /// A log record does not decode; the number of the record, from 0.
    LogDamaged(usize),
    /// The undo of unfinished transactions could not be written.
    Recovery(Status),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::NotFormatted => f.write_str("there is no volume on this disk; format it first"),
            MountError::LogDamaged(record) => {
                write!(f, "the volume's log is damaged at record {record}; take another copy of the image")
            }
            MountError::Recovery(status) => {
                write!(f, "unfinished transactions could not be undone: {status}")
            }
        }
    }
}

impl std::error::Error for MountError {}

impl Base {
    /// An empty volume of that many clusters.
    pub fn formatted(clusters: u64, label: &str) -> Base {
        let mut metadata = Metadata::default();
        metadata.apply(&Change::Label(Wide::from(label)));
        let root = FileRecord {
            sequence: ROOT as u16,
            directory: true,
            attributes: 0,
            sparse: false,
            times: Times::default(),
            security: everyone_all(),
            eas: Vec::new(),
            reparse: None,
            links: Vec::new(),
            streams: BTreeMap::new(),
        };
        metadata.apply(&Change::Put(ROOT, Arc::new(root)));
        let mut base = Base::blank(clusters);
        base.set_log(vec![LogRecord::Checkpoint(Box::new(metadata)).encode().into()]);
        base
    }
}

/// Old contents of sectors (first sector, bytes), by transaction, in the order of the log.
type Undo = BTreeMap<u64, Vec<(u64, Arc<[u8]>)>>;

/// What the log says.
struct Replay {
    metadata: Metadata,
    /// Undo of transactions without an end.
    unfinished: Undo,
}

fn replay(base: &Base) -> Result<Replay, MountError> {
    let mut replay = Replay { metadata: Metadata::default(), unfinished: BTreeMap::new() };
    if base.log().is_empty() {
        return Err(MountError::NotFormatted);
    }
    for (index, bytes) in base.log().iter().enumerate() {
        match LogRecord::decode(bytes).ok_or(MountError::LogDamaged(index))? {
            LogRecord::Checkpoint(metadata) => replay.metadata = *metadata,
            LogRecord::Changes(changes) => changes.iter().for_each(|change| replay.metadata.apply(change)),
            LogRecord::Undo { transaction, first, bytes } => {
                replay.unfinished.entry(transaction).or_default().push((first, bytes));
            }
            LogRecord::Commit { transaction, changes } => {
                replay.unfinished.remove(&transaction);
                changes.iter().for_each(|change| replay.metadata.apply(change));
            }
            LogRecord::Abort { transaction } => drop(replay.unfinished.remove(&transaction)),
        }
    }
    Ok(replay)
}

impl Volume {
    /// Mounts what is durable on a disk: replays the log and undoes every transaction without a commit
    /// record (presumed abort, `txf-ktm §4.6`). The undo goes through the disk's effects like everything
    /// else, so recovery can crash too.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn mount(base: Base) -> Result<Volume, MountError> {
        Volume::mount_disk(Disk::new(base))
    }

    /// As [`mount`](Volume::mount), on a disk with faults already planned.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn mount_disk(disk: Disk) -> Result<Volume, MountError> {
        let Replay { metadata, unfinished } = replay(&disk.orderly())?;
        let runs: Vec<Run> = metadata
            .files()
            .flat_map(|(_, record)| record.streams.values().flat_map(|stream| stream.runs.clone()))
            .collect();
        let space = Space::new(disk.clusters(), runs.iter());
        let mut volume = Volume {
            switches: Switches::default(),
            disk,
            number: 0,
            serial: 0x1AB0_0001,
            now: 0x01DA_0000_0000_0000,
            metadata,
            space,
            valid_ahead: BTreeMap::new(),
            written_at: BTreeMap::new(),
            opens: BTreeMap::new(),
            next_open: 1,
            doomed: BTreeMap::new(),
            locks: BTreeMap::new(),
            transactions: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            writable_views: BTreeSet::new(),
            aborted: Vec::new(),
            abort_countdown: None,
            transacted_operations: 0,
            write_failure: None,
        };
        volume.recover(unfinished).map_err(MountError::Recovery)?;
        Ok(volume)
    }

    fn recover(&mut self, unfinished: Undo) -> Result<(), Status> {
        if !unfinished.is_empty() {
            for (first, bytes) in unfinished.values().flat_map(|undo| undo.iter().rev()) {
                self.disk.write(*first, bytes)?;
            }
            self.disk.flush()?;
            for transaction in unfinished.into_keys() {
                self.log(LogRecord::Abort { transaction })?;
            }
        }
        let orphans: Vec<(RecordNumber, Vec<Run>)> = self
            .metadata
            .files()
            .filter(|(number, record)| record.links.is_empty() && *number != ROOT)
            .map(|(number, record)| {
                (number, record.streams.values().flat_map(|stream| stream.runs.clone()).collect())
            })
            .collect();
        for (number, runs) in orphans {
            self.log(LogRecord::Changes(vec![Change::Remove(number)]))?;
            self.space.release_later(&runs);
        }
        Ok(())
    }

    /// Gives the volume the number by which KTM knows it, when there are several.
    pub fn set_number(&mut self, number: u32) {
        self.number = number;
    }
}
