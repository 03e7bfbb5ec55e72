//! `txf-ktm` §1 to §3: the transaction manager, transacted opens, filters that follow transactions.

use super::list;

list! {
    "txf-ktm §1.1" {
        "All Zw/Nt transaction calls below: **PASSIVE_LEVEL**" => the_levels_of_transaction_routines_are_those_of_the_facts;
        "must set `OBJ_KERNEL_HANDLE`" => arguments_of_a_new_transaction_are_checked;
        "DesiredAccess 0 is rejected" => arguments_of_a_new_transaction_are_checked;
        "Uow NULL => KTM makes the GUID" => a_transaction_is_opened_by_its_unit_of_work;
        "TmHandle NULL => bound to a TM later" no "there is one transaction manager, the volume's";
        "IsolationLevel/Flags must be 0" => create_refuses_bad_options_isolation_and_long_descriptions;
        "opens by UOW GUID" => a_transaction_is_ended_through_any_handle_and_by_pointer;
        "FALSE => STATUS_PENDING once notifications are queued" => who_does_not_wait_for_the_end_is_told_that_it_is_pending;
        "same Wait meaning" => who_does_not_wait_for_the_end_is_told_that_it_is_pending;
        "classes Basic(0), Properties(1)" => a_transaction_tells_and_takes_what_its_classes_hold;
        "only Properties class" => a_transaction_tells_and_takes_what_its_classes_hold;
        "pointer versions; object from" => a_transaction_is_ended_through_any_handle_and_by_pointer;
        "active = created .. until pre-prepare starts" => commit_and_rollback_answer_by_state, a_transaction_is_ended_through_any_handle_and_by_pointer;
        "TmCreateEnlistment, TmRecover*" no "drivers enlist through the Filter Manager only; an import of it is refused by name";
        "TmReferenceEnlistmentKey/Deref" no "drivers enlist through the Filter Manager only; an import of it is refused by name";
        "**must** be used instead of ObDereferenceObject" => deletion_is_deferred_above_passive_level_and_on_request;
        "Any holder of a handle with TRANSACTION_COMMIT may commit" => a_transaction_is_ended_through_any_handle_and_by_pointer;
    }
    "txf-ktm §1.2" {
        "INVALID_PARAMETER (bad CreateOptions flag" => create_refuses_bad_options_isolation_and_long_descriptions, arguments_of_a_new_transaction_are_checked;
        "INVALID_ACL / INVALID_SID" => a_new_transaction_is_refused_a_bad_mask_and_a_bad_descriptor;
        "ACCESS_DENIED (bad access mask)" => a_new_transaction_is_refused_a_bad_mask_and_a_bad_descriptor;
        "INVALID_PARAMETER (access 0 or Uow 0)" => a_transaction_is_opened_by_its_unit_of_work, a_handle_that_is_no_transaction_is_refused;
        "TRANSACTION_REQUEST_NOT_VALID (commit already started)" => commit_and_rollback_answer_by_state;
        "TRANSACTION_REQUEST_NOT_VALID (state forbids it" => commit_and_rollback_answer_by_state;
        "is **not listed** [U]" => commit_and_rollback_answer_by_state;
        "BUFFER_OVERFLOW (too small for variable data)" => a_transaction_tells_and_takes_what_its_classes_hold;
        "| Set | INVALID_INFO_CLASS" => a_transaction_tells_and_takes_what_its_classes_hold;
        "only callable while active" => commit_and_rollback_answer_by_state;
    }
    "txf-ktm §1.3" {
        "TRANSACTION_GENERIC_READ / WRITE / EXECUTE" => generic_rights_of_transactions_are_mapped;
        "TRANSACTION_ALL_ACCESS" => generic_rights_of_transactions_are_mapped;
        "CreateOptions TRANSACTION_DO_NOT_PROMOTE" => create_refuses_bad_options_isolation_and_long_descriptions;
        "MAX_TRANSACTION_DESCRIPTION_LENGTH" => create_refuses_bad_options_isolation_and_long_descriptions;
        "| TRANSACTION_OUTCOME |" => what_a_transaction_wrote_is_seen_when_it_has_committed, a_timeout_rolls_back;
        "| TRANSACTION_STATE |" => a_transaction_tells_and_takes_what_its_classes_hold;
        "| TRANSACTION_INFORMATION_CLASS |" => a_transaction_tells_and_takes_what_its_classes_hold;
        "| TRANSACTION_BASIC_INFORMATION |" => a_transaction_tells_and_takes_what_its_classes_hold;
        "| TRANSACTION_PROPERTIES_INFORMATION |" => a_transaction_tells_and_takes_what_its_classes_hold;
        "TRANSACTION_QUERY_INFORMATION / SET_INFORMATION" no "kernel mode's rights are not checked, and programs' own handles have all";
        "Object name spaces" no "transactions have no names among the objects";
        "" no "there are no enlistment, resource manager and transaction manager objects that a driver opens";
    }
    "txf-ktm §1.4" {
        "negative = relative, positive = absolute system time" => a_transaction_that_times_out_is_aborted;
        "If not **committed** by then KTM rolls back" => a_timeout_rolls_back;
        "Changeable later by ZwSetInformationTransaction" => properties_can_be_set;
        "aborts if the **prepared** state was not reached" => a_timeout_after_everybody_prepared_does_not_abort;
    }
    "txf-ktm §1.5" {
        "Last transaction **handle** closed before a commit call" => closing_the_last_handle_aborts_what_is_not_committed;
        "It is handles, not object references, that matter" => the_last_handle_closed_rolls_back_whatever_references_are_left;
        "So the driver must keep a (kernel) handle open" no "advice that follows from the rule before it";
        "Object freed after last handle closed" => an_ended_transaction_can_be_forgotten_a_live_one_not, a_transaction_is_ended_through_any_handle_and_by_pointer;
        "failure of any such process aborts it" => a_process_that_dies_takes_its_own_transaction_with_it;
        "the system may roll it back whenever it likes" => an_abort_at_any_operation_boundary_leaves_the_old_file;
        "Closing the last handle of an **enlistment**" => rolling_back_an_enlistment_rolls_back_the_transaction;
        "Rolling back is allowed any time before commit is requested" => commit_and_rollback_answer_by_state;
    }
    "txf-ktm §1.6" {
        "presumed-abort: unprepared transactions vanish at crash" => a_transacted_overwrite_is_old_or_new_at_every_crash_point;
        "gets bound when TxF enlists at first transacted use" => the_volume_tells_which_transaction_holds_a_file;
        "Every RM must take PREPREPARE+PREPARE+COMMIT" => notifications_arrive_phase_by_phase;
        "-> COMMIT (publish) -> complete" => notifications_arrive_phase_by_phase;
        "stop serving, everything durable; last chance to roll back" => a_prepared_transaction_takes_no_more_changes, a_participant_that_cannot_prepare_rolls_everybody_back;
        "After PrePrepare is complete, new enlistments" => nobody_enlists_once_the_end_has_begun;
        "ZwCreateEnlistment errors" => nobody_enlists_once_the_end_has_begun;
        "Superior enlistment" no "nobody but filters and volumes enlists, so there is no superior";
    }
    "txf-ktm §1.7" {
        "| PREPREPARE | 0x1 |" => the_notification_masks_are_those_of_the_facts;
        "| PREPARE | 0x2 |" => the_notification_masks_are_those_of_the_facts;
        "| COMMIT | 0x4 |" => the_notification_masks_are_those_of_the_facts;
        "| ROLLBACK | 0x8 |" => the_notification_masks_are_those_of_the_facts;
        "**COMMIT_FINALIZE** (filter manager only)" => the_notification_masks_are_those_of_the_facts;
        "COMMIT_FINALIZE lies outside the KTM mask" => an_enlisted_filter_is_told_how_it_ended;
        "" no "for resource managers and superiors, which the lab does not have";
    }
    "txf-ktm §2" {
        "USHORT Length (= sizeof)" => a_create_context_of_a_driver_is_checked;
        "**must be NULL for FltCreateFileEx2**" => a_create_context_of_a_driver_is_checked;
        "TXFS_MINIVERSION_COMMITTED_VIEW" no "opens have the default view, whatever the block says";
        "TXFS_MINIVERSION_DEFAULT_VIEW / TXF_MINIVERSION_DEFAULT_VIEW" => a_later_open_in_the_modifying_transaction_is_a_writer_and_sees_its_changes;
        "TXFS_MINIVERSION_DIRTY_VIEW" no "opens have the default view, whatever the block says";
        "Sources: DDI" no "sources";
        "block pointer or NULL when not transacted" => what_a_transaction_wrote_is_seen_when_it_has_committed, a_plain_file_object_has_no_transaction_parameters;
        "Building one's **own** block on the stack" => what_a_transaction_wrote_is_seen_when_it_has_committed;
        "Directories have no miniversion" => directories_show_outside_changes_inside_at_once_and_inside_changes_outside_at_commit;
        "takes its own reference on the transaction for the file object" => the_last_handle_closed_rolls_back_whatever_references_are_left;
        "**never with a non-NULL top-level IRP (deadlock)**" => a_nested_open_with_a_top_level_irp_set_is_a_deadlock;
        "only instances below + FS see the create" => a_generated_open_and_its_file_object_are_seen_by_lower_filters_only;
        "OBJ_KERNEL_HANDLE needed outside System" => a_filters_open_asks_for_a_kernel_handle;
        "never returns STATUS_REPARSE" => a_filters_open_follows_a_junction;
        "when the NTFS log is full" => transacted_opens_are_refused_with_a_planned_status;
        "set both IO_FORCE_ACCESS_CHECK and OBJ_FORCE_ACCESS_CHECK" => a_filters_open_is_checked_only_if_it_asks_for_that;
        "the FS does not record this open's access/sharing" => an_open_that_ignores_share_modes_is_not_seen_by_them;
        "FltCreateFileEx2 with NULL instance go to the top of the stack" => a_filters_open_without_an_instance_starts_at_the_top;
        "in pre-create check FltObjects->Transaction != NULL" => a_programs_own_transaction_shows_in_the_related_objects;
        "No public API was found" no "the absence of an interface";
    }
    "txf-ktm §3" {
        "| FltSetTransactionContext |" => a_transaction_has_one_context_for_each_instance;
        "| FltGetTransactionContext |" => a_transaction_has_one_context_for_each_instance;
        "| FltDeleteTransactionContext |" => a_transaction_has_one_context_for_each_instance;
        "| FltEnlistInTransaction(Instance" => enlisting_is_refused_with_the_documented_statuses, an_enlisted_filter_is_told_how_it_ended;
        "| FltRollbackEnlistment |" => an_enlistment_rolls_back_its_transaction_while_that_is_possible;
        "| FltPrePrepareComplete / FltPrepareComplete" no "not served; an import of it is refused by name";
        "| FltCommitComplete / FltRollbackComplete |" => a_notification_that_pends_holds_up_the_end_until_it_is_completed;
        "| TransactionNotificationCallback (FLT_REGISTRATION) |" => a_notification_that_pends_holds_up_the_end_until_it_is_completed;
        "Context type FLT_TRANSACTION_CONTEXT = 0x0020" => a_transaction_has_one_context_for_each_instance;
        "fired once **all** RMs incl. TxF have committed" => notifications_arrive_phase_by_phase;
        "KTM callbacks are asynchronous" no "they are made in the thread that commits or rolls back";
        "`Transaction` (opaque PKTRANSACTION, NULL if none)" => a_programs_own_transaction_shows_in_the_related_objects;
        "exclusive-for-write in TxF terms" => every_right_of_the_writer_mask_makes_a_writer;
        "INVALID_PARAMETER => file gone, DELETE_PENDING => still there" => a_deleted_file_is_asked_for_by_its_id;
        "avscan refuses FSCTL_TXFS_SAVEPOINT_INFORMATION" no "savepoints are not modelled";
        "through the **top** of the filter stack" no "the resource manager's own files are not opened through filters";
        "FltCreateSectionForDataScan" no "not served; an import of it is refused by name";
        "No general MS rule" no "the absence of a rule";
    }
}
