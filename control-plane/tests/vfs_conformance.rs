//! The conformance suite, run over each store of the kernel.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_control_plane::backend_conformance;
use agent_control_plane::testing::conformance::{Guarded, hold, reading};
use agent_control_plane::vfs::{Directory, Memory, Projection};
use agent_primitives::Clock;
use bytes::Bytes;
use tempfile::TempDir;

async fn memory(clock: Arc<dyn Clock>) -> Memory {
    Memory::new().clock(clock)
}

async fn directory(clock: Arc<dyn Clock>) -> Guarded<Directory, TempDir> {
    let folder = tempfile::tempdir().unwrap();
    Guarded::new(Directory::open(folder.path()).unwrap().clock(clock), folder)
}

backend_conformance!(mod in_memory, memory, [files, names, large, quota, versions, labels, expiry, no_search]);
backend_conformance!(mod in_a_directory, directory, [files, names, large, quota, versions, labels, expiry, no_search]);

#[test]
fn a_projection_reads_like_any_store() {
    let files = BTreeMap::from([
        ("active.json".to_owned(), b"{\"a\":1}".to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("z with space".to_owned(), b"0123456789".to_vec()),
    ]);
    let expected = files.clone();
    hold(
        async |_clock| {
            files.into_iter().fold(Projection::new(), |projection, (name, data)| {
                let data = Bytes::from(data);
                projection.file(&name, move || Ok(data.clone())).unwrap()
            })
        },
        async |store| reading::holds(store, &expected).await,
    );
}
