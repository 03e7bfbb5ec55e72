//! The processes that take part in a save: the one that began it, and with `IncludeChildren` every other of its family
//! that has opened a file in it to modify it, or modified one through a handle that it was given.

use core::sync::atomic::{AtomicU32, Ordering};

use intact_policy::OnExit;
use kernel::pool::{PoolVec, Tag};
use kernel::process::{Process, ProcessRef};
use kernel::sync::PushLock;
use kernel::{Result, Status};

use super::fate::{Fate, fate};
use super::outcome::{Ending, is_clean};
use crate::settings::children;

/// They are referenced: how a process has ended is known as long as its object is.
pub struct Partners {
    first: Option<ProcessRef>,
    /// Those who came later.
    others: PushLock<PoolVec<ProcessRef>>,
    /// Whether there may be any.
    are_several: bool,
    /// How many processes of the system had ended when all of them lived: as long as no other has, they do, and who asks
    /// need not look at each.
    alive: AtomicU32,
}

impl Partners {
    /// The one that begins, and whether others may come.
    pub fn new(process: Process<'_>, are_several: bool) -> Self {
        let others = PushLock::new(PoolVec::new(Tag::new(b"InSp")));
        let alive = AtomicU32::new(children::ended().unwrap_or(0));
        Partners { first: process.reference(), others, are_several, alive }
    }

    /// Whether a process takes part. IRQL up to APC_LEVEL.
    pub fn has(&self, process: Process<'_>) -> bool {
        let is_it = |partner: &ProcessRef| partner.is(process);
        self.first.as_ref().is_some_and(is_it) || self.others.read().iter().any(is_it)
    }

    /// Another one takes part, if it does not yet. Others that have ended well are let go: they decide nothing any more, as
    /// this one lives. Once somebody has failed, who else there is decides nothing either. IRQL up to APC_LEVEL. Fails
    /// with `INSUFFICIENT_RESOURCES`.
    pub fn take_part(&self, process: Process<'_>, on_exit: OnExit) -> Result<()> {
        if self.has(process) || self.have_failed(on_exit) {
            return Ok(());
        }
        let Some(process) = process.reference() else { return Ok(()) };
        let mut others = self.others.write();
        others.push(process)?;
        let has_left = |partner: &ProcessRef| {
            end(partner).is_some_and(|status| is_clean(Ending::ProcessEnded(status), on_exit))
        };
        while others.take(has_left).is_some() {}
        Ok(())
    }

    fn have_failed(&self, on_exit: OnExit) -> bool {
        matches!(self.fate(on_exit), Fate::Over(ending) if !is_clean(ending, on_exit))
    }

    /// What has become of them. IRQL up to APC_LEVEL.
    pub fn fate(&self, on_exit: OnExit) -> Fate {
        let first = self.first.iter().map(end);
        if !self.are_several {
            return fate(first, on_exit);
        }
        let ended = children::ended();
        if ended == Some(self.alive.load(Ordering::Acquire)) {
            return Fate::Open;
        }
        let others = self.others.read();
        let all = first.chain(others.iter().map(end));
        if let Some(ended) = ended
            && all.clone().all(|end| end.is_none())
        {
            self.alive.store(ended, Ordering::Release);
        }
        fate(all, on_exit)
    }
}

/// The exit status, once there is one.
fn end(partner: &ProcessRef) -> Option<u32> {
    match partner.get().exit_status() {
        Status::PENDING => None,
        status => Some(status.0.cast_unsigned()),
    }
}
