//! What the administrator's settings do.

use intact_saves::{FILE, Happened, NEW, OLD, Policy, Rule, Scene, seen};

fn is_saved(scene: &Scene) -> bool {
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(1);
    let saved = scene.happened().contains(&Happened::Begun);
    scene.assert_committed(FILE, if saved { OLD } else { NEW });
    saved
}

fn saved() -> Rule {
    Rule::new("Saved", &[r"C:\Saved\**"])
}

#[test]
fn without_a_policy_nothing_is_saved() {
    let scene = Scene::builder().policy(Policy::default()).build();
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn the_emergency_switch_switches_everything_off() {
    for (enabled, expected) in [(0, false), (1, true)] {
        let scene = Scene::builder().policy(Policy::of(saved()).number("Enabled", enabled)).build();
        assert_eq!(is_saved(&scene), expected);
        scene.end();
    }
}

#[test]
fn the_rule_with_the_lower_order_is_asked_first() {
    for (first, second, expected) in [(1, 2, NEW), (2, 1, OLD)] {
        let commits = saved_as("Commits").text("OnExit", "Commit").number("Order", first);
        let rolls_back = saved_as("Rolls back").text("OnExit", "Rollback").number("Order", second);
        let scene = Scene::builder().policy(Policy::of(commits).and(rolls_back)).build();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        writer.exit(0);
        scene.assert_committed(FILE, expected);
        scene.end();
    }
}

fn saved_as(name: &str) -> Rule {
    Rule::new(name, &[r"C:\Saved\**"])
}

#[test]
fn a_rule_with_other_paths_says_nothing_about_this_one() {
    let scene =
        Scene::builder().policy(Policy::of(Rule::new("Other", &[r"C:\Other\**", r"C:\Saved"]))).build();
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn patterns_may_name_the_device_and_are_not_case_sensitive() {
    for pattern in
        [r"\Device\HarddiskVolume1\Saved\*.txt", r"c:\SAVED\REPORT.TXT", r"C:\**\rep?rt.*", r"**\*.txt"]
    {
        let scene = Scene::builder().policy(Policy::of(Rule::new("Saved", &[pattern]))).build();
        assert!(is_saved(&scene), "{pattern}");
        scene.end();
    }
}

#[test]
fn a_broken_rule_is_named_in_an_event() {
    let broken = Rule::new("Broken", &[r"C:\Saved\a**b"]);
    let scene = Scene::builder().policy(Policy::of(broken)).build();
    let problems: Vec<_> =
        seen(&scene.lab).into_iter().filter(|event| event.name() == "PolicyProblem").collect();
    assert!(!problems.is_empty());
    assert!(problems[0].text("Message").contains("Broken"), "{:?}", problems[0]);
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn a_policy_with_an_error_changes_nothing() {
    let broken = Rule::new("Broken", &[r"C:\Other\**"]).text("OnExit", "Perhaps");
    let scene = Scene::builder().policy(Policy::of(saved()).and(broken)).build();
    let events = seen(&scene.lab);
    assert!(events.iter().any(|event| event.name() == "PolicyProblem" && event.text("Value") == "OnExit"));
    assert!(events.iter().any(|event| event.name() == "PolicyNotLoaded"));
    assert!(!is_saved(&scene));
    scene.end();
}

#[test]
fn an_audited_rule_changes_nothing_and_reports() {
    let scene = Scene::builder().rule(|rule| rule.number("AuditOnly", 1)).build();
    assert!(!is_saved(&scene));
    scene.assert_happened(&[Happened::PassedThrough("the rule is for audit only".into())]);
    scene.end();
}

#[test]
fn what_this_version_does_not_serve_is_said() {
    for (scope, expected) in [("Coordinated", 1), ("Process", 0), ("Handle", 0)] {
        let scene = Scene::builder().rule(|rule| rule.text("Scope", scope)).build();
        let ignored: Vec<_> =
            seen(&scene.lab).into_iter().filter(|event| event.name() == "PolicyValueIgnored").collect();
        assert_eq!(ignored.len(), expected, "{scope}");
        for event in ignored {
            assert_eq!((event.text("Rule"), event.text("Value")), ("Saved".into(), "Scope".into()));
        }
        assert!(is_saved(&scene), "a save is a handle's then");
        scene.end();
    }
}

#[test]
fn the_driver_says_what_policy_it_has_loaded() {
    let scene = Scene::builder().policy(Policy::of(saved()).and(saved_as("Second"))).build();
    let events = seen(&scene.lab);
    let loaded = events.iter().find(|event| event.name() == "PolicyLoaded").unwrap();
    assert_eq!((loaded.number("Rules"), loaded.number("Enabled")), (2, 1));
    scene.end();
}
