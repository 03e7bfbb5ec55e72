//! Oplocks, as filters see what others do about them (minifilter-rules §2.9).

use std::rc::Rc;

use fltkernel::*;
use lab::flt::imports::operations::FltSetCallbackDataDirty;
use lab::{CreateOptions, GENERIC_READ, Handle, Lab, Oplock, OplockBreak, Pending, Process, Status};

use crate::inside::{OwnOpen, done_with};
use crate::made::{Data, Made, Related, iopb, note, notes};
use crate::scene::{ALL, lab_with};

struct Holder {
    process: Process,
    handle: Handle,
    request: Pending<Result<OplockBreak, Status>>,
}

/// Somebody has an oplock on `C:\a`.
fn hold(lab: &Rc<Lab>, kind: Oplock) -> Holder {
    let process = lab.process("holder.exe");
    let handle = process.create_file(CreateOptions::open(r"C:\a", ALL).share(7).asynchronous()).unwrap();
    let request = process.submit(move |caller| caller.request_oplock(handle, kind));
    lab.executive().run_until_idle().unwrap();
    assert!(!request.is_done(), "{kind:?} is granted");
    Holder { process, handle, request }
}

unsafe extern "win64" fn advance_only(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    if !fast {
        iopb(data).Parameters.SetFileInformation.AdvanceOnly = 1;
        // SAFETY: as above.
        unsafe { FltSetCallbackDataDirty(data) };
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.9, §2.2.
#[test]
fn an_end_of_file_that_only_advances_breaks_no_oplock() {
    let (lab, program) = lab_with(1);
    Made::new().on(IRP_MJ_SET_INFORMATION, Some(advance_only), None).load::<0>(&lab, "225000").unwrap();
    let other = program.create_file(CreateOptions::open(r"C:\a", ALL).share(7)).unwrap();
    let holder = hold(&lab, Oplock::Read);
    program.call(move |caller| caller.set_end_of_file(other, 12)).unwrap();
    lab.executive().run_until_idle().unwrap();
    assert!(!holder.request.is_done());
}

unsafe extern "win64" fn note_form(data: Data, _: Related, _: *mut PVOID) -> i32 {
    // SAFETY: callback data is valid during the callback.
    let fast = unsafe { (*data).Flags } & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0;
    note(if fast { "fast" } else { "irp" });
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.9: FsRtlOplockIsFastIoPossible.
#[test]
fn fast_io_that_would_break_an_oplock_comes_again_as_an_irp() {
    let (lab, program) = lab_with(1);
    let made = Made::new().on(IRP_MJ_WRITE, Some(note_form), None);
    made.on(IRP_MJ_LOCK_CONTROL, Some(note_form), None).load::<0>(&lab, "225000").unwrap();
    let other = program.create_file(CreateOptions::open(r"C:\a", ALL).share(7)).unwrap();
    program.write(other, 0, b"x").unwrap();
    program.write(other, 0, b"x").unwrap();
    assert_eq!(notes(), ["irp", "fast"], "nothing is cached before the first one");
    let holder = hold(&lab, Oplock::Read);
    program.write(other, 0, b"x").unwrap();
    assert_eq!(notes(), ["fast", "irp"]);
    assert_eq!(holder.request.wait().unwrap().unwrap().to, None);
    // What its holder does breaks it not.
    let handle = holder.handle;
    let again = holder.process.submit(move |caller| caller.request_oplock(handle, Oplock::Read));
    lab.executive().run_until_idle().unwrap();
    let locked = holder.process.submit(move |caller| caller.lock(handle, 0, 1, true, false));
    assert_eq!(locked.wait().unwrap(), Ok(()));
    assert_eq!(notes(), ["fast"]);
    lab.executive().run_until_idle().unwrap();
    assert!(!again.is_done());
}

unsafe extern "win64" fn open_another(_: Data, related: Related, _: *mut PVOID) -> i32 {
    // SAFETY: related objects are valid during the callback.
    let related = unsafe { &*related };
    let (status, handle, file) = OwnOpen::new(related, r"\a").open(related);
    if status >= 0 {
        done_with(handle, file);
    }
    FLT_PREOP_SUCCESS_NO_CALLBACK
}

/// minifilter-rules §2.9: whoever looks for a wait in an open that a filter has made finds it by what it says.
#[test]
fn a_wait_for_an_acknowledgement_says_whose_open_waits() {
    for own in [true, false] {
        let (lab, program) = lab_with(1);
        lab.with_volume(|volume| volume.put_file("b", b"other").unwrap());
        let holder = hold(&lab, Oplock::Batch);
        if own {
            Made::new().on(IRP_MJ_CREATE, Some(open_another), None).load::<0>(&lab, "225000").unwrap();
        }
        let path = if own { r"C:\b" } else { r"C:\a" };
        let open = program.submit(move |caller| caller.create_file(&CreateOptions::open(path, GENERIC_READ)));
        lab.executive().run_until_idle().unwrap();
        assert!(holder.request.is_done() && !open.is_done());
        let waits: Vec<_> =
            lab.executive().scheduler.threads().iter().filter_map(|thread| thread.waits_for()).collect();
        let said = waits.iter().find(|what| what.contains("oplock")).unwrap();
        assert!(said.contains("IRP_MJ_CREATE"), "{said}");
        assert_eq!(said.contains("made by a filter"), own, "{said}");
        let handle = holder.handle;
        holder.process.close(handle).unwrap();
        open.wait().unwrap().unwrap();
    }
}
