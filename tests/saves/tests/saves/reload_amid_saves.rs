//! The policy changes while programs save: every save follows one policy, old or new, and none is lost.

use std::collections::BTreeSet;

use intact_saves::{FILE, Happened, NEW, OLD, Policy, Rule, Scene, Seen, seen};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset};
use lab_executive::import::{Failure, FaultKind, PlannedFault};
use lab_executive::scheduler::MILLISECOND;

const PROGRAMS: usize = 5;
const FILES: usize = 3;
const SETTLED: i64 = 3_000;
const RETRIED: i64 = 6_000;
/// STATUS_INSUFFICIENT_RESOURCES.
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();

/// What a policy makes of a save by a program that ends well, with its handles open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Commits,
    RollsBack,
    Passes,
}

const ALL: [Which; 3] = [Which::Commits, Which::RollsBack, Which::Passes];

impl Which {
    fn name(self) -> &'static str {
        match self {
            Which::Commits => "Commits",
            Which::RollsBack => "Rolls back",
            Which::Passes => "Passes",
        }
    }

    fn policy(self) -> Policy {
        let rule = Rule::new(self.name(), &[r"C:\Saved\**"]);
        Policy::of(match self {
            Which::Commits => rule,
            Which::RollsBack => rule.text("OnExit", "Rollback"),
            Which::Passes => rule.number("AuditOnly", 1),
        })
    }

    /// With a rule that does not parse.
    fn broken(self) -> Policy {
        self.policy().and(Rule::new("Broken", &[r"C:\Other\a**b"]))
    }

    fn leaves(self) -> &'static [u8] {
        if self == Which::RollsBack { OLD } else { NEW }
    }
}

fn file(program: usize, file: usize) -> String {
    format!(r"Saved\{program}-{file}.txt")
}

/// Numbers for the test's own choices.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn events<'a>(events: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    events.iter().filter(|event| event.name() == name).collect()
}

fn one_run(seed: u64) {
    let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut builder = Scene::builder().seed(seed).no_files().policy(Which::Commits.policy());
    for program in 0..PROGRAMS {
        for number in 0..FILES {
            builder = builder.file(&file(program, number), OLD);
        }
    }
    let scene = builder.build();
    // Waits are multiples of an eighth of the time after which a change is read: often both happen at once.
    let programs: Vec<_> = (0..PROGRAMS)
        .map(|program| {
            let process = scene.program("writer.exe");
            let waits: Vec<i64> = (0..FILES).map(|_| numbers.below(12) as i64 * 250 / 8).collect();
            let call = process.submit(move |caller| {
                for (number, wait) in waits.into_iter().enumerate() {
                    caller.executive().delay(wait * MILLISECOND);
                    let path = format!(r"C:\{}", file(program, number));
                    let open = CreateOptions::open(&path, GENERIC_READ | GENERIC_WRITE);
                    let handle = caller.create_file(&open).unwrap().handle;
                    assert_eq!(caller.write(handle, Offset::At(0), NEW), Ok(NEW.len()));
                }
            });
            (process, call)
        })
        .collect();
    let mut good = vec![Which::Commits];
    let mut broken = 0;
    for _ in 0..6 {
        let which = ALL[numbers.below(3) as usize];
        if numbers.below(4) == 0 {
            scene.change_policy(&which.broken());
            broken += 1;
        } else {
            scene.change_policy(&which.policy());
            good.push(which);
        }
        scene.pass(numbers.below(5) as i64 * 125);
    }
    for (process, call) in programs {
        call.wait().unwrap();
        process.exit(0);
    }
    scene.pass(SETTLED);

    // Every open is in exactly one event that says which rule it followed, and the file is what that rule makes of it.
    let events_seen = seen(&scene.lab);
    let allowed: BTreeSet<&str> = good.iter().map(|which| which.name()).collect();
    let followed: Vec<_> =
        events(&events_seen, "SaveBegun").into_iter().chain(events(&events_seen, "PassedThrough")).collect();
    assert_eq!(followed.len(), PROGRAMS * FILES, "seed {seed}: {:?}", scene.happened());
    for program in 0..PROGRAMS {
        for number in 0..FILES {
            let name = file(program, number);
            let mine: Vec<_> = followed.iter().filter(|event| event.text("File").ends_with(&name)).collect();
            assert_eq!(mine.len(), 1, "seed {seed}: {name}: {mine:?}");
            let rule = mine[0].text("Rule");
            assert!(allowed.contains(rule.as_str()), "seed {seed}: {name}: {rule}");
            let which = ALL.into_iter().find(|which| which.name() == rule).unwrap();
            assert_eq!((mine[0].name() == "PassedThrough"), which == Which::Passes);
            assert_eq!(
                scene.committed(&name).as_deref(),
                Some(which.leaves()),
                "seed {seed}: {name}: {rule}"
            );
        }
    }
    // A broken policy was refused each time it was read, by name, and never followed.
    let problems = events(&events_seen, "PolicyProblem");
    assert_eq!(problems.len(), events(&events_seen, "PolicyNotLoaded").len(), "seed {seed}");
    assert!(problems.len() <= broken, "seed {seed}");
    assert!(problems.iter().all(|problem| problem.text("Message").contains("Broken")), "seed {seed}");
    // What was set last is followed now, if it can be.
    scene.change_policy(&Which::Passes.policy());
    scene.pass(SETTLED);
    let after = scene.program("after.exe");
    let last = format!(r"C:\{}", file(0, 0));
    after.create_file(CreateOptions::open(&last, GENERIC_WRITE)).unwrap();
    assert_eq!(
        scene.happened().last(),
        Some(&Happened::PassedThrough("the rule is for audit only".into())),
        "seed {seed}"
    );
    scene.end();
}

#[test]
fn every_save_follows_one_policy_old_or_new_and_none_is_lost() {
    for seed in 1..=150 {
        one_run(seed);
    }
}

/// A second thread of a process that joins follows the rule of the save, not of the moment.
#[test]
fn who_joins_a_save_follows_its_rule() {
    for seed in 1..=20 {
        let scene = Scene::builder().seed(seed).policy(Which::RollsBack.policy()).build();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        scene.change_policy(&Which::Passes.policy());
        scene.pass(SETTLED);
        scene.open_file(&writer);
        writer.exit(0);
        scene.assert_committed(intact_saves::FILE, OLD);
        scene.end();
    }
}

/// Every call that the driver makes while it reads a changed policy, failed: the old policy stays whole, the new one is in
/// force when it was tried again, nothing leaks.
#[test]
fn whichever_call_fails_while_a_policy_is_read_the_old_one_stays_until_the_next_try() {
    let scene = || Scene::builder().policy(Which::Commits.policy()).build();
    let quiet = scene();
    let before = quiet.lab.executive().calls.sites();
    quiet.change_policy(&Which::RollsBack.policy());
    quiet.pass(SETTLED);
    let after = quiet.lab.executive().calls.sites();
    quiet.end();
    let mut planned = Vec::new();
    for site in &after {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => continue,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        // Closing an open handle does not fail.
        if site.import == "ZwClose" {
            continue;
        }
        let first = before.iter().find(|old| old.id == site.id).map_or(0, |old| old.calls) + 1;
        for call in BTreeSet::from([first, first + 1, site.calls]) {
            if (first..=site.calls).contains(&call) {
                planned.push(PlannedFault { site: site.id, call, kind });
            }
        }
    }
    assert!(planned.len() > 30, "{}", planned.len());
    let mut stayed = 0;
    for fault in planned {
        let scene = Scene::builder().policy(Which::Commits.policy()).lab(|lab| lab.fault(fault)).build();
        scene.change_policy(&Which::RollsBack.policy());
        scene.pass(SETTLED);
        assert_eq!(scene.lab.executive().calls.fired(), [fault]);
        let follows = |expected: &[Which]| {
            let writer = scene.program("writer.exe");
            scene.write_new(&writer);
            let events = seen(&scene.lab);
            let rule = events.iter().rfind(|event| event.name() == "SaveBegun").unwrap().text("Rule");
            writer.exit(0);
            assert!(expected.iter().any(|which| which.name() == rule), "{fault:?}: {rule}");
            rule
        };
        if follows(&[Which::Commits, Which::RollsBack]) == Which::Commits.name() {
            stayed += 1;
        }
        scene.pass(RETRIED);
        follows(&[Which::RollsBack]);
        scene.end();
    }
    assert!(stayed > 10, "{stayed}");
}

/// A save that has begun goes on by its own policy, and what joins it is no audit's.
#[test]
fn what_joins_a_save_is_not_told_of_as_audited() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.change_policy(&Policy::of(Rule::new("Saved", &[r"C:\Saved\**"]).number("AuditOnly", 1)));
    scene.pass(2_000);
    let second = scene.open_file(&writer);
    writer.write(second, 0, b"A").unwrap();
    writer.close(second).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"A", &NEW[1..]].concat());
    scene.assert_happened(&[Happened::Begun, Happened::Joined("writer".into()), Happened::Committed]);
    scene.open_file(&writer);
    assert_eq!(scene.happened().last(), Some(&Happened::PassedThrough("the rule is for audit only".into())));
    scene.end();
}
