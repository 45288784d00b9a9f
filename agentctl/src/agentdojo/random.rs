//! Random strings in place of everything an attacker chose, so that no verdict can rest on its wording.

use std::collections::BTreeMap;

use serde_json::Value;

use super::data::{Call, Suite};

/// Replaces, in place, the strings of the attackers' calls and the wording of what exposed the user's session to them.
///
/// A letter becomes a letter of the same case and a digit a digit, so that an address stays an address and a link a link;
/// equal strings stay equal. What a tool's schema binds to a form (`enum`, `format`, `pattern`) is left as it is.
pub(crate) fn replace_attackers_strings(suite: &mut Suite, seed: u64) {
    let mut random = Random { state: seed | 1, known: BTreeMap::new() };
    let Suite { tools, user_tasks, injection_tasks, .. } = suite;
    for call in injection_tasks.iter_mut().flat_map(|task| &mut task.calls) {
        let schema = tools.get(&call.function).and_then(|tool| tool.parameters.get("properties"));
        random.arguments(call, schema.unwrap_or(&Value::Null));
        random.value(&mut call.output);
    }
    for task in user_tasks {
        if let Some(exposed) = task.first_exposure_call.and_then(|index| task.calls.get_mut(index)) {
            random.value(&mut exposed.output);
        }
    }
}

/// What a schema says of an argument that is more than a type.
const BINDING: [&str; 4] = ["enum", "format", "pattern", "const"];

struct Random {
    state: u64,
    /// What each string has become.
    known: BTreeMap<String, String>,
}

impl Random {
    fn arguments(&mut self, call: &mut Call, schema: &Value) {
        let Value::Object(arguments) = &mut call.args else { return };
        for (name, value) in arguments {
            let bound =
                schema.get(name).is_some_and(|schema| BINDING.iter().any(|key| schema.get(key).is_some()));
            if !bound {
                self.value(value);
            }
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(entries) => entries.values_mut().for_each(|item| self.value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let replaced: String = text.chars().map(|char| self.alike(char)).collect();
        self.known.insert(text.to_owned(), replaced.clone());
        replaced
    }

    fn alike(&mut self, char: char) -> char {
        let (first, among) = match char {
            'a'..='z' => (b'a', 26),
            'A'..='Z' => (b'A', 26),
            '0'..='9' => (b'0', 10),
            other => return other,
        };
        char::from(first + self.below(among))
    }

    /// An xorshift step (Marsaglia 2003); good enough to be another string.
    fn below(&mut self, bound: u8) -> u8 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        u8::try_from(self.state % u64::from(bound)).unwrap_or_default()
    }
}
