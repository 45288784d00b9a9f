//! The neutral form of a policy, translated into ours.

use serde_json::{Map, Value, json};

/// Our document for a neutral one. Whatever is odd about it goes through unchanged, so that our loader refuses it.
pub(crate) fn translate(document: &Value) -> String {
    match document {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.entry("name").or_insert_with(|| "case".into());
            if let Some(Value::Array(rules)) = fields.get_mut("rules") {
                for (index, rule) in rules.iter_mut().enumerate() {
                    *rule = translate_rule(rule, index);
                }
            }
            Value::Object(fields).to_string()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn translate_rule(rule: &Value, index: usize) -> Value {
    let Value::Object(fields) = rule else { return rule.clone() };
    let mut ours = Map::new();
    ours.insert("id".to_owned(), format!("r{index}").into());
    for (key, value) in fields {
        match key.as_str() {
            "effect" if value == "escalate" => ours.insert(key.clone(), "ask".into()),
            "tool" if !fields.contains_key("tools") => {
                if !fields.contains_key("calls") {
                    ours.insert("calls".to_owned(), json!(["exec"]));
                }
                let tools = if value.is_array() { value.clone() } else { json!([value]) };
                ours.insert("tools".to_owned(), tools)
            }
            "when" => ours.insert(key.clone(), translate_conditions(value)),
            _ => ours.insert(key.clone(), value.clone()),
        };
    }
    Value::Object(ours)
}

/// All conditions must hold. One that is not exactly an attribute, an operator and a value leaves the list as it is.
fn translate_conditions(conditions: &Value) -> Value {
    let Value::Array(list) = conditions else { return conditions.clone() };
    let mut ours = Map::new();
    for condition in list {
        let parts = condition.as_object().filter(|parts| parts.len() == 3);
        let found = parts.and_then(|parts| {
            Some((parts.get("attr")?.as_str()?, parts.get("op")?.as_str()?, parts.get("value")?))
        });
        let Some((attribute, operator, operand)) = found else { return conditions.clone() };
        let (guard, operand) = guard(operator, operand);
        let guards = ours.entry(attribute).or_insert_with(|| json!({}));
        if let Value::Object(guards) = guards {
            demand(guards, guard, operand);
        }
    }
    Value::Object(ours)
}

/// Adds one more guard that must hold. A second one of the same name goes one level down, into an `any_of` of one.
fn demand(guards: &mut Map<String, Value>, guard: &str, operand: Value) {
    if !guards.contains_key(guard) {
        guards.insert(guard.to_owned(), operand);
        return;
    }
    match guards.entry("any_of").or_insert_with(|| json!([{}])) {
        Value::Array(alternatives) if alternatives.len() == 1 => match &mut alternatives[0] {
            Value::Object(deeper) => demand(deeper, guard, operand),
            other => panic!("`{other}` is no map of guards"),
        },
        other => panic!("`{other}` is no single alternative"),
    }
}

/// Our guard for a neutral operator. Containment, start and end of a literal are matches of its escaped form.
fn guard<'o>(operator: &'o str, operand: &Value) -> (&'o str, Value) {
    let literal = operand.as_str().map(regex::escape);
    match (operator, literal) {
        ("contains", Some(literal)) => ("matches", literal.into()),
        ("starts_with", Some(literal)) => ("matches", format!(r"\A{literal}").into()),
        ("ends_with", Some(literal)) => ("matches", format!(r"{literal}\z").into()),
        ("regex", _) => ("matches", operand.clone()),
        _ => (operator, operand.clone()),
    }
}
