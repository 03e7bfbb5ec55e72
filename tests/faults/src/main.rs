//! `cargo xtask faults`: every crash point of every short workload, with and without Intact.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use faults::assumed::Assumed;
use faults::campaign::{self, Crashes, Frame};
use faults::crash::{self, Plan};
use faults::machine::Setting;
use faults::schedules::{self, Schedule};
use faults::states::Bounds;
use faults::workload::{Step, Workload};
use faults::{Results, told};
use faults::{page, sites};
use lab_executive::import::PlannedFault;
use lab_executive::random::Random;

/// What becomes of files when the power goes at any moment of any short program that saves.
///
/// The exit status is 0 only if with Intact nothing was damaged, and without it something was.
#[derive(Clone, Parser)]
#[command(name = "cargo xtask faults", bin_name = "cargo xtask faults")]
struct Arguments {
    /// Decides every choice that is not enumerated.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long a full run may take; what is left after the enumeration is spent on sampled longer workloads.
    #[arg(long, default_value_t = 15.0)]
    minutes: f64,
    /// The most actions of the workloads that are enumerated.
    #[arg(long, default_value_t = 2)]
    actions: u32,
    /// How many schedules a full run tries.
    #[arg(long, default_value_t = 11_000)]
    schedules: usize,
    /// The bounded part of it that runs in the ordinary tests.
    #[arg(long)]
    slice: bool,
    /// Write what was found as a page: target/faults/index.html.
    #[arg(long)]
    report: bool,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
    /// Only this workload, and everything about it: `--workload 'open write@700+900 close'`.
    #[arg(long)]
    workload: Option<Workload>,
    /// With --workload: the disk ignores flushes.
    #[arg(long, requires = "workload")]
    lying: bool,
    /// With --workload: this call fails, as a report shows it; may be repeated.
    #[arg(long, requires = "workload", value_parser = sites::parse)]
    fail: Vec<PlannedFault>,
    /// With --fail: all that the program saves is one save (`Scope` = `Process`).
    #[arg(long, requires = "workload")]
    of_process: bool,
    /// Only this schedule, as a report shows it: `--schedule 'abort random seed=7'`.
    #[arg(long, conflicts_with = "workload")]
    schedule: Option<Schedule>,
    /// Assume this of Windows, as `cargo xtask lab -- fidelity --switches` lists it: `--assume 'supersede_changes_id=yes'`.
    #[arg(long)]
    assume: Option<Assumed>,
    /// The bounded part once for each answer that is not the default, of each question about Windows.
    #[arg(long, conflicts_with_all = ["workload", "schedule", "assume", "report", "json"])]
    both_ways: bool,
    /// With --both-ways: the whole of it for each answer, each as long as --minutes says (hours; `--only calls`: minutes).
    #[arg(long, requires = "both_ways", conflicts_with = "slice")]
    whole: bool,
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// With --workload: on the bare volume.
    #[arg(long, requires = "workload")]
    without: bool,
    /// How many workloads run at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Power cuts and endings.
    Crashes,
    /// Failing calls.
    Calls,
    /// Threads against each other.
    Schedules,
}

fn main() -> ExitCode {
    // What a lab or a check says when it fails is part of the report.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = Arguments::parse();
    let done = match (&arguments.workload, &arguments.schedule) {
        (Some(workload), _) => one(workload, &arguments),
        (None, Some(schedule)) => Ok(scheduled(schedule, &arguments)),
        (None, None) if arguments.both_ways => Ok(both_ways(&arguments)),
        (None, None) => full(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn assumed(&self) -> Assumed {
        self.assume.unwrap_or(Assumed::NOTHING)
    }

    fn plan(&self) -> Plan {
        let bounds = if self.slice { Bounds::SLICE } else { Bounds::FULL };
        Plan { bounds, seed: self.seed, lying: self.lying, assumed: self.assumed() }
    }
}

/// Shows everything about one workload.
fn one(workload: &Workload, arguments: &Arguments) -> Result<bool> {
    let setting = Setting::new(!arguments.without, arguments.seed).assuming(arguments.assumed());
    let setting = Setting { of_process: arguments.of_process, ..setting };
    if !arguments.fail.is_empty() || arguments.of_process {
        let again = sites::again(workload, setting, &arguments.fail);
        println!("{}", again.as_ref().unwrap_or_else(|what| what));
        return Ok(again.is_ok());
    }
    let recording = match campaign::attempt(workload, setting) {
        Ok(recording) => recording,
        Err(what) => bail!("{workload}: {what}"),
    };
    for (step, status) in &recording.told {
        println!("{step:<20} {}", status.map_or("success".into(), |status| status.to_string()));
    }
    println!("saves: {:?}", recording.happened);
    println!(
        "{} disk effects, trace {:016x}",
        recording.disk.effect_count() - recording.first,
        recording.trace
    );
    let explored = crash::explore(&recording, setting, arguments.plan());
    println!("{}", told::counts(&explored.counts));
    if let Some(damage) = &explored.damage {
        println!("DAMAGED by {}: {}", campaign::describe(damage), damage.what);
    }
    if arguments.without {
        return Ok(true);
    }
    let mut actions = Vec::new();
    for step in &workload.0 {
        if let Step::Act(action) = step {
            actions.push(*action);
        }
    }
    let Some(opening) = workload.opening() else { bail!("{workload} opens nothing") };
    let found = campaign::frame(&Frame { opening, actions }, arguments.plan());
    let own = found.failures.iter().filter(|failure| failure.workload.ending() == workload.ending());
    let failures: Vec<_> = own.collect();
    for failure in &failures {
        println!("FAILED ({}): {}: {}", failure.part, failure.fault, failure.what);
    }
    Ok(failures.is_empty() && explored.damage.is_none())
}

/// Shows everything about one schedule.
fn scheduled(schedule: &Schedule, arguments: &Arguments) -> bool {
    let mut schedule = schedule.clone();
    schedule.assumed = arguments.assumed();
    let again = schedules::again(&schedule);
    match &again {
        Ok(text) => println!("{text}"),
        Err(what) => println!("FAILED: {what}"),
    }
    again.is_ok()
}

/// The slice, or the whole, with each other answer to each question about Windows.
fn both_ways(arguments: &Arguments) -> bool {
    let mut good = true;
    for assumed in Assumed::all() {
        let one = Arguments { assume: Some(assumed), slice: !arguments.whole, ..arguments.clone() };
        let complaints = match explore(&one) {
            Ok(results) if results.complaints().is_empty() => {
                println!("{assumed:<82} good, trace {:016x}, {:.0} s", results.trace(), results.seconds);
                continue;
            }
            Ok(results) => told::summary(&results),
            Err(error) => format!("{error:#}"),
        };
        good = false;
        println!("{assumed:<82} NOT GOOD\n{complaints}");
    }
    good
}

/// Everything, or the slice of it.
fn full(arguments: &Arguments) -> Result<bool> {
    let results = explore(arguments)?;
    if arguments.report {
        let path = Path::new("target/faults/index.html");
        std::fs::create_dir_all("target/faults").context("target/faults")?;
        std::fs::write(path, page::page(&results)).with_context(|| path.display().to_string())?;
        eprintln!("page: {}", path.display());
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", told::summary(&results));
    }
    Ok(results.complaints().is_empty())
}

fn explore(arguments: &Arguments) -> Result<Results> {
    let begun = Instant::now();
    let plan = arguments.plan();
    let end = begun + Duration::from_secs_f64(arguments.minutes * 60.0);
    let mut crashes = Crashes::default();
    let mut enumerated = true;
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut sites = wanted(Part::Calls).then(|| {
        sites::explore(arguments.seed, plan.assumed, arguments.threads, if arguments.slice { 60 } else { 1 })
    });
    let schedules = wanted(Part::Schedules).then(|| {
        let count = if arguments.slice { 140 } else { arguments.schedules };
        let known = sites.as_ref().map(|sites| sites.known.clone()).unwrap_or_default();
        schedules::explore(arguments.seed, plan.assumed, arguments.threads, count, &known)
    });
    if let Some(sites) = &mut sites {
        let places = schedules.as_ref().map(|schedules| schedules.places.clone()).unwrap_or_default();
        sites.cover(&places).map_err(anyhow::Error::msg)?;
    }
    let longest = if arguments.slice { 1 } else { arguments.actions };
    for actions in (0..=longest).filter(|_| wanted(Part::Crashes)) {
        let frames = Frame::all(actions);
        let (found, done) = campaign::run(&frames, plan, arguments.threads, Some(end));
        enumerated &= done == frames.len();
        crashes.absorb(found);
    }
    // Beyond what is enumerated: longer workloads, chosen by the seed.
    let random = Random::new(arguments.seed);
    while wanted(Part::Crashes) {
        let (count, length) = if arguments.slice { (24, 2) } else { (200, longest as usize + 1) };
        let frames: Vec<Frame> = (0..count).map(|_| Frame::sample(&random, length)).collect();
        let (found, _) = campaign::run(&frames, plan, arguments.threads, Some(end));
        crashes.absorb(found);
        if arguments.slice || Instant::now() >= end || !crashes.failures.is_empty() {
            break;
        }
    }
    Ok(Results {
        seed: arguments.seed,
        seconds: begun.elapsed().as_secs_f64(),
        enumerated,
        enumerated_actions: longest,
        crashes: wanted(Part::Crashes).then_some(crashes),
        sites,
        schedules,
        slice: arguments.slice,
        assumed: plan.assumed.to_string(),
    })
}
