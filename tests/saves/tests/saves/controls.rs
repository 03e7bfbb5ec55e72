//! Controls that modify a file in a save, where TxF takes them. (Where it does not: `sparse.rs`.)

use intact_saves::{FILE, OLD, Scene};
use lab::{Handle, Process, Status};

const SET_ZERO_DATA: u32 = 0x9_80C8;

/// A volume whose TxF takes FSCTL_SET_ZERO_DATA, which is not known (txf-ktm §4.9).
fn scene() -> Scene {
    Scene::builder().lab(|lab| lab.switches(|s| s.zero_data_in_transaction = Status::SUCCESS)).build()
}

fn zero(program: &Process, handle: Handle, from: i64, to: i64) -> Result<(), Status> {
    program.call(move |caller| {
        let range = [from.to_le_bytes(), to.to_le_bytes()].concat();
        caller.fs_control(handle, SET_ZERO_DATA, &range, 0).map(drop)
    })
}

#[test]
fn zeros_over_a_range_are_part_of_the_save() {
    for killed in [false, true] {
        let scene = scene();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        zero(&writer, handle, 4, 7).unwrap();
        scene.assert_committed(FILE, OLD);
        if killed {
            writer.kill(1);
            scene.assert_committed(FILE, OLD);
        } else {
            writer.close(handle).unwrap();
            let mut zeroed = OLD.to_vec();
            zeroed[4..7].fill(0);
            scene.assert_committed(FILE, &zeroed);
        }
        scene.end();
    }
}

/// Zeros end with the file: a failed write behind its end is not made good by them.
#[test]
fn zeros_heal_nothing_and_a_failure_of_theirs_wounds() {
    let scene = scene();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
    zero(&writer, handle, 0, 200_000).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back("a write failed and was not made good");
    scene.end();

    let status = Status::DISK_FULL;
    let scene =
        Scene::builder().lab(move |lab| lab.switches(|s| s.zero_data_in_transaction = status)).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert_eq!(zero(&writer, handle, 0, 4), Err(Status::DISK_FULL));
    writer.write(handle, 4, &[7; 4]).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// As a failed write is: by one over all of its range, wherever else is written.
#[test]
fn a_failed_zeroing_is_made_good_by_a_write_over_its_range() {
    for (at, length, healed) in [(4, 4, true), (3, 6, true), (4, 3, false), (5, 3, false), (8, 8, false)] {
        let status = Status::DISK_FULL;
        let scene =
            Scene::builder().lab(move |lab| lab.switches(|s| s.zero_data_in_transaction = status)).build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        assert_eq!(zero(&writer, handle, 4, 8), Err(Status::DISK_FULL));
        writer.write(handle, at, &vec![b'z'; length]).unwrap();
        writer.close(handle).unwrap();
        let mut expected = OLD.to_vec();
        if healed {
            let at = usize::try_from(at).unwrap();
            expected[at..at + length].fill(b'z');
            scene.assert_one_commit();
        } else {
            scene.assert_rolled_back("a write failed and was not made good");
        }
        scene.assert_committed(FILE, &expected);
        scene.end();
    }
}
