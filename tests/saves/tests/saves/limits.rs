//! Limits of one save, past which it is committed and its handles go on without a transaction.

use intact_saves::{FILE, Happened, OLD, Scene};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};

const MEGABYTE: usize = 1 << 20;
const TOO_LARGE: &str = "it has written more than its rule allows";
const WOUNDED: &str = "a write failed and was not made good";

fn scene(megabytes: u32) -> Scene {
    Scene::builder().rule(|rule| rule.number("MaxMegabytes", megabytes)).build()
}

/// Writes so many half megabytes, one after the other, each of a letter of its own.
fn write_halves(program: &Process, handle: Handle, halves: u8) {
    for half in 0..halves {
        let bytes = vec![b'A' + half; MEGABYTE / 2];
        assert_eq!(program.write(handle, u64::from(half) * bytes.len() as u64, &bytes), Ok(bytes.len()));
    }
}

fn demoted(scene: &Scene) -> bool {
    scene.happened().contains(&Happened::Demoted(TOO_LARGE.into()))
}

#[test]
fn a_save_within_its_limit_is_one_transaction() {
    let scene = scene(1);
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    write_halves(&writer, handle, 2);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    assert!(!demoted(&scene));
    scene.end();
}

#[test]
fn a_save_past_its_limit_is_committed_and_goes_on_without_a_transaction() {
    let scene = scene(1);
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    write_halves(&writer, handle, 4);
    assert!(demoted(&scene));
    assert_eq!(writer.read(handle, 3 * MEGABYTE as u64 / 2, 1).unwrap(), b"D");
    assert_eq!(writer.read(reading, 3 * MEGABYTE as u64 / 2, 1).unwrap(), b"D");
    writer.kill(1);
    let found = scene.committed(FILE).unwrap();
    assert_eq!((found.len(), found[0], found[2 * MEGABYTE - 1]), (2 * MEGABYTE, b'A', b'D'));
    let ends: Vec<_> = scene.happened().into_iter().filter(|event| *event == Happened::Committed).collect();
    assert_eq!(ends.len(), 1);
    scene.end();
}

#[test]
fn locks_positions_and_other_handles_outlive_the_end_of_the_transaction() {
    let scene = scene(1);
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let first = scene.open_file(&writer);
    let second = scene.open_file(&writer);
    writer.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
    writer.call(move |caller| caller.write(first, Offset::Current, b"12345")).unwrap();
    write_halves(&writer, first, 2);
    assert!(!demoted(&scene), "the limit is looked at before a write");
    writer.call(move |caller| caller.write(first, Offset::Current, b"678")).unwrap();
    assert!(demoted(&scene));
    let reading = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(other.read(reading, 0, 1), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(writer.write(second, 10, b"!"), Ok(1));
    writer.close(first).unwrap();
    writer.close(second).unwrap();
    assert_eq!(&scene.committed(FILE).unwrap()[3..12], b"AAAAAAA!A");
    scene.end();
}

#[test]
fn a_wounded_save_past_its_limit_publishes_nothing() {
    let scene = scene(1);
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert!(writer.write(handle, 100 * MEGABYTE as u64, &[7; MEGABYTE]).is_err());
    scene.lab.with_volume(|volume| volume.set_free_space(None));
    write_halves(&writer, handle, 4);
    assert!(!demoted(&scene));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    assert!(scene.happened().contains(&Happened::RolledBack(WOUNDED.into())));
    scene.end();
}

/// The limit is met by one of several threads that write at once through handles of their own.
#[test]
fn threads_that_write_past_the_limit_lose_nothing() {
    for seed in 1..=10 {
        let scene = Scene::builder().seed(seed).rule(|rule| rule.number("MaxMegabytes", 1)).build();
        let writer = scene.program("writer.exe");
        let calls: Vec<_> = (0..4_u8)
            .map(|thread| {
                writer.submit(move |caller| {
                    let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE);
                    let own = caller.create_file(&options)?.handle;
                    for piece in 0..3_u64 {
                        let at = (u64::from(thread) * 3 + piece) * MEGABYTE as u64 / 4;
                        caller.write(own, Offset::At(at), &[b'A' + thread; MEGABYTE / 4])?;
                    }
                    caller.close(own)
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(()), "seed {seed}: {:?}", scene.happened());
        }
        let found = scene.committed(FILE).unwrap();
        let whole = found
            .chunks(3 * MEGABYTE / 4)
            .zip(b'A'..)
            .all(|(part, letter)| part.iter().all(|byte| *byte == letter));
        assert!(whole && found.len() == 3 * MEGABYTE, "seed {seed}");
        scene.end();
    }
}
