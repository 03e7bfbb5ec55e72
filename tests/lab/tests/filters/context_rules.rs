//! Contexts in detail: which memory they are, what replaces them, when they can be had.

use crate::inside::*;
use crate::made::{Data, Made, Related, filter, keep, kept, note, notes, rule};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::filters::{FltGetVolumeFromInstance, FltObjectDereference};
use lab::flt::imports::names::*;
use lab::loading::StartError;
use lab::{CreateOptions, GENERIC_READ, Lab, Name};
use lab_executive::irql::{APC_LEVEL, DISPATCH_LEVEL};
use lab_executive::with_lab;

const NON_PAGED: i32 = 512;
const PAGED: i32 = 1;

fn allocate(kind: u16, size: usize, pool: i32) -> (i32, PFLT_CONTEXT) {
    let mut context = std::ptr::null_mut();
    // SAFETY: the filter of number 0 is registered; an out pointer.
    let status = unsafe { FltAllocateContext(filter(0), kind, size, pool, &raw mut context) };
    (status, context)
}

fn release(context: PFLT_CONTEXT) {
    // SAFETY: a context that the caller has a reference to.
    unsafe { FltReleaseContext(context) };
}

unsafe extern "win64" fn note_cleanup(_: PFLT_CONTEXT, kind: u16) {
    note(format!("cleanup {kind} at {}", with_lab(|lab| lab.thread().irql.get())));
}

/// minifilter-rules §3.1.
#[test]
fn a_volume_context_is_nonpaged() {
    let scene = Scene::of(Lab::builder(), |made| made.context(FLT_VOLUME_CONTEXT, 8, Some(note_cleanup)));
    scene.inside(|related| {
        let mut volume = std::ptr::null_mut();
        // SAFETY: live objects; each reference is given back.
        unsafe {
            assert_eq!(FltGetVolumeFromInstance(related.Instance, &raw mut volume), 0);
            let (status, context) = allocate(FLT_VOLUME_CONTEXT, 8, NON_PAGED);
            assert_eq!(status, 0);
            let keep = FLT_SET_CONTEXT_KEEP_IF_EXISTS;
            assert_eq!(FltSetVolumeContext(volume, keep, context, std::ptr::null_mut()), 0);
            release(context);
            FltObjectDereference(volume);
        }
    });
    assert_eq!(
        scene.try_inside(|_| {
            allocate(FLT_VOLUME_CONTEXT, 8, PAGED);
        }),
        "context-pool"
    );
}

unsafe extern "win64" fn set_late(related: Related, _: u32) {
    let (status, context) = allocate(FLT_INSTANCE_CONTEXT, 8, NON_PAGED);
    assert_eq!(status, 0);
    // SAFETY: related objects are valid for the call.
    let told = unsafe {
        let keep = FLT_SET_CONTEXT_KEEP_IF_EXISTS;
        FltSetInstanceContext((*related).Instance, keep, context, std::ptr::null_mut())
    };
    note(format!("{told:#x}"));
    release(context);
}

/// minifilter-rules §3.1.
#[test]
fn an_instance_that_is_torn_down_takes_no_context() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new().context(FLT_INSTANCE_CONTEXT, 8, None);
    made.registration.InstanceTeardownStartCallback = Some(set_late);
    made.load::<0>(&lab, "225000").unwrap();
    clean(&lab, &program);
    assert_eq!(notes(), ["0xc01c000b"]);
}

fn registered(sizes: &[usize]) -> &'static str {
    let lab = Lab::builder().build().unwrap();
    let made = sizes.iter().fold(Made::new(), |made, size| made.context(FLT_STREAM_CONTEXT, *size, None));
    match made.load::<0>(&lab, "300000") {
        Err(StartError::Violation(violation)) => violation.rule,
        Err(_) => "another error",
        Ok(_) => "none",
    }
}

/// minifilter-rules §3.1.
#[test]
fn a_type_of_context_has_three_sizes_and_a_variable_one() {
    const VARIABLE: usize = FLT_VARIABLE_SIZED_CONTEXTS;
    assert_eq!(registered(&[8, 16, 24, VARIABLE]), "none");
    assert_eq!(registered(&[8, 16, 24, 32]), "context-count");
    assert_eq!(registered(&[VARIABLE, VARIABLE]), "context-count");
}

/// minifilter-rules §3.1: by size, and with the flag 1 the next larger one.
#[test]
fn a_context_is_made_from_the_line_that_fits() {
    let scene = Scene::of(Lab::builder(), |made| {
        let made = made.context(FLT_STREAM_CONTEXT, 64, None).context(FLT_STREAM_CONTEXT, 32, None);
        made.flagged(FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH).context(FLT_FILE_CONTEXT, 16, None)
    });
    scene.inside(|_| {
        let (status, context) = allocate(FLT_STREAM_CONTEXT, 64, NON_PAGED);
        assert_eq!(status, 0);
        release(context);
        // 20 bytes fit into the line of 32, which admits it; nothing admits 40 or another type's 20.
        let (status, context) = allocate(FLT_STREAM_CONTEXT, 20, NON_PAGED);
        assert_eq!(status, 0);
        release(context);
        assert_eq!(allocate(FLT_STREAM_CONTEXT, 40, NON_PAGED).0, STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND);
        assert_eq!(allocate(FLT_FILE_CONTEXT, 20, NON_PAGED).0, STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND);
    });
    scene.clean();
}

/// minifilter-rules §3.1.
#[test]
fn the_memory_of_a_new_context_is_not_zero() {
    let scene = Scene::of(Lab::builder(), |made| made.context(FLT_STREAM_CONTEXT, 64, None));
    scene.inside(|_| {
        let (_, context) = allocate(FLT_STREAM_CONTEXT, 64, NON_PAGED);
        // SAFETY: 64 bytes were allocated and are live.
        let bytes = unsafe { std::slice::from_raw_parts(context.cast_const().cast::<u8>(), 64) };
        assert!(bytes.iter().all(|byte| *byte != 0), "{bytes:?}");
        release(context);
    });
    scene.clean();
}

/// minifilter-rules §3.1: REPLACE_IF_EXISTS, ALREADY_LINKED, NOT_FOUND.
#[test]
fn a_context_can_be_replaced_and_taken_off() {
    let scene = Scene::of(Lab::builder(), |made| made.context(FLT_INSTANCE_CONTEXT, 8, Some(note_cleanup)));
    scene.inside(|related| {
        notes();
        let set = |context, old: *mut PFLT_CONTEXT| {
            // SAFETY: live objects.
            unsafe {
                FltSetInstanceContext(related.Instance, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, context, old)
            }
        };
        let (_, first) = allocate(FLT_INSTANCE_CONTEXT, 8, NON_PAGED);
        assert_eq!(set(first, std::ptr::null_mut()), 0);
        assert_eq!(set(first, std::ptr::null_mut()), STATUS_FLT_CONTEXT_ALREADY_LINKED);
        let (_, second) = allocate(FLT_INSTANCE_CONTEXT, 8, NON_PAGED);
        let mut old = std::ptr::null_mut();
        assert_eq!(set(second, &raw mut old), 0);
        assert_eq!(old, first);
        release(old);
        assert!(notes().is_empty(), "its own reference is left");
        release(first);
        assert_eq!(notes(), ["cleanup 2 at 0"]);
        release(second);
        let mut found = std::ptr::null_mut();
        // SAFETY: live objects; what is got is released once.
        unsafe {
            assert_eq!(FltGetInstanceContext(related.Instance, &raw mut found), 0);
            assert_eq!(found, second);
            release(found);
            assert_eq!(FltDeleteInstanceContext(related.Instance, std::ptr::null_mut()), 0);
            assert_eq!(notes(), ["cleanup 2 at 0"]);
            let missing = FltGetInstanceContext(related.Instance, &raw mut found);
            assert_eq!((missing, found), (lab_executive::status::NOT_FOUND, std::ptr::null_mut()));
            let missing = FltDeleteInstanceContext(related.Instance, std::ptr::null_mut());
            assert_eq!(missing, lab_executive::status::NOT_FOUND);
        }
    });
    scene.clean();
}

/// minifilter-rules §3.1.
#[test]
fn a_paged_context_is_cleaned_up_at_a_low_level() {
    let scene = Scene::of(Lab::builder(), |made| made.context(FLT_STREAM_CONTEXT, 8, Some(note_cleanup)));
    for pool in [PAGED, NON_PAGED] {
        scene.inside(move |_| {
            notes();
            let (_, context) = allocate(FLT_STREAM_CONTEXT, 8, pool);
            with_lab(|lab| {
                let before = lab.raise_irql(DISPATCH_LEVEL);
                release(context);
                lab.lower_irql(before);
            });
        });
        scene.lab.executive().run_until_idle().unwrap();
        let level = if pool == PAGED { 0 } else { 2 };
        assert_eq!(notes(), [format!("cleanup 8 at {level}")]);
    }
    scene.clean();
}

unsafe extern "win64" fn pass(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    keep(unsafe { (*related).FileObject }.cast_const());
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn late_context(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    let mut context = std::ptr::null_mut();
    // SAFETY: related objects are valid during the callback.
    let status = unsafe { FltGetStreamHandleContext((*related).Instance, kept(), &raw mut context) };
    note(format!("{status:#x}"));
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §3.1, §2.2, txf-ktm §8.1.
#[test]
fn there_is_no_context_after_the_close() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CLOSE, Some(pass), Some(late_context)).load::<0>(&lab, "385100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.close(handle).unwrap();
    assert_eq!(notes(), [format!("{:#x}", lab_executive::status::NOT_SUPPORTED)]);
    clean(&lab, &program);
}

fn name_status(data: Data, options: u32) -> String {
    let mut name = std::ptr::null_mut();
    // SAFETY: callback data is valid during the callback; a name that was got is released once.
    unsafe {
        let status = FltGetFileNameInformation(data, options, &raw mut name);
        if status >= 0 {
            FltReleaseFileNameInformation(name);
        }
        format!("{:#010x}", status.cast_unsigned())
    }
}

unsafe extern "win64" fn odd_names(data: Data, _: Related, _: *mut PVOID) -> i32 {
    for options in [
        FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT,
        FLT_FILE_NAME_SHORT | FLT_FILE_NAME_QUERY_DEFAULT,
        FLT_FILE_NAME_OPENED,
        FLT_FILE_NAME_OPENED | 0x500,
        4 | FLT_FILE_NAME_QUERY_DEFAULT,
        FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT | 0x0800_0000,
    ] {
        note(name_status(data, options));
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5.
#[test]
fn the_options_of_a_name_query_are_checked() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(odd_names), None).load::<0>(&lab, "385100").unwrap();
    program.contents(r"C:\a").unwrap();
    let bad = "0xc000000d";
    assert_eq!(notes(), ["0x00000000", "0xc01c0005", bad, bad, bad, bad]);
    clean(&lab, &program);
}

unsafe extern "win64" fn name_without_apcs(data: Data, _: Related, _: *mut PVOID) -> i32 {
    let options = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT;
    with_lab(|lab| {
        lab.enter_critical_region();
        note(name_status(data, options));
        lab.leave_critical_region();
        let before = lab.raise_irql(APC_LEVEL);
        note(name_status(data, options));
        lab.lower_irql(before);
    });
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.6, §3.5: normal APCs off is not enough to be refused.
#[test]
fn there_are_no_names_with_all_apcs_off() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(name_without_apcs), None).load::<0>(&lab, "385100").unwrap();
    program.contents(r"C:\a").unwrap();
    assert_eq!(notes(), ["0x00000000", "0xc01c0005"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn normalized(data: Data, _: Related, _: *mut PVOID) -> i32 {
    note(name_status(data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5: STATUS_NOT_SAME_DEVICE.
#[test]
fn a_name_across_a_junction_is_refused() {
    let (lab, program) = lab_with(1);
    junction(&lab, "way");
    Made::new().on(IRP_MJ_CREATE, Some(normalized), None).load::<0>(&lab, "385100").unwrap();
    assert_eq!(program.contents(r"C:\way\a").unwrap(), b"0123456789");
    assert_eq!(notes(), ["0xc00000d4", "0x00000000"]);
    clean(&lab, &program);
}

/// minifilter-rules §3.5.
#[test]
fn a_name_relative_to_a_folder_that_was_opened_by_its_id_is_whole() {
    let (lab, program) = lab_with(1);
    lab.with_volume(|volume| volume.put_file(r"folder\inner", b"here").unwrap());
    let by_id = program.call(|caller| {
        let open = caller.create_file(&CreateOptions::open(r"C:\folder", GENERIC_READ).options(1)).unwrap();
        let id = caller.information(open.handle).unwrap().id;
        caller.create_file(&CreateOptions::new(Name::Id(id), GENERIC_READ, 1).options(1)).unwrap().handle
    });
    Made::new().on(IRP_MJ_CREATE, Some(parts), None).load::<0>(&lab, "385100").unwrap();
    let below = CreateOptions::new(Name::Relative(by_id, "inner".into()), GENERIC_READ, 1);
    program.create_file(below).unwrap();
    assert_eq!(notes()[2..4], [r"\folder\", "inner"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn parts(data: Data, _: Related, _: *mut PVOID) -> i32 {
    let mut name: *mut FLT_FILE_NAME_INFORMATION = std::ptr::null_mut();
    // SAFETY: callback data is valid during the callback; the strings live as long as the name, which is released once.
    unsafe {
        let options = FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT;
        assert_eq!(FltGetFileNameInformation(data, options, &raw mut name), 0);
        let text = |part: UNICODE_STRING| {
            if part.Buffer.is_null() {
                return "none".to_owned();
            }
            String::from_utf16_lossy(std::slice::from_raw_parts(part.Buffer, usize::from(part.Length) / 2))
        };
        note(text((*name).FinalComponent));
        assert_eq!(FltParseFileNameInformation(name), 0);
        for part in
            [(*name).Volume, (*name).ParentDir, (*name).FinalComponent, (*name).Extension, (*name).Stream]
        {
            note(text(part));
        }
        FltReleaseFileNameInformation(name);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5.
#[test]
fn the_parts_of_a_name_are_there_when_it_is_parsed() {
    let (lab, program) = lab_with(1);
    lab.with_volume(|volume| volume.put_file(r"Folder\Old.report.txt:s", b"").unwrap());
    Made::new().on(IRP_MJ_CREATE, Some(parts), None).load::<0>(&lab, "385100").unwrap();
    program.contents(r"C:\folder\old.report.txt:s").unwrap();
    let volume = r"\Device\HarddiskVolume1";
    assert_eq!(notes(), ["none", volume, r"\Folder\", "Old.report.txt:s", "txt", ":s"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn whole(data: Data, _: Related, _: *mut PVOID) -> i32 {
    let mut name: *mut FLT_FILE_NAME_INFORMATION = std::ptr::null_mut();
    // SAFETY: callback data is valid during the callback; the name is released once.
    unsafe {
        let options = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT;
        assert_eq!(FltGetFileNameInformation(data, options, &raw mut name), 0);
        let text = std::slice::from_raw_parts((*name).Name.Buffer, usize::from((*name).Name.Length) / 2);
        note(String::from_utf16_lossy(text));
        FltReleaseFileNameInformation(name);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5.
#[test]
fn an_open_by_id_has_the_name_of_its_file() {
    let (lab, program) = lab_with(1);
    let id = lab.with_volume(|volume| volume.tree()["a"].id);
    Made::new().on(IRP_MJ_CREATE, Some(whole), None).load::<0>(&lab, "385100").unwrap();
    let open = CreateOptions::new(Name::Id(id.0), GENERIC_READ, 1);
    let handle = program.create_file(open).unwrap();
    assert_eq!(program.read(handle, 0, 4).unwrap(), b"0123");
    assert_eq!(notes(), [r"\Device\HarddiskVolume1\a"]);
    program.close(handle).unwrap();
    clean(&lab, &program);
}

/// minifilter-rules §3.5: name providers, for one.
#[test]
fn what_the_lab_cannot_serve_is_refused_at_registration() {
    let lab = Lab::builder().build().unwrap();
    let mut made = Made::new();
    made.registration.GenerateFileNameCallback = std::ptr::without_provenance_mut(0x1000);
    match made.load::<0>(&lab, "300000") {
        Err(StartError::Violation(violation)) => assert_eq!(violation.rule, "registration-unsupported"),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(rule::<()>(Ok(())), "none");
}
