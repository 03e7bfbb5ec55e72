//! Byte-range locks, per stream, owned by open, process and key (FsRtl's rules, `txf-ktm §4.8`). Whether a
//! transaction changes them is not documented; here it does not.

use super::{Io, Open, OpenId, Volume};
use crate::Status;

/// Who owns a lock, besides the open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// The requesting process.
    pub process: u64,
    /// The key of the request.
    pub key: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lock {
    open: OpenId,
    owner: LockOwner,
    start: u64,
    length: u64,
    exclusive: bool,
}

impl Lock {
    fn overlaps(&self, start: u64, length: u64) -> bool {
        let end = u128::from(self.start) + u128::from(self.length);
        let other = u128::from(start) + u128::from(length);
        self.length > 0 && length > 0 && u128::from(self.start) < other && u128::from(start) < end
    }
}

impl Volume {
    /// Locks a range. Never waits: the I/O manager keeps a waiting request and tries again.
    ///
    /// # Errors
    /// LOCK_NOT_GRANTED, INVALID_LOCK_RANGE if the range wraps.
    pub fn lock(
        &mut self,
        id: OpenId,
        owner: LockOwner,
        start: u64,
        length: u64,
        exclusive: bool,
    ) -> Result<(), Status> {
        let open = self.live_file(id)?;
        if open.directory {
            return Err(Status::INVALID_PARAMETER);
        }
        if length > 0 && start.checked_add(length - 1).is_none() {
            return Err(Status::INVALID_LOCK_RANGE);
        }
        let locks = self.locks.entry((open.file.number(), open.stream)).or_default();
        if locks.iter().any(|lock| (exclusive || lock.exclusive) && lock.overlaps(start, length)) {
            return Err(Status::LOCK_NOT_GRANTED);
        }
        locks.push(Lock { open: id, owner, start, length, exclusive });
        Ok(())
    }

    /// Unlocks exactly one range.
    ///
    /// # Errors
    /// RANGE_NOT_LOCKED.
    pub fn unlock(&mut self, id: OpenId, owner: LockOwner, start: u64, length: u64) -> Result<(), Status> {
        let open = self.live_file(id)?;
        let locks = self.locks.entry((open.file.number(), open.stream)).or_default();
        let found = locks
            .iter()
            .position(|lock| (lock.open, lock.owner, lock.start, lock.length) == (id, owner, start, length));
        locks.remove(found.ok_or(Status::RANGE_NOT_LOCKED)?);
        Ok(())
    }

    /// Unlocks every range of an open and process, of one key if given.
    ///
    /// # Errors
    /// HANDLE_NO_LONGER_VALID.
    pub fn unlock_all(&mut self, id: OpenId, process: u64, key: Option<u32>) -> Result<(), Status> {
        self.live_file(id)?;
        self.release_locks(id, process, key);
        Ok(())
    }

    pub(super) fn release_locks(&mut self, id: OpenId, process: u64, key: Option<u32>) {
        for locks in self.locks.values_mut() {
            locks.retain(|lock| {
                lock.open != id
                    || lock.owner.process != process
                    || key.is_some_and(|key| key != lock.owner.key)
            });
        }
        self.locks.retain(|_, locks| !locks.is_empty());
    }

    /// The locks that an open holds, for taking them again on another one: (owner, start, length, exclusive).
    pub fn locks_of(&self, id: OpenId) -> Vec<(LockOwner, u64, u64, bool)> {
        let all = self.locks.values().flatten().filter(|lock| lock.open == id);
        all.map(|lock| (lock.owner, lock.start, lock.length, lock.exclusive)).collect()
    }

    pub(super) fn check_read_lock(
        &self,
        id: OpenId,
        open: &Open,
        start: u64,
        length: u64,
        io: Io,
    ) -> Result<(), Status> {
        let owner = LockOwner { process: io.process, key: io.key };
        self.check_locks(open, start, length, |lock| {
            !lock.exclusive || (lock.open, lock.owner) == (id, owner)
        })
    }

    /// A shared lock keeps even its owner from writing.
    pub(super) fn check_write_lock(
        &self,
        id: OpenId,
        open: &Open,
        start: u64,
        length: u64,
        io: Io,
    ) -> Result<(), Status> {
        let owner = LockOwner { process: io.process, key: io.key };
        self.check_locks(open, start, length, |lock| lock.exclusive && (lock.open, lock.owner) == (id, owner))
    }

    fn check_locks(
        &self,
        open: &Open,
        start: u64,
        length: u64,
        passes: impl Fn(&Lock) -> bool,
    ) -> Result<(), Status> {
        let locks = self.locks.get(&(open.file.number(), open.stream.clone()));
        let mut locks = locks.into_iter().flatten();
        let conflict = locks.any(|lock| lock.overlaps(start, length) && !passes(lock));
        if conflict { Err(Status::FILE_LOCK_CONFLICT) } else { Ok(()) }
    }
}
