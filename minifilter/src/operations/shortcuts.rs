//! Ways around the ordinary requests: fast I/O, memory descriptor lists, and opens that only look.

use kernel::callback::{Before, Callback, Operation};
use kernel::context::ContextRef;
use kernel::fltkernel::{IRP_MJ_NETWORK_QUERY_OPEN, IRP_MJ_QUERY_OPEN};

use crate::report::counters;
use crate::save::files::Files;
use crate::save::redirect::Redirect;

/// A shortcut that is not for redirected handles: it comes again as a request.
pub struct NoShortcut<const MAJOR: u8>;

impl<const MAJOR: u8> Operation for NoShortcut<MAJOR> {
    const MAJOR: u8 = MAJOR;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    #[inline]
    fn before(data: &mut Callback<'_>) -> Before<()> {
        match Redirect::of(data) {
            Ok(None) => Before::Pass,
            Ok(Some(_)) | Err(_) => Before::DisallowFastIo,
        }
    }
}

/// Whether the process has a live save on the volume, so that what it asks about a file may have to come from there.
/// These opens have no handle and no context; their file object must not be touched (minifilter-rules §2.2).
fn process_saves(data: &Callback<'_>) -> bool {
    Redirect::any(data)
        // A save whose process has just ended is over for whoever asks, but only a create can see to that.
        && (counters::any_settling()
            || ContextRef::<Files>::of_instance(data.instance())
                .is_ok_and(|files| files.has(data.process().key())))
}

/// The fast I/O form.
pub struct NetworkQueryOpen;

impl Operation for NetworkQueryOpen {
    const MAJOR: u8 = IRP_MJ_NETWORK_QUERY_OPEN;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if process_saves(data) { Before::DisallowFastIo } else { Before::Pass }
    }
}

/// The file system filter form.
pub struct QueryOpen;

impl Operation for QueryOpen {
    const MAJOR: u8 = IRP_MJ_QUERY_OPEN;
    const WATCHES: bool = false;
    const PASSES: Option<fn() -> bool> = Some(counters::none_redirected);
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if process_saves(data) { Before::DisallowShortcut } else { Before::Pass }
    }
}
