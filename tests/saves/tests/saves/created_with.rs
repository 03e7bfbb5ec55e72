//! What a create brings along for the file that it overwrites: extended attributes, a first allocation.

use intact_saves::{FILE, NEW, OLD, Scene, SceneBuilder};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Process};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
/// One FILE_FULL_EA_INFORMATION: no next, no flags, `KEY` = `value`.
const EA: &[u8] = b"\0\0\0\0\0\x03\x05\0KEY\0value";

fn has_ea(program: &Process, handle: Handle) -> bool {
    let found = program.call(move |caller| caller.query_ea(handle));
    found.is_ok_and(|found| found.windows(5).any(|window| window == b"value"))
}

#[test]
fn extended_attributes_of_an_overwriting_create_are_part_of_the_save() {
    for killed in [false, true] {
        let scene = Scene::new();
        let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
        let mut options = CreateOptions::overwrite_if(FILE, ALL);
        options.ea = EA.to_vec();
        let handle = writer.create_file(options).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        assert!(has_ea(&writer, handle));
        let before = reader.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        assert!(!has_ea(&reader, before), "not outside of the save");
        reader.close(before).unwrap();
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        let after = reader.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        assert_eq!(has_ea(&reader, after), !killed);
        scene.assert_committed(FILE, if killed { OLD } else { NEW });
        scene.end();
    }
}

/// The sizes that a program is told which overwrites a file with room for more.
fn allocated(builder: SceneBuilder) -> (u64, u64) {
    let scene = builder.build();
    let writer = scene.program("writer.exe");
    let mut options = CreateOptions::overwrite_if(FILE, ALL);
    options.allocation = 50_000;
    let handle = writer.create_file(options).unwrap();
    let told = writer.call(move |caller| caller.information(handle)).unwrap();
    writer.close(handle).unwrap();
    scene.exit_all();
    (told.size, told.allocation)
}

#[test]
fn the_first_allocation_of_an_overwriting_create_is_that_without_intact() {
    let bare = allocated(Scene::builder().bare());
    assert!(bare.1 >= 50_000, "{bare:?}");
    assert_eq!(allocated(Scene::builder()), bare);
}
