//! A flush by the program makes durable what is there, and its handles notice nothing of the exchange below them.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, seen};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_executive::import::{FaultKind, PlannedFault};
use lab_volume::access;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const DIED: &str = "the process died with the file open";
const NO_NEXT: &str = "after a flush no new transaction could be had";
const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
const SEEDS: u64 = 25;
const FRESH: &str = r"C:\Saved\fresh.txt";
const DELETE_ON_CLOSE: u32 = 0x1000;
/// STATUS_UNEXPECTED_IO_ERROR.
const UNEXPECTED: Status = Status(0xC000_00E9);
/// STATUS_INSUFFICIENT_RESOURCES.
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();

fn lock(program: &Process, handle: Handle, start: u64, length: u64) -> Result<(), Status> {
    program.call(move |caller| caller.lock(handle, start, length, true, false))
}

/// The usual scene, but the call of this import that only a flush makes fails.
fn failing_at_flush(import: &'static str) -> SceneBuilder {
    let sites = |flush: bool| {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        if flush {
            writer.flush(handle).unwrap();
        }
        let sites = scene.lab.executive().calls.sites();
        sites.into_iter().filter(|site| site.import == import).map(|site| site.id).collect::<Vec<_>>()
    };
    let without = sites(false);
    let site = sites(true).into_iter().find(|site| !without.contains(site)).unwrap();
    let fault = PlannedFault { site, call: 1, kind: FaultKind::Status(NO_RESOURCES) };
    Scene::builder().lab(|lab| lab.fault(fault))
}

#[test]
fn what_was_flushed_stays_when_the_program_is_killed_later() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.flush(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    assert_eq!(writer.write(handle, 0, b"half of"), Ok(7));
    scene.assert_committed(FILE, NEW);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.assert_happened(&[Happened::Begun, Happened::Checkpointed, Happened::RolledBack(DIED.into())]);
    scene.end();
}

#[test]
fn a_save_that_was_flushed_to_the_end_is_a_committed_one() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.flush(handle).unwrap();
    writer.flush(handle).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_happened(&[Happened::Begun, Happened::Checkpointed, Happened::Committed]);
    scene.end();
}

#[test]
fn writing_goes_on_after_a_flush_and_commits_at_the_close() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    for round in 0..5_u8 {
        writer.write(handle, 0, &[b'a' + round; 30]).unwrap();
        writer.flush(handle).unwrap();
        scene.assert_committed(FILE, &[b'a' + round; 30]);
    }
    writer.write(handle, 0, &[b'z'; 30]).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b'z'; 30]);
    scene.end();
}

#[test]
fn a_flush_commits_what_all_handles_of_the_save_have_written() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let first = scene.write_new(&writer);
    let second = scene.open_file(&writer);
    writer.write(second, 0, b"A").unwrap();
    writer.flush(first).unwrap();
    let expected = [b"A", &NEW[1..]].concat();
    scene.assert_committed(FILE, &expected);
    writer.write(second, 1, b"B").unwrap();
    writer.close(second).unwrap();
    writer.close(first).unwrap();
    scene.assert_committed(FILE, &[b"AB", &NEW[2..]].concat());
    scene.end();
}

#[test]
fn a_reading_handle_follows_into_the_new_transaction() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.flush(handle).unwrap();
    writer.write(handle, 0, b"seen").unwrap();
    assert_eq!(writer.read(reading, 0, 4).unwrap(), b"seen");
    assert_eq!(scene.program("other.exe").contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn after_a_write_that_failed_a_flush_fails_and_publishes_nothing() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
    assert_eq!(writer.flush(handle), Err(Status::DISK_FULL));
    scene.assert_committed(FILE, OLD);
    scene.lab.with_volume(|volume| volume.set_free_space(None));
    assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Ok(100_000));
    writer.flush(handle).unwrap();
    assert_eq!(scene.committed(FILE).unwrap().len(), 200_000);
    scene.end();
}

#[test]
fn a_flush_whose_commit_fails_is_told_and_the_old_version_stays() {
    let scene = failing_at_flush("ZwCommitTransaction").build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert_eq!(writer.flush(handle), Err(UNEXPECTED));
    assert_eq!(writer.write(handle, 0, b"x"), Err(UNEXPECTED));
    assert_eq!(writer.read(handle, 0, 1), Err(UNEXPECTED));
    assert_eq!(writer.flush(handle), Err(UNEXPECTED));
    assert_eq!(lock(&writer, handle, 0, 1), Err(UNEXPECTED));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_happened(&[Happened::Begun, Happened::CommitFailed]);
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn where_no_new_transaction_can_be_had_the_program_goes_on_without_one() {
    let scene = failing_at_flush("ZwCreateTransaction").build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.flush(handle).unwrap();
    assert_eq!(writer.write(handle, 0, b"plain"), Ok(5));
    assert_eq!(writer.read(handle, 0, 5).unwrap(), b"plain");
    assert_eq!(writer.read(reading, 0, 5).unwrap(), b"plain");
    writer.flush(handle).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, &[b"plain", &NEW[5..]].concat());
    let demoted = Happened::Demoted(NO_NEXT.into());
    let reader = Happened::Joined("reader".into());
    scene.assert_happened(&[Happened::Begun, reader, Happened::Checkpointed, demoted, Happened::Committed]);
    scene.end();
}

#[test]
fn a_new_file_that_was_flushed_is_no_placeholder_any_more() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.flush(handle).unwrap();
    writer.write(handle, 0, b"half of").unwrap();
    writer.kill(1);
    scene.assert_committed(FRESH, NEW);
    scene.end();
}

#[test]
fn a_new_file_that_is_empty_and_flushed_stays() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
    writer.flush(handle).unwrap();
    writer.kill(1);
    scene.assert_committed(FRESH, b"");
    scene.end();
}

#[test]
fn a_file_that_was_made_read_only_is_still_written_through_its_first_handle() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, ALL).attributes(1)).unwrap();
    writer.write(handle, 0, OLD).unwrap();
    writer.flush(handle).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.flush(handle).unwrap();
    scene.assert_committed(FRESH, NEW);
    writer.close(handle).unwrap();
    let again = CreateOptions::open(FRESH, GENERIC_WRITE);
    assert_eq!(writer.create_file(again).err(), Some(Status::ACCESS_DENIED), "it is read-only");
    assert!(!scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_))));
    scene.end();
}

/// Read-only is its only attribute: what is left without it is not "leave the attributes as they are".
#[test]
fn a_flush_of_a_file_that_is_nothing_but_read_only_is_not_noticed() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let superseding = lab::Name::Path(FILE.into());
    let access = access::APPEND_DATA | access::READ_DATA | access::WRITE_ATTRIBUTES | lab::READ_ATTRIBUTES;
    let handle = writer.create_file(CreateOptions::new(superseding, access, 0)).unwrap();
    let mut basic = [0; 40];
    basic[32] = 1;
    writer.call(move |caller| caller.set_information(handle, 4, &basic)).unwrap();
    let before = writer.call(move |caller| caller.information(handle)).unwrap();
    assert_eq!(before.attributes, 1);
    writer.flush(handle).unwrap();
    assert_eq!(writer.read(handle, 0, 1), Err(Status::END_OF_FILE));
    let after = writer.call(move |caller| caller.information(handle)).unwrap();
    assert_eq!((after.attributes, after.times), (before.attributes, before.times));
    scene.end();
}

#[test]
fn a_flush_does_not_move_the_position() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    for part in [&NEW[..10], &NEW[10..20], &NEW[20..]] {
        writer.call(move |caller| caller.write(handle, Offset::Current, part)).unwrap();
        writer.flush(handle).unwrap();
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn byte_range_locks_outlive_a_flush() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.write_new(&writer);
    lock(&writer, handle, 0, 5).unwrap();
    lock(&writer, handle, 10, 5).unwrap();
    lock(&writer, handle, 20, 5).unwrap();
    writer.call(move |caller| caller.unlock(handle, 10, 5)).unwrap();
    writer.flush(handle).unwrap();
    let reading = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(other.read(reading, 0, 1), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(other.read(reading, 24, 1), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(other.read(reading, 10, 1).unwrap(), NEW[10..11]);
    assert_eq!(writer.write(handle, 0, b"mine"), Ok(4), "the locks are still its own");
    writer.call(move |caller| caller.unlock(handle, 0, 5)).unwrap();
    assert!(other.read(reading, 0, 1).is_ok());
    writer.close(handle).unwrap();
    assert!(other.read(reading, 24, 1).is_ok(), "closing gives them back");
    scene.end();
}

#[test]
fn a_lock_of_another_process_through_the_same_file_object_stays_its_own() {
    let scene = Scene::new();
    let (writer, heir) = (scene.program("writer.exe"), scene.program("heir.exe"));
    let handle = scene.write_new(&writer);
    let copy = writer.duplicate(handle, &heir).unwrap();
    lock(&heir, copy, 0, 5).unwrap();
    writer.flush(handle).unwrap();
    assert_eq!(writer.write(handle, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(heir.write(copy, 0, b"x"), Ok(1));
    scene.end();
}

#[test]
fn who_waits_for_a_lock_while_the_file_is_flushed_is_told_that_it_was_not_granted() {
    let mut refused = 0;
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
        lock(&writer, first, 0, 5).unwrap();
        let waiting = writer.submit(move |caller| caller.lock(second, 4, 1, true, true));
        assert_eq!(writer.read(first, 0, 1).unwrap(), NEW[..1]);
        assert!(!waiting.is_done());
        writer.flush(first).unwrap();
        lock(&writer, first, 0, 5).unwrap_err();
        writer.call(move |caller| caller.unlock(first, 0, 5)).unwrap();
        match waiting.wait().unwrap() {
            Err(Status::LOCK_NOT_GRANTED) => {
                refused += 1;
                lock(&writer, second, 4, 1).unwrap();
            }
            // It began to wait after the flush only.
            told => assert_eq!(told, Ok(()), "seed {seed}"),
        }
        assert!(!scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_))), "seed {seed}");
        scene.end();
    }
    assert!(refused > SEEDS / 2, "{refused}");
}

#[test]
fn of_two_locks_on_one_range_each_process_gives_back_its_own() {
    let scene = Scene::new();
    let (writer, heir) = (scene.program("writer.exe"), scene.program("heir.exe"));
    let handle = scene.write_new(&writer);
    let copy = writer.duplicate(handle, &heir).unwrap();
    writer.call(move |caller| caller.lock(handle, 0, 5, false, false)).unwrap();
    heir.call(move |caller| caller.lock(copy, 0, 5, false, false)).unwrap();
    heir.call(move |caller| caller.unlock(copy, 0, 5)).unwrap();
    writer.flush(handle).unwrap();
    assert_eq!(heir.call(move |caller| caller.unlock(copy, 0, 5)), Err(Status::RANGE_NOT_LOCKED));
    writer.call(move |caller| caller.unlock(handle, 0, 5)).unwrap();
    scene.end();
}

#[test]
fn a_lock_that_was_refused_is_not_taken_at_a_flush() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
    lock(&writer, first, 0, 5).unwrap();
    assert_eq!(lock(&writer, second, 4, 4), Err(Status::LOCK_NOT_GRANTED));
    writer.call(move |caller| caller.unlock(first, 0, 5)).unwrap();
    writer.flush(first).unwrap();
    assert_eq!(writer.write(first, 4, b"free"), Ok(4), "nobody holds it");
    lock(&writer, first, 4, 4).unwrap();
    writer.close(first).unwrap();
    writer.close(second).unwrap();
    scene.assert_committed(FILE, &[&NEW[..4], b"free", &NEW[8..]].concat());
    scene.end();
}

#[test]
fn more_locks_than_are_remembered_are_refused_and_none_is_lost() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let refused = writer.call(move |caller| {
        (0..1025_u64).map(|at| caller.lock(handle, at * 2, 1, true, false)).find_map(Result::err)
    });
    assert_eq!(refused, Some(Status(NO_RESOURCES.cast_unsigned())));
    writer.flush(handle).unwrap();
    let other = scene.program("other.exe");
    let reading = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(other.read(reading, 34, 1), Err(Status::FILE_LOCK_CONFLICT));
    scene.end();
}

#[test]
fn the_rights_of_a_handle_outlive_a_change_of_the_security() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL | access::WRITE_DAC)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let nobody = lab_volume::descriptor(LOCAL_SYSTEM, &[]);
    writer.call(move |caller| caller.set_security(handle, 4, &nobody)).unwrap();
    writer.flush(handle).unwrap();
    assert_eq!(writer.write(handle, 0, b"still"), Ok(5));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"still", &NEW[5..]].concat());
    assert!(!scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_))));
    scene.end();
}

/// Somebody else opens the file again and again while a program writes and flushes.
fn beside_flushes(seed: u64, access: u32, share: u32, options: u32) {
    let rule = |rule: Rule| rule.strings("Processes", &["writer.exe"]);
    let scene = Scene::builder().seed(seed).rule(rule).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.write_new(&writer);
    let open = move |caller: &lab::Caller<'_>| {
        let open = CreateOptions::open(FILE, access).share(share).options(options);
        match caller.create_file(&open) {
            Ok(created) => caller.close(created.handle).map(|()| true),
            Err(Status::SHARING_VIOLATION) => Ok(false),
            // Another one of them has let it go.
            Err(Status::DELETE_PENDING) if options & DELETE_ON_CLOSE != 0 => Ok(false),
            Err(status) => Err(status),
        }
    };
    let opens: Vec<_> = (0..6).map(|_| other.submit(open)).collect();
    let flushes = writer.submit(move |caller| {
        (b'A'..=b'C').try_for_each(|letter| {
            caller.write(handle, Offset::At(0), &[letter])?;
            caller.flush(handle)
        })
    });
    let told = flushes.wait().unwrap();
    let opens: Vec<_> = opens.into_iter().map(|open| open.wait().unwrap()).collect();
    if options & DELETE_ON_CLOSE != 0 {
        // Its file is on its way out, and it is told so where it lost the handle for that.
        let lost = seen(&scene.lab).iter().any(|event| event.name() == "HandleLost");
        assert_eq!(told, if lost { Err(UNEXPECTED) } else { Ok(()) }, "seed {seed}");
        writer.close(handle).unwrap();
        let deleted = opens.into_iter().any(|open| open.unwrap());
        assert_eq!(scene.committed(FILE).is_none(), deleted, "seed {seed}");
        return scene.end();
    }
    assert_eq!(told, Ok(()), "seed {seed}");
    opens.into_iter().for_each(|open| {
        open.unwrap();
    });
    scene.assert_committed(FILE, &[b"C", &NEW[1..]].concat());
    assert_eq!(writer.write(handle, 0, b"D"), Ok(1), "seed {seed}");
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"D", &NEW[1..]].concat());
    scene.end();
}

/// One that is past us already when the exchange begins, and not yet at the file system, may get in: then the program goes
/// on without a transaction, and notices nothing, unless it deletes the file.
#[test]
fn others_who_open_the_file_during_a_flush_cost_its_program_nothing() {
    // Who would keep writers out, who would write, and who would delete.
    for (access, share, options) in
        [(GENERIC_READ, 1, 0x20), (GENERIC_WRITE, 7, 0x20), (DELETE, 7, DELETE_ON_CLOSE)]
    {
        (1..=SEEDS).for_each(|seed| beside_flushes(seed, access, share, options));
    }
}

#[test]
fn others_who_read_during_flushes_see_versions_that_were_flushed() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
        let handle = scene.open_file(&writer);
        let read = |caller: &lab::Caller<'_>| {
            let handle = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ))?.handle;
            // At once: a handle outside the transaction sees what is committed at each read.
            let read = caller.read(handle, Some(0), 100);
            caller.close(handle)?;
            read
        };
        let reads: Vec<_> = (0..6).map(|_| reader.submit(read)).collect();
        let writes = writer.submit(move |caller| {
            for letter in [b'A', b'B'] {
                caller.write(handle, Offset::At(0), &[letter; 10]).unwrap();
                caller.write(handle, Offset::At(10), &[letter; 10]).unwrap();
                caller.flush(handle).unwrap();
            }
        });
        writes.wait().unwrap();
        for read in reads {
            let seen = read.wait().unwrap().unwrap();
            let whole = seen == OLD || seen == [b'A'; 20] || seen == [b'B'; 20];
            assert!(whole, "seed {seed}: {:?}", String::from_utf8_lossy(&seen));
        }
        scene.end();
    }
}

/// Threads that write, flush, lock, open and close through handles of one save, all at once.
#[test]
fn threads_that_write_and_flush_at_once_lose_nothing() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let held = scene.open_file(&writer);
        let calls: Vec<_> = (0..5_u8)
            .map(|thread| {
                writer.submit(move |caller| {
                    let at = u64::from(thread);
                    let own = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                    caller.lock(own, 100 + at, 1, true, false)?;
                    caller.write(own, Offset::At(at), &[b'a' + thread])?;
                    caller.flush(if thread % 2 == 0 { own } else { held })?;
                    caller.write(held, Offset::At(at), &[b'A' + thread])?;
                    caller.unlock(own, 100 + at, 1)?;
                    caller.close(own)
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(()), "seed {seed}: {:?}", scene.happened());
        }
        writer.flush(held).unwrap();
        scene.assert_committed(FILE, b"ABCDEld version");
        writer.close(held).unwrap();
        scene.end();
    }
}

#[test]
fn a_kill_amid_flushes_leaves_a_version_that_was_flushed() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        let work = writer.submit(move |caller| {
            for letter in [b'A', b'B', b'C'] {
                let _ = caller.write(handle, Offset::At(0), &[letter; 10]);
                let _ = caller.write(handle, Offset::At(10), &[letter; 10]);
                let _ = caller.flush(handle);
            }
        });
        let idle = scene.program("other.exe");
        for _ in 0..seed % 7 {
            let _ = idle.call(|caller| caller.contents(FILE));
        }
        writer.kill(1);
        assert!(work.is_done(), "seed {seed}");
        let found = scene.committed(FILE).unwrap();
        let whole = found == OLD || (0..3).any(|letter| found == [b'A' + letter; 20]);
        assert!(whole, "seed {seed}: {:?}", String::from_utf8_lossy(&found));
        scene.end();
    }
}

/// What was refused is not remembered, and takes no other lock's room.
#[test]
fn locks_that_were_refused_leave_room_for_others() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
    lock(&writer, first, 0, 5).unwrap();
    lock(&writer, second, 10, 1).unwrap();
    writer.call(move |caller| {
        for _ in 0..1_100 {
            assert_eq!(caller.lock(second, 4, 1, true, false).map_err(|_| ()), Err(()));
        }
    });
    lock(&writer, second, 8, 1).unwrap();
    writer.flush(first).unwrap();
    for granted in [8, 10] {
        assert_eq!(writer.write(first, granted, b"x"), Err(Status::FILE_LOCK_CONFLICT), "{granted}");
    }
    scene.end();
}

/// Each of the processes that have locks through one file object has its own again, however often the twin is exchanged.
#[test]
fn locks_of_several_processes_through_one_file_object_are_each_ones_own_again() {
    let scene = Scene::new();
    let (writer, heir, third) =
        (scene.program("writer.exe"), scene.program("heir.exe"), scene.program("third.exe"));
    let handle = scene.write_new(&writer);
    let (copy, other) = (writer.duplicate(handle, &heir).unwrap(), writer.duplicate(handle, &third).unwrap());
    lock(&writer, handle, 0, 2).unwrap();
    lock(&heir, copy, 4, 2).unwrap();
    lock(&third, other, 8, 2).unwrap();
    for _ in 0..2 {
        writer.write(handle, 20, b"x").unwrap();
        writer.flush(handle).unwrap();
        for (program, handle, at) in [(&writer, handle, 0), (&heir, copy, 4), (&third, other, 8)] {
            assert_eq!(program.write(handle, at, b"y"), Ok(1));
        }
        assert_eq!(writer.write(handle, 4, b"z"), Err(Status::FILE_LOCK_CONFLICT));
        assert_eq!(heir.write(copy, 8, b"z"), Err(Status::FILE_LOCK_CONFLICT));
        assert_eq!(third.write(other, 0, b"z"), Err(Status::FILE_LOCK_CONFLICT));
    }
    assert!(!scene.happened().iter().any(|event| matches!(event, Happened::Demoted(_))));
    for (program, handle) in [(&third, other), (&heir, copy), (&writer, handle)] {
        program.close(handle).unwrap();
    }
    let again = scene.open_file(&writer);
    for at in [0, 4, 8] {
        lock(&writer, again, at, 2).unwrap();
    }
    scene.end();
}

/// Of several handles one is mapped: none can be exchanged, and nothing is published.
#[test]
fn a_flush_of_one_handle_while_another_one_is_mapped_publishes_nothing() {
    for of_mapped in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
        let view = writer.call(move |caller| caller.create_section(second, true)).unwrap();
        writer.flush(if of_mapped { second } else { first }).unwrap();
        scene.assert_committed(FILE, OLD);
        assert!(!scene.happened().contains(&Happened::Checkpointed));
        writer.call(move |caller| caller.close_section(view));
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

/// The program is told of a disk that fails, also where a flush does not commit.
#[test]
fn a_flush_that_fails_is_told_also_while_the_file_is_mapped() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let view = writer.call(move |caller| caller.create_section(handle, true)).unwrap();
    scene.lab.with_volume(|volume| volume.disk.faults.failing_effects = (1..100_000).collect());
    assert!(writer.flush(handle).is_err());
    scene.lab.with_volume(|volume| volume.disk.faults.failing_effects.clear());
    writer.call(move |caller| caller.close_section(view));
    writer.close(handle).unwrap();
    scene.end();
}
