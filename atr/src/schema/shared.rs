//! Schemas as a registry holds them: each once, as text, and compiled only while it is used.
//!
//! A compiled schema takes tens of kilobytes, and of many tools few are called. So a schema is compiled when it is
//! registered, which shows that it can be, and again when it is first used. What was used least lately goes first.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agent_primitives::Digest;
use agent_primitives::json::{self, Value};
use arc_swap::ArcSwapOption;
use serde::{Serialize, Serializer, ser};

use super::{Compiled, InputSchema, ValueSchema, show};
use crate::error::ArgumentError;

/// Most compiled schemas that one registry keeps, where each pattern counts for one more: a pattern may take a megabyte.
pub const MAX_COMPILED: usize = 1024;

const DOMAIN: &str = "agent-os atr schema v1";
/// How many digests are remembered before those of schemas that are gone are first forgotten.
const FIRST_PURGE: usize = 1024;

/// A schema as canonical JSON. As a value it would take ten times the memory. Cloning is a reference count.
#[derive(Clone)]
pub(crate) struct SchemaText(Arc<str>);

impl SchemaText {
    fn of(schema: &Value) -> Result<Self, String> {
        let text = json::canonical(schema).map_err(show)?;
        String::from_utf8(text).map(|text| Self(text.into())).map_err(show)
    }

    /// The schema, made anew. Null if the text were no JSON, which its only constructor rules out.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SchemaText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SchemaText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.0).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

/// What is held against a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    Arguments,
    Output,
}

impl Use {
    fn compile(self, schema: &Value) -> Result<Compiled, String> {
        match self {
            Self::Arguments => Compiled::of_arguments(schema),
            Self::Output => ValueSchema::compile(schema).map(|schema| schema.0),
        }
    }
}

/// A schema that any number of tools have.
pub(crate) struct SharedSchema {
    text: SchemaText,
    held_against: Use,
    /// How much of [`MAX_COMPILED`] it takes.
    weight: usize,
    compiled: ArcSwapOption<Compiled>,
    /// Held by whoever compiles it, so that of many first calls one does.
    compiling: Mutex<()>,
    /// Whether it was used since it was last looked at for being dropped.
    used: AtomicBool,
    kept: Weak<Kept>,
}

impl SharedSchema {
    pub(crate) fn text(&self) -> &SchemaText {
        &self.text
    }

    /// The first errors of `arguments`. Values are never coerced.
    pub(crate) fn validate(self: &Arc<Self>, arguments: &Value) -> Result<(), Vec<ArgumentError>> {
        // What is registered has compiled before, so this is never seen.
        let broken = |reason| vec![ArgumentError::new("", "schema", reason)];
        self.with(|compiled| compiled.validate(arguments)).map_err(broken)?
    }

    /// Whether `output` fits. Values are never coerced.
    pub(crate) fn fits(self: &Arc<Self>, output: &Value) -> bool {
        self.with(|compiled| compiled.fits(output)).unwrap_or(false)
    }

    fn with<T>(self: &Arc<Self>, judge: impl FnOnce(&Compiled) -> T) -> Result<T, String> {
        if let Some(compiled) = &*self.compiled.load() {
            if !self.used.load(Ordering::Relaxed) {
                self.used.store(true, Ordering::Relaxed);
            }
            return Ok(judge(compiled));
        }
        self.compile().map(|compiled| judge(&compiled))
    }

    fn compile(self: &Arc<Self>) -> Result<Arc<Compiled>, String> {
        let _only_one = locked(&self.compiling);
        if let Some(compiled) = self.compiled.load_full() {
            return Ok(compiled);
        }
        let compiled = Arc::new(self.held_against.compile(&self.text.value())?);
        self.compiled.store(Some(Arc::clone(&compiled)));
        if let Some(kept) = self.kept.upgrade() {
            locked(&kept.ring).keep(self);
        }
        Ok(compiled)
    }
}

/// The schemas of one registry. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Schemas(Arc<Kept>);

#[derive(Default)]
struct Kept {
    known: Mutex<Known>,
    ring: Mutex<Ring>,
}

/// Every schema that some tool has.
struct Known {
    by_digest: HashMap<(Use, Digest), Weak<SharedSchema>>,
    purge_at: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self { by_digest: HashMap::new(), purge_at: FIRST_PURGE }
    }
}

impl Known {
    fn remember(&mut self, key: (Use, Digest), schema: &Arc<SharedSchema>) -> Arc<SharedSchema> {
        if let Some(known) = self.by_digest.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        if self.purge_at <= self.by_digest.len() {
            self.by_digest.retain(|_, known| known.strong_count() != 0);
            self.purge_at = FIRST_PURGE.max(self.by_digest.len().saturating_mul(2));
        }
        self.by_digest.insert(key, Arc::downgrade(schema));
        Arc::clone(schema)
    }
}

/// Those that are compiled, in the order in which they are looked at for being dropped.
#[derive(Default)]
struct Ring {
    compiled: VecDeque<(Weak<SharedSchema>, usize)>,
    weight: usize,
}

impl Ring {
    /// Adds one, and drops what was used least lately until there is room.
    fn keep(&mut self, schema: &Arc<SharedSchema>) {
        schema.used.store(false, Ordering::Relaxed);
        self.weight += schema.weight;
        if MAX_COMPILED < self.weight {
            self.compiled.retain(|(other, _)| other.strong_count() != 0);
            self.weight = schema.weight + self.compiled.iter().map(|(_, weight)| weight).sum::<usize>();
        }
        while MAX_COMPILED < self.weight
            && let Some((other, weight)) = self.compiled.pop_front()
        {
            match other.upgrade() {
                // One that was used meanwhile is passed over once.
                Some(other) if other.used.swap(false, Ordering::Relaxed) => {
                    self.compiled.push_back((Arc::downgrade(&other), weight));
                }
                other => {
                    self.weight -= weight;
                    other.inspect(|other| other.compiled.store(None));
                }
            }
        }
        self.compiled.push_back((Arc::downgrade(schema), schema.weight));
    }
}

impl Schemas {
    /// The schema of arguments.
    ///
    /// # Errors
    /// Why it does not compile.
    pub(crate) fn arguments(&self, schema: &InputSchema) -> Result<Arc<SharedSchema>, String> {
        self.share(Use::Arguments, schema.schema())
    }

    /// The schema of an output.
    ///
    /// # Errors
    /// As [`ValueSchema::compile`].
    pub(crate) fn output(&self, schema: &Value) -> Result<Arc<SharedSchema>, String> {
        // Before anything else walks it.
        super::check_size(schema)?;
        self.share(Use::Output, schema)
    }

    /// The schema that is known, or this one if it compiles.
    fn share(&self, held_against: Use, schema: &Value) -> Result<Arc<SharedSchema>, String> {
        let text = SchemaText::of(schema)?;
        let key = (held_against, Digest::of(DOMAIN, text.0.as_bytes()));
        if let Some(known) = locked(&self.0.known).by_digest.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // Exactly what is compiled again later, and then without this answer.
        let weight = held_against.compile(&text.value())?.weight;
        let schema = Arc::new(SharedSchema {
            text,
            held_against,
            weight,
            compiled: ArcSwapOption::empty(),
            compiling: Mutex::default(),
            used: AtomicBool::new(false),
            kept: Arc::downgrade(&self.0),
        });
        Ok(locked(&self.0.known).remember(key, &schema))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: no code of others runs under these locks, and each state is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(schemas: &Schemas, schema: Value) -> Arc<SharedSchema> {
        schemas.arguments(&InputSchema::check(schema).unwrap()).unwrap()
    }

    fn numbered(schemas: &Schemas, number: usize) -> Arc<SharedSchema> {
        input(schemas, json!({"type": "object", "properties": {format!("p{number}"): {"type": "string"}}}))
    }

    fn is_compiled(schema: &SharedSchema) -> bool {
        schema.compiled.load().is_some()
    }

    #[test]
    fn equal_schemas_are_one_and_are_compiled_when_they_are_used() {
        let schemas = Schemas::default();
        let one = input(
            &schemas,
            json!({"type": "object", "required": ["a"], "properties": {"a": {"minimum": 1.0}}}),
        );
        let same = input(
            &schemas,
            json!({"properties": {"a": {"minimum": 1}}, "type": "object", "required": ["a"]}),
        );
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!is_compiled(&one));
        assert_eq!(one.validate(&json!({"a": 1})), Ok(()));
        assert!(is_compiled(&one));
        assert_eq!(same.validate(&json!({})).unwrap_err().len(), 1);
        assert_eq!(same.validate(&json!({"a": 0})).unwrap_err().len(), 1);
    }

    #[test]
    fn arguments_and_outputs_share_nothing_since_they_are_judged_differently() {
        let schemas = Schemas::default();
        let text = json!({"type": "object", "additionalProperties": false});
        let (arguments, output) = (input(&schemas, text.clone()), schemas.output(&text).unwrap());
        assert!(!Arc::ptr_eq(&arguments, &output));
        assert!(output.fits(&json!({})) && !output.fits(&json!({"a": 1})));
        // What refers to itself can be the schema of arguments only, even where it is known as that already.
        let recursive = json!({"type": "object", "additionalProperties": {"$ref": "#"}});
        input(&schemas, recursive.clone());
        assert!(schemas.output(&recursive).err().unwrap().contains("refers to itself"));
    }

    #[test]
    fn a_schema_that_does_not_compile_is_refused_each_time() {
        let schemas = Schemas::default();
        let broken = json!({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}});
        for _ in 0..2 {
            let checked = InputSchema::check(broken.clone()).unwrap();
            assert!(schemas.arguments(&checked).err().unwrap().contains("pattern"));
            assert!(schemas.output(&broken).err().unwrap().contains("pattern"));
        }
        assert!(locked(&schemas.0.known).by_digest.is_empty());
    }

    #[test]
    fn only_so_many_stay_compiled_and_what_is_used_stays_longest() {
        let schemas = Schemas::default();
        let all: Vec<_> = (0..MAX_COMPILED + 200).map(|number| numbered(&schemas, number)).collect();
        for schema in &all {
            assert_eq!(schema.validate(&json!({})), Ok(()));
            assert_eq!(all[0].validate(&json!({})), Ok(()));
        }
        assert_eq!(all.iter().filter(|schema| is_compiled(schema)).count(), MAX_COMPILED);
        assert!(is_compiled(&all[0]) && !is_compiled(&all[1]) && is_compiled(&all[MAX_COMPILED + 199]));
        // What was dropped is compiled again, and judges as before.
        assert_eq!(all[1].validate(&json!({"p2": "x"})).unwrap_err()[0].keyword, "additionalProperties");
        assert_eq!(all.iter().filter(|schema| is_compiled(schema)).count(), MAX_COMPILED);
    }

    #[test]
    fn patterns_take_room_of_others() {
        let schemas = Schemas::default();
        let patterns = |number: usize| {
            let any = vec![json!({"pattern": "a"}); 60];
            input(&schemas, json!({"type": "object", "title": number.to_string(), "anyOf": any}))
        };
        let all: Vec<_> = (0..40).map(patterns).collect();
        all.iter().for_each(|schema| assert_eq!(schema.validate(&json!({})), Ok(())));
        assert_eq!(all.iter().filter(|schema| is_compiled(schema)).count(), MAX_COMPILED / 61);
    }

    #[test]
    fn schemas_of_no_tool_are_forgotten() {
        let schemas = Schemas::default();
        for number in 0..FIRST_PURGE * 3 {
            assert_eq!(numbered(&schemas, number).validate(&json!({})), Ok(()));
        }
        assert!(locked(&schemas.0.known).by_digest.len() <= FIRST_PURGE);
        assert!(locked(&schemas.0.ring).weight <= MAX_COMPILED);
    }

    #[test]
    fn many_first_uses_at_once_compile_it_once() {
        let schemas = Schemas::default();
        let schema = numbered(&schemas, 1);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(schema.validate(&json!({"p1": "x"})), Ok(())));
            }
        });
        assert_eq!(locked(&schemas.0.ring).compiled.len(), 1);
    }
}
