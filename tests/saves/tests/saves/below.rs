//! The lower instance: pages that are written when nobody asks for it any more.

use std::rc::Rc;

use intact_saves::{FILE, Happened, NEW, OLD, Scene, intact, intact_service, seen};
use lab::flt::instance::Instance;
use lab::{Handle, Offset, Process, Status};

use crate::going::dismount;

const WOUNDED: &str = "a write failed and was not made good";
const IO_DEVICE_ERROR: Status = Status(0xC000_0185);
const DO_NOT_DETACH: Status = Status(0xC01C_0010);
const OTHER: &str = r"C:\Saved\other.txt";

/// A program with a file open that it saves, known to the lower instance.
fn opened(scene: &Scene) -> (Process, Handle) {
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.pass(10);
    (writer, handle)
}

/// Writes a page through a view that is gone, and its section, when the disk fails.
fn lose_a_page(scene: &Scene, writer: &Process, handle: Handle) {
    let view = writer.call(move |caller| {
        let view = caller.create_section_of(handle, true, Some(NEW.len() as u64)).unwrap();
        caller.write_mapped(&view, 0, NEW).unwrap();
        view
    });
    scene.lab.with_volume(|volume| volume.fail_write(0, IO_DEVICE_ERROR));
    writer.call(move |caller| caller.close_section(view));
}

fn instances(scene: &Scene) -> Vec<Rc<Instance>> {
    let driver = scene.lab.drivers().into_iter().find(|driver| driver.name == "Intact").unwrap();
    scene.lab.instances(&driver.filter().unwrap())
}

fn names(scene: &Scene) -> Vec<String> {
    instances(scene).iter().map(|instance| instance.name.clone()).collect()
}

#[test]
fn a_page_that_cannot_be_written_rolls_the_save_back() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    lose_a_page(&scene, &writer, handle);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.assert_rolled_back(WOUNDED);
    scene.end();
}

#[test]
fn a_program_that_flushes_is_told() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    lose_a_page(&scene, &writer, handle);
    assert_eq!(writer.flush(handle), Err(IO_DEVICE_ERROR));
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_page_that_is_written_after_all_heals() {
    let whole = [NEW, &[b'.'; 4096][NEW.len()..]].concat();
    for mapped in [false, true] {
        let scene = Scene::new();
        let (writer, handle) = opened(&scene);
        lose_a_page(&scene, &writer, handle);
        let again = whole.clone();
        writer.call(move |caller| {
            if mapped {
                let view = caller.create_section(handle, true).unwrap();
                caller.write_mapped(&view, 0, NEW).unwrap();
                caller.close_section(view);
            } else {
                caller.write(handle, Offset::At(0), &again).unwrap();
            }
            caller.close(handle).unwrap();
        });
        scene.assert_committed(FILE, if mapped { NEW } else { &whole });
        scene.assert_one_commit();
        scene.end();
    }
}

#[test]
fn a_twin_that_was_exchanged_is_known_too() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    writer.write(handle, 0, b"THE").unwrap();
    writer.flush(handle).unwrap();
    lose_a_page(&scene, &writer, handle);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, &[b"THE", &OLD[3..]].concat());
    scene.end();
}

#[test]
fn it_is_attached_with_the_first_save_and_no_other() {
    let scene = Scene::builder().file(r"Saved\other.txt", OLD).file(r"Free\any.txt", OLD).build();
    let writer = scene.program("writer.exe");
    writer.contents(FILE).unwrap();
    scene.pass(1_000);
    assert_eq!(names(&scene), ["Intact"]);
    for path in [FILE, OTHER] {
        let handle = writer.create_file(lab::CreateOptions::open(path, lab::GENERIC_WRITE)).unwrap();
        scene.pass(10);
        assert_eq!(names(&scene), ["Intact", "Intact Below"]);
        writer.close(handle).unwrap();
    }
    scene.end();
}

#[test]
fn it_is_detached_when_nothing_is_saved_and_comes_again() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    let lower = instances(&scene).pop().unwrap();
    assert_eq!(scene.lab.detach(&lower), Err(DO_NOT_DETACH));
    writer.close(handle).unwrap();
    scene.lab.detach(&lower).unwrap();
    drop(lower);
    assert_eq!(names(&scene), ["Intact"]);
    let (writer, handle) = opened(&scene);
    assert_eq!(names(&scene), ["Intact", "Intact Below"]);
    lose_a_page(&scene, &writer, handle);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

/// An administrator detaches the upper instance, and attaches one again: what is below it is the one that was there.
#[test]
fn it_stays_when_the_upper_one_is_detached_and_is_found_by_the_next() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    writer.close(handle).unwrap();
    let upper = instances(&scene).into_iter().find(|instance| instance.name == "Intact").unwrap();
    scene.lab.detach(&upper).unwrap();
    drop(upper);
    assert_eq!(names(&scene), ["Intact Below"]);
    let driver = scene.lab.drivers().into_iter().find(|driver| driver.name == "Intact").unwrap();
    scene.lab.attach(&driver, intact_service().instances.remove(0)).unwrap();
    let (writer, handle) = opened(&scene);
    assert_eq!(names(&scene), ["Intact Below", "Intact"]);
    assert!(seen(&scene.lab).iter().all(|event| event.name() != "NoLowerInstance"));
    lose_a_page(&scene, &writer, handle);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn a_volume_that_is_mounted_again_gets_another() {
    let scene = Scene::new();
    let (writer, handle) = opened(&scene);
    writer.close(handle).unwrap();
    dismount(&scene);
    let (writer, handle) = opened(&scene);
    lose_a_page(&scene, &writer, handle);
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, OLD);
    scene.end();
}

#[test]
fn without_it_saves_go_on_and_an_event_says_so() {
    let scene = Scene::builder().bare().build();
    let mut service = intact_service();
    service.instances.pop();
    scene.lab.load(&intact(), &service).unwrap();
    for _ in 0..2 {
        let (writer, handle) = opened(&scene);
        writer.write(handle, 0, NEW).unwrap();
        scene.assert_committed(FILE, OLD);
        writer.kill(1);
        scene.assert_committed(FILE, OLD);
    }
    let missing = seen(&scene.lab).into_iter().filter(|event| event.name() == "NoLowerInstance").count();
    assert_eq!(missing, 1);
    scene.end();
}

/// Mounts the volume anew, with the handle of the old one open.
fn mounted_anew(outlive: bool) -> (Scene, Process, Handle) {
    let scene = Scene::builder().lab(|lab| lab.instances_outlive_dismount(outlive)).build();
    let (writer, old) = opened(&scene);
    dismount(&scene);
    (scene, writer, old)
}

/// There are two at once, where instances stay with the volume that is gone.
#[test]
fn beside_one_of_a_volume_that_is_gone_another_one_sees_its_pages() {
    for outlive in [false, true] {
        let (scene, writer, old) = mounted_anew(outlive);
        let handle = scene.open_file(&writer);
        scene.pass(10);
        assert_eq!(
            names(&scene).iter().filter(|name| *name == "Intact Below").count(),
            1 + usize::from(outlive)
        );
        lose_a_page(&scene, &writer, handle);
        writer.close(handle).unwrap();
        scene.assert_committed(FILE, OLD);
        assert_eq!(scene.happened().last(), Some(&Happened::RolledBack(WOUNDED.into())));
        writer.close(old).unwrap();
        scene.end();
    }
}

/// How many there are is bounded. One more is not attached, and an event says so.
#[test]
fn of_more_volumes_than_are_known_the_next_has_none_and_an_event_says_so() {
    let (scene, writer, _) = mounted_anew(true);
    let missing = || seen(&scene.lab).into_iter().filter(|event| event.name() == "NoLowerInstance").count();
    for round in 1..=32 {
        assert_eq!(missing(), 0, "{round}");
        scene.open_file(&writer);
        scene.pass(10);
        dismount(&scene);
    }
    assert_eq!(missing(), 1);
    let handle = scene.open_file(&writer);
    scene.pass(10);
    assert_eq!(missing(), 2);
    writer.write(handle, 0, NEW).unwrap();
    writer.close(handle).unwrap();
    scene.assert_committed(FILE, NEW);
    scene.end();
}

/// One that goes leaves room for another.
#[test]
fn however_often_it_is_detached_it_comes_again() {
    let scene = Scene::new();
    for round in 0..40 {
        let (writer, handle) = opened(&scene);
        assert_eq!(names(&scene), ["Intact", "Intact Below"], "{round}");
        writer.close(handle).unwrap();
        let lower = instances(&scene).pop().unwrap();
        scene.lab.detach(&lower).unwrap();
    }
    scene.end();
}
