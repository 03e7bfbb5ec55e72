//! Scenarios of saving: what programs do, step by step, and what must be left of each file.
//!
//! A scenario is data. Two runners perform it: one in the lab, by requests of lab processes with the real
//! `intact.sys` below them (this crate's tests), and one on Windows, by the native API (`intact-faults`). Whatever
//! the second finds can so be compared with the first.
//!
//! ```
//! use intact_scenarios::{Outcome, named};
//!
//! let scenario = named("killed-half-way").unwrap();
//! assert_eq!(scenario.files[0].with_intact, Outcome::Old);
//! assert_eq!(scenario.files[0].without, Outcome::Damaged);
//! ```

mod content;
mod list;
mod step;

pub use content::{Piece, judge, pieces};
pub use list::{RESETS, SCENARIOS};
pub use step::{Access, Action, Actor, Disposition, End, FileNumber, SHARE_ALL, SHARE_READ, Slot, Step};

/// A file of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the scenario's folder.
    pub name: &'static str,
    /// Bytes of the old version; none if the file is not there before.
    pub old: Option<u64>,
    /// What a finished save makes of it.
    pub new: New,
    /// What must be left with Intact loaded.
    pub with_intact: Outcome,
    /// What is left without it.
    pub without: Outcome,
}

/// The new version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// Other bytes, so many.
    Replaced(u64),
    /// The old ones, and so many behind them.
    Appended(u64),
    /// No file.
    Gone,
}

/// What is, or must be, left of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The old version, whole.
    Old,
    /// The new version, whole.
    New,
    /// Either version, whole.
    Whole,
    /// No file where there was none before, or an empty one: a power cut may leave that of a first save.
    NothingOrEmpty,
    /// Neither version: parts of both, a part of one, nothing.
    Damaged,
    /// Nothing is promised.
    Anything,
}

impl Outcome {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Old => "old",
            Outcome::New => "new",
            Outcome::Whole => "old or new",
            Outcome::NothingOrEmpty => "none or empty",
            Outcome::Damaged => "damaged",
            Outcome::Anything => "anything",
        }
    }

    /// Whether a file with these contents is what this outcome asks for.
    pub fn admits(self, file: &File, contents: Option<&[u8]>) -> bool {
        let found = judge(file, contents);
        match self {
            Outcome::Anything => true,
            Outcome::Whole => matches!(found, Outcome::Old | Outcome::New),
            Outcome::NothingOrEmpty => contents.is_none_or(<[u8]>::is_empty),
            expected => expected == found,
        }
    }
}

/// Something that a program is done to, and what must come of it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// The files.
    pub files: &'static [File],
    /// What happens, in order.
    pub steps: &'static [Step],
    /// What becomes of the program then.
    pub end: End,
    /// Why Wine cannot show it, if it cannot: there one server opens the files of all programs, checks share
    /// modes by itself, and turns a termination from outside into a signal.
    pub not_under_wine: Option<&'static str>,
}

/// The scenario with this name, those of a hard reset included.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().chain(RESETS).find(|scenario| scenario.name == name)
}
