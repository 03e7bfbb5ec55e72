//! A lab volume mounted for a test.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use lab::Lab;
use lab::mount::{self, Account, Mounted, Options};

/// Where FUSE is missing these tests cannot say anything; they say that.
pub(crate) fn no_fuse() -> bool {
    let missing = !Path::new("/dev/fuse").exists();
    if missing {
        eprintln!("SKIPPED: there is no /dev/fuse here");
    }
    missing
}

/// Whether how a process has ended is not to be had here, of one that held nothing open.
pub(crate) fn no_ends() -> bool {
    let unknown = !lab::mount::ends_are_known();
    if unknown {
        eprintln!("SKIPPED: this Linux (before 6.15) does not keep how processes have ended");
    }
    unknown
}

/// What a test finds after its mount is gone.
pub(crate) struct After<R> {
    /// What the test's body returned.
    pub(crate) result: R,
    /// Counts of requests.
    pub(crate) account: Account,
    /// The lab, with its volume.
    pub(crate) lab: Rc<Lab>,
    /// Image name and exit status of every lab process that ended, in order.
    pub(crate) ended: Vec<(String, i32)>,
}

impl<R> After<R> {
    /// Contents of a file on the volume itself, below every driver.
    pub(crate) fn on_volume(&self, path: &str) -> Option<Vec<u8>> {
        self.lab.with_volume(|volume| volume.contents(path))
    }

    /// How the process with this image ended, if exactly one did.
    pub(crate) fn end_of(&self, image: &str) -> Option<i32> {
        let mut ends = self.ended.iter().filter(|(name, _)| name == image).map(|(_, status)| *status);
        let end = ends.next();
        if ends.next().is_none() { end } else { None }
    }
}

/// Mounts a fresh volume and runs `body` with it, in a thread of its own.
pub(crate) fn mounted<R: Send>(options: Options, body: impl FnOnce(&Path) -> R + Send) -> After<R> {
    let lab = Lab::builder().seed(1).build().expect("a lab");
    mounted_on(lab, options, |mounted| body(mounted.folder()))
}

/// The same, with a lab of the test's own.
pub(crate) fn mounted_on<R: Send>(
    lab: Rc<Lab>,
    options: Options,
    body: impl FnOnce(&Mounted) -> R + Send,
) -> After<R> {
    let folder = Folder::new();
    let ended = Rc::new(RefCell::new(Vec::new()));
    let ends = ended.clone();
    lab.executive().processes.on_views_torn_down(move |_, process| {
        ends.borrow_mut().push((process.image_name().to_owned(), process.exit_status()));
    });
    let served = mount::serve(lab.executive(), &folder.0, options, || (), body);
    let (result, account) = served.unwrap_or_else(|error| panic!("{error}"));
    let ended = ended.borrow().clone();
    After { result, account, lab, ended }
}

/// Runs a shell script with the mount as its working folder; its output and how it ended. Signals do what they do by
/// default, also where whoever runs the tests ignores some (a job in the background ignores SIGINT).
pub(crate) fn shell(folder: &Path, script: &str) -> std::process::Output {
    Command::new("/usr/bin/env")
        .args(["--default-signal", "/bin/sh", "-c", script])
        .current_dir(folder)
        .output()
        .expect("/usr/bin/env")
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("lab-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).expect("a temporary folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}
