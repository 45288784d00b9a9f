//! Child agents: what they have, what they may do, and how a tree of them ends.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::host::{Host, POLICY, tools};
use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::kernel::{
    MAX_CHILDREN, MAX_DEPTH, Programs, SPAWN, SpawnError, Task, Was, Widening,
};
use agent_control_plane::policy::{PolicySet, simulate};
use agent_control_plane::primitives::{
    AgentId, LabelSet, ManualClock, Resource, Signal, SignalSet, TenantId,
};
use agent_control_plane::recorder::Body;
use agent_control_plane::{
    AgentHandle, AgentSpec, AgentState, CallError, ExitStatus, FlightRecorder, Kernel, Policy,
};
use proptest::prelude::*;
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

fn policy(rules: &str) -> Policy {
    Policy::from_yaml("test.yaml", &format!("version: 1\nname: test\non_violation: deny\nrules:\n{rules}"))
        .unwrap()
}

fn kernel(rules: impl Into<PolicySet>) -> Kernel {
    let (runs, clock) = (Arc::new(AtomicU64::new(0)), ManualClock::default());
    Kernel::builder().policy(rules).tools(tools(&runs)).timer(Arc::new(clock)).build().unwrap()
}

fn child(kernel: &Kernel, parent: &AgentHandle, name: &str) -> AgentHandle {
    kernel.spawn(AgentSpec::new(name).parent(parent.id().clone())).unwrap()
}

/// Whether a call is allowed.
async fn echoes(agent: &AgentHandle) -> bool {
    agent.exec("echo", json!({"text": "x"})).await.is_ok()
}

#[tokio::test]
async fn a_child_has_a_name_below_its_parents_and_what_its_parent_knows() {
    let kernel = kernel(policy("  - { id: all, effect: allow, calls: [exec], tools: [\"*\"] }"));
    let tenant: TenantId = "acme".parse().unwrap();
    let parent = AgentSpec::new("p").tenant(tenant).fact("role", "clerk").labels(labels("secret"));
    let parent = kernel.spawn(parent).unwrap();
    let kid = child(&kernel, &parent, "kid");
    assert_eq!(kid.id().as_str(), "p::kid");
    assert_eq!(kernel.labels(kid.id()), Some(labels("secret")));
    let events: Vec<_> = kernel.recorder().events(0).map(Result::unwrap).collect();
    let of_kid: Vec<_> =
        events.iter().map(|stored| stored.event().unwrap()).filter(|event| event.agent == "p::kid").collect();
    let [spawn, born] = &of_kid[..] else { panic!("{of_kid:?}") };
    assert!(
        matches!(&spawn.body, Body::Spawn { tenant: "acme", facts: br#"{"role":"clerk"}"#, .. }),
        "{spawn:?}"
    );
    assert!(matches!(&born.body, Body::Child { parent: "p", program: "", .. }), "{born:?}");
    let info = kernel.agents().into_iter().find(|agent| agent.id == *kid.id()).unwrap();
    assert_eq!(info.parent, Some(id("p")));
}

#[test]
fn names_of_children_are_nobody_elses() {
    let kernel = kernel(policy("  []"));
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    for name in ["p::kid", "q::kid", "p::", "p:", "::"] {
        let error = kernel.spawn(AgentSpec::new(name)).unwrap_err();
        assert!(matches!(error, SpawnError::Reserved(_)), "{name}: {error}");
    }
    for name in ["a:b", "a::b", ":"] {
        let error = kernel.spawn(AgentSpec::new(name).parent(id("p"))).unwrap_err();
        assert!(matches!(error, SpawnError::Reserved(_)), "{name}: {error}");
    }
    let foreign = AgentSpec::new("kid").parent(id("p")).tenant("other".parse().unwrap());
    assert!(matches!(kernel.spawn(foreign), Err(SpawnError::OtherTenant { .. })));
    assert!(matches!(kernel.spawn(AgentSpec::new("kid").parent(id("q"))), Err(SpawnError::NoParent(_))));
    let _kid = child(&kernel, &parent, "kid");
    assert!(matches!(kernel.spawn(AgentSpec::new("kid").parent(id("p"))), Err(SpawnError::AlreadyExists(_))));
}

#[test]
fn trees_have_a_bound_in_width_and_depth_and_the_dead_make_room() {
    let kernel = kernel(policy("  []"));
    let root = kernel.spawn(AgentSpec::new("r")).unwrap();
    let kids: Vec<_> = (0..MAX_CHILDREN).map(|number| child(&kernel, &root, &format!("k{number}"))).collect();
    let one_more = || kernel.spawn(AgentSpec::new("more").parent(id("r")));
    assert!(matches!(one_more(), Err(SpawnError::TooManyChildren { .. })));
    assert_eq!(kernel.agent(&id("r::more")), None, "a refused spawn leaves nothing behind");
    kernel.kill(kids[0].id(), "room").unwrap();
    one_more().unwrap();
    let mut deepest = kids[1].clone();
    for depth in 1..MAX_DEPTH {
        deepest = child(&kernel, &deepest, &format!("d{depth}"));
    }
    let deeper = kernel.spawn(AgentSpec::new("d").parent(deepest.id().clone()));
    assert!(matches!(deeper, Err(SpawnError::TooDeep { .. })));
}

#[test]
fn a_kill_ends_a_tree_with_tools_in_flight_on_every_level() {
    let host = Host::new();
    let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let kid = child(&host.kernel, &root, "b");
    let grandkid = child(&host.kernel, &kid, "c");
    let bystander = host.kernel.spawn(AgentSpec::new("ab")).unwrap();
    let agents = [&root, &kid, &grandkid, &bystander];
    let mut calls: Vec<_> = agents.iter().map(|agent| Box::pin(agent.exec("hang", json!({})))).collect();
    assert!(calls.iter_mut().all(|call| poll(call.as_mut()).is_pending()));
    let asleep = host.clock.sleepers();
    let killed = host.kernel.kill(root.id(), "enough").unwrap();
    assert_eq!(killed.agents, [id("a"), id("a::b"), id("a::b::c")]);
    assert_eq!(killed.calls, 3);
    assert_eq!(host.clock.sleepers(), asleep / 4, "the futures of the three tools are gone, unpolled");
    for call in &mut calls[..3] {
        assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
    }
    assert!(poll(calls[3].as_mut()).is_pending(), "who is no descendant goes on");
    for agent in ["a::b", "a::b::c"] {
        assert_eq!(host.kinds(agent), ["spawn", "child", "intent", "signal", "exit", "outcome"]);
        let Some(AgentState::Zombie(ExitStatus::Signaled { signal, reason })) = host.kernel.agent(&id(agent))
        else {
            panic!("{agent} is gone")
        };
        assert_eq!((signal, reason.as_str()), (Signal::Kill, "`a`, from which it descends, ended"));
    }
    assert!(host.kernel.kill(root.id(), "again").is_err());
}

#[tokio::test]
async fn whichever_way_an_agent_ends_its_children_end_with_it() {
    type End = Box<dyn Fn(&Kernel, &AgentHandle)>;
    let signal =
        |signal| -> End { Box::new(move |kernel, agent| drop(kernel.signal(agent.id(), signal, "x"))) };
    let exit: End = Box::new(|_, agent| {
        assert!(poll(pin!(agent.exit(0, "done"))).is_ready());
    });
    let violates: End = Box::new(|_, agent| {
        assert!(poll(pin!(agent.exec("ungranted", json!({})))).is_ready());
    });
    for end in [signal(Signal::Kill), signal(Signal::Policy), signal(Signal::Trust), exit, violates] {
        let host = Host::new();
        let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let kid = child(&host.kernel, &root, "b");
        end(&host.kernel, &root);
        assert!(matches!(kid.exec("echo", json!({"text": "x"})).await, Err(CallError::Dead(_))));
    }
}

#[tokio::test]
async fn a_program_that_panics_or_is_dropped_takes_its_children_along() {
    let host = Host::new();
    let kids = Arc::new(Mutex::new(Vec::new()));
    let (kernel, seen) = (host.kernel.clone(), Arc::clone(&kids));
    let begin = move |agent: AgentHandle| seen.lock().unwrap().push(child(&kernel, &agent, "kid"));
    let panics = begin.clone();
    let crash = host.kernel.run(AgentSpec::new("a"), |agent| async move {
        panics(agent);
        panic!("a fault")
    });
    assert!(matches!(crash.await, Ok(ExitStatus::Crashed { .. })));
    {
        let mut run = pin!(host.kernel.run(AgentSpec::new("b"), |agent| async move {
            begin(agent);
            std::future::pending().await
        }));
        assert!(poll(run.as_mut()).is_pending());
    }
    let kids = kids.lock().unwrap().clone();
    assert_eq!(kids.len(), 2);
    for kid in kids {
        assert!(matches!(kid.exec("echo", json!({"text": "x"})).await, Err(CallError::Dead(_))));
    }
}

#[test]
fn a_spawn_that_races_with_a_kill_never_leaves_a_live_child() {
    for round in 0..200 {
        let host = Host::new();
        let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let kid = child(&host.kernel, &root, "b");
        let go = AtomicBool::new(false);
        let spawned = std::thread::scope(|scope| {
            let spawner = scope.spawn(|| {
                while !go.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                let spawn = |number: usize| {
                    let spec = AgentSpec::new(format!("c{number}")).parent(kid.id().clone());
                    host.kernel.spawn(spec)
                };
                (0..8).map(spawn).filter_map(Result::ok).collect::<Vec<_>>()
            });
            go.store(true, Ordering::SeqCst);
            for _ in 0..round % 50 {
                std::hint::spin_loop();
            }
            host.kernel.kill(root.id(), "now").unwrap();
            // No gate below is open any more, whatever the other thread is doing.
            assert_eq!(host.kernel.agents().len(), 0);
            spawner.join().unwrap()
        });
        for grandkid in spawned {
            assert!(matches!(host.kernel.agent(grandkid.id()), Some(AgentState::Zombie(_))));
        }
        assert_eq!(host.kernel.agents().len(), 0);
    }
}

#[test]
fn stop_cont_and_term_go_down_the_tree_each_on_record() {
    let host = Host::new();
    let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let kid = child(&host.kernel, &root, "b");
    let grandkid = child(&host.kernel, &kid, "c");
    let other = child(&host.kernel, &root, "other");
    let state = |agent: &AgentHandle| host.kernel.agent(agent.id()).unwrap();
    let stopped = AgentState::Stopped { was: Was::Ready };
    // One that was stopped for its own sake is not woken by what happens above it.
    host.kernel.signal(other.id(), Signal::Loop, "over and over").unwrap();
    host.kernel.signal(root.id(), Signal::Stop, "look").unwrap();
    let late = child(&host.kernel, &kid, "late");
    assert!([&root, &kid, &grandkid, &other, &late].iter().all(|agent| state(agent) == stopped));
    host.kernel.signal(root.id(), Signal::Cont, "go on").unwrap();
    assert!([&root, &kid, &grandkid, &late].iter().all(|agent| state(agent) == AgentState::Ready));
    assert_eq!(state(&other), stopped);
    assert_eq!(host.kinds("a::b::c"), ["spawn", "child", "signal", "signal"]);
    host.kernel.signal(root.id(), Signal::Term, "end").unwrap();
    let term = SignalSet::EMPTY.with(Signal::Term);
    let mut told = pin!(grandkid.await_signal(term, std::time::Duration::from_secs(1)));
    assert!(matches!(poll(told.as_mut()), Poll::Ready(Ok(told)) if told.signal == Signal::Term));
    host.clock.advance(agent_control_plane::kernel::DEFAULT_GRACE);
    assert!(host.kernel.agents().is_empty());
}

#[test]
fn a_child_holds_back_what_it_masks_but_not_its_end() {
    let host = Host::new();
    let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let kid = child(&host.kernel, &root, "b");
    let stop = SignalSet::EMPTY.with(Signal::Stop);
    assert!(poll(pin!(kid.mask(stop, SignalSet::EMPTY))).is_ready());
    host.kernel.signal(root.id(), Signal::Stop, "look").unwrap();
    assert_eq!(host.kernel.agent(kid.id()), Some(AgentState::Ready));
    host.kernel.kill(root.id(), "enough").unwrap();
    assert!(matches!(host.kernel.agent(kid.id()), Some(AgentState::Zombie(_))));
}

#[tokio::test]
async fn a_child_may_only_what_its_parent_may_and_its_own_name_allows() {
    let kernel = kernel(policy(
        r#"  - { id: all, effect: allow, calls: [exec], tools: ["echo"], agents: ["p", "p::*", "q::*"] }
  - { id: not-kid, effect: deny, calls: [exec], tools: ["echo"], agents: ["p::barred"] }"#,
    ));
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    let barred_parent = kernel.spawn(AgentSpec::new("q")).unwrap();
    assert!(echoes(&child(&kernel, &parent, "kid")).await);
    assert!(!echoes(&child(&kernel, &parent, "barred")).await);
    assert!(!echoes(&child(&kernel, &barred_parent, "kid")).await, "`q` itself may not");
    let grandkid = child(&kernel, &child(&kernel, &barred_parent, "kid2"), "deep");
    assert!(!echoes(&grandkid).await);
}

#[tokio::test]
async fn a_task_binds_the_descendants_too() {
    let kernel = kernel(policy("  - { id: all, effect: allow, calls: [exec], tools: [\"*\"] }"));
    let narrow = policy("  - { id: only-tell, effect: allow, calls: [exec], tools: [\"tell\"] }");
    let parent = kernel.spawn(AgentSpec::new("p").task_policy(narrow)).unwrap();
    let wide = policy("  - { id: all, effect: allow, calls: [exec], tools: [\"*\"] }");
    let spec = AgentSpec::new("kid").parent(id("p")).task_policy(wide);
    let kid = kernel.spawn(spec).unwrap();
    assert!(!echoes(&kid).await);
    assert!(!echoes(&child(&kernel, &kid, "deep")).await);
    assert!(kid.exec("tell", json!({"text": "x"})).await.is_ok());
    drop(parent);
}

#[tokio::test]
async fn a_widening_does_not_reach_the_child_of_an_agent_it_did_not_reach() {
    let nothing = policy("  []");
    let all = || policy("  - { id: all, effect: allow, calls: [exec], tools: [\"*\"] }");
    let kernel = kernel(nothing.clone());
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    kernel.reload(all(), Widening::AtNextSpawn).unwrap();
    let kid = child(&kernel, &parent, "kid");
    assert!(!echoes(&kid).await);
    assert!(echoes(&kernel.spawn(AgentSpec::new("anew")).unwrap()).await);
    kernel.reload(all(), Widening::Force).unwrap();
    assert!(echoes(&kid).await);
    kernel.reload(nothing, Widening::AtNextSpawn).unwrap();
    assert!(!echoes(&kid).await);
}

#[tokio::test]
async fn what_a_child_does_its_parent_has_done_and_the_other_way_round() {
    let rules = r#"  - { id: three, effect: allow, calls: [exec], tools: ["echo"], when: { count: { tools: ["echo"], within: 1h, lt: 3 } } }
  - { id: tell, effect: allow, calls: [exec], tools: ["tell"], when: { unless_after: { tools: ["flood"] } } }
  - { id: flood, effect: allow, calls: [exec], tools: ["flood"] }
  - { id: look, effect: allow, calls: [exec], tools: ["fails"] }"#;
    let kernel = kernel(policy(rules));
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    let (one, two) = (child(&kernel, &parent, "one"), child(&kernel, &parent, "two"));
    assert!(echoes(&one).await && echoes(&two).await && echoes(&parent).await);
    for agent in [&one, &two, &parent] {
        assert!(!echoes(agent).await, "three for all of them together");
    }
    assert!(two.exec("tell", json!({"text": "x"})).await.is_ok());
    let _flooded = one.exec("flood", json!({})).await;
    for agent in [&one, &two, &parent] {
        assert!(agent.exec("tell", json!({"text": "x"})).await.is_err());
    }
    // And the record says enough to come to the same.
    let events = kernel.recorder().events(0);
    let again = simulate::run(events, &kernel.policy()).unwrap();
    assert_eq!((again.flips.len(), again.judged), (0, 11));
}

#[tokio::test]
async fn limits_and_budgets_of_a_parent_hold_for_all_below_it() {
    let rules = "  - { id: some, effect: allow, calls: [exec], tools: [\"echo\"], limits: { rate: 3/min } }\n  - { id: tell, effect: allow, calls: [exec], tools: [\"tell\"] }";
    let kernel = kernel(policy(rules));
    let calls = Budget::new().limit(Resource::Calls, 5);
    let parent = kernel.spawn(AgentSpec::new("p").task_budget(calls)).unwrap();
    let kid = child(&kernel, &parent, "kid");
    let deep = child(&kernel, &kid, "deep");
    assert!(echoes(&deep).await && echoes(&kid).await && echoes(&deep).await);
    for agent in [&parent, &kid, &deep] {
        let error = agent.exec("echo", json!({"text": "x"})).await.unwrap_err();
        assert_eq!(error.code(), "AK0301", "{error}");
    }
    assert_eq!(kernel.usage(&AccountId::Task(id("p")))[0].used, 3);
    assert!(deep.exec("tell", json!({"text": "x"})).await.is_ok());
    assert!(deep.exec("tell", json!({"text": "x"})).await.is_ok());
    // Used up: SIGBUDGET stops everybody on that account.
    for agent in [&parent, &kid, &deep] {
        assert!(matches!(kernel.agent(agent.id()), Some(AgentState::Stopped { .. })), "{}", agent.id());
    }
}

#[tokio::test]
async fn signals_go_to_descendants_by_the_packs_and_to_nobody_else() {
    for pack in ["audit", "strict", "read_only"] {
        let kernel = kernel(Policy::pack(pack).unwrap());
        let root = kernel.spawn(AgentSpec::new("a")).unwrap();
        let kid = child(&kernel, &root, "b");
        let deep = child(&kernel, &kid, "c");
        let stranger = kernel.spawn(AgentSpec::new("ab")).unwrap();
        let may = |from: &AgentHandle, to: &AgentHandle| {
            let (from, to) = (from.clone(), to.id().to_string());
            let call =
                agent_control_plane::call::Syscall::Signal { to, signal: Signal::Int, reason: "x".into() };
            async move {
                from.check(call).await.unwrap().verdict() == agent_control_plane::primitives::Verdict::Allow
            }
        };
        assert!(may(&root, &kid).await && may(&root, &deep).await && may(&kid, &deep).await, "{pack}");
        for (from, to) in
            [(&kid, &root), (&deep, &kid), (&root, &stranger), (&stranger, &kid), (&root, &root)]
        {
            assert!(!may(from, to).await, "{pack}: {from:?} to {to:?}");
        }
    }
    for pack in ["default_deny", "no_pii"] {
        let kernel = kernel(Policy::pack(pack).unwrap());
        let root = kernel.spawn(AgentSpec::new("a")).unwrap();
        let _kid = child(&kernel, &root, "b");
        assert!(root.signal("a::b", Signal::Int, "x").await.is_err());
    }
}

/// A host whose spawner keeps what it is given.
fn starting(rules: &str) -> (Kernel, Arc<Mutex<Vec<Task>>>) {
    let (runs, tasks) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let spawned = Arc::clone(&tasks);
    let programs = Programs::new(move |task| spawned.lock().unwrap().push(task))
        .program("echo", |agent: AgentHandle, input: Value| async move {
            agent.exec("echo", input).await.map_or(1, |_| 0)
        })
        .program("panics", |_agent: AgentHandle, _input: Value| async move { panic!("a fault") });
    let clock = Arc::new(ManualClock::default());
    let builder = Kernel::builder().policy(policy(rules)).tools(tools(&runs)).timer(clock).programs(programs);
    (builder.build().unwrap(), tasks)
}

const MAY_SPAWN: &str = r#"  - { id: spawn, effect: allow, calls: [exec], tools: ["kernel.spawn"] }
  - { id: echo, effect: allow, calls: [exec], tools: ["echo"] }"#;

#[tokio::test]
async fn an_agent_starts_a_program_of_the_hosts_as_its_child() {
    let (kernel, tasks) = starting(MAY_SPAWN);
    let parent = kernel.spawn(AgentSpec::new("p").labels(labels("secret"))).unwrap();
    let kid = parent.spawn("kid", "echo", json!({"text": "x"})).await.unwrap();
    assert_eq!(kid, id("p::kid"));
    assert_eq!(kernel.labels(&kid), Some(labels("secret")));
    let mut task = tasks.lock().unwrap().pop().unwrap();
    assert!(poll(task.as_mut()).is_ready());
    assert_eq!(kernel.wait(&kid).await, Some(ExitStatus::Exited { code: 0, message: String::new() }));
    // A program that panics ends itself only; one that is never run is ended with the task that was to run it.
    let kid = parent.spawn("kid", "panics", Value::Null).await.unwrap();
    let mut task = tasks.lock().unwrap().pop().unwrap();
    assert!(poll(task.as_mut()).is_ready());
    assert!(matches!(kernel.wait(&kid).await, Some(ExitStatus::Crashed { .. })));
    let kid = parent.spawn("kid", "echo", Value::Null).await.unwrap();
    tasks.lock().unwrap().clear();
    assert!(matches!(kernel.agent(&kid), Some(AgentState::Zombie(ExitStatus::Signaled { .. }))));
    assert!(echoes(&parent).await);
}

#[tokio::test]
async fn a_spawn_is_judged_like_any_tool_and_a_mistake_in_it_kills_nobody() {
    let (kernel, tasks) = starting(MAY_SPAWN);
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    let cases = [
        (json!({"name": "kid", "program": "unknown"}), "AK0946"),
        (json!({"name": "a:b", "program": "echo"}), "AK0940"),
        (json!({"name": "-", "program": "echo", "task_policy": {"version": 7}}), "AK0115"),
        (json!({"name": "", "program": "echo"}), "AK0511"),
        (json!({"name": "kid", "program": "echo", "facts": {"role": "root"}}), "AK0511"),
    ];
    for (arguments, code) in cases {
        let error = parent.exec(SPAWN, arguments.clone()).await.unwrap_err();
        assert_eq!(error.to_json()["class"], "mistake", "{arguments}: {error}");
        if code != "AK0511" && code != "AK0115" {
            assert_eq!(error.code(), code, "{arguments}: {error}");
        }
    }
    assert_eq!((kernel.agents().len(), tasks.lock().unwrap().len()), (1, 0));
    let narrow = json!({"version": 1, "name": "less", "on_violation": "deny", "rules": []});
    let arguments = json!({"name": "kid", "program": "echo", "input": {"text": "x"}, "task_policy": narrow});
    parent.exec(SPAWN, arguments).await.unwrap();
    let mut task = tasks.lock().unwrap().pop().unwrap();
    assert!(poll(task.as_mut()).is_ready());
    let ended = kernel.wait(&id("p::kid")).await;
    assert_eq!(ended, Some(ExitStatus::Exited { code: 1, message: String::new() }), "it may not echo");

    let (kernel, tasks) = starting("  - { id: echo, effect: allow, calls: [exec], tools: [\"echo\"] }");
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    let error = parent.spawn("kid", "unknown", Value::Null).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(_)), "who may not start any learns of none: {error}");
    assert!(tasks.lock().unwrap().is_empty());

    let host = Host::with(
        &POLICY.replace("\"echo\", ", "\"echo\", \"kernel.spawn\", "),
        FlightRecorder::memory().unwrap(),
    );
    let parent = host.kernel.spawn(AgentSpec::new("p")).unwrap();
    assert_eq!(parent.spawn("kid", "echo", Value::Null).await.unwrap_err().code(), "AK0945");
}

/// Whether the tools `echo` and `tell` are allowed, denied or asked about for agents of a pattern, counts included.
fn rule() -> impl Strategy<Value = String> {
    let effect = prop::sample::select(vec!["allow", "allow", "allow", "deny", "ask"]);
    let tools = prop::sample::select(vec!["*", "echo", "tell"]);
    let agents = prop::sample::select(vec!["*", "p", "p::*", "p::a", "p::a::*", "q"]);
    let when = prop::sample::select(vec![
        "",
        ", when: { count: { tools: [\"*\"], within: 1h, lt: 3 } }",
        ", when: { unless_after: { tools: [\"tell\"] } }",
        ", when: { labels: { none_of: [secret] } }",
        ", when: { context.role: { eq: clerk } }",
    ]);
    (effect, tools, agents, when).prop_map(|(effect, tools, agents, when)| {
        format!("effect: {effect}, calls: [exec], tools: [\"{tools}\"], agents: [\"{agents}\"]{when}")
    })
}

fn document(rules: &[String]) -> Policy {
    let lines: Vec<String> =
        rules.iter().enumerate().map(|(number, rule)| format!("  - {{ id: r{number}, {rule} }}\n")).collect();
    policy(&if lines.is_empty() { "  []".to_owned() } else { lines.concat() })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// At any moment, whatever the policies, reloads and deeds before: what a descendant may do, each agent above it may do.
    #[test]
    fn what_a_child_may_do_its_parent_may(
        sets in prop::collection::vec(prop::collection::vec(rule(), 0..5), 1..4),
        tasks in prop::collection::vec(prop::option::of(prop::collection::vec(rule(), 0..4)), 3),
        deeds in prop::collection::vec((0..3_usize, any::<bool>(), prop::option::of((any::<prop::sample::Index>(), any::<bool>()))), 0..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let kernel = kernel(document(&sets[0]));
            let mut above = None;
            let mut line = Vec::new();
            for (name, task) in ["p", "a", "b"].into_iter().zip(&tasks) {
                let mut spec = AgentSpec::new(name);
                if let Some(parent) = above.take() { spec = spec.parent(parent); }
                if let Some(task) = task { spec = spec.task_policy(document(task)); }
                if name == "a" { spec = spec.fact("role", "clerk"); }
                let agent = kernel.spawn(spec).unwrap();
                above = Some(agent.id().clone());
                line.push(agent);
            }
            for (who, echo, reload) in deeds {
                if let Some((set, force)) = reload {
                    let widening = if force { Widening::Force } else { Widening::AtNextSpawn };
                    kernel.reload(document(&sets[set.index(sets.len())]), widening).unwrap();
                }
                let tool = if echo { "echo" } else { "tell" };
                let _may_be_refused = line[who].exec(tool, json!({"text": "x"})).await;
                for tool in ["echo", "tell"] {
                    let mut allowed = Vec::new();
                    for agent in &line {
                        let call = agent_control_plane::call::Syscall::Exec {
                            tool: tool.to_owned(),
                            arguments: agent_control_plane::call::RawArguments::Value(json!({"text": "x"})),
                            deadline: None,
                        };
                        allowed.push(agent.check(call).await.unwrap().verdict());
                    }
                    prop_assert!(allowed.is_sorted(), "{tool}: from the top down {allowed:?}");
                }
            }
            Ok(())
        })?;
    }
}

/// A parent that masks `SIGTERM` and does nothing more is looked at by nobody: its time is up all the same, for whoever
/// works for it too.
#[test]
fn a_child_does_not_outlive_the_grace_period_of_a_parent_that_nobody_looks_at() {
    let host = Host::new();
    let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let kid = child(&host.kernel, &root, "b");
    let grandkid = child(&host.kernel, &kid, "c");
    let term = SignalSet::EMPTY.with(Signal::Term);
    assert!(poll(pin!(root.mask(term, SignalSet::EMPTY))).is_ready());
    let mut hangs = pin!(grandkid.exec("hang", json!({})));
    assert!(poll(hangs.as_mut()).is_pending());
    host.kernel.signal(root.id(), Signal::Term, "end").unwrap();
    assert!(poll(pin!(grandkid.exec("echo", json!({"text": "x"})))).is_ready());
    host.clock.advance(agent_control_plane::kernel::DEFAULT_GRACE);
    let ran = host.runs();
    assert!(matches!(poll(hangs.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
    let late = poll(pin!(grandkid.exec("echo", json!({"text": "x"}))));
    assert!(matches!(late, Poll::Ready(Err(CallError::Dead(_)))), "{late:?}");
    assert_eq!(host.runs(), ran);
}

/// Whoever is told that an agent is gone may rely on it, also while another is still ending it.
#[test]
fn of_two_kills_at_once_neither_returns_before_the_gates_are_closed() {
    for _ in 0..300 {
        let host = Host::new();
        let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let kids: Vec<AgentHandle> =
            (0..8).map(|number| child(&host.kernel, &root, &format!("c{number}"))).collect();
        let go = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    go.wait();
                    let _one_of_them_is_late = host.kernel.kill(root.id(), "now");
                    for agent in std::iter::once(&root).chain(&kids) {
                        let live = host.kernel.agents().iter().any(|live| live.id == *agent.id());
                        assert!(!live, "{} is alive", agent.id());
                    }
                });
            }
        });
    }
}

/// Its tools are those that it and every agent above it may call.
#[tokio::test]
async fn the_tools_a_child_is_shown_are_within_reach_of_its_parent_too() {
    let rules = r#"
  - { id: look, effect: allow, calls: [read], paths: ["/tools/**"] }
  - { id: echo, effect: allow, calls: [exec], tools: ["echo", "soft"] }
  - { id: not-p, effect: deny, calls: [exec], tools: ["soft"], agents: ["p"] }
"#;
    let kernel = kernel(policy(rules));
    let parent = kernel.spawn(AgentSpec::new("p")).unwrap();
    let kid = child(&kernel, &parent, "c");
    assert!(kid.exec("soft", json!({})).await.is_err());
    for agent in [&parent, &kid] {
        let all = agent.read("/tools/all.jsonl").await.unwrap();
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(all.contains("\"echo\"") && !all.contains("\"soft\""), "{}: {all}", agent.id());
        assert!(agent.read("/tools/soft.json").await.is_err());
    }
}

/// Whoever looks while agents are started finds none whose beginning is not on record, and ends none before it began.
#[test]
fn no_agent_is_found_before_its_beginning_is_on_record() {
    for round in 0..100 {
        let host = Host::new();
        let root = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    for number in 0..8 {
                        let _not_there_yet = host.kernel.kill(&id(&format!("a::c{number}")), "now");
                    }
                }
            });
            let spawned: Vec<AgentHandle> =
                (0..8).map(|number| child(&host.kernel, &root, &format!("c{number}"))).collect();
            done.store(true, Ordering::SeqCst);
            killer.join().unwrap();
            for agent in spawned {
                let kinds = host.kinds(agent.id().as_str());
                assert_eq!(kinds[..2], ["spawn", "child"], "round {round}");
            }
        });
    }
}

/// A spawn that is refused leaves the account of whoever has the name alone.
#[tokio::test]
async fn a_spawn_that_is_refused_changes_nothing_of_whoever_has_the_name() {
    let kernel = kernel(policy("  - { id: all, effect: allow, calls: [exec], tools: [\"*\"] }"));
    let (ours, theirs): (TenantId, TenantId) = ("ours".parse().unwrap(), "theirs".parse().unwrap());
    let two = || Budget::new().limit(Resource::Calls, 2);
    let agent = kernel.spawn(AgentSpec::new("x").tenant(ours.clone()).budget(two())).unwrap();
    assert!(echoes(&agent).await && echoes(&agent).await);
    let refused = kernel.spawn(AgentSpec::new("x").tenant(theirs));
    assert!(matches!(refused, Err(SpawnError::AlreadyExists(_))));
    kernel.kill(agent.id(), "again").unwrap();
    let agent = kernel.spawn(AgentSpec::new("x").tenant(ours).budget(two())).unwrap();
    assert!(!echoes(&agent).await, "what its earlier life used counts");
}

/// The policy that an agent gives its child is the agent's word: by the name of another policy's rule it gets at no count of
/// that rule, neither to use it up nor to begin it anew.
#[tokio::test]
async fn the_limits_of_a_policy_that_an_agent_gives_touch_no_other_count() {
    let rules = r#"
  - { id: spawn, effect: allow, calls: [exec], tools: ["kernel.spawn"] }
  - { id: echo, effect: allow, calls: [exec], tools: ["echo"] }
  - { id: pay, effect: allow, calls: [exec], tools: ["transfer"], limits: { rate: { rate: 2/day, burst: 1 }, per: policy } }
  - { id: few, effect: allow, calls: [exec], tools: ["soft"], limits: { rate: 2/day, per: policy } }
"#;
    let (runs, clock) = (Arc::new(AtomicU64::new(0)), ManualClock::default());
    let programs =
        Programs::new(|task| drop(tokio::spawn(task))).program("echo", |agent: AgentHandle, _| async move {
            for _ in 0..2 {
                agent.exec("echo", json!({"text": "x"})).await.unwrap();
            }
            0
        });
    let builder = Kernel::builder().policy(policy(rules)).tools(tools(&runs)).programs(programs);
    let kernel = builder.timer(Arc::new(clock.clone())).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.exec("transfer", json!({"text": "x"})).await.unwrap();
    assert!(agent.exec("transfer", json!({"text": "x"})).await.is_err());
    for (name, rule, rate) in
        [("fast", "pay", json!({"rate": "1000000/s", "burst": 2})), ("slow", "few", json!("5/day"))]
    {
        let task = json!({"version": 1, "name": "test", "rules": [{"id": rule, "effect": "allow", "calls": ["exec"],
            "tools": ["echo"], "limits": {"rate": rate, "per": "policy"}}]});
        let arguments = json!({"name": name, "program": "echo", "task_policy": task});
        agent.exec(SPAWN, arguments).await.unwrap();
        let ended = kernel.wait(&id(&format!("a::{name}"))).await;
        assert_eq!(ended, Some(ExitStatus::Exited { code: 0, message: String::new() }));
    }
    clock.advance(std::time::Duration::from_secs(1));
    assert!(agent.exec("transfer", json!({"text": "x"})).await.is_err(), "its pace is the host's");
    assert!(agent.exec("soft", json!({"text": "x"})).await.is_ok(), "nobody has used it up");
}

/// What a rule demands is met once however many answers it has made; but a copy of the host's policy that an agent gives its
/// child does not take the place of the host's.
#[tokio::test]
async fn a_copy_of_the_hosts_policy_takes_no_limit_off() {
    let rules = r#"
  - { id: spawn, effect: allow, calls: [exec], tools: ["kernel.spawn"] }
  - { id: few, effect: allow, calls: [exec], tools: ["echo"], limits: { rate: 3/day, per: policy } }
"#;
    let (runs, clock) = (Arc::new(AtomicU64::new(0)), ManualClock::default());
    let programs =
        Programs::new(|task| drop(tokio::spawn(task))).program("echo", |agent: AgentHandle, _| async move {
            let mut done = 0;
            for _ in 0..2 {
                done += i32::from(echoes(&agent).await);
            }
            done
        });
    let host = policy(rules);
    let builder = Kernel::builder().policy(host.clone()).tools(tools(&runs)).programs(programs);
    let kernel = builder.timer(Arc::new(clock)).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    for (name, done) in [("one", 2), ("two", 1), ("three", 0)] {
        let arguments = json!({"name": name, "program": "echo", "task_policy": host.to_json()});
        agent.exec(SPAWN, arguments).await.unwrap();
        let ended = kernel.wait(&id(&format!("a::{name}"))).await;
        assert_eq!(ended, Some(ExitStatus::Exited { code: done, message: String::new() }), "{name}");
    }
}
