//! Others who open a file that is being saved, and whom its handles' share modes would have let in without Intact.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Process, Status};

const LET_IN: &str = "somebody else opened the file whom its share modes let in";
const STREAM: &str = r"C:\Saved\report.txt:extra";
const OTHER: &str = r"C:\Saved\other.txt";
const GENERIC_EXECUTE: u32 = 0x2000_0000;
const FILE_WRITE_ATTRIBUTES: u32 = 0x100;
const DELETE_ON_CLOSE: u32 = 0x1000;
const FILE_CREATE: u32 = 2;

fn open(program: &Process, access: u32, share: u32) -> Result<Handle, Status> {
    program.create_file(CreateOptions::open(FILE, access).share(share))
}

/// A program that has written the new version, and shares its file so.
fn saving(scene: &Scene, share: u32) -> (Process, Handle) {
    let writer = scene.program("writer.exe");
    let handle = open(&writer, GENERIC_READ | GENERIC_WRITE, share).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    (writer, handle)
}

fn demoted(scene: &Scene) -> bool {
    scene.happened().contains(&Happened::Demoted(LET_IN.into()))
}

#[test]
fn who_is_let_in_finds_what_is_there_and_both_write_on() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let other = scene.program("other.exe");
    let theirs = open(&other, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    assert!(demoted(&scene));
    scene.assert_committed(FILE, NEW);
    other.write(theirs, 0, b"THEIRS").unwrap();
    writer.write(handle, 6, b"OURS").unwrap();
    other.close(theirs).unwrap();
    // Without a transaction what is written is there, whatever becomes of the program.
    writer.kill(1);
    scene.assert_committed(FILE, &[b"THEIRSOURS", &NEW[10..]].concat());
    scene.end();
}

#[test]
fn every_right_that_a_transaction_keeps_out_is_let_in() {
    for access in [GENERIC_WRITE, DELETE, FILE_WRITE_ATTRIBUTES, GENERIC_EXECUTE, 0x0004_0000] {
        let scene = Scene::new();
        let (writer, handle) = saving(&scene, 7);
        let other = scene.program("other.exe");
        let theirs = open(&other, access, 7);
        assert!(theirs.is_ok() && demoted(&scene), "{access:#x}: {theirs:?}");
        other.close(theirs.unwrap()).unwrap();
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

#[test]
fn who_would_have_been_kept_out_is_kept_out_and_the_save_stays_one() {
    // What the program shares; what the other asks for, and shares.
    for (share, access, theirs) in
        [(1, GENERIC_WRITE, 7), (3, DELETE, 7), (7, GENERIC_WRITE, 1), (4, GENERIC_EXECUTE, 7)]
    {
        let scene = Scene::new();
        let (writer, _) = saving(&scene, share);
        let other = scene.program("other.exe");
        let found = open(&other, access, theirs);
        assert_eq!(found, Err(Status::SHARING_VIOLATION), "{share} {access:#x} {theirs}");
        assert!(!demoted(&scene));
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

#[test]
fn who_has_not_the_right_ends_no_save() {
    const SOMEBODY: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0];
    const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    let scene = Scene::new();
    scene.program("setup.exe").call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, 0x4_0000)).unwrap().handle;
        let system_writes = lab_volume::Ace { allow: true, sid: LOCAL_SYSTEM, mask: 0x1F_01FF };
        let descriptor = lab_volume::descriptor(LOCAL_SYSTEM, &[system_writes]);
        caller.set_security(handle, 4, &descriptor).unwrap();
        caller.close(handle).unwrap();
    });
    let writer = scene.lab.process_of("writer.exe", LOCAL_SYSTEM.to_vec());
    let handle = open(&writer, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let other = scene.lab.process_of("other.exe", SOMEBODY.to_vec());
    assert_eq!(open(&other, GENERIC_WRITE, 7), Err(Status::ACCESS_DENIED));
    assert!(!demoted(&scene));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_save_that_could_not_commit_keeps_them_out() {
    let scene = Scene::builder().lab(|lab| lab.disk_full_after(64 << 10)).build();
    let (writer, handle) = saving(&scene, 7);
    let full = writer.write(handle, 0, &vec![7; 1 << 20]);
    assert_eq!(full, Err(Status::DISK_FULL));
    let other = scene.program("other.exe");
    assert_eq!(open(&other, GENERIC_WRITE, 7), Err(Status::SHARING_VIOLATION));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_save_that_has_given_a_name_or_is_mapped_keeps_them_out() {
    for mapped in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = open(&writer, GENERIC_READ | GENERIC_WRITE | DELETE, 7).unwrap();
        let view = writer.call(move |caller| {
            caller.write(handle, lab::Offset::At(0), NEW).unwrap();
            if mapped {
                return Some(caller.create_section(handle, true).unwrap());
            }
            caller.rename(handle, "moved.txt", false).unwrap();
            None
        });
        let other = scene.program("other.exe");
        assert_eq!(open(&other, GENERIC_WRITE, 7), Err(Status::SHARING_VIOLATION), "{mapped}");
        writer.call(move |caller| {
            if let Some(view) = view {
                caller.close_section(view);
            }
            caller.close(handle).unwrap();
        });
        scene.assert_committed(if mapped { FILE } else { r"C:\Saved\moved.txt" }, NEW);
        scene.end();
    }
}

#[test]
fn a_file_that_is_merely_held_open_is_in_nobodys_way() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = open(&writer, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    let other = scene.program("other.exe");
    let theirs = open(&other, GENERIC_WRITE, 7).unwrap();
    other.write(theirs, 0, b"THEIRS").unwrap();
    other.close(theirs).unwrap();
    writer.write(handle, 6, b"OURS").unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"THEIRSOURS", &OLD[10..]].concat());
    scene.end();
}

#[test]
fn a_program_that_executes_or_deletes_on_close_what_it_saves_is_let_in_too() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let executes = open(&writer, GENERIC_READ | GENERIC_EXECUTE, 7).unwrap();
    assert!(demoted(&scene));
    writer.close(executes).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();

    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let deletes = CreateOptions::open(FILE, DELETE).share(7).options(0x20 | DELETE_ON_CLOSE);
    let deletes = writer.create_file(deletes).unwrap();
    writer.close(deletes).unwrap();
    writer.close(handle).unwrap();
    assert_eq!(scene.committed(FILE), None);
    scene.end();
}

#[test]
fn streams_have_share_modes_of_their_own() {
    let scene = Scene::builder().file(r"Saved\report.txt:extra", b"extra").build();
    let (writer, handle) = saving(&scene, 1);
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(STREAM, GENERIC_WRITE).share(1)).unwrap();
    assert!(demoted(&scene));
    other.close(theirs).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn readers_find_the_old_version_and_end_nothing() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let other = scene.program("other.exe");
    assert_eq!(other.contents(FILE).unwrap(), OLD);
    assert!(!demoted(&scene));
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn who_wants_a_closed_file_of_a_process_that_writes_another_one_is_let_in() {
    let rule = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer.exe"]);
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).rule(rule).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let closed = open(&writer, GENERIC_WRITE, 7).unwrap();
    writer.write(closed, 0, NEW).unwrap();
    let handle = writer.create_file(CreateOptions::open(OTHER, GENERIC_WRITE).share(0)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.close(closed).unwrap();
    let theirs = open(&other, GENERIC_WRITE, 7).unwrap();
    assert!(demoted(&scene));
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(OTHER, NEW);
    other.close(theirs).unwrap();
    // That one is still written, and not shared.
    let kept = other.create_file(CreateOptions::open(OTHER, GENERIC_WRITE).share(7));
    assert_eq!(kept, Err(Status::SHARING_VIOLATION));
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn a_stream_made_after_somebody_was_let_in_stays() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let other = scene.program("other.exe");
    let theirs = open(&other, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    assert!(demoted(&scene));
    other.close(theirs).unwrap();
    let mut made = CreateOptions::open(STREAM, GENERIC_WRITE);
    made.disposition = FILE_CREATE;
    let stream = writer.create_file(made).unwrap();
    writer.write(stream, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    writer.close(stream).unwrap();
    scene.assert_committed(r"Saved\report.txt:extra", NEW);
    scene.end();
}

#[test]
fn who_would_make_a_file_that_is_there_ends_no_save() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let other = scene.program("other.exe");
    let mut makes = CreateOptions::open(FILE, GENERIC_WRITE);
    makes.disposition = FILE_CREATE;
    assert_eq!(other.create_file(makes), Err(Status::OBJECT_NAME_COLLISION));
    assert!(!demoted(&scene));
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn who_is_kept_out_by_share_modes_and_wants_to_execute_ends_no_save() {
    let scene = Scene::new();
    let (writer, _) = saving(&scene, 0);
    assert_eq!(open(&writer, GENERIC_EXECUTE | GENERIC_WRITE, 7), Err(Status::SHARING_VIOLATION));
    assert!(!demoted(&scene));
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_reader_of_a_save_that_is_over_is_told_of_the_next_one_in_words_that_it_knows() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let first = open(&writer, GENERIC_WRITE, 7).unwrap();
    let reader = open(&writer, 0x80, 7).unwrap();
    writer.close(first).unwrap();
    let second = open(&writer, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    writer.write(second, 0, NEW).unwrap();
    let linked = writer.call(move |caller| caller.link(reader, OTHER, false));
    assert_eq!(linked, Err(Status::SHARING_VIOLATION));
    writer.close(reader).unwrap();
    writer.close(second).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// An exchange of the twins before makes no difference.
#[test]
fn who_comes_after_a_flush_is_let_in_too() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    writer.flush(handle).unwrap();
    writer.write(handle, 0, b"A").unwrap();
    let other = scene.program("other.exe");
    let theirs = open(&other, GENERIC_WRITE, 7).unwrap();
    assert!(demoted(&scene));
    other.close(theirs).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"A", &NEW[1..]].concat());
    scene.end();
}

#[test]
fn a_program_that_executes_what_it_saves_goes_on_with_both_handles() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let both = open(&writer, GENERIC_WRITE | GENERIC_EXECUTE, 7).unwrap();
    assert!(demoted(&scene));
    writer.write(both, 0, b"A").unwrap();
    writer.write(handle, 1, b"B").unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, &[b"AB", &NEW[2..]].concat());
    scene.end();
}

/// A handle that reads goes back to its own file, and everything that it had open in the save goes with that.
#[test]
fn a_reading_handle_goes_on_with_its_own_file() {
    let scene = Scene::new();
    let (writer, handle) = saving(&scene, 7);
    let reader = open(&writer, GENERIC_READ, 7).unwrap();
    assert_eq!(writer.read(reader, 0, 64).unwrap(), NEW);
    writer.call(move |caller| caller.lock(reader, 0, 1, false, true)).unwrap();
    let other = scene.program("other.exe");
    let theirs = open(&other, GENERIC_READ | GENERIC_WRITE, 7).unwrap();
    assert!(demoted(&scene));
    assert_eq!(other.write(theirs, 2, b"THEIRS"), Ok(6));
    let now = [&NEW[..2], b"THEIRS", &NEW[8..]].concat();
    assert_eq!(writer.read(reader, 0, 64).unwrap(), now);
    writer.close(reader).unwrap();
    other.close(theirs).unwrap();
    writer.close(handle).unwrap();
    // Nobody has it open any more, so nobody is in the way of somebody who shares nothing.
    let alone = open(&other, GENERIC_READ, 0).unwrap();
    other.close(alone).unwrap();
    scene.assert_committed(FILE, &now);
    scene.end();
}

/// Each of the handles has to let them in.
#[test]
fn who_is_let_in_by_one_handle_only_is_kept_out() {
    let scene = Scene::new();
    let (writer, first) = saving(&scene, 7);
    let second = open(&writer, GENERIC_WRITE, 3).unwrap();
    let other = scene.program("other.exe");
    assert_eq!(open(&other, DELETE, 7), Err(Status::SHARING_VIOLATION));
    assert!(!demoted(&scene));
    writer.close(second).unwrap();
    let theirs = open(&other, DELETE, 7).unwrap();
    assert!(demoted(&scene));
    other.close(theirs).unwrap();
    writer.close(first).unwrap();
    scene.end();
}
