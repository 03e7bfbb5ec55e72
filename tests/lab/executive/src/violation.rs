//! What stops a run: a broken contract, a processor fault, a deadlock.
//!
//! A violation is the lab's bugcheck. It is recorded once, the thread that caused it is never resumed (its stack
//! may hold driver frames, and unwinding through those is undefined), and every later `run_…` of that lab
//! returns it. The process stays alive, so a test can assert on it.
//!
//! # Rules
//! | area | rules |
//! |---|---|
//! | levels | `irql-ceiling` `irql-floor` `irql-order` `irql-restored` `wait-at-dispatch` `paged-at-dispatch` |
//! | memory | `pool-overrun` `pool-underrun` `use-after-free` `double-free` `bad-free` `free-wrong-tag` `free-in-use` `pool-tag` `pool-size` `pool-flags` `executable-pool` `overlapping-copy` `lookaside` |
//! | addresses | `null-pointer` `user-pointer` `image-write` `use-after-init` `use-after-unload` `stack-overflow` `stack-budget` `bad-address` `bad-alignment` |
//! | instructions | `unserved-instruction` `processor-exception` `breakpoint` |
//! | locks | `lock-recursion` `lock-order` `lock-not-held` `lock-mode` `lock-release-order` `lock-reinitialised` `lock-after-callback` `spin-lock-deadlock` `apcs-enabled` `critical-region` `rundown` |
//! | objects | `object-reference` `invalid-handle` `user-handle` `bad-object-type` `uninitialised-object` `wrong-object` `attach` `work-item` |
//! | frames | `state-after-callback` `state-at-thread-end` |
//! | arguments | `bad-parameter` `bad-unicode-string` `etw-handle` `etw-malformed` |
//! | the rest | `bugcheck` `deadlock`, `unserved` (a use that the lab does not model), `lab-defect` (the lab's own fault) |
//!
//! Other crates of the lab add rules of their own.

use std::fmt;
use std::rc::Rc;

use crate::Lab;
use crate::irql::{self, Irql};

/// A broken rule, and where it was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Short stable name of the rule, e.g. `irql-ceiling`; tests match on it.
    pub rule: &'static str,
    /// What happened, with names and values.
    pub what: String,
    /// Where the rule is written down.
    pub source: &'static str,
    /// Where the lab stood.
    pub place: Place,
}

/// Where the lab stood when a rule was broken.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The lab thread, e.g. `thread 0x14 "writer"`; `None` outside lab threads.
    pub thread: Option<String>,
    /// The process that the thread belongs to.
    pub process: Option<String>,
    /// The thread's level.
    pub irql: Irql,
    /// The import that was running.
    pub import: Option<&'static str>,
    /// The driver's frames, innermost first, as `image+0xRVA`.
    pub frames: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "violation: {}: {}", self.rule, self.what)?;
        writeln!(f, "  rule from: {}", self.source)?;
        if let Some(import) = self.place.import {
            writeln!(f, "  in: {import}")?;
        }
        if let Some(thread) = &self.place.thread {
            let process = self.place.process.as_deref().unwrap_or("no process");
            writeln!(f, "  on: {thread} of {process}, at {}", irql::name(self.place.irql))?;
        }
        for frame in &self.place.frames {
            writeln!(f, "    {frame}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

impl Lab {
    /// The violation that stopped this lab, if one did.
    pub fn violation(&self) -> Option<Rc<Violation>> {
        self.dead.borrow().clone()
    }

    /// Records a violation at the present place without stopping the caller; the next switch stops the run.
    ///
    /// The first one wins: what follows from a broken rule is not evidence.
    pub fn record_violation(&self, rule: &'static str, source: &'static str, what: impl Into<String>) {
        let violation = Violation { rule, what: what.into(), source, place: self.place() };
        let mut dead = self.dead.borrow_mut();
        if dead.is_none() {
            *dead = Some(Rc::new(violation));
        }
    }

    /// Whether a rule is checked: all are, but the one that a test of the verifier leaves out
    /// ([`Config::unchecked`](crate::Config::unchecked)).
    pub fn checks(&self, rule: &str) -> bool {
        self.config.unchecked != Some(rule)
    }

    /// Stops the run for a broken rule as [`violate`](Self::violate) does. If the rule is not checked, the caller goes on as
    /// if it had not looked.
    ///
    /// # Panics
    /// As `violate`.
    pub fn report(&self, rule: &'static str, source: &'static str, what: impl Into<String>) {
        if self.checks(rule) {
            self.violate(rule, source, what)
        }
    }

    /// Records a violation and abandons the calling lab thread, where nothing else can be done.
    ///
    /// # Panics
    /// Outside a lab thread there is nothing to abandon: the report becomes a panic.
    pub fn violate(&self, rule: &'static str, source: &'static str, what: impl Into<String>) -> ! {
        self.record_violation(rule, source, what);
        if self.in_thread() {
            self.abandon();
        }
        match self.violation() {
            Some(violation) => panic!("{violation}"),
            None => unreachable!("a violation was just recorded"),
        }
    }

    fn place(&self) -> Place {
        let Some(thread) = self.try_thread() else { return Place::default() };
        Place {
            thread: Some(thread.label()),
            process: thread.process().map(|p| p.label()),
            irql: thread.irql.get(),
            import: thread.import.get().map(|i| i.name),
            frames: self.driver_frames(&thread),
        }
    }
}
