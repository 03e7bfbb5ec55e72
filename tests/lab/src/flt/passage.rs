//! The way of an operation: pre-operations top-down, the file system, post-operations bottom-up.
//!
//! An operation is moved along by whatever thread has it: first the one that issued it, later the one that
//! completed it in the file system or resumed it after a pended callback. Post-operations that Windows promises
//! to run in the issuing thread (create, fast I/O, synchronised) wait for that thread (minifilter-rules §2.5).

use std::rc::Rc;

use fltkernel::*;
use lab_executive::irql::{DISPATCH_LEVEL, PASSIVE_LEVEL};
use lab_executive::scheduler::MILLISECOND;

use super::Completions;
use super::altitude::Altitude;
use super::contract;
use super::instance::Instance;
use super::request::{Form, Frame, Operation, Phase, Request, status_block};
use crate::memory;
use crate::rooms::Rooms;
use crate::{Executive, io};

/// `IRP_PAGING_IO`, and `IRP_SYNCHRONOUS_PAGING_IO`.
const PAGING: u32 = 0x2 | 0x40;
const IRP_NOCACHE: u32 = 0x1;

/// Sends an operation down and waits for its end. `below`: only instances lower than this altitude see it.
pub(crate) fn issue(lab: &Executive, operation: Operation, below: Option<&Altitude>) -> IO_STATUS_BLOCK {
    let flt = lab.flt();
    let mount = lab.io().mount_of(operation.file);
    let chain = flt.chain(mount, below);
    let id = flt.next_request();
    let request = Request::new(lab, id, chain, operation);
    lab.trace.event("issue", (id << 8) | u64::from(request.major));
    flt.active.borrow_mut().push(request.clone());
    let me = lab.thread().id;
    loop {
        drive(lab, &request);
        if request.done() {
            break;
        }
        let waiting = request.clone();
        lab.block_until(format!("the completion of {}", request.label()), None, move || {
            waiting.done() || is_turn_of(&waiting, me)
        });
    }
    request.result.get()
}

/// Moves the operation as far as this thread can, and stays with it while a callback waits for this thread.
pub(crate) fn drive(lab: &Executive, request: &Rc<Request>) {
    let me = lab.thread().id;
    loop {
        advance(lab, request);
        if request.done() || !request.frames.borrow().iter().any(|frame| frame.thread == Some(me)) {
            return;
        }
        let waiting = request.clone();
        lab.block_until(format!("the way back of {}", request.label()), None, move || {
            waiting.done() || is_turn_of(&waiting, me)
        });
    }
}

fn is_turn_of(request: &Request, thread: u32) -> bool {
    request.phase.get() == Phase::Up
        && !request.moving.get()
        && request.frames.borrow().last().is_none_or(|frame| frame.thread.is_none_or(|own| own == thread))
}

fn advance(lab: &Executive, request: &Rc<Request>) {
    if request.moving.replace(true) {
        return;
    }
    let me = lab.thread().id;
    loop {
        match request.phase.get() {
            Phase::Down(level) => match request.chain.get(level) {
                Some(instance) => go_down(lab, request, level, instance),
                None => request.phase.set(Phase::FileSystem),
            },
            Phase::FileSystem => file_system(lab, request),
            Phase::Up => {
                let top = request.frames.borrow().last().map(|frame| frame.thread);
                match top {
                    None => finish(lab, request),
                    Some(Some(thread)) if thread != me => break,
                    Some(_) => go_up(lab, request),
                }
            }
            Phase::InPre(_) | Phase::InFileSystem | Phase::InPost | Phase::Done => break,
        }
    }
    request.moving.set(false);
}

fn skipped(flags: u32, request: &Request, iopb: &FLT_IO_PARAMETER_BLOCK) -> bool {
    // minifilter-rules §2.3.
    if !matches!(request.major, IRP_MJ_READ | IRP_MJ_WRITE) {
        return false;
    }
    let paging = iopb.IrpFlags & PAGING != 0;
    let cached = request.form == Form::FastIo || iopb.IrpFlags & (PAGING | IRP_NOCACHE) == 0;
    (paging && flags & FLTFL_OPERATION_REGISTRATION_SKIP_PAGING_IO != 0)
        || (cached && flags & FLTFL_OPERATION_REGISTRATION_SKIP_CACHED_IO != 0)
        || flags & FLTFL_OPERATION_REGISTRATION_SKIP_NON_DASD_IO != 0
        || (!cached && !paging && flags & FLTFL_OPERATION_REGISTRATION_SKIP_NON_CACHED_NON_PAGING_IO != 0)
}

fn go_down(lab: &Executive, request: &Rc<Request>, level: usize, instance: &Rc<Instance>) {
    let next = Phase::Down(level + 1);
    let Some(line) = instance.filter.operation(request.major).filter(|_| instance.attached()) else {
        request.phase.set(next);
        return;
    };
    let mut received = request.iopb();
    if skipped(line.flags, request, &received) {
        request.phase.set(next);
        return;
    }
    received.TargetInstance = address(instance);
    memory::write(request.block.down(), received);
    show(lab, request, level, instance, received.TargetFileObject);
    request.update(|data| {
        data.Iopb = request.block.down();
        data.Flags &= !(FLTFL_CALLBACK_DATA_DIRTY | FLTFL_CALLBACK_DATA_POST_OPERATION);
        data.IoStatus = status_block(0, 0);
    });
    let Some(pre) = line.pre else {
        let thread = contract::thread_of_post(request, None);
        let context = std::ptr::null_mut();
        request.frames.borrow_mut().push(Frame {
            instance: instance.clone(),
            level,
            received,
            context,
            post: line.post,
            thread,
        });
        request.phase.set(next);
        return;
    };
    request.phase.set(Phase::InPre(level));
    request.early.set(None);
    request.received.set(Some(received));
    instance.inside.set(instance.inside.get() + 1);
    let mut context: PVOID = std::ptr::null_mut();
    let data = request.block.data();
    let related = request.block.related(level);
    let highest = lab.flt().settings.borrow().pre_operations_at_ceiling;
    let ceiling = if highest { contract::pre_ceiling(request.major) } else { PASSIVE_LEVEL };
    let before = super::raise(lab, ceiling.max(lab.thread().irql.get()));
    let status = super::call(lab, "a pre-operation callback", || {
        // SAFETY: the registered callback, called as its type says, with memory that lives as long as the request.
        unsafe { pre(data, related, &raw mut context) }
    });
    super::lower(lab, before);
    if status == FLT_PREOP_PENDING {
        contract::may_pend(lab, request, instance);
        if let Some((status, context)) = request.early.take() {
            instance.inside.set(instance.inside.get() - 1);
            answer(lab, request, level, &received, status, context);
        }
        return;
    }
    instance.inside.set(instance.inside.get() - 1);
    if request.early.take().is_some() {
        contract::broken(
            lab,
            "completed-not-pended",
            "fltkernel/FltCompletePendedPreOperation",
            format!(
                "{} completed {} but its pre-operation returned {status}",
                instance.label(),
                request.label()
            ),
        );
    }
    answer(lab, request, level, &received, status, context);
}

/// Follows a pre-operation's answer, whether returned or given later.
pub(crate) fn answer(
    lab: &Executive,
    request: &Rc<Request>,
    level: usize,
    received: &FLT_IO_PARAMETER_BLOCK,
    status: i32,
    context: PVOID,
) {
    let instance = request.chain[level].clone();
    let line = instance.filter.operation(request.major).copied();
    let post = line.and_then(|line| line.post);
    contract::check_parameters(lab, request, &instance, received, status);
    contract::check_answer(lab, request, &instance, status, context, post.is_some());
    let synchronised = status == FLT_PREOP_SYNCHRONIZE;
    match status {
        FLT_PREOP_SUCCESS_WITH_CALLBACK | FLT_PREOP_SYNCHRONIZE => {
            let me = synchronised.then(|| lab.thread().id);
            let thread = contract::thread_of_post(request, me);
            let received = *received;
            request.frames.borrow_mut().push(Frame { instance, level, received, context, post, thread });
            request.phase.set(Phase::Down(level + 1));
        }
        FLT_PREOP_SUCCESS_NO_CALLBACK => request.phase.set(Phase::Down(level + 1)),
        FLT_PREOP_DISALLOW_FASTIO => {
            request.set_status(STATUS_FLT_DISALLOW_FAST_IO, 0);
            request.phase.set(Phase::Up);
        }
        FLT_PREOP_DISALLOW_FSFILTER_IO => {
            request.set_status(contract::STATUS_FLT_DISALLOW_FSFILTER_IO, 0);
            request.phase.set(Phase::Up);
        }
        _ => request.phase.set(Phase::Up),
    }
}

fn file_system(lab: &Executive, request: &Rc<Request>) {
    request.phase.set(Phase::InFileSystem);
    let mut iopb = request.iopb();
    iopb.TargetInstance = std::ptr::null_mut();
    let result = io::file_system::dispatch(lab, request, &iopb);
    request.set_status(result.Status, result.Information);
    request.phase.set(Phase::Up);
    let completions = lab.flt().settings.borrow().completions;
    if request.form != Form::Irp || request.frames.borrow().is_empty() {
        return;
    }
    // minifilter-rules §2.5: up to DISPATCH_LEVEL, arbitrary thread.
    let data = matches!(request.major, IRP_MJ_READ | IRP_MJ_WRITE);
    let (level, late) = match completions {
        Completions::Seeded if data => match lab.random.below(4) {
            0 => (DISPATCH_LEVEL, 0),
            1 => (PASSIVE_LEVEL, 0),
            _ => return,
        },
        Completions::Late if data => (DISPATCH_LEVEL, lab.random.below(50) as i64 * MILLISECOND),
        Completions::Highest if !contract::in_issuing_thread(request.major) => (DISPATCH_LEVEL, 0),
        Completions::Here | Completions::Seeded | Completions::Late | Completions::Highest => return,
    };
    request.phase.set(Phase::InFileSystem);
    let carried = request.clone();
    lab.spawn(&lab.processes.system(), "completion", move |lab| {
        if late > 0 {
            lab.delay(late);
        }
        carried.phase.set(Phase::Up);
        let old = super::raise(lab, level);
        drive(lab, &carried);
        super::lower(lab, old);
    });
}

fn go_up(lab: &Executive, request: &Rc<Request>) {
    let Some(frame) = request.frames.borrow_mut().pop() else { return };
    let Some(post) = frame.post else { return };
    let mut own = frame.received;
    own.TargetInstance = address(&frame.instance);
    memory::write(request.block.up(), own);
    show(lab, request, frame.level, &frame.instance, frame.received.TargetFileObject);
    request.update(|data| {
        data.Iopb = request.block.up();
        data.Flags |= FLTFL_CALLBACK_DATA_POST_OPERATION;
        data.Flags &= !FLTFL_CALLBACK_DATA_DIRTY;
    });
    let before = request.data().IoStatus;
    let data = request.block.data();
    let related = request.block.related(frame.level);
    request.phase.set(Phase::InPost);
    request.early_post.set(false);
    frame.instance.inside.set(frame.instance.inside.get() + 1);
    let status = super::call(lab, "a post-operation callback", || {
        // SAFETY: the registered callback, called as its type says, with memory that lives as long as the request.
        unsafe { post(data, related, frame.context, 0) }
    });
    contract::check_post(lab, request, &frame, status, &before);
    if status == FLT_POSTOP_MORE_PROCESSING_REQUIRED && !request.early_post.take() {
        *request.pended_post.borrow_mut() = Some(frame.instance);
        return;
    }
    frame.instance.inside.set(frame.instance.inside.get() - 1);
    request.phase.set(Phase::Up);
}

/// A post-operation that wanted more time has finished.
pub(crate) fn resume_post(lab: &Executive, request: &Rc<Request>) {
    let pended = request.pended_post.borrow_mut().take();
    match pended {
        Some(instance) => instance.inside.set(instance.inside.get() - 1),
        // The callback has not returned yet; its thread goes on when it does.
        None if request.phase.get() == Phase::InPost => return request.early_post.set(true),
        None => contract::broken(
            lab,
            "complete-not-pended",
            "fltkernel/FltCompletePendedPostOperation",
            format!("{} is not in a post-operation", request.label()),
        ),
    }
    request.phase.set(Phase::Up);
    drive(lab, request);
}

fn finish(lab: &Executive, request: &Rc<Request>) {
    let result = request.data().IoStatus;
    request.result.set(result);
    request.phase.set(Phase::Done);
    lab.trace.event("done", (request.id << 32) | u64::from(result.Status.cast_unsigned()));
    lab.flt().active.borrow_mut().retain(|other| other.id != request.id);
    lab.free_own(request.block.data().cast());
}

fn address(instance: &Instance) -> PFLT_INSTANCE {
    std::ptr::with_exposed_provenance_mut(instance.address)
}

/// Fills the related objects that the instance is about to see.
fn show(lab: &Executive, request: &Request, level: usize, instance: &Instance, file: PFILE_OBJECT) {
    let (transaction, miniversion) = lab.io().transaction_of(lab, file, request.create.as_deref());
    memory::write(
        request.block.related(level),
        FLT_RELATED_OBJECTS {
            Size: size_of::<FLT_RELATED_OBJECTS>() as u16,
            TransactionContext: miniversion,
            Filter: std::ptr::with_exposed_provenance_mut(instance.filter.address),
            Volume: std::ptr::with_exposed_provenance_mut(lab.flt().volume_address(instance.mount)),
            Instance: address(instance),
            FileObject: file,
            Transaction: transaction,
        },
    );
}

/// Ends the callbacks that a leaving instance is owed: each gets its completion context back, marked as draining
/// (minifilter-rules §2.5).
pub(crate) fn drain(lab: &Executive, instance: &Rc<Instance>) {
    let active = lab.flt().active.borrow().clone();
    for request in active {
        loop {
            let found =
                request.frames.borrow().iter().position(|frame| Rc::ptr_eq(&frame.instance, instance));
            let Some(index) = found else { break };
            let frame = request.frames.borrow_mut().remove(index);
            let Some(post) = frame.post else { continue };
            let copy = lab
                .allocate_own(size_of::<FLT_CALLBACK_DATA>() + size_of::<FLT_IO_PARAMETER_BLOCK>(), b"FmDr");
            let data: *mut FLT_CALLBACK_DATA = copy.cast();
            let iopb: *mut FLT_IO_PARAMETER_BLOCK = copy.wrapping_add(size_of::<FLT_CALLBACK_DATA>()).cast();
            memory::write(iopb, frame.received);
            let mut shown = request.data();
            shown.Iopb = iopb;
            shown.Flags |= FLTFL_CALLBACK_DATA_DRAINING_IO | FLTFL_CALLBACK_DATA_POST_OPERATION;
            shown.IoStatus = status_block(contract::STATUS_FLT_POST_OPERATION_CLEANUP, 0);
            memory::write(data, shown);
            let related = request.block.related(frame.level);
            let status = super::call(lab, "a draining post-operation callback", || {
                // SAFETY: the registered callback with live memory; draining is said in the flags.
                unsafe { post(data, related, frame.context, FLTFL_POST_OPERATION_DRAINING) }
            });
            if status != FLT_POSTOP_FINISHED_PROCESSING {
                contract::broken(
                    lab,
                    "draining-not-finished",
                    "minifilter-rules §2.5",
                    format!("{} returned {status} from a draining post-operation", instance.label()),
                );
            }
            lab.free_own(copy);
        }
    }
}
