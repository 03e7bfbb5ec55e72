//! `cargo xtask mutants`: small changes of the driver, one at a time, and whether the tests notice them.
//!
//! The driver is linked for another system, which takes too long to do it once for every change. So a copy of the sources
//! gets all changes at once, each behind a switch that it asks at run time ([`switch`]), and is built once. A test is run
//! with a change by writing the change's number into a copy of the built driver, which the lab then loads; the unit tests
//! of the same sources are switched in the same way. Each test has told before which changes it reaches, so that only those
//! are run that can notice a change.

mod copy;
mod explained;
mod outcomes;
mod returns;
mod rewrite;
mod sites;
mod suite;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use indicatif::{ProgressBar, ProgressStyle};

use copy::{Copy, Mutant};
use outcomes::{Outcome, Outcomes, Verdict};
use suite::{Ended, Suite};

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
    record(&mut suite)?;

    let viable = mutants.iter().filter(asked).filter(|mutant| !unviable.contains(&mutant.number));
    let mut outcomes = Outcomes::open(&folder.join("outcomes.jsonl"), arguments.iterate || arguments.missed)?;
    let again = |mutant: &&Mutant| !arguments.missed || outcomes.is_missed(&mutant.key);
    let chosen = choose(viable.filter(again).collect(), arguments);
    let left_out = mutants.iter().filter(asked).count() - chosen.len();
    let bar = bar(chosen.len(), "{spinner} {pos}/{len} changes, {msg} ({elapsed}, {eta} left)");
    let mut noticed_by = Noticed::default();
    let mut missed = 0_usize;
    for mutant in &chosen {
        if !outcomes.is_caught(&mutant.key) {
            let outcome = ask(&suite, mutant, outcomes.asked(&mutant.key), &mut noticed_by)?;
            if outcome.verdict == Verdict::Missed {
                missed += 1;
                // Above the bar, also where there is none.
                bar.suspend(|| eprintln!("missed: {}", outcomes::place(mutant)));
            }
            outcomes.add(&mutant.key, outcome)?;
        }
        bar.inc(1);
        bar.set_message(format!("{missed} missed"));
    }
    bar.finish_and_clear();
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

fn bar(length: usize, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(length).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
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

fn record(suite: &mut Suite) -> Result<()> {
    let step = Step::start("running every test with nothing changed");
    suite.record(&|_, _| {})?;
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

/// Which tests have noticed changes, and in which file: they are asked first.
#[derive(Default)]
struct Noticed(BTreeMap<(String, usize), usize>);

fn ask(suite: &Suite, mutant: &Mutant, asked: BTreeSet<String>, noticed: &mut Noticed) -> Result<Outcome> {
    let begun = Instant::now();
    let mut order: Vec<usize> = (0..suite.tests.len())
        .filter(|test| suite.tests[*test].reached.contains(&mutant.number))
        .filter(|test| !asked.contains(&suite.tests[*test].name))
        .collect();
    let count = |test: usize| noticed.0.get(&(mutant.file.clone(), test)).copied().unwrap_or(0);
    // Unit tests are the quickest of all; the programs are in the order in which they are asked.
    let is_unit = |test: usize| suite.programs[suite.tests[test].program].is_unit();
    order.sort_by_key(|test| {
        let unit = is_unit(*test);
        (!unit, suite.tests[*test].program, std::cmp::Reverse(count(*test)), suite.tests[*test].takes)
    });
    let ended = suite.ask(mutant.number, &order)?;
    let names = order.iter().map(|test| suite.tests[*test].name.clone());
    let asked: BTreeSet<String> = asked.into_iter().chain(names).collect();
    let (verdict, by, why) = match ended {
        Ended::Passed if asked.is_empty() => {
            (Verdict::Missed, String::new(), "no test reaches it".to_owned())
        }
        Ended::Passed => (Verdict::Missed, String::new(), format!("{} tests reach it", asked.len())),
        Ended::Failed(test, why) => (Verdict::Failed, test, why),
        Ended::Crashed(test, why) => (Verdict::Crashed, test, why),
        Ended::TimedOut(test) => (Verdict::TimedOut, test, String::new()),
    };
    if let Some(index) = order.iter().find(|test| suite.tests[**test].name == by) {
        *noticed.0.entry((mutant.file.clone(), *index)).or_default() += 1;
    }
    let asked = if verdict == Verdict::Missed { asked } else { BTreeSet::new() };
    Ok(Outcome { verdict, by, why, asked, seconds: begun.elapsed().as_secs_f64() })
}

#[cfg(test)]
mod tests;
