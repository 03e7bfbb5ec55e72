//! `txf-ktm` §4 to §9: the file system's transactions, statuses, the death of processes.

use super::list;

list! {
    "txf-ktm §4.1" {
        "Read committed. One transacted writer per file" => outsiders_see_the_committed_version_until_the_commit_and_the_new_one_after, the_lock_matrix_is_the_documented_one;
        "Transacted reader = view as of its open" => a_transacted_reader_keeps_the_version_that_it_opened;
        "it *does* switch to the new content when the writer commits" => outsiders_see_the_committed_version_until_the_commit_and_the_new_one_after;
        "**every later open of that file in that transaction counts as writer**" => a_later_open_in_the_modifying_transaction_is_a_writer_and_sees_its_changes;
        "Changes outside the transaction to directories are visible inside at once" => directories_show_outside_changes_inside_at_once_and_inside_changes_outside_at_commit;
        "transacted handle -> isolated view" => metadata_is_isolated_and_undone_like_data, a_directory_listing_shows_the_sizes_of_its_view;
        "by-path queries from outside -> committed view" => a_query_by_path_tells_of_the_committed_file;
        "Documented unsupported" no "advice: what is refused has lines of its own";
    }
    "txf-ktm §4.2" {
        "Normal NTFS share modes apply **in addition**" => share_modes_still_apply_between_a_transaction_and_the_outside;
        "| Tx reader | ok | ok | ok | **SV** |" => the_lock_matrix_is_the_documented_one;
        "| Tx writer | ok (old view)" => the_lock_matrix_is_the_documented_one;
        "| Non-tx reader | ok" => the_lock_matrix_is_the_documented_one;
        "| Non-tx writer | **TC**" => the_lock_matrix_is_the_documented_one;
        "opening transacted while own non-tx DELETE handle exists" => every_right_of_the_writer_mask_makes_a_writer;
        "so DELETE, WRITE_DAC, FILE_WRITE_ATTRIBUTES opens count" => every_right_of_the_writer_mask_makes_a_writer, write_attributes_alone_counts_as_a_writer_or_not_by_switch;
        "only a transacted reader gets execute access" => only_a_transacted_reader_may_execute_a_file_that_is_being_modified, the_modifying_transaction_may_execute_by_switch_only;
        "MAXIMUM_ALLOWED yields less access" => maximum_allowed_leaves_out_execute_while_a_transaction_modifies_the_file;
        "Locking is per file, not per stream" => a_transacted_writer_of_one_stream_locks_every_stream;
        "Pure attribute/zero-access opens" => opens_for_attributes_alone_conflict_with_nobody;
        "Handles within the *same* transaction" => opens_of_one_transaction_are_exempt_from_its_locks_but_not_from_share_modes;
    }
    "txf-ktm §4.3" {
        "| create file/dir | invisible; name reserved" => a_created_file_is_invisible_and_its_name_reserved;
        "| delete file/dir | stays visible" => a_deleted_file_stays_readable_outside_until_the_commit;
        "takes effect when last *transacted writer* handle closes" => a_deletion_counts_only_if_the_last_transacted_writer_is_closed_before_the_commit;
        "FILE_DELETE_ON_CLOSE likewise" => delete_on_close_counts_only_if_closed_before_the_commit;
        "| rename | old name still seen outside" => a_rename_inside_shows_the_old_name_outside_and_reserves_the_new_one;
        "all ancestor directories pinned against rename" => the_ancestors_of_a_modified_file_cannot_be_renamed, both_ends_of_a_move_are_pinned;
        "opening a directory transacted with FILE_ADD_FILE" => a_transacted_open_of_a_directory_that_may_add_files_locks_it, a_target_directory_open_locks_the_directory_by_switch;
        "transacted variants exist => transacted [D]" => a_hard_link_made_inside_appears_at_commit, metadata_is_isolated_and_undone_like_data;
        "secondary (named) stream rename" => a_named_stream_cannot_be_renamed_inside_a_transaction;
        "FILE_IDENTITY_NOT_PERSISTENT" no "no documented case was found that the lab could make";
        "one file, two RMs" no "a lab has one volume and one resource manager";
    }
    "txf-ktm §4.4" {
        "All transacted handles are invalidated on commit/rollback" => after_the_end_only_cleanup_and_close_succeed;
        "New transacted operation/open after the end" => a_new_open_in_an_ended_transaction_is_refused;
        "RM was restarted underneath" => opens_that_outlive_a_restart_of_the_resource_manager_are_expired;
        "Cygwin order is always" no "how one program does it";
    }
    "txf-ktm §4.5" {
        "Section on a transacted handle is transacted" => a_section_over_a_transacted_file_belongs_to_the_transaction;
        "roll the transaction back when user-writable references to the file exist" => a_writable_view_at_commit_aborts_or_is_ignored_or_is_waited_for_by_switch;
        "works even after handles are closed" => writable_references_are_told_while_a_writable_section_lives;
        "FLOATED_SECTION" no "I/O of a view that outlived its transaction gets HANDLE_NO_LONGER_VALID, which the same text allows";
        "Image sections made from a transacted file" no "an image shows its file as that is when it is looked at";
    }
    "txf-ktm §4.6" {
        "then write **and flush** a commit record" => a_transacted_overwrite_is_old_or_new_at_every_crash_point;
        "Presumed abort: anything not prepared" => an_aborted_overwrite_is_old_at_every_crash_point, recovery_may_crash_too;
        "a power failure can make rollback incorrect" => a_lying_disk_damages_even_a_transacted_overwrite;
        "the file returns to its pre-transaction content by itself" => a_process_that_dies_takes_its_own_transaction_with_it;
        "prefers *availability over consistency*" => a_full_log_aborts_the_transaction;
        "model as flush of dirty view + undo, still uncommitted" => writing_out_early_changes_nothing_that_outsiders_see;
        "Multi-sector writes are atomic only inside a transaction" => a_plain_overwrite_is_damaged_in_some_crash_state;
    }
    "txf-ktm §4.7" {
        "" no "what it costs on a real disk";
    }
    "txf-ktm §4.8" {
        "Granting **any** oplock type" => no_oplock_while_a_transaction_has_the_file;
        "FsRtl keys locks by FileObject + process" => byte_range_locks_keep_others_out, all_locks_of_a_key_or_of_a_process_are_given_back_together, cleanup_releases_only_the_locks_of_the_closing_process;
    }
    "txf-ktm §4.9" {
        "open EFS file for write/encrypt" => an_encrypted_file_cannot_be_opened_for_writing_inside;
        "change compression state" => compression_sparse_and_valid_data_length_are_refused_inside;
        "make sparse / sparse ops" => compression_sparse_and_valid_data_length_are_refused_inside, zeroing_data_inside_goes_by_switch;
        "FSCTL_SET_REPARSE_POINT(_EX)" => setting_a_reparse_point_inside_goes_by_switch;
        "| oplock requests |" => no_oplock_while_a_transaction_has_the_file;
        "objects that may not be opened transacted" => the_volume_and_its_metadata_files_may_not_be_opened_inside;
        "remote / redirector files" => a_volume_without_transactions_refuses_transacted_opens;
        "anything else refused" => compression_sparse_and_valid_data_length_are_refused_inside, a_named_stream_cannot_be_renamed_inside_a_transaction;
        "classes documented as transacted" => metadata_is_isolated_and_undone_like_data, a_rename_inside_shows_the_old_name_outside_and_reserves_the_new_one, allocation_is_transacted_like_the_end_of_the_file;
        "The Ex/POSIX variants" => posix_rename_and_delete_inside_a_transaction_go_by_switch;
        "" no "operations that the lab's volume does not have";
    }
    "txf-ktm §4.10" {
        "ADS: fully transactional" => metadata_is_isolated_and_undone_like_data, a_transacted_writer_of_one_stream_locks_every_stream, a_hard_link_made_inside_appears_at_commit;
        "unchanged by in-place modification" => supersede_keeps_the_file_id_by_switch, an_in_place_change_keeps_the_file_id;
        "KTM and DTC are frozen before a snapshot" => a_freeze_delays_commits_and_refuses_transacted_opens;
        "" no "change journal, transaction ids, miniversions and the transacted directory class are not modelled";
    }
    "txf-ktm §4.11" {
        "yes if `FILE_SUPPORTS_TRANSACTIONS`" => a_volume_without_transactions_refuses_transacted_opens;
        "" no "a lab has one local NTFS volume";
    }
    "txf-ktm §4.12" {
        "turns TxF off for a volume" => a_volume_without_transactions_refuses_transacted_opens;
        "`fsutil resource create|info|start|stop" => a_resource_manager_that_is_stopped_serves_nobody_until_it_is_started;
        "RM broken/not started" => a_volume_without_transactions_refuses_transacted_opens;
        "an admin can commit or roll back any transaction by GUID" => a_transaction_is_ended_through_any_handle_and_by_pointer;
        "(transient low resources)" => transacted_opens_are_refused_with_a_planned_status;
        "" no "how the resource manager lays out its files";
    }
    "txf-ktm §4.13" {
        "GET_METADATA_INFO returns" => the_volume_tells_which_transaction_holds_a_file;
        "" no "programs and drivers do not reach these controls in the lab: INVALID_DEVICE_REQUEST";
    }
    "txf-ktm §5" {
        "| 0xC0190001 | TRANSACTIONAL_CONFLICT" => the_statuses_of_transactions_are_those_of_the_facts;
        "" no "the values that the lab uses are compared with this table as one; the rest it never gives";
    }
    "txf-ktm §6" {
        "" no "what Microsoft says of the interface's future";
    }
    "txf-ktm §7" {
        "" no "reports of real machines; what they imply has lines of its own";
    }
    "txf-ktm §8.1" {
        "inside a critical region (normal kernel APCs off), runs on the **last exiting thread**" => a_process_dies_in_the_documented_order;
        "Registration needs IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY" => extended_process_notification_needs_an_integrity_check_image;
        "must be removed before unload" => extended_process_notification_needs_an_integrity_check_image;
        "runs in the context of the thread that created the process" => the_creator_of_a_process_is_whose_thread_made_it_and_its_parent_whom_it_named;
        "Removing a process notify routine waits" => a_notify_routine_that_is_removed_does_not_run_any_more;
        "Callback rules: short, no blocking" no "advice: a callback that waits is only late in the lab";
        "PsGetProcessExitStatus(EPROCESS): <= APC_LEVEL" => drivers_learn_who_runs;
        "is STILL_ACTIVE(259 = STATUS_PENDING 0x103) while running" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "sent in the context of the process that closed it" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "read/write after cleanup" => paging_writes_end_at_the_end_of_the_file_and_work_after_cleanup, a_section_keeps_the_file_object_that_backs_it;
        "IRP_MJ_CLOSE: last **reference** gone" => a_close_comes_with_the_last_reference;
        "Minifilters must never **fail** CLEANUP or CLOSE" => cleanup_and_close_do_not_fail, cleanup_and_close_succeed_when_the_power_is_gone;
        "Post-close may not use contexts" => there_is_no_context_before_the_open, there_is_no_context_after_the_close;
    }
    "txf-ktm §8.2" {
        "IoCancelThreadIo, termination flag set beforehand" => a_killed_process_ends_when_its_threads_have_left_the_kernel, what_a_dying_thread_waits_for_is_cancelled;
        "EPROCESS.ExitStatus is written" => a_process_dies_in_the_documented_order;
        "3. wait for other threads" => a_killed_process_ends_when_its_threads_have_left_the_kernel;
        "**process-exit notify callbacks**" => a_process_dies_in_the_documented_order;
        "sweeps the handle table inside a critical region" => a_process_dies_in_the_documented_order;
        "mapped views torn down only now" => a_process_dies_in_the_documented_order, views_of_a_process_end_with_it_and_what_they_modified_stays;
        "**has a debugger attached**" => a_debugged_process_has_its_handles_swept_by_its_terminator;
        "Handles duplicated into another process survive" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
    }
    "txf-ktm §8.3" {
        "requestor thread not terminating" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "PsIsThreadTerminating(current) or ExitStatus" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "ExitStatus NT error severity" => a_process_dies_in_the_documented_order;
        "| ExitStatus 1 |" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "ExitStatus 0 with handle still open" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "current process != opener" => a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "returns the process the requesting thread is **attached to**" => a_cleanup_tells_whose_it_is_and_how_the_process_ended, a_filters_own_lock_belongs_to_the_process_that_it_runs_in;
    }
    "txf-ktm §9" {
        "File system does not re-check read-only access on writes" => the_handle_has_what_the_access_state_says_after_the_create;
        "1. Matrix 4.2 plus share modes" => the_lock_matrix_is_the_documented_one, only_a_transacted_reader_may_execute_a_file_that_is_being_modified;
        "2. Tx open on volume without flag" => a_volume_without_transactions_refuses_transacted_opens;
        "3. Commit: states Active" => commit_and_rollback_answer_by_state;
        "4. Last handle closed un-committed" => closing_the_last_handle_aborts_what_is_not_committed, an_abort_at_any_operation_boundary_leaves_the_old_file;
        "5. After end: all ops on tx FOs" => after_the_end_only_cleanup_and_close_succeed;
        "6. Delete disposition counts only" => a_deletion_counts_only_if_the_last_transacted_writer_is_closed_before_the_commit;
        "7. Outside view = committed" => the_ancestors_of_a_modified_file_cannot_be_renamed, no_oplock_while_a_transaction_has_the_file;
        "8. Crash before the commit record" => a_transacted_overwrite_is_old_or_new_at_every_crash_point;
        "9. Writable view present at commit" => a_writable_view_at_commit_aborts_or_is_ignored_or_is_waited_for_by_switch;
        "10. Process exit order of 8.2" => a_process_dies_in_the_documented_order;
        "Open questions to settle on a real machine first" => posix_rename_and_delete_inside_a_transaction_go_by_switch, supersede_keeps_the_file_id_by_switch, write_attributes_alone_counts_as_a_writer_or_not_by_switch;
        "" no "threats to a driver that redirects; the rules behind them are in the sections that each names";
    }
}
