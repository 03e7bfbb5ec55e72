//! What programs see of a save, and what they can do in it.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::flt::Completions;
use lab::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset, READ_ATTRIBUTES, Status};
use lab_volume::access;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;

#[test]
fn the_writer_reads_what_it_has_written_and_others_read_the_old_version() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let before = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    let handle = scene.write_new(&writer);
    assert_eq!(writer.read(handle, 0, 100).unwrap(), NEW);
    assert_eq!(writer.contents(FILE).unwrap(), NEW);
    assert_eq!(other.contents(FILE).unwrap(), OLD);
    assert_eq!(other.read(before, 0, 100).unwrap(), OLD);
    writer.close(handle).unwrap();
    assert_eq!(other.contents(FILE).unwrap(), NEW);
    assert_eq!(writer.contents(FILE).unwrap(), NEW);
    scene.end();
}

#[test]
fn several_handles_of_one_process_share_one_version() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let first = scene.write_new(&writer);
    let second = scene.open_file(&writer);
    assert_eq!(writer.read(second, 0, 100).unwrap(), NEW);
    writer.write(second, 2, b"--").unwrap();
    assert_eq!(writer.read(first, 0, 5).unwrap(), b"a --w");
    scene.end();
}

#[test]
fn sizes_and_times_are_those_of_the_save_for_the_writer_and_of_the_old_version_for_others() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.write_new(&writer);
    let size = |found: lab::NetworkOpen| found.size;
    assert_eq!(writer.call(move |caller| caller.information(handle)).unwrap().size, NEW.len() as u64);
    assert_eq!(writer.call(|caller| caller.query_attributes_by_path(FILE)).map(size), Ok(NEW.len() as u64));
    assert_eq!(other.call(|caller| caller.query_attributes_by_path(FILE)).map(size), Ok(OLD.len() as u64));
    writer.close(handle).unwrap();
    assert_eq!(other.call(|caller| caller.query_attributes_by_path(FILE)).map(size), Ok(NEW.len() as u64));
    scene.end();
}

#[test]
fn the_identity_of_the_file_does_not_change() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let id = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].id.0);
    let handle = scene.write_new(&writer);
    assert_eq!(writer.call(move |caller| caller.information(handle)).unwrap().id, id);
    writer.close(handle).unwrap();
    assert_eq!(scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].id.0), id);
    scene.end();
}

#[test]
fn the_position_of_a_synchronous_handle_moves_with_its_reads_and_writes() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    writer.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(FILE, ALL)).unwrap().handle;
        assert_eq!(caller.read(handle, None, 4).unwrap(), b"the ");
        assert_eq!(caller.write(handle, Offset::Current, b"new"), Ok(3));
        assert_eq!(caller.read(handle, None, 100).unwrap(), b" version");
        caller.write(handle, Offset::At(0), b"The").unwrap();
        assert_eq!(caller.read(handle, None, 4).unwrap(), b" new");
        caller.close(handle).unwrap();
    });
    scene.assert_committed(FILE, b"The new version");
    scene.end();
}

#[test]
fn appending_goes_to_the_end_of_the_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, access::APPEND_DATA)).unwrap();
    writer.write(handle, 0, b", and").unwrap();
    writer.write(handle, 0, b" more").unwrap();
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, b"the old version, and more");
    scene.end();
}

#[test]
fn the_end_of_the_file_is_set_inside_the_save() {
    for (size, killed) in [(3_u64, false), (3, true), (100, false), (100, true)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.call(move |caller| caller.set_end_of_file(handle, size)).unwrap();
        assert_eq!(writer.call(move |caller| caller.size(handle)), Ok(size));
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        let mut expected = OLD.to_vec();
        if !killed {
            expected.resize(size as usize, 0);
        }
        scene.assert_committed(FILE, &expected);
        scene.end();
    }
}

#[test]
fn a_smaller_allocation_cuts_the_file_inside_the_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| caller.set_allocation(handle, 0)).unwrap();
    assert_eq!(writer.call(move |caller| caller.size(handle)), Ok(0));
    scene.assert_committed(FILE, OLD);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn times_and_attributes_are_part_of_the_save() {
    const ARCHIVE_AND_HIDDEN: u32 = 0x22;
    const TIME: i64 = 133_000_000_000_000_000;
    for killed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer
            .call(move |caller| caller.set_basic(handle, [None, None, Some(TIME), None], ARCHIVE_AND_HIDDEN))
            .unwrap();
        let seen = writer.call(move |caller| caller.information(handle)).unwrap();
        assert_eq!((seen.times.write, seen.attributes), (TIME, ARCHIVE_AND_HIDDEN));
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        let attributes = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].attributes);
        assert_eq!(attributes & 0x2 != 0, !killed);
        scene.end();
    }
}

#[test]
fn extended_attributes_are_part_of_the_save() {
    /// One FILE_FULL_EA_INFORMATION: no next, no flags, `KEY` = `value`.
    const EA: &[u8] = b"\0\0\0\0\0\x03\x05\0KEY\0value";
    for killed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.call(move |caller| caller.set_ea(handle, EA)).unwrap();
        assert!(
            writer.call(move |caller| caller.query_ea(handle)).unwrap().windows(5).any(|w| w == b"value")
        );
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        let reader = scene.program("reader.exe");
        let handle = reader.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let found = reader.call(move |caller| caller.query_ea(handle));
        assert_eq!(found.is_ok(), !killed, "{found:?}");
        scene.end();
    }
}

#[test]
fn security_is_part_of_the_save() {
    const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    for killed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let options = CreateOptions::open(FILE, ALL | 0x6_0000);
        let handle = writer.create_file(options).unwrap();
        let before = writer.call(move |caller| caller.security(handle)).unwrap();
        let ace = lab_volume::Ace { allow: true, sid: EVERYONE, mask: 0x12_0089 };
        let descriptor = lab_volume::descriptor(EVERYONE, &[ace]);
        writer.call(move |caller| caller.set_security(handle, 4, &descriptor)).unwrap();
        let after = writer.call(move |caller| caller.security(handle)).unwrap();
        assert_ne!(before, after);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        let reader = scene.program("reader.exe");
        let handle = reader.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let found = reader.call(move |caller| caller.security(handle)).unwrap();
        assert_eq!(found == before, killed);
        scene.end();
    }
}

#[test]
fn byte_ranges_are_locked_between_handles_of_a_process() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
    writer.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
    assert_eq!(writer.write(second, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(
        writer.call(move |caller| caller.lock(second, 4, 1, true, false)),
        Err(Status::LOCK_NOT_GRANTED)
    );
    assert_eq!(writer.write(second, 10, b"x"), Ok(1));
    writer.call(move |caller| caller.unlock(first, 0, 5)).unwrap();
    writer.call(move |caller| caller.lock(second, 4, 1, true, false)).unwrap();
    writer.close(first).unwrap();
    writer.close(second).unwrap();
    // A write that lost against a lock is the program's own business and wounds nothing.
    let mut expected = NEW.to_vec();
    expected[10] = b'x';
    scene.assert_committed(FILE, &expected);
    scene.end();
}

#[test]
fn a_lock_waits_for_another_handle_of_the_process_and_does_not_keep_the_save_open() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let (first, second) = (scene.write_new(&writer), scene.open_file(&writer));
    writer.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
    let waiting = writer.submit(move |caller| caller.lock(second, 4, 1, true, true));
    assert_eq!(writer.read(first, 0, 1).unwrap(), NEW[..1]);
    assert!(!waiting.is_done());
    writer.close(first).unwrap();
    waiting.wait().unwrap().unwrap();
    writer.close(second).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_deferred_flush_goes_into_the_transaction() {
    for killed in [false, true] {
        let scene = Scene::builder().rule(|rule| rule.text("OnFlush", "Defer")).build();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        writer.flush(handle).unwrap();
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        scene.assert_committed(FILE, if killed { OLD } else { NEW });
        scene.end();
    }
}

#[test]
fn reading_at_the_end_says_so_as_without_intact() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert_eq!(writer.read(handle, NEW.len() as u64, 10), Err(Status::END_OF_FILE));
    assert_eq!(writer.read(handle, 1 << 30, 10), Err(Status::END_OF_FILE));
    scene.end();
}

#[test]
fn a_large_save_is_whole() {
    let big: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    for killed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        for (part, bytes) in big.chunks(65_000).enumerate() {
            writer.write(handle, part as u64 * 65_000, bytes).unwrap();
        }
        assert_eq!(writer.read(handle, 1_000_000, 1000).unwrap(), big[1_000_000..1_001_000]);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        scene.assert_committed(FILE, if killed { OLD } else { &big });
        scene.end();
    }
}

#[test]
fn a_handle_has_the_rights_it_was_opened_with_and_no_more() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, access::WRITE_DATA)).unwrap();
    assert_eq!(writer.read(handle, 0, 1), Err(Status::ACCESS_DENIED));
    assert_eq!(writer.call(move |caller| caller.information(handle)), Err(Status::ACCESS_DENIED));
    assert_eq!(writer.call(move |caller| caller.set_delete(handle, true)), Err(Status::ACCESS_DENIED));
    assert_eq!(writer.call(move |caller| caller.set_ea(handle, b"")), Err(Status::ACCESS_DENIED));
    let both = writer.create_file(CreateOptions::open(FILE, access::WRITE_DATA | READ_ATTRIBUTES)).unwrap();
    assert!(writer.call(move |caller| caller.information(both)).is_ok());
    scene.end();
}

#[test]
fn closing_a_handle_ends_the_lock_that_it_waits_for() {
    // Before the lock is asked for, or while it waits: the seed decides.
    for seed in 0..16 {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let first = scene.write_new(&writer);
        let options = CreateOptions::open(FILE, ALL).asynchronous();
        let second = writer.create_file(options).unwrap();
        writer.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
        let waiting = writer.submit(move |caller| caller.lock(second, 0, 5, true, true));
        assert_eq!(writer.read(first, 0, 1).unwrap(), NEW[..1]);
        writer.close(second).unwrap();
        // As without Intact (txf-ktm §4.8), and not as if somebody else held it.
        let told = waiting.wait().unwrap();
        assert!(told.is_err() && told != Err(Status::LOCK_NOT_GRANTED), "{told:?}");
        writer.close(first).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

/// The position of an asynchronous handle is the program's alone: a write that comes back does not take it along.
#[test]
fn what_comes_back_late_does_not_move_the_position_of_an_asynchronous_handle() {
    // FilePositionInformation.
    const POSITION: u32 = 14;
    for seed in 1..=6 {
        let scene = Scene::builder().seed(seed).lab(|lab| lab.completions(Completions::Late)).build();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::open(FILE, ALL).asynchronous()).unwrap();
        let writing = writer.submit(move |caller| caller.write(handle, Offset::At(0), NEW));
        let set = move |caller: &Caller<'_>| caller.set_information(handle, POSITION, &7_u64.to_le_bytes());
        writer.call(set).unwrap();
        assert_eq!(writing.wait().unwrap(), Ok(NEW.len()));
        let position = writer.call(move |caller| caller.query_information(handle, POSITION, 8)).unwrap();
        assert_eq!(position, 7_u64.to_le_bytes(), "seed {seed}");
        writer.close(handle).unwrap();
        scene.end();
    }
}
