//! A file that is merely held open: after five seconds without a modification its save rests, and holds no transaction until
//! something is modified.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder};
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};

const NOT_RESUMED: &str = "when it was modified again no transaction could be had";
const UNMODIFIED: &str = "nothing was modified";
const OTHER: &str = r"C:\Saved\other.txt";
const DELETE: u32 = 0x1_0000;
const FILE_EXECUTE: u32 = 0x20;
/// FileDispositionInformationEx.
const DISPOSITION_EX: u32 = 64;
/// `FILE_DISPOSITION_DELETE | FILE_DISPOSITION_POSIX_SEMANTICS`.
const POSIX_DELETE: [u8; 4] = [3, 0, 0, 0];
/// Longer than a save is transacted in which nothing is modified.
const LONG: i64 = 6_000;

fn builder() -> SceneBuilder {
    Scene::builder().rule(|rule| rule.strings("Processes", &["writer.exe"]))
}

fn shared(program: &Process, path: &str) -> Handle {
    program.create_file(CreateOptions::open(path, GENERIC_READ | GENERIC_WRITE)).unwrap()
}

/// A program that has held its file open for long.
fn held_open(scene: &Scene) -> (Process, Handle) {
    let writer = scene.program("writer.exe");
    let handle = shared(&writer, FILE);
    scene.pass(LONG);
    (writer, handle)
}

/// Whether somebody outside of the save can write to the file without ending anything.
fn is_free(scene: &Scene) -> bool {
    let before = scene.happened();
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_WRITE));
    theirs.map(|theirs| other.close(theirs).unwrap()).is_ok() && scene.happened() == before
}

#[test]
fn it_holds_no_transaction_and_the_first_write_begins_one() {
    for killed in [true, false] {
        let scene = builder().build();
        let (writer, handle) = held_open(&scene);
        scene.assert_happened(&[Happened::Begun, Happened::RolledBack(UNMODIFIED.into())]);
        assert!(is_free(&scene));
        assert_eq!(writer.read(handle, 0, 64).unwrap(), OLD);
        writer.write(handle, 0, NEW).unwrap();
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, OLD);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, NEW);
            assert_eq!(scene.happened()[2..], [Happened::Begun, Happened::Committed]);
        }
        scene.end();
    }
}

#[test]
fn what_was_modified_does_not_rest_by_itself() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.pass(3_600_000);
    scene.assert_committed(FILE, OLD);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert_eq!(scene.happened()[0], Happened::Begun);
    let _ = handle;
    scene.end();
}

#[test]
fn what_was_flushed_and_not_modified_since_rests() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.flush(handle).unwrap();
    scene.pass(LONG);
    assert!(is_free(&scene));
    assert_eq!(scene.happened(), [Happened::Begun, Happened::Checkpointed, Happened::Committed]);
    writer.write(handle, 0, b"MORE").unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn where_nothing_passes_without_a_transaction_it_is_kept() {
    let scene = builder().rule(|rule: Rule| rule.text("OnUnavailable", "Deny")).build();
    let (writer, handle) = held_open(&scene);
    scene.assert_happened(&[Happened::Begun]);
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn whom_share_modes_let_in_meanwhile_ends_nothing_but_the_transaction() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let handle = shared(&writer, FILE);
    let other = scene.program("other.exe");
    let theirs = other.create_file(CreateOptions::open(FILE, GENERIC_WRITE)).unwrap();
    scene.assert_happened(&[Happened::Begun, Happened::RolledBack(UNMODIFIED.into())]);
    other.write(theirs, 0, b"THEIRS").unwrap();
    other.close(theirs).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, &[b"THEIRS", &OLD[6..]].concat());
    scene.end();
}

#[test]
fn what_is_written_through_a_view_is_part_of_the_save() {
    for killed in [true, false] {
        let scene = builder().build();
        let (writer, handle) = held_open(&scene);
        writer.call(move |caller| {
            let view = caller.create_section(handle, true).unwrap();
            caller.write_mapped(&view, 0, b"THE").unwrap();
            caller.flush_mapped(&view).unwrap();
            caller.close_section(view);
        });
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, OLD);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, &[b"THE", &OLD[3..]].concat());
        }
        scene.end();
    }
}

#[test]
fn a_view_that_only_reads_keeps_no_write_out_of_the_save() {
    let scene = builder().build();
    let (writer, handle) = held_open(&scene);
    let view = writer.call(move |caller| caller.create_section(handle, false).unwrap());
    scene.pass(LONG);
    writer.write(handle, 0, NEW).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| {
        assert_eq!(caller.read_mapped(&view, 0, 5).unwrap(), NEW[..5]);
        caller.close_section(view);
    });
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_handle_that_reads_sees_what_is_written_whenever_it_was_opened() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let handle = shared(&writer, FILE);
    let read = || writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    let before = read();
    scene.pass(LONG);
    let meanwhile = read();
    writer.call(move |caller| caller.lock(meanwhile, 100, 5, true, true)).unwrap();
    assert_eq!(writer.read(before, 0, 64).unwrap(), OLD);
    writer.write(handle, 0, NEW).unwrap();
    let after = read();
    for handle in [before, meanwhile, after] {
        assert_eq!(writer.read(handle, 0, NEW.len()).unwrap(), NEW);
    }
    assert_eq!(writer.write(handle, 100, b"x"), Err(Status::FILE_LOCK_CONFLICT), "the reader's lock is held");
    scene.assert_committed(FILE, OLD);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn an_open_that_empties_the_file_is_in_the_save() {
    let scene = builder().build();
    let (writer, _handle) = held_open(&scene);
    let second = writer.create_file(CreateOptions::overwrite_if(FILE, GENERIC_WRITE)).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.write(second, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn all_that_a_process_saves_rests_and_begins_together() {
    for empties in [false, true] {
        let rule = |rule: Rule| rule.text("Scope", "Process");
        let scene = builder().file(r"Saved\other.txt", OLD).rule(rule).build();
        let (writer, handle) = held_open(&scene);
        let options = match empties {
            true => CreateOptions::overwrite_if(OTHER, GENERIC_WRITE),
            false => CreateOptions::open(OTHER, GENERIC_WRITE),
        };
        let second = writer.create_file(options).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        writer.write(second, 0, NEW).unwrap();
        let begun = scene.happened().iter().filter(|event| **event == Happened::Begun).count();
        assert_eq!(begun, 2, "{empties}: {:?}", scene.happened());
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        scene.assert_committed(OTHER, OLD);
        scene.end();
    }
}

/// What somebody deletes while it rests cannot be opened again, so its handles are left as they are.
#[test]
fn a_file_that_is_deleted_meanwhile_stays_with_its_handle() {
    for posix in [false, true] {
        let scene = builder().build();
        let (writer, handle) = held_open(&scene);
        let other = scene.program("other.exe");
        other.call(move |caller| {
            let theirs = caller.create_file(&CreateOptions::open(FILE, DELETE)).unwrap().handle;
            match posix {
                true => caller.set_information(theirs, DISPOSITION_EX, &POSIX_DELETE).unwrap(),
                false => caller.set_delete(theirs, true).unwrap(),
            }
            caller.close(theirs).unwrap();
        });
        assert_eq!(writer.write(handle, 0, NEW), Ok(NEW.len()), "{posix}");
        assert_eq!(writer.read(handle, 0, 64).unwrap(), NEW);
        assert_eq!(scene.happened().last(), Some(&Happened::Demoted(NOT_RESUMED.into())));
        writer.close(handle).unwrap();
        assert_eq!(scene.committed(FILE), None);
        scene.end();
    }
}

#[test]
fn a_file_that_is_renamed_meanwhile_is_saved_by_its_new_name() {
    const MOVED: &str = r"C:\Saved\moved.txt";
    for killed in [true, false] {
        let scene = builder().build();
        let (writer, handle) = held_open(&scene);
        scene.program("other.exe").call(|caller| {
            let theirs = caller.create_file(&CreateOptions::open(FILE, DELETE)).unwrap().handle;
            caller.rename(theirs, "moved.txt", false).unwrap();
            caller.close(theirs).unwrap();
        });
        writer.write(handle, 0, NEW).unwrap();
        scene.assert_committed(MOVED, OLD);
        if killed {
            writer.kill(1);
            scene.assert_committed(MOVED, OLD);
        } else {
            writer.close(handle).unwrap();
            scene.assert_committed(MOVED, NEW);
        }
        scene.end();
    }
}

/// A change of its name begins a transaction as a change of its bytes does.
#[test]
fn its_program_finds_it_by_the_name_that_it_gives_it() {
    const MOVED: &str = r"C:\Saved\moved.txt";
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE | DELETE);
    let handle = writer.create_file(options).unwrap();
    scene.pass(LONG);
    writer.call(move |caller| caller.rename(handle, "moved.txt", false)).unwrap();
    assert_eq!(scene.committed(MOVED), None, "it is part of the save");
    let found =
        writer.call(|caller| caller.create_file(&CreateOptions::open(MOVED, GENERIC_READ)).map(|_| ()));
    assert_eq!(found, Ok(()));
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn nobody_who_waits_for_a_lock_is_sent_away() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let (first, second) = (shared(&writer, FILE), shared(&writer, FILE));
    let lock = move |caller: &Caller<'_>, handle| caller.lock(handle, 0, 4, true, true);
    writer.call(move |caller| lock(caller, first)).unwrap();
    let waiting = writer.submit(move |caller| lock(caller, second));
    scene.pass(LONG);
    assert!(!waiting.is_done());
    writer.call(move |caller| caller.unlock(first, 0, 4)).unwrap();
    assert_eq!(waiting.wait().unwrap(), Ok(()));
    // Nobody waits any more.
    scene.pass(LONG);
    scene.assert_happened(&[
        Happened::Begun,
        Happened::Joined("writer".into()),
        Happened::RolledBack(UNMODIFIED.into()),
    ]);
    assert_eq!(
        writer.call(move |caller| caller.write(first, Offset::At(0), b"x")),
        Err(Status::FILE_LOCK_CONFLICT)
    );
    scene.end();
}

#[test]
fn who_waits_for_a_lock_when_the_first_write_comes_is_told_that_it_was_not_granted() {
    let scene = builder().build();
    let (writer, first) = held_open(&scene);
    let second = shared(&writer, FILE);
    writer.call(move |caller| caller.lock(first, 0, 4, true, true)).unwrap();
    let waiting = writer.submit(move |caller| caller.lock(second, 0, 4, true, true));
    assert_eq!(writer.read(first, 0, 4).unwrap(), OLD[..4]);
    assert!(!waiting.is_done());
    writer.write(first, 0, b"x").unwrap();
    assert_eq!(waiting.wait().unwrap(), Err(Status::LOCK_NOT_GRANTED));
    writer.call(move |caller| caller.unlock(first, 0, 4)).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// A handle with the right to execute cannot be in a transaction that modifies its file (txf-ktm §4.2).
#[test]
fn a_handle_that_no_transaction_takes_keeps_the_program_going_without_one() {
    let scene = builder().build();
    let writer = scene.program("writer.exe");
    let handle = shared(&writer, FILE);
    let executes = writer.create_file(CreateOptions::open(FILE, FILE_EXECUTE | GENERIC_WRITE)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(scene.happened().last(), Some(&Happened::Demoted(NOT_RESUMED.into())));
    writer.close(executes).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}
