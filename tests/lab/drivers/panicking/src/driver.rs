//! The whole driver.

use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING};

/// The stop code of `bugcodes.h` for a crash that software asked for.
const MANUALLY_INITIATED_CRASH: u32 = 0xE2;

static STATUSES: [NTSTATUS; 3] = [0, 1, 2];

/// Panics when the registry path is three characters long or longer, as every real one is.
///
/// # Safety
/// Called by Windows, once, with the driver's own objects.
#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(_driver: *mut DRIVER_OBJECT, path: PCUNICODE_STRING) -> NTSTATUS {
    // SAFETY: Windows passes a valid string.
    let length = unsafe { (*path).Length };
    STATUSES[usize::from(length) / 2]
}

#[panic_handler]
fn panic(_information: &core::panic::PanicInfo) -> ! {
    // SAFETY: KeBugCheckEx may be called at any time, and does not return.
    unsafe { wdk_sys::ntddk::KeBugCheckEx(MANUALLY_INITIATED_CRASH, 0, 0, 0, 0) }
}
