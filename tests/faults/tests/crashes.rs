//! The fault tests themselves: that they are repeatable, and that they see damage where there is some.

use faults::assumed::Assumed;
use faults::campaign::{self, Frame};
use faults::crash::{self, Plan};
use faults::machine::Setting;
use faults::states::Bounds;
use faults::strikes;
use faults::workload::{Ending, Workload};

const PLAN: Plan = Plan { bounds: Bounds::SLICE, seed: 1, lying: false, assumed: Assumed::NOTHING };

fn workload(line: &str) -> Workload {
    line.parse().unwrap()
}

fn explored(line: &str, intact: bool, lying: bool) -> crash::Explored {
    let setting = Setting::new(intact, 1);
    let recording = campaign::attempt(&workload(line), setting).unwrap();
    crash::explore(&recording, setting, Plan { lying, ..PLAN })
}

#[test]
fn the_same_seed_makes_the_same_trace_and_another_seed_another() {
    let line = workload("overwrite write@0+2200 second flush close");
    let trace = |seed| campaign::attempt(&line, Setting::new(true, seed)).unwrap().trace;
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_change_in_place_is_damaged_without_intact_and_whole_with_it() {
    let line = "open write@0+2200 flush write@700+900 close";
    let (bare, with) = (explored(line, false, false), explored(line, true, false));
    assert!(bare.counts.damaged > 0 && bare.damage.is_some(), "{:?}", bare.counts);
    assert_eq!(with.counts.damaged, 0, "{:?}", with.damage);
    assert!(with.counts.nested > 0 && with.counts.old > 0 && with.counts.new > 0, "{:?}", with.counts);
}

#[test]
fn a_disk_that_ignores_flushes_damages_files_whatever_the_software() {
    let lying = explored("open write@0+2200 flush write@700+900 close", true, true);
    assert!(lying.counts.damaged > 0, "{:?}", lying.counts);
}

#[test]
fn a_power_cut_amid_the_making_of_a_file_leaves_no_more_than_an_empty_one() {
    let made = explored("create write@0+2200 close", true, false);
    assert!(made.counts.limited > 0 && made.counts.damaged == 0, "{:?}", made.counts);
}

#[test]
fn a_failing_workload_shrinks_to_the_shortest_that_fails() {
    let long = workload("open read flush basic ea close");
    let shortest = crash::shrink(&long, |workload| workload.to_string().contains("basic"));
    assert_eq!(shortest, workload("open basic close"));
}

#[test]
fn one_frame_is_run_with_every_ending() {
    let frame = Frame::all(1)
        .into_iter()
        .find(|frame| frame.workload(Ending::Close) == workload("open write@700+900 close"));
    let crashes = campaign::frame(&frame.unwrap(), PLAN);
    assert_eq!(crashes.with.workloads, 5);
    assert!(crashes.failures.is_empty(), "{:?}", crashes.failures);
    assert!(crashes.without.damaged > 0 && crashes.lying.workloads == 1);
}

#[test]
fn on_a_full_disk_a_file_is_partly_new_without_intact_and_entirely_old_with_it() {
    let frame =
        |line: &str| Frame::all(2).into_iter().find(|frame| frame.workload(Ending::Close) == workload(line));
    let frame = frame("open write@700+900 write@5000+300 close").unwrap();
    let bare = campaign::attempt(&frame.workload(Ending::Close), Setting::new(false, 1)).unwrap();
    let (cell, failures) = strikes::disk_full(&frame, PLAN, &bare);
    assert!(failures.is_empty(), "{failures:?}");
    assert!(cell.without.damaged > 0 && cell.with.damaged == 0, "{cell:?}");
    assert!(cell.with.all >= 3, "each write, and no space at all: {cell:?}");
}

/// What nobody outside Microsoft can know, both ways: files are whole whatever the answer. The command's `--both-ways` does
/// so with the whole slice.
#[test]
fn whatever_windows_does_files_are_old_or_new() {
    let frames: Vec<Frame> = Frame::all(1)
        .into_iter()
        .filter(|frame| {
            let line = frame.workload(Ending::Close).to_string();
            ["open write@700+900 close", "open rename close", "supersede write@0+2200 close"]
                .contains(&line.as_str())
        })
        .collect();
    assert_eq!(frames.len(), 3);
    let all = Assumed::all();
    assert!(all.len() >= 18, "{} answers", all.len());
    let work = |assumed: &Assumed| campaign::run(&frames, Plan { assumed: *assumed, ..PLAN }, 1, None).0;
    for (assumed, crashes) in all.iter().zip(campaign::parallel(&all, 2, None, work)) {
        let crashes = crashes.unwrap();
        assert!(crashes.failures.is_empty(), "{assumed}: {:?}", crashes.failures);
        assert!(
            crashes.with.damaged == 0 && crashes.with.new > 0 && crashes.without.damaged > 0,
            "{assumed}"
        );
    }
}
