//! The contract: stories that every store must tell the same way. Behind the feature `contract`, for tests only.
//!
//! ```ignore
//! async fn fresh() -> Option<(MyStore, TempDir)> { … } // a store with nothing in it; `None`: not here, said on stderr
//! store::contract_suite!(fresh); // one #[tokio::test] per story, in modules named as the files here
//! ```
//! The second value lives as long as the test. A new story is a `pub async fn` in one of the files and a line in the list
//! below; a test of this crate sees that no story is missing there. Every refusal in a story also checks that nothing that
//! can be read has changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests, compiled for those of other crates")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "the names are sentences")]

pub mod adoption;
pub mod again;
pub mod builds;
pub mod effects;
pub mod executors;
pub mod history;
pub mod home;
pub mod items;
pub mod leases;
pub mod life;
pub mod logs;
pub mod members;
pub mod nodes;
pub mod objects;
pub mod progress;
pub mod queue;
pub mod support;
pub mod together;
pub mod users;

/// Expands to one test per story of the contract of a store. See the module for what to give.
#[macro_export]
macro_rules! contract_suite {
    ($fresh:expr) => {
        $crate::contract_suite! { @tests $fresh,
            home {
                a_new_home_has_no_controller,
                objects_change_their_place_only_while_there_are_none,
                of_two_who_place_objects_the_second_looks_again,
                the_first_identity_stays,
                the_epoch_only_rises,
                an_epoch_that_no_fence_can_show_is_refused,
                a_level_is_raised_once_every_live_member_knows_it_and_keeps_out_who_does_not,
                a_quiet_period_has_a_reason,
                each_restart_that_is_asked_for_has_a_number,
                a_restart_serves_nobody_who_asks_for_a_reload,
                a_restart_is_withdrawn_until_another_one_is_asked_for,
                the_last_report_of_a_rollout_is_kept,
            }
            users {
                the_first_user_has_a_token_and_comes_once,
                a_user_is_created_once_whatever_the_case,
                users_come_by_id_in_pages,
                a_user_is_edited,
                one_administrator_always_stays,
                one_of_two_administrators_stays,
                a_new_hash_of_the_same_password_keeps_sessions,
                a_session_is_kept_until_it_is_ended,
                a_new_password_ends_all_sessions,
                a_session_of_an_old_password_is_not_made,
                sessions_that_are_over_are_forgotten,
                only_so_many_sessions_are_kept,
                a_token_is_found_by_its_hash,
                a_token_is_renamed_and_revoked_by_its_user,
                all_tokens_are_revoked_but_one,
                uses_of_a_token_are_counted_once,
                only_so_many_tokens_are_kept,
                a_deleted_user_leaves_nothing,
                anonymous_read_is_switched,
            }
            members {
                a_member_joins_waiting_and_beats,
                each_beat_raises_the_tick,
                a_membership_of_a_raised_epoch_has_a_number_that_no_lost_one_had,
                a_replaced_incarnation_is_fenced,
                incarnations_are_never_used_twice,
                members_come_by_ordinal_and_name,
                a_state_begins_when_it_changes,
                a_stopped_member_is_fenced,
                a_member_whose_beat_went_on_does_not_lapse,
                only_the_newest_incarnation_lapses,
                a_lost_owner_is_a_failover,
                a_replaced_owner_is_a_failover,
                a_clean_stop_is_no_failover,
                a_failover_keeps_the_latest_moments,
                failovers_come_newest_first,
            }
            leases {
                only_one_live_member_holds_a_lease,
                a_lease_of_a_stopped_holder_can_be_taken,
                a_lease_of_a_replaced_holder_can_be_taken,
                a_lease_is_not_taken_with_an_old_fence,
                a_holder_that_asks_again_keeps_its_fence,
                a_released_lease_can_be_taken_under_the_next_fence,
                a_lease_is_released_only_under_its_fence,
                a_member_that_does_not_live_gets_no_lease,
                a_raised_epoch_shows_in_the_next_fence,
                leases_come_by_name,
                what_a_holder_leaves_is_there_for_the_next,
                who_does_not_hold_a_lease_leaves_nothing,
            }
            items {
                an_item_is_created_and_read,
                a_name_is_unique_whatever_its_case,
                an_item_needs_its_folder,
                configuring_raises_the_version,
                what_does_not_exist_is_not_configured,
                children_are_direct_and_in_order,
                children_come_in_pages,
                jobs_are_counted_in_all_folders,
                a_folder_is_deleted_with_all_in_it,
                an_item_is_not_deleted_while_a_build_runs,
                what_does_not_exist_is_not_deleted,
                deleting_an_item_gives_its_objects,
                deleting_an_item_empties_its_queue,
                an_item_made_again_begins_anew,
                a_renamed_job_keeps_all_that_it_has,
                a_build_that_runs_goes_on_under_the_new_name,
                a_renamed_folder_keeps_all_that_is_in_it,
                a_name_that_is_taken_is_not_given,
                an_item_is_renamed_in_its_folder_only,
            }
            nodes {
                a_node_is_created_and_read,
                a_node_is_unique_whatever_its_case,
                configuring_a_node_keeps_it_offline,
                what_is_no_node_is_refused,
                a_node_is_not_deleted_while_an_executor_is_used,
                a_node_goes_with_its_link,
                each_link_has_the_next_number,
                a_link_needs_a_live_holder,
                only_the_newest_link_goes_down_once,
                nodes_and_links_come_by_name,
                a_link_is_read_alone_and_by_number,
            }
            queue {
                an_item_waits_until_it_is_cancelled,
                an_equal_item_is_folded,
                the_causes_of_an_item_are_bounded,
                other_parameters_are_another_item,
                an_item_that_left_is_not_folded,
                what_is_not_buildable_is_not_queued,
                items_come_oldest_first,
                what_left_is_kept_until_it_is_forgotten,
            }
            builds {
                a_build_is_taken_from_the_queue,
                a_build_taken_again_is_the_same,
                a_build_is_taken_once,
                an_exclusive_build_waits_for_the_running_one,
                builds_get_the_next_number,
                running_builds_come_by_owner,
                a_build_is_over_when_it_has_ended_or_was_deleted,
                permalinks_find_their_builds,
                builds_come_newest_first_in_pages,
                what_is_not_there_is_none,
            }
            progress {
                records_and_log_grow_together,
                the_same_write_again_is_done,
                a_write_of_another_turn_is_fenced,
                a_write_of_an_ended_build_is_fenced,
                a_fenced_write_changes_nothing_else,
                a_record_has_a_limit,
                a_journal_has_a_limit,
                a_journal_has_no_gap,
                a_log_has_no_gap,
                nothing_follows_the_finish,
                a_long_journal_comes_in_pieces,
                a_log_is_read_from_any_offset,
                raw_offsets_are_the_highest_of_each_step,
                chunks_come_as_they_were_written,
                records_are_numbered_and_counted,
            }
            effects {
                a_source_stays_while_a_build_names_it,
                a_waiting_step_is_listed_until_cancelled,
                name_description_and_result_are_set,
                an_artifact_is_replaced,
                artifacts_come_by_path_in_pages,
                a_stash_goes_with_its_build,
                an_object_named_again_is_no_garbage,
                a_finished_build_leaves_nothing_running,
                the_last_result_is_of_the_newest_completed_build,
                a_build_enqueues_others_in_its_own_write,
            }
            executors {
                an_executor_is_granted_and_released,
                a_slot_is_granted_once,
                a_slot_beyond_the_executors_is_not_granted,
                an_offline_node_gets_nothing,
                a_node_without_a_live_link_gets_nothing,
                a_wait_that_is_gone_gets_nothing,
                executors_in_use_come_by_node_and_slot,
                the_first_that_wait_come_by_label,
                a_build_begins_with_its_executor,
                a_build_does_not_begin_on_an_executor_that_is_not_free,
            }
            adoption {
                a_new_owner_goes_on_under_the_next_fence,
                the_former_owner_is_fenced,
                an_adoption_done_again_answers_the_same,
                only_one_adopts,
                who_does_not_live_does_not_adopt,
                an_ended_build_is_not_adopted,
                adoption_after_a_raised_epoch_shows_it,
                a_key_is_delivered_once,
                a_consumed_key_stays_taken,
                deliveries_come_in_order,
                nothing_is_delivered_to_an_ended_build,
                builds_with_an_inbox_are_found_by_owner,
            }
            together {
                one_of_many_takes_a_lease,
                one_of_many_takes_a_build,
                equal_items_enqueued_at_once_are_one,
                builds_taken_at_once_have_numbers_without_gap,
                one_of_many_gets_an_executor,
                one_of_many_gets_a_name,
                a_refused_write_takes_no_other_with_it,
                an_adoption_and_a_write_at_once_are_one_after_the_other,
            }
            again {
                a_write_done_again_changes_nothing,
            }
            logs {
                a_log_that_has_become_an_object_reads_the_same,
                logs_to_become_objects_are_listed_until_they_are,
                the_first_object_of_a_log_counts,
                a_log_that_stays_becomes_no_object,
                all_objects_of_a_log_are_garbage_when_its_build_goes,
                a_log_reads_the_same_while_it_becomes_an_object,
            }
            history {
                a_deleted_build_is_gone,
                a_deleted_build_gives_its_objects,
                a_tally_counts_what_has_ended_also_when_it_is_gone,
                artifacts_go_and_their_build_stays,
                deleting_keeps_the_next_number,
                deleting_the_newest_build_shows_the_one_before,
                a_running_or_kept_build_is_not_deleted,
                garbage_is_listed_until_forgotten,
                a_large_build_is_erased_piece_by_piece,
            }
        }
    };
    (@tests $fresh:expr, $($module:ident { $($name:ident),* $(,)? })*) => {$(
        mod $module {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    if let Some((store, guard)) = $fresh().await {
                        $crate::contract::$module::$name(&store).await;
                        drop(guard);
                    }
                }
            )*
        }
    )*};
}

/// As [`contract_suite!`], for an object store.
#[macro_export]
macro_rules! contract_suite_of_objects {
    ($fresh:expr) => {
        $crate::contract_suite! { @tests $fresh,
            objects {
                what_was_put_is_read_in_ranges,
                an_object_is_replaced_whole,
                an_upload_exists_once_it_is_finished,
                a_dropped_upload_leaves_nothing,
                a_deleted_object_is_gone,
                only_what_is_kept_stays_below_a_prefix,
                a_key_out_of_bounds_is_refused,
            }
        }
    };
}
