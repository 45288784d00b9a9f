//! What a server says of one of its tools.

use agent_primitives::Digest;
use agent_primitives::json::{self, Value};
use serde::{Deserialize, Serialize};

use crate::error::one_line;

const DOMAIN: &str = "agent-os atr mcp definition v1";
/// Most differences that are told.
pub const MAX_DIFFERENCES: usize = 64;

/// What a server says of one of its tools, as it says it. Every word of it is the server's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Definition {
    /// The server's name for it.
    pub name: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What it claims about itself.
    #[serde(default)]
    pub hints: Hints,
}

/// What a tool claims about itself. A claim can make the host more careful, and never less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hints {
    /// Another name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// That it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether it may destroy something. Taken for true when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive: Option<bool>,
    /// That a second call with the same arguments changes nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent: Option<bool>,
    /// Whether it reaches beyond what the server itself has. Taken for true when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world: Option<bool>,
}

impl Definition {
    pub(super) fn of(tool: rmcp::model::Tool) -> Self {
        let hints = tool.annotations.map(|said| Hints {
            title: said.title,
            read_only: said.read_only_hint,
            destructive: said.destructive_hint,
            idempotent: said.idempotent_hint,
            open_world: said.open_world_hint,
        });
        Self {
            name: tool.name.into_owned(),
            title: tool.title,
            description: tool.description.map(std::borrow::Cow::into_owned),
            input_schema: Value::Object((*tool.input_schema).clone()),
            output_schema: tool.output_schema.map(|schema| Value::Object((*schema).clone())),
            hints: hints.unwrap_or_default(),
        }
    }

    /// Digest of all of it and of the server that says it.
    ///
    /// # Errors
    /// It holds a number that has no exact form, or is nested too deep.
    pub(super) fn digest(&self, endpoint: Digest) -> Result<Digest, String> {
        let value = serde_json::to_value((endpoint, self)).map_err(|error| error.to_string())?;
        let bytes = json::canonical(&value).map_err(|error| format!("it is {error}"))?;
        Ok(Digest::of(DOMAIN, &bytes))
    }
}

/// A part of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Which server answers: its program, arguments, isolation or permissions; or the identity that the host gave it.
    Endpoint,
    /// The name for people.
    Title,
    /// What the tool does.
    Description,
    /// The schema of the arguments.
    InputSchema,
    /// The schema of the answer.
    OutputSchema,
    /// What the tool claims about itself.
    Hints,
}

/// A place at which two definitions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// In which part.
    pub part: Part,
    /// JSON pointer to the place within a part that is JSON, shortened; empty for the whole part.
    pub pointer: String,
}

impl Difference {
    pub(super) fn whole(part: Part) -> Self {
        Self { part, pointer: String::new() }
    }
}

/// The places at which a definition differs from an earlier one: the first [`MAX_DIFFERENCES`] of them.
pub(super) fn differences(before: &Definition, after: &Definition) -> Vec<Difference> {
    let mut found = Vec::new();
    if before.title != after.title {
        found.push(Difference::whole(Part::Title));
    }
    if before.description != after.description {
        found.push(Difference::whole(Part::Description));
    }
    compare(
        Part::InputSchema,
        String::new(),
        Some(&before.input_schema),
        Some(&after.input_schema),
        &mut found,
    );
    let outputs = (before.output_schema.as_ref(), after.output_schema.as_ref());
    compare(Part::OutputSchema, String::new(), outputs.0, outputs.1, &mut found);
    if before.hints != after.hints {
        found.push(Difference::whole(Part::Hints));
    }
    found
}

/// Recursion is bounded by what the parser takes, 128 levels.
fn compare(
    part: Part,
    at: String,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    if before == after || MAX_DIFFERENCES <= found.len() {
        return;
    }
    let step = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (before, after) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            for (key, value) in one {
                compare(part, step(key), Some(value), other.get(key), found);
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                compare(part, step(key), None, Some(value), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                compare(part, step(&index.to_string()), one.get(index), other.get(index), found);
            }
        }
        _ => found.push(Difference { part, pointer: one_line(at, 256) }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(description: &str, input: Value) -> Definition {
        Definition {
            name: "t".to_owned(),
            title: None,
            description: Some(description.to_owned()),
            input_schema: input,
            output_schema: None,
            hints: Hints::default(),
        }
    }

    #[test]
    fn a_difference_is_told_by_its_place() {
        let before = definition(
            "a",
            json!({"type": "object", "properties": {"x": {"type": "string"}}, "required": []}),
        );
        let optional =
            json!({"type": "object", "properties": {"x": {"type": "string"}, "a/b": {}}, "required": ["x"]});
        let mut after = definition("b", optional);
        after.hints.destructive = Some(false);
        after.output_schema = Some(json!({}));
        let found: Vec<_> =
            differences(&before, &after).into_iter().map(|one| (one.part, one.pointer)).collect();
        let expected = [
            (Part::Description, ""),
            (Part::InputSchema, "/properties/a~1b"),
            (Part::InputSchema, "/required/0"),
            (Part::OutputSchema, ""),
            (Part::Hints, ""),
        ];
        assert_eq!(found, expected.map(|(part, pointer)| (part, pointer.to_owned())));
        assert_eq!(differences(&before, &before), []);
    }

    #[test]
    fn every_part_and_the_server_are_under_the_digest() {
        let before = definition("a", json!({"type": "object"}));
        let server = Digest::of("test", b"one");
        let digest = before.digest(server).unwrap();
        let mut others = vec![before.clone(); 5];
        others[0].title = Some("T".to_owned());
        others[1].description = None;
        others[2].input_schema = json!({"type": "object", "title": "T"});
        others[3].output_schema = Some(json!({}));
        others[4].hints.read_only = Some(false);
        for other in others {
            assert_ne!(other.digest(server).unwrap(), digest, "{other:?}");
        }
        assert_ne!(before.digest(Digest::of("test", b"two")).unwrap(), digest);
        let reordered = definition("a", serde_json::from_str(r#"{ "type" : "ob\u006aect" }"#).unwrap());
        assert_eq!(reordered.digest(server).unwrap(), digest);
    }
}
