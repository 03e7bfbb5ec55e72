//! User buffers: addresses that a driver must not touch directly, and the lab's own view of the same memory.
//!
//! Each buffer is mapped twice. The user address has no access rights, so a driver that touches it faults and is
//! named; the alias is what the I/O manager, the file system and MDL mappings use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr;

use crate::mapping::PAGE;

struct Buffer {
    alias: usize,
    mapped: usize,
    len: usize,
}

/// The user buffers of one lab.
pub struct UserMemory {
    buffers: RefCell<BTreeMap<usize, Buffer>>,
    /// Of the user addresses.
    protection: i32,
}

impl UserMemory {
    /// Nothing yet; `unchecked` is [`Config::unchecked`](crate::Config::unchecked): without the check for `user-pointer`
    /// drivers can touch user addresses.
    pub(crate) fn new(unchecked: Option<&str>) -> Self {
        let open = unchecked == Some("user-pointer");
        let protection = if open { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
        Self { buffers: RefCell::default(), protection }
    }

    /// Makes a buffer of `len` bytes, zeroed, and returns its user address.
    ///
    /// # Panics
    /// If the host has no memory for it.
    pub fn allocate(&self, len: usize) -> *mut u8 {
        let mapped = len.max(1).next_multiple_of(PAGE);
        // SAFETY: plain system calls; the results are checked, and both mappings are fresh.
        let (user, alias) = unsafe {
            let file = libc::memfd_create(c"lab user buffer".as_ptr(), libc::MFD_CLOEXEC);
            assert!(file >= 0, "the host refused a memory file");
            assert!(
                libc::ftruncate(file, mapped as libc::off_t) == 0,
                "the host has no memory for a user buffer"
            );
            let map = |protection| libc::mmap(ptr::null_mut(), mapped, protection, libc::MAP_SHARED, file, 0);
            let (user, alias) = (map(self.protection), map(libc::PROT_READ | libc::PROT_WRITE));
            libc::close(file);
            (user, alias)
        };
        assert!(
            user != libc::MAP_FAILED && alias != libc::MAP_FAILED,
            "the host refused to map a user buffer"
        );
        self.buffers.borrow_mut().insert(user.addr(), Buffer { alias: alias.addr(), mapped, len });
        user.cast()
    }

    /// Frees a buffer that [`allocate`](Self::allocate) made; both addresses fault afterwards.
    pub fn free(&self, user: *mut u8) {
        if let Some(buffer) = self.buffers.borrow_mut().remove(&user.addr()) {
            unmap(user.addr(), &buffer);
        }
    }

    /// The lab's view of the user range `[user, user + len)`, if it lies inside one buffer.
    pub fn alias(&self, user: *const u8, len: usize) -> Option<*mut u8> {
        let buffers = self.buffers.borrow();
        let (start, buffer) = buffers.range(..=user.addr()).next_back()?;
        let offset = user.addr() - start;
        (offset.checked_add(len)? <= buffer.len)
            .then(|| ptr::with_exposed_provenance_mut::<u8>(buffer.alias).wrapping_add(offset))
    }

    pub(crate) fn describe(&self, address: usize) -> Option<String> {
        let buffers = self.buffers.borrow();
        let (start, buffer) = buffers.range(..=address).next_back()?;
        (address - start < buffer.mapped)
            .then(|| format!("byte {} of a user buffer of {} bytes", address - start, buffer.len))
    }
}

fn unmap(user: usize, buffer: &Buffer) {
    // SAFETY: both mappings were made by `allocate` for this buffer, which has just been taken out of the table.
    unsafe {
        libc::munmap(ptr::with_exposed_provenance_mut(user), buffer.mapped);
        libc::munmap(ptr::with_exposed_provenance_mut(buffer.alias), buffer.mapped);
    }
}

impl Drop for UserMemory {
    fn drop(&mut self) {
        for (user, buffer) in self.buffers.take() {
            unmap(user, &buffer);
        }
    }
}
