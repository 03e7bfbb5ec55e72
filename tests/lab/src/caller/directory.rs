//! Enumerating directories.

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

const RESTART_SCAN: u8 = 1;
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
