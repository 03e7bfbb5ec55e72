//! Renaming, deleting, superseding and reparse points in transactions.

use crate::answer::Answer;

use super::{
    DELETE, File, Finding, Open, Outcome, Place, READ, READ_ATTRIBUTES, Transaction, WRITE, exists, fresh,
    shown, transaction,
};

#[derive(Clone, Copy)]
enum Change {
    Rename { posix: bool },
    Delete { posix: bool },
}

const CHANGES: &[(&str, Change)] = &[
    ("rename", Change::Rename { posix: false }),
    ("POSIX rename", Change::Rename { posix: true }),
    ("delete", Change::Delete { posix: false }),
    ("POSIX delete", Change::Delete { posix: true }),
];

impl Change {
    fn of(self, file: &impl File, to: &str) -> Outcome<()> {
        match self {
            Change::Rename { posix } => file.rename(to, posix),
            Change::Delete { posix } => file.delete(posix),
        }
    }
}

const FILE: &str = "names.txt";
const RENAMED: &str = "names-renamed.txt";

/// Changes a fresh file's name inside the transaction, if there is one, and notes everything. `extra`: while another
/// handle is open outside.
fn change<P: Place>(
    place: &P,
    answer: &mut Answer,
    what: &str,
    how: Change,
    transaction: Option<&P::Transaction>,
    extra: bool,
) -> Result<String, Finding> {
    place.remove(RENAMED);
    fresh(place, FILE)?;
    let extra = extra.then(|| place.open(FILE, Open::existing(READ_ATTRIBUTES), None));
    let file = match place.open(FILE, Open::existing(DELETE | READ_ATTRIBUTES), transaction) {
        Ok(file) => file,
        Err(status) => {
            answer.note(&format!("{what}: open with DELETE"), status);
            return Ok(status.to_string());
        }
    };
    let changed = how.of(&file, RENAMED);
    answer.note(what, shown(&changed));
    drop(file);
    let names = || format!("old name {}, new name {}", exists(place, FILE), exists(place, RENAMED));
    if let Some(transaction) = transaction {
        answer.note(&format!("{what}: seen from outside before the commit"), names());
        answer.note(&format!("{what}: commit"), shown(&transaction.commit()));
    }
    answer.note(&format!("{what}: afterwards"), names());
    drop(extra);
    Ok(shown(&changed))
}

/// M3.
pub(super) fn with_an_extra_handle<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let mut conclusion = Vec::new();
    for (what, how) in CHANGES {
        let outside = change(place, answer, &format!("{what} outside"), *how, None, true)?;
        conclusion.push(format!("{what} outside {outside}"));
    }
    for (what, how) in CHANGES {
        let transaction = match place.transaction() {
            Ok(transaction) => transaction,
            Err(why) => return Ok(Finding::Partly(conclusion.join("; "), why)),
        };
        let inside = change(place, answer, &format!("{what} inside"), *how, Some(&transaction), true)?;
        conclusion.push(format!("{what} inside {inside}"));
    }
    Ok(Finding::Concluded(format!("with an extra attribute handle: {}", conclusion.join("; "))))
}

/// Td.
pub(super) fn posix<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let mut conclusion = Vec::new();
    for (what, how) in CHANGES {
        let transaction = transaction(place)?;
        let inside = change(place, answer, what, *how, Some(&transaction), false)?;
        conclusion.push(format!("{what} {inside}"));
    }
    Ok(Finding::Concluded(format!("in a transaction: {}", conclusion.join("; "))))
}

fn id(place: &impl Place, name: &str) -> Outcome<u64> {
    place.open(name, Open::existing(READ_ATTRIBUTES), None).and_then(|file| file.id())
}

/// Whether two looks at a file found the same id.
fn same(one: &Outcome<u64>, other: &Outcome<u64>) -> String {
    match (one, other) {
        (Ok(one), Ok(other)) if one == other => "the same".into(),
        (Ok(_), Ok(_)) => "another".into(),
        (Err(status), _) | (_, Err(status)) => format!("not known: {status}"),
    }
}

/// Tg.
pub(super) fn file_id<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    let mut conclusion = Vec::new();
    for (what, disposition) in [("supersede", 0), ("overwrite", 4)] {
        let how = Open { disposition, ..Open::existing(READ | WRITE) };
        let name = fresh(place, "id.txt")?;
        let before = id(place, name);
        drop(place.open(name, how, None));
        answer.note(&format!("{what} outside: the id afterwards"), same(&before, &id(place, name)));
        let transaction = transaction(place)?;
        let before = id(place, name);
        let file = place.open(name, how, Some(&transaction));
        answer.note(&format!("{what} inside: open"), shown(&file));
        let Ok(file) = file else { continue };
        answer.note(&format!("{what} inside: the id inside"), same(&before, &file.id()));
        answer.note(&format!("{what} inside: the id outside meanwhile"), same(&before, &id(place, name)));
        drop(file);
        answer.note(&format!("{what} inside: commit"), shown(&transaction.commit()));
        let after = same(&before, &id(place, name));
        answer.note(&format!("{what} inside: the id afterwards"), &after);
        conclusion.push(format!("{what} in a transaction: the id afterwards is {after}"));
    }
    Ok(Finding::Concluded(conclusion.join("; ")))
}

/// Th.
pub(super) fn reparse<P: Place>(place: &P, answer: &mut Answer) -> Result<Finding, Finding> {
    const SET_REPARSE_POINT: u32 = 0x900A4;
    // REPARSE_GUID_DATA_BUFFER with a tag of nobody's, a GUID of our own and four bytes.
    let mut data = 0x0000_1A7Cu32.to_le_bytes().to_vec();
    data.extend_from_slice(&4u16.to_le_bytes());
    data.extend_from_slice(&[0; 2]);
    data.extend_from_slice(&0x1A7C_0000_2B3D_4E5F_8A9B_ACBD_CEDF_E0F1_u128.to_le_bytes());
    data.extend_from_slice(b"test");
    let name = fresh(place, "reparse-outside.txt")?;
    let file = place.open(name, Open::existing(WRITE | DELETE), None);
    let plain = file.and_then(|file| {
        let set = file.control(SET_REPARSE_POINT, &data);
        // Nobody could open it by its name again.
        file.delete(false).and(set)
    });
    answer.note("outside", shown(&plain));
    let transaction = transaction(place)?;
    let name = fresh(place, "reparse-inside.txt")?;
    let file = place.open(name, Open::existing(WRITE), Some(&transaction));
    answer.note("transacted open", shown(&file));
    let Ok(file) = file else { return Ok(Finding::Open("no transacted open".into())) };
    let inside = file.control(SET_REPARSE_POINT, &data);
    answer.note("inside", shown(&inside));
    drop(file);
    answer.note("rollback", shown(&transaction.rollback()));
    Ok(Finding::Concluded(format!("FSCTL_SET_REPARSE_POINT in a transaction: {}", shown(&inside))))
}
