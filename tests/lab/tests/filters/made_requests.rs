//! Requests that filters make themselves (FltAllocateCallbackData and its family).

use crate::made::{Data, Made, Related, note, notes};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::requests::*;
use lab::{CreateOptions, GENERIC_READ, Status};

const IRP_MN_LOCK: u8 = 1;
const SL_FAIL_IMMEDIATELY: u8 = 1;
const SL_EXCLUSIVE_LOCK: u8 = 2;

unsafe extern "win64" fn lock_alone(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the arguments of a callback.
    unsafe { lock(data, related, SL_FAIL_IMMEDIATELY | SL_EXCLUSIVE_LOCK) }
}

unsafe extern "win64" fn lock_with_others(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the arguments of a callback.
    unsafe { lock(data, related, SL_FAIL_IMMEDIATELY) }
}

/// Locks the first ten bytes of the file that is flushed, by these flags; the parameters say the contrary.
unsafe fn lock(_: Data, related: Related, flags: u8) -> i32 {
    let mut length = 10_i64;
    // SAFETY: related objects are valid during the callback; the callback data is ours until freed.
    unsafe {
        let mut data = std::ptr::null_mut();
        let allocated = FltAllocateCallbackData((*related).Instance, (*related).FileObject, &raw mut data);
        assert_eq!(allocated, 0);
        let block = (*data).Iopb;
        assert_eq!((*block).TargetFileObject, (*related).FileObject);
        (*block).MajorFunction = IRP_MJ_LOCK_CONTROL;
        (*block).MinorFunction = IRP_MN_LOCK;
        (*block).OperationFlags = flags;
        (*block).Parameters.LockControl = LOCK_CONTROL {
            Length: &raw mut length,
            Key: 0,
            Padding1: 0,
            ByteOffset: 0,
            ProcessId: std::ptr::null_mut(),
            FailImmediately: 0,
            ExclusiveLock: u8::from(flags & SL_EXCLUSIVE_LOCK == 0),
            Padding2: [0; 6],
        };
        FltPerformSynchronousIo(data);
        note(format!("{:#x}", (*data).IoStatus.Status));
        FltFreeCallbackData(data);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn note_lock(_: Data, _: Related, _: *mut PVOID) -> i32 {
    note("lock seen");
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// fltkernel/FltPerformSynchronousIo: only instances below see it; its owner is the requesting process (txf-ktm §8.3).
#[test]
fn a_filters_own_lock_belongs_to_the_process_that_it_runs_in() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_LOCK_CONTROL, Some(note_lock), None).load::<0>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(lock_alone), None).load::<1>(&lab, "325100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.write(handle, 0, b"0123456789abc").unwrap();
    program.flush(handle).unwrap();
    assert_eq!(notes(), ["0x0"], "a filter above does not see it");
    assert_eq!(program.write(handle, 0, b"x"), Ok(1), "it is the program's own");
    let other = lab.process("other.exe");
    let reading = other.create_file(CreateOptions::open(r"C:\a", GENERIC_READ)).unwrap();
    assert_eq!(other.read(reading, 0, 1), Err(Status::FILE_LOCK_CONFLICT));
    other.exit(0);
    clean(&lab, &program);
}

/// minifilter-rules §2.2.
#[test]
fn a_lock_request_says_by_its_flags_how_it_locks() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(lock_with_others), None).load::<0>(&lab, "325100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.write(handle, 0, b"0123456789abc").unwrap();
    program.flush(handle).unwrap();
    assert_eq!(notes(), ["0x0"]);
    let other = lab.process("other.exe");
    let second = other.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(other.read(second, 0, 1).unwrap(), b"0", "others may read");
    assert_eq!(other.write(second, 0, b"x"), Err(Status::FILE_LOCK_CONFLICT));
    let alone = other.call(move |caller| caller.lock(second, 0, 1, true, false));
    assert_eq!(alone, Err(Status::LOCK_NOT_GRANTED), "and it is not waited for");
    other.exit(0);
    clean(&lab, &program);
}

/// Forgets to free it.
unsafe extern "win64" fn leak(_: Data, related: Related, _: *mut PVOID) -> i32 {
    let mut data = std::ptr::null_mut();
    // SAFETY: as above.
    unsafe { FltAllocateCallbackData((*related).Instance, (*related).FileObject, &raw mut data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn callback_data_that_is_not_freed_is_reported_at_unload() {
    let (lab, program) = lab_with(1);
    let driver = Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(leak), None).load::<0>(&lab, "385100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.flush(handle).unwrap();
    program.exit(0);
    let report = lab.unload_driver(&driver).unwrap();
    assert!(!report.is_clean());
    assert!(report.to_string().contains("callback data #1"), "{report}");
}
