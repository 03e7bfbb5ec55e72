//! The Filter Manager: filters, instances at altitudes, callbacks, contexts, names.
//!
//! | module | what |
//! |---|---|
//! | [`registration`] | what a filter registers, checked |
//! | [`instance`], [`altitude`] | filters, instances, their order |
//! | `request`, `passage` | one operation: callback data, down through the instances and up again |
//! | `contract` | what callbacks may answer |
//! | `contexts` | contexts and their references |
//! | `extra_parameters` | ECPs, their lists, and the creates that have them |
//! | `names` | file names, normalized and opened |
//! | `own_data` | operations that filters make themselves |
//! | `life` | registration, start, attach, detach, unload |
//! | `generated` | requests that filters make: FltCreateFileEx2, FltReadFile, … |
//! | `imports` | the table of `FLTMGR.SYS` |

pub mod altitude;
pub(crate) mod contexts;
pub(crate) mod contract;
pub(crate) mod extra_parameters;
pub(crate) mod generated;
pub mod imports;
pub mod instance;
pub(crate) mod life;
pub(crate) mod names;
pub(crate) mod own_data;
pub(crate) mod parse;
pub(crate) mod passage;
pub mod registration;
pub(crate) mod request;
pub(crate) mod transactions;
pub(crate) mod volumes;
pub(crate) mod work;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fltkernel::{FLT_CALLBACK_DATA, PFLT_INSTANCE};
use lab_executive::Irql;

use crate::Executive;
use crate::opaque::OpaqueAddresses;
use altitude::Altitude;
use contexts::Contexts;
use extra_parameters::ExtraParameters;
use instance::{Filter, Instance, Stage};
use names::Names;
use request::Request;
use work::WorkItems;

/// Where requests that went to the file system as IRPs complete, if somebody waits to see it (minifilter-rules §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completions {
    /// In the thread that issued them, at its level.
    Here,
    /// Reads and writes there, or at once in another thread at PASSIVE_LEVEL or DISPATCH_LEVEL, by the seed.
    Seeded,
    /// Reads and writes in another thread at DISPATCH_LEVEL, after a time that the seed chooses: those under way at the
    /// same time come back in any order.
    Late,
    /// All that may come back in any thread, in another one at DISPATCH_LEVEL, the highest there is.
    Highest,
}

/// Choices of a run that are not the driver's.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) completions: Completions,
    /// Whether pre-operation callbacks come at the highest level that their operation may come at.
    pub(crate) pre_operations_at_ceiling: bool,
    /// Whether a change without FltSetCallbackDataDirty stops the run; otherwise it only has no effect.
    pub(crate) undirtied_changes_stop: bool,
    /// Whether instances below a swap see the new file object's transaction in their related objects. Unknown:
    /// minifilter-rules §1.1.
    pub(crate) transaction_after_swap: bool,
    /// Whether the instances of a volume that is dismounted go with the last of its open files, not with the dismount.
    /// Unknown: minifilter-rules §2.7.
    pub(crate) instances_outlive_dismount: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            completions: Completions::Seeded,
            pre_operations_at_ceiling: false,
            undirtied_changes_stop: true,
            transaction_after_swap: true,
            instances_outlive_dismount: false,
        }
    }
}

/// The Filter Manager of one lab.
#[derive(Default)]
pub struct FilterManager {
    pub(crate) settings: RefCell<Settings>,
    pub(crate) addresses: OpaqueAddresses,
    /// The volume object of each mount; what filters hold.
    volumes: RefCell<Vec<usize>>,
    /// Mounts whose volume object is gone.
    dismounted: RefCell<BTreeSet<usize>>,
    filters: RefCell<BTreeMap<usize, Rc<Filter>>>,
    instances: RefCell<BTreeMap<usize, Rc<Instance>>>,
    /// Operations under way, oldest first.
    pub(crate) active: RefCell<Vec<Rc<Request>>>,
    requests: Cell<u64>,
    pub(crate) contexts: Contexts,
    pub(crate) extra_parameters: ExtraParameters,
    pub(crate) names: Names,
    pub(crate) work: WorkItems,
    pub(crate) own_data: own_data::OwnData,
    /// What filters left behind when they were unregistered.
    pub(crate) left: RefCell<Vec<String>>,
    /// References to the volume by FltObjectReference and FltGetVolumeFromInstance.
    pub(crate) volume_references: Cell<i64>,
}

/// What an `PVOID` to a Filter Manager object is.
pub(crate) enum Object {
    Filter(Rc<Filter>),
    Instance(Rc<Instance>),
    Volume,
}

impl FilterManager {
    /// The filters that are registered.
    pub fn filters(&self) -> Vec<Rc<Filter>> {
        self.filters.borrow().values().cloned().collect()
    }

    /// The volume object of a mount.
    pub(crate) fn volume_address(&self, mount: usize) -> usize {
        let mut volumes = self.volumes.borrow_mut();
        while volumes.len() <= mount {
            volumes.push(self.addresses.next());
        }
        volumes[mount]
    }

    /// The volume object of a mount is gone but for references.
    pub(crate) fn forget_volume(&self, mount: usize) {
        self.dismounted.borrow_mut().insert(mount);
    }

    fn mount_of(&self, volume: usize) -> Option<usize> {
        let mount = self.volumes.borrow().iter().position(|own| *own == volume)?;
        let gone = self.dismounted.borrow().contains(&mount) && self.volume_references.get() == 0;
        (!gone).then_some(mount)
    }

    pub(crate) fn next_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        self.requests.get()
    }

    /// The attached instances of a mount, top-down, lower than `below` if given.
    pub(crate) fn chain(&self, mount: usize, below: Option<&Altitude>) -> Vec<Rc<Instance>> {
        let instances = self.instances.borrow();
        let attached = instances.values().filter(|i| i.mount == mount && i.stage.get() == Stage::Attached);
        let mut chain: Vec<_> = attached.filter(|i| below.is_none_or(|b| i.altitude < *b)).cloned().collect();
        chain.sort_by(|a, b| b.altitude.cmp(&a.altitude));
        chain
    }

    pub(crate) fn add_filter(&self, filter: Rc<Filter>) {
        self.filters.borrow_mut().insert(filter.address, filter);
    }

    pub(crate) fn remove_filter(&self, filter: &Filter) {
        self.filters.borrow_mut().remove(&filter.address);
    }

    pub(crate) fn add_instance(&self, instance: Rc<Instance>) {
        self.instances.borrow_mut().insert(instance.address, instance);
    }

    /// Frees an instance that is detached, unless somebody refers to it (minifilter-rules §3.2: a reference delays that).
    pub(crate) fn free_detached(&self, instance: &Instance) {
        if instance.stage.get() == Stage::Detached && instance.references.get() <= 0 {
            self.instances.borrow_mut().remove(&instance.address);
        }
    }

    pub(crate) fn find_instance(&self, address: usize) -> Option<Rc<Instance>> {
        self.instances.borrow().get(&address).cloned()
    }

    /// The filter behind a driver's pointer; anything else stops the run.
    pub(crate) fn filter(&self, lab: &Executive, address: *const core::ffi::c_void) -> Rc<Filter> {
        let found = self.filters.borrow().get(&address.addr()).cloned();
        found.unwrap_or_else(|| {
            lab.violate("flt-object", "fltkernel: a PFLT_FILTER of a registered filter", "not a live filter")
        })
    }

    /// The instance behind a driver's pointer; anything else stops the run.
    pub(crate) fn instance(&self, lab: &Executive, address: PFLT_INSTANCE) -> Rc<Instance> {
        self.find_instance(address.addr()).unwrap_or_else(|| {
            lab.violate(
                "flt-object",
                "fltkernel: a PFLT_INSTANCE of an attached instance",
                "not a live instance",
            )
        })
    }

    /// The mount whose volume object a driver's pointer is; anything else stops the run.
    pub(crate) fn mount(&self, lab: &Executive, address: *const core::ffi::c_void) -> usize {
        self.mount_of(address.addr())
            .unwrap_or_else(|| lab.violate("flt-object", "fltkernel: a PFLT_VOLUME", "not the volume"))
    }

    /// The object behind a driver's pointer; anything else stops the run.
    pub(crate) fn object(&self, lab: &Executive, address: *const core::ffi::c_void) -> Object {
        if let Some(instance) = self.find_instance(address.addr()) {
            return Object::Instance(instance);
        }
        if self.mount_of(address.addr()).is_some() {
            return Object::Volume;
        }
        Object::Filter(self.filter(lab, address))
    }

    /// The operation behind callback data; anything else stops the run.
    pub(crate) fn request_of(&self, lab: &Executive, data: *const FLT_CALLBACK_DATA) -> Rc<Request> {
        self.try_request_of(data).unwrap_or_else(|| {
            lab.violate(
                "callback-data",
                "fltkernel: callback data is valid until the operation is completed",
                "not callback data of an operation under way",
            )
        })
    }

    pub(crate) fn try_request_of(&self, data: *const FLT_CALLBACK_DATA) -> Option<Rc<Request>> {
        self.active.borrow().iter().find(|r| r.block.data().addr() == data.addr()).cloned()
    }
}

/// Calls a driver's callback.
pub(crate) fn call<R>(lab: &Executive, what: &str, f: impl FnOnce() -> R) -> R {
    lab.call_driver(what, f)
}

/// Raises the calling thread's level; returns the old one.
pub(crate) fn raise(lab: &Executive, level: Irql) -> Irql {
    lab.raise_irql(level)
}

/// Restores the calling thread's level.
pub(crate) fn lower(lab: &Executive, level: Irql) {
    lab.lower_irql(level);
}
