//! The Kernel Transaction Manager: transactions, enlistments, phases, timeouts (`txf-ktm §1`).
//!
//! The model knows transactions by [`TxId`] and counts no handles: the object manager does that and calls
//! [`Ktm::last_handle_closed`]. It runs nobody's code either: what an enlistment must hear is queued as
//! [`Delivery`] data. The caller takes deliveries in order with [`Ktm::next_delivery`], runs the volume or
//! the filter callback, and answers with [`Ktm::answer`]; [`pump`](Ktm::pump) does both in one loop. Between
//! two deliveries every phase is visible in [`Ktm::phase`], so a fault can be put there.
//!
//! Approximated: the transaction manager's own log is the log of the one volume that commits first (a
//! single-phase commit); with several volumes in a transaction a crash between their commit records can part
//! them, which the real log would heal. Superior enlistments and in-doubt outcomes are not modelled.

mod notify;
mod transaction;

use std::collections::{BTreeMap, VecDeque};

use crate::{Status, Wide};
pub use notify::{Answer, Delivery, EnlistmentId, Mask, Participant};
pub use transaction::{Guid, Outcome, Phase, Properties, State};

use notify::Enlistment;
use transaction::Transaction;

/// Identifies a transaction for as long as the [`Ktm`] lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub u64);

/// `MAX_TRANSACTION_DESCRIPTION_LENGTH`, in UTF-16 units (`txf-ktm §1.3`).
pub const MAX_DESCRIPTION: usize = 64;
/// `TRANSACTION_DO_NOT_PROMOTE`, the only legal create option.
pub const DO_NOT_PROMOTE: u32 = 1;

/// What ZwCreateTransaction is given, rights and object attributes apart.
#[derive(Clone, Debug, Default)]
pub struct CreateTransaction {
    /// Unit of work; `None` makes one, which is what the documentation recommends.
    pub uow: Option<Guid>,
    /// Only [`DO_NOT_PROMOTE`] is legal.
    pub options: u32,
    /// Must be 0.
    pub isolation_level: u32,
    /// Must be 0.
    pub isolation_flags: u32,
    /// In 100 ns: negative relative, positive absolute, 0 never (`txf-ktm §1.4`).
    pub timeout: i64,
    /// At most [`MAX_DESCRIPTION`] units.
    pub description: Wide,
}

/// Behaviour of KTM that is not documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KtmSwitches {
    /// What rolling back an already aborted transaction returns. Not listed: `txf-ktm §1.2`, open question
    /// (b) of §9. Default: TRANSACTION_ALREADY_ABORTED.
    pub rollback_after_abort: Status,
    /// Whether a terminating NUL would count against [`MAX_DESCRIPTION`] (`txf-ktm §1.3`). Default: no, 64
    /// units are accepted.
    pub description_nul_counts: bool,
}

impl Default for KtmSwitches {
    fn default() -> KtmSwitches {
        KtmSwitches {
            rollback_after_abort: Status::TRANSACTION_ALREADY_ABORTED,
            description_nul_counts: false,
        }
    }
}

/// All transactions of a machine.
#[derive(Clone, Debug)]
pub struct Ktm {
    /// Undocumented behaviour, both ways.
    pub switches: KtmSwitches,
    transactions: BTreeMap<TxId, Transaction>,
    next: u64,
    next_enlistment: u64,
    seed: u64,
    now: i64,
    frozen: bool,
    queue: VecDeque<Delivery>,
}

impl Ktm {
    /// A transaction manager whose made-up GUIDs follow from `seed`, with its clock at `now` (100 ns).
    pub fn new(seed: u64, now: i64) -> Ktm {
        Ktm {
            switches: KtmSwitches::default(),
            transactions: BTreeMap::new(),
            next: 1,
            next_enlistment: 1,
            seed,
            now,
            frozen: false,
            queue: VecDeque::new(),
        }
    }

    /// Makes a transaction.
    ///
    /// # Errors
    /// INVALID_PARAMETER for a bad option, isolation value or description; OBJECT_NAME_COLLISION if the unit
    /// of work exists (`txf-ktm §1.2` lists OBJECT_NAME_EXISTS, a success code, for object-name opens).
    pub fn create(&mut self, request: CreateTransaction) -> Result<TxId, Status> {
        let limit = MAX_DESCRIPTION - usize::from(self.switches.description_nul_counts);
        if request.options & !DO_NOT_PROMOTE != 0
            || request.isolation_level != 0
            || request.isolation_flags != 0
            || request.description.0.len() > limit
        {
            return Err(Status::INVALID_PARAMETER);
        }
        let id = TxId(self.next);
        let uow = request.uow.unwrap_or_else(|| Guid::derived(self.seed, id.0));
        if self.find(uow).is_some() {
            return Err(Status::OBJECT_NAME_COLLISION);
        }
        self.next += 1;
        let deadline = transaction::deadline(self.now, request.timeout);
        self.transactions.insert(id, Transaction::new(uow, request.timeout, deadline, request.description));
        Ok(id)
    }

    /// Finds a transaction by its unit of work.
    ///
    /// # Errors
    /// INVALID_PARAMETER for the null GUID, TRANSACTION_NOT_FOUND.
    pub fn open(&self, uow: Guid) -> Result<TxId, Status> {
        if uow == Guid::default() {
            return Err(Status::INVALID_PARAMETER);
        }
        self.find(uow).ok_or(Status::TRANSACTION_NOT_FOUND)
    }

    fn find(&self, uow: Guid) -> Option<TxId> {
        self.transactions.iter().find(|(_, tx)| tx.uow == uow).map(|(&id, _)| id)
    }

    /// Every transaction that is still known, oldest first, as `fsutil transaction list` would show them.
    pub fn list(&self) -> impl Iterator<Item = TxId> + '_ {
        self.transactions.keys().copied()
    }

    fn get(&self, id: TxId) -> Result<&Transaction, Status> {
        self.transactions.get(&id).ok_or(Status::TRANSACTION_NOT_FOUND)
    }

    fn get_mut(&mut self, id: TxId) -> Result<&mut Transaction, Status> {
        self.transactions.get_mut(&id).ok_or(Status::TRANSACTION_NOT_FOUND)
    }

    /// The unit of work.
    ///
    /// # Errors
    /// TRANSACTION_NOT_FOUND, here and in the other queries, for an unknown or [forgotten](Ktm::forget) id.
    pub fn uow(&self, id: TxId) -> Result<Guid, Status> {
        Ok(self.get(id)?.uow)
    }

    /// Where it is on its way.
    ///
    /// # Errors
    /// TRANSACTION_NOT_FOUND.
    pub fn phase(&self, id: TxId) -> Result<Phase, Status> {
        Ok(self.get(id)?.phase)
    }

    /// State and outcome, for TransactionBasicInformation.
    ///
    /// # Errors
    /// TRANSACTION_NOT_FOUND.
    pub fn basic(&self, id: TxId) -> Result<(State, Outcome), Status> {
        let phase = self.get(id)?.phase;
        Ok((phase.state(), phase.outcome()))
    }

    /// For TransactionPropertiesInformation.
    ///
    /// # Errors
    /// TRANSACTION_NOT_FOUND.
    pub fn properties(&self, id: TxId) -> Result<Properties, Status> {
        let tx = self.get(id)?;
        Ok(Properties {
            timeout: tx.timeout,
            outcome: tx.phase.outcome(),
            description: tx.description.clone(),
        })
    }

    /// Changes timeout and description, the only properties that can be set.
    ///
    /// # Errors
    /// INVALID_PARAMETER, TRANSACTION_NOT_FOUND.
    pub fn set_properties(&mut self, id: TxId, timeout: i64, description: Wide) -> Result<(), Status> {
        if description.0.len() > MAX_DESCRIPTION {
            return Err(Status::INVALID_PARAMETER);
        }
        let deadline = transaction::deadline(self.now, timeout);
        let tx = self.get_mut(id)?;
        (tx.timeout, tx.deadline, tx.description) = (timeout, deadline, description);
        Ok(())
    }

    /// TmIsTransactionActive: created and not yet in pre-prepare.
    pub fn is_active(&self, id: TxId) -> bool {
        self.get(id).is_ok_and(|tx| tx.phase == Phase::Active)
    }

    /// Whether [`freeze`](Ktm::freeze) is in force.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Begins a commit. Deliveries are queued; the transaction has committed when its phase says so. While
    /// KTM is frozen the request waits until [`thaw`](Ktm::thaw) (`txf-ktm §4.10` VSS: commits wait).
    ///
    /// # Errors
    /// TRANSACTION_REQUEST_NOT_VALID once a commit has begun, TRANSACTION_ALREADY_COMMITTED,
    /// TRANSACTION_ALREADY_ABORTED (`txf-ktm §9` rule 3).
    pub fn commit(&mut self, id: TxId) -> Result<(), Status> {
        let frozen = self.frozen;
        let tx = self.get_mut(id)?;
        match tx.phase {
            Phase::Active if tx.commit_waits => return Err(Status::TRANSACTION_REQUEST_NOT_VALID),
            Phase::Active => {}
            Phase::PrePreparing | Phase::Preparing | Phase::Deciding | Phase::Committing => {
                return Err(Status::TRANSACTION_REQUEST_NOT_VALID);
            }
            Phase::Finalizing | Phase::Committed => return Err(Status::TRANSACTION_ALREADY_COMMITTED),
            Phase::Aborting | Phase::Aborted => return Err(Status::TRANSACTION_ALREADY_ABORTED),
        }
        if frozen {
            tx.commit_waits = true;
        } else {
            self.enter(id, Phase::PrePreparing);
        }
        Ok(())
    }

    /// Rolls back, as a client asks for it.
    ///
    /// # Errors
    /// TRANSACTION_ALREADY_COMMITTED, TRANSACTION_REQUEST_NOT_VALID during a commit, and after an abort
    /// what [`KtmSwitches::rollback_after_abort`] says.
    pub fn rollback(&mut self, id: TxId) -> Result<(), Status> {
        match self.get(id)?.phase {
            Phase::Active => {
                self.enter(id, Phase::Aborting);
                Ok(())
            }
            Phase::PrePreparing | Phase::Preparing | Phase::Deciding | Phase::Committing => {
                Err(Status::TRANSACTION_REQUEST_NOT_VALID)
            }
            Phase::Finalizing | Phase::Committed => Err(Status::TRANSACTION_ALREADY_COMMITTED),
            Phase::Aborting | Phase::Aborted => match self.switches.rollback_after_abort {
                Status::SUCCESS => Ok(()),
                status => Err(status),
            },
        }
    }

    /// KTM or an administrator aborts it for a reason of their own (`txf-ktm §1.5`: whenever the system
    /// likes). Possible until every participant has prepared; returns whether it had an effect.
    pub fn abort(&mut self, id: TxId) -> bool {
        let possible = self
            .get(id)
            .is_ok_and(|tx| matches!(tx.phase, Phase::Active | Phase::PrePreparing | Phase::Preparing));
        if possible {
            self.enter(id, Phase::Aborting);
        }
        possible
    }

    /// The last handle to the transaction was closed: an uncommitted one is rolled back (`txf-ktm §1.5`).
    pub fn last_handle_closed(&mut self, id: TxId) {
        if self.get(id).is_ok_and(|tx| tx.phase == Phase::Active && !tx.commit_waits) {
            self.enter(id, Phase::Aborting);
        }
    }

    /// Moves the clock and aborts what has timed out and is not prepared (`txf-ktm §1.4`: the kernel
    /// documentation says "not committed", the user-mode one "not prepared"; a timer between prepare and
    /// commit must not abort).
    pub fn advance_to(&mut self, now: i64) {
        self.now = self.now.max(now);
        let late: Vec<TxId> = self
            .transactions
            .iter()
            .filter(|(_, tx)| tx.deadline.is_some_and(|deadline| deadline <= self.now))
            .map(|(&id, _)| id)
            .collect();
        for id in late {
            self.abort(id);
        }
    }

    /// The earliest timeout that is still running.
    pub fn next_deadline(&self) -> Option<i64> {
        let running = self.transactions.values().filter(|tx| !tx.phase.is_over());
        running.filter_map(|tx| tx.deadline).min()
    }

    /// Begins a snapshot freeze: commits wait and volumes refuse new transacted opens.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Ends a freeze; waiting commits begin, oldest transaction first.
    pub fn thaw(&mut self) {
        self.frozen = false;
        let waiting: Vec<TxId> =
            self.transactions.iter().filter(|(_, tx)| tx.commit_waits).map(|(&id, _)| id).collect();
        for id in waiting {
            if let Ok(tx) = self.get_mut(id) {
                tx.commit_waits = false;
                if tx.phase == Phase::Active {
                    self.enter(id, Phase::PrePreparing);
                }
            }
        }
    }

    /// Drops an ended transaction, when its object is freed. A live one is kept.
    pub fn forget(&mut self, id: TxId) {
        if self.get(id).is_ok_and(|tx| tx.phase.is_over() && tx.enlistments.iter().all(Enlistment::is_idle)) {
            self.transactions.remove(&id);
        }
    }
}
