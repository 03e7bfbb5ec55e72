//! Threads against each other: saves in one process, and meanwhile an unload, a detach, a change of the policy, an
//! abort of the transaction, or the death of the process, in schedules that chance and enumeration choose.
//!
//! The lab pre-empts at the end of every kernel routine that the driver calls, so it interleaves everything between two
//! calls; what the driver does between two calls is one step. That no data race hides in such a step is not explored
//! but excluded by construction: the driver is safe Rust, where memory that threads share is either behind a lock
//! (whose calls are places of pre-emption) or an atomic; `unsafe` is confined to the crate `kernel`.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use intact_saves::{Happened, Scene};
use lab::flt::Completions;
use lab::{CreateOptions, GENERIC_READ, GENERIC_WRITE, Offset, Pending, Status};
use lab_executive::import::{Failure, FaultKind, PlannedFault, Site, SiteId};
use lab_executive::registry::Value;
use lab_executive::scheduler::Strategy;
use serde::Serialize;

use crate::assumed::Assumed;
use crate::campaign::{self, mix};
use crate::machine::{FILE, TARGET, initial, old};
use crate::{message, sites};

/// What else happens while threads save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Meanwhile {
    /// Nothing.
    Nothing,
    /// The driver is asked to unload.
    Unload,
    /// Its instance is asked to detach.
    Detach,
    /// The policy is switched off.
    Policy,
    /// The system aborts the transaction.
    Abort,
    /// The process is killed.
    Kill,
    /// A handle is closed while a write through it is on its way.
    Close,
    /// A handle is flushed: what is there commits, and the save goes on in a new transaction.
    Flush,
    /// All that the process saves is one save (`Scope` = `Process`), and somebody else wants a file of it.
    Process,
    /// The process is suspended for a while, wherever its threads are.
    Suspend,
    /// Two threads make one file, so that whose save it is in is not settled.
    Make,
    /// The policy is switched off, the transaction aborted, and the driver asked to unload.
    All,
}

/// Every disturbance.
pub const MEANWHILE: [Meanwhile; 12] = [
    Meanwhile::Nothing,
    Meanwhile::Unload,
    Meanwhile::Detach,
    Meanwhile::Policy,
    Meanwhile::Abort,
    Meanwhile::Kill,
    Meanwhile::Close,
    Meanwhile::Flush,
    Meanwhile::Process,
    Meanwhile::Suspend,
    Meanwhile::Make,
    Meanwhile::All,
];

/// What [`Meanwhile::Make`] makes.
const MADE: &str = r"C:\Saved\made.txt";
/// Threads that save, and the bytes that each writes.
const THREADS: usize = 3;
const REGION: usize = 512;
/// So often an outsider opens the file.
const OUTSIDE: usize = 6;
/// Switches between threads before which a program is suspended, and the longest time that anybody waits for it.
const SUSPENDED_WITHIN: u64 = 400;
const LONGEST_WAIT_MS: i64 = 15_000;

/// A schedule to run: what happens meanwhile, who runs when, and the seed.
#[derive(Clone, Debug)]
pub struct Schedule {
    meanwhile: Meanwhile,
    strategy: Strategy,
    seed: u64,
    faults: Vec<PlannedFault>,
    /// What is assumed of Windows. No part of the text.
    pub assumed: Assumed,
}

/// What schedules showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Schedules {
    /// Schedules that ran.
    pub ran: u64,
    /// Of these, different ones.
    pub different: u64,
    /// By how they were chosen.
    pub by_strategy: BTreeMap<&'static str, u64>,
    /// The most choices in one schedule.
    pub longest: usize,
    /// Which lock is taken while which is held.
    pub lock_order: BTreeSet<(String, String)>,
    /// Waits whose time was let pass.
    pub timeouts: u64,
    /// Schedules in which a call failed that is made only where threads meet.
    pub failing: u64,
    /// What should not be: the command that runs it again, and what is wrong.
    pub failures: Vec<(String, String)>,
    /// Everything that happened, as one number.
    pub trace: u64,
    /// Return addresses of the driver's calls, from the image's base.
    #[serde(skip)]
    pub places: BTreeSet<u32>,
}

struct Ran {
    trace: u64,
    happened: Vec<Happened>,
    told: Vec<Option<Told>>,
    choices: Vec<usize>,
    locks: BTreeSet<(String, String)>,
    sites: Vec<Site>,
}

fn letter(thread: usize) -> u8 {
    b'A' + thread as u8
}

/// Whether the program's write and close were told to have succeeded.
type Told = Result<(), Status>;

fn save(program: &lab::Process, thread: usize, flush: bool) -> Pending<Told> {
    program.submit(move |caller| {
        let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE);
        let handle = caller.create_file(&options)?.handle;
        let at = Offset::At((thread * REGION) as u64);
        let written = caller.write(handle, at, &[letter(thread); REGION]).map(|_| ());
        let flushed = if flush { caller.flush(handle) } else { Ok(()) };
        let read = caller.read(handle, Some(0), REGION).map(|_| ());
        caller.close(handle)?;
        written.and(flushed).and(read)
    })
}

/// One of two threads that make one file.
fn make(program: &lab::Process, thread: usize) -> Pending<Told> {
    program.submit(move |caller| {
        let made = caller.create_file(&CreateOptions::open_if(MADE, GENERIC_WRITE).share(7))?.handle;
        let at = Offset::At((thread * REGION) as u64);
        let written = caller.write(made, at, &[letter(thread); REGION]).map(|_| ());
        caller.close(made)?;
        written
    })
}

fn run(job: &Schedule) -> Result<Ran, String> {
    let planned = |builder: lab::Builder| job.faults.iter().fold(builder, |lab, fault| lab.fault(*fault));
    let strategy = job.strategy.clone();
    // Requests that take time come to their ends one after the other; a flush is to meet others in the middle of theirs.
    let meets = matches!(job.meanwhile, Meanwhile::Flush | Meanwhile::Process | Meanwhile::Suspend);
    let completions = if meets { Completions::Seeded } else { Completions::Late };
    let scope = if job.meanwhile == Meanwhile::Process { "Process" } else { "Handle" };
    let (scene, loaded) = Scene::builder()
        .rule(|rule| rule.text("Scope", scope).strings("Processes", &["writer.exe", "reader.exe"]))
        .no_files()
        .seed(job.seed)
        .lab(|lab| {
            planned(job.assumed.apply(lab).base(initial()).completions(completions).config(|config| {
                config.page_out_at_dispatch = false;
                config.strategy = strategy;
                config.preempt_per_mille = 300;
            }))
        })
        .try_build();
    if job.faults.is_empty() {
        loaded?;
    }
    if let Some(violation) = scene.lab.violation() {
        return Err(violation.to_string());
    }
    let program = scene.program("writer.exe");
    let mut saves: Vec<_> = (1..THREADS).map(|thread| save(&program, thread, false)).collect();
    let mut closing = None;
    if job.meanwhile == Meanwhile::Close {
        // The I/O manager lets nobody clean up a synchronous one while a request of it is on its way.
        let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE).asynchronous();
        let handle = program.create_file(options).map_err(|status| status.to_string())?;
        let write = program
            .submit(move |caller| caller.write(handle, Offset::At(0), &[letter(0); REGION]).map(|_| ()));
        saves.insert(0, write);
        closing = Some(program.submit(move |caller| caller.close(handle)));
    } else {
        saves.insert(0, save(&program, 0, matches!(job.meanwhile, Meanwhile::Flush | Meanwhile::Suspend)));
    }
    let makers = (job.meanwhile == Meanwhile::Make).then(|| [0, 1].map(|thread| make(&program, thread)));
    // An outsider: it gets in, or is kept out as share modes have it.
    let other = scene.program("reader.exe");
    let neighbour = (job.meanwhile == Meanwhile::Process).then(|| {
        program.submit(|caller| -> Told {
            let own = match caller.create_file(&CreateOptions::open(TARGET, GENERIC_WRITE)) {
                Ok(opened) => opened.handle,
                // The outsider has it.
                Err(Status::SHARING_VIOLATION) => return Ok(()),
                Err(status) => return Err(status),
            };
            let written = caller.write(own, Offset::At(0), &[b'T'; REGION]).map(|_| ());
            caller.close(own)?;
            written
        })
    });
    let outside = meets.then(|| {
        other.submit(move |caller| -> Told {
            for _ in 0..OUTSIDE {
                let read = caller.create_file(&CreateOptions::open(FILE, GENERIC_READ).share(7));
                match read {
                    Ok(opened) => caller.close(opened.handle)?,
                    Err(Status::SHARING_VIOLATION) => {}
                    Err(status) => return Err(status),
                }
                match caller.create_file(&CreateOptions::open(TARGET, GENERIC_WRITE)) {
                    Ok(own) => caller.close(own.handle)?,
                    // The program's save has it.
                    Err(Status::SHARING_VIOLATION) if scope == "Process" => {}
                    Err(status) => return Err(status),
                }
            }
            Ok(())
        })
    });
    let is = |what: Meanwhile| job.meanwhile == what || job.meanwhile == Meanwhile::All;
    if is(Meanwhile::Abort) {
        scene.lab.with_volume(|volume| volume.abort_after_operations(job.seed % 7));
    }
    if is(Meanwhile::Policy) {
        scene.lab.executive().change_registry(|registry| {
            let root = registry.create(r"\Registry\Machine\SOFTWARE\Policies\Intact");
            registry.set(&root, Value::dword("Enabled", 0));
        });
    }
    if job.meanwhile == Meanwhile::Suspend {
        let at = scene.lab.executive().scheduler.switches() + mix(job.seed, 3) % SUSPENDED_WITHIN;
        let reached =
            |lab: &lab::Executive| lab.scheduler.switches() >= at || saves.iter().all(Pending::is_done);
        scene.lab.executive().run_until(reached).map_err(|violation| violation.to_string())?;
        program.suspend();
        scene.pass(LONGEST_WAIT_MS);
        if !outside.as_ref().is_none_or(Pending::is_done) {
            return Err("an outsider waits for a thread that is suspended".into());
        }
        program.resume();
    }
    let driver = scene.lab.drivers().pop();
    let mut unloaded = false;
    if is(Meanwhile::Unload)
        && let Some(driver) = &driver
        && let Ok(report) = scene.lab.unload_driver(driver)
    {
        unloaded = true;
        if !report.is_clean() && !sites::left_on_purpose(&report, &job.faults) {
            return Err(format!("unloading amid saves: {report}"));
        }
    }
    if job.meanwhile == Meanwhile::Detach
        && let Some(filter) = driver.as_ref().and_then(|driver| driver.filter())
        && let Some(instance) = scene.lab.instances(&filter).pop()
    {
        // A refusal is as good.
        let _ = scene.lab.detach(&instance);
    }
    if job.meanwhile == Meanwhile::Kill {
        program.kill(1);
    }
    let mut told: Vec<Option<Told>> = Vec::new();
    for pending in saves {
        if job.meanwhile == Meanwhile::Kill {
            told.push(None);
        } else {
            told.push(Some(pending.wait().map_err(|violation| violation.to_string())?));
        }
    }
    if let Some(closing) = closing {
        let closed = closing.wait().map_err(|violation| violation.to_string())?;
        closed.map_err(|status| format!("a close failed: {status}"))?;
    }
    if let Some(outside) = outside {
        match outside.wait().map_err(|violation| violation.to_string())? {
            Ok(()) => {}
            Err(status) if job.faults.is_empty() => return Err(format!("an outsider was told {status}")),
            Err(_) => {}
        }
    }
    for maker in makers.into_iter().flatten() {
        match maker.wait().map_err(|violation| violation.to_string())? {
            Ok(()) => {}
            Err(status) if job.faults.is_empty() => return Err(format!("a maker was told {status}")),
            Err(_) => {}
        }
    }
    if let Some(neighbour) = neighbour {
        match neighbour.wait().map_err(|violation| violation.to_string())? {
            Ok(()) => {}
            Err(status) if job.faults.is_empty() => return Err(format!("a neighbour was told {status}")),
            Err(_) => {}
        }
        // It is noticed a little later that the process has ended.
        program.try_exit(0).map_err(|violation| violation.to_string())?;
        scene.pass(200);
    }
    if job.faults.iter().any(|fault| fault.kind == FaultKind::Timeout) {
        // What was not waited for is done by a worker. Until it is, the driver rightly refuses to unload.
        scene.pass(200);
    }
    judge(&scene, job, &told)?;
    let happened = scene.happened();
    scene.exit_all();
    if !unloaded {
        let report = scene.lab.unload();
        if !report.is_clean() && !sites::left_on_purpose(&report, &job.faults) {
            return Err(report.to_string());
        }
    }
    let executive = scene.lab.executive();
    Ok(Ran {
        trace: scene.lab.trace_hash(),
        happened,
        told,
        choices: executive.scheduler.choices(),
        locks: executive.locks.graph(),
        sites: executive.calls.sites(),
    })
}

/// Each thread's bytes are entirely old or entirely new, and what the thread was told is true.
fn judge(scene: &Scene, job: &Schedule, told: &[Option<Told>]) -> Result<(), String> {
    let found = scene.committed(FILE).ok_or("the file is gone")?;
    let old = old();
    if found.len() != old.len() {
        return Err(format!("the file has {} bytes, not {}", found.len(), old.len()));
    }
    let happened = scene.happened();
    let excused = happened.iter().any(|event| {
        matches!(event, Happened::RolledBack(_) | Happened::CommitFailed | Happened::PassedThrough(_))
    });
    // Where the call failed that tells of the outcome, nothing tells of it.
    let untold = !job.faults.is_empty() && !happened.contains(&Happened::Committed);
    let excused = excused || untold;
    for (thread, told) in told.iter().enumerate() {
        let range = thread * REGION..(thread + 1) * REGION;
        let is_new = found[range.clone()].iter().all(|byte| *byte == letter(thread));
        let is_old = found[range.clone()] == old[range];
        match told {
            _ if !is_new && !is_old => {
                return Err(format!("thread {thread}: neither old nor new; {happened:?}"));
            }
            Some(Ok(())) if is_old && !excused => {
                return Err(format!(
                    "thread {thread} was told of success, and nothing was saved; {happened:?}"
                ));
            }
            Some(Err(status)) if status.0 >> 16 == 0xC019 => {
                return Err(format!("thread {thread} was told of a transaction: {status}"));
            }
            Some(Err(status)) if matches!(job.meanwhile, Meanwhile::Nothing) && job.faults.is_empty() => {
                return Err(format!(
                    "thread {thread} was told {status} although nothing happened; {happened:?}"
                ));
            }
            _ => {}
        }
    }
    if job.meanwhile == Meanwhile::Make && job.faults.is_empty() {
        let both = [[letter(0); REGION], [letter(1); REGION]].concat();
        if scene.committed(MADE).as_ref() != Some(&both) {
            return Err(format!("two have made a file, and it is not what both have written; {happened:?}"));
        }
    }
    if found[THREADS * REGION..] != old[THREADS * REGION..] {
        return Err("bytes that nobody wrote have changed".into());
    }
    Ok(())
}

fn caught(job: &Schedule) -> Result<Ran, String> {
    catch_unwind(AssertUnwindSafe(|| run(job))).unwrap_or_else(|panic| Err(message(&*panic)))
}

/// Runs one schedule, and says what happened.
///
/// # Errors
/// What is wrong.
pub fn again(schedule: &Schedule) -> Result<String, String> {
    let ran = caught(schedule)?;
    let mut text = String::new();
    for (thread, told) in ran.told.iter().enumerate() {
        let told = match told {
            None => "not asked".into(),
            Some(Ok(())) => "success".into(),
            Some(Err(status)) => status.to_string(),
        };
        writeln!(text, "thread {thread}: {told}").ok();
    }
    let failed = ran.sites.iter().filter(|site| schedule.faults.iter().any(|fault| fault.site == site.id));
    writeln!(text, "saves: {:?}", ran.happened).ok();
    writeln!(text, "{} of {} failing calls made", failed.count(), schedule.faults.len()).ok();
    write!(text, "{} choices, trace {:016x}", ran.choices.len(), ran.trace).ok();
    Ok(text)
}

fn name(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::Random => "random",
        Strategy::Priorities { .. } => "random priorities",
        Strategy::Script(script) if script.len() > 1 => "two pre-emptions",
        Strategy::Script(_) => "one pre-emption, enumerated",
    }
}

/// Runs so many schedules: for each disturbance all with one pre-emption as far as the number allows, then random
/// priorities, random ones, and sampled pairs of pre-emptions, in equal parts. Each wait that is given a time is let wait,
/// and each call of a call stack that is not `known` fails: those are met only where threads meet.
pub fn explore(
    seed: u64,
    assumed: Assumed,
    threads: usize,
    count: usize,
    known: &BTreeSet<SiteId>,
) -> Schedules {
    let mut result = Schedules::default();
    let mut jobs = Vec::new();
    let each = count / MEANWHILE.len() / 4;
    for meanwhile in MEANWHILE {
        let job = |strategy, seed| Schedule { meanwhile, strategy, seed, faults: Vec::new(), assumed };
        let base = job(Strategy::Script(Vec::new()), seed);
        let choices = match caught(&base) {
            Ok(ran) => ran.choices,
            Err(what) => {
                result.failures.push((base.command(), what));
                continue;
            }
        };
        let mut singles = Vec::new();
        for (at, candidates) in choices.iter().enumerate() {
            singles.extend((0..*candidates).map(|index| (at, index)));
        }
        let step = singles.len().div_ceil(each.max(1)).max(1);
        jobs.extend(singles.iter().step_by(step).map(|one| job(Strategy::Script(vec![*one]), seed)));
        for number in 0..each as u64 {
            let own = mix(seed, mix(number, meanwhile as u64));
            let length = choices.len().max(1);
            let changes = 1 + (number % 4) as usize;
            jobs.push(job(Strategy::Priorities { changes, length }, own));
            jobs.push(job(Strategy::Random, own));
            let pick = |salt| singles.get(mix(own, salt) as usize % singles.len().max(1)).copied();
            if let (Some(one), Some(two)) = (pick(1), pick(2)) {
                jobs.push(job(Strategy::Script(vec![one, two]), own));
            }
        }
    }
    let mut different = BTreeSet::new();
    let (mut waits, mut fails): (BTreeMap<SiteId, Schedule>, BTreeMap<SiteId, Vec<Schedule>>) =
        Default::default();
    let results = campaign::parallel(&jobs, threads, None, caught);
    for (job, ran) in jobs.iter().zip(results.into_iter().flatten()) {
        if let Ok(ran) = &ran {
            for site in &ran.sites {
                // The same schedule again, as far as it goes, with that failure.
                let again = |kind| Schedule {
                    faults: vec![PlannedFault { site: site.id, call: 1, kind }],
                    ..job.clone()
                };
                if site.failure == Failure::Timeout {
                    waits.entry(site.id).or_insert_with(|| again(FaultKind::Timeout));
                } else if !known.contains(&site.id) {
                    fails
                        .entry(site.id)
                        .or_insert_with(|| sites::kinds(site).into_iter().map(again).collect());
                }
            }
        }
        *result.by_strategy.entry(name(&job.strategy)).or_default() += 1;
        take(&mut result, &mut different, job, ran);
    }
    result.timeouts = waits.len() as u64;
    let again: Vec<Schedule> = waits.into_values().chain(fails.into_values().flatten()).collect();
    result.failing = again.len() as u64 - result.timeouts;
    let results = campaign::parallel(&again, threads, None, caught);
    for (job, ran) in again.iter().zip(results.into_iter().flatten()) {
        take(&mut result, &mut different, job, ran);
    }
    result.different = different.len() as u64;
    if let Some(cycle) = cycle(&result.lock_order) {
        result.failures.push((
            format!("cargo xtask faults -- --only schedules --seed {seed}"),
            format!("locks are taken in a circle: {cycle}"),
        ));
    }
    result
}

fn take(result: &mut Schedules, different: &mut BTreeSet<u64>, job: &Schedule, ran: Result<Ran, String>) {
    result.ran += 1;
    match ran {
        Ok(ran) => {
            different.insert(ran.trace);
            result.trace = mix(result.trace, ran.trace);
            result.longest = result.longest.max(ran.choices.len());
            result.lock_order.extend(ran.locks);
            result.places.extend(ran.sites.iter().filter_map(|site| site.place.map(|(_, rva)| rva)));
        }
        Err(what) if result.failures.len() < 12 => result.failures.push((job.command(), what)),
        Err(_) => {}
    }
}

/// A circle in the order of locks, over all runs: no single run need show both ends of it.
fn cycle(order: &BTreeSet<(String, String)>) -> Option<String> {
    let reaches = |from: &str, to: &str| {
        let (mut todo, mut seen) = (vec![from.to_owned()], BTreeSet::new());
        while let Some(lock) = todo.pop() {
            if lock == to {
                return true;
            }
            if seen.insert(lock.clone()) {
                todo.extend(order.iter().filter(|(held, _)| *held == lock).map(|(_, taken)| taken.clone()));
            }
        }
        false
    };
    order
        .iter()
        .find(|(held, taken)| held != taken && reaches(taken, held))
        .map(|(held, taken)| format!("{held}, {taken}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_in_the_order_of_locks_is_found() {
        let order = |edges: &[(&str, &str)]| -> BTreeSet<(String, String)> {
            edges.iter().map(|(held, taken)| ((*held).into(), (*taken).into())).collect()
        };
        assert_eq!(cycle(&order(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
        assert!(cycle(&order(&[("a", "b"), ("b", "c"), ("c", "a")])).is_some());
    }
}
