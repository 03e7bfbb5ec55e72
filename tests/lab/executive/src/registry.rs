//! The registry.

/// The registry of one lab.
#[derive(Default)]
pub struct Registry {}
