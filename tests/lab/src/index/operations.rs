//! `minifilter-rules` §2: operations, and what their callbacks may do.

use super::list;

list! {
    "minifilter-rules §2.1" {
        "Standard IRP majors 0x00..0x1B" => the_major_functions_are_those_of_the_facts;
    }
    "minifilter-rules §2.2" {
        "minifilter pre-ops run at the IRQL of the dispatch routine" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| CREATE | PASSIVE, requestor |" => there_is_no_context_before_the_open, a_pended_create_comes_back_in_its_own_thread;
        "| CLEANUP | PASSIVE, closer's process |" => pre_operations_are_entered_at_the_levels_of_the_facts, a_cleanup_tells_whose_it_is_and_how_the_process_ended;
        "| CLOSE | up to APC, arbitrary" => pre_operations_are_entered_at_the_levels_of_the_facts, there_is_no_context_after_the_close;
        "Do not SYNCHRONIZE async I/O" => what_may_stay_pending_is_not_synchronised;
        "| QUERY_INFORMATION |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "EndOfFile with AdvanceOnly is Cc's own call" => an_end_of_file_that_only_advances_never_cuts;
        "| QUERY_EA / SET_EA / QUERY_SECURITY / SET_SECURITY |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| FLUSH_BUFFERS |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| DIRECTORY_CONTROL (query, notify, notifyEx) |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| FILE_SYSTEM_CONTROL |" => pre_operations_are_entered_at_the_levels_of_the_facts, what_may_stay_pending_is_not_synchronised;
        "| LOCK_CONTROL |" => what_may_stay_pending_is_not_synchronised, an_operation_under_way_is_drained_when_its_filter_unloads;
        "| QUERY/SET_VOLUME_INFORMATION |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| PNP (QUERY_REMOVE, REMOVE, SURPRISE, CANCEL) |" => plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "no post-op may be registered" => a_registration_is_checked, plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "SyncTypeCreateSection may be failed (INSUFFICIENT_RESOURCES)" => only_the_acquire_for_a_section_may_be_refused;
        "| ACQUIRE/RELEASE_MOD_WRITE |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| ACQUIRE/RELEASE_CC_FLUSH |" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "| FAST_IO_CHECK_IF_POSSIBLE |" => a_locked_file_is_asked_about_before_fast_io;
        "FO lives on the stack: never reference, store or attach context" => the_file_object_of_a_query_by_name_is_not_kept;
        "reject via *_DISALLOW_FSFILTER_IO" => a_query_by_name_is_refused_before_or_after_it;
        "**never above APC**" => pre_operations_are_entered_at_the_levels_of_the_facts;
        "LOCK_CONTROL parameters: ProcessId" => a_lock_request_says_by_its_flags_how_it_locks;
        "Fast-I/O-or-IRP majors" => disallowed_fast_io_comes_again_as_an_irp;
        "returning DISALLOW_FASTIO on an IRP is an error" => only_fast_io_is_disallowed_as_such;
        "" no "operations that the lab does not send, and what a driver that redirects must do";
    }
    "minifilter-rules §2.3" {
        "SKIP_PAGING_IO 0x1" => a_filter_does_not_see_the_transfers_that_it_skips;
    }
    "minifilter-rules §2.4" {
        "SUCCESS_WITH_CALLBACK 0, SUCCESS_NO_CALLBACK 1" => there_are_seven_answers;
        "without a registered post-op => bugcheck" => a_callback_that_was_not_registered_cannot_be_asked_for;
        "PENDING: IRPs only" => fast_io_cannot_be_pended;
        "Later FltCompletePendedPreOperation" => a_pended_operation_goes_on_in_the_thread_that_completes_it;
        "post runs <= APC in the same thread" => a_synchronised_one_runs_in_the_issuing_thread;
        "Never with create (already synchronised)" => a_create_is_synchronised_already, what_may_stay_pending_is_not_synchronised;
    }
    "minifilter-rules §2.5" {
        "<= DISPATCH, arbitrary thread, except" => a_reads_post_operation_may_run_elsewhere_and_at_dispatch_level;
        "create (PASSIVE same thread)" => a_pended_create_comes_back_in_its_own_thread;
        "SYNCHRONIZE (<= APC same thread)" => a_synchronised_one_runs_in_the_issuing_thread;
        "FLTFL_POST_OPERATION_DRAINING (1)" => an_operation_under_way_is_drained_when_its_filter_unloads;
        "At DISPATCH: no context get/set" => a_post_operation_at_dispatch_level_gets_no_context;
        "Move with FltDoCompletionProcessingWhenSafe" => completion_processing_that_needs_a_low_level_gets_one;
        "Changing success to failure in post-create" => a_successful_create_is_failed_by_cancelling_it_only;
    }
    "minifilter-rules §2.6" {
        "| PASSIVE | FltCreateFileEx2" => the_ceilings_of_routines_are_those_of_the_facts;
        "| APC | FltGetFileNameInformation" => the_ceilings_of_routines_are_those_of_the_facts;
        "| DISPATCH | FltReference/ReleaseContext" => the_ceilings_of_routines_are_those_of_the_facts;
        "FltSetCallbackDataDirty any" => the_ceilings_of_routines_are_those_of_the_facts;
        "cleanups run inside a critical region (normal kernel APCs off)" => a_process_dies_in_the_documented_order;
        "STATUS_FLT_INVALID_NAME_REQUEST if *all* APCs are off" => there_are_no_names_with_all_apcs_off;
        "a suspended thread stands still where normal kernel APCs reach it" => it_stands_still_until_it_is_resumed_as_often, it_goes_on_to_the_end_of_its_critical_region;
        "nor in a file system, which enters one" => who_is_suspended_in_the_file_system_comes_out_of_it_first;
    }
    "minifilter-rules §2.7" {
        "FSCTL_LOCK_VOLUME (0x00090018" => a_volume_is_locked_only_without_other_opens_and_then_nobody_opens_anything, a_lock_of_the_volume_ends_with_its_handle, transactions_without_a_handle_keep_the_lock_out_or_are_undone;
        "FSCTL_DISMOUNT_VOLUME (0x00090020)" => after_a_dismount_opens_are_dead_and_transactions_undone_and_the_volume_is_as_after_a_mount, only_who_has_the_lock_dismounts_a_locked_volume;
        "a dismounted volume is not mounted: creates get ACCESS_DENIED" => who_has_locked_the_volume_may_dismount_it_and_keeps_it_until_it_is_unlocked;
        "torn down with FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT" => a_dismount_tears_instances_down_with_files_open_and_the_next_access_sets_up_others, instances_may_outlive_a_dismount_until_the_last_file_is_closed, a_dismount_without_open_files_tears_instances_down_in_either_way;
        "IRP_MJ_PNP reaches file systems and their filters" => plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "- QUERY_REMOVE: a file system refuses it" => only_who_has_the_lock_dismounts_a_locked_volume, plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "- CANCEL_REMOVE: the lock is over" => plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "- SURPRISE_REMOVAL: the device is gone already" => a_device_that_is_pulled_out_holds_what_was_durable, a_device_that_is_pulled_out_takes_the_volume_with_it;
        "IRP_MJ_SHUTDOWN: sent when the system is shut down" => shutdown_makes_what_was_written_durable_and_ends_no_transaction, plug_and_play_and_shutdown_reach_filters_without_a_file_object;
    }
    "minifilter-rules §2.8" {
        "CompletionFilter of FILE_NOTIFY_CHANGE_* (valid mask 0xFFF)" => a_program_is_told_of_changes_and_asks_again, each_kind_of_change_has_its_bit, a_tree_is_watched_by_the_paths_from_its_top, what_is_no_request_for_changes_is_refused;
        "The first request on a handle decides" => the_first_request_says_what_is_watched;
        "What changes between two requests is kept" => a_request_waits_for_a_change_and_the_next_gets_what_came_between, what_the_buffer_does_not_hold_is_for_the_reader_to_find_out;
        "Requests on one handle end in the order" => requests_of_one_handle_end_in_the_order_in_which_they_came;
        "FILE_NOTIFY_INFORMATION: NextEntryOffset" => records_follow_each_other_at_multiples_of_four_bytes, links_streams_and_deletions_are_reported;
        "A rename to another directory is REMOVED and ADDED" => a_rename_is_one_change_within_a_directory_and_two_between_two;
        "The watched directory itself is not reported" => a_tree_is_watched_by_the_paths_from_its_top, a_directory_whose_entries_change_is_reported_by_switch;
        "Sizes and the time of the last write are noticed" => writes_are_reported_with_a_flush_or_a_cleanup_or_at_once_by_switch, another_handle_reports_what_was_written_by_switch;
        "A request ends with STATUS_NOTIFY_CLEANUP" => a_request_ends_with_its_handle_its_directory_or_by_request, a_request_for_changes_ends_with_its_handle_its_thread_or_by_request, a_dismount_ends_every_request_for_changes;
        "Transactions: a handle outside hears of their changes" => a_transaction_is_reported_outside_when_it_commits, what_a_transaction_did_not_commit_is_never_reported, a_watch_inside_a_transaction_is_told_at_once_and_ends_with_it, a_commit_reports_what_is_not_closed_and_what_was_asked_for_meanwhile, a_directory_that_a_transaction_deletes_is_watched_until_the_commit;
    }
    "minifilter-rules §2.9" {
        "Requests, on a handle of a stream" => an_oplock_is_asked_for_on_an_asynchronous_handle_of_a_file, a_request_that_says_what_no_oplock_is_is_refused;
        "need that the stream has no other open" => an_oplock_needs_a_stream_that_nobody_else_has_open_or_locked, no_oplock_is_granted_beside_a_transaction;
        "Beside others: Level 1" => oplocks_are_granted_beside_others_by_the_table, an_oplock_that_is_broken_or_replaced_is_in_nobodys_way;
        "While a break waits for its acknowledgement: not granted" => none_is_granted_while_a_break_waits_for_its_acknowledgement;
        "A break ends the request with SUCCESS" => an_open_breaks_what_it_breaks_and_waits_where_it_must, who_waits_for_an_acknowledgement_can_be_cancelled, who_waits_for_an_acknowledgement_goes_on_when_the_volume_goes, the_answer_to_a_request_says_what_was_broken_to_what, who_waits_for_one_stream_does_not_wait_for_another, who_has_waited_asks_again, a_wait_for_an_acknowledgement_says_whose_open_waits;
        "An open of an existing stream breaks no oplock" => an_open_for_attributes_breaks_nothing;
        "By an open otherwise" => an_open_breaks_what_it_breaks_and_waits_where_it_must, a_sharing_violation_is_held_back_until_a_handle_is_closed;
        "A filter oplock is broken to none" => what_breaks_a_filter_oplock_goes_by_switch;
        "Batch and filter are broken before share modes" => a_sharing_violation_is_held_back_until_a_handle_is_closed, a_transactions_conflict_comes_before_or_after_a_break_by_switch;
        "FILE_COMPLETE_IF_OPLOCKED: the open does not wait" => an_open_that_does_not_wait_is_told_of_the_break, an_open_that_does_not_wait_breaks_a_cached_handle_by_switch;
        "FILE_OPEN_REQUIRING_OPLOCK: CANNOT_BREAK_OPLOCK" => an_open_that_requires_an_oplock_breaks_none;
        "FILE_RESERVE_OPFILTER: OPLOCK_NOT_GRANTED" => an_open_that_reserves_a_filter_oplock_is_the_only_one, an_open_that_reserves_a_filter_oplock_breaks_others_to_none_by_switch;
        "By a read (not of a transacted reader)" => a_read_breaks_those_who_may_have_written, a_view_and_a_transacted_reader_break_nothing_by_reading_and_writing;
        "By a write that is no paging I/O" => a_write_a_size_and_a_lock_break_by_the_table, a_filter_oplock_is_broken_by_a_write_and_a_size_but_not_by_a_lock_nor_a_deletion, an_end_of_file_that_only_advances_breaks_no_oplock, fast_io_that_would_break_an_oplock_comes_again_as_an_irp, what_is_about_something_else_breaks_nothing;
        "By a rename of the file or of a folder above" => a_rename_and_a_deletion_break_who_caches_the_handle, a_name_that_changes_breaks_the_oplocks_of_the_files_that_it_is_about;
        "Acknowledgements: FSCTL_OPLOCK_BREAK_ACKNOWLEDGE" => each_acknowledgement_does_what_it_says, what_comes_before_the_acknowledgement_lowers_what_is_kept, only_the_handle_that_has_the_oplock_acknowledges, who_waits_for_a_close_waits_for_no_other_acknowledgement;
        "FSCTL_OPLOCK_BREAK_NOTIFY 0x00090014" => who_wants_to_know_is_told_when_no_break_is_under_way;
        "The cleanup of the handle ends its oplocks" => an_oplock_ends_with_its_handle_or_its_request;
    }
    "minifilter-rules §2.10" {
        "A section with SEC_IMAGE" => an_image_is_made_of_a_program_only_and_shows_it;
        "A file system asks MmFlushImageSection" => an_image_is_not_opened_to_write_nor_deleted_cut_or_replaced;
        "A file that is an image keeps its name" => an_image_is_not_opened_to_write_nor_deleted_cut_or_replaced;
        "Whether an image of the committed version" => an_image_keeps_transactions_out_by_switch;
    }
}
