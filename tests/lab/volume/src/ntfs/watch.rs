//! Watches of directories: requests that wait for changes, what is kept between two of them, and how they end
//! (`minifilter-rules §2.8`). What is reported is `report`'s.

use std::collections::VecDeque;

use super::record::RecordNumber;
use super::{OpenId, Volume};
use crate::Status;
use crate::names::{Key, Wide};

/// FILE_NOTIFY_CHANGE_*: kinds of change that a request can ask for.
pub mod notify {
    /// Files that come, go, or are renamed.
    pub const FILE_NAME: u32 = 0x1;
    /// Directories that do.
    pub const DIR_NAME: u32 = 0x2;
    /// Attributes.
    pub const ATTRIBUTES: u32 = 0x4;
    /// Sizes.
    pub const SIZE: u32 = 0x8;
    /// The time of the last write.
    pub const LAST_WRITE: u32 = 0x10;
    /// The time of the last access.
    pub const LAST_ACCESS: u32 = 0x20;
    /// The time of creation.
    pub const CREATION: u32 = 0x40;
    /// Extended attributes.
    pub const EA: u32 = 0x80;
    /// Security descriptors.
    pub const SECURITY: u32 = 0x100;
    /// Named streams that come, go, or are renamed.
    pub const STREAM_NAME: u32 = 0x200;
    /// Sizes of named streams.
    pub const STREAM_SIZE: u32 = 0x400;
    /// Data of named streams.
    pub const STREAM_WRITE: u32 = 0x800;
    /// All of them: FILE_NOTIFY_VALID_MASK.
    pub const ALL: u32 = 0xFFF;
}

/// What happened to a file, by the value of FILE_ACTION_* (MS-FSCC 2.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum NotifyAction {
    /// It is new in its directory.
    Added = 1,
    /// It is gone from there.
    Removed = 2,
    /// It was changed.
    Modified = 3,
    /// It had this name.
    RenamedOldName = 4,
    /// It has this name now.
    RenamedNewName = 5,
    /// It has a stream more.
    AddedStream = 6,
    /// It has a stream less.
    RemovedStream = 7,
    /// A named stream of it was changed.
    ModifiedStream = 8,
}

/// One record of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyRecord {
    /// What happened.
    pub action: NotifyAction,
    /// To which file, as it is called from the watched directory.
    pub name: Wide,
}

/// Offset of the name in FILE_NOTIFY_INFORMATION.
const NAME: usize = 12;

impl NotifyRecord {
    /// A chain of FILE_NOTIFY_INFORMATION: each begins at a multiple of four bytes (MS-FSCC 2.7.1).
    pub fn encode(records: &[NotifyRecord]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let units = &record.name.0;
            let length = NAME + units.len() * 2;
            let next = if index + 1 == records.len() { 0 } else { length.next_multiple_of(4) };
            for field in [next as u32, record.action as u32, (units.len() * 2) as u32] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            units.iter().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
            bytes.resize(bytes.len() + next.saturating_sub(length), 0);
        }
        bytes
    }

    fn encoded_length(records: &[NotifyRecord]) -> usize {
        let lengths = records.iter().map(|record| NAME + record.name.0.len() * 2);
        lengths.fold(0, |sum: usize, length| sum.next_multiple_of(4) + length)
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Kinds of change, of [`notify`].
    pub filter: u32,
    /// Whether everything below is watched, and not only what is in the directory.
    pub tree: bool,
    /// Bytes of the requestor's buffer.
    pub length: usize,
}

/// Identifies a request for changes; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotifyId(u64);

/// How a request for changes ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// SUCCESS with records, NOTIFY_ENUM_DIR, or why it ended without a change.
    pub status: Status,
    /// What changed, in order.
    pub records: Vec<NotifyRecord>,
}

/// The watch of one open: it begins with the first request, whose filter and buffer it keeps.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) directory: RecordNumber,
    filter: u32,
    tree: bool,
    capacity: usize,
    kept: Vec<NotifyRecord>,
    /// There was more than the buffer holds.
    overflowed: bool,
    waiting: VecDeque<(NotifyId, usize)>,
}

impl Watch {
    /// Whether a change of these kinds, so many directories below the watched one, is reported here.
    pub(super) fn wants(&self, kinds: u32, depth: usize) -> bool {
        self.filter & kinds != 0 && (depth == 0 || self.tree)
    }

    /// Keeps a record. False if more has to come before anybody is told: a new name follows an old one.
    pub(super) fn keep(&mut self, record: NotifyRecord) -> bool {
        let whole = record.action != NotifyAction::RenamedOldName;
        if !self.overflowed {
            self.kept.push(record);
            if NotifyRecord::encoded_length(&self.kept) > self.capacity {
                self.kept.clear();
                self.overflowed = true;
            }
        }
        whole
    }

    /// What is kept, for a request with a buffer of this length.
    fn take(&mut self, length: usize) -> Option<Notified> {
        if self.kept.is_empty() && !self.overflowed {
            return None;
        }
        let fits = !self.overflowed && NotifyRecord::encoded_length(&self.kept) <= length;
        let records = std::mem::take(&mut self.kept);
        self.overflowed = false;
        Some(match fits {
            true => Notified { status: Status::SUCCESS, records },
            false => Notified { status: Status::NOTIFY_ENUM_DIR, records: Vec::new() },
        })
    }
}

impl Volume {
    /// Asks for changes in a directory (IRP_MN_NOTIFY_CHANGE_DIRECTORY). [`notified`](Volume::notified) says when and how
    /// the request has ended: at once, if something was kept since the one before.
    ///
    /// # Errors
    /// INVALID_PARAMETER if it is not a directory, DELETE_PENDING if it is to be deleted, HANDLE_NO_LONGER_VALID.
    pub fn notify_changes(&mut self, id: OpenId, watching: Watching) -> Result<NotifyId, Status> {
        let open = self.live_file(id)?;
        if !open.directory {
            return Err(Status::INVALID_PARAMETER);
        }
        let directory = open.file.number();
        let request = NotifyId(self.next_notify);
        self.next_notify += 1;
        if open.cleaned {
            self.end_request(request, Status::NOTIFY_CLEANUP);
            return Ok(request);
        }
        if self.is_doomed(open.view, directory, &Key::default()) {
            return Err(Status::DELETE_PENDING);
        }
        let watch = self.watches.entry(id).or_insert_with(|| Watch {
            directory,
            filter: watching.filter,
            tree: watching.tree,
            capacity: watching.length,
            kept: Vec::new(),
            overflowed: false,
            waiting: VecDeque::new(),
        });
        watch.waiting.push_back((request, watching.length));
        self.tell(id);
        Ok(request)
    }

    /// How a request for changes has ended; `None` while it waits. Told once.
    pub fn notified(&mut self, request: NotifyId) -> Option<Notified> {
        self.notified.remove(&request)
    }

    /// Ends a request that waits, with CANCELLED; one that has ended is left as it is.
    pub fn cancel_notify(&mut self, request: NotifyId) {
        for watch in self.watches.values_mut() {
            watch.waiting.retain(|(waiting, _)| *waiting != request);
        }
        if !self.notified.contains_key(&request) {
            self.end_request(request, Status::CANCELLED);
        }
    }

    fn end_request(&mut self, request: NotifyId, status: Status) {
        self.notified.insert(request, Notified { status, records: Vec::new() });
    }

    /// Gives what is kept to the request that has waited longest.
    pub(super) fn tell(&mut self, id: OpenId) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let Some(&(request, length)) = watch.waiting.front() else { return };
        if let Some(told) = watch.take(length) {
            watch.waiting.pop_front();
            self.notified.insert(request, told);
        }
    }

    /// Ends the watches of these opens; requests that wait get this status.
    pub(super) fn end_watches(&mut self, status: Status, ends: impl Fn(OpenId, &Watch) -> bool) {
        let gone: Vec<OpenId> =
            self.watches.iter().filter(|(id, watch)| ends(**id, watch)).map(|(id, _)| *id).collect();
        for watch in gone.into_iter().filter_map(|id| self.watches.remove(&id)).collect::<Vec<_>>() {
            watch.waiting.into_iter().for_each(|(request, _)| self.end_request(request, status));
        }
    }

    /// A directory is to be deleted, or gone: nobody who watches it hears of changes any more.
    pub(super) fn directory_goes(&mut self, directory: RecordNumber) {
        self.end_watches(Status::DELETE_PENDING, |_, watch| watch.directory == directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// minifilter-rules §2.8.
    #[test]
    fn records_follow_each_other_at_multiples_of_four_bytes() {
        let record = |action, name: &str| NotifyRecord { action, name: name.into() };
        let records = [record(NotifyAction::Added, "abc"), record(NotifyAction::Modified, "d")];
        let bytes = NotifyRecord::encode(&records);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(8)), (20, 1, 6));
        assert_eq!(&bytes[12..20], b"a\0b\0c\0\0\0");
        assert_eq!((word(20), word(24), word(28)), (0, 3, 2));
        assert_eq!(bytes.len(), 34);
        assert_eq!(NotifyRecord::encoded_length(&records), bytes.len());
    }
}
