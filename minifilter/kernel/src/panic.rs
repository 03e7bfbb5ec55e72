//! What happens on a panic: a bug check, and nothing else in this crate calls `KeBugCheckEx`.
//!
//! So an image that does not import that function has no reachable panic.

/// A private code, recognisable in a dump ("Rust").
const BUG_CHECK_CODE: u32 = 0x5275_7374;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: may be called at any IRQL and does not return.
    unsafe { wdk_sys::ntddk::KeBugCheckEx(BUG_CHECK_CODE, 0, 0, 0, 0) }
}
