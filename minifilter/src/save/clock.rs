//! What time does to saves, in a thread of its own: it costs their operations nothing. What else they need of a thread it does
//! on the way.

use kernel::Result;
use kernel::pool::Tag;

use super::attendant::{Attendant, Attended};
use super::below::Volumes;
use super::limits::Limits;
use super::settling::Settling;
use crate::Intact;

struct Timed {
    below: Volumes,
    settling: Settling,
    limits: Limits,
}

impl Attended for Timed {
    fn look(&self, intact: &Intact, _: bool) -> Option<u32> {
        self.below.look(intact);
        let (one, other) = (self.settling.look(intact), self.limits.look(intact));
        one.into_iter().chain(other).min()
    }
}

/// The thread, and the saves that it looks after. Dropped, it has ended.
pub struct Clock(Attendant<Timed>);

impl Clock {
    /// Starts it. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn start() -> Result<Self> {
        let timed = Timed { below: Volumes::new(), settling: Settling::new(), limits: Limits::new() };
        Ok(Clock(Attendant::start(Tag::new(b"InCk"), timed)?))
    }

    /// Volumes with saves that no lower instance sees yet.
    pub fn below(&self) -> &Volumes {
        &self.0.attended().below
    }

    /// Saves that wait for more.
    pub fn settling(&self) -> &Settling {
        &self.0.attended().settling
    }

    /// Live saves.
    pub fn limits(&self) -> &Limits {
        &self.0.attended().limits
    }

    /// Waits until the thread has let go of what is no longer there to be looked after. PASSIVE_LEVEL, without locks.
    pub fn rest(&self) {
        self.0.rest();
    }

    /// There is more to look after. Up to DISPATCH_LEVEL.
    pub fn wake(&self) {
        self.0.wake();
    }
}
