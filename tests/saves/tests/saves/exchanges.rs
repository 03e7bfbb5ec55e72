//! What goes wrong while the twins of a save are exchanged: a handle is what it was, or is lost and says so.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, seen};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};
use lab_executive::import::{FaultKind, PlannedFault, Site};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const OTHER: &str = r"C:\Saved\other.txt";
const NO_RESOURCES: FaultKind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
const OPEN: &str = "FltCreateFileEx2";
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED: Status = Status(0xC000_00E9);
const MEGABYTE: usize = 1 << 20;

/// A save of whose rule a megabyte is the limit.
fn limited() -> SceneBuilder {
    Scene::builder().rule(|rule| rule.number("MaxMegabytes", 1))
}

/// Writes past the limit of [`limited`]: with the next write the twins are opened again without a transaction.
fn write_much(writer: &Process, handle: Handle) {
    writer.write(handle, 0, &[b'm'; MEGABYTE + 1]).unwrap();
}

fn lost(scene: &Scene) -> usize {
    seen(&scene.lab).iter().filter(|event| event.name() == "HandleLost").count()
}

fn demoted(scene: &Scene) -> bool {
    scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_)))
}

/// Of several handles one cannot be opened in the next transaction: all go on without, with the locks that they had.
#[test]
fn where_one_of_several_cannot_be_opened_again_all_keep_their_locks() {
    let run = |flush: bool, fault: Option<PlannedFault>| {
        let scene =
            fault.into_iter().fold(Scene::builder(), |scene, fault| scene.lab(|lab| lab.fault(fault)));
        let scene = scene.build();
        let writer = scene.program("writer.exe");
        let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
        writer.call(move |caller| caller.lock(first, 0, 4, true, false)).unwrap();
        let flushed = if flush { writer.flush(first) } else { Ok(()) };
        (scene, writer, first, second, flushed)
    };
    let sites = |flush| run(flush, None).0.lab.executive().calls.sites();
    let before: Vec<_> = sites(false).into_iter().map(|site| site.id).collect();
    let is_new = |site: &Site| site.import == OPEN && !before.contains(&site.id);
    let new: Vec<Site> = sites(true).into_iter().filter(is_new).collect();
    let failing =
        new.iter().map(|site| run(true, Some(PlannedFault { site: site.id, call: 2, kind: NO_RESOURCES })));
    // Where the look fails whether somebody executes the file, the flush does, and nothing is exchanged.
    let (mut exchanged, looked): (Vec<_>, Vec<_>) = failing.partition(|(.., flushed)| flushed.is_ok());
    assert_eq!((exchanged.len(), looked.len()), (1, 1));
    assert!(looked.iter().all(|(scene, ..)| !demoted(scene)));
    let (scene, writer, first, second, _) = exchanged.remove(0);
    assert!(demoted(&scene), "{:?}", scene.happened());
    assert_eq!(writer.write(second, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT), "the lock is held");
    assert_eq!(writer.write(first, 0, b"F"), Ok(1));
    assert_eq!(writer.write(second, 4, b"S"), Ok(1));
    [first, second].into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(FILE, &[b"F", &NEW[1..4], b"S", &NEW[5..]].concat());
    assert_eq!(lost(&scene), 0);
    scene.end();
}

/// A handle that cannot be opened again without a transaction either is lost, and its program is told with the next request.
#[test]
fn a_handle_that_cannot_be_opened_again_is_lost_and_says_so() {
    let scene = limited().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    write_much(&writer, handle);
    // After a look: the open with the share modes of the handle, and the one without them.
    (0..2).for_each(|_| scene.lab.executive().calls.surprise(OPEN, 1, NO_RESOURCES));
    assert_eq!(writer.write(handle, 0, b"x"), Err(UNEXPECTED));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    assert_eq!(writer.read(handle, 0, 1), Err(UNEXPECTED));
    assert_eq!(writer.flush(handle), Err(UNEXPECTED));
    assert!(demoted(&scene));
    assert_eq!(lost(&scene), 1);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b'm'; MEGABYTE + 1]);
    scene.end();
}

/// What cannot be written out is not published: the save goes on as it is, and ends when that works again.
#[test]
fn a_save_whose_pages_cannot_be_written_out_is_not_ended_by_its_limit() {
    let scene = limited().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    write_much(&writer, handle);
    let disk_full = FaultKind::Status(Status::DISK_FULL.0.cast_signed());
    scene.lab.executive().calls.surprise("FltFlushBuffers", 0, disk_full);
    assert_eq!(writer.write(handle, 0, b"x"), Ok(1));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    assert!(!demoted(&scene));
    scene.assert_committed(FILE, OLD);
    assert_eq!(writer.write(handle, 1, b"y"), Ok(1));
    assert!(demoted(&scene));
    writer.close(handle).unwrap();
    assert_eq!(&scene.committed(FILE).unwrap()[..3], b"xym");
    scene.end();
}

/// A lock that cannot be had again is not there for others to respect: its handle writes nothing any more.
#[test]
fn a_handle_whose_locks_are_not_to_be_had_again_is_lost() {
    let scene = limited().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| caller.lock(handle, 0, 4, true, false)).unwrap();
    write_much(&writer, handle);
    // The one to give it back, and the one to take it again.
    scene.lab.executive().calls.surprise("FltAllocateCallbackData", 1, NO_RESOURCES);
    assert_eq!(writer.write(handle, 0, b"x"), Err(UNEXPECTED));
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    assert_eq!(lost(&scene), 1);
    // Nothing of it is in anybody's way.
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, ALL).share(0)).unwrap();
    assert_eq!(other.write(theirs, 0, b"other"), Ok(5));
    writer.close(handle).unwrap();
    scene.end();
}

/// A reading handle goes back to its own file, which is the same then, and costs no open.
#[test]
fn past_a_limit_reading_handles_are_not_opened_again() {
    let opens = |readers: usize| {
        let scene = limited().build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        let reading: Vec<Handle> = (0..readers)
            .map(|_| writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap())
            .collect();
        write_much(&writer, handle);
        let before = scene.lab.executive().calls.count(OPEN);
        writer.write(handle, 0, b"x").unwrap();
        assert!(demoted(&scene));
        let opens = scene.lab.executive().calls.count(OPEN) - before;
        reading.iter().for_each(|reading| assert_eq!(writer.read(*reading, 0, 2).unwrap(), b"xm"));
        scene.end();
        opens
    };
    // A look at the file, and its twin.
    assert_eq!((opens(0), opens(2)), (2, 2));
}

/// The name that the save began with is another file's. A handle whose own name cannot be told is lost rather than led there.
#[test]
fn a_file_whose_name_cannot_be_told_is_not_taken_for_another() {
    let rule = |rule: Rule| rule.text("Scope", "Process");
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).rule(rule).build();
    let writer = scene.program("writer.exe");
    let handles = [FILE, OTHER].map(|path| writer.create_file(CreateOptions::open(path, ALL)).unwrap());
    handles.iter().for_each(|handle| assert_eq!(writer.write(*handle, 0, NEW), Ok(NEW.len())));
    scene.lab.executive().calls.surprise("FltGetFileNameInformationUnsafe", 1, NO_RESOURCES);
    writer.flush(handles[0]).unwrap();
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    assert!(writer.write(handles[1], 0, b"wrong").is_err());
    handles.into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(OTHER, NEW);
    assert_eq!(lost(&scene), 1);
    scene.end();
}

/// Locks that are granted because an exchange gives another one back count for nobody, and take no other lock's room.
#[test]
fn locks_that_come_too_late_leave_room_for_others() {
    const WAITING: u64 = 40;
    let scene = Scene::builder().lab(|lab| lab.config(|config| config.preempt_per_mille = 500)).build();
    let writer = scene.program("writer.exe");
    let first = scene.write_new(&writer);
    let second = writer.create_file(CreateOptions::open(FILE, ALL).asynchronous()).unwrap();
    writer.call(move |caller| caller.lock(first, 0, WAITING, true, false)).unwrap();
    // More than a handle may have, if each of them were remembered.
    for round in 0..60 {
        let lock = |at| writer.submit(move |caller| caller.lock(second, at, 1, true, true));
        let waiting: Vec<_> = (0..WAITING).map(lock).collect();
        scene.pass(1);
        writer.write(first, 0, b"x").unwrap();
        writer.flush(first).unwrap();
        for one in waiting {
            assert_eq!(one.wait().unwrap(), Err(Status::LOCK_NOT_GRANTED), "{round}");
        }
    }
    writer.call(move |caller| caller.lock(second, WAITING, 1, true, false)).unwrap();
    assert_eq!(writer.write(first, WAITING, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    assert!(!demoted(&scene));
    scene.end();
}
