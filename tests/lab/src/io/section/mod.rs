//! Sections: control areas, the synchronisation calls around them, the pages that views modify.
//!
//! The control area of a stream is what the `DataSectionObject` of its SECTION_OBJECT_POINTERS leads to. It is made with
//! the first section, and paging I/O goes to the file object that this section was made over for as long as it lives,
//! whatever file objects later sections are made over. Which SECTION_OBJECT_POINTERS count is what the file object says
//! after the acquire: a filter may have lent it others (minifilter-rules §1.5).
//!
//! Approximated: only pages that a view has modified are kept; a view's other bytes are read again at each access, so
//! that a filter sees more paging reads than on Windows. A control area goes with its last section, while Windows may
//! keep it, and the file object behind it, as long as memory lasts. Of an image only the first two bytes are looked at,
//! and its view shows the file as it is, not laid out in sections.

pub mod imports;
mod pages;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fltkernel::*;
use lab_executive::{Mode, Process, status};
use lab_nt::SECTION_OBJECT_POINTERS;

use super::file::{File, StreamKey};
use super::file_system::{Answer, Call};
use super::requests::{self, From, Target};
use crate::Executive;
use crate::flt::passage;
use crate::flt::request::{Form, Operation};
use crate::memory;
use crate::rooms::Rooms;
pub(crate) use imports::object_deleted;
pub(crate) use pages::{flush, overlay, read_view, replace, truncate, write_view};

/// PAGE_READWRITE and PAGE_EXECUTE_READWRITE.
pub(crate) const WRITABLE: u32 = 0x04 | 0x40;

const INVALID_FILE_FOR_SECTION: i32 = 0xC000_0020_u32.cast_signed();
const SECTION_TOO_BIG: i32 = 0xC000_0040_u32.cast_signed();
const MAPPED_FILE_SIZE_ZERO: i32 = 0xC000_011E_u32.cast_signed();

const INVALID_IMAGE_NOT_MZ: i32 = 0xC000_012F_u32.cast_signed();

const FILE_STANDARD_INFORMATION: u32 = 5;
const FILE_END_OF_FILE_INFORMATION: u32 = 20;

/// A control area.
pub(crate) struct Area {
    /// What `DataSectionObject` holds, or `ImageSectionObject`.
    address: *mut u8,
    image: bool,
    pointers: *mut SECTION_OBJECT_POINTERS,
    /// The file object that paging I/O goes to; referenced.
    backing: Rc<File>,
    key: StreamKey,
    sections: Cell<u32>,
    writable: Cell<u32>,
    pages: pages::Pages,
}

/// A section.
pub(crate) struct Section {
    area: Rc<Area>,
    pub(crate) protection: u32,
    pub(crate) size: u64,
}

/// A section that a process has made, with its view.
pub(crate) struct Mapped {
    process: u32,
    section: RefCell<Option<Rc<Section>>>,
}

impl Mapped {
    /// The section, until it is unmapped.
    pub(crate) fn section(&self) -> Option<Rc<Section>> {
        self.section.borrow().clone()
    }
}

/// All sections of a lab.
#[derive(Default)]
pub(crate) struct Sections {
    areas: RefCell<Vec<Rc<Area>>>,
    mapped: RefCell<Vec<Rc<Mapped>>>,
}

impl Sections {
    /// The control area for data that these pointers lead to.
    fn area(&self, pointers: *const SECTION_OBJECT_POINTERS) -> Option<Rc<Area>> {
        self.area_for(pointers, false)
    }

    fn area_for(&self, pointers: *const SECTION_OBJECT_POINTERS, image: bool) -> Option<Rc<Area>> {
        if pointers.is_null() || self.areas.borrow().is_empty() {
            return None;
        }
        let value = memory::read(pointers);
        let address = if image { value.ImageSectionObject } else { value.DataSectionObject };
        self.areas.borrow().iter().find(|area| area.address.addr() == address.addr()).cloned()
    }
}

/// What a section is to be.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// PAGE_READONLY, …
    pub(crate) protection: u32,
    /// Bytes; none: as many as the file has.
    pub(crate) maximum: Option<u64>,
    /// SEC_IMAGE, and not SEC_COMMIT.
    pub(crate) image: bool,
}

const SEC_IMAGE: u32 = 0x0100_0000;
const SEC_COMMIT: u32 = 0x0800_0000;

fn sync(lab: &Executive, file: &File, major: u8, sync_type: i32, wanted: Option<&Wanted>) -> i32 {
    let mut operation = Operation::irp(major, file.pointer());
    operation.form = Form::FsFilter;
    operation.parameters = FLT_PARAMETERS {
        AcquireForSectionSynchronization: SECTION_SYNCHRONIZATION {
            SyncType: sync_type,
            PageProtection: wanted.map_or(0, |wanted| wanted.protection),
            OutputInformation: std::ptr::null_mut(),
            Flags: 0,
            AllocationAttributes: if wanted.is_some_and(|wanted| wanted.image) {
                SEC_IMAGE
            } else {
                SEC_COMMIT
            },
        },
    };
    passage::issue(lab, operation, file.ceiling.as_ref()).Status
}

fn kernel() -> From {
    From { mode: Mode::Kernel, below: None, generated: false }
}

/// NtCreateSection, ZwCreateSection: creates a section over the file, of its size or of `maximum` bytes, to which a
/// writable section extends the file.
///
/// # Errors
/// The status of whoever refused; MAPPED_FILE_SIZE_ZERO over an empty file, SECTION_TOO_BIG, INVALID_FILE_FOR_SECTION,
/// INVALID_IMAGE_NOT_MZ.
pub(crate) fn create(lab: &Executive, file: &Rc<File>, wanted: &Wanted) -> Result<Rc<Section>, i32> {
    let acquired =
        sync(lab, file, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, SyncTypeCreateSection, Some(wanted));
    if acquired < 0 {
        return Err(acquired);
    }
    let result = make(lab, file, wanted);
    sync(lab, file, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, SyncTypeOther, None);
    result
}

fn make(lab: &Executive, file: &Rc<File>, wanted: &Wanted) -> Result<Rc<Section>, i32> {
    let Wanted { protection, maximum, image } = *wanted;
    let Some(fcb) = file.fcb.borrow().clone() else { return Err(INVALID_FILE_FOR_SECTION) };
    let pointers: *mut SECTION_OBJECT_POINTERS = file.object().SectionObjectPointer.cast();
    if pointers.is_null() || file.directory.get() {
        return Err(INVALID_FILE_FOR_SECTION);
    }
    let size = if image { image_size(lab, file)? } else { sized(lab, file, protection, maximum)? };
    let sections = &lab.io().sections;
    let area = match sections.area_for(pointers, image) {
        Some(area) => area,
        None => {
            lab.objects.reference(lab, file.body.cast());
            let area = Rc::new(Area {
                address: lab.allocate_own(64, b"MmCa"),
                image,
                pointers,
                backing: file.clone(),
                key: fcb.key.clone(),
                sections: Cell::new(0),
                writable: Cell::new(0),
                pages: pages::Pages::default(),
            });
            lead_to(&area, area.address);
            sections.areas.borrow_mut().push(area.clone());
            area
        }
    };
    area.sections.set(area.sections.get() + 1);
    if protection & WRITABLE != 0 {
        area.writable.set(area.writable.get() + 1);
    }
    tell_volume(lab, &area);
    Ok(Rc::new(Section { area, protection, size }))
}

/// Writes the address of a control area where its SECTION_OBJECT_POINTERS keep it.
fn lead_to(area: &Area, address: *mut u8) {
    let mut value = memory::read(area.pointers);
    if area.image {
        value.ImageSectionObject = address.cast();
    } else {
        value.DataSectionObject = address.cast();
    }
    memory::write(area.pointers, value);
}

/// The size of an image, of which only the first two bytes are looked at.
fn image_size(lab: &Executive, file: &Rc<File>) -> Result<u64, i32> {
    let size = sized(lab, file, 0, None).map_err(|status| match status {
        MAPPED_FILE_SIZE_ZERO => INVALID_FILE_FOR_SECTION,
        status => status,
    })?;
    let (answer, header) = requests::paging_read(lab, file, 0, 4096);
    match answer.Status {
        status if status < 0 => Err(INVALID_FILE_FOR_SECTION),
        _ if header.starts_with(b"MZ") => Ok(size),
        _ => Err(INVALID_IMAGE_NOT_MZ),
    }
}

/// Asks the size from the top of the stack, as FsRtlGetFileSize does, and extends the file where that is asked for.
fn sized(lab: &Executive, file: &Rc<File>, protection: u32, maximum: Option<u64>) -> Result<u64, i32> {
    let (answer, data) = requests::query_information(lab, file, &kernel(), FILE_STANDARD_INFORMATION, 24);
    if answer.Status < 0 {
        return Err(answer.Status);
    }
    let end = data.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    match maximum {
        None if end == 0 => Err(MAPPED_FILE_SIZE_ZERO),
        None => Ok(end),
        Some(maximum) if maximum <= end => Ok(maximum),
        Some(_) if protection & WRITABLE == 0 => Err(SECTION_TOO_BIG),
        Some(maximum) => {
            let class = FILE_END_OF_FILE_INFORMATION;
            let data = maximum.to_le_bytes();
            let set = requests::set_information(lab, file, &kernel(), class, &data, Target::default());
            if set.Status < 0 { Err(set.Status) } else { Ok(maximum) }
        }
    }
}

/// What NTFS learns from MmDoesFileHaveUserWritableReferences and MmCanFileBeTruncated.
fn tell_volume(lab: &Executive, area: &Area) {
    let file = lab_volume::FileId(area.key.file);
    let io = lab.io();
    if area.key.mount != io.mounted() {
        // What was mapped of a volume that is dismounted is nobody's business any more.
        return;
    }
    let same = |other: &Rc<Area>| other.key.file == area.key.file && other.key.mount == area.key.mount;
    let writable = |other: &Rc<Area>| same(other) && other.writable.get() > 0;
    let writable = area.writable.get() > 0 || io.sections.areas.borrow().iter().any(writable);
    let stream = |other: &Rc<Area>| {
        same(other) && (&other.key.stream, other.key.transaction) == (&area.key.stream, area.key.transaction)
    };
    let lives = |other: &Rc<Area>| stream(other) && other.sections.get() > 0;
    let areas = io.sections.areas.borrow();
    let mapped = area.sections.get() > 0 || areas.iter().any(lives);
    let image = areas.iter().any(|other| other.image && lives(other));
    drop(areas);
    io.with_volume(lab, |volume| {
        volume.set_writable_view(file, writable);
        volume.set_user_mapped(file, &area.key.stream, area.key.transaction, mapped);
        volume.set_image(file, &area.key.stream, area.key.transaction, image);
    });
}

/// The last view and handle of a section are gone. With the last section of a control area its modified pages are
/// written; those that cannot be are lost, and nobody hears of it.
pub(crate) fn close(lab: &Executive, section: Rc<Section>) {
    let area = section.area.clone();
    if section.protection & WRITABLE != 0 {
        area.writable.set(area.writable.get() - 1);
    }
    area.sections.set(area.sections.get() - 1);
    drop(section);
    tell_volume(lab, &area);
    if area.sections.get() != 0 {
        return;
    }
    let _ = flush(lab, &area);
    let io = lab.io();
    let mut areas = io.sections.areas.borrow_mut();
    // Another section may have been made while pages were written.
    let last = area.sections.get() == 0;
    let Some(index) = areas.iter().position(|other| Rc::ptr_eq(other, &area)).filter(|_| last) else {
        return;
    };
    areas.remove(index);
    drop(areas);
    lead_to(&area, std::ptr::null_mut());
    lab.free_own(area.address);
    let body = area.backing.body;
    drop(area);
    lab.objects.dereference(lab, body.cast());
}

/// A section of the calling thread's process, with a view of all of it.
pub(crate) fn map(lab: &Executive, section: Rc<Section>) -> Rc<Mapped> {
    let process = lab.thread().process().map_or(0, |process| process.id);
    let mapped = Rc::new(Mapped { process, section: RefCell::new(Some(section)) });
    lab.io().sections.mapped.borrow_mut().push(mapped.clone());
    mapped
}

/// Unmaps a view and closes its section, once.
pub(crate) fn unmap(lab: &Executive, mapped: &Rc<Mapped>) {
    lab.io().sections.mapped.borrow_mut().retain(|other| !Rc::ptr_eq(other, mapped));
    let section = mapped.section.borrow_mut().take();
    if let Some(section) = section {
        close(lab, section);
        crate::ktm::retry_pending(lab);
    }
}

/// The address space of a process goes, after its handles (txf-ktm §8.2).
pub(crate) fn tear_down(lab: &Executive, process: &Rc<Process>) {
    let own: Vec<_> = lab
        .io()
        .sections
        .mapped
        .borrow()
        .iter()
        .filter(|mapped| mapped.process == process.id)
        .cloned()
        .collect();
    for mapped in own {
        unmap(lab, &mapped);
    }
}

/// The mapped page writer writes every modified page. What fails stays modified.
pub(crate) fn write_all(lab: &Executive) {
    let areas = lab.io().sections.areas.borrow().clone();
    for area in areas {
        let _ = flush(lab, &area);
    }
}

/// The control area of a file object's own stream, if sections are made over it.
pub(crate) fn area_of(lab: &Executive, file: &File) -> Option<Rc<Area>> {
    let pointers = file.fcb.borrow().as_ref().map(|fcb| fcb.section)?;
    lab.io().sections.area(pointers)
}

/// The control area of a section.
pub(crate) fn area(section: &Section) -> &Rc<Area> {
    &section.area
}

/// MmDoesFileHaveUserWritableReferences: of the stream whose SECTION_OBJECT_POINTERS this is.
pub(crate) fn has_writable_references(lab: &Executive, pointers: *const u8) -> bool {
    lab.io().sections.area(pointers.cast()).is_some_and(|area| area.writable.get() > 0)
}

/// MmCanFileBeTruncated, the other way round.
fn is_mapped(lab: &Executive, pointers: *const u8) -> bool {
    let area = |image| lab.io().sections.area_for(pointers.cast(), image);
    [false, true].into_iter().filter_map(area).any(|area| area.sections.get() > 0)
}

fn is_image(lab: &Executive, pointers: *const u8) -> bool {
    lab.io().sections.area_for(pointers.cast(), true).is_some_and(|area| area.sections.get() > 0)
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
