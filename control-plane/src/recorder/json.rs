//! Events as JSON, for people and other programs: one object each. Not what is hashed.

use std::collections::BTreeMap;

use agent_primitives::{LabelSet, Signal};
use agent_tool_registry::Effect;
use serde_json::{Value, json};

use super::event::{Body, Decided, Deed, Event, Outcome, Request};
use crate::question::CallKind;

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
            Body::Delivered { signal, to, from, reason, raised, labels } => {
                json!({"kind": "delivered", "signal": signal_name(*signal), "to": to.name(), "from": from.to_string(),
                    "reason": reason, "raised": raised.to_string(), "labels": labels})
            }
            Body::Handler { signal, step, reason } => {
                json!({"kind": "handler", "signal": signal_name(*signal), "step": step.name(), "reason": reason})
            }
            Body::Impaired { part, reason } => json!({"kind": "impaired", "part": part, "reason": reason}),
            Body::Mended { part } => json!({"kind": "mended", "part": part}),
            Body::Child { parent, parent_generation, program } => {
                json!({"kind": "child", "parent": parent, "parent_generation": parent_generation,
                    "program": program})
            }
            Body::Checkpoint { file, digest, bytes } => {
                json!({"kind": "checkpoint", "file": file, "digest": digest.to_string(), "bytes": bytes})
            }
            Body::Diagnostics { file, bytes } => {
                json!({"kind": "diagnostics", "file": file, "bytes": bytes})
            }
            Body::NotTaken { signal, error } => {
                json!({"kind": "not_taken", "signal": signal_name(*signal), "error": error})
            }
            Body::Restored { checkpoint, files, lost } => {
                json!({"kind": "restored", "checkpoint": checkpoint.to_string(), "files": files,
                    "lost": lost})
            }
            Body::Ran { level, guarantees, usage } => {
                json!({"kind": "ran", "level": level, "guarantees": guarantees, "cpu_micros": usage.cpu,
                    "peak_memory": usage.peak_memory, "peak_processes": usage.peak_processes, "fuel": usage.fuel})
            }
            Body::Ordered { order, held } => {
                let held: Vec<Value> = held
                    .iter()
                    .map(|hold| json!({"level": hold.level, "held": hold.held, "programs": hold.programs}))
                    .collect();
                json!({"kind": "ordered", "order": order, "held": held})
            }
            Body::Judged { request, decision, facts, tenant, past } => {
                let mut line = judged("judged", request, decision);
                let past = past.as_ref().map(|past| past.iter().map(Deed::to_json).collect::<Vec<_>>());
                extend(&mut line, json!({"facts": embedded(facts), "tenant": tenant, "past": past}));
                line
            }
        };
        extend(
            &mut line,
            json!({"time": self.time.to_string(), "agent": self.agent, "generation": self.generation,
                "call": self.call}),
        );
        line
    }
}

impl Deed<'_> {
    fn to_json(&self) -> Value {
        let arguments = if self.arguments.is_empty() { Value::Null } else { embedded(self.arguments) };
        json!({"time": self.time.to_string(), "call": call_name(self.call), "object": self.object, "arguments": arguments})
    }
}

impl Request<'_> {
    fn to_json(&self) -> Value {
        match self {
            Self::Read { path, descriptor, offset, length, nonblock, query } => {
                let (words, hits) = query.unzip();
                json!({"path": path, "descriptor": descriptor, "offset": offset, "length": length,
                    "nonblock": nonblock, "query": words, "hits": hits})
            }
            Self::Write { path, mode, descriptor, offset, expected, bytes, digest, ttl } => {
                let expected = expected.map(|version| version.to_string());
                json!({"path": path, "mode": mode, "descriptor": descriptor, "offset": offset,
                    "expected": expected, "bytes": bytes, "digest": digest.to_string(), "ttl_micros": ttl})
            }
            Self::Open { path, flags } => json!({"path": path, "flags": flags}),
            Self::Close { descriptor } => json!({"descriptor": descriptor}),
            Self::Exec { tool, contract, effects, arguments, deadline } => {
                let effects: Vec<&str> = effects.iter().map(Effect::as_str).collect();
                json!({"tool": tool, "contract": contract.to_string(), "effects": effects, "arguments": embedded(arguments),
                    "deadline_micros": deadline})
            }
            Self::ExecRedacted { tool, contract, effects, arguments, digest, redacted, deadline } => {
                let effects: Vec<&str> = effects.iter().map(Effect::as_str).collect();
                json!({"tool": tool, "contract": contract.to_string(), "effects": effects, "arguments": embedded(arguments),
                    "digest": digest.to_string(), "redacted": redacted, "deadline_micros": deadline})
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
#[path = "json_tests.rs"]
mod tests;
