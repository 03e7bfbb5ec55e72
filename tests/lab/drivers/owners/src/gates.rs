//! The gate, by one thread and by two.

use kernel::callback::Callback;
use kernel::gate::Gate;
use kernel::pool::Shared;
use kernel::sync::Event;
use kernel::thread::{Body, SystemThread};
use kernel::time::milliseconds;
use kernel::{Result, Status};

use crate::TAG;
use crate::waiting::Pause;

/// How long somebody waits who may be let through, in milliseconds.
const PATIENCE: u32 = 1_000;
/// And who is not, or not before.
const PAUSE: u32 = 30;

pub(crate) fn alone(_: &mut Callback<'_>) -> Result<()> {
    let gate = Gate::new(TAG, 1_u64)?;
    check!(!gate.is_closed() && gate.wait_until_free(0) && gate.wait_until_free(0));
    check!(gate.enter() && gate.enter());
    // Who is inside keeps it from being held, for as long as was said.
    let begun = milliseconds();
    check!(gate.hold(Some(PAUSE)).is_none());
    check!(milliseconds().saturating_sub(begun) >= u64::from(PAUSE));
    gate.leave();
    check!(gate.hold(Some(PAUSE)).is_none());
    // And is not kept from going in again.
    check!(gate.enter() && gate.wait_until_free(0));
    gate.leave();
    gate.leave();
    {
        let mut held = gate.hold(Some(PAUSE)).ok_or(Status::IO_TIMEOUT)?;
        check!(*held == 1 && !held.is_closed());
        *held = 2;
        check!(!gate.wait_until_free(PAUSE) && !gate.wait_until_free(1) && !gate.is_closed());
    }
    check!(gate.wait_until_free(0) && gate.enter());
    gate.leave();
    // A signal that came too late for one wait does not end the next.
    check!(gate.enter());
    check!(gate.hold(Some(1)).is_none());
    gate.leave();
    check!(gate.hold(None).is_some_and(|held| *held == 2));
    Ok(())
}

pub(crate) fn closed(_: &mut Callback<'_>) -> Result<()> {
    let gate = Gate::new(TAG, 5_u64)?;
    check!(gate.enter());
    gate.close();
    check!(gate.is_closed() && !gate.enter());
    check!(gate.close_and_hold(Some(PAUSE)).is_none());
    gate.leave();
    {
        let held = gate.close_and_hold(None).ok_or(Status::IO_TIMEOUT)?;
        check!(held.is_closed() && *held == 5 && !gate.enter());
    }
    check!(gate.is_closed() && !gate.enter() && gate.hold(None).is_some_and(|held| held.is_closed()));
    let other = Gate::new(TAG, ())?;
    check!(other.close_and_hold(None).is_some() && other.is_closed() && !other.enter());
    Ok(())
}

/// What two threads have in common.
struct Both {
    gate: Gate<u64>,
    begun: Event,
    pause: Pause,
}

/// Goes in, stays a while, and goes out.
struct Visits(Shared<Both>);

impl Body for Visits {
    fn run(self) {
        if self.0.gate.enter() {
            self.0.begun.set();
            self.0.pause.take();
            self.0.gate.leave();
        }
    }
}

/// Holds it for a while, and counts.
struct Holds(Shared<Both>);

impl Body for Holds {
    fn run(self) {
        if let Some(mut held) = self.0.gate.hold(None) {
            self.0.begun.set();
            self.0.pause.take();
            *held += 1;
        }
    }
}

/// Closes it, as soon as its holder is asked to wait.
struct Closes(Shared<Both>);

impl Body for Closes {
    fn run(self) {
        self.0.gate.close();
    }
}

fn both() -> Result<Shared<Both>> {
    Shared::new(TAG, Both { gate: Gate::new(TAG, 0)?, begun: Event::new(TAG)?, pause: Pause::new()? })
}

pub(crate) fn of_two(_: &mut Callback<'_>) -> Result<()> {
    // Who wants to hold it waits for who is inside, and no longer.
    let both_of = both()?;
    let visitor = SystemThread::start(TAG, Visits(both_of.clone()))?;
    both_of.begun.wait(None);
    let begun = milliseconds();
    check!(both_of.gate.hold(Some(PATIENCE)).is_some());
    let waited = milliseconds().saturating_sub(begun);
    check!(waited < u64::from(PATIENCE));
    drop(visitor);
    // Also for the last of several.
    let visitor = SystemThread::start(TAG, Visits(both_of.clone()))?;
    check!(both_of.gate.enter());
    let second = SystemThread::start(TAG, Leaves(both_of.clone()))?;
    check!(both_of.gate.hold(Some(PATIENCE)).is_some());
    drop((visitor, second));
    // Who wants to go in waits for who holds it, and so do others who want to hold it.
    let held = both()?;
    let holder = SystemThread::start(TAG, Holds(held.clone()))?;
    held.begun.wait(None);
    check!(held.gate.enter());
    held.gate.leave();
    drop(holder);
    held.begun.clear();
    let holder = SystemThread::start(TAG, Holds(held.clone()))?;
    held.begun.wait(None);
    check!(!held.gate.wait_until_free(1) && held.gate.wait_until_free(PATIENCE));
    drop(holder);
    held.begun.clear();
    let holder = SystemThread::start(TAG, Holds(held.clone()))?;
    held.begun.wait(None);
    check!(held.gate.hold(Some(PATIENCE)).is_some_and(|held| *held == 3));
    drop(holder);
    // Who waits for a gate that is closed meanwhile does not come in.
    held.begun.clear();
    let holder = SystemThread::start(TAG, Holds(held.clone()))?;
    held.begun.wait(None);
    let closer = SystemThread::start(TAG, Closes(held.clone()))?;
    check!(!held.gate.enter());
    drop((holder, closer));
    Ok(())
}

/// Goes out, for who went in.
struct Leaves(Shared<Both>);

impl Body for Leaves {
    fn run(self) {
        self.0.pause.take();
        self.0.pause.take();
        self.0.gate.leave();
    }
}
