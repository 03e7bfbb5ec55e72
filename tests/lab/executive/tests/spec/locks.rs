//! Levels, spin locks, mutexes, push locks, resources, rundown.

use std::cell::Cell;
use std::rc::Rc;

use lab_executive::imports::events::KeInitializeEvent;
use lab_executive::imports::mutexes::*;
use lab_executive::imports::pushlocks::*;
use lab_executive::imports::resources::*;
use lab_executive::imports::rundown::*;
use lab_executive::imports::spinlocks::*;
use lab_executive::{Lab, imports};
use lab_nt::FAST_MUTEX;

use crate::{lab, run};

/// Memory for one lock that outlives the test.
fn cell() -> *mut usize {
    Box::leak(Box::new([0usize; 16])).as_mut_ptr()
}

/// What ExInitializeFastMutex does inline.
fn fast_mutex() -> *mut FAST_MUTEX {
    let mutex = cell().cast::<FAST_MUTEX>();
    // SAFETY: the memory is large enough and ours.
    unsafe {
        (*mutex).Count = 1;
        KeInitializeEvent((&raw mut (*mutex).Event).cast(), 1, 0);
    }
    mutex
}

fn resource() -> *mut u8 {
    let resource = cell().cast::<u8>();
    // SAFETY: 128 bytes of ours.
    unsafe { ExInitializeResourceLite(resource) };
    resource
}

#[test]
fn a_spin_lock_raises_to_dispatch_level_and_back() {
    run(|lab| {
        let lock = cell();
        // SAFETY: a lock of ours, in a lab thread.
        unsafe {
            KeInitializeSpinLock(lock);
            let former = KeAcquireSpinLockRaiseToDpc(lock);
            assert_eq!((former, KeGetCurrentIrql(), lock.read()), (0, 2, 1));
            KeReleaseSpinLock(lock, former);
            assert_eq!((KeGetCurrentIrql(), lock.read()), (0, 0));
            let mut handle = [0u64; 3];
            KeAcquireInStackQueuedSpinLock(lock, handle.as_mut_ptr().cast());
            assert_eq!(KeGetCurrentIrql(), 2);
            KeReleaseInStackQueuedSpinLock(handle.as_mut_ptr().cast());
        }
        assert_eq!(lab.thread().irql.get(), 0);
    });
}

/// Each case breaks one rule; the name says which.
#[test]
#[allow(clippy::type_complexity, reason = "a table")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "one reason for the whole table, in its comment")]
fn broken_lock_rules_are_named() {
    // For all cases: locks of the test, in a lab thread; breaking the contract is the point.
    let cases: Vec<(&str, &str, fn(&Lab))> = vec![
        ("waits under a spin lock", "wait-at-dispatch", |lab| unsafe {
            KeAcquireSpinLockRaiseToDpc(cell());
            lab.delay(10);
        }),
        ("calls a passive routine under a spin lock", "irql-ceiling", |_| unsafe {
            KeAcquireSpinLockRaiseToDpc(cell());
            ExAcquireFastMutex(cell().cast());
        }),
        ("releases a lock that is not held", "lock-not-held", |_| unsafe {
            KeRaiseIrqlToDpcLevel();
            KeReleaseSpinLock(cell(), 0);
        }),
        ("releases at the wrong level", "irql-floor", |_| unsafe {
            KeReleaseSpinLock(cell(), 0);
        }),
        ("spins on its own lock", "lock-recursion", |_| unsafe {
            let lock = cell();
            KeAcquireSpinLockRaiseToDpc(lock);
            KeAcquireSpinLockAtDpcLevel(lock);
        }),
        ("lowers the level under a lock", "irql-order", |_| unsafe {
            KeAcquireSpinLockRaiseToDpc(cell());
            KeLowerIrql(0);
        }),
        ("restores another level than it had", "irql-restored", |_| unsafe {
            let lock = cell();
            KeAcquireSpinLockRaiseToDpc(lock);
            KeReleaseSpinLock(lock, 1);
        }),
        ("releases the outer lock first", "lock-release-order", |_| unsafe {
            let (outer, inner) = (cell(), cell());
            let former = KeAcquireSpinLockRaiseToDpc(outer);
            KeAcquireSpinLockAtDpcLevel(inner);
            KeReleaseSpinLock(outer, former);
        }),
        ("raises to a lower level", "irql-order", |_| unsafe {
            KeRaiseIrqlToDpcLevel();
            KfRaiseIrql(1);
        }),
        ("takes a push lock with APCs on", "apcs-enabled", |_| unsafe {
            ExAcquirePushLockExclusiveEx(cell(), 0);
        }),
        ("takes a push lock twice", "lock-recursion", |_| unsafe {
            let lock = cell();
            KeEnterCriticalRegion();
            ExAcquirePushLockSharedEx(lock, 0);
            ExAcquirePushLockSharedEx(lock, 0);
        }),
        ("releases a push lock in the other mode", "lock-mode", |_| unsafe {
            let lock = cell();
            KeEnterCriticalRegion();
            ExAcquirePushLockSharedEx(lock, 0);
            ExReleasePushLockExclusiveEx(lock, 0);
        }),
        ("leaves a region that it did not enter", "critical-region", |_| unsafe { KeLeaveCriticalRegion() }),
        ("takes a fast mutex twice", "lock-recursion", |_| unsafe {
            let mutex = fast_mutex();
            ExAcquireFastMutex(mutex);
            ExAcquireFastMutex(mutex);
        }),
        ("uses a fast mutex that was not initialised", "uninitialised-object", |_| unsafe {
            ExAcquireFastMutex(cell().cast());
        }),
        ("takes a resource with APCs on", "apcs-enabled", |_| unsafe {
            ExAcquireResourceExclusiveLite(resource(), 1);
        }),
        ("uses a resource that was not initialised", "uninitialised-object", |_| unsafe {
            KeEnterCriticalRegion();
            ExAcquireResourceSharedLite(cell().cast(), 1);
        }),
        ("asks for a shared resource exclusively", "lock-recursion", |_| unsafe {
            let resource = resource();
            KeEnterCriticalRegion();
            ExAcquireResourceSharedLite(resource, 1);
            ExAcquireResourceExclusiveLite(resource, 1);
        }),
        ("deletes a resource that is held", "free-in-use", |_| unsafe {
            let resource = resource();
            KeEnterCriticalRegion();
            ExAcquireResourceSharedLite(resource, 1);
            ExDeleteResourceLite(resource);
        }),
        ("releases rundown protection too often", "rundown", |_| unsafe {
            ExReleaseRundownProtection(cell())
        }),
        ("ends its thread in a critical region", "state-at-thread-end", |_| unsafe {
            KeEnterCriticalRegion()
        }),
        ("takes two locks in both orders", "lock-order", |_| unsafe {
            let (a, b) = (cell(), cell());
            KeEnterCriticalRegion();
            for (first, second) in [(a, b), (b, a)] {
                ExAcquirePushLockExclusiveEx(first, 0);
                ExAcquirePushLockExclusiveEx(second, 0);
                ExReleasePushLockExclusiveEx(second, 0);
                ExReleasePushLockExclusiveEx(first, 0);
            }
        }),
        ("returns from a callback at a raised level", "state-after-callback", |lab| {
            lab.call_driver("a callback", || unsafe { KeRaiseIrqlToDpcLevel() });
        }),
        ("returns from a callback in a critical region", "state-after-callback", |lab| {
            lab.call_driver("a callback", || unsafe { KeEnterCriticalRegion() });
        }),
        ("returns from a callback with a spin lock", "lock-after-callback", |lab| unsafe {
            KeRaiseIrqlToDpcLevel();
            lab.call_driver("a callback", || KeAcquireSpinLockAtDpcLevel(cell()));
        }),
        ("initialises a held push lock", "lock-reinitialised", |_| unsafe {
            let lock = cell();
            KeEnterCriticalRegion();
            ExAcquirePushLockExclusiveEx(lock, 0);
            ExInitializePushLock(lock);
        }),
        ("waits with a spin lock after writing CR8 itself", "spin-lock-deadlock", |lab| unsafe {
            let lock = cell();
            let system = lab.processes.system();
            lab.spawn(&system, "other", move |_| {
                KeAcquireSpinLockRaiseToDpc(lock);
            });
            KeAcquireSpinLockRaiseToDpc(lock);
            std::arch::asm!("mov cr8, {}", in(reg) 0u64);
            lab.delay(10);
        }),
    ];
    for (name, rule, case) in cases {
        match lab().run(case) {
            Ok(()) => panic!("{name}: nothing stopped it"),
            Err(violation) => assert_eq!(violation.rule, rule, "{name}: {violation}"),
        }
    }
}

#[test]
fn an_abandoned_lab_still_reports_and_never_runs_again() {
    let lab = lab();
    // SAFETY: breaking the contract is the point.
    let first = lab.run(|_| unsafe { KeLeaveCriticalRegion() }).expect_err("a violation");
    let second = lab.run(|_| ()).expect_err("the lab is dead");
    assert_eq!(first.rule, second.rule);
    assert!(first.to_string().contains("KeLeaveCriticalRegion"), "{first}");
}

/// Two threads count up under a lock; a switch between read and write would lose one.
fn count_under(lock: impl Fn() + Clone + 'static, unlock: impl Fn() + Clone + 'static) -> u32 {
    let lab = lab();
    let count = Rc::new(Cell::new(0));
    let system = lab.processes.system();
    for name in ["one", "two", "three"] {
        let (count, lock, unlock) = (count.clone(), lock.clone(), unlock.clone());
        lab.spawn(&system, name, move |lab| {
            for _ in 0..20 {
                lock();
                let seen = count.get();
                lab.yield_now();
                count.set(seen + 1);
                unlock();
            }
        });
    }
    if let Err(violation) = lab.run_until_idle() {
        panic!("{violation}");
    }
    count.get()
}

#[test]
fn locks_exclude() {
    assert!(count_under(|| (), || ()) < 60, "without a lock updates are lost, else this test shows nothing");
    let mutex = cell().cast::<FAST_MUTEX>();
    run(move |_| {
        // SAFETY: memory of ours.
        unsafe { KeInitializeGuardedMutex(mutex) };
    });
    let (take_fast, leave_fast, take_guarded, leave_guarded) = (
        // SAFETY: initialised above; the closures run in lab threads.
        move || unsafe { ExAcquireFastMutex(mutex) },
        // SAFETY: as above.
        move || unsafe { ExReleaseFastMutex(mutex) },
        // SAFETY: as above.
        move || unsafe { KeAcquireGuardedMutex(mutex) },
        // SAFETY: as above.
        move || unsafe { KeReleaseGuardedMutex(mutex) },
    );
    assert_eq!(count_under(take_fast, leave_fast), 60);
    assert_eq!(count_under(take_guarded, leave_guarded), 60);
    let lock = cell();
    assert_eq!(
        count_under(
            // SAFETY: a zeroed push lock of ours, in lab threads.
            move || unsafe {
                KeEnterCriticalRegion();
                ExAcquirePushLockExclusiveEx(lock, 0);
            },
            // SAFETY: as above.
            move || unsafe {
                ExReleasePushLockExclusiveEx(lock, 0);
                KeLeaveCriticalRegion();
            },
        ),
        60
    );
}

#[test]
fn shared_holders_share_and_keep_writers_out() {
    run(|lab| {
        let lock = cell();
        let system = lab.processes.system();
        let wrote = Rc::new(Cell::new(false));
        // SAFETY: a zeroed push lock of ours, in lab threads.
        unsafe {
            KeEnterCriticalRegion();
            ExAcquirePushLockSharedEx(lock, 0);
        }
        let flag = wrote.clone();
        // SAFETY: as above.
        lab.spawn(&system, "writer", move |_| unsafe {
            KeEnterCriticalRegion();
            ExAcquirePushLockExclusiveEx(lock, 0);
            flag.set(true);
            ExReleasePushLockExclusiveEx(lock, 0);
            KeLeaveCriticalRegion();
        });
        // SAFETY: as above.
        let reader = lab.spawn(&system, "reader", move |_| unsafe {
            KeEnterCriticalRegion();
            ExAcquirePushLockSharedEx(lock, 0);
            ExReleasePushLockSharedEx(lock, 0);
            KeLeaveCriticalRegion();
        });
        lab.block_until("the reader", None, || reader.finished());
        assert!(!wrote.get());
        // SAFETY: as above.
        unsafe {
            assert_eq!(ExTryAcquirePushLockExclusiveEx(cell(), 0), 1);
            ExReleasePushLockSharedEx(lock, 0);
            KeLeaveCriticalRegion();
        }
        lab.block_until("the writer", None, || wrote.get());
        lab.enter_critical_region();
        let held = lab.locks.held_by(lab.thread().id);
        held.iter().for_each(|h| lab.release_push_lock(h.address, None));
        lab.leave_critical_region();
    });
}

#[test]
fn a_writer_keeps_readers_and_writers_out() {
    run(|lab| {
        let (lock, resource) = (cell(), resource());
        let system = lab.processes.system();
        // SAFETY: locks of ours, in lab threads.
        unsafe {
            KeEnterCriticalRegion();
            ExAcquirePushLockExclusiveEx(lock, 0);
            ExAcquireResourceExclusiveLite(resource, 1);
        }
        // SAFETY: as above.
        let other = lab.spawn(&system, "other", move |_| unsafe {
            KeEnterCriticalRegion();
            assert_eq!(ExTryAcquirePushLockSharedEx(lock, 0), 0);
            assert_eq!(ExTryAcquirePushLockExclusiveEx(lock, 0), 0);
            assert_eq!(ExAcquireResourceSharedLite(resource, 0), 0);
            KeLeaveCriticalRegion();
        });
        lab.block_until("the other thread", None, || other.finished());
        // SAFETY: as above.
        unsafe {
            ExReleaseResourceLite(resource);
            ExReleasePushLockExclusiveEx(lock, 0);
            KeLeaveCriticalRegion();
        }
    });
}

#[test]
fn resources_recurse_and_convert() {
    run(|_| {
        let resource = resource();
        // SAFETY: an initialised resource of ours.
        unsafe {
            assert_eq!(ExEnterCriticalRegionAndAcquireResourceExclusive(resource), 1);
            assert_eq!(ExAcquireResourceSharedLite(resource, 1), 1);
            assert_eq!(ExIsResourceAcquiredSharedLite(resource), 2);
            ExReleaseResourceLite(resource);
            assert_eq!(ExIsResourceAcquiredExclusiveLite(resource), 1);
            ExConvertExclusiveToSharedLite(resource);
            assert_eq!(ExIsResourceAcquiredExclusiveLite(resource), 0);
            ExReleaseResourceAndLeaveCriticalRegion(resource);
            ExDeleteResourceLite(resource);
        }
    });
}

#[test]
fn rundown_waits_for_the_last_release_and_refuses_afterwards() {
    run(|lab| {
        let reference = cell();
        let system = lab.processes.system();
        // SAFETY: an EX_RUNDOWN_REF of ours.
        unsafe {
            ExInitializeRundownProtection(reference);
            assert_eq!(ExAcquireRundownProtection(reference), 1);
        }
        lab.spawn(&system, "user", move |lab| {
            lab.delay(100);
            // SAFETY: as above.
            unsafe { ExReleaseRundownProtection(reference) };
        });
        let before = lab.scheduler.now();
        // SAFETY: as above.
        unsafe {
            ExWaitForRundownProtectionRelease(reference);
            assert_eq!(ExAcquireRundownProtection(reference), 0);
        }
        assert_eq!(lab.scheduler.now() - before, 100);
    });
}

#[test]
fn every_import_is_declared_once_and_names_its_source() {
    let mut names: Vec<_> =
        imports::tables().iter().flat_map(|t| t.iter()).map(|i| (i.module, i.name, i.source)).collect();
    assert!(names.iter().all(|(_, _, source)| !source.is_empty()));
    let count = names.len();
    names.sort_unstable();
    names.dedup_by_key(|(module, name, _)| (*module, *name));
    assert_eq!(names.len(), count);
}

#[test]
fn the_lock_order_of_freed_memory_is_forgotten() {
    run(|lab| {
        lab.enter_critical_region();
        for round in 0..2000usize {
            let blocks = [lab.allocate_own(16, b"Test"), lab.allocate_own(16, b"Test")];
            // Addresses come back in either order.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for index in order {
                lab.acquire_push_lock(blocks[index].addr(), true, lab_executive::acquire::Patience::Wait);
            }
            for index in order {
                lab.release_push_lock(blocks[index].addr(), None);
            }
            blocks.into_iter().for_each(|block| lab.free_own(block));
        }
        lab.leave_critical_region();
    });
}
