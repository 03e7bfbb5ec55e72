//! Operations: what a callback sees, and how its answer goes back.
//!
//! An operation is a type with two functions: [`Operation::before`] may pass, complete or refuse it, or watch it with
//! something to carry; [`Operation::after`] gets what was carried. Neither touches a pointer.

use core::marker::PhantomData;
use core::ptr::{NonNull, null_mut};

use fltkernel::*;

use crate::context::{Context, ContextRef};
use crate::file::{ExtraParameters, FileObject, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY};
use crate::instance::{Instance, Volume};
use crate::pool::{PoolBox, Tag};
use crate::{Status, ffi};

/// What is carried from before an operation to after it.
pub trait Carry: Sized {
    /// The pointer that the Filter Manager keeps.
    fn into_raw(self) -> PVOID;
    /// Takes it back.
    ///
    /// # Safety
    /// From [`Self::into_raw`], used once.
    unsafe fn from_raw(raw: PVOID) -> Option<Self>;
}

impl Carry for () {
    fn into_raw(self) -> PVOID {
        null_mut()
    }
    unsafe fn from_raw(_: PVOID) -> Option<Self> {
        Some(())
    }
}

impl<T: Context> Carry for ContextRef<T> {
    fn into_raw(self) -> PVOID {
        ContextRef::into_raw(self)
    }
    unsafe fn from_raw(raw: PVOID) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { ContextRef::from_raw(raw) }
    }
}

/// One of two things, told apart by a bit of the pointer: both are pointers to memory that is aligned to twice that. One in
/// another has another bit.
pub enum Either<A, B, const BIT: usize = 1> {
    /// The one.
    First(A),
    /// The other.
    Second(B),
}

impl<A: Carry, B: Carry, const BIT: usize> Carry for Either<A, B, BIT> {
    fn into_raw(self) -> PVOID {
        match self {
            Either::First(first) => first.into_raw(),
            Either::Second(second) => second.into_raw().map_addr(|address| address | BIT),
        }
    }
    unsafe fn from_raw(raw: PVOID) -> Option<Self> {
        if raw.addr() & BIT == 0 {
            // SAFETY: the caller's promise; without the bit it was made from an `A`.
            unsafe { A::from_raw(raw) }.map(Either::First)
        } else {
            // SAFETY: as above, from a `B`; the bit is taken away again.
            unsafe { B::from_raw(raw.map_addr(|address| address & !BIT)) }.map(Either::Second)
        }
    }
}

/// A value in pool, with its tag beside it so that one pointer is enough.
pub struct Parcel<T> {
    content: PoolBox<(Tag, T)>,
}

impl<T> Parcel<T> {
    /// Packs a value. Up to DISPATCH_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(tag: Tag, value: T) -> crate::Result<Self> {
        Ok(Parcel { content: PoolBox::new(tag, (tag, value))? })
    }

    /// The value; its memory is freed.
    pub fn unpack(self) -> T {
        self.content.into_inner().1
    }
}

impl<T> core::ops::Deref for Parcel<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.content.1
    }
}

impl<T> core::ops::DerefMut for Parcel<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.content.1
    }
}

impl<T> Carry for Parcel<T> {
    fn into_raw(self) -> PVOID {
        self.content.into_raw().0.as_ptr().cast()
    }
    unsafe fn from_raw(raw: PVOID) -> Option<Self> {
        let memory = NonNull::new(raw.cast::<(Tag, T)>())?;
        // SAFETY: from `into_raw`, so initialised.
        let tag = unsafe { memory.as_ref() }.0;
        // SAFETY: the pair that `PoolBox::into_raw` gave.
        Some(Parcel { content: unsafe { PoolBox::from_raw(memory, tag) } })
    }
}

/// The answer before an operation.
pub enum Before<C> {
    /// Go on; the outcome does not matter.
    Pass,
    /// Go on, and come back with this.
    Watch(C),
    /// As [`Before::Watch`], and [`Operation::after`] runs in this thread, up to APC_LEVEL. Not for creates, which do
    /// so anyway, nor for what may stay pending for ever (§2.4).
    Synchronize(C),
    /// Done, with this status and information. Nobody below sees it.
    Complete(Status, usize),
    /// Not in this fast form; it comes again as a request. Fast I/O only.
    DisallowFastIo,
    /// Not in this shortcut form. File system filter operations only.
    DisallowShortcut,
}

impl<C> Before<C> {
    /// The same answer, with something else to carry.
    pub fn map<D>(self, change: impl FnOnce(C) -> D) -> Before<D> {
        match self {
            Before::Pass => Before::Pass,
            Before::Watch(carry) => Before::Watch(change(carry)),
            Before::Synchronize(carry) => Before::Synchronize(change(carry)),
            Before::Complete(status, information) => Before::Complete(status, information),
            Before::DisallowFastIo => Before::DisallowFastIo,
            Before::DisallowShortcut => Before::DisallowShortcut,
        }
    }
}

/// One operation of a filter.
pub trait Operation: 'static {
    /// `IRP_MJ_*`.
    const MAJOR: u8;
    /// `FLTFL_OPERATION_REGISTRATION_*`.
    const SKIP: u32 = 0;
    /// Whether [`Self::after`] is wanted at all. `IRP_MJ_SHUTDOWN` cannot have it.
    const WATCHES: bool = true;
    /// Tells whether all of them pass now, whatever they are about. It is asked first, at any IRQL, and an operation that has
    /// nothing to do with the filter costs no more than the answer: no register is saved for what would follow.
    const PASSES: Option<fn() -> bool> = None;
    /// What is carried between the two.
    type Carry: Carry;

    /// Before the operation goes down. PASSIVE or APC_LEVEL (minifilter-rules §2.2).
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry>;

    /// After it came back, if it was watched. Up to DISPATCH_LEVEL; creates PASSIVE_LEVEL (§2.5).
    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        let _ = (data, carry);
    }

    /// The instance goes while the operation was out: only release (§2.5). By default drops the carry.
    fn drained(carry: Self::Carry) {
        drop(carry);
    }
}

/// One line of a filter's operation table.
#[repr(transparent)]
pub struct OperationEntry(FLT_OPERATION_REGISTRATION);

// SAFETY: plain data and function pointers; the reserved pointer is null.
unsafe impl Sync for OperationEntry {}

impl OperationEntry {
    /// The line for `O`.
    pub const fn of<O: Operation>() -> OperationEntry {
        OperationEntry(FLT_OPERATION_REGISTRATION {
            MajorFunction: O::MAJOR,
            Flags: O::SKIP,
            PreOperation: Some(if O::PASSES.is_some() { may_pass::<O> } else { before::<O> }),
            PostOperation: if O::WATCHES { Some(after::<O>) } else { None },
            Reserved1: null_mut(),
        })
    }

    /// The end of a table.
    pub const END: OperationEntry = OperationEntry(FLT_OPERATION_REGISTRATION {
        MajorFunction: IRP_MJ_OPERATION_END,
        Flags: 0,
        PreOperation: None,
        PostOperation: None,
        Reserved1: null_mut(),
    });

    /// Its `IRP_MJ_*`.
    pub const fn major(&self) -> u8 {
        self.0.MajorFunction
    }

    pub(crate) const fn is_end(&self) -> bool {
        self.0.MajorFunction == IRP_MJ_OPERATION_END
    }
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn may_pass<O: Operation>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    carried: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    if O::PASSES.is_some_and(|passes| passes()) {
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    // SAFETY: as this one is called.
    unsafe { before::<O>(data, objects, carried) }
}

/// # Safety
/// Called by the Filter Manager, or as by it.
#[inline(never)]
unsafe extern "system" fn before<O: Operation>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    carried: *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS {
    // SAFETY: valid for the call.
    let mut data = unsafe { Callback::new(data, objects) };
    match O::before(&mut data) {
        Before::Pass => FLT_PREOP_SUCCESS_NO_CALLBACK,
        Before::Watch(carry) if O::WATCHES => {
            // SAFETY: an out pointer of the Filter Manager.
            unsafe { *carried = carry.into_raw() };
            FLT_PREOP_SUCCESS_WITH_CALLBACK
        }
        Before::Synchronize(carry) if O::WATCHES => {
            // SAFETY: an out pointer of the Filter Manager.
            unsafe { *carried = carry.into_raw() };
            FLT_PREOP_SYNCHRONIZE
        }
        // Without a post-operation callback this would be a bug check (§2.4).
        Before::Watch(_) | Before::Synchronize(_) => FLT_PREOP_SUCCESS_NO_CALLBACK,
        Before::Complete(status, information) => {
            data.set_status(status, information);
            FLT_PREOP_COMPLETE
        }
        Before::DisallowFastIo if data.is_fast_io() => FLT_PREOP_DISALLOW_FASTIO,
        Before::DisallowFastIo => FLT_PREOP_SUCCESS_NO_CALLBACK,
        Before::DisallowShortcut => FLT_PREOP_DISALLOW_FSFILTER_IO,
    }
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn after<O: Operation>(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    carried: PVOID,
    flags: u32,
) -> FLT_POSTOP_CALLBACK_STATUS {
    // SAFETY: what `before` left there.
    let Some(carry) = (unsafe { O::Carry::from_raw(carried) }) else {
        return FLT_POSTOP_FINISHED_PROCESSING;
    };
    if flags & FLTFL_POST_OPERATION_DRAINING != 0 {
        O::drained(carry);
    } else {
        // SAFETY: valid for the call.
        let mut data = unsafe { Callback::new(data, objects) };
        O::after(&mut data, carry);
    }
    FLT_POSTOP_FINISHED_PROCESSING
}

/// An operation, as one callback sees it.
pub struct Callback<'a> {
    data: NonNull<FLT_CALLBACK_DATA>,
    objects: NonNull<FLT_RELATED_OBJECTS>,
    life: PhantomData<&'a mut ()>,
}

impl<'a> Callback<'a> {
    /// # Safety
    /// Both are valid and the parameter block is ours for `'a`.
    unsafe fn new(data: *mut FLT_CALLBACK_DATA, objects: *const FLT_RELATED_OBJECTS) -> Self {
        Callback {
            // SAFETY: valid, so not null.
            data: unsafe { NonNull::new_unchecked(data) },
            // SAFETY: valid, so not null.
            objects: unsafe { NonNull::new_unchecked(objects.cast_mut()) },
            life: PhantomData,
        }
    }

    fn data(&self) -> &FLT_CALLBACK_DATA {
        // SAFETY: valid for `'a`.
        unsafe { self.data.as_ref() }
    }

    fn objects(&self) -> &FLT_RELATED_OBJECTS {
        // SAFETY: valid for `'a`.
        unsafe { self.objects.as_ref() }
    }

    pub(crate) fn block(&self) -> &FLT_IO_PARAMETER_BLOCK {
        // SAFETY: the Filter Manager keeps it valid; fetched anew each time, as it may move (§1.1).
        unsafe { &*self.data().Iopb }
    }

    pub(crate) fn block_mut(&mut self) -> &mut FLT_IO_PARAMETER_BLOCK {
        // SAFETY: as above, and ours to change.
        unsafe { &mut *self.data().Iopb }
    }

    pub(crate) fn raw(&self) -> *mut FLT_CALLBACK_DATA {
        self.data.as_ptr()
    }

    /// Tells the Filter Manager that parameters were changed. Any IRQL.
    pub(crate) fn set_dirty(&mut self) {
        // SAFETY: valid callback data.
        unsafe { ffi::FltSetCallbackDataDirty(self.data.as_ptr()) };
    }

    /// `IRP_MJ_*`.
    pub fn major(&self) -> u8 {
        self.block().MajorFunction
    }

    /// `IRP_MN_*`.
    pub fn minor(&self) -> u8 {
        self.block().MinorFunction
    }

    /// `SL_*`.
    pub fn operation_flags(&self) -> u8 {
        self.block().OperationFlags
    }

    /// `IRP_*`.
    pub fn irp_flags(&self) -> u32 {
        self.block().IrpFlags
    }

    /// Whether it came by the fast I/O path.
    pub fn is_fast_io(&self) -> bool {
        self.data().Flags & FLTFL_CALLBACK_DATA_FAST_IO_OPERATION != 0
    }

    /// Whether kernel code asked for it.
    pub fn is_from_kernel(&self) -> bool {
        self.data().RequestorMode == 0
    }

    /// The thread that asked for it, as an address to compare with.
    pub fn thread(&self) -> usize {
        self.data().Thread as usize
    }

    /// The instance that is called.
    #[inline]
    pub fn instance(&self) -> Instance<'a> {
        // SAFETY: alive for the call.
        unsafe { Instance::from_raw(self.objects().Instance) }
    }

    /// Its volume.
    pub fn volume(&self) -> Volume<'a> {
        // SAFETY: alive for the call.
        unsafe { Volume::from_raw(self.objects().Volume) }
    }

    /// The file object that it is about. Some operations have none.
    #[inline]
    pub fn file(&self) -> Option<FileObject<'a>> {
        // SAFETY: alive for the call.
        NonNull::new(self.objects().FileObject).map(|raw| unsafe { FileObject::from_raw(raw) })
    }

    /// Whether it belongs to a transaction already.
    pub fn has_transaction(&self) -> bool {
        !self.objects().Transaction.is_null()
    }

    pub(crate) fn related_transaction(&self) -> Option<NonNull<core::ffi::c_void>> {
        NonNull::new(self.objects().Transaction)
    }

    /// The process that asked for it, as long as the call lasts. Up to DISPATCH_LEVEL.
    pub fn process(&self) -> crate::process::Process<'a> {
        // SAFETY: valid callback data; the answer lives as long as the request.
        unsafe { crate::process::Process::from_raw(ffi::FltGetRequestorProcess(self.data.as_ptr())) }
    }

    /// How it ended; after the operation.
    pub fn status(&self) -> Status {
        Status(self.data().IoStatus.Status)
    }

    /// The number that goes with the status; after the operation.
    pub fn information(&self) -> usize {
        self.data().IoStatus.Information
    }

    /// Changes how it ends. Needs no dirty mark (§1.1).
    pub fn set_status(&mut self, status: Status, information: usize) {
        // SAFETY: valid for `'a`, and ours to change.
        let data = unsafe { self.data.as_mut() };
        data.IoStatus.Status = status.0;
        data.IoStatus.Information = information;
    }

    /// Sends it down on another file object of the same volume (§1.1). Those above and our own `after` keep seeing
    /// the original. Any IRQL.
    ///
    /// The borrow of `target` ends here: the caller keeps it referenced until the operation is over, by carrying a
    /// reference.
    pub fn send_to(&mut self, target: FileObject<'_>) {
        self.block_mut().TargetFileObject = target.raw();
        self.set_dirty();
    }

    /// The parameters of a create. Reads the security context; in pre-create, PASSIVE_LEVEL.
    pub fn create(&self) -> Option<Create> {
        let security = self.security_context()?;
        // SAFETY: `security_context` has checked the major.
        let parameters = unsafe { self.block().Parameters.Create };
        Some(Create {
            // SAFETY: the I/O manager's, valid for the create.
            access: unsafe { (*security.as_ptr()).DesiredAccess },
            disposition: parameters.Options >> 24,
            options: parameters.Options & 0x00FF_FFFF,
            attributes: parameters.FileAttributes,
            share: parameters.ShareAccess,
            allocation: parameters.AllocationSize,
        })
    }

    /// Changes the parameters of a create, all but the access (see [`crate::access`]) and the extended attributes.
    pub fn set_create(&mut self, create: &Create) {
        if self.major() != IRP_MJ_CREATE {
            return;
        }
        // SAFETY: the parameters of this major; plain numbers are written.
        let parameters = unsafe { &mut self.block_mut().Parameters.Create };
        parameters.Options = create.disposition << 24 | create.options & 0x00FF_FFFF;
        parameters.FileAttributes = create.attributes;
        parameters.ShareAccess = create.share;
        parameters.AllocationSize = create.allocation;
        self.set_dirty();
    }

    /// The extended attributes of a create: the I/O manager's checked copy.
    pub fn create_ea(&self) -> &[u8] {
        if self.major() != IRP_MJ_CREATE {
            return &[];
        }
        // SAFETY: the parameters of this major.
        let parameters = unsafe { self.block().Parameters.Create };
        if parameters.EaBuffer.is_null() {
            return &[];
        }
        // SAFETY: a system buffer of that length, valid for the create.
        unsafe { core::slice::from_raw_parts(parameters.EaBuffer.cast(), parameters.EaLength as usize) }
    }

    pub(crate) fn security_context(&self) -> Option<NonNull<wdk_sys::IO_SECURITY_CONTEXT>> {
        if self.major() != IRP_MJ_CREATE {
            return None;
        }
        // SAFETY: the parameters of this major.
        NonNull::new(unsafe { self.block().Parameters.Create.SecurityContext.cast() })
    }

    pub(crate) fn set_security_context(&mut self, context: &mut wdk_sys::IO_SECURITY_CONTEXT) {
        self.block_mut().Parameters.Create.SecurityContext = core::ptr::from_mut(context).cast();
        self.set_dirty();
    }

    pub(crate) fn restore_security_context(&mut self, context: NonNull<wdk_sys::IO_SECURITY_CONTEXT>) {
        // Marked as changed already, when the other one was put there.
        self.block_mut().Parameters.Create.SecurityContext = context.as_ptr().cast();
    }

    /// The create's extra parameters, to be given to a create of ours. IRQL up to APC_LEVEL.
    pub fn extra_parameters(&self, filter: crate::filter::Handle) -> Option<ExtraParameters<'a>> {
        let mut list = null_mut();
        // SAFETY: a live filter, valid callback data, an out pointer. What fails leaves no list.
        let _ = unsafe { ffi::FltGetEcpListFromCallbackData(filter.raw(), self.raw(), &mut list) };
        (!list.is_null()).then_some(ExtraParameters { raw: list, life: PhantomData })
    }

    /// The new end of the file, of a set of `FileEndOfFileInformation`. The buffer is the system's copy.
    pub fn new_end_of_file(&self) -> Option<i64> {
        const FILE_END_OF_FILE_INFORMATION: u32 = 20;
        if self.major() != IRP_MJ_SET_INFORMATION {
            return None;
        }
        // SAFETY: the parameters of this major.
        let parameters = unsafe { self.block().Parameters.SetFileInformation };
        if parameters.FileInformationClass != FILE_END_OF_FILE_INFORMATION
            || parameters.Length < 8
            || parameters.InfoBuffer.is_null()
        {
            return None;
        }
        // SAFETY: the I/O manager's copy in system memory, of at least eight bytes.
        Some(unsafe { parameters.InfoBuffer.cast::<i64>().read_unaligned() })
    }

    /// What a set of file information brings: the I/O manager's copy in system memory, which nobody changes meanwhile.
    pub fn information_buffer(&self) -> &[u8] {
        if self.major() != IRP_MJ_SET_INFORMATION {
            return &[];
        }
        // SAFETY: the parameters of this major.
        let parameters = unsafe { self.block().Parameters.SetFileInformation };
        if parameters.InfoBuffer.is_null() {
            return &[];
        }
        // SAFETY: a system buffer of that length, valid for the operation.
        unsafe { core::slice::from_raw_parts(parameters.InfoBuffer.cast(), parameters.Length as usize) }
    }

    /// The folder of the new name of a rename or link, if that is not the file's own: the I/O manager has opened it for
    /// the requestor, checks included.
    pub fn target_folder(&self) -> Option<FileObject<'_>> {
        if self.major() != IRP_MJ_SET_INFORMATION {
            return None;
        }
        // SAFETY: the parameters of this major; a pointer.
        let parent = unsafe { self.block().Parameters.SetFileInformation }.ParentOfTarget;
        // SAFETY: referenced by the I/O manager until the operation is over.
        NonNull::new(parent).map(|raw| unsafe { FileObject::from_raw(raw) })
    }

    /// Lets a create go down by another name, which begins at the root of the volume. In pre-create, PASSIVE_LEVEL; not
    /// for a create that is relative to a file object. Those below see the new name, those above have seen the old one.
    /// Fails with `INSUFFICIENT_RESOURCES`, or `INVALID_PARAMETER` if it cannot be done.
    pub fn replace_name(&mut self, name: &widestring::U16Str) -> crate::Result<()> {
        let file = self.file().filter(|file| !file.is_relative()).ok_or(Status::INVALID_PARAMETER)?;
        if self.major() != IRP_MJ_CREATE {
            return Err(Status::INVALID_PARAMETER);
        }
        let bytes = name.len().checked_mul(2).and_then(|bytes| u16::try_from(bytes).ok());
        let bytes = bytes.ok_or(Status::INVALID_PARAMETER)?;
        // SAFETY: the file object of a create that has not been sent on; the name is copied.
        Status(unsafe {
            wdk_sys::ntddk::IoReplaceFileObjectName(file.raw().cast(), name.as_ptr().cast_mut(), bytes)
        })
        .ok()
    }

    /// Whether a create's name, as it was asked for, may name a stream. In pre-create, where a file object's name counts.
    /// IRQL up to APC_LEVEL.
    pub fn may_name_stream(&self) -> bool {
        let Some(file) = self.file().filter(|_| self.major() == IRP_MJ_CREATE) else { return true };
        // SAFETY: the file object of a create that has not been sent on, whose name nobody changes meanwhile.
        let name = unsafe {
            let name = &raw const (*file.raw().cast::<wdk_sys::FILE_OBJECT>()).FileName;
            crate::string::borrow(&*name.cast())
        };
        name.as_slice().contains(&u16::from(b':'))
    }

    /// A read's or write's length and offset.
    pub fn range(&self) -> Option<Range> {
        if !matches!(self.major(), IRP_MJ_READ | IRP_MJ_WRITE) {
            return None;
        }
        // SAFETY: the parameters of this major; plain numbers.
        let parameters = unsafe { self.block().Parameters.Write };
        Some(Range { offset: parameters.ByteOffset, length: parameters.Length })
    }

    /// The information class of a query or set.
    pub fn information_class(&self) -> Option<u32> {
        match self.major() {
            IRP_MJ_QUERY_INFORMATION => {
                // SAFETY: the parameters of this major; a number.
                Some(unsafe { self.block().Parameters.QueryFileInformation }.FileInformationClass)
            }
            IRP_MJ_SET_INFORMATION => {
                // SAFETY: the parameters of this major; a number.
                Some(unsafe { self.block().Parameters.SetFileInformation }.FileInformationClass)
            }
            _ => None,
        }
    }

    /// The code of a file system control.
    pub fn control_code(&self) -> Option<u32> {
        if self.major() != IRP_MJ_FILE_SYSTEM_CONTROL {
            return None;
        }
        // SAFETY: the parameters of this major; a number.
        Some(unsafe { self.block().Parameters.FileSystemControl.ControlCode })
    }

    /// What a lock request asks for. Its flags say how it locks: of the parameters those are meaningful that fast I/O has not
    /// for itself (minifilter-rules §2.2).
    pub fn lock_request(&self) -> Option<LockRequest> {
        if self.major() != IRP_MJ_LOCK_CONTROL || self.is_fast_io() {
            return None;
        }
        // SAFETY: the parameters of this major; plain numbers and a pointer.
        let parameters = unsafe { self.block().Parameters.LockControl };
        // SAFETY: null, or the I/O manager's copy, valid for the request.
        let length = unsafe { parameters.Length.as_ref() }.copied().unwrap_or(0);
        Some(LockRequest {
            minor: self.minor(),
            range: LockRange {
                offset: parameters.ByteOffset,
                length,
                key: parameters.Key,
                exclusive: self.operation_flags() & SL_EXCLUSIVE_LOCK != 0,
            },
            waits: self.operation_flags() & SL_FAIL_IMMEDIATELY == 0,
        })
    }

    /// The range of `FSCTL_SET_ZERO_DATA`: its first byte, and the byte after the last. The buffer is the system's copy.
    pub fn zero_range(&self) -> Option<(i64, i64)> {
        const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;
        if self.control_code() != Some(FSCTL_SET_ZERO_DATA) {
            return None;
        }
        // SAFETY: the parameters of this major.
        let parameters = unsafe { self.block().Parameters.FileSystemControl };
        if parameters.InputBufferLength < 16 || parameters.InputBuffer.is_null() {
            return None;
        }
        // SAFETY: a buffered control: the I/O manager's copy in system memory, of at least sixteen bytes.
        let [from, to] = unsafe { parameters.InputBuffer.cast::<[i64; 2]>().read_unaligned() };
        Some((from, to))
    }

    /// The code and the input of a control whose buffers the I/O manager has copied (`METHOD_BUFFERED`).
    pub(crate) fn buffered_control(&self) -> Option<(u32, PVOID, u32)> {
        let code = self.control_code().filter(|code| code & 3 == 0)?;
        // SAFETY: the parameters of this major.
        let parameters = unsafe { self.block().Parameters.FileSystemControl };
        Some((code, parameters.InputBuffer, parameters.InputBufferLength))
    }

    /// Whether a section is being created (`SyncTypeCreateSection`); other acquires must not be failed (§2.2).
    pub fn creates_section(&self) -> bool {
        self.section_parameters().is_some_and(|parameters| parameters.SyncType == SyncTypeCreateSection)
    }

    /// Whether a section through which the file can be written is being created.
    pub fn creates_writable_section(&self) -> bool {
        /// `PAGE_READWRITE`, `PAGE_EXECUTE_READWRITE`.
        const WRITABLE: u32 = 0x04 | 0x40;
        self.creates_section()
            && self.section_parameters().is_some_and(|parameters| parameters.PageProtection & WRITABLE != 0)
    }

    /// Whether an image section is being created.
    pub fn creates_image_section(&self) -> bool {
        /// `SEC_IMAGE`, `SEC_IMAGE_NO_EXECUTE` without what it shares with others.
        const IMAGE: u32 = 0x0100_0000;
        self.creates_section()
            && self
                .section_parameters()
                .is_some_and(|parameters| parameters.AllocationAttributes & IMAGE != 0)
    }

    fn section_parameters(&self) -> Option<SECTION_SYNCHRONIZATION> {
        if self.major() != IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION {
            return None;
        }
        // SAFETY: the parameters of this major; numbers and a pointer that is not followed.
        Some(unsafe { self.block().Parameters.AcquireForSectionSynchronization })
    }
}

/// A byte-range lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRange {
    /// First byte.
    pub offset: i64,
    /// Bytes.
    pub length: i64,
    /// The key that its owner gave it.
    pub key: u32,
    /// Whether nobody else may lock the range at all.
    pub exclusive: bool,
}

/// A request about byte-range locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// `IRP_MN_LOCK`, `IRP_MN_UNLOCK_SINGLE`, …
    pub minor: u8,
    /// The range, where the minor function needs one.
    pub range: LockRange,
    /// Whether a lock that cannot be had is waited for.
    pub waits: bool,
}

/// The parameters of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// Desired access; not changed by [`Callback::set_create`].
    pub access: u32,
    /// `FILE_SUPERSEDE`, `FILE_OPEN`, …
    pub disposition: u32,
    /// `FILE_DIRECTORY_FILE`, …
    pub options: u32,
    /// `FILE_ATTRIBUTE_*` of a new or overwritten file.
    pub attributes: u16,
    /// `FILE_SHARE_*`.
    pub share: u16,
    /// First allocation.
    pub allocation: i64,
}

/// Where a read or write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Byte offset; negative values are sentinels (`-1`: to the end of the file, `-2`: at the current position).
    pub offset: i64,
    /// Bytes.
    pub length: u32,
}
