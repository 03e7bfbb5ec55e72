//! Unicode strings.

use lab_nt::UNICODE_STRING;

use crate::imports::raw::{put, put_bytes, wide};
use crate::strings::{compare, upcase};
use crate::{Lab, imports, status};

fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|u| u.to_le_bytes()).collect()
}

/// Appends `units` to a string, as far as it fits; terminates it if there is room.
///
/// # Safety
/// `to` is a valid UNICODE_STRING with a writable buffer.
unsafe fn append(to: *mut UNICODE_STRING, units: &[u16]) -> i32 {
    // SAFETY: by this function's contract.
    let mut string = unsafe { to.read_unaligned() };
    let (length, most) = (usize::from(string.Length), usize::from(string.MaximumLength));
    if length + units.len() * 2 > most {
        return status::BUFFER_TOO_SMALL;
    }
    let end = string.Buffer.cast::<u8>().wrapping_add(length);
    let total = length + units.len() * 2;
    // SAFETY: the buffer has MaximumLength bytes, and the sum was checked.
    unsafe {
        put_bytes(end, &bytes(units));
        if total + 2 <= most {
            put_bytes(string.Buffer.cast::<u8>().wrapping_add(total), &[0, 0]);
        }
        string.Length = total as u16;
        to.write_unaligned(string);
    }
    status::SUCCESS
}

/// A terminated string of the caller.
///
/// # Safety
/// `source` is null or terminated.
unsafe fn terminated(lab: &Lab, source: *const u16) -> Vec<u16> {
    if source.is_null() {
        return Vec::new();
    }
    // SAFETY: by this function's contract.
    let units: Vec<u16> = (0..=0x7FFF)
        .map(|i| unsafe { source.wrapping_add(i).read_unaligned() })
        .take_while(|u| *u != 0)
        .collect();
    if units.len() > 0x7FFE {
        lab.report(
            "bad-unicode-string",
            "wdm/RtlInitUnicodeString: at most 32766 characters",
            "the string is longer",
        );
    }
    units
}

imports! {
    /// Unicode strings.
    pub static TABLE in "ntoskrnl.exe";

    /// Points a UNICODE_STRING at a terminated string.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlInitUnicodeString"]
    fn RtlInitUnicodeString(lab; to: *mut UNICODE_STRING, source: *const u16) {
        // SAFETY: the contract says null or terminated.
        let units = unsafe { terminated(lab, source) };
        let length = (units.len() * 2) as u16;
        let most = if source.is_null() { 0 } else { length + 2 };
        // SAFETY: the contract says writable.
        unsafe { put(to, UNICODE_STRING { Length: length, MaximumLength: most, Buffer: source.cast_mut() }) };
    }

    /// Points a UNICODE_STRING at a terminated string, if it is not too long.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlInitUnicodeStringEx"]
    fn RtlInitUnicodeStringEx(lab; to: *mut UNICODE_STRING, source: *const u16) -> i32 {
        // SAFETY: the contract says null or terminated.
        let units = unsafe { terminated(lab, source) };
        let length = (units.len() * 2) as u16;
        let most = if source.is_null() { 0 } else { length + 2 };
        // SAFETY: the contract says writable.
        unsafe { put(to, UNICODE_STRING { Length: length, MaximumLength: most, Buffer: source.cast_mut() }) };
        status::SUCCESS
    }

    /// Compares two strings.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlCompareUnicodeString: PASSIVE_LEVEL"]
    fn RtlCompareUnicodeString(lab; a: *const UNICODE_STRING, b: *const UNICODE_STRING, ignore_case: u8) -> i32 {
        // SAFETY: the contract says valid strings.
        let (a, b) = unsafe { (wide(lab, a), wide(lab, b)) };
        compare(&a, &b, ignore_case != 0)
    }

    /// Whether two strings are equal.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlEqualUnicodeString: PASSIVE_LEVEL"]
    fn RtlEqualUnicodeString(lab; a: *const UNICODE_STRING, b: *const UNICODE_STRING, ignore_case: u8) -> u8 {
        // SAFETY: the contract says valid strings.
        let (a, b) = unsafe { (wide(lab, a), wide(lab, b)) };
        u8::from(a.len() == b.len() && compare(&a, &b, ignore_case != 0) == 0)
    }

    /// Whether a string begins with another.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "ntddk/RtlPrefixUnicodeString: PASSIVE_LEVEL"]
    fn RtlPrefixUnicodeString(lab; prefix: *const UNICODE_STRING, string: *const UNICODE_STRING, ignore_case: u8) -> u8 {
        // SAFETY: the contract says valid strings.
        let (prefix, string) = unsafe { (wide(lab, prefix), wide(lab, string)) };
        let begins = string.get(..prefix.len()).is_some_and(|start| compare(&prefix, start, ignore_case != 0) == 0);
        u8::from(begins)
    }

    /// Upper case of one UTF-16 unit.
    [ceiling: PASSIVE_LEVEL, Approximated("simple one-to-one upper case of Unicode, not Windows' own table"), source: "ntifs/RtlUpcaseUnicodeChar: PASSIVE_LEVEL"]
    fn RtlUpcaseUnicodeChar(_lab; unit: u16) -> u16 { upcase(unit) }

    /// Lower case of one UTF-16 unit.
    [ceiling: PASSIVE_LEVEL, Approximated("simple one-to-one lower case of Unicode, not Windows' own table"), source: "ntifs/RtlDowncaseUnicodeChar: PASSIVE_LEVEL"]
    fn RtlDowncaseUnicodeChar(_lab; unit: u16) -> u16 { crate::strings::downcase(unit) }

    /// Upper case of a string; may allocate the result.
    [ceiling: PASSIVE_LEVEL, Approximated("simple one-to-one upper case of Unicode, not Windows' own table"), fails: Status, source: "ntifs/RtlUpcaseUnicodeString: PASSIVE_LEVEL"]
    fn RtlUpcaseUnicodeString(lab; to: *mut UNICODE_STRING, from: *const UNICODE_STRING, allocate: u8) -> i32 {
        // SAFETY: the contract says valid strings.
        let units: Vec<u16> = unsafe { wide(lab, from) }.into_iter().map(upcase).collect();
        let length = units.len() * 2;
        // SAFETY: as above; the destination is a valid string unless it is to be allocated.
        unsafe {
            if allocate != 0 {
                let buffer = lab.allocate(length.max(1), crate::pool::Kind::Paged, u32::from_le_bytes(*b"RtlS"));
                put(to, UNICODE_STRING { Length: 0, MaximumLength: length as u16, Buffer: buffer.cast() });
            } else {
                let mut string = to.read_unaligned();
                if usize::from(string.MaximumLength) < length {
                    return status::BUFFER_OVERFLOW;
                }
                string.Length = 0;
                to.write_unaligned(string);
            }
            append(to, &units)
        }
    }

    /// Frees a string that a routine allocated.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlFreeUnicodeString: PASSIVE_LEVEL"]
    fn RtlFreeUnicodeString(lab; string: *mut UNICODE_STRING) {
        // SAFETY: the contract says a valid string.
        unsafe {
            let buffer = string.read_unaligned().Buffer;
            if !buffer.is_null() {
                lab.free(buffer.cast(), None);
            }
            put(string, UNICODE_STRING { Length: 0, MaximumLength: 0, Buffer: std::ptr::null_mut() });
        }
    }

    /// Copies a string, as far as it fits.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlCopyUnicodeString"]
    fn RtlCopyUnicodeString(lab; to: *mut UNICODE_STRING, from: *const UNICODE_STRING) {
        // SAFETY: the contract says valid strings, the second may be null.
        unsafe {
            let mut string = to.read_unaligned();
            let mut units = wide(lab, from);
            units.truncate(usize::from(string.MaximumLength) / 2);
            string.Length = 0;
            to.write_unaligned(string);
            append(to, &units);
        }
    }

    /// Appends a string.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlAppendUnicodeStringToString"]
    fn RtlAppendUnicodeStringToString(lab; to: *mut UNICODE_STRING, from: *const UNICODE_STRING) -> i32 {
        // SAFETY: the contract says valid strings.
        unsafe { let units = wide(lab, from); append(to, &units) }
    }

    /// Appends a terminated string.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlAppendUnicodeToString"]
    fn RtlAppendUnicodeToString(lab; to: *mut UNICODE_STRING, from: *const u16) -> i32 {
        // SAFETY: the contract says a valid string and null or a terminated one.
        unsafe { let units = terminated(lab, from); append(to, &units) }
    }

    /// Writes a number.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlIntegerToUnicodeString: PASSIVE_LEVEL"]
    fn RtlIntegerToUnicodeString(_lab; value: u32, base: u32, to: *mut UNICODE_STRING) -> i32 {
        let text = match base {
            0 | 10 => value.to_string(),
            2 => format!("{value:b}"),
            8 => format!("{value:o}"),
            16 => format!("{value:X}"),
            _ => return status::INVALID_PARAMETER,
        };
        let units: Vec<u16> = text.encode_utf16().collect();
        // SAFETY: the contract says a valid string.
        unsafe {
            let mut string = to.read_unaligned();
            if usize::from(string.MaximumLength) < units.len() * 2 {
                return status::BUFFER_OVERFLOW;
            }
            string.Length = 0;
            to.write_unaligned(string);
            append(to, &units)
        }
    }
}
