//! Interlocked lists. The lab has one processor and no interrupt, so plain reads and writes are atomic.

use std::ptr;

use crate::imports;

/// LIST_ENTRY.
#[repr(C)]
pub struct ListEntry {
    flink: *mut ListEntry,
    blink: *mut ListEntry,
}

/// SLIST_HEADER, x64: depth in the low 16 bits of the first word, the first entry in the second
/// (ExQueryDepthSList is inlined and reads the depth).
#[repr(C, align(16))]
pub struct SListHeader {
    depth: u64,
    next: u64,
}

/// # Safety
/// `head` is an initialised SLIST_HEADER.
pub(super) unsafe fn pop(head: *mut SListHeader) -> *mut usize {
    // SAFETY: by this function's contract; entries begin with the address of the next one.
    unsafe {
        let first = ptr::with_exposed_provenance_mut::<usize>((*head).next as usize);
        if !first.is_null() {
            (*head).next = first.read() as u64;
            (*head).depth = (*head).depth.wrapping_sub(1);
        }
        first
    }
}

/// # Safety
/// As [`pop`], and `entry` is writable.
unsafe fn push(head: *mut SListHeader, entry: *mut usize) -> *mut usize {
    // SAFETY: by this function's contract.
    unsafe {
        let former = (*head).next;
        entry.write(former as usize);
        (*head).next = entry.expose_provenance() as u64;
        (*head).depth = (*head).depth.wrapping_add(1);
        ptr::with_exposed_provenance_mut(former as usize)
    }
}

imports! {
    /// Interlocked lists.
    pub static TABLE in "ntoskrnl.exe";

    /// Initialises a sequenced list.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInitializeSListHead"]
    fn InitializeSListHead(_lab; head: *mut SListHeader) {
        // SAFETY: the contract says a list head of the driver.
        unsafe { head.write(SListHeader { depth: 0, next: 0 }) };
    }

    /// Takes the first entry of a sequenced list.
    [ceiling: HIGH_LEVEL, Approximated("the sequence number is not kept"), source: "wdm/ExInterlockedPopEntrySList"]
    fn ExpInterlockedPopEntrySList(_lab; head: *mut SListHeader) -> *mut usize {
        // SAFETY: the contract says an initialised list head.
        unsafe { pop(head) }
    }

    /// Puts an entry first; returns the former first.
    [ceiling: HIGH_LEVEL, Approximated("the sequence number is not kept"), source: "wdm/ExInterlockedPushEntrySList"]
    fn ExpInterlockedPushEntrySList(_lab; head: *mut SListHeader, entry: *mut usize) -> *mut usize {
        // SAFETY: the contract says an initialised list head and an entry of the driver.
        unsafe { push(head, entry) }
    }

    /// How many entries a sequenced list has.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExQueryDepthSList"]
    fn ExQueryDepthSList(_lab; head: *const SListHeader) -> u16 {
        // SAFETY: the contract says an initialised list head.
        unsafe { (&raw const (*head).depth).read_unaligned() as u16 }
    }

    /// Takes all entries.
    [ceiling: HIGH_LEVEL, Approximated("the sequence number is not kept"), source: "wdm/ExInterlockedFlushSList"]
    fn ExpInterlockedFlushSList(_lab; head: *mut SListHeader) -> *mut usize {
        // SAFETY: the contract says an initialised list head.
        unsafe {
            let first = (*head).next as usize;
            head.write(SListHeader { depth: 0, next: 0 });
            ptr::with_exposed_provenance_mut(first)
        }
    }

    /// Puts an entry at the head of a list; returns the former first, or null.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInterlockedInsertHeadList"]
    fn ExInterlockedInsertHeadList(_lab; head: *mut ListEntry, entry: *mut ListEntry, _lock: *mut usize) -> *mut ListEntry {
        // SAFETY: the contract says an initialised list and an entry of the driver.
        unsafe {
            let first = (*head).flink;
            entry.write(ListEntry { flink: first, blink: head });
            (*first).blink = entry;
            (*head).flink = entry;
            if first == head { ptr::null_mut() } else { first }
        }
    }

    /// Puts an entry at the end of a list; returns the former last, or null.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInterlockedInsertTailList"]
    fn ExInterlockedInsertTailList(_lab; head: *mut ListEntry, entry: *mut ListEntry, _lock: *mut usize) -> *mut ListEntry {
        // SAFETY: as in ExInterlockedInsertHeadList.
        unsafe {
            let last = (*head).blink;
            entry.write(ListEntry { flink: head, blink: last });
            (*last).flink = entry;
            (*head).blink = entry;
            if last == head { ptr::null_mut() } else { last }
        }
    }

    /// Takes the first entry of a list, or null.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInterlockedRemoveHeadList"]
    fn ExInterlockedRemoveHeadList(_lab; head: *mut ListEntry, _lock: *mut usize) -> *mut ListEntry {
        // SAFETY: as in ExInterlockedInsertHeadList.
        unsafe {
            let first = (*head).flink;
            if first == head {
                return ptr::null_mut();
            }
            (*head).flink = (*first).flink;
            (*(*first).flink).blink = head;
            first
        }
    }
}
