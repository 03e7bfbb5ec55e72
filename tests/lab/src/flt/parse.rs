//! Taking a full path apart, as FltParseFileNameInformation does.

use std::ops::Range;

/// Ranges of the parts, in units from the beginning of the name.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Parts {
    /// Up to and including the last backslash, the volume apart.
    pub(crate) parent_dir: Range<usize>,
    /// After it, the stream included.
    pub(crate) final_component: Range<usize>,
    /// After the last dot of the file name, without the dot.
    pub(crate) extension: Range<usize>,
    /// From the first colon on, colon included.
    pub(crate) stream: Range<usize>,
}

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
const DOT: u16 = b'.' as u16;

/// Parses `name`, whose first `volume` units are the volume's name (fltkernel/FltParseFileNameInformation).
pub(crate) fn parse(name: &[u16], volume: usize) -> Parts {
    let end = name.len();
    let last = (volume..end).rev().find(|&at| name[at] == BACKSLASH).map_or(volume, |at| at + 1);
    let colon = (last..end).find(|&at| name[at] == COLON).unwrap_or(end);
    let dot = (last..colon).rev().find(|&at| name[at] == DOT).map_or(colon, |at| at + 1);
    Parts { parent_dir: volume..last, final_component: last..end, extension: dot..colon, stream: colon..end }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::memory::{text, wide};

    fn parts(name: &str, volume: &str) -> [String; 4] {
        let units = wide(name);
        let parts = parse(&units, wide(volume).len());
        [parts.parent_dir, parts.final_component, parts.extension, parts.stream]
            .map(|range| text(&units[range]))
    }

    #[test]
    fn a_name_is_parsed_as_the_documentation_shows() {
        let volume = r"\Device\HarddiskVolume1";
        assert_eq!(
            parts(r"\Device\HarddiskVolume1\My Documents\Test Results.txt:stream1", volume),
            [r"\My Documents\", "Test Results.txt:stream1", "txt", ":stream1"]
        );
        assert_eq!(parts(r"\Device\HarddiskVolume1\a", volume), [r"\", "a", "", ""]);
        assert_eq!(parts(r"\Device\HarddiskVolume1\", volume), [r"\", "", "", ""]);
        assert_eq!(parts(r"\Device\HarddiskVolume1", volume), ["", "", "", ""]);
        assert_eq!(parts(r"\Device\HarddiskVolume1\a.b.c", volume), [r"\", "a.b.c", "c", ""]);
        assert_eq!(parts(r"\Device\HarddiskVolume1\a:s.x", volume), [r"\", "a:s.x", "", ":s.x"]);
    }
}
