//! Running a workload on a lab volume, and keeping what an oracle needs: the disk's effects and the legal versions.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use intact_saves::{Happened, Scene, SceneBuilder};
use lab::{
    Caller, CreateOptions, DELETE, GENERIC_READ, GENERIC_WRITE, Handle, Name, Offset, Process, Status,
};
use lab_volume::{Base, Disk, Tree, access};

use crate::assumed::Assumed;
use crate::workload::{Action, Ending, Opening, Step, Workload};

/// The file of every workload: under the policy's care.
pub const FILE: &str = r"C:\Saved\report.txt";
const FRESH: &str = r"C:\Saved\fresh.txt";
const RENAMED: &str = r"C:\Saved\renamed.txt";
/// Another file under its care.
pub const TARGET: &str = r"C:\Saved\target.txt";
const LINKED: &str = r"C:\Saved\linked.txt";
const MOVED: &str = r"C:\Saved\moved.txt";
/// Clusters of the volume: 2 MiB, small enough to be set up a thousand times a second.
const CLUSTERS: u64 = 512;
/// How long [`Action::Wait`] is, in milliseconds: longer than a second and shorter than the time to settle.
const WAIT: i64 = 1_600;
/// FILE_ATTRIBUTE_HIDDEN, FILE_ATTRIBUTE_ARCHIVE.
const HIDDEN: u32 = 0x22;
/// A time to set: 2020-01-01 00:00 UTC.
const TIME: i64 = 132_223_104_000_000_000;

/// What the file holds at the beginning: every byte tells where it belongs.
pub fn old() -> Vec<u8> {
    (0..1636_u32).map(|at| b'a' + (at % 23) as u8).collect()
}

/// What the step with this number writes.
fn new(step: usize, length: u32) -> Vec<u8> {
    (0..length).map(|at| b'A' + ((at as usize + 5 * step) % 26) as u8).collect()
}

/// FILE_FULL_EA_INFORMATION with one attribute.
fn ea(value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 4];
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(b"KIND\0");
    bytes.extend(value);
    bytes
}

/// A self-relative descriptor with a group, so that it differs from the inherited one.
fn security() -> Vec<u8> {
    let mut descriptor = lab_volume::everyone_all().to_vec();
    // The control word: SE_DACL_PROTECTED besides.
    descriptor[3] |= 0x10;
    descriptor
}

/// The volume that every workload begins with: a file with a second stream, an extended attribute and a second name,
/// and another file; checkpointed, so that recovery reads one log record.
pub fn initial() -> Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let scene = Scene::builder().bare().no_files().lab(|lab| lab.clusters(CLUSTERS)).build();
        scene.lab.with_volume(|volume| {
            for (name, data) in [
                (r"Saved\report.txt", old()),
                (r"Saved\report.txt:extra", old()[..700].to_vec()),
                (r"Saved\target.txt", old()[900..].to_vec()),
            ] {
                volume.put_file(name, &data).unwrap_or_else(|status| panic!("{name}: {status}"));
            }
        });
        let program = scene.program("setup.exe");
        program
            .call(|caller| {
                let options = CreateOptions::open(FILE, GENERIC_READ | GENERIC_WRITE);
                let handle = caller.create_file(&options)?.handle;
                caller.set_ea(handle, &ea(b"old"))?;
                caller.link(handle, r"C:\Saved\other name.txt", false)?;
                caller.close(handle)
            })
            .unwrap_or_else(|status| panic!("setting up the volume: {status}"));
        program.exit(0);
        scene.lab.power_off(lab::PowerState::Orderly)
    })
    .clone()
}

/// A moment at which the committed volume was what somebody asked for: at rest, or after a flush.
#[derive(Clone, Debug)]
pub struct Version {
    /// The volume then.
    pub tree: Arc<Tree>,
    /// A crash after at least this many effects may leave it.
    pub from: u64,
    /// A crash after at least this many effects leaves nothing older: it was committed, and the program was told.
    pub promised: Option<u64>,
}

/// A workload that has run.
pub struct Recording {
    /// The disk, with every effect since the workload began.
    pub disk: Disk,
    /// What a crash may leave, oldest first.
    pub versions: Vec<Version>,
    /// The committed volume after each step.
    pub steps: Vec<Arc<Tree>>,
    /// Disk effects before the workload.
    pub first: u64,
    /// What each step was told.
    pub told: Vec<(Step, Option<Status>)>,
    /// What became of saves.
    pub happened: Vec<Happened>,
    /// The hash of everything that happened in the lab.
    pub trace: u64,
    /// Calls of kernel routines by drivers, and requests of programs: how much the lab did.
    pub operations: u64,
}

/// What is wrong without any crash.
pub type Wrong = String;

/// What fails while the program runs, whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// Of all writes of data the one after so many fails with STATUS_DISK_FULL.
    Write(u64),
    /// There is no free space from the program's beginning on.
    NoSpace,
}

/// Settings of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Whether the driver is there.
    pub intact: bool,
    /// Decides every choice of the lab.
    pub seed: u64,
    /// Dirty sectors past which a transaction writes out before its end.
    pub write_out: usize,
    /// What fails.
    pub strike: Option<Strike>,
    /// Whether each callback is entered at its highest level.
    pub highest_irql: bool,
    /// Whether all that a process saves is one save (`Scope` = `Process`).
    pub of_process: bool,
    /// What is assumed of Windows.
    pub assumed: Assumed,
}

impl Setting {
    /// With the driver, or on the bare volume.
    pub fn new(intact: bool, seed: u64) -> Setting {
        let assumed = Assumed::NOTHING;
        Setting { intact, seed, write_out: 2, strike: None, highest_irql: false, of_process: false, assumed }
    }

    /// The same where something is assumed of Windows.
    pub fn assuming(self, assumed: Assumed) -> Setting {
        Setting { assumed, ..self }
    }

    /// A scene with these settings on this disk.
    pub fn scene(&self, base: Base) -> SceneBuilder {
        let write_out = self.write_out;
        let builder = Scene::builder().no_files().seed(self.seed).lab(|lab| {
            let lab = self.assumed.apply(lab);
            let lab = if self.highest_irql { lab.highest_irql() } else { lab };
            lab.base(base)
                .switches(|switches| switches.write_out_sectors = write_out)
                .config(|config| config.page_out_at_dispatch = false)
        });
        if self.intact { builder } else { builder.bare() }
    }
}

/// A program at work.
pub struct Actor {
    program: Process,
    outsider: Option<Process>,
    handle: Option<Handle>,
    path: &'static str,
    step: usize,
    /// The process is gone.
    ended: bool,
}

fn access_of(opening: Opening) -> u32 {
    match opening {
        Opening::AppendOnly => access::APPEND_DATA,
        _ => GENERIC_READ | GENERIC_WRITE | DELETE | access::WRITE_DAC,
    }
}

fn options_of(opening: Opening) -> (&'static str, CreateOptions) {
    let (path, disposition) = match opening {
        Opening::Open | Opening::AppendOnly => (FILE, 1),
        Opening::Overwrite => (FILE, 5),
        Opening::Supersede => (FILE, 0),
        Opening::Create | Opening::CreateReadOnly => (FRESH, 2),
        Opening::Stream => (r"C:\Saved\report.txt:extra", 1),
        Opening::NewStream => (r"C:\Saved\report.txt:fresh", 3),
    };
    let options = CreateOptions::new(Name::Path(path.into()), access_of(opening), disposition);
    (path, if opening == Opening::CreateReadOnly { options.attributes(1) } else { options })
}

fn act(caller: &Caller<'_>, handle: Handle, path: &str, action: Action, step: usize) -> Result<(), Status> {
    match action {
        Action::Write { at, length } => caller.write(handle, Offset::At(at), &new(step, length)).map(|_| ()),
        Action::Append(length) => caller.write(handle, Offset::Append, &new(step, length)).map(|_| ()),
        Action::Read => match caller.read(handle, Some(0), 65_536) {
            Ok(_) | Err(Status::END_OF_FILE) => Ok(()),
            Err(status) => Err(status),
        },
        Action::Size(size) => caller.set_end_of_file(handle, size),
        Action::Allocation(size) => caller.set_allocation(handle, size),
        Action::Basic => caller.set_basic(handle, [None, None, Some(TIME), None], HIDDEN),
        Action::Ea => caller.set_ea(handle, &ea(b"new one")),
        Action::Security => caller.set_security(handle, 4, &security()),
        Action::Flush => caller.flush(handle),
        Action::Second => {
            let second = caller.create_file(&CreateOptions::open(path, GENERIC_WRITE))?.handle;
            let written = caller.write(second, Offset::At(100), &new(step, 500)).map(|_| ());
            caller.close(second)?;
            written
        }
        Action::Kept => caller.create_file(&CreateOptions::open(path, GENERIC_WRITE)).map(|_| ()),
        Action::Reader | Action::ReaderThere => {
            let path = if action == Action::Reader { path } else { RENAMED };
            let reader = caller.create_file(&CreateOptions::open(path, GENERIC_READ))?.handle;
            let read = match caller.read(reader, Some(0), 65_536) {
                Ok(_) | Err(Status::END_OF_FILE) => Ok(()),
                Err(status) => Err(status),
            };
            caller.close(reader)?;
            read
        }
        Action::Beside | Action::NewBeside => {
            // The colon of the drive is none of a stream.
            let (file, stream) = match path.rfind(':').filter(|at| *at > 1) {
                Some(at) => (&path[..at], &path[at..]),
                None => (path, ""),
            };
            let options = match (action, stream) {
                (Action::NewBeside, _) => CreateOptions::open_if(&format!("{file}:beside"), GENERIC_WRITE),
                (_, ":extra") => CreateOptions::open(file, GENERIC_WRITE),
                _ => CreateOptions::open(&format!("{file}:extra"), GENERIC_WRITE),
            };
            let beside = caller.create_file(&options)?.handle;
            let written = caller.write(beside, Offset::At(0), &new(step, 520)).map(|_| ());
            caller.close(beside)?;
            written
        }
        Action::Rename => caller.rename(handle, RENAMED, false),
        Action::Replace => caller.rename(handle, TARGET, true),
        Action::Link => caller.link(handle, LINKED, false),
        Action::Delete => caller.set_delete(handle, true),
        Action::Neighbour => {
            let other = caller.create_file(&CreateOptions::open(TARGET, GENERIC_WRITE))?.handle;
            let written = caller.write(other, Offset::At(0), &new(step, 600)).map(|_| ());
            caller.close(other)?;
            written
        }
        Action::NeighbourMoves | Action::OutsiderMoves => {
            let other = caller.create_file(&CreateOptions::open(TARGET, DELETE))?.handle;
            let mut moved = caller.rename(other, MOVED, false);
            if action == Action::OutsiderMoves {
                moved = moved.and_then(|()| caller.rename(other, TARGET, false));
            }
            caller.close(other)?;
            moved
        }
        Action::Executes => {
            let access = GENERIC_READ | GENERIC_WRITE | access::EXECUTE;
            let again = caller.create_file(&CreateOptions::open(path, access))?.handle;
            caller.close(again)
        }
        Action::Zeroes => {
            const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;
            let range = [300_u64, 1300].map(u64::to_le_bytes).concat();
            caller.fs_control(handle, FSCTL_SET_ZERO_DATA, &range, 0).map(drop)
        }
        Action::Mapped => {
            let view = caller.create_section(handle, true)?;
            caller.write_mapped(&view, 0, b"through the view")
        }
        // By the actor.
        Action::Wait => Ok(()),
        Action::OutsiderOpens => {
            let file = caller.create_file(&CreateOptions::open(path, GENERIC_WRITE))?.handle;
            caller.close(file)
        }
        Action::OutsiderTakesName => {
            match caller.create_file(&CreateOptions::create(RENAMED, GENERIC_WRITE | DELETE)) {
                Ok(made) => {
                    let deleted = caller.set_delete(made.handle, true);
                    caller.close(made.handle)?;
                    deleted
                }
                Err(Status::OBJECT_NAME_COLLISION) => Ok(()),
                Err(status) => Err(status),
            }
        }
    }
}

impl Actor {
    /// A new program in this scene.
    pub fn new(scene: &Scene) -> Actor {
        let program = scene.program("writer.exe");
        Actor { program, outsider: None, handle: None, path: FILE, step: 0, ended: false }
    }

    /// Whether nothing is open.
    pub fn at_rest(&self) -> bool {
        self.handle.is_none()
    }

    /// Does one step; what the program was told, or the report of a broken rule.
    ///
    /// # Errors
    /// The report, if a rule of the kernel was broken.
    pub fn perform(&mut self, scene: &Scene, step: Step) -> Result<Option<Status>, Wrong> {
        self.step += 1;
        let number = self.step;
        let broken = |violation: Rc<lab::Violation>| violation.to_string();
        match (step, self.handle) {
            _ if self.ended => Ok(None),
            (Step::Open(opening), _) => {
                let (path, options) = options_of(opening);
                self.path = path;
                let opened = self.program.try_call(move |caller| caller.create_file(&options));
                match opened.map_err(broken)? {
                    Ok(created) => self.handle = Some(created.handle),
                    Err(status) => return Ok(Some(status)),
                }
                Ok(None)
            }
            (Step::Act(Action::Wait), _) => {
                scene.pass(WAIT);
                Ok(None)
            }
            (Step::Act(action), handle) if handle.is_some() || action.stands_alone() => {
                let (path, handle) = (self.path, handle.unwrap_or(Handle(0)));
                let program = match action {
                    Action::OutsiderOpens | Action::OutsiderTakesName | Action::OutsiderMoves => {
                        self.outsider.get_or_insert_with(|| scene.program("other.exe"))
                    }
                    _ => &self.program,
                };
                let done = program.try_call(move |caller| act(caller, handle, path, action, number));
                Ok(done.map_err(broken)?.err())
            }
            (Step::End(ending), handle) => {
                if ending == Ending::Abort {
                    scene.lab.with_volume(|volume| volume.abort_after_operations(0));
                }
                let told = match (ending, handle) {
                    (Ending::Close | Ending::Abort, Some(handle)) => {
                        let closed = self.program.try_call(move |caller| caller.close(handle));
                        closed.map_err(broken)?.err()
                    }
                    (Ending::Kill, _) => {
                        let thread = scene.lab.executive().terminate_process(self.program.inner(), 1);
                        let ended = scene.lab.executive().run_until(|_| thread.finished());
                        ended.map_err(broken)?;
                        self.ended = true;
                        None
                    }
                    (Ending::Exit(status), _) => {
                        self.program.try_exit(status).map_err(broken)?;
                        self.ended = true;
                        None
                    }
                    _ => None,
                };
                self.handle = None;
                Ok(told)
            }
            (Step::Act(_), _) => Ok(None),
        }
    }
}

/// Runs a workload to its end and unloads the drivers.
///
/// # Errors
/// What is wrong without any crash: a broken rule of the kernel, something left behind, a save that did not end as
/// it should.
pub fn record(workload: &Workload, setting: Setting) -> Result<Recording, Wrong> {
    let (scene, loaded) = setting.scene(initial()).try_build();
    loaded?;
    let first = scene.effects;
    scene.lab.with_volume(|volume| match setting.strike {
        Some(Strike::Write(writes)) => volume.fail_write(writes, Status::DISK_FULL),
        Some(Strike::NoSpace) => volume.set_free_space(Some(0)),
        None => {}
    });
    let tree = |scene: &Scene| Arc::new(scene.lab.with_volume(|volume| volume.tree()));
    let mut versions = vec![Version { tree: tree(&scene), from: 0, promised: Some(0) }];
    let mut actor = Actor::new(&scene);
    let (mut told, mut steps) = (Vec::new(), Vec::new());
    let commits = |scene: &Scene| {
        let committed = |event: &&Happened| **event == Happened::Committed;
        scene.happened().iter().filter(committed).count()
    };
    for &step in &workload.0 {
        let (before, committed) = (scene.lab.effects(), commits(&scene));
        let status = actor.perform(&scene, step)?;
        told.push((step, status));
        let tree = tree(&scene);
        steps.push(tree.clone());
        let flushed = step == Step::Act(Action::Flush) && status.is_none();
        if actor.at_rest() || flushed {
            let promised = (commits(&scene) > committed).then(|| scene.lab.effects());
            match versions.last_mut() {
                Some(last) if *last.tree == *tree => {}
                _ => versions.push(Version { tree, from: before, promised }),
            }
        }
    }
    let disk = scene.lab.with_volume(|volume| volume.disk.clone());
    let happened = scene.happened();
    // Whoever still runs ends now; what that does is not part of the workload.
    let lab = scene.lab.clone();
    if setting.intact {
        scene.end();
    } else {
        scene.exit_all();
        let report = scene.lab.unload();
        if !report.is_clean() {
            return Err(format!("after the workload: {report}"));
        }
    }
    let operations = lab.executive().calls.total();
    Ok(Recording { disk, versions, steps, first, told, happened, trace: lab.trace_hash(), operations })
}
