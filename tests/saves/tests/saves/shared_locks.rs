//! Byte-range locks that are shared stay so when the twin is exchanged.

use intact_saves::{FILE, NEW, Scene};
use lab::{CreateOptions, GENERIC_READ, Status};

#[test]
fn a_lock_is_after_a_flush_as_shared_as_it_was() {
    for exclusive in [false, true] {
        let scene = Scene::new();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let handle = scene.write_new(&writer);
        writer.call(move |caller| caller.lock(handle, 0, 5, exclusive, false)).unwrap();
        writer.flush(handle).unwrap();
        let reading = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        let read = other.read(reading, 0, 5);
        let locked = other.call(move |caller| caller.lock(reading, 0, 5, false, false));
        if exclusive {
            assert_eq!(read, Err(Status::FILE_LOCK_CONFLICT));
        } else {
            assert_eq!(read.unwrap(), NEW[..5]);
        }
        assert_eq!(locked.is_ok(), !exclusive);
        scene.end();
    }
}
