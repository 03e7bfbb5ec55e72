//! To be told when processes start and end.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use wdk_sys::ntddk::PsSetCreateProcessNotifyRoutineEx;
use wdk_sys::{HANDLE, PEPROCESS, PPS_CREATE_NOTIFY_INFO};

use super::Process;
use crate::pool::Shared;
use crate::{Result, Status};

/// Who is told. Both are called at PASSIVE_LEVEL in a critical region, and everybody who starts or ends a process waits for
/// them (txf-ktm §8.1).
pub trait Watcher: Send + Sync + Sized + 'static {
    /// Where the one that is told is kept: a `static`.
    fn seat() -> &'static Seat<Self>;

    /// A process has been made, and none of its threads has run. The creator is whose thread made it: not its parent, whom
    /// the creator may choose (txf-ktm §8.1).
    fn started(&self, creator: Process<'_>, process: Process<'_>);

    /// The last thread of a process ends. Its handles are closed after that (txf-ktm §8.2).
    fn ended(&self, process: Process<'_>);
}

/// Where the one that is told is kept.
pub struct Seat<W>(AtomicPtr<W>);

impl<W> Seat<W> {
    /// Nobody.
    pub const fn new() -> Self {
        Seat(AtomicPtr::new(null_mut()))
    }
}

impl<W> Default for Seat<W> {
    fn default() -> Self {
        Self::new()
    }
}

/// A registered process notify routine. Dropped, it is not called any more, and no call of it is under way. Not to be
/// dropped from inside of it.
pub struct Watch<W: Watcher>(Shared<W>);

impl<W: Watcher> Watch<W> {
    /// Tells `watcher` of every process that starts or ends from now on. PASSIVE_LEVEL. Fails with `INVALID_PARAMETER` if
    /// somebody sits there already or the system has no place for another routine, and with `ACCESS_DENIED` if the image
    /// was not linked with /INTEGRITYCHECK.
    pub fn start(watcher: Shared<W>) -> Result<Self> {
        let seat = &W::seat().0;
        let address = core::ptr::from_ref::<W>(&watcher).cast_mut();
        if seat.compare_exchange(null_mut(), address, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: a routine of this type, which lives as long as the image.
        let status = Status(unsafe { PsSetCreateProcessNotifyRoutineEx(Some(routine::<W>), 0) });
        if let Err(status) = status.ok() {
            seat.store(null_mut(), Ordering::Release);
            return Err(status);
        }
        Ok(Watch(watcher))
    }

    /// Who is told.
    pub fn watcher(&self) -> &W {
        &self.0
    }
}

impl<W: Watcher> Drop for Watch<W> {
    fn drop(&mut self) {
        // SAFETY: registered by `start`. It waits for the calls that are under way (txf-ktm §8.1).
        let _ = unsafe { PsSetCreateProcessNotifyRoutineEx(Some(routine::<W>), 1) };
        W::seat().0.store(null_mut(), Ordering::Release);
    }
}

/// # Safety
/// Called by the process manager.
unsafe extern "C" fn routine<W: Watcher>(process: PEPROCESS, _: HANDLE, created: PPS_CREATE_NOTIFY_INFO) {
    // SAFETY: whoever sits there is referenced by its `Watch`, which ends only when no call is under way.
    let Some(watcher) = (unsafe { W::seat().0.load(Ordering::Acquire).as_ref() }) else { return };
    // SAFETY: the process lives during the call.
    let process = unsafe { Process::from_raw(process.cast()) };
    if created.is_null() {
        return watcher.ended(process);
    }
    // SAFETY: the routine runs in the thread that made the process (txf-ktm §8.1), whose process lives as it does.
    let creator = unsafe { Process::from_raw(super::of_current_thread()) };
    watcher.started(creator, process);
}
