//! Machines on which transactions are switched off.

use std::process::Command;

use anyhow::Result;
use intact_faults::Answer;

use super::super::nt::{READ, WRITE, shown};
use super::{File, Finding, Laboratory, Open};

/// Ta.
pub(super) fn disabled(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    answer.note("volume flag FILE_SUPPORTS_TRANSACTIONS", laboratory.machine.transactions);
    if laboratory.machine.wine.is_none() {
        let asked = Command::new("fsutil").args(["behavior", "query", "disabletxf"]).output();
        let said = asked.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" "),
        );
        answer.note("fsutil behavior query disabletxf", said);
    }
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let path = laboratory.fresh("disabled.txt")?;
    let open = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    answer.note("transacted open for writing", shown(&open));
    Ok(match open {
        Ok(_) => Finding::Open(
            "transactions work here. In a machine to throw away: fsutil behavior set disabletxf C: 1, restart, \
             and ask again"
                .into(),
        ),
        Err(status) => Finding::Concluded(format!("a transacted open fails here with {status}")),
    })
}
