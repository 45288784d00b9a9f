//! What the answer to a call means.

use agent_primitives::json::Value;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ErrorCode, ErrorData};
use serde_json::json;

use super::error::Lost;
use crate::error::ToolError;

/// Most blocks of an error whose text is told.
const MAX_ERROR_BLOCKS: usize = 16;

/// The output of the tool, or why there is none.
///
/// A tool with an output schema answers with its structured content, which the registry then holds against the schema. Any
/// other answers `{"content": […]}` in the protocol's own form, with `structuredContent` if there is some.
pub(super) fn output(
    answer: Result<CallToolResponse, ErrorData>,
    has_schema: bool,
) -> Result<Value, ToolError> {
    let result = match answer {
        Ok(CallToolResponse::Complete(result)) => result,
        Ok(_) => return Err(Lost::new("it wants more from the host than a call").tool_error()),
        Err(error) => return Err(refusal(&error)),
    };
    if result.is_error == Some(true) {
        return Err(ToolError::failed(complaint(&result)));
    }
    let structured = result.structured_content;
    if has_schema {
        let reason = || "the server sent no structured content, and its schema promises some".to_owned();
        return structured.ok_or_else(|| ToolError::OutputInvalid { reason: reason() });
    }
    let content = serde_json::to_value(result.content)
        .map_err(|error| ToolError::OutputInvalid { reason: error.to_string() })?;
    Ok(match structured {
        None => json!({"content": content}),
        Some(structured) => json!({"content": content, "structuredContent": structured}),
    })
}

/// The words in which the tool says that it failed.
fn complaint(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.text.as_str()),
        _ => None,
    });
    let said: Vec<&str> = texts.take(MAX_ERROR_BLOCKS).collect();
    if said.is_empty() { "it gave no reason".to_owned() } else { said.join(" ") }
}

/// A server may refuse a call with an error of the protocol. Where that says that the two do not understand each other, it is
/// the connection that failed, and otherwise the tool.
fn refusal(error: &ErrorData) -> ToolError {
    match error.code {
        ErrorCode::METHOD_NOT_FOUND | ErrorCode::INVALID_REQUEST | ErrorCode::PARSE_ERROR => {
            Lost::because("it did not understand the call", &error.message).tool_error()
        }
        _ => ToolError::failed(&error.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(result: CallToolResult, has_schema: bool) -> Result<Value, String> {
        output(Ok(CallToolResponse::Complete(result)), has_schema).map_err(|error| error.to_string())
    }

    #[test]
    fn answers_are_taken_as_their_schema_says() {
        let text = json!([{"type": "text", "text": "one"}]);
        let image = json!([{"type": "image", "data": "AAAA", "mimeType": "image/png"}]);
        let cases = [
            (json!({"content": text}), false, Ok(json!({"content": text}))),
            (json!({"content": image}), false, Ok(json!({"content": image}))),
            (
                json!({"content": text, "structuredContent": {"a": 1}}),
                false,
                Ok(json!({"content": text, "structuredContent": {"a": 1}})),
            ),
            (json!({"content": text, "structuredContent": {"a": 1}}), true, Ok(json!({"a": 1}))),
            (json!({"content": [], "structuredContent": null}), true, Ok(Value::Null)),
            (json!({"content": text}), true, Err("the tool's output is not valid")),
            (json!({"content": text, "isError": true}), true, Err("the tool failed: one")),
            (json!({"content": [], "isError": true}), false, Err("the tool failed: it gave no reason")),
        ];
        for (answer, has_schema, expected) in cases {
            let result = serde_json::from_value(answer.clone()).unwrap();
            assert_eq!(answered(result, has_schema), expected.map_err(str::to_owned), "{answer}");
        }
    }

    #[test]
    fn an_error_of_the_protocol_is_the_tools_unless_it_is_about_the_protocol() {
        for (code, expected) in
            [(-32602, "AK0523"), (-32603, "AK0523"), (-32601, "AK0590"), (-32600, "AK0590")]
        {
            let error = ErrorData::new(ErrorCode(code), "no such zone", None);
            assert_eq!(output(Err(error), false).unwrap_err().code(), expected);
        }
    }
}
