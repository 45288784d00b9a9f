//! The store over Redis, against a real server.
#![cfg(all(feature = "redis", unix))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "../../emk/tests/servers/process.rs"]
mod process;
#[path = "../../emk/tests/servers/redis.rs"]
mod server;
#[path = "../../emk/tests/servers/shared.rs"]
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_control_plane::backend_conformance;
use agent_control_plane::testing::conformance::Guarded;
use agent_control_plane::vfs::{
    MemoryBackend, Page, Quota, Redis, RelPath, StoreError, VfsError, Write, WriteMode,
};
use agent_primitives::{Clock, LabelSet, ManualClock};
use bytes::Bytes;
use shared::Shared;

static SERVER: Shared<server::Redis> = Shared::new();
static STORES: AtomicU64 = AtomicU64::new(0);

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };

async fn redis(clock: Arc<dyn Clock>) -> Guarded<Redis, Arc<server::Redis>> {
    let server = SERVER.get(server::Redis::start);
    let name = format!("store-{}", STORES.fetch_add(1, Ordering::Relaxed));
    Guarded::new(Redis::new(&server.address(), &name, clock).unwrap(), server)
}

backend_conformance!(mod in_redis, redis, [files, names, large, quota, versions, labels, expiry, no_search]);

fn store(address: &str, name: &str) -> Redis {
    Redis::new(address, name, Arc::new(ManualClock::default())).unwrap()
}

fn path(text: &str) -> RelPath<'_> {
    RelPath::parse(text).unwrap()
}

fn text(mode: WriteMode, data: &'static str) -> Write {
    Write::new(mode, Bytes::from_static(data.as_bytes()), LabelSet::EMPTY, ROOMY)
}

#[tokio::test]
async fn stores_of_other_names_see_nothing_of_each_other_and_those_of_one_name_share_all() {
    let server = SERVER.get(server::Redis::start);
    let [one, again, other] = ["shared", "shared", "other"].map(|name| store(&server.address(), name));
    let version = one.write(path("a/b"), text(WriteMode::CreateNew, "1")).await.unwrap().version;
    assert_eq!(again.read(path("a/b"), 0, 9).await.unwrap().version, version);
    assert_eq!(other.stat(path("a")).await, Err(VfsError::NotFound));
    again.write(path("a/b"), text(WriteMode::Replace, "2")).await.unwrap();
    let stale = text(WriteMode::Replace, "3").expecting(Some(version));
    assert_eq!(one.write(path("a/b"), stale).await, Err(VfsError::Conflict));
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_with_all_that_was_written() {
    let server = server::Redis::start();
    let store = store(&server.address(), "survivor");
    let version = store.write(path("d/f"), text(WriteMode::Replace, "kept")).await.unwrap().version;
    let folder = server.stop();
    assert_eq!(store.stat(path("d/f")).await, Err(VfsError::Backend));
    assert_eq!(store.write(path("d/g"), text(WriteMode::Replace, "lost")).await, Err(VfsError::Backend));
    let _server = server::Redis::start_in(folder);
    let content = store.read(path("d/f"), 0, 10).await.unwrap();
    assert_eq!((content.bytes.as_ref(), content.version), (b"kept".as_slice(), version));
    let names = store.list(path("d"), Page::new(None, 10)).await.unwrap().entries;
    assert_eq!(names.len(), 1);
    let after = store.write(path("d/f"), text(WriteMode::Replace, "kept")).await.unwrap().version;
    assert_ne!(after, version);
}

#[tokio::test]
async fn more_files_than_one_script_clears_are_gone_at_once() {
    let server = SERVER.get(server::Redis::start);
    let clock = ManualClock::default();
    let store = Redis::new(&server.address(), "brief", Arc::new(clock.clone())).unwrap();
    let end = agent_primitives::Timestamp::from_micros(clock.now().as_micros() + 1);
    for number in 0..1100 {
        let name = format!("d/{number}");
        store.write(path(&name), text(WriteMode::Replace, "x").expiring(Some(end))).await.unwrap();
    }
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(store.stat(path("d")).await, Err(VfsError::NotFound));
}

#[test]
fn an_address_that_cannot_be_spoken_to_is_refused_when_it_is_given() {
    for address in ["", "http://localhost", "rediss://localhost"] {
        let refused = Redis::new(address, "abc", Arc::new(ManualClock::default()));
        assert!(matches!(refused, Err(StoreError::Address { .. })), "{address}: {refused:?}");
    }
}

#[test]
fn a_password_is_not_shown() {
    let store = store("redis://someone:hunter2@localhost:1", "abc");
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
}
