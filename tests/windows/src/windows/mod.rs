//! The program on Windows.

mod actor;
mod answers;
mod drive;
mod ktm;
mod machine;
mod nt;
mod reset;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use intact_faults::report::{IMPOSSIBLE, Report};
use intact_scenarios::{End, RESETS, SCENARIOS, Scenario, named};
use serde::Serialize;

/// Tests what becomes of files that programs save, on a machine with Intact loaded, and without.
///
/// The folder must be covered by a rule of Intact's policy (Paths); it is made if it is not there, and files in
/// it are overwritten. Run it elevated, or the Filter Manager does not say whether Intact is attached.
#[derive(Parser)]
#[command(
    name = "intact-faults",
    version,
    after_help = "Exit status: 0 everything is as Intact promises; 1 something is not as expected; 2 it could \
not be run; 3 everything is as it is without Intact, which was not there: nothing is proven about it."
)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// List the scenarios.
    List,
    /// Perform scenarios and judge what is left: all of them, or the named ones.
    Run {
        #[command(flatten)]
        place: Place,
        /// Only these.
        scenarios: Vec<String>,
    },
    /// Perform the scenarios in which a program is terminated from outside, with status 1 and with status 0.
    Kill {
        #[command(flatten)]
        place: Place,
    },
    /// Begin saves, and wait for the machine to be reset.
    Prepare {
        #[command(flatten)]
        place: Place,
        /// Give up after so many seconds.
        #[arg(long, default_value_t = 3600)]
        patience: u64,
    },
    /// After the reset: judge what it left.
    Check {
        #[command(flatten)]
        place: Place,
        /// The machine was reset; do not look for proof.
        #[arg(long)]
        restarted: bool,
    },
    /// Answer the open questions of the project about Windows, as a block to send back.
    Answers {
        #[command(flatten)]
        place: Place,
        /// A folder that no rule of Intact's policy covers, for questions about transactions themselves
        /// [default: one in the folder for temporary files].
        #[arg(long)]
        plain: Option<PathBuf>,
        /// Also try `fltmc unload intact` while a file is being saved, which must be refused.
        #[arg(long)]
        unload: bool,
    },
    /// A program of a scenario.
    #[command(hide = true)]
    Actor { scenario: String, folder: PathBuf },
}

#[derive(Args)]
struct Place {
    /// Where files are made.
    #[arg(long, short, default_value = r"C:\IntactTest")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Judge by what Intact promises, though it cannot be seen from here.
    #[arg(long)]
    assume_intact: bool,
}

impl Place {
    fn machine(&self) -> Result<intact_faults::Machine> {
        let folder = std::path::absolute(&self.folder)?;
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        machine::machine(&folder, self.assume_intact)
    }

    fn print<T: Serialize + std::fmt::Display>(&self, report: &T) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(report)?);
        } else {
            print!("{report}");
        }
        Ok(())
    }
}

pub(crate) fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(IMPOSSIBLE)
        }
    }
}

fn perform(task: Task) -> Result<u8> {
    match task {
        Task::List => {
            for scenario in SCENARIOS.iter().chain(RESETS) {
                println!("{:28} {}", scenario.name, scenario.about);
            }
            Ok(0)
        }
        Task::Run { place, scenarios } => run(&place, &chosen(&scenarios)?),
        Task::Kill { place } => {
            let killed = |scenario: &&Scenario| matches!(scenario.end, End::Killed(_));
            run(&place, &SCENARIOS.iter().filter(killed).collect::<Vec<_>>())
        }
        Task::Prepare { place, patience } => {
            let folder = folder(&place)?;
            reset::prepare(&folder, &place.machine()?, Duration::from_secs(patience))?;
            Ok(0)
        }
        Task::Check { place, restarted } => {
            let report = reset::check(&folder(&place)?, place.machine()?, restarted)?;
            place.print(&report)?;
            Ok(report.exit_code())
        }
        Task::Answers { place, plain, unload } => {
            let plain = plain.unwrap_or_else(|| std::env::temp_dir().join("intact-faults"));
            let answers = answers::all(&place.machine()?, &folder(&place)?, &plain, unload)?;
            place.print(&answers)?;
            Ok(0)
        }
        Task::Actor { scenario, folder } => {
            actor::serve(scenario_named(&scenario)?, &folder)?;
            Ok(0)
        }
    }
}

fn folder(place: &Place) -> Result<PathBuf> {
    Ok(std::path::absolute(&place.folder)?)
}

fn scenario_named(name: &str) -> Result<&'static Scenario> {
    named(name).with_context(|| format!("there is no scenario {name:?}; `intact-faults list` names them"))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let scenarios = names.iter().map(|name| scenario_named(name)).collect::<Result<Vec<_>>>()?;
    if let Some(reset) = scenarios.iter().find(|scenario| scenario.end == End::Reset) {
        bail!("{} ends with the machine: use `prepare`, reset it, then `check`", reset.name);
    }
    Ok(scenarios)
}

fn run(place: &Place, scenarios: &[&Scenario]) -> Result<u8> {
    let (machine, folder) = (place.machine()?, folder(place)?);
    let judged =
        scenarios.iter().map(|scenario| drive::run(scenario, Path::new(&folder), &machine)).collect();
    let report = Report::new(machine, judged);
    place.print(&report)?;
    Ok(report.exit_code())
}
