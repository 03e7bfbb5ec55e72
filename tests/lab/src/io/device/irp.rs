//! Requests to a driver's dispatch routines, and what Driver Verifier's I/O verification checks of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::PVOID;
use lab_executive::status;
use lab_nt::{DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP};

use super::{Device, devices};
use crate::Executive;
use crate::memory;

type Routine = unsafe extern "win64" fn(*mut DEVICE_OBJECT, *mut IRP) -> i32;

const VERIFICATION: &str = "Driver Verifier: I/O verification (bugcheck 0xC9)";
const INVALID_DEVICE_REQUEST: i32 = 0xC000_0010_u32.cast_signed();
/// `SL_PENDING_RETURNED`, which IoMarkIrpPending sets.
const PENDING_RETURNED: u8 = 0x1;
const STACK: usize = size_of::<IRP>().next_multiple_of(16);

/// The kernel's copy of a METHOD_BUFFERED request's input, which becomes its output.
pub(super) struct SystemBuffer {
    address: *mut u8,
    len: usize,
    output: usize,
}

impl SystemBuffer {
    /// Room for the longer of both; what the program did not send is filled with a pattern, as pool is not zeroed.
    pub(super) fn new(lab: &Executive, input: &[u8], output: usize) -> Self {
        const PATTERN: u8 = 0xCD;
        let len = input.len().max(output);
        if len == 0 {
            return Self { address: std::ptr::null_mut(), len, output };
        }
        let address = lab.allocate_own(len, b"IoSb");
        memory::fill(address, &vec![PATTERN; len]);
        memory::fill(address, input);
        Self { address, len, output }
    }

    pub(super) fn address(&self) -> PVOID {
        self.address.cast()
    }

    fn take(&self, lab: &Executive) -> Vec<u8> {
        if self.address.is_null() {
            return Vec::new();
        }
        let bytes = memory::bytes(self.address, self.output.min(self.len));
        lab.free_own(self.address);
        bytes
    }
}

/// How a request ended.
#[derive(Clone, Default)]
pub(super) struct Sent {
    pub(super) status: i32,
    pub(super) information: usize,
    /// The system buffer as the driver left it.
    pub(super) output: Vec<u8>,
    /// IoMarkIrpPending had been called.
    marked: bool,
}

struct Pending {
    what: String,
    buffer: Option<SystemBuffer>,
    ended: RefCell<Option<Sent>>,
}

/// Requests that drivers have and did not complete yet.
#[derive(Default)]
pub(super) struct Irps {
    pending: RefCell<BTreeMap<usize, Rc<Pending>>>,
    count: Cell<u64>,
}

/// Sends a request without a system buffer.
pub(super) fn send(
    lab: &Executive,
    device: &Rc<Device>,
    file: *mut FILE_OBJECT,
    major: u8,
    fill: impl FnOnce(&mut IRP, &mut IO_STACK_LOCATION),
) -> Sent {
    send_with(lab, device, file, major, None, fill)
}

/// Sends a request to a device's driver and waits for its end.
pub(super) fn send_with(
    lab: &Executive,
    device: &Rc<Device>,
    file: *mut FILE_OBJECT,
    major: u8,
    buffer: Option<SystemBuffer>,
    fill: impl FnOnce(&mut IRP, &mut IO_STACK_LOCATION),
) -> Sent {
    let irps = &devices(lab).irps;
    irps.count.set(irps.count.get() + 1);
    let name = crate::flt::registration::major_name(major);
    let what = format!("{name} request #{} to {}", irps.count.get(), device.label());
    lab.trace.event("irp", (irps.count.get() << 8) | u64::from(major));
    let Some(routine) = routine(lab, device, major, &what) else {
        // The I/O manager's own routine for what a driver does not dispatch (wdm/DRIVER_OBJECT).
        buffer.inspect(|buffer| drop(buffer.take(lab)));
        return Sent { status: INVALID_DEVICE_REQUEST, ..Sent::default() };
    };
    let irp = make(lab, device, file, major, fill);
    let pending = Rc::new(Pending { what, buffer, ended: RefCell::default() });
    irps.pending.borrow_mut().insert(irp.addr(), pending.clone());
    let returned = crate::flt::call(lab, "a dispatch routine", || {
        // SAFETY: the driver's dispatch routine, called as wdm.h types it, with a live device and request.
        unsafe { routine(device.body, irp) }
    });
    check_return(lab, irp, &pending, returned);
    if pending.ended.borrow().is_none() {
        let waiting = pending.clone();
        let until = move || waiting.ended.borrow().is_some();
        lab.block_until(format!("the completion of {}", pending.what), None, until);
    }
    let ended = pending.ended.borrow_mut().take();
    ended.unwrap_or_default()
}

/// The driver's routine for a major function.
fn routine(lab: &Executive, device: &Device, major: u8, what: &str) -> Option<Routine> {
    if device.driver.is_gone() {
        lab.report(
            "device-after-unload",
            "wdm/IoDeleteDevice: a driver must not be unloaded while its device is open",
            format!("{what}, whose driver is not loaded any more"),
        );
    }
    let routine = memory::read(device.driver.object).MajorFunction[usize::from(major)]?;
    let address = routine as usize;
    if let Some(image) = device.driver.image
        && lab.images.index_of(address) != Some(image)
    {
        lab.report(
            "dispatch-outside",
            "wdm/DRIVER_OBJECT: MajorFunction holds the driver's dispatch routines",
            format!("{what}: the routine lies outside the driver's image"),
        );
    }
    // SAFETY: the same function; lab_nt declares it with the Windows ABI under another type.
    Some(unsafe { std::mem::transmute::<usize, Routine>(address) })
}

fn make(
    lab: &Executive,
    device: &Device,
    file: *mut FILE_OBJECT,
    major: u8,
    fill: impl FnOnce(&mut IRP, &mut IO_STACK_LOCATION),
) -> *mut IRP {
    const TYPE_IRP: i16 = 6;
    let memory_of = lab.allocate_own(STACK + size_of::<IO_STACK_LOCATION>(), b"Irp ");
    let irp: *mut IRP = memory_of.cast();
    let location: *mut IO_STACK_LOCATION = memory_of.wrapping_add(STACK).cast();
    let mut packet = memory::read(irp);
    packet.Type = TYPE_IRP;
    packet.Size = (STACK + size_of::<IO_STACK_LOCATION>()) as u16;
    packet.RequestorMode = 1;
    packet.StackCount = 1;
    packet.CurrentLocation = 1;
    packet.Tail.Overlay.Thread = lab.thread().ethread.cast();
    packet.Tail.Overlay.OriginalFileObject = file;
    packet.Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = location;
    let mut stack = memory::read(location);
    stack.MajorFunction = major;
    stack.DeviceObject = device.body;
    stack.FileObject = file;
    fill(&mut packet, &mut stack);
    memory::write(irp, packet);
    memory::write(location, stack);
    irp
}

fn stack_of(irp: *const IRP) -> IO_STACK_LOCATION {
    memory::read(irp.cast::<u8>().wrapping_add(STACK).cast())
}

/// What the routine returned must agree with what it did.
fn check_return(lab: &Executive, irp: *mut IRP, pending: &Pending, returned: i32) {
    let what = &pending.what;
    let ended = pending.ended.borrow().clone();
    let marked = match &ended {
        Some(sent) => sent.marked,
        None => stack_of(irp).Control & PENDING_RETURNED != 0,
    };
    match (&ended, returned) {
        (_, status::PENDING) if !marked => lab.report(
            "irp-pending-not-marked",
            VERIFICATION,
            format!("{what}: the routine returned STATUS_PENDING without IoMarkIrpPending"),
        ),
        (_, status::PENDING) => {}
        (_, other) if marked => lab.report(
            "irp-marked-not-pending",
            VERIFICATION,
            format!("{what}: the routine called IoMarkIrpPending and returned {other:#010x}"),
        ),
        (None, other) => lab.report(
            "irp-not-completed",
            VERIFICATION,
            format!("{what}: the routine returned {other:#010x} and did not complete it"),
        ),
        (Some(sent), other) if sent.status != other => lab.report(
            "irp-status",
            VERIFICATION,
            format!("{what}: completed with {:#010x}, but the routine returned {other:#010x}", sent.status),
        ),
        _ => {}
    }
}

/// IofCompleteRequest: the request's memory goes at once, so that a driver that touches it afterwards faults.
pub(super) fn complete(lab: &Executive, irp: *mut IRP) {
    let found = devices(lab).irps.pending.borrow_mut().remove(&irp.addr());
    let Some(pending) = found else {
        return lab.report(
            "irp-completed-twice",
            "wdm/IoCompleteRequest; bugcheck 0x44 MULTIPLE_IRP_COMPLETE_REQUESTS",
            "completes what is no request under way",
        );
    };
    let packet = memory::read(irp);
    let stack = stack_of(irp);
    // SAFETY: the member that NTSTATUS results use; an integer, valid for any bits.
    let result = unsafe { packet.IoStatus.__bindgen_anon_1.Status };
    let information = packet.IoStatus.Information as usize;
    let what = &pending.what;
    if result == status::PENDING || result == -1 {
        lab.report(
            "irp-completed-pending",
            VERIFICATION,
            format!("{what} is completed with status {result:#010x}"),
        );
    }
    if u32::from(stack.MajorFunction) == lab_nt::IRP_MJ_CLEANUP && result < 0 {
        lab.report(
            "irp-status",
            "kernel/dispatchcleanup-routines: completes the request, and returns STATUS_SUCCESS",
            format!("{what} is completed with {result:#010x}"),
        );
    }
    if packet.CancelRoutine.is_some() {
        lab.report(
            "irp-cancel-routine",
            VERIFICATION,
            format!("{what} is completed with its cancel routine set"),
        );
    }
    if let Some(buffer) = &pending.buffer
        && (result >= 0 || result == status::BUFFER_OVERFLOW)
        && information > buffer.output
    {
        lab.report(
            "irp-information",
            "wdm/IO_STATUS_BLOCK: with METHOD_BUFFERED, Information bytes are copied to the program's buffer",
            format!("{what}: Information is {information}, but the program gave room for {}", buffer.output),
        );
    }
    let output = pending.buffer.as_ref().map(|buffer| buffer.take(lab)).unwrap_or_default();
    lab.free_own(irp.cast());
    let marked = stack.Control & PENDING_RETURNED != 0;
    *pending.ended.borrow_mut() = Some(Sent { status: result, information, output, marked });
}
