//! What an agent's host makes of messages: of a model, or of a client that speaks a protocol.

use std::sync::{Arc, Mutex};

use agent_control_plane::AgentHandle;
use agent_control_plane::call::mcp::{Action, Session};
use agent_control_plane::call::{
    BadCall, RawArguments, Syscall, tool_calls_from_anthropic, tool_calls_from_openai,
};
use agent_control_plane::primitives::json;
use serde_json::Value;

use crate::call::{Call, What};
use crate::case::Step;
use crate::fixture::World;

/// The fields that hold what an adapter reads.
const TEXTS: [&str; 10] =
    ["message", "response", "request", "requests", "messages", "json", "text", "payload", "body", "raw"];
/// Names of a message's sender where the message itself has one.
const SENDERS: [&str; 4] = ["from", "sender", "caller", "peer"];

/// The field that a step's adapter reads.
pub(crate) fn text_of(step: &Step) -> Option<&'static str> {
    step.first(&TEXTS)
}

/// The calls that are made of a step's message, in order: none of it if it cannot be read as a whole.
pub(crate) fn calls(step: &Step, world: &World) -> Vec<Call> {
    let Some(key) = text_of(step) else { return vec![Call::Inexpressible] };
    let Some(agent) = speaker(step, world).cloned() else { return vec![Call::Inexpressible] };
    if let Err(why) = world.hand_over(step, &agent) {
        return vec![Call::Broken(why)];
    }
    let mut calls = Vec::new();
    for text in texts(step, key, world) {
        let Some(text) = text else {
            calls.push(Call::Inexpressible);
            continue;
        };
        match step.text("kind") {
            kind if kind.starts_with("mcp") => calls.push(requested(&agent, &text, world)),
            kind if kind.starts_with("openai") || kind.starts_with("chat") => {
                let read = tool_calls_from_openai(&text);
                calls.extend(asked(
                    &agent,
                    read.map(|calls| calls.into_iter().map(|call| call.call).collect()),
                ));
            }
            kind if kind.starts_with("anthropic") || kind.starts_with("claude") => {
                let read = tool_calls_from_anthropic(&text);
                calls.extend(asked(
                    &agent,
                    read.map(|calls| calls.into_iter().map(|call| call.call).collect()),
                ));
            }
            _ => calls.extend(asked(&agent, any_calls(&text))),
        }
    }
    calls
}

/// Who speaks: a peer that is an agent speaks with its own rights, one that is none has no say.
fn speaker<'w>(step: &Step, world: &'w World) -> Option<&'w AgentHandle> {
    match step.first(&SENDERS) {
        Some(key) => step.value(key).as_str().and_then(|name| world.agent(name)),
        None => world.agent(step.text("as")),
    }
}

/// Several messages one after another, or one.
fn texts(step: &Step, key: &str, world: &World) -> Vec<Option<Vec<u8>>> {
    let one_by_one = matches!(key, "requests" | "messages");
    match step.value(key).as_array() {
        Some(messages) if one_by_one => {
            let text = |message: &Value| {
                let fields = [("text".to_owned(), message.clone())].into_iter().collect();
                Step { op: String::new(), fields }.bytes("text", &world.saved).ok()
            };
            messages.iter().map(text).collect()
        }
        _ => vec![step.bytes(key, &world.saved).ok()],
    }
}

fn asked(agent: &AgentHandle, read: Result<Vec<Syscall>, BadCall>) -> Vec<Call> {
    match read {
        Ok(calls) => calls.into_iter().map(|call| Call::Agent(agent.clone(), What::Syscall(call))).collect(),
        Err(error) => vec![Call::Agent(agent.clone(), What::Unreadable(error, Value::Null))],
    }
}

/// A request of an MCP client. Each agent has one session.
fn requested(agent: &AgentHandle, text: &[u8], world: &World) -> Call {
    let session = world.session(agent.id());
    let action = session.lock().unwrap().receive(text);
    Call::Agent(
        agent.clone(),
        match action {
            Action::Call(request, call) => What::Request(session, request, call),
            Action::Refuse(error, answer) => What::Unreadable(error, answer.unwrap_or_default()),
            Action::Send(answer) => What::Answered(answer),
            Action::Cancel(number) => {
                world.call_off(number);
                What::Answered(Value::Null)
            }
            Action::Nothing => What::Answered(Value::Null),
        },
    )
}

/// What a host with an adapter of its own reads from a message of another form: every object in it that names a tool and
/// its arguments, whatever it calls them. Nothing is made of a text that is not whole.
fn any_calls(text: &[u8]) -> Result<Vec<Syscall>, BadCall> {
    let value = match json::parse(text, &json::Limits::DEFAULT) {
        Ok(value) => value,
        // The crate's own reader says what is wrong in its own words.
        Err(_) => return Syscall::exec_from_json(text).map(|call| vec![call]),
    };
    let mut calls = Vec::new();
    collect(&value, &mut calls);
    Ok(calls)
}

fn collect(value: &Value, calls: &mut Vec<Syscall>) {
    const NAMES: [&str; 6] = ["name", "tool", "tool_name", "toolName", "function_name", "action"];
    const ARGUMENTS: [&str; 8] =
        ["arguments", "args", "input", "parameters", "params", "tool_input", "action_input", "kwargs"];
    match value {
        Value::Object(fields) => {
            let name = NAMES.iter().find_map(|key| fields.get(*key)?.as_str());
            let arguments = ARGUMENTS.iter().find_map(|key| fields.get(*key));
            if let (Some(tool), Some(arguments)) = (name, arguments) {
                let arguments = match arguments {
                    Value::String(text) => RawArguments::Json(text.clone().into_bytes().into()),
                    other => RawArguments::Value(other.clone()),
                };
                calls.push(Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None });
                return;
            }
            fields.values().for_each(|value| collect(value, calls));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, calls)),
        _ => {}
    }
}

/// The names of the tools in an answer to `tools/list`.
pub(crate) fn listed(answer: &Value) -> Option<Vec<String>> {
    let tools = answer.get("result")?.get("tools")?.as_array()?;
    tools.iter().map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect()
}

/// A session shared with the calls that answer to it.
pub(crate) type Shared = Arc<Mutex<Session>>;
