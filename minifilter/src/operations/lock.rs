//! `IRP_MJ_LOCK_CONTROL`: byte-range locks are the twin's. They may wait for as long as they like, so nothing waits for
//! them: closing the twin ends them.

use kernel::callback::{Before, Callback, Operation};
use kernel::context::ContextRef;
use kernel::fltkernel::IRP_MJ_LOCK_CONTROL;

use super::swap::{came_back, enter, unknown};
use crate::save::live::Redirect;
use crate::save::state::Effect;

/// The operation.
pub struct SwappedLock;

impl Operation for SwappedLock {
    const MAJOR: u8 = IRP_MJ_LOCK_CONTROL;
    type Carry = ContextRef<Redirect>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let redirect = match Redirect::of(data) {
            Ok(None) => return Before::Pass,
            Ok(Some(redirect)) => redirect,
            Err(status) => return unknown(data, status),
        };
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
