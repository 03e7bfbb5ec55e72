//! Programs that save by mapping the file.

use intact_saves::{FILE, NEW, OLD, Scene};
use lab::{Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, MappedFile, Offset, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault};
use lab_volume::WritableView;

const UNCERTAIN: &str = "a part of what was asked for may be missing";
const DIED: &str = "the process died with the file open";

/// Writes [`NEW`] through a mapping, which is as long as it: the file grows.
fn map_new(caller: &Caller<'_>, handle: Handle) -> MappedFile {
    let view = caller.create_section_of(handle, true, Some(NEW.len() as u64)).unwrap();
    caller.write_mapped(&view, 0, NEW).unwrap();
    view
}

#[test]
fn what_is_written_through_a_view_is_part_of_the_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let view = writer.call(move |caller| {
        let view = map_new(caller, handle);
        caller.flush_mapped(&view).unwrap();
        view
    });
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| {
        caller.close_section(view);
        caller.close(handle).unwrap();
    });
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn a_program_killed_after_writing_through_a_view_leaves_the_old_file() {
    for flushed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.call(move |caller| {
            let view = map_new(caller, handle);
            if flushed {
                caller.flush_mapped(&view).unwrap();
            }
            caller.close_section(view);
        });
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
        scene.assert_rolled_back(DIED);
        scene.end();
    }
}

#[test]
fn views_and_the_handle_see_each_others_writes() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| {
        let view = caller.create_section(handle, true).unwrap();
        assert_eq!(caller.read_mapped(&view, 0, OLD.len()).unwrap(), OLD);
        caller.write_mapped(&view, 0, b"THE").unwrap();
        assert_eq!(caller.read(handle, Some(0), 7).unwrap(), b"THE old");
        caller.write(handle, Offset::At(4), b"new").unwrap();
        assert_eq!(caller.read_mapped(&view, 0, 7).unwrap(), b"THE new");
        caller.close_section(view);
        caller.close(handle).unwrap();
    });
    scene.assert_committed(FILE, b"THE new version");
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn others_map_the_last_committed_version_meanwhile() {
    let scene = Scene::new();
    let (writer, reader) = (scene.program("writer.exe"), scene.program("reader.exe"));
    let handle = scene.open_file(&writer);
    let view = writer.call(move |caller| map_new(caller, handle));
    let seen = reader.call(|caller| {
        let handle = caller.create_file(&lab::CreateOptions::open(FILE, lab::GENERIC_READ)).unwrap().handle;
        let view = caller.create_section(handle, false).unwrap();
        let seen = caller.read_mapped(&view, 0, OLD.len()).unwrap();
        caller.close_section(view);
        caller.close(handle).unwrap();
        seen
    });
    assert_eq!(seen, OLD);
    writer.call(move |caller| {
        caller.close_section(view);
        caller.close(handle).unwrap();
    });
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_section_that_only_reads_modifies_nothing() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| {
        let view = caller.create_section(handle, false).unwrap();
        assert_eq!(caller.read_mapped(&view, 4, 3).unwrap(), b"old");
        caller.close_section(view);
        // What is mapped no more can be cut again.
        caller.set_end_of_file(handle, 3).unwrap();
        caller.set_end_of_file(handle, OLD.len() as u64).unwrap();
        caller.write(handle, Offset::At(0), OLD).unwrap();
        caller.close(handle).unwrap();
    });
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_section_of_an_empty_file_is_refused() {
    let scene = Scene::builder().file(r"Saved\empty.txt", b"").build();
    let writer = scene.program("writer.exe");
    let options = lab::CreateOptions::open(r"C:\Saved\empty.txt", lab::GENERIC_READ | lab::GENERIC_WRITE);
    let handle = writer.create_file(options).unwrap();
    writer.call(move |caller| {
        let refused = caller.create_section_of(handle, true, Some(100)).err();
        assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
        caller.write(handle, Offset::At(0), b"x").unwrap();
        let view = caller.create_section_of(handle, true, Some(100)).unwrap();
        caller.write_mapped(&view, 99, b"y").unwrap();
        caller.close_section(view);
        caller.close(handle).unwrap();
    });
    let committed = scene.committed(r"Saved\empty.txt").unwrap();
    assert_eq!((committed.len(), committed[0], committed[99]), (100, b'x', b'y'));
    scene.end();
}

/// STATUS_FLT_DO_NOT_DETACH.
const DO_NOT_DETACH: Status = Status(0xC01C_0010);

/// A minute, in the units of the lab's clock: the driver looks at least once a second.
const MINUTE: i64 = 60 * 10_000_000;

fn wait(scene: &Scene) {
    let lab = scene.lab.executive();
    if let Err(violation) = lab.advance(MINUTE) {
        panic!("{violation}");
    }
}

/// Maps, closes the file first, and then goes on writing through the view: what most programs do that map files.
fn close_early(scene: &Scene, writer: &lab::Process) -> MappedFile {
    let handle = scene.open_file(writer);
    writer.call(move |caller| {
        let view = caller.create_section_of(handle, true, Some(NEW.len() as u64)).unwrap();
        caller.close(handle).unwrap();
        caller.write_mapped(&view, 0, NEW).unwrap();
        view
    })
}

#[test]
fn a_save_whose_file_is_still_mapped_waits_for_the_last_view() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let view = close_early(&scene, &writer);
    wait(&scene);
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| caller.close_section(view));
    wait(&scene);
    scene.assert_committed(FILE, NEW);
    scene.assert_one_commit();
    scene.end();
}

#[test]
fn however_many_handles_are_closed_while_it_is_mapped_the_save_ends_with_the_last_view() {
    for count in 2..6 {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handles: Vec<Handle> = (0..count).map(|_| scene.open_file(&writer)).collect();
        let (first, all) = (handles[0], handles);
        let view = writer.call(move |caller| map_new(caller, first));
        for handle in all {
            writer.close(handle).unwrap();
        }
        wait(&scene);
        scene.assert_committed(FILE, OLD);
        writer.call(move |caller| caller.close_section(view));
        wait(&scene);
        scene.assert_committed(FILE, NEW);
        scene.end();
    }
}

#[test]
fn the_locks_of_a_handle_end_with_it_although_the_file_is_still_mapped() {
    let scene = Scene::new();
    let (writer, other) = (scene.program("writer.exe"), scene.program("other.exe"));
    let handle = scene.open_file(&writer);
    let view = writer.call(move |caller| {
        caller.lock(handle, 0, 10, true, false).unwrap();
        map_new(caller, handle)
    });
    assert_eq!(other.contents(FILE), Err(Status::FILE_LOCK_CONFLICT));
    writer.close(handle).unwrap();
    assert_eq!(other.contents(FILE), Ok(OLD.to_vec()), "the save waits for the view, the lock does not");
    writer.call(move |caller| caller.close_section(view));
    wait(&scene);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_process_that_ends_with_the_file_mapped_decides_by_its_status() {
    for (status, committed, expected) in [(0, true, NEW), (1, false, OLD)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        close_early(&scene, &writer);
        writer.exit(status);
        wait(&scene);
        scene.assert_committed(FILE, expected);
        if committed {
            scene.assert_one_commit();
        } else {
            scene.assert_rolled_back(DIED);
        }
        scene.end();
    }
}

#[test]
fn a_process_killed_with_handle_and_view_leaves_the_old_file() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| {
        map_new(caller, handle);
    });
    writer.kill(1);
    wait(&scene);
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(DIED);
    scene.end();
}

#[test]
fn a_file_opened_again_while_it_is_still_mapped_is_in_the_same_save() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let view = close_early(&scene, &writer);
    let handle = scene.open_file(&writer);
    assert_eq!(writer.read(handle, 0, 100).as_deref(), Ok(NEW));
    writer.close(handle).unwrap();
    wait(&scene);
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| caller.close_section(view));
    wait(&scene);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn unloading_is_refused_while_a_save_waits_for_a_view() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let view = close_early(&scene, &writer);
    wait(&scene);
    let intact = scene.lab.drivers().into_iter().find(|driver| driver.name == "Intact").unwrap();
    assert_eq!(scene.lab.unload_driver(&intact).err(), Some(DO_NOT_DETACH));
    writer.call(move |caller| caller.close_section(view));
    wait(&scene);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_write_through_a_view_that_fails_at_the_end_rolls_back() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| {
        let view = map_new(caller, handle);
        caller.close_section(view);
    });
    scene.lab.with_volume(|volume| volume.fail_write(0, Status::DISK_FULL));
    let view = writer.call(move |caller| {
        let view = caller.create_section(handle, true).unwrap();
        caller.write_mapped(&view, 0, b"X").unwrap();
        // The flush at the close fails; the view goes after it.
        caller.close(handle).unwrap();
        view
    });
    writer.call(move |caller| caller.close_section(view));
    wait(&scene);
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_flush_of_a_mapped_file_goes_into_the_transaction() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let view = writer.call(move |caller| {
        let view = map_new(caller, handle);
        caller.flush(handle).unwrap();
        view
    });
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| {
        caller.close_section(view);
        // Mapped no more: a checkpoint again.
        caller.write(handle, Offset::At(0), NEW).unwrap();
        caller.flush(handle).unwrap();
    });
    scene.assert_committed(FILE, NEW);
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn a_handle_that_only_reads_maps_the_last_committed_version() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    writer.call(move |caller| {
        let reader = caller.create_file(&lab::CreateOptions::open(FILE, lab::GENERIC_READ)).unwrap().handle;
        assert_eq!(caller.read(reader, Some(0), 100).unwrap(), NEW);
        let view = caller.create_section(reader, false).unwrap();
        assert_eq!(caller.read_mapped(&view, 0, OLD.len()).unwrap(), OLD);
        caller.close_section(view);
        caller.close(reader).unwrap();
    });
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// There is no memory to wait with for the last view: the save cannot be known to be whole.
#[test]
fn whatever_fails_as_a_mapped_file_is_closed_the_file_is_old_or_new() {
    let sites = |close: bool| {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.call(move |caller| {
            let view = map_new(caller, handle);
            if close {
                caller.close(handle).unwrap();
            }
            caller.close_section(view);
        });
        wait(&scene);
        scene.lab.executive().calls.sites()
    };
    let before: Vec<_> = sites(false).into_iter().map(|site| site.id).collect();
    let new = sites(true).into_iter().filter(|site| !before.contains(&site.id));
    let mut given_up = 0;
    for site in new.filter(|site| site.failure == Failure::Null) {
        let fault = PlannedFault { site: site.id, call: 1, kind: FaultKind::Null };
        let scene = Scene::builder().lab(|lab| lab.fault(fault)).build();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        let view = writer.call(move |caller| {
            let view = map_new(caller, handle);
            caller.close(handle).unwrap();
            view
        });
        let ended = scene.happened().len() > 1;
        given_up += u32::from(ended);
        writer.call(move |caller| {
            // Where nobody waits for it any more, what is written late goes nowhere, and its program is told.
            assert_eq!(caller.write_mapped(&view, 0, NEW).is_err(), ended);
            caller.close_section(view);
        });
        wait(&scene);
        scene.assert_committed(FILE, if ended { OLD } else { NEW });
        if ended {
            scene.assert_rolled_back(UNCERTAIN);
        } else {
            scene.assert_one_commit();
        }
        scene.end();
    }
    assert!(given_up > 0);
}

/// The instance is going, so that nobody can wait for the view: a commit might wait for it (txf-ktm §4.5), in the close that the
/// program has to come out of before it unmaps the file.
#[test]
fn a_mapped_file_whose_volume_is_going_is_rolled_back_and_its_close_waits_for_nothing() {
    const DELETING_OBJECT: i32 = 0xC01C_000B_u32.cast_signed();
    let waits = |lab: lab::Builder| lab.switches(|s| s.writable_view_at_commit = WritableView::Wait);
    let scene = Scene::builder().lab(waits).build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    let view = writer.call(move |caller| map_new(caller, handle));
    scene.lab.executive().calls.surprise("FltObjectReference", 0, FaultKind::Status(DELETING_OBJECT));
    writer.close(handle).unwrap();
    assert_eq!(scene.lab.executive().calls.surprises_left(), 0);
    writer.call(move |caller| caller.close_section(view));
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(UNCERTAIN);
    scene.end();
}

/// Nobody tells when a view is written, so the section alone counts as a modification.
#[test]
fn a_file_that_is_written_through_a_view_only_is_saved() {
    for killed in [false, true] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        let handle = scene.open_file(&writer);
        writer.call(move |caller| {
            let view = caller.create_section(handle, true).unwrap();
            caller.write_mapped(&view, 0, b"THE").unwrap();
            caller.close_section(view);
        });
        if killed {
            writer.kill(1)
        } else {
            writer.close(handle).unwrap()
        }
        scene.assert_committed(FILE, if killed { OLD } else { b"THE old version" });
        scene.end();
    }
}

#[test]
fn a_file_that_was_only_read_through_a_view_is_not_modified() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    writer.call(move |caller| {
        let view = caller.create_section(handle, false).unwrap();
        assert_eq!(caller.read_mapped(&view, 4, 3).unwrap(), b"old");
        caller.close_section(view);
    });
    writer.close(handle).unwrap();
    scene.assert_rolled_back("nothing was modified");
    scene.end();
}

/// A limit that the README names. An open that deletes on close takes no part in a save; a section that it has made keeps the
/// transaction of its file from committing (txf-ktm §4.5).
#[test]
fn what_is_mapped_past_a_save_keeps_it_from_committing() {
    const DELETE_ON_CLOSE: u32 = 0x1000;
    const STREAM: &str = r"C:\Saved\report.txt:notes";
    let scene = Scene::builder().file(r"Saved\report.txt:notes", OLD).build();
    let writer = scene.program("writer.exe");
    let passes = CreateOptions::open(STREAM, GENERIC_READ | GENERIC_WRITE | DELETE).options(DELETE_ON_CLOSE);
    let notes = writer.create_file(passes).unwrap();
    let view = writer.call(move |caller| caller.create_section_of(notes, true, None).unwrap());
    writer.close(notes).unwrap();
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, b"x").unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    writer.call(move |caller| caller.close_section(view));
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, b"x").unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"x", &OLD[1..]].concat());
    scene.end();
}
