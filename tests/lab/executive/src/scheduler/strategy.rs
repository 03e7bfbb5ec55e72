//! Who runs next, where several threads could: by chance, by priorities that chance changes, or as a script says.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Lab;
use crate::thread::Thread;

/// How the scheduler chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Any thread, by the seed; pre-emption at the end of an import by
    /// [`Config::preempt_per_mille`](crate::Config::preempt_per_mille).
    #[default]
    Random,
    /// Random priorities, and random places at which the running thread falls behind all others: each bug that needs
    /// so many places to go wrong is met with a probability that does not depend on how many threads there are
    /// (Burckhardt et al., *A randomized scheduler with probabilistic guarantees of finding bugs*, ASPLOS 2010).
    /// Pre-empts at the end of every import.
    Priorities {
        /// Places at which a thread falls behind.
        changes: usize,
        /// Among how many choices the places lie.
        length: usize,
    },
    /// Nobody is pre-empted, but at these choices (counted from 0), where the candidate with the given number runs.
    /// For enumerating every schedule with a bounded number of pre-emptions.
    Script(Vec<(usize, usize)>),
}

/// What was chosen so far.
#[derive(Debug, Default)]
pub(super) struct Choices {
    /// Candidates at each choice among several.
    pub(super) made: Vec<usize>,
    priorities: BTreeMap<u32, i64>,
    changes: Option<Vec<usize>>,
    last: Option<u32>,
    /// How many times in a row the last one was chosen although others could run.
    in_a_row: u32,
}

/// So often no thread goes on while others could, unless it waits for one of them in a loop that never waits.
const SPINS: u32 = 300_000;

impl Lab {
    pub(super) fn may_preempt(&self) -> bool {
        match self.config.strategy {
            Strategy::Random => self.random.chance(self.config.preempt_per_mille),
            Strategy::Priorities { .. } | Strategy::Script(_) => true,
        }
    }

    /// The index of the thread that runs next. There is at least one candidate.
    pub(super) fn choose(&self, candidates: &[Rc<Thread>]) -> usize {
        let mut choices = self.scheduler.choices.borrow_mut();
        let number = choices.made.len();
        let several = candidates.len() > 1;
        if several {
            choices.made.push(candidates.len());
        }
        let index = match &self.config.strategy {
            Strategy::Random => self.random.below(candidates.len()),
            Strategy::Priorities { changes, length } => {
                if choices.changes.is_none() {
                    choices.changes = Some((0..*changes).map(|_| self.random.below(*length)).collect());
                }
                for thread in candidates {
                    choices.priorities.entry(thread.id).or_insert_with(|| self.random.below(1 << 30) as i64);
                }
                let falls = several && choices.changes.as_ref().is_some_and(|at| at.contains(&number));
                if falls && let Some(last) = choices.last {
                    choices.priorities.insert(last, -(number as i64));
                }
                let priority = |thread: &Rc<Thread>| choices.priorities.get(&thread.id).copied();
                (0..candidates.len()).max_by_key(|index| priority(&candidates[*index])).unwrap_or(0)
            }
            Strategy::Script(script) => {
                let told = script.iter().find(|(at, _)| several && *at == number);
                let goes_on = || candidates.iter().position(|thread| Some(thread.id) == choices.last);
                told.map(|(_, index)| index % candidates.len()).or_else(goes_on).unwrap_or(0)
            }
        };
        let same = several && choices.last == Some(candidates[index].id);
        choices.in_a_row = if same { choices.in_a_row + 1 } else { 0 };
        choices.last = Some(candidates[index].id);
        index
    }

    /// Stops a run whose thread spins: under a scheduler that is not fair, or at a real-time priority, it spins for ever.
    pub(super) fn check_spinning(&self) {
        if self.scheduler.choices.borrow().in_a_row > SPINS {
            self.report(
                "spins-for-another-thread",
                "kernel/KeDelayExecutionThread: a thread that waits for another lets it run by waiting",
                format!("the thread was chosen {SPINS} times in a row while others could run"),
            );
        }
    }
}
