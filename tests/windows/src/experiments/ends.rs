//! How transactions end.

use crate::answer::Answer;

use super::{
    File, Finding, NEW, Open, Outcome, Place, READ, Transaction, WRITE, fresh, holds, shown, transaction,
};

/// Tb.
pub(super) fn rollback_twice<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let transaction = transaction(place)?;
    answer.note("rollback", shown(&transaction.rollback()));
    let again = transaction.rollback();
    answer.note("rollback again", shown(&again));
    answer.note("commit after rollback", shown(&transaction.commit()));
    if let Ok(other) = place.transaction() {
        answer.note("commit of another one", shown(&other.commit()));
        answer.note("rollback after commit", shown(&other.rollback()));
        answer.note("commit again", shown(&other.commit()));
    }
    Ok(by(&again, "a second rollback succeeds", "a second rollback fails"))
}

/// Tc.
pub(super) fn last_handle<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let transaction = transaction(place)?;
    let path = fresh(place, "last-handle.txt")?;
    let file = place.open(path, Open::existing(READ | WRITE), Some(&transaction));
    answer.note("transacted open for writing", shown(&file));
    let Ok(file) = file else { return Ok(Finding::Open("no transacted open".into())) };
    answer.note("write", shown(&file.write(0, NEW)));
    let outsider = place.open(path, Open::existing(WRITE), None);
    answer.note("outside open for writing, before", shown(&outsider));
    drop(outsider);
    drop(transaction);
    answer.note("last handle of the transaction closed", "done");
    let write = file.write(0, NEW);
    answer.note("write through the transacted handle, after", shown(&write));
    let outsider = place.open(path, Open::existing(WRITE), None);
    answer.note("outside open for writing, after", shown(&outsider));
    drop(outsider);
    drop(file);
    let later = place.open(path, Open::existing(WRITE), None);
    answer.note("outside open for writing, after the file was closed too", shown(&later));
    answer.note("the file holds", holds(place, path));
    Ok(by(&write, "no: the transacted handle still writes", "yes: the transacted handle is refused"))
}

/// A conclusion from one status.
fn by<T>(result: &Outcome<T>, success: &str, failure: &str) -> Finding {
    Finding::Concluded(match result {
        Ok(_) => success.into(),
        Err(status) => format!("{failure}: {status}"),
    })
}
