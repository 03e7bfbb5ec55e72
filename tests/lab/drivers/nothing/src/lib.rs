//! A minifilter that attaches everywhere and does nothing: what the Filter Manager itself costs, and the
//! smallest driver that the lab must be able to load and unload.
//!
//! It stands on the bare declarations, without the owner types of the `kernel` crate, so that a measurement
//! against it includes those. It is empty on anything but Windows.

#![cfg_attr(windows, no_std)]

#[cfg(windows)]
mod driver;
