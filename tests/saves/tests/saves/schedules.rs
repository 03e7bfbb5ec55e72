//! The same scenarios under many schedules, and with another driver above or below.

mod makers;

use intact_saves::{FILE, Happened, NEW, OLD, Scene, SceneBuilder, seen, test_driver};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset, Process, Status};
use lab_executive::scheduler::MILLISECOND;

const SEEDS: u64 = 40;

/// Several threads of one process open, write their part, and close, all at once.
fn writers(writer: &Process, threads: u8) -> Vec<lab::Pending<Result<usize, Status>>> {
    let write = |thread: u8| {
        writer.submit(move |caller| {
            let created = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE))?;
            let written = caller.write(created.handle, Offset::At(u64::from(thread)), &[b'A' + thread]);
            caller.close(created.handle).unwrap();
            written
        })
    };
    (0..threads).map(write).collect()
}

#[test]
fn threads_of_one_process_write_and_close_in_any_order() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let handles: Vec<_> = (0..6).map(|_| scene.open_file(&writer)).collect();
        let calls: Vec<_> = (b'A'..)
            .zip(handles)
            .map(|(letter, handle)| {
                writer.submit(move |caller| {
                    caller.write(handle, Offset::At(u64::from(letter - b'A')), &[letter]).unwrap();
                    caller.close(handle).unwrap();
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.wait().unwrap());
        scene.assert_committed(FILE, b"ABCDEFd version");
        assert_eq!(scene.happened().iter().filter(|event| **event == Happened::Committed).count(), 1);
        scene.end();
    }
}

#[test]
fn a_kill_amid_writing_threads_leaves_whole_saves() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let held = scene.open_file(&writer);
        let calls = writers(&writer, 4);
        writer.call(move |caller| caller.write(held, Offset::At(5), b"X")).unwrap();
        writer.kill(1);
        assert!(calls.iter().all(lab::Pending::is_done), "seed {seed}");
        // The held handle is in every save of the file until the kill, unless its own was over before theirs began.
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

#[test]
fn threads_of_one_process_open_write_and_close_one_file_at_once() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let begun = scene.lab.executive().scheduler.now();
        let all: Vec<_> = writers(&writer, 6).into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(all, [Ok(1); 6], "seed {seed}: {:?}", scene.happened());
        scene.assert_committed(FILE, b"ABCDEFd version");
        // Who waits for another thread is woken, and does not wait for his time to be over.
        assert!(scene.lab.executive().scheduler.now() - begun < 1_000 * MILLISECOND, "seed {seed}");
        scene.end();
    }
}

#[test]
fn unloading_amid_saves_is_refused_or_clean() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let calls = writers(&writer, 4);
        let intact = scene.lab.drivers().pop().unwrap();
        let report = scene.lab.unload_driver(&intact);
        let all: Vec<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(all, [Ok(1); 4], "seed {seed}: {:?}", scene.happened());
        scene.assert_committed(FILE, b"ABCDold version");
        match report {
            Ok(report) => assert!(report.is_clean(), "seed {seed}: {report}"),
            Err(_) => scene.end(),
        }
    }
}

#[test]
fn readers_beside_a_writer_see_old_or_new_and_nothing_between() {
    for seed in 1..=SEEDS {
        let scene = Scene::builder().seed(seed).build();
        let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
        let reads: Vec<_> = (0..5).map(|_| reader.submit(|caller| caller.contents(FILE))).collect();
        let write = writer.submit(|caller| {
            let handle = caller.create_file(&CreateOptions::open(FILE, GENERIC_WRITE)).unwrap().handle;
            caller.write(handle, Offset::At(0), &NEW[..10]).unwrap();
            caller.write(handle, Offset::At(10), &NEW[10..]).unwrap();
            caller.close(handle).unwrap();
        });
        write.wait().unwrap();
        for read in reads {
            let seen = read.wait().unwrap().unwrap();
            assert!(seen == OLD || seen == NEW, "seed {seed}: {:?}", String::from_utf8_lossy(&seen));
        }
        scene.end();
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let run = |seed| {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        writers(&writer, 4).into_iter().for_each(|call| drop(call.wait()));
        scene.lab.trace_hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// A clean save and a killed one, whoever else is in the stack.
fn saves_work(build: impl Fn() -> SceneBuilder) {
    for (killed, expected) in [(false, NEW), (true, OLD)] {
        let scene = build().build();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        assert_eq!(writer.read(handle, 0, 100).unwrap(), NEW);
        assert_eq!(scene.program("other.exe").contents(FILE).unwrap(), OLD);
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        scene.assert_committed(FILE, expected);
        assert!(scene.happened().contains(&Happened::Begun));
        scene.end();
    }
}

#[test]
fn a_driver_above_does_not_matter() {
    saves_work(|| Scene::builder().driver("Nothing", test_driver("nothing"), "370000"));
}

#[test]
fn a_driver_below_does_not_matter() {
    saves_work(|| Scene::builder().driver("Nothing", test_driver("nothing"), "45000"));
}

#[test]
fn undocumented_behaviour_either_way_does_not_matter() {
    let switches: [fn(lab::Builder) -> lab::Builder; 7] = [
        |lab| lab.transaction_after_swap(false),
        |lab| lab.access_from_security_context(true),
        |lab| lab.completions_elsewhere(false),
        |lab| lab.switches(|switches| switches.lock_outlives_unmodified_handle = false),
        |lab| lab.switches(|switches| switches.write_attributes_alone_is_writer = false),
        |lab| lab.switches(|switches| switches.supersede_changes_id = true),
        |lab| lab.switches(|switches| switches.execute_in_modifying_transaction = true),
    ];
    for switch in switches {
        saves_work(|| Scene::builder().lab(switch));
    }
}

/// Two programs that save one file: whoever gets in while the other one's twins are exchanged does not take its file away.
#[test]
fn programs_that_save_one_file_at_once_lose_no_handle() {
    for share in [7, 0] {
        for seed in 1..=SEEDS {
            let scene = Scene::builder()
                .seed(seed)
                .lab(|lab| lab.config(|config| config.preempt_per_mille = 400))
                .build();
            let (one, other) = (scene.program("one.exe"), scene.program("other.exe"));
            let held = one
                .create_file(CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).share(share))
                .unwrap();
            let theirs = other.submit(move |caller| {
                let options = CreateOptions::open(FILE, GENERIC_WRITE).share(share);
                (0..6).for_each(|_| {
                    if let Ok(created) = caller.create_file(&options) {
                        let told = caller.write(created.handle, Offset::At(4), b"x");
                        assert_eq!(told, Ok(1));
                        caller.close(created.handle).unwrap();
                    }
                });
            });
            for round in 0..4 {
                let told = one.write(held, 0, b"w");
                assert_eq!(told, Ok(1), "share {share}, seed {seed}, round {round}: {:?}", seen(&scene.lab));
                one.flush(held).unwrap();
            }
            theirs.wait().unwrap();
            one.close(held).unwrap();
            scene.end();
        }
    }
}

/// Whoever of them makes the file, and whoever finds it made: all are in one save, and nothing is left of a killed one.
#[test]
fn threads_of_one_process_that_make_one_file_at_once_are_in_one_save() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    // Few turns in between: the threads come to different places then.
    for seed in 1..=8 * SEEDS {
        let (threads, preempt) = if seed % 2 == 0 { (4, 50) } else { (6, 20) };
        let scene = Scene::builder()
            .seed(seed)
            .lab(|lab| lab.config(|config| config.preempt_per_mille = preempt))
            .build();
        let writer = scene.program("writer.exe");
        let make = |thread: u8| {
            writer.submit(move |caller| {
                let options = CreateOptions::open_if(FRESH, GENERIC_READ | GENERIC_WRITE);
                let created = caller.create_file(&options)?;
                caller.write(created.handle, Offset::At(u64::from(thread)), &[b'A' + thread])
            })
        };
        let calls: Vec<_> = (0..threads).map(make).collect();
        for call in calls {
            assert_eq!(call.wait().unwrap(), Ok(1), "seed {seed}: {:?}", scene.happened());
        }
        let passed = scene.happened().iter().any(|event| matches!(event, Happened::PassedThrough(_)));
        assert!(!passed, "seed {seed}: {:?}", scene.happened());
        scene.assert_committed(FRESH, b"");
        writer.kill(1);
        assert_eq!(scene.committed(FRESH), None, "seed {seed}");
        scene.end();
    }
}
