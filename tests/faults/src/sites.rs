//! Every call that the driver makes, failed: at each unique call stack, with each failure that the call's page
//! documents; each allocation; each wait that was given a time; and pairs around the end of a save.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use intact_saves::Happened;
use lab::Status;
use lab_executive::import::{Failure as How, FaultKind, PlannedFault, Site, SiteId};
use lab_volume::Tree;
use serde::Serialize;

use crate::assumed::Assumed;
use crate::campaign::{self, Failure, Share};
use crate::image::Symbols;
use crate::machine::{self, Actor, Setting};
use crate::message;
use crate::oracle::{self, Sameness};
use crate::workload::{Action, Ending, Step, Workload};

/// Programs that together call from everywhere that can be reached.
pub const PROGRAMS: [&str; 28] = [
    "open write@700+900 read append+600 size=4700 flush basic close",
    "overwrite write@0+2200 second beside allocation=9000 close",
    "create write@0+2200 ea security flush close",
    "create write@0+2200 second kill",
    "create abort",
    "create-read-only write@0+2200 reader close",
    "open write@0+2200 reader second reader close",
    "supersede append+600 close",
    "append-only append+600 close",
    "new-stream write@0+2200 beside close",
    "stream write@0+2200 exit=1",
    "open write@0+2200 second kill",
    "open write@0+2200 abort",
    "open write@0+2200 rename link delete replace exit=0",
    "open write@0+2200 rename reader reader-there second close",
    "create-read-only write@0+2200 flush write@700+900 close",
    "open write@0+2200 kept write@700+900 flush append+600 exit=0",
    "open write@0+1100000 append+600 close",
    "open write@0+2200 wait write@700+900 close",
    "open wait rename close",
    "open write@0+2200 executes write@700+900 close",
    "open write@0+2200 outsider-opens write@700+900 close",
    "overwrite close outsider-moves exit=0",
    "open write@0+2200 mapped close exit=0",
    "open mapped flush close kill",
    "open write@0+2200 mapped exit=0",
    "open write@0+2200 zeroes write@700+900 close",
    "open write@0+2200 new-beside close",
];

/// The same, where all that a process saves is one save.
pub const PROGRAMS_OF_PROCESS: [&str; 8] = [
    "open write@0+2200 close neighbour exit=0",
    "create write@0+2200 close neighbour neighbour-moves exit=1",
    "create write@0+2200 second close exit=1",
    "open write@0+2200 close neighbour outsider-opens exit=0",
    "open rename close outsider-takes-name exit=0",
    "open rename close overwrite write@0+600 close exit=0",
    "open write@0+2200 link close neighbour-moves exit=0",
    "create write@0+2200 rename close open write@0+600 reader-there delete close exit=0",
];

/// The limits of a save in these programs, in mebibytes and in seconds.
const LIMIT: u32 = 1;

/// Places that no program reaches, by the functions around the call, and why.
const UNREACHABLE: &[(&str, &str)] = &[];

/// What a driver may leave behind when a wait lasts until its time is over: what is left, and why.
const LEFT_ON_PURPOSE: &[(&str, &str)] = &[(
    "tag 'InRl' of 16 bytes",
    "the status block of a watch whose end was not told in time: the system may still write to it \
     (minifilter/kernel/src/registry/watch.rs)",
)];

/// Whether everything that is left is left on purpose: only after a wait that lasted until its time was over.
pub fn left_on_purpose(report: &lab::Report, faults: &[PlannedFault]) -> bool {
    let known = |what: &String| LEFT_ON_PURPOSE.iter().any(|(left, _)| what.contains(left));
    report.violation.is_none()
        && faults.iter().any(|fault| fault.kind == FaultKind::Timeout)
        && report.left.iter().all(known)
}

/// What the failing calls showed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sites {
    /// Call stacks that end in a call that can fail.
    pub stacks: usize,
    /// Places in the image that call what can fail, by import: reached, and all.
    pub places: BTreeMap<String, (usize, usize)>,
    /// Places that neither a program nor a schedule reaches, with the reason, where there is one.
    pub unreached: Vec<Unreached>,
    /// Runs with one failing call.
    pub single: u64,
    /// Runs with two.
    pub pairs: u64,
    /// By import: call stacks.
    pub imports: BTreeMap<&'static str, usize>,
    /// Runs in which a call failed and files were not whole: with Intact.
    pub share: Share,
    /// The same, by program.
    pub by_program: BTreeMap<String, Share>,
    /// What should not be.
    pub failures: Vec<Failure>,
    /// Everything that happened, as one number.
    pub trace: u64,
    /// Return addresses of the calls that were made, from the image's base.
    #[serde(skip)]
    reached: BTreeSet<u32>,
    /// Call stacks whose calls were failed.
    #[serde(skip)]
    pub known: BTreeSet<SiteId>,
}

/// A place in the image that calls what can fail, and that was not reached.
#[derive(Clone, Debug, Serialize)]
pub struct Unreached {
    /// What it calls.
    pub import: String,
    /// The functions around the call, innermost first.
    pub functions: String,
    /// Why it cannot be reached here.
    pub reason: Option<&'static str>,
}

/// A run with failing calls.
struct Faulted {
    tree: Tree,
    old: Tree,
    told: Vec<(Step, Option<Status>)>,
    happened: Vec<Happened>,
    loaded: bool,
    sites: Vec<Site>,
    /// Calls of each site before the last step.
    before_end: BTreeMap<SiteId, u64>,
    fired: Vec<PlannedFault>,
    /// An event could not be written, and another call failed.
    untold: bool,
    /// So much time was let pass that a save of all that a process saves may have ended before its process.
    settled: bool,
    trace: u64,
}

fn calls(sites: &[Site]) -> BTreeMap<SiteId, u64> {
    sites.iter().map(|site| (site.id, site.calls)).collect()
}

fn run(workload: &Workload, setting: Setting, faults: &[PlannedFault]) -> Result<Faulted, String> {
    let planned = |builder: lab::Builder| faults.iter().fold(builder, |lab, fault| lab.fault(*fault));
    let (scene, loaded) = setting
        .scene(machine::initial())
        .rule(|rule| {
            let scope = if setting.of_process { "Process" } else { "Handle" };
            rule.text("Scope", scope).number("MaxMegabytes", LIMIT).number("MaxIdleSeconds", LIMIT)
        })
        .lab(planned)
        .try_build();
    if let Some(violation) = scene.lab.violation() {
        return Err(violation.to_string());
    }
    let tree = || scene.lab.with_volume(|volume| volume.tree());
    let old = tree();
    let mut actor = Actor::new(&scene);
    let mut told = Vec::new();
    let mut before_end = BTreeMap::new();
    for &step in &workload.0 {
        if matches!(step, Step::End(_)) {
            before_end = calls(&scene.lab.executive().calls.sites());
        }
        told.push((step, actor.perform(&scene, step)?));
    }
    // It is noticed a little later that a process has ended.
    scene.pass(200);
    if faults.iter().any(|fault| fault.kind == FaultKind::Timeout) {
        // Who was to be woken looks at the next interval only.
        scene.pass(1_000);
    }
    let tree = tree();
    scene.exit_all();
    let report = scene.lab.unload();
    if !report.is_clean() && !left_on_purpose(&report, faults) {
        return Err(format!("{report}"));
    }
    let executive = scene.lab.executive();
    let (sites, fired) = (executive.calls.sites(), executive.calls.fired());
    let tells = |fault: &PlannedFault| {
        sites.iter().any(|site| site.id == fault.site && site.import == "EtwWriteTransfer")
    };
    let untold = fired.iter().any(tells) && !fired.iter().all(tells);
    let settled = setting.of_process && fired.iter().any(|fault| fault.kind == FaultKind::Timeout);
    Ok(Faulted {
        tree,
        old,
        told,
        happened: scene.happened(),
        loaded: loaded.is_ok(),
        sites,
        before_end,
        fired,
        untold,
        settled,
        trace: scene.lab.trace_hash(),
    })
}

fn caught(workload: &Workload, setting: Setting, faults: &[PlannedFault]) -> Result<Faulted, String> {
    catch_unwind(AssertUnwindSafe(|| run(workload, setting, faults)))
        .unwrap_or_else(|panic| Err(message(&*panic)))
}

/// What a program cannot be told any more: it has closed its last handle.
fn fails_at_the_end(event: &Happened) -> bool {
    match event {
        Happened::CommitFailed => true,
        Happened::RolledBack(why) => {
            why == "the last flush failed" || why == "a part of what was asked for may be missing"
        }
        _ => false,
    }
}

/// Judges a run with failing calls against the same program on the bare volume, without the steps that failed.
fn judge(workload: &Workload, setting: Setting, faulted: &Faulted) -> Result<(), String> {
    for (step, status) in &faulted.told {
        if status.is_some_and(|status| status.0 >> 16 == 0xC019) {
            return Err(format!("{step} was told of a transaction: {}", status.unwrap_or(Status::SUCCESS)));
        }
    }
    let mut steps = Vec::new();
    for (step, status) in &faulted.told {
        match (step, status) {
            (Step::End(ending), _) => {
                steps.push(Step::End(if *ending == Ending::Abort { Ending::Close } else { *ending }))
            }
            (_, None) => steps.push(*step),
            // What later steps write depends on their numbers.
            (Step::Act(_), Some(_)) => steps.push(Step::Act(Action::Read)),
            _ => {}
        }
    }
    let whole = |tree: &Tree| oracle::same(&faulted.tree, tree, Sameness::Told);
    if whole(&faulted.old) && steps.iter().all(|step| !modifies(*step)) {
        return Ok(());
    }
    let complete = Workload(steps.clone());
    let bare = campaign::attempt(&complete, Setting::new(false, 1).assuming(setting.assumed))?;
    let as_bare = bare.steps.last().is_some_and(|tree| whole(tree));
    let passed = faulted.happened.iter().any(|event| matches!(event, Happened::PassedThrough(_)));
    if !faulted.loaded || passed {
        // Where the driver is not there, or said that it let an open pass, the program did as without it.
        let partly = bare.steps.iter().any(|tree| whole(tree)) || whole(&faulted.old);
        return if as_bare || partly { Ok(()) } else { Err(difference(faulted, &bare)) };
    }
    let died = matches!(workload.ending(), Some(Ending::Kill | Ending::Exit(1) | Ending::Abort));
    let all_told = faulted.told.iter().all(|(_, status)| status.is_none());
    // What a successful flush made durable is the old version from then on.
    // So is what was there when the save reached its limit.
    let durable = |step: &Step| match step {
        Step::Act(
            Action::Flush | Action::Wait | Action::OutsiderOpens | Action::Executes | Action::Zeroes,
        ) => true,
        Step::Act(Action::Write { length, .. }) => *length >= LIMIT << 20,
        _ => false,
    };
    let flushes = steps.iter().zip(&bare.steps).filter(|(step, _)| durable(step));
    let mut closed = steps.iter().zip(&bare.steps).skip(1).zip(&bare.steps);
    // So is what was there when the program opened another file: that may be another save.
    let checkpoint = flushes.into_iter().any(|(_, tree)| whole(tree))
        || closed.any(|((step, _), before)| matches!(step, Step::Open(_)) && whole(before));
    let old = whole(&faulted.old) || placeholder_only(faulted) || checkpoint;
    let committed = faulted.happened.contains(&Happened::Committed);
    match (old, as_bare) {
        (true, _) if died || !all_told => Ok(()),
        (true, _) if faulted.happened.iter().any(fails_at_the_end) => Ok(()),
        (true, _) if !committed && !workload.0.iter().any(|step| modifies(*step)) => Ok(()),
        // What would have told of the second failure has failed itself.
        (true, false) if faulted.untold => Ok(()),
        (true, false) => Err("the program was told of success, and nothing was saved".into()),
        (true, true) => Ok(()),
        (false, true) if !died || faulted.settled => Ok(()),
        (false, true) => Err("the program died, and its save was committed".into()),
        (false, false) => Err(difference(faulted, &bare)),
    }
}

fn modifies(step: Step) -> bool {
    use crate::workload::Opening;
    match step {
        Step::Open(opening) => !matches!(opening, Opening::Open | Opening::AppendOnly | Opening::Stream),
        Step::Act(action) => !matches!(
            action,
            Action::Read
                | Action::Reader
                | Action::ReaderThere
                | Action::Kept
                | Action::Flush
                | Action::Executes
                | Action::OutsiderOpens
                | Action::OutsiderTakesName
                | Action::OutsiderMoves
                | Action::Wait
        ),
        Step::End(_) => false,
    }
}

fn placeholder_only(faulted: &Faulted) -> bool {
    let versions =
        [machine::Version { tree: std::sync::Arc::new(faulted.old.clone()), from: 0, promised: Some(0) }];
    matches!(
        oracle::judge(&faulted.tree, &versions, 0, Sameness::Told),
        oracle::Verdict::Limited(..) | oracle::Verdict::Version(_)
    )
}

fn difference(faulted: &Faulted, bare: &machine::Recording) -> String {
    let told: Vec<String> = faulted
        .told
        .iter()
        .filter_map(|(step, status)| status.map(|status| format!("{step}: {status}")))
        .collect();
    let new = bare
        .steps
        .last()
        .map_or_else(String::new, |tree| oracle::difference(&faulted.tree, tree, Sameness::Told));
    format!(
        "neither old ({}) nor new ({new}); told [{}], {:?}",
        oracle::difference(&faulted.tree, &faulted.old, Sameness::Told),
        told.join(", "),
        faulted.happened
    )
}

pub(crate) fn kinds(site: &Site) -> Vec<FaultKind> {
    match site.failure {
        How::Never => Vec::new(),
        How::Null => vec![FaultKind::Null],
        How::Timeout => vec![FaultKind::Timeout],
        How::Status => site.failures.iter().map(|status| FaultKind::Status(status.cast_signed())).collect(),
    }
}

/// A run to make.
struct Job {
    workload: Workload,
    setting: Setting,
    faults: Vec<(PlannedFault, &'static str, Vec<String>)>,
}

/// Fails everything. `share`: of so many jobs, one is done (1: all of them).
pub fn explore(seed: u64, assumed: Assumed, threads: usize, share: usize) -> Sites {
    let mut result = Sites::default();
    let setting = Setting::new(true, seed).assuming(assumed);
    let of_process = Setting { of_process: true, ..setting };
    let mut seen: BTreeSet<SiteId> = BTreeSet::new();
    let mut places = BTreeSet::new();
    let (mut single, mut pairs) = (Vec::new(), Vec::new());
    let programs = PROGRAMS.map(|line| (line, setting));
    for (line, setting) in programs.into_iter().chain(PROGRAMS_OF_PROCESS.map(|line| (line, of_process))) {
        let Ok(workload) = line.parse::<Workload>() else { continue };
        let base = match caught(&workload, setting, &[]) {
            Ok(base) => base,
            Err(what) => {
                result.failures.push(failure(&workload, setting, "no call fails", what, &[]));
                continue;
            }
        };
        if let Err(what) = judge(&workload, setting, &base) {
            result.failures.push(failure(&workload, setting, "no call fails", what, &[]));
        }
        let mut ending = Vec::new();
        for site in &base.sites {
            places.extend(site.place.map(|(_, rva)| rva));
            let new = seen.insert(site.id);
            if new {
                result.stacks += 1;
                *result.imports.entry(site.import).or_default() += 1;
            }
            let before = base.before_end.get(&site.id).copied().unwrap_or(0);
            for kind in kinds(site) {
                let fault =
                    |call| (PlannedFault { site: site.id, call, kind }, site.import, site.frames.clone());
                if new {
                    // The first calls and the last: what comes between is like them.
                    let which = BTreeSet::from([1, 2, 3, 4, site.calls]);
                    for call in which.into_iter().filter(|call| *call <= site.calls) {
                        let faults = vec![fault(call)];
                        single.push(Job { workload: workload.clone(), setting, faults });
                    }
                }
                if site.calls > before
                    && ending.last().is_none_or(|(last, ..): &(PlannedFault, _, _)| last.site != site.id)
                {
                    ending.push(fault(before + 1));
                }
            }
        }
        for (index, one) in ending.iter().enumerate() {
            for two in &ending[index + 1..] {
                let faults = vec![one.clone(), two.clone()];
                pairs.push(Job { workload: workload.clone(), setting, faults });
            }
        }
    }
    let every = |jobs: Vec<Job>, share: usize| -> Vec<Job> {
        let offset = seed as usize % share.max(1);
        jobs.into_iter().skip(offset).step_by(share.max(1)).collect()
    };
    let single = every(single, share);
    // Pairs are many, and most of them alike: four times as sparse in a slice.
    let pairs = every(pairs, if share > 1 { share * 8 } else { 1 });
    for (jobs, count) in [(&single, &mut result.single), (&pairs, &mut result.pairs)] {
        *count = jobs.len() as u64;
    }
    for jobs in [&single, &pairs] {
        let all = campaign::parallel(jobs, threads, None, perform);
        for (job, performed) in jobs.iter().zip(all.into_iter().flatten()) {
            places.extend(&performed.1);
            take(&mut result, &job.workload, performed);
        }
    }
    (result.reached, result.known) = (places, seen);
    result
}

/// The trace, the places from which calls were made, and what is wrong.
type Performed = (u64, Vec<u32>, Option<Failure>);

fn take(result: &mut Sites, workload: &Workload, (trace, _, failure): Performed) {
    result.by_program.entry(workload.to_string()).or_default().add(failure.is_some());
    result.trace = campaign::mix(result.trace, trace);
    result.share.add(failure.is_some());
    if let Some(failure) = failure {
        let known =
            result.failures.iter().filter(|other| other.what.get(..30) == failure.what.get(..30)).count();
        if known < 6 {
            result.failures.push(failure);
        }
    }
}

fn perform(job: &Job) -> Performed {
    let setting = job.setting;
    let faults: Vec<PlannedFault> = job.faults.iter().map(|(fault, ..)| *fault).collect();
    let describe = || {
        let of = |(fault, import, frames): &(PlannedFault, &str, Vec<String>)| {
            let how = match fault.kind {
                FaultKind::Status(status) => format!("fails with {}", Status(status.cast_unsigned())),
                FaultKind::Null => "returns null".into(),
                FaultKind::Timeout => "lasts until its time is over".into(),
            };
            format!("call {} of {import} {how}, from {}", fault.call, frames.join(" < "))
        };
        job.faults.iter().map(of).collect::<Vec<_>>().join("; and ")
    };
    match caught(&job.workload, setting, &faults) {
        Ok(faulted) => {
            // A second fault may lie on a way that the first one closes.
            let verdict = if faulted.fired.is_empty() {
                Err("the call was not made again: the run does not repeat itself".into())
            } else {
                judge(&job.workload, setting, &faulted)
            };
            let failed =
                verdict.err().map(|what| failure(&job.workload, setting, &describe(), what, &faults));
            let places = faulted.sites.iter().filter_map(|site| site.place.map(|(_, rva)| rva)).collect();
            (faulted.trace, places, failed)
        }
        Err(what) => (0, Vec::new(), Some(failure(&job.workload, setting, &describe(), what, &faults))),
    }
}

fn failure(
    workload: &Workload,
    setting: Setting,
    fault: &str,
    what: String,
    faults: &[PlannedFault],
) -> Failure {
    let scope = if setting.of_process { " --of-process" } else { "" };
    let planned: Vec<String> = faults.iter().map(|fault| format!(" --fail {}", show(*fault))).collect();
    Failure {
        part: "failing calls",
        workload: workload.clone(),
        fault: fault.into(),
        what,
        reproduce: format!(
            "cargo xtask faults -- --seed {}{} --workload '{workload}'{scope}{}",
            setting.seed,
            setting.assumed.option(),
            planned.concat()
        ),
        files: Vec::new(),
    }
}

impl Sites {
    /// Reasons that no place needs any more, once the places were counted.
    pub fn reasons_without_a_place(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let needed = |part: &str| self.unreached.iter().any(|place| place.functions.contains(part));
        UNREACHABLE.iter().filter(move |(part, _)| !self.places.is_empty() && !needed(part))
    }

    /// Counts the places that were reached, here or in `elsewhere`, and names those that were not.
    pub fn cover(&mut self, elsewhere: &BTreeSet<u32>) -> Result<(), String> {
        self.reached.extend(elsewhere);
        let (image, symbols) = (intact_saves::intact(), Symbols::beside(&intact_saves::intact())?);
        for (place, import) in crate::image::calls(&image)? {
            // Only what can fail is a site; the lab says which imports these are.
            if !self.imports.contains_key(import.as_str()) {
                continue;
            }
            let entry = self.places.entry(import.clone()).or_default();
            entry.1 += 1;
            if self.reached.contains(&place) {
                entry.0 += 1;
                continue;
            }
            let functions = symbols.around(place - 1);
            let known = UNREACHABLE.iter().find(|(part, _)| functions.contains(part));
            self.unreached.push(Unreached { import, functions, reason: known.map(|(_, reason)| *reason) });
        }
        Ok(())
    }
}

/// A planned fault as the command line takes it: `SITE:CALL:STATUS`, all hexadecimal; `null` or `timeout` for a status.
pub fn show(fault: PlannedFault) -> String {
    let how = match fault.kind {
        FaultKind::Status(status) => format!("{:x}", status.cast_unsigned()),
        FaultKind::Null => "null".into(),
        FaultKind::Timeout => "timeout".into(),
    };
    format!("{:x}:{:x}:{how}", fault.site.0, fault.call)
}

/// Reads what [`show`] writes.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<PlannedFault, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let &[site, call, how] = parts.as_slice() else {
        return Err(format!("{text:?} is not SITE:CALL:STATUS"));
    };
    let number = |text: &str| u64::from_str_radix(text, 16).map_err(|error| format!("{text:?}: {error}"));
    let kind = match how {
        "null" => FaultKind::Null,
        "timeout" => FaultKind::Timeout,
        status => {
            let status = u32::try_from(number(status)?).map_err(|error| format!("{status:?}: {error}"))?;
            FaultKind::Status(status.cast_signed())
        }
    };
    Ok(PlannedFault { site: SiteId(number(site)?), call: number(call)?, kind })
}

/// Runs one workload with these calls failing, and says what happened.
///
/// # Errors
/// What is wrong.
pub fn again(workload: &Workload, setting: Setting, faults: &[PlannedFault]) -> Result<String, String> {
    let faulted = caught(workload, setting, faults)?;
    let told: Vec<String> = faulted
        .told
        .iter()
        .map(|(step, status)| {
            format!("{step}: {}", status.map_or("success".into(), |status| status.to_string()))
        })
        .collect();
    let text = format!(
        "{}\nsaves: {:?}\n{} of {} calls failed",
        told.join("\n"),
        faulted.happened,
        faulted.fired.len(),
        faults.len()
    );
    judge(workload, setting, &faulted).map(|()| text.clone()).map_err(|what| format!("{text}\n{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planned_fault_reads_back() {
        for kind in [FaultKind::Null, FaultKind::Timeout, FaultKind::Status(0xC000_009A_u32.cast_signed())] {
            let fault = PlannedFault { site: SiteId(0xABCD), call: 17, kind };
            assert_eq!(parse(&show(fault)), Ok(fault));
        }
        assert!(parse("1:2").is_err() && parse("x:1:null").is_err());
    }

    #[test]
    fn every_program_is_a_workload() {
        for line in PROGRAMS.into_iter().chain(PROGRAMS_OF_PROCESS) {
            assert_eq!(line.parse::<Workload>().unwrap().to_string(), line);
        }
    }
}
