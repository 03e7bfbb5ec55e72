//! Opening and closing.

use std::cell::RefCell;
use std::rc::Rc;

use fuser::FileAttr;
use lab_executive::Mode;

use super::super::nt::{access, attribute, disposition};
use super::super::request::Request;
use super::Mirror;
use super::{Answer, Holder, OpenFile, Server};
use crate::Executive;
use crate::caller::{CreateOptions, Handle, NON_DIRECTORY, Name};

impl OpenFile {
    /// The handle that a process has to this file, if it is known to hold it.
    pub(super) fn handle_in(&self, process: u32) -> Option<Handle> {
        self.holders.borrow().iter().find(|holder| holder.process == process).map(|holder| holder.handle)
    }

    /// A holder has closed a descriptor, the last one so far, by itself or because it is on its way out.
    pub(super) fn closed_last_by(&self, process: u32, swept: bool) {
        let mut holders = self.holders.borrow_mut();
        holders.sort_by_key(|holder| holder.process == process);
        if let Some(last) = holders.last_mut() {
            last.swept |= swept;
        }
    }

    /// Takes a process off the list of holders.
    pub(super) fn let_go(&self, process: u32) -> Option<Handle> {
        let mut holders = self.holders.borrow_mut();
        let index = holders.iter().position(|holder| holder.process == process)?;
        Some(holders.remove(index).handle)
    }
}

impl Server {
    /// Gives a process a handle of its own to a file that it was seen using: it inherited the descriptor, or
    /// got it through a socket.
    pub(super) fn hold(&self, lab: &Executive, file: &OpenFile, mirror: &Rc<Mirror>) -> Option<Handle> {
        if let Some(handle) = file.handle_in(mirror.id()) {
            return Some(handle);
        }
        let (owner, handle) = file.holders.borrow().first().map(|first| (first.process, first.handle))?;
        let owner = self.processes.find(owner)?;
        let handle = lab.duplicate_handle(owner.process(), handle.0, mirror.process()).ok().map(Handle)?;
        file.holders.borrow_mut().push(Holder { process: mirror.id(), handle, swept: false });
        mirror.held.set(mirror.held.get() + 1);
        Some(handle)
    }

    /// The process that closes a file for good. One that died badly while it held the file comes first,
    /// because the outcome of a save follows the death of any of its holders; else whoever closed the last
    /// descriptor.
    pub(super) fn closer(&self, file: &OpenFile) -> Option<Rc<Mirror>> {
        let holders = file.holders.borrow();
        let find = |holder: &Holder| self.processes.find(holder.process);
        let died =
            holders.iter().filter(|holder| holder.swept).filter_map(find).find(|mirror| mirror.died_badly());
        died.or_else(|| holders.last().and_then(find))
    }
}

impl Request<'_> {
    /// `open(2)` of a file that the kernel knows.
    pub(crate) fn open(&self, node: u64, flags: i32) -> Answer<u64> {
        let path = self.server.path(node)?;
        let disposition = if flags & libc::O_TRUNC != 0 { disposition::OVERWRITE } else { disposition::OPEN };
        let options = CreateOptions::new(Name::Path(path), access_for(flags), disposition)
            .share(self.server.options.share)
            .options(NON_DIRECTORY);
        let handle = self.open_file(&options)?;
        Ok(self.opened(node, handle, flags))
    }

    /// `open(2)` with `O_CREAT` of a name that the kernel does not know to exist.
    pub(crate) fn create(&self, parent: u64, name: &[u8], mode: u32, flags: i32) -> Answer<(FileAttr, u64)> {
        let (path, name) = self.server.child(parent, name)?;
        let disposition = match (flags & libc::O_EXCL != 0, flags & libc::O_TRUNC != 0) {
            (true, _) => disposition::CREATE,
            (false, true) => disposition::OVERWRITE_IF,
            (false, false) => disposition::OPEN_IF,
        };
        let options = CreateOptions::new(Name::Path(path), access_for(flags), disposition)
            .share(self.server.options.share)
            .options(NON_DIRECTORY)
            .attributes(attributes_for(mode));
        let handle = self.open_file(&options)?;
        let facts = match self.facts(handle) {
            Ok(facts) => facts,
            Err(errno) => {
                self.close_file(handle);
                return Err(errno);
            }
        };
        let node = self.server.nodes.borrow_mut().found(parent, &name, facts.id);
        Ok((self.stat(node, &facts), self.opened(node, handle, flags)))
    }

    /// A new entry in the table of open files.
    pub(super) fn opened(&self, node: u64, handle: Handle, flags: i32) -> u64 {
        let number = self.server.next_file.get();
        self.server.next_file.set(number + 1);
        self.mirror.held.set(self.mirror.held.get() + 1);
        let holder = Holder { process: self.mirror.id(), handle, swept: false };
        let file = OpenFile {
            node,
            holders: RefCell::new(vec![holder]),
            writes: flags & libc::O_ACCMODE != libc::O_RDONLY,
            listing: RefCell::default(),
        };
        self.server.files.borrow_mut().insert(number, Rc::new(file));
        number
    }

    /// RELEASE: the last descriptor is gone, so every holder's handle goes, this process' own last.
    pub(crate) fn release(&self, number: u64) {
        let Some(file) = self.server.files.borrow_mut().remove(&number) else { return };
        let mut holders = file.holders.take();
        holders.sort_by_key(|holder| holder.process == self.mirror.id());
        for holder in holders {
            let Some(mirror) = self.server.processes.find(holder.process) else { continue };
            if holder.process == self.mirror.id() {
                self.close_file(holder.handle);
            } else {
                let _ = self
                    .lab
                    .attached(mirror.process(), || self.lab.close_handle(holder.handle.0, Mode::User));
            }
            mirror.held.set(mirror.held.get() - 1);
        }
    }

    /// The handle of the issuer to an open file.
    pub(super) fn handle(&self, number: u64) -> Answer<(Rc<OpenFile>, Handle)> {
        let file = self.server.file(number)?;
        let handle = self.server.hold(self.lab, &file, self.mirror).ok_or(libc::EBADF)?;
        Ok((file, handle))
    }
}

/// What a Windows program that wants to do the same asks for. Everyone may ask for the attributes of what
/// they opened, which Linux allows on any descriptor.
fn access_for(flags: i32) -> u32 {
    let access = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => access::GENERIC_WRITE,
        libc::O_RDWR => access::GENERIC_READ | access::GENERIC_WRITE,
        _ => access::GENERIC_READ,
    };
    access | access::READ_ATTRIBUTES
}

/// The only permission that NTFS keeps here is the read-only bit.
pub(super) fn attributes_for(mode: u32) -> u32 {
    if mode & 0o222 == 0 { attribute::READONLY } else { attribute::NORMAL }
}
