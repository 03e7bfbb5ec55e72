//! The Kernel Transaction Manager as drivers see it: transaction objects and handles over the volume's model.

pub mod imports;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lab_executive::object::{Closing, ObjectType};
use lab_executive::{Mode, status};
use lab_volume::{Answer, Delivery, Ktm, Participant, Phase, Status, TxId};

use crate::Executive;
use crate::rooms::Rooms;

/// Rights for generic read, write, execute and all on transactions (txf-ktm §1.3).
const TRANSACTION_GENERIC: [u32; 4] = [0x12_0001, 0x12_003E, 0x12_0018, 0x1F_003F];

/// What the lab knows of a KTRANSACTION.
pub(crate) struct Transaction {
    pub(crate) id: TxId,
    /// The self-relative security descriptor it was made with.
    pub(crate) security: Option<Vec<u8>>,
}

/// Transactions of one lab.
#[derive(Default)]
pub struct KtmRoom {
    ktm: RefCell<Option<Ktm>>,
    kind: OnceCell<Rc<ObjectType>>,
    bodies: RefCell<BTreeMap<TxId, usize>>,
    /// Transactions that have not ended: KTM keeps its own reference to their objects (txf-ktm §1.5).
    held: RefCell<BTreeSet<TxId>>,
    /// Notifications that a participant will answer later.
    pub(crate) pending: RefCell<Vec<Delivery>>,
    pub(crate) enlistments: Cell<u64>,
}

impl KtmRoom {
    /// Starts it.
    pub(crate) fn start(&self, lab: &Executive, seed: u64) {
        *self.ktm.borrow_mut() = Some(Ktm::new(seed, lab.scheduler.now()));
        let kind = lab.objects.add_type(lab, "TmTx", TRANSACTION_GENERIC);
        kind.on_close(handle_closing);
        kind.on_delete(|lab, body| {
            if let Some(transaction) = lab.objects.payload::<Transaction>(body) {
                with_ktm(lab, |ktm| ktm.forget(transaction.id));
                lab.flt().contexts.remove_where(lab, |key| {
                    matches!(key, crate::flt::contexts::Key::Transaction { transaction: id, .. } if id == transaction.id.0)
                });
                lab.ktm().bodies.borrow_mut().remove(&transaction.id);
            }
        });
        if self.kind.set(kind).is_err() {
            panic!("KTM is started once");
        }
    }

    /// The type of transaction objects.
    ///
    /// # Panics
    /// Before the start.
    pub(crate) fn kind(&self) -> Rc<ObjectType> {
        match self.kind.get() {
            Some(kind) => kind.clone(),
            None => panic!("KTM was not started"),
        }
    }

    /// The KTRANSACTION of a live transaction.
    pub(crate) fn body(&self, id: TxId) -> Option<*mut u8> {
        self.bodies.borrow().get(&id).map(|body| std::ptr::with_exposed_provenance_mut(*body))
    }

    /// Transactions that have not ended, oldest first.
    pub(crate) fn unfinished(&self) -> Vec<TxId> {
        let ktm = self.ktm.borrow();
        let Some(ktm) = ktm.as_ref() else { return Vec::new() };
        ktm.list().filter(|id| ktm.phase(*id).is_ok_and(|phase| !phase.is_over())).collect()
    }
}

/// Works on the model, with its clock set; must not call drivers or wait.
///
/// # Panics
/// Before the start.
pub(crate) fn with_ktm<R>(lab: &Executive, f: impl FnOnce(&mut Ktm) -> R) -> R {
    let room = lab.ktm();
    let mut ktm = room.ktm.borrow_mut();
    let Some(ktm) = ktm.as_mut() else { panic!("KTM was not started") };
    ktm.advance_to(lab.scheduler.now());
    f(ktm)
}

fn handle_closing(lab: &Executive, closing: &Closing) {
    let Some(transaction) = lab.objects.payload::<Transaction>(closing.body) else { return };
    // It is handles that matter, not references (txf-ktm §1.5).
    if closing.system_handles == 1 {
        with_ktm(lab, |ktm| ktm.last_handle_closed(transaction.id));
        pump(lab);
    }
}

/// Delivers what KTM has to say: to the volume, to enlisted filters. Called after everything that may have changed
/// a transaction.
pub(crate) fn pump(lab: &Executive) {
    loop {
        let aborted = lab.io().with_volume(lab, lab_volume::Volume::take_aborted);
        for id in aborted {
            with_ktm(lab, |ktm| ktm.abort(id));
        }
        let Some(delivery) = with_ktm(lab, Ktm::next_delivery) else { break };
        deliver(lab, delivery);
    }
    release_ended(lab);
}

/// Drops KTM's own references to transactions that have ended.
fn release_ended(lab: &Executive) {
    let room = lab.ktm();
    let held: Vec<_> = room.held.borrow().iter().copied().collect();
    for id in held.into_iter().filter(|id| is_over(lab, *id)) {
        if room.held.borrow_mut().remove(&id)
            && let Some(body) = room.body(id)
        {
            lab.objects.dereference(lab, body);
        }
    }
}

fn deliver(lab: &Executive, delivery: Delivery) {
    lab.trace.event("transaction", (delivery.transaction.0 << 32) | u64::from(delivery.notification.bits()));
    let answer = match delivery.participant {
        Participant::Volume(_) => lab.io().with_volume(lab, |volume| volume.notify(delivery)),
        Participant::Other(number) => crate::flt::transactions::notify(lab, number, delivery),
    };
    if matches!(answer, Answer::Pending) {
        lab.ktm().pending.borrow_mut().push(delivery);
    }
    with_ktm(lab, |ktm| ktm.answer(delivery, answer));
}

/// Asks the volume again about phases that it had put off (a commit that waits for a writable view).
pub(crate) fn retry_pending(lab: &Executive) {
    let waiting: Vec<_> = {
        let room = lab.ktm();
        let mut pending = room.pending.borrow_mut();
        let (volumes, others): (Vec<_>, Vec<_>) =
            pending.drain(..).partition(|delivery| matches!(delivery.participant, Participant::Volume(_)));
        *pending = others;
        volumes
    };
    for delivery in waiting {
        deliver(lab, delivery);
    }
    pump(lab);
}

/// Makes a transaction and its object, with one reference.
///
/// # Errors
/// Those of ZwCreateTransaction.
pub(crate) fn create(
    lab: &Executive,
    request: lab_volume::CreateTransaction,
    security: Option<Vec<u8>>,
) -> Result<*mut u8, Status> {
    let timeout = request.timeout;
    let id = with_ktm(lab, |ktm| ktm.create(request))?;
    let payload: Rc<dyn std::any::Any> = Rc::new(Transaction { id, security });
    let room = lab.ktm();
    let body = lab.objects.create(lab, &room.kind(), 0x200, Some(payload));
    room.bodies.borrow_mut().insert(id, body.addr());
    lab.objects.reference(lab, body);
    room.held.borrow_mut().insert(id);
    if timeout != 0 {
        arm_timer(lab);
    }
    Ok(body)
}

/// Wakes up at the next timeout.
pub(crate) fn arm_timer(lab: &Executive) {
    let Some(due) = with_ktm(lab, |ktm| ktm.next_deadline()) else { return };
    lab.at(due, |lab| {
        lab.spawn_worker("transaction timeout", |lab| {
            pump(lab);
            arm_timer(lab);
        });
    });
}

/// The transaction behind a KTRANSACTION pointer; anything else stops the run.
pub(crate) fn transaction_at(lab: &Executive, body: *const core::ffi::c_void) -> Rc<Transaction> {
    lab.objects.payload::<Transaction>(body.cast()).unwrap_or_else(|| {
        lab.violate("transaction-object", "txf-ktm §1.1: a PKTRANSACTION", "not a live transaction object")
    })
}

/// The transaction behind a handle.
///
/// # Errors
/// INVALID_HANDLE, OBJECT_TYPE_MISMATCH.
pub(crate) fn transaction_of_handle(
    lab: &Executive,
    handle: usize,
    mode: Mode,
) -> Result<Rc<Transaction>, i32> {
    let entry = lab.handle(handle, mode)?;
    lab.objects.payload::<Transaction>(entry.body).ok_or(status::OBJECT_TYPE_MISMATCH)
}

fn is_over(lab: &Executive, id: TxId) -> bool {
    with_ktm(lab, |ktm| ktm.phase(id).is_ok_and(Phase::is_over))
}

/// Keeps a transaction's object while somebody waits for its end.
fn with_object<R>(lab: &Executive, id: TxId, f: impl FnOnce() -> R) -> R {
    let body = lab.ktm().body(id);
    if let Some(body) = body {
        lab.objects.reference(lab, body);
    }
    let result = f();
    if let Some(body) = body {
        lab.objects.dereference(lab, body);
    }
    result
}

/// Commits, waiting for the end if asked to.
pub(crate) fn commit(lab: &Executive, id: TxId, wait: bool) -> i32 {
    with_object(lab, id, || commit_held(lab, id, wait))
}

fn commit_held(lab: &Executive, id: TxId, wait: bool) -> i32 {
    pump(lab);
    let begun = with_ktm(lab, |ktm| ktm.commit(id));
    pump(lab);
    if let Err(status) = begun {
        return status.0.cast_signed();
    }
    if !wait {
        return status::PENDING;
    }
    lab.block_until("the end of a commit", None, || is_over(lab, id));
    match with_ktm(lab, |ktm| ktm.phase(id)) {
        Ok(Phase::Committed) => status::SUCCESS,
        _ => Status::TRANSACTION_ALREADY_ABORTED.0.cast_signed(),
    }
}

/// Rolls back, waiting for the end if asked to.
pub(crate) fn rollback(lab: &Executive, id: TxId, wait: bool) -> i32 {
    with_object(lab, id, || rollback_held(lab, id, wait))
}

fn rollback_held(lab: &Executive, id: TxId, wait: bool) -> i32 {
    // What the volume has aborted on its own is known before the question is answered.
    pump(lab);
    let begun = with_ktm(lab, |ktm| ktm.rollback(id));
    pump(lab);
    if let Err(status) = begun {
        return status.0.cast_signed();
    }
    if !wait {
        return status::PENDING;
    }
    lab.block_until("the end of a rollback", None, || is_over(lab, id));
    status::SUCCESS
}
