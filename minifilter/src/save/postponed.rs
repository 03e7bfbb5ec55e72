//! Handles that were closed while somebody still had the file mapped through them.
//!
//! A view outlives its handle, and what is written through it belongs to the save. Ending the transaction under it would
//! take its pages away (txf-ktm §4.5). Nobody tells when the last view has gone, so a thread looks, at growing intervals;
//! the end of a process takes its views with it, so there is always an end. Until then the handle counts as one that takes
//! part.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel::context::ContextRef;
use kernel::file::LowerFile;
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::{PoolVec, Tag};
use kernel::process::{Process, ProcessRef};
use kernel::section::{self, Section};
use kernel::sync::PushLock;
use kernel::{Result, Status};

use super::attendant::{Attendant, Attended};
use super::leaving;
use super::outcome::Ending;
use super::redirect::Redirect;
use crate::Intact;

const TAG: Tag = Tag::new(b"InPp");

/// The first interval at which the thread looks, in milliseconds; each one is twice as long as the last.
const FIRST: u32 = 20;
/// The longest interval.
const LONGEST: u32 = 1_000;

/// A handle that was closed.
pub struct Closed {
    instance: InstanceRef,
    redirect: ContextRef<Redirect>,
    /// Who closed it, if that is known.
    process: Option<ProcessRef>,
    ending: Ending,
    /// What keeps the pages that were written through views, so that whether they reach the file is known.
    keeper: Option<Section>,
    /// The last look at it.
    look: u32,
}

impl Closed {
    /// A handle that is closed by `process` as `ending` says, while its file is mapped. PASSIVE_LEVEL.
    pub fn new(
        instance: InstanceRef,
        redirect: ContextRef<Redirect>,
        twin: &LowerFile,
        process: Process<'_>,
        ending: Ending,
    ) -> Self {
        let keeper = Section::over(twin).ok();
        Closed { instance, redirect, process: process.reference(), ending, keeper, look: 0 }
    }

    /// Whether nobody has the file mapped any more. When nobody writes through views any more, what they have written is
    /// written out.
    fn is_over(&mut self) -> bool {
        let Some(twin) = self.redirect.gate.close_and_hold(None) else { return false };
        if !twin.is_open() {
            return true;
        }
        if self.keeper.is_some() {
            if section::is_written_through_views(twin.object()) {
                return false;
            }
            leaving::flush(&self.redirect, &twin, self.instance.get());
            self.keeper = None;
        }
        !section::is_mapped(twin.object())
    }

    /// There is no memory to wait with: the save cannot be known to be whole.
    pub fn give_up(self, intact: &Intact) {
        if let Some(save) = &self.redirect.save {
            save.force();
        }
        self.end(intact);
    }

    fn end(self, intact: &Intact) {
        let Closed { instance, redirect, process, ending, keeper, .. } = self;
        let status = process.as_ref().map_or(Status::PENDING, |process| process.get().exit_status());
        // The end of its process may have taken the view away in the middle of the save. Whether the program had unmapped
        // it before cannot be told.
        let ending = match ending {
            Ending::Closed if status != Status::PENDING => Ending::ProcessEnded(status.0 as u32),
            ending => ending,
        };
        drop(keeper);
        leaving::leave_late(intact, instance.get(), &redirect, ending);
    }
}

struct Views {
    closed: PushLock<PoolVec<Closed>>,
    /// How long it is until the next look, in milliseconds.
    interval: AtomicU32,
    /// Counts the looks.
    looks: AtomicU32,
}

/// Those that wait. Dropped, the thread has ended.
pub struct Postponed(Attendant<Views>);

impl Postponed {
    /// None yet. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn start() -> Result<Self> {
        let (interval, looks) = (AtomicU32::new(FIRST), AtomicU32::new(0));
        let views = Views { closed: PushLock::new(PoolVec::new(TAG)), interval, looks };
        Ok(Postponed(Attendant::start(TAG, views)?))
    }

    /// Puts a handle off. IRQL up to APC_LEVEL. Fails with `INSUFFICIENT_RESOURCES`, and gives it back.
    pub fn put(&self, closed: Closed) -> core::result::Result<(), Closed> {
        self.0.attended().put(closed)?;
        self.0.wake();
        Ok(())
    }

    /// A volume goes, and all saves there are over: nobody waits for views of its files any more. PASSIVE_LEVEL, without locks.
    pub fn forget(&self, instance: Instance<'_>) {
        let next = || self.0.attended().closed.write().take(|closed| closed.instance.get().is(instance));
        // What keeps the instance goes outside of the lock.
        while next().is_some() {}
    }
}

impl Attended for Views {
    /// Ends those that are over.
    fn look(&self, intact: &Intact, woken: bool) -> Option<u32> {
        let last = self.interval.load(Ordering::Relaxed);
        let interval = if woken { FIRST } else { last.saturating_mul(2).min(LONGEST) };
        self.interval.store(interval, Ordering::Relaxed);
        // Each of them once: those of one file keep each other's pages until each has been looked at.
        let look = self.looks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let count = self.closed.read().len();
        for _ in 0..count {
            let next = self.closed.write().take(|closed| closed.look != look);
            let Some(mut closed) = next else { break };
            closed.look = look;
            if closed.is_over() {
                closed.end(intact);
            } else if let Err(closed) = self.put(closed) {
                closed.give_up(intact);
            }
        }
        (!self.closed.read().is_empty()).then_some(interval)
    }
}

impl Views {
    fn put(&self, closed: Closed) -> core::result::Result<(), Closed> {
        let mut all = self.closed.write();
        if all.reserve_one().is_err() {
            return Err(closed);
        }
        let _ = all.push(closed);
        Ok(())
    }
}
