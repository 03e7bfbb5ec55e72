//! Push locks.

use crate::acquire::Patience;
use crate::imports;
use crate::locks::LockKind;

imports! {
    /// Push locks. What the lock's word holds on Windows is private; the lab leaves it alone.
    pub static TABLE in "ntoskrnl.exe";

    /// Initialises a push lock.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInitializePushLock"]
    fn ExInitializePushLock(lab; lock: *mut usize) {
        if !lab.locks.holders(lock.addr()).is_empty() {
            lab.report("lock-reinitialised", "wdm/ExInitializePushLock", "initialises a push lock that is held");
        }
        // SAFETY: the contract says a push lock of the driver.
        unsafe { lock.write(0) };
    }

    /// Takes a push lock exclusively.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExAcquirePushLockExclusiveEx"]
    fn ExAcquirePushLockExclusiveEx(lab; lock: *mut usize, _flags: u32) {
        lab.acquire_push_lock(lock.addr(), true, Patience::Wait);
    }

    /// Takes a push lock shared.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExAcquirePushLockSharedEx"]
    fn ExAcquirePushLockSharedEx(lab; lock: *mut usize, _flags: u32) {
        lab.acquire_push_lock(lock.addr(), false, Patience::Wait);
    }

    /// Takes a push lock exclusively if it is free.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExTryAcquirePushLockExclusiveEx"]
    fn ExTryAcquirePushLockExclusiveEx(lab; lock: *mut usize, _flags: u32) -> u8 {
        u8::from(lab.acquire_push_lock(lock.addr(), true, Patience::Try))
    }

    /// Takes a push lock shared if nobody holds it exclusively.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExTryAcquirePushLockSharedEx"]
    fn ExTryAcquirePushLockSharedEx(lab; lock: *mut usize, _flags: u32) -> u8 {
        u8::from(lab.acquire_push_lock(lock.addr(), false, Patience::Try))
    }

    /// Releases a push lock held exclusively.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExReleasePushLockExclusiveEx"]
    fn ExReleasePushLockExclusiveEx(lab; lock: *mut usize, _flags: u32) {
        lab.release_push_lock(lock.addr(), Some(true));
    }

    /// Releases a push lock held shared.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExReleasePushLockSharedEx"]
    fn ExReleasePushLockSharedEx(lab; lock: *mut usize, _flags: u32) {
        lab.release_push_lock(lock.addr(), Some(false));
    }

    /// Releases a push lock held in either way.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExReleasePushLockEx"]
    fn ExReleasePushLockEx(lab; lock: *mut usize, _flags: u32) {
        debug_assert!(lab.locks.held_by(lab.thread().id).iter().all(|h| h.address != lock.addr() || h.kind == LockKind::Push));
        lab.release_push_lock(lock.addr(), None);
    }
}
