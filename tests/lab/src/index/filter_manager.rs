//! `minifilter-rules` §3, §4 and §7: contexts, instances, the life of filters, names, installation.

use super::list;

list! {
    "minifilter-rules §3.1" {
        "VOLUME 0x1 (NonPaged only)" => a_volume_context_is_nonpaged;
        "Per type up to 3 fixed-size entries + 1 variable" => a_registration_is_checked, a_type_of_context_has_three_sizes_and_a_variable_one;
        "Match order is by size" => a_context_is_made_from_the_line_that_fits;
        "Allocate gives 1 reference" => a_context_is_released_once_for_each_reference;
        "returns the existing one in OldContext" => contexts_live_as_long_as_what_they_hang_on;
        "REPLACE_IF_EXISTS(0)" => a_context_can_be_replaced_and_taken_off;
        "Memory content is not guaranteed zero" => the_memory_of_a_new_context_is_not_zero;
        "Cleanup callback runs before the free" => contexts_live_as_long_as_what_they_hang_on;
        "Unsupported: pre-create, post-close, NETWORK_QUERY_OPEN" => there_is_no_context_before_the_open, there_is_no_context_after_the_close;
        "Statuses: CONTEXT_ALREADY_DEFINED" => an_instance_that_is_torn_down_takes_no_context, a_context_can_be_replaced_and_taken_off, contexts_live_as_long_as_what_they_hang_on;
        "Auto-deleted when the object, instance or filter goes" => contexts_live_as_long_as_what_they_hang_on;
        "cleanup of Paged contexts is <= APC" => a_paged_context_is_cleaned_up_at_a_low_level;
        "Prefer instance context" no "advice";
    }
    "minifilter-rules §3.2" {
        "AUTOMATIC 1, MANUAL 2" => a_filter_may_refuse_a_volume, an_instance_is_attached_and_detached_by_hand;
        "Attach only where" no "advice to one driver";
        "NULL callback => manual detach impossible" => an_instance_without_query_teardown_is_not_detached_by_hand;
        "refuse with STATUS_FLT_DO_NOT_DETACH" => an_instance_is_attached_and_detached_by_hand;
        "TeardownStart (PASSIVE)" => an_instance_without_query_teardown_is_not_detached_by_hand;
        "FltAttachVolume(Filter, Volume, InstanceName)" => a_filter_attaches_another_instance_by_its_name;
        "Fails with STATUS_FLT_FILTER_NOT_READY" => a_filter_attaches_another_instance_by_its_name, a_filter_that_has_not_started_attaches_nothing;
        "FltGetVolumeInstanceFromName finds" => a_filter_attaches_another_instance_by_its_name;
        "Reasons bitmask MANUAL 1" => an_instance_is_attached_and_detached_by_hand, a_dismount_tears_instances_down_with_files_open_and_the_next_access_sets_up_others, an_instance_that_is_torn_down_is_not_referenced_any_more_and_lives_as_long_as_it_was;
    }
    "minifilter-rules §3.3" {
        "Callbacks can arrive before FltStartFiltering returns" => a_filter_may_refuse_a_volume;
        "unload callback not run; unregister yourself" => a_failing_entry_leaves_no_filter_behind;
        "NULL => never unloadable" => a_filter_without_an_unload_callback_stays;
        "may be refused with STATUS_FLT_DO_NOT_DETACH" => an_optional_unload_may_be_refused_and_a_mandatory_one_may_not;
        "unless FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP is set" => a_filter_may_keep_its_service_from_being_stopped;
        "call FltUnregisterFilter (waits for references" => a_leaked_reference_holds_the_unload_and_is_named, an_unload_that_does_not_unregister_is_noticed;
        "Not called at shutdown" => plug_and_play_and_shutdown_reach_filters_without_a_file_object;
        "Design A: set DO_NOT_SUPPORT_SERVICE_STOP" no "advice to one driver";
    }
    "minifilter-rules §3.4" {
        "Versions 0x0200 (2003)" => a_registration_is_checked;
    }
    "minifilter-rules §3.5" {
        "(SHORT not in pre-create)" => the_options_of_a_name_query_are_checked;
        "STATUS_FLT_INVALID_NAME_REQUEST (0xC01C0005)" => there_are_no_names_with_a_top_level_irp_set, there_are_no_names_with_all_apcs_off;
        "opened name is cheap, works for missing paths" => names_before_an_open_are_normalized_or_as_typed;
        "succeeds when only the last component is missing" => names_before_an_open_are_normalized_or_as_typed;
        "cross-junction => STATUS_NOT_SAME_DEVICE" => a_name_across_a_junction_is_refused;
        "SL_OPEN_TARGET_DIRECTORY returns the *parent*" => the_name_of_a_target_directory_open_is_that_of_the_directory;
        "FltParseFileNameInformation before using parts" => the_parts_of_a_name_are_there_when_it_is_parsed;
        "FltReleaseFileNameInformation always" => what_a_filter_keeps_is_listed_when_it_unloads;
        "Open by id: FileName is binary" => an_open_by_id_has_the_name_of_its_file;
        "Cost rule" no "advice";
        "Tunnelling" no "not served; an import of it is refused by name";
        "Name provider" => what_the_lab_cannot_serve_is_refused_at_registration;
    }
    "minifilter-rules §3.6" {
        "= SYSTEM + Administrators" => the_default_descriptor_lets_system_and_administrators_in;
    }
    "minifilter-rules §3.7" {
        "Altitude is a decimal **string**" => altitudes_compare_as_numbers, operations_go_down_by_altitude_and_come_back_up, two_instances_do_not_share_an_altitude;
        "" no "who has which altitude";
    }
    "minifilter-rules §3.8" {
        "two generations in current samples" => either_registry_generation_gives_the_instances, a_service_without_instances_does_not_register;
        "0 auto and manual attach; 1 suppresses automatic attach" => an_instance_may_be_kept_from_attaching_by_itself;
        "" no "installation: the tests of the .inf file";
    }
    "minifilter-rules §3.9" {
        "" no "signing, tests and tools of Windows";
    }
    "minifilter-rules §4.1" {
        "" no "layouts: compared with a second source by the layout tests";
    }
    "minifilter-rules §4.2" {
        "" no "layouts: compared with a second source by the layout tests";
    }
    "minifilter-rules §4.3" {
        "" no "defects of a crate";
    }
    "minifilter-rules §7" {
        "1. C: does editing AccessState" => the_handle_has_what_the_access_state_says_after_the_create, names_change_beside_a_plain_handle_by_switch;
    }
}
