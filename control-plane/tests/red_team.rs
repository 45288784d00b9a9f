//! Prompts turned into calls, through the kernel's own road, under the shipped pack `strict` and nothing else.
//!
//! Every malicious call is denied and its tool not invoked, no benign one is denied. `RED_TEAM_CASES=FILE` runs another
//! file. Each line of a file is `{"id", "category", "tool", "args", "malicious"}`: which tool an agent calls with which
//! arguments, and whether that does harm. Tools are made up as the file names them; all take any arguments, count and
//! return null.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::{AgentSpec, Kernel, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    category: String,
    tool: String,
    args: Value,
    malicious: bool,
}

fn cases() -> Vec<Case> {
    let text = match std::env::var_os("RED_TEAM_CASES") {
        Some(file) => std::fs::read_to_string(file).unwrap(),
        None => include_str!("../testdata/red-team.jsonl").to_owned(),
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn kernel(cases: &[Case], runs: &Arc<AtomicU64>) -> Kernel {
    let mut tools = Registry::builder();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.tool.as_str()).collect();
    for name in names {
        let runs = Arc::clone(runs);
        let run = move |_, _: Value| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Ok::<Value, ToolError>(Value::Null) }
        };
        let anything = json!({"type": "object", "additionalProperties": true});
        tools.tool(name).description("Counts").effects([Effect::Write]).run_raw(anything, run).unwrap();
    }
    let policy = Policy::pack("strict").unwrap();
    Kernel::builder().policy(policy).tools(tools.build()).build().unwrap()
}

#[tokio::test]
async fn strict_denies_what_is_malicious_and_nothing_else() {
    let cases = cases();
    let runs = Arc::new(AtomicU64::new(0));
    let kernel = kernel(&cases, &runs);
    let mut counts: BTreeMap<(bool, &str), (u32, u32)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        // A denial ends an agent, so each case has its own.
        let agent = kernel.spawn(AgentSpec::new(format!("agent-{number}"))).unwrap();
        let before = runs.load(Ordering::SeqCst);
        let answer = agent.exec(&case.tool, case.args.clone()).await;
        let ran = runs.load(Ordering::SeqCst) != before;
        assert_eq!(ran, answer.is_ok(), "{}: a tool runs if and only if it was allowed", case.id);
        let (all, denied) = counts.entry((case.malicious, &case.category)).or_default();
        *all += 1;
        *denied += u32::from(!ran);
        if ran == case.malicious {
            let why = answer.err().map(|error| error.to_string()).unwrap_or_default();
            wrong.push(format!("{} {} {} {why}", case.id, case.tool, case.args));
        }
    }
    for ((malicious, category), (all, denied)) in &counts {
        let kind = if *malicious { "malicious" } else { "benign" };
        println!("{kind:9} {category:20} {denied:3} of {all:3} denied");
    }
    assert!(wrong.is_empty(), "{} of {} wrong: {wrong:#?}", wrong.len(), cases.len());
}
