//! Reads, writes, flushes and byte-range locks.

use fltkernel::*;
use lab_executive::status;
use lab_nt::{
    FO_CLEANUP_COMPLETE, FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED, FO_NO_INTERMEDIATE_BUFFERING,
    FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH,
};
use lab_volume::{Io, LockOwner, Status, WriteAt};

use super::oplocks::{self, Cause};
use super::pace::Pace;
use super::{Answer, Call, Failure, fail, is_paging, status_of};
use crate::flt::passage;
use crate::flt::request::{Form, Operation};
use crate::io::section;
use crate::memory;
use crate::rooms::Rooms;

const SECTOR: i64 = 512;
const IRP_NOCACHE: u32 = 0x1;
const SL_WRITE_THROUGH: u8 = 0x4;
const WRITE_TO_END: i64 = -1;
const CURRENT_POSITION: i64 = -2;

/// Checks that hold for reads and writes; starts caching on the first cached IRP.
fn begin(call: &Call<'_>) -> Result<(), Failure> {
    let object = call.file.object();
    if object.Flags & FO_CLEANUP_COMPLETE != 0 && !is_paging(call) {
        return fail(status_of::FILE_CLOSED);
    }
    if call.file.directory.get() {
        return fail(status_of::INVALID_DEVICE_REQUEST);
    }
    if call.request.form == Form::FastIo {
        let possible = !object.PrivateCacheMap.is_null() && fast_io_is_possible(call);
        return if possible { Ok(()) } else { fail(STATUS_FLT_DISALLOW_FAST_IO) };
    }
    // SAFETY: reads and writes share this union member; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.Read };
    let whole_sectors = |value: i64| value < 0 || value % SECTOR == 0;
    if call.iopb.IrpFlags & IRP_NOCACHE != 0
        && !is_paging(call)
        && !(whole_sectors(parameters.ByteOffset) && whole_sectors(i64::from(parameters.Length)))
    {
        return fail(status::INVALID_PARAMETER);
    }
    let cached = call.iopb.IrpFlags & (IRP_NOCACHE | super::IRP_PAGING) == 0
        && object.Flags & FO_NO_INTERMEDIATE_BUFFERING == 0;
    if cached && object.PrivateCacheMap.is_null() {
        let map = call.lab.allocate_own(16, b"CcPc");
        call.file.update(|object| object.PrivateCacheMap = map.cast());
    }
    Ok(())
}

/// With byte-range locks on the stream, NTFS asks from the top of the stack whether it may go on without an IRP.
fn fast_io_is_possible(call: &Call<'_>) -> bool {
    let locked = call.file.fcb.borrow().as_ref().is_some_and(|fcb| fcb.locked.get());
    if !locked {
        return true;
    }
    // SAFETY: reads and writes share this union member; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.Read };
    let mut operation = Operation::irp(IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE, call.file.pointer());
    operation.form = Form::FastIo;
    operation.parameters = FLT_PARAMETERS {
        FastIoCheckIfPossible: FAST_IO_CHECK {
            FileOffset: parameters.ByteOffset,
            Length: parameters.Length,
            Padding1: 0,
            LockKey: parameters.Key,
            Padding2: 0,
            CheckForReadOperation: u8::from(call.request.major == IRP_MJ_READ),
            Padding3: [0; 7],
        },
    };
    passage::issue(call.lab, operation, call.file.ceiling.as_ref()).Status == status::SUCCESS
}

/// The file's cached data can be had by MDL or by buffer; the model knows buffers.
fn data_at(call: &Call<'_>, parameters: &READ_WRITE) -> Result<*mut u8, Failure> {
    if !parameters.MdlAddress.is_null() {
        call.lab.report(
            "not-modelled",
            "lab: reads and writes carry buffers, not MDLs",
            format!("{} came to NTFS with an MDL", call.request.label()),
        );
    }
    if parameters.Length > 0 && parameters.Buffer.is_null() {
        return fail(0xC000_00E8_u32.cast_signed());
    }
    Ok(call.buffer(parameters.Buffer, parameters.Length as usize))
}

pub(super) fn read(call: &Call<'_>) -> Answer {
    let open = call.open();
    begin(call)?;
    // SAFETY: the union member of IRP_MJ_READ; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.Read };
    let at = data_at(call, &parameters)?;
    let offset = match parameters.ByteOffset {
        CURRENT_POSITION => call.file.position(),
        offset => offset,
    };
    let offset = u64::try_from(offset).or_else(|_| fail(status::INVALID_PARAMETER))?;
    let io =
        Io { process: call.process(), key: parameters.Key, paging: is_paging(call), write_through: false };
    // A transacted reader keeps writers out: there is no oplock to break (minifilter-rules §2.9).
    if !io.paging && call.file.transaction.is_none() {
        oplocks::check(call, Cause::Read)?;
    }
    let area = section::area_of(call.lab, &call.file).filter(|_| !io.paging);
    if let Some(area) = area.as_ref().filter(|_| is_uncached(call)) {
        flush_views(call, area)?;
    }
    let pace = Pace::of(call, &parameters);
    pace.before(call)?;
    let mut data = call.with_volume(|volume| volume.read(open, offset, parameters.Length as usize, io))?;
    if let Some(area) = area {
        section::overlay(&area, offset, &mut data);
    }
    memory::fill(at, &data);
    advance(call, offset + data.len() as u64);
    pace.after(call);
    Ok(data.len())
}

pub(super) fn write(call: &Call<'_>) -> Answer {
    let open = call.open();
    begin(call)?;
    // SAFETY: the union member of IRP_MJ_WRITE; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.Write };
    let at = data_at(call, &parameters)?;
    let to = match parameters.ByteOffset {
        WRITE_TO_END => WriteAt::End,
        CURRENT_POSITION => WriteAt::Offset(call.file.position().cast_unsigned()),
        offset => WriteAt::Offset(u64::try_from(offset).or_else(|_| fail(status::INVALID_PARAMETER))?),
    };
    let through = call.file.has_flags(FO_WRITE_THROUGH) || call.iopb.OperationFlags & SL_WRITE_THROUGH != 0;
    let io =
        Io { process: call.process(), key: parameters.Key, paging: is_paging(call), write_through: through };
    let data = memory::bytes(at, parameters.Length as usize);
    if !io.paging {
        oplocks::check(call, Cause::Write)?;
    }
    let area = section::area_of(call.lab, &call.file).filter(|_| !io.paging);
    if let Some(area) = area.as_ref().filter(|_| is_uncached(call)) {
        flush_views(call, area)?;
    }
    let pace = Pace::of(call, &parameters);
    pace.before(call)?;
    let before = call.with_volume(|volume| volume.standard(open)).map_or(0, |standard| standard.size);
    let end = call.with_volume(|volume| volume.write(open, to, &data, io))?;
    if let Some(area) = area {
        section::replace(&area, end - data.len() as u64, &data);
    }
    call.file.set_flags(FO_FILE_MODIFIED | if end > before { FO_FILE_SIZE_CHANGED } else { 0 });
    advance(call, end);
    pace.after(call);
    Ok(data.len())
}

/// NTFS moves the position of the file object that it was given (minifilter-rules §1.8).
fn advance(call: &Call<'_>, position: u64) {
    if call.file.has_flags(FO_SYNCHRONOUS_IO) && !is_paging(call) {
        call.file.set_position(position.cast_signed());
    }
}

fn is_uncached(call: &Call<'_>) -> bool {
    call.iopb.IrpFlags & IRP_NOCACHE != 0 || call.file.has_flags(FO_NO_INTERMEDIATE_BUFFERING)
}

/// What views have modified is written before something is read or written past the cache, and at a flush.
fn flush_views(call: &Call<'_>, area: &section::Area) -> Result<(), Failure> {
    section::flush(call.lab, area).or_else(fail)
}

pub(super) fn flush(call: &Call<'_>) -> Answer {
    let open = call.open();
    if let Some(area) = section::area_of(call.lab, &call.file) {
        flush_views(call, &area)?;
    }
    call.with_volume(|volume| volume.flush(open))?;
    Ok(0)
}

const LOCK: u8 = 1;
const UNLOCK_SINGLE: u8 = 2;
const UNLOCK_ALL: u8 = 3;
const UNLOCK_ALL_BY_KEY: u8 = 4;
const SL_FAIL_IMMEDIATELY: u8 = 1;
const SL_EXCLUSIVE_LOCK: u8 = 2;

pub(super) fn lock_control(call: &Call<'_>) -> Answer {
    let open = call.open();
    // SAFETY: the union member of IRP_MJ_LOCK_CONTROL; integers and pointers, valid for any bits.
    let parameters = unsafe { call.iopb.Parameters.LockControl };
    let owner = LockOwner { process: call.process(), key: parameters.Key };
    let start = parameters.ByteOffset.cast_unsigned();
    let length =
        if parameters.Length.is_null() { 0 } else { memory::read(parameters.Length).cast_unsigned() };
    oplocks::check(call, Cause::Lock)?;
    match call.iopb.MinorFunction {
        LOCK => {
            // minifilter-rules §2.2: what is meaningful depends on how it came.
            let (exclusive, waits) = if call.request.form == Form::FastIo {
                (parameters.ExclusiveLock != 0, parameters.FailImmediately == 0)
            } else {
                let says = |flag| call.iopb.OperationFlags & flag != 0;
                (says(SL_EXCLUSIVE_LOCK), !says(SL_FAIL_IMMEDIATELY))
            };
            if let Some(fcb) = call.file.fcb.borrow().as_ref() {
                fcb.locked.set(true);
            }
            let try_lock = || {
                call.lab
                    .io()
                    .with_volume(call.lab, |volume| volume.lock(open, owner, start, length, exclusive))
            };
            match try_lock() {
                Err(Status::LOCK_NOT_GRANTED) if waits => {}
                other => return other.map(|()| 0).map_err(Failure::from),
            }
            if call.request.form == Form::FastIo {
                return fail(STATUS_FLT_DISALLOW_FAST_IO);
            }
            let granted = std::cell::Cell::new(None);
            let unlocked = || {
                let unlocked = call.file.unlocked.borrow();
                [None, Some(owner.key)].map(|key| unlocked.get(&(owner.process, key)).copied())
            };
            let before = unlocked();
            // The scheduler may ask more than once before this thread runs; the lock is taken the first time. The cleanup of
            // its file object ends the wait, and so does who gives back all of the owner's locks: what had been granted before
            // is gone then, and what waited is taken off the queue (txf-ktm §4.8: FsRtlFastUnlockAll; inferred, and so is the
            // status); and so does the end of the thread (txf-ktm §8.2: IoCancelThreadIo), and who cancels the request
            // (fileapi/CancelIoEx); and so does a dismount (minifilter-rules §2.7).
            let thread = call.lab.thread();
            call.lab.block_until("a byte-range lock", None, || {
                if granted.get().is_none() {
                    let over = call.file.has_flags(lab_nt::FO_CLEANUP_COMPLETE) || unlocked() != before;
                    let dismounted = call.file.mount != call.lab.io().mounted();
                    let cancelled = thread.terminating.get() || call.request.cancelled.get();
                    let ended = match (dismounted, over, cancelled) {
                        (true, ..) => Err(Status::VOLUME_DISMOUNTED),
                        (_, true, _) => Err(Status::RANGE_NOT_LOCKED),
                        (_, _, true) => Err(Status::CANCELLED),
                        (false, false, false) => Ok(()),
                    };
                    match ended.and_then(|()| try_lock()) {
                        Err(Status::LOCK_NOT_GRANTED) => return false,
                        other => granted.set(Some(other)),
                    }
                }
                true
            });
            granted.take().unwrap_or(Ok(())).map(|()| 0).map_err(Failure::from)
        }
        UNLOCK_SINGLE => call.with_volume(|volume| volume.unlock(open, owner, start, length)).map(|()| 0),
        minor @ (UNLOCK_ALL | UNLOCK_ALL_BY_KEY) => {
            let key = (minor == UNLOCK_ALL_BY_KEY).then_some(owner.key);
            *call.file.unlocked.borrow_mut().entry((owner.process, key)).or_default() += 1;
            call.with_volume(|volume| volume.unlock_all(open, owner.process, key)).map(|()| 0)
        }
        _ => fail(status::INVALID_PARAMETER),
    }
}
