//! Contexts: memory that a filter hangs on an object, with exact references (minifilter-rules §3.1).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::irql::DISPATCH_LEVEL;
use lab_executive::pool::Kind;
use lab_executive::status;

use super::instance::{Filter, Instance, Stage};
use super::registration::{ContextKind, context_name};
use crate::Executive;
use crate::memory;
use crate::rooms::Rooms;

const PAGED_POOL: i32 = 1;

/// What a context hangs on, and for whom. No addresses where the order could be seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    /// The volume, for a filter.
    Volume {
        filter: usize,
        mount: usize,
    },
    Instance {
        instance: usize,
    },
    /// A file, by its id.
    File {
        file: u64,
        instance: usize,
    },
    /// A stream, by the number of its FsContext.
    Stream {
        stream: u64,
        instance: usize,
    },
    /// An open, by the number of its file object.
    StreamHandle {
        open: u64,
        instance: usize,
    },
    Transaction {
        transaction: u64,
        instance: usize,
    },
}

impl Key {
    fn kind(self) -> u16 {
        match self {
            Key::Volume { .. } => FLT_VOLUME_CONTEXT,
            Key::Instance { .. } => FLT_INSTANCE_CONTEXT,
            Key::File { .. } => FLT_FILE_CONTEXT,
            Key::Stream { .. } => FLT_STREAM_CONTEXT,
            Key::StreamHandle { .. } => FLT_STREAMHANDLE_CONTEXT,
            Key::Transaction { .. } => FLT_TRANSACTION_CONTEXT,
        }
    }

    fn instance(self) -> Option<usize> {
        match self {
            Key::Volume { .. } => None,
            Key::Instance { instance }
            | Key::File { instance, .. }
            | Key::Stream { instance, .. }
            | Key::StreamHandle { instance, .. }
            | Key::Transaction { instance, .. } => Some(instance),
        }
    }
}

/// A live context.
pub(crate) struct Context {
    pub(crate) address: usize,
    kind: ContextKind,
    filter: Rc<Filter>,
    size: usize,
    paged: bool,
    serial: u64,
    references: Cell<i64>,
    link: Cell<Option<Key>>,
}

impl Context {
    fn describe(&self) -> String {
        format!(
            "{} #{} of {} bytes with {} reference(s)",
            context_name(self.kind.kind),
            self.serial,
            self.size,
            self.references.get()
        )
    }
}

/// All contexts of a lab.
#[derive(Default)]
pub(crate) struct Contexts {
    live: RefCell<BTreeMap<usize, Rc<Context>>>,
    links: RefCell<BTreeMap<Key, Rc<Context>>>,
    serial: Cell<u64>,
}

impl Contexts {
    /// FltAllocateContext: one reference.
    pub(crate) fn allocate(
        &self,
        lab: &Executive,
        filter: &Rc<Filter>,
        kind: u16,
        size: usize,
        pool: i32,
    ) -> Result<usize, i32> {
        if context_name(kind).is_empty() || size > 65535 {
            return Err(status::INVALID_PARAMETER);
        }
        let paged = pool == PAGED_POOL;
        if kind == FLT_VOLUME_CONTEXT && paged {
            lab.report(
                "context-pool",
                "minifilter-rules §3.1: volume contexts are nonpaged",
                "asks for paged pool",
            );
        }
        let fits = |c: &&ContextKind| {
            c.kind == kind
                && (c.size == FLT_VARIABLE_SIZED_CONTEXTS
                    || c.size == size
                    || (c.size > size && c.flags & FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH != 0))
        };
        let registered = &filter.registration.contexts;
        let fixed = registered
            .iter()
            .filter(fits)
            .filter(|c| c.size != FLT_VARIABLE_SIZED_CONTEXTS)
            .min_by_key(|c| c.size);
        let Some(line) = fixed.or_else(|| registered.iter().find(fits)) else {
            return Err(STATUS_FLT_CONTEXT_ALLOCATION_NOT_FOUND);
        };
        let bytes = if line.size == FLT_VARIABLE_SIZED_CONTEXTS { size } else { line.size };
        let address = match line.allocate {
            Some(allocate) => super::call(lab, "a context allocate callback", || {
                // SAFETY: the registered callback, called as its type says.
                unsafe { allocate(pool, bytes, kind) }
            })
            .addr(),
            None => lab.allocate(bytes, if paged { Kind::Paged } else { Kind::NonPaged }, line.tag).addr(),
        };
        if address == 0 {
            return Err(status::INSUFFICIENT_RESOURCES);
        }
        self.serial.set(self.serial.get() + 1);
        let context = Context {
            address,
            kind: *line,
            filter: filter.clone(),
            size: bytes,
            paged,
            serial: self.serial.get(),
            references: Cell::new(1),
            link: Cell::new(None),
        };
        self.live.borrow_mut().insert(address, Rc::new(context));
        Ok(address)
    }

    fn find(&self, lab: &Executive, address: usize, who: &str) -> Rc<Context> {
        let found = self.live.borrow().get(&address).cloned();
        found.unwrap_or_else(|| {
            lab.violate(
                "context-reference",
                "minifilter-rules §3.1",
                format!("{who}: not a live context; released too often?"),
            )
        })
    }

    /// The address of the filter that allocated a context.
    pub(crate) fn filter_of(&self, lab: &Executive, address: usize) -> usize {
        self.find(lab, address, "FltSetVolumeContext").filter.address
    }

    pub(crate) fn reference(&self, lab: &Executive, address: usize) {
        let context = self.find(lab, address, "FltReferenceContext");
        context.references.set(context.references.get() + 1);
    }

    pub(crate) fn release(&self, lab: &Executive, address: usize) {
        if !lab.checks("context-reference") && !self.live.borrow().contains_key(&address) {
            return;
        }
        let context = self.find(lab, address, "FltReleaseContext");
        self.drop_reference(lab, &context);
    }

    fn drop_reference(&self, lab: &Executive, context: &Rc<Context>) {
        context.references.set(context.references.get() - 1);
        if context.references.get() > 0 {
            return;
        }
        if context.link.get().is_some() {
            lab.report(
                "context-reference",
                "minifilter-rules §3.1: release what you got, no more",
                format!("{} was released more often than referenced while it is set", context.describe()),
            );
        }
        self.live.borrow_mut().remove(&context.address);
        let level = lab.try_thread().map_or(0, |thread| thread.irql.get());
        if context.paged && level >= DISPATCH_LEVEL {
            // Paged memory and its cleanup callback need <= APC_LEVEL.
            let later = context.clone();
            lab.spawn_worker("context cleanup", move |lab| free(lab, &later));
        } else {
            free(lab, context);
        }
    }

    /// FltSetXxxContext.
    pub(crate) fn set(
        &self,
        lab: &Executive,
        key: Key,
        operation: FLT_SET_CONTEXT_OPERATION,
        new: usize,
        old: *mut PFLT_CONTEXT,
    ) -> i32 {
        memory::write_optional(old, std::ptr::null_mut());
        let context = self.find(lab, new, "FltSetXxxContext");
        if context.kind.kind != key.kind() {
            let what = format!("{} set as {}", context.describe(), context_name(key.kind()));
            lab.report("context-kind-mismatch", "fltkernel/FltSetStreamHandleContext", what);
        }
        if let Some(instance) = key.instance().and_then(|address| lab.flt().find_instance(address))
            && instance.stage.get() >= Stage::TearingDown
        {
            return STATUS_FLT_DELETING_OBJECT;
        }
        if context.link.get().is_some() {
            return STATUS_FLT_CONTEXT_ALREADY_LINKED;
        }
        let existing = self.links.borrow().get(&key).cloned();
        match existing {
            Some(existing) if operation == FLT_SET_CONTEXT_KEEP_IF_EXISTS => {
                if !old.is_null() {
                    existing.references.set(existing.references.get() + 1);
                    memory::write(old, std::ptr::with_exposed_provenance_mut(existing.address));
                }
                return STATUS_FLT_CONTEXT_ALREADY_DEFINED;
            }
            Some(existing) => {
                self.unlink(key);
                if old.is_null() {
                    self.drop_reference(lab, &existing);
                } else {
                    memory::write(old, std::ptr::with_exposed_provenance_mut(existing.address));
                }
            }
            None => {}
        }
        context.references.set(context.references.get() + 1);
        context.link.set(Some(key));
        self.links.borrow_mut().insert(key, context);
        status::SUCCESS
    }

    /// FltGetXxxContext.
    pub(crate) fn get(&self, key: Key, out: *mut PFLT_CONTEXT) -> i32 {
        let found = self.links.borrow().get(&key).cloned();
        match found {
            Some(context) => {
                context.references.set(context.references.get() + 1);
                memory::write(out, std::ptr::with_exposed_provenance_mut(context.address));
                status::SUCCESS
            }
            None => {
                memory::write(out, std::ptr::null_mut());
                status::NOT_FOUND
            }
        }
    }

    /// The context set under a key, without a reference.
    pub(crate) fn peek(&self, key: Key) -> usize {
        self.links.borrow().get(&key).map_or(0, |context| context.address)
    }

    /// FltDeleteXxxContext.
    pub(crate) fn delete(&self, lab: &Executive, key: Key, old: *mut PFLT_CONTEXT) -> i32 {
        memory::write_optional(old, std::ptr::null_mut());
        let Some(context) = self.unlink(key) else { return status::NOT_FOUND };
        if old.is_null() {
            self.drop_reference(lab, &context);
        } else {
            memory::write(old, std::ptr::with_exposed_provenance_mut(context.address));
        }
        status::SUCCESS
    }

    /// FltDeleteContext.
    pub(crate) fn delete_this(&self, lab: &Executive, address: usize) {
        let context = self.find(lab, address, "FltDeleteContext");
        if let Some(key) = context.link.get() {
            self.delete(lab, key, std::ptr::null_mut());
        }
    }

    fn unlink(&self, key: Key) -> Option<Rc<Context>> {
        let context = self.links.borrow_mut().remove(&key)?;
        context.link.set(None);
        Some(context)
    }

    /// Takes away the contexts that hang on something that goes.
    pub(crate) fn remove_where(&self, lab: &Executive, goes: impl Fn(Key) -> bool) {
        loop {
            let key = self.links.borrow().keys().copied().find(|key| goes(*key));
            let Some(key) = key else { return };
            self.delete(lab, key, std::ptr::null_mut());
        }
    }

    /// Takes away all contexts of an instance.
    pub(crate) fn remove_of_instance(&self, lab: &Executive, instance: &Instance) {
        self.remove_where(lab, |key| key.instance() == Some(instance.address));
    }

    /// The contexts of a filter that are still alive, oldest first, as text.
    pub(crate) fn of_filter(&self, filter: &Filter) -> Vec<String> {
        let live = self.live.borrow();
        let mut own: Vec<_> = live.values().filter(|c| c.filter.address == filter.address).collect();
        own.sort_by_key(|c| c.serial);
        own.into_iter().map(|c| c.describe()).collect()
    }
}

fn free(lab: &Executive, context: &Context) {
    let memory: PVOID = std::ptr::with_exposed_provenance_mut(context.address);
    if let Some(cleanup) = context.kind.cleanup {
        super::call(lab, "a context cleanup callback", || {
            // SAFETY: the registered callback; the memory is live until it is freed below.
            unsafe { cleanup(memory, context.kind.kind) }
        });
    }
    match context.kind.free {
        Some(callback) => super::call(lab, "a context free callback", || {
            // SAFETY: the registered callback, given what its partner allocated.
            unsafe { callback(memory, context.kind.kind) }
        }),
        None => lab.free(memory.cast(), Some(context.kind.tag)),
    }
}
