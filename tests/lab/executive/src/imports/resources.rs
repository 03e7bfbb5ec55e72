//! Executive resources.

use crate::acquire::Patience;
use crate::locks::LockKind;
use crate::{Lab, imports, status};

const RESOURCE: &str = "an executive resource";
const SIZE: usize = 104;

fn check(lab: &Lab, resource: *mut u8, source: &'static str) {
    if !lab.obligations.has(resource.addr(), RESOURCE) {
        lab.report(
            "uninitialised-object",
            source,
            "uses an executive resource that was not initialised, or was deleted",
        );
    }
}

fn acquire(lab: &Lab, resource: *mut u8, exclusive: bool, wait: u8) -> u8 {
    const SOURCE: &str = "wdm/ExAcquireResourceExclusiveLite: normal kernel APC delivery must be disabled";
    check(lab, resource, SOURCE);
    let thread = lab.thread();
    lab.check_apcs_off(&thread, LockKind::Resource, SOURCE);
    let mine = lab.locks.holders(resource.addr()).into_iter().find(|h| h.thread == thread.id);
    if let Some(mine) = mine
        && exclusive
        && !mine.exclusive
    {
        lab.report(
            "lock-recursion",
            SOURCE,
            "asks for a resource exclusively while holding it shared, and would wait for itself",
        );
    }
    let patience = if wait != 0 { Patience::Wait } else { Patience::Try };
    u8::from(lab.take(resource.addr(), LockKind::Resource, exclusive, patience, thread.irql.get()))
}

fn release(lab: &Lab, resource: *mut u8) {
    const SOURCE: &str = "wdm/ExReleaseResourceLite";
    check(lab, resource, SOURCE);
    let thread = lab.thread();
    lab.check_apcs_off(&thread, LockKind::Resource, SOURCE);
    lab.lock_released(&thread, resource.addr(), LockKind::Resource);
}

fn held(lab: &Lab, resource: *mut u8) -> Option<crate::locks::Held> {
    let thread = lab.thread().id;
    lab.locks.holders(resource.addr()).into_iter().find(|h| h.thread == thread)
}

imports! {
    /// Executive resources. Waiters are served in an order that the seed chooses; Windows lets a waiting writer
    /// go before new readers.
    pub static TABLE in "ntoskrnl.exe";

    /// Initialises a resource.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Status, source: "wdm/ExInitializeResourceLite"]
    fn ExInitializeResourceLite(lab; resource: *mut u8) -> i32 {
        if !lab.obligations.add(lab, resource.addr(), RESOURCE) {
            lab.report("lock-reinitialised", "wdm/ExInitializeResourceLite", "initialises a resource twice");
        }
        // SAFETY: the contract says 104 bytes of resident memory of the driver.
        unsafe { std::ptr::write_bytes(resource, 0, SIZE) };
        status::SUCCESS
    }

    /// Deletes a resource.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExDeleteResourceLite"]
    fn ExDeleteResourceLite(lab; resource: *mut u8) -> i32 {
        check(lab, resource, "wdm/ExDeleteResourceLite");
        if !lab.locks.holders(resource.addr()).is_empty() {
            lab.report("free-in-use", "wdm/ExDeleteResourceLite", "deletes a resource that is held");
        }
        lab.obligations.remove(resource.addr(), RESOURCE);
        status::SUCCESS
    }

    /// Takes a resource exclusively.
    [ceiling: APC_LEVEL, Approximated("waiting writers are not preferred"), source: "wdm/ExAcquireResourceExclusiveLite"]
    fn ExAcquireResourceExclusiveLite(lab; resource: *mut u8, wait: u8) -> u8 { acquire(lab, resource, true, wait) }

    /// Takes a resource shared.
    [ceiling: APC_LEVEL, Approximated("waiting writers are not preferred"), source: "wdm/ExAcquireResourceSharedLite"]
    fn ExAcquireResourceSharedLite(lab; resource: *mut u8, wait: u8) -> u8 { acquire(lab, resource, false, wait) }

    /// Takes a resource shared, before waiting writers.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExAcquireSharedStarveExclusive"]
    fn ExAcquireSharedStarveExclusive(lab; resource: *mut u8, wait: u8) -> u8 { acquire(lab, resource, false, wait) }

    /// Enters a critical region and takes a resource exclusively.
    [ceiling: APC_LEVEL, Approximated("waiting writers are not preferred"), source: "ntifs/ExEnterCriticalRegionAndAcquireResourceExclusive"]
    fn ExEnterCriticalRegionAndAcquireResourceExclusive(lab; resource: *mut u8) -> u8 {
        lab.enter_critical_region();
        acquire(lab, resource, true, 1)
    }

    /// Enters a critical region and takes a resource shared.
    [ceiling: APC_LEVEL, Approximated("waiting writers are not preferred"), source: "ntifs/ExEnterCriticalRegionAndAcquireResourceShared"]
    fn ExEnterCriticalRegionAndAcquireResourceShared(lab; resource: *mut u8) -> u8 {
        lab.enter_critical_region();
        acquire(lab, resource, false, 1)
    }

    /// Releases a resource.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExReleaseResourceLite"]
    fn ExReleaseResourceLite(lab; resource: *mut u8) { release(lab, resource) }

    /// Releases a resource and leaves the critical region.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/ExReleaseResourceAndLeaveCriticalRegion"]
    fn ExReleaseResourceAndLeaveCriticalRegion(lab; resource: *mut u8) {
        release(lab, resource);
        lab.leave_critical_region();
    }

    /// Makes an exclusive holder a shared one.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExConvertExclusiveToSharedLite"]
    fn ExConvertExclusiveToSharedLite(lab; resource: *mut u8) {
        check(lab, resource, "wdm/ExConvertExclusiveToSharedLite");
        let thread = lab.thread();
        let former = lab.lock_released(&thread, resource.addr(), LockKind::Resource);
        lab.lock_taken(&thread, resource.addr(), LockKind::Resource, false, former.former_irql);
    }

    /// Whether the calling thread holds a resource exclusively.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExIsResourceAcquiredExclusiveLite"]
    fn ExIsResourceAcquiredExclusiveLite(lab; resource: *mut u8) -> u8 {
        u8::from(held(lab, resource).is_some_and(|h| h.exclusive))
    }

    /// How often the calling thread holds a resource.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExIsResourceAcquiredSharedLite"]
    fn ExIsResourceAcquiredSharedLite(lab; resource: *mut u8) -> u32 { held(lab, resource).map_or(0, |h| h.depth) }
}
