//! What a save cannot take back is refused on its handles, and nothing changes.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Status};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;

const SHORT_NAME: u32 = 40;

/// FILE_RENAME_INFORMATION for a name in the same folder.
fn name(to: &str) -> Vec<u8> {
    let units: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = vec![0; 16];
    data.extend((units.len() as u32).to_le_bytes());
    data.extend(units);
    data
}

#[test]
fn a_short_name_is_not_set_and_the_save_goes_on() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let refused = writer.call(move |caller| caller.set_information(handle, SHORT_NAME, &name("OTHER~1")));
    assert_eq!(refused, Err(Status::NOT_SUPPORTED));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn classes_that_nobody_knows_are_refused() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for class in [38, 44, 71, 75, 77] {
        let refused = writer.call(move |caller| caller.set_information(handle, class, &[0; 64]));
        assert!(refused.is_err(), "{class}");
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn controls_that_modify_are_refused() {
    /// FSCTL_SET_COMPRESSION, SET_REPARSE_POINT, SET_OBJECT_ID, one that nobody knows.
    const CONTROLS: [u32; 4] = [0x9C040, 0x900A4, 0x90098, 0x9_1234];
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for code in CONTROLS {
        let refused = writer.call(move |caller| caller.fs_control(handle, code, &[0; 16], 0));
        assert_eq!(refused, Err(Status::INVALID_DEVICE_REQUEST), "{code:#x}");
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    let attributes = scene.lab.with_volume(|volume| volume.tree()[r"Saved\report.txt"].attributes);
    assert_eq!(attributes & 0xE00, 0, "neither sparse nor compressed nor a reparse point");
    scene.end();
}

/// What programs expect where it cannot be done, from `docs/operations.md`.
#[test]
fn controls_are_refused_with_statuses_that_programs_know() {
    const OFFLOAD_READ: Status = Status(0xC000_A2A3);
    const OFFLOAD_WRITE: Status = Status(0xC000_A2A4);
    const NO_BREAK: Status = Status(0xC000_00E3);
    let cases = [
        ("FSCTL_OFFLOAD_READ", 0x90264, OFFLOAD_READ),
        ("FSCTL_OFFLOAD_WRITE", 0x90268, OFFLOAD_WRITE),
        ("FSCTL_MANAGE_BYPASS_IO", 0x90448, Status::INVALID_DEVICE_REQUEST),
        ("FSCTL_OPLOCK_BREAK_ACKNOWLEDGE", 0x9000C, NO_BREAK),
        ("FSCTL_LOCK_VOLUME", 0x90018, Status::INVALID_PARAMETER),
        ("FSCTL_DISMOUNT_VOLUME", 0x90020, Status::INVALID_PARAMETER),
        ("FSCTL_MOVE_FILE", 0x90074, Status::INVALID_PARAMETER),
        ("FSCTL_FILE_LEVEL_TRIM", 0x98208, Status::INVALID_DEVICE_REQUEST),
        ("FSCTL_TXFS_SAVEPOINT_INFORMATION", 0x98178, Status::NOT_SUPPORTED),
        ("FSCTL_SET_ENCRYPTION", 0x900D7, Status::INVALID_DEVICE_REQUEST),
        ("FSCTL_DUPLICATE_EXTENTS_TO_FILE", 0x98344, Status::INVALID_DEVICE_REQUEST),
    ];
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for (name, code, status) in cases {
        let refused = writer.call(move |caller| caller.fs_control(handle, code, &[0; 32], 32));
        assert_eq!(refused.map(drop), Err(status), "{name}");
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn oplocks_are_not_granted() {
    /// FSCTL_REQUEST_OPLOCK_LEVEL_1, _LEVEL_2, BATCH, FILTER.
    const OPLOCKS: [u32; 4] = [0x90000, 0x90004, 0x90008, 0x9005C];
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for code in OPLOCKS {
        let refused = writer.call(move |caller| caller.fs_control(handle, code, &[], 0));
        assert_eq!(refused, Err(Status::OPLOCK_NOT_GRANTED), "{code:#x}");
    }
    scene.end();
}

#[test]
fn files_outside_of_saves_are_renamed_and_deleted_as_ever() {
    let scene = Scene::builder().file(r"Saved\second.txt", OLD).build();
    let program = scene.program("program.exe");
    program.call(|caller| {
        caller.rename_path(FILE, r"C:\Saved\renamed.txt", false).unwrap();
        caller.delete(r"C:\Saved\second.txt").unwrap();
    });
    scene.assert_committed(r"C:\Saved\renamed.txt", OLD);
    assert_eq!(scene.committed(r"C:\Saved\second.txt"), None);
    scene.assert_happened(&[]);
    scene.end();
}

#[test]
fn a_file_in_a_save_is_neither_renamed_nor_deleted_by_others_whom_it_does_not_let_in() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE).share(3)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    let renamed = other.call(|caller| caller.rename_path(FILE, r"C:\Saved\renamed.txt", false));
    assert_eq!(renamed, Err(Status::SHARING_VIOLATION));
    assert_eq!(other.call(|caller| caller.delete(FILE)), Err(Status::SHARING_VIOLATION));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}
