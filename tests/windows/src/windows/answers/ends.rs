//! How transactions end.

use anyhow::Result;
use intact_faults::Answer;

use super::super::nt::{READ, WRITE, shown};
use super::{File, Finding, Laboratory, NEW, Open, by, holds, opened};

/// Tb.
pub(super) fn rollback_twice(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    answer.note("rollback", shown(&transaction.rollback()));
    let again = transaction.rollback();
    answer.note("rollback again", shown(&again));
    answer.note("commit after rollback", shown(&transaction.commit()));
    if let Ok(other) = laboratory.transaction() {
        answer.note("commit of another one", shown(&other.commit()));
        answer.note("rollback after commit", shown(&other.rollback()));
        answer.note("commit again", shown(&other.commit()));
    }
    Ok(by(&again, "a second rollback succeeds", "a second rollback fails"))
}

/// Tc.
pub(super) fn last_handle(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let path = laboratory.fresh("last-handle.txt")?;
    let file = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    answer.note("transacted open for writing", shown(&file));
    let Ok((file, _)) = file else { return Ok(Finding::Open("no transacted open".into())) };
    answer.note("write", shown(&file.write(0, NEW)));
    let (outsider, shown_outsider) = opened(&path, Open::existing(WRITE));
    answer.note("outside open for writing, before", shown_outsider);
    drop(outsider);
    drop(transaction);
    answer.note("last handle of the transaction closed", "done");
    let write = file.write(0, NEW);
    answer.note("write through the transacted handle, after", shown(&write));
    let (outsider, shown_outsider) = opened(&path, Open::existing(WRITE));
    answer.note("outside open for writing, after", &shown_outsider);
    drop(outsider);
    drop(file);
    let (_, later) = opened(&path, Open::existing(WRITE));
    answer.note("outside open for writing, after the file was closed too", later);
    answer.note("the file holds", holds(&path));
    Ok(by(&write, "no: the transacted handle still writes", "yes: the transacted handle is refused"))
}
