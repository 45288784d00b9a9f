//! What the flight recorder writes down.
//!
//! An event is encoded with postcard: fixed field order, length-prefixed, no text between fields, so two different
//! events never share bytes. These bytes are what is hashed and stored; JSON is for export. Requests are kept whole
//! where policy read them (path, tool, arguments), so a decision can be recomputed; file contents are kept as digest.

use std::collections::BTreeMap;

use agent_primitives::{Digest, LabelSet, Signal, TicketId, Timestamp, Verdict};
use agent_tool_registry::{ArgumentRole, Effect, EffectSet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::budget::BudgetState;
use crate::question::CallKind;
use crate::vfs::OpenFlags;

/// Version of the encoding; the first byte of every event.
pub const EVENT_VERSION: u8 = 3;

/// One event. Borrows from the request when written and from the record when read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event<'a> {
    /// [`EVENT_VERSION`].
    pub version: u8,
    /// Wall-clock time of the kernel's clock.
    pub time: Timestamp,
    /// The agent; empty when the host or the kernel itself acted.
    pub agent: &'a str,
    /// Which life of that name.
    pub generation: u64,
    /// Number of the call this belongs to; 0 when it belongs to none. Intent and outcome share it.
    pub call: u64,
    /// Digest of the event before it on the same chain, zero for the first: see the module `chain`.
    pub prev: Digest,
    /// What happened.
    #[serde(borrow)]
    pub body: Body<'a>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body<'a> {
    /// The kernel started under this policy.
    Boot {
        /// Digest of the policy set, the first generation.
        policy: Digest,
        /// The documents of all its layers, as canonical JSON.
        document: &'a [u8],
    },
    /// An agent was created.
    Spawn {
        /// What the host said about it, as canonical JSON.
        facts: &'a [u8],
        /// Whose agent it is; empty when nobody said.
        tenant: &'a str,
        /// What is known of everything it starts out with.
        labels: LabelSet,
        /// Generation of the policy set it is spawned under.
        under: u64,
        /// The document of its task's policy, as canonical JSON; empty when it has none.
        task: &'a [u8],
        /// Whether what it is allowed to do is not done.
        dry_run: bool,
    },
    /// A call was allowed and is about to be carried out.
    Intent {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
        /// The approval that was taken for it, if the decision is to ask.
        ticket: Option<TicketId>,
    },
    /// A call was refused by policy; nothing was done.
    Refused {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
    },
    /// A call was refused before it was judged: malformed, or from an agent that may make none.
    Rejected {
        /// ABI number of the call.
        syscall: u8,
        /// What is known of it.
        what: &'a str,
        /// Stable code of the error.
        code: &'a str,
        /// The error.
        error: &'a str,
    },
    /// A question was answered; nothing was done.
    Question {
        /// The call asked about.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision it would get.
        #[serde(borrow)]
        decision: Decided<'a>,
    },
    /// A call that had an intent came to its end.
    Outcome {
        /// How.
        #[serde(borrow)]
        outcome: Outcome<'a>,
        /// How long it took, in microseconds of the monotonic clock.
        micros: u64,
    },
    /// A signal was raised.
    Signal {
        /// Its number.
        signal: u8,
        /// Who raised it.
        #[serde(borrow)]
        from: Actor<'a>,
        /// Why.
        reason: &'a str,
        /// Whether its default action was taken; otherwise it waits, or found nothing to do.
        delivered: bool,
    },
    /// An agent ended.
    Exit {
        /// How, in words.
        status: &'a str,
    },
    /// The kernel could not keep a promise and takes no further calls.
    Panic {
        /// Which.
        reason: &'a str,
    },
    /// The kernel was shut down in order.
    Shutdown,
    /// The record was reopened and its last event cut off, because it was half-written or damaged.
    Recovered {
        /// Bytes that were cut off.
        dropped_bytes: u64,
    },
    /// Labels were taken off an agent.
    Declassified {
        /// Which.
        labels: LabelSet,
        /// Who said so.
        by: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The host changed something about an agent.
    Host {
        /// What, in words.
        action: &'a str,
    },
    /// A call needs an approval and waits for one; nothing was done.
    Held {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
        /// The ticket it waits for.
        ticket: TicketId,
    },
    /// Something happened to an approval.
    Approval {
        /// The ticket.
        ticket: TicketId,
        /// What happened.
        step: ApprovalStep,
        /// The principal that did it; empty when none did.
        by: &'a str,
        /// Digest of the agent, the call and the policy that the ticket is bound to.
        binding: Digest,
        /// The scope of a grant, or why it was refused or revoked; empty when there is nothing to say.
        reason: &'a str,
    },
    /// A budget is at least 80 % used, or all of it.
    Budget {
        /// Whose.
        account: &'a str,
        /// Of what.
        resource: &'a str,
        /// How much is used.
        used: u64,
        /// How much there is.
        limit: u64,
        /// Whether nothing is left.
        exhausted: bool,
    },
    /// A call was refused as it had been before, from memory; nothing was done.
    Repeated {
        /// ABI number of the call.
        syscall: u8,
        /// What it was about.
        what: &'a str,
        /// Number of the same call that was refused first; its [`Body::Refused`] has the request and the decision.
        of: u64,
        /// Stable code of the refusal.
        code: &'a str,
    },
    /// Another policy set came into force.
    Reload {
        /// Its generation.
        generation: u64,
        /// Digest of the set.
        policy: Digest,
        /// The documents of all its layers, as canonical JSON.
        document: &'a [u8],
        /// Whether agents that were alive may do what it allows beyond the set before.
        forced: bool,
    },
}

/// What can happen to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ApprovalStep {
    /// It was asked for.
    Asked,
    /// A principal agreed; others may have to.
    Granted,
    /// A principal said no.
    Refused,
    /// Its time ran out.
    Expired,
    /// It was withdrawn.
    Revoked,
    /// A call was let through on it.
    Used,
}

impl ApprovalStep {
    /// The step in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Used => "used",
        }
    }
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "there is nobody else")]
pub enum Actor<'a> {
    /// The program that embeds the kernel.
    Host,
    /// The kernel itself.
    Kernel,
    /// An agent.
    Agent(&'a str),
}

impl std::fmt::Display for Actor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Kernel => f.write_str("the kernel"),
            Self::Agent(name) => write!(f, "agent {name}"),
        }
    }
}

/// A call, as policy saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Read.
    Read {
        /// Path as the agent sees it.
        path: &'a str,
        /// The descriptor read through.
        descriptor: Option<u32>,
        /// Where it starts; `None` is the descriptor's position.
        offset: Option<u64>,
        /// Most bytes.
        length: u64,
    },
    /// Write.
    Write {
        /// Path as the agent sees it.
        path: &'a str,
        /// `replace`, `append`, `create_new` or `remove`; `descriptor` for a write through one.
        mode: &'a str,
        /// The descriptor written through.
        descriptor: Option<u32>,
        /// Where, if said; otherwise at the descriptor's position.
        offset: Option<u64>,
        /// The version the file had to be in, if said.
        expected: Option<u128>,
        /// How many bytes.
        bytes: u64,
        /// Digest of the bytes.
        digest: Digest,
    },
    /// Open.
    Open {
        /// Path as the agent sees it.
        path: &'a str,
        /// What for.
        flags: OpenFlags,
    },
    /// Close.
    Close {
        /// Number of the descriptor.
        descriptor: u64,
    },
    /// Exec.
    Exec {
        /// The tool.
        tool: &'a str,
        /// Digest of the tool's contract.
        contract: Digest,
        /// What the contract says it may do to the world.
        effects: EffectSet,
        /// The arguments that were judged, in canonical form; these bytes are what the tool gets.
        arguments: &'a [u8],
        /// The caller's own limit, in microseconds, if it set one.
        deadline: Option<u64>,
    },
    /// Signal.
    Signal {
        /// The receiver.
        to: &'a str,
        /// The signal's number.
        signal: u8,
        /// Why.
        reason: &'a str,
    },
    /// Change of the own mask.
    Mask {
        /// Bits to block.
        block: u16,
        /// Bits to unblock.
        unblock: u16,
    },
    /// Wait for a signal.
    Await {
        /// Bits waited for.
        set: u16,
        /// How long at most, in microseconds.
        deadline: u64,
    },
    /// Exit.
    Exit {
        /// Code.
        code: i32,
        /// Last word.
        message: &'a str,
    },
}

/// A decision, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decided<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The rules that made it; empty when nothing matched, or when the call is always the agent's own business.
    #[serde(borrow)]
    pub rules: Vec<&'a str>,
    /// Digest of everything that decided: the layers in force, those the agent was spawned under, its task's.
    pub policy: Digest,
    /// Generation of the policy set in force.
    pub generation: u64,
    /// What was known of everything the agent had read when the decision was made.
    pub labels: LabelSet,
    /// What each argument of a tool call decides and what it carried, where that was found out; otherwise each is taken to
    /// have carried all that the agent did.
    #[serde(borrow)]
    pub arguments: Vec<(&'a str, ArgumentRole, LabelSet)>,
    /// Stable code of the refusal; `None` when the call was not refused. A call that the verdict allows is refused when
    /// a limit or budget leaves no room for it.
    pub reason: Option<&'a str>,
    /// What the host had put the kernel in; empty where the policy does not ask for it.
    pub mode: &'a str,
    /// How much of the budgets above the agent was used; empty where the policy does not ask for it.
    pub budgets: Vec<BudgetState>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It did what it was asked.
    Done {
        /// Digest of what came back.
        result: Digest,
        /// Size of what came back, in bytes.
        bytes: u64,
        /// What it carries.
        labels: LabelSet,
    },
    /// It failed.
    Failed {
        /// Stable code.
        code: &'a str,
        /// The error.
        error: &'a str,
    },
    /// The agent was ended, or gave the call up, while it ran.
    Cancelled,
    /// It was not carried out: the agent is on a dry run.
    Simulated,
}

impl Event<'_> {
    /// The event as one JSON object, for people and other programs. Not what is hashed.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut line = match &self.body {
            Body::Boot { policy, document } => {
                json!({"kind": "boot", "policy": policy.to_string(), "document": embedded(document)})
            }
            Body::Spawn { facts, tenant, labels, under, task, dry_run } => {
                let task = if task.is_empty() { Value::Null } else { embedded(task) };
                json!({"kind": "spawn", "facts": embedded(facts), "tenant": tenant, "labels": labels,
                    "policy_generation": under, "task_policy": task, "dry_run": dry_run})
            }
            Body::Intent { request, decision, ticket } => {
                let mut line = judged("intent", request, decision);
                if let Some(ticket) = ticket {
                    extend(&mut line, json!({"ticket": ticket}));
                }
                line
            }
            Body::Held { request, decision, ticket } => {
                let mut line = judged("held", request, decision);
                extend(&mut line, json!({"ticket": ticket}));
                line
            }
            Body::Approval { ticket, step, by, binding, reason } => {
                json!({"kind": "approval", "ticket": ticket, "step": step.name(), "by": by,
                    "binding": binding.to_string(), "reason": reason})
            }
            Body::Refused { request, decision } => judged("refused", request, decision),
            Body::Question { request, decision } => judged("question", request, decision),
            Body::Rejected { syscall, what, code, error } => {
                let call = call_name(*syscall);
                json!({"kind": "rejected", "syscall": call, "what": what, "code": code, "error": error})
            }
            Body::Outcome { outcome, micros } => {
                let mut line = match outcome {
                    Outcome::Done { result, bytes, labels } => {
                        json!({"outcome": "done", "result": result.to_string(), "bytes": bytes, "labels": labels})
                    }
                    Outcome::Failed { code, error } => {
                        json!({"outcome": "failed", "code": code, "error": error})
                    }
                    Outcome::Cancelled => json!({"outcome": "cancelled"}),
                    Outcome::Simulated => json!({"outcome": "simulated"}),
                };
                extend(&mut line, json!({"kind": "outcome", "micros": micros}));
                line
            }
            Body::Signal { signal, from, reason, delivered } => {
                json!({"kind": "signal", "signal": signal_name(*signal), "from": from.to_string(), "reason": reason,
                    "delivered": delivered})
            }
            Body::Exit { status } => json!({"kind": "exit", "status": status}),
            Body::Panic { reason } => json!({"kind": "panic", "reason": reason}),
            Body::Shutdown => json!({"kind": "shutdown"}),
            Body::Recovered { dropped_bytes } => json!({"kind": "recovered", "dropped_bytes": dropped_bytes}),
            Body::Declassified { labels, by, reason } => {
                json!({"kind": "declassified", "labels": labels, "by": by, "reason": reason})
            }
            Body::Host { action } => json!({"kind": "host", "action": action}),
            Body::Budget { account, resource, used, limit, exhausted } => {
                json!({"kind": "budget", "account": account, "resource": resource, "used": used, "limit": limit,
                    "exhausted": exhausted})
            }
            Body::Repeated { syscall, what, of, code } => {
                let call = call_name(*syscall);
                json!({"kind": "repeated", "syscall": call, "what": what, "repeats": of, "code": code})
            }
            Body::Reload { generation, policy, document, forced } => {
                json!({"kind": "reload", "policy_generation": generation, "policy": policy.to_string(),
                    "document": embedded(document), "forced": forced})
            }
        };
        extend(
            &mut line,
            json!({"time": self.time.to_string(), "agent": self.agent, "generation": self.generation,
                "call": self.call}),
        );
        line
    }

    /// The event's kind in one word, as in [`Event::to_json`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.body {
            Body::Boot { .. } => "boot",
            Body::Spawn { .. } => "spawn",
            Body::Intent { .. } => "intent",
            Body::Refused { .. } => "refused",
            Body::Rejected { .. } => "rejected",
            Body::Question { .. } => "question",
            Body::Outcome { .. } => "outcome",
            Body::Signal { .. } => "signal",
            Body::Exit { .. } => "exit",
            Body::Panic { .. } => "panic",
            Body::Shutdown => "shutdown",
            Body::Recovered { .. } => "recovered",
            Body::Declassified { .. } => "declassified",
            Body::Host { .. } => "host",
            Body::Held { .. } => "held",
            Body::Approval { .. } => "approval",
            Body::Budget { .. } => "budget",
            Body::Repeated { .. } => "repeated",
            Body::Reload { .. } => "reload",
        }
    }
}

impl Request<'_> {
    /// Which of the eight calls this is.
    #[must_use]
    pub fn call(&self) -> CallKind {
        match self {
            Self::Read { .. } => CallKind::Read,
            Self::Write { .. } => CallKind::Write,
            Self::Open { .. } => CallKind::Open,
            Self::Close { .. } => CallKind::Close,
            Self::Exec { .. } => CallKind::Exec,
            Self::Signal { .. } | Self::Mask { .. } | Self::Await { .. } => CallKind::Signal,
            Self::Exit { .. } => CallKind::Exit,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Read { path, descriptor, offset, length } => {
                json!({"path": path, "descriptor": descriptor, "offset": offset, "length": length})
            }
            Self::Write { path, mode, descriptor, offset, expected, bytes, digest } => {
                let expected = expected.map(|version| version.to_string());
                json!({"path": path, "mode": mode, "descriptor": descriptor, "offset": offset,
                    "expected": expected, "bytes": bytes, "digest": digest.to_string()})
            }
            Self::Open { path, flags } => json!({"path": path, "flags": flags}),
            Self::Close { descriptor } => json!({"descriptor": descriptor}),
            Self::Exec { tool, contract, effects, arguments, deadline } => {
                let effects: Vec<&str> = effects.iter().map(Effect::as_str).collect();
                json!({"tool": tool, "contract": contract.to_string(), "effects": effects, "arguments": embedded(arguments),
                    "deadline_micros": deadline})
            }
            Self::Signal { to, signal, reason } => {
                json!({"to": to, "signal": signal_name(*signal), "reason": reason})
            }
            Self::Mask { block, unblock } => json!({"block": block, "unblock": unblock}),
            Self::Await { set, deadline } => json!({"await": set, "deadline_micros": deadline}),
            Self::Exit { code, message } => json!({"code": code, "message": message}),
        }
    }
}

fn call_name(number: u8) -> Option<&'static str> {
    CallKind::ALL.into_iter().find(|kind| kind.number() == number).map(CallKind::name)
}

fn judged(kind: &str, request: &Request<'_>, decision: &Decided<'_>) -> Value {
    json!({"kind": kind, "syscall": request.call().name(), "request": request.to_json(),
        "verdict": decision.verdict.to_string(), "rules": decision.rules, "policy": decision.policy.to_string(),
        "policy_generation": decision.generation, "labels": decision.labels,
        "argument_labels": argument_labels(decision),
        "reason": decision.reason, "mode": decision.mode, "budgets": decision.budgets})
}

fn argument_labels<'d>(decision: &'d Decided<'_>) -> BTreeMap<&'d str, &'d LabelSet> {
    decision.arguments.iter().map(|(name, _, labels)| (*name, labels)).collect()
}

/// Canonical JSON kept inside an event, as the value it stands for; anything else as text.
fn embedded(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn signal_name(number: u8) -> String {
    Signal::from_number(number).map_or_else(|| number.to_string(), |signal| signal.name().to_owned())
}

fn extend(line: &mut Value, more: Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more);
    }
}

#[cfg(test)]
mod pinned;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_its_encoding_and_exports_on_one_line() {
        let event = Event {
            version: EVENT_VERSION,
            time: Timestamp::from_micros(1),
            agent: "w",
            generation: 3,
            call: 7,
            prev: Digest::ZERO,
            body: Body::Intent {
                request: Request::Exec {
                    tool: "echo",
                    contract: Digest::ZERO,
                    effects: EffectSet::default(),
                    arguments: br#"{"text":"x\n{\"seq\":99}"}"#,
                    deadline: None,
                },
                decision: Decided {
                    verdict: Verdict::Allow,
                    rules: vec!["r1"],
                    policy: Digest::ZERO,
                    generation: 1,
                    labels: LabelSet::EMPTY,
                    arguments: vec![("text", ArgumentRole::Content, LabelSet::EMPTY)],
                    reason: None,
                    mode: "",
                    budgets: Vec::new(),
                },
                ticket: Some(TicketId::from_bytes([7; 16])),
            },
        };
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(postcard::from_bytes::<Event<'_>>(&bytes).unwrap(), event);
        let line = event.to_json().to_string();
        assert!(!line.contains('\n'));
        assert_eq!(event.to_json()["request"]["arguments"]["text"], "x\n{\"seq\":99}");
    }
}
