//! Handles that only read, in a process that saves: what is theirs ends with them.

use intact_saves::{FILE, NEW, OLD, Scene};

use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};
use lab_executive::import::FaultKind;

#[test]
fn closing_a_reading_handle_gives_its_locks_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.call(move |caller| caller.lock(reading, 0, 5, true, false)).unwrap();
    assert_eq!(writer.write(handle, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    writer.close(reading).unwrap();
    assert_eq!(writer.write(handle, 0, b"x"), Ok(1));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"x", &NEW[1..]].concat());
    scene.end();
}

/// By another name, as programs spell it; the file system does not mind.
#[test]
fn a_name_in_another_case_is_the_same_file() {
    const SHOUTED: &str = r"C:\SAVED\REPORT.TXT";
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(SHOUTED, GENERIC_READ | 0x4000_0000)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let reading = writer.create_file(CreateOptions::open(SHOUTED, GENERIC_READ)).unwrap();
    assert_eq!(writer.read(reading, 0, 64).unwrap(), NEW);
    scene.assert_committed(FILE, intact_saves::OLD);
    writer.flush(handle).unwrap();
    writer.write(handle, 0, b"A").unwrap();
    assert_eq!(writer.read(reading, 0, 1).unwrap(), b"A");
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// Its own create was checked. What its program has made of the security in the save does not keep it from what it has
/// written there.
#[test]
fn a_handle_sees_what_was_written_whatever_the_save_has_made_of_the_security() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle =
        writer.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE | 0x4_0000)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let nobody = lab_volume::descriptor(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0], &[]);
    writer.call(move |caller| caller.set_security(handle, 4, &nobody)).unwrap();
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(writer.read(reading, 0, 64).unwrap(), NEW);
    writer.close(reading).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// A byte of the locked part, written by somebody else.
fn write_as_other(scene: &Scene, at: u64) -> Result<usize, Status> {
    let other = scene.program("other.exe");
    let handle = other.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)).unwrap();
    let written = other.write(handle, at, b"y");
    other.close(handle).unwrap();
    written
}

fn lock(program: &Process, handle: Handle, start: u64) {
    program.call(move |caller| caller.lock(handle, start, 5, true, true)).unwrap();
}

fn unlock(program: &Process, handle: Handle, start: u64) -> Result<(), Status> {
    program.call(move |caller| caller.unlock(handle, start, 5))
}

/// STATUS_INSUFFICIENT_RESOURCES.
const SHORTAGE: i32 = 0xC000_009A_u32.cast_signed();

fn scene_of_writer() -> Scene {
    Scene::builder().rule(|rule| rule.strings("Processes", &["writer.exe"])).build()
}

/// A save with something written, and a handle of its program that only reads and has locked what [`lock`] locks from 0 on.
fn saved_and_locked() -> (Scene, Process, Handle, Handle) {
    let scene = scene_of_writer();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reads = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    lock(&writer, reads, 0);
    (scene, writer, handle, reads)
}

/// What it locks during a save, before and after it, is its own until it gives it back or is closed.
#[test]
fn the_locks_of_a_reading_handle_stay_with_it_when_the_save_ends() {
    let scene = scene_of_writer();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let reads = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    lock(&writer, reads, 0);
    lock(&writer, reads, 5);
    writer.write(handle, 10, b"x").unwrap();
    writer.close(handle).unwrap();
    assert_eq!(write_as_other(&scene, 0), Err(Status::FILE_LOCK_CONFLICT));
    unlock(&writer, reads, 0).unwrap();
    assert_eq!(unlock(&writer, reads, 0), Err(Status::RANGE_NOT_LOCKED));
    assert_eq!(write_as_other(&scene, 0), Ok(1));
    assert_eq!(write_as_other(&scene, 5), Err(Status::FILE_LOCK_CONFLICT));
    lock(&writer, reads, 0);
    writer.close(reads).unwrap();
    assert_eq!((write_as_other(&scene, 0), write_as_other(&scene, 5)), (Ok(1), Ok(1)));
    scene.end();
}

#[test]
fn the_locks_of_a_reading_handle_stay_with_it_when_the_save_is_rolled_back() {
    let (scene, writer, handle, reads) = saved_and_locked();
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    assert_eq!(write_as_other(&scene, 0), Err(Status::FILE_LOCK_CONFLICT));
    unlock(&writer, reads, 0).unwrap();
    assert_eq!(writer.read(reads, 0, 64).unwrap(), OLD);
    writer.close(reads).unwrap();
    scene.end();
}

/// The transaction of a handle that only reads is gone: it goes on with its own file, and with its locks.
#[test]
fn the_locks_of_a_reading_handle_stay_with_it_when_it_cannot_be_opened_again() {
    let (scene, writer, handle, reads) = saved_and_locked();
    // There is a look at the file, and the writing twin is opened again; the reading one is not.
    scene.lab.executive().calls.surprise("FltCreateFileEx2", 2, FaultKind::Status(SHORTAGE));
    writer.flush(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    assert_eq!(writer.write(handle, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    unlock(&writer, reads, 0).unwrap();
    assert_eq!(writer.write(handle, 0, b"x"), Ok(1));
    assert_eq!(writer.read(reads, 0, 1).unwrap(), &NEW[..1]);
    writer.close(handle).unwrap();
    writer.close(reads).unwrap();
    scene.end();
}

#[test]
fn the_locks_of_a_reading_handle_stay_with_it_when_the_save_goes_on_without_a_transaction() {
    let (scene, writer, handle, reads) = saved_and_locked();
    // Letting it in demotes the save.
    assert_eq!(write_as_other(&scene, 0), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(writer.write(handle, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    unlock(&writer, reads, 0).unwrap();
    assert_eq!(write_as_other(&scene, 0), Ok(1));
    writer.close(handle).unwrap();
    writer.close(reads).unwrap();
    scene.end();
}

/// A limit that the README names: what waits ends with the twin that it waits at.
#[test]
fn who_waits_for_a_lock_to_read_when_the_save_ends_is_told_that_it_was_not_granted() {
    let scene = scene_of_writer();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    lock(&other, theirs, 0);
    let handle = scene.open_file(&writer);
    writer.write(handle, 10, b"x").unwrap();
    let mut options = CreateOptions::open(FILE, GENERIC_READ);
    options.options = 0;
    let reads = writer.create_file(options).unwrap();
    let waits = writer.submit(move |caller| caller.lock(reads, 0, 5, true, false));
    assert_eq!(writer.read(handle, 10, 1).unwrap(), b"x");
    assert!(!waits.is_done());
    writer.close(handle).unwrap();
    assert_eq!(waits.wait().unwrap(), Err(Status::LOCK_NOT_GRANTED));
    unlock(&other, theirs, 0).unwrap();
    lock(&writer, reads, 0);
    writer.close(reads).unwrap();
    scene.end();
}
