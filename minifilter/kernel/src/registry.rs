//! Registry keys, read-only, and watches that tell of their changes.

use core::mem::size_of;
use core::ptr::null_mut;

use wdk_sys::OBJECT_ATTRIBUTES;
use wdk_sys::ntddk::{ZwClose, ZwEnumerateKey, ZwEnumerateValueKey, ZwOpenKey};
use widestring::U16Str;

use crate::object::OBJ_KERNEL_HANDLE;
use crate::pool::{PoolSlice, Tag};
use crate::{Result, Status, string};

mod watch;

pub use watch::{Changes, Watch};

const KEY_READ: u32 = 0x0002_0019;
const OBJ_CASE_INSENSITIVE: u32 = 0x0040;

/// `KeyBasicInformation`: last write time, title index, name length, name.
const KEY_BASIC_INFORMATION: i32 = 0;
const KEY_NAME_AT: usize = 16;
/// `KeyValueFullInformation`: title index, type, data offset, data length, name length, name.
const KEY_VALUE_FULL_INFORMATION: i32 = 1;
const VALUE_NAME_AT: usize = 20;

/// Largest answer that is taken, in bytes: a value of 16 MiB fits.
const LARGEST: usize = 32 * 1024 * 1024;

/// An open key.
pub struct RegistryKey(wdk_sys::HANDLE);

impl RegistryKey {
    /// Opens `\Registry\…`. PASSIVE_LEVEL. Fails with `OBJECT_NAME_NOT_FOUND`.
    pub fn open(path: &U16Str) -> Result<Self> {
        Self::open_under(null_mut(), path)
    }

    /// Opens a key below this one. PASSIVE_LEVEL. Fails with `OBJECT_NAME_NOT_FOUND`.
    pub fn subkey(&self, name: &U16Str) -> Result<Self> {
        Self::open_under(self.0, name)
    }

    fn open_under(root: wdk_sys::HANDLE, name: &U16Str) -> Result<Self> {
        let mut name = string::unicode(name)?;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: root,
            ObjectName: &mut name,
            Attributes: OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE,
            SecurityDescriptor: null_mut(),
            SecurityQualityOfService: null_mut(),
        };
        let mut handle = null_mut();
        // SAFETY: out pointer and attributes are locals.
        Status(unsafe { ZwOpenKey(&mut handle, KEY_READ, &mut attributes) }).ok()?;
        Ok(RegistryKey(handle))
    }
}

impl Drop for RegistryKey {
    fn drop(&mut self) {
        // SAFETY: our handle.
        let _ = unsafe { ZwClose(self.0) };
    }
}

/// Memory for what is read from the registry; it grows as needed.
pub struct Reader {
    buffer: PoolSlice<u64>,
    tag: Tag,
}

/// A value as the registry has it.
pub struct RawValue<'a> {
    /// Its name.
    pub name: &'a U16Str,
    /// `REG_*`.
    pub kind: u32,
    /// Its data; UTF-16 little-endian if it is text.
    pub data: &'a [u8],
}

impl Reader {
    /// A reader with a small buffer. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag) -> Result<Self> {
        Ok(Reader { buffer: PoolSlice::zeroed(tag, 128)?, tag })
    }

    /// The name of the subkey with this number; `None` after the last. PASSIVE_LEVEL.
    pub fn subkey_name(&mut self, key: &RegistryKey, index: u32) -> Result<Option<&U16Str>> {
        let found = self.fill(|buffer, length, needed| {
            // SAFETY: an open key, a buffer of that length, an out pointer.
            Status(unsafe {
                ZwEnumerateKey(key.0, index, KEY_BASIC_INFORMATION as _, buffer, length, needed)
            })
        })?;
        if !found {
            return Ok(None);
        }
        let length = self.number(12) as usize;
        Ok(Some(self.text(KEY_NAME_AT, length)))
    }

    /// The value with this number; `None` after the last. PASSIVE_LEVEL. Fails with `BUFFER_OVERFLOW` for a value that is
    /// too large.
    pub fn value(&mut self, key: &RegistryKey, index: u32) -> Result<Option<RawValue<'_>>> {
        let found = self.fill(|buffer, length, needed| {
            // SAFETY: an open key, a buffer of that length, an out pointer.
            Status(unsafe {
                ZwEnumerateValueKey(key.0, index, KEY_VALUE_FULL_INFORMATION as _, buffer, length, needed)
            })
        })?;
        if !found {
            return Ok(None);
        }
        let (kind, at, length) = (self.number(4), self.number(8) as usize, self.number(12) as usize);
        let name = self.number(16) as usize;
        let data = self.bytes().get(at..at.saturating_add(length)).unwrap_or(&[]);
        Ok(Some(RawValue { name: self.text(VALUE_NAME_AT, name), kind, data }))
    }

    /// Calls until the answer fits; false at the end of the enumeration.
    fn fill(
        &mut self,
        mut call: impl FnMut(*mut core::ffi::c_void, u32, *mut u32) -> Status,
    ) -> Result<bool> {
        loop {
            let bytes = self.buffer.len().saturating_mul(8);
            let mut needed = 0;
            let status = call(self.buffer.as_mut_ptr().cast(), bytes as u32, &mut needed);
            match status {
                Status::NO_MORE_ENTRIES => return Ok(false),
                Status::BUFFER_OVERFLOW | Status::BUFFER_TOO_SMALL => {
                    let larger = (needed as usize).max(bytes.saturating_mul(2));
                    if larger > LARGEST {
                        return Err(status);
                    }
                    self.buffer = PoolSlice::zeroed(self.tag, larger.div_ceil(8))?;
                }
                status => return status.ok().map(|()| true),
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: initialised numbers seen as bytes.
        unsafe {
            core::slice::from_raw_parts(self.buffer.as_ptr().cast(), self.buffer.len().saturating_mul(8))
        }
    }

    fn number(&self, at: usize) -> u32 {
        match self.bytes().get(at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => u32::from_le_bytes(*bytes),
            None => 0,
        }
    }

    fn text(&self, at: usize, length: usize) -> &U16Str {
        let bytes = self.bytes().get(at..at.saturating_add(length)).unwrap_or(&[]);
        // SAFETY: `at` is even and the buffer aligned; initialised numbers seen as units.
        U16Str::from_slice(unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() >> 1) })
    }
}
