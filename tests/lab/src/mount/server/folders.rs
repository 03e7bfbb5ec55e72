//! Folders: making, listing, renaming, linking, removing.

use fuser::{FileAttr, FileType};

use lab_volume::Status;

use super::super::names;
use super::super::nt::{self, access, attribute, class, disposition, option};
use super::super::request::Request;
use super::open::attributes_for;
use super::{Answer, full};
use crate::caller::{CreateOptions, DIRECTORY, DirectoryEntry, Handle, NON_DIRECTORY, Name, READ_ATTRIBUTES};

/// One line of a listing.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) node: u64,
    /// The offset at which the listing goes on after this entry.
    pub(crate) next: u64,
    pub(crate) kind: FileType,
    pub(crate) name: String,
}

const FILE_RENAME_REPLACE_IF_EXISTS: u32 = 1;
const FILE_RENAME_POSIX_SEMANTICS: u32 = 2;
const FILE_DISPOSITION_DELETE: u32 = 1;
const FILE_DISPOSITION_POSIX_SEMANTICS: u32 = 2;
/// What a volume says that does not know POSIX semantics.
const NOT_KNOWN_HERE: [Status; 3] = [Status(0xC000_0003), Status::INVALID_PARAMETER, Status::NOT_SUPPORTED];

impl Request<'_> {
    pub(crate) fn make_folder(&self, parent: u64, name: &[u8]) -> Answer<FileAttr> {
        self.make(parent, name, DIRECTORY, attribute::NORMAL)
    }

    /// `mknod(2)`; only regular files.
    pub(crate) fn make_file(&self, parent: u64, name: &[u8], mode: u32) -> Answer<FileAttr> {
        if mode & libc::S_IFMT != libc::S_IFREG {
            return Err(libc::EPERM);
        }
        self.make(parent, name, NON_DIRECTORY, attributes_for(mode))
    }

    fn make(&self, parent: u64, name: &[u8], options: u32, attributes: u32) -> Answer<FileAttr> {
        let (path, name) = self.server.child(parent, name)?;
        let options = CreateOptions::new(Name::Path(path), READ_ATTRIBUTES, disposition::CREATE)
            .options(options)
            .attributes(attributes);
        let handle = self.open_file(&options)?;
        let facts = self.facts(handle);
        self.close_file(handle);
        let facts = facts?;
        let node = self.server.nodes.borrow_mut().found(parent, &name, facts.id);
        Ok(self.stat(node, &facts))
    }

    pub(crate) fn open_folder(&self, node: u64) -> Answer<u64> {
        let path = self.server.path(node)?;
        let options = CreateOptions::open(&path, access::READ_DATA | READ_ATTRIBUTES).options(DIRECTORY);
        let handle = self.open_file(&options)?;
        Ok(self.opened(node, handle, libc::O_RDONLY))
    }

    /// The entries from an offset on. The listing is read when it is asked for from its beginning.
    pub(crate) fn list(&self, folder: u64, offset: u64) -> Answer<Vec<Entry>> {
        let (file, handle) = self.handle(folder)?;
        if offset == 0 {
            let entries = self.call(|caller| caller.query_directory(handle, None))?;
            *file.listing.borrow_mut() = self.entries(file.node, &entries);
        }
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(file.listing.borrow().iter().skip(skip).cloned().collect())
    }

    fn entries(&self, folder: u64, listed: &[DirectoryEntry]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for name in [".", ".."] {
            entries.push(Entry { node: folder, next: 0, kind: FileType::Directory, name: name.into() });
        }
        for entry in listed.iter().filter(|entry| entry.name != "." && entry.name != "..") {
            let node = self.server.nodes.borrow_mut().found(folder, &entry.name, entry.id);
            let kind = super::meta::kind(entry.attributes);
            entries.push(Entry { node, next: 0, kind, name: names::to_linux(&entry.name) });
        }
        for (index, entry) in entries.iter_mut().enumerate() {
            entry.next = index as u64 + 1;
        }
        entries
    }

    /// `unlink(2)` and `rmdir(2)`.
    pub(crate) fn remove(&self, parent: u64, name: &[u8], folder: bool) -> Answer<()> {
        let (path, name) = self.server.child(parent, name)?;
        let kind = if folder { DIRECTORY } else { NON_DIRECTORY };
        let handle = self.open_file(&for_names(&path, access::DELETE).options(kind))?;
        // Linux takes the name away at once, also from under open descriptors: POSIX semantics do that. A
        // volume without them deletes when the last handle is closed.
        let flags = FILE_DISPOSITION_DELETE | FILE_DISPOSITION_POSIX_SEMANTICS;
        let result = self.call(|caller| {
            match caller.set_information(handle, class::DISPOSITION_EX, &flags.to_le_bytes()) {
                Err(status) if NOT_KNOWN_HERE.contains(&status) => caller.set_delete(handle, true),
                result => result,
            }
        });
        self.close_file(handle);
        result?;
        self.server.nodes.borrow_mut().removed(parent, &name);
        Ok(())
    }

    pub(crate) fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), replace: bool) -> Answer<()> {
        let (path, name) = self.server.child(from.0, from.1)?;
        let (target, new_name) = self.server.child(to.0, to.1)?;
        let handle = self.open_file(&for_names(&path, access::DELETE))?;
        let replaces = if replace { FILE_RENAME_REPLACE_IF_EXISTS } else { 0 };
        let posix = nt::new_name(&target, replaces | FILE_RENAME_POSIX_SEMANTICS);
        let result = self.call(|caller| match caller.set_information(handle, class::RENAME_EX, &posix) {
            Err(status) if NOT_KNOWN_HERE.contains(&status) => caller.rename(handle, &target, replace),
            result => result,
        });
        self.close_file(handle);
        result?;
        self.server.nodes.borrow_mut().renamed((from.0, &name), (to.0, &new_name));
        Ok(())
    }

    pub(crate) fn link(&self, node: u64, parent: u64, name: &[u8]) -> Answer<FileAttr> {
        let path = self.server.path(node)?;
        let (target, name) = self.server.child(parent, name)?;
        let handle = self.open_file(&for_names(&path, access::WRITE_ATTRIBUTES))?;
        let result =
            self.call(|caller| caller.link(handle, &target, false)).and_then(|()| self.facts(handle));
        self.close_file(handle);
        let facts = result?;
        let node = self.server.nodes.borrow_mut().found(parent, &name, facts.id);
        Ok(self.stat(node, &facts))
    }

    /// Reparse points are not served: a symbolic link would lead a Windows program through the I/O manager,
    /// while here the kernel resolves it.
    pub(crate) fn make_symlink(&self, _parent: u64, _name: &[u8], _target: &[u8]) -> Answer<FileAttr> {
        Err(libc::EPERM)
    }

    pub(crate) fn read_link(&self, _node: u64) -> Answer<Vec<u8>> {
        Err(libc::EINVAL)
    }

    pub(super) fn open_root(&self) -> Answer<Handle> {
        self.open_file(&CreateOptions::open(&full(""), READ_ATTRIBUTES).options(DIRECTORY))
    }
}

/// An open for something that concerns the name, of the file itself if it is a reparse point.
fn for_names(path: &str, access: u32) -> CreateOptions {
    CreateOptions::open(path, access | READ_ATTRIBUTES).options(option::OPEN_REPARSE_POINT)
}
