//! A kernel that an operator can reach while it runs: `cargo run -p agent-os-examples --example live -- /tmp/aos.sock`, and from
//! another terminal `agentctl ps --socket /tmp/aos.sock`, `agentctl approvals …`, `agentctl shutdown …`.
//!
//! An agent asks again and again to send a message, which a human has to agree to. It ends when the kernel is shut down. With
//! `--record DIR` behind the socket's path it leaves a recording.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use agent_control_plane::atr::{Registry, TokioTimer, ToolError};
use agent_control_plane::primitives::{Clock as _, Timer as _};
use agent_control_plane::{AgentHandle, AgentSpec, Approvals, CallError, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
name: live
rules:
  - { id: notes, effect: allow, calls: [read, write], paths: ["/mem/working/**"] }
  - { id: messages, effect: ask, calls: [exec], tools: ["send"], on_violation: deny, ask: { timeout: 1h } }
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("say where the control socket is to be")?;
    run(agent_os_examples::recorder()?, path.as_ref()).await
}

pub(crate) async fn run(recorder: FlightRecorder, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let kernel = Kernel::builder()
        .recorder(recorder)
        .policy(Policy::from_yaml("live.yaml", POLICY)?)
        .tools(tools()?)
        .approvals(Approvals::new())
        .build()?;
    // Whoever is this user may speak for `operator` when an approval is answered.
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self")?);
    let control = kernel.serve_control(path)?.principal(user, "operator".parse()?);
    writeln!(std::io::stdout(), "ready")?;
    let clerk = kernel.run(AgentSpec::new("clerk"), clerk);
    let (served, status) = tokio::join!(control.serve(), clerk);
    served?;
    writeln!(std::io::stdout(), "the clerk {}", status?)?;
    Ok(())
}

/// Sends a message an hour, each with a human's consent, until it is told to end.
async fn clerk(agent: AgentHandle) -> i32 {
    let timer = TokioTimer::new();
    for number in 0.. {
        match agent.exec("send", json!({ "text": format!("report {number}") })).await {
            Ok(_sent) => timer.sleep_until(timer.monotonic().after(Duration::from_secs(3600))).await,
            // A human said no: that message is not sent.
            Err(CallError::Denied(_)) => {}
            Err(_gone) => return 1,
        }
    }
    0
}

fn tools() -> Result<Registry, Box<dyn std::error::Error>> {
    let mut tools = Registry::builder();
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    tools.tool("send").description("Sends a message").run_raw(
        schema,
        |_context, message: Value| async move {
            let _ = writeln!(std::io::stdout(), "sent {}", message.get("text").unwrap_or(&Value::Null));
            Ok::<_, ToolError>(json!("sent"))
        },
    )?;
    Ok(tools.build())
}
