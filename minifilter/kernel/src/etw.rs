//! Event tracing: a TraceLogging provider over `EtwRegister` and `EtwWriteTransfer`.
//!
//! An event describes itself: its name and its fields travel with it, so no manifest has to be installed. Its
//! description is made at compile time by [`event!`](crate::event); writing one copies nothing and allocates nothing.
//!
//! Format (documented in `TraceLoggingProvider.h` and `evntprov.h`): before the fields come a descriptor of the
//! provider (size, name) and one of the event (size, tags, name, then each field's name and type).

mod metadata;
#[cfg(windows)]
mod provider;

pub use metadata::*;
#[cfg(windows)]
pub use provider::*;

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
