//! Objects, references, handles, symbolic links.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;

use lab_executive::imports::objects::*;
use lab_executive::{Lab, Mode, status};

use crate::{attributes, lab, must_violate, named_attributes, run};

type Log = Rc<RefCell<Vec<String>>>;

/// A type whose owner writes down what it hears.
fn watched(lab: &Lab) -> (*mut u8, Log) {
    let log: Log = Rc::default();
    let kind = lab.objects.add_type(lab, "Watched", [1, 2, 4, 7]);
    let (closes, deletes) = (log.clone(), log.clone());
    kind.on_close(move |_, c| {
        closes.borrow_mut().push(format!("close {}/{}", c.process_handles, c.system_handles))
    });
    kind.on_delete(move |_, _| deletes.borrow_mut().push("delete".into()));
    (lab.objects.create(lab, &kind, 32, None), log)
}

#[test]
fn the_last_handle_is_told_apart_and_the_last_reference_deletes() {
    run(|lab| {
        let (body, log) = watched(lab);
        let (one, two) = (lab.processes.system(), lab.create_process("\\x\\a.exe", vec![], None));
        let first = lab.open_handle(Some(&one), body, 1, false);
        let second = lab.open_handle(Some(&one), body, 1, false);
        let third = lab.duplicate_handle(&one, first, &two).expect("there");
        lab.objects.dereference(lab, body);
        assert_eq!(lab.objects.references(body), 3);
        assert_eq!(lab.close_handle(first, Mode::Kernel), Ok(()));
        assert_eq!(lab.close_handle(second, Mode::Kernel), Ok(()));
        assert_eq!(
            lab.close_handle(third, Mode::Kernel),
            Err(status::INVALID_HANDLE),
            "it is another process's"
        );
        lab.attached(&two, || assert_eq!(lab.close_handle(third, Mode::User), Ok(())));
        assert_eq!(*log.borrow(), ["close 2/3", "close 1/2", "close 1/1", "delete"]);
    });
}

#[test]
fn kernel_handles_are_not_for_programs() {
    run(|lab| {
        let (body, _) = watched(lab);
        let handle = lab.open_handle(None, body, 7, false);
        assert_eq!(lab.handle(handle, Mode::User).map(|e| e.granted), Err(status::INVALID_HANDLE));
        assert_eq!(lab.handle(handle, Mode::Kernel).map(|e| e.granted), Ok(7));
        assert_eq!(lab.close_handle(handle, Mode::User), Err(status::INVALID_HANDLE));
        assert_eq!(lab.close_handle(handle, Mode::Kernel), Ok(()));
    });
}

#[test]
fn access_and_type_are_checked_for_programs_and_the_type_for_drivers() {
    run(|lab| {
        let (body, _) = watched(lab);
        let watched = lab.objects.type_named("Watched").body;
        let process = lab.objects.type_named("Process").body;
        let handle = lab.open_handle(Some(&lab.processes.system()), body, 1, false);
        let reference = |access, kind: *mut u8, mode| {
            let mut object = ptr::null_mut();
            // SAFETY: valid arguments, in a lab thread.
            let status = unsafe {
                ObReferenceObjectByHandle(handle, access, kind, mode, &mut object, ptr::null_mut())
            };
            (status, object)
        };
        assert_eq!(reference(1, watched, 1), (0, body));
        assert_eq!(reference(2, watched, 1), (status::ACCESS_DENIED, ptr::null_mut()));
        assert_eq!(reference(2, watched, 0), (0, body));
        assert_eq!(reference(1, process, 0).0, status::OBJECT_TYPE_MISMATCH);
        assert_eq!(reference(1, ptr::null_mut(), 0).0, 0);
        assert_eq!(lab.objects.references(body), 5);
    });
}

#[test]
fn pseudo_handles_mean_the_current_process_and_thread() {
    run(|lab| {
        let current = lab.handle(usize::MAX, Mode::User).map(|e| e.body);
        assert_eq!(current, Ok(lab.processes.system().eprocess));
        assert_eq!(lab.handle(usize::MAX - 1, Mode::User).map(|e| e.body), Ok(lab.thread().ethread));
    });
}

#[test]
fn generic_rights_become_specific_ones() {
    let lab = lab();
    let kind = lab.objects.add_type(&lab, "Generic", [0x1, 0x2, 0x4, 0xF]);
    assert_eq!(kind.map_generic(0x8000_0000 | 0x10_0000), 0x10_0001);
    assert_eq!(kind.map_generic(0x1000_0000), 0xF);
}

#[test]
fn one_dereference_too_many_is_named() {
    must_violate("object-reference", |lab| {
        let (body, _) = watched(lab);
        let handle = lab.open_handle(None, body, 0, false);
        lab.objects.dereference(lab, body);
        assert!(handle != 0);
        // SAFETY: breaking the contract is the point.
        unsafe { ObfDereferenceObject(body) };
    });
    must_violate("object-reference", |lab| {
        let (body, _) = watched(lab);
        // SAFETY: as above.
        unsafe {
            ObfDereferenceObject(body);
            ObfReferenceObject(body);
        }
    });
}

#[test]
fn a_dead_object_faults() {
    must_violate("use-after-free", |lab| {
        let (body, _) = watched(lab);
        lab.objects.dereference(lab, body);
        // SAFETY: the fault is the point.
        unsafe { ptr::read_volatile(body) };
    });
}

/// txf-ktm §1.1.
#[test]
fn deletion_is_deferred_above_passive_level_and_on_request() {
    use lab_executive::imports::spinlocks::{KeLowerIrql, KeRaiseIrqlToDpcLevel};
    run(|lab| {
        let (raised, log) = watched(lab);
        // SAFETY: in a lab thread.
        unsafe {
            let former = KeRaiseIrqlToDpcLevel();
            assert_eq!(ObfDereferenceObject(raised), 0);
            KeLowerIrql(former);
        }
        assert!(log.borrow().is_empty());
        lab.delay(1);
        assert_eq!(*log.borrow(), ["delete"]);
    });
}

#[test]
fn symbolic_links_are_found_under_each_of_their_names() {
    run(|lab| {
        lab.objects.add_symbolic_link(lab, "\\GLOBAL??\\C:", "\\Device\\HarddiskVolume1");
        for name in ["\\??\\C:", "\\GLOBAL??\\c:", "\\DosDevices\\C:"] {
            let mut handle = 0;
            let mut buffer = [0u16; 40];
            let mut target =
                lab_nt::UNICODE_STRING { Length: 0, MaximumLength: 80, Buffer: buffer.as_mut_ptr() };
            // SAFETY: valid arguments, in a lab thread.
            unsafe {
                assert_eq!(ZwOpenSymbolicLinkObject(&mut handle, 1, &attributes(name)), 0, "{name}");
                assert_eq!(ZwQuerySymbolicLinkObject(handle, &mut target, ptr::null_mut()), 0);
                assert_eq!(ZwClose(handle), 0);
            }
            assert_eq!(
                String::from_utf16_lossy(&buffer[..usize::from(target.Length) / 2]),
                "\\Device\\HarddiskVolume1"
            );
        }
        let mut handle = 0;
        // SAFETY: as above.
        let status =
            unsafe { ZwOpenSymbolicLinkObject(&mut handle, 1, &named_attributes(0, "\\??\\Q:", 0x200)) };
        assert_eq!(status, status::OBJECT_NAME_NOT_FOUND);
    });
}

#[test]
fn event_objects_can_be_made_set_and_waited_for() {
    run(|_| {
        let mut handle = 0;
        let timeout = 0;
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            assert_eq!(ZwCreateEvent(&mut handle, 0x1F_0003, ptr::null(), 1, 0), 0);
            assert_eq!(ZwWaitForSingleObject(handle, 0, &timeout), status::TIMEOUT);
            assert_eq!(ZwSetEvent(handle, ptr::null_mut()), 0);
            assert_eq!(ZwWaitForSingleObject(handle, 0, &timeout), 0);
            assert_eq!(ZwClose(handle), 0);
            assert_eq!(ZwClose(handle), status::INVALID_HANDLE);
        }
    });
}
