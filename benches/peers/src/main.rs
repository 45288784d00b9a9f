//! Measures published policy engines on a workload that the bench suite hands over.
//!
//! [`agentmesh`] runs in a process of its own, the others in this one; `README.md` says why, and how each is driven.

mod agentmesh;
mod casbin;
mod cedar;
mod rego;

use std::error::Error;
use std::process::ExitCode;

use agent_os_peer_harness::{Row, Workload, command};

const HELP: &str = "\
Measures agentmesh, cedar-policy, casbin and regorus on rules and requests from standard input.

Usage: agent-os-peers < workload.json > report.json

The workload is one JSON document:
  { \"rules\":    [ { \"id\": \"r1\", \"effect\": \"allow\" | \"deny\", \"tool\": \"tool_17\",
                    \"when\": null | { \"argument\": \"path\", \"prefix\": \"/data/\" }
                                 | { \"argument\": \"amount\", \"greater_than\": 1000 } } ],
    \"requests\": [ { \"tool\": \"tool_17\", \"arguments\": { \"path\": \"/data/x\", \"amount\": 5 } } ],
    \"rounds\":   2000 }

Deny beats allow, nothing matched is a deny; a condition on a missing argument makes a deny
apply and an allow not. The report holds one row per peer and operation: what the peer really
answered, p50, p99 and mean in nanoseconds, calls per second, and a note on what the peer
cannot express. Progress goes to standard error.

agentmesh is built and run through cargo, from the sources beside this binary's own.

Exit codes: 0 report written, 1 a peer could not be measured, 2 wrong arguments or input.";

fn main() -> ExitCode {
    command::run(HELP, rows)
}

fn rows(workload: &Workload) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = agentmesh::rows(workload)?;
    rows.extend(cedar::rows(workload)?);
    rows.extend(casbin::rows(workload)?);
    rows.extend(rego::rows(workload)?);
    Ok(rows)
}
