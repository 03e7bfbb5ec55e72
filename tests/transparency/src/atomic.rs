//! Programs that are struck: one of their processes is killed, or KTM aborts a transaction, at some operation. Each file is
//! then entirely old or entirely new: its data, names, attributes, times, security, extended attributes, streams and id.
//!
//! *Old* is what was committed before the stroke; *new* is what the same steps have made of it on the bare machine.

use std::rc::Rc;

use lab::Violation;

use crate::answer::Answer;
use crate::generate::Focus;
use crate::machine::{Version, Versions, called, differing};
use crate::pair::{Failure, OnExit, Pair, Told};
use crate::program::{Call, Program, Step, name_of};
use crate::world::World;

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// The process that makes the last step is killed before it.
    KillBefore,
    /// It is killed while the last step is on its way.
    KillDuring,
    /// A transaction is aborted after so many operations inside transactions.
    Abort(u64),
}

/// What programs do that are struck: processes end as they like only by the stroke.
pub fn focus() -> Focus {
    Focus { deaths: false, ..Focus::default() }
}

/// How a struck program went.
#[derive(Default)]
pub struct Struck {
    /// Requests that were made before the stroke.
    pub operations: u64,
    /// Whether the stroke met a save that lived.
    pub met_a_save: bool,
    /// What is neither old nor new.
    pub failure: Option<Failure>,
    /// The machines cannot go on.
    pub spent: bool,
}

/// Runs a program on both machines until it is struck, and looks at what is left. The machines' rule is
/// [`OnExit::ByStatus`].
pub fn strike(pair: &mut Pair, program: &Program, stroke: Stroke) -> Struck {
    let mut struck = Struck::default();
    if let Err(violation) = try_strike(pair, program, stroke, &mut struck) {
        let what = violation.to_string();
        let kind = what.lines().next().unwrap_or_default().into();
        struck.failure = Some(Failure { kind, step: None, what });
    }
    // One that did not come about must not strike the next program.
    pair.intact.abort_after(u64::MAX);
    struck.spent |= struck.failure.is_some();
    struck
}

/// Machines for [`strike`].
pub fn machines(disk: &lab_volume::Base, seed: u64) -> Pair {
    Pair::new(disk, seed, OnExit::ByStatus)
}

/// What was, at different times.
#[derive(Clone)]
struct Past {
    /// Each file as it was before the save that it is in began.
    origin: Versions,
    /// What was committed a step ago.
    old: Versions,
    /// What the steps had made of the files on the bare machine a step ago.
    new: Versions,
    /// The same before the step in which a process was killed: what others have saved, if that step has done nothing.
    before: Versions,
    /// Files that somebody may delete, or streams of them, at a close after the two runs have parted.
    loose: Vec<usize>,
    /// Files that saves have deleted while somebody else had them open: they are gone, where without Intact they wait for the
    /// others.
    deleted: Vec<usize>,
    /// Files that somebody was let in to in the moment of the stroke: what it does to them it does to the old version, the
    /// save of the others being lost.
    parted: Vec<usize>,
    /// Files that were mapped: they are closed before the views go.
    mapped: Vec<usize>,
    /// Files that were replaced while a stream of theirs was closed and mapped: they keep it.
    keeping: Vec<usize>,
}

impl Past {
    fn of(pair: &mut Pair) -> Past {
        let old = pair.intact.committed();
        let (loose, deleted, parted, mapped, keeping) = Default::default();
        Past {
            origin: old.clone(),
            new: old.clone(),
            before: old.clone(),
            old,
            loose,
            deleted,
            parted,
            mapped,
            keeping,
        }
    }

    /// A step was told.
    fn told(&mut self, world: &World) {
        self.loose.extend(world.deletable());
        self.deleted = world.deleted().to_vec();
        self.mapped = world.mapped().to_vec();
        self.keeping = world.keeping_streams().to_vec();
    }

    /// A step went by.
    fn step(&mut self, world: &World, step: &Step, answer: &Answer, now: Versions, new: Versions) {
        // What a flush has committed is what the rest of the save begins with.
        let flushed = match step.call {
            Call::Flush { slot } if answer.is_done() => world.checkpointed(slot),
            _ => None,
        };
        // Where a save may have begun again, what is committed is what it begins with.
        let saved = |version: &Version| world.is_certainly_saved(version.id) && flushed != Some(version.id);
        self.origin.retain(|path, version| saved(version) || now.contains_key(path));
        for (path, version) in &now {
            if !saved(version) {
                self.origin.insert(path.clone(), version.clone());
            }
        }
        (self.old, self.new) = (now, new);
    }
}

fn try_strike(
    pair: &mut Pair,
    program: &Program,
    stroke: Stroke,
    struck: &mut Struck,
) -> Result<(), Rc<Violation>> {
    let number = pair.next();
    let mut ticks = pair.begin(number)?;
    let mut world = World::default();
    let before = pair.intact.transacted_operations();
    if let Stroke::Abort(after) = stroke {
        pair.intact.abort_after(after);
    }
    let mut past = Past::of(pair);
    let last = program.steps.len().saturating_sub(1);
    for (index, step) in program.steps.iter().enumerate() {
        ticks += 1;
        if index == last && !matches!(stroke, Stroke::Abort(_)) {
            return kill(pair, program, step, ticks, stroke, &world, &past, struck);
        }
        let lived = world.clone();
        let told = pair.step(step, ticks, &mut world)?;
        let aborted = matches!(stroke, Stroke::Abort(after)
            if pair.intact.transacted_operations() > before + after);
        struck.met_a_save |= aborted && lived.any_save();
        if aborted && matches!(step.call, Call::Open { .. }) {
            let taken = file_of(step, &lived, &past.old);
            past.parted.extend(taken.filter(|id| lived.others_save(lived.identity(step.process), *id)));
        }
        let answer = match told {
            Told::Alike(answer) => {
                struck.operations += u64::from(answer.counts());
                answer
            }
            // The two runs part; what was saved until here is closed as usual.
            Told::Listed(difference) => {
                // What Intact lets the save do, which the bare machine does not; and what that does to a file where Intact
                // refuses it: what the save has made of the file is no version of the bare machine then.
                if difference.id == "readers-mappings-hold-nothing" {
                    past.parted.extend(file_of(step, &lived, &past.old));
                }
                let bare = pair.bare.committed();
                let changed =
                    bare.iter().chain(&past.new).filter(|(path, _)| bare.get(*path) != past.new.get(*path));
                past.parted.extend(changed.map(|(_, version)| version.id).collect::<Vec<_>>());
                return end(pair, program, &past, struck);
            }
            Told::Unlike(..) if aborted => Answer::Skipped,
            // The transparency test is about that.
            Told::Unlike(..) => {
                struck.spent = true;
                return Ok(());
            }
        };
        past.told(&world);
        let (new, now) = (pair.bare.committed(), pair.intact.committed());
        let what = neither(program, &now, &past, &[&new], |path, version| {
            // The placeholder of a new file is there already.
            !past.origin.contains_key(path) && world.is_saved(version.id) && is_empty(version)
        });
        if let Some(what) = what {
            struck.failure = Some(Failure { kind: "while it ran".into(), step: Some(index), what });
            return Ok(());
        }
        if aborted {
            return end(pair, program, &past, struck);
        }
        past.step(&world, step, &answer, now, new);
    }
    end(pair, program, &past, struck)
}

/// The file that a step is about, by its number.
fn file_of(step: &Step, world: &World, old: &Versions) -> Option<usize> {
    let Call::Open { name, .. } = step.call else {
        return world.open(step.call.slot()?).map(|open| open.file);
    };
    called(old, name_of(name).split(':').next().unwrap_or_default()).map(|version| version.id)
}

/// The process of a step is killed.
#[allow(clippy::too_many_arguments)]
fn kill(
    pair: &mut Pair,
    program: &Program,
    step: &Step,
    ticks: i64,
    stroke: Stroke,
    world: &World,
    past: &Past,
    struck: &mut Struck,
) -> Result<(), Rc<Violation>> {
    pair.bare.at(ticks)?;
    pair.intact.at(ticks)?;
    let Some(process) = pair.intact.process_of(step) else { return end(pair, program, past, struck) };
    // A duplicate is made from outside, in no time.
    let takes_time = !matches!(step.call, Call::Duplicate { .. });
    let during = (stroke == Stroke::KillDuring && takes_time).then_some(step);
    if during.is_some() {
        pair.bare.perform(step)?;
    }
    pair.intact.kill_during(process, during)?;
    struck.operations += 1;
    // What the last step has made was told to nobody.
    pair.bare.number_files();
    pair.intact.number_files();
    let (new, now) = (pair.bare.committed(), pair.intact.committed());
    // Handles that take no part close as they do without Intact: some delete.
    pair.bare.kill_during(process, None)?;
    let closed = pair.bare.committed();
    let mut failure = neither(program, &now, past, &[&new, &closed], |_, _| false);
    // What the dead process alone was saving is the old version, unless its last step has closed it or flushed it.
    for (path, version) in &past.old {
        if !world.is_saved_only_by(world.identity(process as u64), version.id) {
            continue;
        }
        struck.met_a_save = true;
        let made = !past.origin.contains_key(path);
        let is_old = match now.get(path) {
            None => made,
            Some(now) => !made && is_same(program, past, path, version, now),
        };
        let is_old = is_old || (!closed.contains_key(path) && !now.contains_key(path));
        // A new one that somebody else has open stays, empty (a limit, README).
        let is_held = made
            && now.get(path).is_some_and(is_empty)
            && world.is_open_elsewhere(world.identity(process as u64), version.id);
        if during.is_none() && !is_old && !is_held && !is_left_by_stream(program, path, now.get(path)) {
            failure =
                Some(format!("  {path} was being saved\n    was: {version:?}\n    is:  {:?}", now.get(path)));
        }
    }
    if let Some(what) = failure {
        struck.failure = Some(Failure { kind: "after the kill".into(), step: None, what });
        return Ok(());
    }
    let past = Past { old: now, before: past.new.clone(), new, ..past.clone() };
    end(pair, program, &past, struck)
}

/// Everybody else closes everything and ends; each file is what it was, or what it is on the bare machine.
fn end(pair: &mut Pair, program: &Program, past: &Past, struck: &mut Struck) -> Result<(), Rc<Violation>> {
    let open = pair.bare.committed();
    if pair.finish()? != (true, true) {
        struck.spent = true;
        return Ok(());
    }
    let (new, now) = (pair.bare.committed(), pair.intact.committed());
    if let Some(what) = neither(program, &now, past, &[&open, &new], |_, _| false) {
        struck.failure = Some(Failure { kind: "at the end".into(), step: None, what });
    }
    Ok(())
}

/// A file that was made by making a stream of it, and rolled back: it stays, empty (a limit, README).
fn is_left_by_stream(program: &Program, path: &str, now: Option<&Version>) -> bool {
    now.is_some_and(|now| names_stream(program, path) && is_empty(now))
}

fn is_empty(version: &Version) -> bool {
    version.whole.streams.values().all(|(_, data)| data.is_empty())
}

/// Whether a program asks for a named stream of a file.
fn names_stream(program: &Program, path: &str) -> bool {
    program.steps.iter().any(|step| match step.call {
        Call::Open { name, how, .. } => {
            // Relative to a handle: below some folder.
            let last = path.rsplit('\\').next().unwrap_or(path);
            let is_it = |file: &str| file.eq_ignore_ascii_case(if how == 2 { last } else { path });
            let named = name_of(name).split_once(':');
            named.is_some_and(|(file, stream)| stream != ":$DATA" && is_it(file))
        }
        _ => false,
    })
}

/// Whether two versions are the same. The placeholder of a new stream comes and goes outside the transaction: it shows, empty,
/// and in the change time (a limit, README).
fn is_same(program: &Program, past: &Past, path: &str, one: &Version, other: &Version) -> bool {
    let mut one = one.clone();
    if past.mapped.contains(&one.id) {
        one.allow_other_times(other);
    }
    if past.keeping.contains(&one.id) {
        // A stream that is closed and mapped is open for who replaces its file (`closed-but-mapped-is-open`).
        one.allow_more_streams(other);
    }
    let one = &one;
    if !names_stream(program, path) {
        return !differing(one, other);
    }
    let plain = |version: &Version| {
        let mut version = version.clone();
        version.whole.times.change = 0;
        version.whole.streams.retain(|name, (_, data)| name.is_empty() || !data.is_empty());
        version
    };
    !differing(&plain(one), &plain(other))
}

/// The files that are none of the versions that they may be, whole.
fn neither(
    program: &Program,
    now: &Versions,
    past: &Past,
    new: &[&Versions],
    excused: impl Fn(&str, &Version) -> bool,
) -> Option<String> {
    let mut allowed = vec![&past.origin, &past.old, &past.new, &past.before];
    allowed.extend_from_slice(new);
    let mut paths: Vec<&String> =
        allowed.iter().flat_map(|versions| versions.keys()).chain(now.keys()).collect();
    paths.sort();
    paths.dedup();
    let is = |path: &String, versions: &Versions| match (versions.get(path), now.get(path)) {
        (Some(allowed), Some(now)) => is_same(program, past, path, allowed, now),
        (None, None) => true,
        _ => false,
    };
    // The bare machine keeps what is deleted until the last handle is closed.
    let gone = |path: &String| {
        let was = past.old.get(path).or_else(|| past.origin.get(path));
        !now.contains_key(path) && was.is_some_and(|was| past.deleted.contains(&was.id))
    };
    // Of an old version a handle that was closed at the end has deleted streams.
    let deleted_of = |path: &String| {
        let (Some(old), Some(now)) = (past.origin.get(path), now.get(path)) else { return false };
        let unnamed = |version: &Version| version.whole.streams.get("").cloned();
        past.loose.contains(&now.id) && old.id == now.id && unnamed(old) == unnamed(now)
    };
    let excused = |path: &String| {
        let is_parted =
            |versions: &Versions| versions.get(path).is_some_and(|version| past.parted.contains(&version.id));
        // It may be gone: deleted at its close by who was let in.
        let parted = is_parted(now) || !now.contains_key(path) && is_parted(&past.old);
        if gone(path) || deleted_of(path) || parted {
            return true;
        }
        let left = !past.origin.contains_key(path) && is_left_by_stream(program, path, now.get(path));
        left || now.get(path).is_some_and(|version| excused(path, version))
    };
    let wrong =
        paths.into_iter().filter(|path| !allowed.iter().any(|versions| is(path, versions)) && !excused(path));
    let lines: Vec<String> = wrong
        .map(|path| {
            let versions = allowed.iter().map(|versions| format!("\n    allowed: {:?}", versions.get(path)));
            format!("  {path}\n    is:      {:?}{}", now.get(path), versions.collect::<String>())
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
