//! The conformance suite, run over each store of the kernel.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_control_plane::backend_conformance;
use agent_control_plane::testing::conformance::{Guarded, hold, reading};
use agent_control_plane::vfs::{
    Directory, Episodic, Memory, MemoryBackend, Projection, Quota, RelPath, Semantic, Write, WriteMode,
};
use agent_primitives::{Clock, LabelSet};
use bytes::Bytes;
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore};
use tempfile::TempDir;

async fn memory(clock: Arc<dyn Clock>) -> Memory {
    Memory::new().clock(clock)
}

async fn directory(clock: Arc<dyn Clock>) -> Guarded<Directory, TempDir> {
    let folder = tempfile::tempdir().unwrap();
    Guarded::new(Directory::open(folder.path()).unwrap().clock(clock), folder)
}

async fn semantic(clock: Arc<dyn Clock>) -> Semantic {
    Semantic::new(Arc::new(memory(clock).await)).unwrap()
}

backend_conformance!(mod semantic_over_memory, semantic, [files, names, large, quota, versions, labels, expiry, search]);
backend_conformance!(mod in_memory, memory, [files, names, large, quota, versions, labels, expiry, no_search]);
backend_conformance!(mod in_a_directory, directory, [files, names, large, quota, versions, labels, expiry, no_search]);

#[cfg(feature = "redb")]
mod redb {
    use std::sync::Arc;

    use agent_control_plane::backend_conformance;
    use agent_control_plane::testing::conformance::Guarded;
    use agent_control_plane::vfs::Redb;
    use agent_primitives::Clock;
    use tempfile::TempDir;

    async fn database(clock: Arc<dyn Clock>) -> Guarded<Redb, TempDir> {
        let folder = tempfile::tempdir().unwrap();
        Guarded::new(Redb::open(folder.path().join("files.redb")).unwrap().clock(clock), folder)
    }

    backend_conformance!(mod in_a_database, database, [files, names, large, quota, versions, labels, expiry, no_search]);
}

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

#[test]
fn episodes_read_like_any_store() {
    let episode = |goal: &str| {
        let episode = serde_json::json!({"goal": goal, "action": "", "result": "", "reflection": ""});
        episode.to_string().into_bytes()
    };
    let files = BTreeMap::from(["b.json", "a.json", "a b.json"].map(|name| (name.to_owned(), episode(name))));
    let expected = files.clone();
    hold(
        async |_clock| {
            let store = MemoryStore::new(LedgerId::new("episodes").unwrap(), MemoryLimits::default());
            let ledger = Ledger::open(store, LedgerOptions::default()).unwrap();
            let store = Episodic::open(ledger, "a".parse().unwrap()).unwrap();
            for (name, data) in files {
                let quota = Quota { bytes: 1 << 20, files: 10 };
                let write = Write::new(WriteMode::CreateNew, data.into(), LabelSet::EMPTY, quota);
                store.write(RelPath::parse(&name).unwrap(), write).await.unwrap();
            }
            store
        },
        async |store| reading::holds(store, &expected).await,
    );
}
