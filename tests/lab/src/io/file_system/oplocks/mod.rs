//! Oplocks: who holds which on a stream, and who waits for a break to be acknowledged (minifilter-rules §2.9).
//!
//! | module | what |
//! |---|---|
//! | `kinds` | the kinds, and what breaks each to which |
//! | `granting` | which is granted beside which |
//! | `requests` | the controls of holders: requests and acknowledgements |
//! | `checks` | operations that may break oplocks, opens among them |
//!
//! Not modelled: keys (every file object is its own holder), oplocks of directories, and what others' opens do between an open
//! with FILE_OPEN_REQUIRING_OPLOCK and its request; each stops the run where it would matter.

mod checks;
mod granting;
mod kinds;
mod requests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use lab_volume::{FileId, Status};

use super::{Call, Failure};
use crate::io::file::File;
use crate::rooms::Rooms;

pub(super) use checks::{Oplocked, check, check_link, check_rename, create};
pub(super) use kinds::Cause;
pub use kinds::Oplock;
pub(super) use requests::{control, is_control};

/// A stream of a mount, whichever version of it somebody sees.
pub(crate) type Stream = (usize, FileId, lab_volume::Key);

/// How the request that was granted an oplock ends.
#[derive(Clone, Copy, Debug)]
struct End {
    status: Status,
    /// What the holder may keep.
    to: Option<Oplock>,
    /// It must acknowledge that.
    must_acknowledge: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    /// Broken, and not acknowledged.
    Breaking {
        to: Option<Oplock>,
    },
    /// Acknowledged: its holder is about to close the handle.
    Closing,
}

/// An oplock.
struct Holder {
    /// Counts oplocks.
    id: u64,
    /// The number of the file object that holds it.
    file: u64,
    kind: Oplock,
    state: State,
    /// The end of the request that was granted it.
    end: Rc<Cell<Option<End>>>,
}

impl Holder {
    fn end(&self, status: Status, to: Option<Oplock>, must_acknowledge: bool) {
        if self.end.get().is_none() {
            self.end.set(Some(End { status, to, must_acknowledge }));
        }
    }
}

/// The oplocks of a volume.
#[derive(Default)]
pub(crate) struct Oplocks {
    streams: RefCell<BTreeMap<Stream, Vec<Holder>>>,
    /// File objects that were opened with FILE_OPEN_REQUIRING_OPLOCK and have not asked for one.
    required: RefCell<BTreeMap<u64, Stream>>,
    ids: Cell<u64>,
}

impl Oplocks {
    /// Whether there is none at all, and nobody is about to have one.
    fn is_empty(&self) -> bool {
        self.streams.borrow().is_empty() && self.required.borrow().is_empty()
    }

    fn add(&self, stream: &Stream, file: u64, kind: Oplock) -> (u64, Rc<Cell<Option<End>>>) {
        self.ids.set(self.ids.get() + 1);
        let (id, end) = (self.ids.get(), Rc::new(Cell::new(None)));
        let holder = Holder { id, file, kind, state: State::Held, end: end.clone() };
        self.streams.borrow_mut().entry(stream.clone()).or_default().push(holder);
        (id, end)
    }

    fn retain(&self, keep: impl Fn(&Holder) -> bool) {
        let mut streams = self.streams.borrow_mut();
        streams.values_mut().for_each(|holders| holders.retain(&keep));
        streams.retain(|_, holders| !holders.is_empty());
    }

    /// The cleanup of a file object: its oplocks are gone, and who waits for an acknowledgement goes on
    /// (minifilter-rules §2.9: irp-mj-cleanup2).
    pub(super) fn closed(&self, file: &File) {
        self.required.borrow_mut().remove(&file.number);
        for holder in self.streams.borrow().values().flatten().filter(|holder| holder.file == file.number) {
            let older = holder.kind.level().is_none();
            holder.end(if older { Status::SUCCESS } else { Status::OPLOCK_HANDLE_CLOSED }, None, false);
        }
        self.retain(|holder| holder.file != file.number);
    }

    /// Breaks what `cause` breaks of the oplocks on a stream; `own` is the file object that causes it. Returns those of which
    /// the acknowledgement must be waited for, and whether any other was broken.
    fn strike(
        &self,
        stream: &Stream,
        cause: Cause,
        own: Option<u64>,
        concerns: impl Fn(Oplock) -> bool,
    ) -> (Vec<u64>, bool) {
        let (mut waited, mut unwaited) = (Vec::new(), false);
        let mut gone = Vec::new();
        if let Some(holders) = self.streams.borrow_mut().get_mut(stream) {
            for holder in holders.iter_mut().filter(|holder| concerns(holder.kind)) {
                if own == Some(holder.file) && !kinds::is_broken_by_its_holder(holder.kind, cause) {
                    continue;
                }
                let Some(how) = kinds::broken_by(holder.kind, cause) else { continue };
                match holder.state {
                    State::Held if holder.kind.must_be_acknowledged() => {
                        holder.end(Status::SUCCESS, how.to, true);
                        holder.state = State::Breaking { to: how.to };
                    }
                    State::Held => {
                        holder.end(Status::SUCCESS, how.to, false);
                        gone.push(holder.id);
                    }
                    State::Breaking { to } => {
                        holder.state = State::Breaking { to: kinds::lower(to, how.to) };
                    }
                    State::Closing => {}
                }
                if how.waits {
                    waited.push(holder.id);
                } else {
                    unwaited = true;
                }
            }
        }
        self.retain(|holder| !gone.contains(&holder.id));
        (waited, unwaited)
    }

    /// Whether `cause` would break an oplock.
    fn would_break(
        &self,
        stream: &Stream,
        cause: Cause,
        own: Option<u64>,
        concerns: impl Fn(Oplock) -> bool,
    ) -> bool {
        self.streams.borrow().get(stream).into_iter().flatten().any(|holder| {
            let own = own == Some(holder.file) && !kinds::is_broken_by_its_holder(holder.kind, cause);
            !own && concerns(holder.kind) && kinds::broken_by(holder.kind, cause).is_some()
        })
    }

    /// Whether one of these breaks has not been acknowledged.
    fn are_breaking(&self, ids: &[u64]) -> bool {
        let streams = self.streams.borrow();
        streams.values().flatten().any(|holder| holder.state != State::Held && ids.contains(&holder.id))
    }
}

/// The stream of an open file object; `None` for one that has none.
fn stream_of(call: &Call<'_>) -> Option<Stream> {
    let id = call.file.id.get()?;
    let fcb = call.file.fcb.borrow();
    Some((call.file.mount, id, fcb.as_ref()?.key.stream.clone()))
}

/// Waits. The wait ends when the request is cancelled (breaking-oplocks), or its thread is, or the volume is dismounted.
fn wait(call: &Call<'_>, what: String, over: impl Fn() -> bool) -> Result<(), Failure> {
    let thread = call.lab.thread();
    let dismounted = || call.file.mount != call.lab.io().mounted();
    let cancelled = || thread.terminating.get() || call.request.cancelled.get();
    call.lab.block_until(what, None, || over() || cancelled() || dismounted());
    match (over(), dismounted()) {
        (true, _) => Ok(()),
        (false, true) => Err(Status::VOLUME_DISMOUNTED.into()),
        (false, false) => Err(Status::CANCELLED.into()),
    }
}

fn wait_for_acknowledgement(call: &Call<'_>, ids: &[u64]) -> Result<(), Failure> {
    let io = call.lab.io();
    let generated = call.request.data().Flags & fltkernel::FLTFL_CALLBACK_DATA_GENERATED_IO != 0;
    let who = if generated { ", made by a filter" } else { "" };
    let what = format!("the acknowledgement of an oplock break, for {}{who}", call.request.label());
    wait(call, what, || !io.oplocks.are_breaking(ids))
}
