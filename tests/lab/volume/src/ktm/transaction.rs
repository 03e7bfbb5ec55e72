//! One transaction: its phase, identity and properties.

use std::fmt;

use oorandom::Rand64;

use super::notify::Enlistment;
use crate::Wide;

/// A GUID, as its 16 bytes in memory order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// A version-4-shaped GUID that follows from a seed and a counter.
    pub(super) fn derived(seed: u64, counter: u64) -> Guid {
        let mut random = Rand64::new(u128::from(seed) << 64 | u128::from(counter));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random.rand_u64().to_le_bytes());
        bytes[8..].copy_from_slice(&random.rand_u64().to_le_bytes());
        bytes[7] = bytes[7] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        Guid(bytes)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.0;
        write!(f, "{{{:02x}{:02x}{:02x}{:02x}-{:02x}{:02x}-", b[3], b[2], b[1], b[0], b[5], b[4])?;
        write!(f, "{:02x}{:02x}-{:02x}{:02x}-", b[7], b[6], b[8], b[9])?;
        b[10..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("}")
    }
}

/// TRANSACTION_STATE as far as it is modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// TransactionStateNormal.
    Normal = 1,
    /// TransactionStateCommittedNotify: decided, participants are being told.
    CommittedNotify = 3,
}

/// TRANSACTION_OUTCOME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    /// TransactionOutcomeUndetermined.
    Undetermined = 1,
    /// TransactionOutcomeCommitted.
    Committed = 2,
    /// TransactionOutcomeAborted.
    Aborted = 3,
}

/// TRANSACTION_PROPERTIES_INFORMATION; isolation values are always 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    /// As it was set.
    pub timeout: i64,
    /// So far.
    pub outcome: Outcome,
    /// As it was set.
    pub description: Wide,
}

/// The way of a transaction (`txf-ktm §1.6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Work is accepted.
    Active,
    /// Participants flush caches.
    PrePreparing,
    /// Participants make everything durable; the last chance to roll back.
    Preparing,
    /// Volumes write their commit records. If none has succeeded yet, a failure still aborts.
    Deciding,
    /// Committed; the other participants are told.
    Committing,
    /// Everybody has committed; the filter manager's COMMIT_FINALIZE is on its way.
    Finalizing,
    /// Over.
    Committed,
    /// Participants undo.
    Aborting,
    /// Over.
    Aborted,
}

impl Phase {
    /// Whether nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Committed | Phase::Aborted)
    }

    pub(super) fn state(self) -> State {
        match self {
            Phase::Committing | Phase::Finalizing => State::CommittedNotify,
            _ => State::Normal,
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match self {
            Phase::Committing | Phase::Finalizing | Phase::Committed => Outcome::Committed,
            Phase::Aborting | Phase::Aborted => Outcome::Aborted,
            _ => Outcome::Undetermined,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) uow: Guid,
    pub(super) phase: Phase,
    pub(super) timeout: i64,
    pub(super) deadline: Option<i64>,
    pub(super) description: Wide,
    pub(super) commit_waits: bool,
    pub(super) enlistments: Vec<Enlistment>,
}

impl Transaction {
    pub(super) fn new(uow: Guid, timeout: i64, deadline: Option<i64>, description: Wide) -> Transaction {
        Transaction {
            uow,
            phase: Phase::Active,
            timeout,
            deadline,
            description,
            commit_waits: false,
            enlistments: Vec::new(),
        }
    }
}

pub(super) fn deadline(now: i64, timeout: i64) -> Option<i64> {
    match timeout {
        0 => None,
        relative if relative < 0 => Some(now.saturating_add(relative.saturating_neg())),
        absolute => Some(absolute),
    }
}
