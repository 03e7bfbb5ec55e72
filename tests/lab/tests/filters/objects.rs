//! What filters get at: contexts, names, opens of their own, rights, instances.

use crate::made::{Data, Made, Related, filter, iopb, keep, kept, note, notes, post_of, pre_of, rule};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::contexts::*;
use lab::flt::imports::names::*;
use lab::flt::imports::operations::*;
use lab::flt::imports::requests::*;
use lab::io::imports::IoReplaceFileObjectName;
use lab::{CreateOptions, GENERIC_READ, Lab, Offset, READ_ATTRIBUTES, Status};
use lab_nt::{FILE_OBJECT, OBJECT_ATTRIBUTES};

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

/// minifilter-rules §3.1.
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

/// minifilter-rules §2.2, §3.1; txf-ktm §8.1.
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

/// minifilter-rules §3.5.
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

/// minifilter-rules §3.5.
#[test]
fn the_name_of_a_target_directory_open_is_that_of_the_directory() {
    let (lab, program) = lab_with(1);
    lab.with_volume(|volume| volume.put_file(r"Folder\File.txt", b"").unwrap());
    Made::new().on(IRP_MJ_CREATE, Some(note_names), None).load::<0>(&lab, "385100").unwrap();
    program.call(|caller| caller.rename_path(r"C:\a", r"C:\folder\b", false)).unwrap();
    let volume = r"\Device\HarddiskVolume1";
    let names: Vec<_> = notes().into_iter().map(|name| name.replace(volume, "")).collect();
    assert_eq!(names, [r"\a", r"\a", r"\Folder", r"\folder"]);
    clean(&lab, &program);
}

unsafe extern "win64" fn name_inside_the_file_system(data: Data, _: Related, _: *mut PVOID) -> i32 {
    lab_executive::with_lab(|lab| lab.thread().top_level_irp.set(1));
    note(name_of(data, FLT_FILE_NAME_OPENED));
    lab_executive::with_lab(|lab| lab.thread().top_level_irp.set(0));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §3.5.
#[test]
fn there_are_no_names_with_a_top_level_irp_set() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(name_inside_the_file_system), None).load::<0>(&lab, "385100").unwrap();
    program.contents(r"C:\a").unwrap();
    assert_eq!(notes(), [format!("{:#010x}", STATUS_FLT_INVALID_NAME_REQUEST.cast_unsigned())]);
    clean(&lab, &program);
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

/// minifilter-rules §1.9; §1.8 rule 8.
/// txf-ktm §2.
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

/// minifilter-rules §1.9; txf-ktm §2.
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

/// minifilter-rules §1.8, design C.
/// minifilter-rules §7; txf-ktm §9.
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

/// As [`give_rights_back`], and says that they are still to be granted.
unsafe extern "win64" fn leave_rights(data: Data, _: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: as above.
    unsafe {
        let context: *mut lab_nt::IO_SECURITY_CONTEXT = iopb(data).Parameters.Create.SecurityContext.cast();
        (*(*context).AccessState).PreviouslyGrantedAccess = 0x12_0196;
        (*(*context).AccessState).RemainingDesiredAccess = 0x12_0196;
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §1.3.2.
#[test]
fn a_create_that_succeeds_leaves_no_right_to_be_granted() {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_CREATE, Some(take_rights_away), Some(leave_rights));
    made.load::<0>(&lab, "225000").unwrap();
    let broken = program.try_call(|caller| {
        caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_READ)).map(|created| created.handle)
    });
    assert_eq!(broken.err().map(|broken| broken.rule), Some("access-remaining"));
}

unsafe extern "win64" fn cancel(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: callback data and related objects are valid during the callback; no handle exists yet.
    unsafe {
        FltCancelFileOpen((*related).Instance, (*related).FileObject);
        (*data).IoStatus.Status = Status::SHARING_VIOLATION.0.cast_signed();
        (*data).IoStatus.Information = 0;
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §1.9.
#[test]
fn a_cancelled_open_is_cleaned_up_and_closed_below_and_fails_above() {
    let (lab, program) = lab_with(1);
    let top = Made::new()
        .on(IRP_MJ_CREATE, Some(pre_of::<0>), Some(post_of::<0>))
        .on(IRP_MJ_CLEANUP, Some(pre_of::<0>), Some(post_of::<0>))
        .on(IRP_MJ_CLOSE, Some(pre_of::<0>), Some(post_of::<0>));
    top.load::<0>(&lab, "385100").unwrap();
    Made::new().on(IRP_MJ_CREATE, None, Some(cancel)).load::<1>(&lab, "225000").unwrap();
    let low = Made::new().on(IRP_MJ_CLEANUP, Some(pre_of::<2>), Some(post_of::<2>)).on(
        IRP_MJ_CLOSE,
        Some(pre_of::<2>),
        Some(post_of::<2>),
    );
    low.load::<2>(&lab, "145100").unwrap();
    let refused = program.create_file(CreateOptions::open(r"C:\a", ALL).share(0));
    assert_eq!(refused, Err(Status::SHARING_VIOLATION));
    let expected =
        ["pre 0 0", "pre 2 18", "post 2 18 with 3", "pre 2 2", "post 2 2 with 3", "post 0 0 with 1"];
    assert_eq!(notes(), expected);
    clean(&lab, &program);
}

unsafe extern "win64" fn elsewhere(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the file object is valid during the callback and its name is that of the open.
    unsafe {
        let file: *mut FILE_OBJECT = (*related).FileObject.cast();
        let name =
            std::slice::from_raw_parts((*file).FileName.Buffer, usize::from((*file).FileName.Length) / 2);
        if String::from_utf16_lossy(name) != r"\old" {
            return FLT_PREOP_SUCCESS_NO_CALLBACK;
        }
        let new: Vec<u16> = r"\Device\HarddiskVolume1\a".encode_utf16().collect();
        assert_eq!(IoReplaceFileObjectName(file.cast(), new.as_ptr(), (new.len() * 2) as u16), 0);
        (*data).IoStatus.Status = Status::REPARSE.0.cast_signed();
        (*data).IoStatus.Information = 0;
    }
    FLT_PREOP_COMPLETE
}

/// minifilter-rules §1.6.
#[test]
fn a_filter_sends_an_open_elsewhere() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, Some(elsewhere), None).load::<0>(&lab, "385100").unwrap();
    assert_eq!(program.contents(r"C:\old").unwrap(), b"0123456789");
    clean(&lab, &program);
}
