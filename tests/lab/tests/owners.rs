//! The owner types of the crate `kernel`, tried by a driver of their own: `tests/lab/drivers/owners` makes the check that it
//! is told to make, the verifier looks on, and nothing may be left at unload. Each is made again with every call failing
//! once, in every documented way: the failure is told, and nothing is left either.

mod common;

use std::rc::Rc;

use lab::loading::{SERVICES, Service, StartError};
use lab::{Builder, Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Name, Offset, Report, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault, Site};
use lab_executive::registry::Value;
use lab_volume::{Ace, EVERYONE, LOCAL_SYSTEM, access, descriptor};

/// REG_BINARY.
const BINARY: u32 = 3;

fn binary(name: &str, data: Vec<u8>) -> Value {
    Value { name: name.into(), kind: BINARY, data }
}

fn counting(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}

/// A lab with what the checks want to find.
fn scene(builder: Builder, check: &str) -> Rc<Lab> {
    let lab = builder.build().unwrap();
    lab.with_volume(|volume| {
        for name in ["a", "first", "link", "c", "d", "guarded", r"folder\there", r"folder\also"] {
            volume.put_file(name, b"0123456789").unwrap();
        }
        volume.put_file("empty", b"").unwrap();
    });
    lab.executive().change_registry(|registry| {
        let parameters = format!(r"{SERVICES}\owners\Parameters");
        let key = registry.create(&parameters);
        registry.set(&key, Value::string("Check", check));
        let tree = registry.create(&format!(r"{parameters}\Tree"));
        registry.set(&tree, Value::dword("A", 7));
        registry.set(&tree, binary("B", Vec::new()));
        registry.set(&tree, binary("C", counting(1_500)));
        registry.set(&tree, binary("D", counting(100_000)));
        registry.create(&format!(r"{parameters}\Tree\One"));
        registry.create(&format!(r"{parameters}\Tree\Two"));
        if check == "LargeValues" {
            // A reader takes 32 MiB, the head and the name included.
            let just = (32 << 20) - (20 + "A".len() * 2).next_multiple_of(4);
            let large = registry.create(&format!(r"{parameters}\Large"));
            registry.set(&large, binary("A", vec![9; just]));
            registry.set(&large, binary("B", vec![9; just + 1]));
        }
    });
    lab
}

/// What came of a check: what the create was told, and what the report says.
struct Outcome {
    told: Result<(), Status>,
    sites: Vec<Site>,
    report: Report,
}

/// Lets nobody do more to `C:\guarded`.
fn guard(lab: &Rc<Lab>, mask: u32) {
    let owner = lab.process("owner.exe");
    owner.call(move |caller| {
        let handle =
            caller.create_file(&CreateOptions::open(r"C:\guarded", access::WRITE_DAC)).unwrap().handle;
        let reads = Ace { allow: true, sid: EVERYONE, mask };
        caller.set_security(handle, 4, &descriptor(LOCAL_SYSTEM, &[reads])).unwrap();
        caller.close(handle).unwrap();
    });
    owner.exit(0);
}

/// Makes `C:\link` a symbolic link to `C:\a`.
fn link(lab: &Rc<Lab>) {
    const SET_REPARSE_POINT: u32 = 0x9_00A4;
    const SYMLINK: u32 = 0xA000_000C;
    let owner = lab.process("owner.exe");
    owner.call(|caller| {
        let name: Vec<u8> = "a".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut buffer = SYMLINK.to_le_bytes().to_vec();
        // Length, then places and lengths of both names, which are one; relative.
        for number in [12 + name.len() as u16, 0, 0, 2, 2, 0, 1, 0] {
            buffer.extend(number.to_le_bytes());
        }
        buffer.extend(name);
        let options = CreateOptions::open(r"C:\link", GENERIC_WRITE);
        let file = caller.create_file(&options).unwrap().handle;
        caller.fs_control(file, SET_REPARSE_POINT, &buffer, 0).unwrap();
        caller.close(file).unwrap();
    });
    owner.exit(0);
}

/// Loads the driver and lets a program make the first create.
fn make(builder: Builder, check: &str) -> Outcome {
    let lab = scene(builder, check);
    guard(&lab, access::READ_DATA | access::SYNCHRONIZE);
    link(&lab);
    let loaded = match lab.load(&common::driver("owners"), &Service::new("owners", "385100")) {
        Ok(_) => Ok(()),
        Err(StartError::Entry(status)) => Err(Status(status.cast_unsigned())),
        Err(other) => panic!("{other}"),
    };
    let program = lab.process("program.exe");
    let told = loaded.and_then(|()| {
        let mut options = CreateOptions::open(r"C:\a", GENERIC_READ);
        if check == "SetCreate" {
            options = CreateOptions::create(r"C:\a", GENERIC_READ);
        }
        if check == "HasEa" {
            options = CreateOptions::open_if(r"C:\new", GENERIC_READ);
            options.ea = vec![0, 0, 0, 0, 0, 1, 1, 0, b'A', 0, b'x'];
        }
        let handle = program.create_file(options)?;
        program.close(handle)
    });
    program.exit(0);
    let sites = lab.executive().calls.sites();
    Outcome { told, sites, report: lab.unload() }
}

/// The check holds, and nothing is left; with lookaside lists that keep nothing, and some that do.
fn holds(check: &str) {
    for (seed, depth) in [(1, 0), (2, 4), (3, 0)] {
        let builder = Lab::builder().seed(seed).config(|config| config.lookaside_depth = depth);
        let Outcome { told, report, .. } = make(builder, check);
        assert!(report.is_clean(), "{check}, seed {seed}: {report}");
        match told {
            Ok(()) => {}
            Err(Status(status)) if status >> 28 == 0xE => {
                panic!("{check} fails in line {} of the driver, seed {seed}", status & 0xFFFF)
            }
            Err(status) => panic!("{check}: {status}, seed {seed}"),
        }
    }
}

/// Failures that a check may get over: a buffer is made larger, or it is what a call is to fail with.
const MAY_PASS: &[(&str, u32)] = &[
    ("ZwEnumerateKey", 0xC000_0023),
    ("ZwEnumerateValueKey", 0xC000_0023),
    ("ZwEnumerateKey", 0x8000_001A),
    ("ZwEnumerateValueKey", 0x8000_001A),
    ("ZwOpenKey", 0xC000_0034),
    ("ZwOpenSymbolicLinkObject", 0xC000_0034),
    ("FltSetStreamHandleContext", 0xC01C_0002),
    ("FltGetVolumeName", 0xC000_0023),
    ("ZwQuerySymbolicLinkObject", 0xC000_0023),
    ("FltCreateFileEx2", 0xC000_0022),
    ("FltCreateFileEx2", 0xC000_0043),
];

/// Whatever fails inside it is told, and nothing is left.
fn cleans_up(check: &str) {
    let sites = make(Lab::builder(), check).sites;
    let mut tried = 0;
    for site in &sites {
        let kinds: Vec<FaultKind> = match site.failure {
            Failure::Null => vec![FaultKind::Null],
            Failure::Status => {
                site.failures.iter().map(|status| FaultKind::Status(status.cast_signed())).collect()
            }
            _ => Vec::new(),
        };
        for kind in kinds {
            let fault = PlannedFault { site: site.id, call: 1, kind };
            let Outcome { told, report, .. } = make(Lab::builder().fault(fault), check);
            assert!(report.is_clean(), "{check}, {} {kind:?}: {report}", site.import);
            let may_pass = MAY_PASS.iter().any(|(import, status)| {
                *import == site.import && kind == FaultKind::Status(status.cast_signed())
            });
            assert!(told.is_err() || may_pass, "{check}, {} {kind:?} is not told", site.import);
            tried += 1;
        }
    }
    assert!(tried > 0, "{check} makes no call that can fail");
}

macro_rules! checks {
    ($($name:ident $check:literal;)+) => {
        mod holding {
            $(#[test] fn $name() { super::holds($check); })+
        }
        mod failing {
            $(#[test] fn $name() { super::cleans_up($check); })+
        }
    };
}

checks! {
    a_box_owns_its_value "Boxes";
    a_list_grows_and_keeps_its_values "Vectors";
    a_slice_is_zero_or_a_copy "Slices";
    the_last_reference_drops_the_value "Shared";
    a_parcel_has_its_tag_with_it "Parcels";
    a_block_of_a_lookaside_list_is_used_again "Lookaside";
    an_event_lets_all_through_or_one "Events";
    a_wait_for_several_says_which_one "AnyOf";
    a_thread_is_waited_for "Threads";
    work_is_done_later_or_comes_back "Work";
    locks_keep_threads_apart "Locks";
    a_gate_lets_in_or_is_held "Gate";
    who_waits_at_a_gate_is_let_through "GateOfTwo";
    a_closed_gate_lets_nobody_in "GateClosed";
    keys_and_values_are_read "Keys";
    links_are_followed "Links";
    a_process_is_known_by_its_key "Processes";
    units_are_in_upper_case "Upcase";
    a_transaction_ends_once "Transactions";
    an_instance_knows_its_volume "Instance";
    a_file_is_opened_below "Opens";
    share_modes_and_rights_count_as_said "Shares";
    attributes_are_set_and_none_is_said "Attributes";
    a_file_is_renamed_linked_and_deleted "Names";
    a_section_maps_its_file "Sections";
    ranges_are_locked_alone_or_with_others "ByteRangeLocks";
    a_context_is_found_where_it_was_set "Contexts";
    a_create_may_go_down_as_it_came "TakenBack";
    a_create_may_be_changed "SetCreate";
    extended_attributes_come_with_a_create "HasEa";
    a_device_comes_and_goes "Device";
}

/// What a program does to `C:\a`, with the driver at work in this way.
fn operations(caller: &Caller<'_>) -> Result<(), Status> {
    const ZERO: u32 = 0x0009_80C8;
    const SET_SPARSE: u32 = 0x0009_00C4;
    let all = GENERIC_READ | GENERIC_WRITE | access::DELETE;
    let file = caller.create_file(&CreateOptions::open(r"C:\a", all))?.handle;
    assert_eq!(caller.write(file, Offset::At(3), b"a")?, 1);
    caller.set_end_of_file(file, 7)?;
    assert_eq!(caller.size(file)?, 7);
    // Alone and not waited for, or with others.
    caller.lock(file, 1, 1, true, false)?;
    caller.unlock(file, 1, 1)?;
    caller.lock(file, 1, 2, false, true)?;
    caller.unlock(file, 1, 2)?;
    let range = [2_i64, 5].map(i64::to_le_bytes).concat();
    caller.fs_control(file, ZERO, &range, 0)?;
    assert!(caller.fs_control(file, ZERO, &range[..15], 0).is_err());
    caller.fs_control(file, SET_SPARSE, &range, 0)?;
    for writable in [false, true] {
        caller.close_section(caller.create_section(file, writable)?);
    }
    caller.rename(file, r"C:\folder\moved", false)?;
    caller.close(file)?;
    let folder = caller.create_file(&CreateOptions::open(r"C:\folder", GENERIC_READ))?.handle;
    let stream = CreateOptions::new(Name::Relative(folder, "there:stream".into()), GENERIC_READ, 3);
    caller.close(caller.create_file(&stream)?.handle)?;
    caller.close(folder)?;
    let transaction = caller.create_transaction()?;
    let inside = caller.create_file(&CreateOptions::open(r"C:\c", all).inside(transaction))?.handle;
    caller.close(inside)?;
    caller.rollback_transaction(transaction)?;
    caller.close(transaction)?;
    caller.close(caller.create_file(&CreateOptions::create(r"C:\new", all))?.handle)
}

/// A program does all of it; nothing is left.
fn operate(builder: Builder, way: &str) {
    let lab = scene(builder, way);
    lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    let program = lab.process("program.exe");
    program.call(operations).unwrap();
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{way}: {report}");
}

#[test]
fn each_operation_shows_its_own_parameters() {
    for seed in 1..4 {
        operate(Lab::builder().seed(seed), "Parameters");
    }
    operate(Lab::builder().highest_irql(), "Parameters");
}

#[test]
fn only_fast_requests_are_sent_back_for_a_slow_one() {
    operate(Lab::builder(), "Refuses");
}

/// Locks are no operations to wait for.
#[test]
fn what_is_carried_comes_back_in_the_same_thread() {
    let lab = scene(Lab::builder().highest_irql(), "Synchronizes");
    lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    let program = lab.process("program.exe");
    program.call(|caller| {
        let file =
            caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE)).unwrap().handle;
        caller.write(file, Offset::At(3), b"a").unwrap();
        caller.set_end_of_file(file, 7).unwrap();
        assert_eq!(caller.size(file).unwrap(), 7);
        caller.close(file).unwrap();
    });
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

/// minifilter-rules §2.5.
#[test]
fn what_is_under_way_when_the_driver_goes_is_drained() {
    let lab = scene(Lab::builder(), "Drains");
    let driver = lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    let (program, other) = (lab.process("program.exe"), lab.process("other.exe"));
    let open = || CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE);
    let (first, second) = (program.create_file(open()).unwrap(), other.create_file(open()).unwrap());
    program.call(move |caller| caller.lock(first, 0, 4, true, false)).unwrap();
    let waiting = other.submit(move |caller| caller.lock(second, 0, 4, true, true));
    lab.executive().run_until_idle().unwrap();
    assert!(!waiting.is_done());
    let report = lab.unload_driver(&driver).unwrap();
    assert!(report.is_clean(), "{report}");
    program.call(move |caller| caller.unlock(first, 0, 4)).unwrap();
    waiting.wait().unwrap().unwrap();
    other.exit(0);
    program.exit(0);
}

#[test]
fn a_request_may_be_answered_by_the_driver_alone() {
    let lab = scene(Lab::builder(), "Completes");
    lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    let program = lab.process("program.exe");
    let answer = program.call(|caller| {
        let file = caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_READ)).unwrap().handle;
        let answer = caller.query_information(file, 6, 8);
        caller.close(file).unwrap();
        answer
    });
    assert_eq!(answer, Ok(vec![0; 3]));
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_device_answers_who_has_it_open_and_retires_when_nobody_has() {
    const BACKWARDS: u32 = 0x0022_2000;
    const RETIRE: u32 = 0x0022_2004;
    const NEITHER: u32 = BACKWARDS | 3;
    let lab = scene(Lab::builder(), "Device");
    lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    let program = lab.process("program.exe");
    let open = || program.create_file(CreateOptions::open(r"\\.\Owners", GENERIC_READ));
    let device = open().unwrap();
    assert_eq!(program.device_control(device, BACKWARDS, b"abc", 3).unwrap(), b"cba");
    assert_eq!(program.device_control(device, BACKWARDS, b"abc", 6).unwrap(), b"cba\0\0\0");
    assert_eq!(program.device_control(device, BACKWARDS, b"abc", 2).unwrap(), b"cb");
    assert_eq!(program.device_control(device, NEITHER, b"abc", 3), Err(Status::INVALID_DEVICE_REQUEST));
    let second = open().unwrap();
    assert_eq!(program.device_control(second, RETIRE, b"", 1).unwrap(), [0], "it is open");
    program.close(device).unwrap();
    assert_eq!(program.device_control(second, RETIRE, b"", 1).unwrap(), [0], "once more");
    program.close(second).unwrap();
    program.contents(r"C:\a").unwrap();
    assert_eq!(open(), Err(Status::DELETE_PENDING));
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

/// minifilter-rules §3.3.
#[test]
fn a_driver_that_does_not_want_to_go_goes_if_it_must() {
    let lab = scene(Lab::builder(), "Stays");
    let driver = lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
    assert_eq!(lab.unload_driver(&driver).err(), Some(Status(0xC01C_0010)), "STATUS_FLT_DO_NOT_DETACH");
    let report = lab.stop_service(&driver).unwrap();
    assert!(report.is_clean(), "{report}");
}

/// minifilter-rules §1.8: whichever of the two NTFS goes by.
#[test]
fn a_create_with_fewer_rights_gives_a_handle_with_what_was_granted() {
    for from_context in [false, true] {
        let lab = scene(Lab::builder().access_from_security_context(from_context), "Reduced");
        guard(&lab, access::FILE_READ);
        lab.load(&common::driver("owners"), &Service::new("owners", "385100")).unwrap();
        let program = lab.process("program.exe");
        let file = program.create_file(CreateOptions::open(r"C:\guarded", GENERIC_WRITE)).unwrap();
        assert_eq!(program.read(file, 0, 1), Err(Status::ACCESS_DENIED));
        assert_eq!(program.write(file, 0, b"x"), Ok(1), "NTFS does not check again");
        program.close(file).unwrap();
        let again = program.create_file(CreateOptions::open(r"C:\guarded", GENERIC_WRITE));
        assert_eq!(again, Err(Status::ACCESS_DENIED), "without the driver's help");
        program.exit(0);
        let report = lab.unload();
        assert!(report.is_clean(), "{report}");
    }
}

/// Thirty-two megabytes, and a byte more.
#[test]
fn a_value_that_is_too_large_is_refused() {
    holds("LargeValues");
}

#[test]
fn a_check_that_is_not_known_is_an_error() {
    let told = make(Lab::builder(), "Nothing").told;
    assert_eq!(told, Err(Status::INVALID_PARAMETER));
}
