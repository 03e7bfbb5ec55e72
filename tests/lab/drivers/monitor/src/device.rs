//! The control device: what programs may ask.

use kernel::device::{Buffer, Control, Opener};
use kernel::{Result, Status};

use crate::driver::monitor;
use crate::format::{LOST, READ};

/// Requests to `\\.\FileMonitor`.
pub(crate) struct Questions;

impl Control for Questions {
    /// The names of other people's files are not for everybody.
    fn open(opener: &Opener<'_>) -> Result<()> {
        if opener.may_load_drivers() { Ok(()) } else { Err(Status::ACCESS_DENIED) }
    }

    fn control(code: u32, buffer: &mut Buffer<'_>) -> Result<usize> {
        let log = &monitor().ok_or(Status::NOT_FOUND)?.log;
        match code {
            READ => log.read(buffer.output()).ok_or(Status::BUFFER_TOO_SMALL),
            LOST => {
                let place = buffer.output().first_chunk_mut().ok_or(Status::BUFFER_TOO_SMALL)?;
                *place = log.lost().to_le_bytes();
                Ok(place.len())
            }
            _ => Err(Status::INVALID_DEVICE_REQUEST),
        }
    }
}
