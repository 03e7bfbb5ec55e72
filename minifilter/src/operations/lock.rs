//! `IRP_MJ_LOCK_CONTROL`: byte-range locks are the twin's, and remembered, so that they can be taken again when it is
//! exchanged.
//!
//! A lock may be waited for as long as its program likes, so nothing waits for the request: closing the twin ends it. If
//! the twin was exchanged meanwhile the program is told that the lock was not granted.

use core::sync::atomic::Ordering;

use kernel::Status;
use kernel::callback::{Before, Callback, LockRequest, Operation, Parcel};
use kernel::context::{ContextRef, Entered};
use kernel::file::FileRef;
use kernel::fltkernel::IRP_MJ_LOCK_CONTROL;
use kernel::pool::Tag;

use super::swap::{came_back, enter, unknown};
use crate::report::counters;
use crate::save::locks::{Asked, is_lock};
use crate::save::redirect::Redirect;
use crate::save::state::Effect;

const TAG: Tag = Tag::new(b"InLo");

/// The operation.
pub struct SwappedLock;

/// A request on its way.
pub struct Request {
    redirect: ContextRef<Redirect>,
    /// It is out before the twin is closed, unless it may wait.
    entered: Option<Entered<Redirect>>,
    /// The twin that it was sent to.
    twin: FileRef,
    request: LockRequest,
    asked: Option<Asked>,
}

impl Operation for SwappedLock {
    const MAJOR: u8 = IRP_MJ_LOCK_CONTROL;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = Parcel<Request>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let redirect = match Redirect::of(data) {
            Ok(None) => return Before::Pass,
            Ok(Some(redirect)) => redirect,
            Err(status) => return unknown(data, status),
        };
        if data.is_fast_io() {
            return Before::DisallowFastIo;
        }
        let Some(request) = data.lock_request() else { return Before::Pass };
        match enter(redirect) {
            Ok(entered) => ask(data, entered, request),
            Err(answer) => answer.into(),
        }
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        let Request { redirect, entered, request, asked, twin: _twin } = carry.unpack();
        let granted = data.status().is_success();
        match asked {
            Some(asked) if !redirect.locks.lock().answered(asked, granted) => {
                // Who waits with a handle that is closed is told what the file system tells (txf-ktm §4.8).
                let closed = redirect.cleaned_up.load(Ordering::Acquire);
                let told = if closed { Status::RANGE_NOT_LOCKED } else { Status::LOCK_NOT_GRANTED };
                data.set_status(told, 0);
            }
            None if granted => redirect.locks.lock().unlocked(data.process().key(), &request),
            _ => {}
        }
        came_back(data, &redirect, None, Effect::None);
        drop(entered);
    }

    /// The instance goes: the twin is closed, and its locks with it.
    fn drained(carry: Self::Carry) {
        drop(carry);
    }
}

fn ask(data: &mut Callback<'_>, entered: Entered<Redirect>, request: LockRequest) -> Before<Parcel<Request>> {
    let redirect = ContextRef::clone(&entered);
    let twin = entered.inside().object().reference();
    let carried = Request { redirect, entered: Some(entered), twin, request, asked: None };
    // Before the lock is asked for: one that is not remembered would be lost with the twin.
    let mut parcel = match Parcel::new(TAG, carried) {
        Ok(parcel) => parcel,
        Err(status) => return Before::Complete(status, 0),
    };
    if is_lock(&request) {
        let asked = parcel.redirect.locks.lock().ask(data.process(), request.range);
        match asked {
            Ok(asked) => parcel.asked = Some(asked),
            Err(status) => return Before::Complete(status, 0),
        }
    }
    data.send_to(parcel.twin.object());
    if request.waits && is_lock(&request) {
        parcel.entered = None;
    }
    Before::Watch(parcel)
}
