//! What the rules mean: a scan over all of them, against which the peers' verdicts are counted.

use serde_json::Value;

use crate::workload::{Condition, Effect, Request, Rule, Test};

/// Whether the rules allow the request. Deny beats allow, nothing matched is a deny.
///
/// An argument that is missing or of another kind than its test makes a deny rule apply and an allow rule not.
#[must_use]
pub fn allows(rules: &[Rule], request: &Request) -> bool {
    let applies = |effect| rules.iter().any(|rule| rule.effect == effect && concerns(rule, request));
    applies(Effect::Allow) && !applies(Effect::Deny)
}

fn concerns(rule: &Rule, request: &Request) -> bool {
    if rule.tool != request.tool {
        return false;
    }
    match &rule.when {
        None => true,
        Some(condition) => holds(condition, request).unwrap_or(rule.effect == Effect::Deny),
    }
}

fn holds(condition: &Condition, request: &Request) -> Option<bool> {
    match (&condition.test, request.arguments.get(&condition.argument)?) {
        (Test::Prefix(prefix), Value::String(text)) => Some(text.starts_with(prefix)),
        (Test::GreaterThan(limit), Value::Number(number)) => number.as_i64().map(|number| *limit < number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Workload;

    #[test]
    fn the_example_covers_every_form_and_has_these_answers() {
        let workload = Workload::parse(include_bytes!("../../example.json")).unwrap();
        let allowed: Vec<usize> = (0..workload.requests.len())
            .filter(|position| allows(&workload.rules, &workload.requests[*position]))
            .collect();
        assert_eq!(allowed, [0, 2, 5, 8, 11, 14]);
    }
}
