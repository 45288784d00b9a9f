//! Agents that go in circles: refusals answered from memory, and SIGLOOP.

use std::time::Duration;

use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::history::History;
use agent_control_plane::kernel::{LOOP_AT, LOOP_WINDOW, MAX_REFUSALS, Raise, Was};
use agent_control_plane::primitives::{AgentId, Clock as _, Signal, SignalSet};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::recorder::{Actor, Body};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, Denial, FlightRecorder};
use serde_json::{Value, json};

use crate::host::Host;

const POLICY: &str = r#"
version: 1
name: loops
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["echo", "fails", "hang"] }
  - { id: no, effect: deny, calls: [exec], tools: ["soft"] }
  - { id: first-read, effect: allow, calls: [exec], tools: ["tell"], when: { after: { paths: ["/mem/**"] } } }
  - { id: twice, effect: deny, calls: [exec], tools: ["echo"], when: { count: { tools: [echo], within: 1h, gte: 2 } } }
  - { id: consent, effect: ask, calls: [exec], tools: ["transfer"] }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
"#;

fn start() -> (Host, AgentHandle) {
    let host = Host::with(POLICY, FlightRecorder::memory().unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    (host, agent)
}

fn state(host: &Host) -> AgentState {
    let id: AgentId = "a".parse().unwrap();
    host.kernel.agent(&id).unwrap()
}

async fn refused(agent: &AgentHandle, tool: &str, arguments: Value) -> Denial {
    match agent.exec(tool, arguments).await {
        Err(CallError::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

/// Why SIGLOOP was raised by the kernel, each time.
fn loops(host: &Host) -> Vec<String> {
    let events: Vec<_> = host.kernel.recorder().events(0).map(Result::unwrap).collect();
    let mut reasons = Vec::new();
    for event in &events {
        if let Body::Signal { signal, from: Actor::Kernel, reason, .. } = event.event().unwrap().body
            && signal == Signal::Loop.number()
        {
            reasons.push(reason.to_owned());
        }
    }
    reasons
}

fn goes_on(host: &Host) {
    host.kernel.signal(&"a".parse().unwrap(), Signal::Cont, "seen").unwrap();
}

#[tokio::test]
async fn the_second_identical_denied_call_is_answered_from_memory_and_recorded() {
    let (host, agent) = start();
    let first = refused(&agent, "soft", json!({"text": "x"})).await;
    let second = refused(&agent, "soft", json!({"text": "x"})).await;
    let other = refused(&agent, "soft", json!({"text": "y"})).await;
    let third = refused(&agent, "soft", json!({"text": "x"})).await;
    let told = |denial: &Denial| (denial.code(), denial.rule().map(str::to_owned), denial.repeats());
    let no = Some("no".to_owned());
    assert_eq!(told(&first), ("AK0101", no.clone(), 0));
    assert_eq!(told(&second), ("AK0101", no.clone(), 1));
    assert_eq!(told(&other), ("AK0101", no.clone(), 0));
    assert_eq!(told(&third), ("AK0101", no, 2));
    assert_eq!(host.kinds("a"), ["spawn", "refused", "repeated", "refused", "repeated"]);
    let events: Vec<_> = host.kernel.recorder().events(0).map(Result::unwrap).collect();
    let number = |at: usize| events[at].event().unwrap().call;
    let of = |at: usize| match events[at].event().unwrap().body {
        Body::Repeated { of, what: "tool `soft`", code: "AK0101", .. } => of,
        body => panic!("{body:?}"),
    };
    assert_eq!((of(3), of(5)), (number(2), number(2)));
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn what_the_situation_may_change_is_judged_anew() {
    let (host, agent) = start();
    // No rule allows `tell` before something was read: a later reading changes that.
    assert_eq!(refused(&agent, "tell", json!({"text": "x"})).await.code(), "AK0102");
    assert_eq!(refused(&agent, "tell", json!({"text": "x"})).await.repeats(), 0);
    agent.write("/mem/working/x", "x").await.unwrap();
    agent.exec("tell", json!({"text": "x"})).await.unwrap();

    // The window moves on.
    let text = || json!({"text": "x"});
    agent.exec("echo", text()).await.unwrap();
    agent.exec("echo", text()).await.unwrap();
    assert_eq!(refused(&agent, "echo", text()).await.rule(), Some("twice"));
    assert_eq!(refused(&agent, "echo", text()).await.repeats(), 0);
    host.clock.advance(Duration::from_secs(3600));
    agent.exec("echo", text()).await.unwrap();

    // Somebody may be there to be asked.
    assert_eq!(refused(&agent, "transfer", text()).await.code(), "AK0201");
    assert_eq!(refused(&agent, "transfer", text()).await.repeats(), 0);
    assert!(!host.kinds("a").contains(&"repeated".to_owned()));
}

#[tokio::test]
async fn what_was_refused_long_ago_is_judged_anew() {
    let (host, agent) = start();
    agent.mask(SignalSet::EMPTY.with(Signal::Loop), SignalSet::EMPTY).await.unwrap();
    for number in 0..=MAX_REFUSALS {
        refused(&agent, "soft", json!({"text": number.to_string()})).await;
    }
    assert_eq!(refused(&agent, "soft", json!({"text": "0"})).await.repeats(), 0);
    assert_eq!(refused(&agent, "soft", json!({"text": "2"})).await.repeats(), 1);
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn the_fifth_refusal_of_a_class_stops_the_agent_once() {
    let (host, agent) = start();
    for number in 1..LOOP_AT {
        refused(&agent, if number % 2 == 0 { "soft" } else { "ungranted" }, json!({})).await;
        agent.exec("transfer", json!({})).await.unwrap_err();
        assert_eq!(state(&host), AgentState::Ready, "{number}");
    }
    refused(&agent, "soft", json!({})).await;
    assert_eq!(state(&host), AgentState::Stopped { was: Was::Ready });
    assert_eq!(
        loops(&host),
        ["5 calls were refused as forbidden; the last: tool `soft` is denied by rule `no`"]
    );

    // Counting starts over; the other class has its own count.
    goes_on(&host);
    refused(&agent, "soft", json!({})).await;
    assert_eq!(state(&host), AgentState::Ready);
    agent.exec("transfer", json!({})).await.unwrap_err();
    assert_eq!(state(&host), AgentState::Stopped { was: Was::Ready });
    assert_eq!(loops(&host).len(), 2);
}

#[tokio::test]
async fn refusals_that_lie_far_apart_are_no_loop() {
    let (host, agent) = start();
    for _ in 0..3 * LOOP_AT {
        refused(&agent, "soft", json!({})).await;
        host.clock.advance(LOOP_WINDOW / 4);
    }
    assert_eq!((state(&host), loops(&host).len()), (AgentState::Ready, 0));
}

#[tokio::test]
async fn a_loop_can_be_masked_and_then_waits() {
    let (host, agent) = start();
    let set = SignalSet::EMPTY.with(Signal::Loop);
    agent.mask(set, SignalSet::EMPTY).await.unwrap();
    for _ in 0..LOOP_AT {
        refused(&agent, "soft", json!({})).await;
    }
    assert_eq!((state(&host), loops(&host).len()), (AgentState::Ready, 1));
    agent.mask(SignalSet::EMPTY, set).await.unwrap();
    assert_eq!(state(&host), AgentState::Stopped { was: Was::Ready });
}

#[tokio::test]
async fn the_same_tool_call_failing_five_times_in_a_row_stops_the_agent() {
    let (host, agent) = start();
    for number in 1..LOOP_AT {
        assert_eq!(agent.exec("fails", json!({"text": "x"})).await.unwrap_err().code(), "AK0523", "{number}");
    }
    // What works in between breaks the row, and so does another failure.
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    for number in 1..LOOP_AT {
        agent.exec("fails", json!({"text": "x"})).await.unwrap_err();
        assert_eq!(state(&host), AgentState::Ready, "{number}");
    }
    agent.exec("fails", json!({"text": "y"})).await.unwrap_err();
    for number in 1..=LOOP_AT {
        assert_eq!(state(&host), AgentState::Ready, "{number}");
        agent.exec("fails", json!({"text": "x"})).await.unwrap_err();
    }
    assert_eq!(state(&host), AgentState::Stopped { was: Was::Ready });
    assert_eq!(loops(&host), ["the same failure 5 times in a row: the tool failed: no such order"]);
}

#[tokio::test]
async fn the_same_mistake_five_times_in_a_row_stops_the_agent() {
    let (host, agent) = start();
    let mistake = |text: Value| Syscall::Exec {
        tool: "echo".into(),
        arguments: RawArguments::Value(json!({ "text": text })),
        deadline: None,
    };
    for number in 1..LOOP_AT {
        agent.syscall(mistake(5.into())).await.unwrap_err();
        assert_eq!(state(&host), AgentState::Ready, "{number}");
        agent.exec("no_such_tool", json!({})).await.unwrap_err();
    }
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    for number in 1..=LOOP_AT {
        assert_eq!(state(&host), AgentState::Ready, "{number}");
        agent.syscall(mistake(number.into())).await.unwrap_err();
    }
    assert_eq!(state(&host), AgentState::Stopped { was: Was::Ready });
    let reasons = loops(&host);
    assert!(reasons[0].starts_with("the same mistake 5 times in a row: "), "{reasons:?}");
}

#[tokio::test]
async fn what_may_be_tried_again_is_no_loop() {
    let (host, agent) = start();
    for _ in 0..2 * LOOP_AT {
        let wait = Some(Duration::ZERO);
        let arguments = RawArguments::Value(json!({}));
        let error = agent
            .syscall(Syscall::Exec { tool: "hang".into(), arguments, deadline: wait })
            .await
            .unwrap_err();
        assert!(error.retryable(), "{error}");
    }
    assert_eq!((state(&host), loops(&host).len()), (AgentState::Ready, 0));
}

#[tokio::test]
async fn the_recording_rebuilds_the_past_a_decision_saw() {
    let (host, agent) = start();
    agent.write("/mem/working/x", "x").await.unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    agent.exec("fails", json!({"text": "x"})).await.unwrap_err();
    agent.exec("soft", json!({"text": "x"})).await.unwrap_err();
    agent.exec("echo", json!({"text": "y"})).await.unwrap();
    let events: Vec<_> = host.kernel.recorder().events(0).map(Result::unwrap).collect();
    let mut history = History::EMPTY;
    for event in events.iter().map(|stored| stored.event().unwrap()).filter(|event| event.agent == "a") {
        history.observe(&event);
    }
    let times =
        |call: CallKind, name: &str| history.count(None, |kind, object| (kind, object) == (call, name));
    assert_eq!(times(CallKind::Write, "/mem/working/x"), Some(1));
    assert_eq!(times(CallKind::Exec, "echo"), Some(2));
    assert_eq!(times(CallKind::Exec, "fails"), Some(1), "a call that failed was made");
    assert_eq!(times(CallKind::Exec, "soft"), Some(0), "one that was refused was not");

    // The rebuilt past decides as the kernel does.
    let (id, tool, facts) = ("a".parse().unwrap(), "echo".parse().unwrap(), serde_json::Map::new());
    let arguments = json!({"text": "z"});
    let question = Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments: &arguments });
    let caller = Caller::new(&id, &facts).having_done(&history).at(host.clock.now());
    assert_eq!(host.kernel.policy().decide(&caller, &question).deciding_rule(), Some("twice"));
    assert_eq!(refused(&agent, "echo", arguments.clone()).await.rule(), Some("twice"));
}

#[tokio::test]
async fn a_new_life_has_no_past() {
    let (host, agent) = start();
    for _ in 0..2 {
        agent.exec("echo", json!({"text": "x"})).await.unwrap();
    }
    refused(&agent, "echo", json!({"text": "x"})).await;
    agent.exit(0, "done").await.unwrap();
    let again = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    again.exec("echo", json!({"text": "x"})).await.unwrap();
}

#[tokio::test]
async fn the_host_can_raise_it_too() {
    let (host, _agent) = start();
    let raised = host.kernel.signal(&"a".parse().unwrap(), Signal::Loop, "I have seen this before");
    assert_eq!((raised, state(&host)), (Ok(Raise::Delivered), AgentState::Stopped { was: Was::Ready }));
}
