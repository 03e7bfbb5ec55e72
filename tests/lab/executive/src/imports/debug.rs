//! The debugger's console, bugchecks, and finding routines by name.

use std::ffi::c_void;
use std::ptr;

use lab_nt::UNICODE_STRING;

use crate::format::{self, Arguments};
use crate::imports::raw::text;
use crate::{Lab, imports, status};

/// Arguments that a printing routine's call may carry: what the wrapper can name. Slots past the real ones hold
/// whatever lies on the stack, and the format does not ask for them.
type Slots = [u64; 10];

fn print(lab: &Lab, format: *const u8, slots: &Slots) -> i32 {
    // SAFETY: the contract says a terminated string; a bad pointer faults and is reported.
    let template = unsafe { format::narrow(format) };
    // SAFETY: the contract says arguments that fit the format.
    let line = unsafe { format::format(lab, &template, &mut Arguments::slots(slots)) };
    lab.debug_output.borrow_mut().push(line);
    status::SUCCESS
}

imports! {
    /// Debugging.
    pub static TABLE in "ntoskrnl.exe";

    /// Prints to the debugger.
    [ceiling: HIGH_LEVEL, Approximated("ten arguments; d i u x X p c s S Z wZ with widths; floating point is not formatted"), source: "wdm/DbgPrint"]
    fn DbgPrint(lab; format: *const u8, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64, j: u64) -> i32 {
        print(lab, format, &[a, b, c, d, e, f, g, h, i, j])
    }

    /// Prints to the debugger, filtered by component and level.
    [ceiling: HIGH_LEVEL, Approximated("prints whatever the component and level; as DbgPrint"), source: "wdm/DbgPrintEx"]
    fn DbgPrintEx(lab; _component: u32, _level: u32, format: *const u8, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, i: u64, j: u64) -> i32 {
        print(lab, format, &[a, b, c, d, e, f, g, h, i, j])
    }

    /// Formats into a buffer of characters.
    [ceiling: DISPATCH_LEVEL, Approximated("as DbgPrint, with up to 32 arguments"), source: "C runtime, _vsnprintf"]
    fn _vsnprintf(lab; buffer: *mut u8, count: usize, format: *const u8, arguments: *const u64) -> i32 {
        // SAFETY: the contract says a terminated string and fitting arguments.
        let line = unsafe {
            let template = format::narrow(format);
            format::format(lab, &template, &mut Arguments::list(arguments))
        };
        let bytes = line.as_bytes();
        let fits = bytes.len().min(count);
        // SAFETY: the contract says `count` writable bytes.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, fits);
            if fits < count {
                buffer.wrapping_add(fits).write(0);
            }
        }
        if bytes.len() > count { -1 } else { i32::try_from(bytes.len()).unwrap_or(-1) }
    }

    /// Formats into a buffer of wide characters.
    [ceiling: DISPATCH_LEVEL, Approximated("as DbgPrint, with up to 32 arguments"), source: "C runtime, _vsnwprintf"]
    fn _vsnwprintf(lab; buffer: *mut u16, count: usize, format: *const u16, arguments: *const u64) -> i32 {
        // SAFETY: the contract says a terminated string and fitting arguments.
        let line = unsafe {
            let template = format::wide(format);
            format::format_wide(lab, &template, &mut Arguments::list(arguments))
        };
        let units: Vec<u16> = line.encode_utf16().collect();
        let fits = units.len().min(count);
        // SAFETY: the contract says `count` writable characters.
        unsafe {
            ptr::copy_nonoverlapping(units.as_ptr(), buffer, fits);
            if fits < count {
                buffer.wrapping_add(fits).write(0);
            }
        }
        if units.len() > count { -1 } else { i32::try_from(units.len()).unwrap_or(-1) }
    }

    /// Stops the system.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeBugCheckEx"]
    fn KeBugCheckEx(lab; code: u32, p1: usize, p2: usize, p3: usize, p4: usize) {
        lab.report("bugcheck", "wdm/KeBugCheckEx", format!("the driver calls bugcheck {code:#x} ({p1:#x}, {p2:#x}, {p3:#x}, {p4:#x})"))
    }

    /// Stops the system.
    [ceiling: HIGH_LEVEL, Modelled, source: "wdm/KeBugCheck"]
    fn KeBugCheck(lab; code: u32) {
        lab.report("bugcheck", "wdm/KeBugCheck", format!("the driver calls bugcheck {code:#x}"))
    }

    /// Address of a routine by name, or null.
    [ceiling: PASSIVE_LEVEL, Approximated("finds what the lab's tables have; Windows has more"), source: "wdm/MmGetSystemRoutineAddress"]
    fn MmGetSystemRoutineAddress(lab; name: *const UNICODE_STRING) -> *const c_void {
        // SAFETY: the contract says a valid string.
        let name = unsafe { text(lab, name) };
        match lab.find_routine(&name) {
            Some(import) => ptr::with_exposed_provenance(lab.thunk_for(import)),
            None => ptr::null(),
        }
    }
}
