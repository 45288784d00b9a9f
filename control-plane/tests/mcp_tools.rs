//! Tools of an MCP server that somebody else wrote, under a kernel's policy: `mcp-server-time` as it comes from PyPI, in a
//! sandbox.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_control_plane::atr::mcp::{ImportPolicy, Program, Server, Settings, ToolTerms};
use agent_control_plane::atr::{
    Access, Command, Effect, Executors, Limits, Permissions, Registry, TokioTimer,
};
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentSpec, Kernel, Policy};
use serde_json::json;

const MAKE: &str = "the servers are not there: run `.ci/mcp-servers FOLDER` and set AGENT_OS_MCP=FOLDER";

const POLICY: &str = r#"
version: 1
name: clock
on_violation: deny
rules:
  - { id: clock, effect: allow, calls: [exec], tools: ["mcp.time/get_*"] }
"#;

fn environment() -> PathBuf {
    let folder = std::env::var_os("AGENT_OS_MCP").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tool/mcp"));
    let made = folder.canonicalize().ok().filter(|folder| folder.join("complete").exists());
    made.expect(MAKE).join("current")
}

fn server() -> Server {
    let environment = environment();
    let python = environment.join("bin/python3");
    let prefix = python.canonicalize().unwrap().ancestors().nth(2).unwrap().to_owned();
    let mut permissions = Permissions::system().folder(&environment, Access::Execute);
    if !prefix.starts_with("/usr") {
        permissions = permissions.folder(prefix, Access::Execute);
    }
    let command = Command::new(python).arg(environment.join("bin/mcp-server-time").to_str().unwrap());
    let command = command.arg("--local-timezone").arg("Etc/UTC");
    let limits = Limits { memory_bytes: 1 << 30, ..Program::new(command.clone()).limits };
    let program = Program { permissions, limits, ..Program::new(command) };
    let timer = Arc::new(TokioTimer::new());
    Server::program("time", program, Executors::host(), Settings::default(), timer).unwrap()
}

#[tokio::test]
async fn a_tool_of_a_server_is_called_if_it_is_approved_and_the_policy_allows_it() {
    let (server, tools) = (server(), Registry::builder().build());
    let policy = Policy::from_yaml("clock.yaml", POLICY).unwrap();
    let kernel = Kernel::builder().policy(policy).tools(tools.clone()).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let zone = json!({"timezone": "Asia/Tokyo"});
    let convert = json!({"source_timezone": "Asia/Tokyo", "time": "16:30", "target_timezone": "Etc/UTC"});

    // The host says what the one tool does. Of the other it knows only what the server claims, which counts for nothing.
    let reads = ToolTerms { effects: Some([Effect::Read].into()), ..ToolTerms::default() };
    let terms =
        ImportPolicy { tools: [("get_current_time".to_owned(), reads)].into(), ..ImportPolicy::default() };
    server.import(&tools, terms).await.unwrap();
    let unapproved = agent.exec("mcp.time/get_current_time", zone.clone()).await.unwrap_err();
    assert_eq!(unapproved.code(), "AK0550");
    let snapshot = tools.snapshot();
    for tool in snapshot.all() {
        let contract = tool.contract();
        server.approve(contract.id(), contract.digest(), "ada").await.unwrap();
    }

    let now = agent.exec("mcp.time/get_current_time", zone).await.unwrap();
    assert_eq!(now["timezone"], "Asia/Tokyo");
    let labels = kernel.labels(agent.id()).unwrap().to_string();
    assert_eq!(labels, "mcp:time, tool:mcp.time/get_current_time, untrusted");

    let denied = agent.exec("mcp.time/convert_time", convert).await.unwrap_err();
    assert!(denied.code().starts_with("AK01"), "{denied}");
    let decided: Vec<&str> = kernel
        .recorder()
        .events(0)
        .map(Result::unwrap)
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Intent { .. } => Some("intent"),
            Body::Refused { .. } => Some("refused"),
            Body::Rejected { .. } => Some("rejected"),
            _ => None,
        })
        .collect();
    assert_eq!(decided, ["rejected", "intent", "refused"]);
}
