//! Event tracing: a TraceLogging provider over `EtwRegister` and `EtwWriteTransfer`.
//!
//! An event describes itself: its name and its fields travel with it, so no manifest has to be installed. Its
//! description is made at compile time by [`event!`](crate::event); writing one copies nothing and allocates nothing.
//!
//! Format (documented in `TraceLoggingProvider.h` and `evntprov.h`): before the fields come a descriptor of the
//! provider (size, name) and one of the event (size, tags, name, then each field's name and type).

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

/// The type of a field.
#[derive(Clone, Copy)]
pub enum FieldType {
    /// Counted UTF-16; two descriptors.
    Text,
    /// Counted bytes of ASCII or UTF-8; two descriptors.
    Utf8,
    /// A number.
    U32,
    /// A number.
    U64,
    /// A status, shown as such.
    Status,
    /// A process id.
    ProcessId,
}

impl FieldType {
    /// The type code and, if it has one, the format code.
    const fn codes(self) -> (u8, Option<u8>) {
        match self {
            FieldType::Text => (22, None),
            FieldType::Utf8 => (23, Some(35)),
            FieldType::U32 => (8, None),
            FieldType::U64 => (10, None),
            FieldType::Status => (20, Some(14)),
            FieldType::ProcessId => (8, Some(5)),
        }
    }
}

/// The description of an event, or of the provider: its bytes.
pub struct Metadata<const N: usize>([u8; N]);

/// The size of an event's description.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
pub const fn event_size(name: &str, fields: &[(&str, FieldType)]) -> usize {
    // Size, tags, name and its end.
    let mut size = 2 + 1 + name.len() + 1;
    let mut index = 0;
    while index < fields.len() {
        let (name, kind) = fields[index];
        size += name.len() + 1 + 1 + if kind.codes().1.is_some() { 1 } else { 0 };
        index += 1;
    }
    size
}

/// The size of the provider's description.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
pub const fn provider_size(name: &str) -> usize {
    2 + name.len() + 1
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "runs at compile time, where an overflow is an error of the build"
)]
impl<const N: usize> Metadata<N> {
    /// Describes an event. Compile time only.
    pub const fn event(name: &str, fields: &[(&str, FieldType)]) -> Self {
        let mut bytes = Self::sized();
        let mut at = Self::text(&mut bytes, 3, name);
        let mut index = 0;
        while index < fields.len() {
            let (name, kind) = fields[index];
            at = Self::text(&mut bytes, at, name);
            match kind.codes() {
                (code, None) => bytes[at] = code,
                (code, Some(format)) => {
                    // The top bit announces a format code.
                    bytes[at] = code | 0x80;
                    at += 1;
                    bytes[at] = format;
                }
            }
            at += 1;
            index += 1;
        }
        assert!(at == N);
        Metadata(bytes)
    }

    /// Describes the provider. Compile time only.
    pub const fn provider(name: &str) -> Self {
        let mut bytes = Self::sized();
        assert!(Self::text(&mut bytes, 2, name) == N);
        Metadata(bytes)
    }

    const fn sized() -> [u8; N] {
        let mut bytes = [0; N];
        assert!(N <= 0xFFFF);
        bytes[0] = (N & 0xFF) as u8;
        bytes[1] = (N >> 8) as u8;
        bytes
    }

    /// A text and the zero after it.
    const fn text(bytes: &mut [u8; N], mut at: usize, text: &str) -> usize {
        let mut index = 0;
        while index < text.len() {
            bytes[at] = text.as_bytes()[index];
            at += 1;
            index += 1;
        }
        at + 1
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

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

/// The description of an event: `event!("Name", "Field": Text, …)`, made at compile time.
#[macro_export]
macro_rules! event {
    ($name:literal $(, $field:literal: $kind:ident)* $(,)?) => {{
        const FIELDS: &[(&str, $crate::etw::FieldType)] = &[$(($field, $crate::etw::FieldType::$kind)),*];
        static METADATA: $crate::etw::Metadata<{ $crate::etw::event_size($name, FIELDS) }> =
            $crate::etw::Metadata::event($name, FIELDS);
        METADATA.bytes()
    }};
}

/// The description of a provider: `provider!("Name")`, made at compile time.
#[macro_export]
macro_rules! provider {
    ($name:literal) => {{
        static METADATA: $crate::etw::Metadata<{ $crate::etw::provider_size($name) }> =
            $crate::etw::Metadata::provider($name);
        METADATA.bytes()
    }};
}
