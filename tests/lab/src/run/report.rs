//! What a run found, as data: printed for people, and as JSON for other programs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compare::{Origin, State};

/// Everything about one `lab run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The program and its arguments.
    pub program: Vec<String>,
    /// File names of the drivers that were loaded, the highest altitude first; none: bare volume.
    pub drivers: Vec<String>,
    /// The undisturbed run, without drivers, that says what "new" is and how long a run is.
    pub reference: Reference,
    /// One per fault.
    pub trials: Vec<Trial>,
}

/// The undisturbed run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// How the program ended.
    pub exit: Exit,
    /// Write requests.
    pub writes: u64,
    /// Disk effects.
    pub effects: u64,
    /// Bytes that the program wrote.
    pub bytes: u64,
}

/// One run of the program with one fault, and what was found afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The planned fault.
    pub fault: Fault,
    /// Whether it struck: a program may be done before.
    pub struck: bool,
    /// How the program ended.
    pub exit: Exit,
    /// The last that it said on its standard error.
    pub said: String,
    /// Its files.
    pub files: Vec<File>,
    /// What the drivers reported, in order.
    pub events: Vec<Event>,
    /// What the verifier or the lab objected to: broken contracts, leaks at unload, a failed mount.
    pub trouble: Vec<String>,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// The program is left alone.
    None,
    /// SIGKILL to its process group after that many write requests.
    Kill {
        /// Write requests that were served.
        after_writes: u64,
    },
    /// The power goes after that many disk effects.
    PowerCut {
        /// Disk effects that happened.
        after_effects: u64,
        /// Disk effects of the whole run with these drivers.
        of: u64,
        /// Which of the states that a crash may then leave: a seed, or a number in the enumeration.
        state: u64,
    },
    /// The volume is full once the program has written that many bytes.
    DiskFull {
        /// Bytes written before.
        after_bytes: u64,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// With everything else, when the power went.
    Stopped,
}

impl Exit {
    /// From a wait status.
    pub fn from_wait_status(status: i32) -> Exit {
        if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status))
        } else {
            Exit::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name from the root of the volume.
    pub name: String,
    /// The verdict: [`State::word`].
    pub state: String,
    /// Size before.
    pub old: Option<u64>,
    /// Size after an undisturbed run.
    pub new: Option<u64>,
    /// Size found.
    pub found: Option<u64>,
    /// Which bytes are whose, for a file that two versions are known of.
    pub ranges: Vec<Range>,
}

impl File {
    /// Whether something was lost.
    pub fn is_loss(&self) -> bool {
        [State::Missing, State::Damaged].iter().any(|state| state.word() == self.state)
    }
}

/// Bytes of one origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// [`Origin::word`].
    pub origin: String,
}

impl Range {
    pub(crate) fn new(range: std::ops::Range<usize>, origin: Origin) -> Range {
        Range { start: range.start as u64, end: range.end as u64, origin: origin.word().into() }
    }
}

/// An event that a driver wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Provider and event name.
    pub name: String,
    /// Its fields, in order.
    pub fields: Vec<(String, String)>,
}

impl Trial {
    /// Whether any file was lost.
    pub fn is_loss(&self) -> bool {
        self.files.iter().any(File::is_loss)
    }
}

impl Report {
    /// 0: nothing lost; 1: a file was damaged or lost; 3: the lab or the verifier objected to a driver.
    pub fn exit_code(&self) -> u8 {
        if self.trials.iter().any(|trial| !trial.trouble.is_empty()) {
            3
        } else {
            u8::from(self.trials.iter().any(Trial::is_loss))
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(0) => f.write_str("finished"),
            Exit::Code(code) => write!(f, "exited with {code}"),
            Exit::Signal(libc::SIGKILL) => f.write_str("killed"),
            Exit::Stopped => f.write_str("stopped"),
            Exit::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::None => f.write_str("no fault"),
            Fault::Kill { after_writes } => write!(f, "killed after write {after_writes}"),
            Fault::PowerCut { after_effects, of, state } => {
                write!(f, "power cut after disk effect {after_effects} of {of}, state {state}")
            }
            Fault::DiskFull { after_bytes } => write!(f, "disk full after {after_bytes} bytes"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drivers = if self.drivers.is_empty() { "no driver".into() } else { self.drivers.join(", ") };
        let Reference { exit, writes, effects, bytes } = self.reference;
        writeln!(f, "{} · {drivers}", self.program.join(" "))?;
        writeln!(f, "undisturbed: {exit}, {writes} writes of {bytes} bytes, {effects} disk effects")?;
        for trial in &self.trials {
            write!(f, "\n{}", trial.fault)?;
            if trial.fault != Fault::None && !trial.struck {
                write!(f, " (never struck)")?;
            }
            writeln!(f, ": {}", trial.exit)?;
            for line in trial.said.lines() {
                writeln!(f, "  | {line}")?;
            }
            let width = trial.files.iter().map(|file| file.name.chars().count()).max().unwrap_or(0);
            for file in &trial.files {
                writeln!(f, "  {:width$}  {}{}", file.name, file.state, sizes(file))?;
            }
            for event in &trial.events {
                let fields: Vec<_> =
                    event.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                writeln!(f, "  event {} {}", event.name, fields.join(" "))?;
            }
            for trouble in &trial.trouble {
                writeln!(f, "  TROUBLE {}", trouble.replace('\n', "\n          "))?;
            }
        }
        Ok(())
    }
}

fn sizes(file: &File) -> String {
    let size = |size: Option<u64>| size.map_or("none".into(), |size| size.to_string());
    if !file.is_loss() {
        return String::new();
    }
    let share = |origin: &str| -> u64 {
        let of = |range: &&Range| range.origin == origin;
        file.ranges.iter().filter(of).map(|range| range.end - range.start).sum()
    };
    format!(
        " (old {}, new {}, found {} bytes: {} only as in the old version, {} only as in the new, {} in neither)",
        size(file.old),
        size(file.new),
        size(file.found),
        share("old"),
        share("new"),
        share("foreign"),
    )
}
