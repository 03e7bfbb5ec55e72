//! What a save cannot take back is refused on its handles, and nothing changes.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Status};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;

const RENAME: u32 = 10;
const LINK: u32 = 11;
const DISPOSITION: u32 = 13;
const SHORT_NAME: u32 = 40;
const DISPOSITION_EX: u32 = 64;
const RENAME_EX: u32 = 65;
const LINK_EX: u32 = 72;

/// FILE_RENAME_INFORMATION for a name in the same folder.
fn name(to: &str) -> Vec<u8> {
    let units: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut data = vec![0; 16];
    data.extend((units.len() as u32).to_le_bytes());
    data.extend(units);
    data
}

#[test]
fn changes_of_the_name_are_refused_and_the_save_goes_on() {
    let cases = [
        ("rename", RENAME, name("other.txt")),
        ("rename ex", RENAME_EX, name("other.txt")),
        ("link", LINK, name("other.txt")),
        ("link ex", LINK_EX, name("other.txt")),
        ("disposition", DISPOSITION, vec![1]),
        ("disposition ex", DISPOSITION_EX, vec![3, 0, 0, 0]),
        ("short name", SHORT_NAME, name("OTHER~1")),
    ];
    for (what, class, data) in cases {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        let refused = writer.call(move |caller| caller.set_information(handle, class, &data));
        assert_eq!(refused, Err(Status::NOT_SUPPORTED), "{what}");
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        assert_eq!(scene.committed(r"C:\Saved\other.txt"), None, "{what}");
        scene.assert_one_commit();
        scene.end();
    }
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
fn sections_of_a_writing_handle_are_refused() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for writable in [true, false] {
        let refused = writer.call(move |caller| caller.create_section(handle, writable).err());
        assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
    }
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn controls_that_modify_are_refused() {
    /// FSCTL_SET_SPARSE, SET_ZERO_DATA, SET_COMPRESSION, SET_REPARSE_POINT, SET_OBJECT_ID, one that nobody knows.
    const CONTROLS: [u32; 6] = [0x900C4, 0x980C8, 0x9C040, 0x900A4, 0x90098, 0x9_1234];
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
fn a_file_in_a_save_is_neither_renamed_nor_deleted_by_others() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.write_new(&writer);
    let renamed = other.call(|caller| caller.rename_path(FILE, r"C:\Saved\renamed.txt", false));
    assert_eq!(renamed, Err(Status::SHARING_VIOLATION));
    assert_eq!(other.call(|caller| caller.delete(FILE)), Err(Status::SHARING_VIOLATION));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}
