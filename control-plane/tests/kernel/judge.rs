//! Judging calls that are carried out elsewhere.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::call::{Change, FileRef, RawArguments, Syscall, WriteTo};
use agent_control_plane::denial::Reason;
use agent_control_plane::kernel::{Deed, JudgeContext, Judgement, MAX_PAST};
use agent_control_plane::primitives::{LabelSet, Resource, Signal, Timestamp, Verdict};
use agent_control_plane::question::CallKind;
use agent_control_plane::vfs::OpenFlags;
use agent_control_plane::{CallError, FlightRecorder, KernelState};
use serde_json::{Value, json};

use crate::host::Host;
use crate::states::faulty;

const POLICY: &str = r#"
version: 1
name: test
rules:
  - { id: notes, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
  - { id: tells, effect: allow, calls: [signal], targets: ["b"], signals: [SIGTERM] }
  - { id: team, effect: allow, calls: [exec], tools: ["echo"], when: { context.team: { eq: red } } }
  - { id: secret, effect: deny, calls: [exec], tools: ["echo"], when: { labels.args.text: { any_of: [secret] } } }
  - { id: asks, effect: ask, calls: [exec], tools: ["transfer"] }
  - { id: few, effect: allow, calls: [exec], tools: ["soft"], limits: { rate: 5/min } }
  - { id: twice, effect: allow, calls: [exec], tools: ["tell"], when: { count: { calls: [exec], tools: ["tell"], lt: 2 } } }
"#;

fn now<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(answer) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits");
    };
    answer
}

fn host() -> Host {
    Host::with(POLICY, FlightRecorder::memory().unwrap())
}

fn exec(tool: &str, arguments: Value) -> Syscall {
    Syscall::Exec { tool: tool.into(), arguments: RawArguments::Value(arguments), deadline: None }
}

fn judge(host: &Host, call: Syscall, context: &JudgeContext) -> Judgement {
    now(host.kernel.judge(call, context)).unwrap()
}

/// The code of a refusal; nothing when the call may be made.
fn code(judgement: &Judgement) -> Option<&'static str> {
    assert_eq!(judgement.allows(), judgement.denial.is_none());
    judgement.denial.as_ref().map(agent_control_plane::Denial::code)
}

fn last(host: &Host) -> Value {
    host.kernel.recorder().events(0).last().unwrap().unwrap().to_json().unwrap()
}

fn red() -> JudgeContext {
    JudgeContext::new("far").fact("team", "red")
}

#[test]
fn what_is_judged_is_on_record_with_all_it_was_judged_on_and_nothing_is_done() {
    let host = host();
    let context = red().tenant("acme".parse().unwrap()).past([]);
    let judgement = judge(&host, exec("echo", json!({"text": "hi"})), &context);
    assert_eq!((judgement.decision.verdict(), code(&judgement)), (Verdict::Allow, None));
    let event = last(&host);
    assert_eq!(event["seq"], judgement.seq);
    assert_eq!((event["kind"].as_str(), event["agent"].as_str()), (Some("judged"), Some("far")));
    assert_eq!((event["generation"].as_u64(), event["call"].as_u64()), (Some(0), Some(judgement.call)));
    assert_eq!(event["facts"], json!({"team": "red"}));
    assert_eq!((event["tenant"].as_str(), &event["past"]), (Some("acme"), &json!([])));
    assert_eq!((event["rules"].clone(), event["policy_generation"].clone()), (json!(["team"]), json!(1)));
    assert_eq!(host.runs(), 0, "carrying it out is for the host outside");
    assert_eq!(host.kernel.agents(), []);
}

#[test]
fn calls_get_what_an_agent_of_this_kernel_would_get() {
    let host = host();
    let read = |path: &str| Syscall::Read {
        file: FileRef::Path(path.into()),
        offset: None,
        length: 1,
        nonblock: false,
    };
    let signal = |to: &str| Syscall::Signal { to: to.into(), signal: Signal::Term, reason: String::new() };
    let write = Syscall::Write {
        to: WriteTo::Path {
            path: "/mem/working/a".into(),
            change: Change::Replace,
            expected: None,
            ttl: None,
        },
        data: "x".into(),
    };
    let cases = [
        (read("/mem/working/a"), None),
        (read("/policy/active.json"), Some("AK0102")),
        (write, None),
        (Syscall::Open { path: "/etc/a".into(), flags: OpenFlags::default() }, Some("AK0102")),
        (signal("b"), None),
        (signal("c"), Some("AK0102")),
        (exec("ungranted", json!({})), Some("AK0102")),
        (exec("transfer", json!({})), Some("AK0201")),
    ];
    for (call, expected) in cases {
        let shown = format!("{call:?}");
        assert_eq!(code(&judge(&host, call, &JudgeContext::new("far"))), expected, "{shown}");
    }
}

#[test]
fn arguments_carry_what_the_host_says_and_otherwise_all_that_the_agent_does() {
    let host = host();
    let secret = LabelSet::new(["secret".parse().unwrap()]).unwrap();
    let call = || exec("echo", json!({"text": "hi"}));
    let carrying = red().labels(secret);
    assert_eq!(code(&judge(&host, call(), &carrying)), Some("AK0101"));
    let named = carrying.clone().arguments(BTreeMap::from([("text".to_owned(), LabelSet::EMPTY)]));
    assert_eq!(code(&judge(&host, call(), &named)), None);
    let other = carrying.arguments(BTreeMap::from([("other".to_owned(), LabelSet::EMPTY)]));
    assert_eq!(code(&judge(&host, call(), &other)), Some("AK0101"));
}

#[test]
fn what_the_context_does_not_bring_counts_against_the_call() {
    let host = host();
    let call = || exec("tell", json!({"text": "x"}));
    let judgement = judge(&host, call(), &red());
    assert_eq!(code(&judgement), Some("AK0304"));
    let reason = judgement.denial.unwrap();
    assert!(reason.to_string().contains("the agent's past"), "{reason}");
    let told = |times: i64| {
        let deed = |time| Deed {
            time: Timestamp::from_micros(time),
            call: CallKind::Exec,
            object: "tell".into(),
            arguments: json!({"text": "x"}),
        };
        red().past((0..times).map(deed))
    };
    assert_eq!(code(&judge(&host, call(), &told(1))), None);
    assert_eq!(code(&judge(&host, call(), &told(2))), Some("AK0102"));
    assert_eq!(last(&host)["past"][1]["object"], "tell");
    assert_eq!(code(&judge(&host, exec("soft", json!({})), &told(0))), Some("AK0304"), "a rule limits it");
    host.kernel.set_budget(&AccountId::Kernel, &Budget::new().limit(Resource::Calls, 100)).unwrap();
    let judgement = judge(&host, exec("echo", json!({"text": "hi"})), &red());
    assert!(matches!(judgement.denial.unwrap().reason(), Reason::Unaccountable { .. }));
    assert_eq!(last(&host)["reason"], "AK0304");
}

#[test]
fn what_only_an_agent_can_ask_and_what_is_no_context_is_a_mistake_on_record() {
    let host = host();
    let descriptor = agent_control_plane::vfs::Descriptor::from_raw(3);
    let deed = |object: &str| Deed {
        time: Timestamp::from_micros(0),
        call: CallKind::Exec,
        object: object.into(),
        arguments: Value::Null,
    };
    let on_descriptor =
        Syscall::Read { file: FileRef::Descriptor(descriptor), offset: None, length: 1, nonblock: false };
    let cases = [
        (on_descriptor, red(), "AK0947"),
        (Syscall::Close { descriptor }, red(), "AK0947"),
        (Syscall::Exit { code: 0, message: String::new() }, red(), "AK0947"),
        (Syscall::CheckPolicy(Box::new(exec("echo", json!({})))), red(), "AK0947"),
        (exec("echo", json!({})), JudgeContext::new("no name"), "AK0948"),
        (exec("echo", json!({})), red().fact("long", "x".repeat(70_000)), "AK0948"),
        (exec("echo", json!({})), red().past([deed("no tool")]), "AK0948"),
        (exec("echo", json!({})), red().past((0..=MAX_PAST).map(|_| deed("echo"))), "AK0948"),
        (exec("missing", json!({})), red(), "AK0510"),
    ];
    for (call, context, code) in cases {
        let shown = format!("{call:?}");
        let error = now(host.kernel.judge(call, &context)).unwrap_err();
        assert!(matches!(error, CallError::Invalid(_)), "{error}");
        assert_eq!(last(&host)["kind"], "rejected", "{shown}");
        assert_eq!((error.code(), last(&host)["code"].as_str()), (code, Some(code)), "{shown}");
    }
}

#[test]
fn what_cannot_be_recorded_is_not_answered() {
    let (recorder, broken) = faulty();
    let host = Host::with(POLICY, recorder);
    broken.store(true, Ordering::SeqCst);
    let error = now(host.kernel.judge(exec("echo", json!({"text": "hi"})), &red())).unwrap_err();
    assert!(matches!(error, CallError::KernelDown { .. }), "{error}");
    assert!(matches!(host.kernel.state(), KernelState::Panicked(_)));
    broken.store(false, Ordering::SeqCst);
    assert!(now(host.kernel.judge(exec("echo", json!({"text": "hi"})), &red())).is_err(), "it stays down");
}

#[tokio::test]
async fn a_decision_with_side_effects_is_on_disk_when_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let judgement = host.kernel.judge(exec("echo", json!({"text": "hi"})), &red()).await.unwrap();
    let on_disk = agent_control_plane::recorder::Recording::open(folder.path()).unwrap();
    let seqs: Vec<u64> = on_disk.events(0).unwrap().map(|event| event.unwrap().seq()).collect();
    assert!(seqs.contains(&judgement.seq), "{seqs:?}");
}
