//! A filter: its tables, its registration, and the way from the Filter Manager's calls to its code.

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, size_of};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use fltkernel::*;
use widestring::U16Str;

use crate::callback::OperationEntry;
use crate::context::ContextEntry;
use crate::enlistment::Ended;
use crate::instance::{Instance, Setup, Volume};
use crate::{Result, Status, ffi};

/// The opaque filter object that the Filter Manager gave at registration.
#[derive(Clone, Copy)]
pub struct Handle(PFLT_FILTER);

// SAFETY: an address of a kernel object that any thread may use while the driver is loaded.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    pub(crate) fn raw(self) -> PFLT_FILTER {
        self.0
    }
}

/// What a driver's load is told.
pub struct Load<'a> {
    /// The driver's registry key: `\Registry\Machine\System\CurrentControlSet\Services\…`.
    pub registry_path: &'a U16Str,
    /// Its driver object.
    pub(crate) driver: *mut wdk_sys::DRIVER_OBJECT,
}

/// A minifilter.
pub trait Filter: Send + Sync + Sized + 'static {
    /// What it wants to see, ended by [`OperationEntry::END`].
    const OPERATIONS: &'static [OperationEntry];
    /// What it keeps, ended by [`ContextEntry::END`].
    const CONTEXTS: &'static [ContextEntry];
    /// `FLTFL_REGISTRATION_*`.
    const FLAGS: u32 = 0;
    /// Whether it enlists in transactions ([`ContextRef::enlist`](crate::context::ContextRef::enlist)).
    const ENLISTS: bool = false;

    /// Where the loaded filter is.
    fn slot() -> &'static Slot<Self>;

    /// Builds the filter, before it is registered. PASSIVE_LEVEL. An error fails the load.
    fn load(load: &Load<'_>) -> Result<Self>;

    /// Whether it may go. PASSIVE_LEVEL. `mandatory` unloads go on whatever the answer (minifilter-rules §3.3).
    fn may_unload(&self, mandatory: bool) -> Result<()> {
        let _ = mandatory;
        Ok(())
    }

    /// Whether to attach to a volume. PASSIVE_LEVEL; no waiting for other threads (§3.2). An error
    /// (`FLT_DO_NOT_ATTACH`) declines.
    fn attach(&self, setup: &Setup<'_>) -> Result<()> {
        let _ = setup;
        Ok(())
    }

    /// Whether an administrator may detach an instance. PASSIVE_LEVEL. An error (`FLT_DO_NOT_DETACH`) declines.
    fn may_detach(&self, instance: Instance<'_>) -> Result<()> {
        let _ = instance;
        Ok(())
    }

    /// An instance is going: stop work on it and close its files. PASSIVE_LEVEL. `reason` is
    /// `FLTFL_INSTANCE_TEARDOWN_*`.
    fn teardown(&self, instance: Instance<'_>, reason: u32) {
        let _ = (instance, reason);
    }

    /// A transaction that the filter enlisted in has ended. PASSIVE_LEVEL; its files are not to be touched from here
    /// (txf-ktm §3).
    fn transaction_ended(&self, ended: &Ended<'_>) {
        let _ = ended;
    }
}

const EMPTY: u8 = 0;
const FULL: u8 = 1;

/// Where a driver keeps its one filter: a `static`.
pub struct Slot<F> {
    state: AtomicU8,
    handle: AtomicPtr<core::ffi::c_void>,
    filter: UnsafeCell<MaybeUninit<F>>,
}

// SAFETY: written only by load and unload, before callbacks begin and after they end.
unsafe impl<F: Send + Sync> Sync for Slot<F> {}

impl<F: Filter> Slot<F> {
    /// An empty slot.
    pub const fn new() -> Self {
        Slot {
            state: AtomicU8::new(EMPTY),
            handle: AtomicPtr::new(null_mut()),
            filter: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The loaded filter. It is there in every callback.
    #[inline]
    pub fn get(&self) -> Option<&F> {
        if self.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: full means initialised; it is emptied only after the Filter Manager has ended all callbacks.
        Some(unsafe { (*self.filter.get()).assume_init_ref() })
    }

    /// The registered filter object. It is there in every callback.
    #[inline]
    pub fn handle(&self) -> Option<Handle> {
        let handle = self.handle.load(Ordering::Acquire);
        if handle.is_null() { None } else { Some(Handle(handle)) }
    }

    /// # Safety
    /// Called by load only, while the slot is empty.
    unsafe fn fill(&self, filter: F) {
        // SAFETY: empty, so nobody reads.
        unsafe { (*self.filter.get()).write(filter) };
        self.state.store(FULL, Ordering::Release);
    }

    /// # Safety
    /// It is full, and no callback can run any more.
    unsafe fn empty(&self) {
        self.handle.store(null_mut(), Ordering::Release);
        self.state.store(EMPTY, Ordering::Release);
        // SAFETY: it was full, and nobody reads any more.
        unsafe { (*self.filter.get()).assume_init_drop() };
    }
}

impl<F: Filter> Default for Slot<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// The body of `DriverEntry`: builds the filter, registers it, starts it. On failure nothing is left.
///
/// # Safety
/// The arguments are those of `DriverEntry`; PASSIVE_LEVEL; called once.
pub unsafe fn load<F: Filter>(
    driver: *mut wdk_sys::DRIVER_OBJECT,
    registry_path: wdk_sys::PCUNICODE_STRING,
) -> wdk_sys::NTSTATUS {
    // SAFETY: the I/O manager passes a valid string.
    let path = unsafe { crate::string::borrow_wdk(registry_path) };
    match start::<F>(driver, path) {
        Ok(()) => Status::SUCCESS.0,
        Err(status) => status.0,
    }
}

fn start<F: Filter>(driver: *mut wdk_sys::DRIVER_OBJECT, registry_path: &U16Str) -> Result<()> {
    const {
        assert!(
            matches!(F::OPERATIONS.last(), Some(last) if last.is_end()),
            "the table of operations has no end"
        );
        assert!(
            matches!(F::CONTEXTS.last(), Some(last) if last.is_end()),
            "the table of contexts has no end"
        );
    }
    let filter = F::load(&Load { registry_path, driver })?;
    let slot = F::slot();
    // SAFETY: the slot is empty: this is the driver's load.
    unsafe { slot.fill(filter) };
    let registration = FLT_REGISTRATION {
        Size: size_of::<FLT_REGISTRATION>() as u16,
        Version: FLT_REGISTRATION_VERSION,
        Flags: F::FLAGS,
        ContextRegistration: F::CONTEXTS.as_ptr().cast(),
        OperationRegistration: F::OPERATIONS.as_ptr().cast(),
        FilterUnloadCallback: Some(unload::<F>),
        InstanceSetupCallback: Some(instance_setup::<F>),
        InstanceQueryTeardownCallback: Some(instance_query_teardown::<F>),
        InstanceTeardownStartCallback: Some(instance_teardown_start::<F>),
        InstanceTeardownCompleteCallback: None,
        GenerateFileNameCallback: null_mut(),
        NormalizeNameComponentCallback: null_mut(),
        NormalizeContextCleanupCallback: null_mut(),
        TransactionNotificationCallback: if F::ENLISTS { Some(transaction_notification::<F>) } else { None },
        NormalizeNameComponentExCallback: null_mut(),
        SectionNotificationCallback: null_mut(),
    };
    let mut handle = null_mut();
    // SAFETY: the driver object is ours; the tables are static and ended; the Filter Manager copies the registration.
    let mut status = Status(unsafe { ffi::FltRegisterFilter(driver.cast(), &registration, &mut handle) });
    if status.is_success() {
        slot.handle.store(handle, Ordering::Release);
        // SAFETY: just registered.
        status = Status(unsafe { ffi::FltStartFiltering(handle) });
        if !status.is_success() {
            // SAFETY: registered and not started; a failing DriverEntry unregisters itself (minifilter-rules §3.3).
            unsafe { ffi::FltUnregisterFilter(handle) };
        }
    }
    if !status.is_success() {
        // SAFETY: filled above; not registered (any more): no callback runs.
        unsafe { slot.empty() };
    }
    status.ok()
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn unload<F: Filter>(flags: u32) -> i32 {
    let slot = F::slot();
    let mandatory = flags & FLTFL_FILTER_UNLOAD_MANDATORY != 0;
    if let Some(filter) = slot.get()
        && let Err(status) = filter.may_unload(mandatory)
        && !mandatory
    {
        return status.0;
    }
    if let Some(handle) = slot.handle() {
        // SAFETY: registered; waits until all callbacks and referenced work have ended.
        unsafe { ffi::FltUnregisterFilter(handle.raw()) };
    }
    // SAFETY: filled by the load that registered this; unregistered: no callback runs.
    unsafe { slot.empty() };
    Status::SUCCESS.0
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn instance_setup<F: Filter>(
    objects: *const FLT_RELATED_OBJECTS,
    flags: u32,
    device_type: u32,
    file_system: FLT_FILESYSTEM_TYPE,
) -> i32 {
    let Some(filter) = F::slot().get() else { return Status::FLT_DO_NOT_ATTACH.0 };
    // SAFETY: valid for the call.
    let objects = unsafe { &*objects };
    let setup = Setup {
        // SAFETY: alive for the call.
        instance: unsafe { Instance::from_raw(objects.Instance) },
        // SAFETY: alive for the call.
        volume: unsafe { Volume::from_raw(objects.Volume) },
        flags,
        device_type,
        file_system,
    };
    match filter.attach(&setup) {
        Ok(()) => Status::SUCCESS.0,
        // Any other error would be taken for one that is reported; declining is not an error.
        Err(_) => Status::FLT_DO_NOT_ATTACH.0,
    }
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn instance_query_teardown<F: Filter>(
    objects: *const FLT_RELATED_OBJECTS,
    _flags: u32,
) -> i32 {
    // SAFETY: valid for the call; the instance too.
    let instance = unsafe { Instance::from_raw((*objects).Instance) };
    match F::slot().get().map_or(Ok(()), |filter| filter.may_detach(instance)) {
        Ok(()) => Status::SUCCESS.0,
        Err(status) => status.0,
    }
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn instance_teardown_start<F: Filter>(
    objects: *const FLT_RELATED_OBJECTS,
    reason: u32,
) {
    // SAFETY: valid for the call; the instance too.
    let instance = unsafe { Instance::from_raw((*objects).Instance) };
    if let Some(filter) = F::slot().get() {
        filter.teardown(instance, reason);
    }
}

/// # Safety
/// Called by the Filter Manager.
unsafe extern "system" fn transaction_notification<F: Filter>(
    objects: *const FLT_RELATED_OBJECTS,
    _context: PFLT_CONTEXT,
    notification: u32,
) -> i32 {
    // SAFETY: valid for the call.
    let ended = unsafe { Ended::new(objects, notification) };
    if let (Some(filter), Some(ended)) = (F::slot().get(), ended) {
        filter.transaction_ended(&ended);
    }
    Status::SUCCESS.0
}

/// Exports `DriverEntry` for a [`Filter`] and gives it its [`Slot`].
///
/// ```ignore
/// kernel::driver!(Nothing, NOTHING);
/// ```
#[macro_export]
macro_rules! driver {
    ($filter:ty, $slot:ident) => {
        static $slot: $crate::filter::Slot<$filter> = $crate::filter::Slot::new();

        /// Where Windows enters the driver.
        ///
        /// # Safety
        /// Called by the I/O manager, once, at PASSIVE_LEVEL.
        #[allow(unsafe_code, reason = "an exported entry point cannot be safe")]
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn DriverEntry(
            driver: *mut $crate::export::DRIVER_OBJECT,
            registry_path: $crate::export::PCUNICODE_STRING,
        ) -> $crate::export::NTSTATUS {
            // SAFETY: the I/O manager's arguments, passed on.
            unsafe { $crate::export::load::<$filter>(driver, registry_path) }
        }
    };
}
