//! File data: reading, writing, flushing.

use std::sync::Arc;

use super::record::{Change, FileRecord, Run, Stream};
use super::security::attributes;
use super::watch::notify;
use super::{Open, OpenId, RecordNumber, View, Volume};
use crate::Status;
use crate::disk::CLUSTER;
use crate::ktm::TxId;

pub(super) const CLUSTER_BYTES: u64 = CLUSTER as u64;
/// The largest file, as on NTFS: 16 TiB less 64 KiB with 4 KiB clusters.
pub(super) const MAX_SIZE: u64 = (1 << 44) - (1 << 16);

/// Circumstances of a read or write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// The requesting process, for byte-range locks.
    pub process: u64,
    /// The lock key.
    pub key: u32,
    /// Paging I/O: no byte-range locks, and writes end at the end of the file. Allowed after cleanup.
    pub paging: bool,
    /// The write is durable when it returns (outside transactions; inside it reaches the log and disk).
    pub write_through: bool,
}

/// Where to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAt {
    /// At this byte.
    Offset(u64),
    /// At the end of the file (FILE_WRITE_TO_END_OF_FILE).
    End,
}

impl FileRecord {
    /// What a write of data does to times and attributes.
    pub(super) fn note_write(&mut self, time: i64) {
        self.times.write = self.times.write.max(time);
        self.times.change = self.times.change.max(time);
        self.attributes |= attributes::ARCHIVE;
    }
}

impl Volume {
    /// Reads up to `length` bytes.
    ///
    /// # Errors
    /// END_OF_FILE at or past the end, FILE_LOCK_CONFLICT, HANDLE_NO_LONGER_VALID, disk errors.
    pub fn read(&mut self, id: OpenId, offset: u64, length: usize, io: Io) -> Result<Vec<u8>, Status> {
        let open = self.data_open(id)?;
        if length == 0 {
            return Ok(Vec::new());
        }
        if !io.paging {
            self.check_read_lock(id, &open, offset, length as u64, io)?;
        }
        if let Some(frozen) = &open.frozen {
            let bytes = frozen.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(length).min(bytes.len());
            return if start == end { Err(Status::END_OF_FILE) } else { Ok(bytes[start..end].to_vec()) };
        }
        let record = self.record_of(&open)?;
        let stream = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?;
        if offset >= stream.size {
            return Err(Status::END_OF_FILE);
        }
        let length = (stream.size - offset).min(length as u64) as usize;
        let valid = self.valid(open.view, open.file.number(), &open.stream);
        self.fetch(open.view, stream, valid, offset, length)
    }

    /// Writes all of `data`, extending the file if need be; returns the offset of the end of the write.
    ///
    /// # Errors
    /// DISK_FULL (nothing is written then), FILE_LOCK_CONFLICT, HANDLE_NO_LONGER_VALID, LOG_FULL (the
    /// transaction is aborted), disk errors (part of the data may be written).
    pub fn write(&mut self, id: OpenId, at: WriteAt, data: &[u8], io: Io) -> Result<u64, Status> {
        let open = self.data_open(id)?;
        let number = open.file.number();
        self.lock_for(open.transaction, number)?;
        let view = View::of(open.transaction);
        let record = self.record(view, number).ok_or(Status::FILE_DELETED)?.clone();
        let old = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?;
        let offset = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End => old.size,
        };
        let mut end = offset.checked_add(data.len() as u64).ok_or(Status::INVALID_PARAMETER)?;
        let mut data = data;
        if io.paging {
            end = end.min(old.size);
            data = &data[..end.saturating_sub(offset) as usize];
        }
        if data.is_empty() {
            return Ok(offset);
        }
        if end > MAX_SIZE {
            return Err(Status::DISK_FULL);
        }
        if !io.paging {
            self.check_write_lock(id, &open, offset, data.len() as u64, io)?;
        }
        self.planned_failure()?;
        let mut stream = old.clone();
        let valid = self.valid(view, number, &open.stream);
        stream.size = stream.size.max(end);
        let from = if record.sparse { offset } else { old.size.min(offset) };
        let added = self.extend(open.transaction, &mut stream, from, end)?;
        let result = self.write_extended(&open, &record, stream, &added, valid, offset, data);
        if result.is_err() {
            self.give_back(open.transaction, &added);
        }
        result?;
        let extends = end > old.size || !added.is_empty();
        let archive = if record.attributes & attributes::ARCHIVE == 0 { notify::ATTRIBUTES } else { 0 };
        let size = if extends { notify::SIZE } else { 0 };
        self.note_unreported(id, &open, notify::LAST_WRITE | size | archive);
        if io.write_through {
            self.make_durable(open.transaction)?;
        }
        self.write_out_if_much(open.transaction)?;
        self.lazy_writer();
        Ok(end)
    }

    /// Plans one failure: after `writes` more writes one fails with `status` and writes nothing. For errors
    /// that have no place on the disk, such as a quota, and for writes that stay in a transaction's memory.
    pub fn fail_write(&mut self, writes: u64, status: Status) {
        self.write_failure = Some((writes, status));
    }

    fn planned_failure(&mut self) -> Result<(), Status> {
        match &mut self.write_failure {
            Some((0, status)) => {
                let status = *status;
                self.write_failure = None;
                Err(status)
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The part of a write that can fail after clusters were added.
    #[expect(clippy::too_many_arguments, reason = "one step of `write`, with all of its state")]
    fn write_extended(
        &mut self,
        open: &Open,
        record: &Arc<FileRecord>,
        mut stream: Stream,
        added: &[Run],
        valid: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Status> {
        let number = open.file.number();
        let view = View::of(open.transaction);
        let end = offset + data.len() as u64;
        let old = &record.streams[&open.stream];
        // A new cluster below the valid data length is believed as soon as the log names it: it must hold
        // nothing but zeros and the new data, durably, before.
        let holes: Vec<&Run> = added.iter().filter(|run| run.vcn * CLUSTER_BYTES < valid).collect();
        for run in &holes {
            let (from, to) = (run.vcn * CLUSTER_BYTES, (run.vcn + run.count) * CLUSTER_BYTES);
            self.zero(view, &stream, 0, from, to)?;
        }
        self.zero(view, &stream, valid, valid, offset)?;
        self.store(view, &stream, valid.max(offset.min(stream.size)), offset, data)?;
        if !holes.is_empty() && open.transaction.is_none() {
            self.flush_disk()?;
        }
        if open.transaction.is_some() {
            stream.valid = stream.valid.max(end);
        }
        if stream != *old {
            let mut record = self.folded(view, number)?;
            stream.valid = stream.valid.max(record.streams[&open.stream].valid);
            record.streams.insert(open.stream.clone(), stream);
            record.note_write(self.now);
            self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        } else if open.transaction.is_some() {
            let mut record = FileRecord::clone(record);
            record.note_write(self.now);
            self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        } else {
            self.written_at.insert(number, self.now);
        }
        if open.transaction.is_none() && end > valid {
            self.valid_ahead.insert((number, open.stream.clone()), end);
        }
        Ok(())
    }

    pub(super) fn data_open(&mut self, id: OpenId) -> Result<Open, Status> {
        let open = self.live_file(id)?;
        if open.directory { Err(Status::INVALID_DEVICE_REQUEST) } else { Ok(open) }
    }

    /// Flushes a file: outside transactions everything written so far is durable afterwards; inside one the
    /// dirty data and its undo are on the disk, still uncommitted (`txf-ktm §4.6`).
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID, LOG_FULL, disk errors.
    pub fn flush(&mut self, id: OpenId) -> Result<(), Status> {
        let open = self.live(id)?;
        if !open.volume && open.transaction.is_none() {
            self.log_write_time(open.file.number())?;
        }
        self.make_durable(open.transaction)?;
        if !open.volume {
            self.report_written(&open, None);
        }
        Ok(())
    }

    fn make_durable(&mut self, transaction: Option<TxId>) -> Result<(), Status> {
        match transaction {
            Some(tx) => {
                self.write_out(tx)?;
                self.disk.flush()?;
                self.space.flushed();
            }
            None => {
                self.flush_disk()?;
                // The valid data length may have been logged just now.
                if self.disk.unflushed_count() > 0 {
                    self.disk.flush()?;
                }
            }
        }
        Ok(())
    }

    fn write_out_if_much(&mut self, transaction: Option<TxId>) -> Result<(), Status> {
        match transaction {
            Some(id)
                if self
                    .transactions
                    .get(&id)
                    .is_some_and(|tx| tx.dirty.len() > self.switches.write_out_sectors) =>
            {
                self.write_out(id)
            }
            _ => Ok(()),
        }
    }

    /// Lets the log know when a file was last written.
    pub(super) fn log_write_time(&mut self, number: RecordNumber) -> Result<(), Status> {
        if !self.written_at.contains_key(&number) || self.locked_by_other(number, None).is_some() {
            return Ok(());
        }
        let record = self.folded(View::Committed, number)?;
        self.change(View::Committed, vec![Change::Put(number, Arc::new(record))])?;
        self.written_at.remove(&number);
        Ok(())
    }
}
