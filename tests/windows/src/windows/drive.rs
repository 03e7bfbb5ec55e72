//! Performs a scenario with processes of its own, and judges what is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use intact_faults::report::StepReport;
use intact_faults::{FileReport, Machine, ScenarioReport, Verdict};
use intact_scenarios::{Action, Actor, End, File, Outcome, Scenario, Step};
use windows_sys::Win32::System::Threading::TerminateProcess;

use super::nt::{self, Status};

/// Performs a scenario in a folder of its own below `folder`.
pub(crate) fn run(scenario: &Scenario, folder: &Path, machine: &Machine) -> ScenarioReport {
    if let (Some(reason), Some(_)) = (scenario.not_under_wine, &machine.wine) {
        return ScenarioReport::skipped(scenario.name, reason);
    }
    perform(scenario, folder, machine).unwrap_or_else(|error| ScenarioReport {
        verdict: Verdict::Unexpected,
        ..ScenarioReport::skipped(scenario.name, &format!("{error:#}"))
    })
}

fn perform(scenario: &Scenario, folder: &Path, machine: &Machine) -> Result<ScenarioReport> {
    let folder = arrange(scenario, folder)?;
    let in_front = machine.intact.is_in_front();
    let mut programs = Programs::new(scenario, &folder);
    let steps = programs.all_steps(in_front)?;
    programs.end(scenario.end)?;
    let expected = |file: &File| if in_front { file.with_intact } else { file.without };
    let mut files = look(scenario, &folder, expected)?;
    // Wine's server closes what a dead process had open some time after the process is gone.
    let begun = Instant::now();
    while machine.wine.is_some()
        && begun.elapsed() < Duration::from_secs(3)
        && files.iter().any(|file| !file.good)
    {
        std::thread::sleep(Duration::from_millis(50));
        files = look(scenario, &folder, expected)?;
    }
    Ok(ScenarioReport::judged(scenario.name, steps, files))
}

/// Makes the scenario's folder, with the old versions of its files and without whatever a run left there.
///
/// # Errors
/// The folder cannot be made or written.
pub(crate) fn arrange(scenario: &Scenario, folder: &Path) -> Result<PathBuf> {
    let folder = folder.join(scenario.name);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for file in scenario.files {
        let path = folder.join(file.name);
        match file.old_contents() {
            Some(old) => nt::put(&path, &old).map_err(|status| failed(&path, status))?,
            None if path.exists() => {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
            None => {}
        }
    }
    Ok(folder)
}

fn failed(path: &Path, status: Status) -> anyhow::Error {
    anyhow::anyhow!("{}: {status}", path.display())
}

/// Judges the files of a scenario in its folder.
///
/// # Errors
/// A file is there and cannot be read.
pub(crate) fn look(
    scenario: &Scenario,
    folder: &Path,
    expected: impl Fn(&File) -> Outcome,
) -> Result<Vec<FileReport>> {
    let report = |file: &File| {
        let path = folder.join(file.name);
        let contents = nt::contents(&path).map_err(|status| failed(&path, status))?;
        Ok(FileReport::new(file, expected(file), contents.as_deref()))
    };
    scenario.files.iter().map(report).collect()
}

/// A child process that is an actor.
struct Program {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    fn start(scenario: &Scenario, folder: &Path) -> Result<Program> {
        let own = std::env::current_exe().context("where this program is")?;
        let mut command = Command::new(own);
        command.arg("actor").arg(scenario.name).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting a program of the scenario")?;
        let (orders, answers) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        Ok(Program { child, orders, answers: BufReader::new(answers) })
    }

    fn order(&mut self, order: &str) -> Result<()> {
        writeln!(self.orders, "{order}")?;
        self.orders.flush().context("ordering")
    }

    /// The status, and what was found instead.
    fn step(&mut self, number: usize) -> Result<(u32, Option<String>)> {
        self.order(&format!("do {number}"))?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("a program of the scenario is gone at step {number}");
        }
        let line = line.trim_end();
        let (status, found) =
            line.split_once(' ').map_or((line, None), |(status, found)| (status, Some(found)));
        let status = u32::from_str_radix(status, 16).with_context(|| format!("the answer {line:?}"))?;
        Ok((status, found.map(str::to_owned)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The programs of a scenario.
pub(crate) struct Programs<'a> {
    scenario: &'a Scenario,
    folder: PathBuf,
    started: BTreeMap<Actor, Program>,
}

impl<'a> Programs<'a> {
    pub(crate) fn new(scenario: &'a Scenario, folder: &Path) -> Programs<'a> {
        Programs { scenario, folder: folder.to_owned(), started: BTreeMap::new() }
    }

    fn program(&mut self, actor: Actor) -> Result<&mut Program> {
        if !self.started.contains_key(&actor) {
            let program = Program::start(self.scenario, &self.folder)?;
            self.started.insert(actor, program);
        }
        self.started.get_mut(&actor).context("just started")
    }

    /// Does every step; those that went otherwise.
    pub(crate) fn all_steps(&mut self, in_front: bool) -> Result<Vec<StepReport>> {
        let mut otherwise = Vec::new();
        for (number, step) in self.scenario.steps.iter().enumerate() {
            let (status, found) = self.program(step.by)?.step(number)?;
            // What another program sees meanwhile is a promise of Intact's.
            let found = found.filter(|_| in_front || !is_look(step));
            if status != step.status || found.is_some() {
                let happened =
                    found.unwrap_or_else(|| format!("{}, not {}", Status(status), Status(step.status)));
                let step = format!("{}: {:?}", step.by.word(), step.action);
                otherwise.push(StepReport { number, step, happened });
            }
        }
        Ok(otherwise)
    }

    /// What becomes of the program then; the others end normally.
    pub(crate) fn end(mut self, end: End) -> Result<()> {
        let program = self.program(Actor::Program)?;
        let expected = match end {
            End::Exits(status) => {
                program.order(&format!("exit {status}"))?;
                status
            }
            End::Crashes => {
                program.order("crash")?;
                0xC000_0005
            }
            End::Killed(status) => {
                // SAFETY: the handle of a child that nobody has waited for yet.
                unsafe { TerminateProcess(program.child.as_raw_handle(), status) };
                status
            }
            End::Reset => bail!("this scenario ends with the machine: `prepare` and `check` are for it"),
        };
        let status = program.child.wait()?.code().unwrap_or(-1).cast_unsigned();
        if status != expected {
            bail!("the program ended with {status:#x}, not with {expected:#x}");
        }
        if let Some(other) = self.started.get_mut(&Actor::Other) {
            other.order("exit 0")?;
            other.child.wait()?;
        }
        Ok(())
    }
}

fn is_look(step: &Step) -> bool {
    matches!(step.action, Action::FindsOld { .. } | Action::FindsNew { .. })
}
