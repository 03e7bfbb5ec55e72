//! Reading `.reg` files, as regedit writes and administrators edit them.

use std::fmt;

use super::{Value, kind, wide};

/// What is wrong with a `.reg` file, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to do about it.
    pub what: String,
}

impl fmt::Display for RegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for RegError {}

/// What one entry of the file asks for. Paths begin with `\Registry`.
pub(super) enum Change {
    Key(String),
    RemoveKey(String),
    Set(String, Value),
    RemoveValue(String, String),
}

const HEADERS: [&str; 2] = ["Windows Registry Editor Version 5.00", "REGEDIT4"];

const ROOTS: [(&str, &str); 7] = [
    ("HKEY_LOCAL_MACHINE", "\\Registry\\Machine"),
    ("HKLM", "\\Registry\\Machine"),
    ("HKEY_USERS", "\\Registry\\User"),
    ("HKU", "\\Registry\\User"),
    ("HKEY_CLASSES_ROOT", "\\Registry\\Machine\\SOFTWARE\\Classes"),
    ("HKEY_CURRENT_USER", "\\Registry\\User\\.Default"),
    ("HKEY_CURRENT_CONFIG", "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Hardware Profiles\\Current"),
];

/// Text of a file: UTF-16 with a byte order mark, UTF-8, or Windows-1252.
fn decode(bytes: &[u8]) -> Result<String, RegError> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        if !bytes.len().is_multiple_of(2) {
            return Err(RegError {
                line: 1,
                what: "UTF-16 with an odd number of bytes: the file is cut off".into(),
            });
        }
        let units: Vec<u16> = bytes.chunks_exact(2).map(|c| read([c[0], c[1]])).collect();
        String::from_utf16(&units).map_err(|_| RegError {
            line: 1,
            what: "not valid UTF-16; save the file again as Unicode".into(),
        })
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(String::from_utf8_lossy(rest).into_owned()),
        _ => Ok(match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => bytes.iter().map(|b| windows_1252(*b)).collect(),
        }),
    }
}

fn windows_1252(byte: u8) -> char {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9F => UPPER[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

/// Reads a whole file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Change>, RegError> {
    let text = decode(bytes)?;
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let header = lines.by_ref().map(|(_, l)| l.trim()).find(|l| !l.is_empty());
    if !header.is_some_and(|h| HEADERS.contains(&h)) {
        return Err(RegError {
            line: 1,
            what: format!("not a .reg file: it begins with \"{}\" or \"{}\"", HEADERS[0], HEADERS[1]),
        });
    }
    let narrow = header == Some(HEADERS[1]);
    let mut changes = Vec::new();
    let mut key: Option<String> = None;
    while let Some((number, first)) = lines.next() {
        let at = |what: String| RegError { line: number, what };
        let mut line = first.trim().to_string();
        // Only hex data is continued; a path may well end in a backslash.
        while line.ends_with('\\') && line.contains("=hex") {
            line.pop();
            match lines.next() {
                Some((_, more)) => line.push_str(more.trim()),
                None => {
                    return Err(at(
                        "the last line is continued with \\, but the file ends; it is cut off".into()
                    ));
                }
            }
        }
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if let Some(inside) = line.strip_prefix('[') {
            let Some(path) = inside.strip_suffix(']') else {
                return Err(at(format!("key \"{line}\" has no closing ]")));
            };
            key = match path.strip_prefix('-') {
                Some(removed) => {
                    changes.push(Change::RemoveKey(full_path(removed).map_err(at)?));
                    None
                }
                None => {
                    let path = full_path(path).map_err(at)?;
                    changes.push(Change::Key(path.clone()));
                    Some(path)
                }
            };
            continue;
        }
        let Some(path) = &key else {
            return Err(at(format!(
                "\"{line}\" stands under no key; put a line such as [HKEY_LOCAL_MACHINE\\SOFTWARE\\…] before it"
            )));
        };
        changes.push(entry(path, &line, narrow).map_err(at)?);
    }
    Ok(changes)
}

fn full_path(path: &str) -> Result<String, String> {
    let (root, rest) = path.split_once('\\').unwrap_or((path, ""));
    let Some((_, base)) = ROOTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(root)) else {
        return Err(format!(
            "unknown root \"{root}\"; keys begin with HKEY_LOCAL_MACHINE, HKEY_USERS or another HKEY_ name"
        ));
    };
    if rest.split('\\').any(str::is_empty) && !rest.is_empty() {
        return Err(format!("key \"{path}\" has an empty component"));
    }
    Ok(if rest.is_empty() { (*base).into() } else { format!("{base}\\{rest}") })
}

/// `"name"=data` or `@=data`.
fn entry(path: &str, line: &str, narrow: bool) -> Result<Change, String> {
    let (name, rest) = match line.strip_prefix('@') {
        Some(rest) => (String::new(), rest),
        None => quoted(line)?,
    };
    let Some(data) = rest.trim_start().strip_prefix('=') else {
        return Err(format!("value \"{name}\" has no = after its name"));
    };
    let data = data.trim();
    if data == "-" {
        return Ok(Change::RemoveValue(path.into(), name));
    }
    let (kind, data) = value_data(data, narrow).map_err(|what| format!("value \"{name}\": {what}"))?;
    Ok(Change::Set(path.into(), Value { name, kind, data }))
}

/// A quoted string with `\\` and `\"`, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inside) = text.strip_prefix('"') else {
        return Err(format!("\"{text}\" is neither a key, a value nor a comment; names stand in quotes"));
    };
    let mut name = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((name, &inside[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"'))) => name.push(escaped),
                Some((_, other)) => return Err(format!("\\{other} in a string: write \\\\ for a backslash")),
                None => break,
            },
            c => name.push(c),
        }
    }
    Err("a string has no closing quote".into())
}

fn value_data(data: &str, narrow: bool) -> Result<(u32, Vec<u8>), String> {
    if data.starts_with('"') {
        let (text, rest) = quoted(data)?;
        return if rest.trim().is_empty() || rest.trim_start().starts_with(';') {
            Ok((kind::SZ, wide(&text)))
        } else {
            Err(format!("\"{}\" follows the closing quote", rest.trim()))
        };
    }
    if let Some(digits) = strip_prefix_ignoring_case(data, "dword:") {
        let digits = digits.split(';').next().unwrap_or("").trim();
        return match u32::from_str_radix(digits, 16) {
            Ok(value) if digits.len() <= 8 && !digits.starts_with('+') => {
                Ok((kind::DWORD, value.to_le_bytes().into()))
            }
            _ => Err(format!("\"{digits}\" is not a dword: one to eight hexadecimal digits")),
        };
    }
    let Some(rest) = strip_prefix_ignoring_case(data, "hex") else {
        return Err(format!("\"{data}\" is no data; write \"text\", dword:…, hex:… or hex(7):…"));
    };
    let (kind, bytes) = match rest.strip_prefix('(') {
        Some(rest) => {
            let (digits, rest) = rest.split_once("):").ok_or("hex( has no closing ):")?;
            let kind = u32::from_str_radix(digits, 16)
                .map_err(|_| format!("\"{digits}\" is no type: hexadecimal digits"))?;
            (kind, rest)
        }
        None => (kind::BINARY, rest.strip_prefix(':').ok_or("hex has no : after it")?),
    };
    let bytes = bytes.split(';').next().unwrap_or("");
    let mut data = Vec::new();
    for part in bytes.split(',').map(str::trim) {
        if part.is_empty() && bytes.trim().is_empty() {
            break;
        }
        match u8::from_str_radix(part, 16) {
            Ok(byte) if part.len() <= 2 && !part.starts_with('+') => data.push(byte),
            _ => {
                return Err(format!("\"{part}\" is not a byte: two hexadecimal digits, separated by commas"));
            }
        }
    }
    // Version 4 files hold strings in single bytes.
    if narrow && matches!(kind, kind::EXPAND_SZ | kind::MULTI_SZ) {
        data = data
            .iter()
            .map(|b| windows_1252(*b))
            .collect::<String>()
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
    }
    Ok((kind, data))
}

fn strip_prefix_ignoring_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}
