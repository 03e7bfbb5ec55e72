//! Memory mapped from the host, unmapped on drop.

use std::ptr;

/// The host's page size, which is also that of x64 Windows.
pub(crate) const PAGE: usize = 4096;

/// An anonymous private mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes (rounded up to pages), anywhere.
    ///
    /// # Panics
    /// If the host has no address space left.
    pub(crate) fn anonymous(len: usize, protection: i32) -> Self {
        let len = len.next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        assert!(base != libc::MAP_FAILED, "the host refused to map {len} bytes");
        Self { base: base.cast(), len }
    }

    pub(crate) fn address(&self) -> usize {
        self.base.addr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pointer to the byte at `offset`, which must lie inside the mapping.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.len, "offset {offset:#x} lies outside a mapping of {:#x} bytes", self.len);
        self.base.wrapping_add(offset)
    }

    /// Changes the protection of the pages in `[offset, offset + len)`.
    ///
    /// # Panics
    /// If the host refuses.
    pub(crate) fn protect(&self, offset: usize, len: usize, protection: i32) {
        assert!(
            self.try_protect(offset, len, protection),
            "the host refused to change a protection (too many mappings? see /proc/sys/vm/max_map_count): {}",
            std::io::Error::last_os_error()
        );
    }

    /// As [`protect`](Self::protect); returns whether the host did it. It limits how many mappings there are.
    pub(crate) fn try_protect(&self, offset: usize, len: usize, protection: i32) -> bool {
        assert!(offset.is_multiple_of(PAGE) && offset + len <= self.len, "protect outside the mapping");
        // SAFETY: the range lies inside this mapping, which this value owns.
        unsafe { libc::mprotect(self.at(offset).cast(), len, protection) == 0 }
    }

    /// Forgets the contents of the pages in `[offset, offset + len)`; they read as zero afterwards.
    pub(crate) fn discard(&self, offset: usize, len: usize) {
        assert!(offset.is_multiple_of(PAGE) && offset + len <= self.len, "discard outside the mapping");
        // SAFETY: the range lies inside this mapping, which this value owns.
        unsafe { libc::madvise(self.at(offset).cast(), len, libc::MADV_DONTNEED) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and nothing uses it after its owner.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}
