//! The volume's side: what each request of the kernel is as a request of a lab process.
//!
//! Every Linux process has one lab process and in it one lab thread, which serves its requests in order.
//! Requests of different processes may overlap as the lab's seed decides, with one exception that makes the
//! promise of [the mount](super): a close is finished before any later request begins, and so is the end of a process
//! that was known of.
//!
//! A process that is going away says so while its files are being closed. From then on its lab process is
//! exiting: the exit status is set and its thread is terminating, and each close that follows is a cleanup in
//! the context of a dead process, as when Windows sweeps the handles. One difference: process notify routines
//! hear of the exit after the last of these closes, because only the kernel knows which close is the last.

mod data;
mod folders;
mod meta;
mod open;
mod processes;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::linux::{Caller, LinuxProcess};
use super::nodes::Nodes;
use super::request::Request;
use super::{Account, Options, names};
use crate::Executive;
use crate::caller::Handle;
pub(crate) use data::CLUSTER;
pub(crate) use folders::Entry;
pub(crate) use meta::Change;
pub(crate) use processes::Mirror;
use processes::Processes;

/// An errno.
pub(crate) type Errno = i32;
pub(crate) type Answer<T> = Result<T, Errno>;

/// What a request does, in the thread of its issuer's lab process.
pub(crate) type Work = Box<dyn FnOnce(&Request<'_>)>;

/// State of one mount.
pub(crate) struct Server {
    pub(crate) options: Options,
    processes: Processes,
    nodes: RefCell<Nodes>,
    files: RefCell<BTreeMap<u64, Rc<OpenFile>>>,
    next_file: Cell<u64>,
    /// Sequence numbers of closes that are not finished.
    closing: RefCell<BTreeSet<u64>>,
    /// Ends of processes with their sequence numbers.
    ending: RefCell<Vec<(u64, Rc<Mirror>)>>,
    next_number: Cell<u64>,
    pub(crate) account: Cell<Account>,
}

/// An open file description of Linux: one handle, duplicated into every process that is seen holding it.
struct OpenFile {
    node: u64,
    /// Process (an id of [`Processes`]) and the handle's value there; the opener first.
    holders: RefCell<Vec<Holder>>,
    /// Whether it was opened for writing.
    writes: bool,
    /// A folder's listing, read at its first offset.
    listing: RefCell<Vec<Entry>>,
}

struct Holder {
    process: u32,
    handle: Handle,
    /// The kernel closed a descriptor of it because the process was on its way out.
    swept: bool,
}

impl Server {
    pub(crate) fn new(options: Options) -> Server {
        Server {
            options,
            processes: Processes::default(),
            nodes: RefCell::default(),
            files: RefCell::default(),
            next_file: Cell::new(1),
            closing: RefCell::default(),
            ending: RefCell::default(),
            next_number: Cell::new(1),
            account: Cell::default(),
        }
    }

    /// Counts something.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Account)) {
        let mut account = self.account.get();
        change(&mut account);
        self.account.set(account);
    }

    /// A request of the kernel with its issuer: the issuer's lab process serves it, after every close and every end that
    /// came before. `ancestors` are those of an issuer that is new, its parent first.
    pub(crate) fn request(
        self: &Rc<Self>,
        lab: &Executive,
        caller: Option<&Caller>,
        ancestors: &[LinuxProcess],
        work: Work,
    ) {
        let number = self.next_request();
        let server = self.clone();
        self.mirror(lab, caller.map(|caller| &caller.process), ancestors).post(Box::new(
            move |lab, mirror| {
                server.earlier_closes_and_ends(lab, number, mirror);
                work(&Request { lab, server: &server, mirror });
                (server.options.after_request)(lab, server.account.get());
            },
        ));
    }

    /// RELEASE, which has no issuer.
    pub(crate) fn last_descriptor_closed(
        self: &Rc<Self>,
        lab: &Executive,
        file: u64,
        answer: impl FnOnce() + 'static,
    ) {
        let number = self.next_request();
        let closer = self.files.borrow().get(&file).cloned().and_then(|file| self.closer(&file));
        let closer = closer.unwrap_or_else(|| self.mirror(lab, None, &[]));
        self.closing.borrow_mut().insert(number);
        let server = self.clone();
        closer.post(Box::new(move |lab, mirror| {
            server.earlier_closes_and_ends(lab, number, mirror);
            Request { lab, server: &server, mirror }.release(file);
            server.closing.borrow_mut().remove(&number);
            answer();
            (server.options.after_request)(lab, server.account.get());
        }));
    }

    fn next_request(&self) -> u64 {
        self.count(|account| account.requests += 1);
        self.next_number()
    }

    fn next_number(&self) -> u64 {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        number
    }

    fn earlier_closes_and_ends(&self, lab: &Executive, number: u64, own: &Rc<Mirror>) {
        lab.block_until("an earlier close, or the end of a process", None, || {
            self.closing.borrow().first().is_none_or(|first| *first >= number)
                && self.ending.borrow().iter().all(|(ending, mirror)| {
                    *ending >= number || Rc::ptr_eq(mirror, own) || mirror.is_over(lab)
                })
        });
    }

    /// Files and folders that programs still hold open.
    pub(crate) fn open_files(&self) -> usize {
        self.files.borrow().len()
    }

    fn file(&self, number: u64) -> Answer<Rc<OpenFile>> {
        self.files.borrow().get(&number).cloned().ok_or(libc::EBADF)
    }

    fn path(&self, node: u64) -> Answer<String> {
        self.nodes.borrow().path(node).map(|path| full(&path)).ok_or(libc::ENOENT)
    }

    fn child(&self, parent: u64, name: &[u8]) -> Answer<(String, String)> {
        let name = names::to_volume(name).map_err(|bad| match bad {
            names::BadName::NotUnicode => libc::EILSEQ,
            names::BadName::TooLong => libc::ENAMETOOLONG,
        })?;
        let path = self.nodes.borrow().child_path(parent, &name).ok_or(libc::ENOENT)?;
        Ok((full(&path), name))
    }
}

/// A path below the root as the native API takes it.
fn full(below_root: &str) -> String {
    format!("\\??\\C:{}", if below_root.is_empty() { "\\" } else { below_root })
}
