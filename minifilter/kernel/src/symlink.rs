//! Symbolic links of the object manager.

use core::mem::size_of;
use core::ptr::null_mut;

use wdk_sys::OBJECT_ATTRIBUTES;
use wdk_sys::ntddk::{ZwClose, ZwOpenSymbolicLinkObject, ZwQuerySymbolicLinkObject};
use widestring::U16Str;

use crate::object::OBJ_KERNEL_HANDLE;
use crate::{Result, Status, string};

const SYMBOLIC_LINK_QUERY: u32 = 0x0001;
const OBJ_CASE_INSENSITIVE: u32 = 0x0040;

/// An open symbolic link, for example `\??\C:`.
pub struct SymbolicLink(wdk_sys::HANDLE);

impl SymbolicLink {
    /// Opens it. PASSIVE_LEVEL. Fails with `OBJECT_NAME_NOT_FOUND`, or `OBJECT_TYPE_MISMATCH` if it is something else.
    pub fn open(name: &U16Str) -> Result<Self> {
        let mut name = string::unicode(name)?;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: null_mut(),
            ObjectName: &mut name,
            Attributes: OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE,
            SecurityDescriptor: null_mut(),
            SecurityQualityOfService: null_mut(),
        };
        let mut handle = null_mut();
        // SAFETY: out pointer and attributes are locals.
        Status(unsafe { ZwOpenSymbolicLinkObject(&mut handle, SYMBOLIC_LINK_QUERY, &mut attributes) })
            .ok()?;
        Ok(SymbolicLink(handle))
    }

    /// What it points to; the number of units written. PASSIVE_LEVEL. Fails with `BUFFER_TOO_SMALL`.
    pub fn target(&self, target: &mut [u16]) -> Result<usize> {
        let bytes = u16::try_from(target.len().saturating_mul(2)).unwrap_or(u16::MAX - 1);
        let mut string =
            wdk_sys::UNICODE_STRING { Length: 0, MaximumLength: bytes, Buffer: target.as_mut_ptr() };
        // SAFETY: our handle; a string with its buffer; no length wanted.
        Status(unsafe { ZwQuerySymbolicLinkObject(self.0, &mut string, null_mut()) }).ok()?;
        Ok(usize::from(string.Length >> 1))
    }
}

impl Drop for SymbolicLink {
    fn drop(&mut self) {
        // SAFETY: our handle.
        let _ = unsafe { ZwClose(self.0) };
    }
}
