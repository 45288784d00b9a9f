//! A registry with many tools: what it costs to fill, to hold, to look one up in and to search, beside looking at every
//! description in turn.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_os_benches::machine;
use agent_os_benches::statistics::{Effort, Stopwatch, measure};
use agent_os_benches::table::{Table, time};
use agent_primitives::ToolId;
use agent_tool_registry::{Effect, Registry, RegistryError, Tool, ToolContract};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{Scale, print, progress};

/// How many tools there are.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// What is asked for: common and rare words, none that a tool has all of.
const QUESTIONS: [&str; 4] = [
    "send invoice to customer",
    "archive old records",
    "report 77",
    "update the shipment of a warehouse today",
];
const VERBS: [&str; 12] = [
    "create", "list", "update", "delete", "send", "archive", "export", "approve", "schedule", "cancel",
    "assign", "report",
];
const NOUNS: [&str; 20] = [
    "invoice",
    "customer",
    "order",
    "ticket",
    "shipment",
    "contract",
    "employee",
    "meeting",
    "warehouse",
    "payment",
    "campaign",
    "document",
    "project",
    "vendor",
    "record",
    "budget",
    "product",
    "subscription",
    "incident",
    "account",
];

pub(crate) fn run(watch: &Stopwatch, scale: Scale) -> anyhow::Result<()> {
    let mut filling = Table::new([
        "tools",
        "registering all",
        "memory of each",
        "memory of each, no two schemas equal",
        "first search",
    ]);
    let mut asking = Table::of_figures("tools, operation");
    for size in SIZES {
        progress(&format!("  {size} tools"));
        let before = resident()?;
        // The harder case first: what it frees must not make room for the other.
        let different = filled(size, true)?;
        let of_different = resident()?.saturating_sub(before) / size as u64;
        let before = resident()?;
        let start = watch.read();
        let registry = filled(size, false)?;
        let registering = watch.lap(start);
        let each = resident()?.saturating_sub(before) / size as u64;
        drop(different);
        let start = watch.read();
        registry.search("invoice", 5, &all);
        let first = watch.lap(start);
        let (each, of_different) = (format!("{each} B"), format!("{of_different} B"));
        filling.row([size.to_string(), time(registering as f64), each, of_different, time(first as f64)]);
        ask(watch, scale, &registry, size, &mut asking)?;
    }
    print(format!("\n## Search\n\n{filling}\n{asking}"))
}

fn ask(
    watch: &Stopwatch,
    scale: Scale,
    registry: &Registry,
    size: usize,
    table: &mut Table,
) -> anyhow::Result<()> {
    let names: Vec<ToolId> = (0..size)
        .step_by((size / 997).max(1))
        .map(|number| Ok(name(number).parse()?))
        .collect::<anyhow::Result<_>>()?;
    let figure = measure(watch, effort(scale), names.len(), |turn| {
        let id = names.get(turn).context("no name")?;
        registry.resolve(id).map_err(anyhow::Error::from)
    })?;
    table.figure(&format!("{size}, get"), &figure);
    let question = |turn: usize| QUESTIONS.get(turn).copied().context("no question");
    let figure = measure(watch, effort(scale), QUESTIONS.len(), |turn| {
        let found = registry.search(question(turn)?, 5, &all);
        ensure!(!found.is_empty());
        Ok(found)
    })?;
    table.figure(&format!("{size}, search"), &figure);
    let snapshot = registry.snapshot();
    let figure = measure(watch, effort(scale), QUESTIONS.len(), |turn| {
        anyhow::Ok(by_hand(snapshot.all(), question(turn)?))
    })?;
    table.figure(&format!("{size}, by hand: any of the words in each description"), &figure);
    Ok(())
}

fn effort(scale: Scale) -> Effort {
    Effort {
        warm_up: Duration::from_millis(100),
        batch: Duration::from_millis(1),
        batches: scale.of(50),
        repetitions: scale.of(5).max(3),
        samples: scale.of(2_000),
        longest: Duration::from_secs(2),
    }
}

/// What stands there without an index: every description looked at for every word, and the five that have the most.
fn by_hand<'t>(tools: impl Iterator<Item = &'t Tool>, question: &str) -> Vec<&'t ToolContract> {
    let words: Vec<&str> = question.split_whitespace().collect();
    let mut best: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut contracts = Vec::new();
    for (place, tool) in tools.enumerate() {
        let text = tool.contract().description();
        let held = words.iter().filter(|word| text.contains(*word)).count();
        contracts.push(&**tool.contract());
        best.insert((held, usize::MAX - place));
        if 5 < best.len() {
            best.pop_first();
        }
    }
    best.iter().rev().filter_map(|(_, place)| contracts.get(usize::MAX - place).copied()).collect()
}

fn all(_contract: &ToolContract) -> bool {
    true
}

fn name(number: usize) -> String {
    let (verb, noun) = words(number);
    format!("suite{}/{verb}_{noun}_{number}", number % 97)
}

fn words(number: usize) -> (&'static str, &'static str) {
    let of =
        |list: &[&'static str], number: usize| list.get(number % list.len()).copied().unwrap_or_default();
    (of(&VERBS, number), of(&NOUNS, number / VERBS.len()))
}

/// A registry with a schema of ten fields for each tool: the same for all, or another for each.
fn filled(size: usize, different: bool) -> Result<Registry, RegistryError> {
    let mut schema = schema();
    let registry = Registry::builder().build();
    registry.register(|tools| {
        for number in 0..size {
            let (verb, noun) = words(number);
            let (other, last) = words(number / 7);
            let description = format!(
                "Lets the caller {verb} one {noun} of the suite, by its number {number}. Where there is a {last}, it is told \
                 to {other} it too, and the answer says what was done."
            );
            if different && let Some(root) = schema.as_object_mut() {
                root.insert("title".to_owned(), name(number).into());
            }
            let tool = tools.tool(&name(number)).description(&description).tags([verb, noun]);
            tool.effects([Effect::Read]).run_raw(schema.clone(), |_, _| async { Ok(()) })?;
        }
        Ok(())
    })?;
    Ok(registry)
}

fn schema() -> Value {
    let field = |number: usize| {
        let kind = if number.is_multiple_of(2) { "string" } else { "integer" };
        (format!("field_{number}"), json!({"type": kind, "description": "What the field is for."}))
    };
    let fields: serde_json::Map<String, Value> = (0..10).map(field).collect();
    json!({"type": "object", "properties": fields, "required": ["field_0"]})
}

fn resident() -> anyhow::Result<u64> {
    machine::resident().context("this system does not tell how much memory a process uses")
}
