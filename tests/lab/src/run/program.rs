//! One run of the program on a mounted volume.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab_volume::Base;

use super::machine::{Machine, Pristine, Setup};
use super::report::{Event, Exit};
use super::{Arguments, SessionDisk, Tree};
use crate::mount::{self, Account, MountError, Mounted, Options, SharedMappings};

/// What a run is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: Vec<String>,
    pub(crate) stdin: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) share: u32,
    pub(crate) kill_after_writes: Option<u64>,
    pub(crate) full_after_bytes: Option<u64>,
}

impl Plan {
    pub(crate) fn undisturbed(arguments: &Arguments) -> Plan {
        Plan {
            program: arguments.program.clone(),
            stdin: arguments.stdin.clone(),
            timeout: Duration::from_secs(arguments.timeout),
            share: arguments.share,
            kill_after_writes: None,
            full_after_bytes: None,
        }
    }
}

/// What a run left.
pub(crate) struct Session {
    pub(crate) exit: Exit,
    /// The last that the program said on its standard error.
    pub(crate) said: String,
    pub(crate) account: Account,
    /// The disk with its effects, before the volume was dismounted.
    pub(crate) disk: SessionDisk,
    /// The volume after an orderly dismount.
    pub(crate) base: Base,
    pub(crate) tree: Tree,
    pub(crate) events: Vec<Event>,
    /// After each request: disk effects and events so far.
    pub(crate) progress: Vec<(u64, usize)>,
    pub(crate) trouble: Vec<String>,
}

impl Session {
    /// What the drivers had reported when the disk had come so far; what they wrote in the request during
    /// which it did is left out.
    pub(crate) fn events_until(&self, effects: u64) -> Vec<Event> {
        let reached = self.progress.iter().take_while(|(so_far, _)| *so_far <= effects).last();
        self.events.iter().take(reached.map_or(0, |(_, events)| *events)).cloned().collect()
    }

    pub(crate) fn contents(&self) -> Tree {
        self.tree.clone()
    }
}

/// The process group of the program, once it has one.
#[derive(Clone, Default)]
struct Group(Arc<AtomicI32>);

impl Group {
    fn kill(&self) {
        let group = self.0.load(Ordering::SeqCst);
        if group > 0 {
            // SAFETY: a plain system call; the group is one that we made.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }

    /// Its first request may be there before we know its number.
    fn kill_when_known(&self) {
        let begun = Instant::now();
        while self.0.load(Ordering::SeqCst) == 0 && begun.elapsed() < Duration::from_secs(5) {
            thread::yield_now();
        }
        self.kill();
    }
}

/// Runs the program once.
///
/// # Errors
/// The program does not start, the drivers do not load, or FUSE refuses.
pub(crate) fn run(pristine: &Pristine, setup: &Setup, plan: &Plan) -> Result<Session> {
    let machine = Machine::start(pristine.base(), setup)?;
    let folder = Folder::new()?;
    let group = Group::default();
    let mut options =
        Options { share: plan.share, after_request: machine.note_progress(), ..Options::default() };
    if let Some(limit) = plan.kill_after_writes {
        let group = group.clone();
        options.after_write = Box::new(move |_, account| {
            if account.writes == limit {
                group.kill_when_known();
            }
        });
    }
    if let Some(limit) = plan.full_after_bytes {
        // Set anew before each write: what the program gives back meanwhile, somebody else takes.
        options.before_write = machine.free_space_before_write(limit);
    }
    let stop = group.clone();
    let served = mount::serve(
        machine.executive(),
        &folder.0,
        options,
        || stop.kill(),
        |mounted| program(plan, mounted, &group),
    );
    let mut trouble = Vec::new();
    let (ended, account) = match served {
        Ok((ended, account)) => (ended?, account),
        Err(MountError::Violation(violation)) => {
            trouble.push(violation.to_string());
            (Ended { exit: Exit::Signal(libc::SIGKILL), said: String::new() }, Account::default())
        }
        Err(error @ MountError::Fuse(..)) => bail!("{error}"),
    };
    let end = machine.end(trouble);
    Ok(Session {
        exit: ended.exit,
        said: ended.said,
        account,
        disk: end.disk,
        base: end.base,
        tree: end.tree,
        events: end.events,
        progress: end.progress,
        trouble: end.trouble,
    })
}

struct Ended {
    exit: Exit,
    said: String,
}

/// The thread of the mount's user: starts the program, waits for it and for what it leaves behind.
fn program(plan: &Plan, mounted: &Mounted, group: &Group) -> Result<Ended> {
    if mounted.shared_mappings() == SharedMappings::Refused {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprintln!(
                "note: this kernel does not let programs map files of this mount shared (Linux 6.6 does); \
                 a program that tries gets ENODEV"
            );
        });
    }
    let errors = mounted.folder().with_extension("err");
    let mut command = Command::new(&plan.program[0]);
    command.args(&plan.program[1..]).current_dir(mounted.folder()).process_group(0);
    command.stdin(match &plan.stdin {
        Some(path) => File::open(path).with_context(|| path.display().to_string())?.into(),
        None => Stdio::null(),
    });
    command.stdout(Stdio::null()).stderr(File::create(&errors)?);
    let mut child = command.spawn().with_context(|| format!("starting {}", plan.program[0]))?;
    group.0.store(child.id() as i32, Ordering::SeqCst);
    let status = wait(&mut child, plan.timeout, group)?;
    // What it closed by itself was closed by a living process.
    mounted.drain();
    mounted.process_ended(child.id(), status);
    leave(mounted, group);
    group.0.store(0, Ordering::SeqCst);
    Ok(Ended { exit: Exit::from_wait_status(status), said: last_words(&errors) })
}

fn wait(child: &mut Child, timeout: Duration, group: &Group) -> Result<i32> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.into_raw());
        }
        if begun.elapsed() > timeout {
            group.kill();
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Gives what the program started a moment to finish, then ends it.
fn leave(mounted: &Mounted, group: &Group) {
    mounted.drain();
    let begun = Instant::now();
    while mounted.open_files() > 0 && !mounted.is_broken() {
        if begun.elapsed() > Duration::from_secs(5) {
            group.kill();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn last_words(errors: &PathBuf) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(errors) {
        drop(file.read_to_string(&mut text));
    }
    drop(fs::remove_file(errors));
    let lines: Vec<&str> = text.trim().lines().rev().take(2).collect();
    let text: String = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    text.chars().take(400).collect()
}

/// A temporary folder.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Folder> {
        use std::sync::atomic::AtomicU32;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("lab-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        Ok(Folder(folder))
    }
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}
