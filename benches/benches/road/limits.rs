//! What it costs to count: limits of rules and budgets on the road, beside a crate that only counts.

use std::num::NonZeroU32;

use agent_control_plane::atr::Effect;
use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::call::Syscall;
use agent_control_plane::primitives::Resource;
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder, Kernel, Policy};
use agent_os_benches::statistics::{Effort, Figure, Stopwatch, measure};
use agent_os_benches::table::{Table, time};
use anyhow::{Context as _, anyhow, bail, ensure};
use governor::clock::DefaultClock;
use governor::{Quota, RateLimiter};
use serde_json::json;

use crate::options::Options;
use crate::world::{self, at_once};
use crate::{print, progress};

const TOOL: &str = "count";
/// Keys of the keyed limiter, as many as there are accounts of agents in a small kernel.
const KEYS: usize = 100;

/// A limit that always leaves room, so that every call is counted and none refused.
struct Counted {
    name: &'static str,
    /// Further fields of the rule.
    fields: &'static str,
    /// How many of agent, tenant and kernel have a budget of calls and tokens.
    budgets: usize,
}

const COUNTED: [Counted; 8] = [
    by_rule("nothing", ""),
    by_rule("a rate, rolling", ", limits: {rate: 1000000/s}"),
    by_rule("a rate, paced (GCRA)", ", limits: {rate: {rate: 1000000/s, burst: 1000000}}"),
    by_rule("a rate for each tenant", ", limits: {rate: 1000000/s, per: tenant}"),
    by_rule("a concurrency", ", limits: {concurrency: 4}"),
    by_rule(
        "rate, concurrency and cost",
        ", limits: {rate: 1000000/s, concurrency: 4, cost: 1000000 USD/day}",
    ),
    Counted { budgets: 1, ..by_rule("a budget of the agent", "") },
    Counted { budgets: 3, ..by_rule("budgets of agent, tenant and kernel", "") },
];

const fn by_rule(name: &'static str, fields: &'static str) -> Counted {
    Counted { name, fields, budgets: 0 }
}

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut table = Table::of_figures("governed call, counted by");
    let mut more = Table::new(["over the call that nothing counts", "p50", "mean"]);
    let mut least = None;
    for counted in &COUNTED {
        progress(&format!("  {}", counted.name));
        let figure = calls(watch, options, counted)?;
        table.figure(counted.name, &figure);
        match least {
            None => least = Some(figure),
            Some(least) => over(&mut more, counted.name, &least, &figure),
        }
    }
    table.figure("a rate that leaves no room: refused", &refused(watch, options)?);
    for (name, figure) in governor(watch, options)? {
        table.figure(name, &figure);
    }
    print(format!("\n## Limits, recorder in memory\n\n{table}\n{more}"))
}

fn over(table: &mut Table, name: &str, least: &Figure, figure: &Figure) {
    let p50 = figure.p50.saturating_sub(least.p50) as f64;
    table.row([name.to_owned(), time(p50), time((figure.mean - least.mean).max(0.0))]);
}

fn policy(fields: &str) -> anyhow::Result<Policy> {
    let rule = format!("- {{id: r, effect: allow, calls: [exec], tools: [{TOOL}]{fields}}}");
    Ok(Policy::from_yaml("bench.yaml", &format!("version: 1\nname: bench\nrules:\n{rule}\n"))?)
}

fn kernel(counted: &Counted) -> anyhow::Result<Kernel> {
    let mut tools = agent_control_plane::atr::Registry::builder();
    let nothing = async |_: agent_control_plane::atr::CallContext, _: world::ToolArguments| Ok(());
    // It costs a millionth of a dollar, so that a day's limit holds for the whole run.
    let tool = tools.tool(TOOL).description("Does nothing").effects([Effect::Read]);
    tool.cost(Resource::Money("USD".parse()?), 1).run(nothing)?;
    let mut builder = Kernel::builder().policy(policy(counted.fields)?).tools(tools.build());
    if 1 < counted.budgets {
        builder = builder.tenant("acme".parse()?, ample());
    }
    if 2 < counted.budgets {
        builder = builder.budget(ample());
    }
    Ok(builder.recorder(FlightRecorder::memory()?).build()?)
}

fn ample() -> Budget {
    Budget::new().limit(Resource::Calls, u64::MAX >> 1).limit(Resource::Tokens, u64::MAX >> 1)
}

fn call() -> anyhow::Result<Syscall> {
    world::call(TOOL, json!({ "path": "/data/reports/1.txt", "amount": 20 }))
}

fn calls(watch: &Stopwatch, options: &Options, counted: &Counted) -> anyhow::Result<Figure> {
    let kernel = kernel(counted)?;
    let budget = if 0 < counted.budgets { ample() } else { Budget::new() };
    let agent = kernel.spawn(AgentSpec::new("bench").tenant("acme".parse()?).budget(budget))?;
    let call = call()?;
    let figure = measure(watch, options.effort(), 1, |_| anyhow::Ok(at_once(agent.syscall(call.clone()))??))?;
    if 0 < counted.budgets {
        let used = kernel.usage(&AccountId::Agent(agent.id().clone()));
        let calls = used.iter().find(|usage| usage.resource == Resource::Calls);
        ensure!(
            calls.is_some_and(|usage| 0 < usage.used && usage.reserved == 0),
            "the calls were not counted"
        );
    }
    Ok(figure)
}

/// A call when the rate is used up: judged, recorded, refused.
fn refused(watch: &Stopwatch, options: &Options) -> anyhow::Result<Figure> {
    let kernel = kernel(&by_rule("", ", limits: {rate: 1/day}"))?;
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    let call = call()?;
    at_once(agent.syscall(call.clone()))??;
    measure(watch, options.effort(), 1, |_| no_room(&agent, &call))
}

fn no_room(agent: &AgentHandle, call: &Syscall) -> anyhow::Result<()> {
    match at_once(agent.syscall(call.clone()))? {
        Err(CallError::Denied(denial)) if denial.code() == "AK0301" => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("a call was let through that had no room"),
    }
}

/// What a reader would add to count calls: only the check, no decision, no record.
fn governor(watch: &Stopwatch, options: &Options) -> anyhow::Result<[(&'static str, Figure); 2]> {
    let many = NonZeroU32::new(1_000_000_000).context("a billion is zero")?;
    let effort = Effort { ..options.effort() };
    let direct = RateLimiter::direct(Quota::per_second(many));
    let checked = measure(watch, effort, 1, |_| direct.check().map_err(|full| anyhow!("governor: {full}")))?;
    let keys: Vec<String> = (0..KEYS).map(|number| format!("agent-{number}")).collect();
    let keyed = RateLimiter::<String, _, DefaultClock>::dashmap(Quota::per_second(many));
    let by_key = measure(watch, effort, keys.len(), |position| {
        let key = keys.get(position).context("there is no such key")?;
        keyed.check_key(key).map_err(|full| anyhow!("governor: {full}"))
    })?;
    Ok([
        ("governor: one rate, the check alone", checked),
        ("governor: a rate by key, the check alone", by_key),
    ])
}
