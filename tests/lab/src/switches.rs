//! What nobody knows of Windows, as switches: each with its settings, so that tests can run both ways and
//! `lab fidelity --switches` can list them.

use std::fmt::Write as _;

use lab_volume::{Status, WritableView};

use crate::Builder;

/// One way in which Windows may behave.
pub struct Setting {
    /// What it says.
    pub name: &'static str,
    /// Chooses it.
    pub apply: fn(Builder) -> Builder,
}

/// Something about Windows that is not documented.
pub struct Switch {
    /// Its name in the code.
    pub name: &'static str,
    /// The question.
    pub question: &'static str,
    /// Where the question comes from.
    pub source: &'static str,
    /// The answers; the first is the default.
    pub settings: &'static [Setting],
}

macro_rules! switches {
    ($($name:ident $source:literal $question:literal: $($setting:literal => $apply:expr),+;)*) => {
        /// Every switch.
        pub const SWITCHES: &[Switch] = &[$(Switch {
            name: stringify!($name),
            question: $question,
            source: $source,
            settings: &[$(Setting { name: $setting, apply: $apply }),+],
        }),*];
    };
}

switches! {
    target_directory_is_writer "txf-ktm §4.3"
        "Does opening a directory as the target of a rename or link lock it as a transacted writer would?":
        "no" => |lab| lab.switches(|s| s.target_directory_is_writer = false),
        "yes" => |lab| lab.switches(|s| s.target_directory_is_writer = true);
    write_attributes_alone_is_writer "txf-ktm §4.2"
        "Does a non-transacted handle with FILE_WRITE_ATTRIBUTES alone make a transacted open fail?":
        "yes" => |lab| lab.switches(|s| s.write_attributes_alone_is_writer = true),
        "no" => |lab| lab.switches(|s| s.write_attributes_alone_is_writer = false);
    lock_outlives_unmodified_handle "txf-ktm §4.2"
        "Does a file that a transaction opened for writing and did not modify stay locked after that handle is closed?":
        "yes" => |lab| lab.switches(|s| s.lock_outlives_unmodified_handle = true),
        "no" => |lab| lab.switches(|s| s.lock_outlives_unmodified_handle = false);
    execute_in_modifying_transaction "txf-ktm §4.2"
        "May a later open by the modifying transaction have FILE_EXECUTE?":
        "no" => |lab| lab.switches(|s| s.execute_in_modifying_transaction = false),
        "yes" => |lab| lab.switches(|s| s.execute_in_modifying_transaction = true);
    writable_view_at_commit "txf-ktm §4.5"
        "What does a commit do about a live writable view of a modified file?":
        "the transaction is rolled back" => |lab| lab.switches(|s| s.writable_view_at_commit = WritableView::Abort),
        "what has reached it is committed" => |lab| lab.switches(|s| s.writable_view_at_commit = WritableView::Partial),
        "the commit waits" => |lab| lab.switches(|s| s.writable_view_at_commit = WritableView::Wait);
    supersede_changes_id "txf-ktm §4.10"
        "Does FILE_SUPERSEDE give the file a new id?":
        "no" => |lab| lab.switches(|s| s.supersede_changes_id = false),
        "yes" => |lab| lab.switches(|s| s.supersede_changes_id = true);
    posix_in_transaction "txf-ktm §4.9"
        "Are POSIX renames and deletes possible inside a transaction?":
        "yes" => |lab| lab.switches(|s| s.posix_in_transaction = Status::SUCCESS),
        "no, NOT_SUPPORTED" => |lab| lab.switches(|s| s.posix_in_transaction = Status::NOT_SUPPORTED);
    names_beside_plain_open "txf-ktm §4.3"
        "Does a name change in a transaction while somebody outside it has the file open?":
        "yes" => |lab| lab.switches(|s| s.names_beside_plain_open = Status::SUCCESS),
        "no, TRANSACTIONAL_CONFLICT" => |lab| lab.switches(|s| s.names_beside_plain_open = Status::TRANSACTIONAL_CONFLICT);
    reparse_in_transaction "txf-ktm §4.9"
        "Can a reparse point be set inside a transaction?":
        "no, EAS_NOT_SUPPORTED" => |lab| lab.switches(|s| s.reparse_in_transaction = Status::EAS_NOT_SUPPORTED),
        "yes" => |lab| lab.switches(|s| s.reparse_in_transaction = Status::SUCCESS);
    zero_data_in_transaction "txf-ktm §4.9"
        "Does FSCTL_SET_ZERO_DATA work inside a transaction?":
        "no, SPARSE_NOT_ALLOWED_IN_TRANSACTION" => |lab| lab.switches(|s| s.zero_data_in_transaction = Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION),
        "yes" => |lab| lab.switches(|s| s.zero_data_in_transaction = Status::SUCCESS);
    no_transactions "txf-ktm §4.12"
        "What does a transacted open answer on a volume without TxF?":
        "RM_NOT_ACTIVE" => |lab| lab.switches(|s| s.no_transactions = Status::RM_NOT_ACTIVE),
        "TRANSACTIONS_UNSUPPORTED_REMOTE" => |lab| lab.switches(|s| s.no_transactions = Status(0xC019_000A));
    lock_beside_transactions "minifilter-rules §2.7"
        "May a volume be locked while a transaction holds files of which no handle is open?":
        "no, ACCESS_DENIED" => |lab| lab.switches(|s| s.lock_beside_transactions = false),
        "yes, it is rolled back" => |lab| lab.switches(|s| s.lock_beside_transactions = true);
    transacted_open_at_dismount "minifilter-rules §2.7"
        "What do handles in a transaction answer after their volume was dismounted?":
        "VOLUME_DISMOUNTED" => |lab| lab.switches(|s| s.transacted_open_at_dismount = Status::VOLUME_DISMOUNTED),
        "HANDLE_NO_LONGER_VALID" => |lab| lab.switches(|s| s.transacted_open_at_dismount = Status::HANDLE_NO_LONGER_VALID);
    open_of_stopped_manager "txf-ktm §4.12"
        "What do handles in a transaction answer after their resource manager was stopped?":
        "RM_NOT_ACTIVE" => |lab| lab.switches(|s| s.open_of_stopped_manager = Status::RM_NOT_ACTIVE),
        "HANDLE_NO_LONGER_VALID" => |lab| lab.switches(|s| s.open_of_stopped_manager = Status::HANDLE_NO_LONGER_VALID),
        "EXPIRED_HANDLE" => |lab| lab.switches(|s| s.open_of_stopped_manager = Status::EXPIRED_HANDLE);
    writes_are_reported_at_once "minifilter-rules §2.8"
        "When is a write told to those who watch its directory?":
        "when the file is flushed or the handle cleaned up" => |lab| lab.switches(|s| s.writes_are_reported_at_once = false),
        "when it is made" => |lab| lab.switches(|s| s.writes_are_reported_at_once = true);
    any_cleanup_reports_writes "minifilter-rules §2.8"
        "Is what was written through one handle told to who watches the directory when another one is cleaned up?":
        "no" => |lab| lab.switches(|s| s.any_cleanup_reports_writes = false),
        "yes" => |lab| lab.switches(|s| s.any_cleanup_reports_writes = true);
    commit_reports_each_change "minifilter-rules §2.8"
        "What are those who watch a directory told when a transaction commits?":
        "each file that was changed" => |lab| lab.switches(|s| s.commit_reports_each_change = false),
        "each change that was made" => |lab| lab.switches(|s| s.commit_reports_each_change = true);
    directory_changes_are_reported "minifilter-rules §2.8"
        "Are those who watch the folder above told that a directory's entries have changed?":
        "yes" => |lab| lab.switches(|s| s.directory_changes_are_reported = true),
        "no" => |lab| lab.switches(|s| s.directory_changes_are_reported = false);
    oplock_breaks_before_transactional_check "minifilter-rules §2.9"
        "Is a batch or filter oplock broken before an open is refused because of a transaction?":
        "yes" => |lab| lab.switches(|s| s.oplock_breaks_before_transactional_check = true),
        "no" => |lab| lab.switches(|s| s.oplock_breaks_before_transactional_check = false);
    filter_oplock_needs_shared_reading "minifilter-rules §2.9"
        "Which opens break a filter oplock?":
        "those that write, and those that do not share reading" => |lab| lab.switches(|s| s.filter_oplock_needs_shared_reading = true),
        "those that write and do not share reading" => |lab| lab.switches(|s| s.filter_oplock_needs_shared_reading = false);
    handle_oplock_breaks_unwaited "minifilter-rules §2.9"
        "Does an open with FILE_COMPLETE_IF_OPLOCKED that fails with a sharing violation break an oplock that caches the handle?":
        "no" => |lab| lab.switches(|s| s.handle_oplock_breaks_unwaited = false),
        "yes" => |lab| lab.switches(|s| s.handle_oplock_breaks_unwaited = true);
    unwaited_break_is_told "minifilter-rules §2.9"
        "Does an open with FILE_COMPLETE_IF_OPLOCKED succeed with OPLOCK_BREAK_IN_PROGRESS where nobody waits for the break?":
        "no" => |lab| lab.switches(|s| s.unwaited_break_is_told = false),
        "yes" => |lab| lab.switches(|s| s.unwaited_break_is_told = true);
    reserve_opfilter_breaks_first "minifilter-rules §2.9"
        "Are others' oplocks broken before an open with FILE_RESERVE_OPFILTER is refused beside their handles?":
        "no" => |lab| lab.switches(|s| s.reserve_opfilter_breaks_first = false),
        "yes" => |lab| lab.switches(|s| s.reserve_opfilter_breaks_first = true);
    image_keeps_transactions_out "minifilter-rules §2.10"
        "Does an image section over what is committed keep out who writes or deletes the file in a transaction?":
        "yes" => |lab| lab.switches(|s| s.image_keeps_transactions_out = true),
        "no" => |lab| lab.switches(|s| s.image_keeps_transactions_out = false);
    instances_at_dismount "minifilter-rules §2.7"
        "When are instances torn down if a volume is dismounted while files are open?":
        "with the dismount" => |lab| lab.instances_outlive_dismount(false),
        "with the last of the files" => |lab| lab.instances_outlive_dismount(true);
    exit_status_when_swept "txf-ktm §8.2"
        "Is the exit status known when a terminator sweeps the handles of a process that is debugged or has no threads?":
        "no" => |lab| lab.config(|config| config.exit_status_when_swept = false),
        "yes" => |lab| lab.config(|config| config.exit_status_when_swept = true);
    rollback_after_abort "txf-ktm §1.2"
        "What does rolling back an already aborted transaction return?":
        "TRANSACTION_ALREADY_ABORTED" => |lab| lab.ktm_switches(|s| s.rollback_after_abort = Status::TRANSACTION_ALREADY_ABORTED),
        "SUCCESS" => |lab| lab.ktm_switches(|s| s.rollback_after_abort = Status::SUCCESS);
    description_nul_counts "txf-ktm §1.3"
        "Does a terminating NUL count against the longest description of a transaction?":
        "no" => |lab| lab.ktm_switches(|s| s.description_nul_counts = false),
        "yes" => |lab| lab.ktm_switches(|s| s.description_nul_counts = true);
    transaction_after_swap "minifilter-rules §1.1"
        "Do instances below a swap see the new file object's transaction in their related objects?":
        "yes" => |lab| lab.transaction_after_swap(true),
        "no" => |lab| lab.transaction_after_swap(false);
    access_from_security_context "minifilter-rules §1.8"
        "Does NTFS take the desired access from the IO_SECURITY_CONTEXT rather than from the ACCESS_STATE?":
        "no" => |lab| lab.access_from_security_context(false),
        "yes" => |lab| lab.access_from_security_context(true);
    completions_elsewhere "minifilter-rules §2.5"
        "Do reads and writes complete in other threads and at DISPATCH_LEVEL?":
        "yes, by the seed's choice" => |lab| lab.completions_elsewhere(true),
        "never" => |lab| lab.completions_elsewhere(false);
    deleted_key_tells_its_watchers "winreg/RegNotifyChangeKeyValue"
        "Is the deletion of a key told to who watches that key?":
        "no" => |lab| lab.config(|config| config.deleted_key_tells_its_watchers = false),
        "yes" => |lab| lab.config(|config| config.deleted_key_tells_its_watchers = true);
    loaded_hive_tells_watchers "winreg/RegLoadKey"
        "Is the loading of a hive told to who watches the names below the key that it is loaded under?":
        "no" => |lab| lab.config(|config| config.loaded_hive_tells_watchers = false),
        "yes" => |lab| lab.config(|config| config.loaded_hive_tells_watchers = true);
}

/// Fields of the volume's switches that set a scene (what is there, and how much) and ask nothing about Windows.
pub const SCENES: &[&str] = &[
    "transactions",
    "resource_manager_active",
    "transacted_open",
    "log_capacity",
    "write_out_sectors",
    "lazy_writer_interval",
];

/// The switches as text.
pub fn table() -> String {
    let mut text = String::new();
    for switch in SWITCHES {
        let settings: Vec<_> = switch.settings.iter().map(|setting| setting.name).collect();
        let _ = writeln!(text, "{} [{}]", switch.name, switch.source);
        let _ = writeln!(text, "  {}", switch.question);
        let _ = writeln!(text, "  default: {}; else: {}", settings[0], settings[1..].join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(source: &str, structure: &str) -> Vec<String> {
        let body = source.split(&format!("pub struct {structure} {{")).nth(1).expect(structure);
        let body = body.split("\n}").next().unwrap();
        let named = body.lines().filter_map(|line| line.trim().strip_prefix("pub "));
        named.filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
    }

    /// A switch that is added is listed here, or its test fails. The executive's settings that are truths of Windows say yes
    /// or no to something that is told.
    #[test]
    fn every_switch_of_executive_volume_and_ktm_is_listed() {
        let executive = fields(include_str!("../executive/src/lab.rs"), "Config");
        let told: Vec<_> = executive.iter().filter(|field| field.contains("_tell")).collect();
        assert!(
            told.len() >= 2 && told.iter().all(|field| SWITCHES.iter().any(|switch| switch.name == **field))
        );
        let volume = fields(include_str!("../volume/src/switches.rs"), "Switches");
        let ktm = fields(include_str!("../volume/src/ktm.rs"), "KtmSwitches");
        assert!(volume.len() > 10 && ktm.len() >= 2);
        for field in volume.iter().chain(&ktm) {
            let listed = SWITCHES.iter().any(|switch| switch.name == field);
            assert!(listed || SCENES.contains(&field.as_str()), "{field} is not listed");
        }
    }

    #[test]
    fn every_switch_has_more_than_one_setting() {
        for switch in SWITCHES {
            assert!(switch.settings.len() > 1 && !switch.source.is_empty(), "{}", switch.name);
        }
    }
}
