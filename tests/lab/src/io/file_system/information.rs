//! `IRP_MJ_QUERY_INFORMATION`: file information classes.

use fltkernel::STATUS_FLT_DISALLOW_FAST_IO;
use lab_executive::status;
use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_nt::{
    FO_CLEANUP_COMPLETE, FO_NO_INTERMEDIATE_BUFFERING, FO_SEQUENTIAL_ONLY, FO_SYNCHRONOUS_IO,
    FO_WRITE_THROUGH,
};
use lab_volume::AllInformation;

use super::bytes::{Bytes, give};
use super::{Answer, Call, fail, status_of};
use crate::flt::request::Form;
use crate::rooms::Rooms;

pub(super) fn query(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of IRP_MJ_QUERY_INFORMATION; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.QueryFileInformation };
    let class = parameters.FileInformationClass;
    let fast = matches!(
        class,
        Class::FileBasicInformation | Class::FileStandardInformation | Class::FileNetworkOpenInformation
    );
    if call.request.form == Form::FastIo && (!fast || call.file.has_flags(FO_CLEANUP_COMPLETE)) {
        return fail(STATUS_FLT_DISALLOW_FAST_IO);
    }
    let length = parameters.Length as usize;
    let all = call.with_volume(|volume| volume.query(open))?;
    let (fixed, answer) = match class {
        Class::FileStreamInformation => return streams(call, parameters.InfoBuffer, length),
        Class::FileHardLinkInformation => return hard_links(call, parameters.InfoBuffer, length),
        Class::FileAlternateNameInformation => return fail(status::OBJECT_NAME_NOT_FOUND),
        Class::FileIdInformation => {
            let serial = call.lab.io().with_volume(call.lab, |volume| volume.information().serial);
            (24, Bytes::default().u64(u64::from(serial)).u64(all.id.0).zeros(8))
        }
        class => match structure(call, class, &all) {
            Some(found) => found,
            None => return fail(status::INVALID_INFO_CLASS),
        },
    };
    give(call, parameters.InfoBuffer, length, fixed, &answer)
}

/// The structure of a class that is made of the common information, with the length of its fixed part.
pub(super) fn structure(call: &Call<'_>, class: u32, all: &AllInformation) -> Option<(usize, Bytes)> {
    let bytes = Bytes::default;
    let name = |bytes: Bytes| bytes.u32((all.name.0.len() * 2) as u32).units(&all.name.0);
    let whole = |bytes: Bytes| (bytes.0.len(), bytes);
    Some(match class {
        Class::FileBasicInformation => whole(basic(bytes(), all).zeros(4)),
        Class::FileStandardInformation => whole(standard(bytes(), all)),
        Class::FileInternalInformation => whole(bytes().u64(all.id.0)),
        Class::FileEaInformation => whole(bytes().u32(all.ea_size)),
        Class::FileAccessInformation => whole(bytes().u32(all.access)),
        Class::FileNameInformation | Class::FileNormalizedNameInformation => (8, name(bytes())),
        Class::FilePositionInformation => whole(bytes().i64(call.file.position())),
        Class::FileModeInformation => whole(bytes().u32(mode(call))),
        Class::FileAlignmentInformation => whole(bytes().u32(0)),
        Class::FileAllInformation => {
            let fixed =
                standard(basic(bytes(), all).zeros(4), all).u64(all.id.0).u32(all.ea_size).u32(all.access);
            let fixed = fixed.i64(call.file.position()).u32(mode(call)).u32(0);
            (104, name(fixed))
        }
        Class::FileCompressionInformation => whole(bytes().u64(all.standard.size).zeros(8)),
        Class::FileNetworkOpenInformation => whole(network_open(all)),
        Class::FileAttributeTagInformation => whole(bytes().u32(all.basic.attributes).u32(all.reparse_tag)),
        Class::FileStandardLinkInformation => {
            let links = bytes().u32(all.standard.links).u32(all.standard.links);
            whole(
                links.u8(u8::from(all.standard.delete_pending)).u8(u8::from(all.standard.directory)).zeros(2),
            )
        }
        Class::FileStatInformation => whole(stat(all)),
        Class::FileCaseSensitiveInformation => whole(bytes().u32(0)),
        _ => return None,
    })
}

fn basic(bytes: Bytes, all: &AllInformation) -> Bytes {
    times(bytes, all).u32(all.basic.attributes)
}

fn times(bytes: Bytes, all: &AllInformation) -> Bytes {
    let times = &all.basic.times;
    bytes.i64(times.creation).i64(times.access).i64(times.write).i64(times.change)
}

fn standard(bytes: Bytes, all: &AllInformation) -> Bytes {
    let own = &all.standard;
    let sizes = bytes.u64(own.allocation).u64(own.size).u32(own.links);
    sizes.u8(u8::from(own.delete_pending)).u8(u8::from(own.directory)).zeros(2)
}

/// FILE_NETWORK_OPEN_INFORMATION.
pub(super) fn network_open(all: &AllInformation) -> Bytes {
    let sizes = times(Bytes::default(), all).u64(all.standard.allocation).u64(all.standard.size);
    sizes.u32(all.basic.attributes).zeros(4)
}

/// FILE_STAT_INFORMATION.
pub(super) fn stat(all: &AllInformation) -> Bytes {
    let sizes =
        times(Bytes::default().u64(all.id.0), all).u64(all.standard.allocation).u64(all.standard.size);
    sizes.u32(all.basic.attributes).u32(all.reparse_tag).u32(all.standard.links).u32(all.access)
}

fn mode(call: &Call<'_>) -> u32 {
    let flags = call.file.flags();
    let table = [
        (FO_WRITE_THROUGH, 0x2),
        (FO_SEQUENTIAL_ONLY, 0x4),
        (FO_NO_INTERMEDIATE_BUFFERING, 0x8),
        (FO_SYNCHRONOUS_IO, 0x20),
        (lab_nt::FO_DELETE_ON_CLOSE, 0x1000),
    ];
    table.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, mode)| mode).sum()
}

fn streams(call: &Call<'_>, to: fltkernel::PVOID, length: usize) -> Answer {
    let open = call.open();
    let streams = call.with_volume(|volume| volume.streams(open))?;
    let mut answer = Bytes::default();
    for (index, stream) in streams.iter().enumerate() {
        let size = 24 + stream.name.0.len() * 2;
        let last = index + 1 == streams.len();
        let next = if last { 0 } else { size.next_multiple_of(8) };
        answer = answer.u32(next as u32).u32((stream.name.0.len() * 2) as u32);
        answer = answer.u64(stream.size).u64(stream.allocation).units(&stream.name.0);
        answer = answer.zeros(if last { 0 } else { next - size });
    }
    give(call, to, length, 24, &answer)
}

fn hard_links(call: &Call<'_>, to: fltkernel::PVOID, length: usize) -> Answer {
    let open = call.open();
    let links = call.with_volume(|volume| volume.links(open))?;
    let mut entries = Bytes::default();
    for (index, (parent, name)) in links.iter().enumerate() {
        let size = 20 + name.0.len() * 2;
        let last = index + 1 == links.len();
        let next = if last { 0 } else { size.next_multiple_of(8) };
        entries = entries.u32(next as u32).u32(0).u64(parent.0).u32(name.0.len() as u32).units(&name.0);
        entries = entries.zeros(if last { 0 } else { next - size });
    }
    let needed = 8 + entries.0.len();
    if length < 8 {
        return fail(status_of::INFO_LENGTH_MISMATCH);
    }
    let answer = Bytes::default().u32(needed as u32).u32(links.len() as u32).bytes(&entries.0);
    give(call, to, length, 8, &answer)
}
