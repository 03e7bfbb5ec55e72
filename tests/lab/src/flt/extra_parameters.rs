//! Extra create parameters (ECPs): memory that goes along with a create, in a list (minifilter-rules §1.10).
//!
//! Who frees what: a filter frees the list that it has passed to FltCreateFileEx2. A list that it has set into a create, and a
//! parameter that it has inserted while a create had the list, go when that create completes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::pool::Kind;
use lab_executive::status;

use super::instance::Filter;
use crate::Executive;
use crate::memory;

const SOURCE: &str = "minifilter-rules §1.10";
/// FSRTL_ALLOCATE_ECP_FLAG_CHARGE_QUOTA, which lists have too.
pub(crate) const CHARGE_QUOTA: u32 = 0x1;
/// FSRTL_ALLOCATE_ECP_FLAG_NONPAGED_POOL.
pub(crate) const NONPAGED_POOL: u32 = 0x2;
/// An ECP_LIST is opaque: drivers only pass its address on.
const LIST: usize = 32;

/// The GUID that says what a parameter is, as its bytes.
pub(crate) type Type = [u8; 16];

/// A parameter: what drivers call the ECP context.
pub(crate) struct Parameter {
    pub(crate) address: usize,
    pub(crate) kind: Type,
    /// In bytes.
    pub(crate) size: u32,
    pub(crate) acknowledged: Cell<bool>,
    tag: u32,
    cleanup: PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK,
    filter: usize,
    serial: u64,
    /// The address of the list that it is in.
    list: Cell<Option<usize>>,
    /// The create that had the list when it was inserted.
    during: Cell<Option<u64>>,
}

/// A list of parameters.
struct List {
    address: usize,
    filter: usize,
    serial: u64,
    parameters: RefCell<Vec<Rc<Parameter>>>,
    /// The creates that have it, outermost first.
    creates: RefCell<Vec<u64>>,
}

impl List {
    fn find(&self, kind: Type) -> Option<Rc<Parameter>> {
        self.parameters.borrow().iter().find(|own| own.kind == kind).cloned()
    }
}

/// The list of one create, through all of its reparse points.
#[derive(Default)]
pub(crate) struct ExtraOfCreate {
    list: Cell<usize>,
    /// A filter has set it: the create frees it.
    owned: Cell<bool>,
    number: Cell<u64>,
}

impl ExtraOfCreate {
    /// Of a create whose caller passes this list, or null.
    pub(crate) fn of(list: PECP_LIST) -> Self {
        Self { list: Cell::new(list.addr()), ..Self::default() }
    }

    /// The list, or null.
    pub(crate) fn list(&self) -> PECP_LIST {
        std::ptr::with_exposed_provenance_mut(self.list.get())
    }
}

/// The lists and parameters that filters have allocated.
#[derive(Default)]
pub(crate) struct ExtraParameters {
    lists: RefCell<BTreeMap<usize, Rc<List>>>,
    parameters: RefCell<BTreeMap<usize, Rc<Parameter>>>,
    serial: Cell<u64>,
}

impl ExtraParameters {
    fn next(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    fn list(&self, lab: &Executive, address: PECP_LIST) -> Rc<List> {
        let found = self.lists.borrow().get(&address.addr()).cloned();
        found.unwrap_or_else(|| lab.violate("ecp-list", SOURCE, "not a live list of extra create parameters"))
    }

    /// The parameter at an address; anything else stops the run.
    pub(crate) fn parameter(&self, lab: &Executive, address: PVOID) -> Rc<Parameter> {
        let found = self.parameters.borrow().get(&address.addr()).cloned();
        found.unwrap_or_else(|| lab.violate("ecp-context", SOURCE, "not a live extra create parameter"))
    }

    /// An empty list.
    pub(crate) fn allocate_list(&self, lab: &Executive, filter: &Filter) -> PECP_LIST {
        let block = lab.allocate_own(LIST, b"FmEl");
        let list = List {
            address: block.addr(),
            filter: filter.address,
            serial: self.next(),
            parameters: RefCell::default(),
            creates: RefCell::default(),
        };
        self.lists.borrow_mut().insert(block.addr(), Rc::new(list));
        block.cast()
    }

    /// A parameter of `size` bytes in no list; its memory is not zeroed.
    pub(crate) fn allocate(
        &self,
        lab: &Executive,
        filter: &Filter,
        (kind, size): (Type, u32),
        nonpaged: bool,
        tag: u32,
        cleanup: PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK,
    ) -> PVOID {
        let pool = if nonpaged { Kind::NonPaged } else { Kind::Paged };
        let block = lab.allocate(size as usize, pool, tag);
        let parameter = Parameter {
            address: block.expose_provenance(),
            kind,
            size,
            acknowledged: Cell::new(false),
            tag,
            cleanup,
            filter: filter.address,
            serial: self.next(),
            list: Cell::new(None),
            during: Cell::new(None),
        };
        self.parameters.borrow_mut().insert(block.addr(), Rc::new(parameter));
        block.cast()
    }

    /// Frees a list with all that is in it.
    pub(crate) fn free_list(&self, lab: &Executive, address: PECP_LIST) {
        let list = self.list(lab, address);
        if !list.creates.borrow().is_empty() {
            lab.report("ecp-list-attached", SOURCE, "frees a list that a create under way has");
        }
        for parameter in list.parameters.take() {
            self.delete(lab, &parameter);
        }
        self.lists.borrow_mut().remove(&list.address);
        lab.free_own(std::ptr::with_exposed_provenance_mut(list.address));
    }

    /// Frees a parameter that is in no list.
    pub(crate) fn free(&self, lab: &Executive, address: PVOID) {
        let parameter = self.parameter(lab, address);
        if parameter.list.get().is_some() {
            lab.report("ecp-in-list", SOURCE, "frees an extra create parameter that is in a list");
        }
        self.delete(lab, &parameter);
    }

    fn delete(&self, lab: &Executive, parameter: &Parameter) {
        let memory: PVOID = std::ptr::with_exposed_provenance_mut(parameter.address);
        if let Some(cleanup) = parameter.cleanup {
            let kind = parameter.kind;
            super::call(lab, "the cleanup callback of an extra create parameter", || {
                // SAFETY: the callback given with it; the memory is live until it is freed below.
                unsafe { cleanup(memory, (&raw const kind).cast()) }
            });
        }
        self.parameters.borrow_mut().remove(&parameter.address);
        lab.free(memory.cast(), Some(parameter.tag));
    }

    /// Puts a parameter into a list, which has no other of its type.
    pub(crate) fn insert(&self, lab: &Executive, list: PECP_LIST, parameter: PVOID) -> i32 {
        let (list, parameter) = (self.list(lab, list), self.parameter(lab, parameter));
        if list.find(parameter.kind).is_some() {
            return status::INVALID_PARAMETER;
        }
        if parameter.list.get().is_some() {
            lab.report("ecp-in-list", SOURCE, "inserts an extra create parameter that is in another list");
        }
        parameter.list.set(Some(list.address));
        parameter.during.set(list.creates.borrow().last().copied());
        list.parameters.borrow_mut().push(parameter);
        status::SUCCESS
    }

    /// The parameter of a type in a list.
    pub(crate) fn find(&self, lab: &Executive, list: PECP_LIST, kind: Type) -> Option<Rc<Parameter>> {
        self.list(lab, list).find(kind)
    }

    /// Takes the parameter of a type out of a list: it is the caller's then.
    pub(crate) fn remove(&self, lab: &Executive, list: PECP_LIST, kind: Type) -> Option<Rc<Parameter>> {
        let list = self.list(lab, list);
        let found = list.find(kind)?;
        list.parameters.borrow_mut().retain(|own| !Rc::ptr_eq(own, &found));
        found.list.set(None);
        Some(found)
    }

    /// The first parameter of a list, or the one after `current`.
    pub(crate) fn after(&self, lab: &Executive, list: PECP_LIST, current: PVOID) -> Option<Rc<Parameter>> {
        let list = self.list(lab, list);
        let all = list.parameters.borrow();
        if current.is_null() {
            return all.first().cloned();
        }
        let place = all.iter().position(|own| own.address == current.addr());
        let place = place
            .unwrap_or_else(|| lab.violate("ecp-context", SOURCE, "asks what follows one of another list"));
        all.get(place + 1).cloned()
    }

    /// Sets a filter's list into a create that has none.
    pub(crate) fn set(&self, lab: &Executive, create: &ExtraOfCreate, list: PECP_LIST) -> i32 {
        if create.list.get() != 0 {
            return status::INVALID_PARAMETER_3;
        }
        let list = self.list(lab, list);
        if !list.creates.borrow().is_empty() {
            lab.report("ecp-list-attached", SOURCE, "sets a list into a second create");
        }
        list.creates.borrow_mut().push(create.number.get());
        create.list.set(list.address);
        create.owned.set(true);
        status::SUCCESS
    }

    /// A create begins.
    pub(crate) fn begin(&self, lab: &Executive, create: &ExtraOfCreate) {
        create.number.set(self.next());
        if create.list.get() != 0 {
            self.list(lab, create.list()).creates.borrow_mut().push(create.number.get());
        }
    }

    /// A create is complete: what filters have added to it goes.
    pub(crate) fn end(&self, lab: &Executive, create: &ExtraOfCreate) {
        if create.list.get() == 0 {
            return;
        }
        let (list, number) = (self.list(lab, create.list()), create.number.get());
        list.creates.borrow_mut().retain(|own| *own != number);
        if create.owned.get() {
            self.free_list(lab, create.list());
            return;
        }
        let (added, stay): (Vec<_>, Vec<_>) =
            list.parameters.take().into_iter().partition(|own| own.during.get() == Some(number));
        list.parameters.replace(stay);
        for parameter in added {
            self.delete(lab, &parameter);
        }
    }

    /// What a filter has allocated, and neither freed nor handed over to a create, oldest first.
    pub(crate) fn left_by(&self, filter: &Filter) -> Vec<String> {
        let (lists, parameters) = (self.lists.borrow(), self.parameters.borrow());
        let lists = lists
            .values()
            .filter(|own| own.filter == filter.address && own.creates.borrow().is_empty())
            .map(|own| {
                (own.serial, format!("list of {} extra create parameter(s)", own.parameters.borrow().len()))
            });
        let parameters = parameters
            .values()
            .filter(|own| own.filter == filter.address && own.list.get().is_none())
            .map(|own| (own.serial, format!("extra create parameter of {} bytes", own.size)));
        let mut left: Vec<_> = lists.chain(parameters).collect();
        left.sort_unstable();
        left.into_iter().map(|(serial, what)| format!("{what}, #{serial}")).collect()
    }
}

/// The type at an address that a driver gives.
pub(crate) fn type_at(address: LPCGUID) -> Type {
    memory::read(address.cast())
}
