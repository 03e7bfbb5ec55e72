//! KTM transactions (txf-ktm §1).

use core::mem::size_of;
use core::ptr::{NonNull, null_mut};

use wdk_sys::OBJECT_ATTRIBUTES;
use wdk_sys::ntddk::{
    ObDereferenceObjectDeferDelete, ObReferenceObjectByHandle, ObfReferenceObject, ZwClose,
    ZwCommitTransaction, ZwCreateTransaction, ZwQueryInformationTransaction, ZwRollbackTransaction,
};

use crate::{Result, Status, object};

/// A transaction of ours: its handle, which keeps it alive (§1.5). Dropped before its end it is rolled back.
pub struct Transaction {
    handle: wdk_sys::HANDLE,
    object: TransactionRef,
}

// SAFETY: a kernel handle, valid in every thread.
unsafe impl Send for Transaction {}
// SAFETY: as above.
unsafe impl Sync for Transaction {}

/// A counted reference to a transaction's object, for opens inside it. It does not keep the transaction from ending.
pub struct TransactionRef(NonNull<core::ffi::c_void>);

// SAFETY: a counted reference, valid in every thread.
unsafe impl Send for TransactionRef {}
// SAFETY: as above.
unsafe impl Sync for TransactionRef {}

impl TransactionRef {
    pub(crate) fn raw(&self) -> *mut core::ffi::c_void {
        self.0.as_ptr()
    }
}

impl Clone for TransactionRef {
    fn clone(&self) -> Self {
        // SAFETY: a live object; up to DISPATCH_LEVEL.
        unsafe { ObfReferenceObject(self.0.as_ptr().cast()) };
        TransactionRef(self.0)
    }
}

impl Drop for TransactionRef {
    fn drop(&mut self) {
        // SAFETY: our reference. Deferred, because a lock may be held on this stack (txf-ktm §1.1).
        unsafe { ObDereferenceObjectDeferDelete(self.0.as_ptr().cast()) };
    }
}

const TRANSACTION_QUERY_INFORMATION: u32 = 0x01;
const TRANSACTION_COMMIT: u32 = 0x08;
const TRANSACTION_ROLLBACK: u32 = 0x10;

const TRANSACTION_BASIC_INFORMATION: i32 = 0;
/// `TransactionOutcomeUndetermined`.
const UNDETERMINED: u32 = 1;

/// The default security descriptor would be that of the program that saves, who could then open the transaction and
/// commit it half-way (txf-ktm T20). This one, self-relative, lets SYSTEM and Administrators in and nobody else:
/// `D:P(A;;0x1F003F;;;SY)(A;;0x1F003F;;;BA)`.
#[repr(C, align(4))]
struct Descriptor([u8; 72]);

#[rustfmt::skip]
static DESCRIPTOR: Descriptor = Descriptor([
    // SECURITY_DESCRIPTOR_RELATIVE: revision, -, control (self-relative, DACL protected and present), owner,
    // group, SACL, DACL at 20.
    1, 0, 0x04, 0x90,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,  20, 0, 0, 0,
    // ACL: revision 2, 52 bytes, two entries.
    2, 0, 52, 0,  2, 0, 0, 0,
    // ACCESS_ALLOWED_ACE, 20 bytes: S-1-5-18.
    0, 0, 20, 0,  0x3F, 0x00, 0x1F, 0x00,  1, 1, 0, 0, 0, 0, 0, 5,  18, 0, 0, 0,
    // ACCESS_ALLOWED_ACE, 24 bytes: S-1-5-32-544.
    0, 0, 24, 0,  0x3F, 0x00, 0x1F, 0x00,  1, 2, 0, 0, 0, 0, 0, 5,  32, 0, 0, 0,  0x20, 2, 0, 0,
]);

impl Transaction {
    /// Begins one without a time limit. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES` and as KTM fails.
    pub fn begin() -> Result<Self> {
        let mut attributes = OBJECT_ATTRIBUTES {
            SecurityDescriptor: (&raw const DESCRIPTOR).cast_mut().cast(),
            ..object::unnamed()
        };
        let mut handle = null_mut();
        // SAFETY: out pointer and attributes are locals; everything else is left to KTM's defaults.
        Status(unsafe {
            ZwCreateTransaction(
                &mut handle,
                TRANSACTION_QUERY_INFORMATION | TRANSACTION_COMMIT | TRANSACTION_ROLLBACK,
                &mut attributes,
                null_mut(),
                null_mut(),
                0,
                0,
                0,
                null_mut(),
                null_mut(),
            )
        })
        .ok()?;
        let mut object = null_mut();
        // SAFETY: our kernel handle; the type object is exported by the kernel; an out pointer.
        let status = Status(unsafe {
            ObReferenceObjectByHandle(
                handle,
                TRANSACTION_QUERY_INFORMATION,
                *crate::ffi::TmTransactionObjectType,
                wdk_sys::_MODE::KernelMode as _,
                &mut object,
                null_mut(),
            )
        });
        match (status.ok(), NonNull::new(object)) {
            (Ok(()), Some(object)) => Ok(Transaction { handle, object: TransactionRef(object) }),
            (result, _) => {
                // SAFETY: our handle; closing the last one rolls back.
                let _ = unsafe { ZwClose(handle) };
                Err(result.err().unwrap_or(Status::UNSUCCESSFUL))
            }
        }
    }

    /// A reference to its object, for opens inside it. Up to DISPATCH_LEVEL.
    pub fn object(&self) -> TransactionRef {
        self.object.clone()
    }

    /// Whether its outcome is still open. KTM may have rolled it back by itself (txf-ktm §1.5). PASSIVE_LEVEL.
    pub fn is_undecided(&self) -> Result<bool> {
        /// `TRANSACTION_BASIC_INFORMATION`.
        #[repr(C)]
        struct Basic {
            id: [u32; 4],
            state: u32,
            outcome: u32,
        }
        let mut basic = Basic { id: [0; 4], state: 0, outcome: 0 };
        // SAFETY: our handle, a buffer of the length given.
        Status(unsafe {
            ZwQueryInformationTransaction(
                self.handle,
                TRANSACTION_BASIC_INFORMATION as _,
                (&raw mut basic).cast(),
                size_of::<Basic>() as u32,
                null_mut(),
            )
        })
        .ok()?;
        Ok(basic.outcome == UNDETERMINED)
    }

    /// Commits and waits until it is done: what was written is durable then (txf-ktm §4.6). On failure it is rolled
    /// back. PASSIVE_LEVEL, without locks.
    pub fn commit(self) -> Result<()> {
        // SAFETY: our handle with the right to commit; wait.
        let result = Status(unsafe { ZwCommitTransaction(self.handle, 1) }).ok();
        if result.is_err() {
            // Already rolled back, as a rule; whatever it answers, closing the handle does the rest.
            let _ = self.roll_back();
        }
        result
    }

    /// Rolls back and waits until it is done. PASSIVE_LEVEL, without locks.
    pub fn rollback(self) -> Result<()> {
        self.roll_back()
    }

    fn roll_back(&self) -> Result<()> {
        // SAFETY: our handle with the right to roll back; wait.
        Status(unsafe { ZwRollbackTransaction(self.handle, 1) }).ok()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // SAFETY: our handle, the last one: a transaction that was not ended is rolled back. PASSIVE_LEVEL.
        let _ = unsafe { ZwClose(self.handle) };
    }
}
