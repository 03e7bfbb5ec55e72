//! Where a reparse point leads: mount points and symbolic links within the volume.

use lab_volume::ReparseStop;

use crate::io::{DRIVE, VOLUME_DEVICE};
use crate::memory::{text, wide};

const MOUNT_POINT: u32 = 0xA000_0003;
const SYMLINK: u32 = 0xA000_000C;
/// STATUS_IO_REPARSE_TAG_NOT_HANDLED
const NOT_HANDLED: i32 = 0xC000_0279_u32.cast_signed();
/// STATUS_IO_REPARSE_DATA_INVALID
const DATA_INVALID: i32 = 0xC000_0278_u32.cast_signed();

/// The name to open instead of `opened`.
pub(crate) fn follow(opened: &[u16], stop: &ReparseStop) -> Result<Vec<u16>, (i32, usize)> {
    let data = &stop.reparse.data;
    let word =
        |at: usize| data.get(at..at + 2).map(|pair| usize::from(u16::from_le_bytes([pair[0], pair[1]])));
    let (names_at, relative) = match stop.reparse.tag {
        MOUNT_POINT => (8, false),
        SYMLINK => (12, word(8).is_some_and(|flags| flags & 1 != 0)),
        _ => return Err((NOT_HANDLED, 0)),
    };
    let substitute = (|| {
        let (offset, length) = (word(0)?, word(2)?);
        let bytes = data.get(names_at + offset..names_at + offset + length)?;
        Some(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<_>>())
    })();
    let Some(mut name) = substitute else { return Err((DATA_INVALID, 0)) };
    let parsed = opened.len().saturating_sub(usize::from(stop.unparsed));
    if relative {
        let upto = opened[..parsed].iter().rposition(|unit| *unit == u16::from(b'\\')).map_or(0, |at| at + 1);
        let mut whole = opened[..upto].to_vec();
        whole.append(&mut name);
        name = whole;
    } else {
        name = below_volume(&name)?;
    }
    name.extend_from_slice(&opened[parsed..]);
    Ok(name)
}

/// The part of an absolute NT name below the volume; STATUS_NOT_SAME_DEVICE for another device.
pub(crate) fn below_volume(name: &[u16]) -> Result<Vec<u16>, (i32, usize)> {
    let name = text(name);
    for prefix in [format!(r"\??\{DRIVE}"), VOLUME_DEVICE.to_owned()] {
        if let (Some(start), Some(rest)) = (name.get(..prefix.len()), name.get(prefix.len()..))
            && start.eq_ignore_ascii_case(&prefix)
            && (rest.is_empty() || rest.starts_with('\\'))
        {
            return Ok(wide(rest));
        }
    }
    // STATUS_MOUNT_POINT_NOT_RESOLVED: there is no other volume.
    Err((0xC000_0368_u32.cast_signed(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_volume::Reparse;

    fn stop(tag: u32, flags: Option<u32>, substitute: &str, unparsed: u16) -> ReparseStop {
        let units = wide(substitute);
        let mut data = Vec::new();
        for value in [0, (units.len() * 2) as u16, (units.len() * 2) as u16, 0] {
            data.extend_from_slice(&u16::to_le_bytes(value));
        }
        data.extend(flags.iter().flat_map(|flags| flags.to_le_bytes()));
        data.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        ReparseStop { reparse: Reparse { tag, data: data.into() }, unparsed }
    }

    #[test]
    fn a_junction_leads_to_its_target_and_on() {
        let stop = stop(MOUNT_POINT, None, r"\??\C:\Real", 5);
        assert_eq!(text(&follow(&wide(r"\Link\file"), &stop).unwrap()), r"\Real\file");
    }

    #[test]
    fn a_relative_link_leads_from_its_own_directory() {
        let stop = stop(SYMLINK, Some(1), "other.txt", 0);
        assert_eq!(text(&follow(&wide(r"\dir\link.txt"), &stop).unwrap()), r"\dir\other.txt");
    }

    #[test]
    fn what_leads_elsewhere_is_an_error() {
        assert!(follow(&wide(r"\l"), &stop(MOUNT_POINT, None, r"\??\D:\x", 0)).is_err());
        assert!(follow(&wide(r"\l"), &stop(0x8000_0017, None, "x", 0)).is_err());
        let mut cut = stop(MOUNT_POINT, None, r"\??\C:\x", 0);
        cut.reparse.data = cut.reparse.data[..10].into();
        assert!(follow(&wide(r"\l"), &cut).is_err());
    }
}
