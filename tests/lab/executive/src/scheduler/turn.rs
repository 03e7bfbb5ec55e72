//! One turn of the loop: injected work, due timers, then one thread, chosen by the seed.

use std::rc::Rc;

use corosensei::CoroutineResult;

use super::Scheduler;
use crate::pcr::Pcr;
use crate::thread::{State, Thread, WaitKind};
use crate::violation::Violation;
use crate::{Lab, fault, status};

/// What one turn of the loop did.
pub(super) enum Step {
    Ran,
    Idle,
}

impl Lab {
    pub(super) fn running<R>(
        &self,
        body: impl FnOnce() -> Result<R, Rc<Violation>>,
    ) -> Result<R, Rc<Violation>> {
        assert!(!self.in_thread(), "a lab thread must wait, not run the lab");
        struct Restore(usize);
        impl Drop for Restore {
            fn drop(&mut self) {
                Pcr::restore(self.0);
            }
        }
        fault::install();
        self.enter(|| {
            let _restore = Restore(self.pcr.activate());
            body()
        })
    }

    pub(super) fn step(&self) -> Result<Step, Rc<Violation>> {
        if let Some(violation) = self.violation() {
            return Err(violation);
        }
        while let Ok(job) = self.scheduler.injected.try_recv() {
            job(self);
        }
        self.fire_timers();
        let candidates = self.candidates();
        if candidates.is_empty() {
            return Ok(Step::Idle);
        }
        let thread = candidates[self.choose(&candidates)].clone();
        self.resume(&thread);
        match self.violation() {
            Some(violation) => Err(violation),
            None => Ok(Step::Ran),
        }
    }

    fn candidates(&self) -> Vec<Rc<Thread>> {
        let now = self.scheduler.now.get();
        let threads = self.scheduler.threads.borrow().clone();
        threads.into_iter().filter(|thread| self.can_run(thread, now)).collect()
    }

    fn can_run(&self, thread: &Thread, now: i64) -> bool {
        if thread.stands_still() {
            return false;
        }
        let condition = match &*thread.state.borrow() {
            State::Ready => return true,
            State::Running | State::Finished => return false,
            State::Waiting(wait) => {
                if wait.deadline.is_some_and(|at| at <= now) {
                    thread.wait_result.set(status::TIMEOUT);
                    return true;
                }
                match wait.kind {
                    WaitKind::Condition(condition) => condition,
                    WaitKind::Objects { .. } | WaitKind::Delay => return false,
                }
            }
        };
        // SAFETY: the thread is suspended inside `block_until`, whose frame owns the condition.
        unsafe { (*condition)() }
    }

    fn resume(&self, thread: &Rc<Thread>) {
        let Some(mut fiber) = self.scheduler.fibers.borrow_mut().remove(&thread.id) else {
            unreachable!("{} has no coroutine", thread.label());
        };
        *thread.state.borrow_mut() = State::Running;
        self.scheduler.switches.set(self.scheduler.switches.get() + 1);
        self.trace.event("switch", u64::from(thread.id));
        *self.scheduler.current.borrow_mut() = Some(thread.clone());
        self.pcr.set_thread(thread.ethread);
        let handler = fault::watch(&fiber);
        // A panic in lab code (a failed assertion of a test) passes through here; the lab stays usable for drop.
        struct Clear<'a>(&'a Scheduler);
        impl Drop for Clear<'_> {
            fn drop(&mut self) {
                self.0.current.borrow_mut().take();
            }
        }
        let clear = Clear(&self.scheduler);
        let result = fiber.resume(());
        let faulted = handler.finish();
        if let Some(fault) = faulted {
            self.report_fault(&fault);
        }
        drop(clear);
        if self.violation().is_some() {
            // Whoever reports may read what the thread at DISPATCH_LEVEL could not.
            self.pool.page_out(false);
            self.images.page_out(false);
        }
        match result {
            CoroutineResult::Yield(()) if thread.finished() => {
                // SAFETY: `end_thread` left this stack for good; nothing refers into it.
                unsafe { fiber.force_reset() };
                self.scheduler.stacks.borrow_mut().push(fiber.into_stack());
                self.thread_finished(thread);
            }
            CoroutineResult::Yield(()) => {
                self.scheduler.fibers.borrow_mut().insert(thread.id, fiber);
            }
            CoroutineResult::Return(()) => {
                self.scheduler.stacks.borrow_mut().push(fiber.into_stack());
                if self.violation().is_none() {
                    self.thread_finished(thread);
                }
            }
        }
    }

    fn thread_finished(&self, thread: &Rc<Thread>) {
        *thread.state.borrow_mut() = State::Finished;
        if thread.exit_status.get() == status::PENDING {
            thread.exit_status.set(status::SUCCESS);
        }
        self.scheduler.threads.borrow_mut().retain(|t| t.id != thread.id);
        self.trace.event("end", u64::from(thread.id));
        if let Some(owner) = thread.owner() {
            owner.remove_thread(thread);
            self.objects.dereference(self, owner.eprocess);
        }
        self.obligations.remove(thread.ethread.addr(), "a system thread");
        self.signal_object(thread.ethread, 1);
        self.objects.dereference(self, thread.ethread);
    }

    fn fire_timers(&self) {
        loop {
            let now = self.scheduler.now.get();
            let timer = {
                let mut timers = self.scheduler.timers.borrow_mut();
                let next = timers
                    .iter()
                    .enumerate()
                    .filter(|(_, t)| t.due <= now)
                    .min_by_key(|(_, t)| (t.due, t.id));
                match next.map(|(index, _)| index) {
                    Some(index) => timers.remove(index),
                    None => return,
                }
            };
            self.trace.event("timer", timer.id);
            (timer.fire)(self);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<i64> {
        let waits = self
            .scheduler
            .threads
            .borrow()
            .iter()
            // What a suspended thread waits for comes when it is resumed.
            .filter(|thread| !thread.stands_still())
            .filter_map(|thread| match &*thread.state.borrow() {
                State::Waiting(wait) => wait.deadline,
                _ => None,
            })
            .min();
        let timers = self.scheduler.timers.borrow().iter().map(|t| t.due).min();
        waits.into_iter().chain(timers).min()
    }
}
