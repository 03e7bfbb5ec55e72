//! Writes whose place is not in their parameters: to the end of the file, and at the current position.

use std::collections::BTreeMap;

use intact_saves::{FILE, Happened, OLD, Scene, SceneBuilder};
use lab::{Caller, Handle, Offset, Process, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault, Site};

/// STATUS_INSUFFICIENT_RESOURCES.
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();
const WOUNDED: &str = "a write failed and was not made good";

fn begin(change: impl FnOnce(SceneBuilder) -> SceneBuilder) -> (Scene, Process, Handle) {
    let scene = change(Scene::builder()).build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    (scene, writer, handle)
}

fn append(caller: &Caller<'_>, handle: Handle) -> Result<usize, Status> {
    caller.write(handle, Offset::Append, b" and more")
}

/// What an append asks of the system, each as the first call that fails.
fn faults() -> Vec<(PlannedFault, Site)> {
    let (scene, writer, handle) = begin(|builder| builder);
    let sites = || scene.lab.executive().calls.sites();
    let before: BTreeMap<_, _> = sites().into_iter().map(|site| (site.id, site.calls)).collect();
    writer.call(move |caller| append(caller, handle)).unwrap();
    let fault = |site: Site| {
        let before = before.get(&site.id).copied().unwrap_or(0);
        let kind = match site.failure {
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
            Failure::Never | Failure::Timeout => return None,
        };
        (site.calls > before).then_some((PlannedFault { site: site.id, call: before + 1, kind }, site))
    };
    sites().into_iter().filter_map(fault).collect()
}

fn with_fault(fault: PlannedFault) -> (Scene, Process, Handle) {
    begin(move |builder| builder.lab(move |lab| lab.fault(fault)))
}

#[test]
fn whatever_fails_an_append_is_there_or_its_program_is_told_and_the_old_version_stays() {
    let (mut whole, mut told) = (0, 0);
    for (fault, site) in faults() {
        let (scene, writer, handle) = with_fault(fault);
        let appended = writer.call(move |caller| append(caller, handle));
        writer.close(handle).unwrap();
        if appended.is_ok() {
            whole += 1;
            scene.assert_committed(FILE, b"the old version and more");
            scene.assert_one_commit();
        } else {
            told += 1;
            scene.assert_committed(FILE, OLD);
            assert_eq!(scene.happened(), [Happened::Begun, Happened::RolledBack(WOUNDED.into())], "{site:?}");
        }
        scene.end();
    }
    assert!(whole > 0 && told > 0, "{whole} {told}");
}

/// Where the bytes were to go is known, so that the same append makes it good.
#[test]
fn an_append_for_which_there_was_no_memory_is_made_good_by_the_same_one() {
    let without_memory = faults().into_iter().filter(|(fault, _)| fault.kind == FaultKind::Null);
    let mut healed = 0;
    for (fault, _) in without_memory {
        let (scene, writer, handle) = with_fault(fault);
        if writer.call(move |caller| append(caller, handle)).is_err() {
            healed += 1;
            writer.call(move |caller| append(caller, handle)).unwrap();
        }
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, b"the old version and more");
        scene.end();
    }
    assert!(healed > 0);
}

/// A failed append whose place is not known may have been to go anywhere: only writing everything anew could make it good.
#[test]
fn an_append_to_a_place_that_is_not_known_wounds_all_of_the_file() {
    let unknown = faults().into_iter().filter(|(_, site)| site.import == "FsRtlGetFileSize");
    let mut count = 0;
    for (fault, _) in unknown {
        count += 1;
        let (scene, writer, handle) = with_fault(fault);
        scene.lab.with_volume(|volume| volume.set_free_space(Some(0)));
        let large = writer.call(move |caller| caller.write(handle, Offset::Append, &[7; 100_000]));
        assert_eq!(large, Err(Status::DISK_FULL));
        scene.lab.with_volume(|volume| volume.set_free_space(None));
        writer.write(handle, 0, OLD).unwrap();
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, OLD);
        scene.assert_rolled_back(WOUNDED);
        scene.end();
    }
    assert!(count > 0);
}
