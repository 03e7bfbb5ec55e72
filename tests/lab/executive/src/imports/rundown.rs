//! Rundown protection. EX_RUNDOWN_REF: bit 0 says that rundown began, the rest counts in twos.

use crate::{Lab, imports};

const ACTIVE: usize = 1;
const ONE: usize = 2;
const SOURCE: &str = "wdm/ExReleaseRundownProtection";

/// # Safety
/// `reference` is an EX_RUNDOWN_REF of the driver.
unsafe fn acquire(reference: *mut usize, count: u32) -> u8 {
    // SAFETY: by this function's contract.
    let value = unsafe { reference.read() };
    if value & ACTIVE != 0 {
        return 0;
    }
    // SAFETY: as above.
    unsafe { reference.write(value + ONE * count as usize) };
    1
}

/// # Safety
/// As [`acquire`].
unsafe fn release(lab: &Lab, reference: *mut usize, count: u32) {
    // SAFETY: by this function's contract.
    let value = unsafe { reference.read() };
    let taken = ONE * count as usize;
    if value & !ACTIVE < taken {
        lab.report("rundown", SOURCE, "releases rundown protection more often than it was acquired");
    }
    // SAFETY: as above.
    unsafe { reference.write(value - taken) };
}

imports! {
    /// Rundown protection.
    pub static TABLE in "ntoskrnl.exe";

    /// Initialises a rundown reference.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/ExInitializeRundownProtection"]
    fn ExInitializeRundownProtection(_lab; reference: *mut usize) {
        // SAFETY: the contract says an EX_RUNDOWN_REF of the driver.
        unsafe { reference.write(0) };
    }

    /// Initialises a rundown reference again, after a rundown.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExReInitializeRundownProtection"]
    fn ExReInitializeRundownProtection(lab; reference: *mut usize) {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe {
            if reference.read() != ACTIVE {
                lab.report("rundown", "wdm/ExReInitializeRundownProtection", "re-initialises before the rundown was complete");
            }
            reference.write(0);
        }
    }

    /// Acquires protection, unless rundown began.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExAcquireRundownProtection"]
    fn ExAcquireRundownProtection(_lab; reference: *mut usize) -> u8 {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { acquire(reference, 1) }
    }

    /// Acquires protection several times.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExAcquireRundownProtectionEx"]
    fn ExAcquireRundownProtectionEx(_lab; reference: *mut usize, count: u32) -> u8 {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { acquire(reference, count) }
    }

    /// Releases protection.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExReleaseRundownProtection"]
    fn ExReleaseRundownProtection(lab; reference: *mut usize) {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { release(lab, reference, 1) }
    }

    /// Releases protection several times.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExReleaseRundownProtectionEx"]
    fn ExReleaseRundownProtectionEx(lab; reference: *mut usize, count: u32) {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { release(lab, reference, count) }
    }

    /// Begins rundown and waits until all protection is released.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExWaitForRundownProtectionRelease"]
    fn ExWaitForRundownProtectionRelease(lab; reference: *mut usize) {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { reference.write(reference.read() | ACTIVE) };
        // SAFETY: the caller keeps the reference until it returns.
        lab.block_until("rundown protection to be released", None, || unsafe { reference.read() } == ACTIVE);
    }

    /// Marks rundown as complete.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExRundownCompleted"]
    fn ExRundownCompleted(_lab; reference: *mut usize) {
        // SAFETY: as in ExInitializeRundownProtection.
        unsafe { reference.write(ACTIVE) };
    }
}
