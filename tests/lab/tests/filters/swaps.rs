//! What the parts of a stack see of an operation whose file object was swapped, and of sections over what was lent.

use std::cell::Cell;

use crate::inside::*;
use crate::made::{Data, Made, Related, iopb, note, notes};
use fltkernel::*;
use lab::flt::imports::operations::*;
use lab::io::section::imports::MmDoesFileHaveUserWritableReferences;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Lab, Offset};
use lab_nt::FILE_OBJECT;

const BOTH: u32 = GENERIC_READ | GENERIC_WRITE;

thread_local! {
    /// The file object that operations are swapped to, and the one that they came with.
    static TWIN: Cell<usize> = const { Cell::new(0) };
    static OWN: Cell<usize> = const { Cell::new(0) };
}

fn name(file: PFILE_OBJECT) -> &'static str {
    match file.addr() {
        twin if twin == TWIN.get() => "twin",
        own if own == OWN.get() => "own",
        _ => "another",
    }
}

fn is_on_a(file: PFILE_OBJECT) -> bool {
    // SAFETY: callbacks get live file objects, with a counted name.
    unsafe {
        let object: *mut FILE_OBJECT = file.cast();
        let units =
            std::slice::from_raw_parts((*object).FileName.Buffer, usize::from((*object).FileName.Length) / 2);
        String::from_utf16_lossy(units) == r"\a"
    }
}

unsafe extern "win64" fn swap(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback, here and below.
    let own = unsafe { (*related).FileObject };
    if TWIN.get() == 0 || !is_on_a(own) {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    OWN.set(own.addr());
    iopb(data).TargetFileObject = std::ptr::with_exposed_provenance_mut(TWIN.get());
    // SAFETY: callback data is valid during the callback.
    unsafe { FltSetCallbackDataDirty(data) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

fn transacted(related: Related) -> &'static str {
    // SAFETY: see above.
    if unsafe { (*related).Transaction }.is_null() { "plain" } else { "transacted" }
}

unsafe extern "win64" fn own_post(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: see above.
    let shown = unsafe { (*related).FileObject };
    note(format!("own post sees {} and {}", name(iopb(data).TargetFileObject), name(shown)));
    FLT_POSTOP_FINISHED_PROCESSING
}

unsafe extern "win64" fn below(data: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: see above.
    let shown = unsafe { (*related).FileObject };
    note(format!(
        "below sees {} and {}, {}",
        name(iopb(data).TargetFileObject),
        name(shown),
        transacted(related)
    ));
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

unsafe extern "win64" fn above_post(data: Data, related: Related, _: PVOID, _: u32) -> i32 {
    // SAFETY: see above.
    let shown = unsafe { (*related).FileObject };
    note(format!(
        "above sees {} and {}, {}",
        name(iopb(data).TargetFileObject),
        name(shown),
        transacted(related)
    ));
    FLT_POSTOP_FINISHED_PROCESSING
}

/// A scene whose filter swaps reads of `C:\a` to an open of `C:\b`, in a transaction or not, with one filter above and one
/// below; what they noted at a read, and what was read.
fn read_swapped(builder: lab::Builder, in_transaction: bool) -> (Vec<String>, Vec<u8>, i64) {
    TWIN.set(0);
    let scene = Scene::of(builder, |made| made.on(IRP_MJ_READ, Some(swap), Some(own_post)));
    scene.lab.with_volume(|volume| volume.put_file("b", b"of the twin").unwrap());
    Made::new().on(IRP_MJ_READ, None, Some(above_post)).load::<1>(&scene.lab, "385100").unwrap();
    Made::new().on(IRP_MJ_READ, Some(below), None).load::<2>(&scene.lab, "145100").unwrap();
    let handle = scene.program.create_file(CreateOptions::open(r"C:\a", BOTH)).unwrap();
    scene.inside(move |related| {
        let transaction = create();
        let block = lab_nt::TXN_PARAMETER_BLOCK {
            Length: size_of::<lab_nt::TXN_PARAMETER_BLOCK>() as u16,
            TxFsContext: 0xFFFE,
            TransactionObject: object(transaction),
        };
        let parameters = if in_transaction { (&raw const block).expose_provenance() } else { 0 };
        let context = Some([40, 0, 0, parameters, 1]);
        let (status, _, file) = OwnOpen { context, ..OwnOpen::new(related, r"\b") }.open(related);
        assert_eq!(status, 0);
        TWIN.set(file.expose_provenance());
    });
    notes();
    let read = scene.program.read(handle, 0, 6).unwrap();
    let noted = notes();
    let twin: *mut FILE_OBJECT = std::ptr::with_exposed_provenance_mut(TWIN.replace(0));
    // SAFETY: the file object is referenced until the lab goes; the union covers one integer.
    let position = unsafe { (*twin).CurrentByteOffset.QuadPart };
    (noted, read, position)
}

/// minifilter-rules §1.1.
#[test]
fn a_swap_is_seen_below_and_the_original_above() {
    let (noted, read, _) = read_swapped(Lab::builder(), false);
    assert_eq!(read, b"of the");
    assert_eq!(
        noted,
        ["below sees twin and twin, plain", "own post sees own and own", "above sees own and own, plain"]
    );
}

/// minifilter-rules §1.8: the program's own file object stands where it stood.
#[test]
fn a_swapped_read_moves_the_position_of_the_file_object_that_ntfs_got() {
    let (_, _, position) = read_swapped(Lab::builder(), false);
    assert_eq!(position, 6);
}

/// minifilter-rules §1.1: not known.
#[test]
fn a_swap_shows_the_new_transaction_below_or_not_by_switch() {
    for (shown, expected) in [(true, "transacted"), (false, "plain")] {
        let (noted, ..) = read_swapped(Lab::builder().transaction_after_swap(shown), true);
        assert_eq!(noted[0], format!("below sees twin and twin, {expected}"));
        assert!(noted[2].ends_with("plain"), "{noted:?}");
    }
}

unsafe extern "win64" fn lend(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: see above; the pointers are those of a file object that stays open.
    unsafe {
        let own: *mut FILE_OBJECT = (*related).FileObject.cast();
        if is_on_a((*related).FileObject) {
            (*own).SectionObjectPointer = std::ptr::with_exposed_provenance_mut(TWIN.get());
        } else {
            TWIN.set((*own).SectionObjectPointer.expose_provenance());
        }
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §1.4, §1.5: which control area a section gets is what its file object says after the acquire.
#[test]
fn views_of_a_lent_control_area_are_those_of_the_file_behind_it() {
    let (lab, program) = crate::scene::lab_with(1);
    lab.with_volume(|volume| volume.put_file("b", b"of the other").unwrap());
    let made = Made::new().on(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, Some(lend), None);
    made.load::<0>(&lab, "225000").unwrap();
    program.call(|caller| {
        let other = caller.create_file(&CreateOptions::open(r"C:\b", BOTH)).unwrap().handle;
        let behind = caller.create_section(other, true).unwrap();
        let own = caller.create_file(&CreateOptions::open(r"C:\a", BOTH)).unwrap().handle;
        let view = caller.create_section(own, true).unwrap();
        assert_eq!(caller.read_mapped(&view, 0, 6).unwrap(), b"of the");
        caller.write_mapped(&view, 0, b"OF").unwrap();
        assert_eq!(caller.read_mapped(&behind, 0, 6).unwrap(), b"OF the");
        caller.close_section(view);
        caller.close_section(behind);
        assert_eq!(caller.contents(r"C:\b").unwrap(), b"OF the other");
        assert_eq!(caller.contents(r"C:\a").unwrap(), b"0123456789");
    });
}

/// txf-ktm §4.5.
#[test]
fn a_section_over_a_transacted_file_belongs_to_the_transaction() {
    let (lab, program) = crate::scene::lab_with(1);
    for commits in [false, true] {
        program.call(move |caller| {
            let transaction = caller.create_transaction().unwrap();
            let inside = CreateOptions::open(r"C:\a", BOTH).inside(transaction);
            let twin = caller.create_file(&inside).unwrap().handle;
            let plain = caller.create_file(&CreateOptions::open(r"C:\a", GENERIC_READ)).unwrap().handle;
            let outside = caller.create_section(plain, false).unwrap();
            let view = caller.create_section(twin, true).unwrap();
            caller.write_mapped(&view, 0, b"VIEW").unwrap();
            caller.flush_mapped(&view).unwrap();
            assert_eq!(caller.contents(r"C:\a").unwrap(), b"0123456789");
            assert_eq!(caller.read_mapped(&outside, 0, 6).unwrap(), b"012345");
            assert_eq!(caller.read(twin, Some(0), 6).unwrap(), b"VIEW45");
            caller.close_section(view);
            caller.close_section(outside);
            caller.close(plain).unwrap();
            caller.close(twin).unwrap();
            if commits {
                caller.commit_transaction(transaction).unwrap();
            } else {
                caller.rollback_transaction(transaction).unwrap();
            }
            caller.close(transaction).unwrap();
            let expected: &[u8] = if commits { b"VIEW456789" } else { b"0123456789" };
            assert_eq!(caller.contents(r"C:\a").unwrap(), expected);
        });
    }
    crate::scene::clean(&lab, &program);
}

unsafe extern "win64" fn note_writable(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: see above.
    unsafe {
        let own: *mut FILE_OBJECT = (*related).FileObject.cast();
        let pointers = (*own).SectionObjectPointer;
        note(format!("writable: {}", MmDoesFileHaveUserWritableReferences(pointers.cast_const().cast())));
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// txf-ktm §4.5.
#[test]
fn writable_references_are_told_while_a_writable_section_lives() {
    let (lab, program) = crate::scene::lab_with(1);
    Made::new().on(IRP_MJ_CLEANUP, Some(note_writable), None).load::<0>(&lab, "225000").unwrap();
    let told = program.call(|caller| {
        let open = || caller.create_file(&CreateOptions::open(r"C:\a", BOTH)).unwrap().handle;
        let read_only = open();
        let view = caller.create_section(read_only, false).unwrap();
        caller.close(read_only).unwrap();
        caller.close_section(view);
        let mapped = open();
        let view = caller.create_section(mapped, true).unwrap();
        caller.close(mapped).unwrap();
        caller.close(open()).unwrap();
        caller.close_section(view);
        caller.close(open()).unwrap();
        caller.write(open(), Offset::At(0), b"x").unwrap();
        notes()
    });
    assert_eq!(told, ["writable: 0", "writable: 1", "writable: 1", "writable: 0"]);
    crate::scene::clean(&lab, &program);
}
