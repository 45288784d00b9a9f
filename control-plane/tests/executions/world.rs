//! One kernel with programs that are its tools, and what has become of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_control_plane::atr::executor::Held;
use agent_control_plane::atr::{CallContext, Effect, Registry, TokioTimer, ToolError};
use agent_control_plane::kernel::{KernelBuilder, Programs, Ready};
use agent_control_plane::primitives::{AgentId, Clock as _, ManualClock, Timer as _};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::place::{Does, LIMITS, Place};
use crate::seen::{Eye, Mark};

const POLICY: &str = r#"
version: 1
name: executions
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["*", "kernel.spawn"] }
  - { id: no-mail, effect: deny, calls: [exec], tools: ["mail"], on_violation: deny }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
"#;

/// A kernel on a clock that stands still, with tools that are programs.
pub(crate) struct World {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) clock: ManualClock,
    pub(crate) mark: Mark,
    eye: Eye,
    /// Processor time that others had used on the same threads before.
    used_before: u64,
}

impl World {
    /// The tools: all that programs [do](Does), as far as they do it at this place; `wait` waits in place, `echo` answers.
    pub(crate) fn new(place: &Place) -> Self {
        Self::with(place, |builder, _| builder)
    }

    pub(crate) fn with(
        place: &Place,
        more: impl FnOnce(KernelBuilder<Ready>, &Mark) -> KernelBuilder<Ready>,
    ) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let mark = Mark::new(WORLDS.fetch_add(1, Ordering::Relaxed));
        let clock = ManualClock::default();
        let builder = Kernel::builder()
            .policy(Policy::from_yaml("executions.yaml", POLICY).unwrap())
            .tools(tools(place, &mark))
            .recorder(FlightRecorder::memory().unwrap())
            .timer(Arc::new(clock.clone()));
        let kernel = Arc::new(more(builder, &mark).build().unwrap());
        let eye = place.eye.clone();
        let used_before = if matches!(eye, Eye::Guests { .. }) { eye.ticks(&mark) } else { 0 };
        Self { kernel, clock, mark, eye, used_before }
    }

    /// An agent, and its call of a tool that is under way: it computes.
    pub(crate) async fn running(&self, agent: &str, tool: &str) -> (AgentHandle, JoinHandle<Value>) {
        let handle = self.kernel.spawn(AgentSpec::new(agent)).unwrap();
        let call = self.call(&handle, tool);
        self.computes().await;
        (handle, call)
    }

    /// Waits until the programs compute: what prepared one, before it became that program, used the processor too.
    pub(crate) async fn computes(&self) {
        until(|| 0 < self.alive()).await;
        let before = self.ticks();
        until(|| before + 2 < self.ticks()).await;
    }

    /// A call of a tool, made by a task of its own. The answer, or the code of the error.
    pub(crate) fn call(&self, agent: &AgentHandle, tool: &str) -> JoinHandle<Value> {
        let (agent, tool) = (agent.clone(), tool.to_owned());
        tokio::spawn(async move {
            agent.exec(&tool, json!({})).await.unwrap_or_else(|error| Value::String(error.code().to_owned()))
        })
    }

    /// How many programs of this world are there.
    pub(crate) fn alive(&self) -> usize {
        self.eye.alive(&self.mark)
    }

    /// Processor time that they have used, in ticks.
    pub(crate) fn ticks(&self) -> u64 {
        self.eye.ticks(&self.mark).saturating_sub(self.used_before)
    }

    /// How the programs of an agent are held, once the last signal to it has taken hold. An executor looks for that from time
    /// to time, and time is what the test makes it.
    pub(crate) async fn settled(&self, agent: &str) -> Vec<Held> {
        let agent = id(agent);
        tokio::select! {
            held = self.kernel.settled(&agent) => held.unwrap(),
            () = self.time_passes() => unreachable!("it does not end"),
        }
    }

    /// That the programs of an agent come to be held like this. One that the host sees may not be registered yet, and is held
    /// as soon as it is.
    pub(crate) async fn comes_to(&self, agent: &str, expected: &[Held]) {
        let timer = TokioTimer::new();
        let give_up = timer.monotonic().after(Duration::from_secs(30));
        loop {
            let held = self.settled(agent).await;
            if held == expected {
                return;
            }
            assert!(timer.monotonic() < give_up, "`{agent}` comes to {held:?}, not {expected:?}");
            real(Duration::from_millis(5)).await;
        }
    }

    /// Lets the time of the kernel pass, slowly.
    pub(crate) async fn time_passes(&self) {
        loop {
            real(Duration::from_millis(2)).await;
            self.clock.advance(Duration::from_millis(2));
        }
    }

    /// That no program of the test is left in a moment, where nobody has waited for that.
    pub(crate) async fn nothing_will_be_left(&self) {
        until(|| self.alive() == 0).await;
    }

    /// That no program of the test is left, now or, where a place does not wait for that, in a moment.
    pub(crate) async fn nothing_is_left(&self, place: &Place) {
        if !place.holds_all() {
            self.nothing_will_be_left().await;
        }
        assert_eq!(self.alive(), 0, "{}", place.level);
    }

    /// That no program of the test uses the processor for a while.
    pub(crate) async fn nothing_runs(&self, place: &Place) {
        if !place.holds_all() {
            until(|| self.eye.all_stopped(&self.mark)).await;
        }
        let before = self.ticks();
        real(Duration::from_millis(300)).await;
        let used = self.ticks() - before;
        assert!(used <= self.eye.noise(), "{}: {used} ticks of processor time while stopped", place.level);
    }

    /// The events of an agent as JSON.
    pub(crate) fn events(&self, agent: &str) -> Vec<Value> {
        let events = self.kernel.recorder().events(0).map(Result::unwrap);
        let events = events.map(|stored| stored.event().unwrap().to_json());
        events.filter(|event| event["agent"] == agent).collect()
    }
}

fn tools(place: &Place, mark: &Mark) -> Registry {
    let mut registry = Registry::builder().executors(place.executors.clone());
    for (name, does) in Does::ALL {
        let Some(program) = place.tool(does, mark) else { continue };
        registry
            .tool(name)
            .description("Test.")
            .effects([Effect::Read])
            .limits(LIMITS)
            .isolation(place.sandbox)
            .permissions(place.permissions.clone())
            .program(json!({"type": "object"}), [program])
            .unwrap();
    }
    let wait = |context: CallContext, _: Value| async move {
        let never = context.timer().monotonic().after(Duration::from_secs(1_000_000));
        context.timer().sleep_until(never).await;
        Ok::<Value, ToolError>(Value::Null)
    };
    let object = || json!({"type": "object", "additionalProperties": true});
    registry.tool("wait").description("Test.").effects([Effect::Read]).run_raw(object(), wait).unwrap();
    let echo = |_: CallContext, arguments: Value| async move { Ok::<Value, ToolError>(arguments) };
    registry.tool("echo").description("Test.").effects([Effect::Read]).run_raw(object(), echo).unwrap();
    registry.tool("mail").description("Test.").effects([Effect::Message]).run_raw(object(), echo).unwrap();
    registry.build()
}

pub(crate) fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

/// Time as it passes outside of the kernel under test.
pub(crate) async fn real(span: Duration) {
    let timer = TokioTimer::new();
    timer.sleep_until(timer.monotonic().after(span)).await;
}

/// Looks again and again; the limit is only there so that a failing test ends.
pub(crate) async fn until(done: impl Fn() -> bool) {
    let timer = TokioTimer::new();
    let give_up = timer.monotonic().after(Duration::from_secs(30));
    while !done() {
        assert!(timer.monotonic() < give_up, "it never happened");
        real(Duration::from_millis(5)).await;
    }
}

/// Programs of children, run by the runtime of the test.
pub(crate) fn programs() -> Programs {
    Programs::new(|task| drop(tokio::spawn(task)))
}
