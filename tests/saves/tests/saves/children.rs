//! `IncludeChildren`: what a program of a rule starts is one with it.

use intact_saves::{FILE, Happened, NEW, OLD, Policy, Rule, Scene, SceneBuilder, failing_calls, seen};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_executive::import::FaultKind;

use crate::going::dismount;
use crate::process_scope::{open, rename, save};
use crate::unload::{DO_NOT_DETACH, driver};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const OTHER: &str = r"C:\Saved\other.txt";
const OTHERS: &[u8] = b"what the other file holds";
const FRESH: &str = r"C:\Saved\fresh.txt";
const RENAMED: &str = r"C:\Saved\renamed.txt";
const DIED: &str = "the process died with the file open";
/// More than the two seconds that a rule without the value has.
const SETTLED: i64 = 2_100;

/// `writer.exe` and what it starts, but `outside.exe`.
fn rule(rule: Rule) -> Rule {
    rule.text("Scope", "Process")
        .number("IncludeChildren", 1)
        .strings("Processes", &["writer*.exe"])
        .strings("ExcludeProcesses", &["outside.exe"])
}

fn families() -> SceneBuilder {
    Scene::builder().file(r"Saved\other.txt", OTHERS).rule(rule)
}

fn count(scene: &Scene, what: &Happened) -> usize {
    scene.happened().iter().filter(|happened| *happened == what).count()
}

#[track_caller]
fn assert_nothing_saved(scene: &Scene) {
    assert_not_saved_yet(scene);
    assert_eq!(scene.committed(FRESH), None);
}

/// A new file is there at once, and empty.
#[track_caller]
fn assert_not_saved_yet(scene: &Scene) {
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(OTHER, OTHERS);
    assert!(scene.committed(FRESH).is_none_or(|fresh| fresh.is_empty()));
}

#[track_caller]
fn assert_saved(scene: &Scene, path: &str) {
    assert_eq!(scene.committed(path).map(|bytes| bytes[..NEW.len()].to_vec()), Some(NEW.to_vec()), "{path}");
}

#[track_caller]
fn assert_all_saved(scene: &Scene, paths: &[&str]) {
    paths.iter().for_each(|path| assert_saved(scene, path));
}

fn events(scene: &Scene, name: &str) -> Vec<intact_saves::Seen> {
    seen(&scene.lab).into_iter().filter(|event| event.name() == name).collect()
}

#[test]
fn what_a_child_and_a_grandchild_save_is_one_save_with_the_parents() {
    let scene = families().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let child = writer.start("cc.exe");
    let grandchild = child.start("ld.exe");
    save(&writer, FILE);
    save(&child, OTHER);
    save(&grandchild, FRESH);
    assert_not_saved_yet(&scene);
    for member in [&writer, &child, &grandchild] {
        assert_eq!(member.contents(FILE).unwrap(), NEW, "members read what members wrote");
        assert_eq!(member.contents(FRESH).unwrap(), NEW);
    }
    assert_eq!(other.contents(FILE).unwrap(), OLD, "others do not");
    scene.pass(SETTLED);
    assert_all_saved(&scene, &[FILE, OTHER, FRESH]);
    assert_eq!((count(&scene, &Happened::Begun), count(&scene, &Happened::Committed)), (1, 1));
    scene.end();
}

#[test]
fn members_write_the_same_file_one_after_the_other_and_at_the_same_time() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    let (one, two) = (open(&writer, FILE), open(&child, FILE));
    writer.write(one, 0, NEW).unwrap();
    child.write(two, 2, b"CHILD").unwrap();
    writer.close(one).unwrap();
    scene.assert_committed(FILE, OLD);
    child.close(two).unwrap();
    let expected = [&NEW[..2], b"CHILD", &NEW[7..]].concat();
    assert_eq!(writer.contents(FILE).unwrap(), expected);
    scene.pass(SETTLED);
    scene.assert_committed(FILE, &expected);
    assert_eq!((count(&scene, &Happened::Begun), count(&scene, &Happened::Committed)), (1, 1));
    scene.end();
}

#[test]
fn a_name_that_one_member_gives_the_others_find() {
    let scene = families().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let child = writer.start("mv.exe");
    save(&writer, FILE);
    rename(&child, FILE, RENAMED, true).unwrap();
    assert_eq!(writer.contents(RENAMED).unwrap(), NEW);
    assert_eq!(writer.contents(FILE), Err(Status::OBJECT_NAME_NOT_FOUND));
    assert_eq!(other.contents(FILE).unwrap(), OLD);
    scene.pass(SETTLED);
    scene.assert_committed(RENAMED, NEW);
    assert_eq!(scene.committed(FILE), None);
    assert_eq!(count(&scene, &Happened::Committed), 1);
    scene.end();
}

#[test]
fn without_the_value_a_child_is_an_outsider() {
    let alone = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer*.exe"]);
    let scene = families().rule(alone).build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    assert_eq!(child.contents(FILE).unwrap(), OLD);
    save(&child, OTHER);
    assert_saved(&scene, OTHER);
    scene.pass(SETTLED);
    assert_eq!(count(&scene, &Happened::Begun), 1);
    scene.end();
}

#[test]
fn a_child_saves_before_its_parent_does() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&child, OTHER);
    assert_eq!(events(&scene, "SaveBegun")[0].number("ProcessId"), u64::from(child.id()));
    save(&writer, FILE);
    child.exit(0);
    scene.pass(500);
    assert_nothing_saved(&scene);
    writer.exit(0);
    scene.pass(100);
    assert_all_saved(&scene, &[FILE, OTHER]);
    assert_eq!((count(&scene, &Happened::Begun), count(&scene, &Happened::Committed)), (1, 1));
    scene.end();
}

#[test]
fn a_member_that_fails_rolls_everything_back_and_one_that_ends_well_only_leaves() {
    for (status, new) in [(0, true), (2, false), (0xC000_0005_u32.cast_signed(), false)] {
        for killed in [false, true] {
            let scene = families().build();
            let writer = scene.program("writer.exe");
            let (child, grandchild) = (writer.start("cc.exe"), writer.start("cc.exe").start("as.exe"));
            save(&writer, FILE);
            save(&child, OTHER);
            save(&grandchild, FRESH);
            if killed {
                grandchild.kill(status);
            } else {
                grandchild.exit(status);
            }
            scene.pass(100);
            if new {
                assert_not_saved_yet(&scene);
            } else {
                assert_nothing_saved(&scene);
            }
            assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), usize::from(!new), "{status:#x}");
            if new {
                child.exit(0);
                writer.exit(0);
                scene.pass(100);
                assert_all_saved(&scene, &[FILE, OTHER, FRESH]);
                assert_eq!(count(&scene, &Happened::Committed), 1);
            }
            scene.end();
        }
    }
}

#[test]
fn a_failure_counts_at_once_for_whoever_opens_something_then() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    save(&child, OTHER);
    child.kill(1);
    // Without time having passed: a file that is in the save, and one that would be.
    assert_eq!(writer.contents(FILE).unwrap(), OLD);
    save(&writer, FRESH);
    assert_eq!(
        scene.happened().iter().filter(|event| !matches!(event, Happened::Joined(_))).collect::<Vec<_>>(),
        [&Happened::Begun, &Happened::RolledBack(DIED.into()), &Happened::Begun]
    );
    scene.pass(SETTLED);
    assert_saved(&scene, FRESH);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_file_that_was_to_join_does_not_join_what_has_failed() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&child, OTHER);
    child.kill(1);
    save(&writer, FILE);
    scene.pass(SETTLED);
    assert_saved(&scene, FILE);
    scene.assert_committed(OTHER, OTHERS);
    assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), 1);
    scene.end();
}

#[test]
fn a_member_that_fails_while_others_write_dooms_what_they_write() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    let open = open(&writer, FILE);
    writer.write(open, 0, NEW).unwrap();
    save(&child, OTHER);
    child.exit(1);
    // What cannot become durable any more is not said to be so.
    assert_eq!(writer.flush(open), Err(Status(0xC000_00E9)));
    writer.close(open).unwrap();
    assert_nothing_saved(&scene);
    assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), 1);
    scene.end();
}

#[test]
fn a_child_that_ends_well_with_its_file_open_does_not_end_the_save() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    let open = open(&child, OTHER);
    child.write(open, 0, NEW).unwrap();
    child.exit(0);
    scene.pass(100);
    assert_nothing_saved(&scene);
    save(&writer, FRESH);
    scene.pass(SETTLED);
    assert_all_saved(&scene, &[FILE, OTHER, FRESH]);
    assert_eq!((count(&scene, &Happened::Begun), count(&scene, &Happened::Committed)), (1, 1));
    scene.end();
}

#[test]
fn a_child_that_dies_with_its_file_open_takes_everything_with_it() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    let open = open(&child, OTHER);
    child.write(open, 0, NEW).unwrap();
    child.kill(1);
    assert_nothing_saved(&scene);
    assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), 1);
    scene.end();
}

#[test]
fn a_child_that_took_no_part_may_end_as_it_likes() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("grep.exe");
    save(&writer, FILE);
    assert_eq!(child.contents(FILE).unwrap(), NEW, "reading is no part");
    // Nor is an open that fails.
    let missing = child.create_file(CreateOptions::open(r"C:\Saved\missing.txt", ALL));
    assert_eq!(missing, Err(Status::OBJECT_NAME_NOT_FOUND));
    child.exit(1);
    scene.pass(SETTLED);
    assert_saved(&scene, FILE);
    assert_eq!(count(&scene, &Happened::Committed), 1);
    scene.end();
}

#[test]
fn children_that_outlive_the_parent_keep_the_save_open() {
    for status in [0, 1] {
        let scene = families().build();
        let writer = scene.program("writer.exe");
        let child = writer.start("daemon.exe");
        save(&writer, FILE);
        save(&child, OTHER);
        writer.exit(0);
        scene.pass(500);
        assert_nothing_saved(&scene);
        assert_eq!(child.contents(FILE).unwrap(), NEW);
        // A child of its own is a member, although the program itself has ended.
        save(&child.start("cc.exe"), FRESH);
        child.exit(status);
        scene.pass(SETTLED);
        if status == 0 {
            assert_all_saved(&scene, &[FILE, OTHER, FRESH]);
        } else {
            assert_nothing_saved(&scene);
        }
        assert_eq!(count(&scene, &Happened::Begun), 1);
        scene.end();
    }
}

#[test]
fn a_save_is_over_when_the_last_of_those_who_took_part_has_ended() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    writer.exit(0);
    scene.pass(100);
    // The child lives, but has no part in it.
    assert_saved(&scene, FILE);
    save(&child, OTHER);
    child.kill(1);
    scene.pass(100);
    scene.assert_committed(OTHER, OTHERS);
    assert_eq!(count(&scene, &Happened::Begun), 2);
    scene.end();
}

#[test]
fn what_the_rule_says_of_exits_holds_for_every_member() {
    for (on_exit, status, new) in [("Commit", 1, true), ("Rollback", 0, false)] {
        let scene = families().rule(|it| rule(it).text("OnExit", on_exit)).build();
        let writer = scene.program("writer.exe");
        let child = writer.start("cc.exe");
        save(&writer, FILE);
        save(&child, OTHER);
        child.exit(status);
        scene.pass(SETTLED);
        if new {
            assert_all_saved(&scene, &[FILE, OTHER]);
        } else {
            assert_nothing_saved(&scene);
        }
        scene.end();
    }
}

#[test]
fn a_child_that_is_excluded_is_out_with_all_that_it_starts() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let outside = writer.start("outside.exe");
    let below = outside.start("cc.exe");
    save(&writer, FILE);
    for program in [&outside, &below] {
        assert_eq!(program.contents(FILE).unwrap(), OLD);
    }
    save(&below, OTHER);
    assert_saved(&scene, OTHER);
    // One that the rule names by itself is a program of its own.
    let own = outside.start("writer2.exe");
    save(&own, FRESH);
    assert_eq!(writer.contents(FILE).unwrap(), NEW);
    assert_eq!(count(&scene, &Happened::Begun), 2);
    scene.end();
}

#[test]
fn a_child_that_the_rule_names_too_is_one_with_its_parent() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("writer2.exe");
    save(&child, FILE);
    assert_eq!(writer.contents(FILE).unwrap(), NEW);
    save(&writer, OTHER);
    assert_eq!(count(&scene, &Happened::Begun), 1);
    let another = scene.program("writer.exe");
    save(&another, FRESH);
    assert_eq!(count(&scene, &Happened::Begun), 2, "another run of the program is another one");
    scene.end();
}

#[test]
fn the_creator_counts_and_not_the_parent_that_it_names() {
    let scene = families().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, FILE);
    let intruder = other.start_under("cc.exe", &writer);
    assert_eq!(intruder.contents(FILE).unwrap(), OLD, "nobody gets into a save by naming a parent");
    let child = writer.start_under("cc.exe", &other);
    assert_eq!(child.contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn who_was_started_before_the_rule_came_counts_by_its_own_name() {
    let alone = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer*.exe"]);
    let usual = || Rule::new("Saved", &[r"C:\Saved\**"]);
    let scene = families().rule(alone).build();
    let writer = scene.program("writer.exe");
    let before = writer.start("cc.exe");
    scene.change_policy(&Policy::of(rule(usual())));
    scene.pass(1_000);
    let after = writer.start("cc.exe");
    save(&writer, FILE);
    assert_eq!(before.contents(FILE).unwrap(), OLD);
    assert_eq!(after.contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn a_save_in_progress_keeps_its_members_when_the_rule_goes() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    let open = open(&writer, FILE);
    writer.write(open, 0, NEW).unwrap();
    scene.change_policy(&Policy::default());
    scene.pass(1_000);
    assert_eq!(child.contents(FILE).unwrap(), NEW);
    let later = child.start("ld.exe");
    assert_eq!(later.contents(FILE).unwrap(), NEW);
    save(&later, OTHER);
    assert_saved(&scene, OTHER);
    writer.close(open).unwrap();
    scene.pass(SETTLED);
    assert_saved(&scene, FILE);
    // And nobody follows any more when the last has ended.
    scene.end();
}

#[test]
fn a_process_that_gets_the_id_of_a_member_is_none() {
    // Ids are not used again in the lab; a member's place is.
    let scene = families().build();
    let writer = scene.program("writer.exe");
    for _ in 0..1_100 {
        writer.start("cc.exe").exit(0);
    }
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    assert_eq!(child.contents(FILE).unwrap(), NEW, "the places of those that have ended are free");
    assert!(events(&scene, "ChildLeftOut").is_empty());
    scene.end();
}

#[test]
fn who_has_no_place_in_the_table_is_an_outsider_and_an_event_says_so() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let children: Vec<Process> = (0..1_024).map(|_| writer.start("cc.exe")).collect();
    let left_out = events(&scene, "ChildLeftOut");
    assert_eq!(left_out.len(), 1, "the program itself has a place, too");
    assert_eq!(left_out[0].number("ProcessId"), u64::from(children[1_023].id()));
    assert_eq!(left_out[0].number("CreatorId"), u64::from(writer.id()));
    save(&writer, FILE);
    assert_eq!(children[1_022].contents(FILE).unwrap(), NEW);
    assert_eq!(children[1_023].contents(FILE).unwrap(), OLD);
    children[0].exit(0);
    assert_eq!(writer.start("cc.exe").contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn a_rule_that_cannot_include_children_is_told_and_followed_without() {
    let useless = |rule: Rule| rule.number("IncludeChildren", 1).strings("Processes", &["writer*.exe"]);
    let scene = families().rule(useless).build();
    let problems = events(&scene, "PolicyProblem");
    assert_eq!(problems.len(), 1);
    let writer = scene.program("writer.exe");
    let handle = open(&writer, FILE);
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(writer.start("cc.exe").contents(FILE).unwrap(), OLD);
    writer.close(handle).unwrap();
    assert_saved(&scene, FILE);
    scene.end();
}

#[test]
fn the_driver_unloads_with_members_alive_and_is_told_of_nothing_any_more() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&child, OTHER);
    let intact = driver(&scene.lab);
    assert_eq!(scene.lab.unload_driver(&intact).err(), Some(DO_NOT_DETACH));
    scene.pass(SETTLED);
    let report = scene.lab.unload_driver(&intact).unwrap();
    assert!(report.is_clean(), "{report}");
    writer.start("cc.exe").exit(0);
    assert!(scene.lab.violation().is_none());
}

#[test]
fn who_modifies_through_a_handle_that_it_was_given_takes_part() {
    for (image, member, writes, new) in [
        ("cc.exe", true, true, false),
        ("cc.exe", true, false, true),
        // Whoever is no member may do so, too, and its end is its own business.
        ("tool.exe", false, true, true),
    ] {
        let scene = families().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let starter = if member { &writer } else { &other };
        let child = starter.start(image);
        let handle = open(&writer, FILE);
        let inherited = writer.duplicate(handle, &child).unwrap();
        if writes {
            child.write(inherited, 0, NEW).unwrap();
        } else {
            child.read(inherited, 0, 3).unwrap();
            writer.write(handle, 0, NEW).unwrap();
        }
        child.exit(1);
        writer.close(handle).unwrap();
        scene.pass(SETTLED);
        if new {
            assert_saved(&scene, FILE);
        } else {
            assert_nothing_saved(&scene);
            assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), 1);
        }
        scene.end();
    }
}

#[test]
fn who_opens_to_write_takes_part_and_whoever_fails_later_changes_nothing_more() {
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let children: Vec<Process> = (0..3).map(|_| writer.start("cc.exe")).collect();
    let open = open(&writer, FILE);
    writer.write(open, 0, NEW).unwrap();
    let joined = children[0].create_file(CreateOptions::open(OTHER, ALL)).unwrap();
    let event = events(&scene, "SaveJoined").pop().unwrap();
    assert_eq!(event.number("ProcessId"), u64::from(children[0].id()));
    children[0].close(joined).unwrap();
    children[0].exit(1);
    // It is lost, and what comes until it is over is lost with it.
    save(&children[1], FRESH);
    children[1].exit(0);
    save(&children[2], OTHER);
    children[2].exit(2);
    writer.close(open).unwrap();
    assert_nothing_saved(&scene);
    assert_eq!(count(&scene, &Happened::RolledBack(DIED.into())), 1);
    scene.end();
}

/// References to objects that the driver has taken and not given back, since the driver was loaded, as far as its calls tell.
fn references(scene: &Scene) -> i64 {
    let counts = scene.lab.executive().calls.counts();
    let sum = |names: [&str; 3]| -> u64 {
        counts.iter().filter(|(name, _)| names.contains(*name)).map(|(_, count)| *count).sum()
    };
    let taken = sum(["ObfReferenceObject", "ObReferenceObjectSafe", "ObReferenceObjectByPointer"]);
    let given = sum(["ObfDereferenceObject", "ObDereferenceObjectDeferDelete", ""]);
    i64::try_from(taken).unwrap() - i64::try_from(given).unwrap()
}

/// Neither who takes part and goes on, nor who has ended well, is remembered more than once.
#[test]
fn however_long_a_family_saves_nothing_piles_up() {
    let saved = |scene: &Scene, program: &Process| {
        let handle = open(program, OTHER);
        (0..10).for_each(|at| assert_eq!(program.write(handle, at, b"x"), Ok(1)));
        program.close(handle).unwrap();
        references(scene)
    };
    let scene = families().build();
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&writer, FILE);
    let growth = |program: &Process| {
        saved(&scene, program);
        let before = saved(&scene, program);
        saved(&scene, program) - before
    };
    assert_eq!(growth(&writer), growth(&child));
    let alone =
        Scene::builder().file(r"Saved\other.txt", OTHERS).rule(|rule| rule.text("Scope", "Process")).build();
    let other = alone.program("writer.exe");
    saved(&alone, &other);
    let before = saved(&alone, &other);
    assert_eq!(growth(&writer), saved(&alone, &other) - before, "as without children");
    let children = |count: usize| {
        (0..count).for_each(|_| {
            let child = writer.start("cc.exe");
            save(&child, OTHER);
            child.exit(0);
        });
        references(&scene)
    };
    let (few, more) = (children(3), children(10));
    let most = children(10);
    assert_eq!(more - few, most - more);
    assert!(most - more <= 10 * growth(&writer).abs(), "{few} {more} {most}");
    scene.pass(SETTLED);
    scene.end();
    alone.end();
}

/// What a member has failed in is not published for anybody: not for who wants the file, nor because it is much, nor because the
/// volume goes.
#[test]
fn what_has_failed_is_not_published_for_any_reason() {
    const MEGABYTE: usize = 1 << 20;
    let dismounts = |scene: &Scene, _: &Process, _: Handle| dismount(scene);
    let asks = |scene: &Scene, _: &Process, _: Handle| {
        let other = scene.program("other.exe");
        let told = other.create_file(CreateOptions::open(FILE, ALL).share(7));
        assert_eq!(told, Err(Status::SHARING_VIOLATION));
    };
    let writes = |_: &Scene, writer: &Process, handle: Handle| {
        assert_eq!(writer.write(handle, 0, b"y"), Ok(1));
    };
    let reasons: [fn(&Scene, &Process, Handle); 3] = [dismounts, asks, writes];
    for reason in reasons {
        let scene = families().rule(|other| rule(other).number("MaxMegabytes", 1)).build();
        let writer = scene.program("writer.exe");
        let child = writer.start("cc.exe");
        let handle = writer.create_file(CreateOptions::open(FILE, ALL).share(7)).unwrap();
        save(&child, OTHER);
        writer.write(handle, 0, &[b'x'; MEGABYTE + 1]).unwrap();
        child.kill(1);
        reason(&scene, &writer, handle);
        let _ = writer.close(handle);
        assert_not_saved_yet(&scene);
        assert_eq!(count(&scene, &Happened::Committed), 0);
        scene.end();
    }
}

/// Nor because the volume goes while nobody has anything open, which ends the wait of a save that is whole.
#[test]
fn what_has_failed_is_not_published_when_the_volume_goes_before_anybody_has_looked() {
    for (status, published) in [(1, false), (0, true)] {
        let scene = families().build();
        let writer = scene.program("writer.exe");
        let child = writer.start("cc.exe");
        save(&writer, FILE);
        save(&child, OTHER);
        child.exit(status);
        dismount(&scene);
        if published {
            assert_all_saved(&scene, &[FILE, OTHER]);
        } else {
            assert_not_saved_yet(&scene);
        }
        scene.end();
    }
}

#[test]
fn a_family_has_one_save_whoever_begins_it_and_whenever() {
    for seed in 1..=30 {
        let scene = families().seed(seed).build();
        let writer = scene.program("writer.exe");
        let members = [writer.clone(), writer.start("cc.exe"), writer.start("as.exe").start("ld.exe")];
        let calls: Vec<_> = members
            .iter()
            .zip([FILE, OTHER, FRESH])
            .map(|(member, path)| {
                member.submit(move |caller| {
                    let handle = caller.create_file(&CreateOptions::open_if(path, ALL))?.handle;
                    caller.write(handle, Offset::At(0), NEW)?;
                    caller.close(handle)
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(()), "seed {seed}");
        }
        scene.pass(SETTLED);
        assert_all_saved(&scene, &[FILE, OTHER, FRESH]);
        assert_eq!(count(&scene, &Happened::Committed), 1, "seed {seed}: {:?}", scene.happened());
        scene.end();
    }
}

#[test]
fn processes_start_and_end_while_the_driver_unloads() {
    for seed in 1..=30 {
        let scene = families().seed(seed).build();
        let writer = scene.program("writer.exe");
        let lab = scene.lab.executive();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                lab.spawn(writer.inner(), "creator", |lab| {
                    let parent = lab.thread().owner();
                    let image = r"\Device\HarddiskVolume1\Programs\cc.exe";
                    let child = lab.create_process(image, Vec::new(), parent.as_ref());
                    lab.spawn(&child, "main", |lab| lab.exit_process(0));
                })
            })
            .collect();
        let report = scene.lab.unload_driver(&driver(&scene.lab)).unwrap();
        assert!(report.is_clean(), "seed {seed}: {report}");
        lab.run_until(move |_| threads.iter().all(|thread| thread.finished())).unwrap();
        assert!(scene.lab.violation().is_none());
    }
}

/// Whatever fails on the way to a member's save, it is in the family's, or somebody was told why not.
#[test]
fn whichever_import_fails_a_child_is_a_member_or_an_event_says_why_not() {
    let save = |program: &Process, path: &'static str| {
        program.call(move |caller| {
            let handle = caller.create_file(&CreateOptions::open_if(path, ALL))?.handle;
            let written = caller.write(handle, Offset::At(0), NEW);
            caller.close(handle).unwrap();
            written
        })
    };
    let run = |builder: SceneBuilder| {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let child = writer.start("cc.exe").start("ld.exe");
        let told = [save(&writer, FILE), save(&child, OTHER)];
        child.exit(0);
        writer.exit(0);
        scene.pass(SETTLED);
        (scene, told)
    };
    let sites = |builder| run(builder).0.lab.executive().calls.sites();
    let alone = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer*.exe"]);
    let mut tried = 0;
    for (site, fault) in failing_calls(&sites(families().rule(alone)), sites(families())) {
        tried += 1;
        let (scene, told) = run(families().lab(|lab| lab.fault(fault)));
        let what = format!("{} from {:?}: {told:?} {:?}", site.import, site.frames, scene.happened());
        for (path, old) in [(FILE, OLD), (OTHER, OTHERS)] {
            let found = scene.committed(path).unwrap();
            assert!(found.starts_with(NEW) || found == old, "{path}: {what}");
        }
        let is_said =
            ["ChildLeftOut", "ChildrenNotFollowed", "PolicyNotLoaded", "PassedThrough", "CommitFailed"];
        let said = is_said.into_iter().any(|name| !events(&scene, name).is_empty());
        let one = count(&scene, &Happened::Begun) == 1 && count(&scene, &Happened::Committed) == 1;
        assert!(one || said || told.iter().any(Result::is_err), "{what}");
        scene.end();
    }
    assert!(tried > 8, "{tried}");
}

/// Where the system has no place for another routine, the next policy asks again.
#[test]
fn children_that_could_not_be_followed_are_by_the_next_policy() {
    const NO_PLACE: i32 = 0xC000_000D_u32.cast_signed();
    let scene = Scene::new();
    let calls = &scene.lab.executive().calls;
    calls.surprise("PsSetCreateProcessNotifyRoutineEx", 0, FaultKind::Status(NO_PLACE));
    let policy = |name: &str| Policy::of(rule(Rule::new(name, &[r"C:\Saved\**"])));
    for (name, failed) in [("First", 1), ("Second", 1)] {
        scene.change_policy(&policy(name));
        scene.pass(2_000);
        assert_eq!(events(&scene, "ChildrenNotFollowed").len(), failed, "{name}");
    }
    let writer = scene.program("writer.exe");
    let child = writer.start("cc.exe");
    save(&child, FILE);
    assert_eq!(writer.contents(FILE).unwrap(), NEW);
    scene.assert_committed(FILE, OLD);
    scene.pass(SETTLED);
    scene.assert_committed(FILE, NEW);
    scene.end();
}
