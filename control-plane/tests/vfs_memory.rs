//! Memory that is searched, as an agent meets it: what it may not read, quotas, deadlines, labels, restarts.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::testing::KernelFixture;
use agent_control_plane::vfs::{
    Access, Episodic, Memory, MemoryBackend, Mount, Quota, RelPath, Semantic, VfsPath, Write, WriteMode,
};
use agent_control_plane::{AgentHandle, AgentSpec, CallError};
use agent_primitives::json::Value;
use agent_primitives::search::{Embedder, Embedding, TextKind};
use agent_primitives::{AgentId, LabelSet};
use bytes::Bytes;
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::index::{Index, IndexOptions};
use caas_core::lexical::{MemoryBm25, Parameters};
use caas_core::tokens::Estimate;
use caas_core::vector::ExactVectors;
use emk::{Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentStore};

const POLICY: &str = "
version: 1
name: test
on_violation: deny
rules:
  - {id: all, effect: allow, calls: [read, write, open], paths: ['/**', '/mem/docs', '/mem/episodic']}
  - {id: private, effect: deny, calls: [read], paths: ['/mem/docs/private/**']}
";

const ROOM: Quota = Quota { bytes: 1 << 20, files: 1000 };
const DEADLINE: Duration = Duration::from_secs(2);

fn at(point: &str, store: impl MemoryBackend + 'static, access: Access) -> Mount {
    Mount::new(VfsPath::parse(point).unwrap(), Arc::new(store), access)
}

fn agent(fixture: &KernelFixture, mount: Mount) -> AgentHandle {
    fixture.kernel().spawn(AgentSpec::new("a").mount(mount)).unwrap()
}

fn errno(result: Result<impl std::fmt::Debug, CallError>) -> &'static str {
    match result {
        Err(CallError::File(error)) => error.name(),
        other => panic!("{other:?}"),
    }
}

fn paths(lines: &Bytes) -> Vec<String> {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    let hits = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    hits.map(|hit| hit["path"].as_str().unwrap().to_owned()).collect()
}

fn episode(goal: &str) -> String {
    serde_json::json!({"goal": goal, "action": "asked", "result": "done", "reflection": ""}).to_string()
}

fn episodes(folder: &Path) -> Episodic {
    let store = SegmentStore::open(folder, LedgerId::new("episodes").unwrap(), SegmentOptions::default());
    let ledger = Ledger::open(store.unwrap(), LedgerOptions::default()).unwrap();
    Episodic::open(ledger, "a".parse().unwrap()).unwrap()
}

#[tokio::test]
async fn what_may_not_be_read_takes_no_place_among_the_hits() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let store = Memory::new();
    let put = async |path: String, text: &str| {
        let write = Write::new(WriteMode::Replace, text.to_owned().into(), LabelSet::EMPTY, ROOM);
        store.write(RelPath::parse(&path).unwrap(), write).await.unwrap();
    };
    for number in 0..200 {
        put(format!("private/{number}"), "the blue whale, the blue whale").await;
    }
    for number in 0..3 {
        put(format!("sea/{number}"), "among much else, and after many other words, a whale").await;
    }
    let docs = Semantic::new(Arc::new(store)).unwrap();
    let agent = agent(&fixture, at("/mem/docs", docs, Access::ReadWrite(ROOM)));
    let mut found = paths(&agent.search("/mem/docs", "blue whale", 3).await.unwrap());
    found.sort();
    assert_eq!(found, ["/mem/docs/sea/0", "/mem/docs/sea/1", "/mem/docs/sea/2"]);
}

#[tokio::test]
async fn a_quota_of_episodes_holds_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let two = Access::AppendOnly(Quota { bytes: 1 << 20, files: 2 });
    for life in 0..2 {
        let fixture = KernelFixture::new(POLICY, []).unwrap();
        let agent = agent(&fixture, at("/mem/episodic", episodes(folder.path()), two));
        if life == 0 {
            agent.append("/mem/episodic/1.json", episode("find the luggage")).await.unwrap();
            agent.append("/mem/episodic/2.json", episode("book a train")).await.unwrap();
        }
        assert_eq!(errno(agent.append("/mem/episodic/3.json", episode("x")).await), "EDQUOT");
        assert_eq!(
            paths(&agent.search("/mem/episodic", "luggage", 5).await.unwrap()),
            ["/mem/episodic/1.json"]
        );
    }
}

#[tokio::test]
async fn a_quota_of_documents_holds_and_what_is_there_is_found() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let docs = Semantic::new(Arc::new(Memory::new())).unwrap();
    let room = Access::ReadWrite(Quota { bytes: 64, files: 2 });
    let agent = agent(&fixture, at("/mem/docs", docs, room));
    agent.write("/mem/docs/a", "a whale sings").await.unwrap();
    assert_eq!(errno(agent.write("/mem/docs/b", "w".repeat(65)).await), "EDQUOT");
    agent.write("/mem/docs/b", "a whale dives").await.unwrap();
    assert_eq!(errno(agent.write("/mem/docs/c", "a whale").await), "EDQUOT");
    let mut found = paths(&agent.search("/mem/docs", "whale", 5).await.unwrap());
    found.sort();
    assert_eq!(found, ["/mem/docs/a", "/mem/docs/b"]);
}

#[tokio::test]
async fn labels_of_an_episode_reach_who_finds_it_in_another_life() {
    let folder = tempfile::tempdir().unwrap();
    let secret = LabelSet::new(["secret".parse().unwrap()]).unwrap();
    let id: AgentId = "a".parse().unwrap();
    for life in 0..2 {
        let fixture = KernelFixture::new(POLICY, []).unwrap();
        let notes = Memory::new();
        let write = Write::new(WriteMode::Replace, "the code".into(), secret.clone(), ROOM);
        notes.write(RelPath::parse("n").unwrap(), write).await.unwrap();
        let episodic = at("/mem/episodic", episodes(folder.path()), Access::AppendOnly(ROOM));
        let spec = AgentSpec::new("a").mount(episodic).mount(at("/notes", notes, Access::ReadWrite(ROOM)));
        let agent = fixture.kernel().spawn(spec).unwrap();
        if life == 0 {
            agent.read("/notes/n").await.unwrap();
            agent.append("/mem/episodic/1.json", episode("use the code")).await.unwrap();
        } else {
            assert_eq!(fixture.kernel().labels(&id).unwrap(), LabelSet::EMPTY);
            agent.search("/mem/episodic", "code", 1).await.unwrap();
            assert!(fixture.kernel().labels(&id).unwrap().contains("secret"));
        }
    }
}

/// An embedder that answers only once it is told to.
#[derive(Debug, Default)]
struct Stalled {
    answers: AtomicBool,
}

impl Embedder for Stalled {
    fn model(&self) -> &'static str {
        "letters"
    }
    fn dimensions(&self) -> usize {
        26
    }
    fn max_tokens(&self) -> Option<usize> {
        None
    }
    fn embed<'a>(&'a self, _: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        if !self.answers.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let count = |text: &str| {
            ('a'..='z').map(|letter| text.matches(letter).count() as f32 + 0.1).collect::<Vec<f32>>()
        };
        let vectors = texts.iter().map(|text| count(text)).collect();
        Box::pin(async move { Ok(vectors) })
    }
}

/// Searches while the embedder is silent until the mount's deadline, and again once it answers.
async fn is_given_up_and_works_again(fixture: &KernelFixture, embedder: &Stalled, mount: Mount) {
    let point = mount.point().clone();
    let name = format!("{}/1.json", point.as_str());
    let agent = agent(fixture, mount.deadline(DEADLINE));
    agent.append(&name, episode("find the luggage")).await.unwrap();
    {
        let mut search = pin!(agent.search(point.as_str(), "luggage", 5));
        let mut context = Context::from_waker(Waker::noop());
        // Reading the store may take a thread; the deadline does not run while nobody moves the clock.
        for _ in 0..1000 {
            assert!(search.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
        }
        fixture.advance(DEADLINE);
        let Poll::Ready(result) = search.as_mut().poll(&mut context) else { panic!("still waiting") };
        assert_eq!(errno(result), "ETIMEDOUT");
    }
    embedder.answers.store(true, Ordering::SeqCst);
    assert_eq!(paths(&agent.search(point.as_str(), "luggage", 5).await.unwrap()), [name]);
}

#[tokio::test]
async fn a_search_of_documents_ends_at_the_deadline_of_its_mount() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let embedder = Arc::new(Stalled::default());
    let chunker = StructureChunker::new(ChunkSizes::default(), Arc::new(Estimate::default())).unwrap();
    let words = MemoryBm25::new(Parameters::default()).unwrap();
    let timer = Arc::new(agent_tool_registry::TokioTimer::new());
    let index = Index::new(IndexOptions::default(), Arc::new(chunker), Arc::new(words), timer).unwrap();
    let index = index
        .with_vectors(Arc::clone(&embedder) as Arc<dyn Embedder>, Arc::new(ExactVectors::new()))
        .await
        .unwrap();
    let docs = Semantic::with_index(Arc::new(Memory::new()), index).unwrap();
    let mount = at("/mem/docs", docs, Access::ReadWrite(ROOM));
    is_given_up_and_works_again(&fixture, &embedder, mount).await;
}

#[tokio::test]
async fn a_search_of_episodes_ends_at_the_deadline_of_its_mount() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let embedder = Arc::new(Stalled::default());
    let store = episodes(folder.path()).with_embedder(Arc::clone(&embedder) as Arc<dyn Embedder>);
    let mount = at("/mem/episodic", store, Access::AppendOnly(ROOM));
    is_given_up_and_works_again(&fixture, &embedder, mount).await;
}
