//! The document on standard input: rules, requests, and how often to ask.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Larger documents are refused unread; the largest lawful one, 20 000 rules and 20 000 requests, is about 8 MiB.
pub const MAX_DOCUMENT_BYTES: u64 = 32 << 20;
/// Twice the largest rule set that the bench suite measures.
pub const MAX_RULES: usize = 20_000;
/// One pass over the requests must fit into one agentmesh audit log before it starts to evict.
pub const MAX_REQUESTS: usize = 20_000;
/// Passes over the requests. The time limit of a row ends most runs long before.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// A rule set, the requests to judge, and the passes to time.
///
/// Deny beats allow and nothing matched is a deny. A rule with a [`Condition`] on an argument that the request does not carry applies
/// if it denies and does not apply if it allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// At most [`MAX_RULES`], ids distinct.
    pub rules: Vec<Rule>,
    /// One to [`MAX_REQUESTS`].
    pub requests: Vec<Request>,
    /// Passes over all requests, one to [`MAX_ROUNDS`].
    pub rounds: u32,
}

/// One rule about one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Distinct in its workload.
    pub id: String,
    /// What follows when the rule applies.
    pub effect: Effect,
    /// The exact id of a tool, no pattern.
    pub tool: String,
    /// Absent or null: the rule always applies to its tool.
    #[serde(default)]
    pub when: Option<Condition>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Grants the call unless something denies it.
    Allow,
    /// Refuses the call whatever else grants it.
    Deny,
}

/// One test on one argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenCondition", into = "WrittenCondition")]
pub struct Condition {
    /// The key in [`Request::arguments`].
    pub argument: String,
    /// What its value must satisfy.
    pub test: Test,
}

/// What a value must satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Text that begins with this text, compared by bytes.
    Prefix(String),
    /// A whole number above this one.
    GreaterThan(i64),
}

/// One call of one tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The exact id of the tool.
    pub tool: String,
    /// Text, whole numbers, booleans, and lists and objects of them: what every peer can represent.
    #[serde(default)]
    pub arguments: BTreeMap<String, Value>,
}

/// Why a document cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWorkload {
    /// Not JSON of the documented form.
    #[error("input is not a workload: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A named bound is exceeded, or nothing is there to measure.
    #[error("{what}: {found}, but {least} to {most} are possible")]
    OutOfBounds {
        /// What was counted.
        what: &'static str,
        /// The count found.
        found: u64,
        /// The lowest lawful count.
        least: u64,
        /// The highest lawful count.
        most: u64,
    },
    /// Two rules share an id.
    #[error("rule id `{0}` appears twice")]
    DuplicateRule(String),
    /// A tool id that some peer would read as a pattern.
    #[error("tool `{0}` must be 1 to 128 visible ascii characters without `*`")]
    BadTool(String),
    /// An argument value that some peer cannot represent.
    #[error(
        "argument `{argument}` of request {request} holds {what}; only text, whole numbers of 64 bits and booleans can be compared"
    )]
    BadArgument {
        /// Position of the request, from zero.
        request: usize,
        /// The argument's key.
        argument: String,
        /// What stands there.
        what: &'static str,
    },
}

impl Workload {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// [`InvalidWorkload`] for anything that one of the peers could not be asked in the same meaning.
    pub fn parse(json: &[u8]) -> Result<Self, InvalidWorkload> {
        let workload: Self = serde_json::from_slice(json)?;
        workload.check()?;
        Ok(workload)
    }

    fn check(&self) -> Result<(), InvalidWorkload> {
        within("rules", self.rules.len() as u64, 0, MAX_RULES as u64)?;
        within("requests", self.requests.len() as u64, 1, MAX_REQUESTS as u64)?;
        within("rounds", u64::from(self.rounds), 1, u64::from(MAX_ROUNDS))?;
        let mut ids = BTreeSet::new();
        for rule in &self.rules {
            check_tool(&rule.tool)?;
            if !ids.insert(rule.id.as_str()) {
                return Err(InvalidWorkload::DuplicateRule(rule.id.clone()));
            }
        }
        for (position, request) in self.requests.iter().enumerate() {
            check_tool(&request.tool)?;
            for (argument, value) in &request.arguments {
                if let Some(what) = unrepresentable(value) {
                    let argument = argument.clone();
                    return Err(InvalidWorkload::BadArgument { request: position, argument, what });
                }
            }
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u64, least: u64, most: u64) -> Result<(), InvalidWorkload> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(InvalidWorkload::OutOfBounds { what, found, least, most })
}

fn check_tool(tool: &str) -> Result<(), InvalidWorkload> {
    let plain =
        (1..=128).contains(&tool.len()) && tool.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    if plain { Ok(()) } else { Err(InvalidWorkload::BadTool(tool.to_owned())) }
}

/// Cedar has neither null nor fractions; its numbers are signed and of 64 bits.
fn unrepresentable(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null => Some("null"),
        Value::Number(number) if !number.is_i64() => Some("a number that is not whole or too large"),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        Value::Array(values) => values.iter().find_map(unrepresentable),
        Value::Object(fields) => fields.values().find_map(unrepresentable),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCondition {
    argument: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    greater_than: Option<i64>,
}

impl TryFrom<WrittenCondition> for Condition {
    type Error = &'static str;

    fn try_from(written: WrittenCondition) -> Result<Self, Self::Error> {
        let test = match (written.prefix, written.greater_than) {
            (Some(prefix), None) => Test::Prefix(prefix),
            (None, Some(limit)) => Test::GreaterThan(limit),
            (Some(_), Some(_)) | (None, None) => {
                return Err("`when` needs exactly one of `prefix` and `greater_than`");
            }
        };
        Ok(Self { argument: written.argument, test })
    }
}

impl From<Condition> for WrittenCondition {
    fn from(condition: Condition) -> Self {
        let (prefix, greater_than) = match condition.test {
            Test::Prefix(prefix) => (Some(prefix), None),
            Test::GreaterThan(limit) => (None, Some(limit)),
        };
        Self { argument: condition.argument, prefix, greater_than }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"tool":"t","arguments":{}}"#;

    fn refused(rules: &str, requests: &str, rounds: &str, expected: &str) {
        let text = format!(r#"{{"rules":[{rules}],"requests":[{requests}],"rounds":{rounds}}}"#);
        let error = Workload::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "`{error}` does not say `{expected}`");
    }

    #[test]
    fn a_document_survives_being_written_and_read() {
        let read = Workload::parse(include_bytes!("../../example.json")).unwrap();
        let written = serde_json::to_vec(&read).unwrap();
        assert_eq!(Workload::parse(&written).unwrap(), read);
    }

    #[test]
    fn every_unlawful_document_is_refused_and_the_reason_named() {
        refused("", "", "1", "requests: 0, but 1 to 20000");
        refused("", REQUEST, "0", "rounds: 0, but 1 to 1000000");
        refused("", r#"{"tool":"t","args":{}}"#, "1", "unknown field `args`");
        refused("", r#"{"tool":"t*"}"#, "1", "tool `t*`");
        refused(
            "",
            r#"{"tool":"t","arguments":{"a":[1,null]}}"#,
            "1",
            "argument `a` of request 0 holds null",
        );
        refused("", r#"{"tool":"t","arguments":{"a":0.5}}"#, "1", "not whole");
        refused("", r#"{"tool":"t","arguments":{"a":9223372036854775808}}"#, "1", "too large");
        refused(r#"{"id":"r","effect":"ask","tool":"t"}"#, REQUEST, "1", "unknown variant `ask`");
        let rule = r#"{"id":"r","effect":"allow","tool":"t"}"#;
        refused(&format!("{rule},{rule}"), REQUEST, "1", "rule id `r` appears twice");
    }

    #[test]
    fn a_condition_has_exactly_one_test() {
        for tests in ["", r#","prefix":"/","greater_than":1"#] {
            let rule =
                format!(r#"{{"id":"r","effect":"allow","tool":"t","when":{{"argument":"a"{tests}}}}}"#);
            refused(&rule, REQUEST, "1", "exactly one of");
        }
    }

    #[test]
    fn more_rules_than_the_bound_are_refused() {
        let rules: Vec<String> =
            (0..=MAX_RULES).map(|n| format!(r#"{{"id":"r{n}","effect":"deny","tool":"t"}}"#)).collect();
        refused(&rules.join(","), REQUEST, "1", "rules: 20001");
    }
}
