//! Strings, security, memory, lists, printing, time, stacks, work items.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use lab_executive::imports::debug::*;
use lab_executive::imports::lists::*;
use lab_executive::imports::memory::*;
use lab_executive::imports::names::*;
use lab_executive::imports::security::*;
use lab_executive::imports::strings::*;
use lab_executive::imports::threads::*;
use lab_executive::imports::time::*;
use lab_executive::{Lab, status};
use lab_nt::UNICODE_STRING;

use crate::{lab, lab_with, must_violate, run, unicode, wide};

fn room(units: u16) -> UNICODE_STRING {
    let buffer = Box::leak(vec![0u16; usize::from(units)].into_boxed_slice());
    UNICODE_STRING { Length: 0, MaximumLength: units * 2, Buffer: buffer.as_mut_ptr() }
}

fn text(string: &UNICODE_STRING) -> String {
    // SAFETY: strings of these tests are valid.
    let units = unsafe { std::slice::from_raw_parts(string.Buffer, usize::from(string.Length) / 2) };
    String::from_utf16_lossy(units)
}

#[test]
fn strings_are_compared_copied_and_appended() {
    run(|_| {
        // SAFETY: valid strings, in a lab thread.
        unsafe {
            let mut string = room(0);
            RtlInitUnicodeString(&mut string, wide("Größe"));
            assert_eq!((string.Length, string.MaximumLength), (10, 12));
            assert_eq!(RtlEqualUnicodeString(&string, &unicode("GRÖSSE"), 1), 0);
            assert_eq!(RtlEqualUnicodeString(&string, &unicode("gRÖßE"), 1), 1);
            assert!(RtlCompareUnicodeString(&unicode("a"), &unicode("B"), 0) > 0);
            assert!(RtlCompareUnicodeString(&unicode("a"), &unicode("B"), 1) < 0);
            assert!(RtlCompareUnicodeString(&unicode("ab"), &unicode("a"), 0) > 0);
            assert_eq!(RtlPrefixUnicodeString(&unicode("\\DEV"), &unicode("\\Device"), 1), 1);
            assert_eq!(RtlUpcaseUnicodeChar(u16::from(b'q')), u16::from(b'Q'));
            assert_eq!(RtlUpcaseUnicodeChar(0xDF), 0xDF, "one unit stays one unit");
            let mut to = room(8);
            RtlCopyUnicodeString(&mut to, &unicode("longer than eight"));
            assert_eq!(text(&to), "longer t");
            RtlCopyUnicodeString(&mut to, &unicode("ab"));
            assert_eq!(RtlAppendUnicodeStringToString(&mut to, &unicode("cd")), 0);
            assert_eq!(RtlAppendUnicodeToString(&mut to, wide("efghi")), status::BUFFER_TOO_SMALL);
            assert_eq!(RtlIntegerToUnicodeString(255, 16, &mut to), 0);
            assert_eq!(text(&to), "FF");
            let mut upper = room(0);
            assert_eq!(RtlUpcaseUnicodeString(&mut upper, &unicode("käse"), 1), 0);
            assert_eq!(text(&upper), "KÄSE");
            RtlFreeUnicodeString(&mut upper);
        }
    });
    must_violate("bad-unicode-string", |_| {
        let odd = UNICODE_STRING { Length: 3, ..unicode("abc") };
        // SAFETY: breaking the contract is the point.
        unsafe { RtlCompareUnicodeString(&odd, &odd, 0) };
    });
}

#[test]
fn a_descriptor_is_built_as_drivers_build_it() {
    run(|_| {
        let (mut sid, mut acl, mut descriptor) = ([0u32; 4], [0u32; 16], [0u64; 5]);
        let (sid, acl): (*mut u8, *mut u8) = (sid.as_mut_ptr().cast(), acl.as_mut_ptr().cast());
        let descriptor: *mut u8 = descriptor.as_mut_ptr().cast();
        // SAFETY: memory of ours, large enough, in a lab thread.
        unsafe {
            assert_eq!(RtlLengthRequiredSid(1), 12);
            assert_eq!(RtlInitializeSid(sid, &[0, 0, 0, 0, 0, 5], 1), 0);
            RtlSubAuthoritySid(sid, 0).write(18);
            assert_eq!(std::slice::from_raw_parts(sid, 12), lab_executive::process::LOCAL_SYSTEM);
            assert_eq!((RtlLengthSid(sid), RtlValidSid(sid)), (12, 1));
            assert_eq!(RtlCreateAcl(acl, 30, 2), 0);
            assert_eq!(RtlAddAccessAllowedAce(acl, 2, 0x1F_003F, sid), 0);
            assert_eq!(RtlAddAccessAllowedAce(acl, 2, 1, sid), status::ALLOTTED_SPACE_EXCEEDED);
            let expected = [2, 0, 28, 0, 1, 0, 0, 0, 0, 0, 20, 0, 0x3F, 0, 0x1F, 0];
            assert_eq!(std::slice::from_raw_parts(acl, 16), expected);
            assert_eq!(RtlCreateSecurityDescriptor(descriptor, 1), 0);
            assert_eq!(RtlSetDaclSecurityDescriptor(descriptor, 1, acl, 0), 0);
            assert_eq!(descriptor.wrapping_add(2).read(), 4, "SE_DACL_PRESENT");
            assert_eq!(descriptor.wrapping_add(32).cast::<*mut u8>().read(), acl);
            assert_eq!(RtlValidSecurityDescriptor(descriptor), 1);
            assert_eq!(RtlCreateSecurityDescriptor(descriptor, 2), status::REVISION_MISMATCH);
        }
    });
}

#[test]
fn well_known_sids_come_from_se_exports() {
    use lab_executive::import::Target;
    run(|lab: &Lab| {
        let Target::Data(address) = VARIABLES[0].target else { panic!("a variable") };
        // SAFETY: the variable holds the address of SE_EXPORTS: 23 LUIDs, then SIDs; the eleventh is Local System.
        unsafe {
            let exports = address(lab).cast::<*const u8>().read();
            let system = exports.wrapping_add(23 * 8 + 10 * 8).cast::<*const u8>().read();
            assert_eq!(std::slice::from_raw_parts(system, 12), lab_executive::process::LOCAL_SYSTEM);
        }
        assert_eq!(address(lab), address(lab));
    });
}

#[test]
fn memory_routines_do_what_their_names_say() {
    run(|_| {
        let mut bytes = [1u8, 2, 3, 4, 5, 6];
        let at = bytes.as_mut_ptr();
        // SAFETY: ranges inside the array, in a lab thread.
        unsafe {
            memmove(at.wrapping_add(1), at, 4);
            memset(at, 9, 1);
            assert_eq!(RtlCompareMemory(at, [9u8, 1, 2, 0].as_ptr(), 4), 3);
            assert!(memcmp(at, [9u8, 2].as_ptr(), 2) < 0);
            memcpy(at, [7u8, 7].as_ptr(), 2);
            RtlZeroMemory(at.wrapping_add(5), 1);
        }
        assert_eq!(bytes, [7, 7, 2, 3, 4, 0]);
    });
    must_violate("overlapping-copy", |_| {
        let mut bytes = [0u8; 8];
        // SAFETY: breaking the contract is the point; the memory is ours.
        unsafe { memcpy(bytes.as_mut_ptr().wrapping_add(1), bytes.as_mut_ptr(), 4) };
    });
}

#[test]
fn sequenced_lists_are_stacks() {
    run(|_| {
        let mut head: std::mem::MaybeUninit<SListHeader> = std::mem::MaybeUninit::uninit();
        let (head, mut a, mut b) = (head.as_mut_ptr(), 0usize, 0usize);
        // SAFETY: memory of ours.
        unsafe {
            InitializeSListHead(head);
            assert!(ExpInterlockedPushEntrySList(head, &mut a).is_null());
            assert_eq!(ExpInterlockedPushEntrySList(head, &mut b), &raw mut a);
            assert_eq!(
                (head.cast::<u16>().read(), ExQueryDepthSList(head)),
                (2, 2),
                "some compilers inline it"
            );
            assert_eq!(ExpInterlockedPopEntrySList(head), &raw mut b);
            assert_eq!(ExpInterlockedPopEntrySList(head), &raw mut a);
            assert!(ExpInterlockedPopEntrySList(head).is_null());
        }
    });
}

#[test]
fn printing_formats_the_kernels_way() {
    let lab = lab();
    let result = lab.run(|_| {
        let name = unicode("C:\\x");
        let string = wide("wide");
        let format = b"%wZ %ws %S %s %5d|%-5u|%08x %#I64x %p %c%%\n\0";
        let list: [u64; 10] = [
            (&raw const name) as u64,
            string as u64,
            string as u64,
            c"narrow".as_ptr() as u64,
            (-7i32) as u32 as u64,
            7,
            0xAB,
            0x1_0000_0000,
            0x10,
            u64::from(b'z'),
        ];
        let [a, b, c, d, e, f, g, h, i, j] = list;
        // SAFETY: arguments that fit the format.
        unsafe { DbgPrint(format.as_ptr(), a, b, c, d, e, f, g, h, i, j) };
        let mut buffer = [0u16; 8];
        // SAFETY: as above.
        let written =
            unsafe { _vsnwprintf(buffer.as_mut_ptr(), 8, wide("%s-%d"), [string as u64, 12].as_ptr()) };
        (written, String::from_utf16_lossy(&buffer[..7]))
    });
    assert_eq!(result.ok(), Some((7, "wide-12".into())));
    let line = lab.debug_output.borrow()[0].clone();
    assert_eq!(line, "C:\\x wide wide narrow    -7|7    |000000ab 0x100000000 0000000000000010 z%\n");
}

#[test]
fn a_bugcheck_is_a_violation() {
    // SAFETY: in a lab thread.
    let violation = must_violate("bugcheck", |_| unsafe { KeBugCheckEx(0xE2, 1, 2, 3, 4) });
    assert!(violation.what.contains("0xe2"), "{violation}");
}

#[test]
fn time_stands_still_until_somebody_waits() {
    run(|lab| {
        let (mut a, mut b, mut frequency) = (0, 0, 0);
        // SAFETY: writable variables, in a lab thread.
        unsafe {
            KeQuerySystemTimePrecise(&mut a);
            KeQuerySystemTimePrecise(&mut b);
            assert_eq!(a, b);
            lab.delay(30);
            KeQuerySystemTimePrecise(&mut b);
            assert_eq!(b - a, 30);
            let ticks = KeQueryPerformanceCounter(&mut frequency);
            assert_eq!((ticks, frequency), (30, 10_000_000));
        }
    });
}

thread_local! {
    static SEEN: Cell<usize> = const { Cell::new(0) };
}

extern "win64" fn see(parameter: *mut c_void) {
    SEEN.set(parameter.addr());
}

#[test]
fn a_work_item_runs_in_a_system_thread() {
    run(|lab| {
        SEEN.set(0);
        let mut item = [0usize, 0, see as *const () as usize, 77];
        // SAFETY: a WORK_QUEUE_ITEM of ours that lives until it ran.
        unsafe { ExQueueWorkItem(item.as_mut_ptr().cast(), 1) };
        assert_eq!(SEEN.get(), 0);
        lab.delay(1);
        assert_eq!(SEEN.get(), 77);
    });
    must_violate("work-item", |_| {
        let mut item = [0usize, 0, see as *const () as usize, 77];
        // SAFETY: breaking the contract is the point.
        unsafe {
            ExQueueWorkItem(item.as_mut_ptr().cast(), 1);
            ExQueueWorkItem(item.as_mut_ptr().cast(), 1);
        }
    });
}

#[test]
fn a_stack_callout_runs_and_too_much_is_refused() {
    run(|lab| {
        SEEN.set(0);
        let callout = see as *const () as usize;
        let parameter = ptr::without_provenance_mut(5);
        // SAFETY: a routine of ours.
        unsafe {
            assert_eq!(KeExpandKernelStackAndCalloutEx(callout, parameter, 0x8000, 1, ptr::null_mut()), 0);
            assert_eq!(SEEN.get(), 5);
            let refused = KeExpandKernelStackAndCalloutEx(callout, parameter, 0x20000, 1, ptr::null_mut());
            assert_eq!(refused, status::INVALID_PARAMETER);
            assert_eq!(IoGetRemainingStackSize(), 24 * 1024);
        }
        assert_eq!(lab.stack_used(&lab.thread()), 0);
    });
}

extern "win64" fn see_stack(_: *mut c_void) {
    // SAFETY: in a lab thread.
    SEEN.set(unsafe { IoGetRemainingStackSize() });
}

#[test]
fn a_stack_callout_gets_a_large_stack_where_little_is_left() {
    let lab = lab_with(|c| c.kernel_stack = 0x1000);
    let result = lab.run(|_| {
        let callout = see_stack as *const () as usize;
        // SAFETY: a routine of ours.
        let status = unsafe { KeExpandKernelStackAndCallout(callout, ptr::null_mut(), 0x8000) };
        // SAFETY: in a lab thread.
        (status, unsafe { IoGetRemainingStackSize() })
    });
    assert_eq!(result.ok(), Some((0, 0x1000)));
    assert_eq!(SEEN.get(), 0x12000 - lab.config.nested_call_stack);
}

#[test]
fn processor_exceptions_are_named() {
    // SAFETY: the exception is the point, and the lab catches it.
    must_violate("processor-exception", |_| unsafe { std::arch::asm!("ud2") });
    // SAFETY: as above.
    let violation = must_violate("unserved-instruction", |_| unsafe {
        std::arch::asm!("rdmsr", out("eax") _, out("edx") _)
    });
    assert!(violation.what.contains("rdmsr"), "{violation}");
    // SAFETY: as above.
    must_violate("breakpoint", |_| unsafe { std::arch::asm!("int3") });
    // SAFETY: as above.
    let violation = must_violate("bad-address", |_| unsafe {
        std::arch::asm!("mov {0}, qword ptr [{0}]", inout(reg) 0xFFFF_F780_0000_0014_u64 => _)
    });
    assert!(violation.what.contains("shared user data"), "{violation}");
}

#[test]
fn other_compilers_inlined_reads_of_level_and_thread_are_served() {
    run(|lab| {
        let (level, thread): (u64, usize);
        // SAFETY: the lab serves these two reads.
        unsafe {
            std::arch::asm!("mov {}, cr8", out(reg) level);
            std::arch::asm!("mov {}, gs:[0x188]", out(reg) thread);
        }
        assert_eq!((level, thread), (0, lab.thread().ethread.addr()));
    });
}

lab_executive::imports! {
    static PANICS in "test.sys";

    /// Panics if asked to.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "test"]
    fn Panics(_lab; really: u8) { assert!(really == 0, "really") }
}

#[test]
fn a_panic_in_lab_code_under_an_import_is_a_violation() {
    assert_eq!(PANICS.len(), 1);
    // SAFETY: in a lab thread.
    must_violate("lab-defect", |_| unsafe { Panics(1) });
}

#[test]
fn names_are_matched_as_the_file_system_runtime_does() {
    let cases = [
        ("*", "", true),
        ("*", "A.B", true),
        ("A?C", "ABC", true),
        ("A?C", "AC", false),
        ("*.TXT", "A.B.TXT", true),
        ("*.TXT", "TXT", false),
        ("<.TXT", "A.B.TXT", true),
        ("<.", "A", false),
        ("<\"*", "A", true),
        ("<\"*", "A.B", true),
        ("A>>>.X", "AB.X", true),
        ("A>>", "A", true),
        ("A\"", "A", true),
        ("ABC", "ABCD", false),
    ];
    let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
    for (pattern, name, fits) in cases {
        let found = lab_executive::strings::is_name_in_expression(&units(pattern), &units(name));
        assert_eq!(found, fits, "{pattern} {name}");
    }
    run(|_| {
        // SAFETY: valid strings, in a lab thread.
        unsafe {
            assert_eq!(
                FsRtlIsNameInExpression(&unicode("*.DOC?"), &unicode("Report.docx"), 1, ptr::null()),
                1
            );
            assert_eq!(FsRtlDoesNameContainWildCards(&unicode("a>b")), 1);
            assert_eq!(FsRtlDoesNameContainWildCards(&unicode("ab")), 0);
        }
    });
    // SAFETY: breaking the contract is the point.
    must_violate("bad-parameter", |_| unsafe {
        FsRtlIsNameInExpression(&unicode("*.doc"), &unicode("a.doc"), 1, ptr::null())
    });
}

#[test]
fn numbers_and_guids_are_read_and_written() {
    run(|_| {
        let (mut number, mut hash, mut guid, mut string) = (0, 0, [0u8; 16], room(0));
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            for (text, base, expected) in
                [("0x1F", 0, 31), ("  -12z", 0, (-12i32) as u32), ("777", 8, 0o777), ("+5", 10, 5)]
            {
                assert_eq!(RtlUnicodeStringToInteger(&unicode(text), base, &mut number), 0);
                assert_eq!(number, expected, "{text}");
            }
            let text_form = "{01234567-89AB-CDEF-0123-456789ABCDEF}";
            assert_eq!(RtlGUIDFromString(&unicode(text_form), &mut guid), 0);
            assert_eq!(guid[..8], [0x67, 0x45, 0x23, 0x01, 0xAB, 0x89, 0xEF, 0xCD]);
            assert_eq!(RtlStringFromGUID(&guid, &mut string), 0);
            assert_eq!(text(&string), text_form);
            RtlFreeUnicodeString(&mut string);
            assert_eq!(RtlGUIDFromString(&unicode("{0}"), &mut guid), status::INVALID_PARAMETER);
            assert_eq!(RtlHashUnicodeString(&unicode("ab"), 1, 0, &mut hash), 0);
            assert_eq!(hash, 65 * 65599 + 66);
        }
    });
}
