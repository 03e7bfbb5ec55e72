//! The registration, and the way of an event to it.

use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use wdk_sys::ntddk::{EtwRegister, EtwUnregister, EtwWriteTransfer};
use wdk_sys::{EVENT_DATA_DESCRIPTOR, EVENT_DESCRIPTOR, GUID};
use widestring::U16Str;

use crate::{Result, Status};

/// Events of this channel are TraceLogging.
const CHANNEL_TRACELOGGING: u8 = 11;
/// `EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA`.
const EVENT_METADATA: u32 = 1;
/// `EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA`.
const PROVIDER_METADATA: u32 = 2;

/// One piece of an event's data.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Datum<'a> {
    descriptor: EVENT_DATA_DESCRIPTOR,
    life: PhantomData<&'a ()>,
}

impl<'a> Datum<'a> {
    fn new(pointer: *const u8, size: usize, kind: u32) -> Self {
        Datum {
            descriptor: EVENT_DATA_DESCRIPTOR { Ptr: pointer as u64, Size: size as u32, Reserved: kind },
            life: PhantomData,
        }
    }

    /// A number.
    pub fn u16(value: &'a u16) -> Self {
        Self::new(core::ptr::from_ref(value).cast(), 2, 0)
    }

    /// A number or process id.
    pub fn u32(value: &'a u32) -> Self {
        Self::new(core::ptr::from_ref(value).cast(), 4, 0)
    }

    /// A number.
    pub fn u64(value: &'a u64) -> Self {
        Self::new(core::ptr::from_ref(value).cast(), 8, 0)
    }

    /// A status.
    pub fn status(value: &'a Status) -> Self {
        Self::new(core::ptr::from_ref(value).cast(), 4, 0)
    }

    /// The units of a text, after [`Self::u16`] of twice their number.
    pub fn text(value: &'a U16Str) -> Self {
        Self::new(value.as_ptr().cast(), value.len().saturating_mul(2), 0)
    }

    /// The bytes of a text, after [`Self::u16`] of their number.
    pub fn bytes(value: &'a [u8]) -> Self {
        Self::new(value.as_ptr(), value.len(), 0)
    }
}

/// How much an event matters: `TRACE_LEVEL_*`.
#[derive(Clone, Copy)]
pub enum Level {
    /// Something failed.
    Error = 2,
    /// Something was not done.
    Warning = 3,
    /// Something was done.
    Information = 4,
}

/// A registered provider.
pub struct Provider {
    handle: AtomicU64,
    metadata: &'static [u8],
}

impl Provider {
    /// Registers one under the identity that its name has by the TraceLogging convention. PASSIVE_LEVEL. `metadata`
    /// is from [`Metadata::provider`].
    pub fn register(id: (u32, u16, u16, [u8; 8]), metadata: &'static [u8]) -> Result<Self> {
        let id = GUID { Data1: id.0 as _, Data2: id.1, Data3: id.2, Data4: id.3 };
        let mut handle = 0;
        // SAFETY: an identity, no callback, an out pointer.
        Status(unsafe { EtwRegister(&id, None, null_mut(), &mut handle) }).ok()?;
        Ok(Provider { handle: AtomicU64::new(handle), metadata })
    }

    /// Writes an event. `data` begins with two places that are filled in here. IRQL up to DISPATCH_LEVEL if the data is
    /// nonpaged. That nobody listens is no failure.
    pub fn write(&self, level: Level, event: &'static [u8], data: &mut [Datum<'_>]) {
        let [provider, description, ..] = data else { return };
        *provider = Datum::new(self.metadata.as_ptr(), self.metadata.len(), PROVIDER_METADATA);
        *description = Datum::new(event.as_ptr(), event.len(), EVENT_METADATA);
        let descriptor = EVENT_DESCRIPTOR {
            Id: 0,
            Version: 0,
            Channel: CHANNEL_TRACELOGGING,
            Level: level as u8,
            Opcode: 0,
            Task: 0,
            Keyword: 1,
        };
        // SAFETY: a registered handle; `Datum` is its descriptor; what they point to is borrowed for the call.
        let _ = unsafe {
            EtwWriteTransfer(
                self.handle.load(Ordering::Relaxed) as _,
                &descriptor,
                null_mut(),
                null_mut(),
                data.len() as u32,
                data.as_mut_ptr().cast(),
            )
        };
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: our handle, used by nobody any more. PASSIVE_LEVEL.
        let _ = unsafe { EtwUnregister(self.handle.load(Ordering::Relaxed) as _) };
    }
}

impl Default for Datum<'_> {
    fn default() -> Self {
        Self::new(core::ptr::null(), 0, 0)
    }
}
