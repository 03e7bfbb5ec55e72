//! Mapped files and transactions.

use anyhow::Result;
use intact_faults::Answer;

use super::super::nt::{READ, Status, WRITE, shown};
use super::super::view::View;
use super::{File, Finding, Laboratory, NEW, Open, holds};

/// A transacted file with a writable view that has been written through; the end; what is left.
fn ended(
    laboratory: &Laboratory<'_>,
    answer: &mut Answer,
    what: &str,
    commit: bool,
    close_file_first: bool,
) -> Result<Result<(), Status>, String> {
    let transaction = laboratory.transaction()?;
    let path = laboratory.fresh(&format!("{what}.txt")).map_err(|error| format!("{error:#}"))?;
    let file = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    let (file, _) = file.map_err(|status| format!("transacted open: {status}"))?;
    let mut view = View::of(&file, true, NEW.len()).map_err(|error| format!("transacted view: {error}"))?;
    view.write(NEW);
    let file = if close_file_first {
        drop(file);
        None
    } else {
        Some(file)
    };
    let end = if commit { transaction.commit() } else { transaction.rollback() };
    answer.note(&format!("{what}: end"), shown(&end));
    answer.note(&format!("{what}: the file holds, with the view alive"), holds(&path));
    let flush = view.flush().map_or_else(|error| error.to_string(), |()| "done".into());
    answer.note(&format!("{what}: FlushViewOfFile afterwards"), flush);
    answer.note(&format!("{what}: the view shows the new bytes"), view.bytes(NEW.len()) == NEW);
    drop((view, file));
    answer.note(&format!("{what}: the file holds, without it"), holds(&path));
    Ok(end)
}

/// M4.
pub(super) fn commit_with_a_view(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let open = ended(laboratory, answer, "commit with view and handle", true, false);
    let closed = ended(laboratory, answer, "commit with view alone", true, true);
    Ok(match (open, closed) {
        (Ok(open), Ok(closed)) => Finding::Concluded(format!(
            "commit with a live writable view: {} with the handle open, {} with only the view",
            shown(&open),
            shown(&closed)
        )),
        (Err(why), _) | (_, Err(why)) => Finding::Open(why),
    })
}

/// Tf.
pub(super) fn reactions(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let mut conclusion = Vec::new();
    for (what, close) in [("rollback with view and handle", false), ("rollback with view alone", true)] {
        match ended(laboratory, answer, what, false, close) {
            Ok(end) => conclusion.push(format!("{what}: {}", shown(&end))),
            Err(why) => return Ok(Finding::Open(why)),
        }
    }
    let path = laboratory.fresh("view-before.txt")?;
    let plain = File::open(&path, Open::existing(READ | WRITE));
    let view = plain
        .map_err(|status| status.to_string())
        .and_then(|(file, _)| View::of(&file, true, NEW.len()).map_err(|error| error.to_string()));
    if let Err(why) = &view {
        return Ok(Finding::Open(format!("no view outside a transaction: {why}")));
    }
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let file = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    answer.note("transacted writer beside an outside writable view", shown(&file));
    conclusion.push(format!("a transacted writer beside an outside writable view: {}", shown(&file)));
    if let Ok((file, _)) = &file {
        answer.note("its first write", shown(&file.write(0, NEW)));
    }
    drop((file, view));
    Ok(Finding::Concluded(conclusion.join("; ")))
}
