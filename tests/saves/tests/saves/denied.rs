//! `OnUnavailable=Deny`: what cannot have a transaction does not pass.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, seen};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Status};

const FRESH: &str = r"C:\Saved\fresh.txt";
const NO_TRANSACTION: &str = "the file cannot be opened in a transaction";

fn deny(rule: Rule) -> Rule {
    rule.text("OnUnavailable", "Deny")
}

fn without_resource_manager() -> SceneBuilder {
    Scene::builder().rule(deny).lab(|lab| lab.switches(|switches| switches.resource_manager_active = false))
}

#[test]
fn an_open_without_a_transaction_is_denied_and_an_event_says_why() {
    let scene = without_resource_manager().build();
    let writer = scene.program("writer.exe");
    for options in [
        CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE),
        CreateOptions::overwrite_if(FILE, GENERIC_WRITE),
    ] {
        assert_eq!(writer.create_file(options), Err(Status::ACCESS_DENIED));
    }
    scene.assert_committed(FILE, OLD);
    scene
        .assert_happened(&[Happened::Denied(NO_TRANSACTION.into()), Happened::Denied(NO_TRANSACTION.into())]);
    let events = seen(&scene.lab);
    let denied = events.iter().find(|event| event.name() == "Denied").unwrap();
    assert!(denied.text("File").ends_with(r"\Saved\report.txt"));
    assert_eq!(denied.text("Rule"), "Saved");
    assert_eq!(denied.number("ProcessId"), u64::from(writer.id()));
    // What modifies nothing is not asked.
    assert_eq!(writer.contents(FILE).unwrap(), OLD);
    scene.end();
}

#[test]
fn a_new_file_without_a_transaction_is_denied_and_nothing_is_left() {
    let scene = without_resource_manager().build();
    let writer = scene.program("writer.exe");
    let made = writer.create_file(CreateOptions::create(FRESH, GENERIC_WRITE));
    assert_eq!(made, Err(Status::ACCESS_DENIED));
    assert_eq!(scene.committed(FRESH), None);
    assert!(scene.happened().iter().all(|event| matches!(event, Happened::Denied(_))));
    assert!(!scene.happened().is_empty());
    scene.end();
}

#[test]
fn another_writer_is_a_sharing_violation() {
    let rule = |rule: Rule| deny(rule).strings("Processes", &["writer.exe"]);
    let scene = Scene::builder().rule(rule).build();
    let outsider = scene.program("outsider.exe");
    let held = outsider.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
    let writer = scene.program("writer.exe");
    let opened = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE));
    assert_eq!(opened, Err(Status::SHARING_VIOLATION));
    scene.assert_happened(&[Happened::Denied(NO_TRANSACTION.into())]);
    // Who tries again when the other is done gets in.
    outsider.close(held).unwrap();
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// What the file system itself refuses has the file system's answer.
#[test]
fn the_file_systems_own_refusals_stay_as_they_are() {
    let scene = without_resource_manager().build();
    let writer = scene.program("writer.exe");
    let absent = writer.create_file(CreateOptions::open(r"C:\Saved\absent.txt", GENERIC_WRITE));
    assert_eq!(absent, Err(Status::OBJECT_NAME_NOT_FOUND));
    scene.end();
}

#[test]
fn with_a_transaction_nothing_is_denied() {
    let scene = Scene::builder().rule(deny).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_rule_for_audit_only_denies_nothing() {
    let rule = |rule: Rule| deny(rule).number("AuditOnly", 1);
    let scene = Scene::builder()
        .rule(rule)
        .lab(|lab| lab.switches(|switches| switches.resource_manager_active = false))
        .build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// Where there is no file to open it is the creating that is denied.
#[test]
fn whatever_may_make_a_file_is_denied_where_there_is_none() {
    let scene = without_resource_manager().build();
    let writer = scene.program("writer.exe");
    // FILE_SUPERSEDE, FILE_CREATE, FILE_OPEN_IF, FILE_OVERWRITE_IF.
    for disposition in [0, 2, 3, 5] {
        let options = CreateOptions::new(lab::Name::Path(FRESH.into()), GENERIC_WRITE, disposition);
        assert_eq!(writer.create_file(options), Err(Status::ACCESS_DENIED), "{disposition}");
        assert_eq!(scene.committed(FRESH), None, "{disposition}");
    }
    scene.end();
}
