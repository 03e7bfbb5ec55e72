//! `IRP_MJ_CLEANUP`: the last handle of a file object is closed. Here a save ends. `IRP_MJ_CLOSE`: its last reference.
//!
//! It runs in the closer's process, and never fails: nobody could be told.

use core::sync::atomic::Ordering;

use kernel::callback::{Before, Callback, Operation};
use kernel::context::ContextRef;
use kernel::file::FileObject;
use kernel::fltkernel::{IRP_MJ_CLEANUP, IRP_MJ_CLOSE};
use kernel::instance::{Instance, InstanceRef};
use kernel::pool::Tag;
use kernel::process::Process;
use kernel::section;
use kernel::work::{self, Work};

use crate::Intact;
use crate::report::counters;
use crate::save::leaving;
use crate::save::leaving::ending_of;
use crate::save::locks;
use crate::save::outcome::Ending;
use crate::save::postponed::Closed;
use crate::save::redirect::{Redirect, Role};

const TAG: Tag = Tag::new(b"InCl");

/// How long a closing handle waits for its operations in flight. They are reads and writes of a local disk; whoever
/// takes longer is waited for by a worker.
const PATIENCE_MS: u32 = 30_000;

/// The operation.
pub struct Cleanup;

impl Operation for Cleanup {
    const MAJOR: u8 = IRP_MJ_CLEANUP;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if let Ok(Some(redirect)) = Redirect::of(data)
            && let Some(intact) = Intact::get()
            && let Some(file) = data.file()
        {
            let instance = data.instance();
            redirect.cleaned_up.store(true, Ordering::Release);
            match redirect.role {
                Role::Reader => stop_reading(instance, &redirect),
                Role::Writer => stop_writing(intact, instance, file, redirect, data.process()),
            }
        }
        Before::Pass
    }
}

/// `IRP_MJ_CLOSE`: the file object goes. Nothing is left to do, unless its cleanup could not find its redirect: then
/// nobody knows how its program ended, and the save must not commit.
pub struct Close;

impl Operation for Close {
    const MAJOR: u8 = IRP_MJ_CLOSE;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<()> {
        if let Ok(Some(redirect)) = Redirect::of(data)
            && !redirect.cleaned_up.load(Ordering::Acquire)
        {
            abandoned(data.instance(), redirect);
        }
        Before::Pass
    }
}

#[cold]
fn abandoned(instance: Instance<'_>, redirect: ContextRef<Redirect>) {
    let Some(intact) = Intact::get() else { return };
    match (redirect.role, &redirect.save) {
        (Role::Reader, _) => stop_reading(instance, &redirect),
        (Role::Writer, save) => {
            if let Some(save) = save {
                save.force();
            }
            let twin = redirect.gate.close_and_hold(None);
            leaving::leave(intact, instance, &redirect, twin, Ending::Closed, None);
        }
    }
}

fn stop_reading(instance: Instance<'_>, redirect: &ContextRef<Redirect>) {
    // Before its file object is cleaned up: no end of the save gives it locks after that.
    drop(redirect.forget_own());
    // What somebody is still on his way through, suspended, is closed when the file object goes, with its context.
    if let Some(twin) = redirect.gate.close_and_hold(Some(PATIENCE_MS)) {
        if twin.is_open() {
            locks::end(&redirect.locks, twin.object(), instance);
        }
        twin.close();
    }
    if let Some(save) = &redirect.save {
        save.delist(redirect);
    }
}

fn stop_writing(
    intact: &Intact,
    instance: Instance<'_>,
    file: FileObject<'_>,
    redirect: ContextRef<Redirect>,
    process: Process<'_>,
) {
    let ending = ending_of(process);
    if let Some(twin) = redirect.gate.close_and_hold(Some(PATIENCE_MS)) {
        redirect.mapping.abandon();
        if let Some(save) = redirect.save.as_ref().filter(|save| save.is_transacted())
            && twin.is_open()
            && section::is_mapped(twin.object())
        {
            if let Ok(instance) = instance.reference() {
                // The twin may live as long as the view does; locks end with the handle.
                locks::end(&redirect.locks, twin.object(), instance.get());
                let closed = Closed::new(instance, redirect.clone(), &twin, process, ending);
                drop(twin);
                if let Err(closed) = intact.postponed.put(closed) {
                    closed.give_up(intact);
                }
                return;
            }
            // The volume is going. A commit could wait for the view, which may be there until this close has returned
            // (txf-ktm §4.5).
            save.force();
        }
        if redirect.save.as_ref().is_some_and(|save| save.belongs_to(process.key())) {
            leaving::is_closed(&redirect, instance, file);
        }
        leaving::leave(intact, instance, &redirect, Some(twin), ending, Some(file));
        return;
    }
    let late = instance.reference().map(|instance| Late { instance, redirect: redirect.clone(), ending });
    let queued = match (Intact::filter(), late) {
        (Some(filter), Ok(late)) => work::queue(filter, TAG, late).is_ok(),
        _ => false,
    };
    if !queued {
        let twin = redirect.gate.close_and_hold(None);
        leaving::leave(intact, instance, &redirect, twin, ending, Some(file));
    }
}

/// A handle that closed while operations were still on their way.
struct Late {
    instance: InstanceRef,
    redirect: ContextRef<Redirect>,
    ending: Ending,
}

impl Work for Late {
    fn run(self) {
        if let Some(intact) = Intact::get() {
            leaving::leave_late(intact, self.instance.get(), &self.redirect, self.ending);
        }
    }
}
