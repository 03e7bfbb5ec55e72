//! Control devices of drivers: what the I/O manager promises them, and what it does not let them do. The drivers are
//! made of Rust functions.

use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;

use fltkernel::UNICODE_STRING;
use lab::io::device_imports::*;
use lab::loading::{Service, StartError};
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Process, Status};
use lab_nt::{DEVICE_OBJECT, DRIVER_OBJECT, IO_STACK_LOCATION, IRP};

const PENDING: i32 = 0x103;
const NAME: &str = r"\Device\Asked";
const LINK: &str = r"\DosDevices\Asked";
/// CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS), and with METHOD_OUT_DIRECT, and for readers.
const ASK: u32 = 0x22_2000;
const ASK_DIRECT: u32 = ASK | 2;
const ASK_NEITHER: u32 = ASK | 3;
const ASK_TO_READ: u32 = ASK | 0x4000;

type Routine = unsafe extern "win64" fn(*mut DEVICE_OBJECT, *mut IRP) -> i32;

thread_local! {
    static DEVICE: Cell<*mut DEVICE_OBJECT> = const { Cell::new(std::ptr::null_mut()) };
    static HELD: Cell<*mut IRP> = const { Cell::new(std::ptr::null_mut()) };
    static LINKED: Cell<i32> = const { Cell::new(0) };
}

fn unicode(text: &str) -> UNICODE_STRING {
    let units: Vec<u16> = text.encode_utf16().collect();
    let length = (units.len() * 2) as u16;
    UNICODE_STRING { Length: length, MaximumLength: length, Buffer: Vec::leak(units).as_mut_ptr() }
}

/// As DriverEntry would: a device, a link, and `control` for device controls.
fn entry(driver: *mut c_void, control: Routine, exclusive: bool) -> i32 {
    let mut device = std::ptr::null_mut();
    let (name, link) = (unicode(NAME), unicode(LINK));
    // SAFETY: the driver's own object, strings of ours, an out pointer.
    unsafe {
        let status = IoCreateDevice(driver, 16, &name, 0x22, 0x100, u8::from(exclusive), &mut device);
        if status < 0 {
            return status;
        }
        DEVICE.set(device);
        LINKED.set(IoCreateSymbolicLink(&link, &name));
        let object: *mut DRIVER_OBJECT = driver.cast();
        let set = |major: u32, routine: Routine| {
            let entry = &raw mut (*object).MajorFunction[major as usize];
            // The same function under the type of the headers.
            entry.write(std::mem::transmute::<Routine, lab_nt::PDRIVER_DISPATCH>(routine));
        };
        set(lab_nt::IRP_MJ_CREATE, succeed);
        set(lab_nt::IRP_MJ_CLEANUP, succeed);
        set(lab_nt::IRP_MJ_CLOSE, succeed);
        set(lab_nt::IRP_MJ_DEVICE_CONTROL, control);
    }
    0
}

/// As [`entry`], with a cleanup of its own.
fn loaded_with_cleanup(cleanup: Routine) -> (Rc<Lab>, Process) {
    let lab = Lab::builder().build().unwrap();
    let load = move |driver: *mut c_void| {
        let status = entry(driver, add_one, false);
        // SAFETY: the driver's own object; the same function under the type of the headers.
        unsafe {
            let routines = &raw mut (*driver.cast::<DRIVER_OBJECT>()).MajorFunction;
            (*routines)[lab_nt::IRP_MJ_CLEANUP as usize] =
                std::mem::transmute::<Routine, lab_nt::PDRIVER_DISPATCH>(cleanup);
        }
        status
    };
    lab.load_functions(&Service::new("asked", "300000"), load).unwrap();
    let program = lab.process("asking.exe");
    (lab, program)
}

fn loaded(control: Routine) -> (Rc<Lab>, Process) {
    loaded_with(control, false)
}

fn loaded_with(control: Routine, exclusive: bool) -> (Rc<Lab>, Process) {
    let lab = Lab::builder().build().unwrap();
    lab.load_functions(&Service::new("asked", "300000"), move |driver| entry(driver, control, exclusive))
        .unwrap();
    let program = lab.process("asking.exe");
    (lab, program)
}

fn open(program: &Process) -> Result<lab::Handle, Status> {
    program.create_file(CreateOptions::open(r"\\.\Asked", GENERIC_READ | GENERIC_WRITE))
}

/// # Safety
/// A request under way.
unsafe fn stack(irp: *mut IRP) -> *mut IO_STACK_LOCATION {
    // SAFETY: the caller's promise.
    unsafe { (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

/// # Safety
/// A request under way.
unsafe fn end(irp: *mut IRP, status: i32, information: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status;
        (*irp).IoStatus.Information = information as _;
        IofCompleteRequest(irp, 0);
    }
    status
}

unsafe extern "win64" fn succeed(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way.
    unsafe { end(irp, 0, 0) }
}

/// Answers with the input, each byte one higher.
unsafe extern "win64" fn add_one(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way, whose system buffer holds the longer of input and output.
    unsafe {
        let lengths = (*stack(irp)).Parameters.DeviceIoControl;
        let given = lengths.InputBufferLength.min(lengths.OutputBufferLength) as usize;
        let buffer: *mut u8 = (*irp).AssociatedIrp.SystemBuffer.cast();
        for at in 0..given {
            *buffer.add(at) += 1;
        }
        end(irp, 0, given)
    }
}

/// `wdm/IoCreateDevice`, `wdm/IoCreateSymbolicLink`: a program opens a device by its link, and asks.
#[test]
fn a_program_opens_a_device_by_its_link_and_gets_an_answer() {
    let (lab, program) = loaded(add_one);
    let handle = open(&program).unwrap();
    assert_eq!(program.device_control(handle, ASK, b"abc", 16).unwrap(), b"bcd");
    assert_eq!(program.device_control(handle, ASK, b"abc", 2).unwrap(), b"bc");
    assert_eq!(program.device_control(handle, ASK, b"", 0).unwrap(), b"");
    program.close(handle).unwrap();
    let direct = program.create_file(CreateOptions::open(NAME, GENERIC_READ)).unwrap();
    assert_eq!(program.device_control(direct, ASK, b"x", 1).unwrap(), b"y");
    program.exit(0);
    assert!(lab.violation().is_none());
}

/// `wdm.h`, CTL_CODE: a code may demand access that the handle must have.
#[test]
fn a_code_that_demands_access_is_refused_to_a_handle_without_it() {
    let (_lab, program) = loaded(add_one);
    let handle = program.create_file(CreateOptions::open(r"\\.\asked", GENERIC_WRITE)).unwrap();
    assert_eq!(program.device_control(handle, ASK_TO_READ, b"a", 1), Err(Status::ACCESS_DENIED));
    assert_eq!(program.device_control(handle, ASK, b"a", 1).unwrap(), b"b");
}

/// `wdm/IoCreateDevice`: names are there once, an exclusive device is opened once.
#[test]
fn a_name_is_taken_once_and_an_exclusive_device_opened_once() {
    let (lab, program) = loaded_with(add_one, true);
    assert_eq!(LINKED.get(), 0);
    let again = lab.load_functions(&Service::new("again", "300001"), |driver| entry(driver, add_one, false));
    assert!(matches!(again, Err(StartError::Entry(status)) if status as u32 == 0xC000_0035));
    let handle = open(&program).unwrap();
    assert_eq!(open(&program), Err(Status::ACCESS_DENIED));
    program.close(handle).unwrap();
    let handle = open(&program).unwrap();
    program.close(handle).unwrap();
}

/// `wdm/IoCreateDevice`: DO_DEVICE_INITIALIZING is cleared by the I/O manager when DriverEntry has returned, and only then.
#[test]
fn a_device_made_after_the_load_cannot_be_opened_until_the_driver_says_so() {
    const INITIALIZING: u32 = 0x80;
    let (lab, program) = loaded(add_one);
    // SAFETY: the live device of the driver.
    unsafe {
        assert_eq!((*DEVICE.get()).Flags & INITIALIZING, 0);
        (*DEVICE.get()).Flags |= INITIALIZING;
    }
    assert_eq!(open(&program).err().unwrap().0, 0xC000_000E);
    assert!(lab.violation().is_none());
}

/// `wdm/IoDeleteDevice`: what is open stays open, nobody else gets in, and the memory goes with the last close.
#[test]
fn a_deleted_device_stays_for_those_who_have_it_open() {
    let (lab, program) = loaded(add_one);
    let handle = open(&program).unwrap();
    lab.executive()
        .run(|_| {
            let link = unicode(LINK);
            // SAFETY: the live device and its link.
            unsafe {
                assert_eq!(IoDeleteSymbolicLink(&link), 0);
                assert!(IoDeleteSymbolicLink(&link) < 0);
                IoDeleteDevice(DEVICE.get());
            }
        })
        .unwrap();
    assert!(open(&program).is_err());
    assert_eq!(program.device_control(handle, ASK, b"a", 1).unwrap(), b"b");
    let report = lab.unload();
    assert!(report.to_string().contains(r"device \Device\Asked of asked is open"), "{report}");
    let late = program.try_call(move |caller| caller.device_control(handle, ASK, b"a", 1));
    assert_eq!(late.err().unwrap().rule, "device-after-unload");
}

/// `wdm/IoMarkIrpPending`: a request may end later, from another thread.
#[test]
fn a_request_may_be_kept_and_completed_later() {
    unsafe extern "win64" fn keep(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
        // SAFETY: a request under way; IoMarkIrpPending is inline.
        unsafe { (*stack(irp)).Control |= 1 };
        HELD.set(irp);
        PENDING
    }
    let (lab, program) = loaded(keep);
    let handle = open(&program).unwrap();
    let asked = program.submit(move |caller| caller.device_control(handle, ASK, b"a", 4));
    lab.executive().run_until(|_| !HELD.get().is_null()).unwrap();
    assert!(!asked.is_done());
    // SAFETY: the request that is kept.
    lab.executive().run(|_| unsafe { end(HELD.get(), 0, 1) }).unwrap();
    assert_eq!(asked.wait().unwrap().unwrap(), b"a");
}

/// What is not modelled stops the run instead of being answered by guess.
#[test]
fn what_the_lab_does_not_serve_stops_the_run() {
    let rule = |request: fn(&lab::Caller<'_>, lab::Handle) -> bool| {
        let (_lab, program) = loaded(add_one);
        let handle = open(&program).unwrap();
        program.try_call(move |caller| request(caller, handle)).err().map_or("none", |broken| broken.rule)
    };
    assert_eq!(rule(|caller, handle| caller.device_control(handle, ASK_DIRECT, b"", 8).is_ok()), "unserved");
    assert_eq!(rule(|caller, handle| caller.read(handle, None, 8).is_ok()), "unserved");
    assert_eq!(rule(|caller, handle| caller.flush(handle).is_ok()), "unserved");
}

/// With METHOD_NEITHER a driver gets the program's own addresses, which it must not touch.
#[test]
fn the_programs_own_buffer_is_not_the_drivers() {
    unsafe extern "win64" fn touch(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
        // SAFETY: none: touching it is what the test is about.
        unsafe {
            (*irp).UserBuffer.cast::<u8>().write_volatile(1);
            end(irp, 0, 0)
        }
    }
    let (_lab, program) = loaded(touch);
    let handle = open(&program).unwrap();
    let broken = program.try_call(move |caller| caller.device_control(handle, ASK_NEITHER, b"abc", 8));
    assert_eq!(broken.err().unwrap().rule, "user-pointer");
}

unsafe extern "win64" fn forget(_: *mut DEVICE_OBJECT, _: *mut IRP) -> i32 {
    0
}
unsafe extern "win64" fn twice(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: none for the second: that it is reported is what the test is about.
    unsafe {
        end(irp, 0, 0);
        IofCompleteRequest(irp, 0);
    }
    0
}
unsafe extern "win64" fn touch_after(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: none for the last: that it faults is what the test is about.
    unsafe {
        end(irp, 0, 0);
        (*irp).IoStatus.__bindgen_anon_1.Status
    }
}
unsafe extern "win64" fn another_status(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way.
    unsafe { end(irp, 0, 0) };
    0xC000_0001_u32.cast_signed()
}
unsafe extern "win64" fn as_pending(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way.
    unsafe { end(irp, PENDING, 0) }
}
unsafe extern "win64" fn pending_unmarked(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    HELD.set(irp);
    PENDING
}
unsafe extern "win64" fn marked_and_done(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way.
    unsafe {
        (*stack(irp)).Control |= 1;
        end(irp, 0, 0)
    }
}
unsafe extern "win64" fn too_much(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way.
    unsafe { end(irp, 0, 4096) }
}
unsafe extern "win64" fn cancellable(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: a request under way; any address that is not null will do.
    unsafe {
        (&raw mut (*irp).CancelRoutine).cast::<usize>().write(8);
        end(irp, 0, 0)
    }
}

/// Driver Verifier, I/O verification: a dispatch routine completes each request once, and returns what it did.
#[test]
fn broken_rules_of_requests_are_named() {
    let cases: [(Routine, &str); 9] = [
        (forget, "irp-not-completed"),
        (twice, "irp-completed-twice"),
        (touch_after, "use-after-free"),
        (another_status, "irp-status"),
        (as_pending, "irp-completed-pending"),
        (pending_unmarked, "irp-pending-not-marked"),
        (marked_and_done, "irp-marked-not-pending"),
        (too_much, "irp-information"),
        (cancellable, "irp-cancel-routine"),
    ];
    for (routine, rule) in cases {
        let (_lab, program) = loaded(routine);
        let handle = open(&program).unwrap();
        let broken = program.try_call(move |caller| caller.device_control(handle, ASK, b"abc", 8));
        assert_eq!(broken.err().map_or("none", |broken| broken.rule), rule);
    }
}

/// kernel/dispatchcleanup-routines: who closes a handle is not told of a failure.
#[test]
fn a_cleanup_does_not_fail() {
    unsafe extern "win64" fn fail(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
        // SAFETY: a live request.
        unsafe { end(irp, 0xC000_0010_u32.cast_signed(), 0) }
    }
    let (_lab, program) = loaded_with_cleanup(fail);
    let handle = open(&program).unwrap();
    let broken = program.try_call(move |caller| caller.close(handle));
    assert_eq!(broken.err().map(|broken| broken.rule), Some("irp-status"));
}

/// Objects that are none are named too.
#[test]
fn a_device_is_deleted_once_and_made_by_a_driver() {
    let broken = |body: fn()| {
        let (lab, _) = loaded(add_one);
        lab.executive().run(move |_| body()).err().map_or("none", |broken| broken.rule)
    };
    // SAFETY: for both: breaking the contract is the point.
    let twice = broken(|| unsafe {
        IoDeleteDevice(DEVICE.get());
        IoDeleteDevice(DEVICE.get());
    });
    assert_eq!(twice, "device-object");
    // SAFETY: as above.
    let foreign = broken(|| unsafe {
        let mut device = std::ptr::null_mut();
        IoCreateDevice(DEVICE.get().cast(), 0, std::ptr::null(), 0x22, 0, 0, &mut device);
    });
    assert_eq!(foreign, "driver-object");
}
