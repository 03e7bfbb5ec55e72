//! Volumes that go while files are open: locked, dismounted, removed; and the system's shutdown (minifilter-rules §2.7).

use std::rc::Rc;

use intact_saves::{FILE, Happened, NEW, OLD, Scene, SceneBuilder, VOLUME_FILE};
use lab::{
    Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Lab, Offset, PowerState, Process, Status,
};
use lab_executive::scheduler::MILLISECOND;
use lab_volume::Volume;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const FSCTL_LOCK_VOLUME: u32 = 0x9_0018;
const FSCTL_UNLOCK_VOLUME: u32 = 0x9_001C;
const FSCTL_DISMOUNT_VOLUME: u32 = 0x9_0020;
const WENT_AWAY: &str = "the volume or the system went away first";
const GONE: &str = "the transaction had already ended";
const DIED: &str = "the process died with the file open";
const FRESH: &str = r"C:\Saved\fresh.txt";

/// Both answers to when instances go, and to what transacted handles answer.
fn both_ways() -> impl Iterator<Item = (bool, SceneBuilder)> {
    [false, true].into_iter().flat_map(|outlive| {
        [Status::VOLUME_DISMOUNTED, Status::HANDLE_NO_LONGER_VALID].map(|status| {
            let scene = Scene::builder().lab(|lab| {
                lab.instances_outlive_dismount(outlive)
                    .switches(|switches| switches.transacted_open_at_dismount = status)
            });
            (outlive, scene)
        })
    })
}

fn open_volume(caller: &Caller<'_>) -> Handle {
    caller.create_file(&CreateOptions::open(r"\??\C:", ALL)).unwrap().handle
}

/// Sends a control to the volume itself.
fn control(program: &Process, code: u32) -> Result<(), Status> {
    program.call(move |caller| {
        let volume = open_volume(caller);
        let told = caller.fs_control(volume, code, &[], 0).map(drop);
        caller.close(volume).unwrap();
        told
    })
}

pub(crate) fn dismount(scene: &Scene) {
    assert_eq!(control(&scene.program("chkdsk.exe"), FSCTL_DISMOUNT_VOLUME), Ok(()));
}

/// What a program is told that goes on with a handle of a volume that is gone.
fn told(program: &Process, handle: Handle) -> [Option<Status>; 4] {
    [
        program.write(handle, 0, b"late").err(),
        program.read(handle, 0, 1).err(),
        program.flush(handle).err(),
        program.call(move |caller| caller.set_end_of_file(handle, 0)).err(),
    ]
}

fn end_of(happened: &[Happened]) -> Option<&str> {
    match happened {
        [Happened::Begun, Happened::RolledBack(why)] => Some(why),
        _ => None,
    }
}

#[test]
fn a_dismount_leaves_the_old_file_and_the_program_is_told_what_it_would_be_told_without_intact() {
    for (outlive, builder) in both_ways() {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        dismount(&scene);
        scene.assert_committed(FILE, OLD);
        let known = [Status::VOLUME_DISMOUNTED, Status(0xC000_00E9)];
        for status in told(&writer, handle) {
            let status = status.expect("nothing works on a handle of a volume that is gone");
            assert!(known.contains(&status) && (outlive || status == known[0]), "{status}");
        }
        writer.close(handle).unwrap();
        scene.pass(10);
        scene.assert_committed(FILE, OLD);
        let why = if outlive { GONE } else { WENT_AWAY };
        assert_eq!(end_of(&scene.happened()), Some(why), "{outlive}: {:?}", scene.happened());
        // The volume is mounted again, with an instance of its own.
        let handle = scene.write_new(&writer);
        scene.assert_committed(FILE, OLD);
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

#[test]
fn a_program_may_save_again_while_it_has_a_handle_of_the_volume_that_is_gone() {
    for (_, builder) in both_ways() {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let dead = scene.write_new(&writer);
        dismount(&scene);
        let handle = scene.write_new(&writer);
        scene.assert_committed(FILE, OLD);
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        writer.kill(1);
        scene.assert_committed(FILE, NEW);
        let _ = dead;
        scene.end();
    }
}

#[test]
fn a_dismount_amid_creates_reads_writes_and_closes_leaves_each_file_whole() {
    for seed in 1..=60 {
        let outlive = seed % 2 == 0;
        let scene = Scene::builder()
            .seed(seed)
            .lab(|lab| {
                lab.instances_outlive_dismount(outlive).config(|config| config.preempt_per_mille = 400)
            })
            .build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let work: Vec<_> = (0..3)
            .map(|_| {
                writer.submit(|caller| {
                    for _ in 0..3 {
                        let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                        let done =
                            caller.write(handle, Offset::At(0), NEW).and_then(|_| caller.flush(handle));
                        let _ = caller.read(handle, Some(0), 10);
                        caller.close(handle)?;
                        done?;
                    }
                    Ok::<_, Status>(())
                })
            })
            .collect();
        let reads = other.submit(|caller| caller.contents(FILE));
        let chkdsk = scene.program("chkdsk.exe");
        let goes = chkdsk.submit(|caller| {
            let volume = open_volume(caller);
            let told = caller.fs_control(volume, FSCTL_DISMOUNT_VOLUME, &[], 0);
            caller.close(volume).unwrap();
            told
        });
        assert!(goes.wait().unwrap().is_ok(), "seed {seed}");
        for one in work {
            let told = one.wait().unwrap();
            let known = [
                Status::VOLUME_DISMOUNTED,
                Status(0xC000_00E9),
                Status::SHARING_VIOLATION,
                Status::FILE_CLOSED,
            ];
            assert!(told.is_ok() || known.contains(&told.unwrap_err()), "seed {seed}: {told:?}");
        }
        let _ = reads.wait().unwrap();
        let found = scene.committed(FILE).unwrap();
        assert!(found == OLD || found == NEW, "seed {seed}: {found:?}");
        let handle = scene.write_new(&writer);
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

#[test]
fn who_waits_for_a_lock_on_a_volume_that_goes_waits_no_longer() {
    for (_, builder) in both_ways() {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let options = || CreateOptions::open(FILE, ALL);
        let first = writer.create_file(options()).unwrap();
        let second = writer.create_file(options()).unwrap();
        writer.call(move |caller| caller.lock(first, 0, 10, true, true)).unwrap();
        let waits = writer.submit(move |caller| caller.lock(second, 0, 10, true, true));
        scene.pass(10);
        assert!(!waits.is_done());
        dismount(&scene);
        let told = waits.wait().unwrap();
        let known = [Status::VOLUME_DISMOUNTED, Status(0xC000_00E9), Status::LOCK_NOT_GRANTED];
        assert!(known.contains(&told.unwrap_err()), "{told:?}");
        for handle in [first, second] {
            writer.close(handle).unwrap();
        }
        scene.end();
    }
}

#[test]
fn a_view_of_a_file_on_a_volume_that_goes_keeps_nothing() {
    for (seed, closed) in (1..=12).flat_map(|seed| [(seed, false), (seed, true)]) {
        for (_, builder) in both_ways() {
            let scene = builder.seed(seed).build();
            let writer = scene.program("writer.exe");
            let handle = scene.write_new(&writer);
            let view = writer.call(move |caller| {
                let view = caller.create_section(handle, true).unwrap();
                caller.write_mapped(&view, 0, b"through a view").unwrap();
                view
            });
            if closed {
                writer.close(handle).unwrap();
            }
            dismount(&scene);
            scene.assert_committed(FILE, OLD);
            if !closed {
                writer.close(handle).unwrap();
            }
            writer.call(move |caller| caller.close_section(view));
            scene.pass(2_000);
            scene.assert_committed(FILE, OLD);
            let again = scene.write_new(&writer);
            writer.close(again).unwrap();
            scene.assert_committed(FILE, NEW);
            scene.end();
        }
    }
}

/// Nothing of a save is left when its volume is detached from, although somebody still has its file mapped.
#[test]
fn a_view_of_a_file_on_a_volume_that_is_detached_from_keeps_the_driver_no_longer() {
    for (_, builder) in both_ways().filter(|(outlive, _)| !outlive) {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        let view = writer.call(move |caller| {
            let view = caller.create_section(handle, true).unwrap();
            caller.close(handle).unwrap();
            view
        });
        // So long that the view is looked for once a second only.
        scene.pass(10_000);
        let begun = scene.lab.executive().scheduler.now();
        dismount(&scene);
        let taken = scene.lab.executive().scheduler.now() - begun;
        assert!(taken < 100 * MILLISECOND, "{taken}");
        let intact = scene.lab.drivers().pop().unwrap();
        let report = scene.lab.unload_driver(&intact).unwrap();
        assert!(report.is_clean(), "{report}");
        writer.call(move |caller| caller.close_section(view));
        scene.assert_committed(FILE, OLD);
    }
}

#[test]
fn a_reading_handle_a_plain_one_and_a_demoted_one_go_with_the_volume() {
    for (_, builder) in both_ways() {
        let builder = builder.rule(|rule| rule.number("MaxSeconds", 1));
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
        scene.pass(2_000);
        scene.assert_committed(FILE, NEW);
        // No transaction is to be had: a new file gets a plain twin.
        scene.lab.with_volume(|volume| volume.switches.resource_manager_active = false);
        let plain = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
        assert_eq!(writer.write(plain, 0, NEW), Ok(NEW.len()));
        scene.lab.with_volume(|volume| volume.switches.resource_manager_active = true);
        dismount(&scene);
        for handle in [handle, plain] {
            assert!(told(&writer, handle).iter().all(Option::is_some));
            writer.close(handle).unwrap();
        }
        assert!(writer.read(reading, 0, 1).is_err());
        writer.close(reading).unwrap();
        scene.pass(10);
        scene.assert_committed(FILE, NEW);
        scene.assert_committed(FRESH, NEW);
        let handle = scene.write_new(&writer);
        writer.close(handle).unwrap();
        scene.end();
    }
}

/// A save that was idle has been committed; what follows is a save of its own, in a transaction again.
#[test]
fn a_save_that_rests_or_has_been_resumed_goes_with_the_volume_and_what_was_committed_stays() {
    let ways: [Way; 3] = [
        |scene| control(&scene.program("chkdsk.exe"), FSCTL_DISMOUNT_VOLUME),
        |scene| scene.lab.surprise_removal(),
        |scene| scene.lab.shut_down(),
    ];
    for resumed in [false, true] {
        for way in ways {
            for (_, builder) in both_ways() {
                let scene = builder.rule(|rule| rule.number("MaxIdleSeconds", 5)).build();
                let writer = scene.program("writer.exe");
                let handle = scene.write_new(&writer);
                scene.pass(6_000);
                scene.assert_committed(FILE, NEW);
                if resumed {
                    writer.write(handle, 0, b"more").unwrap();
                }
                assert_eq!(way(&scene), Ok(()));
                let told = told(&writer, handle);
                assert!(told.iter().all(Option::is_some), "{told:?}");
                writer.close(handle).unwrap();
                scene.pass(10);
                let happened = scene.happened();
                let ended = happened.iter().filter(|event| matches!(event, Happened::RolledBack(_))).count();
                assert_eq!(ended, usize::from(resumed), "{happened:?}");
                scene.exit_all();
                let report = scene.lab.unload();
                assert!(report.is_clean(), "{report}");
                assert_eq!(mounted_elsewhere(&scene.lab, 1).contents(VOLUME_FILE).unwrap(), NEW);
            }
        }
    }
}

/// The limit in README: nobody is left who could remove it.
#[test]
fn a_new_file_may_stay_empty_on_a_volume_that_goes() {
    for (_, builder) in both_ways() {
        let scene = builder.build();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        dismount(&scene);
        writer.close(handle).unwrap();
        scene.pass(10);
        scene.assert_committed(FRESH, b"");
        scene.end();
    }
}

/// How somebody wants the volume.
type Way = fn(&Scene) -> Result<(), Status>;

/// Opens [`FILE`], which that makes empty, and closes it.
fn empty(program: &Process) {
    let handle = program.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    program.close(handle).unwrap();
}

#[test]
fn who_locks_the_volume_or_asks_for_its_removal_or_dismounts_it_ends_the_wait_of_a_hollow_save() {
    let ways: [(&str, Way); 4] = [
        ("lock", |scene| control(&scene.program("chkdsk.exe"), FSCTL_LOCK_VOLUME)),
        ("dismount", |scene| control(&scene.program("chkdsk.exe"), FSCTL_DISMOUNT_VOLUME)),
        ("query-remove", |scene| scene.lab.query_removal().and_then(|()| scene.lab.cancel_removal())),
        ("shutdown", |scene| scene.lab.shut_down()),
    ];
    for (name, way) in ways {
        for beside in [false, true] {
            let scene =
                Scene::builder().lab(|lab| lab.switches(|s| s.lock_beside_transactions = beside)).build();
            let writer = scene.program("writer.exe");
            empty(&writer);
            scene.assert_committed(FILE, OLD);
            assert_eq!(way(&scene), Ok(()), "{name}");
            scene.assert_committed(FILE, b"");
            scene.assert_one_commit();
            scene.end();
        }
    }
}

#[test]
fn a_hollow_save_of_a_device_that_was_pulled_out_is_rolled_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    empty(&writer);
    scene.lab.surprise_removal().unwrap();
    scene.assert_rolled_back(WENT_AWAY);
    writer.exit(0);
    assert_eq!(on_the_disk(scene, 1), OLD);
}

#[test]
fn a_volume_with_a_save_in_progress_is_neither_locked_nor_removed_and_the_save_goes_on() {
    let ways: [(&str, Way); 2] = [
        ("lock", |scene| control(&scene.program("chkdsk.exe"), FSCTL_LOCK_VOLUME)),
        ("query-remove", |scene| scene.lab.query_removal()),
    ];
    for (name, way) in ways {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        assert_eq!(way(&scene), Err(Status::ACCESS_DENIED), "{name}");
        writer.write(handle, 0, b"A").unwrap();
        writer.close(handle).unwrap();
        let mut expected = NEW.to_vec();
        expected[0] = b'A';
        scene.assert_committed(FILE, &expected);
        scene.assert_one_commit();
        scene.end();
    }
}

/// As chkdsk and format do it.
#[test]
fn a_volume_that_was_locked_and_dismounted_is_protected_when_it_is_back() {
    let scene = Scene::new();
    let (writer, chkdsk) = (scene.program("writer.exe"), scene.program("chkdsk.exe"));
    let volume = chkdsk.call(open_volume);
    let send = |code| chkdsk.call(move |caller| caller.fs_control(volume, code, &[], 0).map(drop));
    assert_eq!(send(FSCTL_LOCK_VOLUME), Ok(()));
    let open = || writer.create_file(CreateOptions::open(FILE, ALL));
    assert_eq!(open(), Err(Status::ACCESS_DENIED));
    assert_eq!(send(FSCTL_DISMOUNT_VOLUME), Ok(()));
    assert_eq!(open(), Err(Status::ACCESS_DENIED));
    assert_eq!(send(FSCTL_UNLOCK_VOLUME), Ok(()));
    chkdsk.close(volume).unwrap();
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(DIED);
    scene.end();
}

/// Unloads, takes the disk out and mounts it elsewhere: what is in [`FILE`].
fn on_the_disk(scene: Scene, seed: u64) -> Vec<u8> {
    scene.exit_all();
    let report = scene.lab.unload();
    assert!(report.is_clean(), "{report}");
    mounted_elsewhere(&scene.lab, seed).contents(VOLUME_FILE).unwrap()
}

fn mounted_elsewhere(lab: &Rc<Lab>, seed: u64) -> Volume {
    Volume::mount(lab.power_off(PowerState::Cut { seed })).unwrap()
}

#[test]
fn a_device_that_is_pulled_out_holds_the_old_file_whole() {
    for seed in 1..=12 {
        let outlive = seed % 2 == 0;
        let large = [NEW, &[7; 300_000]].concat();
        let scene = Scene::builder().seed(seed).lab(|lab| lab.instances_outlive_dismount(outlive)).build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.write(handle, 0, &large).unwrap();
        scene.lab.surprise_removal().unwrap();
        assert!(told(&writer, handle).iter().all(Option::is_some));
        assert_eq!(
            writer.create_file(CreateOptions::open(FILE, ALL)),
            Err(Status::NO_SUCH_DEVICE),
            "seed {seed}"
        );
        if seed % 3 == 0 {
            writer.kill(1);
        } else {
            writer.close(handle).unwrap();
        }
        scene.pass(10);
        assert!(end_of(&scene.happened()).is_some(), "seed {seed}: {:?}", scene.happened());
        assert_eq!(on_the_disk(scene, seed), OLD, "seed {seed}");
    }
}

#[test]
fn a_device_that_is_removed_as_announced_holds_what_was_saved() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.close(handle).unwrap();
    assert_eq!(scene.lab.query_removal(), Ok(()));
    assert_eq!(writer.create_file(CreateOptions::open(FILE, ALL)), Err(Status::ACCESS_DENIED));
    assert_eq!(scene.lab.cancel_removal(), Ok(()));
    let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
    assert_eq!(scene.lab.query_removal(), Err(Status::ACCESS_DENIED));
    writer.close(handle).unwrap();
    assert_eq!(scene.lab.query_removal(), Ok(()));
    assert_eq!(scene.lab.remove(), Ok(()));
    assert_eq!(writer.create_file(CreateOptions::open(FILE, ALL)), Err(Status::NO_SUCH_DEVICE));
    assert_eq!(on_the_disk(scene, 1), NEW);
}

/// Whether its process has ended by then or not (minifilter-rules §2.7: unknown).
#[test]
fn at_shutdown_a_save_that_is_not_closed_is_rolled_back_and_one_that_is_stays() {
    for ends_before in [Some(0), Some(1), None] {
        let scene = Scene::builder().file(r"Saved\other.txt", OLD).build();
        let writer = scene.program("writer.exe");
        let closed = writer.create_file(CreateOptions::open(r"C:\Saved\other.txt", ALL)).unwrap();
        writer.write(closed, 0, NEW).unwrap();
        writer.close(closed).unwrap();
        let handle = scene.write_new(&writer);
        if let Some(status) = ends_before {
            writer.kill(status);
        }
        assert_eq!(scene.lab.shut_down(), Ok(()));
        let why = match ends_before {
            Some(0) => None,
            Some(_) => Some(DIED),
            None => Some(WENT_AWAY),
        };
        let outcome = why.map_or(Happened::Committed, |why| Happened::RolledBack(why.into()));
        scene.assert_happened(&[Happened::Begun, Happened::Committed, Happened::Begun, outcome]);
        if ends_before.is_none() {
            // Whoever is still there is told, and may close.
            assert!(told(&writer, handle).iter().all(|status| *status == Some(Status(0xC000_00E9))));
            writer.close(handle).unwrap();
        }
        let expected = if ends_before == Some(0) { NEW } else { OLD };
        let after = mounted_elsewhere(&scene.lab, 3);
        assert_eq!(after.contents(VOLUME_FILE).unwrap(), expected);
        assert_eq!(after.contents(r"Saved\other.txt").unwrap(), NEW);
    }
}

#[test]
fn at_shutdown_a_new_file_that_is_not_closed_goes() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::create(FRESH, ALL)).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    assert_eq!(scene.lab.shut_down(), Ok(()));
    scene.assert_rolled_back(WENT_AWAY);
    writer.close(handle).unwrap();
    assert_eq!(scene.committed(FRESH), None);
    scene.end();
}

#[test]
fn at_shutdown_a_save_whose_file_is_mapped_is_rolled_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let _view = writer.call(move |caller| caller.create_section(handle, true)).unwrap();
    writer.close(handle).unwrap();
    scene.assert_happened(&[Happened::Begun]);
    assert_eq!(scene.lab.shut_down(), Ok(()));
    scene.assert_rolled_back(WENT_AWAY);
    scene.end();
}
