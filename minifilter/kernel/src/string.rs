//! Counted UTF-16 strings of the kernel as `widestring` slices, and back.

use fltkernel::UNICODE_STRING;
use widestring::U16Str;

use crate::{Result, Status};

/// The units of a kernel string, for as long as the caller knows it to live.
///
/// # Safety
/// `string` is valid, and its buffer holds `Length` bytes for `'a`.
pub(crate) unsafe fn borrow_wdk<'a>(string: wdk_sys::PCUNICODE_STRING) -> &'a U16Str {
    // SAFETY: the caller's promise.
    let string = unsafe { &*string };
    // SAFETY: the caller's promise.
    unsafe { borrow_parts(string.Buffer, string.Length) }
}

/// The units of a Filter Manager string.
///
/// # Safety
/// The buffer holds `Length` bytes for `'a`.
pub(crate) unsafe fn borrow<'a>(string: &UNICODE_STRING) -> &'a U16Str {
    // SAFETY: the caller's promise.
    unsafe { borrow_parts(string.Buffer, string.Length) }
}

/// # Safety
/// `buffer` holds `bytes` bytes for `'a`, or `bytes` is zero.
unsafe fn borrow_parts<'a>(buffer: *const u16, bytes: u16) -> &'a U16Str {
    if buffer.is_null() {
        return U16Str::from_slice(&[]);
    }
    // SAFETY: the caller's promise.
    U16Str::from_slice(unsafe { core::slice::from_raw_parts(buffer, usize::from(bytes >> 1)) })
}

/// A kernel string over borrowed units; valid as long as they are, for routines that only read.
pub(crate) fn unicode(units: &U16Str) -> Result<wdk_sys::UNICODE_STRING> {
    let bytes = units.len().checked_mul(2).and_then(|bytes| u16::try_from(bytes).ok());
    let bytes = bytes.ok_or(Status::INVALID_PARAMETER)?;
    Ok(wdk_sys::UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_ptr().cast_mut() })
}

/// Simple upcase of one unit by NT's table. Any IRQL up to DISPATCH_LEVEL on current systems; documented for
/// PASSIVE_LEVEL.
pub fn upcase(unit: u16) -> u16 {
    // SAFETY: a pure table look-up.
    unsafe { wdk_sys::ntddk::RtlUpcaseUnicodeChar(unit) }
}
