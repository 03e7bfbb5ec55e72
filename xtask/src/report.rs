//! Running slices, and telling how they went.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::run;
use crate::slices::Slice;
use crate::tools::{For, Tools};
use crate::workspace;

/// How many lines of its log a failed slice shows.
const TAIL: usize = 60;

/// How a slice ended, if not with an error.
pub(crate) enum Outcome {
    /// With a detail for the summary.
    Passed(String),
    /// With the reason.
    Skipped(String),
}

/// Where a slice's output goes: a file, with its last line shown while it runs.
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    bar: ProgressBar,
    name: &'static str,
    notes: Vec<String>,
}

impl Log {
    fn new(name: &'static str) -> Result<Self> {
        let folder = workspace::root().join("target/test-logs");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.log"));
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name);
        bar.enable_steady_tick(Duration::from_millis(120));
        Ok(Self { file, path, bar, name, notes: Vec::new() })
    }

    /// Adds a line.
    pub(crate) fn say(&mut self, line: &str) {
        // A log that cannot be written must not hide how the test went.
        let _ = writeln!(self.file, "{line}");
        self.bar.set_message(line.trim().to_owned());
    }

    /// Adds a line that the user should see also if all is well.
    pub(crate) fn note(&mut self, line: &str) {
        self.say(line);
        self.notes.push(line.to_owned());
    }

    /// Runs a command to its end and returns its output.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<String> {
        self.say(&format!("$ {}", run::display(command)));
        let mut child = command
            .env("CARGO_TERM_COLOR", "never")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", run::display(command)))?;
        let (sender, lines) = mpsc::channel();
        let mut readers = Vec::new();
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("it is piped")),
            Box::new(child.stderr.take().expect("it is piped")),
        ];
        for stream in streams {
            let sender = sender.clone();
            readers.push(std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    if sender.send(text).is_err() {
                        return;
                    }
                    line.clear();
                }
            }));
        }
        drop(sender);
        let mut output = String::new();
        for line in lines {
            self.say(&line);
            output.push_str(&line);
            output.push('\n');
        }
        for reader in readers {
            let _ = reader.join();
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", run::display(command));
        }
        Ok(output)
    }

    /// Runs `cargo test` and returns how many tests passed. None at all is an error.
    pub(crate) fn tests(&mut self, command: &mut Command) -> Result<usize> {
        let count = passed(&self.run(command)?);
        if count == 0 {
            bail!("{} ran no test", run::display(command));
        }
        Ok(count)
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// Adds up what `cargo test` says of each program that it ran.
pub(crate) fn passed(output: &str) -> usize {
    output
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse::<usize>().ok()
        })
        .sum()
}

/// A line of the summary.
struct Line {
    name: &'static str,
    verdict: &'static str,
    seconds: f64,
    detail: String,
}

/// Runs the slices one after the other, prints the summary, and says whether none failed.
pub(crate) fn run(slices: &[&Slice], as_json: bool) -> Result<bool> {
    let needs: Vec<For> = slices
        .iter()
        .flat_map(|slice| slice.needs)
        .copied()
        // The slice says that it is skipped.
        .filter(|need| ![For::Wine, For::Program].contains(need) || Tools::obtainable(*need))
        .collect();
    Tools::ensure(&needs)?;
    let mut lines = Vec::new();
    for slice in slices {
        let mut log = Log::new(slice.name)?;
        let begun = Instant::now();
        let result = (slice.run)(&mut log);
        let seconds = begun.elapsed().as_secs_f64();
        log.bar.finish_and_clear();
        let (verdict, detail) = match result {
            Ok(Outcome::Passed(detail)) => ("passed", detail),
            Ok(Outcome::Skipped(reason)) => ("skipped", reason),
            Err(error) => {
                eprintln!("{}\n\n{}: {error:#}\n(all of it: {})\n", log.tail(), log.name, log.path.display());
                ("FAILED", first_line(&format!("{error:#}")))
            }
        };
        eprintln!("{:<8} {verdict} in {seconds:.1} s", slice.name);
        for note in &log.notes {
            eprintln!("         {note}");
        }
        lines.push(Line { name: slice.name, verdict, seconds, detail });
    }
    let ok = lines.iter().all(|line| line.verdict != "FAILED");
    if as_json {
        let slices: Vec<_> = lines
            .iter()
            .map(|line| json!({"slice": line.name, "verdict": line.verdict.to_lowercase(), "seconds": line.seconds, "detail": line.detail}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({"passed": ok, "slices": slices}))?);
    } else {
        println!("\n{}", table(&lines));
    }
    Ok(ok)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn table(lines: &[Line]) -> String {
    let mut text = format!("{:<8} {:<8} {:>7}  \n", "slice", "result", "time");
    for line in lines {
        text.push_str(&format!(
            "{:<8} {:<8} {:>5.1} s  {}\n",
            line.name, line.verdict, line.seconds, line.detail
        ));
    }
    let total: f64 = lines.iter().map(|line| line.seconds).sum();
    let failed = lines.iter().filter(|line| line.verdict == "FAILED").count();
    let verdict = if failed == 0 { "passed".to_owned() } else { format!("{failed} FAILED") };
    text.push_str(&format!("{:<8} {verdict:<8} {total:>5.1} s", "all"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_added_up_over_programs() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\
                      test result: ok. 11 passed; 0 failed\n";
        assert_eq!(passed(output), 13);
        assert_eq!(passed("test result: FAILED. 3 passed; 1 failed"), 0);
    }

    #[test]
    fn the_summary_names_each_slice_and_counts_the_failed() {
        let line = |name, verdict| Line { name, verdict, seconds: 1.0, detail: String::new() };
        let text = table(&[line("fmt", "passed"), line("lab", "FAILED")]);
        assert!(text.contains("fmt") && text.contains("lab") && text.contains("1 FAILED"), "{text}");
    }
}
