//! The I/O manager: file objects, requests, handles; and the file system at the bottom of the stack.
//!
//! | module | what |
//! |---|---|
//! | `file` | file objects and what the lab knows of them |
//! | `create`, `close` | opening and the two ends of an open |
//! | `dismount` | a volume that goes and comes back, and the system's end |
//! | `requests` | reads, writes, queries and the rest, as a program's call makes them |
//! | `buffers` | user and system buffers |
//! | `device` | control devices of drivers, and requests to them |
//! | `file_system` | NTFS: takes callback parameters to the volume model and back |
//! | `imports` | `Io…` and `FsRtl…` routines |
//!
//! Not modelled, and so never seen by a filter here: a data cache with a lazy writer (writes go through to the
//! volume model, which has its own idea of what is durable; pages that views modify are kept), MDL reads and writes, oplock keys,
//! quotas, the cancelling of requests that a filter has, extra create parameters of programs.

pub(crate) mod buffers;
pub(crate) mod close;
pub(crate) mod create;
pub(crate) mod device;
pub(crate) mod dismount;
pub(crate) mod file;
pub(crate) mod file_system;
pub mod imports;
pub(crate) mod requests;
pub mod section;

/// The imports of drivers that have devices.
pub use device::imports as device_imports;
pub use file_system::oplocks::Oplock;
pub use file_system::pace::SLOWEST;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fltkernel::{PFILE_OBJECT, PKTRANSACTION};
use lab_executive::object::ObjectType;
use lab_volume::Volume;

use crate::Executive;
use crate::rooms::Rooms;
use create::CreatePacket;
use file::{Fcb, File};

/// NT name of the volume's device.
pub const VOLUME_DEVICE: &str = r"\Device\HarddiskVolume1";
/// Its drive letter.
pub const DRIVE: &str = "C:";

/// The I/O manager of one lab, and the volume that is mounted.
#[derive(Default)]
pub struct Io {
    file_type: OnceCell<Rc<ObjectType>>,
    files: RefCell<BTreeMap<usize, Rc<File>>>,
    pub(crate) fcbs: RefCell<BTreeMap<file::StreamKey, std::rc::Weak<Fcb>>>,
    numbers: Cell<u64>,
    pub(crate) mounts: dismount::Mounts,
    volume: RefCell<Option<Volume>>,
    pub(crate) buffers: buffers::Buffers,
    /// Device objects that drivers may see: the volume's and its disk's.
    pub(crate) devices: OnceCell<usize>,
    pub(crate) sections: section::Sections,
    /// Whether NTFS takes the desired access from the IO_SECURITY_CONTEXT rather than from the ACCESS_STATE. Not known:
    /// minifilter-rules §1.8.
    pub(crate) access_from_security_context: Cell<bool>,
    /// Decides what asynchronous reads and writes take time, and how much; `None`: none do.
    pub(crate) pace: Cell<Option<u64>>,
    pub(crate) oplocks: file_system::oplocks::Oplocks,
    /// When those go over that take time, and which requests they are.
    pub(crate) transfers: RefCell<BTreeSet<(i64, u64)>>,
}

/// Rights for generic read, write, execute and all on files.
const FILE_GENERIC: [u32; 4] = [0x12_0089, 0x12_0116, 0x12_00A0, 0x1F_01FF];

/// Rights for generic read, write, execute and all on sections.
const SECTION_GENERIC: [u32; 4] = [0x2_0005, 0x2_0002, 0x2_0008, 0xF_001F];

impl Io {
    /// Mounts the volume.
    pub(crate) fn mount(&self, lab: &Executive, volume: Volume) {
        *self.volume.borrow_mut() = Some(volume);
        lab.objects.add_symbolic_link(lab, &format!(r"\??\{DRIVE}"), VOLUME_DEVICE);
        let file_type = lab.objects.add_type(lab, "File", FILE_GENERIC);
        file_type.on_close(close::handle_closing);
        file_type.on_delete(close::delete);
        let section_type = lab.objects.add_type(lab, "Section", SECTION_GENERIC);
        section_type.on_delete(section::object_deleted);
        lab.processes.on_views_torn_down(section::tear_down);
        if self.file_type.set(file_type).is_err() {
            panic!("one volume is mounted in a lab");
        }
    }

    /// The type of file objects.
    ///
    /// # Panics
    /// Before the mount.
    pub(crate) fn file_type(&self) -> Rc<ObjectType> {
        match self.file_type.get() {
            Some(file_type) => file_type.clone(),
            None => panic!("no volume is mounted"),
        }
    }

    /// Works on the volume; must not call drivers or wait.
    ///
    /// # Panics
    /// Before the mount.
    pub(crate) fn with_volume<R>(&self, lab: &Executive, f: impl FnOnce(&mut Volume) -> R) -> R {
        let mut volume = self.volume.borrow_mut();
        let Some(volume) = volume.as_mut() else { panic!("no volume is mounted") };
        volume.set_time(lab.scheduler.now());
        f(volume)
    }

    /// Takes the volume away for good.
    pub(crate) fn take_volume(&self) -> Option<Volume> {
        self.volume.borrow_mut().take()
    }

    /// Which mount of the volume is in force.
    pub(crate) fn mounted(&self) -> usize {
        self.mounts.current()
    }

    /// The mount that an operation on a file object is on.
    pub(crate) fn mount_of(&self, file: PFILE_OBJECT) -> usize {
        self.try_file(file).map_or_else(|| self.mounted(), |file| file.mount)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub(crate) fn add_file(&self, file: Rc<File>) {
        self.files.borrow_mut().insert(file.body.addr(), file);
    }

    pub(crate) fn remove_file(&self, body: *const u8) -> Option<Rc<File>> {
        self.files.borrow_mut().remove(&body.addr())
    }

    /// The file object at an address, if it is one.
    pub(crate) fn try_file(&self, file: PFILE_OBJECT) -> Option<Rc<File>> {
        self.files.borrow().get(&file.addr()).cloned()
    }

    /// The file object behind a driver's pointer; anything else stops the run.
    pub(crate) fn file(&self, lab: &Executive, file: PFILE_OBJECT) -> Rc<File> {
        self.try_file(file)
            .unwrap_or_else(|| lab.violate("file-object", "wdm/FILE_OBJECT", "not a live file object"))
    }

    /// All file objects, oldest first.
    pub(crate) fn files(&self) -> Vec<Rc<File>> {
        let mut files: Vec<_> = self.files.borrow().values().cloned().collect();
        files.sort_by_key(|file| file.number);
        files
    }

    /// Whether the file system has opened this file object and not closed it.
    pub(crate) fn is_open_on_volume(&self, file: PFILE_OBJECT) -> bool {
        self.try_file(file).is_some_and(|file| file.open.get().is_some())
    }

    /// The transaction that an instance sees with a file object: object and miniversion.
    pub(crate) fn transaction_of(
        &self,
        lab: &Executive,
        file: PFILE_OBJECT,
        create: Option<&CreatePacket>,
    ) -> (PKTRANSACTION, u16) {
        let own = create.and_then(|packet| packet.transaction.clone());
        let transaction = own.or_else(|| {
            let file = self.try_file(file)?;
            let shown = lab.flt().settings.borrow().transaction_after_swap;
            file.transaction.clone().filter(|_| shown)
        });
        transaction.map_or((std::ptr::null_mut(), 0), |t| (t.object.cast(), t.miniversion))
    }
}
