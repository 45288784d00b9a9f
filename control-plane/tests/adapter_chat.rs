//! Tool calls of a model in the form of Anthropic's Messages API.
#![expect(clippy::panic, reason = "a test may fail loudly")]

use agent_control_plane::call::{BadCall, MAX_TOOL_CALLS, RawArguments, Syscall, tool_calls_from_anthropic};
use serde_json::{Value, json};

fn read(value: &Value) -> Result<Vec<(String, Value)>, BadCall> {
    let calls = tool_calls_from_anthropic(value.to_string().as_bytes())?;
    let of = |call: Syscall| match call {
        Syscall::Exec { tool, arguments: RawArguments::Value(value), .. } => (tool, value),
        other => panic!("{other:?}"),
    };
    Ok(calls.into_iter().map(|call| of(call.call)).collect())
}

fn tool_use(name: &str) -> Value {
    json!({"type": "tool_use", "id": "1", "name": name, "input": {"x": 1}})
}

#[test]
fn every_block_that_is_a_call_is_read_in_order() {
    let text = json!({"type": "text", "text": "{\"type\": \"tool_use\"}"});
    let message = json!({"id": "m", "type": "message", "role": "assistant", "stop_reason": "tool_use",
        "content": [text, tool_use("a"), {"type": "thinking", "thinking": "b"}, tool_use("b")]});
    let expected = ["a", "b"].map(|tool| (tool.to_owned(), json!({"x": 1})));
    assert_eq!(read(&message).unwrap(), expected);
    assert_eq!(read(&json!({"role": "assistant", "content": "a tool_use"})).unwrap(), []);
}

#[test]
fn what_is_no_message_of_the_assistant_gives_no_calls() {
    let many = vec![tool_use("a"); MAX_TOOL_CALLS + 1];
    for bad in [
        json!([]),
        json!({}),
        json!({"role": "user", "content": [tool_use("a")]}),
        json!({"content": {"0": tool_use("a")}}),
        json!({"content": [tool_use("a"), {"name": "b", "input": {}}]}),
        json!({"content": [tool_use("a"), {"type": "tool_use", "name": "b", "input": {}}]}),
        json!({"content": [tool_use("a"), {"type": "tool_use", "id": "1", "name": "b"}]}),
        json!({"content": many}),
        json!({"type": "content_block_start", "content_block": tool_use("a")}),
    ] {
        assert!(read(&bad).is_err(), "{bad}");
    }
    let twice = br#"{"content": [], "content": [{"type": "tool_use", "id": "1", "name": "a", "input": {}}]}"#;
    assert!(tool_calls_from_anthropic(twice).is_err());
}
