//! File objects: the public structure, and what the lab knows besides.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use lab_nt::{FILE_OBJECT, SECTION_OBJECT_POINTERS, UNICODE_STRING};
use lab_volume::{FileId, OpenId, TxId};

use crate::Executive;
use crate::flt::altitude::Altitude;
use crate::flt::contexts::Key;
use crate::memory;
use crate::rooms::Rooms;

/// The transaction of a transacted file object.
pub(crate) struct Transacted {
    /// Which.
    pub(crate) id: TxId,
    /// The KTRANSACTION; referenced while this lives.
    pub(crate) object: *mut u8,
    /// `TXF_MINIVERSION_*`.
    pub(crate) miniversion: u16,
}

/// Identifies a stream of a mount, and the version of it that a transaction sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamKey {
    pub(crate) file: u64,
    pub(crate) stream: lab_volume::Key,
    pub(crate) transaction: Option<u64>,
    pub(crate) mount: usize,
}

/// What open file objects of one stream share: the memory behind FsContext and SectionObjectPointer.
pub(crate) struct Fcb {
    /// Counts streams; the same in every run with the same seed.
    pub(crate) number: u64,
    /// FSRTL_ADVANCED_FCB_HEADER.
    pub(crate) header: *mut u8,
    /// SECTION_OBJECT_POINTERS.
    pub(crate) section: *mut SECTION_OBJECT_POINTERS,
    pub(crate) key: StreamKey,
    /// There have been byte-range locks on the stream: fast I/O must ask.
    pub(crate) locked: Cell<bool>,
}

/// A file object.
pub(crate) struct File {
    /// Counts file objects; the same in every run with the same seed.
    pub(crate) number: u64,
    /// The FILE_OBJECT.
    pub(crate) body: *mut FILE_OBJECT,
    /// The file system's half, between its create and its close.
    pub(crate) open: Cell<Option<OpenId>>,
    /// Which mount of the volume it is of.
    pub(crate) mount: usize,
    /// Operations on this file object go to instances lower than this (minifilter-rules §1.8 rule 8).
    pub(crate) ceiling: Option<Altitude>,
    pub(crate) transaction: Option<Rc<Transacted>>,
    /// TXN_PARAMETER_BLOCK for IoGetTransactionParameterBlock, or null.
    pub(crate) transaction_block: *mut u8,
    /// The name of the open, from the root of the volume, as it was given.
    pub(crate) opened_as: RefCell<Vec<u16>>,
    /// Opened by id: the name above is empty.
    pub(crate) by_id: bool,
    pub(crate) id: Cell<Option<FileId>>,
    pub(crate) directory: Cell<bool>,
    pub(crate) fcb: RefCell<Option<Rc<Fcb>>>,
    /// FsContext2.
    pub(crate) ccb: Cell<*mut u8>,
    /// How often a process has given back all of its locks, or all with a key.
    pub(crate) unlocked: RefCell<BTreeMap<(u64, Option<u32>), u32>>,
    /// The open was undone by FltCancelFileOpen.
    pub(crate) cancelled: Cell<bool>,
    /// Where a directory query stands: pattern and entries still to give.
    pub(crate) scan: RefCell<Option<super::file_system::directory::Scan>>,
    /// For reports: who opened it.
    pub(crate) opener: String,
}

impl File {
    pub(crate) fn object(&self) -> FILE_OBJECT {
        memory::read(self.body)
    }

    /// Changes the public structure.
    pub(crate) fn update(&self, change: impl FnOnce(&mut FILE_OBJECT)) {
        let mut object = self.object();
        change(&mut object);
        memory::write(self.body, object);
    }

    pub(crate) fn flags(&self) -> u32 {
        self.object().Flags
    }

    pub(crate) fn has_flags(&self, flags: u32) -> bool {
        self.flags() & flags != 0
    }

    pub(crate) fn set_flags(&self, flags: u32) {
        self.update(|object| object.Flags |= flags);
    }

    pub(crate) fn pointer(&self) -> fltkernel::PFILE_OBJECT {
        self.body.cast()
    }

    pub(crate) fn position(&self) -> i64 {
        quad(self.object().CurrentByteOffset)
    }

    pub(crate) fn set_position(&self, position: i64) {
        self.update(|object| object.CurrentByteOffset = large(position));
    }

    pub(crate) fn transaction_id(&self) -> Option<TxId> {
        self.transaction.as_ref().map(|transaction| transaction.id)
    }

    /// Runs a request under the file object's lock: requests on a synchronous file object take turns.
    pub(crate) fn one_at_a_time<R>(&self, lab: &Executive, request: impl FnOnce() -> R) -> R {
        if !self.has_flags(lab_nt::FO_SYNCHRONOUS_IO) {
            return request();
        }
        if self.object().Busy != 0 {
            lab.block_until(format!("the lock of {}", self.label()), None, || self.object().Busy == 0);
        }
        self.update(|object| object.Busy = 1);
        let result = request();
        self.update(|object| object.Busy = 0);
        result
    }

    /// For reports.
    pub(crate) fn label(&self) -> String {
        let name = memory::text(&self.opened_as.borrow());
        let transacted = if self.transaction.is_some() { ", transacted" } else { "" };
        format!("file object #{} \"{name}\"{transacted}, opened by {}", self.number, self.opener)
    }
}

/// The 64 bits of a LARGE_INTEGER.
pub(crate) fn quad(value: lab_nt::LARGE_INTEGER) -> i64 {
    // SAFETY: every member of the union is plain integers; QuadPart covers all of it.
    unsafe { value.QuadPart }
}

/// A LARGE_INTEGER.
pub(crate) fn large(value: i64) -> lab_nt::LARGE_INTEGER {
    lab_nt::LARGE_INTEGER { QuadPart: value }
}

/// Copies units into memory of the lab and describes them as a counted string.
pub(crate) fn counted(lab: &Executive, units: &[u16], tag: &[u8; 4]) -> UNICODE_STRING {
    if units.is_empty() {
        return UNICODE_STRING { Length: 0, MaximumLength: 0, Buffer: std::ptr::null_mut() };
    }
    let buffer: *mut u16 = lab.allocate_own(units.len() * 2, tag).cast();
    memory::fill_units(buffer, units);
    let length = (units.len() * 2) as u16;
    UNICODE_STRING { Length: length, MaximumLength: length, Buffer: buffer }
}

/// Flags of `FSRTL_ADVANCED_FCB_HEADER` (minifilter-rules §1.3.1).
const ADVANCED_HEADER: u8 = 0x40;
const SUPPORTS_FILTER_CONTEXTS: u8 = 0x02;

impl super::Io {
    /// The shared part of a stream's file objects, made on first use.
    pub(crate) fn fcb(&self, lab: &Executive, key: StreamKey) -> Rc<Fcb> {
        let known = self.fcbs.borrow().get(&key).and_then(std::rc::Weak::upgrade);
        if let Some(known) = known {
            return known;
        }
        let header = lab.allocate_own(size_of::<lab_nt::FSRTL_ADVANCED_FCB_HEADER>(), b"Ntff");
        memory::write(
            header.wrapping_add(std::mem::offset_of!(lab_nt::FSRTL_ADVANCED_FCB_HEADER, Flags)),
            ADVANCED_HEADER,
        );
        let flags2 = std::mem::offset_of!(lab_nt::FSRTL_ADVANCED_FCB_HEADER, Flags2);
        memory::write(header.wrapping_add(flags2), SUPPORTS_FILTER_CONTEXTS);
        let section = lab.allocate_own(size_of::<SECTION_OBJECT_POINTERS>(), b"Ntfs").cast();
        let fcb = Rc::new(Fcb {
            number: self.next_number(),
            header,
            section,
            key: key.clone(),
            locked: Cell::new(false),
        });
        self.fcbs.borrow_mut().insert(key, Rc::downgrade(&fcb));
        fcb
    }

    /// Called when a file object leaves a stream: with the last one the stream's memory and contexts go.
    pub(crate) fn leave_fcb(&self, lab: &Executive, fcb: Rc<Fcb>) {
        if Rc::strong_count(&fcb) > 1 {
            return;
        }
        let number = fcb.number;
        lab.flt()
            .contexts
            .remove_where(lab, |key| matches!(key, Key::Stream { stream, .. } if stream == number));
        self.fcbs.borrow_mut().remove(&fcb.key);
        let (file, mount) = (fcb.key.file, fcb.key.mount);
        let others = self.fcbs.borrow().keys().any(|key| key.file == file && key.mount == mount);
        let of_mount = |instance: usize| {
            let instance = lab.flt().find_instance(instance);
            instance.is_none_or(|instance| instance.mount == mount)
        };
        if !others {
            lab.flt().contexts.remove_where(
                lab,
                |key| matches!(key, Key::File { file: own, instance } if own == file && of_mount(instance)),
            );
        }
        lab.free_own(fcb.header);
        lab.free_own(fcb.section.cast());
    }
}
