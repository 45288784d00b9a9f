//! Time to live, searches and deadlines of mounts, as an agent meets them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::call::{Change, MAX_TTL, Syscall, WriteTo};
use agent_control_plane::testing::KernelFixture;
use agent_control_plane::vfs::{
    Access, Answer, Content, Directory, Episodic, Listing, Memory, MemoryBackend, Mount, Page, Quota,
    RelPath, Semantic, Stat, Version, VfsError, VfsPath, Write, WriteMode, Written,
};
use agent_control_plane::{AgentHandle, AgentSpec, CallError};
use agent_primitives::json::Value;
use agent_primitives::{AgentId, Clock, LabelSet};
use bytes::Bytes;
use emk::{Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentStore};

const POLICY: &str = "
version: 1
name: test
on_violation: deny
rules:
  - {id: all, effect: allow, calls: [read, write, open], paths: ['/**', '/mem/docs', '/mem/episodic']}
  - {id: private, effect: deny, calls: [read], paths: ['/mem/docs/private/**']}
";

const ROOM: Quota = Quota { bytes: 1 << 20, files: 100 };
const MINUTE: Duration = Duration::from_secs(60);

fn at(point: &str, store: impl MemoryBackend + 'static) -> Mount {
    Mount::new(VfsPath::parse(point).unwrap(), Arc::new(store), Access::ReadWrite(ROOM))
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

fn code(result: Result<impl std::fmt::Debug, CallError>) -> String {
    result.unwrap_err().code().to_owned()
}

fn paths(lines: &Bytes) -> Vec<String> {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    let hits = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    hits.map(|hit| {
        assert!(hit["score"].is_f64() && hit["text"].is_string(), "{hit}");
        hit["path"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[tokio::test]
async fn a_file_lives_as_long_as_its_writer_said() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let agent = fixture.agent("a").unwrap();
    agent.write_for("/mem/working/brief", "1", MINUTE).await.unwrap();
    agent.write("/mem/working/stays", "2").await.unwrap();
    fixture.advance(MINUTE - Duration::from_micros(1));
    agent.append("/mem/working/brief", "+").await.unwrap();
    assert_eq!(agent.read("/mem/working/brief").await.unwrap(), "1+");
    fixture.advance(Duration::from_micros(1));
    assert_eq!(errno(agent.read("/mem/working/brief").await), "ENOENT");
    assert_eq!(agent.read("/mem/working/stays").await.unwrap(), "2");
    let told = fixture.transcript().unwrap();
    assert!(told.contains("60000000"), "the record says for how long: {told}");
}

#[tokio::test]
async fn a_time_to_live_is_bounded() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let agent = fixture.agent("a").unwrap();
    for ttl in [Duration::ZERO, Duration::from_nanos(999), MAX_TTL + Duration::from_nanos(1)] {
        assert_eq!(code(agent.write_for("/mem/working/f", "1", ttl).await), "AK0432", "{ttl:?}");
    }
    agent.write_for("/mem/working/f", "1", MAX_TTL).await.unwrap();
    let to = WriteTo::Path {
        path: "/mem/working/f".into(),
        change: Change::Remove,
        expected: None,
        ttl: Some(MINUTE),
    };
    assert_eq!(code(agent.syscall(Syscall::Write { to, data: Bytes::new() }).await), "AK0432");
    assert_eq!(agent.read("/mem/working/f").await.unwrap(), "1");
}

#[tokio::test]
async fn writing_at_a_position_keeps_the_end() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let agent = fixture.agent("a").unwrap();
    agent.write_for("/mem/working/f", "0123456789", MINUTE).await.unwrap();
    let flags = agent_control_plane::vfs::OpenFlags { write: true, ..Default::default() };
    let descriptor = agent.open("/mem/working/f", flags).await.unwrap();
    for (offset, data) in [(2, "xx"), (10, "end")] {
        let to = WriteTo::Descriptor { descriptor, offset: Some(offset) };
        agent.syscall(Syscall::Write { to, data: data.into() }).await.unwrap();
    }
    assert_eq!(agent.read("/mem/working/f").await.unwrap(), "01xx456789end");
    fixture.advance(MINUTE);
    assert_eq!(errno(agent.read("/mem/working/f").await), "ENOENT");
}

#[tokio::test]
async fn a_search_answers_what_the_agent_may_read_and_passes_its_labels_on() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let store = Memory::new();
    let secret = LabelSet::new(["secret".parse().unwrap()]).unwrap();
    for (path, text, labels) in [
        ("sea/whales", "the blue whale sings", LabelSet::EMPTY),
        ("private/whales", "the secret blue whale plan", secret.clone()),
        ("hidden/whales", "a blue whale under another mount", secret.clone()),
        ("land/rivers", "a river carries sediment", LabelSet::EMPTY),
        ("other/pii", "the walrus met a person", LabelSet::new(["pii".parse().unwrap()]).unwrap()),
    ] {
        let write = Write::new(WriteMode::Replace, text.into(), labels, ROOM);
        store.write(RelPath::parse(path).unwrap(), write).await.unwrap();
    }
    let docs = at("/mem/docs", Semantic::new(Arc::new(store)).unwrap());
    let spec = AgentSpec::new("a").mount(docs).mount(at("/mem/docs/hidden", Memory::new()));
    let agent = fixture.kernel().spawn(spec).unwrap();
    let id: AgentId = "a".parse().unwrap();
    let carried = || fixture.kernel().labels(&id).unwrap();

    assert_eq!(paths(&agent.search("/mem/docs", "blue whale", 10).await.unwrap()), ["/mem/docs/sea/whales"]);
    assert_eq!(carried(), LabelSet::EMPTY, "what was left out leaves no trace");
    assert_eq!(paths(&agent.read("/mem/docs/other/?q=walrus&k=1").await.unwrap()), ["/mem/docs/other/pii"]);
    assert!(carried().contains("pii"));
    assert!(fixture.transcript().unwrap().contains("blue whale"), "the record has the query");

    let private = agent.search("/mem/docs/private/deep", "whale", 10).await;
    assert!(matches!(private, Err(CallError::Denied(_))), "{private:?}");
    assert_eq!(errno(agent.search("/mem/docs/nowhere", "whale", 10).await), "ENOENT");
    assert_eq!(errno(agent.search("/mem/docs/sea/whales", "whale", 10).await), "ENOTDIR");
    assert_eq!(errno(agent.search("/mem/working", "whale", 10).await), "EOPNOTSUPP");
    assert_eq!(errno(agent.search("/", "whale", 10).await), "EOPNOTSUPP");
    for query in ["/mem/docs/?q=", "/mem/docs/?q=a&k=101", "/mem/docs/?q=a b", "/mem/docs/?x=1"] {
        assert_eq!(code(agent.read(query).await), "AK0430", "{query}");
        assert_eq!(code(agent.write(query, "x").await), "AK0430", "{query}");
    }
}

#[tokio::test]
async fn episodes_are_written_once_and_found_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let store =
            SegmentStore::open(folder.path(), LedgerId::new("episodes").unwrap(), SegmentOptions::default());
        let ledger = Ledger::open(store.unwrap(), LedgerOptions::default()).unwrap();
        Episodic::open(ledger, "a".parse().unwrap()).unwrap()
    };
    let episode = |goal: &str| {
        serde_json::json!({"goal": goal, "action": "asked", "result": "done", "reflection": "ask sooner", "cost": 3})
            .to_string()
    };
    for round in 0..2 {
        let fixture = KernelFixture::new(POLICY, []).unwrap();
        let agent = agent(&fixture, at("/mem/episodic", open()));
        let name = |number: u32| format!("/mem/episodic/{number}.json");
        if round == 0 {
            for number in 1..=3 {
                let goal = if number == 2 { "book a train" } else { "find the lost luggage" };
                agent.append(&name(number), episode(goal)).await.unwrap();
            }
        }
        assert_eq!(agent.read(&name(2)).await.unwrap(), episode("book a train"));
        let found = paths(&agent.search("/mem/episodic", "luggage", 5).await.unwrap());
        assert_eq!(found, [name(3), name(1)], "the newer first");
        assert_eq!(errno(agent.write(&name(2), episode("x")).await), "EACCES");
        assert_eq!(errno(agent.append(&name(2), episode("x")).await), "EACCES");
        assert_eq!(errno(agent.remove(&name(2)).await), "EACCES");
        for (name, content) in [
            ("/mem/episodic/4.json", "{}".to_owned()),
            ("/mem/episodic/4.json", "not json".to_owned()),
            (
                "/mem/episodic/4.json",
                r#"{"goal":"a","goal":"b","action":"","result":"","reflection":""}"#.to_owned(),
            ),
            ("/mem/episodic/4.txt", episode("x")),
            ("/mem/episodic/.json", episode("x")),
            ("/mem/episodic/d/4.json", episode("x")),
        ] {
            assert_eq!(errno(agent.append(name, content).await), "EINVAL", "{name}");
        }
        let listing = agent.read("/mem/episodic").await.unwrap();
        assert_eq!(std::str::from_utf8(&listing).unwrap().lines().count(), 3);
    }
}

type Call = std::pin::Pin<Box<dyn Future<Output = Result<(), CallError>>>>;

/// A store that never answers.
#[derive(Debug)]
struct Hung;

impl MemoryBackend for Hung {
    fn read<'a>(&'a self, _: RelPath<'a>, _: u64, _: usize) -> Answer<'a, Content> {
        Box::pin(std::future::pending())
    }
    fn write<'a>(&'a self, _: RelPath<'a>, _: Write) -> Answer<'a, Written> {
        Box::pin(std::future::pending())
    }
    fn remove<'a>(&'a self, _: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(std::future::pending())
    }
    fn list<'a>(&'a self, _: RelPath<'a>, _: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(std::future::pending())
    }
    fn stat<'a>(&'a self, _: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_after_the_mounts_deadline() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let mount = at("/hung", Hung).deadline(Duration::from_millis(200));
    let agent = agent(&fixture, mount);
    let calls: [(&str, Call); 4] = [
        (
            "read",
            Box::pin({
                let agent = agent.clone();
                async move { agent.read("/hung/f").await.map(drop) }
            }),
        ),
        (
            "write",
            Box::pin({
                let agent = agent.clone();
                async move { agent.write("/hung/f", "1").await }
            }),
        ),
        (
            "remove",
            Box::pin({
                let agent = agent.clone();
                async move { agent.remove("/hung/f").await }
            }),
        ),
        (
            "list",
            Box::pin({
                let agent = agent.clone();
                async move { agent.read("/hung").await.map(drop) }
            }),
        ),
    ];
    for (what, mut call) in calls {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending(), "{what}");
        fixture.advance(Duration::from_millis(199));
        assert!(call.as_mut().poll(&mut context).is_pending(), "{what}");
        fixture.advance(Duration::from_millis(1));
        let std::task::Poll::Ready(result) = call.as_mut().poll(&mut context) else { panic!("{what}") };
        assert_eq!(errno(result), "ETIMEDOUT", "{what}");
    }
}

#[tokio::test]
async fn the_kernels_own_deadline_wins_over_a_longer_one() {
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let agent = agent(&fixture, at("/hung", Hung).deadline(Duration::from_secs(3600)));
    let mut call = Box::pin(agent.read("/hung/f"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    fixture.advance(agent_control_plane::kernel::FILE_DEADLINE);
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut context) else { panic!("still waiting") };
    assert!(matches!(result, Err(CallError::Timeout)), "{result:?}");
}

#[tokio::test]
async fn the_end_of_a_file_in_a_folder_outlives_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = KernelFixture::new(POLICY, []).unwrap();
    let open = || Directory::open(folder.path()).unwrap().clock(Arc::new(fixture.clock().clone()));
    let agent = agent(&fixture, at("/out", open()));
    agent.write_for("/out/d/brief", "1", MINUTE).await.unwrap();
    agent.write("/out/stays", "2").await.unwrap();
    agent.exit(0, "").await.unwrap();
    assert!(folder.path().join("d/brief").exists());
    fixture.advance(MINUTE);
    let store = open();
    assert_eq!(store.stat(RelPath::parse("d").unwrap()).await, Err(VfsError::NotFound));
    assert!(!folder.path().join("d").exists(), "nothing of it is left on the host");
    assert_eq!(store.usage().files, 1);
    let _ = fixture.clock().now();
}

#[test]
fn errors_have_the_names_and_numbers_of_posix() {
    for (error, name, number) in [
        (VfsError::NotFound, "ENOENT", 2),
        (VfsError::Interrupted, "EINTR", 4),
        (VfsError::Backend, "EIO", 5),
        (VfsError::TooManyLabels, "E2BIG", 7),
        (VfsError::BadDescriptor, "EBADF", 9),
        (VfsError::WouldBlock, "EAGAIN", 11),
        (VfsError::AccessDenied, "EACCES", 13),
        (VfsError::Exists, "EEXIST", 17),
        (VfsError::NotDirectory, "ENOTDIR", 20),
        (VfsError::IsDirectory, "EISDIR", 21),
        (VfsError::InvalidPath, "EINVAL", 22),
        (VfsError::TooManyOpen, "EMFILE", 24),
        (VfsError::TooLarge, "EFBIG", 27),
        (VfsError::NoSpace, "ENOSPC", 28),
        (VfsError::ReadOnly, "EROFS", 30),
        (VfsError::NotSupported, "EOPNOTSUPP", 95),
        (VfsError::Timeout, "ETIMEDOUT", 110),
        (VfsError::Conflict, "ESTALE", 116),
        (VfsError::Quota, "EDQUOT", 122),
    ] {
        assert_eq!((error.name(), error.errno()), (name, number));
    }
    let dead = agent_control_plane::ExitStatus::Exited { code: 0, message: String::new() };
    for (error, expected) in [
        (CallError::Dead(dead), Some(("ESRCH", 3))),
        (CallError::Interrupted, Some(("EINTR", 4))),
        (CallError::Timeout, Some(("ETIMEDOUT", 110))),
        (CallError::Simulated, None),
    ] {
        assert_eq!(error.posix(), expected, "{error}");
    }
}
