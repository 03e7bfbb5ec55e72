//! Operations that go to the twin, by the table in `operations.rs`.

use kernel::Status;
use kernel::callback::{Before, Callback, Operation, Parcel};
use kernel::context::{ContextRef, Entered};
use kernel::fltkernel::{IRP_MJ_LOCK_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE};
use kernel::pool::Tag;

use super::{Modifies, Treatment, treatment};
use wdk_sys::{IRP_PAGING_IO, IRP_SYNCHRONOUS_PAGING_IO};

use crate::save::failure::{Failure, classify};
use crate::save::live::{Redirect, Role};
use crate::save::state::Effect;
use crate::save::wounds::Range;

const TAG: Tag = Tag::new(b"InSw");

/// Any operation but a write or a lock.
pub struct Swapped<const MAJOR: u8>;

/// Writes: what they carry is the range that they will have written.
pub struct SwappedWrite;

/// Byte-range locks: they may wait for as long as they like, so nothing waits for them. Closing the twin ends them.
pub struct SwappedLock;

impl<const MAJOR: u8> Operation for Swapped<MAJOR> {
    const MAJOR: u8 = MAJOR;
    type Carry = Entered<Redirect>;

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match Redirect::of(data) {
            None => Before::Pass,
            Some(redirect) => redirected(data, redirect),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        let effect = match treatment(MAJOR, detail(data)) {
            Treatment::Swap(modifies) => effect(data, modifies),
            _ => Effect::None,
        };
        came_back(data, &carry, effect);
    }
}

/// A redirected operation.
fn redirected(data: &mut Callback<'_>, redirect: ContextRef<Redirect>) -> Before<Entered<Redirect>> {
    if redirect.role == Role::Reader && is_paging(data) {
        // Pages of a section on its own file object: they belong to the last committed version, and to everybody.
        return Before::Pass;
    }
    match treatment(data.major(), detail(data)) {
        Treatment::Pass => Before::Pass,
        // A reader's own file object is whole; what it may do there is the file system's business.
        Treatment::Refuse(_) if redirect.role == Role::Reader => Before::Pass,
        Treatment::Refuse(status) => Before::Complete(status, 0),
        Treatment::NoShortcut => Before::DisallowFastIo,
        Treatment::Swap(_) if data.is_fast_io() => Before::DisallowFastIo,
        Treatment::Swap(_) => match enter(redirect) {
            Ok(entered) => {
                send(data, &entered);
                Before::Watch(entered)
            }
            Err(answer) => answer.into(),
        },
    }
}

fn is_paging(data: &Callback<'_>) -> bool {
    data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0
}

/// Why an operation does not go to the twin.
enum Answer {
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

fn enter(redirect: ContextRef<Redirect>) -> Result<Entered<Redirect>, Answer> {
    // After the transaction is gone nothing on this handle can be true any more; a status of TxF would be one that
    // programs do not know.
    if redirect.save.as_ref().is_some_and(|save| save.is_gone()) {
        return Err(Answer::Fail(Status::UNEXPECTED_IO_ERROR));
    }
    Entered::enter(redirect).map_err(|redirect| match redirect.role {
        Role::Reader => Answer::Own,
        Role::Writer => Answer::Fail(Status::FILE_CLOSED),
    })
}

fn send(data: &mut Callback<'_>, redirect: &Redirect) {
    let twin = redirect.twin.object();
    if let Some(file) = data.file()
        && file.is_synchronous()
    {
        twin.set_position(file.position());
    }
    data.send_to(twin);
}

/// After a swapped operation. Up to DISPATCH_LEVEL.
fn came_back(data: &mut Callback<'_>, redirect: &Redirect, effect: Effect) {
    let status = data.status();
    if let Some(file) = data.file()
        && matches!(data.major(), IRP_MJ_READ | IRP_MJ_WRITE)
        && file.is_synchronous()
        && status.is_success()
    {
        file.set_position(redirect.twin.object().position());
    }
    let Some(save) = &redirect.save else { return };
    if redirect.role == Role::Writer {
        save.came_back(redirect.stream, effect, status);
    }
    if !status.is_success() && classify(status.0 as u32) == Failure::TransactionGone {
        data.set_status(Status::UNEXPECTED_IO_ERROR, 0);
    }
}

fn detail(data: &Callback<'_>) -> Option<u32> {
    data.information_class().or_else(|| data.control_code())
}

fn effect(data: &Callback<'_>, modifies: Modifies) -> Effect {
    match modifies {
        Modifies::Nothing | Modifies::Bytes => Effect::None,
        Modifies::Size => match data.new_end_of_file() {
            Some(size) => Effect::Size(u64::try_from(size).unwrap_or(0)),
            None => Effect::Change(crate::save::wounds::Change::Size),
        },
        Modifies::Other(change) => Effect::Change(change),
    }
}

/// A write on its way.
pub struct Write {
    entered: Entered<Redirect>,
    /// Where it begins, when that could be told.
    start: Option<u64>,
    length: u32,
}

impl Operation for SwappedWrite {
    const MAJOR: u8 = IRP_MJ_WRITE;
    type Carry = Parcel<Write>;

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match Redirect::of(data) {
            None => Before::Pass,
            Some(redirect) => write(data, redirect),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        let Write { entered, start, length } = carry.unpack();
        let written = if data.status().is_success() { data.information() as u64 } else { u64::from(length) };
        let range = match start {
            Some(start) => Range::new(start, written),
            // Where it would have ended up is not known: everything may be wounded, nothing is healed.
            None if data.status().is_success() => None,
            None => Some(Range::from(0)),
        };
        came_back(data, &entered, Effect::Bytes(range));
    }
}

fn write(data: &mut Callback<'_>, redirect: ContextRef<Redirect>) -> Before<Parcel<Write>> {
    if redirect.role == Role::Reader {
        // It has no right to write; the file system says so.
        return Before::Pass;
    }
    if data.is_fast_io() {
        return Before::DisallowFastIo;
    }
    let entered = match enter(redirect) {
        Ok(entered) => entered,
        Err(answer) => return answer.into(),
    };
    let length = data.range().map_or(0, |range| range.length);
    let start = start(data, &entered);
    let (save, stream) = (entered.save.clone(), entered.stream);
    match Parcel::new(TAG, Write { entered, start, length }) {
        Ok(parcel) => {
            send(data, &parcel.entered);
            Before::Watch(parcel)
        }
        Err(status) => {
            // The program is told, and the bytes are missing.
            if let Some(save) = save {
                let range = start.map_or(Some(Range::from(0)), |start| Range::new(start, u64::from(length)));
                save.came_back(stream, Effect::Bytes(range), status);
            }
            Before::Complete(status, 0)
        }
    }
}

/// Where a write begins. At the end of the file, that is known before only.
fn start(data: &Callback<'_>, redirect: &Redirect) -> Option<u64> {
    /// `FILE_WRITE_TO_END_OF_FILE`.
    const TO_END: i64 = -1;
    /// `FILE_USE_FILE_POINTER_POSITION`.
    const AT_POSITION: i64 = -2;
    let offset = match data.range()?.offset {
        TO_END => redirect.twin.object().size().ok()?,
        AT_POSITION => data.file()?.position(),
        offset => offset,
    };
    u64::try_from(offset).ok()
}

impl Operation for SwappedLock {
    const MAJOR: u8 = IRP_MJ_LOCK_CONTROL;
    type Carry = ContextRef<Redirect>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let Some(redirect) = Redirect::of(data) else { return Before::Pass };
        if data.is_fast_io() {
            return Before::DisallowFastIo;
        }
        match enter(redirect) {
            Ok(entered) => {
                data.send_to(entered.twin.object());
                let redirect = ContextRef::clone(&entered);
                Before::Watch(redirect)
            }
            Err(answer) => answer.into(),
        }
    }

    fn after(data: &mut Callback<'_>, redirect: Self::Carry) {
        came_back(data, &redirect, Effect::None);
    }
}
