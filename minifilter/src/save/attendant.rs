//! A thread that looks after what changes without telling anybody.

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::Result;
use kernel::pool::{Shared, Tag};
use kernel::sync::Event;
use kernel::thread::{Body, SystemThread};

use crate::Intact;

/// What is looked after.
pub trait Attended: Send + Sync + 'static {
    /// Looks; how many milliseconds later to look again, `None`: when there is more. `woken`: there is more since the last
    /// look. PASSIVE_LEVEL, without locks.
    fn look(&self, intact: &Intact, woken: bool) -> Option<u32>;
}

struct Control<T> {
    wake: Event,
    stop: AtomicBool,
    /// The thread is not looking.
    at_rest: Event,
    attended: T,
}

/// The thread, and what it looks after. Dropped, it has ended.
pub struct Attendant<T: Attended> {
    control: Shared<Control<T>>,
    /// Dropped after `stop` was told.
    _thread: SystemThread,
}

impl<T: Attended> Attendant<T> {
    /// Starts it. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn start(tag: Tag, attended: T) -> Result<Self> {
        let (wake, at_rest) = (Event::new(tag)?, Event::new(tag)?);
        at_rest.set();
        let control = Shared::new(tag, Control { wake, stop: AtomicBool::new(false), at_rest, attended })?;
        let thread = SystemThread::start(tag, Attending { control: control.clone() })?;
        Ok(Attendant { control, _thread: thread })
    }

    /// What it looks after.
    pub fn attended(&self) -> &T {
        &self.control.attended
    }

    /// There is more to look after. Up to DISPATCH_LEVEL.
    pub fn wake(&self) {
        self.control.wake.set();
    }

    /// Waits until the thread has let go of what is no longer there to be looked after. PASSIVE_LEVEL, without locks.
    pub fn rest(&self) {
        self.control.at_rest.wait(None);
    }
}

impl<T: Attended> Drop for Attendant<T> {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.wake.set();
    }
}

struct Attending<T> {
    control: Shared<Control<T>>,
}

impl<T: Attended> Body for Attending<T> {
    fn run(self) {
        let mut next = None;
        loop {
            let woken = self.control.wake.wait(next);
            // What somebody adds from now on is told again; what was added before is looked at now.
            self.control.wake.clear();
            if self.control.stop.load(Ordering::Acquire) {
                return;
            }
            // Cleared before anything is looked at, so that whoever took it away before and waits then, waits for us.
            self.control.at_rest.clear();
            // Before the driver is loaded there is nothing to look after.
            next = Intact::get().and_then(|intact| self.control.attended.look(intact, woken));
            self.control.at_rest.set();
        }
    }
}
