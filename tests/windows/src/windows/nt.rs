//! The native file calls, with their statuses.

use std::ffi::c_void;
use std::path::Path;
use std::ptr::{null, null_mut};

pub(crate) use intact_faults::experiments::{
    DELETE, Open, READ, READ_ATTRIBUTES, SHARE_ALL, Status, WRITE, shown,
};
use windows_sys::Wdk::Foundation::{NtClose, OBJECT_ATTRIBUTES};
use windows_sys::Wdk::Storage::FileSystem as native;
use windows_sys::Win32::Foundation::{HANDLE, UNICODE_STRING};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

pub(crate) fn check(status: i32) -> Result<(), Status> {
    if status < 0 { Err(Status(status.cast_unsigned())) } else { Ok(()) }
}

const SYNCHRONOUS: u32 = 0x20;
const NON_DIRECTORY: u32 = 0x40;
const SYNCHRONIZE: u32 = 0x10_0000;

/// An open file.
pub(crate) struct File(HANDLE);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: a handle of our own, closed once.
        unsafe { NtClose(self.0) };
    }
}

impl File {
    /// NtCreateFile, synchronous, no directory. Also gives IoStatus.Information.
    pub(crate) fn open(path: &Path, how: Open) -> Result<(File, usize), Status> {
        let mut units: Vec<u16> = r"\??\".encode_utf16().collect();
        // A drive's own `\\?\` would make the name wrong.
        units.extend(path.to_string_lossy().trim_start_matches(r"\\?\").encode_utf16());
        let bytes = u16::try_from(units.len() * 2).map_err(|_| Status(0xC000_0106))?;
        let name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_mut_ptr() };
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            ObjectName: &raw const name,
            Attributes: 0x40, // OBJ_CASE_INSENSITIVE
            ..OBJECT_ATTRIBUTES::default()
        };
        let mut handle: HANDLE = null_mut();
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: every pointer is to a live local of the right type.
        let status = unsafe {
            native::NtCreateFile(
                &raw mut handle,
                how.access | SYNCHRONIZE,
                &raw const attributes,
                &raw mut io,
                null(),
                0x80,
                how.share,
                how.disposition,
                how.options | SYNCHRONOUS | NON_DIRECTORY,
                null(),
                0,
            )
        };
        check(status).map(|()| (File(handle), io.Information))
    }

    pub(crate) fn raw(&self) -> HANDLE {
        self.0
    }

    /// NtWriteFile at an offset; bytes written.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<usize, Status> {
        let offset = offset.cast_signed();
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: a synchronous handle: everything outlives the call.
        let status = unsafe {
            native::NtWriteFile(
                self.0,
                null_mut(),
                None,
                null(),
                &raw mut io,
                data.as_ptr().cast(),
                data.len() as u32,
                &raw const offset,
                null(),
            )
        };
        check(status).map(|()| io.Information)
    }

    /// NtReadFile at an offset.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Status> {
        let offset = offset.cast_signed();
        let mut data = vec![0; length];
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: a synchronous handle: everything outlives the call.
        let status = unsafe {
            native::NtReadFile(
                self.0,
                null_mut(),
                None,
                null(),
                &raw mut io,
                data.as_mut_ptr().cast(),
                length as u32,
                &raw const offset,
                null(),
            )
        };
        check(status)?;
        data.truncate(io.Information);
        Ok(data)
    }

    /// Everything in the file.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Status> {
        let mut all = Vec::new();
        loop {
            match self.read(all.len() as u64, 1 << 16) {
                Ok(part) if part.is_empty() => return Ok(all),
                Ok(part) => all.extend(part),
                Err(Status(0xC000_0011)) => return Ok(all),
                Err(status) => return Err(status),
            }
        }
    }

    /// NtFlushBuffersFile.
    pub(crate) fn flush(&self) -> Result<(), Status> {
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: a synchronous handle and a live status block.
        check(unsafe { native::NtFlushBuffersFile(self.0, &raw mut io) })
    }

    /// NtLockFile, without waiting.
    pub(crate) fn lock(&self, offset: u64, length: u64) -> Result<(), Status> {
        let (offset, length) = (offset.cast_signed(), length.cast_signed());
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: a synchronous handle: everything outlives the call.
        check(unsafe {
            native::NtLockFile(
                self.0,
                null_mut(),
                None,
                null(),
                &raw mut io,
                &raw const offset,
                &raw const length,
                0,
                true,
                true,
            )
        })
    }

    /// NtUnlockFile.
    pub(crate) fn unlock(&self, offset: u64, length: u64) -> Result<(), Status> {
        let (offset, length) = (offset.cast_signed(), length.cast_signed());
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: everything is alive during the call.
        check(unsafe { native::NtUnlockFile(self.0, &raw mut io, &raw const offset, &raw const length, 0) })
    }

    /// NtQueryInformationFile.
    pub(crate) fn query(&self, class: i32, length: usize) -> Result<Vec<u8>, Status> {
        // Eight-byte units, so that every structure is aligned.
        let mut data = vec![0u64; length.div_ceil(8)];
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: the buffer has at least `length` bytes.
        let status = unsafe {
            native::NtQueryInformationFile(
                self.0,
                &raw mut io,
                data.as_mut_ptr().cast(),
                length as u32,
                class,
            )
        };
        check(status)?;
        let bytes = data.iter().flat_map(|unit| unit.to_le_bytes());
        Ok(bytes.take(io.Information.min(length)).collect())
    }

    /// The rights of the handle: FileAccessInformation.
    pub(crate) fn granted(&self) -> Result<u32, Status> {
        let data = self.query(8, 4)?;
        Ok(data.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// The file's id: FileInternalInformation.
    pub(crate) fn id(&self) -> Result<u64, Status> {
        let data = self.query(6, 8)?;
        Ok(data.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// NtSetInformationFile.
    pub(crate) fn set(&self, class: i32, data: &[u8]) -> Result<(), Status> {
        let units: Vec<u64> = data
            .chunks(8)
            .map(|chunk| {
                let mut unit = [0; 8];
                unit[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(unit)
            })
            .collect();
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: the buffer has at least as many bytes as are announced.
        check(unsafe {
            native::NtSetInformationFile(
                self.0,
                &raw mut io,
                units.as_ptr().cast::<c_void>(),
                data.len() as u32,
                class,
            )
        })
    }

    /// FileEndOfFileInformation.
    pub(crate) fn set_size(&self, size: u64) -> Result<(), Status> {
        self.set(20, &size.to_le_bytes())
    }

    /// FileDispositionInformation, or the POSIX form of FileDispositionInformationEx.
    pub(crate) fn delete(&self, posix: bool) -> Result<(), Status> {
        if posix { self.set(64, &3u32.to_le_bytes()) } else { self.set(13, &[1]) }
    }

    /// FileRenameInformation, replacing, or FileRenameInformationEx with POSIX semantics.
    pub(crate) fn rename(&self, to: &Path, posix: bool) -> Result<(), Status> {
        let name: Vec<u8> =
            format!(r"\??\{}", to.display()).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut data = if posix { 3u64.to_le_bytes() } else { 1u64.to_le_bytes() }.to_vec();
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(&(name.len() as u32).to_le_bytes());
        data.extend_from_slice(&name);
        self.set(if posix { 65 } else { 10 }, &data)
    }

    /// NtFsControlFile; at most so many bytes of output.
    pub(crate) fn control(&self, code: u32, input: &[u8], output: usize) -> Result<Vec<u8>, Status> {
        let mut data = vec![0; output];
        let mut io = IO_STATUS_BLOCK::default();
        // SAFETY: a synchronous handle: everything outlives the call.
        let status = unsafe {
            native::NtFsControlFile(
                self.0,
                null_mut(),
                None,
                null(),
                &raw mut io,
                code,
                input.as_ptr().cast(),
                input.len() as u32,
                data.as_mut_ptr().cast(),
                output as u32,
            )
        };
        check(status)?;
        data.truncate(io.Information);
        Ok(data)
    }
}

/// Everything in the file with this name; nothing if there is none.
pub(crate) fn contents(path: &Path) -> Result<Option<Vec<u8>>, Status> {
    match File::open(path, Open::existing(READ)) {
        Ok((file, _)) => file.read_all().map(Some),
        Err(Status(0xC000_0034)) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Makes or replaces a file, and flushes it.
pub(crate) fn put(path: &Path, contents: &[u8]) -> Result<(), Status> {
    let how = Open { disposition: 5, ..Open::existing(WRITE) };
    let (file, _) = File::open(path, how)?;
    file.write(0, contents)?;
    file.flush()
}
