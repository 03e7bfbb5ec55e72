//! The policy changes while the driver is loaded.

use intact_saves::{
    FILE, Happened, NEW, OLD, POLICIES, Policy, Rule, Scene, SceneBuilder, Seen, intact, intact_service, seen,
};
use lab::loading::InstanceDefinition;
use lab_executive::registry::{Registry, Value};

/// Longer than a change takes to be read.
const SETTLED: i64 = 3_000;
/// Longer than what failed takes to be tried again.
const RETRIED: i64 = 6_000;

const PARENT: &str = r"\Registry\Machine\SOFTWARE\Policies";
const SOFTWARE: &str = r"\Registry\Machine\SOFTWARE";
const PARAMETERS: &str = r"\Registry\Machine\System\CurrentControlSet\Services\Intact\Parameters";

fn saved() -> Policy {
    Policy::of(Rule::new("Saved", &[r"C:\Saved\**"]))
}

fn elsewhere() -> Policy {
    Policy::of(Rule::new("Elsewhere", &[r"C:\Elsewhere\**"]))
}

fn broken() -> Policy {
    saved().and(Rule::new("Broken", &[r"C:\Other\**"]).text("OnExit", "Perhaps"))
}

/// Whether a save of the file is made atomic now.
fn is_saved(scene: &Scene) -> bool {
    let begun = || scene.happened().iter().filter(|event| **event == Happened::Begun).count();
    let before = begun();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.close(handle).unwrap();
    writer.exit(0);
    begun() > before
}

fn change(scene: &Scene, change: impl FnOnce(&Registry)) {
    scene.lab.executive().change_registry(change);
    scene.pass(SETTLED);
}

fn events(scene: &Scene, name: &str) -> Vec<Seen> {
    seen(&scene.lab).into_iter().filter(|event| event.name() == name).collect()
}

#[test]
fn a_changed_policy_is_in_force_without_another_load() {
    let scene = Scene::new();
    assert!(is_saved(&scene));
    scene.change_policy(&elsewhere());
    scene.pass(SETTLED);
    assert!(!is_saved(&scene));
    scene.change_policy(&saved());
    scene.pass(SETTLED);
    assert!(is_saved(&scene));
    assert_eq!(events(&scene, "PolicyLoaded").len(), 3);
    scene.end();
}

#[test]
fn what_a_process_is_remembered_for_ends_with_the_policy() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let save = |expected: usize| {
        let handle = scene.open_file(&writer);
        writer.close(handle).unwrap();
        assert_eq!(events(&scene, "SaveBegun").len(), expected);
    };
    save(1);
    scene.change_policy(&Policy::of(
        Rule::new("Saved", &[r"C:\Saved\**"]).strings("ExcludeProcesses", &["writer.exe"]),
    ));
    scene.pass(SETTLED);
    save(1);
    scene.change_policy(&saved());
    scene.pass(SETTLED);
    save(2);
    scene.end();
}

#[test]
fn a_save_keeps_the_rule_that_it_began_with() {
    for (first, second, expected) in [("Commit", "Rollback", NEW), ("Rollback", "Commit", OLD)] {
        let rule = |exit| Policy::of(Rule::new(exit, &[r"C:\Saved\**"]).text("OnExit", exit));
        let scene = Scene::builder().policy(rule(first)).build();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        scene.change_policy(&rule(second));
        scene.pass(SETTLED);
        assert_eq!(events(&scene, "PolicyLoaded").len(), 2);
        writer.exit(0);
        scene.assert_committed(FILE, expected);
        scene.end();
    }
}

#[test]
fn switching_off_ends_no_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    scene.change_policy(&saved().number("Enabled", 0));
    scene.pass(SETTLED);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn a_broken_policy_changes_nothing_and_an_event_names_the_value() {
    let scene = Scene::new();
    scene.change_policy(&broken());
    scene.pass(SETTLED);
    let problems = events(&scene, "PolicyProblem");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].text("Key"), r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact");
    assert_eq!(problems[0].text("Value"), "OnExit");
    assert!(problems[0].text("Message").contains("Broken"), "{:?}", problems[0]);
    assert!(problems[0].text("Message").contains("Perhaps"), "{:?}", problems[0]);
    let refused = events(&scene, "PolicyNotLoaded");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].text("InForce"), "the previous policy");
    assert_eq!(refused[0].text("Reason"), "it has errors");
    assert_eq!(refused[0].number("Errors"), 1);
    assert!(is_saved(&scene));
    // It is not told again and again.
    scene.pass(1_000_000);
    assert_eq!(events(&scene, "PolicyNotLoaded").len(), 1);
    // Mended, it is read.
    change(&scene, |registry| {
        let key = registry.create(&format!(r"{POLICIES}\Broken"));
        registry.set(&key, Value::string("OnExit", "Commit"));
    });
    assert_eq!(events(&scene, "PolicyLoaded").last().unwrap().number("Rules"), 2);
    scene.end();
}

/// What Windows tells of a deleted key or a loaded hive is not documented: each test runs both ways.
fn both_ways(test: impl Fn(&dyn Fn() -> SceneBuilder)) {
    for told in [false, true] {
        test(&|| {
            Scene::builder().lab(|lab| {
                lab.config(|config| {
                    config.deleted_key_tells_its_watchers = told;
                    config.loaded_hive_tells_watchers = told;
                })
            })
        });
    }
}

#[test]
fn a_policy_key_that_comes_later_is_found() {
    both_ways(|scene| {
        for gone in [POLICIES, PARENT] {
            let scene = scene().policy(Policy::default()).build();
            change(&scene, |registry| assert!(registry.remove_key(gone)));
            assert!(!is_saved(&scene));
            scene.change_policy(&saved());
            scene.pass(SETTLED);
            assert!(is_saved(&scene), "{gone}");
            scene.end();
        }
    });
}

#[test]
fn a_policy_key_that_goes_takes_its_rules_along_and_may_come_again() {
    both_ways(|scene| {
        for gone in [POLICIES, PARENT] {
            let scene = scene().build();
            for _ in 0..2 {
                assert!(is_saved(&scene), "{gone}");
                change(&scene, |registry| assert!(registry.remove_key(gone)));
                assert!(!is_saved(&scene), "{gone}");
                change(&scene, |registry| saved().put(registry));
            }
            scene.end();
        }
    });
}

#[test]
fn the_way_to_the_policy_may_come_step_by_step() {
    both_ways(|scene| {
        let scene = scene().policy(Policy::default()).build();
        change(&scene, |registry| assert!(registry.remove_key(PARENT)));
        change(&scene, |registry| drop(registry.create(PARENT)));
        change(&scene, |registry| drop(registry.create(POLICIES)));
        change(&scene, |registry| drop(registry.create(&format!(r"{POLICIES}\Saved"))));
        assert!(!is_saved(&scene));
        change(&scene, |registry| {
            let key = registry.create(&format!(r"{POLICIES}\Saved"));
            registry.set(&key, Value::strings("Paths", &[r"C:\Saved\**"]));
        });
        assert!(is_saved(&scene));
        scene.end();
    });
}

#[test]
fn a_boot_start_driver_finds_the_policy_when_the_hive_is_there() {
    both_ways(|scene| {
        let scene = scene().bare().build();
        let lab = scene.lab.executive();
        lab.change_registry(|registry| assert!(registry.remove_key(SOFTWARE)));
        scene.lab.load(&intact(), &intact_service()).unwrap();
        scene.pass(20_000);
        assert!(!is_saved(&scene));
        lab.load_hive(SOFTWARE, |registry| saved().put(registry));
        scene.pass(30_000);
        assert!(is_saved(&scene));
        // From here on changes are told.
        scene.change_policy(&elsewhere());
        scene.pass(SETTLED);
        assert!(!is_saved(&scene));
        scene.end();
    });
}

#[test]
fn the_local_key_is_watched_too_and_group_policy_wins_by_rule_name() {
    let scene = Scene::builder().policy(Policy::default()).build();
    let rule = format!(r"{PARAMETERS}\Saved");
    change(&scene, |registry| {
        registry.set(&registry.create(&rule), Value::strings("Paths", &[r"C:\Saved\**"]));
    });
    assert!(is_saved(&scene));
    change(&scene, |registry| {
        let key = registry.create(&format!(r"{POLICIES}\Saved"));
        registry.set(&key, Value::strings("Paths", &[r"C:\Elsewhere\**"]));
    });
    assert!(!is_saved(&scene));
    change(&scene, |registry| assert!(registry.remove_key(&format!(r"{POLICIES}\Saved"))));
    assert!(is_saved(&scene));
    change(&scene, |registry| assert!(registry.remove_key(PARAMETERS)));
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn a_storm_of_changes_is_one_reading_or_few() {
    let scene = Scene::new();
    let key = format!(r"{POLICIES}\Saved");
    for order in 0..500_u32 {
        scene.lab.executive().change_registry(|registry| {
            registry.set(&registry.create(&key), Value::dword("Order", order));
        });
        scene.pass(20);
    }
    scene.pass(SETTLED);
    let loaded = events(&scene, "PolicyLoaded").len();
    // Ten seconds of changes, and a reading every two while there is no quiet.
    assert!((4..=7).contains(&loaded), "{loaded}");
    assert!(is_saved(&scene));
    scene.end();
}

#[test]
fn what_is_written_again_is_not_read_again() {
    let scene = Scene::new();
    for _ in 0..5 {
        scene.change_policy(&saved());
        scene.pass(SETTLED);
    }
    assert_eq!(events(&scene, "PolicyLoaded").len(), 1);
    scene.end();
}

#[test]
fn a_drive_letter_that_comes_later_is_found_when_its_volume_is_attached_to() {
    let policy = Policy::of(Rule::new("Saved", &[r"D:\Saved\**"]));
    let scene = Scene::builder().policy(policy).build();
    assert!(!is_saved(&scene));
    scene.lab.executive().objects.add_symbolic_link(
        scene.lab.executive(),
        r"\GLOBAL??\D:",
        r"\Device\HarddiskVolume1",
    );
    let driver = scene.lab.drivers().pop().unwrap();
    let by_hand = InstanceDefinition { name: "another".into(), altitude: "225001".into(), flags: 0 };
    let instance = scene.lab.attach(&driver, by_hand).unwrap();
    scene.lab.detach(&instance).unwrap();
    scene.pass(10);
    assert!(is_saved(&scene));
    scene.end();
}

/// The mount manager may name a volume a little after it has come.
#[test]
fn a_drive_letter_that_comes_soon_after_its_volume_is_found() {
    let policy = Policy::of(Rule::new("Saved", &[r"D:\Saved\**"]));
    let scene = Scene::builder().policy(policy).build();
    scene.pass(1);
    scene.lab.executive().objects.add_symbolic_link(
        scene.lab.executive(),
        r"\GLOBAL??\D:",
        r"\Device\HarddiskVolume1",
    );
    scene.pass(RETRIED);
    assert!(is_saved(&scene));
    scene.end();
}

/// What reading may take at most, besides little things: the values, the compiled policy in the making and as it is kept,
/// and the one in force before (64 MiB each at most).
const BOUND: usize = 4 * (64 << 20);

/// A rule with this many patterns of 40 units, in values of 20,000 patterns.
fn large(patterns: usize) -> Policy {
    let text = |number: usize| format!(r"C:\Saved\folder {number:08}\*.document-x");
    (0..patterns.div_ceil(20_000)).fold(saved(), |policy, part| {
        let numbers = part * 20_000..patterns.min((part + 1) * 20_000);
        let texts: Vec<String> = numbers.map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        policy.and(Rule::new(&format!("Part {part}"), &texts))
    })
}

#[test]
fn a_policy_of_a_hundred_thousand_patterns_loads_in_bounded_memory() {
    let scene = Scene::new();
    scene.change_policy(&large(100_000));
    scene.pass(SETTLED);
    let loaded = events(&scene, "PolicyLoaded");
    assert_eq!(loaded.last().unwrap().number("Rules"), 6, "{:?}", events(&scene, "PolicyNotLoaded"));
    assert!(is_saved(&scene));
    assert!(scene.lab.executive().pool.peak_bytes() < BOUND);
    scene.end();
}

#[test]
fn a_policy_that_is_too_large_is_refused_and_the_old_one_stays() {
    let scene = Scene::new();
    change(&scene, |registry| {
        let key = registry.create(&format!(r"{POLICIES}\Huge"));
        let path = format!(r"C:\{}", "x".repeat(200));
        registry.set(&key, Value::strings("Paths", &vec![path.as_str(); 200_000]));
    });
    let refused = events(&scene, "PolicyNotLoaded");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].text("Reason"), "it is too large");
    assert_eq!(refused[0].text("InForce"), "the previous policy");
    assert!(is_saved(&scene));
    assert!(scene.lab.executive().pool.peak_bytes() < BOUND);
    scene.end();
}

#[test]
fn unloading_while_a_policy_is_read_waits_for_it_and_leaves_nothing() {
    for seed in 1..=60 {
        let scene = Scene::builder().seed(seed).build();
        scene.change_policy(&large(200));
        // Up to where the reading begins, so that both are ready to run.
        scene.pass(i64::try_from(seed % 3).unwrap() * 125 + 1);
        let driver = scene.lab.drivers().pop().unwrap();
        let lab = scene.lab.executive();
        let due = lab.scheduler.now() + i64::try_from(seed % 7).unwrap() * 125 * 10_000;
        let waker = lab.spawn(&lab.processes.system(), "unloads", move |lab| {
            let now = lab.scheduler.now();
            lab.delay(due - now);
        });
        lab.run_until(|_| waker.finished()).unwrap();
        let report = scene.lab.unload_driver(&driver).unwrap();
        assert!(report.is_clean(), "seed {seed}: {report}");
        assert_eq!(lab.open_registry_watches(), 0);
    }
}
