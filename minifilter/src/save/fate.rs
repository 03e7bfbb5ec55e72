//! What the ends of the processes that take part in a save mean for it.
//!
//! A save of one process is over when that one has ended. One of a program and of those that it has started
//! (`IncludeChildren`) is over as soon as one of those that took part has failed, and else when the last of them has ended:
//! who ends well while others live only leaves. It does not matter which of them is whose child.

use intact_policy::OnExit;

use super::outcome::{Ending, is_clean};

/// What has become of those who take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Somebody lives, and nobody has failed.
    Open,
    /// It is over, as if its handles had been closed like this.
    Over(Ending),
}

/// Decides by the exit statuses of those who take part; `None`: it lives. If nobody is known it is open.
pub fn fate(ends: impl IntoIterator<Item = Option<u32>>, on_exit: OnExit) -> Fate {
    let (mut alive, mut ended) = (false, None);
    for end in ends {
        match end.map(Ending::ProcessEnded) {
            None => alive = true,
            Some(ending) if !is_clean(ending, on_exit) => return Fate::Over(ending),
            Some(ending) => ended = Some(ending),
        }
    }
    match ended {
        Some(ending) if !alive => Fate::Over(ending),
        _ => Fate::Open,
    }
}

/// How a handle of a save of several processes leaves it, that was closed like this: a failure of any of them is
/// everybody's, and a good end is none while others live.
pub fn leaves(closed: Ending, fate: Fate, on_exit: OnExit) -> Ending {
    match fate {
        _ if !is_clean(closed, on_exit) => closed,
        Fate::Over(ending) if !is_clean(ending, on_exit) => ending,
        Fate::Over(_) => closed,
        Fate::Open => Ending::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIED: Fate = Fate::Over(Ending::ProcessEnded(1));
    const ENDED: Fate = Fate::Over(Ending::ProcessEnded(0));

    #[test]
    fn one_that_failed_decides_and_else_the_last_that_lives() {
        use OnExit::{ByStatus, Commit, Rollback};
        for (ends, by_status, commit, rollback) in [
            (&[][..], Fate::Open, Fate::Open, Fate::Open),
            (&[None][..], Fate::Open, Fate::Open, Fate::Open),
            (&[Some(0)][..], ENDED, ENDED, ENDED),
            (&[Some(1)][..], DIED, DIED, DIED),
            (&[None, Some(0)][..], Fate::Open, Fate::Open, ENDED),
            (&[Some(0), None][..], Fate::Open, Fate::Open, ENDED),
            (&[None, Some(1)][..], DIED, Fate::Open, DIED),
            (&[Some(1), None][..], DIED, Fate::Open, DIED),
            (&[Some(1), Some(0)][..], DIED, ENDED, DIED),
            (&[Some(0), Some(1), Some(0)][..], DIED, ENDED, ENDED),
        ] {
            for (on_exit, expected) in [(ByStatus, by_status), (Commit, commit), (Rollback, rollback)] {
                assert_eq!(fate(ends.iter().copied(), on_exit), expected, "{ends:?} {on_exit:?}");
            }
        }
    }

    #[test]
    fn who_ends_well_while_others_live_only_closes_its_handle() {
        let (well, badly) = (Ending::ProcessEnded(0), Ending::ProcessEnded(2));
        for (closed, fate, expected) in [
            (Ending::Closed, Fate::Open, Ending::Closed),
            (well, Fate::Open, Ending::Closed),
            (badly, Fate::Open, badly),
            (Ending::Closed, ENDED, Ending::Closed),
            (well, ENDED, well),
            (badly, ENDED, badly),
            (Ending::Closed, DIED, Ending::ProcessEnded(1)),
            (well, DIED, Ending::ProcessEnded(1)),
            (badly, DIED, badly),
        ] {
            assert_eq!(leaves(closed, fate, OnExit::ByStatus), expected, "{closed:?} {fate:?}");
        }
        assert_eq!(leaves(badly, Fate::Open, OnExit::Commit), Ending::Closed);
        assert_eq!(leaves(well, Fate::Open, OnExit::Rollback), well);
    }
}
