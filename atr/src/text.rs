//! What a text that a model reads may hold, and names that look like others.

use std::collections::HashMap;
use std::fmt::Write;

use agent_primitives::ToolId;
use agent_primitives::json::Value;
use agent_primitives::text::is_invisible;
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

use crate::contract::{Provenance, ToolContract};
use crate::pointer;
use crate::snapshot::Tool;

/// Most line breaks in a row.
const MAX_BREAKS: usize = 2;
/// Shortest id that is compared letter by letter: with less, one letter is too much of it.
const MIN_COMPARED: usize = 5;

/// A character that no text of a tool may hold, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsafe {
    /// JSON pointer, with the character itself escaped.
    pub(crate) pointer: String,
    pub(crate) codepoint: char,
}

/// Refuses what a reader does not see or a model reads differently: control and format characters, whatever Unicode calls
/// default-ignorable (bidirectional controls, tags, variation selectors and fillers among it), line breaks other than `\n` or
/// more than two of them in a row, and text that is not in normal form C.
fn check(text: &str) -> Result<(), char> {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control()) {
        return Ok(());
    }
    let mut breaks = 0;
    for symbol in text.chars() {
        breaks = if symbol == '\n' { breaks + 1 } else { 0 };
        let line_break = matches!(symbol, '\u{2028}' | '\u{2029}');
        let control = symbol.is_control() && symbol != '\n';
        if control || line_break || MAX_BREAKS < breaks || (symbol != '\n' && is_invisible(symbol)) {
            return Err(symbol);
        }
    }
    match text.chars().zip(text.nfc()).find(|(written, normal)| written != normal) {
        Some((written, _)) => Err(written),
        None => Ok(()),
    }
}

/// Checks one text of a contract, which is at this JSON pointer.
pub(crate) fn check_at(pointer: &str, text: &str) -> Result<(), Unsafe> {
    check(text).map_err(|codepoint| Unsafe { pointer: escaped(pointer), codepoint })
}

/// Checks every text in a value, and every key. Recursion is bounded by the depth of the value, which is checked before.
pub(crate) fn check_all(pointer: &str, value: &Value) -> Result<(), Unsafe> {
    each_text(pointer.to_owned(), value, &mut check_at)
}

/// Shows every text in a value, and every key, with its JSON pointer.
pub(crate) fn each_text<E>(
    pointer: String,
    value: &Value,
    show: &mut impl FnMut(&str, &str) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::String(text) => show(&pointer, text),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| each_text(format!("{pointer}/{index}"), item, show)),
        Value::Object(entries) => entries.iter().try_for_each(|(key, entry)| {
            let below = format!("{pointer}/{}", pointer::escaped(key));
            show(&below, key)?;
            each_text(below, entry, show)
        }),
        _ => Ok(()),
    }
}

fn escaped(pointer: &str) -> String {
    let mut shown = String::new();
    for symbol in pointer.chars().take(256) {
        if symbol.is_control() || is_invisible(symbol) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(symbol));
        } else {
            shown.push(symbol);
        }
    }
    shown
}

/// Whose tools they are, as far as names go: what the host registers itself and what lies in its folders is the host's.
fn publisher(contract: &ToolContract) -> Provenance {
    match contract.provenance() {
        Provenance::Manifest(_) => Provenance::Native,
        other => other,
    }
}

/// A name as it looks: by the table of UTS 39, without case and without what separates words.
fn folded(id: &ToolId) -> String {
    let lower = id.as_str().to_ascii_lowercase();
    skeleton(&lower)
        .filter(|symbol| !matches!(symbol, '_' | '-' | '.'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether one letter more, less or other makes the one the other.
fn differ_by_one(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let (longer, shorter) = if one.len() < other.len() { (other, one) } else { (one, other) };
    if longer.len() < MIN_COMPARED || 1 < longer.len() - shorter.len() {
        return false;
    }
    let before = longer.iter().zip(shorter).take_while(|(a, b)| a == b).count();
    let after = longer.iter().rev().zip(shorter.iter().rev()).take_while(|(a, b)| a == b).count();
    longer.len() <= before.min(shorter.len()) + after + 1
}

/// Of names that are offered, those that can be taken for one of another publisher's that can be called.
///
/// Linear in what is there, times what is offered and of about the same length.
pub(crate) fn confusable<'t>(
    offered: &[&'t Tool],
    there: impl Iterator<Item = &'t Tool>,
) -> HashMap<ToolId, ToolId> {
    let mut found = HashMap::new();
    if offered.is_empty() {
        return found;
    }
    let forms: Vec<(&ToolContract, String)> =
        offered.iter().map(|tool| (&**tool.contract(), folded(tool.contract().id()))).collect();
    for known in there.map(Tool::contract) {
        let form = folded(known.id());
        for (contract, own) in &forms {
            let (id, like) = (contract.id(), known.id());
            let near = *own == form || differ_by_one(id.as_str(), like.as_str());
            if near && id != like && publisher(contract) != publisher(known) {
                found.entry(id.clone()).or_insert_with(|| like.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn t09_what_is_not_seen_is_refused_wherever_it_stands() {
        let hidden = [
            '\u{200b}',
            '\u{202e}',
            '\u{feff}',
            '\u{ad}',
            '\u{2066}',
            '\u{e0041}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{115f}',
            '\u{7}',
            '\u{85}',
            '\t',
            '\r',
            '\u{2028}',
            '\u{2060}',
            '\u{e0100}',
        ];
        for symbol in hidden {
            assert_eq!(check(&format!("a{symbol}b")), Err(symbol), "{symbol:?}");
        }
        assert_eq!(check("a\n\n\nb"), Err('\n'));
        assert_eq!(check("e\u{301}"), Err('e'), "not in normal form C");
        for fine in
            ["", "Sends a mail.\n\nTo one person.", "Größe in µm", "予定を一覧する", "naïve – “quoted” …"]
        {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn keys_are_texts_too() {
        let value = json!({"properties": {"a/b\u{200b}": {"enum": ["x"]}}});
        let found = check_all("/input_schema", &value).unwrap_err();
        assert_eq!(found.pointer, "/input_schema/properties/a~1b\\u{200b}");
        assert_eq!(found.codepoint, '\u{200b}');
        let value = json!({"properties": {"a": {"enum": ["x", "y\u{202e}"]}}});
        assert_eq!(check_all("", &value).unwrap_err().pointer, "/properties/a/enum/1");
    }

    #[test]
    fn one_letter_is_one_letter() {
        let cases = [
            ("create_issue", "create_isue", true),
            ("create_issue", "creates_issue", true),
            ("create_issue", "create_issua", true),
            ("create_issue", "create_issue", true),
            ("create_issue", "craete_issue", false),
            ("create_issue", "create", false),
            ("abab", "abac", false),
            ("aaaaa", "aaaa", true),
        ];
        for (one, other, expected) in cases {
            assert_eq!(differ_by_one(one, other), expected, "{one} {other}");
            assert_eq!(differ_by_one(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn look_alikes_fold_alike() {
        let id = |text: &str| folded(&text.parse().unwrap());
        assert_eq!(id("mcp.a/getUser"), id("mcp.a/get_user"));
        assert_eq!(id("mcp.a/mail1"), id("mcp.a/maill"));
        assert_eq!(id("mcp.a/rnail"), id("mcp.a/mail"));
        assert_ne!(id("mcp.a/mail"), id("mcp.a/mall"));
    }
}
