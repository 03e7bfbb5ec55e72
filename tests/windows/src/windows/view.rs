//! Views of files.

use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{CloseHandle, GetLastError, HANDLE};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, FlushViewOfFile, MEMORY_MAPPED_VIEW_ADDRESS,
    MapViewOfFile, PAGE_READONLY, PAGE_READWRITE, UnmapViewOfFile,
};

use super::nt::File;

/// A mapped file.
pub(crate) struct View {
    section: HANDLE,
    address: MEMORY_MAPPED_VIEW_ADDRESS,
    length: usize,
}

/// A Win32 error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Error(pub(crate) u32);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Win32 error {}", self.0)
    }
}

fn last<T>() -> Result<T, Error> {
    // SAFETY: takes and touches nothing.
    Err(Error(unsafe { GetLastError() }))
}

impl View {
    /// CreateFileMapping and MapViewOfFile of the first `length` bytes.
    pub(crate) fn of(file: &File, writable: bool, length: usize) -> Result<View, Error> {
        let protection = if writable { PAGE_READWRITE } else { PAGE_READONLY };
        let access = if writable { FILE_MAP_WRITE } else { FILE_MAP_READ };
        // SAFETY: a live file handle; no name, no security.
        let section = unsafe { CreateFileMappingW(file.raw(), null(), protection, 0, 0, null()) };
        if section.is_null() {
            return last();
        }
        // SAFETY: the section is ours.
        let address = unsafe { MapViewOfFile(section, access, 0, 0, length) };
        if address.Value.is_null() {
            let error = last();
            // SAFETY: ours, closed once.
            unsafe { CloseHandle(section) };
            return error;
        }
        Ok(View { section, address, length })
    }

    /// Writes through the view.
    pub(crate) fn write(&mut self, data: &[u8]) {
        let length = data.len().min(self.length);
        // SAFETY: the view is writable, and at least that long.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.address.Value.cast(), length) };
    }

    /// What the view shows.
    pub(crate) fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length.min(self.length)];
        // SAFETY: the view is at least that long.
        unsafe {
            std::ptr::copy_nonoverlapping(self.address.Value.cast(), bytes.as_mut_ptr(), bytes.len());
        }
        bytes
    }

    /// FlushViewOfFile.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        // SAFETY: the address of a live view.
        if unsafe { FlushViewOfFile(self.address.Value, 0) } == 0 { last() } else { Ok(()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: both are ours, and given back once.
        unsafe {
            UnmapViewOfFile(self.address);
            CloseHandle(self.section);
        }
        self.address.Value = null_mut();
    }
}
