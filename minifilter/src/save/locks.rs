//! Byte-range locks that a handle holds through its twin, so that they can be taken again when the twin is exchanged.

use kernel::callback::{LockRange, LockRequest};
use kernel::file::FileObject;
use kernel::instance::Instance;
use kernel::pool::{PoolVec, Tag};
use kernel::process::{Process, ProcessKey, ProcessRef};
use kernel::sync::SpinLock;
use kernel::{Result, Status};

const TAG: Tag = Tag::new(b"InLk");

/// Locks that one handle may hold. More are refused as a system without resources refuses them: one that is not known
/// here would be lost with the twin.
const MOST: usize = 1024;

const IRP_MN_LOCK: u8 = 1;
const IRP_MN_UNLOCK_SINGLE: u8 = 2;
const IRP_MN_UNLOCK_ALL: u8 = 3;
const IRP_MN_UNLOCK_ALL_BY_KEY: u8 = 4;

struct Lock {
    number: u32,
    process: ProcessRef,
    range: LockRange,
    granted: bool,
    /// It was granted to a twin that is being closed, because another one has just given its own locks back.
    stale: bool,
    /// Of the twin that holds it.
    generation: u32,
}

/// The locks of one handle.
pub struct Locks {
    locks: PoolVec<Lock>,
    next: u32,
    /// How many twins there were before this one.
    generation: u32,
}

impl Default for Locks {
    fn default() -> Self {
        Self::new()
    }
}

/// A lock that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    number: u32,
    generation: u32,
}

impl Locks {
    /// None.
    pub const fn new() -> Self {
        Locks { locks: PoolVec::new(TAG), next: 0, generation: 0 }
    }

    /// A lock is about to be asked for. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`; it must not be asked for
    /// then.
    pub fn ask(&mut self, process: Process<'_>, range: LockRange) -> Result<Asked> {
        if self.locks.len() >= MOST {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        let process = process.reference().ok_or(Status::INSUFFICIENT_RESOURCES)?;
        let number = self.next;
        self.next = number.wrapping_add(1);
        let generation = self.generation;
        self.locks.push(Lock { number, process, range, granted: false, stale: false, generation })?;
        Ok(Asked { number, generation: self.generation })
    }

    /// The answer came. Up to DISPATCH_LEVEL. False: it is that of a twin that is no more, and so is the lock.
    pub fn answered(&mut self, asked: Asked, granted: bool) -> bool {
        let current = asked.generation == self.generation;
        if granted {
            if let Some(lock) = self.locks.iter_mut().find(|lock| lock.number == asked.number) {
                // One that came too late is known until it has been given back: nobody could take it otherwise.
                lock.granted = current;
                lock.stale = !current;
            }
        } else {
            drop(self.locks.take(|lock| lock.number == asked.number));
        }
        current
    }

    /// Ranges were unlocked. Up to DISPATCH_LEVEL.
    pub fn unlocked(&mut self, process: ProcessKey, request: &LockRequest) {
        let range = request.range;
        let of = |lock: &Lock| lock.granted && lock.process.get().key() == process;
        let same = |lock: &Lock| {
            lock.range.key == range.key
                && lock.range.offset == range.offset
                && lock.range.length == range.length
        };
        match request.minor {
            IRP_MN_UNLOCK_SINGLE => drop(self.locks.take(|lock| of(lock) && same(lock))),
            IRP_MN_UNLOCK_ALL => while self.locks.take(of).is_some() {},
            IRP_MN_UNLOCK_ALL_BY_KEY => {
                while self.locks.take(|lock| of(lock) && lock.range.key == range.key).is_some() {}
            }
            _ => {}
        }
    }

    /// Whether somebody waits for one. Up to DISPATCH_LEVEL.
    pub fn is_waited_for(&self) -> bool {
        let waits = |lock: &Lock| !lock.granted && !lock.stale && lock.generation == self.generation;
        self.locks.iter().any(waits)
    }

    /// The twin is no more: what was not answered yet never will be.
    pub fn lose_twin(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// A lock that an earlier twin held, and who owns it.
    fn lost(&self) -> Option<(u32, LockRange, ProcessRef)> {
        let lock = self.locks.iter().find(|lock| lock.granted && lock.generation != self.generation)?;
        Some((lock.number, lock.range, lock.process.get().reference()?))
    }

    /// The next process, in some order, that has asked for locks, and where to go on after it.
    fn owner(&self, from: usize) -> Option<(usize, ProcessRef)> {
        let mut places = self.locks.iter().enumerate().skip(from);
        let is_new = |place: usize, lock: &Lock| {
            let key = lock.process.get().key();
            !self.locks.iter().take(place).any(|earlier| earlier.process.get().key() == key)
        };
        let (place, lock) = places.find(|(place, lock)| is_new(*place, lock))?;
        Some((place.saturating_add(1), lock.process.get().reference()?))
    }

    fn forget_stale(&mut self) {
        while self.locks.take(|lock| lock.stale).is_some() {}
    }

    fn taken_again(&mut self, number: u32) {
        let generation = self.generation;
        if let Some(lock) = self.locks.iter_mut().find(|lock| lock.number == number) {
            lock.generation = generation;
        }
    }
}

/// Whether a request asks for a lock.
pub fn is_lock(request: &LockRequest) -> bool {
    request.minor == IRP_MN_LOCK
}

/// Gives back the locks that a handle holds through its twin, each as its own process, and ends the requests that wait for
/// one: the twin's cleanup comes from the system process, and may leave those of others (txf-ktm §4.8). They stay
/// remembered. Nobody asks for locks of the handle meanwhile. PASSIVE_LEVEL.
pub fn give_back(locks: &SpinLock<Locks>, twin: FileObject<'_>, instance: Instance<'_>) {
    let mut from = 0;
    loop {
        let owner = locks.lock().owner(from);
        let Some((next, process)) = owner else { break };
        from = next;
        // What fails now ends with the file object.
        let _ = process.attached(|| twin.unlock_all(instance));
    }
    locks.lock().forget_stale();
}

/// As [`give_back`], for a handle that is being closed: what it waits for it does not get any more, neither from its own
/// locks nor before they are gone. PASSIVE_LEVEL.
pub fn end(locks: &SpinLock<Locks>, twin: FileObject<'_>, instance: Instance<'_>) {
    locks.lock().lose_twin();
    give_back(locks, twin, instance);
}

/// Takes the locks of a handle again, on its new twin, each as its own process. Nobody asks for or gives back locks of the
/// handle meanwhile. PASSIVE_LEVEL. Fails as the file system fails: somebody else was faster.
pub fn take_again(locks: &SpinLock<Locks>, twin: FileObject<'_>, instance: Instance<'_>) -> Result<()> {
    loop {
        let lost = locks.lock().lost();
        let Some((number, range, process)) = lost else { return Ok(()) };
        process.attached(|| twin.lock(instance, &range))?;
        locks.lock().taken_again(number);
    }
}
