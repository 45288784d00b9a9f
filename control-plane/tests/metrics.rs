//! The names and labels of the metrics are a contract: dashboards rest on them.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::budget::Budget;
use agent_control_plane::kernel::{OnAsk, Widening};
use agent_control_plane::primitives::{ManualClock, Resource, Scope, Signal};
use agent_control_plane::{AgentSpec, Approvals, CallError, FlightRecorder, Kernel, Policy};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
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
        "version: 1\nname: t\nrules:\n  - {{ id: t, effect: {effect}, calls: [exec], tools: [secret-tool, hang] }}\n  \
         - {{ id: pay, effect: ask, calls: [exec], tools: [pay] }}\n"
    );
    Policy::from_yaml("t.yaml", &text).unwrap()
}

fn tools() -> Registry {
    let mut tools = Registry::builder();
    for name in ["secret-tool", "pay", "hang"] {
        let run = move |_context, _arguments| async move {
            if name == "hang" {
                std::future::pending::<()>().await;
            }
            Ok::<_, ToolError>(json!("done"))
        };
        tools.tool(name).description("A test tool").run_raw(json!({"type": "object"}), run).unwrap();
    }
    tools.build()
}

/// Keeps what each gauge stands at, and what each histogram was told.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

/// One metric of [`Values`].
struct Value(Values, String);

impl Value {
    fn push(&self, value: impl FnOnce(f64) -> f64) {
        let mut values = self.0.0.lock().unwrap();
        let told = values.entry(self.1.clone()).or_default();
        told.push(value(told.last().copied().unwrap_or_default()));
    }
}

impl GaugeFn for Value {
    fn increment(&self, by: f64) {
        self.push(|present| present + by);
    }

    fn decrement(&self, by: f64) {
        self.push(|present| present - by);
    }

    fn set(&self, value: f64) {
        self.push(|_| value);
    }
}

impl HistogramFn for Value {
    fn record(&self, value: f64) {
        self.push(|_| value);
    }
}

impl Values {
    fn of(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Value(self.clone(), key.name().to_owned())))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Value(self.clone(), key.name().to_owned())))
    }
}

#[test]
fn what_calls_set_aside_stands_at_zero_however_they_end_and_a_wait_is_measured_once() {
    let values = Values::default();
    let clock = ManualClock::default();
    metrics::with_local_recorder(&values, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::new().limit(Resource::Calls, 10);
            let builder =
                Kernel::builder().policy(policy("allow")).tools(tools()).approvals(Approvals::new());
            let kernel = builder.budget(budget.clone()).timer(Arc::new(clock.clone())).build().unwrap();
            // On two accounts, and counted once.
            let agent = kernel.spawn(AgentSpec::new("a").budget(budget).on_ask(OnAsk::Return)).unwrap();
            agent.exec("secret-tool", json!({})).await.unwrap();
            let ask = async || match agent.exec("pay", json!({})).await.unwrap_err() {
                CallError::Held { ticket, .. } => ticket,
                other => panic!("{other}"),
            };
            let granted = ask().await;
            clock.advance(Duration::from_secs(7));
            kernel.approve(granted, &"ann".parse().unwrap(), Scope::Once).unwrap();
            agent.exec("pay", json!({})).await.unwrap();
            let refused = ask().await;
            clock.advance(Duration::from_secs(3));
            kernel.refuse(refused, &"ann".parse().unwrap(), "no").unwrap();
            let mut killed = Box::pin(agent.exec("hang", json!({})));
            let polled = poll_fn(|context| Poll::Ready(killed.as_mut().poll(context).is_pending()));
            assert!(polled.await, "it hangs");
            kernel.signal(agent.id(), Signal::Kill, "test").unwrap();
        });
    });
    assert_eq!(values.of("agent_os_budget_reserved"), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    assert_eq!(values.of("agent_os_approval_wait_seconds"), [7.0, 3.0]);
    assert!(values.of("agent_os_recorder_lag_entries").iter().all(|lag| *lag == 0.0), "memory does not lag");
}

#[test]
fn records_that_wait_for_the_disk_lag_until_it_has_them() {
    let values = Values::default();
    let folder = tempfile::tempdir().unwrap();
    metrics::with_local_recorder(&values, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let recorder = FlightRecorder::open(folder.path().join("record")).unwrap();
            let builder = Kernel::builder().policy(policy("allow")).tools(tools()).recorder(recorder);
            let kernel = builder.build().unwrap();
            let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
            agent.exec("secret-tool", json!({})).await.unwrap();
        });
    });
    let lags = values.of("agent_os_recorder_lag_entries");
    assert!(lags.iter().any(|lag| 1.0 <= *lag), "an append does not wait: {lags:?}");
    assert!(lags.contains(&0.0), "a wait for the disk ends it: {lags:?}");
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
            let CallError::Held { ticket, .. } = agent.exec("pay", json!({})).await.unwrap_err() else { panic!("not held") };
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
