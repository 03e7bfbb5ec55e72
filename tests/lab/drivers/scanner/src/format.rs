//! What a test gets from `\\.\Scanner`: findings of [`SIZE`] bytes, oldest first, taken by [`READ`].
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | which reading: [`Reading`] |
//! | 4 | 4 | NT status of the reading |
//! | 8 | 4 | bytes of the file that were read |
//! | 12 | 4 | process id of who opened or closed |
//! | 16 | 64 | the bytes, zero after the end |

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS)`.
pub const READ: u32 = 0x22_6000;
/// Bytes of a finding.
pub const SIZE: usize = 16 + CONTENTS;
/// Bytes of a file that are read.
pub const CONTENTS: usize = 64;

/// Which reading it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Reading {
    /// After a create, by name.
    Create = 1,
    /// Before a cleanup, on the file object that is being closed.
    CleanupByHandle = 2,
    /// Before a cleanup, by name.
    CleanupByName = 3,
}

/// A finding, as a test reads it.
#[cfg(not(windows))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which reading.
    pub reading: Reading,
    /// Who opened or closed.
    pub process: u32,
    /// What was read, or the status.
    pub contents: Result<Vec<u8>, u32>,
}

/// The findings in a buffer.
///
/// # Panics
/// If it is not of that form.
#[cfg(not(windows))]
pub fn read(bytes: &[u8]) -> Vec<Finding> {
    assert!(bytes.len().is_multiple_of(SIZE));
    let word = |finding: &[u8], at: usize| u32::from_le_bytes(finding[at..at + 4].try_into().unwrap());
    let one = |finding: &[u8]| {
        let (status, length) = (word(finding, 4), word(finding, 8) as usize);
        Finding {
            reading: match word(finding, 0) {
                1 => Reading::Create,
                2 => Reading::CleanupByHandle,
                3 => Reading::CleanupByName,
                other => panic!("reading {other}"),
            },
            process: word(finding, 12),
            contents: if status == 0 { Ok(finding[16..16 + length].to_vec()) } else { Err(status) },
        }
    };
    bytes.chunks(SIZE).map(one).collect()
}
