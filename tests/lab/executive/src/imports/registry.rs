//! The registry routines.

use std::ffi::c_void;
use std::rc::Rc;

use lab_nt::{OBJECT_ATTRIBUTES, UNICODE_STRING};

use crate::handle::Mode;
use crate::imports::raw::{attributes, put, put_bytes, text};
use crate::registry::{Key, Tell, Value, Watcher, Watchers, filter};
use crate::{Lab, imports, status};

const CREATED_NEW_KEY: u32 = 1;
const OPENED_EXISTING_KEY: u32 = 2;
const KEY_OPTIONS: u32 = 0x0F;
const KEY_NOTIFY: u32 = 0x10;
const FILTERS: u32 =
    filter::NAME | filter::ATTRIBUTES | filter::LAST_SET | filter::SECURITY | filter::THREAD_AGNOSTIC;

const REQUEST: &str = "an open registry notification";

/// IO_STATUS_BLOCK: a status in the place of a pointer, and information.
type IoStatus = [usize; 2];

/// What a key handle's object knows.
struct OpenKey {
    key: Rc<Key>,
}

fn key_of(lab: &Lab, handle: usize) -> Result<Rc<Key>, i32> {
    let entry = lab.handle(handle, Mode::Kernel)?;
    let open = lab.objects.payload::<OpenKey>(entry.body).ok_or(status::OBJECT_TYPE_MISMATCH)?;
    if open.key.deleted() { Err(status::KEY_DELETED) } else { Ok(open.key.clone()) }
}

fn open(lab: &Lab, key: Rc<Key>, access: u32, kernel: bool) -> usize {
    let kind = lab.objects.type_named("Key");
    lab.objects.hook_key_type(&kind);
    let body = lab.objects.create(lab, &kind, 16, Some(Rc::new(OpenKey { key })));
    let handle = lab.open_driver_handle(body, kind.map_generic(access), kernel);
    lab.objects.dereference(lab, body);
    handle
}

impl Lab {
    /// Opens a handle to a key, as ZwOpenKey does: for imports that open keys in other ways.
    ///
    /// # Errors
    /// `OBJECT_NAME_NOT_FOUND`.
    pub fn open_registry_key(&self, path: &str, access: u32, kernel: bool) -> Result<crate::Handle, i32> {
        let key = self.registry.find(path).ok_or(status::OBJECT_NAME_NOT_FOUND)?;
        Ok(open(self, key, access, kernel))
    }
}

/// # Safety
/// `raw` is null or valid attributes, `handle` is writable.
unsafe fn open_key(lab: &Lab, handle: *mut usize, access: u32, raw: *const OBJECT_ATTRIBUTES) -> i32 {
    // SAFETY: by this function's contract.
    let found = unsafe { attributes(lab, raw) }.and_then(|a| Ok((find(lab, a.root, &a.name)?, a.kernel)));
    match found {
        Ok((Some(key), kernel)) => {
            let opened = open(lab, key, access, kernel);
            // SAFETY: by this function's contract.
            unsafe { put(handle, opened) };
            status::SUCCESS
        }
        Ok((None, _)) => status::OBJECT_NAME_NOT_FOUND,
        Err(status) => status,
    }
}

fn find(lab: &Lab, root: usize, name: &str) -> Result<Option<Rc<Key>>, i32> {
    if root != 0 {
        return Ok(lab.registry.find_below(&key_of(lab, root)?, name));
    }
    if !name.starts_with('\\') {
        return Err(status::OBJECT_PATH_SYNTAX_BAD);
    }
    Ok(lab.registry.find(name))
}

fn create(lab: &Lab, root: usize, name: &str) -> Result<(Rc<Key>, bool), i32> {
    if let Some(key) = find(lab, root, name)? {
        return Ok((key, false));
    }
    // The parent must be there: one component is made at a time.
    let (parent, last) = name.rsplit_once('\\').unwrap_or(("", name));
    let parent =
        if root != 0 && parent.is_empty() { Some(key_of(lab, root)?) } else { find(lab, root, parent)? };
    let parent = parent.ok_or(status::OBJECT_NAME_NOT_FOUND)?;
    Ok(lab.change_registry(|registry| registry.create_child(&parent, last)))
}

fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn longest(lengths: impl Iterator<Item = usize>) -> u32 {
    lengths.max().unwrap_or(0) as u32
}

/// Writes information with a fixed head as far as it fits, and says how much there is.
///
/// # Safety
/// `buffer` has `room` writable bytes, `needed` is writable.
unsafe fn give(information: &[u8], head: usize, buffer: *mut u8, room: u32, needed: *mut u32) -> i32 {
    // SAFETY: by this function's contract; no more than `room` bytes are written.
    unsafe {
        put(needed, information.len() as u32);
        let fits = information.len().min(room as usize);
        if fits < head {
            return status::BUFFER_TOO_SMALL;
        }
        put_bytes(buffer, &information[..fits]);
        if fits < information.len() { status::BUFFER_OVERFLOW } else { status::SUCCESS }
    }
}

/// KEY_VALUE_BASIC (0), FULL (1), PARTIAL (2), FULL_ALIGN64 (3), PARTIAL_ALIGN64 (4); wdm.h. With the length of the
/// fixed part.
fn value_information(value: &Value, class: i32) -> Option<(Vec<u8>, usize)> {
    let name = units(&value.name);
    let mut out = Vec::new();
    let word = |out: &mut Vec<u8>, value: usize| out.extend((value as u32).to_le_bytes());
    match class {
        0 => {
            word(&mut out, 0);
            word(&mut out, value.kind as usize);
            word(&mut out, name.len());
            out.extend(name);
            Some((out, 12))
        }
        1 | 3 => {
            let offset = (20 + name.len()).next_multiple_of(if class == 3 { 8 } else { 4 });
            word(&mut out, 0);
            word(&mut out, value.kind as usize);
            word(&mut out, offset);
            word(&mut out, value.data.len());
            word(&mut out, name.len());
            out.extend(name);
            out.resize(offset, 0);
            out.extend(&value.data);
            Some((out, 20))
        }
        2 => {
            word(&mut out, 0);
            word(&mut out, value.kind as usize);
            word(&mut out, value.data.len());
            out.extend(&value.data);
            Some((out, 12))
        }
        4 => {
            word(&mut out, value.kind as usize);
            word(&mut out, value.data.len());
            out.extend(&value.data);
            Some((out, 8))
        }
        _ => None,
    }
}

/// KEY_BASIC (0), NODE (1), FULL (2), NAME (3); wdm.h.
fn key_information(key: &Key, class: i32) -> Option<(Vec<u8>, usize)> {
    let name = units(&key.name);
    let mut out = key.last_write().to_le_bytes().to_vec();
    let word = |out: &mut Vec<u8>, value: u32| out.extend(value.to_le_bytes());
    match class {
        0 => {
            word(&mut out, 0);
            word(&mut out, name.len() as u32);
            out.extend(name);
            Some((out, 16))
        }
        1 => {
            word(&mut out, 0);
            word(&mut out, u32::MAX);
            word(&mut out, 0);
            word(&mut out, name.len() as u32);
            out.extend(name);
            Some((out, 24))
        }
        2 => {
            let (keys, values) = (key.keys(), key.values());
            word(&mut out, 0);
            word(&mut out, u32::MAX);
            word(&mut out, 0);
            word(&mut out, keys.len() as u32);
            word(&mut out, longest(keys.iter().map(|k| units(&k.name).len())));
            word(&mut out, 0);
            word(&mut out, values.len() as u32);
            word(&mut out, longest(values.iter().map(|v| units(&v.name).len())));
            word(&mut out, longest(values.iter().map(|v| v.data.len())));
            out.extend([0; 4]);
            Some((out, 44))
        }
        3 => {
            let mut out = (name.len() as u32).to_le_bytes().to_vec();
            out.extend(name);
            Some((out, 4))
        }
        _ => None,
    }
}

/// Where a kernel-mode notification goes: a status block, and an event, or a work item in place of an APC.
///
/// # Safety
/// `block` stays writable until the request has ended.
unsafe fn notice(lab: &Lab, event: usize, work_item: usize, block: *mut IoStatus) -> Result<Tell, i32> {
    let event = if event == 0 { None } else { Some(lab.handle(event, Mode::Kernel)?.body) };
    if let Some(event) = event {
        lab.objects.reference(lab, event);
        lab.signal_object(event, 0);
    }
    // Until the request ends the block is the system's: freeing it stops the run.
    let at = block.addr();
    lab.obligations.add(lab, at, REQUEST);
    Ok(Box::new(move |lab, status| {
        lab.obligations.remove(at, REQUEST);
        // SAFETY: by this function's contract.
        unsafe { put(block, [status as usize, 0]) };
        if let Some(event) = event {
            lab.signal_object(event, 1);
            lab.objects.dereference(lab, event);
        }
        if work_item != 0 {
            // In a thread: the item may be gone by now, and a fault must be the driver's.
            lab.spawn_worker("registry notice", move |lab| lab.queue_work_item(work_item));
        }
    }))
}

imports! {
    /// The registry.
    pub static TABLE in "ntoskrnl.exe";

    /// Opens a key.
    [ceiling: PASSIVE_LEVEL, Approximated("no access check"), fails: Status(0xC000_009A, 0xC000_0022, 0xC000_0034), source: "wdm/ZwOpenKey"]
    fn ZwOpenKey(lab; handle: *mut usize, access: u32, attributes: *const OBJECT_ATTRIBUTES) -> i32 {
        // SAFETY: the contract says valid attributes and a writable handle.
        unsafe { open_key(lab, handle, access, attributes) }
    }

    /// Opens a key.
    [ceiling: PASSIVE_LEVEL, Approximated("no access check; the options are ignored"), fails: Status, source: "wdm/ZwOpenKeyEx"]
    fn ZwOpenKeyEx(lab; handle: *mut usize, access: u32, attributes: *const OBJECT_ATTRIBUTES, _options: u32) -> i32 {
        // SAFETY: the contract says valid attributes and a writable handle.
        unsafe { open_key(lab, handle, access, attributes) }
    }

    /// Opens a key, or makes it.
    [ceiling: PASSIVE_LEVEL, Approximated("no access check, no classes; every key is volatile"), fails: Status, source: "wdm/ZwCreateKey"]
    fn ZwCreateKey(lab; handle: *mut usize, access: u32, attributes_in: *const OBJECT_ATTRIBUTES, _title: u32, _class: *const UNICODE_STRING, options: u32, disposition: *mut u32) -> i32 {
        if options & !KEY_OPTIONS != 0 {
            return status::INVALID_PARAMETER;
        }
        // SAFETY: the contract says valid attributes.
        let made = unsafe { attributes(lab, attributes_in) }.and_then(|a| Ok((create(lab, a.root, &a.name)?, a.kernel)));
        match made {
            Ok(((key, new), kernel)) => {
                let opened = open(lab, key, access, kernel);
                // SAFETY: the contract says writable, the second may be null.
                unsafe {
                    put(handle, opened);
                    put(disposition, if new { CREATED_NEW_KEY } else { OPENED_EXISTING_KEY });
                }
                status::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// What a key is.
    [ceiling: PASSIVE_LEVEL, Approximated("basic, node, full and name information"), fails: Status, source: "wdm/ZwQueryKey"]
    fn ZwQueryKey(lab; handle: usize, class: i32, buffer: *mut u8, room: u32, needed: *mut u32) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let Some((information, head)) = key_information(&key, class) else { return status::INVALID_PARAMETER };
        // SAFETY: the contract says `room` writable bytes and a writable length.
        unsafe { give(&information, head, buffer, room, needed) }
    }

    /// A value by name.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0034, 0xC000_0023), source: "wdm/ZwQueryValueKey"]
    fn ZwQueryValueKey(lab; handle: usize, name: *const UNICODE_STRING, class: i32, buffer: *mut u8, room: u32, needed: *mut u32) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        // SAFETY: the contract says a valid string.
        let Some(value) = key.value(&unsafe { text(lab, name) }) else { return status::OBJECT_NAME_NOT_FOUND };
        let Some((information, head)) = value_information(&value, class) else { return status::INVALID_PARAMETER };
        // SAFETY: the contract says `room` writable bytes and a writable length.
        unsafe { give(&information, head, buffer, room, needed) }
    }

    /// A subkey by index.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0023, 0x8000_001A), source: "wdm/ZwEnumerateKey"]
    fn ZwEnumerateKey(lab; handle: usize, index: u32, class: i32, buffer: *mut u8, room: u32, needed: *mut u32) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let Some(child) = key.keys().get(index as usize).cloned() else { return status::NO_MORE_ENTRIES };
        let Some((information, head)) = key_information(&child, class) else { return status::INVALID_PARAMETER };
        // SAFETY: the contract says `room` writable bytes and a writable length.
        unsafe { give(&information, head, buffer, room, needed) }
    }

    /// A value by index.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status(0xC000_009A, 0xC000_0023, 0x8000_001A), source: "wdm/ZwEnumerateValueKey"]
    fn ZwEnumerateValueKey(lab; handle: usize, index: u32, class: i32, buffer: *mut u8, room: u32, needed: *mut u32) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let Some(value) = key.values().get(index as usize).cloned() else { return status::NO_MORE_ENTRIES };
        let Some((information, head)) = value_information(&value, class) else { return status::INVALID_PARAMETER };
        // SAFETY: the contract says `room` writable bytes and a writable length.
        unsafe { give(&information, head, buffer, room, needed) }
    }

    /// Sets a value.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "wdm/ZwSetValueKey"]
    fn ZwSetValueKey(lab; handle: usize, name: *const UNICODE_STRING, _title: u32, kind: u32, data: *const u8, bytes: u32) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        // SAFETY: the contract says a valid string and `bytes` readable bytes.
        let (name, data) = unsafe {
            (text(lab, name), if bytes == 0 { Vec::new() } else { std::slice::from_raw_parts(data, bytes as usize).to_vec() })
        };
        lab.change_registry(|registry| registry.set(&key, Value { name, kind, data }));
        status::SUCCESS
    }

    /// Removes a value.
    [ceiling: PASSIVE_LEVEL, Modelled, fails: Status, source: "wdm/ZwDeleteValueKey"]
    fn ZwDeleteValueKey(lab; handle: usize, name: *const UNICODE_STRING) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        // SAFETY: the contract says a valid string.
        let name = unsafe { text(lab, name) };
        if lab.change_registry(|registry| registry.remove_value(&key, &name)) { status::SUCCESS } else { status::OBJECT_NAME_NOT_FOUND }
    }

    /// Asks to be told when a key changes. For kernel callers the "APC routine" is a work item.
    [ceiling: PASSIVE_LEVEL, Approximated("attributes and security never change; a kernel caller's request ends with its thread as a program's does"), fails: Status(0xC000_009A, 0xC000_000D), source: "ntifs/ZwNotifyChangeKey; winreg/RegNotifyChangeKeyValue: thread affinity"]
    fn ZwNotifyChangeKey(lab; handle: usize, event: usize, work_item: usize, _queue: *mut c_void, block: *mut IoStatus, filter: u32, tree: u8, buffer: *mut c_void, _length: u32, asynchronous: u8) -> i32 {
        let key = match key_of(lab, handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let entry = match lab.handle(handle, Mode::Kernel) {
            Ok(entry) => entry,
            Err(status) => return status,
        };
        if entry.granted & KEY_NOTIFY == 0 {
            lab.report("bad-parameter", "ntifs/ZwNotifyChangeKey: the caller must have specified KEY_NOTIFY access",
                format!("watches a key through a handle with access {:#x}", entry.granted));
        }
        if filter & !FILTERS != 0 || filter & !filter::THREAD_AGNOSTIC == 0 {
            return status::INVALID_PARAMETER;
        }
        if block.is_null() || !buffer.is_null() {
            lab.report("bad-parameter", "ntifs/ZwNotifyChangeKey: IoStatusBlock is required; Buffer is reserved", "IoStatusBlock is null, or Buffer is not");
        }
        let tree = tree != 0;
        let seen = key.changes(filter, tree);
        if asynchronous == 0 {
            lab.block_until("a registry change", None, || key.changes(filter, tree) != seen);
            return status::NOTIFY_ENUM_DIR;
        }
        // SAFETY: the contract says that the block stays until the request has ended.
        let tell = match unsafe { notice(lab, event, work_item, block) } {
            Ok(tell) => tell,
            Err(status) => return status,
        };
        let thread = (filter & filter::THREAD_AGNOSTIC == 0).then(|| lab.thread().id);
        let handle = entry.body.addr();
        lab.room::<Watchers>().open.borrow_mut().push(Watcher { key, filter, tree, seen, handle, thread, tell });
        status::PENDING
    }
}
