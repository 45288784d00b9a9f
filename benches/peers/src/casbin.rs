//! Casbin, driven as its documentation says: a model, policies added once, `enforce` per question.
//!
//! A rule is one policy line. What a condition means is a function of ours, as casbin's own matchers have no way to say that an argument
//! is missing; it is only called for lines about the tool in question.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;

use agent_os_peer_harness::{Condition, Effect, Operation, Row, Rule, Test, Workload, command};
use casbin::function_map::OperatorFunction;
use casbin::rhai::{Dynamic, Map};
use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use serde_json::Value;

const MODEL: &str = "\
[request_definition]
r = tool, args

[policy_definition]
p = tool, argument, test, bound, eft

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = r.tool == p.tool && holds(r.args, p.argument, p.test, p.bound, p.eft)
";

const PREFIX: &str = "prefix";
const ABOVE: &str = "above";

/// Measures `enforce`, which makes its own values of the request in each call; it has no form for a request prepared beforehand.
pub(crate) fn rows(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut asked = Asked { enforcer: enforcer(&workload.rules)?, questions: questions(workload) };
    let note = "every rule is expressible, one policy line per rule, conditions by a function of ours; whole numbers beyond 32 bits are \
                an error of the call, counted as a refusal";
    Ok(vec![command::row(workload, "casbin 2.20.0", "enforce", note, &mut asked)?])
}

fn enforcer(rules: &[Rule]) -> Result<Enforcer, Box<dyn Error>> {
    // Nothing waits: model and adapter are in memory.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await?;
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await?;
        enforcer.add_function("holds", OperatorFunction::Arg5(holds));
        // It refuses a batch in which a line stands twice.
        let mut seen = HashSet::new();
        let lines = rules.iter().map(line).filter(|line| seen.insert(line.clone())).collect();
        enforcer.add_policies(lines).await?;
        Ok(enforcer)
    })
}

fn line(rule: &Rule) -> Vec<String> {
    let (argument, test, bound) = match &rule.when {
        None => ("-", "-", "-".to_owned()),
        Some(Condition { argument, test: Test::Prefix(prefix) }) => {
            (argument.as_str(), PREFIX, prefix.clone())
        }
        Some(Condition { argument, test: Test::GreaterThan(limit) }) => {
            (argument.as_str(), ABOVE, limit.to_string())
        }
    };
    let effect = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    vec![rule.tool.clone(), argument.to_owned(), test.to_owned(), bound, effect.to_owned()]
}

/// Whether a condition holds; one that cannot be judged does for a deny and does not for an allow.
fn holds(arguments: Dynamic, argument: Dynamic, test: Dynamic, bound: Dynamic, effect: Dynamic) -> Dynamic {
    judge(&arguments, &argument, &test, &bound).unwrap_or_else(|| text(&effect) == "deny").into()
}

fn judge(arguments: &Dynamic, argument: &Dynamic, test: &Dynamic, bound: &Dynamic) -> Option<bool> {
    let test = text(test);
    if test == "-" {
        return Some(true);
    }
    let arguments = arguments.read_lock::<Map>()?;
    let value = arguments.get(text(argument).as_str())?;
    match test.as_str() {
        PREFIX => Some(value.clone().into_immutable_string().ok()?.starts_with(text(bound).as_str())),
        ABOVE => Some(text(bound).parse::<i64>().ok()? < i64::from(value.as_int().ok()?)),
        _ => None,
    }
}

fn text(value: &Dynamic) -> casbin::rhai::ImmutableString {
    value.clone().into_immutable_string().unwrap_or_default()
}

struct Asked {
    enforcer: Enforcer,
    questions: Vec<(String, BTreeMap<String, Value>)>,
}

impl Operation for Asked {
    fn call(&mut self, position: usize) -> bool {
        let Some((tool, arguments)) = self.questions.get(position) else { return false };
        self.enforcer.enforce((tool, arguments)).unwrap_or(false)
    }
}

fn questions(workload: &Workload) -> Vec<(String, BTreeMap<String, Value>)> {
    workload.requests.iter().map(|request| (request.tool.clone(), request.arguments.clone())).collect()
}

#[cfg(test)]
mod tests {
    use agent_os_peer_harness::naive;
    use serde_json::json;

    use super::*;

    fn check(workload: &Workload) {
        let mut asked =
            Asked { enforcer: enforcer(&workload.rules).unwrap(), questions: questions(workload) };
        for (position, request) in workload.requests.iter().enumerate() {
            let meant = naive::allows(&workload.rules, request);
            assert_eq!(asked.call(position), meant, "{request:?}");
        }
    }

    #[test]
    fn every_request_of_the_example_is_answered_as_the_rules_mean() {
        check(&Workload::parse(include_bytes!("../example.json")).unwrap());
    }

    #[test]
    fn every_rule_alone_and_turned_round_is_answered_as_it_means() {
        let whole = Workload::parse(include_bytes!("../example.json")).unwrap();
        for rule in &whole.rules {
            for effect in [Effect::Allow, Effect::Deny] {
                check(&Workload { rules: vec![Rule { effect, ..rule.clone() }], ..whole.clone() });
            }
        }
    }

    #[test]
    fn a_number_it_cannot_hold_is_a_refusal() {
        let mut workload = Workload::parse(include_bytes!("../example.json")).unwrap();
        workload.requests.iter_mut().for_each(|request| {
            request.arguments.insert("amount".to_owned(), json!(i64::MAX));
        });
        let mut asked =
            Asked { enforcer: enforcer(&workload.rules).unwrap(), questions: questions(&workload) };
        assert!((0..workload.requests.len()).all(|position| !asked.call(position)));
    }
}
