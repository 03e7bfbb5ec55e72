//! Fast and guarded mutexes, critical and guarded regions.

use lab_nt::FAST_MUTEX;

use crate::acquire::Patience;
use crate::irql::APC_LEVEL;
use crate::locks::LockKind;
use crate::wait::SYNCHRONIZATION_EVENT;
use crate::{Lab, imports};

/// ExInitializeFastMutex is inlined: it sets Count to 1 and initialises the event.
fn check_initialised(lab: &Lab, mutex: *mut FAST_MUTEX) {
    // SAFETY: the contract says a fast mutex of the driver; a bad pointer faults and is reported.
    let event = unsafe { &raw mut (*mutex).Event };
    lab.checked_header(event.cast(), &[SYNCHRONIZATION_EVENT]);
}

/// Shows in the mutex's memory who holds it.
///
/// # Safety
/// `mutex` is a fast mutex of the driver.
unsafe fn mark(lab: &Lab, mutex: *mut FAST_MUTEX, held: Option<u8>) {
    // SAFETY: by this function's contract.
    unsafe {
        let owner = held.map_or(std::ptr::null_mut(), |_| lab.thread().ethread.cast());
        (&raw mut (*mutex).Count).write_unaligned(i32::from(held.is_none()));
        (&raw mut (*mutex).Owner).write_unaligned(owner);
        (&raw mut (*mutex).OldIrql).write_unaligned(u32::from(held.unwrap_or(0)));
    }
}

fn acquire(lab: &Lab, mutex: *mut FAST_MUTEX, patience: Patience) -> bool {
    check_initialised(lab, mutex);
    let former = lab.raise_to_apc();
    if !lab.take(mutex.addr(), LockKind::FastMutex, true, patience, former) {
        lab.set_irql(former);
        return false;
    }
    // SAFETY: as in `check_initialised`.
    unsafe { mark(lab, mutex, Some(former)) };
    true
}

fn acquire_guarded(lab: &Lab, mutex: *mut FAST_MUTEX, patience: Patience) -> bool {
    check_initialised(lab, mutex);
    let thread = lab.thread();
    thread.guarded_regions.set(thread.guarded_regions.get() + 1);
    if !lab.take(mutex.addr(), LockKind::GuardedMutex, true, patience, thread.irql.get()) {
        thread.guarded_regions.set(thread.guarded_regions.get() - 1);
        return false;
    }
    // SAFETY: as in `check_initialised`.
    unsafe { mark(lab, mutex, Some(0)) };
    true
}

imports! {
    /// Mutexes and regions.
    pub static TABLE in "ntoskrnl.exe";

    /// Takes a fast mutex; returns at APC_LEVEL.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExAcquireFastMutex"]
    fn ExAcquireFastMutex(lab; mutex: *mut FAST_MUTEX) { acquire(lab, mutex, Patience::Wait); }

    /// Takes a fast mutex if it is free.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExTryToAcquireFastMutex"]
    fn ExTryToAcquireFastMutex(lab; mutex: *mut FAST_MUTEX) -> u8 { u8::from(acquire(lab, mutex, Patience::Try)) }

    /// Releases a fast mutex and restores the level.
    [ceiling: APC_LEVEL; floor: APC_LEVEL, Modelled, source: "wdm/ExReleaseFastMutex"]
    fn ExReleaseFastMutex(lab; mutex: *mut FAST_MUTEX) {
        let held = lab.lock_released(&lab.thread(), mutex.addr(), LockKind::FastMutex);
        // SAFETY: the thread holds the mutex, so it is one.
        unsafe { mark(lab, mutex, None) };
        lab.lower_irql(held.former_irql);
    }

    /// Takes a fast mutex where APCs are off already.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExAcquireFastMutexUnsafe: APCs must be off"]
    fn ExAcquireFastMutexUnsafe(lab; mutex: *mut FAST_MUTEX) {
        check_initialised(lab, mutex);
        let thread = lab.thread();
        lab.check_apcs_off(&thread, LockKind::FastMutex, "wdm/ExAcquireFastMutexUnsafe");
        lab.take(mutex.addr(), LockKind::FastMutex, true, Patience::Wait, thread.irql.get());
        // SAFETY: as in `check_initialised`.
        unsafe { mark(lab, mutex, Some(thread.irql.get())) };
    }

    /// Releases a fast mutex taken with ExAcquireFastMutexUnsafe.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExReleaseFastMutexUnsafe"]
    fn ExReleaseFastMutexUnsafe(lab; mutex: *mut FAST_MUTEX) {
        let thread = lab.thread();
        lab.check_apcs_off(&thread, LockKind::FastMutex, "wdm/ExReleaseFastMutexUnsafe");
        lab.lock_released(&thread, mutex.addr(), LockKind::FastMutex);
        // SAFETY: the thread holds the mutex, so it is one.
        unsafe { mark(lab, mutex, None) };
    }

    /// Initialises a guarded mutex.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeInitializeGuardedMutex"]
    fn KeInitializeGuardedMutex(lab; mutex: *mut FAST_MUTEX) {
        // SAFETY: the contract says a mutex of the driver; KGUARDED_MUTEX has FAST_MUTEX's form.
        unsafe {
            std::ptr::write_bytes(mutex.cast::<u8>(), 0, size_of::<FAST_MUTEX>());
            (&raw mut (*mutex).Count).write_unaligned(1);
            lab.init_dispatcher((&raw mut (*mutex).Event).cast(), SYNCHRONIZATION_EVENT, 0);
        }
    }

    /// Takes a guarded mutex and enters a guarded region.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeAcquireGuardedMutex"]
    fn KeAcquireGuardedMutex(lab; mutex: *mut FAST_MUTEX) { acquire_guarded(lab, mutex, Patience::Wait); }

    /// Takes a guarded mutex if it is free.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeTryToAcquireGuardedMutex"]
    fn KeTryToAcquireGuardedMutex(lab; mutex: *mut FAST_MUTEX) -> u8 {
        u8::from(acquire_guarded(lab, mutex, Patience::Try))
    }

    /// Releases a guarded mutex and leaves the guarded region.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeReleaseGuardedMutex"]
    fn KeReleaseGuardedMutex(lab; mutex: *mut FAST_MUTEX) {
        let thread = lab.thread();
        lab.lock_released(&thread, mutex.addr(), LockKind::GuardedMutex);
        // SAFETY: the thread holds the mutex, so it is one.
        unsafe { mark(lab, mutex, None) };
        thread.guarded_regions.set(thread.guarded_regions.get() - 1);
    }

    /// Turns normal kernel APCs off.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeEnterCriticalRegion"]
    fn KeEnterCriticalRegion(lab;) { lab.enter_critical_region() }

    /// Turns normal kernel APCs on again.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeLeaveCriticalRegion"]
    fn KeLeaveCriticalRegion(lab;) { lab.leave_critical_region() }

    /// Turns all APCs off.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeEnterGuardedRegion"]
    fn KeEnterGuardedRegion(lab;) {
        let thread = lab.thread();
        thread.guarded_regions.set(thread.guarded_regions.get() + 1);
    }

    /// Turns all APCs on again.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/KeLeaveGuardedRegion"]
    fn KeLeaveGuardedRegion(lab;) {
        let thread = lab.thread();
        if thread.guarded_regions.get() == 0 {
            lab.report("critical-region", "wdm/KeLeaveGuardedRegion", "leaves a guarded region that it did not enter");
        }
        thread.guarded_regions.set(thread.guarded_regions.get() - 1);
    }

    /// Whether normal kernel APCs are off.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeAreApcsDisabled"]
    fn KeAreApcsDisabled(lab;) -> u8 {
        let thread = lab.thread();
        u8::from(thread.critical_regions.get() != 0 || thread.guarded_regions.get() != 0)
    }

    /// Whether all APCs are off.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeAreAllApcsDisabled"]
    fn KeAreAllApcsDisabled(lab;) -> u8 {
        let thread = lab.thread();
        u8::from(thread.guarded_regions.get() != 0 || thread.irql.get() >= APC_LEVEL)
    }
}
