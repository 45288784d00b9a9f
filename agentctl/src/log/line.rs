//! One event on one line, for people.

use agent_control_plane::recorder::{RecordingError, Stored};
use serde_json::Value;

/// Longest text of an event shown in a column, in characters.
const WIDTH: usize = 120;

/// One event in columns: number, agent, what, verdict, why.
pub(super) fn line(stored: &Stored) -> Result<String, RecordingError> {
    let event = stored.to_json()?;
    // Everything an agent can have a say in is cut and cleaned, so that no event can pass for another one.
    let text = |key: &str| cut(event.get(key).and_then(Value::as_str).unwrap_or_default(), WIDTH);
    let agent = if text("agent").is_empty() { "-".to_owned() } else { text("agent") };
    let what = match text("kind").as_str() {
        "intent" | "refused" | "question" => {
            let request = event.get("request").cloned().unwrap_or_default();
            let rules: Vec<&str> = event
                .get("rules")
                .and_then(Value::as_array)
                .map(|rules| rules.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let rules = if rules.is_empty() { "no rule".to_owned() } else { rules.join(", ") };
            // What policy allows and a limit refuses must not look as if it had been done.
            let limited = text("kind") == "refused" && text("verdict") == "allow";
            let verdict = if limited { "limit".to_owned() } else { text("verdict") };
            let why = if limited { format!("{rules}; {}", text("reason")) } else { rules };
            format!("{verdict:<6} {:<7} {}  [{why}]", text("syscall"), brief(&request))
        }
        "outcome" => {
            let detail = match text("outcome").as_str() {
                "done" => format!("{} bytes", event.get("bytes").unwrap_or(&Value::Null)),
                "failed" => format!("{} {}", text("code"), text("error")),
                _ => String::new(),
            };
            let micros = event.get("micros").unwrap_or(&Value::Null);
            format!("       {:<7} {detail} in {micros} us", text("outcome"))
        }
        "rejected" => {
            format!("reject {:<7} {}  [{}] {}", text("syscall"), text("what"), text("code"), text("error"))
        }
        "repeated" => {
            let first = event.get("repeats").unwrap_or(&Value::Null);
            format!("deny   {:<7} {}  [{}] as call {first} was", text("syscall"), text("what"), text("code"))
        }
        "signal" => format!("{} from {}: {}", text("signal"), text("from"), text("reason")),
        "exit" => format!("exit   {}", text("status")),
        "boot" => format!("boot   policy {}", cut(&text("policy"), 16)),
        "reload" => format!("reload policy {}", cut(&text("policy"), 16)),
        "spawn" => format!("spawn  facts {}", event.get("facts").map(shorten).unwrap_or_default()),
        "host" => format!("host   {}", text("action")),
        "budget" => {
            let number = |key: &str| event.get(key).cloned().unwrap_or_default();
            let (used, limit) = (number("used"), number("limit"));
            format!("budget {} of {}: {used} of {limit} used", text("resource"), text("account"))
        }
        "recovered" => {
            format!("recovered, {} bytes cut off", event.get("dropped_bytes").unwrap_or(&Value::Null))
        }
        "panic" => format!("PANIC  {}", text("reason")),
        other => other.to_owned(),
    };
    Ok(format!("{:>5}  {agent:<10} {what}", stored.seq()))
}

/// A request on one short line: what is long in it is cut, leaf by leaf, so that no part hides another.
fn brief(request: &Value) -> String {
    let full = match (request.get("tool"), request.get("path")) {
        (Some(tool), _) => {
            let arguments = request.get("arguments").map(shorten).unwrap_or_default();
            format!("{} {arguments}", tool.as_str().unwrap_or_default())
        }
        (None, Some(path)) => path.as_str().unwrap_or_default().to_owned(),
        (None, None) => shorten(request).to_string(),
    };
    cut(&full, WIDTH)
}

/// The value with every text in it cut to a few words.
fn shorten(value: &Value) -> Value {
    const LEAF: usize = 28;
    match value {
        Value::String(text) => cut(text, LEAF).into(),
        Value::Array(items) => items.iter().map(shorten).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shorten(value))).collect(),
        other => other.clone(),
    }
}

/// The first characters of a text, with an ellipsis where it goes on. What would steer the terminal, or show in another
/// order than it stands, is replaced.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let steers = |char: char| {
        char.is_control()
            || matches!(char, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
    };
    let clean = |char: char| if steers(char) { '\u{FFFD}' } else { char };
    let mut shown: String = text.chars().take(width).map(clean).collect();
    if text.chars().nth(width).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_an_agent_can_pass_for_another_line_or_steer_the_terminal() {
        let forged = cut("routine\n   12  admin  allow\u{1b}[31m \u{202e}tni", WIDTH);
        assert!(!forged.contains(['\n', '\u{1b}', '\u{202e}']), "{forged:?}");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
