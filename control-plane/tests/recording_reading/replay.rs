//! Every decision of a recording made again.

use agent_control_plane::approval::{Approvals, Principal, Scope};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::kernel::{Deed, JudgeContext, OnAsk, Widening};
use agent_control_plane::policy::PolicySet;
use agent_control_plane::policy::simulate::{self, Cause};
use agent_control_plane::primitives::{Clock as _, LabelSet, Signal, SignalSet, TenantId, Verdict};
use agent_control_plane::question::CallKind;
use agent_control_plane::recorder::replay::Taken;
use agent_control_plane::recorder::{LEDGER_NAME, Recording, Replay, replay, replay_recorded};
use agent_control_plane::vfs::OpenFlags;
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder, Policy};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};
use proptest::prelude::*;
use serde_json::json;

use crate::host::{Host, POLICY};

/// Looks at everything a decision can depend on.
const CURIOUS: &str = r#"
version: 1
name: curious
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["echo", "tell", "fails"] }
  - { id: twice, effect: deny, calls: [exec], tools: ["echo"], when: { count: { tools: [echo], within: 1h, gte: 2 } } }
  - { id: read-first, effect: deny, calls: [exec], tools: ["tell"], when: { unless_after: { paths: ["/mem/**"] } } }
  - { id: tainted, effect: deny, calls: [exec], tools: ["fails"], when: { labels.args: { any_of: [untrusted] } } }
  - { id: calm, effect: deny, calls: [exec], tools: ["echo"], when: { mode: { in: [maintenance] } } }
  - { id: consent, effect: ask, calls: [exec], tools: ["transfer", "kernel.declassify"] }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
  - { id: tell-b, effect: allow, calls: [signal], targets: ["b"], signals: [SIGCONT] }
"#;

/// Allows more, and asks nobody.
const WIDE: &str = r#"
version: 1
name: wide
on_violation: deny
rules:
  - id: some
    effect: allow
    calls: [exec]
    tools: ["*"]
    limits: { rate: 3/hour, per: agent }
  - { id: files, effect: allow, calls: [read, write, open], paths: ["/**"] }
"#;

/// Says nothing about most calls.
const TASK: &str = r#"
version: 1
name: task
on_violation: deny
unmatched: abstain
rules:
  - { id: no-tell, effect: deny, calls: [exec], tools: ["tell"] }
"#;

fn policy(text: &str) -> Policy {
    Policy::from_yaml("p.yaml", text).unwrap()
}

fn of(host: &Host) -> Replay {
    replay_recorded(host.kernel.recorder().events(0)).unwrap()
}

#[track_caller]
fn exact(replay: &Replay) {
    assert!(replay.is_exact(), "{replay:#?}");
    assert_eq!(replay.identical, replay.decisions);
    assert_ne!(replay.decisions, 0);
}

/// One step of a random run.
#[derive(Clone, Copy, Debug)]
enum Step {
    Exec(u8, u8),
    Check(u8),
    Write(u8),
    Read(u8),
    Open(u8),
    Signal(u8),
    OwnBusiness,
    Reload(u8, bool),
    Spawn(u8),
    Wait(u32),
    Mode(bool),
    Taint,
    Judge(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..8, 0u8..3).prop_map(|(tool, text)| Step::Exec(tool, text)),
        2 => (0u8..8).prop_map(Step::Check),
        2 => (0u8..4).prop_map(Step::Write),
        2 => (0u8..4).prop_map(Step::Read),
        1 => (0u8..4).prop_map(Step::Open),
        1 => (0u8..3).prop_map(Step::Signal),
        1 => Just(Step::OwnBusiness),
        1 => (0u8..4, any::<bool>()).prop_map(|(set, force)| Step::Reload(set, force)),
        1 => (0u8..4).prop_map(Step::Spawn),
        1 => (1u32..5000).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Mode),
        1 => Just(Step::Taint),
        2 => (0u8..8, 0u8..3).prop_map(|(tool, past)| Step::Judge(tool, past)),
    ]
}

const TOOLS: [&str; 8] =
    ["echo", "tell", "fails", "transfer", "soft", "ungranted", "nonesuch", "kernel.declassify"];
const PATHS: [&str; 4] = ["/mem/working/x", "/mem/working/y", "/policy/active.json", "/elsewhere"];

fn sets() -> [PolicySet; 4] {
    let layered = PolicySet::builder(policy(CURIOUS)).agents("a*", policy(TASK)).build().unwrap();
    [policy(CURIOUS).into(), policy(WIDE).into(), layered, policy(POLICY).into()]
}

fn exec(tool: u8, text: u8) -> (&'static str, serde_json::Value) {
    match TOOLS[usize::from(tool)] {
        "kernel.declassify" => ("kernel.declassify", json!({"labels": ["untrusted"], "reason": "seen"})),
        name => (name, json!({"text": format!("text {text}")})),
    }
}

fn spec(number: u8) -> AgentSpec {
    let spec =
        AgentSpec::new(["a", "b", "a2", "c"][usize::from(number)]).on_ask(OnAsk::Return).fact("n", number);
    match number {
        0 => spec,
        1 => spec.task_policy(policy(TASK)).tenant("acme".parse::<TenantId>().unwrap()),
        2 => spec.labels(LabelSet::new(["untrusted".parse().unwrap()]).unwrap()),
        _ => spec.dry_run(true),
    }
}

/// Runs the steps; errors are part of the run.
async fn run(host: &Host, steps: &[Step]) {
    let user: Principal = "user".parse().unwrap();
    let untrusted = LabelSet::new(["untrusted".parse().unwrap()]).unwrap();
    let mut agent: AgentHandle = host.kernel.spawn(spec(0)).unwrap();
    for step in steps {
        match *step {
            Step::Exec(tool, text) => {
                let (name, arguments) = exec(tool, text);
                if let Err(CallError::Held { ticket, .. }) = agent.exec(name, arguments.clone()).await {
                    let _ = match text {
                        0 => host.kernel.approve(ticket, &user, Scope::Once).map(drop),
                        1 => host.kernel.refuse(ticket, &user, "no"),
                        _ => Ok(()),
                    };
                    let _ = agent.exec(name, arguments).await;
                }
            }
            Step::Check(tool) => {
                let (name, arguments) = exec(tool, 0);
                let arguments = RawArguments::Value(arguments);
                let _ = agent.check(Syscall::Exec { tool: name.to_owned(), arguments, deadline: None }).await;
            }
            Step::Write(path) => drop(agent.write(PATHS[usize::from(path)], "x").await),
            Step::Read(path) => drop(agent.read(PATHS[usize::from(path)]).await),
            Step::Open(path) => {
                let write = path == 1;
                let flags = OpenFlags { read: true, write, create: write, ..OpenFlags::default() };
                drop(agent.open(PATHS[usize::from(path)], flags).await);
            }
            Step::Signal(to) => {
                drop(agent.signal(["a", "b", "c"][usize::from(to)], Signal::Cont, "go on").await);
            }
            Step::OwnBusiness => {
                drop(agent.mask([Signal::Int].into_iter().collect(), SignalSet::default()).await);
            }
            Step::Reload(set, force) => {
                let widening = if force { Widening::Force } else { Widening::AtNextSpawn };
                host.kernel.reload(sets()[usize::from(set)].clone(), widening).unwrap();
            }
            Step::Spawn(number) => {
                if let Ok(next) = host.kernel.spawn(spec(number)) {
                    agent = next;
                }
            }
            Step::Wait(seconds) => host.clock.advance(std::time::Duration::from_secs(seconds.into())),
            Step::Mode(on) => {
                host.kernel.set_mode(if on { "maintenance" } else { "normal" }.parse().unwrap()).unwrap();
            }
            Step::Judge(tool, past) => {
                let (name, arguments) = exec(tool, 0);
                let time = host.clock.now();
                let deed =
                    Deed { time, call: CallKind::Exec, object: "echo".into(), arguments: arguments.clone() };
                let context = JudgeContext::new("z").fact("n", past).labels(untrusted.clone());
                let context = match past {
                    0 => context,
                    times => context.past(vec![deed; usize::from(times)]),
                };
                let arguments = RawArguments::Value(arguments);
                let call = Syscall::Exec { tool: name.to_owned(), arguments, deadline: None };
                drop(host.kernel.judge(call, &context).await);
            }
            Step::Taint => drop(host.kernel.tell(agent.id(), "a page", &untrusted)),
        }
        // Loops stop an agent; the host lets it go on.
        let _ = host.kernel.signal(agent.id(), Signal::Cont, "go on");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// Whatever agents and host do, what is on record decides the same again, to the byte.
    #[test]
    fn every_decision_of_a_random_run_is_made_again_to_the_byte(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let host = Host::asking(CURIOUS, Approvals::new(), None);
        runtime.block_on(run(&host, &steps));
        let replay = of(&host);
        prop_assert!(replay.is_exact(), "{replay:#?}");
        prop_assert_eq!(replay.identical, replay.decisions);
    }
}

#[tokio::test]
async fn a_recording_on_disk_is_made_again_by_the_policies_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(CURIOUS, FlightRecorder::open(folder.path()).unwrap());
    let layered = sets()[2].clone();
    run(&host, &[Step::Exec(0, 0), Step::Exec(0, 0), Step::Exec(0, 0), Step::Exec(1, 0), Step::Write(0)])
        .await;
    host.kernel.reload(layered, Widening::AtNextSpawn).unwrap();
    let agent = host.kernel.spawn(spec(2)).unwrap();
    drop(agent.exec("tell", json!({"text": "x"})).await);
    host.kernel.recorder().close().unwrap();

    let recording = Recording::open(folder.path()).unwrap();
    exact(&replay_recorded(recording.events(0).unwrap()).unwrap());
    // By its first policy alone, what was decided under others is compared by verdict.
    let first = replay(recording.events(0).unwrap(), &policy(CURIOUS).into()).unwrap();
    assert_eq!((first.identical, first.same_verdict, first.changed.len()), (5, 1, 0), "{first:?}");
    let other = replay(recording.events(0).unwrap(), &policy(WIDE).into()).unwrap();
    let flips: Vec<_> = other.changed.iter().map(|flip| (flip.what.as_str(), flip.from, flip.to)).collect();
    assert_eq!(
        flips,
        [
            ("echo", Verdict::Deny, Verdict::Allow),
            ("tell", Verdict::Deny, Verdict::Allow),
            ("tell", Verdict::Deny, Verdict::Allow)
        ]
    );
}

#[tokio::test]
async fn what_only_its_moment_knew_is_taken_from_the_record_and_counted() {
    let host = Host::asking(WIDE, Approvals::new(), None);
    run(&host, &[Step::Exec(0, 0), Step::Exec(0, 1), Step::Exec(0, 2), Step::Exec(0, 0), Step::Exec(4, 0)])
        .await;
    host.kernel.reload(policy(CURIOUS), Widening::Force).unwrap();
    run_on(&host, "b", "transfer", true).await;
    run_on(&host, "c", "transfer", false).await;
    let replay = of(&host);
    exact(&replay);
    assert_eq!(replay.taken[&Taken::Limit], 2);
    assert_eq!(replay.taken[&Taken::Consent], 2);
}

/// An agent asks for one call, and makes it again once it was answered.
async fn run_on(host: &Host, name: &str, tool: &str, granted: bool) {
    let user: Principal = "user".parse().unwrap();
    let agent = host.kernel.spawn(AgentSpec::new(name).on_ask(OnAsk::Return)).unwrap();
    let Err(CallError::Held { ticket, .. }) = agent.exec(tool, json!({"text": "x"})).await else { panic!() };
    if granted {
        host.kernel.approve(ticket, &user, Scope::Once).unwrap();
        agent.exec(tool, json!({"text": "x"})).await.unwrap();
    } else {
        host.kernel.refuse(ticket, &user, "no").unwrap();
        agent
            .resume(
                ticket,
                Syscall::Exec {
                    tool: tool.into(),
                    arguments: RawArguments::Value(json!({"text": "x"})),
                    deadline: None,
                },
            )
            .await
            .unwrap_err();
    }
}

#[tokio::test]
async fn a_refusal_from_memory_is_held_against_the_one_it_repeats() {
    let host = Host::with(POLICY, FlightRecorder::memory().unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    for _ in 0..3 {
        agent.exec("soft", json!({"text": "x"})).await.unwrap_err();
    }
    let replay = of(&host);
    exact(&replay);
    assert_eq!((replay.decisions, replay.repeated), (1, 2));
}

#[tokio::test]
async fn what_the_record_no_longer_has_is_counted_and_never_passed_off() {
    let limits = MemoryLimits { records: 16, bytes: 1 << 20, when_full: WhenFull::DropOldest };
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME).unwrap(), limits);
    let ledger = Ledger::open(store, LedgerOptions::default()).unwrap();
    let host = Host::with(POLICY, FlightRecorder::on(ledger));
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    for _ in 0..16 {
        agent.read("/policy/active.json").await.unwrap();
    }
    let replay = of(&host);
    assert_eq!(replay.identical, 0);
    assert!(!replay.is_exact());
    assert_eq!(replay.not_judged_by[&Cause::Dropped], replay.decisions);
    let simulation = simulate::run(host.kernel.recorder().events(0), &host.kernel.policy()).unwrap();
    assert_eq!((simulation.judged, simulation.not_judged.len() as u64), (0, replay.decisions));
}

#[tokio::test]
async fn a_past_that_only_a_candidate_looked_at_is_not_guessed() {
    let host = Host::with(POLICY, FlightRecorder::memory().unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    host.kernel.shadow(policy(CURIOUS)).unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    host.kernel.promote(Widening::Force).unwrap();
    agent.exec("echo", json!({"text": "y"})).await.unwrap();
    let replay = of(&host);
    assert_eq!((replay.identical, replay.not_judged_by[&Cause::Shadow]), (1, 1));
}
