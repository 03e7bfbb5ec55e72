//! One request of a program: the calls that its lab process makes for it, with errnos for statuses.

use std::rc::Rc;

use lab_volume::Status;

use super::errno;
use super::server::{Answer, Mirror, Server};
use crate::Executive;
use crate::caller::{Caller, CreateOptions, Handle, Information, Offset};

/// A request under way, in the thread of its issuer's lab process.
pub(crate) struct Request<'a> {
    pub(crate) lab: &'a Executive,
    pub(crate) server: &'a Rc<Server>,
    pub(crate) mirror: &'a Rc<Mirror>,
}

impl Request<'_> {
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller::new(self.lab)
    }

    /// The errno for a status; a full volume is counted.
    pub(crate) fn errno(&self, status: Status) -> i32 {
        let errno = errno::from_status(status);
        if errno == libc::ENOSPC {
            self.server.count(|account| account.full += 1);
        }
        errno
    }

    fn answer<T>(&self, result: Result<T, Status>) -> Answer<T> {
        result.map_err(|status| self.errno(status))
    }

    pub(crate) fn open_file(&self, options: &CreateOptions) -> Answer<Handle> {
        self.answer(self.caller().create_file(options)).map(|created| created.handle)
    }

    /// A close cannot fail for a handle that the mount keeps.
    pub(crate) fn close_file(&self, handle: Handle) {
        let _ = self.caller().close(handle);
    }

    pub(crate) fn read_file(&self, handle: Handle, offset: u64, size: u32) -> Answer<Vec<u8>> {
        match self.caller().read(handle, Some(offset), size as usize) {
            Err(Status::END_OF_FILE) => Ok(Vec::new()),
            result => self.answer(result),
        }
    }

    pub(crate) fn write_file(&self, handle: Handle, offset: Offset, data: &[u8]) -> Answer<u32> {
        self.answer(self.caller().write(handle, offset, data)).map(|written| written as u32)
    }

    pub(crate) fn flush_file(&self, handle: Handle) -> Answer<()> {
        self.answer(self.caller().flush(handle))
    }

    pub(crate) fn facts(&self, handle: Handle) -> Answer<Information> {
        self.answer(self.caller().information(handle))
    }

    /// Any other call.
    pub(crate) fn call<T>(&self, call: impl FnOnce(&Caller<'_>) -> Result<T, Status>) -> Answer<T> {
        self.answer(call(&self.caller()))
    }
}
