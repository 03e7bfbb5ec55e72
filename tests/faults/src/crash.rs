//! Every crash point of a workload, every state that a crash there may leave, recovery, and the oracle.
//!
//! Equal disks are recovered once, and volumes that are equal after recovery get the driver attached once: both are
//! counted. Recovery writes, so it can crash too, and so can what the driver does when it is attached: their effects
//! are crashed in the same way.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use intact_saves::Happened;
use lab::{CreateOptions, GENERIC_WRITE, Offset};
use lab_volume::{Base, CrashState, Digest, Disk, Tree, Volume};
use serde::Serialize;

use crate::assumed::Assumed;
use crate::machine::{FILE, Recording, Setting, Version};
use crate::oracle::{self, Limit, Sameness, Verdict};
use crate::states::{self, Bounds};
use crate::workload::Workload;

/// How many recoveries in a row may crash.
const DEPTH: usize = 2;
/// Bounds for crashes of recovery and of the driver's attachment.
const NESTED: Bounds = Bounds { combinations: 8, tears: 1, samples: 1 };

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Workloads that ran.
    pub workloads: u64,
    /// Crash points: places between two disk effects.
    pub points: u64,
    /// Crash states.
    pub states: u64,
    /// Of these, states of a crash during recovery or during the driver's attachment.
    pub nested: u64,
    /// Different disks among them: each was recovered.
    pub disks: u64,
    /// Different volumes after recovery: to each the driver was attached.
    pub volumes: u64,
    /// Disks that came back as an old version.
    pub old: u64,
    /// Disks that came back as the newest version.
    pub new: u64,
    /// Disks with no more than a documented limit beside a version.
    pub limited: u64,
    /// Disks with damage.
    pub damaged: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.workloads += other.workloads;
        self.points += other.points;
        self.states += other.states;
        self.nested += other.nested;
        self.disks += other.disks;
        self.volumes += other.volumes;
        self.old += other.old;
        self.new += other.new;
        self.limited += other.limited;
        self.damaged += other.damaged;
    }
}

/// A crash that damaged something.
#[derive(Clone, Debug)]
pub struct Damage {
    /// After how many of the workload's disk effects.
    pub after: u64,
    /// Which state the crash left; the last one of recoveries that crashed too.
    pub states: Vec<CrashState>,
    /// What is wrong.
    pub what: String,
    /// What was found; `None`: it does not mount.
    pub found: Option<Arc<Tree>>,
}

/// What became of one workload.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// How much was looked at.
    pub counts: Counts,
    /// The first damage.
    pub damage: Option<Damage>,
}

/// How crashes are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where enumeration ends.
    pub bounds: Bounds,
    /// For what lies beyond.
    pub seed: u64,
    /// The disk says that it flushed, and does not.
    pub lying: bool,
    /// What is assumed of Windows.
    pub assumed: Assumed,
}

struct Exploration<'a> {
    setting: Setting,
    plan: Plan,
    versions: &'a [Version],
    how: Sameness,
    seen: HashSet<(Digest, usize, usize)>,
    attached: Vec<(Arc<Tree>, usize)>,
    result: Explored,
}

/// Looks at every crash of a workload that ran.
pub fn explore(recording: &Recording, setting: Setting, plan: Plan) -> Explored {
    let mut disk = recording.disk.clone();
    disk.set_lying(plan.lying);
    let mut exploration = Exploration {
        setting,
        plan,
        versions: &recording.versions,
        how: if setting.intact { Sameness::Whole } else { Sameness::Contents },
        seen: HashSet::new(),
        attached: Vec::new(),
        result: Explored::default(),
    };
    exploration.result.counts.workloads = 1;
    for after in recording.first..=disk.effect_count() {
        exploration.point(&disk, after, after, plan.bounds, &[]);
    }
    exploration.result
}

impl Exploration<'_> {
    /// Every state of one crash point. `after` tells which versions are possible.
    fn point(&mut self, disk: &Disk, point: u64, after: u64, bounds: Bounds, before: &[CrashState]) {
        let states = disk.crash_states(point);
        let counts = &mut self.result.counts;
        counts.points += 1;
        let newest = self.versions.iter().rposition(|version| version.from <= after).unwrap_or(0);
        let promised = |version: &Version| version.promised.is_some_and(|at| at <= after);
        let oldest = self.versions.iter().rposition(promised).unwrap_or(0);
        for state in states::of(&states, bounds, self.plan.seed.wrapping_add(point)) {
            let counts = &mut self.result.counts;
            counts.states += 1;
            counts.nested += u64::from(!before.is_empty());
            if self.seen.insert((states.digest(&state), oldest, newest)) {
                counts.disks += 1;
                let mut history = before.to_vec();
                let base = states.build(&state);
                history.push(state);
                self.recover(base, after, history);
            }
        }
    }

    fn recover(&mut self, base: Base, after: u64, history: Vec<CrashState>) {
        let volume = match Volume::mount(base.clone()) {
            Ok(volume) => volume,
            Err(error) => return self.damaged(after, history, format!("does not mount: {error}"), None),
        };
        let tree = Arc::new(volume.tree());
        if let Err(what) = volume.check() {
            return self.damaged(
                after,
                history,
                format!("the volume contradicts itself: {what}"),
                Some(tree),
            );
        }
        let version = match oracle::judge(&tree, self.versions, after, self.how) {
            Verdict::Damaged(what) => return self.damaged(after, history, what, Some(tree)),
            Verdict::Limited(version, Limit::EmptyPlaceholder) => {
                self.result.counts.limited += 1;
                version
            }
            Verdict::Version(version) => {
                let newest = version > 0 && version + 1 == self.versions.len();
                *(if newest { &mut self.result.counts.new } else { &mut self.result.counts.old }) += 1;
                version
            }
        };
        if history.len() <= DEPTH && !self.plan.lying {
            for point in 1..=volume.disk.effect_count() {
                self.point(&volume.disk, point, after, NESTED, &history);
            }
        }
        let known = self.attached.iter().any(|(known, of)| *of == version && **known == *tree);
        if self.setting.intact && !known {
            self.attached.push((tree, version));
            self.result.counts.volumes += 1;
            self.attach(base, after, history);
        }
    }

    /// Recovery as it happens: the volume is mounted, the driver attached, a program saves.
    fn attach(&mut self, base: Base, after: u64, history: Vec<CrashState>) {
        let setting = self.setting;
        let versions = self.versions;
        let how = self.how;
        let attached = catch_unwind(AssertUnwindSafe(|| -> Result<Disk, String> {
            let (scene, loaded) = setting.scene(base).try_build();
            loaded?;
            let (tree, disk) = scene.lab.with_volume(|volume| (volume.tree(), volume.disk.clone()));
            if let Verdict::Damaged(what) = oracle::judge(&tree, versions, after, how) {
                return Err(format!("after the driver was attached: {what}"));
            }
            let program = scene.program("after.exe");
            let exists = tree.contains_key(r"Saved\report.txt");
            let saved = program.call(move |caller| {
                let handle = caller.create_file(&CreateOptions::open_if(FILE, GENERIC_WRITE))?.handle;
                caller.write(handle, Offset::At(0), b"saved again")?;
                caller.close(handle)
            });
            let begun = if exists { "a save of the file" } else { "making the file again" };
            saved.map_err(|status| format!("{begun} after recovery: {status}"))?;
            if !scene.happened().contains(&Happened::Committed) {
                return Err(format!("{begun} after recovery is not committed: {:?}", scene.happened()));
            }
            scene.end();
            Ok(disk)
        }));
        match attached {
            Ok(Ok(disk)) => {
                // What mounting wrote was crashed above; what the driver wrote on top of it comes here.
                let mounted = self.effects_of_mounting(&disk);
                for point in mounted + 1..=disk.effect_count() {
                    self.point(&disk, point, after, NESTED, &history);
                }
            }
            Ok(Err(what)) => self.damaged(after, history, what, None),
            Err(panic) => self.damaged(after, history, crate::message(&panic), None),
        }
    }

    fn effects_of_mounting(&self, disk: &Disk) -> u64 {
        let before = disk.crash_states(0).build(&CrashState::default());
        Volume::mount(before).map_or(0, |volume| volume.disk.effect_count())
    }

    fn damaged(&mut self, after: u64, states: Vec<CrashState>, what: String, found: Option<Arc<Tree>>) {
        self.result.counts.damaged += 1;
        self.result.damage.get_or_insert(Damage { after, states, what, found });
    }
}

/// Finds the shortest workload that still fails as `fails` says, by leaving out actions.
pub fn shrink(workload: &Workload, fails: impl Fn(&Workload) -> bool) -> Workload {
    let mut shortest = workload.clone();
    loop {
        let shorter = shortest.shorter().find(|shorter| fails(shorter));
        match shorter {
            Some(shorter) => shortest = shorter,
            None => return shortest,
        }
    }
}
