//! How operations are answered without the file system, refused, and kept from waiting.

use crate::made::{Data, Made, Pre, Related, iopb, note, notes, post_of, pre_of, rule};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::operations::FltSetCallbackDataDirty;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Status};
use lab_executive::with_lab;

const INSUFFICIENT_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();

unsafe extern "win64" fn complete<const STATUS: i32>(data: Data, _: Related, _: *mut PVOID) -> i32 {
    note("completed");
    // SAFETY: callback data is valid during the callback.
    unsafe {
        (*data).IoStatus.Status = STATUS;
        (*data).IoStatus.Information = 0;
    }
    FLT_PREOP_COMPLETE
}

/// minifilter-rules §1.2.
#[test]
fn a_completed_operation_goes_no_further_and_back_up() {
    let (lab, program) = lab_with(1);
    for (number, altitude) in [(1, "385100"), (2, "145100")] {
        let made = Made::new();
        let made = match number {
            1 => made.on(IRP_MJ_FLUSH_BUFFERS, Some(pre_of::<1>), Some(post_of::<1>)),
            _ => made.on(IRP_MJ_FLUSH_BUFFERS, Some(pre_of::<2>), Some(post_of::<2>)),
        };
        match number {
            1 => made.load::<1>(&lab, altitude).unwrap(),
            _ => made.load::<2>(&lab, altitude).unwrap(),
        };
    }
    const DENIED: i32 = Status::ACCESS_DENIED.0.cast_signed();
    let made = Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(complete::<0>), Some(post_of::<0>)).on(
        IRP_MJ_SET_EA,
        Some(complete::<DENIED>),
        None,
    );
    made.load::<0>(&lab, "225000").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.flush(handle).unwrap();
    assert_eq!(notes(), ["pre 1 9", "completed", "post 1 9 with 2"]);
    let refused =
        program.call(move |caller| caller.set_ea(handle, &[0, 0, 0, 0, 0, 1, 1, 0, b'K', 0, b'v', 0]));
    assert_eq!(refused, Err(Status::ACCESS_DENIED));
    clean(&lab, &program);
    // A create that is refused never reaches the file system.
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(complete::<DENIED>), None).load::<0>(&lab, "225000").unwrap();
    assert_eq!(program.create_file(CreateOptions::create(r"C:\new", ALL)), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.with_volume(|volume| volume.contents("new")), None);
    clean(&lab, &program);
}

fn section_with(acquire: u8, pre: Pre) -> (&'static str, Vec<String>, Result<(), Status>) {
    let (lab, program) = lab_with(1);
    let below = Made::new().on(acquire, Some(note_seen), None);
    below.load::<1>(&lab, "145100").unwrap();
    Made::new().on(acquire, Some(pre), None).load::<0>(&lab, "225000").unwrap();
    let slot = std::rc::Rc::new(std::cell::Cell::new(Ok(())));
    let result = slot.clone();
    let broken = rule(program.try_call(move |caller| {
        let handle = caller.create_file(&CreateOptions::open(r"C:\a", ALL)).unwrap().handle;
        match caller.create_section(handle, true) {
            Ok(view) => {
                caller.write_mapped(&view, 0, b"x").unwrap();
                let _ = caller.flush_mapped(&view);
                caller.close_section(view);
            }
            Err(status) => result.set(Err(status)),
        }
    }));
    (broken, notes(), slot.get())
}

unsafe extern "win64" fn note_seen(_: Data, _: Related, _: *mut PVOID) -> i32 {
    note("below");
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.2, §2.2.
#[test]
fn only_the_acquire_for_a_section_may_be_refused() {
    let refuse: Pre = complete::<INSUFFICIENT_RESOURCES>;
    let (broken, _, result) = section_with(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, refuse);
    assert_eq!((broken, result), ("none", Err(Status::INSUFFICIENT_RESOURCES)));
    for release in [IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_RELEASE_FOR_CC_FLUSH] {
        assert_eq!(section_with(release, refuse).0, "must-not-fail");
    }
}

/// minifilter-rules §1.2: STATUS_FSFILTER_OP_COMPLETED_SUCCESSFULLY.
#[test]
fn an_acquire_may_be_completed_by_a_filter() {
    let (broken, noted, result) = section_with(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, complete::<0x126>);
    assert_eq!((broken, result), ("none", Ok(())));
    assert_eq!(noted, ["completed"]);
}

unsafe extern "win64" fn synchronise(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    if fast { FLT_PREOP_DISALLOW_FASTIO } else { FLT_PREOP_SYNCHRONIZE }
}

unsafe extern "win64" fn finished(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §2.2, §2.4.
#[test]
fn what_may_stay_pending_is_not_synchronised() {
    let broken = |major: u8, asynchronous: bool| {
        let (lab, program) = lab_with(1);
        Made::new().on(major, Some(synchronise), Some(finished)).load::<0>(&lab, "225000").unwrap();
        rule(program.try_call(move |caller| {
            let open = CreateOptions::open(r"C:\a", ALL);
            let open = if asynchronous { open.asynchronous() } else { open };
            let handle = caller.create_file(&open).unwrap().handle;
            let _ = caller.read(handle, Some(0), 4);
            let _ = caller.lock(handle, 0, 1, true, true);
            let _ = caller.fs_control(handle, 0x0009_003C, &[], 2);
        }))
    };
    let forbidden = "preop-synchronize-forbidden";
    assert_eq!(broken(IRP_MJ_READ, true), forbidden);
    assert_eq!(broken(IRP_MJ_READ, false), "none");
    assert_eq!(broken(IRP_MJ_FILE_SYSTEM_CONTROL, false), forbidden);
    assert_eq!(broken(IRP_MJ_LOCK_CONTROL, true), forbidden);
    let (lab, program) = lab_with(1);
    Made::new()
        .on(IRP_MJ_DIRECTORY_CONTROL, Some(synchronise), Some(finished))
        .load::<0>(&lab, "225000")
        .unwrap();
    let watched = rule(program.try_call(|caller| {
        let top = CreateOptions::open(r"C:\", GENERIC_READ).options(1);
        let top = caller.create_file(&top).unwrap().handle;
        let _ = caller.notify_changes(top, 1, false, 64);
    }));
    assert_eq!(watched, forbidden);
}

unsafe extern "win64" fn advance_only(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the union member of this operation; integers.
    let class = unsafe { iopb(data).Parameters.SetFileInformation.FileInformationClass };
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    if class != 20 || fast {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    iopb(data).Parameters.SetFileInformation.AdvanceOnly = 1;
    // SAFETY: as above.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.2.
#[test]
fn an_end_of_file_that_only_advances_never_cuts() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_SET_INFORMATION, Some(advance_only), None).load::<0>(&lab, "225000").unwrap();
    program.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(r"C:\a", ALL)).unwrap().handle;
        caller.set_end_of_file(handle, 3).unwrap();
        assert_eq!(caller.size(handle), Ok(10));
        caller.set_end_of_file(handle, 12).unwrap();
        assert_eq!(caller.size(handle), Ok(12));
        caller.close(handle).unwrap();
    });
    clean(&lab, &program);
}

unsafe extern "win64" fn keep_file(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback; keeping the file object is wrong on purpose.
    let file = unsafe { (*related).FileObject };
    with_lab(|lab| lab.objects.reference(lab, file.cast()));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.2.
#[test]
fn the_file_object_of_a_query_by_name_is_not_kept() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_NETWORK_QUERY_OPEN, Some(keep_file), None).load::<0>(&lab, "225000").unwrap();
    let broken = rule(program.try_call(|caller| caller.query_attributes_by_path(r"C:\a").map(drop)));
    assert_eq!(broken, "query-open-file-object-kept");
}

unsafe extern "win64" fn disallow_before(_: Data, _: Related, _: *mut PVOID) -> i32 {
    note("query");
    FLT_PREOP_DISALLOW_FSFILTER_IO
}

unsafe extern "win64" fn disallow_after(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    note("query");
    FLT_POSTOP_DISALLOW_FSFILTER_IO
}

unsafe extern "win64" fn note_create(_: Data, _: Related, _: *mut PVOID) -> i32 {
    note("create");
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.2: the file is opened instead.
#[test]
fn a_query_by_name_is_refused_before_or_after_it() {
    for before in [true, false] {
        let (lab, program) = lab_with(1);
        let made = Made::new().on(IRP_MJ_CREATE, Some(note_create), None);
        let made = if before {
            made.on(IRP_MJ_QUERY_OPEN, Some(disallow_before), None)
        } else {
            made.on(IRP_MJ_QUERY_OPEN, None, Some(disallow_after))
        };
        made.load::<0>(&lab, "225000").unwrap();
        assert!(program.call(|caller| caller.query_stat_by_path(r"C:\a")).is_ok());
        assert_eq!(notes(), ["query", "create"], "before: {before}");
        clean(&lab, &program);
    }
}

unsafe extern "win64" fn look_for_context(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    let mut context = std::ptr::null_mut();
    // SAFETY: related objects are valid during the callback; the level is wrong on purpose.
    unsafe {
        lab::flt::imports::contexts::FltGetInstanceContext((*related).Instance, &raw mut context);
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §2.5.
#[test]
fn a_post_operation_at_dispatch_level_gets_no_context() {
    let lab = lab::Lab::builder().highest_irql().build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    Made::new().on(IRP_MJ_READ, None, Some(look_for_context)).load::<0>(&lab, "225000").unwrap();
    let program = lab.process("program.exe");
    let broken = program.try_call(|caller| {
        let open = CreateOptions::open(r"C:\a", GENERIC_READ).options(0x8);
        let handle = caller.create_file(&open).unwrap().handle;
        let _ = caller.read(handle, Some(0), 512);
    });
    assert_eq!(rule(broken), "irql-ceiling");
}

/// txf-ktm §8.2: IoCancelThreadIo.
#[test]
fn what_a_dying_thread_waits_for_is_cancelled() {
    let (lab, program) = lab_with(1);
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.call(move |caller| caller.lock(handle, 0, 5, true, false)).unwrap();
    let other = lab.process("other.exe");
    let theirs = other.create_file(CreateOptions::open(r"C:\a", GENERIC_READ | GENERIC_WRITE)).unwrap();
    let waiting = other.submit(move |caller| caller.lock(theirs, 0, 5, true, true));
    lab.executive().run_until_idle().unwrap();
    assert!(!waiting.is_done());
    other.kill(1);
    assert_eq!(waiting.wait().unwrap(), Err(Status::CANCELLED));
    clean(&lab, &program);
}

/// txf-ktm §1.5, §4.6: a program's own transaction goes with its last handle.
#[test]
fn a_process_that_dies_takes_its_own_transaction_with_it() {
    let (lab, program) = lab_with(1);
    let dying = lab.process("dying.exe");
    dying.call(|caller| {
        let transaction = caller.create_transaction().unwrap();
        let handle =
            caller.create_file(&CreateOptions::open(r"C:\a", ALL).inside(transaction)).unwrap().handle;
        caller.write(handle, lab::Offset::At(0), b"HALF").unwrap();
    });
    assert_eq!(lab.transactions().len(), 1);
    dying.kill(1);
    assert_eq!(lab.transactions().len(), 0);
    assert_eq!(program.contents(r"C:\a").unwrap(), b"0123456789");
    clean(&lab, &program);
}
