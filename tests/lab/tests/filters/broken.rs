//! Rules of the Filter Verifier that no driver of the collection breaks: each stops the run under its own name.

use crate::inside::*;
use crate::made::{Data, Made, Post, Pre, Related, filter, keep, kept, rule};
use crate::scene::{ALL, lab_with};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::filters::*;
use lab::flt::imports::names::*;
use lab::flt::imports::operations::*;
use lab::flt::imports::requests::*;
use lab::loading::{Service, StartError};
use lab::{CreateOptions, Lab, Offset};

/// Opens, reads, writes, flushes and closes, with filters that are made of these callbacks.
fn broken_by(major: u8, pre: Option<Pre>, post: Option<Post>) -> &'static str {
    let (lab, program) = lab_with(1);
    Made::new().on(major, pre, post).load::<0>(&lab, "225000").unwrap();
    rule(program.try_call(|caller| {
        let Ok(created) = caller.create_file(&CreateOptions::open(r"C:\a", ALL)) else { return };
        let _ = caller.read(created.handle, Some(0), 4);
        let _ = caller.write(created.handle, Offset::At(0), b"abcd");
        let _ = caller.flush(created.handle);
        let _ = caller.close(created.handle);
    }))
}

/// What a filter breaks in the middle of an operation.
fn broken_inside(body: impl FnOnce(&FLT_RELATED_OBJECTS) + 'static) -> &'static str {
    Scene::new().try_inside(body)
}

fn nowhere<T>() -> *mut T {
    std::ptr::without_provenance_mut(0x1000)
}

unsafe extern "win64" fn with_callback(_: Data, _: Related, _: *mut PVOID) -> i32 {
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn synchronise(_: Data, _: Related, _: *mut PVOID) -> i32 {
    FLT_PREOP_SYNCHRONIZE
}

unsafe extern "win64" fn answer<const STATUS: i32>(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    STATUS
}

#[test]
fn a_post_operation_answers_with_what_there_is() {
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, None, Some(answer::<9>)), "postop-status");
    // Its file object is in use by the requesting thread, which waits for it: nothing can be finished later.
    let fast = |major| {
        let (lab, program) = lab_with(1);
        let more = answer::<FLT_POSTOP_MORE_PROCESSING_REQUIRED>;
        Made::new().on(major, None, Some(more)).load::<0>(&lab, "225000").unwrap();
        rule(program.try_call(|caller| caller.query_attributes_by_path(r"C:\a").map(drop)))
    };
    assert_eq!(fast(IRP_MJ_NETWORK_QUERY_OPEN), "postop-more-processing");
    let more = Some(answer::<FLT_POSTOP_MORE_PROCESSING_REQUIRED> as crate::made::Post);
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, Some(synchronise), more), "postop-more-processing");
}

unsafe extern "win64" fn complete_at_once(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback; that it is not pended is wrong on purpose, here and below.
    unsafe { FltCompletePendedPreOperation(data, FLT_PREOP_SUCCESS_NO_CALLBACK, std::ptr::null_mut()) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn complete_in_post(data: Data, _: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: see above.
    unsafe { FltCompletePendedPreOperation(data, FLT_PREOP_SUCCESS_NO_CALLBACK, std::ptr::null_mut()) };
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn pend_again(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the operation is pended by the answer below; that the answer to it is PENDING again is wrong on purpose.
    unsafe { FltCompletePendedPreOperation(data, FLT_PREOP_PENDING, std::ptr::null_mut()) };
    FLT_PREOP_PENDING
}

#[test]
fn what_is_pended_is_completed_once_and_nothing_else_is() {
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, Some(complete_at_once), None), "completed-not-pended");
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, None, Some(complete_in_post)), "complete-not-pended");
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, Some(pend_again), None), "preop-pending-again");
}

unsafe extern "win64" fn draining_more(_: Data, _: Related, _: PVOID, flags: u32) -> i32 {
    if flags & FLTFL_POST_OPERATION_DRAINING == 0 {
        FLT_POSTOP_FINISHED_PROCESSING
    } else {
        FLT_POSTOP_MORE_PROCESSING_REQUIRED
    }
}

unsafe extern "win64" fn draining_when_safe(data: Data, related: Related, context: PVOID, flags: u32) -> i32 {
    let mut status = 0;
    // SAFETY: passed on as it came; that it is draining is wrong on purpose.
    unsafe {
        let safe = Some(answer::<FLT_POSTOP_FINISHED_PROCESSING> as Post);
        FltDoCompletionProcessingWhenSafe(data, related, context, flags, safe, &raw mut status)
    };
    status
}

fn drained_by(post: Post) -> &'static str {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_LOCK_CONTROL, Some(with_callback), Some(post));
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let other = lab.process("other.exe");
    let mine = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let theirs = other.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.call(move |caller| caller.lock(mine, 0, 5, true, false)).unwrap();
    let _waiting = other.submit(move |caller| caller.lock(theirs, 0, 5, true, true));
    lab.executive().run_until_idle().unwrap();
    let report = lab.unload_driver(&driver).unwrap();
    report.violation.map_or("none", |violation| violation.rule)
}

/// minifilter-rules §2.5.
#[test]
fn a_draining_post_operation_finishes_by_itself() {
    assert_eq!(drained_by(draining_more), "draining-not-finished");
    assert_eq!(drained_by(draining_when_safe), "safe-post-draining");
}

unsafe extern "win64" fn without_a_callback(data: Data, related: Related, context: PVOID, flags: u32) -> i32 {
    let mut status = 0;
    // SAFETY: passed on as it came; that there is no callback is wrong on purpose.
    unsafe { FltDoCompletionProcessingWhenSafe(data, related, context, flags, None, &raw mut status) };
    status
}

#[test]
fn completion_processing_needs_a_callback() {
    assert_eq!(broken_by(IRP_MJ_FLUSH_BUFFERS, None, Some(without_a_callback)), "safe-post-callback");
}

#[test]
fn what_a_routine_takes_for_an_object_must_be_one() {
    // SAFETY: none of these is what the routine takes, on purpose; here and below.
    assert_eq!(broken_inside(|_| unsafe { FltSetCallbackDataDirty(nowhere()) }), "callback-data");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    assert_eq!(broken_inside(|_| unsafe { FltFreeCallbackData(nowhere()) }), "callback-data");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    let instance = |_: &FLT_RELATED_OBJECTS| unsafe {
        let mut context = std::ptr::null_mut();
        FltGetInstanceContext(nowhere(), &raw mut context);
    };
    assert_eq!(broken_inside(instance), "flt-object");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    assert_eq!(broken_inside(|_| unsafe { FltObjectDereference(nowhere()) }), "flt-object");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    let file = |related: &FLT_RELATED_OBJECTS| unsafe {
        let mut context = std::ptr::null_mut();
        FltGetStreamContext(related.Instance, nowhere(), &raw mut context);
    };
    assert_eq!(broken_inside(file), "file-object");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    let transaction = |related: &FLT_RELATED_OBJECTS| unsafe {
        let mut context = std::ptr::null_mut();
        FltGetTransactionContext(related.Instance, nowhere(), &raw mut context);
    };
    assert_eq!(broken_inside(transaction), "transaction-object");
    // SAFETY: an address that leads nowhere, on purpose: the lab looks it up and reads nothing there.
    assert_eq!(broken_inside(|_| unsafe { FltReleaseFileNameInformation(nowhere()) }), "name-reference");
}

#[test]
fn an_object_is_dereferenced_as_often_as_referenced() {
    // SAFETY: the filter is registered; that there is no reference to give back is wrong on purpose.
    assert_eq!(broken_inside(|_| unsafe { FltObjectDereference(filter(0)) }), "flt-reference");
}

#[test]
fn a_context_is_set_as_what_it_was_allocated_as() {
    let broken = broken_inside(|related| {
        let mut context = std::ptr::null_mut();
        // SAFETY: live objects; that the types differ is wrong on purpose.
        unsafe {
            assert_eq!(FltAllocateContext(filter(0), FLT_TRANSACTION_CONTEXT, 16, 512, &raw mut context), 0);
            FltSetInstanceContext(related.Instance, 1, context, std::ptr::null_mut());
        }
    });
    assert_eq!(broken, "context-kind-mismatch");
}

/// The lab has cached reads and writes only.
#[test]
fn a_path_that_the_lab_does_not_have_is_refused_by_name() {
    const NON_CACHED: u32 = 0x1;
    let broken = broken_inside(|related| {
        let (mut offset, mut read, mut buffer) = (0_i64, 0, [0_u8; 512]);
        // SAFETY: a live file object and buffers of the lengths given.
        unsafe {
            FltReadFile(
                related.Instance,
                related.FileObject,
                &raw mut offset,
                512,
                buffer.as_mut_ptr().cast(),
                NON_CACHED,
                &raw mut read,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
    });
    assert_eq!(broken, "not-modelled");
}

unsafe extern "win64" fn pend_for_ever(data: Data, _: Related, _: *mut PVOID) -> i32 {
    keep(data);
    FLT_PREOP_PENDING
}

/// minifilter-rules §3.2: nobody completes what the filter has pended.
#[test]
fn an_operation_that_stays_pended_holds_the_teardown_and_is_named() {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(pend_for_ever), None);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let _flush = program.submit(move |caller| caller.flush(handle));
    lab.executive().run_until_idle().unwrap();
    assert!(!kept::<FLT_CALLBACK_DATA>().is_null());
    let report = lab.unload_driver(&driver).unwrap();
    assert_eq!(report.violation.map_or("none", |violation| violation.rule), "teardown-waits");
}

unsafe extern "win64" fn unregister_twice(_: u32) -> NTSTATUS {
    // SAFETY: the filter is registered; that it is unregistered once more is wrong on purpose.
    unsafe {
        FltUnregisterFilter(filter(0));
        FltUnregisterFilter(filter(0));
    }
    0
}

#[test]
fn a_filter_registers_and_unregisters_once() {
    let (lab, _) = lab_with(1);
    let mut made = Made::new();
    made.registration.FilterUnloadCallback = Some(unregister_twice);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let report = lab.unload_driver(&driver).unwrap();
    assert_eq!(report.violation.map_or("none", |violation| violation.rule), "flt-object");

    let (lab, _) = lab_with(1);
    let made = Made::new();
    let registration: &FLT_REGISTRATION = Box::leak(Box::new(made.registration));
    let at: *const FLT_REGISTRATION = registration;
    let twice = lab.load_functions(&Service::new("twice", "225000"), move |driver| {
        let mut filter = std::ptr::null_mut();
        // SAFETY: as DriverEntry would; the second time is wrong on purpose.
        unsafe {
            FltRegisterFilter(driver, at, &raw mut filter);
            FltRegisterFilter(driver, at, &raw mut filter)
        }
    });
    assert_eq!(stopped(twice.err()), "registered-twice");
    let nothing = lab_with(1).0.load_functions(&Service::new("null", "225000"), move |driver| {
        let mut filter = std::ptr::null_mut();
        // SAFETY: as above; that there is no registration is wrong on purpose.
        unsafe { FltRegisterFilter(driver, std::ptr::null(), &raw mut filter) }
    });
    assert_eq!(stopped(nothing.err()), "registration-null");
}

fn stopped(error: Option<StartError>) -> &'static str {
    match error {
        Some(StartError::Violation(violation)) => violation.rule,
        Some(_) => "another error",
        None => "none",
    }
}

fn registered(made: Made) -> &'static str {
    stopped(made.load::<0>(&Lab::builder().build().unwrap(), "300000").err())
}

unsafe extern "win64" fn allocate(_: i32, _: usize, _: u16) -> PVOID {
    std::ptr::null_mut()
}

/// minifilter-rules §2.3, §3.1.
#[test]
fn flags_and_allocators_of_a_registration_are_checked() {
    let made = Made::new().on(IRP_MJ_READ, Some(with_callback), Some(answer::<0>)).skipping(0x10);
    assert_eq!(registered(made), "operation-flags");
    let made = Made::new().context(FLT_STREAM_CONTEXT, 8, None).allocated_by(Some(allocate));
    assert_eq!(registered(made), "context-allocator");
}
