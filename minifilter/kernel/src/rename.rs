//! Changing the names of a file that a filter has opened below itself: rename, hard link, deletion.
//!
//! A filter that renames a file object of its own must do it by `FltSetInformationFile` (minifilter-rules §1.4), which
//! opens the folder of the new name below the filter, without an access check. So that it is the folder that the
//! requestor was let into, and not another one that has taken its place since, it is given by a handle to the very file
//! object that the I/O manager opened for the requestor, and the name as one component below it.

use core::mem::size_of;
use core::ptr::null_mut;

use wdk_sys::ntddk::{ObOpenObjectByPointer, ZwClose};
use widestring::U16Str;

use crate::file::FileObject;
use crate::instance::Instance;
use crate::object::OBJ_KERNEL_HANDLE;
use crate::pool::{PoolSlice, Tag};
use crate::{Result, Status};

const FILE_RENAME_INFORMATION: u32 = 10;
const FILE_LINK_INFORMATION: u32 = 11;
const FILE_DISPOSITION_INFORMATION: u32 = 13;
const FILE_DISPOSITION_INFORMATION_EX: u32 = 64;
const FILE_RENAME_INFORMATION_EX: u32 = 65;
const FILE_LINK_INFORMATION_EX: u32 = 72;

/// `FILE_RENAME_REPLACE_IF_EXISTS`, `FILE_LINK_REPLACE_IF_EXISTS`: what the plain classes can say.
pub const REPLACE: u32 = 0x1;
/// `FILE_RENAME_POSIX_SEMANTICS`, `FILE_LINK_POSIX_SEMANTICS`.
pub const POSIX: u32 = 0x2;
/// `FILE_DISPOSITION_DELETE`: what the plain class can say.
pub const DELETE: u32 = 0x1;

const TAG: Tag = Tag::new(b"KeNm");

/// A handle of ours to a folder that somebody else has open.
pub struct Folder(wdk_sys::HANDLE);

impl Folder {
    /// A second handle to it. PASSIVE_LEVEL. Fails as the object manager fails.
    pub fn of(file: FileObject<'_>) -> Result<Self> {
        let mut handle = null_mut();
        // SAFETY: a live file object; a kernel handle without rights, of any type; an out pointer.
        Status(unsafe {
            ObOpenObjectByPointer(
                file.raw().cast(),
                OBJ_KERNEL_HANDLE,
                null_mut(),
                0,
                null_mut(),
                wdk_sys::_MODE::KernelMode as _,
                &mut handle,
            )
        })
        .ok()?;
        Ok(Folder(handle))
    }
}

impl Drop for Folder {
    /// PASSIVE_LEVEL. The file object keeps the handle of whoever opened it: this is not its cleanup.
    fn drop(&mut self) {
        // SAFETY: our handle, closed once.
        let _ = unsafe { ZwClose(self.0) };
    }
}

/// A name that a file is to get.
pub struct NewName<'a> {
    /// The folder, if it is not the file's own.
    pub folder: Option<&'a Folder>,
    /// One component, or `:stream`.
    pub name: &'a U16Str,
    /// `FILE_RENAME_*` or `FILE_LINK_*`.
    pub flags: u32,
}

/// `FILE_RENAME_INFORMATION` and `FILE_LINK_INFORMATION`, up to the name.
#[repr(C)]
struct Head {
    /// A BOOLEAN in the plain classes, whose value is that of [`REPLACE`].
    flags: u32,
    root: wdk_sys::HANDLE,
    length: u32,
}
const _: () = assert!(size_of::<Head>() == 24 && core::mem::offset_of!(Head, length) == 16);
/// Where the name begins.
const NAME: usize = 20;

impl FileObject<'_> {
    /// Renames it, below `instance`. PASSIVE_LEVEL. Rights of the handle do not matter below us.
    pub fn rename(self, instance: Instance<'_>, to: &NewName<'_>) -> Result<()> {
        let plain = to.flags & !REPLACE == 0;
        let class = if plain { FILE_RENAME_INFORMATION } else { FILE_RENAME_INFORMATION_EX };
        self.set_bytes(instance, class, &mut buffer(to)?)
    }

    /// Gives it another name besides, below `instance`. PASSIVE_LEVEL.
    pub fn link(self, instance: Instance<'_>, to: &NewName<'_>) -> Result<()> {
        let plain = to.flags & !REPLACE == 0;
        let class = if plain { FILE_LINK_INFORMATION } else { FILE_LINK_INFORMATION_EX };
        self.set_bytes(instance, class, &mut buffer(to)?)
    }

    /// Marks it for deletion or takes the mark back, by `FILE_DISPOSITION_*`, below `instance`. PASSIVE_LEVEL.
    pub fn dispose(self, instance: Instance<'_>, flags: u32) -> Result<()> {
        if flags & !DELETE == 0 {
            self.set_bytes(instance, FILE_DISPOSITION_INFORMATION, &mut [flags as u8])
        } else {
            self.set_bytes(instance, FILE_DISPOSITION_INFORMATION_EX, &mut flags.to_ne_bytes())
        }
    }
}

fn buffer(to: &NewName<'_>) -> Result<PoolSlice<u8>> {
    let length = to.name.len().checked_mul(2).and_then(|bytes| u32::try_from(bytes).ok());
    let length = length.ok_or(Status::INVALID_PARAMETER)?;
    let size = (length as usize).saturating_add(NAME).max(size_of::<Head>());
    let mut buffer = PoolSlice::<u8>::zeroed(TAG, size)?;
    let root = to.folder.map_or(0, |folder| folder.0 as usize);
    let fields = to
        .flags
        .to_ne_bytes()
        .into_iter()
        .chain([0; 4])
        .chain(root.to_ne_bytes())
        .chain(length.to_ne_bytes());
    let name = to.name.as_slice().iter().flat_map(|unit| unit.to_ne_bytes());
    for (to, from) in buffer.iter_mut().zip(fields.chain(name)) {
        *to = from;
    }
    Ok(buffer)
}
