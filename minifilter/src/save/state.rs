//! What a save knows about itself while it lives: who takes part, what was modified, what went wrong.
//!
//! Pure: the kernel-facing [`Save`](super::live) keeps one behind a spin lock and carries out what it says.

use arrayvec::ArrayVec;
use intact_policy::{OnExit, OnFlush};

use super::failure::{Failure, classify};
use super::outcome::{Ending, Facts, Outcome, Reason, is_clean, outcome};
use super::wounds::{Change, Range, Wounds};

/// How many streams of all files of a save have wounds of their own.
const STREAMS: usize = 4;

/// Which stream of the file: zero is the unnamed one, others are told apart by a hash of their names.
pub type Stream = u32;
/// The unnamed stream.
pub const UNNAMED: Stream = 0;

/// What of a save a handle is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the file on its volume.
    pub file: u64,
    /// Which of its streams.
    pub stream: Stream,
}

impl Place {
    /// Whether it is this file's unnamed stream.
    pub fn is_file(self, file: u64) -> bool {
        self == Place { file, stream: UNNAMED }
    }

    /// Whether it is another place, or the file that the other one is a stream of.
    pub fn holds(self, other: Place) -> bool {
        self == other || self.is_file(other.file)
    }
}

/// Where a save is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Handles write into it.
    Live,
    /// Nobody writes into it any more, and yet it is not over: it waits for more.
    Settling,
    /// Its last writing handle was closed; the outcome is being carried out. Who wants to join waits.
    Ending,
    /// It is over.
    Ended,
}

/// What an operation on a twin was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It modifies nothing.
    None,
    /// It writes these bytes; `None`: none at all.
    Bytes(Option<Range>),
    /// It writes pages of these bytes, which were counted when they were modified.
    Pages(Option<Range>),
    /// It sets the end of the file.
    Size(u64),
    /// It changes something else.
    Change(Change),
}

/// What a flush by the program comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The twin is flushed: there is nothing to make durable, or the rule says that it can wait.
    Through,
    /// What is there is committed, and the save goes on.
    Checkpoint,
    /// It fails with this status: what is there may not become durable.
    Fail(u32),
}

/// A flush that fails although nothing failed before it: a part of the save is lost in another way.
const UNEXPECTED_IO_ERROR: u32 = 0xC000_00E9;

/// A save's state.
#[derive(Debug)]
pub struct State {
    phase: Phase,
    writers: u32,
    modified: bool,
    changes: u32,
    wrote: bool,
    emptied: bool,
    settled: u32,
    /// Its end is carried out without a handle that would be closed only after it.
    ends_alone: bool,
    forced: bool,
    going: bool,
    flush_failed: bool,
    gone: bool,
    checkpoints: u32,
    kept: bool,
    first_failure: u32,
    ending: Ending,
    bytes: u64,
    wounds: ArrayVec<(Place, Wounds), STREAMS>,
    /// A wound that could not be kept apart from those of other streams, and so cannot heal.
    lasting: bool,
}

/// What is left to do when a handle has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Others still write.
    Others,
    /// It was the last: decide by these facts, carry out, then [`State::end`].
    Last(Facts),
    /// It was the last, and the save waits for more, for this time: [`State::settle`] ends that, or [`State::join`].
    Settles(Turn),
}

/// Whether a save waits for more when its last handle is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settles {
    /// It ends.
    Never,
    /// If it is hollow and would commit.
    Hollow,
    /// If it has anything to commit: it is all that its process saves.
    Always,
}

/// One of the times that a save waits for more.
pub type Turn = u32;

impl State {
    /// A save that one handle takes part in.
    pub const fn new() -> Self {
        State {
            phase: Phase::Live,
            writers: 1,
            modified: false,
            changes: 0,
            wrote: false,
            emptied: false,
            settled: 0,
            ends_alone: false,
            forced: false,
            going: false,
            flush_failed: false,
            gone: false,
            checkpoints: 0,
            kept: false,
            first_failure: 0,
            ending: Ending::Closed,
            bytes: 0,
            wounds: ArrayVec::new_const(),
            lasting: false,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Another handle takes part. False: it is too late.
    pub fn join(&mut self) -> bool {
        let joined = matches!(self.phase, Phase::Live | Phase::Settling);
        if joined {
            self.phase = Phase::Live;
            self.writers = self.writers.saturating_add(1);
        }
        joined
    }

    /// Bytes may have been written at a place that is not known.
    pub fn note_written(&mut self) {
        self.note_modified();
        self.wrote = true;
    }

    /// A handle is closed that has made a file empty which is not empty outside of the save.
    pub fn note_emptied(&mut self) {
        self.emptied = true;
    }

    /// Whether it has made its file empty and written nothing: hardly what its program wants to leave.
    pub fn is_hollow(&self) -> bool {
        self.emptied && !self.wrote
    }

    /// Something was modified that no [`Effect`] describes: by opening (created, overwritten, superseded), or at a place
    /// that is not known.
    pub fn note_modified(&mut self) {
        self.modified = true;
        self.changes = self.changes.wrapping_add(1);
    }

    /// An operation on a twin came back.
    pub fn came_back(&mut self, place: Place, effect: Effect, status: u32) {
        if is_success(status) {
            self.succeeded(place, effect);
            return;
        }
        match classify(status) {
            Failure::Caller => {}
            Failure::TransactionGone => {
                self.gone = true;
                self.note(status);
            }
            Failure::Wound if effect == Effect::None => {}
            Failure::Wound => {
                self.note(status);
                self.wound(place, effect);
            }
        }
    }

    /// The last flush of a handle's twin came back.
    pub fn flushed(&mut self, status: u32) {
        if is_success(status) {
            return;
        }
        self.note(status);
        if classify(status) == Failure::TransactionGone {
            self.gone = true;
        } else {
            self.flush_failed = true;
        }
    }

    /// It must not commit: part of what a handle did cannot be taken back alone, or may not have been done.
    pub fn force(&mut self) {
        self.forced = true;
    }

    /// Whether the transaction is known to be gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether anything was modified.
    pub fn is_modified(&self) -> bool {
        self.modified
    }

    /// Counts modifications, those that failed too.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Bytes written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The status of the first failure; zero if there was none.
    pub fn first_failure(&self) -> u32 {
        self.first_failure
    }

    /// A handle that took part was closed. An abnormal end of any of them counts for all.
    ///
    /// A save whose handles were all closed by a living program waits for more if it [`Settles`].
    pub fn leave(&mut self, ending: Ending, on_exit: OnExit, settles: Settles) -> Left {
        self.ending = worse(self.ending, ending, on_exit);
        self.writers = self.writers.saturating_sub(1);
        if self.writers != 0 || self.phase != Phase::Live {
            return Left::Others;
        }
        let facts = self.facts(on_exit);
        let waits = match (settles, outcome(&facts)) {
            (Settles::Hollow, Outcome::Commit) => self.is_hollow(),
            // What has failed may be done again by another handle.
            (Settles::Always, Outcome::Commit | Outcome::RollBack(Reason::Wounded)) => true,
            _ => false,
        };
        if waits && self.ending == Ending::Closed {
            self.phase = Phase::Settling;
            self.settled = self.settled.wrapping_add(1);
            return Left::Settles(self.settled);
        }
        self.phase = Phase::Ending;
        Left::Last(facts)
    }

    /// A process that takes part has ended like this, whatever becomes of its handles.
    pub fn note_end(&mut self, ending: Ending, on_exit: OnExit) {
        self.ending = worse(self.ending, ending, on_exit);
    }

    /// It waits no longer (`turn`: only if it is this time): decide by the facts, with what has become of its program.
    /// `None` if it does not wait.
    pub fn settle(&mut self, turn: Option<Turn>, ending: Ending, on_exit: OnExit) -> Option<Facts> {
        if !self.settles(turn) {
            return None;
        }
        self.ending = worse(self.ending, ending, on_exit);
        self.ends_alone = true;
        self.phase = Phase::Ending;
        Some(self.facts(on_exit))
    }

    /// Whether it waits for more (`turn`: and it is this time).
    pub fn settles(&self, turn: Option<Turn>) -> bool {
        self.phase == Phase::Settling && turn.is_none_or(|turn| turn == self.settled)
    }

    /// Whether it is not over although nobody writes into it and no close is under way: it waits for more, or did so until
    /// its end began.
    pub fn is_alone(&self) -> bool {
        self.phase == Phase::Settling || self.phase == Phase::Ending && self.ends_alone
    }

    /// The volume goes: whoever writes, the save ends now. `None` if it is ending already. What no handle writes into any
    /// more is not forced: its program has closed the file.
    pub fn break_off(&mut self, on_exit: OnExit) -> Option<Facts> {
        match self.phase {
            Phase::Live => self.forced = true,
            Phase::Settling => {}
            Phase::Ending | Phase::Ended => return None,
        }
        self.phase = Phase::Ending;
        self.going = true;
        Some(self.facts(on_exit))
    }

    /// What a flush by the program comes to, nothing being in flight. The state that would be rolled back at a close is not
    /// made durable at a flush either, and the program is told of the failure that is the reason.
    pub fn at_flush(&self, on_exit: OnExit, on_flush: OnFlush) -> Flush {
        if on_flush == OnFlush::Defer || self.phase != Phase::Live {
            return Flush::Through;
        }
        match outcome(&self.facts(on_exit)) {
            Outcome::Commit => Flush::Checkpoint,
            Outcome::RollBack(Reason::Unmodified) => Flush::Through,
            Outcome::RollBack(Reason::Wounded) => Flush::Fail(self.first_failure),
            Outcome::RollBack(_) => Flush::Fail(UNEXPECTED_IO_ERROR),
        }
    }

    /// Whether it has written more than this many mebibytes (0: any number is allowed), and what it has written would commit
    /// at a close.
    pub fn is_too_large(&self, megabytes: u32, on_exit: OnExit) -> bool {
        let limit = u64::from(megabytes).saturating_mul(1 << 20);
        megabytes != 0 && self.bytes > limit && self.could_commit(on_exit)
    }

    /// Whether what it has done would commit at a close.
    fn could_commit(&self, on_exit: OnExit) -> bool {
        self.phase == Phase::Live && outcome(&self.facts(on_exit)) == Outcome::Commit
    }

    /// Whether nothing is lost if its handles go on without a transaction: what it has done would commit at a close, or it
    /// has done nothing.
    pub fn could_go_on_without(&self, on_exit: OnExit) -> bool {
        let outcome = outcome(&self.facts(on_exit));
        self.phase == Phase::Live
            && matches!(outcome, Outcome::Commit | Outcome::RollBack(Reason::Unmodified))
    }

    /// What was there is durable: the save begins anew from it.
    pub fn checkpointed(&mut self) {
        self.modified = false;
        self.emptied = false;
        self.checkpoints = self.checkpoints.saturating_add(1);
    }

    /// It has a transaction again: nothing of what was before counts for it.
    pub fn resumed(&mut self) {
        self.checkpoints = 0;
        self.bytes = 0;
        self.wrote = false;
    }

    /// Whether a part of it is durable already.
    pub fn is_checkpointed(&self) -> bool {
        self.checkpoints != 0
    }

    /// Its transaction is gone, for this reason.
    pub fn lose(&mut self, status: u32) {
        self.gone = true;
        self.note(status);
    }

    /// The outcome was carried out; what was asked for since the last checkpoint is `kept`, or not.
    pub fn end(&mut self, kept: bool) {
        self.phase = Phase::Ended;
        self.kept = kept;
    }

    /// Whether it is over, and what its program asked for is there.
    pub fn is_kept(&self) -> bool {
        self.phase == Phase::Ended && self.kept
    }

    fn facts(&self, on_exit: OnExit) -> Facts {
        Facts {
            modified: self.modified,
            wounded: self.lasting || self.wounds.iter().any(|(_, wounds)| !wounds.is_empty()),
            flush_failed: self.flush_failed,
            ending: self.ending,
            on_exit,
            active: !self.gone,
            forced: self.forced,
            going: self.going,
        }
    }

    fn succeeded(&mut self, place: Place, effect: Effect) {
        let wounds = self.wounds.iter_mut().find(|(of, _)| *of == place).map(|(_, wounds)| wounds);
        match effect {
            Effect::None => return,
            Effect::Bytes(range) => {
                let Some(range) = range else { return };
                self.wrote = true;
                self.bytes = self.bytes.saturating_add(range.length());
                if let Some(wounds) = wounds {
                    wounds.heal(range);
                }
            }
            Effect::Pages(range) => {
                if let (Some(wounds), Some(range)) = (wounds, range) {
                    wounds.heal(range);
                }
                return;
            }
            Effect::Size(size) => {
                if let Some(wounds) = wounds {
                    wounds.resize(size);
                }
            }
            Effect::Change(change) => {
                if let Some(wounds) = wounds {
                    wounds.heal_change(change);
                }
            }
        }
        self.note_modified();
    }

    fn wound(&mut self, place: Place, effect: Effect) {
        self.changes = self.changes.wrapping_add(1);
        if !self.wounds.iter().any(|(of, _)| *of == place)
            && self.wounds.try_push((place, Wounds::new())).is_err()
        {
            self.lasting = true;
            return;
        }
        let Some((_, wounds)) = self.wounds.iter_mut().find(|(of, _)| *of == place) else { return };
        match effect {
            Effect::None | Effect::Bytes(None) | Effect::Pages(None) => {}
            Effect::Bytes(Some(range)) | Effect::Pages(Some(range)) => wounds.wound(range),
            Effect::Size(_) => wounds.wound_change(Change::Size),
            Effect::Change(change) => wounds.wound_change(change),
        }
    }

    fn note(&mut self, status: u32) {
        if self.first_failure == 0 {
            self.first_failure = status;
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

fn is_success(status: u32) -> bool {
    status < 0x8000_0000
}

/// Of two endings the one that is less clean under the rule.
fn worse(known: Ending, new: Ending, on_exit: OnExit) -> Ending {
    if is_clean(known, on_exit) { new } else { known }
}

#[cfg(test)]
mod tests;
