//! Sizes and offsets that Windows 10 and 11 have on x64, written down independently of the headers that the
//! structures are generated from: an error in those headers stops the build here.

use core::mem::{align_of, offset_of, size_of};

use crate::*;

macro_rules! sizes {
    ($($name:ty = $size:expr),* $(,)?) => {
        $(const _: () = assert!(size_of::<$name>() == $size, concat!("size of ", stringify!($name)));)*
    };
}

sizes! {
    FILE_OBJECT = 216,
    DEVICE_OBJECT = 336,
    DRIVER_OBJECT = 336,
    IRP = 208,
    IO_STACK_LOCATION = 72,
    ERESOURCE = 104,
    FAST_MUTEX = 56,
    KEVENT = 24,
    MDL = 48,
    UNICODE_STRING = 16,
    OBJECT_ATTRIBUTES = 48,
    IO_STATUS_BLOCK = 16,
    FSRTL_COMMON_FCB_HEADER = 48,
    FSRTL_ADVANCED_FCB_HEADER = 112,
    SECTION_OBJECT_POINTERS = 24,
    ACCESS_STATE = 160,
    IO_SECURITY_CONTEXT = 24,
    TXN_PARAMETER_BLOCK = 16,
    IO_DRIVER_CREATE_CONTEXT = 40,
    FILE_BASIC_INFORMATION = 40,
    FILE_STANDARD_INFORMATION = 24,
    FILE_ALL_INFORMATION = 104,
    FILE_NETWORK_OPEN_INFORMATION = 56,
    FILE_ID_INFORMATION = 24,
    FILE_STAT_INFORMATION = 72,
    FILE_RENAME_INFORMATION = 24,
    FILE_LINK_INFORMATION = 24,
    FILE_DISPOSITION_INFORMATION = 1,
    EVENT_DESCRIPTOR = 16,
    EVENT_DATA_DESCRIPTOR = 16,
    SECURITY_DESCRIPTOR = 40,
    ACL = 8,
}

const _: () = assert!(align_of::<DEVICE_OBJECT>() == 16);
const _: () = assert!(offset_of!(FILE_OBJECT, FsContext) == 24);
const _: () = assert!(offset_of!(FILE_OBJECT, SectionObjectPointer) == 40);
const _: () = assert!(offset_of!(FILE_OBJECT, FinalStatus) == 56);
const _: () = assert!(offset_of!(FILE_OBJECT, RelatedFileObject) == 64);
const _: () = assert!(offset_of!(FILE_OBJECT, LockOperation) == 72);
const _: () = assert!(offset_of!(FILE_OBJECT, Flags) == 80);
const _: () = assert!(offset_of!(FILE_OBJECT, FileName) == 88);
const _: () = assert!(offset_of!(FILE_OBJECT, CurrentByteOffset) == 104);
const _: () = assert!(offset_of!(FILE_OBJECT, FileObjectExtension) == 208);
const _: () = assert!(offset_of!(ACCESS_STATE, RemainingDesiredAccess) == 16);
const _: () = assert!(offset_of!(ACCESS_STATE, PreviouslyGrantedAccess) == 20);
const _: () = assert!(offset_of!(ACCESS_STATE, OriginalDesiredAccess) == 24);
const _: () = assert!(offset_of!(DRIVER_OBJECT, DriverUnload) == 104);
const _: () = assert!(offset_of!(DRIVER_OBJECT, MajorFunction) == 112);
