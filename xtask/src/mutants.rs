//! `cargo xtask mutants`: small changes of the driver, one at a time, and whether the tests notice them.
//!
//! The driver is linked for another system, which takes too long to do it once for every change. So a copy of the sources
//! gets all changes at once, each behind a switch that it asks at run time ([`switch`]), and is built once. A test is run
//! with a change by writing the change's number into a copy of the built driver, which the lab then loads; the unit tests
//! of the same sources are switched in the same way. Each test has told before which changes it reaches, so that only those
//! are run that can notice a change.

mod asking;
mod copy;
mod explained;
mod outcomes;
mod returns;
mod rewrite;
mod sites;
mod suite;
mod switch;

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use asking::Run;
use copy::{Copy, Mutant};
use outcomes::Outcomes;
use suite::{Bench, Suite};

use crate::run::Step;
use crate::workspace;

/// Options of the command.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only changes in these files: `minifilter/src/save/*.rs`. May be repeated.
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// Only every N-th change, beginning with the K-th, as K/N with K from 0.
    #[arg(long, value_parser = shard, value_name = "K/N")]
    shard: Option<(usize, usize)>,
    /// Only this many changes, chosen by the seed.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Which changes are chosen for a sample.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on where an earlier run was: what was noticed is left out, and what was not is asked of new tests only.
    #[arg(long)]
    iterate: bool,
    /// Only what an earlier run has found to be missed, and of new tests only.
    #[arg(long)]
    missed: bool,
    /// Ask no more tests of a change than take this many seconds together, the likeliest first. What they miss may be asked
    /// of the others later (--missed).
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// How many changes are tried at once.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Only list the changes.
    #[arg(long)]
    list: bool,
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// The least percentage of changes that have to be noticed; with less the exit status is 1.
    #[arg(long, default_value_t = 90.0, value_name = "PERCENT")]
    least: f64,
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match numbers {
        Some((k, n)) if k < n => Ok((k, n)),
        _ => Err(format!("{text:?}: write K/N with K less than N, as in 0/4")),
    }
}

/// Where the copy, the builds and the results are.
fn folder() -> PathBuf {
    workspace::root().join("target/mutants/driver")
}

/// Performs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let sources = copy::sources(workspace::root())?;
    let mutants = copy::mutants(&sources);
    let globs = globs(&arguments.file)?;
    let asked = |mutant: &&Mutant| globs.is_empty() || globs.is_match(&mutant.file);
    if arguments.list {
        for mutant in mutants.iter().filter(asked) {
            println!("{}", outcomes::place(mutant));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let copy = Copy::make(&folder, &sources)?;
    let unviable =
        known_or(&folder.join("unviable.json"), &mutants, || copy.unviable(&sources, BTreeSet::new()))?;
    let built = copy.build(&sources, &unviable)?;
    let mut suite = Suite::prepare(&built, &folder.join("run"))?;
    let benches =
        (0..arguments.jobs).map(|index| suite.bench(&index.to_string())).collect::<Result<Vec<_>>>()?;
    record(&mut suite, &benches)?;

    let viable = mutants.iter().filter(asked).filter(|mutant| !unviable.contains(&mutant.number));
    let outcomes = Outcomes::open(&folder.join("outcomes.jsonl"), arguments.iterate || arguments.missed)?;
    let again = |mutant: &&Mutant| !arguments.missed || outcomes.is_missed(&mutant.key);
    let chosen = choose(viable.filter(again).collect(), arguments);
    let left_out = mutants.iter().filter(asked).count() - chosen.len();
    let run = Run::new(&suite, &chosen, outcomes, arguments.budget);
    std::thread::scope(|threads| {
        let threads: Vec<_> = benches.iter().map(|bench| threads.spawn(|| run.ask_all(bench))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    let outcomes = run.end();
    let explanations = explained::read(workspace::root())?;
    let cannot = mutants.iter().filter(asked).filter(|mutant| unviable.contains(&mutant.number));
    let report = outcomes.report(&chosen, cannot.collect(), &explanations, suite.describe(), left_out);
    report.write(&folder)?;
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(if report.score() >= arguments.least { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn globs(patterns: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.with_context(|| format!("--file {pattern}"))?);
    }
    Ok(set.build()?)
}

/// The changes that do not compile, from an earlier run with the same changes or found now.
fn known_or(
    path: &Path,
    mutants: &[Mutant],
    find: impl FnOnce() -> Result<BTreeSet<u32>>,
) -> Result<BTreeSet<u32>> {
    let mut hasher = DefaultHasher::new();
    mutants.iter().for_each(|mutant| (&mutant.key, mutant.change.line).hash(&mut hasher));
    let hash = hasher.finish();
    let known: Option<(u64, BTreeSet<u32>)> = fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|value| {
            let numbers = value["numbers"].as_array()?.iter().filter_map(|number| number.as_u64());
            Some((value["of"].as_u64()?, numbers.filter_map(|number| u32::try_from(number).ok()).collect()))
        });
    if let Some((of, numbers)) = known
        && of == hash
    {
        return Ok(numbers);
    }
    let found = find()?;
    fs::write(path, serde_json::json!({ "of": hash, "numbers": found }).to_string())?;
    Ok(found)
}

fn record(suite: &mut Suite, benches: &[Bench]) -> Result<()> {
    let step = Step::start("running every test with nothing changed");
    suite.record(benches)?;
    step.done();
    if suite.tests.is_empty() {
        bail!("there are no tests");
    }
    Ok(())
}

fn choose<'m>(mut viable: Vec<&'m Mutant>, arguments: &Arguments) -> Vec<&'m Mutant> {
    if let Some((k, n)) = arguments.shard {
        viable = viable.into_iter().skip(k).step_by(n).collect();
    }
    if let Some(count) = arguments.sample {
        eprintln!("a sample of {count}, seed {}", arguments.seed);
        viable.sort_by_key(|mutant| draw(arguments.seed, mutant));
        viable.truncate(count);
        viable.sort_by_key(|mutant| mutant.number);
    }
    viable
}

/// Where a change stands in the order of this seed: its own place, whatever other changes there are.
fn draw(seed: u64, mutant: &Mutant) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, &mutant.key).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
