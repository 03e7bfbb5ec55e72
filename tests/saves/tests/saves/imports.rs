//! Every import that can fail, failed once at each of its call sites.

use std::cell::Cell;
use std::collections::BTreeSet;

use intact_saves::{FILE, Happened, NEW, OLD, Scene, seen};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Offset, Process};
use lab_executive::import::{Failure, FaultKind, PlannedFault, Site};

const FRESH: &str = r"C:\Saved\fresh.txt";
/// STATUS_INSUFFICIENT_RESOURCES.
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();

/// How the work of a program went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    /// All that was done to the file that was there succeeded.
    saved: bool,
    /// All that was done to make another one succeeded.
    made: bool,
    /// Files that were opened for writing.
    opened: usize,
}

/// An overwrite of a file with a second writing and a reading handle, and a new file.
fn work(caller: &Caller<'_>) -> Done {
    let opened = Cell::new(0);
    let save = || {
        let all = GENERIC_READ | GENERIC_WRITE;
        let first = caller.create_file(&CreateOptions::overwrite_if(FILE, all))?.handle;
        opened.set(opened.get() + 1);
        let mut result = caller.write(first, Offset::At(0), &NEW[..10]).map(|_| ());
        let second = caller.create_file(&CreateOptions::open(FILE, all))?.handle;
        result = result.and(caller.write(second, Offset::At(10), &NEW[10..]).map(|_| ()));
        let reading = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ))?.handle;
        let _ = caller.read(reading, Some(0), 10);
        let _ = caller.information(first);
        result = result.and(caller.flush(first));
        for handle in [reading, second, first] {
            caller.close(handle).unwrap();
        }
        result
    };
    let make = || {
        let fresh = caller.create_file(&CreateOptions::create(FRESH, GENERIC_WRITE).attributes(1))?.handle;
        opened.set(opened.get() + 1);
        let result = caller.write(fresh, Offset::At(0), NEW).map(|_| ());
        caller.close(fresh).unwrap();
        result
    };
    Done { saved: save().is_ok(), made: make().is_ok(), opened: opened.get() }
}

/// For each file a save begins, or an event says why none did.
fn assert_told(scene: &Scene, opened: usize) {
    let happened = scene.happened();
    let count = |what: fn(&Happened) -> bool| happened.iter().filter(|event| what(event)).count();
    let begun = count(|event| matches!(event, Happened::Begun));
    let passed = count(|event| matches!(event, Happened::PassedThrough(_)));
    assert!(
        begun + passed >= opened,
        "{opened} files were opened for writing, and nobody was told: {happened:?}"
    );
}

/// Whether the driver has a policy by now and is on the volume.
fn is_ready(scene: &Scene) -> bool {
    let names: Vec<String> = seen(&scene.lab).iter().map(|event| event.name().to_owned()).collect();
    let has = |name: &str| names.iter().any(|seen| seen == name);
    has("PolicyLoaded") && !has("PolicyNotLoaded") && !has("InstanceRefused")
}

const MOVED: &str = r"C:\Saved\Sub\moved.txt";

/// A file that is written, renamed into another folder, found there, linked back, and deleted by its second name.
/// Whether all of it succeeded.
fn change_names(caller: &Caller<'_>) -> bool {
    let all = GENERIC_READ | GENERIC_WRITE | DELETE;
    let save = || {
        let first = caller.create_file(&CreateOptions::open(FILE, all))?.handle;
        let mut result = caller.write(first, Offset::At(0), NEW).map(|_| ());
        result = result.and(caller.rename(first, MOVED, false));
        if result.is_ok() {
            let again = caller.create_file(&CreateOptions::open(MOVED, GENERIC_READ));
            let second = caller.create_file(&CreateOptions::open(MOVED, all));
            result = result.and(caller.link(first, FRESH, false));
            for handle in [again, second].into_iter().flatten() {
                caller.close(handle.handle).unwrap();
            }
        }
        caller.close(first).unwrap();
        result
    };
    save().is_ok()
}

#[test]
fn whichever_import_fails_while_names_change_they_are_all_old_or_all_new() {
    let build = || Scene::builder().file(r"Saved\Sub\inner.txt", OLD);
    let scene = build().build();
    assert!(scene.program("writer.exe").call(change_names));
    let sites: Vec<Site> = scene.lab.executive().calls.sites();
    let mut failures = Vec::new();
    for site in sites.into_iter().filter(|site| !NEVER_FAIL.contains(&site.import)) {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => continue,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        for call in BTreeSet::from([1, 2, site.calls]).into_iter().filter(|&call| call <= site.calls) {
            let fault = PlannedFault { site: site.id, call, kind };
            let (scene, loaded) = build().lab(|lab| lab.fault(fault)).try_build();
            let all = scene.program("writer.exe").call(change_names);
            let found = [FILE, MOVED, FRESH].map(|path| scene.committed(path));
            let passed = scene.happened().iter().any(|event| matches!(event, Happened::PassedThrough(_)));
            let old = found == [Some(OLD.to_vec()), None, None];
            let new = found == [None, Some(NEW.to_vec()), Some(NEW.to_vec())];
            let late = scene.happened().iter().any(fails_at_the_end);
            let right = if all { new || old && late } else { old || new || passed || loaded.is_err() };
            scene.exit_all();
            let report = scene.lab.unload();
            if !right || !report.is_clean() {
                let seen = found.map(|found| found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
                failures
                    .push(format!("{} call {call} from {:?}: {seen:?} {report}", site.import, site.frames));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Failures that are only there to be planned: closing a handle that is open does not fail, and a context that is set
/// is found without allocating anything.
const NEVER_FAIL: [&str; 4] = ["FltClose", "ZwClose", "FltGetStreamHandleContext", "FltGetInstanceContext"];

fn run(process: &Process) -> Done {
    process.call(work)
}

fn sites() -> Vec<Site> {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    assert_eq!(run(&writer), Done { saved: true, made: true, opened: 2 });
    let sites = scene.lab.executive().calls.sites();
    scene.end();
    sites.into_iter().filter(|site| !NEVER_FAIL.contains(&site.import)).collect()
}

#[test]
fn whichever_import_fails_once_files_are_whole_and_nothing_leaks() {
    let sites = sites();
    let imports: BTreeSet<&str> = sites.iter().map(|site| site.import).collect();
    assert!(sites.len() > 60 && imports.len() > 15, "{} sites of {} imports", sites.len(), imports.len());
    let mut failures = Vec::new();
    for site in sites {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => continue,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        // The first calls and the last: what comes between is like them.
        for call in BTreeSet::from([1, 2, site.calls]).into_iter().filter(|&call| call <= site.calls) {
            let fault = PlannedFault { site: site.id, call, kind };
            let result = std::panic::catch_unwind(|| one_fault(fault, site.import));
            if let Err(panic) = result {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                failures.push(format!("{} call {call} from {:?}: {text}", site.import, site.frames));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// What a program cannot be told any more: it has closed its last handle.
fn fails_at_the_end(event: &Happened) -> bool {
    *event == Happened::CommitFailed || *event == Happened::RolledBack("the last flush failed".into())
}

fn one_fault(fault: PlannedFault, import: &str) {
    let (scene, loaded) = Scene::builder().lab(|lab| lab.fault(fault)).try_build();
    let writer = scene.program("writer.exe");
    // An event that cannot be written is lost.
    let tells = loaded.is_ok() && is_ready(&scene) && import != "EtwWriteTransfer";
    let Done { saved, made, opened } = run(&writer);
    if tells {
        assert_told(&scene, opened);
    }
    assert_eq!(scene.lab.executive().calls.fired(), [fault]);
    let file = scene.committed(FILE).unwrap();
    let fresh = scene.committed(FRESH);
    // Where the driver is not there, or told that it let an open pass, the program did as without Intact.
    let passed = scene.happened().iter().any(|event| matches!(event, Happened::PassedThrough(_)));
    if saved {
        let old = file == OLD && scene.happened().iter().any(fails_at_the_end);
        assert!(file == NEW || old, "saved: {:?}, {:?}", String::from_utf8_lossy(&file), scene.happened());
    } else if loaded.is_ok() && !passed {
        assert!(file == OLD || file == NEW, "{:?}, {:?}", String::from_utf8_lossy(&file), scene.happened());
    }
    if made {
        let old = fresh.as_deref().is_none_or(<[u8]>::is_empty);
        let failed = old && scene.happened().iter().any(fails_at_the_end);
        assert!(fresh.as_deref() == Some(NEW) || failed, "made: {fresh:?}, {:?}", scene.happened());
    }
    scene.exit_all();
    let report = scene.lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn whichever_import_fails_once_a_killed_writer_leaves_no_half_of_a_save() {
    for site in sites() {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => continue,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        let fault = PlannedFault { site: site.id, call: 1, kind };
        let (scene, loaded) = Scene::builder().lab(|lab| lab.fault(fault)).try_build();
        let writer = scene.program("writer.exe");
        let tells = loaded.is_ok() && is_ready(&scene) && site.import != "EtwWriteTransfer";
        if let Ok(handle) = writer.create_file(CreateOptions::open(FILE, GENERIC_WRITE)) {
            let _ = writer.write(handle, 0, &NEW[..20]);
            if tells {
                assert_told(&scene, 1);
            }
        }
        writer.kill(1);
        let happened = scene.happened();
        let saved = happened.contains(&Happened::Begun)
            && !happened.iter().any(|event| matches!(event, Happened::PassedThrough(_)));
        if loaded.is_ok() && saved {
            scene.assert_committed(FILE, OLD);
        }
        let report = scene.lab.unload();
        assert!(report.is_clean(), "{} from {:?}: {report}", site.import, site.frames);
    }
}
