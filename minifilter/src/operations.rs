//! The operation table: what becomes of each operation on a redirected handle.
//!
//! A redirected handle's own file object is a genuine one of NTFS, opened for attributes only; the file's data in the
//! making is behind its *twin*. So an operation is
//!
//! - **swapped**: sent to the twin, if it touches the file;
//! - **passed** to the handle's own file object, if it is about the handle or the volume;
//! - **refused** with a status that programs know from other file systems, if it modifies in a way that the save
//!   cannot take back, or not yet;
//! - kept out of its **shortcut** form, to come again as a request;
//! - or handled by a module of its own (create, cleanup).
//!
//! What the table does not list is refused if it could modify and passed if it could not: a read that is missed
//! returns old data, a write that is missed would break the promise (minifilter-rules §1.8, design C).

use fltkernel::*;
use kernel::Status;

use crate::save::wounds::Change;

pub mod decision;

#[cfg(windows)]
pub mod cleanup;
#[cfg(windows)]
pub mod create;
#[cfg(windows)]
pub mod existing;
#[cfg(windows)]
pub mod flush;
#[cfg(windows)]
pub mod lock;
#[cfg(windows)]
pub mod new_file;
#[cfg(windows)]
pub mod opening;
#[cfg(windows)]
pub mod reader;
#[cfg(windows)]
pub mod section;
#[cfg(windows)]
pub mod shortcuts;
#[cfg(windows)]
pub mod swap;
#[cfg(windows)]
pub mod write;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// To the twin.
    Swap(Modifies),
    /// To the handle's own file object.
    Pass,
    /// Not at all.
    Refuse(Status),
    /// Not in this form.
    NoShortcut,
}

/// What an operation modifies, for the wounds of the save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifies {
    /// Nothing.
    Nothing,
    /// The bytes that it names.
    Bytes,
    /// The end of the file.
    Size,
    /// Something else of the file.
    Other(Change),
}

/// One line of the table: an operation, and where it matters its information class or control code.
pub struct Row {
    major: u8,
    detail: Option<u32>,
    treatment: Treatment,
}

use Modifies::{Bytes, Nothing, Other, Size};
use Treatment::{NoShortcut, Pass, Refuse, Swap};

const fn row(major: u8, treatment: Treatment) -> Row {
    Row { major, detail: None, treatment }
}

const fn query(class: u32, treatment: Treatment) -> Row {
    Row { major: IRP_MJ_QUERY_INFORMATION, detail: Some(class), treatment }
}

const fn set(class: u32, treatment: Treatment) -> Row {
    Row { major: IRP_MJ_SET_INFORMATION, detail: Some(class), treatment }
}

const fn control(code: u32, treatment: Treatment) -> Row {
    Row { major: IRP_MJ_FILE_SYSTEM_CONTROL, detail: Some(code), treatment }
}

/// Names change in the transaction of a later version of this driver; programs know the status from file systems
/// that cannot do it.
const NO_NAME_CHANGE: Treatment = Refuse(Status::NOT_SUPPORTED);
/// What a volume answers that does not know a control.
const UNKNOWN_CONTROL: Treatment = Refuse(Status::INVALID_DEVICE_REQUEST);
/// NTFS does not do it inside a transaction (its own status is one of TxF's); this is what a file system answers that does
/// not do it at all, and programs then write zeros.
const NO_VALID_DATA_LENGTH: Treatment = Refuse(Status::INVALID_PARAMETER);
/// Oplocks are not granted on a file with a transaction anyway (txf-ktm §4.8).
const NO_OPLOCK: Treatment = Refuse(Status::OPLOCK_NOT_GRANTED);
/// The one failure of a section's creation that is documented to be understood (minifilter-rules §2.2).
pub const NO_SECTION: Status = Status::INSUFFICIENT_RESOURCES;

/// The table. A row without a detail stands for all of its operation that no other row names.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(IRP_MJ_READ,                        Swap(Nothing)),
    row(IRP_MJ_WRITE,                       Swap(Bytes)),
    row(IRP_MJ_FLUSH_BUFFERS,               Swap(Nothing)),
    row(IRP_MJ_LOCK_CONTROL,                Swap(Nothing)),
    row(IRP_MJ_QUERY_EA,                    Swap(Nothing)),
    row(IRP_MJ_SET_EA,                      Swap(Other(Change::ExtendedAttributes))),
    row(IRP_MJ_QUERY_SECURITY,              Swap(Nothing)),
    row(IRP_MJ_SET_SECURITY,                Swap(Other(Change::Security))),

    row(IRP_MJ_QUERY_INFORMATION,           Swap(Nothing)),
    query(8  /* FileAccess */,              Pass),
    query(16 /* FileMode */,                Pass),
    query(17 /* FileAlignment */,           Pass),
    query(43 /* FileIoPriorityHint */,      Pass),

    row(IRP_MJ_SET_INFORMATION,             Refuse(Status::NOT_SUPPORTED)),
    set(4  /* FileBasic */,                 Swap(Other(Change::Basic))),
    set(14 /* FilePosition */,              Pass),
    set(16 /* FileMode */,                  Pass),
    set(19 /* FileAllocation */,            Swap(Other(Change::Allocation))),
    set(20 /* FileEndOfFile */,             Swap(Size)),
    set(30 /* FileCompletion */,            Pass),
    set(39 /* FileValidDataLength */,       NO_VALID_DATA_LENGTH),
    set(41 /* FileIoCompletionNotification */, Pass),
    set(43 /* FileIoPriorityHint */,        Pass),
    set(10 /* FileRename */,                NO_NAME_CHANGE),
    set(11 /* FileLink */,                  NO_NAME_CHANGE),
    set(13 /* FileDisposition */,           NO_NAME_CHANGE),
    set(40 /* FileShortName */,             NO_NAME_CHANGE),
    set(64 /* FileDispositionEx */,         NO_NAME_CHANGE),
    set(65 /* FileRenameEx */,              NO_NAME_CHANGE),
    set(72 /* FileLinkEx */,                NO_NAME_CHANGE),

    row(IRP_MJ_FILE_SYSTEM_CONTROL,         UNKNOWN_CONTROL),
    control(0x0009_0000 /* REQUEST_OPLOCK_LEVEL_1 */,   NO_OPLOCK),
    control(0x0009_0004 /* REQUEST_OPLOCK_LEVEL_2 */,   NO_OPLOCK),
    control(0x0009_0008 /* REQUEST_BATCH_OPLOCK */,     NO_OPLOCK),
    control(0x0009_005C /* REQUEST_FILTER_OPLOCK */,    NO_OPLOCK),
    control(0x0009_0240 /* REQUEST_OPLOCK */,           NO_OPLOCK),
    control(0x0009_003C /* GET_COMPRESSION */,          Swap(Nothing)),
    control(0x0009_40CF /* QUERY_ALLOCATED_RANGES */,   Swap(Nothing)),
    control(0x0009_0073 /* GET_RETRIEVAL_POINTERS */,   Swap(Nothing)),
    control(0x0009_00EB /* READ_FILE_USN_DATA */,       Swap(Nothing)),
    control(0x0009_00A8 /* GET_REPARSE_POINT */,        Swap(Nothing)),
    control(0x0009_009C /* GET_OBJECT_ID */,            Swap(Nothing)),
    control(0x0009_027C /* GET_INTEGRITY_INFORMATION */, Swap(Nothing)),
    control(0x0009_0028 /* IS_VOLUME_MOUNTED */,        Pass),
    control(0x0009_0060 /* FILESYSTEM_GET_STATISTICS */, Pass),
    control(0x0009_0064 /* GET_NTFS_VOLUME_DATA */,     Pass),
    control(0x0009_002C /* IS_PATHNAME_VALID */,        Pass),
    control(0x0009_0078 /* IS_VOLUME_DIRTY */,          Pass),

    row(IRP_MJ_QUERY_VOLUME_INFORMATION,    Pass),
    row(IRP_MJ_SET_VOLUME_INFORMATION,      Pass),
    row(IRP_MJ_QUERY_QUOTA,                 Pass),
    row(IRP_MJ_SET_QUOTA,                   Pass),
    row(IRP_MJ_DIRECTORY_CONTROL,           Pass),
    row(IRP_MJ_DEVICE_CONTROL,              Pass),

    row(IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE,   NoShortcut),
    row(IRP_MJ_MDL_READ,                    NoShortcut),
    row(IRP_MJ_PREPARE_MDL_WRITE,           NoShortcut),
    row(IRP_MJ_MDL_READ_COMPLETE,           Pass),
    row(IRP_MJ_MDL_WRITE_COMPLETE,          Pass),
];

/// What becomes of an operation on a redirected handle. `detail` is its information class or control code.
pub fn treatment(major: u8, detail: Option<u32>) -> Treatment {
    let mut general = None;
    // The rows of an operation stand together, the general one first.
    for row in TABLE.iter().skip_while(|row| row.major != major).take_while(|row| row.major == major) {
        match row.detail {
            None if detail.is_none() => return row.treatment,
            None => general = Some(row.treatment),
            Some(_) if row.detail == detail => return row.treatment,
            Some(_) => {}
        }
    }
    general.unwrap_or(if could_modify(major) { Refuse(Status::NOT_SUPPORTED) } else { Pass })
}

/// Of the operations that the table does not list. Acquires and releases are the memory manager's and have a module
/// of their own; what is left has no way to the data of a file that was opened for attributes.
fn could_modify(major: u8) -> bool {
    !matches!(
        major,
        IRP_MJ_CLOSE
            | IRP_MJ_CLEANUP
            | IRP_MJ_PNP
            | IRP_MJ_SHUTDOWN
            | IRP_MJ_POWER
            | IRP_MJ_SYSTEM_CONTROL
            | IRP_MJ_QUERY_OPEN
            | IRP_MJ_NETWORK_QUERY_OPEN
            | IRP_MJ_VOLUME_MOUNT
            | IRP_MJ_VOLUME_DISMOUNT
            | IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION
            | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
            | IRP_MJ_ACQUIRE_FOR_MOD_WRITE
            | IRP_MJ_RELEASE_FOR_MOD_WRITE
            | IRP_MJ_ACQUIRE_FOR_CC_FLUSH
            | IRP_MJ_RELEASE_FOR_CC_FLUSH
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENAME: u32 = 10;
    const SET_SPARSE: u32 = 0x0009_00C4;
    const SET_ZERO_DATA: u32 = 0x0009_80C8;

    #[test]
    fn no_operation_is_listed_twice() {
        for (index, row) in TABLE.iter().enumerate() {
            let again = TABLE
                .iter()
                .skip(index + 1)
                .any(|other| other.major == row.major && other.detail == row.detail);
            assert!(!again, "{:#x} {:?}", row.major, row.detail);
        }
    }

    #[test]
    fn the_rows_of_an_operation_stand_together_and_the_general_one_first() {
        let majors: Vec<_> = TABLE.chunk_by(|one, next| one.major == next.major).collect();
        for rows in &majors {
            assert_eq!(rows[0].detail, None, "{:#x}", rows[0].major);
            assert_eq!(majors.iter().filter(|other| other[0].major == rows[0].major).count(), 1);
        }
    }

    #[test]
    fn every_row_is_found() {
        for row in TABLE {
            assert_eq!(treatment(row.major, row.detail), row.treatment);
        }
    }

    #[test]
    fn what_reads_or_writes_the_file_goes_to_the_twin() {
        assert_eq!(treatment(IRP_MJ_READ, None), Swap(Nothing));
        assert_eq!(treatment(IRP_MJ_WRITE, None), Swap(Bytes));
        assert_eq!(treatment(IRP_MJ_SET_INFORMATION, Some(20)), Swap(Size));
        assert_eq!(treatment(IRP_MJ_QUERY_INFORMATION, Some(5)), Swap(Nothing));
    }

    #[test]
    fn changes_of_the_name_are_refused() {
        for class in [RENAME, 11, 13, 40, 64, 65, 72] {
            assert_eq!(
                treatment(IRP_MJ_SET_INFORMATION, Some(class)),
                Refuse(Status::NOT_SUPPORTED),
                "{class}"
            );
        }
    }

    #[test]
    fn what_is_not_listed_is_refused_if_it_could_modify() {
        for class in 0..128 {
            let listed =
                TABLE.iter().any(|row| row.major == IRP_MJ_SET_INFORMATION && row.detail == Some(class));
            if !listed {
                assert!(matches!(treatment(IRP_MJ_SET_INFORMATION, Some(class)), Refuse(_)), "{class}");
            }
        }
        for code in [SET_SPARSE, SET_ZERO_DATA, 0x0009_4264, 0x1234_5678] {
            assert!(matches!(treatment(IRP_MJ_FILE_SYSTEM_CONTROL, Some(code)), Refuse(_)), "{code:#x}");
        }
        assert!(matches!(treatment(IRP_MJ_INTERNAL_DEVICE_CONTROL, None), Refuse(_)));
    }

    #[test]
    fn what_ends_a_handle_is_never_refused() {
        for major in [IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_RELEASE_FOR_MOD_WRITE, IRP_MJ_RELEASE_FOR_CC_FLUSH]
        {
            assert_eq!(treatment(major, None), Pass, "{major:#x}");
        }
    }

    /// Only the transacted classes of txf-ktm §4.9 may modify through a twin.
    #[test]
    fn only_what_a_transaction_can_take_back_is_swapped_and_modifies() {
        let modifying: Vec<_> = TABLE
            .iter()
            .filter(|row| matches!(row.treatment, Swap(modifies) if modifies != Nothing))
            .map(|row| (row.major, row.detail))
            .collect();
        let expected = [
            (IRP_MJ_WRITE, None),
            (IRP_MJ_SET_EA, None),
            (IRP_MJ_SET_SECURITY, None),
            (IRP_MJ_SET_INFORMATION, Some(4)),
            (IRP_MJ_SET_INFORMATION, Some(19)),
            (IRP_MJ_SET_INFORMATION, Some(20)),
        ];
        assert_eq!(modifying, expected);
    }
}
