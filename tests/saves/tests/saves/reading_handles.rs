//! Handles that only read, in a process that saves: what is theirs ends with them.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Status};

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

/// A limit that the README names.
#[test]
fn a_lock_of_a_reading_handle_outlives_the_save_until_the_handle_is_closed() {
    let scene = Scene::builder().rule(|rule| rule.strings("Processes", &["writer.exe"])).build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let reads = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.call(move |caller| caller.lock(reads, 0, 5, true, true)).unwrap();
    writer.write(handle, 10, b"x").unwrap();
    writer.close(handle).unwrap();
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)).unwrap();
    assert_eq!(other.write(theirs, 0, b"y"), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(writer.call(move |caller| caller.unlock(reads, 0, 5)), Err(Status::RANGE_NOT_LOCKED));
    writer.close(reads).unwrap();
    assert_eq!(other.write(theirs, 0, b"y"), Ok(1));
    scene.end();
}

/// A limit that the README names.
#[test]
fn a_lock_of_a_reading_handle_is_lost_where_the_save_goes_on_without_a_transaction() {
    let scene = Scene::builder().rule(|rule| rule.strings("Processes", &["writer.exe"])).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reads = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.call(move |caller| caller.lock(reads, 0, 5, true, true)).unwrap();
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)).unwrap();
    assert_eq!(other.write(theirs, 0, b"y"), Ok(1));
    let _ = handle;
    scene.end();
}
