//! What became of each change, kept from run to run, and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::copy::Mutant;
use super::explained::Explanation;

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No test notices it.
    Missed,
    /// A test failed.
    Failed,
    /// The tests' program ended.
    Crashed,
    /// The tests did not end.
    TimedOut,
}

const WORDS: [(Verdict, &str); 4] = [
    (Verdict::Missed, "missed"),
    (Verdict::Failed, "failed"),
    (Verdict::Crashed, "crashed"),
    (Verdict::TimedOut, "timeout"),
];

impl Verdict {
    fn word(self) -> &'static str {
        WORDS.iter().find(|(verdict, _)| *verdict == self).map_or("", |(_, word)| word)
    }

    fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(verdict, _)| *verdict)
    }
}

/// What became of a change, and how.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// The test that noticed it.
    pub(super) by: String,
    /// What it said.
    pub(super) why: String,
    /// Of a change that was missed: the tests that were asked.
    pub(super) asked: BTreeSet<String>,
    pub(super) seconds: f64,
}

/// The outcomes of this run and of those before it, in a file with a line for each.
pub(super) struct Outcomes {
    file: File,
    known: BTreeMap<String, Outcome>,
}

impl Outcomes {
    /// Opens the file; with nothing in it, unless its outcomes are to be kept.
    pub(super) fn open(path: &Path, keep: bool) -> Result<Self> {
        let mut known = BTreeMap::new();
        if keep {
            let text = fs::read_to_string(path).unwrap_or_default();
            known.extend(text.lines().filter_map(|line| read(&serde_json::from_str(line).ok()?)));
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true).append(keep).truncate(!keep);
        let file = options.open(path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file, known })
    }

    /// Whether a change has been noticed.
    pub(super) fn is_caught(&self, key: &str) -> bool {
        self.known.get(key).is_some_and(|outcome| outcome.verdict != Verdict::Missed)
    }

    /// Whether a change has been missed.
    pub(super) fn is_missed(&self, key: &str) -> bool {
        self.known.get(key).is_some_and(|outcome| outcome.verdict == Verdict::Missed)
    }

    /// The test that has noticed a change.
    pub(super) fn noticed_by(&self, key: &str) -> Option<&str> {
        self.known
            .get(key)
            .filter(|outcome| outcome.verdict != Verdict::Missed)
            .map(|outcome| outcome.by.as_str())
    }

    /// The tests that have missed a change before.
    pub(super) fn asked(&self, key: &str) -> BTreeSet<String> {
        self.known.get(key).map(|outcome| outcome.asked.clone()).unwrap_or_default()
    }

    pub(super) fn add(&mut self, key: &str, outcome: Outcome) -> Result<()> {
        let line = json!({
            "mutant": key,
            "verdict": outcome.verdict.word(),
            "by": outcome.by,
            "why": outcome.why,
            "asked": outcome.asked,
            "seconds": outcome.seconds,
        });
        writeln!(self.file, "{line}")?;
        self.known.insert(key.to_owned(), outcome);
        Ok(())
    }

    /// Counts what became of these changes.
    pub(super) fn report<'m>(
        &self,
        chosen: &[&'m Mutant],
        unviable: Vec<&'m Mutant>,
        explanations: &[Explanation],
        suite: String,
        left_out: usize,
    ) -> Report<'m> {
        let rows = chosen
            .iter()
            .filter_map(|mutant| {
                let outcome = self.known.get(&mutant.key)?.clone();
                let explained = explanations.iter().any(|explanation| explanation.is_about(mutant));
                Some(Row { mutant, outcome, explained })
            })
            .collect();
        Report { rows, unviable, suite, left_out }
    }
}

fn read(line: &Value) -> Option<(String, Outcome)> {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let outcome = Outcome {
        verdict: Verdict::of(line["verdict"].as_str()?)?,
        by: text("by"),
        why: text("why"),
        asked: line["asked"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
            .map(str::to_owned)
            .collect(),
        seconds: line["seconds"].as_f64().unwrap_or(0.0),
    };
    Some((line["mutant"].as_str()?.to_owned(), outcome))
}

struct Row<'m> {
    mutant: &'m Mutant,
    outcome: Outcome,
    explained: bool,
}

/// What became of the changes of a run.
pub(super) struct Report<'m> {
    rows: Vec<Row<'m>>,
    unviable: Vec<&'m Mutant>,
    suite: String,
    left_out: usize,
}

/// Where a change is, and what it is.
pub(super) fn place(mutant: &Mutant) -> String {
    let change = &mutant.change;
    format!(
        "{}:{}:{}: {} in {}: {}",
        mutant.file, change.line, change.column, change.what, change.function, change.text
    )
}

/// The parts that are counted for themselves.
fn module(file: &str) -> &'static str {
    if file.starts_with("minifilter/kernel/") {
        "kernel"
    } else if file.starts_with("minifilter/src/save") {
        "save"
    } else {
        "operations"
    }
}

impl Report<'_> {
    fn count(&self, module: Option<&str>, verdict: Verdict) -> usize {
        let is_in = |row: &&Row<'_>| module.is_none_or(|module| self::module(&row.mutant.file) == module);
        self.rows.iter().filter(is_in).filter(|row| row.outcome.verdict == verdict).count()
    }

    fn missed(&self) -> impl Iterator<Item = &Row<'_>> {
        self.rows.iter().filter(|row| row.outcome.verdict == Verdict::Missed)
    }

    fn score_of(&self, module: Option<&str>) -> f64 {
        let missed = self.count(module, Verdict::Missed);
        let all: usize = WORDS.iter().map(|(verdict, _)| self.count(module, *verdict)).sum();
        100.0 * (all - missed) as f64 / all.max(1) as f64
    }

    /// How many of a hundred changes were noticed; those that do not compile are none.
    pub(super) fn score(&self) -> f64 {
        self.score_of(None)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let unexplained = self.missed().filter(|row| !row.explained);
        for row in unexplained {
            let _ = writeln!(text, "missed: {} ({})", place(row.mutant), row.outcome.why);
        }
        let _ = writeln!(
            text,
            "{:<12}{:>8}{:>8}{:>8}{:>8}{:>9}",
            "", "failed", "crashed", "timeout", "missed", "noticed"
        );
        for module in [Some("save"), Some("operations"), Some("kernel"), None] {
            let numbers = [Verdict::Failed, Verdict::Crashed, Verdict::TimedOut, Verdict::Missed]
                .map(|verdict| self.count(module, verdict));
            let [failed, crashed, timeout, missed] = numbers;
            let name = module.unwrap_or("all");
            let score = self.score_of(module);
            let _ = writeln!(text, "{name:<12}{failed:>8}{crashed:>8}{timeout:>8}{missed:>8}{score:>7.1} %");
        }
        let explained = self.missed().filter(|row| row.explained).count();
        let _ = writeln!(
            text,
            "{explained} of the missed are explained in {}; {} more changes do not compile, {} were not tried",
            super::explained::FILE,
            self.unviable.len(),
            self.left_out.saturating_sub(self.unviable.len()),
        );
        let _ = writeln!(text, "asked: {}", self.suite);
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let modules: Vec<Value> = ["save", "operations", "kernel"]
            .into_iter()
            .map(|module| {
                let mut counts = json!({ "module": module, "score": self.score_of(Some(module)) });
                for (verdict, word) in WORDS {
                    counts[word] = json!(self.count(Some(module), verdict));
                }
                counts
            })
            .collect();
        let row = |row: &Row<'_>| {
            let change = &row.mutant.change;
            json!({
                "file": row.mutant.file, "line": change.line, "column": change.column,
                "function": change.function, "change": change.what, "text": change.text,
                "verdict": row.outcome.verdict.word(), "by": row.outcome.by, "why": row.outcome.why,
                "explained": row.explained, "seconds": row.outcome.seconds,
            })
        };
        json!({
            "score": self.score(),
            "modules": modules,
            "unviable": self.unviable.len(),
            "suite": self.suite,
            "mutants": self.rows.iter().map(row).collect::<Vec<Value>>(),
        })
    }

    /// Leaves lists in a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        for (verdict, word) in WORDS {
            let mut text = String::new();
            for row in self.rows.iter().filter(|row| row.outcome.verdict == verdict) {
                let note = if row.explained { " (explained)" } else { "" };
                let Outcome { by, why, .. } = &row.outcome;
                let _ = writeln!(text, "{}{note}\n    {by}: {why}", place(row.mutant));
            }
            fs::write(folder.join(format!("{word}.txt")), text)?;
        }
        let unviable: String = self.unviable.iter().map(|mutant| place(mutant) + "\n").collect();
        fs::write(folder.join("unviable.txt"), unviable)?;
        fs::write(folder.join("outcomes.json"), format!("{:#}\n", self.json()))?;
        Ok(())
    }
}
