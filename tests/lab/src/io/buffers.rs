//! Buffers of requests: system buffers that everybody may read, and user buffers that only the file system may.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::Executive;
use crate::memory;
use crate::rooms::Rooms;

const PAGE: usize = 4096;
/// User buffers of one size class that are kept for reuse.
const KEPT: usize = 4;

/// User buffers that wait for reuse, by capacity.
#[derive(Default)]
pub(crate) struct Buffers {
    idle: RefCell<BTreeMap<usize, Vec<usize>>>,
}

/// What kind of memory a request carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Kernel memory (METHOD_BUFFERED, and kernel-mode callers).
    System,
    /// The program's own memory: a driver that touches it faults.
    User,
}

/// One buffer of a request.
pub(crate) struct Buffer {
    place: Place,
    address: *mut u8,
    /// The lab's view of the same memory.
    alias: *mut u8,
    capacity: usize,
}

impl Buffer {
    /// A buffer of `len` bytes that begins with `contents`.
    pub(crate) fn new(lab: &Executive, place: Place, len: usize, contents: &[u8]) -> Self {
        let buffer = match place {
            _ if len == 0 => {
                let null = std::ptr::null_mut();
                Self { place, address: null, alias: null, capacity: 0 }
            }
            Place::System => {
                let address = lab.allocate_own(len, b"IoSb");
                Self { place, address, alias: address, capacity: len }
            }
            Place::User => {
                let capacity = len.next_power_of_two().max(PAGE);
                let idle = lab.io().buffers.idle.borrow_mut().get_mut(&capacity).and_then(Vec::pop);
                let address = match idle {
                    Some(address) => std::ptr::with_exposed_provenance_mut(address),
                    None => lab.user_memory.allocate(capacity),
                };
                let Some(alias) = lab.user_memory.alias(address, capacity) else {
                    panic!("a fresh user buffer has an alias");
                };
                Self { place, address, alias, capacity }
            }
        };
        memory::fill(buffer.alias, &contents[..contents.len().min(len)]);
        buffer
    }

    /// What callback data carries.
    pub(crate) fn address(&self) -> *mut core::ffi::c_void {
        self.address.cast()
    }

    /// The first `len` bytes.
    pub(crate) fn contents(&self, len: usize) -> Vec<u8> {
        memory::bytes(self.alias, len.min(self.capacity))
    }

    /// Gives the memory back.
    pub(crate) fn free(self, lab: &Executive) {
        if self.address.is_null() {
            return;
        }
        match self.place {
            Place::System => lab.free_own(self.address),
            Place::User => {
                let io = lab.io();
                let mut idle = io.buffers.idle.borrow_mut();
                let kept = idle.entry(self.capacity).or_default();
                if kept.len() < KEPT {
                    kept.push(self.address.addr());
                } else {
                    lab.user_memory.free(self.address);
                }
            }
        }
    }
}

/// The file system's view of a buffer address from a request: user addresses through their alias.
pub(crate) fn resolve(lab: &Executive, address: *mut core::ffi::c_void, len: usize) -> *mut u8 {
    lab.user_memory.alias(address.cast(), len).unwrap_or(address.cast())
}
