//! `IRP_MJ_FLUSH_BUFFERS`: what the program has been told is durable is durable.
//!
//! A flush of a save commits what is there, and the save goes on in a new transaction (`OnFlush` = `Checkpoint`), or
//! reaches the twin only (`Defer`).

use kernel::callback::{Before, Callback, Either, Operation};
use kernel::context::Entered;
use kernel::fltkernel::IRP_MJ_FLUSH_BUFFERS;
use kernel::{Status, process};

use super::create::has_stack;
use super::swap::{came_back, redirected, unknown};
use crate::Intact;
use crate::report::counters;
use crate::save::failure::told;
use crate::save::redirect::{Redirect, Role};
use crate::save::state::Effect;

/// `IRP_MN_FLUSH_DATA_ONLY` and `IRP_MN_FLUSH_NO_SYNC`: data leave the cache, but nobody waits for the disk.
const NOT_DURABLE: [u8; 2] = [2, 3];

/// The operation.
pub struct Flush;

impl Operation for Flush {
    const MAJOR: u8 = IRP_MJ_FLUSH_BUFFERS;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = Either<Entered<Redirect>, ()>;

    fn before(data: &mut Callback<'_>) -> Before<Self::Carry> {
        let redirect = match Redirect::of(data) {
            Ok(None) => return Before::Pass,
            Ok(Some(redirect)) => redirect,
            Err(status) => return unknown(data, status),
        };
        if redirect.role == Role::Writer
            && !NOT_DURABLE.contains(&data.minor())
            && !redirect.cleaned_up.load(core::sync::atomic::Ordering::Acquire)
            && let (Some(intact), Some(save)) = (Intact::get(), &redirect.save)
            // File systems and page writers flush too; they have no program that was promised anything.
            && !process::is_inside_file_system()
        {
            match save.flush(intact, data.instance(), has_stack()) {
                Ok(true) => return Before::Complete(Status::SUCCESS, 0),
                Ok(false) => {}
                Err(status) => return Before::Complete(Status(told(status.0 as u32) as i32), 0),
            }
        }
        redirected(data, redirect)
    }

    fn after(data: &mut Callback<'_>, carry: Self::Carry) {
        if let Either::First(entered) = carry {
            came_back(data, &entered, None, Effect::None);
        }
    }
}
