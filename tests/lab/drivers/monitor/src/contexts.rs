//! What the monitor keeps for a handle, a stream, a transaction.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel::callback::Callback;
use kernel::context::{Context, ContextKind, ContextRef};
use kernel::file::FileObject;
use kernel::pool::Tag;

use crate::driver::{TAG, context, monitor};

/// An open.
pub(crate) struct Open {
    /// Its number.
    pub(crate) number: u64,
    /// The number of its transaction, or 0.
    pub(crate) transaction: u64,
    /// Its stream: kept here, because a stream's context cannot be asked for where a write may end (minifilter-rules §2.6).
    pub(crate) stream: Option<ContextRef<Stream>>,
}

impl Open {
    /// Counts a write. Up to DISPATCH_LEVEL.
    pub(crate) fn wrote(&self, bytes: usize) {
        if let Some(stream) = &self.stream {
            stream.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            stream.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Bytes and writes to its stream so far.
    pub(crate) fn so_far(&self) -> (u64, u32) {
        self.stream.as_ref().map_or((0, 0), |stream| {
            (stream.bytes.load(Ordering::Relaxed), stream.writes.load(Ordering::Relaxed))
        })
    }
}

impl Context for Open {
    const KIND: ContextKind = ContextKind::StreamHandle;
    const TAG: Tag = TAG;
}

/// A stream, which several opens may write to.
#[derive(Default)]
pub(crate) struct Stream {
    bytes: AtomicU64,
    writes: AtomicU32,
}

impl Context for Stream {
    const KIND: ContextKind = ContextKind::Stream;
    const TAG: Tag = TAG;
}

impl Stream {
    /// The context of a stream; made if it has none and can have one.
    pub(crate) fn of(data: &Callback<'_>, file: FileObject<'_>) -> Option<ContextRef<Stream>> {
        let instance = data.instance();
        if let Some(stream) = ContextRef::of_stream(instance, file) {
            return Some(stream);
        }
        let fresh = context(Stream::default()).ok()?;
        match fresh.set_on_stream(instance, file) {
            Ok(()) => Some(fresh),
            // Another thread was faster, or it cannot have one.
            Err(_) => ContextRef::of_stream(instance, file),
        }
    }
}

/// A transaction that the monitor follows.
pub(crate) struct Follow {
    /// Its number.
    pub(crate) number: u64,
}

impl Context for Follow {
    const KIND: ContextKind = ContextKind::Transaction;
    const TAG: Tag = TAG;
}

impl Follow {
    /// The number of an operation's transaction, which is followed from now on; 0 without one. PASSIVE_LEVEL.
    pub(crate) fn number_of(data: &Callback<'_>) -> u64 {
        let Some(transaction) = data.transaction() else { return 0 };
        let instance = data.instance();
        if let Some(known) = ContextRef::<Follow>::of_transaction(instance, transaction) {
            return known.number;
        }
        let Some(monitor) = monitor() else { return 0 };
        let Ok(fresh) = context(Follow { number: monitor.number() }) else { return 0 };
        if fresh.set_on_transaction(instance, transaction).is_err() {
            // Another thread was faster.
            return ContextRef::<Follow>::of_transaction(instance, transaction)
                .map_or(0, |known| known.number);
        }
        // One that is ending already has nobody to tell; its number is still its number.
        let _ = fresh.enlist(instance, transaction);
        fresh.number
    }
}
