//! Pool memory: boxes, slices and reference-counted objects. Nonpaged, so usable up to DISPATCH_LEVEL.

use core::mem::{align_of, size_of};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use wdk_sys::ntddk::{ExAllocatePool2, ExFreePoolWithTag};
use wdk_sys::{POOL_FLAG_NON_PAGED, POOL_FLAG_UNINITIALIZED};

use crate::{Result, Status};

/// Four characters that name an allocation in debuggers and in the verifier's reports.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tag(pub u32);

impl Tag {
    /// A tag from its characters, in the order in which tools show them.
    pub const fn new(characters: &[u8; 4]) -> Tag {
        Tag(u32::from_le_bytes(*characters))
    }
}

/// Pool memory is aligned to this (x64 and arm64: `MEMORY_ALLOCATION_ALIGNMENT`).
const POOL_ALIGNMENT: usize = 16;

/// Nonpaged memory of at least one byte; zeroed unless `uninitialized`.
fn allocate(bytes: usize, tag: Tag, uninitialized: bool) -> Result<NonNull<u8>> {
    let flags = POOL_FLAG_NON_PAGED | if uninitialized { POOL_FLAG_UNINITIALIZED } else { 0 };
    // SAFETY: at or below DISPATCH_LEVEL by the rule of this module; the flags are valid; the tag is not zero.
    let memory = unsafe { ExAllocatePool2(flags, bytes.max(1) as _, tag.0) };
    NonNull::new(memory.cast()).ok_or(Status::INSUFFICIENT_RESOURCES)
}

/// Frees what [`allocate`] gave.
///
/// # Safety
/// `memory` is from [`allocate`] with this tag, not freed yet, and not used afterwards.
unsafe fn free(memory: NonNull<u8>, tag: Tag) {
    // SAFETY: the caller's promise.
    unsafe { ExFreePoolWithTag(memory.as_ptr().cast(), tag.0) };
}

/// One value in nonpaged pool.
pub struct PoolBox<T> {
    memory: NonNull<T>,
    tag: Tag,
}

// SAFETY: it owns its value, as a `Box` does.
unsafe impl<T: Send> Send for PoolBox<T> {}
// SAFETY: shared access gives `&T` only.
unsafe impl<T: Sync> Sync for PoolBox<T> {}

impl<T> PoolBox<T> {
    /// Moves a value into pool. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag, value: T) -> Result<Self> {
        Self::try_new(tag, value).map_err(|(status, _)| status)
    }

    /// As [`Self::new`], but a failure gives the value back.
    pub fn try_new(tag: Tag, value: T) -> core::result::Result<Self, (Status, T)> {
        const { assert!(align_of::<T>() <= POOL_ALIGNMENT) };
        let memory = match allocate(size_of::<T>(), tag, true) {
            Ok(memory) => memory.cast::<T>(),
            Err(status) => return Err((status, value)),
        };
        // SAFETY: large enough and aligned for `T`, and ours alone.
        unsafe { memory.write(value) };
        Ok(PoolBox { memory, tag })
    }

    /// The bare pointer, which now owns the value.
    pub(crate) fn into_raw(self) -> (NonNull<T>, Tag) {
        let raw = (self.memory, self.tag);
        core::mem::forget(self);
        raw
    }

    /// Takes a bare pointer back.
    ///
    /// # Safety
    /// The pair came from [`Self::into_raw`] and is not used again.
    pub(crate) unsafe fn from_raw(memory: NonNull<T>, tag: Tag) -> Self {
        PoolBox { memory, tag }
    }

    /// The value itself; its memory is freed.
    pub fn into_inner(self) -> T {
        let (memory, tag) = self.into_raw();
        // SAFETY: the value is initialised and ownership of it is taken here, once.
        let value = unsafe { memory.read() };
        // SAFETY: from `allocate` with this tag; the value was moved out.
        unsafe { free(memory.cast(), tag) };
        value
    }
}

impl<T> Deref for PoolBox<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: initialised and owned by this box.
        unsafe { self.memory.as_ref() }
    }
}

impl<T> DerefMut for PoolBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: initialised and owned by this box, borrowed exclusively.
        unsafe { self.memory.as_mut() }
    }
}

impl<T> Drop for PoolBox<T> {
    fn drop(&mut self) {
        // SAFETY: the value is initialised and nobody can reach it any more.
        unsafe { self.memory.drop_in_place() };
        // SAFETY: from `allocate` with this tag.
        unsafe { free(self.memory.cast(), self.tag) };
    }
}

/// A growing list in nonpaged pool.
pub struct PoolVec<T> {
    memory: NonNull<T>,
    length: usize,
    capacity: usize,
    tag: Tag,
}

// SAFETY: it owns its values, as a `Vec` does.
unsafe impl<T: Send> Send for PoolVec<T> {}
// SAFETY: shared access gives `&[T]` only.
unsafe impl<T: Sync> Sync for PoolVec<T> {}

impl<T> PoolVec<T> {
    /// An empty list, without memory.
    pub const fn new(tag: Tag) -> Self {
        PoolVec { memory: NonNull::dangling(), length: 0, capacity: 0, tag }
    }

    /// Makes room for one more. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn reserve_one(&mut self) -> Result<()> {
        const { assert!(align_of::<T>() <= POOL_ALIGNMENT && size_of::<T>() > 0) };
        if self.length < self.capacity {
            return Ok(());
        }
        let capacity = self.capacity.saturating_mul(2).max(8);
        let bytes = capacity.checked_mul(size_of::<T>()).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        let memory = allocate(bytes, self.tag, true)?.cast::<T>();
        // SAFETY: both are large enough; the values move.
        unsafe { core::ptr::copy_nonoverlapping(self.memory.as_ptr(), memory.as_ptr(), self.length) };
        if self.capacity != 0 {
            // SAFETY: from `allocate` with this tag; its values have moved.
            unsafe { free(self.memory.cast(), self.tag) };
        }
        self.memory = memory;
        self.capacity = capacity;
        Ok(())
    }

    /// Adds a value at the end. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn push(&mut self, value: T) -> Result<()> {
        self.reserve_one()?;
        // SAFETY: there is room for one more.
        unsafe { self.memory.add(self.length).write(value) };
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// Takes the last value.
    pub fn pop(&mut self) -> Option<T> {
        self.length = self.length.checked_sub(1)?;
        // SAFETY: initialised, and no longer counted.
        Some(unsafe { self.memory.add(self.length).read() })
    }

    /// Takes the first value that `which` chooses; the last one takes its place.
    pub fn take(&mut self, which: impl FnMut(&T) -> bool) -> Option<T> {
        let index = self.iter().position(which)?;
        let last = self.pop()?;
        match self.get_mut(index) {
            Some(place) => Some(core::mem::replace(place, last)),
            None => Some(last),
        }
    }
}

impl<T> Deref for PoolVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised values, owned.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for PoolVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `length` initialised values, owned and borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl<T> Drop for PoolVec<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
        if self.capacity != 0 {
            // SAFETY: from `allocate` with this tag, emptied.
            unsafe { free(self.memory.cast(), self.tag) };
        }
    }
}

/// Plain numbers: all bit patterns are valid, zero too.
///
/// # Safety
/// The type has no padding, no invalid bit pattern, and an alignment of at most 16.
pub unsafe trait Plain: Copy + 'static {}
// SAFETY: a number.
unsafe impl Plain for u8 {}
// SAFETY: a number.
unsafe impl Plain for u16 {}
// SAFETY: a number.
unsafe impl Plain for u32 {}
// SAFETY: a number.
unsafe impl Plain for u64 {}

/// A slice of numbers in nonpaged pool.
pub struct PoolSlice<T: Plain> {
    memory: NonNull<T>,
    length: usize,
    tag: Tag,
}

// SAFETY: it owns plain numbers.
unsafe impl<T: Plain + Send> Send for PoolSlice<T> {}
// SAFETY: shared access gives `&[T]` only.
unsafe impl<T: Plain + Sync> Sync for PoolSlice<T> {}

impl<T: Plain> PoolSlice<T> {
    /// `length` zeros. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn zeroed(tag: Tag, length: usize) -> Result<Self> {
        let bytes = length.checked_mul(size_of::<T>()).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        Ok(PoolSlice { memory: allocate(bytes, tag, false)?.cast(), length, tag })
    }

    /// A copy. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn copy_of(tag: Tag, source: &[T]) -> Result<Self> {
        let mut copy = Self::zeroed(tag, source.len())?;
        for (to, from) in copy.iter_mut().zip(source) {
            *to = *from;
        }
        Ok(copy)
    }
}

impl<T: Plain> Deref for PoolSlice<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `length` initialised elements, owned.
        unsafe { core::slice::from_raw_parts(self.memory.as_ptr(), self.length) }
    }
}

impl<T: Plain> DerefMut for PoolSlice<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `length` initialised elements, owned and borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.memory.as_ptr(), self.length) }
    }
}

impl<T: Plain> AsRef<[T]> for PoolSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Plain> AsMut<[T]> for PoolSlice<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T: Plain> Drop for PoolSlice<T> {
    fn drop(&mut self) {
        // SAFETY: from `allocate` with this tag.
        unsafe { free(self.memory.cast(), self.tag) };
    }
}

struct Counted<T> {
    count: AtomicUsize,
    value: T,
}

/// A reference-counted value in nonpaged pool. The last reference, wherever it is dropped, drops the value.
pub struct Shared<T> {
    memory: NonNull<Counted<T>>,
    tag: Tag,
}

// SAFETY: as for `Arc`.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as for `Arc`.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves a value into pool. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag, value: T) -> Result<Self> {
        let (memory, tag) = PoolBox::new(tag, Counted { count: AtomicUsize::new(1), value })?.into_raw();
        Ok(Shared { memory, tag })
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: alive as long as this reference is.
        unsafe { self.memory.as_ref() }
    }

    /// Whether both are the same object.
    pub fn is(&self, other: &Self) -> bool {
        self.memory == other.memory
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.counted().count.fetch_add(1, Ordering::Relaxed);
        Shared { memory: self.memory, tag: self.tag }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: this was the last reference; the pair is from `PoolBox::into_raw`.
            drop(unsafe { PoolBox::from_raw(self.memory, self.tag) });
        }
    }
}
