//! Who may open what beside a transaction.

use std::process::Command;

use anyhow::Result;
use intact_faults::Answer;

use super::super::nt::{DELETE, READ, READ_ATTRIBUTES, WRITE, WRITE_ATTRIBUTES, shown};
use super::{File, Finding, Laboratory, Open, opened};

/// Rights that a bystander may hold or ask for.
const BYSTANDERS: &[(&str, u32)] = &[
    ("FILE_READ_ATTRIBUTES", READ_ATTRIBUTES),
    ("SYNCHRONIZE only", 0),
    ("GENERIC_READ", READ),
    ("FILE_EXECUTE", 0x20),
    ("FILE_WRITE_ATTRIBUTES", WRITE_ATTRIBUTES),
    ("FILE_WRITE_EA", 0x10),
    ("DELETE", DELETE),
    ("WRITE_DAC", 0x4_0000),
    ("GENERIC_WRITE", WRITE),
];

/// M2: outside opens while a transaction writes.
pub(super) fn beside_a_writer(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let path = laboratory.fresh("beside.txt")?;
    let writer = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    answer.note("transacted open for writing", shown(&writer));
    if writer.is_err() {
        return Ok(Finding::Open("no transacted open".into()));
    }
    let mut attributes = String::new();
    for (right, access) in BYSTANDERS {
        let (_, shown) = opened(&path, Open::existing(*access));
        answer.note(&format!("outside open with {right}"), &shown);
        if *access == READ_ATTRIBUTES {
            attributes = shown;
        }
    }
    let second = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    answer.note("second writer in the same transaction", shown(&second));
    if let Ok(other) = laboratory.transaction() {
        let reader = other.inside(|| File::open(&path, Open::existing(READ)));
        answer.note("reader in another transaction", shown(&reader));
        let writer = other.inside(|| File::open(&path, Open::existing(WRITE)));
        answer.note("writer in another transaction", shown(&writer));
    }
    Ok(Finding::Concluded(format!(
        "an attribute open beside a transacted writer: {attributes}; a second writer of the transaction: {}",
        shown(&second)
    )))
}

/// Tj: transacted opens while a bystander holds a handle.
pub(super) fn attribute_writers(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let mut conclusion = String::new();
    for (right, access) in BYSTANDERS {
        let transaction = match laboratory.transaction() {
            Ok(transaction) => transaction,
            Err(why) => return Ok(Finding::Open(why)),
        };
        let path = laboratory.fresh("bystander.txt")?;
        let (held, shown_held) = opened(&path, Open::existing(*access));
        if held.is_none() {
            answer.note(&format!("outside handle with {right}"), shown_held);
            continue;
        }
        let reader = transaction.inside(|| File::open(&path, Open::existing(READ)));
        answer.note(&format!("transacted reader beside a handle with {right}"), shown(&reader));
        drop(reader);
        let writer = transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
        answer.note(&format!("transacted writer beside a handle with {right}"), shown(&writer));
        if *access == WRITE_ATTRIBUTES {
            conclusion = format!(
                "a transacted writer beside a handle with FILE_WRITE_ATTRIBUTES only: {}",
                shown(&writer)
            );
        }
    }
    Ok(Finding::Concluded(conclusion))
}

/// Te.
pub(super) fn locks(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let path = laboratory.fresh("locks.txt")?;
    let open = || transaction.inside(|| File::open(&path, Open::existing(READ | WRITE)));
    let (Ok((first, _)), Ok((second, _))) = (open(), open()) else {
        return Ok(Finding::Open("no two transacted opens".into()));
    };
    let lock = first.lock(0, 10);
    answer.note("lock of bytes 0 to 9 by one transacted handle", shown(&lock));
    answer.note("lock of the same by another handle of the transaction", shown(&second.lock(0, 10)));
    answer.note("write into them by the other handle", shown(&second.write(0, b"x")));
    answer.note("write elsewhere by the other handle", shown(&second.write(15, b"x")));
    let outsider = File::open(&path, Open::existing(READ));
    if let Ok((outsider, _)) = &outsider {
        answer.note("outside read of them", shown(&outsider.read(0, 10)));
        answer.note("outside lock of them", shown(&outsider.lock(0, 10)));
    }
    answer.note("unlock", shown(&first.unlock(0, 10)));
    answer.note("lock by the other handle then", shown(&second.lock(0, 10)));
    answer.note("commit with that lock held", shown(&transaction.commit()));
    drop((first, second));
    let after = File::open(&path, Open::existing(READ | WRITE));
    if let Ok((after, _)) = &after {
        answer.note("outside lock of them afterwards", shown(&after.lock(0, 10)));
    }
    Ok(Finding::Concluded(format!("a lock in a transaction: {}", shown(&lock))))
}

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
