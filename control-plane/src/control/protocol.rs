//! What goes over the control socket: one JSON object on a line, each way.
//!
//! ```text
//! → {"version":1,"id":7,"method":"signal","params":{"agent":"clerk","signal":"SIGSTOP","reason":"look"}}
//! ← {"version":1,"id":7,"ok":{"raised":"delivered"}}
//! → {"version":1,"id":8,"method":"ps"}
//! ← {"version":1,"id":8,"error":{"code":"AK…","message":"…"}}
//! ```
//!
//! `id` is the caller's, and comes back with the answer. A line that is no request is answered with an error, with the id 0
//! where there is none, and the connection goes on; a line longer than [`MAX_LINE`] ends it. Answers come in the order of
//! the requests. `tail` answers with lines that have `event` in place of `ok`, and with `ok` at its end. A request of
//! another version, with an unknown method, or with a field that is not known is refused.
//!
//! | method | params | `ok` |
//! | --- | --- | --- |
//! | `state` | | state, reason, impairments, mode, policy generation, head of the record, agents |
//! | `ps` | | `agents`: name, life, state, tenant, calls in flight, number of labels, use of budgets |
//! | `metrics` | | as [`Metrics::to_json`](crate::kernel::Metrics::to_json) |
//! | `policy` | | digest, generation and name of the set in force |
//! | `signal` | `agent`, `signal`, `reason` | `raised` |
//! | `kill_all` | `reason` | `killed`, a number |
//! | `approvals` | | `approvals`: the tickets that are not settled |
//! | `approve` | `ticket`, `scope` (default `once`) | `state` of the ticket |
//! | `deny` | `ticket`, `reason` | |
//! | `revoke` | `ticket`, `reason` | |
//! | `tail` | `from`, `agent`, `follow` | the number of the next event |
//! | `shutdown` | `grace_ms` (at most [`MAX_GRACE_MS`]) | the report |

use agent_primitives::json::Value;
use agent_primitives::ticket::Scope;
use agent_primitives::{Signal, TicketId};
use serde::{Deserialize, Serialize};

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// Longest line of a request, in bytes; no request needs more.
pub const MAX_LINE: usize = 16 << 10;
/// Longest grace period that a shutdown over the socket can have, in milliseconds.
pub const MAX_GRACE_MS: u64 = 10 * 60 * 1000;

/// A request that came in one piece.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a client says all of it")]
pub struct Request {
    /// The caller's own number.
    pub id: u64,
    /// What is asked for.
    pub action: Action,
}

/// What can be asked for: see the table of [the module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table above says what each is")]
pub enum Action {
    State,
    Ps,
    Metrics,
    Policy,
    Signal {
        agent: String,
        signal: Signal,
        #[serde(default)]
        reason: String,
    },
    KillAll {
        #[serde(default)]
        reason: String,
    },
    Approvals,
    Approve {
        ticket: TicketId,
        #[serde(default)]
        scope: Option<Scope>,
    },
    Deny {
        ticket: TicketId,
        #[serde(default)]
        reason: String,
    },
    Revoke {
        ticket: TicketId,
        #[serde(default)]
        reason: String,
    },
    Tail {
        #[serde(default)]
        from: u64,
        #[serde(default)]
        agent: Option<String>,
        #[serde(default)]
        follow: bool,
    },
    Shutdown {
        #[serde(default)]
        grace_ms: u64,
    },
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "this is the whole line")]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// The request's.
    pub id: u64,
    /// What came of it.
    #[serde(flatten)]
    pub result: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a client has to tell these apart")]
pub enum Outcome {
    /// It was done.
    Ok(Value),
    /// One event of the record; more lines follow.
    Event(Value),
    /// It was not done.
    Error(Failure),
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} [{code}]")]
#[expect(clippy::exhaustive_structs, reason = "the code says more than another field could")]
pub struct Failure {
    /// Stable code: `docs/errors/`.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Failure {
    pub(super) fn new(code: &str, message: impl std::fmt::Display) -> Self {
        Self { code: code.to_owned(), message: message.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    id: u64,
    method: String,
    #[serde(default)]
    params: Option<Value>,
}

impl Request {
    /// The request as one line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        // An action is an object of texts and numbers, which has JSON.
        let mut line = serde_json::to_value(&self.action).unwrap_or_default();
        if let Value::Object(line) = &mut line {
            line.insert("version".to_owned(), VERSION.into());
            line.insert("id".to_owned(), self.id.into());
        }
        line.to_string()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no request; with the id it has, or 0.
    pub(super) fn parse(line: &[u8]) -> Result<Self, (u64, Failure)> {
        const CODE: &str = "AK0953";
        let limits = agent_primitives::json::Limits { bytes: MAX_LINE, depth: 8, nodes: 64 };
        let value = agent_primitives::json::parse(line, &limits)
            .map_err(|error| (0, Failure::new(CODE, format!("no request: {error}"))))?;
        let id = value.get("id").and_then(Value::as_u64).unwrap_or(0);
        let wrong = |error: &dyn std::fmt::Display| (id, Failure::new(CODE, format!("no request: {error}")));
        let Line { version, id, method, params } = Line::deserialize(value).map_err(|error| wrong(&error))?;
        if version != VERSION {
            return Err(wrong(&format!("version {version} is not spoken here, but {VERSION}")));
        }
        let mut action = serde_json::json!({ "method": method });
        if let (Value::Object(action), Some(params)) = (&mut action, params) {
            action.insert("params".to_owned(), params);
        }
        let action = Action::deserialize(action).map_err(|error| wrong(&error))?;
        Ok(Self { id, action })
    }
}
