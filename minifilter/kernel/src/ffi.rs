//! Imported functions that `wdk-sys` does not declare.
#![allow(missing_docs, non_snake_case, reason = "names are Microsoft's and documented there")]

use fltkernel::*;

macro_rules! filter_manager {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        #[link(name = "FLTMGR.SYS", kind = "raw-dylib", modifiers = "+verbatim")]
        #[allow(dead_code, reason = "the list is shared with the lab")]
        unsafe extern "system" {
            $(pub(crate) fn $name($($argument: $type),*) $(-> $result)?;)*
        }
    };
}
fltkernel::for_each_function!(filter_manager);

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    /// The kernel's export behind the header's inline `PsGetCurrentThread`.
    pub(crate) fn PsGetCurrentThread() -> PETHREAD;
    /// The process that a thread was made in (ntifs).
    pub(crate) fn IoThreadToProcess(Thread: PETHREAD) -> PEPROCESS;

    /// The kernel's variable that holds the type of transactions. Declared here, because data needs `dllimport`, which
    /// only an import of this kind gives.
    pub(crate) static TmTransactionObjectType: *mut wdk_sys::POBJECT_TYPE;

    /// The kernel's variable that holds the type of events.
    pub(crate) static ExEventObjectType: *mut wdk_sys::POBJECT_TYPE;
}
