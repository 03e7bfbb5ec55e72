//! Lab threads: what the kernel keeps of a thread, and what the verifier watches of it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::import::Import;
use crate::irql::{Irql, PASSIVE_LEVEL};
use crate::process::Process;

/// Why a thread does not run.
pub(crate) enum State {
    Ready,
    Running,
    Waiting(Wait),
    Finished,
}

/// A wait in progress.
pub(crate) struct Wait {
    /// For the deadlock report.
    pub(crate) what: Cow<'static, str>,
    /// System time at which the wait gives up.
    pub(crate) deadline: Option<i64>,
    pub(crate) kind: WaitKind,
}

pub(crate) enum WaitKind {
    /// Dispatcher objects, by address.
    Objects { objects: Vec<usize>, all: bool },
    /// A condition on the waiting thread's stack; polled by the scheduler, valid while the thread is suspended.
    Condition(*const dyn Fn() -> bool),
    /// Only the deadline ends it.
    Delay,
}

/// One stretch of driver code on a thread's stack: from a call into the driver to an import that it called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// Stack pointer when the lab called the driver.
    pub(crate) entry: usize,
    /// Stack that the segments below have used, nominal kernel frames included.
    pub(crate) used_before: usize,
    /// Call-site hash of the import that led here.
    pub(crate) site_before: u64,
    /// Stack and frame pointer at the import that is running now, 0 while driver code runs.
    pub(crate) import_rsp: usize,
    pub(crate) import_rbp: usize,
    /// The budget that holds in this segment (a callout gets a fresh one).
    pub(crate) budget: usize,
    /// Where driver code faulted; the stack and frame pointer above are then those of the fault.
    pub(crate) fault_rip: Option<usize>,
}

/// A lab thread: a coroutine, and the ETHREAD that stands for it.
pub struct Thread {
    /// The client id, a multiple of 4 as on Windows.
    pub id: u32,
    /// For reports.
    pub name: String,
    /// Address of the ETHREAD body.
    pub ethread: *mut u8,
    /// The thread's level.
    pub irql: Cell<Irql>,
    /// Depth of critical regions: normal kernel APCs are off while it is not 0.
    pub critical_regions: Cell<i32>,
    /// Depth of guarded regions: all APCs are off while it is not 0.
    pub guarded_regions: Cell<i32>,
    /// How often it has been suspended and not resumed.
    pub(crate) suspensions: Cell<u32>,
    /// Set when the thread is being torn down.
    pub terminating: Cell<bool>,
    /// Valid once the thread has finished.
    pub exit_status: Cell<i32>,
    /// A thread that may wait for ever: a worker without work is no deadlock.
    pub server: Cell<bool>,
    /// The top-level IRP component, for IoGetTopLevelIrp and IoSetTopLevelIrp.
    pub top_level_irp: Cell<usize>,
    pub(crate) owner: RefCell<Option<Rc<Process>>>,
    pub(crate) attached: RefCell<Vec<Rc<Process>>>,
    pub(crate) state: RefCell<State>,
    pub(crate) wait_result: Cell<i32>,
    pub(crate) import: Cell<Option<&'static Import>>,
    pub(crate) caller: Cell<Option<usize>>,
    pub(crate) segments: RefCell<Vec<Segment>>,
    pub(crate) yielder: Cell<*const corosensei::Yielder<(), ()>>,
}

impl Thread {
    pub(crate) fn new(id: u32, name: String, ethread: *mut u8, owner: Option<Rc<Process>>) -> Self {
        Self {
            id,
            name,
            ethread,
            irql: Cell::new(PASSIVE_LEVEL),
            critical_regions: Cell::new(0),
            guarded_regions: Cell::new(0),
            suspensions: Cell::new(0),
            terminating: Cell::new(false),
            exit_status: Cell::new(crate::status::PENDING),
            server: Cell::new(false),
            top_level_irp: Cell::new(0),
            owner: RefCell::new(owner),
            attached: RefCell::new(Vec::new()),
            state: RefCell::new(State::Ready),
            wait_result: Cell::new(0),
            import: Cell::new(None),
            caller: Cell::new(None),
            segments: RefCell::new(Vec::new()),
            yielder: Cell::new(std::ptr::null()),
        }
    }

    /// The process that the thread runs in: the one it is attached to, or its own.
    pub fn process(&self) -> Option<Rc<Process>> {
        self.attached.borrow().last().cloned().or_else(|| self.owner.borrow().clone())
    }

    /// The process that the thread was made in.
    pub fn owner(&self) -> Option<Rc<Process>> {
        self.owner.borrow().clone()
    }

    /// The name and id, for reports.
    pub fn label(&self) -> String {
        format!("thread {:#x} \"{}\"", self.id, self.name)
    }

    /// What it waits for, as a report of a deadlock would say; `None` if it does not wait.
    pub fn waits_for(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Waiting(wait) => Some(wait.what.to_string()),
            _ => None,
        }
    }

    /// Whether the thread has run to its end.
    pub fn finished(&self) -> bool {
        matches!(*self.state.borrow(), State::Finished)
    }

    /// Whether normal kernel APCs are off: in a critical or guarded region, or at `APC_LEVEL` or above.
    pub fn normal_apcs_off(&self) -> bool {
        self.critical_regions.get() != 0 || self.all_apcs_off()
    }

    /// Whether a suspension holds it: the APC that does so is a normal kernel APC, and waits while those are off.
    pub(crate) fn stands_still(&self) -> bool {
        self.suspensions.get() != 0 && !self.normal_apcs_off()
    }

    /// Whether all APCs are off.
    pub fn all_apcs_off(&self) -> bool {
        self.guarded_regions.get() != 0 || self.irql.get() > PASSIVE_LEVEL
    }
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label())
    }
}
