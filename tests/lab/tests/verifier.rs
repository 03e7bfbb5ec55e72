//! The verifier catches a bad driver of each class: `tests/lab/drivers/bad` breaks the rule that it is told to.

mod common;

use std::collections::BTreeSet;
use std::rc::Rc;

use lab::loading::{SERVICES, Service, StartError};
use lab::verifier::{CLASSES, OTHERS};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Offset, Process, Report, Violation};
use lab_executive::image::LEFT_BEHIND;
use lab_executive::import::{FaultKind, PlannedFault};
use lab_executive::registry::Value;

/// What the verifier must say.
#[derive(Debug)]
enum Caught {
    /// The run stops: rule, and a part of its source.
    Rule(&'static str, &'static str),
    /// A part of the report at unload.
    Left(&'static str),
}
use Caught::{Left, Rule};

/// Class, misdeed, what it must be caught with.
const MISDEEDS: &[(&str, &str, Caught)] = &[
    ("Special pool", "PoolOverrun", Rule("pool-overrun", "special pool")),
    ("Special pool", "PoolOverrunFar", Rule("pool-overrun", "bugcheck")),
    ("Special pool", "PoolUnderrun", Rule("pool-underrun", "special pool")),
    ("Special pool", "UseAfterFree", Rule("use-after-free", "bugcheck")),
    ("Special pool", "DoubleFree", Rule("double-free", "ExFreePoolWithTag")),
    ("Special pool", "FreeWrongTag", Rule("free-wrong-tag", "ExFreePoolWithTag")),
    ("Force IRQL checking", "PagedAtDispatch", Rule("paged-at-dispatch", "bugcheck")),
    ("Force IRQL checking", "WaitAtDispatch", Rule("wait-at-dispatch", "KeWaitForSingleObject")),
    ("Pool tracking", "PoolLeak", Left("tag 'BadP' of 40 bytes, allocated at bad.sys+0x")),
    ("I/O verification", "DeviceLeft", Left("a device object, set up and not taken down")),
    ("I/O verification", "CompletesTwice", Rule("irp-completed-twice", "0x44")),
    ("I/O verification", "ReturnsAnotherStatus", Rule("irp-status", "I/O verification")),
    ("I/O verification", "DispatchOutside", Rule("dispatch-outside", "wdm/DRIVER_OBJECT")),
    ("Pool tracking", "EntryFailsAndLeaks", Rule("entry-failed-leak", "Driver Verifier")),
    ("Deadlock detection", "LockOrder", Rule("lock-order", "deadlock detection")),
    ("Deadlock detection", "LockRecursion", Rule("lock-recursion", "deadlock detection")),
    ("Security checks", "UserBuffer", Rule("user-pointer", "bugcheck")),
    ("Security checks", "UserHandle", Rule("user-handle", "OBJ_KERNEL_HANDLE")),
    ("Security checks", "InvalidHandle", Rule("invalid-handle", "ZwClose")),
    ("Miscellaneous checks", "FreeInUse", Rule("free-in-use", "active object")),
    ("Miscellaneous checks", "LookasideLeft", Left("a lookaside list, set up and not taken down")),
    ("Miscellaneous checks", "LookasideUncounted", Rule("lookaside", "TotalAllocates")),
    ("Miscellaneous checks", "LookasideTooDeep", Rule("lookaside", "Depth")),
    ("Code integrity checks", "ExecutablePool", Rule("executable-pool", "code integrity")),
    ("DDI compliance checking", "IrqlCeiling", Rule("irql-ceiling", "ZwClose")),
    ("DDI compliance checking", "SpinLockLeft", Rule("state-after-callback", "Driver Verifier")),
    ("DDI compliance checking", "CriticalRegionLeft", Rule("state-after-callback", "Driver Verifier")),
    ("DDI compliance checking", "UninitialisedEvent", Rule("uninitialised-object", "KeInitializeEvent")),
    ("DDI compliance checking", "RestoresAnotherIrql", Rule("irql-restored", "KeReleaseSpinLock")),
    ("Pool tracking", "AllocatesWithoutTag", Rule("pool-tag", "ExAllocatePool2")),
    ("Filter Verifier", "CallbackWithoutPost", Rule("preop-without-post", "minifilter-rules §2.4")),
    ("Filter Verifier", "ChangesWithoutDirty", Rule("parameters-not-dirty", "minifilter-rules §1.1")),
    ("Filter Verifier", "ContextReleasedTwice", Rule("context-reference", "minifilter-rules §3.1")),
    ("Filter Verifier", "NameLeft", Left("file name information")),
    (
        "Filter Verifier",
        "CallbackOutside",
        Rule("registration-callback-outside", "fltkernel/FltRegisterFilter"),
    ),
    ("Filter Verifier", "StaysRegistered", Rule("unload-without-unregister", "minifilter-rules §3.3")),
];

/// Misdeeds that need something of the lab to show; each has a test of its own below.
const WITH_HELP: &[(&str, &str)] = &[
    ("Force IRQL checking", "PassiveAtClose"),
    ("Systematic low resources simulation", "UncheckedAllocation"),
    ("Kernel synchronization delay fuzzing", "UnlockedCheck"),
];

fn lab_with(builder: lab::Builder, misdeed: &str) -> Rc<Lab> {
    let lab = builder.build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    if !misdeed.is_empty() {
        lab.executive().change_registry(|registry| {
            let key = registry.create(&format!(r"{SERVICES}\bad\Parameters"));
            registry.set(&key, Value::string("Misdeed", misdeed));
        });
    }
    lab
}

/// Loads the driver; whether its DriverEntry succeeded.
fn load(lab: &Lab) -> Result<bool, Rc<Violation>> {
    match lab.load(&common::driver("bad"), &Service::new("bad", "385100")) {
        Ok(_) => Ok(true),
        Err(StartError::Entry(_)) => Ok(false),
        Err(StartError::Violation(violation)) => Err(violation),
        Err(other) => panic!("{other}"),
    }
}

fn save(program: &Process) -> Result<(), Rc<Violation>> {
    program.try_call(|caller| {
        let all = GENERIC_READ | GENERIC_WRITE;
        if let Ok(created) = caller.create_file(&CreateOptions::open(r"C:\a", all)) {
            let _ = caller.write(created.handle, Offset::At(0), b"abcd");
            let _ = caller.close(created.handle);
        }
        if let Ok(device) = caller.create_file(&CreateOptions::open(r"\Device\Bad", all)) {
            let _ = caller.close(device.handle);
        }
    })
}

/// Loads the driver, lets a program save a file and open the driver's device, unloads.
fn run(builder: lab::Builder, misdeed: &str) -> Result<Report, Rc<Violation>> {
    let lab = lab_with(builder, misdeed);
    load(&lab)?;
    let program = lab.process("program.exe");
    save(&program)?;
    program.try_exit(0)?;
    let report = lab.unload();
    match &report.violation {
        Some(violation) => Err(violation.clone()),
        None => Ok(report),
    }
}

#[test]
fn a_driver_without_a_misdeed_is_not_accused() {
    for seed in 0..4 {
        let report = run(Lab::builder().seed(seed), "").unwrap_or_else(|violation| panic!("{violation}"));
        assert!(report.is_clean(), "{report}");
    }
    let report = run(Lab::builder().highest_irql(), "").unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.is_clean(), "{report}");
}

#[test]
fn each_misdeed_is_caught_under_its_rule() {
    let mut wrong = Vec::new();
    for (class, misdeed, caught) in MISDEEDS {
        let outcome = run(Lab::builder(), misdeed);
        let right = match (caught, &outcome) {
            (Rule(rule, source), Err(violation)) => {
                violation.rule == *rule && violation.source.contains(source)
            }
            (Left(part), Ok(report)) => report.left.iter().any(|left| left.contains(part)),
            _ => false,
        };
        if !right {
            let said = match outcome {
                Ok(report) => report.to_string(),
                Err(violation) => violation.to_string(),
            };
            wrong.push(format!("{class}, {misdeed}: {caught:?} was expected, but:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is said of a misdeed whose own rule is not checked; of every other nothing is said.
const INSTEAD: &[(&str, &str)] = &[
    ("PoolOverrunFar", SOMETHING_LEFT),
    ("CompletesTwice", SOMETHING_LEFT),
    ("ReturnsAnotherStatus", SOMETHING_LEFT),
    ("DispatchOutside", "bad-address"),
    ("LockRecursion", "lock-order"),
    ("FreeInUse", "irql-ceiling"),
    ("ExecutablePool", SOMETHING_LEFT),
    ("IrqlCeiling", "invalid-handle"),
    ("SpinLockLeft", "lock-after-callback"),
    ("CriticalRegionLeft", "state-at-thread-end"),
    ("RestoresAnotherIrql", "state-after-callback"),
    ("AllocatesWithoutTag", SOMETHING_LEFT),
    ("CallbackOutside", SOMETHING_LEFT),
];
/// Not the misdeed, but memory or a device that goes with it.
const SOMETHING_LEFT: &str = "something left";

fn without(builder: lab::Builder, rule: &'static str) -> lab::Builder {
    builder.config(|config| config.unchecked = Some(rule))
}

/// Each misdeed is caught by its own check and by nothing else under that name: without the check it is missed, or another
/// rule stops what it leads to.
#[test]
fn each_misdeed_is_missed_without_its_check() {
    let mut wrong = Vec::new();
    for (class, misdeed, caught) in MISDEEDS {
        let unchecked = match caught {
            Rule(rule, _) => rule,
            Left(_) => LEFT_BEHIND,
        };
        let outcome = run(without(Lab::builder(), unchecked), misdeed);
        let said = match &outcome {
            Ok(report) if report.is_clean() => "nothing",
            Ok(_) => SOMETHING_LEFT,
            Err(violation) => violation.rule,
        };
        let expected = INSTEAD.iter().find(|(name, _)| name == misdeed).map_or("nothing", |(_, rule)| rule);
        if said != expected || said == unchecked {
            let detail = outcome.map_or_else(|violation| violation.to_string(), |report| report.to_string());
            wrong.push(format!(
                "{class}, {misdeed} without {unchecked}: {expected} was expected, but {said}:\n{detail}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A misdeed in the driver's own frames is reported with them.
#[test]
fn a_report_names_the_driver_and_the_place() {
    let violation = run(Lab::builder(), "DoubleFree").err().unwrap();
    assert_eq!(violation.place.import, Some("ExFreePoolWithTag"));
    assert!(violation.place.frames[0].starts_with("bad.sys+0x"), "{violation}");
}

#[test]
fn an_unknown_misdeed_is_refused() {
    let lab = lab_with(Lab::builder(), "Kindness");
    let refused = lab.load(&common::driver("bad"), &Service::new("bad", "385100"));
    assert!(matches!(refused, Err(StartError::Entry(_))));
}

/// An allocation that is not checked works, until the lab lets it fail.
#[test]
fn an_unchecked_allocation_is_caught_by_letting_it_fail() {
    let lab = lab_with(Lab::builder(), "UncheckedAllocation");
    assert!(load(&lab).unwrap());
    let program = lab.process("program.exe");
    save(&program).unwrap();
    program.exit(0);
    let sites = lab.executive().calls.sites();
    let site = sites.iter().rev().filter(|site| site.import == "ExAllocatePool2");
    assert!(lab.unload().is_clean());
    let caught = site.filter(|site| {
        let fault = PlannedFault { site: site.id, call: 1, kind: FaultKind::Null };
        let outcome = run(Lab::builder().fault(fault), "UncheckedAllocation");
        outcome.err().is_some_and(|violation| violation.rule == "null-pointer")
    });
    assert_eq!(caught.count(), 1);
}

/// What a callback may not do at its highest level works, until the lab enters it there.
#[test]
fn a_call_that_its_callback_may_not_make_is_caught_at_the_highest_level() {
    let usual = run(Lab::builder(), "PassiveAtClose").unwrap_or_else(|violation| panic!("{violation}"));
    assert!(usual.is_clean(), "{usual}");
    let violation = run(Lab::builder().highest_irql(), "PassiveAtClose").err().unwrap();
    assert_eq!((violation.rule, violation.place.import), ("irql-ceiling", Some("RtlUpcaseUnicodeChar")));
    let missed = run(without(Lab::builder().highest_irql(), "irql-ceiling"), "PassiveAtClose");
    assert!(missed.is_ok_and(|report| report.is_clean()), "by that check alone");
}

/// Two programs at once. A race that the plain order of events never shows is found by holding threads back.
#[test]
fn a_race_is_found_by_holding_threads_back() {
    let leaks = |seed: u64, preempt: u32, delay: u32, unchecked: Option<&'static str>| {
        let builder = Lab::builder().seed(seed).config(|config| {
            config.preempt_per_mille = preempt;
            config.delay_per_mille = delay;
            config.unchecked = unchecked;
        });
        let lab = lab_with(builder, "UnlockedCheck");
        assert!(load(&lab).unwrap());
        let programs = [lab.process("one.exe"), lab.process("two.exe")];
        let calls = programs.each_ref().map(|program| {
            program.submit(|caller| caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_READ)).is_ok())
        });
        calls.into_iter().for_each(|call| assert!(call.wait().unwrap()));
        programs.iter().for_each(|program| program.exit(0));
        !lab.unload().is_clean()
    };
    let found = |delay, unchecked| (0..40).filter(|seed| leaks(*seed, 0, delay, unchecked)).count();
    assert_eq!(found(0, None), 0, "the plain order never shows it");
    assert_eq!(found(200, Some(LEFT_BEHIND)), 0, "nor does it show without the list of what is left");
    let delayed = found(200, None);
    assert!(delayed > 0, "no seed of 40 found it");
    println!("found by {delayed} of 40 seeds");
}

/// The table of misdeeds and the table of classes are complete.
#[test]
fn every_class_has_a_misdeed_that_it_catches() {
    for class in CLASSES {
        let caught = MISDEEDS.iter().map(|(name, ..)| *name).chain(WITH_HELP.iter().map(|(name, _)| *name));
        assert!(caught.into_iter().any(|name| name == class.name), "nothing proves {}", class.name);
    }
    for (class, misdeed, caught) in MISDEEDS {
        let class = CLASSES.iter().find(|known| known.name == *class).expect(misdeed);
        if let Rule(rule, _) = caught
            && class.name != "Security checks"
        {
            assert!(class.rules.contains(rule), "{rule} is no rule of {}", class.name);
        }
    }
    let source = include_str!("../drivers/bad/src/misdeeds.rs");
    let told: BTreeSet<_> = MISDEEDS.iter().map(|(_, misdeed, _)| *misdeed).collect();
    let told: BTreeSet<_> = told.into_iter().chain(WITH_HELP.iter().map(|(_, misdeed)| *misdeed)).collect();
    let list = source.split("misdeeds! {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap();
    let known: BTreeSet<_> = list.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(told, known, "the driver's misdeeds and those that are tested");
}

/// Every rule that the lab's code names is in a class, and the other way round.
#[test]
fn the_classes_name_every_rule_of_the_code() {
    let listed: BTreeSet<String> =
        CLASSES.iter().flat_map(|class| class.rules).chain(OTHERS).map(|rule| (*rule).to_owned()).collect();
    let named = common::rules_in_the_code();
    let missing: Vec<_> = named.difference(&listed).collect();
    let invented: Vec<_> = listed.difference(&named).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "not listed: {missing:?}; not in the code: {invented:?}"
    );
}
