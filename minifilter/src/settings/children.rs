//! What a program of a rule with `IncludeChildren` starts becomes a member of its family.
//!
//! Whose child a process is, the creator decides, whose thread made it: no program can put another one into a family, or
//! itself, by naming a parent that it did not come from. A service that starts a process for somebody (elevation, a
//! scheduled task) is its creator, so that one is an outsider.

use kernel::pool::Shared;
use kernel::process::{Process, Seat, Watcher};
use kernel::{Result, Status};

use super::in_force::InForce;
use crate::report::Report;

static SEAT: Seat<Children> = Seat::new();

/// Who is told of processes.
pub struct Children {
    policy: Shared<InForce>,
    report: Shared<Report>,
}

impl Children {
    /// Who follows them by this policy.
    pub fn new(policy: Shared<InForce>, report: Shared<Report>) -> Self {
        Children { policy, report }
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
        self.policy.families.forget(process.key());
    }
}
