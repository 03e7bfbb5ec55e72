//! `IRP_MJ_QUERY_VOLUME_INFORMATION` and its setting.

use lab_executive::status;
use lab_nt::_FSINFOCLASS as Class;
use lab_volume::Wide;

use super::bytes::{Bytes, Fields, give};
use super::{Answer, Call, fail};
use crate::memory;
use crate::rooms::Rooms;

const SECTOR: u32 = 512;
const FILE_DEVICE_DISK: u32 = 7;

pub(super) fn query(call: &Call<'_>) -> Answer {
    call.open();
    // SAFETY: the union member of this query; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.QueryVolumeInformation };
    let info = call.lab.io().with_volume(call.lab, |volume| volume.information());
    let per_unit = info.cluster_bytes / SECTOR;
    let bytes = Bytes::default;
    let (fixed, answer) = match parameters.FsInformationClass {
        Class::FileFsVolumeInformation => {
            let label = &info.label.0;
            let head = bytes().i64(0).u32(info.serial).u32((label.len() * 2) as u32).u8(1).zeros(1);
            (18, head.units(label))
        }
        Class::FileFsSizeInformation => {
            (24, bytes().u64(info.total_clusters).u64(info.free_clusters).u32(per_unit).u32(SECTOR))
        }
        Class::FileFsDeviceInformation => (8, bytes().u32(FILE_DEVICE_DISK).u32(0x20)),
        Class::FileFsAttributeInformation => {
            let name = &info.file_system.0;
            (
                12,
                bytes().u32(info.attributes).u32(info.max_component).u32((name.len() * 2) as u32).units(name),
            )
        }
        Class::FileFsFullSizeInformation => {
            let sizes = bytes().u64(info.total_clusters).u64(info.free_clusters).u64(info.free_clusters);
            (32, sizes.u32(per_unit).u32(SECTOR))
        }
        Class::FileFsSectorSizeInformation => {
            (28, bytes().u32(SECTOR).u32(SECTOR).u32(SECTOR).u32(SECTOR).u32(0x3).u32(0).u32(0))
        }
        _ => return fail(status::INVALID_INFO_CLASS),
    };
    give(call, parameters.VolumeBuffer, parameters.Length as usize, fixed, &answer)
}

pub(super) fn set(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of this request; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.SetVolumeInformation };
    if parameters.FsInformationClass != Class::FileFsLabelInformation {
        return fail(status::INVALID_INFO_CLASS);
    }
    let length = parameters.Length as usize;
    let copy = memory::bytes(call.buffer(parameters.VolumeBuffer, length), length);
    let fields = Fields(&copy);
    let label = fields.units(4, fields.u32(0)? as usize)?;
    call.with_volume(|volume| volume.set_label(open, Wide(label)))?;
    Ok(0)
}
