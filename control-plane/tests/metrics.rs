//! The names and labels of the metrics are a contract: dashboards rest on them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::budget::Budget;
use agent_control_plane::kernel::{OnAsk, Widening};
use agent_control_plane::primitives::{Resource, Scope, Signal};
use agent_control_plane::{AgentSpec, Approvals, CallError, Kernel, Policy};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;

/// Keeps which metrics were told, and nothing of their values.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeSet<String>>>);

impl Names {
    fn heard(&self, kind: &str, key: &Key) {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        self.0.lock().unwrap().insert(format!("{kind} {}{{{}}}", key.name(), labels.join(",")));
    }
}

impl Recorder for Names {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.heard("counter", key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.heard("gauge", key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.heard("histogram", key);
        Histogram::noop()
    }
}

fn policy(effect: &str) -> Policy {
    let text = format!(
        "version: 1\nname: t\nrules:\n  - {{ id: t, effect: {effect}, calls: [exec], tools: [secret-tool] }}\n  \
         - {{ id: pay, effect: ask, calls: [exec], tools: [pay] }}\n"
    );
    Policy::from_yaml("t.yaml", &text).unwrap()
}

fn tools() -> Registry {
    let mut tools = Registry::builder();
    for name in ["secret-tool", "pay"] {
        let run = |_context, _arguments| async { Ok::<_, ToolError>(json!("done")) };
        tools.tool(name).description("A test tool").run_raw(json!({"type": "object"}), run).unwrap();
    }
    tools.build()
}

#[test]
fn names_and_labels_are_as_documented_and_tell_nothing_of_who_did_what() {
    let names = Names::default();
    metrics::with_local_recorder(&names, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::new().limit(Resource::Calls, 10);
            let builder = Kernel::builder().policy(policy("allow")).tools(tools()).approvals(Approvals::new());
            let kernel = builder.budget(budget).build().unwrap();
            kernel.shadow(policy("deny")).unwrap();
            let agent = kernel.spawn(AgentSpec::new("secret-agent").on_ask(OnAsk::Return)).unwrap();
            agent.exec("secret-tool", json!({})).await.unwrap();
            let CallError::Held { ticket, .. } = agent.exec("pay", json!({})).await.unwrap_err() else { unreachable!() };
            kernel.approve(ticket, &"ann".parse().unwrap(), Scope::Once).unwrap();
            agent.exec("missing", json!({})).await.unwrap_err();
            kernel.reload(policy("deny"), Widening::Force).unwrap();
            let stranger = "version: 1\nname: t\nrules:\n  - { id: t, effect: allow, calls: [exec], tools: [stranger] }\n";
            kernel.reload(Policy::from_yaml("t.yaml", stranger).unwrap(), Widening::Force).unwrap_err();
            kernel.signal(agent.id(), Signal::Stop, "test").unwrap();
        });
    });
    let told = names.0.lock().unwrap().clone();
    let expected = [
        "counter agent_os_policy_reload_failures_total{}",
        "counter agent_os_shadow_divergence_total{from=allow,to=deny}",
        "counter agent_os_signals_total{signal=SIGSTOP}",
        "counter agent_os_syscalls_total{syscall=exec,verdict=allow}",
        "counter agent_os_syscalls_total{syscall=exec,verdict=ask}",
        "counter agent_os_syscalls_total{syscall=exec,verdict=invalid}",
        "gauge agent_os_approvals_pending{}",
        "gauge agent_os_budget_reserved{resource=calls}",
        "gauge agent_os_policy_generation{}",
        "gauge agent_os_recorder_lag_entries{}",
        "histogram agent_os_approval_wait_seconds{}",
        "histogram agent_os_decision_seconds{}",
        "histogram agent_os_recorder_append_seconds{}",
    ];
    assert_eq!(told, expected.into_iter().map(str::to_owned).collect());
    // `docs/metrics.md` names them all, and no others.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next()).collect();
    let name = |line: &'static str| line.split([' ', '{']).nth(1).unwrap();
    let mut all: BTreeSet<&str> = expected.into_iter().map(name).collect();
    // Nothing here has a bug of the kernel.
    all.insert("agent_os_bugs_total");
    assert_eq!(documented, all);
}
