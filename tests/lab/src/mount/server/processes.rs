//! Linux processes and the lab processes that mirror them.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::iter::successors;
use std::rc::Rc;

use lab_executive::Mode;
use lab_executive::Process;

use super::super::linux::{LinuxProcess, exit_status};
use super::super::names;
use super::super::request::Request;
use super::Server;
use crate::Executive;

/// Something that the thread of a mirror does.
pub(crate) type Job = Box<dyn FnOnce(&Executive, &Rc<Mirror>)>;

/// A lab process that stands for a Linux process, from one `execve` to the next.
pub(crate) struct Mirror {
    linux: LinuxProcess,
    parent: Option<Rc<Mirror>>,
    /// Whether it is the parent itself after `execve`.
    replaces_parent: bool,
    /// Once its creator has made it.
    process: OnceCell<Rc<Process>>,
    /// Those that it is to create when it is made.
    unborn: RefCell<Vec<Rc<Mirror>>>,
    queue: RefCell<VecDeque<Job>>,
    /// Exit status, once it is known that the process is going away.
    dying: Cell<Option<i32>>,
    /// Whether the Linux process has ended: what has its number from now on is another one.
    gone: Cell<bool>,
    /// Exit status of one that has ended having closed everything itself: closes may still be on their way.
    ended_with: Cell<Option<i32>>,
    /// Open files that it holds.
    pub(crate) held: Cell<usize>,
    /// Whether its thread has ended.
    ended: Cell<bool>,
}

impl Mirror {
    /// The lab process; for whoever runs in it, or has its id.
    pub(crate) fn process(&self) -> &Rc<Process> {
        match self.process.get() {
            Some(process) => process,
            None => unreachable!("a process that is not made yet has no thread, no handle and no id"),
        }
    }

    /// The id of the lab process.
    pub(crate) fn id(&self) -> u32 {
        self.process().id
    }

    /// What its thread does until the process ends.
    fn serve(self: &Rc<Self>, lab: &Executive) {
        loop {
            lab.block_until("a request of the mount", None, || {
                !self.queue.borrow().is_empty() || self.may_end()
            });
            let job = self.queue.borrow_mut().pop_front();
            match job {
                Some(job) => job(lab, self),
                None => break,
            }
        }
        if let Some(status) = self.ended_with.get() {
            self.dies(lab, status);
        }
        self.ended.set(true);
    }

    /// Whether it ended in a way that Windows reports with a status other than zero.
    pub(crate) fn died_badly(&self) -> bool {
        self.dying.get().is_some_and(|status| status != 0)
    }

    /// Lets the mirror's thread do `job` after everything that it was given before.
    pub(crate) fn post(&self, job: Job) {
        self.queue.borrow_mut().push_back(job);
    }

    fn may_end(&self) -> bool {
        (self.dying.get().is_some() || self.ended_with.get().is_some())
            && self.held.get() == 0
            && self.queue.borrow().is_empty()
    }

    /// Whether its end is over, or waits for others to close what it has closed already.
    pub(super) fn is_over(&self, lab: &Executive) -> bool {
        let made = self.process.get();
        made.is_some_and(|process| self.held.get() != 0 || lab.processes.find(process.id).is_none())
    }

    /// The process is going away: its exit status is set now, its handles are closed as the kernel says so.
    pub(crate) fn dies(&self, lab: &Executive, status: i32) {
        if self.dying.get().is_none() {
            self.dying.set(Some(status));
            if let Some(process) = self.process.get() {
                lab.terminate_process(process, status);
            }
        }
    }
}

/// Everyone who ever issued a request, and their ancestors.
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
        self.mirrors
            .borrow()
            .iter()
            .find(|mirror| mirror.process.get().is_some_and(|process| process.id == id))
            .cloned()
    }

    /// The latest that stands for a Linux process, also one that has ended in the lab already.
    fn of(&self, linux: &LinuxProcess) -> Option<Rc<Mirror>> {
        let mirrors = self.mirrors.borrow();
        mirrors.iter().rev().find(|mirror| !mirror.gone.get() && mirror.linux.is_same(linux)).cloned()
    }
}

impl Server {
    /// The lab process for the issuer of a request; made when it is new, after its ancestors (its parent comes first in
    /// them). Requests without an issuer come from a process of their own.
    pub(crate) fn mirror(
        self: &Rc<Self>,
        lab: &Executive,
        linux: Option<&LinuxProcess>,
        ancestors: &[LinuxProcess],
    ) -> Rc<Mirror> {
        let nobody = LinuxProcess { group: 0, started: None, executable: String::new() };
        let parent = ancestors.iter().rev().fold(None, |parent, linux| {
            let known = self.processes.of(linux);
            Some(self.mirror_after(lab, linux, known, parent))
        });
        let linux = linux.unwrap_or(&nobody);
        match self.processes.of(linux) {
            // It still closes what it was never seen using.
            Some(ended) if ended.ended.get() => self.start(lab, linux, Some(ended), false),
            known => self.mirror_after(lab, linux, known, parent),
        }
    }

    /// What a process is now that was `known` before, or is a child of `parent`.
    fn mirror_after(
        self: &Rc<Self>,
        lab: &Executive,
        linux: &LinuxProcess,
        known: Option<Rc<Mirror>>,
        parent: Option<Rc<Mirror>>,
    ) -> Rc<Mirror> {
        let is_other_image = |before: &Rc<Mirror>| {
            // A dying process has lost the link to its executable; execve changes it.
            !linux.executable.is_empty() && linux.executable != before.linux.executable && !before.ended.get()
        };
        match known {
            Some(before) if is_other_image(&before) => self.start(lab, linux, Some(before), true),
            Some(known) => known,
            None => self.start(lab, linux, parent, false),
        }
    }

    /// A new mirror. Its parent's process creates it, as soon as that exists itself; one that has ended in the lab before it
    /// did on Linux cannot, so the next ancestor does.
    fn start(
        self: &Rc<Self>,
        lab: &Executive,
        linux: &LinuxProcess,
        parent: Option<Rc<Mirror>>,
        replaces_parent: bool,
    ) -> Rc<Mirror> {
        let parent = successors(parent, |mirror| mirror.parent.clone()).find(|mirror| !mirror.ended.get());
        let mirror = Rc::new(Mirror {
            linux: linux.clone(),
            parent,
            replaces_parent,
            process: OnceCell::new(),
            unborn: RefCell::default(),
            queue: RefCell::default(),
            dying: Cell::new(None),
            gone: Cell::new(false),
            ended_with: Cell::new(None),
            held: Cell::new(0),
            ended: Cell::new(false),
        });
        self.processes.mirrors.borrow_mut().push(mirror.clone());
        match &mirror.parent {
            Some(parent) if parent.process.get().is_some() => self.create_in_parent(lab, &mirror),
            Some(parent) => parent.unborn.borrow_mut().push(mirror.clone()),
            None => self.create(lab, &mirror),
        }
        mirror
    }

    /// In a thread of the parent, whose process notify routines hear of as the creator (`txf-ktm §8.1`). One of its own: that
    /// which serves the parent's requests may wait for something.
    fn create_in_parent(self: &Rc<Self>, lab: &Executive, mirror: &Rc<Mirror>) {
        let Some(parent) = &mirror.parent else { return };
        let (server, mirror) = (self.clone(), mirror.clone());
        lab.spawn(parent.process(), "creator", move |lab| server.create(lab, &mirror));
    }

    fn create(self: &Rc<Self>, lab: &Executive, mirror: &Rc<Mirror>) {
        let image = names::image_path(&mirror.linux.executable);
        let parent = mirror.parent.as_ref();
        let process =
            lab.create_process(&image, crate::assembly::USER.to_vec(), parent.map(|parent| parent.process()));
        let process = mirror.process.get_or_init(|| process);
        let own = mirror.clone();
        lab.spawn(process, "main", move |lab| own.serve(lab));
        for child in mirror.unborn.take() {
            self.create_in_parent(lab, &child);
        }
        if let Some(before) = parent.filter(|_| mirror.replaces_parent) {
            self.inherit(lab, before, mirror);
            before.dies(lab, 0);
        }
        if let Some(status) = mirror.dying.get() {
            lab.terminate_process(process, status);
        }
    }

    /// What execve leaves open is held by the process with the new image from now on.
    fn inherit(&self, lab: &Executive, before: &Rc<Mirror>, after: &Rc<Mirror>) {
        let files: Vec<_> = self.files.borrow().values().cloned().collect();
        for file in files {
            if file.handle_in(before.id()).is_none() {
                continue;
            }
            self.hold(lab, &file, after);
            if let Some(handle) = file.let_go(before.id()) {
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

    /// A Linux process has ended, with this wait status if that could be learnt. Every descriptor that it had at its end
    /// said so ([`Request::descriptor_closed`]): what it still holds it has closed by itself, and the lab has yet to hear of
    /// it. So its lab process ends when it holds nothing any more. With a status that is not known it goes on until
    /// [everyone leaves](Self::everyone_leaves), rather than with one that is made up.
    pub(crate) fn process_is_gone(&self, lab: &Executive, group: u32, wait_status: Option<i32>) {
        self.ending.borrow_mut().retain(|(_, mirror)| !mirror.is_over(lab) || mirror.held.get() != 0);
        let all = self.processes.mirrors.borrow().clone();
        for mirror in all.iter().filter(|mirror| mirror.linux.group == group && !mirror.gone.replace(true)) {
            if let Some(wait_status) = wait_status
                && !mirror.ended.get()
            {
                mirror.ended_with.set(Some(exit_status(wait_status)));
                let number = self.next_number();
                self.ending.borrow_mut().push((number, mirror.clone()));
            }
        }
    }

    /// Ends what is left, children before their parents: processes whose status is not known, or that still live.
    pub(crate) fn everyone_leaves(&self, lab: &Executive) {
        for mirror in self.processes.living().iter().rev() {
            mirror.dies(lab, mirror.ended_with.get().unwrap_or(0));
        }
    }

    /// Whether every mirror has ended, exit and all.
    pub(crate) fn is_empty(&self, lab: &Executive) -> bool {
        let is_over = |mirror: &Rc<Mirror>| {
            mirror.process.get().is_some_and(|process| lab.processes.find(process.id).is_none())
        };
        self.processes.mirrors.borrow().iter().all(is_over)
    }
}

impl Request<'_> {
    /// FLUSH: a descriptor was closed, by a process that `exiting` says is on its way out. Closing makes it a
    /// holder, the last one so far; and its death comes before the close of what it held.
    pub(crate) fn descriptor_closed(&self, file: u64, exiting: Option<i32>) {
        if let Ok(file) = self.server.file(file)
            && self.server.hold(self.lab, &file, self.mirror).is_some()
        {
            file.closed_last_by(self.mirror.id(), exiting.is_some());
        }
        if let Some(wait_status) = exiting {
            self.mirror.dies(self.lab, exit_status(wait_status));
        }
    }
}
