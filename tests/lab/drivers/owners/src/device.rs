//! The control device, and what programs ask of it.

use kernel::device::{Buffer, Control, Opener};
use kernel::{Result, Status};

use crate::OWNERS;

/// The input backwards, and said to be longer than it is.
const BACKWARDS: u32 = 0x0022_2000;
/// Whether nobody may open it any more.
const RETIRE: u32 = 0x0022_2004;

/// Requests to `\\.\Owners`.
pub(crate) struct Questions;

impl Control for Questions {
    fn open(_: &Opener<'_>) -> Result<()> {
        Ok(())
    }

    fn control(code: u32, buffer: &mut Buffer<'_>) -> Result<usize> {
        match code {
            BACKWARDS => {
                let mut input = [0; 8];
                let length = buffer.input().len();
                input.get_mut(..length).ok_or(Status::INVALID_PARAMETER)?.copy_from_slice(buffer.input());
                let backwards = input.iter().take(length).rev();
                buffer.output().iter_mut().zip(backwards).for_each(|(to, from)| *to = *from);
                Ok(100)
            }
            RETIRE => {
                *buffer.output().first_mut().ok_or(Status::BUFFER_TOO_SMALL)? = u8::from(retire()?);
                Ok(1)
            }
            // A code that is not buffered never comes here.
            _ => Ok(0),
        }
    }
}

fn retire() -> Result<bool> {
    let owners = OWNERS.get().ok_or(Status::NOT_FOUND)?;
    Ok(owners.device.as_ref().ok_or(Status::NOT_FOUND)?.retire())
}

/// Nobody has it open.
pub(crate) fn retired() -> Result<()> {
    // It may be said again.
    check!(retire()? && retire()?);
    Ok(())
}
