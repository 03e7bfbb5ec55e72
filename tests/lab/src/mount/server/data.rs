//! Contents: read, write, flush, allocate; and how much room there is.

use super::super::request::Request;
use super::Answer;
use crate::caller::Offset;

/// Room on the volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Clusters.
    pub(crate) total: u64,
    /// Clusters that are free.
    pub(crate) free: u64,
}

/// Bytes in a cluster, as statfs tells it.
pub(crate) const CLUSTER: u32 = 4096;

impl Request<'_> {
    pub(crate) fn read(&self, file: u64, offset: u64, size: u32) -> Answer<Vec<u8>> {
        let (_, handle) = self.handle(file)?;
        self.read_file(handle, offset, size)
    }

    /// `offset` `None`: at the end, wherever that is by then.
    pub(crate) fn write(&self, file: u64, offset: Option<u64>, data: &[u8]) -> Answer<u32> {
        (self.server.options.before_write)(self.lab, self.server.account.get());
        let offset = offset.map_or(Offset::Append, Offset::At);
        let result = self.handle(file).and_then(|(_, handle)| self.write_file(handle, offset, data));
        self.server.count(|account| {
            account.writes += 1;
            account.bytes += result.map_or(0, u64::from);
        });
        // Before the answer, so that nobody can issue another write in between.
        (self.server.options.after_write)(self.lab, self.server.account.get());
        result
    }

    pub(crate) fn flush(&self, file: u64) -> Answer<()> {
        let (file, handle) = self.handle(file)?;
        // FlushFileBuffers needs write access; on Linux anyone may ask.
        if file.writes { self.flush_file(handle) } else { Ok(()) }
    }

    pub(crate) fn allocate(&self, file: u64, offset: u64, length: u64, mode: i32) -> Answer<()> {
        let (_, handle) = self.handle(file)?;
        let end = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(libc::EFBIG)?;
        let grows = end > self.facts(handle)?.size;
        match mode {
            // NTFS gives an extended file its clusters at once.
            0 if grows => self.call(|caller| caller.set_end_of_file(handle, end)),
            libc::FALLOC_FL_KEEP_SIZE if grows => self.call(|caller| caller.set_allocation(handle, end)),
            0 | libc::FALLOC_FL_KEEP_SIZE => Ok(()),
            _ => Err(libc::EOPNOTSUPP),
        }
    }

    pub(crate) fn capacity(&self) -> Answer<Capacity> {
        let root = self.open_root()?;
        let space = self.call(|caller| caller.volume_space(root));
        self.close_file(root);
        let (total, free) = space?;
        Ok(Capacity { total: total / u64::from(CLUSTER), free: free / u64::from(CLUSTER) })
    }
}
