//! Function pointer types of a registration. On Windows they are `extern "system"`; the lab, which is not a
//! Windows target, calls the same image through the x64 Windows ABI (`win64`).

use crate::constants::*;
use crate::structures::*;
use crate::*;

#[cfg(windows)]
macro_rules! callback {
    ($($(#[$doc:meta])* $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])* pub type $name = Option<unsafe extern "system" fn($($argument),*) $(-> $result)?>;)*
    };
}
#[cfg(not(windows))]
macro_rules! callback {
    ($($(#[$doc:meta])* $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $($(#[$doc])* pub type $name = Option<unsafe extern "win64" fn($($argument),*) $(-> $result)?>;)*
    };
}

callback! {
    /// Called before an operation goes down. PASSIVE or APC level (minifilter-rules §2.2).
    PFLT_PRE_OPERATION_CALLBACK(*mut FLT_CALLBACK_DATA, *const FLT_RELATED_OBJECTS, *mut PVOID) -> FLT_PREOP_CALLBACK_STATUS;
    /// Called when an operation comes back; up to DISPATCH level (§2.5).
    PFLT_POST_OPERATION_CALLBACK(*mut FLT_CALLBACK_DATA, *const FLT_RELATED_OBJECTS, PVOID, u32) -> FLT_POSTOP_CALLBACK_STATUS;
    /// Unload requested; the argument is `FLTFL_FILTER_UNLOAD_*` (§3.3).
    PFLT_FILTER_UNLOAD_CALLBACK(u32) -> NTSTATUS;
    /// A volume may be attached to: objects, `FLTFL_INSTANCE_SETUP_*`, device type, file system type (§3.2).
    PFLT_INSTANCE_SETUP_CALLBACK(*const FLT_RELATED_OBJECTS, u32, u32, FLT_FILESYSTEM_TYPE) -> NTSTATUS;
    /// Manual detach requested (§3.2).
    PFLT_INSTANCE_QUERY_TEARDOWN_CALLBACK(*const FLT_RELATED_OBJECTS, u32) -> NTSTATUS;
    /// Teardown begins or has completed; the flags are `FLTFL_INSTANCE_TEARDOWN_*`.
    PFLT_INSTANCE_TEARDOWN_CALLBACK(*const FLT_RELATED_OBJECTS, u32);
    /// Releases what a context holds, before its memory is freed: context and its type (§3.1).
    PFLT_CONTEXT_CLEANUP_CALLBACK(PFLT_CONTEXT, u16);
    /// Allocates the memory of a context: pool type, size, context type.
    PFLT_CONTEXT_ALLOCATE_CALLBACK(i32, usize, u16) -> PVOID;
    /// Frees the memory of a context.
    PFLT_CONTEXT_FREE_CALLBACK(PVOID, u16);
    /// Transaction notification: objects, transaction context, mask (txf-ktm §3).
    PFLT_TRANSACTION_NOTIFICATION_CALLBACK(*const FLT_RELATED_OBJECTS, PFLT_CONTEXT, u32) -> NTSTATUS;
    /// Body of a generic work item: the item, the object it was queued with (filter or instance), its context.
    PFLT_GENERIC_WORKITEM_ROUTINE(PFLT_GENERIC_WORKITEM, PVOID, PVOID);
    /// An extra create parameter goes: its memory, which is freed next, and its type (minifilter-rules §1.10).
    PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK(PVOID, LPCGUID);
    /// Body of a deferred I/O work item.
    PFLT_DEFERRED_IO_WORKITEM_ROUTINE(PFLT_DEFERRED_IO_WORKITEM, *mut FLT_CALLBACK_DATA, PVOID);
}
