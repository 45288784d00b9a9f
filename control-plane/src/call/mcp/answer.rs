//! What a call came to, as the answer to the request that asked for it.

use agent_primitives::json::Value;
use agent_tool_registry::Output;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::{Kind, rpc, uri};
use crate::call::Reply;
use crate::error::{CallError, ErrorClass};
use crate::vfs::VfsError;

/// The answer to a request of this kind.
pub(super) fn to(id: &Value, kind: &Kind, result: &Result<Reply, CallError>) -> Value {
    let answer = match (kind, result) {
        (Kind::Tool, Ok(Reply::Output { output, .. })) => Some(output_of(output)),
        // What a model can learn from is told to the model.
        (Kind::Tool, Err(refused)) if !matches!(refused.class(), ErrorClass::Gone | ErrorClass::Kernel) => {
            Some(failure_of(refused))
        }
        (Kind::Tools, Ok(Reply::Data { data, .. })) => lines(data, tool).map(|tools| json!({"tools": tools})),
        (Kind::Resources, Ok(Reply::Data { data, .. })) => {
            lines(data, resource).map(|resources| json!({"resources": resources}))
        }
        (Kind::Resource { uri }, Ok(Reply::Data { data, labels, .. })) => {
            Some(contents(uri, data, labels.iter()))
        }
        (_, Err(failed)) => return failure(id, failed),
        (_, Ok(_)) => None,
    };
    match answer {
        Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        None => error(id, rpc::FAILED, "the answer cannot be told in this protocol", Value::Null),
    }
}

/// An error of the protocol.
pub(super) fn error(id: &Value, code: i64, message: &str, data: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}})
}

fn failure(id: &Value, failed: &CallError) -> Value {
    let missing = matches!(failed, CallError::File(error) if error.error() == VfsError::NotFound);
    let code = if missing { rpc::NO_RESOURCE } else { rpc::FAILED };
    error(id, code, &failed.to_string(), failed.to_json())
}

fn output_of(output: &Output) -> Value {
    let text = match output.value() {
        Value::String(text) => text.clone(),
        _ => String::from_utf8_lossy(output.canonical()).into_owned(),
    };
    let mut result = Map::new();
    result.insert("content".to_owned(), json!([{"type": "text", "text": text}]));
    if output.value().is_object() {
        result.insert("structuredContent".to_owned(), output.value().clone());
    }
    result.insert("isError".to_owned(), false.into());
    result.into()
}

/// A call that was refused or failed: its text is the error's stable JSON, with the code in it.
fn failure_of(error: &CallError) -> Value {
    json!({"content": [{"type": "text", "text": error.to_json().to_string()}], "isError": true})
}

/// Each line of a text, as `told`; `None` when one of them cannot be, or was cut off.
fn lines(text: &[u8], told: impl Fn(&Value) -> Option<Value>) -> Option<Vec<Value>> {
    let whole = text.is_empty() || text.ends_with(b"\n");
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    whole.then(|| lines.map(|line| told(&serde_json::from_slice(line).ok()?)).collect())?
}

/// A contract.
fn tool(contract: &Value) -> Option<Value> {
    let effects: Vec<&str> = contract.get("effects")?.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(json!({
        "name": contract.get("id")?,
        "description": contract.get("description")?,
        "inputSchema": contract.get("input_schema")?,
        "annotations": {
            // A contract that declares nothing says nothing.
            "readOnlyHint": effects == ["read"],
            "idempotentHint": contract.get("idempotent")?,
        },
    }))
}

/// A name in the root.
fn resource(entry: &Value) -> Option<Value> {
    let name = entry.get("name")?.as_str()?;
    Some(json!({"uri": uri::of_name(name), "name": name}))
}

fn contents<'l>(uri: &str, data: &[u8], labels: impl Iterator<Item = &'l agent_primitives::Label>) -> Value {
    let mut content = Map::new();
    content.insert("uri".to_owned(), uri.into());
    match std::str::from_utf8(data) {
        Ok(text) => content.insert("text".to_owned(), text.into()),
        Err(_) => content.insert("blob".to_owned(), STANDARD.encode(data).into()),
    };
    let labels: Vec<&str> = labels.map(agent_primitives::Label::as_str).collect();
    if !labels.is_empty() {
        content.insert("_meta".to_owned(), json!({"agentos/labels": labels}));
    }
    json!({"contents": [content]})
}
