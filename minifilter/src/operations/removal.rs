//! `IRP_MJ_PNP` and `IRP_MJ_SHUTDOWN`: the volume's device may be removed, or the system ends. Neither is about a handle
//! (minifilter-rules §2.7).
//!
//! A device is asked before it is removed, and the file system refuses while files are open. What it would refuse for our
//! sake only ends first. A device that was pulled out takes its saves with it: instance teardown ends them.

use kernel::callback::{Before, Callback, Operation};
use kernel::fltkernel::{IRP_MJ_PNP, IRP_MJ_SHUTDOWN};

use super::way;
use crate::Intact;
use crate::report::counters;

const IRP_MN_QUERY_REMOVE_DEVICE: u8 = 0x01;

/// The volume's device.
pub struct Removal;

impl Operation for Removal {
    const MAJOR: u8 = IRP_MJ_PNP;
    const WATCHES: bool = false;
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if data.minor() == IRP_MN_QUERY_REMOVE_DEVICE && counters::any_settling() {
            way::of_volume(data.instance());
        }
        Before::Pass
    }
}

/// The system ends, and nobody unloads us (§3.3). A program that has not closed its file by now has not finished; what it
/// has not published would be undone at the next mount anyway, without a word.
pub struct Shutdown;

impl Operation for Shutdown {
    const MAJOR: u8 = IRP_MJ_SHUTDOWN;
    const WATCHES: bool = false;
    type Carry = ();

    fn before(data: &mut Callback<'_>) -> Before<()> {
        if let Some(intact) = Intact::get() {
            way::of_volume(data.instance());
            intact.end_all(data.instance());
        }
        Before::Pass
    }
}
