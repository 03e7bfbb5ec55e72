//! Operations that take longer than a closing handle waits for them: a worker ends the save.

use std::collections::BTreeSet;

use intact_saves::{FILE, Happened, NEW, OLD, Scene};
use lab::flt::Completions;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Pending, Process, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault, SiteId};

type Writing = Pending<Result<usize, Status>>;

/// A scene with a write under way, whose completion is late.
fn begin(seed: u64, fault: impl IntoIterator<Item = PlannedFault>) -> (Scene, Process, Handle, Writing) {
    let change = |lab: lab::Builder| {
        let lab = lab.completions(Completions::Late);
        fault.into_iter().fold(lab, lab::Builder::fault)
    };
    let scene = Scene::builder().seed(seed).lab(change).build();
    let writer = scene.program("writer.exe");
    let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).asynchronous();
    let handle = writer.create_file(options).unwrap();
    let writing = writer.submit(move |caller| caller.write(handle, Offset::At(0), NEW));
    // So that it has begun.
    writer.call(|_| ());
    (scene, writer, handle, writing)
}

fn waits(scene: &Scene) -> BTreeSet<SiteId> {
    let sites = scene.lab.executive().calls.sites();
    sites.into_iter().filter(|site| site.failure == Failure::Timeout).map(|site| site.id).collect()
}

/// The waits of a close that has to wait for a write; none if the write was faster.
fn waited_for(seed: u64) -> Vec<PlannedFault> {
    let quiet = {
        let (scene, writer, handle, writing) = begin(seed, None);
        writing.wait().unwrap().unwrap();
        writer.close(handle).unwrap();
        waits(&scene)
    };
    let (scene, writer, handle, _writing) = begin(seed, None);
    writer.close(handle).unwrap();
    let fault = |site: &SiteId| PlannedFault { site: *site, call: 1, kind: FaultKind::Timeout };
    waits(&scene).difference(&quiet).map(fault).collect()
}

#[test]
fn a_save_whose_writes_outlast_its_close_ends_after_them() {
    let mut outlasted = 0;
    for seed in 1..=12 {
        for fault in waited_for(seed) {
            let (scene, writer, handle, writing) = begin(seed, Some(fault));
            writer.close(handle).unwrap();
            outlasted += 1;
            assert_eq!(writing.wait().unwrap(), Ok(NEW.len()), "seed {seed}");
            scene.pass(1_000);
            scene.assert_committed(FILE, NEW);
            scene.assert_one_commit();
            scene.end();
        }
    }
    assert!(outlasted > 4, "{outlasted}");
}

/// What the worker needs: each as the call that fails, after the wait whose time is over.
fn needed(seed: u64, wait: PlannedFault) -> Vec<PlannedFault> {
    let sites = |faults: Option<PlannedFault>| {
        let (scene, writer, handle, _writing) = begin(seed, faults);
        writer.close(handle).unwrap();
        scene.lab.executive().calls.sites()
    };
    let without: BTreeSet<SiteId> = sites(None).into_iter().map(|site| site.id).collect();
    let new = sites(Some(wait)).into_iter().filter(|site| !without.contains(&site.id));
    let null = new.filter(|site| site.failure == Failure::Null);
    null.map(|site| PlannedFault { site: site.id, call: 1, kind: FaultKind::Null }).collect()
}

#[test]
fn without_a_worker_the_closing_thread_waits_itself() {
    let mut count = 0;
    for seed in 1..=4 {
        for wait in waited_for(seed) {
            for fault in needed(seed, wait) {
                count += 1;
                let (scene, writer, handle, writing) = begin(seed, [wait, fault]);
                writer.close(handle).unwrap();
                assert_eq!(writing.wait().unwrap(), Ok(NEW.len()), "seed {seed}");
                scene.pass(1_000);
                scene.assert_committed(FILE, NEW);
                scene.assert_one_commit();
                scene.end();
            }
        }
    }
    assert!(count > 1, "{count}");
}

#[test]
fn a_program_that_dies_with_writes_that_outlast_its_close_leaves_the_old_file() {
    for seed in 1..=12 {
        for fault in waited_for(seed) {
            let (scene, writer, ..) = begin(seed, Some(fault));
            writer.kill(1);
            scene.pass(1_000);
            scene.assert_committed(FILE, OLD);
            assert!(scene.happened().iter().all(|event| *event != Happened::Committed), "seed {seed}");
            let reader = scene.program("reader.exe");
            let reading = reader.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
            assert_eq!(reader.read(reading, 0, 64).unwrap(), OLD);
            scene.end();
        }
    }
}
