//! Cutting a file after a write that failed: it is made good only if nothing is left of where the write was to go.

use intact_saves::{FILE, OLD, Scene};
use lab::Status;

#[test]
fn a_cut_makes_good_what_was_to_begin_behind_it_and_nothing_else() {
    for (size, healed) in [(1, true), (100_000, true), (100_001, false), (150_000, false)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
        assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
        scene.lab.with_volume(|volume| volume.set_free_space(None));
        writer.call(move |caller| caller.set_end_of_file(handle, size)).unwrap();
        writer.close(handle).unwrap();
        if healed {
            let mut expected = OLD.to_vec();
            expected.resize(usize::try_from(size).unwrap(), 0);
            scene.assert_committed(FILE, &expected);
        } else {
            scene.assert_committed(FILE, OLD);
            scene.assert_rolled_back("a write failed and was not made good");
        }
        scene.end();
    }
}
