//! Tenants do not meet: whatever the agents of others do, an agent's answers, its own record and its fate are the same.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::budget::Budget;
use agent_control_plane::call::{Change, FileRef, RawArguments, Syscall, WriteTo};
use agent_control_plane::primitives::{ManualClock, Resource, Signal, SignalSet, TenantId};
use agent_control_plane::vfs::OpenFlags;
use agent_control_plane::{AgentHandle, AgentSpec, Kernel, Policy};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Everything is allowed that one agent could do to another, so that only the kernel keeps tenants apart.
const POLICY: &str = "
version: 1
name: everything
on_violation: deny
rules:
  - {id: fatal, effect: deny, calls: [exec], tools: [fatal], on_violation: kill}
  - {id: tools, effect: allow, calls: [exec], tools: ['*'], limits: {rate: 6/min, per: tenant}}
  - {id: once, effect: allow, calls: [exec], tools: [echo], limits: {rate: 4/min}}
  - {id: files, effect: allow, calls: [read, write, open], paths: ['/**']}
  - {id: signals, effect: allow, calls: [signal], targets: ['*']}
";

/// Two agents of one tenant, one of another, one of none.
const AGENTS: [(&str, Option<&str>); 4] =
    [("a1", Some("acme")), ("a2", Some("acme")), ("b1", Some("bolt")), ("n1", None)];

struct World {
    clock: ManualClock,
    kernel: Kernel,
    agents: Vec<AgentHandle>,
}

impl World {
    fn new() -> Self {
        let mut tools = Registry::builder();
        for name in ["echo", "fatal"] {
            tools
                .tool(name)
                .description("Says what it is told")
                .effects([Effect::Write])
                .output_labels(["untrusted"])
                .run_raw(
                    json!({"type": "object", "properties": {"text": {"type": "string"}}}),
                    |_context, arguments| async move { Ok::<Value, ToolError>(arguments["text"].clone()) },
                )
                .unwrap();
        }
        let clock = ManualClock::default();
        let kernel = Kernel::builder()
            .policy(Policy::from_yaml("p.yaml", POLICY).unwrap())
            .tools(tools.build())
            .timer(Arc::new(clock.clone()))
            .tenant("acme".parse().unwrap(), Budget::new().limit(Resource::Calls, 25))
            .build()
            .unwrap();
        let agents = AGENTS.iter().map(|(name, tenant)| spawn(&kernel, name, *tenant)).collect();
        Self { clock, kernel, agents }
    }

    /// What an agent's call answers, in words.
    async fn take(&self, step: &Step) -> String {
        match step {
            Step::Call(agent, call) => format!("{:?}", self.agents[*agent].syscall(call.clone()).await),
            Step::Wait(seconds) => {
                self.clock.advance(Duration::from_secs(*seconds));
                String::new()
            }
        }
    }
}

fn spawn(kernel: &Kernel, name: &str, tenant: Option<&str>) -> AgentHandle {
    let spec = AgentSpec::new(name);
    let tenant: Option<TenantId> = tenant.map(|tenant| tenant.parse().unwrap());
    kernel.spawn(tenant.into_iter().fold(spec, AgentSpec::tenant)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Call(usize, Syscall),
    Wait(u64),
}

fn call() -> impl Strategy<Value = Syscall> {
    let path = || {
        prop::sample::select(vec![
            "/mem/working/x",
            "/mem/working/y/z",
            "/mem/working",
            "/audit/events.jsonl",
            "/policy/active.json",
            "/policy/history.json",
            "/",
            "/agent/a1/mem/working/x",
            "/agent/b1/mem/working/x",
            "/agent",
            "/tools/all.jsonl",
            "/ipc",
            "/ipc/inbox",
            "/ipc/a1",
            "/ipc/a2",
            "/ipc/b1",
            "/ipc/n1",
            "/ipc/news",
            "/tools",
            "/tools/echo.json",
        ])
    };
    let name = || prop::sample::select(vec!["a1", "a2", "b1", "n1", "nobody"]);
    let signal = prop::sample::select(Signal::ALL.to_vec());
    let change = prop::sample::select(vec![Change::Replace, Change::Append, Change::CreateNew]);
    let exec = |tool: &str, text: &str| Syscall::Exec {
        tool: tool.to_owned(),
        arguments: RawArguments::Value(json!({"text": text})),
        deadline: None,
    };
    let base = prop_oneof![
        4 => prop::sample::select(vec!["one", "two"]).prop_map(move |text| exec("echo", text)),
        1 => Just(exec("fatal", "x")),
        4 => path().prop_map(|path| Syscall::Read {
            file: FileRef::Path(path.to_owned()), offset: None, length: 1 << 20, nonblock: true,
        }),
        3 => (path(), change, name()).prop_map(|(path, change, text)| Syscall::Write {
            to: WriteTo::Path { path: path.to_owned(), change, expected: None, ttl: None },
            data: text.as_bytes().into(),
        }),
        1 => path().prop_map(|path| Syscall::Open { path: path.to_owned(), flags: OpenFlags { read: true, ..OpenFlags::default() } }),
        3 => (name(), signal).prop_map(|(to, signal)| Syscall::Signal {
            to: to.to_owned(), signal, reason: "because".to_owned(),
        }),
        1 => Just(Syscall::Mask { block: SignalSet::EMPTY.with(Signal::Stop), unblock: SignalSet::EMPTY }),
        1 => Just(Syscall::Exit { code: 3, message: String::new() }),
    ];
    (base, prop::bool::weighted(0.1)).prop_map(
        |(call, ask)| {
            if ask { Syscall::CheckPolicy(Box::new(call)) } else { call }
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0..AGENTS.len(), call()).prop_map(|(agent, call)| Step::Call(agent, call)),
        1 => (0u64..40).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..40)
}

/// Takes those steps that `chosen` says, and tells what the agents of `tenant` see: their answers and what becomes of them.
fn seen_by(tenant: Option<&str>, steps: &[Step], chosen: impl Fn(&Step) -> bool) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let world = World::new();
        let own = |agent: usize| AGENTS[agent].1 == tenant;
        let mut seen = Vec::new();
        for step in steps.iter().filter(|step| chosen(step)) {
            // A call parks while its agent is stopped; nobody is going to wake it, so it is given up.
            let answer = at_once(world.take(step)).await;
            if matches!(step, Step::Call(agent, _) if own(*agent)) {
                seen.push(answer);
            }
        }
        for (agent, (name, _)) in AGENTS.iter().enumerate().filter(|(agent, _)| own(*agent)) {
            let state = world.kernel.agent(&name.parse().unwrap());
            let labels = world.kernel.labels(&name.parse().unwrap());
            seen.push(format!("{name} {state:?} {labels:?}"));
            let audit = FileRef::Path("/audit/events.jsonl".to_owned());
            let audit = Syscall::Read { file: audit, offset: None, length: 1 << 20, nonblock: true };
            seen.push(at_once(world.take(&Step::Call(agent, audit))).await);
        }
        seen
    })
}

/// The future's result if it is there at once.
async fn at_once(future: impl Future<Output = String>) -> String {
    let mut future = std::pin::pin!(future);
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await;
    match first {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => "waits".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_a_tenant_sees_does_not_depend_on_what_others_do(steps in steps()) {
        for tenant in [Some("acme"), Some("bolt"), None] {
            let own = |step: &Step| match step {
                Step::Call(agent, _) => AGENTS[*agent].1 == tenant,
                Step::Wait(_) => true,
            };
            prop_assert_eq!(seen_by(tenant, &steps, |_| true), seen_by(tenant, &steps, own), "{:?}", tenant);
        }
    }
}

#[test]
fn an_agents_own_tenant_can_be_reached() {
    let to = |to: &str| {
        let (to, reason) = (to.to_owned(), String::new());
        vec![Step::Call(0, Syscall::Signal { to, signal: Signal::Kill, reason })]
    };
    assert!(seen_by(Some("acme"), &to("a2"), |_| true)[1..].iter().any(|seen| seen.contains("Zombie")));
    let of_other = seen_by(Some("acme"), &to("b1"), |_| true);
    assert_eq!(of_other[0].replace("b1", "nobody"), seen_by(Some("acme"), &to("nobody"), |_| true)[0]);
}

#[tokio::test]
async fn a_name_that_was_another_tenants_begins_with_nothing_used() {
    let world = World::new();
    let echo = || {
        let arguments = RawArguments::Value(json!({"text": "x"}));
        Syscall::Exec { tool: "echo".to_owned(), arguments, deadline: None }
    };
    for _ in 0..4 {
        world.agents[2].syscall(echo()).await.unwrap();
    }
    assert!(world.agents[2].syscall(echo()).await.is_err(), "its rate is used up");
    world.agents[2].exit(0, "").await.unwrap();
    let same = spawn(&world.kernel, "b1", Some("bolt"));
    assert!(same.syscall(echo()).await.is_err(), "an earlier life counts");
    same.exit(0, "").await.unwrap();
    let other = spawn(&world.kernel, "b1", Some("acme"));
    assert!(other.syscall(echo()).await.is_ok());
}
