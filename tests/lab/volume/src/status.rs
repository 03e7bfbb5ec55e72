//! NTSTATUS values used by the volume (`txf-ktm §5`, and ntstatus.h for the rest).

use core::fmt;

/// An NTSTATUS. The volume returns errors as `Err(Status)`, successes as `Ok`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($name:ident = $value:literal,)*) => {
        impl Status {
            $(
                #[doc = concat!("STATUS_", stringify!($name), ", ", stringify!($value), ".")]
                pub const $name: Status = Status($value);
            )*

            /// The name without the `STATUS_` prefix, if this crate knows it.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0x0000_0000,
    PENDING = 0x0000_0103,
    REPARSE = 0x0000_0104,
    OPLOCK_BREAK_IN_PROGRESS = 0x0000_0108,
    NOTIFY_CLEANUP = 0x0000_010B,
    NOTIFY_ENUM_DIR = 0x0000_010C,
    OPLOCK_SWITCHED_TO_NEW_HANDLE = 0x0000_0215,
    OPLOCK_HANDLE_CLOSED = 0x0000_0216,
    NO_MORE_FILES = 0x8000_0006,
    NO_EAS_ON_FILE = 0xC000_0052,
    NONEXISTENT_EA_ENTRY = 0xC000_0051,
    EA_TOO_LARGE = 0xC000_0050,
    EAS_NOT_SUPPORTED = 0xC000_004F,
    INVALID_EA_NAME = 0x8000_0013,
    ACCESS_VIOLATION = 0xC000_0005,
    IN_PAGE_ERROR = 0xC000_0006,
    INVALID_HANDLE = 0xC000_0008,
    INVALID_PARAMETER = 0xC000_000D,
    NO_SUCH_DEVICE = 0xC000_000E,
    NO_SUCH_FILE = 0xC000_000F,
    INVALID_DEVICE_REQUEST = 0xC000_0010,
    END_OF_FILE = 0xC000_0011,
    ACCESS_DENIED = 0xC000_0022,
    OBJECT_TYPE_MISMATCH = 0xC000_0024,
    OBJECT_NAME_INVALID = 0xC000_0033,
    OBJECT_NAME_NOT_FOUND = 0xC000_0034,
    OBJECT_NAME_COLLISION = 0xC000_0035,
    OBJECT_PATH_INVALID = 0xC000_0039,
    OBJECT_PATH_NOT_FOUND = 0xC000_003A,
    SHARING_VIOLATION = 0xC000_0043,
    FILE_LOCK_CONFLICT = 0xC000_0054,
    LOCK_NOT_GRANTED = 0xC000_0055,
    DELETE_PENDING = 0xC000_0056,
    PRIVILEGE_NOT_HELD = 0xC000_0061,
    INVALID_SECURITY_DESCR = 0xC000_0079,
    RANGE_NOT_LOCKED = 0xC000_007E,
    DISK_FULL = 0xC000_007F,
    INSUFFICIENT_RESOURCES = 0xC000_009A,
    DEVICE_POWER_FAILURE = 0xC000_009E,
    FILE_IS_A_DIRECTORY = 0xC000_00BA,
    NOT_SUPPORTED = 0xC000_00BB,
    NOT_SAME_DEVICE = 0xC000_00D4,
    OPLOCK_NOT_GRANTED = 0xC000_00E2,
    INVALID_OPLOCK_PROTOCOL = 0xC000_00E3,
    DIRECTORY_NOT_EMPTY = 0xC000_0101,
    FILE_CORRUPT_ERROR = 0xC000_0102,
    NOT_A_DIRECTORY = 0xC000_0103,
    CANCELLED = 0xC000_0120,
    CANNOT_DELETE = 0xC000_0121,
    FILE_DELETED = 0xC000_0123,
    FILE_CLOSED = 0xC000_0128,
    IO_DEVICE_ERROR = 0xC000_0185,
    INVALID_LOCK_RANGE = 0xC000_01A1,
    NOT_FOUND = 0xC000_0225,
    USER_MAPPED_FILE = 0xC000_0243,
    TOO_MANY_LINKS = 0xC000_0265,
    VOLUME_DISMOUNTED = 0xC000_026E,
    NOT_A_REPARSE_POINT = 0xC000_0275,
    IO_REPARSE_TAG_MISMATCH = 0xC000_0277,
    CANNOT_BREAK_OPLOCK = 0xC000_0909,
    LOG_FULL = 0xC01A_001D,
    TRANSACTIONAL_CONFLICT = 0xC019_0001,
    INVALID_TRANSACTION = 0xC019_0002,
    TRANSACTION_NOT_ACTIVE = 0xC019_0003,
    RM_NOT_ACTIVE = 0xC019_0005,
    TRANSACTION_SUPERIOR_EXISTS = 0xC019_0012,
    TRANSACTION_REQUEST_NOT_VALID = 0xC019_0013,
    TRANSACTION_ALREADY_ABORTED = 0xC019_0015,
    TRANSACTION_ALREADY_COMMITTED = 0xC019_0016,
    STREAM_MINIVERSION_NOT_FOUND = 0xC019_0022,
    HANDLE_NO_LONGER_VALID = 0xC019_0028,
    CANT_BREAK_TRANSACTIONAL_DEPENDENCY = 0xC019_0037,
    EFS_NOT_ALLOWED_IN_TRANSACTION = 0xC019_003E,
    TRANSACTIONAL_OPEN_NOT_ALLOWED = 0xC019_003F,
    CANNOT_EXECUTE_FILE_IN_TRANSACTION = 0xC019_0044,
    TRANSACTION_FREEZE_IN_PROGRESS = 0xC019_0046,
    SPARSE_NOT_ALLOWED_IN_TRANSACTION = 0xC019_0049,
    CANNOT_ACCEPT_TRANSACTED_WORK = 0xC019_004C,
    TRANSACTION_NOT_FOUND = 0xC019_004E,
    ENLISTMENT_NOT_FOUND = 0xC019_0050,
    COMPRESSION_NOT_ALLOWED_IN_TRANSACTION = 0xC019_0056,
    NO_LINK_TRACKING_IN_TRANSACTION = 0xC019_0059,
    OPERATION_NOT_SUPPORTED_IN_TRANSACTION = 0xC019_005A,
    TRANSACTION_MUST_WRITETHROUGH = 0xC019_005E,
    EXPIRED_HANDLE = 0xC019_0060,
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "STATUS_{name} ({:#010X})", self.0),
            None => write!(f, "{:#010X}", self.0),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Status {}
