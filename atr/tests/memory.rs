//! What a registered tool costs in memory. Alone in its process, which is what is measured.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_tool_registry::Registry;
use serde_json::{Value, json};

/// Bytes of memory that this process has in use.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_tool_with_a_schema_of_its_own_takes_at_most_eight_kibibytes() {
    const TOOLS: usize = 2_000;
    let field = |number: usize| {
        (format!("field_{number}"), json!({"type": "string", "description": "What it is for."}))
    };
    let fields: serde_json::Map<String, Value> = (0..10).map(field).collect();
    let registry = Registry::builder().build();
    let before = resident();
    registry
        .register(|tools| {
            (0..TOOLS).try_for_each(|number| {
                let schema = json!({"type": "object", "title": number.to_string(), "properties": fields});
                let description =
                    format!("Says something of number {number}. {}", "And more of it. ".repeat(10));
                let tool = tools
                    .tool(&format!("suite/tool_{number}"))
                    .description(&description)
                    .tags(["one", "two"]);
                tool.run_raw(schema, |_, _: Value| async { Ok(()) })
            })
        })
        .unwrap();
    let each = resident().saturating_sub(before) / TOOLS;
    assert_eq!(registry.len(), TOOLS);
    println!("{each} B each");
    assert!(each <= 8 << 10, "{each}");
}
