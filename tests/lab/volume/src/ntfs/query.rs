//! Query information.

use std::sync::Arc;

use super::record::{Ea, FileId, FileRecord, Reparse, Times};
use super::security::attributes;
use super::{Open, OpenId, View, Volume};
use crate::Status;
use crate::names::{Key, Wide};

/// FILE_BASIC_INFORMATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Times.
    pub times: Times,
    /// FILE_ATTRIBUTE_*, derived ones included; NORMAL if there are none.
    pub attributes: u32,
}

/// FILE_STANDARD_INFORMATION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// Bytes allocated.
    pub allocation: u64,
    /// Size.
    pub size: u64,
    /// Names.
    pub links: u32,
    /// Whether deletion is pending, in the view of the open.
    pub delete_pending: bool,
    /// Whether it is a directory.
    pub directory: bool,
}

/// One entry of FILE_STREAM_INFORMATION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInformation {
    /// `::$DATA` or `:name:$DATA`.
    pub name: Wide,
    /// Size.
    pub size: u64,
    /// Bytes allocated.
    pub allocation: u64,
}

/// What every information class about one open is made of: Basic, Standard, Internal, EA, Access, Name,
/// NetworkOpen, AttributeTag, Stat. Position, mode and alignment are the I/O manager's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllInformation {
    /// Times and attributes.
    pub basic: Basic,
    /// Sizes and links.
    pub standard: Standard,
    /// File id.
    pub id: FileId,
    /// Bytes of EAs, packed.
    pub ea_size: u32,
    /// Rights of the open.
    pub access: u32,
    /// Path from the root of the volume, stream included.
    pub name: Wide,
    /// Reparse tag or 0.
    pub reparse_tag: u32,
    /// Valid data length.
    pub valid_data_length: u64,
}

impl FileRecord {
    /// Attributes as they are reported.
    pub(super) fn reported_attributes(&self) -> u32 {
        let mut bits = self.attributes;
        for (set, bit) in [
            (self.directory, attributes::DIRECTORY),
            (self.reparse.is_some(), attributes::REPARSE_POINT),
            (self.sparse, attributes::SPARSE_FILE),
        ] {
            bits |= if set { bit } else { 0 };
        }
        if bits == 0 { attributes::NORMAL } else { bits }
    }
}

impl Volume {
    /// Everything at once.
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID after the end of the open's transaction, FILE_DELETED.
    pub fn query(&mut self, id: OpenId) -> Result<AllInformation, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        let basic = self.basic_of(&open, &record);
        let standard = self.standard_of(&open, &record);
        let number = open.file.number();
        Ok(AllInformation {
            basic,
            standard,
            id: open.file,
            ea_size: record.ea_size(),
            access: open.access,
            name: self.full_name(&open, &record),
            reparse_tag: record.reparse.as_ref().map_or(0, |reparse| reparse.tag),
            valid_data_length: self.valid(open.view, number, &open.stream),
        })
    }

    fn basic_of(&self, open: &Open, record: &FileRecord) -> Basic {
        let number = open.file.number();
        let mut basic = Basic { times: record.times, attributes: record.reported_attributes() };
        if let Some(&time) = self.written_at.get(&number)
            && open.frozen.is_none()
            && self.is_committed_version(open.view, number)
        {
            let mut record = record.clone();
            record.note_write(time);
            basic = Basic { times: record.times, attributes: record.reported_attributes() };
        }
        basic
    }

    fn standard_of(&self, open: &Open, record: &FileRecord) -> Standard {
        let stream = record.streams.get(&open.stream);
        Standard {
            allocation: stream.map_or(0, |stream| stream.allocated()),
            size: stream.map_or(0, |stream| stream.size),
            links: record.links.len() as u32,
            delete_pending: self.is_doomed(open.view, open.file.number(), &open.stream),
            directory: open.directory,
        }
    }

    fn full_name(&self, open: &Open, record: &FileRecord) -> Wide {
        let link = open.link.as_ref().or(record.links.first());
        let mut name = match link {
            Some(link) => self.path_of(View::of(open.transaction), link),
            None => Wide::from("\\"),
        };
        if !open.stream.is_empty() {
            name.0.push(u16::from(b':'));
            name.0.extend(record.streams.get(&open.stream).map_or(&[][..], |stream| &stream.name.0));
        }
        name
    }

    /// Times and attributes.
    ///
    /// # Errors
    /// As [`query`](Volume::query), here and below.
    pub fn basic(&mut self, id: OpenId) -> Result<Basic, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        Ok(self.basic_of(&open, &record))
    }

    /// Sizes and links.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn standard(&mut self, id: OpenId) -> Result<Standard, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        Ok(self.standard_of(&open, &record))
    }

    /// Path from the root of the volume.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn name(&mut self, id: OpenId) -> Result<Wide, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        Ok(self.full_name(&open, &record))
    }

    /// The streams of the file, the unnamed one first.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn streams(&mut self, id: OpenId) -> Result<Vec<StreamInformation>, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        let entry = |stream: &super::record::Stream| {
            let mut name = Wide::from(":");
            name.0.extend(&stream.name.0);
            name.0.extend(":$DATA".encode_utf16());
            StreamInformation { name, size: stream.size, allocation: stream.allocated() }
        };
        Ok(record.streams.values().map(entry).collect())
    }

    /// The EAs.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn eas(&mut self, id: OpenId) -> Result<Vec<Ea>, Status> {
        let open = self.live_file(id)?;
        Ok(self.record_of(&open)?.eas.clone())
    }

    /// The whole security descriptor, self-relative.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn security(&mut self, id: OpenId) -> Result<Arc<[u8]>, Status> {
        let open = self.live_file(id)?;
        Ok(self.record_of(&open)?.security.clone())
    }

    /// The reparse point.
    ///
    /// # Errors
    /// NOT_A_REPARSE_POINT, and as [`query`](Volume::query).
    pub fn reparse(&mut self, id: OpenId) -> Result<Reparse, Status> {
        let open = self.live_file(id)?;
        self.record_of(&open)?.reparse.clone().ok_or(Status::NOT_A_REPARSE_POINT)
    }

    /// Names of the file as (parent id, name), for FileHardLinkInformation.
    ///
    /// # Errors
    /// As [`query`](Volume::query).
    pub fn links(&mut self, id: OpenId) -> Result<Vec<(FileId, Wide)>, Status> {
        let open = self.live_file(id)?;
        let record = self.record_of(&open)?;
        let parent = |number| {
            let sequence = self.record(open.view, number).map_or(0, |record| record.sequence);
            FileId::new(number, sequence)
        };
        Ok(record.links.iter().map(|link| (parent(link.parent), link.name.clone())).collect())
    }

    /// Whether an open is a TxF writer: its own access, or its transaction, made it one.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn is_transacted_writer(&self, id: OpenId) -> Result<bool, Status> {
        let open = self.open(id)?;
        Ok(open.transaction.is_some() && open.writer && open.ended.is_none())
    }

    /// The transaction of an open, ended or not.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn transaction_of(&self, id: OpenId) -> Result<Option<crate::ktm::TxId>, Status> {
        Ok(self.open(id)?.transaction)
    }

    /// Identifies the stream of an open, the same for every open of it: for a stream control block, section
    /// pointers and stream contexts. Stays valid after cleanup and after a transaction's end.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn stream_identity(&self, id: OpenId) -> Result<(FileId, Key), Status> {
        let open = self.open(id)?;
        Ok((open.file, open.stream.clone()))
    }
}
