//! Who may open what beside a transaction.

use crate::answer::Answer;

use super::{
    DELETE, File, Finding, Open, Place, READ, READ_ATTRIBUTES, Transaction, WRITE, WRITE_ATTRIBUTES, fresh,
    shown, transaction,
};

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
pub(super) fn beside_a_writer<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let transaction = transaction(place)?;
    let path = fresh(place, "beside.txt")?;
    let writer = place.open(path, Open::existing(READ | WRITE), Some(&transaction));
    answer.note("transacted open for writing", shown(&writer));
    if writer.is_err() {
        return Ok(Finding::Open("no transacted open".into()));
    }
    let mut attributes = String::new();
    for (right, access) in BYSTANDERS {
        let outside = shown(&place.open(path, Open::existing(*access), None));
        answer.note(&format!("outside open with {right}"), &outside);
        if *access == READ_ATTRIBUTES {
            attributes = outside;
        }
    }
    let second = place.open(path, Open::existing(READ | WRITE), Some(&transaction));
    answer.note("second writer in the same transaction", shown(&second));
    if let Ok(other) = place.transaction() {
        let reader = place.open(path, Open::existing(READ), Some(&other));
        answer.note("reader in another transaction", shown(&reader));
        let writer = place.open(path, Open::existing(WRITE), Some(&other));
        answer.note("writer in another transaction", shown(&writer));
    }
    Ok(Finding::Concluded(format!(
        "an attribute open beside a transacted writer: {attributes}; a second writer of the transaction: {}",
        shown(&second)
    )))
}

/// Tj: transacted opens while a bystander holds a handle.
pub(super) fn attribute_writers<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let mut conclusion = String::new();
    for (right, access) in BYSTANDERS {
        let transaction = transaction(place)?;
        let path = fresh(place, "bystander.txt")?;
        let held = place.open(path, Open::existing(*access), None);
        if held.is_err() {
            answer.note(&format!("outside handle with {right}"), shown(&held));
            continue;
        }
        let reader = place.open(path, Open::existing(READ), Some(&transaction));
        answer.note(&format!("transacted reader beside a handle with {right}"), shown(&reader));
        drop(reader);
        let writer = place.open(path, Open::existing(READ | WRITE), Some(&transaction));
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
pub(super) fn locks<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let transaction = transaction(place)?;
    let path = fresh(place, "locks.txt")?;
    let open = || place.open(path, Open::existing(READ | WRITE), Some(&transaction));
    let (Ok(first), Ok(second)) = (open(), open()) else {
        return Ok(Finding::Open("no two transacted opens".into()));
    };
    let lock = first.lock(0, 10);
    answer.note("lock of bytes 0 to 9 by one transacted handle", shown(&lock));
    answer.note("lock of the same by another handle of the transaction", shown(&second.lock(0, 10)));
    answer.note("write into them by the other handle", shown(&second.write(0, b"x")));
    answer.note("write elsewhere by the other handle", shown(&second.write(15, b"x")));
    let outsider = place.open(path, Open::existing(READ), None);
    if let Ok(outsider) = &outsider {
        answer.note("outside read of them", shown(&outsider.read(0, 10)));
        answer.note("outside lock of them", shown(&outsider.lock(0, 10)));
    }
    answer.note("unlock", shown(&first.unlock(0, 10)));
    answer.note("lock by the other handle then", shown(&second.lock(0, 10)));
    answer.note("commit with that lock held", shown(&transaction.commit()));
    drop((first, second));
    let after = place.open(path, Open::existing(READ | WRITE), None);
    if let Ok(after) = &after {
        answer.note("outside lock of them afterwards", shown(&after.lock(0, 10)));
    }
    Ok(Finding::Concluded(format!("a lock in a transaction: {}", shown(&lock))))
}
