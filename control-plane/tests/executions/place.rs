//! Where programs run, what they do, and how the host sees from outside what has become of them.

use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_control_plane::atr::executor::{Held, Process};
use agent_control_plane::atr::{
    Access, Artefact, CallContext, Command, Effect, Executors, Level, Limits, Permissions, Registry,
    SandboxPolicy, TokioTimer, ToolError,
};
use agent_control_plane::kernel::{Hosted, KernelBuilder, Programs, Ready};
use agent_control_plane::primitives::{AgentId, Clock as _, ManualClock, Timer as _};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const POLICY: &str = r#"
version: 1
name: executions
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["*", "kernel.spawn"] }
  - { id: no-mail, effect: deny, calls: [exec], tools: ["mail"], on_violation: deny }
  - { id: memory, effect: allow, calls: [read, write, open], paths: ["/mem/**"] }
"#;

const SHELL: &str = "/usr/bin/busybox";

/// Somewhere that programs of the machine run.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) level: Level,
    pub(crate) executors: Executors,
    pub(crate) sandbox: SandboxPolicy,
    pub(crate) permissions: Permissions,
    /// How a stop holds there.
    pub(crate) stopped: Held,
}

/// Every place there is. One that cannot run anything here fails its tests.
pub(crate) fn places() -> Vec<Place> {
    let child = Place {
        level: Level::Child,
        executors: Executors::host(),
        sandbox: SandboxPolicy::at_least(Level::Child),
        permissions: Permissions::none(),
        stopped: Held::Cooperative,
    };
    let process = Place {
        level: Level::Process,
        executors: Executors::none().with(Process::new()),
        sandbox: SandboxPolicy::CONFINED,
        permissions: Permissions::none().folder(SHELL, Access::Execute),
        stopped: Held::Hard,
    };
    vec![child, process]
}

impl Place {
    /// Whether nothing gets away from it, whatever it does.
    pub(crate) fn holds_all(&self) -> bool {
        self.level != Level::Child
    }

    /// A program in the shell; `mark` is what the host finds it by.
    pub(crate) fn shell(script: &str, mark: &str) -> Artefact {
        let args = ["sh", "-c", script, mark].into_iter();
        Artefact::Command(args.fold(Command::new(SHELL), Command::arg))
    }

    pub(crate) fn hosted(&self, artefact: Artefact) -> Hosted {
        let limits = Limits { cpu: Duration::from_secs(300), ..Limits::DEFAULT };
        Hosted::new(self.executors.clone(), [artefact])
            .sandbox(self.sandbox)
            .permissions(self.permissions.clone())
            .limits(limits)
    }
}

/// A kernel on a clock that stands still, with tools that are programs.
pub(crate) struct World {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) clock: ManualClock,
    pub(crate) mark: String,
}

/// Counts to a number, without a pause.
pub(crate) const COUNTED: u64 = 1_000_000;

impl World {
    /// The tools: `spin` never ends, `count` counts to [`COUNTED`], `deaf` spins and ignores `SIGTERM`, `polite` spins until
    /// it answers a `SIGTERM` with 7, `family` leaves processes behind that spin, `wait` waits in place, `echo` answers.
    pub(crate) fn new(place: &Place) -> Self {
        Self::with(place, |builder, _| builder)
    }

    pub(crate) fn with(
        place: &Place,
        more: impl FnOnce(KernelBuilder<Ready>, &str) -> KernelBuilder<Ready>,
    ) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let world = WORLDS.fetch_add(1, Ordering::Relaxed);
        let mark = format!("agent-os-test-{}-{world}-", std::process::id());
        let clock = ManualClock::default();
        let builder = Kernel::builder()
            .policy(Policy::from_yaml("executions.yaml", POLICY).unwrap())
            .tools(tools(place, &mark))
            .recorder(FlightRecorder::memory().unwrap())
            .timer(Arc::new(clock.clone()));
        Self { kernel: Arc::new(more(builder, &mark).build().unwrap()), clock, mark }
    }

    /// An agent, and its call of a tool that is under way: something of it has used the processor.
    pub(crate) async fn running(&self, agent: &str, tool: &str) -> (AgentHandle, JoinHandle<Value>) {
        let handle = self.kernel.spawn(AgentSpec::new(agent)).unwrap();
        let call = self.call(&handle, tool);
        until(|| 0 < ticks(&self.mark)).await;
        (handle, call)
    }

    /// A call of a tool, made by a task of its own. The answer, or the code of the error.
    pub(crate) fn call(&self, agent: &AgentHandle, tool: &str) -> JoinHandle<Value> {
        let (agent, tool) = (agent.clone(), tool.to_owned());
        tokio::spawn(async move {
            agent.exec(&tool, json!({})).await.unwrap_or_else(|error| Value::String(error.code().to_owned()))
        })
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        processes(&self.mark)
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

    /// That no process of the test is left in a moment, where nobody has waited for that.
    pub(crate) async fn nothing_will_be_left(&self) {
        until(|| self.processes().is_empty()).await;
    }

    /// That no process of the test is left, now or, where a place does not wait for that, in a moment.
    pub(crate) async fn nothing_is_left(&self, place: &Place) {
        if !place.holds_all() {
            self.nothing_will_be_left().await;
        }
        assert_eq!(self.processes(), [0; 0], "{}", place.level);
    }

    /// That no process of the test uses the processor for a while.
    pub(crate) async fn nothing_runs(&self, place: &Place) {
        if !place.holds_all() {
            until(|| {
                self.processes().iter().all(|process| stat(*process).is_none_or(|(state, _)| state == 'T'))
            })
            .await;
        }
        let before = ticks(&self.mark);
        real(Duration::from_millis(300)).await;
        assert_eq!(ticks(&self.mark) - before, 0, "{}: processor time while stopped", place.level);
    }

    /// The events of an agent as JSON.
    pub(crate) fn events(&self, agent: &str) -> Vec<Value> {
        let events = self.kernel.recorder().events(0).map(Result::unwrap);
        let events = events.map(|stored| stored.event().unwrap().to_json());
        events.filter(|event| event["agent"] == agent).collect()
    }
}

fn tools(place: &Place, mark: &str) -> Registry {
    let scripts = [
        ("spin", "while :; do :; done".to_owned()),
        ("count", format!("i=0; while [ $i -lt {COUNTED} ]; do i=$((i+1)); done; echo $i")),
        ("deaf", "trap '' TERM; while :; do :; done".to_owned()),
        ("polite", "trap 'echo 7; exit' TERM; while :; do :; done".to_owned()),
        ("family", family(place, mark)),
    ];
    let limits = Limits { cpu: Duration::from_secs(300), ..Limits::DEFAULT };
    let mut registry = Registry::builder().executors(place.executors.clone());
    for (name, script) in scripts {
        registry
            .tool(name)
            .description("Test.")
            .effects([Effect::Read])
            .limits(limits)
            .isolation(place.sandbox)
            .permissions(place.permissions.clone())
            .program(json!({"type": "object"}), [Place::shell(&script, mark)])
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

/// A tree whose processes have lost their parents, and where the place holds them even so, left their group and session.
pub(crate) fn family(place: &Place, mark: &str) -> String {
    let spin = "while :; do :; done";
    let child = if place.holds_all() {
        format!("{SHELL} setsid {SHELL} sh -c '{spin}' {mark}")
    } else {
        format!("({spin})")
    };
    format!("({child} &); ({child} &); {spin}")
}

pub(crate) fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

/// Runs a test at every place.
pub(crate) fn everywhere<F: Future<Output = ()>>(test: impl Fn(Place) -> F) {
    for place in places() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(test(place));
    }
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

/// The processes with this mark in their command line, zombies not among them.
pub(crate) fn processes(mark: &str) -> Vec<u32> {
    let numbers =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut marked: Vec<u32> = numbers
        .filter(|number| *number != std::process::id())
        .filter(|number| {
            let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes())
        })
        .collect();
    marked.sort_unstable();
    marked
}

/// State and processor time of a process, in ticks.
fn stat(process: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[0].chars().next()?, fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?))
}

/// Processor time of everything with this mark, in ticks.
pub(crate) fn ticks(mark: &str) -> u64 {
    processes(mark).into_iter().filter_map(stat).map(|(_, ticks)| ticks).sum()
}

/// Programs of children, run by the runtime of the test.
pub(crate) fn programs() -> Programs {
    Programs::new(|task| drop(tokio::spawn(task)))
}
