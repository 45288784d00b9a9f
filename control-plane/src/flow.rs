//! Information flow: where the parts of a call came from.
//!
//! An agent carries the labels of everything it has read. A value in a call of its own carries all of them, unless it can
//! be traced to something that carries less: a text the host vouches for, or the output of a trusted tool. Tracing
//! compares values, it does not read minds: it shows that a value was there to be chosen, not why it was chosen.
//!
//! A value carries what it was made from: what a tool answers carries what its arguments did, besides what its contract
//! adds, since it may give back what it got; a name in a listing carries what its file does; `/audit` carries all that the
//! agent does.
//!
//! # What is not followed
//!
//! - Choice. An agent that untrusted text has turned may pick any word that stands in a trusted one, in any case of its
//!   ASCII letters, and put several together in a list or an object. A trusted text that holds the attacker's word vouches
//!   for it, and short numbers stand in many texts. Where that is too much, ask, or spawn with [`Provenance::Coarse`].
//! - Whether and when. That a call was made, how often, in which order, that it failed and with which code, whether a file
//!   exists and in which version: each tells whoever can see it a little, and carries nothing.
//! - Signals. A receiver learns which signal came; the reason is for the record. Policy says who may signal whom.
//! - Exits. The last word of an agent is for the host.
//! - Declared sources are believed, of an agent the host spawned so.
//! - What was read while no policy looked at arguments was not kept: it traces nothing later, so its values carry all.
//!
//! Labels join an agent when the answer is there, in the step that hands it over: a call judged while a read is under way
//! is judged by what the agent had before, which is all it can have put into it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use agent_primitives::LabelSet;
use agent_primitives::json::Value;
use agent_tool_registry::ArgumentRole;

/// Most bytes of text kept of one agent to trace values to; the oldest go first, and what they held is no longer traced.
pub const MAX_TRACED_BYTES: usize = 256 << 10;
/// Most texts kept.
pub const MAX_TRACED_TEXTS: usize = 4096;
/// Most outputs whose labels are kept for calls that declare their sources.
pub const MAX_REMEMBERED_CALLS: usize = 4096;
/// Longest text that is looked for; a longer value is taken to come from everywhere.
pub const MAX_TRACED_VALUE: usize = 4096;
/// Most strings, numbers and keys below one argument that are looked for; one with more is taken to come from everywhere.
pub const MAX_TRACED_LEAVES: usize = 256;

/// How the kernel finds out where an agent's arguments came from. The host's choice, never the agent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provenance {
    /// Every argument carries all labels of the agent.
    Coarse,
    /// A value that stands, word for word, in a text that carries less carries only what that text does.
    #[default]
    Traced,
    /// The agent is a program the host trusts to say which earlier calls each argument was made from, such as an
    /// interpreter that runs a plan and keeps track of its variables. What it does not declare carries all labels.
    Declared,
}

/// What an agent that declares its sources says of one call: for each argument, what it was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, Vec<Source>>);

/// What an argument was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// It stands in the agent's own program or instructions.
    Constant,
    /// The output of the call of this number; see [`Reply::Output`](crate::call::Reply::Output).
    Call(u64),
}

impl Sources {
    /// What an argument was made from; nothing when it was not declared.
    pub(crate) fn of(&self, name: &str) -> &[Source] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Nothing declared.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what the argument `name` was made from. An argument made from nothing at all is one that is not declared.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, sources: impl IntoIterator<Item = Source>) -> Self {
        self.0.entry(name.into()).or_default().extend(sources);
        self
    }
}

/// One argument of a call: what it decides, by the tool's contract, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it decides.
    pub role: ArgumentRole,
    /// What it carries.
    pub labels: LabelSet,
}

impl Argument {
    /// An argument that is known to carry these labels.
    #[must_use]
    pub fn new(name: impl Into<String>, role: ArgumentRole, labels: LabelSet) -> Self {
        Self { name: name.into(), role, labels }
    }
}

/// What one agent has read, as far as it is needed to trace values.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    texts: VecDeque<(Arc<str>, LabelSet)>,
    bytes: usize,
    calls: VecDeque<(u64, LabelSet)>,
}

impl Origins {
    /// Remembers a text and what it carries.
    pub(crate) fn heard(&mut self, text: &str, labels: &LabelSet) {
        // Other letters that fold to these are other letters: `\u{212A}` is no `k` to whoever gets the value.
        let text: Arc<str> = text.to_ascii_lowercase().into();
        if text.is_empty() || MAX_TRACED_BYTES < text.len() {
            return;
        }
        self.bytes += text.len();
        self.texts.push_back((text, labels.clone()));
        while MAX_TRACED_BYTES < self.bytes || MAX_TRACED_TEXTS < self.texts.len() {
            let Some((oldest, _)) = self.texts.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
    }

    /// Remembers what the output of a call carries.
    pub(crate) fn answered(&mut self, call: u64, labels: &LabelSet) {
        if MAX_REMEMBERED_CALLS <= self.calls.len() {
            self.calls.pop_front();
        }
        // Calls that run at once answer in any order.
        let at = self.calls.partition_point(|(known, _)| *known < call);
        self.calls.insert(at, (call, labels.clone()));
    }

    /// What `value` carries when an agent with the labels `agent` sends it.
    pub(crate) fn trace(&self, value: &Value, agent: &LabelSet) -> LabelSet {
        if agent.is_empty() {
            return LabelSet::EMPTY;
        }
        let mut carried = LabelSet::EMPTY;
        let mut left = MAX_TRACED_LEAVES;
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            let found = match value {
                // One of two values says next to nothing, but where it came from is not known either.
                Value::Null | Value::Bool(_) => None,
                Value::Number(number) => self.find(&number.to_string(), agent),
                Value::String(text) => self.find(&text.to_ascii_lowercase(), agent),
                Value::Array(items) => {
                    pending.extend(items);
                    continue;
                }
                Value::Object(entries) => {
                    // Keys of nested objects are as free as values are.
                    let keys = left.checked_sub(entries.len()).filter(|_| {
                        entries.keys().all(|key| self.find(&key.to_ascii_lowercase(), agent).is_some())
                    });
                    let Some(rest) = keys else { return agent.clone() };
                    left = rest;
                    pending.extend(entries.values());
                    continue;
                }
            };
            let joined = found.and_then(|labels| carried.join(labels).ok());
            let (Some(joined), Some(rest)) = (joined, left.checked_sub(1)) else { return agent.clone() };
            (carried, left) = (joined, rest);
        }
        carried
    }

    /// What an argument made from these sources carries; `None` when one of them is not remembered.
    pub(crate) fn declared(&self, sources: &[Source]) -> Option<LabelSet> {
        if sources.is_empty() {
            return None;
        }
        sources.iter().try_fold(LabelSet::EMPTY, |carried, source| match source {
            Source::Constant => Some(carried),
            Source::Call(number) => {
                let place = self.calls.binary_search_by_key(number, |(call, _)| *call).ok()?;
                carried.join(&self.calls.get(place)?.1).ok()
            }
        })
    }

    /// The least that a text holding `wanted` as whole words carries, if it is less than what the agent does.
    fn find(&self, wanted: &str, agent: &LabelSet) -> Option<&LabelSet> {
        let wanted = wanted.trim();
        if wanted.is_empty() || MAX_TRACED_VALUE < wanted.len() {
            return None;
        }
        let less = |labels: &LabelSet| labels.len() < agent.len() && agent.contains_all(labels);
        self.texts
            .iter()
            .filter(|(text, labels)| less(labels) && holds_words(text, wanted))
            .map(|(_, labels)| labels)
            .min_by_key(|labels| labels.len())
    }
}

/// Whether `wanted` stands in `text` and is not a part of a longer word or number there.
fn holds_words(text: &str, wanted: &str) -> bool {
    text.match_indices(wanted).any(|(at, found)| {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        let after = rest.get(found.len()..).unwrap_or_default();
        !continues(before.chars().rev(), wanted.chars()) && !continues(after.chars(), wanted.chars().rev())
    })
}

/// What joins the words on both its sides to one value.
const MARKS: [char; 11] = ['.', ',', '@', '-', '/', ':', '+', '%', '=', '&', '?'];

/// Whether the characters around a cut belong together: two parts of a word, or of a number, an address or a name.
fn continues(mut outside: impl Iterator<Item = char>, mut inside: impl Iterator<Item = char>) -> bool {
    let word = |char: char| char.is_alphanumeric() || char == '_';
    match (outside.next(), inside.next()) {
        (Some(out), Some(inner)) if word(out) && word(inner) => true,
        // A mark joins what stands on both its sides: `1.5`, `ann@example.com`, `evil.example.com/x`.
        // So it does at the edge of the value itself: `-5` is no part of `10-5`.
        (Some(out), Some(inner)) if word(out) && MARKS.contains(&inner) => true,
        (Some(out), Some(_)) if MARKS.contains(&out) => outside.next().is_some_and(word),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(labels: &[&str]) -> LabelSet {
        LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
    }

    fn origins() -> Origins {
        let mut origins = Origins::default();
        origins.heard("Please send 12.50 to Ann <ann@example.com>, then read notes-2.txt.", &LabelSet::EMPTY);
        origins.heard("GB29NWBK60161331926819", &set(&["tool:get_iban"]));
        origins
    }

    #[test]
    fn a_value_is_traced_only_as_whole_words() {
        let (origins, agent) = (origins(), set(&["tool:get_iban", "untrusted"]));
        let cases = [
            (json!("Ann"), &[][..]),
            (json!("ann@example.com"), &[]),
            (json!(12.5), &["tool:get_iban", "untrusted"]),
            (json!("12.50"), &[]),
            (json!("notes-2.txt"), &[]),
            (json!("gb29nwbk60161331926819"), &["tool:get_iban"]),
            (json!(["Ann", "GB29NWBK60161331926819"]), &["tool:get_iban"]),
            (json!("An"), &["tool:get_iban", "untrusted"]),
            (json!("example.com"), &["tool:get_iban", "untrusted"]),
            (json!("12"), &["tool:get_iban", "untrusted"]),
            (json!("eve@example.com"), &["tool:get_iban", "untrusted"]),
            (json!(""), &["tool:get_iban", "untrusted"]),
            (json!(true), &["tool:get_iban", "untrusted"]),
            (json!({"Ann": "Ann"}), &[]),
            (json!({"eve": "Ann"}), &["tool:get_iban", "untrusted"]),
        ];
        for (value, expected) in cases {
            assert_eq!(origins.trace(&value, &agent), set(expected), "{value}");
        }
        assert_eq!(origins.trace(&json!("eve"), &LabelSet::EMPTY), LabelSet::EMPTY);
    }

    #[test]
    fn a_text_that_carries_more_traces_nothing() {
        let mut origins = Origins::default();
        origins.heard("Eve", &set(&["untrusted"]));
        assert_eq!(origins.trace(&json!("Eve"), &set(&["untrusted"])), set(&["untrusted"]));
        // Labels the agent does not have: it was told this since, or never; not less than what it carries.
        origins.heard("Mallory", &set(&["secret"]));
        assert_eq!(origins.trace(&json!("Mallory"), &set(&["pii", "untrusted"])), set(&["pii", "untrusted"]));
    }

    #[test]
    fn what_is_forgotten_carries_everything() {
        let mut origins = Origins::default();
        origins.heard("Ann", &LabelSet::EMPTY);
        let filler = "x".repeat(1 << 10);
        (0..=MAX_TRACED_BYTES >> 10).for_each(|_| origins.heard(&filler, &LabelSet::EMPTY));
        assert!(origins.bytes <= MAX_TRACED_BYTES);
        assert_eq!(origins.trace(&json!("Ann"), &set(&["untrusted"])), set(&["untrusted"]));
        for call in 0..=MAX_REMEMBERED_CALLS as u64 {
            origins.answered(call, &set(&["pii"]));
        }
        assert_eq!(origins.declared(&[Source::Call(0)]), None);
        assert_eq!(origins.declared(&[Source::Call(1), Source::Constant]), Some(set(&["pii"])));
        assert_eq!(origins.declared(&[]), None);
        assert_eq!(origins.declared(&[Source::Constant]), Some(LabelSet::EMPTY));
    }
}
