//! How a handle leaves its save.

use core::sync::atomic::Ordering;

use kernel::Status;
use kernel::context::ContextRef;
use kernel::file::{FileObject, LowerFile};
use kernel::gate::Held;
use kernel::instance::Instance;
use kernel::process::{Process, current_thread_is_terminating};

use super::locks;
use super::outcome::Ending;
use super::redirect::Redirect;
use super::settling;
use crate::Intact;

/// A handle's operations are out: its twin is flushed and closed, and it leaves its save. `own` is the application's file
/// object, before its cleanup. PASSIVE_LEVEL, without locks.
pub fn leave(
    intact: &Intact,
    instance: Instance<'_>,
    redirect: &ContextRef<Redirect>,
    twin: Option<Held<'_, LowerFile>>,
    ending: Ending,
    own: Option<FileObject<'_>>,
) {
    if let Some(twin) = twin {
        flush(redirect, &twin, instance);
        redirect.mapping.abandon();
        if twin.is_open() {
            locks::end(&redirect.locks, twin.object(), instance);
        }
        twin.close();
    }
    let Some(save) = &redirect.save else { return };
    save.delist(redirect);
    if let Some(files) = redirect.files() {
        let own = own.map(|file| (file, redirect.place));
        settling::leave(save, intact, instance, files, ending, own);
    }
}

/// A handle is closed by a living process of its save: is that all? One through which a file was made empty that is not
/// empty outside of the save, leaves a hollow save. `own` is the application's file object. PASSIVE_LEVEL.
pub fn is_closed(redirect: &Redirect, instance: Instance<'_>, own: FileObject<'_>) {
    if let Some(save) = &redirect.save
        && redirect.emptied.load(Ordering::Acquire)
        && own.end_of_file(instance).is_ok_and(|end| end != 0)
    {
        save.note_emptied();
    }
}

/// Writes what is cached, and keeps the status for the outcome. PASSIVE_LEVEL.
pub fn flush(redirect: &Redirect, twin: &LowerFile, instance: Instance<'_>) {
    if let Some(save) = &redirect.save
        && twin.is_open()
        && save.needs_flush()
    {
        save.flushed(twin.object().flush(instance).err());
    }
}

/// As [`leave`], after the cleanup of the application's file object: a placeholder that is to go stays, empty.
pub fn leave_late(intact: &Intact, instance: Instance<'_>, redirect: &ContextRef<Redirect>, ending: Ending) {
    let twin = redirect.gate.close_and_hold(None);
    leave(intact, instance, redirect, twin, ending, None);
}

/// How a handle of this process comes to be closed. The exit status is set before handles are swept (txf-ktm §8.2). A
/// process that exits with 259, the value that means "alive", is told by its thread. A thread of another process that closes
/// for it (a debugger that ends it, a tool that closes handles) knows nothing of what it had left to do.
pub fn ending_of(process: Process<'_>) -> Ending {
    let status = process.exit_status();
    if status != Status::PENDING || current_thread_is_terminating() || !process.is_of_current_thread() {
        Ending::ProcessEnded(status.0 as u32)
    } else {
        Ending::Closed
    }
}
