//! Attributes: size, times, the read-only bit.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

use super::super::nt::{self, access, attribute, option};
use super::super::request::Request;
use super::Answer;
use crate::caller::{CreateOptions, Handle, Information, NON_DIRECTORY, READ_ATTRIBUTES};

/// A SETATTR.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) mode: Option<u32>,
    pub(crate) owner: (Option<u32>, Option<u32>),
    pub(crate) size: Option<u64>,
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) modified: Option<SystemTime>,
}

/// How a file shows on Linux.
pub(super) fn kind(attributes: u32) -> FileType {
    if attributes & attribute::REPARSE_POINT != 0 {
        FileType::Symlink
    } else if attributes & attribute::DIRECTORY != 0 {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

impl Request<'_> {
    pub(crate) fn lookup(&self, parent: u64, name: &[u8]) -> Answer<FileAttr> {
        let (path, name) = self.server.child(parent, name)?;
        let facts = match self.facts_by_path(&path) {
            Ok(facts) => facts,
            Err(errno) => {
                if errno == libc::ENOENT {
                    self.server.nodes.borrow_mut().removed(parent, &name);
                }
                return Err(errno);
            }
        };
        let node = self.server.nodes.borrow_mut().found(parent, &name, facts.id);
        Ok(self.seen(node, facts))
    }

    /// GETATTR. A process that holds the file open asks through its handle, as `GetFileInformationByHandle`
    /// would: the kernel does not say through which descriptor it was asked, and what a process sees of a
    /// file that it is saving need not be what others see.
    pub(crate) fn attributes(&self, node: u64, file: Option<u64>) -> Answer<FileAttr> {
        if let Some(file) = file {
            let (_, handle) = self.handle(file)?;
            return Ok(self.stat(node, &self.facts(handle)?));
        }
        if let Some(handle) = self.own_handle(node, false) {
            return Ok(self.stat(node, &self.facts(handle)?));
        }
        match self.server.path(node).and_then(|path| self.facts_by_path(&path)) {
            Ok(facts) => Ok(self.stat(node, &facts)),
            // Unlinked, and somebody else has it open.
            Err(libc::ENOENT) => {
                let number = self.anyone_with(node).ok_or(libc::ENOENT)?;
                let (_, handle) = self.handle(number)?;
                Ok(self.stat(node, &self.facts(handle)?))
            }
            Err(errno) => Err(errno),
        }
    }

    /// SETATTR. Each part is a request of its own, as on Windows.
    pub(crate) fn change(&self, node: u64, file: Option<u64>, change: &Change) -> Answer<FileAttr> {
        let owner = self.server.options.owner;
        if change.owner.0.is_some_and(|user| user != owner.0)
            || change.owner.1.is_some_and(|group| group != owner.1)
        {
            return Err(libc::EPERM);
        }
        if let Some(size) = change.size {
            i64::try_from(size).map_err(|_| libc::EFBIG)?;
            match file {
                Some(file) => {
                    let (_, handle) = self.handle(file)?;
                    self.call(|caller| caller.set_end_of_file(handle, size))?;
                }
                None => self.with_file(node, access::WRITE_DATA, NON_DIRECTORY, |handle| {
                    self.call(|caller| caller.set_end_of_file(handle, size))
                })?,
            }
        }
        let attributes = change.mode.map(|mode| mode & 0o222 == 0);
        if attributes.is_some() || change.accessed.is_some() || change.modified.is_some() {
            let set = |handle| {
                let attributes = match attributes {
                    Some(readonly) => with_readonly(self.facts(handle)?.attributes, readonly),
                    None => 0,
                };
                let accessed = change.accessed.map(nt::from_system_time);
                let modified = change.modified.map(nt::from_system_time);
                self.call(|caller| caller.set_basic(handle, [None, accessed, modified, None], attributes))
            };
            match self.own_handle(node, true) {
                Some(handle) => set(handle)?,
                None => self.with_file(node, access::WRITE_ATTRIBUTES, 0, set)?,
            }
        }
        self.attributes(node, file)
    }

    fn with_file<T>(
        &self,
        node: u64,
        access: u32,
        options: u32,
        body: impl FnOnce(Handle) -> Answer<T>,
    ) -> Answer<T> {
        let path = self.server.path(node)?;
        let handle =
            self.open_file(&CreateOptions::open(&path, access | READ_ATTRIBUTES).options(options))?;
        let result = body(handle);
        self.close_file(handle);
        result
    }

    /// A handle of this process to a file, one for writing if it has one.
    fn own_handle(&self, node: u64, writing: bool) -> Option<Handle> {
        let files = self.server.files.borrow();
        let mut mine: Vec<_> = files
            .values()
            .filter(|file| file.node == node && (file.writes || !writing))
            .filter_map(|file| Some((file.writes, file.handle_in(self.mirror.id())?)))
            .collect();
        mine.sort_by_key(|(writes, _)| !writes);
        mine.first().map(|(_, handle)| *handle)
    }

    fn anyone_with(&self, node: u64) -> Option<u64> {
        self.server.files.borrow().iter().find(|(_, file)| file.node == node).map(|(number, _)| *number)
    }

    /// What a lookup tells: the same as GETATTR would.
    fn seen(&self, node: u64, facts: Information) -> FileAttr {
        let own = self.own_handle(node, false).and_then(|handle| self.facts(handle).ok());
        self.stat(node, &own.unwrap_or(facts))
    }

    fn facts_by_path(&self, path: &str) -> Answer<Information> {
        let options = CreateOptions::open(path, READ_ATTRIBUTES).options(option::OPEN_REPARSE_POINT);
        let handle = self.open_file(&options)?;
        let facts = self.facts(handle);
        self.close_file(handle);
        facts
    }

    pub(super) fn stat(&self, node: u64, facts: &Information) -> FileAttr {
        let kind = kind(facts.attributes);
        let folder = kind == FileType::Directory;
        let writable = folder || facts.attributes & attribute::READONLY == 0;
        FileAttr {
            ino: INodeNo(node),
            size: facts.size,
            blocks: facts.allocation.div_ceil(512),
            atime: nt::to_system_time(facts.times.access),
            mtime: nt::to_system_time(facts.times.write),
            ctime: nt::to_system_time(facts.times.change),
            crtime: nt::to_system_time(facts.times.creation),
            kind,
            perm: if folder { 0o755 } else { 0o644 } & if writable { 0o777 } else { 0o555 },
            nlink: facts.links.max(1),
            uid: self.server.options.owner.0,
            gid: self.server.options.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

fn with_readonly(attributes: u32, readonly: bool) -> u32 {
    let rest = attributes & !(attribute::READONLY | attribute::DIRECTORY);
    let attributes = if readonly { rest | attribute::READONLY } else { rest };
    // Zero would mean: leave as they are.
    if attributes == 0 { attribute::NORMAL } else { attributes }
}
