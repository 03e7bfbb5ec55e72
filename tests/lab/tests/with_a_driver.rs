//! Built drivers in the lab: loaded, called, unloaded.

mod common;

use lab::loading::{Service, StartError};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab};
use lab_executive::registry::Value;

#[test]
fn a_driver_that_does_nothing_changes_nothing() {
    let lab = Lab::builder().build().unwrap();
    let driver = lab.load(&common::driver("nothing"), &Service::new("nothing", "385100")).unwrap();
    assert_eq!(driver.filter().unwrap().registration.operations.len(), 35);
    let program = lab.process("program.exe");
    let all = GENERIC_READ | GENERIC_WRITE;
    let handle = program.create_file(CreateOptions::create(r"C:\a.txt", all)).unwrap();
    for round in 0..50u64 {
        program.write(handle, round * 5, b"hello").unwrap();
    }
    assert_eq!(program.read(handle, 0, 10).unwrap(), b"hellohello");
    program.flush(handle).unwrap();
    program.close(handle).unwrap();
    program.call(|caller| caller.rename_path(r"C:\a.txt", r"C:\b.txt", false)).unwrap();
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn two_copies_of_a_driver_run_at_different_altitudes() {
    let lab = Lab::builder().build().unwrap();
    let high = lab.load(&common::driver("nothing"), &Service::new("high", "385100")).unwrap();
    let low = lab.load(&common::driver("nothing"), &Service::new("low", "145100.5")).unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\a", b"through two").unwrap();
    assert_eq!(program.contents(r"C:\a").unwrap(), b"through two");
    assert!(lab.unload_driver(&high).unwrap().is_clean());
    assert_eq!(program.contents(r"C:\a").unwrap(), b"through two");
    assert!(lab.unload_driver(&low).unwrap().is_clean());
    assert_eq!(program.contents(r"C:\a").unwrap(), b"through two");
}

/// minifilter-rules §3.8.
#[test]
fn either_registry_generation_gives_the_instances() {
    for parameters_generation in [false, true] {
        let lab = Lab::builder().build().unwrap();
        let service = Service { parameters_generation, ..Service::new("nothing", "385100") };
        let driver = lab.load(&common::driver("nothing"), &service).unwrap();
        assert_eq!(lab.drivers().len(), 1);
        assert!(lab.unload_driver(&driver).unwrap().is_clean());
        assert!(lab.drivers().is_empty());
    }
}

#[test]
fn a_file_that_is_no_driver_is_refused_by_what_is_wrong() {
    let lab = Lab::builder().build().unwrap();
    let service = Service::new("junk", "385100");
    for junk in [&b""[..], b"MZ", b"not an image at all", &[0; 4096]] {
        let refused = lab.load_bytes("junk.sys", junk, &service);
        assert!(matches!(refused, Err(StartError::Image(_))));
    }
    let mut cut = std::fs::read(common::driver("nothing")).unwrap();
    cut.truncate(cut.len() / 2);
    assert!(lab.load_bytes("cut.sys", &cut, &service).is_err());
}

#[test]
fn each_kind_of_leak_is_named_at_unload() {
    let leaks = [
        ("", "nothing left"),
        ("Pool", "pool"),
        ("Transaction", "transaction"),
        ("Context", "context"),
        ("Name", "file name information"),
        ("File", "File object"),
    ];
    for (leak, named) in leaks {
        let lab = Lab::builder().build().unwrap();
        lab.with_volume(|volume| volume.put_file("a", b"x").unwrap());
        if !leak.is_empty() {
            lab.executive().change_registry(|registry| {
                let key = registry.create(&format!(r"{}\leaking\Parameters", lab::loading::SERVICES));
                registry.set(&key, Value::string("Leak", leak));
            });
        }
        lab.load(&common::driver("leaking"), &Service::new("leaking", "385100")).unwrap();
        let program = lab.process("program.exe");
        assert_eq!(program.contents(r"C:\a").unwrap(), b"x");
        program.exit(0);
        let report = lab.unload();
        assert_eq!(report.is_clean(), leak.is_empty(), "{leak}: {report}");
        assert!(report.to_string().contains(named), "{leak}: {report}");
    }
}

#[test]
fn a_panicking_driver_stops_the_run_and_names_the_place() {
    let lab = Lab::builder().build().unwrap();
    let broken = lab.load(&common::driver("panicking"), &Service::new("panicking", "385100"));
    match broken {
        Err(StartError::Violation(violation)) => assert_eq!(violation.rule, "bugcheck"),
        other => panic!("{:?}", other.err()),
    }
}
