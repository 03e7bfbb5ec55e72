//! What a Linux program sees when the volume says no: NTSTATUS to errno, in one table.
//!
//! A program tells these apart, so the choice follows what the Linux call would have returned for the same
//! cause. What is not in the table becomes `EIO`.

use lab_volume::Status;

/// The errno for a status that means failure.
pub fn from_status(status: Status) -> i32 {
    TABLE.iter().find(|(code, _)| *code == status.0).map_or(libc::EIO, |(_, errno)| *errno)
}

macro_rules! table {
    ($($status:ident $code:literal => $errno:ident)*) => {
        const TABLE: &[(u32, i32)] = &[$(($code, libc::$errno)),*];
    };
}

table! {
    STATUS_BUFFER_OVERFLOW            0x8000_0005 => ERANGE
    STATUS_NO_MORE_FILES              0x8000_0006 => ENOENT
    STATUS_UNSUCCESSFUL               0xC000_0001 => EIO
    STATUS_NOT_IMPLEMENTED            0xC000_0002 => EOPNOTSUPP
    STATUS_INVALID_INFO_CLASS         0xC000_0003 => EINVAL
    STATUS_INFO_LENGTH_MISMATCH       0xC000_0004 => EINVAL
    STATUS_INVALID_HANDLE             0xC000_0008 => EBADF
    STATUS_INVALID_PARAMETER          0xC000_000D => EINVAL
    STATUS_NO_SUCH_FILE               0xC000_000F => ENOENT
    STATUS_INVALID_DEVICE_REQUEST     0xC000_0010 => EOPNOTSUPP
    STATUS_ACCESS_DENIED              0xC000_0022 => EACCES
    STATUS_BUFFER_TOO_SMALL           0xC000_0023 => ERANGE
    STATUS_OBJECT_NAME_INVALID        0xC000_0033 => EINVAL
    STATUS_OBJECT_NAME_NOT_FOUND      0xC000_0034 => ENOENT
    STATUS_OBJECT_NAME_COLLISION      0xC000_0035 => EEXIST
    STATUS_OBJECT_PATH_INVALID        0xC000_0039 => EINVAL
    STATUS_OBJECT_PATH_NOT_FOUND      0xC000_003A => ENOENT
    STATUS_OBJECT_PATH_SYNTAX_BAD     0xC000_003B => EINVAL
    STATUS_DATA_ERROR                 0xC000_003E => EIO
    STATUS_SHARING_VIOLATION          0xC000_0043 => EBUSY
    STATUS_QUOTA_EXCEEDED             0xC000_0044 => EDQUOT
    STATUS_EA_TOO_LARGE               0xC000_0050 => E2BIG
    STATUS_FILE_LOCK_CONFLICT         0xC000_0054 => EAGAIN
    STATUS_LOCK_NOT_GRANTED           0xC000_0055 => EAGAIN
    STATUS_DELETE_PENDING             0xC000_0056 => EBUSY
    STATUS_PRIVILEGE_NOT_HELD         0xC000_0061 => EPERM
    STATUS_DISK_FULL                  0xC000_007F => ENOSPC
    STATUS_INSUFFICIENT_RESOURCES     0xC000_009A => ENOMEM
    STATUS_DEVICE_POWER_FAILURE       0xC000_009E => EIO
    STATUS_MEDIA_WRITE_PROTECTED      0xC000_00A2 => EROFS
    STATUS_FILE_IS_A_DIRECTORY        0xC000_00BA => EISDIR
    STATUS_NOT_SUPPORTED              0xC000_00BB => EOPNOTSUPP
    STATUS_NOT_SAME_DEVICE            0xC000_00D4 => EXDEV
    STATUS_UNEXPECTED_IO_ERROR        0xC000_00E9 => EIO
    STATUS_DIRECTORY_NOT_EMPTY        0xC000_0101 => ENOTEMPTY
    STATUS_FILE_CORRUPT_ERROR         0xC000_0102 => EIO
    STATUS_NOT_A_DIRECTORY            0xC000_0103 => ENOTDIR
    STATUS_NAME_TOO_LONG              0xC000_0106 => ENAMETOOLONG
    STATUS_TOO_MANY_OPENED_FILES      0xC000_011F => EMFILE
    STATUS_CANCELLED                  0xC000_0120 => EINTR
    STATUS_CANNOT_DELETE              0xC000_0121 => EACCES
    STATUS_FILE_DELETED               0xC000_0123 => ENOENT
    STATUS_IO_DEVICE_ERROR            0xC000_0185 => EIO
    STATUS_FILE_INVALID               0xC000_0098 => EIO
    STATUS_USER_MAPPED_FILE           0xC000_0243 => EBUSY
    STATUS_TOO_MANY_LINKS             0xC000_0265 => EMLINK
    STATUS_NOT_A_REPARSE_POINT        0xC000_0275 => EINVAL
    STATUS_REPARSE_POINT_ENCOUNTERED  0xC000_050B => ELOOP
    STATUS_TRANSACTIONAL_CONFLICT     0xC019_0001 => EBUSY
    STATUS_TRANSACTION_NOT_ACTIVE     0xC019_0003 => EIO
    STATUS_LOG_FULL                   0xC01A_0029 => ENOSPC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_full_disk_and_a_sharing_violation_is_a_busy_file() {
        assert_eq!(from_status(Status(0xC000_007F)), libc::ENOSPC);
        assert_eq!(from_status(Status(0xC000_0043)), libc::EBUSY);
    }

    #[test]
    fn an_unknown_status_is_an_io_error() {
        assert_eq!(from_status(Status(0xC0DE_0001)), libc::EIO);
    }

    #[test]
    fn no_status_is_listed_twice() {
        let mut codes: Vec<u32> = TABLE.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), TABLE.len());
    }
}
