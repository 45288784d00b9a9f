//! The decision alone: `Policy::decide` on a question that is there already.

use std::convert::Infallible;

use agent_control_plane::Policy;
use agent_control_plane::primitives::{AgentId, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::vfs::VfsPath;
use agent_os_benches::naive;
use agent_os_benches::statistics::{Effort, Figure, Stopwatch, measure};
use agent_os_benches::table::Table;
use agent_os_benches::workload::{Reads, ToolCalls};
use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use crate::conditions;
use crate::options::Options;
use crate::{print, progress};

const RULES: [usize; 4] = [10, 100, 1000, 10_000];

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut decisions = Table::of_figures("decision alone");
    let mut loads = Table::of_figures("load a policy (document to snapshot)");
    for rules in RULES {
        progress(&format!("  {rules} rules"));
        let workload = ToolCalls::new(rules);
        decisions.figure(&format!("tool call, {rules} rules"), &tool_calls(watch, options, &workload)?);
        let document = workload.to_yaml("deny", "");
        loads.figure(
            &format!("{rules} rules, {} KiB", document.len() >> 10),
            &load(watch, options, &document)?,
        );
    }
    for rules in RULES {
        decisions
            .figure(&format!("read of a path, {rules} rules"), &reads(watch, options, &Reads::new(rules))?);
    }
    print(format!("\n## Decision\n\n{decisions}\n{loads}"))?;
    conditions::run(watch, options)
}

/// Measures a workload about tools, after every verdict was held against the naive evaluator.
pub(crate) fn tool_calls(
    watch: &Stopwatch,
    options: &Options,
    workload: &ToolCalls,
) -> anyhow::Result<Figure> {
    let policy = Policy::from_yaml("bench.yaml", &workload.to_yaml("deny", ""))?;
    let asked = tool_questions(workload)?;
    let verdicts = tool_verdicts(&policy, &asked)?;
    let meant = workload.requests.iter().map(|request| naive::allows(&workload.rules, request));
    let wrong = meant.zip(&verdicts).filter(|(meant, given)| meant != *given).count();
    ensure!(wrong == 0, "{wrong} of {} verdicts of ours are wrong", verdicts.len());
    let (agent, facts) = ("bench".parse::<AgentId>()?, Map::new());
    let caller = Caller::new(&agent, &facts);
    let figure = measure(watch, options.effort(), asked.len(), |position| {
        Ok::<_, Infallible>(asked.get(position).map(|asked| policy.decide(&caller, &question(asked))))
    })?;
    Ok(figure)
}

/// Whether each request is allowed by our engine.
pub(crate) fn verdicts(workload: &ToolCalls) -> anyhow::Result<Vec<bool>> {
    let policy = Policy::from_yaml("bench.yaml", &workload.to_yaml("deny", ""))?;
    tool_verdicts(&policy, &tool_questions(workload)?)
}

fn tool_questions(workload: &ToolCalls) -> anyhow::Result<Vec<(ToolId, Value)>> {
    let question = |request: &agent_os_benches::workload::Request| {
        Ok((request.tool.parse()?, Value::Object(request.arguments.clone())))
    };
    workload.requests.iter().map(question).collect()
}

fn tool_verdicts(policy: &Policy, asked: &[(ToolId, Value)]) -> anyhow::Result<Vec<bool>> {
    let (agent, facts) = ("bench".parse::<AgentId>()?, Map::new());
    let caller = Caller::new(&agent, &facts);
    Ok(asked
        .iter()
        .map(|asked| policy.decide(&caller, &question(asked)).verdict() == Verdict::Allow)
        .collect())
}

fn question((id, arguments): &(ToolId, Value)) -> Question<'_> {
    Question::new(CallKind::Exec, Object::Tool { id, arguments })
}

fn reads(watch: &Stopwatch, options: &Options, workload: &Reads) -> anyhow::Result<Figure> {
    let policy = Policy::from_yaml("bench.yaml", &workload.policy)?;
    let paths =
        workload.requests.iter().map(|(path, _)| VfsPath::parse(path)).collect::<Result<Vec<_>, _>>()?;
    let (agent, facts) = ("bench".parse::<AgentId>()?, Map::new());
    let caller = Caller::new(&agent, &facts);
    let decide = |path| policy.decide(&caller, &Question::new(CallKind::Read, Object::File(path)));
    for (path, (_, meant)) in paths.iter().zip(&workload.requests) {
        ensure!((decide(path).verdict() == Verdict::Allow) == *meant, "our verdict on `{path}` is wrong");
    }
    let figure = measure(watch, options.effort(), paths.len(), |position| {
        Ok::<_, Infallible>(paths.get(position).map(&decide))
    })?;
    Ok(figure)
}

fn load(watch: &Stopwatch, options: &Options, document: &str) -> anyhow::Result<Figure> {
    // The largest takes a tenth of a second, which no batch is shorter than.
    let effort = Effort { batches: 1, samples: options.scaled(50), ..options.effort() };
    measure(watch, effort, 1, |_| Policy::from_yaml("bench.yaml", document))
        .context("the workload does not load")
}
