//! `.reg` files, as Regedit writes and reads them.
//!
//! UTF-16 with a byte order mark, UTF-8, and the ANSI of `REGEDIT4` (read as Windows-1252) are read; values of every
//! type, continued lines, comments, text that spans lines, and deletions. Names keep unpaired surrogates.

mod write;

use std::collections::HashMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{fmt, format};

use crate::text::{HostUpcase, compare, fold, is_ascii_word, split_last, split_once};
use crate::{Gather, Key, kind};

/// What a `.reg` file leaves in an empty registry.
#[derive(Clone, Debug, Default)]
pub struct RegFile {
    keys: Vec<RegKey>,
    /// Where each key is, by its path in upper case.
    places: HashMap<Vec<u16>, usize>,
}

#[derive(Clone, Debug)]
struct RegKey {
    path: Vec<u16>,
    values: Vec<RegValue>,
}

impl RegKey {
    /// Nothing is expected in the default value, which Regedit shows in every key.
    fn gather(&self, gather: &mut Gather<'_>) {
        let named = self.values.iter().filter(|value| !value.name.is_empty());
        named.for_each(|value| gather.value(&value.name, value.kind, &value.data));
    }
}

/// A value: the empty name is the default value's. Two are equal wherever they are written.
#[derive(Clone, Debug, Eq)]
pub struct RegValue {
    /// Its name.
    pub name: Vec<u16>,
    /// Its type ([`crate::kind`]).
    pub kind: u32,
    /// Its bytes, as the registry keeps them.
    pub data: Vec<u8>,
    /// On which line of a `.reg` file it is, counted from 1; 0 where there are no lines.
    pub line: usize,
}

impl PartialEq for RegValue {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.name == other.name && self.data == other.data
    }
}

/// What a line of a `.reg` file has wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegError {
    /// Which line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for RegError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "line {}: {}", self.line, self.text)
    }
}

impl RegFile {
    /// Reads a file. All errors are returned, not the first.
    pub fn parse(bytes: &[u8]) -> Result<RegFile, Vec<RegError>> {
        let text = decode(bytes);
        let mut reader = Cursor {
            rest: &text,
            line: 1,
            file: RegFile::default(),
            current: None,
            ansi: false,
            errors: Vec::new(),
        };
        reader.file();
        if reader.errors.is_empty() { Ok(reader.file) } else { Err(reader.errors) }
    }

    /// Gives the policy keys and what is in them to `gather`.
    pub fn gather(&self, gather: &mut Gather<'_>) {
        for key in [Key::Policies, Key::Parameters] {
            gather.key(key);
            let root: Vec<u16> = key.path().encode_utf16().collect();
            let is_root = |path: &[u16]| compare(&HostUpcase, path, &root).is_eq();
            self.keys.iter().filter(|key| is_root(&key.path)).for_each(|key| key.gather(gather));
            for key in &self.keys {
                let (parent, name) = split_last(&key.path, BACKSLASH);
                if parent.split_last().is_some_and(|(_, parent)| is_root(parent)) {
                    gather.rule(name);
                    key.gather(gather);
                }
            }
        }
    }

    /// The values of a key, by its full path without regard to case.
    pub fn values(&self, path: &str) -> Option<&[RegValue]> {
        let path: Vec<u16> = path.encode_utf16().collect();
        Some(self.keys.get(*self.places.get(&upper(&path))?)?.values.as_slice())
    }

    /// Every key that is there, with its full path.
    pub fn keys(&self) -> impl Iterator<Item = (&[u16], &[RegValue])> {
        self.keys.iter().map(|key| (key.path.as_slice(), key.values.as_slice()))
    }

    /// Makes a key, and sets a value of it if one is given.
    pub fn set(&mut self, path: &[u16], value: Option<RegValue>) {
        let place = self.key(path);
        if let (Some(value), Some(key)) = (value, self.keys.get_mut(place)) {
            key.values.retain(|known| compare(&HostUpcase, &known.name, &value.name).is_ne());
            key.values.push(value);
        }
    }

    /// The text of a `.reg` file that leaves the same in an empty registry, one line for each element of a list over
    /// its value. Regedit wants it in UTF-16 with a byte order mark: [`RegFile::to_bytes`].
    pub fn to_text(&self) -> String {
        write::text(self)
    }

    /// The file that Regedit reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = self.to_text();
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    }

    fn key(&mut self, path: &[u16]) -> usize {
        *self.places.entry(upper(path)).or_insert_with(|| {
            self.keys.push(RegKey { path: path.to_vec(), values: Vec::new() });
            self.keys.len().saturating_sub(1)
        })
    }

    fn delete(&mut self, path: &[u16]) {
        self.keys.retain(|key| {
            let (head, tail) = key.path.split_at_checked(path.len()).unwrap_or((&[], &[]));
            let is_below = tail.first().is_none_or(|&unit| unit == BACKSLASH);
            path.is_empty() || !is_below || compare(&HostUpcase, head, path).is_ne()
        });
        self.places = self.keys.iter().enumerate().map(|(place, key)| (upper(&key.path), place)).collect();
    }
}

fn upper(path: &[u16]) -> Vec<u16> {
    path.iter().map(|&unit| fold(&HostUpcase, unit)).collect()
}

const BACKSLASH: u16 = b'\\' as u16;
const QUOTE: u16 = b'"' as u16;
const NEWLINE: u16 = b'\n' as u16;

/// UTF-16 by its mark, else UTF-8, else Windows-1252.
fn decode(bytes: &[u8]) -> Vec<u16> {
    let pairs =
        |bytes: &[u8], read: fn([u8; 2]) -> u16| bytes.as_chunks().0.iter().map(|pair| read(*pair)).collect();
    match bytes {
        [0xFF, 0xFE, rest @ ..] => pairs(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => pairs(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest).encode_utf16().collect(),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.encode_utf16().collect(),
            Err(_) => bytes.iter().map(|&byte| windows_1252(byte)).collect(),
        },
    }
}

fn windows_1252(byte: u8) -> u16 {
    const UPPER: [u16; 32] = [
        0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152,
        0x8D, 0x17D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122,
        0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178,
    ];
    let place = usize::from(byte).checked_sub(0x80);
    place.and_then(|place| UPPER.get(place)).copied().unwrap_or(u16::from(byte))
}

struct Cursor<'t> {
    rest: &'t [u16],
    line: usize,
    file: RegFile,
    /// The key that values go to; `None`: none yet, or one that is deleted.
    current: Option<usize>,
    ansi: bool,
    errors: Vec<RegError>,
}

/// A value, or its deletion.
type Data = Option<(u32, Vec<u8>)>;

impl Cursor<'_> {
    fn file(&mut self) {
        let (first, _) = split_once(self.rest, NEWLINE);
        let first = String::from_utf16_lossy(first);
        let is_headed = matches!(first.trim(), "Windows Registry Editor Version 5.00" | "REGEDIT4");
        match first.trim() {
            "Windows Registry Editor Version 5.00" => {}
            "REGEDIT4" => self.ansi = true,
            _ => {
                let text = "a .reg file begins with 'Windows Registry Editor Version 5.00' or 'REGEDIT4'"
                    .to_string();
                self.errors.push(RegError { line: 1, text });
            }
        }
        // Where only the header was forgotten, there is a key.
        if is_headed || !first.starts_with('[') {
            self.skip_line();
        }
        while let Some(unit) = self.peek_past_space() {
            let line = self.line;
            let result = match char::from_u32(u32::from(unit)) {
                Some(';') => Ok(()),
                Some('[') => self.key(),
                Some('"' | '@') => self.value(),
                _ => Err("this is no key, no value and no comment".to_string()),
            };
            if let Err(text) = result {
                self.errors.push(RegError { line, text });
            }
            self.skip_line();
        }
        if !is_headed && self.file.keys.is_empty() {
            // It is something else: what is wrong with its other lines does not matter.
            self.errors.truncate(1);
        }
    }

    fn key(&mut self) -> Result<(), String> {
        let (line, _) = split_once(self.rest, NEWLINE);
        let end =
            line.iter().rposition(|&unit| unit == u16::from(b']')).ok_or("the key is not closed with ']'")?;
        let path = line.get(1..end).unwrap_or_default();
        match path {
            [first, path @ ..] if *first == u16::from(b'-') => {
                self.file.delete(path);
                self.current = None;
            }
            [] => return Err("the key has no name".to_string()),
            path => self.current = Some(self.file.key(path)),
        }
        Ok(())
    }

    fn value(&mut self) -> Result<(), String> {
        let line = self.line;
        let name = if self.next() == Some(QUOTE) { self.quoted()? } else { Vec::new() };
        self.skip_space();
        if self.next() != Some(u16::from(b'=')) {
            return Err("'=' must follow the name of the value".to_string());
        }
        self.skip_space();
        let data = self.data()?;
        self.skip_space();
        let (left, _) = split_once(self.rest, NEWLINE);
        if left.first().is_some_and(|&unit| unit != u16::from(b';')) {
            return Err("something follows the data".to_string());
        }
        let Some(key) = self.current.and_then(|key| self.file.keys.get_mut(key)) else {
            return Err("this value is in no key".to_string());
        };
        key.values.retain(|value| compare(&HostUpcase, &value.name, &name).is_ne());
        if let Some((kind, data)) = data {
            key.values.push(RegValue { name, kind, data, line });
        }
        Ok(())
    }

    fn data(&mut self) -> Result<Data, String> {
        if self.take("-") {
            return Ok(None);
        }
        if self.take("\"") {
            let units = self.quoted()?;
            let bytes = units.into_iter().chain([0]).flat_map(u16::to_le_bytes).collect();
            return Ok(Some((kind::SZ, bytes)));
        }
        if self.take("dword:") {
            let digits = self.digits();
            let number = u32::from_str_radix(&digits, 16)
                .map_err(|_| "dword: needs one to eight hexadecimal digits")?;
            return Ok(Some((kind::DWORD, number.to_le_bytes().to_vec())));
        }
        if self.take("hex") {
            let mut kind = kind::BINARY;
            if self.take("(") {
                let digits = self.digits();
                kind = u32::from_str_radix(&digits, 16)
                    .map_err(|_| "hex( needs a type in hexadecimal digits")?;
                if !self.take(")") {
                    return Err("')' must follow the type".to_string());
                }
            }
            if !self.take(":") {
                return Err("':' must follow hex".to_string());
            }
            let bytes = self.bytes()?;
            let is_text = matches!(kind, kind::SZ | kind::EXPAND_SZ | kind::MULTI_SZ);
            let wide = |byte: &u8| windows_1252(*byte).to_le_bytes();
            return Ok(Some((
                kind,
                if self.ansi && is_text { bytes.iter().flat_map(wide).collect() } else { bytes },
            )));
        }
        Err("the data must be \"text\", dword:, hex:, hex(type): or -".to_string())
    }

    /// Two digits and a comma, again and again; a backslash continues the line.
    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        loop {
            self.skip_space();
            if self.take("\\") {
                self.skip_space();
                self.take("\r");
                if !self.take("\n") && !self.rest.is_empty() {
                    return Err("'\\' must be the last character of a line that is continued".to_string());
                }
                continue;
            }
            let digits = self.digits();
            if digits.is_empty() {
                return if bytes.is_empty() || self.rest.first().is_none_or(|&unit| is_end(unit)) {
                    Ok(bytes)
                } else {
                    Err("bytes are two hexadecimal digits each, with commas between them".to_string())
                };
            }
            let byte = u8::from_str_radix(&digits, 16).map_err(|_| format!("'{digits}' is no byte"))?;
            bytes.push(byte);
            self.skip_space();
            if !self.take(",") {
                return Ok(bytes);
            }
        }
    }

    /// The rest of a quoted text, with its closing quote. Only `\\` and `\"` are escapes.
    fn quoted(&mut self) -> Result<Vec<u16>, String> {
        let mut units = Vec::new();
        while let Some(unit) = self.next() {
            match unit {
                QUOTE => return Ok(units),
                BACKSLASH => units.push(self.next().ok_or("the text is not closed with '\"'")?),
                _ => units.push(unit),
            }
        }
        Err("the text is not closed with '\"'".to_string())
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(digit) = self.rest.first().and_then(|&unit| u8::try_from(unit).ok()) {
            if !digit.is_ascii_hexdigit() {
                break;
            }
            digits.push(char::from(digit));
            self.next();
        }
        digits
    }

    fn take(&mut self, word: &str) -> bool {
        match self.rest.split_at_checked(word.len()) {
            Some((head, _)) if is_ascii_word(head, word) => {
                (0..word.len()).for_each(|_| _ = self.next());
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<u16> {
        let (&unit, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line = self.line.saturating_add(usize::from(unit == NEWLINE));
        Some(unit)
    }

    fn skip_space(&mut self) {
        while self.rest.first().is_some_and(|&unit| matches!(unit, 0x20 | 0x09) || unit == 0x0D) {
            self.next();
        }
    }

    fn peek_past_space(&mut self) -> Option<u16> {
        while self.rest.first().is_some_and(|&unit| matches!(unit, 0x20 | 0x09 | 0x0D | NEWLINE)) {
            self.next();
        }
        self.rest.first().copied()
    }

    fn skip_line(&mut self) {
        while let Some(unit) = self.next() {
            if unit == NEWLINE {
                break;
            }
        }
    }
}

fn is_end(unit: u16) -> bool {
    matches!(unit, 0x0D | NEWLINE) || unit == u16::from(b';')
}
