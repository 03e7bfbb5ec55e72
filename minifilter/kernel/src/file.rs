//! File objects, and files that a filter opens below itself.

use core::marker::PhantomData;
use core::mem::{MaybeUninit, size_of};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

use fltkernel::*;
use wdk_sys::ntddk::{
    FsRtlGetFileSize, IoGetCurrentProcess, IoGetTransactionParameterBlock, ObDereferenceObjectDeferDelete,
    ObReferenceObjectByHandle, ObfDereferenceObject, ObfReferenceObject,
};
use wdk_sys::{
    FILE_OBJECT, LARGE_INTEGER, OBJECT_ATTRIBUTES, OBJECT_HANDLE_INFORMATION, TXN_PARAMETER_BLOCK,
};
use widestring::U16Str;

use crate::callback::{Callback, LockRange};
use crate::instance::Instance;
use crate::object::OBJ_KERNEL_HANDLE;
use crate::transaction::TransactionRef;
use crate::{Result, Status, ffi, filter, string};

/// A file object, for as long as a callback or a reference vouches for it.
#[derive(Clone, Copy)]
pub struct FileObject<'a> {
    raw: NonNull<core::ffi::c_void>,
    life: PhantomData<&'a ()>,
}

/// `FO_SYNCHRONOUS_IO`: one operation at a time, with a current position.
const FO_SYNCHRONOUS_IO: u32 = 0x0000_0002;

const IRP_MN_LOCK: u8 = 1;
const IRP_MN_UNLOCK_ALL: u8 = 3;
/// Of a request for a lock: it does not wait.
pub(crate) const SL_FAIL_IMMEDIATELY: u8 = 1;
/// Of a request for a lock: nobody else may lock the range.
pub(crate) const SL_EXCLUSIVE_LOCK: u8 = 2;

const FILE_BASIC_INFORMATION: u32 = 4;
const FILE_STANDARD_INFORMATION: u32 = 5;
const FILE_INTERNAL_INFORMATION: u32 = 6;
const FILE_DISPOSITION_INFORMATION: u32 = 13;

impl<'a> FileObject<'a> {
    /// # Safety
    /// A valid file object that outlives `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<core::ffi::c_void>) -> Self {
        FileObject { raw, life: PhantomData }
    }

    #[inline]
    pub(crate) fn raw(self) -> PFILE_OBJECT {
        self.raw.as_ptr()
    }

    pub(crate) fn object(self) -> NonNull<FILE_OBJECT> {
        self.raw.cast()
    }

    /// `FO_*`. Any IRQL.
    pub fn flags(self) -> u32 {
        // SAFETY: alive; read through a pointer, as others may write.
        unsafe { (&raw const (*self.object().as_ptr()).Flags).read_volatile() }
    }

    /// Whether it has a current position that operations move.
    pub fn is_synchronous(self) -> bool {
        self.flags() & FO_SYNCHRONOUS_IO != 0
    }

    /// Its current position. Any IRQL.
    pub fn position(self) -> i64 {
        // SAFETY: alive; a number.
        unsafe { (&raw const (*self.object().as_ptr()).CurrentByteOffset.QuadPart).read_volatile() }
    }

    /// Moves its current position. Any IRQL; by whoever serves the operation that moves it.
    pub fn set_position(self, position: i64) {
        // SAFETY: alive; the operation that we serve is the only one on a synchronous file object.
        unsafe { (&raw mut (*self.object().as_ptr()).CurrentByteOffset.QuadPart).write_volatile(position) };
    }

    /// Whether its name is relative to another file object's. In pre-create.
    pub fn is_relative(self) -> bool {
        // SAFETY: alive; a pointer that is only compared.
        unsafe { !(*self.object().as_ptr()).RelatedFileObject.is_null() }
    }

    /// Whether it was opened inside a transaction. Any IRQL.
    pub fn is_transacted(self) -> bool {
        // SAFETY: alive.
        unsafe { !IoGetTransactionParameterBlock(self.object().as_ptr()).is_null() }
    }

    /// Its size, from the file system's cache. PASSIVE_LEVEL.
    pub fn size(self) -> Result<i64> {
        let mut size = LARGE_INTEGER { QuadPart: 0 };
        // SAFETY: an opened file object, an out pointer.
        Status(unsafe { FsRtlGetFileSize(self.object().as_ptr(), &mut size) }).ok()?;
        // SAFETY: written by the call.
        Ok(unsafe { size.QuadPart })
    }

    fn query<T>(self, instance: Instance<'_>, class: u32) -> Result<T> {
        let mut answer = MaybeUninit::<T>::zeroed();
        // SAFETY: live objects, a buffer of the length given.
        Status(unsafe {
            ffi::FltQueryInformationFile(
                instance.raw(),
                self.raw(),
                answer.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                class,
                null_mut(),
            )
        })
        .ok()?;
        // SAFETY: `T` is one of the plain structures below; zero is valid, and the call filled it.
        Ok(unsafe { answer.assume_init() })
    }

    fn set<T>(self, instance: Instance<'_>, class: u32, mut value: T) -> Result<()> {
        // SAFETY: live objects, a buffer of the length given.
        Status(unsafe {
            ffi::FltSetInformationFile(
                instance.raw(),
                self.raw(),
                (&raw mut value).cast(),
                size_of::<T>() as u32,
                class,
            )
        })
        .ok()
    }

    /// The number of the file on its volume (`FileInternalInformation`), asked below `instance`. PASSIVE_LEVEL.
    pub fn id(self, instance: Instance<'_>) -> Result<u64> {
        self.query::<u64>(instance, FILE_INTERNAL_INFORMATION)
    }

    /// `FILE_ATTRIBUTE_*`, asked below `instance`. PASSIVE_LEVEL.
    pub fn attributes(self, instance: Instance<'_>) -> Result<u32> {
        Ok(self.basic(instance)?.attributes)
    }

    /// Its times and attributes, asked below `instance`. PASSIVE_LEVEL.
    pub fn basic(self, instance: Instance<'_>) -> Result<BasicInformation> {
        self.query(instance, FILE_BASIC_INFORMATION)
    }

    /// Sets its attributes to what they were, and the time of the last change, which a change of attributes moves. PASSIVE_LEVEL.
    /// The other times are left alone: who watches the folder would be told that they were set.
    pub fn restore_attributes(self, instance: Instance<'_>, before: BasicInformation) -> Result<()> {
        let [.., changed] = before.times;
        self.set_basic(instance, BasicInformation { times: [0, 0, 0, changed], ..before })
    }

    fn set_basic(self, instance: Instance<'_>, basic: BasicInformation) -> Result<()> {
        let attributes = some_attribute(basic.attributes);
        self.set(instance, FILE_BASIC_INFORMATION, BasicInformation { attributes, ..basic })
    }

    /// Sets `FILE_ATTRIBUTE_*`; of the times only that of the last change moves. PASSIVE_LEVEL.
    pub fn set_attributes(self, instance: Instance<'_>, attributes: u32) -> Result<()> {
        self.set_basic(instance, BasicInformation { times: [0; 4], attributes, padding: 0 })
    }

    /// Where it ends, asked below `instance`: for a file object outside of transactions, in the last committed version.
    /// PASSIVE_LEVEL.
    pub fn end_of_file(self, instance: Instance<'_>) -> Result<i64> {
        Ok(self.query::<StandardInformation>(instance, FILE_STANDARD_INFORMATION)?.end_of_file)
    }

    /// Whether it goes with its last handle, or has gone already but for its handles; no, if that cannot be told. PASSIVE_LEVEL.
    pub fn is_deleted(self, instance: Instance<'_>) -> bool {
        let standard = self.query::<StandardInformation>(instance, FILE_STANDARD_INFORMATION);
        standard.is_ok_and(|standard| standard.delete_pending != 0 || standard.links == 0)
    }

    /// Whether it is a directory. PASSIVE_LEVEL.
    pub fn is_directory(self, instance: Instance<'_>) -> Result<bool> {
        let mut directory = 0;
        // SAFETY: live objects, an out pointer.
        Status(unsafe { ffi::FltIsDirectory(self.raw(), instance.raw(), &mut directory) }).ok()?;
        Ok(directory != 0)
    }

    /// Makes the file go at the cleanup of its last handle. Rights of the handle do not matter below us. PASSIVE_LEVEL.
    pub fn delete(self, instance: Instance<'_>) -> Result<()> {
        self.set(instance, FILE_DISPOSITION_INFORMATION, 1u8)
    }

    /// Reads at an offset, for those below `instance`; the number of bytes read. The current position stays. PASSIVE_LEVEL.
    /// Fails with `END_OF_FILE` at the end.
    pub fn read(self, instance: Instance<'_>, offset: i64, into: &mut [u8]) -> Result<usize> {
        const DO_NOT_UPDATE_BYTE_OFFSET: u32 = 0x4;
        let mut offset = offset;
        let mut read = 0;
        let length = u32::try_from(into.len()).unwrap_or(u32::MAX);
        // SAFETY: live objects, a buffer of the length given, out pointers; without a callback it is over at return.
        Status(unsafe {
            ffi::FltReadFile(
                instance.raw(),
                self.raw(),
                &mut offset,
                length,
                into.as_mut_ptr().cast(),
                DO_NOT_UPDATE_BYTE_OFFSET,
                &mut read,
                null_mut(),
                null_mut(),
            )
        })
        .ok()?;
        Ok(read as usize)
    }

    /// Sets information of a class that has no structure of its own here. PASSIVE_LEVEL.
    pub(crate) fn set_bytes(self, instance: Instance<'_>, class: u32, value: &mut [u8]) -> Result<()> {
        let length = u32::try_from(value.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: live objects, a buffer of the length given.
        Status(unsafe {
            ffi::FltSetInformationFile(instance.raw(), self.raw(), value.as_mut_ptr().cast(), length, class)
        })
        .ok()
    }

    /// Writes its cached data. PASSIVE_LEVEL.
    pub fn flush(self, instance: Instance<'_>) -> Result<()> {
        // SAFETY: live objects.
        Status(unsafe { ffi::FltFlushBuffers(instance.raw(), self.raw()) }).ok()
    }

    /// Carries out the file system control that the operation `of` asks for, which has no output and whose input is buffered.
    /// PASSIVE_LEVEL. Fails as the file system fails; `INVALID_PARAMETER` if it is no control.
    pub fn control_as(self, instance: Instance<'_>, of: &Callback<'_>) -> Result<()> {
        let (code, input, length) = of.buffered_control().ok_or(Status::INVALID_PARAMETER)?;
        let mut returned = 0;
        // SAFETY: live objects, the I/O manager's copy of the input in system memory, no output, an out pointer.
        Status(unsafe {
            ffi::FltFsControlFile(
                instance.raw(),
                self.raw(),
                code,
                input,
                length,
                null_mut(),
                0,
                &mut returned,
            )
        })
        .ok()
    }

    /// Locks a range, as the process that the current thread is attached to; never waits. PASSIVE_LEVEL. Fails with
    /// `LOCK_NOT_GRANTED`, `INSUFFICIENT_RESOURCES`, and as the file system fails.
    pub fn lock(self, instance: Instance<'_>, range: &LockRange) -> Result<()> {
        self.lock_control(instance, IRP_MN_LOCK, range)
    }

    /// Unlocks all ranges of the process that the current thread is attached to. PASSIVE_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES`, and as the file system fails.
    pub fn unlock_all(self, instance: Instance<'_>) -> Result<()> {
        let nothing = LockRange { offset: 0, length: 0, key: 0, exclusive: false };
        self.lock_control(instance, IRP_MN_UNLOCK_ALL, &nothing)
    }

    fn lock_control(self, instance: Instance<'_>, minor: u8, range: &LockRange) -> Result<()> {
        let mut data = null_mut();
        // SAFETY: live objects, an out pointer.
        Status(unsafe { ffi::FltAllocateCallbackData(instance.raw(), self.raw(), &mut data) }).ok()?;
        let data = NonNull::new(data).ok_or(Status::INSUFFICIENT_RESOURCES)?;
        let mut length = range.length;
        // SAFETY: allocated above and ours until freed; the length outlives the request, which is waited for.
        let status = unsafe {
            let block = &mut *(*data.as_ptr()).Iopb;
            block.MajorFunction = IRP_MJ_LOCK_CONTROL;
            block.MinorFunction = minor;
            block.OperationFlags = SL_FAIL_IMMEDIATELY | if range.exclusive { SL_EXCLUSIVE_LOCK } else { 0 };
            block.Parameters.LockControl = LOCK_CONTROL {
                Length: &mut length,
                Key: range.key,
                Padding1: 0,
                ByteOffset: range.offset,
                ProcessId: IoGetCurrentProcess().cast(),
                FailImmediately: 1,
                ExclusiveLock: u8::from(range.exclusive),
                Padding2: [0; 6],
            };
            ffi::FltPerformSynchronousIo(data.as_ptr());
            let status = Status((*data.as_ptr()).IoStatus.Status);
            ffi::FltFreeCallbackData(data.as_ptr());
            status
        };
        status.ok()
    }

    /// A reference of its own. Up to DISPATCH_LEVEL.
    pub fn reference(self) -> FileRef {
        // SAFETY: alive.
        unsafe { ObfReferenceObject(self.raw.as_ptr().cast()) };
        FileRef(self.raw)
    }

    /// Undoes a successful open in its post-operation, before a handle exists. It does not undo what the open did to
    /// the file (minifilter-rules §1.9). PASSIVE_LEVEL.
    pub fn cancel_open(self, instance: Instance<'_>) {
        // SAFETY: live objects; the caller is in post-create.
        unsafe { ffi::FltCancelFileOpen(instance.raw(), self.raw()) };
    }
}

/// None would mean that the attributes are left as they are (wdm/FILE_BASIC_INFORMATION).
fn some_attribute(attributes: u32) -> u32 {
    const FILE_ATTRIBUTE_NORMAL: u32 = 0x80;
    if attributes == 0 { FILE_ATTRIBUTE_NORMAL } else { attributes }
}

/// `FILE_BASIC_INFORMATION`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct BasicInformation {
    times: [i64; 4],
    /// `FILE_ATTRIBUTE_*`.
    pub attributes: u32,
    padding: u32,
}

/// `FILE_STANDARD_INFORMATION`.
#[repr(C)]
struct StandardInformation {
    allocation_size: i64,
    end_of_file: i64,
    links: u32,
    delete_pending: u8,
    directory: u8,
    padding: [u8; 2],
}

/// The extra create parameters of a create, to be given to another one.
#[derive(Clone, Copy)]
pub struct ExtraParameters<'a> {
    pub(crate) raw: PECP_LIST,
    pub(crate) life: PhantomData<&'a ()>,
}

/// An open of a file below an instance.
pub struct Open<'a> {
    /// The full name: `\Device\HarddiskVolume1\…`.
    pub name: &'a U16Str,
    /// Whether case matters (`SL_CASE_SENSITIVE`).
    pub case_sensitive: bool,
    /// Desired access.
    pub access: u32,
    /// `FILE_SHARE_*`.
    pub share: u32,
    /// `FILE_OPEN`, …
    pub disposition: u32,
    /// `FILE_NON_DIRECTORY_FILE`, …
    pub options: u32,
    /// Attributes, if it creates or overwrites.
    pub attributes: u32,
    /// First allocation, if it creates or overwrites.
    pub allocation: i64,
    /// Extended attributes, if it creates or overwrites.
    pub ea: &'a [u8],
    /// Check access as for the thread's user. Otherwise all rights are granted.
    pub checked: bool,
    /// Stay out of the share modes of the file.
    pub ignore_share: bool,
    /// Inside this transaction.
    pub transaction: Option<&'a TransactionRef>,
    /// Extra create parameters.
    pub extra: Option<ExtraParameters<'a>>,
}

impl<'a> Open<'a> {
    /// Opens an existing file to look at its attributes, in nobody's way.
    pub fn look(name: &'a U16Str, case_sensitive: bool) -> Self {
        const FILE_READ_ATTRIBUTES: u32 = 0x80;
        const SHARE_ALL: u32 = 7;
        const FILE_OPEN: u32 = 1;
        const FILE_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        const FILE_COMPLETE_IF_OPLOCKED: u32 = 0x0000_0100;
        Open {
            name,
            case_sensitive,
            access: FILE_READ_ATTRIBUTES,
            share: SHARE_ALL,
            disposition: FILE_OPEN,
            options: FILE_OPEN_REPARSE_POINT | FILE_COMPLETE_IF_OPLOCKED,
            attributes: 0,
            allocation: 0,
            ea: &[],
            checked: false,
            ignore_share: false,
            transaction: None,
            extra: None,
        }
    }
}

/// `IO_DRIVER_CREATE_CONTEXT`, with the member that older headers lack.
#[repr(C)]
struct DriverCreateContext {
    size: u16,
    extra: PECP_LIST,
    device_hint: PVOID,
    transaction: *mut TXN_PARAMETER_BLOCK,
    silo: PVOID,
}
const _: () = assert!(size_of::<DriverCreateContext>() == 40);

/// `IO_USE_AMBIENT_SILO`, which the inline `IoInitializeDriverCreateContext` sets (minifilter-rules §1.9).
const AMBIENT_SILO: PVOID = 1 as PVOID;
/// The view that is dirty where this transaction modifies the file (txf-ktm §2).
const TXF_DEFAULT_VIEW: u16 = 0xFFFE;

const OBJ_CASE_INSENSITIVE: u32 = 0x0040;
const OBJ_FORCE_ACCESS_CHECK: u32 = 0x0400;

/// What an [`Open`] gave.
pub struct Opened {
    /// The file.
    pub file: LowerFile,
    /// The status, which may be another success than `SUCCESS` (`OPLOCK_BREAK_IN_PROGRESS`).
    pub status: Status,
    /// `FILE_OPENED`, `FILE_CREATED`, …
    pub information: usize,
    /// The rights of the handle.
    pub granted: u32,
}

impl Open<'_> {
    /// Opens it. Only filters below `instance` and the file system see it. PASSIVE_LEVEL, not inside a file system
    /// (minifilter-rules §1.9). Never answers `REPARSE`.
    pub fn open(&self, filter: filter::Handle, instance: Instance<'_>) -> Result<Opened> {
        let mut name = string::unicode(self.name)?;
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: null_mut(),
            ObjectName: &mut name,
            Attributes: OBJ_KERNEL_HANDLE
                | if self.case_sensitive { 0 } else { OBJ_CASE_INSENSITIVE }
                | if self.checked { OBJ_FORCE_ACCESS_CHECK } else { 0 },
            SecurityDescriptor: null_mut(),
            SecurityQualityOfService: null_mut(),
        };
        let mut transaction = self.transaction.map(|transaction| TXN_PARAMETER_BLOCK {
            Length: size_of::<TXN_PARAMETER_BLOCK>() as u16,
            TxFsContext: TXF_DEFAULT_VIEW,
            TransactionObject: transaction.raw(),
        });
        let mut context = DriverCreateContext {
            size: size_of::<DriverCreateContext>() as u16,
            extra: self.extra.map_or(null_mut(), |extra| extra.raw),
            device_hint: null_mut(),
            transaction: transaction.as_mut().map_or(null_mut(), core::ptr::from_mut),
            silo: AMBIENT_SILO,
        };
        let mut allocation = self.allocation;
        let mut handle = null_mut();
        let mut object = null_mut();
        let mut io = MaybeUninit::<IO_STATUS_BLOCK>::zeroed();
        let ea = if self.ea.is_empty() { null_mut() } else { self.ea.as_ptr().cast_mut().cast() };
        // SAFETY: live filter and instance; every pointer is to a local or to what `self` borrows; the callee copies
        // the name and the extended attributes before it returns.
        let status = Status(unsafe {
            ffi::FltCreateFileEx2(
                filter.raw(),
                instance.raw(),
                &mut handle,
                &mut object,
                self.access,
                (&raw mut attributes).cast(),
                io.as_mut_ptr(),
                if self.allocation == 0 { null_mut() } else { &mut allocation },
                self.attributes,
                self.share,
                self.disposition,
                self.options,
                ea,
                self.ea.len() as u32,
                if self.checked { IO_FORCE_ACCESS_CHECK } else { 0 }
                    | if self.ignore_share { IO_IGNORE_SHARE_ACCESS_CHECK } else { 0 },
                (&raw mut context).cast(),
            )
        });
        if !status.is_success() {
            return Err(status);
        }
        // SAFETY: zeroed, and written on success.
        let information = unsafe { io.assume_init() }.Information;
        let object = NonNull::new(object).ok_or(Status::UNSUCCESSFUL)?;
        let file = LowerFile { handle: AtomicPtr::new(handle), object };
        let granted = granted_access(handle)?;
        Ok(Opened { file, status, information, granted })
    }
}

/// The rights that a kernel handle has. PASSIVE_LEVEL.
fn granted_access(handle: HANDLE) -> Result<u32> {
    let mut object = null_mut();
    let mut information = OBJECT_HANDLE_INFORMATION { HandleAttributes: 0, GrantedAccess: 0 };
    // SAFETY: a kernel handle that we own; any type will do; out pointers.
    Status(unsafe {
        ObReferenceObjectByHandle(
            handle.cast(),
            0,
            null_mut(),
            wdk_sys::_MODE::KernelMode as _,
            &mut object,
            &mut information,
        )
    })
    .ok()?;
    // SAFETY: the reference that we just got.
    unsafe { ObfDereferenceObject(object) };
    Ok(information.GrantedAccess)
}

/// A counted reference to a file object, which keeps it for an operation that was sent to it.
pub struct FileRef(NonNull<core::ffi::c_void>);

// SAFETY: a counted reference, valid in every thread.
unsafe impl Send for FileRef {}
// SAFETY: as above.
unsafe impl Sync for FileRef {}

impl FileRef {
    /// The file object.
    pub fn object(&self) -> FileObject<'_> {
        // SAFETY: referenced for the borrow.
        unsafe { FileObject::from_raw(self.0) }
    }
}

impl Drop for FileRef {
    fn drop(&mut self) {
        // SAFETY: our reference; up to DISPATCH_LEVEL.
        unsafe { ObDereferenceObjectDeferDelete(self.0.as_ptr().cast()) };
    }
}

/// A file that was opened below: a kernel handle and a reference to its file object.
///
/// The two end apart: [`Self::close`] closes the handle (the file system's cleanup), dropping gives the reference back
/// (its close, when operations are over).
pub struct LowerFile {
    handle: AtomicPtr<core::ffi::c_void>,
    object: NonNull<core::ffi::c_void>,
}

// SAFETY: a kernel handle and a counted reference, valid in every thread.
unsafe impl Send for LowerFile {}
// SAFETY: as above.
unsafe impl Sync for LowerFile {}

impl LowerFile {
    /// Its file object.
    #[inline]
    pub fn object(&self) -> FileObject<'_> {
        // SAFETY: referenced as long as `self` lives.
        unsafe { FileObject::from_raw(self.object) }
    }

    /// Closes the handle, once. PASSIVE_LEVEL.
    pub fn close(&self) {
        let handle = self.handle.swap(null_mut(), Ordering::AcqRel);
        if !handle.is_null() {
            // SAFETY: our handle, taken out so that nobody closes it again. Failure would mean that it is none.
            let _ = unsafe { ffi::FltClose(handle) };
        }
    }

    pub(crate) fn handle(&self) -> HANDLE {
        self.handle.load(Ordering::Acquire)
    }

    /// Whether the handle is still open.
    pub fn is_open(&self) -> bool {
        !self.handle.load(Ordering::Acquire).is_null()
    }
}

impl Drop for LowerFile {
    /// PASSIVE_LEVEL while the handle is open, up to DISPATCH_LEVEL after [`LowerFile::close`].
    fn drop(&mut self) {
        self.close();
        // SAFETY: the reference that the open gave.
        unsafe { ObfDereferenceObject(self.object.as_ptr().cast()) };
    }
}
