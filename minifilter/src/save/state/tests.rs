//! Every way in which a save may go on.

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
fn a_failed_read_is_no_first_failure_and_a_failed_write_is_one_from_the_first_status_that_is_no_success() {
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
    assert!(matches!(died.leave(Ending::ProcessEnded(0), OnExit::ByStatus, Settles::Hollow), Left::Last(_)));
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
