//! The seeded scheduler: lab threads are coroutines on one OS thread, and a seed decides every switch.
//!
//! A thread runs until it waits, yields, ends, or is pre-empted at the end of an import. Time is virtual: it
//! stands still while anything can run, and jumps to the next deadline when nothing can.
//!
//! This page: making threads, running a lab, waiting. `turn` takes one turn of the loop.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use corosensei::Coroutine;
use corosensei::stack::DefaultStack;

use crate::Lab;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::process::Process;
use crate::status;
use crate::thread::{State, Thread, Wait, WaitKind};
use crate::violation::Violation;

mod strategy;
mod turn;

use strategy::Choices;
pub use strategy::Strategy;
use turn::Step;

/// Room for the lab's own frames besides the driver's; the driver's budget is counted apart ([`crate::stack`]).
const STACK: usize = 1 << 20;
/// The longest that a thread is held back by chance, in 100 ns: longer than a tick of the clock.
const LONGEST_DELAY: usize = 150_000;

/// 100 ns units in a millisecond.
pub const MILLISECOND: i64 = 10_000;

/// How much time may pass while something is waited for.
pub const LONGEST_RUN: i64 = 3_600_000 * MILLISECOND;

pub(crate) type Fiber = Coroutine<(), (), (), DefaultStack>;
type Job = Box<dyn FnOnce(&Lab) + Send>;

/// Threads, waits and time of one lab.
pub struct Scheduler {
    threads: RefCell<Vec<Rc<Thread>>>,
    fibers: RefCell<BTreeMap<u32, Fiber>>,
    stacks: RefCell<Vec<DefaultStack>>,
    current: RefCell<Option<Rc<Thread>>>,
    next_id: Cell<u32>,
    now: Cell<i64>,
    boot: i64,
    pub(crate) timers: RefCell<Vec<Timer>>,
    injected: Receiver<Job>,
    injector: Sender<Job>,
    switches: Cell<u64>,
    choices: RefCell<Choices>,
}

/// A deadline with something to do.
pub(crate) struct Timer {
    pub(crate) id: u64,
    pub(crate) due: i64,
    pub(crate) fire: Box<dyn FnOnce(&Lab)>,
}

/// Brings work into a lab from another OS thread, e.g. the reader of a mount.
#[derive(Clone)]
pub struct Injector(Sender<Job>);

impl Injector {
    /// Queues `job`; the lab's run loop runs it between two steps. It may spawn threads, but must not wait.
    /// Returns false if the lab is gone.
    pub fn inject(&self, job: impl FnOnce(&Lab) + Send + 'static) -> bool {
        self.0.send(Box::new(job)).is_ok()
    }
}

impl Scheduler {
    pub(crate) fn new(boot: i64) -> Self {
        let (injector, injected) = channel();
        Self {
            threads: RefCell::default(),
            fibers: RefCell::default(),
            stacks: RefCell::default(),
            current: RefCell::default(),
            next_id: Cell::new(4),
            now: Cell::new(boot),
            boot,
            timers: RefCell::default(),
            injected,
            injector,
            switches: Cell::new(0),
            choices: RefCell::default(),
        }
    }

    /// System time, in 100 ns since 1601.
    pub fn now(&self) -> i64 {
        self.now.get()
    }

    /// Time since boot, in 100 ns.
    pub fn interrupt_time(&self) -> i64 {
        self.now.get() - self.boot
    }

    /// How many times a thread was resumed.
    pub fn switches(&self) -> u64 {
        self.switches.get()
    }

    /// For each time that several threads could run: how many.
    pub fn choices(&self) -> Vec<usize> {
        self.choices.borrow().made.clone()
    }

    /// Hands out process and thread ids: one sequence of multiples of 4, as on Windows.
    pub(crate) fn next_id(&self) -> u32 {
        let id = self.next_id.get();
        self.next_id.set(id + 4);
        id
    }

    /// The threads that have not finished, in order of their making.
    pub fn threads(&self) -> Vec<Rc<Thread>> {
        self.threads.borrow().clone()
    }

    pub(crate) fn forget_fibers(&self) {
        for (_, mut fiber) in std::mem::take(&mut *self.fibers.borrow_mut()) {
            if fiber.started() && !fiber.done() {
                // SAFETY: nothing resumes this coroutine afterwards, and no reference into its stack is used
                // again: the lab is going away. Unwinding instead would run through driver frames.
                unsafe { fiber.force_reset() };
            }
        }
    }
}

impl Lab {
    /// Starts a thread of `process` that runs `body`.
    pub fn spawn(
        &self,
        process: &Rc<Process>,
        name: impl Into<String>,
        body: impl FnOnce(&Lab) + 'static,
    ) -> Rc<Thread> {
        let id = self.scheduler.next_id();
        let ethread = self.objects.create_thread_body(self);
        let thread = Rc::new(Thread::new(id, name.into(), ethread, Some(process.clone())));
        self.objects.set_payload(ethread, thread.clone());
        self.objects.reference(self, process.eprocess);
        process.add_thread(&thread);
        let stack = self.scheduler.stacks.borrow_mut().pop().unwrap_or_else(new_stack);
        let own = thread.clone();
        let fiber = Fiber::with_stack(stack, move |yielder, ()| {
            own.yielder.set(yielder);
            crate::with_lab(|lab| {
                body(lab);
                lab.end_watches_of_thread(own.id);
                lab.check_thread_end(&own);
            });
        });
        self.scheduler.fibers.borrow_mut().insert(id, fiber);
        self.scheduler.threads.borrow_mut().push(thread.clone());
        self.trace.event("spawn", u64::from(id));
        thread
    }

    /// The running lab thread.
    ///
    /// # Panics
    /// Outside lab threads.
    pub fn thread(&self) -> Rc<Thread> {
        match self.try_thread() {
            Some(thread) => thread,
            None => panic!("no lab thread runs; call this from a thread that Lab::spawn made"),
        }
    }

    /// The running lab thread, if one runs.
    pub fn try_thread(&self) -> Option<Rc<Thread>> {
        self.scheduler.current.borrow().clone()
    }

    pub(crate) fn in_thread(&self) -> bool {
        self.scheduler.current.borrow().is_some()
    }

    /// A handle through which other OS threads bring work in.
    pub fn injector(&self) -> Injector {
        Injector(self.scheduler.injector.clone())
    }

    /// Runs until `done` holds, moving time forward as needed.
    ///
    /// # Errors
    /// The violation that stopped the lab; rule `deadlock` if nothing can ever run again before `done` holds, or it has not come
    /// to hold in [an hour](LONGEST_RUN): a timer that comes again and again keeps nobody's wait from being one for ever.
    pub fn run_until(&self, mut done: impl FnMut(&Lab) -> bool) -> Result<(), Rc<Violation>> {
        let end = self.scheduler.now.get() + LONGEST_RUN;
        self.running(|| {
            loop {
                if done(self) {
                    return Ok(());
                }
                if let Step::Idle = self.step()? {
                    let Some(due) = self.next_deadline() else {
                        self.report_deadlock("the run waits for a condition that can no longer come true");
                        continue;
                    };
                    if due > end {
                        self.report_deadlock(
                            "the run waits for a condition that has not come true in an hour",
                        );
                        continue;
                    }
                    self.scheduler.now.set(due.max(self.scheduler.now.get()));
                }
            }
        })
    }

    /// Runs `body` as a thread of the system process until it ends; returns what it returned.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn run<R: 'static>(&self, body: impl FnOnce(&Lab) -> R + 'static) -> Result<R, Rc<Violation>> {
        let result = Rc::new(RefCell::new(None));
        let slot = result.clone();
        let system = self.processes.system();
        self.spawn(&system, "main", move |lab| {
            let value = body(lab);
            *slot.borrow_mut() = Some(value);
        });
        self.run_until(|_| result.borrow().is_some())?;
        match result.take() {
            Some(value) => Ok(value),
            None => unreachable!("run_until returned because the value is there"),
        }
    }

    /// Runs everything that can run now; time stands still.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn run_until_idle(&self) -> Result<(), Rc<Violation>> {
        self.running(|| {
            while let Step::Ran = self.step()? {}
            Ok(())
        })
    }

    /// As [`Self::run_until_idle`], but no longer than until `done` holds. Returns whether it does: if not, everybody waits
    /// for something.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn run_until_idle_or(&self, mut done: impl FnMut(&Lab) -> bool) -> Result<bool, Rc<Violation>> {
        self.running(|| {
            while !done(self) {
                if let Step::Idle = self.step()? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Lets `time` (100 ns) pass, running what becomes due.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn advance(&self, time: i64) -> Result<(), Rc<Violation>> {
        let end = self.scheduler.now.get() + time;
        loop {
            self.run_until_idle()?;
            match self.next_deadline() {
                Some(due) if due <= end => self.scheduler.now.set(due.max(self.scheduler.now.get())),
                _ => break,
            }
        }
        self.scheduler.now.set(end);
        self.run_until_idle()
    }

    /// Serves injected work until `done` holds. While nothing can run, time follows the host's clock.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn serve(&self, mut done: impl FnMut(&Lab) -> bool) -> Result<(), Rc<Violation>> {
        self.running(|| {
            loop {
                if done(self) {
                    return Ok(());
                }
                if let Step::Ran = self.step()? {
                    continue;
                }
                // An upper bound, so that `done` is asked now and then even if nothing comes.
                let patience = self.next_deadline().map_or(50 * MILLISECOND, |due| {
                    (due - self.scheduler.now.get()).clamp(0, 50 * MILLISECOND)
                });
                let asleep = Instant::now();
                let wait = Duration::from_nanos(patience.unsigned_abs() * 100);
                let received = self.scheduler.injected.recv_timeout(wait);
                let passed = i64::try_from(asleep.elapsed().as_nanos() / 100).unwrap_or(i64::MAX);
                self.scheduler.now.set(self.scheduler.now.get() + passed.max(i64::from(patience == 0)));
                match received {
                    Ok(job) => job(self),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
        })
    }

    /// Suspends the calling thread until `ready` holds or `deadline` (system time) passes. Returns whether
    /// `ready` held.
    ///
    /// `ready` is asked by the scheduler, outside the thread, and must not wait. Between its answer and the
    /// thread's next instruction no other thread runs.
    pub fn block_until(
        &self,
        what: impl Into<Cow<'static, str>>,
        deadline: Option<i64>,
        ready: impl Fn() -> bool,
    ) -> bool {
        let what = what.into();
        loop {
            if ready() {
                return true;
            }
            if deadline.is_some_and(|at| at <= self.scheduler.now.get()) {
                return false;
            }
            let condition: &dyn Fn() -> bool = &ready;
            // SAFETY: only the lifetime changes. The scheduler asks the condition only while this thread is in
            // `State::Waiting`, that is while this frame, which owns `ready`, is suspended.
            let condition: *const dyn Fn() -> bool =
                unsafe { std::mem::transmute::<&dyn Fn() -> bool, &'static dyn Fn() -> bool>(condition) };
            self.wait(Wait { what: what.clone(), deadline, kind: WaitKind::Condition(condition) });
        }
    }

    /// Suspends the calling thread for `time` (100 ns).
    pub fn delay(&self, time: i64) {
        let deadline = self.scheduler.now.get() + time.max(0);
        self.wait(Wait { what: "a delay".into(), deadline: Some(deadline), kind: WaitKind::Delay });
    }

    /// Lets another thread run, if the seed says so.
    pub fn yield_now(&self) {
        let thread = self.thread();
        self.check_may_switch(&thread, "yield");
        *thread.state.borrow_mut() = State::Ready;
        self.suspend(&thread);
    }

    /// A point at which another thread may run, and this one may be held back: no-op at `DISPATCH_LEVEL` and by the seed's
    /// choice.
    pub fn preemption_point(&self) {
        let Some(thread) = self.try_thread() else { return };
        if thread.irql.get() >= DISPATCH_LEVEL {
            return;
        }
        if self.random.chance(self.config.delay_per_mille) {
            self.delay(1 + self.random.below(LONGEST_DELAY) as i64);
        }
        if self.may_preempt() {
            *thread.state.borrow_mut() = State::Ready;
            self.suspend(&thread);
            self.check_spinning();
        }
    }

    /// Suspends a thread, as NtSuspendThread does: it goes on until normal kernel APCs reach it, so not inside a critical or
    /// guarded region, nor in the file system, which enters one (ntifs/FsRtlEnterFileSystem). May be repeated.
    pub fn suspend_thread(&self, thread: &Thread) {
        thread.suspensions.set(thread.suspensions.get() + 1);
        self.trace.event("suspend", u64::from(thread.id));
    }

    /// Takes one suspension back, as NtResumeThread does.
    pub fn resume_thread(&self, thread: &Thread) {
        thread.suspensions.set(thread.suspensions.get().saturating_sub(1));
        self.trace.event("resume", u64::from(thread.id));
        if !thread.stands_still() {
            self.wait_again(thread);
        }
    }

    /// A thread is to end: one that is suspended is resumed for that (KeForceResumeThread).
    pub(crate) fn terminate_thread(&self, thread: &Thread) {
        thread.terminating.set(true);
        if thread.suspensions.replace(0) != 0 {
            self.wait_again(thread);
        }
    }

    /// Runs `fire` on the scheduler's stack at system time `due`. It must not wait.
    pub fn at(&self, due: i64, fire: impl FnOnce(&Lab) + 'static) -> u64 {
        let mut timers = self.scheduler.timers.borrow_mut();
        let id = timers.iter().map(|t| t.id).max().unwrap_or(0) + 1;
        timers.push(Timer { id, due, fire: Box::new(fire) });
        id
    }

    /// Suspends the calling thread in `wait`; its result is in `wait_result`.
    pub(crate) fn wait(&self, wait: Wait) {
        let thread = self.thread();
        self.check_may_switch(&thread, &wait.what);
        thread.wait_result.set(status::SUCCESS);
        *thread.state.borrow_mut() = State::Waiting(wait);
        self.suspend(&thread);
    }

    fn check_may_switch(&self, thread: &Thread, what: &str) {
        if thread.irql.get() >= DISPATCH_LEVEL {
            self.report(
                "wait-at-dispatch",
                "wdm/KeWaitForSingleObject: a wait needs IRQL <= APC_LEVEL",
                format!("waits for {what} at {}", irql::name(thread.irql.get())),
            );
        }
    }

    fn suspend(&self, thread: &Thread) {
        let yielder = thread.yielder.get();
        assert!(!yielder.is_null(), "only a started thread can be suspended");
        // SAFETY: the yielder lives at the base of this coroutine's stack, on which we are running.
        unsafe { (*yielder).suspend(()) };
    }

    /// Leaves the calling thread for ever; its stack is not unwound.
    pub(crate) fn abandon(&self) -> ! {
        let thread = self.thread();
        loop {
            self.suspend(&thread);
        }
    }

    /// Ends the calling thread where it stands, as PsTerminateSystemThread does: frames below are not unwound.
    pub(crate) fn end_thread(&self) -> ! {
        let thread = self.thread();
        thread.import.set(None);
        self.end_watches_of_thread(thread.id);
        self.check_thread_end(&thread);
        *thread.state.borrow_mut() = State::Finished;
        self.abandon()
    }

    /// Records rule `deadlock` with who waits for what.
    pub fn report_deadlock(&self, why: &str) {
        let mut what = format!("nothing can run: {why}");
        for thread in self.scheduler.threads.borrow().iter() {
            if let State::Waiting(wait) = &*thread.state.borrow()
                && !thread.server.get()
            {
                let still = if thread.stands_still() { ", and is suspended" } else { "" };
                what.push_str(&format!("\n  {} waits for {}{still}", thread.label(), wait.what));
            }
        }
        self.record_violation("deadlock", "lab: every wait must be able to end", what);
    }
}

fn new_stack() -> DefaultStack {
    match DefaultStack::new(STACK) {
        Ok(stack) => stack,
        Err(error) => panic!("the host has no room for a thread's stack: {error}"),
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.scheduler.forget_fibers();
    }
}
