//! Time that only goes forward.

use wdk_sys::ntddk::KeQueryUnbiasedInterruptTime;

/// Milliseconds since the system was started, without those that it slept. Any IRQL.
pub fn milliseconds() -> u64 {
    const UNITS: u64 = 10_000;
    // SAFETY: no argument; any IRQL. In units of 100 ns.
    unsafe { KeQueryUnbiasedInterruptTime() }.wrapping_div(UNITS)
}
