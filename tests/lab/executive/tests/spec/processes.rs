//! Processes: identity, and the order of their death (`txf-ktm §8.2`).

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;

use lab_executive::imports::pool::ExFreePool;
use lab_executive::imports::processes::*;
use lab_executive::imports::threads::{PsCreateSystemThread, PsTerminateSystemThread};
use lab_executive::{Lab, Timeout, status};

use crate::{lab, must_violate, run};

const IMAGE: &str = "\\Device\\HarddiskVolume1\\Windows\\notepad.exe";

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

extern "win64" fn notified(parent: usize, id: usize, created: u8) {
    lab_executive::with_lab(|lab| {
        let process = lab.processes.find(id as u32).expect("notified while it exists");
        let apcs_off = lab.thread().normal_apcs_off();
        let handles = process.handles.entries().len();
        LOG.with_borrow_mut(|log| {
            log.push(format!(
                "notify {created} parent {parent} status {:#x} apcs off {apcs_off} handles {handles}",
                process.exit_status()
            ));
        });
    });
}

/// minifilter-rules §2.6; txf-ktm §8.1, §8.2, §8.3, §9.
#[test]
fn a_process_dies_in_the_documented_order() {
    let lab = lab();
    let result = lab.run(|lab| {
        let kind = lab.objects.add_type(lab, "Watched", [0; 4]);
        kind.on_close(|lab, closing| {
            let thread = lab.thread();
            LOG.with_borrow_mut(|log| {
                log.push(format!(
                    "close status {:#x} terminating {} own process {} apcs off {} irql {}",
                    closing.process.exit_status(),
                    thread.terminating.get(),
                    thread.process().is_some_and(|p| p.id == closing.process.id),
                    thread.normal_apcs_off(),
                    thread.irql.get()
                ));
            });
        });
        lab.processes.on_views_torn_down(|_, process| {
            LOG.with_borrow_mut(|log| log.push(format!("views of {}", process.image_name())))
        });
        // SAFETY: a routine of ours.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutine(notified as *const () as usize, 0) }, 0);
        let process = lab.create_process(IMAGE, vec![], Some(&lab.processes.system()));
        let body = lab.objects.create(lab, &kind, 16, None);
        lab.open_handle(Some(&process), body, 0, false);
        lab.objects.dereference(lab, body);
        lab.objects.reference(lab, process.eprocess);
        assert_eq!(process.exit_status(), status::PENDING);
        lab.spawn(&process, "app", |lab| lab.exit_process(0xC000_0005_u32 as i32));
        assert_eq!(lab.wait_for(&[process.eprocess], false, Timeout::Never), 0);
        LOG.with_borrow_mut(|log| log.push("signalled".into()));
        assert!(lab.processes.find(process.id).is_none());
        lab.objects.dereference(lab, process.eprocess);
        // SAFETY: as above.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutine(notified as *const () as usize, 1) }, 0);
    });
    if let Err(violation) = result {
        panic!("{violation}");
    }
    assert_eq!(
        LOG.take(),
        [
            "notify 1 parent 4 status 0x103 apcs off true handles 0",
            "notify 0 parent 4 status 0xc0000005 apcs off true handles 1",
            "close status 0xc0000005 terminating true own process true apcs off true irql 0",
            "views of notepad.exe",
            "signalled",
        ]
    );
}

/// txf-ktm §8.2.
#[test]
fn a_killed_process_ends_when_its_threads_have_left_the_kernel() {
    run(|lab| {
        let process = lab.create_process(IMAGE, vec![], None);
        let system = lab.processes.system();
        assert!(system.id == 4);
        let busy = lab.spawn(&process, "busy", |lab| lab.delay(100));
        lab.delay(1);
        let eprocess = process.eprocess;
        lab.objects.reference(lab, eprocess);
        lab.terminate_process(&process, 1);
        assert!(busy.terminating.get());
        assert_eq!(process.exit_status(), 1);
        lab.wait_for(&[eprocess], false, Timeout::Never);
        assert!(busy.finished());
        lab.objects.dereference(lab, eprocess);
    });
}

/// txf-ktm §8.1.
#[test]
fn drivers_learn_who_runs() {
    run(|lab| {
        let process = lab.create_process(IMAGE, vec![], None);
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            assert_eq!(PsGetCurrentProcessId(), 4);
            assert_eq!(PsGetCurrentThread(), lab.thread().ethread);
            lab.attached(&process, || assert_eq!(IoGetCurrentProcess(), process.eprocess));
            assert_eq!(PsGetProcessId(process.eprocess), process.id as usize);
            assert_eq!(PsGetProcessExitStatus(process.eprocess), 0x103);
            assert_eq!(PsIsThreadTerminating(lab.thread().ethread), 0);
            let mut found = ptr::null_mut();
            assert_eq!(PsLookupProcessByProcessId(process.id as usize, &mut found), 0);
            assert_eq!(found, process.eprocess);
            lab.objects.dereference(lab, found);
            assert_eq!(PsLookupProcessByProcessId(99_999, &mut found), status::INVALID_CID);
            let mut name = ptr::null_mut();
            assert_eq!(SeLocateProcessImageName(process.eprocess, &mut name), 0);
            let text = std::slice::from_raw_parts((*name).Buffer, usize::from((*name).Length) / 2);
            assert_eq!(String::from_utf16_lossy(text), IMAGE);
            ExFreePool(name.cast());
        }
    });
}

extern "win64" fn body(context: *mut std::ffi::c_void) {
    LOG.with_borrow_mut(|log| log.push(format!("context {:#x}", context.addr())));
    // SAFETY: in a lab thread of the system process.
    unsafe { PsTerminateSystemThread(7) };
    LOG.with_borrow_mut(|log| log.push("never".into()));
}

#[test]
fn a_system_thread_ends_where_it_stands() {
    run(|lab: &Lab| {
        let mut handle = 0;
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            let context = ptr::without_provenance_mut(0x1234);
            let start = body as *const () as usize;
            assert_eq!(
                PsCreateSystemThread(&mut handle, 0, ptr::null(), 0, ptr::null_mut(), start, context),
                0
            );
        }
        let entry = lab.handle(handle, lab_executive::Mode::Kernel).expect("a handle");
        let thread = lab.objects.thread_at(entry.body).expect("a thread");
        assert_eq!(lab.wait_for(&[entry.body], false, Timeout::Never), 0);
        assert_eq!(thread.exit_status.get(), 7);
        assert_eq!(LOG.take(), ["context 0x1234"]);
        assert!(lab.close_handle(handle, lab_executive::Mode::Kernel).is_ok());
        let _ = Rc::new(());
    });
}

#[test]
fn misuse_of_processes_is_named() {
    // SAFETY: breaking the contract is the point.
    must_violate("bad-object-type", |lab| unsafe { PsGetProcessId(lab.thread().ethread) });
    // SAFETY: as above.
    must_violate("bad-object-type", |lab| unsafe { PsGetThreadId(lab.processes.system().eprocess) });
    // SAFETY: as above.
    must_violate("attach", |_| unsafe { KeUnstackDetachProcess(ptr::null_mut()) });
}

thread_local! {
    static CREATED: RefCell<Vec<(usize, usize, usize)>> = const { RefCell::new(Vec::new()) };
    static BUSY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What `PS_CREATE_NOTIFY_INFO` says of a process: its parent and its creator, behind its size and flags.
extern "win64" fn created(_: *mut u8, _: usize, info: *const [usize; 5]) {
    // SAFETY: valid for the call, if it is there; longer than this.
    let Some(&[_, _, parent, creator, _]) = (unsafe { info.as_ref() }) else { return };
    let here = lab_executive::with_lab(|lab| lab.thread().process().map_or(0, |process| process.id as usize));
    CREATED.with_borrow_mut(|seen| seen.push((parent, creator, here)));
}

/// txf-ktm §8.1.
#[test]
fn the_creator_of_a_process_is_whose_thread_made_it_and_its_parent_whom_it_named() {
    run(|lab| {
        // SAFETY: a routine of ours.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutineEx(created as *const () as usize, 0) }, 0);
        let (shell, parent) =
            (lab.create_process(IMAGE, vec![], None), lab.create_process(IMAGE, vec![], None));
        CREATED.take();
        let (shell_id, parent_id) = (shell.id as usize, parent.id as usize);
        let thread = lab.spawn(&shell, "creator", move |lab| {
            let child = lab.create_process(IMAGE, vec![], Some(&parent));
            assert_eq!(child.parent, parent.id);
        });
        lab.block_until("the creator", None, || thread.finished());
        assert_eq!(CREATED.take(), [(parent_id, shell_id, shell_id)]);
        // SAFETY: as above.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutineEx(created as *const () as usize, 1) }, 0);
    });
}

extern "win64" fn slow(_: usize, _: usize, _: u8) {
    BUSY.set(true);
    lab_executive::with_lab(|lab| lab.delay(1_000));
    BUSY.set(false);
}

/// txf-ktm §8.1.
#[test]
fn a_notify_routine_that_is_removed_does_not_run_any_more() {
    run(|lab| {
        // SAFETY: a routine of ours.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutine(slow as *const () as usize, 0) }, 0);
        let thread = lab.spawn(&lab.processes.system(), "creator", |lab| {
            lab.create_process(IMAGE, vec![], None);
        });
        lab.block_until("the routine", None, || BUSY.get());
        // SAFETY: as above.
        assert_eq!(unsafe { PsSetCreateProcessNotifyRoutine(slow as *const () as usize, 1) }, 0);
        assert!(!BUSY.get(), "it is waited for");
        lab.block_until("the creator", None, || thread.finished());
    });
}
