//! A store never holds more than a write allows.

use agent_primitives::LabelSet;
use bytes::Bytes;

use super::Store;
use crate::vfs::WriteMode::{Append, CreateNew, Replace};
use crate::vfs::{Quota, VfsError, Write, WriteMode};

async fn put(
    store: &Store,
    mode: WriteMode,
    path: &str,
    data: &'static [u8],
    quota: Quota,
) -> Result<u64, VfsError> {
    let write = Write::new(mode, Bytes::from_static(data), LabelSet::EMPTY, quota);
    store.write(path, write).await.map(|written| written.size)
}

/// Up to it and not beyond, in bytes and files, whatever was removed before.
pub async fn the_quota_is_kept_to_the_byte(store: Store) {
    let quota = Quota { bytes: 10, files: 2 };
    let put = async |mode, path, data| put(&store, mode, path, data, quota).await;
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

/// Who is over the quota may let files shrink, not grow.
pub async fn what_may_shrink_may_be_written_over_the_quota(store: Store) {
    store.put(Replace, "f", b"0123456789").await.unwrap();
    let tight = Quota { bytes: 5, files: 1 };
    assert_eq!(put(&store, Replace, "f", b"01234567", tight).await, Ok(8));
    assert_eq!(put(&store, Replace, "f", b"012345678", tight).await, Err(VfsError::Quota));
    assert_eq!(store.read("f").await.unwrap(), "01234567");
}

/// Fourteen appends of seven bytes fit into a hundred, however many try.
pub async fn writers_at_once_never_exceed_the_bytes(store: Store) {
    let quota = Quota { bytes: 100, files: 5 };
    let accepted = store.at_once(8, |store, task| async move {
        let mut accepted = 0;
        for round in 0..20 {
            match put(&store, Append, &format!("{}", (task + round) % 7), b"1234567", quota).await {
                Ok(_) => accepted += 7,
                Err(error) => assert_eq!(error, VfsError::Quota),
            }
        }
        accepted
    });
    let accepted: u64 = accepted.await.into_iter().sum();
    let entries = store.page("", None, 100).await.unwrap().entries;
    let held: u64 = entries.iter().map(|entry| entry.stat.size).sum();
    assert_eq!(held, accepted);
    assert_eq!(held, 98);
    assert!(entries.len() <= 5);
}

/// As many files as may be, however many are created at once.
pub async fn writers_at_once_never_exceed_the_files(store: Store) {
    let quota = Quota { bytes: 1 << 20, files: 7 };
    let created = store.at_once(16, |store, task| async move {
        match put(&store, CreateNew, &format!("d{}/{task}", task % 3), b"x", quota).await {
            Ok(_) => 1,
            Err(error) => {
                assert_eq!(error, VfsError::Quota);
                0
            }
        }
    });
    let created: u64 = created.await.into_iter().sum();
    assert_eq!(created, 7);
}
