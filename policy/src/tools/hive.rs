//! Registry hives, as Windows keeps them in `System32\config` and as `reg save` writes them.
//!
//! Only what leads to the policy is read, and nothing in a file is trusted: every offset and length is checked against
//! the file, lists do not nest deeper than Windows nests them, and what is read in all is bounded. What transaction logs
//! (`.LOG1`, `.LOG2`) hold is not applied; a hive that needs them is named.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::reg::{RegFile, RegValue};
use crate::text::{HostUpcase, compare};
use crate::{Key, MAX_UNITS, Value};

/// The beginning of every hive.
pub const SIGNATURE: &[u8] = b"regf";

/// Where cells are counted from.
const BINS: usize = 0x1000;
/// Most data in one piece; more is kept in several.
const PIECE: usize = 16_344;
const NONE: u32 = u32::MAX;
/// A key or value name in one byte per character.
const NARROW_KEY: u16 = 0x20;
const NARROW_VALUE: u16 = 1;

/// Reads the policy keys of a SOFTWARE hive, a SYSTEM hive, or one saved from a policy key itself. The second part is
/// what a reader should know about the file.
pub fn read_hive(bytes: &[u8]) -> Result<(RegFile, Vec<String>), String> {
    let hive = Hive { bytes };
    if !bytes.starts_with(SIGNATURE) {
        return Err("this is no registry hive".to_string());
    }
    let mut notes = Vec::new();
    if hive.u32(4)? != hive.u32(8)? {
        notes.push(
            "the hive was not closed cleanly: changes that are only in its .LOG files are missing"
                .to_string(),
        );
    }
    let root = hive.key(hive.u32(0x24)?)?;
    let mut reader = Reader { hive, file: RegFile::default(), left: MAX_UNITS.saturating_mul(2) };
    let mut found = false;
    if let Some(key) = hive.find(root, &["Policies", "Intact"])? {
        reader.policy(key, Key::Policies)?;
        found = true;
    }
    if let Some(select) = hive.find(root, &["Select"])? {
        let current = hive.value(select, "Current")?.and_then(|value| value.data.first_chunk().copied());
        let set = format!("ControlSet{:03}", current.map_or(1, u32::from_le_bytes));
        if let Some(key) = hive.find(root, &[&set, "Services", "Intact", "Parameters"])? {
            reader.policy(key, Key::Parameters)?;
            found = true;
        }
        notes.push(format!("{set} is the current control set"));
    }
    if !found && hive.is_policy(root)? {
        reader.policy(root, Key::Policies)?;
        notes.push(format!("the hive's root is taken for {}", Key::Policies.path()));
        found = true;
    }
    if !found {
        notes.push("the hive holds no policy of Intact".to_string());
    }
    Ok((reader.file, notes))
}

#[derive(Clone, Copy)]
struct Hive<'h> {
    bytes: &'h [u8],
}

/// A key: the content of its cell.
#[derive(Clone, Copy)]
struct KeyCell<'h>(&'h [u8]);

impl<'h> Hive<'h> {
    fn u32(self, at: usize) -> Result<u32, String> {
        number(self.bytes, at)
    }

    /// The content of a cell.
    fn cell(self, offset: u32) -> Result<&'h [u8], String> {
        let outside = || format!("the hive is damaged: there is no cell at {offset:#x}");
        let at =
            usize::try_from(offset).ok().and_then(|offset| offset.checked_add(BINS)).ok_or_else(outside)?;
        let size = number(self.bytes, at)?.cast_signed();
        // Cells in use have negative sizes, their own four bytes included.
        let size = usize::try_from(size.checked_neg().unwrap_or(0)).map_err(|_| outside())?;
        let content = self.bytes.get(at..).and_then(|rest| rest.get(4..size));
        content.ok_or_else(outside)
    }

    fn key(self, offset: u32) -> Result<KeyCell<'h>, String> {
        let cell = self.cell(offset)?;
        if cell.starts_with(b"nk") {
            Ok(KeyCell(cell))
        } else {
            Err(format!("the hive is damaged: the cell at {offset:#x} is no key"))
        }
    }

    /// The subkeys' offsets.
    fn subkeys(self, key: KeyCell<'h>) -> Result<Vec<u32>, String> {
        let (count, list) = (number(key.0, 20)?, number(key.0, 28)?);
        if count == 0 || list == NONE {
            return Ok(Vec::new());
        }
        let list = self.cell(list)?;
        let mut subkeys = Vec::new();
        if list.starts_with(b"ri") {
            for part in entries(list, 4) {
                subkeys.extend(leaves(self.cell(part)?)?);
                if subkeys.len() > self.bytes.len() {
                    return Err("the hive is damaged: it lists more keys than it can hold".to_string());
                }
            }
        } else {
            subkeys.extend(leaves(list)?);
        }
        Ok(subkeys)
    }

    fn find(self, mut key: KeyCell<'h>, path: &[&str]) -> Result<Option<KeyCell<'h>>, String> {
        'path: for name in path {
            let name: Vec<u16> = name.encode_utf16().collect();
            for subkey in self.subkeys(key)? {
                let subkey = self.key(subkey)?;
                if compare(&HostUpcase, &subkey.name()?, &name).is_eq() {
                    key = subkey;
                    continue 'path;
                }
            }
            return Ok(None);
        }
        Ok(Some(key))
    }

    /// The values' offsets.
    fn values(self, key: KeyCell<'h>) -> Result<Vec<u32>, String> {
        let (count, list) = (number(key.0, 36)?, number(key.0, 40)?);
        if count == 0 || list == NONE {
            return Ok(Vec::new());
        }
        let offsets = self.cell(list)?.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        Ok(offsets.take(usize::try_from(count).unwrap_or(usize::MAX)).collect())
    }

    fn value(self, key: KeyCell<'h>, name: &str) -> Result<Option<RegValue>, String> {
        let name: Vec<u16> = name.encode_utf16().collect();
        for offset in self.values(key)? {
            let value = self.read(offset)?;
            if compare(&HostUpcase, &value.name, &name).is_eq() {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn read(self, offset: u32) -> Result<RegValue, String> {
        let cell = self.cell(offset)?;
        if !cell.starts_with(b"vk") {
            return Err(format!("the hive is damaged: the cell at {offset:#x} is no value"));
        }
        let name = name(cell, 20, short(cell, 2)?, short(cell, 16)? & NARROW_VALUE != 0)?;
        let size = number(cell, 4)?;
        let length = usize::try_from(size & 0x7FFF_FFFF).unwrap_or(usize::MAX);
        let data = if size & 0x8000_0000 != 0 {
            cell.get(8..12)
                .and_then(|inside| inside.get(..length))
                .ok_or("the hive is damaged: a value has more data than fits into it")?
                .to_vec()
        } else if length == 0 {
            Vec::new()
        } else {
            self.data(number(cell, 8)?, length)?
        };
        Ok(RegValue { name, kind: number(cell, 12)?, data, line: 0 })
    }

    fn data(self, offset: u32, length: usize) -> Result<Vec<u8>, String> {
        let cell = self.cell(offset)?;
        let short = || format!("the hive is damaged: the data at {offset:#x} is shorter than its value says");
        if length <= PIECE || !cell.starts_with(b"db") {
            return Ok(cell.get(..length).ok_or_else(short)?.to_vec());
        }
        let mut data = Vec::new();
        let pieces = self.cell(number(cell, 4)?)?.as_chunks().0;
        for piece in pieces.iter().take(usize::from(self::short(cell, 2)?)) {
            let left = length.saturating_sub(data.len()).min(PIECE);
            let piece = self.cell(u32::from_le_bytes(*piece))?;
            data.extend_from_slice(piece.get(..left).ok_or_else(short)?);
        }
        if data.len() == length { Ok(data) } else { Err(short()) }
    }

    /// Whether a key looks like a policy key: it, or a subkey of it, has a value of the schema.
    fn is_policy(self, key: KeyCell<'h>) -> Result<bool, String> {
        for row in Value::ALL.iter().filter(|row| row.at_root) {
            if self.value(key, row.name)?.is_some() {
                return Ok(true);
            }
        }
        for subkey in self.subkeys(key)? {
            if self.value(self.key(subkey)?, Value::Paths.name())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl KeyCell<'_> {
    fn name(self) -> Result<Vec<u16>, String> {
        name(self.0, 76, short(self.0, 72)?, short(self.0, 2)? & NARROW_KEY != 0)
    }
}

struct Reader<'h> {
    hive: Hive<'h>,
    file: RegFile,
    /// Bytes that may still be read.
    left: usize,
}

impl<'h> Reader<'h> {
    fn policy(&mut self, key: KeyCell<'h>, which: Key) -> Result<(), String> {
        let path: Vec<u16> = which.path().encode_utf16().collect();
        self.values(key, &path)?;
        for rule in self.hive.subkeys(key)? {
            let rule = self.hive.key(rule)?;
            let mut path = path.clone();
            path.push(u16::from(b'\\'));
            path.extend(rule.name()?);
            self.values(rule, &path)?;
        }
        Ok(())
    }

    fn values(&mut self, key: KeyCell<'h>, path: &[u16]) -> Result<(), String> {
        self.spend(path.len())?;
        self.file.set(path, None);
        for value in self.hive.values(key)? {
            let value = self.hive.read(value)?;
            self.spend(value.data.len().saturating_add(value.name.len()))?;
            self.file.set(path, Some(value));
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), String> {
        // Even what is empty costs something.
        let left = self.left.checked_sub(bytes.saturating_add(16));
        self.left = left.ok_or("the policy in the hive is larger than any that Intact takes")?;
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32, String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(|| "the hive ends too early".to_string())
}

fn short(bytes: &[u8], at: usize) -> Result<u16, String> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map(|bytes| u16::from_le_bytes(*bytes)).ok_or_else(|| "the hive ends too early".to_string())
}

fn name(cell: &[u8], at: usize, length: u16, is_narrow: bool) -> Result<Vec<u16>, String> {
    let bytes = cell.get(at..).and_then(|rest| rest.get(..usize::from(length)));
    let bytes = bytes.ok_or("the hive is damaged: a name is longer than its cell")?;
    Ok(if is_narrow {
        bytes.iter().map(|&byte| u16::from(byte)).collect()
    } else {
        bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
    })
}

/// The offsets in a list whose elements have `size` bytes and begin with one.
fn entries(list: &[u8], size: usize) -> impl Iterator<Item = u32> {
    let count = short(list, 2).map_or(0, usize::from);
    let all = list.get(4..).unwrap_or_default().chunks_exact(size);
    all.filter_map(|entry| entry.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))).take(count)
}

fn leaves(list: &[u8]) -> Result<impl Iterator<Item = u32>, String> {
    match list.get(..2) {
        Some(b"lf" | b"lh") => Ok(entries(list, 8)),
        Some(b"li") => Ok(entries(list, 4)),
        _ => Err("the hive is damaged: a list of keys is of no known kind".to_string()),
    }
}
