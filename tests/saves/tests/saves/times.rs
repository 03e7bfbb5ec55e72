//! Limits of time, past which a save is committed and its handles go on without a transaction.

use intact_saves::{FILE, Happened, NEW, OLD, Scene, SceneBuilder, failing_calls};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Offset, Status};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const TOO_LONG: &str = "it has taken longer than its rule allows";
const IDLE: &str = "nothing was modified for longer than its rule allows";
const WOUNDED: &str = "a write failed and was not made good";
const SECOND: i64 = 1_000;

fn with(value: &'static str, seconds: u32) -> SceneBuilder {
    Scene::builder().rule(|rule| rule.number(value, seconds))
}

fn demotions(scene: &Scene) -> Vec<String> {
    let why = |event| match event {
        Happened::Demoted(why) => Some(why),
        _ => None,
    };
    scene.happened().into_iter().filter_map(why).collect()
}

#[test]
fn a_save_that_takes_too_long_is_committed_and_goes_on_without_a_transaction() {
    let scene = with("MaxSeconds", 10).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for second in 1..=9_u64 {
        scene.pass(SECOND);
        scene.assert_committed(FILE, OLD);
        assert_eq!(writer.write(handle, 100 + second, b"."), Ok(1), "it is not idle");
    }
    scene.pass(2 * SECOND);
    assert_eq!(demotions(&scene), [TOO_LONG]);
    assert_eq!(&scene.committed(FILE).unwrap()[..NEW.len()], NEW);
    assert_eq!(writer.write(handle, 0, b"A"), Ok(1));
    assert_eq!(writer.read(handle, 0, 1).unwrap(), b"A");
    writer.kill(1);
    assert_eq!(&scene.committed(FILE).unwrap()[..2], [b'A', NEW[1]]);
    assert_eq!(scene.happened().iter().filter(|event| **event == Happened::Committed).count(), 1);
    scene.end();
}

#[test]
fn a_save_in_which_nothing_happens_any_more_is_committed() {
    let scene = with("MaxIdleSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    for step in 0..10_u64 {
        scene.pass(3 * SECOND);
        assert_eq!(writer.write(handle, 100 + step, b"."), Ok(1));
    }
    scene.assert_committed(FILE, OLD);
    // Reading is no modification.
    scene.pass(3 * SECOND);
    writer.read(handle, 0, 1).unwrap();
    scene.pass(3 * SECOND);
    assert_eq!(demotions(&scene), [IDLE]);
    assert_eq!(&scene.committed(FILE).unwrap()[..NEW.len()], NEW);
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn within_its_limits_a_save_is_one_transaction() {
    for value in ["MaxSeconds", "MaxIdleSeconds"] {
        let scene = with(value, 10).build();
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        scene.pass(9 * SECOND);
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        assert_eq!(demotions(&scene), [""; 0]);
        scene.end();
    }
}

#[test]
fn the_longest_time_begins_with_the_first_modification() {
    let scene = with("MaxSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.pass(3600 * SECOND);
    writer.write(handle, 0, b"half").unwrap();
    scene.pass(4 * SECOND);
    scene.assert_committed(FILE, OLD);
    writer.flush(handle).unwrap();
    scene.pass(3600 * SECOND);
    assert_eq!(demotions(&scene), [""; 0], "what was flushed is published");
    writer.write(handle, 0, b"HALF").unwrap();
    scene.pass(6 * SECOND);
    assert_eq!(demotions(&scene).len(), 1);
    scene.end();
}

/// What a flush has published is over: the time of what comes after it is its own.
#[test]
fn after_a_flush_the_longest_time_begins_anew() {
    let scene = with("MaxSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.pass(3 * SECOND);
    writer.flush(handle).unwrap();
    scene.pass(SECOND);
    writer.write(handle, 0, b"next").unwrap();
    scene.pass(4 * SECOND);
    assert_eq!(demotions(&scene), [""; 0]);
    scene.assert_committed(FILE, NEW);
    scene.pass(2 * SECOND);
    assert_eq!(demotions(&scene).len(), 1);
    writer.close(handle).unwrap();
    scene.end();
}

/// What could not commit at a close is not published by time either, however long it lasts.
#[test]
fn a_wounded_save_past_its_limits_publishes_nothing_until_it_has_healed() {
    for value in ["MaxSeconds", "MaxIdleSeconds"] {
        for heals in [false, true] {
            let scene = with(value, 5).build();
            let writer = scene.program("writer.exe");
            let handle = scene.write_new(&writer);
            scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
            assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Err(Status::DISK_FULL));
            scene.lab.with_volume(|volume| volume.set_free_space(None));
            scene.pass(60 * SECOND);
            scene.assert_committed(FILE, OLD);
            assert_eq!(demotions(&scene), [""; 0]);
            if heals {
                assert_eq!(writer.write(handle, 100_000, &[7; 100_000]), Ok(100_000));
                scene.pass(6 * SECOND);
                assert_eq!(demotions(&scene).len(), 1);
                assert_eq!(scene.committed(FILE).unwrap().len(), 200_000);
            } else {
                writer.close(handle).unwrap();
                scene.assert_committed(FILE, OLD);
                scene.assert_rolled_back(WOUNDED);
            }
            scene.end();
        }
    }
}

#[test]
fn a_mapped_file_is_left_alone_until_it_is_mapped_no_more() {
    let scene = with("MaxIdleSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let view = writer.call(move |caller| caller.create_section(handle, true).unwrap());
    scene.pass(60 * SECOND);
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| {
        caller.write_mapped(&view, 0, b"M").unwrap();
        caller.close_section(view);
    });
    scene.pass(6 * SECOND);
    scene.assert_committed(FILE, &[b"M", &NEW[1..]].concat());
    assert_eq!(demotions(&scene), [IDLE]);
    scene.end();
}

#[test]
fn a_mapped_file_past_its_megabytes_is_left_alone_too() {
    let scene = with("MaxMegabytes", 1).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let view = writer.call(move |caller| caller.create_section(handle, true).unwrap());
    for part in 0..4_u64 {
        assert_eq!(writer.write(handle, part << 19, &[b'x'; 1 << 19]), Ok(1 << 19));
    }
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| {
        caller.write_mapped(&view, 0, b"M").unwrap();
        caller.close_section(view);
        caller.close(handle).unwrap();
    });
    assert_eq!(&scene.committed(FILE).unwrap()[..2], b"Mx");
    scene.end();
}

#[test]
fn a_save_with_a_name_of_its_own_is_left_alone() {
    let scene = with("MaxSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::open(FILE, ALL | DELETE)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    writer.call(move |caller| caller.rename(handle, r"C:\Saved\moved.txt", false)).unwrap();
    scene.pass(60 * SECOND);
    scene.assert_committed(FILE, OLD);
    writer.close(handle).unwrap();
    scene.assert_committed(r"C:\Saved\moved.txt", NEW);
    scene.end();
}

#[test]
fn locks_and_other_handles_outlive_the_end_of_the_transaction() {
    let scene = with("MaxIdleSeconds", 5).build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let first = scene.write_new(&writer);
    let second = scene.open_file(&writer);
    writer.call(move |caller| caller.lock(first, 0, 5, true, false)).unwrap();
    scene.pass(6 * SECOND);
    assert_eq!(demotions(&scene), [IDLE]);
    let reading = other.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    assert_eq!(other.read(reading, 0, 1), Err(Status::FILE_LOCK_CONFLICT));
    assert_eq!(writer.write(second, 10, b"!"), Ok(1));
    writer.close(first).unwrap();
    writer.close(second).unwrap();
    assert_eq!(scene.committed(FILE).unwrap()[10], b'!');
    scene.end();
}

#[test]
fn a_save_whose_transaction_was_aborted_is_not_ended_by_time() {
    let scene = with("MaxSeconds", 5).build();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    scene.lab.with_volume(|volume| volume.abort_after_operations(0));
    let _ = writer.write(handle, 0, b"x");
    scene.pass(60 * SECOND);
    assert_eq!(demotions(&scene), [""; 0]);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// Threads that go on writing while the time runs out.
#[test]
fn threads_that_write_past_the_limit_lose_nothing() {
    for seed in 1..=15 {
        let scene = with("MaxSeconds", 1).seed(seed).build();
        let writer = scene.program("writer.exe");
        let held = scene.write_new(&writer);
        scene.pass(900);
        let calls: Vec<_> = (0..4_u8)
            .map(|thread| {
                writer.submit(move |caller| {
                    let own = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                    for piece in 0..8_u64 {
                        let at = u64::from(thread) * 8 + piece;
                        caller.write(own, Offset::At(at), &[b'A' + thread])?;
                    }
                    caller.close(own)
                })
            })
            .collect();
        for step in 0..40 {
            scene.pass(20 + step);
        }
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(()), "seed {seed}: {:?}", scene.happened());
        }
        writer.close(held).unwrap();
        let expected: Vec<u8> = (0..4_u8).flat_map(|thread| [b'A' + thread; 8]).collect();
        assert_eq!(&scene.committed(FILE).unwrap()[..32], expected, "seed {seed}");
        scene.end();
    }
}

#[test]
fn whichever_import_fails_the_file_is_whole_and_nothing_is_left() {
    let write = |caller: &Caller<'_>| {
        let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
        caller.write(handle, Offset::At(0), NEW).map(|_| handle)
    };
    let run = |builder: SceneBuilder, limit: i64| {
        let (scene, loaded) = builder.try_build();
        let writer = scene.program("writer.exe");
        let written = writer.call(write);
        scene.pass(limit * SECOND);
        let closed = written.is_ok_and(|handle| writer.close(handle).is_ok());
        (scene, loaded.is_ok(), closed)
    };
    let sites = |limit| {
        let (scene, ..) = run(with("MaxSeconds", 2), limit);
        let sites = scene.lab.executive().calls.sites();
        scene.assert_committed(FILE, NEW);
        scene.end();
        sites
    };
    for (site, fault) in failing_calls(&sites(1), sites(4)) {
        let (scene, ..) = run(with("MaxSeconds", 2).lab(|lab| lab.fault(fault)), 4);
        let found = scene.committed(FILE).unwrap();
        let what = format!("{} from {:?}: {:?}", site.import, site.frames, scene.happened());
        assert!(found == NEW || found == OLD, "{what}");
        let committed = scene.happened().contains(&Happened::Committed);
        assert_eq!(committed, found == NEW, "{what}");
        scene.end();
    }
}
