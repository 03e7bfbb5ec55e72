//! A handle that made its file empty and is closed without having written a byte does not end its save.

use intact_saves::{FILE, Happened, NEW, OLD, Rule, Scene, SceneBuilder, seen};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Process, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault};

use crate::unload::{DO_NOT_DETACH, attached_by_hand};

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;
const DIED: &str = "the process died with the file open";
const WOUNDED: &str = "a write failed and was not made good";
const FILE_SUPERSEDE: u32 = 0;
const FILE_DELETE_ON_CLOSE: u32 = 0x1000;
/// More than the two seconds that a rule without the value has.
const SETTLED: i64 = 2_100;

/// What a program does.
type Way<T> = fn(&Caller<'_>) -> T;

/// Programs whose name begins with "writer" save; others do not.
fn writers() -> SceneBuilder {
    Scene::builder().rule(|rule| rule.strings("Processes", &["writer*.exe"]))
}

/// Opens [`FILE`], which that makes empty, and closes it.
fn empty(program: &Process) {
    let handle = program.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    program.close(handle).unwrap();
}

fn write_again(program: &Process) {
    let handle = program.create_file(CreateOptions::open(FILE, ALL)).unwrap();
    program.write(handle, 0, NEW).unwrap();
    program.close(handle).unwrap();
}

fn joined() -> Happened {
    Happened::Joined("writer".into())
}

#[test]
fn what_is_emptied_in_one_open_and_written_in_the_next_is_one_save() {
    let scene = writers().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    empty(&writer);
    scene.assert_committed(FILE, OLD);
    assert_eq!(other.contents(FILE).unwrap(), OLD, "others read the old version");
    assert_eq!(writer.contents(FILE).unwrap(), b"", "its own program does not");
    write_again(&writer);
    scene.assert_committed(FILE, NEW);
    let reader = Happened::Joined("reader".into());
    scene.assert_happened(&[Happened::Begun, reader, joined(), Happened::Committed]);
    scene.end();
}

#[test]
fn every_way_to_empty_a_file_counts() {
    let open = |caller: &Caller<'_>| caller.create_file(&CreateOptions::open(FILE, ALL)).unwrap().handle;
    let close = |caller: &Caller<'_>, handle: Handle| caller.close(handle).unwrap();
    let ways: [(&str, Way<Handle>); 2] = [
        ("overwrite", |caller| caller.create_file(&CreateOptions::overwrite_if(FILE, ALL)).unwrap().handle),
        ("supersede", |caller| {
            let superseding = CreateOptions::new(lab::Name::Path(FILE.into()), ALL, FILE_SUPERSEDE);
            caller.create_file(&superseding).unwrap().handle
        }),
    ];
    for (name, way) in ways {
        let scene = Scene::new();
        scene.program("writer.exe").call(move |caller| close(caller, way(caller)));
        scene.assert_committed(FILE, OLD);
        assert!(!scene.happened().contains(&Happened::Committed), "{name}");
        scene.pass(SETTLED);
        scene.assert_committed(FILE, b"");
        scene.end();
    }
    // FileAllocationInformation, FileEndOfFileInformation.
    for class in [19, 20] {
        let scene = Scene::new();
        scene.program("writer.exe").call(move |caller| {
            let handle = open(caller);
            caller.set_information(handle, class, &0_u64.to_le_bytes()).unwrap();
            close(caller, handle);
        });
        scene.assert_committed(FILE, OLD);
        scene.pass(SETTLED);
        scene.assert_committed(FILE, b"");
        scene.end();
    }
}

#[test]
fn a_program_that_dies_before_it_writes_leaves_the_old_file() {
    for status in [1, 0xC000_0005_u32.cast_signed()] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        empty(&writer);
        writer.kill(status);
        scene.pass(100);
        scene.assert_committed(FILE, OLD);
        scene.assert_rolled_back(DIED);
        scene.end();
    }
}

#[test]
fn a_program_that_ends_well_has_meant_it() {
    let scene = writers().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    empty(&writer);
    writer.exit(0);
    let found = other.contents(FILE).unwrap();
    assert_eq!(found, b"", "without time having passed: {:?}", intact_saves::seen(&scene.lab));
    scene.assert_committed(FILE, b"");
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_query_by_name_finds_what_a_program_that_has_ended_left() {
    let scene = writers().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    empty(&writer);
    writer.exit(0);
    let size = other.call(|caller| caller.query_attributes_by_path(FILE).map(|found| found.size));
    assert_eq!(size, Ok(0));
    scene.end();
}

#[test]
fn on_exit_decides_here_too() {
    for (on_exit, status, expected) in [("Commit", 1, b"".as_slice()), ("Rollback", 0, OLD)] {
        let scene = Scene::builder().rule(|rule| rule.text("OnExit", on_exit)).build();
        let writer = scene.program("writer.exe");
        empty(&writer);
        writer.kill(status);
        scene.pass(100);
        scene.assert_committed(FILE, expected);
        scene.end();
    }
}

#[test]
fn when_the_time_is_over_it_commits_as_without_intact() {
    let scene = Scene::builder().rule(|rule| rule.number("SettleMilliseconds", 500)).build();
    let writer = scene.program("writer.exe");
    empty(&writer);
    scene.pass(400);
    scene.assert_committed(FILE, OLD);
    let waits: Vec<_> = seen(&scene.lab).into_iter().filter(|event| event.name() == "SaveWaits").collect();
    let [waits] = waits.as_slice() else { panic!("told once: {waits:?}") };
    assert_eq!(waits.number("ProcessId"), u64::from(writer.id()));
    assert!(waits.text("Image").ends_with("writer.exe"), "{waits:?}");
    assert!(waits.text("File").ends_with(FILE.trim_start_matches("C:")), "{waits:?}");
    assert!(!waits.text("Rule").is_empty());
    assert_eq!(waits.number("Bytes"), 0);
    scene.pass(200);
    scene.assert_committed(FILE, b"");
    scene.assert_one_commit();
    writer.kill(1);
    scene.assert_committed(FILE, b"");
    scene.end();
}

#[test]
fn every_hollow_close_waits_for_the_whole_time() {
    let scene = Scene::builder().rule(|rule| rule.number("SettleMilliseconds", 500)).build();
    let writer = scene.program("writer.exe");
    for _ in 0..4 {
        empty(&writer);
        scene.pass(400);
        scene.assert_committed(FILE, OLD);
    }
    scene.pass(200);
    scene.assert_committed(FILE, b"");
    scene.end();
}

#[test]
fn a_handle_that_joined_keeps_the_save_past_the_time() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    empty(&writer);
    let handle = scene.open_file(&writer);
    scene.pass(10 * SETTLED);
    scene.assert_committed(FILE, OLD);
    writer.write(handle, 0, NEW).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn what_is_no_hollow_close_ends_at_once() {
    const FRESH: &str = r"C:\Saved\fresh.txt";
    const BARE: &str = r"C:\Saved\bare.txt";
    let cases: [(&str, &str, Way<()>); 5] = [
        ("it was empty before", BARE, |caller| {
            let handle = caller.create_file(&CreateOptions::overwrite_if(BARE, ALL)).unwrap().handle;
            caller.close(handle).unwrap();
        }),
        ("it is new", FRESH, |caller| {
            let handle = caller.create_file(&CreateOptions::overwrite_if(FRESH, ALL)).unwrap().handle;
            caller.close(handle).unwrap();
        }),
        ("bytes were written", FILE, |caller| {
            let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL)).unwrap().handle;
            caller.write(handle, Offset::At(0), b"x").unwrap();
            caller.close(handle).unwrap();
        }),
        ("bytes were appended", FILE, |caller| {
            let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL)).unwrap().handle;
            caller.write(handle, Offset::Append, b"x").unwrap();
            caller.close(handle).unwrap();
        }),
        ("it was cut and not emptied", FILE, |caller| {
            let handle = caller.create_file(&CreateOptions::open(FILE, ALL)).unwrap().handle;
            caller.set_end_of_file(handle, 3).unwrap();
            caller.close(handle).unwrap();
        }),
    ];
    for (name, path, case) in cases {
        let scene = Scene::builder().file(r"Saved\bare.txt", b"").build();
        scene.program("writer.exe").call(case);
        scene.assert_one_commit();
        let expected = match path {
            FILE if name.starts_with("bytes") => b"x".as_slice(),
            FILE => &OLD[..3],
            _ => b"",
        };
        scene.assert_committed(path, expected);
        scene.end();
    }
}

#[test]
fn a_time_of_zero_switches_it_off() {
    let scene = Scene::builder().rule(|rule| rule.number("SettleMilliseconds", 0)).build();
    empty(&scene.program("writer.exe"));
    scene.assert_committed(FILE, b"");
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_flush_publishes_that_the_file_is_empty() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    writer.flush(handle).unwrap();
    scene.assert_committed(FILE, b"");
    writer.close(handle).unwrap();
    scene.assert_happened(&[Happened::Begun, Happened::Checkpointed, Happened::Committed]);
    scene.end();
}

#[test]
fn a_hollow_close_after_a_failed_write_rolls_back_at_once() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
    assert_eq!(writer.write(handle, 0, &[7; 100_000]), Err(Status::DISK_FULL));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(WOUNDED);
    scene.end();
}

/// Whoever needs the file gets it, as if the save had ended at its close.
#[test]
fn who_needs_the_file_ends_the_wait() {
    let needs: [(&str, Way<Result<(), Status>>); 5] = [
        ("writes", |caller| {
            let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
            assert_eq!(caller.read(handle, Some(0), 10), Err(Status::END_OF_FILE));
            caller.write(handle, Offset::At(0), b"theirs")?;
            caller.close(handle)
        }),
        ("overwrites", |caller| {
            let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL))?.handle;
            caller.close(handle)
        }),
        ("deletes", |caller| {
            let options = CreateOptions::open(FILE, DELETE).options(FILE_DELETE_ON_CLOSE | 0x20);
            let handle = caller.create_file(&options)?.handle;
            caller.close(handle)
        }),
        ("replaces", |caller| {
            caller.put(r"C:\Elsewhere.txt", b"another")?;
            let handle = caller.create_file(&CreateOptions::open(r"C:\Elsewhere.txt", DELETE))?.handle;
            caller.rename(handle, FILE, true)?;
            caller.close(handle)
        }),
        ("renames the folder", |caller| {
            let folder = CreateOptions::open(r"C:\Saved", DELETE).options(0x21);
            let handle = caller.create_file(&folder)?.handle;
            caller.rename(handle, r"C:\Renamed", false)?;
            caller.close(handle)
        }),
    ];
    for (name, need) in needs {
        let after = |intact: bool| {
            let scene = if intact { writers() } else { writers().bare() };
            let scene = scene.build();
            let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
            empty(&writer);
            let told = other.call(need);
            let files = [FILE, r"C:\Renamed\report.txt"].map(|path| scene.committed(path));
            if intact {
                scene.assert_one_commit();
                scene.end();
            }
            (told, files)
        };
        assert_eq!(after(true), after(false), "{name}");
    }
}

#[test]
fn its_own_program_may_replace_delete_or_move_it_meanwhile() {
    const TEMPORARY: &str = r"C:\Saved\report.tmp";
    let ways: [(&str, Way<Result<(), Status>>); 4] = [
        ("replaces", |caller| {
            caller.put(TEMPORARY, NEW)?;
            let handle = caller.create_file(&CreateOptions::open(TEMPORARY, DELETE))?.handle;
            caller.rename(handle, FILE, true)?;
            caller.close(handle)
        }),
        ("replaces through the handle that it wrote with", |caller| {
            let handle = caller.create_file(&CreateOptions::create(TEMPORARY, ALL | DELETE))?.handle;
            caller.write(handle, Offset::At(0), NEW)?;
            caller.rename(handle, FILE, true)?;
            caller.close(handle)
        }),
        ("deletes", |caller| {
            let options = CreateOptions::open(FILE, DELETE).options(FILE_DELETE_ON_CLOSE | 0x20);
            let handle = caller.create_file(&options)?.handle;
            caller.close(handle)
        }),
        ("moves", |caller| {
            let handle = caller.create_file(&CreateOptions::open(FILE, DELETE))?.handle;
            caller.rename(handle, TEMPORARY, false)?;
            caller.close(handle)
        }),
    ];
    for (name, way) in ways {
        let after = |intact: bool| {
            let scene = if intact { Scene::builder() } else { Scene::builder().bare() };
            let scene = scene.build();
            let writer = scene.program("writer.exe");
            empty(&writer);
            let told = writer.call(way);
            let files = [FILE, TEMPORARY].map(|path| scene.committed(path));
            if intact {
                scene.end();
            }
            (told, files)
        };
        assert_eq!(after(true), after(false), "{name}");
    }
}

#[test]
fn who_reads_does_not_end_the_wait() {
    let scene = writers().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    empty(&writer);
    for share in [0, 1, 7] {
        let handle = other.create_file(CreateOptions::open(FILE, GENERIC_READ).share(share)).unwrap();
        assert_eq!(other.read(handle, 0, 100).unwrap(), OLD);
        other.close(handle).unwrap();
    }
    write_again(&writer);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_hollow_save_is_an_unfinished_one_for_who_unloads_or_detaches() {
    let (scene, driver, instance) = attached_by_hand(Scene::builder());
    let writer = scene.program("writer.exe");
    empty(&writer);
    assert_eq!(scene.lab.unload_driver(&driver).err(), Some(DO_NOT_DETACH));
    assert_eq!(scene.lab.detach(&instance), Err(DO_NOT_DETACH));
    scene.assert_committed(FILE, OLD);
    scene.pass(SETTLED);
    scene.assert_committed(FILE, b"");
    assert_eq!(scene.lab.detach(&instance), Ok(()));
    scene.end();
}

/// A program empties, waits a little and writes, while others write, read and rename, and its time may be over.
#[test]
fn whatever_comes_between_the_file_is_old_empty_or_new() {
    for seed in 1..=40 {
        let rule = |rule: Rule| rule.strings("Processes", &["writer.exe"]).number("SettleMilliseconds", 20);
        let scene = Scene::builder().seed(seed).rule(rule).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        let work = writer.submit(|caller| {
            for _ in 0..3 {
                let handle = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL))?.handle;
                caller.close(handle)?;
                let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
                caller.write(handle, Offset::At(0), NEW)?;
                caller.close(handle)?;
            }
            Ok::<_, Status>(())
        });
        let reads: Vec<_> = (0..4).map(|_| other.submit(|caller| caller.contents(FILE))).collect();
        let appends = other.submit(|caller| {
            let handle = caller.create_file(&CreateOptions::open(FILE, GENERIC_WRITE))?.handle;
            caller.close(handle)
        });
        if seed % 2 == 0 {
            scene.pass(30);
        }
        let told = work.wait().unwrap();
        assert!(matches!(told, Ok(()) | Err(Status::SHARING_VIOLATION)), "seed {seed}: {told:?}");
        for read in reads {
            let found = read.wait().unwrap().unwrap_or_default();
            assert!(found == OLD || found.is_empty() || found == NEW, "seed {seed}: {found:?}");
        }
        let told = appends.wait().unwrap();
        assert!(matches!(told, Ok(()) | Err(Status::SHARING_VIOLATION)), "seed {seed}: {told:?}");
        scene.pass(SETTLED);
        let found = scene.committed(FILE).unwrap();
        assert!(found == NEW || told.is_err() || found.is_empty(), "seed {seed}: {found:?}");
        scene.end();
    }
}

/// A kill at any moment of emptying, closing, opening and writing.
#[test]
fn a_kill_between_emptying_and_writing_leaves_the_old_file() {
    for seed in 1..=40 {
        let scene = Scene::builder().seed(seed).build();
        let writer = scene.program("writer.exe");
        let work = writer.submit(|caller| {
            let emptied = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL))?.handle;
            caller.close(emptied)?;
            let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
            caller.write(handle, Offset::At(0), NEW)?;
            Ok::<_, Status>(())
        });
        let idle = scene.program("other.exe");
        for _ in 0..seed % 5 {
            let _ = idle.call(|caller| caller.contents(r"C:\nothing"));
        }
        writer.kill(1);
        assert!(work.is_done(), "seed {seed}");
        scene.pass(100);
        scene.assert_committed(FILE, OLD);
        scene.end();
    }
}

/// Empties, closes, opens and writes. Whether all of it succeeded.
fn empty_and_write(caller: &Caller<'_>) -> bool {
    let save = || {
        let emptied = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL))?.handle;
        caller.close(emptied)?;
        let _ = caller.contents(FILE);
        let handle = caller.create_file(&CreateOptions::open(FILE, ALL))?.handle;
        let written = caller.write(handle, Offset::At(0), NEW);
        caller.close(handle)?;
        let emptied = caller.create_file(&CreateOptions::overwrite_if(FILE, ALL))?.handle;
        caller.close(emptied)?;
        written
    };
    save().is_ok()
}

#[test]
fn whichever_import_fails_it_ends_and_nothing_is_left() {
    const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();
    const NEVER_FAIL: [&str; 4] =
        ["FltClose", "ZwClose", "FltGetStreamHandleContext", "FltGetInstanceContext"];
    let run = |builder: SceneBuilder| {
        let (scene, loaded) = builder.try_build();
        let writer = scene.program("writer.exe");
        let all = writer.call(empty_and_write);
        scene.pass(SETTLED);
        (scene, loaded.is_ok(), all)
    };
    let (scene, _, all) = run(Scene::builder());
    assert!(all);
    scene.assert_committed(FILE, b"");
    let sites = scene.lab.executive().calls.sites();
    scene.end();
    for site in sites.into_iter().filter(|site| !NEVER_FAIL.contains(&site.import)) {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => continue,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        for call in [1, site.calls] {
            let fault = PlannedFault { site: site.id, call, kind };
            let (scene, _, all) = run(Scene::builder().lab(|lab| lab.fault(fault)));
            let found = scene.committed(FILE).unwrap();
            let late = scene.happened().iter().any(|event| {
                matches!(event, Happened::CommitFailed)
                    || *event == Happened::RolledBack("the last flush failed".into())
            });
            let whole = found.is_empty() || found == NEW || found == OLD;
            let what = format!("{} call {call} from {:?}", site.import, site.frames);
            assert!(whole && (!all || found.is_empty() || late), "{what}: {:?}", scene.happened());
            scene.exit_all();
            let report = scene.lab.unload();
            assert!(report.is_clean(), "{what}: {report}");
        }
    }
}

/// A file that somebody else closes in the end is what it has become: nobody knows that its program wants to write more.
#[test]
fn what_another_process_closes_does_not_wait() {
    let scene = writers().build();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
    let theirs = writer.duplicate(handle, &other).unwrap();
    writer.close(handle).unwrap();
    other.close(theirs).unwrap();
    scene.assert_committed(FILE, b"");
    scene.assert_one_commit();
    scene.end();
}

/// The thread that looks after those that wait looks as often as the shortest of them needs.
#[test]
fn a_save_that_is_looked_at_rarely_does_not_keep_the_others_waiting() {
    let scene = writers().file(r"Saved\other.txt", OLD).build();
    let (writer, second) = (scene.program("writer.exe"), scene.program("writer2.exe"));
    let held = second.create_file(CreateOptions::open(r"C:\Saved\other.txt", ALL)).unwrap();
    second.write(held, 0, NEW).unwrap();
    empty(&writer);
    scene.pass(20);
    writer.kill(1);
    scene.pass(120);
    assert!(scene.happened().contains(&Happened::RolledBack(DIED.into())), "{:?}", scene.happened());
    second.close(held).unwrap();
    scene.end();
}

/// Whose program has died by then is not published, although nobody has looked yet.
#[test]
fn at_shutdown_what_waits_is_decided_by_how_its_program_ended() {
    for (status, expected) in [(0, b"".as_slice()), (1, OLD)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        empty(&writer);
        // The driver's own thread has looked by then, and looks again later.
        scene.pass(20);
        writer.exit(status);
        assert_eq!(scene.lab.shut_down(), Ok(()));
        scene.assert_committed(FILE, expected);
    }
}

/// Without memory to wait with it ends as any other.
#[test]
fn what_cannot_wait_ends() {
    let no_resources = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    let failing = [("ExAllocatePool2", FaultKind::Null), ("FltObjectReference", no_resources)];
    for (skip, (import, kind)) in (0..4).flat_map(|skip| failing.map(|failing| (skip, failing))) {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::overwrite_if(FILE, ALL)).unwrap();
        scene.lab.executive().calls.surprise(import, skip, kind);
        writer.close(handle).unwrap();
        let waits = scene.lab.executive().calls.surprises_left() == 1;
        scene.assert_committed(FILE, if waits { OLD } else { b"" });
        scene.pass(SETTLED);
        scene.assert_committed(FILE, b"");
        scene.end();
    }
}

/// A save that waited, was written to and is over keeps nobody from unloading, although its time would not be over yet.
#[test]
fn what_waits_no_longer_keeps_the_driver_no_longer() {
    let scene = writers().build();
    let writer = scene.program("writer.exe");
    empty(&writer);
    write_again(&writer);
    scene.assert_committed(FILE, NEW);
    let intact = scene.lab.drivers().pop().unwrap();
    let report = scene.lab.unload_driver(&intact).unwrap();
    assert!(report.is_clean(), "{report}");
}

/// However many want the file of a save that waits, each of them gets it.
#[test]
fn whoever_needs_the_file_while_another_one_ends_the_wait_gets_it_too() {
    for seed in 1..=40 {
        let scene =
            writers().seed(seed).lab(|lab| lab.config(|config| config.preempt_per_mille = 400)).build();
        let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
        empty(&writer);
        let open = || other.submit(|caller| caller.create_file(&CreateOptions::open(FILE, ALL)).map(|_| ()));
        let opens: Vec<_> = (0..4).map(|_| open()).collect();
        for one in opens {
            assert_eq!(one.wait().unwrap(), Ok(()), "seed {seed}: {:?}", scene.happened());
        }
        scene.assert_committed(FILE, b"");
        scene.end();
    }
}
