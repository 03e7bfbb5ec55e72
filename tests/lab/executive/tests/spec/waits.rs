//! Events, semaphores, mutexes, timers, and time.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

use lab_executive::imports::events::*;
use lab_executive::scheduler::MILLISECOND;
use lab_executive::{Lab, status};

use crate::{lab, must_violate, run};

fn object() -> *mut u8 {
    Box::leak(Box::new([0u64; 16])).as_mut_ptr().cast()
}

fn event(kind: i32, state: u8) -> *mut u8 {
    let event = object();
    // SAFETY: 128 bytes of ours, in a lab thread.
    unsafe { KeInitializeEvent(event, kind, state) };
    event
}

fn wait(object: *mut u8, timeout: Option<i64>) -> i32 {
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: an initialised object of ours, in a lab thread.
    unsafe { KeWaitForSingleObject(object, 0, 0, 0, timeout) }
}

fn set(event: *mut u8) -> i32 {
    // SAFETY: as in `wait`.
    unsafe { KeSetEvent(event, 0, 0) }
}

/// How many of three waiters a single set of an event releases.
fn released_by_one_set(kind: i32) -> usize {
    run(move |lab| {
        let (event, count) = (event(kind, 0), Rc::new(Cell::new(0)));
        let system = lab.processes.system();
        for name in ["a", "b", "c"] {
            let count = count.clone();
            let waiter = lab.spawn(&system, name, move |_| {
                wait(event, None);
                count.set(count.get() + 1);
            });
            waiter.server.set(true);
        }
        lab.delay(10);
        set(event);
        lab.delay(10);
        count.get()
    })
}

#[test]
fn a_notification_event_releases_all_and_a_synchronization_event_one() {
    assert_eq!(released_by_one_set(0), 3);
    assert_eq!(released_by_one_set(1), 1);
}

#[test]
fn a_waiter_is_released_even_if_the_event_is_cleared_before_it_runs() {
    run(|lab| {
        let event = event(0, 0);
        let system = lab.processes.system();
        let waiter = lab.spawn(&system, "waiter", move |_| {
            wait(event, None);
        });
        lab.delay(10);
        set(event);
        // SAFETY: an initialised event of ours.
        unsafe { KeClearEvent(event) };
        lab.delay(10);
        assert!(waiter.finished());
    });
}

#[test]
fn the_former_state_is_returned() {
    run(|_| {
        let event = event(0, 0);
        // SAFETY: an initialised event of ours.
        unsafe {
            assert_eq!((set(event), set(event), KeReadStateEvent(event), KeResetEvent(event)), (0, 1, 1, 1));
            assert_eq!(KeReadStateEvent(event), 0);
        }
    });
}

#[test]
fn timeouts_pass_in_virtual_time() {
    run(|lab| {
        let start = lab.scheduler.now();
        let event = event(1, 0);
        assert_eq!(wait(event, Some(-50 * MILLISECOND)), status::TIMEOUT);
        assert_eq!(lab.scheduler.now() - start, 50 * MILLISECOND);
        assert_eq!(wait(event, Some(start + 70 * MILLISECOND)), status::TIMEOUT);
        assert_eq!(lab.scheduler.now() - start, 70 * MILLISECOND);
        assert_eq!(wait(event, Some(0)), status::TIMEOUT);
        set(event);
        assert_eq!(wait(event, Some(0)), status::SUCCESS);
        assert_eq!(wait(event, Some(0)), status::TIMEOUT);
    });
}

#[test]
fn waiting_for_several_objects_gives_the_index_or_waits_for_all() {
    run(|lab| {
        let objects = [event(1, 0), event(1, 0)];
        let wait_all = |any: i32, timeout: i64| {
            // SAFETY: initialised objects of ours.
            unsafe { KeWaitForMultipleObjects(2, objects.as_ptr(), any, 0, 0, 0, &timeout, ptr::null_mut()) }
        };
        set(objects[1]);
        assert_eq!(wait_all(1, -10), 1);
        set(objects[0]);
        assert_eq!(wait_all(0, -10), status::TIMEOUT);
        let later = objects[1];
        let system = lab.processes.system();
        lab.spawn(&system, "setter", move |_| {
            set(later);
        });
        assert_eq!(wait_all(0, -10), status::SUCCESS);
        assert_eq!(lab.signal_state(objects[0]), 0, "both were consumed together");
    });
}

#[test]
fn a_semaphore_admits_as_many_as_its_count() {
    run(|_| {
        let semaphore = object();
        // SAFETY: memory of ours.
        unsafe {
            KeInitializeSemaphore(semaphore, 1, 2);
            assert_eq!(wait(semaphore, Some(0)), status::SUCCESS);
            assert_eq!(wait(semaphore, Some(0)), status::TIMEOUT);
            assert_eq!(KeReleaseSemaphore(semaphore, 0, 2, 0), 0);
        }
    });
}

#[test]
fn a_mutex_belongs_to_its_owner_and_recurses() {
    run(|_| {
        let mutex = object();
        // SAFETY: memory of ours.
        unsafe {
            KeInitializeMutex(mutex, 0);
            assert_eq!(wait(mutex, Some(0)), status::SUCCESS);
            assert_eq!(wait(mutex, Some(0)), status::SUCCESS);
            KeReleaseMutex(mutex, 0);
            KeReleaseMutex(mutex, 0);
            assert_eq!(wait(mutex, Some(0)), status::SUCCESS);
            KeReleaseMutex(mutex, 0);
        }
    });
    must_violate("lock-not-held", |_| {
        let mutex = object();
        // SAFETY: memory of ours.
        unsafe {
            KeInitializeMutex(mutex, 0);
            KeReleaseMutex(mutex, 0);
        }
    });
}

#[test]
fn a_timer_fires_once_or_periodically_and_can_be_cancelled() {
    run(|lab| {
        let timer = object();
        // SAFETY: memory of ours.
        unsafe {
            KeInitializeTimerEx(timer, 1);
            assert_eq!(KeSetTimer(timer, -20, ptr::null_mut()), 0);
            assert_eq!(wait(timer, Some(-100)), status::SUCCESS);
            assert_eq!(wait(timer, Some(-100)), status::TIMEOUT);
            KeSetTimerEx(timer, -20, 1, ptr::null_mut());
            for _ in 0..3 {
                assert_eq!(wait(timer, None), status::SUCCESS);
            }
            assert_eq!(KeCancelTimer(timer), 1);
            assert_eq!(wait(timer, Some(-10 * MILLISECOND)), status::TIMEOUT);
            assert_eq!(KeCancelTimer(timer), 0);
        }
        assert!(lab.scheduler.interrupt_time() > 0);
    });
}

#[test]
fn a_deadlock_is_reported_with_who_waits_for_what() {
    let lab = lab();
    let violation = lab.run(|_| wait(event(0, 0), None)).expect_err("nobody signals");
    assert_eq!(violation.rule, "deadlock");
    assert!(violation.what.contains("\"main\" waits for a notification event"), "{violation}");
}

#[test]
fn a_wait_that_only_timers_outlast_is_a_deadlock_too() {
    let lab = lab();
    let violation = lab.run(|lab| {
        let timer = object();
        // SAFETY: memory of ours.
        unsafe {
            KeInitializeTimerEx(timer, 1);
            KeSetTimerEx(timer, -20, 60_000, ptr::null_mut());
        }
        let ticking = lab.processes.system();
        lab.spawn(&ticking, "clock", move |_| while wait(timer, None) == status::SUCCESS {});
        wait(event(0, 0), None)
    });
    let violation = violation.expect_err("nobody signals");
    assert_eq!(violation.rule, "deadlock");
    assert!(
        violation.what.contains("in an hour") && violation.what.contains("\"main\" waits"),
        "{violation}"
    );
}

#[test]
fn misuse_of_dispatcher_objects_is_named() {
    must_violate("uninitialised-object", |_| set(object()));
    must_violate("wrong-object", |_| {
        let semaphore = object();
        // SAFETY: memory of ours.
        unsafe { KeInitializeSemaphore(semaphore, 0, 1) };
        set(semaphore);
    });
    must_violate("bad-parameter", |_| {
        // SAFETY: breaking the contract is the point.
        unsafe { KeWaitForMultipleObjects(0, ptr::null(), 1, 0, 0, 0, ptr::null(), ptr::null_mut()) };
    });
    must_violate("unserved", |_| {
        // SAFETY: an initialised event of ours.
        unsafe { KeSetEvent(event(0, 0), 0, 1) };
    });
}

#[test]
fn a_zero_timeout_may_be_used_at_dispatch_level_and_no_other() {
    use lab_executive::imports::spinlocks::{KeLowerIrql, KeRaiseIrqlToDpcLevel};
    run(|_| {
        let event = event(0, 1);
        // SAFETY: in a lab thread.
        unsafe {
            let former = KeRaiseIrqlToDpcLevel();
            assert_eq!(wait(event, Some(0)), status::SUCCESS);
            KeLowerIrql(former);
        }
    });
    must_violate("wait-at-dispatch", |_| {
        let event = event(0, 1);
        // SAFETY: in a lab thread.
        unsafe { KeRaiseIrqlToDpcLevel() };
        wait(event, None);
    });
}

#[test]
fn injected_work_reaches_a_serving_lab() {
    let lab = lab();
    let served = Rc::new(RefCell::new(Vec::new()));
    let injector = lab.injector();
    let sender = std::thread::spawn(move || {
        for number in 0..3u32 {
            injector.inject(move |lab| {
                let system = lab.processes.system();
                lab.spawn(&system, format!("request {number}"), |lab: &Lab| lab.delay(10));
            });
        }
    });
    let seen = served.clone();
    let result = lab.serve(move |lab| {
        seen.borrow_mut().extend(lab.scheduler.threads().iter().map(|t| t.name.clone()));
        sender.is_finished() && seen.borrow().len() >= 3 && lab.scheduler.threads().is_empty()
    });
    assert!(result.is_ok());
    assert!(served.borrow().iter().any(|name| name == "request 2"));
}
