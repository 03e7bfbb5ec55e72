//! A `.reg` file from what it leaves behind.

use std::fmt::Write as _;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::{RegFile, RegValue};
use crate::kind;

/// Longest line, as Regedit breaks them.
const WIDTH: usize = 78;

pub(super) fn text(file: &RegFile) -> String {
    let mut out = String::from("Windows Registry Editor Version 5.00\r\n");
    for (path, values) in file.keys() {
        let _ = write!(out, "\r\n[{}]\r\n", String::from_utf16_lossy(path));
        for value in values {
            out.push_str(&line(value));
        }
    }
    out
}

fn line(value: &RegValue) -> String {
    let name = match value.name.as_slice() {
        [] => String::from("@"),
        name => quoted(&String::from_utf16_lossy(name)),
    };
    if let (kind::DWORD, Ok(bytes)) = (value.kind, <[u8; 4]>::try_from(value.data.as_slice())) {
        return format!("{name}=dword:{:08x}\r\n", u32::from_le_bytes(bytes));
    }
    if let (kind::SZ, Some(text)) = (value.kind, plain(&value.data)) {
        return format!("{name}={}\r\n", quoted(&text));
    }
    let mut out = String::new();
    if value.kind == kind::MULTI_SZ {
        let units: Vec<u16> = value.data.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let elements = units.split(|&unit| unit == 0).filter(|element| !element.is_empty());
        for element in elements {
            let shown =
                String::from_utf16_lossy(element).replace(|letter: char| letter.is_control(), "\u{FFFD}");
            let _ = write!(out, "; {}: {shown}\r\n", String::from_utf16_lossy(&value.name));
        }
    }
    let mut row = match value.kind {
        kind::BINARY => format!("{name}=hex:"),
        other => format!("{name}=hex({other:x}):"),
    };
    let last = value.data.len().saturating_sub(1);
    for (place, byte) in value.data.iter().enumerate() {
        let _ = write!(row, "{byte:02x}");
        if place < last {
            row.push(',');
            if row.len() >= WIDTH.saturating_sub(3) {
                row.push_str("\\\r\n");
                out.push_str(&row);
                row = String::from("  ");
            }
        }
    }
    out.push_str(&row);
    out.push_str("\r\n");
    out
}

/// The text of a value that can stand between quotes.
fn plain(data: &[u8]) -> Option<String> {
    let (pairs, rest) = data.as_chunks();
    let (end, units) = pairs.split_last()?;
    let units: Vec<u16> = units.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let text = String::from_utf16(&units).ok()?;
    (rest.is_empty() && *end == [0, 0] && !text.contains(|letter: char| letter.is_control())).then_some(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
