//! Enlistments, and the notifications that drive a transaction from phase to phase.

use bitflags::bitflags;

use super::{Ktm, Phase, TxId};
use crate::Status;

/// Identifies an enlistment; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnlistmentId(pub u64);

/// Who is enlisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Participant {
    /// A volume's resource manager (TxF), by the number that the caller gave the volume.
    Volume(u32),
    /// Somebody else, by a number of the caller's own: a filter instance, a coordinator.
    Other(u64),
}

bitflags! {
    /// TRANSACTION_NOTIFY_* (`txf-ktm §1.7`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mask: u32 {
        /// Flush caches; work is still accepted, written through.
        const PREPREPARE = 0x1;
        /// Make everything durable.
        const PREPARE = 0x2;
        /// Publish.
        const COMMIT = 0x4;
        /// Undo.
        const ROLLBACK = 0x8;
        /// Everybody has committed. The filter manager's own: KTM does not know it on Windows, the filter
        /// manager strips it before enlisting. Here it may be asked for directly.
        const COMMIT_FINALIZE = 0x4000_0000;
    }
}

impl Mask {
    /// What every resource manager must take.
    pub const RESOURCE_MANAGER: Mask =
        Mask::PREPREPARE.union(Mask::PREPARE).union(Mask::COMMIT).union(Mask::ROLLBACK);
}

/// One notification, to be delivered to one enlistment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub enlistment: EnlistmentId,
    /// Who that is.
    pub participant: Participant,
    /// About what.
    pub transaction: TxId,
    /// Exactly one bit.
    pub notification: Mask,
}

/// How a participant answers a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Complete,
    /// It will call [`Ktm::answer`] later; the phase waits for it.
    Pending,
    /// It could not. Before the decision this rolls the transaction back; afterwards the participant must
    /// recover by itself.
    Failed(Status),
}

#[derive(Clone, Debug)]
pub(super) struct Enlistment {
    id: EnlistmentId,
    participant: Participant,
    mask: Mask,
    /// Queued or delivered, not answered.
    outstanding: Option<Mask>,
    /// A volume whose commit record is durable.
    committed: bool,
}

impl Enlistment {
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.is_none()
    }
}

impl Ktm {
    /// Enlists a participant; a second call of the same participant returns its first enlistment.
    ///
    /// # Errors
    /// TRANSACTION_NOT_ACTIVE once the transaction has begun to end, TRANSACTION_MUST_WRITETHROUGH after
    /// pre-prepare (`txf-ktm §1.6`), INVALID_PARAMETER for an empty mask, TRANSACTION_NOT_FOUND.
    pub fn enlist(&mut self, id: TxId, participant: Participant, mask: Mask) -> Result<EnlistmentId, Status> {
        if mask.is_empty() {
            return Err(Status::INVALID_PARAMETER);
        }
        let next = EnlistmentId(self.next_enlistment);
        let tx = self.get_mut(id)?;
        if let Some(known) = tx.enlistments.iter().find(|known| known.participant == participant) {
            return Ok(known.id);
        }
        match tx.phase {
            Phase::Active => {}
            Phase::Preparing => return Err(Status::TRANSACTION_MUST_WRITETHROUGH),
            _ => return Err(Status::TRANSACTION_NOT_ACTIVE),
        }
        tx.enlistments.push(Enlistment { id: next, participant, mask, outstanding: None, committed: false });
        self.next_enlistment += 1;
        Ok(next)
    }

    /// A participant rolls the transaction back (ZwRollbackEnlistment; also the last handle of an
    /// enlistment closed while active).
    ///
    /// # Errors
    /// TRANSACTION_REQUEST_NOT_VALID when it is too late, ENLISTMENT_NOT_FOUND.
    pub fn rollback_enlistment(&mut self, enlistment: EnlistmentId) -> Result<(), Status> {
        let id = self.transaction_of(enlistment)?;
        if self.abort(id) { Ok(()) } else { Err(Status::TRANSACTION_REQUEST_NOT_VALID) }
    }

    fn transaction_of(&self, enlistment: EnlistmentId) -> Result<TxId, Status> {
        self.transactions
            .iter()
            .find(|(_, tx)| tx.enlistments.iter().any(|known| known.id == enlistment))
            .map(|(&id, _)| id)
            .ok_or(Status::ENLISTMENT_NOT_FOUND)
    }

    /// The next notification to deliver, if any.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        self.queue.pop_front()
    }

    /// Takes the answer to a delivery. [`Answer::Pending`] changes nothing.
    pub fn answer(&mut self, delivery: Delivery, answer: Answer) {
        if answer == Answer::Pending {
            return;
        }
        let Ok(tx) = self.get_mut(delivery.transaction) else { return };
        let phase = tx.phase;
        let mut others_committed = false;
        for enlistment in &mut tx.enlistments {
            if enlistment.id == delivery.enlistment && enlistment.outstanding == Some(delivery.notification) {
                enlistment.outstanding = None;
                enlistment.committed |= phase == Phase::Deciding && answer == Answer::Complete;
            } else {
                others_committed |= enlistment.committed;
            }
        }
        let failed = matches!(answer, Answer::Failed(_));
        match phase {
            Phase::PrePreparing | Phase::Preparing if failed => {
                self.enter(delivery.transaction, Phase::Aborting)
            }
            Phase::Deciding if failed && !others_committed => {
                self.enter(delivery.transaction, Phase::Aborting);
            }
            _ => self.advance(delivery.transaction),
        }
    }

    /// Delivers until nothing is queued. Pending answers leave their transactions waiting.
    pub fn pump(&mut self, mut deliver: impl FnMut(Delivery) -> Answer) {
        while let Some(delivery) = self.next_delivery() {
            let answer = deliver(delivery);
            self.answer(delivery, answer);
        }
    }

    pub(super) fn enter(&mut self, id: TxId, phase: Phase) {
        let Some(tx) = self.transactions.get_mut(&id) else { return };
        tx.phase = phase;
        let told = match phase {
            Phase::PrePreparing => Mask::PREPREPARE,
            Phase::Preparing => Mask::PREPARE,
            Phase::Deciding | Phase::Committing => Mask::COMMIT,
            Phase::Finalizing => Mask::COMMIT_FINALIZE,
            Phase::Aborting => Mask::ROLLBACK,
            Phase::Active | Phase::Committed | Phase::Aborted => return,
        };
        // An abort overtakes what was queued for an earlier phase of this transaction.
        self.queue.retain(|delivery| delivery.transaction != id);
        for enlistment in &mut tx.enlistments {
            // Volumes hear COMMIT in the deciding phase, everybody else after it.
            let is_volume = matches!(enlistment.participant, Participant::Volume(_));
            let addressed = match phase {
                Phase::Deciding => is_volume,
                Phase::Committing => !is_volume,
                _ => true,
            };
            let wants = addressed && enlistment.mask.contains(told);
            enlistment.outstanding = wants.then_some(told);
            if wants {
                self.queue.push_back(Delivery {
                    enlistment: enlistment.id,
                    participant: enlistment.participant,
                    transaction: id,
                    notification: told,
                });
            }
        }
        self.advance(id);
    }

    /// Goes on to the next phase once nobody has an answer outstanding.
    fn advance(&mut self, id: TxId) {
        let Some(tx) = self.transactions.get_mut(&id) else { return };
        if tx.enlistments.iter().any(|enlistment| !enlistment.is_idle()) {
            return;
        }
        let next = match tx.phase {
            Phase::PrePreparing => Phase::Preparing,
            Phase::Preparing => Phase::Deciding,
            Phase::Deciding => Phase::Committing,
            Phase::Committing => Phase::Finalizing,
            Phase::Finalizing => Phase::Committed,
            Phase::Aborting => Phase::Aborted,
            Phase::Active | Phase::Committed | Phase::Aborted => return,
        };
        self.enter(id, next);
    }
}
