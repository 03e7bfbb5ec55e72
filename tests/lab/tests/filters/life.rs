//! The life of filters and instances: attaching, detaching, stopping.

use crate::inside::Scene;
use crate::made::{Made, Related, keep, kept, note, notes, post_of, pre_of};
use crate::scene::{clean, lab_with};
use fltkernel::*;
use lab::flt::imports::filters::*;
use lab::loading::{InstanceDefinition, Service};
use lab::{Lab, Status};

unsafe extern "win64" fn refuse_setup(_: Related, flags: u32, device: u32, kind: i32) -> i32 {
    note(format!("setup {flags} {device} {kind}"));
    STATUS_FLT_DO_NOT_ATTACH
}

/// minifilter-rules §3.2, §3.3.
#[test]
fn a_filter_may_refuse_a_volume() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new().on(IRP_MJ_CREATE, Some(pre_of::<0>), Some(post_of::<0>));
    made.registration.InstanceSetupCallback = Some(refuse_setup);
    made.load::<0>(&lab, "225000").unwrap();
    assert_eq!(notes(), ["setup 1 8 2"]);
    program.contents(r"C:\a").unwrap();
    assert_eq!(notes(), Vec::<String>::new());
    clean(&lab, &program);
}

unsafe extern "win64" fn told<const N: usize>(_: Related, reason: u32) {
    note(format!("teardown {N} {reason}"));
}

/// minifilter-rules §3.2.
#[test]
fn an_instance_without_query_teardown_is_not_detached_by_hand() {
    let (lab, _) = lab_with(1);
    let mut made = Made::new();
    made.registration.InstanceTeardownStartCallback = Some(told::<0>);
    made.registration.InstanceTeardownCompleteCallback = Some(told::<1>);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let instance = driver.filter().unwrap();
    let by_hand = InstanceDefinition { name: "second".into(), altitude: "225000.5".into(), flags: 1 };
    let second = lab.attach(&driver, by_hand).unwrap();
    assert_eq!(lab.detach(&second), Err(Status(STATUS_FLT_DO_NOT_DETACH.cast_unsigned())));
    drop(instance);
    assert!(lab.unload_driver(&driver).unwrap().is_clean());
    assert_eq!(notes(), ["teardown 0 2", "teardown 1 2", "teardown 0 2", "teardown 1 2"]);
}

/// minifilter-rules §3.8.
#[test]
fn an_instance_may_be_kept_from_attaching_by_itself() {
    let (lab, program) = lab_with(1);
    let suppressed = InstanceDefinition { name: "by hand only".into(), altitude: "300000".into(), flags: 1 };
    lab.install(&Service { instances: vec![suppressed.clone()], ..Service::new("made0", "225000") });
    let driver = Made::new().load::<0>(&lab, "225000").unwrap();
    let filter = driver.filter().unwrap();
    let names: Vec<_> = lab.instances(&filter).iter().map(|instance| instance.name.clone()).collect();
    assert_eq!(names, ["made0 Instance"]);
    lab.attach(&driver, suppressed).unwrap();
    assert_eq!(lab.instances(&filter).len(), 2);
    drop(filter);
    clean(&lab, &program);
}

unsafe extern "win64" fn refuse_optional(flags: u32) -> NTSTATUS {
    note(format!("unload {flags}"));
    if flags & FLTFL_FILTER_UNLOAD_MANDATORY == 0 {
        return STATUS_FLT_DO_NOT_DETACH;
    }
    // SAFETY: the filter was registered by `load`.
    unsafe { lab::flt::imports::filters::FltUnregisterFilter(crate::made::filter(0)) };
    0
}

/// minifilter-rules §3.3.
#[test]
fn an_optional_unload_may_be_refused_and_a_mandatory_one_may_not() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new();
    made.registration.FilterUnloadCallback = Some(refuse_optional);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    let refused = Status(STATUS_FLT_DO_NOT_DETACH.cast_unsigned());
    assert_eq!(lab.unload_driver(&driver).map(|_| ()), Err(refused));
    assert!(lab.stop_service(&driver).unwrap().is_clean());
    assert_eq!(notes(), ["unload 0", "unload 1"]);
    clean(&lab, &program);
}

/// minifilter-rules §3.3.
#[test]
fn a_filter_may_keep_its_service_from_being_stopped() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new();
    made.registration.Flags = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;
    let driver = made.load::<0>(&lab, "225000").unwrap();
    assert_eq!(lab.stop_service(&driver).map(|_| ()), Err(Status::NOT_SUPPORTED));
    assert!(lab.unload_driver(&driver).unwrap().is_clean());
    clean(&lab, &program);
}

unsafe extern "win64" fn setup(_: Related, flags: u32, _: u32, _: i32) -> i32 {
    note(format!("setup {flags}"));
    0
}

unsafe extern "win64" fn query_once(_: Related, _: u32) -> i32 {
    let refused = notes().is_empty();
    note("asked");
    if refused { STATUS_FLT_DO_NOT_DETACH } else { 0 }
}

/// minifilter-rules §3.2: flags of setup, reasons of teardown, a refusal.
#[test]
fn an_instance_is_attached_and_detached_by_hand() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new();
    made.registration.InstanceSetupCallback = Some(setup);
    made.registration.InstanceQueryTeardownCallback = Some(query_once);
    made.registration.InstanceTeardownStartCallback = Some(told::<0>);
    made.registration.InstanceTeardownCompleteCallback = Some(told::<1>);
    let driver = made.load::<0>(&lab, "225000").unwrap();
    assert_eq!(notes(), ["setup 1"], "automatic");
    let by_hand = InstanceDefinition { name: "second".into(), altitude: "225000.5".into(), flags: 1 };
    let second = lab.attach(&driver, by_hand).unwrap();
    assert_eq!(notes(), ["setup 2"], "manual");
    assert_eq!(lab.detach(&second), Err(Status(STATUS_FLT_DO_NOT_DETACH.cast_unsigned())));
    lab.detach(&second).unwrap();
    assert_eq!(notes(), ["asked", "teardown 0 1", "teardown 1 1"]);
    clean(&lab, &program);
    assert_eq!(notes(), ["teardown 0 2", "teardown 1 2"]);
}

fn by_name(related: &FLT_RELATED_OBJECTS, name: &str, attach: bool) -> Result<PFLT_INSTANCE, i32> {
    // What follows a counted string is no part of it.
    let units: Vec<u16> = name.encode_utf16().chain([0]).collect();
    let room = (units.len() * 2) as u16;
    let name = UNICODE_STRING { Length: room - 2, MaximumLength: room, Buffer: units.as_ptr().cast_mut() };
    let mut instance = std::ptr::null_mut();
    let find = if attach { FltAttachVolume } else { FltGetVolumeInstanceFromName };
    // SAFETY: live objects, a string that outlives the call, an out pointer.
    let status = unsafe { find(related.Filter, related.Volume, &raw const name, &raw mut instance) };
    if status < 0 { Err(status) } else { Ok(instance) }
}

/// Its name, with room for so many bytes.
fn name_of(instance: PFLT_INSTANCE, room: u32) -> Result<String, i32> {
    let (mut answer, mut returned) = ([0_u64; 8], 0);
    // SAFETY: a live instance, a buffer of at least the length given, an out pointer.
    let status = unsafe {
        let at = answer.as_mut_ptr().cast();
        FltGetInstanceInformation(instance, InstanceBasicInformation, at, room, &raw mut returned)
    };
    if status < 0 {
        return Err(status);
    }
    let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_le_bytes()).collect();
    let unit = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (length, offset) = (usize::from(unit(4)), usize::from(unit(6)));
    assert_eq!(returned as usize, offset + length);
    let units: Vec<u16> = (offset..offset + length).step_by(2).map(unit).collect();
    Ok(String::from_utf16(&units).unwrap())
}

/// minifilter-rules §3.2.
#[test]
fn a_filter_attaches_another_instance_by_its_name() {
    let scene = Scene::of(Lab::builder(), |mut made| {
        made.registration.InstanceSetupCallback = Some(setup);
        made
    });
    let lab = &scene.lab;
    let second = InstanceDefinition { name: "Second".into(), altitude: "1000.5".into(), flags: 1 };
    lab.install(&Service { instances: vec![second], ..Service::new("made0", "225000") });
    notes();
    scene.inside(|related| {
        assert_eq!(by_name(related, "second", false), Err(STATUS_FLT_INSTANCE_NOT_FOUND));
        assert_eq!(by_name(related, "third", true), Err(lab_executive::status::OBJECT_NAME_NOT_FOUND));
        let attached = by_name(related, "second", true).unwrap();
        assert_eq!(name_of(attached, 64).unwrap(), "Second");
        assert_eq!(name_of(attached, 19), Err(lab_executive::status::BUFFER_TOO_SMALL));
        assert_eq!(by_name(related, "SECOND", true), Err(STATUS_FLT_INSTANCE_NAME_COLLISION));
        assert_eq!(by_name(related, "SECOND", false), Ok(attached));
        for _ in 0..2 {
            // SAFETY: the references of above.
            unsafe { FltObjectDereference(attached) };
        }
    });
    assert_eq!(notes(), ["setup 2"], "by hand");
}

/// minifilter-rules §3.2.
#[test]
fn a_filter_that_has_not_started_attaches_nothing() {
    let scene = Scene::new();
    let mut made = Made::new();
    made.registration.Size = size_of::<FLT_REGISTRATION>() as u16;
    let registration: &FLT_REGISTRATION = Box::leak(Box::new(made.registration));
    let at: *const FLT_REGISTRATION = registration;
    let started = scene.lab.load_functions(&Service::new("idle", "145100"), move |driver| {
        let mut filter = std::ptr::null_mut();
        // SAFETY: as DriverEntry would, with a registration that lives on.
        let told = unsafe { FltRegisterFilter(driver, at, &raw mut filter) };
        keep(filter.cast_const());
        told
    });
    assert!(started.is_ok());
    scene.inside(|related| {
        let idle = FLT_RELATED_OBJECTS { Filter: kept(), ..*related };
        assert_eq!(by_name(&idle, "idle", true), Err(STATUS_FLT_FILTER_NOT_READY));
    });
}

/// minifilter-rules §3.3.
#[test]
fn a_filter_without_an_unload_callback_stays() {
    let (lab, _) = lab_with(1);
    let driver = Made::new().keep_without_unload::<0>(&lab, "225000").unwrap();
    let refused = Status(STATUS_FLT_DO_NOT_DETACH.cast_unsigned());
    assert_eq!(lab.unload_driver(&driver).map(|_| ()), Err(refused));
    assert_eq!(lab.stop_service(&driver).map(|_| ()), Err(refused));
    assert!(driver.filter().is_some());
}

/// minifilter-rules §3.8.
#[test]
fn a_service_without_instances_does_not_register() {
    let (lab, _) = lab_with(1);
    let mut made = Made::new();
    made.registration.Size = size_of::<FLT_REGISTRATION>() as u16;
    let none = Service { instances: Vec::new(), ..Service::new("bare", "225000") };
    let registration: &FLT_REGISTRATION = Box::leak(Box::new(made.registration));
    let at: *const FLT_REGISTRATION = registration;
    let started = lab.load_functions(&none, move |driver| {
        let mut filter = std::ptr::null_mut();
        // SAFETY: as DriverEntry would, with a registration that lives on.
        unsafe { lab::flt::imports::filters::FltRegisterFilter(driver, at, &raw mut filter) }
    });
    let missing = lab_executive::status::OBJECT_NAME_NOT_FOUND;
    assert!(matches!(started, Err(lab::loading::StartError::Entry(status)) if status == missing));
}
