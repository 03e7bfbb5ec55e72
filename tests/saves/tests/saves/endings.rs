//! How a save ends.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE};
use lab_executive::import::FaultKind;

const DIED: &str = "the process died with the file open";
const UNMODIFIED: &str = "nothing was modified";
/// STATUS_ACCESS_VIOLATION, as a crash leaves it.
const CRASHED: i32 = 0xC000_0005_u32.cast_signed();

#[test]
fn a_clean_close_commits() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_killed_or_crashed_writer_leaves_the_old_file() {
    for status in [1, CRASHED] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        writer.kill(status);
        scene.assert_committed(FILE, OLD);
        scene.assert_rolled_back(DIED);
        scene.end();
    }
}

#[test]
fn a_writer_that_exits_with_success_and_the_file_open_has_finished() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.exit(0);
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_writer_that_exits_with_an_error_and_the_file_open_has_not() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.exit(3);
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(DIED);
    scene.end();
}

#[test]
fn what_was_closed_before_the_end_of_the_process_stays() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn on_exit_decides_about_handles_that_the_system_closes() {
    let cases = [("Commit", 1, NEW), ("Commit", CRASHED, NEW), ("Rollback", 0, OLD), ("Rollback", 1, OLD)];
    for (on_exit, status, expected) in cases {
        let scene = Scene::builder().rule(|rule| rule.text("OnExit", on_exit)).build();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        writer.kill(status);
        scene.assert_committed(FILE, expected);
        scene.end();
    }
}

#[test]
fn on_exit_rollback_has_nothing_to_say_about_a_clean_close() {
    let scene = Scene::builder().rule(|rule| rule.text("OnExit", "Rollback")).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_save_that_modified_nothing_is_rolled_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    assert_eq!(writer.read(handle, 0, 100).unwrap(), OLD);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(UNMODIFIED);
    scene.end();
}

#[test]
fn the_last_writing_handle_decides() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let first = scene.write_new(&writer);
    let second = scene.open_file(&writer);
    writer.close(first).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.close(second).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_happened(&[Happened::Begun, Happened::Joined("writer".into()), Happened::Committed]);
    scene.end();
}

#[test]
fn a_process_that_dies_with_one_of_its_handles_open_takes_all_of_the_save_with_it() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let first = scene.write_new(&writer);
    scene.open_file(&writer);
    writer.close(first).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_reading_handle_does_not_delay_the_end() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(writer.read(reading, 0, 100).unwrap(), NEW);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    assert_eq!(writer.read(reading, 0, 100).unwrap(), NEW);
    writer.close(reading).unwrap();
    scene.assert_happened(&[Happened::Begun, Happened::Joined("reader".into()), Happened::Committed]);
    scene.end();
}

#[test]
fn after_a_rollback_a_reading_handle_sees_the_old_version_again() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert!(writer.write(handle, 1 << 20, &[7; 1 << 16]).is_err());
    assert_eq!(writer.read(reading, 0, 100).unwrap(), NEW);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    assert_eq!(writer.read(reading, 0, 100).unwrap(), OLD);
    scene.end();
}

#[test]
fn a_duplicated_handle_keeps_the_save_alive_in_the_other_process() {
    let scene = Scene::new();
    let (writer, heir) = (scene.program("writer.exe"), scene.program("heir.exe"));
    let handle = scene.write_new(&writer);
    let copy = writer.duplicate(handle, &heir).unwrap();
    writer.exit(0);
    scene.assert_committed(FILE, OLD);
    assert_eq!(heir.read(copy, 0, 100).unwrap(), NEW);
    assert_eq!(heir.write(copy, 0, b"A"), Ok(1));
    heir.close(copy).unwrap();
    let mut expected = NEW.to_vec();
    expected[0] = b'A';
    scene.assert_committed(FILE, &expected);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn who_dies_with_the_last_duplicate_decides() {
    let scene = Scene::new();
    let (writer, heir) = (scene.program("writer.exe"), scene.program("heir.exe"));
    let handle = scene.write_new(&writer);
    writer.duplicate(handle, &heir).unwrap();
    writer.close(handle).unwrap();
    heir.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(DIED);
    scene.end();
}

#[test]
fn a_writer_killed_while_its_writes_are_under_way_leaves_the_old_file() {
    for seed in 1..=20 {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        let writes: Vec<_> = (0..4)
            .map(|part: u64| {
                writer
                    .submit(move |caller| caller.write(handle, lab::Offset::At(part * 50_000), &[7; 50_000]))
            })
            .collect();
        writer.kill(1);
        assert!(writes.iter().all(lab_pending_is_done), "seed {seed}");
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

fn lab_pending_is_done<R: 'static>(pending: &lab::Pending<R>) -> bool {
    pending.is_done()
}

#[test]
fn a_new_file_is_there_after_a_close_and_gone_after_a_kill() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    for (killed, expected) in [(false, Some(NEW.to_vec())), (true, None)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::create(FRESH, GENERIC_WRITE)).unwrap();
        assert_eq!(writer.write(handle, 0, NEW), Ok(NEW.len()));
        assert_eq!(scene.committed(FRESH), Some(Vec::new()), "the placeholder");
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        assert_eq!(scene.committed(FRESH), expected);
        scene.end();
    }
}

#[test]
fn each_file_of_a_process_is_a_save_of_its_own() {
    const OTHER: &str = r"C:\Saved\other.txt";
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let other = writer.create_file(CreateOptions::open(OTHER, GENERIC_WRITE)).unwrap();
    writer.write(other, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.assert_committed(OTHER, OLD);
    scene.end();
}

#[test]
fn two_processes_save_two_files_independently() {
    let rule = |rule: Rule| rule.strings("Processes", &["*.exe"]);
    let scene = Scene::builder().rule(rule).file(r"Saved\other.txt", OLD).build();
    let (one, two) = (scene.program("one.exe"), scene.program("two.exe"));
    scene.write_new(&one);
    let other = two.create_file(CreateOptions::open(r"C:\Saved\other.txt", GENERIC_WRITE)).unwrap();
    two.write(other, 0, NEW).unwrap();
    one.kill(1);
    two.close(other).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(r"C:\Saved\other.txt", NEW);
    scene.end();
}

/// What a rollback removes is the stream that the save made, never the file, whichever handle is the last one.
#[test]
fn a_program_killed_after_it_made_a_stream_leaves_the_file() {
    for stream_first in [true, false] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let stream = format!("{FILE}:made");
        let make = |path: &str| writer.create_file(CreateOptions::open_if(path, GENERIC_WRITE)).unwrap();
        let made = make(&stream);
        // In the save, too, and the last one to be closed, or the first.
        let file = make(FILE);
        if stream_first {
            writer.close(made).unwrap();
        } else {
            writer.close(file).unwrap();
        }
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        let joined = Happened::Joined("writer".into());
        scene.assert_happened(&[Happened::Begun, joined, Happened::RolledBack(DIED.into())]);
        assert_eq!(scene.committed(&stream), None, "stream first: {stream_first}");
        scene.end();
    }
}

/// What is cached is written before anything is decided, so that a disk that fails then has a reason of its own.
#[test]
fn a_last_flush_that_fails_is_the_reason() {
    const DISK_FULL: i32 = 0xC000_007F_u32.cast_signed();
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.lab.executive().calls.surprise("FltFlushBuffers", 0, FaultKind::Status(DISK_FULL));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back("the last flush failed");
    let events = intact_saves::seen(&scene.lab);
    let event = events.iter().find(|event| event.name() == "SaveRolledBack").unwrap();
    assert_eq!(event.number("Status"), u64::from(DISK_FULL.cast_unsigned()));
    scene.end();
}

/// 259 is the exit status of what has not ended: whoever ends with it has ended all the same.
#[test]
fn a_program_that_ends_with_the_status_of_the_living_has_not_closed_its_file() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(0x103);
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back("the process died with the file open");
    scene.end();
}
