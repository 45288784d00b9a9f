//! Contracts in the forms that vendors of models take, with names that lead back.

use std::collections::HashMap;
use std::sync::Arc;

use agent_primitives::{Digest, ToolId};
use serde_json::{Map, Value, json};

use crate::contract::Effect;
use crate::{ToolContract, pointer};

/// Most tools that OpenAI takes in one request.
pub const MAX_OPENAI_TOOLS: usize = 128;
/// Longest name of a function, for OpenAI and for Anthropic.
const MAX_FUNCTION_NAME: usize = 64;
/// Longest name of a tool in the Model Context Protocol.
const MAX_MCP_NAME: usize = 128;
/// Deepest nesting, and most values of enumerations, that OpenAI takes in strict mode.
const MAX_STRICT_DEPTH: usize = 10;
const MAX_STRICT_ENUM: usize = 1000;

/// Why tools were not exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Strict mode has no way to say what a schema says, and nothing is left out silently.
    #[error("the schema of `{id}` cannot be strict: {reason}, at `{pointer}`")]
    #[non_exhaustive]
    NotStrictable {
        /// The tool.
        id: ToolId,
        /// JSON pointer into the schema of its arguments.
        pointer: String,
        /// What strict mode does not take.
        reason: &'static str,
    },
    /// More tools than the vendor takes.
    #[error("{count} tools, and at most {limit} are taken")]
    #[non_exhaustive]
    TooMany {
        /// How many there are.
        count: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// Two tools would have one name: they are two versions of one, or one was named so that it would be.
    #[error("`{one}` and `{other}` would have one name")]
    #[non_exhaustive]
    NamesCollide {
        /// One of them.
        one: ToolId,
        /// The other.
        other: ToolId,
    },
}

impl ExportError {
    /// Stable code, `AK0580` to `AK0582`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotStrictable { .. } => "AK0580",
            Self::TooMany { .. } => "AK0581",
            Self::NamesCollide { .. } => "AK0582",
        }
    }
}

/// Tools in a vendor's form.
#[derive(Clone, Debug)]
pub struct Export {
    tools: Vec<Value>,
    by_name: HashMap<String, ToolId>,
}

impl Export {
    /// One object for each tool, in the order in which they were given.
    #[must_use]
    pub fn tools(&self) -> &[Value] {
        &self.tools
    }

    /// The tool that a model means by a name of this export. No name of the export means two.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&ToolId> {
        self.by_name.get(name)
    }
}

/// For OpenAI: `{"type": "function", "function": {"name", "description", "parameters"}}`.
///
/// # Errors
/// [`ExportError::TooMany`], [`ExportError::NamesCollide`].
pub fn openai(tools: &[Arc<ToolContract>]) -> Result<Export, ExportError> {
    at_most(tools, MAX_OPENAI_TOOLS)?;
    export(tools, &FUNCTIONS, |name, contract| {
        let parameters = contract.input_schema();
        let function = json!({"name": name, "description": contract.description(), "parameters": parameters});
        Ok(json!({"type": "function", "function": function}))
    })
}

/// For OpenAI in strict mode: the same with `"strict": true`. The model's arguments are then held to the schema by the
/// vendor, which takes only a part of JSON Schema.
///
/// `$schema`, which names the dialect, is left out; every other keyword is kept or the tool is refused. Strict mode wants every
/// property to be required. A field of a Rust type is not if it is an `Option` or has a default; `#[schemars(required)]`
/// makes one that is null or there of an `Option`.
///
/// # Errors
/// As [`openai`], and [`ExportError::NotStrictable`].
pub fn openai_strict(tools: &[Arc<ToolContract>]) -> Result<Export, ExportError> {
    at_most(tools, MAX_OPENAI_TOOLS)?;
    export(tools, &FUNCTIONS, |name, contract| {
        let mut parameters = contract.input_schema().clone();
        parameters.as_object_mut().map(|root| root.remove("$schema"));
        Strict::default().schema(&parameters, String::new(), 0).map_err(|Misfit { pointer, reason }| {
            ExportError::NotStrictable { id: contract.id().clone(), pointer, reason }
        })?;
        let description = contract.description();
        let function =
            json!({"name": name, "description": description, "parameters": parameters, "strict": true});
        Ok(json!({"type": "function", "function": function}))
    })
}

/// For Anthropic: `{"name", "description", "input_schema"}`.
///
/// # Errors
/// [`ExportError::NamesCollide`].
pub fn anthropic(tools: &[Arc<ToolContract>]) -> Result<Export, ExportError> {
    export(tools, &FUNCTIONS, |name, contract| {
        let (description, schema) = (contract.description(), contract.input_schema());
        Ok(json!({"name": name, "description": description, "input_schema": schema}))
    })
}

/// For the Model Context Protocol: `{"name", "description", "inputSchema", "outputSchema", "annotations"}`. A tool that
/// declares no effects makes no claim to be harmless.
///
/// # Errors
/// [`ExportError::NamesCollide`].
pub fn mcp(tools: &[Arc<ToolContract>]) -> Result<Export, ExportError> {
    export(tools, &MCP, |name, contract| {
        let effects = contract.effects();
        let silent = effects.is_empty();
        let annotations = json!({
            "readOnlyHint": effects.len() == 1 && effects.contains(&Effect::Read),
            "destructiveHint": silent || effects.contains(&Effect::Delete),
            "idempotentHint": contract.idempotent(),
            "openWorldHint": silent || effects.contains(&Effect::Network),
        });
        let mut tool = Map::from_iter([
            ("name".to_owned(), name.into()),
            ("description".to_owned(), contract.description().into()),
            ("inputSchema".to_owned(), contract.input_schema().clone()),
            ("annotations".to_owned(), annotations),
        ]);
        // The protocol takes an object only.
        let output = contract.output_schema().filter(|schema| schema.get("type") == Some(&"object".into()));
        tool.extend(output.map(|schema| ("outputSchema".to_owned(), schema.clone())));
        Ok(tool.into())
    })
}

/// Which names are taken.
struct Alphabet {
    longest: usize,
    /// Characters besides letters, digits, `_` and `-`.
    more: &'static str,
    /// What stands for a character that is not taken.
    instead: char,
}

const FUNCTIONS: Alphabet = Alphabet { longest: MAX_FUNCTION_NAME, more: "", instead: '_' };
const MCP: Alphabet = Alphabet { longest: MAX_MCP_NAME, more: ".", instead: '.' };
/// `_` and eight hexadecimal digits.
const SUFFIX: usize = 9;

impl Alphabet {
    /// The name in this alphabet, which other names may share; `None` if it is too long for it.
    fn plain(&self, id: &ToolId) -> Option<String> {
        (id.as_str().len() <= self.longest).then(|| self.spelt(id).collect())
    }

    /// The name, with what stands for every character that is not taken.
    fn spelt<'a>(&'a self, id: &'a ToolId) -> impl Iterator<Item = char> + 'a {
        let fits = |symbol: char| {
            symbol.is_ascii_alphanumeric() || "_-".contains(symbol) || self.more.contains(symbol)
        };
        id.as_str().chars().map(move |symbol| if fits(symbol) { symbol } else { self.instead })
    }

    /// The name with the beginning of its digest.
    fn marked(&self, id: &ToolId) -> String {
        let digest = Digest::of("agent-os atr exported name v1", id.as_str().as_bytes()).to_string();
        let hex: String = digest.chars().filter(char::is_ascii_hexdigit).take(SUFFIX - 1).collect();
        self.spelt(id).take(self.longest - SUFFIX).chain(['_']).chain(hex.chars()).collect()
    }
}

fn at_most(tools: &[Arc<ToolContract>], limit: usize) -> Result<(), ExportError> {
    let count = tools.len();
    if limit < count { Err(ExportError::TooMany { count, limit }) } else { Ok(()) }
}

fn export(
    tools: &[Arc<ToolContract>],
    alphabet: &Alphabet,
    form: impl Fn(&str, &ToolContract) -> Result<Value, ExportError>,
) -> Result<Export, ExportError> {
    let mut shared: HashMap<String, usize> = HashMap::new();
    for name in tools.iter().filter_map(|contract| alphabet.plain(contract.id())) {
        *shared.entry(name).or_default() += 1;
    }
    let mut by_name = HashMap::new();
    let mut forms = Vec::with_capacity(tools.len());
    for contract in tools {
        let id = contract.id();
        let plain = alphabet.plain(id).filter(|name| shared.get(name) == Some(&1));
        let name = plain.unwrap_or_else(|| alphabet.marked(id));
        forms.push(form(&name, contract)?);
        if let Some(other) = by_name.insert(name, id.clone()) {
            return Err(ExportError::NamesCollide { one: other, other: id.clone() });
        }
    }
    Ok(Export { tools: forms, by_name })
}

/// The part of JSON Schema that OpenAI takes in strict mode, by its guide "Structured Outputs", section "Supported schemas".
#[derive(Default)]
struct Strict {
    enum_values: usize,
}

const STRICT_FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// The first thing that strict mode does not take.
struct Misfit {
    pointer: String,
    reason: &'static str,
}

fn misfit<T>(pointer: String, reason: &'static str) -> Result<T, Misfit> {
    Err(Misfit { pointer, reason })
}

impl Strict {
    fn schema(&mut self, schema: &Value, at: String, depth: usize) -> Result<(), Misfit> {
        let Some(keywords) = schema.as_object() else { return misfit(at, "a schema that is no object") };
        if MAX_STRICT_DEPTH < depth {
            return misfit(at, "a schema nested too deep");
        }
        for (keyword, value) in keywords {
            let here = || format!("{at}/{}", pointer::escaped(keyword));
            match keyword.as_str() {
                "type" | "description" | "title" | "const" | "$ref" | "required" | "pattern"
                | "multipleOf" | "maximum" | "exclusiveMaximum" | "minimum" | "exclusiveMinimum"
                | "minItems" | "maxItems" => {}
                "enum" => {
                    self.enum_values += value.as_array().map_or(0, Vec::len);
                    if MAX_STRICT_ENUM < self.enum_values {
                        return misfit(here(), "too many values of enumerations");
                    }
                }
                "format" if value.as_str().is_some_and(|format| STRICT_FORMATS.contains(&format)) => {}
                "additionalProperties" if *value == Value::Bool(false) => {}
                "items" => self.schema(value, here(), depth + 1)?,
                // The root has to be an object, and nothing else.
                "anyOf" if !at.is_empty() => {
                    for (index, option) in value.as_array().into_iter().flatten().enumerate() {
                        self.schema(option, format!("{}/{index}", here()), depth + 1)?;
                    }
                }
                "properties" | "$defs" => {
                    for (name, inner) in value.as_object().into_iter().flatten() {
                        let inner_at = format!("{}/{}", here(), pointer::escaped(name));
                        self.schema(inner, inner_at, depth + 1)?;
                    }
                }
                _ => return misfit(here(), "a keyword, or this value of it, that strict mode does not take"),
            }
        }
        let is_object = match keywords.get("type") {
            Some(Value::Array(types)) => types.iter().any(|kind| kind == "object"),
            kind => kind == Some(&"object".into()),
        };
        if is_object { Self::object(keywords, &at) } else { Ok(()) }
    }

    /// Every property is required, and no other is allowed.
    fn object(keywords: &Map<String, Value>, at: &str) -> Result<(), Misfit> {
        if keywords.get("additionalProperties") != Some(&Value::Bool(false)) {
            return misfit(at.to_owned(), "an object without `additionalProperties: false`");
        }
        let required: Vec<&Value> =
            keywords.get("required").and_then(Value::as_array).into_iter().flatten().collect();
        let properties = keywords.get("properties").and_then(Value::as_object);
        let optional = properties
            .into_iter()
            .flatten()
            .find(|(name, _)| !required.iter().any(|required| required.as_str() == Some(name.as_str())));
        match optional {
            Some((name, _)) => misfit(
                format!("{at}/properties/{}", pointer::escaped(name)),
                "a property that may be missing",
            ),
            None => Ok(()),
        }
    }
}
