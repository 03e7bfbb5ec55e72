//! Saves that wait for more: the hollow close, and all that a process saves.
//!
//! A handle that made its file empty and is closed without having written a byte is hardly what its program wants to
//! leave: some programs open a file to truncate it, close it, and open it again to write. Committed at once, a crash
//! between the two would leave the file empty. So the save waits, without a twin, until its process opens the file for
//! writing again and takes part in it, until the process ends (its exit status decides), until somebody needs the file,
//! or until the rule's settle time is over. Then it commits, as the file would have become without us.
//!
//! A save of all that a process modifies (`Scope` = `Process`) waits in the same way whenever its last handle is closed: the
//! next file that the process opens to write becomes part of it.
//!
//! Nobody may be called from the end of a process to end a transaction there (txf-ktm §8.1), so a thread looks whether
//! the process lives, and so does whoever opens the file meanwhile: none of them sees a version that is no longer right.

use kernel::Result;
use kernel::context::ContextRef;
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::sync::{CriticalRegion, PushLock};
use kernel::time;

use super::fate::Fate;
use super::files::{Files, Pass};
use super::live::{Own, Save};
use super::outcome::Ending;
use super::state::{Left, Settles, Turn};
use crate::Intact;
use crate::report::counters;

const TAG: Tag = Tag::new(b"InSe");

/// How often it is looked whether processes of waiting saves live, in milliseconds.
const INTERVAL: u32 = 50;

/// A save that waits.
struct Waiting {
    save: Shared<Save>,
    instance: InstanceRef,
    /// What keeps the driver on the volume.
    pass: Pass,
    turn: Turn,
    /// Until then, in milliseconds of [`time`].
    until: u64,
}

impl Waiting {
    /// `None`: there is no memory to wait with, or the volume goes, or the driver.
    fn new(save: &Shared<Save>, instance: Instance<'_>, files: &ContextRef<Files>) -> Option<Self> {
        let instance = instance.reference().ok()?;
        let pass = Pass::enter(files)?;
        let until = time::milliseconds().saturating_add(u64::from(save.settings.settle_milliseconds));
        // What looks for a save of the process asks whether there is a redirected handle first.
        counters::redirected();
        counters::settles();
        Some(Waiting { save: save.clone(), instance, pass, turn: 0, until })
    }

    fn is_due(&self, now: u64) -> bool {
        self.until <= now || !self.save.settles(Some(self.turn)) || self.save.has_lost_its_process()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        counters::settles_no_more();
        counters::not_redirected();
    }
}

/// Those that wait.
pub struct Settling(PushLock<PoolVec<Waiting>>);

impl Settling {
    /// None.
    pub const fn new() -> Self {
        Settling(PushLock::new(PoolVec::new(TAG)))
    }

    fn put(&self, waiting: Waiting) -> Result<()> {
        self.0.write().push(waiting)
    }

    /// Ends those whose time is over or whose process has ended, and forgets what waits no longer; how many milliseconds
    /// later to look again. PASSIVE_LEVEL, without locks.
    pub fn look(&self, intact: &Intact) -> Option<u32> {
        loop {
            let now = time::milliseconds();
            let due = self.0.write().take(|waiting| waiting.is_due(now));
            let Some(Waiting { save, instance, pass, turn, .. }) = &due else { break };
            save.settle(intact, instance.get(), pass.files(), Some(*turn));
        }
        (!self.0.read().is_empty()).then_some(INTERVAL)
    }
}

impl Default for Settling {
    fn default() -> Self {
        Self::new()
    }
}

/// A handle that takes part in a save is done; if it was the last, the save waits for more, or its outcome is decided and
/// carried out. `own` is the application's file object, by which a placeholder is removed. PASSIVE_LEVEL, without locks.
pub fn leave(
    save: &Shared<Save>,
    intact: &Intact,
    instance: Instance<'_>,
    files: &ContextRef<Files>,
    ending: Ending,
    own: Option<Own<'_>>,
) {
    // Others wait for what is decided here.
    let _region = CriticalRegion::enter();
    let settles = save.may_settle();
    let waiting = if settles == Settles::Never { None } else { Waiting::new(save, instance, files) };
    let left = save.has_left(ending, settles);
    match (left, waiting) {
        (Left::Others, _) => {}
        (Left::Last(facts), _) => save.finish(intact, instance, files, facts, own),
        (Left::Settles(turn), Some(mut waiting)) => {
            waiting.turn = turn;
            intact.report.settles(save);
            if intact.clock.settling().put(waiting).is_err() {
                // Without memory to wait with it ends as any other.
                save.settle(intact, instance, files, Some(turn));
                return;
            }
            intact.clock.wake();
        }
        // Without what it takes to wait it ends as any other.
        (Left::Settles(turn), None) => save.settle(intact, instance, files, Some(turn)),
    }
}

impl Save {
    /// It waits no longer (`turn`: only if it is this time): its outcome is decided and carried out. Waits while somebody
    /// else does that. PASSIVE_LEVEL, without locks.
    pub fn settle(&self, intact: &Intact, instance: Instance<'_>, files: &Files, turn: Option<Turn>) {
        // Others wait for what is decided here.
        let _region = CriticalRegion::enter();
        let ending = match self.fate() {
            Fate::Open => Ending::Closed,
            Fate::Over(ending) => ending,
        };
        match self.settles_no_more(turn, ending) {
            Some(facts) => self.finish(intact, instance, files, facts, None),
            None => self.wait_if_ending(),
        }
    }
}
