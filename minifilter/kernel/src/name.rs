//! Names of files, as the Filter Manager knows them (minifilter-rules §3.5).

use core::ptr::{NonNull, null_mut};

use fltkernel::*;
use widestring::U16Str;

use crate::callback::Callback;
use crate::file::FileObject;
use crate::instance::Instance;
use crate::{Result, Status, ffi, string};

/// Which form of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum NameForm {
    /// Long names from the root, in the file system's own spelling.
    Normalized,
    /// As it was opened.
    Opened,
}

/// A file's name, parsed.
pub struct FileName(NonNull<FLT_FILE_NAME_INFORMATION>);

impl FileName {
    /// The name of the file that an operation is about. IRQL up to APC_LEVEL. Fails with
    /// `FLT_INVALID_NAME_REQUEST` where names cannot be asked for, and as the file system fails.
    pub fn of(data: &Callback<'_>, form: NameForm) -> Result<Self> {
        let form = match form {
            NameForm::Normalized => FLT_FILE_NAME_NORMALIZED,
            NameForm::Opened => FLT_FILE_NAME_OPENED,
        };
        let mut information = null_mut();
        // SAFETY: valid callback data, an out pointer.
        Status(unsafe {
            ffi::FltGetFileNameInformation(data.raw(), form | FLT_FILE_NAME_QUERY_DEFAULT, &mut information)
        })
        .ok()?;
        Self::parsed(information)
    }

    /// The name that an open file has now, in the view of its transaction. PASSIVE_LEVEL. Fails as the file system fails.
    pub fn of_open(file: FileObject<'_>, instance: Instance<'_>) -> Result<Self> {
        let mut information = null_mut();
        // SAFETY: live objects, an out pointer.
        Status(unsafe {
            ffi::FltGetFileNameInformationUnsafe(
                file.raw(),
                instance.raw(),
                FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT,
                &mut information,
            )
        })
        .ok()?;
        Self::parsed(information)
    }

    fn parsed(information: *mut FLT_FILE_NAME_INFORMATION) -> Result<Self> {
        let name = FileName(NonNull::new(information).ok_or(Status::UNSUCCESSFUL)?);
        // SAFETY: what the caller just got.
        Status(unsafe { ffi::FltParseFileNameInformation(information) }).ok()?;
        Ok(name)
    }

    fn information(&self) -> &FLT_FILE_NAME_INFORMATION {
        // SAFETY: referenced until released.
        unsafe { self.0.as_ref() }
    }

    /// All of it: `\Device\HarddiskVolume1\folder\file.txt:stream`.
    pub fn full(&self) -> &U16Str {
        // SAFETY: lives as long as the information.
        unsafe { string::borrow(&self.information().Name) }
    }

    /// How many units of [`Self::full`] name the volume.
    pub fn volume_length(&self) -> usize {
        usize::from(self.information().Volume.Length >> 1)
    }

    /// The stream's part, with its colon; empty for the unnamed one.
    pub fn stream(&self) -> &U16Str {
        // SAFETY: lives as long as the information.
        unsafe { string::borrow(&self.information().Stream) }
    }
}

impl Drop for FileName {
    fn drop(&mut self) {
        // SAFETY: the reference that the query gave.
        unsafe { ffi::FltReleaseFileNameInformation(self.0.as_ptr()) };
    }
}
