//! Same seed, same run.

use std::cell::Cell;
use std::rc::Rc;

use lab_executive::import::{FaultKind, PlannedFault};
use lab_executive::imports::events::{KeInitializeEvent, KeSetEvent, KeWaitForSingleObject};
use lab_executive::imports::mutexes::*;
use lab_executive::imports::pool::{ExAllocatePool2, ExFreePool};
use lab_executive::scheduler::Strategy;
use lab_executive::{Config, Lab};

use crate::{NON_PAGED, TAG, lab, lab_with};

/// A run with waits, allocations and chance switches; returns its trace hash.
fn scramble(seed: u64) -> (u64, u64) {
    let lab = Lab::new(Config { seed, preempt_per_mille: 300, ..Config::default() });
    let system = lab.processes.system();
    let event: *mut u8 = Box::leak(Box::new([0u64; 4])).as_mut_ptr().cast();
    lab.init_dispatcher(event, 1, 1);
    for index in 0..4 {
        lab.spawn(&system, format!("t{index}"), move |lab| {
            for _ in 0..10 {
                // SAFETY: an event of ours and plain allocations, in a lab thread.
                unsafe {
                    KeWaitForSingleObject(event, 0, 0, 0, std::ptr::null());
                    KeEnterCriticalRegion();
                    let block = ExAllocatePool2(NON_PAGED, 64, TAG);
                    ExFreePool(block);
                    KeLeaveCriticalRegion();
                    KeSetEvent(event, 0, 0);
                }
                lab.delay(5);
            }
        });
    }
    if let Err(violation) = lab.run_until(|lab| lab.scheduler.threads().is_empty()) {
        panic!("{violation}");
    }
    (lab.trace.hash(), lab.trace.events())
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(scramble(42), scramble(42));
}

#[test]
fn seeds_give_different_traces() {
    let mut hashes: Vec<_> = (0..8).map(|seed| scramble(seed).0).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert!(hashes.len() > 6, "of 8 seeds only {} runs differ", hashes.len());
}

#[test]
fn pre_emption_needs_no_wait() {
    let order = |per_mille| {
        let lab = lab_with(|c| c.preempt_per_mille = per_mille);
        let system = lab.processes.system();
        for name in ["a", "b"] {
            lab.spawn(&system, name, |_| {
                for _ in 0..50 {
                    // SAFETY: in a lab thread.
                    unsafe {
                        KeEnterCriticalRegion();
                        KeLeaveCriticalRegion();
                    }
                }
            });
        }
        assert!(lab.run_until_idle().is_ok());
        lab.scheduler.switches()
    };
    assert_eq!(order(0), 2);
    assert!(order(200) > 10);
}

/// A loop that waits for another thread without waiting ends by chance under a fair scheduler, and never under priorities.
#[test]
fn a_thread_that_spins_for_another_is_found() {
    let violation = |spins: bool| {
        let strategy = Strategy::Priorities { changes: 0, length: 1 };
        let lab = lab_with(|config| config.strategy = strategy);
        let system = lab.processes.system();
        let done = Rc::new(Cell::new(!spins));
        for name in ["a", "b"] {
            let done = done.clone();
            lab.spawn(&system, name, move |_| {
                let mut first = true;
                while !done.get() || first {
                    first = false;
                    // SAFETY: in a lab thread.
                    unsafe {
                        KeEnterCriticalRegion();
                        KeLeaveCriticalRegion();
                    }
                }
            });
        }
        lab.run_until_idle().err().map(|violation| violation.rule)
    };
    assert_eq!(violation(false), None);
    assert_eq!(violation(true), Some("spins-for-another-thread"));
}

#[test]
fn a_planned_fault_fails_exactly_the_call_it_names() {
    let allocate = |_: &Lab| {
        // SAFETY: valid arguments, in a lab thread.
        let blocks: Vec<bool> =
            (0..4).map(|_| unsafe { ExAllocatePool2(NON_PAGED, 8, TAG) }.is_null()).collect();
        blocks
    };
    let first = lab();
    assert_eq!(first.run(allocate).ok(), Some(vec![false; 4]));
    let sites = first.calls.sites();
    assert_eq!((sites.len(), sites[0].calls, sites[0].import), (1, 4, "ExAllocatePool2"));
    assert_eq!(first.calls.count("ExAllocatePool2"), 4);

    let second = lab();
    let fault = PlannedFault { site: sites[0].id, call: 3, kind: FaultKind::Null };
    second.calls.plan(fault);
    assert_eq!(second.run(allocate).ok(), Some(vec![false, false, true, false]));
    assert_eq!(second.calls.fired(), vec![fault]);
}

#[test]
fn imports_without_a_failure_in_their_contract_have_no_sites() {
    let lab = lab();
    let result = lab.run(|_| {
        let mut event = [0u64; 3];
        // SAFETY: 24 bytes of ours, in a lab thread.
        unsafe { KeInitializeEvent(event.as_mut_ptr().cast(), 0, 0) };
    });
    assert!(result.is_ok());
    assert!(lab.calls.sites().is_empty());
    assert_eq!(lab.calls.total(), 1);
}
