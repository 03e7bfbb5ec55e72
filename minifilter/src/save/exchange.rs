//! Exchanging the twins of a save under its live handles.
//!
//! The handles of a transaction die with it (txf-ktm §4.4), and none can be put into one later. So that a save can go on in
//! another transaction, begin one, or go on without, all of its twins are closed, its transaction commits, and they are
//! opened again: the same file by the name that it has now, checked by its id, with the same rights, sharing and options.
//! The rights are those of the handles, so no access check is made again: a handle keeps its rights, whatever becomes of
//! the file's security.
//!
//! Meanwhile operations on the handles wait at their gates, creates of the same process wait at the save's, and creates of
//! others on the file wait for a bounded time. Byte-range locks are taken again; requests that wait for one are told that
//! it was not granted. A current position is the application's own file object's, and stays.

use core::sync::atomic::Ordering;

use intact_policy::OnUnavailable;
use kernel::context::ContextRef;
use kernel::file::{LowerFile, Open, Opened};
use kernel::gate::Held;
use kernel::instance::Instance;
use kernel::name::FileName;
use kernel::pool::{PoolVec, Tag};
use kernel::section;
use kernel::time;
use kernel::transaction::{Transaction, TransactionRef};
use kernel::{Result, Status};
use wdk_sys::{FILE_ATTRIBUTE_READONLY, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, SYNCHRONIZE};
use widestring::U16Str;

use super::below;
use super::files::Files;
use super::live::{Mode, Save, stream_of};
use super::locks;
use super::outcome::Reason;
use super::redirect::{How, Redirect, Role};
use super::state::Flush;
use crate::Intact;
use crate::operations::decision::{FILE_OPEN, locks_in_transaction};
use crate::report::{Demotion, counters};

const TAG: Tag = Tag::new(b"InEg");

/// How long operations in flight may take. They are reads and writes of a local disk.
const PATIENCE_MS: u32 = 30_000;

/// How often somebody may come in between while a twin is opened again.
const ATTEMPTS: usize = 8;

/// How long a thread that looks after many saves waits for one of them.
const THREADS_PATIENCE_MS: u32 = 1_000;

/// A twin of a save, nobody else at it.
struct Twin<'a> {
    redirect: &'a ContextRef<Redirect>,
    held: Held<'a, LowerFile>,
    /// What the file is called, if it could be told.
    name: Option<FileName>,
    /// Its handle is still there.
    live: bool,
}

type Twins<'a> = PoolVec<Twin<'a>>;

/// While it lives, creates of others on the file wait.
struct Window<'a>(&'a Save);

impl<'a> Window<'a> {
    fn open(save: &'a Save) -> Self {
        save.exchanging.store(true, Ordering::SeqCst);
        counters::exchange_begins();
        Window(save)
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        counters::exchange_ends();
        self.0.exchanging.store(false, Ordering::SeqCst);
    }
}

/// How long a create waits for an exchange. An exchange takes as long as a commit; whoever is on its way down to the
/// file for one of us (a scanner's service asked by a filter below) must not wait for it for ever.
const OUTSIDERS_WAIT_MS: u32 = 10_000;

impl Save {
    /// Waits while its twins are exchanged, for a bounded time. PASSIVE_LEVEL, without locks.
    pub fn wait_while_exchanging(&self) {
        self.gate.wait_until_free(OUTSIDERS_WAIT_MS);
    }

    /// The program flushes: true if what was there is durable now, false if its twin is to be flushed. `room`: there is
    /// stack for opening a file. PASSIVE_LEVEL, without locks.
    ///
    /// Fails, and nothing is committed, if the save could not commit at a close either, with the status of the write that
    /// failed if that is the reason; if the twins do not come to rest (`IO_TIMEOUT`); or without memory or stack. If the
    /// commit fails (`UNEXPECTED_IO_ERROR`) the previous version stays, and nothing works on the handles any more.
    pub fn flush(&self, intact: &Intact, instance: Instance<'_>, room: bool) -> Result<bool> {
        if !self.is_due()? {
            return Ok(false);
        }
        if !room {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        let _creates = self.gate.hold(Some(PATIENCE_MS)).ok_or(Status::IO_TIMEOUT)?;
        let members = self.members()?;
        let mut twins = hold_all(&members, PATIENCE_MS)?;
        // Again, with nothing in flight. What is mapped cannot be exchanged: it is flushed into the transaction.
        if !self.is_due()? || twins.iter().any(Twin::is_mapped) {
            return Ok(false);
        }
        name_all(&mut twins, instance);
        if self.any_is_image(&twins, instance)? {
            return Ok(false);
        }
        write_out(&twins, instance)?;
        self.commit_and_go_on(intact, instance, &mut twins)?;
        Ok(true)
    }

    /// Commits what is there, and lets the handles go on without a transaction, if the save has written more than its rule
    /// allows. PASSIVE_LEVEL, without locks.
    ///
    /// A save that could not commit at a close is left as it is, and so is one whose twins do not come to rest.
    pub fn limit(&self, intact: &Intact, instance: Instance<'_>) {
        // Whatever keeps it from ending now, the close will tell.
        let _ = self.demote(intact, instance, Demotion::TooLarge, PATIENCE_MS, || self.is_too_large());
    }

    /// As [`Self::limit`], because it is past a limit of time; `changes`: what was seen of it then, if nothing more may have
    /// happened since. In a thread of ours.
    ///
    /// One in which nothing was modified for long has a transaction again when something is: [`Self::resume`].
    pub fn end_by_time(&self, intact: &Intact, instance: Instance<'_>, why: Demotion, changes: u32) {
        let is_still_over = || match why {
            Demotion::Idle => self.activity().changes == changes && self.could_go_on_without(),
            _ => self.could_go_on_without() && self.activity().modified,
        };
        if is_still_over() {
            // Whatever keeps it from ending now, the next look will find again.
            let _ = self.demote(intact, instance, why, THREADS_PATIENCE_MS, is_still_over);
        }
    }

    /// Somebody else opens a file of it whom its handles let in: what is there is committed, and they go on without a
    /// transaction; if nothing is there, until something is modified. PASSIVE_LEVEL, without locks.
    ///
    /// Where that cannot be, the other one is kept out, as TxF has it.
    pub fn let_in(&self, intact: &Intact, instance: Instance<'_>) {
        let why = Demotion::LetIn;
        let _ = self.demote(intact, instance, why, THREADS_PATIENCE_MS, || self.could_go_on_without());
    }

    /// Its program asks for what TxF does not do: what is there is committed, and its handles go on without a transaction; if
    /// nothing is there, until something is modified. PASSIVE_LEVEL, without locks.
    ///
    /// Not where nothing passes without a transaction (`OnUnavailable`), nor in a save that could not commit, has changed
    /// names, or whose file is mapped.
    pub fn do_without(&self, intact: &Intact, instance: Instance<'_>) {
        if self.settings.on_unavailable == OnUnavailable::PassThrough {
            let _ = self
                .demote(intact, instance, Demotion::Unsupported, PATIENCE_MS, || self.could_go_on_without());
        }
    }

    /// Whether it has written more than its rule allows, and could commit what is there. IRQL up to APC_LEVEL.
    pub fn is_too_large(&self) -> bool {
        let limit = self.settings.max_megabytes;
        limit != 0
            && self.is_transacted()
            // Closing the twins would carry out a deletion that was only asked for.
            && !self.has_changed_names()
            && {
                self.look_after_partners();
                self.state.lock().is_too_large(limit, self.settings.on_exit)
            }
    }

    fn demote(
        &self,
        intact: &Intact,
        instance: Instance<'_>,
        why: Demotion,
        patience: u32,
        is_still_over: impl Fn() -> bool,
    ) -> Result<()> {
        let _creates = self.gate.hold(Some(patience)).ok_or(Status::IO_TIMEOUT)?;
        let members = self.members()?;
        let mut twins = hold_all(&members, patience)?;
        // Again, with nothing in flight. What is mapped cannot be exchanged, and whoever waits for a lock would be sent away
        // for nothing.
        let halved = self.activity().modified;
        let is_waited_for = |twin: &Twin<'_>| twin.redirect.locks.lock().is_waited_for();
        if !is_still_over()
            || twins.iter().any(Twin::is_mapped)
            || !halved && why == Demotion::Idle && twins.iter().any(is_waited_for)
        {
            return Ok(());
        }
        name_all(&mut twins, instance);
        if self.any_is_image(&twins, instance)? {
            return Ok(());
        }
        write_out(&twins, instance)?;
        let _window = Window::open(self);
        let published = self.commit(intact, instance, &twins)?;
        if !published && self.counted.swap(false, Ordering::AcqRel) {
            counters::rolled_back();
            intact.report.rolled_back(self, Reason::Unmodified, Status::SUCCESS);
        }
        // Before its twins are back: who comes in then has it resumed.
        self.rests.store(!halved || why == Demotion::Idle, Ordering::Release);
        if halved || why == Demotion::Unsupported {
            self.demoted(intact, why, Status::SUCCESS);
        }
        self.reopen_plain(intact, instance, &mut twins);
        intact.clock.limits().forget(self);
        Ok(())
    }

    /// Whether it has no transaction only until something is modified. Up to DISPATCH_LEVEL.
    #[inline]
    pub fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    /// Something is about to be modified in a save that rests: it has a transaction now, or goes on without one until it is
    /// closed, with an event. True: it has one, since now. `room`: files can be opened here. PASSIVE_LEVEL, without locks.
    pub fn resume(&self, intact: &Intact, instance: Instance<'_>, room: bool) -> bool {
        let resumed =
            if room { self.begin_again(intact, instance) } else { Err(Status::INSUFFICIENT_RESOURCES) };
        if let Err(status) = resumed
            && self.rests.swap(false, Ordering::AcqRel)
        {
            self.demoted(intact, Demotion::NotResumed, status);
        }
        resumed == Ok(true)
    }

    /// It goes on without a transaction until it is closed, or part of it was published.
    fn demoted(&self, intact: &Intact, why: Demotion, status: Status) {
        counters::demoted();
        intact.report.demoted(self, why, status);
    }

    /// Fails where the twins have not been touched. `false`: there is nothing left to do, or the twins are back without a
    /// transaction.
    fn begin_again(&self, intact: &Intact, instance: Instance<'_>) -> Result<bool> {
        let _creates = self.gate.hold(Some(PATIENCE_MS)).ok_or(Status::IO_TIMEOUT)?;
        let members = self.members()?;
        let mut twins = hold_all(&members, PATIENCE_MS)?;
        // Again, with nothing in flight; and what was broken off meanwhile is over.
        if !self.rests() || !self.is_live() {
            return Ok(false);
        }
        // What is mapped cannot be exchanged, and what somebody deletes meanwhile cannot be opened again.
        if twins.iter().any(Twin::is_mapped) {
            return Err(Status::USER_MAPPED_FILE);
        }
        if twins.iter().any(|twin| twin.live && twin.held.object().is_deleted(instance)) {
            return Err(Status::DELETE_PENDING);
        }
        name_all(&mut twins, instance);
        let transaction = Transaction::begin()?;
        let _window = Window::open(self);
        self.rests.store(false, Ordering::Release);
        close_all(&twins, instance);
        match self.reopen_inside(instance, &mut twins, &transaction) {
            Ok(()) => {
                *self.mode.write() = Mode::Transacted(transaction);
                self.state.lock().resumed();
                self.since.store(time::milliseconds(), Ordering::Relaxed);
                self.has_begun(intact);
                Ok(true)
            }
            Err(status) => {
                // It has the file until it ends.
                drop(transaction);
                self.demoted(intact, Demotion::NotResumed, status);
                self.reopen_plain(intact, instance, &mut twins);
                Ok(false)
            }
        }
    }

    /// Whether somebody has mapped one of its files as an image: it could not be opened to write again. (Whoever does it from now
    /// on does so in a moment for which nobody can be held.) Fails as the look at a file fails.
    fn any_is_image(&self, twins: &Twins<'_>, instance: Instance<'_>) -> Result<bool> {
        let filter = Intact::filter().ok_or(Status::UNSUCCESSFUL)?;
        for twin in twins.iter().filter(|twin| twin.writes()) {
            let name = twin.name.as_ref().map_or(self.label.file(), FileName::full);
            let look = Open::look(name, twin.redirect.how.case_sensitive).open(filter, instance);
            match look {
                Ok(looked) if section::is_image(looked.file.object()) => return Ok(true),
                // What only the save knows has been mapped by nobody else.
                Ok(_) | Err(Status::OBJECT_NAME_NOT_FOUND) => {}
                Err(status) => return Err(status),
            }
        }
        Ok(false)
    }

    /// Whether a flush has to commit.
    fn is_due(&self) -> Result<bool> {
        // With a name that it has given, or a deletion that closing the twins would carry out, it goes on as it is.
        if !self.is_transacted() || self.has_changed_names() {
            return Ok(false);
        }
        self.look_after_partners();
        let flush = self.state.lock().at_flush(self.settings.on_exit, self.settings.on_flush);
        match flush {
            Flush::Through => Ok(false),
            Flush::Checkpoint => Ok(true),
            Flush::Fail(status) => Err(Status(status as i32)),
        }
    }

    /// Its handles, writing and reading. Fails with `INSUFFICIENT_RESOURCES`.
    pub(super) fn members(&self) -> Result<PoolVec<ContextRef<Redirect>>> {
        let mut members = PoolVec::new(TAG);
        for list in [&self.writers, &self.readers] {
            for redirect in list.read().iter() {
                members.push(redirect.clone())?;
            }
        }
        Ok(members)
    }

    fn commit_and_go_on(&self, intact: &Intact, instance: Instance<'_>, twins: &mut Twins<'_>) -> Result<()> {
        // Before the old one ends, so that nothing is in between that could fail for want of memory.
        let next = Transaction::begin();
        let _window = Window::open(self);
        self.commit(intact, instance, twins)?;
        counters::checkpointed();
        intact.report.checkpointed(self);
        let why = match next {
            Ok(transaction) => match self.reopen_inside(instance, twins, &transaction) {
                Ok(()) => {
                    *self.mode.write() = Mode::Transacted(transaction);
                    return Ok(());
                }
                Err(status) => status,
            },
            Err(status) => status,
        };
        self.demoted(intact, Demotion::NoTransaction, why);
        self.reopen_plain(intact, instance, twins);
        intact.clock.limits().forget(self);
        Ok(())
    }

    /// Closes the twins and commits. Whether there was anything to commit, now or at a flush before. On failure nothing works
    /// on the handles any more.
    fn commit(&self, intact: &Intact, instance: Instance<'_>, twins: &Twins<'_>) -> Result<bool> {
        let published = {
            let state = self.state.lock();
            state.is_modified() || state.is_checkpointed()
        };
        close_all(twins, instance);
        let mode = core::mem::replace(&mut *self.mode.write(), Mode::Over);
        let result = match mode {
            // KTM may have ended it by itself: then there is nothing to commit, and the close will say so.
            Mode::Transacted(transaction) if transaction.is_undecided().unwrap_or(true) => {
                transaction.commit()
            }
            Mode::Transacted(_) | Mode::Plain | Mode::Over => {
                self.state.lock().lose(Status::TRANSACTION_NOT_ACTIVE.0 as u32);
                return Err(Status::UNEXPECTED_IO_ERROR);
            }
        };
        match result {
            Ok(()) => {
                self.state.lock().checkpointed();
                // What was made as a placeholder is a file now.
                self.files.committed();
                Ok(published)
            }
            Err(status) => {
                self.state.lock().lose(status.0 as u32);
                if self.counted.swap(false, Ordering::AcqRel) {
                    counters::commit_failed();
                    intact.report.commit_failed(self, status);
                }
                Err(Status::UNEXPECTED_IO_ERROR)
            }
        }
    }

    /// Opens the writing twins again in a transaction, and takes their locks. On failure all are closed.
    fn reopen_inside(
        &self,
        instance: Instance<'_>,
        twins: &mut Twins<'_>,
        transaction: &Transaction,
    ) -> Result<()> {
        let inside = transaction.object();
        // Those first that lock the file: who only reads sees what the transaction does only if it is opened after them
        // (txf-ktm §4.1).
        let opened = [true, false].into_iter().try_for_each(|locks| {
            let next = |twin: &&mut Twin<'_>| {
                twin.writes() && locks_in_transaction(twin.redirect.how.access) == locks
            };
            twins
                .iter_mut()
                .filter(next)
                .try_for_each(|twin| twin.reopen_locked(self, instance, Some(&inside), false))
        });
        if opened.is_err() {
            close_all(twins, instance);
            return opened;
        }
        for twin in twins.iter_mut().filter(|twin| twin.live && twin.redirect.role == Role::Reader) {
            if twin.reopen_locked(self, instance, Some(&inside), true).is_err() {
                twin.redirect.go_back(&twin.held, instance);
            }
        }
        Ok(())
    }

    /// Opens the writing twins again, outside any transaction; those that read go back to their own files. The save is
    /// over then, and has been committed.
    fn reopen_plain(&self, intact: &Intact, instance: Instance<'_>, twins: &mut Twins<'_>) {
        *self.mode.write() = Mode::Plain;
        for twin in twins.iter_mut() {
            if twin.redirect.role == Role::Reader {
                // With a save that rests it waits for the next transaction.
                let stays = twin.live && self.rests();
                if !stays || twin.reopen_locked(self, instance, None, true).is_err() {
                    twin.redirect.go_back(&twin.held, instance);
                }
            } else if twin.live {
                // Somebody may have come in between, past all of our care: the program must not notice.
                let mut opened = twin.reopen(self, instance, None, false);
                for _ in 0..ATTEMPTS {
                    opened = opened.or_else(|_| twin.reopen(self, instance, None, true));
                    if opened.is_ok() || !self.has_made_way(intact, instance, twin.redirect.place.file) {
                        break;
                    }
                }
                let opened = opened
                    .and_then(|()| locks::take_again(&twin.redirect.locks, twin.held.object(), instance));
                if let Err(status) = opened {
                    twin.close(instance);
                    self.state.lock().lose(status.0 as u32);
                    intact.report.twin_lost(self, status);
                }
            }
        }
        if self.counted.swap(false, Ordering::AcqRel) {
            counters::committed();
            intact.report.committed(self);
        }
    }
}

impl Save {
    /// Somebody else's save may have begun with the file meanwhile: it lets this one in, or is over. False if there is none.
    fn has_made_way(&self, intact: &Intact, instance: Instance<'_>, file: u64) -> bool {
        let Ok(files) = ContextRef::<Files>::of_instance(instance) else { return false };
        let is_other = |save: &Save| save.number != self.number;
        // What it has opened last may be this file, although it does not say so yet.
        while let Some(other) = files.first(|save| is_other(save) && save.is_opening()) {
            other.wait_until_opened();
            if other.is_opening() {
                break;
            }
        }
        let other = files.first(|save| is_other(save) && save.files.has(file));
        if let Some(other) = &other {
            other.let_in(intact, instance);
            other.wait_if_ending();
        }
        other.is_some()
    }
}

impl Twin<'_> {
    fn writes(&self) -> bool {
        self.live && self.redirect.role == Role::Writer
    }

    fn is_mapped(&self) -> bool {
        self.held.is_open() && self.redirect.mapping.is_in_use(&self.held)
    }

    /// Closes it, and gives its locks back.
    fn close(&self, instance: Instance<'_>) {
        if self.held.is_open() {
            locks::give_back(&self.redirect.locks, self.held.object(), instance);
        }
        self.held.close();
    }

    /// Opens it again, and takes its locks.
    fn reopen_locked(
        &mut self,
        save: &Save,
        instance: Instance<'_>,
        inside: Option<&TransactionRef>,
        ignore_share: bool,
    ) -> Result<()> {
        self.reopen(save, instance, inside, ignore_share)?;
        locks::take_again(&self.redirect.locks, self.held.object(), instance)
    }

    fn reopen(
        &mut self,
        save: &Save,
        instance: Instance<'_>,
        inside: Option<&TransactionRef>,
        ignore_share: bool,
    ) -> Result<()> {
        let (name, stream) = match &self.name {
            Some(name) => (name.full(), name.stream()),
            None => (save.label.file(), save.label.stream()),
        };
        // The name that the save began with may mean another file of it, or another stream.
        if stream_of(stream) != self.redirect.place.stream {
            return Err(Status::OBJECT_NAME_NOT_FOUND);
        }
        let how = self.redirect.how;
        let opened = match open(name, &how, instance, inside, ignore_share) {
            Err(Status::ACCESS_DENIED) => open_read_only(name, &how, instance, inside, ignore_share),
            opened => opened,
        }?;
        if opened.status == Status::OPLOCK_BREAK_IN_PROGRESS {
            return Err(Status::OPLOCK_NOT_GRANTED);
        }
        let id = opened.file.object().id(instance);
        if id != Ok(self.redirect.place.file) {
            return Err(id.err().unwrap_or(Status::OBJECT_NAME_NOT_FOUND));
        }
        *self.held = opened.file;
        below::watch(self.redirect, &self.held);
        Ok(())
    }
}

fn open(
    name: &U16Str,
    how: &How,
    instance: Instance<'_>,
    transaction: Option<&TransactionRef>,
    ignore_share: bool,
) -> Result<Opened> {
    let filter = Intact::filter().ok_or(Status::UNSUCCESSFUL)?;
    Open {
        name,
        case_sensitive: how.case_sensitive,
        access: how.access,
        share: how.share,
        disposition: FILE_OPEN,
        options: how.options,
        attributes: 0,
        allocation: 0,
        ea: &[],
        checked: false,
        ignore_share,
        transaction,
        extra: None,
    }
    .open(filter, instance)
}

/// Opens a file that has become read-only since its handle was opened: the attribute is taken away for the open, in the
/// same transaction.
fn open_read_only(
    name: &U16Str,
    how: &How,
    instance: Instance<'_>,
    transaction: Option<&TransactionRef>,
    ignore_share: bool,
) -> Result<Opened> {
    const ACCESS: u32 = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | SYNCHRONIZE;
    let attributes_only = How { access: ACCESS, share: 7, ..*how };
    let door = open(name, &attributes_only, instance, transaction, ignore_share)?;
    let before = door.file.object().basic(instance)?;
    door.file.object().set_attributes(instance, before.attributes & !FILE_ATTRIBUTE_READONLY)?;
    let opened = open(name, how, instance, transaction, ignore_share);
    let restored = door.file.object().restore_attributes(instance, before);
    restored.and(opened)
}

/// Asks what the file is called now. One that cannot be told is opened by the name that the save began with.
fn name_all(twins: &mut Twins<'_>, instance: Instance<'_>) {
    for twin in twins.iter_mut() {
        twin.name = FileName::of_open(twin.held.object(), instance).ok();
    }
}

/// Closes all; their locks are to be taken again.
fn close_all(twins: &Twins<'_>, instance: Instance<'_>) {
    // All of them first: what one gives back another one may have waited for, and must not get now.
    twins.iter().for_each(|twin| twin.redirect.locks.lock().lose_twin());
    twins.iter().for_each(|twin| twin.close(instance));
}

/// Waits until nothing is in flight on any of them, and keeps what comes waiting. Fails with `IO_TIMEOUT` if that takes too
/// long, and with `INSUFFICIENT_RESOURCES`; all go on then.
fn hold_all(members: &PoolVec<ContextRef<Redirect>>, patience: u32) -> Result<Twins<'_>> {
    let mut twins = PoolVec::new(TAG);
    for redirect in members.iter() {
        let held = redirect.gate.hold(Some(patience)).ok_or(Status::IO_TIMEOUT)?;
        // One whose cleanup was faster is closed already.
        let live = held.is_open() && !held.is_closed();
        twins.push(Twin { redirect, held, name: None, live })?;
    }
    Ok(twins)
}

/// Writes what is cached. Fails as the file system fails.
fn write_out(twins: &Twins<'_>, instance: Instance<'_>) -> Result<()> {
    let open = |twin: &&Twin<'_>| twin.held.is_open() && twin.redirect.role == Role::Writer;
    twins.iter().filter(open).try_for_each(|twin| twin.held.object().flush(instance))
}
