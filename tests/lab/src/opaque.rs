//! Addresses for objects that drivers hold but may never look into.

use std::cell::Cell;

/// Hands out addresses inside a reserved range without access rights: a driver that looks behind one faults.
#[derive(Debug)]
pub(crate) struct OpaqueAddresses {
    base: usize,
    next: Cell<usize>,
}

const LEN: usize = 16 << 20;
const STEP: usize = 64;

impl Default for OpaqueAddresses {
    fn default() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), LEN, libc::PROT_NONE, flags, -1, 0) };
        assert!(base != libc::MAP_FAILED, "the host refused {LEN} bytes of address space");
        Self { base: base.addr(), next: Cell::new(0) }
    }
}

impl OpaqueAddresses {
    /// An address that was not given out before.
    ///
    /// # Panics
    /// After a quarter of a million objects.
    pub(crate) fn next(&self) -> usize {
        let offset = self.next.get();
        assert!(offset < LEN, "the lab ran out of addresses for opaque objects");
        self.next.set(offset + STEP);
        self.base + offset
    }
}

impl Drop for OpaqueAddresses {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `default`, and nothing in it is memory.
        unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(self.base), LEN) };
    }
}
