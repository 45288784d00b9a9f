//! Policies that change under a living kernel.

use crate::host::{self, Host};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::kernel::{MAX_HISTORY, ReloadError, SpawnError, Widening};
use agent_control_plane::policy::PolicySet;
use agent_control_plane::primitives::Verdict;
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder, Policy};
use serde_json::{Value, json};

/// A policy that allows these tools and looking, and denies the rest softly.
fn allows(tools: &str) -> Policy {
    let text = format!(
        "{{version: 1, name: reloaded, on_violation: deny, rules: [\
           {{id: tools, effect: allow, calls: [exec], tools: [{tools}]}}, \
           {{id: look, effect: allow, calls: [read], paths: ['/policy/**']}}]}}"
    );
    Policy::from_yaml("reloaded.yaml", &text).unwrap()
}

fn host(tools: &str) -> Host {
    let text = allows(tools).to_json().to_string();
    Host::with(&text, FlightRecorder::memory().unwrap())
}

async fn may(agent: &AgentHandle, tool: &str) -> bool {
    match agent.exec(tool, json!({"text": "x"})).await {
        Ok(_) => true,
        Err(CallError::Denied(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

async fn shown(agent: &AgentHandle, file: &str) -> Value {
    serde_json::from_slice(&agent.read(file).await.unwrap()).unwrap()
}

#[tokio::test]
async fn narrowing_applies_at_the_next_call_and_widening_at_the_next_spawn() {
    let host = host("echo, tell");
    let old = host.kernel.spawn(AgentSpec::new("old")).unwrap();
    assert!(may(&old, "echo").await);
    assert_eq!(host.kernel.generation(), 1);

    assert_eq!(host.kernel.reload(allows("tell, soft"), Widening::AtNextSpawn).unwrap(), 2);
    assert!(!may(&old, "echo").await, "what is withdrawn is gone");
    assert!(may(&old, "tell").await, "what both allow stays");
    assert!(!may(&old, "soft").await, "what is new has to wait");
    let new = host.kernel.spawn(AgentSpec::new("new")).unwrap();
    assert!(may(&new, "soft").await && may(&new, "tell").await && !may(&new, "echo").await);

    assert_eq!(host.kernel.reload(allows("soft"), Widening::Force).unwrap(), 3);
    assert!(may(&old, "soft").await && !may(&old, "tell").await);

    // What was forced is what the agent counts as spawned under, for later ones too.
    assert_eq!(host.kernel.reload(allows("soft, echo"), Widening::AtNextSpawn).unwrap(), 4);
    assert!(may(&old, "soft").await && !may(&old, "echo").await);
    assert_eq!(host.kernel.generation(), 4);
}

#[tokio::test]
async fn a_decision_and_the_record_name_the_generation() {
    let host = host("echo");
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let one = host.kernel.policy().digest();
    assert!(may(&agent, "echo").await);
    let next = allows("'*'");
    host.kernel.reload(next.clone(), Widening::AtNextSpawn).unwrap();
    assert!(may(&agent, "echo").await);
    host.kernel.reload(next.clone(), Widening::Force).unwrap();
    assert!(may(&agent, "echo").await);

    let mut decided = Vec::new();
    let mut reloads = Vec::new();
    for stored in host.kernel.recorder().events(0).map(Result::unwrap) {
        match stored.event().unwrap().body {
            Body::Intent { decision, .. } => decided.push((decision.generation, decision.policy)),
            Body::Reload { generation, policy, document, forced } => {
                assert_eq!(serde_json::from_slice::<Value>(document).unwrap(), next.to_json());
                reloads.push((generation, policy, forced));
            }
            Body::Spawn { under, task, .. } => assert_eq!((under, task), (1, &b""[..])),
            _ => {}
        }
    }
    assert_eq!(reloads, [(2, next.digest(), false), (3, next.digest(), true)]);
    assert_eq!((decided[0], decided[2]), ((1, one), (3, next.digest())));
    // Judged by two sets, and the digest says that it was neither alone.
    assert_eq!(decided[1].0, 2);
    assert!(decided[1].1 != one && decided[1].1 != next.digest());
}

#[tokio::test]
async fn what_cannot_be_loaded_leaves_the_old_policy_in_force_and_is_recorded() {
    let host = host("echo");
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, "version: 1\nrulez: []\n").unwrap();
    let unparsed = host.kernel.reload_from(&file, Widening::Force).unwrap_err();
    assert!(unparsed.to_string().contains("policy.yaml:2:1: unknown field"), "{unparsed}");

    let unknown = host.kernel.reload(allows("ecko"), Widening::Force).unwrap_err();
    assert_eq!(unknown.code(), "AK0131");
    let abstains = Policy::from_yaml("p", "{version: 1, unmatched: abstain, rules: []}").unwrap();
    let abstains = host.kernel.reload(abstains, Widening::Force).unwrap_err();
    assert!(matches!(abstains, ReloadError::Policy(_)) && abstains.code() == "AK0136");

    assert_eq!(host.kernel.generation(), 1);
    assert!(may(&agent, "echo").await);
    let refused = host.kernel.recorder().events(0).map(Result::unwrap).filter(|stored| {
        matches!(stored.event().unwrap().body, Body::Host { action } if action.starts_with("refused a policy"))
    });
    assert_eq!(refused.count(), 3);

    std::fs::write(&file, allows("tell").to_json().to_string()).unwrap();
    assert_eq!(host.kernel.reload_from(&file, Widening::AtNextSpawn).unwrap(), 2);
    assert!(!may(&agent, "echo").await);
}

#[tokio::test]
async fn the_policy_of_a_task_tightens_and_is_on_record() {
    let host = host("echo, tell");
    let task = Policy::from_yaml(
        "task",
        "{version: 1, name: task, unmatched: abstain, on_violation: deny, \
          rules: [{id: not-now, effect: deny, calls: [exec], tools: [tell]}]}",
    );
    let task = task.unwrap();
    let agent = host.kernel.spawn(AgentSpec::new("a").task_policy(task.clone())).unwrap();
    assert!(may(&agent, "echo").await);
    let refused = agent.exec("tell", json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("`not-now`"), "{refused}");
    let event = host.kernel.recorder().events(1).next().unwrap().unwrap();
    let Body::Spawn { task: recorded, .. } = event.event().unwrap().body else { panic!("{event:?}") };
    assert_eq!(serde_json::from_slice::<Value>(recorded).unwrap(), task.to_json());

    let other = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    assert!(may(&other, "tell").await);
    let unknown = host.kernel.spawn(AgentSpec::new("c").task_policy(allows("nothing-like-it"))).unwrap_err();
    assert!(matches!(unknown, SpawnError::Policy(_)), "{unknown}");
}

#[tokio::test]
async fn an_agent_sees_what_is_in_force_for_it_and_nothing_else() {
    let host = host("echo");
    let look = Policy::from_yaml("acme", "{version: 1, name: acme, unmatched: abstain, rules: []}").unwrap();
    let secret = Policy::from_yaml("lab", "{version: 1, name: lab, unmatched: abstain, rules: []}").unwrap();
    let of_acme = || AgentSpec::new("a").tenant("acme".parse().unwrap());
    let agent = host.kernel.spawn(of_acme()).unwrap();
    assert_eq!(shown(&agent, "/policy/active.json").await["name"], "reloaded");

    let set =
        PolicySet::builder(allows("echo")).tenants("acme", look).tenants("lab", secret).build().unwrap();
    host.kernel.reload(set, Widening::AtNextSpawn).unwrap();
    let active = shown(&agent, "/policy/active.json").await;
    let layers: Vec<(&str, &str)> = active["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["layer"].as_str().unwrap(), layer["policy"]["name"].as_str().unwrap()))
        .collect();
    assert_eq!(layers, [("organisation", "reloaded"), ("tenants", "acme"), ("organisation", "reloaded")]);
    assert_eq!(active["layers"][2]["since"], "spawn");

    for _ in 0..2 * MAX_HISTORY {
        host.kernel.reload(allows("echo"), Widening::AtNextSpawn).unwrap();
    }
    let history = shown(&agent, "/policy/history.json").await;
    let history = history.as_array().unwrap();
    assert_eq!(history.len(), MAX_HISTORY);
    assert_eq!(history.last().unwrap()["generation"], host.kernel.generation());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_call_is_judged_whole_by_one_generation_while_others_reload() {
    let host = host("echo");
    let (even, odd) = (allows("echo"), allows("echo, tell"));
    let agents: Vec<AgentHandle> =
        (0..3).map(|n| host.kernel.spawn(AgentSpec::new(format!("a{n}"))).unwrap()).collect();
    let calls = agents.into_iter().map(|agent| {
        tokio::spawn(async move {
            for _ in 0..200 {
                assert!(may(&agent, "echo").await);
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    for round in 0..100 {
        let next = if round % 2 == 0 { even.clone() } else { odd.clone() };
        host.kernel.reload(next, Widening::Force).unwrap();
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    // Whatever generation a decision names is one whose set has that digest.
    let mut digests = vec![host::digest_of_boot(&host)];
    for stored in host.kernel.recorder().events(0).map(Result::unwrap) {
        match stored.event().unwrap().body {
            Body::Reload { policy, .. } => digests.push(policy),
            Body::Intent { decision, .. } => {
                let generation = usize::try_from(decision.generation).unwrap();
                assert_eq!(decision.policy, digests[generation - 1]);
            }
            _ => {}
        }
    }
    assert_eq!(digests.len(), 101);
}

const TOOLS: [&str; 3] = ["echo", "tell", "soft"];

/// A policy that allows the tools whose bits are set.
fn of_bits(bits: u8) -> Policy {
    let allowed: Vec<&str> =
        TOOLS.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, tool)| *tool).collect();
    if allowed.is_empty() { Policy::deny_all() } else { allows(&allowed.join(", ")) }
}

async fn bits_of(agent: &AgentHandle) -> u8 {
    let mut bits = 0;
    for (bit, tool) in TOOLS.iter().enumerate() {
        let arguments = RawArguments::Value(json!({"text": "x"}));
        let call = Syscall::Exec { tool: (*tool).to_owned(), arguments, deadline: None };
        if agent.check(call).await.unwrap().verdict() == Verdict::Allow {
            bits |= 1 << bit;
        }
    }
    bits
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Whatever follows whatever, an agent may do what is in force now and what it was spawned under, or what was forced
    /// since, both allow: never more than either.
    #[test]
    fn an_agent_has_what_it_was_given_and_what_is_left(
        first in 0u8..8,
        reloads in proptest::collection::vec((0u8..8, proptest::prelude::any::<bool>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let host = Host::with(&of_bits(first).to_json().to_string(), FlightRecorder::memory().unwrap());
            let spawn = |number: usize| host.kernel.spawn(AgentSpec::new(format!("a{number}"))).unwrap();
            let mut agents = vec![(spawn(0), first)];
            for (number, (bits, force)) in reloads.into_iter().enumerate() {
                let widening = if force { Widening::Force } else { Widening::AtNextSpawn };
                host.kernel.reload(of_bits(bits), widening).unwrap();
                for (agent, given) in &mut agents {
                    if force {
                        *given = bits;
                    }
                    assert_eq!(bits_of(agent).await, *given & bits);
                }
                agents.push((spawn(number + 1), bits));
            }
        });
    }
}
