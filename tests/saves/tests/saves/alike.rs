//! Answers that generated programs found to differ from those without Intact (`cargo xtask transparency`).

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, READ_ATTRIBUTES, Status};
use lab_executive::import::FaultKind;
use lab_volume::access;

const FRESH: &str = r"C:\Saved\fresh.txt";
const STREAM: &str = r"C:\Saved\report.txt:notes";
const MAXIMUM_ALLOWED: u32 = 0x200_0000;
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();
const READ_ONLY: u32 = 0x1;
const ARCHIVE: u32 = 0x20;
const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
/// FILE_GENERIC_READ, and DELETE, which the folder grants anyway.
const READS: u32 = 0x13_0089;
const POSITION: u32 = 14;
const ACCESS: u32 = 8;
const VALID_DATA_LENGTH: u32 = 39;

fn read_only_for_all() -> Vec<u8> {
    lab_volume::descriptor(LOCAL_SYSTEM, &[lab_volume::Ace { allow: true, sid: EVERYONE, mask: READS }])
        .to_vec()
}

#[test]
fn a_valid_data_length_is_refused_and_wounds_nothing() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let set = move |caller: &lab::Caller<'_>| {
        caller.set_information(handle, VALID_DATA_LENGTH, &(NEW.len() as u64).to_le_bytes())
    };
    assert_eq!(writer.call(set), Err(Status::INVALID_PARAMETER), "a status that programs know");
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn what_a_save_has_made_of_a_file_decides_about_its_next_open() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let overwrite = CreateOptions::overwrite_if(FILE, GENERIC_WRITE).attributes(READ_ONLY);
    let first = writer.create_file(overwrite).unwrap();
    assert_eq!(
        writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE)),
        Err(Status::ACCESS_DENIED),
        "it is read-only in the save"
    );
    writer.close(first).unwrap();
    scene.end();
}

#[test]
fn who_makes_a_file_is_allowed_the_most_that_its_security_allows() {
    for bare in [true, false] {
        let builder = Scene::builder();
        let scene = if bare { builder.bare().build() } else { builder.build() };
        let maker = scene.program("maker.exe");
        let mut options = CreateOptions::create(FRESH, MAXIMUM_ALLOWED | access::WRITE_DATA);
        options.security = Some(read_only_for_all());
        let handle = maker.create_file(options).unwrap();
        let granted = maker.call(move |caller| caller.query_information(handle, ACCESS, 4)).unwrap();
        let granted = u32::from_le_bytes(granted.try_into().unwrap());
        assert_eq!(granted, READS | access::WRITE_DATA, "bare: {bare}");
        maker.close(handle).unwrap();
        if bare {
            scene.exit_all();
        } else {
            scene.end();
        }
    }
}

#[test]
fn a_file_made_for_the_most_that_is_allowed_is_saved() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    let handle = maker.create_file(CreateOptions::create(FRESH, MAXIMUM_ALLOWED)).unwrap();
    maker.write(handle, 0, NEW).unwrap();
    maker.kill(1);
    assert_eq!(scene.committed(FRESH), None);
    scene.assert_rolled_back("the process died with the file open");
    scene.end();
}

#[test]
fn a_create_that_fails_because_its_transaction_ended_leaves_no_file() {
    for operations in 0..8 {
        let scene = Scene::new();
        let maker = scene.program("maker.exe");
        scene.lab.with_volume(|volume| volume.abort_after_operations(operations));
        let made = maker.create_file(CreateOptions::create(FRESH, GENERIC_WRITE).attributes(READ_ONLY));
        if made.is_err() {
            assert_eq!(scene.committed(FRESH), None, "aborted after {operations} operations: {made:?}");
        }
        maker.kill(1);
        scene.exit_all();
        let report = scene.lab.unload();
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn a_new_read_only_file_is_to_be_archived_like_any_other() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    let handle =
        maker.create_file(CreateOptions::create(FRESH, GENERIC_WRITE).attributes(READ_ONLY)).unwrap();
    maker.close(handle).unwrap();
    let attributes = scene.lab.with_volume(|volume| volume.tree()[r"Saved\fresh.txt"].attributes);
    assert_eq!(attributes, READ_ONLY | ARCHIVE);
    scene.end();
}

#[test]
fn the_position_of_an_asynchronous_handle_is_what_was_set() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).asynchronous();
    let handle = writer.create_file(options).unwrap();
    let position = writer.call(move |caller| {
        caller.set_information(handle, POSITION, &7u64.to_le_bytes())?;
        caller.query_information(handle, POSITION, 8)
    });
    assert_eq!(position.unwrap(), 7u64.to_le_bytes());
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn no_handle_is_told_of_a_transaction() {
    for after in [false, true] {
        let scene = Scene::new();
        let program = scene.program("program.exe");
        let look = CreateOptions::open(FILE, READ_ATTRIBUTES);
        // Opened before the save, and while it lives.
        let early = program.create_file(look.clone()).unwrap();
        let writer = scene.write_new(&program);
        let handle = if after { program.create_file(look).unwrap() } else { early };
        let linked = program.call(move |caller| caller.link(handle, r"C:\Saved\second.txt", false));
        // One that was opened while the save lives sees it, and so its link is part of it.
        let expected = if after { Ok(()) } else { Err(Status::SHARING_VIOLATION) };
        assert_eq!(linked, expected, "after: {after}");
        assert_eq!(scene.committed(r"C:\Saved\second.txt"), None);
        program.close(writer).unwrap();
        scene.assert_committed(FILE, NEW);
        assert_eq!(scene.committed(r"C:\Saved\second.txt").is_some(), after);
        program.exit(0);
        scene.end();
    }
}

#[test]
fn a_stream_is_added_only_by_whom_the_file_allows_it() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    maker.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, 0x4_0000)).unwrap().handle;
        caller.set_security(handle, 4, &read_only_for_all()).unwrap();
        caller.close(handle).unwrap();
    });
    let other = scene.program("other.exe");
    let add = CreateOptions::create(STREAM, GENERIC_WRITE);
    assert_eq!(other.create_file(add), Err(Status::ACCESS_DENIED));
    assert_eq!(scene.committed(STREAM), None);
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn a_new_stream_leaves_the_attributes_of_its_file_alone() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let add = CreateOptions::create(STREAM, GENERIC_WRITE).attributes(READ_ONLY);
    let handle = writer.create_file(add).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(STREAM, NEW);
    scene.assert_committed(FILE, OLD);
    let attributes = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].attributes);
    assert_eq!(attributes & READ_ONLY, 0);
    let again = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
    writer.close(again).unwrap();
    scene.end();
}

/// The most that is allowed may be no right to write: then there is nothing to save, and nobody is kept out.
#[test]
fn a_file_made_for_the_most_that_is_allowed_and_is_only_read_is_no_save() {
    let scene = Scene::new();
    let (maker, other) = (scene.program("maker.exe"), scene.program("other.exe"));
    let mut options = CreateOptions::create(FRESH, MAXIMUM_ALLOWED).share(7);
    options.security = Some(read_only_for_all());
    maker.create_file(options).unwrap();
    scene.assert_happened(&[]);
    assert_eq!(scene.committed(FRESH), Some(Vec::new()));
    let theirs = other.create_file(CreateOptions::open(FRESH, lab::GENERIC_READ).share(7)).unwrap();
    other.close(theirs).unwrap();
    maker.kill(1);
    assert_eq!(scene.committed(FRESH), Some(Vec::new()), "as without Intact");
    scene.assert_happened(&[]);
    scene.end();
}

/// What only reads is in no save, and what it is told is not that it goes on without one.
#[test]
fn a_file_made_to_be_read_that_cannot_be_opened_is_not_there() {
    let scene = Scene::new();
    let maker = scene.program("maker.exe");
    let mut options = CreateOptions::create(FRESH, MAXIMUM_ALLOWED);
    options.security = Some(read_only_for_all());
    // After the question what is allowed.
    scene.lab.executive().calls.surprise("FltCreateFileEx2", 1, FaultKind::Status(NO_RESOURCES));
    assert_eq!(maker.create_file(options), Err(Status::INSUFFICIENT_RESOURCES));
    assert_eq!(scene.committed(FRESH), None);
    scene.assert_happened(&[]);
    scene.end();
}
