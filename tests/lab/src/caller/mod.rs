//! What a program calls: the NtXxxFile family, typed, from inside a lab thread of the program's process.

mod device;
mod directory;
mod information;
mod mapping;
mod more;
mod oplocks;
mod path;
mod transaction;

pub use directory::{Change, Changes, DirectoryEntry};
pub use information::{Information, NetworkOpen};
pub use mapping::MappedFile;
pub use oplocks::{Acknowledgement, OplockBreak};

use std::rc::Rc;

use lab_executive::Mode;
use lab_volume::Status;

use crate::Executive;
use crate::io::create::{self, Open};
use crate::io::device as devices;
use crate::io::file::File;
use crate::io::requests::{self, From, WRITE_TO_END};
use crate::rooms::Rooms;
use path::Resolved;

/// A handle of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub usize);

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// `C:\dir\file`, `\??\C:\dir\file` or `\Device\HarddiskVolume1\dir\file`.
    Path(String),
    /// Below an open directory; `:stream` below an open file; empty reopens.
    Relative(Handle, String),
    /// By file id, on the device itself.
    Id(u64),
    /// By file id, with any open file of the volume as the root: what OpenFileById does.
    IdUnder(Handle, u64),
}

/// How to open: the arguments of NtCreateFile.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// What.
    pub name: Name,
    /// Desired access; generic rights and MAXIMUM_ALLOWED are understood.
    pub access: u32,
    /// FILE_SHARE_*.
    pub share: u32,
    /// FILE_OPEN and its like, by NT value.
    pub disposition: u32,
    /// FILE_* create options.
    pub options: u32,
    /// Attributes for a new file.
    pub attributes: u32,
    /// Full EA information, as the buffer of NtCreateFile.
    pub ea: Vec<u8>,
    /// Initial allocation.
    pub allocation: u64,
    /// Self-relative security descriptor for a new file.
    pub security: Option<Vec<u8>>,
    /// The handle passes to child processes.
    pub inherit: bool,
    /// A handle of [`Caller::create_transaction`]: the open takes place in that transaction.
    pub transaction: Option<Handle>,
}

/// GENERIC_READ.
pub const GENERIC_READ: u32 = 0x8000_0000;
/// GENERIC_WRITE.
pub const GENERIC_WRITE: u32 = 0x4000_0000;
/// DELETE.
pub const DELETE: u32 = 0x1_0000;
/// SYNCHRONIZE.
pub const SYNCHRONIZE: u32 = 0x10_0000;
/// FILE_READ_ATTRIBUTES.
pub const READ_ATTRIBUTES: u32 = 0x80;
/// FILE_SYNCHRONOUS_IO_NONALERT, what almost every program opens with.
pub const SYNCHRONOUS: u32 = 0x20;
/// FILE_NON_DIRECTORY_FILE.
pub const NON_DIRECTORY: u32 = 0x40;
/// FILE_DIRECTORY_FILE.
pub const DIRECTORY: u32 = 0x1;
/// FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE.
pub const SHARE_ALL: u32 = 7;

impl CreateOptions {
    /// Opens what exists, synchronously, sharing everything; access as given.
    pub fn open(path: &str, access: u32) -> Self {
        Self::new(Name::Path(path.into()), access, 1)
    }

    /// Creates what must not exist.
    pub fn create(path: &str, access: u32) -> Self {
        Self::new(Name::Path(path.into()), access, 2)
    }

    /// Opens or creates.
    pub fn open_if(path: &str, access: u32) -> Self {
        Self::new(Name::Path(path.into()), access, 3)
    }

    /// Empties what exists, or creates: what `CREATE_ALWAYS` is.
    pub fn overwrite_if(path: &str, access: u32) -> Self {
        Self::new(Name::Path(path.into()), access, 5)
    }

    /// Any name and disposition; synchronous, sharing everything.
    pub fn new(name: Name, access: u32, disposition: u32) -> Self {
        Self {
            name,
            access: access | SYNCHRONIZE,
            share: SHARE_ALL,
            disposition,
            options: SYNCHRONOUS,
            attributes: 0,
            ea: Vec::new(),
            allocation: 0,
            security: None,
            inherit: false,
            transaction: None,
        }
    }

    /// With this share access.
    pub fn share(mut self, share: u32) -> Self {
        self.share = share;
        self
    }

    /// Inside this transaction, as the thread's current transaction makes it.
    pub fn inside(mut self, transaction: Handle) -> Self {
        self.transaction = Some(transaction);
        self
    }

    /// With these create options besides.
    pub fn options(mut self, options: u32) -> Self {
        self.options |= options;
        self
    }

    /// Without FILE_SYNCHRONOUS_IO_NONALERT.
    pub fn asynchronous(mut self) -> Self {
        self.options &= !SYNCHRONOUS;
        self
    }

    /// With these attributes for a new file.
    pub fn attributes(mut self, attributes: u32) -> Self {
        self.attributes = attributes;
        self
    }
}

/// A successful open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// The handle.
    pub handle: Handle,
    /// SUCCESS, or OPLOCK_BREAK_IN_PROGRESS.
    pub status: Status,
    /// IoStatus.Information: FILE_OPENED (1), FILE_CREATED (2) and so on.
    pub information: u32,
}

/// Where to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offset {
    /// At this byte.
    At(u64),
    /// Where the file object stands; synchronous opens only.
    Current,
    /// At the end of the file.
    Append,
}

/// The calling thread, with the calls that it can make.
pub struct Caller<'a> {
    pub(crate) lab: &'a Executive,
}

const FILE_OPEN_BY_FILE_ID: u32 = 0x2000;

pub(crate) fn check(status: i32) -> Result<(), Status> {
    if status < 0 { Err(Status(status.cast_unsigned())) } else { Ok(()) }
}

/// Access rights that calls need on their handle.
pub(crate) mod right {
    pub(crate) const READ_DATA: u32 = 0x1;
    pub(crate) const WRITE_DATA: u32 = 0x2;
    pub(crate) const APPEND_DATA: u32 = 0x4;
    pub(crate) const READ_EA: u32 = 0x8;
    pub(crate) const WRITE_EA: u32 = 0x10;
    pub(crate) const READ_ATTRIBUTES: u32 = 0x80;
    pub(crate) const WRITE_ATTRIBUTES: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x1_0000;
    pub(crate) const READ_CONTROL: u32 = 0x2_0000;
}

impl<'a> Caller<'a> {
    /// The calls of the running thread.
    pub fn new(lab: &'a Executive) -> Self {
        Self { lab }
    }

    /// The executive.
    pub fn executive(&self) -> &'a Executive {
        self.lab
    }

    /// The file behind a handle, if the handle grants one of `any_of` (0: nothing needed).
    pub(crate) fn file(&self, handle: Handle, any_of: u32) -> Result<(Rc<File>, u32), Status> {
        let entry = self.lab.handle(handle.0, Mode::User).map_err(|status| Status(status.cast_unsigned()))?;
        let Some(file) = self.lab.io().try_file(entry.body.cast()) else {
            if devices::is_file(self.lab, entry.body) {
                self.lab.report(
                    "unserved",
                    "lab: a driver's device is opened, sent device controls, and closed",
                    "a program sends another request to a driver's device",
                );
            }
            return Err(Status::OBJECT_TYPE_MISMATCH);
        };
        if any_of != 0 && entry.granted & any_of == 0 {
            return Err(Status::ACCESS_DENIED);
        }
        Ok((file, entry.granted))
    }

    /// Runs a request with the file referenced for its time: another thread may close the handle meanwhile.
    pub(crate) fn with_file<R>(
        &self,
        handle: Handle,
        any_of: u32,
        request: impl FnOnce(&Rc<File>, u32) -> R,
    ) -> Result<R, Status> {
        let (file, granted) = self.file(handle, any_of)?;
        self.lab.objects.reference(self.lab, file.body.cast());
        let result = file.one_at_a_time(self.lab, || request(&file, granted));
        self.lab.objects.dereference(self.lab, file.body.cast());
        Ok(result)
    }

    pub(crate) fn open_request(&self, options: &CreateOptions) -> Result<Open, Status> {
        let mut open = match path::resolve(self, &options.name)? {
            Resolved::Volume(name) => Open::new(name, Mode::User),
            Resolved::Below(file, name) => Open { related: Some(file), ..Open::new(name, Mode::User) },
            Resolved::Id(related, units) => {
                Open { related, options: FILE_OPEN_BY_FILE_ID, ..Open::new(units, Mode::User) }
            }
        };
        open.access = options.access;
        open.share = options.share;
        open.disposition = options.disposition;
        open.options |= options.options;
        open.attributes = options.attributes;
        open.ea = options.ea.clone();
        open.allocation = i64::try_from(options.allocation).map_err(|_| Status::INVALID_PARAMETER)?;
        open.security = options.security.clone();
        open.transaction = options.transaction.map(|transaction| self.transacted(transaction)).transpose()?;
        Ok(open)
    }

    /// NtCreateFile.
    ///
    /// # Errors
    /// Those of NtCreateFile.
    pub fn create_file(&self, options: &CreateOptions) -> Result<Created, Status> {
        self.create_file_or_information(options).map_err(|(status, _)| status)
    }

    /// NtCreateFile.
    ///
    /// # Errors
    /// Those of NtCreateFile, with IoStatus.Information: FILE_OPBATCH_BREAK_UNDERWAY (9) where an oplock is being broken all
    /// the same.
    pub fn create_file_or_information(&self, options: &CreateOptions) -> Result<Created, (Status, u32)> {
        if let Name::Path(path) = &options.name
            && let Some((device, rest)) = devices::of_path(self.lab, path)
        {
            return self.open_device(&device, &rest, options).map_err(|status| (status, 0));
        }
        let open = self.open_request(options).map_err(|status| (status, 0))?;
        let opened = create::open(self.lab, open)
            .map_err(|(status, information)| (Status(status.cast_unsigned()), information as u32))?;
        let handle = create::make_handle(self.lab, &opened, false, options.inherit);
        Ok(Created {
            handle: Handle(handle),
            status: Status(opened.status.cast_unsigned()),
            information: opened.information as u32,
        })
    }

    /// NtReadFile; no offset reads where the file object stands.
    ///
    /// # Errors
    /// Those of NtReadFile; END_OF_FILE at or past the end.
    pub fn read(&self, handle: Handle, offset: Option<u64>, len: usize) -> Result<Vec<u8>, Status> {
        let offset = offset.map(|offset| i64::try_from(offset).unwrap_or(i64::MAX));
        self.with_file(handle, right::READ_DATA, |file, _| {
            let (result, data) = requests::read(self.lab, file, &From::user(), offset, len);
            check(result.Status).map(|()| data)
        })?
    }

    /// NtWriteFile. A handle with append access only writes at the end, whatever the offset.
    ///
    /// # Errors
    /// Those of NtWriteFile.
    pub fn write(&self, handle: Handle, offset: Offset, data: &[u8]) -> Result<usize, Status> {
        self.with_file(handle, right::WRITE_DATA | right::APPEND_DATA, |file, granted| {
            let offset = match offset {
                _ if granted & right::WRITE_DATA == 0 => Some(WRITE_TO_END),
                Offset::At(offset) => Some(i64::try_from(offset).unwrap_or(i64::MAX)),
                Offset::Current => None,
                Offset::Append => Some(WRITE_TO_END),
            };
            let result = requests::write(self.lab, file, &From::user(), offset, data);
            check(result.Status).map(|()| result.Information)
        })?
    }

    /// NtFlushBuffersFile.
    ///
    /// # Errors
    /// Those of NtFlushBuffersFile.
    pub fn flush(&self, handle: Handle) -> Result<(), Status> {
        self.with_file(handle, right::WRITE_DATA | right::APPEND_DATA, |file, _| {
            check(requests::flush(self.lab, file, &From::user()).Status)
        })?
    }

    /// NtClose.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn close(&self, handle: Handle) -> Result<(), Status> {
        self.lab.close_handle(handle.0, Mode::User).map_err(|status| Status(status.cast_unsigned()))
    }

    /// The whole contents of a file, through an open of its own that shares everything.
    ///
    /// # Errors
    /// Those of opening and reading.
    pub fn contents(&self, path: &str) -> Result<Vec<u8>, Status> {
        let handle = self.create_file(&CreateOptions::open(path, GENERIC_READ))?.handle;
        let mut all = Vec::new();
        let result = loop {
            match self.read(handle, Some(all.len() as u64), 1 << 16) {
                Ok(data) if data.is_empty() => break Ok(all),
                Ok(data) => all.extend_from_slice(&data),
                Err(Status::END_OF_FILE) => break Ok(all),
                Err(status) => break Err(status),
            }
        };
        self.close(handle)?;
        result
    }

    /// Creates or replaces a file with these contents.
    ///
    /// # Errors
    /// Those of opening and writing.
    pub fn put(&self, path: &str, contents: &[u8]) -> Result<(), Status> {
        let handle = self.create_file(&CreateOptions::overwrite_if(path, GENERIC_WRITE))?.handle;
        let written = self.write(handle, Offset::At(0), contents).map(|_| ());
        self.close(handle)?;
        written
    }
}
