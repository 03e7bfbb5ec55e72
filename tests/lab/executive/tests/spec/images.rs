//! Loading, binding, unwinding and unloading driver images.

use lab_executive::image::LoadError;
use lab_executive::import::{FaultKind, PlannedFault};
use lab_executive::{Import, Lab, Violation, imports};
use std::rc::Rc;

use crate::lab;
use crate::pe::{self, Driver};

/// `sub rsp, 28h`, and its unwind data.
const ENTER: &[u8] = &[0x48, 0x83, 0xEC, 0x28];
const ENTER_UNWIND: &[u8] = &[1, 4, 1, 0, 4, 0x42, 0, 0];
/// `add rsp, 28h; ret`
const LEAVE: &[u8] = &[0x48, 0x83, 0xC4, 0x28, 0xC3];
/// `mov ecx, 40h; mov edx, 16; mov r8d, 'Test'`: arguments of ExAllocatePool2.
const ALLOCATE: &[u8] = &[0xB9, 0x40, 0, 0, 0, 0xBA, 16, 0, 0, 0, 0x41, 0xB8, b'T', b'e', b's', b't'];
/// `xor eax, eax`
const ZERO: &[u8] = &[0x31, 0xC0];

fn load(lab: &Lab, file: &[u8]) -> Result<usize, LoadError> {
    let tables: Vec<&[&'static Import]> = imports::tables();
    lab.load_image("sample.sys", file, &tables)
}

/// Loads and enters a driver; returns its DriverEntry's status.
fn enter(lab: &Lab, driver: &Driver) -> Result<i32, Rc<Violation>> {
    let index = match load(lab, &driver.build()) {
        Ok(index) => index,
        Err(error) => panic!("{error}"),
    };
    lab.run(move |lab| lab.call_entry(index, std::ptr::null_mut(), std::ptr::null_mut()))
}

fn violation(driver: &Driver) -> Rc<Violation> {
    enter(&lab(), driver).expect_err("a violation")
}

/// DriverEntry calls a function twice; the function allocates 16 bytes.
fn allocating_twice() -> Driver {
    let mut driver = Driver::importing(&["ExAllocatePool2"]);
    driver.code(ENTER).relative(&[0xE8], pe::TEXT + 0x40).relative(&[0xE8], pe::TEXT + 0x40).code(LEAVE);
    driver.end(0, ENTER_UNWIND);
    let padding = 0x40 - driver.text.len();
    driver.code(&vec![0xCC; padding]);
    driver.code(ENTER).code(ALLOCATE).call_import("ExAllocatePool2").code(LEAVE);
    driver.end(0x40, ENTER_UNWIND);
    driver
}

#[test]
fn a_driver_is_mapped_relocated_bound_and_entered() {
    // Returns *(*(int**)pointer), where pointer (relocated) points at a number; after calling an import.
    let mut driver = Driver::importing(&["KeGetCurrentIrql"]);
    driver.data = (pe::BASE + u64::from(pe::DATA) + 8).to_le_bytes().to_vec();
    driver.data.extend(1234u32.to_le_bytes());
    driver.relocations.push(pe::DATA);
    driver.code(ENTER).call_import("KeGetCurrentIrql");
    driver.relative(&[0x48, 0x8B, 0x05], pe::DATA).code(&[0x8B, 0x00]).code(LEAVE);
    let lab = lab();
    assert_eq!(enter(&lab, &driver).ok(), Some(1234));
    let image = lab.images.get(0);
    assert_eq!(image.imports.len(), 1);
    assert!(image.notes[0].contains("checksum"));
    assert_eq!(lab.images.describe(image.base() + 0x1001), Some("sample.sys+0x1001".into()));
}

#[test]
fn variables_are_imported_by_address() {
    // mov rax, [slot]; mov rax, [rax] (the type); mov eax, [rax] (its first word, 0)
    let mut driver = Driver::importing(&["PsProcessType"]);
    driver.relative(&[0x48, 0x8B, 0x05], pe::RDATA).code(&[0x48, 0x8B, 0x00, 0x8B, 0x00, 0xC3]);
    assert_eq!(enter(&lab(), &driver).ok(), Some(0));
}

#[test]
fn every_missing_import_is_named() {
    let mut driver = Driver::importing(&["KeGetCurrentIrql", "NoSuchRoutine"]);
    driver.imports.push(("FLTMGR.SYS", vec!["FltNone"]));
    driver.imports.push(("hal.dll", vec!["KeGetCurrentIrql"]));
    let error = load(&lab(), &driver.build()).expect_err("two are missing");
    assert_eq!(
        error,
        LoadError::MissingImports(vec!["ntoskrnl.exe!NoSuchRoutine".into(), "FLTMGR.SYS!FltNone".into()])
    );
    assert!(error.to_string().contains("\n  ntoskrnl.exe!NoSuchRoutine\n"), "{error}");
}

#[test]
fn what_is_no_driver_is_refused_with_the_reason() {
    let good = allocating_twice().build();
    let cases: [(usize, &[u8], &str); 7] = [
        (0, b"ZM", "malformed image: not a 64-bit PE image"),
        (pe::MACHINE, &[0x64, 0xAA], "made for machine 0xaa64"),
        (pe::SUBSYSTEM, &[3], "subsystem 3"),
        (pe::CHARACTERISTICS, &[0x20], "not marked executable"),
        (pe::CHARACTERISTICS, &[0x23], "has no relocations"),
        (pe::TLS_DIRECTORY, &[0, 0x20, 0, 0, 1], "thread-local storage"),
        (pe::TEXT_CHARACTERISTICS + 3, &[0xE0], "section .text is writable and executable"),
    ];
    for (at, bytes, reason) in cases {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let error = load(&lab(), &file).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_wrong_checksum_is_refused_and_a_right_one_accepted() {
    let mut file = allocating_twice().build();
    file[pe::CHECKSUM] = 1;
    let Err(LoadError::Checksum { said: 1, is }) = load(&lab(), &file) else { panic!("refused") };
    // The documented sum, in another way: all words but the field's, folded once at the end, plus the length.
    file[pe::CHECKSUM] = 0;
    let words: u64 = file.chunks(2).map(|w| u64::from(w[0]) | u64::from(w[1]) << 8).sum();
    assert_eq!(u64::from(is), (words - 1) % 0xFFFF + 1 + file.len() as u64);
    file[pe::CHECKSUM..pe::CHECKSUM + 4].copy_from_slice(&is.to_le_bytes());
    assert!(load(&lab(), &file).is_ok());
}

#[test]
fn damaged_images_never_crash_the_loader() {
    let good = allocating_twice().build();
    let mut refused = 0;
    for length in (0..good.len()).step_by(7) {
        refused += u32::from(load(&lab(), &good[..length]).is_err());
    }
    assert!(refused > 100);
    let lab = lab();
    for at in 0..0x400 {
        for value in [0x00, 0x01, 0x7F, 0x80, 0xFF] {
            let mut file = good.clone();
            file[at] = value;
            drop(load(&lab, &file));
        }
    }
    for at in 0x400..good.len() {
        let mut file = good.clone();
        file[at] ^= 0xFF;
        drop(load(&lab, &file));
    }
}

#[test]
fn what_a_driver_leaves_behind_is_named_with_where_it_came_from() {
    let lab = lab();
    assert!(enter(&lab, &allocating_twice()).is_ok());
    let left = lab.unload_image(0);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left[0].contains("tag 'Test' of 16 bytes, allocated at sample.sys+0x105a < sample.sys+0x1009"),
        "{left:?}"
    );
    assert!(left[1].contains("sample.sys+0x105a < sample.sys+0x100e"), "{left:?}");
}

#[test]
fn call_sites_are_told_apart_by_their_callers_and_fail_as_planned() {
    let first = lab();
    assert!(enter(&first, &allocating_twice()).is_ok());
    let sites = first.calls.sites();
    assert_eq!((sites.len(), sites[0].calls), (2, 1));
    let second_call =
        sites.iter().find(|s| s.frames.iter().any(|f| f.ends_with("100e"))).expect("the second call");
    let again = lab();
    again.calls.plan(PlannedFault { site: second_call.id, call: 1, kind: FaultKind::Null });
    assert_eq!(enter(&again, &allocating_twice()).ok(), Some(0), "the last allocation returned null");
    assert_eq!(again.unload_image(0).len(), 1);
}

#[test]
fn frames_with_a_frame_pointer_and_a_moving_stack_are_walked() {
    let mut driver = Driver::importing(&["ExAllocatePool2"]);
    driver.code(ENTER).relative(&[0xE8], pe::TEXT + 0x40).code(LEAVE).end(0, ENTER_UNWIND);
    let padding = 0x40 - driver.text.len();
    driver.code(&vec![0xCC; padding]);
    // push rbp; sub rsp, 40h; lea rbp, [rsp+20h]; sub rsp, 100h; (call); lea rsp, [rbp+20h]; pop rbp; ret
    driver.code(&[0x55, 0x48, 0x83, 0xEC, 0x40, 0x48, 0x8D, 0x6C, 0x24, 0x20]);
    driver.code(&[0x48, 0x81, 0xEC, 0, 1, 0, 0]).code(ALLOCATE).call_import("ExAllocatePool2");
    driver.code(&[0x48, 0x8D, 0x65, 0x20, 0x5D, 0xC3]);
    driver.end(0x40, &[1, 10, 3, 0x25, 10, 0x03, 5, 0x72, 1, 0x50, 0, 0]);
    let lab = lab();
    assert!(enter(&lab, &driver).is_ok());
    assert_eq!(lab.calls.sites()[0].frames, ["sample.sys+0x1067", "sample.sys+0x1009"]);
}

#[test]
fn a_fault_in_a_driver_is_named_with_its_frames() {
    let mut driver = Driver::importing(&["KeGetCurrentIrql"]);
    driver.code(ENTER).relative(&[0xE8], pe::TEXT + 0x40).code(LEAVE).end(0, ENTER_UNWIND);
    let padding = 0x40 - driver.text.len();
    driver.code(&vec![0xCC; padding]);
    // mov byte ptr [own code], 1
    driver
        .code(ENTER)
        .code(&[0xC6, 0x05])
        .code(&(-0x4Bi32).to_le_bytes())
        .code(&[1])
        .code(LEAVE)
        .end(0x40, ENTER_UNWIND);
    let violation = violation(&driver);
    assert_eq!(violation.rule, "image-write", "{violation}");
    assert!(violation.what.contains("section .text"), "{violation}");
    assert!(violation.what.contains("the instruction at sample.sys+0x1044 begins c6 05"), "{violation}");
    assert_eq!(violation.place.frames, ["sample.sys+0x1044", "sample.sys+0x1009"]);
}

#[test]
fn a_violation_in_an_import_names_the_drivers_frames() {
    let mut driver = Driver::importing(&["KeLeaveCriticalRegion"]);
    driver.code(ENTER).call_import("KeLeaveCriticalRegion").code(LEAVE).end(0, ENTER_UNWIND);
    let violation = violation(&driver);
    assert_eq!((violation.rule, violation.place.import), ("critical-region", Some("KeLeaveCriticalRegion")));
    assert_eq!(violation.place.frames, ["sample.sys+0x100a"]);
}

/// A driver whose DriverEntry takes `bytes` of stack and calls an import.
fn deep(bytes: u32) -> Driver {
    let mut driver = Driver::importing(&["KeGetCurrentIrql"]);
    driver.code(&[0x48, 0x81, 0xEC]).code(&bytes.to_le_bytes()).call_import("KeGetCurrentIrql");
    driver.code(ZERO).code(&[0x48, 0x81, 0xC4]).code(&bytes.to_le_bytes()).code(&[0xC3]);
    driver
}

#[test]
fn stack_depth_is_measured_and_bounded() {
    let shallow = lab();
    assert_eq!(enter(&shallow, &deep(0x2008)).ok(), Some(0));
    assert!(
        (0x2008..0x2200).contains(&shallow.images.deepest_stack()),
        "{:#x}",
        shallow.images.deepest_stack()
    );
    assert_eq!(violation(&deep(0x6008)).rule, "stack-budget");
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let mut driver = Driver::importing(&["KeGetCurrentIrql"]);
    driver.code(ENTER).relative(&[0xE8], pe::TEXT).code(LEAVE);
    assert_eq!(violation(&driver).rule, "stack-overflow");
}

#[test]
fn discarded_and_unloaded_code_cannot_be_called() {
    let mut driver = Driver::importing(&["KeGetCurrentIrql"]);
    driver.extra = Some(("INIT", 0x6200_0020, vec![0x31, 0xC0, 0xC3]));
    driver.code(ENTER).relative(&[0xE8], pe::EXTRA).code(LEAVE);
    let call_again = |address: fn(&Lab) -> usize| {
        let lab = lab();
        assert_eq!(enter(&lab, &driver).ok(), Some(0));
        let again = lab.run(move |lab| {
            // SAFETY: the fault is the point, and the lab catches it.
            let code: extern "win64" fn() =
                unsafe { std::mem::transmute(std::ptr::with_exposed_provenance::<()>(address(lab))) };
            lab.call_driver("the test", || code());
        });
        again.expect_err("a fault").rule
    };
    assert_eq!(call_again(|lab| lab.images.get(0).base() + pe::EXTRA as usize), "use-after-init");
    assert_eq!(
        call_again(|lab| {
            assert_eq!(lab.unload_image(0), Vec::<String>::new());
            lab.images.get(0).entry()
        }),
        "use-after-unload"
    );
}

#[test]
fn pageable_code_is_gone_at_dispatch_level() {
    // DriverEntry raises the level and calls into section PAGE.
    let mut driver = Driver::importing(&["KeRaiseIrqlToDpcLevel"]);
    driver.extra = Some(("PAGECODE", 0x6000_0020, vec![0xC3]));
    driver.code(ENTER).call_import("KeRaiseIrqlToDpcLevel").relative(&[0xE8], pe::EXTRA).code(LEAVE);
    let violation = violation(&driver);
    assert_eq!(violation.rule, "paged-at-dispatch", "{violation}");
    assert!(violation.what.contains("executed sample.sys+0x6000"), "{violation}");
}

#[test]
fn a_routine_found_by_name_knows_its_caller() {
    // Lookaside lists call the pool through a pointer: the block still belongs to the driver.
    let lab = lab();
    let mut driver = Driver::importing(&["ExInitializeNPagedLookasideList"]);
    // lea rcx, [data]; xor edx, edx; xor r8d, r8d; xor r9d, r9d; size 32 and tag on the stack
    driver.data = vec![0; 0x100];
    driver.code(&[0x48, 0x83, 0xEC, 0x48]).relative(&[0x48, 0x8D, 0x0D], pe::DATA);
    driver.code(&[0x31, 0xD2, 0x45, 0x31, 0xC0, 0x45, 0x31, 0xC9]);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x20, 32, 0, 0, 0]);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x28, b'L', b'o', b'o', b'k']);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x30, 0, 0, 0, 0]).call_import("ExInitializeNPagedLookasideList");
    // Allocate(Type, Size, Tag), as ExAllocateFromNPagedLookasideList does when the list is empty.
    driver.code(&[0xB9, 0, 2, 0, 0, 0xBA, 32, 0, 0, 0, 0x41, 0xB8, b'L', b'o', b'o', b'k']);
    driver.relative(&[0xFF, 0x15], pe::DATA + 0x30).code(ZERO).code(&[0x48, 0x83, 0xC4, 0x48, 0xC3]);
    driver.end(0, &[1, 4, 1, 0, 4, 0x82, 0, 0]);
    assert_eq!(enter(&lab, &driver).ok(), Some(0));
    let left = lab.unload_image(0);
    assert!(left.iter().any(|l| l.contains("tag 'Look' of 32 bytes")), "{left:?}");
    assert!(left.iter().any(|l| l.contains("a lookaside list")), "{left:?}");
}

/// txf-ktm §8.1.
#[test]
fn extended_process_notification_needs_an_integrity_check_image() {
    // lea rcx, [entry]; xor edx, edx; call PsSetCreateProcessNotifyRoutineEx
    let mut driver = Driver::importing(&["PsSetCreateProcessNotifyRoutineEx"]);
    driver.code(ENTER).relative(&[0x48, 0x8D, 0x0D], pe::TEXT).code(&[0x31, 0xD2]);
    driver.call_import("PsSetCreateProcessNotifyRoutineEx").code(LEAVE);
    let entered = |flags: u8| {
        let lab = lab();
        let mut file = driver.build();
        file[pe::DLL_CHARACTERISTICS] |= flags;
        let index = load(&lab, &file).expect("a good image");
        let status = lab.run(move |lab| lab.call_entry(index, std::ptr::null_mut(), std::ptr::null_mut()));
        (status.ok(), lab.unload_image(index))
    };
    assert_eq!(entered(0), (Some(lab_executive::status::ACCESS_DENIED), vec![]));
    let (status, left) = entered(0x80);
    assert_eq!(status, Some(0));
    assert!(left[0].contains("a process notify routine"), "{left:?}");
}

#[test]
fn a_driver_whose_thread_still_runs_leaves_it_behind() {
    // DriverEntry waits for its first argument.
    let mut driver = Driver::importing(&["KeWaitForSingleObject"]);
    driver.code(&[0x48, 0x83, 0xEC, 0x38]).code(&[0x31, 0xD2, 0x45, 0x31, 0xC0, 0x45, 0x31, 0xC9]);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x20, 0, 0, 0, 0]).call_import("KeWaitForSingleObject");
    driver.code(&[0x48, 0x83, 0xC4, 0x38, 0xC3]).end(0, &[1, 4, 1, 0, 4, 0x62, 0, 0]);
    let lab = lab();
    let index = load(&lab, &driver.build()).expect("a good image");
    let event = lab.allocate_own(24, b"Evnt");
    lab.init_dispatcher(event, lab_executive::wait::NOTIFICATION_EVENT, 0);
    let system = lab.processes.system();
    lab.spawn(&system, "entry", move |lab| {
        drop(lab.call_entry(index, event, std::ptr::null_mut()).to_string())
    });
    assert!(lab.run_until_idle().is_ok());
    assert!(lab.left_behind(index)[0].contains("\"entry\" is still running its code"));
    lab.signal_object(event, 1);
    assert!(lab.run_until_idle().is_ok());
    assert_eq!(lab.left_behind(index), Vec::<String>::new());
}

#[test]
fn a_handle_left_open_is_named() {
    // ZwCreateEvent(&data, all, null, Notification, FALSE): a handle in the system process's table.
    let mut driver = Driver::importing(&["ZwCreateEvent"]);
    driver.data = vec![0; 16];
    driver.code(&[0x48, 0x83, 0xEC, 0x38]).relative(&[0x48, 0x8D, 0x0D], pe::DATA);
    driver.code(&[0xBA, 3, 0, 0x1F, 0, 0x45, 0x31, 0xC0, 0x45, 0x31, 0xC9]);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x20, 0, 0, 0, 0]).call_import("ZwCreateEvent");
    driver.code(&[0x48, 0x83, 0xC4, 0x38, 0xC3]).end(0, &[1, 4, 1, 0, 4, 0x62, 0, 0]);
    let lab = lab();
    assert_eq!(enter(&lab, &driver).ok(), Some(0));
    let left = lab.unload_image(0);
    assert!(left.len() == 1 && left[0].ends_with("to a Event object"), "{left:?}");
}

#[test]
fn a_driver_must_not_give_programs_handles_nor_close_what_it_does_not_hold() {
    // ZwClose(first argument)
    let mut closer = Driver::importing(&["ZwClose"]);
    closer.code(ENTER).call_import("ZwClose").code(LEAVE).end(0, ENTER_UNWIND);
    let closing = lab();
    let index = load(&closing, &closer.build()).expect("a good image");
    let handle = std::ptr::without_provenance_mut(0x4444);
    let result = closing.run(move |lab| lab.call_entry(index, handle, std::ptr::null_mut()));
    assert_eq!(result.expect_err("no such handle").rule, "invalid-handle");

    // ZwCreateEvent(&data, all, null, Notification, FALSE) in a program's process: no OBJ_KERNEL_HANDLE.
    let mut driver = Driver::importing(&["ZwCreateEvent"]);
    driver.data = vec![0; 16];
    driver.code(&[0x48, 0x83, 0xEC, 0x38]).relative(&[0x48, 0x8D, 0x0D], pe::DATA);
    driver.code(&[0xBA, 3, 0, 0x1F, 0, 0x45, 0x31, 0xC0, 0x45, 0x31, 0xC9]);
    driver.code(&[0x48, 0xC7, 0x44, 0x24, 0x20, 0, 0, 0, 0]).call_import("ZwCreateEvent");
    driver.code(&[0x48, 0x83, 0xC4, 0x38, 0xC3]);
    let creating = lab();
    let index = load(&creating, &driver.build()).expect("a good image");
    let result = creating.run(move |lab| {
        let process = lab.create_process("\\x\\a.exe", vec![], None);
        lab.attached(&process, || lab.call_entry(index, std::ptr::null_mut(), std::ptr::null_mut()))
    });
    assert_eq!(result.expect_err("a program could use it").rule, "user-handle");
}

#[test]
fn a_lookaside_list_is_initialised_once_and_deleted_once() {
    use lab_executive::imports::pool::{ExDeleteNPagedLookasideList, ExInitializeNPagedLookasideList};
    let list = || Box::leak(Box::new([0u128; 16])).as_mut_ptr().cast();
    // SAFETY: memory of ours; breaking the contract is the point.
    crate::must_violate("lookaside", move |_| unsafe { ExDeleteNPagedLookasideList(list()) });
    // SAFETY: as above.
    crate::must_violate("lookaside", move |_| unsafe {
        let (list, none) = (list(), std::ptr::null_mut());
        for _ in 0..2 {
            ExInitializeNPagedLookasideList(list, none, none, 0, 32, crate::TAG, 0);
        }
    });
    // SAFETY: as above.
    crate::must_violate("bad-alignment", move |_| unsafe {
        let (list, none) = (std::ptr::without_provenance_mut(0x1_0008), std::ptr::null_mut());
        ExInitializeNPagedLookasideList(list, none, none, 0, 32, crate::TAG, 0);
    });
}
