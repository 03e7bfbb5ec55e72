//! Operations that may break oplocks (minifilter-rules §2.9).

use fltkernel::STATUS_FLT_DISALLOW_FAST_IO;
use lab_volume::{Create, CreateRequest, Existing, FileId, NameTarget, Stage, Status, Switches};

use super::kinds::Opening;
use super::{Cause, Oplock, Stream, stream_of, wait_for_acknowledgement};
use crate::flt::request::Form;
use crate::io::file_system::{Call, Failure, fail};
use crate::rooms::Rooms;

const COMPLETE_IF_OPLOCKED: u32 = 0x100;
const OPEN_REQUIRING_OPLOCK: u32 = 0x1_0000;
const RESERVE_OPFILTER: u32 = 0x10_0000;
/// `FILE_OPBATCH_BREAK_UNDERWAY`.
const BREAK_UNDERWAY: usize = 9;

/// An operation on an open stream: breaks what it breaks, and waits where it must.
///
/// # Errors
/// CANCELLED, VOLUME_DISMOUNTED; fast I/O that would break an oplock is disallowed (ntifs/FsRtlOplockIsFastIoPossible).
pub(in super::super) fn check(call: &Call<'_>, cause: Cause) -> Result<(), Failure> {
    match stream_of(call) {
        Some(stream) => check_streams(call, cause, |other| *other == stream),
        None => Ok(()),
    }
}

/// A rename: of a file, or of a folder with files below it, perhaps over another file.
///
/// # Errors
/// As [`check`].
pub(in super::super) fn check_rename(call: &Call<'_>, target: &NameTarget) -> Result<(), Failure> {
    let (lab, open, directory) = (call.lab, call.open(), call.file.directory.get());
    check_streams(call, Cause::Name, |(mount, file, _)| {
        let below = directory && lab.io().with_volume(lab, |volume| volume.is_file_below(open, *file));
        *mount == call.file.mount && (call.file.id.get() == Some(*file) || below)
    })?;
    check_link(call, target)
}

/// A new name, perhaps over another file's.
///
/// # Errors
/// As [`check`].
pub(in super::super) fn check_link(call: &Call<'_>, target: &NameTarget) -> Result<(), Failure> {
    let (lab, open) = (call.lab, call.open());
    if lab.io().oplocks.is_empty() {
        return Ok(());
    }
    match lab.io().with_volume(lab, |volume| volume.replaced_by(open, target)) {
        Some(victim) => {
            check_streams(call, Cause::Name, |(mount, file, _)| (*mount, *file) == (call.file.mount, victim))
        }
        None => Ok(()),
    }
}

fn check_streams(call: &Call<'_>, cause: Cause, concerned: impl Fn(&Stream) -> bool) -> Result<(), Failure> {
    let io = call.lab.io();
    if io.oplocks.is_empty() {
        return Ok(());
    }
    let own = Some(call.file.number);
    loop {
        let streams: Vec<_> =
            io.oplocks.streams.borrow().keys().filter(|stream| concerned(stream)).cloned().collect();
        if call.request.form == Form::FastIo {
            let breaks = |stream| io.oplocks.would_break(stream, cause, own, |_| true);
            return if streams.iter().any(breaks) { fail(STATUS_FLT_DISALLOW_FAST_IO) } else { Ok(()) };
        }
        let strike = |stream: &Stream| io.oplocks.strike(stream, cause, own, |_| true).0;
        let waited: Vec<_> = streams.iter().flat_map(strike).collect();
        if waited.is_empty() {
            return Ok(());
        }
        wait_for_acknowledgement(call, &waited)?;
    }
}

/// What a successful create says of oplocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Oplocked {
    /// Nothing.
    No,
    /// One is being broken, and the create did not wait.
    BreakInProgress,
}

/// A create, with what it does to oplocks on the way.
///
/// # Errors
/// Those of the volume, with FILE_OPBATCH_BREAK_UNDERWAY where a break goes on; CANNOT_BREAK_OPLOCK, OPLOCK_NOT_GRANTED,
/// CANCELLED, VOLUME_DISMOUNTED.
pub(in super::super) fn create(
    call: &Call<'_>,
    request: &CreateRequest,
) -> Result<(Create, Oplocked), Failure> {
    let io = call.lab.io();
    let mut opener = Opener {
        call,
        request,
        switches: io.with_volume(call.lab, |volume| volume.switches.clone()),
        waits: Vec::new(),
        underway: false,
        told: false,
        found: None,
    };
    loop {
        let created = crate::ktm::with_ktm(call.lab, |ktm| {
            io.with_volume(call.lab, |volume| {
                volume
                    .create_checked(ktm, request.clone(), &mut |stage, existing| opener.ask(stage, existing))
            })
        });
        crate::ktm::pump(call.lab);
        match created {
            Err(Status::PENDING) if !opener.waits.is_empty() => {
                wait_for_acknowledgement(call, &std::mem::take(&mut opener.waits))?;
            }
            Ok(created) => {
                opener.opened(&created);
                let oplocked = if opener.told { Oplocked::BreakInProgress } else { Oplocked::No };
                return Ok((created, oplocked));
            }
            Err(status) => {
                let information = if opener.underway { BREAK_UNDERWAY } else { 0 };
                return Err(Failure { status: status.0.cast_signed(), information });
            }
        }
    }
}

/// Who opens.
struct Opener<'a> {
    call: &'a Call<'a>,
    request: &'a CreateRequest,
    switches: Switches,
    /// The acknowledgements that it must wait for.
    waits: Vec<u64>,
    /// It has begun to break a batch or filter oplock, and did not wait.
    underway: bool,
    /// It will be told of a break if it succeeds.
    told: bool,
    found: Option<(FileId, lab_volume::Key)>,
}

impl Opener<'_> {
    fn has(&self, option: u32) -> bool {
        self.request.options.bits() & option != 0
    }

    fn ask(&mut self, stage: Stage, existing: &Existing) -> Result<(), Status> {
        const HARMLESS: u32 = 0x80 | 0x100 | 0x10_0000;
        let io = self.call.lab.io();
        self.found = Some((existing.id, existing.stream.clone()));
        let reserves = self.has(RESERVE_OPFILTER);
        let others = reserves && existing.opens > 0;
        let refused_at =
            if self.switches.reserve_opfilter_breaks_first { Stage::Passed } else { Stage::BeforeSharing };
        let harmless = existing.access & !HARMLESS == 0 && !reserves;
        if io.oplocks.is_empty() || harmless {
            let refused = others && stage == refused_at;
            return if refused { Err(Status::OPLOCK_NOT_GRANTED) } else { Ok(()) };
        }
        if others && stage == refused_at && refused_at == Stage::BeforeSharing {
            return Err(Status::OPLOCK_NOT_GRANTED);
        }
        let stream = (self.call.file.mount, existing.id, existing.stream.clone());
        if io.oplocks.required.borrow().values().any(|required| *required == stream) {
            self.call.lab.report(
                "not-modelled",
                "minifilter-rules §2.9: what an open does to a handle that required an oplock and has not asked for it",
                format!("{} opens {:?} meanwhile", self.call.request.label(), existing.id),
            );
        }
        let unwaited = self.has(COMPLETE_IF_OPLOCKED);
        if stage == Stage::SharingViolation && unwaited && !self.switches.handle_oplock_breaks_unwaited {
            return Ok(());
        }
        let cause = Cause::Open(self.opening(stage, existing.access));
        let concerns = |kind| match stage {
            Stage::BeforeSharing => matches!(kind, Oplock::Batch | Oplock::Filter),
            Stage::SharingViolation => matches!(kind, Oplock::ReadHandle | Oplock::ReadWriteHandle),
            Stage::Passed => !matches!(kind, Oplock::Batch | Oplock::Filter),
        };
        if self.has(OPEN_REQUIRING_OPLOCK) && io.oplocks.would_break(&stream, cause, None, concerns) {
            return Err(Status::CANNOT_BREAK_OPLOCK);
        }
        let (waits, others_broken) = io.oplocks.strike(&stream, cause, None, concerns);
        if unwaited {
            self.told |= !waits.is_empty() || others_broken && self.switches.unwaited_break_is_told;
            self.underway |= stage == Stage::BeforeSharing && !waits.is_empty();
        } else if !waits.is_empty() {
            self.waits = waits;
            return Err(Status::PENDING);
        }
        if others && stage == refused_at { Err(Status::OPLOCK_NOT_GRANTED) } else { Ok(()) }
    }

    fn opening(&self, stage: Stage, access: u32) -> Opening {
        // FILE_READ_ATTRIBUTES, _WRITE_ATTRIBUTES, _READ_DATA, _READ_EA, FILE_EXECUTE, SYNCHRONIZE, READ_CONTROL.
        const READS: u32 = 0x80 | 0x100 | 0x1 | 0x8 | 0x20 | 0x10_0000 | 0x2_0000;
        let writes = access & !READS != 0;
        let shares = self.request.share.contains(lab_volume::Share::READ);
        Opening {
            reserves: self.has(RESERVE_OPFILTER),
            replaces: self.request.disposition.replaces(),
            disturbs_filter: if self.switches.filter_oplock_needs_shared_reading {
                writes || !shares
            } else {
                writes && !shares
            },
            violates_sharing: stage == Stage::SharingViolation,
        }
    }

    fn opened(&self, created: &Create) {
        let Create::Opened(created) = created else { return };
        if !self.has(OPEN_REQUIRING_OPLOCK) {
            return;
        }
        let stream = self.found.clone().map_or_else(lab_volume::Key::default, |(_, stream)| stream);
        let stream = (self.call.file.mount, created.id, stream);
        self.call.lab.io().oplocks.required.borrow_mut().insert(self.call.file.number, stream);
    }
}
