//! Processes and threads.

use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};

use fltkernel::PEPROCESS;
use wdk_sys::ntddk::{
    ExFreePoolWithTag, IoGetStackLimits, IoGetTopLevelIrp, KeStackAttachProcess, KeUnstackDetachProcess,
    ObDereferenceObjectDeferDelete, ObfReferenceObject, PsGetProcessCreateTimeQuadPart,
    PsGetProcessExitStatus, PsGetProcessId, PsIsThreadTerminating, SeLocateProcessImageName,
};
use widestring::U16Str;

use crate::{Result, Status, string};

mod watch;

pub use watch::{Seat, Watch, Watcher};

/// A process, for as long as a request of it vouches for it.
#[derive(Clone, Copy)]
pub struct Process<'a> {
    raw: PEPROCESS,
    life: PhantomData<&'a ()>,
}

/// Which process, beyond its life: the address of its object may be used again, but not by a process of the same birth and
/// id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProcessKey {
    address: usize,
    born: i64,
    /// Births are told apart by the clock's tick only: two within one may have had the same address.
    id: u32,
}

impl ProcessKey {
    /// No process.
    pub const NONE: ProcessKey = ProcessKey { address: 0, born: 0, id: 0 };

    /// A number to choose a bucket by: processes that run at the same time have different ones.
    pub fn hash(self) -> usize {
        // Ids are multiples of four, as handles are.
        self.id as usize >> 2
    }
}

/// The process that the current thread belongs to, whichever it is attached to. It lives as the thread does. Up to
/// DISPATCH_LEVEL.
fn of_current_thread() -> PEPROCESS {
    // SAFETY: the current thread is alive.
    unsafe { crate::ffi::IoThreadToProcess(crate::ffi::PsGetCurrentThread()) }
}

impl Process<'_> {
    /// # Safety
    /// The process outlives `'a`.
    pub(crate) unsafe fn from_raw(raw: PEPROCESS) -> Self {
        Process { raw, life: PhantomData }
    }

    /// Its identity. Any IRQL.
    pub fn key(self) -> ProcessKey {
        if self.raw.is_null() {
            return ProcessKey::default();
        }
        // SAFETY: a live process.
        let born = unsafe { PsGetProcessCreateTimeQuadPart(self.raw.cast()) };
        ProcessKey { address: self.raw as usize, born, id: self.id() }
    }

    /// Its process id. Any IRQL.
    pub fn id(self) -> u32 {
        if self.raw.is_null() {
            return 0;
        }
        // SAFETY: a live process.
        unsafe { PsGetProcessId(self.raw.cast()) as usize as u32 }
    }

    /// Its exit status; `PENDING` while it lives. It is set before the handles are swept (txf-ktm §8.2). IRQL up to
    /// APC_LEVEL.
    pub fn exit_status(self) -> Status {
        if self.raw.is_null() {
            return Status::PENDING;
        }
        // SAFETY: a live process.
        Status(unsafe { PsGetProcessExitStatus(self.raw.cast()) })
    }

    /// Whether the current thread is one of its own, and not of another process and attached to it. Up to DISPATCH_LEVEL.
    pub fn is_of_current_thread(self) -> bool {
        of_current_thread() == self.raw
    }

    /// The path of its image: `\Device\HarddiskVolume1\…\winword.exe`. PASSIVE_LEVEL.
    pub fn image_name(self) -> Result<ImageName> {
        if self.raw.is_null() {
            return Err(Status::NOT_FOUND);
        }
        let mut name = null_mut();
        // SAFETY: a live process, an out pointer.
        Status(unsafe { SeLocateProcessImageName(self.raw.cast(), &mut name) }).ok()?;
        NonNull::new(name).map(ImageName).ok_or(Status::NOT_FOUND)
    }
}

/// A counted reference to a process: its object stays, whether it lives or not.
pub struct ProcessRef(NonNull<core::ffi::c_void>);

// SAFETY: a counted reference, valid in every thread.
unsafe impl Send for ProcessRef {}
// SAFETY: as above.
unsafe impl Sync for ProcessRef {}

impl Process<'_> {
    /// A reference of its own; `None` if the operation has no process. Up to DISPATCH_LEVEL.
    pub fn reference(self) -> Option<ProcessRef> {
        let raw = NonNull::new(self.raw)?.cast();
        // SAFETY: a live process.
        unsafe { ObfReferenceObject(raw.as_ptr()) };
        Some(ProcessRef(raw))
    }
}

impl ProcessRef {
    /// The process.
    pub fn get(&self) -> Process<'_> {
        // SAFETY: referenced for the borrow.
        unsafe { Process::from_raw(self.0.as_ptr().cast()) }
    }

    /// Whether it is this process. Any IRQL.
    pub fn is(&self, process: Process<'_>) -> bool {
        core::ptr::eq(self.0.as_ptr(), process.raw.cast())
    }

    /// Does something as a thread of this process: requests made meanwhile are its own. PASSIVE_LEVEL.
    pub fn attached<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut state = wdk_sys::KAPC_STATE::default();
        // SAFETY: a referenced process; the state lives until the thread is detached.
        unsafe { KeStackAttachProcess(self.0.as_ptr().cast(), &mut state) };
        let result = work();
        // SAFETY: attached above.
        unsafe { KeUnstackDetachProcess(&mut state) };
        result
    }
}

impl Drop for ProcessRef {
    fn drop(&mut self) {
        // SAFETY: our reference; up to DISPATCH_LEVEL.
        unsafe { ObDereferenceObjectDeferDelete(self.0.as_ptr()) };
    }
}

/// The path of a process's image, as the system gave it.
pub struct ImageName(NonNull<wdk_sys::UNICODE_STRING>);

impl core::ops::Deref for ImageName {
    type Target = U16Str;
    fn deref(&self) -> &U16Str {
        // SAFETY: owned by us until freed.
        unsafe { string::borrow_wdk(self.0.as_ptr()) }
    }
}

impl Drop for ImageName {
    fn drop(&mut self) {
        // SAFETY: SeLocateProcessImageName's result is one allocation that the caller frees with ExFreePool.
        unsafe { ExFreePoolWithTag(self.0.as_ptr().cast(), 0) };
    }
}

/// The current thread, as an address to compare with. Any IRQL.
pub fn current_thread() -> usize {
    // SAFETY: no argument; any IRQL.
    unsafe { crate::ffi::PsGetCurrentThread() as usize }
}

/// Whether the current thread is ending. IRQL up to DISPATCH_LEVEL.
pub fn current_thread_is_terminating() -> bool {
    // SAFETY: the current thread is alive.
    unsafe { PsIsThreadTerminating(crate::ffi::PsGetCurrentThread().cast()) != 0 }
}

/// Whether the current thread is inside a file system already: nested creates would deadlock
/// (minifilter-rules §1.9). Any IRQL.
pub fn is_inside_file_system() -> bool {
    // SAFETY: no argument.
    unsafe { !IoGetTopLevelIrp().is_null() }
}

/// Bytes of kernel stack that are left for calls from here. Any IRQL.
pub fn remaining_stack() -> usize {
    let (mut low, mut high) = (0, 0);
    // SAFETY: two out pointers.
    unsafe { IoGetStackLimits(&mut low, &mut high) };
    let here = core::ptr::from_ref(&low) as usize;
    here.saturating_sub(low as usize)
}
