//! Statuses of the native API, by name.

use std::fmt;

/// An NTSTATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.0) {
            Some(name) => write!(f, "{:#010x} {name}", self.0),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

/// The statuses that the questions are about (txf-ktm §5).
fn name(status: u32) -> Option<&'static str> {
    Some(match status {
        0 => "SUCCESS",
        0x103 => "PENDING",
        0xC000_0003 => "INVALID_INFO_CLASS",
        0xC000_0008 => "INVALID_HANDLE",
        0xC000_000D => "INVALID_PARAMETER",
        0xC000_0010 => "INVALID_DEVICE_REQUEST",
        0xC000_0011 => "END_OF_FILE",
        0xC000_0022 => "ACCESS_DENIED",
        0xC000_0034 => "OBJECT_NAME_NOT_FOUND",
        0xC000_0035 => "OBJECT_NAME_COLLISION",
        0xC000_0043 => "SHARING_VIOLATION",
        0xC000_004F => "EAS_NOT_SUPPORTED",
        0xC000_0054 => "FILE_LOCK_CONFLICT",
        0xC000_0055 => "LOCK_NOT_GRANTED",
        0xC000_0056 => "DELETE_PENDING",
        0xC000_007A => "PROCEDURE_NOT_FOUND",
        0xC000_00BB => "NOT_SUPPORTED",
        0xC000_0123 => "FILE_DELETED",
        0xC000_0243 => "USER_MAPPED_FILE",
        0xC019_0001 => "TRANSACTIONAL_CONFLICT",
        0xC019_0003 => "TRANSACTION_NOT_ACTIVE",
        0xC019_0005 => "RM_NOT_ACTIVE",
        0xC019_0013 => "TRANSACTION_REQUEST_NOT_VALID",
        0xC019_0015 => "TRANSACTION_ALREADY_ABORTED",
        0xC019_0016 => "TRANSACTION_ALREADY_COMMITTED",
        0xC019_0028 => "HANDLE_NO_LONGER_VALID",
        0xC019_0044 => "CANNOT_EXECUTE_FILE_IN_TRANSACTION",
        0xC019_004B => "FLOATED_SECTION",
        0xC019_005A => "OPERATION_NOT_SUPPORTED_IN_TRANSACTION",
        _ => return None,
    })
}
