//! What the kernel's tests share: a policy that allows a few things, tools that count, a clock that stands still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_control_plane::atr::{CallContext, Effect, Registry, ToolError};
use agent_control_plane::primitives::ManualClock;
use agent_control_plane::{Approvals, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

pub(crate) const POLICY: &str = r#"
version: 1
name: test
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["echo", "tell", "hang", "panic", "flood"] }
  - { id: ask-first, effect: ask, calls: [exec], tools: ["transfer"] }
  - { id: soft, effect: deny, calls: [exec], tools: ["soft"], on_violation: deny }
  - { id: stops, effect: deny, calls: [exec], tools: ["stops"], on_violation: stop }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
  - { id: look, effect: allow, calls: [read], paths: ["/", "/policy/**", "/audit/**"] }
  - { id: tell-b, effect: allow, calls: [signal], targets: ["b"], signals: [SIGTERM] }
"#;

pub(crate) struct Host {
    pub(crate) kernel: Kernel,
    pub(crate) clock: ManualClock,
    pub(crate) runs: Arc<AtomicU64>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(POLICY, FlightRecorder::memory().unwrap())
    }

    pub(crate) fn with(policy: &str, recorder: FlightRecorder) -> Self {
        Self::build(policy, recorder, None, ManualClock::default(), Arc::default())
    }

    /// A host that can ask. Its clock and count go on when another takes its place.
    pub(crate) fn asking(policy: &str, approvals: Approvals, before: Option<&Self>) -> Self {
        let clock = before.map_or_else(ManualClock::default, |host| host.clock.clone());
        let runs = before.map_or_else(Arc::default, |host| Arc::clone(&host.runs));
        Self::build(policy, FlightRecorder::memory().unwrap(), Some(approvals), clock, runs)
    }

    fn build(
        policy: &str,
        recorder: FlightRecorder,
        approvals: Option<Approvals>,
        clock: ManualClock,
        runs: Arc<AtomicU64>,
    ) -> Self {
        let mut builder = Kernel::builder()
            .policy(Policy::from_yaml("test.yaml", policy).unwrap())
            .tools(tools(&runs))
            .recorder(recorder)
            .timer(Arc::new(clock.clone()));
        if let Some(approvals) = approvals {
            builder = builder.approvals(approvals);
        }
        Self { kernel: builder.build().unwrap(), clock, runs }
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    /// The kinds of the events of one agent, in order.
    pub(crate) fn kinds(&self, agent: &str) -> Vec<String> {
        let events = self.kernel.recorder().events(0).map(Result::unwrap);
        events
            .filter(|stored| stored.event().unwrap().agent == agent)
            .map(|stored| stored.event().unwrap().kind().to_owned())
            .collect()
    }
}

pub(crate) fn tools(runs: &Arc<AtomicU64>) -> Registry {
    let text = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let mut registry = Registry::builder();
    let mut add = |name: &str, kind: Kind| {
        let runs = Arc::clone(runs);
        let run = move |context: CallContext, args: Value| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move {
                match kind {
                    Kind::Echo => Ok::<Value, ToolError>(args["text"].clone()),
                    Kind::Tell => {
                        println!("effect {}", args["text"].as_str().unwrap());
                        Ok(Value::Null)
                    }
                    Kind::Hang => {
                        let timer = Arc::clone(context.timer());
                        timer
                            .sleep_until(timer.monotonic().after(std::time::Duration::from_secs(3600)))
                            .await;
                        Ok(Value::Null)
                    }
                    Kind::Panic => panic!("the tool's own fault"),
                    Kind::Fails => Err(ToolError::failed("no such order")),
                    Kind::Flood => Ok("x".repeat(2 << 20).into()),
                }
            }
        };
        registry
            .tool(name)
            .description("A test tool")
            .effects([Effect::Write])
            .run_raw(text.clone(), run)
            .unwrap();
    };
    for name in ["echo", "transfer", "soft", "stops", "ungranted"] {
        add(name, Kind::Echo);
    }
    add("tell", Kind::Tell);
    add("hang", Kind::Hang);
    add("panic", Kind::Panic);
    add("flood", Kind::Flood);
    add("fails", Kind::Fails);
    registry.build()
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    /// Its effect is a line on standard output.
    Tell,
    Hang,
    Panic,
    Flood,
    Fails,
}
