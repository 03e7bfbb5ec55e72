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
//! - or **owned** by a module of its own (create, cleanup, changes of names).
//!
//! The table ([`table`]) lists every operation there is. An information class or control code that it does not list is
//! refused if it could modify and passed if it could not: a read that is missed returns old data, a write that is missed
//! would break the promise (minifilter-rules §1.8, design C). `docs/operations.md` shows the table with its reasons.

use fltkernel::*;
use kernel::Status;

use crate::save::wounds::Change;
use table::{CONTROLS, QUERIES, Row, SETTINGS};

pub mod decision;
pub mod names;
pub mod table;

#[cfg(windows)]
pub mod admission;
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
pub mod removal;
#[cfg(windows)]
pub mod rename;
#[cfg(windows)]
pub mod section;
#[cfg(windows)]
pub mod shortcuts;
#[cfg(windows)]
pub mod swap;
#[cfg(windows)]
pub mod view;
#[cfg(windows)]
pub mod way;
#[cfg(windows)]
pub mod write;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// To the twin.
    Swap(Modifies),
    /// To the handle's own file object.
    Pass,
    /// By a module of its own.
    Own,
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
    /// The bytes of the range that it sets to zero.
    Zeros,
    /// Something else of the file.
    Other(Change),
}

/// An operation: what becomes of it where none of its details is listed, and of those that are.
pub struct Operation {
    major: u8,
    treatment: Treatment,
    /// Information classes or control codes, in the order of their numbers.
    details: &'static [Row],
    #[cfg(test)]
    name: &'static str,
    #[cfg(test)]
    reason: &'static str,
}

/// The text is for the documentation; the driver does not carry it.
const fn operation(
    major: u8,
    name: &'static str,
    treatment: Treatment,
    details: &'static [Row],
    reason: &'static str,
) -> Operation {
    #[cfg(not(test))]
    let _ = (name, reason);
    Operation {
        major,
        treatment,
        details,
        #[cfg(test)]
        name,
        #[cfg(test)]
        reason,
    }
}

use Modifies::{Bytes, Nothing, Other};
use Treatment::{NoShortcut, Own, Pass, Refuse, Swap};

/// What a volume answers that does not know a control.
pub const UNKNOWN_CONTROL: Treatment = Refuse(Status::INVALID_DEVICE_REQUEST);
/// The one failure of a section's creation that is documented to be understood (minifilter-rules §2.2).
pub const NO_SECTION: Status = Status::INSUFFICIENT_RESOURCES;

const EA: Treatment = Swap(Other(Change::ExtendedAttributes));
const SECURITY: Treatment = Swap(Other(Change::Security));
const UNLISTED: Treatment = Refuse(Status::NOT_SUPPORTED);
const NONE: &[Row] = &[];

/// The table: every major function, fast I/O form and file system filter operation of minifilter-rules §2.2. What comes
/// often stands first.
#[rustfmt::skip]
pub const TABLE: &[Operation] = &[
    operation(IRP_MJ_READ, "IRP_MJ_READ", Swap(Nothing), NONE, "the version in the making"),
    operation(IRP_MJ_WRITE, "IRP_MJ_WRITE", Swap(Bytes), NONE, "into the transaction (write.rs)"),
    operation(IRP_MJ_QUERY_INFORMATION, "IRP_MJ_QUERY_INFORMATION", Swap(Nothing), QUERIES, "modifies nothing; classes by the list below"),
    operation(IRP_MJ_SET_INFORMATION, "IRP_MJ_SET_INFORMATION", UNLISTED, SETTINGS, "classes by the list below; one that nobody knows could modify"),
    operation(IRP_MJ_LOCK_CONTROL, "IRP_MJ_LOCK_CONTROL", Swap(Nothing), NONE, "byte-range locks are the twin's, and remembered for the next one (lock.rs)"),
    operation(IRP_MJ_FLUSH_BUFFERS, "IRP_MJ_FLUSH_BUFFERS", Swap(Nothing), NONE, "a checkpoint, or into the transaction (`OnFlush`; flush.rs)"),
    operation(IRP_MJ_FILE_SYSTEM_CONTROL, "IRP_MJ_FILE_SYSTEM_CONTROL", UNKNOWN_CONTROL, CONTROLS, "controls by the list below; one that nobody knows could modify"),
    operation(IRP_MJ_QUERY_EA, "IRP_MJ_QUERY_EA", Swap(Nothing), NONE, "the version in the making"),
    operation(IRP_MJ_SET_EA, "IRP_MJ_SET_EA", EA, NONE, "transacted (txf-ktm §4.10)"),
    operation(IRP_MJ_QUERY_SECURITY, "IRP_MJ_QUERY_SECURITY", Swap(Nothing), NONE, "the version in the making"),
    operation(IRP_MJ_SET_SECURITY, "IRP_MJ_SET_SECURITY", SECURITY, NONE, "transacted (txf-ktm §4.10)"),

    operation(IRP_MJ_CREATE, "IRP_MJ_CREATE", Own, NONE, "where handles get their twins (create.rs)"),
    operation(IRP_MJ_CLEANUP, "IRP_MJ_CLEANUP", Own, NONE, "where saves end; goes on to the handle's own file object, never fails (cleanup.rs)"),
    operation(IRP_MJ_CLOSE, "IRP_MJ_CLOSE", Own, NONE, "ends what no cleanup has ended; goes on, never fails (cleanup.rs)"),

    operation(IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE, "FAST_IO_CHECK_IF_POSSIBLE", NoShortcut, NONE, "reads and writes come as requests"),
    operation(IRP_MJ_MDL_READ, "MDL_READ", NoShortcut, NONE, "would lend pages of the own file object's cache"),
    operation(IRP_MJ_PREPARE_MDL_WRITE, "PREPARE_MDL_WRITE", NoShortcut, NONE, "would lend pages of the own file object's cache"),
    operation(IRP_MJ_MDL_READ_COMPLETE, "MDL_READ_COMPLETE", Pass, NONE, "gives back what was never lent"),
    operation(IRP_MJ_MDL_WRITE_COMPLETE, "MDL_WRITE_COMPLETE", Pass, NONE, "gives back what was never lent"),
    operation(IRP_MJ_NETWORK_QUERY_OPEN, "NETWORK_QUERY_OPEN", Own, NONE, "has no handle: in a process with a save it comes again as a create (shortcuts.rs)"),
    operation(IRP_MJ_QUERY_OPEN, "QUERY_OPEN", Own, NONE, "has no handle: in a process with a save it comes again as a create (shortcuts.rs)"),

    operation(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, "ACQUIRE_FOR_SECTION_SYNCHRONIZATION", Own, NONE, "a section of a writing handle becomes one of its twin, and for an image its save does without a transaction (section.rs); other acquires pass"),
    operation(IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION, "RELEASE_FOR_SECTION_SYNCHRONIZATION", Own, NONE, "the section is made (section.rs); it passes, as its acquire did"),
    operation(IRP_MJ_ACQUIRE_FOR_MOD_WRITE, "ACQUIRE_FOR_MOD_WRITE", Pass, NONE, "nothing is cached or mapped through the own file object; the twin's pages are written below"),
    operation(IRP_MJ_RELEASE_FOR_MOD_WRITE, "RELEASE_FOR_MOD_WRITE", Pass, NONE, "of the same file object as its acquire"),
    operation(IRP_MJ_ACQUIRE_FOR_CC_FLUSH, "ACQUIRE_FOR_CC_FLUSH", Pass, NONE, "nothing is cached or mapped through the own file object; the twin's pages are written below"),
    operation(IRP_MJ_RELEASE_FOR_CC_FLUSH, "RELEASE_FOR_CC_FLUSH", Pass, NONE, "of the same file object as its acquire"),

    operation(IRP_MJ_QUERY_VOLUME_INFORMATION, "IRP_MJ_QUERY_VOLUME_INFORMATION", Pass, NONE, "about the volume"),
    operation(IRP_MJ_SET_VOLUME_INFORMATION, "IRP_MJ_SET_VOLUME_INFORMATION", Pass, NONE, "about the volume"),
    operation(IRP_MJ_QUERY_QUOTA, "IRP_MJ_QUERY_QUOTA", Pass, NONE, "about the volume"),
    operation(IRP_MJ_SET_QUOTA, "IRP_MJ_SET_QUOTA", Pass, NONE, "about the volume"),
    operation(IRP_MJ_DIRECTORY_CONTROL, "IRP_MJ_DIRECTORY_CONTROL", Pass, NONE, "for folders, which are never redirected; a file answers that it is none"),
    operation(IRP_MJ_DEVICE_CONTROL, "IRP_MJ_DEVICE_CONTROL", Pass, NONE, "for the device below the volume, which a file's handle does not reach"),
    operation(IRP_MJ_INTERNAL_DEVICE_CONTROL, "IRP_MJ_INTERNAL_DEVICE_CONTROL", Pass, NONE, "between drivers; the file system has none for files"),
    operation(IRP_MJ_CREATE_NAMED_PIPE, "IRP_MJ_CREATE_NAMED_PIPE", Pass, NONE, "not of volumes"),
    operation(IRP_MJ_CREATE_MAILSLOT, "IRP_MJ_CREATE_MAILSLOT", Pass, NONE, "not of volumes"),
    operation(IRP_MJ_PNP, "IRP_MJ_PNP", Own, NONE, "saves without a handle end before the device is asked to go (removal.rs); it passes"),
    operation(IRP_MJ_SHUTDOWN, "IRP_MJ_SHUTDOWN", Own, NONE, "saves end (removal.rs); it passes"),
    operation(IRP_MJ_POWER, "IRP_MJ_POWER", Pass, NONE, "not offered to filters of files"),
    operation(IRP_MJ_SYSTEM_CONTROL, "IRP_MJ_SYSTEM_CONTROL", Pass, NONE, "about the device"),
    operation(IRP_MJ_DEVICE_CHANGE, "IRP_MJ_DEVICE_CHANGE", Pass, NONE, "about the device"),
    operation(IRP_MJ_VOLUME_MOUNT, "VOLUME_MOUNT", Pass, NONE, "instance set-up decides"),
    operation(IRP_MJ_VOLUME_DISMOUNT, "VOLUME_DISMOUNT", Pass, NONE, "instance teardown rolls back what is open"),
];

/// Whether it is a control that TxF need not take (txf-ktm §4.9), and that the save can do without a transaction for.
pub fn may_do_without(detail: Option<u32>) -> bool {
    const FSCTL_SET_SPARSE: u32 = 0x0009_00C4;
    const FSCTL_SET_ZERO_DATA: u32 = 0x0009_80C8;
    matches!(detail, Some(FSCTL_SET_SPARSE | FSCTL_SET_ZERO_DATA))
}

/// What becomes of an operation on a redirected handle. `detail` is its information class or control code.
pub fn treatment(major: u8, detail: Option<u32>) -> Treatment {
    let Some(operation) = TABLE.iter().find(|operation| operation.major == major) else { return UNLISTED };
    let listed = detail.and_then(|detail| {
        let index = operation.details.binary_search_by_key(&detail, |row| row.detail).ok()?;
        operation.details.get(index)
    });
    listed.map_or(operation.treatment, |row| row.treatment)
}

/// Whether the filter has to see an operation for its treatment to take effect.
pub const fn must_be_seen(major: u8) -> bool {
    let mut rest = TABLE;
    while let [operation, others @ ..] = rest {
        if operation.major == major {
            return !matches!(operation.treatment, Treatment::Pass) || !operation.details.is_empty();
        }
        rest = others;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::Modifies::Size;
    use super::*;

    /// Every code of minifilter-rules §2.1 but the one that ends a registration.
    fn majors() -> impl Iterator<Item = u8> {
        (0..=0x1B)
            .chain([0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF3, 0xF2, 0xF1, 0xF0, 0xEF, 0xEE, 0xED, 0xEC])
    }

    #[test]
    fn every_operation_is_listed_once() {
        for major in majors() {
            let count = TABLE.iter().filter(|operation| operation.major == major).count();
            assert_eq!(count, 1, "{major:#x}");
        }
        assert_eq!(TABLE.len(), majors().count());
    }

    #[test]
    fn details_stand_in_the_order_of_their_numbers_and_every_one_is_found() {
        for operation in TABLE {
            let sorted = operation.details.windows(2).all(|pair| pair[0].detail < pair[1].detail);
            assert!(sorted, "{}", operation.name);
            for row in operation.details {
                assert_eq!(treatment(operation.major, Some(row.detail)), row.treatment, "{}", row.name);
            }
        }
    }

    #[test]
    fn everything_has_a_name_and_a_reason() {
        for operation in TABLE {
            assert!(!operation.name.is_empty() && !operation.reason.is_empty());
            for row in operation.details {
                assert!(!row.name.is_empty() && !row.reason.is_empty(), "{:#x}", row.detail);
            }
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
    fn changes_of_names_are_owned() {
        for class in 0..128 {
            let owned = treatment(IRP_MJ_SET_INFORMATION, Some(class)) == Own;
            assert_eq!(owned, names::is_about_names(class), "{class}");
        }
    }

    #[test]
    fn what_is_not_listed_is_refused_if_it_could_modify() {
        let listed = |details: &[Row], detail: u32| details.iter().any(|row| row.detail == detail);
        for class in (0..128).filter(|&class| !listed(SETTINGS, class)) {
            assert!(matches!(treatment(IRP_MJ_SET_INFORMATION, Some(class)), Refuse(_)), "{class}");
        }
        for code in [0x0009_4264, 0x1234_5678, 0, u32::MAX] {
            assert!(!listed(CONTROLS, code));
            assert_eq!(treatment(IRP_MJ_FILE_SYSTEM_CONTROL, Some(code)), UNKNOWN_CONTROL, "{code:#x}");
        }
        assert!(matches!(treatment(0x77, None), Refuse(_)), "an operation that nobody knows");
    }

    /// A refusal that programs do not know would be worse than none.
    #[test]
    fn no_refusal_speaks_of_transactions() {
        let rows = TABLE.iter().flat_map(|operation| operation.details.iter().map(|row| row.treatment));
        for treatment in TABLE.iter().map(|operation| operation.treatment).chain(rows) {
            if let Refuse(status) = treatment {
                assert!(status.is_error() && !status.is_transactional(), "{status:?}");
            }
        }
    }

    #[test]
    fn what_ends_a_handle_is_never_refused() {
        for major in [IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_RELEASE_FOR_MOD_WRITE, IRP_MJ_RELEASE_FOR_CC_FLUSH]
        {
            assert!(!matches!(treatment(major, None), Refuse(_)), "{major:#x}");
        }
    }

    /// Only the transacted classes of txf-ktm §4.9 may modify through a twin, and what TxF itself refuses if it cannot.
    #[test]
    fn only_what_a_transaction_can_take_back_is_swapped_and_modifies() {
        let modifies = |treatment| matches!(treatment, Swap(modifies) if modifies != Nothing);
        let mut modifying = Vec::new();
        for operation in TABLE {
            if modifies(operation.treatment) {
                modifying.push((operation.name, None));
            }
            let details = operation.details.iter().filter(|row| modifies(row.treatment));
            modifying.extend(details.map(|row| (row.name, Some(row.detail))));
        }
        let expected = [
            ("IRP_MJ_WRITE", None),
            ("FileBasicInformation", Some(4)),
            ("FileAllocationInformation", Some(19)),
            ("FileEndOfFileInformation", Some(20)),
            ("FSCTL_SET_SPARSE", Some(0x0009_00C4)),
            ("FSCTL_SET_ZERO_DATA", Some(0x0009_80C8)),
            ("IRP_MJ_SET_EA", None),
            ("IRP_MJ_SET_SECURITY", None),
        ];
        assert_eq!(modifying, expected);
    }
}
