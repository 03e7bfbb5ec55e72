//! Transactions of the program's own. Their calls are looked up at run time: Wine has none of them.

use std::ffi::{CStr, c_void};
use std::mem::transmute;
use std::ptr::{null, null_mut};

use windows_sys::Wdk::Foundation::{NtClose, OBJECT_ATTRIBUTES};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress, LoadLibraryW};
use windows_sys::core::{PCWSTR, w};

use super::nt::{Status, check};

type Create = unsafe extern "system" fn(
    *mut HANDLE,
    u32,
    *const OBJECT_ATTRIBUTES,
    *const c_void,
    HANDLE,
    u32,
    u32,
    u32,
    *const i64,
    *const c_void,
) -> i32;
type End = unsafe extern "system" fn(HANDLE, u8) -> i32;
type SetCurrent = unsafe extern "system" fn(HANDLE) -> u8;

/// The calls of KTM.
#[derive(Clone, Copy)]
pub(crate) struct Ktm {
    create: Create,
    commit: End,
    rollback: End,
    set_current: SetCurrent,
}

/// A function of a system library; the caller says its type.
pub(crate) fn lookup(library: PCWSTR, name: &CStr) -> Option<unsafe extern "system" fn() -> isize> {
    // SAFETY: terminated strings; a library of the system, which stays.
    unsafe {
        let mut module = GetModuleHandleW(library);
        if module.is_null() {
            module = LoadLibraryW(library);
        }
        if module.is_null() { None } else { GetProcAddress(module, name.as_ptr().cast()) }
    }
}

impl Ktm {
    /// Nothing where the system has no transactions.
    pub(crate) fn find() -> Option<Ktm> {
        let ntdll = w!("ntdll.dll");
        let create = lookup(ntdll, c"NtCreateTransaction")?;
        let commit = lookup(ntdll, c"NtCommitTransaction")?;
        let rollback = lookup(ntdll, c"NtRollbackTransaction")?;
        let set_current = lookup(ntdll, c"RtlSetCurrentTransaction")?;
        // SAFETY: the documented types of these functions (txf-ktm §1.1, §2).
        unsafe {
            Some(Ktm {
                create: transmute::<unsafe extern "system" fn() -> isize, Create>(create),
                commit: transmute::<unsafe extern "system" fn() -> isize, End>(commit),
                rollback: transmute::<unsafe extern "system" fn() -> isize, End>(rollback),
                set_current: transmute::<unsafe extern "system" fn() -> isize, SetCurrent>(set_current),
            })
        }
    }

    /// NtCreateTransaction.
    pub(crate) fn transaction(&self) -> Result<Transaction, Status> {
        const ALL_ACCESS: u32 = 0x1F_003F;
        let mut handle: HANDLE = null_mut();
        // SAFETY: the handle is a live local; the rest may be absent (txf-ktm §1.1).
        let status = unsafe {
            (self.create)(&raw mut handle, ALL_ACCESS, null(), null(), null_mut(), 0, 0, 0, null(), null())
        };
        check(status).map(|()| Transaction { handle, ktm: *self })
    }
}

/// A transaction; rolled back by the system when dropped without an end.
pub(crate) struct Transaction {
    handle: HANDLE,
    ktm: Ktm,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // SAFETY: a handle of our own, closed once.
        unsafe { NtClose(self.handle) };
    }
}

impl Transaction {
    /// NtCommitTransaction, waiting.
    pub(crate) fn commit(&self) -> Result<(), Status> {
        // SAFETY: a live handle.
        check(unsafe { (self.ktm.commit)(self.handle, 1) })
    }

    /// NtRollbackTransaction, waiting.
    pub(crate) fn rollback(&self) -> Result<(), Status> {
        // SAFETY: a live handle.
        check(unsafe { (self.ktm.rollback)(self.handle, 1) })
    }

    /// Does something with this as the thread's current transaction: what is opened meanwhile is opened in it.
    pub(crate) fn inside<R>(&self, body: impl FnOnce() -> R) -> R {
        // SAFETY: a live handle; taken away again below.
        unsafe { (self.ktm.set_current)(self.handle) };
        let result = body();
        // SAFETY: no transaction is current from here on.
        unsafe { (self.ktm.set_current)(null_mut()) };
        result
    }
}
