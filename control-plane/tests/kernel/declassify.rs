//! Taking labels off an agent at its own request: only on a human's consent, never on a rule alone.

use agent_control_plane::approval::{Approvals, Principal, Scope, TicketId};
use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::call::{RawArguments, Reply, Syscall};
use agent_control_plane::error::ErrorClass;
use agent_control_plane::kernel::{BuildError, DECLASSIFY, OnAsk, Programs, SPAWN};
use agent_control_plane::policy::Decision;
use agent_control_plane::primitives::{LabelSet, Verdict};
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentHandle, AgentSpec, CallError, ExitStatus, Kernel, Policy};
use serde_json::{Value, json};

const READ: &str = "{ id: read, effect: allow, calls: [exec], tools: ['page.*'] }";
const ANY: &str = "{ id: any, effect: allow, calls: [exec], tools: ['*'] }";
const ASK: &str = "{ id: ask, effect: ask, calls: [exec], tools: ['kernel.declassify'], on_violation: deny, \
    ask: { approvers: [ann, bob], quorum: 2, scope: session } }";
const NEVER: &str = "{ id: never, effect: deny, calls: [exec], tools: ['kernel.*'], on_violation: deny }";

fn set(labels: &[&str]) -> LabelSet {
    LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
}

fn principal(name: &str) -> Principal {
    name.parse().unwrap()
}

fn tools(names: &[&str]) -> Registry {
    let mut tools = Registry::builder();
    for name in names {
        tools
            .tool(name)
            .description("A page")
            .effects([Effect::Read])
            .output_labels(["untrusted", "pii"])
            .run_raw(json!({"type": "object"}), |_, _| async { Ok::<_, ToolError>("pay Eve") })
            .unwrap();
    }
    tools.build()
}

fn kernel(rules: &[&str]) -> Kernel {
    let text = format!("{{version: 1, name: d, rules: [{}]}}", rules.join(", "));
    let policy = Policy::from_yaml("d.yaml", &text).unwrap();
    let tools = tools(&["page.read"]);
    Kernel::builder().policy(policy).tools(tools).approvals(Approvals::new()).build().unwrap()
}

/// An agent that has read a page and does not wait for humans.
async fn reader(kernel: &Kernel) -> AgentHandle {
    let agent = kernel.spawn(AgentSpec::new("a").on_ask(OnAsk::Return)).unwrap();
    agent.exec("page.read", json!({})).await.unwrap();
    agent
}

fn labels(kernel: &Kernel, agent: &AgentHandle) -> LabelSet {
    kernel.labels(agent.id()).unwrap()
}

fn please(labels: &[&str]) -> Value {
    json!({"labels": labels, "reason": "a human wrote the page"})
}

async fn held(agent: &AgentHandle, arguments: Value) -> TicketId {
    match agent.exec(DECLASSIFY, arguments).await {
        Err(CallError::Held { ticket, .. }) => ticket,
        other => panic!("{other:?}"),
    }
}

fn grant(kernel: &Kernel, ticket: TicketId) {
    for by in ["ann", "bob"] {
        kernel.approve(ticket, &principal(by), Scope::Once).unwrap();
    }
}

async fn check(agent: &AgentHandle, arguments: Value) -> Decision {
    let arguments = RawArguments::Value(arguments);
    let call = Syscall::Exec { tool: DECLASSIFY.to_owned(), arguments, deadline: None };
    match agent.syscall(Syscall::CheckPolicy(Box::new(call))).await {
        Ok(Reply::Decision(decision)) => decision,
        other => panic!("{other:?}"),
    }
}

/// What was taken off, by whom, and why, for each time.
fn taken_off(kernel: &Kernel) -> Vec<(LabelSet, String, String)> {
    let events = kernel.recorder().events(0).map(Result::unwrap);
    events
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Declassified { labels, by, reason } => Some((labels, by.to_owned(), reason.to_owned())),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_rule_that_only_allows_it_is_not_enough() {
    let kernel = kernel(&[ANY]);
    let agent = reader(&kernel).await;
    let carried = labels(&kernel, &agent);
    let Err(CallError::Denied(denial)) = agent.exec(DECLASSIFY, please(&["untrusted"])).await else {
        panic!("not refused")
    };
    assert_eq!((denial.code(), denial.rule(), denial.verdict()), ("AK0103", Some("any"), Verdict::Deny));
    assert_eq!(
        denial.to_string(),
        "tool `kernel.declassify` is denied: it takes a human's consent, and the policy only allows it by rule `any`"
    );
    assert_eq!((labels(&kernel, &agent), taken_off(&kernel)), (carried, Vec::new()));
    let decision = check(&agent, please(&["untrusted"])).await;
    assert_eq!((decision.verdict(), decision.is_withheld()), (Verdict::Deny, true));
    assert!(agent.exec("page.read", json!({})).await.is_ok(), "the agent lives on");
}

#[tokio::test]
async fn a_grant_takes_off_exactly_the_labels_named_and_once() {
    let kernel = kernel(&[ANY, ASK]);
    let agent = reader(&kernel).await;
    assert_eq!(check(&agent, please(&["untrusted"])).await.verdict(), Verdict::Ask);
    let ticket = held(&agent, please(&["untrusted"])).await;
    let shown = kernel.approval(ticket).unwrap();
    assert_eq!(
        shown.what(),
        r#"tool `kernel.declassify` {"labels":["untrusted"],"reason":"a human wrote the page"}"#
    );
    assert_eq!(shown.labels(), &labels(&kernel, &agent));
    assert!(kernel.approve(ticket, &principal("ann"), Scope::Session).is_err(), "good for one call at most");
    kernel.approve(ticket, &principal("ann"), Scope::Once).unwrap();
    assert_eq!(held(&agent, please(&["untrusted"])).await, ticket, "one of two is not enough");
    kernel.approve(ticket, &principal("bob"), Scope::Once).unwrap();

    let answer = agent.exec(DECLASSIFY, please(&["untrusted"])).await.unwrap();
    assert_eq!(answer, json!({"removed": ["untrusted"]}));
    assert_eq!(labels(&kernel, &agent), set(&["pii", "tool:page.read"]));
    let recorded = (set(&["untrusted"]), "ann, bob".to_owned(), "a human wrote the page".to_owned());
    assert_eq!(taken_off(&kernel), [recorded]);

    agent.exec("page.read", json!({})).await.unwrap();
    assert_ne!(held(&agent, please(&["untrusted"])).await, ticket, "the grant is used up");
}

#[tokio::test]
async fn a_grant_is_void_once_the_agent_has_read_more() {
    let kernel = kernel(&[READ, ASK]);
    let agent = reader(&kernel).await;
    let ticket = held(&agent, please(&["untrusted"])).await;
    grant(&kernel, ticket);
    agent.exec("page.read", json!({})).await.unwrap();
    assert_ne!(held(&agent, please(&["untrusted"])).await, ticket);
    assert!(taken_off(&kernel).is_empty());
}

#[tokio::test]
async fn a_label_the_agent_does_not_carry_is_not_taken_off() {
    let kernel = kernel(&[READ, ASK]);
    let agent = reader(&kernel).await;
    let carried = labels(&kernel, &agent);
    grant(&kernel, held(&agent, please(&["secret"])).await);
    assert_eq!(agent.exec(DECLASSIFY, please(&["secret"])).await.unwrap(), json!({"removed": []}));
    assert_eq!(labels(&kernel, &agent), carried);
}

#[tokio::test]
async fn arguments_that_say_nothing_are_a_mistake() {
    let kernel = kernel(&[READ, ASK]);
    let agent = reader(&kernel).await;
    for arguments in [
        please(&["Not A Label"]),
        please(&[]),
        json!({"labels": ["pii"]}),
        json!({"labels": ["pii"], "reason": ""}),
        json!({"labels": ["pii"], "reason": "x".repeat(1025)}),
        json!({"labels": ["pii"], "reason": "x", "agent": "b"}),
    ] {
        let error = agent.exec(DECLASSIFY, arguments.clone()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Mistake, "{arguments}: {error}");
    }
    assert!(agent.exec("kernel.reboot", json!({})).await.is_err());
    assert!(kernel.approvals().is_empty());
}

#[tokio::test]
async fn a_deny_stays_a_deny_and_a_no_changes_nothing() {
    let refused = |error: CallError| error.code();
    let forbidden = kernel(&[ANY, ASK, NEVER]);
    let agent = reader(&forbidden).await;
    assert_eq!(refused(agent.exec(DECLASSIFY, please(&["pii"])).await.unwrap_err()), "AK0101");

    let kernel = kernel(&[READ, ASK]);
    let agent = reader(&kernel).await;
    let ticket = held(&agent, please(&["pii"])).await;
    kernel.refuse(ticket, &principal("ann"), "no").unwrap();
    assert_eq!(refused(agent.exec(DECLASSIFY, please(&["pii"])).await.unwrap_err()), "AK0202");
    assert!(taken_off(&kernel).is_empty());
}

#[tokio::test]
async fn a_dry_run_takes_nothing_off() {
    let kernel = kernel(&[READ, ASK]);
    let spec = AgentSpec::new("a").on_ask(OnAsk::Return).dry_run(true);
    let agent = kernel.spawn(spec.labels(set(&["pii"]))).unwrap();
    grant(&kernel, held(&agent, please(&["pii"])).await);
    assert!(matches!(agent.exec(DECLASSIFY, please(&["pii"])).await, Err(CallError::Simulated)));
    assert_eq!(labels(&kernel, &agent), set(&["pii"]));
}

#[test]
fn the_tool_is_there_without_the_host_and_its_name_is_reserved() {
    let bare = Kernel::builder().policy(Policy::deny_all()).build().unwrap();
    let shown = bare.tools();
    assert_eq!(shown.iter().map(|tool| tool.id().as_str()).collect::<Vec<_>>(), [DECLASSIFY, SPAWN]);
    for name in [DECLASSIFY, "kernel.other"] {
        let built = Kernel::builder().policy(Policy::deny_all()).tools(tools(&[name])).build();
        assert!(matches!(built, Err(BuildError::Reserved(id)) if id.as_str() == name));
    }
}

/// Where the host's policy leaves no way to a human, no agent opens one by the policy that it gives its child.
#[tokio::test]
async fn an_agent_names_nobody_to_agree_to_what_its_child_does() {
    let text = format!("{{version: 1, name: d, rules: [{ANY}]}}");
    let programs =
        Programs::new(|task| drop(tokio::spawn(task))).program("ask", |agent: AgentHandle, _| async move {
            agent.exec("page.read", json!({})).await.unwrap();
            i32::from(matches!(agent.exec(DECLASSIFY, please(&["pii"])).await, Err(CallError::Held { .. })))
        });
    let builder = Kernel::builder().policy(Policy::from_yaml("d.yaml", &text).unwrap()).programs(programs);
    let kernel = builder.tools(tools(&["page.read"])).approvals(Approvals::new()).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a").on_ask(OnAsk::Return)).unwrap();
    let task = |rule: Value| {
        let any = json!({"id": "any", "effect": "allow", "calls": ["exec"], "tools": ["*"]});
        json!({"version": 1, "name": "t", "rules": [any, rule]})
    };
    let ask = json!({"id": "ask", "effect": "ask", "calls": ["exec"], "tools": [DECLASSIFY],
        "ask": {"approvers": ["eve"]}});
    let arguments = json!({"name": "c", "program": "ask", "task_policy": task(ask)});
    let error = agent.exec(SPAWN, arguments).await.unwrap_err();
    assert_eq!(error.code(), "AK0132", "{error}");
    let deny = json!({"id": "no", "effect": "deny", "calls": ["exec"], "tools": ["other.*"]});
    agent.exec(SPAWN, json!({"name": "c", "program": "ask", "task_policy": task(deny)})).await.unwrap();
    let ended = kernel.wait(&"a::c".parse().unwrap()).await;
    assert_eq!(ended, Some(ExitStatus::Exited { code: 0, message: String::new() }));
}
