//! Kernel timers (KTIMER): which are set.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// Which kernel timers are set: each setting has a number of its own, so that a late firing of an old one shows.
#[derive(Default)]
pub struct Timers {
    set: RefCell<BTreeMap<usize, u64>>,
    next: Cell<u64>,
}

impl Timers {
    pub(crate) fn start(&self, timer: usize) -> u64 {
        let generation = self.next.get() + 1;
        self.next.set(generation);
        self.set.borrow_mut().insert(timer, generation);
        generation
    }

    pub(crate) fn stop(&self, timer: usize) {
        self.set.borrow_mut().remove(&timer);
    }

    /// Forgets timers in memory that goes away: they never fire.
    pub(crate) fn forget(&self, range: &std::ops::Range<usize>) {
        self.set.borrow_mut().retain(|timer, _| !range.contains(timer));
    }

    pub(crate) fn generation(&self, timer: usize) -> Option<u64> {
        self.set.borrow().get(&timer).copied()
    }
}
