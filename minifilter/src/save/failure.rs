//! Whose failure is it? A request that the file system could not carry out wounds the save; a request that the
//! program got wrong, or that lost against somebody else's lock, changes nothing that it could rely on.

/// What a failed modification says about the save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The caller's own: the request was never valid, was not allowed, or was cancelled before it began.
    Caller,
    /// The file system could not do what was asked: the save is wounded until the same is done successfully.
    Wound,
    /// The transaction is gone: nothing that follows on this handle can succeed.
    TransactionGone,
}

/// Failures that are the caller's own. Everything that is not listed wounds: an unknown failure must not be
/// taken for a success.
const CALLER: [u32; 31] = [
    0xC000_0002, // STATUS_NOT_IMPLEMENTED
    0xC000_0003, // STATUS_INVALID_INFO_CLASS
    0xC000_0004, // STATUS_INFO_LENGTH_MISMATCH
    0xC000_0005, // STATUS_ACCESS_VIOLATION: the caller's buffer
    0xC000_0008, // STATUS_INVALID_HANDLE
    0xC000_000D, // STATUS_INVALID_PARAMETER
    0xC000_0010, // STATUS_INVALID_DEVICE_REQUEST
    0xC000_0022, // STATUS_ACCESS_DENIED
    0xC000_0024, // STATUS_OBJECT_TYPE_MISMATCH
    0xC000_0033, // STATUS_OBJECT_NAME_INVALID
    0xC000_0034, // STATUS_OBJECT_NAME_NOT_FOUND
    0xC000_0035, // STATUS_OBJECT_NAME_COLLISION
    0xC000_0039, // STATUS_OBJECT_PATH_INVALID
    0xC000_003A, // STATUS_OBJECT_PATH_NOT_FOUND
    0xC000_003B, // STATUS_OBJECT_PATH_SYNTAX_BAD
    0xC000_0043, // STATUS_SHARING_VIOLATION
    0xC000_0054, // STATUS_FILE_LOCK_CONFLICT
    0xC000_0055, // STATUS_LOCK_NOT_GRANTED
    0xC000_0061, // STATUS_PRIVILEGE_NOT_HELD
    0xC000_0056, // STATUS_DELETE_PENDING
    0xC000_007E, // STATUS_RANGE_NOT_LOCKED
    0xC000_00BA, // STATUS_FILE_IS_A_DIRECTORY
    0xC000_00BB, // STATUS_NOT_SUPPORTED
    0xC000_00D4, // STATUS_NOT_SAME_DEVICE
    0xC000_0103, // STATUS_NOT_A_DIRECTORY
    0xC000_0120, // STATUS_CANCELLED
    0xC000_0121, // STATUS_CANNOT_DELETE
    0xC000_0243, // STATUS_USER_MAPPED_FILE
    0xC000_0123, // STATUS_FILE_DELETED
    0xC000_0265, // STATUS_TOO_MANY_LINKS
    0x8000_0005, // STATUS_BUFFER_OVERFLOW
];

/// Statuses by which NTFS says that the transaction has ended under the handle
/// (txf-ktm §4.4: 0xC0190028 on operations, 0xC0190003 on opens, 0xC0190060 when the resource manager restarted).
const GONE: [u32; 5] = [
    0xC019_0003, // STATUS_TRANSACTION_NOT_ACTIVE
    0xC019_0015, // STATUS_TRANSACTION_ALREADY_ABORTED
    0xC019_0028, // STATUS_HANDLE_NO_LONGER_VALID
    0xC019_0060, // STATUS_EXPIRED_HANDLE
    0xC019_0005, // STATUS_RM_NOT_ACTIVE
];

/// Statuses by which TxF says that it does not do this at all (txf-ktm §4.9): nothing was done, and programs know it from
/// volumes that cannot.
const UNSUPPORTED: [u32; 5] = [
    0xC019_003E, // STATUS_EFS_NOT_ALLOWED_IN_TRANSACTION
    0xC019_0049, // STATUS_SPARSE_NOT_ALLOWED_IN_TRANSACTION
    0xC019_0056, // STATUS_COMPRESSION_NOT_ALLOWED_IN_TRANSACTION
    0xC019_0059, // STATUS_NO_LINK_TRACKING_IN_TRANSACTION
    0xC019_005A, // STATUS_OPERATION_NOT_SUPPORTED_IN_TRANSACTION
];

/// Whether a transaction cannot do what was asked for.
pub fn is_unsupported(status: u32) -> bool {
    UNSUPPORTED.contains(&status)
}

/// Statuses by which TxF says that its log is full and cannot grow (txf-ktm §4.6, §4.12): programs know them as a disk that
/// is full.
const LOG_FULL: [u32; 2] = [
    0xC01A_001D, // STATUS_LOG_FULL
    0xC019_0019, // STATUS_LOG_GROWTH_FAILED
];

/// What a program is told of a failure on a twin. What TxF and its log say themselves no program knows that has no
/// transactions.
pub fn told(status: u32) -> u32 {
    const INVALID_DEVICE_REQUEST: u32 = 0xC000_0010;
    const DISK_FULL: u32 = 0xC000_007F;
    const UNEXPECTED_IO_ERROR: u32 = 0xC000_00E9;
    if is_unsupported(status) {
        INVALID_DEVICE_REQUEST
    } else if LOG_FULL.contains(&status) {
        DISK_FULL
    } else if matches!(status >> 16, 0xC019 | 0xC01A) {
        UNEXPECTED_IO_ERROR
    } else {
        status
    }
}

/// Says whose failure an unsuccessful `status` is.
pub fn classify(status: u32) -> Failure {
    if GONE.contains(&status) {
        Failure::TransactionGone
    } else if CALLER.contains(&status) {
        Failure::Caller
    } else {
        Failure::Wound
    }
}

/// Whether an open failed because a transaction could not be had, so that the same open without one may succeed
/// (txf-ktm §5: the classification used in the field is the whole facility range).
pub fn is_transaction_problem(status: u32) -> bool {
    const STATUS_FILE_LOCK_CONFLICT: u32 = 0xC000_0054; // from FltCreateFileEx2: the NTFS log is full
    const STATUS_LOG_FULL: u32 = 0xC01A_001D;
    (0xC019_0001..=0xC019_0061).contains(&status)
        || status == STATUS_FILE_LOCK_CONFLICT
        || status == STATUS_LOG_FULL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_wounds() {
        // DISK_FULL, QUOTA_EXCEEDED, INSUFFICIENT_RESOURCES, IO_DEVICE_ERROR, UNEXPECTED_IO_ERROR, UNSUCCESSFUL
        for status in [0xC000_007F, 0xC000_0044, 0xC000_009A, 0xC000_0185, 0xC000_00E9, 0xC000_0001] {
            assert_eq!(classify(status), Failure::Wound, "{status:#X}");
        }
    }

    #[test]
    fn what_the_program_got_wrong_wounds_nothing() {
        for status in [0xC000_000D, 0xC000_0022, 0xC000_0054, 0xC000_0120] {
            assert_eq!(classify(status), Failure::Caller, "{status:#X}");
        }
    }

    #[test]
    fn an_unknown_failure_wounds() {
        assert_eq!(classify(0xC0DE_0001), Failure::Wound);
    }

    #[test]
    fn an_ended_transaction_is_recognised() {
        assert_eq!(classify(0xC019_0028), Failure::TransactionGone);
    }

    #[test]
    fn no_program_is_told_of_transactions() {
        for (status, expected) in [
            (0xC019_0028, 0xC000_00E9), // HANDLE_NO_LONGER_VALID
            (0xC019_004C, 0xC000_00E9), // CANNOT_ACCEPT_TRANSACTED_WORK
            (0xC01A_000D, 0xC000_00E9), // LOG_METADATA_CORRUPT
            (0xC01A_001D, 0xC000_007F), // LOG_FULL
            (0xC019_0019, 0xC000_007F), // LOG_GROWTH_FAILED
            (0xC019_0049, 0xC000_0010), // SPARSE_NOT_ALLOWED_IN_TRANSACTION
        ] {
            assert_eq!(told(status), expected, "{status:#X}");
        }
        for status in [0, 0x103, 0xC000_007F, 0xC000_026E, 0x8000_0005] {
            assert_eq!(told(status), status, "{status:#X}");
        }
    }

    #[test]
    fn only_transaction_problems_let_an_open_pass_without_one() {
        assert!(is_transaction_problem(0xC019_0001));
        assert!(is_transaction_problem(0xC019_0061));
        assert!(!is_transaction_problem(0xC019_0062));
        assert!(!is_transaction_problem(0xC000_0022));
    }
}
