//! System threads.

use core::ptr::{NonNull, null_mut};

use wdk_sys::ntddk::{PsCreateSystemThread, PsTerminateSystemThread, ZwClose, ZwWaitForSingleObject};

use crate::pool::{PoolBox, Tag};
use crate::{Result, Status, object};

const SYNCHRONIZE: u32 = 0x0010_0000;

/// What a thread does, at PASSIVE_LEVEL, in the system process.
pub trait Body: Send + Sized + 'static {
    /// Does it; the thread ends with it.
    fn run(self);
}

/// A running system thread. Dropping it waits until the thread has ended, and with it every instruction of the driver
/// in it: whoever owns this can be unloaded after the drop, which a thread that was merely told to end does not
/// allow. So what the thread waits for must be told to end before.
pub struct SystemThread {
    handle: wdk_sys::HANDLE,
}

// SAFETY: a kernel handle, valid in every thread.
unsafe impl Send for SystemThread {}
// SAFETY: as above.
unsafe impl Sync for SystemThread {}

impl SystemThread {
    /// Starts one. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES` and as the system fails; the body is dropped then.
    pub fn start<B: Body>(tag: Tag, body: B) -> Result<Self> {
        let (raw, tag) = PoolBox::new(tag, (tag, body))?.into_raw();
        let mut attributes = object::unnamed();
        let mut handle = null_mut();
        // SAFETY: out pointer and attributes are locals; no process handle: the system process; a routine that takes
        // what it is given.
        let status = Status(unsafe {
            PsCreateSystemThread(
                &mut handle,
                SYNCHRONIZE,
                &mut attributes,
                null_mut(),
                null_mut(),
                Some(routine::<B>),
                raw.as_ptr().cast(),
            )
        });
        if let Err(status) = status.ok() {
            // SAFETY: no thread took it.
            drop(unsafe { PoolBox::from_raw(raw, tag) });
            return Err(status);
        }
        Ok(SystemThread { handle })
    }
}

impl Drop for SystemThread {
    /// PASSIVE_LEVEL, not in the thread itself.
    fn drop(&mut self) {
        // SAFETY: our handle, with the right to wait; no time limit, not alertable: it ends with the thread.
        unsafe {
            let _ = ZwWaitForSingleObject(self.handle, 0, null_mut());
            let _ = ZwClose(self.handle);
        }
    }
}

/// # Safety
/// Called by the system with what [`SystemThread::start`] gave it.
unsafe extern "C" fn routine<B: Body>(context: *mut core::ffi::c_void) {
    if let Some(content) = NonNull::new(context.cast::<(Tag, B)>()) {
        // SAFETY: initialised by `start`, whose thread this is.
        let tag = unsafe { content.as_ref() }.0;
        // SAFETY: ours since the thread began.
        let content = unsafe { PoolBox::from_raw(content, tag) };
        content.into_inner().1.run();
    }
    // SAFETY: a system thread, with nothing left on this stack.
    let _ = unsafe { PsTerminateSystemThread(Status::SUCCESS.0) };
}
