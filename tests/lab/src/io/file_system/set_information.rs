//! `IRP_MJ_SET_INFORMATION`: times, sizes, names, disposition.

use lab_executive::status;
use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_nt::{FO_CLEANUP_COMPLETE, FO_FILE_SIZE_CHANGED};
use lab_volume::{BasicUpdate, DispositionFlags, NameFlags, NameTarget, Wide};

use super::bytes::Fields;
use super::oplocks::{self, Cause};
use super::{Answer, Call, Failure, fail, status_of};
use crate::io::section;
use crate::memory;
use crate::rooms::Rooms;

pub(super) fn set(call: &Call<'_>) -> Answer {
    let open = call.open();
    if call.file.has_flags(FO_CLEANUP_COMPLETE) {
        return fail(status_of::FILE_CLOSED);
    }
    // SAFETY: the union member of IRP_MJ_SET_INFORMATION; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.SetFileInformation };
    let length = parameters.Length as usize;
    let copy = memory::bytes(call.buffer(parameters.InfoBuffer, length), length);
    let fields = Fields(&copy);
    match parameters.FileInformationClass {
        Class::FileBasicInformation => {
            let update = basic_update(&fields)?;
            call.with_volume(|volume| volume.set_basic(open, update))?;
        }
        Class::FileRenameInformation => {
            let flags = if parameters.ReplaceIfExists != 0 { NameFlags::REPLACE } else { NameFlags::empty() };
            rename(call, &fields, flags)?;
        }
        Class::FileRenameInformationEx => {
            let flags = NameFlags::from_bits_truncate(fields.u32(0)?);
            rename(call, &fields, flags)?;
        }
        Class::FileLinkInformation | Class::FileLinkInformationEx => {
            let flags = match parameters.FileInformationClass {
                Class::FileLinkInformationEx => NameFlags::from_bits_truncate(fields.u32(0)?),
                _ if parameters.ReplaceIfExists != 0 => NameFlags::REPLACE,
                _ => NameFlags::empty(),
            };
            let target = name_target(call, &fields)?;
            oplocks::check_link(call, &target)?;
            call.with_volume(|volume| volume.link(open, &target, flags))?;
        }
        Class::FileDispositionInformation => {
            let flags = if fields.u8(0)? != 0 { DispositionFlags::DELETE } else { DispositionFlags::empty() };
            dispose(call, flags)?;
        }
        Class::FileDispositionInformationEx => {
            dispose(call, DispositionFlags::from_bits_truncate(fields.u32(0)?))?;
        }
        Class::FilePositionInformation => call.file.set_position(fields.i64(0)?),
        Class::FileModeInformation => {}
        Class::FileAllocationInformation => {
            let size = size(&fields)?;
            oplocks::check(call, Cause::Write)?;
            call.with_volume(|volume| volume.set_allocation(open, size))?;
            truncate_views(call, size);
            call.file.set_flags(FO_FILE_SIZE_CHANGED);
        }
        Class::FileEndOfFileInformation => {
            let size = size(&fields)?;
            if parameters.AdvanceOnly == 0 {
                oplocks::check(call, Cause::Write)?;
            }
            // Cc's own call moves the end forward only (minifilter-rules §2.2).
            let now = call.with_volume(|volume| volume.standard(open))?.size;
            if parameters.AdvanceOnly == 0 || size > now {
                call.with_volume(|volume| volume.set_end_of_file(open, size))?;
                truncate_views(call, size);
                call.file.set_flags(FO_FILE_SIZE_CHANGED);
            }
        }
        Class::FileValidDataLengthInformation => {
            let size = size(&fields)?;
            oplocks::check(call, Cause::Write)?;
            call.with_volume(|volume| volume.set_valid_data_length(open, size))?;
        }
        _ => return fail(status::INVALID_INFO_CLASS),
    }
    Ok(0)
}

/// What views have modified behind the end of the file is gone.
fn truncate_views(call: &Call<'_>, size: u64) {
    if let Some(area) = section::area_of(call.lab, &call.file) {
        section::truncate(&area, size);
    }
}

fn size(fields: &Fields<'_>) -> Result<u64, Failure> {
    u64::try_from(fields.i64(0)?).or_else(|_| fail(status::INVALID_PARAMETER))
}

/// 0 leaves a value; -1 and -2 only say whether later operations update it, which is not modelled.
fn basic_update(fields: &Fields<'_>) -> Result<BasicUpdate, Failure> {
    let time = |at| fields.i64(at).map(|value| (value > 0).then_some(value));
    let attributes = fields.u32(32)?;
    Ok(BasicUpdate {
        creation: time(0)?,
        access: time(8)?,
        write: time(16)?,
        change: time(24)?,
        attributes: (attributes != 0).then_some(attributes),
    })
}

fn rename(call: &Call<'_>, fields: &Fields<'_>, flags: NameFlags) -> Result<(), Failure> {
    let open = call.open();
    let target = name_target(call, fields)?;
    oplocks::check_rename(call, &target)?;
    call.with_volume(|volume| volume.rename(open, &target, flags))
}

/// The new name: below the target directory's file object if there is one, else in the file's own directory.
fn name_target(call: &Call<'_>, fields: &Fields<'_>) -> Result<NameTarget, Failure> {
    // SAFETY: the union member of IRP_MJ_SET_INFORMATION; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.SetFileInformation };
    let name = fields.units(20, fields.u32(16)? as usize)?;
    if parameters.ParentOfTarget.is_null() {
        return Ok(NameTarget { directory: None, name: Wide(name) });
    }
    let Some(parent) = call.lab.io().try_file(parameters.ParentOfTarget) else {
        call.foreign("whose target directory is no file object");
    };
    let Some(directory) = parent.open.get() else {
        call.foreign("whose target directory NTFS has not opened (minifilter-rules §1.4)");
    };
    let last = name.rsplit(|unit| *unit == u16::from(b'\\')).next().unwrap_or(&name).to_vec();
    Ok(NameTarget { directory: Some(directory), name: Wide(last) })
}

fn dispose(call: &Call<'_>, flags: DispositionFlags) -> Result<(), Failure> {
    let open = call.open();
    if flags.contains(DispositionFlags::DELETE) {
        oplocks::check(call, Cause::Delete)?;
    }
    call.with_volume(|volume| volume.set_disposition(open, flags))?;
    let on_close = flags.contains(DispositionFlags::ON_CLOSE);
    if !on_close {
        call.file.update(|object| object.DeletePending = u8::from(flags.contains(DispositionFlags::DELETE)));
    }
    Ok(())
}
