//! Event tracing: self-describing events are decoded; malformed ones stop the run.

use std::ffi::c_void;
use std::ptr;

use lab_executive::Lab;
use lab_executive::etw::{Descriptor, Field};
use lab_executive::imports::etw::*;
use lab_nt::EVENT_DATA_DESCRIPTOR;

use crate::{lab, must_violate, run};

const GUID: [u8; 16] = [7; 16];

fn metadata(body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 2) as u16).to_le_bytes().to_vec();
    bytes.extend(body);
    bytes
}

fn descriptor() -> Descriptor {
    Descriptor { id: 0, version: 0, channel: 11, level: 4, opcode: 0, task: 0, keyword: 1 }
}

fn write(event: &[u8], data: &[&[u8]]) -> i32 {
    let (provider, event) = (metadata(b"Sample.Driver\0"), metadata(event));
    let block = |bytes: &[u8], kind: u32| EVENT_DATA_DESCRIPTOR {
        Ptr: bytes.as_ptr().expose_provenance() as u64,
        Size: bytes.len() as u32,
        Reserved: kind,
    };
    let mut blocks = vec![block(&provider, 2), block(&event, 1)];
    blocks.extend(data.iter().map(|d| block(d, 0)));
    let mut handle = 0;
    // SAFETY: valid arguments, in a lab thread.
    unsafe {
        EtwRegister(&GUID, 0, ptr::null_mut(), &mut handle);
        let status = EtwWriteTransfer(
            handle,
            &descriptor(),
            ptr::null(),
            ptr::null(),
            blocks.len() as u32,
            blocks.as_ptr(),
        );
        EtwUnregister(handle);
        status
    }
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_self_describing_event_is_decoded() {
    let lab = lab();
    let result = lab.run(|_: &Lab| {
        // Tag 0, name, then fields: a wide string, a hexadecimal status with an output type, a counted array, a
        // structure of one byte.
        let event = b"\0Saved\0Path\0\x01Status\0\x94\x0fSizes\0\x48Of\0\x98\x01Byte\0\x04";
        write(event, &[&wide("C:\\a"), &[5, 0, 0, 0xC0], &[2, 0, 1, 0, 0, 0, 2, 0, 0, 0], &[9]])
    });
    assert_eq!(result.ok(), Some(0));
    let events = lab.etw.take_events();
    assert_eq!((events[0].provider_name.as_str(), events[0].name.as_str()), ("Sample.Driver", "Saved"));
    assert_eq!(events[0].field("Path"), Some(&Field::Text("C:\\a".into())));
    assert_eq!(events[0].field("Status"), Some(&Field::Hex(0xC000_0005)));
    assert_eq!(events[0].field("Sizes"), Some(&Field::Array(vec![Field::Unsigned(1), Field::Unsigned(2)])));
    assert_eq!(events[0].field("Of.Byte"), Some(&Field::Unsigned(9)));
    assert_eq!(
        events[0].to_string(),
        "Sample.Driver/Saved Path=\"C:\\a\" Status=0xc0000005 Sizes=[1, 2] Of.Byte=9"
    );
}

#[test]
fn malformed_events_stop_the_run() {
    for (event, data) in [
        (&b"\0Short\0Value\0\x08"[..], &[1u8, 2][..]),
        (b"\0Long\0Value\0\x04", &[1, 2]),
        (b"\0Unknown\0Value\0\x1f", &[]),
        (b"\0Cut\0Val", &[]),
        (b"\0NoName", &[]),
        (b"\0Text\0Value\0\x01", &[b'a', 0]),
    ] {
        must_violate("etw-malformed", move |_| write(event, &[data]));
    }
}

#[test]
fn a_handle_that_is_no_registration_is_named() {
    // SAFETY: breaking the contract is the point.
    must_violate("etw-handle", |_| unsafe { EtwUnregister(99) });
}

#[test]
fn the_session_decides_what_is_written() {
    let lab = lab();
    lab.etw.enable(3, 2);
    let result = lab.run(|_: &Lab| write(b"\0Quiet\0", &[]));
    assert_eq!(result.ok(), Some(0));
    assert!(lab.etw.events().is_empty());
    run(|lab| {
        let mut handle = 0;
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            EtwRegister(&GUID, 0, ptr::null_mut(), &mut handle);
            lab.etw.enable(3, 2);
            assert_eq!((EtwProviderEnabled(handle, 3, 2), EtwProviderEnabled(handle, 4, 2)), (1, 0));
            assert_eq!(EtwEventEnabled(handle, &descriptor()), 0);
            EtwUnregister(handle);
        }
    });
}

#[test]
fn a_provider_is_told_that_it_is_enabled() {
    extern "win64" fn enabled(
        _: *const u8,
        code: u32,
        level: u8,
        any: u64,
        _: u64,
        _: *mut c_void,
        context: *mut c_void,
    ) {
        // SAFETY: the test passes a pointer to its own variable.
        unsafe { context.cast::<(u32, u8, u64)>().write((code, level, any)) };
    }
    run(|_| {
        let mut told = (0u32, 0u8, 0u64);
        let mut handle = 0;
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            EtwRegister(&GUID, enabled as *const () as usize, (&raw mut told).cast(), &mut handle);
            EtwUnregister(handle);
        }
        assert_eq!(told, (1, 255, u64::MAX));
    });
}
