//! File names for filters: FltGetFileNameInformation and its family (minifilter-rules §3.5).
//!
//! Approximated: on Windows a normalized name in pre-create makes creates and directory queries that lower filters
//! see; here the volume is asked directly.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use fltkernel::*;
use lab_executive::status;
use lab_nt::{FO_CLEANUP_COMPLETE, SL_OPEN_TARGET_DIRECTORY};
use lab_volume::{Create, CreateRequest, FileId, Options, Status, Target, Wide};

use super::parse::parse;
use super::request::{Form, Request};
use crate::Executive;
use crate::io::VOLUME_DEVICE;
use crate::io::file::File;
use crate::memory::{self, wide};
use crate::rooms::Rooms;

struct Name {
    references: Cell<i64>,
    owner: Option<usize>,
    serial: u64,
}

/// Name information that filters hold.
#[derive(Default)]
pub(crate) struct Names {
    live: RefCell<BTreeMap<usize, Name>>,
    serial: Cell<u64>,
}

const IRP_PAGING: u32 = 0x2 | 0x40;
const HEADER: usize = size_of::<FLT_FILE_NAME_INFORMATION>();

impl Names {
    /// Makes name information for a name below the volume's root.
    fn make(&self, lab: &Executive, format: u32, below: &[u16]) -> *mut FLT_FILE_NAME_INFORMATION {
        let mut name = wide(VOLUME_DEVICE);
        let volume = name.len();
        name.extend_from_slice(below);
        let block = lab.allocate_own(HEADER + name.len() * 2, b"FMfn");
        let buffer: *mut u16 = block.wrapping_add(HEADER).cast();
        memory::fill_units(buffer, &name);
        let mut information: FLT_FILE_NAME_INFORMATION = memory::read(block.cast());
        information.Size = HEADER as u16;
        information.Format = format;
        information.Name = string(buffer, 0, name.len());
        information.Volume = string(buffer, 0, volume);
        memory::write(block.cast(), information);
        self.serial.set(self.serial.get() + 1);
        let entry = Name { references: Cell::new(1), owner: lab.caller(), serial: self.serial.get() };
        self.live.borrow_mut().insert(block.addr(), entry);
        block.cast()
    }

    /// Adds a reference.
    pub(crate) fn reference(&self, lab: &Executive, name: *const FLT_FILE_NAME_INFORMATION) {
        match self.live.borrow().get(&name.addr()) {
            Some(entry) => entry.references.set(entry.references.get() + 1),
            None => unknown(lab),
        }
    }

    /// Takes a reference away.
    pub(crate) fn release(&self, lab: &Executive, name: *mut FLT_FILE_NAME_INFORMATION) {
        let left = match self.live.borrow().get(&name.addr()) {
            Some(entry) => {
                entry.references.set(entry.references.get() - 1);
                entry.references.get()
            }
            None => unknown(lab),
        };
        if left == 0 {
            self.live.borrow_mut().remove(&name.addr());
            lab.free_own(name.cast());
        }
    }

    /// Fills the parsed parts.
    pub(crate) fn parse(&self, lab: &Executive, name: *mut FLT_FILE_NAME_INFORMATION) -> i32 {
        if !self.live.borrow().contains_key(&name.addr()) {
            unknown(lab);
        }
        let mut information = memory::read(name);
        let units = memory::units(&information.Name);
        let parts = parse(&units, usize::from(information.Volume.Length) / 2);
        let buffer = information.Name.Buffer;
        let part = |range: std::ops::Range<usize>| string(buffer, range.start, range.len());
        information.ParentDir = part(parts.parent_dir);
        information.FinalComponent = part(parts.final_component);
        information.Extension = part(parts.extension);
        information.Stream = part(parts.stream);
        information.NamesParsed = FLTFL_FILE_NAME_PARSED_FINAL_COMPONENT
            | FLTFL_FILE_NAME_PARSED_EXTENSION
            | FLTFL_FILE_NAME_PARSED_STREAM
            | FLTFL_FILE_NAME_PARSED_PARENT_DIR;
        memory::write(name, information);
        status::SUCCESS
    }

    /// Name information that an image got and did not release.
    pub(crate) fn left_by(&self, image: Option<usize>) -> Vec<String> {
        let live = self.live.borrow();
        let mut own: Vec<_> = live.values().filter(|name| name.owner == image).collect();
        own.sort_by_key(|name| name.serial);
        own.iter()
            .map(|name| {
                format!("file name information #{} with {} reference(s)", name.serial, name.references.get())
            })
            .collect()
    }
}

fn unknown(lab: &Executive) -> ! {
    lab.violate(
        "name-reference",
        "minifilter-rules §3.5: FltReleaseFileNameInformation exactly once for each get",
        "not live file name information; released too often?",
    )
}

fn string(buffer: *mut u16, from: usize, len: usize) -> UNICODE_STRING {
    let bytes = (len * 2) as u16;
    UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: buffer.wrapping_add(from) }
}

/// Format and query method of the options.
fn options(options: u32) -> Result<u32, i32> {
    let format = options & 0xFF;
    let method = options & 0xFF00;
    let known = FLT_FILE_NAME_REQUEST_FROM_CURRENT_PROVIDER
        | FLT_FILE_NAME_DO_NOT_CACHE
        | FLT_FILE_NAME_ALLOW_QUERY_ON_REPARSE
        | 0xFFFF;
    let good = (FLT_FILE_NAME_NORMALIZED..=FLT_FILE_NAME_SHORT).contains(&format)
        && (0x100..=0x400).contains(&method)
        && options & !known == 0;
    if good { Ok(format) } else { Err(status::INVALID_PARAMETER) }
}

/// FltGetFileNameInformation.
///
/// # Errors
/// Its statuses.
pub(crate) fn get(
    lab: &Executive,
    request: &Request,
    data: &FLT_CALLBACK_DATA,
    name_options: u32,
) -> Result<*mut FLT_FILE_NAME_INFORMATION, i32> {
    let format = options(name_options)?;
    let thread = lab.thread();
    let iopb = memory::read(data.Iopb);
    let too_late = data.Flags & FLTFL_CALLBACK_DATA_POST_OPERATION != 0 && request.major == IRP_MJ_CLOSE;
    let forbidden = (iopb.IrpFlags & IRP_PAGING != 0 && matches!(request.major, IRP_MJ_READ | IRP_MJ_WRITE))
        || thread.top_level_irp.get() != 0
        || thread.all_apcs_off()
        || too_late
        || (request.form == Form::FsFilter && request.major != IRP_MJ_QUERY_OPEN);
    if forbidden {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    let file = lab.io().file(lab, iopb.TargetFileObject);
    let opened = file.open.get().is_some();
    let before =
        !opened && matches!(request.major, IRP_MJ_CREATE | IRP_MJ_NETWORK_QUERY_OPEN | IRP_MJ_QUERY_OPEN);
    if !opened && !before {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    if format == FLT_FILE_NAME_SHORT {
        return if before {
            Err(STATUS_FLT_INVALID_NAME_REQUEST)
        } else {
            Err(status::OBJECT_NAME_NOT_FOUND)
        };
    }
    let target_directory =
        request.major == IRP_MJ_CREATE && u32::from(iopb.OperationFlags) & SL_OPEN_TARGET_DIRECTORY != 0;
    let below = if before {
        before_open(lab, &file, format, target_directory)?
    } else {
        of_open(lab, &file, format)?
    };
    Ok(lab.flt().names.make(lab, format, &below))
}

/// FltGetFileNameInformationUnsafe: of an open file object, without an operation.
///
/// # Errors
/// Its statuses.
pub(crate) fn get_unsafe(
    lab: &Executive,
    file: PFILE_OBJECT,
    name_options: u32,
) -> Result<*mut FLT_FILE_NAME_INFORMATION, i32> {
    let format = options(name_options)?;
    let thread = lab.thread();
    if thread.top_level_irp.get() != 0 || thread.all_apcs_off() || format == FLT_FILE_NAME_SHORT {
        return Err(STATUS_FLT_INVALID_NAME_REQUEST);
    }
    let file = lab.io().file(lab, file);
    let below = of_open(lab, &file, format)?;
    Ok(lab.flt().names.make(lab, format, &below))
}

/// The name of a file object that the file system has opened.
fn of_open(lab: &Executive, file: &File, format: u32) -> Result<Vec<u16>, i32> {
    if format == FLT_FILE_NAME_OPENED && !file.by_id {
        return Ok(file.opened_as.borrow().clone());
    }
    let Some(open) = file.open.get() else { return Err(STATUS_FLT_INVALID_NAME_REQUEST) };
    match lab.io().with_volume(lab, |volume| volume.name(open)) {
        Ok(name) => Ok(name.0),
        // The file is gone, or the transaction of the open is over: the name of the open is what is left.
        Err(_) if file.has_flags(FO_CLEANUP_COMPLETE) => Err(STATUS_FLT_INVALID_NAME_REQUEST),
        Err(status) => Err(status.0.cast_signed()),
    }
}

/// The name that a create will open.
fn before_open(lab: &Executive, file: &File, format: u32, target_directory: bool) -> Result<Vec<u16>, i32> {
    if file.by_id {
        let object = file.object();
        let bytes = memory::bytes(object.FileName.Buffer.cast(), usize::from(object.FileName.Length));
        let id: [u8; 8] = bytes.try_into().map_err(|_| STATUS_FLT_INVALID_NAME_REQUEST)?;
        return look_up(lab, file, Target::Id(FileId(u64::from_le_bytes(id)))).map_err(|s| s.0.cast_signed());
    }
    let mut path = file.opened_as.borrow().clone();
    if target_directory {
        let cut = path.iter().rposition(|unit| *unit == u16::from(b'\\')).unwrap_or(0);
        path.truncate(cut.max(1));
    }
    if format == FLT_FILE_NAME_OPENED {
        return Ok(path);
    }
    normalize(lab, file, &path)
}

/// The name with every component as the directory has it; only the last may be missing.
fn normalize(lab: &Executive, file: &File, path: &[u16]) -> Result<Vec<u16>, i32> {
    let failed = |status: Status| status.0.cast_signed();
    let slash = path.iter().rposition(|unit| *unit == u16::from(b'\\')).unwrap_or(0);
    let (parent, last) = path.split_at(slash);
    let last = last.strip_prefix(&[u16::from(b'\\')]).unwrap_or(last);
    if last.is_empty() {
        return Ok(if path.is_empty() { Vec::new() } else { wide(r"\") });
    }
    let colon = last.iter().position(|unit| *unit == u16::from(b':')).unwrap_or(last.len());
    let (name, stream) = last.split_at(colon);
    let whole = [parent, &[u16::from(b'\\')], name].concat();
    match look_up(lab, file, Target::Path(Wide(whole))) {
        Ok(mut found) => {
            found.extend_from_slice(stream);
            Ok(found)
        }
        Err(Status::OBJECT_NAME_NOT_FOUND) => {
            let root = if parent.is_empty() { wide(r"\") } else { parent.to_vec() };
            let mut found = look_up(lab, file, Target::Path(Wide(root))).map_err(failed)?;
            if found.last() != Some(&u16::from(b'\\')) {
                found.push(u16::from(b'\\'));
            }
            found.extend_from_slice(last);
            Ok(found)
        }
        Err(status) => Err(failed(status)),
    }
}

/// Opens for a moment, below everything, and asks for the name.
fn look_up(lab: &Executive, file: &File, target: Target) -> Result<Vec<u16>, Status> {
    let mut request = CreateRequest::new(target).options(Options::OPEN_REPARSE_POINT);
    request.transaction = file.transaction_id();
    let created =
        crate::ktm::with_ktm(lab, |ktm| lab.io().with_volume(lab, |volume| volume.create(ktm, request)))?;
    let created = match created {
        Create::Opened(created) => created,
        // A junction on the way: FltMgr does not follow it (minifilter-rules §3.5).
        Create::Reparse(_) => return Err(Status::NOT_SAME_DEVICE),
    };
    lab.io().with_volume(lab, |volume| {
        let name = volume.name(created.open);
        let _ = volume.cleanup(created.open, 0);
        let _ = volume.close(created.open);
        let name = name?.0;
        Ok(if name.is_empty() { wide(r"\") } else { name })
    })
}
