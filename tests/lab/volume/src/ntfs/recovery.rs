//! Formatting, mounting, and the recovery that mounting is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::data::MAX_SIZE;
use super::record::{Change, FileRecord, LogRecord, Metadata, ROOT, RecordNumber, Run, Times};
use super::{Base, Disk, SECTOR, SECTORS_PER_CLUSTER, Space, Volume, everyone_all};
use crate::names::Wide;
use crate::{Status, Switches};

/// Why a base cannot be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountError {
    /// There is no volume on it: its log is empty.
    NotFormatted,
    /// A log record does not decode; the number of the record, from 0.
    LogDamaged(usize),
    /// The log decodes, but what it says cannot be a volume.
    Inconsistent(&'static str),
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
            MountError::Inconsistent(what) => {
                write!(f, "the volume contradicts itself: {what}; take another copy of the image")
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
pub(super) type Undo = BTreeMap<u64, Vec<(u64, Arc<[u8]>)>>;

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

/// Whether a log that decodes describes something that the rest of this crate can walk: every cluster on the
/// disk, every directory below the root.
fn validate(replay: &Replay, clusters: u64) -> Result<(), &'static str> {
    let metadata = &replay.metadata;
    let directory = |number| metadata.file(number).is_some_and(|record| record.directory);
    if !directory(ROOT) {
        return Err("it has no root directory");
    }
    for (number, record) in metadata.files() {
        for stream in record.streams.values() {
            let mut next = 0;
            for run in &stream.runs {
                let end = run.lcn.checked_add(run.count).filter(|&end| run.count > 0 && end <= clusters);
                if end.is_none() || run.vcn < next || stream.valid > stream.size || stream.size > MAX_SIZE {
                    return Err("a file lies outside of the disk");
                }
                next = run.vcn.checked_add(run.count).ok_or("a file lies outside of the disk")?;
            }
        }
        for mut parent in record.links.iter().map(|link| link.parent) {
            let mut steps = 0;
            while parent != ROOT {
                let above = metadata.file(parent).filter(|record| record.directory && steps <= 1000);
                parent = above.and_then(|record| record.links.first()).ok_or("a file has no way up")?.parent;
                steps += 1;
            }
        }
        for (_, entry) in metadata.entries(number) {
            let target = metadata.file(entry.target).ok_or("a name leads nowhere")?;
            if !target.links.iter().any(|link| link.parent == number) {
                return Err("a name leads to a file that does not know it");
            }
        }
    }
    let inside = |(first, bytes): &(u64, Arc<[u8]>)| {
        let end = first.checked_add((bytes.len() / SECTOR) as u64);
        bytes.len().is_multiple_of(SECTOR)
            && end.is_some_and(|end| end.div_ceil(SECTORS_PER_CLUSTER) <= clusters)
    };
    let undo = replay.unfinished.values().flatten();
    if undo.into_iter().all(inside) { Ok(()) } else { Err("undo data lies outside of the disk") }
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
        let replay = replay(&disk.orderly())?;
        validate(&replay, disk.clusters()).map_err(MountError::Inconsistent)?;
        let Replay { metadata, unfinished } = replay;
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
            dismounted: BTreeMap::new(),
            locked: None,
            next_open: 1,
            doomed: BTreeMap::new(),
            locks: BTreeMap::new(),
            watches: BTreeMap::new(),
            notified: BTreeMap::new(),
            next_notify: 0,
            unreported: BTreeMap::new(),
            transactions: BTreeMap::new(),
            shadowed: BTreeMap::new(),
            writable_views: BTreeSet::new(),
            user_mapped: BTreeSet::new(),
            images: BTreeSet::new(),
            aborted: Vec::new(),
            abort_countdown: None,
            transacted_operations: 0,
            write_failure: None,
            name_failure: None,
        };
        volume.recover(unfinished).map_err(MountError::Recovery)?;
        Ok(volume)
    }

    pub(super) fn recover(&mut self, unfinished: Undo) -> Result<(), Status> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use oorandom::Rand64;

    /// A crashed base with a name in a directory and undo in its log.
    fn base() -> Base {
        let mut volume = Volume::mount(Base::formatted(64, "C")).unwrap();
        volume.put_file(r"a\b\c", &[1; 9000]).unwrap();
        volume.put_file(r"a\d", &[2; 3000]).unwrap();
        let changes = LogRecord::Undo { transaction: 1, first: 8, bytes: vec![9; 1024].into() };
        volume.disk.append(changes.encode()).unwrap();
        volume.disk.orderly()
    }

    #[test]
    fn a_base_with_undo_in_its_log_mounts() {
        let volume = Volume::mount(base()).unwrap();
        volume.check().unwrap();
        assert_eq!(volume.tree().len(), 4);
    }

    /// Never a panic, whatever the log says: it may come from a file.
    #[test]
    fn a_log_with_any_byte_changed_mounts_or_is_refused() {
        let base = base();
        let mut refused = 0;
        for seed in 0..3000 {
            let mut random = Rand64::new(seed);
            let mut log = base.log().to_vec();
            let at = random.rand_range(0..log.len() as u64) as usize;
            let mut record = log[at].to_vec();
            for _ in 0..random.rand_range(1..4) {
                let byte = random.rand_range(0..record.len() as u64) as usize;
                record[byte] = random.rand_u64() as u8;
            }
            log[at] = record.into();
            let mut damaged = base.clone();
            damaged.set_log(log);
            match Volume::mount(damaged) {
                Ok(volume) => drop((volume.tree(), volume.check(), volume.dismount())),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 300, "{refused}");
    }
}
