//! Events, semaphores, mutexes, timers, and waiting.

use std::ffi::c_void;

use crate::wait::{
    MUTANT, NOTIFICATION_EVENT, SEMAPHORE, SYNCHRONIZATION_EVENT, TIMER_NOTIFICATION, TIMER_SYNCHRONIZATION,
    Timeout,
};
use crate::{Lab, imports, status};

const EVENTS: &[u8] = &[NOTIFICATION_EVENT, SYNCHRONIZATION_EVENT];
const TIMERS: &[u8] = &[TIMER_NOTIFICATION, TIMER_SYNCHRONIZATION];
/// Most objects in one wait: MAXIMUM_WAIT_OBJECTS.
const MOST: u32 = 64;
const TIMER: &str = "a set timer";

fn check_event(lab: &Lab, event: *mut u8) {
    lab.checked_header(event, EVENTS);
}

/// KeSetEvent and its like with Wait TRUE return at a raised level and must be followed by a wait at once.
fn refuse_wait_flag(lab: &Lab, wait: u8) {
    if wait != 0 {
        lab.report("unserved", "wdm/KeSetEvent: Wait", "Wait = TRUE is not modelled");
    }
}

fn set_timer(lab: &Lab, timer: *mut u8, due: i64, period: i32) -> u8 {
    lab.checked_header(timer, TIMERS);
    let was_set = lab.obligations.remove(timer.addr(), TIMER);
    lab.obligations.add(lab, timer.addr(), TIMER);
    lab.set_signal_state(timer, 0);
    let at = if due <= 0 { lab.scheduler.now().saturating_sub(due) } else { due };
    let generation = lab.timers.start(timer.addr());
    arm(lab, timer, at, period, generation);
    u8::from(was_set)
}

fn arm(lab: &Lab, timer: *mut u8, at: i64, period: i32, generation: u64) {
    lab.at(at, move |lab| {
        if lab.timers.generation(timer.addr()) != Some(generation) {
            return;
        }
        if period > 0 {
            arm(lab, timer, at + i64::from(period) * crate::scheduler::MILLISECOND, period, generation);
        } else {
            lab.timers.stop(timer.addr());
            lab.obligations.remove(timer.addr(), TIMER);
        }
        lab.signal_object(timer, 1);
    });
}

imports! {
    /// Dispatcher objects.
    pub static TABLE in "ntoskrnl.exe";

    /// Initialises an event.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeInitializeEvent"]
    fn KeInitializeEvent(lab; event: *mut u8, kind: i32, state: u8) {
        let kind = if kind == 0 { NOTIFICATION_EVENT } else { SYNCHRONIZATION_EVENT };
        lab.init_dispatcher(event, kind, i32::from(state != 0));
    }

    /// Signals an event; returns its former state.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeSetEvent"]
    fn KeSetEvent(lab; event: *mut u8, _increment: i32, wait: u8) -> i32 {
        refuse_wait_flag(lab, wait);
        check_event(lab, event);
        lab.signal_object(event, 1)
    }

    /// Unsignals an event.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeClearEvent"]
    fn KeClearEvent(lab; event: *mut u8) {
        check_event(lab, event);
        lab.set_signal_state(event, 0);
    }

    /// Unsignals an event; returns its former state.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeResetEvent"]
    fn KeResetEvent(lab; event: *mut u8) -> i32 {
        check_event(lab, event);
        lab.signal_object(event, 0)
    }

    /// An event's state.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeReadStateEvent"]
    fn KeReadStateEvent(lab; event: *mut u8) -> i32 {
        check_event(lab, event);
        lab.signal_state(event)
    }

    /// Waits for one object. The ceiling holds for a zero timeout; any other needs APC_LEVEL.
    [ceiling: DISPATCH_LEVEL, Approximated("no alerts and no APCs interrupt a wait"), fails: Timeout, source: "wdm/KeWaitForSingleObject"]
    fn KeWaitForSingleObject(lab; object: *mut u8, _reason: i32, _mode: u8, _alertable: u8, timeout: *const i64) -> i32 {
        // SAFETY: the contract says null or a valid LARGE_INTEGER.
        lab.wait_for(&[object], false, unsafe { Timeout::from_raw(timeout) })
    }

    /// Waits for one or all of several objects.
    [ceiling: DISPATCH_LEVEL, Approximated("no alerts and no APCs interrupt a wait"), fails: Timeout, source: "wdm/KeWaitForMultipleObjects"]
    fn KeWaitForMultipleObjects(lab; count: u32, objects: *const *mut u8, any: i32, _reason: i32, _mode: u8, _alertable: u8, timeout: *const i64, blocks: *mut c_void) -> i32 {
        if count == 0 || count > MOST || (count > 3 && blocks.is_null()) {
            lab.report("bad-parameter", "wdm/KeWaitForMultipleObjects: 1 to 64 objects; over THREAD_WAIT_OBJECTS (3) with a wait block array",
                format!("waits for {count} objects"));
        }
        // SAFETY: the contract says `count` pointers, and a timeout that is null or valid.
        let (objects, timeout) = unsafe {
            (std::slice::from_raw_parts(objects, count as usize), Timeout::from_raw(timeout))
        };
        // WAIT_TYPE: WaitAll 0, WaitAny 1.
        lab.wait_for(objects, any == 0, timeout)
    }

    /// Initialises a semaphore.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeInitializeSemaphore"]
    fn KeInitializeSemaphore(lab; semaphore: *mut u8, count: i32, limit: i32) {
        if count < 0 || limit <= 0 || count > limit {
            lab.report("bad-parameter", "wdm/KeInitializeSemaphore", format!("count {count}, limit {limit}"));
        }
        lab.init_dispatcher(semaphore, SEMAPHORE, count);
        // SAFETY: KSEMAPHORE.Limit follows the header (wdm.h); the driver owns the object.
        unsafe { semaphore.wrapping_add(24).cast::<i32>().write_unaligned(limit) };
    }

    /// Releases a semaphore; returns its former count.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeReleaseSemaphore"]
    fn KeReleaseSemaphore(lab; semaphore: *mut u8, _increment: i32, adjustment: i32, wait: u8) -> i32 {
        refuse_wait_flag(lab, wait);
        let count = lab.checked_header(semaphore, &[SEMAPHORE]).signal_state;
        // SAFETY: as in KeInitializeSemaphore.
        let limit = unsafe { semaphore.wrapping_add(24).cast::<i32>().read_unaligned() };
        if adjustment <= 0 || count + adjustment > limit {
            lab.report("bad-parameter", "wdm/KeReleaseSemaphore: raises STATUS_SEMAPHORE_LIMIT_EXCEEDED",
                format!("count {count} + {adjustment} exceeds the limit {limit}"));
        }
        lab.signal_object(semaphore, count + adjustment)
    }

    /// Initialises a mutex.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeInitializeMutex"]
    fn KeInitializeMutex(lab; mutex: *mut u8, _level: u32) {
        lab.init_dispatcher(mutex, MUTANT, 1);
        lab.locks.clear_mutant_owner(mutex.addr());
    }

    /// Releases a mutex; returns 0 when it becomes free.
    [ceiling: DISPATCH_LEVEL, Approximated("a wait for a mutex does not enter a critical region"), source: "wdm/KeReleaseMutex"]
    fn KeReleaseMutex(lab; mutex: *mut u8, wait: u8) -> i32 {
        refuse_wait_flag(lab, wait);
        let state = lab.checked_header(mutex, &[MUTANT]).signal_state;
        if lab.locks.mutant_owner(mutex.addr()) != Some(lab.thread().id) {
            lab.report("lock-not-held", "wdm/KeReleaseMutex: raises STATUS_MUTANT_NOT_OWNED", "releases a mutex that it does not own");
        }
        if state == 0 {
            lab.locks.clear_mutant_owner(mutex.addr());
        }
        lab.signal_object(mutex, state + 1);
        state
    }

    /// Initialises a timer.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeInitializeTimer"]
    fn KeInitializeTimer(lab; timer: *mut u8) { lab.init_dispatcher(timer, TIMER_NOTIFICATION, 0); }

    /// Initialises a timer of a kind.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeInitializeTimerEx"]
    fn KeInitializeTimerEx(lab; timer: *mut u8, kind: i32) {
        lab.init_dispatcher(timer, if kind == 0 { TIMER_NOTIFICATION } else { TIMER_SYNCHRONIZATION }, 0);
    }

    /// Sets a timer; returns whether it was set.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeSetTimer"]
    fn KeSetTimer(lab; timer: *mut u8, due: i64, dpc: *mut c_void) -> u8 {
        if !dpc.is_null() {
            lab.report("unserved", "wdm/KeSetTimer", "a DPC on a timer is not modelled");
        }
        set_timer(lab, timer, due, 0)
    }

    /// Sets a periodic timer; returns whether it was set.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeSetTimerEx"]
    fn KeSetTimerEx(lab; timer: *mut u8, due: i64, period: i32, dpc: *mut c_void) -> u8 {
        if !dpc.is_null() {
            lab.report("unserved", "wdm/KeSetTimerEx", "a DPC on a timer is not modelled");
        }
        set_timer(lab, timer, due, period)
    }

    /// Cancels a timer; returns whether it was set.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeCancelTimer"]
    fn KeCancelTimer(lab; timer: *mut u8) -> u8 {
        lab.checked_header(timer, TIMERS);
        lab.timers.stop(timer.addr());
        u8::from(lab.obligations.remove(timer.addr(), TIMER))
    }

    /// Waits for a time.
    [ceiling: APC_LEVEL, Approximated("no alerts and no APCs interrupt a wait"), source: "wdm/KeDelayExecutionThread"]
    fn KeDelayExecutionThread(lab; _mode: u8, _alertable: u8, interval: *const i64) -> i32 {
        // SAFETY: the contract says a valid LARGE_INTEGER.
        let time = match unsafe { Timeout::from_raw(interval) } {
            Timeout::Never => lab.violate("bad-parameter", "wdm/KeDelayExecutionThread", "Interval is null"),
            Timeout::At(at) => at - lab.scheduler.now(),
            Timeout::After(time) => time,
        };
        lab.delay(time);
        status::SUCCESS
    }
}
