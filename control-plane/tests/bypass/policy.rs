//! The neutral form of a policy, translated into ours.

use serde_json::{Map, Value, json};

/// Arguments of the fixture's tools that are lists.
const LISTS: [&str; 2] = ["args.argv", "args.targets"];

/// Our document for a neutral one. Whatever is odd about it goes through unchanged, so that our loader refuses it.
pub(crate) fn translate(document: &Value) -> String {
    match document {
        Value::Object(fields) => translated(fields).to_string(),
        Value::String(text) => neutral_yaml(text).map_or_else(|| text.clone(), |ours| ours.to_string()),
        other => other.to_string(),
    }
}

/// What extends another document. One that forbids or asks and allows nothing is no list of what is allowed: it leaves the
/// rest as it is.
pub(crate) fn translate_extension(document: &Value) -> String {
    let Value::Object(fields) = document else { return translate(document) };
    let rules = fields.get("rules").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let restricts = |rule: &Value| rule.get("effect").is_some_and(|effect| effect != "allow");
    let mut fields = fields.clone();
    if !rules.is_empty() && rules.iter().all(restricts) {
        fields.entry("unmatched").or_insert_with(|| "abstain".into());
    }
    translate(&fields.into())
}

fn translated(fields: &Map<String, Value>) -> Value {
    let mut fields = fields.clone();
    fields.entry("name").or_insert_with(|| "case".into());
    if let Some(Value::Array(rules)) = fields.get("rules") {
        let ours = rules.iter().enumerate().flat_map(|(index, rule)| translate_rule(rule, index)).collect();
        fields.insert("rules".to_owned(), Value::Array(ours));
    }
    fields.into()
}

/// A neutral document written as YAML. Text with anything that is lost on the way to a value, such as an anchor or a tag,
/// and text that is a document of ours or none at all, is for our loader as it stands.
fn neutral_yaml(text: &str) -> Option<Value> {
    if ["&", "<<", "!", "%", "\n---", "\n..."].iter().any(|mark| text.contains(mark)) {
        return None;
    }
    let value: Value = serde_saphyr::from_str(text).ok()?;
    let neutral = |rule: &Value| rule.get("tool").is_some();
    let rules = value.get("rules")?.as_array()?;
    rules.iter().any(neutral).then(|| value.as_object().map(translated)).flatten()
}

/// Our rules for a neutral one: one, or one for each way in which its conditions can hold.
fn translate_rule(rule: &Value, index: usize) -> Vec<Value> {
    let Value::Object(fields) = rule else { return vec![rule.clone()] };
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
            "tools" => {
                if !fields.contains_key("calls") {
                    ours.insert("calls".to_owned(), json!(["exec"]));
                }
                ours.insert(key.clone(), value.clone())
            }
            _ => ours.insert(key.clone(), value.clone()),
        };
    }
    let Some(conditions) = fields.get("when") else { return vec![ours.into()] };
    let ways = ways(conditions);
    let several = 1 < ways.len();
    let rule = |(way, conditions): (usize, Value)| {
        let mut rule = ours.clone();
        if several {
            let id = rule.get("id").and_then(Value::as_str).unwrap_or_default();
            rule.insert("id".to_owned(), format!("{id}-{way}").into());
        }
        rule.insert("when".to_owned(), translate_conditions(&conditions));
        Value::Object(rule)
    };
    ways.into_iter().enumerate().map(rule).collect()
}

/// Lists of conditions of which one list must hold.
fn ways(conditions: &Value) -> Vec<Value> {
    let only = |key: &str| conditions.as_object().filter(|map| map.len() == 1).and_then(|map| map.get(key));
    if let Some(Value::Array(any)) = only("any").or_else(|| only("or")).filter(|any| *any != &json!([])) {
        return any.iter().flat_map(ways).collect();
    }
    if let Some(all @ Value::Array(_)) = only("all").or_else(|| only("and")) {
        return vec![all.clone()];
    }
    match condition(conditions) {
        Some(_) => vec![json!([conditions])],
        None => vec![conditions.clone()],
    }
}

/// An attribute, an operator and a value, and nothing else.
fn condition(condition: &Value) -> Option<(&str, &str, &Value)> {
    let parts = condition.as_object().filter(|parts| parts.len() == 3)?;
    let one = |names: &[&str]| names.iter().find_map(|name| parts.get(*name));
    let attribute = one(&["attr", "attribute", "field"])?.as_str()?;
    Some((attribute, one(&["op", "operator"])?.as_str()?, one(&["value", "values"])?))
}

/// All conditions must hold. One that is not exactly an attribute, an operator and a value leaves the list as it is.
fn translate_conditions(conditions: &Value) -> Value {
    let Value::Array(list) = conditions else { return conditions.clone() };
    let mut ours = Map::new();
    for one in list {
        let Some((attribute, operator, operand)) = condition(one) else { return conditions.clone() };
        let attribute = subject(attribute);
        let (guard, operand) = guard(&attribute, operator, operand);
        let guards = ours.entry(attribute).or_insert_with(|| json!({}));
        if let Value::Object(guards) = guards {
            demand(guards, guard, operand);
        }
    }
    Value::Object(ours)
}

/// Our name for a neutral attribute. One that is not known stays, and is refused.
fn subject(attribute: &str) -> String {
    match attribute {
        "agent.role" | "caller.role" | "role" => "context.role".to_owned(),
        "agent.id" | "agent_id" | "caller.id" => "agent".to_owned(),
        "tool.id" | "tool.name" => "tool".to_owned(),
        other => match other.strip_prefix("arguments.") {
            Some(argument) => format!("args.{argument}"),
            None => other.to_owned(),
        },
    }
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
fn guard<'o>(attribute: &str, operator: &'o str, operand: &Value) -> (&'o str, Value) {
    if let Some(positive) = operator.strip_prefix("not_").filter(|positive| *positive != "in") {
        let (inner, operand) = guard(attribute, positive, operand);
        // What is not known stays so, whatever stands in front of it.
        return if inner == positive && !matches!(positive, "matches" | "contains_any") {
            (operator, operand)
        } else {
            ("not", json!({ inner: operand }))
        };
    }
    let literal = operand.as_str().map(regex::escape);
    match (operator, literal) {
        ("contains", _) if LISTS.contains(&attribute) => ("some", json!({ "eq": operand })),
        ("contains", Some(literal)) => ("matches", literal.into()),
        ("starts_with" | "startswith" | "prefix", Some(literal)) => {
            ("matches", format!(r"\A{literal}").into())
        }
        ("ends_with" | "endswith" | "suffix", Some(literal)) => ("matches", format!(r"{literal}\z").into()),
        ("regex", _) => ("matches", operand.clone()),
        ("glob" | "match", Some(literal)) => {
            let pattern = literal.replace(r"\*", "(?s:.*)").replace(r"\?", "(?s:.)");
            ("matches", format!(r"\A{pattern}\z").into())
        }
        ("under" | "within", Some(_)) => ("path", json!({ "under": [operand] })),
        ("under" | "within", None) => ("path", json!({ "under": operand })),
        ("==" | "equals", _) => ("eq", operand.clone()),
        ("!=" | "neq", _) => ("ne", operand.clone()),
        ("<", _) => ("lt", operand.clone()),
        ("<=" | "le", _) => ("lte", operand.clone()),
        (">", _) => ("gt", operand.clone()),
        (">=" | "ge", _) => ("gte", operand.clone()),
        _ => (operator, operand.clone()),
    }
}
