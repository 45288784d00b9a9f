//! Requests of the Model Context Protocol, turned into system calls.
//!
//! A [`Session`] reads what a client sends, one JSON-RPC 2.0 message at a time, and says what is to be done about it: make a
//! call with the agent's handle, send an answer, drop a call. It does neither itself and waits for nothing, so it serves any
//! transport. Every request that touches anything is one system call:
//!
//! | request | call |
//! | --- | --- |
//! | `tools/list` | read of `/tools/all.jsonl`: the tools this agent may call |
//! | `tools/call` | exec |
//! | `resources/list` | read of `/`, as a listing |
//! | `resources/read` of `agentos:///path` | read of `/path` |
//! | `initialize`, `ping`, `resources/templates/list` | none |
//!
//! What a request holds beyond what is known of it is refused, and nothing is guessed: a repeated key, an unknown member, another
//! letter case of a method, several requests in one array, a call without an id. No URI but an `agentos:` one leads anywhere.
//!
//! ```
//! use agent_control_plane::call::mcp::{Action, Session};
//!
//! # async fn serve(agent: agent_control_plane::AgentHandle, text: &[u8]) {
//! let mut session = Session::new();
//! let answer = match session.receive(text) {
//!     Action::Call(request, call) => {
//!         let result = agent.syscall(call).await;
//!         session.answer(request, &result)
//!     }
//!     Action::Refuse(error, answer) => {
//!         agent.refuse(error).await;
//!         answer
//!     }
//!     Action::Send(answer) => Some(answer),
//!     Action::Cancel(_) | Action::Nothing => None,
//! };
//! # }
//! ```

mod answer;
mod uri;

use std::collections::HashMap;

use agent_primitives::json::{self, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, json};

use super::{BadCall, FileRef, MAX_TRANSFER, RawArguments, Reply, Syscall};
use crate::error::CallError;

/// Most bytes of one message.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// Most requests of one session that are under way at a time.
pub const MAX_REQUESTS: usize = 64;
/// Longest id of a request that is a text, in bytes.
pub const MAX_REQUEST_ID: usize = 256;
/// The versions of the protocol that are spoken, the preferred one first.
pub const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// All contracts of the tools that the agent may call.
const ALL_TOOLS: &str = "/tools/all.jsonl";

/// The error codes of JSON-RPC, and of the protocol.
mod rpc {
    pub(super) const PARSE: i64 = -32700;
    pub(super) const INVALID_REQUEST: i64 = -32600;
    pub(super) const NO_METHOD: i64 = -32601;
    pub(super) const INVALID_PARAMS: i64 = -32602;
    pub(super) const FAILED: i64 = -32000;
    pub(super) const NO_RESOURCE: i64 = -32002;
}

/// What one client has under way.
#[derive(Debug, Default)]
pub struct Session {
    /// The number of the request under each id.
    under_way: HashMap<String, u64>,
    requests: u64,
}

/// A request whose call is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    id: Value,
    number: u64,
    kind: Kind,
}

impl Request {
    /// Which request of the session it is: no two have the same number, whatever ids the client gives them.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// What the answer to a call is told as.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Tools,
    Tool,
    Resources,
    Resource { uri: String },
}

/// What is to be done about a message.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever serves a session has to do all of it")]
pub enum Action {
    /// Make the call, and hand its result to [`Session::answer`].
    Call(Request, Syscall),
    /// Send the message.
    Send(Value),
    /// Put the error on record with [`AgentHandle::refuse`](crate::AgentHandle::refuse), then send the message, if there is
    /// one. Nothing of what was asked for is to be done.
    Refuse(BadCall, Option<Value>),
    /// Drop the call of the request of this [number](Request::number): the client no longer wants it. Nothing is sent.
    Cancel(u64),
    /// There is nothing to do.
    Nothing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    jsonrpc: String,
    id: Option<Value>,
    method: String,
    params: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallTool {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadResource {
    uri: String,
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

/// All lists come as one page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    cursor: Option<String>,
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Initialize {
    protocol_version: String,
    #[expect(dead_code, reason = "what a client can do beyond asking is not used")]
    capabilities: Map<String, Value>,
    #[expect(dead_code, reason = "who a client says it is makes no difference")]
    client_info: Map<String, Value>,
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Cancelled {
    request_id: Value,
    #[expect(dead_code, reason = "it is for people")]
    reason: Option<String>,
    #[serde(default, rename = "_meta")]
    _meta: Map<String, Value>,
}

/// Why a request is refused.
struct Refusal {
    code: i64,
    why: String,
}

impl Refusal {
    fn new(code: i64, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

/// What a request comes to.
enum Asked {
    Call(Kind, Syscall),
    Answer(Value),
}

impl Session {
    /// A session in which nothing was asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one message of the client.
    pub fn receive(&mut self, text: &[u8]) -> Action {
        let limits = json::Limits { bytes: MAX_MESSAGE_BYTES, ..json::Limits::DEFAULT };
        let value = match json::parse(text, &limits) {
            Ok(value) => value,
            Err(error) => return refused(Value::Null, &Refusal::new(rpc::PARSE, error.to_string())),
        };
        // What can be answered under its id is, whatever else is wrong with it.
        let id = value.get("id").filter(|id| key(id).is_some()).cloned();
        let envelope = match envelope(value) {
            Ok(envelope) => envelope,
            Err(refusal) => return refused(id.unwrap_or(Value::Null), &refusal),
        };
        match (envelope.id, id) {
            (Some(_), Some(id)) => self.request(id, &envelope.method, envelope.params.unwrap_or_default()),
            (Some(_), None) => {
                let why =
                    format!("the id of a request is an integer or a text of at most {MAX_REQUEST_ID} bytes");
                refused(Value::Null, &Refusal::new(rpc::INVALID_REQUEST, why))
            }
            (None, _) => self.notification(&envelope.method, envelope.params.unwrap_or_default()),
        }
    }

    /// The answer to a request whose call came to `result`; `None` when the client has called it off meanwhile.
    #[must_use]
    pub fn answer(&mut self, request: Request, result: &Result<Reply, CallError>) -> Option<Value> {
        let Request { id, number, kind } = request;
        let key = key(&id)?;
        if self.under_way.get(&key) != Some(&number) {
            return None;
        }
        self.under_way.remove(&key);
        Some(answer::to(&id, &kind, result))
    }

    fn request(&mut self, id: Value, method: &str, params: Map<String, Value>) -> Action {
        let Some(key) = key(&id) else { return Action::Nothing };
        if self.under_way.contains_key(&key) {
            let why = "a request of that id is under way";
            return refused(id, &Refusal::new(rpc::INVALID_REQUEST, why));
        }
        match asked(method, params) {
            Ok(Asked::Answer(result)) => Action::Send(json!({"jsonrpc": "2.0", "id": id, "result": result})),
            Ok(Asked::Call(kind, call)) => {
                if MAX_REQUESTS <= self.under_way.len() {
                    let why = format!("{MAX_REQUESTS} requests are under way, the most of a session");
                    return refused(id, &Refusal::new(rpc::FAILED, why));
                }
                self.requests += 1;
                self.under_way.insert(key, self.requests);
                Action::Call(Request { id, number: self.requests, kind }, call)
            }
            Err(refusal) => refused(id, &refusal),
        }
    }

    /// What asks for no answer. A request without an id is not carried out: nobody could tell what came of it.
    fn notification(&mut self, method: &str, params: Map<String, Value>) -> Action {
        match method {
            "notifications/cancelled" => {
                let request = read::<Cancelled>(params).ok().and_then(|cancelled| key(&cancelled.request_id));
                let number = request.and_then(|key| self.under_way.remove(&key));
                number.map_or(Action::Nothing, Action::Cancel)
            }
            "notifications/initialized" | "notifications/progress" | "notifications/roots/list_changed" => {
                Action::Nothing
            }
            other => Action::Refuse(BadCall(format!("{} is no notification", quoted(other))), None),
        }
    }
}

fn envelope(value: Value) -> Result<Envelope, Refusal> {
    if value.is_array() {
        return Err(Refusal::new(rpc::INVALID_REQUEST, "several messages in one array are not taken"));
    }
    let envelope: Envelope = serde_json::from_value(value)
        .map_err(|error| Refusal::new(rpc::INVALID_REQUEST, error.to_string()))?;
    if envelope.jsonrpc != "2.0" {
        return Err(Refusal::new(rpc::INVALID_REQUEST, "`jsonrpc` is not `2.0`"));
    }
    Ok(envelope)
}

fn asked(method: &str, params: Map<String, Value>) -> Result<Asked, Refusal> {
    let read_file = |kind, path: String| {
        let file = FileRef::Path(path);
        Asked::Call(kind, Syscall::Read { file, offset: None, length: MAX_TRANSFER, nonblock: true })
    };
    Ok(match method {
        "tools/list" => {
            one_page(params)?;
            read_file(Kind::Tools, ALL_TOOLS.to_owned())
        }
        "tools/call" => {
            let CallTool { name, arguments, .. } = read(params)?;
            let arguments = RawArguments::Value(Value::Object(arguments));
            Asked::Call(Kind::Tool, Syscall::Exec { tool: name, arguments, deadline: None })
        }
        "resources/list" => {
            one_page(params)?;
            read_file(Kind::Resources, "/".to_owned())
        }
        "resources/read" => {
            let ReadResource { uri, .. } = read(params)?;
            let path = uri::path_of(&uri).ok_or_else(|| {
                Refusal::new(rpc::INVALID_PARAMS, format!("{} is no resource here", quoted(&uri)))
            })?;
            read_file(Kind::Resource { uri }, path)
        }
        "resources/templates/list" => {
            one_page(params)?;
            Asked::Answer(json!({"resourceTemplates": []}))
        }
        "ping" => {
            let Ping { .. } = read(params)?;
            Asked::Answer(json!({}))
        }
        "initialize" => {
            let Initialize { protocol_version, .. } = read(params)?;
            let known = VERSIONS.into_iter().find(|known| *known == protocol_version);
            let [preferred, ..] = VERSIONS;
            Asked::Answer(json!({
                "protocolVersion": known.unwrap_or(preferred),
                "capabilities": {"tools": {}, "resources": {}},
                "serverInfo": {"name": "agent-os", "version": env!("CARGO_PKG_VERSION")},
            }))
        }
        other => return Err(Refusal::new(rpc::NO_METHOD, format!("there is no method {}", quoted(other)))),
    })
}

fn one_page(params: Map<String, Value>) -> Result<(), Refusal> {
    match read::<List>(params)?.cursor {
        None => Ok(()),
        Some(_) => Err(Refusal::new(rpc::INVALID_PARAMS, "no list has a second page")),
    }
}

fn read<T: DeserializeOwned>(params: Map<String, Value>) -> Result<T, Refusal> {
    serde_json::from_value(Value::Object(params))
        .map_err(|error| Refusal::new(rpc::INVALID_PARAMS, error.to_string()))
}

/// What tells one id from another: `1` is not `"1"`. `None` for what is no id.
fn key(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => (text.len() <= MAX_REQUEST_ID).then(|| id.to_string()),
        Value::Number(number) => (number.is_i64() || number.is_u64()).then(|| id.to_string()),
        _ => None,
    }
}

/// A refusal, and the answer that says so.
fn refused(id: Value, refusal: &Refusal) -> Action {
    /// What is wrong may quote what the client sent, however long that is.
    const MAX_WHY: usize = 256;
    let error = BadCall(refusal.why.chars().take(MAX_WHY).collect());
    let data = json!({"code": BadCall::CODE, "class": "mistake", "retryable": false});
    let answer = answer::error(&id, refusal.code, &error.to_string(), data);
    Action::Refuse(error, Some(answer))
}

/// A text of the client's, cut and on one line.
fn quoted(text: &str) -> String {
    /// Enough to recognise what was meant.
    const MAX_QUOTED: usize = 128;
    let text: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect();
    format!("`{text}`")
}
