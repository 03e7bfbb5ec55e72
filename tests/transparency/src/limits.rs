//! What shows each limit that the README's section "Limits" names.

/// A limit of the README.
pub struct Limit {
    /// How its entry begins.
    pub begins: &'static str,
    /// The differences of [`LIST`](crate::differences::LIST) that it is about; each has an example that shows it.
    pub differences: &'static [&'static str],
    /// Tests that show it: the file, from the root of the repository, and the function.
    pub tests: &'static [(&'static str, &'static str)],
}

const ADMISSIONS: &str = "tests/saves/tests/saves/admissions.rs";
const ENDINGS: &str = "tests/saves/tests/saves/endings.rs";
const BELOW: &str = "tests/saves/tests/saves/below.rs";
const CHILDREN: &str = "tests/saves/tests/saves/children.rs";
const CHECKPOINTS: &str = "tests/saves/tests/saves/checkpoints.rs";
const GOING: &str = "tests/saves/tests/saves/going.rs";
const HELD_OPEN: &str = "tests/saves/tests/saves/held_open.rs";
const HOLLOW: &str = "tests/saves/tests/saves/hollow.rs";
const IMAGES: &str = "tests/saves/tests/saves/images.rs";
const MEGABYTES: &str = "tests/saves/tests/saves/limits.rs";
const NAMES: &str = "tests/saves/tests/saves/names.rs";
const POLICY: &str = "tests/saves/tests/saves/policy.rs";
const PROCESS: &str = "tests/saves/tests/saves/process_scope.rs";
const REFUSALS: &str = "tests/saves/tests/saves/refusals.rs";
const RESTING: &str = "tests/saves/tests/saves/resting.rs";
const OPLOCKS: &str = "tests/saves/tests/saves/oplocks.rs";
const READING_HANDLES: &str = "tests/saves/tests/saves/reading_handles.rs";
const SECTIONS: &str = "tests/saves/tests/saves/sections.rs";
const SPARSE: &str = "tests/saves/tests/saves/sparse.rs";
const TERMINATIONS: &str = "tests/saves/tests/saves/terminations.rs";
const TIMES: &str = "tests/saves/tests/saves/times.rs";

/// In the README's order.
pub const LIMITS: &[Limit] = &[
    Limit {
        begins: "NTFS volumes on which Transactional NTFS is available",
        differences: &[],
        tests: &[(
            "tests/saves/tests/saves/faults.rs",
            "where_no_transaction_can_be_had_the_open_passes_through_and_says_why",
        )],
    },
    Limit {
        begins: "One save is one handle's life",
        differences: &[],
        tests: &[
            (ENDINGS, "each_file_of_a_process_is_a_save_of_its_own"),
            (POLICY, "what_this_version_does_not_serve_is_said"),
        ],
    },
    Limit {
        begins: "With `Scope` = `Process` a save is all that one process modifies",
        differences: &[],
        tests: &[
            (PROCESS, "two_files_saved_one_after_the_other_are_one_save"),
            (PROCESS, "how_the_process_ends_decides_for_all_of_its_files"),
            (PROCESS, "whoever_writes_a_file_of_it_gets_it_and_ends_the_save"),
            (PROCESS, "whoever_reads_a_file_that_it_made_finds_it_whole"),
            (PROCESS, "whoever_wants_a_name_that_it_has_given_finds_it_taken"),
            (PROCESS, "a_program_that_renames_its_file_away_and_makes_it_anew_can_do_so"),
            (PROCESS, "a_flush_publishes_all_of_it_unless_the_rule_defers"),
            (PROCESS, "past_its_limit_it_is_published_and_the_next_file_begins_another"),
        ],
    },
    Limit {
        begins: "With `IncludeChildren` = 1 that process is a program and all that it starts",
        differences: &[],
        tests: &[
            (CHILDREN, "what_a_child_and_a_grandchild_save_is_one_save_with_the_parents"),
            (CHILDREN, "a_child_that_is_excluded_is_out_with_all_that_it_starts"),
            (CHILDREN, "the_creator_counts_and_not_the_parent_that_it_names"),
            (CHILDREN, "who_was_started_before_the_rule_came_counts_by_its_own_name"),
            (CHILDREN, "who_has_no_place_in_the_table_is_an_outsider_and_an_event_says_so"),
            (CHILDREN, "who_modifies_through_a_handle_that_it_was_given_takes_part"),
            (CHILDREN, "a_member_that_fails_while_others_write_dooms_what_they_write"),
            (CHILDREN, "children_that_outlive_the_parent_keep_the_save_open"),
            (CHILDREN, "a_save_is_over_when_the_last_of_those_who_took_part_has_ended"),
        ],
    },
    Limit {
        begins: "A handle that made its file empty and is closed without having written a byte",
        differences: &[],
        tests: &[
            (HOLLOW, "what_is_emptied_in_one_open_and_written_in_the_next_is_one_save"),
            (HOLLOW, "when_the_time_is_over_it_commits_as_without_intact"),
            (HOLLOW, "on_exit_decides_here_too"),
            (HOLLOW, "who_needs_the_file_ends_the_wait"),
            (HOLLOW, "what_is_no_hollow_close_ends_at_once"),
            (HOLLOW, "a_hollow_save_is_an_unfinished_one_for_who_unloads_or_detaches"),
        ],
    },
    Limit {
        begins: "A flush commits all that the save has written so far",
        differences: &["an-exchange-ends-waits-for-locks"],
        tests: &[
            (CHECKPOINTS, "a_flush_commits_what_all_handles_of_the_save_have_written"),
            (CHECKPOINTS, "after_a_write_that_failed_a_flush_fails_and_publishes_nothing"),
            (CHECKPOINTS, "where_no_new_transaction_can_be_had_the_program_goes_on_without_one"),
            (CHECKPOINTS, "who_waits_for_a_lock_while_the_file_is_flushed_is_told_that_it_was_not_granted"),
            (CHECKPOINTS, "more_locks_than_are_remembered_are_refused_and_none_is_lost"),
        ],
    },
    Limit {
        begins: "A save past `MaxMegabytes`, `MaxSeconds` or `MaxIdleSeconds` publishes what it has written",
        differences: &[],
        tests: &[
            (MEGABYTES, "a_save_past_its_limit_is_committed_and_goes_on_without_a_transaction"),
            (MEGABYTES, "a_wounded_save_past_its_limit_publishes_nothing"),
            (TIMES, "a_save_that_takes_too_long_is_committed_and_goes_on_without_a_transaction"),
            (TIMES, "a_save_in_which_nothing_happens_any_more_is_committed"),
            (TIMES, "the_longest_time_begins_with_the_first_modification"),
            (RESTING, "the_next_modification_is_in_a_transaction_again"),
            (RESTING, "where_no_transaction_can_be_had_again_the_program_goes_on_without_one"),
            (TIMES, "a_wounded_save_past_its_limits_publishes_nothing_until_it_has_healed"),
            (TIMES, "a_mapped_file_is_left_alone_until_it_is_mapped_no_more"),
            (TIMES, "a_save_with_a_name_of_its_own_is_left_alone"),
        ],
    },
    Limit {
        begins: "A file that is merely held open holds a transaction for its first five seconds only",
        differences: &[],
        tests: &[
            (HELD_OPEN, "it_holds_no_transaction_and_the_first_write_begins_one"),
            (HELD_OPEN, "whom_share_modes_let_in_meanwhile_ends_nothing_but_the_transaction"),
            (HELD_OPEN, "what_is_written_through_a_view_is_part_of_the_save"),
            (HELD_OPEN, "what_was_flushed_and_not_modified_since_rests"),
            (HELD_OPEN, "a_file_that_is_deleted_meanwhile_stays_with_its_handle"),
            (HELD_OPEN, "who_waits_for_a_lock_when_the_first_write_comes_is_told_that_it_was_not_granted"),
            (HELD_OPEN, "where_nothing_passes_without_a_transaction_it_is_kept"),
        ],
    },
    Limit {
        begins: "On a handle through which a file is being saved",
        differences: &[
            "empty-files-are-not-mapped",
            "refused-controls",
            "refused-valid-data-length",
            "no-delete-on-close",
        ],
        tests: &[
            (SECTIONS, "a_section_of_an_empty_file_is_refused"),
            (SECTIONS, "what_is_mapped_past_a_save_keeps_it_from_committing"),
            (REFUSALS, "controls_are_refused_with_statuses_that_programs_know"),
        ],
    },
    Limit {
        begins: "Making a file sparse, making holes and mapping it as an image are not possible in a transaction",
        differences: &["refused-controls", "an-exchange-ends-waits-for-locks"],
        tests: &[
            (SPARSE, "who_waits_for_a_lock_of_a_file_that_becomes_sparse_is_told_that_it_was_not_granted"),
            (IMAGES, "what_was_written_before_is_published_for_the_image"),
            (IMAGES, "what_is_written_while_the_handles_own_image_is_mapped_is_written_as_without_intact"),
            (IMAGES, "where_the_save_cannot_do_without_its_transaction_no_image_is_made"),
            (IMAGES, "a_save_of_what_others_have_mapped_as_an_image_keeps_its_handle"),
            (SPARSE, "a_file_becomes_sparse_at_once_and_what_is_written_then_is_a_save"),
            (SPARSE, "what_was_written_before_is_published_and_the_rest_goes_on_as_without_intact"),
            (
                SPARSE,
                "where_the_save_cannot_do_without_its_transaction_it_is_told_as_by_a_volume_that_does_not_know_it",
            ),
        ],
    },
    Limit {
        begins: "A save whose file is still mapped when its handle is closed",
        differences: &[
            "closed-but-mapped-is-open",
            "mapped-files-change-with-the-save",
            "readers-map-the-committed-version",
            "readers-mappings-hold-nothing",
        ],
        tests: &[
            (SECTIONS, "a_save_whose_file_is_still_mapped_waits_for_the_last_view"),
            (SECTIONS, "a_process_that_ends_with_the_file_mapped_decides_by_its_status"),
            (SECTIONS, "a_flush_of_a_mapped_file_goes_into_the_transaction"),
            (SECTIONS, "a_handle_that_only_reads_maps_the_last_committed_version"),
        ],
    },
    Limit {
        begins: "A rename, a hard link or a deletion of a file that is being saved",
        differences: &[
            "others-see-the-old-names",
            "listings-show-the-old-names",
            "a-new-link-is-called-by-the-old-name",
            "a-name-given-away-is-taken",
            "no-replacing-of-saved-files",
            "no-names-of-files-open-for-writing",
            "replaced-files-keep-their-names",
            "folders-change-with-the-save",
            "by-id-or-folder",
            "deleted-files-go-with-the-save",
        ],
        tests: &[
            (NAMES, "a_rename_in_a_save_is_published_with_the_data"),
            (NAMES, "the_process_finds_its_file_by_the_new_name_only"),
            (NAMES, "a_name_that_was_renamed_away_is_free_after_the_save"),
        ],
    },
    Limit {
        begins: "While a save is in progress, other programs read the old version",
        differences: &[
            "others-see-the-old-version",
            "one-writer",
            "no-execution",
            "no-links-from-outside",
            "earlier-readers-see-the-old-version",
            "listings-show-the-old-version",
            "changes-are-told-with-the-save",
            "read-only-files-change-after-they-were-made",
            "space",
            "an-exchange-ends-waits-for-locks",
        ],
        tests: &[
            (ADMISSIONS, "who_is_let_in_finds_what_is_there_and_both_write_on"),
            (ADMISSIONS, "a_save_that_could_not_commit_keeps_them_out"),
            (ADMISSIONS, "a_save_that_has_given_a_name_or_is_mapped_keeps_them_out"),
            (
                READING_HANDLES,
                "who_waits_for_a_lock_to_read_when_the_save_ends_is_told_that_it_was_not_granted",
            ),
        ],
    },
    Limit {
        begins: "A create by a thread that is not the requestor's own",
        differences: &[],
        tests: &[
            (
                "tests/saves/tests/saves/opens.rs",
                "an_open_with_little_stack_left_passes_through_and_says_why",
            ),
            (OPLOCKS, "an_open_that_would_have_to_wait_goes_on_without_a_transaction_and_says_so"),
            (OPLOCKS, "an_oplock_is_refused_during_a_save_and_granted_after_it"),
        ],
    },
    Limit {
        begins: "A program that catches its own error",
        differences: &[],
        tests: &[(ENDINGS, "a_clean_close_commits")],
    },
    Limit {
        begins: "A process killed with exit status zero",
        differences: &[],
        tests: &[
            (ENDINGS, "a_writer_that_exits_with_success_and_the_file_open_has_finished"),
            (ENDINGS, "on_exit_decides_about_handles_that_the_system_closes"),
        ],
    },
    Limit {
        begins: "A handle that another process closes",
        differences: &[],
        tests: &[
            (TERMINATIONS, "on_exit_decides_about_handles_that_a_debugger_closes"),
            (TERMINATIONS, "a_handle_that_somebody_else_closes_has_not_been_closed_by_its_program"),
        ],
    },
    Limit {
        begins: "A save whose file is open when its volume is dismounted or removed",
        differences: &[],
        tests: &[
            (
                GOING,
                "a_dismount_leaves_the_old_file_and_the_program_is_told_what_it_would_be_told_without_intact",
            ),
            (GOING, "a_device_that_is_pulled_out_holds_the_old_file_whole"),
            (GOING, "at_shutdown_a_save_that_is_not_closed_is_rolled_back_and_one_that_is_stays"),
        ],
    },
    Limit {
        begins: "A power cut during the first save",
        differences: &[],
        tests: &[
            (
                "tests/saves/tests/saves/crashes.rs",
                "with_intact_every_file_is_old_or_new_after_every_power_cut",
            ),
            (GOING, "a_new_file_may_stay_empty_on_a_volume_that_goes"),
        ],
    },
    Limit {
        begins: "Pages of a file that is being saved which the system cannot write are a failed write",
        differences: &[],
        tests: &[
            (BELOW, "a_page_that_cannot_be_written_rolls_the_save_back"),
            (BELOW, "a_program_that_flushes_is_told"),
            (BELOW, "it_is_attached_with_the_first_save_and_no_other"),
            (BELOW, "without_it_saves_go_on_and_an_event_says_so"),
        ],
    },
    Limit {
        begins: "While a save of a file is in progress its program cannot make another stream",
        differences: &["streams-of-a-save"],
        tests: &[],
    },
    Limit {
        begins: "Disks that acknowledge a flush",
        differences: &[],
        tests: &[(
            "tests/lab/volume/tests/rules/crash.rs",
            "a_lying_disk_damages_even_a_transacted_overwrite",
        )],
    },
];
