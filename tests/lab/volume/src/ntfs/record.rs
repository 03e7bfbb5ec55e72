//! The metadata of a volume, and the log records that are the only way to change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::CLUSTER;
use crate::names::{Key, Wide};

/// Number of a file record. [`ROOT`] is the root directory.
pub(crate) type RecordNumber = u32;

/// The root directory's record, as on NTFS.
pub(crate) const ROOT: RecordNumber = 5;
/// The first record for ordinary files, as on NTFS.
const FIRST_USER: RecordNumber = 24;

/// A file id (file reference number): record number in the low 48 bits, sequence number in the high 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub u64);

impl FileId {
    pub(crate) fn new(number: RecordNumber, sequence: u16) -> FileId {
        FileId(u64::from(number) | u64::from(sequence) << 48)
    }

    pub(crate) fn number(self) -> RecordNumber {
        self.0 as u32
    }
}

/// The four times of a file, in 100 ns since 1601.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Times {
    /// Creation.
    pub creation: i64,
    /// Last access. Only changed by setting it: NTFS's lazy updates are not modelled.
    pub access: i64,
    /// Last write of data.
    pub write: i64,
    /// Last change of data or metadata.
    pub change: i64,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ea {
    /// FILE_NEED_EA or 0.
    pub flags: u8,
    /// The name, in upper case once stored.
    pub name: Vec<u8>,
    /// The value; empty deletes when setting.
    pub value: Vec<u8>,
}

/// A reparse point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reparse {
    /// The tag.
    pub tag: u32,
    /// Everything behind the common header.
    pub data: Arc<[u8]>,
}

/// A piece of a stream: `count` clusters from virtual cluster `vcn` on at logical cluster `lcn`. What no run
/// covers is a hole and reads as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) vcn: u64,
    pub(crate) lcn: u64,
    pub(crate) count: u64,
}

/// A data stream.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) name: Wide,
    pub(crate) size: u64,
    /// Valid data length: from here to `size` reads as zeros.
    pub(crate) valid: u64,
    pub(crate) runs: Vec<Run>,
}

impl Stream {
    /// Bytes allocated.
    pub(crate) fn allocated(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum::<u64>() * CLUSTER as u64
    }

    /// The logical cluster of a virtual one.
    pub(crate) fn cluster(&self, vcn: u64) -> Option<u64> {
        let index = self.runs.partition_point(|run| run.vcn + run.count <= vcn);
        let run = self.runs.get(index).filter(|run| run.vcn <= vcn)?;
        Some(run.lcn + (vcn - run.vcn))
    }

    /// Adds clusters to a hole, keeping runs sorted and merged.
    pub(crate) fn insert(&mut self, new: Run) {
        let index = self.runs.partition_point(|run| run.vcn < new.vcn);
        if let Some(before) = index.checked_sub(1).and_then(|before| self.runs.get_mut(before))
            && before.vcn + before.count == new.vcn
            && before.lcn + before.count == new.lcn
        {
            before.count += new.count;
        } else {
            self.runs.insert(index, new);
        }
    }

    /// Takes out every cluster in `[from, to)`, and returns them.
    pub(crate) fn remove(&mut self, from: u64, to: u64) -> Vec<Run> {
        let mut kept = Vec::new();
        let mut removed = Vec::new();
        for run in std::mem::take(&mut self.runs) {
            let end = run.vcn + run.count;
            let (low, high) = (run.vcn.max(from), end.min(to));
            if low >= high {
                kept.push(run);
                continue;
            }
            let part = |start: u64, stop: u64| Run {
                vcn: start,
                lcn: run.lcn + (start - run.vcn),
                count: stop - start,
            };
            if run.vcn < low {
                kept.push(part(run.vcn, low));
            }
            removed.push(part(low, high));
            if high < end {
                kept.push(part(high, end));
            }
        }
        self.runs = kept;
        removed
    }
}

/// A name of a file in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) parent: RecordNumber,
    pub(crate) name: Wide,
}

impl Link {
    pub(crate) fn key(&self) -> Key {
        Key::of(&self.name.0)
    }
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) sequence: u16,
    pub(crate) directory: bool,
    /// FILE_ATTRIBUTE_* as set; derived bits (directory, reparse, sparse) are added when queried.
    pub(crate) attributes: u32,
    pub(crate) sparse: bool,
    pub(crate) times: Times,
    pub(crate) security: Arc<[u8]>,
    pub(crate) eas: Vec<Ea>,
    pub(crate) reparse: Option<Reparse>,
    pub(crate) links: Vec<Link>,
    /// By folded name; the unnamed data stream has the empty key, directories have none.
    pub(crate) streams: BTreeMap<Key, Stream>,
}

/// What a directory holds under a folded name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: Wide,
    pub(crate) target: RecordNumber,
}

/// One step of a metadata change. Steps are absolute: they say what is, not what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// The whole record.
    Put(RecordNumber, Arc<FileRecord>),
    /// The record is free.
    Remove(RecordNumber),
    /// A directory entry.
    Link(RecordNumber, Entry),
    /// No directory entry.
    Unlink(RecordNumber, Key),
    /// A directory's contents changed at this time.
    Touch(RecordNumber, i64),
    /// The volume label.
    Label(Wide),
}

/// A log record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogRecord {
    /// All metadata of a volume at rest; what precedes it does not matter.
    Checkpoint(Box<Metadata>),
    /// An untransacted change, atomic as one record.
    Changes(Vec<Change>),
    /// Contents of sectors before a transaction overwrote them in place.
    Undo { transaction: u64, first: u64, bytes: Arc<[u8]> },
    /// The transaction committed, and these are its changes.
    Commit { transaction: u64, changes: Vec<Change> },
    /// The transaction is undone, and its undo data no longer valid.
    Abort { transaction: u64 },
}

impl LogRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data encodes")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<LogRecord> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The metadata of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) label: Wide,
    files: BTreeMap<RecordNumber, Arc<FileRecord>>,
    directories: BTreeMap<RecordNumber, Arc<BTreeMap<Key, Entry>>>,
    /// Last sequence number of records that are free.
    sequences: BTreeMap<RecordNumber, u16>,
}

impl Metadata {
    /// Applies one change: the same function while running and in recovery.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(number, record) => {
                if record.directory {
                    self.directories.entry(*number).or_default();
                }
                self.sequences.remove(number);
                self.files.insert(*number, record.clone());
            }
            Change::Remove(number) => {
                self.directories.remove(number);
                if let Some(record) = self.files.remove(number) {
                    self.sequences.insert(*number, record.sequence);
                }
            }
            Change::Link(parent, entry) => {
                let directory = Arc::make_mut(self.directories.entry(*parent).or_default());
                directory.insert(Key::of(&entry.name.0), entry.clone());
            }
            Change::Unlink(parent, key) => {
                if let Some(directory) = self.directories.get_mut(parent) {
                    Arc::make_mut(directory).remove(key);
                }
            }
            Change::Touch(number, time) => {
                if let Some(record) = self.files.get_mut(number) {
                    let record = Arc::make_mut(record);
                    (record.times.write, record.times.change) = (*time, *time);
                }
            }
            Change::Label(label) => self.label = label.clone(),
        }
    }

    pub(crate) fn file(&self, number: RecordNumber) -> Option<&Arc<FileRecord>> {
        self.files.get(&number)
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (RecordNumber, &Arc<FileRecord>)> {
        self.files.iter().map(|(&number, record)| (number, record))
    }

    pub(crate) fn lookup(&self, parent: RecordNumber, key: &Key) -> Option<&Entry> {
        self.directories.get(&parent)?.get(key)
    }

    pub(crate) fn entries(&self, parent: RecordNumber) -> impl Iterator<Item = (&Key, &Entry)> {
        self.directories.get(&parent).into_iter().flat_map(|directory| directory.iter())
    }

    /// The lowest free record that `taken` does not claim, and the sequence number it gets.
    pub(crate) fn free_record(&self, taken: impl Fn(RecordNumber) -> bool) -> (RecordNumber, u16) {
        let number = (FIRST_USER..)
            .find(|number| !self.files.contains_key(number) && !taken(*number))
            .expect("record numbers do not run out");
        let sequence = self.sequences.get(&number).map_or(1, |last| last.checked_add(1).unwrap_or(1));
        (number, sequence)
    }
}
