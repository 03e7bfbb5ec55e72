//! Contexts: values that the Filter Manager keeps for an instance, a stream, an open handle or a transaction
//! (minifilter-rules §3.1).
//!
//! A context belongs to the object it is set on and is dropped when the object, the instance or the filter goes and
//! the last [`ContextRef`] is gone. That may happen at DISPATCH_LEVEL, so what a context owns must be releasable
//! there: close handles before.

use core::any::TypeId;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ops::Deref;
use core::ptr::{NonNull, null_mut};

use fltkernel::*;

use crate::callback::Carry;
use crate::ffi;
use crate::file::FileObject;
use crate::gate::Gate;
use crate::instance::Instance;
use crate::pool::Tag;
use crate::{Result, Status};

/// What a context is attached to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// An instance of the filter.
    Instance,
    /// A stream of a file: all its file objects share it.
    Stream,
    /// A file object.
    StreamHandle,
    /// A transaction, as one instance sees it.
    Transaction,
}

impl ContextKind {
    const fn code(self) -> u16 {
        match self {
            ContextKind::Instance => FLT_INSTANCE_CONTEXT,
            ContextKind::Stream => FLT_STREAM_CONTEXT,
            ContextKind::StreamHandle => FLT_STREAMHANDLE_CONTEXT,
            ContextKind::Transaction => FLT_TRANSACTION_CONTEXT,
        }
    }
}

/// A type that lives in contexts of one kind. Register it with [`ContextEntry::of`].
pub trait Context: Send + Sync + Sized + 'static {
    /// What it is attached to.
    const KIND: ContextKind;
    /// Its pool tag.
    const TAG: Tag;
}

/// The memory of a context: the value, after a mark of its type.
#[repr(C)]
struct Slot<T> {
    mark: TypeId,
    value: T,
}

/// One line of a filter's context table.
#[repr(transparent)]
pub struct ContextEntry(FLT_CONTEXT_REGISTRATION);

// SAFETY: plain data and function pointers; the reserved pointer is null.
unsafe impl Sync for ContextEntry {}

impl ContextEntry {
    /// The line for `T`.
    pub const fn of<T: Context>() -> ContextEntry {
        const { assert!(align_of::<Slot<T>>() <= 16, "the Filter Manager aligns contexts like pool") };
        const { assert!(size_of::<Slot<T>>() <= 65_535, "the Filter Manager's limit") };
        ContextEntry(FLT_CONTEXT_REGISTRATION {
            ContextType: T::KIND.code(),
            Flags: 0,
            ContextCleanupCallback: Some(cleanup::<T>),
            Size: size_of::<Slot<T>>(),
            PoolTag: T::TAG.0,
            ContextAllocateCallback: None,
            ContextFreeCallback: None,
            Reserved1: null_mut(),
        })
    }

    /// The end of a table.
    pub const END: ContextEntry = ContextEntry(FLT_CONTEXT_REGISTRATION {
        ContextType: FLT_CONTEXT_END,
        Flags: 0,
        ContextCleanupCallback: None,
        Size: 0,
        PoolTag: 0,
        ContextAllocateCallback: None,
        ContextFreeCallback: None,
        Reserved1: null_mut(),
    });

    pub(crate) const fn is_end(&self) -> bool {
        self.0.ContextType == FLT_CONTEXT_END
    }
}

/// Drops the value of a dying context.
///
/// # Safety
/// Called by the Filter Manager, once, with a context that [`ContextRef::new`] filled.
unsafe extern "system" fn cleanup<T: Context>(context: PFLT_CONTEXT, _kind: u16) {
    // SAFETY: filled with a `Slot<T>` before it could be seen; nobody has a reference any more.
    unsafe { context.cast::<Slot<T>>().drop_in_place() };
}

/// One reference to a context.
pub struct ContextRef<T: Context> {
    slot: NonNull<Slot<T>>,
    owner: PhantomData<Slot<T>>,
}

// SAFETY: a counted reference to a `Send + Sync` value.
unsafe impl<T: Context> Send for ContextRef<T> {}
// SAFETY: as above.
unsafe impl<T: Context> Sync for ContextRef<T> {}

impl<T: Context> ContextRef<T> {
    /// A new context that is not attached yet; nonpaged. IRQL up to APC_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES`, or when the filter is being unloaded.
    pub fn new(filter: crate::filter::Handle, value: T) -> Result<Self> {
        let mut context = null_mut();
        // SAFETY: a live filter, a registered type and size, an out pointer.
        let status = unsafe {
            ffi::FltAllocateContext(
                filter.raw(),
                T::KIND.code(),
                size_of::<Slot<T>>(),
                wdk_sys::_POOL_TYPE::NonPagedPoolNx as i32,
                &mut context,
            )
        };
        Status(status).ok()?;
        let slot = NonNull::new(context.cast::<Slot<T>>()).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        // SAFETY: fresh memory of that size and alignment.
        unsafe { slot.write(Slot { mark: TypeId::of::<T>(), value }) };
        Ok(ContextRef { slot, owner: PhantomData })
    }

    /// Whether both are the same context.
    pub fn is(&self, other: &Self) -> bool {
        self.slot == other.slot
    }

    /// Takes over the reference that a get routine returned.
    ///
    /// # Safety
    /// `context` is a referenced context of this filter.
    pub(crate) unsafe fn adopt(context: PFLT_CONTEXT) -> Option<Self> {
        let slot = NonNull::new(context.cast::<Slot<T>>())?;
        // SAFETY: every context of this crate begins with a mark.
        if unsafe { (*slot.as_ptr()).mark } != TypeId::of::<T>() {
            // SAFETY: the reference that was returned to us.
            unsafe { ffi::FltReleaseContext(context) };
            return None;
        }
        Some(ContextRef { slot, owner: PhantomData })
    }

    /// The context, which `self` keeps.
    pub(crate) fn raw(&self) -> PFLT_CONTEXT {
        self.slot.as_ptr().cast()
    }

    pub(crate) fn into_raw(self) -> PFLT_CONTEXT {
        let raw = self.slot.as_ptr().cast();
        core::mem::forget(self);
        raw
    }

    /// Takes a reference back.
    ///
    /// # Safety
    /// From [`Self::into_raw`], used once.
    pub(crate) unsafe fn from_raw(raw: PFLT_CONTEXT) -> Option<Self> {
        NonNull::new(raw.cast()).map(|slot| ContextRef { slot, owner: PhantomData })
    }

    /// Attaches it to a handle. IRQL up to APC_LEVEL. Fails if there is one already
    /// (`FLT_CONTEXT_ALREADY_DEFINED`), or if the file object cannot have contexts (`NOT_SUPPORTED`).
    pub fn set_on_handle(&self, instance: Instance<'_>, file: FileObject<'_>) -> Result<()> {
        // SAFETY: live instance, opened file object, a context of the right kind, nothing returned.
        Status(unsafe {
            ffi::FltSetStreamHandleContext(
                instance.raw(),
                file.raw(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.slot.as_ptr().cast(),
                null_mut(),
            )
        })
        .ok()
    }

    /// Attaches it to the stream of a file object. IRQL up to APC_LEVEL. Fails as [`Self::set_on_handle`] does.
    pub fn set_on_stream(&self, instance: Instance<'_>, file: FileObject<'_>) -> Result<()> {
        // SAFETY: live instance, opened file object, a context of the right kind, nothing returned.
        Status(unsafe {
            ffi::FltSetStreamContext(
                instance.raw(),
                file.raw(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.raw(),
                null_mut(),
            )
        })
        .ok()
    }

    /// The context of a file object's stream, if it has one. IRQL up to APC_LEVEL.
    pub fn of_stream(instance: Instance<'_>, file: FileObject<'_>) -> Option<Self> {
        let mut context = null_mut();
        // SAFETY: live instance and file object, an out pointer.
        let status = unsafe { ffi::FltGetStreamContext(instance.raw(), file.raw(), &mut context) };
        if !wdk::nt_success(status) {
            return None;
        }
        // SAFETY: success returns a referenced context.
        unsafe { Self::adopt(context) }
    }

    /// Attaches it to an instance. IRQL up to APC_LEVEL.
    pub fn set_on_instance(&self, instance: Instance<'_>) -> Result<()> {
        // SAFETY: as above.
        Status(unsafe {
            ffi::FltSetInstanceContext(
                instance.raw(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.slot.as_ptr().cast(),
                null_mut(),
            )
        })
        .ok()
    }

    /// The context of a handle; `None` if it has none or cannot have one. IRQL up to APC_LEVEL. Any other failure is not
    /// documented to happen.
    #[inline]
    pub fn of_handle(instance: Instance<'_>, file: FileObject<'_>) -> Result<Option<Self>> {
        let mut context = null_mut();
        // SAFETY: live instance and file object, an out pointer.
        let status = unsafe { ffi::FltGetStreamHandleContext(instance.raw(), file.raw(), &mut context) };
        if wdk::nt_success(status) {
            // SAFETY: success returns a referenced context.
            return Ok(unsafe { Self::adopt(context) });
        }
        match Status(status) {
            Status::NOT_FOUND | Status::NOT_SUPPORTED | Status::INVALID_PARAMETER => Ok(None),
            status => Err(status),
        }
    }

    /// The context of an instance, if it has one. IRQL up to APC_LEVEL. Fails with `NOT_FOUND`.
    pub fn of_instance(instance: Instance<'_>) -> Result<Self> {
        let mut context = null_mut();
        // SAFETY: live instance, an out pointer.
        let status = unsafe { ffi::FltGetInstanceContext(instance.raw(), &mut context) };
        if !wdk::nt_success(status) {
            return Err(Status(status));
        }
        // SAFETY: success returns a referenced context.
        unsafe { Self::adopt(context) }.ok_or(Status::NOT_FOUND)
    }
}

impl<T: Context> Deref for ContextRef<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: filled, and alive as long as this reference.
        unsafe { &self.slot.as_ref().value }
    }
}

impl<T: Context> Clone for ContextRef<T> {
    fn clone(&self) -> Self {
        // SAFETY: a live context; up to DISPATCH_LEVEL.
        unsafe { ffi::FltReferenceContext(self.slot.as_ptr().cast()) };
        ContextRef { slot: self.slot, owner: PhantomData }
    }
}

impl<T: Context> Drop for ContextRef<T> {
    fn drop(&mut self) {
        // SAFETY: gives back this reference; up to DISPATCH_LEVEL.
        unsafe { ffi::FltReleaseContext(self.slot.as_ptr().cast()) };
    }
}

/// A context whose operations go through a [`Gate`]. Implemented by [`gated!`](crate::gated).
///
/// # Safety
/// [`Self::gate`] always gives the same gate, a field of `self`.
pub unsafe trait Gated: Context {
    /// What is behind the gate.
    type Inside: Send + Sync;
    /// The gate.
    fn gate(&self) -> &Gate<Self::Inside>;
}

/// Says which field of a context is its gate.
#[macro_export]
macro_rules! gated {
    ($context:ty, $field:ident: $inside:ty) => {
        #[allow(unsafe_code, reason = "the field is always the same one")]
        // SAFETY: a field.
        unsafe impl $crate::context::Gated for $context {
            type Inside = $inside;
            #[inline]
            fn gate(&self) -> &$crate::gate::Gate<$inside> {
                &self.$field
            }
        }
    };
}

/// One operation in flight: a reference to a context, and a place inside its gate until dropped.
pub struct Entered<T: Gated>(ContextRef<T>);

impl<T: Gated> Entered<T> {
    /// Goes in; waits while the gate is held, and gives the reference back if it is closed. IRQL up to APC_LEVEL.
    pub fn enter(context: ContextRef<T>) -> core::result::Result<Self, ContextRef<T>> {
        if context.gate().enter() { Ok(Entered(context)) } else { Err(context) }
    }
}

impl<T: Gated> Entered<T> {
    /// What is behind the gate. Any IRQL.
    #[inline]
    pub fn inside(&self) -> &T::Inside {
        // SAFETY: we are inside until dropped, and the gate is always the same.
        unsafe { self.0.gate().inside() }
    }
}

impl<T: Gated> Deref for Entered<T> {
    type Target = ContextRef<T>;
    fn deref(&self) -> &ContextRef<T> {
        &self.0
    }
}

impl<T: Gated> Drop for Entered<T> {
    fn drop(&mut self) {
        self.0.gate().leave();
    }
}

impl<T: Gated> Carry for Entered<T> {
    fn into_raw(self) -> PVOID {
        // SAFETY: the reference moves into the pointer; `self` is forgotten, so the gate is not left.
        let context = unsafe { core::ptr::read(&self.0) };
        core::mem::forget(self);
        context.into_raw()
    }
    unsafe fn from_raw(raw: PVOID) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { ContextRef::from_raw(raw) }.map(Entered)
    }
}
