//! Devices that drivers make for programs to talk to: control devices, their names, the file objects that programs
//! open on them.
//!
//! | module | what |
//! |---|---|
//! | `irp` | requests: dispatch, completion, and the rules of both |
//! | `imports` | `IoCreateDevice` and its family |
//!
//! Served are create, cleanup, close and device control with `METHOD_BUFFERED` or `METHOD_NEITHER`. Anything else that a
//! program does with such a handle stops the run (rule `unserved`) instead of being answered by guess. Nothing cancels a
//! request: one that is never completed shows as a deadlock, or keeps its process from ending.

pub mod imports;
mod irp;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::PVOID;
use lab_executive::object::Closing;
use lab_executive::{Mode, status};
use lab_nt::{DEVICE_OBJECT, DRIVER_OBJECT, FILE_OBJECT, IO_SECURITY_CONTEXT};

use super::buffers::{Buffer, Place};
use super::create::{self, Open};
use super::file::counted;
use crate::Executive;
use crate::loading::Driver;
use crate::memory::{self, wide};
use crate::rooms::Rooms;

/// `DO_EXCLUSIVE`, `DO_DEVICE_HAS_NAME`, `DO_DEVICE_INITIALIZING` (wdm.h).
const EXCLUSIVE: u32 = 0x8;
const HAS_NAME: u32 = 0x40;
const INITIALIZING: u32 = 0x80;
const STATUS_NO_SUCH_DEVICE: i32 = 0xC000_000E_u32.cast_signed();
const FILE_READ_DATA: u32 = 0x1;
const FILE_WRITE_DATA: u32 = 0x2;
const FILE_ALL_ACCESS: u32 = 0x1F_01FF;
const MAXIMUM_ALLOWED: u32 = 0x200_0000;
const SIZE: usize = size_of::<DEVICE_OBJECT>().next_multiple_of(16);

/// A device object of a driver.
pub(crate) struct Device {
    /// The DEVICE_OBJECT; its extension follows.
    pub(crate) body: *mut DEVICE_OBJECT,
    pub(crate) driver: Rc<Driver>,
    /// Its name; empty without one.
    pub(crate) name: String,
    /// IoDeleteDevice was called: its name is gone, its memory stays while file objects are open on it.
    deleted: Cell<bool>,
    open: Cell<usize>,
}

impl Device {
    pub(crate) fn label(&self) -> String {
        let name = if self.name.is_empty() { "without a name" } else { &self.name };
        format!("device {name} of {}", self.driver.name)
    }

    fn has(&self, flag: u32) -> bool {
        memory::read(self.body).Flags & flag != 0
    }
}

/// A file object that a program opened on a device.
struct DeviceFile {
    body: *mut FILE_OBJECT,
    device: Rc<Device>,
    cleaned: Cell<bool>,
}

/// The devices of a lab, and what is open on them.
#[derive(Default)]
pub(crate) struct Devices {
    all: RefCell<BTreeMap<usize, Rc<Device>>>,
    files: RefCell<BTreeMap<usize, Rc<DeviceFile>>>,
    irps: irp::Irps,
}

fn devices(lab: &Executive) -> Rc<Devices> {
    lab.room()
}

/// IoCreateDevice.
fn make(
    lab: &Executive,
    driver: Rc<Driver>,
    extension: u32,
    name: String,
    kind: u32,
    characteristics: u32,
    exclusive: bool,
) -> Result<*mut DEVICE_OBJECT, i32> {
    let taken = |device: &Rc<Device>| !device.deleted.get() && device.name.eq_ignore_ascii_case(&name);
    if !name.is_empty() && devices(lab).all.borrow().values().any(taken) {
        return Err(status::OBJECT_NAME_COLLISION);
    }
    if name.eq_ignore_ascii_case(super::VOLUME_DEVICE) {
        return Err(status::OBJECT_NAME_COLLISION);
    }
    let memory_of = lab.allocate_own(SIZE + extension as usize, b"Devi");
    let body: *mut DEVICE_OBJECT = memory_of.cast();
    let mut object = memory::read(body);
    object.Type = 3;
    object.Size = (size_of::<DEVICE_OBJECT>() + extension as usize) as u16;
    object.DriverObject = driver.object;
    object.NextDevice = memory::read(driver.object).DeviceObject;
    object.Flags =
        INITIALIZING | if exclusive { EXCLUSIVE } else { 0 } | if name.is_empty() { 0 } else { HAS_NAME };
    object.Characteristics = characteristics;
    object.DeviceType = kind;
    object.StackSize = 1;
    if extension > 0 {
        object.DeviceExtension = memory_of.wrapping_add(SIZE).cast();
    }
    memory::write(body, object);
    change(driver.object, |own| own.DeviceObject = body);
    let device = Device { body, driver, name, deleted: Cell::new(false), open: Cell::new(0) };
    devices(lab).all.borrow_mut().insert(body.addr(), Rc::new(device));
    Ok(body)
}

fn change(driver: *mut DRIVER_OBJECT, change: impl FnOnce(&mut DRIVER_OBJECT)) {
    let mut own = memory::read(driver);
    change(&mut own);
    memory::write(driver, own);
}

/// The device behind a driver's pointer; anything else stops the run.
fn find(lab: &Executive, body: *const DEVICE_OBJECT) -> Rc<Device> {
    let found = devices(lab).all.borrow().get(&body.addr()).filter(|device| !device.deleted.get()).cloned();
    found.unwrap_or_else(|| {
        lab.violate("device-object", "wdm/IoDeleteDevice", "not a live device object of IoCreateDevice")
    })
}

/// IoDeleteDevice: nobody can open it any more; its memory goes with the last file object.
fn delete(lab: &Executive, device: &Rc<Device>) {
    device.deleted.set(true);
    let own = memory::read(device.body).NextDevice;
    let driver = device.driver.object;
    if memory::read(driver).DeviceObject == device.body {
        change(driver, |object| object.DeviceObject = own);
    } else {
        for other in devices(lab).all.borrow().values() {
            let mut object = memory::read(other.body);
            if object.NextDevice == device.body {
                object.NextDevice = own;
                memory::write(other.body, object);
            }
        }
    }
    free_if_unused(lab, device);
}

fn free_if_unused(lab: &Executive, device: &Rc<Device>) {
    if device.deleted.get() && device.open.get() == 0 {
        devices(lab).all.borrow_mut().remove(&device.body.addr());
        lab.free_own(device.body.cast());
    }
}

/// DriverEntry has returned: what it made can be opened (wdm/IoCreateDevice: the I/O manager clears
/// DO_DEVICE_INITIALIZING of devices made in DriverEntry, and of no others).
pub(crate) fn entry_ended(lab: &Executive, driver: &Rc<Driver>) {
    for device in devices(lab).all.borrow().values().filter(|device| Rc::ptr_eq(&device.driver, driver)) {
        let mut object = memory::read(device.body);
        object.Flags &= !INITIALIZING;
        memory::write(device.body, object);
    }
}

/// Devices of a driver that file objects are still open on. What Windows does when such a minifilter is unloaded is not
/// documented, so the lab reports it: a filter refuses to unload while its device is open.
pub(crate) fn open_devices(lab: &Executive, driver: &Rc<Driver>) -> Vec<String> {
    let all = devices(lab);
    let mut left: Vec<String> = all
        .all
        .borrow()
        .values()
        .filter(|device| Rc::ptr_eq(&device.driver, driver) && device.open.get() > 0)
        .map(|device| format!("{} is open ({} file objects)", device.label(), device.open.get()))
        .collect();
    left.sort_unstable();
    left
}

/// The device that a program's path leads to, and the rest of the path: `\\.\Name`, `\??\Name` by a symbolic link,
/// `\Device\Name` directly.
pub(crate) fn of_path(lab: &Executive, path: &str) -> Option<(Rc<Device>, String)> {
    let path = path.strip_prefix(r"\\.\").map_or_else(|| path.to_owned(), |rest| format!(r"\??\{rest}"));
    let target = match path.strip_prefix(r"\??\") {
        Some(rest) => {
            let (link, below) = rest.find('\\').map_or((rest, ""), |at| rest.split_at(at));
            let body = lab.objects.symbolic_link(&format!(r"\??\{link}"))?;
            let link = lab.objects.payload::<lab_executive::object::SymbolicLink>(body)?;
            format!("{}{below}", link.target)
        }
        None => path,
    };
    let all = devices(lab);
    let devices = all.all.borrow();
    let named = |device: &&Rc<Device>| {
        let (target, name) = (target.as_str(), device.name.as_str());
        let begins = target.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        !name.is_empty()
            && !device.deleted.get()
            && begins
            && (target.len() == name.len() || target[name.len()..].starts_with('\\'))
    };
    let device = devices.values().find(named)?.clone();
    let rest = target[device.name.len()..].to_owned();
    Some((device, rest))
}

/// NtCreateFile on a device: the handle and the information.
pub(crate) fn open(
    lab: &Executive,
    device: &Rc<Device>,
    open: &Open,
    inherit: bool,
) -> Result<(usize, usize), i32> {
    if device.has(INITIALIZING) {
        return Err(STATUS_NO_SUCH_DEVICE);
    }
    if device.has(EXCLUSIVE) && device.open.get() > 0 {
        return Err(status::ACCESS_DENIED);
    }
    let io = lab.io();
    let body: *mut FILE_OBJECT =
        lab.objects.create(lab, &io.file_type(), size_of::<FILE_OBJECT>(), None).cast();
    let mut object = memory::read(body);
    object.Type = 5;
    object.Size = size_of::<FILE_OBJECT>() as i16;
    object.DeviceObject = device.body.cast();
    object.Flags = create::flags_of(open) & !lab_nt::FO_VOLUME_OPEN;
    object.FileName = counted(lab, &open.name, b"IoNm");
    memory::write(body, object);
    device.open.set(device.open.get() + 1);
    let file = Rc::new(DeviceFile { body, device: device.clone(), cleaned: Cell::new(false) });
    let packet = create::make_packet(lab, open);
    let sent = irp::send(lab, device, body, lab_nt::IRP_MJ_CREATE as u8, |_, stack| {
        stack.Parameters.Create.SecurityContext = packet.security_context.cast::<IO_SECURITY_CONTEXT>();
        stack.Parameters.Create.Options = (open.disposition << 24) | (open.options & 0xFF_FFFF);
        stack.Parameters.Create.FileAttributes = open.attributes as u16;
        stack.Parameters.Create.ShareAccess = open.share as u16;
    });
    let desired = memory::read(packet.access_state).OriginalDesiredAccess;
    lab.free_own(packet.access_state.cast());
    devices(lab).files.borrow_mut().insert(body.addr(), file.clone());
    if sent.status < 0 {
        // Never opened: it hears of neither cleanup nor close.
        forget(lab, &file);
        lab.objects.dereference(lab, body.cast());
        return Err(sent.status);
    }
    let granted = if desired & MAXIMUM_ALLOWED != 0 { FILE_ALL_ACCESS } else { desired & FILE_ALL_ACCESS };
    let handle = lab.open_handle(lab.thread().process().as_ref(), body.cast(), granted, inherit);
    lab.objects.dereference(lab, body.cast());
    Ok((handle, sent.information))
}

fn forget(lab: &Executive, file: &Rc<DeviceFile>) {
    devices(lab).files.borrow_mut().remove(&file.body.addr());
    let name = memory::read(file.body).FileName.Buffer;
    if !name.is_null() {
        lab.free_own(name.cast());
    }
    file.device.open.set(file.device.open.get() - 1);
    free_if_unused(lab, &file.device);
}

/// Whether a file object was opened on a driver's device.
pub(crate) fn is_file(lab: &Executive, body: *const u8) -> bool {
    devices(lab).files.borrow().contains_key(&body.addr())
}

/// A handle to such a file object is being closed: with the last one it is cleaned up.
pub(crate) fn handle_closing(lab: &Executive, closing: &Closing) {
    let found = devices(lab).files.borrow().get(&closing.body.addr()).cloned();
    let Some(file) = found.filter(|_| closing.system_handles == 1) else { return };
    file.cleaned.set(true);
    let cleanup = || {
        irp::send(lab, &file.device, file.body, lab_nt::IRP_MJ_CLEANUP as u8, |_, _| ());
    };
    let attached = lab.thread().process().is_some_and(|process| process.id == closing.process.id);
    if attached { cleanup() } else { lab.attached(&closing.process, cleanup) }
}

/// The last reference to such a file object is gone: it is closed.
pub(crate) fn deleting(lab: &Executive, body: *const u8) {
    let found = devices(lab).files.borrow().get(&body.addr()).cloned();
    let Some(file) = found else { return };
    irp::send(lab, &file.device, file.body, lab_nt::IRP_MJ_CLOSE as u8, |_, _| ());
    forget(lab, &file);
}

/// NtDeviceIoControlFile on a device of a driver. `None` if the handle is of something else.
pub(crate) fn control(
    lab: &Executive,
    handle: usize,
    code: u32,
    input: &[u8],
    output: usize,
) -> Option<Result<Vec<u8>, i32>> {
    let entry = match lab.handle(handle, Mode::User) {
        Ok(entry) => entry,
        Err(status) => return Some(Err(status)),
    };
    let file = devices(lab).files.borrow().get(&entry.body.addr()).cloned()?;
    // Access that the code itself demands (wdm.h, CTL_CODE).
    let demanded = [(0x4000, FILE_READ_DATA), (0x8000, FILE_WRITE_DATA)];
    if demanded.iter().any(|(bit, right)| code & bit != 0 && entry.granted & right == 0) {
        return Some(Err(status::ACCESS_DENIED));
    }
    lab.objects.reference(lab, entry.body);
    let result = send_control(lab, &file, code, input, output);
    lab.objects.dereference(lab, entry.body);
    Some(result)
}

fn send_control(
    lab: &Executive,
    file: &DeviceFile,
    code: u32,
    input: &[u8],
    output: usize,
) -> Result<Vec<u8>, i32> {
    const METHOD_BUFFERED: u32 = 0;
    const METHOD_NEITHER: u32 = 3;
    let (buffered, user_input, user_output) = match code & 3 {
        METHOD_BUFFERED => (Some(irp::SystemBuffer::new(lab, input, output)), None, None),
        METHOD_NEITHER => (
            None,
            Some(Buffer::new(lab, Place::User, input.len(), input)),
            Some(Buffer::new(lab, Place::User, output, &[])),
        ),
        _ => lab.violate(
            "unserved",
            "lab: METHOD_IN_DIRECT and METHOD_OUT_DIRECT need memory descriptor lists, which are not modelled",
            format!("a program sends control code {code:#x} to {}", file.device.label()),
        ),
    };
    let address =
        |buffer: &Option<Buffer>| -> PVOID { buffer.as_ref().map_or(std::ptr::null_mut(), Buffer::address) };
    let (input_at, output_at) = (address(&user_input), address(&user_output));
    let system = buffered.as_ref().map(irp::SystemBuffer::address);
    let sent = irp::send_with(
        lab,
        &file.device,
        file.body,
        lab_nt::IRP_MJ_DEVICE_CONTROL as u8,
        buffered,
        |irp, stack| {
            if let Some(address) = system {
                irp.AssociatedIrp.SystemBuffer = address;
            }
            irp.UserBuffer = output_at;
            stack.Parameters.DeviceIoControl.OutputBufferLength = output as u32;
            stack.Parameters.DeviceIoControl.InputBufferLength = input.len() as u32;
            stack.Parameters.DeviceIoControl.IoControlCode = code;
            stack.Parameters.DeviceIoControl.Type3InputBuffer = input_at;
        },
    );
    let copied = sent.status >= 0 || sent.status == status::BUFFER_OVERFLOW;
    let length = if copied { sent.information.min(output) } else { 0 };
    let data = match &user_output {
        Some(buffer) => buffer.contents(length),
        None => sent.output.get(..length).unwrap_or_default().to_vec(),
    };
    user_input.into_iter().chain(user_output).for_each(|buffer| buffer.free(lab));
    if copied { Ok(data) } else { Err(sent.status) }
}

/// The create of a device file, as the I/O manager passes it on.
pub(crate) fn request(rest: &str, access: u32, share: u32, disposition: u32, options: u32) -> Open {
    let mut open = Open::new(wide(rest), Mode::User);
    open.access = access;
    open.share = share;
    open.disposition = disposition;
    open.options = options;
    open
}
