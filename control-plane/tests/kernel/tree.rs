//! What every agent finds in its tree, and what is out of its reach.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::kernel::{DECLASSIFY, SPAWN, Widening};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, Kernel, Policy};
use serde_json::{Value, json};

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn policy(rules: &str) -> Policy {
    let look = "{id: look, effect: allow, calls: [read], paths: ['/', '/**']}";
    let text = format!("{{version: 1, on_violation: deny, rules: [{look}, {rules}]}}");
    Policy::from_yaml("tree.yaml", &text).unwrap()
}

fn kernel(rules: &str) -> Kernel {
    let mut tools = Registry::builder();
    for name in ["a", "a-b", "b", "mcp.x/get", "mcp.x/put", "reads"] {
        let effect = if name == "reads" { Effect::Read } else { Effect::Write };
        let run = |_context, _: Value| async { Ok::<_, ToolError>(json!(null)) };
        let schema = json!({"type": "object", "properties": {"x": {"type": "integer"}}});
        tools.tool(name).description("A tool").effects([effect]).run_raw(schema, run).unwrap();
    }
    Kernel::builder().policy(policy(rules)).tools(tools.build()).build().unwrap()
}

fn spawn(kernel: &Kernel) -> AgentHandle {
    kernel.spawn(AgentSpec::new("w").fact("role", "worker")).unwrap()
}

fn lines(agent: &AgentHandle, path: &str) -> Vec<Value> {
    let bytes = now(agent.read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    std::str::from_utf8(&bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn listed(agent: &AgentHandle, path: &str) -> Vec<String> {
    lines(agent, path).iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
}

/// The tools that the agent is shown.
fn shown(agent: &AgentHandle) -> Vec<String> {
    lines(agent, "/tools/all.jsonl").iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_root_lists_the_whole_tree() {
    let agent = spawn(&kernel(""));
    let root = listed(&agent, "/");
    for name in ["audit", "ipc", "mem", "policy", "tools"] {
        assert!(root.contains(&name.to_owned()), "{root:?}");
    }
    assert_eq!(listed(&agent, "/agent/w"), root);
    for other in ["/agent/v", "/agent/v/ipc/inbox", "/agent/v/tools/a.json", "/agent"] {
        let error = now(agent.read(other)).unwrap_err();
        assert_eq!(error.code(), "AK0431", "{other}");
    }
}

#[test]
fn tools_hold_what_some_call_could_get_and_nothing_else() {
    let allow = |tool: &str, rest: &str| {
        format!("{{id: may, effect: allow, calls: [exec], tools: ['{tool}']{rest}}}")
    };
    let deny = |tool: &str, rest: &str| {
        format!("{{id: may-not, effect: deny, calls: [exec], tools: ['{tool}']{rest}}}")
    };
    let ask = |tool: &str| format!("{{id: ask, effect: ask, calls: [exec], tools: ['{tool}']}}");
    let cases: &[(String, &[&str])] = &[
        (String::new(), &[]),
        (allow("*", ""), &["a", "a-b", "b", SPAWN, "mcp.x/get", "mcp.x/put", "reads"]),
        (format!("{}, {}", allow("*", ""), deny("mcp.*", "")), &["a", "a-b", "b", SPAWN, "reads"]),
        (format!("{}, {}", allow("a", ""), deny("a", ", when: {args.x: {gt: 1}}")), &["a"]),
        (format!("{}, {}", allow("a", ""), deny("a", ", when: {context.role: {eq: worker}}")), &[]),
        (format!("{}, {}", allow("a", ""), deny("a", ", when: {context.role: {eq: boss}}")), &["a"]),
        // An error in a condition counts against the caller.
        (format!("{}, {}", allow("a", ""), deny("a", ", when: {context.none: {eq: 1}}")), &[]),
        (allow("a", ", when: {context.none: {eq: 1}}"), &[]),
        (allow("a", ", when: {context.role: {eq: boss}}"), &[]),
        (allow("a", ", agents: [v]"), &[]),
        (allow("a", ", tenants: [acme]"), &[]),
        (allow("a", ", when: {labels: {any_of: [secret]}}"), &["a"]),
        (format!("{}, {}", allow("a", ""), deny("a", ", when: {labels: {any_of: [secret]}}")), &["a"]),
        (ask("b"), &["b"]),
        (format!("{}, {}", ask("b"), deny("b", "")), &[]),
        (allow("*", ", when: {effects: {only: [read]}}"), &["reads"]),
        // Starting a child is judged like any tool; taking labels off wants a human.
        (allow(DECLASSIFY, ""), &[]),
        (ask(DECLASSIFY), &[DECLASSIFY]),
    ];
    for (rules, wanted) in cases {
        let agent = spawn(&kernel(rules));
        assert_eq!(shown(&agent), *wanted, "{rules}");
    }
}

#[test]
fn tools_follow_a_reload_and_the_policy_the_agent_was_spawned_under() {
    let allow = |tools: &str| format!("{{id: r, effect: allow, calls: [exec], tools: [{tools}]}}");
    let kernel = kernel(&allow("a"));
    let agent = spawn(&kernel);
    assert_eq!(shown(&agent), ["a"]);
    kernel.reload(policy(&allow("a, b")), Widening::AtNextSpawn).unwrap();
    assert_eq!(shown(&agent), ["a"]);
    kernel.reload(policy(&allow("b")), Widening::AtNextSpawn).unwrap();
    assert_eq!(shown(&agent), [""; 0]);
    assert!(matches!(now(agent.read("/tools/a.json")), Err(CallError::File(_))));
    kernel.reload(policy(&allow("a, b")), Widening::Force).unwrap();
    assert_eq!(shown(&agent), ["a", "b"]);
    let task = Policy::from_yaml(
        "task.yaml",
        "{version: 1, unmatched: abstain, rules: [{id: no, effect: deny, calls: [exec], tools: [a]}]}",
    );
    let narrow = kernel.spawn(AgentSpec::new("n").task_policy(task.unwrap())).unwrap();
    assert_eq!(shown(&narrow), ["b"]);
}

#[test]
fn a_contract_is_read_by_the_name_of_its_tool() {
    let agent = spawn(&kernel("{id: r, effect: allow, calls: [exec], tools: ['a', 'a-b', 'mcp.*']}"));
    assert_eq!(listed(&agent, "/tools"), ["a-b.json", "a.json", "all.jsonl", "mcp.x"]);
    assert_eq!(listed(&agent, "/tools/mcp.x"), ["get.json", "put.json"]);
    let contract = &lines(&agent, "/tools/mcp.x/get.json")[0];
    assert_eq!(
        (contract["id"].as_str(), contract["description"].as_str()),
        (Some("mcp.x/get"), Some("A tool"))
    );
    let name = |path: &str| match now(agent.read(path)) {
        Err(CallError::File(error)) => error.name(),
        other => panic!("{path}: {other:?}"),
    };
    for hidden in ["/tools/b.json", "/tools/none.json", "/tools/a", "/tools/mcp.y", "/tools/A.json"] {
        assert_eq!(name(hidden), "ENOENT", "{hidden}");
    }
    assert_eq!(name("/tools/a.json/x"), "ENOTDIR");
    assert!(matches!(now(agent.write("/tools/a.json", "{}")), Err(CallError::Denied(_))));
}
