//! A policy as its author means it: keys, rules, and values of the types of the schema.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::reg::{RegFile, RegValue};
use crate::schema::{Kind, Value, ValueSchema, kind};
use crate::text::{HostUpcase, compare};
use crate::{Key, text};

/// What a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// The elements of a list.
    List(Vec<String>),
    /// A word.
    Word(String),
    /// A number.
    Number(u32),
}

/// The values of a policy key, or of one rule in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The key that it is in.
    pub key: Key,
    /// The rule; `None`: the policy key itself.
    pub rule: Option<String>,
    /// Its values, in the order of the schema.
    pub values: Vec<(Value, Data)>,
}

/// A policy: each key itself, then its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// In order.
    pub sections: Vec<Section>,
}

/// Both keys, in the order in which they are asked.
pub(super) const KEYS: [Key; 2] = [Key::Policies, Key::Parameters];

impl Document {
    /// The policy in a registry, and a sentence for each thing that it cannot hold: values that Intact does not know,
    /// and values of a wrong type.
    pub fn from_reg(file: &RegFile) -> (Document, Vec<String>) {
        let mut document = Document::default();
        let mut left_out = Vec::new();
        for key in KEYS {
            let root: Vec<u16> = key.path().encode_utf16().collect();
            let is_root = |path: &[u16]| compare(&HostUpcase, path, &root).is_eq();
            for (path, values) in file.keys().filter(|(path, _)| is_root(path)) {
                document.add(key, path, None, values, &mut left_out);
            }
            for (path, values) in file.keys() {
                let (parent, name) = text::split_last(path, text::BACKSLASH);
                let is_rule = parent.split_last().is_some_and(|(_, parent)| is_root(parent));
                if is_rule && !key.is_foreign_rule(name) {
                    document.add(key, path, Some(name), values, &mut left_out);
                }
            }
        }
        (document, left_out)
    }

    fn add(
        &mut self,
        key: Key,
        path: &[u16],
        rule: Option<&[u16]>,
        values: &[RegValue],
        left_out: &mut Vec<String>,
    ) {
        let path = String::from_utf16_lossy(path);
        let mut section = Section { key, rule: rule.map(String::from_utf16_lossy), values: Vec::new() };
        for value in values.iter().filter(|value| !value.name.is_empty()) {
            if rule.is_none() && key.is_foreign_value(&value.name) {
                continue;
            }
            let name = String::from_utf16_lossy(&value.name);
            match Value::find(&value.name, rule.is_none()) {
                None => left_out.push(format!("[{path}] {name} is not a value that Intact knows here")),
                Some(which) => match read(which.schema(), value) {
                    Ok(data) => section.values.push((which, data)),
                    Err(why) => left_out.push(format!("[{path}] {name} {why}")),
                },
            }
        }
        section.sort();
        self.sections.push(section);
    }

    /// The registry that holds this policy.
    pub fn to_reg(&self) -> RegFile {
        let mut file = RegFile::default();
        for section in &self.sections {
            let path = match &section.rule {
                Some(rule) => format!(r"{}\{rule}", section.key.path()),
                None => section.key.path().to_string(),
            };
            let path: Vec<u16> = path.encode_utf16().collect();
            file.set(&path, None);
            for (value, data) in &section.values {
                let name = value.name().encode_utf16().collect();
                let (kind, data) = match data {
                    Data::Number(number) => (kind::DWORD, number.to_le_bytes().to_vec()),
                    Data::Word(word) => (kind::SZ, bytes(&[word, "\0"])),
                    Data::List(elements) => {
                        let parts: Vec<&str> = elements
                            .iter()
                            .flat_map(|element| [element.as_str(), "\0"])
                            .chain(["\0"])
                            .collect();
                        (kind::MULTI_SZ, bytes(&parts))
                    }
                };
                file.set(&path, Some(RegValue { name, kind, data, line: 0 }));
            }
        }
        file
    }
}

impl Section {
    pub(super) fn sort(&mut self) {
        self.values.sort_by_key(|(value, _)| Value::ALL.iter().position(|row| row.value == *value));
    }
}

fn bytes(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn read(row: &ValueSchema, value: &RegValue) -> Result<Data, String> {
    let wanted = match row.kind {
        Kind::Patterns => kind::MULTI_SZ,
        Kind::Word(_) => kind::SZ,
        Kind::Number { .. } => kind::DWORD,
    };
    if value.kind != wanted {
        return Err(format!("is {}: write it as {}", kind::name(value.kind), kind::name(wanted)));
    }
    if let Kind::Number { .. } = row.kind {
        let bytes = <[u8; 4]>::try_from(value.data.as_slice()).map_err(|_| "does not have four bytes")?;
        return Ok(Data::Number(u32::from_le_bytes(bytes)));
    }
    let (pairs, rest) = value.data.as_chunks();
    if !rest.is_empty() {
        return Err("ends within a character".to_string());
    }
    let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    let text = String::from_utf16(&units)
        .map_err(|_| "has half of a surrogate pair, which only .reg files and hives can hold".to_string())?;
    let mut elements: Vec<String> = text.split('\0').map(ToString::to_string).collect();
    while elements.last().is_some_and(String::is_empty) {
        elements.pop();
    }
    match row.kind {
        Kind::Patterns => Ok(Data::List(elements)),
        _ if elements.len() > 1 => Err("has text behind its end".to_string()),
        _ => Ok(Data::Word(elements.pop().unwrap_or_default())),
    }
}
