//! Linux processes and the lab processes that mirror them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use lab_executive::Mode;
use lab_executive::Process;

use super::super::linux::{Caller, LinuxProcess, exit_status};
use super::super::names;
use super::super::request::Request;
use super::Server;
use crate::Executive;

/// Something that the thread of a mirror does.
pub(crate) type Job = Box<dyn FnOnce(&Executive, &Rc<Mirror>)>;

/// A lab process that stands for a Linux process.
pub(crate) struct Mirror {
    linux: LinuxProcess,
    pub(crate) process: Rc<Process>,
    queue: RefCell<VecDeque<Job>>,
    /// Exit status, once it is known that the process is going away.
    dying: Cell<Option<i32>>,
    /// Open files that it holds.
    pub(crate) held: Cell<usize>,
    ended: Cell<bool>,
}

impl Mirror {
    /// Whether it ended in a way that Windows reports with a status other than zero.
    pub(crate) fn died_badly(&self) -> bool {
        self.dying.get().is_some_and(|status| status != 0)
    }

    /// Lets the mirror's thread do `job` after everything that it was given before.
    pub(crate) fn post(&self, job: Job) {
        self.queue.borrow_mut().push_back(job);
    }

    fn may_end(&self) -> bool {
        self.dying.get().is_some() && self.held.get() == 0 && self.queue.borrow().is_empty()
    }

    /// The process is going away: its exit status is set now, its handles are closed as the kernel says so.
    pub(crate) fn dies(&self, lab: &Executive, status: i32) {
        if self.dying.get().is_none() {
            self.dying.set(Some(status));
            lab.terminate_process(&self.process, status);
        }
    }
}

/// Everyone who ever issued a request.
#[derive(Default)]
pub(crate) struct Processes {
    mirrors: RefCell<Vec<Rc<Mirror>>>,
}

impl Processes {
    /// Those that have not ended.
    pub(crate) fn living(&self) -> Vec<Rc<Mirror>> {
        self.mirrors.borrow().iter().filter(|mirror| !mirror.ended.get()).cloned().collect()
    }

    /// The process with this lab id.
    pub(crate) fn find(&self, id: u32) -> Option<Rc<Mirror>> {
        self.mirrors.borrow().iter().find(|mirror| mirror.process.id == id).cloned()
    }
}

impl Server {
    /// The lab process for the issuer of a request; made when it is new. Requests without an issuer come
    /// from a process of their own.
    pub(crate) fn mirror(self: &Rc<Self>, lab: &Executive, caller: Option<&Caller>) -> Rc<Mirror> {
        let nobody = LinuxProcess { group: 0, started: None, executable: String::new() };
        let linux = caller.map_or(&nobody, |caller| &caller.process);
        let known = self.processes.living().into_iter().rev().find(|mirror| mirror.linux.is_same(linux));
        match known {
            // A dying process has lost the link to its executable; execve changes it.
            Some(mirror) if linux.executable.is_empty() || linux.executable == mirror.linux.executable => {
                mirror
            }
            Some(before) => {
                let after = self.start(lab, linux, Some(&before));
                self.inherit(lab, &before, &after);
                before.dies(lab, 0);
                after
            }
            None => self.start(lab, linux, None),
        }
    }

    fn start(
        self: &Rc<Self>,
        lab: &Executive,
        linux: &LinuxProcess,
        parent: Option<&Rc<Mirror>>,
    ) -> Rc<Mirror> {
        let image = names::image_path(&linux.executable);
        let process =
            lab.create_process(&image, crate::assembly::USER.to_vec(), parent.map(|parent| &parent.process));
        let mirror = Rc::new(Mirror {
            linux: linux.clone(),
            process,
            queue: RefCell::default(),
            dying: Cell::new(None),
            held: Cell::new(0),
            ended: Cell::new(false),
        });
        self.processes.mirrors.borrow_mut().push(mirror.clone());
        let own = mirror.clone();
        lab.spawn(&mirror.process, "main", move |lab| {
            loop {
                lab.block_until("a request of the mount", None, || {
                    !own.queue.borrow().is_empty() || own.may_end()
                });
                let job = own.queue.borrow_mut().pop_front();
                match job {
                    Some(job) => job(lab, &own),
                    None => break,
                }
            }
            own.ended.set(true);
        });
        mirror
    }

    /// What execve leaves open is held by the process with the new image from now on.
    fn inherit(&self, lab: &Executive, before: &Rc<Mirror>, after: &Rc<Mirror>) {
        let files: Vec<_> = self.files.borrow().values().cloned().collect();
        for file in files {
            if file.handle_in(before.process.id).is_none() {
                continue;
            }
            self.hold(lab, &file, after);
            if let Some(handle) = file.let_go(before.process.id) {
                before.post(Box::new(move |lab, before| {
                    let _ = lab.close_handle(handle.0, Mode::User);
                    before.held.set(before.held.get() - 1);
                }));
            }
        }
    }

    /// A Linux process, by thread group, has ended with this wait status; whatever of it was not seen dying
    /// held nothing open.
    pub(crate) fn process_ended(&self, lab: &Executive, group: u32, wait_status: i32) {
        for mirror in self.processes.living() {
            if mirror.linux.group == group {
                mirror.dies(lab, exit_status(wait_status));
            }
        }
    }

    /// Ends what is left: processes that went away without holding anything, whose status nobody asks for.
    pub(crate) fn everyone_leaves(&self, lab: &Executive) {
        for mirror in self.processes.living() {
            mirror.dies(lab, 0);
        }
    }

    /// Whether every mirror has ended, exit and all.
    pub(crate) fn is_empty(&self, lab: &Executive) -> bool {
        self.processes.mirrors.borrow().iter().all(|mirror| lab.processes.find(mirror.process.id).is_none())
    }
}

impl Request<'_> {
    /// FLUSH: a descriptor was closed, by a process that `exiting` says is on its way out. Closing makes it a
    /// holder, the last one so far; and its death comes before the close of what it held.
    pub(crate) fn descriptor_closed(&self, file: u64, exiting: Option<i32>) {
        if let Ok(file) = self.server.file(file)
            && self.server.hold(self.lab, &file, self.mirror).is_some()
        {
            file.closed_last_by(self.mirror.process.id, exiting.is_some());
        }
        if let Some(wait_status) = exiting {
            self.mirror.dies(self.lab, exit_status(wait_status));
        }
    }
}
