//! What filters see of a volume that goes (minifilter-rules §2.7).

use std::rc::Rc;

use fltkernel::*;
use lab::flt::imports::filters::{FltObjectDereference, FltObjectReference};
use lab::{CreateOptions, GENERIC_READ, Lab, Process, Status};

use crate::made::{Data, Made, Related, iopb, keep, kept, note, notes};
use crate::scene::{ALL, clean, lab_with};

const DISMOUNT: u32 = 0x9_0020;
const LOCK: u32 = 0x9_0018;

unsafe extern "win64" fn set_up(_: Related, flags: u32, _: u32, _: i32) -> i32 {
    note(format!("setup {flags}"));
    0
}

unsafe extern "win64" fn asked(_: Related, _: u32) -> i32 {
    note("asked");
    STATUS_FLT_DO_NOT_DETACH
}

unsafe extern "win64" fn told<const N: usize>(_: Related, reason: u32) {
    note(format!("teardown {N} {reason}"));
}

/// Refers to its instance where it is set up, and is not refused; is refused where it goes.
unsafe extern "win64" fn refer(related: Related, _: u32, _: u32, _: i32) -> i32 {
    // SAFETY: related objects are valid for the call.
    let instance = unsafe { (*related).Instance };
    if kept::<()>().is_null() {
        keep(instance.cast_const());
        // SAFETY: a live instance.
        assert_eq!(unsafe { FltObjectReference(instance) }, 0);
    }
    0
}

unsafe extern "win64" fn refer_late(related: Related, _: u32) {
    // SAFETY: related objects are valid for the call, and so is the instance.
    let told = unsafe { FltObjectReference((*related).Instance) };
    note(format!("{}", told == STATUS_FLT_DELETING_OBJECT));
}

unsafe extern "win64" fn seen(data: Data, _: Related, _: *mut PVOID) -> i32 {
    let iopb = iopb(data);
    let file = if iopb.TargetFileObject.is_null() { "no file" } else { "a file" };
    note(format!("{} {} {file}", iopb.MajorFunction, iopb.MinorFunction));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

fn watching() -> Made {
    let mut made = Made::new();
    made.registration.InstanceSetupCallback = Some(set_up);
    made.registration.InstanceQueryTeardownCallback = Some(asked);
    made.registration.InstanceTeardownStartCallback = Some(told::<0>);
    made.registration.InstanceTeardownCompleteCallback = Some(told::<1>);
    made
}

fn control(program: &Process, code: u32) -> Result<(), Status> {
    program.call(move |caller| {
        let volume = caller.create_file(&CreateOptions::open(r"\??\C:", ALL)).unwrap().handle;
        let told = caller.fs_control(volume, code, &[], 0).map(drop);
        caller.close(volume).unwrap();
        told
    })
}

fn outliving(outlive: bool) -> (Rc<Lab>, Process) {
    let lab = Lab::builder().instances_outlive_dismount(outlive).build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    let program = lab.process("program.exe");
    (lab, program)
}

/// minifilter-rules §2.7, §3.2: nobody is asked, the reason is the dismount, and the next access sets new instances up.
#[test]
fn a_dismount_tears_instances_down_with_files_open_and_the_next_access_sets_up_others() {
    let (lab, program) = outliving(false);
    watching().load::<0>(&lab, "225000").unwrap();
    assert_eq!(notes(), ["setup 1"]);
    let open = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    control(&lab.process("chkdsk.exe"), DISMOUNT).unwrap();
    assert_eq!(notes(), ["teardown 0 8", "teardown 1 8"]);
    assert_eq!(program.read(open, 0, 1), Err(Status::VOLUME_DISMOUNTED));
    assert_eq!(program.write(open, 0, b"x"), Err(Status::VOLUME_DISMOUNTED));
    assert_eq!(notes(), Vec::<String>::new(), "that was no access to the volume");
    program.contents(r"C:\a").unwrap();
    assert_eq!(notes(), ["setup 5"]);
    program.close(open).unwrap();
    assert_eq!(notes(), Vec::<String>::new());
    clean(&lab, &program);
}

/// minifilter-rules §2.7: the other answer to what is not known.
#[test]
fn instances_may_outlive_a_dismount_until_the_last_file_is_closed() {
    let (lab, program) = outliving(true);
    watching().load::<0>(&lab, "225000").unwrap();
    let first = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let second = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    notes();
    control(&lab.process("chkdsk.exe"), DISMOUNT).unwrap();
    program.contents(r"C:\a").unwrap();
    program.close(first).unwrap();
    lab.executive().run_until_idle().unwrap();
    assert_eq!(notes(), ["setup 5"], "beside the one that is there");
    assert_eq!(program.read(second, 0, 1), Err(Status::VOLUME_DISMOUNTED));
    program.close(second).unwrap();
    lab.executive().run_until_idle().unwrap();
    assert_eq!(notes(), ["teardown 0 8", "teardown 1 8"]);
    clean(&lab, &program);
}

/// minifilter-rules §2.7: without open files there is nothing to wait for.
#[test]
fn a_dismount_without_open_files_tears_instances_down_in_either_way() {
    for outlive in [false, true] {
        let (lab, program) = outliving(outlive);
        watching().load::<0>(&lab, "225000").unwrap();
        notes();
        control(&program, DISMOUNT).unwrap();
        lab.executive().run_until_idle().unwrap();
        assert_eq!(notes(), ["teardown 0 8", "teardown 1 8"], "{outlive}");
        assert_eq!(control(&program, LOCK), Ok(()), "mounted again");
        clean(&lab, &program);
    }
}

/// minifilter-rules §3.2: a reference delays the end of an instance, not its teardown, and none is given out then.
#[test]
fn an_instance_that_is_torn_down_is_not_referenced_any_more_and_lives_as_long_as_it_was() {
    let (lab, program) = outliving(false);
    keep(std::ptr::null::<()>());
    let mut made = Made::new();
    made.registration.InstanceSetupCallback = Some(refer);
    made.registration.InstanceTeardownStartCallback = Some(refer_late);
    made.load::<0>(&lab, "225000").unwrap();
    let open = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    control(&lab.process("chkdsk.exe"), DISMOUNT).unwrap();
    assert_eq!(notes(), ["true"]);
    program.close(open).unwrap();
    // SAFETY: referenced by `refer`.
    lab.executive().run(|_| unsafe { FltObjectDereference(kept()) }).unwrap();
    clean(&lab, &program);
}

unsafe extern "win64" fn slow(_: Related, _: u32) {
    lab_executive::with_lab(|lab| lab.delay(1_000));
    note("torn down");
}

/// minifilter-rules §3.2, §3.3: who comes too late finds it going, and who unloads waits for its end.
#[test]
fn an_instance_that_goes_is_neither_detached_nor_left_behind() {
    let (lab, program) = outliving(false);
    let mut made = watching();
    made.registration.InstanceTeardownCompleteCallback = Some(slow);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let instance = lab.instances(&driver.filter().unwrap()).remove(0);
    let open = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let dismounts = lab.process("chkdsk.exe").submit(|caller| {
        let volume = caller.create_file(&CreateOptions::open(r"\??\C:", ALL)).unwrap().handle;
        caller.fs_control(volume, DISMOUNT, &[], 0).map(drop)
    });
    notes();
    let going = lab.clone();
    lab.executive().run_until(move |_| teardown_has_begun(&going)).unwrap();
    assert_eq!(lab.detach(&instance), Err(Status(STATUS_FLT_DELETING_OBJECT.cast_unsigned())));
    assert!(lab.unload_driver(&driver).unwrap().is_clean());
    assert_eq!(notes(), ["teardown 0 8", "torn down"], "before the unload was over");
    assert_eq!(dismounts.wait().unwrap(), Ok(()));
    assert_eq!(lab.detach(&instance), Err(Status(STATUS_FLT_DELETING_OBJECT.cast_unsigned())));
    program.close(open).unwrap();
    clean(&lab, &program);
}

/// Whether the teardown of the only instance has begun.
fn teardown_has_begun(lab: &Lab) -> bool {
    lab.drivers().iter().filter_map(|driver| driver.filter()).any(|filter| {
        lab.instances(&filter).is_empty() || lab.instances(&filter).iter().all(|instance| instance.is_going())
    })
}

/// minifilter-rules §2.7: minor functions and order, and that there is no file object; §2.2; §3.3: nothing is unloaded.
#[test]
fn plug_and_play_and_shutdown_reach_filters_without_a_file_object() {
    let (lab, program) = lab_with(1);
    let made = watching().on(IRP_MJ_PNP, Some(seen), None).on(IRP_MJ_SHUTDOWN, Some(seen), None);
    made.load::<0>(&lab, "225000").unwrap();
    notes();
    let open = program.create_file(CreateOptions::open(r"C:\a", GENERIC_READ)).unwrap();
    assert_eq!(lab.query_removal(), Err(Status::ACCESS_DENIED));
    program.close(open).unwrap();
    assert_eq!(lab.query_removal(), Ok(()));
    let refused = program.create_file(CreateOptions::open(r"C:\a", GENERIC_READ));
    assert_eq!(refused, Err(Status::ACCESS_DENIED));
    assert_eq!(lab.cancel_removal(), Ok(()));
    assert_eq!(lab.shut_down(), Ok(()));
    let asked = ["27 1 no file", "27 1 no file", "27 3 no file", "16 0 no file"];
    assert_eq!(notes(), asked);
    assert_eq!(lab.query_removal(), Ok(()));
    assert_eq!(lab.remove(), Ok(()));
    assert_eq!(notes(), ["27 1 no file", "27 2 no file", "teardown 0 8", "teardown 1 8"]);
    assert_eq!(program.contents(r"C:\a"), Err(Status::NO_SUCH_DEVICE));
    clean(&lab, &program);
}

/// minifilter-rules §2.7: whatever is open.
#[test]
fn a_device_that_is_pulled_out_takes_the_volume_with_it() {
    let (lab, program) = lab_with(1);
    watching().on(IRP_MJ_PNP, Some(seen), None).load::<0>(&lab, "225000").unwrap();
    let open = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    notes();
    assert_eq!(lab.surprise_removal(), Ok(()));
    assert_eq!(notes(), ["27 23 no file", "teardown 0 8", "teardown 1 8"]);
    assert_eq!(program.read(open, 0, 1), Err(Status::VOLUME_DISMOUNTED));
    program.close(open).unwrap();
    assert_eq!(program.contents(r"C:\a"), Err(Status::NO_SUCH_DEVICE));
    clean(&lab, &program);
}

/// txf-ktm §8.2, exceptions: whose thread it is, and what it knows.
#[test]
fn a_debugged_process_has_its_handles_swept_by_its_terminator() {
    use lab_executive::imports::processes::{IoThreadToProcess, PsGetProcessExitStatus, PsGetProcessId};
    unsafe extern "win64" fn cleanup(data: Data, _: Related, _: *mut PVOID) -> i32 {
        // SAFETY: callback data of an operation under way; its thread is alive, and so are both processes.
        unsafe {
            let own = IoThreadToProcess((*data).Thread.cast());
            let requestor = lab::flt::imports::operations::FltGetRequestorProcess(data);
            let status = PsGetProcessExitStatus(requestor.cast());
            let same = PsGetProcessId(own) == PsGetProcessId(requestor.cast());
            note(format!("{} {status}", if same { "its own" } else { "another's" }));
        }
        FLT_PREOP_SUCCESS_NO_CALLBACK
    }
    for (known, expected) in [(false, "another's 259"), (true, "another's 7")] {
        let lab = Lab::builder().config(|config| config.exit_status_when_swept = known).build().unwrap();
        lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
        let (program, debugger) = (lab.process("program.exe"), lab.process("debugger.exe"));
        Made::new().on(IRP_MJ_CLEANUP, Some(cleanup), None).load::<0>(&lab, "225000").unwrap();
        program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        notes();
        program.kill_debugged(&debugger, 7);
        assert_eq!(notes(), [expected]);
        let next = lab.process("program.exe");
        next.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        next.kill(7);
        assert_eq!(notes(), ["its own 7"]);
        clean(&lab, &debugger);
    }
}
