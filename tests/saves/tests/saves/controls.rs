//! Controls that modify a file in a save, where TxF takes them and where it does not.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{Handle, Process, Status};

const SET_SPARSE: u32 = 0x9_00C4;
const SET_ZERO_DATA: u32 = 0x9_80C8;
const ALLOCATED: u32 = 0x9_40CF;

/// A volume whose TxF takes FSCTL_SET_ZERO_DATA, which is not known (txf-ktm §4.9).
fn scene(taken: bool) -> Scene {
    let status = if taken { Status::SUCCESS } else { Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION };
    Scene::builder().lab(move |lab| lab.switches(|s| s.zero_data_in_transaction = status)).build()
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
        let scene = scene(true);
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

/// Programs that meet it write zeros instead.
#[test]
fn zeros_that_txf_refuses_are_told_as_by_a_volume_that_cannot_and_wound_nothing() {
    let scene = scene(false);
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert_eq!(zero(&writer, handle, 4, 7), Err(Status::INVALID_DEVICE_REQUEST));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_sparse_file_is_not_made_in_a_save_and_its_program_goes_on() {
    let scene = scene(true);
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let refused = writer.call(move |caller| caller.fs_control(handle, SET_SPARSE, &[1], 0));
    assert_eq!(refused, Err(Status::INVALID_DEVICE_REQUEST));
    let ranges = writer.call(move |caller| {
        caller.fs_control(handle, ALLOCATED, &[[0; 8], 4096_i64.to_le_bytes()].concat(), 64)
    });
    assert_eq!(ranges.map(|bytes| bytes.len()), Ok(16));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// Zeros end with the file: a failed write behind its end is not made good by them.
#[test]
fn zeros_heal_nothing_and_a_failure_of_theirs_wounds() {
    let scene = scene(true);
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
