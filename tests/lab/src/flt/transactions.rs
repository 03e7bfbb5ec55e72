//! Filters that follow transactions: enlistment and notification (txf-ktm §3).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::status;
use lab_volume::{Answer, Delivery, EnlistmentId, Mask, Participant, Status};

use super::contexts::Key;
use super::instance::{Instance, Stage};
use crate::Executive;
use crate::ktm::{pump, transaction_at, with_ktm};
use crate::memory;
use crate::rooms::Rooms;

/// What a filter may ask to be told of: PREPREPARE, PREPARE, COMMIT, ROLLBACK and COMMIT_FINALIZE.
const KNOWN: u32 = 0xF | 0x4000_0000;

struct Enlisted {
    instance: Rc<Instance>,
    context: usize,
    transaction: lab_volume::TxId,
    enlistment: EnlistmentId,
    pending: RefCell<Option<Delivery>>,
}

/// Enlistments of filters, by the number that KTM knows them by.
#[derive(Default)]
pub(crate) struct Enlistments {
    all: RefCell<BTreeMap<u64, Rc<Enlisted>>>,
}

/// FltEnlistInTransaction.
pub(crate) fn enlist(
    lab: &Executive,
    instance: &Rc<Instance>,
    transaction: PKTRANSACTION,
    context: PFLT_CONTEXT,
    mask: u32,
) -> i32 {
    let flt = lab.flt();
    let own = transaction_at(lab, transaction);
    if instance.filter.registration.transaction.is_none() {
        return status::INVALID_PARAMETER;
    }
    if mask == 0 || mask & !KNOWN != 0 {
        // STATUS_INVALID_PARAMETER_4
        return 0xC000_00F2_u32.cast_signed();
    }
    if instance.stage.get() >= Stage::TearingDown {
        return STATUS_FLT_DELETING_OBJECT;
    }
    let key = Key::Transaction { transaction: own.id.0, instance: instance.address };
    if flt.contexts.peek(key) != context.addr() {
        return status::NOT_FOUND;
    }
    let enlistments = lab.room::<Enlistments>();
    let again = enlistments
        .all
        .borrow()
        .values()
        .any(|e| e.transaction == own.id && Rc::ptr_eq(&e.instance, instance));
    if again {
        return STATUS_FLT_ALREADY_ENLISTED;
    }
    let room = lab.ktm();
    room.enlistments.set(room.enlistments.get() + 1);
    let number = room.enlistments.get();
    let wanted = Mask::from_bits_truncate(mask);
    match with_ktm(lab, |ktm| ktm.enlist(own.id, Participant::Other(number), wanted)) {
        Ok(enlistment) => {
            flt.contexts.reference(lab, context.addr());
            let entry = Enlisted {
                instance: instance.clone(),
                context: context.addr(),
                transaction: own.id,
                enlistment,
                pending: RefCell::new(None),
            };
            enlistments.all.borrow_mut().insert(number, Rc::new(entry));
            status::SUCCESS
        }
        Err(status) => status.0.cast_signed(),
    }
}

/// KTM tells a filter.
pub(crate) fn notify(lab: &Executive, number: u64, delivery: Delivery) -> Answer {
    let found = lab.room::<Enlistments>().all.borrow().get(&number).cloned();
    let Some(enlisted) = found else { return Answer::Complete };
    let Some(callback) = enlisted.instance.filter.registration.transaction else { return Answer::Complete };
    let Some(body) = lab.ktm().body(delivery.transaction) else { return Answer::Complete };
    let related = lab.allocate_own(size_of::<FLT_RELATED_OBJECTS>(), b"FmTx");
    memory::write(
        related.cast(),
        FLT_RELATED_OBJECTS {
            Size: size_of::<FLT_RELATED_OBJECTS>() as u16,
            TransactionContext: 0,
            Filter: std::ptr::with_exposed_provenance_mut(enlisted.instance.filter.address),
            Volume: std::ptr::with_exposed_provenance_mut(lab.flt().volume_address(enlisted.instance.mount)),
            Instance: std::ptr::with_exposed_provenance_mut(enlisted.instance.address),
            FileObject: std::ptr::null_mut(),
            Transaction: body.cast(),
        },
    );
    let context = std::ptr::with_exposed_provenance_mut(enlisted.context);
    *enlisted.pending.borrow_mut() = Some(delivery);
    let answered = super::call(lab, "a transaction notification callback", || {
        // SAFETY: the registered callback, called as its type says.
        unsafe { callback(related.cast(), context, delivery.notification.bits()) }
    });
    lab.free_own(related);
    if answered == status::PENDING {
        return Answer::Pending;
    }
    *enlisted.pending.borrow_mut() = None;
    over(lab, number, &enlisted, delivery.notification);
    if answered < 0 { Answer::Failed(Status(answered.cast_unsigned())) } else { Answer::Complete }
}

/// After the last notification of its kind the enlistment and its context reference go.
fn over(lab: &Executive, number: u64, enlisted: &Rc<Enlisted>, told: Mask) {
    let last = told == Mask::ROLLBACK || told == Mask::COMMIT_FINALIZE || told == Mask::COMMIT;
    if last {
        lab.room::<Enlistments>().all.borrow_mut().remove(&number);
        lab.flt().contexts.release(lab, enlisted.context);
    }
}

/// FltCommitComplete and its like: answers a notification that pended.
pub(crate) fn complete(lab: &Executive, instance: &Instance, transaction: PKTRANSACTION, told: Mask) -> i32 {
    let own = transaction_at(lab, transaction);
    let all = lab.room::<Enlistments>();
    let found = all
        .all
        .borrow()
        .iter()
        .find(|(_, e)| e.transaction == own.id && e.instance.address == instance.address)
        .map(|(number, e)| (*number, e.clone()));
    let Some((number, enlisted)) = found else { return status::NOT_FOUND };
    let Some(delivery) =
        enlisted.pending.borrow_mut().take().filter(|delivery| delivery.notification == told)
    else {
        return Status::TRANSACTION_REQUEST_NOT_VALID.0.cast_signed();
    };
    over(lab, number, &enlisted, told);
    with_ktm(lab, |ktm| ktm.answer(delivery, Answer::Complete));
    pump(lab);
    status::SUCCESS
}

/// FltRollbackEnlistment.
pub(crate) fn rollback(lab: &Executive, instance: &Instance, transaction: PKTRANSACTION) -> i32 {
    let own = transaction_at(lab, transaction);
    let all = lab.room::<Enlistments>();
    let found = all
        .all
        .borrow()
        .values()
        .find(|e| e.transaction == own.id && e.instance.address == instance.address)
        .map(|e| e.enlistment);
    let Some(enlistment) = found else { return status::NOT_FOUND };
    let result = with_ktm(lab, |ktm| ktm.rollback_enlistment(enlistment));
    pump(lab);
    result.map_or_else(|status| status.0.cast_signed(), |()| status::SUCCESS)
}

/// Ends the enlistments of an instance that goes: it hears nothing more.
pub(crate) fn leave(lab: &Executive, instance: &Rc<Instance>) {
    let all = lab.room::<Enlistments>();
    loop {
        let found = all
            .all
            .borrow()
            .iter()
            .find(|(_, e)| Rc::ptr_eq(&e.instance, instance))
            .map(|(n, e)| (*n, e.clone()));
        let Some((number, enlisted)) = found else { return };
        all.all.borrow_mut().remove(&number);
        lab.flt().contexts.release(lab, enlisted.context);
        if let Some(delivery) = enlisted.pending.borrow_mut().take() {
            with_ktm(lab, |ktm| ktm.answer(delivery, Answer::Complete));
            pump(lab);
        }
    }
}
