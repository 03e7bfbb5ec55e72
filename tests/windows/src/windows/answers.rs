//! The open questions of `tests/lab/facts`, asked on the machine: minifilter-rules §7 (M1 to M10) and the end of
//! txf-ktm §9 (Ta to Tj).
//!
//! Each experiment notes what it did and which status came back, and concludes only what that says. What only a driver
//! can see stays open, and the answer says what to do for it.

mod disabled;
mod intact;
mod place;
mod views;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use intact_faults::experiments::{self, Finding, NEW, OLD};
use intact_faults::{Answer, Answers, Machine};

use super::ktm::{Ktm, Transaction};
use super::nt::{self, File, Open};
use place::Plain;

/// Where the experiments take place.
pub(crate) struct Laboratory<'a> {
    machine: &'a Machine,
    /// Covered by Intact's policy, if it is in front.
    covered: PathBuf,
    /// Covered by nobody.
    plain: PathBuf,
    ktm: Option<Ktm>,
}

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

/// One experiment: notes into the answer; an early end says why.
type Experiment = fn(&Laboratory<'_>, &mut Answer) -> Result<Finding>;

const QUESTIONS: &[(&str, &str, Experiment)] = &[
    (
        "M1",
        "Does editing the ACCESS_STATE in post-create give the application its rights, and does NTFS honour the \
         reduced DesiredAccess?",
        intact::rights,
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
    ("Ta", "Status of a transacted open with disabletxf", disabled::disabled),
    ("Tf", "The exact reaction of NTFS to writable views", views::reactions),
    ("Ti", "Exit notification against cleanup, in order", intact::exit_order),
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
    let ktm = Ktm::find();
    let laboratory = Laboratory { machine, covered, plain: plain.to_owned(), ktm };
    let place = Plain { folder: plain.to_owned(), ktm };
    let mut answers: Vec<Answer> = experiments::all(&place);
    for (id, question, experiment) in QUESTIONS {
        let mut answer = Answer::new(id, question);
        if *id == "M9" && !unload {
            answers.push(answer.left_open("say --unload to try it: if it is accepted, Intact is gone"));
            continue;
        }
        let finding = experiment(&laboratory, &mut answer)
            .unwrap_or_else(|error| Finding::Open(format!("the experiment failed: {error:#}")));
        answers.push(finding.complete(answer));
    }
    answers.sort_by_key(|answer| order(&answer.id));
    Ok(Answers { version: env!("CARGO_PKG_VERSION").into(), machine: machine.clone(), answers })
}

/// M1 to M10, then Ta to Tj.
fn order(id: &str) -> (bool, usize, String) {
    (id.starts_with('T'), id.len(), id.to_owned())
}
