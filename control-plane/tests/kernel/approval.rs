//! Calls that wait for a human: who may let them through, how often, and what voids it.

mod restart;
mod roads;

use std::time::Duration;

use agent_control_plane::approval::{
    Approvals, MAX_TICKETS_PER_AGENT, Principal, Scope, TicketId, TicketState,
};
use agent_control_plane::call::{RawArguments, Syscall, WriteTo};
use agent_control_plane::kernel::{OnAsk, Was};
use agent_control_plane::primitives::{AgentId, Signal, Verdict};
use agent_control_plane::recorder::{ApprovalStep, Body};
use agent_control_plane::vfs::OpenFlags;
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, ExitStatus};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::host::Host;

const POLICY: &str = r#"
version: 1
name: asks
rules:
  - { id: free, effect: allow, calls: [exec], tools: ["echo"] }
  - { id: money, effect: ask, calls: [exec], tools: ["transfer"], on_violation: deny }
  - { id: much, effect: ask, calls: [exec], tools: ["transfer"], on_violation: deny, when: { args.text: { eq: much } },
      ask: { approvers: [treasury], quorum: 2, timeout: 60s, scope: session } }
  - { id: soft, effect: ask, calls: [exec], tools: ["soft"], on_violation: stop, ask: { scope: session, timeout: 1h } }
  - { id: vault, effect: ask, calls: [exec], tools: ["stops"], ask: { approvers: [treasury], quorum: 2, timeout: 7d } }
  - { id: fatal, effect: ask, calls: [exec], tools: ["ungranted"], on_violation: kill }
  - { id: files, effect: ask, calls: [write], paths: ["/mem/working/asked"], on_violation: deny }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/working/**"] }
"#;

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn principal(name: &str) -> Principal {
    name.parse().unwrap()
}

fn approvals() -> Approvals {
    Approvals::new().group(principal("treasury"), ["bob", "cid"].map(principal))
}

fn host() -> Host {
    Host::asking(POLICY, approvals(), None)
}

fn call(tool: &str, text: &str) -> Syscall {
    let arguments = RawArguments::Value(json!({ "text": text }));
    Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None }
}

fn waiting(host: &Host, name: &str) -> AgentHandle {
    host.kernel.spawn(AgentSpec::new(name)).unwrap()
}

fn returning(host: &Host, name: &str) -> AgentHandle {
    host.kernel.spawn(AgentSpec::new(name).on_ask(OnAsk::Return)).unwrap()
}

/// Starts a call and lets it come to where it waits.
async fn start(agent: &AgentHandle, tool: &str, text: &str) -> JoinHandle<Result<Value, CallError>> {
    let (agent, tool, arguments) = (agent.clone(), tool.to_owned(), json!({ "text": text }));
    let task = tokio::spawn(async move { agent.exec(&tool, arguments).await });
    settle().await;
    task
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn held(agent: &AgentHandle, tool: &str, text: &str) -> TicketId {
    match agent.syscall(call(tool, text)).await {
        Err(CallError::Held { ticket, .. }) => ticket,
        other => panic!("{other:?}"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> &'static str {
    result.unwrap_err().code()
}

fn steps(host: &Host) -> Vec<(ApprovalStep, String)> {
    let events = host.kernel.recorder().events(0).map(Result::unwrap);
    events
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Approval { step, by, .. } => Some((step, by.to_owned())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_call_waits_until_a_human_agrees_and_runs_once() {
    let host = host();
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "ten\u{202e}").await;

    let asked = host.kernel.approvals();
    assert_eq!((asked.len(), host.runs()), (1, 0));
    let (ticket, request) = (asked[0].id(), &asked[0]);
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Waiting { ticket }));
    assert_eq!(request.what(), r#"tool `transfer` {"text":"ten\u{202e}"}"#);
    assert_eq!((request.agent().as_str(), request.rules()), ("a", &["money".to_owned()][..]));
    assert_eq!(request.expires().as_micros() - request.asked().as_micros(), 300_000_000);

    let granted = host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    assert_eq!(granted, TicketState::Granted);
    assert_eq!(task.await.unwrap().unwrap(), "ten\u{202e}");
    assert_eq!((host.runs(), host.kernel.approvals().len()), (1, 0));
    assert_eq!(
        host.kinds("a"),
        ["spawn", "approval", "held", "approval", "approval", "intent", "outcome"],
        "asked, held, granted, used, done",
    );
    let events: Vec<_> = host.kernel.recorder().events(0).map(Result::unwrap).collect();
    let intent = events.iter().find_map(|stored| match stored.event().unwrap().body {
        Body::Intent { decision, ticket, .. } => Some((decision.verdict, ticket)),
        _ => None,
    });
    assert_eq!(intent, Some((Verdict::Ask, Some(ticket))));
}

#[tokio::test]
async fn a_no_does_what_the_rule_says_and_stands() {
    for (tool, dead, stopped) in
        [("transfer", false, false), ("soft", false, true), ("ungranted", true, false)]
    {
        let host = host();
        let agent = waiting(&host, "a");
        let task = start(&agent, tool, "x").await;
        let ticket = host.kernel.approvals()[0].id();
        host.kernel.refuse(ticket, &principal("ann"), "not\ntoday").unwrap();
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "AK0202", "{error}");
        let state = host.kernel.agent(&id("a")).unwrap();
        assert_eq!(matches!(state, AgentState::Zombie(_)), dead, "{tool}");
        assert_eq!(matches!(state, AgentState::Stopped { .. }), stopped, "{tool}");
        if !dead && !stopped {
            assert_eq!(code(agent.exec(tool, json!({"text": "x"})).await), "AK0202", "nobody is asked again");
            host.clock.advance(Duration::from_secs(301));
            let again = start(&agent, tool, "x").await;
            assert_eq!(host.kernel.approvals().len(), 1, "but later one may ask");
            again.abort();
        }
        assert_eq!(host.runs(), 0);
    }
}

#[tokio::test]
async fn nobody_in_time_is_a_refusal_that_harms_nobody() {
    let host = host();
    let agent = waiting(&host, "a");
    let task = start(&agent, "ungranted", "x").await;
    let ticket = host.kernel.approvals()[0].id();
    host.clock.advance(Duration::from_secs(300));
    assert_eq!(code(task.await.unwrap()), "AK0203");
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));
    let late = host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap_err();
    assert_eq!(late.code(), "AK0222", "{late}");
    assert_eq!(steps(&host).last().unwrap().0, ApprovalStep::Expired);
    assert_eq!(code(agent.resume(ticket, call("ungranted", "x")).await), "AK0203");
}

#[tokio::test]
async fn only_those_whose_word_counts_are_heard_each_once() {
    let host = host();
    let (agent, _other) = (returning(&host, "a"), returning(&host, "b"));
    let ticket = held(&agent, "stops", "x").await;
    for (by, scope, expected) in [
        ("a", Scope::Once, "AK0223"),
        ("b", Scope::Once, "AK0223"),
        ("treasury", Scope::Once, "AK0224"),
        ("ann", Scope::Once, "AK0224"),
        ("bob", Scope::Session, "AK0226"),
        ("bob", Scope::Once, ""),
        ("bob", Scope::Once, "AK0225"),
    ] {
        let answer = host.kernel.approve(ticket, &principal(by), scope);
        match answer {
            Ok(state) => assert_eq!((state, expected), (TicketState::Pending, ""), "{by}"),
            Err(error) => assert_eq!(error.code(), expected, "{by}: {error}"),
        }
    }
    assert_eq!(host.kernel.refuse(ticket, &principal("b"), "").unwrap_err().code(), "AK0223");
    assert_eq!(host.kernel.refuse(ticket, &principal("ann"), "").unwrap_err().code(), "AK0224");
    let forged = TicketId::from_bytes([7; 16]);
    assert_eq!(host.kernel.approve(forged, &principal("bob"), Scope::Once).unwrap_err().code(), "AK0221");
    assert_eq!(code(agent.resume(ticket, call("stops", "x")).await), "AK0205", "one of two");
    host.kernel.approve(ticket, &principal("cid"), Scope::Once).unwrap();
    assert!(agent.resume(ticket, call("stops", "x")).await.is_ok());
    let by: Vec<String> = steps(&host).into_iter().map(|(_, by)| by).filter(|by| !by.is_empty()).collect();
    assert_eq!((by, host.runs()), (vec!["bob".to_owned(), "cid".to_owned()], 1));
}

#[tokio::test]
async fn of_several_rules_the_shortest_time_and_the_least_scope_stand() {
    let host = host();
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "much").await;
    let request = host.kernel.approval(ticket).unwrap();
    assert_eq!(request.expires().as_micros() - request.asked().as_micros(), 60_000_000);
    assert_eq!((request.terms().scope(), request.terms().quorums().len()), (Scope::Once, 2));
}

#[tokio::test]
async fn another_argument_tool_agent_or_ticket_voids_a_grant() {
    let host = host();
    let (agent, other) = (returning(&host, "a"), returning(&host, "b"));
    let ticket = held(&agent, "transfer", "ten").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    for (by, what) in [
        (&agent, call("transfer", "eleven")),
        (&agent, call("transfer", "ten ")),
        (&agent, call("soft", "ten")),
        (&other, call("transfer", "ten")),
    ] {
        assert_eq!(code(by.resume(ticket, what.clone()).await), "AK0206", "{what:?}");
        assert!(matches!(by.syscall(what).await, Err(CallError::Held { ticket: new, .. }) if new != ticket));
    }
    let unknown = TicketId::from_bytes([1; 16]);
    assert_eq!(code(agent.resume(unknown, call("transfer", "ten")).await), "AK0206");
    assert_eq!(host.runs(), 0);
    // Another deadline changes nothing about what is done.
    let Syscall::Exec { tool, arguments, .. } = call("transfer", "ten") else { panic!() };
    let hurried = Syscall::Exec { tool, arguments, deadline: Some(Duration::from_secs(9)) };
    assert!(agent.resume(ticket, hurried).await.is_ok());
    assert_eq!(code(agent.resume(ticket, call("transfer", "ten")).await), "AK0207");
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn a_call_made_again_takes_the_grant_and_after_that_asks_anew() {
    let host = host();
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    assert_eq!(held(&agent, "transfer", "ten").await, ticket, "one question, not two");
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    assert!(agent.exec("transfer", json!({"text": "ten"})).await.is_ok());
    assert_ne!(held(&agent, "transfer", "ten").await, ticket);
    assert_eq!(host.runs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_take_one_grant_exactly_one_runs() {
    let host = host();
    for round in 0..20u64 {
        // Five that come too late would stop an agent that goes in circles.
        let agent = returning(&host, &format!("a{round}"));
        let ticket = held(&agent, "transfer", &format!("round {round}")).await;
        host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
        let take = |_| {
            let agent = agent.clone();
            tokio::spawn(
                async move { agent.resume(ticket, call("transfer", &format!("round {round}"))).await },
            )
        };
        let tasks: Vec<_> = (0..4).map(take).collect();
        let mut passed = 0;
        for task in tasks {
            passed += u64::from(task.await.unwrap().is_ok());
        }
        assert_eq!((passed, host.runs()), (1, round + 1));
    }
}

#[tokio::test]
async fn a_wider_scope_lets_the_same_call_through_until_it_expires() {
    let host = host();
    let agent = returning(&host, "a");
    let ticket = held(&agent, "soft", "x").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Task).unwrap();
    for _ in 0..3 {
        assert!(agent.exec("soft", json!({"text": "x"})).await.is_ok());
    }
    assert_ne!(held(&agent, "soft", "y").await, ticket, "the same call only");
    host.clock.advance(Duration::from_secs(3600));
    assert_eq!(code(agent.resume(ticket, call("soft", "x")).await), "AK0203");
    assert_eq!(host.runs(), 3);
}

#[tokio::test]
async fn what_is_revoked_is_worth_nothing_granted_or_not() {
    let host = host();
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "ten").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    host.kernel.revoke(ticket, "changed our minds").unwrap();
    assert_eq!(code(agent.resume(ticket, call("transfer", "ten")).await), "AK0204");
    assert_eq!(host.kernel.revoke(ticket, "").unwrap_err().code(), "AK0222");

    let patient = waiting(&host, "b");
    let task = start(&patient, "ungranted", "x").await;
    let waits = host.kernel.approvals()[0].id();
    host.kernel.revoke(waits, "not now").unwrap();
    assert_eq!(code(task.await.unwrap()), "AK0204");
    assert_eq!((host.runs(), host.kernel.agent(&id("b"))), (0, Some(AgentState::Ready)));
}

#[tokio::test]
async fn signals_reach_an_agent_that_waits() {
    let host = host();
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "x").await;
    let ticket = host.kernel.approvals()[0].id();
    host.kernel.signal(&id("a"), Signal::Stop, "pause").unwrap();
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Stopped { was: Was::Running }));
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    settle().await;
    assert_eq!(host.runs(), 0, "granted, and stopped");
    host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert!(task.await.unwrap().is_ok());

    let task = start(&agent, "transfer", "y").await;
    let ticket = host.kernel.approvals()[0].id();
    host.kernel.signal(&id("a"), Signal::Term, "end").unwrap();
    host.clock.advance(Duration::from_secs(10));
    assert!(matches!(task.await.unwrap(), Err(CallError::Dead(ExitStatus::Signaled { .. }))));
    assert_eq!(host.kernel.approval(ticket).unwrap().state(), TicketState::Revoked);
    assert_eq!(host.runs(), 1);
}

#[tokio::test]
async fn what_a_killed_agent_was_promised_is_not_its_successors() {
    let host = host();
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "x").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    let waits = held(&agent, "transfer", "y").await;
    host.kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
    for ticket in [ticket, waits] {
        assert_eq!(host.kernel.approval(ticket).unwrap().state(), TicketState::Revoked);
    }
    let late = host.kernel.approve(waits, &principal("ann"), Scope::Once).unwrap_err();
    assert_eq!(late.code(), "AK0222", "{late}");
    let next = returning(&host, "a");
    assert_eq!(code(next.resume(ticket, call("transfer", "x")).await), "AK0204");
    assert_ne!(held(&next, "transfer", "x").await, ticket);
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn the_wait_counts_against_the_callers_deadline_and_no_other() {
    let host = host();
    let agent = waiting(&host, "a");
    let Syscall::Exec { tool, arguments, .. } = call("transfer", "x") else { panic!() };
    let hurried = Syscall::Exec { tool, arguments, deadline: Some(Duration::from_secs(20)) };
    let task = tokio::spawn({
        let agent = agent.clone();
        async move { agent.syscall(hurried).await }
    });
    settle().await;
    host.clock.advance(Duration::from_secs(20));
    assert!(matches!(task.await.unwrap(), Err(CallError::Timeout)));
    assert_eq!(host.kernel.approvals().len(), 1, "the ticket is left to the next such call");

    // A write may take 30 seconds; it has all of them after a wait of four minutes.
    let task = tokio::spawn({
        let agent = agent.clone();
        async move { agent.write("/mem/working/asked", "text").await }
    });
    settle().await;
    host.clock.advance(Duration::from_secs(240));
    settle().await;
    let asked = host.kernel.approvals().pop().unwrap();
    assert!(
        asked.what().starts_with("writing `/mem/working/asked` (replace, 4 bytes, digest "),
        "{}",
        asked.what()
    );
    assert!(asked.what().ends_with(", all of it: text"), "{}", asked.what());
    host.kernel.approve(asked.id(), &principal("ann"), Scope::Once).unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(agent.read("/mem/working/asked").await.unwrap(), "text");
}

#[tokio::test]
async fn an_agent_cannot_fill_the_desk() {
    let host = host();
    let agent = returning(&host, "a");
    for number in 0..MAX_TICKETS_PER_AGENT {
        let _ticket = held(&agent, "transfer", &number.to_string()).await;
    }
    let error = agent.exec("transfer", json!({"text": "one more"})).await.unwrap_err();
    assert_eq!((error.code(), host.kernel.approvals().len()), ("AK0208", MAX_TICKETS_PER_AGENT));
    let other = returning(&host, "b");
    let _has_room = held(&other, "transfer", "x").await;
}

#[tokio::test]
async fn asking_what_policy_says_takes_no_grant_and_asks_nobody() {
    let host = host();
    let agent = returning(&host, "a");
    let answer = agent.check(call("transfer", "x")).await.unwrap();
    assert_eq!((answer.verdict(), host.kernel.approvals().len()), (Verdict::Ask, 0));
    let ticket = held(&agent, "transfer", "x").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    assert_eq!(agent.check(call("transfer", "x")).await.unwrap().verdict(), Verdict::Ask);
    assert_eq!(host.kernel.approval(ticket).unwrap().state(), TicketState::Granted);
    assert!(agent.resume(ticket, call("transfer", "x")).await.is_ok());
}

#[tokio::test]
async fn a_dropped_call_leaves_its_ticket_and_nothing_else() {
    let host = host();
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "x").await;
    task.abort();
    settle().await;
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));
    let ticket = host.kernel.approvals()[0].id();
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    settle().await;
    assert_eq!(host.runs(), 0);
    assert!(agent.exec("transfer", json!({"text": "x"})).await.is_ok());
}

#[tokio::test]
async fn a_descriptor_that_was_closed_meanwhile_is_not_written_through() {
    let host = host();
    let agent = waiting(&host, "a");
    let flags = OpenFlags { write: true, create: true, ..OpenFlags::default() };
    let open = tokio::spawn({
        let agent = agent.clone();
        async move { agent.open("/mem/working/asked", flags).await }
    });
    settle().await;
    host.kernel.approve(host.kernel.approvals()[0].id(), &principal("ann"), Scope::Once).unwrap();
    let descriptor = open.await.unwrap().unwrap();

    let write = Syscall::Write { to: WriteTo::Descriptor { descriptor, offset: Some(0) }, data: "x".into() };
    let write = tokio::spawn({
        let agent = agent.clone();
        async move { agent.syscall(write).await }
    });
    settle().await;
    agent.close(descriptor).await.unwrap();
    let _other = agent.open("/mem/working/other", flags).await.unwrap();
    host.kernel.approve(host.kernel.approvals()[0].id(), &principal("ann"), Scope::Once).unwrap();
    assert!(matches!(write.await.unwrap(), Err(CallError::Invalid(_))));
    assert_eq!(agent.read("/mem/working/other").await.unwrap(), "");
}

#[tokio::test]
async fn after_the_grant_policy_is_asked_again_with_what_the_agent_has_read_since() {
    let policy = r#"
version: 1
rules:
  - { id: free, effect: allow, calls: [exec], tools: ["echo", "tell"] }
  - { id: money, effect: ask, calls: [exec], tools: ["transfer"] }
  - { id: strict, effect: ask, calls: [exec], tools: ["transfer"], when: { labels: { any_of: ["tool:echo"] } },
      ask: { approvers: [treasury] } }
  - { id: never, effect: deny, calls: [exec], tools: ["transfer"], when: { labels: { any_of: ["tool:tell"] } },
      on_violation: deny }
"#;
    let host = Host::asking(policy, approvals(), None);
    let agent = returning(&host, "a");
    let ticket = held(&agent, "transfer", "x").await;
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    agent.exec("echo", json!({"text": "from outside"})).await.unwrap();
    assert_eq!(
        code(agent.resume(ticket, call("transfer", "x")).await),
        "AK0206",
        "ann is not enough any more"
    );

    let ticket = held(&agent, "transfer", "x").await;
    assert_eq!(host.kernel.approval(ticket).unwrap().labels().to_string(), "tool:echo");
    host.kernel.approve(ticket, &principal("bob"), Scope::Once).unwrap();
    agent.exec("tell", json!({"text": "more"})).await.unwrap();
    assert_eq!(
        code(agent.resume(ticket, call("transfer", "x")).await),
        "AK0101",
        "a deny stands over any grant"
    );
    assert_eq!(host.kernel.approval(ticket).unwrap().state(), TicketState::Granted);
    assert_eq!(host.runs(), 2, "echo and tell");
}

#[tokio::test]
async fn a_call_that_waits_is_judged_again_before_it_runs() {
    let policy = r#"
version: 1
rules:
  - { id: free, effect: allow, calls: [exec], tools: ["echo"] }
  - { id: money, effect: ask, calls: [exec], tools: ["transfer"] }
  - { id: never, effect: deny, calls: [exec], tools: ["transfer"], when: { labels: { any_of: ["tool:echo"] } },
      on_violation: deny }
"#;
    let host = Host::asking(policy, approvals(), None);
    let agent = waiting(&host, "a");
    let task = start(&agent, "transfer", "x").await;
    agent.exec("echo", json!({"text": "read while it waited"})).await.unwrap();
    let ticket = host.kernel.approvals()[0].id();
    host.kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    assert_eq!(code(task.await.unwrap()), "AK0101");
    assert_eq!(host.runs(), 1, "echo");
}
