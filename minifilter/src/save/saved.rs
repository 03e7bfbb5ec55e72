//! The files of a save: one, or all that its process modifies under the rule (`Scope` = `Process`).

use kernel::Result;
use kernel::pool::{PoolSlice, PoolVec, Tag};
use kernel::sync::PushLock;
use widestring::U16Str;

use super::placeholder::Placeholder;
use super::state::{Place, UNNAMED};

const TAG: Tag = Tag::new(b"InSf");

/// A file of a save.
struct Saved {
    /// Its number on the volume.
    id: u64,
    /// Its full name, without any stream, as it is outside of the save. It stays: TxF lets nobody else rename a file that
    /// a transaction modifies, nor a folder above it (txf-ktm §4.3).
    name: PoolSlice<u16>,
}

struct Files {
    all: PoolVec<Saved>,
    /// What it made, so that rolling back has to remove it.
    made: PoolVec<Placeholder>,
    /// Full names that it has given, which nobody else sees.
    given: PoolVec<PoolSlice<u16>>,
    /// It has given a name that could not be kept.
    has_given_others: bool,
}

/// The files of a save. Its methods: IRQL up to APC_LEVEL.
pub struct SavedFiles(PushLock<Files>);

impl SavedFiles {
    /// None.
    pub const fn new() -> Self {
        SavedFiles(PushLock::new(Files {
            all: PoolVec::new(TAG),
            made: PoolVec::new(TAG),
            given: PoolVec::new(TAG),
            has_given_others: false,
        }))
    }

    /// Whether it is still on the way to its first file.
    pub fn is_empty(&self) -> bool {
        self.0.read().all.is_empty()
    }

    /// Whether a file is one of them.
    pub fn has(&self, id: u64) -> bool {
        self.0.read().all.iter().any(|file| file.id == id)
    }

    /// Adds a file by its full name, if it is not there. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn add(&self, id: u64, name: &U16Str) -> Result<()> {
        let mut files = self.0.write();
        if files.all.iter().any(|file| file.id == id) {
            return Ok(());
        }
        let name = PoolSlice::copy_of(TAG, without_stream(name).as_slice())?;
        files.all.push(Saved { id, name })
    }

    /// Remembers what it has made: a file, or a stream of a file that was there. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn made(&self, place: Place, name: &U16Str, is_stream: bool) -> Result<()> {
        let mut files = self.0.write();
        // What is made inside a new file goes with it.
        if files.made.iter().any(|made| made.place.holds(place)) {
            return Ok(());
        }
        // With a stream of a new file the whole file goes.
        let (stream, name) = if is_stream { (place.stream, name) } else { (UNNAMED, without_stream(name)) };
        let placeholder = Placeholder::new(Place { stream, ..place }, name)?;
        files.made.push(placeholder)
    }

    /// Whether it has made a file, or any.
    pub fn has_made(&self, id: Option<u64>) -> bool {
        self.0.read().made.iter().any(|made| id.is_none_or(|id| made.place.is_file(id)))
    }

    /// One that it has made, to be removed.
    pub fn take_made(&self) -> Option<Placeholder> {
        self.0.write().made.pop()
    }

    /// What it has made is committed.
    pub fn committed(&self) {
        let mut files = self.0.write();
        while files.made.pop().is_some() {}
    }

    /// Remembers a full name that it has given; `None`: one that is not known.
    pub fn gave(&self, name: Option<&U16Str>) {
        let mut files = self.0.write();
        let kept = name
            .and_then(|name| PoolSlice::copy_of(TAG, name.as_slice()).ok())
            .is_some_and(|name| files.given.push(name).is_ok());
        files.has_given_others |= !kept;
    }

    /// Whether any of its names, outside of the save or inside, is so; one that is not known may be.
    pub fn any_name(&self, mut is_so: impl FnMut(&U16Str) -> bool) -> bool {
        let files = self.0.read();
        files.has_given_others
            || files.all.iter().any(|file| is_so(U16Str::from_slice(&file.name)))
            || files.given.iter().any(|name| is_so(U16Str::from_slice(name)))
    }

    /// Whether any name that it has given is so; one that is not known may be.
    pub fn any_given(&self, mut is_so: impl FnMut(&U16Str) -> bool) -> bool {
        let files = self.0.read();
        files.has_given_others || files.given.iter().any(|name| is_so(U16Str::from_slice(name)))
    }

    /// The full name of a file as it is outside of the save, without its first `skip` units and with `tail` behind. Fails
    /// with `INSUFFICIENT_RESOURCES`. `None`: it is not one of them.
    pub fn committed_name(&self, id: u64, skip: usize, tail: &[u16]) -> Option<Result<PoolSlice<u16>>> {
        let files = self.0.read();
        let file = files.all.iter().find(|file| file.id == id)?;
        let name = file.name.get(skip..).unwrap_or(&[]);
        Some(PoolSlice::zeroed(TAG, name.len().saturating_add(tail.len())).map(|mut whole| {
            for (to, from) in whole.iter_mut().zip(name.iter().chain(tail)) {
                *to = *from;
            }
            whole
        }))
    }
}

impl Default for SavedFiles {
    fn default() -> Self {
        Self::new()
    }
}

/// A full name without its stream's part.
fn without_stream(name: &U16Str) -> &U16Str {
    U16Str::from_slice(name.as_slice().get(..super::live::without_stream(name)).unwrap_or(&[]))
}
