//! The bytes of both versions of a file, and telling them apart.
//!
//! Every 64 bytes are a line that says which version of which file it is and where in it, so that a damaged file can
//! be read by a person as well as by [`judge`].

use std::ops::Range;

use crate::{File, New, Outcome};

/// Bytes of a line.
const LINE: u64 = 64;

fn line(version: &str, name: &str, number: u64) -> [u8; LINE as usize] {
    let text = format!("{version} {name} {number:08x} ");
    let mut line = [b'.'; LINE as usize];
    line.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    line[LINE as usize - 1] = b'\n';
    line
}

fn bytes(version: &str, name: &str, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let line = line(version, name, at / LINE);
        let end = range.end.min((at / LINE + 1) * LINE);
        bytes.extend_from_slice(&line[(at % LINE) as usize..=((end - 1) % LINE) as usize]);
        at = end;
    }
    bytes
}

impl File {
    /// The old version.
    pub fn old_contents(&self) -> Option<Vec<u8>> {
        self.old.map(|size| bytes("OLD", self.name, 0..size))
    }

    /// The new version.
    pub fn new_contents(&self) -> Option<Vec<u8>> {
        match self.new {
            New::Replaced(size) => Some(bytes("NEW", self.name, 0..size)),
            New::Appended(size) => {
                let mut all = self.old_contents().unwrap_or_default();
                let start = all.len() as u64;
                all.extend(bytes("NEW", self.name, start..start + size));
                Some(all)
            }
            New::Gone => None,
        }
    }

    /// A part of the new version; shorter where that ends.
    pub fn new_part(&self, offset: u64, length: u64) -> Vec<u8> {
        let all = self.new_contents().unwrap_or_default();
        let end = (offset + length).min(all.len() as u64);
        all.get(offset as usize..end as usize).unwrap_or_default().to_vec()
    }
}

/// What was found of a file: [`Outcome::Old`], [`Outcome::New`] or [`Outcome::Damaged`].
pub fn judge(file: &File, found: Option<&[u8]>) -> Outcome {
    if found == file.new_contents().as_deref() {
        Outcome::New
    } else if found == file.old_contents().as_deref() {
        Outcome::Old
    } else {
        Outcome::Damaged
    }
}

/// Consecutive bytes of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which bytes of the file.
    pub bytes: Range<u64>,
    /// `old`, `new`, `zero` or `foreign`.
    pub origin: &'static str,
}

/// Where the bytes of a file come from, line by line.
pub fn pieces(file: &File, found: &[u8]) -> Vec<Piece> {
    let (old, new) = (file.old_contents().unwrap_or_default(), file.new_contents().unwrap_or_default());
    let mut pieces: Vec<Piece> = Vec::new();
    for (number, part) in found.chunks(LINE as usize).enumerate() {
        let start = number * LINE as usize;
        let of = |version: &[u8]| version.get(start..start + part.len()) == Some(part);
        let origin = match part {
            _ if of(&old) => "old",
            _ if of(&new) => "new",
            _ if part.iter().all(|byte| *byte == 0) => "zero",
            _ => "foreign",
        };
        let bytes = start as u64..(start + part.len()) as u64;
        match pieces.last_mut() {
            Some(last) if last.origin == origin => last.bytes.end = bytes.end,
            _ => pieces.push(Piece { bytes, origin }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File {
        name: "report.txt",
        old: Some(200),
        new: New::Replaced(300),
        with_intact: Outcome::Old,
        without: Outcome::Damaged,
    };

    #[test]
    fn a_part_is_what_the_whole_has_there() {
        let whole = FILE.new_contents().unwrap();
        assert_eq!(whole.len(), 300);
        for (offset, length) in [(0, 300), (10, 20), (63, 2), (64, 64), (290, 100)] {
            let end = (offset + length).min(300);
            assert_eq!(FILE.new_part(offset, length), whole[offset as usize..end as usize]);
        }
        assert!(whole.starts_with(b"NEW report.txt 00000000 "));
    }

    #[test]
    fn what_is_neither_version_is_damaged_and_its_pieces_are_named() {
        let (old, new) = (FILE.old_contents().unwrap(), FILE.new_contents().unwrap());
        assert_eq!(judge(&FILE, Some(&old)), Outcome::Old);
        assert_eq!(judge(&FILE, Some(&new)), Outcome::New);
        let half = [&new[..128], &old[128..]].concat();
        assert_eq!(judge(&FILE, Some(&half)), Outcome::Damaged);
        assert_eq!(judge(&FILE, None), Outcome::Damaged);
        let found = pieces(&FILE, &[&half[..], &[0; 10]].concat());
        assert_eq!(
            found.iter().map(|piece| (piece.bytes.clone(), piece.origin)).collect::<Vec<_>>(),
            [(0..128, "new"), (128..192, "old"), (192..210, "foreign")]
        );
    }

    #[test]
    fn an_appended_version_begins_with_the_old_one() {
        let grown = File { new: New::Appended(100), ..FILE };
        let new = grown.new_contents().unwrap();
        assert_eq!(new.len(), 300);
        assert!(new.starts_with(&grown.old_contents().unwrap()));
    }

    #[test]
    fn an_outcome_admits_what_it_says() {
        let (old, new) = (FILE.old_contents(), FILE.new_contents());
        assert!(Outcome::Whole.admits(&FILE, old.as_deref()) && Outcome::Whole.admits(&FILE, new.as_deref()));
        assert!(!Outcome::Whole.admits(&FILE, Some(b"")) && !Outcome::Old.admits(&FILE, new.as_deref()));
        assert!(
            Outcome::NothingOrEmpty.admits(&FILE, None) && Outcome::NothingOrEmpty.admits(&FILE, Some(b""))
        );
        assert!(!Outcome::NothingOrEmpty.admits(&FILE, Some(b"x")));
    }
}
