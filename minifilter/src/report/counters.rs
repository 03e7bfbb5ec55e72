//! Counters. They are statics, so that the first question of every operation costs one load.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static NUMBERS: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);
static COMMITTED: AtomicU64 = AtomicU64::new(0);
static ROLLED_BACK: AtomicU64 = AtomicU64::new(0);
static COMMIT_FAILED: AtomicU64 = AtomicU64::new(0);
static PASSED_THROUGH: AtomicU64 = AtomicU64::new(0);
static CHECKPOINTED: AtomicU64 = AtomicU64::new(0);
static DEMOTED: AtomicU64 = AtomicU64::new(0);
/// Saves whose twins are being exchanged, and saves that wait for more.
static IN_THE_WAY: AtomicU32 = AtomicU32::new(0);
/// Saves that wait for more.
static SETTLING: AtomicU32 = AtomicU32::new(0);
static DENIED: AtomicU64 = AtomicU64::new(0);
/// Handles with a redirect, readers too.
static REDIRECTED: AtomicU32 = AtomicU32::new(0);
/// Saves in which names have changed.
static RENAMED: AtomicU32 = AtomicU32::new(0);
/// Writing handles with a redirect, and creates on the way to become one; or [`CLOSED`].
static WRITERS: AtomicU32 = AtomicU32::new(0);
/// Nobody may enter.
const CLOSED: u32 = u32::MAX;

/// The sums.
#[derive(Clone, Copy)]
pub struct Totals {
    /// Saves that began.
    pub begun: u64,
    /// Of these, committed.
    pub committed: u64,
    /// Of these, rolled back as decided.
    pub rolled_back: u64,
    /// Of these, rolled back because the commit failed.
    pub commit_failed: u64,
    /// Opens that the policy matched and that went on without a transaction.
    pub passed_through: u64,
    /// Times that a flush made a part of a save durable.
    pub checkpointed: u64,
    /// Saves that were committed with their handles open, which went on without a transaction. They count as
    /// committed.
    pub demoted: u64,
    /// Opens that the policy matched and that were denied for want of a transaction.
    pub denied: u64,
}

impl Totals {
    /// Saves that live.
    pub fn live(&self) -> u64 {
        let ended = self.committed.saturating_add(self.rolled_back).saturating_add(self.commit_failed);
        self.begun.saturating_sub(ended)
    }
}

/// The sums.
pub fn totals() -> Totals {
    // What ended is read first: more may begin and end meanwhile, but no save ends that did not begin.
    let committed = COMMITTED.load(Ordering::Acquire);
    let rolled_back = ROLLED_BACK.load(Ordering::Acquire);
    let commit_failed = COMMIT_FAILED.load(Ordering::Acquire);
    let passed_through = PASSED_THROUGH.load(Ordering::Acquire);
    Totals {
        begun: BEGUN.load(Ordering::Acquire),
        committed,
        rolled_back,
        commit_failed,
        passed_through,
        checkpointed: CHECKPOINTED.load(Ordering::Acquire),
        demoted: DEMOTED.load(Ordering::Acquire),
        denied: DENIED.load(Ordering::Acquire),
    }
}

/// What comes and goes. All are zero when nothing is open.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Handles that are redirected.
    pub redirected: u32,
    /// Saves in which names have changed.
    pub renamed: u32,
    /// Saves that wait for more.
    pub settling: u32,
    /// Those, and saves whose twins are being exchanged.
    pub in_the_way: u32,
}

/// What is there of what comes and goes.
pub fn left() -> Left {
    Left {
        redirected: REDIRECTED.load(Ordering::SeqCst),
        renamed: RENAMED.load(Ordering::SeqCst),
        settling: SETTLING.load(Ordering::SeqCst),
        in_the_way: IN_THE_WAY.load(Ordering::SeqCst),
    }
}

/// A number for a save.
pub fn next_number() -> u64 {
    NUMBERS.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// A save began.
pub fn begun() {
    BEGUN.fetch_add(1, Ordering::AcqRel);
}

/// A save was committed.
pub fn committed() {
    COMMITTED.fetch_add(1, Ordering::AcqRel);
}

/// A save was rolled back.
pub fn rolled_back() {
    ROLLED_BACK.fetch_add(1, Ordering::AcqRel);
}

/// A commit failed.
pub fn commit_failed() {
    COMMIT_FAILED.fetch_add(1, Ordering::AcqRel);
}

/// An open passed through.
pub fn passed_through() {
    PASSED_THROUGH.fetch_add(1, Ordering::AcqRel);
}

/// A flush made a part of a save durable.
pub fn checkpointed() {
    CHECKPOINTED.fetch_add(1, Ordering::AcqRel);
}

/// A save was committed with its handles open.
pub fn demoted() {
    DEMOTED.fetch_add(1, Ordering::AcqRel);
}

/// Twins are about to be exchanged.
pub fn exchange_begins() {
    IN_THE_WAY.fetch_add(1, Ordering::SeqCst);
}

/// They have been.
pub fn exchange_ends() {
    IN_THE_WAY.fetch_sub(1, Ordering::SeqCst);
}

/// Whether a create may have to wait: twins are being exchanged, or a save waits for more.
#[inline]
pub fn any_in_the_way() -> bool {
    IN_THE_WAY.load(Ordering::Relaxed) != 0
}

/// Whether any save waits for more.
#[inline]
pub fn any_settling() -> bool {
    SETTLING.load(Ordering::Relaxed) != 0
}

/// A save waits for more.
pub fn settles() {
    SETTLING.fetch_add(1, Ordering::SeqCst);
    IN_THE_WAY.fetch_add(1, Ordering::SeqCst);
}

/// It waits no longer.
pub fn settles_no_more() {
    IN_THE_WAY.fetch_sub(1, Ordering::SeqCst);
    SETTLING.fetch_sub(1, Ordering::SeqCst);
}

/// An open was denied.
pub fn denied() {
    DENIED.fetch_add(1, Ordering::AcqRel);
}

/// Whether any handle is redirected.
#[inline]
pub fn any_redirected() -> bool {
    REDIRECTED.load(Ordering::Relaxed) != 0
}

/// Whether none is: nearly every operation of a system has nothing to do with a save. Any IRQL.
#[inline]
pub fn none_redirected() -> bool {
    !any_redirected()
}

/// A handle is redirected. Before its context is set, so that no operation on it misses it.
pub fn redirected() {
    REDIRECTED.fetch_add(1, Ordering::SeqCst);
}

/// A handle is redirected no more.
pub fn not_redirected() {
    REDIRECTED.fetch_sub(1, Ordering::SeqCst);
}

/// Whether names have changed in any save.
#[inline]
pub fn any_renamed() -> bool {
    RENAMED.load(Ordering::Relaxed) != 0
}

/// Names change in a save.
pub fn renamed() {
    RENAMED.fetch_add(1, Ordering::SeqCst);
}

/// A save in which names have changed is forgotten.
pub fn not_renamed() {
    RENAMED.fetch_sub(1, Ordering::SeqCst);
}

/// A create may become a writing redirect, unless the driver is being unloaded.
pub fn enter() -> bool {
    let mut now = WRITERS.load(Ordering::Relaxed);
    loop {
        if now == CLOSED {
            return false;
        }
        let next = now.saturating_add(1);
        match WRITERS.compare_exchange_weak(now, next, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(current) => now = current,
        }
    }
}

/// What [`enter`] let in is over.
pub fn leave() {
    WRITERS.fetch_sub(1, Ordering::SeqCst);
}

/// Lets nobody in any more, if nobody is inside. In one step: an unload that is refused must disturb no create.
pub fn close_door() -> bool {
    WRITERS.compare_exchange(0, CLOSED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

/// The driver goes; its statics may be used again by another load.
pub fn reset() {
    WRITERS.store(0, Ordering::SeqCst);
}
