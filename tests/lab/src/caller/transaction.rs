//! Programs that use transactions by themselves: NtCreateTransaction and its family.

use std::rc::Rc;

use lab_executive::Mode;
use lab_volume::{CreateTransaction, Status};

use super::{Caller, Handle, check};
use crate::io::file::Transacted;
use crate::ktm;
use crate::rooms::Rooms;

/// `TXFS_MINIVERSION_DEFAULT_VIEW` (txf-ktm §2).
const DEFAULT_VIEW: u16 = 0xFFFE;
/// `TRANSACTION_ALL_ACCESS`, as the header's macro evaluates (txf-ktm §1.3).
const ALL_ACCESS: u32 = 0x1F_003F;

impl Caller<'_> {
    /// NtCreateTransaction: a transaction of the program's own.
    ///
    /// # Errors
    /// Those of NtCreateTransaction.
    pub fn create_transaction(&self) -> Result<Handle, Status> {
        let lab = self.lab;
        let body = ktm::create(lab, CreateTransaction::default(), None)?;
        let handle = lab.open_handle(lab.thread().process().as_ref(), body, ALL_ACCESS, false);
        lab.objects.dereference(lab, body);
        Ok(Handle(handle))
    }

    /// NtCommitTransaction, waiting for the end.
    ///
    /// # Errors
    /// Those of NtCommitTransaction.
    pub fn commit_transaction(&self, transaction: Handle) -> Result<(), Status> {
        let own = ktm::transaction_of_handle(self.lab, transaction.0, Mode::User);
        let own = own.map_err(|status| Status(status.cast_unsigned()))?;
        check(ktm::commit(self.lab, own.id, true))
    }

    /// NtRollbackTransaction, waiting for the end.
    ///
    /// # Errors
    /// Those of NtRollbackTransaction.
    pub fn rollback_transaction(&self, transaction: Handle) -> Result<(), Status> {
        let own = ktm::transaction_of_handle(self.lab, transaction.0, Mode::User);
        let own = own.map_err(|status| Status(status.cast_unsigned()))?;
        check(ktm::rollback(self.lab, own.id, true))
    }

    /// What an open inside the transaction behind a handle carries.
    pub(super) fn transacted(&self, transaction: Handle) -> Result<Rc<Transacted>, Status> {
        let failed = |status: i32| Status(status.cast_unsigned());
        let own = ktm::transaction_of_handle(self.lab, transaction.0, Mode::User).map_err(failed)?;
        let object = self.lab.ktm().body(own.id).ok_or(Status::TRANSACTION_NOT_FOUND)?;
        Ok(Rc::new(Transacted { id: own.id, object, miniversion: DEFAULT_VIEW }))
    }
}
