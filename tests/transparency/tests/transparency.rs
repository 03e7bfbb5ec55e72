//! A bounded slice of `cargo xtask transparency`, and the list of differences.

use intact_transparency::differences::LIST;
use intact_transparency::explore::{Plan, explore};
use intact_transparency::generate::Focus;
use intact_transparency::pair::{OnExit, Pair, disk};
use intact_transparency::program::Program;

#[test]
fn generated_programs_are_told_what_they_are_told_without_intact() {
    let plan = Plan { seed: 20_260_101, operations: 12_000, focus: Focus::default(), failures: 1 };
    println!("seed {}", plan.seed);
    let found = explore(&plan, |_| {});
    assert!(found.operations >= plan.operations || !found.failures.is_empty());
    if let Some(failed) = found.failures.values().next() {
        panic!("{}\nthe shortest program:\n{}", failed.failure.what, failed.program);
    }
}

/// Each difference of the list is met by its example, and at the example's last step.
#[test]
fn every_difference_of_the_list_is_there() {
    let base = disk(1);
    for difference in LIST {
        let program: Program = match difference.example.parse() {
            Ok(program) => program,
            Err(error) => panic!("{}: {error}", difference.id),
        };
        let mut pair = Pair::new(&base, 1, OnExit::Commit);
        let run = pair.run(&program);
        assert!(run.failure.is_none(), "{}: {:?}", difference.id, run.failure);
        assert_eq!(run.met, [difference.id], "{}", difference.reason);
        assert_eq!(run.operations, program.steps.len() as u64, "{}: at its last step", difference.id);
        assert!(pair.end().is_none(), "{}", difference.id);
    }
}

#[test]
fn no_difference_is_listed_twice_and_each_names_what_forces_it() {
    for (index, difference) in LIST.iter().enumerate() {
        assert!(LIST[index + 1..].iter().all(|other| other.id != difference.id), "{}", difference.id);
        assert!(!difference.reason.is_empty() && !difference.source.is_empty(), "{}", difference.id);
    }
}
