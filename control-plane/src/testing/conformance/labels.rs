//! A file carries labels, which come with its bytes and stay with them.

use std::collections::HashSet;

use agent_primitives::LabelSet;
use agent_primitives::label::MAX_LABELS;
use bytes::Bytes;

use super::Store;
use super::store::{ROOMY, set};
use crate::vfs::WriteMode::{Append, CreateNew, Replace};
use crate::vfs::{Content, Quota, VfsError, Write};

/// With the content, by mode, and gone with the file.
pub async fn labels_are_kept_with_the_file_and_answered_with_it(store: Store) {
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

/// Labels that change are no reason to lose bytes, versions or the quota.
pub async fn an_append_that_adds_labels_adds_its_bytes_as_ever(store: Store) {
    let mut versions = HashSet::new();
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

/// Whatever it was refused for.
pub async fn a_write_that_is_refused_changes_no_labels(store: Store) {
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

/// Its name comes from whoever made it, and nobody else.
pub async fn a_directory_carries_what_made_it(store: Store) {
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

/// Each adds its own to those of the others.
pub async fn no_label_of_concurrent_appends_is_lost(store: Store) {
    store
        .at_once(4, |store, writer| async move {
            let mut before = LabelSet::EMPTY;
            for round in 0..10 {
                let own = format!("own:{writer}.{round}");
                let after = store.put_labelled(Append, "d/f", b"1", &[&own]).await.unwrap().labels;
                assert!(after.contains(&own) && after.contains_all(&before));
                before = after;
            }
        })
        .await;
    assert_eq!(store.labels("d/f").await.len(), 40);
    assert_eq!(store.read("d/f").await.unwrap().len(), 40);
}

/// The set of a file is bounded like any other, and a write that would pass the bound does nothing. A store may have less
/// room than that, and refuses what it has no room for.
pub async fn more_labels_than_a_set_holds_are_refused(store: Store) {
    let many = |range: std::ops::Range<usize>| -> LabelSet {
        LabelSet::new(range.map(|number| format!("own:{number}").parse().unwrap())).unwrap()
    };
    let append = |labels| Write::new(Append, Bytes::from_static(b"x"), labels, ROOMY);
    let first = store.write("f", append(many(0..MAX_LABELS - 1))).await;
    if first == Err(VfsError::TooManyLabels) || first == Err(VfsError::NoSpace) {
        assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
        return;
    }
    first.unwrap();
    store.write("f", append(many(MAX_LABELS - 1..MAX_LABELS))).await.unwrap();
    let over = append(many(MAX_LABELS..MAX_LABELS + 1));
    assert_eq!(store.write("f", over).await, Err(VfsError::TooManyLabels));
    assert_eq!(store.read("f").await.unwrap(), "xx");
    assert_eq!(store.labels("f").await, many(0..MAX_LABELS));
}

/// A reader never has the bytes of one write with the labels of another.
pub async fn content_and_labels_change_in_one_step(store: Store) {
    store.put_labelled(Replace, "f", b"a", &["own:a"]).await.unwrap();
    let write = |store: Store, _: usize| async move {
        store.put_labelled(Replace, "f", b"bb", &["own:b"]).await.unwrap();
        store.put_labelled(Replace, "f", b"a", &["own:a"]).await.unwrap();
        store.put_labelled(Append, "f", b"cc", &["own:c"]).await.unwrap();
    };
    let expected = |size: usize| match size {
        1 => set(&["own:a"]),
        2 => set(&["own:b"]),
        _ => set(&["own:a", "own:c"]),
    };
    let fitting = |content: &Content| assert_eq!(content.labels, expected(content.bytes.len()));
    store.beside("f", write, fitting).await;
}

/// A store that keeps no labels says so, and writes nothing.
pub async fn labels_that_cannot_be_kept_are_refused(store: Store) {
    for mode in [Replace, Append, CreateNew] {
        let written = store.put_labelled(mode, "f", b"1", &["pii"]).await;
        assert_eq!(written, Err(VfsError::NotSupported), "{mode:?}");
        assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
    }
}
