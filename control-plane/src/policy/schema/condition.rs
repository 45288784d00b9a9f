//! The form of conditions: the entries of `when`.

use agent_tool_registry::Effect;
use serde_json::{Map, Value, json};

use super::super::condition::{KINDS, budget, time};
use super::super::guard::words;
use super::super::subject::ROOTS;
use super::{calls, described, list_of, one_of, one_or_more, reference, selectors};
use crate::budget::Level;

/// The names of conditions on labels.
const LABELS: &str = r"^labels(\.(args|authority|content))?$|^labels\.args\.[\s\S]";

pub(super) fn definitions() -> [(&'static str, Value); 10] {
    [
        ("when", when()),
        ("labels", labels()),
        ("effects", effects()),
        ("window", window()),
        ("mode", mode()),
        ("balance", balance()),
        ("amounts", amounts()),
        ("count", count()),
        ("sum", sum()),
        ("deeds", deeds()),
    ]
}

fn when() -> Value {
    let roots: Vec<&str> = ROOTS.iter().map(|(name, _)| *name).collect();
    let words = KINDS.map(|(name, _)| name).join("|");
    let names = format!(r"^({})(\.|$)|^({words})$|{LABELS}", roots.join("|"));
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": names},
        "properties": {
            "effects": described("What the tool's contract declares.", reference("effects")),
            "time": described("The time of the call, in one of these windows.", one_or_more(&reference("window"))),
            "mode": described("What the host has put the kernel in.", reference("mode")),
            "budget": described("How much of budgets is used or left.", one_or_more(&reference("balance"))),
            "count": described("How often the agent has done this.", one_or_more(&reference("count"))),
            "sum": described(
                "What an argument adds up to, this call included.",
                one_or_more(&reference("sum")),
            ),
            "after": described("The agent has done this.", one_or_more(&reference("deeds"))),
            "unless_after": described("The agent has not done this.", one_or_more(&reference("deeds"))),
        },
        "patternProperties": {LABELS: reference("labels")},
        "additionalProperties": reference("guard"),
    })
}

fn labels() -> Value {
    some_of("Which labels are there.", ["any_of", "all_of", "none_of"].map(|name| (name, reference("texts"))))
}

fn effects() -> Value {
    let effects = list_of(&one_of(Effect::ALL.map(Effect::as_str)));
    some_of("Which effects are declared.", ["only", "any_of", "none_of"].map(|name| (name, effects.clone())))
}

fn mode() -> Value {
    let modes = list_of(&reference("name"));
    some_of(
        "Which mode it is; `normal` if the host chose none.",
        ["in", "not_in"].map(|name| (name, modes.clone())),
    )
}

fn window() -> Value {
    let minute = json!({"type": "string", "description": "`08:00`, up to `24:00`."});
    json!({
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{"required": ["days"]}, {"required": ["from"]}],
        "dependentRequired": {"from": ["to"], "to": ["from"]},
        "properties": {
            "zone": described("`UTC` if left out.", one_of(time::zones())),
            "days": described("Those on which the window begins.", list_of(&one_of(time::DAYS.map(|(name, _)| name)))),
            "from": minute.clone(),
            "to": minute,
        },
    })
}

fn balance() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["resource"],
        "anyOf": [{"required": ["remaining"]}, {"required": ["used"]}],
        "properties": {
            "account": described("`agent` if left out.", one_of(Level::NAMES.map(|(name, _)| name))),
            "resource": {
                "description": "`tokens`, `calls`, `bytes`, `wall_time` or the code of a currency.",
                "type": "string",
                "pattern": "^(tokens|calls|bytes|wall_time|[A-Z]{3})$",
            },
            "remaining": reference("amounts"),
            "used": reference("amounts"),
        },
    })
}

/// Whether text is an amount depends on the resource.
fn amounts() -> Value {
    some_of(
        "A whole number, an amount of money or a share of the limit.",
        budget::RELATIONS.map(|(name, _)| (name, json!({"type": ["integer", "string"], "minimum": 0}))),
    )
}

fn count() -> Value {
    past(["calls", "tools", "paths", "targets", "within"], Some(&json!({"type": "integer", "minimum": 0})))
}

fn deeds() -> Value {
    past(["calls", "tools", "paths", "targets", "within"], None)
}

fn sum() -> Value {
    let mut sum = past(["of", "tools", "within"], Some(&json!({"type": "number"})));
    if let Some(fields) = sum.as_object_mut() {
        fields.insert("required".to_owned(), json!(["of", "tools"]));
    }
    sum
}

/// Calls of the past, selected by `fields` and, if there is a `bound`, compared with it.
fn past<const N: usize>(fields: [&str; N], bound: Option<&Value>) -> Value {
    let field = |name: &str| match name {
        "calls" => described("Every call that goes with the selectors, if left out.", calls()),
        "of" => json!({"type": "string", "description": "The argument: `args.amount`."}),
        "within" => {
            json!({"type": "string", "description": "`90s`, `5m`, `1h` or `7d`; all its life, if left out."})
        }
        _ => reference("texts"),
    };
    let mut properties: Map<_, _> = fields.iter().map(|name| ((*name).to_owned(), field(name))).collect();
    let mut conditions = selectors().to_vec();
    conditions.push(any_required(["calls", "tools", "paths", "targets"]));
    if let Some(bound) = bound {
        properties.extend(words::comparisons().map(|name| (name.to_owned(), bound.clone())));
        conditions.push(any_required(words::comparisons()));
    }
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "allOf": conditions,
    })
}

fn any_required<'n>(names: impl IntoIterator<Item = &'n str>) -> Value {
    let required: Vec<Value> = names.into_iter().map(|name| json!({"required": [name]})).collect();
    json!({ "anyOf": required })
}

/// A map with at least one of these entries.
fn some_of<const N: usize>(text: &str, fields: [(&str, Value); N]) -> Value {
    let properties: Map<_, _> = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({
        "description": text,
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": properties,
    })
}
