//! What the Filter Manager does for filters: order, parameters, threads, contexts, names, generated requests.

mod common {
    pub(crate) mod made;
}

use std::rc::Rc;

use common::made::{Made, filter, iopb, keep, kept, note, notes, rule};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::filters::*;
use lab::flt::imports::names::*;
use lab::flt::imports::operations::*;
use lab::flt::imports::requests::*;
use lab::loading::InstanceDefinition;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Offset, Process, READ_ATTRIBUTES, Status};
use lab_nt::{FILE_OBJECT, OBJECT_ATTRIBUTES};

type Data = *mut FLT_CALLBACK_DATA;
type Related = *const FLT_RELATED_OBJECTS;

const ALL: u32 = GENERIC_READ | GENERIC_WRITE;

fn lab_with(seed: u64) -> (Rc<Lab>, Process) {
    let lab = Lab::builder().seed(seed).build().unwrap();
    lab.with_volume(|volume| volume.put_file("a", b"0123456789").unwrap());
    let program = lab.process("program.exe");
    (lab, program)
}

fn clean(lab: &Lab, program: &Process) {
    program.exit(0);
    let report = lab.unload();
    assert!(report.is_clean(), "{report}");
}

fn thread() -> u32 {
    lab_executive::with_lab(|lab| lab.thread().id)
}

fn irql() -> u8 {
    lab_executive::with_lab(|lab| lab.thread().irql.get())
}

unsafe extern "win64" fn pre_of<const N: usize>(data: Data, _: Related, context: *mut PVOID) -> i32 {
    note(format!("pre {N} {}", iopb(data).MajorFunction));
    // SAFETY: the Filter Manager gave room for a pointer.
    unsafe { context.write(std::ptr::without_provenance_mut(N + 1)) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn post_of<const N: usize>(data: Data, _: Related, context: PVOID, _: u32) -> i32 {
    note(format!("post {N} {} with {}", iopb(data).MajorFunction, context.addr()));
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn operations_go_down_by_altitude_and_come_back_up() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<0>), Some(post_of::<0>)).load::<0>(&lab, "45000").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<1>), Some(post_of::<1>)).load::<1>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_CREATE, Some(pre_of::<2>), Some(post_of::<2>)).load::<2>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(
        notes(),
        ["pre 1 0", "pre 2 0", "pre 0 0", "post 0 0 with 1", "post 2 0 with 3", "post 1 0 with 2"]
    );
    program.close(handle).unwrap();
    clean(&lab, &program);
}

unsafe extern "win64" fn halve(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).Parameters.Read.Length = 4;
    keep(iopb(data));
    // SAFETY: callback data is valid during the callback.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn note_length(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the union member of a read; integers.
    note(format!("below sees {}", unsafe { iopb(data).Parameters.Read.Length }));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn note_own_length(data: Data, _: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: the union member of a read; integers.
    note(format!("own post sees {}", unsafe { iopb(data).Parameters.Read.Length }));
    note(format!("the block moved: {}", kept::<FLT_IO_PARAMETER_BLOCK>() != std::ptr::from_mut(iopb(data))));
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn changed_parameters_are_seen_below_and_the_original_ones_above() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_READ, Some(halve), Some(note_own_length)).load::<0>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_READ, Some(note_length), None).load::<1>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(program.read(handle, 0, 8).unwrap(), b"0123");
    assert_eq!(notes(), ["below sees 4", "own post sees 8", "the block moved: true"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn disallow(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    note(if fast { "fast" } else { "irp" });
    if fast { FLT_PREOP_DISALLOW_FASTIO } else { FLT_PREOP_SUCCESS_NO_CALLBACK }
}

#[test]
fn disallowed_fast_io_comes_again_as_an_irp() {
    let (lab, program) = lab_with(1);
    let made =
        Made::new().on(IRP_MJ_READ, Some(disallow), None).on(IRP_MJ_NETWORK_QUERY_OPEN, Some(disallow), None);
    made.load::<0>(&lab, "385100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.read(handle, 0, 1).unwrap();
    assert_eq!(notes(), ["irp"], "nothing is cached before the first read");
    program.read(handle, 0, 1).unwrap();
    assert_eq!(notes(), ["fast", "irp"]);
    assert_eq!(program.call(|caller| caller.query_attributes_by_path(r"C:\a")).unwrap().size, 10);
    assert_eq!(notes(), ["fast"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn finish_later(_: PFLT_GENERIC_WORKITEM, _: PVOID, data: PVOID) {
    note(format!("worker {}", thread()));
    // SAFETY: the operation is pended until this call.
    unsafe {
        FltCompletePendedPreOperation(data.cast(), FLT_PREOP_SUCCESS_WITH_CALLBACK, std::ptr::null_mut())
    };
}

unsafe extern "win64" fn pend(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    if unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_IRP_OPERATION == 0 {
        return FLT_PREOP_DISALLOW_FASTIO;
    }
    note(format!("pre {}", thread()));
    // SAFETY: the item is queued once; the lab frees its numbers with the test.
    unsafe {
        let item = FltAllocateGenericWorkItem();
        FltQueueGenericWorkItem(item, (*related).Instance, Some(finish_later), 1, data.cast());
    }
    FLT_PREOP_PENDING
}

unsafe extern "win64" fn note_post(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    note(format!("post {}", thread()));
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn a_pended_operation_goes_on_in_the_thread_that_completes_it() {
    for seed in 1..20 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_FLUSH_BUFFERS, Some(pend), Some(note_post)).load::<0>(&lab, "385100").unwrap();
        let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
        program.flush(handle).unwrap();
        let noted = notes();
        assert_eq!(noted.len(), 3, "{noted:?}");
        let number = |what: &str| noted.iter().find_map(|line| line.strip_prefix(what)).unwrap().to_owned();
        assert_ne!(number("pre "), number("worker "));
        assert!(number("post ") == number("worker ") || number("post ") == number("pre "), "{noted:?}");
    }
}

#[test]
fn a_pended_create_comes_back_in_its_own_thread() {
    let (lab, program) = lab_with(3);
    Made::new().on(IRP_MJ_CREATE, Some(pend), Some(note_post)).load::<0>(&lab, "385100").unwrap();
    program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let noted = notes();
    assert_eq!(noted[0].strip_prefix("pre "), noted[2].strip_prefix("post "), "{noted:?}");
}

unsafe extern "win64" fn watch(_: Data, _: Related, context: *mut PVOID) -> i32 {
    // SAFETY: the Filter Manager gave room for a pointer.
    unsafe { context.write(std::ptr::without_provenance_mut(thread() as usize)) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn synchronise(data: Data, related: Related, context: *mut PVOID) -> i32 {
    // SAFETY: passed on as it came.
    unsafe { watch(data, related, context) };
    FLT_PREOP_SYNCHRONIZE
}

unsafe extern "win64" fn note_where(_: Data, _: Related, context: PVOID, _: u32) -> i32 {
    let same = if context.addr() == thread() as usize { "same" } else { "other" };
    note(format!("{same} thread at {}", irql()));
    FLT_POSTOP_FINISHED_PROCESSING
}

fn uncached(program: &Process) -> lab::Handle {
    program.create_file(CreateOptions::open(r"C:\a", ALL).options(0x8)).unwrap()
}

#[test]
fn a_reads_post_operation_may_run_elsewhere_and_at_dispatch_level() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(note_where)).load::<0>(&lab, "385100").unwrap();
        program.read(uncached(&program), 0, 8).unwrap();
        seen.extend(notes());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["other thread at 0", "other thread at 2", "same thread at 0"]
    );
}

#[test]
fn a_synchronised_one_runs_in_the_issuing_thread() {
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(synchronise), Some(note_where)).load::<0>(&lab, "385100").unwrap();
        program.read(uncached(&program), 0, 8).unwrap();
        assert_eq!(notes(), ["same thread at 0"]);
    }
}

unsafe extern "win64" fn safe_half(_: Data, _: Related, _: PVOID, _: u32) -> i32 {
    note(format!("safe half at {}", irql()));
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn when_safe(data: Data, related: Related, context: PVOID, flags: u32) -> i32 {
    let mut status = -1;
    // SAFETY: passed on as it came.
    let posted = unsafe {
        FltDoCompletionProcessingWhenSafe(data, related, context, flags, Some(safe_half), &raw mut status)
    };
    assert_eq!(posted, 1);
    status
}

#[test]
fn completion_processing_that_needs_a_low_level_gets_one() {
    for seed in 1..40 {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(when_safe)).load::<0>(&lab, "385100").unwrap();
        assert_eq!(program.read(uncached(&program), 0, 8).unwrap(), b"01234567");
        assert_eq!(notes(), ["safe half at 0"]);
        clean(&lab, &program);
    }
}

unsafe extern "win64" fn count_cleanup(_: PFLT_CONTEXT, kind: u16) {
    note(format!("cleanup {kind}"));
}

unsafe extern "win64" fn set_contexts(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: related objects are valid during the callback, and so is everything in them.
    unsafe {
        let (instance, file) = ((*related).Instance, (*related).FileObject);
        let mut context = std::ptr::null_mut();
        for kind in [FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT, FLT_FILE_CONTEXT, FLT_INSTANCE_CONTEXT] {
            assert_eq!(FltAllocateContext(filter(0), kind, 24, 512, &raw mut context), 0);
            let mut old = std::ptr::null_mut();
            let keep = FLT_SET_CONTEXT_KEEP_IF_EXISTS;
            let status = match kind {
                FLT_STREAM_CONTEXT => FltSetStreamContext(instance, file, keep, context, &raw mut old),
                FLT_STREAMHANDLE_CONTEXT => {
                    FltSetStreamHandleContext(instance, file, keep, context, &raw mut old)
                }
                FLT_FILE_CONTEXT => FltSetFileContext(instance, file, keep, context, &raw mut old),
                _ => FltSetInstanceContext(instance, keep, context, &raw mut old),
            };
            note(format!("set {kind} {status:#x}"));
            if !old.is_null() {
                FltReleaseContext(old);
            }
            FltReleaseContext(context);
        }
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn contexts_live_as_long_as_what_they_hang_on() {
    let (lab, program) = lab_with(1);
    let mut made = Made::new().on(IRP_MJ_CREATE, None, Some(set_contexts));
    for kind in [FLT_STREAM_CONTEXT, FLT_STREAMHANDLE_CONTEXT, FLT_FILE_CONTEXT, FLT_INSTANCE_CONTEXT] {
        made = made.context(kind, 24, Some(count_cleanup));
    }
    made.load::<0>(&lab, "385100").unwrap();
    let first = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(notes(), ["set 8 0x0", "set 16 0x0", "set 4 0x0", "set 2 0x0"]);
    let second = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let defined = "0xc01c0002";
    assert_eq!(
        notes(),
        [
            format!("set 8 {defined}"),
            "cleanup 8".into(),
            "set 16 0x0".into(),
            format!("set 4 {defined}"),
            "cleanup 4".into(),
            format!("set 2 {defined}"),
            "cleanup 2".into()
        ]
    );
    program.close(first).unwrap();
    assert_eq!(notes(), ["cleanup 16"], "the handle's context goes with its close");
    program.close(second).unwrap();
    assert_eq!(notes(), ["cleanup 16", "cleanup 8", "cleanup 4"], "the stream's and file's with the last");
    clean(&lab, &program);
    assert_eq!(notes(), ["cleanup 2"]);
}

unsafe extern "win64" fn early_context(_: Data, related: Related, _: *mut PVOID) -> i32 {
    let mut context = std::ptr::null_mut();
    // SAFETY: related objects are valid during the callback.
    let status =
        unsafe { FltGetStreamHandleContext((*related).Instance, (*related).FileObject, &raw mut context) };
    note(format!("{status:#x}"));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn there_is_no_context_before_the_open() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(early_context), None).load::<0>(&lab, "385100").unwrap();
    program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(notes(), [format!("{:#x}", lab_executive::status::NOT_SUPPORTED)]);
}

fn name_of(data: Data, options: u32) -> String {
    let mut name: *mut FLT_FILE_NAME_INFORMATION = std::ptr::null_mut();
    // SAFETY: callback data is valid during the callback; the name is released once.
    unsafe {
        let status = FltGetFileNameInformation(data, options | FLT_FILE_NAME_QUERY_DEFAULT, &raw mut name);
        if status < 0 {
            return format!("{:#010x}", status.cast_unsigned());
        }
        assert_eq!(FltParseFileNameInformation(name), 0);
        let full = (*name).Name;
        let units = std::slice::from_raw_parts(full.Buffer, usize::from(full.Length) / 2);
        let text = String::from_utf16_lossy(units);
        FltReleaseFileNameInformation(name);
        text
    }
}

unsafe extern "win64" fn note_names(data: Data, _: Related, _: *mut PVOID) -> i32 {
    note(name_of(data, FLT_FILE_NAME_NORMALIZED));
    note(name_of(data, FLT_FILE_NAME_OPENED));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn names_before_an_open_are_normalized_or_as_typed() {
    let (lab, program) = lab_with(1);
    lab.with_volume(|volume| volume.put_file(r"Folder\File.txt", b"").unwrap());
    Made::new().on(IRP_MJ_CREATE, Some(note_names), None).load::<0>(&lab, "385100").unwrap();
    let volume = r"\Device\HarddiskVolume1";
    let open = |path: &str| {
        let _ = program.create_file(CreateOptions::open(path, READ_ATTRIBUTES));
        notes().into_iter().map(|name| name.replace(volume, "")).collect::<Vec<_>>()
    };
    assert_eq!(open(r"C:\FOLDER\file.TXT"), [r"\Folder\File.txt", r"\FOLDER\file.TXT"]);
    assert_eq!(open(r"C:\FOLDER\New.txt"), [r"\Folder\New.txt", r"\FOLDER\New.txt"]);
    assert_eq!(open(r"C:\folder\file.txt:s"), [r"\Folder\File.txt:s", r"\folder\file.txt:s"]);
    assert_eq!(open(r"C:\none\file.txt"), ["0xc000003a", r"\none\file.txt"]);
    assert_eq!(open(r"C:\"), [r"\", r"\"]);
}

/// Opens `\Device\HarddiskVolume1\other` below the instance; returns the handle and the file object.
fn open_below(related: Related, top_level: bool) -> (i32, HANDLE, PFILE_OBJECT) {
    let name: Vec<u16> = r"\Device\HarddiskVolume1\other".encode_utf16().collect();
    let mut string = lab_nt::UNICODE_STRING {
        Length: (name.len() * 2) as u16,
        MaximumLength: (name.len() * 2) as u16,
        Buffer: name.as_ptr().cast_mut(),
    };
    let mut attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: std::ptr::null_mut(),
        ObjectName: &raw mut string,
        Attributes: 0x240,
        SecurityDescriptor: std::ptr::null_mut(),
        SecurityQualityOfService: std::ptr::null_mut(),
    };
    let (mut handle, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
    if top_level {
        lab_executive::with_lab(|lab| lab.thread().top_level_irp.set(1));
    }
    // SAFETY: pointers to locals of the right types; the rest is null as documented.
    let status = unsafe {
        let mut iosb: IO_STATUS_BLOCK = std::mem::zeroed();
        FltCreateFileEx2(
            (*related).Filter,
            (*related).Instance,
            &raw mut handle,
            &raw mut file,
            0x12_019F,
            (&raw mut attributes).cast(),
            &raw mut iosb,
            std::ptr::null_mut(),
            0x80,
            7,
            3,
            0x60,
            std::ptr::null_mut(),
            0,
            0,
            std::ptr::null_mut(),
        )
    };
    (status, handle, file)
}

fn dereference(file: PFILE_OBJECT) {
    lab_executive::with_lab(|lab| lab.objects.dereference(lab, file.cast()));
}

unsafe extern "win64" fn open_another(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    note(format!("post {}", iopb(data).MajorFunction));
    let (status, handle, file) = open_below(related, false);
    assert_eq!(status, 0);
    // SAFETY: a handle that was just opened.
    unsafe { FltClose(handle) };
    dereference(file);
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn a_generated_open_and_its_file_object_are_seen_by_lower_filters_only() {
    let (lab, program) = lab_with(1);
    let top =
        Made::new().on(IRP_MJ_CREATE, Some(pre_of::<0>), None).on(IRP_MJ_CLEANUP, Some(pre_of::<0>), None);
    let _ = top;
    Made::new().on(IRP_MJ_CREATE, None, Some(open_another)).load::<1>(&lab, "225000").unwrap();
    let low = Made::new()
        .on(IRP_MJ_CREATE, Some(pre_of::<2>), Some(post_of::<2>))
        .on(IRP_MJ_CLEANUP, Some(pre_of::<2>), Some(post_of::<2>))
        .on(IRP_MJ_CLOSE, Some(pre_of::<2>), Some(post_of::<2>));
    low.load::<2>(&lab, "145100").unwrap();
    let handle = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    assert_eq!(
        notes(),
        [
            "pre 2 0",
            "post 2 0 with 3",
            "post 0",
            "pre 2 0",
            "post 2 0 with 3",
            "pre 2 18",
            "post 2 18 with 3",
            "pre 2 2",
            "post 2 2 with 3",
        ]
    );
    program.close(handle).unwrap();
    clean(&lab, &program);
}

unsafe extern "win64" fn open_inside_the_file_system(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    open_below(related, true);
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn a_nested_open_with_a_top_level_irp_set_is_a_deadlock() {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_CREATE, None, Some(open_inside_the_file_system));
    made.load::<0>(&lab, "225000").unwrap();
    let broken =
        program.try_call(|caller| caller.create_file(&CreateOptions::open(r"C:\a", ALL)).map(|_| ()));
    assert_eq!(rule(broken), "top-level-irp");
}

unsafe extern "win64" fn keep_twin(_: Data, related: Related, _: PVOID, _: u32) -> i32 {
    let (_, handle, file) = open_below(related, false);
    keep(file);
    // SAFETY: a handle that was just opened; the file object stays referenced.
    unsafe { FltClose(handle) };
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn swap(data: Data, _: Related, _: *mut PVOID) -> i32 {
    iopb(data).TargetFileObject = kept();
    // SAFETY: callback data is valid during the callback.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

#[test]
fn a_swap_to_a_file_object_that_was_cleaned_up_reaches_closed_data() {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_CREATE, None, Some(keep_twin)).on(IRP_MJ_WRITE, Some(swap), None);
    made.load::<0>(&lab, "225000").unwrap();
    let written = program.call(|caller| {
        let handle = caller.create_file(&CreateOptions::open(r"C:\a", ALL)).unwrap().handle;
        caller.write(handle, Offset::At(0), b"x")
    });
    assert_eq!(written, Err(Status::FILE_CLOSED));
    assert_eq!(program.contents(r"C:\a").unwrap(), b"0123456789", "the write went elsewhere");
}

unsafe extern "win64" fn take_rights_away(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the parameters of a create and what they point to are valid during the callback.
    unsafe {
        let context: *mut lab_nt::IO_SECURITY_CONTEXT = iopb(data).Parameters.Create.SecurityContext.cast();
        (*(*context).AccessState).RemainingDesiredAccess = 0x10_0080;
        (*context).DesiredAccess = 0x10_0080;
    }
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

unsafe extern "win64" fn give_rights_back(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: as above; the file object is open now.
    unsafe {
        let context: *mut lab_nt::IO_SECURITY_CONTEXT = iopb(data).Parameters.Create.SecurityContext.cast();
        (*(*context).AccessState).PreviouslyGrantedAccess = 0x12_0196;
        let file: *mut FILE_OBJECT = (*related).FileObject.cast();
        note(format!("write access of the file object: {}", (*file).WriteAccess));
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn the_handle_has_what_the_access_state_says_after_the_create() {
    for from_context in [false, true] {
        let lab = Lab::builder().access_from_security_context(from_context).build().unwrap();
        let program = lab.process("program.exe");
        program.put(r"C:\a", b"0123456789").unwrap();
        Made::new()
            .on(IRP_MJ_CREATE, Some(take_rights_away), Some(give_rights_back))
            .load::<0>(&lab, "225000")
            .unwrap();
        let handle = program.create_file(CreateOptions::open(r"C:\a", GENERIC_READ)).unwrap();
        assert_eq!(notes(), ["write access of the file object: 0"]);
        assert_eq!(program.read(handle, 0, 1), Err(Status::ACCESS_DENIED));
        assert_eq!(program.write(handle, 0, b"x"), Ok(1), "NTFS does not check again");
    }
}

unsafe extern "win64" fn refuse_setup(_: Related, flags: u32, device: u32, kind: i32) -> i32 {
    note(format!("setup {flags} {device} {kind}"));
    STATUS_FLT_DO_NOT_ATTACH
}

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

unsafe extern "win64" fn draining(_: Data, _: Related, context: PVOID, flags: u32) -> i32 {
    note(format!("post with {} flags {flags}", context.addr()));
    FLT_POSTOP_FINISHED_PROCESSING
}

#[test]
fn an_operation_under_way_is_drained_when_its_filter_unloads() {
    let (lab, program) = lab_with(1);
    let driver = Made::new()
        .on(IRP_MJ_LOCK_CONTROL, Some(pre_of::<0>), Some(draining))
        .load::<0>(&lab, "225000")
        .unwrap();
    let other = lab.process("other.exe");
    let mine = program.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    let theirs = other.create_file(CreateOptions::open(r"C:\a", ALL)).unwrap();
    program.call(move |caller| caller.lock(mine, 0, 5, true, false)).unwrap();
    let waiting = other.submit(move |caller| caller.lock(theirs, 0, 5, true, true));
    lab.executive().run_until_idle().unwrap();
    notes();
    assert!(lab.unload_driver(&driver).unwrap().is_clean());
    assert_eq!(notes(), ["post with 1 flags 1"]);
    program.close(mine).unwrap();
    waiting.wait().unwrap().unwrap();
}

#[test]
fn the_same_seed_makes_the_same_trace_with_filters_too() {
    let run = |seed| {
        let (lab, program) = lab_with(seed);
        Made::new().on(IRP_MJ_READ, Some(watch), Some(when_safe)).load::<0>(&lab, "385100").unwrap();
        let handle = uncached(&program);
        for _ in 0..10 {
            program.read(handle, 0, 8).unwrap();
        }
        lab.trace_hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
