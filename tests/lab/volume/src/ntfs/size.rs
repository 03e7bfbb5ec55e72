//! Sizes of streams, sparse ranges, and the clusters that come and go with them.

use std::sync::Arc;

use super::data::{CLUSTER_BYTES, MAX_SIZE};
use super::record::{Change, Run, Stream};
use super::security::access;
use super::watch::notify;
use super::{Open, OpenId, View, Volume};
use crate::Status;
use crate::ktm::TxId;

impl Volume {
    /// Sets the size of the stream; data past a smaller one is gone, a larger one reads as zeros there.
    ///
    /// # Errors
    /// DISK_FULL, INVALID_PARAMETER, HANDLE_NO_LONGER_VALID.
    pub fn set_end_of_file(&mut self, id: OpenId, size: u64) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if size > MAX_SIZE {
            return Err(Status::INVALID_PARAMETER);
        }
        self.resize(id, &open, size, None)
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
        self.resize(id, &open, size.min(bytes), Some(bytes))
    }

    fn resize(&mut self, id: OpenId, open: &Open, size: u64, allocation: Option<u64>) -> Result<(), Status> {
        let number = open.file.number();
        self.lock_for(open.transaction, number)?;
        let view = View::of(open.transaction);
        let mut record = self.folded(view, number)?;
        let sparse = record.sparse;
        let old = record.streams.get(&open.stream).ok_or(Status::FILE_DELETED)?.clone();
        if size < old.size && self.is_user_mapped(number, &open.stream, open.transaction) {
            return Err(Status::USER_MAPPED_FILE);
        }
        let mut stream = old.clone();
        stream.size = size;
        stream.valid = stream.valid.min(size);
        let keep = allocation.unwrap_or(size).div_ceil(CLUSTER_BYTES);
        let cut = allocation.is_some() || size < old.size;
        let removed = if cut { stream.remove(keep, u64::MAX) } else { Vec::new() };
        let added = match allocation {
            // Holes below the end would show what their new clusters held, also that in which the end is.
            Some(bytes) if sparse => {
                self.extend(open.transaction, &mut stream, old.size.next_multiple_of(CLUSTER_BYTES), bytes)?
            }
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
        self.note_unreported(id, open, notify::SIZE | notify::LAST_WRITE);
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
    /// ACCESS_DENIED without the right to write data or attributes (MS-FSA 2.1.5.10.38, FSCTL_SET_SPARSE),
    /// SPARSE_NOT_ALLOWED_IN_TRANSACTION (`txf-ktm §4.9`).
    pub fn set_sparse(&mut self, id: OpenId, sparse: bool) -> Result<(), Status> {
        let open = self.data_open(id)?;
        if open.access & (access::WRITE_DATA | access::WRITE_ATTRIBUTES) == 0 {
            return Err(Status::ACCESS_DENIED);
        }
        if open.transaction.is_some() {
            return Err(Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION);
        }
        self.edit(&open, |record| record.sparse = sparse)?;
        self.report_change(&open, notify::ATTRIBUTES);
        Ok(())
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
        let whole = from.div_ceil(CLUSTER_BYTES)..to / CLUSTER_BYTES;
        let removed = if sparse { stream.remove(whole.start, whole.end) } else { Vec::new() };
        let edges = stream.clone();
        record.note_write(self.now);
        self.change(view, vec![Change::Put(number, Arc::new(record))])?;
        self.drop_clusters(open.transaction, &removed);
        self.note_unreported(id, &open, notify::SIZE | notify::LAST_WRITE);
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
    pub(super) fn give_back(&mut self, transaction: Option<TxId>, added: &[Run]) {
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
}
