//! Faults that strike a whole run of a short program: a disk that is full, and callbacks that are entered at the highest
//! level that their documentation admits.

use intact_saves::Happened;
use lab::Status;

use crate::campaign::{self, Cell, Failure, Frame, Share};
use crate::crash::Plan;
use crate::healing;
use crate::machine::{Recording, Setting, Strike};
use crate::oracle::{self, Sameness};
use crate::workload::{Action, ENDINGS, Ending, Step, Workload};

/// Runs a frame once for each of its writes, that write failing with STATUS_DISK_FULL, and once without any free space.
/// The program takes no notice and closes its handle: with Intact its file is entirely old, or as of its last flush, or
/// entirely new. `bare` is the frame without a driver and without a fault.
pub fn disk_full(frame: &Frame, plan: Plan, bare: &Recording) -> (Cell, Vec<Failure>) {
    let (mut cell, mut failures) = (Cell::default(), Vec::new());
    // Another stream that is written beside is a save of its own.
    if frame.actions.iter().any(|action| matches!(action, Action::Beside | Action::NewBeside)) {
        return (cell, failures);
    }
    let workload = frame.workload(Ending::Close);
    let writes = (0..).map(Strike::Write).take(frame.actions.len());
    for strike in writes.chain([Strike::NoSpace]) {
        let mut retried = None;
        for intact in [false, true] {
            let setting =
                Setting { strike: Some(strike), ..Setting::new(intact, plan.seed).assuming(plan.assumed) };
            let struck = match campaign::attempt(&workload, setting) {
                Ok(struck) if !was_struck(&struck) => continue,
                Ok(struck) => struck,
                Err(what) => {
                    failures.push(failure(&workload, "the disk is full", what, plan));
                    continue;
                }
            };
            let verdict = match &retried {
                Some(retried) if same_at_the_end(&struck, retried) => Ok(()),
                _ => whole(&struck, bare),
            };
            if intact {
                cell.with.add(verdict.is_err());
                failures
                    .extend(verdict.err().map(|what| failure(&workload, &format!("{strike:?}"), what, plan)));
            } else {
                cell.without.add(verdict.is_err());
                retried = healing::is_made_good(frame.opening, &struck.told).then_some(struck);
            }
        }
    }
    (cell, failures)
}

fn same_at_the_end(one: &Recording, two: &Recording) -> bool {
    one.steps.last().zip(two.steps.last()).is_some_and(|(one, two)| oracle::same(one, two, Sameness::Told))
}

fn was_struck(recording: &Recording) -> bool {
    recording.told.iter().any(|(_, status)| *status == Some(Status::DISK_FULL))
        || recording.happened.iter().any(|event| matches!(event, Happened::CommitFailed))
}

/// Whether the volume is as some moment at which the program was told that its data is safe, or as if nothing had failed.
fn whole(struck: &Recording, bare: &Recording) -> Result<(), String> {
    let Some(found) = struck.steps.last() else { return Ok(()) };
    let flushed = struck.told.iter().zip(&struck.steps).filter_map(|((step, status), tree)| {
        (*step == Step::Act(Action::Flush) && status.is_none()).then_some(tree)
    });
    let complete = bare.steps.last();
    let old = &struck.versions[0].tree;
    let legal = |tree| oracle::same(found, tree, Sameness::Told);
    if legal(old) || flushed.clone().any(|tree| legal(tree)) || complete.is_some_and(|tree| legal(tree)) {
        return Ok(());
    }
    Err(format!(
        "neither old ({}) nor new, told {:?}; {:?}",
        oracle::difference(found, old, Sameness::Told),
        struck.told,
        struck.happened
    ))
}

/// Runs a frame with every ending, each callback at its highest level: what the program is told and leaves is the same.
pub fn highest_irql(frame: &Frame, plan: Plan, bare: &Recording) -> (Share, Vec<Failure>) {
    let (mut share, mut failures) = (Share::default(), Vec::new());
    for ending in ENDINGS {
        let workload = frame.workload(ending);
        let setting = Setting { highest_irql: true, ..Setting::new(true, plan.seed).assuming(plan.assumed) };
        let verdict = campaign::attempt(&workload, setting)
            .and_then(|with| campaign::wrong(plan.assumed, &workload, bare, &with).map(drop));
        share.add(verdict.is_err());
        let fault = "each callback at its highest IRQL";
        failures.extend(verdict.err().map(|what| failure(&workload, fault, what, plan)));
    }
    (share, failures)
}

fn failure(workload: &Workload, fault: &str, what: String, plan: Plan) -> Failure {
    campaign::failure("strikes", workload, fault, what, plan, None)
}
