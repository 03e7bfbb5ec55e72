//! Stream bytes in clusters: reading and writing them in one view of the volume.

use std::sync::Arc;

use super::data::CLUSTER_BYTES;
use super::record::{RecordNumber, Stream};
use super::{View, Volume, sectors_of};
use crate::Status;
use crate::disk::{CLUSTER, MAX_WRITE, SECTOR, SECTORS_PER_CLUSTER};
use crate::names::Key;

const SECTOR_BYTES: u64 = SECTOR as u64;

impl Volume {
    /// Reads stream bytes; what is not valid is zero.
    pub(super) fn fetch(
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
    pub(super) fn zero(
        &mut self,
        view: View,
        stream: &Stream,
        valid: u64,
        from: u64,
        to: u64,
    ) -> Result<(), Status> {
        for run in &stream.runs {
            let mut start = (run.vcn * CLUSTER_BYTES).max(from);
            let stop = ((run.vcn + run.count) * CLUSTER_BYTES).min(to);
            while start < stop {
                let piece = (stop - start).min(MAX_WRITE as u64);
                self.store(view, stream, valid, start, &vec![0; piece as usize])?;
                start += piece;
            }
        }
        Ok(())
    }

    /// Writes stream bytes into allocated clusters, whole sectors at a time. Of a sector that is only partly
    /// written the rest stays, or is zero past `valid`.
    pub(super) fn store(
        &mut self,
        view: View,
        stream: &Stream,
        valid: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Status> {
        if data.is_empty() {
            return Ok(());
        }
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
