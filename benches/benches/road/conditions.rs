//! What the things a rule can say beyond tool and argument add: to the decision, and to the whole call.

use std::convert::Infallible;

use agent_control_plane::atr::{ArgumentRole, Effect};
use agent_control_plane::flow::Argument;
use agent_control_plane::history::History;
use agent_control_plane::policy::PolicySet;
use agent_control_plane::primitives::{AgentId, LabelSet, TenantId, Timestamp, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::{AgentSpec, FlightRecorder, Policy};
use agent_os_benches::statistics::{Figure, Stopwatch, measure};
use agent_os_benches::table::Table;
use anyhow::ensure;
use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::world::{self, at_once};
use crate::{print, progress};

/// Rules of each policy, one tool each.
const RULES: usize = 100;
/// Tools that are called, so that what an agent gathers of labels stays the same from row to row.
const CALLED: usize = 8;
/// What the agent did before, where conditions look back.
const DEEDS: usize = 100;

/// What one row adds to each rule.
struct Variant {
    name: &'static str,
    /// Further fields of each rule.
    fields: &'static str,
    /// How many layers of these rules apply.
    layers: usize,
    /// What the agent starts out with.
    labels: &'static [&'static str],
    /// Whether whole calls are measured as well.
    called: bool,
}

const VARIANTS: [Variant; 10] = [
    plain("nothing", ""),
    plain("an argument under a folder", ", when: {args.path: {path: {under: [/data]}}}"),
    plain(
        "a window of time in a zone",
        ", when: {time: {zone: Europe/Berlin, from: \"00:00\", to: \"24:00\"}}",
    ),
    Variant {
        labels: &["own:a", "own:b", "own:c", "own:d"],
        ..plain("labels of the agent", ", when: {labels: {none_of: [secret]}}")
    },
    Variant {
        labels: &["own:a", "own:b", "own:c", "own:d"],
        ..plain("labels of the arguments, traced", ", when: {labels.authority: {none_of: [secret]}}")
    },
    plain("a count of all its calls", ", when: {count: {tools: [\"tool_*\"], lt: 1000000000}}"),
    // An agent that makes more calls in a window than a history keeps is refused, and a bench makes more.
    Variant {
        called: false,
        ..plain(
            "a count of 100 calls in the last hour",
            ", when: {count: {tools: [\"tool_*\"], within: 1h, lt: 1000000}}",
        )
    },
    plain("a rate", ", limits: {rate: 1000000/s}"),
    Variant { layers: 2, ..plain("nothing, organisation and tenant", "") },
    Variant { layers: 3, ..plain("nothing, organisation, tenant and agent", "") },
];

const fn plain(name: &'static str, fields: &'static str) -> Variant {
    Variant { name, fields, layers: 1, labels: &[], called: true }
}

impl Variant {
    fn set(&self) -> anyhow::Result<PolicySet> {
        let policy = |layer: usize| {
            let mut text = format!("version: 1\nname: bench-{layer}\non_violation: deny\nrules:\n");
            for number in 0..RULES {
                let fields = self.fields;
                text += &format!(
                    "- {{id: r{number}, effect: allow, calls: [exec], tools: [tool_{number}]{fields}}}\n"
                );
            }
            Policy::from_yaml("bench.yaml", &text)
        };
        let mut builder = PolicySet::builder(policy(0)?);
        if 1 < self.layers {
            builder = builder.tenants("acme", policy(1)?);
        }
        if 2 < self.layers {
            builder = builder.agents("bench", policy(2)?);
        }
        Ok(builder.build()?)
    }

    fn labels(&self) -> anyhow::Result<LabelSet> {
        let labels = self.labels.iter().map(|label| label.parse()).collect::<Result<Vec<_>, _>>()?;
        Ok(LabelSet::new(labels)?)
    }
}

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut decisions = Table::of_figures(&format!("decision, {RULES} rules, each with"));
    let mut calls = Table::of_figures(&format!("governed call, {RULES} rules, each with"));
    for variant in &VARIANTS {
        progress(&format!("  {}", variant.name));
        decisions.figure(variant.name, &decision(watch, options, variant)?);
        if variant.called {
            calls.figure(variant.name, &call(watch, options, variant)?);
        }
    }
    print(format!("\n### What a rule says\n\n{decisions}\n{calls}"))
}

fn arguments(number: usize) -> Value {
    json!({ "path": format!("/data/reports/{number}.txt"), "amount": number })
}

fn decision(watch: &Stopwatch, options: &Options, variant: &Variant) -> anyhow::Result<Figure> {
    let set = variant.set()?;
    let asked: Vec<(ToolId, Value)> = (0..CALLED)
        .map(|number| Ok((format!("tool_{number}").parse()?, arguments(number))))
        .collect::<anyhow::Result<_>>()?;
    let labels = variant.labels()?;
    let carried = [
        Argument::new("path", ArgumentRole::Authority, labels.clone()),
        Argument::new("amount", ArgumentRole::Content, LabelSet::EMPTY),
    ];
    let (agent, tenant, facts) = ("bench".parse::<AgentId>()?, "acme".parse::<TenantId>()?, Map::new());
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let mut history = History::default();
    for (number, (id, arguments)) in (0..DEEDS).zip(asked.iter().cycle()) {
        let time = Timestamp::from_micros(now.as_micros() - (DEEDS - number) as i64 * 1_000_000);
        history.note(&Question::new(CallKind::Exec, Object::Tool { id, arguments }), time);
    }
    let caller = Caller::new(&agent, &facts).of_tenant(Some(&tenant)).having_read(&labels);
    let caller = caller.having_done(&history).at(now);
    let decide = |(id, arguments): &(ToolId, Value)| {
        let question = Question::new(CallKind::Exec, Object::Tool { id, arguments });
        set.decide(&caller, &question.carrying(Some(&carried)))
    };
    for asked in &asked {
        ensure!(decide(asked).verdict() == Verdict::Allow, "`{}` is refused by {}", asked.0, variant.name);
    }
    let figure = measure(watch, options.effort(), asked.len(), |position| {
        Ok::<_, Infallible>(asked.get(position).map(decide))
    })?;
    Ok(figure)
}

fn call(watch: &Stopwatch, options: &Options, variant: &Variant) -> anyhow::Result<Figure> {
    let ids: Vec<String> = (0..RULES).map(|number| format!("tool_{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let builder = world::builder(variant.set()?, &ids, Effect::Read)?;
    let kernel = builder.recorder(FlightRecorder::memory()?).build()?;
    let spec = AgentSpec::new("bench").tenant("acme".parse()?).labels(variant.labels()?);
    let agent = kernel.spawn(spec)?;
    let calls = ids.iter().zip(0..CALLED).map(|(id, number)| world::call(id, arguments(number)));
    let calls = calls.collect::<anyhow::Result<Vec<_>>>()?;
    measure(watch, options.effort(), calls.len(), |position| {
        let call = calls.get(position).cloned().ok_or_else(|| anyhow::anyhow!("there is no such call"))?;
        anyhow::Ok(at_once(agent.syscall(call))??)
    })
}
