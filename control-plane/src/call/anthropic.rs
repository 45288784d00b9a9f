//! Tool calls in the form of Anthropic's Messages API: blocks of the content.

use agent_primitives::json::{self, Value};
use serde::Deserialize;

use super::openai::{MAX_TOOL_CALLS, ToolCall};
use super::{BadCall, RawArguments, Syscall};

#[derive(Deserialize)]
struct Message {
    role: Option<String>,
    content: Value,
}

#[derive(Deserialize)]
struct ToolUse {
    id: String,
    name: String,
    input: Value,
}

/// The tool calls of a message of the assistant, which a response is too, in order; none if the model only talks. Runs nothing.
///
/// # Errors
/// Text that is no such message, within the limits of [`json::Limits::DEFAULT`]; a `tool_use` block that is no call; a part of a
/// streamed response; more than [`MAX_TOOL_CALLS`]. Then no call of the text is to be made.
pub fn tool_calls_from_anthropic(text: &[u8]) -> Result<Vec<ToolCall>, BadCall> {
    let value = json::parse(text, &json::Limits::DEFAULT).map_err(|error| BadCall(error.to_string()))?;
    let bad = |error: serde_json::Error| BadCall(error.to_string());
    let Message { role, content } = serde_json::from_value(value).map_err(bad)?;
    if role.is_some_and(|role| role != "assistant") {
        return Err(BadCall("only a message of the assistant asks for tools".to_owned()));
    }
    let blocks = match content {
        Value::String(_) => return Ok(Vec::new()),
        Value::Array(blocks) => blocks,
        _ => return Err(BadCall("the content is neither text nor blocks".to_owned())),
    };
    let mut calls = Vec::new();
    for block in blocks {
        match block.get("type").and_then(Value::as_str) {
            None => return Err(BadCall("a block of the content has no type".to_owned())),
            Some("tool_use") => {
                let ToolUse { id, name, input } = serde_json::from_value(block).map_err(bad)?;
                let arguments = RawArguments::Value(input);
                calls.push(ToolCall {
                    id: Some(id),
                    call: Syscall::Exec { tool: name, arguments, deadline: None },
                });
            }
            // What the vendor runs itself, and what is no call.
            Some(_) => {}
        }
    }
    if MAX_TOOL_CALLS < calls.len() {
        return Err(BadCall(format!("more than {MAX_TOOL_CALLS} tool calls in one text")));
    }
    Ok(calls)
}
