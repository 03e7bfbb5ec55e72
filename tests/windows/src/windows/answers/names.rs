//! Renaming, deleting, superseding and reparse points in transactions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use intact_faults::Answer;

use super::super::ktm::Transaction;
use super::super::nt::{DELETE, READ, READ_ATTRIBUTES, Status, WRITE, shown};
use super::{File, Finding, Laboratory, Open, exists, opened};

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
    fn of(self, file: &File, to: &Path) -> Result<(), Status> {
        match self {
            Change::Rename { posix } => file.rename(to, posix),
            Change::Delete { posix } => file.delete(posix),
        }
    }
}

/// A fresh file, and a name that nobody has.
fn pair(laboratory: &Laboratory<'_>, name: &str) -> Result<(PathBuf, PathBuf)> {
    let path = laboratory.fresh(&format!("{name}.txt"))?;
    let to = laboratory.plain.join(format!("{name}-renamed.txt"));
    if to.exists() {
        fs::remove_file(&to)?;
    }
    Ok((path, to))
}

/// Changes a file's name inside the transaction, if there is one, and notes everything.
fn change(
    answer: &mut Answer,
    what: &str,
    how: Change,
    (path, to): &(PathBuf, PathBuf),
    transaction: Option<&Transaction>,
) -> String {
    let open = || File::open(path, Open::existing(DELETE | READ_ATTRIBUTES));
    let file = transaction.map_or_else(open, |transaction| transaction.inside(open));
    let file = match file {
        Ok((file, _)) => file,
        Err(status) => {
            answer.note(&format!("{what}: open with DELETE"), status);
            return status.to_string();
        }
    };
    let changed = how.of(&file, to);
    answer.note(what, shown(&changed));
    drop(file);
    let names = || format!("old name {}, new name {}", exists(path), exists(to));
    if let Some(transaction) = transaction {
        answer.note(&format!("{what}: seen from outside before the commit"), names());
        answer.note(&format!("{what}: commit"), shown(&transaction.commit()));
    }
    answer.note(&format!("{what}: afterwards"), names());
    shown(&changed)
}

/// M3.
pub(super) fn with_an_extra_handle(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let mut conclusion = Vec::new();
    for (what, how) in CHANGES {
        let files = pair(laboratory, "extra-outside")?;
        let (extra, _) = opened(&files.0, Open::existing(READ_ATTRIBUTES));
        let outside = change(answer, &format!("{what} outside"), *how, &files, None);
        drop(extra);
        conclusion.push(format!("{what} outside {outside}"));
        let transaction = match laboratory.transaction() {
            Ok(transaction) => transaction,
            Err(why) => return Ok(Finding::Partly(conclusion.join("; "), why)),
        };
        let files = pair(laboratory, "extra-inside")?;
        let (extra, _) = opened(&files.0, Open::existing(READ_ATTRIBUTES));
        let inside = change(answer, &format!("{what} inside"), *how, &files, Some(&transaction));
        drop(extra);
        conclusion.push(format!("{what} inside {inside}"));
    }
    Ok(Finding::Concluded(format!("with an extra attribute handle: {}", conclusion.join("; "))))
}

/// Td.
pub(super) fn posix(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let mut conclusion = Vec::new();
    for (what, how) in CHANGES {
        let transaction = match laboratory.transaction() {
            Ok(transaction) => transaction,
            Err(why) => return Ok(Finding::Open(why)),
        };
        let files = pair(laboratory, "posix")?;
        conclusion.push(format!("{what} {}", change(answer, what, *how, &files, Some(&transaction))));
    }
    Ok(Finding::Concluded(format!("in a transaction: {}", conclusion.join("; "))))
}

fn id(path: &Path) -> String {
    let id = File::open(path, Open::existing(READ_ATTRIBUTES)).and_then(|(file, _)| file.id());
    id.map_or_else(|status| status.to_string(), |id| format!("{id:#018x}"))
}

/// Tg.
pub(super) fn file_id(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    let mut conclusion = Vec::new();
    for (what, disposition) in [("supersede", 0), ("overwrite", 4)] {
        let path = laboratory.fresh("id.txt")?;
        let before = id(&path);
        let how = Open { disposition, ..Open::existing(READ | WRITE) };
        drop(File::open(&path, how));
        let after = id(&path);
        answer.note(&format!("{what} outside: id before and after"), format!("{before} {after}"));
        let transaction = match laboratory.transaction() {
            Ok(transaction) => transaction,
            Err(why) => return Ok(Finding::Open(why)),
        };
        let path = laboratory.fresh("id-transacted.txt")?;
        let before = id(&path);
        let file = transaction.inside(|| File::open(&path, how));
        answer.note(&format!("{what} inside: open"), shown(&file));
        let Ok((file, _)) = file else { continue };
        let inside = file.id().map_or_else(|status| status.to_string(), |id| format!("{id:#018x}"));
        let outside = id(&path);
        drop(file);
        answer.note(&format!("{what} inside: commit"), shown(&transaction.commit()));
        let after = id(&path);
        answer.note(
            &format!("{what} inside: id before, inside, outside meanwhile, after"),
            format!("{before} {inside} {outside} {after}"),
        );
        let same = if before == after { "keeps" } else { "changes" };
        conclusion.push(format!("{what} in a transaction {same} the id"));
    }
    Ok(Finding::Concluded(conclusion.join("; ")))
}

/// Th.
pub(super) fn reparse(laboratory: &Laboratory<'_>, answer: &mut Answer) -> Result<Finding> {
    const SET_REPARSE_POINT: u32 = 0x900A4;
    // REPARSE_GUID_DATA_BUFFER with a tag of nobody's, a GUID of our own and four bytes.
    let mut data = 0x0000_1A7Cu32.to_le_bytes().to_vec();
    data.extend_from_slice(&4u16.to_le_bytes());
    data.extend_from_slice(&[0; 2]);
    data.extend_from_slice(&0x1A7C_0000_2B3D_4E5F_8A9B_ACBD_CEDF_E0F1_u128.to_le_bytes());
    data.extend_from_slice(b"test");
    let outside = laboratory.plain.join("reparse-outside.txt");
    drop(fs::remove_file(&outside));
    let outside = laboratory.fresh("reparse-outside.txt")?;
    let set = |file: &File| file.control(SET_REPARSE_POINT, &data, 0);
    let plain = File::open(&outside, Open::existing(WRITE)).and_then(|(file, _)| set(&file));
    answer.note("outside", shown(&plain));
    drop(fs::remove_file(&outside));
    let transaction = match laboratory.transaction() {
        Ok(transaction) => transaction,
        Err(why) => return Ok(Finding::Open(why)),
    };
    let path = laboratory.fresh("reparse-inside.txt")?;
    let file = transaction.inside(|| File::open(&path, Open::existing(WRITE)));
    answer.note("transacted open", shown(&file));
    let Ok((file, _)) = file else { return Ok(Finding::Open("no transacted open".into())) };
    let inside = set(&file);
    answer.note("inside", shown(&inside));
    drop(file);
    answer.note("rollback", shown(&transaction.rollback()));
    Ok(Finding::Concluded(format!("FSCTL_SET_REPARSE_POINT in a transaction: {}", shown(&inside))))
}
