//! Operations that go to the twin, by the table in `operations.rs`.

use core::sync::atomic::Ordering;

use kernel::Status;
use kernel::callback::{Before, Callback, Either, Operation};
use kernel::context::{ContextRef, Entered};
use kernel::file::LowerFile;
use kernel::fltkernel::{IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_SET_INFORMATION};

use kernel::pool::Shared;
use kernel::process;
use wdk_sys::{IRP_PAGING_IO, IRP_SYNCHRONOUS_PAGING_IO};

use super::create::has_stack;
use super::{Modifies, Treatment, may_do_without, treatment, way};
use crate::Intact;
use crate::report::counters;
use crate::save::failure::{is_transaction_problem, is_unsupported, told};
use crate::save::files::Files;
use crate::save::live::Save;
use crate::save::redirect::{Redirect, Role};
use crate::save::state::Effect;
use crate::save::wounds::{Change, Range};

/// Any operation but a write (`write.rs`) or a lock (`lock.rs`).
pub struct Swapped<const MAJOR: u8>;

impl<const MAJOR: u8> Operation for Swapped<MAJOR> {
    const MAJOR: u8 = MAJOR;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    /// Redirected, or an untouched handle that may be in a save's way.
    type Carry = Either<Entered<Redirect>, ()>;

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match Redirect::of(data) {
            // Some controls need no right on their handle that would keep it and a transaction apart. (Settings: `rename.rs`.)
            Ok(None) if MAJOR == IRP_MJ_FILE_SYSTEM_CONTROL && Redirect::any(data) => untouched(data),
            Ok(None) => Before::Pass,
            Ok(Some(redirect)) => redirected(data, redirect),
            Err(status) => unknown(data, status),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        match carry {
            Either::First(entered) => after(data, &entered),
            Either::Second(()) => came_back_untouched(data),
        }
    }
}

/// After any swapped operation of the table. Up to DISPATCH_LEVEL.
pub(super) fn after(data: &mut Callback<'_>, redirect: &Entered<Redirect>) {
    let effect = match treatment(data.major(), detail(data)) {
        // Outside of any transaction: it is no part of what the next one begins with.
        Treatment::Swap(_)
            if may_do_without(detail(data))
                && data.major() == IRP_MJ_FILE_SYSTEM_CONTROL
                && redirect.save.as_ref().is_some_and(|save| save.rests()) =>
        {
            Effect::None
        }
        Treatment::Swap(modifies) => {
            if modifies == Modifies::Zeros
                && data.status().is_success()
                && let Some(save) = &redirect.save
            {
                save.note_modified();
            }
            if empties(data) {
                redirect.emptied.store(true, Ordering::Release);
            }
            effect(data, modifies)
        }
        _ => Effect::None,
    };
    came_back(data, redirect, Some(redirect.inside()), effect);
}

/// After an operation that went to the handle's own file object. Up to DISPATCH_LEVEL.
pub(super) fn came_back_untouched(data: &mut Callback<'_>) {
    if !data.has_transaction() && is_transaction_problem(data.status().0 as u32) {
        data.set_status(Status::SHARING_VIOLATION, 0);
    }
}

/// Whether the handle is redirected could not be told. If it is, passing the operation would miss the twin; so it fails,
/// and as nobody knows which save it was for, none of the process's may commit if it was to modify.
#[cold]
pub(super) fn unknown<C>(data: &Callback<'_>, status: Status) -> Before<C> {
    let modifies = !matches!(
        treatment(data.major(), detail(data)),
        Treatment::Pass | Treatment::NoShortcut | Treatment::Swap(Modifies::Nothing)
    );
    if modifies && let Ok(files) = ContextRef::<Files>::of_instance(data.instance()) {
        files.force(data.process().key());
    }
    Before::Complete(status, 0)
}

/// A control of a handle that is not redirected, which may be told about somebody's transaction.
#[cold]
#[inline(never)]
fn untouched(data: &Callback<'_>) -> Before<Either<Entered<Redirect>, ()>> {
    if counters::any_settling() {
        way::of_control(data);
    }
    Before::Watch(Either::Second(()))
}

/// A redirected operation.
pub(super) fn redirected(
    data: &mut Callback<'_>,
    redirect: ContextRef<Redirect>,
) -> Before<Either<Entered<Redirect>, ()>> {
    if redirect.role == Role::Reader && is_paging(data) {
        // Pages of a section on its own file object: they belong to the last committed version, and to everybody.
        return Before::Pass;
    }
    match treatment(data.major(), detail(data)) {
        Treatment::Pass => Before::Pass,
        // A reader's own file object is whole; what it may do there is the file system's business.
        Treatment::Refuse(_) if redirect.role == Role::Reader => Before::Watch(Either::Second(())),
        Treatment::Refuse(status) => Before::Complete(status, 0),
        // By its own operation, which does not come here.
        Treatment::Own => Before::Complete(Status::NOT_SUPPORTED, 0),
        Treatment::NoShortcut => Before::DisallowFastIo,
        Treatment::Swap(_) if data.is_fast_io() => Before::DisallowFastIo,
        Treatment::Swap(modifies)
            if data.major() == IRP_MJ_FILE_SYSTEM_CONTROL
                && redirect.role == Role::Writer
                && may_do_without(data.control_code()) =>
        {
            or_without(data, redirect, modifies)
        }
        Treatment::Swap(modifies) => match enter(resumed(data, redirect, modifies)) {
            Ok(entered) => {
                send(data, &entered);
                Before::Watch(Either::First(entered))
            }
            Err(answer) => answer.into(),
        },
    }
}

/// A control that TxF need not take: it is tried in the transaction; if it is not taken there, what the save has is committed,
/// and the control carried out without a transaction, as it is without us. Where the save cannot do without one, it is told as
/// by a volume that does not know the control. PASSIVE_LEVEL, without locks.
#[cold]
#[inline(never)]
fn or_without(
    data: &mut Callback<'_>,
    redirect: ContextRef<Redirect>,
    modifies: Modifies,
) -> Before<Either<Entered<Redirect>, ()>> {
    let redirect = resumed(data, redirect, modifies);
    let save = redirect.save.clone();
    let mut entered = match enter(redirect) {
        Ok(entered) => entered,
        Err(answer) => return answer.into(),
    };
    if let Some(save) = save.filter(|save| save.is_transacted()) {
        lend_position(data, &entered);
        let tried = entered.inside().object().control_as(data.instance(), data);
        let status = tried.err().unwrap_or(Status::SUCCESS);
        data.set_status(status, 0);
        if !is_unsupported(status.0 as u32) {
            after(data, &entered);
            return Before::Complete(data.status(), 0);
        }
        let redirect = ContextRef::clone(&entered);
        drop(entered);
        do_without(data, &save);
        entered = match enter(redirect) {
            Ok(entered) => entered,
            Err(answer) => return answer.into(),
        };
    }
    send(data, &entered);
    Before::Watch(Either::First(entered))
}

/// A save's program asks for what no transaction does: [`Save::do_without`], where files can be opened. PASSIVE_LEVEL, without
/// locks.
pub(super) fn do_without(data: &Callback<'_>, save: &Save) {
    if let Some(intact) = Intact::get()
        && !process::is_inside_file_system()
        && has_stack()
    {
        save.do_without(intact, data.instance());
    }
}

fn is_paging(data: &Callback<'_>) -> bool {
    data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0
}

/// Why an operation does not go to the twin.
pub(super) enum Answer {
    /// The handle's own file object serves it.
    Own,
    /// It fails.
    Fail(Status),
}

impl<C> From<Answer> for Before<C> {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Own => Before::Pass,
            Answer::Fail(status) => Before::Complete(status, 0),
        }
    }
}

/// Before an operation that modifies: whoever does it takes part, and a save that rests has a transaction again.
/// PASSIVE_LEVEL, without locks.
#[inline]
pub(super) fn resumed(
    data: &Callback<'_>,
    redirect: ContextRef<Redirect>,
    modifies: Modifies,
) -> ContextRef<Redirect> {
    if modifies != Modifies::Nothing
        && redirect.role == Role::Writer
        && let Some(save) = &redirect.save
    {
        save.is_modified(data);
        resume(data, save);
    }
    redirect
}

/// A save that rests has a transaction again, or goes on without. PASSIVE_LEVEL, without locks.
#[inline]
pub(super) fn resume(data: &Callback<'_>, save: &Shared<Save>) {
    if save.rests() {
        begin_again(data, save);
    }
}

#[cold]
fn begin_again(data: &Callback<'_>, save: &Shared<Save>) {
    let Some(intact) = Intact::get() else { return };
    let instance = data.instance();
    // From inside a file system nothing can be opened, and who writes pages must not wait.
    let may_open = !process::is_inside_file_system() && !is_paging(data) && has_stack();
    if save.resume(intact, instance, may_open)
        // A limit that cannot be kept for want of memory is no reason to go on without a transaction.
        && let Ok(true) = intact.clock.limits().add(save, instance)
    {
        intact.clock.wake();
    }
}

/// Goes in to the twin; waits while it is exchanged. Operations before us run at PASSIVE_LEVEL or APC_LEVEL, where that is
/// allowed, and paging I/O never comes here: a writing handle has no section of its own. IRQL up to APC_LEVEL.
pub(super) fn enter(redirect: ContextRef<Redirect>) -> Result<Entered<Redirect>, Answer> {
    // After the transaction is gone nothing on this handle can be true any more; a status of TxF would be one that
    // programs do not know.
    let gone = |redirect: &Redirect| redirect.save.as_ref().is_some_and(|save| save.is_gone());
    match Entered::enter(redirect) {
        Ok(entered) if !gone(&entered) => Ok(entered),
        Err(redirect) if !gone(&redirect) => Err(match redirect.role {
            Role::Reader => Answer::Own,
            Role::Writer => Answer::Fail(Status::FILE_CLOSED),
        }),
        _ => Err(Answer::Fail(Status::UNEXPECTED_IO_ERROR)),
    }
}

pub(super) fn send(data: &mut Callback<'_>, redirect: &Entered<Redirect>) {
    lend_position(data, redirect);
    data.send_to(redirect.inside().object());
}

/// The twin has the handle's position, until [`came_back`]: it is part of some information classes, also where reads and writes
/// do without it.
#[inline]
fn lend_position(data: &Callback<'_>, redirect: &Entered<Redirect>) {
    if let Some(file) = data.file() {
        redirect.inside().object().set_position(file.position());
    }
}

/// After a swapped operation; `twin` if it may have moved the position. Up to DISPATCH_LEVEL.
pub(super) fn came_back(
    data: &mut Callback<'_>,
    redirect: &Redirect,
    twin: Option<&LowerFile>,
    effect: Effect,
) {
    let mut status = data.status();
    if is_unsupported(status.0 as u32) {
        // Nothing was done: it is as on a volume that cannot do it.
        status = Status(told(status.0 as u32) as i32);
    }
    // It had the handle's own, which only reads and writes move that succeed.
    if let (Some(file), Some(twin)) = (data.file(), twin)
        && file.is_synchronous()
    {
        file.set_position(twin.object().position());
    }
    if let Some(save) = &redirect.save {
        save.came_back(redirect.place, effect, status);
    }
    let answer = Status(told(status.0 as u32) as i32);
    if answer != data.status() {
        data.set_status(answer, 0);
    }
}

fn detail(data: &Callback<'_>) -> Option<u32> {
    data.information_class().or_else(|| data.control_code())
}

fn effect(data: &Callback<'_>, modifies: Modifies) -> Effect {
    match modifies {
        Modifies::Nothing | Modifies::Bytes => Effect::None,
        // It ends with the file, so how far it went is not known: it heals nothing.
        Modifies::Zeros if data.status().is_success() => Effect::Bytes(None),
        Modifies::Zeros => match data.zero_range() {
            Some((from, to)) => Effect::Bytes(zeros(from, to)),
            None => Effect::Change(Change::Control),
        },
        Modifies::Size => match data.new_end_of_file() {
            Some(size) => Effect::Size(u64::try_from(size).unwrap_or(0)),
            None => Effect::Change(Change::Size),
        },
        Modifies::Other(change) => Effect::Change(change),
    }
}

/// Whether it has made a file empty: its end or its allocation was set to nothing.
fn empties(data: &Callback<'_>) -> bool {
    const FILE_ALLOCATION_INFORMATION: u32 = 19;
    const FILE_END_OF_FILE_INFORMATION: u32 = 20;
    data.status().is_success()
        && matches!(
            data.information_class(),
            Some(FILE_ALLOCATION_INFORMATION | FILE_END_OF_FILE_INFORMATION)
        )
        && data.major() == IRP_MJ_SET_INFORMATION
        && data.information_buffer().first_chunk::<8>() == Some(&[0; 8])
}

fn zeros(from: i64, to: i64) -> Option<Range> {
    let length = to.checked_sub(from).and_then(|length| u64::try_from(length).ok())?;
    Range::new(u64::try_from(from).ok()?, length)
}
