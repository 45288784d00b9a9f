//! The neutral form of the cases, and the values that their steps build.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) area: String,
    #[expect(dead_code, reason = "prose for the reader of the file")]
    attack: String,
    pub(crate) input: Input,
    pub(crate) expected: Expected,
    quotas: Option<String>,
}

impl Case {
    /// Whether the fixture's quotas hold.
    pub(crate) fn has_quotas(&self) -> bool {
        ![&self.quotas, &self.input.quotas].into_iter().flatten().any(|quotas| quotas == "off")
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Input {
    pub(crate) fixture: String,
    pub(crate) steps: Vec<Step>,
    quotas: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Expected {
    pub(crate) verdict: String,
    /// Index of the step that is judged; the last when absent.
    pub(crate) at: Option<usize>,
    #[serde(default)]
    pub(crate) invariants: Vec<String>,
}

/// One step: its operation and whatever else it holds.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub(crate) struct Step {
    pub(crate) op: String,
    #[serde(flatten)]
    pub(crate) fields: Map<String, Value>,
}

/// A builder that makes bytes which are no text, where the API takes text only: it cannot be sent at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotText;

/// Fields that are taken as bytes, or hold steps that are built when their turn comes.
const RAW_FIELDS: [&str; 6] = ["data", "text", "json", "envelope", "step", "steps"];
/// Largest value that a builder may make.
const MAX_BUILT: usize = 256 << 20;

impl Step {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.fields.get(key).and_then(Value::as_u64).unwrap_or_default()
    }

    /// How often the step is to be taken: once when it does not say.
    pub(crate) fn times(&self) -> u64 {
        self.fields.get("n").map_or(1, |times| times.as_u64().unwrap_or_default())
    }

    /// A number of seconds or, below a key that ends in `_ms` or is `ms`, of milliseconds; `None` when it is none.
    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        let number = self.fields.get(key)?.as_f64()?;
        let seconds = if key.ends_with("ms") { number / 1000.0 } else { number };
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The field's value, null when absent.
    pub(crate) fn value(&self, key: &str) -> &Value {
        self.fields.get(key).unwrap_or(&Value::Null)
    }

    /// The first of these fields that is there.
    pub(crate) fn first<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| self.fields.contains_key(*key))
    }

    /// The steps within this one: a `step`, then those of a list.
    pub(crate) fn inner(&self) -> Vec<Self> {
        let one = self.fields.get("step").into_iter();
        let list = self.fields.get("steps").and_then(Value::as_array).into_iter().flatten();
        // What cannot be read is no operation that is known.
        let unreadable = || Self { op: "unreadable".to_owned(), fields: Map::new() };
        one.chain(list)
            .map(|step| serde_json::from_value(step.clone()).unwrap_or_else(|_error| unreadable()))
            .collect()
    }

    /// The step with the builders of every field carried out and its references to saved values filled in, except the
    /// [`RAW_FIELDS`].
    pub(crate) fn resolved(&self, saved: &BTreeMap<String, Value>) -> Result<Self, NotText> {
        let mut fields = Map::new();
        for (key, value) in &self.fields {
            let value = if RAW_FIELDS.contains(&key.as_str()) { value.clone() } else { build(value, saved)? };
            fields.insert(key.clone(), value);
        }
        Ok(Self { op: self.op.clone(), fields })
    }

    /// A field as bytes: text as UTF-8, a builder as what it makes, anything else as JSON.
    pub(crate) fn bytes(&self, key: &str, saved: &BTreeMap<String, Value>) -> Result<Vec<u8>, NotText> {
        self.fields.get(key).map_or_else(|| Ok(Vec::new()), |value| build_bytes(value, saved))
    }
}

/// The builder that an object stands for, with its operand.
fn builder(value: &Value) -> Option<(&str, &Value)> {
    let (name, operand) = value.as_object().filter(|object| object.len() == 1)?.iter().next()?;
    let fits = match (name.as_str(), operand) {
        ("repeat", Value::Array(parts)) => parts.len() == 2 && parts[1].is_u64(),
        ("slice", Value::Array(parts)) => {
            parts.len() == 3 && parts[1..].iter().all(|bound| bound.is_u64() || bound.is_null())
        }
        ("concat", Value::Array(_)) | ("b64", Value::String(_)) => true,
        _ => false,
    };
    fits.then_some((name, operand))
}

/// Carries out `"$x"`, `{"repeat": [unit, n]}`, `{"concat": [...]}`, `{"slice": [v, a, b]}` and `{"b64": …}` anywhere in a
/// value.
pub(crate) fn build(value: &Value, saved: &BTreeMap<String, Value>) -> Result<Value, NotText> {
    match value {
        Value::String(text) => Ok(reference(text, saved).unwrap_or(value).clone()),
        Value::Array(items) => items.iter().map(|item| build(item, saved)).collect(),
        Value::Object(object) => {
            if let Some(("repeat", operand)) = builder(value)
                && !matches!(build(&operand[0], saved), Ok(Value::String(_)) | Err(NotText))
            {
                return Ok(Value::Array(vec![build(&operand[0], saved)?; times(&operand[1], 1)]));
            }
            if builder(value).is_some() {
                return String::from_utf8(build_bytes(value, saved)?)
                    .map(Value::from)
                    .map_err(|_bytes| NotText);
            }
            object.iter().map(|(key, value)| Ok((key.clone(), build(value, saved)?))).collect()
        }
        other => Ok(other.clone()),
    }
}

fn build_bytes(value: &Value, saved: &BTreeMap<String, Value>) -> Result<Vec<u8>, NotText> {
    let Some((name, operand)) = builder(value) else {
        return Ok(match build(value, saved)? {
            Value::String(text) => text.into_bytes(),
            other => other.to_string().into_bytes(),
        });
    };
    Ok(match name {
        "b64" => base64(operand.as_str().unwrap_or_default()),
        "concat" => {
            let mut all = Vec::new();
            for part in operand.as_array().into_iter().flatten() {
                all.extend(build_bytes(part, saved)?);
            }
            all
        }
        "repeat" => {
            let unit = build_bytes(&operand[0], saved)?;
            unit.repeat(times(&operand[1], unit.len()))
        }
        _ => slice(build_bytes(&operand[0], saved)?, &operand[1], &operand[2]),
    })
}

/// Characters of text, bytes of anything else.
fn slice(bytes: Vec<u8>, from: &Value, to: &Value) -> Vec<u8> {
    let cut = |length: usize| {
        let at = |bound: &Value| bound.as_u64().and_then(|at| usize::try_from(at).ok());
        let from = at(from).unwrap_or(0).min(length);
        from..at(to).unwrap_or(length).min(length).max(from)
    };
    match String::from_utf8(bytes) {
        Ok(text) => {
            let text: Vec<char> = text.chars().collect();
            text[cut(text.len())].iter().collect::<String>().into_bytes()
        }
        Err(bytes) => {
            let bytes = bytes.into_bytes();
            bytes[cut(bytes.len())].to_vec()
        }
    }
}

fn times(count: &Value, size: usize) -> usize {
    let times = usize::try_from(count.as_u64().unwrap_or_default()).unwrap_or(usize::MAX);
    assert!(times.saturating_mul(size) <= MAX_BUILT, "a builder makes more than {MAX_BUILT} bytes");
    times
}

fn reference<'s>(text: &str, saved: &'s BTreeMap<String, Value>) -> Option<&'s Value> {
    text.strip_prefix('$').and_then(|name| saved.get(name))
}

/// Standard base64, padded.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("`{}` is not base64", char::from(other)),
    };
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let mut out = Vec::new();
    for group in digits.chunks(4) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (index, digit)| bits | digit << (18 - 6 * index));
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    out
}
