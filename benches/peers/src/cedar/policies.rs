//! The rules as Cedar policies, one each.
//!
//! They are made in Cedar's JSON form, where a tool or a prefix needs no escaping and a `*` inside a prefix is itself.

use agent_os_peer_harness::{Condition, Effect, Rule, Test};
use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

/// One static policy per rule, its id the rule's.
pub(super) fn policy_set(rules: &[Rule]) -> Result<PolicySet, Box<dyn std::error::Error>> {
    let mut policies = PolicySet::new();
    for rule in rules {
        policies.add(Policy::from_json(Some(PolicyId::new(&rule.id)), written(rule))?)?;
    }
    Ok(policies)
}

fn written(rule: &Rule) -> Value {
    let conditions: Vec<Value> = rule
        .when
        .iter()
        .map(|condition| json!({ "kind": "when", "body": body(rule.effect, condition) }))
        .collect();
    json!({
        "effect": match rule.effect { Effect::Allow => "permit", Effect::Deny => "forbid" },
        "principal": { "op": "All" },
        "action": { "op": "==", "entity": { "type": "Action", "id": rule.tool } },
        "resource": { "op": "All" },
        "conditions": conditions,
    })
}

/// A missing argument makes a forbid apply and a permit not.
fn body(effect: Effect, condition: &Condition) -> Value {
    let context = json!({ "Var": "context" });
    let present = json!({ "has": { "left": context, "attr": condition.argument } });
    let argument = json!({ ".": { "left": context, "attr": condition.argument } });
    let holds = match &condition.test {
        Test::Prefix(prefix) => {
            json!({ "like": { "left": argument, "pattern": [{ "Literal": prefix }, "Wildcard"] } })
        }
        Test::GreaterThan(limit) => json!({ ">": { "left": argument, "right": { "Value": limit } } }),
    };
    match effect {
        Effect::Allow => json!({ "&&": { "left": present, "right": holds } }),
        Effect::Deny => json!({ "||": { "left": { "!": { "arg": present } }, "right": holds } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Value, expected: &str) {
        let rule: Rule = serde_json::from_value(rule).unwrap();
        let policy = policy_set(&[rule]).unwrap().policies().next().unwrap().to_string();
        let words: Vec<&str> = policy.split_whitespace().collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn each_form_of_rule_is_the_policy_one_would_write() {
        check(
            json!({ "id": "r", "effect": "deny", "tool": "a\"b" }),
            r#"forbid(principal, action == Action::"a\"b", resource);"#,
        );
        check(
            json!({ "id": "r", "effect": "allow", "tool": "t", "when": { "argument": "path", "prefix": "/d*/" } }),
            r#"permit(principal, action == Action::"t", resource) when { (context has path) && (context.path like "/d\*/*") };"#,
        );
        check(
            json!({ "id": "r", "effect": "deny", "tool": "t", "when": { "argument": "n", "greater_than": -1 } }),
            r#"forbid(principal, action == Action::"t", resource) when { (!(context has n)) || (context.n > (-1)) };"#,
        );
    }
}
