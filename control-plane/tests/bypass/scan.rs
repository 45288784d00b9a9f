//! Steps that ask a detector. What it says is advice: no call is made, and nothing is decided or recorded.

use std::collections::BTreeMap;

use agent_control_plane::primitives::detect::{KindSet, find, injection};
use agent_control_plane::primitives::text::Limits;
use serde_json::Value;

use crate::case::{Step, build};
use crate::run::Got;

/// Detectors that look for orders to a model, whether a prompt, a memory or a tool's description brings them.
const ORDERS: [&str; 6] = ["injection", "prompt_injection", "memory", "memory_guard", "tool", "mcp"];
/// Detectors that look for what somebody may want to keep to themselves.
const SENSITIVE: [&str; 8] =
    ["sensitive", "pii", "secret", "secrets", "credential", "credentials", "data", "leak"];
/// The fields of a step that hold what is looked at.
const LOOKED_AT: [&str; 6] = ["text", "texts", "data", "value", "args", "content"];

pub(crate) fn waits_for(step: &Step) -> Option<String> {
    let detector = detector(step);
    if !ORDERS.contains(&detector) && !SENSITIVE.contains(&detector) {
        return Some(format!("a detector this harness does not know (`{detector}`)"));
    }
    step.first(&LOOKED_AT).is_none().then(|| "a scan that shows the detector nothing".to_owned())
}

fn detector(step: &Step) -> &str {
    let key = step.first(&["detector", "kind"]).unwrap_or("detector");
    if step.text(key).is_empty() { "injection" } else { step.text(key) }
}

/// Looks at each text alone and at all of them as one: what is split over fields is put together by its reader.
pub(crate) fn carry_out(step: &Step, saved: &BTreeMap<String, Value>) -> Got {
    let mut texts = Vec::new();
    for key in LOOKED_AT.iter().filter(|key| step.fields.contains_key(**key)) {
        match build(step.value(key), saved) {
            Ok(value) => leaves(&value, &mut texts),
            // Text that is none is looked at as a terminal shows it.
            Err(_not_text) => {
                let bytes = step.bytes(key, saved).unwrap_or_default();
                texts.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    texts.push(texts.join(" "));
    let orders = ORDERS.contains(&detector(step));
    let flagged = texts.iter().any(|text| if orders { gives_orders(text) } else { is_sensitive(text) });
    if flagged { Got::Flagged } else { Got::Clean }
}

fn gives_orders(text: &str) -> bool {
    let advice = injection::look(text, &Limits::default());
    advice.is_flagged() || advice.incomplete
}

fn is_sensitive(text: &str) -> bool {
    find(text, KindSet::ALL, &Limits::default()).map_or(true, |seen| seen.is_some())
}

fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| {
            out.push(key.clone());
            leaves(value, out);
        }),
        other => out.push(other.to_string()),
    }
}
