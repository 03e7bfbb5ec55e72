//! Calls on the control devices of drivers.

use std::rc::Rc;

use lab_volume::Status;

use super::{Caller, CreateOptions, Created, Handle};
use crate::io::device::{self, Device};

impl Caller<'_> {
    pub(super) fn open_device(
        &self,
        device: &Rc<Device>,
        rest: &str,
        options: &CreateOptions,
    ) -> Result<Created, Status> {
        let open = device::request(rest, options.access, options.share, options.disposition, options.options);
        match device::open(self.lab, device, &open, options.inherit) {
            Ok((handle, information)) => Ok(Created {
                handle: Handle(handle),
                status: Status::SUCCESS,
                information: information as u32,
            }),
            Err(status) => Err(Status(status.cast_unsigned())),
        }
    }

    /// NtDeviceIoControlFile on a driver's device, opened by `\\.\Name`. Returns as many of `output` bytes as the driver
    /// gave; those of a STATUS_BUFFER_OVERFLOW too.
    ///
    /// # Errors
    /// What the driver answers; ACCESS_DENIED if the handle lacks access that the code demands; OBJECT_TYPE_MISMATCH for
    /// a handle of something else.
    pub fn device_control(
        &self,
        handle: Handle,
        code: u32,
        input: &[u8],
        output: usize,
    ) -> Result<Vec<u8>, Status> {
        match device::control(self.lab, handle.0, code, input, output) {
            Some(result) => result.map_err(|status| Status(status.cast_unsigned())),
            None => Err(Status::OBJECT_TYPE_MISMATCH),
        }
    }
}
