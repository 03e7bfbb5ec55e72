//! Work for a system thread.

use core::ptr::NonNull;

use fltkernel::*;

use crate::pool::{PoolBox, Tag};
use crate::{Status, ffi, filter};

/// Something to do later, in a system thread at PASSIVE_LEVEL. The filter stays loaded until it is done.
pub trait Work: Send + Sized + 'static {
    /// Does it.
    fn run(self);
}

struct Item<W> {
    tag: Tag,
    work: W,
}

/// `DelayedWorkQueue`.
const DELAYED: i32 = 1;

/// Queues it. IRQL up to DISPATCH_LEVEL. On failure the work comes back undone.
pub fn queue<W: Work>(filter: filter::Handle, tag: Tag, work: W) -> core::result::Result<(), (Status, W)> {
    // SAFETY: no argument.
    let Some(item) = NonNull::new(unsafe { ffi::FltAllocateGenericWorkItem() }) else {
        return Err((Status::INSUFFICIENT_RESOURCES, work));
    };
    let content = match PoolBox::try_new(tag, Item { tag, work }) {
        Ok(content) => content,
        Err((status, content)) => {
            // SAFETY: allocated above and not queued.
            unsafe { ffi::FltFreeGenericWorkItem(item.as_ptr()) };
            return Err((status, content.work));
        }
    };
    let (raw, tag) = content.into_raw();
    // SAFETY: a fresh item, a live filter, a routine that frees both.
    let status = Status(unsafe {
        ffi::FltQueueGenericWorkItem(
            item.as_ptr(),
            filter.raw(),
            Some(routine::<W>),
            DELAYED,
            raw.as_ptr().cast(),
        )
    });
    if status.is_success() {
        return Ok(());
    }
    // SAFETY: not queued, so both are still ours.
    let content = unsafe {
        ffi::FltFreeGenericWorkItem(item.as_ptr());
        PoolBox::from_raw(raw, tag)
    };
    Err((status, content.into_inner().work))
}

/// # Safety
/// Called by the Filter Manager with what [`queue`] gave it.
unsafe extern "system" fn routine<W: Work>(item: PFLT_GENERIC_WORKITEM, _object: PVOID, context: PVOID) {
    let Some(content) = NonNull::new(context.cast::<Item<W>>()) else { return };
    // SAFETY: initialised by `queue`.
    let tag = unsafe { content.as_ref() }.tag;
    // SAFETY: ours since the item was queued; the item is ours to free in its routine.
    let content = unsafe {
        ffi::FltFreeGenericWorkItem(item);
        PoolBox::from_raw(content, tag)
    };
    content.into_inner().work.run();
}
