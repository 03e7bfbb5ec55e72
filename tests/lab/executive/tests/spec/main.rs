//! What the executive promises, as specifications.

mod determinism;
mod etw;
mod handles;
mod images;
mod locks;
mod memory;
mod pe;
mod processes;
mod registry;
mod routines;
mod suspension;
mod waits;

use std::rc::Rc;

use lab_executive::{Config, Lab, Violation};

/// A lab with a seed, without chance switches: tests that want them say so.
pub(crate) fn lab() -> Box<Lab> {
    lab_with(|_| ())
}

pub(crate) fn lab_with(change: impl FnOnce(&mut Config)) -> Box<Lab> {
    let mut config = Config { preempt_per_mille: 0, ..Config::default() };
    change(&mut config);
    Lab::new(config)
}

/// Runs `body` in a lab thread and returns what it returned.
pub(crate) fn run<R: 'static>(body: impl FnOnce(&Lab) -> R + 'static) -> R {
    match lab().run(body) {
        Ok(result) => result,
        Err(violation) => panic!("{violation}"),
    }
}

/// Runs `body` in a lab thread; it must break `rule`.
pub(crate) fn must_violate<R: 'static>(rule: &str, body: impl FnOnce(&Lab) -> R + 'static) -> Rc<Violation> {
    match lab().run(body) {
        Ok(_) => panic!("rule {rule} was not enforced"),
        Err(violation) => {
            assert_eq!(violation.rule, rule, "{violation}");
            violation
        }
    }
}

/// A tag.
pub(crate) const TAG: u32 = u32::from_le_bytes(*b"Test");
/// POOL_FLAG_NON_PAGED.
pub(crate) const NON_PAGED: u64 = 0x40;
/// POOL_FLAG_PAGED.
pub(crate) const PAGED: u64 = 0x100;

/// A terminated UTF-16 string that lives as long as the process.
pub(crate) fn wide(text: &str) -> *mut u16 {
    Box::leak(text.encode_utf16().chain([0]).collect::<Vec<_>>().into_boxed_slice()).as_mut_ptr()
}

/// A UNICODE_STRING over such a string.
pub(crate) fn unicode(text: &str) -> lab_nt::UNICODE_STRING {
    let length = (text.encode_utf16().count() * 2) as u16;
    lab_nt::UNICODE_STRING { Length: length, MaximumLength: length, Buffer: wide(text) }
}

/// OBJECT_ATTRIBUTES with a name, for a kernel handle.
pub(crate) fn attributes(name: &str) -> lab_nt::OBJECT_ATTRIBUTES {
    named_attributes(0, name, 0x240)
}

/// OBJECT_ATTRIBUTES with a root, a name and flags.
pub(crate) fn named_attributes(root: usize, name: &str, flags: u32) -> lab_nt::OBJECT_ATTRIBUTES {
    lab_nt::OBJECT_ATTRIBUTES {
        Length: size_of::<lab_nt::OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: std::ptr::with_exposed_provenance_mut(root),
        ObjectName: Box::leak(Box::new(unicode(name))),
        Attributes: flags,
        SecurityDescriptor: std::ptr::null_mut(),
        SecurityQualityOfService: std::ptr::null_mut(),
    }
}
