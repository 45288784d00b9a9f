//! The list of laws, from which the tests are made.

/// One test for each law of [`testing::conformance`](crate::testing::conformance), over the stores a factory makes. See there.
#[macro_export]
macro_rules! backend_conformance {
    (mod $name:ident, $factory:expr, [$($group:ident),+ $(,)?]) => {
        mod $name {
            #[allow(unused_imports, reason = "the factory may be named in full")]
            use super::*;
            $($crate::__conformance_cases!($group, $factory);)+
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    (files, $factory:expr) => { $crate::__conformance_tests!(files, $factory,
        an_empty_store_has_a_root_and_nothing_else
        what_was_written_is_read
        modes_do_what_they_say
        parts_end_where_the_file_does
        bytes_once_read_do_not_change
        files_and_directories_do_not_mix
        a_directory_goes_with_its_last_file
        listings_are_in_byte_order_and_paged
        a_read_never_sees_half_a_write
        an_unpolled_operation_does_nothing
        a_dropped_write_is_whole_or_not_at_all
        no_append_of_many_is_lost
    ); };
    (names, $factory:expr) => { $crate::__conformance_tests!(names, $factory,
        any_name_is_a_name_and_nothing_more
        names_that_look_alike_are_different_files
        the_longest_path_works
    ); };
    (large, $factory:expr) => { $crate::__conformance_tests!(large, $factory,
        a_file_of_megabytes_is_kept_whole
        a_directory_of_a_thousand_lists_whole
    ); };
    (quota, $factory:expr) => { $crate::__conformance_tests!(quota, $factory,
        the_quota_is_kept_to_the_byte
        what_may_shrink_may_be_written_over_the_quota
        writers_at_once_never_exceed_the_bytes
        writers_at_once_never_exceed_the_files
    ); };
    (versions, $factory:expr) => { $crate::__conformance_tests!(versions, $factory,
        a_stale_version_changes_nothing
        no_two_states_share_a_version
        one_of_many_creators_wins
        one_of_many_that_expect_the_same_version_wins
        one_of_many_removers_wins
        no_increment_is_lost
    ); };
    (no_versions, $factory:expr) => { $crate::__conformance_tests!(versions, $factory,
        a_condition_that_cannot_be_kept_is_refused
    ); };
    (labels, $factory:expr) => { $crate::__conformance_tests!(labels, $factory,
        labels_are_kept_with_the_file_and_answered_with_it
        an_append_that_adds_labels_adds_its_bytes_as_ever
        a_write_that_is_refused_changes_no_labels
        a_directory_carries_what_made_it
        more_labels_than_a_set_holds_are_refused
        no_label_of_concurrent_appends_is_lost
        content_and_labels_change_in_one_step
    ); };
    (no_labels, $factory:expr) => { $crate::__conformance_tests!(labels, $factory,
        labels_that_cannot_be_kept_are_refused
    ); };
    (expiry, $factory:expr) => { $crate::__conformance_tests!(expiry, $factory,
        a_file_is_there_until_its_end_and_not_after
        what_has_ended_is_written_anew
        each_mode_sets_the_end_as_it_says
        a_directory_of_ended_files_is_gone
        what_has_ended_uses_no_quota
        an_end_in_the_past_leaves_no_file
        a_version_of_an_ended_file_is_stale
    ); };
    (no_expiry, $factory:expr) => { $crate::__conformance_tests!(expiry, $factory,
        an_end_that_cannot_be_kept_is_refused
    ); };
    (search, $factory:expr) => { $crate::__conformance_tests!(search, $factory,
        the_fitting_file_comes_first
        a_hit_carries_the_labels_of_its_file
        hits_lie_below_the_directory_and_within_the_limit
        what_is_gone_is_not_found
        what_has_changed_is_found_as_it_is
    ); };
    (no_search, $factory:expr) => { $crate::__conformance_tests!(search, $factory,
        a_search_that_cannot_be_done_is_refused
    ); };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($group:ident, $factory:expr, $($law:ident)+) => {
        $(#[test]
        fn $law() {
            $crate::testing::conformance::hold($factory, $crate::testing::conformance::$group::$law);
        })+
    };
}
