//! Agents that are programs: one in Python that works under a policy, in a sandbox, and one that never awaits and is killed.
//!
//! `cargo run --example process_agent`; with `-- --record DIR` it leaves a recording. It needs Linux and `/usr/bin/python3`, and
//! runs nothing where it cannot be confined.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::atr::executor::Process;
use agent_control_plane::atr::{
    Access, Artefact, Command, Effect, Executors, Permissions, Registry, TokioTimer, ToolError,
};
use agent_control_plane::kernel::Hosted;
use agent_control_plane::primitives::{AgentId, Clock as _, Signal, Timer as _};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const POLICY: &str = r#"
version: 1
name: workers
on_violation: deny
rules:
  - { id: sums, effect: allow, calls: [exec], tools: ["sum"] }
  - { id: memory, effect: allow, calls: [read, write], paths: ["/mem/working/**"] }
"#;

#[derive(Deserialize, JsonSchema)]
struct Numbers {
    numbers: Vec<i64>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Mail {
    to: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(agent_os_examples::recorder()?).await
}

pub(crate) async fn run(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let mut tools = Registry::builder();
    tools.tool("sum").description("Adds numbers").run(|_, Numbers { numbers }| async move {
        Ok::<i64, ToolError>(numbers.iter().fold(0, |sum, number| sum.saturating_add(*number)))
    })?;
    tools
        .tool("mail.send")
        .description("Sends a mail")
        .effects([Effect::Message])
        .run(|_, mail: Mail| async move { Ok::<Mail, ToolError>(mail) })?;
    let policy = Policy::from_yaml("workers.yaml", POLICY)?;
    let kernel = Kernel::builder().recorder(recorder).policy(policy).tools(tools.build()).build()?;

    let worker = python("worker.py").on_stderr(|_, text| drop(std::io::stdout().write_all(text)));
    let end = kernel.host(AgentSpec::new("worker"), worker, json!({"numbers": [1, 2, 39]})).await?;
    writeln!(std::io::stdout(), "worker {end}")?;

    let spinner = kernel.host(AgentSpec::new("spinner"), python("spinner.py"), json!(null));
    let id: AgentId = "spinner".parse()?;
    let end = tokio::select! {
        end = spinner => end?,
        // It is killed while it computes; it never gets to the point where it could agree.
        failed = enough(&kernel, &id) => return Err(failed),
    };
    writeln!(std::io::stdout(), "spinner {end}")?;
    Ok(())
}

/// A program in the clients' folder, in a sandbox that shows it that folder and the interpreter.
fn python(program: &str) -> Hosted {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let script = clients.join(program).display().to_string();
    let command = Command::new("/usr/bin/python3").arg("-B").arg(script);
    Hosted::new(Executors::none().with(Process::new()), [Artefact::Command(command)])
        .permissions(Permissions::system().folder(clients, Access::Read))
}

/// Stops the agent after a while, looks how it is held, and kills it. It resolves only if that fails.
async fn enough(kernel: &Kernel, agent: &AgentId) -> Box<dyn std::error::Error> {
    let timer = Arc::new(TokioTimer::new());
    timer.sleep_until(timer.monotonic().after(Duration::from_millis(500))).await;
    let killed = async {
        kernel.signal(agent, Signal::Stop, "let me look")?;
        let held = kernel.settled(agent).await?;
        writeln!(std::io::stdout(), "spinner is stopped: {held:?}")?;
        kernel.signal(agent, Signal::Kill, "it does not listen")?;
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    match killed.await {
        Ok(()) => std::future::pending().await,
        Err(failed) => failed,
    }
}
