//! What a process is told, in a form in which the answers of two machines can be compared: handles are left out, and file
//! ids are numbered in the order in which they are first met.

use std::collections::BTreeMap;
use std::fmt;

use lab::{Changes, DirectoryEntry, Handle, MappedFile, NetworkOpen, Status};

use crate::program::Call;

/// An answer as it comes from the lab.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Raw {
    None,
    Number(u64),
    Bytes(Vec<u8>),
    Entries(Vec<DirectoryEntry>),
    Changes(Changes),
    Attributes(NetworkOpen),
    Opened { handle: Handle, information: u32, granted: u32, id: u64, directory: bool },
    Mapped { view: MappedFile, size: u64 },
}

/// What a successful request gave.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing but success.
    None,
    /// A count.
    Number(u64),
    /// Data or a structure.
    Bytes(Vec<u8>),
    /// Entries of a directory, changes in it after the status, or attributes.
    Lines(Vec<String>),
    /// A handle: IoStatus.Information, what it may do, and which file it is, by number.
    Opened(u32, u32, usize),
    /// A handle to a directory.
    OpenedDirectory(u32, u32, usize),
}

/// What a process is told.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// The step names a handle that is not there: nothing was asked.
    Skipped,
    /// It waits for a lock, or for a change.
    Waits,
    /// A read or write of an asynchronous handle: what it is told comes later.
    Begun,
    /// It waits behind a handle that waits.
    Stuck,
    /// This status.
    Failed(u32),
    /// Success.
    Done(Value),
}

impl Answer {
    /// Whether something was asked.
    pub fn counts(&self) -> bool {
        *self != Answer::Skipped
    }

    /// Whether it is this failure.
    pub fn is(&self, status: Status) -> bool {
        *self == Answer::Failed(status.0)
    }

    /// Of which kind it is: a status, or success.
    pub fn kind(&self) -> String {
        match self {
            Answer::Failed(status) => format!("{status:#x}"),
            Answer::Done(_) => "done".into(),
            other => format!("{other:?}"),
        }
    }

    /// Whether it succeeded.
    pub fn is_done(&self) -> bool {
        matches!(self, Answer::Done(_))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Skipped => write!(f, "nothing was asked"),
            Answer::Waits => write!(f, "waits"),
            Answer::Begun => write!(f, "begun"),
            Answer::Stuck => write!(f, "waits behind a handle that waits"),
            Answer::Failed(status) => write!(f, "{status:#X}"),
            Answer::Done(value) => write!(f, "{value:?}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => write!(f, "-"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Lines(lines) => write!(f, "{lines:#?}"),
            Value::Opened(information, granted, file)
            | Value::OpenedDirectory(information, granted, file) => {
                write!(f, "opened: information {information}, granted {granted:#x}, file #{file}")
            }
            Value::Bytes(bytes) => {
                write!(f, "{} bytes", bytes.len())?;
                bytes.iter().take(120).try_for_each(|byte| write!(f, " {byte:02x}"))
            }
        }
    }
}

/// The number of a file id.
pub fn number_of(ids: &mut BTreeMap<u64, usize>, id: u64) -> usize {
    let next = ids.len();
    *ids.entry(id).or_insert(next)
}

/// Puts an answer into the form in which it is compared.
pub fn normalize(result: Result<Raw, Status>, call: &Call, ids: &mut BTreeMap<u64, usize>) -> Answer {
    let raw = match result {
        Ok(raw) => raw,
        Err(status) => return Answer::Failed(status.0),
    };
    Answer::Done(match raw {
        Raw::None => Value::None,
        Raw::Number(number) | Raw::Mapped { size: number, .. } => Value::Number(number),
        Raw::Bytes(mut bytes) => {
            number_ids(&mut bytes, call, ids);
            Value::Bytes(bytes)
        }
        Raw::Entries(entries) => Value::Lines(
            entries
                .into_iter()
                .map(|entry| {
                    let id = number_of(ids, entry.id);
                    // `..` of the program's folder is shared by all programs.
                    let times = if entry.name == ".." { Default::default() } else { entry.times };
                    format!(
                        "{} #{id} {times:?} {} {} {:#x}",
                        entry.name, entry.size, entry.allocation, entry.attributes
                    )
                })
                .collect(),
        ),
        Raw::Changes(Changes { status, changes }) => {
            let changes = changes.into_iter().map(|change| format!("{} {}", change.action, change.name));
            Value::Lines(std::iter::once(format!("{:#x}", status.0)).chain(changes).collect())
        }
        Raw::Attributes(found) => Value::Lines(vec![format!("{found:?}")]),
        Raw::Opened { information, granted, id, directory, .. } => {
            let open = if directory { Value::OpenedDirectory } else { Value::Opened };
            open(information, granted, number_of(ids, id))
        }
    })
}

/// Where in the structures of a class file ids are.
fn number_ids(bytes: &mut [u8], call: &Call, ids: &mut BTreeMap<u64, usize>) {
    let mut number = |bytes: &mut [u8], at: usize| {
        if let Some(field) = bytes.get_mut(at..at + 8) {
            let id = u64::from_le_bytes(field.try_into().unwrap_or_default());
            field.copy_from_slice(&(number_of(ids, id) as u64).to_le_bytes());
        }
    };
    match *call {
        Call::Stat { .. } => number(bytes, 0),
        Call::Query { class: 6 | 68, .. } => number(bytes, 0),
        Call::Query { class: 18, .. } => number(bytes, 64),
        Call::Query { class: 59, .. } => number(bytes, 8),
        Call::Query { class: 46, .. } => {
            let mut at = 8;
            while let Some(next) = bytes.get(at..at + 4) {
                let next = u32::from_le_bytes(next.try_into().unwrap_or_default()) as usize;
                number(bytes, at + 8);
                if next == 0 {
                    return;
                }
                at += next;
            }
        }
        _ => {}
    }
}
