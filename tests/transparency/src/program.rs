//! A program: what one or several processes ask of the file system, step by step, as data. It is generated, run, printed,
//! read back, and shortened.

use std::fmt;
use std::str::FromStr;

/// Names that programs use, below their own folder. The first ones are met most often, so that programs meet themselves
/// and each other.
pub const NAMES: [&str; 17] = [
    "report.txt",
    "new.txt",
    "REPORT.TXT",
    "report.txt:notes",
    "data.bin",
    "empty.txt",
    "new.txt:more",
    r"sub\inner.txt",
    "",
    "sub",
    "other.txt",
    "report.txt::$DATA",
    r"missing\file.txt",
    "readonly.txt",
    "data.bin:extra",
    r"sub\fresh.txt",
    "sparse.bin",
];

/// Handles that a program can hold at one time.
pub const SLOTS: u64 = 6;
/// Views that a program can have at one time.
pub const VIEWS: u64 = 3;
/// Processes that take part in a program.
pub const PROCESSES: u64 = 3;

/// For a place to read or write: where the handle's file position is.
pub const POSITION: u64 = u64::MAX;
/// For a place to write: the end of the file.
pub const END: u64 = u64::MAX - 1;

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $word:literal { $($field:ident),* })*) => {
        /// One request. Every parameter is a number, so that programs are shortened and printed in one way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Call {
            $($(#[$doc])* $name { $($field: u64),* },)*
        }

        impl Call {
            /// The word that stands for it in a program's text.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Call::$name { .. } => $word,)*
                }
            }

            /// Its parameters, by name.
            pub fn fields(&self) -> Vec<(&'static str, u64)> {
                match *self {
                    $(Call::$name { $($field),* } => vec![$((stringify!($field), $field)),*],)*
                }
            }

            /// Its parameters, to be changed.
            pub fn fields_mut(&mut self) -> Vec<&mut u64> {
                match self {
                    $(Call::$name { $($field),* } => vec![$($field),*],)*
                }
            }

            /// The view that it is about, if it is about one that is there.
    pub fn view(&self) -> Option<u64> {
        match *self {
            Call::ReadView { view, .. }
            | Call::WriteView { view, .. }
            | Call::FlushView { view }
            | Call::Unmap { view } => Some(view % VIEWS),
            _ => None,
        }
    }

    /// The slot of the handle that it is about, if it is about one that is there.
    pub fn slot(&self) -> Option<u64> {
        match *self {
            Call::Open { .. }
            | Call::Attributes { .. }
            | Call::Stat { .. }
            | Call::Exit { .. }
            | Call::Kill { .. }
            | Call::PageWriter {} => None,
            _ if self.view().is_some() => None,
            _ => self.fields().first().map(|(_, slot)| slot % SLOTS),
        }
    }

    fn parse(word: &str, mut take: impl FnMut(&str) -> Result<u64, String>) -> Result<Call, String> {
                match word {
                    $($word => Ok(Call::$name { $($field: take(stringify!($field))?),* }),)*
                    _ => Err(format!("there is no call {word:?}; there are {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

calls! {
    /// NtCreateFile. `how`: 0 by path, 1 by the device's path, 2 below the handle `root`, 3 by the id of what the handle
    /// `root` stands for. `ea` and `security`: with one for a new file.
    Open "open" { slot, name, how, root, access, share, disposition, options, attributes, allocation, ea, security }
    Close "close" { slot }
    Read "read" { slot, at, length }
    Write "write" { slot, at, length, fill }
    Flush "flush" { slot }
    /// `wait`: until the range is free.
    Lock "lock" { slot, start, length, exclusive, wait }
    Unlock "unlock" { slot, start, length }
    Query "query" { slot, class, length }
    /// FileBasicInformation; times in units of a day from an early one, zero leaves a time alone.
    Basic "basic" { slot, creation, write, attributes }
    /// A class whose buffer is one number of eight bytes: position, allocation, end of file, valid data length.
    Set "set" { slot, class, value }
    /// NtFsControlFile with two numbers as input.
    Control "control" { slot, code, first, second, output }
    SetEa "set-ea" { slot, name, length }
    QueryEa "query-ea" { slot }
    SetSecurity "set-security" { slot, which }
    QuerySecurity "query-security" { slot }
    QueryVolume "query-volume" { slot, class, length }
    /// The whole of a directory; `pattern` picks one of a few.
    List "list" { slot, pattern }
    /// NtQueryFullAttributesFile.
    Attributes "attributes" { name }
    /// NtQueryInformationByName.
    Stat "stat" { name }
    /// FileRenameInformation, or its Ex form with these flags.
    Rename "rename" { slot, name, replace, ex }
    /// FileLinkInformation, or its Ex form with these flags.
    Link "link" { slot, name, replace, ex }
    /// FileDispositionInformation, or its Ex form with these flags.
    Dispose "dispose" { slot, delete, ex }
    /// A section over what `slot` stands for, and a view of all of it: as long as the file for a size of zero.
    Map "map" { slot, view, writable, size }
    /// Reads through a view.
    ReadView "read-view" { view, at, length }
    /// Writes through a view.
    WriteView "write-view" { view, at, length, fill }
    /// NtFlushVirtualMemory.
    FlushView "flush-view" { view }
    /// Unmaps a view and closes its section.
    Unmap "unmap" { view }
    /// The mapped page writer has its turn.
    PageWriter "page-writer" { }
    /// NtNotifyChangeDirectoryFile on a handle that does not wait; what comes of it is for `changes` to find out, if it does
    /// not end at once.
    Watch "watch" { slot, filter, tree, length }
    /// Looks what the last `watch` of this slot was told.
    Changes "changes" { slot }
    /// CancelIoEx: whatever its process has under way on a handle.
    Cancel "cancel" { slot }
    /// Gives `process` a handle in `to` of what `slot` stands for.
    Duplicate "duplicate" { slot, to, process }
    /// The process ends by itself.
    Exit "exit" { status }
    /// The process is ended from outside.
    Kill "kill" { status }
}

/// A request, and the process that makes it. A request on a handle is made by the process that holds it, one on a view by
/// the process that has mapped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which process.
    pub process: u64,
    /// What it asks for.
    pub call: Call,
}

/// A program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// In this order.
    pub steps: Vec<Step>,
}

fn number(field: &str, value: u64) -> String {
    match (field, value) {
        ("at", POSITION) => "position".into(),
        ("at", END) => "end".into(),
        ("access" | "options" | "attributes" | "code" | "status" | "share" | "filter", _) => {
            format!("{value:#x}")
        }
        _ => value.to_string(),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} {}", self.process, self.call.word())?;
        for (field, value) in self.call.fields() {
            write!(f, " {field}={}", number(field, value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            write!(f, "{step}")?;
            // For people; not read back.
            match step.call {
                Call::Open { name, .. }
                | Call::Rename { name, .. }
                | Call::Link { name, .. }
                | Call::Attributes { name }
                | Call::Stat { name } => writeln!(f, "  # {}", name_of(name))?,
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// The name that stands behind a number.
pub fn name_of(name: u64) -> &'static str {
    NAMES[name as usize % NAMES.len()]
}

fn parse_number(text: &str) -> Result<u64, String> {
    match (text, text.strip_prefix("0x")) {
        ("position", _) => Ok(POSITION),
        ("end", _) => Ok(END),
        (_, Some(hex)) => u64::from_str_radix(hex, 16).map_err(|_| format!("{text:?} is not a number")),
        _ => text.parse().map_err(|_| format!("{text:?} is not a number")),
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Step, String> {
        let mut words = line.split_whitespace();
        let process = words.next().unwrap_or_default();
        let Some(process) = process.strip_prefix('p').and_then(|digits| digits.parse().ok()) else {
            return Err(format!("a step begins with its process, such as p0, not with {process:?}"));
        };
        let word = words.next().unwrap_or_default();
        let mut given = words
            .map(|word| match word.split_once('=') {
                Some((field, value)) => Ok((field, parse_number(value)?)),
                None => Err(format!("{word:?} is not of the form NAME=NUMBER")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let call = Call::parse(word, |field| match given.iter().position(|(name, _)| *name == field) {
            Some(at) => Ok(given.swap_remove(at).1),
            None => Err(format!("{word} needs {field}=NUMBER")),
        })?;
        match given.first() {
            Some((field, _)) => Err(format!("{word} has no {field}")),
            None => Ok(Step { process, call }),
        }
    }
}

impl FromStr for Program {
    type Err = String;

    /// One step a line; `#` begins a comment.
    fn from_str(text: &str) -> Result<Program, String> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                steps.push(line.parse().map_err(|error| format!("line {}: {error}", index + 1))?);
            }
        }
        Ok(Program { steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..200 {
            let program = crate::generate::program(seed, &crate::generate::Focus::default());
            assert_eq!(program.to_string().parse::<Program>(), Ok(program));
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_says_what_and_where() {
        for (text, expected) in [
            ("p0 close slot=1\nread slot=1", "line 2: a step begins with its process"),
            ("p0 shut slot=1", "there is no call \"shut\""),
            ("p0 close", "close needs slot=NUMBER"),
            ("p0 close slot=x", "\"x\" is not a number"),
            ("p0 close slot=1 at=2", "close has no at"),
        ] {
            let error = text.parse::<Program>().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
