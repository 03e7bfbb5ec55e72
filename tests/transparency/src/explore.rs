//! Many programs.

use std::collections::BTreeMap;

use lab_executive::random::Random;

use crate::atomic::{self, Stroke};
use crate::generate::{self, Focus};
use crate::pair::{FOLDERS, Failure, OnExit, Pair, disk};
use crate::program::Program;
use crate::shrink::shrink;

/// What to explore.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides every program.
    pub seed: u64,
    /// At least so many requests.
    pub operations: u64,
    /// What programs do.
    pub focus: Focus,
    /// How many kinds of failure are looked for.
    pub failures: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Programs that ran.
    pub programs: u64,
    /// Requests that were made and compared.
    pub operations: u64,
    /// Of these, made while reads or writes were under way.
    pub amid: u64,
    /// How often each difference of the list was met.
    pub met: BTreeMap<&'static str, u64>,
    /// The first program of each kind of failure, as short as it gets.
    pub failures: BTreeMap<String, Failed>,
}

/// A program that failed.
#[derive(Debug)]
pub struct Failed {
    /// The program.
    pub program: Program,
    /// How it failed.
    pub failure: Failure,
    /// How many failed so.
    pub count: u64,
}

/// The seed of one of the programs of a plan.
fn seed_of(plan: &Plan, number: u64) -> u64 {
    plan.seed.wrapping_mul(1_000_003).wrapping_add(number)
}

/// Runs programs until so many requests were made, or so many kinds of failure are found. `progress` is told after each.
pub fn explore(plan: &Plan, mut progress: impl FnMut(&Found)) -> Found {
    let base = disk(FOLDERS);
    let mut found = Found::default();
    let mut pair: Option<Pair> = None;
    let mut last = Program::default();
    while found.operations < plan.operations && found.failures.len() < plan.failures {
        let seed = seed_of(plan, found.programs);
        let current = pair.get_or_insert_with(|| Pair::new(&base, seed, OnExit::Commit));
        last = generate::program(seed, &plan.focus);
        let run = current.run(&last);
        found.programs += 1;
        found.operations += run.operations;
        found.amid += run.amid;
        run.met.iter().for_each(|id| *found.met.entry(id).or_default() += 1);
        let mut failure = run.failure;
        if run.spent || !current.has_room() {
            let ended = pair.take().filter(|_| !run.spent).and_then(Pair::end);
            failure = failure.or(ended);
        }
        if let Some(failure) = failure {
            note(&mut found, &last, failure);
        }
        progress(&found);
    }
    if found.failures.is_empty()
        && let Some(failure) = pair.and_then(Pair::end)
    {
        note(&mut found, &last, failure);
    }
    found
}

fn note(found: &mut Found, program: &Program, failure: Failure) {
    if let Some(known) = found.failures.get_mut(&failure.kind) {
        known.count += 1;
        return;
    }
    let failed = shortest(program.clone(), failure);
    let kind = failed.failure.kind.clone();
    found.failures.entry(kind).or_insert(failed).count += 1;
}

/// Runs one program on machines of its own.
pub fn fails(program: &Program) -> Option<Failure> {
    let mut pair = Pair::alone(&disk(1));
    let run = pair.run(program);
    run.failure.or_else(|| if run.spent { None } else { pair.end() })
}

fn shortest(program: Program, failure: Failure) -> Failed {
    let same = |program: &Program| fails(program).filter(|found| found.kind == failure.kind);
    if same(&program).is_none() {
        // It takes what the programs before it did on the same machines, or their seed.
        let what = format!("not on machines of its own\n{}", failure.what);
        return Failed { program, failure: Failure { what, ..failure }, count: 0 };
    }
    let program = shrink(program, |program| same(program).is_some());
    let failure = same(&program).unwrap_or(failure);
    Failed { program, failure, count: 0 }
}

/// The stroke that a program with this seed gets, and the program: cut off where it is struck.
pub fn struck_program(seed: u64) -> (Program, Stroke) {
    let mut program = generate::program(seed, &atomic::focus());
    let random = Random::new(seed ^ 0x5712_0CE5);
    let stroke = match random.below(3) {
        0 => Stroke::KillBefore,
        1 => Stroke::KillDuring,
        _ => Stroke::Abort(random.below(40) as u64),
    };
    if !matches!(stroke, Stroke::Abort(_)) {
        program.steps.truncate(1 + random.below(program.steps.len()));
    }
    (program, stroke)
}

/// Strikes programs until so many requests were made, or one fails. Returns what was found, and how often a stroke met a
/// save that lived.
pub fn explore_strokes(plan: &Plan, mut progress: impl FnMut(&Found)) -> (Found, u64) {
    let base = disk(FOLDERS);
    let mut found = Found::default();
    let mut met = 0;
    let mut pair: Option<Pair> = None;
    while found.operations < plan.operations && found.failures.len() < plan.failures {
        let seed = seed_of(plan, found.programs);
        let (program, stroke) = struck_program(seed);
        let current = pair.get_or_insert_with(|| atomic::machines(&base, seed));
        let struck = atomic::strike(current, &program, stroke);
        found.programs += 1;
        found.operations += struck.operations;
        met += u64::from(struck.met_a_save);
        let mut failure = struck.failure;
        if struck.spent || !current.has_room() {
            let ended = pair.take().filter(|_| !struck.spent).and_then(Pair::end);
            failure = failure.or(ended);
        }
        if let Some(failure) = failure {
            note_struck(&mut found, program, stroke, failure);
        }
        progress(&found);
    }
    (found, met)
}

/// Strikes one program on machines of its own.
pub fn fails_struck(program: &Program, stroke: Stroke) -> Option<Failure> {
    let mut pair = atomic::machines(&disk(1), 1);
    atomic::strike(&mut pair, program, stroke).failure
}

fn note_struck(found: &mut Found, program: Program, stroke: Stroke, failure: Failure) {
    if let Some(known) = found.failures.get_mut(&failure.kind) {
        known.count += 1;
        return;
    }
    let same = |program: &Program| fails_struck(program, stroke).filter(|found| found.kind == failure.kind);
    let program =
        if same(&program).is_some() { shrink(program, |program| same(program).is_some()) } else { program };
    let mut failure = same(&program).unwrap_or(failure);
    failure.what = format!("struck by {stroke:?}\n{}", failure.what);
    found.failures.insert(failure.kind.clone(), Failed { program, failure, count: 1 });
}
