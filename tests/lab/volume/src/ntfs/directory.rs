//! Directory queries.

use super::record::{FileId, FileRecord, ROOT, RecordNumber, Times};
use super::{OpenId, View, Volume};
use crate::Status;
use crate::names::{self, Key, Wide};

/// What every directory information class is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Name.
    pub name: Wide,
    /// File id.
    pub id: FileId,
    /// Times.
    pub times: Times,
    /// Size of the unnamed stream.
    pub size: u64,
    /// Bytes allocated to it.
    pub allocation: u64,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
    /// Bytes of EAs, or the reparse tag of a reparse point.
    pub ea_size_or_tag: u32,
}

impl Volume {
    /// Everything in the directory that matches `pattern` (`None`: all), `.` and `..` first, then by name.
    /// The caller keeps the position of an enumeration. Entries show the sizes and times of the open's view
    /// (`txf-ktm §4.1`).
    ///
    /// # Errors
    /// INVALID_PARAMETER if it is not a directory, HANDLE_NO_LONGER_VALID.
    pub fn directory(&mut self, id: OpenId, pattern: Option<&[u16]>) -> Result<Vec<DirectoryEntry>, Status> {
        let open = self.live_file(id)?;
        if !open.directory {
            return Err(Status::INVALID_PARAMETER);
        }
        let number = open.file.number();
        let own = self.record_of(&open)?;
        let mut all = Vec::new();
        if number != ROOT {
            let parent = own.links.first().map_or(ROOT, |link| link.parent);
            all.push((Wide::from("."), number));
            all.push((Wide::from(".."), parent));
        }
        let children = self.children(open.view, number);
        all.extend(children.into_values().map(|entry| (entry.name, entry.target)));
        let matching = all.into_iter().filter(|(name, _)| {
            pattern.is_none_or(|pattern| pattern.is_empty() || names::matches(pattern, &name.0))
        });
        Ok(matching.filter_map(|(name, number)| self.directory_entry(open.view, name, number)).collect())
    }

    fn directory_entry(&self, view: View, name: Wide, number: RecordNumber) -> Option<DirectoryEntry> {
        let record: FileRecord = self.folded(view, number).ok()?;
        let stream = record.streams.get(&Key::default());
        Some(DirectoryEntry {
            name,
            id: FileId::new(number, record.sequence),
            times: record.times,
            size: stream.map_or(0, |stream| stream.size),
            allocation: stream.map_or(0, |stream| stream.allocated()),
            attributes: record.reported_attributes(),
            ea_size_or_tag: record.reparse.as_ref().map_or(record.ea_size(), |reparse| reparse.tag),
        })
    }
}
