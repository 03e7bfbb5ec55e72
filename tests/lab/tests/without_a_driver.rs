//! Programs on the volume, with no filter attached: the floor that everything else stands on.

use lab::{
    CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Lab, Name, Offset, PowerState, READ_ATTRIBUTES,
    Status,
};
use lab_volume::{Volume, access};

#[test]
fn what_a_program_writes_it_and_others_read() {
    let lab = Lab::builder().build().unwrap();
    let writer = lab.process("writer.exe");
    let handle =
        writer.create_file(CreateOptions::create(r"C:\a.txt", GENERIC_READ | GENERIC_WRITE)).unwrap();
    assert_eq!(writer.write(handle, 0, b"hello, world").unwrap(), 12);
    assert_eq!(writer.read(handle, 7, 100).unwrap(), b"world");
    assert_eq!(writer.read(handle, 12, 100), Err(Status::END_OF_FILE));
    writer.close(handle).unwrap();
    assert_eq!(writer.close(handle), Err(Status::INVALID_HANDLE));
    let reader = lab.process("reader.exe");
    assert_eq!(reader.contents(r"c:\A.TXT").unwrap(), b"hello, world");
    writer.exit(0);
    reader.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn the_position_moves_with_reads_and_writes_of_a_synchronous_handle() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    let read = program.call(|caller| {
        let all = GENERIC_READ | GENERIC_WRITE;
        let handle = caller.create_file(&CreateOptions::create(r"C:\a", all)).unwrap().handle;
        caller.write(handle, Offset::Current, b"one").unwrap();
        caller.write(handle, Offset::Current, b"two").unwrap();
        caller.write(handle, Offset::At(0), b"ONE").unwrap();
        let rest = caller.read(handle, None, 10).unwrap();
        caller.close(handle).unwrap();
        rest
    });
    assert_eq!(read, b"two");
}

#[test]
fn an_append_only_handle_writes_at_the_end() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\log", b"first\n").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\log", access::APPEND_DATA)).unwrap();
    program.write(handle, 0, b"second\n").unwrap();
    program.close(handle).unwrap();
    assert_eq!(program.contents(r"C:\log").unwrap(), b"first\nsecond\n");
}

#[test]
fn a_handle_does_what_it_was_opened_for_and_no_more() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\a", b"x").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", READ_ATTRIBUTES)).unwrap();
    assert_eq!(program.read(handle, 0, 1), Err(Status::ACCESS_DENIED));
    assert_eq!(program.write(handle, 0, b"y"), Err(Status::ACCESS_DENIED));
    assert_eq!(program.call(move |caller| caller.set_delete(handle, true)), Err(Status::ACCESS_DENIED));
    assert_eq!(program.call(move |caller| caller.information(handle)).unwrap().size, 1);
}

#[test]
fn share_modes_are_those_of_ntfs() {
    let lab = Lab::builder().build().unwrap();
    let one = lab.process("one.exe");
    let two = lab.process("two.exe");
    let handle = one.create_file(CreateOptions::create(r"C:\a", GENERIC_WRITE).share(1)).unwrap();
    assert_eq!(two.create_file(CreateOptions::open(r"C:\a", GENERIC_WRITE)), Err(Status::SHARING_VIOLATION));
    assert!(two.create_file(CreateOptions::open(r"C:\a", READ_ATTRIBUTES)).is_ok());
    one.close(handle).unwrap();
    assert!(two.create_file(CreateOptions::open(r"C:\a", GENERIC_WRITE)).is_ok());
}

#[test]
fn a_file_is_opened_by_id_and_relative_to_a_directory() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        let dir =
            caller.create_file(&CreateOptions::create(r"C:\dir", GENERIC_READ).options(1)).unwrap().handle;
        caller.put(r"C:\dir\file", b"here").unwrap();
        let below = CreateOptions::new(Name::Relative(dir, "file".into()), GENERIC_READ, 1);
        let handle = caller.create_file(&below).unwrap().handle;
        assert_eq!(caller.read(handle, Some(0), 10).unwrap(), b"here");
        let id = caller.information(handle).unwrap().id;
        let by_id = caller.create_file(&CreateOptions::new(Name::Id(id), GENERIC_READ, 1)).unwrap().handle;
        assert_eq!(caller.read(by_id, Some(0), 10).unwrap(), b"here");
        let under = CreateOptions::new(Name::IdUnder(dir, id), GENERIC_READ, 1);
        let by_id = caller.create_file(&under).unwrap().handle;
        assert_eq!(caller.read(by_id, Some(0), 10).unwrap(), b"here");
        let stream = CreateOptions::new(Name::Relative(handle, ":notes".into()), GENERIC_WRITE, 2);
        caller.create_file(&stream).unwrap();
        assert!(caller.create_file(&CreateOptions::open(r"C:\dir\file:notes", GENERIC_READ)).is_ok());
    });
}

#[test]
fn renames_deletes_and_links_do_what_they_say() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        caller.create_file(&CreateOptions::create(r"C:\dir", GENERIC_READ).options(1)).unwrap();
        caller.put(r"C:\a", b"1").unwrap();
        caller.put(r"C:\dir\b", b"2").unwrap();
        assert_eq!(caller.rename_path(r"C:\a", r"C:\dir\b", false), Err(Status::OBJECT_NAME_COLLISION));
        caller.rename_path(r"C:\a", r"C:\dir\b", true).unwrap();
        assert_eq!(caller.contents(r"C:\dir\b").unwrap(), b"1");
        caller.rename_path(r"C:\dir\b", "c", false).unwrap();
        let handle =
            caller.create_file(&CreateOptions::open(r"C:\dir\c", DELETE | READ_ATTRIBUTES)).unwrap().handle;
        caller.link(handle, r"C:\linked", false).unwrap();
        assert_eq!(caller.information(handle).unwrap().links, 2);
        caller.close(handle).unwrap();
        caller.delete(r"C:\dir\c").unwrap();
        assert_eq!(caller.contents(r"C:\dir\c"), Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(caller.contents(r"C:\linked").unwrap(), b"1");
    });
}

#[test]
fn a_directory_is_enumerated() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    let names = program.call(|caller| {
        for index in 0..700 {
            caller.put(&format!(r"C:\file number {index:04}.txt"), b"").unwrap();
        }
        let root = caller.create_file(&CreateOptions::open(r"C:\", GENERIC_READ).options(1)).unwrap().handle;
        let all = caller.query_directory(root, None).unwrap();
        assert_eq!(caller.query_directory(root, Some("*0042*")).unwrap().len(), 1);
        let again = caller.create_file(&CreateOptions::open(r"C:\", GENERIC_READ).options(1)).unwrap().handle;
        assert_eq!(caller.query_directory(again, Some("none")), Err(Status::NO_SUCH_FILE));
        all.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    });
    assert_eq!(names.iter().filter(|name| name.ends_with(".txt")).count(), 700);
}

#[test]
fn attributes_are_asked_by_path_without_a_handle() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\a", b"12345").unwrap();
    let found = program.call(|caller| caller.query_attributes_by_path(r"C:\a"));
    assert_eq!(found.unwrap().size, 5);
    assert_eq!(program.call(|caller| caller.query_stat_by_path(r"C:\a")).unwrap().len(), 72);
    let missing = program.call(|caller| caller.query_attributes_by_path(r"C:\b"));
    assert_eq!(missing, Err(Status::OBJECT_NAME_NOT_FOUND));
}

#[test]
fn a_dead_process_leaves_no_handle_and_its_lock_goes() {
    let lab = Lab::builder().build().unwrap();
    let one = lab.process("one.exe");
    let two = lab.process("two.exe");
    one.put(r"C:\a", b"0123456789").unwrap();
    let all = GENERIC_READ | GENERIC_WRITE;
    let mine = one.create_file(CreateOptions::open(r"C:\a", all)).unwrap();
    let yours = two.create_file(CreateOptions::open(r"C:\a", all)).unwrap();
    one.call(move |caller| caller.lock(mine, 0, 5, true, false)).unwrap();
    assert_eq!(two.call(move |caller| caller.lock(yours, 2, 1, false, false)), Err(Status::LOCK_NOT_GRANTED));
    assert_eq!(two.write(yours, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    let waiting = two.submit(move |caller| caller.lock(yours, 2, 1, false, true));
    assert!(!waiting.is_done());
    one.kill(1);
    waiting.wait().unwrap().unwrap();
    two.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn the_last_of_two_handles_is_the_one_that_cleans_up() {
    let lab = Lab::builder().build().unwrap();
    let one = lab.process("one.exe");
    let two = lab.process("two.exe");
    let handle = one.create_file(CreateOptions::create(r"C:\a", GENERIC_WRITE | DELETE).share(0)).unwrap();
    let copy = one.duplicate(handle, &two).unwrap();
    one.exit(0);
    assert_eq!(two.contents(r"C:\a"), Err(Status::SHARING_VIOLATION));
    two.write(copy, 0, b"still open").unwrap();
    two.close(copy).unwrap();
    assert_eq!(two.contents(r"C:\a").unwrap(), b"still open");
}

/// A mount point or symbolic link to `target`, as FSCTL_SET_REPARSE_POINT takes it.
fn reparse_buffer(tag: u32, target: &str, relative: bool) -> Vec<u8> {
    let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = name.len() as u16;
    let mut data = Vec::new();
    for value in [0, length, length, 0] {
        data.extend_from_slice(&u16::to_le_bytes(value));
    }
    if tag == SYMLINK {
        data.extend_from_slice(&u32::from(relative).to_le_bytes());
    }
    data.extend_from_slice(&name);
    let mut buffer = tag.to_le_bytes().to_vec();
    buffer.extend_from_slice(&(data.len() as u16).to_le_bytes());
    buffer.extend_from_slice(&[0, 0]);
    buffer.extend_from_slice(&data);
    buffer
}

const MOUNT_POINT: u32 = 0xA000_0003;
const SYMLINK: u32 = 0xA000_000C;
const SET_REPARSE_POINT: u32 = 0x9_00A4;
const OPEN_REPARSE_POINT: u32 = 0x20_0000;

#[test]
fn junctions_and_links_are_followed() {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file(r"real\file.txt", b"here").unwrap());
    let program = lab.process("program.exe");
    program.call(|caller| {
        let junction = CreateOptions::create(r"C:\junction", GENERIC_WRITE).options(1 | OPEN_REPARSE_POINT);
        let handle = caller.create_file(&junction).unwrap().handle;
        let buffer = reparse_buffer(MOUNT_POINT, r"\??\C:\real", false);
        caller.fs_control(handle, SET_REPARSE_POINT, &buffer, 0).unwrap();
        caller.close(handle).unwrap();
        assert_eq!(caller.contents(r"C:\junction\file.txt").unwrap(), b"here");
        let link = CreateOptions::create(r"C:\real\link.txt", GENERIC_WRITE).options(OPEN_REPARSE_POINT);
        let handle = caller.create_file(&link).unwrap().handle;
        caller.fs_control(handle, SET_REPARSE_POINT, &reparse_buffer(SYMLINK, "file.txt", true), 0).unwrap();
        caller.close(handle).unwrap();
        assert_eq!(caller.contents(r"C:\junction\link.txt").unwrap(), b"here");
        let itself = CreateOptions::open(r"C:\junction", READ_ATTRIBUTES).options(OPEN_REPARSE_POINT);
        let handle = caller.create_file(&itself).unwrap().handle;
        assert_eq!(caller.information(handle).unwrap().attributes & 0x400, 0x400);
    });
}

#[test]
fn a_link_that_leads_to_itself_ends_in_an_error() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    let found = program.call(|caller| {
        let link = CreateOptions::create(r"C:\loop", GENERIC_WRITE).options(OPEN_REPARSE_POINT);
        let handle = caller.create_file(&link).unwrap().handle;
        caller.fs_control(handle, SET_REPARSE_POINT, &reparse_buffer(SYMLINK, "loop", true), 0).unwrap();
        caller.close(handle).unwrap();
        caller.contents(r"C:\loop")
    });
    assert_eq!(found, Err(Status(0xC000_0280)));
}

#[test]
fn security_attributes_and_space_can_be_asked_for() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        caller.put(r"C:\a", b"x").unwrap();
        let handle = caller.create_file(&CreateOptions::open(r"C:\a", access::ALL)).unwrap().handle;
        assert_eq!(caller.query_ea(handle), Err(Status::NO_EAS_ON_FILE));
        let ea = [0, 0, 0, 0, 0, 1, 2, 0, b'K', 0, 5, 6];
        caller.set_ea(handle, &ea).unwrap();
        assert_eq!(caller.query_ea(handle).unwrap(), ea);
        let whole = caller.security(handle).unwrap();
        assert!(lab_volume::is_descriptor(&whole));
        let ace = [lab_volume::Ace { allow: true, sid: lab_volume::EVERYONE, mask: access::FILE_READ }];
        let narrow = lab_volume::descriptor(lab_volume::LOCAL_SYSTEM, &ace);
        caller.set_security(handle, 4, &narrow).unwrap();
        let refused = caller.create_file(&CreateOptions::open(r"C:\a", access::WRITE_DAC));
        assert_eq!(refused.map(|_| ()), Err(Status::ACCESS_DENIED));
        let (all, free) = caller.volume_space(handle).unwrap();
        assert!(free < all && free > 0);
    });
}

#[test]
fn unbuffered_transfers_are_whole_sectors() {
    let lab = Lab::builder().build().unwrap();
    let program = lab.process("program.exe");
    let all = GENERIC_READ | GENERIC_WRITE;
    let handle = program.create_file(CreateOptions::create(r"C:\a", all).options(0x8)).unwrap();
    assert_eq!(program.write(handle, 0, &[1; 512]), Ok(512));
    assert_eq!(program.write(handle, 3, &[1; 512]), Err(Status::INVALID_PARAMETER));
    assert_eq!(program.read(handle, 0, 100), Err(Status::INVALID_PARAMETER));
    assert_eq!(program.read(handle, 0, 1024).unwrap().len(), 512);
}

#[test]
fn a_full_disk_and_a_power_cut_show() {
    let lab = Lab::builder().disk_full_after(8192).build().unwrap();
    let program = lab.process("program.exe");
    let handle = program.create_file(CreateOptions::create(r"C:\a", GENERIC_WRITE)).unwrap();
    assert_eq!(program.write(handle, 0, &[1; 4096]), Ok(4096));
    assert_eq!(program.write(handle, 4096, &[1; 65536]), Err(Status::DISK_FULL));
    program.flush(handle).unwrap();
    let base = lab.power_off(PowerState::Cut { seed: 3 });
    assert!(Volume::mount(base).is_ok());
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let run = |seed| {
        let lab = Lab::builder().seed(seed).build().unwrap();
        let one = lab.process("one.exe");
        let two = lab.process("two.exe");
        let first = one.submit(|caller| caller.put(r"C:\a", &[1; 100_000]));
        let second = two.submit(|caller| caller.put(r"C:\b", &[2; 100_000]));
        first.wait().unwrap().unwrap();
        second.wait().unwrap().unwrap();
        lab.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
