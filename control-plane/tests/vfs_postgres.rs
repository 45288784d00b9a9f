//! The store over PostgreSQL, against a real server.
#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "../../emk/tests/servers/process.rs"]
mod process;
#[path = "../../emk/tests/servers/postgres.rs"]
mod server;
#[path = "../../emk/tests/servers/shared.rs"]
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_control_plane::backend_conformance;
use agent_control_plane::testing::conformance::Guarded;
use agent_control_plane::vfs::{
    MemoryBackend, Postgres, Quota, RelPath, Search, StoreError, VfsError, Write, WriteMode,
};
use agent_primitives::{Clock, LabelSet, ManualClock};
use bytes::Bytes;
use shared::Shared;

static SERVER: Shared<server::Postgres> = Shared::new();
static STORES: AtomicU64 = AtomicU64::new(0);

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };

async fn postgres(clock: Arc<dyn Clock>) -> Guarded<Postgres, Arc<server::Postgres>> {
    let server = SERVER.get(server::Postgres::start);
    let name = format!("store-{}", STORES.fetch_add(1, Ordering::Relaxed));
    Guarded::new(Postgres::open(&server.address(), &name, clock).await.unwrap(), server)
}

backend_conformance!(mod in_postgres, postgres, [files, names, large, quota, versions, labels, expiry, search]);

async fn store(address: &str, name: &str) -> Postgres {
    Postgres::open(address, name, Arc::new(ManualClock::default())).await.unwrap()
}

fn path(text: &str) -> RelPath<'_> {
    RelPath::parse(text).unwrap()
}

fn text(mode: WriteMode, data: &'static str) -> Write {
    Write::new(mode, Bytes::from_static(data.as_bytes()), LabelSet::EMPTY, ROOMY)
}

#[tokio::test]
async fn stores_of_other_names_see_nothing_of_each_other_and_those_of_one_name_share_all() {
    let server = SERVER.get(server::Postgres::start);
    let (one, again) = (store(&server.address(), "shared").await, store(&server.address(), "shared").await);
    let other = store(&server.address(), "other").await;
    let version = one.write(path("a/b"), text(WriteMode::CreateNew, "whale")).await.unwrap().version;
    assert_eq!(again.read(path("a/b"), 0, 9).await.unwrap().version, version);
    assert_eq!(other.stat(path("a")).await, Err(VfsError::NotFound));
    assert_eq!(other.search(path(""), Search::new("whale", 5)).await, Ok(vec![]));
    again.write(path("a/b"), text(WriteMode::Replace, "2")).await.unwrap();
    let stale = text(WriteMode::Replace, "3").expecting(Some(version));
    assert_eq!(one.write(path("a/b"), stale).await, Err(VfsError::Conflict));
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_with_all_that_was_written() {
    let server = server::Postgres::start();
    let store = store(&server.address(), "survivor").await;
    let version = store.write(path("d/f"), text(WriteMode::Replace, "kept")).await.unwrap().version;
    let folder = server.stop();
    // A process of the server's that serves a connection lives on until it sees that its parent is gone.
    let mut asked = 0;
    while store.stat(path("d/f")).await.is_ok() && asked < 100_000 {
        asked += 1;
    }
    assert_eq!(store.stat(path("d/f")).await, Err(VfsError::Backend));
    assert_eq!(store.write(path("d/g"), text(WriteMode::Replace, "lost")).await, Err(VfsError::Backend));
    let _server = server::Postgres::start_in(folder);
    let content = store.read(path("d/f"), 0, 10).await.unwrap();
    assert_eq!((content.bytes.as_ref(), content.version), (b"kept".as_slice(), version));
    assert_eq!(store.stat(path("d/g")).await, Err(VfsError::NotFound));
}

#[tokio::test]
async fn a_path_of_four_thousand_bytes_is_kept() {
    let server = SERVER.get(server::Postgres::start);
    let store = store(&server.address(), "deep").await;
    let long = vec!["n".repeat(250); 16].join("/");
    store.write(path(&long), text(WriteMode::CreateNew, "1")).await.unwrap();
    assert_eq!(store.read(path(&long), 0, 9).await.unwrap().bytes, "1");
}

#[tokio::test]
async fn a_table_of_another_form_is_left_alone() {
    let server = server::Postgres::start();
    let (client, connection) =
        tokio_postgres::connect(&server.address(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("CREATE TABLE agent_os_files (mine text)").await.unwrap();
    let refused = Postgres::open(&server.address(), "abc", Arc::new(ManualClock::default())).await;
    assert!(matches!(refused, Err(StoreError::Format { .. })), "{refused:?}");
    client.batch_execute("INSERT INTO agent_os_files VALUES ('still here')").await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn text_of_a_query_is_never_part_of_a_statement() {
    let server = SERVER.get(server::Postgres::start);
    let store = store(&server.address(), "quoted").await;
    store.write(path("o'neill"), text(WriteMode::CreateNew, "it's a whale's song")).await.unwrap();
    for query in ["'", "whale' | 'x", "a & b | !c", "\\", "(", "<->", "", "'); DROP TABLE agent_os_files; --"]
    {
        store.search(path(""), Search::new(query, 5)).await.unwrap();
    }
    let hits = store.search(path(""), Search::new("whale", 5)).await.unwrap();
    assert_eq!(hits.first().unwrap().path, "o'neill");
}
