//! Decoding self-describing events: provider and event metadata, then one value per field (TraceLoggingProvider.h,
//! *TraceLogging metadata*).

use std::fmt;

/// Types of data descriptors.
const EVENT_METADATA: u8 = 1;
const PROVIDER_METADATA: u8 = 2;

const CHAIN: u8 = 0x80;
const KIND: u8 = 0x1F;
const CONSTANT_COUNT: u8 = 0x20;
const VARIABLE_COUNT: u8 = 0x40;
const STRUCT: u8 = 24;

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A string.
    Text(String),
    /// A signed number.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// A number that is meant to be shown in hexadecimal, such as a status.
    Hex(u64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Bytes: binary data, a GUID, a SID, a time structure.
    Bytes(Vec<u8>),
    /// Several values.
    Array(Vec<Field>),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Hex(value) => write!(f, "{value:#x}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|b| write!(f, "{b:02x}")),
            Self::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A decoded event.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) provider: String,
    pub(super) event: String,
    pub(super) fields: Vec<(String, Field)>,
}

/// Bytes read from the front.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'b [u8], String> {
        if count > self.0.len() {
            return Err(format!("{what}: {count} bytes are needed, {} are left", self.0.len()));
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self, what: &str) -> Result<u8, String> {
        Ok(self.take(1, what)?[0])
    }

    fn word(&mut self, what: &str) -> Result<u16, String> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn number(&mut self, bytes: usize, what: &str) -> Result<u64, String> {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(self.take(bytes, what)?);
        Ok(u64::from_le_bytes(value))
    }

    fn name(&mut self, what: &str) -> Result<String, String> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(|| format!("{what} has no terminator"))?;
        let name =
            String::from_utf8(self.take(end, what)?.to_vec()).map_err(|_| format!("{what} is not UTF-8"))?;
        self.take(1, what)?;
        Ok(name)
    }

    /// A tag: seven bits a byte, the highest bit says that another follows.
    fn tag(&mut self, what: &str) -> Result<(), String> {
        while self.byte(what)? & CHAIN != 0 {}
        Ok(())
    }

    fn wide(&mut self, what: &str) -> Result<String, String> {
        let mut units = Vec::new();
        loop {
            match self.word(what)? {
                0 => return Ok(String::from_utf16_lossy(&units)),
                unit => units.push(unit),
            }
        }
    }
}

/// The metadata block of a kind, without its leading length, which must be right.
fn metadata<'b>(blocks: &'b [(u8, Vec<u8>)], kind: u8, what: &str) -> Result<Reader<'b>, String> {
    let (_, bytes) = blocks.iter().find(|(k, _)| *k == kind).ok_or_else(|| format!("no {what} metadata"))?;
    let mut reader = Reader(bytes);
    let said = usize::from(reader.word(what)?);
    if said != bytes.len() {
        return Err(format!("{what} metadata says {said} bytes, but its block has {}", bytes.len()));
    }
    Ok(reader)
}

pub(super) fn decode(blocks: &[(u8, Vec<u8>)], data: &[u8]) -> Result<Decoded, String> {
    let provider = metadata(blocks, PROVIDER_METADATA, "provider")?.name("the provider's name")?;
    let mut description = metadata(blocks, EVENT_METADATA, "event")?;
    description.tag("the event's tag")?;
    let event = description.name("the event's name")?;
    let mut fields = Vec::new();
    let mut data = Reader(data);
    while !description.0.is_empty() {
        field(&mut description, &mut data, "", &mut fields)
            .map_err(|what| format!("event {event}: {what}"))?;
    }
    if data.0.is_empty() {
        Ok(Decoded { provider, event, fields })
    } else {
        Err(format!("event {event}: {} bytes of data are left after the last field", data.0.len()))
    }
}

fn field(
    description: &mut Reader<'_>,
    data: &mut Reader<'_>,
    prefix: &str,
    fields: &mut Vec<(String, Field)>,
) -> Result<(), String> {
    let name = format!("{prefix}{}", description.name("a field's name")?);
    let kind = description.byte(&name)?;
    let mut output = 0;
    if kind & CHAIN != 0 {
        let byte = description.byte(&name)?;
        output = byte & !CHAIN;
        if byte & CHAIN != 0 {
            description.tag(&name)?;
        }
    }
    let count = match kind & (CONSTANT_COUNT | VARIABLE_COUNT) {
        0 => None,
        CONSTANT_COUNT => Some(description.word(&name)?),
        VARIABLE_COUNT => Some(data.word(&name)?),
        _ => return Err(format!("field {name}: custom serialisation is not decoded")),
    };
    if kind & KIND == STRUCT {
        if count.is_some() {
            return Err(format!("field {name}: arrays of structures are not decoded"));
        }
        for _ in 0..output {
            field(description, data, &format!("{name}."), fields)?;
        }
        return Ok(());
    }
    let value = match count {
        None => value(kind & KIND, data, &name)?,
        Some(count) => {
            let values = (0..count).map(|_| value(kind & KIND, data, &name));
            Field::Array(values.collect::<Result<_, _>>()?)
        }
    };
    fields.push((name, value));
    Ok(())
}

fn value(kind: u8, data: &mut Reader<'_>, name: &str) -> Result<Field, String> {
    Ok(match kind {
        1 => Field::Text(data.wide(name)?),
        2 => Field::Text(data.name(name)?),
        3 => Field::Signed(i64::from(data.number(1, name)? as i8)),
        4 => Field::Unsigned(data.number(1, name)?),
        5 => Field::Signed(i64::from(data.number(2, name)? as i16)),
        6 => Field::Unsigned(data.number(2, name)?),
        7 => Field::Signed(i64::from(data.number(4, name)? as i32)),
        8 => Field::Unsigned(data.number(4, name)?),
        9 => Field::Signed(data.number(8, name)? as i64),
        10 | 17 => Field::Unsigned(data.number(8, name)?),
        11 => Field::Float(f64::from(f32::from_bits(data.number(4, name)? as u32))),
        12 => Field::Float(f64::from_bits(data.number(8, name)?)),
        13 => Field::Bool(data.number(4, name)? != 0),
        14 | 25 => {
            let length = data.word(name)?;
            Field::Bytes(data.take(usize::from(length), name)?.to_vec())
        }
        15 | 18 => Field::Bytes(data.take(16, name)?.to_vec()),
        16 | 21 => Field::Hex(data.number(8, name)?),
        19 => {
            let count = *data.0.get(1).ok_or_else(|| format!("{name}: a SID is cut off"))?;
            Field::Bytes(data.take(8 + 4 * usize::from(count), name)?.to_vec())
        }
        20 => Field::Hex(data.number(4, name)?),
        22 => {
            let length = usize::from(data.word(name)?);
            let bytes = data.take(length & !1, name)?;
            let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            Field::Text(String::from_utf16_lossy(&units))
        }
        23 => {
            let length = usize::from(data.word(name)?);
            Field::Text(String::from_utf8_lossy(data.take(length, name)?).into_owned())
        }
        other => return Err(format!("field {name}: unknown type {other}")),
    })
}
