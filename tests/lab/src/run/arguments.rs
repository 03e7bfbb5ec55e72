//! The command line of `lab run`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use super::machine::DriverFile;
use super::points::Points;

/// Runs an unmodified program on a lab volume and reports what became of its files.
///
/// The files that the program's arguments name, and those of --files, are copied onto a fresh volume C:, which
/// is mounted on a temporary folder; there the program runs. It shows in the lab as a process of its own, with
/// the image \Device\HarddiskVolume1\Programs\NAME.exe, NAME being the last component of its executable
/// (/usr/bin/sort is sort.exe, a Python script is python3.11.exe): that is what a policy's Processes match.
///
/// Faults strike at points of an undisturbed run, which comes first: a count (5), a share (50%), a list
/// (1,10,50%), or so many points evenly spread (*7). Each point is a trial of its own.
#[derive(Debug, Parser)]
#[command(
    name = "lab run",
    after_help = "Exit status: 0 no file lost; 1 a file damaged or missing; 2 the run could not be \
made; 3 the lab or its verifier objected to a driver."
)]
pub struct Arguments {
    /// A driver to load; may be repeated, the highest first. It attaches in the System Recovery group, or at an
    /// altitude of its own.
    #[arg(long = "driver", value_name = "FILE.sys[@ALTITUDE]")]
    pub drivers: Vec<DriverFile>,
    /// Registry values for the drivers, as a .reg file.
    #[arg(long, value_name = "FILE.reg")]
    policy: Option<PathBuf>,
    /// Load no driver.
    #[arg(long)]
    pub without: bool,
    /// SIGKILL to the program's process group after so many write requests.
    #[arg(long, value_name = "N")]
    pub kill_after_writes: Option<Points>,
    /// The power goes after so many disk effects.
    #[arg(long, value_name = "N")]
    pub power_cut_after: Option<Points>,
    /// The volume is full once the program has written so many bytes.
    #[arg(long, value_name = "BYTES")]
    pub disk_full_after: Option<Points>,
    /// Also a trial without a fault (the only one where no fault is given).
    #[arg(long)]
    undisturbed: bool,
    /// Decides every order in the lab, and what a power cut leaves.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many of the states that a power cut may leave are tried; the worst is reported.
    #[arg(long, default_value_t = 4)]
    pub states: u64,
    /// Try every state of a bounded enumeration instead.
    #[arg(long)]
    pub all: bool,
    /// Keep the volume as the last trial left it, as a disk image of the lab.
    #[arg(long, value_name = "IMAGE")]
    pub keep: Option<PathBuf>,
    /// More files or folders to copy.
    #[arg(long, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// The folder that files are relative to [default: the working folder].
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Judges files that the program never leaves the same twice: a shell command, run in a folder with the files
    /// as they were found; exit status 0 means sound.
    #[arg(long, value_name = "COMMAND")]
    pub check: Option<String>,
    /// Share mode of every open: r, w and d for read, write and delete [default: rwd].
    #[arg(long, value_parser = share, default_value = "rwd")]
    pub share: u32,
    /// The program's standard input [default: empty].
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Seconds after which a program that does not end is killed.
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

impl Arguments {
    /// Whether a trial without a fault is wanted.
    pub fn wants_undisturbed(&self) -> bool {
        let faults = [&self.kill_after_writes, &self.power_cut_after, &self.disk_full_after];
        self.undisturbed || faults.iter().all(|fault| fault.is_none())
    }

    /// The text of the registry file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn policy(&self) -> Result<Option<Vec<u8>>> {
        match &self.policy {
            Some(path) => fs::read(path).map(Some).with_context(|| path.display().to_string()),
            None => Ok(None),
        }
    }
}

fn share(text: &str) -> Result<u32, String> {
    let bit = |letter| match letter {
        'r' => Ok(1),
        'w' => Ok(2),
        'd' => Ok(4),
        other => Err(format!("'{other}' is no share mode; give some of r, w and d, or an empty string")),
    };
    text.chars().try_fold(0, |mode, letter| bit(letter).map(|bit| mode | bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_modes_are_read_and_mistakes_named() {
        assert_eq!(share("rwd"), Ok(7));
        assert_eq!(share(""), Ok(0));
        assert!(share("rx").unwrap_err().contains("'x'"));
    }

    #[test]
    fn what_follows_the_dashes_is_the_programs() {
        let arguments =
            Arguments::try_parse_from(["run", "--seed", "3", "--", "sort", "--seed", "x"]).unwrap();
        assert_eq!((arguments.seed, arguments.program.len()), (3, 3));
        assert!(arguments.wants_undisturbed());
    }
}
