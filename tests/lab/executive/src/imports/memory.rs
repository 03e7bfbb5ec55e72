//! Memory and compiler helpers.

use std::ffi::c_void;
use std::ptr;

use crate::imports;

imports! {
    /// Memory.
    pub static TABLE in "ntoskrnl.exe";

    /// Copies memory; the ranges may not overlap.
    [ceiling: HIGH_LEVEL, Modelled, source: "C standard, memcpy"]
    fn memcpy(lab; to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
        if to.addr().abs_diff(from.addr()) < bytes && to.addr() != from.addr() {
            lab.report("overlapping-copy", "wdm/RtlCopyMemory: the ranges must not overlap", format!("{bytes} bytes"));
        }
        // SAFETY: the contract says `bytes` at both; a bad pointer faults and is reported.
        unsafe { ptr::copy(from, to, bytes) };
        to
    }

    /// Copies memory; the ranges may overlap.
    [ceiling: HIGH_LEVEL, Modelled, source: "C standard, memmove"]
    fn memmove(_lab; to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
        // SAFETY: as in memcpy.
        unsafe { ptr::copy(from, to, bytes) };
        to
    }

    /// Fills memory.
    [ceiling: HIGH_LEVEL, Modelled, source: "C standard, memset"]
    fn memset(_lab; to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
        // SAFETY: as in memcpy.
        unsafe { ptr::write_bytes(to, value as u8, bytes) };
        to
    }

    /// Compares memory.
    [ceiling: HIGH_LEVEL, Modelled, source: "C standard, memcmp"]
    fn memcmp(_lab; a: *const u8, b: *const u8, bytes: usize) -> i32 {
        for i in 0..bytes {
            // SAFETY: the contract says `bytes` at both.
            let (a, b) = unsafe { (a.wrapping_add(i).read(), b.wrapping_add(i).read()) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
        0
    }

    /// How many bytes are equal from the start.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/RtlCompareMemory"]
    fn RtlCompareMemory(_lab; a: *const u8, b: *const u8, bytes: usize) -> usize {
        // SAFETY: the contract says `bytes` at both.
        (0..bytes).position(|i| unsafe { a.wrapping_add(i).read() != b.wrapping_add(i).read() }).unwrap_or(bytes)
    }

    /// Copies memory; the ranges may overlap.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/RtlMoveMemory"]
    fn RtlMoveMemory(_lab; to: *mut u8, from: *const u8, bytes: usize) {
        // SAFETY: as in memcpy.
        unsafe { ptr::copy(from, to, bytes) };
    }

    /// Zeroes memory.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/RtlZeroMemory"]
    fn RtlZeroMemory(_lab; to: *mut u8, bytes: usize) {
        // SAFETY: as in memcpy.
        unsafe { ptr::write_bytes(to, 0, bytes) };
    }

    /// Fills memory.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/RtlFillMemory"]
    fn RtlFillMemory(_lab; to: *mut u8, bytes: usize, value: i32) {
        // SAFETY: as in memcpy.
        unsafe { ptr::write_bytes(to, value as u8, bytes) };
    }

    /// The language handler that __try blocks name. Never called: no exceptions are dispatched.
    [ceiling: HIGH_LEVEL, Approximated("no exception is dispatched: a fault inside __try stops the run"), source: "x64 exception handling"]
    fn __C_specific_handler(lab; _record: *mut c_void, _frame: *mut c_void, _context: *mut c_void, _dispatcher: *mut c_void) -> i32 {
        lab.violate("unserved", "lab: no exceptions are dispatched", "the driver calls __C_specific_handler itself")
    }
}
