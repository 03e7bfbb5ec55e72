//! Reads and writes that take time: those of an asynchronous file object stay under way while other requests come
//! (fileio/synchronous-and-asynchronous-i-o).
//!
//! How long one takes, and whether its data goes over at the beginning of that time or at its end, is decided by what it asks
//! for and by nothing else: the same requests take the same time in two labs, whatever drivers there are. One whose data has not
//! gone over yet ends when it is cancelled, or its thread is (fileapi/CancelIoEx; txf-ktm §8.2). A close of the handle does not
//! end it: what has begun before the cleanup goes on after it. NTFS may wait for it in the cleanup; a driver that relies on that
//! is found out.

use fltkernel::READ_WRITE;
use lab_executive::random::Random;
use lab_executive::scheduler::MILLISECOND;
use lab_volume::Status;

use super::{Call, Failure, is_paging};
use crate::flt::request::Form;
use crate::rooms::Rooms;

/// The longest time, in milliseconds.
pub const SLOWEST: i64 = 24;

/// How long a request takes, in 100 ns.
pub(super) struct Pace {
    before: i64,
    after: i64,
}

impl Pace {
    /// Of a read or write.
    pub(super) fn of(call: &Call<'_>, parameters: &READ_WRITE) -> Pace {
        let none = Pace { before: 0, after: 0 };
        let Some(seed) = call.lab.io().pace.get() else { return none };
        let user = call.request.data().RequestorMode != 0;
        if call.request.form != Form::Irp || !call.request.asynchronous || !user || is_paging(call) {
            return none;
        }
        let asks = [
            u64::from(call.request.major),
            u64::from(parameters.Length),
            parameters.ByteOffset.cast_unsigned(),
        ];
        let seed = asks.iter().fold(seed, |seed, part| Random::new(seed ^ part).next());
        let random = Random::new(seed);
        let time = random.below(SLOWEST as usize + 1) as i64 * MILLISECOND;
        match random.below(4) {
            0 => none,
            1 => Pace { after: time, ..none },
            _ => Pace { before: time, ..none },
        }
    }

    /// Lets the time pass in which its data has not gone over yet.
    ///
    /// # Errors
    /// CANCELLED; VOLUME_DISMOUNTED (minifilter-rules §2.7).
    pub(super) fn before(&self, call: &Call<'_>) -> Result<(), Failure> {
        if self.before == 0 {
            return Ok(());
        }
        let (lab, thread) = (call.lab, call.lab.thread());
        let due = lab.scheduler.now() + self.before;
        let own = (due, call.request.id);
        let waiting = &lab.io().transfers;
        waiting.borrow_mut().insert(own);
        let cancelled = || thread.terminating.get() || call.request.cancelled.get();
        let mut cancelled = lab.block_until("a transfer", Some(due), cancelled);
        if !cancelled {
            // Those that are due at the same time go over in the order in which they came.
            let first = || waiting.borrow().range((due, 0)..).next() == Some(&own);
            lab.block_until("the transfer before it", None, || first() || thread.terminating.get());
            cancelled = thread.terminating.get();
        }
        waiting.borrow_mut().remove(&own);
        match (call.file.mount == call.lab.io().mounted(), cancelled) {
            (false, _) => Err(Failure::from(Status::VOLUME_DISMOUNTED)),
            (true, true) => Err(Failure::from(Status::CANCELLED)),
            (true, false) => Ok(()),
        }
    }

    /// Lets the time pass after that.
    pub(super) fn after(&self, call: &Call<'_>) {
        if self.after > 0 {
            call.lab.delay(self.after);
        }
    }
}
