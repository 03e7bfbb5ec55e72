//! What time does to live saves: those that take too long, and those in which nothing happens.
//!
//! A transaction keeps others from the file, and the log from being truncated (txf-ktm §4.1). So a save in which nothing is
//! modified rests: a file that is merely held open all day holds no transaction until something is modified, and it begins
//! then. What was modified rests past its rule's limit only, because that publishes half of it. Saves shorter than the
//! first look at them begin with the open, as if there were no rest.
//!
//! Operations only count up; the thread of the clock looks at the count now and then, and keeps the time.
//!
//! What could not commit at a close does not commit here: a save with a wound stays as it is, until it heals or is closed.

use intact_policy::OnUnavailable;
use kernel::Result;
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::sync::PushLock;
use kernel::time;

use super::live::Save;
use crate::Intact;
use crate::report::Demotion;

const TAG: Tag = Tag::new(b"InLi");

/// How often live saves are looked at, in milliseconds.
const INTERVAL: u32 = 500;

/// After how many seconds a save in which nothing is modified rests, whatever its rule says.
const REST_SECONDS: u32 = 5;

/// What has happened in a save.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// Something was modified since its beginning or its last checkpoint.
    pub modified: bool,
    /// Counts modifications, those that failed too.
    pub changes: u32,
}

/// A live save.
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
        } else if is_past(self.changed, settings.max_idle_seconds)
            // Where nothing may be modified without a transaction, it is kept.
            || !modified
                && settings.on_unavailable == OnUnavailable::PassThrough
                && is_past(self.changed, REST_SECONDS)
        {
            Some(Demotion::Idle)
        } else {
            None
        }
    }
}

/// Live saves.
pub struct Limits(PushLock<PoolVec<Limited>>);

impl Limits {
    /// None.
    pub const fn new() -> Self {
        Limits(PushLock::new(PoolVec::new(TAG)))
    }

    /// Looks after a save whose transaction has begun. True if there was none: the clock is to be woken. IRQL up to APC_LEVEL.
    /// Fails with `INSUFFICIENT_RESOURCES`, and where the volume goes.
    pub fn add(&self, save: &Shared<Save>, instance: Instance<'_>) -> Result<bool> {
        let instance = instance.reference()?;
        let (changes, changed) = (save.activity().changes, time::milliseconds());
        let limited = Limited { save: save.clone(), instance, since: None, changes, changed, tried: 0 };
        let mut all = self.0.write();
        let first = all.is_empty();
        all.push(limited)?;
        Ok(first)
    }

    /// A save is over, or has no transaction any more. IRQL up to APC_LEVEL.
    pub fn forget(&self, save: &Save) {
        let taken = self.0.write().take(|limited| limited.save.number == save.number);
        drop(taken);
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
        }
        (!self.0.read().is_empty()).then_some(INTERVAL)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
