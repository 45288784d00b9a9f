//! Decisions on children, which depend on what is above them, made again.

use agent_control_plane::budget::Budget;
use agent_control_plane::policy::simulate::{self, Cause};
use agent_control_plane::primitives::{Resource, Verdict};
use agent_control_plane::recorder::{Replay, replay_recorded};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Policy};
use serde_json::json;

use crate::host::{Host, POLICY};

const FRUGAL: &str = r#"
version: 1
name: frugal
on_violation: deny
rules:
  - { id: plenty, effect: allow, calls: [exec], tools: ["echo"], when: { budget: { resource: calls, remaining: { gt: 1 } } } }
"#;

fn host(policy: &str) -> Host {
    Host::with(policy, FlightRecorder::memory().unwrap())
}

fn of(host: &Host) -> Replay {
    replay_recorded(host.kernel.recorder().events(0)).unwrap()
}

fn calls(limit: u64) -> Budget {
    Budget::new().limit(Resource::Calls, limit)
}

fn child(host: &Host, parent: &AgentHandle, name: &str) -> AgentHandle {
    host.kernel.spawn(AgentSpec::new(name).parent(parent.id().clone()).budget(calls(100))).unwrap()
}

async fn echo(agent: &AgentHandle) -> bool {
    agent.exec("echo", json!({"text": "x"})).await.is_ok()
}

#[tokio::test]
async fn a_decision_that_went_by_a_budget_of_the_parent_is_not_guessed_from_that_of_the_child() {
    let host = host(FRUGAL);
    let parent = host.kernel.spawn(AgentSpec::new("p").budget(calls(3))).unwrap();
    let kid = child(&host, &parent, "kid");
    assert!(echo(&kid).await && echo(&parent).await);
    assert!(!echo(&kid).await, "its parent has one left");
    let replay = of(&host);
    assert!(replay.changed.is_empty(), "{:#?}", replay.changed);
    assert_eq!((replay.identical, replay.not_judged_by[&Cause::Unrecorded]), (1, 2));
}

#[tokio::test]
async fn a_candidate_that_goes_by_what_nobody_looked_up_judges_nothing() {
    let host = host(POLICY);
    let agent = host.kernel.spawn(AgentSpec::new("a").budget(calls(10))).unwrap();
    assert!(echo(&agent).await);
    let by_mode =
        FRUGAL.replace("budget: { resource: calls, remaining: { gt: 1 } }", "mode: { in: [normal] }");
    for candidate in [FRUGAL, &by_mode] {
        let candidate = Policy::from_yaml("p.yaml", candidate).unwrap().into();
        let simulation = simulate::run(host.kernel.recorder().events(0), &candidate).unwrap();
        assert_eq!((simulation.judged, simulation.flips.len()), (0, 0));
        assert_eq!(simulation.not_judged[0].cause, Cause::Unrecorded);
    }
    // What was looked up is there to be judged by.
    host.kernel
        .reload(Policy::from_yaml("p.yaml", FRUGAL).unwrap(), agent_control_plane::kernel::Widening::Force)
        .unwrap();
    assert!(echo(&agent).await);
    let stricter = FRUGAL.replace("gt: 1", "gt: 9");
    let stricter = Policy::from_yaml("p.yaml", &stricter).unwrap().into();
    let simulation = simulate::run(host.kernel.recorder().events(0), &stricter).unwrap();
    assert_eq!((simulation.judged, simulation.flips[0].to), (1, Verdict::Deny));
}

#[tokio::test]
async fn a_child_learns_from_its_trail_no_number_that_others_count_up() {
    let host = host(POLICY);
    let parent = host.kernel.spawn(AgentSpec::new("p")).unwrap();
    let kid = child(&host, &parent, "kid");
    let trail = kid.read("/audit/events.jsonl").await.unwrap();
    let trail = String::from_utf8(trail.to_vec()).unwrap();
    assert!(trail.contains(r#""kind":"child""#), "{trail}");
    assert!(!trail.contains("parent_generation"), "{trail}");
}

/// Each may call a few times, its parent's calls and its own together.
const COUNTED: &str = r#"
version: 1
name: counted
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["echo", "tell"] }
  - { id: enough, effect: deny, calls: [exec], tools: ["echo"], when: { count: { tools: [echo], within: 1h, gte: 40 } } }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_family_did_at_once_is_made_again_to_the_byte() {
    let host = host(COUNTED);
    let parent = host.kernel.spawn(AgentSpec::new("p")).unwrap();
    let kids: Vec<AgentHandle> = ["a", "b", "c"].map(|name| child(&host, &parent, name)).into();
    let deep = child(&host, &kids[0], "deep");
    let running: Vec<_> = std::iter::once(parent)
        .chain(kids)
        .chain([deep])
        .map(|agent| {
            tokio::spawn(async move {
                // The first refusal is the last: more of the same would be a loop, which stops an agent.
                while echo(&agent).await {}
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    let replay = of(&host);
    assert!(replay.is_exact(), "{replay:#?}");
    assert!(replay.decisions > 40);
}
