//! The misdeeds, by the class of Driver Verifier whose rules they break.
#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "breaking the contract is the point of every one of them"
)]

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use fltkernel::*;
use wdk_sys::ntddk::*;
use wdk_sys::{
    DEVICE_OBJECT, IRP, KEVENT, KSPIN_LOCK, LARGE_INTEGER, OBJECT_ATTRIBUTES, POOL_FLAG_NON_PAGED,
    POOL_FLAG_PAGED, UNICODE_STRING,
};
use widestring::{U16Str, u16str};

use crate::*;

/// When a misdeed is done: at load; before a create; before a write; before a close; at unload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Load,
    Create,
    Write,
    Close,
    Unload,
}

/// A misdeed: its name in the registry, and what it does. What it returns is the answer of the callback.
pub(crate) struct Misdeed {
    pub(crate) name: &'static U16Str,
    pub(crate) when: When,
    pub(crate) act: unsafe fn(&Scene) -> i32,
}

macro_rules! misdeeds {
    ($($when:ident $name:literal $act:ident;)*) => {
        pub(crate) static MISDEEDS: &[Misdeed] =
            &[$(Misdeed { name: u16str!($name), when: When::$when, act: $act }),*];
    };
}

misdeeds! {
    // Special pool.
    Load "PoolOverrun" pool_overrun;
    Load "PoolOverrunFar" pool_overrun_far;
    Load "PoolUnderrun" pool_underrun;
    Load "UseAfterFree" use_after_free;
    Load "DoubleFree" double_free;
    Load "FreeWrongTag" free_wrong_tag;
    // Force IRQL checking.
    Create "PagedAtDispatch" paged_at_dispatch;
    Create "WaitAtDispatch" wait_at_dispatch;
    Close "PassiveAtClose" passive_at_close;
    // Pool tracking.
    Create "PoolLeak" pool_leak;
    Load "EntryFailsAndLeaks" entry_fails_and_leaks;
    // I/O verification.
    Load "DeviceLeft" device_left;
    Load "CompletesTwice" completes_twice;
    Load "ReturnsAnotherStatus" returns_another_status;
    Load "DispatchOutside" dispatch_outside;
    // Deadlock detection.
    Create "LockOrder" lock_order;
    Create "LockRecursion" lock_recursion;
    // Security checks.
    Write "UserBuffer" user_buffer;
    Create "UserHandle" user_handle;
    Create "InvalidHandle" invalid_handle;
    // Miscellaneous checks.
    Load "FreeInUse" free_in_use;
    Load "LookasideLeft" lookaside_left;
    Load "LookasideUncounted" lookaside_uncounted;
    Load "LookasideTooDeep" lookaside_too_deep;
    // Code integrity checks.
    Load "ExecutablePool" executable_pool;
    // DDI compliance checking.
    Create "IrqlCeiling" irql_ceiling;
    Create "SpinLockLeft" spin_lock_left;
    Create "CriticalRegionLeft" critical_region_left;
    Create "UninitialisedEvent" uninitialised_event;
    Create "RestoresAnotherIrql" restores_another_irql;
    Load "AllocatesWithoutTag" allocates_without_tag;
    // Systematic low resources simulation.
    Create "UncheckedAllocation" unchecked_allocation;
    // Kernel synchronization delay fuzzing.
    Create "UnlockedCheck" unlocked_check;
    // Filter Verifier.
    Create "CallbackWithoutPost" callback_without_post;
    Create "ChangesWithoutDirty" changes_without_dirty;
    Create "ContextReleasedTwice" context_released_twice;
    Create "NameLeft" name_left;
    Unload "StaysRegistered" stays_registered;
    Load "CallbackOutside" callback_outside;
}

const TAG: u32 = u32::from_le_bytes(*b"BadP");
const GO_ON: i32 = FLT_PREOP_SUCCESS_NO_CALLBACK;
/// What makes DriverEntry fail.
const STATUS_UNSUCCESSFUL: i32 = 0xC000_0001_u32.cast_signed();

unsafe fn pool(bytes: u64) -> *mut u8 {
    unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes as _, TAG).cast() }
}

/// Writes the byte after the end; found when the block is freed.
unsafe fn pool_overrun(_: &Scene) -> i32 {
    unsafe {
        let block = pool(40);
        block.add(40).write_volatile(1);
        ExFreePoolWithTag(block.cast(), TAG);
    }
    GO_ON
}

/// Writes past the last step of 16 bytes: the guard page faults at the instruction.
unsafe fn pool_overrun_far(_: &Scene) -> i32 {
    unsafe { pool(40).add(48).write_volatile(1) };
    GO_ON
}

/// Writes the byte before the beginning.
unsafe fn pool_underrun(_: &Scene) -> i32 {
    unsafe {
        let block = pool(40);
        block.sub(1).write_volatile(1);
        ExFreePoolWithTag(block.cast(), TAG);
    }
    GO_ON
}

unsafe fn use_after_free(_: &Scene) -> i32 {
    unsafe {
        let block = pool(40);
        ExFreePoolWithTag(block.cast(), TAG);
        i32::from(block.read_volatile())
    }
}

unsafe fn double_free(_: &Scene) -> i32 {
    unsafe {
        let block = pool(40);
        ExFreePoolWithTag(block.cast(), TAG);
        ExFreePoolWithTag(block.cast(), TAG);
    }
    GO_ON
}

unsafe fn free_wrong_tag(_: &Scene) -> i32 {
    unsafe { ExFreePoolWithTag(pool(40).cast(), TAG ^ 1) };
    GO_ON
}

/// Touches paged pool under a spin lock: it might not be there.
unsafe fn paged_at_dispatch(_: &Scene) -> i32 {
    unsafe {
        let block = ExAllocatePool2(POOL_FLAG_PAGED, 40, TAG).cast::<u8>();
        let mut lock: KSPIN_LOCK = 0;
        let irql = KeAcquireSpinLockRaiseToDpc(&mut lock);
        block.write_volatile(1);
        KeReleaseSpinLock(&mut lock, irql);
        ExFreePoolWithTag(block.cast(), TAG);
    }
    GO_ON
}

unsafe fn wait_at_dispatch(_: &Scene) -> i32 {
    unsafe {
        let mut event = KEVENT::default();
        KeInitializeEvent(&mut event, wdk_sys::_EVENT_TYPE::NotificationEvent, 0);
        let mut lock: KSPIN_LOCK = 0;
        let irql = KeAcquireSpinLockRaiseToDpc(&mut lock);
        let mut time = LARGE_INTEGER { QuadPart: -10 };
        let _ = KeWaitForSingleObject((&raw mut event).cast(), 0, 0, 0, &mut time);
        KeReleaseSpinLock(&mut lock, irql);
    }
    GO_ON
}

/// Folds a character, which is for PASSIVE_LEVEL, where a file object is closed, which may be at APC_LEVEL.
unsafe fn passive_at_close(_: &Scene) -> i32 {
    unsafe { RtlUpcaseUnicodeChar(u16::from(b'a')) };
    GO_ON
}

unsafe fn pool_leak(_: &Scene) -> i32 {
    unsafe { pool(40) };
    GO_ON
}

/// Gives up at load and leaves memory behind: nobody will call its unload.
unsafe fn entry_fails_and_leaks(_: &Scene) -> i32 {
    unsafe { pool(40) };
    STATUS_UNSUCCESSFUL
}

static NAME: &U16Str = u16str!(r"\Device\Bad");

unsafe fn device(scene: &Scene) -> *mut DEVICE_OBJECT {
    let bytes = (NAME.len() * 2) as u16;
    let mut name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: NAME.as_ptr().cast_mut() };
    let mut device = null_mut();
    let _ = unsafe { IoCreateDevice(scene.driver, 0, &mut name, 0x22, 0, 0, &mut device) };
    device
}

/// A device that is not deleted at unload.
unsafe fn device_left(scene: &Scene) -> i32 {
    unsafe { device(scene) };
    GO_ON
}

/// Its device completes every request twice.
unsafe fn completes_twice(scene: &Scene) -> i32 {
    unsafe extern "C" fn dispatch(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
        unsafe {
            IofCompleteRequest(irp, 0);
            IofCompleteRequest(irp, 0);
        }
        0
    }
    unsafe {
        device(scene);
        (*scene.driver).MajorFunction = [Some(dispatch); 28];
    }
    GO_ON
}

/// Its device completes a request with one status and returns another.
unsafe fn returns_another_status(scene: &Scene) -> i32 {
    unsafe extern "C" fn dispatch(_: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
        unsafe { IofCompleteRequest(irp, 0) };
        1
    }
    unsafe {
        device(scene);
        (*scene.driver).MajorFunction = [Some(dispatch); 28];
    }
    GO_ON
}

/// Its device's requests are dispatched to memory that is none of its code.
unsafe fn dispatch_outside(scene: &Scene) -> i32 {
    unsafe {
        device(scene);
        let data = pool(40);
        let dispatch: unsafe extern "C" fn(*mut DEVICE_OBJECT, *mut IRP) -> i32 = core::mem::transmute(data);
        (*scene.driver).MajorFunction = [Some(dispatch); 28];
    }
    GO_ON
}

/// Two locks, taken in both orders. Nobody waits in this run; in another, two threads would, for each other.
unsafe fn lock_order(_: &Scene) -> i32 {
    static FIRST: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    static SECOND: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    unsafe {
        let (first, second): (*mut KSPIN_LOCK, *mut KSPIN_LOCK) =
            (FIRST.as_ptr().cast(), SECOND.as_ptr().cast());
        for (outer, inner) in [(first, second), (second, first)] {
            let irql = KeAcquireSpinLockRaiseToDpc(outer);
            KeAcquireSpinLockAtDpcLevel(inner);
            KeReleaseSpinLockFromDpcLevel(inner);
            KeReleaseSpinLock(outer, irql);
        }
    }
    GO_ON
}

unsafe fn lock_recursion(_: &Scene) -> i32 {
    unsafe {
        let mut lock: KSPIN_LOCK = 0;
        let irql = KeAcquireSpinLockRaiseToDpc(&mut lock);
        KeAcquireSpinLockAtDpcLevel(&mut lock);
        KeReleaseSpinLock(&mut lock, irql);
    }
    GO_ON
}

/// Touches the program's buffer as it came, without mapping or probing it.
unsafe fn user_buffer(scene: &Scene) -> i32 {
    unsafe {
        let buffer = (*(*scene.data).Iopb).Parameters.Write.Buffer.cast::<u8>();
        buffer.write_volatile(b'!');
    }
    GO_ON
}

/// Opens a handle that the running program could use and close.
unsafe fn user_handle(_: &Scene) -> i32 {
    unsafe {
        let path = u16str!(r"\Registry\Machine");
        let bytes = (path.len() * 2) as u16;
        let mut name =
            UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: path.as_ptr().cast_mut() };
        let mut attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            ObjectName: &mut name,
            ..Default::default()
        };
        let mut handle = null_mut();
        let _ = ZwOpenKey(&mut handle, 0x2_0019, &mut attributes);
        let _ = ZwClose(handle);
    }
    GO_ON
}

unsafe fn invalid_handle(_: &Scene) -> i32 {
    let _ = unsafe { ZwClose(core::ptr::without_provenance_mut(0x1234)) };
    GO_ON
}

/// Frees memory that holds a lock while it is held.
unsafe fn free_in_use(_: &Scene) -> i32 {
    unsafe {
        let lock = pool(64).cast::<KSPIN_LOCK>();
        KeAcquireSpinLockRaiseToDpc(lock);
        ExFreePoolWithTag(lock.cast(), TAG);
    }
    GO_ON
}

/// A lookaside list, and its memory; nothing if it could not be made.
unsafe fn lookaside() -> *mut wdk_sys::LOOKASIDE_LIST_EX {
    unsafe {
        let list: *mut wdk_sys::LOOKASIDE_LIST_EX = pool(4096).cast();
        let kind = wdk_sys::_POOL_TYPE::NonPagedPoolNx;
        if ExInitializeLookasideListEx(list, None, None, kind, 0, 64, TAG, 0) == 0 {
            return list;
        }
        ExFreePoolWithTag(list.cast(), TAG);
    }
    core::ptr::null_mut()
}

/// A lookaside list that is not deleted before the driver goes.
unsafe fn lookaside_left(_: &Scene) -> i32 {
    unsafe { lookaside() };
    GO_ON
}

/// A block that was never taken is counted.
unsafe fn lookaside_uncounted(_: &Scene) -> i32 {
    unsafe {
        let list = lookaside();
        if !list.is_null() {
            (*list).L.TotalAllocates += 1;
            ExDeleteLookasideListEx(list);
            ExFreePoolWithTag(list.cast(), TAG);
        }
    }
    GO_ON
}

/// A block is kept in a list of depth 0.
unsafe fn lookaside_too_deep(_: &Scene) -> i32 {
    unsafe {
        let list = lookaside();
        if !list.is_null() {
            (*list).L.TotalAllocates += 1;
            (*list).L.__bindgen_anon_2.AllocateMisses += 1;
            (*list).L.TotalFrees += 1;
            ExpInterlockedPushEntrySList(list.cast(), pool(64).cast());
            ExDeleteLookasideListEx(list);
            ExFreePoolWithTag(list.cast(), TAG);
        }
    }
    GO_ON
}

/// Memory that is writable and executable.
unsafe fn executable_pool(_: &Scene) -> i32 {
    unsafe { ExAllocatePoolWithTag(0, 64, TAG) };
    GO_ON
}

/// Calls a routine for PASSIVE_LEVEL at DISPATCH_LEVEL.
unsafe fn irql_ceiling(_: &Scene) -> i32 {
    unsafe {
        let mut lock: KSPIN_LOCK = 0;
        let irql = KeAcquireSpinLockRaiseToDpc(&mut lock);
        let _ = ZwClose(null_mut());
        KeReleaseSpinLock(&mut lock, irql);
    }
    GO_ON
}

/// Returns from a callback with a spin lock held.
unsafe fn spin_lock_left(_: &Scene) -> i32 {
    static LOCK: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    unsafe { KeAcquireSpinLockRaiseToDpc(LOCK.as_ptr().cast()) };
    GO_ON
}

/// Returns from a callback inside a critical region.
unsafe fn critical_region_left(_: &Scene) -> i32 {
    unsafe { KeEnterCriticalRegion() };
    GO_ON
}

unsafe fn uninitialised_event(_: &Scene) -> i32 {
    unsafe {
        let mut event = KEVENT::default();
        KeSetEvent(&mut event, 0, 0);
    }
    GO_ON
}

/// Releases a spin lock to another level than it was taken at.
unsafe fn restores_another_irql(_: &Scene) -> i32 {
    unsafe {
        let mut lock: KSPIN_LOCK = 0;
        KeAcquireSpinLockRaiseToDpc(&mut lock);
        KeReleaseSpinLock(&mut lock, 1);
    }
    GO_ON
}

unsafe fn allocates_without_tag(_: &Scene) -> i32 {
    unsafe { ExAllocatePool2(POOL_FLAG_NON_PAGED, 40, 0) };
    GO_ON
}

/// Believes that there is always memory. Right until there is not.
unsafe fn unchecked_allocation(_: &Scene) -> i32 {
    unsafe {
        let block = pool(40);
        block.write_volatile(1);
        ExFreePoolWithTag(block.cast(), TAG);
    }
    GO_ON
}

/// What [`unlocked_check`] made.
static MADE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Makes something on first use, without a lock: two threads may both find that it is not there.
unsafe fn unlocked_check(_: &Scene) -> i32 {
    if MADE.load(Ordering::Relaxed).is_null() {
        let block = unsafe { pool(40) };
        MADE.store(block, Ordering::Relaxed);
    }
    GO_ON
}

/// What a driver without faults would do at unload.
pub(crate) fn tidy() {
    let made = MADE.swap(null_mut(), Ordering::Relaxed);
    if !made.is_null() {
        unsafe { ExFreePoolWithTag(made.cast(), TAG) };
    }
}

/// Asks for a post-operation callback that was not registered (bugcheck 0xF5).
unsafe fn callback_without_post(_: &Scene) -> i32 {
    FLT_PREOP_SUCCESS_WITH_CALLBACK
}

/// Changes a parameter and does not say so.
unsafe fn changes_without_dirty(scene: &Scene) -> i32 {
    unsafe { (*(*scene.data).Iopb).Parameters.Create.ShareAccess = 0 };
    GO_ON
}

unsafe fn context_released_twice(scene: &Scene) -> i32 {
    unsafe {
        let mut context = null_mut();
        let kind = wdk_sys::_POOL_TYPE::NonPagedPoolNx as i32;
        if FltAllocateContext(scene.filter, FLT_INSTANCE_CONTEXT, 8, kind, &mut context) >= 0 {
            FltReleaseContext(context);
            FltReleaseContext(context);
        }
    }
    GO_ON
}

/// Name information that is not given back.
unsafe fn name_left(scene: &Scene) -> i32 {
    let mut name = null_mut();
    let wanted = FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT;
    let _ = unsafe { FltGetFileNameInformation(scene.data, wanted, &mut name) };
    GO_ON
}

/// Says that it is unloaded, and stays registered.
unsafe fn stays_registered(scene: &Scene) -> i32 {
    let _ = scene.objects;
    0
}

/// Registers a callback that is none of its code.
unsafe fn callback_outside(scene: &Scene) -> i32 {
    unsafe {
        let mut registration: FLT_REGISTRATION = core::mem::zeroed();
        registration.Size = size_of::<FLT_REGISTRATION>() as u16;
        registration.Version = FLT_REGISTRATION_VERSION;
        registration.FilterUnloadCallback =
            core::mem::transmute::<*mut u8, PFLT_FILTER_UNLOAD_CALLBACK>(pool(40));
        let mut filter = null_mut();
        FltRegisterFilter(scene.driver.cast(), &registration, &mut filter);
    }
    GO_ON
}
