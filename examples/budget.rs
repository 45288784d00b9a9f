//! A tenant with one dollar, two agents that share it, and a search that costs up to 30 cents.
//!
//! `cargo run -p agent-os-examples --example budget`; with `-- --record DIR` it leaves a recording.

use std::io::Write as _;

use agent_control_plane::atr::{CallContext, Effect, Registry};
use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::primitives::resource::Currency;
use agent_control_plane::primitives::{Resource, Signal, TenantId};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

const USD: Resource = Resource::Money(Currency::USD);
const CENT: u64 = 10_000;

const POLICY: &str = r#"
version: 1
name: research
rules:
  - id: search
    effect: allow
    calls: [exec]
    tools: ["search"]
    limits: { rate: 100/hour, concurrency: 2, per: tenant }
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(agent_os_examples::recorder()?).await
}

pub(crate) async fn run(recorder: FlightRecorder) -> Result<(), Box<dyn std::error::Error>> {
    let mut tools = Registry::builder();
    tools
        .tool("search")
        .description("Looks something up, for up to 30 cents")
        .effects([Effect::Network])
        .cost(USD, 30 * CENT)
        .run_raw(json!({"type": "object"}), |context: CallContext, _: Value| async move {
            // The provider's bill: less than the declared most.
            let _counted = context.spend(USD, 25 * CENT);
            Ok(json!({"hits": 3}))
        })?;

    let acme: TenantId = "acme".parse()?;
    let kernel = Kernel::builder()
        .recorder(recorder)
        .policy(Policy::from_yaml("research.yaml", POLICY)?)
        .tools(tools.build())
        .tenant(acme.clone(), Budget::new().limit(USD, 100 * CENT))
        .build()?;
    let account = AccountId::Tenant(acme.clone());
    let ada = kernel.spawn(AgentSpec::new("ada").tenant(acme.clone()))?;
    let bob = kernel.spawn(AgentSpec::new("bob").tenant(acme))?;

    for agent in [&ada, &bob, &ada, &bob] {
        search(&kernel, &account, agent).await?;
    }

    say("the model behind them has cost 25 cents meanwhile, and the host books that")?;
    kernel.spend(&account, USD, 25 * CENT)?;
    search(&kernel, &account, &bob).await?;
    say("the host gives another dollar and lets bob go on")?;
    kernel.set_budget(&account, &Budget::new().limit(USD, 200 * CENT))?;
    kernel.signal(bob.id(), Signal::Cont, "more money")?;
    search(&kernel, &account, &bob).await?;

    say("what the recorder kept of it:")?;
    for stored in kernel.recorder().events(0) {
        let event = stored?.to_json()?;
        if matches!(event.get("kind").and_then(Value::as_str), Some("budget" | "host" | "signal")) {
            say(format_args!("  {event}"))?;
        }
    }
    Ok(())
}

async fn search(kernel: &Kernel, account: &AccountId, agent: &AgentHandle) -> std::io::Result<()> {
    let name = agent.id();
    if matches!(kernel.agent(name), Some(AgentState::Stopped { .. })) {
        return say(format_args!("{name} is stopped"));
    }
    match agent.exec("search", json!({})).await {
        Ok(answer) => say(format_args!("{name} found {answer}"))?,
        Err(CallError::Denied(denial)) => say(format_args!("{name}: {denial} [{}]", denial.code()))?,
        Err(error) => say(format_args!("{name}: {error}"))?,
    }
    for usage in kernel.usage(account) {
        let (used, limit) = (usage.resource.amount(usage.used), usage.resource.amount(usage.limit));
        say(format_args!("  {account} has used {used} of {limit}"))?;
    }
    Ok(())
}

fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
