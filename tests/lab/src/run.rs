//! `lab run`: an unmodified program on a lab volume, a planned fault, and what it left.
//!
//! Every run starts from the same pristine volume: the program's files, copied from the host. A first run
//! without drivers and without a fault says what the new version of each file is and how long a run is, so
//! that a fault can be placed half-way; a second one says whether the program always leaves the same. Then
//! come the trials. A power cut needs no run of its own: the disk keeps its numbered effects, and what the cut
//! leaves is recovered in a fresh lab with the drivers attached again.

pub mod arguments;
mod check;
pub mod compare;
pub mod host;
mod machine;
pub mod points;
mod program;
pub mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use lab_volume::Disk;

pub use arguments::Arguments;
use compare::{Contents, State, judge, origins};
use host::HostFiles;
pub use machine::DriverFile;
use machine::{Pristine, Setup};
use program::{Plan, Session};
use report::{Exit, Fault, File, Range, Reference, Report, Trial};

/// `lab run`: prints the report, and returns [`Report::exit_code`].
///
/// # Errors
/// As [`run`].
pub fn command(arguments: &Arguments) -> Result<u8> {
    let report = run(arguments)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(report.exit_code())
}

/// Runs it all.
///
/// # Errors
/// What keeps a run from being judged: a file that cannot be read, a program that does not start, a driver
/// that the lab does not load, no FUSE.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let folder = arguments.folder.as_deref().unwrap_or(Path::new(""));
    let files = host::collect(folder, &arguments.program[1..], &arguments.files)?;
    if files.is_empty() {
        bail!(
            "no file to work on: none of the program's arguments is a relative path of an existing file; \
             name files with --files"
        );
    }
    let pristine = Pristine::new(&files)?;
    let bare = Setup { drivers: Vec::new(), policy: None, seed: arguments.seed };
    let first = program::run(&pristine, &bare, &Plan::undisturbed(arguments))?;
    let again = program::run(&pristine, &bare, &Plan::undisturbed(arguments))?;
    for (session, which) in [(&first, "first"), (&again, "second")] {
        if !session.trouble.is_empty() {
            bail!("the {which} undisturbed run without drivers failed:\n{}", session.trouble.join("\n"));
        }
    }
    let judge = Judge {
        old: old_contents(&files),
        new: first.contents(),
        again: again.contents(),
        check: arguments.check.clone(),
    };
    let reference = Reference {
        exit: first.exit,
        writes: first.account.writes,
        effects: first.disk.effect_count(),
        bytes: first.account.bytes,
    };
    let setup = Setup {
        drivers: if arguments.without { Vec::new() } else { arguments.drivers.clone() },
        policy: arguments.policy()?,
        seed: arguments.seed,
    };
    let mut trials = Vec::new();
    let mut last = None;
    if arguments.wants_undisturbed() || arguments.power_cut_after.is_some() {
        let session = program::run(&pristine, &setup, &Plan::undisturbed(arguments))?;
        if arguments.wants_undisturbed() {
            trials.push(judge.trial(Fault::None, true, &session));
        }
        if let Some(points) = &arguments.power_cut_after {
            for after_effects in points.on(session.disk.effect_count()) {
                trials.push(power_cut(arguments, &setup, &judge, &session, after_effects)?);
            }
        }
        last = Some(session.base);
    }
    if let Some(points) = &arguments.kill_after_writes {
        for after_writes in points.on(reference.writes) {
            let plan = Plan { kill_after_writes: Some(after_writes), ..Plan::undisturbed(arguments) };
            let session = program::run(&pristine, &setup, &plan)?;
            let struck = session.account.writes >= after_writes;
            trials.push(judge.trial(Fault::Kill { after_writes }, struck, &session));
            last = Some(session.base);
        }
    }
    if let Some(points) = &arguments.disk_full_after {
        for after_bytes in points.on(reference.bytes) {
            let plan = Plan { full_after_bytes: Some(after_bytes), ..Plan::undisturbed(arguments) };
            let session = program::run(&pristine, &setup, &plan)?;
            let struck = session.account.full > 0;
            trials.push(judge.trial(Fault::DiskFull { after_bytes }, struck, &session));
            last = Some(session.base);
        }
    }
    if let (Some(path), Some(base)) = (&arguments.keep, &last) {
        base.save(path).with_context(|| format!("keeping the volume in {}", path.display()))?;
    }
    Ok(Report {
        program: arguments.program.clone(),
        drivers: setup.drivers.iter().map(DriverFile::name).collect(),
        reference,
        trials,
    })
}

/// What the power cut leaves: the worst of the states that were tried.
fn power_cut(
    arguments: &Arguments,
    setup: &Setup,
    judge: &Judge,
    session: &Session,
    after_effects: u64,
) -> Result<Trial> {
    let states = session.disk.crash_states(after_effects);
    let bases: Vec<_> = if arguments.all {
        states.enumerate(8, 4).collect()
    } else {
        let seeds = (0..arguments.states).map(|number| arguments.seed.wrapping_add(number));
        seeds
            .map(|seed| {
                session.disk.crash_after(after_effects, seed.wrapping_mul(0x9E37_79B9) ^ after_effects)
            })
            .collect()
    };
    let struck = after_effects < session.disk.effect_count();
    let mut worst: Option<Trial> = None;
    for (state, base) in bases.iter().enumerate() {
        let (contents, trouble) = machine::recover(base, setup)?;
        let fault = Fault::PowerCut { after_effects, of: session.disk.effect_count(), state: state as u64 };
        let files = judge.files(&contents);
        let trial = Trial {
            exit: Exit::Stopped,
            said: String::new(),
            events: session.events_until(after_effects),
            trouble,
            ..judge.trial_of(fault, struck, session, files)
        };
        let badness = |trial: &Trial| (!trial.trouble.is_empty(), trial.is_loss());
        if worst.as_ref().is_none_or(|known| badness(&trial) > badness(known)) {
            worst = Some(trial);
        }
    }
    worst.context("no state of the power cut was tried; give --states at least 1")
}

/// All files of a volume, by name from its root.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

fn old_contents(files: &HostFiles) -> Tree {
    files.iter().map(|(name, file)| (name.clone(), file.contents.clone())).collect()
}

/// Knows the versions of every file.
struct Judge {
    old: Tree,
    new: Tree,
    again: Tree,
    /// Judges what cannot be compared.
    check: Option<String>,
}

impl Judge {
    fn trial(&self, fault: Fault, struck: bool, session: &Session) -> Trial {
        self.trial_of(fault, struck, session, self.files(&session.contents()))
    }

    fn trial_of(&self, fault: Fault, struck: bool, session: &Session, files: Vec<File>) -> Trial {
        Trial {
            fault,
            struck,
            exit: session.exit,
            said: session.said.clone(),
            files,
            events: session.events.clone(),
            trouble: session.trouble.clone(),
        }
    }

    fn files(&self, found: &Tree) -> Vec<File> {
        let names: BTreeSet<&String> =
            [&self.old, &self.new, &self.again, found].into_iter().flat_map(BTreeMap::keys).collect();
        let mut files: Vec<File> =
            names.into_iter().filter_map(|name| self.file(name, found.get(name).cloned())).collect();
        let uncertain = |file: &&mut File| file.state == State::Uncertain.word();
        if let Some(check) = &self.check
            && files.iter_mut().filter(uncertain).count() > 0
        {
            let state = if check::is_sound(check, found) { State::Sound } else { State::Damaged };
            files.iter_mut().filter(uncertain).for_each(|file| file.state = state.word().into());
        }
        files
    }

    /// Nothing for a temporary file that only one of the undisturbed runs left.
    fn file(&self, name: &str, found: Contents) -> Option<File> {
        let of = |tree: &Tree| tree.get(name).cloned();
        let (old, new, again) = (of(&self.old), of(&self.new), of(&self.again));
        if old.is_none() && found.is_none() && (new.is_none() || again.is_none()) {
            return None;
        }
        let state = judge(&old, &new, &again, &found);
        let size = |contents: &Contents| contents.as_ref().map(|contents| contents.len() as u64);
        let bytes = |contents: &Contents| contents.clone().unwrap_or_default();
        let ranges = origins(&bytes(&old), &bytes(&new), &bytes(&found));
        Some(File {
            name: name.to_owned(),
            state: state.word().into(),
            old: size(&old),
            new: size(&new),
            found: size(&found),
            ranges: ranges.into_iter().map(|(range, origin)| Range::new(range, origin)).collect(),
        })
    }
}

/// The disk of a session, whatever became of its volume.
pub(crate) type SessionDisk = Disk;
