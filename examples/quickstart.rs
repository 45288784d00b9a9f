//! The first program: one call allowed, one refused, and the agent gone.
//!
//! `cargo run --example quickstart`; with `-- --record DIR` it leaves a recording.

use std::io::Write as _;

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const POLICY: &str = r#"
version: 1
name: support
rules:
  - id: mail-colleagues
    effect: allow
    calls: [exec]
    tools: ["mail.send"]
    when: { args.to: { matches: '\A[a-z.]+@example\.com\z' } }
"#;

#[derive(Deserialize, JsonSchema)]
struct Mail {
    to: String,
}

#[derive(Serialize)]
struct Receipt {
    sent_to: String,
}

async fn send(mail: Mail) -> Result<Receipt, ToolError> {
    Ok(Receipt { sent_to: mail.to })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(agent_os_examples::recorder()?).await
}

pub(crate) async fn run(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let mut tools = Registry::builder();
    tools
        .tool("mail.send")
        .description("Sends a mail")
        .effects([Effect::Message])
        .run(|_, mail| send(mail))?;
    let policy = Policy::from_yaml("support.yaml", POLICY)?;
    let kernel = Kernel::builder().recorder(recorder).policy(policy).tools(tools.build()).build()?;
    let agent = kernel.spawn(AgentSpec::new("support"))?;
    for to in ["ann@example.com", "eve@evil.example", "ann@example.com"] {
        match agent.exec("mail.send", json!({"to": to})).await {
            Ok(answer) => writeln!(std::io::stdout(), "{to}: {answer}")?,
            Err(error) => writeln!(std::io::stdout(), "{to}: {error} [{}]", error.code())?,
        }
    }
    Ok(())
}
