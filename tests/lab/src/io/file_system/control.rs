//! `IRP_MJ_FILE_SYSTEM_CONTROL`: the controls that the model knows; others are refused as NTFS refuses unknown ones.

use lab_executive::status;
use lab_volume::{Reparse, Status};

use super::bytes::{Bytes, Fields, give};
use super::oplocks::{self, Cause};
use super::{Answer, Call, fail, status_of};
use crate::io::{dismount, section};
use crate::memory;
use crate::rooms::Rooms;

const USER_REQUEST: u8 = 0;
const SET_COMPRESSION: u32 = 0x9_C040;
const SET_SPARSE: u32 = 0x9_00C4;
const SET_ZERO_DATA: u32 = 0x9_80C8;
const QUERY_ALLOCATED_RANGES: u32 = 0x9_40CF;
const SET_REPARSE_POINT: u32 = 0x9_00A4;
const GET_REPARSE_POINT: u32 = 0x9_00A8;
const DELETE_REPARSE_POINT: u32 = 0x9_00AC;
const LOCK_VOLUME: u32 = 0x9_0018;
const UNLOCK_VOLUME: u32 = 0x9_001C;
const DISMOUNT_VOLUME: u32 = 0x9_0020;
const IS_VOLUME_MOUNTED: u32 = 0x9_0028;

pub(super) fn control(call: &Call<'_>) -> Answer {
    let open = call.open();
    if call.iopb.MinorFunction != USER_REQUEST {
        return fail(status_of::INVALID_DEVICE_REQUEST);
    }
    // SAFETY: the union member of this control; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.FileSystemControl };
    let code = parameters.ControlCode;
    let (in_len, out_len) = (parameters.InputBufferLength as usize, parameters.OutputBufferLength as usize);
    let input = memory::bytes(call.buffer(parameters.InputBuffer, in_len), in_len);
    let output = if code & 3 == 3 { parameters.OutputBuffer } else { parameters.InputBuffer };
    let fields = Fields(&input);
    match code {
        IS_VOLUME_MOUNTED if call.file.mount == call.lab.io().mounted() => Ok(0),
        IS_VOLUME_MOUNTED => Err(Status::VOLUME_DISMOUNTED.into()),
        // minifilter-rules §2.7.
        LOCK_VOLUME => call.with_volume(|volume| volume.lock_volume(open)).map(|()| 0),
        UNLOCK_VOLUME => call.with_volume(|volume| volume.unlock_volume(open)).map(|()| 0),
        DISMOUNT_VOLUME => {
            // What is mapped is written out first, as far as it can be.
            section::write_all(call.lab);
            call.with_volume(|volume| volume.dismount_volume(open))?;
            dismount::dismounted(call.lab);
            Ok(0)
        }
        SET_COMPRESSION => call.with_volume(|volume| volume.set_compression(open)).map(|()| 0),
        SET_SPARSE => {
            let sparse = input.first().is_none_or(|flag| *flag != 0);
            call.with_volume(|volume| volume.set_sparse(open, sparse)).map(|()| 0)
        }
        SET_ZERO_DATA => {
            let (from, to) = (fields.i64(0)?, fields.i64(8)?);
            if from < 0 || to < from {
                return fail(status::INVALID_PARAMETER);
            }
            oplocks::check(call, Cause::Write)?;
            call.with_volume(|volume| volume.zero_data(open, from.cast_unsigned(), to.cast_unsigned()))
                .map(|()| 0)
        }
        QUERY_ALLOCATED_RANGES => {
            let (from, length) = (fields.i64(0)?.cast_unsigned(), fields.i64(8)?.cast_unsigned());
            let ranges = call.with_volume(|volume| volume.allocated_ranges(open, from, length))?;
            let answer =
                ranges.iter().fold(Bytes::default(), |bytes, (at, length)| bytes.u64(*at).u64(*length));
            give(call, output, out_len, 0, &answer)
        }
        SET_REPARSE_POINT => {
            let (tag, length) = (fields.u32(0)?, usize::from(fields.u16(4)?));
            let Some(data) = input.get(8..8 + length) else { return fail(status::INVALID_PARAMETER) };
            call.with_volume(|volume| volume.set_reparse(open, Reparse { tag, data: data.into() }))
                .map(|()| 0)
        }
        GET_REPARSE_POINT => {
            let reparse = call.with_volume(|volume| volume.reparse(open))?;
            let answer =
                Bytes::default().u32(reparse.tag).u16(reparse.data.len() as u16).u16(0).bytes(&reparse.data);
            give(call, output, out_len, 8, &answer)
        }
        DELETE_REPARSE_POINT => {
            let tag = fields.u32(0)?;
            call.with_volume(|volume| volume.delete_reparse(open, tag)).map(|()| 0)
        }
        code if oplocks::is_control(code) => oplocks::control(call, code, &fields, output, out_len),
        _ => fail(status_of::INVALID_DEVICE_REQUEST),
    }
}
