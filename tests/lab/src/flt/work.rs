//! Generic work items (FltAllocateGenericWorkItem and its family).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::status;

use super::Object;
use super::instance::{Filter, Instance};
use crate::Executive;
use crate::rooms::Rooms;

struct Item {
    queued: Cell<bool>,
    owner: Option<usize>,
    serial: usize,
}

/// The work items of a lab.
#[derive(Default)]
pub(crate) struct WorkItems {
    items: RefCell<BTreeMap<usize, Rc<Item>>>,
    serial: Cell<usize>,
}

impl WorkItems {
    pub(crate) fn allocate(&self, lab: &Executive) -> PFLT_GENERIC_WORKITEM {
        let address = lab.flt().addresses.next();
        self.serial.set(self.serial.get() + 1);
        let item = Item { queued: Cell::new(false), owner: lab.caller(), serial: self.serial.get() };
        self.items.borrow_mut().insert(address, Rc::new(item));
        std::ptr::with_exposed_provenance_mut(address)
    }

    fn find(&self, lab: &Executive, item: PFLT_GENERIC_WORKITEM) -> Rc<Item> {
        let found = self.items.borrow().get(&item.addr()).cloned();
        found.unwrap_or_else(|| {
            lab.violate("work-item", "fltkernel/FltQueueGenericWorkItem", "not a live generic work item")
        })
    }

    pub(crate) fn free(&self, lab: &Executive, item: PFLT_GENERIC_WORKITEM) {
        if self.find(lab, item).queued.get() {
            lab.report("work-item", "fltkernel/FltFreeGenericWorkItem", "frees a work item that is queued");
        }
        self.items.borrow_mut().remove(&item.addr());
    }

    /// Queues an item; the filter or instance is referenced until the routine has returned.
    pub(crate) fn queue(
        &self,
        lab: &Executive,
        item: PFLT_GENERIC_WORKITEM,
        object: PVOID,
        routine: PFLT_GENERIC_WORKITEM_ROUTINE,
        context: PVOID,
    ) -> i32 {
        let known = self.find(lab, item);
        let Some(routine) = routine else { return status::INVALID_PARAMETER };
        if known.queued.replace(true) {
            lab.report("work-item", "fltkernel/FltQueueGenericWorkItem", "queues a work item that is queued");
        }
        let references = match lab.flt().object(lab, object) {
            Object::Filter(filter) => Held::Filter(filter),
            Object::Instance(instance) => Held::Instance(instance),
            Object::Volume => lab.violate(
                "work-item",
                "fltkernel/FltQueueGenericWorkItem",
                "queues with a volume; filter or instance",
            ),
        };
        references.change(lab, 1);
        lab.spawn_worker("generic work item", move |lab| {
            // Before the call: the routine may free or queue the item again.
            known.queued.set(false);
            super::call(lab, "a generic work item", || {
                // SAFETY: the routine given, called as its type says.
                unsafe { routine(item, object, context) }
            });
            references.change(lab, -1);
        });
        status::SUCCESS
    }

    /// Items that an image allocated and did not free.
    pub(crate) fn left_by(&self, image: Option<usize>) -> Vec<String> {
        let items = self.items.borrow();
        let mut own: Vec<_> =
            items.values().filter(|item| item.owner == image).map(|item| item.serial).collect();
        own.sort_unstable();
        own.into_iter().map(|serial| format!("generic work item #{serial}")).collect()
    }
}

enum Held {
    Filter(Rc<Filter>),
    Instance(Rc<Instance>),
}

impl Held {
    fn change(&self, lab: &Executive, by: i64) {
        match self {
            Held::Filter(filter) => filter.references.set(filter.references.get() + by),
            Held::Instance(instance) => {
                instance.references.set(instance.references.get() + by);
                instance.filter.references.set(instance.filter.references.get() + by);
                lab.flt().free_detached(instance);
            }
        }
    }
}
