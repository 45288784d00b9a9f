//! One call of a tool that does nothing, beside the same function called by hand.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_os_benches::statistics::{Effort, Stopwatch, measure};
use agent_os_benches::table::{Table, time};
use agent_primitives::{AgentId, ToolId};
use agent_tool_registry::invoke::{Metrics, Outcome};
use agent_tool_registry::{
    AccessRule, AccessRules, Arguments, Caller, Invoker, MemoryAudit, Quotas, Registry, TokioTimer,
};
use anyhow::{Context as _, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Scale, print};

/// Ten fields of the kinds that tools take.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ten {
    to: String,
    subject: String,
    text: String,
    #[schemars(range(min = 0, max = 9))]
    priority: u8,
    copies: Vec<String>,
    draft: bool,
    after: Option<String>,
    width: f64,
    height: f64,
    account: u64,
}

#[derive(Serialize)]
struct Done {
    characters: usize,
}

pub(crate) fn run(watch: &Stopwatch, scale: Scale) -> anyhow::Result<()> {
    let effort = Effort {
        warm_up: Duration::from_millis(200),
        batch: Duration::from_millis(2),
        batches: scale.of(50),
        repetitions: 5,
        samples: scale.of(50_000),
        longest: Duration::from_secs(5),
    };
    let tools = tools()?;
    let text = serde_json::to_vec(&arguments(40))?;
    let mut table = Table::of_figures("an empty function with ten arguments");

    let by_hand = measure(watch, effort, 1, |_| anyhow::Ok(empty(&serde_json::from_slice(&text)?)))?;
    table.figure("by hand: deserialise, call", &by_hand);
    let schema = serde_json::to_value(schemars::schema_for!(Ten))?;
    let validator = jsonschema::validator_for(&schema)?;
    let validated = measure(watch, effort, 1, |_| {
        let value = serde_json::from_slice(&text)?;
        if !validator.is_valid(&value) {
            bail!("the arguments do not fit");
        }
        anyhow::Ok(empty(&serde_json::from_value(value)?))
    })?;
    table.figure("by hand: the same with jsonschema before", &validated);
    let (id, caller) = ("t".parse::<ToolId>()?, "bench".parse::<AgentId>()?);
    let prepared = measure(watch, effort, 1, |_| tools.prepare(&id, Arguments::parse(&text)?))?;
    table.figure("prepare: parse, canonical bytes, digest, validate", &prepared);
    let permissive = Invoker::permissive(tools.clone(), Arc::new(TokioTimer::new()), MemoryAudit::new(1024));
    let least = measure(watch, effort, 1, |_| now(permissive.invoke(caller.clone(), "t", &text)))?;
    table.figure("invoke, permissive", &least);
    let invoker = Invoker::builder(tools, Arc::new(TokioTimer::new()), MemoryAudit::new(1024))
        .authorizer(rules())
        .quotas(Quotas::none().per_principal("1000000/s".parse()?).per_tool("1000000/s".parse()?))
        .build();
    let who = Caller::new(caller).with_role("clerk").with_attribute("branch", "oslo");
    let full = measure(watch, effort, 1, |_| now(invoker.invoke(who.clone(), "t", &text)))?;
    table.figure("invoke, with 50 rules, two rates, audit to memory", &full);
    print(format!("\n## Calls\n\n{table}"))?;

    let mut table = Table::of_figures("arguments of 1 KiB");
    let kilobyte = serde_json::to_vec(&arguments(1024 - text.len() + 40))?;
    let parsed = Arguments::parse(&kilobyte)?;
    let value = parsed.value();
    let checked = measure(watch, effort, 1, |_| validator.is_valid(value).then_some(()).context("no fit"))?;
    table.figure("jsonschema alone", &checked);
    let parsing = measure(watch, effort, 1, |_| Arguments::parse(&kilobyte))?;
    table.figure("parse, canonical bytes, digest", &parsing);
    let tools = permissive.registry();
    let prepared = measure(watch, effort, 1, |_| tools.prepare(&id, parsed.clone()))?;
    table.figure("validate and deserialise", &prepared);
    print(format!("\n{table}"))?;

    let (metrics, records) = (Metrics::default(), scale.of(1_000_000));
    let start = watch.read();
    for number in 0..records {
        metrics.record(black_box(&id), Outcome::Answered, Duration::from_nanos(number as u64));
    }
    let took = watch.lap(start) as f64;
    print(format!("\n{records} calls counted in {}, {} each", time(took), time(took / records as f64)))
}

fn empty(ten: &Ten) -> Done {
    Done { characters: ten.text.len() }
}

fn arguments(length: usize) -> Ten {
    Ten {
        to: "ada@example.org".to_owned(),
        subject: "Minutes".to_owned(),
        text: "x".repeat(length),
        priority: 3,
        copies: vec!["bob@example.org".to_owned(), "eve@example.org".to_owned()],
        draft: false,
        after: None,
        width: 1.5,
        height: 2.25,
        account: 4711,
    }
}

fn tools() -> anyhow::Result<Registry> {
    let mut tools = Registry::builder();
    tools.tool("t").description("Does nothing.").run(|_cx, ten: Ten| async move { Ok(empty(&ten)) })?;
    Ok(tools.build())
}

/// Rules of which the last allows the call.
fn rules() -> AccessRules {
    let others = (0..49).map(|number| AccessRule::allow(format!("other.{number}")).roles(["clerk"]));
    others.chain([AccessRule::allow("t").roles(["clerk"]).attribute("branch", "oslo")]).collect()
}

/// The answer of a call that waits for nothing.
fn now<T, E>(call: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer?),
        Poll::Pending => bail!("the call waits"),
    }
}
