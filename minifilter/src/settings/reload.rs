//! The thread that watches the registry and puts policies in force.
//!
//! It asks to be told before it reads, so no change is missed. Both keys are watched with everything below them. A key
//! that does not exist is watched through its nearest ancestor that does, for the next name on the way; and whatever is
//! watched is watched in its parent, too, because a watch is not documented to tell that its own key was deleted. Where
//! there is no hive yet (a boot-start driver runs before the SOFTWARE hive is loaded), nobody promises that its coming is
//! told, so it is looked for every [`RETRY`] milliseconds; so is what failed, at growing intervals.
//!
//! Changes come in bursts: Group Policy writes value by value. A reading waits until nothing has changed for
//! [`QUIET`] milliseconds, but not longer than [`LONGEST`].
//!
//! A policy that was read and has no errors replaces the one in force. Anything else changes nothing, and an event says
//! what is in the way.

use core::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use kernel::pool::{PoolSlice, Shared, Tag};
use kernel::process;
use kernel::registry::{Changes, RegistryKey, Watch};
use kernel::sync::{Event, Waiting, wait_any};
use kernel::thread::{Body, SystemThread};
use kernel::{Result, Status};
use widestring::{U16Str, u16str};

use super::children::Children;
use super::in_force::InForce;
use super::reading::{self, Failure, POLICIES, Read};
use crate::report::Report;

const TAG: Tag = Tag::new(b"InRl");

/// How long nothing must have changed before the policy is read, in milliseconds.
const QUIET: u32 = 250;
/// How long a reading is put off at most, in milliseconds.
const LONGEST: u32 = 2_000;
/// When what failed, or is not there yet and will not be told, is tried again, in milliseconds.
const RETRY: u32 = 5_000;
/// Longest time between two tries.
const LONGEST_RETRY: u32 = 300_000;
/// Watches of one key: on the deepest key of its path that exists, and on that one's parent.
const WATCHES: usize = 2;
/// How often a path is walked again because it changed on the way.
const WALKS: usize = 8;

/// Where every path to a policy begins: above are no hives. It always exists.
const MACHINE: usize = "\\Registry\\Machine".len();

const PARAMETERS: &U16Str = u16str!("\\Parameters");

/// What is between the thread and the rest of the driver.
struct Control {
    /// Something is to be done.
    wake: Event,
    /// The thread is to end.
    stop: AtomicBool,
    /// A volume has come.
    volume: AtomicBool,
    /// The policy has been read once.
    ready: Event,
}

/// The watched policy. Dropped, the thread has ended and a reading that was under way with it.
pub struct Reloader {
    control: Shared<Control>,
    /// Dropped after `stop` was told.
    _thread: SystemThread,
}

impl Reloader {
    /// Starts watching, and returns when the policy was read once: no volume is attached to before. `service` is the
    /// driver's registry key. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`; a policy that is missing or broken is no
    /// failure.
    pub fn start(service: &U16Str, in_force: Shared<InForce>, report: Shared<Report>) -> Result<Self> {
        let length = service.len();
        let mut parameters = PoolSlice::zeroed(TAG, length.saturating_add(PARAMETERS.len()))?;
        let units = service.as_slice().iter().chain(PARAMETERS.as_slice());
        parameters.iter_mut().zip(units).for_each(|(to, from)| *to = *from);
        let control = Shared::new(
            TAG,
            Control {
                wake: Event::new(TAG)?,
                stop: AtomicBool::new(false),
                volume: AtomicBool::new(false),
                ready: Event::new(TAG)?,
            },
        )?;
        let body = Watcher { control: control.clone(), parameters, in_force, report };
        let thread = SystemThread::start(TAG, body)?;
        control.ready.wait(None);
        Ok(Reloader { control, _thread: thread })
    }

    /// A volume has come: the names of volumes in the policy may stand for it. Does not wait. Up to DISPATCH_LEVEL.
    pub fn volume_came(&self) {
        self.control.volume.store(true, Ordering::Release);
        self.control.wake.set();
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.wake.set();
    }
}

struct Watcher {
    control: Shared<Control>,
    /// The path of the service's key of settings.
    parameters: PoolSlice<u16>,
    in_force: Shared<InForce>,
    report: Shared<Report>,
}

/// What is watched.
struct Watches {
    all: ArrayVec<Watch, { WATCHES * 2 }>,
    /// Something cannot be watched, for now, and why; `SUCCESS` if there is no hive yet.
    unwatched: Option<Status>,
}

/// Why the thread woke up.
enum Woken {
    /// To end.
    Stop,
    /// A volume has come.
    Volume,
    /// A key has changed.
    Changed,
    /// The time was over.
    Time,
}

impl Body for Watcher {
    fn run(self) {
        let mut last = Read::default();
        let mut watches = self.watch();
        // What was reported already, so that each try does not report it again.
        let mut reported = (None, None);
        let mut retry = RETRY;
        // Told of processes from the first policy on that asks for it. Dropped with the thread.
        let mut children = None;
        loop {
            let failed = match reading::read(self.parameters(), &mut last, &self.report) {
                Ok(Some(settings)) => match Shared::new(TAG, settings) {
                    Ok(settings) => {
                        if children.is_none() && settings.has_families() {
                            children = self.follow_children();
                        }
                        self.in_force.replace(settings);
                        None
                    }
                    Err(status) => {
                        last = Read::default();
                        Some(Failure::Failed(status))
                    }
                },
                Ok(None) => None,
                Err(failure) => Some(failure),
            };
            let status = match &failed {
                Some(Failure::Failed(status)) => Some(*status),
                Some(_) | None => None,
            };
            if let Some(failure) = failed
                && (status.is_none() || status != reported.0)
            {
                self.report.policy_not_loaded(&failure, self.in_force.is_some());
            }
            let unwatched = watches.unwatched.filter(|status| !status.is_success());
            if let Some(status) = unwatched
                && unwatched != reported.1
            {
                self.report.policy_not_watched(status);
            }
            reported = (status, unwatched);
            self.control.ready.set();

            // A letter may be given to a volume after it has come.
            let mut look_again = false;
            loop {
                let again = status.is_some() || watches.unwatched.is_some();
                let time = if again { Some(retry) } else { look_again.then_some(RETRY) };
                match self.wait(&watches, time) {
                    Woken::Stop => return,
                    Woken::Changed => {
                        retry = RETRY;
                        match self.settle() {
                            Some(settled) => watches = settled,
                            None => return,
                        }
                        break;
                    }
                    Woken::Volume | Woken::Time if last.links.have_changed() => break,
                    Woken::Volume => look_again = last.links.are_incomplete(),
                    Woken::Time if again => {
                        retry = retry.saturating_mul(2).min(LONGEST_RETRY);
                        watches = self.watch();
                        break;
                    }
                    Woken::Time => look_again = false,
                }
            }
        }
    }
}

impl Watcher {
    /// Follows what programs start. Where that cannot be, an event says so, and it is tried again with the next policy.
    fn follow_children(&self) -> Option<process::Watch<Children>> {
        let watch = Children::watch(self.in_force.clone(), self.report.clone());
        watch.inspect_err(|&status| self.report.children_not_followed(status)).ok()
    }

    fn parameters(&self) -> &U16Str {
        U16Str::from_slice(&self.parameters)
    }

    /// Waits for a change, or for what else there is to do.
    fn wait(&self, watches: &Watches, milliseconds: Option<u32>) -> Woken {
        let mut objects = ArrayVec::<Waiting<'_>, { WATCHES * 2 + 1 }>::new();
        let _ = objects.try_push(self.control.wake.waiting());
        for watch in &watches.all {
            let _ = objects.try_push(watch.told());
        }
        loop {
            match wait_any(&objects, milliseconds) {
                Ok(Some(0)) => {
                    self.control.wake.clear();
                    if self.control.stop.load(Ordering::Acquire) {
                        return Woken::Stop;
                    }
                    if self.control.volume.swap(false, Ordering::AcqRel) {
                        return Woken::Volume;
                    }
                }
                Ok(Some(_)) => return Woken::Changed,
                Ok(None) | Err(_) => return Woken::Time,
            }
        }
    }

    /// Waits until the burst of changes is over; everything is watched anew then. `None`: the thread is to end.
    fn settle(&self) -> Option<Watches> {
        let nothing = Watches { all: ArrayVec::new(), unwatched: None };
        let mut passed = 0_u32;
        loop {
            let watches = self.watch();
            // Not ended by changes: they are what is being waited out. (A volume: what is read next asks for all names.)
            while let woken @ (Woken::Stop | Woken::Volume) = self.wait(&nothing, Some(QUIET)) {
                if let Woken::Stop = woken {
                    return None;
                }
            }
            passed = passed.saturating_add(QUIET);
            match self.wait(&watches, Some(0)) {
                Woken::Stop => return None,
                Woken::Changed if passed < LONGEST => {}
                _ => return Some(watches),
            }
        }
    }

    /// Asks to be told of changes of both keys from now on.
    fn watch(&self) -> Watches {
        let mut watches = Watches { all: ArrayVec::new(), unwatched: None };
        for path in [POLICIES, self.parameters()] {
            match watch_path(path.as_slice()) {
                Ok((found, complete)) => {
                    for watch in found {
                        let _ = watches.all.try_push(watch);
                    }
                    if !complete {
                        watches.unwatched = Some(Status::SUCCESS);
                    }
                }
                Err(status) => watches.unwatched = Some(status),
            }
        }
        watches
    }
}

/// Watches the way to a key. False if there is not even a hive.
fn watch_path(path: &[u16]) -> Result<(ArrayVec<Watch, WATCHES>, bool)> {
    for _ in 0..WALKS {
        match walk(path) {
            // Something on the way has come or gone between two steps.
            Err(status) if reading::is_absent(status) => {}
            other => return other,
        }
    }
    Err(Status::OBJECT_NAME_NOT_FOUND)
}

fn walk(path: &[u16]) -> Result<(ArrayVec<Watch, WATCHES>, bool)> {
    let mut watches = ArrayVec::<Watch, WATCHES>::new();
    let mut next = None;
    let mut end = path.len();
    loop {
        match RegistryKey::open(part(path, end)) {
            Ok(key) => {
                let changes = if end == path.len() { Changes::Tree } else { Changes::Names };
                let watch = Watch::new(TAG, key, changes)?;
                let _ = watches.try_push(watch);
                // What is missing below may have come before it was watched.
                if let Some(next) = next.take()
                    && RegistryKey::open(part(path, next)).is_ok()
                {
                    return Err(Status::OBJECT_NAME_NOT_FOUND);
                }
                if watches.is_full() || end <= MACHINE {
                    let complete = !(watches.len() == 1 && end <= MACHINE);
                    return Ok((watches, complete));
                }
            }
            Err(status) if reading::is_absent(status) && watches.is_empty() && end > MACHINE => {
                next = Some(end);
            }
            Err(status) => return Err(status),
        }
        end = parent(path, end);
    }
}

fn part(path: &[u16], end: usize) -> &U16Str {
    U16Str::from_slice(path.get(..end).unwrap_or(path))
}

/// Where the path of the parent ends.
fn parent(path: &[u16], end: usize) -> usize {
    let before = path.get(..end).unwrap_or(path);
    before.iter().rposition(|&unit| unit == u16::from(b'\\')).unwrap_or(0).max(MACHINE)
}
