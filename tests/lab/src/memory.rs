//! Reading and writing memory that lab and driver share.
//!
//! Addresses come from the driver, or from structures that the driver may write. That is what an import is: the
//! kernel follows pointers that it is given. A bad one is a processor fault, which the executive reports as a
//! violation naming the import and the driver's frames; it is never a Rust reference that would have to be valid.

use fltkernel::UNICODE_STRING;

/// The value at `at`.
pub(crate) fn read<T: Copy>(at: *const T) -> T {
    // SAFETY: see the module: a bad address faults and is reported. Unaligned access is allowed on x64.
    unsafe { at.read_unaligned() }
}

/// Puts `value` at `at`.
pub(crate) fn write<T: Copy>(at: *mut T, value: T) {
    // SAFETY: see the module.
    unsafe { at.write_unaligned(value) };
}

/// Puts `value` at `at` unless `at` is null, for optional out parameters.
pub(crate) fn write_optional<T: Copy>(at: *mut T, value: T) {
    if !at.is_null() {
        write(at, value);
    }
}

/// A copy of `len` bytes at `at`.
pub(crate) fn bytes(at: *const u8, len: usize) -> Vec<u8> {
    let mut copy = vec![0; len];
    if len > 0 {
        // SAFETY: see the module; the destination is ours and has `len` bytes.
        unsafe { std::ptr::copy_nonoverlapping(at, copy.as_mut_ptr(), len) };
    }
    copy
}

/// Copies `from` to `at`.
pub(crate) fn fill(at: *mut u8, from: &[u8]) {
    if !from.is_empty() {
        // SAFETY: see the module.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), at, from.len()) };
    }
}

/// Zeroes `len` bytes at `at`.
pub(crate) fn zero(at: *mut u8, len: usize) {
    // SAFETY: see the module.
    unsafe { std::ptr::write_bytes(at, 0, len) };
}

/// The units of a counted string.
pub(crate) fn units(string: &UNICODE_STRING) -> Vec<u16> {
    bytes(string.Buffer.cast(), usize::from(string.Length) & !1)
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// The units of the counted string at `at`; empty if `at` is null.
pub(crate) fn units_at(at: *const UNICODE_STRING) -> Vec<u16> {
    if at.is_null() { Vec::new() } else { units(&read(at)) }
}

/// Copies `units` to `at`.
pub(crate) fn fill_units(at: *mut u16, units: &[u16]) {
    // SAFETY: see the module.
    unsafe { std::ptr::copy_nonoverlapping(units.as_ptr().cast::<u8>(), at.cast::<u8>(), units.len() * 2) };
}

/// The units of a Rust string.
pub(crate) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// Readable form of units; what is not UTF-16 becomes U+FFFD.
pub(crate) fn text(units: &[u16]) -> String {
    String::from_utf16_lossy(units)
}
