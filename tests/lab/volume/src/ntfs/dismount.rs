//! A volume that is locked, dismounted while files are open, or whose device is removed (`minifilter-rules §2.7`).

use std::collections::BTreeMap;

use super::{OpenId, Volume};
use crate::Status;

/// Who keeps the volume for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// An open of the volume.
    Open(OpenId),
    /// Nobody's handle: its device may be removed.
    Removal,
}

impl Volume {
    /// FSCTL_LOCK_VOLUME, through an open of the volume itself.
    ///
    /// # Errors
    /// INVALID_PARAMETER for an open of something else; ACCESS_DENIED while there are other opens, or a lock, or (by
    /// [`lock_beside_transactions`](crate::Switches::lock_beside_transactions)) transactions that hold files.
    pub fn lock_volume(&mut self, id: OpenId) -> Result<(), Status> {
        self.volume_open(id)?;
        self.take_alone(Lock::Open(id))
    }

    /// FSCTL_UNLOCK_VOLUME.
    ///
    /// # Errors
    /// INVALID_PARAMETER for an open of something else, ACCESS_DENIED if it has no lock.
    pub fn unlock_volume(&mut self, id: OpenId) -> Result<(), Status> {
        self.volume_open(id)?;
        if self.locked != Some(Lock::Open(id)) {
            return Err(Status::ACCESS_DENIED);
        }
        self.locked = None;
        Ok(())
    }

    /// FSCTL_DISMOUNT_VOLUME: every open but this one is dead from now on, transactions are undone, and what is on the
    /// disk is what a next mount finds. The same value is that next mount.
    ///
    /// # Errors
    /// INVALID_PARAMETER for an open of something else, ACCESS_DENIED if somebody else has locked the volume.
    pub fn dismount_volume(&mut self, id: OpenId) -> Result<(), Status> {
        self.volume_open(id)?;
        if self.locked.is_some_and(|lock| lock != Lock::Open(id)) {
            return Err(Status::ACCESS_DENIED);
        }
        self.take_down(Some(id));
        Ok(())
    }

    /// IRP_MN_QUERY_REMOVE_DEVICE: nobody opens anything until [`cancel_removal`](Volume::cancel_removal).
    ///
    /// # Errors
    /// ACCESS_DENIED as for [`lock_volume`](Volume::lock_volume).
    pub fn query_removal(&mut self) -> Result<(), Status> {
        self.take_alone(Lock::Removal)
    }

    /// IRP_MN_CANCEL_REMOVE_DEVICE.
    pub fn cancel_removal(&mut self) {
        if self.locked == Some(Lock::Removal) {
            self.locked = None;
        }
    }

    /// The device has been removed, as announced (IRP_MN_REMOVE_DEVICE): as a dismount, and nothing more reaches the disk.
    pub fn remove(&mut self) {
        self.take_down(None);
        self.disk.cut_power();
    }

    /// The device is gone already (IRP_MN_SURPRISE_REMOVAL): nothing that was not durable will be.
    pub fn surprise_removal(&mut self) {
        self.disk.cut_power();
        self.take_down(None);
    }

    /// Whether somebody has the volume for itself.
    pub fn is_locked(&self) -> bool {
        self.locked.is_some()
    }

    /// At system shutdown: what was written is durable. Transactions that live are not ended: nobody asked for their end,
    /// and the next mount undoes them (`txf-ktm §4.6`).
    ///
    /// # Errors
    /// Disk errors.
    pub fn shut_down(&mut self) -> Result<(), Status> {
        self.flush_disk()
    }

    fn volume_open(&self, id: OpenId) -> Result<(), Status> {
        let dead = self.dismounted.get(&id) == Some(&Dead::Volume);
        if dead || self.open(id)?.volume { Ok(()) } else { Err(Status::INVALID_PARAMETER) }
    }

    /// Opens that were cleaned up count as long as somebody refers to them: NTFS cannot purge them.
    fn take_alone(&mut self, lock: Lock) -> Result<(), Status> {
        let others = self.opens.keys().any(|&other| lock != Lock::Open(other));
        let holds = self.transactions.values().any(|tx| !tx.files.is_empty());
        if self.locked.is_some() || others || (holds && !self.switches.lock_beside_transactions) {
            return Err(Status::ACCESS_DENIED);
        }
        self.undo_all();
        self.flush_disk()?;
        self.locked = Some(lock);
        Ok(())
    }

    fn undo_all(&mut self) {
        for id in self.transactions.keys().copied().collect::<Vec<_>>() {
            self.abort(id);
        }
    }

    fn take_down(&mut self, by: Option<OpenId>) {
        self.undo_all();
        let _ = self.flush_disk();
        for (id, open) in std::mem::take(&mut self.opens) {
            let dead = match open.transaction {
                _ if Some(id) == by => Dead::Volume,
                Some(_) => Dead::Answers(self.switches.transacted_open_at_dismount),
                None => Dead::Answers(Status::VOLUME_DISMOUNTED),
            };
            self.dismounted.insert(id, dead);
        }
        self.end_watches(Status::NOTIFY_CLEANUP, |_, _| true);
        self.unreported.clear();
        self.doomed.clear();
        self.locks.clear();
        self.valid_ahead.clear();
        self.written_at.clear();
        self.writable_views.clear();
        self.user_mapped.clear();
        self.images.clear();
        // A file whose last name is gone has no handle any more.
        let _ = self.recover(BTreeMap::new());
    }

    /// The cleanup or close of an open that a dismount has killed: it never fails. False if it is none.
    pub(super) fn lets_go_of_dead(&mut self, id: OpenId, closes: bool) -> bool {
        let dead = self.dismounted.contains_key(&id);
        if dead && self.locked == Some(Lock::Open(id)) {
            self.locked = None;
        }
        if closes {
            self.dismounted.remove(&id);
        }
        dead
    }
}

/// What is left of an open after a dismount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dead {
    /// It answers everything with this.
    Answers(Status),
    /// It is of the volume and has dismounted it: it may still lock and unlock it.
    Volume,
}

impl Dead {
    pub(super) fn status(self) -> Status {
        match self {
            Dead::Answers(status) => status,
            Dead::Volume => Status::VOLUME_DISMOUNTED,
        }
    }
}
