//! Events, waiting for several, locks, threads, work items.

use core::sync::atomic::{AtomicUsize, Ordering};

use kernel::callback::Callback;
use kernel::pool::Shared;
use kernel::sync::{Event, MOST_WAITED, PushLock, SpinLock, Waiting, wait_any};
use kernel::thread::{Body, SystemThread};
use kernel::time::milliseconds;
use kernel::work::{self, Work};
use kernel::{Result, Status};

use crate::memory::Counted;
use crate::{TAG, handle};

/// How long something takes, in milliseconds.
fn taken<R>(what: impl FnOnce() -> R) -> (R, u64) {
    let begun = milliseconds();
    let result = what();
    (result, milliseconds().saturating_sub(begun))
}

pub(crate) fn events(_: &mut Callback<'_>) -> Result<()> {
    let event = Event::new(TAG)?;
    check!(!event.wait(Some(0)));
    check!(matches!(taken(|| event.wait(Some(50))), (false, 50..1_000)));
    event.set();
    // A notification event stays.
    check!(event.wait(Some(0)) && event.wait(None) && event.waiting().wait(None));
    event.clear();
    check!(!event.wait(Some(1)));
    let one = Event::synchronization(TAG)?;
    check!(!one.wait(Some(0)));
    one.set();
    check!(one.wait(None) && !one.wait(Some(0)));
    Ok(())
}

pub(crate) fn any_of(_: &mut Callback<'_>) -> Result<()> {
    let (one, two) = (Event::new(TAG)?, Event::new(TAG)?);
    let both = [one.waiting(), two.waiting()];
    check!(matches!(taken(|| wait_any(&both, Some(50))), (Ok(None), 50..1_000)));
    two.set();
    check!(wait_any(&both, None) == Ok(Some(1)));
    one.set();
    check!(wait_any(&both, Some(5)) == Ok(Some(0)));
    check!(wait_any(&[], Some(1)) == Err(Status::INVALID_PARAMETER));
    one.clear();
    two.clear();
    let mut most = [one.waiting(); MOST_WAITED];
    check!(wait_any(&most, Some(1)) == Ok(None));
    if let Some(last) = most.last_mut() {
        *last = two.waiting();
    }
    two.set();
    check!(wait_any(&most, Some(1)) == Ok(Some(MOST_WAITED - 1)));
    let more: [Waiting<'_>; MOST_WAITED + 1] = [two.waiting(); MOST_WAITED + 1];
    check!(wait_any(&more, Some(1)) == Err(Status::INVALID_PARAMETER));
    // Without a time limit it is waited for.
    let event = Shared::new(TAG, Event::new(TAG)?)?;
    let _thread = SystemThread::start(TAG, Later(event.clone(), Pause::new()?))?;
    let (answer, time) = taken(|| wait_any(&[event.waiting()], None));
    check!(answer == Ok(Some(0)) && time >= PAUSE);
    Ok(())
}

/// How long a thread takes, in milliseconds.
const PAUSE: u64 = 20;

/// A while.
pub(crate) struct Pause(Event);

impl Pause {
    pub(crate) fn new() -> Result<Self> {
        Event::new(TAG).map(Pause)
    }

    pub(crate) fn take(&self) {
        self.0.wait(Some(PAUSE as u32));
    }
}

/// Sets the event after a while.
struct Later(Shared<Event>, Pause);

impl Body for Later {
    fn run(self) {
        self.1.take();
        self.0.set();
    }
}

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Something that does its work after a while.
struct Adds {
    counted: Counted<'static>,
    done: Shared<AtomicUsize>,
    pause: Pause,
}

impl Adds {
    fn new(done: &Shared<AtomicUsize>) -> Result<Self> {
        Ok(Adds { pause: Pause::new()?, counted: Counted::new(&LIVE, 0), done: done.clone() })
    }

    fn add(self) {
        self.pause.take();
        drop(self.counted);
        self.done.fetch_add(1, Ordering::AcqRel);
    }
}

impl Body for Adds {
    fn run(self) {
        self.add();
    }
}

impl Work for Adds {
    fn run(self) {
        self.add();
    }
}

pub(crate) fn threads(_: &mut Callback<'_>) -> Result<()> {
    let done = Shared::new(TAG, AtomicUsize::new(0))?;
    let started = SystemThread::start(TAG, Adds::new(&done)?);
    if started.is_err() {
        check!(LIVE.load(Ordering::Acquire) == 0);
    }
    let thread = started?;
    check!(done.load(Ordering::Acquire) == 0);
    // Dropping it waits for its end.
    drop(thread);
    check!(done.load(Ordering::Acquire) == 1 && LIVE.load(Ordering::Acquire) == 0);
    Ok(())
}

pub(crate) fn work(_: &mut Callback<'_>) -> Result<()> {
    let done = Shared::new(TAG, AtomicUsize::new(0))?;
    let (filter, work) = (handle()?, Adds::new(&done)?);
    if let Err((status, work)) = work::queue(filter, TAG, work) {
        check!(LIVE.load(Ordering::Acquire) == 1);
        drop(work);
        check!(LIVE.load(Ordering::Acquire) == 0);
        return Err(status);
    }
    let pause = Pause::new()?;
    for _ in 0..100 {
        if done.load(Ordering::Acquire) != 0 {
            break;
        }
        pause.take();
    }
    check!(done.load(Ordering::Acquire) == 1 && LIVE.load(Ordering::Acquire) == 0);
    Ok(())
}

/// Adds to both numbers, one after the other.
struct AddsBehindLocks(Shared<(SpinLock<u64>, PushLock<u64>)>);

impl Body for AddsBehindLocks {
    fn run(self) {
        for _ in 0..20 {
            *self.0.0.lock() += 1;
            let before = *self.0.1.read();
            let mut behind = self.0.1.write();
            *behind = behind.max(before) + 1;
        }
    }
}

pub(crate) fn locks(_: &mut Callback<'_>) -> Result<()> {
    let both = Shared::new(TAG, (SpinLock::new(0), PushLock::new(0)))?;
    let one = SystemThread::start(TAG, AddsBehindLocks(both.clone()))?;
    let two = SystemThread::start(TAG, AddsBehindLocks(both.clone()))?;
    drop((one, two));
    check!(*both.0.lock() == 40 && *both.1.read() == 40);
    // Readers share it.
    let (first, second) = (both.1.read(), both.0.lock());
    check!(*first == *second);
    Ok(())
}
