//! What happened, asked and decided again: a query, a replay to the byte, and what a stricter policy would have changed.
//!
//! `cargo run -p agent-os-examples --example replay`; with `-- --record DIR` it leaves a recording.

use std::io::Write as _;

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::primitives::Verdict;
use agent_control_plane::recorder::redact::Kind;
use agent_control_plane::recorder::{Query, Redaction, replay, replay_recorded};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
name: refunds
on_violation: deny
rules:
  - { id: refund, effect: allow, calls: [exec], tools: ["refund"], when: { args.amount: { lte: 100 } } }
"#;

/// Refuses the third refund within an hour.
const STRICTER: &str = r#"
version: 1
name: refunds
on_violation: deny
rules:
  - { id: refund, effect: allow, calls: [exec], tools: ["refund"], when: { args.amount: { lte: 100 } } }
  - { id: often, effect: deny, calls: [exec], tools: ["refund"], when: { count: { tools: [refund], within: 1h, gte: 2 } } }
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(agent_os_examples::recorder()?).await
}

pub(crate) async fn run(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let arguments = json!({ "type": "object", "required": ["amount"],
        "properties": { "amount": { "type": "integer" }, "note": { "type": "string" } } });
    let mut tools = Registry::builder();
    tools
        .tool("refund")
        .description("Pays money back")
        .effects([Effect::Money])
        .run_raw(arguments, |_, _| async { Ok::<_, ToolError>("paid") })?;
    // Card numbers do not get into the record, whatever text they stand in.
    let recorder = recorder.redacting(Redaction::new().detect([Kind::Card]));
    let kernel = Kernel::builder()
        .policy(Policy::from_yaml("refunds.yaml", POLICY)?)
        .tools(tools.build())
        .recorder(recorder)
        .build()?;
    let agent = kernel.spawn(AgentSpec::new("support"))?;
    for (amount, note) in [(20, "late"), (5000, "please"), (30, "card 4111 1111 1111 1111"), (40, "broken")] {
        let _refused_or_paid = agent.exec("refund", json!({ "amount": amount, "note": note })).await;
    }

    let recorder = kernel.recorder();
    say("refused, by the index:")?;
    for stored in recorder.query(&Query::new().verdict(Verdict::Deny))?.records {
        let event = stored.to_json()?;
        say(format_args!("  {}", event.pointer("/request/arguments").unwrap_or(&Value::Null)))?;
    }
    let again = replay_recorded(recorder.events(0))?;
    let redacted: u64 = again.not_judged_by.values().sum();
    say(format_args!(
        "{} decisions: {} made again to the byte, {redacted} not judged, because an argument was redacted",
        again.decisions, again.identical
    ))?;
    say("by a policy that counts:")?;
    let stricter = Policy::from_yaml("stricter.yaml", STRICTER)?.into();
    for flip in replay(recorder.events(0), &stricter)?.changed {
        say(format_args!("  record {}: {} {} -> {}", flip.seq, flip.what, flip.from, flip.to))?;
    }
    Ok(())
}

fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
