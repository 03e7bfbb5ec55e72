//! Event tracing routines.

use std::ffi::c_void;

use lab_nt::EVENT_DATA_DESCRIPTOR;

use crate::etw::{Descriptor, GUID_LEN};
use crate::imports::raw::put;
use crate::{Lab, imports, status};

/// Most data blocks of one event (MAX_EVENT_DATA_DESCRIPTORS, evntprov.h).
const MOST_BLOCKS: u32 = 128;

/// # Safety
/// `descriptor` and `data` are valid, the latter for `count` blocks that are readable.
unsafe fn write(
    lab: &Lab,
    registration: u64,
    descriptor: *const Descriptor,
    count: u32,
    data: *const EVENT_DATA_DESCRIPTOR,
) -> i32 {
    if count > MOST_BLOCKS {
        return status::INVALID_PARAMETER;
    }
    let mut blocks = Vec::new();
    for index in 0..count as usize {
        // SAFETY: by this function's contract.
        let block = unsafe { data.wrapping_add(index).read_unaligned() };
        let memory = std::ptr::with_exposed_provenance::<u8>(block.Ptr as usize);
        let bytes = if block.Size == 0 {
            Vec::new()
        } else {
            // SAFETY: by this function's contract.
            unsafe { std::slice::from_raw_parts(memory, block.Size as usize) }.to_vec()
        };
        blocks.push((block.Reserved as u8, bytes));
    }
    // SAFETY: by this function's contract.
    let descriptor = unsafe { descriptor.read_unaligned() };
    lab.record_event(registration, descriptor, &blocks)
}

type Enable = extern "win64" fn(*const u8, u32, u8, u64, u64, *mut c_void, *mut c_void);

imports! {
    /// Event tracing. One session listens to everything.
    pub static TABLE in "ntoskrnl.exe";

    /// Registers a provider and tells it that it is enabled.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_000D), source: "wdm/EtwRegister"]
    fn EtwRegister(lab; provider: *const [u8; GUID_LEN], callback: usize, context: *mut c_void, handle: *mut u64) -> i32 {
        // SAFETY: the contract says a GUID and a writable handle.
        let guid = unsafe { provider.read_unaligned() };
        let registration = lab.register_provider(guid);
        // SAFETY: as above.
        unsafe { put(handle, registration) };
        if callback != 0 {
            // SAFETY: the contract says a PETWENABLECALLBACK.
            let callback: Enable = unsafe { std::mem::transmute(std::ptr::with_exposed_provenance::<()>(callback)) };
            let (level, any) = lab.etw.enabled();
            lab.call_driver("an ETW enable callback", || {
                callback(guid.as_ptr(), 1, level, any, 0, std::ptr::null_mut(), context);
            });
        }
        status::SUCCESS
    }

    /// Ends a registration.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/EtwUnregister"]
    fn EtwUnregister(lab; handle: u64) -> i32 { lab.unregister_provider(handle) }

    /// Attaches traits to a registration.
    [ceiling: PASSIVE_LEVEL, Approximated("checks the handle and does nothing"), source: "wdm/EtwSetInformation"]
    fn EtwSetInformation(lab; handle: u64, _class: i32, _information: *mut c_void, _length: u32) -> i32 {
        lab.check_provider(handle);
        status::SUCCESS
    }

    /// Writes an event.
    [ceiling: HIGH_LEVEL, Modelled, fails: Status, source: "wdm/EtwWrite; pageable data needs IRQL < DISPATCH_LEVEL"]
    fn EtwWrite(lab; handle: u64, descriptor: *const Descriptor, _activity: *const c_void, count: u32, data: *const EVENT_DATA_DESCRIPTOR) -> i32 {
        // SAFETY: the contract says valid descriptors and readable blocks.
        unsafe { write(lab, handle, descriptor, count, data) }
    }

    /// Writes an event of an activity.
    [ceiling: HIGH_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0008), source: "wdm/EtwWriteTransfer; pageable data needs IRQL < DISPATCH_LEVEL"]
    fn EtwWriteTransfer(lab; handle: u64, descriptor: *const Descriptor, _activity: *const c_void, _related: *const c_void, count: u32, data: *const EVENT_DATA_DESCRIPTOR) -> i32 {
        // SAFETY: the contract says valid descriptors and readable blocks.
        unsafe { write(lab, handle, descriptor, count, data) }
    }

    /// Whether anybody listens to an event.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/EtwEventEnabled"]
    fn EtwEventEnabled(lab; handle: u64, descriptor: *const Descriptor) -> u8 {
        lab.check_provider(handle);
        // SAFETY: the contract says a valid descriptor.
        let descriptor = unsafe { descriptor.read_unaligned() };
        u8::from(lab.etw.listens(descriptor.level, descriptor.keyword))
    }

    /// Whether anybody listens to a provider.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/EtwProviderEnabled"]
    fn EtwProviderEnabled(lab; handle: u64, level: u8, keyword: u64) -> u8 {
        lab.check_provider(handle);
        u8::from(lab.etw.listens(level, keyword))
    }
}
