//! Who may open a file at the same time: share modes, and TxF's locks on top of them.

use super::record::RecordNumber;
use super::request::Share;
use super::security::access;
use super::{Open, Volume};
use crate::Status;
use crate::ktm::TxId;
use crate::names::Key;

impl Volume {
    /// Opens of a file that have not been cleaned up.
    pub(super) fn opens_of(&self, number: RecordNumber) -> impl Iterator<Item = &Open> {
        self.opens.values().filter(move |open| open.file.number() == number && !open.volume && !open.cleaned)
    }

    /// IoCheckShareAccess: only opens with data or delete access count, per stream.
    pub(super) fn share_check(
        &self,
        number: RecordNumber,
        stream: &Key,
        wanted: u32,
        share: Share,
    ) -> Result<(), Status> {
        let needed = needs(wanted);
        if needed.is_empty() {
            return Ok(());
        }
        let opens = self.opens_of(number).filter(|open| open.stream == *stream && open.shares);
        for other in opens {
            let held = needs(other.access);
            if !held.is_empty() && (!other.share.contains(needed) || !share.contains(held)) {
                return Err(Status::SHARING_VIOLATION);
            }
        }
        Ok(())
    }

    /// The lock matrix of `txf-ktm §4.2`, and whether the new open is a writer in its sense. Locks are per
    /// file, not per stream; opens of the same transaction are exempt from each other.
    pub(super) fn transactional_check(
        &self,
        transaction: Option<TxId>,
        number: RecordNumber,
        wanted: u32,
    ) -> Result<bool, Status> {
        let joins = transaction.is_some_and(|tx| self.transactions[&tx].files.contains_key(&number));
        let writer = joins || wanted & access::TXF_WRITER != 0;
        if writer && self.locked_by_other(number, transaction).is_some() {
            return Err(Status::SHARING_VIOLATION);
        }
        match transaction {
            None if writer && self.has_transacted_reader(number) => Err(Status::SHARING_VIOLATION),
            Some(_) if self.has_plain_writer(number) => Err(Status::TRANSACTIONAL_CONFLICT),
            _ => Ok(writer),
        }
    }

    fn has_transacted_reader(&self, number: RecordNumber) -> bool {
        self.opens_of(number).any(|open| open.transaction.is_some() && open.ended.is_none())
    }

    /// A writer outside transactions.
    pub(super) fn has_plain_writer(&self, number: RecordNumber) -> bool {
        let mask = if self.switches.write_attributes_alone_is_writer {
            access::TXF_WRITER
        } else {
            access::TXF_WRITER & !access::WRITE_ATTRIBUTES
        };
        // As for a transacted one, whether the open of a rename's target folder is one goes by switch.
        let counts = |open: &&Open| !open.target_directory || self.switches.target_directory_is_writer;
        self.opens_of(number).filter(counts).any(|open| open.transaction.is_none() && open.access & mask != 0)
    }

    /// While a live transaction modifies a file, only transacted readers may execute it (`txf-ktm §4.2`).
    pub(super) fn may_execute(&self, transaction: Option<TxId>, number: RecordNumber, wanted: u32) -> bool {
        let own = transaction.is_some_and(|tx| self.transactions[&tx].files.contains_key(&number));
        let other = self.locked_by_other(number, transaction).is_some();
        let reader = transaction.is_some() && wanted & access::TXF_WRITER == 0;
        if own { self.switches.execute_in_modifying_transaction } else { !other || reader }
    }
}

/// What of an access others must share.
fn needs(access: u32) -> Share {
    let mut needs = Share::empty();
    needs.set(Share::READ, access & (access::READ_DATA | access::EXECUTE) != 0);
    needs.set(Share::WRITE, access & (access::WRITE_DATA | access::APPEND_DATA) != 0);
    needs.set(Share::DELETE, access & access::DELETE != 0);
    needs
}
