//! Much in one file, and many in one directory.

use super::Store;
use crate::vfs::WriteMode::{Append, Replace};

/// Bytes and files are counted in full, and any part can be had.
pub async fn a_file_of_megabytes_is_kept_whole(store: Store) {
    let data: Vec<u8> = (0..(1_u32 << 20) + 3).map(|index| (index % 251) as u8).collect();
    let written = store.put(Replace, "big", &data).await.unwrap();
    assert_eq!(written.size, data.len() as u64);
    assert_eq!(store.part("big", 0, 4 << 20).await.unwrap().bytes, data);
    let (tail, offset) = (data.get(data.len() - 5..).unwrap_or_default(), data.len() as u64 - 5);
    assert_eq!(store.part("big", offset, 100).await.unwrap().bytes, tail);
    let across = data.get(65_530..65_550).unwrap_or_default();
    assert_eq!(store.part("big", 65_530, 20).await.unwrap().bytes, across);
    store.put(Append, "big", b"and more").await.unwrap();
    assert_eq!(store.part("big", data.len() as u64, 100).await.unwrap().bytes, "and more");
}

/// Whole, in order, in pages of any size.
pub async fn a_directory_of_a_thousand_lists_whole(store: Store) {
    for number in 0..1000 {
        store.put(Replace, &format!("big/{number:04}"), b"").await.unwrap();
    }
    let expected: Vec<String> = (0..1000).map(|number| format!("{number:04}")).collect();
    for limit in [7, 500, 999, 1000, 1001] {
        assert_eq!(store.names_by("big", limit).await, expected, "limit {limit}");
    }
}
