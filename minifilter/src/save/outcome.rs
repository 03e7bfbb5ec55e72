//! The outcome of a save: committed or rolled back, decided once, in the cleanup of its last writing handle.
//!
//! The decision is a pure function of what is known at that moment. A save commits only if all four conditions
//! of the design hold: nothing that was asked for failed, the program did not die, the transaction is still
//! active, and nothing forced a rollback.

use intact_policy::OnExit;

/// How the last writing handle came to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program closed it.
    Closed,
    /// The system closed it while the process ended with this exit status.
    ProcessEnded(u32),
}

/// What is known when the last writing handle is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether anything was modified in the transaction.
    pub modified: bool,
    /// Whether a failed modification was never made good.
    pub wounded: bool,
    /// The status of the last flush of the twin, where one was made.
    pub flush_failed: bool,
    /// How the handle was closed.
    pub ending: Ending,
    /// What the rule says about handles that the system closes.
    pub on_exit: OnExit,
    /// Whether KTM still holds the transaction active.
    pub active: bool,
    /// It must not commit.
    pub forced: bool,
    /// Dismount, removal or shutdown came first.
    pub going: bool,
}

/// Why a save was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The transaction had already ended: log full, administrator, timeout.
    TransactionGone,
    /// Dismount, removal or shutdown before the program closed the file.
    VolumeGone,
    /// It is not known that everything was done that was asked for.
    Uncertain,
    /// The process died with the file open.
    ProcessDied,
    /// A write or another modification failed.
    Wounded,
    /// The last flush failed.
    FlushFailed,
    /// There was nothing to commit.
    Unmodified,
}

impl Reason {
    /// For events and people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TransactionGone => "the transaction had already ended",
            Self::VolumeGone => "the volume or the system went away first",
            Self::Uncertain => "a part of what was asked for may be missing",
            Self::ProcessDied => "the process died with the file open",
            Self::Wounded => "a write failed and was not made good",
            Self::FlushFailed => "the last flush failed",
            Self::Unmodified => "nothing was modified",
        }
    }
}

/// How a save ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new version, whole.
    Commit,
    /// The old version, whole.
    RollBack(Reason),
}

/// Decides. Where several reasons for a rollback hold, the one is named that the reader can do most about.
pub fn outcome(facts: &Facts) -> Outcome {
    let reason = if facts.going && (facts.forced || !facts.active) {
        Reason::VolumeGone
    } else if !facts.active {
        Reason::TransactionGone
    } else if facts.forced {
        Reason::Uncertain
    } else if !is_clean(facts.ending, facts.on_exit) {
        Reason::ProcessDied
    } else if facts.wounded {
        Reason::Wounded
    } else if facts.flush_failed {
        Reason::FlushFailed
    } else if !facts.modified {
        Reason::Unmodified
    } else {
        return Outcome::Commit;
    };
    Outcome::RollBack(reason)
}

/// Whether the ending counts as a clean close. A kill that reports zero cannot be told from a normal exit
/// (txf-ktm §8.3); `OnExit` = `Rollback` is for programs that are killed that way.
pub(super) fn is_clean(ending: Ending, on_exit: OnExit) -> bool {
    match (ending, on_exit) {
        (Ending::Closed, _) | (Ending::ProcessEnded(_), OnExit::Commit) => true,
        (Ending::ProcessEnded(status), OnExit::ByStatus) => status == 0,
        (Ending::ProcessEnded(_), OnExit::Rollback) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Facts = Facts {
        modified: true,
        wounded: false,
        flush_failed: false,
        ending: Ending::Closed,
        on_exit: OnExit::ByStatus,
        active: true,
        forced: false,
        going: false,
    };

    #[test]
    fn a_clean_close_commits() {
        assert_eq!(outcome(&CLEAN), Outcome::Commit);
    }

    #[test]
    fn each_condition_alone_prevents_the_commit() {
        let cases = [
            (Facts { active: false, ..CLEAN }, Reason::TransactionGone),
            (Facts { forced: true, ..CLEAN }, Reason::Uncertain),
            (Facts { forced: true, going: true, ..CLEAN }, Reason::VolumeGone),
            (Facts { active: false, going: true, ..CLEAN }, Reason::VolumeGone),
            (Facts { ending: Ending::ProcessEnded(1), ..CLEAN }, Reason::ProcessDied),
            (Facts { wounded: true, ..CLEAN }, Reason::Wounded),
            (Facts { flush_failed: true, ..CLEAN }, Reason::FlushFailed),
            (Facts { modified: false, ..CLEAN }, Reason::Unmodified),
        ];
        for (facts, reason) in cases {
            assert_eq!(outcome(&facts), Outcome::RollBack(reason));
        }
    }

    #[test]
    fn what_nobody_writes_into_any_more_commits_if_the_volume_that_goes_still_can() {
        assert_eq!(outcome(&Facts { going: true, ..CLEAN }), Outcome::Commit);
    }

    #[test]
    fn the_rule_decides_what_an_exit_with_the_file_open_means() {
        let cases = [
            (OnExit::ByStatus, 0, true),
            (OnExit::ByStatus, 3, false),
            (OnExit::ByStatus, 0xC000_0005, false),
            (OnExit::Commit, 1, true),
            (OnExit::Rollback, 0, false),
        ];
        for (on_exit, status, commits) in cases {
            let facts = Facts { on_exit, ending: Ending::ProcessEnded(status), ..CLEAN };
            assert_eq!(outcome(&facts) == Outcome::Commit, commits, "{on_exit:?} {status:#X}");
        }
    }

    #[test]
    fn an_explicit_close_is_clean_whatever_the_rule_says_of_exits() {
        for on_exit in [OnExit::ByStatus, OnExit::Commit, OnExit::Rollback] {
            assert_eq!(outcome(&Facts { on_exit, ..CLEAN }), Outcome::Commit);
        }
    }
}
