//! Taking and releasing locks: the parts that several families of imports, and other crates of the lab, share.

use crate::Lab;
use crate::irql::{APC_LEVEL, DISPATCH_LEVEL, Irql};
use crate::locks::LockKind;
use crate::thread::Thread;

/// How long a taker waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until it has the lock.
    Wait,
    /// Not at all.
    Try,
}

impl Lab {
    /// KeEnterCriticalRegion: normal kernel APCs are off until the matching leave.
    pub fn enter_critical_region(&self) {
        let thread = self.thread();
        thread.critical_regions.set(thread.critical_regions.get() + 1);
    }

    /// KeLeaveCriticalRegion.
    ///
    /// Stops the run (rule `critical-region`) without a matching enter.
    pub fn leave_critical_region(&self) {
        let thread = self.thread();
        if thread.critical_regions.get() == 0 {
            self.report(
                "critical-region",
                "wdm/KeLeaveCriticalRegion",
                "leaves a critical region that it did not enter",
            );
        }
        thread.critical_regions.set(thread.critical_regions.get() - 1);
        if thread.stands_still() {
            self.yield_now();
        }
    }

    /// Some locks may be taken only while normal kernel APCs are off: a suspended holder would stop everybody.
    pub(crate) fn check_apcs_off(&self, thread: &Thread, kind: LockKind, source: &'static str) {
        if !thread.normal_apcs_off() {
            self.report(
                "apcs-enabled",
                source,
                format!("takes or releases a {kind:?} lock while normal kernel APCs are enabled; enter a critical region"),
            );
        }
    }

    fn available(&self, address: usize, exclusive: bool, thread: u32) -> bool {
        self.locks.holders(address).iter().all(|h| h.thread == thread || (!exclusive && !h.exclusive))
    }

    /// Takes a lock that is not a spin lock. Returns whether it was had.
    pub(crate) fn take(
        &self,
        address: usize,
        kind: LockKind,
        exclusive: bool,
        patience: Patience,
        former: Irql,
    ) -> bool {
        let thread = self.thread();
        let recursive =
            kind == LockKind::Resource && self.locks.holders(address).iter().any(|h| h.thread == thread.id);
        if !recursive && patience == Patience::Wait {
            self.check_lock_order(&thread, address, kind);
        }
        if !self.available(address, exclusive, thread.id) {
            if patience == Patience::Try {
                return false;
            }
            let what = self.describe_wait_for_lock(address, kind);
            self.block_until(what, None, || self.available(address, exclusive, thread.id));
        }
        self.lock_taken(&thread, address, kind, exclusive, former);
        true
    }

    /// ExAcquirePushLockExclusiveEx and ExAcquirePushLockSharedEx.
    ///
    /// Stops the run at a wrong level, with APCs enabled, on recursion, or against the lock order.
    pub fn acquire_push_lock(&self, address: usize, exclusive: bool, patience: Patience) -> bool {
        const SOURCE: &str = "wdm/ExAcquirePushLockExclusiveEx: normal kernel APCs must be disabled";
        let thread = self.thread();
        self.check_apcs_off(&thread, LockKind::Push, SOURCE);
        if self.locks.holders(address).iter().any(|h| h.thread == thread.id) {
            self.report("lock-recursion", SOURCE, "takes a push lock that it holds");
        }
        self.take(address, LockKind::Push, exclusive, patience, thread.irql.get())
    }

    /// ExReleasePushLockExclusiveEx and ExReleasePushLockSharedEx; `exclusive` is checked if given.
    ///
    /// Stops the run if the thread does not hold the lock, or not in this way.
    pub fn release_push_lock(&self, address: usize, exclusive: Option<bool>) {
        const SOURCE: &str = "wdm/ExReleasePushLockExclusiveEx: release in the mode of the acquisition";
        let thread = self.thread();
        self.check_apcs_off(&thread, LockKind::Push, SOURCE);
        let held = self.lock_released(&thread, address, LockKind::Push);
        if exclusive.is_some_and(|mode| mode != held.exclusive) {
            self.report("lock-mode", SOURCE, "releases a push lock in the other mode than it was taken in");
        }
    }

    /// Takes a spin lock at `DISPATCH_LEVEL`. On the lab's one processor a held one can never become free.
    pub(crate) fn take_spin_lock(&self, address: usize, former: Irql, exclusive: bool) {
        let thread = self.thread();
        if !self.available(address, exclusive, thread.id) {
            self.report(
                "spin-lock-deadlock",
                "wdm/KeAcquireSpinLock",
                "spins on a lock whose holder cannot run",
            );
        }
        self.check_lock_order(&thread, address, LockKind::Spin);
        self.lock_taken(&thread, address, LockKind::Spin, exclusive, former);
    }

    /// Releases a spin lock; `restore` is the level that the caller returns to, if the routine restores one.
    pub(crate) fn release_spin_lock(&self, address: usize, restore: Option<Irql>) {
        let thread = self.thread();
        if thread.irql.get() != DISPATCH_LEVEL {
            self.report(
                "irql-floor",
                "wdm/KeReleaseSpinLock: IRQL = DISPATCH_LEVEL",
                "releases a spin lock at another level",
            );
        }
        let held = self.lock_released(&thread, address, LockKind::Spin);
        let Some(level) = restore else { return };
        if level < DISPATCH_LEVEL && self.locks.holds_spin_lock(thread.id) {
            self.report(
                "lock-release-order",
                "wdm/KeReleaseSpinLock: the lock that raised the level is released last",
                "returns below DISPATCH_LEVEL while another spin lock is held",
            );
        }
        if level != held.former_irql && !self.locks.holds_spin_lock(thread.id) {
            self.report(
                "irql-restored",
                "wdm/KeReleaseSpinLock: NewIrql is what the acquisition returned",
                format!("restores level {level}, but the lock was taken at {}", held.former_irql),
            );
        }
        self.set_irql(level);
    }

    /// Raises to `APC_LEVEL` for a fast mutex; returns the former level.
    pub(crate) fn raise_to_apc(&self) -> Irql {
        let now = self.thread().irql.get();
        if now < APC_LEVEL {
            self.set_irql(APC_LEVEL);
        }
        now
    }
}
