//! Pool and lookaside lists.

use std::ffi::c_void;
use std::ptr;

use lab_nt::GENERAL_LOOKASIDE;

use crate::irql::{APC_LEVEL, Irql};
use crate::pool::Kind;
use crate::{Lab, imports};

const POOL_FLAG_UNINITIALIZED: u64 = 0x2;
const POOL_FLAG_RAISE_ON_FAILURE: u64 = 0x20;
const POOL_FLAG_NON_PAGED: u64 = 0x40;
const POOL_FLAG_NON_PAGED_EXECUTE: u64 = 0x80;
const POOL_FLAG_PAGED: u64 = 0x100;
/// Bits of POOL_TYPE: base type PagedPool, and NonPagedPoolNx.
const PAGED_POOL: i32 = 1;
const POOL_NX: i32 = 512;
const OLD_LIST: usize = size_of::<GENERAL_LOOKASIDE>();
const NEW_LIST: usize = size_of::<lab_nt::LOOKASIDE_LIST_EX>();
const LOOKASIDE: &str = "a lookaside list";

fn check_paged(lab: &Lab, kind: Kind) {
    let level: Irql = lab.thread().irql.get();
    if kind == Kind::Paged && level > APC_LEVEL {
        lab.report(
            "irql-ceiling",
            "wdm/ExAllocatePool2: paged pool at IRQL <= APC_LEVEL",
            "allocates paged pool at DISPATCH_LEVEL",
        );
    }
}

fn check_request(lab: &Lab, bytes: usize, tag: u32) {
    if tag == 0 {
        lab.report("pool-tag", "wdm/ExAllocatePool2: a tag must not be zero", "allocates with tag 0");
    }
    if bytes == 0 {
        lab.report(
            "pool-size",
            "wdm/ExAllocatePoolWithTag: do not allocate zero bytes",
            "allocates zero bytes",
        );
    }
}

fn by_type(lab: &Lab, pool_type: i32, bytes: usize, tag: u32) -> *mut c_void {
    check_request(lab, bytes, tag);
    let kind = if pool_type & 7 == PAGED_POOL { Kind::Paged } else { Kind::NonPaged };
    if kind == Kind::NonPaged && pool_type & POOL_NX == 0 {
        lab.report(
            "executable-pool",
            "Driver Verifier: code integrity checks (0x2000): pool must not be executable",
            "allocates NonPagedPoolExecute; use NonPagedPoolNx or ExAllocatePool2",
        );
    }
    check_paged(lab, kind);
    lab.allocate(bytes, kind, tag).cast()
}

/// `bytes` is the length of the list's structure: LOOKASIDE_LIST_EX lacks the padding of the older lists.
fn initialise(lab: &Lab, list: *mut GENERAL_LOOKASIDE, bytes: usize, pool_type: i32, size: usize, tag: u32) {
    if !lab.obligations.add(lab, list.addr(), LOOKASIDE) {
        lab.report("lookaside", "wdm/ExInitializeNPagedLookasideList", "initialises a lookaside list twice");
    }
    if !list.addr().is_multiple_of(16) {
        lab.report(
            "bad-alignment",
            "wdm/ExInitializeNPagedLookasideList: 16-byte aligned",
            "a lookaside list is not aligned",
        );
    }
    let allocate = lab.thunk_for(&ExAllocatePoolWithTag::IMPORT);
    let free = lab.thunk_for(&ExFreePool::IMPORT);
    // 0 sends every inlined free to the pool, as Driver Verifier does, so that each block keeps its guards.
    let depth = lab.config.lookaside_depth;
    // SAFETY: the contract says that the list lies in resident, writable memory of the driver.
    unsafe {
        ptr::write_bytes(list.cast::<u8>(), 0, bytes);
        (&raw mut (*list).Depth).write_unaligned(depth);
        (&raw mut (*list).Type).write_unaligned(pool_type as _);
        (&raw mut (*list).Tag).write_unaligned(tag);
        (&raw mut (*list).Size).write_unaligned(u32::try_from(size).unwrap_or(u32::MAX));
        list.cast::<u8>().wrapping_add(0x30).cast::<usize>().write_unaligned(allocate);
        list.cast::<u8>().wrapping_add(0x38).cast::<usize>().write_unaligned(free);
    }
}

// The inlined allocation calls through these.
const _: () = assert!(std::mem::offset_of!(GENERAL_LOOKASIDE, Type) == 0x24);
const _: () = assert!(std::mem::offset_of!(GENERAL_LOOKASIDE, ListEntry) == 0x40);

/// FREE_FUNCTION_EX; the older lists' routines take no list.
type Free = extern "win64" fn(*mut c_void, *mut GENERAL_LOOKASIDE);

fn delete(lab: &Lab, list: *mut GENERAL_LOOKASIDE) {
    if !lab.obligations.remove(list.addr(), LOOKASIDE) {
        lab.report(
            "lookaside",
            "wdm/ExDeleteNPagedLookasideList",
            "deletes a lookaside list that was not initialised",
        );
    }
    check_counts(lab, list);
    let free = read_at(list, FREE);
    loop {
        // SAFETY: an initialised list, whose structure begins with the head.
        let block = unsafe { super::lists::pop(list.cast()) };
        if block.is_null() {
            break;
        }
        if free == lab.thunk_for(&ExFreePool::IMPORT) {
            lab.free(block.cast(), None);
        } else {
            // SAFETY: the routine that the driver gave for this.
            let free: Free = unsafe { std::mem::transmute(ptr::with_exposed_provenance::<()>(free)) };
            lab.call_driver("a lookaside list's free routine", || free(block.cast(), list));
        }
    }
}

/// The system sets the depth of a list by what its users count in it, and the inlines of the header count so that what was
/// given back to the list and not taken again is what waits in it. Who does the inlines' work must count, too.
fn check_counts(lab: &Lab, list: *mut GENERAL_LOOKASIDE) {
    let counted = |offset: usize| read_at::<u32>(list, offset);
    let kept = counted(TOTAL_FREES).wrapping_sub(counted(FREE_MISSES));
    let taken = counted(TOTAL_ALLOCATES).wrapping_sub(counted(ALLOCATE_MISSES));
    let waiting = u32::from(read_at::<u16>(list, 0));
    if kept.wrapping_sub(taken) != waiting {
        lab.report(
            "lookaside",
            "wdm/ExAllocateFromLookasideListEx, ExFreeToLookasideListEx (inlined): TotalAllocates, AllocateMisses, TotalFrees, FreeMisses",
            format!("a list in which {waiting} blocks wait counts {kept} given back to it and {taken} taken from it"),
        );
    }
    let depth = read_at::<u16>(list, DEPTH);
    if waiting > u32::from(depth) {
        lab.report(
            "lookaside",
            "wdm/ExFreeToLookasideListEx (inlined): what is given back to a list that has as many as its Depth is freed",
            format!("a list of depth {depth} keeps {waiting} blocks"),
        );
    }
}

/// A field of a list, which may lack the padding of the older ones.
fn read_at<T: Copy>(list: *const GENERAL_LOOKASIDE, offset: usize) -> T {
    // SAFETY: an initialised list of the driver; the callers read numbers at the offsets below.
    unsafe { list.cast::<u8>().wrapping_add(offset).cast::<T>().read_unaligned() }
}

const DEPTH: usize = 0x10;
const TOTAL_ALLOCATES: usize = 0x14;
const ALLOCATE_MISSES: usize = 0x18;
const TOTAL_FREES: usize = 0x1C;
const FREE_MISSES: usize = 0x20;
const FREE: usize = 0x38;
const _: () = assert!(std::mem::offset_of!(GENERAL_LOOKASIDE, Depth) == DEPTH);
const _: () = assert!(std::mem::offset_of!(GENERAL_LOOKASIDE, TotalAllocates) == TOTAL_ALLOCATES);
const _: () = assert!(std::mem::offset_of!(GENERAL_LOOKASIDE, TotalFrees) == TOTAL_FREES);

imports! {
    /// Pool.
    pub static TABLE in "ntoskrnl.exe";

    /// Allocates pool; zeroed unless the flags say otherwise.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Null, source: "wdm/ExAllocatePool2"]
    fn ExAllocatePool2(lab; flags: u64, bytes: usize, tag: u32) -> *mut c_void {
        check_request(lab, bytes, tag);
        let kind = match flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED) {
            POOL_FLAG_NON_PAGED => Kind::NonPaged,
            POOL_FLAG_PAGED => Kind::Paged,
            _ => lab.violate("pool-flags", "wdm/ExAllocatePool2: exactly one of NON_PAGED and PAGED; executable pool is refused",
                format!("flags {flags:#x}")),
        };
        if flags & POOL_FLAG_RAISE_ON_FAILURE != 0 {
            lab.report("pool-flags", "lab: no exceptions are dispatched", "POOL_FLAG_RAISE_ON_FAILURE");
        }
        check_paged(lab, kind);
        let memory = lab.allocate(bytes, kind, tag);
        if flags & POOL_FLAG_UNINITIALIZED == 0 {
            // SAFETY: the block was just allocated with this size.
            unsafe { ptr::write_bytes(memory, 0, bytes) };
        }
        memory.cast()
    }

    /// Allocates pool, filled with a pattern.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Null, source: "wdm/ExAllocatePoolWithTag"]
    fn ExAllocatePoolWithTag(lab; pool_type: i32, bytes: usize, tag: u32) -> *mut c_void {
        by_type(lab, pool_type, bytes, tag)
    }

    /// Allocates pool without a tag of its own.
    [ceiling: DISPATCH_LEVEL, Modelled, fails: Null, source: "wdm/ExAllocatePool"]
    fn ExAllocatePool(lab; pool_type: i32, bytes: usize) -> *mut c_void {
        by_type(lab, pool_type, bytes, u32::from_le_bytes(*b"None"))
    }

    /// Frees pool.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExFreePool"]
    fn ExFreePool(lab; block: *mut c_void) { lab.free(block.cast(), None) }

    /// Frees pool; a tag that is not zero is checked.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExFreePoolWithTag"]
    fn ExFreePoolWithTag(lab; block: *mut c_void, tag: u32) { lab.free(block.cast(), Some(tag)) }

    /// Frees pool.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExFreePool2"]
    fn ExFreePool2(lab; block: *mut c_void, tag: u32, parameters: *mut c_void, count: u32) {
        if !parameters.is_null() || count != 0 {
            lab.report("unserved", "wdm/ExFreePool2", "extended parameters are not modelled");
        }
        lab.free(block.cast(), Some(tag));
    }

    /// Prepares a nonpaged lookaside list.
    [ceiling: DISPATCH_LEVEL, Approximated("the depth never changes; 0, as under Driver Verifier, unless set"), source: "wdm/ExInitializeNPagedLookasideList"]
    fn ExInitializeNPagedLookasideList(lab; list: *mut GENERAL_LOOKASIDE, allocate: *mut c_void, free: *mut c_void, _flags: u32, size: usize, tag: u32, _depth: u16) {
        initialise(lab, list, OLD_LIST, POOL_NX, size, tag);
        override_routines(list, allocate, free);
    }

    /// Takes a nonpaged lookaside list down.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExDeleteNPagedLookasideList"]
    fn ExDeleteNPagedLookasideList(lab; list: *mut GENERAL_LOOKASIDE) { delete(lab, list) }

    /// Prepares a lookaside list of either kind.
    [ceiling: DISPATCH_LEVEL, Approximated("the depth never changes; 0, as under Driver Verifier, unless set"), fails: Status, source: "wdm/ExInitializeLookasideListEx"]
    fn ExInitializeLookasideListEx(lab; list: *mut GENERAL_LOOKASIDE, allocate: *mut c_void, free: *mut c_void, pool_type: i32, flags: u32, size: usize, tag: u32, _depth: u16) -> i32 {
        if flags != 0 {
            lab.report("unserved", "wdm/ExInitializeLookasideListEx", format!("flags {flags:#x}: failing by exception and fast lists are not modelled"));
        }
        initialise(lab, list, NEW_LIST, pool_type, size, tag);
        override_routines(list, allocate, free);
        crate::status::SUCCESS
    }

    /// Takes a lookaside list of either kind down.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ExDeleteLookasideListEx"]
    fn ExDeleteLookasideListEx(lab; list: *mut GENERAL_LOOKASIDE) { delete(lab, list) }

    /// Prepares a paged lookaside list.
    [ceiling: APC_LEVEL, Approximated("the depth never changes; 0, as under Driver Verifier, unless set"), source: "wdm/ExInitializePagedLookasideList"]
    fn ExInitializePagedLookasideList(lab; list: *mut GENERAL_LOOKASIDE, allocate: *mut c_void, free: *mut c_void, _flags: u32, size: usize, tag: u32, _depth: u16) {
        initialise(lab, list, OLD_LIST, PAGED_POOL, size, tag);
        override_routines(list, allocate, free);
    }

    /// Takes a paged lookaside list down.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/ExDeletePagedLookasideList"]
    fn ExDeletePagedLookasideList(lab; list: *mut GENERAL_LOOKASIDE) { delete(lab, list) }
}

/// A driver's own routines replace the default ones; they are called from its own inlined code.
fn override_routines(list: *mut GENERAL_LOOKASIDE, allocate: *mut c_void, free: *mut c_void) {
    for (offset, routine) in [(0x30, allocate), (0x38, free)] {
        if !routine.is_null() {
            // SAFETY: the list was initialised just before; the offsets lie inside it.
            unsafe { list.cast::<u8>().wrapping_add(offset).cast::<usize>().write_unaligned(routine.addr()) };
        }
    }
}
