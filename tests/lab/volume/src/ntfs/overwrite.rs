//! Overwriting, superseding, and adding a stream: what a create does to a file that exists.

use std::sync::Arc;

use super::record::{Change, Ea, FileRecord, RecordNumber, Run, Stream};
use super::request::{CreateRequest, Disposition};
use super::security::attributes;
use super::{View, Volume};
use crate::Status;
use crate::names::{Key, Wide};

impl Volume {
    /// Adds an empty named stream.
    pub(super) fn add_stream(
        &mut self,
        request: &CreateRequest,
        number: RecordNumber,
        name: Wide,
    ) -> Result<(), Status> {
        self.lock_for(request.transaction, number)?;
        let view = View::of(request.transaction);
        let mut record = self.folded(view, number)?;
        let mut stream = Stream { name, ..Stream::default() };
        self.reserve(request.transaction, &mut stream, request.allocation)?;
        let runs = stream.runs.clone();
        record.streams.insert(Key::of(&stream.name.0), stream);
        record.times.change = self.now;
        self.put_or_release(request, number, record, &runs)
    }

    /// Empties a stream. With the unnamed one go the named streams that nobody has open and the EAs;
    /// supersede takes the new attributes, overwrite adds them.
    pub(super) fn replace(
        &mut self,
        request: &CreateRequest,
        number: RecordNumber,
        key: &Key,
    ) -> Result<(), Status> {
        if self.is_user_mapped(number, key, request.transaction)
            || self.is_image(number, key, request.transaction)
        {
            return Err(Status::USER_MAPPED_FILE);
        }
        self.lock_for(request.transaction, number)?;
        let view = View::of(request.transaction);
        let mut record = self.folded(view, number)?;
        let (mut removed, mut gone) = (Vec::new(), vec![key.clone()]);
        if key.is_empty() {
            let in_use: Vec<Key> = self.opens_of(number).map(|open| open.stream.clone()).collect();
            record.streams.retain(|other, stream| {
                let keep = other.is_empty() || in_use.contains(other);
                if !keep {
                    removed.append(&mut stream.runs);
                    gone.push(other.clone());
                }
                keep
            });
            record.eas.clear();
            record.merge_eas(&request.ea)?;
            let settable = request.attributes & attributes::SETTABLE | attributes::ARCHIVE;
            if request.disposition == Disposition::Supersede {
                record.attributes = record.attributes & !attributes::SETTABLE | settable;
                record.times.creation = self.now;
                if self.switches.supersede_changes_id {
                    record.sequence = record.sequence.checked_add(1).unwrap_or(1);
                }
            } else {
                record.attributes |= settable;
            }
        }
        let stream = record.streams.get_mut(key).ok_or(Status::OBJECT_NAME_NOT_FOUND)?;
        removed.append(&mut stream.runs);
        (stream.size, stream.valid) = (0, 0);
        let mut new = stream.clone();
        self.reserve(request.transaction, &mut new, request.allocation)?;
        let added = new.runs.clone();
        record.streams.insert(key.clone(), new);
        record.note_write(self.now);
        self.put_or_release(request, number, record, &added)?;
        self.drop_clusters(request.transaction, &removed);
        if request.transaction.is_none() {
            // What the cache knows of a stream is not true of another one that gets its name.
            self.valid_ahead.retain(|(file, stream), _| *file != number || !gone.contains(stream));
        }
        Ok(())
    }

    fn put_or_release(
        &mut self,
        request: &CreateRequest,
        number: RecordNumber,
        record: FileRecord,
        added: &[Run],
    ) -> Result<(), Status> {
        let view = View::of(request.transaction);
        let result = self.change(view, vec![Change::Put(number, Arc::new(record))]);
        if result.is_err() {
            self.space.release(added);
        }
        result
    }
}

impl FileRecord {
    /// Sets EAs one by one: names are folded to upper case, an empty value deletes.
    pub(super) fn merge_eas(&mut self, eas: &[Ea]) -> Result<(), Status> {
        if !eas.is_empty() && self.reparse.is_some() {
            return Err(Status::EAS_NOT_SUPPORTED);
        }
        for ea in eas {
            if ea.name.is_empty() || ea.name.len() > 254 || ea.name.contains(&0) {
                return Err(Status::INVALID_EA_NAME);
            }
            let name = ea.name.to_ascii_uppercase();
            self.eas.retain(|other| other.name != name);
            if !ea.value.is_empty() {
                self.eas.push(Ea { flags: ea.flags, name, value: ea.value.clone() });
            }
        }
        if self.ea_size() > 0xFFFF { Err(Status::EA_TOO_LARGE) } else { Ok(()) }
    }

    /// Bytes of the EAs in packed FILE_FULL_EA_INFORMATION form; 0 without any.
    pub(super) fn ea_size(&self) -> u32 {
        let entries = self.eas.iter().map(|ea| 8 + ea.name.len() as u32 + 1 + ea.value.len() as u32);
        entries.map(|size| size.next_multiple_of(4)).sum()
    }
}
