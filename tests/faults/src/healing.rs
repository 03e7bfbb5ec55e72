//! What a program failed to write for want of space, and whether it has written it after all. Kept apart from the driver's
//! own book of wounds, which it judges.

use std::ops::Range;

use lab::Status;

use crate::machine::old;
use crate::workload::{Action, Opening, Step};

/// What [`Action::Second`] writes.
const SECOND: Range<u64> = 100..600;

/// The stream that a workload has open: how long it is, and what is missing in it.
struct Book {
    size: u64,
    /// Where a failed write was to begin, and what of it is still missing.
    missing: Vec<(u64, Range<u64>)>,
}

impl Book {
    fn of(opening: Opening) -> Book {
        let size = match opening {
            Opening::Open | Opening::AppendOnly => old().len() as u64,
            Opening::Stream => 700,
            Opening::Overwrite
            | Opening::Supersede
            | Opening::Create
            | Opening::CreateReadOnly
            | Opening::NewStream => 0,
        };
        Book { size, missing: Vec::new() }
    }

    /// Where an action writes.
    fn range(&self, opening: Opening, action: Action) -> Option<Range<u64>> {
        let append = |length: u32| self.size..self.size + u64::from(length);
        match action {
            Action::Append(length) => Some(append(length)),
            Action::Write { length, .. } if opening == Opening::AppendOnly => Some(append(length)),
            Action::Write { at, length } => Some(at..at + u64::from(length)),
            Action::Second => Some(SECOND),
            _ => None,
        }
    }

    fn written(&mut self, by: &Range<u64>) {
        self.size = self.size.max(by.end);
        let rest = |(origin, range): (u64, Range<u64>)| {
            let before = range.start..range.end.min(by.start);
            let after = range.start.max(by.end)..range.end;
            [before, after].into_iter().filter(|left| !left.is_empty()).map(move |left| (origin, left))
        };
        self.missing = self.missing.drain(..).flat_map(rest).collect();
    }

    /// A cut takes away what was missing only if nothing of the failed write is left in the file.
    fn cut(&mut self, size: u64) {
        self.size = size;
        self.missing.retain(|(origin, _)| *origin < size);
    }
}

/// Whether every write that failed for want of space was made good by later ones. Anything else that failed so is not.
pub(crate) fn is_made_good(opening: Opening, told: &[(Step, Option<Status>)]) -> bool {
    let mut book = Book::of(opening);
    let mut failed = false;
    for (step, status) in told {
        let Step::Act(action) = *step else { continue };
        match (book.range(opening, action), status) {
            (Some(range), Some(Status::DISK_FULL)) => {
                failed = true;
                book.missing.push((range.start, range));
            }
            (None, Some(Status::DISK_FULL)) => return false,
            // What a program is told that asked for too much is no failure to write.
            (_, Some(_)) => {}
            (Some(range), None) => book.written(&range),
            (None, None) => match action {
                Action::Size(size) => book.cut(size),
                Action::Allocation(size) => book.size = book.size.min(size),
                _ => {}
            },
        }
    }
    failed && book.missing.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Option<Status> = Some(Status::DISK_FULL);

    type Told = (Action, Option<Status>);

    fn made_good(opening: Opening, actions: &[Told]) -> bool {
        let told: Vec<_> = actions.iter().map(|(action, status)| (Step::Act(*action), *status)).collect();
        is_made_good(opening, &told)
    }

    #[test]
    fn what_later_writes_cover_is_made_good_and_nothing_else() {
        use Action::{Append, Basic, Ea, Second, Size, Write};
        let write = |at, length| Write { at, length };
        let cases: [(Opening, &[Told], bool); 12] = [
            (Opening::Create, &[(Append(600), None)], false),
            (Opening::Create, &[(Append(600), FULL), (Append(600), None)], true),
            (Opening::Create, &[(Append(600), FULL), (Append(500), None)], false),
            (Opening::Create, &[(Append(600), FULL), (write(0, 9), None), (Append(600), None)], true),
            (Opening::Create, &[(Append(600), FULL), (write(700, 9), None), (Append(600), None)], false),
            (Opening::Open, &[(Second, FULL), (Append(600), None)], false),
            (Opening::Create, &[(Second, FULL), (Basic, None), (Append(600), None)], true),
            (Opening::Create, &[(write(700, 900), FULL), (Append(600), None), (write(700, 900), None)], true),
            (Opening::AppendOnly, &[(write(0, 600), FULL), (Append(600), None)], true),
            (Opening::Open, &[(write(700, 900), FULL), (Size(1000), None)], false),
            (Opening::Open, &[(write(700, 900), FULL), (Size(700), None)], true),
            (Opening::Create, &[(Ea, FULL), (Append(600), None)], false),
        ];
        for (opening, actions, expected) in cases {
            assert_eq!(made_good(opening, actions), expected, "{opening:?} {actions:?}");
        }
    }
}
