//! `Scope` = `Process`: all that a process saves under a rule is one save.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, cuts, seen};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_executive::import::FaultKind;

use crate::unload::{DO_NOT_DETACH, attached_by_hand};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const DIRECTORY_FILE: u32 = 1;
const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
const OTHER: &str = r"C:\Saved\other.txt";
const OTHERS: &[u8] = b"what the other file holds";
const FRESH: &str = r"C:\Saved\fresh.txt";
const BACKUP: &str = r"C:\Saved\report.bak";
const DIED: &str = "the process died with the file open";
const WOUNDED: &str = "a write failed and was not made good";
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED_IO_ERROR: Status = Status(0xC000_00E9);
/// More than the two seconds that a rule without the value has.
const SETTLED: i64 = 2_100;

/// What a power cut may have left.
type Version = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

/// Programs whose name begins with "writer" save, each all of its files at once; others do not.
fn units() -> SceneBuilder {
    let rule = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer*.exe"]);
    Scene::builder().file(r"Saved\other.txt", OTHERS).rule(rule)
}

pub(crate) fn open(program: &Process, path: &str) -> Handle {
    program.create_file(CreateOptions::open_if(path, ALL)).unwrap()
}

/// Writes the new version of a file and closes it.
pub(crate) fn save(program: &Process, path: &str) {
    let handle = open(program, path);
    program.write(handle, 0, NEW).unwrap();
    program.close(handle).unwrap();
}

/// Renames as programs do: a handle of its own, closed at once.
pub(crate) fn rename(
    program: &Process,
    from: &'static str,
    to: &'static str,
    replace: bool,
) -> Result<(), Status> {
    program.call(move |caller| {
        let handle = caller.create_file(&CreateOptions::open(from, DELETE))?.handle;
        let renamed = caller.rename(handle, to, replace);
        caller.close(handle)?;
        renamed
    })
}

fn delete(program: &Process, path: &'static str) -> Result<(), Status> {
    program.call(move |caller| {
        let handle = caller.create_file(&CreateOptions::open(path, DELETE))?.handle;
        let deleted = caller.set_delete(handle, true);
        caller.close(handle)?;
        deleted
    })
}

fn committed(scene: &Scene) -> usize {
    scene.happened().iter().filter(|happened| **happened == Happened::Committed).count()
}

#[test]
fn two_files_saved_one_after_the_other_are_one_save() {
    let scene = units().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, FILE);
    scene.pass(1_000);
    save(&writer, OTHER);
    scene.pass(1_500);
    // The second has not been closed for two seconds yet, whatever the first.
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(OTHER, OTHERS);
    assert_eq!(other.contents(FILE).unwrap(), OLD, "others read the old version");
    assert_eq!(writer.contents(FILE).unwrap(), NEW, "its own program does not");
    scene.pass(SETTLED);
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(OTHER, &[NEW, &OTHERS[NEW.len().min(OTHERS.len())..]].concat());
    assert_eq!((committed(&scene), scene.happened()[0].clone()), (1, Happened::Begun));
    scene.end();
}

#[test]
fn every_file_of_a_save_has_its_name_in_an_event() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    save(&writer, FILE);
    save(&writer, OTHER);
    let events = seen(&scene.lab);
    let names = |event: &str| -> Vec<String> {
        events.iter().filter(|seen| seen.name() == event).map(|seen| seen.text("File")).collect()
    };
    assert!(names("SaveBegun")[0].ends_with(r"\report.txt"), "{:?}", names("SaveBegun"));
    assert!(names("SaveJoined")[0].ends_with(r"\other.txt"), "{:?}", names("SaveJoined"));
    scene.end();
}

#[test]
fn how_the_process_ends_decides_for_all_of_its_files() {
    for (status, new) in [(0, true), (1, false), (0xC000_0005_u32.cast_signed(), false)] {
        let scene = units().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        save(&writer, FILE);
        save(&writer, FRESH);
        if status == 0 {
            writer.exit(0)
        } else {
            writer.kill(status)
        }
        // Without time having passed: whoever opens a file learns it.
        assert_eq!(other.contents(FILE).unwrap(), if new { NEW } else { OLD });
        scene.pass(100);
        assert_eq!(scene.committed(FRESH), new.then(|| NEW.to_vec()), "{status:#x}");
        if !new {
            scene.assert_happened(&[
                Happened::Begun,
                Happened::Joined("writer".into()),
                Happened::RolledBack(DIED.into()),
            ]);
        }
        scene.end();
    }
}

#[test]
fn a_process_that_dies_with_one_file_open_leaves_all_of_them_as_they_were() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    let before = scene.lab.with_volume(|volume| volume.tree());
    save(&writer, FILE);
    save(&writer, FRESH);
    assert_eq!(rename(&writer, OTHER, BACKUP, false), Ok(()));
    let open = open(&writer, FILE);
    writer.write(open, 0, b"more").unwrap();
    writer.kill(1);
    assert!(scene.lab.with_volume(|volume| volume.tree()) == before);
    assert_eq!(scene.happened().last(), Some(&Happened::RolledBack(DIED.into())));
    scene.end();
}

#[test]
fn a_failed_write_to_one_file_rolls_all_of_them_back() {
    let scene = units().lab(|lab| lab.disk_full_after(64 << 10)).build();
    let writer = scene.program("writer.exe");
    save(&writer, FILE);
    let handle = open(&writer, OTHER);
    let full = writer.call(move |caller| caller.write(handle, Offset::At(0), &vec![7; 1 << 20]));
    assert_eq!(full, Err(Status::DISK_FULL));
    writer.close(handle).unwrap();
    scene.pass(SETTLED);
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(OTHER, OTHERS);
    assert_eq!(scene.happened().last(), Some(&Happened::RolledBack(WOUNDED.into())));
    scene.end();
}

#[test]
fn a_wound_of_one_file_is_not_healed_by_a_write_to_another() {
    let scene = units().lab(|lab| lab.disk_full_after(64 << 10)).build();
    let writer = scene.program("writer.exe");
    let (one, two) = (open(&writer, FILE), open(&writer, OTHER));
    let full = writer.call(move |caller| caller.write(one, Offset::At(0), &vec![7; 1 << 20]));
    assert_eq!(full, Err(Status::DISK_FULL));
    writer.call(move |caller| caller.set_end_of_file(two, 0)).unwrap();
    for handle in [one, two] {
        writer.close(handle).unwrap();
    }
    scene.pass(SETTLED);
    scene.assert_committed(OTHER, OTHERS);
    assert_eq!(scene.happened().last(), Some(&Happened::RolledBack(WOUNDED.into())));
    scene.end();
}

#[test]
fn a_temporary_file_renamed_over_the_original_is_one_save_with_it() {
    for killed in [false, true] {
        let scene = units().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        save(&writer, FRESH);
        assert_eq!(rename(&writer, FRESH, FILE, true), Ok(()));
        assert_eq!(writer.contents(FILE).unwrap(), NEW, "the program finds what it has made");
        assert_eq!(writer.contents(FRESH), Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(other.contents(FILE).unwrap(), OLD, "others do not");
        if killed {
            writer.kill(1);
        }
        scene.pass(SETTLED);
        scene.assert_committed(FILE, if killed { OLD } else { NEW });
        assert_eq!(scene.committed(FRESH), None);
        scene.end();
    }
}

#[test]
fn a_deletion_is_part_of_the_save() {
    for killed in [false, true] {
        let scene = units().build();
        let writer = scene.program("writer.exe");
        save(&writer, OTHER);
        assert_eq!(delete(&writer, FILE), Ok(()));
        assert_eq!(writer.contents(FILE), Err(Status::OBJECT_NAME_NOT_FOUND));
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1);
        }
        scene.pass(SETTLED);
        assert_eq!(scene.committed(FILE), killed.then(|| OLD.to_vec()));
        scene.end();
    }
}

#[test]
fn what_modifies_no_data_is_part_of_it_too() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    let attributes = |scene: &Scene| scene.lab.with_volume(|volume| format!("{:?}", volume.tree()));
    let before = attributes(&scene);
    writer.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, FILE_WRITE_ATTRIBUTES)).unwrap().handle;
        // FileBasicInformation: hidden.
        let mut basic = [0_u8; 40];
        basic[32] = 2;
        caller.set_information(handle, 4, &basic).unwrap();
        caller.close(handle).unwrap();
    });
    assert_eq!(attributes(&scene), before);
    writer.kill(1);
    scene.pass(100);
    assert_eq!(attributes(&scene), before);
    scene.assert_rolled_back(DIED);
    scene.end();
}

#[test]
fn whoever_writes_a_file_of_it_gets_it_and_ends_the_save() {
    let scene = units().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, FILE);
    save(&writer, OTHER);
    let handle = open(&other, OTHER);
    scene.assert_committed(FILE, NEW);
    other.write(handle, 0, b"other").unwrap();
    other.close(handle).unwrap();
    assert_eq!(&scene.committed(OTHER).unwrap()[..5], b"other");
    assert_eq!(committed(&scene), 1);
    scene.end();
}

#[test]
fn whoever_reads_a_file_that_it_made_finds_it_whole() {
    let scene = units().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, FILE);
    save(&writer, FRESH);
    assert_eq!(other.contents(FRESH).unwrap(), NEW);
    scene.assert_committed(FILE, NEW);
    assert_eq!(committed(&scene), 1);
    scene.end();
}

#[test]
fn whoever_wants_a_name_that_it_has_given_finds_it_taken() {
    let scene = units().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    assert_eq!(rename(&writer, FILE, BACKUP, false), Ok(()));
    assert_eq!(other.create_file(CreateOptions::create(BACKUP, ALL)), Err(Status::OBJECT_NAME_COLLISION));
    scene.assert_committed(BACKUP, OLD);
    assert_eq!(committed(&scene), 1);
    scene.end();

    // Another name is nobody's, and ends nothing.
    let scene = units().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    assert_eq!(rename(&writer, FILE, BACKUP, false), Ok(()));
    let handle = other.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
    other.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    assert_eq!(committed(&scene), 0);
    scene.end();
}

#[test]
fn a_program_that_renames_its_file_away_and_makes_it_anew_can_do_so() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    assert_eq!(rename(&writer, FILE, BACKUP, false), Ok(()));
    save(&writer, FILE);
    assert_eq!(delete(&writer, BACKUP), Ok(()));
    // Published when the name was wanted again; until the rest is, the old version has that name.
    scene.assert_committed(BACKUP, OLD);
    scene.pass(SETTLED);
    scene.assert_committed(FILE, NEW);
    assert_eq!(scene.committed(BACKUP), None);
    assert_eq!(committed(&scene), 2);
    scene.end();
}

/// The program believes that the old version is safe under another name. Where it is not, nothing is made in its place.
#[test]
fn where_the_renaming_is_lost_the_file_is_not_made_anew() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    assert_eq!(rename(&writer, FILE, BACKUP, false), Ok(()));
    scene.lab.with_volume(|volume| volume.abort_after_operations(0));
    let anew = writer.create_file(CreateOptions::overwrite_if(FILE, ALL));
    assert_eq!(anew, Err(UNEXPECTED_IO_ERROR));
    scene.assert_committed(FILE, OLD);
    assert_eq!(scene.committed(BACKUP), None);
    scene.end();
}

#[test]
fn a_process_begins_one_save_only_and_another_process_another() {
    let scene = units().build();
    let (one, two) = (scene.program("writer1.exe"), scene.program("writer2.exe"));
    let (first, second) = (open(&one, FILE), open(&one, FRESH));
    save(&two, OTHER);
    one.write(first, 0, NEW).unwrap();
    one.write(second, 0, NEW).unwrap();
    one.close(first).unwrap();
    two.kill(1);
    one.close(second).unwrap();
    one.exit(0);
    scene.pass(100);
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(FRESH, NEW);
    scene.assert_committed(OTHER, OTHERS);
    let begun = scene.happened().iter().filter(|happened| **happened == Happened::Begun).count();
    assert_eq!((begun, committed(&scene)), (2, 1));
    scene.end();
}

#[test]
fn without_a_settle_time_it_ends_with_its_last_handle() {
    let rule = |rule: Rule| rule.text("Scope", "Process").number("SettleMilliseconds", 0);
    let scene = Scene::builder().file(r"Saved\other.txt", OTHERS).rule(rule).build();
    let writer = scene.program("writer.exe");
    let (one, two) = (open(&writer, FILE), open(&writer, OTHER));
    writer.write(one, 0, NEW).unwrap();
    writer.write(two, 0, NEW).unwrap();
    writer.close(one).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.close(two).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_flush_publishes_all_of_it_unless_the_rule_defers() {
    for (on_flush, published) in [("Checkpoint", true), ("Defer", false)] {
        let rule = |rule: Rule| rule.text("Scope", "Process").text("OnFlush", on_flush);
        let scene = Scene::builder().file(r"Saved\other.txt", OTHERS).rule(rule).build();
        let writer = scene.program("writer.exe");
        save(&writer, FILE);
        let handle = open(&writer, OTHER);
        writer.write(handle, 0, NEW).unwrap();
        writer.call(move |caller| caller.flush(handle)).unwrap();
        scene.assert_committed(FILE, if published { NEW } else { OLD });
        writer.write(handle, 0, b"more").unwrap();
        writer.kill(1);
        scene.pass(100);
        scene.assert_committed(FILE, if published { NEW } else { OLD });
        assert_eq!(scene.committed(OTHER).unwrap().starts_with(NEW), published);
        scene.end();
    }
}

#[test]
fn past_its_limit_it_is_published_and_the_next_file_begins_another() {
    let rule = |rule: Rule| rule.text("Scope", "Process").number("MaxMegabytes", 1);
    let scene = Scene::builder().file(r"Saved\other.txt", OTHERS).rule(rule).build();
    let writer = scene.program("writer.exe");
    save(&writer, OTHER);
    let handle = open(&writer, FILE);
    let large = vec![7; 2 << 20];
    writer.write(handle, 0, &large).unwrap();
    writer.write(handle, 0, b"more").unwrap();
    scene.assert_committed(OTHER, &[NEW, &OTHERS[NEW.len().min(OTHERS.len())..]].concat());
    save(&writer, FRESH);
    writer.close(handle).unwrap();
    writer.kill(1);
    scene.pass(100);
    assert_eq!(&scene.committed(FILE).unwrap()[..4], b"more");
    assert_eq!(scene.committed(FRESH), None, "of another save");
    scene.end();
}

#[test]
fn while_it_waits_the_volume_is_not_detached_from() {
    let (scene, driver, instance) = attached_by_hand(units());
    let writer = scene.program("writer.exe");
    save(&writer, FILE);
    assert_eq!(scene.lab.unload_driver(&driver).err(), Some(DO_NOT_DETACH));
    assert_eq!(scene.lab.detach(&instance), Err(DO_NOT_DETACH));
    scene.pass(SETTLED);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// What the three files of the workload hold.
fn version(scene: &Scene) -> Version {
    (scene.committed(FILE), scene.committed(OTHER), scene.committed(FRESH))
}

/// Three files, one of them new and one replaced by renaming, and a power cut at any moment: all of them are old, or all
/// are new. The placeholder of the new file may be there, empty.
#[test]
fn a_power_cut_leaves_all_files_old_or_all_new() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    let old = version(&scene);
    let from = scene.effects;
    save(&writer, FILE);
    save(&writer, BACKUP);
    assert_eq!(rename(&writer, BACKUP, OTHER, true), Ok(()));
    save(&writer, FRESH);
    scene.pass(SETTLED);
    let new = version(&scene);
    assert_ne!((&old.0, &old.1, &old.2), (&new.0, &new.1, &new.2));
    let states = cuts(&scene.lab, from, 6);
    assert!(states.len() > 60, "only {} states", states.len());
    let mut found = [0, 0];
    for cut in states {
        let (after, seed) = (cut.after, cut.seed);
        let recovered = units().lab(|lab| lab.base(cut.base)).no_files().build();
        let mut now = version(&recovered);
        now.2 = now.2.filter(|contents| !contents.is_empty());
        assert!(now == old || now == new, "after effect {after}, seed {seed}: {now:?}");
        found[usize::from(now == new)] += 1;
        recovered.end();
    }
    assert!(found[0] > 0 && found[1] > 0, "{found:?}");
}

/// Threads of one process that save at the same time are in one save.
#[test]
fn threads_that_begin_at_once_begin_one_save() {
    for seed in 0..40 {
        let scene = units().seed(seed).build();
        let writer = scene.program("writer.exe");
        let work = |path: &'static str| {
            writer.submit(move |caller: &Caller<'_>| {
                let handle = caller.create_file(&CreateOptions::open_if(path, ALL)).unwrap().handle;
                caller.write(handle, Offset::At(0), NEW).unwrap();
                caller.close(handle).unwrap();
            })
        };
        for thread in [FILE, OTHER, FRESH].map(work) {
            thread.wait().unwrap();
        }
        writer.exit(0);
        scene.pass(100);
        let begun = scene.happened().iter().filter(|happened| **happened == Happened::Begun).count();
        assert_eq!((begun, committed(&scene)), (1, 1), "seed {seed}: {:?}", scene.happened());
        scene.assert_committed(FRESH, NEW);
        scene.end();
    }
}

/// Whatever makes a file, it is part of what its process saves, and costs nothing of the rest.
#[test]
fn a_new_file_is_part_of_the_save_by_whatever_disposition_it_is_made() {
    for (disposition, killed) in [0, 2, 3, 5].into_iter().flat_map(|made| [(made, false), (made, true)]) {
        let scene = units().build();
        let writer = scene.program("writer.exe");
        save(&writer, FILE);
        let options = CreateOptions::new(lab::Name::Path(FRESH.into()), ALL, disposition);
        let handle = writer.create_file(options).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        writer.close(handle).unwrap();
        if killed {
            writer.kill(1);
        } else {
            writer.exit(0);
        }
        scene.pass(100);
        scene.assert_committed(FILE, if killed { OLD } else { NEW });
        assert_eq!(scene.committed(FRESH), (!killed).then(|| NEW.to_vec()), "{disposition}");
        assert_eq!(committed(&scene), usize::from(!killed), "{disposition}");
        scene.end();
    }
}

/// Its program gives a name and then opens a file by it: the save goes on. Somebody else who would make a file there ends its
/// wait, and finds the name taken.
#[test]
fn a_name_that_a_waiting_save_has_given_is_its_programs_and_taken_for_others() {
    for own in [true, false] {
        let scene = units().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        save(&writer, FILE);
        rename(&writer, FILE, BACKUP, false).unwrap();
        assert_eq!(committed(&scene), 0);
        let program = if own { &writer } else { &other };
        let made = program.create_file(CreateOptions::create(BACKUP, GENERIC_WRITE));
        assert_eq!(made, Err(Status::OBJECT_NAME_COLLISION), "{own}");
        assert_eq!(committed(&scene), usize::from(!own), "{own}");
        let elsewhere = program.create_file(CreateOptions::create(FRESH, GENERIC_WRITE)).unwrap();
        program.close(elsewhere).unwrap();
        assert_eq!(committed(&scene), usize::from(!own), "another name is nobody's, {own}");
        scene.pass(SETTLED);
        scene.assert_committed(BACKUP, NEW);
        scene.end();
    }
}

/// One transaction for all of them, and none that is begun for nothing.
#[test]
fn another_file_costs_no_transaction_of_its_own() {
    let scene = units().build();
    let writer = scene.program("writer.exe");
    save(&writer, FILE);
    save(&writer, OTHER);
    assert_eq!(scene.lab.executive().calls.count("ZwCreateTransaction"), 1);
    scene.end();
}

/// Which of several names it is makes no difference, nor how it was given.
#[test]
fn whoever_would_make_a_file_by_any_name_that_a_waiting_save_has_given_ends_its_wait() {
    const LINKED: &str = r"C:\Saved\linked.txt";
    const SECOND: &str = r"C:\Saved\second.txt";
    for wanted in [BACKUP, SECOND, LINKED] {
        let scene = units().build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        save(&writer, FILE);
        rename(&writer, FILE, BACKUP, false).unwrap();
        if wanted == LINKED {
            writer.call(|caller| {
                let handle = caller.create_file(&CreateOptions::open(OTHER, ALL)).unwrap().handle;
                caller.link(handle, LINKED, false).unwrap();
                caller.link(handle, SECOND, false).unwrap();
                caller.close(handle).unwrap();
            });
        } else {
            rename(&writer, OTHER, SECOND, false).unwrap();
        }
        assert_eq!(committed(&scene), 0);
        let made = other.create_file(CreateOptions::create(wanted, GENERIC_WRITE));
        assert_eq!(made, Err(Status::OBJECT_NAME_COLLISION), "{wanted}");
        assert_eq!(committed(&scene), 1, "{wanted}");
        scene.end();
    }
}

/// What others rename elsewhere is nothing to a save that waits; a folder above any of its files is.
#[test]
fn only_names_of_its_files_and_folders_end_its_wait() {
    let scene = units().file(r"Elsewhere\theirs.txt", OLD).file(r"Saved\Sub\inner.txt", OLD).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, FILE);
    save(&writer, r"C:\Saved\Sub\inner.txt");
    let renamed = |from: &'static str, to: &'static str| {
        other.call(move |caller| caller.rename_path(from, to, false)).unwrap();
    };
    renamed(r"C:\Elsewhere\theirs.txt", r"C:\Elsewhere\mine.txt");
    renamed(r"C:\Elsewhere", r"C:\Savedes");
    assert_eq!(committed(&scene), 0);
    renamed(r"C:\Saved\Sub", r"C:\Saved\Moved");
    assert_eq!(committed(&scene), 1);
    scene.assert_committed(r"C:\Saved\Moved\inner.txt", NEW);
    scene.end();
}

/// A folder whose name cannot be told may be above any file of a save that waits.
#[test]
fn a_rename_of_what_has_no_name_to_be_told_ends_the_wait() {
    let scene = units().file(r"Saved\Sub\inner.txt", OLD).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    save(&writer, r"C:\Saved\Sub\inner.txt");
    let options = CreateOptions::open(r"C:\Saved\Sub", DELETE).options(DIRECTORY_FILE);
    let folder = other.create_file(options).unwrap();
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("FltGetFileNameInformation", 0, kind);
    assert_eq!(other.call(move |caller| caller.rename(folder, r"C:\Saved\Moved", false)), Ok(()));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    scene.assert_committed(r"C:\Saved\Moved\inner.txt", NEW);
    scene.end();
}
