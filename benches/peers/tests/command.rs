//! The binary as a caller meets it. The whole run builds the agentmesh package too.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use agent_os_peer_harness::{Report, Workload, naive};

const EXAMPLE: &str = include_str!("../example.json");

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_agent-os-peers"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A binary that refuses its arguments may close the pipe before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn refused(arguments: &[&str], input: &str, expected: &str) {
    let output = run(arguments, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    assert!(said.contains(expected), "`{said}` does not say `{expected}`");
}

#[test]
fn wrong_arguments_and_wrong_input_exit_with_two_and_a_reason() {
    refused(&["--fast"], EXAMPLE, "unexpected argument `--fast`");
    refused(&["--help", "now"], EXAMPLE, "unexpected argument `--help`");
    refused(&[], "", "input is not a workload: EOF");
    refused(&[], "{\"rules\":[],\"requests\":[],\"rounds\":1}", "requests: 0");
    refused(&[], &EXAMPLE.replace("\"rounds\": 2000", "\"round\": 2000"), "unknown field `round`");
    refused(&[], &EXAMPLE.replace("\"tool_99\"", "\"tool_*\""), "tool `tool_*`");
}

#[test]
fn help_is_printed_on_standard_output() {
    let output = run(&["--help"], "");
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("Usage: agent-os-peers"));
}

#[test]
fn the_example_yields_a_row_per_operation_in_order() {
    let output = run(&[], &EXAMPLE.replace("\"rounds\": 2000", "\"rounds\": 3"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();

    let rows: Vec<_> = report.peers.iter().map(|row| (row.name.as_str(), row.what.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("agentmesh 4.0.0", "PolicyEngine::evaluate"),
            ("agentmesh 4.0.0", "AgentMeshClient::execute_with_governance (policy + audit + trust)"),
            ("cedar-policy 4.14.1", "is_authorized, request built per call"),
            ("cedar-policy 4.14.1", "is_authorized, request prebuilt"),
            ("casbin 2.20.0", "enforce"),
            ("regorus 0.14.1", "Engine::eval_rule, input prebuilt"),
            ("regorus 0.14.1", "RegoVM::execute, compiled, input prebuilt"),
        ]
    );
    let workload = Workload::parse(EXAMPLE.as_bytes()).unwrap();
    let meant: Vec<bool> =
        workload.requests.iter().map(|request| naive::allows(&workload.rules, request)).collect();
    for row in &report.peers {
        assert_eq!(row.verdicts.len(), workload.requests.len());
        assert!(0 < row.p50_ns && row.p50_ns <= row.p99_ns, "{row:?}");
        assert!(0.0 < row.mean_ns && 0.0 < row.throughput_per_s, "{row:?}");
        assert!(row.note.contains("percentiles over 48 calls"), "{}", row.note);
    }
    assert!(report.peers.iter().skip(2).all(|row| row.verdicts == meant));
}
