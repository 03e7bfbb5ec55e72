//! A bounded slice of `cargo xtask transparency`, and the list of differences.

use intact_transparency::differences::LIST;
use intact_transparency::explore::{Plan, explore, explore_strokes};
use intact_transparency::generate::Focus;
use intact_transparency::limits::LIMITS;
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

#[test]
fn whoever_is_killed_or_aborted_at_any_operation_leaves_files_old_or_new() {
    let plan = Plan { seed: 20_260_102, operations: 4_000, focus: Focus::default(), failures: 1 };
    println!("seed {}", plan.seed);
    let (found, met) = explore_strokes(&plan);
    if let Some(failed) = found.failures.values().next() {
        panic!("{}\nthe shortest program:\n{}", failed.failure.what, failed.program);
    }
    assert!(met > 50, "only {met} of {} strokes met a save that lived", found.programs);
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

/// The entries of the README's list of limits, each on one line.
fn readme_limits() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("\n## ").find(|section| section.starts_with("Limits\n")).unwrap();
    let entries = section.split("\n- ").skip(1);
    entries.map(|entry| entry.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Each limit of the README is shown by a difference's example or a test, and each difference is a limit of the README.
#[test]
fn the_readmes_limits_and_the_list_of_differences_agree() {
    let entries = readme_limits();
    for entry in &entries {
        assert!(
            LIMITS.iter().any(|limit| entry.starts_with(limit.begins)),
            "nothing shows this limit of the README: add it, with its test, to tests/transparency/src/limits.rs: {entry}"
        );
    }
    for limit in LIMITS {
        assert!(
            entries.iter().any(|entry| entry.starts_with(limit.begins)),
            "this is no limit of the README any more: {}",
            limit.begins
        );
        assert!(!(limit.differences.is_empty() && limit.tests.is_empty()), "{}", limit.begins);
        for id in limit.differences {
            assert!(LIST.iter().any(|difference| difference.id == *id), "there is no difference {id}");
        }
        for (file, test) in limit.tests {
            let source =
                std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(source.contains(&format!("#[test]\nfn {test}(")), "{file} has no test {test}");
        }
    }
    for difference in LIST {
        assert!(
            LIMITS.iter().any(|limit| limit.differences.contains(&difference.id)),
            "the README's limits say nothing of {}",
            difference.id
        );
    }
}
