//! Queries without a handle: `IRP_MJ_NETWORK_QUERY_OPEN` and `IRP_MJ_QUERY_OPEN`.
//!
//! The file object lives for the call only; NTFS opens, looks and closes by itself, below all filters.

use fltkernel::*;
use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_volume::{Create, CreateRequest, Options, Target, Wide};

use super::information::{network_open, stat};
use super::{Answer, Call, Failure, fail, status_of};
use crate::memory;
use crate::rooms::Rooms;

const READ_ATTRIBUTES: u32 = 0x80;

pub(super) fn query_open(call: &Call<'_>) -> Answer {
    let network = call.request.major == IRP_MJ_NETWORK_QUERY_OPEN;
    let name = call.file.opened_as.borrow().clone();
    let mut request = CreateRequest::new(Target::Path(Wide(name))).access(READ_ATTRIBUTES);
    request.options = Options::empty();
    request.subject = call.request.create.as_ref().and_then(|packet| packet.subject.clone());
    let created = crate::ktm::with_ktm(call.lab, |ktm| {
        call.lab.io().with_volume(call.lab, |volume| volume.create(ktm, request))
    });
    let created = match created.map_err(Failure::from)? {
        Create::Opened(created) => created,
        // The caller opens the file and follows.
        Create::Reparse(_) => return fail(STATUS_FLT_DISALLOW_FAST_IO),
    };
    let all = call.with_volume(|volume| volume.query(created.open));
    let process = call.process();
    let _ = call.with_volume(|volume| volume.cleanup(created.open, process));
    let _ = call.with_volume(|volume| volume.close(created.open));
    let all = all?;
    if network {
        // SAFETY: the union member of this query; pointers, valid for any bits.
        let parameters = unsafe { call.iopb.Parameters.NetworkQueryOpen };
        memory::fill(parameters.NetworkInformation.cast(), &network_open(&all).0);
        return Ok(0);
    }
    // SAFETY: the union member of this query; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.QueryOpen };
    if parameters.FileInformationClass != Class::FileStatInformation {
        return fail(lab_executive::status::INVALID_INFO_CLASS);
    }
    let answer = stat(&all);
    if (memory::read(parameters.Length) as usize) < answer.0.len() {
        return fail(status_of::INFO_LENGTH_MISMATCH);
    }
    memory::fill(parameters.FileInformation.cast(), &answer.0);
    memory::write(parameters.Length, answer.0.len() as u32);
    Ok(0)
}
