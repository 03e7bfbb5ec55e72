//! What a program does to a file: a small language, so that every short program can be enumerated, and a failing one
//! printed, shrunk, and given back to the command.
//!
//! A workload is a line of words: `overwrite write@0+512 flush close`. It begins with an opening, works on what it
//! opened, and ends by closing it or by the end of its process.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Opening {
    /// The existing file, to be changed in place.
    Open,
    /// The existing file, emptied.
    Overwrite,
    /// The existing file, replaced.
    Supersede,
    /// A file that does not exist yet.
    Create,
    /// A file that does not exist yet, with the read-only attribute.
    CreateReadOnly,
    /// The existing file, for appending only.
    AppendOnly,
    /// A stream of the existing file.
    Stream,
    /// A stream that the existing file does not have yet.
    NewStream,
}

/// What is done to what was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Writes so many bytes there.
    Write {
        /// The first byte.
        at: u64,
        /// How many.
        length: u32,
    },
    /// Writes so many bytes at the end.
    Append(u32),
    /// Reads all of it.
    Read,
    /// Sets the end of the file.
    Size(u64),
    /// Sets the allocation.
    Allocation(u64),
    /// Sets times and attributes.
    Basic,
    /// Sets an extended attribute.
    Ea,
    /// Sets the security descriptor.
    Security,
    /// Flushes.
    Flush,
    /// Opens the same again, writes through that handle, closes it.
    Second,
    /// Opens the same again for reading only, reads, closes.
    Reader,
    /// Opens the same again, and leaves that handle open until the process ends.
    Kept,
    /// Opens by the name that [`Action::Rename`] gives, for reading only, reads, closes.
    ReaderThere,
    /// Opens another stream of the same file that exists, writes it, closes it.
    Beside,
    /// Makes another stream of the same file, writes it, closes it.
    NewBeside,
    /// Renames it to a free name.
    Rename,
    /// Renames it over another file.
    Replace,
    /// Gives it another name.
    Link,
    /// Marks it for deletion.
    Delete,
    /// Opens another file, writes it, closes it.
    Neighbour,
    /// Renames that other file, by a handle for nothing else.
    NeighbourMoves,
    /// Another program opens the file to write it, and closes it.
    OutsiderOpens,
    /// Another program makes a file by the name that [`Action::Rename`] gives, if it can, and deletes it.
    OutsiderTakesName,
    /// Another program renames the other file, and renames it back.
    OutsiderMoves,
    /// Opens the same again to write and to execute it, and closes it.
    Executes,
    /// Makes a hole, which no transaction does: what is there is published, and the handle goes on without one.
    Zeroes,
    /// Maps all of it, writes through the view, and leaves it until the process ends.
    Mapped,
    /// Does nothing for so long that a save reaches its limit of time.
    Wait,
}

impl Action {
    /// Whether it needs no open handle.
    pub fn stands_alone(self) -> bool {
        matches!(self, Neighbour | NeighbourMoves | OutsiderOpens | OutsiderTakesName | OutsiderMoves | Wait)
    }
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// The handle is closed.
    Close,
    /// The process is killed.
    Kill,
    /// The process ends by itself with this status and the handle open.
    Exit(i32),
    /// The system aborts every live transaction; then the handle is closed.
    Abort,
}

/// One word of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Opens; later actions are about this handle.
    Open(Opening),
    /// Acts on the handle.
    Act(Action),
    /// Ends the handle or the process.
    End(Ending),
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Workload(pub Vec<Step>);

use Action::{
    Allocation, Append, Basic, Beside, Delete, Ea, Executes, Flush, Kept, Link, Mapped, Neighbour,
    NeighbourMoves, NewBeside, OutsiderMoves, OutsiderOpens, OutsiderTakesName, Read, Reader, ReaderThere,
    Rename, Replace, Second, Security, Size, Wait, Write, Zeroes,
};

/// Every opening.
pub const OPENINGS: [Opening; 8] = [
    Opening::Open,
    Opening::Overwrite,
    Opening::Supersede,
    Opening::Create,
    Opening::CreateReadOnly,
    Opening::AppendOnly,
    Opening::Stream,
    Opening::NewStream,
];

/// The actions that are enumerated: for writes and sizes one of each kind that the file system treats differently.
/// The file has three sectors and a part of a fourth. [`Action::Kept`], [`Action::ReaderThere`],
/// [`Action::Executes`], [`Action::Zeroes`], [`Action::Mapped`] and those that stand alone are for programs that are written by hand.
pub const ACTIONS: [Action; 22] = [
    // Within a sector, over a whole file and more, past the end with a hole.
    Write { at: 700, length: 900 },
    Write { at: 0, length: 2200 },
    Write { at: 5000, length: 300 },
    Append(600),
    Read,
    Size(0),
    Size(1000),
    Size(4700),
    Allocation(9000),
    Allocation(0),
    Basic,
    Ea,
    Security,
    Flush,
    Second,
    Reader,
    Beside,
    NewBeside,
    Rename,
    Replace,
    Link,
    Delete,
];

/// Every ending.
pub const ENDINGS: [Ending; 5] =
    [Ending::Close, Ending::Kill, Ending::Exit(0), Ending::Exit(1), Ending::Abort];

impl Workload {
    /// Every workload with so many actions between opening and ending.
    pub fn all(actions: u32) -> impl Iterator<Item = Workload> {
        let count = ACTIONS.len().pow(actions);
        OPENINGS.into_iter().flat_map(move |opening| {
            (0..count).flat_map(move |number| {
                ENDINGS.into_iter().map(move |ending| {
                    let mut steps = vec![Step::Open(opening)];
                    let mut rest = number;
                    for _ in 0..actions {
                        steps.push(Step::Act(ACTIONS[rest % ACTIONS.len()]));
                        rest /= ACTIONS.len();
                    }
                    steps.push(Step::End(ending));
                    Workload(steps)
                })
            })
        })
    }

    /// Its opening, for the report.
    pub fn opening(&self) -> Option<Opening> {
        self.0.iter().find_map(|step| if let Step::Open(opening) = step { Some(*opening) } else { None })
    }

    /// Its last ending.
    pub fn ending(&self) -> Option<Ending> {
        self.0.iter().rev().find_map(|step| if let Step::End(ending) = step { Some(*ending) } else { None })
    }

    /// The actions between.
    pub fn actions(&self) -> usize {
        self.0.iter().filter(|step| matches!(step, Step::Act(_))).count()
    }

    /// The same without one of its actions, each in turn: for finding the shortest that still fails.
    pub fn shorter(&self) -> impl Iterator<Item = Workload> + '_ {
        let actions = (0..self.0.len()).filter(|at| matches!(self.0[*at], Step::Act(_)));
        actions.map(|at| {
            let mut steps = self.0.clone();
            steps.remove(at);
            Workload(steps)
        })
    }
}

const NAMES: [(&str, Step); 38] = [
    ("open", Step::Open(Opening::Open)),
    ("overwrite", Step::Open(Opening::Overwrite)),
    ("supersede", Step::Open(Opening::Supersede)),
    ("create", Step::Open(Opening::Create)),
    ("create-read-only", Step::Open(Opening::CreateReadOnly)),
    ("append-only", Step::Open(Opening::AppendOnly)),
    ("stream", Step::Open(Opening::Stream)),
    ("new-stream", Step::Open(Opening::NewStream)),
    ("read", Step::Act(Read)),
    ("basic", Step::Act(Basic)),
    ("ea", Step::Act(Ea)),
    ("security", Step::Act(Security)),
    ("flush", Step::Act(Flush)),
    ("second", Step::Act(Second)),
    ("reader", Step::Act(Reader)),
    ("kept", Step::Act(Kept)),
    ("reader-there", Step::Act(ReaderThere)),
    ("beside", Step::Act(Beside)),
    ("new-beside", Step::Act(NewBeside)),
    ("rename", Step::Act(Rename)),
    ("replace", Step::Act(Replace)),
    ("link", Step::Act(Link)),
    ("delete", Step::Act(Delete)),
    ("neighbour", Step::Act(Neighbour)),
    ("neighbour-moves", Step::Act(NeighbourMoves)),
    ("outsider-opens", Step::Act(OutsiderOpens)),
    ("outsider-takes-name", Step::Act(OutsiderTakesName)),
    ("outsider-moves", Step::Act(OutsiderMoves)),
    ("mapped", Step::Act(Mapped)),
    ("executes", Step::Act(Executes)),
    ("zeroes", Step::Act(Zeroes)),
    ("wait", Step::Act(Wait)),
    ("close", Step::End(Ending::Close)),
    ("kill", Step::End(Ending::Kill)),
    ("abort", Step::End(Ending::Abort)),
    // Those with a number are shown as an example.
    ("write@700+900", Step::Act(ACTIONS[0])),
    ("append+600", Step::Act(ACTIONS[3])),
    ("size=0", Step::Act(ACTIONS[5])),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Act(Write { at, length }) => write!(f, "write@{at}+{length}"),
            Step::Act(Append(length)) => write!(f, "append+{length}"),
            Step::Act(Size(size)) => write!(f, "size={size}"),
            Step::Act(Allocation(size)) => write!(f, "allocation={size}"),
            Step::End(Ending::Exit(status)) => write!(f, "exit={status}"),
            other => match NAMES.iter().find(|(_, step)| step == other) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{other:?}"),
            },
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(word: &str) -> Result<Step, String> {
        if let Some((_, step)) = NAMES.iter().find(|(name, _)| *name == word) {
            return Ok(*step);
        }
        let number = |prefix: &str| word.strip_prefix(prefix)?.parse::<u64>().ok();
        if let Some((at, length)) = word.strip_prefix("write@").and_then(|rest| rest.split_once('+'))
            && let (Ok(at), Ok(length)) = (at.parse(), length.parse())
        {
            return Ok(Step::Act(Write { at, length }));
        }
        if let Some(length) = number("append+").and_then(|length| u32::try_from(length).ok()) {
            return Ok(Step::Act(Append(length)));
        }
        if let Some(size) = number("size=") {
            return Ok(Step::Act(Size(size)));
        }
        if let Some(size) = number("allocation=") {
            return Ok(Step::Act(Allocation(size)));
        }
        if let Some(Ok(status)) = word.strip_prefix("exit=").map(str::parse) {
            return Ok(Step::End(Ending::Exit(status)));
        }
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        Err(format!(
            "{word:?} is no step of a workload; there are {}, allocation=0, exit=1",
            known.join(", ")
        ))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Step::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(line: &str) -> Result<Workload, String> {
        let steps = line.split_whitespace().map(str::parse).collect::<Result<Vec<Step>, _>>()?;
        match (steps.first(), steps.last()) {
            (Some(Step::Open(_)), Some(Step::End(_))) => Ok(Workload(steps)),
            _ => Err(format!("{line:?} does not begin with an opening and end with an ending")),
        }
    }
}

impl TryFrom<String> for Workload {
    type Error = String;

    fn try_from(line: String) -> Result<Workload, String> {
        line.parse()
    }
}

impl From<Workload> for String {
    fn from(workload: Workload) -> String {
        workload.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        let mut count = 0;
        for workload in Workload::all(1) {
            assert_eq!(workload.to_string().parse(), Ok(workload));
            count += 1;
        }
        assert_eq!(count, OPENINGS.len() * ACTIONS.len() * ENDINGS.len());
    }

    #[test]
    fn a_wrong_word_is_named_with_the_known_ones() {
        let error = "open wirte close".parse::<Workload>().unwrap_err();
        assert!(error.contains("wirte") && error.contains("write@700+900"), "{error}");
        assert!("write@0+1 close".parse::<Workload>().unwrap_err().contains("opening"));
        assert!("open write@0+1".parse::<Workload>().is_err());
    }

    #[test]
    fn two_actions_are_every_pair_in_every_frame() {
        let all: std::collections::BTreeSet<Workload> = Workload::all(2).collect();
        assert_eq!(all.len(), OPENINGS.len() * ACTIONS.len().pow(2) * ENDINGS.len());
    }

    #[test]
    fn a_shorter_one_lacks_one_action() {
        let workload: Workload = "open read flush close".parse().unwrap();
        let shorter: Vec<String> = workload.shorter().map(|shorter| shorter.to_string()).collect();
        assert_eq!(shorter, ["open flush close", "open read close"]);
    }
}
