//! What a program of a rule with `IncludeChildren` starts becomes a member of its family.
//!
//! Whose child a process is, the creator decides, whose thread made it: no program can put another one into a family, or
//! itself, by naming a parent that it did not come from. A service that starts a process for somebody (elevation, a
//! scheduled task) is its creator, so that one is an outsider.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel::pool::{Shared, Tag};
use kernel::process::{Process, Seat, Watch, Watcher};
use kernel::{Result, Status};

use super::in_force::InForce;
use crate::report::Report;

const TAG: Tag = Tag::new(b"InCh");

static SEAT: Seat<Children> = Seat::new();

/// How many processes have ended, and one more; zero while nobody counts.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// How many processes have ended: it changes after the exit status of one is there, and before its handles are closed.
/// `None`: nobody counts. Any IRQL.
pub fn ended() -> Option<u32> {
    match ENDED.load(Ordering::Acquire) {
        0 => None,
        ended => Some(ended),
    }
}

/// Who is told of processes.
pub struct Children {
    policy: Shared<InForce>,
    report: Shared<Report>,
}

impl Children {
    /// Follows them by this policy until the watch is dropped. PASSIVE_LEVEL. Fails as [`Watch::start`].
    pub fn watch(policy: Shared<InForce>, report: Shared<Report>) -> Result<Watch<Self>> {
        let watch = Watch::start(Shared::new(TAG, Children { policy, report })?)?;
        ENDED.fetch_max(1, Ordering::AcqRel);
        Ok(watch)
    }

    fn follow(&self, creator: Process<'_>, process: Process<'_>) -> Result<()> {
        let families = &self.policy.families;
        if let Some(about) = self.policy.about(creator)? {
            about.with_children().try_for_each(|rule| families.found(creator.key(), rule))?;
        }
        if families.is_empty() {
            return Ok(());
        }
        let image = match process.image_name() {
            Ok(image) => image,
            Err(Status::INSUFFICIENT_RESOURCES) => return Err(Status::INSUFFICIENT_RESOURCES),
            // A process without an image is none that saves.
            Err(_) => return Ok(()),
        };
        // A save in progress keeps the rule that it began with, in the policy or not.
        let settings = self.policy.settings();
        let wants = |rule: &[u16]| settings.as_ref().is_none_or(|now| !now.excludes(rule, image.as_slice()));
        families.inherit(creator.key(), process.key(), wants)
    }
}

impl Watcher for Children {
    fn seat() -> &'static Seat<Self> {
        &SEAT
    }

    fn started(&self, creator: Process<'_>, process: Process<'_>) {
        if self.policy.has_families()
            && let Err(status) = self.follow(creator, process)
        {
            self.report.child_left_out(process, creator.id(), status);
        }
    }

    fn ended(&self, process: Process<'_>) {
        ENDED.fetch_add(1, Ordering::AcqRel);
        self.policy.families.forget(process.key());
    }
}
