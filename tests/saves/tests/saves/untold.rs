//! Whether a handle is redirected is asked of the Filter Manager, whose documented failures all mean no (minifilter-rules
//! §3.1). Should it ever fail in another way, nothing passes by its twin, and nothing is published that may not be whole.

use intact_saves::{FILE, Happened, NEW, OLD, Scene};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Offset, Status};
use lab_executive::import::FaultKind;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE | DELETE | 0x4_0000;
const UNCERTAIN: &str = "a part of what was asked for may be missing";
const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;

type Step = fn(&Caller<'_>, Handle) -> Result<(), Status>;

/// Lets the next question of that kind fail, after `skip` others.
fn fail_next(scene: &Scene, skip: u64) {
    let kind = FaultKind::Status(Status::INSUFFICIENT_RESOURCES.0.cast_signed());
    scene.lab.executive().calls.surprise("FltGetStreamHandleContext", skip, kind);
}

#[test]
fn what_modifies_fails_and_its_save_is_not_published_and_what_does_not_only_fails() {
    let steps: [(&str, bool, Step); 10] = [
        ("write", true, |caller, handle| caller.write(handle, Offset::At(0), b"t").map(|_| ())),
        ("size", true, |caller, handle| caller.set_end_of_file(handle, 9)),
        ("attributes", true, |caller, handle| caller.set_basic(handle, [None; 4], 0x22)),
        ("security", true, |caller, handle| caller.set_security(handle, 4, &lab_volume::everyone_all())),
        ("zeros", true, |caller, handle| {
            let range: Vec<u8> = [2_u64, 4].iter().flat_map(|number| number.to_le_bytes()).collect();
            caller.fs_control(handle, FSCTL_SET_ZERO_DATA, &range, 0).map(|_| ())
        }),
        ("name", true, |caller, handle| caller.rename(handle, "report.txt", true)),
        ("read", false, |caller, handle| caller.read(handle, Some(0), 1).map(|_| ())),
        ("read security", false, |caller, handle| caller.security(handle).map(|_| ())),
        ("read extended attributes", false, |caller, handle| caller.query_ea(handle).map(|_| ())),
        ("lock", false, |caller, handle| caller.lock(handle, 0, 1, false, true)),
    ];
    for (name, modifies, step) in steps {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = writer.create_file(CreateOptions::open(FILE, ALL)).unwrap();
        writer.write(handle, 0, NEW).unwrap();
        fail_next(&scene, 0);
        let failed = writer.call(move |caller| step(caller, handle));
        assert_eq!(failed, Err(Status::INSUFFICIENT_RESOURCES), "{name}");
        writer.close(handle).unwrap();
        if modifies {
            scene.assert_committed(FILE, OLD);
            scene.assert_rolled_back(UNCERTAIN);
        } else {
            scene.assert_one_commit();
        }
        scene.end();
    }
}

/// Another process's save is not concerned.
#[test]
fn only_saves_of_the_process_that_asked_are_concerned() {
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).build();
    let (writer, second) = (scene.program("writer.exe"), scene.program("second.exe"));
    let kept = second.create_file(CreateOptions::open(r"C:\Saved\other.txt", ALL)).unwrap();
    second.write(kept, 0, NEW).unwrap();
    let handle = scene.write_new(&writer);
    fail_next(&scene, 0);
    assert_eq!(writer.write(handle, 0, b"t"), Err(Status::INSUFFICIENT_RESOURCES));
    writer.close(handle).unwrap();
    second.close(kept).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_committed(r"C:\Saved\other.txt", NEW);
    scene.end();
}

/// A cleanup that did not find its redirect leaves it to the close, where nobody knows how the program ended.
#[test]
fn what_no_cleanup_has_ended_the_close_ends_and_it_is_not_published() {
    for reads in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.write_new(&writer);
        let closed =
            if reads { writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap() } else { handle };
        fail_next(&scene, 0);
        writer.close(closed).unwrap();
        assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
        if reads {
            // Nothing of it is in anybody's way.
            writer.close(handle).unwrap();
            scene.assert_committed(FILE, NEW);
        } else {
            scene.assert_committed(FILE, OLD);
            scene.assert_happened(&[Happened::Begun, Happened::RolledBack(UNCERTAIN.into())]);
        }
        scene.end();
    }
}
