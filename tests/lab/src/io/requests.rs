//! Requests on an open file object: what NtReadFile and its family do between handle and Filter Manager.
//!
//! Fast I/O comes first where Windows tries it (queries of basic, standard and network-open information; reads and
//! writes of a synchronous file object that caches), the IRP follows when somebody disallows it.

use std::rc::Rc;

use fltkernel::*;
use lab_executive::irql::APC_LEVEL;
use lab_executive::{Mode, status};
use lab_nt::{FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH};

use super::buffers::{Buffer, Place};
use super::file::File;
use crate::Executive;
use crate::flt::altitude::Altitude;
use crate::flt::passage;
use crate::flt::request::{Form, Operation, Request, status_block};
use crate::rooms::Rooms;

const IRP_NOCACHE: u32 = 0x1;
const IRP_PAGING_IO: u32 = 0x2;
const IRP_SYNCHRONOUS_API: u32 = 0x4;
const IRP_SYNCHRONOUS_PAGING_IO: u32 = 0x40;
const IRP_READ_OPERATION: u32 = 0x100;
const IRP_WRITE_OPERATION: u32 = 0x200;
const IRP_DEFER_IO_COMPLETION: u32 = 0x800;
const SL_WRITE_THROUGH: u8 = 0x4;

/// Byte offset that means "at the end" in a write.
pub(crate) const WRITE_TO_END: i64 = -1;

/// Who makes a request, and how far down it starts.
#[derive(Clone)]
pub(crate) struct From {
    pub(crate) mode: Mode,
    /// Only instances lower than this see it; `None` takes the file object's own limit.
    pub(crate) below: Option<Altitude>,
    /// Made by a filter.
    pub(crate) generated: bool,
}

impl From {
    pub(crate) fn user() -> Self {
        Self { mode: Mode::User, below: None, generated: false }
    }

    fn place(&self) -> Place {
        if self.mode == Mode::User { Place::User } else { Place::System }
    }
}

fn send(lab: &Executive, file: &File, from: &From, mut operation: Operation) -> IO_STATUS_BLOCK {
    operation.mode = i8::from(from.mode == Mode::User);
    operation.generated = from.generated;
    operation.asynchronous = operation.form == Form::Irp && !file.has_flags(FO_SYNCHRONOUS_IO);
    if operation.form == Form::Irp && !operation.asynchronous {
        operation.irp_flags |= IRP_SYNCHRONOUS_API;
    }
    passage::issue(lab, operation, from.below.as_ref().or(file.ceiling.as_ref()))
}

/// Sends the fast I/O form; `None` if it was disallowed or is not possible.
fn send_fast(lab: &Executive, file: &File, from: &From, mut operation: Operation) -> Option<IO_STATUS_BLOCK> {
    operation.form = Form::FastIo;
    operation.irp_flags = 0;
    let result = send(lab, file, from, operation);
    (result.Status != STATUS_FLT_DISALLOW_FAST_IO).then_some(result)
}

fn read_write(length: usize, key: u32, offset: i64, buffer: &Buffer) -> READ_WRITE {
    READ_WRITE {
        Length: length as u32,
        Padding1: 0,
        Key: key,
        Padding2: 0,
        ByteOffset: offset,
        Buffer: buffer.address(),
        MdlAddress: std::ptr::null_mut(),
    }
}

/// Whether the I/O manager tries fast I/O for data: a synchronous file object whose file is cached.
fn caches(file: &File) -> bool {
    let object = file.object();
    object.Flags & FO_SYNCHRONOUS_IO != 0
        && object.Flags & FO_NO_INTERMEDIATE_BUFFERING == 0
        && !object.PrivateCacheMap.is_null()
}

/// Reads; `None` for the offset is the current position of a synchronous file object.
pub(crate) fn read(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    offset: Option<i64>,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let offset = match offset {
        Some(offset) if offset >= 0 => offset,
        None if file.has_flags(FO_SYNCHRONOUS_IO) => file.position(),
        _ => return (status_block(status::INVALID_PARAMETER, 0), Vec::new()),
    };
    let buffer = Buffer::new(lab, from.place(), length, &[]);
    let mut operation = Operation::irp(IRP_MJ_READ, file.pointer());
    operation.parameters = FLT_PARAMETERS { Read: read_write(length, 0, offset, &buffer) };
    let fast = if caches(file) { send_fast(lab, file, from, clone(&operation)) } else { None };
    let result = fast.unwrap_or_else(|| {
        operation.irp_flags = IRP_READ_OPERATION | IRP_DEFER_IO_COMPLETION;
        if file.has_flags(FO_NO_INTERMEDIATE_BUFFERING) {
            operation.irp_flags |= IRP_NOCACHE;
        }
        send(lab, file, from, operation)
    });
    let data = if result.Status >= 0 { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}

/// Writes; the offset as for [`read`], or [`WRITE_TO_END`].
pub(crate) fn write(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    offset: Option<i64>,
    data: &[u8],
) -> IO_STATUS_BLOCK {
    let offset = match offset {
        Some(offset) if offset >= WRITE_TO_END => offset,
        // FILE_USE_FILE_POINTER_POSITION
        Some(-2) | None if file.has_flags(FO_SYNCHRONOUS_IO) => file.position(),
        _ => return status_block(status::INVALID_PARAMETER, 0),
    };
    let buffer = Buffer::new(lab, from.place(), data.len(), data);
    let mut operation = Operation::irp(IRP_MJ_WRITE, file.pointer());
    operation.parameters = FLT_PARAMETERS { Write: read_write(data.len(), 0, offset, &buffer) };
    if file.has_flags(FO_WRITE_THROUGH) {
        operation.operation_flags = SL_WRITE_THROUGH;
    }
    let through = file.has_flags(FO_WRITE_THROUGH);
    let fast = if caches(file) && !through { send_fast(lab, file, from, clone(&operation)) } else { None };
    let result = fast.unwrap_or_else(|| {
        operation.irp_flags = IRP_WRITE_OPERATION | IRP_DEFER_IO_COMPLETION;
        if file.has_flags(FO_NO_INTERMEDIATE_BUFFERING) {
            operation.irp_flags |= IRP_NOCACHE;
        }
        send(lab, file, from, operation)
    });
    buffer.free(lab);
    result
}

/// Reads as memory management brings a page in: past cleanup, whatever access the file object has.
pub(crate) fn paging_read(
    lab: &Executive,
    file: &Rc<File>,
    offset: i64,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, Place::System, length, &[]);
    let mut operation = Operation::irp(IRP_MJ_READ, file.pointer());
    operation.parameters = FLT_PARAMETERS { Read: read_write(length, 0, offset, &buffer) };
    operation.irp_flags =
        IRP_NOCACHE | IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO | IRP_SYNCHRONOUS_API | IRP_READ_OPERATION;
    let from = From { mode: Mode::Kernel, below: None, generated: false };
    let result = send(lab, file, &from, operation);
    let data = if result.Status >= 0 { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}

/// Writes as memory management flushes a section: from a system thread at APC_LEVEL, past cleanup, whatever access
/// the file object has; with the file acquired for it.
pub(crate) fn paging_write(lab: &Executive, file: &Rc<File>, offset: i64, data: &[u8]) -> IO_STATUS_BLOCK {
    let done = Rc::new(std::cell::Cell::new(None));
    let (slot, file, data) = (done.clone(), file.clone(), data.to_vec());
    lab.spawn_worker("mapped page writer", move |lab| {
        let level = lab.raise_irql(APC_LEVEL);
        let sync = |major| {
            let mut operation = Operation::irp(major, file.pointer());
            operation.form = Form::FsFilter;
            passage::issue(lab, operation, file.ceiling.as_ref()).Status
        };
        let acquired = sync(IRP_MJ_ACQUIRE_FOR_CC_FLUSH);
        if acquired < 0 {
            slot.set(Some(status_block(acquired, 0)));
        } else {
            slot.set(Some(write_pages(lab, &file, offset, &data)));
            sync(IRP_MJ_RELEASE_FOR_CC_FLUSH);
        }
        lab.lower_irql(level);
    });
    lab.block_until("the mapped page writer", None, || done.get().is_some());
    done.get().unwrap_or(status_block(status::UNSUCCESSFUL, 0))
}

fn write_pages(lab: &Executive, file: &Rc<File>, offset: i64, data: &[u8]) -> IO_STATUS_BLOCK {
    let buffer = Buffer::new(lab, Place::System, data.len(), data);
    let mut operation = Operation::irp(IRP_MJ_WRITE, file.pointer());
    operation.parameters = FLT_PARAMETERS { Write: read_write(data.len(), 0, offset, &buffer) };
    operation.irp_flags = IRP_NOCACHE | IRP_PAGING_IO | IRP_SYNCHRONOUS_API;
    let from = From { mode: Mode::Kernel, below: None, generated: false };
    let result = send(lab, file, &from, operation);
    buffer.free(lab);
    result
}

fn clone(operation: &Operation) -> Operation {
    Operation { create: operation.create.clone(), ..*operation }
}

/// Queries file information into `length` bytes.
pub(crate) fn query_information(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    class: u32,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, Place::System, length, &[]);
    let mut operation = Operation::irp(IRP_MJ_QUERY_INFORMATION, file.pointer());
    operation.parameters = FLT_PARAMETERS {
        QueryFileInformation: QUERY_FILE_INFORMATION {
            Length: length as u32,
            Padding1: 0,
            FileInformationClass: class,
            Padding2: 0,
            InfoBuffer: buffer.address(),
        },
    };
    // Basic, standard and network-open information (minifilter-rules §2.2).
    let fast = match class {
        4 | 5 | 34 if from.mode == Mode::User => send_fast(lab, file, from, clone(&operation)),
        _ => None,
    };
    let result = fast.unwrap_or_else(|| {
        operation.irp_flags = 0x10 | IRP_DEFER_IO_COMPLETION;
        send(lab, file, from, operation)
    });
    // STATUS_BUFFER_OVERFLOW is a warning that carries data.
    let answered = result.Status >= 0 || result.Status == status::BUFFER_OVERFLOW;
    let data = if answered { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}

/// What a rename or link carries besides its buffer.
#[derive(Clone, Copy, Default)]
pub(crate) struct Target {
    /// The directory that was opened as the target's parent.
    pub(crate) parent: Option<*mut lab_nt::FILE_OBJECT>,
    pub(crate) replace: bool,
    pub(crate) advance_only: bool,
}

/// Sets file information.
pub(crate) fn set_information(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    class: u32,
    data: &[u8],
    target: Target,
) -> IO_STATUS_BLOCK {
    let buffer = Buffer::new(lab, Place::System, data.len(), data);
    let mut operation = Operation::irp(IRP_MJ_SET_INFORMATION, file.pointer());
    operation.irp_flags = 0x10 | IRP_DEFER_IO_COMPLETION;
    operation.parameters = FLT_PARAMETERS {
        SetFileInformation: SET_FILE_INFORMATION {
            Length: data.len() as u32,
            Padding1: 0,
            FileInformationClass: class,
            Padding2: 0,
            ParentOfTarget: target.parent.map_or(std::ptr::null_mut(), <*mut _>::cast),
            ReplaceIfExists: u8::from(target.replace),
            AdvanceOnly: u8::from(target.advance_only),
            Padding3: [0; 6],
            InfoBuffer: buffer.address(),
        },
    };
    let result = send(lab, file, from, operation);
    buffer.free(lab);
    result
}

/// Flushes.
pub(crate) fn flush(lab: &Executive, file: &Rc<File>, from: &From) -> IO_STATUS_BLOCK {
    let mut operation = Operation::irp(IRP_MJ_FLUSH_BUFFERS, file.pointer());
    operation.irp_flags = IRP_SYNCHRONOUS_API;
    send(lab, file, from, operation)
}

/// Queries volume information.
pub(crate) fn query_volume(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    class: u32,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, Place::System, length, &[]);
    let mut operation = Operation::irp(IRP_MJ_QUERY_VOLUME_INFORMATION, file.pointer());
    operation.irp_flags = 0x10 | IRP_DEFER_IO_COMPLETION;
    operation.parameters = FLT_PARAMETERS {
        QueryVolumeInformation: VOLUME_INFORMATION {
            Length: length as u32,
            Padding1: 0,
            FsInformationClass: class,
            Padding2: 0,
            VolumeBuffer: buffer.address(),
        },
    };
    let result = send(lab, file, from, operation);
    let answered = result.Status >= 0 || result.Status == status::BUFFER_OVERFLOW;
    let data = if answered { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}

/// One directory query. `flags` are `SL_*`.
pub(crate) fn query_directory(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    class: u32,
    pattern: Option<&[u16]>,
    flags: u8,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, from.place(), length, &[]);
    let name = pattern.map(|units| {
        let string = super::file::counted(lab, units, b"IoPt");
        let at = lab.allocate_own(size_of::<UNICODE_STRING>(), b"IoPs");
        crate::memory::write(at.cast(), string);
        (at, string.Buffer)
    });
    let mut operation = Operation::irp(IRP_MJ_DIRECTORY_CONTROL, file.pointer());
    operation.minor = 1;
    operation.operation_flags = flags;
    operation.irp_flags = IRP_DEFER_IO_COMPLETION;
    operation.parameters = FLT_PARAMETERS {
        DirectoryControl: QUERY_DIRECTORY {
            Length: length as u32,
            Padding1: 0,
            FileName: name.map_or(std::ptr::null_mut(), |(at, _)| at.cast()),
            FileInformationClass: class,
            Padding2: 0,
            FileIndex: 0,
            Padding3: 0,
            DirectoryBuffer: buffer.address(),
            MdlAddress: std::ptr::null_mut(),
        },
    };
    let result = send(lab, file, from, operation);
    let answered = result.Status >= 0 || result.Status == status::BUFFER_OVERFLOW;
    let data = if answered { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    if let Some((at, units)) = name {
        lab.free_own(at);
        if !units.is_null() {
            lab.free_own(units.cast());
        }
    }
    buffer.free(lab);
    (result, data)
}

/// Asks for changes in a directory, and waits for them. `flags` are `SL_*`.
pub(crate) fn notify_directory(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    filter: u32,
    flags: u8,
    length: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, from.place(), length, &[]);
    let mut operation = Operation::irp(IRP_MJ_DIRECTORY_CONTROL, file.pointer());
    operation.minor = 2;
    operation.operation_flags = flags;
    operation.parameters = FLT_PARAMETERS {
        NotifyDirectory: NOTIFY_DIRECTORY {
            Length: length as u32,
            Padding1: 0,
            CompletionFilter: filter,
            Padding2: 0,
            Spare1: 0,
            Padding3: 0,
            Spare2: 0,
            Padding4: 0,
            DirectoryBuffer: buffer.address(),
            MdlAddress: std::ptr::null_mut(),
        },
    };
    let result = send(lab, file, from, operation);
    let data = if result.Status >= 0 { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}

/// Cancels what this process has under way on a file object (NtCancelIoFileEx without a request). False if there is nothing.
pub(crate) fn cancel(lab: &Executive, file: &File) -> bool {
    let own = lab.thread().process().map(|process| process.id);
    let flt = lab.flt();
    let active = flt.active.borrow();
    let under_way = |request: &&Rc<Request>| {
        request.form == Form::Irp && request.file == file.pointer() && Some(request.process.id) == own
    };
    let found = active.iter().filter(under_way);
    found.map(|request| request.cancelled.set(true)).count() > 0
}

/// A file system control.
pub(crate) fn control(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    code: u32,
    input: &[u8],
    output: usize,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    // Method in the two lowest bits: 0 buffered; 3 neither, both user addresses.
    let neither = code & 3 == 3;
    let place = if neither { from.place() } else { Place::System };
    let input_buffer =
        Buffer::new(lab, place, if neither { input.len() } else { input.len().max(output) }, input);
    let output_buffer =
        if neither { Buffer::new(lab, place, output, &[]) } else { Buffer::new(lab, place, 0, &[]) };
    let mut operation = Operation::irp(IRP_MJ_FILE_SYSTEM_CONTROL, file.pointer());
    operation.parameters = FLT_PARAMETERS {
        FileSystemControl: CONTROL {
            OutputBufferLength: output as u32,
            Padding1: 0,
            InputBufferLength: input.len() as u32,
            Padding2: 0,
            ControlCode: code,
            Padding3: 0,
            InputBuffer: input_buffer.address(),
            OutputBuffer: output_buffer.address(),
            MdlAddress: std::ptr::null_mut(),
        },
    };
    let mount = file.mount;
    let result = send(lab, file, from, operation);
    super::dismount::after_dismount(lab, mount);
    let answered = result.Status >= 0 || result.Status == status::BUFFER_OVERFLOW;
    let len = if answered { result.Information.min(output) } else { 0 };
    let data = if neither { output_buffer.contents(len) } else { input_buffer.contents(len) };
    input_buffer.free(lab);
    output_buffer.free(lab);
    (result, data)
}

/// Parameters of a lock request; `length` points at the range's length.
pub(crate) fn lock_parameters(length: *mut i64, offset: i64, flags: u8) -> LOCK_CONTROL {
    LOCK_CONTROL {
        Length: length,
        Key: 0,
        Padding1: 0,
        ByteOffset: offset,
        ProcessId: std::ptr::null_mut(),
        FailImmediately: flags & 1,
        ExclusiveLock: flags >> 1 & 1,
        Padding2: [0; 6],
    }
}

/// Locks or unlocks a byte range: minor 1 locks, 2 unlocks.
pub(crate) fn lock(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    minor: u8,
    range: (i64, i64),
    exclusive: bool,
    fail_immediately: bool,
) -> IO_STATUS_BLOCK {
    let length: *mut i64 = lab.allocate_own(8, b"IoLk").cast();
    crate::memory::write(length, range.1);
    let flags = u8::from(fail_immediately) | u8::from(exclusive) << 1;
    let mut parameters = lock_parameters(length, range.0, flags);
    parameters.ProcessId =
        lab.thread().process().map_or(std::ptr::null_mut(), |process| process.eprocess.cast());
    let mut operation = Operation::irp(IRP_MJ_LOCK_CONTROL, file.pointer());
    operation.minor = minor;
    operation.operation_flags = flags;
    operation.parameters = FLT_PARAMETERS { LockControl: parameters };
    let fast = send_fast(lab, file, from, clone(&operation));
    let result = fast.unwrap_or_else(|| {
        // Its flags say it; who goes by members that are not meaningful here is to be found out (minifilter-rules §2.2).
        parameters.FailImmediately = 0;
        parameters.ExclusiveLock = 0;
        operation.parameters = FLT_PARAMETERS { LockControl: parameters };
        send(lab, file, from, operation)
    });
    if minor == 1 && result.Status >= 0 {
        file.update(|object| object.LockOperation = 1);
    }
    lab.free_own(length.cast());
    result
}

/// Queries or sets EAs or security through a user buffer; `fill` builds the parameters from the buffer's address.
pub(crate) fn with_buffer(
    lab: &Executive,
    file: &Rc<File>,
    from: &From,
    major: u8,
    contents: &[u8],
    length: usize,
    fill: impl FnOnce(PVOID) -> FLT_PARAMETERS,
) -> (IO_STATUS_BLOCK, Vec<u8>) {
    let buffer = Buffer::new(lab, from.place(), length.max(contents.len()), contents);
    let mut operation = Operation::irp(major, file.pointer());
    operation.parameters = fill(buffer.address());
    let result = send(lab, file, from, operation);
    let answered = result.Status >= 0 || result.Status == status::BUFFER_OVERFLOW;
    let data = if answered { buffer.contents(result.Information.min(length)) } else { Vec::new() };
    buffer.free(lab);
    (result, data)
}
