//! Changes of a file's names, as requests say them and as they are answered: rename, hard link, delete disposition.
//!
//! What is done with them is in `rename.rs`, what a process then sees by name in `view.rs`.

use kernel::Status;

/// `FILE_RENAME_REPLACE_IF_EXISTS`, `FILE_LINK_REPLACE_IF_EXISTS`.
const REPLACE: u32 = 0x1;
/// `FILE_DISPOSITION_DELETE`.
const DELETE: u32 = 0x1;

const RENAME: u32 = 10;
const LINK: u32 = 11;
const DISPOSITION: u32 = 13;
const DISPOSITION_EX: u32 = 64;
const RENAME_EX: u32 = 65;
const LINK_EX: u32 = 72;
/// The same for kernel code, whose access is not checked.
const RENAME_BYPASS: u32 = 56;
const LINK_BYPASS: u32 = 57;
const RENAME_EX_BYPASS: u32 = 66;
const LINK_EX_BYPASS: u32 = 73;

/// Whether an information class changes names.
pub const fn is_about_names(class: u32) -> bool {
    matches!(
        class,
        RENAME
            | LINK
            | DISPOSITION
            | DISPOSITION_EX
            | RENAME_EX
            | LINK_EX
            | RENAME_BYPASS
            | LINK_BYPASS
            | RENAME_EX_BYPASS
            | LINK_EX_BYPASS
    )
}

/// A change of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A name instead of the one that the handle was opened by.
    Rename {
        /// `FILE_RENAME_*`.
        flags: u32,
        /// Little-endian units.
        name: &'a [u8],
    },
    /// A name besides those that there are.
    Link {
        /// `FILE_LINK_*`.
        flags: u32,
        /// Little-endian units.
        name: &'a [u8],
    },
    /// Deletion at the end of the handle, or not.
    Dispose {
        /// `FILE_DISPOSITION_*`.
        flags: u32,
    },
}

impl<'a> Request<'a> {
    /// Reads the caller's structure. The I/O manager has checked it; filters above us need not have.
    pub fn parse(class: u32, buffer: &'a [u8]) -> Result<Self, Status> {
        let plain = match buffer.first() {
            Some(0) => 0,
            Some(_) => REPLACE,
            None => return Err(Status::INFO_LENGTH_MISMATCH),
        };
        match class {
            DISPOSITION => Ok(Request::Dispose { flags: if plain == 0 { 0 } else { DELETE } }),
            DISPOSITION_EX => Ok(Request::Dispose { flags: long(buffer, 0)? }),
            RENAME | RENAME_BYPASS => Ok(Request::Rename { flags: plain, name: name(buffer)? }),
            LINK | LINK_BYPASS => Ok(Request::Link { flags: plain, name: name(buffer)? }),
            RENAME_EX | RENAME_EX_BYPASS => {
                Ok(Request::Rename { flags: long(buffer, 0)?, name: name(buffer)? })
            }
            LINK_EX | LINK_EX_BYPASS => Ok(Request::Link { flags: long(buffer, 0)?, name: name(buffer)? }),
            _ => Err(Status::INVALID_INFO_CLASS),
        }
    }

    /// What a program is told. It does not know that a transaction is involved, so it is told what NTFS tells without one
    /// in the same place, or what a volume tells that cannot do it.
    pub fn answer(&self, status: Status) -> Status {
        /// A stream cannot be renamed in a transaction, and perhaps not everything with POSIX semantics (txf-ktm §4.3,
        /// §4.9, open question (d)); programs try without.
        const OPERATION_NOT_SUPPORTED_IN_TRANSACTION: u32 = 0xC019_005A;
        const NO_LINK_TRACKING_IN_TRANSACTION: u32 = 0xC019_0059;
        /// An ancestor of a file that another transaction modified: without transactions it is one of an open file.
        const CANT_BREAK_TRANSACTIONAL_DEPENDENCY: u32 = 0xC019_0037;
        const CANNOT_ACCEPT_TRANSACTED_WORK: u32 = 0xC019_004C;
        if !status.is_transactional() {
            return status;
        }
        match status.0.cast_unsigned() {
            OPERATION_NOT_SUPPORTED_IN_TRANSACTION | NO_LINK_TRACKING_IN_TRANSACTION => Status::NOT_SUPPORTED,
            CANT_BREAK_TRANSACTIONAL_DEPENDENCY => Status::ACCESS_DENIED,
            CANNOT_ACCEPT_TRANSACTED_WORK => Status::INSUFFICIENT_RESOURCES,
            // A name that another save has given, a file that it holds open; who makes a link needs no right that would
            // have kept the save away from its own file.
            _ if status == Status::TRANSACTIONAL_CONFLICT => match *self {
                Request::Rename { flags, .. } if flags & REPLACE == 0 => Status::OBJECT_NAME_COLLISION,
                Request::Rename { .. } => Status::ACCESS_DENIED,
                Request::Link { .. } | Request::Dispose { .. } => Status::SHARING_VIOLATION,
            },
            _ => Status::UNEXPECTED_IO_ERROR,
        }
    }
}

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;

/// Whether two names are the same but for case.
pub fn are_the_same(one: &[u16], other: &[u16], upcase: impl Fn(u16) -> u16) -> bool {
    one.iter().copied().map(&upcase).eq(other.iter().copied().map(&upcase))
}

/// Whether a file is in a folder, at any depth.
pub fn is_below(file: &[u16], folder: &[u16], upcase: impl Fn(u16) -> u16) -> bool {
    file.get(folder.len()) == Some(&BACKSLASH)
        && file.get(..folder.len()).is_some_and(|above| are_the_same(above, folder, upcase))
}

/// Whether a file's name, without folders and stream, is the last component of a name that is given.
pub fn has_last_component(file: &[u16], given: &[u8], upcase: impl Fn(u16) -> u16) -> bool {
    let given = units(given).rev().take_while(|&unit| unit != BACKSLASH).map(&upcase);
    let last = file.rsplit(|&unit| unit == BACKSLASH).next().unwrap_or(&[]);
    let last = last.split(|&unit| unit == COLON).next().unwrap_or(&[]);
    given.eq(last.iter().rev().map(|&unit| upcase(unit)))
}

/// How much of a full name comes before its stream's part.
pub fn without_stream(name: &[u16]) -> usize {
    let last = name.iter().rposition(|&unit| unit == BACKSLASH).unwrap_or(0);
    let component = name.get(last..).unwrap_or(&[]);
    let before = component.iter().position(|&unit| unit == COLON).unwrap_or(component.len());
    last.saturating_add(before)
}

/// Tells the streams of a file apart by the stream's part of its name (`:name`, `:name:$DATA`, `::$DATA`): zero for
/// the unnamed one, otherwise a hash of its name.
pub fn stream_of(part: &[u16], upcase: impl Fn(u16) -> u16) -> u32 {
    let name = part.strip_prefix(&[COLON]).unwrap_or(part);
    let mut hash: u32 = 0;
    for &unit in name.iter().take_while(|&&unit| unit != COLON) {
        hash = (hash.rotate_left(5) ^ u32::from(upcase(unit))).wrapping_mul(0x9E37_79B1);
    }
    hash
}

fn long(buffer: &[u8], at: usize) -> Result<u32, Status> {
    let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(Status::INFO_LENGTH_MISMATCH)
}

fn name(buffer: &[u8]) -> Result<&[u8], Status> {
    /// `FileNameLength` and `FileName` of both structures.
    const LENGTH: usize = 16;
    const NAME: usize = 20;
    let length = long(buffer, LENGTH)? as usize;
    let rest = buffer.get(NAME..).ok_or(Status::INFO_LENGTH_MISMATCH)?;
    match rest.get(..length) {
        Some(name) if !name.is_empty() && length & 1 == 0 => Ok(name),
        _ => Err(Status::INVALID_PARAMETER),
    }
}

/// The units of a name.
pub fn units(name: &[u8]) -> impl DoubleEndedIterator<Item = u16> + Clone {
    name.chunks_exact(2).map(|pair| match *pair {
        [low, high] => u16::from_le_bytes([low, high]),
        _ => 0,
    })
}

/// How many units the last component of a path has.
pub fn last_component(name: &[u8]) -> usize {
    const BACKSLASH: u16 = b'\\' as u16;
    units(name).rev().take_while(|&unit| unit != BACKSLASH).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units_of(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn upcase(unit: u16) -> u16 {
        u8::try_from(unit).map_or(unit, |unit| u16::from(unit.to_ascii_uppercase()))
    }

    #[test]
    fn names_are_the_same_whatever_their_case() {
        let same = |one, other| are_the_same(&units_of(one), &units_of(other), upcase);
        assert!(same(r"\A\b.txt", r"\a\B.TXT"));
        assert!(!same(r"\a\b.txt", r"\a\b.tx"));
        assert!(!same(r"\a\b.txt", r"\a\c.txt"));
    }

    #[test]
    fn a_file_is_below_each_of_its_folders_and_below_nothing_else() {
        let below = |file, folder| is_below(&units_of(file), &units_of(folder), upcase);
        assert!(below(r"\Volume\a\b\c.txt", r"\volume\A"));
        assert!(below(r"\Volume\a\b\c.txt", r"\Volume\a\b"));
        assert!(!below(r"\Volume\a\b\c.txt", r"\Volume\a\b\c.txt"), "itself");
        assert!(!below(r"\Volume\a\b\c.txt", r"\Volume\x\b"), "another folder of that length");
        assert!(!below(r"\Volume\ab\c.txt", r"\Volume\a"), "a name that begins so");
        assert!(!below(r"\Volume\a", r"\Volume\a\b"), "above it");
    }

    #[test]
    fn the_last_component_counts_without_folders_and_stream() {
        let last = |file, given| has_last_component(&units_of(file), &wide(given), upcase);
        assert!(last(r"\Volume\a\report.txt", "Report.TXT"));
        assert!(last(r"\Volume\a\report.txt", r"\??\C:\other\report.txt"));
        assert!(last(r"\Volume\a\report.txt:notes", "report.txt"));
        assert!(!last(r"\Volume\a\report.txt", "report.tx"));
        assert!(!last(r"\Volume\a\report.txt", "a report.txt"));
        assert!(!last(r"\Volume\report.txt\a", "report.txt"), "a folder of that name");
    }

    #[test]
    fn a_stream_begins_at_the_first_colon_of_the_last_component() {
        for (name, before) in [
            (r"\a\b.txt", r"\a\b.txt"),
            (r"\a\b.txt:c", r"\a\b.txt"),
            (r"\a\b.txt:c:$DATA", r"\a\b.txt"),
            (r"\a:x\b.txt", r"\a:x\b.txt"),
            ("b.txt:c", "b.txt"),
            ("", ""),
        ] {
            assert_eq!(without_stream(&units_of(name)), before.len(), "{name}");
        }
    }

    #[test]
    fn streams_are_told_apart_by_their_names_and_not_by_how_they_are_spelt() {
        let stream = |part| stream_of(&units_of(part), upcase);
        for part in ["", ":", "::$DATA"] {
            assert_eq!(stream(part), 0, "{part}");
        }
        assert_eq!(stream(":notes"), stream(":NOTES:$DATA"));
        let all = [":a", ":b", ":ab", ":ac", ":ba", ":aa", ":notes", ":notes2"].map(stream);
        assert!(all.iter().enumerate().all(|(at, one)| *one != 0 && !all[..at].contains(one)), "{all:?}");
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn structure(flags: [u8; 4], text: &str) -> Vec<u8> {
        let name = wide(text);
        let mut buffer = [flags.as_slice(), &[0; 12], &(name.len() as u32).to_le_bytes()].concat();
        buffer.extend(name);
        buffer
    }

    #[test]
    fn the_plain_classes_have_a_boolean_and_the_others_flags() {
        let name = wide("b.txt");
        let buffer = structure([1, 0xFF, 0xFF, 0xFF], "b.txt");
        assert_eq!(Request::parse(RENAME, &buffer), Ok(Request::Rename { flags: 1, name: &name }));
        assert_eq!(Request::parse(LINK, &buffer), Ok(Request::Link { flags: 1, name: &name }));
        let buffer = structure([0x43, 0, 0, 0], "b.txt");
        assert_eq!(Request::parse(RENAME_EX, &buffer), Ok(Request::Rename { flags: 0x43, name: &name }));
        assert_eq!(Request::parse(LINK_EX, &buffer), Ok(Request::Link { flags: 0x43, name: &name }));
        assert_eq!(Request::parse(DISPOSITION, &[1]), Ok(Request::Dispose { flags: 1 }));
        assert_eq!(Request::parse(DISPOSITION, &[0]), Ok(Request::Dispose { flags: 0 }));
        assert_eq!(Request::parse(DISPOSITION_EX, &[3, 0, 0, 0]), Ok(Request::Dispose { flags: 3 }));
    }

    #[test]
    fn every_cut_of_a_structure_is_an_error_and_never_more_than_there_is() {
        for class in 0..100 {
            let buffer = structure([1, 0, 0, 0], r"\a\b");
            for length in 0..buffer.len() {
                let parsed = Request::parse(class, &buffer[..length]);
                let about_deletion = matches!(class, DISPOSITION | DISPOSITION_EX);
                assert!(parsed.is_err() || about_deletion, "{class} {length}");
            }
            assert_eq!(Request::parse(class, &buffer).is_ok(), is_about_names(class), "{class}");
        }
        let mut odd = structure([0; 4], "ab");
        odd[16] = 3;
        assert_eq!(Request::parse(RENAME, &odd), Err(Status::INVALID_PARAMETER));
        odd[16] = 0;
        assert_eq!(Request::parse(RENAME, &odd), Err(Status::INVALID_PARAMETER));
        odd[16..20].fill(0xFF);
        assert_eq!(Request::parse(RENAME, &odd), Err(Status::INVALID_PARAMETER));
    }

    #[test]
    fn the_last_component_is_what_follows_the_last_backslash() {
        for (path, last) in [(r"\??\C:\a\bc", 2), ("abc", 3), (r"a\", 0), ("", 0), (r"\x", 1)] {
            assert_eq!(last_component(&wide(path)), last, "{path}");
        }
    }

    #[test]
    fn no_status_of_a_transaction_reaches_a_program() {
        let name = wide("x");
        let requests = [
            Request::Rename { flags: 0, name: &name },
            Request::Rename { flags: 3, name: &name },
            Request::Link { flags: 0, name: &name },
            Request::Dispose { flags: 1 },
        ];
        for request in requests {
            for code in 0xC019_0001..=0xC019_0061_u32 {
                let told = request.answer(Status(code.cast_signed()));
                assert!(told.is_error() && !told.is_transactional(), "{request:?} {code:#x}");
            }
            for other in [Status::SUCCESS, Status::ACCESS_DENIED, Status::DISK_FULL] {
                assert_eq!(request.answer(other), other);
            }
        }
    }

    #[test]
    fn what_a_transaction_cannot_do_is_told_as_by_a_volume_that_cannot() {
        let name = wide("x");
        let cases: [(u32, Status); 5] = [
            (0xC019_005A, Status::NOT_SUPPORTED),
            (0xC019_0059, Status::NOT_SUPPORTED),
            (0xC019_0037, Status::ACCESS_DENIED),
            (0xC019_004C, Status::INSUFFICIENT_RESOURCES),
            (0xC019_0028, Status::UNEXPECTED_IO_ERROR),
        ];
        for (code, told) in cases {
            for request in [Request::Rename { flags: 0, name: &name }, Request::Dispose { flags: 1 }] {
                assert_eq!(request.answer(Status(code.cast_signed())), told, "{request:?} {code:#x}");
            }
        }
        let conflict = Status::TRANSACTIONAL_CONFLICT;
        assert_eq!(Request::Link { flags: 0, name: &name }.answer(conflict), Status::SHARING_VIOLATION);
        assert_eq!(Request::Dispose { flags: 1 }.answer(conflict), Status::SHARING_VIOLATION);
    }

    #[test]
    fn a_name_that_another_save_has_given_is_taken() {
        let conflict = Status::TRANSACTIONAL_CONFLICT;
        let name = wide("x");
        let plain = Request::Rename { flags: 0, name: &name };
        assert_eq!(plain.answer(conflict), Status::OBJECT_NAME_COLLISION);
        let replacing = Request::Rename { flags: 1, name: &name };
        assert_eq!(replacing.answer(conflict), Status::ACCESS_DENIED);
    }
}
