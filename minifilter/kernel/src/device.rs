//! Control devices: a name that programs open, and the requests that they send (wdm/IoCreateDevice).
//!
//! A minifilter that wants to be asked things makes a [`ControlDevice`] while it loads, and keeps it. Requests arrive at
//! the functions of a [`Control`]; only control codes with `METHOD_BUFFERED` do, so what a function sees is the system's
//! own memory, never a program's.
//!
//! The device has the default security descriptor, which lets everybody in: [`Control::open`] decides who may stay.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, Ordering};

use wdk_sys::ntddk::{
    IoCreateDevice, IoCreateSymbolicLink, IoDeleteDevice, IoDeleteSymbolicLink, IofCompleteRequest,
    SeSinglePrivilegeCheck,
};
use wdk_sys::{DEVICE_OBJECT, IO_STACK_LOCATION, IRP, NTSTATUS};
use widestring::U16Str;

use crate::filter::Load;
use crate::{Result, Status, string};

/// What a driver does with requests to its control device. All of it runs at PASSIVE_LEVEL, in the thread of the program
/// that asks.
pub trait Control: 'static {
    /// A program opens the device. An error refuses it.
    fn open(opener: &Opener<'_>) -> Result<()>;

    /// A program sends a device control. The answer is the number of bytes of [`Buffer::output`] that it gets; an error
    /// gives it none.
    fn control(code: u32, buffer: &mut Buffer<'_>) -> Result<usize>;
}

/// Who opens a device.
pub struct Opener<'a> {
    mode: i8,
    life: PhantomData<&'a ()>,
}

/// `SE_LOAD_DRIVER_PRIVILEGE` (wdm.h).
const LOAD_DRIVER: i32 = 10;

impl Opener<'_> {
    /// Whether it may load drivers, as administrators' programs may once they have enabled the privilege, and so whether
    /// there is anything that it could not see anyway. PASSIVE_LEVEL.
    pub fn may_load_drivers(&self) -> bool {
        let privilege = wdk_sys::LUID { LowPart: LOAD_DRIVER as u32, HighPart: 0 };
        // SAFETY: a create of a device of our own is dispatched in the opener's thread.
        unsafe { SeSinglePrivilegeCheck(privilege, self.mode) != 0 }
    }
}

/// The buffer of a device control: first the input, then, over it, the output.
pub struct Buffer<'a> {
    memory: &'a mut [u8],
    input: usize,
    output: usize,
}

impl Buffer<'_> {
    /// What the program sent.
    pub fn input(&self) -> &[u8] {
        self.memory.get(..self.input).unwrap_or(&[])
    }

    /// Room for what it gets, as long as it asked for. It begins with the input; the rest is zero.
    pub fn output(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.output).unwrap_or(&mut [])
    }
}

/// How many have the device open, twice, plus one if nobody may any more; in the device's extension.
struct Openings(AtomicU32);

const RETIRED: u32 = 1;
const ONE: u32 = 2;

impl Openings {
    fn enter(&self) -> Result<()> {
        let more = |now: u32| if now & RETIRED == 0 { now.checked_add(ONE) } else { None };
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(Status::DELETE_PENDING),
        }
    }

    fn leave(&self) {
        self.0.fetch_sub(ONE, Ordering::AcqRel);
    }
}

/// A device object with a name and a link that programs can open (`\\.\Name`). Dropping it takes all of them down.
pub struct ControlDevice {
    device: NonNull<DEVICE_OBJECT>,
    link: &'static U16Str,
}

// SAFETY: an address of a kernel object; what is behind it is touched atomically.
unsafe impl Send for ControlDevice {}
// SAFETY: as above.
unsafe impl Sync for ControlDevice {}

/// `FILE_DEVICE_UNKNOWN`.
const DEVICE_TYPE: u32 = 0x22;
/// `FILE_DEVICE_SECURE_OPEN`: names below the device are guarded as the device is.
const SECURE_OPEN: u32 = 0x100;

impl ControlDevice {
    /// Makes the device `name` (`\Device\…`) and the link `link` (`\DosDevices\…`), whose requests go to `C`. While the
    /// driver loads: it can be opened once the load has succeeded. PASSIVE_LEVEL. Fails with `OBJECT_NAME_COLLISION`,
    /// `INSUFFICIENT_RESOURCES`.
    pub fn create<C: Control>(
        load: &Load<'_>,
        name: &'static U16Str,
        link: &'static U16Str,
    ) -> Result<ControlDevice> {
        let mut device = null_mut();
        let mut name = string::unicode(name)?;
        // SAFETY: the driver object of the load that is under way; strings and out pointer are locals; the extension is
        // zeroed, which is an `Openings` of nobody.
        Status(unsafe {
            IoCreateDevice(
                load.driver,
                size_of::<Openings>() as u32,
                &mut name,
                DEVICE_TYPE,
                SECURE_OPEN,
                0,
                &mut device,
            )
        })
        .ok()?;
        let device = NonNull::new(device).ok_or(Status::UNSUCCESSFUL)?;
        let mut link_name = string::unicode(link)?;
        // SAFETY: strings are locals.
        let linked = Status(unsafe { IoCreateSymbolicLink(&mut link_name, &mut name) });
        if !linked.is_success() {
            // SAFETY: made above; nobody can have opened it before the load has ended.
            unsafe { IoDeleteDevice(device.as_ptr()) };
            return Err(linked);
        }
        // SAFETY: the driver's own object, which it fills while it loads.
        let routines = unsafe { &mut (*load.driver).MajorFunction };
        for major in [
            wdk_sys::IRP_MJ_CREATE,
            wdk_sys::IRP_MJ_CLEANUP,
            wdk_sys::IRP_MJ_CLOSE,
            wdk_sys::IRP_MJ_DEVICE_CONTROL,
        ] {
            if let Some(routine) = routines.get_mut(major as usize) {
                *routine = Some(dispatch::<C>);
            }
        }
        Ok(ControlDevice { device, link })
    }

    /// Lets nobody open it any more, if nobody has it open: a driver whose device is open must not go. `false` changes
    /// nothing. Any IRQL.
    pub fn retire(&self) -> bool {
        // SAFETY: our device, alive as long as `self`.
        let openings = unsafe { openings(self.device.as_ptr()) };
        match openings.0.compare_exchange(0, RETIRED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == RETIRED,
        }
    }
}

impl Drop for ControlDevice {
    /// PASSIVE_LEVEL.
    fn drop(&mut self) {
        if let Ok(mut link) = string::unicode(self.link) {
            // SAFETY: a valid string; the link was made by `create`. It cannot fail but for a name that is not there.
            let _ = unsafe { IoDeleteSymbolicLink(&mut link) };
        }
        // SAFETY: our device.
        unsafe { IoDeleteDevice(self.device.as_ptr()) };
    }
}

/// # Safety
/// A device of [`ControlDevice::create`] that outlives `'a`.
unsafe fn openings<'a>(device: *const DEVICE_OBJECT) -> &'a Openings {
    // SAFETY: the caller's promise; the extension was made with this size and begins as zero.
    unsafe { &*(*device).DeviceExtension.cast::<Openings>() }
}

/// Every dispatch routine of a control device.
///
/// # Safety
/// Called by the I/O manager with a request for a device of [`ControlDevice::create`], in the program's thread at
/// PASSIVE_LEVEL.
unsafe extern "C" fn dispatch<C: Control>(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    // SAFETY: a live request, whose current stack location is this driver's.
    let (stack, mode) = unsafe {
        let location = (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation;
        (*location, (*irp).RequestorMode)
    };
    // SAFETY: a device of ours.
    let openings = unsafe { openings(device) };
    let answer = match u32::from(stack.MajorFunction) {
        wdk_sys::IRP_MJ_CREATE => openings.enter().and_then(|()| {
            C::open(&Opener { mode, life: PhantomData }).map(|()| 0).inspect_err(|_| openings.leave())
        }),
        wdk_sys::IRP_MJ_CLEANUP => Ok(0),
        wdk_sys::IRP_MJ_CLOSE => {
            openings.leave();
            Ok(0)
        }
        wdk_sys::IRP_MJ_DEVICE_CONTROL => {
            // SAFETY: the request and its own stack location.
            unsafe { control::<C>(irp, &stack) }
        }
        _ => Err(Status::INVALID_DEVICE_REQUEST),
    };
    let (status, information) = match answer {
        Ok(information) => (Status::SUCCESS, information),
        Err(status) => (status, 0),
    };
    // SAFETY: ours until it is completed, which happens here and once.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status.0;
        (*irp).IoStatus.Information = information as _;
        IofCompleteRequest(irp, 0);
    }
    status.0
}

/// # Safety
/// A device control request and its stack location.
unsafe fn control<C: Control>(irp: *mut IRP, stack: &IO_STACK_LOCATION) -> Result<usize> {
    const METHOD: u32 = 3;
    // SAFETY: the parameters of this major; numbers.
    let parameters = unsafe { stack.Parameters.DeviceIoControl };
    let code = parameters.IoControlCode;
    if code & METHOD != wdk_sys::METHOD_BUFFERED {
        return Err(Status::INVALID_DEVICE_REQUEST);
    }
    let (input, output) = (parameters.InputBufferLength as usize, parameters.OutputBufferLength as usize);
    // SAFETY: the member that buffered requests use.
    let memory: *mut c_void = unsafe { (*irp).AssociatedIrp.SystemBuffer };
    let memory = match NonNull::new(memory.cast::<u8>()) {
        Some(memory) => {
            // SAFETY: the system's buffer holds the longer of both, and is this request's alone until it is completed.
            unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), input.max(output)) }
        }
        None => &mut [],
    };
    // The system does not clear it, and what is not overwritten would go to the program.
    if let Some(rest) = memory.get_mut(input..) {
        rest.fill(0);
    }
    C::control(code, &mut Buffer { memory, input, output }).map(|given| given.min(output))
}
