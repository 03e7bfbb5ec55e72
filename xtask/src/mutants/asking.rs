//! Asking the tests of the changes, several changes at once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::copy::Mutant;
use super::outcomes::{self, Outcome, Outcomes, Verdict};
use super::suite::{Bench, Ended, Suite};

/// A run over these changes.
pub(super) struct Run<'a> {
    suite: &'a Suite,
    chosen: &'a [&'a Mutant],
    next: AtomicUsize,
    budget: Option<Duration>,
    bar: ProgressBar,
    known: Mutex<Known>,
}

struct Known {
    outcomes: Outcomes,
    noticed: Noticed,
    missed: usize,
}

/// How often a test, by its name, has noticed a change of a file, and of a function of it.
#[derive(Default)]
struct Noticed(BTreeMap<(String, String), usize>);

/// How much more a change of the same function says than one of the same file.
const SAME_FUNCTION: usize = 4;

impl Noticed {
    fn learn(&mut self, mutant: &Mutant, test: &str) {
        let function = format!("{} {}", mutant.file, mutant.change.function);
        for place in [mutant.file.clone(), function] {
            *self.0.entry((place, test.to_owned())).or_default() += 1;
        }
    }

    fn count(&self, mutant: &Mutant, test: &str) -> usize {
        let of = |place: String| self.0.get(&(place, test.to_owned())).copied().unwrap_or(0);
        let function = format!("{} {}", mutant.file, mutant.change.function);
        of(mutant.file.clone()) + SAME_FUNCTION * of(function)
    }
}

impl<'a> Run<'a> {
    /// `budget`: how many seconds of tests are asked of one change.
    pub(super) fn new(
        suite: &'a Suite,
        chosen: &'a [&'a Mutant],
        outcomes: Outcomes,
        budget: Option<f64>,
    ) -> Self {
        let mut noticed = Noticed::default();
        for mutant in chosen {
            if let Some(test) = outcomes.noticed_by(&mutant.key) {
                noticed.learn(mutant, test);
            }
        }
        let bar = ProgressBar::new(u64::try_from(chosen.len()).unwrap_or(u64::MAX));
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {pos}/{len} changes, {msg} ({elapsed}, {eta} left)")
        {
            bar.set_style(style);
        }
        Run {
            suite,
            chosen,
            next: AtomicUsize::new(0),
            budget: budget.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            bar,
            known: Mutex::new(Known { outcomes, noticed, missed: 0 }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks of the changes, one after another, what nobody else does.
    pub(super) fn ask_all(&self, bench: &Bench) -> Result<()> {
        while let Some(mutant) = self.chosen.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let is_caught = self.known().outcomes.is_caught(&mutant.key);
            if !is_caught {
                self.ask(bench, mutant)?;
            }
            self.bar.inc(1);
        }
        Ok(())
    }

    fn ask(&self, bench: &Bench, mutant: &Mutant) -> Result<()> {
        let begun = Instant::now();
        let before = self.known().outcomes.asked(&mutant.key);
        let (order, left) = self.order(mutant, &before);
        let ended = self.suite.ask(bench, mutant.number, &order)?;
        let names = order.iter().map(|test| self.suite.tests[*test].name.clone());
        let asked: BTreeSet<String> = before.into_iter().chain(names).collect();
        let (verdict, by, why) = match ended {
            Ended::Passed if asked.is_empty() => {
                (Verdict::Missed, String::new(), "no test in which it makes a difference".to_owned())
            }
            Ended::Passed => {
                let more = if left == 0 { String::new() } else { format!(", {left} more were not asked") };
                (Verdict::Missed, String::new(), format!("{} tests reach it{more}", asked.len()))
            }
            Ended::Failed(test, why) => (Verdict::Failed, test, why),
            Ended::Crashed(test, why) => (Verdict::Crashed, test, why),
            Ended::TimedOut(test) => (Verdict::TimedOut, test, String::new()),
        };
        let asked = if verdict == Verdict::Missed { asked } else { BTreeSet::new() };
        let mut known = self.known();
        if verdict == Verdict::Missed {
            known.missed += 1;
            // Above the bar, also where there is none.
            self.bar.suspend(|| eprintln!("missed: {}", outcomes::place(mutant)));
        } else {
            known.noticed.learn(mutant, &by);
        }
        self.bar.set_message(format!("{} missed", known.missed));
        let outcome = Outcome { verdict, by, why, asked, seconds: begun.elapsed().as_secs_f64() };
        known.outcomes.add(&mutant.key, outcome)
    }

    /// The tests to ask of a change, and how many more there would be.
    fn order(&self, mutant: &Mutant, asked: &BTreeSet<String>) -> (Vec<usize>, usize) {
        let tests = &self.suite.tests;
        let known = self.known();
        let mut order: Vec<(bool, Duration, usize)> = (0..tests.len())
            .filter(|test| {
                tests[*test].reached.contains(&mutant.number) && !asked.contains(&tests[*test].name)
            })
            .map(|test| {
                let count = known.noticed.count(mutant, &tests[test].name);
                // Unit tests are the quickest of all; of the others those that noticed much in little time come first.
                let is_unit = self.suite.programs[tests[test].program].is_unit();
                let share = u32::try_from(count.saturating_add(1)).unwrap_or(u32::MAX);
                (is_unit, tests[test].takes / share, test)
            })
            .collect();
        drop(known);
        order.sort_by_key(|(is_unit, share, test)| (Reverse(*is_unit), *share, *test));
        let mut left = self.budget;
        let all = order.len();
        let within = order.into_iter().map(|(.., test)| test).take_while(|test| match &mut left {
            None => true,
            Some(left) => {
                let rest = left.checked_sub(tests[*test].takes);
                *left = rest.unwrap_or(*left);
                rest.is_some()
            }
        });
        let order: Vec<usize> = within.collect();
        let more = all - order.len();
        (order, more)
    }

    /// What has become of them.
    pub(super) fn end(self) -> Outcomes {
        self.bar.finish_and_clear();
        self.known.into_inner().unwrap_or_else(PoisonError::into_inner).outcomes
    }
}
