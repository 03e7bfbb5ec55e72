//! Crashes over whole families of workloads: each opening with each sequence of actions is a frame, and each frame is
//! run with every ending, with Intact and on the bare volume.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use intact_saves::Happened;
use lab::Status;
use lab::run::compare::{Origin, origins};
use lab_executive::random::Random;
use lab_volume::Tree;
use serde::Serialize;

use crate::assumed::Assumed;
use crate::crash::{self, Counts, Damage, Explored, Plan};
use crate::machine::{Recording, Setting, record};
use crate::message;
use crate::oracle::{self, Sameness};
use crate::strikes;
use crate::workload::{ACTIONS, Action, Ending, OPENINGS, Opening, Step, Workload};

/// An opening and what follows, without the ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// How the file is opened.
    pub opening: Opening,
    /// What is done.
    pub actions: Vec<Action>,
}

impl Frame {
    /// Every frame with so many actions.
    pub fn all(actions: u32) -> Vec<Frame> {
        let count = ACTIONS.len().pow(actions);
        let frame = |opening, mut number: usize| {
            let mut chosen = Vec::new();
            for _ in 0..actions {
                chosen.push(ACTIONS[number % ACTIONS.len()]);
                number /= ACTIONS.len();
            }
            Frame { opening, actions: chosen }
        };
        OPENINGS
            .into_iter()
            .flat_map(|opening| (0..count).map(move |number| frame(opening, number)))
            .collect()
    }

    /// A frame with so many actions, by chance.
    pub fn sample(random: &Random, actions: usize) -> Frame {
        let opening = OPENINGS[random.below(OPENINGS.len())];
        Frame { opening, actions: (0..actions).map(|_| ACTIONS[random.below(ACTIONS.len())]).collect() }
    }

    /// Its workload with this ending.
    pub fn workload(&self, ending: Ending) -> Workload {
        let mut steps = vec![Step::Open(self.opening)];
        steps.extend(self.actions.iter().copied().map(Step::Act));
        steps.push(Step::End(ending));
        Workload(steps)
    }
}

/// Something that should not be.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Which part of the tests found it.
    pub part: &'static str,
    /// The program.
    pub workload: Workload,
    /// What happened to it.
    pub fault: String,
    /// What is wrong.
    pub what: String,
    /// The command that shows it again.
    pub reproduce: String,
    /// The files as found.
    pub files: Vec<Strip>,
}

/// A file or stream as found: which bytes are of which version.
#[derive(Clone, Debug, Serialize)]
pub struct Strip {
    /// Its name.
    pub name: String,
    /// Its bytes: end of each range, and the word for where it comes from.
    pub ranges: Vec<(usize, &'static str)>,
}

/// Damaged runs, and all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Damaged.
    pub damaged: u64,
    /// All.
    pub all: u64,
}

impl Share {
    /// One more.
    pub fn add(&mut self, damaged: bool) {
        self.damaged += u64::from(damaged);
        self.all += 1;
    }

    /// Several more.
    pub fn more(&mut self, damaged: u64, all: u64) {
        self.damaged += damaged;
        self.all += all;
    }
}

/// The columns of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The power goes, at every disk effect.
    PowerCut,
    /// It goes once more while recovery or the driver cleans up.
    SecondCut,
    /// The process dies.
    Killed,
    /// The transaction is aborted by the system.
    Aborted,
    /// The power goes, and the disk had not flushed what it said it had.
    LyingDisk,
    /// A write fails because the disk is full, or there is no free space at all.
    DiskFull,
    /// Each callback of the driver is entered at the highest level that its documentation admits.
    HighestIrql,
}

/// A cell: without Intact, and with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// Without.
    pub without: Share,
    /// With.
    pub with: Share,
}

/// The grid: by the workload's first action, then by fault.
pub type Grid = BTreeMap<String, BTreeMap<Fault, Cell>>;

/// What a set of frames showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Crashes {
    /// With Intact.
    pub with: Counts,
    /// On the bare volume.
    pub without: Counts,
    /// With Intact, on a disk that ignores flushes.
    pub lying: Counts,
    /// By workload and fault.
    pub grid: Grid,
    /// What should not be.
    pub failures: Vec<Failure>,
    /// For each row, a damaged file of the bare volume.
    pub examples: BTreeMap<String, Strip>,
    /// Why steps were told something else than on the bare volume.
    pub differences: BTreeMap<String, u64>,
    /// Everything that happened, as one number: same seed, same number.
    pub trace: u64,
    /// Calls into the kernel by the drivers.
    pub calls: u64,
    /// By number of actions: workloads, states, calls, seconds of processor time.
    pub growth: BTreeMap<usize, Growth>,
}

/// How the work grows with the length of workloads.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Growth {
    /// Workloads with Intact.
    pub workloads: u64,
    /// Crash states with Intact.
    pub states: u64,
    /// Calls of kernel routines that the driver made.
    pub calls: u64,
    /// Seconds in which workloads ran.
    pub running: f64,
    /// Seconds in which crash states were recovered.
    pub recovering: f64,
}

impl Crashes {
    /// Takes in what another set showed.
    pub fn absorb(&mut self, other: Crashes) {
        self.with += other.with;
        self.without += other.without;
        self.lying += other.lying;
        for (row, cells) in other.grid {
            let own = self.grid.entry(row).or_default();
            for (fault, cell) in cells {
                let own = own.entry(fault).or_default();
                own.with.more(cell.with.damaged, cell.with.all);
                own.without.more(cell.without.damaged, cell.without.all);
            }
        }
        self.failures.extend(other.failures);
        for (row, strip) in other.examples {
            self.examples.entry(row).or_insert(strip);
        }
        for (what, count) in other.differences {
            *self.differences.entry(what).or_default() += count;
        }
        self.trace = mix(self.trace, other.trace);
        self.calls += other.calls;
        for (length, growth) in other.growth {
            let own = self.growth.entry(length).or_default();
            own.workloads += growth.workloads;
            own.states += growth.states;
            own.calls += growth.calls;
            own.running += growth.running;
            own.recovering += growth.recovering;
        }
    }
}

/// Mixes a number into a running hash.
pub fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(7) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Does `work` for every item on so many threads; results in the order of the items. `None` where time was over.
pub fn parallel<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    until: Option<Instant>,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new((0..items.len()).map(|_| None).collect::<Vec<Option<R>>>());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= items.len() || until.is_some_and(|until| Instant::now() >= until) {
                        return;
                    }
                    let result = work(&items[index]);
                    if let Ok(mut results) = results.lock() {
                        results[index] = Some(result);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default()
}

/// Runs a workload; a panic of the lab or of a check is a result.
pub fn attempt(workload: &Workload, setting: Setting) -> Result<Recording, String> {
    catch_unwind(AssertUnwindSafe(|| record(workload, setting))).unwrap_or_else(|panic| Err(message(&*panic)))
}

/// Why the driver may tell a program something else than the bare volume does. What is not here is a failure.
fn known_difference(assumed: Assumed, step: Step, bare: Option<Status>, with: Option<Status>) -> bool {
    // A transaction that may not have the folder open as a target, or may not change a name beside the program's own handle,
    // cannot have the change; the save goes on under the name that the file has (txf-ktm §4.3, minifilter-rules §7).
    let name = matches!(step, Step::Act(Action::Rename | Action::Replace | Action::Link | Action::Delete));
    if name
        && with.is_some()
        && (assumed.is("target_directory_is_writer") || assumed.is("names_beside_plain_open"))
    {
        return true;
    }
    // A twin with another id cannot be told from another file: the open is refused (tests/saves/both_ways.rs).
    let superseded = step == Step::Open(Opening::Supersede) && with == Some(Status::SHARING_VIOLATION);
    if superseded && assumed.is("supersede_changes_id") {
        return true;
    }
    // The program's own create makes the stream, and TxF keeps everything outside the transaction from a file that the
    // transaction writes (txf-ktm §4.2).
    let makes = step == Step::Act(Action::NewBeside) && with == Some(Status::SHARING_VIOLATION);
    // What the transaction has taken away is there for an open by name: it sees the committed version (txf-ktm §4.1).
    let gone = step == Step::Act(Action::Beside)
        && bare == Some(Status::OBJECT_NAME_NOT_FOUND)
        && with == Some(Status::SHARING_VIOLATION);
    makes || gone
}

/// What is wrong with a run that met no crash.
pub(crate) fn wrong(
    assumed: Assumed,
    workload: &Workload,
    bare: &Recording,
    with: &Recording,
) -> Result<Vec<String>, String> {
    if let Some(Happened::PassedThrough(why)) =
        with.happened.iter().find(|event| matches!(event, Happened::PassedThrough(_)))
    {
        return Err(format!("the open passed through: {why}"));
    }
    let last = |recording: &Recording| recording.versions.last().map(|version| version.tree.clone());
    let (Some(found), Some(expected)) = (last(with), last(bare)) else { return Ok(Vec::new()) };
    // A save that has made its file empty waits for more: nothing of it is there yet but what was flushed.
    let expected = if waits(with) { flushed_tree(bare, &with.versions[0].tree) } else { expected };
    let mut differences = Vec::new();
    for ((step, with), (_, bare)) in with.told.iter().zip(&bare.told) {
        if with != bare {
            let tell = |status: &Option<Status>| status.map_or("success".into(), |status| status.to_string());
            differences.push(format!("{step}: {}, not {}", tell(with), tell(bare)));
            if !known_difference(assumed, *step, *bare, *with) {
                return Err(format!("the program was told {}", differences.join("; ")));
            }
            // What comes after it may be a consequence.
            break;
        }
    }
    let flushed = workload.0.contains(&Step::Act(Action::Flush));
    match workload.ending() {
        Some(Ending::Kill | Ending::Exit(1) | Ending::Abort) if !flushed => {
            let old = &with.versions[0].tree;
            if with.versions.len() > 1 {
                return Err(format!(
                    "not what it was before: {}",
                    oracle::difference(&found, old, Sameness::Whole)
                ));
            }
        }
        Some(Ending::Close | Ending::Exit(0))
            if differences.is_empty() && !oracle::same(&found, &expected, Sameness::Told) =>
        {
            return Err(format!(
                "not what it is without Intact: {}",
                oracle::difference(&found, &expected, Sameness::Told)
            ));
        }
        _ => {}
    }
    Ok(differences)
}

/// Whether a save has begun and not ended.
fn waits(recording: &Recording) -> bool {
    let count = |what: fn(&Happened) -> bool| recording.happened.iter().filter(|event| what(event)).count();
    let ended = count(|event| {
        matches!(event, Happened::Committed | Happened::RolledBack(_) | Happened::CommitFailed)
    });
    count(|event| *event == Happened::Begun) > ended
}

/// What the last flush of a program made durable, or else what was there before it.
fn flushed_tree(bare: &Recording, old: &Arc<Tree>) -> Arc<Tree> {
    let flush =
        |(step, status): &(Step, Option<Status>)| *step == Step::Act(Action::Flush) && status.is_none();
    let last = bare.told.iter().rposition(flush);
    last.and_then(|at| bare.steps.get(at)).unwrap_or(old).clone()
}

/// Runs one frame with every ending.
pub fn frame(frame: &Frame, plan: Plan) -> Crashes {
    let mut crashes = Crashes::default();
    let row = frame.actions.first().map_or("nothing".into(), |action| Step::Act(*action).to_string());
    let cells = crashes.grid.entry(row.clone()).or_default();
    let complete = frame.workload(Ending::Close);
    let bare_setting = Setting::new(false, plan.seed).assuming(plan.assumed);
    let bare = match attempt(&complete, bare_setting) {
        Ok(bare) => bare,
        Err(what) => {
            crashes.failures.push(failure("the bare volume", &complete, "none", what, plan, None));
            return crashes;
        }
    };
    let explored = crash::explore(&bare, bare_setting, plan);
    crashes.without += explored.counts;
    let cell = cells.entry(Fault::PowerCut).or_default();
    cell.without.more(explored.counts.damaged, explored.counts.disks);
    if let Some(damage) = &explored.damage
        && let Some(strip) = strips(&bare, damage).into_iter().find(|strip| strip.ranges.len() > 1)
    {
        crashes.examples.insert(row, strip);
    }
    let killed = killed_bare(&bare);
    cells.entry(Fault::Killed).or_default().without.more(killed.damaged, killed.all);
    let (full, failures) = strikes::disk_full(frame, plan, &bare);
    cells.insert(Fault::DiskFull, full);
    crashes.failures.extend(failures);
    // The level changes nothing about what comes after what: longer programs would show the same.
    if frame.actions.len() < 2 {
        let (levels, failures) = strikes::highest_irql(frame, plan, &bare);
        cells.entry(Fault::HighestIrql).or_default().with = levels;
        crashes.failures.extend(failures);
    }
    for ending in crate::workload::ENDINGS {
        let workload = frame.workload(ending);
        let setting = Setting::new(true, plan.seed).assuming(plan.assumed);
        let begun = Instant::now();
        let recording = attempt(&workload, setting);
        let running = begun.elapsed();
        let verdict = recording.and_then(|with| {
            let differences = wrong(plan.assumed, &workload, &bare, &with)?;
            Ok((with, differences))
        });
        let fault = match ending {
            Ending::Kill | Ending::Exit(1) => Some(Fault::Killed),
            Ending::Abort => Some(Fault::Aborted),
            _ => None,
        };
        if let Some(fault) = fault {
            cells.entry(fault).or_default().with.add(verdict.is_err());
        }
        let (with, differences) = match verdict {
            Ok(verdict) => verdict,
            Err(what) => {
                crashes.failures.push(failure("endings", &workload, "none", what, plan, None));
                continue;
            }
        };
        for difference in differences {
            *crashes.differences.entry(difference).or_default() += 1;
        }
        crashes.trace = mix(crashes.trace, with.trace);
        crashes.calls += with.operations;
        let begun = Instant::now();
        let explored = crash::explore(&with, setting, plan);
        let growth = crashes.growth.entry(frame.actions.len()).or_default();
        growth.workloads += 1;
        growth.states += explored.counts.states;
        growth.calls += with.operations;
        growth.running += running.as_secs_f64();
        growth.recovering += begun.elapsed().as_secs_f64();
        note_crash(&mut crashes.with, cells, &explored);
        if let Some(damage) = &explored.damage {
            let what = damage.what.clone();
            let shown = Some((damage, strips(&with, damage)));
            let fault = describe(damage);
            crashes.failures.push(failure("crash", &workload, &fault, what, plan, shown));
        }
        for number in [explored.counts.states, explored.counts.disks, explored.counts.new] {
            crashes.trace = mix(crashes.trace, number);
        }
        if ending == Ending::Close {
            let lying = crash::explore(&with, setting, Plan { lying: true, ..plan });
            crashes.lying += lying.counts;
            let cell = cells.entry(Fault::LyingDisk).or_default();
            cell.with.more(lying.counts.damaged, lying.counts.disks);
        }
    }
    crashes
}

fn note_crash(with: &mut Counts, cells: &mut BTreeMap<Fault, Cell>, explored: &Explored) {
    *with += explored.counts;
    let nested = explored.damage.as_ref().is_some_and(|damage| damage.states.len() > 1);
    let (first, second) = if nested { (0, explored.counts.damaged) } else { (explored.counts.damaged, 0) };
    let outer = explored.counts.states - explored.counts.nested;
    cells.entry(Fault::PowerCut).or_default().with.more(first, outer);
    cells.entry(Fault::SecondCut).or_default().with.more(second, explored.counts.nested);
}

/// Without a driver, a program that is killed between two steps leaves what it has done so far.
fn killed_bare(bare: &Recording) -> Share {
    let mut share = Share::default();
    let Some(new) = bare.versions.last() else { return share };
    for tree in &bare.steps {
        let whole = |version: &Tree| oracle::same(tree, version, Sameness::Contents);
        share.add(!whole(&bare.versions[0].tree) && !whole(&new.tree));
    }
    share
}

/// What a crash was, in words.
pub fn describe(damage: &Damage) -> String {
    let state = |state: &lab_volume::CrashState| {
        let sectors: Vec<String> = state
            .sectors
            .iter()
            .map(|(sector, choice)| match choice {
                lab_volume::Choice::Version(version) => format!("{sector} in version {version}"),
                lab_volume::Choice::Torn { front, back, at } => {
                    format!("{sector} torn at {at} between {front} and {back}")
                }
            })
            .collect();
        format!("{} log records, sectors [{}]", state.log, sectors.join(", "))
    };
    let states: Vec<String> = damage.states.iter().map(state).collect();
    format!("power cut after effect {}: {}", damage.after, states.join("; then again: "))
}

/// The files of a damaged volume that are neither old nor new.
pub fn strips(recording: &Recording, damage: &Damage) -> Vec<Strip> {
    let (Some(found), Some(old), Some(new)) =
        (&damage.found, recording.versions.first(), recording.versions.last())
    else {
        return Vec::new();
    };
    let mut strips = Vec::new();
    for (name, node) in found.iter().filter(|(_, node)| !node.directory) {
        let data = |tree: &Tree| tree.get(name).map(|node| node.data.clone()).unwrap_or_default();
        let (old, new) = (data(&old.tree), data(&new.tree));
        if node.data == old || node.data == new {
            continue;
        }
        let ranges = origins(&old, &new, &node.data);
        let ranges = ranges.iter().map(|(range, origin): &(_, Origin)| (range.end, origin.word())).collect();
        strips.push(Strip { name: name.clone(), ranges });
    }
    strips
}

pub(crate) fn failure(
    part: &'static str,
    workload: &Workload,
    fault: &str,
    what: String,
    plan: Plan,
    shown: Option<(&Damage, Vec<Strip>)>,
) -> Failure {
    Failure {
        part,
        workload: workload.clone(),
        fault: fault.into(),
        what,
        reproduce: format!(
            "cargo xtask faults -- --seed {}{} --workload '{workload}'",
            plan.seed,
            plan.assumed.option()
        ),
        files: shown.map(|(_, strips)| strips).unwrap_or_default(),
    }
}

/// Runs frames, and says how many were run before the time was over; of the failing ones, one of each kind is shrunk
/// to the shortest that still fails.
pub fn run(frames: &[Frame], plan: Plan, threads: usize, until: Option<Instant>) -> (Crashes, usize) {
    let mut all = Crashes::default();
    let results = parallel(frames, threads, until, |one| frame(one, plan));
    let done = results.iter().filter(|result| result.is_some()).count();
    results.into_iter().flatten().for_each(|crashes| all.absorb(crashes));
    // One of each kind is enough to begin with.
    let mut kinds: BTreeMap<(&'static str, String), Failure> = BTreeMap::new();
    for failure in std::mem::take(&mut all.failures) {
        let kind = (failure.part, failure.what.chars().take(40).collect());
        let shorter = |other: &Failure| failure.workload.actions() < other.workload.actions();
        match kinds.get(&kind) {
            Some(other) if !shorter(other) => {}
            _ => drop(kinds.insert(kind, failure)),
        }
    }
    all.failures = kinds.into_values().take(12).map(|failure| shortest(failure, plan)).collect();
    (all, done)
}

fn fails(workload: &Workload, plan: Plan) -> Option<Failure> {
    let mut actions = Vec::new();
    for step in &workload.0 {
        if let Step::Act(action) = step {
            actions.push(*action);
        }
    }
    let found = frame(&Frame { opening: workload.opening()?, actions }, plan);
    found.failures.into_iter().find(|failure| failure.workload.ending() == workload.ending())
}

fn shortest(failure: Failure, plan: Plan) -> Failure {
    let begun = Instant::now();
    let still =
        |workload: &Workload| begun.elapsed() < Duration::from_secs(20) && fails(workload, plan).is_some();
    let workload = crash::shrink(&failure.workload, still);
    if workload == failure.workload { failure } else { fails(&workload, plan).unwrap_or(failure) }
}
