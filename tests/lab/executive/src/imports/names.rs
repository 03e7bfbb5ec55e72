//! Names and numbers in text: expressions, GUIDs, hashes, random numbers.

use lab_nt::UNICODE_STRING;

use crate::imports::raw::{put, put_bytes, text, wide};
use crate::pool::Kind;
use crate::strings::{is_name_in_expression, upcase};
use crate::{imports, status};

/// HASH_STRING_ALGORITHM_DEFAULT and _X65599 (wdm.h): the former means the latter.
const HASH_ALGORITHMS: [u32; 2] = [0, 1];
const WILDCARDS: &[u16] = &[b'*' as u16, b'?' as u16, b'<' as u16, b'>' as u16, b'"' as u16];

imports! {
    /// Names and numbers.
    pub static TABLE in "ntoskrnl.exe";

    /// Whether a name fits a pattern with `*`, `?` and the DOS wildcards. For a comparison without case the
    /// pattern is in upper case already.
    [ceiling: PASSIVE_LEVEL, Approximated("an upcase table of the caller's is ignored"), source: "ntifs/FsRtlIsNameInExpression: PASSIVE_LEVEL"]
    fn FsRtlIsNameInExpression(lab; pattern: *const UNICODE_STRING, name: *const UNICODE_STRING, ignore_case: u8, _table: *const u16) -> u8 {
        // SAFETY: the contract says valid strings.
        let (pattern, mut name) = unsafe { (wide(lab, pattern), wide(lab, name)) };
        if ignore_case != 0 {
            if pattern.iter().any(|u| upcase(*u) != *u) {
                lab.report("bad-parameter", "ntifs/FsRtlIsNameInExpression: Expression must be upper case if IgnoreCase",
                    "the pattern has lower-case letters");
            }
            name.iter_mut().for_each(|u| *u = upcase(*u));
        }
        u8::from(is_name_in_expression(&pattern, &name))
    }

    /// Whether a name has wildcards.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "ntifs/FsRtlDoesNameContainWildCards"]
    fn FsRtlDoesNameContainWildCards(lab; name: *const UNICODE_STRING) -> u8 {
        // SAFETY: the contract says a valid string.
        u8::from(unsafe { wide(lab, name) }.iter().any(|u| WILDCARDS.contains(u)))
    }

    /// A string's hash.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/RtlHashUnicodeString: x65599"]
    fn RtlHashUnicodeString(lab; string: *const UNICODE_STRING, ignore_case: u8, algorithm: u32, hash: *mut u32) -> i32 {
        if !HASH_ALGORITHMS.contains(&algorithm) {
            return status::INVALID_PARAMETER;
        }
        // SAFETY: the contract says a valid string and a writable hash.
        unsafe {
            let units = wide(lab, string);
            let value = units.iter().fold(0u32, |h, u| {
                let unit = if ignore_case != 0 { upcase(*u) } else { *u };
                h.wrapping_mul(65599).wrapping_add(u32::from(unit))
            });
            put(hash, value);
        }
        status::SUCCESS
    }

    /// Reads a number: with a sign, and a prefix 0x, 0o or 0b if no base is given.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlUnicodeStringToInteger: PASSIVE_LEVEL"]
    fn RtlUnicodeStringToInteger(lab; string: *const UNICODE_STRING, base: u32, value: *mut u32) -> i32 {
        // SAFETY: the contract says a valid string.
        let read = unsafe { text(lab, string) };
        let trimmed = read.trim_start_matches(|c: char| c <= ' ');
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let (base, digits) = match (base, digits.get(..2)) {
            (0, Some("0x")) => (16, &digits[2..]),
            (0, Some("0o")) => (8, &digits[2..]),
            (0, Some("0b")) => (2, &digits[2..]),
            (0, _) => (10, digits),
            (2 | 8 | 10 | 16, _) => (base, digits),
            _ => return status::INVALID_PARAMETER,
        };
        let number = digits.chars().map_while(|c| c.to_digit(base)).fold(0u32, |n, d| n.wrapping_mul(base).wrapping_add(d));
        // SAFETY: the contract says writable.
        unsafe { put(value, if negative { number.wrapping_neg() } else { number }) };
        status::SUCCESS
    }

    /// Writes a GUID as text; the caller frees it.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "wdm/RtlStringFromGUID: PASSIVE_LEVEL"]
    fn RtlStringFromGUID(lab; guid: *const [u8; 16], to: *mut UNICODE_STRING) -> i32 {
        // SAFETY: the contract says a GUID.
        let g = unsafe { guid.read_unaligned() };
        let tail: String = g[10..].iter().map(|b| format!("{b:02X}")).collect();
        let text = format!(
            "{{{:08X}-{:04X}-{:04X}-{:02X}{:02X}-{tail}}}",
            u32::from_le_bytes([g[0], g[1], g[2], g[3]]),
            u16::from_le_bytes([g[4], g[5]]),
            u16::from_le_bytes([g[6], g[7]]),
            g[8],
            g[9]
        );
        let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let buffer = lab.allocate(bytes.len(), Kind::Paged, u32::from_le_bytes(*b"RtlG"));
        // SAFETY: just allocated with this length; the string is writable.
        unsafe {
            put_bytes(buffer, &bytes);
            let length = bytes.len() as u16;
            put(to, UNICODE_STRING { Length: length - 2, MaximumLength: length, Buffer: buffer.cast() });
        }
        status::SUCCESS
    }

    /// Reads a GUID from text such as `{00000000-0000-0000-0000-000000000000}`.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/RtlGUIDFromString: PASSIVE_LEVEL"]
    fn RtlGUIDFromString(lab; string: *const UNICODE_STRING, guid: *mut [u8; 16]) -> i32 {
        // SAFETY: the contract says a valid string.
        let read = unsafe { text(lab, string) };
        let Some(inside) = read.strip_prefix('{').and_then(|r| r.strip_suffix('}')) else { return status::INVALID_PARAMETER };
        let parts: Vec<&str> = inside.split('-').collect();
        let shape = [8usize, 4, 4, 4, 12];
        if parts.len() != 5 || parts.iter().zip(shape).any(|(p, n)| p.len() != n || !p.bytes().all(|b| b.is_ascii_hexdigit())) {
            return status::INVALID_PARAMETER;
        }
        let mut bytes = [0u8; 16];
        let digits = parts.concat();
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).unwrap_or(0);
        }
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        // SAFETY: the contract says writable.
        unsafe { put(guid, bytes) };
        status::SUCCESS
    }

    /// A fresh GUID.
    [ceiling: PASSIVE_LEVEL, Approximated("from the lab's seed"), fails: Status, source: "ntddk/ExUuidCreate: PASSIVE_LEVEL"]
    fn ExUuidCreate(lab; guid: *mut [u8; 16]) -> i32 {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&lab.random.next().to_le_bytes());
        bytes[8..].copy_from_slice(&lab.random.next().to_le_bytes());
        bytes[7] = bytes[7] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        // SAFETY: the contract says writable.
        unsafe { put(guid, bytes) };
        status::SUCCESS
    }

    /// A random number; the seed is the caller's.
    [ceiling: APC_LEVEL, Approximated("another generator than Windows'"), source: "ntddk/RtlRandomEx"]
    fn RtlRandomEx(_lab; seed: *mut u32) -> u32 {
        // SAFETY: the contract says readable and writable.
        unsafe {
            let next = seed.read_unaligned().wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7FFF_FFFF;
            put(seed, next);
            next
        }
    }
}
