//! Saves whose transaction is gone: whoever finds out first is told, and everybody after that is treated accordingly.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, seen};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};
use lab_executive::import::FaultKind;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const OTHER: &str = r"C:\Saved\other.txt";
const BACKUP: &str = r"C:\Saved\report.bak";
const MOVED: &str = r"C:\Saved\moved.txt";
const FRESH: &str = r"C:\Saved\fresh.txt";
const GONE: &str = "the transaction had already ended";
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED: Status = Status(0xC000_00E9);

fn open(program: &Process, path: &str) -> Result<Handle, Status> {
    program.create_file(CreateOptions::open(path, ALL))
}

/// Lets the transaction end with the next operation in it.
fn abort(scene: &Scene) {
    scene.lab.with_volume(|volume| volume.abort_after_operations(0));
}

/// The status that the end of the only save gives.
fn quoted(scene: &Scene) -> u64 {
    let events = seen(&scene.lab);
    events.iter().find(|event| event.name() == "SaveRolledBack").unwrap().number("Status")
}

fn of_process() -> Scene {
    let rule = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer*.exe"]);
    Scene::builder().file(r"Saved\other.txt", OLD).rule(rule).build()
}

/// Nothing was modified, so nothing else would find out.
#[test]
fn an_open_that_finds_it_is_quoted_also_where_nothing_was_modified() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = open(&writer, FILE).unwrap();
    abort(&scene);
    assert_eq!(open(&writer, FILE), Err(UNEXPECTED));
    writer.close(handle).unwrap();
    scene.assert_rolled_back(GONE);
    assert_eq!(quoted(&scene) >> 16, 0xC019, "{:#x}", quoted(&scene));
    scene.end();
}

/// A save that is lost takes no more files: the next one begins a save of its own.
#[test]
fn what_is_opened_after_it_is_in_a_save_of_its_own() {
    let scene = of_process();
    let writer = scene.program("writer.exe");
    let lost = open(&writer, FILE).unwrap();
    writer.write(lost, 0, NEW).unwrap();
    abort(&scene);
    assert_eq!(writer.write(lost, 0, b"x"), Err(UNEXPECTED));
    let other = open(&writer, OTHER).unwrap();
    writer.write(other, 0, NEW).unwrap();
    scene.assert_committed(OTHER, OLD);
    writer.close(lost).unwrap();
    writer.close(other).unwrap();
    writer.exit(0);
    scene.pass(100);
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(OTHER, NEW);
    scene.end();
}

/// The program has been told once: after that it gets what the volume says.
#[test]
fn who_looks_for_a_name_is_told_once() {
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).build();
    let writer = scene.program("writer.exe");
    let handle = open(&writer, FILE).unwrap();
    writer.call(move |caller| caller.rename(handle, "moved.txt", false)).unwrap();
    abort(&scene);
    assert_eq!(open(&writer, OTHER), Err(UNEXPECTED));
    let other = open(&writer, OTHER).unwrap();
    assert_eq!(open(&writer, MOVED), Err(Status::OBJECT_NAME_NOT_FOUND));
    writer.close(other).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// The old version was to be kept under another name. Its commit fails, so nothing is made in its place.
#[test]
fn where_a_renaming_cannot_be_committed_the_file_is_not_made_anew() {
    let scene = of_process();
    let writer = scene.program("writer.exe");
    writer.call(|caller| caller.rename_path(FILE, BACKUP, false)).unwrap();
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("ZwCommitTransaction", 0, kind);
    let anew = writer.create_file(CreateOptions::overwrite_if(FILE, ALL));
    assert_eq!(anew, Err(UNEXPECTED));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    scene.assert_committed(FILE, OLD);
    assert_eq!(scene.committed(BACKUP), None);
    assert!(scene.happened().contains(&Happened::CommitFailed));
    scene.end();
}

/// KTM may end it at any moment of a flush. The program is told what it knows, and the event says who was the first to find
/// out.
#[test]
fn whenever_it_goes_during_a_flush_the_flush_fails_and_the_event_says_why() {
    let begin = || {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let (handle, second) = (scene.write_new(&writer), scene.open_file(&writer));
        writer.call(move |caller| caller.lock(handle, 0, 1, true, false)).unwrap();
        (scene, writer, handle, second)
    };
    let operations = {
        let (scene, writer, handle, _) = begin();
        let before = scene.lab.with_volume(|volume| volume.transacted_operations());
        writer.flush(handle).unwrap();
        scene.lab.with_volume(|volume| volume.transacted_operations()) - before
    };
    let mut failed = 0;
    for boundary in 0..operations {
        let (scene, writer, handle, second) = begin();
        scene.lab.with_volume(|volume| volume.abort_after_operations(boundary));
        let told = writer.flush(handle);
        println!("{boundary}: {told:?} {:?}", scene.happened());
        if told.is_ok() {
            scene.assert_committed(FILE, NEW);
        } else {
            failed += 1;
            assert_eq!(told, Err(UNEXPECTED), "{boundary}");
            assert_eq!(writer.read(second, 0, 1), Err(UNEXPECTED), "{boundary}");
            [handle, second].into_iter().for_each(|handle| writer.close(handle).unwrap());
            scene.assert_committed(FILE, OLD);
            assert_eq!(quoted(&scene) >> 16, 0xC019, "{boundary}: {:#x}", quoted(&scene));
        }
        scene.end();
    }
    assert!(failed > 2, "{failed} of {operations}");
}

/// A placeholder that cannot be deleted stays, empty, and an event names it.
#[test]
fn a_new_file_that_cannot_be_deleted_is_named_in_an_event() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("FltSetInformationFile", 0, kind);
    writer.kill(1);
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    scene.assert_committed(FRESH, b"");
    let events = seen(&scene.lab);
    let left: Vec<_> = events.iter().filter(|event| event.name() == "PlaceholderLeft").collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].text("File").ends_with(r"\fresh.txt"), "{}", left[0].text("File"));
    scene.end();
}
