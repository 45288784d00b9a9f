//! Messages: who gets them, what they carry, what bounds them, and what becomes of them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::call::{Change, FileRef, Reply, Syscall, WriteTo};
use agent_control_plane::ipc::{
    BadTopic, MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES, MAX_SUBSCRIPTIONS, Message,
};
use agent_control_plane::primitives::{LabelSet, ManualClock, Signal};
use agent_control_plane::recorder::{Body, Request};
use agent_control_plane::vfs::{Access, Descriptor, Memory, Mount, OpenFlags, Quota, VfsPath};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, Kernel, Policy};
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
name: ipc
on_violation: deny
rules:
  - { id: messages, effect: allow, calls: [read, write, open], paths: ["/ipc/**", "/ipc", "/", "/mem/**"] }
  - { id: not-to-boss, effect: deny, calls: [write], paths: ["/ipc/boss"] }
  - { id: vault, effect: allow, calls: [exec], tools: ["vault", "send"] }
  - id: no-secrets-out
    effect: deny
    calls: [exec]
    tools: ["send"]
    when: { labels.args: { any_of: [secret] } }
"#;

const READ: OpenFlags =
    OpenFlags { read: true, write: false, append: false, create: false, exclusive: false };

struct Office {
    kernel: Kernel,
    clock: ManualClock,
}

impl Office {
    fn new() -> Self {
        let mut tools = Registry::builder();
        let any = json!({"type": "object", "properties": {"text": {"type": "string"}}});
        let answer =
            |value: Value| move |_context, _: Value| std::future::ready(Ok::<_, ToolError>(value.clone()));
        tools
            .tool("vault")
            .description("A secret")
            .effects([Effect::Read])
            .output_labels(["secret"])
            .run_raw(any.clone(), answer(json!("hunter2")))
            .unwrap();
        tools
            .tool("send")
            .description("Sends")
            .effects([Effect::Write])
            .run_raw(any, answer(json!(null)))
            .unwrap();
        let clock = ManualClock::default();
        let kernel = Kernel::builder()
            .policy(Policy::from_yaml("ipc.yaml", POLICY).unwrap())
            .tools(tools.build())
            .timer(Arc::new(clock.clone()))
            .build()
            .unwrap();
        Self { kernel, clock }
    }

    fn spawn(&self, id: &str) -> AgentHandle {
        self.kernel.spawn(AgentSpec::new(id)).unwrap()
    }

    fn spawn_of(&self, id: &str, tenant: &str) -> AgentHandle {
        self.kernel.spawn(AgentSpec::new(id).tenant(tenant.parse().unwrap())).unwrap()
    }
}

/// What a call comes to that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn posix(error: &CallError) -> &'static str {
    match error {
        CallError::File(error) => error.name(),
        other => other.code(),
    }
}

fn text(message: &Message) -> &str {
    std::str::from_utf8(&message.body).unwrap()
}

fn next_of(agent: &AgentHandle, descriptor: Descriptor) -> Result<Message, CallError> {
    let file = FileRef::Descriptor(descriptor);
    match now(agent.syscall(Syscall::Read { file, offset: None, length: 1 << 23, nonblock: true }))? {
        Reply::Data { data, .. } => Ok(Message::from_line(&data).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn write_open(agent: &AgentHandle, descriptor: Descriptor, data: &str) -> Result<Reply, CallError> {
    let to = WriteTo::Descriptor { descriptor, offset: None };
    now(agent.syscall(Syscall::Write { to, data: data.to_owned().into() }))
}

#[test]
fn a_message_reaches_the_inbox_it_was_sent_to_in_the_order_it_was_sent() {
    let office = Office::new();
    let (a, b, c) = (office.spawn("a"), office.spawn("b"), office.spawn("c"));
    office.clock.advance(Duration::from_secs(5));
    for number in 0..3 {
        now(a.send("b", format!("a{number}"))).unwrap();
        now(c.send("b", vec![0xff, number])).unwrap();
    }
    let got: Vec<Message> = (0..6).map(|_| now(b.recv()).unwrap()).collect();
    assert_eq!(got.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let from_a: Vec<&str> = got.iter().filter(|message| message.from == *a.id()).map(text).collect();
    assert_eq!(from_a, ["a0", "a1", "a2"]);
    assert_eq!((&got[1].from, &got[1].body[..], &got[1].topic), (c.id(), &[0xff, 0][..], &None));
    assert_eq!(now(b.try_recv()).unwrap(), None);
    assert_eq!(now(a.try_recv()).unwrap(), None);
}

#[test]
fn a_message_to_a_topic_reaches_all_who_have_subscribed_and_nobody_after_they_closed() {
    let office = Office::new();
    let (a, b, c) = (office.spawn("a"), office.spawn("b"), office.spawn("c"));
    assert_eq!(posix(&now(a.send("news", "x")).unwrap_err()), "ENOENT");
    let at_b = now(b.open("/ipc/news", READ)).unwrap();
    let at_c = now(c.open("/ipc/news", READ)).unwrap();
    now(a.send("news", "one")).unwrap();
    now(c.close(at_c)).unwrap();
    now(a.send("news", "two")).unwrap();
    let got = [next_of(&b, at_b).unwrap(), next_of(&b, at_b).unwrap()];
    assert_eq!([text(&got[0]), text(&got[1])], ["one", "two"]);
    assert_eq!(got[0].topic.as_ref().unwrap().as_str(), "news");
    assert_eq!(posix(&next_of(&b, at_b).unwrap_err()), "EAGAIN");
    assert_eq!(posix(&next_of(&c, at_c).unwrap_err()), "AK0404");
    // A subscription does not read the inbox, nor the inbox a subscription.
    assert_eq!(now(b.try_recv()).unwrap(), None);
    now(b.close(at_b)).unwrap();
    assert_eq!(posix(&now(a.send("news", "x")).unwrap_err()), "ENOENT");
}

#[test]
fn a_name_leads_to_a_live_agent_first_and_no_one_else_reads_there() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let at_b = now(b.open("/ipc/c", READ)).unwrap();
    let c = office.spawn("c");
    now(a.send("c", "for the agent")).unwrap();
    assert_eq!(text(&now(c.recv()).unwrap()), "for the agent");
    assert_eq!(posix(&next_of(&b, at_b).unwrap_err()), "EAGAIN");
    let ways = [
        now(b.open("/ipc/c", READ)).map(drop),
        now(b.read("/ipc/c")).map(drop),
        now(b.send("inbox", "x")),
        now(b.open("/ipc/inbox", OpenFlags { write: true, ..READ })).map(drop),
        now(b.remove("/ipc/c")),
        now(b.open("/ipc/c/inbox", READ)).map(drop),
        now(b.read("/ipc/c/inbox")).map(drop),
        now(b.send("d d", "x")),
    ];
    let names: Vec<&str> = ways.iter().map(|way| posix(way.as_ref().unwrap_err())).collect();
    assert_eq!(names, ["EACCES", "EBADF", "EACCES", "EACCES", "EACCES", "ENOENT", "ENOENT", "ENOENT"]);
    let strange = |to| posix(&now(b.syscall(Syscall::Write { to, data: "x".into() })).unwrap_err());
    let path = "/ipc/c".to_owned();
    assert_eq!(
        strange(WriteTo::Path { path, change: Change::CreateNew, expected: None, ttl: None }),
        "EINVAL"
    );
    assert_eq!(now(c.try_recv()).unwrap(), None);
}

#[test]
fn an_agent_of_another_tenant_is_like_one_that_does_not_exist() {
    let office = Office::new();
    let (a, x) = (office.spawn_of("a", "acme"), office.spawn_of("x", "other"));
    let alone = office.spawn("alone");
    let at_x = now(x.open("/ipc/news", READ)).unwrap();
    let said = |name: &str| now(a.send(name, "x")).unwrap_err().to_string().replace(name, "?");
    for name in ["x", "alone", "news"] {
        assert_eq!(said(name), said("nobody"), "{name}");
        let open =
            |name| now(a.open(&format!("/ipc/{name}"), OpenFlags { read: false, write: true, ..READ }));
        assert_eq!(posix(&open(name).unwrap_err()), posix(&open("nobody").unwrap_err()));
    }
    // The own topic of that name is another one.
    let at_a = now(a.open("/ipc/news", READ)).unwrap();
    now(a.send("news", "ours")).unwrap();
    assert_eq!(text(&next_of(&a, at_a).unwrap()), "ours");
    assert_eq!(posix(&next_of(&x, at_x).unwrap_err()), "EAGAIN");
    let names = |agent: &AgentHandle| String::from_utf8(now(agent.read("/ipc")).unwrap().to_vec()).unwrap();
    assert!(names(&a).contains("news") && !names(&a).contains("\"x\""), "{}", names(&a));
    assert!(!names(&alone).contains("news"));
}

#[test]
fn what_was_sent_to_an_agent_goes_with_it() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let topic = now(b.open("/ipc/news", READ)).unwrap();
    now(a.send("b", "for the first b")).unwrap();
    now(b.exit(0, "")).unwrap();
    assert_eq!(posix(&now(a.send("b", "x")).unwrap_err()), "ENOENT");
    assert_eq!(posix(&now(a.send("news", "x")).unwrap_err()), "ENOENT");
    let second = office.spawn("b");
    assert_eq!(now(second.try_recv()).unwrap(), None);
    assert!(next_of(&second, topic).is_err());
    // A spawn that is refused takes nobody's place.
    assert!(office.kernel.spawn(AgentSpec::new("b")).is_err());
    now(a.send("b", "for the second")).unwrap();
    assert_eq!(text(&now(second.recv()).unwrap()), "for the second");
}

#[test]
fn a_message_carries_what_its_sender_did_and_its_reader_does_then() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let secret = LabelSet::new(["secret".parse().unwrap(), "tool:vault".parse().unwrap()]).unwrap();
    let send = |agent: &AgentHandle| now(agent.exec("send", json!({"text": "hunter2"})));
    now(a.send("b", "before")).unwrap();
    assert_eq!(now(b.recv()).unwrap().labels, LabelSet::EMPTY);
    send(&b).unwrap();
    let news = now(b.open("/ipc/news", READ)).unwrap();
    now(a.exec("vault", json!({}))).unwrap();
    now(a.send("news", "hunter2")).unwrap();
    send(&b).unwrap();
    let message = next_of(&b, news).unwrap();
    // Besides what the topic's name does, which `b` has chosen.
    assert!(message.labels.contains_all(&secret));
    assert!(office.kernel.labels(b.id()).unwrap().contains_all(&secret));
    assert!(matches!(send(&b), Err(CallError::Denied(_))));
    // On to a third, who has never seen the vault.
    let c = office.spawn("c");
    now(b.send("c", "the word is hunter2")).unwrap();
    now(c.recv()).unwrap();
    assert!(matches!(send(&c), Err(CallError::Denied(_))));
}

#[test]
fn the_name_of_a_topic_carries_what_whoever_chose_it_did() {
    let office = Office::new();
    let (a, b, c) = (office.spawn("a"), office.spawn("b"), office.spawn("c"));
    now(a.exec("vault", json!({}))).unwrap();
    now(a.open("/ipc/hunter2", READ)).unwrap();
    assert!(office.kernel.labels(b.id()).unwrap().is_empty());
    now(b.read("/ipc")).unwrap();
    assert_eq!(office.kernel.labels(b.id()), office.kernel.labels(a.id()));
    // So does a message that names it.
    let mine = now(c.open("/ipc/hunter2", READ)).unwrap();
    now(c.send("hunter2", "x")).unwrap();
    assert_eq!(next_of(&c, mine).unwrap().labels, office.kernel.labels(a.id()).unwrap());
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    let office = Office::new();
    let (a, b, c) = (office.spawn("a"), office.spawn("b"), office.spawn("c"));
    for number in 0..MAX_QUEUED_MESSAGES {
        now(a.send("b", number.to_string())).unwrap();
    }
    let full = now(a.send("b", "one too many")).unwrap_err();
    assert!(posix(&full) == "EAGAIN" && full.retryable(), "{full}");
    assert_eq!(text(&now(b.recv()).unwrap()), "0");
    now(a.send("b", "fits again")).unwrap();
    // Bodies are counted, too.
    let large = "x".repeat(MAX_MESSAGE_BYTES);
    assert_eq!(posix(&now(a.send("c", format!("{large}x"))).unwrap_err()), "EFBIG");
    for _ in 0..MAX_QUEUED_BYTES / MAX_MESSAGE_BYTES {
        now(a.send("c", large.clone())).unwrap();
    }
    assert_eq!(posix(&now(a.send("c", "x")).unwrap_err()), "EAGAIN");
    assert_eq!(now(c.recv()).unwrap().body.len(), MAX_MESSAGE_BYTES);
    now(a.send("c", "x")).unwrap();
}

#[test]
fn a_topic_delivers_to_all_or_to_nobody() {
    let office = Office::new();
    let (a, b, c) = (office.spawn("a"), office.spawn("b"), office.spawn("c"));
    let slow = now(b.open("/ipc/news", READ)).unwrap();
    for _ in 0..MAX_QUEUED_MESSAGES {
        now(a.send("news", "x")).unwrap();
    }
    let quick = now(c.open("/ipc/news", READ)).unwrap();
    assert_eq!(posix(&now(a.send("news", "y")).unwrap_err()), "EAGAIN");
    assert_eq!(posix(&next_of(&c, quick).unwrap_err()), "EAGAIN");
    next_of(&b, slow).unwrap();
    now(a.send("news", "y")).unwrap();
    assert_eq!(text(&next_of(&c, quick).unwrap()), "y");
}

#[test]
fn an_agent_has_so_many_subscriptions_and_no_more() {
    let office = Office::new();
    let a = office.spawn("a");
    let first = now(a.open("/ipc/t", READ)).unwrap();
    for _ in 1..MAX_SUBSCRIPTIONS {
        now(a.open("/ipc/t", READ)).unwrap();
    }
    assert_eq!(posix(&now(a.open("/ipc/other", READ)).unwrap_err()), "EMFILE");
    now(a.close(first)).unwrap();
    now(a.open("/ipc/other", READ)).unwrap();
}

#[test]
fn a_descriptor_does_what_it_was_opened_for() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let write = OpenFlags { read: false, write: true, ..READ };
    let to_b = now(a.open("/ipc/b", write)).unwrap();
    write_open(&a, to_b, "hello").unwrap();
    assert_eq!(posix(&next_of(&a, to_b).unwrap_err()), "EBADF");
    assert_eq!(text(&now(b.recv()).unwrap()), "hello");
    let both = now(b.open("/ipc/t", OpenFlags { write: true, ..READ })).unwrap();
    write_open(&b, both, "to myself").unwrap();
    assert_eq!(text(&next_of(&b, both).unwrap()), "to myself");
    let only_read = now(b.open("/ipc/t", READ)).unwrap();
    assert_eq!(posix(&write_open(&b, only_read, "x").unwrap_err()), "EBADF");
    let taken = now(a.open("/ipc/t", OpenFlags { write: true, create: true, exclusive: true, ..READ }));
    assert_eq!(posix(&taken.unwrap_err()), "EEXIST");
    let inbox = now(b.open("/ipc/inbox", READ)).unwrap();
    now(a.send("b", "again")).unwrap();
    assert_eq!(text(&next_of(&b, inbox).unwrap()), "again");
    let file = FileRef::Path("/ipc/inbox".to_owned());
    let short =
        |length, offset| now(b.syscall(Syscall::Read { file: file.clone(), offset, length, nonblock: true }));
    now(a.send("b", "long enough")).unwrap();
    assert_eq!(posix(&short(10, None).unwrap_err()), "EFBIG");
    assert_eq!(posix(&short(1000, Some(3)).unwrap_err()), "EINVAL");
    short(1000, Some(0)).unwrap();
}

#[tokio::test]
async fn a_read_waits_for_a_message_and_for_no_longer_than_a_file_operation() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let mut waits = pin!(b.recv());
    assert!(futures_poll(waits.as_mut()).is_pending());
    now(a.send("b", "at last")).unwrap();
    assert_eq!(text(&waits.await.unwrap()), "at last");
    let mut late = pin!(b.recv());
    assert!(futures_poll(late.as_mut()).is_pending());
    office.clock.advance(Duration::from_secs(31));
    assert_eq!(posix(&late.await.unwrap_err()), "ETIMEDOUT");
}

#[test]
fn a_read_that_is_given_up_takes_no_message() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    {
        let mut given_up = pin!(b.recv());
        assert!(futures_poll(given_up.as_mut()).is_pending());
        now(a.send("b", "one")).unwrap();
    }
    let message = now(b.recv()).unwrap();
    assert_eq!((message.seq, text(&message)), (1, "one"));
}

#[test]
fn a_kill_ends_a_read_that_waits() {
    let office = Office::new();
    let (a, b) = (office.spawn("a"), office.spawn("b"));
    let mut waits = pin!(b.recv());
    assert!(futures_poll(waits.as_mut()).is_pending());
    office.kernel.signal(b.id(), Signal::Kill, "test").unwrap();
    let Poll::Ready(Err(CallError::Dead(_))) = futures_poll(waits.as_mut()) else { panic!("it goes on") };
    assert_eq!(posix(&now(a.send("b", "x")).unwrap_err()), "ENOENT");
}

#[test]
fn messages_are_judged_and_recorded_as_files_are() {
    let office = Office::new();
    let (a, _boss, b) = (office.spawn("a"), office.spawn("boss"), office.spawn("b"));
    assert!(matches!(now(a.send("boss", "x")), Err(CallError::Denied(_))));
    now(a.send("b", "hello")).unwrap();
    let read = Syscall::Read {
        file: FileRef::Path("/ipc/inbox".to_owned()),
        offset: None,
        length: 4096,
        nonblock: true,
    };
    now(b.syscall(read)).unwrap();
    let mut seen = Vec::new();
    for stored in office.kernel.recorder().events(0) {
        let stored = stored.unwrap();
        match stored.event().unwrap().body {
            Body::Intent { request: Request::Write { path, bytes, .. }, .. } => {
                seen.push(format!("write {path} {bytes}"));
            }
            Body::Intent { request: Request::Read { path, nonblock, .. }, .. } => {
                seen.push(format!("read {path} {nonblock}"));
            }
            Body::Refused { request: Request::Write { path, .. }, .. } => {
                seen.push(format!("refused {path}"));
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["refused /ipc/boss", "write /ipc/b 5", "read /ipc/inbox true"]);
}

#[test]
fn a_topic_with_a_schema_takes_nothing_that_does_not_fit() {
    let office = Office::new();
    let (a, b) = (office.spawn_of("a", "acme"), office.spawn_of("b", "acme"));
    let acme = "acme".parse().unwrap();
    let schema = json!({"type": "object", "properties": {"amount": {"type": "integer", "maximum": 10}},
        "required": ["amount"], "additionalProperties": false});
    office.kernel.topic(Some(&acme), "orders", Some(&schema)).unwrap();
    let orders = now(b.open("/ipc/orders", READ)).unwrap();
    for bad in
        ["", "hello", "{}", "{\"amount\": 11}", "{\"amount\": 11, \"amount\": 1}", "{\"amount\": 1} {}"]
    {
        assert_eq!(posix(&now(a.send("orders", bad)).unwrap_err()), "EINVAL", "{bad}");
    }
    assert_eq!(posix(&now(a.send("orders", vec![0xff])).unwrap_err()), "EINVAL");
    now(a.send("orders", "{\"amount\": 1}")).unwrap();
    assert_eq!(text(&next_of(&b, orders).unwrap()), "{\"amount\": 1}");
    assert_eq!(posix(&next_of(&b, orders).unwrap_err()), "EAGAIN");
    // The topic of that name of somebody else is none of it.
    let c = office.spawn_of("c", "other");
    let theirs = now(c.open("/ipc/orders", READ)).unwrap();
    now(c.send("orders", "hello")).unwrap();
    next_of(&c, theirs).unwrap();
    office.kernel.topic(Some(&acme), "orders", None).unwrap();
    now(a.send("orders", "hello")).unwrap();
    let bad = json!({"type": 7});
    assert!(matches!(office.kernel.topic(None, "orders", Some(&bad)), Err(BadTopic::Schema(_))));
    assert!(matches!(office.kernel.topic(None, "a/b", None), Err(BadTopic::Name { .. })));
}

#[test]
fn no_store_is_mounted_where_messages_are() {
    let office = Office::new();
    let a = office.spawn("a");
    let quota = Quota { bytes: 10, files: 10 };
    for point in ["/ipc", "/ipc/b", "/ipc/b/c"] {
        let point = VfsPath::parse(point).unwrap();
        let mount = Mount::new(point.clone(), Arc::new(Memory::new()), Access::ReadWrite(quota));
        assert!(office.kernel.spawn(AgentSpec::new("b").mount(mount.clone())).is_err());
        assert!(office.kernel.mount(a.id(), mount).is_err());
        assert!(office.kernel.unmount(a.id(), &point).is_err());
    }
    office.spawn("b");
    now(a.send("b", "x")).unwrap();
}

fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
