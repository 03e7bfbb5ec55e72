//! Instances of the filter and the volumes they are attached to.

use core::marker::PhantomData;
use core::mem::{MaybeUninit, size_of};
use core::ptr::null_mut;

use fltkernel::*;
use widestring::U16Str;

use crate::{Result, Status, ffi, filter};

/// An instance of the filter, for as long as a callback or a reference vouches for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Instance<'a> {
    raw: PFLT_INSTANCE,
    life: PhantomData<&'a ()>,
}

impl Instance<'_> {
    /// # Safety
    /// The instance outlives `'a`.
    pub(crate) unsafe fn from_raw(raw: PFLT_INSTANCE) -> Self {
        Instance { raw, life: PhantomData }
    }

    pub(crate) fn raw(self) -> PFLT_INSTANCE {
        self.raw
    }

    /// Whether both are the same instance.
    pub fn is(self, other: Instance<'_>) -> bool {
        self.raw == other.raw
    }

    /// A number that no other instance has while this one lives. Any IRQL.
    pub fn key(self) -> usize {
        self.raw.addr()
    }

    /// A reference of its own. It delays the instance's end, not its teardown (minifilter-rules §3.2). IRQL up to
    /// DISPATCH_LEVEL. Fails with `FLT_DELETING_OBJECT` during teardown.
    pub fn reference(self) -> Result<InstanceRef> {
        // SAFETY: alive by this type's promise.
        Status(unsafe { ffi::FltObjectReference(self.raw) }).ok()?;
        Ok(InstanceRef { raw: self.raw })
    }

    /// What it is called in the registry, as many units of it as fit in `name`. IRQL up to APC_LEVEL. Fails with
    /// `BUFFER_TOO_SMALL` for a name of more than 120 units, which is none that an administrator has given.
    pub fn name(self, name: &mut [u16]) -> Result<usize> {
        // INSTANCE_BASIC_INFORMATION (fltuserstructures.h): the offset of the next, the length and the offset of the name, both
        // in bytes; then the name. Aligned to eight bytes.
        let mut answer = [0u64; 32];
        let mut returned = 0;
        // SAFETY: live instance, a buffer of the length given, an out pointer.
        let status = unsafe {
            ffi::FltGetInstanceInformation(
                self.raw,
                InstanceBasicInformation,
                answer.as_mut_ptr().cast(),
                size_of::<[u64; 32]>() as u32,
                &mut returned,
            )
        };
        Status(status).ok()?;
        let unit = |index: usize| {
            let word = answer.get(index >> 2).copied().unwrap_or(0);
            (word >> ((index & 3) << 4)) as u16
        };
        let (length, offset) = (usize::from(unit(2) >> 1), usize::from(unit(3) >> 1));
        let length = length.min(name.len());
        for (index, to) in name.iter_mut().enumerate().take(length) {
            *to = unit(offset.saturating_add(index));
        }
        Ok(length)
    }

    /// The instance of the filter on the same volume that the registry defines by this name; attached if it is not there.
    /// PASSIVE_LEVEL, without locks. Fails with `OBJECT_NAME_NOT_FOUND` if it defines none, with `INSUFFICIENT_RESOURCES`, during
    /// teardown, or as the filter's own set-up fails.
    pub fn another(self, filter: filter::Handle, name: &U16Str) -> Result<InstanceRef> {
        let name = crate::string::unicode(name)?;
        let name =
            UNICODE_STRING { Length: name.Length, MaximumLength: name.MaximumLength, Buffer: name.Buffer };
        let (mut volume, mut raw) = (null_mut(), null_mut());
        // SAFETY: live instance, an out pointer.
        Status(unsafe { ffi::FltGetVolumeFromInstance(self.raw, &mut volume) }).ok()?;
        // SAFETY: a live filter, a referenced volume, a string that outlives the calls, an out pointer.
        let mut status = unsafe { ffi::FltGetVolumeInstanceFromName(filter.raw(), volume, &name, &mut raw) };
        if !Status(status).is_success() {
            // SAFETY: as above.
            status = unsafe { ffi::FltAttachVolume(filter.raw(), volume, &name, &mut raw) };
        }
        // SAFETY: gives back the reference of above.
        unsafe { ffi::FltObjectDereference(volume) };
        Status(status).ok().map(|()| InstanceRef { raw })
    }

    /// What the file system says about itself (`FileFsAttributeInformation`). PASSIVE_LEVEL.
    pub fn file_system_attributes(self) -> Result<u32> {
        const FILE_FS_ATTRIBUTE_INFORMATION: u32 = 5;
        // FILE_FS_ATTRIBUTE_INFORMATION: attributes, component length, name length, then a name, which has no room here.
        let mut answer = [0u32; 4];
        let mut io = MaybeUninit::<IO_STATUS_BLOCK>::zeroed();
        // SAFETY: live instance, buffers of the lengths given.
        let status = unsafe {
            ffi::FltQueryVolumeInformation(
                self.raw,
                io.as_mut_ptr(),
                answer.as_mut_ptr().cast(),
                size_of::<[u32; 4]>() as u32,
                FILE_FS_ATTRIBUTE_INFORMATION,
            )
        };
        match Status(status) {
            Status::BUFFER_OVERFLOW => Ok(answer[0]),
            status => status.ok().map(|()| answer[0]),
        }
    }
}

// SAFETY: an address of a kernel object that any thread may use.
unsafe impl Send for Instance<'_> {}
// SAFETY: as above.
unsafe impl Sync for Instance<'_> {}

/// A counted reference to an instance.
pub struct InstanceRef {
    raw: PFLT_INSTANCE,
}

// SAFETY: a counted reference to a kernel object that any thread may use.
unsafe impl Send for InstanceRef {}
// SAFETY: as above.
unsafe impl Sync for InstanceRef {}

impl InstanceRef {
    /// The instance.
    pub fn get(&self) -> Instance<'_> {
        // SAFETY: this reference keeps it alive for the borrow.
        unsafe { Instance::from_raw(self.raw) }
    }
}

impl Drop for InstanceRef {
    fn drop(&mut self) {
        // SAFETY: gives back the reference; up to DISPATCH_LEVEL.
        unsafe { ffi::FltObjectDereference(self.raw) };
    }
}

/// A volume, for as long as a callback vouches for it.
#[derive(Clone, Copy)]
pub struct Volume<'a> {
    raw: PFLT_VOLUME,
    life: PhantomData<&'a ()>,
}

impl Volume<'_> {
    /// # Safety
    /// The volume outlives `'a`.
    pub(crate) unsafe fn from_raw(raw: PFLT_VOLUME) -> Self {
        Volume { raw, life: PhantomData }
    }

    /// Whether it can be written to. PASSIVE_LEVEL.
    pub fn is_writable(self) -> Result<bool> {
        let mut writable = 0;
        // SAFETY: a live volume, an out pointer.
        Status(unsafe { ffi::FltIsVolumeWritable(self.raw, &mut writable) }).ok()?;
        Ok(writable != 0)
    }

    /// Its device name (`\Device\HarddiskVolume1`), as many units of it as fit in `name`. IRQL up to APC_LEVEL.
    pub fn name(self, name: &mut [u16]) -> Result<usize> {
        let bytes = u16::try_from(name.len().saturating_mul(2)).unwrap_or(u16::MAX - 1);
        let mut string = UNICODE_STRING { Length: 0, MaximumLength: bytes, Buffer: name.as_mut_ptr() };
        // SAFETY: a live volume, a string with its buffer, no size wanted.
        Status(unsafe { ffi::FltGetVolumeName(self.raw, &mut string, null_mut()) }).ok()?;
        Ok(usize::from(string.Length >> 1))
    }
}

/// What a volume is, as instance set-up is told.
pub struct Setup<'a> {
    /// The instance that would be.
    pub instance: Instance<'a>,
    /// Its volume.
    pub volume: Volume<'a>,
    /// `FLTFL_INSTANCE_SETUP_*`.
    pub flags: u32,
    /// `FILE_DEVICE_*`.
    pub device_type: u32,
    /// The file system.
    pub file_system: FLT_FILESYSTEM_TYPE,
}

impl Setup<'_> {
    /// Whether the volume is a shadow copy. PASSIVE_LEVEL.
    pub fn is_snapshot(&self) -> Result<bool> {
        let mut snapshot = 0;
        // SAFETY: a live instance, an out pointer.
        Status(unsafe { ffi::FltIsVolumeSnapshot(self.instance.raw(), &mut snapshot) }).ok()?;
        Ok(snapshot != 0)
    }
}
