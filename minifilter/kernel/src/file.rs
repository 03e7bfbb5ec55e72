//! File objects.

use core::marker::PhantomData;
use core::ptr::NonNull;

use fltkernel::*;

/// A file object, for as long as a callback or a reference vouches for it.
#[derive(Clone, Copy)]
pub struct FileObject<'a> {
    raw: NonNull<core::ffi::c_void>,
    life: PhantomData<&'a ()>,
}

impl FileObject<'_> {
    /// # Safety
    /// A valid file object that outlives `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<core::ffi::c_void>) -> Self {
        FileObject { raw, life: PhantomData }
    }

    #[inline]
    pub(crate) fn raw(self) -> PFILE_OBJECT {
        self.raw.as_ptr()
    }
}
