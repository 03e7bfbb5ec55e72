//! File data: reading, writing, and the sizes of streams.

use std::sync::Arc;

use super::record::{Change, FileRecord, Run, Stream};
use super::security::attributes;
use super::{Open, OpenId, RecordNumber, View, Volume, sectors_of};
use crate::Status;
use crate::disk::{CLUSTER, SECTOR, SECTORS_PER_CLUSTER};
use crate::ktm::TxId;
use crate::names::Key;

const CLUSTER_BYTES: u64 = CLUSTER as u64;
const SECTOR_BYTES: u64 = SECTOR as u64;
/// The largest file, as on NTFS: 16 TiB less 64 KiB with 4 KiB clusters.
const MAX_SIZE: u64 = (1 << 44) - (1 << 16);

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
        let mut stream = old.clone();
        let valid = self.valid(view, number, &open.stream);
        stream.size = stream.size.max(end);
        let from = if record.sparse { offset } else { old.size.min(offset) };
        let added = self.extend(open.transaction, &mut stream, from, end)?;
        let result = self.write_extended(&open, &record, stream, valid, offset, data);
        if result.is_err() {
            self.give_back(open.transaction, &added);
        }
        result?;
        if io.write_through {
            self.make_durable(open.transaction)?;
        }
        self.write_out_if_much(open.transaction)?;
        self.lazy_writer();
        Ok(end)
    }

    /// The part of a write that can fail after clusters were added.
    fn write_extended(
        &mut self,
        open: &Open,
        record: &Arc<FileRecord>,
        mut stream: Stream,
        valid: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Status> {
        let number = open.file.number();
        let view = View::of(open.transaction);
        let end = offset + data.len() as u64;
        let old = &record.streams[&open.stream];
        let fills_hole = stream.runs != old.runs && offset < valid;
        if fills_hole {
            // A new cluster below the valid data length is believed as soon as the log names it: its data
            // must be durable before.
            self.zero(view, &stream, valid, offset / CLUSTER_BYTES * CLUSTER_BYTES, end)?;
        } else {
            self.zero(view, &stream, valid, valid, offset)?;
        }
        self.store(view, &stream, valid.max(offset.min(stream.size)), offset, data)?;
        if fills_hole && open.transaction.is_none() {
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

    fn data_open(&mut self, id: OpenId) -> Result<Open, Status> {
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
        self.make_durable(open.transaction)
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

    /// Sets the size of the stream; data past a smaller one is gone, a larger one reads as zeros there.
    ///
    /// # Errors
    /// DISK_FULL, INVALID_PARAMETER, HANDLE_NO_LONGER_VALID.
    pub fn set_end_of_file(&mut self, id: OpenId, size: u64) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if size > MAX_SIZE {
            return Err(Status::INVALID_PARAMETER);
        }
        self.resize(&open, size, None)
    }

    /// Sets how much is allocated; less than the size cuts the file.
    ///
    /// # Errors
    /// As [`set_end_of_file`](Volume::set_end_of_file).
    pub fn set_allocation(&mut self, id: OpenId, bytes: u64) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if bytes > MAX_SIZE {
            return Err(Status::INVALID_PARAMETER);
        }
        let record =
            self.record(View::of(open.transaction), open.file.number()).ok_or(Status::FILE_DELETED)?;
        let size = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?.size;
        self.resize(&open, size.min(bytes), Some(bytes))
    }

    fn resize(&mut self, open: &Open, size: u64, allocation: Option<u64>) -> Result<(), Status> {
        let number = open.file.number();
        self.lock_for(open.transaction, number)?;
        let view = View::of(open.transaction);
        let mut record = self.folded(view, number)?;
        let sparse = record.sparse;
        let old = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?.clone();
        let mut stream = old.clone();
        stream.size = size;
        stream.valid = stream.valid.min(size);
        let keep = allocation.unwrap_or(size).div_ceil(CLUSTER_BYTES);
        let cut = allocation.is_some() || size < old.size;
        let removed = if cut { stream.remove(keep, u64::MAX) } else { Vec::new() };
        let added = match allocation {
            Some(bytes) => self.extend(open.transaction, &mut stream, 0, bytes)?,
            None if sparse => Vec::new(),
            None => self.extend(open.transaction, &mut stream, old.size.min(size), size)?,
        };
        record.streams.insert(open.stream.clone(), stream);
        record.note_write(self.now);
        if let Err(status) = self.change(view, vec![Change::Put(number, Arc::new(record))]) {
            self.give_back(open.transaction, &added);
            return Err(status);
        }
        self.drop_clusters(open.transaction, &removed);
        if open.transaction.is_none()
            && let Some(ahead) = self.valid_ahead.get_mut(&(number, open.stream.clone()))
        {
            *ahead = (*ahead).min(size);
        }
        Ok(())
    }

    /// Moves the valid data length forward without writing: the clusters show what they held.
    ///
    /// # Errors
    /// INVALID_PARAMETER unless it lies between the present one and the size;
    /// OPERATION_NOT_SUPPORTED_IN_TRANSACTION (assumed: `txf-ktm §4.9` leaves it open).
    pub fn set_valid_data_length(&mut self, id: OpenId, valid: u64) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if open.transaction.is_some() {
            return Err(Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION);
        }
        let number = open.file.number();
        self.lock_for(None, number)?;
        let record = self.record_of(&open)?;
        let stream = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?;
        if valid > stream.size || valid < self.valid(View::Committed, number, &open.stream) || record.sparse {
            return Err(Status::INVALID_PARAMETER);
        }
        self.valid_ahead.insert((number, open.stream), valid);
        Ok(())
    }

    /// Makes a file sparse, or not (FSCTL_SET_SPARSE).
    ///
    /// # Errors
    /// SPARSE_NOT_ALLOWED_IN_TRANSACTION (`txf-ktm §4.9`).
    pub fn set_sparse(&mut self, id: OpenId, sparse: bool) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if open.transaction.is_some() {
            return Err(Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION);
        }
        self.edit(&open, |record| record.sparse = sparse)
    }

    /// Zeroes a range (FSCTL_SET_ZERO_DATA); a sparse file gives whole clusters back.
    ///
    /// # Errors
    /// INVALID_PARAMETER, and in a transaction what
    /// [`zero_data_in_transaction`](crate::Switches::zero_data_in_transaction) says.
    pub fn zero_data(&mut self, id: OpenId, from: u64, to: u64) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if open.transaction.is_some() && self.switches.zero_data_in_transaction != Status::SUCCESS {
            return Err(self.switches.zero_data_in_transaction);
        }
        let number = open.file.number();
        self.lock_for(open.transaction, number)?;
        let view = View::of(open.transaction);
        let mut record = self.folded(view, number)?;
        let sparse = record.sparse;
        let stream = record.streams.get_mut(&open.stream).ok_or(Status::FILE_DELETED)?;
        if to < from {
            return Err(Status::INVALID_PARAMETER);
        }
        let valid = self.valid(view, number, &open.stream);
        let to = to.min(stream.size);
        if !sparse {
            let (from, to) = (from.min(valid), to.min(valid));
            return self.zero(view, stream, valid, from, to);
        }
        let removed = stream.remove(from.div_ceil(CLUSTER_BYTES), to / CLUSTER_BYTES);
        let edges = stream.clone();
        self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        self.drop_clusters(open.transaction, &removed);
        self.zero(view, &edges, valid, from.min(valid), to.min(valid))
    }

    /// The allocated parts of a range, as (offset, length) (FSCTL_QUERY_ALLOCATED_RANGES).
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID, FILE_DELETED.
    pub fn allocated_ranges(
        &mut self,
        id: OpenId,
        from: u64,
        length: u64,
    ) -> Result<Vec<(u64, u64)>, Status> {
        let open = self.data_open(id)?;
        let record = self.record_of(&open)?;
        let stream = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?;
        let end = from.saturating_add(length).min(stream.size);
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for run in &stream.runs {
            let start = (run.vcn * CLUSTER_BYTES).max(from);
            let stop = ((run.vcn + run.count) * CLUSTER_BYTES).min(end);
            match ranges.last_mut() {
                _ if start >= stop => {}
                Some((at, length)) if *at + *length == start => *length = stop - *at,
                _ => ranges.push((start, stop - start)),
            }
        }
        Ok(ranges)
    }

    /// Allocates what is missing of `[from, to)`; returns the new runs.
    pub(super) fn extend(
        &mut self,
        transaction: Option<TxId>,
        stream: &mut Stream,
        from: u64,
        to: u64,
    ) -> Result<Vec<Run>, Status> {
        let (first, last) = (from / CLUSTER_BYTES, to.div_ceil(CLUSTER_BYTES));
        let mut holes: Vec<(u64, u64)> = Vec::new();
        let mut vcn = first;
        for run in stream.runs.iter().filter(|run| run.vcn + run.count > first) {
            if vcn < run.vcn.min(last) {
                holes.push((vcn, run.vcn.min(last) - vcn));
            }
            vcn = vcn.max(run.vcn + run.count);
        }
        if vcn < last {
            holes.push((vcn, last - vcn));
        }
        let total = holes.iter().map(|(_, count)| count).sum();
        if total == 0 {
            return Ok(Vec::new());
        }
        let mut pieces = self.allocate(total)?.into_iter();
        let mut added = Vec::new();
        let (mut lcn, mut left) = (0, 0);
        for (mut vcn, mut count) in holes {
            while count > 0 {
                if left == 0 {
                    (lcn, left) = pieces.next().expect("as many clusters as asked for");
                }
                let part = count.min(left);
                let run = Run { vcn, lcn, count: part };
                stream.insert(run);
                added.push(run);
                (vcn, lcn, count, left) = (vcn + part, lcn + part, count - part, left - part);
            }
        }
        if let Some(tx) = transaction.and_then(|id| self.transactions.get_mut(&id)) {
            tx.fresh.extend(added.iter().flat_map(|run| run.lcn..run.lcn + run.count));
        }
        Ok(added)
    }

    /// Allocates for a new or replaced file.
    pub(super) fn reserve(
        &mut self,
        transaction: Option<TxId>,
        stream: &mut Stream,
        bytes: u64,
    ) -> Result<(), Status> {
        self.extend(transaction, stream, 0, bytes.min(MAX_SIZE)).map(drop)
    }

    /// Clusters that were added for a change that then failed.
    fn give_back(&mut self, transaction: Option<TxId>, added: &[Run]) {
        if let Some(id) = transaction {
            // If the failure ended the transaction, its clusters are free already.
            let Some(tx) = self.transactions.get_mut(&id) else { return };
            tx.forget_clusters(added);
        }
        self.space.release(added);
    }

    /// Clusters that a stream no longer has.
    pub(super) fn drop_clusters(&mut self, transaction: Option<TxId>, removed: &[Run]) {
        let Some(id) = transaction else { return self.space.release_later(removed) };
        let Some(tx) = self.transactions.get_mut(&id) else { return };
        // The committed version still has those that the transaction did not allocate itself.
        let own: Vec<Run> = removed
            .iter()
            .flat_map(|run| run.lcn..run.lcn + run.count)
            .filter(|lcn| tx.fresh.contains(lcn))
            .map(|lcn| Run { vcn: 0, lcn, count: 1 })
            .collect();
        tx.forget_clusters(removed);
        self.space.release(&own);
    }

    /// Reads stream bytes; what is not valid is zero.
    fn fetch(
        &mut self,
        view: View,
        stream: &Stream,
        valid: u64,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Status> {
        let mut bytes = vec![0; length];
        let readable = usize::try_from(valid.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let mut at = 0;
        while at < readable {
            let position = offset + at as u64;
            let inside = (position % CLUSTER_BYTES) as usize;
            let count = (CLUSTER - inside).min(readable - at);
            if let Some(lcn) = stream.cluster(position / CLUSTER_BYTES) {
                let page = self.disk.read_cluster(lcn)?;
                self.compose(view, lcn, page.as_deref(), inside, &mut bytes[at..at + count]);
            }
            at += count;
        }
        Ok(bytes)
    }

    /// The whole stream, past every fault.
    pub(super) fn peek_stream(
        &self,
        view: View,
        number: RecordNumber,
        key: &Key,
        stream: &Stream,
    ) -> Vec<u8> {
        let mut bytes = vec![0; stream.size as usize];
        let valid = self.valid(view, number, key).min(stream.size) as usize;
        for (vcn, part) in bytes[..valid].chunks_mut(CLUSTER).enumerate() {
            if let Some(lcn) = stream.cluster(vcn as u64) {
                self.compose(view, lcn, self.disk.peek_cluster(lcn), 0, part);
            }
        }
        bytes
    }

    /// Part of a cluster as a view sees it: the disk, other transactions' sectors as they were, the own
    /// transaction's sectors as they will be.
    fn compose(&self, view: View, lcn: u64, page: Option<&[u8]>, inside: usize, out: &mut [u8]) {
        match page {
            Some(page) => out.copy_from_slice(&page[inside..inside + out.len()]),
            None => out.fill(0),
        }
        let own = view.transaction();
        let mut lay = |sector: u64, bytes: &[u8; SECTOR]| {
            let start = (sector % SECTORS_PER_CLUSTER) as usize * SECTOR;
            let (low, high) = (start.max(inside), (start + SECTOR).min(inside + out.len()));
            if low < high {
                out[low - inside..high - inside].copy_from_slice(&bytes[low - start..high - start]);
            }
        };
        for (&sector, bytes) in self.shadowed.range(sectors_of(lcn)) {
            if !own.is_some_and(|tx| self.has_overwritten(tx, sector)) {
                lay(sector, bytes);
            }
        }
        if let Some(tx) = own.and_then(|tx| self.transactions.get(&tx)) {
            tx.dirty.range(sectors_of(lcn)).for_each(|(&sector, bytes)| lay(sector, bytes));
        }
    }

    /// Zeroes `[from, to)` where clusters are allocated.
    fn zero(&mut self, view: View, stream: &Stream, valid: u64, from: u64, to: u64) -> Result<(), Status> {
        let mut at = from;
        for run in &stream.runs {
            let start = (run.vcn * CLUSTER_BYTES).max(at);
            let stop = ((run.vcn + run.count) * CLUSTER_BYTES).min(to);
            if start < stop {
                self.store(view, stream, valid, start, &vec![0; (stop - start) as usize])?;
                at = stop;
            }
        }
        Ok(())
    }

    /// Writes stream bytes into allocated clusters, whole sectors at a time. Of a sector that is only partly
    /// written the rest stays, or is zero past `valid`.
    fn store(
        &mut self,
        view: View,
        stream: &Stream,
        valid: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Status> {
        let start = offset / SECTOR_BYTES * SECTOR_BYTES;
        let end = (offset + data.len() as u64).next_multiple_of(SECTOR_BYTES);
        let mut bytes = vec![0; (end - start) as usize];
        let tail = bytes.len() - SECTOR;
        if offset > start {
            bytes[..SECTOR].copy_from_slice(&self.fetch(view, stream, valid, start, SECTOR)?);
        }
        if offset + (data.len() as u64) < end && (tail > 0 || offset == start) {
            let last = start + tail as u64;
            bytes[tail..].copy_from_slice(&self.fetch(view, stream, valid, last, SECTOR)?);
        }
        let at = (offset - start) as usize;
        bytes[at..at + data.len()].copy_from_slice(data);
        let sectors = bytes.chunks_exact(SECTOR).zip((start / SECTOR_BYTES)..).map(|(bytes, index)| {
            let lcn = stream.cluster(index / SECTORS_PER_CLUSTER);
            let lcn = lcn.expect("the caller allocated the range");
            (lcn * SECTORS_PER_CLUSTER + index % SECTORS_PER_CLUSTER, bytes)
        });
        match view {
            View::Committed => {
                for (first, piece) in super::txf::pieces(sectors) {
                    self.disk.write(first, &piece)?;
                }
            }
            View::Inside(id) => {
                if self.disk.power_is_gone() {
                    return Err(Status::DEVICE_POWER_FAILURE);
                }
                let tx = self.transactions.get_mut(&id).ok_or(Status::TRANSACTION_NOT_ACTIVE)?;
                for (sector, bytes) in sectors {
                    let bytes = bytes.try_into().expect("chunks are whole sectors");
                    tx.dirty.insert(sector, Arc::new(bytes));
                }
            }
        }
        Ok(())
    }
}
