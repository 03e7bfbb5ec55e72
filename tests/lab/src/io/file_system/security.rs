//! Security descriptors and extended attributes.

use lab_executive::status;
use lab_volume::Ea;

use super::bytes::{Bytes, Fields, give};
use super::{Answer, Call, Failure, fail, status_of};
use crate::memory;

const SELF_RELATIVE: u16 = 0x8000;
const DACL_PRESENT: u16 = 0x4;

/// A self-relative copy of the descriptor at `at`, absolute or self-relative; `None` if it makes no sense.
pub(crate) fn self_relative(at: *const u8) -> Option<Vec<u8>> {
    let control = memory::read(at.wrapping_add(2).cast::<u16>());
    let part = |index: usize| -> *const u8 {
        if control & SELF_RELATIVE != 0 {
            let offset = memory::read(at.wrapping_add(4 + index * 4).cast::<u32>());
            if offset == 0 { std::ptr::null() } else { at.wrapping_add(offset as usize) }
        } else {
            memory::read(at.wrapping_add(8 + index * 8).cast::<*const u8>())
        }
    };
    let sid = |at: *const u8| {
        if at.is_null() {
            Vec::new()
        } else {
            memory::bytes(at, 8 + 4 * usize::from(memory::read(at.wrapping_add(1))))
        }
    };
    let acl = |at: *const u8| {
        if at.is_null() {
            Vec::new()
        } else {
            memory::bytes(at, usize::from(memory::read(at.wrapping_add(2).cast::<u16>())))
        }
    };
    if memory::read(at) != 1 {
        return None;
    }
    let dacl = if control & DACL_PRESENT != 0 { acl(part(3)) } else { Vec::new() };
    let parts = [sid(part(0)), sid(part(1)), Vec::new(), dacl];
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&((control & 0x3C0F) | SELF_RELATIVE).to_le_bytes());
    let mut offset = 20u32;
    for part in &parts {
        bytes.extend_from_slice(&if part.is_empty() { 0u32 } else { offset }.to_le_bytes());
        offset += part.len() as u32;
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    Some(bytes)
}

pub(super) fn query(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this query; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.QuerySecurity };
    let whole = call.with_volume(|volume| volume.security(open))?;
    let length = parameters.Length as usize;
    if length < whole.len() {
        return Err(Failure { status: status_of::BUFFER_OVERFLOW, information: whole.len() });
    }
    give(call, parameters.SecurityBuffer, length, 0, &Bytes(whole.to_vec()))
}

pub(super) fn set(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this request; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.SetSecurity };
    let Some(new) = self_relative(parameters.SecurityDescriptor.cast()) else {
        return fail(0xC000_0079_u32.cast_signed());
    };
    let old = call.with_volume(|volume| volume.security(open))?;
    let merged = merge(&old, &new, parameters.SecurityInformation);
    call.with_volume(|volume| volume.set_security(open, &merged))?;
    Ok(0)
}

/// Takes owner (1), group (2) and DACL (4) from `new` where asked, the rest from `old`.
fn merge(old: &[u8], new: &[u8], which: u32) -> Vec<u8> {
    let long = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])) as usize
    };
    let word =
        |bytes: &[u8], at: usize| bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
    let sid = |bytes: &[u8], at: usize| -> Vec<u8> {
        let offset = long(bytes, at);
        let length = bytes.get(offset + 1).map_or(0, |count| 8 + 4 * usize::from(*count));
        if offset == 0 { Vec::new() } else { bytes.get(offset..offset + length).unwrap_or_default().to_vec() }
    };
    let acl = |bytes: &[u8]| -> Vec<u8> {
        let offset = long(bytes, 16);
        let length = usize::from(word(bytes, offset + 2));
        if offset == 0 { Vec::new() } else { bytes.get(offset..offset + length).unwrap_or_default().to_vec() }
    };
    let from = |bit: u32| if which & bit != 0 { new } else { old };
    let dacl_source = from(4);
    let parts = [sid(from(1), 4), sid(from(2), 8), Vec::new(), acl(dacl_source)];
    let control = SELF_RELATIVE | (word(dacl_source, 2) & 0x1404);
    let mut merged = vec![1, 0];
    merged.extend_from_slice(&control.to_le_bytes());
    let mut offset = 20u32;
    for part in &parts {
        merged.extend_from_slice(&if part.is_empty() { 0u32 } else { offset }.to_le_bytes());
        offset += part.len() as u32;
    }
    parts.iter().for_each(|part| merged.extend_from_slice(part));
    merged
}

/// Reads a chain of FILE_FULL_EA_INFORMATION.
pub(crate) fn parse_eas(buffer: &[u8]) -> Result<Vec<Ea>, Failure> {
    const EA_LIST_INCONSISTENT: i32 = 0x8000_0014_u32.cast_signed();
    let mut eas = Vec::new();
    let mut at = 0;
    loop {
        let entry = Fields(buffer.get(at..).unwrap_or_default());
        let parsed = (|| -> Result<_, Failure> {
            let (next, flags) = (entry.u32(0)? as usize, entry.u8(4)?);
            let (name, value) = (usize::from(entry.u8(5)?), usize::from(entry.u16(6)?));
            let bytes = |from: usize, len: usize| entry.0.get(from..from + len).map(<[u8]>::to_vec);
            match (bytes(8, name), bytes(8 + name + 1, value)) {
                (Some(name), Some(value)) => Ok((next, Ea { flags, name, value })),
                _ => fail(EA_LIST_INCONSISTENT),
            }
        })();
        let (next, ea) = parsed.or_else(|_| fail(EA_LIST_INCONSISTENT))?;
        eas.push(ea);
        if next == 0 {
            return Ok(eas);
        }
        at += next;
    }
}

pub(super) fn query_ea(call: &Call<'_>) -> Answer {
    const NO_EAS_ON_FILE: i32 = 0xC000_0052_u32.cast_signed();
    let open = call.open();
    // SAFETY: the union member of this query; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.QueryEa };
    let eas = call.with_volume(|volume| volume.eas(open))?;
    if eas.is_empty() {
        return fail(NO_EAS_ON_FILE);
    }
    if !parameters.EaList.is_null() {
        return fail(status::NOT_SUPPORTED);
    }
    let mut answer = Bytes::default();
    for (index, ea) in eas.iter().enumerate() {
        let size = 8 + ea.name.len() + 1 + ea.value.len();
        let last = index + 1 == eas.len();
        let next = if last { 0 } else { size.next_multiple_of(4) };
        answer = answer.u32(next as u32).u8(ea.flags).u8(ea.name.len() as u8).u16(ea.value.len() as u16);
        answer = answer.bytes(&ea.name).u8(0).bytes(&ea.value).zeros(if last { 0 } else { next - size });
    }
    give(call, parameters.EaBuffer, parameters.Length as usize, 8, &answer)
}

pub(super) fn set_ea(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this request; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.SetEa };
    let length = parameters.Length as usize;
    let eas = parse_eas(&memory::bytes(call.buffer(parameters.EaBuffer, length), length))?;
    call.with_volume(|volume| volume.set_ea(open, &eas))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eas_are_read_and_broken_lists_refused() {
        let mut list = vec![16, 0, 0, 0, 0, 1, 2, 0, b'A', 0, 7, 8, 0, 0, 0, 0];
        list.extend_from_slice(&[0, 0, 0, 0, 0x80, 1, 0, 0, b'B', 0]);
        let eas = parse_eas(&list).unwrap();
        assert_eq!((eas[0].name.as_slice(), eas[0].value.as_slice()), (&b"A"[..], &[7, 8][..]));
        assert_eq!((eas[1].flags, eas[1].name.as_slice()), (0x80, &b"B"[..]));
        for length in 0..list.len() - 1 {
            assert!(parse_eas(&list[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn an_absolute_descriptor_becomes_self_relative() {
        let owner = lab_volume::LOCAL_SYSTEM;
        let acl = [2u8, 0, 8, 0, 0, 0, 0, 0];
        let mut absolute = vec![1u8, 0, 4, 0, 0, 0, 0, 0];
        for part in [owner.as_ptr().addr(), 0, 0, acl.as_ptr().addr()] {
            absolute.extend_from_slice(&part.to_le_bytes());
        }
        let relative = self_relative(absolute.as_ptr()).unwrap();
        assert!(lab_volume::is_descriptor(&relative));
        assert_eq!(self_relative(relative.as_ptr()).unwrap(), relative);
        assert_eq!(merge(&relative, &relative, 7), relative);
    }
}
