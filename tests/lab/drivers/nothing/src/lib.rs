//! A minifilter that attaches everywhere, sees every operation go and come, and does nothing.
//!
//! It is what the benchmark compares with: the cost of being there at all.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]
#![cfg(windows)]

use kernel::Result;
use kernel::callback::{Before, Callback, Operation, OperationEntry};
use kernel::context::ContextEntry;
use kernel::filter::{Filter, Load, Slot};
use kernel::fltkernel::*;

struct Nothing;

kernel::driver!(Nothing, NOTHING);

impl Filter for Nothing {
    const OPERATIONS: &'static [OperationEntry] = &[
        OperationEntry::of::<Through<IRP_MJ_CREATE>>(),
        OperationEntry::of::<Through<IRP_MJ_CLOSE>>(),
        OperationEntry::of::<Through<IRP_MJ_READ>>(),
        OperationEntry::of::<Through<IRP_MJ_WRITE>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_INFORMATION>>(),
        OperationEntry::of::<Through<IRP_MJ_SET_INFORMATION>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_EA>>(),
        OperationEntry::of::<Through<IRP_MJ_SET_EA>>(),
        OperationEntry::of::<Through<IRP_MJ_FLUSH_BUFFERS>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_VOLUME_INFORMATION>>(),
        OperationEntry::of::<Through<IRP_MJ_SET_VOLUME_INFORMATION>>(),
        OperationEntry::of::<Through<IRP_MJ_DIRECTORY_CONTROL>>(),
        OperationEntry::of::<Through<IRP_MJ_FILE_SYSTEM_CONTROL>>(),
        OperationEntry::of::<Through<IRP_MJ_DEVICE_CONTROL>>(),
        OperationEntry::of::<Through<IRP_MJ_SHUTDOWN>>(),
        OperationEntry::of::<Through<IRP_MJ_LOCK_CONTROL>>(),
        OperationEntry::of::<Through<IRP_MJ_CLEANUP>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_SECURITY>>(),
        OperationEntry::of::<Through<IRP_MJ_SET_SECURITY>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_QUOTA>>(),
        OperationEntry::of::<Through<IRP_MJ_SET_QUOTA>>(),
        OperationEntry::of::<Through<IRP_MJ_PNP>>(),
        OperationEntry::of::<Through<IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION>>(),
        OperationEntry::of::<Through<IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION>>(),
        OperationEntry::of::<Through<IRP_MJ_ACQUIRE_FOR_MOD_WRITE>>(),
        OperationEntry::of::<Through<IRP_MJ_RELEASE_FOR_MOD_WRITE>>(),
        OperationEntry::of::<Through<IRP_MJ_ACQUIRE_FOR_CC_FLUSH>>(),
        OperationEntry::of::<Through<IRP_MJ_RELEASE_FOR_CC_FLUSH>>(),
        OperationEntry::of::<Through<IRP_MJ_QUERY_OPEN>>(),
        OperationEntry::of::<Through<IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE>>(),
        OperationEntry::of::<Through<IRP_MJ_NETWORK_QUERY_OPEN>>(),
        OperationEntry::of::<Through<IRP_MJ_MDL_READ>>(),
        OperationEntry::of::<Through<IRP_MJ_MDL_READ_COMPLETE>>(),
        OperationEntry::of::<Through<IRP_MJ_PREPARE_MDL_WRITE>>(),
        OperationEntry::of::<Through<IRP_MJ_MDL_WRITE_COMPLETE>>(),
        OperationEntry::END,
    ];
    const CONTEXTS: &'static [ContextEntry] = &[ContextEntry::END];

    fn slot() -> &'static Slot<Self> {
        &NOTHING
    }

    fn load(_: &Load<'_>) -> Result<Self> {
        Ok(Nothing)
    }
}

/// An operation that is seen and let through, both ways.
struct Through<const MAJOR: u8>;

impl<const MAJOR: u8> Operation for Through<MAJOR> {
    const MAJOR: u8 = MAJOR;
    /// No post-operation callback may be registered for a shutdown (minifilter-rules §2.2).
    const WATCHES: bool = MAJOR != IRP_MJ_SHUTDOWN;
    type Carry = ();

    fn before(_: &mut Callback<'_>) -> Before<()> {
        Before::Watch(())
    }
}
