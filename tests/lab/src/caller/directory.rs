//! Enumerating directories, and being told of changes in them.

use lab_nt::_FILE_INFORMATION_CLASS as Class;
use lab_volume::{Status, Times};

use super::{Caller, Handle, check, right};
use crate::io::requests::{self, From};
use crate::memory;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Name.
    pub name: String,
    /// File id.
    pub id: u64,
    /// Times.
    pub times: Times,
    /// Bytes.
    pub size: u64,
    /// Bytes allocated.
    pub allocation: u64,
    /// FILE_ATTRIBUTE_*.
    pub attributes: u32,
}

/// What changed in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// FILE_ACTION_*.
    pub action: u32,
    /// Which file, as it is called from the directory.
    pub name: String,
}

/// How a request for changes ended, if not with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// SUCCESS, NOTIFY_ENUM_DIR or NOTIFY_CLEANUP.
    pub status: Status,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

const RESTART_SCAN: u8 = 1;
const WATCH_TREE: u8 = 1;
const BUFFER: usize = 64 * 1024;

impl Caller<'_> {
    /// NtQueryDirectoryFile, until there is no more: everything that matches `pattern`, `.` and `..` included.
    ///
    /// # Errors
    /// Those of NtQueryDirectoryFile; NO_SUCH_FILE if nothing matches.
    pub fn query_directory(
        &self,
        handle: Handle,
        pattern: Option<&str>,
    ) -> Result<Vec<DirectoryEntry>, Status> {
        let pattern = pattern.map(memory::wide);
        self.with_file(handle, right::READ_DATA, |file, _| {
            let class = Class::FileIdBothDirectoryInformation;
            let mut entries = Vec::new();
            let mut flags = RESTART_SCAN;
            loop {
                let (result, data) = requests::query_directory(
                    self.lab,
                    file,
                    &From::user(),
                    class,
                    pattern.as_deref(),
                    flags,
                    BUFFER,
                );
                match check(result.Status) {
                    Ok(()) => parse(&data, &mut entries),
                    Err(Status::NO_MORE_FILES) => return Ok(entries),
                    Err(Status::NO_SUCH_FILE) if flags == 0 => return Ok(entries),
                    Err(status) => return Err(status),
                }
                flags = 0;
            }
        })?
    }
}

impl Caller<'_> {
    /// NtNotifyChangeDirectoryFile, as ReadDirectoryChangesW calls it, with a buffer of `length` bytes; and the wait for its
    /// end. `filter` is FILE_NOTIFY_CHANGE_*.
    ///
    /// # Errors
    /// INVALID_PARAMETER for a filter without a bit that there is; DELETE_PENDING, CANCELLED; those of
    /// NtNotifyChangeDirectoryFile.
    pub fn notify_changes(
        &self,
        handle: Handle,
        filter: u32,
        tree: bool,
        length: usize,
    ) -> Result<Changes, Status> {
        if filter == 0 || filter & !lab_volume::notify::ALL != 0 {
            return Err(Status::INVALID_PARAMETER);
        }
        let flags = if tree { WATCH_TREE } else { 0 };
        self.with_file(handle, right::READ_DATA, |file, _| {
            let (result, data) =
                requests::notify_directory(self.lab, file, &From::user(), filter, flags, length);
            check(result.Status)?;
            let status = Status(result.Status.cast_unsigned());
            Ok(Changes { status, changes: parse_changes(&data) })
        })?
    }

    /// CancelIoEx without an OVERLAPPED: what this process has under way on the file object ends with CANCELLED, as soon as
    /// it waits.
    ///
    /// # Errors
    /// NOT_FOUND if there is nothing; INVALID_HANDLE.
    pub fn cancel_io(&self, handle: Handle) -> Result<(), Status> {
        let (file, _) = self.file(handle, 0)?;
        if requests::cancel(self.lab, &file) { Ok(()) } else { Err(Status::NOT_FOUND) }
    }
}

/// Reads a chain of FILE_NOTIFY_INFORMATION.
fn parse_changes(data: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut at = 0;
    while let Some(entry) = data.get(at..).filter(|entry| entry.len() >= 12) {
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let name = entry.get(12..12 + word(8) as usize).unwrap_or_default();
        let units: Vec<u16> =
            name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        changes.push(Change { action: word(4), name: memory::text(&units) });
        match word(0) as usize {
            0 => break,
            next => at += next,
        }
    }
    changes
}

/// Reads a chain of FILE_ID_BOTH_DIR_INFORMATION.
fn parse(data: &[u8], entries: &mut Vec<DirectoryEntry>) {
    let mut at = 0;
    while let Some(entry) = data.get(at..).filter(|entry| entry.len() >= 104) {
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let time = |at: usize| long(at).cast_signed();
        let name = entry.get(104..104 + word(60) as usize).unwrap_or_default();
        let units: Vec<u16> =
            name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        entries.push(DirectoryEntry {
            name: memory::text(&units),
            id: long(96),
            times: Times { creation: time(8), access: time(16), write: time(24), change: time(32) },
            size: long(40),
            allocation: long(48),
            attributes: word(56),
        });
        match word(0) as usize {
            0 => return,
            next => at += next,
        }
    }
}
