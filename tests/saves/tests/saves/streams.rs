//! One save with two streams of a file: when its twins are exchanged each handle gets its own stream again.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};
use lab_executive::import::FaultKind;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const STREAM: &str = r"C:\Saved\report.txt:notes";

/// The file and its stream, both written to.
fn begin(change: impl FnOnce(Rule) -> Rule) -> (Scene, Process, [Handle; 2]) {
    let scene = Scene::builder().file(r"Saved\report.txt:notes", OLD).rule(change).build();
    let writer = scene.program("writer.exe");
    let handles = [FILE, STREAM].map(|path| writer.create_file(CreateOptions::open(path, ALL)).unwrap());
    writer.write(handles[0], 0, NEW).unwrap();
    writer.write(handles[1], 0, b"THE").unwrap();
    (scene, writer, handles)
}

/// Both are written to once more, and read.
fn go_on(writer: &Process, [file, stream]: [Handle; 2]) {
    assert_eq!(writer.write(file, 0, b"1"), Ok(1));
    assert_eq!(writer.write(stream, 0, b"2"), Ok(1));
    assert_eq!(writer.read(file, 0, 3).unwrap(), [b"1", &NEW[1..3]].concat());
    assert_eq!(writer.read(stream, 0, 3).unwrap(), b"2HE");
}

#[track_caller]
fn assert_lost_none(scene: &Scene) {
    assert!(!intact_saves::seen(&scene.lab).iter().any(|event| event.name() == "HandleLost"));
}

#[test]
fn after_a_flush_each_handle_has_its_stream() {
    let (scene, writer, handles) = begin(|rule| rule);
    writer.flush(handles[0]).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(STREAM, b"THE old version");
    go_on(&writer, handles);
    scene.assert_committed(STREAM, b"THE old version");
    handles.into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(FILE, &[b"1", &NEW[1..]].concat());
    scene.assert_committed(STREAM, b"2HE old version");
    assert_lost_none(&scene);
    scene.end();
}

#[test]
fn after_a_limit_each_handle_has_its_stream() {
    let (scene, writer, handles) = begin(|rule| rule.number("MaxSeconds", 5));
    scene.pass(6_000);
    assert!(scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_))));
    scene.assert_committed(STREAM, b"THE old version");
    go_on(&writer, handles);
    scene.assert_committed(STREAM, b"2HE old version");
    handles.into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(FILE, &[b"1", &NEW[1..]].concat());
    assert_lost_none(&scene);
    scene.end();
}

/// The save began with a name that is gone by then.
#[test]
fn a_file_is_opened_again_by_the_name_that_it_has() {
    const SECOND: &str = r"C:\Saved\second.txt";
    for by_limit in [false, true] {
        let scene = Scene::builder().rule(|rule| rule.number("MaxSeconds", 5)).build();
        let writer = scene.program("writer.exe");
        let other = scene.program("other.exe");
        let linked = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        other.call(move |caller| caller.link(linked, SECOND, false)).unwrap();
        other.close(linked).unwrap();
        let first = scene.write_new(&writer);
        let second = writer.create_file(CreateOptions::open(SECOND, ALL)).unwrap();
        if by_limit {
            scene.pass(6_000);
        } else {
            writer.flush(first).unwrap();
        }
        for handle in [first, second] {
            assert_eq!(writer.write(handle, 0, b"once"), Ok(4));
            writer.close(handle).unwrap();
        }
        scene.assert_committed(FILE, &[b"once", &NEW[4..]].concat());
        assert_lost_none(&scene);
        scene.end();
    }
}

/// What a stream is made in that was not there goes with it.
#[test]
fn a_stream_of_a_new_file_leaves_no_file_when_its_program_is_killed() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let made = CreateOptions::create(r"C:\Saved\fresh.txt:notes", ALL);
    let handle = writer.create_file(made).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    assert_eq!(scene.committed(r"C:\Saved\fresh.txt"), None);
    scene.end();
}

/// A stream that is made in a file that was there goes alone.
#[test]
fn a_new_stream_leaves_its_file_when_its_program_is_killed() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(STREAM, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert_eq!(scene.committed(STREAM), None);
    scene.end();
}

/// Share modes are each stream's own: who shares the file itself with nobody that writes is in no stream's way.
#[test]
fn a_stream_is_made_beside_a_reader_of_its_file_that_lets_nobody_write() {
    let rule = |rule: Rule| rule.strings("Processes", &["writer.exe"]);
    let scene = Scene::builder().rule(rule).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let held = other.create_file(CreateOptions::open(FILE, GENERIC_READ).share(1)).unwrap();
    let handle = writer.create_file(CreateOptions::create(STREAM, GENERIC_WRITE)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    other.close(held).unwrap();
    assert_eq!(scene.committed(STREAM), None);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// A view is of one stream, and its pages are the transaction's: none of its twins can be exchanged.
#[test]
fn while_a_stream_is_mapped_neither_a_flush_of_the_file_nor_a_limit_publishes_anything() {
    for by_limit in [false, true] {
        let (scene, writer, [file, stream]) = begin(|rule| rule.number("MaxSeconds", 5));
        let view = writer.call(move |caller| caller.create_section(stream, true)).unwrap();
        if by_limit {
            scene.pass(6_000);
        } else {
            writer.flush(file).unwrap();
        }
        scene.assert_committed(FILE, OLD);
        scene.assert_committed(STREAM, OLD);
        writer.call(move |caller| {
            caller.write_mapped(&view, 0, b"any").unwrap();
            caller.close_section(view);
        });
        [file, stream].into_iter().for_each(|handle| writer.close(handle).unwrap());
        scene.assert_committed(FILE, NEW);
        scene.assert_committed(STREAM, b"any old version");
        scene.end();
    }
}

/// The name that the save began with means another stream. A handle whose own name cannot be told is lost rather than led
/// there.
#[test]
fn a_stream_whose_name_cannot_be_told_is_not_taken_for_another() {
    let (scene, writer, [file, stream]) = begin(|rule| rule);
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("FltGetFileNameInformationUnsafe", 1, kind);
    writer.flush(file).unwrap();
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    assert!(writer.write(stream, 0, b"wrong").is_err());
    [file, stream].into_iter().for_each(|handle| writer.close(handle).unwrap());
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(STREAM, b"THE old version");
    assert!(intact_saves::seen(&scene.lab).iter().any(|event| event.name() == "HandleLost"));
    scene.end();
}
