//! Locks and events.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use wdk_sys::ntddk::{
    ExAcquirePushLockExclusiveEx, ExAcquirePushLockSharedEx, ExReleasePushLockExclusiveEx,
    ExReleasePushLockSharedEx, KeAcquireSpinLockRaiseToDpc, KeClearEvent, KeEnterCriticalRegion,
    KeInitializeEvent, KeLeaveCriticalRegion, KeReleaseSpinLock, KeSetEvent, KeWaitForMultipleObjects,
    KeWaitForSingleObject,
};

use crate::pool::{PoolBox, Tag};
use crate::{Result, Status};

/// A value behind a spin lock. The holder runs at DISPATCH_LEVEL: no waiting, no paged memory, few instructions.
pub struct SpinLock<T> {
    lock: UnsafeCell<wdk_sys::KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives exclusive access.
unsafe impl<T: Send> Send for SpinLock<T> {}
// SAFETY: the lock gives exclusive access.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A free lock (`KeInitializeSpinLock` stores zero).
    pub const fn new(value: T) -> Self {
        SpinLock { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Takes it. IRQL up to DISPATCH_LEVEL.
    pub fn lock(&self) -> SpinGuard<'_, T> {
        // SAFETY: an initialised lock in nonpaged memory.
        let irql = unsafe { KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        SpinGuard { lock: self, irql }
    }
}

/// A held spin lock.
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
    irql: wdk_sys::KIRQL,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held by us, with this previous IRQL.
        unsafe { KeReleaseSpinLock(self.lock.lock.get(), self.irql) };
    }
}

/// A critical region, until dropped: normal kernel APCs are off, so nobody suspends the calling thread. Whoever others wait
/// for without a limit of time is in one: who freezes a process would stop them with it. Requests may be sent in one, as it is
/// left in the routine that entered it (minifilter-rules §2.6).
pub struct CriticalRegion {
    /// It is the calling thread's.
    not_send: PhantomData<*mut ()>,
}

impl CriticalRegion {
    /// Enters it; may be repeated. IRQL up to APC_LEVEL.
    pub fn enter() -> Self {
        // SAFETY: left by this thread, when this is dropped: it is not `Send`.
        unsafe { KeEnterCriticalRegion() };
        CriticalRegion { not_send: PhantomData }
    }
}

impl Drop for CriticalRegion {
    fn drop(&mut self) {
        // SAFETY: entered by this thread.
        unsafe { KeLeaveCriticalRegion() };
    }
}

/// A value behind a push lock: one writer or many readers. The holder is in a critical region and stays at its IRQL.
pub struct PushLock<T> {
    lock: UnsafeCell<wdk_sys::EX_PUSH_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives exclusive access to writers.
unsafe impl<T: Send> Send for PushLock<T> {}
// SAFETY: readers share `&T`.
unsafe impl<T: Send + Sync> Sync for PushLock<T> {}

const DEFAULT_FLAGS: u32 = 0;

impl<T> PushLock<T> {
    /// A free lock (`ExInitializePushLock` stores zero).
    pub const fn new(value: T) -> Self {
        PushLock { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Takes it alone. IRQL up to APC_LEVEL.
    pub fn write(&self) -> WriteGuard<'_, T> {
        let region = CriticalRegion::enter();
        // SAFETY: an initialised lock, acquired inside a critical region as it must be.
        unsafe { ExAcquirePushLockExclusiveEx(self.lock.get(), DEFAULT_FLAGS) };
        WriteGuard { lock: self, _region: region }
    }

    /// Takes it with other readers. IRQL up to APC_LEVEL. Not recursively.
    pub fn read(&self) -> ReadGuard<'_, T> {
        let region = CriticalRegion::enter();
        // SAFETY: as above.
        unsafe { ExAcquirePushLockSharedEx(self.lock.get(), DEFAULT_FLAGS) };
        ReadGuard { lock: self, _region: region }
    }
}

/// A push lock held alone.
pub struct WriteGuard<'a, T> {
    lock: &'a PushLock<T>,
    /// Left after the lock is released.
    _region: CriticalRegion,
}

impl<T> Deref for WriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for WriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: held alone.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for WriteGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held alone by this thread, which is in the critical region that it entered.
        unsafe { ExReleasePushLockExclusiveEx(self.lock.lock.get(), DEFAULT_FLAGS) };
    }
}

/// A push lock held with other readers.
pub struct ReadGuard<'a, T> {
    lock: &'a PushLock<T>,
    /// Left after the lock is released.
    _region: CriticalRegion,
}

impl<T> Deref for ReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> Drop for ReadGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: held shared by this thread, which is in the critical region that it entered.
        unsafe { ExReleasePushLockSharedEx(self.lock.lock.get(), DEFAULT_FLAGS) };
    }
}

/// An event. A notification event lets everybody through once it is signalled, until it is cleared; a synchronization
/// event lets one through for each signal.
pub struct Event {
    event: PoolBox<UnsafeCell<wdk_sys::KEVENT>>,
}

// SAFETY: a kernel event is made for sharing.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// A notification event that is not signalled. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag) -> Result<Self> {
        Self::of_kind(tag, wdk_sys::_EVENT_TYPE::NotificationEvent)
    }

    /// A synchronization event that is not signalled. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn synchronization(tag: Tag) -> Result<Self> {
        Self::of_kind(tag, wdk_sys::_EVENT_TYPE::SynchronizationEvent)
    }

    fn of_kind(tag: Tag, kind: wdk_sys::EVENT_TYPE) -> Result<Self> {
        let event = PoolBox::new(tag, UnsafeCell::new(wdk_sys::KEVENT::default()))?;
        // SAFETY: nonpaged memory that does not move.
        unsafe { KeInitializeEvent(event.get(), kind, 0) };
        Ok(Event { event })
    }

    /// Signals it. IRQL up to DISPATCH_LEVEL.
    pub fn set(&self) {
        // SAFETY: an initialised event; no wait follows.
        unsafe { KeSetEvent(self.event.get(), 0, 0) };
    }

    /// Makes it not signalled. IRQL up to DISPATCH_LEVEL. Who waits already and was let through goes on.
    pub fn clear(&self) {
        // SAFETY: an initialised event.
        unsafe { KeClearEvent(self.event.get()) };
    }

    /// Waits for it, at most this long (forever if `None`); false if the time was over. PASSIVE_LEVEL, or APC_LEVEL.
    /// Kernel-mode and not alertable, so it cannot end early.
    pub fn wait(&self, milliseconds: Option<u32>) -> bool {
        self.waiting().wait(milliseconds)
    }

    /// The event among several, for [`wait_any`].
    pub fn waiting(&self) -> Waiting<'_> {
        // SAFETY: initialised, in nonpaged memory, alive as long as the borrow.
        unsafe { Waiting::from_raw(self.event.get().cast()) }
    }
}

/// Something to wait for, for as long as its owner lives.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    object: *mut core::ffi::c_void,
    life: PhantomData<&'a ()>,
}

/// A time to wait, as the kernel takes it: relative times are negative, in units of 100 ns.
fn ticks(milliseconds: u32) -> wdk_sys::LARGE_INTEGER {
    wdk_sys::LARGE_INTEGER { QuadPart: i64::from(milliseconds).saturating_mul(-10_000) }
}

impl Waiting<'_> {
    /// # Safety
    /// An initialised dispatcher object in nonpaged memory, alive for the lifetime.
    pub(crate) unsafe fn from_raw(object: *mut core::ffi::c_void) -> Self {
        Waiting { object, life: PhantomData }
    }

    /// Waits for it alone, as [`Event::wait`] does.
    pub fn wait(self, milliseconds: Option<u32>) -> bool {
        let mut time = ticks(milliseconds.unwrap_or(0));
        let timeout = if milliseconds.is_some() { &raw mut time } else { core::ptr::null_mut() };
        // SAFETY: an initialised object, a valid or absent timeout.
        let status = unsafe {
            KeWaitForSingleObject(
                self.object,
                wdk_sys::_KWAIT_REASON::Executive,
                wdk_sys::_MODE::KernelMode as _,
                0,
                timeout,
            )
        };
        Status(status) != Status::TIMEOUT
    }
}

/// Most objects that [`wait_any`] takes.
pub const MOST_WAITED: usize = 8;

/// Waits until one of these is signalled, at most this long (forever if `None`). Answers which one, `None` if the time was
/// over. PASSIVE_LEVEL, or APC_LEVEL. Fails with `INVALID_PARAMETER` for none and for more than [`MOST_WAITED`].
pub fn wait_any(objects: &[Waiting<'_>], milliseconds: Option<u32>) -> Result<Option<usize>> {
    if objects.is_empty() || objects.len() > MOST_WAITED {
        return Err(Status::INVALID_PARAMETER);
    }
    let mut pointers = [core::ptr::null_mut(); MOST_WAITED];
    pointers.iter_mut().zip(objects).for_each(|(pointer, waiting)| *pointer = waiting.object);
    // The wait fills them.
    let mut blocks = [const { MaybeUninit::<wdk_sys::KWAIT_BLOCK>::uninit() }; MOST_WAITED];
    let mut time = ticks(milliseconds.unwrap_or(0));
    let timeout = if milliseconds.is_some() { &raw mut time } else { core::ptr::null_mut() };
    // SAFETY: as many initialised objects as it is told; a wait block for each; a valid or absent timeout. The stack
    // stays in memory, because the wait is in kernel mode.
    let status = Status(unsafe {
        KeWaitForMultipleObjects(
            objects.len() as u32,
            pointers.as_mut_ptr(),
            wdk_sys::_WAIT_TYPE::WaitAny,
            wdk_sys::_KWAIT_REASON::Executive,
            wdk_sys::_MODE::KernelMode as _,
            0,
            timeout,
            blocks.as_mut_ptr().cast(),
        )
    });
    match status {
        Status::TIMEOUT => Ok(None),
        // STATUS_WAIT_0 and on.
        Status(index) => {
            usize::try_from(index).ok().filter(|&index| index < objects.len()).map(Some).ok_or(status)
        }
    }
}
