//! Candidates beside the policy in force, dry runs, and what a recording says of another policy.

use crate::host::{Host, POLICY};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::kernel::{MAX_DIVERGENCES, Widening};
use agent_control_plane::policy::{PolicyEngine, PolicySet, simulate};
use agent_control_plane::primitives::{AgentId, Digest, Verdict};
use agent_control_plane::question::{Caller, Question};
use agent_control_plane::recorder::{Body, Outcome};
use agent_control_plane::{AgentSpec, AgentState, CallError, FlightRecorder, Policy};
use serde_json::json;

/// Denies `tell`, and asks for `echo`.
fn candidate() -> Policy {
    let text = r#"
version: 1
name: candidate
rules:
  - { id: no-tell, effect: deny, calls: [exec], tools: ["tell"] }
  - { id: soft-now, effect: allow, calls: [exec], tools: ["soft"] }
  - { id: echo-asks, effect: ask, calls: [exec], tools: ["echo"], when: { context.role: { eq: clerk } } }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
"#;
    Policy::from_yaml("candidate.yaml", text).unwrap()
}

fn tell() -> Syscall {
    Syscall::Exec {
        tool: "tell".to_owned(),
        arguments: RawArguments::Value(json!({"text": "x"})),
        deadline: None,
    }
}

fn kinds(host: &Host) -> Vec<String> {
    host.kernel
        .recorder()
        .events(0)
        .map(|stored| stored.unwrap().event().unwrap().kind().to_owned())
        .collect()
}

#[tokio::test]
async fn a_candidate_changes_nothing_and_its_divergences_are_counted_and_listed() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a").fact("role", "clerk")).unwrap();
    assert!(host.kernel.shadow_report().is_none());
    host.kernel.shadow(candidate()).unwrap();
    agent.write("/mem/working/x", "x").await.unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    agent.exec("tell", json!({"text": "x"})).await.unwrap();
    agent.exec("tell", json!({"text": "x"})).await.unwrap();
    agent.exec("soft", json!({})).await.unwrap_err();
    assert_eq!(agent.check(tell()).await.unwrap().verdict(), Verdict::Allow);

    let report = host.kernel.shadow_report().unwrap();
    assert_eq!((report.candidate, report.judged, report.failed), (candidate().digest(), 5, 0));
    assert_eq!(
        report.changed,
        [
            (Verdict::Allow, Verdict::Ask, 1),
            (Verdict::Allow, Verdict::Deny, 2),
            (Verdict::Deny, Verdict::Allow, 1)
        ]
    );
    let listed: Vec<(&str, Option<&str>, Option<&str>)> = report
        .divergences
        .iter()
        .map(|one| (one.what.as_str(), one.from_rule.as_deref(), one.to_rule.as_deref()))
        .collect();
    assert_eq!(
        listed,
        [
            ("tool `echo`", Some("tools"), Some("echo-asks")),
            ("tool `tell`", Some("tools"), Some("no-tell")),
            ("tool `tell`", Some("tools"), Some("no-tell")),
            ("tool `soft`", Some("soft"), Some("soft-now")),
        ]
    );
    // The record has the calls as they were, the host's act, and nothing of what the candidate said.
    assert_eq!(host.kinds("a").iter().filter(|kind| *kind == "refused").count(), 1);
    assert_eq!(kinds(&host).iter().filter(|kind| *kind == "host").count(), 1);

    // The call's number leads to its record.
    let refused = host.kernel.recorder().events(0).map(Result::unwrap);
    let refused = refused.filter(|stored| stored.event().unwrap().kind() == "refused");
    let calls: Vec<u64> = refused.map(|stored| stored.event().unwrap().call).collect();
    assert_eq!(calls, [report.divergences[3].call]);
}

#[tokio::test]
async fn a_candidate_is_promoted_or_dropped() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(host.kernel.promote(Widening::Force).unwrap_err().code(), "AK0142");
    host.kernel.shadow(candidate()).unwrap();
    assert_eq!(host.kernel.promote(Widening::Force).unwrap(), 2);
    assert_eq!(host.kernel.policy().digest(), candidate().digest());
    assert!(host.kernel.shadow_report().is_none());
    assert!(agent.exec("soft", json!({})).await.is_ok());

    host.kernel.shadow(candidate()).unwrap();
    assert_eq!(host.kernel.end_shadow().unwrap().unwrap().judged, 0);
    assert!(host.kernel.end_shadow().unwrap().is_none());
    let unknown = "{version: 1, rules: [{id: a, effect: allow, calls: [exec], tools: [ecko]}]}";
    let unknown = host.kernel.shadow(Policy::from_yaml("p", unknown).unwrap()).unwrap_err();
    assert_eq!(unknown.code(), "AK0131");
}

#[tokio::test]
async fn divergences_are_bounded_and_the_latest_are_kept() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    host.kernel.shadow(Policy::deny_all()).unwrap();
    for _ in 0..MAX_DIVERGENCES + 5 {
        agent.read("/policy/active.json").await.unwrap();
    }
    let report = host.kernel.shadow_report().unwrap();
    assert_eq!(report.changed, [(Verdict::Allow, Verdict::Deny, MAX_DIVERGENCES as u64 + 5)]);
    assert_eq!(report.divergences.len(), MAX_DIVERGENCES);
    assert!(report.divergences.windows(2).all(|pair| pair[0].call < pair[1].call));
}

#[derive(Debug)]
struct Panics;

impl PolicyEngine for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn digest(&self) -> Digest {
        Digest::ZERO
    }

    fn text(&self) -> &str {
        ""
    }

    fn judge(&self, _: &Caller<'_>, _: &Question<'_>) -> agent_control_plane::policy::Opinion {
        panic!("as told")
    }
}

#[tokio::test]
async fn a_candidate_that_fails_fails_alone() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let set = PolicySet::builder(Policy::from_yaml("p", POLICY).unwrap()).engine(std::sync::Arc::new(Panics));
    host.kernel.shadow(set.build().unwrap()).unwrap();
    assert_eq!(agent.exec("echo", json!({"text": "x"})).await.unwrap(), "x");
    let report = host.kernel.shadow_report().unwrap();
    assert_eq!(report.divergences[0].to_rule.as_deref(), Some("panics.error"));
}

#[tokio::test]
async fn a_dry_run_judges_and_records_and_does_nothing() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a").dry_run(true)).unwrap();
    for result in [
        agent.exec("echo", json!({"text": "x"})).await.map(drop),
        agent.write("/mem/working/x", "x").await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, CallError::Simulated) && error.code() == "AK0921", "{error}");
    }
    assert_eq!(host.runs(), 0);
    assert!(agent.read("/mem/working/x").await.is_err(), "nothing was written");
    assert!(agent.read("/policy/active.json").await.is_ok(), "what only reads is done");

    let outcomes = host.kernel.recorder().events(0).map(Result::unwrap).filter(|stored| {
        matches!(stored.event().unwrap().body, Body::Outcome { outcome: Outcome::Simulated, .. })
    });
    assert_eq!(outcomes.count(), 2);
    // A refusal is one, with its consequence.
    assert!(matches!(agent.exec("ungranted", json!({})).await, Err(CallError::Denied(_))));
    let id: AgentId = "a".parse().unwrap();
    assert!(matches!(host.kernel.agent(&id), Some(AgentState::Zombie(_))));
}

#[tokio::test]
async fn a_recording_is_judged_again_from_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let clerk = host.kernel.spawn(AgentSpec::new("a").fact("role", "clerk")).unwrap();
    let other = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    clerk.write("/mem/working/x", "x").await.unwrap();
    clerk.exec("echo", json!({"text": "x"})).await.unwrap();
    other.exec("tell", json!({"text": "x"})).await.unwrap();
    clerk.exec("soft", json!({})).await.unwrap_err();
    clerk.check(tell()).await.unwrap();
    clerk.exec("ungranted", json!({})).await.unwrap_err();
    let runs = host.runs();

    let again = |set: &PolicySet| simulate::run(host.kernel.recorder().events(0), set).unwrap();
    let same = again(&host.kernel.policy());
    assert_eq!((same.judged, same.questions, same.flips), (6, 1, vec![]));

    let simulation = again(&candidate().into());
    let rule = |rule: &Option<String>| rule.clone().unwrap_or_default();
    let line = |flip: &simulate::Flip| {
        format!("{} {} {} {} {}", flip.what, flip.from, rule(&flip.from_rule), flip.to, rule(&flip.to_rule))
    };
    let flips: Vec<String> = simulation.flips.iter().map(line).collect();
    assert_eq!(
        flips,
        [
            "echo allow tools ask echo-asks",
            "tell allow tools deny no-tell",
            "soft deny soft allow soft-now",
            "tell allow tools deny no-tell",
        ]
    );
    for flip in &simulation.flips {
        let stored = host.kernel.recorder().events(flip.seq).next().unwrap().unwrap();
        assert!(["intent", "refused", "question"].contains(&stored.event().unwrap().kind()));
    }
    assert_eq!(host.runs(), runs, "nothing was run");
}
