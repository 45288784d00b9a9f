//! Files are read as they were written, and directories hold them.

use std::task::{Context, Waker};

use super::Store;
use super::store::plain;
use crate::vfs::WriteMode::{Append, CreateNew, Replace};
use crate::vfs::{Content, Kind, Listing, Stat, VfsError};
use agent_primitives::LabelSet;

/// The root is there before anything else is.
pub async fn an_empty_store_has_a_root_and_nothing_else(store: Store) {
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

/// Text, bytes that are no text, and nothing at all.
pub async fn what_was_written_is_read(store: Store) {
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

/// Replacing, appending, creating.
pub async fn modes_do_what_they_say(store: Store) {
    for (mode, data, expected) in [
        (CreateNew, "one", Ok("one")),
        (CreateNew, "two", Err(VfsError::Exists)),
        (Append, " more", Ok("one more")),
        (Replace, "x", Ok("x")),
        (Append, "", Ok("x")),
        (Replace, "", Ok("")),
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

/// A read beyond the end is short, or empty.
pub async fn parts_end_where_the_file_does(store: Store) {
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

/// What a reader holds is not the store's to change.
pub async fn bytes_once_read_do_not_change(store: Store) {
    store.put(Replace, "f", b"before").await.unwrap();
    let held = store.read("f").await.unwrap();
    store.put(Append, "f", b" and after").await.unwrap();
    store.put(Append, "f", b" and later").await.unwrap();
    assert_eq!(held, "before");
    assert_eq!(store.read("f").await.unwrap(), "before and after and later");
}

/// A file is no directory, and the other way round.
pub async fn files_and_directories_do_not_mix(store: Store) {
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

/// No directory outlives what lies in it.
pub async fn a_directory_goes_with_its_last_file(store: Store) {
    store.put(Replace, "a/b/c/one", b"1").await.unwrap();
    store.put(Replace, "a/two", b"2").await.unwrap();
    store.remove("a/b/c/one", None).await.unwrap();
    assert_eq!(store.stat("a/b").await, Err(VfsError::NotFound));
    assert_eq!(store.names("a").await, ["two"]);
    store.remove("a/two", None).await.unwrap();
    assert_eq!(store.names("").await, Vec::<String>::new());
    store.put(CreateNew, "a", b"a file now").await.unwrap();
}

/// Byte order, whatever the limit, and nothing from beside or below.
pub async fn listings_are_in_byte_order_and_paged(store: Store) {
    let names = ["B", "a", "a-x", "a.txt", "a0", "b", "caf\u{e9}", "z"];
    for name in names {
        store.put(Replace, &format!("dir/{name}"), name.as_bytes()).await.unwrap();
    }
    store.put(Replace, "dir/sub/deep/file", b"1").await.unwrap();
    store.put(Replace, "dir/sub/other", b"1").await.unwrap();
    store.put(Replace, "dirt", b"not in there").await.unwrap();
    store.put(Replace, "dir-/x", b"not in there").await.unwrap();
    let mut expected: Vec<&str> = names.into_iter().chain(["sub"]).collect();
    expected.sort_unstable();
    for limit in 1..=expected.len() + 1 {
        assert_eq!(store.names_by("dir", limit).await, expected, "limit {limit}");
    }
    for entry in store.page("dir", None, 100).await.unwrap().entries {
        let stat = store.stat(&format!("dir/{}", entry.name)).await;
        assert_eq!(stat, Ok(entry.stat.clone()), "{}", entry.name);
        assert_eq!(entry.stat.kind == Kind::Directory, entry.name == "sub");
    }
    assert_eq!(store.page("dir", Some("zz"), 10).await, Ok(Listing::new(vec![], None)));
    // A page may begin after a name that is not there.
    let rest = store.page("dir", Some("a1"), 100).await.unwrap().entries;
    assert_eq!(
        rest.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        ["b", "caf\u{e9}", "sub", "z"]
    );
}

/// A reader beside a writer sees one of the states the file was in.
pub async fn a_read_never_sees_half_a_write(store: Store) {
    store.put(Replace, "f", &[0; 64 << 10]).await.unwrap();
    let write = |store: Store, round: usize| async move {
        store.put(Replace, "f", &[(round % 251) as u8; 64 << 10]).await.unwrap();
    };
    let whole = |content: &Content| {
        assert_eq!(content.bytes.len(), 64 << 10);
        assert!(content.bytes.iter().all(|byte| Some(byte) == content.bytes.first()));
    };
    store.beside("f", write, whole).await;
}

/// Asking for an operation is not beginning it.
pub async fn an_unpolled_operation_does_nothing(store: Store) {
    drop(store.writing("f", plain(Replace, b"1")));
    assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
}

/// However far a write had come when it was dropped, the file is the old one or the new one.
pub async fn a_dropped_write_is_whole_or_not_at_all(store: Store) {
    let (old, new) = ([b'o'; 4096], [b'n'; 9000]);
    for polls in 0..8 {
        store.put(Replace, "d/f", &old).await.unwrap();
        let mut write = store.writing("d/f", plain(Replace, &new));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if write.as_mut().poll(&mut context).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        for _ in 0..3 {
            let bytes = store.read("d/f").await.unwrap();
            assert!(
                bytes == old.as_slice() || bytes == new.as_slice(),
                "{polls} polls: {} bytes",
                bytes.len()
            );
        }
        assert_eq!(store.names("d").await, ["f"]);
    }
}

/// Appends at once follow each other.
pub async fn no_append_of_many_is_lost(store: Store) {
    store
        .at_once(4, |store, task| async move {
            for round in 0..15 {
                store.put(Append, "log", format!("{task}:{round:02}\n").as_bytes()).await.unwrap();
            }
        })
        .await;
    let text = store.read("log").await.unwrap();
    let mut lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
    for task in 0..4 {
        let own = lines.iter().filter(|line| line.starts_with(&format!("{task}:")));
        assert!(own.is_sorted(), "the appends of one task keep their order");
    }
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 60);
    assert_eq!(text.len(), 60 * 5);
}
