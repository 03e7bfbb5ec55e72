//! Following transactions of others: contexts on them, and word of how they end (minifilter-rules §3.1; txf-ktm §3).

use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};

use fltkernel::*;

use crate::callback::Callback;
use crate::context::{Context, ContextRef};
use crate::instance::Instance;
use crate::{Result, Status, ffi};

/// A transaction, for as long as a callback vouches for it.
#[derive(Clone, Copy)]
pub struct OtherTransaction<'a> {
    raw: NonNull<core::ffi::c_void>,
    life: PhantomData<&'a ()>,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything in it is there.
    Committed,
    /// Nothing of it is.
    RolledBack,
}

/// What a filter that enlisted is told.
pub struct Ended<'a> {
    /// The instance that enlisted.
    pub instance: Instance<'a>,
    /// The transaction.
    pub transaction: OtherTransaction<'a>,
    /// How it ended.
    pub outcome: Outcome,
}

const NOTIFY_COMMIT: u32 = 0x4;
const NOTIFY_ROLLBACK: u32 = 0x8;

impl<'a> Callback<'a> {
    /// The transaction that the operation belongs to, if it does.
    pub fn transaction(&self) -> Option<OtherTransaction<'a>> {
        self.related_transaction().map(|raw| OtherTransaction { raw, life: PhantomData })
    }
}

impl<'a> Ended<'a> {
    /// # Safety
    /// Related objects of a transaction notification, valid for `'a`.
    pub(crate) unsafe fn new(objects: *const FLT_RELATED_OBJECTS, notification: u32) -> Option<Self> {
        // SAFETY: the caller's promise.
        let objects = unsafe { &*objects };
        let outcome = match notification {
            NOTIFY_COMMIT => Outcome::Committed,
            NOTIFY_ROLLBACK => Outcome::RolledBack,
            _ => return None,
        };
        Some(Ended {
            // SAFETY: alive for the call.
            instance: unsafe { Instance::from_raw(objects.Instance) },
            transaction: OtherTransaction { raw: NonNull::new(objects.Transaction)?, life: PhantomData },
            outcome,
        })
    }
}

impl<T: Context> ContextRef<T> {
    /// Attaches it to a transaction. IRQL up to APC_LEVEL. Fails if there is one already
    /// (`FLT_CONTEXT_ALREADY_DEFINED`).
    pub fn set_on_transaction(
        &self,
        instance: Instance<'_>,
        transaction: OtherTransaction<'_>,
    ) -> Result<()> {
        // SAFETY: live objects, a context of the right kind, nothing returned.
        Status(unsafe {
            ffi::FltSetTransactionContext(
                instance.raw(),
                transaction.raw.as_ptr(),
                FLT_SET_CONTEXT_KEEP_IF_EXISTS,
                self.raw(),
                null_mut(),
            )
        })
        .ok()
    }

    /// The context of a transaction, if it has one. IRQL up to APC_LEVEL.
    pub fn of_transaction(instance: Instance<'_>, transaction: OtherTransaction<'_>) -> Option<Self> {
        let mut context = null_mut();
        // SAFETY: live objects, an out pointer.
        let status = Status(unsafe {
            ffi::FltGetTransactionContext(instance.raw(), transaction.raw.as_ptr(), &mut context)
        });
        if !status.is_success() {
            return None;
        }
        // SAFETY: success returns a referenced context.
        unsafe { Self::adopt(context) }
    }

    /// Asks to be told of the end of the transaction that this context is attached to, through
    /// [`Filter::transaction_ended`](crate::filter::Filter::transaction_ended). PASSIVE_LEVEL. Fails with
    /// `FLT_ALREADY_ENLISTED`, and for a transaction that ends already (`TRANSACTION_NOT_ACTIVE`).
    pub fn enlist(&self, instance: Instance<'_>, transaction: OtherTransaction<'_>) -> Result<()> {
        // SAFETY: live objects; the context is the transaction's.
        Status(unsafe {
            ffi::FltEnlistInTransaction(
                instance.raw(),
                transaction.raw.as_ptr(),
                self.raw(),
                NOTIFY_COMMIT | NOTIFY_ROLLBACK,
            )
        })
        .ok()
    }
}
