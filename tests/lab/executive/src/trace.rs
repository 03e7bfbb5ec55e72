//! The rolling hash of a run: same seed and same inputs, same hash.

use std::cell::Cell;

use crate::random::{HASH_START, mix};

/// What happened so far, as one number. Only numbers that do not depend on addresses go in.
#[derive(Debug)]
pub struct Trace {
    hash: Cell<u64>,
    events: Cell<u64>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: Cell::new(HASH_START), events: Cell::new(0) }
    }
}

impl Trace {
    /// Adds an event; `kind` names it, `value` distinguishes it. Never pass an address.
    pub fn event(&self, kind: &str, value: u64) {
        let named = kind.bytes().fold(self.hash.get(), |h, b| mix(h, u64::from(b)));
        self.hash.set(mix(named, value));
        self.events.set(self.events.get() + 1);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// How many events went in.
    pub fn events(&self) -> u64 {
        self.events.get()
    }
}
