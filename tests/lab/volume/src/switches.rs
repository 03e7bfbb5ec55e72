//! Behaviour of NTFS and TxF that is not documented: one switch each, tests run both ways.

use crate::Status;

/// What happens to a transaction that has a modified file with a live user-writable view when it commits
/// (`txf-ktm §4.5`, `§9` rule 9, open question (f)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritableView {
    /// It is rolled back: what Microsoft tells transactional file systems to do.
    Abort,
    /// It commits what has reached the transaction so far.
    Partial,
    /// The commit waits: the volume answers PREPARE with pending until the view is gone.
    Wait,
}

/// Switches of a volume. `Default` is the documented or the most likely behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Whether the volume has TxF: FILE_SUPPORTS_TRANSACTIONS is reported (`txf-ktm §4.11`).
    pub transactions: bool,
    /// Status of a transacted open where there is no TxF (`disabletxf`; `txf-ktm §4.12`, open question (a)).
    pub no_transactions: Status,
    /// Whether the resource manager runs. If not, transacted opens get RM_NOT_ACTIVE (`txf-ktm §4.12`).
    pub resource_manager_active: bool,
    /// `SUCCESS`, or what every transacted open gets instead: transient shortages such as
    /// CANNOT_ACCEPT_TRANSACTED_WORK (`txf-ktm §4.12`) or FILE_LOCK_CONFLICT for a full log (`§2`).
    pub transacted_open: Status,
    /// Whether opening a directory as the target of a rename or link locks it as a transacted writer would, and
    /// outside transactions keeps transacted opens out as a writer would: the page warns of sharing violations for opens with FILE_ADD_FILE (`txf-ktm §4.3`), not saying
    /// whether this kind is meant.
    pub target_directory_is_writer: bool,
    /// Whether a non-transacted handle that has only FILE_WRITE_ATTRIBUTES of the writer rights makes a
    /// transacted open fail (`txf-ktm §4.2`, open question (j)).
    pub write_attributes_alone_is_writer: bool,
    /// Whether a file that a transaction opened for writing, but has not modified, stays locked after that
    /// handle is closed. Not documented; yes is the safer assumption.
    pub lock_outlives_unmodified_handle: bool,
    /// Whether a later open by the modifying transaction itself may have FILE_EXECUTE. The page grants it
    /// only to transacted readers (`txf-ktm §4.2`); taken literally this is no.
    pub execute_in_modifying_transaction: bool,
    /// What a commit does about writable views.
    pub writable_view_at_commit: WritableView,
    /// Whether FILE_SUPERSEDE gives the file a new id (`txf-ktm §4.10`, open question (g)).
    pub supersede_changes_id: bool,
    /// Status of the information classes FileRenameInformationEx and FileDispositionInformationEx with POSIX
    /// semantics inside a transaction; `SUCCESS` performs them (`txf-ktm §4.9`, open question (d)).
    pub posix_in_transaction: Status,
    /// Status of a rename, a link or a deletion in a transaction of a file that somebody outside transactions has open,
    /// if only for its attributes; `SUCCESS` performs it, as the documented rules about outside readers suggest
    /// (`txf-ktm §4.3`; `minifilter-rules §7` question 3).
    pub names_beside_plain_open: Status,
    /// Status of setting a reparse point inside a transaction; `SUCCESS` performs it. One page says
    /// EAS_NOT_SUPPORTED, another that it is transacted (`txf-ktm §4.9`, open question (h)).
    pub reparse_in_transaction: Status,
    /// Status of FSCTL_SET_ZERO_DATA inside a transaction; `SUCCESS` performs it (`txf-ktm §4.9`).
    pub zero_data_in_transaction: Status,
    /// Whether a volume may be locked while transactions hold files without an open handle; they are undone then
    /// (`minifilter-rules §2.7`).
    pub lock_beside_transactions: bool,
    /// Status of operations on an open of a transaction after the volume was dismounted (`minifilter-rules §2.7`).
    pub transacted_open_at_dismount: Status,
    /// Status of operations on opens of a transaction after its resource manager was stopped (`txf-ktm §4.12`).
    pub open_of_stopped_manager: Status,
    /// Whether a write is reported to those who watch the directory when it is made, rather than when its file is flushed or
    /// a handle of it cleaned up (`minifilter-rules §2.8`).
    pub writes_are_reported_at_once: bool,
    /// Whether what was written through one handle is reported when another one is cleaned up (`minifilter-rules §2.8`).
    pub any_cleanup_reports_writes: bool,
    /// Whether a commit reports each change that was made, rather than each file that was changed
    /// (`minifilter-rules §2.8`).
    pub commit_reports_each_change: bool,
    /// Whether a directory of which the entries change is reported to those who watch what is above it
    /// (`minifilter-rules §2.8`).
    pub directory_changes_are_reported: bool,
    /// Whether a batch or filter oplock is broken before a transacted open is refused beside others, or others beside a
    /// transaction's (`minifilter-rules §2.9`).
    pub oplock_breaks_before_transactional_check: bool,
    /// Whether a filter oplock is broken by an open that writes or does not share reading; else only by one that does both
    /// (`minifilter-rules §2.9`).
    pub filter_oplock_needs_shared_reading: bool,
    /// Whether an open that does not wait for oplocks breaks those that cache a handle, when it fails with a sharing
    /// violation (`minifilter-rules §2.9`).
    pub handle_oplock_breaks_unwaited: bool,
    /// Whether an open that does not wait for oplocks is told of a break for which nobody waits
    /// (`minifilter-rules §2.9`).
    pub unwaited_break_is_told: bool,
    /// Whether an open that reserves a filter oplock breaks others' oplocks before it is refused beside other opens
    /// (`minifilter-rules §2.9`).
    pub reserve_opfilter_breaks_first: bool,
    /// Whether an image section over what is committed keeps out those who write or delete the file in a transaction
    /// (`minifilter-rules §2.10`).
    pub image_keeps_transactions_out: bool,
    /// Undo bytes that the log holds for live transactions; past it the transaction is aborted with LOG_FULL
    /// (`txf-ktm §4.6`).
    pub log_capacity: u64,
    /// Dirty sectors past which a transaction writes out early, its undo first.
    pub write_out_sectors: usize,
    /// Effects after which the lazy writer flushes on its own; 0 never.
    pub lazy_writer_interval: u64,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            transactions: true,
            no_transactions: Status::RM_NOT_ACTIVE,
            resource_manager_active: true,
            transacted_open: Status::SUCCESS,
            target_directory_is_writer: false,
            write_attributes_alone_is_writer: true,
            lock_outlives_unmodified_handle: true,
            execute_in_modifying_transaction: false,
            writable_view_at_commit: WritableView::Abort,
            supersede_changes_id: false,
            posix_in_transaction: Status::SUCCESS,
            names_beside_plain_open: Status::SUCCESS,
            reparse_in_transaction: Status::EAS_NOT_SUPPORTED,
            zero_data_in_transaction: Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION,
            lock_beside_transactions: false,
            transacted_open_at_dismount: Status::VOLUME_DISMOUNTED,
            open_of_stopped_manager: Status::RM_NOT_ACTIVE,
            writes_are_reported_at_once: false,
            any_cleanup_reports_writes: false,
            commit_reports_each_change: false,
            directory_changes_are_reported: true,
            oplock_breaks_before_transactional_check: true,
            filter_oplock_needs_shared_reading: true,
            handle_oplock_breaks_unwaited: false,
            unwaited_break_is_told: false,
            reserve_opfilter_breaks_first: false,
            image_keeps_transactions_out: true,
            log_capacity: 512 * 1024 * 1024,
            write_out_sectors: 256,
            lazy_writer_interval: 4096,
        }
    }
}
