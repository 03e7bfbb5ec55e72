//! `minifilter-rules` §0 and §1: file objects, swaps, opens of a filter's own.

use super::list;

list! {
    "minifilter-rules §0" {
        "" no "which design a driver should take";
    }
    "minifilter-rules §1.1" {
        "may alter every Iopb field except MajorFunction and Reserved" => major_function_and_target_have_their_limits;
        "needs `FltSetCallbackDataDirty`" => a_change_that_is_not_marked_stops_the_run_or_has_no_effect;
        "**same volume as TargetInstance**" => major_function_and_target_have_their_limits;
        "only to an instance of the *same filter*" => major_function_and_target_have_their_limits;
        "Filters **below** and the FS see the new FO/instance" => a_swap_is_seen_below_and_the_original_above, the_target_instance_of_an_operation_is_the_one_that_sees_it;
        "Own post-op and filters **above** get the original values" => a_swap_is_seen_below_and_the_original_above, changed_parameters_are_seen_below_and_the_original_ones_above;
        "is recomputed for lower filters after a swap" => a_swap_shows_the_new_transaction_below_or_not_by_switch;
        "Iopb pointer itself may differ between pre and post" => changed_parameters_are_seen_below_and_the_original_ones_above;
        "Do not swap and then return FLT_PREOP_COMPLETE" => major_function_and_target_have_their_limits;
        "Prefer swap over re-issuing" no "advice";
    }
    "minifilter-rules §1.2" {
        "CompletionContext must stay NULL" => a_completion_context_without_a_callback_is_a_leak;
        "lower filters and FS never see it; upper filters' post-ops run" => a_completed_operation_goes_no_further_and_back_up;
        "Status must not be STATUS_PENDING" => an_operation_is_not_completed_as_pending;
        "Zero is a legal success" => a_completed_operation_goes_no_further_and_back_up;
        "may be pended, passed or completed with SUCCESS only" => cleanup_and_close_do_not_fail;
        "FsFilter releases likewise" => only_the_acquire_for_a_section_may_be_refused;
        "STATUS_FSFILTER_OP_COMPLETED_SUCCESSFULLY" => an_acquire_may_be_completed_by_a_filter;
        "Any minifilter may complete IRP_MJ_CREATE" => a_completed_operation_goes_no_further_and_back_up;
    }
    "minifilter-rules §1.3" {
        "FltGetEcpListFromCallbackData -> DriverContext.ExtraCreateParameter" => the_extra_parameters_of_an_open_are_seen_below;
        "IoSetShadowFileInformation / IoGetShadowFileInformation" no "not served; an import of it is refused by name";
        "FsRtlChangeBackingFileObject" no "not served; an import of it is refused by name";
        "FsContext of every FO that passes FltMgr" => an_opened_file_object_has_an_advanced_header;
        "a handle FO needs non-NULL FsContext2" => an_opened_file_object_has_an_advanced_header;
    }
    "minifilter-rules §1.3.1" {
        "OR 0x40 into Flags (ADVANCED_HEADER)" => an_opened_file_object_has_an_advanced_header;
        "" no "for drivers that own file objects, which are refused (§1.4)";
    }
    "minifilter-rules §1.3.2" {
        "Update ACCESS_STATE: add granted bits" => a_create_that_succeeds_leaves_no_right_to_be_granted;
        "" no "for drivers that own file objects, which are refused (§1.4)";
    }
    "minifilter-rules §1.4" {
        "NTFS/FAT crash decoding a FO they did not open" => a_create_that_the_file_system_never_saw_is_a_foreign_file_object;
        "`SetFileInformation.ParentOfTarget` for rename/link" => a_rename_into_a_directory_that_ntfs_has_not_opened_stops_the_run;
        "Mm section sync calls must be caught" => views_of_a_lent_control_area_are_those_of_the_file_behind_it;
        "" no "for drivers that own file objects, which are refused";
    }
    "minifilter-rules §1.5" {
        "**first creates a section on the lower file**" => a_section_keeps_the_file_object_that_backs_it;
        "copies the lower FO's SectionObjectPointer to it" => views_of_a_lent_control_area_are_those_of_the_file_behind_it;
        "lower creates carry TxnParameters" => what_a_transaction_wrote_is_seen_when_it_has_committed;
        "" no "what other drivers do";
    }
    "minifilter-rules §1.6" {
        "IRP_MJ_NETWORK_QUERY_OPEN cannot be reparsed" => disallowed_fast_io_comes_again_as_an_irp;
        "Use IoReplaceFileObjectName" => a_filter_sends_an_open_elsewhere;
        "" no "advice to drivers, and volumes and name providers that the lab does not have";
    }
    "minifilter-rules §1.7" {
        "TxnParameters come from the creator's IO_DRIVER_CREATE_CONTEXT" => what_a_transaction_wrote_is_seen_when_it_has_committed;
    }
    "minifilter-rules §1.8" {
        "(NTFS does not re-check access on writes [D])" => the_handle_has_what_the_access_state_says_after_the_create;
        "Attribute-only opens are not counted in share checks" => share_modes_count_only_opens_with_data_or_delete_access, share_modes_are_of_a_stream_and_execution_and_appending_count_as_data;
        "Which of SecurityContext->DesiredAccess and AccessState NTFS consults" => the_handle_has_what_the_access_state_says_after_the_create;
        "FO->WriteAccess/ReadAccess on the upper stay FALSE" => the_handle_has_what_the_access_state_says_after_the_create;
        "so the I/O manager uses IRPs for read/write" => disallowed_fast_io_comes_again_as_an_irp;
        "FS updates the lower; I/O manager reads the upper" => a_swapped_read_moves_the_position_of_the_file_object_that_ntfs_got;
        "a targeted FO's traffic is only seen by filters below the creating instance" => a_generated_open_and_its_file_object_are_seen_by_lower_filters_only;
        "" no "what a driver of one design or another must do";
    }
    "minifilter-rules §1.9" {
        "PASSIVE. Not with TopLevelIrp set" => a_nested_open_with_a_top_level_irp_set_is_a_deadlock, the_ceilings_of_routines_are_those_of_the_facts;
        "Request goes only to filters below `Instance`" => a_generated_open_and_its_file_object_are_seen_by_lower_filters_only;
        "OBJ_KERNEL_HANDLE. Release with FltClose" => a_filters_open_asks_for_a_kernel_handle;
        "Never returns STATUS_REPARSE" => a_filters_open_follows_a_junction;
        "IO_FORCE_ACCESS_CHECK 0x1" => a_filters_open_is_checked_only_if_it_asks_for_that;
        "IO_IGNORE_SHARE_ACCESS_CHECK 0x800" => a_filters_open_may_ignore_share_modes;
        "DeviceObjectHint must be NULL" => a_create_context_of_a_driver_is_checked;
        "zero, Size=40 (x64)" => a_create_context_of_a_driver_is_checked;
        "FltCancelFileOpen: post-create only" => an_open_with_a_handle_is_not_cancelled, a_cancelled_open_is_cleaned_up_and_closed_below_and_fails_above;
        "it does not undo a create/overwrite" => a_cancelled_create_leaves_the_new_file;
    }
    "minifilter-rules §1.10" {
        "takes paged pool, or nonpaged with" => an_extra_parameter_is_in_paged_pool_if_not_told_otherwise;
        "types are unique in a list" => an_extra_parameter_is_found_by_its_type_until_it_is_removed;
        "Removing does not free" => an_extra_parameter_is_found_by_its_type_until_it_is_removed;
        "the first, or the one after another, not circular" => extra_parameters_are_told_one_after_another;
        "wants it removed from its list first" => the_cleanup_callback_of_an_extra_parameter_runs_when_it_goes, misuse_of_extra_parameters_stops_the_run, extra_parameters_that_nobody_frees_are_listed_when_their_filter_unloads;
        "STATUS_INVALID_PARAMETER_3 if it has one" => only_a_create_without_a_list_is_given_one;
        "may serve several creates" => the_extra_parameters_of_an_open_are_seen_below;
        "is freed by the I/O manager when the create completes" => a_list_that_a_filter_sets_goes_with_the_create, a_list_that_a_filter_sets_is_there_behind_a_junction;
        "inserts into the list of a create under way" => what_is_added_to_the_list_of_an_open_goes_with_it, what_is_added_to_the_list_of_a_nested_open_goes_with_the_nested_one;
        "FltAcknowledgeEcp marks an ECP" => an_acknowledged_extra_parameter_is_known_as_one, a_routine_for_extra_parameters_wants_the_filter_and_a_live_parameter;
        "ECPs from lookaside lists" no "not served; an import of it is refused by name";
    }
}
