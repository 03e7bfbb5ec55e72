//! `IRP_MJ_CREATE`.

use lab_executive::status;
use lab_nt::{ACCESS_STATE, FILE_OBJECT, FO_CACHE_SUPPORTED, IO_SECURITY_CONTEXT, SL_OPEN_TARGET_DIRECTORY};
use lab_volume::{Create, CreateRequest, Created, Disposition, FileId, Options, Share, Status, Target, Wide};

use super::oplocks::{self, Oplocked};
use super::{Answer, Call, Failure, fail, status_of};
use crate::io::file::StreamKey;
use crate::memory;
use crate::rooms::Rooms;

const OPEN_BY_FILE_ID: u32 = 0x2000;
const DELETE_ON_CLOSE: u32 = 0x1000;

pub(super) fn create(call: &Call<'_>) -> Answer {
    let Some(packet) = call.request.create.clone() else { return fail(status::INVALID_PARAMETER) };
    if call.file.open.get().is_some() {
        call.foreign("which is open already");
    }
    if call.file.mount != call.lab.io().mounted() {
        return Err(Status::VOLUME_DISMOUNTED.into());
    }
    // SAFETY: the union member of IRP_MJ_CREATE; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.Create };
    let context: IO_SECURITY_CONTEXT = memory::read(parameters.SecurityContext.cast());
    let state: ACCESS_STATE = memory::read(context.AccessState);
    let options = parameters.Options & 0xFF_FFFF;
    let Some(disposition) = Disposition::from_nt(parameters.Options >> 24) else {
        return fail(status::INVALID_PARAMETER);
    };
    let object = call.file.object();
    let name = memory::units(&fltkernel::UNICODE_STRING {
        Length: object.FileName.Length,
        MaximumLength: object.FileName.MaximumLength,
        Buffer: object.FileName.Buffer,
    });
    let mut request = CreateRequest::new(target(call, &object, name, options)?);
    // Which of the two NTFS consults is not known: a switch (minifilter-rules §1.8).
    request.access = if call.lab.io().access_from_security_context.get() {
        context.DesiredAccess
    } else {
        state.RemainingDesiredAccess | state.PreviouslyGrantedAccess
    };
    request.share = Share::from_bits_truncate(u32::from(parameters.ShareAccess));
    request.disposition = disposition;
    request.options = Options::from_bits_retain(options);
    request.attributes = u32::from(parameters.FileAttributes);
    if !state.SecurityDescriptor.is_null() {
        request.security = super::security::self_relative(state.SecurityDescriptor.cast()).map(Into::into);
    }
    if parameters.EaLength > 0 && !parameters.EaBuffer.is_null() {
        let at = call.buffer(parameters.EaBuffer, parameters.EaLength as usize);
        request.ea = super::security::parse_eas(&memory::bytes(at, parameters.EaLength as usize))?;
    }
    request.allocation = u64::try_from(parameters.AllocationSize).unwrap_or(0);
    request.transaction = packet.transaction.as_ref().map(|transaction| transaction.id);
    request.process = call.process();
    request.ignore_share = packet.ignore_share;
    request.subject = packet.subject.clone();
    request.open_target_directory = u32::from(call.iopb.OperationFlags) & SL_OPEN_TARGET_DIRECTORY != 0;
    let (created, oplock) = oplocks::create(call, &request)?;
    match created {
        Create::Reparse(stop) => {
            let tag = stop.reparse.tag;
            *packet.reparse.borrow_mut() = Some(stop);
            Err(Failure { status: status_of::REPARSE, information: tag as usize })
        }
        Create::Opened(created) => {
            opened(call, &created, options, u32::from(parameters.ShareAccess), context.AccessState);
            match oplock {
                Oplocked::No => Ok(created.action as usize),
                Oplocked::BreakInProgress => Err(Failure {
                    status: Status::OPLOCK_BREAK_IN_PROGRESS.0.cast_signed(),
                    information: created.action as usize,
                }),
            }
        }
    }
}

fn target(call: &Call<'_>, object: &FILE_OBJECT, name: Vec<u16>, options: u32) -> Result<Target, Failure> {
    if options & OPEN_BY_FILE_ID != 0 {
        let bytes: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        // Eight bytes of file id; object ids (16 bytes) are not modelled.
        let id: [u8; 8] = bytes.try_into().or_else(|_| fail(status::INVALID_PARAMETER))?;
        return Ok(Target::Id(FileId(u64::from_le_bytes(id))));
    }
    if object.RelatedFileObject.is_null() {
        return Ok(Target::Path(Wide(name)));
    }
    let Some(related) = call.lab.io().try_file(object.RelatedFileObject.cast()) else {
        call.foreign("whose related file object is none");
    };
    match related.open.get() {
        Some(open) => Ok(Target::Relative(open, Wide(name))),
        None => call.foreign("whose related file object NTFS has not opened"),
    }
}

fn opened(call: &Call<'_>, created: &Created, options: u32, share: u32, access_state: *mut ACCESS_STATE) {
    let (lab, file) = (call.lab, &call.file);
    let io = lab.io();
    file.open.set(Some(created.open));
    file.id.set(Some(created.id));
    file.directory.set(created.directory);
    let identity = io.with_volume(lab, |volume| volume.stream_identity(created.open));
    let stream = identity.map_or_else(|_| Default::default(), |(_, key)| key);
    let transaction = file.transaction_id().map(|id| id.0);
    let key = StreamKey { file: created.id.0, stream, transaction, mount: file.mount };
    let fcb = io.fcb(lab, key);
    let ccb = lab.allocate_own(64, b"Ntfc");
    file.ccb.set(ccb);
    let cached = !created.directory && options & 0x8 == 0;
    file.update(|object| {
        object.FsContext = fcb.header.cast();
        object.FsContext2 = ccb.cast();
        object.SectionObjectPointer = if created.directory { std::ptr::null_mut() } else { fcb.section };
        object.Vpb = super::super::imports::volume_vpb(lab).cast();
        // IoUpdateShareAccess.
        let granted = created.granted;
        object.ReadAccess = u8::from(granted & 0x21 != 0);
        object.WriteAccess = u8::from(granted & 0x6 != 0);
        object.DeleteAccess = u8::from(granted & 0x1_0000 != 0);
        if object.ReadAccess | object.WriteAccess | object.DeleteAccess != 0 {
            object.SharedRead = u8::from(share & 1 != 0);
            object.SharedWrite = u8::from(share & 2 != 0);
            object.SharedDelete = u8::from(share & 4 != 0);
        }
        if cached {
            object.Flags |= FO_CACHE_SUPPORTED;
        }
        if options & DELETE_ON_CLOSE != 0 {
            object.Flags |= lab_nt::FO_DELETE_ON_CLOSE;
        }
    });
    *file.fcb.borrow_mut() = Some(fcb);
    let mut state = memory::read(access_state);
    state.PreviouslyGrantedAccess |= created.granted;
    state.RemainingDesiredAccess &= !(created.granted | 0x200_0000);
    memory::write(access_state, state);
}
