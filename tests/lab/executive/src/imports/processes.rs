//! Who runs: processes and threads.

use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use lab_nt::UNICODE_STRING;

use crate::imports::raw::{put, put_bytes};
use crate::pool::Kind;
use crate::process::Notify;
use crate::{Lab, Process, Thread, imports, status};

const NOTIFY: &str = "a process notify routine";
/// Limit of process notify routines (PSP_MAX_CREATE_PROCESS_NOTIFY, as reported for Windows 8 and later).
const MOST_ROUTINES: usize = 64;
const FORCE_INTEGRITY: u16 = 0x80;

fn process_at(lab: &Lab, body: *const u8) -> Rc<Process> {
    match lab.objects.process_at(body) {
        Some(process) => process,
        None => {
            lab.violate("bad-object-type", "wdm: PEPROCESS", "passes something else where a process belongs")
        }
    }
}

fn thread_at(lab: &Lab, body: *const u8) -> Rc<Thread> {
    match lab.objects.thread_at(body) {
        Some(thread) => thread,
        None => {
            lab.violate("bad-object-type", "wdm: PETHREAD", "passes something else where a thread belongs")
        }
    }
}

fn current(lab: &Lab) -> *mut u8 {
    lab.thread().process().map_or(ptr::null_mut(), |p| p.eprocess)
}

fn set_notify(lab: &Lab, routine: usize, remove: u8, extended: bool) -> i32 {
    let mut notify = lab.processes.notify.borrow_mut();
    let at = notify.iter().position(|n| n.routine == routine && n.extended == extended);
    match (remove != 0, at) {
        (true, Some(at)) => {
            let removed = notify.remove(at);
            drop(notify);
            // Calls that are under way are waited for (txf-ktm §8.1).
            if removed.running.get() != 0 {
                lab.block_until("a process notify routine that runs", None, || removed.running.get() == 0);
            }
            lab.obligations.remove(routine, NOTIFY);
            status::SUCCESS
        }
        (true, None) => status::PROCEDURE_NOT_FOUND,
        (false, Some(_)) => status::INVALID_PARAMETER,
        (false, None) if notify.len() == MOST_ROUTINES => status::INVALID_PARAMETER,
        (false, None) => {
            notify.push(Notify { routine, extended, running: Rc::default() });
            lab.obligations.add(lab, routine, NOTIFY);
            status::SUCCESS
        }
    }
}

fn set_notify_extended(lab: &Lab, routine: usize, remove: u8) -> i32 {
    let image = lab.images.index_of(routine).map(|index| lab.images.get(index));
    if image.is_some_and(|image| image.dll_characteristics & FORCE_INTEGRITY == 0) {
        return status::ACCESS_DENIED;
    }
    set_notify(lab, routine, remove, true)
}

imports! {
    /// Processes and threads.
    pub static TABLE in "ntoskrnl.exe";

    /// The process that the thread runs in.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/IoGetCurrentProcess"]
    fn IoGetCurrentProcess(lab;) -> *mut u8 { current(lab) }

    /// The process that the thread runs in.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/PsGetCurrentProcess"]
    fn PsGetCurrentProcess(lab;) -> *mut u8 { current(lab) }

    /// The running thread.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/PsGetCurrentThread"]
    fn PsGetCurrentThread(lab;) -> *mut u8 { lab.thread().ethread }

    /// The running thread.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "wdm/KeGetCurrentThread"]
    fn KeGetCurrentThread(lab;) -> *mut u8 { lab.thread().ethread }

    /// Id of the thread's own process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetCurrentProcessId"]
    fn PsGetCurrentProcessId(lab;) -> usize { lab.thread().owner().map_or(0, |p| p.id as usize) }

    /// Id of the running thread.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetCurrentThreadId"]
    fn PsGetCurrentThreadId(lab;) -> usize { lab.thread().id as usize }

    /// Id of a process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetProcessId"]
    fn PsGetProcessId(lab; process: *const u8) -> usize { process_at(lab, process).id as usize }

    /// Id of a process's maker.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "PsGetProcessInheritedFromUniqueProcessId (undocumented, exported)"]
    fn PsGetProcessInheritedFromUniqueProcessId(lab; process: *const u8) -> usize { process_at(lab, process).parent as usize }

    /// System time at which a process was made.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetProcessCreateTimeQuadPart"]
    fn PsGetProcessCreateTimeQuadPart(lab; process: *const u8) -> i64 { process_at(lab, process).created }

    /// Exit status of a process; 0x103 while it runs.
    [ceiling: APC_LEVEL, Modelled, source: "ntddk/PsGetProcessExitStatus (txf-ktm §8.1)"]
    fn PsGetProcessExitStatus(lab; process: *const u8) -> i32 { process_at(lab, process).exit_status() }

    /// Id of a thread.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetThreadId"]
    fn PsGetThreadId(lab; thread: *const u8) -> usize { thread_at(lab, thread).id as usize }

    /// Id of a thread's process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntddk/PsGetThreadProcessId"]
    fn PsGetThreadProcessId(lab; thread: *const u8) -> usize { thread_at(lab, thread).owner().map_or(0, |p| p.id as usize) }

    /// A thread's process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/IoThreadToProcess"]
    fn IoThreadToProcess(lab; thread: *const u8) -> *mut u8 {
        thread_at(lab, thread).owner().map_or(ptr::null_mut(), |p| p.eprocess)
    }

    /// A thread's process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/PsGetThreadProcess"]
    fn PsGetThreadProcess(lab; thread: *const u8) -> *mut u8 {
        thread_at(lab, thread).owner().map_or(ptr::null_mut(), |p| p.eprocess)
    }

    /// Whether a thread is being torn down.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/PsIsThreadTerminating (txf-ktm §8.1)"]
    fn PsIsThreadTerminating(lab; thread: *const u8) -> u8 { u8::from(thread_at(lab, thread).terminating.get()) }

    /// Whether a thread belongs to the system process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/PsIsSystemThread"]
    fn PsIsSystemThread(lab; thread: *const u8) -> u8 {
        u8::from(thread_at(lab, thread).owner().is_some_and(|p| p.id == 4))
    }

    /// Full path of a process's image; the caller frees it.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A), source: "ntddk/SeLocateProcessImageName"]
    fn SeLocateProcessImageName(lab; process: *const u8, name: *mut *mut UNICODE_STRING) -> i32 {
        let image: Vec<u8> = process_at(lab, process).image.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let head = size_of::<UNICODE_STRING>();
        let memory = lab.allocate(head + image.len() + 2, Kind::Paged, u32::from_le_bytes(*b"SeIn"));
        let buffer = memory.wrapping_add(head);
        // SAFETY: the block has room for the string, its characters and a terminator; `name` is writable.
        unsafe {
            put_bytes(buffer, &image);
            put_bytes(buffer.wrapping_add(image.len()), &[0, 0]);
            let string = UNICODE_STRING {
                Length: image.len() as u16,
                MaximumLength: image.len() as u16 + 2,
                Buffer: buffer.cast(),
            };
            put(memory.cast(), string);
            put(name, memory.cast());
        }
        status::SUCCESS
    }

    /// The process with an id, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "ntifs/PsLookupProcessByProcessId"]
    fn PsLookupProcessByProcessId(lab; id: usize, process: *mut *mut u8) -> i32 {
        match u32::try_from(id).ok().and_then(|id| lab.processes.find(id)) {
            Some(found) => {
                lab.objects.reference(lab, found.eprocess);
                lab.objects.note_driver_reference(lab, found.eprocess, 1);
                // SAFETY: the contract says writable.
                unsafe { put(process, found.eprocess) };
                status::SUCCESS
            }
            None => status::INVALID_CID,
        }
    }

    /// The thread with an id, referenced.
    [ceiling: APC_LEVEL, Modelled, fails: Status, source: "ntifs/PsLookupThreadByThreadId"]
    fn PsLookupThreadByThreadId(lab; id: usize, thread: *mut *mut u8) -> i32 {
        match lab.scheduler.threads().into_iter().find(|t| t.id as usize == id) {
            Some(found) => {
                lab.objects.reference(lab, found.ethread);
                lab.objects.note_driver_reference(lab, found.ethread, 1);
                // SAFETY: the contract says writable.
                unsafe { put(thread, found.ethread) };
                status::SUCCESS
            }
            None => status::INVALID_CID,
        }
    }

    /// Adds or removes a process notify routine.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "ntddk/PsSetCreateProcessNotifyRoutine"]
    fn PsSetCreateProcessNotifyRoutine(lab; routine: usize, remove: u8) -> i32 { set_notify(lab, routine, remove, false) }

    /// Adds or removes an extended process notify routine; the image must be linked with /INTEGRITYCHECK.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "ntddk/PsSetCreateProcessNotifyRoutineEx (txf-ktm §8.1)"]
    fn PsSetCreateProcessNotifyRoutineEx(lab; routine: usize, remove: u8) -> i32 { set_notify_extended(lab, routine, remove) }

    /// Attaches the thread to a process.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/KeStackAttachProcess"]
    fn KeStackAttachProcess(lab; process: *const u8, _state: *mut c_void) {
        let process = process_at(lab, process);
        lab.thread().attached.borrow_mut().push(process);
    }

    /// Detaches the thread.
    [ceiling: DISPATCH_LEVEL, Modelled, source: "ntifs/KeUnstackDetachProcess"]
    fn KeUnstackDetachProcess(lab; _state: *mut c_void) {
        if lab.thread().attached.borrow_mut().pop().is_none() {
            lab.report("attach", "ntifs/KeUnstackDetachProcess", "detaches a thread that is not attached");
        }
    }
}

/// PS_CREATE_NOTIFY_INFO (ntddk.h), x64.
#[repr(C)]
struct CreateInfo {
    size: usize,
    flags: usize,
    parent: usize,
    creator: [usize; 2],
    file_object: usize,
    image: *const UNICODE_STRING,
    command_line: *const UNICODE_STRING,
    status: i32,
}

const _: () = assert!(size_of::<CreateInfo>() == 72);

type Plain = extern "win64" fn(usize, usize, u8);
type Extended = extern "win64" fn(*mut u8, usize, *mut CreateInfo);

impl Lab {
    /// Calls the registered notify routines: at `PASSIVE_LEVEL`, in a critical region (`txf-ktm §8.1`). A veto
    /// (CreationStatus) is not modelled and stops the run.
    pub(crate) fn notify_process(&self, process: &Rc<Process>, created: bool) {
        let routines = self.processes.notify.borrow().clone();
        self.enter_critical_region();
        for notify in routines {
            // One that was removed meanwhile is not called any more.
            let is_it = |other: &Notify| Rc::ptr_eq(&other.running, &notify.running);
            if !self.processes.notify.borrow().iter().any(is_it) {
                continue;
            }
            notify.running.set(notify.running.get() + 1);
            let routine = ptr::with_exposed_provenance::<()>(notify.routine);
            let (id, parent) = (process.id as usize, process.parent as usize);
            if notify.extended {
                // SAFETY: registered as a PCREATE_PROCESS_NOTIFY_ROUTINE_EX.
                let routine: Extended = unsafe { std::mem::transmute(routine) };
                if created {
                    self.notify_created(process, routine);
                } else {
                    self.call_driver("a process notify routine", || {
                        routine(process.eprocess, id, ptr::null_mut())
                    });
                }
            } else {
                // SAFETY: registered as a PCREATE_PROCESS_NOTIFY_ROUTINE.
                let routine: Plain = unsafe { std::mem::transmute(routine) };
                self.call_driver("a process notify routine", || routine(parent, id, u8::from(created)));
            }
            notify.running.set(notify.running.get() - 1);
        }
        self.leave_critical_region();
    }

    fn notify_created(&self, process: &Rc<Process>, routine: Extended) {
        let mut image: Vec<u16> = process.image.encode_utf16().collect();
        let length = (image.len() * 2) as u16;
        let name = UNICODE_STRING { Length: length, MaximumLength: length, Buffer: image.as_mut_ptr() };
        let mut info = CreateInfo {
            size: size_of::<CreateInfo>(),
            flags: 0,
            parent: process.parent as usize,
            creator: [self.thread().owner().map_or(0, |p| p.id as usize), self.thread().id as usize],
            file_object: 0,
            image: &raw const name,
            command_line: ptr::null(),
            status: status::SUCCESS,
        };
        self.call_driver("a process notify routine", || {
            routine(process.eprocess, process.id as usize, &raw mut info)
        });
        // SAFETY: `info` is this frame's; the driver wrote through the pointer that it was given.
        if unsafe { (&raw const info.status).read_volatile() } < 0 {
            self.report("unserved", "ntddk/PS_CREATE_NOTIFY_INFO", "vetoing a process is not modelled");
        }
    }
}
