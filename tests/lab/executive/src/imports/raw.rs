//! Reading and writing the structures that drivers pass.
//!
//! Every function here trusts its pointer as far as the documented contract of the import goes; a bad pointer
//! faults and is reported as the driver's, with the import named.

use lab_nt::{OBJECT_ATTRIBUTES, UNICODE_STRING};

use crate::{Lab, status};

/// OBJ_KERNEL_HANDLE.
pub(crate) const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// The characters of a UNICODE_STRING; empty for a null pointer.
///
/// # Safety
/// `string` is null or points at a valid UNICODE_STRING.
pub(crate) unsafe fn wide(lab: &Lab, string: *const UNICODE_STRING) -> Vec<u16> {
    if string.is_null() {
        return Vec::new();
    }
    // SAFETY: valid by this function's contract.
    let string = unsafe { string.read_unaligned() };
    if string.Length % 2 != 0 || (string.MaximumLength != 0 && string.Length > string.MaximumLength) {
        lab.report(
            "bad-unicode-string",
            "wdm/UNICODE_STRING: Length is even and at most MaximumLength",
            format!("Length {}, MaximumLength {}", string.Length, string.MaximumLength),
        );
    }
    let units = usize::from(string.Length) / 2;
    // SAFETY: a valid UNICODE_STRING has Length readable bytes at Buffer.
    (0..units).map(|i| unsafe { string.Buffer.wrapping_add(i).read_unaligned() }).collect()
}

/// The text of a UNICODE_STRING.
///
/// # Safety
/// As [`wide`].
pub(crate) unsafe fn text(lab: &Lab, string: *const UNICODE_STRING) -> String {
    // SAFETY: same contract.
    String::from_utf16_lossy(&unsafe { wide(lab, string) })
}

/// Writes one value through a pointer that may be null.
///
/// # Safety
/// `to` is null or writable.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: not null, so writable by this function's contract.
        unsafe { to.write_unaligned(value) };
    }
}

/// Copies `data` to `to`.
///
/// # Safety
/// `to` is writable for the length of `data`.
pub(crate) unsafe fn put_bytes(to: *mut u8, data: &[u8]) {
    // SAFETY: by this function's contract; the slice is the lab's and does not overlap.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
}

/// What an OBJECT_ATTRIBUTES says.
pub(crate) struct Attributes {
    pub(crate) root: usize,
    pub(crate) name: String,
    pub(crate) kernel: bool,
}

/// Reads an OBJECT_ATTRIBUTES.
///
/// # Safety
/// `attributes` is null or points at a valid OBJECT_ATTRIBUTES.
pub(crate) unsafe fn attributes(lab: &Lab, attributes: *const OBJECT_ATTRIBUTES) -> Result<Attributes, i32> {
    if attributes.is_null() {
        return Ok(Attributes { root: 0, name: String::new(), kernel: false });
    }
    // SAFETY: valid by this function's contract.
    let read = unsafe { attributes.read_unaligned() };
    if read.Length as usize != size_of::<OBJECT_ATTRIBUTES>() {
        return Err(status::INVALID_PARAMETER);
    }
    // SAFETY: a valid OBJECT_ATTRIBUTES names a valid string or none.
    let name = unsafe { text(lab, read.ObjectName) };
    Ok(Attributes { root: read.RootDirectory.addr(), name, kernel: read.Attributes & OBJ_KERNEL_HANDLE != 0 })
}

impl Lab {
    /// Opens a handle for a Zw routine: a kernel handle if the attributes say so, else one of the process.
    ///
    /// Stops the run (rule `user-handle`) if a driver asks for a handle that the program of a user process could
    /// use.
    pub(crate) fn open_driver_handle(&self, body: *mut u8, granted: u32, kernel: bool) -> usize {
        let process = self.thread().process();
        let Some(process) = process.filter(|_| !kernel) else {
            return self.open_handle(None, body, granted, false);
        };
        if self.caller().is_some() && process.id != 4 {
            self.report(
                "user-handle",
                "wdm/InitializeObjectAttributes: OBJ_KERNEL_HANDLE outside system threads; Driver Verifier",
                format!("opens a handle without OBJ_KERNEL_HANDLE in the context of {}", process.label()),
            );
        }
        self.open_handle(Some(&process), body, granted, false)
    }
}
