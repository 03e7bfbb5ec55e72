//! What time does to saves, in a thread of its own: it costs their operations nothing.

use core::sync::atomic::{AtomicBool, Ordering};

use kernel::Result;
use kernel::pool::{Shared, Tag};
use kernel::sync::Event;
use kernel::thread::{Body, SystemThread};

use super::limits::Limits;
use super::settling::Settling;
use crate::Intact;

const TAG: Tag = Tag::new(b"InCk");

struct Control {
    wake: Event,
    stop: AtomicBool,
    /// The thread uses nothing of any volume.
    at_rest: Event,
    settling: Settling,
    limits: Limits,
}

impl Control {
    fn look(&self, intact: &Intact) -> Option<u32> {
        let (one, other) = (self.settling.look(intact), self.limits.look(intact));
        one.into_iter().chain(other).min()
    }
}

/// The thread, and the saves that it looks after. Dropped, it has ended.
pub struct Clock {
    control: Shared<Control>,
    /// Dropped after `stop` was told.
    _thread: SystemThread,
}

impl Clock {
    /// Starts it. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn start() -> Result<Self> {
        let control = Control {
            wake: Event::new(TAG)?,
            stop: AtomicBool::new(false),
            at_rest: Event::new(TAG)?,
            settling: Settling::new(),
            limits: Limits::new(),
        };
        control.at_rest.set();
        let control = Shared::new(TAG, control)?;
        let thread = SystemThread::start(TAG, Ticking { control: control.clone() })?;
        Ok(Clock { control, _thread: thread })
    }

    /// Saves that wait for more.
    pub fn settling(&self) -> &Settling {
        &self.control.settling
    }

    /// Saves with limits of time.
    pub fn limits(&self) -> &Limits {
        &self.control.limits
    }

    /// Waits until the thread has let go of what is no longer there to be looked after. PASSIVE_LEVEL, without locks.
    pub fn rest(&self) {
        self.control.at_rest.wait(None);
    }

    /// There is more to look after. Up to DISPATCH_LEVEL.
    pub fn wake(&self) {
        self.control.wake.set();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.wake.set();
    }
}

struct Ticking {
    control: Shared<Control>,
}

impl Body for Ticking {
    fn run(self) {
        let mut next = None;
        loop {
            if self.control.wake.wait(next) {
                self.control.wake.clear();
            }
            if self.control.stop.load(Ordering::Acquire) {
                return;
            }
            // Before the driver is loaded there is nothing to look after.
            // Cleared before anything is looked at, so that whoever took it away before and waits then, waits for us.
            self.control.at_rest.clear();
            next = Intact::get().and_then(|intact| self.control.look(intact));
            self.control.at_rest.set();
        }
    }
}
