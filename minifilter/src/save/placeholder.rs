//! What a save has made outside of its transaction, empty: the application's own create makes a new file before there is
//! anything in it. Rolling back removes it.
//!
//! By the application's own file object where it is still there: no second open, no race for the name. Otherwise the file
//! is opened once more, and only what nobody can have put anything into is removed: the same file, empty, while nobody has
//! it open to write.

use kernel::file::{FileObject, Open};
use kernel::instance::Instance;
use kernel::pool::{PoolSlice, Tag};
use kernel::{Result, Status};
use wdk_sys::{DELETE, FILE_READ_ATTRIBUTES, FILE_SHARE_READ};
use widestring::U16Str;

use super::state::Place;
use crate::Intact;

const TAG: Tag = Tag::new(b"InPh");

/// A file that a save made, or a stream of a file that was there.
pub struct Placeholder {
    pub(super) place: Place,
    name: PoolSlice<u16>,
}

impl Placeholder {
    /// Of a file (`place` is its unnamed stream) or of a stream, by its full name. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(place: Place, name: &U16Str) -> Result<Self> {
        Ok(Placeholder { place, name: PoolSlice::copy_of(TAG, name.as_slice())? })
    }

    /// Its full name.
    pub fn name(&self) -> &U16Str {
        U16Str::from_slice(&self.name)
    }

    /// Removes it; `own` is an application's file object that is about to be closed, and what it is about. PASSIVE_LEVEL.
    /// Fails as the file system fails, and with `SHARING_VIOLATION` if it is not what the save left: it stays then.
    pub fn remove(&self, instance: Instance<'_>, own: Option<(FileObject<'_>, Place)>) -> Result<()> {
        match own {
            Some((file, place)) if place == self.place => file.delete(instance),
            _ => self.find_and_remove(instance),
        }
    }

    fn find_and_remove(&self, instance: Instance<'_>) -> Result<()> {
        let filter = Intact::filter().ok_or(Status::UNSUCCESSFUL)?;
        let look = Open::look(self.name(), false);
        const ACCESS: u32 = DELETE | FILE_READ_ATTRIBUTES;
        let opened = Open { access: ACCESS, share: FILE_SHARE_READ, ..look }.open(filter, instance)?;
        let file = opened.file.object();
        if opened.status == Status::SUCCESS
            && file.id(instance)? == self.place.file
            && file.end_of_file(instance)? == 0
        {
            file.delete(instance)
        } else {
            Err(Status::SHARING_VIOLATION)
        }
    }
}
