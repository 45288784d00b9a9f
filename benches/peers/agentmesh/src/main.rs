//! Measures agentmesh 4.0.0 on a workload from standard input.
//!
//! [`profile`] turns the rules into the peer's own policy document, [`operation`] drives its two entry points.

mod operation;
mod profile;

use std::error::Error;
use std::process::ExitCode;

use agent_os_peer_harness::{Row, Workload, command};

use crate::operation::{CALLS_PER_CLIENT, Call, Evaluate, Govern};
use crate::profile::Conditions;

const NAME: &str = "agentmesh 4.0.0";

const HELP: &str = "\
Measures agentmesh 4.0.0 on rules and requests from standard input (see README.md).

Usage: agent-os-peer-agentmesh < workload.json > report.json

Usually started by agent-os-peers, which adds the other peers to the report.";

fn main() -> ExitCode {
    command::run(HELP, rows)
}

fn rows(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let policy = profile::yaml(&workload.rules, Conditions::Narrowed)?;
    let calls = workload.requests.iter().map(Call::new).collect::<Result<Vec<_>, _>>()?;
    let note = format!(
        "{}; contexts are built before the clock starts",
        limits_of_the_mapping(workload, &policy, &calls)?
    );

    let mut evaluate = Evaluate::new(&policy, &calls)?;
    let evaluated = command::row(workload, NAME, "PolicyEngine::evaluate", &note, &mut evaluate)?;

    let what = "AgentMeshClient::execute_with_governance (policy + audit + trust)";
    let note = format!(
        "{note}; a fresh client every {CALLS_PER_CLIENT} calls at most, because past 100000 audit entries each call costs about 1 ms"
    );
    let mut govern = Govern::new(policy, &calls)?;
    Ok(vec![evaluated, command::row(workload, NAME, what, &note, &mut govern)?])
}

/// What the peer's rules cannot say, and what the other way of writing them would have answered.
fn limits_of_the_mapping(
    workload: &Workload,
    policy: &str,
    calls: &[Call],
) -> Result<String, Box<dyn Error>> {
    let conditional = workload.rules.iter().filter(|rule| rule.when.is_some()).count();
    if conditional == 0 {
        return Ok("every rule is expressible: two action lists and a final deny of `*`".to_owned());
    }
    let dropped = profile::yaml(&workload.rules, Conditions::Dropped)?;
    let narrow = Evaluate::new(policy, calls)?.allowed();
    let wide = Evaluate::new(&dropped, calls)?.allowed();
    Ok(format!(
        "rule conditions know only equality, so of {conditional} conditional rules a deny always applies, an allow by prefix \
         only to the prefix itself, an allow by greater_than never: {narrow} of {} requests are allowed; with the conditions \
         dropped instead it would be {wide}",
        calls.len()
    ))
}
