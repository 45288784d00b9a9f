//! What every backend promises, run over each of them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_control_plane::vfs::{
    Content, Directory, Kind, Listing, Memory, MemoryBackend, Page, Quota, RelPath, Stat, Version, VfsError,
    Write, WriteMode, Written,
};
use agent_primitives::LabelSet;
use bytes::Bytes;

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };

/// A backend with the arguments of its methods as a test likes to write them.
struct Store(Arc<dyn MemoryBackend>);

impl Store {
    async fn put(&self, mode: WriteMode, path: &str, data: &[u8]) -> Result<Written, VfsError> {
        self.write(path, Write::new(mode, Bytes::copy_from_slice(data), LabelSet::EMPTY, ROOMY)).await
    }

    async fn put_labelled(
        &self,
        mode: WriteMode,
        path: &str,
        data: &[u8],
        labels: &[&str],
    ) -> Result<Written, VfsError> {
        self.write(path, Write::new(mode, Bytes::copy_from_slice(data), set(labels), ROOMY)).await
    }

    /// What a file carries, by every way of asking.
    async fn labels(&self, path: &str) -> LabelSet {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let stat = self.stat(path).await.unwrap();
        let entries = self.page(parent, None, 100).await.unwrap().entries;
        let entry = entries.into_iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.stat, stat);
        if stat.kind == Kind::File {
            for length in [0, 1, 1 << 20] {
                assert_eq!(self.part(path, 0, length).await.unwrap().labels, stat.labels);
            }
        }
        stat.labels
    }

    async fn write(&self, path: &str, write: Write) -> Result<Written, VfsError> {
        self.0.write(RelPath::parse(path).unwrap(), write).await
    }

    async fn read(&self, path: &str) -> Result<Bytes, VfsError> {
        self.content(path).await.map(|content| content.bytes)
    }

    async fn content(&self, path: &str) -> Result<Content, VfsError> {
        self.part(path, 0, 1 << 20).await
    }

    async fn part(&self, path: &str, offset: u64, length: usize) -> Result<Content, VfsError> {
        self.0.read(RelPath::parse(path).unwrap(), offset, length).await
    }

    async fn remove(&self, path: &str, expected: Option<Version>) -> Result<(), VfsError> {
        self.0.remove(RelPath::parse(path).unwrap(), expected).await
    }

    async fn stat(&self, path: &str) -> Result<Stat, VfsError> {
        self.0.stat(RelPath::parse(path).unwrap()).await
    }

    async fn page(&self, path: &str, after: Option<&str>, limit: usize) -> Result<Listing, VfsError> {
        self.0.list(RelPath::parse(path).unwrap(), Page::new(after, limit)).await
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let listing = self.page(path, None, 10_000).await.unwrap();
        listing.entries.into_iter().map(|entry| entry.name).collect()
    }
}

fn set(labels: &[&str]) -> LabelSet {
    LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
}

use WriteMode::{Append, CreateNew, Replace};

async fn an_empty_store_has_a_root_and_nothing_else(store: Store) {
    assert_eq!(store.stat("").await, Ok(Stat::directory(LabelSet::EMPTY)));
    assert_eq!(store.page("", None, 10).await, Ok(Listing::new(vec![], None)));
    assert_eq!(store.read("").await, Err(VfsError::IsDirectory));
    for path in ["a", "a/b"] {
        assert_eq!(store.read(path).await, Err(VfsError::NotFound));
        assert_eq!(store.stat(path).await, Err(VfsError::NotFound));
        assert_eq!(store.remove(path, None).await, Err(VfsError::NotFound));
        assert_eq!(store.page(path, None, 10).await, Err(VfsError::NotFound));
    }
}

async fn what_was_written_is_read(store: Store) {
    let binary: Vec<u8> = (0..=255).chain([0, 0xff, 0xfe, 0x80]).collect();
    for (path, data) in
        [("text", b"hello".as_slice()), ("a/b/c", &binary), ("empty", b""), ("caf\u{e9}", b"1")]
    {
        let written = store.put(Replace, path, data).await.unwrap();
        assert_eq!(written.size, data.len() as u64);
        let content = store.content(path).await.unwrap();
        assert_eq!((content.bytes.as_ref(), content.version), (data, written.version), "{path}");
        assert_eq!(
            store.stat(path).await,
            Ok(Stat::file(data.len() as u64, written.version, LabelSet::EMPTY))
        );
    }
}

async fn modes_do_what_they_say(store: Store) {
    for (mode, data, expected) in [
        (CreateNew, "one", Ok("one")),
        (CreateNew, "two", Err(VfsError::Exists)),
        (Append, " more", Ok("one more")),
        (Replace, "x", Ok("x")),
        (Append, "", Ok("x")),
    ] {
        let written = store.put(mode, "d/f", data.as_bytes()).await;
        assert_eq!(
            written.map(|written| written.size),
            expected.map(|text| text.len() as u64),
            "{mode:?} {data}"
        );
        if let Ok(text) = expected {
            assert_eq!(store.read("d/f").await.unwrap(), text);
        }
    }
    assert_eq!(store.put(Append, "d/new", b"made").await.unwrap().size, 4);
}

async fn parts_end_where_the_file_does(store: Store) {
    store.put(Replace, "f", b"0123456789").await.unwrap();
    for (offset, length, expected) in [
        (0, 4, "0123"),
        (4, 100, "456789"),
        (9, 1, "9"),
        (10, 1, ""),
        (11, 1, ""),
        (u64::MAX, usize::MAX, ""),
        (1, usize::MAX, "123456789"),
        (3, 0, ""),
    ] {
        assert_eq!(store.part("f", offset, length).await.unwrap().bytes, expected, "{offset} {length}");
    }
}

async fn bytes_once_read_do_not_change(store: Store) {
    store.put(Replace, "f", b"before").await.unwrap();
    let held = store.read("f").await.unwrap();
    store.put(Append, "f", b" and after").await.unwrap();
    store.put(Append, "f", b" and later").await.unwrap();
    assert_eq!(held, "before");
    assert_eq!(store.read("f").await.unwrap(), "before and after and later");
}

async fn files_and_directories_do_not_mix(store: Store) {
    store.put(Replace, "d/f", b"1").await.unwrap();
    for mode in [Replace, Append, CreateNew] {
        assert_eq!(store.put(mode, "d", b"x").await.unwrap_err(), VfsError::IsDirectory);
        assert_eq!(store.put(mode, "", b"x").await.unwrap_err(), VfsError::IsDirectory);
        assert_eq!(store.put(mode, "d/f/g", b"x").await.unwrap_err(), VfsError::NotDirectory);
        assert_eq!(store.put(mode, "d/f/g/h", b"x").await.unwrap_err(), VfsError::NotDirectory);
    }
    for path in ["d", ""] {
        assert_eq!(store.read(path).await, Err(VfsError::IsDirectory));
        assert_eq!(store.remove(path, None).await, Err(VfsError::IsDirectory));
    }
    assert_eq!(store.read("d/f/g").await, Err(VfsError::NotDirectory));
    assert_eq!(store.stat("d/f/g").await, Err(VfsError::NotDirectory));
    assert_eq!(store.remove("d/f/g", None).await, Err(VfsError::NotDirectory));
    assert_eq!(store.page("d/f", None, 10).await, Err(VfsError::NotDirectory));
    assert_eq!(store.names("d").await, ["f"]);
}

async fn a_directory_goes_with_its_last_file(store: Store) {
    store.put(Replace, "a/b/c/one", b"1").await.unwrap();
    store.put(Replace, "a/two", b"2").await.unwrap();
    store.remove("a/b/c/one", None).await.unwrap();
    assert_eq!(store.stat("a/b").await, Err(VfsError::NotFound));
    assert_eq!(store.names("a").await, ["two"]);
    store.remove("a/two", None).await.unwrap();
    assert_eq!(store.names("").await, Vec::<String>::new());
    store.put(CreateNew, "a", b"a file now").await.unwrap();
}

async fn a_stale_version_changes_nothing(store: Store) {
    let first = store.put(Replace, "f", b"1").await.unwrap().version;
    let second = store.put(Replace, "f", b"2").await.unwrap().version;
    let conditional = |mode, expected| {
        Write::new(mode, Bytes::from_static(b"3"), LabelSet::EMPTY, ROOMY).expecting(Some(expected))
    };
    for mode in [Replace, Append] {
        assert_eq!(store.write("f", conditional(mode, first)).await, Err(VfsError::Conflict));
        assert_eq!(store.write("gone", conditional(mode, first)).await, Err(VfsError::Conflict));
    }
    assert_eq!(store.remove("f", Some(first)).await, Err(VfsError::Conflict));
    assert_eq!(store.read("f").await.unwrap(), "2");
    assert_eq!(store.stat("gone").await, Err(VfsError::NotFound));
    let third = store.write("f", conditional(Append, second)).await.unwrap().version;
    assert_eq!(store.remove("f", Some(third)).await, Ok(()));
    assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
}

async fn no_two_states_share_a_version(store: Store) {
    let mut versions = std::collections::HashSet::new();
    for round in 0..60 {
        let mode = if round % 3 == 2 { Append } else { Replace };
        // Equal length and content in each round is the hardest case.
        let written = store.put(mode, "f", if mode == Append { b"" } else { b"same" }).await.unwrap();
        assert!(versions.insert(written.version), "round {round}");
        assert_eq!(store.stat("f").await.unwrap().version, Some(written.version));
        if round % 5 == 4 {
            store.remove("f", None).await.unwrap();
        }
    }
}

async fn listings_are_in_byte_order_and_paged(store: Store) {
    let names = ["B", "a", "a-x", "a.txt", "a0", "b", "caf\u{e9}", "z"];
    for name in names {
        store.put(Replace, &format!("dir/{name}"), name.as_bytes()).await.unwrap();
    }
    store.put(Replace, "dir/sub/deep/file", b"1").await.unwrap();
    store.put(Replace, "dirt", b"not in there").await.unwrap();
    let mut expected: Vec<&str> = names.into_iter().chain(["sub"]).collect();
    expected.sort_unstable();
    assert_eq!(store.names("dir").await, expected);
    for limit in 1..=expected.len() + 1 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = store.page("dir", after.as_deref(), limit).await.unwrap();
            assert!(page.entries.len() <= limit);
            paged.extend(page.entries.into_iter().map(|entry| entry.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, expected, "limit {limit}");
    }
    for entry in store.page("dir", None, 100).await.unwrap().entries {
        assert_eq!(
            store.stat(&format!("dir/{}", entry.name)).await,
            Ok(entry.stat.clone()),
            "{}",
            entry.name
        );
        assert_eq!(entry.stat.kind == Kind::Directory, entry.name == "sub");
    }
    assert_eq!(store.page("dir", Some("zz"), 10).await, Ok(Listing::new(vec![], None)));
}

async fn the_quota_is_kept_to_the_byte(store: Store) {
    let quota = Quota { bytes: 10, files: 2 };
    let put = async |mode, path, data: &'static [u8]| {
        store
            .write(path, Write::new(mode, Bytes::from_static(data), LabelSet::EMPTY, quota))
            .await
            .map(|written| written.size)
    };
    assert_eq!(put(Replace, "a", b"12345678").await, Ok(8));
    assert_eq!(put(Append, "a", b"123").await, Err(VfsError::Quota));
    assert_eq!(put(Replace, "b/c", b"123").await, Err(VfsError::Quota));
    assert_eq!(store.stat("b").await, Err(VfsError::NotFound));
    assert_eq!(put(Replace, "b", b"12").await, Ok(2));
    assert_eq!(put(CreateNew, "c", b"").await, Err(VfsError::Quota));
    assert_eq!(put(Append, "b", b"").await, Ok(2));
    assert_eq!(put(Replace, "a", b"1").await, Ok(1));
    assert_eq!(put(Replace, "b", b"123456789").await, Ok(9));
    store.remove("a", None).await.unwrap();
    assert_eq!(put(CreateNew, "c", b"1").await, Ok(1));
    assert_eq!(put(Append, "c", b"1").await, Err(VfsError::Quota));
    assert_eq!(store.read("b").await.unwrap(), "123456789");
}

async fn writers_at_once_never_exceed_the_quota(store: Store) {
    let store = Arc::new(store);
    let quota = Quota { bytes: 100, files: 5 };
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = 0;
                for round in 0..20 {
                    let path = format!("{}", (writer + round) % 7);
                    let write = Write::new(Append, Bytes::from_static(b"1234567"), LabelSet::EMPTY, quota);
                    match store.write(&path, write).await {
                        Ok(_) => done += 7,
                        Err(error) => assert_eq!(error, VfsError::Quota),
                    }
                }
                done
            })
        })
        .collect();
    let mut accepted = 0;
    for writer in writers {
        accepted += writer.await.unwrap();
    }
    let entries = store.page("", None, 100).await.unwrap().entries;
    let held: u64 = entries.iter().map(|entry| entry.stat.size).sum();
    assert_eq!(held, accepted);
    assert_eq!(held, 98, "the quota has room for fourteen appends of seven bytes");
    assert!(entries.len() <= 5);
}

async fn one_of_many_creators_wins(store: Store) {
    let store = Arc::new(store);
    let creators: Vec<_> = (0..16_u8)
        .map(|creator| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put(CreateNew, "d/f", &[creator]).await.is_ok() })
        })
        .collect();
    let mut winners = 0;
    for creator in creators {
        winners += u32::from(creator.await.unwrap());
    }
    assert_eq!(winners, 1);
}

async fn no_increment_is_lost(store: Store) {
    store.put(Replace, "n", b"0").await.unwrap();
    let store = Arc::new(store);
    let counters: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut done = 0;
                while done < 25 {
                    let Content { bytes, version, .. } = store.content("n").await.unwrap();
                    let next = std::str::from_utf8(&bytes).unwrap().parse::<u32>().unwrap() + 1;
                    let write = Write::new(Replace, next.to_string().into(), LabelSet::EMPTY, ROOMY)
                        .expecting(Some(version));
                    match store.write("n", write).await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error, VfsError::Conflict),
                    }
                }
            })
        })
        .collect();
    for counter in counters {
        counter.await.unwrap();
    }
    assert_eq!(store.read("n").await.unwrap(), "100");
}

async fn a_read_never_sees_half_a_write(store: Store) {
    let store = Arc::new(store);
    store.put(Replace, "f", &[0; 64 << 10]).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 1..=40_u8 {
                store.put(Replace, "f", &[round; 64 << 10]).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let bytes = store.read("f").await.unwrap();
        assert_eq!(bytes.len(), 64 << 10);
        assert!(bytes.iter().all(|byte| Some(byte) == bytes.first()));
    }
    writer.await.unwrap();
}

async fn a_directory_of_thousands_lists_whole(store: Store) {
    for n in 0..2000 {
        store.put(Replace, &format!("big/{n:05}"), b"").await.unwrap();
    }
    let names = store.names("big").await;
    assert_eq!(names.len(), 2000);
    assert!(names.is_sorted());
}

async fn an_unpolled_operation_does_nothing(store: Store) {
    let path = RelPath::parse("f").unwrap();
    drop(store.0.write(path, Write::new(Replace, Bytes::from_static(b"1"), LabelSet::EMPTY, ROOMY)));
    assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
}

async fn the_longest_path_works(store: Store) {
    let deep = vec!["d"; 63].join("/") + "/f";
    store.put(CreateNew, &deep, b"deep").await.unwrap();
    assert_eq!(store.read(&deep).await.unwrap(), "deep");
    store.put(CreateNew, &"n".repeat(255), b"long").await.unwrap();
    store.remove(&deep, None).await.unwrap();
    assert_eq!(store.stat("d").await, Err(VfsError::NotFound));
}

async fn labels_are_kept_with_the_file_and_answered_with_it(store: Store) {
    for (mode, labels, expected) in [
        (CreateNew, &["pii"][..], &["pii"][..]),
        (Append, &[], &["pii"]),
        (Append, &["untrusted"], &["pii", "untrusted"]),
        (Append, &["untrusted", "tool:mail.read"], &["pii", "tool:mail.read", "untrusted"]),
        (Append, &["pii"], &["pii", "tool:mail.read", "untrusted"]),
        (Replace, &["secret"], &["secret"]),
        (Replace, &[], &[]),
        (Append, &["mcp:github"], &["mcp:github"]),
    ] {
        let written = store.put_labelled(mode, "d/f", b"x", labels).await.unwrap();
        assert_eq!(written.labels, set(expected), "{mode:?} {labels:?}");
        assert_eq!(store.labels("d/f").await, set(expected), "{mode:?} {labels:?}");
        assert_eq!(store.stat("d/f").await.unwrap().version, Some(written.version));
    }
    store.put_labelled(Append, "d/other", b"", &["secret"]).await.unwrap();
    assert_eq!(store.labels("d/other").await, set(&["secret"]));
    assert_eq!(store.labels("d/f").await, set(&["mcp:github"]));
    store.remove("d/f", None).await.unwrap();
    store.put(CreateNew, "d/f", b"anew").await.unwrap();
    assert_eq!(store.labels("d/f").await, LabelSet::EMPTY);
}

async fn an_append_that_adds_labels_adds_its_bytes_as_ever(store: Store) {
    let mut versions = std::collections::HashSet::new();
    for (index, label) in ["tool:a", "tool:b", "tool:b", "tool:c"].into_iter().enumerate() {
        let written = store.put_labelled(Append, "f", &[b'0' + index as u8], &[label]).await.unwrap();
        assert_eq!(written.size, index as u64 + 1);
        assert!(versions.insert(written.version));
    }
    assert_eq!(store.read("f").await.unwrap(), "0123");
    let over = Quota { bytes: 4, files: 1 };
    let write = Write::new(Append, Bytes::from_static(b"4"), set(&["secret"]), over);
    assert_eq!(store.write("f", write).await, Err(VfsError::Quota));
    assert_eq!(store.labels("f").await, set(&["tool:a", "tool:b", "tool:c"]));
}

async fn a_write_that_is_refused_changes_no_labels(store: Store) {
    let first = store.put_labelled(Replace, "f", b"1", &["pii"]).await.unwrap().version;
    let second = store.put_labelled(Replace, "f", b"2", &["untrusted"]).await.unwrap().version;
    let tight = Quota { bytes: 1, files: 1 };
    for (mode, expected, quota, error) in [
        (Replace, Some(first), ROOMY, VfsError::Conflict),
        (Append, Some(first), ROOMY, VfsError::Conflict),
        (CreateNew, None, ROOMY, VfsError::Exists),
        (Append, Some(second), tight, VfsError::Quota),
        (Replace, Some(second), tight, VfsError::Quota),
    ] {
        let write = Write::new(mode, Bytes::from_static(b"xx"), set(&["secret"]), quota).expecting(expected);
        assert_eq!(store.write("f", write).await, Err(error));
        assert_eq!(store.labels("f").await, set(&["untrusted"]), "{mode:?}");
    }
    assert_eq!(store.remove("f", Some(first)).await, Err(VfsError::Conflict));
    assert_eq!(store.labels("f").await, set(&["untrusted"]));
}

async fn a_directory_carries_what_made_it(store: Store) {
    store.put_labelled(CreateNew, "a/b/tainted", b"", &["untrusted"]).await.unwrap();
    store.put_labelled(CreateNew, "a/clean", b"", &[]).await.unwrap();
    store.put_labelled(Replace, "plain/f", b"", &[]).await.unwrap();
    store.put_labelled(Replace, "plain/g", b"", &["secret"]).await.unwrap();
    assert_eq!(store.labels("a").await, set(&["untrusted"]));
    assert_eq!(store.labels("a/b").await, set(&["untrusted"]));
    assert_eq!(store.labels("plain").await, LabelSet::EMPTY);
    store.remove("a/b/tainted", None).await.unwrap();
    store.put_labelled(CreateNew, "a/b/again", b"", &["pii"]).await.unwrap();
    assert_eq!(store.labels("a/b").await, set(&["pii"]));
}

async fn no_label_of_concurrent_appends_is_lost(store: Store) {
    let store = Arc::new(store);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut before = LabelSet::EMPTY;
                for round in 0..10 {
                    let own = format!("own:{writer}.{round}");
                    let after = store.put_labelled(Append, "d/f", b"1", &[&own]).await.unwrap().labels;
                    assert!(after.contains(&own) && after.contains_all(&before));
                    before = after;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.labels("d/f").await.len(), 40);
    assert_eq!(store.read("d/f").await.unwrap().len(), 40);
}

async fn content_and_labels_change_in_one_step(store: Store) {
    let store = Arc::new(store);
    store.put_labelled(Replace, "f", b"a", &["own:a"]).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..100 {
                store.put_labelled(Replace, "f", b"bb", &["own:b"]).await.unwrap();
                store.put_labelled(Replace, "f", b"a", &["own:a"]).await.unwrap();
                store.put_labelled(Append, "f", b"cc", &["own:c"]).await.unwrap();
            }
        })
    };
    let expected = |size: u64| match size {
        1 => set(&["own:a"]),
        2 => set(&["own:b"]),
        _ => set(&["own:a", "own:c"]),
    };
    while !writer.is_finished() {
        let content = store.content("f").await.unwrap();
        assert_eq!(content.labels, expected(content.bytes.len() as u64));
        let stat = store.stat("f").await.unwrap();
        assert_eq!(stat.labels, expected(stat.size));
    }
    writer.await.unwrap();
}

macro_rules! conformance {
    ($($law:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                super::$law(super::Store(std::sync::Arc::new(super::Memory::new()))).await;
            })*
        }
        mod directory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let folder = tempfile::tempdir().unwrap();
                let store = super::Directory::open(folder.path()).unwrap();
                super::$law(super::Store(std::sync::Arc::new(store))).await;
            })*
        }
    };
}

conformance! {
    an_empty_store_has_a_root_and_nothing_else
    what_was_written_is_read
    modes_do_what_they_say
    parts_end_where_the_file_does
    bytes_once_read_do_not_change
    files_and_directories_do_not_mix
    a_directory_goes_with_its_last_file
    a_stale_version_changes_nothing
    no_two_states_share_a_version
    listings_are_in_byte_order_and_paged
    the_quota_is_kept_to_the_byte
    writers_at_once_never_exceed_the_quota
    one_of_many_creators_wins
    no_increment_is_lost
    a_read_never_sees_half_a_write
    a_directory_of_thousands_lists_whole
    an_unpolled_operation_does_nothing
    the_longest_path_works
    labels_are_kept_with_the_file_and_answered_with_it
    an_append_that_adds_labels_adds_its_bytes_as_ever
    a_write_that_is_refused_changes_no_labels
    a_directory_carries_what_made_it
    no_label_of_concurrent_appends_is_lost
    content_and_labels_change_in_one_step
}
