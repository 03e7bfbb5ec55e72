//! Sections, as far as filters see them: the synchronisation calls around their creation, the control area that
//! SectionObjectPointer leads to, and who still maps a file.
//!
//! Approximated: a section has no pages of its own. Reads of a view are reads of the file; writes of a view reach
//! the file when the view is flushed, as one paging write on the file object that backs the section.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fltkernel::*;
use lab_executive::status;

use super::file::{Fcb, File};
use super::file_system::{Answer, Call};
use crate::Executive;
use crate::flt::passage;
use crate::flt::request::{Form, Operation};
use crate::memory;
use crate::rooms::Rooms;

/// PAGE_READWRITE and PAGE_EXECUTE_READWRITE.
const WRITABLE: u32 = 0x04 | 0x40;

/// A data section.
pub(crate) struct Section {
    /// The file object that paging I/O goes to; referenced.
    pub(crate) backing: Rc<File>,
    pub(crate) protection: u32,
    fcb: Rc<Fcb>,
}

/// A control area: the file object behind it, its sections, its memory.
type Area = (Rc<File>, u32, *mut u8);

/// All sections of a lab.
#[derive(Default)]
pub(crate) struct Sections {
    /// The file object behind the control area of a stream, and how many sections use it.
    areas: RefCell<BTreeMap<u64, Area>>,
    writable: RefCell<BTreeMap<u64, u32>>,
}

fn sync(lab: &Executive, file: &File, major: u8, sync_type: i32, protection: u32) -> i32 {
    let mut operation = Operation::irp(major, file.pointer());
    operation.form = Form::FsFilter;
    operation.parameters = FLT_PARAMETERS {
        AcquireForSectionSynchronization: SECTION_SYNCHRONIZATION {
            SyncType: sync_type,
            PageProtection: protection,
            OutputInformation: std::ptr::null_mut(),
            Flags: 0,
            AllocationAttributes: 0x800_0000,
        },
    };
    passage::issue(lab, operation, file.ceiling.as_ref()).Status
}

/// NtCreateSection, FsRtlCreateSectionForDataScan: creates a section that backs the file.
///
/// The file object of the first section of a stream stays the one that paging I/O goes to.
///
/// # Errors
/// The status of whoever refused.
pub(crate) fn create(lab: &Executive, file: &Rc<File>, protection: u32) -> Result<Rc<Section>, i32> {
    let acquired =
        sync(lab, file, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, SyncTypeCreateSection, protection);
    if acquired < 0 {
        return Err(acquired);
    }
    let result = make(lab, file, protection);
    sync(lab, file, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, SyncTypeOther, 0);
    result
}

fn make(lab: &Executive, file: &Rc<File>, protection: u32) -> Result<Rc<Section>, i32> {
    const INVALID_FILE_FOR_SECTION: i32 = 0xC000_0020_u32.cast_signed();
    let Some(fcb) = file.fcb.borrow().clone() else { return Err(INVALID_FILE_FOR_SECTION) };
    if file.object().SectionObjectPointer.is_null() {
        return Err(INVALID_FILE_FOR_SECTION);
    }
    let io = lab.io();
    let mut areas = io.sections.areas.borrow_mut();
    let (backing, count, area) = areas.entry(fcb.number).or_insert_with(|| {
        lab.objects.reference(lab, file.body.cast());
        let area = lab.allocate_own(64, b"MmCa");
        let mut pointers = memory::read(fcb.section);
        pointers.DataSectionObject = area.cast();
        memory::write(fcb.section, pointers);
        (file.clone(), 0, area)
    });
    let _ = area;
    *count += 1;
    let backing = backing.clone();
    drop(areas);
    if protection & WRITABLE != 0 {
        *io.sections.writable.borrow_mut().entry(fcb.number).or_default() += 1;
        io.with_volume(lab, |volume| volume.set_writable_view(lab_volume::FileId(fcb.key.0), true));
    }
    Ok(Rc::new(Section { backing, protection, fcb }))
}

/// The last view and handle of a section are gone.
pub(crate) fn close(lab: &Executive, section: Rc<Section>) {
    let io = lab.io();
    let number = section.fcb.number;
    if section.protection & WRITABLE != 0 {
        let mut writable = io.sections.writable.borrow_mut();
        let left = writable.get_mut(&number).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            writable.remove(&number);
            io.with_volume(lab, |volume| {
                volume.set_writable_view(lab_volume::FileId(section.fcb.key.0), false)
            });
        }
    }
    let ended = {
        let mut areas = io.sections.areas.borrow_mut();
        let last = areas.get_mut(&number).is_some_and(|(_, count, _)| {
            *count -= 1;
            *count == 0
        });
        if last { areas.remove(&number) } else { None }
    };
    if let Some((backing, _, area)) = ended {
        let mut pointers = memory::read(section.fcb.section);
        pointers.DataSectionObject = std::ptr::null_mut();
        memory::write(section.fcb.section, pointers);
        lab.free_own(area);
        let body = backing.body;
        drop((section, backing));
        lab.objects.dereference(lab, body.cast());
    }
}

/// MmDoesFileHaveUserWritableReferences: of the stream whose SECTION_OBJECT_POINTERS this is.
pub(crate) fn has_writable_references(lab: &Executive, pointers: *const u8) -> bool {
    let io = lab.io();
    let number = io
        .fcbs
        .borrow()
        .values()
        .filter_map(std::rc::Weak::upgrade)
        .find(|fcb| fcb.section.addr() == pointers.addr())
        .map(|fcb| fcb.number);
    let writable = io.sections.writable.borrow();
    number.is_some_and(|number| writable.contains_key(&number))
}

/// The file system's part of the synchronisation calls: nothing to lock, the model has one thread at a time.
pub(crate) fn file_system(call: &Call<'_>) -> Answer {
    call.open();
    match call.request.major {
        IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION
        | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
        | IRP_MJ_ACQUIRE_FOR_CC_FLUSH
        | IRP_MJ_RELEASE_FOR_CC_FLUSH
        | IRP_MJ_ACQUIRE_FOR_MOD_WRITE
        | IRP_MJ_RELEASE_FOR_MOD_WRITE => Ok(0),
        _ => super::file_system::fail(status::NOT_SUPPORTED),
    }
}
