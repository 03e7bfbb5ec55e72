//! The controls of those who hold oplocks: requests and acknowledgements (minifilter-rules §2.9).

use fltkernel::PVOID;
use lab_executive::status;
use lab_nt::{FO_CLEANUP_COMPLETE, FO_SYNCHRONOUS_IO, FO_VOLUME_OPEN};
use lab_volume::Status;

use super::granting::{Fate, grant};
use super::kinds::lower;
use super::{End, Holder, Oplock, State, Stream, stream_of, wait, wait_for_acknowledgement};
use crate::io::file_system::bytes::{Bytes, Fields, give};
use crate::io::file_system::{Answer, Call, Failure, fail, status_of};
use crate::rooms::Rooms;

const REQUEST_LEVEL_1: u32 = 0x9_0000;
const REQUEST_LEVEL_2: u32 = 0x9_0004;
const REQUEST_BATCH: u32 = 0x9_0008;
const ACKNOWLEDGE: u32 = 0x9_000C;
const CLOSE_PENDING: u32 = 0x9_0010;
const BREAK_NOTIFY: u32 = 0x9_0014;
const ACKNOWLEDGE_NO_2: u32 = 0x9_0050;
const REQUEST_FILTER: u32 = 0x9_005C;
const REQUEST: u32 = 0x9_0240;

/// `FILE_OPLOCK_BROKEN_TO_LEVEL_2` and `_NONE`.
const BROKEN_TO_LEVEL_2: usize = 7;
const BROKEN_TO_NONE: usize = 8;
/// Of `REQUEST_OPLOCK_OUTPUT_BUFFER`.
const OUTPUT_LENGTH: u16 = 24;
/// `REQUEST_OPLOCK_INPUT_FLAG_REQUEST`, `_ACK` and `_COMPLETE_ACK_ON_CLOSE`.
const FLAG_REQUEST: u32 = 1;
const FLAG_ACK: u32 = 2;
const FLAG_COMPLETE_ACK_ON_CLOSE: u32 = 4;

/// Whether a control is about oplocks.
pub(in super::super) fn is_control(code: u32) -> bool {
    [
        REQUEST_LEVEL_1,
        REQUEST_LEVEL_2,
        REQUEST_BATCH,
        ACKNOWLEDGE,
        CLOSE_PENDING,
        BREAK_NOTIFY,
        ACKNOWLEDGE_NO_2,
        REQUEST_FILTER,
        REQUEST,
    ]
    .contains(&code)
}

/// One of these controls. A request that is granted ends when the oplock is broken.
pub(in super::super) fn control(
    call: &Call<'_>,
    code: u32,
    input: &Fields<'_>,
    output: PVOID,
    out_len: usize,
) -> Answer {
    if call.file.has_flags(FO_CLEANUP_COMPLETE) {
        return fail(status_of::FILE_CLOSED);
    }
    let older = |kind| request(call, kind).map(|end| information(&end));
    match code {
        REQUEST_LEVEL_1 => older(Oplock::Level1),
        REQUEST_LEVEL_2 => older(Oplock::Level2),
        REQUEST_BATCH => older(Oplock::Batch),
        REQUEST_FILTER => older(Oplock::Filter),
        ACKNOWLEDGE => acknowledge(call, true),
        ACKNOWLEDGE_NO_2 => acknowledge(call, false),
        CLOSE_PENDING => close_pending(call),
        BREAK_NOTIFY => notify(call),
        _ => newer(call, input, output, out_len),
    }
}

/// How the older requests say what became of their oplock; they end with SUCCESS.
fn information(end: &End) -> usize {
    match end.to {
        Some(_) => BROKEN_TO_LEVEL_2,
        None => BROKEN_TO_NONE,
    }
}

/// FSCTL_REQUEST_OPLOCK.
fn newer(call: &Call<'_>, input: &Fields<'_>, output: PVOID, out_len: usize) -> Answer {
    let (version, length) = (input.u16(0)?, input.u16(2)?);
    let (level, flags) = (input.u32(4)?, input.u32(8)?);
    if version != 1 || length != 12 || out_len < usize::from(OUTPUT_LENGTH) {
        return fail(status::INVALID_PARAMETER);
    }
    let (original, end) = match flags {
        FLAG_REQUEST => {
            let Some(kind) = Oplock::of_level(level) else { return fail(status::INVALID_PARAMETER) };
            (kind, request(call, kind)?)
        }
        flags if flags & FLAG_ACK != 0 && flags & !(FLAG_ACK | FLAG_COMPLETE_ACK_ON_CLOSE) == 0 => {
            let on_close = flags & FLAG_COMPLETE_ACK_ON_CLOSE != 0;
            match acknowledge_newer(call, level, on_close)? {
                Some(kept) => kept,
                None => return Ok(0),
            }
        }
        _ => return fail(status::INVALID_PARAMETER),
    };
    let to = end.to.and_then(Oplock::level).unwrap_or(0);
    let answer = Bytes::default()
        .u16(1)
        .u16(OUTPUT_LENGTH)
        .u32(original.level().unwrap_or(0))
        .u32(to)
        .u32(u32::from(end.must_acknowledge))
        .zeros(8);
    let given = give(call, output, out_len, usize::from(OUTPUT_LENGTH), &answer)?;
    match end.status {
        Status::SUCCESS => Ok(given),
        status => Err(Failure { status: status.0.cast_signed(), information: given }),
    }
}

/// Asks for an oplock and waits until it is broken.
fn request(call: &Call<'_>, kind: Oplock) -> Result<End, Failure> {
    let stream = may_be_granted(call, kind)?;
    let (io, own) = (call.lab.io(), call.file.number);
    io.oplocks.required.borrow_mut().remove(&own);
    let fates = {
        let streams = io.oplocks.streams.borrow();
        let holders = streams.get(&stream).map_or(&[][..], Vec::as_slice);
        if holders.iter().any(|holder| holder.state != State::Held) {
            return Err(Status::OPLOCK_NOT_GRANTED.into());
        }
        let held: Vec<_> = holders.iter().map(|holder| (holder.kind, holder.file == own)).collect();
        let Some(fates) = grant(kind, &held) else { return Err(Status::OPLOCK_NOT_GRANTED.into()) };
        let fates = holders.iter().zip(fates).map(|(holder, fate)| {
            match fate {
                Fate::Stays => {}
                Fate::Broken => holder.end(Status::SUCCESS, None, false),
                Fate::Replaced => holder.end(Status::OPLOCK_SWITCHED_TO_NEW_HANDLE, None, false),
            }
            (holder.id, fate)
        });
        fates.collect::<Vec<_>>()
    };
    let stays = |id| !fates.iter().any(|(other, fate)| *other == id && *fate != Fate::Stays);
    io.oplocks.retain(|holder| stays(holder.id));
    hold(call, &stream, kind)
}

/// What must hold besides the oplocks that are there.
fn may_be_granted(call: &Call<'_>, kind: Oplock) -> Result<Stream, Failure> {
    let open = call.open();
    if call.file.directory.get() || call.file.has_flags(FO_VOLUME_OPEN) {
        if matches!(kind, Oplock::Read | Oplock::ReadHandle) {
            call.lab.report(
                "not-modelled",
                "minifilter-rules §2.9: oplocks of directories",
                format!("{} asks for one on {}", call.request.label(), call.file.label()),
            );
        }
        return fail(status::INVALID_PARAMETER);
    }
    if call.file.has_flags(FO_SYNCHRONOUS_IO) {
        return Err(Status::OPLOCK_NOT_GRANTED.into());
    }
    call.with_volume(|volume| volume.may_grant_oplock(open))?;
    let in_the_way = if kind.is_shared() {
        call.with_volume(|volume| volume.stream_has_locks(open))?
    } else {
        call.with_volume(|volume| volume.opens_of_stream(open))? > 1
    };
    match stream_of(call) {
        Some(stream) if !in_the_way => Ok(stream),
        _ => Err(Status::OPLOCK_NOT_GRANTED.into()),
    }
}

/// Has the oplock, until it is broken or the request is cancelled.
fn hold(call: &Call<'_>, stream: &Stream, kind: Oplock) -> Result<End, Failure> {
    let io = call.lab.io();
    let (id, end) = io.oplocks.add(stream, call.file.number, kind);
    let waited =
        wait(call, format!("the break of an oplock, by {}", call.request.label()), || end.get().is_some());
    match (end.get(), waited) {
        (Some(end), _) => Ok(end),
        (None, Err(failure)) => {
            io.oplocks.retain(|holder| holder.id != id);
            Err(failure)
        }
        (None, Ok(())) => fail(status::UNSUCCESSFUL),
    }
}

/// An oplock that is being broken.
struct Broken {
    stream: Stream,
    id: u64,
    kind: Oplock,
    /// What its holder was told that it may keep.
    told: Option<Oplock>,
    /// What it may keep by now.
    to: Option<Oplock>,
}

/// The broken oplock of this file object that waits for its acknowledgement.
///
/// # Errors
/// INVALID_OPLOCK_PROTOCOL.
fn broken(call: &Call<'_>, newer: bool) -> Result<Broken, Failure> {
    let io = call.lab.io();
    let streams = io.oplocks.streams.borrow();
    let found = stream_of(call).and_then(|stream| {
        let own =
            |holder: &&Holder| holder.file == call.file.number && holder.kind.level().is_some() == newer;
        let mut holders = streams.get(&stream)?.iter().filter(own);
        holders.find_map(|holder| match holder.state {
            State::Breaking { to } => Some(Broken {
                stream: stream.clone(),
                id: holder.id,
                kind: holder.kind,
                told: holder.end.get()?.to,
                to,
            }),
            _ => None,
        })
    });
    found.ok_or(Status::INVALID_OPLOCK_PROTOCOL.into())
}

/// FSCTL_OPLOCK_BREAK_ACKNOWLEDGE, and _ACK_NO_2: the oplock is gone, or has become a level 2 oplock, of which the break ends
/// this request.
fn acknowledge(call: &Call<'_>, keeps: bool) -> Answer {
    let broken = broken(call, false)?;
    call.lab.io().oplocks.retain(|holder| holder.id != broken.id);
    match (broken.told.filter(|_| keeps), broken.to) {
        (Some(_), Some(to)) => hold(call, &broken.stream, to).map(|end| information(&end)),
        (Some(_), None) => Ok(BROKEN_TO_NONE),
        (None, _) => Ok(0),
    }
}

/// FSCTL_REQUEST_OPLOCK as an acknowledgement. `None`: nothing is kept.
fn acknowledge_newer(call: &Call<'_>, level: u32, on_close: bool) -> Result<Option<(Oplock, End)>, Failure> {
    let broken = broken(call, true)?;
    let wanted = Oplock::of_level(level);
    if level != 0 && wanted.is_none() {
        return fail(status::INVALID_PARAMETER);
    }
    let kept = lower(wanted, broken.to);
    let more_than_told = level & !broken.told.and_then(Oplock::level).unwrap_or(0) != 0;
    if more_than_told || kept.is_some() && kept != wanted {
        call.lab.report(
            "not-modelled",
            "minifilter-rules §2.9: an acknowledgement that asks for more than the break has left",
            format!("{} asks for {level:#x}, and may keep {:?}", call.request.label(), broken.to),
        );
    }
    if on_close {
        set_closing(call, broken.id);
        return Ok(None);
    }
    call.lab.io().oplocks.retain(|holder| holder.id != broken.id);
    match (kept, wanted) {
        (Some(kept), _) => hold(call, &broken.stream, kept).map(|end| Some((kept, end))),
        (None, Some(wanted)) => {
            Ok(Some((wanted, End { status: Status::SUCCESS, to: None, must_acknowledge: false })))
        }
        (None, None) => Ok(None),
    }
}

fn set_closing(call: &Call<'_>, id: u64) {
    let io = call.lab.io();
    let mut streams = io.oplocks.streams.borrow_mut();
    if let Some(holder) = streams.values_mut().flatten().find(|holder| holder.id == id) {
        holder.state = State::Closing;
    }
}

/// FSCTL_OPBATCH_ACK_CLOSE_PENDING: a level 1 oplock is gone; who waits for another one waits for the close.
fn close_pending(call: &Call<'_>) -> Answer {
    let Broken { id, kind, .. } = broken(call, false)?;
    if kind == Oplock::Level1 {
        call.lab.io().oplocks.retain(|holder| holder.id != id);
    } else {
        set_closing(call, id);
    }
    Ok(0)
}

/// FSCTL_OPLOCK_BREAK_NOTIFY: returns when no break on the stream is under way.
fn notify(call: &Call<'_>) -> Answer {
    let io = call.lab.io();
    let Some(stream) = stream_of(call) else { return Ok(0) };
    let ids: Vec<_> = {
        let streams = io.oplocks.streams.borrow();
        streams.get(&stream).into_iter().flatten().map(|holder| holder.id).collect()
    };
    wait_for_acknowledgement(call, &ids)?;
    Ok(0)
}
