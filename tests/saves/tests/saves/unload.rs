//! Loading, attaching, detaching, unloading.

use std::rc::Rc;

use intact_saves::{
    FILE, Happened, NEW, OLD, Scene, SceneBuilder, intact, intact_service, seen, test_driver,
};
use lab::flt::instance::Instance;
use lab::loading::{Driver, InstanceDefinition, SERVICES, Service};
use lab::{CreateOptions, GENERIC_READ, Lab, Status};
use lab_executive::registry::Value;

/// STATUS_FLT_DO_NOT_DETACH.
pub(crate) const DO_NOT_DETACH: Status = Status(0xC01C_0010);
/// STATUS_FLT_DO_NOT_ATTACH.
const DO_NOT_ATTACH: Status = Status(0xC01C_000F);
const NO_AUTOMATIC_ATTACHMENT: u32 = 1;

pub(crate) fn driver(lab: &Lab) -> Rc<Driver> {
    lab.drivers().into_iter().find(|driver| driver.name == "Intact").unwrap()
}

/// A scene with Intact loaded, and its only instance attached by hand.
pub(crate) fn attached_by_hand(builder: SceneBuilder) -> (Scene, Rc<Driver>, Rc<Instance>) {
    let scene = builder.bare().build();
    let mut service = intact_service();
    service.instances[0].flags = NO_AUTOMATIC_ATTACHMENT;
    let driver = scene.lab.load(&intact(), &service).unwrap();
    let by_hand = InstanceDefinition { name: "by hand".into(), altitude: "225001".into(), flags: 0 };
    let instance = scene.lab.attach(&driver, by_hand).unwrap();
    (scene, driver, instance)
}

#[test]
fn a_driver_that_did_nothing_leaves_nothing() {
    Scene::new().end();
}

#[test]
fn unload_is_refused_while_a_redirected_handle_lives() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let intact = driver(&scene.lab);
    assert_eq!(scene.lab.unload_driver(&intact).err(), Some(DO_NOT_DETACH));
    assert_eq!(scene.lab.stop_service(&intact).err(), Some(Status::NOT_SUPPORTED));
    writer.write(handle, 0, b"A").unwrap();
    writer.close(handle).unwrap();
    let mut expected = NEW.to_vec();
    expected[0] = b'A';
    scene.assert_committed(FILE, &expected);
    scene.end();
}

#[test]
fn detaching_is_refused_while_a_redirected_handle_lives() {
    let (scene, _, instance) = attached_by_hand(Scene::builder());
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    assert_eq!(scene.lab.detach(&instance), Err(DO_NOT_DETACH));
    writer.close(handle).unwrap();
    assert_eq!(scene.lab.detach(&instance), Ok(()));
    scene.assert_one_commit();
    let handle = scene.write_new(&writer);
    writer.write(handle, 0, b"B").unwrap();
    assert_eq!(scene.committed(FILE).unwrap()[0], b'B');
    writer.close(handle).unwrap();
    scene.end();
}

#[test]
fn a_reading_handle_does_not_keep_the_driver() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let handle = scene.write_new(&writer);
    let reading = writer.create_file(CreateOptions::open(FILE, GENERIC_READ)).unwrap();
    writer.close(handle).unwrap();
    let report = scene.lab.unload_driver(&driver(&scene.lab)).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(writer.read(reading, 0, 100).unwrap(), NEW);
    writer.close(reading).unwrap();
}

#[test]
fn after_an_unload_it_loads_again() {
    let scene = Scene::new();
    let writer = scene.program("writer.exe");
    let report = scene.lab.unload_driver(&driver(&scene.lab)).unwrap();
    assert!(report.is_clean(), "{report}");
    let handle = scene.write_new(&writer);
    scene.assert_committed(FILE, NEW);
    writer.close(handle).unwrap();
    scene.lab.load(&intact(), &intact_service()).unwrap();
    let handle = scene.open_file(&writer);
    writer.write(handle, 0, OLD).unwrap();
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    let report = scene.lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn handles_opened_before_it_loaded_stay_as_they_are() {
    let scene = Scene::builder().bare().build();
    let writer = scene.program("writer.exe");
    let handle = scene.open_file(&writer);
    scene.lab.load(&intact(), &intact_service()).unwrap();
    writer.write(handle, 0, NEW).unwrap();
    scene.assert_committed(FILE, NEW);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn a_volume_without_transactions_is_refused_and_an_event_says_why() {
    let scene = Scene::builder().lab(|lab| lab.switches(|switches| switches.transactions = false)).build();
    let refused: Vec<_> =
        seen(&scene.lab).into_iter().filter(|event| event.name() == "InstanceRefused").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].text("Volume"), r"\Device\HarddiskVolume1");
    assert_eq!(refused[0].text("Reason"), "it does not support transactions");
    let by_hand = InstanceDefinition { name: "again".into(), altitude: "225001".into(), flags: 0 };
    assert_eq!(scene.lab.attach(&driver(&scene.lab), by_hand).err(), Some(DO_NOT_ATTACH));
    let writer = scene.program("writer.exe");
    scene.write_new(&writer);
    writer.kill(1);
    scene.assert_committed(FILE, NEW);
    scene.end();
}

#[test]
fn the_driver_sums_up_at_unload() {
    let scene = Scene::new();
    for status in [0, 1, 0] {
        let writer = scene.program("writer.exe");
        scene.write_new(&writer);
        writer.exit(status);
    }
    let reader = scene.program("reader.exe");
    let handle = scene.open_file(&reader);
    reader.close(handle).unwrap();
    let count = |wanted: &Happened| scene.happened().iter().filter(|event| *event == wanted).count();
    assert_eq!(count(&Happened::Begun), 4);
    assert_eq!(count(&Happened::Committed), 2);
    scene.end();
}

#[test]
fn every_event_of_a_save_names_file_program_and_rule_and_says_how_much_it_was() {
    for (name, killed) in [("SaveCommitted", false), ("SaveRolledBack", true)] {
        let scene = Scene::new();
        let writer = scene.program("writer.exe");
        // How long it took, and not what the time is.
        scene.pass(3_000);
        let handle = scene.write_new(&writer);
        scene.pass(250);
        if killed {
            writer.kill(1);
        } else {
            writer.close(handle).unwrap();
        }
        let events = seen(&scene.lab);
        let event = events.iter().find(|event| event.name() == name).unwrap();
        assert_eq!(event.text("File"), r"\Device\HarddiskVolume1\Saved\report.txt");
        assert_eq!(event.text("Image"), r"\Device\HarddiskVolume1\Programs\writer.exe");
        assert_eq!(event.text("Rule"), "Saved");
        assert_eq!(event.number("ProcessId"), u64::from(writer.id()));
        assert_eq!(event.number("Bytes"), NEW.len() as u64);
        assert!((250..260).contains(&event.number("Milliseconds")), "{}", event.number("Milliseconds"));
        scene.end();
    }
}

#[test]
fn the_verifier_sees_each_kind_of_leak() {
    for leak in ["Nothing", "Pool", "Transaction", "Context", "Name", "File"] {
        let lab = Lab::builder().build().unwrap();
        lab.executive().change_registry(|registry| {
            let key = registry.create(&format!(r"{SERVICES}\Leaking\Parameters"));
            registry.set(&key, Value::string("Leak", leak));
        });
        lab.load(&test_driver("leaking"), &Service::new("Leaking", "300000")).unwrap();
        let program = lab.process("program.exe");
        program.put(r"C:\file.txt", b"contents").unwrap();
        program.exit(0);
        let report = lab.unload();
        assert_eq!(report.is_clean(), leak == "Nothing", "{leak}: {report}");
    }
}
