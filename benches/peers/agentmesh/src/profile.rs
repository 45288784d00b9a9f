//! The rules as an agentmesh policy profile.
//!
//! The engine takes the first rule that decides and allows what no rule decided. Deny over allow and default deny are therefore a
//! matter of order: the denies, the conditional allows, the list of allows, a deny of `*`. Actions are grouped into lists as in the
//! peer's README, which is its fastest form and spares it the scope check that one allow rule inflicts on the next.

use std::collections::HashMap;

use agent_os_peer_harness::{Effect, Rule, Test};
use agentmesh::policy::{PolicyProfile, PolicyRule};
use serde_yaml::Value;

/// What becomes of conditions other than equality, which the peer does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Never allow what the rules deny: a deny applies always, an allow only where equality can stand in for the test.
    Narrowed,
    /// Ignore them: an allow applies always, a deny never.
    Dropped,
}

/// The policy document that the peer loads.
pub(crate) fn yaml(rules: &[Rule], conditions: Conditions) -> Result<String, serde_yaml::Error> {
    let mut policies = vec![capability("denied")];
    let mut allowed = capability("allowed");
    if let Some(denied) = policies.first_mut() {
        denied.denied_actions = tools(rules, |rule| {
            rule.effect == Effect::Deny && (rule.when.is_none() || conditions == Conditions::Narrowed)
        });
    }
    if conditions == Conditions::Narrowed {
        policies.extend(rules.iter().filter_map(allow_by_equality));
    }
    allowed.allowed_actions = tools(rules, |rule| {
        rule.effect == Effect::Allow && (rule.when.is_none() || conditions == Conditions::Dropped)
    });
    policies.push(allowed);
    let mut rest = capability("everything else");
    rest.denied_actions = vec!["*".to_owned()];
    policies.push(rest);
    serde_yaml::to_string(&PolicyProfile { version: "1.0".to_owned(), agent: "bench".to_owned(), policies })
}

fn tools(rules: &[Rule], chosen: impl Fn(&Rule) -> bool) -> Vec<String> {
    rules.iter().filter(|rule| chosen(rule)).map(|rule| rule.tool.clone()).collect()
}

/// `path == "/data/"` is the part of `path starts with "/data/"` that equality can say.
fn allow_by_equality(rule: &Rule) -> Option<PolicyRule> {
    let condition = rule.when.as_ref().filter(|_| rule.effect == Effect::Allow)?;
    let Test::Prefix(prefix) = &condition.test else { return None };
    let mut policy = capability(&rule.id);
    policy.allowed_actions = vec![rule.tool.clone()];
    policy.conditions = HashMap::from([(condition.argument.clone(), Value::String(prefix.clone()))]);
    Some(policy)
}

fn capability(name: &str) -> PolicyRule {
    PolicyRule {
        name: name.to_owned(),
        rule_type: "capability".to_owned(),
        allowed_actions: Vec::new(),
        denied_actions: Vec::new(),
        actions: Vec::new(),
        min_approvals: 0,
        max_calls: 0,
        window: String::new(),
        conditions: HashMap::new(),
        priority: 0,
        scope: agentmesh::PolicyScope::default(),
    }
}

#[cfg(test)]
mod tests {
    use agent_os_peer_harness::{Operation, Workload, naive};
    use serde_json::json;

    use super::*;
    use crate::operation::{Call, Evaluate, Govern};

    fn example() -> Workload {
        Workload::parse(include_bytes!("../../example.json")).unwrap()
    }

    fn verdicts(workload: &Workload, conditions: Conditions) -> Vec<bool> {
        let calls: Vec<Call> = workload.requests.iter().map(|request| Call::new(request).unwrap()).collect();
        let policy = yaml(&workload.rules, conditions).unwrap();
        let mut evaluate = Evaluate::new(&policy, &calls).unwrap();
        (0..calls.len()).map(|position| evaluate.call(position)).collect()
    }

    /// The positions at which the peer answers otherwise than the rules mean.
    fn differences(workload: &Workload, conditions: Conditions) -> Vec<usize> {
        let given = verdicts(workload, conditions);
        let meant = workload.requests.iter().map(|request| naive::allows(&workload.rules, request));
        (0..).zip(meant.zip(given)).filter(|(_, (meant, given))| meant != given).map(|(at, _)| at).collect()
    }

    #[test]
    fn narrowed_conditions_refuse_these_lawful_requests() {
        // 2 and 14: a prefix is not equality. 5 and 11: a conditional deny became absolute. 8: greater_than cannot allow.
        assert_eq!(differences(&example(), Conditions::Narrowed), [2, 5, 8, 11, 14]);
    }

    #[test]
    fn dropped_conditions_allow_these_unlawful_requests() {
        assert_eq!(differences(&example(), Conditions::Dropped), [3, 4, 6, 7, 9, 10, 12, 13]);
    }

    #[test]
    fn unconditional_rules_are_answered_as_they_mean() {
        let mut workload = example();
        workload.rules.iter_mut().for_each(|rule| rule.when = None);
        assert_eq!(differences(&workload, Conditions::Narrowed), [0_usize; 0]);
    }

    #[test]
    fn a_prefix_itself_is_allowed() {
        let mut workload = example();
        workload.requests.truncate(3);
        workload.requests[2].arguments.insert("path".to_owned(), json!("/data/p17/"));
        assert_eq!(verdicts(&workload, Conditions::Narrowed), [true, false, true]);
    }

    #[test]
    fn an_allow_of_its_own_would_refuse_the_next_tool_by_its_name() {
        let mut workload = example();
        workload.requests.truncate(3);
        let calls: Vec<Call> = workload.requests.iter().map(|request| Call::new(request).unwrap()).collect();
        let policies = ["tool_1", "tool_17"].map(|tool| {
            let mut policy = capability(tool);
            policy.allowed_actions = vec![tool.to_owned()];
            policy
        });
        let profile =
            PolicyProfile { version: "1.0".to_owned(), agent: "bench".to_owned(), policies: policies.into() };
        let mut evaluate = Evaluate::new(&serde_yaml::to_string(&profile).unwrap(), &calls).unwrap();
        assert_eq!((evaluate.call(0), evaluate.call(2)), (true, false));
    }

    #[test]
    fn the_governed_call_answers_like_the_engine() {
        let workload = example();
        let calls: Vec<Call> = workload.requests.iter().map(|request| Call::new(request).unwrap()).collect();
        let policy = yaml(&workload.rules, Conditions::Narrowed).unwrap();
        let mut govern = Govern::new(policy, &calls).unwrap();
        let governed: Vec<bool> = (0..calls.len()).map(|position| govern.call(position)).collect();
        assert_eq!(governed, verdicts(&workload, Conditions::Narrowed));
    }
}
