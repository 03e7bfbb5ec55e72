//! What a program gets from `\\.\FileMonitor`.
//!
//! [`READ`] fills the program's buffer with as many notes as fit, oldest first, and forgets them. Each begins at a
//! multiple of eight bytes, little-endian:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the note in bytes, name and padding included |
//! | 4 | 4 | what happened: [`Event`] |
//! | 8 | 8 | number of the note; a gap means that notes were lost |
//! | 16 | 8 | number of the open, the same in all notes about one file object; 0 if it is not known |
//! | 24 | 8 | number of the transaction; 0 outside of one |
//! | 32 | 8 | byte offset of a write; bytes written to the stream so far, for a close |
//! | 40 | 4 | bytes written; number of writes to the stream so far, for a close |
//! | 44 | 4 | process id |
//! | 48 | 4 | NT status |
//! | 52 | 4 | length of the name in bytes |
//! | 56 | | the name: `\Device\HarddiskVolume1\…`, UTF-16 |
//!
//! [`LOST`] answers how many notes were lost, 8 bytes.

/// Control code: take notes. Needs read access. Fails with STATUS_BUFFER_TOO_SMALL if not even one fits, and succeeds
/// with nothing if there is none.
pub const READ: u32 = code(0x800);
/// Control code: how many notes were lost.
pub const LOST: u32 = code(0x801);

/// Bytes of a note before its name.
pub const HEAD: usize = 56;

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, function, METHOD_BUFFERED, FILE_READ_ACCESS)`.
const fn code(function: u32) -> u32 {
    0x22 << 16 | 1 << 14 | function << 2
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Event {
    /// A file was opened, or not: see the status.
    Opened = 1,
    /// A write ended.
    Wrote = 2,
    /// A file got the name that the note gives.
    Renamed = 3,
    /// The last handle of an open was closed.
    Closed = 4,
    /// A transaction was committed.
    Committed = 5,
    /// A transaction was rolled back.
    RolledBack = 6,
}

/// A note as a program reads it.
#[cfg(not(windows))]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// What happened.
    pub event: Event,
    /// Number of the note.
    pub number: u64,
    /// Number of the open.
    pub open: u64,
    /// Number of the transaction.
    pub transaction: u64,
    /// Offset of a write; bytes written to the stream, for a close.
    pub offset: i64,
    /// Bytes written; number of writes to the stream, for a close.
    pub length: u32,
    /// Process id.
    pub process: u32,
    /// NT status.
    pub status: u32,
    /// Name of the file.
    pub name: String,
}

/// The notes in a buffer that [`READ`] filled; `None` if it is not of that form.
#[cfg(not(windows))]
pub fn read(mut bytes: &[u8]) -> Option<Vec<Read>> {
    let mut notes = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let name = bytes.get(HEAD..HEAD.checked_add(word(52)? as usize)?)?;
        let units: Vec<u16> =
            name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        notes.push(Read {
            event: match word(4)? {
                1 => Event::Opened,
                2 => Event::Wrote,
                3 => Event::Renamed,
                4 => Event::Closed,
                5 => Event::Committed,
                6 => Event::RolledBack,
                _ => return None,
            },
            number: long(8)?,
            open: long(16)?,
            transaction: long(24)?,
            offset: long(32)?.cast_signed(),
            length: word(40)?,
            process: word(44)?,
            status: word(48)?,
            name: String::from_utf16_lossy(&units),
        });
        bytes = bytes.get(word(0)? as usize..).filter(|rest| rest.len() < bytes.len())?;
    }
    Some(notes)
}

#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_note_is_refused_and_not_read_past() {
        assert_eq!(read(&[]), Some(Vec::new()));
        assert_eq!(read(&[1; 8]), None);
        let mut endless = [0u8; HEAD];
        endless[4] = 1;
        assert_eq!(read(&endless), None, "a length of zero would never end");
        endless[52] = 200;
        assert_eq!(read(&endless), None, "the name ends past the buffer");
    }
}
