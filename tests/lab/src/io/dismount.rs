//! A volume that is dismounted while files are open and mounted again, a device that is removed, and the system's shutdown
//! (minifilter-rules §2.7).
//!
//! A *mount* is the time between two of these. File objects and instances are of one mount for as long as they live.
//!
//! Approximated: the volume's device object and volume parameter block are the same in every mount; a filter that asks by
//! file object sees no difference there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use fltkernel::*;
use lab_executive::status;
use lab_volume::Status;

use super::file_system::{Answer, fail, status_of};
use crate::flt::life;
use crate::flt::passage;
use crate::flt::request::{Operation, Request};
use crate::rooms::Rooms;
use crate::{Executive, Lab};

/// `IRP_MN_*` of `IRP_MJ_PNP` that file systems and their filters see.
const QUERY_REMOVE_DEVICE: u8 = 0x01;
const REMOVE_DEVICE: u8 = 0x02;
const CANCEL_REMOVE_DEVICE: u8 = 0x03;
const SURPRISE_REMOVAL: u8 = 0x17;

/// The mounts of the volume.
#[derive(Default)]
pub(crate) struct Mounts {
    current: Cell<usize>,
    /// The present mount has no instances yet: the next access sets them up.
    due: Cell<bool>,
    device_is_gone: Cell<bool>,
    /// How many file objects of each earlier mount are open still.
    open: RefCell<BTreeMap<usize, usize>>,
}

impl Mounts {
    pub(crate) fn current(&self) -> usize {
        self.current.get()
    }
}

/// The mount for a new open; mounts the volume if it is not.
///
/// # Errors
/// NO_SUCH_DEVICE if the device is gone, ACCESS_DENIED while somebody has the volume locked.
pub(crate) fn mount(lab: &Executive) -> Result<usize, i32> {
    let io = lab.io();
    if io.mounts.device_is_gone.get() {
        return Err(Status::NO_SUCH_DEVICE.0.cast_signed());
    }
    if io.mounts.due.get() {
        if io.with_volume(lab, |volume| volume.is_locked()) {
            return Err(status::ACCESS_DENIED);
        }
        io.mounts.due.set(false);
        life::mounted(lab);
    }
    Ok(io.mounted())
}

/// The file system has dismounted the volume: its file objects are of an earlier mount from now on.
pub(crate) fn dismounted(lab: &Executive) {
    let io = lab.io();
    let mounts = &io.mounts;
    let before = mounts.current();
    let open = io.files().iter().filter(|file| file.mount == before && file.open.get().is_some()).count();
    mounts.open.borrow_mut().insert(before, open);
    mounts.current.set(before + 1);
    mounts.due.set(true);
    crate::ktm::pump(lab);
}

/// What follows once the request that has dismounted the volume is over.
pub(crate) fn after_dismount(lab: &Executive, before: usize) {
    let mounts = &lab.io().mounts;
    if before == mounts.current() {
        return;
    }
    let outlive = lab.flt().settings.borrow().instances_outlive_dismount;
    let open = mounts.open.borrow().get(&before).copied().unwrap_or(0);
    if !outlive || open == 0 {
        life::dismounted(lab, before);
    }
}

/// A file object of an earlier mount has been closed. With the last one the instances go that have outlived the dismount, in
/// a thread of the system's: who closes may hold anything.
pub(crate) fn closed(lab: &Executive, mount: usize) {
    let io = lab.io();
    let last = {
        let mut open = io.mounts.open.borrow_mut();
        match open.get_mut(&mount) {
            Some(count) => {
                *count = count.saturating_sub(1);
                *count == 0
            }
            None => false,
        }
    };
    if last {
        lab.spawn_worker("dismount", move |lab| life::dismounted(lab, mount));
    }
}

/// `IRP_MJ_PNP` at the file system.
pub(crate) fn plug_and_play(lab: &Executive, request: &Request) -> Answer {
    let io = lab.io();
    match request.iopb().MinorFunction {
        QUERY_REMOVE_DEVICE => {
            io.with_volume(lab, lab_volume::Volume::query_removal)?;
            crate::ktm::pump(lab);
        }
        CANCEL_REMOVE_DEVICE => io.with_volume(lab, lab_volume::Volume::cancel_removal),
        REMOVE_DEVICE => {
            io.with_volume(lab, lab_volume::Volume::remove);
            gone(lab);
        }
        SURPRISE_REMOVAL => {
            io.with_volume(lab, lab_volume::Volume::surprise_removal);
            gone(lab);
        }
        _ => return fail(status_of::INVALID_DEVICE_REQUEST),
    }
    Ok(0)
}

fn gone(lab: &Executive) {
    lab.io().mounts.device_is_gone.set(true);
    dismounted(lab);
}

/// `IRP_MJ_SHUTDOWN` at the file system.
pub(crate) fn shutdown(lab: &Executive) -> Answer {
    lab.io().with_volume(lab, lab_volume::Volume::shut_down)?;
    Ok(0)
}

/// Sends a request that is about the volume's device and no file object, in a thread of the system's.
fn send(lab: &Executive, major: u8, minor: u8) -> i32 {
    let before = lab.io().mounted();
    let mut operation = Operation::irp(major, std::ptr::null_mut());
    operation.minor = minor;
    let result = passage::issue(lab, operation, None).Status;
    after_dismount(lab, before);
    result
}

impl Lab {
    fn plug_and_play(&self, minor: u8) -> Result<(), Status> {
        self.tell_volume(IRP_MJ_PNP, minor)
    }

    fn tell_volume(&self, major: u8, minor: u8) -> Result<(), Status> {
        match self.executive().run(move |lab| send(lab, major, minor)) {
            Ok(status) if status < 0 => Err(Status(status.cast_unsigned())),
            Ok(_) => Ok(()),
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Asks whether the volume's device may be removed, as *Safely remove hardware* does. If it may, nobody opens anything
    /// until [`cancel_removal`](Self::cancel_removal) or [`remove`](Self::remove).
    ///
    /// # Errors
    /// ACCESS_DENIED if files are open.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn query_removal(&self) -> Result<(), Status> {
        self.plug_and_play(QUERY_REMOVE_DEVICE)
    }

    /// The device stays after all.
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn cancel_removal(&self) -> Result<(), Status> {
        self.plug_and_play(CANCEL_REMOVE_DEVICE)
    }

    /// The device is removed, as was asked before. What it holds is [`power_off`](Self::power_off)'s to show.
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn remove(&self) -> Result<(), Status> {
        self.plug_and_play(REMOVE_DEVICE)
    }

    /// The device was pulled out, whatever was open. As [`remove`](Self::remove).
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn surprise_removal(&self) -> Result<(), Status> {
        self.plug_and_play(SURPRISE_REMOVAL)
    }

    /// The system is shut down: instances and the file system are told. Which processes have ended by then is the caller's
    /// choice. [`power_off`](Self::power_off) is what follows.
    ///
    /// # Errors
    /// What a filter or the disk answers.
    ///
    /// # Panics
    /// With the report, if a broken rule stopped the lab.
    pub fn shut_down(&self) -> Result<(), Status> {
        self.tell_volume(IRP_MJ_SHUTDOWN, 0)
    }
}
