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
mod tests {
    use super::super::outcome::{Outcome, Reason, outcome};
    use super::*;

    const DISK_FULL: u32 = 0xC000_007F;
    const ACCESS_DENIED: u32 = 0xC000_0022;
    const HANDLE_NO_LONGER_VALID: u32 = 0xC019_0028;

    const HERE: Place = Place { file: 1, stream: UNNAMED };

    fn at(stream: Stream) -> Place {
        Place { stream, ..HERE }
    }

    fn bytes(start: u64, length: u64) -> Effect {
        Effect::Bytes(Range::new(start, length))
    }

    fn last(state: &mut State, ending: Ending) -> Outcome {
        match state.leave(ending, OnExit::ByStatus, Settles::Never) {
            Left::Last(facts) => outcome(&facts),
            left => panic!("{left:?}"),
        }
    }

    #[test]
    fn a_save_in_which_nothing_was_modified_rolls_back() {
        let mut state = State::new();
        state.came_back(HERE, Effect::None, 0);
        state.came_back(HERE, Effect::Bytes(None), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::Unmodified));
    }

    #[test]
    fn a_write_and_a_clean_close_commit() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
        assert_eq!(state.bytes(), 10);
    }

    #[test]
    fn a_failed_write_that_was_repeated_successfully_commits() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), DISK_FULL);
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
    }

    #[test]
    fn a_failed_write_that_was_not_repeated_rolls_back() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.came_back(HERE, bytes(10, 10), DISK_FULL);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::Wounded));
        assert_eq!(state.first_failure(), DISK_FULL);
    }

    #[test]
    fn a_write_to_another_stream_heals_nothing() {
        let mut state = State::new();
        state.came_back(at(1), bytes(0, 10), DISK_FULL);
        state.came_back(at(2), bytes(0, 10), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::Wounded));
    }

    #[test]
    fn a_wound_in_one_stream_too_many_lasts() {
        let mut state = State::new();
        for stream in 0..=STREAMS as u32 {
            state.came_back(at(stream), bytes(0, 10), DISK_FULL);
            state.came_back(at(stream), bytes(0, 10), 0);
        }
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::Wounded));
    }

    #[test]
    fn a_refused_request_and_a_failed_read_wound_nothing() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.came_back(HERE, bytes(10, 10), ACCESS_DENIED);
        state.came_back(HERE, Effect::None, DISK_FULL);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
    }

    #[test]
    fn a_file_holds_its_streams_and_a_stream_holds_itself() {
        let (stream, other, another) = (at(1), at(2), Place { file: 2, stream: UNNAMED });
        assert!(HERE.is_file(1) && !HERE.is_file(2) && !stream.is_file(1));
        assert!(HERE.holds(HERE) && HERE.holds(stream) && stream.holds(stream));
        assert!(!stream.holds(HERE) && !stream.holds(other) && !another.holds(stream));
    }

    #[test]
    fn a_new_save_has_done_nothing() {
        let state = State::new();
        assert!(!state.is_modified() && !state.is_gone() && !state.is_checkpointed() && !state.is_kept());
    }

    #[test]
    fn a_failed_read_is_no_first_failure_and_a_failed_write_is_one_from_the_first_status_that_is_no_success()
    {
        for (status, fails) in [(0x7FFF_FFFF, false), (0x8000_0000, true)] {
            let mut state = State::new();
            state.came_back(HERE, Effect::None, DISK_FULL);
            assert_eq!(state.first_failure(), 0);
            state.came_back(HERE, bytes(0, 10), status);
            assert_eq!(state.first_failure(), if fails { status } else { 0 });
        }
    }

    #[test]
    fn handles_go_on_without_a_transaction_if_nothing_is_lost_by_that() {
        let could = |state: &State| state.could_go_on_without(OnExit::ByStatus);
        let mut state = State::new();
        assert!(could(&state), "nothing was modified");
        state.came_back(HERE, bytes(0, 10), 0);
        assert!(could(&state), "it would commit");
        state.came_back(HERE, bytes(0, 10), DISK_FULL);
        assert!(!could(&state), "it is wounded");
        state.came_back(HERE, bytes(0, 10), 0);
        let _ = state.leave(Ending::Closed, OnExit::ByStatus, Settles::Never);
        assert!(!could(&state), "it is ending");
    }

    #[test]
    fn what_has_a_transaction_again_begins_anew() {
        let mut state = State::new();
        state.note_emptied();
        state.came_back(HERE, bytes(0, 10), 0);
        state.checkpointed();
        state.resumed();
        assert_eq!((state.bytes(), state.is_checkpointed()), (0, false));
        state.note_emptied();
        assert!(state.is_hollow(), "what it wrote before is committed");
    }

    #[test]
    fn only_what_is_over_is_kept_and_only_if_it_was_committed() {
        for kept in [true, false] {
            let mut state = State::new();
            state.came_back(HERE, bytes(0, 10), 0);
            assert!(!state.is_kept());
            state.end(kept);
            assert_eq!(state.is_kept(), kept);
        }
    }

    /// As long as its program may do again what has failed.
    #[test]
    fn what_a_process_saves_waits_for_more_if_there_is_anything_to_commit() {
        let left = |modify: fn(&mut State), settles| {
            let mut state = State::new();
            modify(&mut state);
            state.leave(Ending::Closed, OnExit::ByStatus, settles)
        };
        let waits = |left| matches!(left, Left::Settles(_));
        let write: fn(&mut State) = |state| state.came_back(HERE, bytes(0, 10), 0);
        assert!(waits(left(write, Settles::Always)));
        assert!(waits(left(|state| state.came_back(HERE, bytes(0, 10), DISK_FULL), Settles::Always)));
        assert!(!waits(left(|_| (), Settles::Always)));
        assert!(!waits(left(|state| state.force(), Settles::Always)));
        assert!(!waits(left(write, Settles::Never)));
    }

    #[test]
    fn where_exits_commit_how_a_handle_was_closed_before_the_last_one_makes_no_difference() {
        let mut state = State::new();
        assert!(state.join());
        state.came_back(HERE, bytes(0, 10), 0);
        let died = Ending::ProcessEnded(1);
        assert_eq!(state.leave(died, OnExit::Commit, Settles::Always), Left::Others);
        assert!(matches!(state.leave(Ending::Closed, OnExit::Commit, Settles::Always), Left::Settles(_)));
    }

    #[test]
    fn a_read_that_finds_the_transaction_gone_rolls_back() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.came_back(HERE, Effect::None, HANDLE_NO_LONGER_VALID);
        assert!(state.is_gone());
        assert_eq!(state.first_failure(), HANDLE_NO_LONGER_VALID);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::TransactionGone));
    }

    #[test]
    fn the_last_of_several_handles_decides() {
        let mut state = State::new();
        assert!(state.join());
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(state.leave(Ending::Closed, OnExit::ByStatus, Settles::Never), Left::Others);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
    }

    #[test]
    fn a_holder_that_died_counts_even_if_it_was_not_the_last() {
        let mut state = State::new();
        assert!(state.join());
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(state.leave(Ending::ProcessEnded(1), OnExit::ByStatus, Settles::Never), Left::Others);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::ProcessDied));
    }

    #[test]
    fn a_failed_last_flush_rolls_back() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.flushed(DISK_FULL);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::FlushFailed));
    }

    #[test]
    fn a_last_flush_that_succeeded_changes_nothing() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.flushed(0);
        assert_eq!(state.first_failure(), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
    }

    #[test]
    fn a_last_flush_that_finds_the_transaction_gone_says_so() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.flushed(HANDLE_NO_LONGER_VALID);
        assert!(state.is_gone());
        assert_eq!(state.first_failure(), HANDLE_NO_LONGER_VALID);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::TransactionGone));
    }

    #[test]
    fn a_save_whose_transaction_was_lost_fails_its_flush_and_keeps_the_first_reason() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.lose(HANDLE_NO_LONGER_VALID);
        state.lose(DISK_FULL);
        assert!(state.is_gone() && state.is_modified());
        assert_eq!(state.first_failure(), HANDLE_NO_LONGER_VALID);
        let flush = state.at_flush(OnExit::ByStatus, OnFlush::Checkpoint);
        assert_eq!(flush, Flush::Fail(UNEXPECTED_IO_ERROR));
    }

    #[test]
    fn changes_of_size_and_of_anything_else_wound_and_heal_by_kind() {
        for (failed, healed, other) in [
            (Effect::Size(10), Effect::Size(20), Effect::Change(Change::Basic)),
            (Effect::Change(Change::Basic), Effect::Change(Change::Basic), Effect::Size(20)),
        ] {
            let mut state = State::new();
            state.came_back(HERE, failed, DISK_FULL);
            state.came_back(HERE, other, 0);
            let flush = |state: &State| state.at_flush(OnExit::ByStatus, OnFlush::Checkpoint);
            assert_eq!(flush(&state), Flush::Fail(DISK_FULL), "{failed:?}");
            state.came_back(HERE, healed, 0);
            assert_eq!(flush(&state), Flush::Checkpoint, "{failed:?}");
        }
    }

    #[test]
    fn a_failed_write_to_a_place_that_is_not_known_is_noted() {
        let mut state = State::new();
        state.came_back(HERE, Effect::Bytes(None), DISK_FULL);
        assert_eq!(state.first_failure(), DISK_FULL);
    }

    #[test]
    fn what_a_rule_says_of_exits_decides_for_every_handle() {
        let with = |first, second, on_exit| {
            let mut state = State::new();
            assert!(state.join());
            state.came_back(HERE, bytes(0, 10), 0);
            assert_eq!(state.leave(first, on_exit, Settles::Never), Left::Others);
            match state.leave(second, on_exit, Settles::Never) {
                Left::Last(facts) => outcome(&facts),
                left => panic!("{left:?}"),
            }
        };
        let (closed, died, well) = (Ending::Closed, Ending::ProcessEnded(1), Ending::ProcessEnded(0));
        let rolled_back = Outcome::RollBack(Reason::ProcessDied);
        for (first, second) in [(closed, died), (died, closed), (well, died), (died, well)] {
            assert_eq!(with(first, second, OnExit::ByStatus), rolled_back, "{first:?} {second:?}");
            assert_eq!(with(first, second, OnExit::Commit), Outcome::Commit, "{first:?} {second:?}");
            assert_eq!(with(first, second, OnExit::Rollback), rolled_back, "{first:?} {second:?}");
        }
        assert_eq!(with(closed, well, OnExit::ByStatus), Outcome::Commit);
        assert_eq!(with(well, closed, OnExit::ByStatus), Outcome::Commit);
        assert_eq!(with(well, closed, OnExit::Rollback), rolled_back);
    }

    #[test]
    fn nobody_joins_a_save_that_is_ending() {
        let mut state = State::new();
        let _ = state.leave(Ending::Closed, OnExit::ByStatus, Settles::Never);
        assert_eq!(state.phase(), Phase::Ending);
        assert!(!state.join());
        assert_eq!(state.phase(), Phase::Ending);
        state.end(true);
        assert_eq!(state.phase(), Phase::Ended);
        assert!(!state.join());
    }

    #[test]
    fn a_save_that_is_broken_off_rolls_back_and_its_handles_decide_nothing_more() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        let facts = state.break_off(OnExit::ByStatus).unwrap();
        assert_eq!(outcome(&facts), Outcome::RollBack(Reason::VolumeGone));
        assert_eq!(state.break_off(OnExit::ByStatus), None);
        assert_eq!(state.leave(Ending::Closed, OnExit::ByStatus, Settles::Never), Left::Others);
    }

    #[test]
    fn a_flush_commits_what_a_close_would_commit_and_fails_where_it_would_roll_back() {
        let mut state = State::new();
        let flush = |state: &State| state.at_flush(OnExit::ByStatus, OnFlush::Checkpoint);
        assert_eq!(flush(&state), Flush::Through);
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(flush(&state), Flush::Checkpoint);
        assert_eq!(state.at_flush(OnExit::ByStatus, OnFlush::Defer), Flush::Through);
        state.checkpointed();
        assert_eq!(flush(&state), Flush::Through, "nothing was modified since");
        state.came_back(HERE, bytes(10, 10), DISK_FULL);
        assert_eq!(flush(&state), Flush::Fail(DISK_FULL));
        state.came_back(HERE, bytes(10, 10), 0);
        assert_eq!(flush(&state), Flush::Checkpoint);
        state.force();
        assert_eq!(flush(&state), Flush::Fail(UNEXPECTED_IO_ERROR));
    }

    #[test]
    fn a_flush_does_not_commit_what_a_dead_process_left() {
        let mut state = State::new();
        assert!(state.join());
        state.came_back(HERE, bytes(0, 10), 0);
        assert_eq!(state.leave(Ending::ProcessEnded(1), OnExit::ByStatus, Settles::Never), Left::Others);
        let flush = state.at_flush(OnExit::ByStatus, OnFlush::Checkpoint);
        assert_eq!(flush, Flush::Fail(UNEXPECTED_IO_ERROR));
    }

    #[test]
    fn a_save_is_too_large_past_its_limit_unless_it_could_not_commit() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 1 << 20), 0);
        assert!(!state.is_too_large(1, OnExit::ByStatus), "the limit itself is allowed");
        state.came_back(HERE, bytes(0, 1), 0);
        assert!(state.is_too_large(1, OnExit::ByStatus));
        assert!(!state.is_too_large(2, OnExit::ByStatus));
        assert!(!state.is_too_large(0, OnExit::ByStatus), "no limit");
        state.came_back(HERE, bytes(0, 10), DISK_FULL);
        assert!(!state.is_too_large(1, OnExit::ByStatus));
    }

    #[test]
    fn every_modification_counts_and_nothing_else() {
        let mut state = State::new();
        state.came_back(HERE, Effect::None, 0);
        state.came_back(HERE, Effect::Bytes(None), 0);
        state.came_back(HERE, bytes(0, 10), ACCESS_DENIED);
        assert_eq!((state.changes(), state.could_commit(OnExit::ByStatus)), (0, false));
        state.came_back(HERE, bytes(0, 10), 0);
        state.came_back(HERE, Effect::Size(3), 0);
        assert_eq!((state.changes(), state.could_commit(OnExit::ByStatus)), (2, true));
        state.came_back(HERE, bytes(0, 10), DISK_FULL);
        state.note_modified();
        state.note_written();
        assert_eq!((state.changes(), state.could_commit(OnExit::ByStatus)), (5, false));
    }

    #[test]
    fn what_comes_after_a_checkpoint_is_decided_anew() {
        let mut state = State::new();
        state.came_back(HERE, bytes(0, 10), 0);
        state.checkpointed();
        assert_eq!(last(&mut state, Ending::Closed), Outcome::RollBack(Reason::Unmodified));
        assert!(state.is_checkpointed());
    }

    #[test]
    fn cutting_the_file_takes_back_a_failed_append() {
        let mut state = State::new();
        state.came_back(HERE, bytes(100, 10), DISK_FULL);
        state.came_back(HERE, Effect::Size(100), 0);
        assert_eq!(last(&mut state, Ending::Closed), Outcome::Commit);
    }

    /// A save whose only handle has made its file empty.
    fn hollow() -> State {
        let mut state = State::new();
        state.note_modified();
        state.note_emptied();
        state
    }

    fn settles(state: &mut State) -> Turn {
        match state.leave(Ending::Closed, OnExit::ByStatus, Settles::Hollow) {
            Left::Settles(turn) => turn,
            left => panic!("{left:?}"),
        }
    }

    #[test]
    fn a_hollow_save_waits_and_commits_when_nothing_more_comes() {
        let mut state = hollow();
        let turn = settles(&mut state);
        assert_eq!(state.settle(Some(turn + 1), Ending::Closed, OnExit::ByStatus), None, "another time");
        assert!(state.is_alone());
        let facts = state.settle(Some(turn), Ending::Closed, OnExit::ByStatus).unwrap();
        assert_eq!(outcome(&facts), Outcome::Commit);
        assert!(state.is_alone(), "until it is over");
        assert_eq!(state.settle(None, Ending::Closed, OnExit::ByStatus), None, "once");
        state.end(true);
        assert!(!state.is_alone());
    }

    #[test]
    fn how_its_program_ends_decides_about_a_hollow_save() {
        for (status, on_exit, commits) in [
            (0, OnExit::ByStatus, true),
            (1, OnExit::ByStatus, false),
            (1, OnExit::Commit, true),
            (0, OnExit::Rollback, false),
        ] {
            let mut state = hollow();
            settles(&mut state);
            let facts = state.settle(None, Ending::ProcessEnded(status), on_exit).unwrap();
            assert_eq!(outcome(&facts) == Outcome::Commit, commits, "{status} {on_exit:?}");
        }
    }

    #[test]
    fn what_joins_a_hollow_save_makes_it_live_again_and_bytes_make_it_whole() {
        let mut state = hollow();
        let first = settles(&mut state);
        assert!(state.join());
        assert_eq!(state.phase(), Phase::Live);
        assert_ne!(settles(&mut state), first, "nothing was written: it waits again");
        assert!(state.join());
        state.came_back(HERE, bytes(0, 10), 0);
        assert!(matches!(state.leave(Ending::Closed, OnExit::ByStatus, Settles::Hollow), Left::Last(_)));
    }

    #[test]
    fn only_a_hollow_save_that_would_commit_waits() {
        let mut wounded = hollow();
        wounded.came_back(HERE, bytes(0, 10), DISK_FULL);
        assert_eq!(last(&mut wounded, Ending::Closed), Outcome::RollBack(Reason::Wounded));
        let mut wounded = hollow();
        wounded.came_back(HERE, bytes(0, 10), DISK_FULL);
        assert!(matches!(wounded.leave(Ending::Closed, OnExit::ByStatus, Settles::Hollow), Left::Last(_)));
        let mut died = hollow();
        assert!(matches!(
            died.leave(Ending::ProcessEnded(0), OnExit::ByStatus, Settles::Hollow),
            Left::Last(_)
        ));
        let mut mapped = hollow();
        mapped.note_written();
        assert!(matches!(mapped.leave(Ending::Closed, OnExit::ByStatus, Settles::Hollow), Left::Last(_)));
        let mut published = hollow();
        published.checkpointed();
        published.note_modified();
        assert!(matches!(published.leave(Ending::Closed, OnExit::ByStatus, Settles::Hollow), Left::Last(_)));
    }

    #[test]
    fn a_volume_that_goes_ends_a_hollow_save_without_forcing_it() {
        let mut state = hollow();
        settles(&mut state);
        let facts = state.break_off(OnExit::ByStatus).unwrap();
        assert_eq!(outcome(&facts), Outcome::Commit);
        let gone = Facts { active: false, ..facts };
        assert_eq!(outcome(&gone), Outcome::RollBack(Reason::VolumeGone));
    }
}
