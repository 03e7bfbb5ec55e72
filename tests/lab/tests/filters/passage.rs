//! How an operation travels: order, parameters, threads, pending, draining.

use lab_executive::with_lab;

use crate::made::{Data, Made, Related, iopb, keep, kept, note, notes, post_of, pre_of};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::filters::*;
use lab::flt::imports::operations::*;
use lab::{CreateOptions, Process};

fn thread() -> u32 {
    with_lab(|lab| lab.thread().id)
}

fn irql() -> u8 {
    with_lab(|lab| lab.thread().irql.get())
}

/// minifilter-rules §2.5, §3.7.
#[test]
fn operations_go_down_by_altitude_and_come_back_up() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<0>), Some(post_of::<0>)).load::<0>(&lab, "45000").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<1>), Some(post_of::<1>)).load::<1>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<2>), Some(post_of::<2>)).load::<2>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(
        notes(),
        ["pre 1 0", "pre 2 0", "pre 0 0", "post 0 0 with 1", "post 2 0 with 3", "post 1 0 with 2"]
    );
    program.close(handle).unwrap();
    clean(&lab, &program);
}

unsafe extern "win64" fn halve(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).Parameters.Read.Length = 4;
    keep(iopb(data));
    // SAFETY: callback data is valid during the callback.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn note_length(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the union member of a read; integers.
    note(format!("below sees {}", unsafe { iopb(data).Parameters.Read.Length }));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn note_own_length(data: Data, _: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: the union member of a read; integers.
    note(format!("own post sees {}", unsafe { iopb(data).Parameters.Read.Length }));
    note(format!("the block moved: {}", kept::<FLT_IO_PARAMETER_BLOCK>() != std::ptr::from_mut(iopb(data))));
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §1.1.
#[test]
fn changed_parameters_are_seen_below_and_the_original_ones_above() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_READ, Some(halve), Some(note_own_length)).load::<0>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_READ, Some(note_length), None).load::<1>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(program.read(handle, 0, 8).unwrap(), b"0123");
    assert_eq!(notes(), ["below sees 4", "own post sees 8", "the block moved: true"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn note_instance(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    let own = unsafe { (*related).Instance };
    note(format!("{}", iopb(data).TargetInstance == own));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.1.
#[test]
fn the_target_instance_of_an_operation_is_the_one_that_sees_it() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_WRITE, Some(note_instance), None).load::<0>(&lab, "225000").unwrap();
    Made::new().on(IRP_MJ_WRITE, Some(note_instance), None).load::<1>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.write(handle, 0, b"x").unwrap();
    assert_eq!(notes(), ["true", "true"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn disallow(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    note(if fast { "fast" } else { "irp" });
    if fast { FLT_PREOP_DISALLOW_FASTIO } else { FLT_PREOP_SUCCESS_NO_CALLBACK }
}

/// minifilter-rules §1.6, §1.8, §2.2.
#[test]
fn disallowed_fast_io_comes_again_as_an_irp() {
    let (lab, program) = lab_with(1);
    let made =
        Made::new().on(IRP_MJ_READ, Some(disallow), None).on(IRP_MJ_NETWORK_QUERY_OPEN, Some(disallow), None);
    made.load::<0>(&lab, "385100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.read(handle, 0, 1).unwrap();
    assert_eq!(notes(), ["irp"], "nothing is cached before the first read");
    program.read(handle, 0, 1).unwrap();
    assert_eq!(notes(), ["fast", "irp"]);
    assert_eq!(program.call(|caller| caller.query_attributes_by_path(r"C:\a")).unwrap().size, 10);
    assert_eq!(notes(), ["fast"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn finish_later(_: PFLT_GENERIC_WORKITEM, _: PVOID, data: PVOID) {
    note(format!("worker {}", thread()));
    // SAFETY: the operation is pended until this call.
    unsafe {
        FltCompletePendedPreOperation(data.cast(), FLT_PREOP_SUCCESS_WITH_CALLBACK, std::ptr::null_mut())
    };
}

unsafe extern "win64" fn pend(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    if unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_IRP_OPERATION == 0 {
        return FLT_PREOP_DISALLOW_FASTIO;
    }
    note(format!("pre {}", thread()));
    // SAFETY: the item is queued once; the lab frees its numbers with the test.
    unsafe {
        let item = FltAllocateGenericWorkItem();
        FltQueueGenericWorkItem(item, (*related).Instance, Some(finish_later), 1, data.cast());
    }
    FLT_PREOP_PENDING
}

unsafe extern "win64" fn note_post(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    note(format!("post {}", thread()));
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §2.4.
#[test]
fn a_pended_operation_goes_on_in_the_thread_that_completes_it() {
    for seed in 1..20 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(pend), Some(note_post)).load::<0>(&lab, "385100").unwrap();
        let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        program.flush(handle).unwrap();
        let noted = notes();
        assert_eq!(noted.len(), 3, "{noted:?}");
        let number = |what: &str| noted.iter().find_map(|line| line.strip_prefix(what)).unwrap().to_owned();
        assert_ne!(number("pre "), number("worker "));
        assert!(number("post ") == number("worker ") || number("post ") == number("pre "), "{noted:?}");
    }
}

/// minifilter-rules §2.2, §2.5.
#[test]
fn a_pended_create_comes_back_in_its_own_thread() {
    let (lab, program) = lab_with(3);
    Made::new().on(IRP_MJ_CREATE, Some(pend), Some(note_post)).load::<0>(&lab, "385100").unwrap();
    program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let noted = notes();
    assert_eq!(noted[0].strip_prefix("pre "), noted[2].strip_prefix("post "), "{noted:?}");
}

unsafe extern "win64" fn watch(_: Data, _: Related, context: *mut PVOID) -> i32 {
    // SAFETY: the Filter Manager gave room for a pointer.
    unsafe { context.write(std::ptr::without_provenance_mut(thread() as usize)) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn synchronise(data: Data, related: Related, context: *mut PVOID) -> i32 {
    // SAFETY: passed on as it came.
    unsafe { watch(data, related, context) };
    FLT_PREOP_SYNCHRONIZE
}

unsafe extern "win64" fn note_where(_: Data, _: Related, context: PVOID, _: u32) -> i32 {
    let same = if context.addr() == thread() as usize { "same" } else { "other" };
    note(format!("{same} thread at {}", irql()));
    FLT_POSTOP_FINISHED_PROCESSING
}

fn uncached(program: &Process) -> lab::Handle {
    program.create_file(CreateOptions::open(r"C:\a", ALL).options(0x8)).unwrap()
}

/// minifilter-rules §2.5.
#[test]
fn a_reads_post_operation_may_run_elsewhere_and_at_dispatch_level() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(note_where)).load::<0>(&lab, "385100").unwrap();
        program.read(uncached(&program), 0, 512).unwrap();
        seen.extend(notes());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["other thread at 0", "other thread at 2", "same thread at 0"]
    );
}

/// minifilter-rules §2.4, §2.5.
#[test]
fn a_synchronised_one_runs_in_the_issuing_thread() {
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(synchronise), Some(note_where)).load::<0>(&lab, "385100").unwrap();
        program.read(uncached(&program), 0, 512).unwrap();
        assert_eq!(notes(), ["same thread at 0"]);
    }
}

unsafe extern "win64" fn safe_half(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    note(format!("safe half at {}", irql()));
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn when_safe(data: Data, related: Related, context: PVOID, flags: u32) -> i32 {
    let mut status = -1;
    // SAFETY: passed on as it came.
    let posted = unsafe {
        FltDoCompletionProcessingWhenSafe(data, related, context, flags, Some(safe_half), &raw mut status)
    };
    assert_eq!(posted, 1);
    status
}

/// minifilter-rules §2.5, §2.6.
#[test]
fn completion_processing_that_needs_a_low_level_gets_one() {
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(when_safe)).load::<0>(&lab, "385100").unwrap();
        assert_eq!(program.read(uncached(&program), 0, 512).unwrap(), b"0123456789");
        assert_eq!(notes(), ["safe half at 0"]);
        clean(&lab, &program);
    }
}

unsafe extern "win64" fn note_check(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the union member of this operation; integers. Callback data is valid during the callback.
    let check = unsafe { iopb(data).Parameters.FastIoCheckIfPossible };
    note(format!("check {} at {} for {}", check.CheckForReadOperation, check.FileOffset, check.Length));
    // SAFETY: as above.
    unsafe { (*data).IoStatus.Status = -1 };
    FLT_PREOP_COMPLETE
}

/// minifilter-rules §2.2.
#[test]
fn a_locked_file_is_asked_about_before_fast_io() {
    let (lab, program) = lab_with(1);
    Made::new()
        .on(IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE, Some(note_check), None)
        .load::<0>(&lab, "385100")
        .unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.read(handle, 0, 4).unwrap();
    program.read(handle, 0, 4).unwrap();
    assert_eq!(notes(), Vec::<String>::new());
    program.call(move |caller| caller.lock(handle, 100, 1, true, false)).unwrap();
    assert_eq!(program.read(handle, 2, 4).unwrap(), b"2345", "the IRP follows");
    assert_eq!(notes(), ["check 1 at 2 for 4"]);
    clean(&lab, &program);
}

#[test]
fn requests_on_a_synchronous_handle_take_turns() {
    for seed in 1..30 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_WRITE, Some(yielding), Some(leaving)).load::<0>(&lab, "385100").unwrap();
        let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        let write = move |caller: &lab::Caller<'_>| caller.write(handle, lab::Offset::Current, b"x");
        let (first, second) = (program.submit(write), program.submit(write));
        first.wait().unwrap().unwrap();
        second.wait().unwrap().unwrap();
        assert_eq!(notes().iter().filter(|what| *what == "in").count(), 2);
        assert_eq!(program.read(handle, 0, 3).unwrap(), b"xx2");
        clean(&lab, &program);
    }
}

unsafe extern "win64" fn yielding(_: Data, _: Related, _: *mut PVOID) -> i32 {
    note("in");
    with_lab(|lab| {
        lab.yield_now();
        lab.yield_now();
    });
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn leaving(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn draining(data: Data, _: Related, context: PVOID, flags: u32) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let said = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_DRAINING_IO != 0;
    note(format!("post with {} flags {flags} data says {said}", context.addr()));
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §2.2, §2.5.
#[test]
fn an_operation_under_way_is_drained_when_its_filter_unloads() {
    let (lab, program) = lab_with(1);
    let driver = Made::new()
        .on(IRP_MJ_LOCK_CONTROL, Some(pre_of::<0>), Some(draining))
        .load::<0>(&lab, "225000")
        .unwrap();
    let other = lab.process("other.exe");
    let mine = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let theirs = other.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.call(move |caller| caller.lock(mine, 0, 5, true, false)).unwrap();
    let waiting = other.submit(move |caller| caller.lock(theirs, 0, 5, true, true));
    lab.executive().run_until_idle().unwrap();
    notes();
    assert!(lab.unload_driver(&driver).unwrap().is_clean());
    assert_eq!(notes(), ["post with 1 flags 1 data says true"]);
    program.close(mine).unwrap();
    waiting.wait().unwrap().unwrap();
}

#[test]
fn the_same_seed_makes_the_same_trace_with_filters_too() {
    let run = |seed| {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(when_safe)).load::<0>(&lab, "385100").unwrap();
        let handle = uncached(&program);
        for _ in 0..10 {
            program.read(handle, 0, 512).unwrap();
        }
        lab.trace_hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
