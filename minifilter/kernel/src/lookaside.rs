//! Lookaside lists: nonpaged blocks of one size that are taken and given back often (wdm/ExInitializeLookasideListEx).

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, align_of, size_of};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use wdk_sys::LOOKASIDE_LIST_EX;
use wdk_sys::ntddk::{
    ExDeleteLookasideListEx, ExInitializeLookasideListEx, ExpInterlockedPopEntrySList,
    ExpInterlockedPushEntrySList,
};

use crate::pool::{PoolBox, Shared, Tag};
use crate::{Result, Status};

/// A list of blocks for values of one type. It lives until the last of its blocks is given back.
pub struct Lookaside<T> {
    list: Shared<List>,
    blocks: core::marker::PhantomData<T>,
}

struct List(PoolBox<UnsafeCell<LOOKASIDE_LIST_EX>>);

// SAFETY: the list is changed by interlocked routines only.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: initialised by `Lookaside::new`; no block of it is out. Up to DISPATCH_LEVEL.
        unsafe { ExDeleteLookasideListEx(self.0.get()) };
    }
}

/// A block begins with the link of the list while it waits there.
const SMALLEST: usize = size_of::<usize>();
/// Pool's alignment, which the blocks have.
const ALIGNMENT: usize = 16;

impl<T: Send> Lookaside<T> {
    /// An empty list. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag) -> Result<Self> {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        // SAFETY: a plain structure, for which zero is valid; the call below fills it.
        let list: LOOKASIDE_LIST_EX = unsafe { MaybeUninit::zeroed().assume_init() };
        let list = PoolBox::new(tag, UnsafeCell::new(list))?;
        // SAFETY: nonpaged memory that does not move; the system's own routines.
        Status(unsafe {
            ExInitializeLookasideListEx(
                list.get(),
                None,
                None,
                wdk_sys::_POOL_TYPE::NonPagedPoolNx,
                0,
                size_of::<T>().max(SMALLEST) as _,
                tag.0,
                0,
            )
        })
        .ok()?;
        Ok(Lookaside { list: Shared::new(tag, List(list))?, blocks: core::marker::PhantomData })
    }

    /// Moves a value into a block of the list. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn store(&self, value: T) -> Result<Block<T>> {
        // SAFETY: an initialised list.
        let memory = unsafe { take(self.list.0.get()) }.ok_or(Status::INSUFFICIENT_RESOURCES)?.cast::<T>();
        // SAFETY: a block of the list's size, aligned as pool is, and ours alone.
        unsafe { memory.write(value) };
        Ok(Block { memory, list: self.list.clone() })
    }
}

/// A value in a block of a lookaside list; dropping it gives the block back. Up to DISPATCH_LEVEL.
pub struct Block<T> {
    memory: NonNull<T>,
    list: Shared<List>,
}

// SAFETY: it owns its value, as a `Box` does.
unsafe impl<T: Send> Send for Block<T> {}
// SAFETY: shared access gives `&T` only.
unsafe impl<T: Sync> Sync for Block<T> {}

impl<T> Deref for Block<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised and owned by this block.
        unsafe { self.memory.as_ref() }
    }
}

impl<T> DerefMut for Block<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised and owned by this block, borrowed exclusively.
        unsafe { self.memory.as_mut() }
    }
}

impl<T> Drop for Block<T> {
    fn drop(&mut self) {
        // SAFETY: the value is initialised and nobody can reach it any more; the block came from `take`.
        unsafe {
            self.memory.drop_in_place();
            give_back(self.list.0.get(), self.memory.cast());
        }
    }
}

/// `ExAllocateFromLookasideListEx`, which the headers inline.
///
/// # Safety
/// An initialised list.
unsafe fn take(list: *mut LOOKASIDE_LIST_EX) -> Option<NonNull<u8>> {
    // SAFETY: the fields of an initialised list. The counters are statistics, which the system counts without a lock too.
    unsafe {
        let general = &raw mut (*list).L;
        (*general).TotalAllocates = (*general).TotalAllocates.wrapping_add(1);
        let head = (&raw mut (*general).__bindgen_anon_1.ListHead).cast();
        let mut block = ExpInterlockedPopEntrySList(head).cast::<u8>();
        if block.is_null() {
            let misses = &raw mut (*general).__bindgen_anon_2.AllocateMisses;
            *misses = (*misses).wrapping_add(1);
            let allocate = (*general).__bindgen_anon_4.AllocateEx?;
            block = allocate((*general).Type, (*general).Size as _, (*general).Tag, list).cast();
        }
        NonNull::new(block)
    }
}

/// `ExFreeToLookasideListEx`, which the headers inline.
///
/// # Safety
/// An initialised list, and a block that [`take`] gave, not used afterwards.
unsafe fn give_back(list: *mut LOOKASIDE_LIST_EX, block: NonNull<u8>) {
    // SAFETY: as in `take`; the depth is in the low 16 bits of the head.
    unsafe {
        let general = &raw mut (*list).L;
        (*general).TotalFrees = (*general).TotalFrees.wrapping_add(1);
        let head = &raw mut (*general).__bindgen_anon_1.ListHead;
        let depth = (&raw const (*head).__bindgen_anon_1.Alignment).read_volatile() as u16;
        if depth >= (*general).Depth {
            let misses = &raw mut (*general).__bindgen_anon_3.FreeMisses;
            *misses = (*misses).wrapping_add(1);
            if let Some(free) = (*general).__bindgen_anon_5.FreeEx {
                free(block.as_ptr().cast(), list);
            }
        } else {
            ExpInterlockedPushEntrySList(head.cast(), block.as_ptr().cast());
        }
    }
}
