//! The store over Chroma, against a real server.
#![cfg(all(feature = "chroma", unix))]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

#[path = "../../emk/tests/servers/process.rs"]
mod process;
#[path = "../../emk/tests/servers/chroma.rs"]
mod server;
#[path = "../../emk/tests/servers/shared.rs"]
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_control_plane::backend_conformance;
use agent_control_plane::testing::conformance::Guarded;
use agent_control_plane::vfs::{
    Answer, Chroma, Embedder, MemoryBackend, Quota, RelPath, StoreError, VfsError, Write, WriteMode,
};
use agent_primitives::{Clock, LabelSet, ManualClock};
use bytes::Bytes;
use shared::Shared;

static SERVER: Shared<server::Chroma> = Shared::new();
static STORES: AtomicU64 = AtomicU64::new(0);

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };

/// Counts the beginnings of words, each at a place of its own.
#[derive(Debug)]
struct Words;

impl Embedder for Words {
    fn dimensions(&self) -> usize {
        256
    }

    fn embed<'a>(&'a self, text: &'a str) -> Answer<'a, Vec<f32>> {
        Box::pin(async move {
            let mut vector = vec![0.001; 256];
            for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| 3 < word.len()) {
                let stem = word.bytes().take(5).fold(7_usize, |sum, byte| sum * 31 + usize::from(byte));
                vector[stem % 256] += 1.0;
            }
            Ok(vector)
        })
    }
}

async fn open(
    name: &str,
    embedder: Option<Arc<dyn Embedder>>,
    clock: Arc<dyn Clock>,
) -> Guarded<Chroma, Arc<server::Chroma>> {
    let server = SERVER.get(server::Chroma::start);
    Guarded::new(Chroma::open(&server.address(), name, embedder, clock).await.unwrap(), server)
}

fn name() -> String {
    format!("store-{}", STORES.fetch_add(1, Ordering::Relaxed))
}

async fn searched(clock: Arc<dyn Clock>) -> Guarded<Chroma, Arc<server::Chroma>> {
    open(&name(), Some(Arc::new(Words)), clock).await
}

async fn plain(clock: Arc<dyn Clock>) -> Guarded<Chroma, Arc<server::Chroma>> {
    open(&name(), None, clock).await
}

backend_conformance!(mod in_chroma, searched, [files, names, large, quota, versions, labels, expiry, search]);
backend_conformance!(mod in_chroma_without_an_embedder, plain, [no_search]);

fn path(text: &str) -> RelPath<'_> {
    RelPath::parse(text).unwrap()
}

fn text(mode: WriteMode, data: &'static str) -> Write {
    Write::new(mode, Bytes::from_static(data.as_bytes()), LabelSet::EMPTY, ROOMY)
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_with_all_that_was_written() {
    let server = server::Chroma::start();
    let (address, clock) = (server.address(), Arc::new(ManualClock::default()));
    let store = Chroma::open(&address, "survivor", None, clock.clone()).await.unwrap();
    let first = store.write(path("d/f"), text(WriteMode::Replace, "kept")).await.unwrap().version;
    let gone = store.write(path("d/g"), text(WriteMode::Replace, "gone")).await.unwrap().version;
    store.remove(path("d/g"), None).await.unwrap();
    let folder = server.stop();
    assert_eq!(store.stat(path("d/f")).await, Err(VfsError::Backend));
    assert_eq!(store.write(path("d/h"), text(WriteMode::Replace, "lost")).await, Err(VfsError::Backend));
    let server = server::Chroma::start_in(folder);
    let again = Chroma::open(&server.address(), "survivor", None, clock).await.unwrap();
    let content = again.read(path("d/f"), 0, 10).await.unwrap();
    assert_eq!((content.bytes.as_ref(), content.version), (b"kept".as_slice(), first));
    assert_eq!(again.stat(path("d/h")).await, Err(VfsError::NotFound));
    // The clock stood still, so only what the collection keeps tells the two states apart.
    let anew = again.write(path("d/g"), text(WriteMode::CreateNew, "gone")).await.unwrap().version;
    assert_ne!(anew, gone);
}

#[tokio::test]
async fn a_collection_of_other_vectors_is_left_alone() {
    let clock = Arc::new(ManualClock::default());
    let first = open("of-one-length", None, clock.clone()).await;
    let server = SERVER.get(server::Chroma::start);
    let refused = Chroma::open(&server.address(), "of-one-length", Some(Arc::new(Words)), clock).await;
    assert!(matches!(refused, Err(StoreError::Format { .. })), "{refused:?}");
    first.write(path("f"), text(WriteMode::CreateNew, "1")).await.unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_spoken_to_is_refused() {
    for address in ["", "localhost", "https://localhost", "http://a:b@localhost", "http://localhost/x"] {
        let refused = Chroma::open(address, "abc", None, Arc::new(ManualClock::default())).await;
        assert!(matches!(refused, Err(StoreError::Address { .. })), "{address}: {refused:?}");
    }
}
