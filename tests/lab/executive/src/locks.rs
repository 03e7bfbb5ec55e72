//! What the verifier knows of locks: who holds which, and in which order they are taken.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::Lab;
use crate::thread::Thread;

/// A kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// KSPIN_LOCK, also in-stack queued.
    Spin,
    /// FAST_MUTEX.
    FastMutex,
    /// KGUARDED_MUTEX.
    GuardedMutex,
    /// EX_PUSH_LOCK.
    Push,
    /// ERESOURCE.
    Resource,
    /// KMUTEX.
    Mutex,
}

/// A lock that a thread holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its address.
    pub address: usize,
    /// Its kind.
    pub kind: LockKind,
    /// Whether it is held exclusively.
    pub exclusive: bool,
    /// The holder.
    pub thread: u32,
    /// The holder's level before it took the lock.
    pub former_irql: u8,
    /// How often the holder holds it.
    pub depth: u32,
}

/// The locks of one lab.
#[derive(Default)]
pub struct Locks {
    held: RefCell<Vec<Held>>,
    order: RefCell<BTreeMap<usize, BTreeSet<usize>>>,
    classes: RefCell<BTreeSet<(String, String)>>,
    mutants: RefCell<BTreeMap<usize, u32>>,
}

impl Locks {
    /// The locks that a thread holds, in the order of taking.
    pub fn held_by(&self, thread: u32) -> Vec<Held> {
        self.held.borrow().iter().filter(|h| h.thread == thread).cloned().collect()
    }

    /// The holders of a lock.
    pub fn holders(&self, address: usize) -> Vec<Held> {
        self.held.borrow().iter().filter(|h| h.address == address).cloned().collect()
    }

    /// The order in which locks were taken, by class: a lock is named by its kind and by its place in pool of a tag or
    /// in an image, so that runs can be put together. The first was held when the second was taken.
    pub fn graph(&self) -> BTreeSet<(String, String)> {
        self.classes.borrow().clone()
    }

    pub(crate) fn holds_spin_lock(&self, thread: u32) -> bool {
        self.spin_locks_of(thread) > 0
    }

    pub(crate) fn spin_locks_of(&self, thread: u32) -> usize {
        self.held.borrow().iter().filter(|h| h.thread == thread && h.kind == LockKind::Spin).count()
    }

    pub(crate) fn mutant_owner(&self, object: usize) -> Option<u32> {
        self.mutants.borrow().get(&object).copied()
    }

    pub(crate) fn set_mutant_owner(&self, object: usize, thread: u32) {
        self.mutants.borrow_mut().insert(object, thread);
    }

    pub(crate) fn clear_mutant_owner(&self, object: usize) {
        self.mutants.borrow_mut().remove(&object);
    }

    pub(crate) fn use_inside(&self, range: &Range<usize>) -> Option<String> {
        let held = self.held.borrow();
        let lock = held.iter().find(|h| range.contains(&h.address))?;
        Some(format!("thread {:#x} holds a {:?} lock in it", lock.thread, lock.kind))
    }

    /// Forgets what is known of locks in memory that goes away.
    pub(crate) fn forget(&self, range: &Range<usize>) {
        let mut order = self.order.borrow_mut();
        order.retain(|from, _| !range.contains(from));
        for to in order.values_mut() {
            to.retain(|lock| !range.contains(lock));
        }
        self.mutants.borrow_mut().retain(|lock, _| !range.contains(lock));
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        let order = self.order.borrow();
        let (mut todo, mut seen) = (vec![from], BTreeSet::new());
        while let Some(lock) = todo.pop() {
            if lock == to {
                return true;
            }
            if seen.insert(lock) {
                todo.extend(order.get(&lock).into_iter().flatten());
            }
        }
        false
    }
}

impl Lab {
    /// Before a thread takes a lock: it must not hold it already (unless the kind recurses), and the order must
    /// not be the reverse of one seen before.
    pub(crate) fn check_lock_order(&self, thread: &Thread, address: usize, kind: LockKind) {
        const SOURCE: &str = "Driver Verifier: deadlock detection";
        let held = self.locks.held_by(thread.id);
        if held.iter().any(|h| h.address == address) {
            self.report(
                "lock-recursion",
                SOURCE,
                format!("{} takes a {kind:?} lock that it holds", thread.label()),
            );
        }
        for outer in &held {
            if self.locks.reaches(address, outer.address) {
                self.report(
                    "lock-order",
                    SOURCE,
                    format!(
                        "takes a {kind:?} lock ({}) while holding a {:?} lock ({}); they were taken in the other order before",
                        self.describe_lock(address), outer.kind, self.describe_lock(outer.address)
                    ),
                );
            }
            self.locks.order.borrow_mut().entry(outer.address).or_default().insert(address);
            let class = |address, kind: LockKind| format!("{kind:?} lock at {}", self.describe_lock(address));
            let edge = (class(outer.address, outer.kind), class(address, kind));
            self.locks.classes.borrow_mut().insert(edge);
        }
    }

    fn describe_lock(&self, address: usize) -> String {
        if let Some(block) = self.pool.block_containing(address) {
            return format!(
                "byte {} of pool '{}'",
                address - block.address,
                crate::pool::tag_text(block.tag)
            );
        }
        self.images.describe(address).unwrap_or_else(|| "on a stack".into())
    }

    pub(crate) fn lock_taken(
        &self,
        thread: &Thread,
        address: usize,
        kind: LockKind,
        exclusive: bool,
        former_irql: u8,
    ) {
        let mut held = self.locks.held.borrow_mut();
        match held.iter_mut().find(|h| h.address == address && h.thread == thread.id) {
            Some(lock) => lock.depth += 1,
            None => held.push(Held { address, kind, exclusive, thread: thread.id, former_irql, depth: 1 }),
        }
    }

    /// Takes a lock off the thread's list, or stops the run (rule `lock-not-held`).
    pub(crate) fn lock_released(&self, thread: &Thread, address: usize, kind: LockKind) -> Held {
        let mut held = self.locks.held.borrow_mut();
        let at = held.iter().position(|h| h.address == address && h.thread == thread.id && h.kind == kind);
        let Some(at) = at else {
            drop(held);
            self.violate(
                "lock-not-held",
                "Driver Verifier: a lock is released by the thread that holds it, through the routine of its kind",
                format!("releases a {kind:?} lock ({}) that it does not hold", self.describe_lock(address)),
            );
        };
        held[at].depth -= 1;
        if held[at].depth == 0 { held.remove(at) } else { held[at].clone() }
    }

    /// Who else holds a lock, for a wait's report.
    pub(crate) fn describe_wait_for_lock(&self, address: usize, kind: LockKind) -> String {
        let holders: Vec<_> =
            self.locks.holders(address).iter().map(|h| format!("thread {:#x}", h.thread)).collect();
        format!("a {kind:?} lock ({}) held by {}", self.describe_lock(address), holders.join(", "))
    }

    /// No spin lock may survive the callback that took it.
    pub(crate) fn check_locks_after(&self, thread: &Thread, what: &str, before: usize) {
        let after = self.locks.spin_locks_of(thread.id);
        if after != before {
            self.report(
                "lock-after-callback",
                "Driver Verifier: spin locks are released by the callback that took them",
                format!("{what} was entered with {before} spin locks held and returned with {after}"),
            );
        }
    }

    /// A thread must end as it began.
    pub(crate) fn check_thread_end(&self, thread: &Thread) {
        let held = self.locks.held_by(thread.id);
        if thread.irql.get() != 0 || thread.normal_apcs_off() || !held.is_empty() {
            self.report(
                "state-at-thread-end",
                "Driver Verifier: a thread ends at PASSIVE_LEVEL, outside critical regions, without locks",
                format!(
                    "ends at {}, with {} critical regions and {} locks",
                    crate::irql::name(thread.irql.get()),
                    thread.critical_regions.get(),
                    held.len()
                ),
            );
        }
    }
}
