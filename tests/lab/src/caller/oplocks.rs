//! Oplocks, as programs ask for them (minifilter-rules §2.9).

use lab_volume::Status;

use super::{Caller, Handle};
use crate::io::Oplock;
use crate::io::requests::{self, From};

/// How a request for an oplock ends that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OplockBreak {
    /// SUCCESS if it was broken; OPLOCK_SWITCHED_TO_NEW_HANDLE, OPLOCK_HANDLE_CLOSED.
    pub status: Status,
    /// What its holder may keep.
    pub to: Option<Oplock>,
    /// What the status block says besides: FILE_OPLOCK_BROKEN_TO_LEVEL_2 (7) or _NONE (8) of the older requests, the length of
    /// the answer of FSCTL_REQUEST_OPLOCK; 0 where there is nothing to say.
    pub information: usize,
    /// Whether it must acknowledge that, as the output of FSCTL_REQUEST_OPLOCK says; `None` for the older requests, which do
    /// not say.
    pub must_acknowledge: Option<bool>,
}

/// What the holder of a broken oplock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// FSCTL_OPLOCK_BREAK_ACKNOWLEDGE: it takes what it may keep.
    Accept,
    /// FSCTL_OPLOCK_BREAK_ACK_NO_2: it wants no level 2 oplock.
    NoLevel2,
    /// FSCTL_OPBATCH_ACK_CLOSE_PENDING.
    ClosePending,
    /// FSCTL_REQUEST_OPLOCK with REQUEST_OPLOCK_INPUT_FLAG_ACK: it keeps this.
    Keep(Option<Oplock>),
    /// The same with REQUEST_OPLOCK_INPUT_FLAG_COMPLETE_ACK_ON_CLOSE, keeping nothing.
    OnClose,
}

const REQUEST: u32 = 0x9_0240;
const OUTPUT_LENGTH: usize = 24;

impl Caller<'_> {
    /// Asks for an oplock. Returns when it is broken or over: the caller waits meanwhile.
    ///
    /// # Errors
    /// OPLOCK_NOT_GRANTED, INVALID_PARAMETER, CANCELLED.
    pub fn request_oplock(&self, handle: Handle, kind: Oplock) -> Result<OplockBreak, Status> {
        let code = match kind {
            Oplock::Level1 => 0x9_0000,
            Oplock::Level2 => 0x9_0004,
            Oplock::Batch => 0x9_0008,
            Oplock::Filter => 0x9_005C,
            _ => return self.newer(handle, kind.level().unwrap_or(0), 1),
        };
        self.older(handle, code)
    }

    /// Acknowledges the break of an oplock. Where a lower one is kept, returns when that is broken.
    ///
    /// # Errors
    /// INVALID_OPLOCK_PROTOCOL if none is being broken.
    pub fn acknowledge_oplock(&self, handle: Handle, how: Acknowledgement) -> Result<OplockBreak, Status> {
        match how {
            Acknowledgement::Accept => self.older(handle, 0x9_000C),
            Acknowledgement::NoLevel2 => self.older(handle, 0x9_0050),
            Acknowledgement::ClosePending => self.older(handle, 0x9_0010),
            Acknowledgement::Keep(kept) => self.newer(handle, kept.and_then(Oplock::level).unwrap_or(0), 2),
            Acknowledgement::OnClose => self.newer(handle, 0, 2 | 4),
        }
    }

    fn older(&self, handle: Handle, code: u32) -> Result<OplockBreak, Status> {
        const BROKEN_TO_LEVEL_2: usize = 7;
        self.with_file(handle, 0, |file, _| {
            let (result, _) = requests::control(self.lab, file, &From::user(), code, &[], 0);
            super::check(result.Status)?;
            let to = (result.Information == BROKEN_TO_LEVEL_2).then_some(Oplock::Level2);
            Ok(OplockBreak {
                status: Status(result.Status.cast_unsigned()),
                to,
                information: result.Information,
                must_acknowledge: None,
            })
        })?
    }

    fn newer(&self, handle: Handle, level: u32, flags: u32) -> Result<OplockBreak, Status> {
        let mut input = Vec::new();
        input.extend(1_u16.to_le_bytes());
        input.extend(12_u16.to_le_bytes());
        input.extend(level.to_le_bytes());
        input.extend(flags.to_le_bytes());
        self.with_file(handle, 0, |file, _| {
            let (result, output) =
                requests::control(self.lab, file, &From::user(), REQUEST, &input, OUTPUT_LENGTH);
            super::check(result.Status)?;
            let word = |at: usize| {
                let bytes = output.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u32::from_le_bytes)
            };
            Ok(OplockBreak {
                status: Status(result.Status.cast_unsigned()),
                to: Oplock::of_level(word(8)),
                information: result.Information,
                must_acknowledge: Some(word(12) & 1 != 0),
            })
        })?
    }
}
