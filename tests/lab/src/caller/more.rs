//! Locks, volume information, controls, security, EAs, duplicated handles.

use std::rc::Rc;

use fltkernel::*;
use lab_volume::Status;

use super::{Caller, Handle, check, right};
use crate::io::requests::{self, From};

impl Caller<'_> {
    /// NtLockFile.
    ///
    /// # Errors
    /// LOCK_NOT_GRANTED if it should not wait; those of NtLockFile.
    pub fn lock(
        &self,
        handle: Handle,
        start: u64,
        length: u64,
        exclusive: bool,
        wait: bool,
    ) -> Result<(), Status> {
        let range = (start.cast_signed(), length.cast_signed());
        self.with_file(handle, right::READ_DATA | right::WRITE_DATA, |file, _| {
            check(requests::lock(self.lab, file, &From::user(), 1, range, exclusive, !wait).Status)
        })?
    }

    /// NtUnlockFile.
    ///
    /// # Errors
    /// RANGE_NOT_LOCKED.
    pub fn unlock(&self, handle: Handle, start: u64, length: u64) -> Result<(), Status> {
        let range = (start.cast_signed(), length.cast_signed());
        self.with_file(handle, right::READ_DATA | right::WRITE_DATA, |file, _| {
            check(requests::lock(self.lab, file, &From::user(), 2, range, false, true).Status)
        })?
    }

    /// NtQueryVolumeInformationFile.
    ///
    /// # Errors
    /// Those of NtQueryVolumeInformationFile.
    pub fn query_volume(&self, handle: Handle, class: u32, length: usize) -> Result<Vec<u8>, Status> {
        self.with_file(handle, 0, |file, _| {
            let (result, data) = requests::query_volume(self.lab, file, &From::user(), class, length);
            check(result.Status).map(|()| data)
        })?
    }

    /// Bytes of the volume: all, free.
    ///
    /// # Errors
    /// Those of NtQueryVolumeInformationFile.
    pub fn volume_space(&self, handle: Handle) -> Result<(u64, u64), Status> {
        let data = self.query_volume(handle, 3, 24)?;
        let word =
            |at: usize| data.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let unit = u64::from(word(16)) * u64::from(word(20));
        Ok((long(0) * unit, long(8) * unit))
    }

    /// NtFsControlFile; returns the output.
    ///
    /// # Errors
    /// Those of NtFsControlFile.
    pub fn fs_control(
        &self,
        handle: Handle,
        code: u32,
        input: &[u8],
        output: usize,
    ) -> Result<Vec<u8>, Status> {
        // The access that the code itself asks for: bits 14 and 15.
        let needed = [0, right::READ_DATA, right::WRITE_DATA, right::READ_DATA][(code >> 14 & 3) as usize];
        self.with_file(handle, needed, |file, _| {
            let (result, data) = requests::control(self.lab, file, &From::user(), code, input, output);
            check(result.Status).map(|()| data)
        })?
    }

    /// NtQuerySecurityObject: the whole self-relative descriptor.
    ///
    /// # Errors
    /// Those of NtQuerySecurityObject.
    pub fn security(&self, handle: Handle) -> Result<Vec<u8>, Status> {
        self.with_file(handle, right::READ_CONTROL, |file, _| {
            let length = 64 * 1024;
            let fill = |buffer| FLT_PARAMETERS {
                QuerySecurity: QUERY_SECURITY {
                    SecurityInformation: 7,
                    Padding1: 0,
                    Length: length as u32,
                    Padding2: 0,
                    SecurityBuffer: buffer,
                    MdlAddress: std::ptr::null_mut(),
                },
            };
            let (result, data) = requests::with_buffer(
                self.lab,
                file,
                &From::user(),
                IRP_MJ_QUERY_SECURITY,
                &[],
                length,
                fill,
            );
            check(result.Status).map(|()| data)
        })?
    }

    /// NtSetSecurityObject. `which` is SECURITY_INFORMATION.
    ///
    /// # Errors
    /// Those of NtSetSecurityObject.
    pub fn set_security(&self, handle: Handle, which: u32, descriptor: &[u8]) -> Result<(), Status> {
        let needed = if which & 4 != 0 { 0x4_0000 } else { 0x8_0000 };
        self.with_file(handle, needed, |file, _| {
            // Captured by the I/O manager: kernel memory.
            let kernel = From { mode: lab_executive::Mode::Kernel, ..From::user() };
            let fill = |buffer| FLT_PARAMETERS {
                SetSecurity: SET_SECURITY {
                    SecurityInformation: which,
                    Padding1: 0,
                    SecurityDescriptor: buffer,
                },
            };
            let (result, _) =
                requests::with_buffer(self.lab, file, &kernel, IRP_MJ_SET_SECURITY, descriptor, 0, fill);
            check(result.Status)
        })?
    }

    /// NtSetEaFile: FILE_FULL_EA_INFORMATION.
    ///
    /// # Errors
    /// Those of NtSetEaFile.
    pub fn set_ea(&self, handle: Handle, eas: &[u8]) -> Result<(), Status> {
        self.with_file(handle, right::WRITE_EA, |file, _| {
            let length = eas.len() as u32;
            let fill = |buffer| FLT_PARAMETERS {
                SetEa: SET_EA {
                    Length: length,
                    Padding1: 0,
                    EaBuffer: buffer,
                    MdlAddress: std::ptr::null_mut(),
                },
            };
            let (result, _) =
                requests::with_buffer(self.lab, file, &From::user(), IRP_MJ_SET_EA, eas, 0, fill);
            check(result.Status)
        })?
    }

    /// NtQueryEaFile: FILE_FULL_EA_INFORMATION.
    ///
    /// # Errors
    /// NO_EAS_ON_FILE; those of NtQueryEaFile.
    pub fn query_ea(&self, handle: Handle) -> Result<Vec<u8>, Status> {
        self.with_file(handle, right::READ_EA, |file, _| {
            let length = 64 * 1024;
            let fill = |buffer| FLT_PARAMETERS {
                QueryEa: QUERY_EA {
                    Length: length as u32,
                    Padding1: 0,
                    EaList: std::ptr::null_mut(),
                    EaListLength: 0,
                    Padding2: 0,
                    EaIndex: 0,
                    Padding3: 0,
                    EaBuffer: buffer,
                    MdlAddress: std::ptr::null_mut(),
                },
            };
            let (result, data) =
                requests::with_buffer(self.lab, file, &From::user(), IRP_MJ_QUERY_EA, &[], length, fill);
            check(result.Status).map(|()| data)
        })?
    }

    /// Gives another process a handle to what `handle` stands for.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn duplicate(&self, handle: Handle, to: &Rc<lab_executive::Process>) -> Result<Handle, Status> {
        let own = self.lab.thread().process().ok_or(Status::INVALID_HANDLE)?;
        let duplicated = self.lab.duplicate_handle(&own, handle.0, to);
        duplicated.map(Handle).map_err(|status| Status(status.cast_unsigned()))
    }

    /// The number of handles and references that the file object behind a handle has, for tests.
    ///
    /// # Errors
    /// INVALID_HANDLE.
    pub fn usage(&self, handle: Handle) -> Result<(usize, i64), Status> {
        let (file, _) = self.file(handle, 0)?;
        Ok((self.lab.objects.handles(file.body.cast()), self.lab.objects.references(file.body.cast())))
    }
}
