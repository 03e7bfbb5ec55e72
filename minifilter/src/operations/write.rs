//! `IRP_MJ_WRITE`: to the twin, remembering which bytes were asked for, so that those that fail are known.

use kernel::callback::{Before, Callback, Either, Operation, Parcel};
use kernel::context::{ContextRef, Entered};
use kernel::fltkernel::IRP_MJ_WRITE;
use kernel::pool::Tag;
use kernel::process;
use wdk_sys::{IRP_PAGING_IO, IRP_SYNCHRONOUS_PAGING_IO};

use super::Modifies;
use super::create::has_stack;
use super::swap::{came_back, enter, resumed, send, unknown};
use crate::Intact;
use crate::report::counters;
use crate::save::below::Below;
use crate::save::redirect::{Redirect, Role};
use crate::save::state::Effect;
use crate::save::wounds::Range;

const TAG: Tag = Tag::new(b"InWr");

/// The operation.
pub struct SwappedWrite;

/// A write on its way to a place that its parameters do not tell: the end of the file, or the file position.
pub struct Write {
    entered: Entered<Redirect>,
    /// Where it begins, when that could be told.
    start: Option<u64>,
    length: u32,
}

impl Operation for SwappedWrite {
    const MAJOR: u8 = IRP_MJ_WRITE;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    /// Most writes say where they go, and need nothing but the redirect: no memory is allocated for them.
    /// (The pages of a twin come by below it.)
    type Carry = Either<Entered<Redirect>, Either<Parcel<Write>, ContextRef<Below>, 2>>;

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        match Redirect::of(data) {
            Ok(None) => match Below::of_pages(data) {
                Some(below) => Before::Watch(Either::Second(Either::Second(below))),
                None => Before::Pass,
            },
            Ok(Some(redirect)) => write(data, redirect),
            Err(status) => unknown(data, status),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        let Write { entered, start, length } = match carry {
            Either::First(entered) => {
                let (start, length) = explicit(data);
                Write { entered, start, length }
            }
            Either::Second(Either::First(parcel)) => parcel.unpack(),
            Either::Second(Either::Second(below)) => return below.came_back(data),
        };
        let written = if data.status().is_success() { data.information() as u64 } else { u64::from(length) };
        let range = match start {
            Some(start) => Range::new(start, written),
            // Where it would have ended up is not known: everything may be wounded, nothing is healed.
            None if data.status().is_success() => {
                if let Some(save) = entered.save.as_ref().filter(|_| written != 0) {
                    save.note_written();
                }
                None
            }
            None => Some(Range::from(0)),
        };
        came_back(data, &entered, Some(entered.inside()), Effect::Bytes(range));
    }
}

fn write(
    data: &mut Callback<'_>,
    redirect: ContextRef<Redirect>,
) -> Before<<SwappedWrite as Operation>::Carry> {
    if redirect.role == Role::Reader {
        // It has no right to write; the file system says so.
        return Before::Pass;
    }
    if data.is_fast_io() {
        return Before::DisallowFastIo;
    }
    limit(data, &redirect);
    let entered = match enter(resumed(data, redirect, Modifies::Bytes)) {
        Ok(entered) => entered,
        Err(answer) => return answer.into(),
    };
    let (known, length) = explicit(data);
    if known.is_some() {
        send(data, &entered);
        return Before::Watch(Either::First(entered));
    }
    let start = start(data, &entered);
    let (save, place) = (entered.save.clone(), entered.place);
    match Parcel::new(TAG, Write { entered, start, length }) {
        Ok(parcel) => {
            send(data, &parcel.entered);
            Before::Watch(Either::Second(Either::First(parcel)))
        }
        Err(status) => {
            // The program is told, and the bytes are missing.
            if let Some(save) = save {
                let range = start.map_or(Some(Range::from(0)), |start| Range::new(start, u64::from(length)));
                save.came_back(place, Effect::Bytes(range), status);
            }
            Before::Complete(status, 0)
        }
    }
}

/// A save that has become too large ends before this write. Page writers and file systems write too: they must not wait.
#[inline]
fn limit(data: &Callback<'_>, redirect: &Redirect) {
    if let Some(save) = &redirect.save
        && save.is_too_large()
        && data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) == 0
        && !process::is_inside_file_system()
        && has_stack()
        && let Some(intact) = Intact::get()
    {
        save.limit(intact, data.instance());
    }
}

/// Where a write begins, if its parameters say so, and how long it is. Up to DISPATCH_LEVEL.
fn explicit(data: &Callback<'_>) -> (Option<u64>, u32) {
    data.range().map_or((None, 0), |range| (u64::try_from(range.offset).ok(), range.length))
}

/// Where a write begins. At the end of the file, that is known before only.
fn start(data: &Callback<'_>, redirect: &Entered<Redirect>) -> Option<u64> {
    /// `FILE_WRITE_TO_END_OF_FILE`.
    const TO_END: i64 = -1;
    /// `FILE_USE_FILE_POINTER_POSITION`.
    const AT_POSITION: i64 = -2;
    let offset = match data.range()?.offset {
        TO_END => redirect.inside().object().size().ok()?,
        AT_POSITION => data.file()?.position(),
        offset => offset,
    };
    u64::try_from(offset).ok()
}
