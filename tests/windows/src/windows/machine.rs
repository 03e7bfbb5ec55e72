//! Where the program runs, and what is known about Intact there.

use std::ffi::{CStr, OsString, c_char, c_void};
use std::mem::transmute;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr::null_mut;

use anyhow::{Result, bail};
use intact_faults::{Intact, Machine};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Storage::FileSystem::{GetVolumeInformationW, GetVolumePathNameW, QueryDosDeviceW};
use windows_sys::core::w;

use super::ktm::lookup;

/// The version of Wine, if this is it.
pub(crate) fn wine() -> Option<String> {
    let function = lookup(w!("ntdll.dll"), c"wine_get_version")?;
    // SAFETY: Wine's own function, which returns a terminated string that stays.
    unsafe {
        let version: unsafe extern "C" fn() -> *const c_char = transmute(function);
        Some(CStr::from_ptr(version()).to_string_lossy().into_owned())
    }
}

fn system() -> String {
    /// OSVERSIONINFOW.
    #[repr(C)]
    struct Version {
        size: u32,
        major: u32,
        minor: u32,
        build: u32,
        platform: u32,
        pack: [u16; 128],
    }
    let size = size_of::<Version>() as u32;
    let mut version = Version { size, major: 0, minor: 0, build: 0, platform: 0, pack: [0; 128] };
    if let Some(function) = lookup(w!("ntdll.dll"), c"RtlGetVersion") {
        // SAFETY: the documented type, and a structure that says its size.
        unsafe {
            let get: unsafe extern "system" fn(*mut Version) -> i32 = transmute(function);
            get(&raw mut version);
        }
    }
    format!("Windows {}.{}.{}", version.major, version.minor, version.build)
}

fn wide(text: &Path) -> Vec<u16> {
    text.as_os_str().encode_wide().chain([0]).collect()
}

fn text(units: &[u16]) -> String {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    OsString::from_wide(&units[..end]).to_string_lossy().into_owned()
}

/// Looks around from a folder. `assume` says that Intact is there.
///
/// # Errors
/// The folder's volume cannot be asked.
pub(crate) fn machine(folder: &Path, assume: bool) -> Result<Machine> {
    let mut root = [0u16; 512];
    let path = wide(folder);
    // SAFETY: a terminated string and a buffer of the announced size.
    if unsafe { GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), root.len() as u32) } == 0 {
        bail!("{}: no volume: {}", folder.display(), std::io::Error::last_os_error());
    }
    let (mut flags, mut system_name) = (0, [0u16; 64]);
    // SAFETY: terminated strings, buffers of the announced sizes; what is not wanted may be null.
    let asked = unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            null_mut(),
            0,
            null_mut(),
            null_mut(),
            &raw mut flags,
            system_name.as_mut_ptr(),
            system_name.len() as u32,
        )
    };
    if asked == 0 {
        bail!("{}: cannot be asked: {}", text(&root), std::io::Error::last_os_error());
    }
    let wine = wine();
    let intact = if assume {
        Intact::Assumed
    } else if wine.is_some() {
        Intact::Unknown { reason: "Wine has no Filter Manager".into() }
    } else {
        intact(&device(&text(&root)))
    };
    Ok(Machine {
        system: system(),
        wine,
        folder: folder.display().to_string(),
        file_system: text(&system_name),
        transactions: flags & 0x20_0000 != 0,
        intact,
    })
}

/// `\Device\HarddiskVolume3` for `C:\`.
fn device(root: &str) -> String {
    let drive: Vec<u16> = root.trim_end_matches('\\').encode_utf16().chain([0]).collect();
    let mut device = [0u16; 512];
    // SAFETY: a terminated string and a buffer of the announced size.
    unsafe { QueryDosDeviceW(drive.as_ptr(), device.as_mut_ptr(), device.len() as u32) };
    text(&device)
}

const NO_MORE_ITEMS: i32 = 0x8007_0103_u32.cast_signed();
const FILTER_NOT_FOUND: i32 = 0x801F_0013_u32.cast_signed();
const NOT_FOUND: i32 = 0x8007_0490_u32.cast_signed();
/// InstanceFullInformation.
const FULL: u32 = 2;

type First = unsafe extern "system" fn(*const u16, u32, *mut c_void, u32, *mut u32, *mut HANDLE) -> i32;
type Next = unsafe extern "system" fn(HANDLE, u32, *mut c_void, u32, *mut u32) -> i32;
type Close = unsafe extern "system" fn(HANDLE) -> i32;

/// Asks the Filter Manager for instances of Intact.
fn intact(device: &str) -> Intact {
    let unknown = |reason: String| Intact::Unknown { reason };
    let library = w!("fltlib.dll");
    let found = (
        lookup(library, c"FilterInstanceFindFirst"),
        lookup(library, c"FilterInstanceFindNext"),
        lookup(library, c"FilterInstanceFindClose"),
    );
    let (Some(first), Some(next), Some(close)) = found else {
        return unknown("there is no fltlib.dll".into());
    };
    let mut buffer = [0u64; 256];
    let size = size_of_val(&buffer) as u32;
    let (mut returned, mut find) = (0, null_mut());
    // SAFETY: the documented types of these functions; buffers of the announced size.
    let (first, next, close) = unsafe {
        (
            transmute::<unsafe extern "system" fn() -> isize, First>(first),
            transmute::<unsafe extern "system" fn() -> isize, Next>(next),
            transmute::<unsafe extern "system" fn() -> isize, Close>(close),
        )
    };
    // SAFETY: as above.
    let mut result = unsafe {
        first(w!("intact"), FULL, buffer.as_mut_ptr().cast(), size, &raw mut returned, &raw mut find)
    };
    match result {
        FILTER_NOT_FOUND | NOT_FOUND => return Intact::NotLoaded,
        NO_MORE_ITEMS => return Intact::Elsewhere,
        ..0 => return unknown(format!("FilterInstanceFindFirst {result:#010x}; run this elevated")),
        _ => {}
    }
    let mut answer = Intact::Elsewhere;
    while result >= 0 {
        let (altitude, volume) = instance(&buffer);
        if volume.eq_ignore_ascii_case(device) {
            answer = Intact::Attached { altitude };
        }
        // SAFETY: as above, with the handle that the first call gave.
        result = unsafe { next(find, FULL, buffer.as_mut_ptr().cast(), size, &raw mut returned) };
    }
    // SAFETY: the handle that the first call gave, closed once.
    unsafe { close(find) };
    answer
}

/// Altitude and volume name of an INSTANCE_FULL_INFORMATION.
fn instance(buffer: &[u64]) -> (String, String) {
    let bytes: Vec<u8> = buffer.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let short = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let name = |at: usize| {
        let (length, start) = (short(at), short(at + 2));
        let units: Vec<u16> = bytes
            .get(start..start + length)
            .unwrap_or_default()
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        text(&units)
    };
    (name(8), name(12))
}

/// The number of this start of the system; nothing where it is not told (Wine).
pub(crate) fn boot() -> Option<u32> {
    /// `KUSER_SHARED_DATA`, which is mapped there in every process, and `BootId` in it (ntddk.h).
    const BOOT_ID: *const u32 = 0x7FFE_02C4 as *const u32;
    if wine().is_some() {
        return None;
    }
    // SAFETY: readable in every process of Windows.
    Some(unsafe { BOOT_ID.read_volatile() })
}
