//! The form of rules, of what they grant and of whom they ask.

use agent_primitives::Signal;
use agent_primitives::rate::MAX_CELLS;
use agent_primitives::ticket::{MAX_QUORUM, Scope as Consent};
use serde_json::{Value, json};

use super::super::ask::MAX_APPROVERS;
use super::super::document::EFFECTS;
use super::super::limits::Scope;
use super::{calls, described, list_of, one_of, one_or_more, reference, selectors};
use crate::budget::MAX_CONCURRENCY;

pub(super) fn definitions() -> [(&'static str, Value); 4] {
    [("rule", rule()), ("ask", ask()), ("limit", limit()), ("rate", rate())]
}

fn rule() -> Value {
    let only_where = |effects: &[&str], field: &str| {
        json!({
            "if": {"required": [field]},
            "then": {"properties": {"effect": {"enum": effects}}},
        })
    };
    let mut rules = selectors().to_vec();
    rules.extend([
        only_where(&["deny", "ask"], "on_violation"),
        only_where(&["allow", "ask"], "limits"),
        only_where(&["ask"], "ask"),
    ]);
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "effect", "calls"],
        "properties": {
            "id": described("Unique in the policy.", reference("name")),
            "effect": described("What the rule says when it matches.", one_of(EFFECTS.map(|(name, _)| name))),
            "calls": described("The system calls the rule is about.", calls()),
            "tools": described("Tool ids or patterns; goes with `exec`.", reference("texts")),
            "paths": described("Paths or patterns; goes with `read`, `write` and `open`.", reference("texts")),
            "targets": described("Ids of receiving agents or patterns, `@self` or `@descendants`; goes with `signal`.", reference("texts")),
            "signals": described(
                "Which signals; all, if left out.",
                list_of(&one_of(Signal::ALL.map(Signal::name))),
            ),
            "agents": described("Ids of calling agents or patterns; everybody, if left out.", reference("texts")),
            "tenants": described(
                "Tenants of calling agents or patterns; everybody, if left out.",
                reference("texts"),
            ),
            "when": described("What must hold besides, all of it.", reference("when")),
            "limits": described("How often and how much the rule grants.", one_or_more(&reference("limit"))),
            "ask": described("Whose consent the rule wants; goes with the effect `ask`.", reference("ask")),
            "on_violation": described("What this rule's refusal does to the agent.", reference("on_violation")),
        },
        "allOf": rules,
    })
}

fn ask() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "approvers": {
                "description": "Names and groups whose word counts; anybody the host lets approve, if left out.",
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_APPROVERS,
                "items": {"type": "string"},
            },
            "quorum": {
                "description": "How many different approvers must agree; 1 if left out.",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_QUORUM,
            },
            "timeout": {"type": "string", "description": "How long the question stands: `10m`, at most `7d`."},
            "scope": described(
                "The most that can be granted; `once` if left out.",
                one_of(Consent::ALL.map(Consent::name)),
            ),
        },
    })
}

fn limit() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{"required": ["rate"]}, {"required": ["concurrency"]}, {"required": ["cost"]}],
        "properties": {
            "rate": described("How many calls in a period.", reference("rate")),
            "concurrency": {
                "description": "How many calls at once.",
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_CONCURRENCY,
            },
            "cost": {"type": "string", "description": "How much money in a period: `5 USD/day`; goes with `exec`."},
            "per": described(
                "Whose calls are counted together; `agent` if left out.",
                one_of(Scope::NAMES.map(|(name, _)| name)),
            ),
        },
    })
}

fn rate() -> Value {
    let plain =
        json!({"type": "string", "description": "`60/min`; periods are `s`, `min`, `hour` and `day`."});
    json!({"anyOf": [
        plain.clone(),
        {
            "description": "Paced: so many at once, and then one after the other.",
            "type": "object",
            "additionalProperties": false,
            "required": ["rate", "burst"],
            "properties": {
                "rate": plain,
                "burst": {"type": "integer", "minimum": 1, "maximum": MAX_CELLS},
            },
        },
    ]})
}
