//! The memory manager's routines of `ntoskrnl.exe`.

use lab_executive::imports;
use lab_executive::{Lab, Mode, status};
use lab_nt::OBJECT_ATTRIBUTES;

use super::{SEC_COMMIT, Section, Wanted};
use crate::memory;
use crate::rooms::Rooms;

const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// PAGE_READONLY, PAGE_READWRITE, PAGE_WRITECOPY and their executable forms.
const PROTECTIONS: [u32; 6] = [0x02, 0x04, 0x08, 0x20, 0x40, 0x80];
const INVALID_PAGE_PROTECTION: i32 = 0xC000_0045_u32.cast_signed();

imports! {
    /// Sections.
    pub static MM in "ntoskrnl.exe";

    /// Writable handles are not counted, only sections and views.
    [ceiling: APC_LEVEL, Approximated("counts writable sections, not handles and MDLs"), source: "txf-ktm §4.5; ntifs/MmDoesFileHaveUserWritableReferences"]
    fn MmDoesFileHaveUserWritableReferences(lab; pointers: *const u8) -> u32 {
        u32::from(super::has_writable_references(lab, pointers))
    }

    /// Whether nobody has a section or view that ends behind a size.
    [ceiling: APC_LEVEL, Approximated("whatever the size"), source: "ntifs/MmCanFileBeTruncated"]
    fn MmCanFileBeTruncated(lab; pointers: *const u8, _size: *const i64) -> u8 {
        u8::from(!super::is_mapped(lab, pointers))
    }

    /// Whether nobody has mapped a stream as an image.
    [ceiling: APC_LEVEL, Approximated("images that nobody has mapped are never kept"), source: "minifilter-rules §2.10; ntifs/MmFlushImageSection"]
    fn MmFlushImageSection(lab; pointers: *const u8, reason: i32) -> u8 {
        let for_delete = reason == 0 && super::has_writable_references(lab, pointers);
        u8::from(!for_delete && !super::is_image(lab, pointers))
    }

    /// Makes a section over an open file.
    [ceiling: PASSIVE_LEVEL, Approximated("committed data sections over files, unnamed, for system threads or with OBJ_KERNEL_HANDLE; the handle's access is not compared with the protection"), fails: Status, source: "wdm/ZwCreateSection; minifilter-rules §1.5"]
    fn ZwCreateSection(
        lab; handle: *mut usize, access: u32, attributes: *const OBJECT_ATTRIBUTES, maximum: *const i64,
        protection: u32, allocation: u32, file: usize,
    ) -> i32 {
        let attributes = (!attributes.is_null()).then(|| memory::read(attributes));
        if attributes.is_some_and(|value| !value.ObjectName.is_null()) || allocation != SEC_COMMIT || file == 0 {
            lab.report("unserved", "wdm/ZwCreateSection", "only unnamed committed sections over files are modelled");
        }
        let kernel = attributes.is_some_and(|value| value.Attributes & OBJ_KERNEL_HANDLE != 0);
        if !kernel && lab.thread().process().is_some_and(|process| process.id != 4) {
            lab.report(
                "kernel-handle",
                "wdm/ZwCreateSection: outside system threads OBJ_KERNEL_HANDLE must be set",
                "makes a section handle that the running program could use",
            );
        }
        if !PROTECTIONS.contains(&protection) {
            return INVALID_PAGE_PROTECTION;
        }
        let entry = match lab.handle(file, Mode::Kernel) {
            Ok(entry) => entry,
            Err(status) => return status,
        };
        let Some(file) = lab.io().try_file(entry.body.cast()) else { return status::OBJECT_TYPE_MISMATCH };
        let maximum = if maximum.is_null() { 0 } else { memory::read(maximum) };
        let maximum = u64::try_from(maximum).ok().filter(|&maximum| maximum != 0);
        match super::create(lab, &file, &Wanted { protection, maximum, image: false }) {
            Ok(section) => {
                let kind = lab.objects.type_named("Section");
                let body = lab.objects.create(lab, &kind, 0x40, Some(section));
                let process = lab.thread().process().filter(|_| !kernel);
                let opened = lab.open_handle(process.as_ref(), body, kind.map_generic(access), false);
                lab.objects.dereference(lab, body);
                memory::write(handle, opened);
                status::SUCCESS
            }
            Err(status) => status,
        }
    }
}

/// The last reference to a section object is gone.
pub(crate) fn object_deleted(lab: &Lab, body: *mut u8) {
    if let Some(section) = lab.objects.payload::<Section>(body) {
        super::close(lab, section);
        crate::ktm::retry_pending(lab);
    }
}
