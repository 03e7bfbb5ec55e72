//! What filters ask about the volume.

use fltkernel::*;
use lab_executive::{Lab, status};

use crate::io::VOLUME_DEVICE;
use crate::memory::{self, wide};

/// FltGetVolumeProperties.
pub(crate) fn properties(at: *mut u8, length: u32, returned: *mut u32) -> i32 {
    const FILE_DEVICE_DISK_FILE_SYSTEM: u32 = 8;
    const BUFFER_TOO_SMALL: i32 = 0xC000_0023_u32.cast_signed();
    let head = size_of::<FLT_VOLUME_PROPERTIES>();
    let names = [wide(r"\FileSystem\NTFS"), wide(r"\Ntfs"), wide(VOLUME_DEVICE)];
    let needed = head + names.iter().map(|name| name.len() * 2).sum::<usize>();
    memory::write_optional(returned, needed as u32);
    if (length as usize) < head {
        return BUFFER_TOO_SMALL;
    }
    let mut offset = head;
    let mut strings = [UNICODE_STRING { Length: 0, MaximumLength: 0, Buffer: std::ptr::null_mut() }; 3];
    for (string, name) in strings.iter_mut().zip(&names) {
        let bytes = name.len() * 2;
        if offset + bytes <= length as usize {
            let buffer: *mut u16 = at.wrapping_add(offset).cast();
            memory::fill_units(buffer, name);
            *string = UNICODE_STRING { Length: bytes as u16, MaximumLength: bytes as u16, Buffer: buffer };
            offset += bytes;
        }
    }
    let [driver, device, real] = strings;
    memory::write(
        at.cast(),
        FLT_VOLUME_PROPERTIES {
            DeviceType: FILE_DEVICE_DISK_FILE_SYSTEM,
            DeviceCharacteristics: 0,
            DeviceObjectFlags: 0,
            AlignmentRequirement: 0,
            SectorSize: 512,
            Reserved0: 0,
            FileSystemDriverName: driver,
            FileSystemDeviceName: device,
            RealDeviceName: real,
        },
    );
    if (length as usize) < needed { status::BUFFER_OVERFLOW } else { status::SUCCESS }
}

/// FltGetInstanceInformation: INSTANCE_BASIC_INFORMATION and the name behind it, which ends where its length says.
pub(crate) fn instance_name(name: &str, at: *mut u8, length: u32, returned: *mut u32) -> i32 {
    const HEAD: usize = 8;
    let name = wide(name);
    let needed = HEAD + name.len() * 2;
    memory::write(returned, needed as u32);
    if (length as usize) < needed {
        return status::BUFFER_TOO_SMALL;
    }
    memory::write(at.cast(), 0_u32);
    memory::write(at.wrapping_add(4).cast(), (name.len() * 2) as u16);
    memory::write(at.wrapping_add(6).cast(), HEAD as u16);
    memory::fill_units(at.wrapping_add(HEAD).cast(), &name);
    status::SUCCESS
}

/// FltGetVolumeName.
pub(crate) fn name(at: *mut UNICODE_STRING, needed: *mut u32) -> i32 {
    let own = wide(VOLUME_DEVICE);
    let bytes = own.len() * 2;
    memory::write_optional(needed, bytes as u32);
    if at.is_null() {
        return status::BUFFER_TOO_SMALL;
    }
    let mut string = memory::read(at);
    if usize::from(string.MaximumLength) < bytes {
        return status::BUFFER_TOO_SMALL;
    }
    memory::fill_units(string.Buffer, &own);
    string.Length = bytes as u16;
    memory::write(at, string);
    status::SUCCESS
}

/// SDDL of FltBuildDefaultSecurityDescriptor as bytes: SYSTEM and Administrators get `access` (minifilter-rules §3.6).
pub(crate) fn default_descriptor(lab: &Lab, access: u32) -> *mut u8 {
    const ADMINISTRATORS: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
    let aces = [lab_volume::LOCAL_SYSTEM, ADMINISTRATORS].map(|sid| lab_volume::Ace {
        allow: true,
        sid,
        mask: access,
    });
    let bytes = lab_volume::descriptor(ADMINISTRATORS, &aces);
    let at = lab.allocate(bytes.len(), lab_executive::pool::Kind::Paged, u32::from_le_bytes(*b"FMsd"));
    memory::fill(at, &bytes);
    at
}
