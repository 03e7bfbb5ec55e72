//! Requests that filters make.

use fltkernel::*;
use lab_executive::imports;
use lab_executive::{Mode, status};

use crate::flt::generated::{self, CreateArguments};
use crate::memory;
use crate::rooms::Rooms;

/// Completion routines make a read or write asynchronous, which the lab does not do.
fn no_callback(lab: &lab_executive::Lab, callback: PVOID) {
    if !callback.is_null() {
        lab.report(
            "not-modelled",
            "lab: FltReadFile and FltWriteFile are synchronous",
            "passes a completion routine",
        );
    }
}

/// `FLTFL_IO_OPERATION_DO_NOT_UPDATE_BYTE_OFFSET`; the other flags ask for paths that the lab does not have.
const DO_NOT_UPDATE_BYTE_OFFSET: u32 = 0x4;

/// Runs a read or write; the file object's position moves as the flags say.
fn at_position(
    lab: &lab_executive::Lab,
    file: PFILE_OBJECT,
    flags: u32,
    request: impl FnOnce() -> i32,
) -> i32 {
    if flags & !DO_NOT_UPDATE_BYTE_OFFSET != 0 {
        lab.report(
            "not-modelled",
            "lab: FltReadFile and FltWriteFile are cached",
            format!("passes flags {flags:#x}"),
        );
    }
    let file = lab.io().file(lab, file);
    let position = file.position();
    let status = request();
    if flags & DO_NOT_UPDATE_BYTE_OFFSET != 0 {
        file.set_position(position);
    }
    status
}

imports! {
    /// Requests that filters make.
    pub static REQUESTS in "FLTMGR.SYS";

    /// Opens below the instance.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0022, 0xC000_0043, 0xC01C_000B), source: "minifilter-rules §1.9; txf-ktm §2"]
    fn FltCreateFileEx2(
        lab; Filter: PFLT_FILTER, Instance: PFLT_INSTANCE, FileHandle: *mut HANDLE, FileObject: *mut PFILE_OBJECT,
        DesiredAccess: u32, ObjectAttributes: POBJECT_ATTRIBUTES, IoStatusBlock: PIO_STATUS_BLOCK,
        AllocationSize: *mut i64, FileAttributes: u32, ShareAccess: u32, CreateDisposition: u32, CreateOptions: u32,
        EaBuffer: PVOID, EaLength: u32, Flags: u32, DriverContext: PIO_DRIVER_CREATE_CONTEXT,
    ) -> NTSTATUS {
        let flt = lab.flt();
        flt.filter(lab, Filter);
        let instance = (!Instance.is_null()).then(|| flt.instance(lab, Instance));
        let arguments = CreateArguments {
            handle: FileHandle,
            file: FileObject,
            access: DesiredAccess,
            attributes: ObjectAttributes.cast_const().cast(),
            iosb: IoStatusBlock,
            allocation: AllocationSize,
            file_attributes: FileAttributes,
            share: ShareAccess,
            disposition: CreateDisposition,
            options: CreateOptions,
            ea: (EaBuffer, EaLength),
            flags: Flags,
            context: DriverContext.cast_const().cast(),
        };
        generated::create_file(lab, instance.as_ref(), &arguments)
    }

    /// Closes a handle of FltCreateFileEx2; the cleanup of the last one comes from the system process. Always succeeds
    /// for a good handle, so no fault plan makes it fail.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "minifilter-rules §1.9, §2.6"]
    fn FltClose(lab; FileHandle: HANDLE) -> NTSTATUS {
        generated::check_top_level(lab, "FltClose");
        match lab.close_handle(FileHandle.addr(), Mode::Kernel) {
            Ok(()) => status::SUCCESS,
            Err(status) => status,
        }
    }

    /// Takes an open back in post-create.
    [ceiling: PASSIVE_LEVEL, Modelled, source: "minifilter-rules §1.9"]
    fn FltCancelFileOpen(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT) {
        let instance = lab.flt().instance(lab, Instance);
        generated::cancel_open(lab, &instance, FileObject)
    }

    /// Reads, for instances below.
    [ceiling: PASSIVE_LEVEL, Approximated("synchronous only"), fails: Status, source: "minifilter-rules §2.6"]
    fn FltReadFile(lab; InitiatingInstance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, ByteOffset: *mut i64, Length: u32, Buffer: PVOID, Flags: u32, BytesRead: *mut u32, CallbackRoutine: PVOID, CallbackContext: PVOID) -> NTSTATUS {
        let _ = CallbackContext;
        no_callback(lab, CallbackRoutine);
        let instance = lab.flt().instance(lab, InitiatingInstance);
        at_position(lab, FileObject, Flags, || {
            generated::read(lab, &instance, FileObject, ByteOffset, (Buffer, Length), BytesRead)
        })
    }

    /// Writes, for instances below.
    [ceiling: PASSIVE_LEVEL, Approximated("synchronous only"), fails: Status, source: "minifilter-rules §2.6"]
    fn FltWriteFile(lab; InitiatingInstance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, ByteOffset: *mut i64, Length: u32, Buffer: PVOID, Flags: u32, BytesWritten: *mut u32, CallbackRoutine: PVOID, CallbackContext: PVOID) -> NTSTATUS {
        let _ = CallbackContext;
        no_callback(lab, CallbackRoutine);
        let instance = lab.flt().instance(lab, InitiatingInstance);
        at_position(lab, FileObject, Flags, || {
            generated::write(lab, &instance, FileObject, ByteOffset, (Buffer, Length), BytesWritten)
        })
    }

    /// Queries file information, for instances below.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B, 0xC000_026E), source: "minifilter-rules §2.6"]
    fn FltQueryInformationFile(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FileInformation: PVOID, Length: u32, FileInformationClass: u32, LengthReturned: *mut u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        generated::query(lab, &instance, FileObject, (FileInformation, Length), FileInformationClass, LengthReturned)
    }

    /// Sets file information, for instances below.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC01C_000B, 0xC000_026E, 0xC000_0121), source: "minifilter-rules §2.6"]
    fn FltSetInformationFile(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FileInformation: PVOID, Length: u32, FileInformationClass: u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        generated::set(lab, &instance, FileObject, (FileInformation, Length), FileInformationClass)
    }

    /// Queries volume information.
    [ceiling: PASSIVE_LEVEL, Approximated("lower instances see an open of the volume as well"), fails: Status(0xC000_009A, 0xC01C_000B, 0xC000_026E), source: "fltkernel/FltQueryVolumeInformation"]
    fn FltQueryVolumeInformation(lab; Instance: PFLT_INSTANCE, Iosb: PIO_STATUS_BLOCK, FsInformation: PVOID, Length: u32, FsInformationClass: u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        generated::query_volume(lab, &instance, Iosb, (FsInformation, Length), FsInformationClass)
    }

    /// Flushes, for instances below.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_0185, 0xC000_007F, 0xC000_026E), source: "minifilter-rules §2.6"]
    fn FltFlushBuffers(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        generated::flush(lab, &instance, FileObject)
    }

    /// A file system control, for instances below.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "minifilter-rules §2.6"]
    fn FltFsControlFile(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, FsControlCode: u32, InputBuffer: PVOID, InputBufferLength: u32, OutputBuffer: PVOID, OutputBufferLength: u32, LengthReturned: *mut u32) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        let (input, output) = ((InputBuffer, InputBufferLength), (OutputBuffer, OutputBufferLength));
        generated::control(lab, &instance, FileObject, FsControlCode, input, output, LengthReturned)
    }

    /// Makes callback data for an operation of the filter's own, to be sent below the instance.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "fltkernel/FltAllocateCallbackData; minifilter-rules §2.6"]
    fn FltAllocateCallbackData(lab; Instance: PFLT_INSTANCE, FileObject: PFILE_OBJECT, RetNewCallbackData: *mut *mut FLT_CALLBACK_DATA) -> NTSTATUS {
        let instance = lab.flt().instance(lab, Instance);
        lab.io().file(lab, FileObject);
        memory::write(RetNewCallbackData, lab.flt().own_data.allocate(lab, instance, FileObject));
        status::SUCCESS
    }

    /// Frees it.
    [ceiling: APC_LEVEL, Modelled, source: "fltkernel/FltFreeCallbackData"]
    fn FltFreeCallbackData(lab; CallbackData: *mut FLT_CALLBACK_DATA) {
        lab.flt().own_data.free(lab, CallbackData)
    }

    /// Sends it, for instances below, and waits for its end.
    [ceiling: PASSIVE_LEVEL, Approximated("serves IRP_MJ_LOCK_CONTROL only; its owner is the process that the thread is attached to, as for every request (txf-ktm §8.3)"), source: "fltkernel/FltPerformSynchronousIo"]
    fn FltPerformSynchronousIo(lab; CallbackData: *mut FLT_CALLBACK_DATA) {
        generated::check_top_level(lab, "FltPerformSynchronousIo");
        lab.flt().own_data.perform(lab, CallbackData)
    }

    /// Whether an open file object is a directory.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "fltkernel/FltIsDirectory"]
    fn FltIsDirectory(lab; FileObject: PFILE_OBJECT, Instance: PFLT_INSTANCE, IsDirectory: *mut BOOLEAN) -> NTSTATUS {
        lab.flt().instance(lab, Instance);
        let file = lab.io().file(lab, FileObject);
        if file.open.get().is_none() {
            return status::INVALID_PARAMETER;
        }
        memory::write(IsDirectory, u8::from(file.directory.get()));
        status::SUCCESS
    }
}
