//! Stores that break one law each, to see that the conformance suite notices.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use agent_control_plane::testing::conformance::{
    expiry, files, hold, labels, large, names, quota, search, versions,
};
use agent_control_plane::vfs::{
    Answer, Content, Listing, Memory, MemoryBackend, Page, Quota, RelPath, Stat, Version, VfsError, Write,
    WriteMode, Written,
};
use agent_primitives::{Clock, LabelSet};
use bytes::Bytes;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Sound,
    ForgetsExpectedVersion,
    ComparesBeforeItSets,
    ReplacesWhenCreating,
    TakesTheSizeForAVersion,
    ReadsAndWritesToAppend,
    WritesInTwoSteps,
    WritesBeforeItIsPolled,
    CutsLongFiles,
    FillsUpShortReads,
    LosesTheLastOfAPage,
    RepeatsTheFirstOfAPage,
    StopsListingAtAHundred,
    FoldsCase,
    DecodesPercent,
    DropsLabels,
    LabelsAppendsAlone,
    WritesLabelsAfterwards,
    IgnoresTheQuota,
    CountsBeforeItWrites,
    CountsFilesOnly,
    IgnoresTheEnd,
    EndsLate,
    KeepsTheEndWhenReplacing,
    LosesTheEndWhenAppending,
}

use Fault::*;

#[derive(Debug)]
struct Broken {
    store: Memory,
    fault: Fault,
}

const UNLIMITED: Quota = Quota { bytes: u64::MAX, files: u64::MAX };

impl Broken {
    fn path(&self, path: RelPath<'_>) -> String {
        match self.fault {
            FoldsCase => path.as_str().to_lowercase(),
            DecodesPercent => path.as_str().replace("%2F", "-").replace("%20", " "),
            _ => path.as_str().to_owned(),
        }
    }

    async fn write_wrong(&self, path: RelPath<'_>, mut write: Write) -> Result<Written, VfsError> {
        let now = self.store.stat(path).await;
        match self.fault {
            ForgetsExpectedVersion => write.expected = None,
            ComparesBeforeItSets => {
                write.admit(now.ok().and_then(|stat| stat.version))?;
                tokio::task::yield_now().await;
                write.expected = None;
                if write.mode == WriteMode::CreateNew {
                    write.mode = WriteMode::Replace;
                }
            }
            ReplacesWhenCreating if write.mode == WriteMode::CreateNew => write.mode = WriteMode::Replace,
            ReadsAndWritesToAppend if write.mode == WriteMode::Append => {
                let old = self.store.read(path, 0, usize::MAX).await;
                tokio::task::yield_now().await;
                let old = old.map(|content| content.bytes).unwrap_or_default();
                write.mode = WriteMode::Replace;
                write.data = [old, write.data].concat().into();
            }
            WritesInTwoSteps if write.data.len() > 1 => {
                let rest = write.data.split_off(write.data.len() / 2);
                let labels = write.labels.clone();
                self.store.write(path, write).await?;
                tokio::task::yield_now().await;
                return self.store.write(path, Write::new(WriteMode::Append, rest, labels, UNLIMITED)).await;
            }
            CutsLongFiles => write.data.truncate(1 << 20),
            DropsLabels => write.labels = LabelSet::EMPTY,
            LabelsAppendsAlone if write.mode == WriteMode::Append => {
                if let Ok(old) = self.store.read(path, 0, usize::MAX).await {
                    write.mode = WriteMode::Replace;
                    write.data = [old.bytes, write.data].concat().into();
                }
            }
            WritesLabelsAfterwards => {
                let labels = std::mem::replace(&mut write.labels, LabelSet::EMPTY);
                self.store.write(path, write).await?;
                tokio::task::yield_now().await;
                return self
                    .store
                    .write(path, Write::new(WriteMode::Append, Bytes::new(), labels, UNLIMITED))
                    .await;
            }
            IgnoresTheQuota => write.quota = UNLIMITED,
            CountsBeforeItWrites => {
                let old = now.ok().map(|stat| stat.size);
                write.quota.admit(self.store.usage(), old, write.size_after(old.unwrap_or(0))?)?;
                tokio::task::yield_now().await;
                write.quota = UNLIMITED;
            }
            CountsFilesOnly => write.quota.bytes = u64::MAX,
            IgnoresTheEnd => write.expires = None,
            KeepsTheEndWhenReplacing => {
                write.expires = write.expires.or(now.ok().and_then(|stat| stat.expires));
            }
            LosesTheEndWhenAppending if write.mode == WriteMode::Append => {
                if let Ok(old) = self.store.read(path, 0, usize::MAX).await {
                    write.labels = write.labels_after(&old.labels)?;
                    write.mode = WriteMode::Replace;
                    write.data = [old.bytes, write.data].concat().into();
                }
            }
            _ => {}
        }
        let mut written = self.store.write(path, write).await?;
        if self.fault == TakesTheSizeForAVersion {
            written.version = Version::from_u128(u128::from(written.size));
        }
        Ok(written)
    }
}

impl MemoryBackend for Broken {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let mut content = self.store.read(RelPath::parse(&self.path(path))?, offset, length).await?;
            if self.fault == FillsUpShortReads && content.bytes.len() < length && length < 1000 {
                content.bytes = [content.bytes, vec![0; 1].into()].concat().into();
            }
            Ok(content)
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        if self.fault == WritesBeforeItIsPolled {
            let done = ready(self.store.write(path, write));
            return Box::pin(async move { done });
        }
        Box::pin(async move { self.write_wrong(RelPath::parse(&self.path(path))?, write).await })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        let expected = if self.fault == ForgetsExpectedVersion { None } else { expected };
        Box::pin(async move { self.store.remove(RelPath::parse(&self.path(path))?, expected).await })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            let mut listing = self.store.list(path, page).await?;
            match self.fault {
                LosesTheLastOfAPage if listing.next.is_some() => drop(listing.entries.pop()),
                RepeatsTheFirstOfAPage => {
                    if let Some(after) = page.after {
                        let stat = self.store.stat(RelPath::parse(&format!("{path}/{after}"))?).await;
                        if let Ok(stat) = stat {
                            listing
                                .entries
                                .insert(0, agent_control_plane::vfs::Entry::new(after.into(), stat));
                            listing.entries.truncate(page.limit.max(2));
                        }
                    }
                }
                StopsListingAtAHundred if page.after.is_some_and(|after| "0100" < after) => {
                    listing = Listing::new(vec![], None);
                }
                _ => {}
            }
            Ok(listing)
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move { self.store.stat(RelPath::parse(&self.path(path))?).await })
    }
}

/// Polls what is ready at once.
fn ready<T>(mut answer: Answer<'_, T>) -> Result<T, VfsError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match answer.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => Err(VfsError::Backend),
    }
}

/// A clock that is behind another by a second.
#[derive(Debug)]
struct Behind(Arc<dyn Clock>);

impl Clock for Behind {
    fn now(&self) -> agent_primitives::Timestamp {
        agent_primitives::Timestamp::from_micros(self.0.now().as_micros() - 1_000_000)
    }

    fn monotonic(&self) -> agent_primitives::clock::Monotonic {
        self.0.monotonic()
    }
}

async fn broken(fault: Fault, clock: Arc<dyn Clock>) -> Broken {
    let clock = if fault == EndsLate { Arc::new(Behind(clock)) } else { clock };
    Broken { store: Memory::new().clock(clock), fault }
}

/// Whether the law holds for a store with this fault.
fn holds<L: Future<Output = ()>>(
    fault: Fault,
    law: impl FnOnce(agent_control_plane::testing::conformance::Store) -> L,
) -> bool {
    catch_unwind(AssertUnwindSafe(|| hold(|clock| broken(fault, clock), law))).is_ok()
}

/// Each law named here holds for a sound store, and not for one with the fault.
macro_rules! notices {
    ($($test:ident: $fault:ident => $($law:path),+;)+) => {
        $(#[test]
        fn $test() {
            $(
                assert!(holds(Fault::Sound, $law), "{}", stringify!($law));
                assert!(!holds(Fault::$fault, $law), "{} does not notice it", stringify!($law));
            )+
        })+
    };
}

notices! {
    an_expected_version_that_is_not_looked_at: ForgetsExpectedVersion =>
        versions::a_stale_version_changes_nothing, versions::no_increment_is_lost, versions::one_of_many_that_expect_the_same_version_wins;
    comparing_and_setting_in_two_steps: ComparesBeforeItSets =>
        versions::one_of_many_that_expect_the_same_version_wins, versions::one_of_many_creators_wins, versions::no_increment_is_lost;
    a_creation_that_replaces: ReplacesWhenCreating =>
        versions::one_of_many_creators_wins, files::modes_do_what_they_say;
    versions_that_repeat: TakesTheSizeForAVersion => versions::no_two_states_share_a_version;
    appends_that_are_lost: ReadsAndWritesToAppend => files::no_append_of_many_is_lost;
    half_a_write: WritesInTwoSteps =>
        files::a_read_never_sees_half_a_write, files::a_dropped_write_is_whole_or_not_at_all;
    a_write_that_nobody_polled: WritesBeforeItIsPolled => files::an_unpolled_operation_does_nothing;
    a_long_file_that_is_cut: CutsLongFiles => large::a_file_of_megabytes_is_kept_whole;
    bytes_beyond_the_end: FillsUpShortReads => files::parts_end_where_the_file_does;
    a_name_lost_between_pages: LosesTheLastOfAPage => files::listings_are_in_byte_order_and_paged;
    a_name_listed_on_two_pages: RepeatsTheFirstOfAPage => files::listings_are_in_byte_order_and_paged;
    a_listing_that_ends_early: StopsListingAtAHundred => large::a_directory_of_a_thousand_lists_whole;
    names_that_are_folded: FoldsCase => names::names_that_look_alike_are_different_files;
    names_that_are_decoded: DecodesPercent => names::any_name_is_a_name_and_nothing_more;
    labels_that_are_dropped: DropsLabels =>
        labels::labels_are_kept_with_the_file_and_answered_with_it, labels::a_directory_carries_what_made_it;
    labels_that_an_append_takes_away: LabelsAppendsAlone =>
        labels::labels_are_kept_with_the_file_and_answered_with_it, labels::no_label_of_concurrent_appends_is_lost;
    labels_that_come_later_than_the_bytes: WritesLabelsAfterwards => labels::content_and_labels_change_in_one_step;
    a_quota_that_is_not_looked_at: IgnoresTheQuota =>
        quota::the_quota_is_kept_to_the_byte, quota::writers_at_once_never_exceed_the_bytes, quota::writers_at_once_never_exceed_the_files;
    a_quota_that_is_raced: CountsBeforeItWrites =>
        quota::writers_at_once_never_exceed_the_bytes, quota::writers_at_once_never_exceed_the_files;
    a_quota_in_files_only: CountsFilesOnly =>
        quota::the_quota_is_kept_to_the_byte, quota::what_may_shrink_may_be_written_over_the_quota;
    an_end_that_is_dropped: IgnoresTheEnd =>
        expiry::a_file_is_there_until_its_end_and_not_after, expiry::what_has_ended_is_written_anew,
        expiry::a_directory_of_ended_files_is_gone, expiry::what_has_ended_uses_no_quota,
        expiry::an_end_in_the_past_leaves_no_file, expiry::a_version_of_an_ended_file_is_stale;
    an_end_that_comes_late: EndsLate => expiry::a_file_is_there_until_its_end_and_not_after;
    an_end_that_outlives_its_content: KeepsTheEndWhenReplacing => expiry::each_mode_sets_the_end_as_it_says;
    an_end_that_an_append_takes_away: LosesTheEndWhenAppending => expiry::each_mode_sets_the_end_as_it_says;
}

/// A store that may leave something out has to say so, where a sound one does it.
#[test]
fn what_is_left_out_in_silence_is_noticed() {
    assert!(!holds(DropsLabels, labels::labels_that_cannot_be_kept_are_refused));
    assert!(!holds(IgnoresTheEnd, expiry::an_end_that_cannot_be_kept_is_refused));
    assert!(!holds(ForgetsExpectedVersion, versions::a_condition_that_cannot_be_kept_is_refused));
    assert!(holds(Sound, search::a_search_that_cannot_be_done_is_refused));
}
