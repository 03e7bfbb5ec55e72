//! What TxF may do to a save: its resource manager stops or is started anew, its log is full (txf-ktm §4.6, §4.12).

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, VOLUME_FILE};
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Status};
use lab_volume::Volume;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const UNEXPECTED: Status = Status(0xC000_00E9);
const GONE: &str = "the transaction had already ended";
const NO_TRANSACTION: &str = "the file cannot be opened in a transaction";
const SETTLED: i64 = 2_100;

/// What stopped managers may answer: unknown.
const ANSWERS: [Status; 3] = [Status::RM_NOT_ACTIVE, Status::HANDLE_NO_LONGER_VALID, Status::EXPIRED_HANDLE];

type Step = fn(&Caller<'_>, Handle) -> Result<(), Status>;

/// What a program does to its file, step by step; it closes it afterwards.
const STEPS: [Step; 6] = [
    |caller, handle| caller.write(handle, Offset::At(0), NEW).map(drop),
    |caller, handle| caller.read(handle, Some(0), 10).map(drop),
    |caller, handle| caller.set_end_of_file(handle, NEW.len() as u64),
    |caller, handle| caller.information(handle).map(drop),
    |caller, handle| caller.lock(handle, 0, 10, true, false),
    |caller, handle| caller.flush(handle),
];

/// A manager that goes between any two steps takes the save with it; what the program is told it knows.
#[test]
fn whenever_the_resource_manager_stops_or_restarts_the_old_version_stays_and_the_program_is_told() {
    let ways: [fn(&mut Volume); 2] = [Volume::stop_resource_manager, Volume::restart_resource_manager];
    for answer in ANSWERS {
        for way in ways {
            for before in 0..=STEPS.len() {
                let defer = |rule: Rule| rule.text("OnFlush", "Defer");
                let scene = Scene::builder()
                    .rule(defer)
                    .lab(|lab| lab.switches(|switches| switches.open_of_stopped_manager = answer))
                    .build();
                let writer = scene.program("writer.exe");
                let handle = scene.open_file(&writer);
                for (index, step) in STEPS.into_iter().enumerate() {
                    if index == before {
                        scene.lab.with_volume(way);
                    }
                    let told = writer.call(move |caller| step(caller, handle));
                    let expected = if index < before { Ok(()) } else { Err(UNEXPECTED) };
                    assert_eq!(told, expected, "{answer}, before step {before}, step {index}");
                }
                if before == STEPS.len() {
                    scene.lab.with_volume(way);
                }
                writer.close(handle).unwrap();
                scene.assert_committed(FILE, OLD);
                scene.assert_rolled_back(GONE);
                scene.end();
            }
        }
    }
}

#[test]
fn while_the_resource_manager_is_stopped_opens_pass_through_and_after_it_they_are_protected_again() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let lost = scene.write_new(&writer);
    scene.lab.with_volume(Volume::stop_resource_manager);
    writer.close(lost).unwrap();
    scene.assert_committed(FILE, OLD);
    let plain = scene.write_new(&writer);
    scene.assert_committed(FILE, NEW);
    // The handle keeps a transaction out of the file, the manager or not.
    scene.lab.with_volume(Volume::restart_resource_manager);
    writer.close(plain).unwrap();
    writer.put(FILE, OLD).unwrap();
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    let happened = scene.happened();
    assert_eq!(happened[1], Happened::RolledBack(GONE.into()));
    assert_eq!(happened[2], Happened::PassedThrough(NO_TRANSACTION.into()));
    scene.end();
}

#[test]
fn a_flush_after_which_no_transaction_is_to_be_had_has_published_what_was_there() {
    let refusals = [
        Status::RM_NOT_ACTIVE,
        Status::FILE_LOCK_CONFLICT,
        Status::LOG_FULL,
        Status::CANNOT_ACCEPT_TRANSACTED_WORK,
    ];
    for refusal in refusals {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        scene.lab.with_volume(|volume| volume.switches.transacted_open = refusal);
        assert_eq!(writer.flush(handle), Ok(()));
        scene.assert_committed(FILE, NEW);
        assert_eq!(writer.write(handle, 0, b"A"), Ok(1));
        writer.close(handle).unwrap();
        assert_eq!(scene.committed(FILE).unwrap()[0], b'A');
        assert!(
            matches!(
                scene.happened().as_slice(),
                [Happened::Begun, Happened::Checkpointed, Happened::Demoted(_), ..]
            ),
            "{refusal}: {:?}",
            scene.happened()
        );
        scene.end();
    }
}

#[test]
fn an_open_that_finds_the_log_full_passes_through_or_is_denied() {
    for refusal in [Status::FILE_LOCK_CONFLICT, Status::LOG_FULL, Status::CANNOT_ACCEPT_TRANSACTED_WORK] {
        for deny in [false, true] {
            let rule = |rule: Rule| if deny { rule.text("OnUnavailable", "Deny") } else { rule };
            let scene = Scene::builder()
                .rule(rule)
                .lab(|lab| lab.switches(|switches| switches.transacted_open = refusal))
                .build();
            let writer = scene.program("writer.exe");
            let opened = writer.create_file(CreateOptions::open(FILE, ALL));
            if deny {
                assert_eq!(opened, Err(Status::ACCESS_DENIED), "{refusal}");
                scene.assert_happened(&[Happened::Denied(NO_TRANSACTION.into())]);
            } else {
                let handle = opened.unwrap();
                writer.write(handle, 0, NEW).unwrap();
                writer.close(handle).unwrap();
                scene.assert_committed(FILE, NEW);
                scene.assert_happened(&[Happened::PassedThrough(NO_TRANSACTION.into())]);
            }
            scene.end();
        }
    }
}

/// A save waits for more without a handle; its manager goes meanwhile.
#[test]
fn a_hollow_save_whose_resource_manager_goes_leaves_the_old_file() {
    for way in [Volume::stop_resource_manager, Volume::restart_resource_manager] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
        writer.close(handle).unwrap();
        scene.lab.with_volume(way);
        // KTM hears of it with the next request on the volume.
        assert_eq!(scene.program("other.exe").contents(FILE).unwrap(), OLD);
        scene.pass(SETTLED);
        scene.assert_committed(FILE, OLD);
        scene.assert_rolled_back(GONE);
        scene.lab.with_volume(Volume::restart_resource_manager);
        let handle = scene.write_new(&writer);
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

/// A file of 400,000 bytes, to be overwritten in place: each sector needs its old bytes in the log.
fn large(capacity: u64) -> (Scene, Vec<u8>) {
    let old: Vec<u8> = (0..400_000_u32).map(|at| (at / 512) as u8).collect();
    let scene = Scene::builder().no_files().file(VOLUME_FILE, &old).build();
    scene.lab.with_volume(|volume| volume.switches.log_capacity = capacity);
    (scene, old)
}

#[test]
fn a_log_that_is_full_is_a_full_disk_to_the_program_and_the_old_file_stays() {
    let (scene, old) = large(40_000);
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let told: Vec<_> = (0..10).map(|part| writer.write(handle, part * 40_000, &[9; 40_000]).err()).collect();
    let first = told.iter().position(Option::is_some).expect("the log was full");
    assert_eq!(told[first], Some(Status::DISK_FULL), "{told:?}");
    // The transaction is gone with it (txf-ktm §4.6).
    assert!(told[first + 1..].iter().all(|status| *status == Some(UNEXPECTED)), "{told:?}");
    assert_eq!(writer.flush(handle), Err(UNEXPECTED));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &old);
    scene.assert_rolled_back(GONE);
    // With room in the log it is as before.
    scene.lab.with_volume(|volume| volume.switches.log_capacity = 1 << 30);
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, &[9; 400_000]).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[9; 400_000]);
    scene.end();
}

#[test]
fn a_log_that_is_full_at_a_flush_or_a_close_leaves_the_old_file() {
    for (on_flush, flushes) in [("Checkpoint", true), ("Defer", true), ("Checkpoint", false)] {
        let old = vec![3_u8; 100_000];
        let scene = Scene::builder()
            .rule(|rule| rule.text("OnFlush", on_flush))
            .no_files()
            .file(VOLUME_FILE, &old)
            .lab(|lab| lab.switches(|switches| switches.log_capacity = 4_096))
            .build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.write(handle, 0, &[9; 50_000]).unwrap();
        if flushes {
            assert_eq!(writer.flush(handle), Err(Status::DISK_FULL), "{on_flush}");
        }
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, &old);
        let happened = scene.happened();
        assert!(!happened.contains(&Happened::Committed) && happened.len() == 2, "{on_flush}: {happened:?}");
        scene.end();
    }
}

/// Shortages that no rule says to end the transaction: the range is wounded, and a later success heals it.
#[test]
fn a_shortage_of_the_transaction_s_is_told_in_words_that_programs_know_and_heals() {
    for (shortage, told) in [
        (Status::CANNOT_ACCEPT_TRANSACTED_WORK, UNEXPECTED),
        (Status(0xC019_0019), Status::DISK_FULL), // LOG_GROWTH_FAILED
        (Status::LOG_FULL, Status::DISK_FULL),
    ] {
        for heals in [false, true] {
            let scene = Scene::new();
            let writer = scene.program("writer.exe");
            let handle = scene.open_file(&writer);
            scene.lab.with_volume(|volume| volume.fail_write(0, shortage));
            assert_eq!(writer.write(handle, 0, NEW), Err(told), "{shortage}");
            if heals {
                assert_eq!(writer.write(handle, 0, NEW), Ok(NEW.len()));
            } else {
                assert_eq!(writer.flush(handle), Err(told), "{shortage}");
            }
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, if heals { NEW } else { OLD });
            scene.end();
        }
    }
}
