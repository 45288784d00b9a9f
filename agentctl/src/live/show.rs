//! What a kernel answers, for people and for programs.

use std::io::Write;

use agent_control_plane::control::protocol::Action;
use serde_json::{Value, json};

use super::Output;
use crate::log::cut;

/// Longest text shown in a column, in characters.
const WIDTH: usize = 120;

/// One event of the record.
pub(super) fn event(event: &Value, output: Output, out: &mut impl Write) -> std::io::Result<()> {
    if output == Output::Json {
        return writeln!(out, "{event}");
    }
    let request = event.get("request");
    let of_request = |key: &str| request.and_then(|request| request.get(key)).map(text);
    let object = of_request("tool").or_else(|| of_request("path")).or_else(|| of_request("to"));
    let rest = ["action", "signal", "status", "outcome", "reason", "part"].map(|key| field(event, key));
    let parts = [field(event, "syscall"), object.unwrap_or_default(), field(event, "verdict")];
    let said: Vec<String> = parts.into_iter().chain(rest).filter(|part| !part.is_empty()).collect();
    let agent =
        Some(field(event, "agent")).filter(|agent| !agent.is_empty()).unwrap_or_else(|| "-".to_owned());
    writeln!(out, "{:>5}  {agent:<10} {:<9} {}", field(event, "seq"), field(event, "kind"), said.join("  "))
}

/// The end of an answer.
pub(super) fn answer(
    action: &Action,
    value: &Value,
    output: Output,
    out: &mut impl Write,
) -> std::io::Result<()> {
    if output == Output::Json {
        // What a tail printed is all of it.
        return if matches!(action, Action::Tail { .. }) {
            Ok(())
        } else {
            writeln!(out, "{}", versioned(value))
        };
    }
    match action {
        Action::Ps => {
            let columns = ["agent", "state", "generation", "tenant", "in_flight", "labels", "budgets"];
            table(&columns, value.get("agents"), out)
        }
        Action::Approvals => {
            let columns = ["ticket", "state", "agent", "expires", "rules", "what"];
            table(&columns, value.get("approvals"), out)
        }
        Action::Metrics => metrics(value, out),
        Action::Tail { .. } => Ok(()),
        _ => fields(value, out),
    }
}

fn versioned(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.insert("version".to_owned(), json!(1));
    }
    value
}

fn table(columns: &[&str], rows: Option<&Value>, out: &mut impl Write) -> std::io::Result<()> {
    let rows = rows.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| field(row, column)).collect()).collect();
    let width = |at: usize, name: &str| {
        let longest = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
        longest.unwrap_or(0).max(name.len())
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(at, name)| width(at, name)).collect();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut columns.iter().map(|name| name.to_uppercase()))?;
    cells.into_iter().try_for_each(|row| line(&mut row.into_iter()))
}

fn metrics(value: &Value, out: &mut impl Write) -> std::io::Result<()> {
    table(&["syscall", "verdict", "count"], value.get("calls"), out)?;
    let mut rest = value.clone();
    if let Value::Object(rest) = &mut rest {
        rest.remove("calls");
    }
    fields(&rest, out)
}

fn fields(value: &Value, out: &mut impl Write) -> std::io::Result<()> {
    let Value::Object(fields) = value else { return writeln!(out, "{}", text(value)) };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        writeln!(out, "{name:<18} {}", text(value))?;
    }
    Ok(())
}

fn field(row: &Value, name: &str) -> String {
    row.get(name).map(text).unwrap_or_default()
}

/// A value in a few words. Everything an agent can have a say in is cut and cleaned, so that it cannot pass for more.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => cut(text, WIDTH),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.contains_key("resource") => {
            let part = |key| fields.get(key).map(text).unwrap_or_default();
            format!("{} {}: {} of {}", part("account"), part("resource"), part("used"), part("limit"))
        }
        Value::Object(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key} {}", text(value))).collect();
            cut(&parts.join(", "), WIDTH)
        }
        other => other.to_string(),
    }
}
