//! Filters, their instances, and the volume that they are attached to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::altitude::Altitude;
use super::registration::{Operation, Registration};

/// A registered filter.
pub struct Filter {
    /// What the driver holds; never memory that it could read.
    pub address: usize,
    /// Service name.
    pub name: String,
    /// What it registered.
    pub registration: Registration,
    /// Its driver object.
    pub(crate) driver: usize,
    /// Its image, if it was loaded from one.
    pub(crate) image: Option<usize>,
    /// FltStartFiltering has been called.
    pub(crate) started: Cell<bool>,
    /// FltUnregisterFilter has begun.
    pub(crate) unregistering: Cell<bool>,
    /// References by FltObjectReference, work items and the like.
    pub(crate) references: Cell<i64>,
    /// In order of attaching.
    pub(crate) instances: RefCell<Vec<Rc<Instance>>>,
}

impl Filter {
    /// The line of the operation table for a major function.
    pub fn operation(&self, major: u8) -> Option<&Operation> {
        self.registration.operations.iter().find(|operation| operation.major == major)
    }
}

/// Where an instance stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum Stage {
    /// InstanceSetup runs.
    SettingUp,
    /// Sees operations.
    Attached,
    /// Sees no new operations.
    TearingDown,
    /// Gone.
    Detached,
}

/// A filter attached to the volume at one altitude.
pub struct Instance {
    /// What the driver holds.
    pub address: usize,
    /// Its filter.
    pub filter: Rc<Filter>,
    /// Instance name from the registry.
    pub name: String,
    /// Its place.
    pub altitude: Altitude,
    /// Which mount of the volume it is attached to.
    pub(crate) mount: usize,
    pub(crate) stage: Cell<Stage>,
    /// References by FltObjectReference.
    pub(crate) references: Cell<i64>,
    /// Callbacks of this instance that run or have pended.
    pub(crate) inside: Cell<usize>,
}

impl Instance {
    /// For reports.
    pub fn label(&self) -> String {
        format!("{} at {}", self.name, self.altitude)
    }

    /// Whether its teardown has begun.
    pub fn is_going(&self) -> bool {
        self.stage.get() >= Stage::TearingDown
    }

    pub(crate) fn attached(&self) -> bool {
        self.stage.get() == Stage::Attached
    }
}
