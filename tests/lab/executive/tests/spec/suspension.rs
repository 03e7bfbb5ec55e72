//! Threads that are suspended (minifilter-rules §2.6).

use std::cell::Cell;
use std::rc::Rc;

use lab_executive::imports::events::*;
use lab_executive::imports::mutexes::{KeEnterCriticalRegion, KeLeaveCriticalRegion};
use lab_executive::{Lab, Thread};

use crate::run;

/// A thread that counts for ever, after `begin`, and sleeps in between.
fn counting(lab: &Lab, begin: impl FnOnce(&Lab) + 'static) -> (Rc<Thread>, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    let own = count.clone();
    let process = lab.processes.system();
    let thread = lab.spawn(&process, "counts", move |lab| {
        begin(lab);
        loop {
            lab.delay(10);
            own.set(own.get() + 1);
        }
    });
    thread.server.set(true);
    (thread, count)
}

fn goes_on(lab: &Lab, count: &Cell<u32>) -> bool {
    let before = count.get();
    lab.delay(100);
    count.get() != before
}

/// minifilter-rules §2.6.
#[test]
fn it_stands_still_until_it_is_resumed_as_often() {
    run(|lab| {
        let (thread, count) = counting(lab, |_| ());
        assert!(goes_on(lab, &count));
        lab.suspend_thread(&thread);
        lab.suspend_thread(&thread);
        assert!(!goes_on(lab, &count));
        lab.resume_thread(&thread);
        assert!(!goes_on(lab, &count), "suspended twice");
        lab.resume_thread(&thread);
        assert!(goes_on(lab, &count));
    });
}

/// minifilter-rules §2.6.
#[test]
fn it_goes_on_to_the_end_of_its_critical_region() {
    run(|lab| {
        let (inside, leaves) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let (own_inside, own_leaves) = (inside.clone(), leaves.clone());
        let (thread, after) = counting(lab, move |lab| {
            // SAFETY: in a lab thread; each enter has its leave.
            unsafe { KeEnterCriticalRegion() };
            while !own_leaves.get() {
                lab.delay(10);
                own_inside.set(own_inside.get() + 1);
            }
            // SAFETY: as above.
            unsafe { KeLeaveCriticalRegion() };
        });
        assert!(goes_on(lab, &inside));
        lab.suspend_thread(&thread);
        assert!(goes_on(lab, &inside));
        leaves.set(true);
        lab.delay(100);
        assert_eq!(after.get(), 0, "it stands still at the first moment after");
        lab.resume_thread(&thread);
        assert!(goes_on(lab, &after));
    });
}

/// An APC that is delivered in a wait ends it, and it begins again afterwards.
#[test]
fn who_is_suspended_in_a_wait_takes_nothing_from_others() {
    run(|lab| {
        let event = Box::leak(Box::new([0_u64; 16])).as_mut_ptr().cast::<u8>();
        // SAFETY: 128 bytes of ours, in a lab thread; a synchronization event.
        unsafe { KeInitializeEvent(event, 1, 0) };
        let system = lab.processes.system();
        let waiter = |name: &str| {
            lab.spawn(&system, name.to_owned(), move |_| {
                // SAFETY: initialised above.
                unsafe { KeWaitForSingleObject(event, 0, 0, 0, std::ptr::null()) };
            })
        };
        let (one, other) = (waiter("one"), waiter("other"));
        lab.delay(10);
        lab.suspend_thread(&one);
        // SAFETY: as above.
        let set = || unsafe { KeSetEvent(event, 0, 0) };
        set();
        lab.delay(10);
        assert!(other.finished() && !one.finished());
        set();
        lab.delay(10);
        assert!(!one.finished());
        lab.resume_thread(&one);
        lab.delay(10);
        assert!(one.finished());
    });
}

#[test]
fn a_process_that_is_suspended_can_be_ended() {
    run(|lab| {
        let process = lab.create_process("frozen.exe", Vec::new(), None);
        let thread = lab.spawn(&process, "waits", |lab| {
            let thread = lab.thread();
            lab.block_until("its end", None, || thread.terminating.get());
        });
        lab.delay(10);
        lab.suspend_thread(&thread);
        let end = lab.terminate_process(&process, 1);
        lab.block_until("the end", None, || end.finished());
        assert!(thread.finished());
    });
}
