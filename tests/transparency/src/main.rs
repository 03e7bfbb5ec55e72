//! `cargo xtask transparency`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use intact_transparency::explore::{self, Found, Plan};
use intact_transparency::generate::Focus;
use intact_transparency::program::Program;

/// Runs generated programs on a bare lab volume and on one with Intact, and compares everything that they are told and
/// everything that is left.
///
/// The exit status is 0 only if nothing differs but what the written list of differences names.
#[derive(Parser)]
#[command(name = "cargo xtask transparency", bin_name = "cargo xtask transparency")]
struct Arguments {
    /// At least so many requests.
    #[arg(long, default_value_t = 1_000_000)]
    operations: u64,
    /// Decides every program.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run the program in this file, as a failure prints it, instead of generated ones.
    #[arg(long)]
    run: Option<PathBuf>,
    /// Go on until so many kinds of failure are found.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Kill processes and abort transactions at any operation instead, and look whether every file is old or new.
    #[arg(long)]
    strokes: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match perform(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(path) = &arguments.run {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let program: Program =
            text.parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        return Ok(match explore::fails(&program) {
            Some(failure) => {
                println!("{program}\nstep {:?}: {}", failure.step, failure.what);
                ExitCode::FAILURE
            }
            None => {
                println!("nothing differs but what is listed");
                ExitCode::SUCCESS
            }
        });
    }
    let began = Instant::now();
    let plan = Plan {
        seed: arguments.seed,
        operations: arguments.operations,
        focus: Focus::default(),
        failures: arguments.failures,
    };
    let mut progress = Progress::default();
    let found = if arguments.strokes {
        let (found, met) = explore::explore_strokes(&plan, |found| progress.tell(found));
        eprintln!("{} strokes, {met} of them at a save that lived", found.programs);
        found
    } else {
        explore::explore(&plan, |found| progress.tell(found))
    };
    tell(&plan, &found, began.elapsed().as_secs_f64(), arguments.json)
}

/// What was told already while programs ran.
#[derive(Default)]
struct Progress {
    operations: u64,
    kinds: Vec<String>,
}

impl Progress {
    /// Tells of every so many requests, and of a failure at once: a long run need not be waited for.
    fn tell(&mut self, found: &Found) {
        const EVERY: u64 = 100_000;
        if found.operations / EVERY > self.operations / EVERY {
            eprintln!("{} programs, {} requests", found.programs, found.operations);
        }
        self.operations = found.operations;
        if found.failures.len() == self.kinds.len() {
            return;
        }
        for (kind, failed) in found.failures.iter().filter(|(kind, _)| !self.kinds.contains(kind)) {
            eprintln!("FAILED: {kind}\n{}\n{}", failed.failure.what, failed.program);
        }
        self.kinds = found.failures.keys().cloned().collect();
    }
}

fn tell(plan: &Plan, found: &Found, seconds: f64, json: bool) -> Result<ExitCode> {
    let rate = found.operations as f64 / seconds;
    let mut failures = Vec::new();
    for (index, failed) in found.failures.values().enumerate() {
        let path = keep(plan.seed, index, &failed.program)?;
        failures.push(serde_json::json!({
            "kind": failed.failure.kind,
            "count": failed.count,
            "what": failed.failure.what,
            "program": failed.program.to_string(),
            "again": format!("cargo xtask transparency --run {}", path.display()),
        }));
    }
    if json {
        let result = serde_json::json!({
            "seed": plan.seed, "programs": found.programs, "operations": found.operations, "amid": found.amid, "seconds": seconds,
            "differences": found.met, "failures": failures,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        println!(
            "{} programs, {} requests ({} while others were under way), seed {}, {seconds:.1} s ({rate:.0} requests/s)",
            found.programs, found.operations, found.amid, plan.seed
        );
        println!("differences of the list that were met:");
        found.met.iter().for_each(|(id, count)| println!("  {count:>8}  {id}"));
        for failure in &failures {
            let text = |name: &str| failure[name].as_str().unwrap_or_default().to_owned();
            println!("\nFAILED: {} ({} times)\n{}", text("kind"), failure["count"], text("what"));
            println!("the shortest program:\n{}again: {}", text("program"), text("again"));
        }
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Keeps a program that failed.
fn keep(seed: u64, index: usize, program: &Program) -> Result<PathBuf> {
    let folder = PathBuf::from("target/transparency");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let path = folder.join(format!("seed-{seed}-{index}.txt"));
    std::fs::write(&path, program.to_string()).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
