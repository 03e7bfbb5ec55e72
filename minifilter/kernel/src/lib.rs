//! Owner types for the kernel objects that a minifilter uses.
//!
//! A driver written on this crate needs no `unsafe` of its own. Each kernel object has one owner type, made by a
//! fallible constructor and released by `Drop`; the documentation of a method says at which IRQL it may be called,
//! what it answers, and which rule that follows (`minifilter-rules §…` and `txf-ktm §…` are this project's collected
//! facts about Windows). Nothing here panics and nothing allocates unless it says so.
//!
//! | object | owner |
//! |---|---|
//! | a registered filter, its table of operations | [`filter`], [`callback`] |
//! | contexts on instances, streams, handles and transactions | [`context`], [`enlistment`] |
//! | files, their names, changes of names, sections | [`file`], [`name`], [`rename`], [`section`] |
//! | KTM transactions | [`transaction`] |
//! | a create's access state | [`access`] |
//! | locks, events, the gate that drains what is in flight | [`sync`] |
//! | system threads | [`thread`] |
//! | pool memory, reference-counted objects, lookaside lists | [`pool`], [`lookaside`] |
//! | a device that programs open and ask | [`device`] |
//! | registry keys and their watches, symbolic links, processes, work items | [`registry`], [`symlink`], [`process`], [`work`] |
//! | events for tracing | [`etw`] |
//!
//! Everything but [`status`] and the descriptions of events exists on Windows targets only.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::integer_division
    )
)]

pub mod etw;
pub mod status;
pub use fltkernel;
pub use status::{Result, Status};

#[cfg(windows)]
mod ffi;
#[cfg(windows)]
mod object;
#[cfg(windows)]
mod panic;

#[cfg(windows)]
pub mod access;
#[cfg(windows)]
pub mod callback;
#[cfg(windows)]
pub mod context;
#[cfg(windows)]
pub mod device;
#[cfg(windows)]
pub mod enlistment;
#[cfg(windows)]
pub mod file;
#[cfg(windows)]
pub mod filter;
#[cfg(windows)]
pub mod gate;
#[cfg(windows)]
pub mod instance;
#[cfg(windows)]
pub mod lookaside;
#[cfg(windows)]
pub mod name;
#[cfg(windows)]
pub mod pool;
#[cfg(windows)]
pub mod process;
#[cfg(windows)]
pub mod registry;
#[cfg(windows)]
pub mod rename;
#[cfg(windows)]
pub mod section;
#[cfg(windows)]
pub mod string;
#[cfg(windows)]
pub mod symlink;
#[cfg(windows)]
pub mod sync;
#[cfg(windows)]
pub mod thread;
#[cfg(windows)]
pub mod time;
#[cfg(windows)]
pub mod transaction;
#[cfg(windows)]
pub mod work;

#[cfg(windows)]
#[doc(hidden)]
pub mod export {
    //! What the macros of this crate expand to.
    pub use crate::filter::load;
    pub use wdk_sys::{DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING};
}
