//! Who may do what: rights, generic mapping, and a simple access check.
//!
//! Approximated: allow and deny ACEs (types 0 and 1) of a self-relative descriptor's DACL, in order; the
//! owner's READ_CONTROL and WRITE_DAC; no conditional, object or integrity ACEs, no privileges besides
//! [`Subject::privileged`]. A new file without a descriptor of its own gets a copy of its directory's
//! instead of an inherited one.

use std::sync::Arc;

/// Access rights of files and directories.
pub mod access {
    #![allow(missing_docs)]
    pub const READ_DATA: u32 = 0x1;
    pub const WRITE_DATA: u32 = 0x2;
    pub const APPEND_DATA: u32 = 0x4;
    pub const READ_EA: u32 = 0x8;
    pub const WRITE_EA: u32 = 0x10;
    pub const EXECUTE: u32 = 0x20;
    pub const DELETE_CHILD: u32 = 0x40;
    pub const READ_ATTRIBUTES: u32 = 0x80;
    pub const WRITE_ATTRIBUTES: u32 = 0x100;
    pub const DELETE: u32 = 0x1_0000;
    pub const READ_CONTROL: u32 = 0x2_0000;
    pub const WRITE_DAC: u32 = 0x4_0000;
    pub const WRITE_OWNER: u32 = 0x8_0000;
    pub const SYNCHRONIZE: u32 = 0x10_0000;
    pub const ACCESS_SYSTEM_SECURITY: u32 = 0x100_0000;
    pub const MAXIMUM_ALLOWED: u32 = 0x200_0000;
    pub const GENERIC_ALL: u32 = 0x1000_0000;
    pub const GENERIC_EXECUTE: u32 = 0x2000_0000;
    pub const GENERIC_WRITE: u32 = 0x4000_0000;
    pub const GENERIC_READ: u32 = 0x8000_0000;
    /// FILE_ALL_ACCESS.
    pub const ALL: u32 = 0x1F_01FF;
    /// FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE.
    pub const FILE_READ: u32 = 0x12_0089;
    pub const FILE_WRITE: u32 = 0x12_0116;
    pub const FILE_EXECUTE: u32 = 0x12_00A0;
    /// What makes an open a writer for TxF: a right of generic write that generic read lacks
    /// (`txf-ktm §3`, after Microsoft's avscan sample).
    pub const TXF_WRITER: u32 = WRITE_DATA
        | APPEND_DATA
        | DELETE
        | WRITE_ATTRIBUTES
        | WRITE_EA
        | WRITE_DAC
        | WRITE_OWNER
        | ACCESS_SYSTEM_SECURITY;
}

/// The file attributes that this crate gives a meaning to, and those it stores.
pub mod attributes {
    #![allow(missing_docs)]
    pub const READONLY: u32 = 0x1;
    pub const HIDDEN: u32 = 0x2;
    pub const SYSTEM: u32 = 0x4;
    pub const DIRECTORY: u32 = 0x10;
    pub const ARCHIVE: u32 = 0x20;
    pub const NORMAL: u32 = 0x80;
    pub const TEMPORARY: u32 = 0x100;
    pub const SPARSE_FILE: u32 = 0x200;
    pub const REPARSE_POINT: u32 = 0x400;
    pub const COMPRESSED: u32 = 0x800;
    pub const OFFLINE: u32 = 0x1000;
    pub const NOT_CONTENT_INDEXED: u32 = 0x2000;
    pub const ENCRYPTED: u32 = 0x4000;
    /// What a create or set-basic may set.
    pub const SETTABLE: u32 =
        READONLY | HIDDEN | SYSTEM | ARCHIVE | TEMPORARY | OFFLINE | NOT_CONTENT_INDEXED;
}

/// Turns generic rights into those of files.
pub fn map_generic(mut desired: u32) -> u32 {
    for (generic, specific) in [
        (access::GENERIC_READ, access::FILE_READ),
        (access::GENERIC_WRITE, access::FILE_WRITE),
        (access::GENERIC_EXECUTE, access::FILE_EXECUTE),
        (access::GENERIC_ALL, access::ALL),
    ] {
        if desired & generic != 0 {
            desired = desired & !generic | specific;
        }
    }
    desired
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Binary SIDs of the user and its groups.
    pub sids: Vec<Vec<u8>>,
    /// Passes every check, as with backup and restore privileges in force.
    pub privileged: bool,
}

/// S-1-1-0.
pub const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// S-1-5-18, the owner of what this crate makes.
pub const LOCAL_SYSTEM: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];

/// An access control entry for [`descriptor`].
#[derive(Clone, Copy, Debug)]
pub struct Ace<'a> {
    /// Allow or deny.
    pub allow: bool,
    /// Binary SID.
    pub sid: &'a [u8],
    /// Rights.
    pub mask: u32,
}

/// Builds a self-relative security descriptor with an owner, the same group, and a DACL.
pub fn descriptor(owner: &[u8], aces: &[Ace<'_>]) -> Arc<[u8]> {
    let mut acl = Vec::new();
    for ace in aces {
        acl.extend_from_slice(&[u8::from(!ace.allow), 0]);
        acl.extend_from_slice(&(8 + ace.sid.len() as u16).to_le_bytes());
        acl.extend_from_slice(&ace.mask.to_le_bytes());
        acl.extend_from_slice(ace.sid);
    }
    let (owner_at, group_at) = (20, 20 + owner.len() as u32);
    let dacl_at = group_at + owner.len() as u32;
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&0x8004u16.to_le_bytes());
    for offset in [owner_at, group_at, 0, dacl_at] {
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.extend_from_slice(owner);
    bytes.extend_from_slice(owner);
    bytes.extend_from_slice(&[2, 0]);
    bytes.extend_from_slice(&(8 + acl.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&(aces.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&acl);
    bytes.into()
}

/// Everyone may do everything: what the root directory starts with.
pub fn everyone_all() -> Arc<[u8]> {
    descriptor(LOCAL_SYSTEM, &[Ace { allow: true, sid: EVERYONE, mask: access::ALL }])
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn sid_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = 8 + 4 * usize::from(*bytes.get(at + 1)?);
    bytes.get(at..at + length)
}

/// Whether the bytes are a self-relative descriptor that this crate can read.
pub fn is_descriptor(bytes: &[u8]) -> bool {
    bytes.len() >= 20
        && bytes[0] == 1
        && word(bytes, 2).is_some_and(|control| control & 0x8000 != 0)
        && rights(bytes, &Subject::default()).is_some()
}

/// Everything that the DACL grants `subject`; `None` if the descriptor makes no sense.
fn rights(descriptor: &[u8], subject: &Subject) -> Option<u32> {
    let holds = |sid: &[u8]| sid == EVERYONE || subject.sids.iter().any(|own| own == sid);
    let control = word(descriptor, 2)?;
    let dacl = long(descriptor, 16)? as usize;
    if control & 0x4 == 0 || dacl == 0 {
        return Some(access::ALL);
    }
    let mut granted = 0;
    let mut denied = 0;
    let owner = long(descriptor, 4)? as usize;
    if owner != 0 && holds(sid_at(descriptor, owner)?) {
        granted |= access::READ_CONTROL | access::WRITE_DAC;
    }
    let count = word(descriptor, dacl + 4)?;
    let mut at = dacl + 8;
    for _ in 0..count {
        let kind = *descriptor.get(at)?;
        let inherit_only = *descriptor.get(at + 1)? & 0x8 != 0;
        let size = word(descriptor, at + 2)?;
        if size < 8 {
            return None;
        }
        if kind <= 1 && !inherit_only && holds(sid_at(descriptor, at + 8)?) {
            let mask = map_generic(long(descriptor, at + 4)?);
            if kind == 0 {
                granted |= mask & !denied;
            } else {
                denied |= mask & !granted;
            }
        }
        at += size;
    }
    Some(granted)
}

/// What of the file's rights `subject` may have at most.
pub(crate) fn allowed(descriptor: &[u8], subject: Option<&Subject>) -> u32 {
    match subject {
        None => access::ALL | access::ACCESS_SYSTEM_SECURITY,
        Some(subject) if subject.privileged => access::ALL | access::ACCESS_SYSTEM_SECURITY,
        // A descriptor that cannot be read protects everything.
        Some(subject) => rights(descriptor, subject).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 77, 0, 0, 0];

    fn user() -> Subject {
        Subject { sids: vec![USER.to_vec()], privileged: false }
    }

    #[test]
    fn a_deny_entry_before_an_allow_entry_wins() {
        let bytes = descriptor(
            LOCAL_SYSTEM,
            &[
                Ace { allow: false, sid: USER, mask: access::WRITE_DATA },
                Ace { allow: true, sid: EVERYONE, mask: access::ALL },
            ],
        );
        assert!(is_descriptor(&bytes));
        assert_eq!(allowed(&bytes, Some(&user())), access::ALL & !access::WRITE_DATA);
        assert_eq!(allowed(&bytes, Some(&Subject::default())), access::ALL);
    }

    #[test]
    fn the_owner_may_read_and_change_the_descriptor() {
        let bytes = descriptor(USER, &[]);
        assert_eq!(allowed(&bytes, Some(&user())), access::READ_CONTROL | access::WRITE_DAC);
        assert_eq!(allowed(&bytes, Some(&Subject::default())), 0);
    }

    #[test]
    fn cut_descriptors_grant_nothing_and_do_not_panic() {
        let bytes = everyone_all();
        for length in 0..bytes.len() {
            assert_eq!(allowed(&bytes[..length], Some(&user())), 0, "{length}");
        }
    }

    #[test]
    fn generic_rights_become_specific_ones() {
        assert_eq!(map_generic(access::GENERIC_ALL), access::ALL);
        assert_eq!(map_generic(access::GENERIC_READ | access::DELETE), access::FILE_READ | access::DELETE);
    }
}
