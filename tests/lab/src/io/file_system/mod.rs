//! The file system at the bottom of the stack: NTFS as the I/O manager and filters see it, over the volume model.
//!
//! Every operation is on the file object that the last instance left as target. One that NTFS did not open stops
//! the run: on Windows, NTFS crashes decoding it (minifilter-rules §1.4).

mod bytes;
mod control;
mod create;
pub(crate) mod directory;
mod information;
pub(crate) mod oplocks;
pub(crate) mod pace;
mod query_open;
pub(crate) mod reparse;
mod security;
mod set_information;
mod transfer;
mod volume;

use std::rc::Rc;

use fltkernel::*;
use lab_executive::status;
use lab_volume::{OpenId, Status};

use super::file::File;
use crate::Executive;
use crate::flt::request::{Form, Request, status_block};
use crate::rooms::Rooms;

pub(crate) use security::self_relative;

/// What an operation gives: information, or a status with information.
pub(crate) type Answer = Result<usize, Failure>;

/// An unsuccessful status; warnings carry information.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) status: i32,
    pub(crate) information: usize,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status: status.0.cast_signed(), information: 0 }
    }
}

pub(crate) fn fail<T>(status: i32) -> Result<T, Failure> {
    Err(Failure { status, information: 0 })
}

/// One operation as the file system gets it.
pub(crate) struct Call<'a> {
    pub(crate) lab: &'a Executive,
    pub(crate) request: &'a Rc<Request>,
    pub(crate) iopb: &'a FLT_IO_PARAMETER_BLOCK,
    pub(crate) file: Rc<File>,
}

impl Call<'_> {
    /// The volume's half of the file object.
    pub(crate) fn open(&self) -> OpenId {
        match self.file.open.get() {
            Some(open) => open,
            None => self.foreign("which NTFS has not opened"),
        }
    }

    pub(crate) fn process(&self) -> u64 {
        u64::from(self.request.process.id)
    }

    fn foreign(&self, what: &str) -> ! {
        self.lab.violate(
            "foreign-file-object",
            "minifilter-rules §1.4: NTFS crashes decoding a file object that it did not open",
            format!("{} reached NTFS with {}, {what}", self.request.label(), self.file.label()),
        )
    }

    pub(crate) fn with_volume<R>(
        &self,
        f: impl FnOnce(&mut lab_volume::Volume) -> Result<R, Status>,
    ) -> Result<R, Failure> {
        let result = self.lab.io().with_volume(self.lab, f);
        // The volume may have aborted a transaction for reasons of its own; KTM tells everybody.
        crate::ktm::pump(self.lab);
        result.map_err(Failure::from)
    }

    /// The file system's view of a buffer of the request.
    pub(crate) fn buffer(&self, address: PVOID, len: usize) -> *mut u8 {
        super::buffers::resolve(self.lab, address, len)
    }
}

/// `IRP_PAGING_IO` or `IRP_SYNCHRONOUS_PAGING_IO`.
const IRP_PAGING: u32 = 0x2 | 0x40;

/// Whether memory management or the cache asks, and no program.
fn is_paging(call: &Call<'_>) -> bool {
    call.iopb.IrpFlags & IRP_PAGING != 0
}

/// Carries out an operation. Nobody suspends a thread in the file system (ntifs/FsRtlEnterFileSystem).
pub(crate) fn dispatch(
    lab: &Executive,
    request: &Rc<Request>,
    iopb: &FLT_IO_PARAMETER_BLOCK,
) -> IO_STATUS_BLOCK {
    lab.enter_critical_region();
    let answer = carry_out(lab, request, iopb);
    lab.leave_critical_region();
    answer
}

fn carry_out(lab: &Executive, request: &Rc<Request>, iopb: &FLT_IO_PARAMETER_BLOCK) -> IO_STATUS_BLOCK {
    // What is about the volume's device has no file object (minifilter-rules §2.7).
    match request.major {
        IRP_MJ_PNP => return block(super::dismount::plug_and_play(lab, request)),
        IRP_MJ_SHUTDOWN => return block(super::dismount::shutdown(lab)),
        _ => {}
    }
    let Some(file) = lab.io().try_file(iopb.TargetFileObject) else {
        lab.violate(
            "foreign-file-object",
            "minifilter-rules §1.4",
            format!("{} reached NTFS with a target that is no file object", request.label()),
        );
    };
    let call = Call { lab, request, iopb, file };
    let answer = match (request.form, request.major) {
        (_, IRP_MJ_CREATE) => create::create(&call),
        (Form::FsFilter, IRP_MJ_QUERY_OPEN) | (_, IRP_MJ_NETWORK_QUERY_OPEN) => query_open::query_open(&call),
        (Form::FsFilter, _) => super::section::file_system(&call),
        (_, IRP_MJ_CLEANUP) => cleanup(&call),
        (_, IRP_MJ_CLOSE) => close(&call),
        (_, IRP_MJ_READ) => transfer::read(&call),
        (_, IRP_MJ_WRITE) => transfer::write(&call),
        (_, IRP_MJ_FLUSH_BUFFERS) => transfer::flush(&call),
        (_, IRP_MJ_LOCK_CONTROL) => transfer::lock_control(&call),
        (_, IRP_MJ_QUERY_INFORMATION) => information::query(&call),
        (_, IRP_MJ_SET_INFORMATION) => set_information::set(&call),
        (_, IRP_MJ_DIRECTORY_CONTROL) => directory::control(&call),
        (_, IRP_MJ_QUERY_VOLUME_INFORMATION) => volume::query(&call),
        (_, IRP_MJ_SET_VOLUME_INFORMATION) => volume::set(&call),
        (_, IRP_MJ_FILE_SYSTEM_CONTROL) => control::control(&call),
        (_, IRP_MJ_QUERY_SECURITY) => security::query(&call),
        (_, IRP_MJ_SET_SECURITY) => security::set(&call),
        (_, IRP_MJ_QUERY_EA) => security::query_ea(&call),
        (_, IRP_MJ_SET_EA) => security::set_ea(&call),
        (Form::FastIo, IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE) => Ok(0),
        (Form::FastIo, _) => fail(STATUS_FLT_DISALLOW_FAST_IO),
        _ => fail(status_of::INVALID_DEVICE_REQUEST),
    };
    block(answer)
}

fn block(answer: Answer) -> IO_STATUS_BLOCK {
    match answer {
        Ok(information) => status_block(status::SUCCESS, information),
        Err(failure) => status_block(failure.status, failure.information),
    }
}

/// Statuses that this module gives besides the volume's.
pub(crate) mod status_of {
    pub(crate) const INVALID_DEVICE_REQUEST: i32 = 0xC000_0010_u32.cast_signed();
    pub(crate) const FILE_CLOSED: i32 = 0xC000_0128_u32.cast_signed();
    pub(crate) const INFO_LENGTH_MISMATCH: i32 = 0xC000_0004_u32.cast_signed();
    pub(crate) const BUFFER_OVERFLOW: i32 = 0x8000_0005_u32.cast_signed();
    pub(crate) const REPARSE: i32 = 0x104;
}

fn cleanup(call: &Call<'_>) -> Answer {
    let open = call.open();
    if call.file.has_flags(lab_nt::FO_CLEANUP_COMPLETE) {
        call.foreign("which has had its cleanup");
    }
    let process = call.process();
    // Cleanup does not fail (txf-ktm §8.1); a disk error shows elsewhere.
    let _ = call.with_volume(|volume| volume.cleanup(open, process));
    call.lab.io().oplocks.closed(&call.file);
    call.file.set_flags(lab_nt::FO_CLEANUP_COMPLETE);
    Ok(0)
}

fn close(call: &Call<'_>) -> Answer {
    let open = call.open();
    if !call.file.has_flags(lab_nt::FO_CLEANUP_COMPLETE) {
        call.foreign("which has had no cleanup");
    }
    let _ = call.with_volume(|volume| volume.close(open));
    call.file.open.set(None);
    super::dismount::closed(call.lab, call.file.mount);
    Ok(0)
}
