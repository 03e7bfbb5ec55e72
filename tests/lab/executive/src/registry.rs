//! The registry: keys and values in memory, and who wants to know of changes.
//!
//! Names are compared as NT does. Keys and values keep the order of their names, as in a hive. Layers, security,
//! classes and links are not modelled, but for `CurrentControlSet`, which is `ControlSet001`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::Lab;
use crate::strings::folded;

mod reg_file;

pub use reg_file::RegError;

/// A value's type.
pub mod kind {
    /// No type.
    pub const NONE: u32 = 0;
    /// A string.
    pub const SZ: u32 = 1;
    /// A string with `%variables%`.
    pub const EXPAND_SZ: u32 = 2;
    /// Bytes.
    pub const BINARY: u32 = 3;
    /// 32 bits.
    pub const DWORD: u32 = 4;
    /// Several strings.
    pub const MULTI_SZ: u32 = 7;
    /// 64 bits.
    pub const QWORD: u32 = 11;
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its name; empty for the default value.
    pub name: String,
    /// Its type, one of [`kind`].
    pub kind: u32,
    /// Its data.
    pub data: Vec<u8>,
}

impl Value {
    /// A string, terminated.
    pub fn string(name: &str, text: &str) -> Self {
        Self { name: name.into(), kind: kind::SZ, data: wide(text) }
    }

    /// Several strings.
    pub fn strings(name: &str, texts: &[&str]) -> Self {
        let mut data: Vec<u8> = texts.iter().flat_map(|t| wide(t)).collect();
        data.extend([0, 0]);
        Self { name: name.into(), kind: kind::MULTI_SZ, data }
    }

    /// 32 bits.
    pub fn dword(name: &str, value: u32) -> Self {
        Self { name: name.into(), kind: kind::DWORD, data: value.to_le_bytes().into() }
    }
}

/// A terminated string as the registry stores it.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A key.
pub struct Key {
    /// Its own name, without its parents'.
    pub name: String,
    parent: Option<std::rc::Weak<Key>>,
    keys: RefCell<BTreeMap<String, Rc<Key>>>,
    values: RefCell<BTreeMap<String, Value>>,
    last_write: Cell<i64>,
    deleted: Cell<bool>,
    own: Counts,
    tree: Counts,
}

/// Counts changes, by what a notification's filter tells apart.
#[derive(Default)]
struct Counts {
    /// Subkeys that came or went.
    names: Cell<u64>,
    /// Values that were set or removed.
    values: Cell<u64>,
}

impl Counts {
    fn count(&self, change: Change) {
        let counter = match change {
            Change::Name => &self.names,
            Change::Value => &self.values,
        };
        counter.set(counter.get() + 1);
    }
}

#[derive(Clone, Copy)]
enum Change {
    Name,
    Value,
}

/// Which changes a notification is about (ntifs/ZwNotifyChangeKey, CompletionFilter).
pub mod filter {
    /// Subkeys come and go.
    pub const NAME: u32 = 0x1;
    /// Attributes. Nothing here changes them.
    pub const ATTRIBUTES: u32 = 0x2;
    /// Values are set and removed.
    pub const LAST_SET: u32 = 0x4;
    /// The security descriptor. Nothing here changes it.
    pub const SECURITY: u32 = 0x8;
    /// Not a change: the request does not end with the thread that made it (winreg/RegNotifyChangeKeyValue).
    pub const THREAD_AGNOSTIC: u32 = 0x1000_0000;
}

impl Key {
    fn new(name: &str, parent: Option<&Rc<Key>>) -> Rc<Self> {
        Rc::new(Self {
            name: name.into(),
            parent: parent.map(Rc::downgrade),
            keys: RefCell::default(),
            values: RefCell::default(),
            last_write: Cell::new(0),
            deleted: Cell::new(false),
            own: Counts::default(),
            tree: Counts::default(),
        })
    }

    /// Its subkeys, in order of name.
    pub fn keys(&self) -> Vec<Rc<Key>> {
        self.keys.borrow().values().cloned().collect()
    }

    /// Its values, in order of name.
    pub fn values(&self) -> Vec<Value> {
        self.values.borrow().values().cloned().collect()
    }

    /// The value of that name.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.values.borrow().get(&folded(name)).cloned()
    }

    /// When it was written last, in 100 ns since 1601.
    pub fn last_write(&self) -> i64 {
        self.last_write.get()
    }

    /// Whether it was deleted; a handle to it is still there.
    pub fn deleted(&self) -> bool {
        self.deleted.get()
    }

    /// Counts changes that pass a [`filter`]: of the key itself, or of it and everything below.
    pub fn changes(&self, filter: u32, tree: bool) -> u64 {
        let counts = if tree { &self.tree } else { &self.own };
        let of = |bit: u32, count: &Cell<u64>| if filter & bit == 0 { 0 } else { count.get() };
        of(filter::NAME, &counts.names) + of(filter::LAST_SET, &counts.values)
    }

    fn changed(&self, now: i64, change: Change) {
        self.last_write.set(now);
        self.own.count(change);
        self.tree.count(change);
        let mut up = self.parent.as_ref().and_then(std::rc::Weak::upgrade);
        while let Some(key) = up {
            key.tree.count(change);
            up = key.parent.as_ref().and_then(std::rc::Weak::upgrade);
        }
    }

    /// From below, and told step by step: a key that has subkeys cannot be deleted (wdm/ZwDeleteKey).
    fn delete_tree(&self, now: i64) {
        for key in self.keys.take().into_values() {
            key.delete_tree(now);
            self.changed(now, Change::Name);
        }
        self.deleted.set(true);
    }
}

/// The registry of one lab.
pub struct Registry {
    root: Rc<Key>,
    now: Cell<i64>,
}

impl Default for Registry {
    fn default() -> Self {
        let registry = Self { root: Key::new("REGISTRY", None), now: Cell::new(0) };
        for path in [
            "\\Registry\\Machine\\SOFTWARE",
            "\\Registry\\Machine\\SYSTEM\\ControlSet001\\Services",
            "\\Registry\\User",
        ] {
            registry.create(path);
        }
        registry
    }
}

/// Splits a path, with what stands for something else put in place.
fn components(path: &str) -> Option<Vec<String>> {
    let rest = folded(path);
    let rest = rest.strip_prefix("\\REGISTRY")?;
    let skip = path.chars().count() - rest.chars().count();
    let original: String = path.chars().skip(skip).collect();
    if !original.is_empty() && !original.starts_with('\\') {
        return None;
    }
    let mut parts: Vec<String> = original.split('\\').filter(|p| !p.is_empty()).map(str::to_string).collect();
    if parts.len() > 2 && folded(&parts[1]) == "SYSTEM" && folded(&parts[2]) == "CURRENTCONTROLSET" {
        parts[2] = "ControlSet001".into();
    }
    Some(parts)
}

impl Registry {
    /// The key at a path, e.g. `\Registry\Machine\SOFTWARE`.
    pub fn find(&self, path: &str) -> Option<Rc<Key>> {
        let parts = components(path)?;
        parts.iter().try_fold(self.root.clone(), |key, part| Self::child(&key, part))
    }

    /// A key below another; `path` may have several components.
    pub fn find_below(&self, key: &Rc<Key>, path: &str) -> Option<Rc<Key>> {
        path.split('\\').filter(|p| !p.is_empty()).try_fold(key.clone(), |key, part| Self::child(&key, part))
    }

    fn child(key: &Rc<Key>, name: &str) -> Option<Rc<Key>> {
        key.keys.borrow().get(&folded(name)).cloned()
    }

    /// The key at a path, made with its parents if needed.
    ///
    /// # Panics
    /// If the path does not begin with `\Registry`.
    pub fn create(&self, path: &str) -> Rc<Key> {
        let Some(parts) = components(path) else { panic!("a registry path begins with \\Registry: {path}") };
        parts.iter().fold(self.root.clone(), |key, part| self.create_child(&key, part).0)
    }

    /// A subkey, made if needed; also says whether it was made.
    pub fn create_child(&self, key: &Rc<Key>, name: &str) -> (Rc<Key>, bool) {
        if let Some(child) = Self::child(key, name) {
            return (child, false);
        }
        let child = Key::new(name, Some(key));
        child.last_write.set(self.now.get());
        key.keys.borrow_mut().insert(folded(name), child.clone());
        key.changed(self.now.get(), Change::Name);
        (child, true)
    }

    /// Sets a value.
    pub fn set(&self, key: &Rc<Key>, value: Value) {
        key.values.borrow_mut().insert(folded(&value.name), value);
        key.changed(self.now.get(), Change::Value);
    }

    /// Removes a value; says whether it was there.
    pub fn remove_value(&self, key: &Rc<Key>, name: &str) -> bool {
        let found = key.values.borrow_mut().remove(&folded(name)).is_some();
        if found {
            key.changed(self.now.get(), Change::Value);
        }
        found
    }

    /// Removes a key with everything below; says whether it was there.
    pub fn remove_key(&self, path: &str) -> bool {
        let Some(key) = self.find(path) else { return false };
        let Some(parent) = key.parent.as_ref().and_then(std::rc::Weak::upgrade) else { return false };
        parent.keys.borrow_mut().remove(&folded(&key.name));
        key.delete_tree(self.now.get());
        parent.changed(self.now.get(), Change::Name);
        true
    }

    /// Applies a `.reg` file, version 4 or 5, UTF-16 or ANSI (UTF-8 is accepted). Nothing is applied if any line is
    /// wrong.
    ///
    /// # Errors
    /// The first line that is wrong, and what to do about it.
    pub fn apply(&self, file: &[u8]) -> Result<(), RegError> {
        for change in reg_file::read(file)? {
            match change {
                reg_file::Change::Key(path) => drop(self.create(&path)),
                reg_file::Change::RemoveKey(path) => drop(self.remove_key(&path)),
                reg_file::Change::Set(path, value) => self.set(&self.create(&path), value),
                reg_file::Change::RemoveValue(path, name) => {
                    if let Some(key) = self.find(&path) {
                        self.remove_value(&key, &name);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is done when a key changed, or when the request ended; it gets the status.
pub(crate) type Tell = Box<dyn FnOnce(&Lab, i32)>;

/// Somebody who wants to know when a key changes.
pub(crate) struct Watcher {
    pub(crate) key: Rc<Key>,
    pub(crate) filter: u32,
    pub(crate) tree: bool,
    pub(crate) seen: u64,
    /// The handle through which the notification was asked for; its closing ends it.
    pub(crate) handle: usize,
    /// The thread that asked, if its end ends the request.
    pub(crate) thread: Option<u32>,
    pub(crate) tell: Tell,
}

/// Open requests for notification.
#[derive(Default)]
pub(crate) struct Watchers {
    pub(crate) open: RefCell<Vec<Watcher>>,
}

impl Lab {
    /// Changes the registry and tells who watches.
    pub fn change_registry<R>(&self, change: impl FnOnce(&Registry) -> R) -> R {
        let result = self.change_registry_untold(change);
        let deleted_is_told = self.config.deleted_key_tells_its_watchers;
        self.tell_watches(crate::status::NOTIFY_ENUM_DIR, |watcher| {
            watcher.key.changes(watcher.filter, watcher.tree) != watcher.seen
                || (deleted_is_told && watcher.key.deleted())
        });
        result
    }

    /// Loads a hive: makes the key at `path` with what `fill` puts into it. Who watches is told of it only by
    /// [`crate::Config::loaded_hive_tells_watchers`].
    pub fn load_hive(&self, path: &str, fill: impl FnOnce(&Registry)) {
        let load = |registry: &Registry| {
            registry.create(path);
            fill(registry);
        };
        if self.config.loaded_hive_tells_watchers {
            self.change_registry(load);
            return;
        }
        self.change_registry_untold(load);
        // What is not told now is not told with the next change, either.
        for watcher in self.room::<Watchers>().open.borrow_mut().iter_mut() {
            watcher.seen = watcher.key.changes(watcher.filter, watcher.tree);
        }
    }

    fn change_registry_untold<R>(&self, change: impl FnOnce(&Registry) -> R) -> R {
        self.registry.now.set(self.scheduler.now());
        change(&self.registry)
    }

    /// How many requests for notification are open.
    pub fn open_registry_watches(&self) -> usize {
        self.room::<Watchers>().open.borrow().len()
    }

    /// Ends the notifications that were asked for through a handle, when it is closed.
    pub(crate) fn end_watches(&self, handle_body: usize) {
        self.tell_watches(crate::status::NOTIFY_CLEANUP, |watcher| watcher.handle == handle_body);
    }

    /// Ends the notifications that a thread asked for, when it ends.
    pub(crate) fn end_watches_of_thread(&self, thread: u32) {
        self.tell_watches(crate::status::NOTIFY_CLEANUP, |watcher| watcher.thread == Some(thread));
    }

    /// Ends those that are chosen with this status.
    fn tell_watches(&self, status: i32, chosen: impl Fn(&Watcher) -> bool) {
        let watchers = self.room::<Watchers>();
        let (told, open): (Vec<_>, _) = watchers.open.take().into_iter().partition(chosen);
        *watchers.open.borrow_mut() = open;
        for watcher in told {
            (watcher.tell)(self, status);
        }
    }
}
