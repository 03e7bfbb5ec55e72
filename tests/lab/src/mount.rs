//! The mount: unmodified Linux programs on a lab volume, through FUSE.
//!
//! Each request of the kernel becomes what a Windows program would have asked for, by a lab process that
//! mirrors the Linux one: with a process id of its own, an image name ([`names::image_path`]) and, at its
//! end, an exit status ([`linux::exit_status`]) that is set before its handles go. What it promises:
//!
//! - **A request that was issued after `close` returned sees the outcome of that close.** There is one reader
//!   of `/dev/fuse`, RELEASE is the cleanup, and later requests wait for it. FLUSH, which comes at the close
//!   of every duplicate, only tells who held the file and whether that process is going away.
//! - **Processes have parents.** What the mount's own process starts, and what that starts, is created in the lab by the mirror of
//!   whoever started it, that one first, whether it ever makes a request or not. A process whose parent has ended before
//!   its own first request has nobody, or who has adopted it (`PR_SET_CHILD_SUBREAPER`).
//! - **An end comes before what is asked after it.** A process that ends without holding anything ends in the lab before any
//!   request that was issued by somebody who knows, with its exit status, where Linux keeps that (6.15 and later) or nobody
//!   has waited for it yet. Where it is not known its mirror lives until the mount ends, and leaves with zero. One that has
//!   closed by itself what others hold open ends when they have closed it.
//! - **The outcome follows the holders.** A handle belongs to every process that was seen using it, and the
//!   last close happens in the process that closed last, or in a holder that died, if one did.
//! - **Nothing is cached**: no attributes, no names, no data (`FOPEN_DIRECT_IO`), no write-back. Shared
//!   mappings work where the kernel allows them with that (6.6 and later); their pages arrive as plain writes
//!   of the process that opened the file, not as paging writes.
//!
//! Differences a program can notice: names are compared without case, permissions are the read-only bit, the
//! owner is whoever mounted, symbolic links are not served, byte-range locks are the kernel's own.

mod census;
pub mod errno;
mod fuse;
pub mod linux;
pub mod names;
mod nodes;
mod nt;
mod request;
mod server;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;

use lab_executive::scheduler::Injector;
use lab_executive::violation::Violation;

use crate::Executive;
use census::Census;
pub use census::ends_are_known;
pub use fuse::SharedMappings;
pub(crate) use nt::from_system_time as windows_time;
use server::Server;

/// How a volume is mounted.
pub struct Options {
    /// Share mode of every open that a program makes: `FILE_SHARE_READ` 1, `_WRITE` 2, `_DELETE` 4.
    pub share: u32,
    /// User and group that own everything, as programs see it.
    pub owner: (u32, u32),
    /// Called in the lab before each write request, with what was before it.
    pub before_write: WriteHook,
    /// Called in the lab after each write request and before it is answered.
    pub after_write: WriteHook,
    /// Called in the lab after each request, once it is answered.
    pub after_request: WriteHook,
}

/// Something to do at a request: where planned faults strike.
pub type WriteHook = Box<dyn Fn(&Executive, Account)>;

impl Default for Options {
    fn default() -> Options {
        // SAFETY: these take and touch nothing.
        let owner = unsafe { (libc::geteuid(), libc::getegid()) };
        let nothing = || Box::new(|_: &Executive, _| ());
        Options {
            share: nt::SHARE_ALL,
            owner,
            before_write: nothing(),
            after_write: nothing(),
            after_request: nothing(),
        }
    }
}

/// Why a mount failed or ended early.
#[derive(Debug)]
pub enum MountError {
    /// FUSE is not to be had, or refused.
    Fuse(PathBuf, io::Error),
    /// The lab stopped.
    Violation(Rc<Violation>),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::Fuse(folder, error) => write!(
                f,
                "cannot mount a lab volume at {}: {error} (it needs /dev/fuse, and root or the package fuse3)",
                folder.display()
            ),
            MountError::Violation(violation) => write!(f, "{violation}"),
        }
    }
}

impl std::error::Error for MountError {}

/// A mounted volume, as the thread that uses it sees it.
pub struct Mounted {
    folder: PathBuf,
    injector: Injector,
    mappings: Mutex<Receiver<SharedMappings>>,
    broken: Arc<AtomicBool>,
}

impl Mounted {
    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether programs may map its files shared.
    pub fn shared_mappings(&self) -> SharedMappings {
        let mappings = self.mappings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        mappings.try_recv().unwrap_or(SharedMappings::Refused)
    }

    /// Returns when every request that was issued before is served, closes included.
    pub fn drain(&self) {
        let Ok(path) = std::ffi::CString::new(self.folder.as_os_str().as_encoded_bytes()) else { return };
        // SAFETY: a plain structure of integers.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: a terminated string and a structure of the right type, both alive during the call.
        unsafe { libc::statvfs(path.as_ptr(), &mut room) };
    }

    /// How many files and folders programs hold open.
    pub fn open_files(&self) -> usize {
        self.ask(|_, server| server.open_files()).unwrap_or(0)
    }

    /// Tells the lab how a process ended. Only for a process that was seen to end: the kernel tells it of
    /// those that die with files open.
    pub fn process_ended(&self, group: u32, wait_status: i32) {
        self.ask(move |lab, server| server.process_ended(lab, group, wait_status));
    }

    /// Whether the lab has stopped; every request fails then.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Executive, &Rc<Server>) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = mpsc::channel();
        self.injector.inject(move |lab| {
            if let Some(server) = server_of(lab) {
                drop(answer.send(question(lab, &server)));
            }
        });
        // A lab that stops drops the question, sooner or later.
        while !self.is_broken() {
            match answered.recv_timeout(std::time::Duration::from_millis(20)) {
                Ok(answer) => return Some(answer),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }
}

/// What happened on a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Requests of the kernel.
    pub requests: u64,
    /// Write requests among them.
    pub writes: u64,
    /// Bytes that they wrote.
    pub bytes: u64,
    /// Requests that failed because the volume was full.
    pub full: u64,
}

/// The mount's state, hung on the lab for injected jobs to find.
#[derive(Default)]
struct Room(RefCell<Option<Rc<Server>>>);

fn server_of(lab: &Executive) -> Option<Rc<Server>> {
    lab.room::<Room>().0.borrow().clone()
}

/// Mounts the lab's volume at `folder`, runs `user` on a thread of its own and the lab on this one, and
/// unmounts when `user` has returned and everything is closed.
///
/// `stop` is called if the lab stops early, and must make `user` return: its requests fail from then on.
///
/// # Errors
/// FUSE refused, or the lab stopped.
pub fn serve<R: Send>(
    lab: &Executive,
    folder: &Path,
    options: Options,
    stop: impl FnOnce(),
    user: impl FnOnce(&Mounted) -> R + Send,
) -> Result<(R, Account), MountError> {
    let fuse_error = |error| MountError::Fuse(folder.to_owned(), error);
    let server = Rc::new(Server::new(options));
    *lab.room::<Room>().0.borrow_mut() = Some(server.clone());
    let (mappings, told) = mpsc::channel();
    let census = Arc::new(Census::new(lab.injector()).map_err(fuse_error)?);
    let reader = fuse::Reader::new(lab.injector(), census.clone(), mappings);
    let session = fuser::Session::new(reader, folder, &fuse::config()).map_err(fuse_error)?;
    let session = session.spawn().map_err(fuse_error)?;
    let mounted = Mounted {
        folder: folder.to_owned(),
        injector: lab.injector(),
        mappings: Mutex::new(told),
        broken: Arc::default(),
    };
    let finished = AtomicBool::new(false);
    let (result, outcome) = thread::scope(|scope| {
        struct Enough<'a>(&'a Census);
        impl Drop for Enough<'_> {
            fn drop(&mut self) {
                self.0.enough();
            }
        }
        let _enough = Enough(&census);
        scope.spawn(|| census.watch());
        let user = scope.spawn(|| {
            struct Finished<'a>(&'a AtomicBool);
            impl Drop for Finished<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
            let _finished = Finished(&finished);
            let result = user(&mounted);
            mounted.drain();
            result
        });
        let mut told = false;
        let outcome = lab.serve(|lab| {
            if !finished.load(Ordering::SeqCst) || server.open_files() != 0 {
                return false;
            }
            // Ends that are known come first; who makes a request meanwhile leaves, too.
            if !std::mem::replace(&mut told, true) {
                drop(census.count());
                return false;
            }
            server.everyone_leaves(lab);
            server.is_empty(lab)
        });
        if outcome.is_err() {
            mounted.broken.store(true, Ordering::SeqCst);
            fuse::abort(folder);
            stop();
        }
        (user.join(), outcome)
    });
    *lab.room::<Room>().0.borrow_mut() = None;
    let unmounted = session.umount_and_join();
    outcome.map_err(MountError::Violation)?;
    unmounted.map_err(fuse_error)?;
    match result {
        Ok(result) => Ok((result, server.account.get())),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
