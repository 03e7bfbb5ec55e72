//! Mapped files.

use std::rc::Rc;

use lab_volume::Status;

use super::{Caller, Handle, right};
use crate::io::section::{self, Mapped, Section, Wanted};

const PAGE_READONLY: u32 = 0x02;

/// A section that a program has made, with a view of all of it: lives until [`Caller::close_section`] or the end of the
/// process.
#[derive(Clone)]
pub struct MappedFile(Rc<Mapped>);

impl std::fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedFile").field("size", &self.0.section().map(|section| section.size)).finish()
    }
}

impl Caller<'_> {
    /// NtCreateSection over a file, of its size, and NtMapViewOfSection: PAGE_READONLY, or PAGE_READWRITE if `writable`.
    ///
    /// # Errors
    /// The status of whoever refused; ACCESS_DENIED if the handle's access does not do; MAPPED_FILE_SIZE_ZERO.
    pub fn create_section(&self, handle: Handle, writable: bool) -> Result<MappedFile, Status> {
        self.create_section_of(handle, writable, None)
    }

    /// As [`Self::create_section`], of `size` bytes: a writable section extends the file to it.
    ///
    /// # Errors
    /// As there; SECTION_TOO_BIG; those of setting the end of the file.
    pub fn create_section_of(
        &self,
        handle: Handle,
        writable: bool,
        size: Option<u64>,
    ) -> Result<MappedFile, Status> {
        let protection = if writable { section::WRITABLE & 0x04 } else { PAGE_READONLY };
        self.map(handle, writable, &Wanted { protection, maximum: size, image: false })
    }

    /// NtCreateSection with SEC_IMAGE and PAGE_READONLY, and NtMapViewOfSection: what loads a program or a library to look at
    /// its resources.
    ///
    /// # Errors
    /// The status of whoever refused; ACCESS_DENIED without the right to read; INVALID_IMAGE_NOT_MZ for what is no image,
    /// INVALID_FILE_FOR_SECTION for an empty file.
    pub fn create_image_section(&self, handle: Handle) -> Result<MappedFile, Status> {
        self.map(handle, false, &Wanted { protection: PAGE_READONLY, maximum: None, image: true })
    }

    fn map(&self, handle: Handle, writable: bool, wanted: &Wanted) -> Result<MappedFile, Status> {
        let (_, granted) = self.file(handle, right::READ_DATA)?;
        if writable && granted & right::WRITE_DATA == 0 {
            return Err(Status::ACCESS_DENIED);
        }
        self.with_file(handle, 0, |file, _| {
            let made = section::create(self.lab, file, wanted).map_err(failed)?;
            Ok(MappedFile(section::map(self.lab, made)))
        })?
    }

    fn view(&self, mapped: &MappedFile) -> Result<Rc<Section>, Status> {
        mapped.0.section().ok_or(Status::ACCESS_VIOLATION)
    }

    /// The size of the section.
    ///
    /// # Errors
    /// ACCESS_VIOLATION once it is closed.
    pub fn mapped_size(&self, mapped: &MappedFile) -> Result<u64, Status> {
        Ok(self.view(mapped)?.size)
    }

    /// Reads through the view.
    ///
    /// # Errors
    /// ACCESS_VIOLATION and IN_PAGE_ERROR, which a program meets as exceptions.
    pub fn read_mapped(&self, mapped: &MappedFile, offset: u64, length: usize) -> Result<Vec<u8>, Status> {
        section::read_view(self.lab, &*self.view(mapped)?, offset, length).map_err(failed)
    }

    /// Writes through the view. The pages reach the file when they are flushed, when the mapped page writer comes, or
    /// with the last section.
    ///
    /// # Errors
    /// ACCESS_VIOLATION and IN_PAGE_ERROR, which a program meets as exceptions.
    pub fn write_mapped(&self, mapped: &MappedFile, offset: u64, data: &[u8]) -> Result<(), Status> {
        section::write_view(self.lab, &*self.view(mapped)?, offset, data).map_err(failed)
    }

    /// NtFlushVirtualMemory: what FlushViewOfFile does.
    ///
    /// # Errors
    /// That of the first paging write that failed.
    pub fn flush_mapped(&self, mapped: &MappedFile) -> Result<(), Status> {
        section::flush(self.lab, section::area(&*self.view(mapped)?)).map_err(failed)
    }

    /// Unmaps and closes.
    pub fn close_section(&self, mapped: MappedFile) {
        section::unmap(self.lab, &mapped.0);
    }

    /// The mapped page writer's turn: every modified page of every file is written. On Windows it comes when it likes.
    pub fn mapped_page_writer(&self) {
        section::write_all(self.lab);
    }
}

fn failed(status: i32) -> Status {
    Status(status.cast_unsigned())
}
