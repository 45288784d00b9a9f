//! Regorus, driven as its own benches do: one engine or one machine, kept; the input, made beforehand, set for each question.
//!
//! The rules are data, by tool, and the module looks only at those of the tool in question: the form that Rego's performance guide asks for,
//! and the fastest that this peer has.

use std::collections::BTreeMap;
use std::error::Error;

use agent_os_peer_harness::{Operation, Row, Rule, Test, Workload, command};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Rc, Value};
use serde_json::json;

const MODULE: &str = "\
package bench

default allow := false

allow if {
    some rule in data.rules[input.tool]
    rule.effect == \"allow\"
    holds(rule)
    not denied
}

denied if {
    some rule in data.rules[input.tool]
    rule.effect == \"deny\"
    holds(rule)
}

denied if {
    some rule in data.rules[input.tool]
    rule.effect == \"deny\"
    unknown(rule)
}

holds(rule) if rule.test == \"none\"

holds(rule) if {
    rule.test == \"prefix\"
    value := input.arguments[rule.argument]
    is_string(value)
    startswith(value, rule.bound)
}

holds(rule) if {
    rule.test == \"above\"
    value := input.arguments[rule.argument]
    is_number(value)
    value > rule.bound
}

unknown(rule) if {
    rule.test == \"prefix\"
    not is_string(input.arguments[rule.argument])
}

unknown(rule) if {
    rule.test == \"above\"
    not is_number(input.arguments[rule.argument])
}
";
const ALLOW: &str = "data.bench.allow";

/// Measures the interpreter and the virtual machine.
pub(crate) fn rows(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let inputs = inputs(workload)?;
    let mut interpreted = Interpreted { engine: engine(&workload.rules)?, inputs: inputs.clone() };
    let mut compiled = Compiled { machine: machine(&workload.rules)?, inputs };
    let note = "every rule is expressible; the rules are data, looked up by tool";
    let name = "regorus 0.14.1";
    Ok(vec![
        command::row(workload, name, "Engine::eval_rule, input prebuilt", note, &mut interpreted)?,
        command::row(workload, name, "RegoVM::execute, compiled, input prebuilt", note, &mut compiled)?,
    ])
}

fn engine(rules: &[Rule]) -> Result<Engine, Box<dyn Error>> {
    let mut engine = Engine::new();
    engine.add_policy("bench.rego".to_owned(), MODULE.to_owned())?;
    engine.add_data(data(rules)?)?;
    // Prepares the module, so that no timed call does.
    engine.set_input(Value::new_object());
    engine.eval_rule(ALLOW.to_owned())?;
    Ok(engine)
}

fn machine(rules: &[Rule]) -> Result<RegoVM, Box<dyn Error>> {
    let mut engine = Engine::new();
    engine.add_policy("bench.rego".to_owned(), MODULE.to_owned())?;
    engine.add_data(data(rules)?)?;
    let policy = engine.compile_with_entrypoint(&Rc::from(ALLOW))?;
    let program = Compiler::compile_from_policy(&policy, &[ALLOW])?;
    let mut machine = RegoVM::new_with_policy(policy);
    machine.load_program(program);
    machine.set_data(data(rules)?)?;
    Ok(machine)
}

fn data(rules: &[Rule]) -> Result<Value, Box<dyn Error>> {
    let mut by_tool: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    for rule in rules {
        let mut written = match &rule.when {
            None => json!({ "test": "none" }),
            Some(condition) => match &condition.test {
                Test::Prefix(prefix) => json!({ "test": "prefix", "bound": prefix }),
                Test::GreaterThan(limit) => json!({ "test": "above", "bound": limit }),
            },
        };
        if let Some(fields) = written.as_object_mut() {
            fields.insert("effect".to_owned(), serde_json::to_value(rule.effect)?);
            let argument = rule.when.as_ref().map(|condition| condition.argument.clone().into());
            fields.extend(argument.map(|argument| ("argument".to_owned(), argument)));
        }
        by_tool.entry(&rule.tool).or_default().push(written);
    }
    Ok(Value::from_json_str(&json!({ "rules": by_tool }).to_string())?)
}

fn inputs(workload: &Workload) -> Result<Vec<Value>, Box<dyn Error>> {
    let input = |request| Ok(Value::from_json_str(&serde_json::to_string(request)?)?);
    workload.requests.iter().map(input).collect()
}

struct Interpreted {
    engine: Engine,
    inputs: Vec<Value>,
}

impl Operation for Interpreted {
    fn call(&mut self, position: usize) -> bool {
        let Some(input) = self.inputs.get(position) else { return false };
        self.engine.set_input(input.clone());
        self.engine.eval_rule(ALLOW.to_owned()).is_ok_and(|answer| answer == Value::from(true))
    }
}

struct Compiled {
    machine: RegoVM,
    inputs: Vec<Value>,
}

impl Operation for Compiled {
    fn call(&mut self, position: usize) -> bool {
        let Some(input) = self.inputs.get(position) else { return false };
        self.machine.set_input(input.clone());
        self.machine.execute_entry_point_by_index(0).is_ok_and(|answer| answer == Value::from(true))
    }
}

#[cfg(test)]
mod tests {
    use agent_os_peer_harness::{Effect, naive};

    use super::*;

    fn check(workload: &Workload) {
        let inputs = inputs(workload).unwrap();
        let mut interpreted =
            Interpreted { engine: engine(&workload.rules).unwrap(), inputs: inputs.clone() };
        let mut compiled = Compiled { machine: machine(&workload.rules).unwrap(), inputs };
        for (position, request) in workload.requests.iter().enumerate() {
            let meant = naive::allows(&workload.rules, request);
            assert_eq!(interpreted.call(position), meant, "interpreted: {request:?}");
            assert_eq!(compiled.call(position), meant, "compiled: {request:?}");
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
}
