//! The object manager: typed objects, reference counts, handles.
//!
//! An object's body is memory that a driver may hold a pointer to; it is guarded, so a touch after the last
//! reference faults. What the lab knows of the object is its payload, in a table keyed by the body's address.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Lab;
use crate::handle::{HandleTable, KERNEL_HANDLE};
use crate::irql::PASSIVE_LEVEL;
use crate::process::Process;
use crate::thread::Thread;

/// A handle is being closed, or swept at process exit.
pub struct Closing {
    /// The object's body.
    pub body: *mut u8,
    /// The process whose table held the handle.
    pub process: Rc<Process>,
    /// The access that the handle granted.
    pub granted: u32,
    /// Handles to the object in that process, this one included.
    pub process_handles: usize,
    /// Handles to the object anywhere, this one included. 1: this is the last, a file gets its `IRP_MJ_CLEANUP`.
    pub system_handles: usize,
}

/// What the owner of an object type does when a handle is closed. Runs at `PASSIVE_LEVEL` in the closer's thread.
pub type CloseHandle = Rc<dyn Fn(&Lab, &Closing)>;
/// What the owner of an object type does when the last reference goes. The body is valid until it returns.
pub type DeleteObject = Rc<dyn Fn(&Lab, *mut u8)>;

/// A type of objects.
pub struct ObjectType {
    /// Its name, e.g. `File`.
    pub name: &'static str,
    /// Address of the OBJECT_TYPE that `IoFileObjectType` and its like point to. Opaque.
    pub body: *mut u8,
    /// Address of the variable that such a data export is.
    pub variable: *mut *mut u8,
    close: RefCell<Option<CloseHandle>>,
    delete: RefCell<Option<DeleteObject>>,
    /// Specific rights for generic read, write, execute and all, in this order.
    pub generic: [u32; 4],
}

impl ObjectType {
    /// Sets what happens when a handle is closed.
    pub fn on_close(&self, close: impl Fn(&Lab, &Closing) + 'static) {
        *self.close.borrow_mut() = Some(Rc::new(close));
    }

    /// Sets what happens when the last reference goes.
    pub fn on_delete(&self, delete: impl Fn(&Lab, *mut u8) + 'static) {
        *self.delete.borrow_mut() = Some(Rc::new(delete));
    }

    /// Replaces generic rights in `access` by the type's specific ones.
    pub fn map_generic(&self, access: u32) -> u32 {
        let mut mapped = access & 0x0FFF_FFFF;
        for (bit, rights) in [31, 30, 29, 28].into_iter().zip(self.generic) {
            if access & (1 << bit) != 0 {
                mapped |= rights;
            }
        }
        mapped
    }
}

struct Object {
    kind: Rc<ObjectType>,
    references: i64,
    handles: usize,
    payload: Option<Rc<dyn Any>>,
    serial: u64,
}

/// A symbolic link of the object namespace, e.g. `\??\C:`.
pub struct SymbolicLink {
    /// Its full name.
    pub name: String,
    /// What it stands for.
    pub target: String,
}

/// Object types, objects and references of one lab.
pub struct Objects {
    types: RefCell<Vec<Rc<ObjectType>>>,
    objects: RefCell<BTreeMap<usize, Object>>,
    held: RefCell<BTreeMap<(usize, usize), i64>>,
    serial: Cell<u64>,
    links: RefCell<BTreeMap<String, usize>>,
    /// Handles that any process context can use; they belong to the system process.
    pub(crate) kernel_handles: HandleTable,
}

impl Objects {
    pub(crate) fn new() -> Self {
        Self {
            types: RefCell::default(),
            objects: RefCell::default(),
            held: RefCell::default(),
            serial: Cell::new(0),
            links: RefCell::default(),
            kernel_handles: HandleTable::new(KERNEL_HANDLE),
        }
    }

    pub(crate) fn add_standard_types(&self, lab: &Lab) {
        self.add_type(lab, "Process", [0x0410, 0x0BEA, 0x12_1001, 0x1F_FFFF]);
        self.add_type(lab, "Thread", [0x48, 0x37, 0x12_0000, 0x1F_FFFF]);
        self.add_type(lab, "Event", [0x2_0001, 0x2_0002, 0x12_0000, 0x1F_0003]);
        self.add_type(lab, "Key", [0x2_0019, 0x2_0006, 0x2_0019, 0xF_003F]);
        self.add_type(lab, "SymbolicLink", [0x2_0001, 0x2_0000, 0x2_0001, 0xF_0001]);
        self.add_type(lab, "Token", [0x2_0008, 0x2_00E0, 0x2_0000, 0xF_01FF]);
    }

    /// Adds an object type. `generic` gives the specific rights for generic read, write, execute and all.
    pub fn add_type(&self, lab: &Lab, name: &'static str, generic: [u32; 4]) -> Rc<ObjectType> {
        let body = lab.allocate_own(0x100, b"ObjT");
        let variable = lab.allocate_own(size_of::<*mut u8>(), b"ObjV").cast::<*mut u8>();
        // SAFETY: the variable was just allocated with this size and alignment (16).
        unsafe { variable.write(body) };
        let kind = Rc::new(ObjectType {
            name,
            body,
            variable,
            close: RefCell::default(),
            delete: RefCell::default(),
            generic,
        });
        self.types.borrow_mut().push(kind.clone());
        kind
    }

    /// A key's notifications end when its handle is closed.
    pub(crate) fn hook_key_type(&self, kind: &ObjectType) {
        if kind.close.borrow().is_none() {
            kind.on_close(|lab, closing| lab.end_watches(closing.body.addr()));
        }
    }

    /// The type of that name.
    ///
    /// # Panics
    /// If nobody added it.
    pub fn type_named(&self, name: &str) -> Rc<ObjectType> {
        match self.types.borrow().iter().find(|t| t.name == name) {
            Some(kind) => kind.clone(),
            None => panic!("object type {name} was not added"),
        }
    }

    /// The type whose OBJECT_TYPE is at `body`, as a driver passes it.
    pub fn type_at(&self, body: *const u8) -> Option<Rc<ObjectType>> {
        self.types.borrow().iter().find(|t| t.body.addr() == body.addr()).cloned()
    }

    /// Makes an object with a zeroed body of `size` bytes and one reference.
    pub fn create(
        &self,
        lab: &Lab,
        kind: &Rc<ObjectType>,
        size: usize,
        payload: Option<Rc<dyn Any>>,
    ) -> *mut u8 {
        let body = lab.allocate_own(size, b"Obj ");
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let object = Object { kind: kind.clone(), references: 1, handles: 0, payload, serial };
        self.objects.borrow_mut().insert(body.addr(), object);
        body
    }

    pub(crate) fn create_thread_body(&self, lab: &Lab) -> *mut u8 {
        let body = self.create(lab, &self.type_named("Thread"), 0x900, None);
        lab.init_dispatcher(body, crate::wait::THREAD, 0);
        body
    }

    /// Adds a symbolic link. `\GLOBAL??\X` and `\DosDevices\X` are found as `\??\X` too.
    pub fn add_symbolic_link(&self, lab: &Lab, name: &str, target: &str) {
        let link = SymbolicLink { name: name.into(), target: target.into() };
        let body = self.create(lab, &self.type_named("SymbolicLink"), 16, Some(Rc::new(link)));
        self.links.borrow_mut().insert(link_key(name), body.expose_provenance());
    }

    /// The symbolic link of that name.
    pub fn symbolic_link(&self, name: &str) -> Option<*mut u8> {
        self.links.borrow().get(&link_key(name)).map(|body| std::ptr::with_exposed_provenance_mut(*body))
    }

    /// Takes the symbolic link of that name away, if there is one.
    pub fn remove_symbolic_link(&self, lab: &Lab, name: &str) {
        let body = self.links.borrow_mut().remove(&link_key(name));
        if let Some(body) = body {
            self.dereference(lab, std::ptr::with_exposed_provenance(body));
        }
    }

    /// Sets what the lab knows of an object.
    pub fn set_payload(&self, body: *const u8, payload: Rc<dyn Any>) {
        if let Some(object) = self.objects.borrow_mut().get_mut(&body.addr()) {
            object.payload = Some(payload);
        }
    }

    /// What the lab knows of an object, if it is one and its payload is a `T`.
    pub fn payload<T: 'static>(&self, body: *const u8) -> Option<Rc<T>> {
        self.objects.borrow().get(&body.addr())?.payload.clone()?.downcast().ok()
    }

    /// The type of the object at `body`, if there is one.
    pub fn type_of(&self, body: *const u8) -> Option<Rc<ObjectType>> {
        self.objects.borrow().get(&body.addr()).map(|o| o.kind.clone())
    }

    /// The thread whose ETHREAD is at `body`.
    pub fn thread_at(&self, body: *const u8) -> Option<Rc<Thread>> {
        self.payload(body)
    }

    /// The process whose EPROCESS is at `body`.
    pub fn process_at(&self, body: *const u8) -> Option<Rc<Process>> {
        self.payload(body)
    }

    /// References to an object, those of its handles included; 0 if there is no such object.
    pub fn references(&self, body: *const u8) -> i64 {
        self.objects.borrow().get(&body.addr()).map_or(0, |o| o.references)
    }

    /// Handles to an object.
    pub fn handles(&self, body: *const u8) -> usize {
        self.objects.borrow().get(&body.addr()).map_or(0, |o| o.handles)
    }

    /// The objects of a type, oldest first.
    pub fn all(&self, kind: &str) -> Vec<*mut u8> {
        let objects = self.objects.borrow();
        let mut found: Vec<_> = objects.iter().filter(|(_, o)| o.kind.name == kind).collect();
        found.sort_by_key(|(_, o)| o.serial);
        found.into_iter().map(|(body, _)| std::ptr::with_exposed_provenance_mut(*body)).collect()
    }

    /// Adds a reference.
    ///
    /// Stops the run (rule `object-reference`) if `body` is no live object.
    pub fn reference(&self, lab: &Lab, body: *const u8) {
        let known = self.objects.borrow_mut().get_mut(&body.addr()).map(|o| o.references += 1).is_some();
        if !known {
            lab.report(
                "object-reference",
                "wdm/ObfReferenceObject",
                "references memory that is no live object",
            );
        }
    }

    /// Takes a reference away; with the last one the object is deleted: now at `PASSIVE_LEVEL`, else by a worker.
    ///
    /// Stops the run (rule `object-reference`) if `body` is no live object.
    pub fn dereference(&self, lab: &Lab, body: *const u8) {
        if !self.drop_reference(lab, body) {
            return;
        }
        let body = body.cast_mut();
        match lab.try_thread() {
            Some(thread) if thread.irql.get() > PASSIVE_LEVEL => self.delete_later(lab, body),
            _ => self.delete(lab, body),
        }
    }

    /// As [`dereference`](Self::dereference), but a worker deletes the object.
    pub fn dereference_deferred(&self, lab: &Lab, body: *const u8) {
        if self.drop_reference(lab, body) {
            self.delete_later(lab, body.cast_mut());
        }
    }

    fn delete_later(&self, lab: &Lab, body: *mut u8) {
        lab.spawn_worker("object reaper", move |lab| lab.objects.delete(lab, body));
    }

    /// Returns whether that was the last reference.
    fn drop_reference(&self, lab: &Lab, body: *const u8) -> bool {
        let left = self.objects.borrow_mut().get_mut(&body.addr()).map(|object| {
            object.references -= 1;
            (object.references, object.handles, object.kind.name)
        });
        match left {
            None => lab.violate(
                "object-reference",
                "wdm/ObfDereferenceObject",
                "dereferences memory that is no live object",
            ),
            Some((left, handles, name)) if left < handles as i64 => lab.violate(
                "object-reference",
                "wdm/ObfDereferenceObject",
                format!("dereferences a {name} object more often than it was referenced"),
            ),
            Some((left, ..)) => left == 0,
        }
    }

    fn delete(&self, lab: &Lab, body: *mut u8) {
        let Some(kind) = self.type_of(body) else { return };
        let delete = kind.delete.borrow().clone();
        if let Some(delete) = delete {
            delete(lab, body);
        }
        self.objects.borrow_mut().remove(&body.addr());
        self.held.borrow_mut().retain(|(_, held), _| *held != body.addr());
        lab.free_own(body);
    }

    pub(crate) fn handle_opened(&self, body: *const u8) {
        if let Some(object) = self.objects.borrow_mut().get_mut(&body.addr()) {
            object.handles += 1;
            object.references += 1;
        }
    }

    /// Tells the type's owner, then drops the handle's reference.
    pub(crate) fn handle_closed(&self, lab: &Lab, closing: &Closing) {
        let Some(kind) = self.type_of(closing.body) else { return };
        let close = kind.close.borrow().clone();
        if let Some(close) = close {
            close(lab, closing);
        }
        if let Some(object) = self.objects.borrow_mut().get_mut(&closing.body.addr()) {
            object.handles -= 1;
        }
        self.dereference(lab, closing.body);
    }

    /// Notes that the calling driver took (`+1`) or gave back (`-1`) a reference, for the report at unload. Any
    /// import that hands a driver a referenced object calls this.
    pub fn note_driver_reference(&self, lab: &Lab, body: *const u8, change: i64) {
        if let Some(image) = lab.caller() {
            let mut held = self.held.borrow_mut();
            let count = held.entry((image, body.addr())).or_default();
            *count += change;
            if *count == 0 {
                held.remove(&(image, body.addr()));
            }
        }
    }

    /// References that an image took and did not give back, as text, oldest object first.
    pub(crate) fn references_held(&self, image: usize) -> Vec<String> {
        let objects = self.objects.borrow();
        let held = self.held.borrow();
        let mut found: Vec<_> = held
            .iter()
            .filter(|((owner, _), count)| *owner == image && **count > 0)
            .filter_map(|((_, body), count)| objects.get(body).map(|o| (o.serial, o.kind.name, *count)))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, name, count)| format!("{count} reference(s) to a {name} object")).collect()
    }
}

/// One key for the names that lead to the same link.
fn link_key(name: &str) -> String {
    let folded = crate::strings::folded(name);
    for prefix in ["\\GLOBAL??\\", "\\DOSDEVICES\\"] {
        if let Some(rest) = folded.strip_prefix(prefix) {
            return format!("\\??\\{rest}");
        }
    }
    folded
}
