//! Levels and spin locks.

use crate::imports;
use crate::irql::{DISPATCH_LEVEL, Irql};

/// KLOCK_QUEUE_HANDLE (wdm.h): the lock's address at 8, the former level at 16.
const QUEUE_LOCK: usize = 8;
const QUEUE_IRQL: usize = 16;

/// Shows in memory whether the lock is held, as Windows does.
///
/// # Safety
/// `lock` is a KSPIN_LOCK of the driver.
unsafe fn mark(lock: *mut usize, held: bool) {
    // SAFETY: by this function's contract.
    unsafe { lock.write(usize::from(held)) };
}

/// # Safety
/// `handle` is a KLOCK_QUEUE_HANDLE of the driver.
unsafe fn fill(handle: *mut u8, lock: *mut usize, former: Irql) {
    // SAFETY: the fields lie inside the 24 bytes of the structure.
    unsafe {
        handle.wrapping_add(QUEUE_LOCK).cast::<*mut usize>().write(lock);
        handle.wrapping_add(QUEUE_IRQL).write(former);
    }
}

/// # Safety
/// `handle` was filled by [`fill`].
unsafe fn unfill(handle: *mut u8) -> (*mut usize, Irql) {
    // SAFETY: as in `fill`.
    unsafe {
        (handle.wrapping_add(QUEUE_LOCK).cast::<*mut usize>().read(), handle.wrapping_add(QUEUE_IRQL).read())
    }
}

imports! {
    /// Levels and spin locks.
    pub static TABLE in "ntoskrnl.exe";

    /// The current level.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeGetCurrentIrql"]
    fn KeGetCurrentIrql(lab;) -> u8 { lab.thread().irql.get() }

    /// Raises the level; returns the former one.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeRaiseIrql"]
    fn KfRaiseIrql(lab; level: u8) -> u8 { lab.raise_irql(level) }

    /// Raises the level to DISPATCH_LEVEL; returns the former one.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeRaiseIrqlToDpcLevel"]
    fn KeRaiseIrqlToDpcLevel(lab;) -> u8 { lab.raise_irql(DISPATCH_LEVEL) }

    /// Lowers the level.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeLowerIrql"]
    fn KeLowerIrql(lab; level: u8) { lab.lower_irql(level) }

    /// Lowers the level.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeLowerIrql"]
    fn KfLowerIrql(lab; level: u8) { lab.lower_irql(level) }

    /// Initialises a spin lock.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeInitializeSpinLock"]
    fn KeInitializeSpinLock(lab; lock: *mut usize) {
        if !lab.locks.holders(lock.addr()).is_empty() {
            lab.report("lock-reinitialised", "wdm/KeInitializeSpinLock", "initialises a spin lock that is held");
        }
        // SAFETY: the contract says that the lock is resident, writable memory of the driver.
        unsafe { mark(lock, false) };
    }

    /// Takes a spin lock; returns the former level.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeAcquireSpinLock"]
    fn KeAcquireSpinLockRaiseToDpc(lab; lock: *mut usize) -> u8 {
        let former = lab.raise_irql(DISPATCH_LEVEL);
        lab.take_spin_lock(lock.addr(), former, true);
        // SAFETY: as in KeInitializeSpinLock.
        unsafe { mark(lock, true) };
        former
    }

    /// Releases a spin lock and restores the level.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeReleaseSpinLock"]
    fn KeReleaseSpinLock(lab; lock: *mut usize, level: u8) {
        // SAFETY: as in KeInitializeSpinLock.
        unsafe { mark(lock, false) };
        lab.release_spin_lock(lock.addr(), Some(level));
    }

    /// Takes a spin lock at DISPATCH_LEVEL.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeAcquireSpinLockAtDpcLevel"]
    fn KeAcquireSpinLockAtDpcLevel(lab; lock: *mut usize) {
        lab.take_spin_lock(lock.addr(), DISPATCH_LEVEL, true);
        // SAFETY: as in KeInitializeSpinLock.
        unsafe { mark(lock, true) };
    }

    /// Releases a spin lock at DISPATCH_LEVEL.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeReleaseSpinLockFromDpcLevel"]
    fn KeReleaseSpinLockFromDpcLevel(lab; lock: *mut usize) {
        // SAFETY: as in KeInitializeSpinLock.
        unsafe { mark(lock, false) };
        lab.release_spin_lock(lock.addr(), None);
    }

    /// Takes a queued spin lock.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeAcquireInStackQueuedSpinLock"]
    fn KeAcquireInStackQueuedSpinLock(lab; lock: *mut usize, handle: *mut u8) {
        let former = lab.raise_irql(DISPATCH_LEVEL);
        lab.take_spin_lock(lock.addr(), former, true);
        // SAFETY: the contract says a lock and a handle of the driver.
        unsafe { mark(lock, true); fill(handle, lock, former) };
    }

    /// Releases a queued spin lock and restores the level.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeReleaseInStackQueuedSpinLock"]
    fn KeReleaseInStackQueuedSpinLock(lab; handle: *mut u8) {
        // SAFETY: the contract says a handle that the acquisition filled.
        let (lock, former) = unsafe { unfill(handle) };
        // SAFETY: the lock belongs to the driver as in the acquisition.
        unsafe { mark(lock, false) };
        lab.release_spin_lock(lock.addr(), Some(former));
    }

    /// Takes a queued spin lock at DISPATCH_LEVEL.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeAcquireInStackQueuedSpinLockAtDpcLevel"]
    fn KeAcquireInStackQueuedSpinLockAtDpcLevel(lab; lock: *mut usize, handle: *mut u8) {
        lab.take_spin_lock(lock.addr(), DISPATCH_LEVEL, true);
        // SAFETY: the contract says a lock and a handle of the driver.
        unsafe { mark(lock, true); fill(handle, lock, DISPATCH_LEVEL) };
    }

    /// Releases a queued spin lock at DISPATCH_LEVEL.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/KeReleaseInStackQueuedSpinLockFromDpcLevel"]
    fn KeReleaseInStackQueuedSpinLockFromDpcLevel(lab; handle: *mut u8) {
        // SAFETY: the contract says a handle that the acquisition filled.
        let (lock, _) = unsafe { unfill(handle) };
        // SAFETY: the lock belongs to the driver as in the acquisition.
        unsafe { mark(lock, false) };
        lab.release_spin_lock(lock.addr(), None);
    }

    /// Takes a reader-writer spin lock exclusively; returns the former level.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExAcquireSpinLockExclusive"]
    fn ExAcquireSpinLockExclusive(lab; lock: *mut i32) -> u8 {
        let former = lab.raise_irql(DISPATCH_LEVEL);
        lab.take_spin_lock(lock.addr(), former, true);
        former
    }

    /// Releases a reader-writer spin lock and restores the level.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/ExReleaseSpinLockExclusive"]
    fn ExReleaseSpinLockExclusive(lab; lock: *mut i32, level: u8) { lab.release_spin_lock(lock.addr(), Some(level)) }

    /// Takes a reader-writer spin lock shared; returns the former level.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExAcquireSpinLockShared"]
    fn ExAcquireSpinLockShared(lab; lock: *mut i32) -> u8 {
        let former = lab.raise_irql(DISPATCH_LEVEL);
        lab.take_spin_lock(lock.addr(), former, false);
        former
    }

    /// Releases a reader-writer spin lock and restores the level.
    [ceiling: DISPATCH_LEVEL; floor: DISPATCH_LEVEL, Modelled, source: "wdm/ExReleaseSpinLockShared"]
    fn ExReleaseSpinLockShared(lab; lock: *mut i32, level: u8) { lab.release_spin_lock(lock.addr(), Some(level)) }
}
