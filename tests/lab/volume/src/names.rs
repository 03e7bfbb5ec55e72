//! UTF-16 names: case folding, validity, paths, and the wildcard language of directory queries.

use core::fmt;
use serde::{Deserialize, Serialize};

/// A counted UTF-16 string, as NT keeps names: any 16-bit units, no terminator.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Wide(pub Vec<u16>);

impl Wide {
    /// The empty name.
    pub const fn new() -> Wide {
        Wide(Vec::new())
    }

    /// Whether it has no units.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Readable form; unpaired surrogates become U+FFFD.
    pub fn to_text(&self) -> String {
        String::from_utf16_lossy(&self.0)
    }
}

impl From<&str> for Wide {
    fn from(text: &str) -> Wide {
        Wide(text.encode_utf16().collect())
    }
}

impl From<&[u16]> for Wide {
    fn from(units: &[u16]) -> Wide {
        Wide(units.to_vec())
    }
}

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), f)
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

/// A name folded to upper case: what directories and stream lists are ordered and compared by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Key(Vec<u16>);

impl Key {
    /// Folds a name.
    pub fn of(name: &[u16]) -> Key {
        Key(name.iter().map(|&unit| upcase(unit)).collect())
    }

    /// Whether it is the key of the unnamed data stream.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf16_lossy(&self.0), f)
    }
}

/// Upper case of one unit. Approximated: Unicode's one-to-one mappings of the basic plane; a real
/// volume carries its own `$UpCase` table, which differs from these for a few letters.
pub fn upcase(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

const BACKSLASH: u16 = b'\\' as u16;
const COLON: u16 = b':' as u16;
const DOT: u16 = b'.' as u16;

/// Whether a path component may be created: not empty, at most 255 units, not `.` or `..`, no control
/// characters and none of `" * / : < > ? \ |`.
pub fn is_valid_component(name: &[u16]) -> bool {
    let dots = matches!(name, [DOT] | [DOT, DOT]);
    !name.is_empty() && name.len() <= 255 && !dots && name.iter().all(|&unit| is_valid_unit(unit))
}

fn is_valid_unit(unit: u16) -> bool {
    unit >= 0x20 && !(unit < 0x80 && br#""*/:<>?\|"#.contains(&(unit as u8)))
}

/// A path below a starting directory, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) components: Vec<Wide>,
    /// The named stream, if the last component had one other than the unnamed data stream.
    pub(crate) stream: Option<Wide>,
    /// `name::$DATA` was written out: the file must not be a directory.
    pub(crate) names_data: bool,
    /// It ended in a backslash: only a directory will do.
    pub(crate) trailing: bool,
}

impl Path {
    /// Takes a path apart; `None` if it cannot be a name on NTFS.
    pub(crate) fn parse(path: &[u16]) -> Option<Path> {
        let path = path.strip_prefix(&[BACKSLASH]).unwrap_or(path);
        let (path, trailing) = match path.strip_suffix(&[BACKSLASH]) {
            Some(rest) if !rest.is_empty() => (rest, true),
            _ => (path, false),
        };
        let mut components: Vec<Wide> = if path.is_empty() {
            Vec::new()
        } else {
            path.split(|&unit| unit == BACKSLASH).map(Wide::from).collect()
        };
        let mut stream = None;
        let mut names_data = false;
        if let Some(last) = components.last_mut() {
            let parts: Vec<Wide> = last.0.split(|&unit| unit == COLON).map(Wide::from).collect();
            match parts.as_slice() {
                [_] => {}
                [_, name] if !name.is_empty() => stream = Some(name.clone()),
                [_, name, kind] if Key::of(&kind.0) == Key::of(&Wide::from("$DATA").0) => {
                    names_data = true;
                    stream = (!name.is_empty()).then(|| name.clone());
                }
                _ => return None,
            }
            *last = parts[0].clone();
        }
        // A relative open may name only a stream of the file that it is relative to: ":stream".
        if components.len() == 1 && components[0].is_empty() && (stream.is_some() || names_data) {
            components.clear();
        }
        let valid = components.iter().all(|part| is_valid_component(&part.0))
            && stream.as_ref().is_none_or(|name| is_valid_component(&name.0))
            && !(trailing && stream.is_some());
        valid.then_some(Path { components, stream, names_data, trailing })
    }
}

/// Whether `name` matches a directory-query expression: `*`, `?`, and the DOS forms `<` (star that
/// stops at the last dot), `>` (zero or one unit before a dot or the end), `"` (dot or the end), as
/// documented for FsRtlIsNameInExpression. Case-insensitive.
pub fn matches(expression: &[u16], name: &[u16]) -> bool {
    let last_dot = name.iter().rposition(|&unit| unit == DOT);
    // `row[at]`: whether the rest of the expression matches `name[at..]`; from its end to its beginning.
    let mut row: Vec<bool> = (0..=name.len()).map(|at| at == name.len()).collect();
    for &unit in expression.iter().rev() {
        let after = row;
        row = vec![false; name.len() + 1];
        for at in (0..=name.len()).rev() {
            let next = name.get(at).copied();
            let skip = |table: &[bool]| next.is_some() && table[at + 1];
            row[at] = match u8::try_from(unit).unwrap_or(0) {
                b'*' => after[at] || skip(&row),
                b'<' => after[at] || (last_dot != Some(at) && skip(&row)),
                b'?' => skip(&after),
                b'>' => match next {
                    Some(letter) if letter != DOT => after[at + 1],
                    _ => after[at],
                },
                b'"' => match next {
                    Some(letter) => letter == DOT && after[at + 1],
                    None => after[at],
                },
                _ => next.is_some_and(|letter| upcase(letter) == upcase(unit)) && after[at + 1],
            };
        }
    }
    row[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<Path> {
        Path::parse(&Wide::from(path).0)
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(Key::of(&Wide::from("Straße.Txt").0), Key::of(&Wide::from("STRAßE.TXT").0));
        assert_ne!(Key::of(&Wide::from("a").0), Key::of(&Wide::from("b").0));
    }

    #[test]
    fn a_path_is_taken_apart() {
        let path = parse(r"\Data\report.txt:notes:$data").unwrap();
        assert_eq!(path.components, [Wide::from("Data"), Wide::from("report.txt")]);
        assert_eq!(path.stream, Some(Wide::from("notes")));
        assert_eq!(parse(r"a::$DATA").unwrap().stream, None);
        assert!(parse(r"\dir\").unwrap().trailing);
        assert_eq!(parse(r"\").unwrap().components, []);
        for bad in [r"\a\\b", "a*b", "a:b:c", "a:", "x<y", "a:b\\c", r"a\..\b", "."] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn expressions_match_as_documented() {
        for (expression, name, expected) in [
            ("*", "anything.at.all", true),
            ("*.txt", "A.TXT", true),
            ("*.txt", "a.txt.bak", false),
            ("?.c", "a.c", true),
            ("?.c", ".c", false),
            ("<.txt", "a.b.txt", true),
            ("<\"*", "noext", true),
            (">>>.c", "ab.c", true),
            ("report", "report", true),
            ("report", "report2", false),
            ("", "", true),
            ("", "a", false),
            ("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(
                matches(&Wide::from(expression).0, &Wide::from(name).0),
                expected,
                "{expression} {name}"
            );
        }
    }
}
