//! A bounded slice of `cargo xtask transparency`, and the list of differences.

use intact_transparency::atomic::Stroke;
use intact_transparency::differences::LIST;
use intact_transparency::explore::{Plan, explore, explore_strokes, fails_struck};
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
    assert!(found.amid > plan.operations / 50, "only {} while others were under way", found.amid);
}

#[test]
fn whoever_is_killed_or_aborted_at_any_operation_leaves_files_old_or_new() {
    let plan = Plan { seed: 20_260_102, operations: 4_000, focus: Focus::default(), failures: 1 };
    println!("seed {}", plan.seed);
    let (found, met) = explore_strokes(&plan, |_| {});
    if let Some(failed) = found.failures.values().next() {
        panic!("{}\nthe shortest program:\n{}", failed.failure.what, failed.program);
    }
    assert!(met > 50, "only {met} of {} strokes met a save that lived", found.programs);
}

/// Programs that met a defect once, each with what it is about: nothing may differ, listed or not.
#[test]
fn programs_that_met_a_defect_once_are_told_the_same_now() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alike");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let base = disk(1);
    for path in paths {
        let program: Program = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let mut pair = Pair::new(&base, 1, OnExit::Commit);
        let run = pair.run(&program);
        assert!(run.failure.is_none(), "{}: {:?}", path.display(), run.failure);
        assert!(run.met.is_empty() && !run.spent, "{}: {:?}", path.display(), run.met);
        assert!(pair.end().is_none(), "{}", path.display());
    }
}

/// Programs that once left a file neither old nor new when they were struck so.
const STRUCK: &[(Stroke, &str)] = &[
    // A flush has made a new file: it is not the save's placeholder any more.
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=1 how=0 root=0 access=0x2 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 flush slot=0\n\
         p0 query slot=0 class=5 length=24",
    ),
    // The transaction is lost while a file of the save is opened by the name of another file that it has replaced.
    (
        Stroke::Abort(17),
        "p0 open slot=0 name=5 how=0 root=0 access=0x40000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 flush slot=0\n\
         p0 open slot=1 name=5 how=0 root=0 access=0x10 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=0 length=0 fill=0\n\
         p0 link slot=0 name=0 replace=0 ex=1\n\
         p0 open slot=2 name=0 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // It is lost while another handle of the save truncates the file.
    (
        Stroke::Abort(15),
        "p0 open slot=0 name=0 how=0 root=0 access=0x40000000 share=2 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=1 how=0 root=0 access=0x2 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=0 length=0 fill=0\n\
         p0 stat name=0\n\
         p0 close slot=1\n\
         p0 open slot=1 name=0 how=0 root=0 access=0 share=2 disposition=4 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // What the save made is a stream, what is closed last is a handle of the file that was there.
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=14 how=0 root=0 access=0x40000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=4 how=0 root=0 access=0x40000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 attributes name=0",
    ),
    // It waits for a lock that it holds itself.
    (
        Stroke::KillDuring,
        "p0 open slot=0 name=0 how=0 root=0 access=0x1 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 lock slot=0 start=0 length=1 exclusive=0 wait=0\n\
         p0 lock slot=0 start=0 length=1 exclusive=1 wait=1",
    ),
    // A file that a save deletes is gone with its end, although somebody else has it open.
    (
        Stroke::Abort(33),
        "p0 open slot=0 name=7 how=0 root=0 access=0x10000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=7 how=0 root=0 access=0 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 dispose slot=0 delete=1 ex=0\n\
         p0 close slot=0",
    ),
    // Closed, but mapped and written through a view by the process that is killed: the old version.
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 map slot=0 view=0 writable=1 size=0\n\
         p0 close slot=0\n\
         p0 write-view view=0 at=0 length=1 fill=0\n\
         p0 flush-view view=0\n\
         p0 attributes name=0",
    ),
    // Whoever share modes keep out ends no save, whether it would make the file or execute it.
    (
        Stroke::KillBefore,
        "p1 open slot=0 name=1 how=0 root=0 access=0x2000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=1 how=0 root=0 access=0x100 share=0 disposition=2 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 map slot=0 view=0 writable=0 size=0",
    ),
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=6 how=0 root=0 access=0x40000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=6 how=0 root=0 access=0x20 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=0 length=1 fill=0\n\
         p0 write slot=0 at=0 length=0 fill=0",
    ),
    // The file was made by an open that takes part in no save: it is what was there before the save that replaces it.
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=1 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=1 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x0",
    ),
    // A stream that is closed and mapped stays when its file is replaced.
    (
        Stroke::Abort(26),
        "p0 open slot=0 name=3 how=0 root=0 access=0x3 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=0 length=1 fill=0\n\
         p0 map slot=0 view=0 writable=0 size=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0",
    ),
    // The control is refused with Intact, and the file is not sparse when its last view has gone.
    (
        Stroke::KillBefore,
        "p0 open slot=1 name=0 how=0 root=0 access=0xc0000000 share=0x0 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 map slot=1 view=0 writable=1 size=0\n\
         p0 write-view view=0 at=0 length=1 fill=0\n\
         p0 control slot=1 code=0x900c4 first=1 second=0 output=0\n\
         p0 read slot=0 at=0 length=0",
    ),
    // An empty file is not mapped with Intact, and not longer by that where an append is under way.
    (
        Stroke::KillDuring,
        "p0 open slot=0 name=0 how=0 root=0 access=0xc0000000 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=end length=5000 fill=0\n\
         p0 map slot=0 view=0 writable=1 size=1\n\
         p0 stat name=0",
    ),
    // A link that was not made does not keep a flush from committing.
    (
        Stroke::KillBefore,
        "p0 open slot=0 name=1 how=0 root=0 access=0x40000000 share=0 disposition=2 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 link slot=0 name=0 replace=0 ex=0\n\
         p0 flush slot=0\n\
         p0 query slot=0 class=5 length=24",
    ),
];

/// The abort counts operations inside transactions, of which there may come to be more or fewer before the one that matters.
#[test]
fn what_once_was_neither_old_nor_new_is_one_of_them() {
    for (stroke, text) in STRUCK {
        let program: Program = text.parse().unwrap();
        let strokes = match *stroke {
            Stroke::Abort(_) => (0..40).map(Stroke::Abort).collect(),
            stroke => vec![stroke],
        };
        for stroke in strokes {
            let failure = fails_struck(&program, stroke);
            assert!(failure.is_none(), "{stroke:?}: {failure:?}\n{program}");
        }
    }
}

/// Other programs than the examples that meet a difference of the list, at their last step.
const MORE: &[(&str, &str)] = &[
    // The attributes that the save takes away are still there for who replaces the file.
    (
        "others-see-the-old-version",
        "p1 open slot=0 name=1 how=0 root=0 access=0x40000000 share=0 disposition=0 options=0 attributes=0x4 allocation=0 ea=0 security=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x80\n\
         p0 open slot=1 name=1 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // It has been published that the file is read only, and not yet that it no more is.
    (
        "others-see-the-old-version",
        "p0 open slot=0 name=4 how=0 root=0 access=0x102 share=0 disposition=0 options=0 attributes=0x1 allocation=0 ea=0 security=0\n\
         p0 flush slot=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x20\n\
         p2 open slot=1 name=4 how=0 root=0 access=0x2 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    (
        "others-see-the-old-version",
        "p0 open slot=0 name=0 how=0 root=0 access=0x2000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x2\n\
         p0 flush slot=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x20\n\
         p0 open slot=1 name=0 how=0 root=0 access=0x10000 share=0 disposition=0 options=0x1000 attributes=0 allocation=0 ea=0 security=0",
    ),
    // It is asked before the attributes that replacing has to name, also by no name below a handle.
    (
        "no-execution",
        "p0 open slot=0 name=4 how=0 root=0 access=0x2000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 basic slot=0 creation=0 write=0 attributes=0x4\n\
         p0 exit status=0x0\n\
         p0 open slot=1 name=4 how=0 root=0 access=0x40000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=0 name=8 how=2 root=1 access=0x20000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // Of a file that is closed and still mapped.
    (
        "no-execution",
        "p0 open slot=0 name=0 how=0 root=0 access=0xc0000000 share=0x1 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=0 how=0 root=0 access=0x20000000 share=0x3 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 map slot=0 view=0 writable=0 size=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=3 how=0 root=0 access=0x2000000 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0",
    ),
    // Who watches is told of the end of the save here, and has been told before, and then that his process has ended.
    (
        "changes-are-told-with-the-save",
        "p0 open slot=0 name=0 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=8 how=0 root=0 access=0x1 share=0x1 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 watch slot=1 filter=0x10 tree=0 length=0\n\
         p0 close slot=0\n\
         p0 exit status=0x0\n\
         p0 changes slot=1",
    ),
    (
        "changes-are-told-with-the-save",
        "p0 open slot=1 name=9 how=0 root=0 access=0x1 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 watch slot=1 filter=0x10 tree=0 length=0\n\
         p0 open slot=0 name=7 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 close slot=1\n\
         p0 changes slot=1",
    ),
    // By another name that the file has.
    (
        "replaced-files-keep-their-names",
        "p0 open slot=0 name=7 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 link slot=0 name=4 replace=0 ex=1\n\
         p0 exit status=0x0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 link slot=0 name=7 replace=0 ex=1\n\
         p0 attributes name=4",
    ),
    // It is deleted when the last view has gone.
    (
        "closed-but-mapped-is-open",
        "p0 open slot=0 name=0 how=0 root=0 access=0x10005 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 rename slot=0 name=1 replace=0 ex=0\n\
         p0 dispose slot=0 delete=1 ex=0\n\
         p0 map slot=0 view=0 writable=0 size=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=1 how=0 root=0 access=0 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // Mapping the file has begun a transaction again.
    (
        "closed-but-mapped-is-open",
        "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 control slot=0 code=0x980c8 first=0 second=0 output=0\n\
         p0 map slot=0 view=0 writable=0 size=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0",
    ),
    // In a listing.
    (
        "mapped-files-change-with-the-save",
        "p0 open slot=1 name=0 how=0 root=0 access=0xc0000000 share=0x0 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 map slot=1 view=0 writable=1 size=0\n\
         p0 write-view view=0 at=0 length=1 fill=0\n\
         p0 open slot=3 name=8 how=0 root=0 access=0x1 share=0x1 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 close slot=1\n\
         p0 unmap view=0\n\
         p0 list slot=3 pattern=0",
    ),
    (
        "space",
        "p0 open slot=2 name=0 how=0 root=0 access=0x40000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 control slot=2 code=0x980c8 first=0 second=0 output=0\n\
         p0 set slot=2 class=20 value=0\n\
         p0 query-volume slot=2 class=7 length=32",
    ),
    // Deleting the file has begun a transaction again: whoever executes it keeps nothing.
    (
        "deleted-files-go-with-the-save",
        "p0 open slot=0 name=0 how=0 root=0 access=0x40010000 share=0x1 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 open slot=1 name=0 how=0 root=0 access=0x20000000 share=0x6 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 dispose slot=0 delete=1 ex=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0",
    ),
    // Who watches is told here of the end of a save that began before, and with the next request of what he is told bare.
    (
        "changes-are-told-with-the-save",
        "p0 open slot=0 name=0 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p1 open slot=1 name=8 how=0 root=0 access=0x1 share=0x1 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 watch slot=1 filter=0x4 tree=0 length=32\n\
         p0 exit status=0x0\n\
         p0 open slot=0 name=16 how=0 root=0 access=0x10000 share=0x0 disposition=0 options=0x1000 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 changes slot=1",
    ),
    // Another file does not get its name, either.
    (
        "closed-but-mapped-is-open",
        "p0 open slot=0 name=16 how=0 root=0 access=0x3 share=0x0 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 control slot=0 code=0x980c8 first=0 second=0 output=0\n\
         p0 map slot=0 view=0 writable=0 size=0\n\
         p0 close slot=0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0x2000000 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
         p0 rename slot=0 name=16 replace=1 ex=0",
    ),
    // The save ends that a reading handle saw.
    (
        "an-exchange-ends-waits-for-locks",
        "p1 open slot=2 name=0 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
         p1 lock slot=2 start=0 length=1 exclusive=1 wait=0\n\
         p0 open slot=0 name=0 how=0 root=0 access=0xC0100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
         p0 write slot=0 at=5 length=1 fill=0\n\
         p0 open slot=1 name=0 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 lock slot=1 start=0 length=1 exclusive=1 wait=1\n\
         p0 close slot=0",
    ),
    // What a transaction does not do ends it; what is modified then begins another one.
    (
        "an-exchange-ends-waits-for-locks",
        "p0 open slot=1 name=0 how=0 root=0 access=0x40000000 share=0 disposition=0 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 lock slot=1 start=0 length=1 exclusive=0 wait=0\n\
         p0 lock slot=1 start=0 length=1 exclusive=1 wait=1\n\
         p0 control slot=1 code=0x980c8 first=0 second=0 output=0",
    ),
    (
        "an-exchange-ends-waits-for-locks",
        "p0 open slot=1 name=0 how=0 root=0 access=0xC0000000 share=0 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
         p0 control slot=1 code=0x980c8 first=0 second=0 output=0\n\
         p0 lock slot=1 start=0 length=1 exclusive=0 wait=0\n\
         p0 lock slot=1 start=0 length=1 exclusive=1 wait=1\n\
         p0 basic slot=1 creation=0 write=0 attributes=0x80",
    ),
];

/// Each difference of the list is met by its example, and at the example's last step.
#[test]
fn every_difference_of_the_list_is_there() {
    let base = disk(1);
    let examples = LIST.iter().map(|difference| (difference.id, difference.example));
    for (id, text) in examples.chain(MORE.iter().copied()) {
        let program: Program = match text.parse() {
            Ok(program) => program,
            Err(error) => panic!("{id}: {error}"),
        };
        let mut pair = Pair::new(&base, 1, OnExit::Commit);
        let run = pair.run(&program);
        assert!(run.failure.is_none(), "{id}: {:?}", run.failure);
        assert_eq!(run.met, [id], "{text}");
        assert_eq!(run.operations, program.steps.len() as u64, "{id}: at its last step\n{text}");
        assert!(pair.end().is_none(), "{id}");
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
