//! Objects, handles, symbolic links.

use std::ptr;

use lab_nt::{OBJECT_ATTRIBUTES, UNICODE_STRING};

use crate::handle::Mode;
use crate::import::{Failure, Target};
use crate::imports::raw::{OBJ_KERNEL_HANDLE, attributes, put, put_bytes};
use crate::irql::{HIGH_LEVEL, PASSIVE_LEVEL};
use crate::wait::{NOTIFICATION_EVENT, SYNCHRONIZATION_EVENT, Timeout};
use crate::{Fidelity, Import, Lab, imports, status};

fn mode(value: u8) -> Mode {
    if value == 0 { Mode::Kernel } else { Mode::User }
}

/// Whether an object is of the type that a caller names; null means any type, for kernel callers only.
fn check_type(lab: &Lab, body: *const u8, kind: *const u8, mode: Mode) -> Result<(), i32> {
    let actual = lab.objects.type_of(body).ok_or(status::INVALID_HANDLE)?;
    if kind.is_null() && mode == Mode::Kernel {
        return Ok(());
    }
    if lab.objects.type_at(kind).is_none() && !kind.is_null() {
        lab.report(
            "bad-object-type",
            "wdm/ObReferenceObjectByHandle",
            "the object type is none; it is *IoFileObjectType, not IoFileObjectType",
        );
    }
    if actual.body.addr() == kind.addr() { Ok(()) } else { Err(status::OBJECT_TYPE_MISMATCH) }
}

fn reference_by_handle(
    lab: &Lab,
    handle: usize,
    access: u32,
    kind: *const u8,
    mode: Mode,
) -> Result<*mut u8, i32> {
    let entry = lab.handle(handle, mode)?;
    check_type(lab, entry.body, kind, mode)?;
    if mode == Mode::User && access & !entry.granted != 0 {
        return Err(status::ACCESS_DENIED);
    }
    lab.objects.reference(lab, entry.body);
    lab.objects.note_driver_reference(lab, entry.body, 1);
    Ok(entry.body)
}

fn code(result: Result<(), i32>) -> i32 {
    result.err().unwrap_or(status::SUCCESS)
}

imports! {
    /// Objects and handles.
    pub static TABLE in "ntoskrnl.exe";

    /// References what a handle stands for.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_0008, 0xC000_0024, 0xC000_0022), source: "wdm/ObReferenceObjectByHandle"]
    fn ObReferenceObjectByHandle(lab; handle: usize, access: u32, kind: *const u8, access_mode: u8, object: *mut *mut u8, information: *mut [u32; 2]) -> i32 {
        // SAFETY: the contract says writable, the second may be null.
        unsafe {
            put(object, ptr::null_mut());
            match reference_by_handle(lab, handle, access, kind, mode(access_mode)) {
                Ok(body) => {
                    let granted = lab.handle(handle, Mode::Kernel).map_or(0, |e| e.granted);
                    put(object, body);
                    put(information, [0, granted]);
                    status::SUCCESS
                }
                Err(status) => status,
            }
        }
    }

    /// References an object of a type.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ObReferenceObjectByPointer"]
    fn ObReferenceObjectByPointer(lab; object: *mut u8, _access: u32, kind: *const u8, access_mode: u8) -> i32 {
        if let Err(status) = check_type(lab, object, kind, mode(access_mode)) {
            return status;
        }
        lab.objects.reference(lab, object);
        lab.objects.note_driver_reference(lab, object, 1);
        status::SUCCESS
    }

    /// Adds a reference; returns the new count.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ObfReferenceObject"]
    fn ObfReferenceObject(lab; object: *mut u8) -> i64 {
        lab.objects.reference(lab, object);
        lab.objects.note_driver_reference(lab, object, 1);
        lab.objects.references(object)
    }

    /// Takes a reference away; returns the new count.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ObfDereferenceObject; above PASSIVE_LEVEL deletion is deferred"]
    fn ObfDereferenceObject(lab; object: *mut u8) -> i64 {
        let left = lab.objects.references(object) - 1;
        lab.objects.note_driver_reference(lab, object, -1);
        lab.objects.dereference(lab, object);
        left
    }

    /// Takes a reference away; a worker deletes the object if it was the last.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/ObDereferenceObjectDeferDelete"]
    fn ObDereferenceObjectDeferDelete(lab; object: *mut u8) {
        lab.objects.note_driver_reference(lab, object, -1);
        lab.objects.dereference_deferred(lab, object);
    }

    /// Opens a handle to an object.
    [ceiling: PASSIVE_LEVEL, Approximated("no access check against the object's security descriptor"), fails: Status, source: "ntifs/ObOpenObjectByPointer"]
    fn ObOpenObjectByPointer(lab; object: *mut u8, attributes: u32, _state: *mut u8, access: u32, kind: *const u8, access_mode: u8, handle: *mut usize) -> i32 {
        if let Err(status) = check_type(lab, object, kind, mode(access_mode)) {
            return status;
        }
        let granted = lab.objects.type_of(object).map_or(access, |t| t.map_generic(access));
        let opened = lab.open_driver_handle(object, granted, attributes & OBJ_KERNEL_HANDLE != 0);
        // SAFETY: the contract says writable.
        unsafe { put(handle, opened) };
        status::SUCCESS
    }

    /// Closes a handle.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "wdm/ZwClose"]
    fn ZwClose(lab; handle: usize) -> i32 { code(lab.close_handle(handle, Mode::Kernel)) }

    /// Closes a handle.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "ntifs/ObCloseHandle"]
    fn ObCloseHandle(lab; handle: usize, previous_mode: u8) -> i32 { code(lab.close_handle(handle, mode(previous_mode))) }

    /// Makes an event object.
    [ceiling: PASSIVE_LEVEL, Approximated("unnamed events only"), fails: Status, source: "ntifs/ZwCreateEvent"]
    fn ZwCreateEvent(lab; handle: *mut usize, access: u32, attributes_in: *const OBJECT_ATTRIBUTES, kind: i32, state: u8) -> i32 {
        // SAFETY: the contract says null or valid attributes.
        let attributes = match unsafe { attributes(lab, attributes_in) } {
            Ok(attributes) => attributes,
            Err(status) => return status,
        };
        if !attributes.name.is_empty() {
            lab.report("unserved", "ntifs/ZwCreateEvent", "named events are not modelled");
        }
        let event = lab.objects.type_named("Event");
        let body = lab.objects.create(lab, &event, 24, None);
        let kind = if kind == 0 { NOTIFICATION_EVENT } else { SYNCHRONIZATION_EVENT };
        lab.init_dispatcher(body, kind, i32::from(state != 0));
        let opened = lab.open_driver_handle(body, event.map_generic(access), attributes.kernel);
        lab.objects.dereference(lab, body);
        // SAFETY: the contract says writable.
        unsafe { put(handle, opened) };
        status::SUCCESS
    }

    /// Signals an event object.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "ntifs/ZwSetEvent"]
    fn ZwSetEvent(lab; handle: usize, former: *mut i32) -> i32 {
        match lab.handle(handle, Mode::Kernel) {
            Ok(entry) => {
                let state = lab.signal_object(entry.body, 1);
                // SAFETY: the contract says null or writable.
                unsafe { put(former, state) };
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Waits for what a handle stands for.
    [ceiling: PASSIVE_LEVEL, Approximated("no alerts and no APCs interrupt a wait"), source: "ntifs/ZwWaitForSingleObject"]
    fn ZwWaitForSingleObject(lab; handle: usize, _alertable: u8, timeout: *const i64) -> i32 {
        match lab.handle(handle, Mode::Kernel) {
            // SAFETY: the contract says null or a valid time.
            Ok(entry) => lab.wait_for(&[entry.body], false, unsafe { Timeout::from_raw(timeout) }),
            Err(status) => status,
        }
    }

    /// Opens a symbolic link of the object namespace.
    [ceiling: PASSIVE_LEVEL, Approximated("only the links that the lab was given; no directories, no access check"), fails: Status(0xC000_0022, 0xC000_0034), source: "wdm/ZwOpenSymbolicLinkObject"]
    fn ZwOpenSymbolicLinkObject(lab; handle: *mut usize, access: u32, attributes_in: *const OBJECT_ATTRIBUTES) -> i32 {
        // SAFETY: the contract says valid attributes.
        let attributes = match unsafe { attributes(lab, attributes_in) } {
            Ok(attributes) => attributes,
            Err(status) => return status,
        };
        if attributes.root != 0 {
            lab.report("unserved", "wdm/ZwOpenSymbolicLinkObject", "a link relative to a directory is not modelled");
        }
        let Some(body) = lab.objects.symbolic_link(&attributes.name) else { return status::OBJECT_NAME_NOT_FOUND };
        let opened = lab.open_driver_handle(body, access, attributes.kernel);
        // SAFETY: the contract says writable.
        unsafe { put(handle, opened) };
        status::SUCCESS
    }

    /// A symbolic link's target.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_0023, 0xC000_0008), source: "wdm/ZwQuerySymbolicLinkObject"]
    fn ZwQuerySymbolicLinkObject(lab; handle: usize, target: *mut UNICODE_STRING, needed: *mut u32) -> i32 {
        let entry = match lab.handle(handle, Mode::Kernel) {
            Ok(entry) => entry,
            Err(status) => return status,
        };
        let Some(link) = lab.objects.payload::<crate::object::SymbolicLink>(entry.body) else {
            return status::OBJECT_TYPE_MISMATCH;
        };
        let bytes: Vec<u8> = link.target.encode_utf16().flat_map(u16::to_le_bytes).collect();
        // SAFETY: the contract says a valid string with a writable buffer, and null or a writable length.
        unsafe {
            put(needed, bytes.len() as u32);
            let mut string = target.read_unaligned();
            if usize::from(string.MaximumLength) < bytes.len() {
                return status::BUFFER_TOO_SMALL;
            }
            put_bytes(string.Buffer.cast(), &bytes);
            string.Length = bytes.len() as u16;
            target.write_unaligned(string);
        }
        status::SUCCESS
    }
}

macro_rules! type_variables {
    ($($static:ident, $name:literal, $kind:literal;)*) => {
        $(static $static: Import = Import {
            module: "ntoskrnl.exe",
            name: $name,
            target: Target::Data(|lab| lab.objects.type_named($kind).variable.cast()),
            floor: PASSIVE_LEVEL,
            ceiling: HIGH_LEVEL,
            fidelity: Fidelity::Modelled,
            failure: Failure::Never,
            failures: &[],
            source: "wdm.h: a variable that points to an object type",
        };)*
        /// Object types as data exports.
        pub static VARIABLES: &[&Import] = &[$(&$static),*, &SYSTEM_PROCESS];
    };
}

type_variables! {
    PROCESS_TYPE, "PsProcessType", "Process";
    THREAD_TYPE, "PsThreadType", "Thread";
    EVENT_TYPE, "ExEventObjectType", "Event";
    KEY_TYPE, "CmKeyObjectType", "Key";
    TOKEN_TYPE, "SeTokenObjectType", "Token";
}

static SYSTEM_PROCESS: Import = Import {
    module: "ntoskrnl.exe",
    name: "PsInitialSystemProcess",
    target: Target::Data(|lab| lab.processes.system_variable(lab)),
    floor: PASSIVE_LEVEL,
    ceiling: HIGH_LEVEL,
    fidelity: Fidelity::Modelled,
    failure: Failure::Never,
    failures: &[],
    source: "ntddk.h: a variable that points to the system process",
};
