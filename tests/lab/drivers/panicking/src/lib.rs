//! A minifilter that can panic: loading it indexes an array with a number that the compiler does not know. The
//! checks of built images must notice, or what they say of `intact.sys` means nothing.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]
#![cfg(windows)]

use kernel::Result;
use kernel::callback::OperationEntry;
use kernel::context::ContextEntry;
use kernel::filter::{Filter, Load, Slot};

struct Panicking;

kernel::driver!(Panicking, PANICKING);

static NUMBERS: [u32; 3] = [1, 2, 3];

impl Filter for Panicking {
    const OPERATIONS: &'static [OperationEntry] = &[OperationEntry::END];
    const CONTEXTS: &'static [ContextEntry] = &[ContextEntry::END];

    fn slot() -> &'static Slot<Self> {
        &PANICKING
    }

    fn load(_: &Load<'_>) -> Result<Self> {
        let unknown = core::hint::black_box(7);
        core::hint::black_box(NUMBERS[unknown]);
        Ok(Panicking)
    }
}
