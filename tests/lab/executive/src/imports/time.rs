//! Time, all of it virtual.

use crate::imports;
use crate::imports::raw::put;

/// Performance counter ticks per second: one tick is the lab's unit of time.
const FREQUENCY: i64 = 10_000_000;

imports! {
    /// Time.
    pub static TABLE in "ntoskrnl.exe";

    /// System time.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQuerySystemTimePrecise"]
    fn KeQuerySystemTimePrecise(lab; time: *mut i64) {
        // SAFETY: the contract says writable.
        unsafe { put(time, lab.scheduler.now()) };
    }

    /// Performance counter, and its frequency if asked.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQueryPerformanceCounter"]
    fn KeQueryPerformanceCounter(lab; frequency: *mut i64) -> i64 {
        // SAFETY: the contract says null or writable.
        unsafe { put(frequency, FREQUENCY) };
        lab.scheduler.interrupt_time()
    }

    /// Time since boot.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQueryInterruptTime"]
    fn KeQueryInterruptTime(lab;) -> u64 { lab.scheduler.interrupt_time().unsigned_abs() }

    /// Time since boot, and the performance counter.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQueryInterruptTimePrecise"]
    fn KeQueryInterruptTimePrecise(lab; counter: *mut u64) -> u64 {
        let time = lab.scheduler.interrupt_time().unsigned_abs();
        // SAFETY: the contract says writable.
        unsafe { put(counter, time) };
        time
    }

    /// Time since boot; the lab never sleeps.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQueryUnbiasedInterruptTime"]
    fn KeQueryUnbiasedInterruptTime(lab;) -> u64 { lab.scheduler.interrupt_time().unsigned_abs() }

    /// Length of a clock tick: 15.625 ms.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeQueryTimeIncrement"]
    fn KeQueryTimeIncrement(_lab;) -> u32 { 156_250 }

    /// Local time; the lab lives in UTC.
    [ceiling: HIGH_LEVEL, Approximated("local time is UTC"), source: "wdm/ExSystemTimeToLocalTime"]
    fn ExSystemTimeToLocalTime(_lab; system: *const i64, local: *mut i64) {
        // SAFETY: the contract says a readable and a writable time.
        unsafe { put(local, system.read_unaligned()) };
    }
}
