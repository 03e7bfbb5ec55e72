//! From a program's name for a file to the name below the volume: the object manager's part of an open.

use std::rc::Rc;

use lab_volume::Status;

use super::{Caller, Name};
use crate::io::file::File;
use crate::io::{DRIVE, VOLUME_DEVICE};
use crate::memory::wide;

/// Where a name leads.
pub(crate) enum Resolved {
    /// Below the root of the volume; empty is the volume itself.
    Volume(Vec<u16>),
    /// Below an open file or directory.
    Below(Rc<File>, Vec<u16>),
    /// A file id, as the units that stand in the file object's name, and the open that it is relative to.
    Id(Option<Rc<File>>, Vec<u16>),
}

/// The part of an absolute name that the volume's device parses.
pub(crate) fn below_volume(path: &str) -> Result<Vec<u16>, Status> {
    let rest = path.strip_prefix(r"\??\").or_else(|| path.strip_prefix(r"\DosDevices\")).unwrap_or(path);
    let strip = |text: &str, prefix: &str| {
        let begins = text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        begins.then(|| text[prefix.len()..].to_owned())
    };
    let rest = strip(rest, DRIVE).or_else(|| strip(path, VOLUME_DEVICE));
    match rest {
        Some(rest) if rest.is_empty() || rest.starts_with('\\') => Ok(wide(&rest)),
        _ => Err(Status::OBJECT_PATH_NOT_FOUND),
    }
}

pub(crate) fn resolve(caller: &Caller<'_>, name: &Name) -> Result<Resolved, Status> {
    match name {
        Name::Path(path) => below_volume(path).map(Resolved::Volume),
        Name::Relative(handle, path) => {
            let (file, _) = caller.file(*handle, 0)?;
            Ok(Resolved::Below(file, wide(path)))
        }
        Name::Id(id) => Ok(Resolved::Id(None, id_units(*id))),
        Name::IdUnder(handle, id) => {
            let (file, _) = caller.file(*handle, 0)?;
            Ok(Resolved::Id(Some(file), id_units(*id)))
        }
    }
}

fn id_units(id: u64) -> Vec<u16> {
    id.to_le_bytes().chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::below_volume;
    use crate::memory::text;

    #[test]
    fn a_drive_letter_leads_to_the_volume() {
        for (path, below) in [
            (r"C:\dir\file", r"\dir\file"),
            (r"\??\c:\dir\file", r"\dir\file"),
            (r"\Device\HarddiskVolume1\x", r"\x"),
            (r"\??\C:", ""),
            (r"C:\", r"\"),
        ] {
            assert_eq!(text(&below_volume(path).unwrap()), below, "{path}");
        }
        for path in [r"D:\x", "x", r"\Device\HarddiskVolume12\x", r"C:x", ""] {
            assert!(below_volume(path).is_err(), "{path}");
        }
    }
}
