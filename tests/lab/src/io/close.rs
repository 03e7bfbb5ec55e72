//! The two ends of an open: cleanup with the last handle, close with the last reference (txf-ktm §8.1).

use fltkernel::*;
use lab_executive::object::Closing;
use lab_nt::{FO_CLEANUP_COMPLETE, FO_FILE_OPEN_CANCELLED};

use super::file::File;
use crate::flt::contexts::Key;
use crate::flt::passage;
use crate::flt::request::Operation;
use crate::rooms::Rooms;
use crate::{Executive, memory};

/// `IRP_CLOSE_OPERATION`, set in the IRP of a cleanup or close.
const IRP_CLOSE_OPERATION: u32 = 0x400;

/// A handle to a file object is being closed. Runs in the closer's thread, attached to the process that held the
/// handle: for a kernel handle that is the system process.
pub(crate) fn handle_closing(lab: &Executive, closing: &Closing) {
    let Some(file) = lab.io().try_file(closing.body.cast()) else {
        return super::device::handle_closing(lab, closing);
    };
    if file.open.get().is_none() || file.cancelled.get() {
        return;
    }
    let send = || {
        if closing.process_handles == 1 && closing.system_handles > 1 && file.object().LockOperation != 0 {
            // The process's last handle: its byte-range locks go, others' stay.
            let mut unlock = Operation::irp(IRP_MJ_LOCK_CONTROL, file.pointer());
            unlock.minor = 3;
            unlock.irp_flags = 0x4;
            unlock.parameters.LockControl = super::requests::lock_parameters(std::ptr::null_mut(), 0, 0);
            passage::issue(lab, unlock, file.ceiling.as_ref());
        }
        if closing.system_handles == 1 {
            file.one_at_a_time(lab, || cleanup(lab, &file));
        }
    };
    let attached = lab.thread().process().is_some_and(|process| process.id == closing.process.id);
    if attached { send() } else { lab.attached(&closing.process, send) }
}

/// Sends `IRP_MJ_CLEANUP`.
pub(crate) fn cleanup(lab: &Executive, file: &File) {
    if file.has_flags(FO_CLEANUP_COMPLETE) {
        return;
    }
    let mut operation = Operation::irp(IRP_MJ_CLEANUP, file.pointer());
    operation.irp_flags = IRP_CLOSE_OPERATION | 0x4;
    passage::issue(lab, operation, file.ceiling.as_ref());
}

/// The last reference is gone: `IRP_MJ_CLOSE`, then the file object's contexts and memory.
pub(crate) fn delete(lab: &Executive, body: *mut u8) {
    let Some(file) = lab.io().try_file(body.cast()) else { return super::device::deleting(lab, body) };
    if file.open.get().is_some() {
        // A file object that never had a handle (a stream file object, a create that failed later) still gets both.
        if !file.cancelled.get() {
            cleanup(lab, &file);
        }
        let mut operation = Operation::irp(IRP_MJ_CLOSE, file.pointer());
        operation.irp_flags = IRP_CLOSE_OPERATION | 0x4;
        passage::issue(lab, operation, file.ceiling.as_ref());
    }
    release(lab, &file);
}

/// FltCancelFileOpen: the file system forgets the open; only instances below hear of it.
pub(crate) fn cancel(lab: &Executive, file: &File, below: &crate::flt::altitude::Altitude) {
    file.cancelled.set(true);
    let mut operation = Operation::irp(IRP_MJ_CLEANUP, file.pointer());
    operation.irp_flags = IRP_CLOSE_OPERATION | 0x4;
    passage::issue(lab, operation, Some(below));
    let mut operation = Operation::irp(IRP_MJ_CLOSE, file.pointer());
    operation.irp_flags = IRP_CLOSE_OPERATION | 0x4;
    passage::issue(lab, operation, Some(below));
    file.set_flags(FO_FILE_OPEN_CANCELLED);
    drop_file_system_half(lab, file);
}

/// What the file system kept of an open goes.
fn drop_file_system_half(lab: &Executive, file: &File) {
    file.open.set(None);
    let number = file.number;
    lab.flt()
        .contexts
        .remove_where(lab, |key| matches!(key, Key::StreamHandle { open, .. } if open == number));
    let ccb = file.ccb.replace(std::ptr::null_mut());
    if !ccb.is_null() {
        lab.free_own(ccb);
    }
    let cache_map: *mut u8 = file.object().PrivateCacheMap.cast();
    if !cache_map.is_null() {
        lab.free_own(cache_map);
    }
    file.update(|object| {
        object.FsContext = std::ptr::null_mut();
        object.FsContext2 = std::ptr::null_mut();
        object.SectionObjectPointer = std::ptr::null_mut();
        object.PrivateCacheMap = std::ptr::null_mut();
    });
    let fcb = file.fcb.borrow_mut().take();
    if let Some(fcb) = fcb {
        lab.io().leave_fcb(lab, fcb);
    }
}

fn release(lab: &Executive, file: &File) {
    drop_file_system_half(lab, file);
    let name = file.object().FileName.Buffer;
    if !name.is_null() {
        lab.free_own(name.cast());
    }
    if !file.transaction_block.is_null() {
        lab.free_own(file.transaction_block);
    }
    if let Some(transaction) = &file.transaction {
        lab.objects.dereference(lab, transaction.object);
    }
    lab.io().remove_file(file.body.cast());
    memory::zero(file.body.cast(), 8);
}
