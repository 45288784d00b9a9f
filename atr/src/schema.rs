//! The schema of a tool's arguments: bounded, closed, without anything that could be fetched or could backtrack.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use agent_primitives::json::{self, JsonError, Value};
use jsonschema::{Draft, PatternOptions, Validator};
use schemars::JsonSchema;
use schemars::transform::RecursiveTransform;

use crate::error::{ArgumentError, one_line};
use crate::number;

/// Largest schema as canonical JSON.
pub const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// Deepest nesting of a schema's JSON.
pub const MAX_SCHEMA_DEPTH: usize = 16;
/// Most properties in one schema, nested ones included.
pub const MAX_PROPERTIES: usize = 512;
/// Most values in all `enum`s of one schema.
pub const MAX_ENUM_VALUES: usize = 1024;
/// Most regular expressions in one schema; each may take up to 1 MiB compiled.
pub const MAX_PATTERNS: usize = 64;

const MAX_PATTERN_BYTES: usize = 1 << 20;
/// The same for a [`ValueSchema`], of which one policy can hold many.
const MAX_VALUE_PATTERN_BYTES: usize = 256 << 10;
/// Most subschemas met when every `$ref` is followed, so that references to references cannot multiply.
const MAX_EXPANSION: usize = 8192;
/// Longest chain of references.
const MAX_CHAIN: usize = 64;
/// Most findings reported for one call.
const MAX_ERRORS: usize = 8;
/// Most findings there may be in all. The validator collects every one before it shows the first, so beyond this it is
/// not asked.
const MAX_FINDINGS: usize = 1 << 17;
const DRAFT_2020_12: &str = "https://json-schema.org/draft/2020-12/schema";

pub(crate) struct InputSchema {
    schema: Value,
    validator: Validator,
    /// The arguments that the schema names.
    names: BTreeSet<String>,
    /// Subschemas met when every reference is followed once.
    expansion: usize,
    /// Whether a subschema refers to itself, and so is met once more on each level of the arguments.
    recursive: bool,
}

impl InputSchema {
    /// The schema of a Rust type.
    pub(crate) fn of<A: JsonSchema>() -> Value {
        schemars::generate::SchemaSettings::draft2020_12()
            .with_transform(RecursiveTransform(number::bound))
            .into_generator()
            .into_root_schema_for::<A>()
            .to_value()
    }

    /// Checks the bounds, closes the root and compiles.
    pub(crate) fn compile(mut schema: Value) -> Result<Self, String> {
        // Before anything else walks it.
        check_size(&schema)?;
        close(&mut schema)?;
        let names = Survey::of(&schema)?.names_in(&schema)?;
        let (validator, expansion, recursive) = validator(&schema, MAX_PATTERN_BYTES)?;
        Ok(Self { schema, validator, names, expansion, recursive })
    }

    pub(crate) fn schema(&self) -> &Value {
        &self.schema
    }

    /// Whether the schema names an argument, at its root or in a subschema that applies to the same object.
    pub(crate) fn names(&self, argument: &str) -> bool {
        self.names.contains(argument)
    }

    /// The first errors of `arguments`. Values are never coerced.
    pub(crate) fn validate(&self, arguments: &Value) -> Result<(), Vec<ArgumentError>> {
        if self.validator.is_valid(arguments) {
            return Ok(());
        }
        if MAX_FINDINGS < self.findings_at_most(arguments) {
            let message = "they break the schema, and are too large or too deep to say where";
            return Err(vec![ArgumentError::new("", "schema", message)]);
        }
        let errors = self.validator.iter_errors(arguments).take(MAX_ERRORS);
        Err(errors
            .map(|error| ArgumentError::new(error.instance_path(), error.kind().keyword(), error.masked()))
            .collect())
    }

    fn findings_at_most(&self, arguments: &Value) -> usize {
        let (mut nodes, mut levels) = (0usize, 0u32);
        let mut pending = vec![(arguments, 1u32)];
        while let Some((value, level)) = pending.pop() {
            nodes += 1;
            levels = levels.max(level);
            match value {
                Value::Array(items) => pending.extend(items.iter().map(|item| (item, level + 1))),
                Value::Object(entries) => pending.extend(entries.values().map(|item| (item, level + 1))),
                _ => {}
            }
        }
        let times = if self.recursive { levels } else { 1 };
        self.expansion.saturating_pow(times).saturating_mul(nodes)
    }
}

fn check_size(schema: &Value) -> Result<(), String> {
    let limits = json::Limits { depth: MAX_SCHEMA_DEPTH, ..json::Limits::DEFAULT };
    let size = json::check(schema, &limits).and_then(|()| json::canonical(schema)).map_err(show)?.len();
    if MAX_SCHEMA_BYTES < size {
        return Err(show(JsonError::TooLarge { limit: MAX_SCHEMA_BYTES }));
    }
    Ok(())
}

/// Surveys and compiles a schema whose size is in bounds: the validator, its expansion and whether it is recursive.
fn validator(schema: &Value, pattern_bytes: usize) -> Result<(Validator, usize, bool), String> {
    let survey = Survey::of(schema)?;
    let mut expansion = Expansion { survey: &survey, met: 0, recursive: false, open: Vec::new() };
    expansion.follow(schema)?;
    let (expansion, recursive) = (expansion.met, expansion.recursive);
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(pattern_bytes).dfa_size_limit(pattern_bytes))
        .build(schema)
        .map_err(|error| one_line(format_args!("`{}`: {error}", error.instance_path()), 512))?;
    Ok((validator, expansion, recursive))
}

/// A JSON Schema (2020-12) for any value, within the bounds of a tool's schema but taken as it is written: the root is
/// neither closed nor an object. It does not refer to itself, so judging costs at most its size times the value's.
#[derive(Debug)]
pub struct ValueSchema {
    validator: Validator,
}

impl ValueSchema {
    /// Checks the bounds and compiles.
    ///
    /// # Errors
    /// Why it cannot be used, in one line: it is no schema of that dialect, breaks a bound, refers to something outside
    /// of itself or to itself, or holds a pattern that cannot run in linear time.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        check_size(schema)?;
        if schema.get("$schema").is_some_and(|dialect| dialect.as_str() != Some(DRAFT_2020_12)) {
            return Err(format!("`$schema` is not `{DRAFT_2020_12}`"));
        }
        match validator(schema, MAX_VALUE_PATTERN_BYTES)? {
            (_, _, true) => Err("it refers to itself".to_owned()),
            (validator, _, false) => Ok(Self { validator }),
        }
    }

    /// Whether `value` fits. Values are never coerced.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }
}

/// The root takes an object, and refuses keys it does not name unless it says otherwise itself.
fn close(schema: &mut Value) -> Result<(), String> {
    let root = schema.as_object_mut().ok_or("the schema is not an object")?;
    if root.get("type").and_then(Value::as_str) != Some("object") {
        return Err("the root is not `type: object`".to_owned());
    }
    if root.get("$schema").is_some_and(|dialect| dialect.as_str() != Some(DRAFT_2020_12)) {
        return Err(format!("`$schema` is not `{DRAFT_2020_12}`"));
    }
    if root.contains_key("additionalProperties") || root.contains_key("unevaluatedProperties") {
        return Ok(());
    }
    // `additionalProperties` does not see what these name; `unevaluatedProperties` does.
    let in_place = ["$ref", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"];
    let combined = in_place.iter().any(|keyword| root.contains_key(*keyword));
    let keyword = if combined { "unevaluatedProperties" } else { "additionalProperties" };
    root.insert(keyword.to_owned(), Value::Bool(false));
    Ok(())
}

/// One walk over every subschema that finds, counts and forbids. Recursion is bounded by [`MAX_SCHEMA_DEPTH`].
#[derive(Default)]
struct Survey<'a> {
    /// By JSON pointer. What is not in here is data, and nothing may refer to it.
    subschemas: BTreeMap<String, &'a Value>,
    properties: usize,
    enum_values: usize,
    patterns: usize,
}

impl<'a> Survey<'a> {
    fn of(schema: &'a Value) -> Result<Self, String> {
        let mut survey = Self::default();
        survey.visit(schema, String::new())?;
        let counts = [
            ("properties", survey.properties, MAX_PROPERTIES),
            ("enum values", survey.enum_values, MAX_ENUM_VALUES),
            ("patterns", survey.patterns, MAX_PATTERNS),
        ];
        match counts.into_iter().find(|(_, count, most)| most < count) {
            Some((what, _, most)) => Err(format!("more than {most} {what}")),
            None => Ok(survey),
        }
    }

    fn visit(&mut self, schema: &'a Value, at: String) -> Result<(), String> {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            let entries = value.as_object().map_or(0, serde_json::Map::len);
            match keyword.as_str() {
                "$schema" if at.is_empty() => {}
                "$schema" | "$id" | "$anchor" | "$vocabulary" | "$dynamicRef" | "$dynamicAnchor"
                | "$recursiveRef" | "$recursiveAnchor" | "contentSchema" => {
                    return Err(format!("`{at}` uses `{keyword}`"));
                }
                "properties" => self.properties += entries,
                "enum" => self.enum_values += value.as_array().map_or(0, Vec::len),
                "pattern" => self.patterns += 1,
                "patternProperties" => self.patterns += entries,
                _ => {}
            }
            for (step, child) in children(keyword, value) {
                self.visit(child, format!("{at}/{step}"))?;
            }
        }
        self.subschemas.insert(at, schema);
        Ok(())
    }

    /// What a `$ref` leads to: a subschema of the same schema, named by a pointer with one spelling.
    fn target(&self, reference: &'a Value) -> Result<(&'a str, &'a Value), String> {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let found = pointer.and_then(|pointer| Some((pointer, *self.subschemas.get(pointer)?)));
        found.ok_or_else(|| {
            format!("the reference {reference} is not a pointer to a subschema of the same schema")
        })
    }

    /// The properties of `root`, and of every subschema that applies to the same object as it does.
    fn names_in(&self, root: &'a Value) -> Result<BTreeSet<String>, String> {
        let (mut names, mut followed) = (BTreeSet::new(), BTreeSet::new());
        let mut pending = vec![root];
        while let Some(schema) = pending.pop() {
            for (keyword, value) in schema.as_object().into_iter().flatten() {
                match keyword.as_str() {
                    "properties" => {
                        names.extend(value.as_object().into_iter().flat_map(|named| named.keys().cloned()));
                    }
                    "$ref" => {
                        let (pointer, target) = self.target(value)?;
                        if followed.insert(pointer) {
                            pending.push(target);
                        }
                    }
                    "allOf" | "anyOf" | "oneOf" | "if" | "then" | "else" | "dependentSchemas" => {
                        pending.extend(children(keyword, value).map(|(_, child)| child));
                    }
                    _ => {}
                }
            }
        }
        Ok(names)
    }
}

/// Follows every `$ref` that is not being followed already, with one budget for all of them.
struct Expansion<'a> {
    survey: &'a Survey<'a>,
    met: usize,
    recursive: bool,
    /// The references that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Expansion<'a> {
    fn follow(&mut self, schema: &'a Value) -> Result<(), String> {
        self.met += 1;
        if MAX_EXPANSION < self.met {
            return Err(format!("its references expand to more than {MAX_EXPANSION} subschemas"));
        }
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            if keyword == "$ref" {
                self.reference(value)?;
            }
            children(keyword, value).try_for_each(|(_, child)| self.follow(child))?;
        }
        Ok(())
    }

    fn reference(&mut self, reference: &'a Value) -> Result<(), String> {
        let (pointer, target) = self.survey.target(reference)?;
        if self.open.contains(&pointer) {
            self.recursive = true;
            return Ok(());
        }
        if self.open.len() == MAX_CHAIN {
            return Err(format!("its references form a chain of more than {MAX_CHAIN}"));
        }
        self.open.push(pointer);
        self.follow(target)?;
        self.open.pop();
        Ok(())
    }
}

/// The subschemas under a keyword, each with its pointer from there. Data is none, whatever it looks like.
fn children<'a>(keyword: &'a str, value: &'a Value) -> Box<dyn Iterator<Item = (String, &'a Value)> + 'a> {
    let keyword_step = escape(keyword);
    match (keyword, value) {
        ("const" | "enum" | "default" | "examples", _) => Box::new(std::iter::empty()),
        (
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
            Value::Object(named),
        ) => Box::new(
            named.iter().map(move |(name, child)| (format!("{keyword_step}/{}", escape(name)), child)),
        ),
        (_, Value::Object(_)) => Box::new(std::iter::once((keyword_step, value))),
        (_, Value::Array(items)) => Box::new(
            items.iter().enumerate().map(move |(index, child)| (format!("{keyword_step}/{index}"), child)),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

/// One step of a JSON pointer as the fragment of a reference spells it. The validator decodes `%`, so a name with one has
/// to be written encoded.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1").replace('%', "%25")
}

fn show(error: impl fmt::Display) -> String {
    format!("it is {error}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// References that each lead twice to the next one.
    fn bomb(length: usize) -> Value {
        let twice = |next: usize| json!({"$ref": format!("#/$defs/a{next}")});
        let mut definitions = serde_json::Map::from_iter([("a0".to_owned(), json!({"type": "string"}))]);
        for index in 1..=length {
            definitions.insert(format!("a{index}"), json!({"allOf": [twice(index - 1), twice(index - 1)]}));
        }
        json!({"type": "object", "$defs": definitions, "properties": {"x": twice(length)}})
    }

    fn chain(length: usize) -> Value {
        let mut definitions = serde_json::Map::from_iter([("a0".to_owned(), json!({"type": "string"}))]);
        for index in 1..=length {
            definitions.insert(format!("a{index}"), json!({"$ref": format!("#/$defs/a{}", index - 1)}));
        }
        json!({"type": "object", "$defs": definitions})
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!({}), |inner, _| json!({ "not": inner }))
    }

    fn properties(count: usize) -> Value {
        let named: serde_json::Map<_, _> = (0..count).map(|index| (format!("p{index}"), json!({}))).collect();
        json!({"type": "object", "properties": named})
    }

    #[test]
    fn schemas_that_break_a_rule_are_refused() {
        let cases = [
            (json!("object"), "not an object"),
            (json!({"type": "string"}), "not `type: object`"),
            (json!({"type": ["object"]}), "not `type: object`"),
            (json!({"properties": {}}), "not `type: object`"),
            (
                json!({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}),
                "`$schema` is not",
            ),
            (json!({"type": "object", "$ref": "http://127.0.0.1:9/x"}), "not a pointer"),
            (json!({"type": "object", "properties": {"a": {"$ref": "other.json"}}}), "not a pointer"),
            (json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}), "not a pointer"),
            (json!({"type": "object", "default": {"type": "object"}, "$ref": "#/default"}), "not a pointer"),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "#/%24defs/x"}}, "$defs": {"x": {}}}),
                "not a p",
            ),
            (json!({"type": "object", "properties": {"a": {"$id": "http://x/"}}}), "uses `$id`"),
            (json!({"type": "object", "$dynamicRef": "#x"}), "uses `$dynamicRef`"),
            (json!({"type": "object", "contentSchema": {}}), "uses `contentSchema`"),
            (json!({"type": "object", "required": "a"}), "`/required`"),
            (json!({"type": "object", "properties": {"a": {"pattern": "(?=x)y"}}}), "pattern"),
            (json!({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}}), "pattern"),
            (json!({"type": "object", "properties": {"a": {"pattern": "(a{1000}){1000}"}}}), "pattern"),
            (json!({"type": "object", "title": "x".repeat(65 << 10)}), "larger than 65536 bytes"),
            (json!({"type": "object", "properties": {"a": nested(15)}}), "deeper than 16"),
            (json!({"type": "object", "enum": (0..1025).collect::<Vec<_>>()}), "more than 1024 enum values"),
            (json!({"type": "object", "anyOf": vec![json!({"pattern": "a"}); 65]}), "more than 64 patterns"),
            (properties(513), "more than 512 properties"),
            (bomb(20), "more than 8192 subschemas"),
            (chain(200), "chain of more than 64"),
        ];
        for (schema, expected) in cases {
            let shown: String = schema.to_string().chars().take(80).collect();
            let reason = InputSchema::compile(schema).map(|_| shown.clone()).unwrap_err();
            assert!(reason.contains(expected), "{shown}: {reason}");
        }
    }

    #[test]
    fn schemas_at_a_bound_compile() {
        let named_like_keywords =
            json!({"type": "object", "properties": {"$ref": {"type": "string"}, "$id": {}}});
        let fits = [
            properties(512),
            bomb(5),
            chain(40),
            json!({"type": "object", "$ref": "#"}),
            named_like_keywords,
        ];
        for schema in fits {
            let shown: String = schema.to_string().chars().take(80).collect();
            assert_eq!(InputSchema::compile(schema).err(), None, "{shown}");
        }
    }

    #[test]
    fn a_root_that_does_not_say_is_closed() {
        let cases = [
            (json!({"type": "object"}), false),
            (json!({"type": "object", "additionalProperties": true}), true),
            (json!({"type": "object", "unevaluatedProperties": true}), true),
            (json!({"type": "object", "allOf": [{"properties": {"other": true}}]}), false),
        ];
        for (schema, open) in cases {
            let compiled = InputSchema::compile(schema.clone()).unwrap();
            assert_eq!(compiled.validate(&json!({"x": 1})).is_ok(), open, "{schema}");
        }
        let combined = json!({"type": "object", "oneOf": [{"properties": {"a": {}}, "required": ["a"]}]});
        assert_eq!(InputSchema::compile(combined).unwrap().validate(&json!({"a": 1})), Ok(()));
    }

    #[test]
    fn arguments_with_too_many_findings_get_one_answer() {
        let twice = json!({"items": {"$ref": "#/$defs/t"}});
        let tree = json!({"allOf": [twice, twice], "type": "array"});
        let schema =
            json!({"type": "object", "$defs": {"t": tree}, "properties": {"x": {"$ref": "#/$defs/t"}}});
        let schema = InputSchema::compile(schema).unwrap();
        let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
        let errors = schema.validate(&json!({ "x": deep })).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.keyword.as_str()).collect::<Vec<_>>(), ["schema"]);
        let shallow = schema.validate(&json!({"x": [1]})).unwrap_err();
        assert_eq!(shallow.iter().map(|error| error.keyword.as_str()).collect::<Vec<_>>(), ["type", "type"]);
    }

    #[test]
    fn no_pattern_takes_more_than_linear_time() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let schema = InputSchema::compile(schema).unwrap();
        // A backtracking engine would need 2^51200 steps, so that this ends is the assertion.
        let errors = schema.validate(&json!({"a": format!("{}!", "a".repeat(50 << 10))})).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.keyword.as_str()).collect::<Vec<_>>(), ["pattern"]);
    }
}
