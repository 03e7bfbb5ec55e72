//! To be told when a registry key changes.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{NonNull, null_mut};

use wdk_sys::IO_STATUS_BLOCK;
use wdk_sys::ntddk::{
    ObReferenceObjectByHandle, ObfDereferenceObject, ZwClose, ZwCreateEvent, ZwNotifyChangeKey,
};

use super::RegistryKey;
use crate::pool::{PoolBox, Tag};
use crate::sync::Waiting;
use crate::{Result, Status, object};

const REG_NOTIFY_CHANGE_NAME: u32 = 0x1;
const REG_NOTIFY_CHANGE_LAST_SET: u32 = 0x4;

const SYNCHRONIZE_AND_MODIFY: u32 = 0x0010_0002;

/// How long a closed key's request may take to end, in milliseconds. The system ends it in the closing itself.
const END: u32 = 10_000;

/// Which changes a watch tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Subkeys of this key come and go.
    Names,
    /// Subkeys and values change, here and at any depth below.
    Tree,
}

/// An event that has a handle, which is what the registry wants.
struct Told {
    handle: wdk_sys::HANDLE,
    object: NonNull<core::ffi::c_void>,
}

impl Told {
    fn new() -> Result<Self> {
        let mut attributes = object::unnamed();
        let mut handle = null_mut();
        // SAFETY: out pointer and attributes are locals.
        Status(unsafe {
            ZwCreateEvent(
                &mut handle,
                SYNCHRONIZE_AND_MODIFY,
                &mut attributes,
                wdk_sys::_EVENT_TYPE::NotificationEvent,
                0,
            )
        })
        .ok()?;
        let mut object = null_mut();
        // SAFETY: our kernel handle; the type object is exported by the kernel; an out pointer.
        let status = Status(unsafe {
            ObReferenceObjectByHandle(
                handle,
                SYNCHRONIZE_AND_MODIFY,
                *crate::ffi::ExEventObjectType,
                wdk_sys::_MODE::KernelMode as _,
                &mut object,
                null_mut(),
            )
        });
        match (status.ok(), NonNull::new(object)) {
            (Ok(()), Some(object)) => Ok(Told { handle, object }),
            (result, _) => {
                // SAFETY: our handle.
                let _ = unsafe { ZwClose(handle) };
                Err(result.err().unwrap_or(Status::UNSUCCESSFUL))
            }
        }
    }

    fn waiting(&self) -> Waiting<'_> {
        // SAFETY: an event, referenced as long as this lives.
        unsafe { Waiting::from_raw(self.object.as_ptr()) }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // SAFETY: our reference and our handle.
        unsafe {
            ObfDereferenceObject(self.object.as_ptr().cast());
            let _ = ZwClose(self.handle);
        }
    }
}

/// One request to be told of the next change of a key; after it, make another.
///
/// A request belongs to the thread that made it and ends with it, telling of a change that there was none
/// (`RegNotifyChangeKeyValue`, thread affinity), so a watch stays in its thread. It is documented to tell when its key is
/// closed, not when the key is deleted: whoever must know that watches the names in the parent key, too.
///
/// # Invariants
/// The status block stays where it is until the request has ended: the system writes to it then.
pub struct Watch {
    key: ManuallyDrop<RegistryKey>,
    block: ManuallyDrop<PoolBox<UnsafeCell<IO_STATUS_BLOCK>>>,
    told: Told,
    thread: PhantomData<*mut ()>,
}

impl Watch {
    /// Asks. What changes from now on is told. PASSIVE_LEVEL. Fails with `KEY_DELETED`, `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag, key: RegistryKey, changes: Changes) -> Result<Self> {
        let told = Told::new()?;
        let block = PoolBox::new(tag, UnsafeCell::new(IO_STATUS_BLOCK::default()))?;
        let (filter, tree) = match changes {
            Changes::Names => (REG_NOTIFY_CHANGE_NAME, 0),
            Changes::Tree => (REG_NOTIFY_CHANGE_NAME | REG_NOTIFY_CHANGE_LAST_SET, 1),
        };
        // SAFETY: an open key and event of ours; a status block that stays until the request has ended (see `drop`); no
        // APC or work item, no buffer; asynchronous.
        Status(unsafe {
            ZwNotifyChangeKey(
                key.0,
                told.handle,
                None,
                null_mut(),
                block.get(),
                filter,
                tree,
                null_mut(),
                0,
                1,
            )
        })
        .ok()?;
        let (key, block) = (ManuallyDrop::new(key), ManuallyDrop::new(block));
        Ok(Watch { key, block, told, thread: PhantomData })
    }

    /// What is signalled at the change.
    pub fn told(&self) -> Waiting<'_> {
        self.told.waiting()
    }
}

impl Drop for Watch {
    /// Ends the request. PASSIVE_LEVEL.
    fn drop(&mut self) {
        // SAFETY: dropped once, here. Closing the key ends the request and signals the event.
        unsafe { ManuallyDrop::drop(&mut self.key) };
        if self.told.waiting().wait(Some(END)) {
            // SAFETY: dropped once, here; the request has ended.
            unsafe { ManuallyDrop::drop(&mut self.block) };
        }
        // Else the system may still write to the block: rather lose it.
    }
}
