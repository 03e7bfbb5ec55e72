//! The two machines side by side: one bare, one with Intact, on volumes that began alike.

use std::collections::VecDeque;
use std::rc::Rc;

use intact_saves::{Rule, Scene};
use lab::{Caller, CreateOptions, GENERIC_WRITE, Lab, Offset, PowerState, Status, Violation};
use lab_volume::Base;

use crate::answer::{Answer, Value};
use crate::differences::{self, Difference, Situation};
use crate::ledger::Ledger;
use crate::machine::{Machine, PROGRAM, Versions, called};
use crate::program::{Call, Program, Step, name_of};
use crate::reports::{self, FILTERS, Met, Unlike, Watcher};
use crate::world::World;

/// How many programs a pair of machines runs before it is made anew.
pub const FOLDERS: usize = 64;
/// FILE_ATTRIBUTE_READONLY.
const READ_ONLY: u64 = 1;
/// Decides how long reads and writes of asynchronous handles take: the same for all programs, so that each is repeated alone.
const TRANSFERS: u64 = 1;
/// Clusters of the volume: 64 MiB.
const CLUSTERS: u64 = 16_384;

/// What a program begins with, below its folder.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let data = |length: usize| (0..length).map(|at| (at % 253) as u8).collect::<Vec<u8>>();
    vec![
        ("report.txt", b"the old version of the report".to_vec()),
        ("report.txt:notes", b"notes".to_vec()),
        ("data.bin", data(9000)),
        ("empty.txt", Vec::new()),
        ("readonly.txt", b"read only".to_vec()),
        (r"sub\inner.txt", data(700)),
    ]
}

/// The folder of a program.
pub fn folder(number: usize) -> String {
    format!(r"Saved\{number}")
}

/// Makes a file that has a hole at its beginning, some data, and another hole.
fn make_sparse(caller: &Caller<'_>, path: &str) -> Result<(), Status> {
    const FSCTL_SET_SPARSE: u32 = 0x0009_00C4;
    const FILE_END_OF_FILE_INFORMATION: u32 = 20;
    let handle = caller.create_file(&CreateOptions::create(path, GENERIC_WRITE))?.handle;
    caller.fs_control(handle, FSCTL_SET_SPARSE, &[], 0)?;
    caller.set_information(handle, FILE_END_OF_FILE_INFORMATION, &30_000_u64.to_le_bytes())?;
    caller.write(handle, Offset::At(9000), b"in the middle of nothing")?;
    caller.close(handle)
}

/// A disk with the folders of so many programs.
pub fn disk(folders: usize) -> Base {
    let lab = match Lab::builder().clusters(CLUSTERS).build() {
        Ok(lab) => lab,
        Err(error) => panic!("{error}"),
    };
    lab.with_volume(|volume| {
        for number in 0..folders {
            for (name, contents) in files() {
                let path = format!(r"{}\{name}", folder(number));
                volume.put_file(&path, &contents).unwrap_or_else(|status| panic!("{path}: {status}"));
            }
        }
    });
    let maker = lab.process("maker.exe");
    for number in 0..folders {
        let path = format!(r"C:\{}\sparse.bin", folder(number));
        let made = maker.call({
            let path = path.clone();
            move |caller| make_sparse(caller, &path)
        });
        made.unwrap_or_else(|status| panic!("{path}: {status}"));
    }
    maker.exit(0);
    lab.power_off(PowerState::Orderly)
}

/// What the rule says about processes that end with files open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// As without Intact: everything that was written stays.
    Commit,
    /// The default.
    ByStatus,
}

/// A read or write that was begun.
struct Begun {
    step: Step,
    /// What was known then.
    world: World,
    /// Its file was in a save then, or since.
    met: bool,
}

impl Begun {
    fn new(step: Step, world: &World) -> Begun {
        let mut begun = Begun { step, world: world.clone(), met: false };
        begun.look(world);
        begun
    }

    fn look(&mut self, world: &World) {
        let open = self.step.call.slot().and_then(|slot| self.world.open(slot));
        self.met |= open.is_some_and(|open| world.is_saved(open.file));
    }

    /// Whether it has read for somebody outside of a save while there was one: whether that has ended in the middle is not said
    /// (`others-see-the-old-version`).
    fn is_outside(&self) -> bool {
        let open = self.step.call.slot().and_then(|slot| self.world.open(slot));
        self.met && matches!(self.step.call, Call::Read { .. }) && open.is_some_and(|open| !open.takes_part)
    }
}

/// Two machines.
pub struct Pair {
    /// Without Intact.
    pub bare: Machine,
    /// With it.
    pub intact: Machine,
    /// What saves of the program have met, by name.
    met: Met,
    ledger: Ledger,
    /// Reads and writes that were begun and not compared yet.
    begun: VecDeque<Begun>,
    /// It runs one program.
    alone: bool,
    ran: usize,
}

/// Something that differs and is not on the list.
#[derive(Debug)]
pub struct Failure {
    /// What kind of difference it is: failures of one kind have one cause, as a rule.
    pub kind: String,
    /// The step; none: after the end.
    pub step: Option<usize>,
    /// What differs, for people.
    pub what: String,
}

/// How a program went.
#[derive(Default)]
pub struct Run {
    /// Requests that were made and compared.
    pub operations: u64,
    /// Of these, made while reads or writes were under way.
    pub amid: u64,
    /// Listed differences that were met.
    pub met: Vec<&'static str>,
    /// What differs and is not on the list.
    pub failure: Option<Failure>,
    /// The machines cannot go on.
    pub spent: bool,
}

impl Pair {
    /// Two machines with this disk.
    pub fn new(disk: &Base, seed: u64, on_exit: OnExit) -> Pair {
        let build = |bare: bool| {
            let mut scene = Scene::builder().no_files().seed(seed).lab(|lab| {
                lab.base(disk.clone())
                    .slow_transfers(TRANSFERS)
                    .config(|config| config.page_out_at_dispatch = seed.is_multiple_of(8))
            });
            // What is left is compared at once: no save waits for more (tests/saves/tests/saves/hollow.rs).
            scene = scene.rule(|rule: Rule| {
                let rule = rule.number("SettleMilliseconds", 0);
                if on_exit == OnExit::Commit { rule.text("OnExit", "Commit") } else { rule }
            });
            Machine::new(if bare { scene.bare().build() } else { scene.build() })
        };
        Pair {
            bare: build(true),
            intact: build(false),
            met: Met::default(),
            ledger: Ledger::default(),
            begun: VecDeque::new(),
            alone: false,
            ran: 0,
        }
    }

    /// For one program.
    pub fn alone(disk: &Base) -> Pair {
        Pair { alone: true, ..Pair::new(disk, 1, OnExit::Commit) }
    }

    /// Whether there is a folder left for another program.
    pub fn has_room(&self) -> bool {
        self.ran < FOLDERS
    }

    /// Runs a program on both, step by step, until its end or the first difference.
    pub fn run(&mut self, program: &Program) -> Run {
        let number = self.next();
        let mut run = Run::default();
        match self.try_run(program, number, &mut run) {
            Ok(()) => {}
            Err(violation) => {
                run.spent = true;
                let what = violation.to_string();
                let kind = what.lines().next().unwrap_or_default().into();
                run.failure = Some(Failure { kind, step: None, what });
            }
        }
        run.spent |= run.failure.is_some();
        run
    }

    fn try_run(&mut self, program: &Program, number: usize, run: &mut Run) -> Result<(), Rc<Violation>> {
        let mut ticks = self.begin(number)?;
        // One that runs alone is watched in every way: it may be a program that failed in another place.
        let one = number % FILTERS.len();
        let filters = if self.alone { &FILTERS[..] } else { &FILTERS[one..=one] };
        self.bare.watch(filters)?;
        self.intact.watch(filters)?;
        let mut world = World::default();
        for (index, step) in program.steps.iter().enumerate() {
            ticks += 1;
            let amid = self.bare.is_transferring();
            match self.step(step, ticks, &mut world)? {
                // Only what waits could let it go on.
                Told::Alike(Answer::Stuck) => {
                    run.spent = true;
                    return Ok(());
                }
                Told::Alike(answer) => {
                    run.operations += u64::from(answer.counts());
                    if exposes(step, &answer) {
                        return self.abandon(run);
                    }
                    run.amid += u64::from(amid && answer.counts());
                    if let Err(what) = self.ledger.balance(&self.intact.scene.lab) {
                        let kind = "sums".into();
                        run.failure =
                            Some(Failure { kind, step: Some(index), what: format!("{step}\n{what}") });
                        return Ok(());
                    }
                    if let Some(Unlike { kind, what }) = self.unlike_reports(false)? {
                        let what = format!("{step}\nwhat somebody is told who watches, {what}");
                        let kind = format!("reports {kind}");
                        run.failure = Some(Failure { kind, step: Some(index), what });
                        return Ok(());
                    }
                }
                Told::Listed(difference) => {
                    run.operations += 1;
                    run.met.push(difference.id);
                    return self.abandon(run);
                }
                Told::Unlike(kind, what) => {
                    run.failure = Some(Failure { kind, step: Some(index), what });
                    return Ok(());
                }
            }
        }
        match self.finish()? {
            (true, true) => {
                match self.ended(&world)? {
                    None => run.failure = self.compare_versions(&world),
                    Some(Told::Unlike(kind, what)) => run.failure = Some(Failure { kind, step: None, what }),
                    Some(Told::Listed(difference)) => run.met.push(difference.id),
                    Some(Told::Alike(_)) => {}
                }
                if let (None, Some(Unlike { kind, what })) = (&run.failure, self.unlike_reports(true)?) {
                    let kind = format!("reports at the end {kind}");
                    let what = format!("what somebody is told who watches, at the end, {what}");
                    run.failure = Some(Failure { kind, step: None, what });
                }
                self.settle(run);
                self.bare.unwatch()?;
                self.intact.unwatch()
            }
            // Something waits for a lock that the same handle holds.
            (false, false) => {
                run.spent = true;
                Ok(())
            }
            (bare, intact) => {
                run.failure = Some(Failure {
                    kind: "end".into(),
                    step: None,
                    what: format!("the program can end: bare {bare}, with Intact {intact}"),
                });
                Ok(())
            }
        }
    }

    /// Lets reads and writes end that are under way on either.
    fn wait_for_transfers(&mut self) -> Result<(), Rc<Violation>> {
        if self.bare.is_transferring() || self.intact.is_transferring() {
            self.bare.wait_for_transfers()?;
            self.intact.wait_for_transfers()?;
        }
        Ok(())
    }

    /// Ends the program on both. False where something waits that nothing can end.
    pub(crate) fn finish(&mut self) -> Result<(bool, bool), Rc<Violation>> {
        self.wait_for_transfers()?;
        Ok((self.bare.finish()?, self.intact.finish()?))
    }

    /// Compares what reads and writes were told that were begun by earlier steps. What has ended on one machine only is
    /// compared when it has on both: how long it takes is not said.
    fn ended(&mut self, world: &World) -> Result<Option<Told>, Rc<Violation>> {
        while let (Some(bare), Some(intact)) = (self.bare.ended()?, self.intact.ended()?) {
            self.bare.take_ended();
            self.intact.take_ended();
            let Some(begun) = self.begun.pop_front() else { continue };
            if bare == intact {
                continue;
            }
            let (old, met, step) = (self.intact.committed(), &self.met, begun.step);
            let listed = [&begun.world, world].into_iter().find_map(|world| {
                let (step, bare, intact, old) = (&step, &bare, &intact, &old);
                differences::find(&Situation { step, bare, intact, world, old, met })
            });
            let outside =
                || differences::LIST.iter().find(|difference| difference.id == "others-see-the-old-version");
            let listed = listed.or_else(|| outside().filter(|_| begun.is_outside()));
            return Ok(Some(match listed {
                Some(difference) => Told::Listed(difference),
                None => Told::Unlike(
                    format!("late {} {} {}", detail(&step), bare.kind(), intact.kind()),
                    format!("what was begun by\n{step}\n  bare:   {bare:?}\n  intact: {intact:?}"),
                ),
            }));
        }
        Ok(None)
    }

    /// Notes the names of what a step has brought into a save, and of the folders in which it may change names.
    fn note_saved(&mut self, step: &Step, answer: &Answer, world: &World) {
        if !answer.is_done() {
            return;
        }
        let name = match step.call {
            Call::Open { name, how: 0 | 1, .. } | Call::Rename { name, .. } | Call::Link { name, .. } => {
                Some(name_of(name))
            }
            Call::Open { .. } => None,
            _ => return,
        };
        let Some(open) = step.call.fields().first().and_then(|(_, slot)| world.open(*slot)) else { return };
        // Names that its process gives it are part of the save, through whatever handle; and what a save has published is not
        // told again under a name that the file gets later.
        let known = self.met.names.contains_key(&open.file);
        if !known && !open.redirected && !world.is_saved(open.file) {
            return;
        }
        let name = name.map(|name| name.split(':').next().unwrap_or_default().to_ascii_lowercase());
        let files = self.bare.committed();
        let paths = files.iter().filter(|(_, version)| version.id == open.file).map(|(path, _)| path);
        let paths: Vec<String> = paths.map(|path| path.to_ascii_lowercase()).chain(name).collect();
        let folders = paths.iter().filter_map(|path| path.rsplit_once('\\')).map(|(folder, _)| folder.into());
        if let (Call::Open { attributes, .. }, Answer::Done(Value::Opened(2, ..))) = (step.call, answer)
            && attributes & READ_ONLY != 0
        {
            self.met.read_only.extend(paths.iter().cloned());
        }
        let names = self.met.names.entry(open.file).or_default();
        names.extend(paths.iter().cloned());
        if names.len() > 1 || matches!(step.call, Call::Rename { .. } | Call::Link { .. }) {
            self.met.linked.extend(names.iter().cloned());
        }
        self.met.saved.extend(folders.collect::<Vec<_>>());
        self.met.saved.extend(paths);
    }

    /// How the reports of the two machines differ, if not by what a save forces.
    fn unlike_reports(&mut self, over: bool) -> Result<Option<Unlike>, Rc<Violation>> {
        self.bare.listen()?;
        self.intact.listen()?;
        let told = |watcher: &'_ Watcher| watcher.told.clone();
        let bare = self.bare.watchers.iter().map(told);
        let pairs: Vec<_> = bare.zip(self.intact.watchers.iter().map(told)).collect();
        Ok(pairs.iter().find_map(|(bare, intact)| reports::unlike(bare, intact, &self.met, over)))
    }

    /// The folder of the next program.
    pub(crate) fn next(&mut self) -> usize {
        self.ran += 1;
        self.ran - 1
    }

    /// Begins with a program. Returns the time.
    pub(crate) fn begin(&mut self, number: usize) -> Result<i64, Rc<Violation>> {
        let ticks = (number as i64 + 1) * PROGRAM;
        self.met.clear();
        self.begun.clear();
        self.bare.begin(&folder(number), ticks)?;
        self.intact.begin(&folder(number), ticks)?;
        Ok(ticks)
    }

    /// One step on both.
    pub(crate) fn step(&mut self, step: &Step, ticks: i64, world: &mut World) -> Result<Told, Rc<Violation>> {
        // Whether what is under way has been done when somebody looks is not said. And a write that begins a transaction again
        // waits for it, with what is begun after that.
        let looks = matches!(step.call, Call::Attributes { .. } | Call::Stat { .. } | Call::Query { .. });
        let begins = matches!(step.call, Call::Read { .. } | Call::Write { .. })
            && step.call.slot().and_then(|slot| world.open(slot)).is_some_and(|open| open.rests());
        if looks || begins {
            self.wait_for_transfers()?;
        }
        self.bare.at(ticks)?;
        self.intact.at(ticks)?;
        let target = self.target(step);
        let before = self.intact.waited();
        let intact = self.intact.perform(step)?;
        // A step that has waited for transfers there is made as late here.
        let waited = self.intact.waited() - before;
        self.bare.wait_until(ticks, self.bare.late() + waited)?;
        let bare = self.bare.perform(step)?;
        let late = self.bare.late().max(self.intact.late());
        self.bare.wait_until(ticks, late)?;
        self.intact.wait_until(ticks, late)?;
        // Nor whether a close waits for it: what is opened next may meet it or not.
        if matches!(step.call, Call::Close { .. }) {
            self.wait_for_transfers()?;
        }
        if (&bare, &intact) == (&Answer::Begun, &Answer::Begun) {
            self.begun.push_back(Begun::new(*step, world));
        }
        let polled = (self.bare.poll()?, self.intact.poll()?);
        if polled.0 != polled.1 {
            let told = |polled: &Option<Answer>| polled.clone().unwrap_or(Answer::Waits);
            let (bare, intact) = (told(&polled.0), told(&polled.1));
            let old = self.intact.committed();
            let met = &self.met;
            let situation = Situation { step, bare: &bare, intact: &intact, world, old: &old, met };
            if let Some(difference) = differences::find(&situation) {
                return Ok(Told::Listed(difference));
            }
            let what = format!("{step}\nthe step that waited\n  bare:   {bare:?}\n  intact: {intact:?}");
            return Ok(Told::Unlike(format!("waiting lock {} {}", bare.kind(), intact.kind()), what));
        }
        if let Some(unlike) = self.ended(world)? {
            return Ok(unlike);
        }
        if bare == intact {
            world.told(step, &bare, target);
            self.begun.iter_mut().for_each(|begun| begun.look(world));
            self.note_saved(step, &bare, world);
            return Ok(Told::Alike(bare));
        }
        // A step whose answers differ has changed nothing that is committed, as a rule: it is looked at afterwards, so that
        // the others cost nothing.
        let old = self.intact.committed();
        let met = &self.met;
        let situation = Situation { step, bare: &bare, intact: &intact, world, old: &old, met };
        Ok(match differences::find(&situation) {
            Some(difference) => Told::Listed(difference),
            None => Told::Unlike(
                format!("{} {} {}", detail(step), bare.kind(), intact.kind()),
                format!("{step}\n  bare:   {bare:?}\n  intact: {intact:?}"),
            ),
        })
    }

    /// The file that has the name which a step is to give to another one.
    fn target(&mut self, step: &Step) -> Option<usize> {
        let (Call::Rename { name, .. } | Call::Link { name, .. }) = step.call else { return None };
        called(&self.bare.committed(), name_of(name)).map(|version| version.id)
    }

    /// Ends a program whose two runs have parted: what is left is not compared.
    fn abandon(&mut self, run: &mut Run) -> Result<(), Rc<Violation>> {
        let ended = self.finish()?;
        run.spent |= ended != (true, true);
        if !run.spent {
            self.settle(run);
        }
        self.bare.unwatch()?;
        self.intact.unwatch()
    }

    /// Every handle is closed and no view is left: no save is, either.
    fn settle(&mut self, run: &mut Run) {
        let balanced = self.ledger.balance(&self.intact.scene.lab);
        let settled = balanced.and_then(|()| match self.ledger.is_settled() {
            true => Ok(()),
            false => Err(format!("a save lives: {:?}", self.ledger)),
        });
        if let (None, Err(what)) = (&run.failure, settled) {
            run.failure = Some(Failure { kind: "sums at the end".into(), step: None, what });
        }
    }

    fn compare_versions(&mut self, world: &World) -> Option<Failure> {
        let (mut bare, intact) = (self.bare.committed(), self.intact.committed());
        for (path, version) in &mut bare {
            // The program ends with its handles closed before the views go (`mapped-files-change-with-the-save`); one that is
            // deleted then changes its folder then. A stream that is deleted in a save changes its file when the save ends.
            // What a save deletes is gone with it, although others have it open (`deleted-files-go-with-the-save`).
            let late = world.mapped().contains(&version.id)
                || world.is_disposed(version.id)
                || version.whole.directory && (!world.mapped().is_empty() || self.has_lost(path, world));
            if let Some(own) = intact.get(path).filter(|_| late) {
                version.allow_other_times(own);
                if world.mapped().contains(&version.id) && world.is_disposed(version.id) {
                    // The pages of a stream are written before the save in which it is deleted ends; bare they go with it.
                    version.whole.times.write = own.whole.times.write;
                }
                if world.keeping_streams().contains(&version.id) {
                    // For replacing it, too, what is closed and mapped is open (`closed-but-mapped-is-open`).
                    version.allow_more_streams(own);
                }
            }
        }
        let what = unlike(&bare, &intact);
        (!what.is_empty()).then(|| Failure {
            kind: "what is left".into(),
            step: None,
            what: format!("what is left at the end\n{}", what.join("\n")),
        })
    }

    /// Whether a file that was called so in this folder was deleted by a save while somebody else had it open.
    fn has_lost(&self, folder: &str, world: &World) -> bool {
        let folder = folder.to_ascii_lowercase();
        let above = |name: &String| name.rsplit_once('\\').map_or("", |(above, _)| above) == folder;
        world
            .deleted()
            .iter()
            .filter_map(|file| self.met.names.get(file))
            .any(|names| names.iter().any(above))
    }

    /// Takes the machines apart: whatever Intact left behind is a failure.
    pub fn end(mut self) -> Option<Failure> {
        let report = self.intact.scene.lab.unload();
        if let Err(what) = self.ledger.balance(&self.intact.scene.lab) {
            return Some(Failure { kind: "sums at unload".into(), step: None, what });
        }
        (!report.is_clean()).then(|| Failure {
            kind: "unload".into(),
            step: None,
            what: format!("after unloading: {report}"),
        })
    }
}

/// A valid data length was set: what the disk had there before is to be seen from now on, and that is not said.
fn exposes(step: &Step, answer: &Answer) -> bool {
    const VALID_DATA_LENGTH: u64 = 39;
    matches!(step.call, Call::Set { class: VALID_DATA_LENGTH, .. }) && answer.is_done()
}

/// What became of a step.
pub(crate) enum Told {
    /// Both were told the same.
    Alike(Answer),
    /// A difference of the list.
    Listed(&'static Difference),
    /// Another one: of which kind, and what.
    Unlike(String, String),
}

/// The part of a step by which causes can be told apart.
fn detail(step: &Step) -> String {
    let parts = step.call.fields().into_iter().filter(|(field, _)| matches!(*field, "class" | "code"));
    let parts: Vec<String> = parts.map(|(_, value)| format!(" {value:#x}")).collect();
    format!("{}{}", step.call.word(), parts.join(""))
}

/// The files that are not alike, for people.
pub fn unlike(bare: &Versions, intact: &Versions) -> Vec<String> {
    let mut paths: Vec<&String> = bare.keys().chain(intact.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| bare.get(*path) != intact.get(*path))
        .map(|path| {
            let show = |versions: &Versions| match versions.get(path) {
                Some(version) => format!("{version:?}"),
                None => "is not there".into(),
            };
            format!("  {path}\n    bare:   {}\n    intact: {}", show(bare), show(intact))
        })
        .collect()
}
