//! The open questions of `tests/lab/facts`, asked on the machine: minifilter-rules §7 (M1 to M10) and the end of
//! txf-ktm §9 (Ta to Tj).
//!
//! Each experiment notes what it did and which status came back, and concludes only what that says. What only a driver
//! can see stays open, and the answer says what to do for it.

mod ends;
mod intact;
mod isolation;
mod names;
mod views;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use intact_faults::{Answer, Answers, Machine};

use super::ktm::{Ktm, Transaction};
use super::nt::{self, File, Open, Status};

/// Where the experiments take place.
pub(crate) struct Laboratory<'a> {
    machine: &'a Machine,
    /// Covered by Intact's policy, if it is in front.
    covered: PathBuf,
    /// Covered by nobody.
    plain: PathBuf,
    ktm: Option<Ktm>,
}

const OLD: &[u8] = b"the old version of this file";
const NEW: &[u8] = b"THE NEW VERSION";

impl Laboratory<'_> {
    /// A file with [`OLD`] in it, where no policy applies.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        fresh(&self.plain.join(name))
    }

    /// The same where Intact's policy applies.
    fn fresh_covered(&self, name: &str) -> Result<PathBuf> {
        fresh(&self.covered.join(name))
    }

    /// A new transaction, or what keeps the question from being asked.
    fn transaction(&self) -> Result<Transaction, String> {
        let ktm = self.ktm.ok_or("this system has no transactions (NtCreateTransaction is not there)")?;
        ktm.transaction().map_err(|status| format!("NtCreateTransaction: {status}"))
    }
}

fn fresh(path: &Path) -> Result<PathBuf> {
    nt::put(path, OLD).map_err(|status| anyhow::anyhow!("{}: {status}", path.display()))?;
    Ok(path.to_owned())
}

/// Opens, and says how that went.
fn opened(path: &Path, how: Open) -> (Option<File>, String) {
    let result = File::open(path, how);
    let shown = nt::shown(&result);
    (result.ok().map(|(file, _)| file), shown)
}

/// What the file holds, in a few words.
fn holds(path: &Path) -> String {
    match nt::contents(path) {
        Ok(Some(contents)) if contents == OLD => "the old version".into(),
        Ok(Some(contents)) if contents.starts_with(NEW) => "the new version".into(),
        Ok(Some(contents)) => format!("{} other bytes", contents.len()),
        Ok(None) => "no such file".into(),
        Err(status) => format!("cannot be read: {status}"),
    }
}

fn exists(path: &Path) -> &'static str {
    if path.exists() { "there" } else { "not there" }
}

/// One experiment: notes into the answer; an early end says why.
type Experiment = fn(&Laboratory<'_>, &mut Answer) -> Result<Finding>;

/// What an experiment says.
enum Finding {
    /// This.
    Concluded(String),
    /// Nothing yet, because of this.
    Open(String),
    /// This much, and the rest is open.
    Partly(String, String),
}

const QUESTIONS: &[(&str, &str, Experiment)] = &[
    (
        "M1",
        "Does editing the ACCESS_STATE in post-create give the application its rights, and does NTFS honour the \
         reduced DesiredAccess?",
        intact::rights,
    ),
    (
        "M2",
        "A non-transacted FILE_READ_ATTRIBUTES open beside a transacted writer of the same file; a second writer \
         in the same transaction",
        isolation::beside_a_writer,
    ),
    (
        "M3",
        "Rename, POSIX rename and delete with an extra non-transacted handle open, in a transaction and outside",
        names::with_an_extra_handle,
    ),
    ("M4", "Commit with a live writable view", views::commit_with_a_view),
    ("M5", "FltObjects->Transaction for a lower filter after a swap of the target", intact::lower_filter),
    (
        "M6",
        "A section created on the upper file object: where its paging I/O goes; a lent SectionObjectPointer \
         against a section made on the lower file before",
        intact::sections,
    ),
    ("M7", "IoSetShadowFileInformation: is it needed?", intact::shadow),
    ("M8", "Byte-range locks through a swapped file object", intact::locks),
    ("M9", "Unload with redirected handles", intact::unload),
    ("M10", "Driver Verifier with a Rust release build", intact::verifier),
    ("Ta", "Status of a transacted open with disabletxf", isolation::disabled),
    ("Tb", "Rollback of an aborted transaction", ends::rollback_twice),
    (
        "Tc",
        "Does closing the last handle of a transaction with open transacted files abort it at once?",
        ends::last_handle,
    ),
    ("Td", "FileRenameInformationEx and FileDispositionInformationEx (POSIX) in a transaction", names::posix),
    ("Te", "Byte-range locks in a transaction", isolation::locks),
    ("Tf", "The exact reaction of NTFS to writable views", views::reactions),
    ("Tg", "Supersede and overwrite in a transaction, and the file id", names::file_id),
    ("Th", "Setting a reparse point in a transaction", names::reparse),
    ("Ti", "Exit notification against cleanup, in order", intact::exit_order),
    (
        "Tj",
        "Do non-transacted handles with FILE_WRITE_ATTRIBUTES only really conflict with a transaction?",
        isolation::attribute_writers,
    ),
];

/// Asks everything.
///
/// # Errors
/// A folder cannot be made.
pub(crate) fn all(machine: &Machine, folder: &Path, plain: &Path, unload: bool) -> Result<Answers> {
    let covered = folder.join("answers");
    for folder in [&covered, &plain.to_owned()] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let laboratory = Laboratory { machine, covered, plain: plain.to_owned(), ktm: Ktm::find() };
    let answers = QUESTIONS
        .iter()
        .map(|(id, question, experiment)| {
            let mut answer = Answer::new(id, question);
            if *id == "M9" && !unload {
                return answer.left_open("say --unload to try it: if it is accepted, Intact is gone");
            }
            match experiment(&laboratory, &mut answer) {
                Ok(Finding::Concluded(conclusion)) => answer.concluding(conclusion),
                Ok(Finding::Open(why)) => answer.left_open(why),
                Ok(Finding::Partly(conclusion, why)) => answer.concluding(conclusion).left_open(why),
                Err(error) => answer.left_open(format!("the experiment failed: {error:#}")),
            }
        })
        .collect();
    Ok(Answers { version: env!("CARGO_PKG_VERSION").into(), machine: machine.clone(), answers })
}

/// A conclusion from one status.
fn by<T>(result: &Result<T, Status>, success: &str, failure: &str) -> Finding {
    Finding::Concluded(match result {
        Ok(_) => success.into(),
        Err(status) => format!("{failure}: {status}"),
    })
}
