//! Cedar, driven as its documentation says: policies parsed once, one authorizer, a request per question.
//!
//! A tool is an action and its arguments are the context; principal and resource play no part, because the rules name neither.

mod policies;

use std::collections::BTreeMap;
use std::error::Error;
use std::str::FromStr;

use agent_os_peer_harness::{Operation, Row, Workload, command};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use serde_json::Value;

/// Measures `is_authorized`, once with the request built in each call and once with requests built beforehand.
pub(crate) fn rows(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let name = format!("cedar-policy {}", cedar_policy::get_sdk_version());
    let policies = policies::policy_set(&workload.rules)?;
    let names = Names::new()?;
    let questions: Vec<Question> = workload.requests.iter().map(Question::from).collect();
    let requests = questions.iter().map(|question| names.request(question)).collect::<Result<Vec<_>, _>>()?;
    let judge = Judge { authorizer: Authorizer::new(), policies, entities: Entities::empty() };

    let note = "every rule is expressible, one policy per rule, parsed once; an argument of another type than a forbid tests is an \
                error on which Cedar skips that forbid";
    let mut built = Built { judge: &judge, names, questions };
    let mut prebuilt = Prebuilt { judge: &judge, requests };
    Ok(vec![
        command::row(workload, &name, "is_authorized, request built per call", note, &mut built)?,
        command::row(workload, &name, "is_authorized, request prebuilt", note, &mut prebuilt)?,
    ])
}

struct Judge {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
}

impl Judge {
    fn allows(&self, request: &Request) -> bool {
        self.authorizer.is_authorized(request, &self.policies, &self.entities).decision() == Decision::Allow
    }
}

struct Prebuilt<'a> {
    judge: &'a Judge,
    requests: Vec<Request>,
}

impl Operation for Prebuilt<'_> {
    fn call(&mut self, position: usize) -> bool {
        self.requests.get(position).is_some_and(|request| self.judge.allows(request))
    }
}

struct Built<'a> {
    judge: &'a Judge,
    names: Names,
    questions: Vec<Question>,
}

impl Operation for Built<'_> {
    fn call(&mut self, position: usize) -> bool {
        let Some(question) = self.questions.get(position) else { return false };
        // Each of them has been built once before, so the error arm is never the one measured.
        self.names.request(question).is_ok_and(|request| self.judge.allows(&request))
    }
}

/// A request as a host holds it: a tool by name and arguments by key.
struct Question {
    tool: String,
    arguments: BTreeMap<String, Value>,
}

impl From<&agent_os_peer_harness::Request> for Question {
    fn from(request: &agent_os_peer_harness::Request) -> Self {
        Self { tool: request.tool.clone(), arguments: request.arguments.clone() }
    }
}

/// The entity names that a host parses once.
struct Names {
    action: EntityTypeName,
    principal: EntityUid,
    resource: EntityUid,
}

impl Names {
    fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            action: EntityTypeName::from_str("Action")?,
            principal: EntityUid::from_str(r#"Agent::"bench""#)?,
            resource: EntityUid::from_str(r#"Host::"bench""#)?,
        })
    }

    fn request(&self, question: &Question) -> Result<Request, Box<dyn Error>> {
        let pairs = question
            .arguments
            .iter()
            .map(|(argument, value)| Ok((argument.clone(), expression(value)?)))
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        let context = Context::from_pairs(pairs)?;
        let action = EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(&question.tool));
        Ok(Request::new(self.principal.clone(), action, self.resource.clone(), context, None)?)
    }
}

fn expression(value: &Value) -> Result<RestrictedExpression, Box<dyn Error>> {
    Ok(match value {
        Value::String(text) => RestrictedExpression::new_string(text.clone()),
        Value::Bool(flag) => RestrictedExpression::new_bool(*flag),
        Value::Number(number) => {
            RestrictedExpression::new_long(number.as_i64().ok_or("a fraction is no Cedar value")?)
        }
        Value::Array(values) => {
            RestrictedExpression::new_set(values.iter().map(expression).collect::<Result<Vec<_>, _>>()?)
        }
        Value::Object(fields) => RestrictedExpression::new_record(
            fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), expression(value)?)))
                .collect::<Result<Vec<_>, Box<dyn Error>>>()?,
        )?,
        Value::Null => return Err("null is no Cedar value".into()),
    })
}

#[cfg(test)]
mod tests {
    use agent_os_peer_harness::{Effect, Rule, Workload, naive};
    use serde_json::json;

    use super::*;

    fn example() -> Workload {
        Workload::parse(include_bytes!("../example.json")).unwrap()
    }

    fn check(workload: &Workload, expected: &[bool]) {
        let policies = policies::policy_set(&workload.rules).unwrap();
        let judge = Judge { authorizer: Authorizer::new(), policies, entities: Entities::empty() };
        let names = Names::new().unwrap();
        let questions: Vec<Question> = workload.requests.iter().map(Question::from).collect();
        let requests = questions.iter().map(|question| names.request(question).unwrap()).collect();
        let mut built = Built { judge: &judge, names, questions };
        let mut prebuilt = Prebuilt { judge: &judge, requests };
        for (position, expected) in expected.iter().enumerate() {
            let request = &workload.requests[position];
            assert_eq!(built.call(position), *expected, "built: {request:?}");
            assert_eq!(prebuilt.call(position), *expected, "prebuilt: {request:?}");
        }
    }

    fn meant(workload: &Workload) -> Vec<bool> {
        workload.requests.iter().map(|request| naive::allows(&workload.rules, request)).collect()
    }

    #[test]
    fn every_request_of_the_example_is_answered_as_the_rules_mean() {
        let workload = example();
        check(&workload, &meant(&workload));
    }

    #[test]
    fn every_rule_alone_and_turned_round_is_answered_as_it_means() {
        let whole = example();
        for rule in &whole.rules {
            for effect in [Effect::Allow, Effect::Deny] {
                let mut rule = rule.clone();
                rule.effect = effect;
                let base = Rule {
                    id: "base".to_owned(),
                    effect: Effect::Allow,
                    tool: rule.tool.clone(),
                    when: None,
                };
                for rules in [vec![rule.clone()], vec![base, rule]] {
                    let workload = Workload { rules, ..whole.clone() };
                    check(&workload, &meant(&workload));
                }
            }
        }
    }

    #[test]
    fn a_forbid_is_skipped_when_its_argument_has_another_type() {
        let mut workload = example();
        workload.requests[5].arguments.insert("amount".to_owned(), json!("a lot"));
        let mut expected = meant(&workload);
        assert!(!expected[5], "the rules mean a refusal");
        expected[5] = true;
        check(&workload, &expected);
    }

    #[test]
    fn the_version_reported_is_the_version_locked() {
        let lock = include_str!("../Cargo.lock");
        let entry = format!("name = \"cedar-policy\"\nversion = \"{}\"", cedar_policy::get_sdk_version());
        assert!(lock.contains(&entry), "{entry}");
    }
}
