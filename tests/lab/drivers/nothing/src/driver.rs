//! The whole driver.

use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use fltkernel::*;
use wdk_sys::{DRIVER_OBJECT, PCUNICODE_STRING};

#[link(name = "FLTMGR.SYS", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    fn FltRegisterFilter(
        driver: PDRIVER_OBJECT,
        registration: *const FLT_REGISTRATION,
        filter: *mut PFLT_FILTER,
    ) -> NTSTATUS;
    fn FltStartFiltering(filter: PFLT_FILTER) -> NTSTATUS;
    fn FltUnregisterFilter(filter: PFLT_FILTER);
}

const SUCCESS: NTSTATUS = 0;
/// The stop code of `bugcodes.h` for a crash that software asked for.
const MANUALLY_INITIATED_CRASH: u32 = 0xE2;

static FILTER: AtomicPtr<core::ffi::c_void> = AtomicPtr::new(null_mut());

/// A table that is only ever read, by the Filter Manager.
struct Table<T>(T);
// SAFETY: the pointers in it refer to statics and functions, and nobody writes.
unsafe impl<T> Sync for Table<T> {}

const fn operation(major_function: u8) -> FLT_OPERATION_REGISTRATION {
    FLT_OPERATION_REGISTRATION {
        MajorFunction: major_function,
        Flags: 0,
        PreOperation: Some(before),
        PostOperation: Some(after),
        Reserved1: null_mut(),
    }
}

static OPERATIONS: Table<[FLT_OPERATION_REGISTRATION; 10]> = Table([
    operation(IRP_MJ_CREATE),
    operation(IRP_MJ_READ),
    operation(IRP_MJ_WRITE),
    operation(IRP_MJ_QUERY_INFORMATION),
    operation(IRP_MJ_SET_INFORMATION),
    operation(IRP_MJ_DIRECTORY_CONTROL),
    operation(IRP_MJ_FLUSH_BUFFERS),
    operation(IRP_MJ_CLEANUP),
    operation(IRP_MJ_CLOSE),
    FLT_OPERATION_REGISTRATION {
        MajorFunction: IRP_MJ_OPERATION_END,
        Flags: 0,
        PreOperation: None,
        PostOperation: None,
        Reserved1: null_mut(),
    },
]);

static REGISTRATION: Table<FLT_REGISTRATION> = Table(FLT_REGISTRATION {
    Size: size_of::<FLT_REGISTRATION>() as u16,
    Version: FLT_REGISTRATION_VERSION,
    Flags: 0,
    ContextRegistration: null(),
    OperationRegistration: &raw const OPERATIONS.0 as *const FLT_OPERATION_REGISTRATION,
    FilterUnloadCallback: Some(unload),
    InstanceSetupCallback: None,
    InstanceQueryTeardownCallback: Some(detach),
    InstanceTeardownStartCallback: None,
    InstanceTeardownCompleteCallback: None,
    GenerateFileNameCallback: null_mut(),
    NormalizeNameComponentCallback: null_mut(),
    NormalizeContextCleanupCallback: null_mut(),
    TransactionNotificationCallback: None,
    NormalizeNameComponentExCallback: null_mut(),
    SectionNotificationCallback: null_mut(),
});

unsafe extern "system" fn before(
    _data: *mut FLT_CALLBACK_DATA,
    _objects: *const FLT_RELATED_OBJECTS,
    _context: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "system" fn after(
    _data: *mut FLT_CALLBACK_DATA,
    _objects: *const FLT_RELATED_OBJECTS,
    _context: PVOID,
    _flags: u32,
) -> FLT_POSTOP_CALLBACK_STATUS {
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "system" fn detach(_objects: *const FLT_RELATED_OBJECTS, _flags: u32) -> NTSTATUS {
    SUCCESS
}

unsafe extern "system" fn unload(_flags: u32) -> NTSTATUS {
    // SAFETY: the filter was registered, or nobody could call this.
    unsafe { FltUnregisterFilter(FILTER.load(Ordering::Acquire)) };
    SUCCESS
}

/// Registers the filter and starts it.
///
/// # Safety
/// Called by Windows, once, with the driver's own objects.
#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(driver: *mut DRIVER_OBJECT, _path: PCUNICODE_STRING) -> NTSTATUS {
    let mut filter: PFLT_FILTER = null_mut();
    // SAFETY: the registration is a static, and `filter` outlives the call.
    let status = unsafe { FltRegisterFilter(driver.cast(), &raw const REGISTRATION.0, &mut filter) };
    if status < 0 {
        return status;
    }
    FILTER.store(filter, Ordering::Release);
    // SAFETY: just registered.
    let status = unsafe { FltStartFiltering(filter) };
    if status < 0 {
        // SAFETY: registered, and not started.
        unsafe { FltUnregisterFilter(filter) };
    }
    status
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo) -> ! {
    // SAFETY: KeBugCheckEx may be called at any time, and does not return.
    unsafe { wdk_sys::ntddk::KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0) }
}
