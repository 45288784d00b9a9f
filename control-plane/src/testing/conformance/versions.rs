//! A write that expects a state of the file changes that state and no other.

use std::collections::HashSet;

use super::Store;
use super::store::plain;
use crate::vfs::WriteMode::{Append, CreateNew, Replace};
use crate::vfs::{Version, VfsError};

/// Neither of a file that has changed nor of one that is gone.
pub async fn a_stale_version_changes_nothing(store: Store) {
    let first = store.put(Replace, "f", b"1").await.unwrap().version;
    let second = store.put(Replace, "f", b"2").await.unwrap().version;
    for mode in [Replace, Append] {
        let stale = || plain(mode, b"3").expecting(Some(first));
        assert_eq!(store.write("f", stale()).await, Err(VfsError::Conflict));
        assert_eq!(store.write("gone", stale()).await, Err(VfsError::Conflict));
    }
    assert_eq!(store.remove("f", Some(first)).await, Err(VfsError::Conflict));
    assert_eq!(store.read("f").await.unwrap(), "2");
    assert_eq!(store.stat("gone").await, Err(VfsError::NotFound));
    let third = store.write("f", plain(Append, b"3").expecting(Some(second))).await.unwrap().version;
    assert_eq!(store.remove("f", Some(third)).await, Ok(()));
    assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
}

/// Equal length and content in each round, and removals in between, which is the hardest case.
pub async fn no_two_states_share_a_version(store: Store) {
    let mut versions = HashSet::new();
    for round in 0..60 {
        let mode = if round % 3 == 2 { Append } else { Replace };
        let written = store.put(mode, "f", if mode == Append { b"" } else { b"same" }).await.unwrap();
        assert!(versions.insert(written.version), "round {round}");
        assert_eq!(store.stat("f").await.unwrap().version, Some(written.version));
        if round % 5 == 4 {
            store.remove("f", None).await.unwrap();
        }
    }
}

/// A name is taken once.
pub async fn one_of_many_creators_wins(store: Store) {
    let created = store.at_once(16, |store, task| async move {
        match store.put(CreateNew, "d/f", &[task as u8]).await {
            Ok(_) => Some(task as u8),
            Err(error) => {
                assert_eq!(error, VfsError::Exists);
                None
            }
        }
    });
    let winners: Vec<u8> = created.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.read("d/f").await.unwrap(), winners);
}

/// A state is changed once.
pub async fn one_of_many_that_expect_the_same_version_wins(store: Store) {
    for _ in 0..5 {
        let version = store.put(Replace, "f", b"before").await.unwrap().version;
        let won = store.at_once(12, |store, task| async move {
            let write = plain(Replace, &[task as u8]).expecting(Some(version));
            match store.write("f", write).await {
                Ok(_) => Some(task as u8),
                Err(error) => {
                    assert_eq!(error, VfsError::Conflict);
                    None
                }
            }
        });
        let winners: Vec<u8> = won.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(store.read("f").await.unwrap(), winners);
    }
}

/// A file is removed once.
pub async fn one_of_many_removers_wins(store: Store) {
    let version = store.put(Replace, "f", b"1").await.unwrap().version;
    let removed = store.at_once(8, |store, _| async move {
        match store.remove("f", Some(version)).await {
            Ok(()) => 1,
            Err(error) => {
                assert_eq!(error, VfsError::NotFound);
                0
            }
        }
    });
    assert_eq!(removed.await.into_iter().sum::<u32>(), 1);
}

/// Read, change and write back, by several at once.
pub async fn no_increment_is_lost(store: Store) {
    store.put(Replace, "n", b"0").await.unwrap();
    store
        .at_once(4, |store, _| async move {
            let mut done = 0;
            while done < 15 {
                let content = store.content("n").await.unwrap();
                let next = std::str::from_utf8(&content.bytes).unwrap().parse::<u32>().unwrap() + 1;
                // What makes two of them read the same is left to no chance.
                tokio::task::yield_now().await;
                let write = plain(Replace, next.to_string().as_bytes()).expecting(Some(content.version));
                match store.write("n", write).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error, VfsError::Conflict),
                }
            }
        })
        .await;
    assert_eq!(store.read("n").await.unwrap(), "60");
}

/// A store that cannot compare and set says so, and writes nothing.
pub async fn a_condition_that_cannot_be_kept_is_refused(store: Store) {
    let version = Some(Version::from_u128(1));
    for write in [plain(CreateNew, b"1"), plain(Append, b"1"), plain(Replace, b"1").expecting(version)] {
        assert_eq!(store.write("f", write).await, Err(VfsError::NotSupported));
        assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
    }
    store.put(Replace, "f", b"1").await.unwrap();
    assert_eq!(store.remove("f", version).await, Err(VfsError::NotSupported));
    assert_eq!(store.read("f").await.unwrap(), "1");
}
