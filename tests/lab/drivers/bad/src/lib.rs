//! A minifilter that breaks the rule it is told to.
//!
//! The value `Misdeed` (REG_SZ) of its service's `Parameters` key names it; without the value the driver breaks nothing.
//! Each misdeed is a few lines in [`misdeeds`], with the rule that it breaks: a verifier that is worth its name reports
//! each, and nothing without the value. It is written on the bare declarations, as the owner types of the `kernel` crate
//! make most of this impossible; from there come only the panic handler and the reader of registry values.
#![cfg_attr(windows, no_std)]
#![cfg(windows)]

mod misdeeds;

use core::ffi::c_void;
use core::mem::size_of;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use fltkernel::*;
use kernel::Result;
use kernel::pool::Tag;
use kernel::registry::{Reader, RegistryKey};
use misdeeds::{MISDEEDS, Misdeed, When};
use wdk_sys::{DRIVER_OBJECT, PCUNICODE_STRING};
use widestring::{U16Str, u16str};

macro_rules! filter_manager {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        #[link(name = "FLTMGR.SYS", kind = "raw-dylib", modifiers = "+verbatim")]
        #[allow(dead_code, non_snake_case, reason = "the list is shared, and Microsoft's")]
        unsafe extern "system" {
            $(pub(crate) fn $name($($argument: $type),*) $(-> $result)?;)*
        }
    };
}
fltkernel::for_each_function!(filter_manager);

/// The index of the misdeed, plus one; 0 for none.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);
static FILTER: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// What a misdeed works with.
pub(crate) struct Scene {
    pub(crate) driver: *mut DRIVER_OBJECT,
    pub(crate) filter: PFLT_FILTER,
    /// Null at load and unload.
    pub(crate) data: *mut FLT_CALLBACK_DATA,
    pub(crate) objects: *const FLT_RELATED_OBJECTS,
}

fn chosen(when: When) -> Option<&'static Misdeed> {
    let index = CHOSEN.load(Ordering::Acquire).checked_sub(1)?;
    MISDEEDS.get(index).filter(|misdeed| misdeed.when == when)
}

fn read_choice(service: &U16Str) -> Result<usize> {
    let parameters = RegistryKey::open(service)?.subkey(u16str!("Parameters"))?;
    let mut reader = Reader::new(Tag::new(b"Read"))?;
    let mut index = 0;
    while let Some(value) = reader.value(&parameters, index)? {
        if value.name == u16str!("Misdeed") {
            let is = |name: &U16Str| {
                let units = value.data.chunks_exact(2).map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0,
                });
                units.take_while(|&unit| unit != 0).eq(name.as_slice().iter().copied())
            };
            let found = MISDEEDS.iter().position(|misdeed| is(misdeed.name));
            return found.map(|index| index.wrapping_add(1)).ok_or(kernel::Status::INVALID_PARAMETER);
        }
        index = index.saturating_add(1);
    }
    Ok(0)
}

/// Where Windows enters the driver. A misdeed that is not known fails the load.
///
/// # Safety
/// Called by the I/O manager, once, at PASSIVE_LEVEL.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(driver: *mut DRIVER_OBJECT, path: PCUNICODE_STRING) -> NTSTATUS {
    // SAFETY: the I/O manager passes a valid string.
    let path = unsafe {
        U16Str::from_slice(core::slice::from_raw_parts((*path).Buffer, usize::from((*path).Length >> 1)))
    };
    match read_choice(path) {
        Ok(choice) => CHOSEN.store(choice, Ordering::Release),
        Err(kernel::Status::OBJECT_NAME_NOT_FOUND) => {}
        Err(status) => return status.0,
    }
    let operation = |major, pre: PFLT_PRE_OPERATION_CALLBACK| FLT_OPERATION_REGISTRATION {
        MajorFunction: major,
        Flags: 0,
        PreOperation: pre,
        PostOperation: None,
        Reserved1: null_mut(),
    };
    let operations = [
        operation(IRP_MJ_CREATE, Some(before_create)),
        operation(IRP_MJ_WRITE, Some(before_write)),
        operation(IRP_MJ_CLOSE, Some(before_close)),
        operation(IRP_MJ_OPERATION_END, None),
    ];
    let context = |kind, size| FLT_CONTEXT_REGISTRATION {
        ContextType: kind,
        Flags: 0,
        ContextCleanupCallback: None,
        Size: size,
        PoolTag: u32::from_le_bytes(*b"Badc"),
        ContextAllocateCallback: None,
        ContextFreeCallback: None,
        Reserved1: null_mut(),
    };
    let contexts = [context(FLT_INSTANCE_CONTEXT, 8), context(FLT_CONTEXT_END, 0)];
    let registration = FLT_REGISTRATION {
        Size: size_of::<FLT_REGISTRATION>() as u16,
        Version: FLT_REGISTRATION_VERSION,
        Flags: 0,
        ContextRegistration: contexts.as_ptr(),
        OperationRegistration: operations.as_ptr(),
        FilterUnloadCallback: Some(unload),
        InstanceSetupCallback: None,
        InstanceQueryTeardownCallback: None,
        InstanceTeardownStartCallback: None,
        InstanceTeardownCompleteCallback: None,
        GenerateFileNameCallback: null_mut(),
        NormalizeNameComponentCallback: null_mut(),
        NormalizeContextCleanupCallback: null_mut(),
        TransactionNotificationCallback: None,
        NormalizeNameComponentExCallback: null_mut(),
        SectionNotificationCallback: null_mut(),
    };
    let mut filter = null_mut();
    // SAFETY: the driver's own object; the Filter Manager copies the registration and its tables.
    let status = unsafe { FltRegisterFilter(driver.cast(), &registration, &mut filter) };
    if status < 0 {
        return status;
    }
    FILTER.store(filter, Ordering::Release);
    if let Some(misdeed) = chosen(When::Load) {
        let scene = Scene { driver, filter, data: null_mut(), objects: core::ptr::null() };
        // SAFETY: none: breaking a rule is what it is for.
        let status = unsafe { (misdeed.act)(&scene) };
        if status < 0 {
            // SAFETY: just registered.
            unsafe { FltUnregisterFilter(filter) };
            return status;
        }
    }
    // SAFETY: just registered.
    unsafe { FltStartFiltering(filter) }
}

unsafe extern "system" fn unload(_: u32) -> NTSTATUS {
    let filter = FILTER.load(Ordering::Acquire);
    if let Some(misdeed) = chosen(When::Unload) {
        let scene = Scene { driver: null_mut(), filter, data: null_mut(), objects: core::ptr::null() };
        // SAFETY: none: breaking a rule is what it is for.
        return unsafe { (misdeed.act)(&scene) };
    }
    misdeeds::tidy();
    // SAFETY: registered at load.
    unsafe { FltUnregisterFilter(filter) };
    0
}

fn before(when: When, data: *mut FLT_CALLBACK_DATA, objects: *const FLT_RELATED_OBJECTS) -> i32 {
    match chosen(when) {
        Some(misdeed) => {
            let scene = Scene { driver: null_mut(), filter: FILTER.load(Ordering::Acquire), data, objects };
            // SAFETY: none: breaking a rule is what it is for.
            unsafe { (misdeed.act)(&scene) }
        }
        None => FLT_PREOP_SUCCESS_NO_CALLBACK,
    }
}

unsafe extern "system" fn before_create(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    _: *mut PVOID,
) -> i32 {
    before(When::Create, data, objects)
}

unsafe extern "system" fn before_write(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    _: *mut PVOID,
) -> i32 {
    before(When::Write, data, objects)
}

unsafe extern "system" fn before_close(
    data: *mut FLT_CALLBACK_DATA,
    objects: *const FLT_RELATED_OBJECTS,
    _: *mut PVOID,
) -> i32 {
    before(When::Close, data, objects)
}
