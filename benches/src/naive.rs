//! What the rules mean: a scan over all of them. Every engine's verdicts are held against this one.

use serde_json::Value;

use crate::workload::{Condition, Effect, Request, Rule};

/// Whether the rules allow the request. Deny beats allow, and nothing matched is a deny.
///
/// An argument that is missing, or of another type than its test, makes a deny apply and an allow not.
#[must_use]
pub fn allows(rules: &[Rule], request: &Request) -> bool {
    let applies = |effect| rules.iter().any(|rule| rule.effect == effect && applies(rule, request));
    applies(Effect::Allow) && !applies(Effect::Deny)
}

fn applies(rule: &Rule, request: &Request) -> bool {
    rule.tool == request.tool
        && match &rule.when {
            None => true,
            Some(condition) => holds(condition, request).unwrap_or(rule.effect == Effect::Deny),
        }
}

fn holds(condition: &Condition, request: &Request) -> Option<bool> {
    match condition {
        Condition::Prefix { argument, prefix } => {
            request.arguments.get(argument)?.as_str().map(|text| text.starts_with(prefix))
        }
        Condition::GreaterThan { argument, greater_than } => {
            request.arguments.get(argument).and_then(Value::as_i64).map(|number| *greater_than < number)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rules: Value, request: Value, expected: bool) {
        let rules: Vec<Rule> = serde_json::from_value(rules).unwrap();
        let request: Request = serde_json::from_value(request).unwrap();
        assert_eq!(allows(&rules, &request), expected, "{rules:?} {request:?}");
    }

    #[test]
    fn deny_beats_allow_and_nothing_matched_is_a_deny() {
        let allow = json!({"id": "a", "effect": "allow", "tool": "t", "when": null});
        let deny = json!({"id": "d", "effect": "deny", "tool": "t", "when": null});
        let call = json!({"tool": "t", "arguments": {}});
        check(json!([allow]), call.clone(), true);
        check(json!([allow]), json!({"tool": "u", "arguments": {}}), false);
        check(json!([allow, deny]), call.clone(), false);
        check(json!([]), call, false);
    }

    #[test]
    fn a_condition_that_cannot_be_judged_counts_against_the_caller() {
        let allow = json!({"id": "a", "effect": "allow", "tool": "t", "when": null});
        let prefixed =
            json!({"id": "p", "effect": "allow", "tool": "t", "when": {"argument": "path", "prefix": "/a/"}});
        let limited =
            json!({"id": "l", "effect": "deny", "tool": "t", "when": {"argument": "n", "greater_than": 5}});
        for (arguments, by_prefix, by_limit) in [
            (json!({"path": "/a/x", "n": 5}), true, true),
            (json!({"path": "/b/x", "n": 6}), false, false),
            (json!({}), false, false),
            (json!({"path": 1, "n": "5"}), false, false),
        ] {
            let call = json!({"tool": "t", "arguments": arguments});
            check(json!([prefixed]), call.clone(), by_prefix);
            check(json!([allow, limited]), call, by_limit);
        }
    }
}
