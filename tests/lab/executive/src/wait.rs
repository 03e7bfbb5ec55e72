//! Dispatcher objects: events, semaphores, mutants, timers, threads and processes, and waiting for them.
//!
//! The public part of a dispatcher object is its DISPATCHER_HEADER, in the driver's own memory; its wait list
//! head, empty and pointing at itself, tells an initialised one. Who waits is the scheduler's knowledge.

use std::ops::Range;
use std::ptr;

use crate::irql::{APC_LEVEL, DISPATCH_LEVEL};
use crate::thread::{State, Thread, Wait, WaitKind};
use crate::{Lab, status};

/// Kinds of dispatcher objects: the `Type` of the header (KOBJECTS, wdm.h).
pub const NOTIFICATION_EVENT: u8 = 0;
/// An event that one waiter consumes.
pub const SYNCHRONIZATION_EVENT: u8 = 1;
/// A mutex.
pub const MUTANT: u8 = 2;
/// A process; signalled when it has ended.
pub const PROCESS: u8 = 3;
/// A semaphore.
pub const SEMAPHORE: u8 = 5;
/// A thread; signalled when it has ended.
pub const THREAD: u8 = 6;
/// A timer that stays signalled.
pub const TIMER_NOTIFICATION: u8 = 8;
/// A timer that one waiter consumes.
pub const TIMER_SYNCHRONIZATION: u8 = 9;

/// DISPATCHER_HEADER, x64: 24 bytes (wdm.h).
#[derive(Debug)]
#[repr(C)]
pub struct DispatcherHeader {
    /// What it is.
    pub kind: u8,
    /// Flags; not used.
    pub flags: [u8; 3],
    /// Above 0: signalled.
    pub signal_state: i32,
    /// Points at itself: the lab keeps waiters elsewhere.
    pub wait_list_head: [usize; 2],
}

const _: () = assert!(size_of::<DispatcherHeader>() == 24);

/// When a wait gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Never.
    Never,
    /// At this system time.
    At(i64),
    /// After this time (100 ns).
    After(i64),
}

impl Timeout {
    /// From a PLARGE_INTEGER as Windows reads it: null, absolute, or negative for relative.
    ///
    /// # Safety
    /// `timeout` is null or readable.
    pub unsafe fn from_raw(timeout: *const i64) -> Self {
        if timeout.is_null() {
            return Self::Never;
        }
        // SAFETY: not null, so readable by this function's contract.
        let value = unsafe { timeout.read_unaligned() };
        if value <= 0 { Self::After(value.saturating_neg()) } else { Self::At(value) }
    }
}

impl Lab {
    /// Initialises a dispatcher header.
    pub fn init_dispatcher(&self, object: *mut u8, kind: u8, signal_state: i32) {
        let head = object.addr() + 8;
        let header = DispatcherHeader { kind, flags: [0; 3], signal_state, wait_list_head: [head, head] };
        // SAFETY: the caller owns a dispatcher object of at least 24 bytes at this address; a bad one faults and
        // is reported.
        unsafe { ptr::write_unaligned(object.cast(), header) };
    }

    fn header(&self, object: *const u8) -> DispatcherHeader {
        // SAFETY: as in `init_dispatcher`.
        unsafe { ptr::read_unaligned(object.cast::<DispatcherHeader>()) }
    }

    /// Checks that `object` was initialised and is one of `kinds`.
    pub(crate) fn checked_header(&self, object: *const u8, kinds: &[u8]) -> DispatcherHeader {
        let header = self.header(object);
        let head = object.addr() + 8;
        if header.wait_list_head != [head, head] {
            self.report(
                "uninitialised-object",
                "wdm/KeInitializeEvent and its like: initialise before use",
                "uses a dispatcher object that was not initialised, or was moved after it",
            );
        }
        if !kinds.contains(&header.kind) {
            self.report(
                "wrong-object",
                "wdm/KeSetEvent and its like take the object they are named for",
                format!("passes a dispatcher object of kind {} where one of {kinds:?} belongs", header.kind),
            );
        }
        header
    }

    /// Sets the signal state and satisfies who waits for it, now. Returns the former state.
    pub fn signal_object(&self, object: *mut u8, state: i32) -> i32 {
        let former = self.header(object).signal_state;
        self.set_signal_state(object, state);
        if state > 0 {
            self.satisfy_waiters(object.addr());
        }
        former
    }

    /// The signal state of a dispatcher object.
    pub fn signal_state(&self, object: *const u8) -> i32 {
        self.header(object).signal_state
    }

    pub(crate) fn set_signal_state(&self, object: *mut u8, state: i32) {
        // SAFETY: as in `init_dispatcher`; the field lies at offset 4.
        unsafe { ptr::write_unaligned(object.wrapping_add(4).cast::<i32>(), state) };
    }

    /// Waiters are satisfied in an order that the seed chooses: Windows promises none. One that is suspended does not wait
    /// while it is: the APC has ended its wait, which begins again afterwards.
    fn satisfy_waiters(&self, object: usize) {
        let mut waiters: Vec<_> = self
            .scheduler
            .threads()
            .into_iter()
            .filter(|t| waits_for(t, object) && !t.stands_still())
            .collect();
        while !waiters.is_empty() && self.header(ptr::with_exposed_provenance(object)).signal_state > 0 {
            self.wait_again(&waiters.swap_remove(self.random.below(waiters.len())));
        }
    }

    /// Ends a wait for objects if it can end now.
    pub(crate) fn wait_again(&self, thread: &Thread) {
        let satisfied = match &*thread.state.borrow() {
            State::Waiting(Wait { kind: WaitKind::Objects { objects, all }, .. }) => {
                self.try_satisfy(thread, objects, *all)
            }
            _ => None,
        };
        if let Some(result) = satisfied {
            thread.wait_result.set(result);
            *thread.state.borrow_mut() = State::Ready;
        }
    }

    /// Consumes the objects if the wait can end now.
    fn try_satisfy(&self, thread: &Thread, objects: &[usize], all: bool) -> Option<i32> {
        let available = |object: &usize| {
            let header = self.header(ptr::with_exposed_provenance(*object));
            header.signal_state > 0
                || (header.kind == MUTANT && self.locks.mutant_owner(*object) == Some(thread.id))
        };
        if all {
            if !objects.iter().all(available) {
                return None;
            }
            objects.iter().for_each(|object| self.consume(thread, *object));
            return Some(status::SUCCESS);
        }
        let index = objects.iter().position(available)?;
        self.consume(thread, objects[index]);
        i32::try_from(index).ok()
    }

    fn consume(&self, thread: &Thread, object: usize) {
        let body = ptr::with_exposed_provenance_mut::<u8>(object);
        let header = self.header(body);
        match header.kind {
            SYNCHRONIZATION_EVENT | TIMER_SYNCHRONIZATION => self.set_signal_state(body, 0),
            SEMAPHORE => self.set_signal_state(body, header.signal_state - 1),
            MUTANT => {
                self.set_signal_state(body, header.signal_state - 1);
                self.locks.set_mutant_owner(object, thread.id);
            }
            _ => {}
        }
    }

    /// Waits for one or all of `objects`. Returns the status as KeWaitForMultipleObjects does: `SUCCESS` plus the
    /// index, or `TIMEOUT`.
    ///
    /// Stops the run for a wait that could block at `DISPATCH_LEVEL`.
    pub fn wait_for(&self, objects: &[*mut u8], all: bool, timeout: Timeout) -> i32 {
        const SOURCE: &str =
            "wdm/KeWaitForSingleObject: IRQL <= APC_LEVEL; DISPATCH_LEVEL only with a zero timeout";
        let thread = self.thread();
        if thread.irql.get() > DISPATCH_LEVEL
            || (thread.irql.get() > APC_LEVEL && timeout != Timeout::After(0))
        {
            self.report("wait-at-dispatch", SOURCE, "waits with a timeout other than zero");
        }
        let kinds: Vec<u8> = (0..=9).collect();
        for object in objects {
            self.checked_header(*object, &kinds);
        }
        let addresses: Vec<usize> = objects.iter().map(|o| o.expose_provenance()).collect();
        let given = match timeout {
            Timeout::Never => None,
            Timeout::At(at) => Some(at.saturating_sub(self.scheduler.now())),
            Timeout::After(time) => Some(time),
        };
        if let Some(time) = given.filter(|time| *time > 0)
            && self.is_planned_timeout()
        {
            self.delay(time);
            return status::TIMEOUT;
        }
        if let Some(result) = self.try_satisfy(&thread, &addresses, all) {
            return result;
        }
        let now = self.scheduler.now();
        let deadline = match timeout {
            Timeout::Never => None,
            Timeout::At(at) => Some(at),
            Timeout::After(time) => Some(now.saturating_add(time)),
        };
        if deadline.is_some_and(|at| at <= now) {
            return status::TIMEOUT;
        }
        let what = addresses.iter().map(|a| self.describe_object(*a)).collect::<Vec<_>>().join(", ");
        self.wait(Wait { what: what.into(), deadline, kind: WaitKind::Objects { objects: addresses, all } });
        thread.wait_result.get()
    }

    fn describe_object(&self, object: usize) -> String {
        let body = ptr::with_exposed_provenance::<u8>(object);
        if let Some(thread) = self.objects.thread_at(body) {
            return thread.label();
        }
        if let Some(process) = self.objects.process_at(body) {
            return process.label();
        }
        let kind = match self.header(body).kind {
            NOTIFICATION_EVENT => "a notification event",
            SYNCHRONIZATION_EVENT => "a synchronization event",
            MUTANT => "a mutex",
            SEMAPHORE => "a semaphore",
            TIMER_NOTIFICATION | TIMER_SYNCHRONIZATION => "a timer",
            _ => "an object",
        };
        match (self.pool.block_containing(object), self.images.describe(object)) {
            (Some(block), _) => format!(
                "{kind} at byte {} of pool '{}'",
                object - block.address,
                crate::pool::tag_text(block.tag)
            ),
            (None, Some(place)) => format!("{kind} at {place}"),
            (None, None) => format!("{kind} on a stack"),
        }
    }

    /// What inside an address range is being waited for or held.
    pub(crate) fn use_inside(&self, range: &Range<usize>) -> Option<String> {
        for thread in self.scheduler.threads() {
            if let State::Waiting(Wait { kind: WaitKind::Objects { objects, .. }, .. }) =
                &*thread.state.borrow()
                && objects.iter().any(|o| range.contains(o))
            {
                return Some(format!("{} waits for an object in it", thread.label()));
            }
        }
        if let Some(what) = self.obligations.inside(range) {
            return Some(format!("{what} in it is still set up"));
        }
        self.locks.use_inside(range)
    }
}

fn waits_for(thread: &Thread, object: usize) -> bool {
    matches!(&*thread.state.borrow(),
        State::Waiting(Wait { kind: WaitKind::Objects { objects, .. }, .. }) if objects.contains(&object))
}
