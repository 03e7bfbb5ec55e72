//! Which oplock is granted beside which (minifilter-rules §2.9: granting-oplocks).

use super::kinds::Oplock;

/// An oplock that is held: its kind, and whether whoever asks for another one holds it himself.
pub(crate) type Held = (Oplock, bool);

/// What becomes of an oplock that is there when another one is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays.
    Stays,
    /// It is broken to none.
    Broken,
    /// It ends with OPLOCK_SWITCHED_TO_NEW_HANDLE: the new one takes its place.
    Replaced,
}

/// What becomes of the oplocks that are there, one by one; `None` if the new one is not granted.
pub(crate) fn grant(wanted: Oplock, held: &[Held]) -> Option<Vec<Fate>> {
    held.iter().map(|held| beside(wanted, *held)).collect()
}

fn beside(wanted: Oplock, (held, own): Held) -> Option<Fate> {
    use Oplock::{Batch, Filter, Level1, Level2, Read, ReadHandle, ReadWrite, ReadWriteHandle};
    match (wanted, held, own) {
        (Level1 | Batch | Filter, Level2, _) => Some(Fate::Broken),
        (Level2, Level2 | Read, _) | (Read, Level2, _) => Some(Fate::Stays),
        (Read, Read, true) => Some(Fate::Replaced),
        (Read, Read | ReadHandle, false) => Some(Fate::Stays),
        (ReadHandle, Read | ReadHandle, true) => Some(Fate::Replaced),
        (ReadHandle, Read | ReadHandle, false) => Some(Fate::Stays),
        (ReadWrite, Read | ReadWrite, true) => Some(Fate::Replaced),
        (ReadWriteHandle, Read | ReadHandle | ReadWrite | ReadWriteHandle, true) => Some(Fate::Replaced),
        _ => None,
    }
}
