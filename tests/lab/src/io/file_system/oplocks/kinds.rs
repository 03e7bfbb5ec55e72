//! The kinds of oplocks, and what breaks each to which (minifilter-rules §2.9).

/// A kind of oplock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Oplock {
    /// FSCTL_REQUEST_OPLOCK_LEVEL_1.
    Level1,
    /// FSCTL_REQUEST_OPLOCK_LEVEL_2.
    Level2,
    /// FSCTL_REQUEST_BATCH_OPLOCK.
    Batch,
    /// FSCTL_REQUEST_FILTER_OPLOCK.
    Filter,
    /// OPLOCK_LEVEL_CACHE_READ.
    Read,
    /// OPLOCK_LEVEL_CACHE_READ and _HANDLE.
    ReadHandle,
    /// OPLOCK_LEVEL_CACHE_READ and _WRITE.
    ReadWrite,
    /// OPLOCK_LEVEL_CACHE_READ, _WRITE and _HANDLE.
    ReadWriteHandle,
}

const READ: u32 = 1;
const HANDLE: u32 = 2;
const WRITE: u32 = 4;

impl Oplock {
    /// Every kind.
    pub const ALL: [Oplock; 8] = [
        Oplock::Level1,
        Oplock::Level2,
        Oplock::Batch,
        Oplock::Filter,
        Oplock::Read,
        Oplock::ReadHandle,
        Oplock::ReadWrite,
        Oplock::ReadWriteHandle,
    ];

    /// OPLOCK_LEVEL_*, for the kinds of FSCTL_REQUEST_OPLOCK; `None` for the older ones.
    pub fn level(self) -> Option<u32> {
        match self {
            Oplock::Level1 | Oplock::Level2 | Oplock::Batch | Oplock::Filter => None,
            Oplock::Read => Some(READ),
            Oplock::ReadHandle => Some(READ | HANDLE),
            Oplock::ReadWrite => Some(READ | WRITE),
            Oplock::ReadWriteHandle => Some(READ | WRITE | HANDLE),
        }
    }

    /// The kind of FSCTL_REQUEST_OPLOCK with these OPLOCK_LEVEL_*.
    pub fn of_level(level: u32) -> Option<Oplock> {
        Oplock::ALL.into_iter().find(|kind| kind.level() == Some(level))
    }

    /// Whether others may have oplocks beside it.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Oplock::Level2 | Oplock::Read | Oplock::ReadHandle)
    }

    /// Whether its holder must acknowledge a break.
    pub(crate) fn must_be_acknowledged(self) -> bool {
        !matches!(self, Oplock::Level2 | Oplock::Read)
    }
}

/// What of both remains.
pub(crate) fn lower(one: Option<Oplock>, other: Option<Oplock>) -> Option<Oplock> {
    match (one?, other?) {
        (one, other) if one == other => Some(one),
        (one, other) => Oplock::of_level(one.level()? & other.level()?),
    }
}

/// An open, as far as it breaks oplocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    /// FILE_RESERVE_OPFILTER.
    pub(crate) reserves: bool,
    /// FILE_SUPERSEDE, FILE_OVERWRITE, FILE_OVERWRITE_IF.
    pub(crate) replaces: bool,
    /// It is the kind that a filter oplock does not admit.
    pub(crate) disturbs_filter: bool,
    /// It fails with a sharing violation if nobody gets out of its way.
    pub(crate) violates_sharing: bool,
}

/// Why an oplock may have to be broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// Somebody else opens the stream.
    Open(Opening),
    /// Somebody else reads.
    Read,
    /// Data or sizes change.
    Write,
    /// Byte ranges are locked or unlocked.
    Lock,
    /// A name of the file changes, or of a folder above.
    Name,
    /// The file is marked as deleted.
    Delete,
}

/// How an oplock is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// What its holder may keep.
    pub(crate) to: Option<Oplock>,
    /// Whether what broke it waits until its holder has acknowledged that.
    pub(crate) waits: bool,
}

/// Whether an oplock is broken by its holder's own operations, too.
pub(crate) fn is_broken_by_its_holder(kind: Oplock, cause: Cause) -> bool {
    kind == Oplock::Level2 && matches!(cause, Cause::Write | Cause::Lock)
}

/// What `cause` does to an oplock: the tables of irp-mj-create2, -read2, -write2, -lock-control2 and -set-information2.
pub(crate) fn broken_by(kind: Oplock, cause: Cause) -> Option<Break> {
    use Oplock::{Batch, Filter, Level1, Level2, Read, ReadHandle, ReadWrite, ReadWriteHandle};
    let waited = |to| Some(Break { to, waits: true });
    let at_once = |to| Some(Break { to, waits: false });
    match (cause, kind) {
        (Cause::Open(opening), kind) => broken_by_open(kind, opening),
        (Cause::Read, Level1 | Batch) => waited(Some(Level2)),
        (Cause::Read, ReadWrite) => waited(Some(Read)),
        (Cause::Read, ReadWriteHandle) => waited(Some(ReadHandle)),
        (Cause::Read, Level2 | Filter | Read | ReadHandle) => None,
        (Cause::Lock, Filter) => None,
        (Cause::Write | Cause::Lock, Level2 | Read | ReadHandle) => at_once(None),
        (Cause::Write | Cause::Lock, _) => waited(None),
        (Cause::Name, Batch | Filter) => waited(None),
        (Cause::Name | Cause::Delete, ReadHandle) => waited(Some(Read)),
        (Cause::Name | Cause::Delete, ReadWriteHandle) => waited(Some(ReadWrite)),
        (Cause::Name | Cause::Delete, _) => None,
    }
}

fn broken_by_open(kind: Oplock, opening: Opening) -> Option<Break> {
    use Oplock::{Batch, Filter, Level1, Level2, Read, ReadHandle, ReadWrite, ReadWriteHandle};
    let ends = opening.reserves || opening.replaces;
    let unless_it_ends = |to| if ends { None } else { Some(to) };
    let conflict = opening.violates_sharing;
    let (to, waits) = match kind {
        Level1 | Batch => (unless_it_ends(Level2), true),
        Filter if opening.disturbs_filter || opening.reserves => (None, true),
        Level2 | Read if ends => (None, false),
        ReadHandle if ends || conflict => (unless_it_ends(Read), conflict),
        ReadWrite => (unless_it_ends(Read), true),
        ReadWriteHandle => (unless_it_ends(if conflict { ReadWrite } else { ReadHandle }), true),
        Filter | Level2 | Read | ReadHandle => return None,
    };
    Some(Break { to, waits })
}
