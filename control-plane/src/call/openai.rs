//! Tool calls in the form of OpenAI's Chat Completions API, which other vendors answer in too.

use agent_primitives::json::{self, Value};
use serde::Deserialize;

use super::{BadCall, RawArguments, Syscall};

/// Most tool calls read from one message or response.
pub const MAX_TOOL_CALLS: usize = 128;

/// A tool call that a model asks for.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The id under which the model expects the answer; the older form has none.
    pub id: Option<String>,
    /// The call. Its arguments are the text the model wrote, which the kernel's border reads: what does not parse is refused
    /// there, on record, and never taken for something else.
    pub call: Syscall,
}

#[derive(Deserialize)]
struct Message {
    tool_calls: Option<Vec<WireCall>>,
    /// The form before `tool_calls`.
    function_call: Option<Function>,
}

#[derive(Deserialize)]
struct WireCall {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

/// The tool calls of a message, or of every choice of a response, in order; none if the model only talks. Runs nothing.
///
/// # Errors
/// Text that is neither, within the limits of [`json::Limits::DEFAULT`]; a call that is no function call; a part of a
/// streamed response; more than [`MAX_TOOL_CALLS`]. Then no call of the text is to be made.
pub fn tool_calls_from_openai(text: &[u8]) -> Result<Vec<ToolCall>, BadCall> {
    let value = json::parse(text, &json::Limits::DEFAULT).map_err(|error| BadCall(error.to_string()))?;
    let messages = messages(value)?;
    let mut calls = Vec::new();
    for Message { tool_calls, function_call } in messages {
        let tool_calls = tool_calls.unwrap_or_default().into_iter();
        calls.extend(tool_calls.map(|call| ToolCall { id: Some(call.id), call: call.function.into() }));
        calls.extend(function_call.map(|function| ToolCall { id: None, call: function.into() }));
    }
    if MAX_TOOL_CALLS < calls.len() {
        return Err(BadCall(format!("more than {MAX_TOOL_CALLS} tool calls in one text")));
    }
    Ok(calls)
}

fn messages(value: Value) -> Result<Vec<Message>, BadCall> {
    let Value::Object(mut fields) = value else { return Err(BadCall("it is no JSON object".to_owned())) };
    let is_message =
        ["role", "content", "tool_calls", "function_call"].iter().any(|key| fields.contains_key(*key));
    let bad = |error: serde_json::Error| BadCall(error.to_string());
    match (fields.remove("choices"), is_message) {
        (Some(choices), false) => {
            let choices: Vec<Choice> = serde_json::from_value(choices).map_err(bad)?;
            Ok(choices.into_iter().map(|choice| choice.message).collect())
        }
        (None, true) => {
            serde_json::from_value(Value::Object(fields)).map(|message| vec![message]).map_err(bad)
        }
        (Some(_), true) => Err(BadCall("it is a message and a response at once".to_owned())),
        (None, false) => Err(BadCall("it is neither a message nor a response".to_owned())),
    }
}

impl From<Function> for Syscall {
    fn from(function: Function) -> Self {
        Self::Exec {
            tool: function.name,
            arguments: RawArguments::Json(function.arguments.into_bytes().into()),
            deadline: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Vec<(String, String)>, BadCall> {
        let of = |call: ToolCall| match call.call {
            Syscall::Exec { tool, arguments: RawArguments::Json(text), .. } => {
                (tool, String::from_utf8_lossy(&text).into_owned())
            }
            other => panic!("{other:?}"),
        };
        Ok(tool_calls_from_openai(value.to_string().as_bytes())?.into_iter().map(of).collect())
    }

    fn call(name: &str, arguments: &str) -> Value {
        json!({"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    #[test]
    fn every_call_of_every_choice_is_read_as_the_model_wrote_it() {
        let old = json!({"role": "assistant", "function_call": {"name": "c", "arguments": "{}"}});
        let response = json!({"id": "x", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}},
            {"index": 1, "message": {"content": null, "tool_calls": [call("a", "{\"x\": 1"), call("b", "")]}},
            {"index": 2, "message": old},
        ]});
        let expected = [("a", "{\"x\": 1"), ("b", ""), ("c", "{}")];
        assert_eq!(read(&response).unwrap(), expected.map(|(tool, text)| (tool.to_owned(), text.to_owned())));
        assert_eq!(read(&json!({"role": "assistant", "content": "hi", "tool_calls": null})).unwrap(), []);
    }

    #[test]
    fn what_is_no_message_and_no_response_gives_no_calls() {
        let custom = json!({"id": "1", "type": "custom", "custom": {"name": "a", "input": "x"}});
        let many = vec![call("a", "{}"); MAX_TOOL_CALLS + 1];
        for bad in [
            json!([]),
            json!({}),
            json!({"tool": "a", "arguments": {}}),
            json!({"tool_calls": {}}),
            json!({"tool_calls": [call("a", "{}"), custom]}),
            json!({"tool_calls": [{"id": "1", "function": {"name": "a", "arguments": {"x": 1}}}]}),
            json!({"tool_calls": many}),
            json!({"choices": [{"delta": {"tool_calls": [call("a", "{}")]}}]}),
            json!({"choices": [], "tool_calls": [call("a", "{}")]}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
        let twice =
            br#"{"tool_calls": [], "tool_calls": [{"id": "1", "function": {"name": "a", "arguments": ""}}]}"#;
        assert!(tool_calls_from_openai(twice).is_err());
    }
}
