//! Attributes of the objects that are made without a name.

use core::mem::size_of;
use core::ptr::null_mut;

use wdk_sys::OBJECT_ATTRIBUTES;

/// For kernel handles, which the running program cannot use (txf-ktm §1.1).
pub(crate) const OBJ_KERNEL_HANDLE: u32 = 0x0200;

/// An unnamed object with a kernel handle and the default security.
pub(crate) fn unnamed() -> OBJECT_ATTRIBUTES {
    OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: null_mut(),
        ObjectName: null_mut(),
        Attributes: OBJ_KERNEL_HANDLE,
        SecurityDescriptor: null_mut(),
        SecurityQualityOfService: null_mut(),
    }
}
