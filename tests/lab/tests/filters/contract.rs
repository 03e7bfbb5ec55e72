//! What callbacks must not do: each broken rule stops the run under its own name.

use std::rc::Rc;

use crate::made::{Data, Made, Pre, Related, filter, iopb, keep, kept, note, notes, rule};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::filters::*;
use lab::flt::imports::names::*;
use lab::flt::imports::operations::*;
use lab::loading::StartError;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Offset, Process, Status, Violation};

fn lab() -> Rc<Lab> {
    let lab = Lab::builder().build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    lab
}

/// Opens, asks, reads, writes and closes: one operation of each kind.
fn exercise(program: &Process) -> Result<(), Rc<Violation>> {
    program
        .try_call(|caller| {
            let all = GENERIC_READ | GENERIC_WRITE;
            let Ok(created) = caller.create_file(&CreateOptions::open(r"C:\a", all)) else { return };
            let _ = caller.information(created.handle);
            let _ = caller.read(created.handle, Some(0), 4);
            let _ = caller.write(created.handle, Offset::At(0), b"abcd");
            let _ = caller.close(created.handle);
        })
        .map(|_| ())
}

fn broken_by(major: u8, pre: Pre) -> &'static str {
    let lab = lab();
    Made::new().on(major, Some(pre), None).load::<0>(&lab, "300000").unwrap();
    rule(exercise(&lab.process("program.exe")))
}

fn broken_with_post(major: u8, pre: Pre) -> &'static str {
    let lab = lab();
    Made::new().on(major, Some(pre), Some(finished)).load::<0>(&lab, "300000").unwrap();
    rule(exercise(&lab.process("program.exe")))
}

unsafe extern "win64" fn finished(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn answer<const STATUS: i32>(_: Data, _: Related, _: *mut PVOID) -> i32 {
    STATUS
}

unsafe extern "win64" fn answer_with_context<const STATUS: i32>(
    _: Data,
    _: Related,
    context: *mut PVOID,
) -> i32 {
    // SAFETY: the Filter Manager gave room for a pointer.
    unsafe { context.write(std::ptr::without_provenance_mut(8)) };
    STATUS
}

unsafe extern "win64" fn complete<const STATUS: i32>(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    unsafe { (*data).IoStatus.Status = STATUS };
    FLT_PREOP_COMPLETE
}

/// minifilter-rules §2.4.
#[test]
fn a_callback_that_was_not_registered_cannot_be_asked_for() {
    assert_eq!(broken_by(IRP_MJ_CREATE, answer::<FLT_PREOP_SUCCESS_WITH_CALLBACK>), "preop-without-post");
    assert_eq!(broken_by(IRP_MJ_READ, answer::<FLT_PREOP_SYNCHRONIZE>), "preop-without-post");
}

/// minifilter-rules §2.4.
#[test]
fn a_create_is_synchronised_already() {
    assert_eq!(
        broken_with_post(IRP_MJ_CREATE, answer::<FLT_PREOP_SYNCHRONIZE>),
        "preop-synchronize-forbidden"
    );
    assert_eq!(broken_with_post(IRP_MJ_CLEANUP, answer::<FLT_PREOP_SYNCHRONIZE>), "none");
}

/// minifilter-rules §2.4.
#[test]
fn fast_io_cannot_be_pended() {
    assert_eq!(broken_by(IRP_MJ_QUERY_INFORMATION, answer::<FLT_PREOP_PENDING>), "preop-pending-not-irp");
}

/// minifilter-rules §2.2.
#[test]
fn only_fast_io_is_disallowed_as_such() {
    assert_eq!(broken_by(IRP_MJ_CREATE, answer::<FLT_PREOP_DISALLOW_FASTIO>), "disallow-not-fast-io");
    assert_eq!(broken_by(IRP_MJ_READ, answer::<FLT_PREOP_DISALLOW_FSFILTER_IO>), "disallow-not-fsfilter");
}

/// minifilter-rules §1.2.
#[test]
fn a_completion_context_without_a_callback_is_a_leak() {
    let no_callback = answer_with_context::<FLT_PREOP_SUCCESS_NO_CALLBACK>;
    assert_eq!(broken_with_post(IRP_MJ_CREATE, no_callback), "context-without-callback");
    assert_eq!(
        broken_with_post(IRP_MJ_WRITE, answer_with_context::<FLT_PREOP_COMPLETE>),
        "complete-with-context"
    );
}

/// minifilter-rules §1.2.
#[test]
fn an_operation_is_not_completed_as_pending() {
    assert_eq!(broken_by(IRP_MJ_WRITE, complete::<0x103>), "complete-with-status");
    assert_eq!(broken_by(IRP_MJ_WRITE, complete::<STATUS_FLT_DISALLOW_FAST_IO>), "complete-with-status");
}

/// minifilter-rules §1.2; txf-ktm §8.1.
#[test]
fn cleanup_and_close_do_not_fail() {
    const ACCESS_DENIED: i32 = 0xC000_0022_u32.cast_signed();
    assert_eq!(broken_by(IRP_MJ_CLEANUP, complete::<ACCESS_DENIED>), "must-not-fail");
    assert_eq!(broken_by(IRP_MJ_CLOSE, complete::<ACCESS_DENIED>), "must-not-fail");
    for major in [IRP_MJ_CLEANUP, IRP_MJ_CLOSE] {
        let lab = lab();
        Made::new().on(major, None, Some(fail_after)).load::<0>(&lab, "300000").unwrap();
        assert_eq!(rule(exercise(&lab.process("program.exe"))), "must-not-fail", "in the post-operation");
    }
}

/// minifilter-rules §2.4.
#[test]
fn there_are_seven_answers() {
    assert_eq!(broken_by(IRP_MJ_READ, answer::<7>), "preop-status");
}

unsafe extern "win64" fn shorten(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).Parameters.Write.Length = 1;
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.1.
#[test]
fn a_change_that_is_not_marked_stops_the_run_or_has_no_effect() {
    assert_eq!(broken_by(IRP_MJ_WRITE, shorten), "parameters-not-dirty");
    let lab = Lab::builder().undirtied_changes_stop(false).build().unwrap();
    Made::new().on(IRP_MJ_WRITE, Some(shorten), None).load::<0>(&lab, "300000").unwrap();
    let program = lab.process("program.exe");
    program.put(r"C:\b", b"whole").unwrap();
    assert_eq!(program.contents(r"C:\b").unwrap(), b"whole");
}

unsafe extern "win64" fn change_major(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).MajorFunction = IRP_MJ_READ;
    // SAFETY: callback data is valid during the callback, here and below.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn change_reserved(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).Reserved = 1;
    // SAFETY: see above.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn swap_to_nothing(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).TargetFileObject = std::ptr::without_provenance_mut(0x1000);
    // SAFETY: see above.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn swap_and_complete(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).TargetFileObject = std::ptr::without_provenance_mut(0x1000);
    // SAFETY: see above.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_COMPLETE
}

unsafe extern "win64" fn change_instance(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).TargetInstance = std::ptr::without_provenance_mut(0x1000);
    // SAFETY: see above.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.1.
#[test]
fn major_function_and_target_have_their_limits() {
    assert_eq!(broken_by(IRP_MJ_WRITE, change_major), "major-function-changed");
    assert_eq!(broken_by(IRP_MJ_WRITE, change_reserved), "major-function-changed");
    assert_eq!(broken_by(IRP_MJ_WRITE, swap_to_nothing), "target-file-object");
    assert_eq!(broken_by(IRP_MJ_WRITE, swap_and_complete), "swap-and-complete");
    assert_eq!(broken_by(IRP_MJ_WRITE, change_instance), "target-instance");
}

/// minifilter-rules §1.4.
#[test]
fn a_create_that_the_file_system_never_saw_is_a_foreign_file_object() {
    assert_eq!(broken_by(IRP_MJ_CREATE, complete::<0>), "foreign-file-object");
}

unsafe extern "win64" fn fail_after(data: Data, _: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: callback data is valid during the callback.
    unsafe { (*data).IoStatus.Status = 0xC000_0022_u32.cast_signed() };
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §2.5, §1.9.
#[test]
fn a_successful_create_is_failed_by_cancelling_it_only() {
    let lab = lab();
    Made::new().on(IRP_MJ_CREATE, None, Some(fail_after)).load::<0>(&lab, "300000").unwrap();
    assert_eq!(rule(exercise(&lab.process("program.exe"))), "create-failed-without-cancel");
}

unsafe extern "win64" fn keep_data(data: Data, _: Related, _: *mut PVOID) -> i32 {
    keep(data);
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn look_at_kept_data(_: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: wrong on purpose; the lab's pool takes the page away.
    note(format!("{}", unsafe { (*kept::<FLT_CALLBACK_DATA>()).Flags }));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn callback_data_is_gone_when_the_operation_is() {
    let lab = lab();
    let made =
        Made::new().on(IRP_MJ_CREATE, Some(keep_data), None).on(IRP_MJ_READ, Some(look_at_kept_data), None);
    made.load::<0>(&lab, "300000").unwrap();
    assert_eq!(rule(exercise(&lab.process("program.exe"))), "use-after-free");
}

unsafe extern "win64" fn look_at_user_buffer(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: wrong on purpose: a program's buffer, which the lab lets no driver touch.
    let first = unsafe { iopb(data).Parameters.Write.Buffer.cast::<u8>().read_volatile() };
    note(format!("{first}"));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn a_programs_buffer_is_not_touched_directly() {
    assert_eq!(broken_by(IRP_MJ_WRITE, look_at_user_buffer), "user-pointer");
}

unsafe extern "win64" fn release_too_often(_: Data, _: Related, _: *mut PVOID) -> i32 {
    let mut context = std::ptr::null_mut();
    // SAFETY: the filter is registered with this context type; the second release is wrong on purpose.
    unsafe {
        FltAllocateContext(filter(0), FLT_STREAMHANDLE_CONTEXT, 32, 512, &raw mut context);
        FltReleaseContext(context);
        FltReleaseContext(context);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.1.
#[test]
fn a_context_is_released_once_for_each_reference() {
    let lab = lab();
    let made = Made::new().context(FLT_STREAMHANDLE_CONTEXT, 32, None);
    made.on(IRP_MJ_READ, Some(release_too_often), None).load::<0>(&lab, "300000").unwrap();
    assert_eq!(rule(exercise(&lab.process("program.exe"))), "context-reference");
}

unsafe extern "win64" fn leak_name_and_context(data: Data, _: Related, _: *mut PVOID) -> i32 {
    let mut name = std::ptr::null_mut();
    let mut context = std::ptr::null_mut();
    // SAFETY: callback data and filter are live; keeping both is wrong on purpose.
    unsafe {
        FltGetFileNameInformation(data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &raw mut name);
        FltAllocateContext(filter(0), FLT_STREAMHANDLE_CONTEXT, 32, 512, &raw mut context);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5.
#[test]
fn what_a_filter_keeps_is_listed_when_it_unloads() {
    let lab = lab();
    let made = Made::new().context(FLT_STREAMHANDLE_CONTEXT, 32, None);
    made.on(IRP_MJ_READ, Some(leak_name_and_context), None).load::<0>(&lab, "300000").unwrap();
    let program = lab.process("program.exe");
    exercise(&program).unwrap();
    program.exit(0);
    let report = lab.unload();
    let text = report.to_string();
    assert!(text.contains("stream handle context #1 of 32 bytes with 1 reference"), "{text}");
    assert!(text.contains("file name information #1 with 1 reference"), "{text}");
}

unsafe extern "win64" fn reference_filter(_: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the filter is live; not giving the reference back is wrong on purpose.
    unsafe { FltObjectReference(filter(0)) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.3.
#[test]
fn a_leaked_reference_holds_the_unload_and_is_named() {
    let lab = lab();
    Made::new().on(IRP_MJ_READ, Some(reference_filter), None).load::<0>(&lab, "300000").unwrap();
    let program = lab.process("program.exe");
    exercise(&program).unwrap();
    program.exit(0);
    assert_eq!(lab.unload().violation.unwrap().rule, "reference-leak");
}

unsafe extern "win64" fn forget_to_unregister(_: u32) -> NTSTATUS {
    0
}

/// minifilter-rules §3.3.
#[test]
fn an_unload_that_does_not_unregister_is_noticed() {
    let lab = lab();
    let mut made = Made::new();
    made.registration.FilterUnloadCallback = Some(forget_to_unregister);
    made.load::<0>(&lab, "300000").unwrap();
    assert_eq!(lab.unload().violation.unwrap().rule, "unload-without-unregister");
}

/// minifilter-rules §3.3.
#[test]
fn a_failing_entry_leaves_no_filter_behind() {
    let lab = lab();
    // SAFETY: all fields are integers, pointers and optional functions, for which zero is a value.
    let registration: &mut FLT_REGISTRATION = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
    registration.Size = size_of::<FLT_REGISTRATION>() as u16;
    registration.Version = FLT_REGISTRATION_VERSION;
    let at: *const FLT_REGISTRATION = registration;
    let failed = lab.load_functions(&lab::loading::Service::new("fails", "300000"), move |driver| {
        let mut filter: PFLT_FILTER = std::ptr::null_mut();
        // SAFETY: as DriverEntry would; giving up without unregistering is wrong on purpose.
        unsafe { FltRegisterFilter(driver, at, &raw mut filter) };
        -1
    });
    match failed {
        Err(StartError::Violation(violation)) => assert_eq!(violation.rule, "entry-failed-registered"),
        other => panic!("{:?}", other.err()),
    }
}

fn registration_rule(made: Made) -> &'static str {
    match made.load::<0>(&lab(), "300000") {
        Err(StartError::Violation(violation)) => violation.rule,
        Err(_) => "another error",
        Ok(_) => "none",
    }
}

/// minifilter-rules §2.2, §3.1, §3.4.
#[test]
fn a_registration_is_checked() {
    let with = |change: fn(&mut FLT_REGISTRATION)| {
        let mut made = Made::new();
        change(&mut made.registration);
        made
    };
    assert_eq!(registration_rule(with(|r| r.Size = 100)), "registration-size");
    assert_eq!(registration_rule(with(|r| r.Version = 0x0300)), "registration-version");
    assert_eq!(registration_rule(with(|r| r.Flags = 0x100)), "registration-flags");
    let pre: Option<Pre> = Some(answer::<FLT_PREOP_SUCCESS_NO_CALLBACK>);
    assert_eq!(
        registration_rule(Made::new().on(IRP_MJ_READ, pre, None).on(IRP_MJ_READ, pre, None)),
        "operation-duplicate"
    );
    assert_eq!(registration_rule(Made::new().on(IRP_MJ_READ, None, None)), "operation-empty");
    assert_eq!(registration_rule(Made::new().on(0x55, pre, None)), "operation-unknown");
    assert_eq!(
        registration_rule(Made::new().on(IRP_MJ_SHUTDOWN, pre, Some(finished))),
        "operation-shutdown-post"
    );
    assert_eq!(registration_rule(Made::new().context(0x80, 8, None)), "context-kind");
    assert_eq!(registration_rule(Made::new().context(FLT_STREAM_CONTEXT, 70_000, None)), "context-size");
    assert_eq!(registration_rule(Made::new()), "none");
}

/// minifilter-rules §3.2, §3.7.
#[test]
fn two_instances_do_not_share_an_altitude() {
    let lab = lab();
    Made::new().load::<0>(&lab, "300000").unwrap();
    let second = Made::new().load::<1>(&lab, "300000.0").unwrap();
    assert!(second.filter().is_some());
    assert_eq!(notes(), Vec::<String>::new());
    let attached =
        lab::loading::InstanceDefinition { name: "by hand".into(), altitude: "300000".into(), flags: 0 };
    let collision = Status(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION.cast_unsigned());
    assert_eq!(lab.attach(&second, attached).map(|_| ()), Err(collision));
}
