//! New names that a program says relative to a folder which it has open.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Process};

const RENAME: u32 = 10;
const LINK: u32 = 11;
const SUB: &str = r"C:\Saved\Sub";
const ELSEWHERE: &str = r"C:\Saved\Sub\moved.txt";
const BESIDE: &str = r"C:\Saved\moved.txt";
const DIRECTORY: u32 = 0x1;

/// FILE_RENAME_INFORMATION and FILE_LINK_INFORMATION for a name below a folder.
fn below(folder: Handle, name: &str) -> Vec<u8> {
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u32::try_from(units.len()).unwrap();
    [&[0; 8], &folder.0.to_le_bytes()[..], &length.to_le_bytes(), &units].concat()
}

fn folder(program: &Process) -> Handle {
    program.create_file(CreateOptions::open(SUB, GENERIC_READ).options(DIRECTORY)).unwrap()
}

#[test]
fn a_name_below_an_open_folder_is_made_in_that_folder() {
    for class in [RENAME, LINK] {
        for killed in [false, true] {
            let scene = Scene::builder().file(r"Saved\Sub\inner.txt", b"inner").build();
            let writer = scene.program("writer.exe");
            let folder = folder(&writer);
            let handle =
                writer.create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE | DELETE)).unwrap();
            writer.write(handle, 0, NEW).unwrap();
            let to = below(folder, "moved.txt");
            writer.call(move |caller| caller.set_information(handle, class, &to)).unwrap();
            if killed {
                writer.kill(1)
            } else {
                writer.close(handle).unwrap()
            }
            let first = if killed { Some(OLD) } else { Some(NEW).filter(|_| class == LINK) };
            assert_eq!(scene.committed(FILE).as_deref(), first, "{class} {killed}");
            assert_eq!(
                scene.committed(ELSEWHERE).as_deref(),
                Some(NEW).filter(|_| !killed),
                "{class} {killed}"
            );
            assert_eq!(scene.committed(BESIDE), None);
            scene.end();
        }
    }
}
