//! A gate: lets operations in to a value, and gives it to one who waits until they are out and keeps others waiting
//! meanwhile.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::Result;
use crate::pool::Tag;
use crate::sync::{CriticalRegion, Event};

/// Lets operations in to a value.
///
/// # Invariants
/// Those inside share the value. Who holds the gate has it alone: it is held by one at a time, nobody comes in while it is
/// held, and it is given out only when nobody is inside. Who has the turn is in a critical region: nobody suspends the
/// thread that the others wait for.
pub struct Gate<T> {
    /// [`FINAL`], [`HELD`], and [`ONE`] for each of those inside.
    state: AtomicU32,
    /// Signalled when the last one has gone out of a gate that is closed or held.
    empty: Event,
    /// A synchronization event, the turn to hold it: taken before [`HELD`] is set, given back after that is cleared. Who
    /// only waits until nobody holds it takes the turn and gives it back. So nobody waits for a change of the state without
    /// waiting for an event, which a thread of a higher priority would do for ever.
    turn: Event,
    value: UnsafeCell<T>,
}

// SAFETY: by the invariants it shares the value as a reader-writer lock does.
unsafe impl<T: Send> Send for Gate<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Gate<T> {}

/// Closed for good.
const FINAL: u32 = 1;
/// Somebody holds it, or waits until those inside are out.
const HELD: u32 = 2;
const ONE: u32 = 4;

impl<T> Gate<T> {
    /// An open gate. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag, value: T) -> Result<Self> {
        let (empty, turn) = (Event::new(tag)?, Event::synchronization(tag)?);
        turn.set();
        Ok(Gate { state: AtomicU32::new(0), empty, turn, value: UnsafeCell::new(value) })
    }

    /// Goes in; waits while it is held, and fails if it is closed for good. IRQL up to APC_LEVEL, and not by who is inside
    /// or holds it. Each success is followed by one [`Self::leave`].
    pub fn enter(&self) -> bool {
        let mut now = self.state.load(Ordering::Relaxed);
        loop {
            if now & FINAL != 0 {
                return false;
            }
            if now & HELD != 0 {
                self.pass_the_turn(None);
                now = self.state.load(Ordering::Acquire);
                continue;
            }
            let Some(next) = now.checked_add(ONE) else { return false };
            match self.state.compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => now = current,
            }
        }
    }

    /// Goes out. Any IRQL up to DISPATCH_LEVEL.
    pub fn leave(&self) {
        let before = self.state.fetch_sub(ONE, Ordering::AcqRel);
        if before < ONE.wrapping_mul(2) && before & (FINAL | HELD) != 0 {
            self.empty.set();
        }
    }

    /// Whether it is closed for good.
    pub fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & FINAL != 0
    }

    /// Closes it for good: nobody comes in any more. Any IRQL up to DISPATCH_LEVEL.
    pub fn close(&self) {
        self.state.fetch_or(FINAL, Ordering::AcqRel);
    }

    /// Waits until nobody else holds it and all are out, for these at most this long (forever if `None`), and holds it:
    /// who wants to come in waits until the answer is dropped. `None` if the time was over. PASSIVE_LEVEL, not by who is
    /// inside.
    pub fn hold(&self, milliseconds: Option<u32>) -> Option<Held<'_, T>> {
        let region = CriticalRegion::enter();
        self.turn.wait(None);
        self.state.fetch_or(HELD, Ordering::AcqRel);
        let held = Held { gate: self, _region: region };
        loop {
            // A signal of an earlier wait whose time was over may come late.
            self.empty.clear();
            if self.state.load(Ordering::Acquire) < ONE {
                return Some(held);
            }
            if !self.empty.wait(milliseconds) {
                return None;
            }
        }
    }

    /// Closes it for good and holds it, as [`Self::hold`]. May be repeated.
    pub fn close_and_hold(&self, milliseconds: Option<u32>) -> Option<Held<'_, T>> {
        self.close();
        self.hold(milliseconds)
    }

    /// Waits while somebody holds it, at most this long; false if the time was over. IRQL up to APC_LEVEL.
    pub fn wait_until_free(&self, milliseconds: u32) -> bool {
        self.pass_the_turn(Some(milliseconds))
    }

    /// Waits for the turn and gives it back.
    fn pass_the_turn(&self, milliseconds: Option<u32>) -> bool {
        let _region = CriticalRegion::enter();
        let free = self.turn.wait(milliseconds);
        if free {
            self.turn.set();
        }
        free
    }

    /// The value.
    ///
    /// # Safety
    /// By who is inside, as long as it is.
    pub(crate) unsafe fn inside(&self) -> &T {
        // SAFETY: whoever is inside shares it; the holder waits until they are out.
        unsafe { &*self.value.get() }
    }
}

/// A gate that is held: its value alone, until dropped.
pub struct Held<'a, T> {
    gate: &'a Gate<T>,
    /// Left after the turn is given back.
    _region: CriticalRegion,
}

impl<T> Held<'_, T> {
    /// Whether it stays closed when this is dropped.
    pub fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: held, and nobody inside.
        unsafe { &*self.gate.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: held, and nobody inside.
        unsafe { &mut *self.gate.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.gate.state.fetch_and(!HELD, Ordering::AcqRel);
        self.gate.turn.set();
    }
}
