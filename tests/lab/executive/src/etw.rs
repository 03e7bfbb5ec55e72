//! Event tracing.

/// Providers and events of one lab.
#[derive(Default)]
pub struct Etw {}
