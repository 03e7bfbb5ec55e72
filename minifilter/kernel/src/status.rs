//! NT status codes as a type.

use core::fmt;

/// An NT status: what a kernel routine answered.
///
/// Severity is in the top two bits: success, information, warning, error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Status(pub i32);

/// What fails with a status.
pub type Result<T> = core::result::Result<T, Status>;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($value as i32);)*
        }
    };
}

statuses! {
    /// It worked.
    SUCCESS = 0x0000_0000_u32;
    /// The operation is under way; as the exit status of a process: it is alive.
    PENDING = 0x0000_0103_u32;
    /// The open has to be repeated elsewhere.
    REPARSE = 0x0000_0104_u32;
    /// The open succeeded, but an oplock is being broken.
    OPLOCK_BREAK_IN_PROGRESS = 0x0000_0108_u32;
    /// A wait ended because its time was over.
    TIMEOUT = 0x0000_0102_u32;
    /// Not all of the data fitted.
    BUFFER_OVERFLOW = 0x8000_0005_u32;
    /// An enumeration is over.
    NO_MORE_ENTRIES = 0x8000_001A_u32;
    /// Unspecified failure.
    UNSUCCESSFUL = 0xC000_0001_u32;
    /// This information class is not served.
    INVALID_INFO_CLASS = 0xC000_0003_u32;
    /// The buffer's length does not fit the request.
    INFO_LENGTH_MISMATCH = 0xC000_0004_u32;
    /// A handle that is none.
    INVALID_HANDLE = 0xC000_0008_u32;
    /// An argument is wrong.
    INVALID_PARAMETER = 0xC000_000D_u32;
    /// This file system does not know the request.
    INVALID_DEVICE_REQUEST = 0xC000_0010_u32;
    /// Read past the end.
    END_OF_FILE = 0xC000_0011_u32;
    /// The caller has no right to it.
    ACCESS_DENIED = 0xC000_0022_u32;
    /// The buffer is too small for anything.
    BUFFER_TOO_SMALL = 0xC000_0023_u32;
    /// This cannot be a name.
    OBJECT_NAME_INVALID = 0xC000_0033_u32;
    /// No such name.
    OBJECT_NAME_NOT_FOUND = 0xC000_0034_u32;
    /// The name exists.
    OBJECT_NAME_COLLISION = 0xC000_0035_u32;
    /// A folder of the path does not exist.
    OBJECT_PATH_NOT_FOUND = 0xC000_003A_u32;
    /// Others have the file open in a way that excludes this open.
    SHARING_VIOLATION = 0xC000_0043_u32;
    /// The quota is used up.
    QUOTA_EXCEEDED = 0xC000_0044_u32;
    /// A byte range is locked by others.
    FILE_LOCK_CONFLICT = 0xC000_0054_u32;
    /// The lock was not granted.
    LOCK_NOT_GRANTED = 0xC000_0055_u32;
    /// The file is being deleted.
    DELETE_PENDING = 0xC000_0056_u32;
    /// There is no such lock.
    RANGE_NOT_LOCKED = 0xC000_007E_u32;
    /// The disk is full.
    DISK_FULL = 0xC000_007F_u32;
    /// Out of memory or another resource.
    INSUFFICIENT_RESOURCES = 0xC000_009A_u32;
    /// The volume is write-protected.
    MEDIA_WRITE_PROTECTED = 0xC000_00A2_u32;
    /// It is a directory.
    FILE_IS_A_DIRECTORY = 0xC000_00BA_u32;
    /// It took too long.
    IO_TIMEOUT = 0xC000_00B5_u32;
    /// Not supported here.
    NOT_SUPPORTED = 0xC000_00BB_u32;
    /// The oplock was not granted.
    OPLOCK_NOT_GRANTED = 0xC000_00E2_u32;
    /// No oplock is being broken that could be acknowledged.
    INVALID_OPLOCK_PROTOCOL = 0xC000_00E3_u32;
    /// An I/O error that does not fit elsewhere.
    UNEXPECTED_IO_ERROR = 0xC000_00E9_u32;
    /// A read-only file is not deleted.
    CANNOT_DELETE = 0xC000_0121_u32;
    /// The registry key was deleted; the handle to it is still there.
    KEY_DELETED = 0xC000_017C_u32;
    /// The request was cancelled.
    CANCELLED = 0xC000_0120_u32;
    /// The file object is closed.
    FILE_CLOSED = 0xC000_0128_u32;
    /// The file is mapped.
    USER_MAPPED_FILE = 0xC000_0243_u32;
    /// A file cannot grow to that.
    FILE_TOO_LARGE = 0xC000_0904_u32;
    /// The log of the volume is full.
    LOG_FILE_FULL = 0xC000_0188_u32;
    /// No such object.
    NOT_FOUND = 0xC000_0225_u32;
    /// This file cannot be read by offload.
    OFFLOAD_READ_FILE_NOT_SUPPORTED = 0xC000_A2A3_u32;
    /// This file cannot be written by offload.
    OFFLOAD_WRITE_FILE_NOT_SUPPORTED = 0xC000_A2A4_u32;
    /// Transaction: another open is in the way (txf-ktm §4.2).
    TRANSACTIONAL_CONFLICT = 0xC019_0001_u32;
    /// Transaction: it has ended (§4.4).
    TRANSACTION_NOT_ACTIVE = 0xC019_0003_u32;
    /// Transaction: it was rolled back.
    TRANSACTION_ALREADY_ABORTED = 0xC019_0015_u32;
    /// Transaction: the handle died with its transaction (§4.4).
    HANDLE_NO_LONGER_VALID = 0xC019_0028_u32;
    /// Filter Manager: do not attach here.
    FLT_DO_NOT_ATTACH = 0xC01C_000F_u32;
    /// Filter Manager: do not detach now.
    FLT_DO_NOT_DETACH = 0xC01C_0010_u32;
}

impl Status {
    /// Success and information: bit 31 is clear.
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// Severity error; warnings are not.
    pub const fn is_error(self) -> bool {
        (self.0 as u32) >= 0xC000_0000
    }

    /// The component that made it.
    pub const fn facility(self) -> u16 {
        ((self.0 as u32 >> 16) & 0x0FFF) as u16
    }

    /// An error of KTM or TxF: facility 0x19 (txf-ktm §5).
    pub const fn is_transactional(self) -> bool {
        self.is_error() && self.facility() == 0x19
    }

    /// `Ok` if it is a success.
    pub const fn ok(self) -> Result<()> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X}", self.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn warnings_are_neither_success_nor_error() {
        assert!(!Status::BUFFER_OVERFLOW.is_success());
        assert!(!Status::BUFFER_OVERFLOW.is_error());
    }

    #[test]
    fn the_facility_tells_transaction_statuses_from_those_of_the_filter_manager() {
        assert!(Status::TRANSACTIONAL_CONFLICT.is_transactional());
        assert!(!Status::FLT_DO_NOT_DETACH.is_transactional());
        assert!(!Status::DISK_FULL.is_transactional());
    }
}
