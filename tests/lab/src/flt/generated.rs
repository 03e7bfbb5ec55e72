//! Requests that filters make: FltCreateFileEx2 and the calls on the file objects it gives (minifilter-rules §1.9).

use core::ffi::c_void;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::{Lab, Mode, status};
use lab_nt::OBJECT_ATTRIBUTES;

use super::altitude::Altitude;
use super::extra_parameters::ExtraOfCreate;
use super::instance::Instance;
use crate::io::create::{self, Open, Opened};
use crate::io::file::{File, Transacted};
use crate::io::requests::{self, From, Target};
use crate::io::{DRIVE, VOLUME_DEVICE, close, file_system};
use crate::memory;
use crate::rooms::Rooms;

const OBJ_KERNEL_HANDLE: u32 = 0x200;
const OBJ_FORCE_ACCESS_CHECK: u32 = 0x400;
/// Size of IO_DRIVER_CREATE_CONTEXT with and without its last field.
const CONTEXT_SIZES: [i16; 2] = [32, 40];

/// Arguments of FltCreateFileEx2 besides the filter's own.
pub(crate) struct CreateArguments {
    pub(crate) handle: *mut HANDLE,
    pub(crate) file: *mut PFILE_OBJECT,
    pub(crate) access: u32,
    pub(crate) attributes: *const OBJECT_ATTRIBUTES,
    pub(crate) iosb: PIO_STATUS_BLOCK,
    pub(crate) allocation: *const i64,
    pub(crate) file_attributes: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    pub(crate) ea: (PVOID, u32),
    pub(crate) flags: u32,
    pub(crate) context: *const u8,
}

/// No nested request while the calling thread is inside the file system.
pub(crate) fn check_top_level(lab: &Lab, who: &str) {
    if lab.thread().top_level_irp.get() != 0 {
        lab.report(
            "top-level-irp",
            "minifilter-rules §1.9: not with TopLevelIrp set (deadlock)",
            format!("{who} while the thread's top-level IRP is set"),
        );
    }
}

/// The name below the volume that object attributes lead to.
fn name_of(lab: &Lab, attributes: &OBJECT_ATTRIBUTES) -> Result<(Option<Rc<File>>, Vec<u16>), i32> {
    let name = memory::units_at(attributes.ObjectName.cast());
    if !attributes.RootDirectory.is_null() {
        let entry = lab.handle(attributes.RootDirectory.addr(), Mode::Kernel)?;
        let file = lab.io().try_file(entry.body.cast()).ok_or(status::OBJECT_TYPE_MISMATCH)?;
        return Ok((Some(file), name));
    }
    let text = memory::text(&name);
    for prefix in [VOLUME_DEVICE.to_owned(), format!(r"\??\{DRIVE}"), format!(r"\DosDevices\{DRIVE}")] {
        if text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(&prefix)) {
            let rest = &name[prefix.encode_utf16().count()..];
            if rest.is_empty() || rest[0] == u16::from(b'\\') {
                return Ok((None, rest.to_vec()));
            }
        }
    }
    Err(if text.starts_with('\\') { status::OBJECT_PATH_NOT_FOUND } else { status::OBJECT_PATH_SYNTAX_BAD })
}

/// The transaction (minifilter-rules §1.7) and the ECP list of a driver create context.
fn context_of(lab: &Lab, at: *const u8) -> Result<(Option<Rc<Transacted>>, PVOID), i32> {
    if at.is_null() {
        return Ok((None, std::ptr::null_mut()));
    }
    let size: i16 = memory::read(at.cast());
    if !CONTEXT_SIZES.contains(&size) {
        lab.report(
            "driver-create-context",
            "minifilter-rules §1.9: IoInitializeDriverCreateContext sets Size",
            format!("Size is {size}"),
        );
    }
    let field = |offset: usize| memory::read(at.wrapping_add(offset).cast::<*mut c_void>());
    if !field(16).is_null() {
        let what = "DeviceObjectHint is not null";
        lab.report("driver-create-context", "minifilter-rules §1.9: DeviceObjectHint must be NULL", what);
    }
    let parameters: *const lab_nt::TXN_PARAMETER_BLOCK = field(24).cast_const().cast();
    let ecp = field(8);
    if parameters.is_null() {
        return Ok((None, ecp));
    }
    let block = memory::read(parameters);
    if usize::from(block.Length) != size_of::<lab_nt::TXN_PARAMETER_BLOCK>() {
        return Err(status::INVALID_PARAMETER);
    }
    let transaction = crate::ktm::transaction_at(lab, block.TransactionObject);
    Ok((
        Some(Rc::new(Transacted {
            id: transaction.id,
            object: block.TransactionObject.cast(),
            miniversion: block.TxFsContext,
        })),
        ecp,
    ))
}

/// FltCreateFileEx2.
pub(crate) fn create_file(lab: &Lab, instance: Option<&Rc<Instance>>, arguments: &CreateArguments) -> i32 {
    check_top_level(lab, "FltCreateFileEx2");
    memory::write(arguments.handle, std::ptr::null_mut());
    memory::write_optional(arguments.file, std::ptr::null_mut());
    let finish = |status: i32, information: usize| {
        memory::write_optional(arguments.iosb, super::request::status_block(status, information));
        status
    };
    match prepare(lab, instance, arguments) {
        Ok(open) => match create::open(lab, open) {
            Ok(opened) => hand_over(lab, opened, arguments, &finish),
            Err((status, information)) => finish(status, information),
        },
        Err(status) => finish(status, 0),
    }
}

fn prepare(lab: &Lab, instance: Option<&Rc<Instance>>, arguments: &CreateArguments) -> Result<Open, i32> {
    let attributes = memory::read(arguments.attributes);
    let in_system = lab.thread().process().is_some_and(|process| process.id == 4);
    if attributes.Attributes & OBJ_KERNEL_HANDLE == 0 && !in_system {
        lab.report(
            "kernel-handle",
            "minifilter-rules §1.9: OBJ_KERNEL_HANDLE",
            "opens a file handle that the running program could use",
        );
    }
    let (related, name) = name_of(lab, &attributes)?;
    let (transaction, ecp) = context_of(lab, arguments.context)?;
    let forced = arguments.flags & IO_FORCE_ACCESS_CHECK != 0;
    let object_forced = attributes.Attributes & OBJ_FORCE_ACCESS_CHECK != 0;
    let mut open = Open::new(name, Mode::Kernel);
    open.related = related;
    open.force_check = forced || object_forced;
    open.access = arguments.access;
    open.share = arguments.share;
    open.disposition = arguments.disposition;
    open.options = arguments.options;
    open.attributes = arguments.file_attributes;
    open.object_attributes = attributes.Attributes;
    if arguments.ea.1 > 0 && !arguments.ea.0.is_null() {
        let at = crate::io::buffers::resolve(lab, arguments.ea.0, arguments.ea.1 as usize);
        open.ea = memory::bytes(at, arguments.ea.1 as usize);
    }
    open.allocation = if arguments.allocation.is_null() { 0 } else { memory::read(arguments.allocation) };
    if !attributes.SecurityDescriptor.is_null() {
        open.security = file_system::self_relative(attributes.SecurityDescriptor.cast());
    }
    open.transaction = transaction;
    open.extra = Rc::new(ExtraOfCreate::of(ecp));
    open.ceiling = instance.map(|instance| instance.altitude.clone());
    open.mount = instance.map(|instance| instance.mount);
    open.ignore_share = arguments.flags & IO_IGNORE_SHARE_ACCESS_CHECK != 0;
    open.generated = true;
    Ok(open)
}

fn hand_over(
    lab: &Lab,
    opened: Opened,
    arguments: &CreateArguments,
    finish: &dyn Fn(i32, usize) -> i32,
) -> i32 {
    let attributes = memory::read(arguments.attributes);
    let kernel = attributes.Attributes & OBJ_KERNEL_HANDLE != 0;
    let body = opened.file.body;
    if !arguments.file.is_null() {
        lab.objects.reference(lab, body.cast());
        lab.objects.note_driver_reference(lab, body.cast(), 1);
        memory::write(arguments.file, body.cast());
    }
    let handle = create::make_handle(lab, &opened, kernel, false);
    memory::write(arguments.handle, std::ptr::with_exposed_provenance_mut(handle));
    finish(opened.status, opened.information)
}

/// FltCancelFileOpen.
pub(crate) fn cancel_open(lab: &Lab, instance: &Instance, file: PFILE_OBJECT) {
    let file = lab.io().file(lab, file);
    if file.has_flags(lab_nt::FO_HANDLE_CREATED) || file.open.get().is_none() {
        lab.report(
            "cancel-file-open",
            "minifilter-rules §1.9: in post-create only, before a handle exists",
            format!("cancels {}", file.label()),
        );
    }
    close::cancel(lab, &file, &instance.altitude);
}

fn from(below: &Altitude) -> From {
    From { mode: Mode::Kernel, below: Some(below.clone()), generated: true }
}

/// FltQueryInformationFile, FltReadFile and their like: on an open file object, for instances below.
pub(crate) fn query(
    lab: &Lab,
    instance: &Instance,
    file: PFILE_OBJECT,
    buffer: (PVOID, u32),
    class: u32,
    returned: *mut u32,
) -> i32 {
    check_top_level(lab, "FltQueryInformationFile");
    let file = lab.io().file(lab, file);
    let (result, data) =
        requests::query_information(lab, &file, &from(&instance.altitude), class, buffer.1 as usize);
    memory::fill(buffer.0.cast(), &data);
    memory::write_optional(returned, data.len() as u32);
    result.Status
}

/// FltSetInformationFile. A rename or link to a whole path opens the target directory as the I/O manager would.
pub(crate) fn set(
    lab: &Lab,
    instance: &Instance,
    file: PFILE_OBJECT,
    buffer: (PVOID, u32),
    class: u32,
) -> i32 {
    check_top_level(lab, "FltSetInformationFile");
    let file = lab.io().file(lab, file);
    let data = memory::bytes(buffer.0.cast(), buffer.1 as usize);
    let mut target = Target::default();
    let mut handle = None;
    if matches!(class, 10 | 11 | 65 | 72) {
        target.replace = data.first() == Some(&1) && matches!(class, 10 | 11);
        match open_target(lab, instance, &file, &data) {
            Ok(Some((parent, own))) => {
                target.parent = Some(parent);
                handle = Some(own);
            }
            Ok(None) => {}
            Err(status) => return status,
        }
    }
    let result = requests::set_information(lab, &file, &from(&instance.altitude), class, &data, target);
    if let Some(handle) = handle {
        // The lab's own handle; closing it cannot fail.
        let _ = lab.close_handle(handle, Mode::Kernel);
    }
    result.Status
}

type Parent = (*mut lab_nt::FILE_OBJECT, usize);

fn open_target(lab: &Lab, instance: &Instance, file: &File, data: &[u8]) -> Result<Option<Parent>, i32> {
    let long =
        |at: usize| data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])) as usize;
    let root: usize = data.get(8..16).and_then(|b| b.try_into().ok()).map_or(0, usize::from_le_bytes);
    let bytes = data.get(20..20 + long(16)).ok_or(status::INVALID_PARAMETER)?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let (related, name) = if root != 0 {
        let entry = lab.handle(root, Mode::Kernel)?;
        (Some(lab.io().try_file(entry.body.cast()).ok_or(status::OBJECT_TYPE_MISMATCH)?), units)
    } else if units.first() == Some(&u16::from(b'\\')) {
        (None, file_system::reparse::below_volume(&units).map_err(|(status, _)| status)?)
    } else {
        return Ok(None);
    };
    let mut open = Open::new(name, Mode::Kernel);
    open.related = related;
    open.access = 0x10_0002;
    open.share = 3;
    open.options = 0x4000;
    open.target_directory = true;
    open.transaction = file.transaction.clone();
    open.ceiling = Some(instance.altitude.clone());
    open.mount = Some(instance.mount);
    open.generated = true;
    let opened = create::open(lab, open).map_err(|(status, _)| status)?;
    let parent = opened.file.body;
    Ok(Some((parent, create::make_handle(lab, &opened, true, false))))
}

/// FltReadFile.
pub(crate) fn read(
    lab: &Lab,
    instance: &Instance,
    file: PFILE_OBJECT,
    offset: *const i64,
    buffer: (PVOID, u32),
    returned: *mut u32,
) -> i32 {
    check_top_level(lab, "FltReadFile");
    let file = lab.io().file(lab, file);
    let offset = (!offset.is_null()).then(|| memory::read(offset));
    let (result, data) = requests::read(lab, &file, &from(&instance.altitude), offset, buffer.1 as usize);
    memory::fill(buffer.0.cast(), &data);
    memory::write_optional(returned, data.len() as u32);
    result.Status
}

/// FltWriteFile.
pub(crate) fn write(
    lab: &Lab,
    instance: &Instance,
    file: PFILE_OBJECT,
    offset: *const i64,
    buffer: (PVOID, u32),
    returned: *mut u32,
) -> i32 {
    check_top_level(lab, "FltWriteFile");
    let file = lab.io().file(lab, file);
    let offset = (!offset.is_null()).then(|| memory::read(offset));
    let data = memory::bytes(buffer.0.cast(), buffer.1 as usize);
    let result = requests::write(lab, &file, &from(&instance.altitude), offset, &data);
    memory::write_optional(returned, result.Information as u32);
    result.Status
}

/// FltFlushBuffers.
pub(crate) fn flush(lab: &Lab, instance: &Instance, file: PFILE_OBJECT) -> i32 {
    check_top_level(lab, "FltFlushBuffers");
    let file = lab.io().file(lab, file);
    requests::flush(lab, &file, &from(&instance.altitude)).Status
}

/// FltFsControlFile.
pub(crate) fn control(
    lab: &Lab,
    instance: &Instance,
    file: PFILE_OBJECT,
    code: u32,
    input: (PVOID, u32),
    output: (PVOID, u32),
    returned: *mut u32,
) -> i32 {
    check_top_level(lab, "FltFsControlFile");
    let file = lab.io().file(lab, file);
    let data = memory::bytes(input.0.cast(), input.1 as usize);
    let (result, data) =
        requests::control(lab, &file, &from(&instance.altitude), code, &data, output.1 as usize);
    memory::fill(output.0.cast(), &data);
    memory::write_optional(returned, data.len() as u32);
    result.Status
}

/// FltQueryVolumeInformation: of the volume, through a file object of the lab's own on it.
pub(crate) fn query_volume(
    lab: &Lab,
    instance: &Instance,
    iosb: PIO_STATUS_BLOCK,
    buffer: (PVOID, u32),
    class: u32,
) -> i32 {
    check_top_level(lab, "FltQueryVolumeInformation");
    let mut open = Open::new(Vec::new(), Mode::Kernel);
    open.access = 0x10_0080;
    open.options = 0x20;
    open.ceiling = Some(instance.altitude.clone());
    open.mount = Some(instance.mount);
    open.generated = true;
    let result = match create::open(lab, open) {
        Ok(opened) => {
            let (result, data) = requests::query_volume(
                lab,
                &opened.file,
                &from(&instance.altitude),
                class,
                buffer.1 as usize,
            );
            memory::fill(buffer.0.cast(), &data);
            lab.objects.dereference(lab, opened.file.body.cast());
            result
        }
        Err((status, information)) => super::request::status_block(status, information),
    };
    memory::write_optional(iosb, result);
    result.Status
}
