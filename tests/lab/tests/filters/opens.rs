//! Opens that filters make by themselves, and what becomes of them.

use crate::inside::*;
use crate::made::{Data, Made, Related, iopb, note, notes, post_of, pre_of, rule};
use crate::scene::{ALL, clean, lab_with};
use fltkernel::*;
use lab::flt::imports::requests::FltCancelFileOpen;
use lab::io::imports::IoGetTransactionParameterBlock;
use lab::{CreateOptions, DIRECTORY, GENERIC_READ, GENERIC_WRITE, Status};
use lab_volume::{Ace, CreateRequest, LOCAL_SYSTEM, access, descriptor};

/// IO_FORCE_ACCESS_CHECK and IO_IGNORE_SHARE_ACCESS_CHECK.
const FORCE_ACCESS_CHECK: u32 = 0x1;
const IGNORE_SHARE_ACCESS_CHECK: u32 = 0x800;

/// minifilter-rules §1.9, txf-ktm §2.
#[test]
fn a_filters_open_asks_for_a_kernel_handle() {
    let scene = Scene::new();
    let broken = scene.try_inside(|related| {
        OwnOpen { attributes: 0x40, ..OwnOpen::new(related, r"\a") }.open(related);
    });
    assert_eq!(broken, "kernel-handle");
}

/// minifilter-rules §1.9, txf-ktm §2: IoInitializeDriverCreateContext sets the size and nothing else, no device is hinted
/// at, and a transaction parameter block says how long it is.
#[test]
fn a_create_context_of_a_driver_is_checked() {
    let broken_by = |context: [usize; 5]| {
        Scene::new().try_inside(move |related| {
            OwnOpen { context: Some(context), ..OwnOpen::new(related, r"\a") }.open(related);
        })
    };
    assert_eq!(broken_by([40, 0, 0, 0, 1]), "none");
    assert_eq!(broken_by([39, 0, 0, 0, 1]), "driver-create-context");
    assert_eq!(broken_by([40, 0, 8, 0, 1]), "driver-create-context");
    Scene::new().inside(|related| {
        let block = lab_nt::TXN_PARAMETER_BLOCK {
            Length: 8,
            TxFsContext: 0xFFFE,
            TransactionObject: std::ptr::null_mut(),
        };
        let context = Some([40, 0, 0, (&raw const block).expose_provenance(), 1]);
        let (status, ..) = OwnOpen { context, ..OwnOpen::new(related, r"\a") }.open(related);
        assert_eq!(status, lab_executive::status::INVALID_PARAMETER);
    });
}

/// txf-ktm §2.
#[test]
fn a_plain_file_object_has_no_transaction_parameters() {
    let scene = Scene::new();
    scene.inside(|related| {
        let (status, handle, file) = OwnOpen::new(related, r"\a").open(related);
        assert_eq!(status, 0);
        // SAFETY: a live file object.
        assert!(unsafe { IoGetTransactionParameterBlock(file) }.is_null());
        done_with(handle, file);
    });
    scene.clean();
}

/// minifilter-rules §1.9, txf-ktm §2: never STATUS_REPARSE.
#[test]
fn a_filters_open_follows_a_junction() {
    let scene = Scene::new();
    scene.program.call(|caller| caller.put(r"C:\a", b"behind").unwrap());
    junction(&scene.lab, "way");
    scene.inside(|related| {
        let (status, handle, file) = OwnOpen::new(related, r"\way\a").open(related);
        assert_eq!(status, 0);
        done_with(handle, file);
    });
    scene.clean();
}

/// minifilter-rules §1.9, txf-ktm §2.
#[test]
fn a_filters_open_is_checked_only_if_it_asks_for_that() {
    let scene = Scene::new();
    scene.lab.with_volume(|volume| {
        let mut ktm = lab_volume::Ktm::new(1, 0);
        let request = CreateRequest::path("a").access(access::WRITE_DAC);
        let open = volume.create(&mut ktm, request).unwrap().opened().unwrap().open;
        let nobody = descriptor(LOCAL_SYSTEM, &[Ace { allow: true, sid: LOCAL_SYSTEM, mask: access::ALL }]);
        volume.set_security(open, &nobody).unwrap();
        volume.cleanup(open, 0).unwrap();
        volume.close(open).unwrap();
    });
    scene.inside(|related| {
        let (status, handle, file) = OwnOpen::new(related, r"\a").open(related);
        assert_eq!(status, 0, "as kernel mode");
        done_with(handle, file);
        for (attributes, flags) in [(KERNEL_HANDLE | 0x440, 0), (KERNEL_HANDLE | 0x40, FORCE_ACCESS_CHECK)] {
            let (status, ..) = OwnOpen { attributes, flags, ..OwnOpen::new(related, r"\a") }.open(related);
            assert_eq!(status, Status::ACCESS_DENIED.0.cast_signed(), "as the program");
        }
    });
    scene.clean();
}

/// minifilter-rules §1.9.
#[test]
fn a_filters_open_may_ignore_share_modes() {
    let scene = Scene::new();
    let alone = CreateOptions::open(r"C:\a", GENERIC_READ).share(0);
    let handle = scene.program.create_file(alone).unwrap();
    scene.inside(|related| {
        let own = OwnOpen::new(related, r"\a");
        assert_eq!(own.open(related).0, Status::SHARING_VIOLATION.0.cast_signed());
        let (status, handle, file) = OwnOpen { flags: IGNORE_SHARE_ACCESS_CHECK, ..own }.open(related);
        assert_eq!(status, 0);
        done_with(handle, file);
    });
    scene.program.close(handle).unwrap();
    scene.clean();
}

/// txf-ktm §2.
#[test]
fn a_filters_open_without_an_instance_starts_at_the_top() {
    let scene = Scene::new();
    let above = Made::new().on(IRP_MJ_CREATE, Some(pre_of::<1>), Some(post_of::<1>));
    above.load::<1>(&scene.lab, "385100").unwrap();
    scene.inside(|related| {
        notes();
        let (_, handle, file) = OwnOpen::new(related, r"\a").open(related);
        done_with(handle, file);
        assert!(notes().is_empty(), "below the instance");
        let top = OwnOpen { instance: std::ptr::null_mut(), ..OwnOpen::new(related, r"\a") };
        let (_, handle, file) = top.open(related);
        done_with(handle, file);
        assert_eq!(notes(), ["pre 1 0", "post 1 0 with 2"]);
    });
    scene.clean();
}

unsafe extern "win64" fn cancel_at_a_write(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback; that the file has a handle is wrong on purpose.
    unsafe { FltCancelFileOpen((*related).Instance, (*related).FileObject) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.9.
#[test]
fn an_open_with_a_handle_is_not_cancelled() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_WRITE, Some(cancel_at_a_write), None).load::<0>(&lab, "225000").unwrap();
    assert_eq!(rule(program.try_call(|caller| caller.put(r"C:\a", b"x"))), "cancel-file-open");
}

unsafe extern "win64" fn cancel(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: callback data and related objects are valid during the callback; no handle exists yet.
    unsafe {
        FltCancelFileOpen((*related).Instance, (*related).FileObject);
        (*data).IoStatus.Status = Status::SHARING_VIOLATION.0.cast_signed();
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// minifilter-rules §1.9.
#[test]
fn a_cancelled_create_leaves_the_new_file() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_CREATE, None, Some(cancel)).load::<0>(&lab, "225000").unwrap();
    let made = program.create_file(CreateOptions::create(r"C:\new", GENERIC_WRITE));
    assert_eq!(made, Err(Status::SHARING_VIOLATION));
    assert_eq!(lab.with_volume(|volume| volume.contents("new")), Some(Vec::new()));
    clean(&lab, &program);
}

unsafe extern "win64" fn elsewhere(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: the union member of a rename; pointers and integers, valid for any bits.
    if unsafe { iopb(data).Parameters.SetFileInformation.ParentOfTarget }.is_null() {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    iopb(data).Parameters.SetFileInformation.ParentOfTarget = std::ptr::without_provenance_mut(0x1000);
    // SAFETY: callback data is valid during the callback.
    unsafe { lab::flt::imports::operations::FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.4.
#[test]
fn a_rename_into_a_directory_that_ntfs_has_not_opened_stops_the_run() {
    let (lab, program) = lab_with(1);
    lab.with_volume(|volume| volume.put_directory("d").unwrap());
    Made::new().on(IRP_MJ_SET_INFORMATION, Some(elsewhere), None).load::<0>(&lab, "225000").unwrap();
    assert_eq!(
        rule(program.try_call(|caller| caller.rename_path(r"C:\a", r"C:\d\b", false))),
        "foreign-file-object"
    );
}

unsafe extern "win64" fn note_major(data: Data, _: Related, _: *mut PVOID) -> i32 {
    note(format!("{}", iopb(data).MajorFunction));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// txf-ktm §8.1: cleanup with the last handle, close with the last reference.
#[test]
fn a_close_comes_with_the_last_reference() {
    let scene = Scene::new();
    let below =
        Made::new().on(IRP_MJ_CLEANUP, Some(note_major), None).on(IRP_MJ_CLOSE, Some(note_major), None);
    below.load::<1>(&scene.lab, "145100").unwrap();
    scene.inside(|related| {
        notes();
        let (_, handle, file) = OwnOpen::new(related, r"\a").open(related);
        // SAFETY: a handle that was just opened.
        unsafe { lab::flt::imports::requests::FltClose(handle) };
        assert_eq!(notes(), [IRP_MJ_CLEANUP.to_string()]);
        lab_executive::with_lab(|lab| lab.objects.dereference(lab, file.cast()));
        assert_eq!(notes(), [IRP_MJ_CLOSE.to_string()]);
    });
    scene.clean();
}

/// txf-ktm §4.1.
#[test]
fn a_query_by_path_tells_of_the_committed_file() {
    let (lab, program) = lab_with(1);
    program.call(|caller| {
        let transaction = caller.create_transaction().unwrap();
        let handle =
            caller.create_file(&CreateOptions::open(r"C:\a", ALL).inside(transaction)).unwrap().handle;
        caller.set_end_of_file(handle, 3).unwrap();
        assert_eq!(caller.size(handle), Ok(3));
        assert_eq!(caller.query_attributes_by_path(r"C:\a").unwrap().size, 10);
        let listed =
            caller.create_file(&CreateOptions::open(r"C:\", GENERIC_READ).options(DIRECTORY)).unwrap();
        let entries = caller.query_directory(listed.handle, Some("a")).unwrap();
        assert_eq!(entries[0].size, 10);
        caller.close(listed.handle).unwrap();
        caller.close(handle).unwrap();
        caller.commit_transaction(transaction).unwrap();
        assert_eq!(caller.query_attributes_by_path(r"C:\a").unwrap().size, 3);
        caller.close(transaction).unwrap();
    });
    clean(&lab, &program);
}
