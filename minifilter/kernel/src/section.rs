//! Sections over files, and whose pages a file object's sections are made of.

use core::ptr::{NonNull, null_mut};

use wdk_sys::ntddk::{
    MmCanFileBeTruncated, MmDoesFileHaveUserWritableReferences, MmFlushImageSection,
    ObDereferenceObjectDeferDelete, ObReferenceObjectByHandle, ObfDereferenceObject, ObfReferenceObject,
    ZwClose, ZwCreateSection,
};
use wdk_sys::{FILE_OBJECT, LARGE_INTEGER, SECTION_OBJECT_POINTERS};

use crate::file::{FileObject, LowerFile};
use crate::{Result, Status, object};

const SECTION_QUERY: u32 = 0x0001;
const PAGE_READONLY: u32 = 0x02;
const SEC_COMMIT: u32 = 0x0800_0000;

/// A read-only section over a file that was opened below: as long as it lives, the control area of the stream is there,
/// and paging I/O of every section that is made over the same section pointers goes to that file's own file object
/// (minifilter-rules §1.5). While it lives the file cannot be cut, so it should not live long.
pub struct Section {
    object: NonNull<core::ffi::c_void>,
}

// SAFETY: a counted reference to a kernel object.
unsafe impl Send for Section {}
// SAFETY: as above.
unsafe impl Sync for Section {}

impl Section {
    /// Makes one. PASSIVE_LEVEL, without locks: filters and the file system below are asked. Fails for an empty file
    /// (`MAPPED_FILE_SIZE_ZERO`), and as the memory manager fails.
    pub fn over(file: &LowerFile) -> Result<Self> {
        let mut attributes = object::unnamed();
        let mut handle = null_mut();
        // SAFETY: locals; a kernel handle of ours that stays open for the call.
        Status(unsafe {
            ZwCreateSection(
                &mut handle,
                SECTION_QUERY,
                &mut attributes,
                null_mut(),
                PAGE_READONLY,
                SEC_COMMIT,
                file.handle().cast(),
            )
        })
        .ok()?;
        let mut object = null_mut();
        // SAFETY: the handle that we just got, of any type, from kernel mode.
        let status = Status(unsafe {
            ObReferenceObjectByHandle(
                handle,
                0,
                null_mut(),
                wdk_sys::_MODE::KernelMode as _,
                &mut object,
                null_mut(),
            )
        });
        // SAFETY: ours, and not used again: the reference keeps the section.
        let _ = unsafe { ZwClose(handle) };
        status.ok()?;
        let object = NonNull::new(object).ok_or(Status::UNSUCCESSFUL)?;
        Ok(Section { object })
    }
}

impl Drop for Section {
    /// IRQL up to APC_LEVEL. At once and not by a worker, so that the file can be cut again when this returns.
    fn drop(&mut self) {
        // SAFETY: the reference that we own.
        unsafe { ObfDereferenceObject(self.object.as_ptr()) };
    }
}

/// A file object that has the section pointers of another one, until dropped.
///
/// Sections that are made over the borrower in between are sections of the lender's stream. The loan must be over before
/// the lender's stream can go, and should be over as soon as no section is being made over the borrower.
pub struct Loan {
    /// Referenced.
    borrower: NonNull<core::ffi::c_void>,
    own: *mut SECTION_OBJECT_POINTERS,
}

// SAFETY: a counted reference, and an address that is given back to the file object it came from and not followed.
unsafe impl Send for Loan {}

impl Loan {
    /// Lends `borrower` the section pointers of `lender`. Up to DISPATCH_LEVEL; while the borrower makes no section.
    pub fn make(borrower: FileObject<'_>, lender: FileObject<'_>) -> Self {
        let object = borrower.object();
        let place = pointers(borrower);
        // SAFETY: both file objects are alive; pointers are read and stored whole.
        unsafe {
            ObfReferenceObject(object.as_ptr().cast());
            let own = place.read_volatile();
            place.write_volatile(pointers(lender).read_volatile());
            Loan { borrower: object.cast(), own }
        }
    }
}

impl Drop for Loan {
    /// IRQL up to DISPATCH_LEVEL.
    fn drop(&mut self) {
        // SAFETY: referenced; its own section pointers live as long as it is open, which whoever lends sees to.
        unsafe {
            pointers(FileObject::from_raw(self.borrower)).write_volatile(self.own);
            ObDereferenceObjectDeferDelete(self.borrower.as_ptr());
        }
    }
}

fn pointers(file: FileObject<'_>) -> *mut *mut SECTION_OBJECT_POINTERS {
    let object: *mut FILE_OBJECT = file.raw().cast();
    // SAFETY: a place inside a live file object; only its address is taken.
    unsafe { &raw mut (*object).SectionObjectPointer }
}

/// Whether somebody has a section or a view through which the file object's stream can be written (txf-ktm §4.5). IRQL up to
/// APC_LEVEL.
pub fn is_written_through_views(file: FileObject<'_>) -> bool {
    // SAFETY: alive and opened by the file system, so its section pointers are valid.
    unsafe {
        let pointers = pointers(file).read_volatile();
        !pointers.is_null() && MmDoesFileHaveUserWritableReferences(pointers) != 0
    }
}

/// Whether somebody has a section or a view of the file object's stream. IRQL up to APC_LEVEL.
pub fn is_mapped(file: FileObject<'_>) -> bool {
    let mut empty = LARGE_INTEGER { QuadPart: 0 };
    // SAFETY: alive and opened by the file system, so its section pointers are valid; a local.
    unsafe {
        let pointers = pointers(file).read_volatile();
        // What is mapped cannot be cut to nothing.
        !pointers.is_null() && MmCanFileBeTruncated(pointers, &mut empty) == 0
    }
}

/// Whether somebody has mapped the file object's stream as an image, which keeps everybody from opening it to write
/// (minifilter-rules §2.10). IRQL up to APC_LEVEL.
pub fn is_image(file: FileObject<'_>) -> bool {
    // SAFETY: alive and opened by the file system, so its section pointers are valid.
    unsafe {
        let pointers = pointers(file).read_volatile();
        !pointers.is_null() && MmFlushImageSection(pointers, wdk_sys::_MMFLUSH_TYPE::MmFlushForWrite) == 0
    }
}
