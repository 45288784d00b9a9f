//! Checkpoints and diagnostics: what they hold, what comes back, and what is refused.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::host::{POLICY, tools};
use agent_control_plane::call::{FileRef, RawArguments, Syscall, WriteTo};
use agent_control_plane::kernel::{Checkpoint, MAX_SNAPSHOTS, Raise, RestoreError, SpawnError, Was};
use agent_control_plane::primitives::{AgentId, LabelSet, ManualClock, Signal, SignalSet};
use agent_control_plane::recorder::Body;
use agent_control_plane::vfs::{
    Access, Answer, Content, Listing, Memory, MemoryBackend, Mount, OpenFlags, Page, Quota, RelPath, Stat,
    Version, VfsError, VfsPath, Write, Written,
};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, Kernel, Policy};
use serde_json::{Value, json};

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn labels(text: &str) -> LabelSet {
    LabelSet::new([text.parse().unwrap()]).unwrap()
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

const STATE: &str = r#"
  - { id: state, effect: allow, calls: [read, write, open], paths: ["/state/**"] }
  - { id: snapshots, effect: allow, calls: [signal], targets: ["@self"], signals: [SIGUSR1, SIGUSR2] }
"#;

fn kernel(clock: &ManualClock, key: Option<[u8; 32]>) -> Kernel {
    let runs = Arc::new(AtomicU64::new(0));
    let policy = Policy::from_yaml("test.yaml", &format!("{POLICY}{STATE}")).unwrap();
    let mut builder = Kernel::builder().policy(policy).tools(tools(&runs)).timer(Arc::new(clock.clone()));
    if let Some(key) = key {
        builder = builder.checkpoint_key(key);
    }
    builder.build().unwrap()
}

fn bodies(kernel: &Kernel, kind: &str) -> usize {
    let events = kernel.recorder().events(0).map(Result::unwrap);
    events.filter(|stored| stored.event().unwrap().kind() == kind).count()
}

/// An agent with two files, an open one at a position, a mask and a label.
async fn busy(kernel: &Kernel) -> AgentHandle {
    let agent = kernel.spawn(AgentSpec::new("a").labels(labels("secret"))).unwrap();
    agent.write("/mem/working/plan", "first this").await.unwrap();
    agent.write("/mem/working/deep/er/notes", vec![0_u8, 255, 7]).await.unwrap();
    let flags = OpenFlags { read: true, write: true, ..OpenFlags::default() };
    let open = agent.open("/mem/working/plan", flags).await.unwrap();
    let read = Syscall::Read { file: FileRef::Descriptor(open), offset: None, length: 6, nonblock: false };
    agent.syscall(read).await.unwrap();
    agent.mask(SignalSet::EMPTY.with(Signal::Int), SignalSet::EMPTY).await.unwrap();
    agent
}

#[tokio::test]
async fn what_a_checkpoint_holds_comes_back_in_another_kernel() {
    let clock = ManualClock::default();
    let before = kernel(&clock, Some([7; 32]));
    let agent = busy(&before).await;
    let bytes = before.checkpoint(agent.id()).await.unwrap().to_bytes().unwrap();
    drop(before);

    let after = kernel(&clock, Some([7; 32]));
    let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
    let restored = after.restore(AgentSpec::new("a").labels(labels("pii")), &checkpoint).await.unwrap();
    let agent = restored.agent;
    assert_eq!(after.agent(&id("a")), Some(AgentState::Stopped { was: Was::Ready }));
    {
        let mut early = pin!(agent.read("/mem/working/plan"));
        assert!(poll(early.as_mut()).is_pending(), "it is stopped");
    }
    after.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert_eq!(agent.read("/mem/working/plan").await.unwrap(), "first this");
    assert_eq!(agent.read("/mem/working/deep/er/notes").await.unwrap(), &[0_u8, 255, 7][..]);
    let both = labels("secret").join(&labels("pii")).unwrap();
    assert_eq!(after.labels(&id("a")), Some(both));
    let [open] = &restored.descriptors[..] else { panic!("one was open") };
    let read = Syscall::Read {
        file: FileRef::Descriptor(*open.now.as_ref().unwrap()),
        offset: None,
        length: 9,
        nonblock: false,
    };
    let agent_control_plane::call::Reply::Data { data, labels: carried, .. } =
        agent.syscall(read).await.unwrap()
    else {
        panic!("a read answers data")
    };
    assert_eq!((data.as_ref(), carried), (&b"this"[..], labels("secret")));
    assert_eq!(after.signal(&id("a"), Signal::Int, "masked"), Ok(Raise::Pending));
    let restored = after.recorder().events(0).map(Result::unwrap).find_map(|stored| {
        match stored.event().unwrap().body {
            Body::Restored { checkpoint, files, lost, .. } => Some((checkpoint, files, lost)),
            _ => None,
        }
    });
    assert_eq!(restored, Some((checkpoint.digest(), 2, 0)));
}

#[tokio::test]
async fn a_checkpoint_changed_in_any_byte_is_refused() {
    for key in [None, Some([7; 32])] {
        let kernel = kernel(&ManualClock::default(), key);
        let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
        agent.write("/mem/working/x", "y").await.unwrap();
        let good = kernel.checkpoint(agent.id()).await.unwrap().to_bytes().unwrap();
        kernel.kill(agent.id(), "done").unwrap();
        let refused = async |bytes: &[u8]| match Checkpoint::from_bytes(bytes) {
            Err(_no_checkpoint) => true,
            Ok(changed) => {
                matches!(kernel.restore(AgentSpec::new("a"), &changed).await, Err(RestoreError::Altered))
            }
        };
        for at in 0..good.len() {
            for flip in [1_u8, 0x10, 0x20, 0x80] {
                let mut bytes = good.to_vec();
                bytes[at] ^= flip;
                assert!(refused(&bytes).await, "byte {at} by {flip:#x}");
            }
            assert!(refused(&good[..at]).await, "cut at {at}");
        }
        let spaced = [b" ".as_slice(), &good].concat();
        assert!(refused(&spaced).await);
        assert_eq!(kernel.agents().len(), 0, "nothing was left behind");
        let whole = Checkpoint::from_bytes(&good).unwrap();
        kernel.restore(AgentSpec::new("a"), &whole).await.unwrap();
    }
}

#[tokio::test]
async fn a_checkpoint_is_for_its_agent_its_tenant_and_its_key() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, Some([7; 32]));
    let acme = || AgentSpec::new("a").tenant("acme".parse().unwrap());
    kernel.spawn(acme()).unwrap();
    let checkpoint = kernel.checkpoint(&id("a")).await.unwrap();
    let alive = kernel.restore(acme(), &checkpoint).await.unwrap_err();
    assert!(matches!(alive, RestoreError::Spawn(SpawnError::AlreadyExists(_))), "{alive}");
    kernel.kill(&id("a"), "x").unwrap();
    let cases = [
        (AgentSpec::new("b").tenant("acme".parse().unwrap()), "AK0962"),
        (AgentSpec::new("a").tenant("other".parse().unwrap()), "AK0963"),
        (AgentSpec::new("a"), "AK0963"),
    ];
    for (spec, code) in cases {
        assert_eq!(kernel.restore(spec, &checkpoint).await.unwrap_err().code(), code);
    }
    let stranger = self::kernel(&clock, Some([8; 32]));
    let keyless = self::kernel(&clock, None);
    for other in [&stranger, &keyless] {
        assert!(matches!(other.restore(acme(), &checkpoint).await, Err(RestoreError::Altered)));
    }
    kernel.restore(acme(), &checkpoint).await.unwrap();
}

#[tokio::test]
async fn a_restore_gives_no_more_than_may_be_had_today() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let agent = busy(&kernel).await;
    let state = Arc::new(Memory::new());
    let at =
        |point: &str, access| Mount::new(VfsPath::parse(point).unwrap(), Arc::clone(&state) as _, access);
    kernel.mount(agent.id(), at("/mem/shared", Access::ReadWrite(Quota { bytes: 99, files: 9 }))).unwrap();
    let flags = OpenFlags { write: true, create: true, ..OpenFlags::default() };
    let shared = agent.open("/mem/shared/list", flags).await.unwrap();
    let checkpoint = kernel.checkpoint(agent.id()).await.unwrap();
    kernel.kill(agent.id(), "x").unwrap();
    // What was writable is mounted read-only now: the descriptor does not open again, and that is said.
    let spec = AgentSpec::new("a").mount(at("/mem/shared", Access::ReadOnly));
    let restored = kernel.restore(spec, &checkpoint).await.unwrap();
    let lost: Vec<_> =
        restored.descriptors.iter().filter(|open| open.now.is_err()).map(|open| open.before).collect();
    assert_eq!(lost, [shared]);
    kernel.kill(&id("a"), "x").unwrap();
    // Memory that may not be written takes nothing back, and no agent is left behind.
    let spec = AgentSpec::new("a").mount(at("/mem/working", Access::ReadOnly));
    let error = kernel.restore(spec, &checkpoint).await.unwrap_err();
    assert!(matches!(error, RestoreError::File(_)), "{error}");
    assert!(matches!(kernel.agent(&id("a")), Some(AgentState::Zombie(_))));
}

#[tokio::test]
async fn sigusr1_keeps_a_checkpoint_where_the_agent_can_only_read_it() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let agent = busy(&kernel).await;
    assert_eq!(kernel.signal(agent.id(), Signal::Usr1, "keep"), Ok(Raise::Delivered));
    agent.signal("a", Signal::Usr1, "mine").await.unwrap();
    let kept = kernel.checkpoints(agent.id()).await.unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept[0].taken() <= kept[1].taken() && kept.iter().all(|kept| kept.agent() == agent.id()));
    assert_eq!((bodies(&kernel, "checkpoint"), bodies(&kernel, "not_taken")), (2, 0));
    let listing = agent.read("/state/checkpoints").await.unwrap();
    let first: Value = serde_json::from_slice(listing.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let name = first["name"].as_str().unwrap();
    assert_eq!(name, "1970-01-01T000000.000001Z.json");
    let path = format!("/state/checkpoints/{name}");
    let call =
        Syscall::Read { file: FileRef::Path(path.clone()), offset: None, length: 1 << 20, nonblock: false };
    let agent_control_plane::call::Reply::Data { data, labels: carried, .. } =
        agent.syscall(call).await.unwrap()
    else {
        panic!("a read answers data")
    };
    assert_eq!(carried, labels("secret"), "what the agent carried, the file carries");
    assert_eq!(Checkpoint::from_bytes(&data).unwrap().digest(), kept[0].digest());
    assert!(matches!(agent.write(&path, "forged").await, Err(CallError::File(_))));
    assert!(matches!(agent.remove(&path).await, Err(CallError::File(_))));
    for _ in 0..MAX_SNAPSHOTS {
        kernel.signal(agent.id(), Signal::Usr1, "more").unwrap();
    }
    let kept_now = kernel.checkpoints(agent.id()).await.unwrap();
    assert_eq!(kept_now.len(), MAX_SNAPSHOTS);
    assert!(kept_now.iter().all(|now| now.digest() != kept[0].digest()), "the oldest went first");
}

#[tokio::test]
async fn a_masked_sigusr1_waits_and_one_to_oneself_is_for_policy() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let usr1 = SignalSet::EMPTY.with(Signal::Usr1);
    agent.mask(usr1, SignalSet::EMPTY).await.unwrap();
    assert_eq!(kernel.signal(agent.id(), Signal::Usr1, "keep"), Ok(Raise::Pending));
    assert_eq!(kernel.checkpoints(agent.id()).await.unwrap().len(), 0);
    agent.mask(SignalSet::EMPTY, usr1).await.unwrap();
    assert_eq!(kernel.checkpoints(agent.id()).await.unwrap().len(), 1);
    // Any other signal to itself is refused, by the same policy.
    assert!(matches!(agent.signal("a", Signal::Cont, "me").await, Err(CallError::Denied(_))));
}

#[tokio::test]
async fn checkpoints_on_a_mount_of_the_hosts_outlive_the_agent() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, Some([1; 32]));
    let store = Arc::new(Memory::new());
    let point = VfsPath::parse("/state/checkpoints").unwrap();
    let mount = || Mount::new(point.clone(), Arc::clone(&store) as _, Access::ReadOnly);
    let agent = kernel.spawn(AgentSpec::new("a").mount(mount())).unwrap();
    agent.write("/mem/working/x", "y").await.unwrap();
    agent.signal("a", Signal::Usr1, "keep").await.unwrap();
    kernel.kill(agent.id(), "x").unwrap();
    let reader = kernel.spawn(AgentSpec::new("reader").mount(mount())).unwrap();
    let kept = kernel.checkpoints(reader.id()).await.unwrap();
    let restored = kernel.restore(AgentSpec::new("a"), &kept[0]).await.unwrap();
    kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert_eq!(restored.agent.read("/mem/working/x").await.unwrap(), "y");
}

/// A store that answers late until it is woken, and changes under whoever reads it if told to.
struct Slow {
    inner: Memory,
    late: AtomicBool,
    restless: AtomicBool,
}

impl Slow {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(),
            late: AtomicBool::new(false),
            restless: AtomicBool::new(false),
        })
    }

    async fn wait(&self) {
        std::future::poll_fn(|context| {
            if self.late.load(Ordering::SeqCst) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl MemoryBackend for Slow {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            self.wait().await;
            let content = self.inner.read(path, offset, length).await?;
            if self.restless.load(Ordering::SeqCst) {
                let (data, quota) = (content.bytes.clone(), Quota { bytes: 999, files: 9 });
                let mode = agent_control_plane::vfs::WriteMode::Replace;
                self.inner.write(path, Write::new(mode, data, LabelSet::EMPTY, quota)).await?;
            }
            Ok(content)
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        self.inner.write(path, write)
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        self.inner.remove(path, expected)
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        self.inner.list(path, page)
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        self.inner.stat(path)
    }
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slow")
    }
}

#[tokio::test]
async fn a_slow_store_is_waited_for_at_the_next_call_and_a_restless_one_gives_up() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let store = Slow::new();
    let point = VfsPath::parse("/mem/working").unwrap();
    let mount = Mount::new(point, Arc::clone(&store) as _, Access::ReadWrite(Quota { bytes: 999, files: 9 }));
    let agent = kernel.spawn(AgentSpec::new("a").mount(mount)).unwrap();
    agent.write("/mem/working/x", "y").await.unwrap();
    store.late.store(true, Ordering::SeqCst);
    kernel.signal(agent.id(), Signal::Usr1, "keep").unwrap();
    store.late.store(false, Ordering::SeqCst);
    assert_eq!(kernel.checkpoints(agent.id()).await.unwrap().len(), 0);
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    assert_eq!(kernel.checkpoints(agent.id()).await.unwrap().len(), 1);

    store.restless.store(true, Ordering::SeqCst);
    let error = kernel.checkpoint(agent.id()).await.unwrap_err();
    assert!(matches!(&error, CallError::File(error) if error.error() == VfsError::Conflict), "{error}");
    kernel.signal(agent.id(), Signal::Usr1, "keep").unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    assert_eq!((bodies(&kernel, "checkpoint"), bodies(&kernel, "not_taken")), (1, 1));
}

#[tokio::test]
async fn a_checkpoint_is_taken_while_a_call_is_in_flight_and_says_so() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut call = Box::pin(agent.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    let checkpoint = kernel.checkpoint(agent.id()).await.unwrap();
    let shown: Value = serde_json::from_slice(&checkpoint.to_bytes().unwrap()).unwrap();
    assert_eq!(shown["content"]["in_flight"], 1);
    assert_eq!(kernel.agent(agent.id()), Some(AgentState::Running));
}

#[tokio::test]
async fn diagnostics_tell_what_an_agent_does_and_nothing_of_others() {
    let clock = ManualClock::default();
    let kernel = kernel(&clock, None);
    let agent = busy(&kernel).await;
    let _kid = kernel.spawn(AgentSpec::new("kid").parent(agent.id().clone())).unwrap();
    let _other = kernel.spawn(AgentSpec::new("stranger")).unwrap();
    let mut call = Box::pin(agent.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(kernel.signal(agent.id(), Signal::Usr2, "look"), Ok(Raise::Delivered));
    let files = agent.read("/state/diagnostics").await.unwrap();
    let file: Value = serde_json::from_slice(&files).unwrap();
    let path = format!("/state/diagnostics/{}", file["name"].as_str().unwrap());
    let text = agent.read(&path).await.unwrap();
    let told: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(told["state"], "running");
    assert_eq!(told["in_flight"], 1);
    assert_eq!((&told["calls"][0]["what"], &told["calls"][0]["syscall"]), (&json!("hang"), &json!("exec")));
    assert_eq!(told["calls"][0]["since"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(told["children"], json!(["a::kid"]));
    assert_eq!(told["masked"], json!(["SIGINT"]));
    assert_eq!(told["labels"], json!(["secret"]));
    assert_eq!(told["descriptors"][0]["path"], "/mem/working/plan");
    let points: BTreeMap<&str, &str> = told["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (mount["point"].as_str().unwrap(), mount["access"].as_str().unwrap()))
        .collect();
    assert_eq!(points["/mem/working"], "read-write");
    assert_eq!(points["/state/checkpoints"], "read-only");
    assert!(!String::from_utf8_lossy(&text).contains("stranger"));
    assert_eq!(kernel.diagnose(&id("nobody")), None);
    let forged = Syscall::Write {
        to: WriteTo::Path {
            path,
            change: agent_control_plane::call::Change::Replace,
            expected: None,
            ttl: None,
        },
        data: "x".into(),
    };
    assert!(agent.syscall(forged).await.is_err());
    let question =
        Syscall::Exec { tool: "hang".into(), arguments: RawArguments::Value(json!({})), deadline: None };
    assert!(agent.check(question).await.is_ok());
}
