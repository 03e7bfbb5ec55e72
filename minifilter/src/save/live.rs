//! A live save, the redirect of a handle, and how a save ends.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use intact_policy::{Scope, Settings};
use kernel::callback::Callback;
use kernel::context::ContextRef;
use kernel::file::FileObject;
use kernel::gate::Gate;
use kernel::instance::Instance;
use kernel::pool::{PoolSlice, PoolVec, Shared, Tag};
use kernel::process::{Process, ProcessKey};
use kernel::sync::{CriticalRegion, Event, PushLock, SpinLock};
use kernel::time;
use kernel::transaction::{Transaction, TransactionRef};
use kernel::{Result, Status};
use widestring::U16Str;

use super::below;
use super::fate::{Fate, leaves};
use super::files::Files;
use super::limits::Activity;
use super::outcome::{Ending, Facts, Outcome, Reason, is_clean, outcome};
use super::partners::Partners;
use super::redirect::{Redirect, Role};
use super::saved::SavedFiles;
use super::state::{Effect, Left, Phase, Place, Settles, State, Stream, Turn};
use crate::Intact;
use crate::operations::decision::Claim;
use crate::operations::names;
use crate::report::counters;

const TAG: Tag = Tag::new(b"InSv");

/// Who saves what under which rule: for events.
pub struct Label {
    text: PoolSlice<u16>,
    file: usize,
    image: usize,
}

impl Label {
    /// Copies the three names. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new(file: &U16Str, image: &U16Str, rule: &[u16]) -> Result<Self> {
        let length = file.len().saturating_add(image.len()).saturating_add(rule.len());
        let mut text = PoolSlice::zeroed(TAG, length)?;
        let parts = file.as_slice().iter().chain(image.as_slice()).chain(rule);
        for (to, from) in text.iter_mut().zip(parts) {
            *to = *from;
        }
        Ok(Label { text, file: file.len(), image: image.len() })
    }

    fn part(&self, from: usize, to: usize) -> &U16Str {
        U16Str::from_slice(self.text.get(from..to).unwrap_or(&[]))
    }

    /// The full name of the file that it began with.
    pub fn file(&self) -> &U16Str {
        self.part(0, self.file)
    }

    /// Its stream's part of that name (`:name`), empty for the unnamed one.
    pub fn stream(&self) -> &U16Str {
        self.part(without_stream(self.file()), self.file)
    }

    /// The image of the process.
    pub fn image(&self) -> &U16Str {
        self.part(self.file, self.file.saturating_add(self.image))
    }

    /// The rule.
    pub fn rule(&self) -> &U16Str {
        self.part(self.file.saturating_add(self.image), self.text.len())
    }
}

/// What a save's twins are in.
pub enum Mode {
    /// A transaction.
    Transacted(Transaction),
    /// None: they are as the handles would have been without us.
    Plain,
    /// None any more.
    Over,
}

/// A save.
pub struct Save {
    /// Its number, for events.
    pub number: u64,
    /// Whose it is: the process, or the one that it counts as.
    pub process: ProcessKey,
    /// The id of the process that began it.
    pub process_id: u32,
    /// Who takes part.
    partners: Partners,
    /// What the rule says.
    pub settings: Settings,
    /// Names, for events.
    pub label: Label,
    /// Its files; none until the first twin is open.
    pub files: SavedFiles,
    /// Whether it was told that it has begun.
    begun: AtomicBool,
    /// When its transaction began, in milliseconds of [`time`].
    pub(super) since: AtomicU64,
    /// Whether it is counted as live.
    pub(super) counted: AtomicBool,
    /// Changes of names inside it, done or under way: names may be others there than outside.
    renamed: AtomicU32,
    pub(super) state: SpinLock<State>,
    pub(super) mode: PushLock<Mode>,
    /// Creates on their way to a twin are inside. Held while twins are exchanged, and closed when it ends.
    pub(super) gate: Gate<()>,
    /// Its twins are being exchanged: nobody else may open the file meanwhile.
    pub(super) exchanging: AtomicBool,
    /// It has no transaction until something is modified: nothing has been yet, or not for long.
    pub(super) rests: AtomicBool,
    /// Handles that only read: their twins are closed before the transaction ends.
    pub(super) readers: PushLock<PoolVec<ContextRef<Redirect>>>,
    /// Writing twins: closed by their cleanup, or here if the volume goes first.
    pub(super) writers: PushLock<PoolVec<ContextRef<Redirect>>>,
    /// It has a file, or never will.
    opened: Event,
    ended: Event,
}

/// The application's file object that leaves a save, before its cleanup, and what it has open.
pub type Own<'a> = (FileObject<'a>, Place);

/// How long a create waits for another one of its process that is on the way to the same file, and the end of a save for who
/// only looks at it.
const PATIENCE_MS: u32 = 10_000;

impl Save {
    /// Begins a transaction for one handle of a process, which counts as `whose`, whose create is inside until
    /// [`Self::is_through`]. PASSIVE_LEVEL. Fails as KTM fails.
    pub fn begin(
        process: Process<'_>,
        whose: ProcessKey,
        settings: Settings,
        label: Label,
    ) -> Result<Shared<Save>> {
        let transaction = Transaction::begin()?;
        let save = Shared::new(
            TAG,
            Save {
                number: counters::next_number(),
                process: whose,
                process_id: process.id(),
                partners: Partners::new(process, settings.include_children),
                settings,
                label,
                files: SavedFiles::new(),
                begun: AtomicBool::new(false),
                since: AtomicU64::new(time::milliseconds()),
                counted: AtomicBool::new(false),
                renamed: AtomicU32::new(0),
                state: SpinLock::new(State::new()),
                mode: PushLock::new(Mode::Transacted(transaction)),
                gate: Gate::new(TAG, ())?,
                exchanging: AtomicBool::new(false),
                rests: AtomicBool::new(false),
                readers: PushLock::new(PoolVec::new(TAG)),
                writers: PushLock::new(PoolVec::new(TAG)),
                opened: Event::new(TAG)?,
                ended: Event::new(TAG)?,
            },
        )?;
        save.gate.enter();
        Ok(save)
    }

    /// A handle has a twin of a file, which the save may be joined by from now on: with the first it counts. True if this
    /// is the first. IRQL up to APC_LEVEL. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn establish(&self, intact: &Intact, process: Process<'_>, file: u64, name: &U16Str) -> Result<bool> {
        self.files.add(file, name)?;
        // One that was broken off before it had a file was none.
        let live = self.state.lock().phase() == Phase::Live;
        let first = live && !self.begun.swap(true, Ordering::AcqRel);
        if first {
            self.has_begun(intact);
        } else {
            intact.report.joined(self, self.joiner(|| process), name, true);
        }
        self.opened.set();
        Ok(first)
    }

    /// It has a transaction that counts.
    pub(super) fn has_begun(&self, intact: &Intact) {
        self.counted.store(true, Ordering::Release);
        counters::begun();
        intact.report.begun(self);
    }

    /// Whether this process may join it, and sees what is in it. IRQL up to APC_LEVEL.
    pub fn belongs_to(&self, process: ProcessKey) -> bool {
        self.process == process || self.settings.include_children && self.is_of_family(process)
    }

    #[cold]
    fn is_of_family(&self, process: ProcessKey) -> bool {
        let rule = self.label.rule().as_slice();
        Intact::get().is_some_and(|intact| intact.policy.families.has(process, self.process, rule))
    }

    /// A process that it belongs to has a handle in it now: how it ends counts. IRQL up to APC_LEVEL. Fails with
    /// `INSUFFICIENT_RESOURCES`.
    pub fn has_partner(&self, data: &Callback<'_>) -> Result<()> {
        if !self.settings.include_children {
            return Ok(());
        }
        self.partners.take_part(data.process(), self.settings.on_exit)
    }

    /// A file of it is about to be modified, maybe by somebody who was given the handle. IRQL up to APC_LEVEL.
    #[inline]
    pub fn is_modified(&self, data: &Callback<'_>) {
        if self.settings.include_children {
            self.is_modified_by(data.process());
        }
    }

    #[cold]
    fn is_modified_by(&self, process: Process<'_>) {
        if !self.partners.has(process)
            && self.belongs_to(process.key())
            && self.partners.take_part(process, self.settings.on_exit).is_err()
        {
            // How it ends would count, and nobody will know.
            self.force();
        }
    }

    /// The id of who joins it, for events: of another process than its own only where that can be.
    pub fn joiner<'a>(&self, process: impl FnOnce() -> Process<'a>) -> u32 {
        if self.settings.include_children { process().id() } else { self.process_id }
    }

    /// Learns of partners that have failed. IRQL up to APC_LEVEL.
    pub(super) fn look_after_partners(&self) {
        if self.settings.include_children
            && let Fate::Over(ending) = self.fate()
            && !is_clean(ending, self.settings.on_exit)
        {
            self.state.lock().note_end(ending, self.settings.on_exit);
        }
    }

    /// What has become of those who take part. IRQL up to APC_LEVEL.
    pub(super) fn fate(&self) -> Fate {
        self.partners.fate(self.settings.on_exit)
    }

    /// Whether it is all that its process saves under its rule.
    pub fn is_of_process(&self) -> bool {
        self.settings.scope == Scope::Process
    }

    /// Whether it has no file yet, and may get one.
    pub fn is_opening(&self) -> bool {
        self.files.is_empty() && self.is_live()
    }

    /// Waits until it has its file, or is over. PASSIVE_LEVEL, without locks and without a save of one's own under way.
    pub fn wait_until_opened(&self) {
        self.opened.wait(Some(PATIENCE_MS));
    }

    /// Removes what it made. PASSIVE_LEVEL.
    fn remove_what_it_made(&self, intact: &Intact, instance: Instance<'_>, own: Option<Own<'_>>) {
        while let Some(made) = self.files.take_made() {
            if let Err(status) = made.remove(instance, own) {
                intact.report.placeholder_left(self, made.name(), status);
            }
        }
    }

    /// A name is about to be changed inside it: from now on its process's creates are told what is seen inside.
    pub fn changes_names(&self) {
        if self.renamed.fetch_add(1, Ordering::AcqRel) == 0 {
            counters::renamed();
        }
    }

    /// What [`Self::changes_names`] announced was not done.
    pub fn changed_no_names(&self) {
        if self.renamed.fetch_sub(1, Ordering::AcqRel) == 1 {
            counters::not_renamed();
        }
    }

    /// Whether names may be others inside it than outside.
    pub fn has_changed_names(&self) -> bool {
        self.renamed.load(Ordering::Acquire) != 0
    }

    /// Whether more files may become part of it. IRQL up to APC_LEVEL.
    pub fn takes_more(&self) -> bool {
        let (phase, gone) = {
            let state = self.state.lock();
            (state.phase(), state.is_gone())
        };
        matches!(phase, Phase::Live | Phase::Settling) && !gone && (self.is_transacted() || self.rests())
    }

    /// Whether nothing is lost if its handles go on without a transaction. IRQL up to APC_LEVEL.
    pub fn could_go_on_without(&self) -> bool {
        self.look_after_partners();
        // Closing the twins would carry out a deletion that was only asked for.
        !self.has_changed_names()
            && self.is_transacted()
            && self.state.lock().could_go_on_without(self.settings.on_exit)
    }

    /// Whether its writing handles, of those places that count, would share their file with another one. IRQL up to
    /// APC_LEVEL.
    pub fn shares_with(&self, claim: Claim, counts: impl Fn(Place) -> bool) -> bool {
        self.writers.read().iter().all(|redirect| {
            let own = Claim { access: redirect.how.access, share: redirect.how.share };
            !counts(redirect.place) || own.goes_with(claim)
        })
    }

    /// Whether handles still take part in it. Up to DISPATCH_LEVEL.
    pub fn is_live(&self) -> bool {
        self.state.lock().phase() == Phase::Live
    }

    /// The transaction that opens on the way to a twin are in; `None`: in none. Fails if it is over. IRQL up to APC_LEVEL,
    /// inside the gate, so that it stays so.
    pub fn inside(&self) -> Result<Option<TransactionRef>> {
        match &*self.mode.read() {
            Mode::Transacted(transaction) => Ok(Some(transaction.object())),
            Mode::Plain => Ok(None),
            Mode::Over => Err(Status::TRANSACTION_NOT_ACTIVE),
        }
    }

    /// Whether its twins are in a transaction. IRQL up to APC_LEVEL.
    pub fn is_transacted(&self) -> bool {
        matches!(&*self.mode.read(), Mode::Transacted(_))
    }

    /// Another handle of its process takes part, if it is not too late. Waits while twins are exchanged. A success is
    /// followed by [`Self::is_through`]. PASSIVE_LEVEL, without locks.
    pub fn join(&self) -> bool {
        if !self.gate.enter() {
            return false;
        }
        let joined = self.state.lock().join();
        if !joined {
            self.gate.leave();
        }
        joined
    }

    /// A create that only looks at it is on its way to a twin, if it is not too late. Waits while twins are exchanged. A
    /// success is followed by [`Self::is_through`]. PASSIVE_LEVEL, without locks.
    pub fn look(&self) -> bool {
        self.gate.enter()
    }

    /// Whether its twins are being exchanged.
    pub fn is_exchanging(&self) -> bool {
        self.exchanging.load(Ordering::SeqCst)
    }

    /// The create that has begun or joined it, or looks at it, has its twin, or does not get one.
    pub fn is_through(&self) {
        self.gate.leave();
    }

    /// Something was modified that no effect describes. Up to DISPATCH_LEVEL.
    pub fn note_modified(&self) {
        self.state.lock().note_modified();
    }

    /// Bytes may have been written at a place that is not known. Up to DISPATCH_LEVEL.
    pub fn note_written(&self) {
        self.state.lock().note_written();
    }

    /// A handle is closed that has made a file empty which is not empty outside of it.
    pub fn note_emptied(&self) {
        self.state.lock().note_emptied();
    }

    /// Whether it may wait for more when nobody writes into it.
    pub(super) fn may_settle(&self) -> Settles {
        if self.settings.settle_milliseconds == 0 || !self.is_transacted() {
            Settles::Never
        } else if self.is_of_process() {
            Settles::Always
        } else if self.state.lock().is_hollow() && !self.has_changed_names() {
            // A deletion counts from when the handles are closed, and names that were given keep others away.
            Settles::Hollow
        } else {
            Settles::Never
        }
    }

    /// Whether it waits for more (`turn`: and it is this time).
    pub fn settles(&self, turn: Option<Turn>) -> bool {
        self.state.lock().settles(turn)
    }

    /// Whether it is not over although nobody writes into it and no close is under way.
    pub fn is_alone(&self) -> bool {
        self.state.lock().is_alone()
    }

    /// It waits no longer: what its end is decided by, if it did wait.
    pub(super) fn settles_no_more(&self, turn: Option<Turn>, ending: Ending) -> Option<Facts> {
        self.state.lock().settle(turn, ending, self.settings.on_exit)
    }

    /// Whether its process has ended, or is about to: of several the last, or one that fails. IRQL up to APC_LEVEL.
    pub fn has_lost_its_process(&self) -> bool {
        self.fate() != Fate::Open
    }

    /// It must not commit.
    pub fn force(&self) {
        self.state.lock().force();
    }

    /// Whether its transaction is known to be gone. Up to DISPATCH_LEVEL.
    pub fn is_gone(&self) -> bool {
        self.state.lock().is_gone()
    }

    /// An operation on a twin came back. Up to DISPATCH_LEVEL.
    pub fn came_back(&self, place: Place, effect: Effect, status: Status) {
        self.state.lock().came_back(place, effect, status.0 as u32);
    }

    /// An open for it found that its transaction is gone. Up to DISPATCH_LEVEL.
    pub fn lose(&self, status: Status) {
        self.state.lock().lose(status.0 as u32);
    }

    /// What has happened in it. Up to DISPATCH_LEVEL.
    pub fn activity(&self) -> Activity {
        let state = self.state.lock();
        Activity { modified: state.is_modified(), changes: state.changes() }
    }

    /// Whether a flush could still find out that something failed.
    pub fn needs_flush(&self) -> bool {
        let needed = {
            let state = self.state.lock();
            state.is_modified() && !state.is_gone()
        };
        needed && self.is_transacted()
    }

    /// The last flush of a handle's twin came back: with this failure, or well.
    pub fn flushed(&self, failure: Option<Status>) {
        if let Some(status) = failure {
            self.state.lock().flushed(status.0 as u32);
        }
    }

    /// How long ago its first transaction, or the one after a rest, began.
    pub fn milliseconds(&self) -> u64 {
        time::milliseconds().saturating_sub(self.since.load(Ordering::Relaxed))
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes()
    }

    /// Whether it is over, and what its program asked for is there. Up to DISPATCH_LEVEL.
    pub fn is_kept(&self) -> bool {
        self.state.lock().is_kept()
    }

    /// Waits until it is over, if it is ending. PASSIVE_LEVEL, without locks.
    pub fn wait_if_ending(&self) {
        let phase = self.state.lock().phase();
        if phase == Phase::Ending {
            self.ended.wait(None);
        }
    }

    /// Remembers a handle's twin. False if the save is not live any more, or without memory.
    pub fn enlist(&self, redirect: &ContextRef<Redirect>) -> bool {
        let list = match redirect.role {
            Role::Reader => &self.readers,
            Role::Writer => &self.writers,
        };
        {
            let mut list = list.write();
            let phase = self.state.lock().phase();
            if !matches!(phase, Phase::Live | Phase::Settling) || list.push(redirect.clone()).is_err() {
                return false;
            }
        }
        below::watch_handle(redirect);
        true
    }

    /// Forgets a handle's twin.
    pub fn delist(&self, redirect: &ContextRef<Redirect>) {
        let list = match redirect.role {
            Role::Reader => &self.readers,
            Role::Writer => &self.writers,
        };
        let taken = list.write().take(|other| other.is(redirect));
        drop(taken);
    }

    /// A handle that takes part is done. The caller carries out what is left to do. IRQL up to APC_LEVEL.
    pub(super) fn has_left(&self, ending: Ending, settles: Settles) -> Left {
        let ending = match self.settings.include_children {
            true => leaves(ending, self.fate(), self.settings.on_exit),
            false => ending,
        };
        self.state.lock().leave(ending, self.settings.on_exit, settles)
    }

    /// The volume goes: ends it now, whoever writes. PASSIVE_LEVEL, without locks.
    pub fn break_off(&self, intact: &Intact, instance: Instance<'_>, files: &Files) {
        // Others wait for what is decided here.
        let _region = CriticalRegion::enter();
        self.look_after_partners();
        let facts = self.state.lock().break_off(self.settings.on_exit);
        if let Some(facts) = facts {
            self.close_writers();
            self.finish(intact, instance, files, facts, None);
            // Whoever still has a handle is told that nothing works on it any more.
            self.state.lock().lose(Status::FILE_CLOSED.0 as u32);
        }
    }

    /// Carries its end out. `own` is the application's file object, by which a placeholder is removed. PASSIVE_LEVEL,
    /// without locks.
    pub(super) fn finish(
        &self,
        intact: &Intact,
        instance: Instance<'_>,
        files: &Files,
        facts: Facts,
        own: Option<Own<'_>>,
    ) {
        // Whoever exchanges twins, or is on the way to one, is waited for. Who is suspended on his way finds later that it is
        // over.
        let _alone = self.gate.close_and_hold(Some(PATIENCE_MS));
        // Handles of a transaction die with it (txf-ktm §4.4): those that read go back to their own files first.
        self.send_readers_back(instance);
        let mode = core::mem::replace(&mut *self.mode.write(), Mode::Over);
        let (decided, result) = match mode {
            Mode::Transacted(transaction) => {
                // If KTM does not say, the commit itself will.
                let active = facts.active && transaction.is_undecided().unwrap_or(true);
                let decided = outcome(&Facts { active, ..facts });
                let result = match decided {
                    Outcome::Commit => transaction.commit(),
                    Outcome::RollBack(_) => transaction.rollback(),
                };
                (decided, result)
            }
            Mode::Plain | Mode::Over => (Outcome::RollBack(Reason::TransactionGone), Ok(())),
        };
        let committed = decided == Outcome::Commit && result.is_ok();
        if !committed {
            self.remove_what_it_made(intact, instance, own);
        }
        let (first_failure, checkpointed) = {
            let mut state = self.state.lock();
            state.end(committed);
            (Status(state.first_failure() as i32), state.is_checkpointed())
        };
        // Told before anybody can find that it is over.
        if self.counted.swap(false, Ordering::AcqRel) {
            match (decided, result) {
                (Outcome::Commit, Ok(())) => {
                    counters::committed();
                    intact.report.committed(self);
                }
                // All of it was made durable by flushes.
                (Outcome::RollBack(Reason::Unmodified), _) if checkpointed => {
                    counters::committed();
                    intact.report.committed(self);
                }
                (Outcome::Commit, Err(status)) => {
                    counters::commit_failed();
                    intact.report.commit_failed(self, status);
                }
                (Outcome::RollBack(reason), _) => {
                    counters::rolled_back();
                    intact.report.rolled_back(self, reason, first_failure);
                }
            }
        }
        files.remove(self);
        intact.clock.limits().forget(self);
        self.opened.set();
        self.ended.set();
    }

    /// Takes the twins of those that write out of use: no operation enters any more, those inside come out, the handles
    /// close.
    fn close_writers(&self) {
        while let Some(redirect) = pop(&self.writers) {
            redirect.close_twin(None);
        }
    }

    /// As [`Self::close_writers`], of those that only read, which go back to their own files. One whose twin somebody does
    /// not come out of in time is closed with its handle.
    fn send_readers_back(&self, instance: Instance<'_>) {
        while let Some(redirect) = pop(&self.readers) {
            match redirect.gate.hold(Some(PATIENCE_MS)) {
                Some(twin) => redirect.go_back(&twin, instance),
                None => redirect.gate.close(),
            }
        }
    }
}

fn pop(list: &PushLock<PoolVec<ContextRef<Redirect>>>) -> Option<ContextRef<Redirect>> {
    list.write().pop()
}

impl Drop for Save {
    fn drop(&mut self) {
        if self.has_changed_names() {
            counters::not_renamed();
        }
    }
}

/// How much of a full name comes before its stream's part.
pub(super) fn without_stream(name: &U16Str) -> usize {
    names::without_stream(name.as_slice())
}

/// Which stream of its file the stream's part of a name is about.
pub fn stream_of(part: &U16Str) -> Stream {
    names::stream_of(part.as_slice(), kernel::string::upcase)
}
