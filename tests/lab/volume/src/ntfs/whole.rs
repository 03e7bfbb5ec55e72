//! Everything that is kept of a file, for oracles that compare all of it.

use std::collections::BTreeMap;

use super::record::{Ea, FileId, ROOT, RecordNumber, Reparse, Times};
use super::{View, Volume};
use crate::names::{Key, Path, Wide};

/// A file or directory, whole: its committed version, past every open, with what only the cache knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// File id.
    pub id: FileId,
    /// Whether it is a directory.
    pub directory: bool,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
    /// Times.
    pub times: Times,
    /// Self-relative security descriptor.
    pub security: Vec<u8>,
    /// Extended attributes.
    pub eas: Vec<Ea>,
    /// Reparse point.
    pub reparse: Option<Reparse>,
    /// Its names, each with the directory that it is in.
    pub links: Vec<(FileId, String)>,
    /// By the stream's name, the unnamed one by an empty name: bytes allocated, and the contents.
    pub streams: BTreeMap<String, (u64, Vec<u8>)>,
}

impl Volume {
    /// Every name below a directory, by its path from there; nothing if there is no such directory.
    pub fn subtree(&self, directory: &str) -> BTreeMap<String, Whole> {
        let mut found = BTreeMap::new();
        let Some(path) = Path::parse(&Wide::from(directory).0) else { return found };
        let mut number = ROOT;
        for name in &path.components {
            let Some(entry) = self.metadata.lookup(number, &Key::of(&name.0)) else { return found };
            number = entry.target;
        }
        self.add_whole(&mut found, "", number);
        found
    }

    fn add_whole(&self, found: &mut BTreeMap<String, Whole>, prefix: &str, directory: RecordNumber) {
        for (_, entry) in self.metadata.entries(directory) {
            let Ok(record) = self.folded(View::Committed, entry.target) else { continue };
            let path = format!("{prefix}{}", entry.name);
            let streams = record.streams.iter().map(|(key, stream)| {
                let contents = self.peek_stream(View::Committed, entry.target, key, stream);
                (stream.name.to_text(), (stream.allocated(), contents))
            });
            let parent =
                |number| FileId::new(number, self.metadata.file(number).map_or(0, |record| record.sequence));
            let whole = Whole {
                id: FileId::new(entry.target, record.sequence),
                directory: record.directory,
                attributes: record.reported_attributes(),
                times: record.times,
                security: record.security.to_vec(),
                eas: record.eas.clone(),
                reparse: record.reparse.clone(),
                links: record.links.iter().map(|link| (parent(link.parent), link.name.to_text())).collect(),
                streams: streams.collect(),
            };
            found.insert(path.clone(), whole);
            if record.directory {
                self.add_whole(found, &format!("{path}\\"), entry.target);
            }
        }
    }
}
