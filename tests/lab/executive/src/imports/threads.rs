//! System threads, work items, stacks.

use std::ffi::c_void;

use lab_nt::OBJECT_ATTRIBUTES;

use crate::imports::raw::{attributes, put};
use crate::{Lab, imports, status};

const THREAD: &str = "a system thread";
const WORK_ITEM: &str = "a queued work item";
/// KERNEL_LARGE_STACK_SIZE and MAXIMUM_EXPANSION_SIZE of amd64 (ntddk.h).
const LARGE_STACK: usize = 0x12000;
const MAXIMUM_EXPANSION: usize = LARGE_STACK - 0x800;

/// WORK_QUEUE_ITEM: the routine follows the list entry.
#[repr(C)]
struct WorkItem {
    list: [usize; 2],
    routine: usize,
    parameter: *mut c_void,
}

type Routine = extern "win64" fn(*mut c_void);

/// # Safety
/// `address` is a routine of this signature in a driver.
unsafe fn routine(address: usize) -> Routine {
    // SAFETY: by this function's contract.
    unsafe { std::mem::transmute(std::ptr::with_exposed_provenance::<()>(address)) }
}

fn call_out(lab: &Lab, callout: usize, parameter: *mut c_void, size: usize) -> i32 {
    if size > MAXIMUM_EXPANSION {
        return status::INVALID_PARAMETER;
    }
    // SAFETY: the contract says an EXPAND_STACK_CALLOUT.
    let callout = unsafe { routine(callout) };
    let call = || lab.call_driver("a stack callout", || callout(parameter));
    if lab.stack_remaining(&lab.thread()) >= size {
        call();
    } else {
        lab.with_fresh_stack(LARGE_STACK, call);
    }
    status::SUCCESS
}

imports! {
    /// Threads.
    pub static TABLE in "ntoskrnl.exe";

    /// Makes a system thread.
    [ceiling: PASSIVE_LEVEL, Approximated("threads of the system process only"), fails: Status, source: "wdm/PsCreateSystemThread"]
    fn PsCreateSystemThread(lab; handle: *mut usize, access: u32, attributes_in: *const OBJECT_ATTRIBUTES, process: usize, client: *mut [usize; 2], start: usize, context: *mut c_void) -> i32 {
        // SAFETY: the contract says null or valid attributes.
        let attributes = match unsafe { attributes(lab, attributes_in) } {
            Ok(attributes) => attributes,
            Err(status) => return status,
        };
        if process != 0 {
            lab.report("unserved", "wdm/PsCreateSystemThread", "a thread in another process is not modelled");
        }
        let context = context.expose_provenance();
        let system = lab.processes.system();
        let thread = lab.spawn(&system, "driver thread", move |lab| {
            // SAFETY: the contract says a KSTART_ROUTINE.
            let start = unsafe { routine(start) };
            lab.call_driver("a system thread", || start(std::ptr::with_exposed_provenance_mut(context)));
        });
        lab.obligations.add(lab, thread.ethread.addr(), THREAD);
        let opened = lab.open_driver_handle(thread.ethread, access, attributes.kernel);
        // SAFETY: the contract says writable, the second may be null.
        unsafe {
            put(handle, opened);
            put(client, [4, thread.id as usize]);
        }
        status::SUCCESS
    }

    /// Ends the calling system thread.
    [ceiling: APC_LEVEL, Modelled, source: "wdm/PsTerminateSystemThread: from system threads only"]
    fn PsTerminateSystemThread(lab; status: i32) -> i32 {
        let thread = lab.thread();
        if thread.owner().is_some_and(|p| p.id != 4) {
            return status::INVALID_PARAMETER;
        }
        thread.exit_status.set(status);
        lab.end_thread()
    }

    /// Queues a work item.
    [ceiling: DISPATCH_LEVEL, Approximated("each item runs in a thread of its own; no limit on workers"), source: "wdm/ExQueueWorkItem"]
    fn ExQueueWorkItem(lab; item: *mut c_void, _queue: i32) {
        lab.queue_work_item(item.addr());
    }

    /// Stack left to the caller.
    [ceiling: HIGH_LEVEL, Approximated("24 KiB less the driver's own frames, and a nominal value per nested kernel call"), source: "wdm/IoGetRemainingStackSize"]
    fn IoGetRemainingStackSize(lab;) -> usize { lab.stack_remaining(&lab.thread()) }

    /// Bounds of the caller's stack.
    [ceiling: HIGH_LEVEL, Approximated("the low limit lies as far below the caller as IoGetRemainingStackSize says"), source: "wdm/IoGetStackLimits"]
    fn IoGetStackLimits(lab; low: *mut usize, high: *mut usize) {
        let thread = lab.thread();
        let (here, entry) = lab.stack_bounds(&thread);
        // SAFETY: the contract says writable.
        unsafe {
            put(low, here - lab.stack_remaining(&thread));
            put(high, entry);
        }
    }

    /// Calls a routine with a guaranteed stack.
    [ceiling: DISPATCH_LEVEL, Approximated("the budget is counted, the stack is the same"), fails: Status, source: "wdm/KeExpandKernelStackAndCallout"]
    fn KeExpandKernelStackAndCallout(lab; callout: usize, parameter: *mut c_void, size: usize) -> i32 {
        call_out(lab, callout, parameter, size)
    }

    /// Calls a routine with a guaranteed stack.
    [ceiling: DISPATCH_LEVEL, Approximated("the budget is counted, the stack is the same"), fails: Status, source: "wdm/KeExpandKernelStackAndCalloutEx"]
    fn KeExpandKernelStackAndCalloutEx(lab; callout: usize, parameter: *mut c_void, size: usize, wait: u8, context: *mut c_void) -> i32 {
        if !context.is_null() {
            lab.report("bad-parameter", "wdm/KeExpandKernelStackAndCalloutEx: Context must be NULL", "Context is not null");
        }
        if wait != 0 && lab.thread().irql.get() > crate::irql::APC_LEVEL {
            lab.report("irql-ceiling", "wdm/KeExpandKernelStackAndCalloutEx: Wait at IRQL <= APC_LEVEL", "Wait is TRUE at DISPATCH_LEVEL");
        }
        call_out(lab, callout, parameter, size)
    }
}

impl Lab {
    /// Queues the WORK_QUEUE_ITEM at `item`, as ExQueueWorkItem does.
    pub fn queue_work_item(&self, item: usize) {
        // SAFETY: the contract of ExQueueWorkItem says an initialised WORK_QUEUE_ITEM.
        let read = unsafe { std::ptr::with_exposed_provenance::<WorkItem>(item).read_unaligned() };
        if !self.obligations.add(self, item, WORK_ITEM) {
            self.report("work-item", "wdm/ExQueueWorkItem", "queues a work item that is queued");
        }
        let parameter = read.parameter.expose_provenance();
        self.spawn_worker("work item", move |lab| {
            // The item may be freed by its own routine.
            lab.obligations.remove(item, WORK_ITEM);
            // SAFETY: the contract says a WORKER_THREAD_ROUTINE.
            let run = unsafe { routine(read.routine) };
            lab.call_driver("a work item", || run(std::ptr::with_exposed_provenance_mut(parameter)));
        });
    }
}
