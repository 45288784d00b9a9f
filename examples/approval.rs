//! A call that waits for a human: asked, granted, carried out once; asked again with another amount, refused.
//!
//! `cargo run --example approval`; with `-- --record DIR` it leaves a recording.

use std::io::Write as _;

use agent_control_plane::approval::{Approvals, ChannelApprover, Principal, Scope};
use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const POLICY: &str = r#"
version: 1
name: refunds
rules:
  - { id: small, effect: allow, calls: [exec], tools: ["refund"], when: { args.amount: { lte: 100 } } }
  - id: large
    effect: ask
    calls: [exec]
    tools: ["refund"]
    when: { args.amount: { gt: 100 } }
    on_violation: deny            # a no is an answer, not the end of the agent
    ask: { approvers: [treasury], quorum: 1, timeout: 5m, scope: once }
"#;

#[derive(Deserialize, JsonSchema)]
struct Refund {
    amount: u32,
}

#[derive(Serialize)]
struct Refunded {
    refunded: u32,
}

async fn refund(refund: Refund) -> Result<Refunded, ToolError> {
    Ok(Refunded { refunded: refund.amount })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(agent_os_examples::recorder()?).await
}

pub(crate) async fn run(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let mut tools = Registry::builder();
    tools
        .tool("refund")
        .description("Pays money back")
        .effects([Effect::Write])
        .run(|_, args| refund(args))?;
    let ann: Principal = "ann".parse()?;
    // Requests come out of this end; whatever shows them to a human answers through the kernel.
    let (approver, mut requests) = ChannelApprover::new(16);
    let approvals = Approvals::new().approver(approver).group("treasury".parse()?, [ann.clone()]);
    let policy = Policy::from_yaml("refunds.yaml", POLICY)?;
    let kernel = Kernel::builder()
        .recorder(recorder)
        .policy(policy)
        .tools(tools.build())
        .approvals(approvals)
        .build()?;

    let agent = kernel.spawn(AgentSpec::new("support"))?;
    let calls = async {
        for amount in [20, 5000, 9000] {
            match agent.exec("refund", json!({ "amount": amount })).await {
                Ok(answer) => writeln!(std::io::stdout(), "agent: {answer}")?,
                Err(error) => writeln!(std::io::stdout(), "agent: {error} [{}]", error.code())?,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let human = async {
        while let Some(request) = requests.next().await {
            let (agent, what) = (request.agent(), request.what());
            let _ = writeln!(std::io::stdout(), "ann is asked: may {agent} run {what}?");
            let answered = if what.contains("5000") {
                kernel.approve(request.id(), &ann, Scope::Once).map(drop)
            } else {
                kernel.refuse(request.id(), &ann, "too much")
            };
            if let Err(error) = answered {
                let _ = writeln!(std::io::stdout(), "the answer did not count: {error}");
            }
        }
    };
    tokio::select! {
        result = calls => result?,
        () = human => {}
    }
    Ok(())
}
