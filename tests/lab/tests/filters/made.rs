//! Filters made of Rust functions with the Windows ABI: what a test of the lab itself needs, without an image.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;

use fltkernel::*;
use lab::flt::imports::filters::{FltRegisterFilter, FltStartFiltering, FltUnregisterFilter};
use lab::loading::{Driver, Service, StartError};
use lab::{Lab, Violation};

thread_local! {
    /// The filters of the running test, by number.
    static FILTERS: RefCell<[usize; 4]> = const { RefCell::new([0; 4]) };
    /// What callbacks noted.
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Something that a callback keeps for another.
    static KEPT: Cell<usize> = const { Cell::new(0) };
}

/// Callback data, as callbacks get it.
pub(crate) type Data = *mut FLT_CALLBACK_DATA;
/// Related objects, as callbacks get them.
pub(crate) type Related = *const FLT_RELATED_OBJECTS;

/// A filter to be registered.
pub(crate) struct Made {
    pub(crate) registration: FLT_REGISTRATION,
    operations: Vec<FLT_OPERATION_REGISTRATION>,
    contexts: Vec<FLT_CONTEXT_REGISTRATION>,
}

/// A pre-operation callback.
pub(crate) type Pre = unsafe extern "win64" fn(
    *mut FLT_CALLBACK_DATA,
    *const FLT_RELATED_OBJECTS,
    *mut PVOID,
) -> FLT_PREOP_CALLBACK_STATUS;
/// A post-operation callback.
pub(crate) type Post = unsafe extern "win64" fn(
    *mut FLT_CALLBACK_DATA,
    *const FLT_RELATED_OBJECTS,
    PVOID,
    u32,
) -> FLT_POSTOP_CALLBACK_STATUS;

unsafe extern "win64" fn unload<const N: usize>(_: u32) -> NTSTATUS {
    // SAFETY: the filter of this number was registered by `load`.
    unsafe { FltUnregisterFilter(filter(N)) };
    0
}

/// The filter that was loaded with this number.
pub(crate) fn filter(number: usize) -> PFLT_FILTER {
    std::ptr::with_exposed_provenance_mut(FILTERS.with_borrow(|filters| filters[number]))
}

/// Notes something.
pub(crate) fn note(what: impl Into<String>) {
    LOG.with_borrow_mut(|log| log.push(what.into()));
}

/// Takes what was noted.
pub(crate) fn notes() -> Vec<String> {
    LOG.take()
}

/// Keeps an address for another callback.
pub(crate) fn keep<T>(address: *const T) {
    KEPT.set(address.expose_provenance());
}

/// What was kept.
pub(crate) fn kept<T>() -> *mut T {
    std::ptr::with_exposed_provenance_mut(KEPT.get())
}

impl Made {
    pub(crate) fn new() -> Self {
        // SAFETY: all fields are integers, pointers and optional functions, for which zero is a value.
        let mut registration: FLT_REGISTRATION = unsafe { std::mem::zeroed() };
        registration.Size = size_of::<FLT_REGISTRATION>() as u16;
        registration.Version = FLT_REGISTRATION_VERSION;
        Self { registration, operations: Vec::new(), contexts: Vec::new() }
    }

    pub(crate) fn on(mut self, major: u8, pre: Option<Pre>, post: Option<Post>) -> Self {
        self.operations.push(FLT_OPERATION_REGISTRATION {
            MajorFunction: major,
            Flags: 0,
            PreOperation: pre,
            PostOperation: post,
            Reserved1: std::ptr::null_mut(),
        });
        self
    }

    /// The line that was added last skips these: `FLTFL_OPERATION_REGISTRATION_*`.
    pub(crate) fn skipping(mut self, flags: u32) -> Self {
        self.operations.last_mut().unwrap().Flags = flags;
        self
    }

    pub(crate) fn context(mut self, kind: u16, size: usize, cleanup: PFLT_CONTEXT_CLEANUP_CALLBACK) -> Self {
        self.contexts.push(FLT_CONTEXT_REGISTRATION {
            ContextType: kind,
            Flags: 0,
            ContextCleanupCallback: cleanup,
            Size: size,
            PoolTag: u32::from_le_bytes(*b"Test"),
            ContextAllocateCallback: None,
            ContextFreeCallback: None,
            Reserved1: std::ptr::null_mut(),
        });
        self
    }

    /// The context that was added last has these flags: `FLTFL_CONTEXT_REGISTRATION_*`.
    pub(crate) fn flagged(mut self, flags: u16) -> Self {
        self.contexts.last_mut().unwrap().Flags = flags;
        self
    }

    /// The context that was added last is allocated by the filter itself.
    pub(crate) fn allocated_by(mut self, allocate: PFLT_CONTEXT_ALLOCATE_CALLBACK) -> Self {
        self.contexts.last_mut().unwrap().ContextAllocateCallback = allocate;
        self
    }

    /// Registers and starts it as filter number `N`. Its tables live for the rest of the test process.
    pub(crate) fn load<const N: usize>(
        mut self,
        lab: &Lab,
        altitude: &str,
    ) -> Result<Rc<Driver>, StartError> {
        self.registration.FilterUnloadCallback.get_or_insert(unload::<N>);
        self.keep_without_unload::<N>(lab, altitude)
    }

    /// As `load`, with no unload callback but its own.
    pub(crate) fn keep_without_unload<const N: usize>(
        mut self,
        lab: &Lab,
        altitude: &str,
    ) -> Result<Rc<Driver>, StartError> {
        let end = FLT_OPERATION_REGISTRATION {
            MajorFunction: IRP_MJ_OPERATION_END,
            Flags: 0,
            PreOperation: None,
            PostOperation: None,
            Reserved1: std::ptr::null_mut(),
        };
        self.operations.push(end);
        self = self.context(FLT_CONTEXT_END, 0, None);
        let registration = Box::leak(Box::new(self.registration));
        registration.OperationRegistration = Vec::leak(self.operations).as_ptr();
        registration.ContextRegistration = Vec::leak(self.contexts).as_ptr();
        notes();
        let at: *const FLT_REGISTRATION = registration;
        lab.load_functions(&Service::new(&format!("made{N}"), altitude), move |driver: *mut c_void| {
            let mut filter: PFLT_FILTER = std::ptr::null_mut();
            // SAFETY: as DriverEntry would, with its own driver object and tables that live on.
            let status = unsafe { FltRegisterFilter(driver, at, &raw mut filter) };
            if status < 0 {
                return status;
            }
            FILTERS.with_borrow_mut(|filters| filters[N] = filter.expose_provenance());
            // SAFETY: the filter was just registered.
            unsafe { FltStartFiltering(filter) }
        })
    }
}

/// The rule that a run broke.
pub(crate) fn rule<T>(result: Result<T, Rc<Violation>>) -> &'static str {
    result.err().map_or("none", |violation| violation.rule)
}

/// The parameters of an operation.
pub(crate) fn iopb<'a>(data: *mut FLT_CALLBACK_DATA) -> &'a mut FLT_IO_PARAMETER_BLOCK {
    // SAFETY: callbacks get valid callback data with a parameter block.
    unsafe { &mut *(*data).Iopb }
}

/// A pre-operation that notes itself, and a completion context of `N + 1`.
pub(crate) unsafe extern "win64" fn pre_of<const N: usize>(
    data: Data,
    _: Related,
    context: *mut PVOID,
) -> i32 {
    note(format!("pre {N} {}", iopb(data).MajorFunction));
    // SAFETY: the Filter Manager gave room for a pointer.
    unsafe { context.write(std::ptr::without_provenance_mut(N + 1)) };
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

/// Its post-operation.
pub(crate) unsafe extern "win64" fn post_of<const N: usize>(
    data: Data,
    _: Related,
    context: PVOID,
    _: u32,
) -> i32 {
    note(format!("post {N} {} with {}", iopb(data).MajorFunction, context.addr()));
    FLT_POSTOP_FINISHED_PROCESSING
}
