//! Whole trees: initial contents, and snapshots for oracles.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{Change, Ea, Entry, FileId, FileRecord, Link, ROOT, RecordNumber, Stream, Times};
use super::security::attributes;
use super::{View, Volume};
use crate::Status;
use crate::names::{Key, Path, Wide};

/// One name in a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// File id.
    pub id: FileId,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
    /// Contents of the unnamed stream; empty for a directory.
    pub data: Vec<u8>,
    /// Contents of the named streams.
    pub streams: BTreeMap<String, Vec<u8>>,
    /// Whether it is a directory.
    pub directory: bool,
    /// The self-relative security descriptor.
    pub security: Arc<[u8]>,
    /// Extended attributes.
    pub eas: Vec<Ea>,
    /// Its times, as far as they are stored.
    pub times: Times,
    /// How many names it has.
    pub links: usize,
    /// Bytes allocated, all streams together.
    pub allocated: u64,
}

/// Every name on a volume, by its path without the leading backslash.
pub type Tree = BTreeMap<String, Node>;

impl Volume {
    /// The committed contents of the whole volume, past every fault and open.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        self.add_to_tree(&mut tree, "", ROOT);
        tree
    }

    fn add_to_tree(&self, tree: &mut Tree, prefix: &str, directory: RecordNumber) {
        for (_, entry) in self.metadata.entries(directory) {
            let Some(record) = self.metadata.file(entry.target) else { continue };
            let path = format!("{prefix}{}", entry.name);
            let mut contents: BTreeMap<String, Vec<u8>> = record
                .streams
                .iter()
                .map(|(key, stream)| {
                    (stream.name.to_text(), self.peek_stream(View::Committed, entry.target, key, stream))
                })
                .collect();
            let data = contents.remove("").unwrap_or_default();
            let node = Node {
                id: FileId::new(entry.target, record.sequence),
                attributes: record.reported_attributes(),
                data,
                streams: contents,
                directory: record.directory,
                security: record.security.clone(),
                eas: record.eas.clone(),
                times: record.times,
                links: record.links.len(),
                allocated: record.streams.values().map(Stream::allocated).sum(),
            };
            tree.insert(path.clone(), node);
            if record.directory {
                self.add_to_tree(tree, &format!("{path}\\"), entry.target);
            }
        }
    }

    /// The committed contents of one file or stream; `None` if there is none of that path.
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let path = Path::parse(&Wide::from(path).0)?;
        let mut number = ROOT;
        for name in &path.components {
            number = self.metadata.lookup(number, &Key::of(&name.0))?.target;
        }
        let key = path.stream.map_or(Key::default(), |name| Key::of(&name.0));
        let stream = self.metadata.file(number)?.streams.get(&key)?;
        Some(self.peek_stream(View::Committed, number, &key, stream))
    }

    /// Puts a file (or stream) with these contents on the volume, with the directories above it, durably and
    /// past every check: for building what a test starts from. Replaces what is there.
    ///
    /// # Errors
    /// DISK_FULL, OBJECT_NAME_INVALID, disk errors.
    pub fn put_file(&mut self, path: &str, data: &[u8]) -> Result<FileId, Status> {
        let parsed = Path::parse(&Wide::from(path).0).ok_or(Status::OBJECT_NAME_INVALID)?;
        let (name, above) = parsed.components.split_last().ok_or(Status::OBJECT_NAME_INVALID)?;
        let parent = self.put_directories(above)?;
        let number = match self.metadata.lookup(parent, &Key::of(&name.0)) {
            Some(entry) => entry.target,
            None => self.put_record(parent, name, false)?,
        };
        let key = parsed.stream.as_ref().map_or(Key::default(), |name| Key::of(&name.0));
        let mut record = self.folded(View::Committed, number)?;
        let stream = record.streams.entry(key.clone()).or_default();
        let removed = std::mem::take(&mut stream.runs);
        let mut new = Stream {
            name: parsed.stream.unwrap_or_default(),
            size: data.len() as u64,
            valid: data.len() as u64,
            runs: Vec::new(),
        };
        self.extend(None, &mut new, 0, data.len() as u64)?;
        self.store(View::Committed, &new, 0, 0, data)?;
        self.disk.flush()?;
        let sequence = record.sequence;
        record.streams.insert(key.clone(), new);
        record.note_write(self.now);
        self.change(View::Committed, vec![Change::Put(number, Arc::new(record))])?;
        self.space.release_later(&removed);
        self.valid_ahead.remove(&(number, key));
        self.disk.flush()?;
        self.space.flushed();
        Ok(FileId::new(number, sequence))
    }

    /// Makes a directory and those above it, like [`put_file`](Volume::put_file).
    ///
    /// # Errors
    /// As there.
    pub fn put_directory(&mut self, path: &str) -> Result<FileId, Status> {
        let parsed = Path::parse(&Wide::from(path).0).ok_or(Status::OBJECT_NAME_INVALID)?;
        let number = self.put_directories(&parsed.components)?;
        self.disk.flush()?;
        self.space.flushed();
        let sequence = self.metadata.file(number).map_or(0, |record| record.sequence);
        Ok(FileId::new(number, sequence))
    }

    fn put_directories(&mut self, names: &[Wide]) -> Result<RecordNumber, Status> {
        let mut parent = ROOT;
        for name in names {
            parent = match self.metadata.lookup(parent, &Key::of(&name.0)) {
                Some(entry) => entry.target,
                None => self.put_record(parent, name, true)?,
            };
        }
        Ok(parent)
    }

    fn put_record(
        &mut self,
        parent: RecordNumber,
        name: &Wide,
        directory: bool,
    ) -> Result<RecordNumber, Status> {
        let (number, sequence) = self.metadata.free_record(|number| self.is_claimed(number));
        let above = self.metadata.file(parent).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
        let record = FileRecord {
            sequence,
            directory,
            attributes: if directory { 0 } else { attributes::ARCHIVE },
            sparse: false,
            times: Times { creation: self.now, access: self.now, write: self.now, change: self.now },
            security: above.security.clone(),
            eas: Vec::new(),
            reparse: None,
            links: vec![Link { parent, name: name.clone() }],
            streams: if directory {
                BTreeMap::new()
            } else {
                BTreeMap::from([(Key::default(), Stream::default())])
            },
        };
        let changes = vec![
            Change::Put(number, Arc::new(record)),
            Change::Link(parent, Entry { name: name.clone(), target: number }),
        ];
        self.change(View::Committed, changes)?;
        Ok(number)
    }
}
