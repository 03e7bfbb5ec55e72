//! Volumes that go at any moment: between any two steps of a program, amid a save of several files, with the power, and
//! against whoever unloads, detaches or dismounts at the same time (minifilter-rules §2.7).

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, cuts};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_volume::Volume;

use crate::unload::{DO_NOT_DETACH, attached_by_hand};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE;
const FSCTL_LOCK_VOLUME: u32 = 0x9_0018;
const FSCTL_DISMOUNT_VOLUME: u32 = 0x9_0020;
const UNEXPECTED: Status = Status(0xC000_00E9);
/// STATUS_FLT_DELETING_OBJECT.
const DELETING_OBJECT: Status = Status(0xC01C_000B);
const OTHER: &str = r"C:\Saved\other.txt";
const MOVED: &str = r"C:\Saved\moved.txt";
const FRESH: &str = r"C:\Saved\fresh.txt";

fn control(caller: &Caller<'_>, code: u32) -> Result<(), Status> {
    let volume = caller.create_file(&CreateOptions::open(r"\??\C:", ALL)).unwrap().handle;
    let told = caller.fs_control(volume, code, &[], 0).map(drop);
    caller.close(volume).unwrap();
    told
}

fn tell(scene: &Scene, code: u32) -> Result<(), Status> {
    scene.program("chkdsk.exe").call(move |caller| control(caller, code))
}

type Step = fn(&Caller<'_>, Handle) -> Result<(), Status>;

/// What a program does to its file. It takes whatever comes, and closes.
const STEPS: [(&str, Step); 10] = [
    ("write", |caller, handle| caller.write(handle, Offset::At(0), NEW).map(drop)),
    ("lock", |caller, handle| caller.lock(handle, 0, 10, true, false)),
    ("cut", |caller, handle| caller.set_end_of_file(handle, 20)),
    ("read", |caller, handle| caller.read(handle, Some(0), 10).map(drop)),
    ("security", |caller, handle| caller.security(handle).map(drop)),
    ("map", |caller, handle| {
        let view = caller.create_section(handle, true)?;
        let written = caller.write_mapped(&view, 0, b"mapped");
        caller.close_section(view);
        written
    }),
    ("rename", |caller, handle| caller.rename(handle, MOVED, false)),
    ("flush", |caller, handle| caller.flush(handle)),
    ("mark for deletion", |caller, handle| caller.set_delete(handle, true)),
    ("keep", |caller, handle| caller.set_delete(handle, false)),
];

/// The file has its old contents and its old name, whatever had been done; nothing is left; and what the program is told it
/// would be told by a volume without Intact, or by a disk that failed.
#[test]
fn between_any_two_steps_a_volume_may_go_and_the_file_is_the_old_one() {
    let pulled_out: Way = |scene| scene.lab.surprise_removal().unwrap();
    let dismounted: Way = |scene| tell(scene, FSCTL_DISMOUNT_VOLUME).unwrap();
    let shut_down: Way = |scene| scene.lab.shut_down().unwrap();
    for (name, way) in [("pulled out", pulled_out), ("dismounted", dismounted), ("shut down", shut_down)] {
        for outlive in [false, true] {
            for before in 0..=STEPS.len() {
                let what = format!("{name} before step {before}, instances outlive it: {outlive}");
                let defer = |rule: Rule| rule.text("OnFlush", "Defer").strings("Processes", &["writer.exe"]);
                let scene =
                    Scene::builder().rule(defer).lab(|lab| lab.instances_outlive_dismount(outlive)).build();
                let writer = scene.program("writer.exe");
                let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
                for (index, (step, does)) in STEPS.into_iter().enumerate() {
                    if index == before {
                        way(&scene);
                    }
                    let told = writer.call(move |caller| does(caller, handle));
                    let known = [
                        Status::VOLUME_DISMOUNTED,
                        Status::NO_SUCH_DEVICE,
                        Status::INSUFFICIENT_RESOURCES,
                        UNEXPECTED,
                    ];
                    assert_eq!(told.is_ok(), index < before, "{what}: {step} was told {told:?}");
                    assert!(told.is_ok() || known.contains(&told.unwrap_err()), "{what}: {step} {told:?}");
                }
                if before == STEPS.len() {
                    way(&scene);
                }
                writer.close(handle).unwrap();
                scene.pass(2_000);
                let happened = scene.happened();
                assert!(
                    matches!(happened.as_slice(), [Happened::Begun, Happened::RolledBack(_)]),
                    "{what}: {happened:?}"
                );
                scene.exit_all();
                let report = scene.lab.unload();
                assert!(report.is_clean(), "{what}: {report}");
                for cut in cuts(&scene.lab, scene.lab.effects(), 3) {
                    let after = Volume::mount(cut.base).unwrap();
                    assert_eq!(after.contents(r"Saved\report.txt").as_deref(), Some(OLD), "{what}");
                    assert_eq!(after.contents(r"Saved\moved.txt"), None, "{what}");
                }
            }
        }
    }
}

/// The power goes while the volume does.
#[test]
fn a_power_cut_amid_a_dismount_leaves_the_old_file() {
    let large = vec![5_u8; 100_000];
    let scene = Scene::builder().no_files().file(r"Saved\report.txt", &large).build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    // More than the transaction keeps in memory: some of it is on the disk already, its undo in the log.
    writer.write(handle, 0, &[6; 100_000]).unwrap();
    writer.call(move |caller| caller.set_end_of_file(handle, 90_000)).unwrap();
    scene.lab.with_volume(|volume| volume.switches.write_out_sectors = 16);
    writer.write(handle, 0, &[7; 50_000]).unwrap();
    let from = scene.lab.effects();
    tell(&scene, FSCTL_DISMOUNT_VOLUME).unwrap();
    writer.close(handle).unwrap();
    let states = cuts(&scene.lab, from, 5);
    assert!(states.len() > 20, "only {} states", states.len());
    for cut in states {
        let after = Volume::mount(cut.base).unwrap();
        let found = after.contents(r"Saved\report.txt").unwrap();
        assert!(found == large, "after effect {}, seed {}", cut.after, cut.seed);
    }
    scene.end();
}

/// How a volume goes.
type Way = fn(&Scene);

/// All that a process saves is one save: two files, one of them replaced by a renaming, and a new one.
fn units() -> SceneBuilder {
    let rule = |rule: Rule| rule.text("Scope", "Process").strings("Processes", &["writer.exe"]);
    Scene::builder().file(r"Saved\other.txt", OLD).rule(rule)
}

fn save_all(writer: &Process) {
    writer.call(|caller| {
        let save = |path: &str| {
            let handle = caller.create_file(&CreateOptions::open_if(path, ALL)).unwrap().handle;
            caller.write(handle, Offset::At(0), NEW).unwrap();
            caller.close(handle).unwrap();
        };
        save(FILE);
        save(MOVED);
        let handle = caller.create_file(&CreateOptions::open(MOVED, DELETE)).unwrap().handle;
        caller.rename(handle, OTHER, true).unwrap();
        caller.close(handle).unwrap();
        save(FRESH);
    });
}

/// What is there of the three files, past every open. A placeholder counts as nothing: the limit in README.
fn found(volume: &Volume) -> [Option<Vec<u8>>; 3] {
    [r"Saved\report.txt", r"Saved\other.txt", r"Saved\fresh.txt"]
        .map(|name| volume.contents(name).filter(|contents| !contents.is_empty()))
}

fn old() -> [Option<Vec<u8>>; 3] {
    [Some(OLD.into()), Some(OLD.into()), None]
}

fn new() -> [Option<Vec<u8>>; 3] {
    [Some(NEW.into()), Some(NEW.into()), Some(NEW.into())]
}

#[test]
fn a_save_of_several_files_that_waits_is_published_before_its_volume_goes() {
    let ways: [(&str, Way); 4] = [
        ("lock", |scene| tell(scene, FSCTL_LOCK_VOLUME).unwrap()),
        ("dismount", |scene| tell(scene, FSCTL_DISMOUNT_VOLUME).unwrap()),
        ("query-remove", |scene| scene.lab.query_removal().unwrap()),
        ("shutdown", |scene| scene.lab.shut_down().unwrap()),
    ];
    for (name, way) in ways {
        let scene = units().build();
        let writer = scene.program("writer.exe");
        save_all(&writer);
        assert_eq!(scene.lab.with_volume(|volume| found(volume)), old(), "{name}");
        way(&scene);
        assert_eq!(scene.lab.with_volume(|volume| found(volume)), new(), "{name}");
        scene.end();
    }
}

/// As long as one of its handles is open, none of it is done.
#[test]
fn a_save_of_several_files_goes_with_its_volume_as_one() {
    let ways: [(&str, Way); 4] = [
        ("pulled out", |scene| scene.lab.surprise_removal().unwrap()),
        ("dismounted", |scene| tell(scene, FSCTL_DISMOUNT_VOLUME).unwrap()),
        ("stopped", |scene| scene.lab.with_volume(Volume::stop_resource_manager)),
        ("shut down", |scene| scene.lab.shut_down().unwrap()),
    ];
    for (name, way) in ways {
        for outlive in [false, true] {
            let scene = units().lab(|lab| lab.instances_outlive_dismount(outlive)).build();
            let writer = scene.program("writer.exe");
            save_all(&writer);
            let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
            way(&scene);
            writer.close(handle).unwrap();
            writer.exit(0);
            scene.pass(2_100);
            let happened = scene.happened();
            assert!(
                matches!(happened.last(), Some(Happened::RolledBack(_) | Happened::CommitFailed)),
                "{name}: {happened:?}"
            );
            let report = scene.lab.unload();
            assert!(report.is_clean(), "{name}: {report}");
            for cut in cuts(&scene.lab, scene.lab.effects(), 3) {
                assert_eq!(found(&Volume::mount(cut.base).unwrap()), old(), "{name}, {outlive}");
            }
        }
    }
}

#[test]
fn a_debugger_that_ends_a_program_takes_all_of_its_files_back() {
    for known in [false, true] {
        let scene = units().lab(|lab| lab.config(|config| config.exit_status_when_swept = known)).build();
        let (writer, debugger) = (scene.program("writer.exe"), scene.program("debugger.exe"));
        save_all(&writer);
        writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
        writer.kill_debugged(&debugger, 1);
        scene.pass(100);
        assert_eq!(scene.lab.with_volume(|volume| found(volume)), old());
        scene.end();
    }
}

/// Programs go on while the system is shut down, and may save after it; the power goes a moment later.
#[test]
fn a_shutdown_amid_saves_leaves_each_file_whole() {
    for seed in 1..=40 {
        let scene = Scene::builder()
            .seed(seed)
            .lab(|lab| lab.config(|config| config.preempt_per_mille = 400))
            .build();
        let writer = scene.program("writer.exe");
        let work: Vec<_> = (0..3)
            .map(|_| {
                writer.submit(|caller| {
                    let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                    let written = caller.write(handle, Offset::At(0), NEW).map(drop);
                    let flushed = caller.flush(handle);
                    caller.close(handle).and(written).and(flushed)
                })
            })
            .collect();
        assert_eq!(scene.lab.shut_down(), Ok(()), "seed {seed}");
        for one in work {
            let told = one.wait().unwrap();
            let known = [UNEXPECTED, Status::FILE_CLOSED, Status::SHARING_VIOLATION];
            assert!(told.is_ok() || known.contains(&told.unwrap_err()), "seed {seed}: {told:?}");
        }
        scene.exit_all();
        let report = scene.lab.unload();
        assert!(report.is_clean(), "seed {seed}: {report}");
        for cut in cuts(&scene.lab, scene.effects, 2) {
            let found = Volume::mount(cut.base).unwrap().contents(r"Saved\report.txt").unwrap();
            assert!(found == OLD || found == NEW, "seed {seed}, after effect {}: {found:?}", cut.after);
        }
    }
}

/// Whoever is first: the other finds nothing to do, and waits for nobody.
#[test]
fn a_dismount_against_an_unload_a_detach_or_another_dismount_ends() {
    for seed in 1..=60 {
        let builder =
            Scene::builder().seed(seed).lab(|lab| lab.config(|config| config.preempt_per_mille = 400));
        let (scene, driver, instance) = attached_by_hand(builder);
        let writer = scene.program("writer.exe");
        let busy = seed % 3 != 0;
        let handle = scene.write_new(&writer);
        if !busy {
            writer.close(handle).unwrap();
        }
        let work: Vec<_> = (0..seed % 4)
            .map(|_| {
                writer.submit(|caller| {
                    let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                    let written = caller.write(handle, Offset::At(0), NEW).map(drop);
                    caller.close(handle).and(written)
                })
            })
            .collect();
        let dismounts: Vec<_> = (0..1 + seed % 2)
            .map(|_| scene.program("chkdsk.exe").submit(|caller| control(caller, FSCTL_DISMOUNT_VOLUME)))
            .collect();
        let told = match seed % 5 {
            0 | 1 => scene.lab.detach(&instance),
            2 | 3 => scene.lab.unload_driver(&driver).map(|report| assert!(report.is_clean(), "{report}")),
            _ => Ok(()),
        };
        let known = [DO_NOT_DETACH, DELETING_OBJECT];
        assert!(told.is_ok() || known.contains(&told.unwrap_err()), "seed {seed}: {told:?}");
        for dismount in dismounts {
            let told = dismount.wait().unwrap();
            // Another one was faster.
            assert!(matches!(told, Ok(()) | Err(Status::VOLUME_DISMOUNTED)), "seed {seed}: {told:?}");
        }
        for one in work {
            let told = one.wait().unwrap();
            let known =
                [Status::VOLUME_DISMOUNTED, UNEXPECTED, Status::FILE_CLOSED, Status::SHARING_VIOLATION];
            assert!(told.is_ok() || known.contains(&told.unwrap_err()), "seed {seed}: {told:?}");
        }
        if busy {
            writer.close(handle).unwrap();
        }
        let found = scene.committed(FILE).unwrap();
        assert!(found == OLD || found == NEW, "seed {seed}: {found:?}");
        scene.exit_all();
        let report = scene.lab.unload();
        assert!(report.is_clean(), "seed {seed}: {report}");
    }
}
