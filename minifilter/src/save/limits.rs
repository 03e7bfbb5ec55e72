//! Limits of time: saves that take too long, or in which nothing happens any more.
//!
//! The first begins with a modification, the second with the open and with every modification. What was idle has a transaction
//! again when something is modified: a file that is held open all day holds none meanwhile. Operations only count up; the
//! thread of the clock looks at the count now and then, and keeps the time.
//!
//! What could not commit at a close does not commit here: a save with a wound stays as it is, until it heals or is closed.

use kernel::Result;
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::sync::PushLock;
use kernel::time;

use super::live::Save;
use crate::Intact;
use crate::report::Demotion;

const TAG: Tag = Tag::new(b"InLi");

/// How often saves with limits are looked at, in milliseconds.
const INTERVAL: u32 = 500;

/// What has happened in a save.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Something was modified since its beginning or its last checkpoint.
    pub modified: bool,
    /// Counts modifications, those that failed too.
    pub changes: u32,
}

/// A save with a limit.
struct Limited {
    save: Shared<Save>,
    instance: InstanceRef,
    /// When it was first seen to be modified, in milliseconds of [`time`].
    since: Option<u64>,
    /// What was seen last, and when that was new.
    changes: u32,
    changed: u64,
    /// When it was last tried to end it.
    tried: u64,
}

impl Limited {
    /// Whether it is past a limit, and which, at this time.
    fn is_over(&mut self, now: u64) -> Option<Demotion> {
        let Activity { modified, changes } = self.save.activity();
        if changes != self.changes {
            self.changes = changes;
            self.changed = now;
        }
        self.since = self.since.filter(|_| modified).or_else(|| modified.then_some(now));
        let settings = self.save.settings;
        let is_past = |from: u64, seconds: u32| {
            seconds != 0 && now.saturating_sub(from) >= u64::from(seconds).saturating_mul(1_000)
        };
        if self.since.is_some_and(|since| is_past(since, settings.max_seconds)) {
            Some(Demotion::TooLong)
        } else if is_past(self.changed, settings.max_idle_seconds) {
            Some(Demotion::Idle)
        } else {
            None
        }
    }
}

/// Saves with limits of time.
pub struct Limits(PushLock<PoolVec<Limited>>);

impl Limits {
    /// None.
    pub const fn new() -> Self {
        Limits(PushLock::new(PoolVec::new(TAG)))
    }

    /// Looks after a save that has begun. True if it has a limit. IRQL up to APC_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES`, and where the volume goes.
    pub fn add(&self, save: &Shared<Save>, instance: Instance<'_>) -> Result<bool> {
        if save.settings.max_seconds == 0 && save.settings.max_idle_seconds == 0 {
            return Ok(false);
        }
        let instance = instance.reference()?;
        let (changes, changed) = (save.activity().changes, time::milliseconds());
        let limited = Limited { save: save.clone(), instance, since: None, changes, changed, tried: 0 };
        self.0.write().push(limited)?;
        Ok(true)
    }

    /// A save is over. IRQL up to APC_LEVEL.
    pub fn forget(&self, save: &Save) {
        if save.settings.max_seconds != 0 || save.settings.max_idle_seconds != 0 {
            let taken = self.0.write().take(|limited| limited.save.number == save.number);
            drop(taken);
        }
    }

    /// Ends the transactions of those that are past a limit; how many milliseconds later to look again. PASSIVE_LEVEL,
    /// without locks.
    pub fn look(&self, intact: &Intact) -> Option<u32> {
        // One that cannot be ended now is tried again at the next look.
        let now = time::milliseconds();
        loop {
            let over = self.0.write().iter_mut().find_map(|limited| {
                let why = limited.is_over(now).filter(|_| limited.tried < now)?;
                limited.tried = now;
                let instance = limited.instance.get().reference().ok()?;
                Some((limited.save.clone(), instance, why, limited.changes))
            });
            let Some((save, instance, why, changes)) = over else { break };
            save.end_by_time(intact, instance.get(), why, changes);
            if !save.is_transacted() {
                self.forget(&save);
            }
        }
        (!self.0.read().is_empty()).then_some(INTERVAL)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
