//! Disks that fail, transactions that go away, transactions that cannot be had.

use intact_saves::{FILE, Happened, NEW, OLD, Scene};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Offset, Process, Status};
use lab_executive::import::FaultKind;
use lab_volume::access;

const WOUNDED: &str = "a write failed and was not made good";
const GONE: &str = "the transaction had already ended";
const NO_TRANSACTION: &str = "the file cannot be opened in a transaction";
const EXECUTE: u32 = 0x2000_0000;
const ALL: u32 = 0x1000_0000;
const MAXIMUM_ALLOWED: u32 = 0x200_0000;
const WRITE_DAC: u32 = 0x4_0000;
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED: Status = Status(0xC000_00E9);

fn leave_free(scene: &Scene, bytes: Option<u64>) {
    scene.lab.with_volume(|volume| volume.set_free_space(bytes));
}

#[test]
fn a_full_disk_wounds_the_save_and_a_clean_close_rolls_it_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    leave_free(&scene, Some(0));
    assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(WOUNDED);
    scene.end();
}

#[test]
fn a_wound_that_is_written_over_heals() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    leave_free(&scene, Some(0));
    assert_eq!(writer.write(handle, 0, &[7; 100_000]), Err(Status::DISK_FULL));
    leave_free(&scene, None);
    assert_eq!(writer.write(handle, 0, &[8; 100_000]), Ok(100_000));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[8; 100_000]);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_wound_that_is_written_over_in_part_does_not_heal() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    leave_free(&scene, Some(0));
    assert_eq!(writer.write(handle, 0, &[7; 100_000]), Err(Status::DISK_FULL));
    leave_free(&scene, None);
    assert_eq!(writer.write(handle, 0, &[8; 99_999]), Ok(99_999));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(WOUNDED);
    scene.end();
}

/// Where the end of the file was is known, so that what was to go there can be made good, and nothing else is in doubt.
#[test]
fn a_failed_append_heals_where_it_was_to_go_and_nowhere_else() {
    let end = NEW.len() as u64;
    for (start, heals) in [(end, true), (end + 1, false), (0, false)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        leave_free(&scene, Some(0));
        let append = move |caller: &Caller<'_>| caller.write(handle, Offset::Append, &[7; 100_000]);
        assert_eq!(writer.call(append), Err(Status::DISK_FULL));
        leave_free(&scene, None);
        assert_eq!(writer.write(handle, start, &[8; 100_000]), Ok(100_000));
        writer.close(handle).unwrap();
        if heals {
            scene.assert_committed(FILE, &[NEW, &[8; 100_000]].concat());
            scene.assert_one_commit();
        } else {
            scene.assert_committed(FILE, OLD);
            scene.assert_rolled_back(WOUNDED);
        }
        scene.end();
    }
}

#[test]
fn a_wound_that_is_cut_off_heals() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    leave_free(&scene, Some(0));
    assert_eq!(writer.write(handle, 50_000, &[7; 100_000]), Err(Status::DISK_FULL));
    let size = NEW.len() as u64;
    writer.call(move |caller| caller.set_end_of_file(handle, size)).unwrap();
    leave_free(&scene, None);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_read_that_fails_wounds_nothing() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert!(writer.read(handle, 1 << 40, 10).is_err());
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_request_that_the_program_got_wrong_wounds_nothing() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert!(writer.call(move |caller| caller.set_information(handle, 20, &[0; 3])).is_err());
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// Every disk effect of one small save failed in turn: the file is old or new, and what the program was told is true
/// as far as it can be told.
#[test]
fn whichever_disk_effect_fails_the_file_is_whole() {
    let body = vec![9_u8; 20_000];
    for attempt in 1..=40 {
        let scene = Scene::new();
        let next = scene.lab.with_volume(|volume| volume.disk.effect_count()) + attempt;
        scene.lab.with_volume(|volume| volume.disk.faults.failing_effects = vec![next]);
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        let written = writer.write(handle, 0, &body);
        let flushed = writer.flush(handle);
        writer.close(handle).unwrap();
        let committed = scene.committed(FILE).unwrap();
        assert!(committed == OLD || committed == body, "effect {attempt}");
        if written.is_err() {
            assert_eq!(committed, OLD, "effect {attempt}: {written:?} {flushed:?}");
        }
        let new = scene.happened().contains(&Happened::Committed);
        assert_eq!(committed == body, new, "effect {attempt}");
        scene.lab.with_volume(|volume| volume.disk.faults.failing_effects.clear());
        scene.end();
    }
}

/// One small save that takes whatever comes.
fn save(writer: &Process) -> Vec<Status> {
    writer.call(|caller| {
        let mut failures = Vec::new();
        let mut note = |result: Result<(), Status>| failures.extend(result.err());
        match caller.create_file(&CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE)) {
            Ok(created) => {
                let handle = created.handle;
                for at in 0..4 {
                    note(caller.write(handle, lab::Offset::At(at * 10), &[9; 10]).map(|_| ()));
                    note(caller.read(handle, Some(at * 10), 10).map(|_| ()));
                }
                note(caller.set_end_of_file(handle, 40));
                note(caller.information(handle).map(|_| ()));
                note(caller.flush(handle));
                note(caller.close(handle));
            }
            Err(status) => note(Err(status)),
        }
        failures
    })
}

/// An administrator, a full log or a timeout may end the transaction between any two operations on it (txf-ktm §1.5).
#[test]
fn whenever_the_transaction_is_aborted_the_old_version_stays_and_the_program_is_told() {
    let operations = {
        let scene = Scene::new();
        assert_eq!(save(&scene.program("writer.exe")), []);
        scene.assert_committed(FILE, &[9; 40]);
        scene.lab.with_volume(|volume| volume.transacted_operations())
    };
    assert!(operations > 10, "{operations}");
    for boundary in 0..operations {
        let scene = Scene::new();
        scene.lab.with_volume(|volume| volume.abort_after_operations(boundary));
        let failures = save(&scene.program("writer.exe"));
        let known = [UNEXPECTED];
        assert!(
            failures.iter().all(|status| known.contains(status)),
            "boundary {boundary}: {failures:?}, {:?}",
            scene.happened()
        );
        let passed = scene.happened().iter().any(|event| matches!(event, Happened::PassedThrough(_)));
        if passed || scene.happened().is_empty() {
            // The abort hit the open: the program worked without a transaction, and was told of no failure.
            scene.assert_committed(FILE, &[9; 40]);
        } else if scene.happened().contains(&Happened::Checkpointed) {
            // The abort hit what came after the flush.
            scene.assert_committed(FILE, &[9; 40]);
        } else {
            scene.assert_committed(FILE, OLD);
            scene.assert_rolled_back(GONE);
        }
        scene.end();
    }
}

#[test]
fn after_an_abort_nothing_works_on_the_handle_but_closing_it() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.lab.with_volume(|volume| volume.abort_after_operations(0));
    assert_eq!(writer.write(handle, 0, b"x"), Err(UNEXPECTED));
    assert_eq!(writer.read(handle, 0, 1), Err(UNEXPECTED));
    assert_eq!(writer.flush(handle), Err(UNEXPECTED));
    assert_eq!(writer.call(move |caller| caller.set_end_of_file(handle, 0)), Err(UNEXPECTED));
    assert_eq!(writer.call(move |caller| caller.information(handle)).err(), Some(UNEXPECTED));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(GONE);
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn where_no_transaction_can_be_had_the_open_passes_through_and_says_why() {
    let scene = Scene::builder().lab(|lab| lab.switches(|s| s.resource_manager_active = false)).build();
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.assert_happened(&[Happened::PassedThrough(NO_TRANSACTION.into())]);
    scene.end();
}

#[test]
fn a_new_file_without_a_transaction_is_an_ordinary_new_file() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    let scene = Scene::builder().lab(|lab| lab.switches(|s| s.resource_manager_active = false)).build();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, GENERIC_WRITE)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FRESH, NEW);
    assert!(scene.happened().iter().all(|event| matches!(event, Happened::PassedThrough(_))));
    assert!(!scene.happened().is_empty());
    scene.end();
}

#[test]
fn a_file_that_somebody_else_has_open_for_writing_passes_through_and_says_why() {
    for access in [GENERIC_WRITE, DELETE] {
        let rule = |rule: intact_saves::Rule| rule.strings("Processes", &["writer.exe"]);
        let scene = Scene::builder().rule(rule).build();
        let outsider = scene.program("outsider.exe");
        outsider.create_file(CreateOptions::open(FILE, access)).unwrap();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        writer.kill(1);
        scene.assert_committed(FILE, NEW);
        scene.assert_happened(&[Happened::PassedThrough(NO_TRANSACTION.into())]);
        scene.end();
    }
}

#[test]
fn statuses_of_transactions_never_reach_a_program() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    scene.write_new(&writer);
    let accesses = [
        GENERIC_WRITE,
        DELETE,
        access::WRITE_ATTRIBUTES,
        GENERIC_READ | GENERIC_WRITE,
        GENERIC_READ | EXECUTE,
        ALL,
        MAXIMUM_ALLOWED,
        WRITE_DAC,
    ];
    for access in accesses {
        for disposition in [1, 3, 4, 5, 0] {
            let options = CreateOptions::new(lab::Name::Path(FILE.into()), access, disposition);
            if let Err(status) = other.create_file(options) {
                assert_ne!(status.0 >> 16, 0xC019, "access {access:#x}, disposition {disposition}: {status}");
            }
        }
    }
    scene.exit_all();
    scene.end();
}

/// What KTM itself refuses is told as such.
#[test]
fn where_no_transaction_can_be_begun_the_open_passes_through_and_says_why() {
    const NOT_ONLINE: i32 = 0xC019_0052_u32.cast_signed();
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    scene.lab.executive().calls.surprise("ZwCreateTransaction", 0, FaultKind::Status(NOT_ONLINE));
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.assert_happened(&[Happened::PassedThrough("no transaction could be begun".into())]);
    scene.end();
}

/// Whichever call finds out, the first word of it is in the event.
#[test]
fn whoever_finds_that_the_transaction_is_gone_is_quoted() {
    type Call = fn(&Caller<'_>, lab::Handle) -> Result<(), Status>;
    let calls: [(&str, Call); 5] = [
        ("flush", |caller, handle| caller.flush(handle)),
        ("write", |caller, handle| caller.write(handle, Offset::At(0), b"x").map(|_| ())),
        ("read", |caller, handle| caller.read(handle, Some(0), 1).map(|_| ())),
        ("size", |caller, handle| caller.set_end_of_file(handle, 3)),
        ("open", |caller, _| {
            let second = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE))?;
            caller.close(second.handle)
        }),
    ];
    for (name, call) in calls {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        scene.lab.with_volume(|volume| volume.abort_after_operations(0));
        assert_eq!(writer.call(move |caller| call(caller, handle)), Err(UNEXPECTED), "{name}");
        writer.close(handle).unwrap();
        scene.assert_rolled_back(GONE);
        let events = intact_saves::seen(&scene.lab);
        let event = events.iter().find(|event| event.name() == "SaveRolledBack").unwrap();
        assert_eq!(event.number("Status") >> 16, 0xC019, "{name}: {:#x}", event.number("Status"));
        scene.end();
    }
}
