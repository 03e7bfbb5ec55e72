//! Security identifiers, ACLs and descriptors; layouts as in winnt.h.

use crate::import::Target;
use crate::imports::raw::{put, put_bytes};
use crate::irql::{HIGH_LEVEL, PASSIVE_LEVEL};
use crate::{Fidelity, Import, Lab, imports, status};

const SID_HEAD: usize = 8;
const ACL_HEAD: usize = 8;
const ACE_HEAD: usize = 8;
const ACL_REVISIONS: std::ops::RangeInclusive<u32> = 2..=4;
/// Absolute SECURITY_DESCRIPTOR: revision, control, then owner, group, SACL and DACL pointers.
const DESCRIPTOR: usize = 40;
const CONTROL: usize = 2;
const OWNER: usize = 8;
const GROUP: usize = 16;
const DACL: usize = 32;
const OWNER_DEFAULTED: u16 = 1;
const GROUP_DEFAULTED: u16 = 2;
const DACL_PRESENT: u16 = 4;
const DACL_DEFAULTED: u16 = 8;

/// # Safety
/// `sid` is readable as a SID.
unsafe fn sid_length(sid: *const u8) -> usize {
    // SAFETY: by this function's contract; the count of sub-authorities is the second byte.
    SID_HEAD + 4 * usize::from(unsafe { sid.wrapping_add(1).read() })
}

/// Bytes used by an ACL's entries, if they are sound.
///
/// # Safety
/// `acl` is readable as an ACL.
unsafe fn acl_used(acl: *const u8) -> Option<usize> {
    // SAFETY: by this function's contract; every entry is checked against the ACL's size before it is read.
    unsafe {
        let size = usize::from(acl.wrapping_add(2).cast::<u16>().read_unaligned());
        let count = acl.wrapping_add(4).cast::<u16>().read_unaligned();
        let mut used = ACL_HEAD;
        for _ in 0..count {
            if used + ACE_HEAD > size {
                return None;
            }
            let ace = usize::from(acl.wrapping_add(used + 2).cast::<u16>().read_unaligned());
            if ace < ACE_HEAD || used + ace > size {
                return None;
            }
            used += ace;
        }
        Some(used)
    }
}

/// # Safety
/// `acl` and `sid` are valid for their kinds.
unsafe fn add_ace(acl: *mut u8, kind: u8, flags: u32, mask: u32, sid: *const u8) -> i32 {
    // SAFETY: by this function's contract.
    unsafe {
        let Some(used) = acl_used(acl) else { return status::INVALID_ACL };
        let length = sid_length(sid);
        let size = usize::from(acl.wrapping_add(2).cast::<u16>().read_unaligned());
        let ace = ACE_HEAD + length;
        if used + ace > size {
            return status::ALLOTTED_SPACE_EXCEEDED;
        }
        let at = acl.wrapping_add(used);
        put_bytes(at, &[kind, flags as u8]);
        at.wrapping_add(2).cast::<u16>().write_unaligned(ace as u16);
        at.wrapping_add(4).cast::<u32>().write_unaligned(mask);
        std::ptr::copy(sid, at.wrapping_add(ACE_HEAD), length);
        let count = acl.wrapping_add(4).cast::<u16>();
        count.write_unaligned(count.read_unaligned() + 1);
    }
    status::SUCCESS
}

/// # Safety
/// `descriptor` is an absolute security descriptor.
unsafe fn set_part(descriptor: *mut u8, offset: usize, part: *mut u8, bits: u16, on: u16) -> i32 {
    // SAFETY: by this function's contract; the fields lie inside its 40 bytes.
    unsafe {
        if descriptor.read() != 1 {
            return status::REVISION_MISMATCH;
        }
        let control = descriptor.wrapping_add(CONTROL).cast::<u16>();
        control.write_unaligned(control.read_unaligned() & !bits | on);
        descriptor.wrapping_add(offset).cast::<*mut u8>().write_unaligned(part);
    }
    status::SUCCESS
}

imports! {
    /// Security.
    pub static TABLE in "ntoskrnl.exe";

    /// Whether the calling thread holds a privilege; kernel mode holds them all.
    [ceiling: PASSIVE_LEVEL, Approximated("Local System holds and has enabled every privilege, other users none"), source: "ntddk/SeSinglePrivilegeCheck"]
    fn SeSinglePrivilegeCheck(lab; _privilege: u64, previous_mode: u8) -> u8 {
        let system = lab.thread().process().is_some_and(|process| process.user == crate::process::LOCAL_SYSTEM);
        u8::from(previous_mode == 0 || system)
    }

    /// Length of a SID.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlLengthSid"]
    fn RtlLengthSid(_lab; sid: *const u8) -> u32 {
        // SAFETY: the contract says a valid SID.
        unsafe { sid_length(sid) as u32 }
    }

    /// Length of a SID with a count of sub-authorities.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlLengthRequiredSid"]
    fn RtlLengthRequiredSid(_lab; count: u32) -> u32 { SID_HEAD as u32 + 4 * count }

    /// Begins a SID.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlInitializeSid"]
    fn RtlInitializeSid(_lab; sid: *mut u8, authority: *const [u8; 6], count: u8) -> i32 {
        if count > 15 {
            return status::INVALID_PARAMETER;
        }
        // SAFETY: the contract says room for the SID, and an authority.
        unsafe {
            put_bytes(sid, &[1, count]);
            put_bytes(sid.wrapping_add(2), &authority.read());
        }
        status::SUCCESS
    }

    /// Address of a sub-authority.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlSubAuthoritySid"]
    fn RtlSubAuthoritySid(_lab; sid: *mut u8, index: u32) -> *mut u32 {
        sid.wrapping_add(SID_HEAD + 4 * index as usize).cast()
    }

    /// Whether a SID is sound.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlValidSid"]
    fn RtlValidSid(_lab; sid: *const u8) -> u8 {
        // SAFETY: the contract says two readable bytes at least.
        unsafe { u8::from(sid.read() & 0xF == 1 && sid.wrapping_add(1).read() <= 15) }
    }

    /// Whether two SIDs are equal.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlEqualSid"]
    fn RtlEqualSid(_lab; a: *const u8, b: *const u8) -> u8 {
        // SAFETY: the contract says valid SIDs.
        unsafe {
            let (x, y) = (sid_length(a), sid_length(b));
            u8::from(x == y && std::slice::from_raw_parts(a, x) == std::slice::from_raw_parts(b, y))
        }
    }

    /// Copies a SID.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlCopySid"]
    fn RtlCopySid(_lab; room: u32, to: *mut u8, from: *const u8) -> i32 {
        // SAFETY: the contract says a valid SID and `room` writable bytes.
        unsafe {
            let length = sid_length(from);
            if (room as usize) < length {
                return status::BUFFER_TOO_SMALL;
            }
            std::ptr::copy(from, to, length);
        }
        status::SUCCESS
    }

    /// Begins an ACL.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlCreateAcl"]
    fn RtlCreateAcl(_lab; acl: *mut u8, length: u32, revision: u32) -> i32 {
        if (length as usize) < ACL_HEAD {
            return status::BUFFER_TOO_SMALL;
        }
        if !ACL_REVISIONS.contains(&revision) || length > 0xFFFC {
            return status::INVALID_PARAMETER;
        }
        let size = (length as u16 & !3).to_le_bytes();
        // SAFETY: the contract says `length` writable bytes.
        unsafe { put_bytes(acl, &[revision as u8, 0, size[0], size[1], 0, 0, 0, 0]) };
        status::SUCCESS
    }

    /// Appends an entry that grants access.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlAddAccessAllowedAce"]
    fn RtlAddAccessAllowedAce(_lab; acl: *mut u8, revision: u32, mask: u32, sid: *const u8) -> i32 {
        if !ACL_REVISIONS.contains(&revision) {
            return status::REVISION_MISMATCH;
        }
        // SAFETY: the contract says a valid ACL and SID.
        unsafe { add_ace(acl, 0, 0, mask, sid) }
    }

    /// Appends an entry that grants access, with flags.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlAddAccessAllowedAceEx"]
    fn RtlAddAccessAllowedAceEx(_lab; acl: *mut u8, revision: u32, flags: u32, mask: u32, sid: *const u8) -> i32 {
        if !ACL_REVISIONS.contains(&revision) {
            return status::REVISION_MISMATCH;
        }
        // SAFETY: the contract says a valid ACL and SID.
        unsafe { add_ace(acl, 0, flags, mask, sid) }
    }

    /// Begins an absolute security descriptor.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/RtlCreateSecurityDescriptor"]
    fn RtlCreateSecurityDescriptor(_lab; descriptor: *mut u8, revision: u32) -> i32 {
        if revision != 1 {
            return status::REVISION_MISMATCH;
        }
        // SAFETY: the contract says room for a SECURITY_DESCRIPTOR.
        unsafe {
            std::ptr::write_bytes(descriptor, 0, DESCRIPTOR);
            descriptor.write(1);
        }
        status::SUCCESS
    }

    /// Sets a descriptor's DACL.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/RtlSetDaclSecurityDescriptor"]
    fn RtlSetDaclSecurityDescriptor(_lab; descriptor: *mut u8, present: u8, dacl: *mut u8, defaulted: u8) -> i32 {
        let on = if present == 0 { 0 } else { DACL_PRESENT | if defaulted != 0 { DACL_DEFAULTED } else { 0 } };
        let dacl = if present == 0 { std::ptr::null_mut() } else { dacl };
        // SAFETY: the contract says an absolute security descriptor.
        unsafe { set_part(descriptor, DACL, dacl, DACL_PRESENT | DACL_DEFAULTED, on) }
    }

    /// Sets a descriptor's owner.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlSetOwnerSecurityDescriptor"]
    fn RtlSetOwnerSecurityDescriptor(_lab; descriptor: *mut u8, owner: *mut u8, defaulted: u8) -> i32 {
        let on = if defaulted != 0 { OWNER_DEFAULTED } else { 0 };
        // SAFETY: the contract says an absolute security descriptor.
        unsafe { set_part(descriptor, OWNER, owner, OWNER_DEFAULTED, on) }
    }

    /// Sets a descriptor's group.
    [ceiling: APC_LEVEL, Modelled, source: "ntifs/RtlSetGroupSecurityDescriptor"]
    fn RtlSetGroupSecurityDescriptor(_lab; descriptor: *mut u8, group: *mut u8, defaulted: u8) -> i32 {
        let on = if defaulted != 0 { GROUP_DEFAULTED } else { 0 };
        // SAFETY: the contract says an absolute security descriptor.
        unsafe { set_part(descriptor, GROUP, group, GROUP_DEFAULTED, on) }
    }

    /// Whether an absolute descriptor is sound.
    [ceiling: APC_LEVEL, Approximated("checks the revision and the DACL's entries"), source: "wdm/RtlValidSecurityDescriptor"]
    fn RtlValidSecurityDescriptor(_lab; descriptor: *const u8) -> u8 {
        // SAFETY: the contract says an absolute security descriptor.
        unsafe {
            let dacl = descriptor.wrapping_add(DACL).cast::<*const u8>().read_unaligned();
            u8::from(descriptor.read() == 1 && (dacl.is_null() || acl_used(dacl).is_some()))
        }
    }
}

/// The LUIDs at the start of SE_EXPORTS, in its order (ntifs.h, winnt.h SE_…_PRIVILEGE).
const PRIVILEGES: [u32; 23] =
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 14, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24];

/// The SIDs after them: authority and sub-authorities.
const SIDS: [(u8, &[u32]); 22] = [
    (0, &[0]),
    (1, &[0]),
    (2, &[0]),
    (3, &[0]),
    (3, &[1]),
    (5, &[]),
    (5, &[1]),
    (5, &[2]),
    (5, &[3]),
    (5, &[4]),
    (5, &[18]),
    (5, &[32, 544]),
    (5, &[32, 545]),
    (5, &[32, 546]),
    (5, &[32, 547]),
    (5, &[32, 548]),
    (5, &[32, 549]),
    (5, &[32, 550]),
    (5, &[32, 551]),
    (5, &[11]),
    (5, &[12]),
    (5, &[7]),
];

/// What follows: undock, sync agent and delegation privileges, local and network service, manage volume.
const LATER_PRIVILEGES: [u32; 3] = [25, 26, 27];
const LATER_SIDS: [(u8, &[u32]); 2] = [(5, &[19]), (5, &[20])];
const MANAGE_VOLUME: u32 = 28;

/// A SID's bytes.
pub fn sid(authority: u8, sub_authorities: &[u32]) -> Vec<u8> {
    let mut sid = vec![1, sub_authorities.len() as u8, 0, 0, 0, 0, 0, authority];
    sub_authorities.iter().for_each(|s| sid.extend(s.to_le_bytes()));
    sid
}

/// The variable that the import `SeExports` names, made on first use.
#[derive(Default)]
struct SeExports(std::cell::Cell<Option<usize>>);

fn se_exports(lab: &Lab) -> *const u8 {
    let room = lab.room::<SeExports>();
    let address = room.0.get().unwrap_or_else(|| {
        let address = make_se_exports(lab).expose_provenance();
        room.0.set(Some(address));
        address
    });
    std::ptr::with_exposed_provenance(address)
}

fn make_se_exports(lab: &Lab) -> *mut u8 {
    let mut bytes = Vec::new();
    let luid = |bytes: &mut Vec<u8>, value: u32| {
        bytes.extend(value.to_le_bytes());
        bytes.extend([0; 4]);
    };
    let pointer = |bytes: &mut Vec<u8>, (authority, rest): (u8, &[u32])| {
        let sid = sid(authority, rest);
        let memory = lab.allocate_own(sid.len(), b"SeSd");
        // SAFETY: just allocated with this length.
        unsafe { put_bytes(memory, &sid) };
        bytes.extend((memory.expose_provenance() as u64).to_le_bytes());
    };
    PRIVILEGES.iter().for_each(|p| luid(&mut bytes, *p));
    SIDS.iter().for_each(|s| pointer(&mut bytes, *s));
    LATER_PRIVILEGES.iter().for_each(|p| luid(&mut bytes, *p));
    LATER_SIDS.iter().for_each(|s| pointer(&mut bytes, *s));
    luid(&mut bytes, MANAGE_VOLUME);
    let exports = lab.allocate_own(bytes.len() + 256, b"SeEx");
    let variable = lab.allocate_own(8, b"SeEx");
    // SAFETY: both were just allocated with room for what is written.
    unsafe {
        put_bytes(exports, &bytes);
        put(variable.cast::<*mut u8>(), exports);
    }
    variable
}

static SE_EXPORTS: Import = Import {
    module: "ntoskrnl.exe",
    name: "SeExports",
    target: Target::Data(se_exports),
    floor: PASSIVE_LEVEL,
    ceiling: HIGH_LEVEL,
    fidelity: Fidelity::Approximated("up to SeManageVolumePrivilege; newer members are zero"),
    failure: crate::import::Failure::Never,
    failures: &[],
    source: "ntifs.h, SE_EXPORTS",
};

/// Security's data exports.
pub static VARIABLES: &[&Import] = &[&SE_EXPORTS];
