//! The registry: `.reg` files, and the routines over it.

use std::ptr;

use lab_executive::imports::events::KeWaitForSingleObject;
use lab_executive::imports::objects::{ZwClose, ZwCreateEvent, ZwWaitForSingleObject};
use lab_executive::imports::pool::{ExAllocatePool2, ExFreePoolWithTag};
use lab_executive::imports::registry::*;
use lab_executive::registry::{Value, kind};
use lab_executive::{Lab, status};

use crate::{attributes, lab, lab_with, named_attributes, run, unicode};

const SAMPLE: &str = "Windows Registry Editor Version 5.00

; a comment
[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Sample]
\"Enabled\"=dword:00000001
@=\"default \\\"quoted\\\" C:\\\\Data\"
\"Paths\"=hex(7):43,00,3a,00,\\
  5c,00,00,00,\\
  00,00
\"Big\"=hex(b):01,00,00,00,00,00,00,00
\"Empty\"=hex:

[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Sample\\Rule ]
\"Gone\"=dword:2
\"Gone\"=-
";

fn apply(text: &str) -> Result<Box<Lab>, String> {
    let lab = lab();
    lab.registry.apply(text.as_bytes()).map_err(|e| e.to_string())?;
    Ok(lab)
}

#[test]
fn a_reg_file_fills_the_registry() {
    let lab = apply(SAMPLE).expect("a good file");
    let key =
        lab.registry.find("\\registry\\machine\\software\\POLICIES\\sample").expect("case does not matter");
    assert_eq!(key.value("enabled"), Some(Value::dword("Enabled", 1)));
    assert_eq!(key.value(""), Some(Value::string("", "default \"quoted\" C:\\Data")));
    assert_eq!(key.value("Paths"), Some(Value::strings("Paths", &["C:\\"])));
    assert_eq!(key.value("Big").map(|v| (v.kind, v.data.len())), Some((kind::QWORD, 8)));
    assert_eq!(key.value("Empty").map(|v| v.data.len()), Some(0));
    let rule = key.keys()[0].clone();
    assert_eq!((rule.name.as_str(), rule.values().len()), ("Rule ", 0));
}

#[test]
fn utf_16_and_version_4_files_are_read() {
    let wide: Vec<u8> = [0xFF, 0xFE]
        .into_iter()
        .chain(SAMPLE.replace('\n', "\r\n").encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let lab = lab();
    assert_eq!(lab.registry.apply(&wide), Ok(()));
    assert!(lab.registry.find("\\Registry\\Machine\\SOFTWARE\\Policies\\Sample").is_some());

    // Version 4 keeps strings in single bytes of the system's code page; 0xE9 is é.
    let old =
        b"REGEDIT4\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Old]\n\"M\"=hex(7):63,61,66,e9,00,00\n\"T\"=\"caf\xE9\"\n";
    assert_eq!(lab.registry.apply(old), Ok(()));
    let key = lab.registry.find("\\Registry\\Machine\\SOFTWARE\\Old").expect("made");
    assert_eq!(key.value("M"), Some(Value::strings("M", &["café"])));
    assert_eq!(key.value("T"), Some(Value::string("T", "café")));
}

#[test]
fn keys_and_values_can_be_removed() {
    let lab = apply(SAMPLE).expect("a good file");
    let more = "REGEDIT4\n[-HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Sample]\n[HKLM\\SYSTEM\\CurrentControlSet\\Services\\x]\n";
    assert_eq!(lab.registry.apply(more.as_bytes()), Ok(()));
    assert!(lab.registry.find("\\Registry\\Machine\\SOFTWARE\\Policies\\Sample").is_none());
    assert!(lab.registry.find("\\Registry\\Machine\\SYSTEM\\ControlSet001\\Services\\X").is_some());
}

#[test]
fn wrong_lines_are_named_with_what_to_do_and_nothing_is_applied() {
    let cases = [
        ("hello", "line 1: not a .reg file"),
        ("REGEDIT4\n\"a\"=dword:1", "line 2: \"\"a\"=dword:1\" stands under no key"),
        ("REGEDIT4\n[HKEY_NOWHERE\\x]", "line 2: unknown root \"HKEY_NOWHERE\""),
        ("REGEDIT4\n[HKLM\\x", "line 2: key \"[HKLM\\x\" has no closing ]"),
        ("REGEDIT4\n[HKLM\\x\\\\y]", "line 2: key \"HKLM\\x\\\\y\" has an empty component"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=dword:xyz", "line 3: value \"a\": \"xyz\" is not a dword"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=dword:123456789", "line 3: value \"a\": \"123456789\" is not a dword"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=\"open", "line 3: value \"a\": a string has no closing quote"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=\"C:\\Data\"", "line 3: value \"a\": \\D in a string"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=hex:1,2,zz", "line 3: value \"a\": \"zz\" is not a byte"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=hex:1,\\", "line 3: the last line is continued"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"", "line 3: value \"a\" has no = after its name"),
        ("REGEDIT4\n[HKLM\\x]\na=1", "line 3: \"a=1\" is neither a key, a value nor a comment"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=yes", "line 3: value \"a\": \"yes\" is no data"),
        ("REGEDIT4\n[HKLM\\x]\n\"a\"=\"b\" c", "line 3: value \"a\": \"c\" follows the closing quote"),
    ];
    for (file, error) in cases {
        let lab = lab();
        let found = lab.registry.apply(file.as_bytes()).expect_err(file).to_string();
        assert!(found.starts_with(error), "{file:?}: {found}");
        assert!(lab.registry.find("\\Registry\\Machine\\x").is_none(), "{file:?} was applied in part");
    }
    assert!(lab().registry.apply(&[0xFF, 0xFE, 0x41]).is_err());
}

#[test]
fn damaged_files_never_crash_the_reader() {
    let bytes = SAMPLE.as_bytes();
    for at in 0..bytes.len() {
        drop(lab_executive::registry::Registry::default().apply(&bytes[..at]));
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= flip;
            drop(lab_executive::registry::Registry::default().apply(&damaged));
        }
    }
}

fn open(path: &str) -> usize {
    let mut handle = 0;
    // SAFETY: valid arguments, in a lab thread.
    assert_eq!(unsafe { ZwOpenKey(&mut handle, 0x2_0019, &attributes(path)) }, 0, "{path}");
    handle
}

fn query(handle: usize, name: &str, room: u32) -> (i32, u32, [u8; 64]) {
    let (mut buffer, mut needed) = ([0u8; 64], 0);
    // SAFETY: as above; `room` is at most the buffer's size.
    let status =
        unsafe { ZwQueryValueKey(handle, &unicode(name), 2, buffer.as_mut_ptr(), room, &mut needed) };
    (status, needed, buffer)
}

#[test]
fn drivers_read_values_with_the_documented_statuses() {
    let lab = apply(SAMPLE).expect("a good file");
    let result = lab.run(|_| {
        let handle = open("\\Registry\\Machine\\SOFTWARE\\Policies\\Sample");
        let (status, needed, buffer) = query(handle, "ENABLED", 64);
        assert_eq!((status, needed), (0, 16));
        assert_eq!(buffer[4..16], [4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(query(handle, "Enabled", 12).0, status::BUFFER_OVERFLOW);
        assert_eq!(query(handle, "Enabled", 4).0, status::BUFFER_TOO_SMALL);
        assert_eq!(query(handle, "Absent", 64).0, status::OBJECT_NAME_NOT_FOUND);
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            let (mut buffer, mut needed) = ([0u8; 128], 0);
            assert_eq!(ZwEnumerateKey(handle, 0, 0, buffer.as_mut_ptr(), 128, &mut needed), 0);
            assert_eq!((needed, buffer[12]), (26, 10));
            assert_eq!(
                ZwEnumerateKey(handle, 1, 0, buffer.as_mut_ptr(), 128, &mut needed),
                status::NO_MORE_ENTRIES
            );
            assert_eq!(ZwQueryKey(handle, 2, buffer.as_mut_ptr(), 128, &mut needed), 0);
            assert_eq!((buffer[20], buffer[32]), (1, 5), "one subkey, five values");
            assert_eq!(ZwEnumerateValueKey(handle, 1, 1, buffer.as_mut_ptr(), 128, &mut needed), 0);
            let mut child = 0;
            assert_eq!(ZwOpenKey(&mut child, 1, &named_attributes(handle, "rule ", 0x240)), 0);
            assert_eq!(ZwClose(child), 0);
            assert_eq!(ZwClose(handle), 0);
            let mut absent = 0;
            assert_eq!(
                ZwOpenKey(&mut absent, 1, &attributes("\\Registry\\Machine\\none")),
                status::OBJECT_NAME_NOT_FOUND
            );
            assert_eq!(ZwOpenKey(&mut absent, 1, &attributes("none")), status::OBJECT_PATH_SYNTAX_BAD);
        }
    });
    assert!(result.is_ok(), "{result:?}");
}

#[test]
fn keys_are_made_one_component_at_a_time() {
    run(|_| {
        let create = |path: &str| {
            let (mut handle, mut disposition) = (0, 0);
            // SAFETY: valid arguments, in a lab thread.
            let status = unsafe {
                ZwCreateKey(&mut handle, 0xF_003F, &attributes(path), 0, ptr::null(), 0, &mut disposition)
            };
            if status == 0 {
                // SAFETY: just opened.
                unsafe { ZwClose(handle) };
            }
            (status, disposition)
        };
        assert_eq!(create("\\Registry\\Machine\\SOFTWARE\\New"), (0, 1));
        assert_eq!(create("\\Registry\\Machine\\SOFTWARE\\New"), (0, 2));
        assert_eq!(create("\\Registry\\Machine\\SOFTWARE\\a\\b").0, status::OBJECT_NAME_NOT_FOUND);
    });
}

#[test]
fn a_change_below_a_watched_key_is_told_once() {
    run(|lab| {
        let path = "\\Registry\\Machine\\SOFTWARE\\Watched";
        lab.registry.create(&format!("{path}\\Rule\\Deep"));
        let handle = open(path);
        let (mut event, zero) = (0, 0i64);
        // SAFETY: valid arguments, in a lab thread.
        unsafe {
            assert_eq!(ZwCreateEvent(&mut event, 3, &named_attributes(0, "", 0x200), 0, 0), 0);
            let block = pool_block();
            let watch = |tree: u8| {
                let none = ptr::null_mut();
                ZwNotifyChangeKey(handle, event, 0, none, block.cast(), 4, tree, none, 0, 1)
            };
            let set = |lab: &Lab, below: &str| {
                lab.change_registry(|r| r.set(&r.create(&format!("{path}{below}")), Value::dword("v", 1)))
            };
            assert_eq!(watch(0), status::PENDING);
            set(lab, "\\Rule");
            assert_eq!(
                ZwWaitForSingleObject(event, 0, &zero),
                status::TIMEOUT,
                "a subkey's value is not the key's"
            );
            set(lab, "");
            assert_eq!(ZwWaitForSingleObject(event, 0, &zero), 0);
            assert_eq!(watch(1), status::PENDING);
            set(lab, "\\Rule\\Deep");
            assert_eq!(ZwWaitForSingleObject(event, 0, &zero), 0);
            assert_eq!(watch(1), status::PENDING);
            let body = lab.handle(event, lab_executive::Mode::Kernel).expect("open").body;
            assert_eq!(KeWaitForSingleObject(body, 0, 0, 0, &zero), status::TIMEOUT);
            ZwClose(handle);
            assert_eq!(ZwWaitForSingleObject(event, 0, &zero), 0, "closing the key ends the request");
            assert_eq!(block.cast::<usize>().read(), status::NOTIFY_CLEANUP as usize);
            assert_eq!(lab.open_registry_watches(), 0);
            ZwClose(event);
            ExFreePoolWithTag(block, 0);
        }
    });
}

const NAME: u32 = 1;
const LAST_SET: u32 = 4;
const THREAD_AGNOSTIC: u32 = 0x1000_0000;
const PARENT: &str = "\\Registry\\Machine\\SOFTWARE\\Parent";

/// Room for an IO_STATUS_BLOCK.
fn pool_block() -> *mut std::ffi::c_void {
    // SAFETY: in a lab thread. POOL_FLAG_NON_PAGED.
    unsafe { ExAllocatePool2(0x40, 16, u32::from_le_bytes(*b"Test")).cast() }
}

/// A request for notification with an event of its own.
struct Request {
    key: usize,
    event: usize,
    block: *mut std::ffi::c_void,
}

impl Request {
    fn of(path: &str, filter: u32, tree: u8) -> Self {
        let (key, mut event, none) = (open(path), 0, ptr::null_mut());
        let block = pool_block();
        // SAFETY: valid arguments, in a lab thread; the block is freed after the request has ended.
        unsafe {
            assert_eq!(ZwCreateEvent(&mut event, 3, &named_attributes(0, "", 0x200), 0, 0), 0);
            let asked = ZwNotifyChangeKey(key, event, 0, none, block.cast(), filter, tree, none, 0, 1);
            assert_eq!(asked, status::PENDING);
        }
        Request { key, event, block }
    }

    fn is_told(&self) -> bool {
        // SAFETY: an open handle, in a lab thread.
        unsafe { ZwWaitForSingleObject(self.event, 0, &0) == 0 }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: open handles; the request ends with the first.
        unsafe {
            ZwClose(self.key);
            ZwClose(self.event);
            ExFreePoolWithTag(self.block, 0);
        }
    }
}

/// ntifs/ZwNotifyChangeKey, CompletionFilter.
#[test]
fn a_watch_is_told_of_what_its_filter_names() {
    run(|lab| {
        lab.registry.create(PARENT);
        let (names, values) = (Request::of(PARENT, NAME, 0), Request::of(PARENT, LAST_SET, 1));
        lab.change_registry(|r| r.set(&r.create(PARENT), Value::dword("v", 1)));
        assert!(!names.is_told() && values.is_told());
        let values = Request::of(PARENT, LAST_SET, 1);
        lab.change_registry(|r| r.create(&format!("{PARENT}\\child")));
        assert!(names.is_told() && !values.is_told());
        let below = Request::of(PARENT, NAME, 0);
        lab.change_registry(|r| r.create(&format!("{PARENT}\\child\\deep")));
        assert!(!below.is_told(), "a name below a child is not the key's");
        lab.change_registry(|r| r.remove_key(&format!("{PARENT}\\child")));
        assert!(below.is_told());
    });
}

/// winreg/RegNotifyChangeKeyValue, in its older form: the deletion of the watched key itself is not told. Newer pages are
/// silent, so both are run.
#[test]
fn the_deletion_of_a_key_is_told_in_its_parent_and_to_its_own_watchers_by_a_switch() {
    for switch in [false, true] {
        let lab = lab_with(|config| config.deleted_key_tells_its_watchers = switch);
        let result = lab.run(move |lab| {
            let key = format!("{PARENT}\\key");
            lab.registry.create(&key);
            let (own, parent) = (Request::of(&key, NAME | LAST_SET, 1), Request::of(PARENT, NAME, 0));
            lab.change_registry(|r| r.remove_key(&key));
            assert!(parent.is_told());
            assert_eq!(own.is_told(), switch);
        });
        assert!(result.is_ok(), "{result:?}");
    }
}

/// No page says whether a hive that is loaded is told to who watches the key above: both are run.
#[test]
fn a_loaded_hive_is_told_by_a_switch() {
    for switch in [false, true] {
        let lab = lab_with(|config| config.loaded_hive_tells_watchers = switch);
        let result = lab.run(move |lab| {
            lab.registry.create(PARENT);
            let parent = Request::of(PARENT, NAME, 0);
            let hive = format!("{PARENT}\\hive");
            lab.load_hive(&hive, |r| r.set(&r.create(&hive), Value::dword("v", 1)));
            assert_eq!(parent.is_told(), switch);
            assert!(lab.registry.find(&hive).is_some());
            lab.change_registry(|r| r.create(&format!("{PARENT}\\other")));
            assert!(parent.is_told());
        });
        assert!(result.is_ok(), "{result:?}");
    }
}

/// winreg/RegNotifyChangeKeyValue: a registration has thread affinity unless REG_NOTIFY_THREAD_AGNOSTIC says otherwise.
#[test]
fn a_request_ends_with_its_thread() {
    for (filter, ends) in [(LAST_SET, true), (LAST_SET | THREAD_AGNOSTIC, false)] {
        run(move |lab| {
            lab.registry.create(PARENT);
            let asked = std::rc::Rc::new(std::cell::RefCell::new(None));
            let slot = asked.clone();
            let system = lab.processes.system();
            let asking = lab.spawn(&system, "asks", move |_| {
                *slot.borrow_mut() = Some(Request::of(PARENT, filter, 1));
            });
            lab.block_until("the thread", None, || asking.finished());
            let request = asked.take().expect("asked");
            assert_eq!(request.is_told(), ends);
            assert_eq!(lab.open_registry_watches(), usize::from(!ends));
        });
    }
}

#[test]
fn freeing_the_status_block_of_an_open_request_stops_the_run() {
    let lab = lab();
    lab.registry.create(PARENT);
    let result = lab.run(|_| {
        let request = Request::of(PARENT, LAST_SET, 1);
        // SAFETY: what is wrong with it is the point.
        unsafe { ExFreePoolWithTag(request.block, 0) };
    });
    let violation = result.expect_err("freed under the system's hands");
    assert!(violation.to_string().contains("an open registry notification"), "{violation}");
}

#[test]
fn a_watch_needs_the_right_to_notify_and_a_known_filter() {
    run(|lab| {
        lab.registry.create(PARENT);
        let (key, none, mut block) = (open(PARENT), ptr::null_mut(), [0usize; 2]);
        for filter in [0, 0x10, THREAD_AGNOSTIC] {
            // SAFETY: valid arguments, in a lab thread.
            let status = unsafe {
                ZwNotifyChangeKey(key, 0, 0, none, block.as_mut_ptr().cast(), filter, 0, none, 0, 1)
            };
            assert_eq!(status, status::INVALID_PARAMETER, "{filter:#x}");
        }
        // SAFETY: our handle.
        unsafe { ZwClose(key) };
    });
    let lab = lab();
    lab.registry.create(PARENT);
    let result = lab.run(|_| {
        let (mut key, none, mut block) = (0, ptr::null_mut(), [0usize; 2]);
        // SAFETY: valid arguments, in a lab thread; KEY_QUERY_VALUE only.
        unsafe {
            assert_eq!(ZwOpenKey(&mut key, 1, &attributes(PARENT)), 0);
            ZwNotifyChangeKey(key, 0, 0, none, block.as_mut_ptr().cast(), LAST_SET, 0, none, 0, 1);
        }
    });
    assert!(result.expect_err("without KEY_NOTIFY").to_string().contains("KEY_NOTIFY"));
}
