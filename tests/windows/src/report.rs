//! The report of a run.

use std::fmt;

use intact_scenarios::{File, Outcome, judge, pieces};
use serde::{Deserialize, Serialize};

/// Where a run took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `Windows 10.0.26100`, or what claims to be that.
    pub system: String,
    /// The version of Wine, if it is Wine: then nothing here says anything about Windows.
    pub wine: Option<String>,
    /// The folder of the run.
    pub folder: String,
    /// Its file system.
    pub file_system: String,
    /// Whether the volume says that it supports transactions.
    pub transactions: bool,
    /// What is known about Intact there.
    pub intact: Intact,
}

/// What is known about Intact on the folder's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intact {
    /// The Filter Manager lists an instance of it there.
    Attached {
        /// The instance's altitude.
        altitude: String,
    },
    /// It is loaded, but has no instance on this volume.
    Elsewhere,
    /// The Filter Manager does not list it.
    NotLoaded,
    /// It cannot be seen from here.
    Unknown {
        /// Why.
        reason: String,
    },
    /// Whoever started the run says that it is there.
    Assumed,
}

impl Intact {
    /// Whether files are judged by what Intact promises.
    pub fn is_in_front(&self) -> bool {
        matches!(self, Intact::Attached { .. } | Intact::Assumed)
    }
}

/// The verdict on a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every step and every file is as expected.
    Expected,
    /// Something is not.
    Unexpected,
    /// It was not run.
    Skipped,
}

/// A step that went otherwise than expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its place in the scenario, from 0.
    pub number: usize,
    /// What it was.
    pub step: String,
    /// What happened.
    pub happened: String,
}

/// What was found of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// What it should be.
    pub expected: String,
    /// What it is: `old`, `new` or `damaged`.
    pub found: String,
    /// Bytes, if it is there.
    pub size: Option<u64>,
    /// Whether that is as expected.
    pub good: bool,
    /// Of a damaged file: whose bytes are where.
    pub pieces: Vec<String>,
}

impl FileReport {
    /// Judges what was found of a file.
    pub fn new(file: &File, expected: Outcome, contents: Option<&[u8]>) -> FileReport {
        let found = judge(file, contents);
        let pieces = match contents {
            Some(contents) if found == Outcome::Damaged => pieces(file, contents)
                .into_iter()
                .map(|piece| format!("{}..{} {}", piece.bytes.start, piece.bytes.end, piece.origin))
                .collect(),
            _ => Vec::new(),
        };
        FileReport {
            name: file.name.into(),
            expected: expected.word().into(),
            found: found.word().into(),
            size: contents.map(|contents| contents.len() as u64),
            good: expected.admits(file, contents),
            pieces,
        }
    }
}

/// What happened in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it was not run, or could not be finished.
    pub reason: Option<String>,
    /// Steps that went otherwise.
    pub steps: Vec<StepReport>,
    /// Its files.
    pub files: Vec<FileReport>,
}

impl ScenarioReport {
    /// One that was not run.
    pub fn skipped(name: &str, reason: &str) -> ScenarioReport {
        ScenarioReport {
            name: name.into(),
            verdict: Verdict::Skipped,
            reason: Some(reason.into()),
            steps: Vec::new(),
            files: Vec::new(),
        }
    }

    /// One that was run.
    pub fn judged(name: &str, steps: Vec<StepReport>, files: Vec<FileReport>) -> ScenarioReport {
        let good = steps.is_empty() && files.iter().all(|file| file.good);
        let verdict = if good { Verdict::Expected } else { Verdict::Unexpected };
        ScenarioReport { name: name.into(), verdict, reason: None, steps, files }
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this program.
    pub version: String,
    /// Where.
    pub machine: Machine,
    /// What.
    pub scenarios: Vec<ScenarioReport>,
}

/// Everything is as Intact promises.
pub const PROMISED: u8 = 0;
/// Something is not as expected.
pub const BROKEN: u8 = 1;
/// The run could not be made.
pub const IMPOSSIBLE: u8 = 2;
/// Everything is as it is without Intact, which was not there: nothing is proven about it.
pub const WITHOUT: u8 = 3;

impl Report {
    /// A report of this version of the program.
    pub fn new(machine: Machine, scenarios: Vec<ScenarioReport>) -> Report {
        Report { version: env!("CARGO_PKG_VERSION").into(), machine, scenarios }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.scenarios.iter().filter(|scenario| scenario.verdict == verdict).count()
    }

    /// [`PROMISED`], [`BROKEN`], [`IMPOSSIBLE`] if nothing was run, or [`WITHOUT`].
    pub fn exit_code(&self) -> u8 {
        if self.count(Verdict::Unexpected) > 0 {
            BROKEN
        } else if self.count(Verdict::Expected) == 0 {
            IMPOSSIBLE
        } else if self.machine.intact.is_in_front() {
            PROMISED
        } else {
            WITHOUT
        }
    }

    /// What the run proves, in one sentence or two.
    pub fn meaning(&self) -> String {
        let machine = &self.machine;
        let place = match &machine.wine {
            Some(_) => {
                "This was Wine, not Windows: it tests this program, and proves nothing about Windows. "
            }
            None => "",
        };
        let meaning = match (&machine.intact, self.exit_code()) {
            (_, IMPOSSIBLE) => "Nothing was run.",
            (Intact::Attached { .. }, PROMISED) => {
                "Intact is attached to this volume, and every file is as it promises."
            }
            (Intact::Attached { .. }, _) => {
                "Intact is attached to this volume, and something is not as it promises. Does a rule of the \
                 policy cover this folder (Paths)? If so, this is a defect: please report it with this output."
            }
            (Intact::Assumed, PROMISED) => {
                "Intact was said to be there (--assume-intact), and every file is as it promises."
            }
            (Intact::Assumed, _) => {
                "Intact was said to be there (--assume-intact), and something is not as it promises."
            }
            (_, WITHOUT) => {
                "Intact is not in front of this folder: this is what happens without it, and proves nothing \
                 about it."
            }
            _ => {
                "Intact is not in front of this folder, and something is not even as it should be without it: \
                 the volume, another filter or this program is at fault."
            }
        };
        format!("{place}{meaning}")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wine {
            Some(version) => writeln!(f, "system   Wine {version}, NOT WINDOWS ({})", self.system)?,
            None => writeln!(f, "system   {}", self.system)?,
        }
        let transactions = if self.transactions { "with" } else { "without" };
        writeln!(f, "folder   {} ({}, {transactions} transactions)", self.folder, self.file_system)?;
        match &self.intact {
            Intact::Attached { altitude } => writeln!(f, "Intact   attached at altitude {altitude}"),
            Intact::Elsewhere => writeln!(f, "Intact   loaded, but not attached to this volume"),
            Intact::NotLoaded => writeln!(f, "Intact   not loaded (fltmc load intact)"),
            Intact::Unknown { reason } => writeln!(f, "Intact   cannot be seen: {reason}"),
            Intact::Assumed => writeln!(f, "Intact   said to be there (--assume-intact)"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "intact-faults {}\n{}", self.version, self.machine)?;
        let width = self.scenarios.iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
        for scenario in &self.scenarios {
            let word = match scenario.verdict {
                Verdict::Expected => "ok  ",
                Verdict::Unexpected => "FAIL",
                Verdict::Skipped => "skip",
            };
            write!(f, "{word}  {:width$}", scenario.name)?;
            if let Some(reason) = &scenario.reason {
                write!(f, "  {reason}")?;
            }
            for file in &scenario.files {
                write!(f, "  {} {}", file.name, file.found)?;
                if !file.good {
                    write!(f, " (should be {})", file.expected)?;
                }
            }
            writeln!(f)?;
            for step in &scenario.steps {
                writeln!(f, "      step {}: {}: {}", step.number, step.step, step.happened)?;
            }
            for file in scenario.files.iter().filter(|file| !file.good) {
                let size = file.size.map_or("no such file".into(), |size| format!("{size} bytes"));
                writeln!(f, "      {}: {size}: {}", file.name, file.pieces.join(", "))?;
            }
        }
        writeln!(
            f,
            "\n{} as expected, {} not, {} skipped. {}",
            self.count(Verdict::Expected),
            self.count(Verdict::Unexpected),
            self.count(Verdict::Skipped),
            self.meaning()
        )
    }
}

#[cfg(test)]
mod tests {
    use intact_scenarios::New;

    use super::*;

    const FILE: File = File {
        name: "report.txt",
        old: Some(128),
        new: New::Replaced(128),
        with_intact: Outcome::Old,
        without: Outcome::Damaged,
    };

    fn report(intact: Intact, wine: Option<&str>, found: &[u8]) -> Report {
        let expected = if intact.is_in_front() { FILE.with_intact } else { FILE.without };
        let machine = Machine {
            system: "Windows 10.0.26100".into(),
            wine: wine.map(str::to_owned),
            folder: r"C:\Saved".into(),
            file_system: "NTFS".into(),
            transactions: true,
            intact,
        };
        let files = vec![FileReport::new(&FILE, expected, Some(found))];
        Report::new(machine, vec![ScenarioReport::judged("killed", Vec::new(), files)])
    }

    fn attached() -> Intact {
        Intact::Attached { altitude: "225000".into() }
    }

    #[test]
    fn the_exit_status_says_what_was_proven() {
        let old = FILE.old_contents().unwrap();
        assert_eq!(report(attached(), None, &old).exit_code(), PROMISED);
        assert_eq!(report(attached(), None, b"").exit_code(), BROKEN);
        assert_eq!(report(Intact::NotLoaded, None, b"").exit_code(), WITHOUT);
        assert_eq!(report(Intact::NotLoaded, None, &old).exit_code(), BROKEN);
        let nothing = Report { scenarios: Vec::new(), ..report(attached(), None, &old) };
        assert_eq!(nothing.exit_code(), IMPOSSIBLE);
    }

    #[test]
    fn nothing_that_ran_under_wine_claims_windows() {
        let report = report(Intact::Assumed, Some("8.0"), &FILE.old_contents().unwrap());
        let text = report.to_string();
        assert!(text.contains("NOT WINDOWS") && text.contains("proves nothing about Windows"), "{text}");
    }

    #[test]
    fn a_run_without_intact_proves_nothing_about_it() {
        for intact in [Intact::NotLoaded, Intact::Elsewhere, Intact::Unknown { reason: "x".into() }] {
            let meaning = report(intact, None, b"").meaning();
            assert!(meaning.contains("proves nothing about it"), "{meaning}");
        }
    }

    #[test]
    fn a_damaged_file_is_shown_piece_by_piece() {
        let mut found = FILE.old_contents().unwrap();
        found[..64].copy_from_slice(&FILE.new_part(0, 64));
        let text = report(attached(), None, &found).to_string();
        assert!(
            text.contains("damaged (should be old)") && text.contains("0..64 new, 64..128 old"),
            "{text}"
        );
    }

    #[test]
    fn a_report_comes_back_from_json() {
        let report = report(attached(), None, b"");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
