//! What is wrong with a policy, in words for the person who wrote it.

use core::fmt;

use crate::gather::Key;
use crate::schema::{self, Kind, Value};

/// What is wrong. [`Reason::is_error`] tells what makes a policy unusable from what only deserves a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "`text` says what each means")]
pub enum Reason {
    // The policy.
    TooManyRules,
    TooLarge,
    // A rule or a value.
    MissingPaths,
    /// The type that was found ([`schema::kind`]).
    WrongType(u32),
    DataLength,
    TextAfterEnd,
    UnknownWord,
    NumberTooLarge,
    UnknownVersion,
    UnknownValue,
    ChildrenOfHandles,
    ChildrenOfAll,
    // A pattern.
    TooLong,
    Slash,
    Unc,
    UnknownRoot,
    VolumeGuid,
    DriveRelative,
    Environment,
    NoVolume,
    WholeVolume,
    TrailingBackslash,
    EmptyComponent,
    DotComponent,
    StarsInside,
    StarsInName,
    NotInNames,
    ColonInside,
    Stream,
    // A pattern that is kept, with a warning.
    NoSuchVolume,
    RemoteVolume,
    SubstitutedDrive,
    TrailingDot,
    StarDotStar,
    ShortName,
}

impl Reason {
    /// Whether the policy as a whole is refused because of it. Otherwise the pattern or value is inactive, or means
    /// something that its author may not have meant.
    pub fn is_error(self) -> bool {
        !matches!(
            self,
            Reason::UnknownValue
                | Reason::ChildrenOfHandles
                | Reason::ChildrenOfAll
                | Reason::NoSuchVolume
                | Reason::RemoteVolume
                | Reason::SubstitutedDrive
                | Reason::TrailingDot
                | Reason::StarDotStar
                | Reason::ShortName
        )
    }

    /// What is wrong, and how to write it right.
    fn text(self) -> &'static str {
        match self {
            Reason::TooManyRules => "there are more than 1024 rules: put more patterns into fewer rules",
            Reason::TooLarge => "the policy takes more than 64 MiB: use fewer patterns, with wildcards",
            Reason::MissingPaths => "the rule names no files: add at least one pattern, such as C:\\Data\\**",
            Reason::WrongType(_) => "is of the wrong type",
            Reason::DataLength => "has a wrong number of bytes for its type: write the value again",
            Reason::TextAfterEnd => "an empty line ends the list, and text follows it: remove the empty line",
            Reason::UnknownWord => "is not a word that this value knows",
            Reason::NumberTooLarge => "is too large",
            Reason::UnknownVersion => "is not a version that this Intact reads: it reads version 1",
            Reason::UnknownValue => {
                "is not a value that Intact knows here, and is ignored: check its spelling"
            }
            Reason::ChildrenOfHandles => {
                "means nothing without Scope = Process, and is ignored: write that, or remove this value"
            }
            Reason::ChildrenOfAll => {
                "is ignored, because every program would be one with the one that started it: name the programs in Processes"
            }
            Reason::TooLong => "is longer than 32767 characters, the longest path there is",
            Reason::Slash => "'/' does not separate components: write '\\'",
            Reason::Unc => {
                "is on the network, and Intact protects local volumes only: write the local path on the server"
            }
            Reason::UnknownRoot => {
                "begins with no known root: write C:\\..., \\Device\\..., \\??\\Volume{guid}\\... or **\\..."
            }
            Reason::VolumeGuid => {
                "is no volume GUID: write \\??\\Volume{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}\\..., as mountvol shows it"
            }
            Reason::DriveRelative => "a backslash must follow the drive: write C:\\...",
            Reason::Environment => "environment variables are not expanded: write the path itself",
            Reason::NoVolume => "names no volume: write C:\\..., or **\\... for any volume and directory",
            Reason::WholeVolume => "names a volume and no files on it: add \\** for everything on it",
            Reason::TrailingBackslash => "ends with '\\': remove it, or add ** for everything below",
            Reason::EmptyComponent => "there is nothing between two backslashes: remove one",
            Reason::DotComponent => {
                "'.' and '..' do not occur in normalized names: write the directory's own name"
            }
            Reason::StarsInside => {
                "'**' must stand alone between backslashes: write ...\\**\\*.xls, or '*' within a name"
            }
            Reason::StarsInName => "'**' means nothing in an image name: write '*'",
            Reason::NotInNames => "this character cannot occur in a file name: remove it",
            Reason::ColonInside => {
                "':' can only stand before the name of a stream, in the last component: remove it"
            }
            Reason::Stream => "is no stream of a file: write name:stream",
            Reason::NoSuchVolume => "this volume is not there now, so the pattern is inactive until it is",
            Reason::RemoteVolume => {
                "this drive is on the network, so the pattern is inactive: Intact protects local volumes only"
            }
            Reason::SubstitutedDrive => {
                "this drive stands for something else than a volume (subst?), so the pattern is inactive: write the path on the volume"
            }
            Reason::TrailingDot => {
                "ends with a dot or a space, and Win32 programs cannot make such names: is it meant?"
            }
            Reason::StarDotStar => "matches only names that contain a dot: write '*' for all names",
            Reason::ShortName => "looks like an 8.3 name, which never matches: write the long name",
        }
    }
}

/// One thing that is wrong with a policy, and where.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The key that it was read from.
    pub key: Key,
    /// The rule; `None`: the policy key itself.
    pub rule: Option<&'a [u16]>,
    /// The value's name as it was found; empty: the rule or policy as a whole.
    pub value: &'a [u16],
    /// Which schema row the value is of, if any.
    pub schema: Option<Value>,
    /// Which element of a list, counted from 1; 0: the value as a whole.
    pub element: u32,
    /// The text that is wrong; empty if there is none to show.
    pub text: &'a [u16],
    /// Which character of the text, counted from 1 in UTF-16 units; 0: the text as a whole.
    pub position: u32,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Longest part of a wrong text that is shown.
const SHOWN: usize = 120;

impl<'a> Problem<'a> {
    /// A problem of a rule, or of the policy, as a whole.
    pub(crate) fn whole(key: Key, rule: Option<&'a [u16]>, reason: Reason) -> Self {
        Problem { key, rule, value: &[], schema: None, element: 0, text: &[], position: 0, reason }
    }

    /// What a caller reports that stopped gathering at [`crate::MAX_UNITS`].
    pub fn too_large() -> Self {
        Problem::whole(Key::Policies, None, Reason::TooLarge)
    }

    /// Whether the policy is refused because of it.
    pub fn is_error(&self) -> bool {
        self.reason.is_error()
    }

    /// Writes the message, one UTF-16 unit after the other:
    /// `policy rule "Reports": Paths[2] "C:\Data/x", character 8: '/' does not separate components: write '\'`.
    ///
    /// It needs neither allocation nor `core::fmt`, so that a driver can put it into an event.
    pub fn message(&self, out: &mut dyn FnMut(u16)) {
        put("policy", out);
        if let Some(rule) = self.rule {
            put(" rule \"", out);
            shown(rule, out);
            put("\"", out);
        }
        put(": ", out);
        if !self.value.is_empty() {
            shown(self.value, out);
            if self.element != 0 {
                put("[", out);
                number(self.element, out);
                put("]", out);
            }
            if !self.text.is_empty() {
                put(" \"", out);
                shown(self.text, out);
                put("\"", out);
            }
            if self.position != 0 {
                put(", character ", out);
                number(self.position, out);
            }
            put(": ", out);
        }
        self.what(out);
    }

    fn what(&self, out: &mut dyn FnMut(u16)) {
        match (self.reason, self.schema.map(|value| value.schema().kind)) {
            (Reason::WrongType(found), Some(kind)) => {
                put("is ", out);
                put(schema::kind::name(found), out);
                put(": write it as ", out);
                put(
                    match kind {
                        Kind::Patterns => "REG_MULTI_SZ",
                        Kind::Word(_) => "REG_SZ",
                        Kind::Number { .. } => "REG_DWORD",
                    },
                    out,
                );
            }
            (Reason::UnknownWord, Some(Kind::Word(words))) => {
                put("write one of", out);
                for (index, word) in words.iter().enumerate() {
                    put(if index == 0 { " " } else { ", " }, out);
                    put(word, out);
                }
            }
            (Reason::NumberTooLarge, Some(Kind::Number { max, .. })) => {
                put("is too large: write a number from 0 to ", out);
                number(max, out);
            }
            _ => put(self.reason.text(), out),
        }
    }
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        let mut high: Option<u16> = None;
        let mut write = |unit: u16| {
            let mut decode = |units: &[u16]| {
                for letter in char::decode_utf16(units.iter().copied()) {
                    result = result.and_then(|()| {
                        fmt::Write::write_char(to, letter.unwrap_or(char::REPLACEMENT_CHARACTER))
                    });
                }
            };
            match (high.take(), unit) {
                (None, 0xD800..=0xDBFF) => high = Some(unit),
                (None, _) => decode(&[unit]),
                (Some(first), 0xD800..=0xDBFF) => {
                    decode(&[first]);
                    high = Some(unit);
                }
                (Some(first), _) => decode(&[first, unit]),
            }
        };
        self.message(&mut write);
        result
    }
}

fn put(text: &str, out: &mut dyn FnMut(u16)) {
    text.bytes().for_each(|byte| out(u16::from(byte)));
}

/// Text from the registry: cut when long, control characters made visible.
fn shown(text: &[u16], out: &mut dyn FnMut(u16)) {
    for &unit in text.iter().take(SHOWN) {
        out(if unit < 0x20 || unit == 0x7F { 0xFFFD } else { unit });
    }
    if text.len() > SHOWN {
        put("...", out);
    }
}

fn number(number: u32, out: &mut dyn FnMut(u16)) {
    let mut divisor = 1_000_000_000;
    let mut begun = false;
    while divisor > 0 {
        let digit = number.checked_div(divisor).unwrap_or(0).checked_rem(10).unwrap_or(0);
        begun |= digit != 0 || divisor == 1;
        if begun {
            out(u16::from(b'0').saturating_add(u16::try_from(digit).unwrap_or(0)));
        }
        divisor = divisor.checked_div(10).unwrap_or(0);
    }
}
