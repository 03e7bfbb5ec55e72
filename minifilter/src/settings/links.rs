//! Which volumes the names in a policy stood for when it was compiled.
//!
//! A pattern that begins with a drive letter or a volume's GUID is compiled to the device that the name points to at that
//! time. When a volume comes, names may point elsewhere; then the policy is compiled again.

use kernel::symlink::SymbolicLink;
use kernel::{Result, Status};
use widestring::U16Str;

use super::digest;

/// Units of `\??\C:`.
const LETTER: usize = 6;
const FIRST: u16 = b'A' as u16;
const LETTERS: usize = 26;
const BACKSLASH: u16 = b'\\' as u16;
const MARK: u16 = b'?' as u16;
const COLON: u16 = b':' as u16;

/// What the names stood for, as far as it can change.
#[derive(Default)]
pub struct Links {
    /// By drive letter: nothing if no pattern has it, else the digest of its device, [`NOWHERE`] if it has none.
    letters: [Option<u64>; LETTERS],
    /// A pattern names a volume by its GUID that is not there.
    absent: bool,
    /// Whether a name has a volume could not be learned, and why.
    pub failed: Option<Status>,
}

/// A letter without a device.
const NOWHERE: u64 = 0;

/// Of a device's name, never [`NOWHERE`].
fn digest_of(device: Option<&[u16]>) -> u64 {
    device.map_or(NOWHERE, |device| digest::units(digest::START, device).max(1))
}

/// The place of a drive letter among the letters, if that is what the link is.
fn letter(link: &[u16]) -> Option<usize> {
    match link {
        [_, _, _, _, letter, _] if link.len() == LETTER => {
            let upper = if *letter >= 97 { letter.wrapping_sub(32) } else { *letter };
            Some(usize::from(upper.wrapping_sub(FIRST))).filter(|&place| place < LETTERS)
        }
        _ => None,
    }
}

/// The device behind a link; `None` if there is none that fits. PASSIVE_LEVEL.
fn target(link: &[u16], device: &mut [u16]) -> Result<Option<usize>> {
    match SymbolicLink::open(U16Str::from_slice(link)).and_then(|link| link.target(device)) {
        Ok(length) => Ok(Some(length)),
        Err(Status::OBJECT_NAME_NOT_FOUND | Status::OBJECT_PATH_NOT_FOUND | Status::BUFFER_TOO_SMALL) => {
            Ok(None)
        }
        Err(status) => Err(status),
    }
}

impl Links {
    /// The device behind `\??\C:` or `\??\Volume{…}`, remembered. PASSIVE_LEVEL.
    pub fn device(&mut self, link: &[u16], device: &mut [u16]) -> Option<usize> {
        let length = target(link, device).unwrap_or_else(|status| {
            self.failed = Some(status);
            None
        });
        let found = digest_of(length.and_then(|length| device.get(..length)));
        match letter(link) {
            Some(place) => {
                if let Some(known) = self.letters.get_mut(place) {
                    *known = Some(found);
                }
            }
            None => self.absent |= length.is_none(),
        }
        length
    }

    /// Whether a name has no volume.
    pub fn are_incomplete(&self) -> bool {
        self.absent || self.letters.contains(&Some(NOWHERE))
    }

    /// Whether a name may stand for another volume by now. PASSIVE_LEVEL.
    pub fn have_changed(&self) -> bool {
        let mut device = [0; 128];
        self.absent
            || (FIRST..).zip(&self.letters).any(|(letter, known)| {
                let link = [BACKSLASH, MARK, MARK, BACKSLASH, letter, COLON];
                known.is_some_and(|known| {
                    let length = target(&link, &mut device).unwrap_or(None);
                    known != digest_of(length.and_then(|length| device.get(..length)))
                })
            })
    }
}
