//! The rights that a create asks for, changed while it goes down and put right when it comes back.

use core::ptr::NonNull;

use wdk_sys::{ACCESS_STATE, IO_SECURITY_CONTEXT};

use crate::callback::Callback;
use crate::pool::{PoolBox, Tag};
use crate::{Result, Status};

/// A create that goes down with other rights than were asked for.
///
/// Those below see a copy of the `IO_SECURITY_CONTEXT`. The `ACCESS_STATE` behind it is the one that the object
/// manager makes the handle from, so it is edited in place, and dropping this restores it: on success after
/// [`Self::grant`], on failure, and on a reparse. Which of the two NTFS reads is not documented; both say the same.
pub struct AccessEdit {
    /// What those below see; alive as long as they may look at it.
    _context: PoolBox<IO_SECURITY_CONTEXT>,
    /// What they would have seen.
    original: NonNull<IO_SECURITY_CONTEXT>,
    state: NonNull<ACCESS_STATE>,
    remaining: u32,
    previously_granted: u32,
}

// SAFETY: it stays in the create that it belongs to, whose before and after run in one thread.
unsafe impl Send for AccessEdit {}

impl AccessEdit {
    /// Lets a create go down asking for `access` only. In pre-create, PASSIVE_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES` or, if it is no create, `INVALID_PARAMETER`.
    pub fn begin(data: &mut Callback<'_>, access: u32, tag: Tag) -> Result<Self> {
        let original = data.security_context().ok_or(Status::INVALID_PARAMETER)?;
        // SAFETY: the I/O manager's, valid for the create.
        let mut copy = unsafe { *original.as_ptr() };
        let state = NonNull::new(copy.AccessState).ok_or(Status::INVALID_PARAMETER)?;
        copy.DesiredAccess = access;
        let mut context = PoolBox::new(tag, copy)?;
        // SAFETY: valid for the create; only its own thread touches it.
        let (remaining, previously_granted) = unsafe {
            let state = state.as_ptr();
            let before = ((*state).RemainingDesiredAccess, (*state).PreviouslyGrantedAccess);
            (*state).RemainingDesiredAccess = access;
            (*state).PreviouslyGrantedAccess = 0;
            before
        };
        data.set_security_context(&mut context);
        Ok(AccessEdit { _context: context, original, state, remaining, previously_granted })
    }

    /// The create succeeded and its handle is to have these rights.
    pub fn grant(mut self, access: u32) {
        // Restored by the drop that follows.
        self.remaining = 0;
        self.previously_granted = access;
    }

    /// The create goes down as it came after all. Still before it is sent on.
    pub fn take_back(self, data: &mut Callback<'_>) {
        data.restore_security_context(self.original);
    }
}

impl Drop for AccessEdit {
    fn drop(&mut self) {
        // SAFETY: the create's own state, alive until the create has returned to the object manager.
        unsafe {
            let state = self.state.as_ptr();
            (*state).RemainingDesiredAccess = self.remaining;
            (*state).PreviouslyGrantedAccess = self.previously_granted;
        }
    }
}
