//! The live commands against a kernel that runs in this process, as an operator types them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::{AgentHandle, AgentSpec, Approvals, Kernel, KernelState, Policy};
use serde_json::{Value, json};

const POLICY: &str = "version: 1\nname: live\nrules:\n  \
    - { id: asks, effect: ask, calls: [exec], tools: [send], on_violation: deny }\n";

struct Host {
    kernel: Kernel,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Host {
    /// A kernel with two agents: one waits for a human, one does nothing.
    fn new() -> Self {
        let mut tools = Registry::builder();
        let send = tools.tool("send").description("Sends");
        let sent = |_context, _message: Value| async { Ok::<_, ToolError>(json!("sent")) };
        send.run_raw(json!({"type": "object", "properties": {"number": {}}}), sent).unwrap();
        let policy = Policy::from_yaml("live.yaml", POLICY).unwrap();
        let builder = Kernel::builder().policy(policy).tools(tools.build());
        let kernel = builder.approvals(Approvals::new()).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let user = std::fs::metadata(folder.path()).unwrap().uid();
        let control = kernel.serve_control(&socket).unwrap().principal(user, "ann".parse().unwrap());
        let host = kernel.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let clerk = host.run(AgentSpec::new("clerk").tenant("acme".parse().unwrap()), clerk);
            let idle = host.spawn(AgentSpec::new("idle")).unwrap();
            let (served, _clerk) = runtime.block_on(async { tokio::join!(control.serve(), clerk) });
            served.unwrap();
            drop(idle);
        });
        Self { kernel, socket, thread: Some(thread), _folder: folder }
    }

    fn agentctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = agentctl(&self.socket, arguments);
        command.stdin(Stdio::null());
        command
    }

    /// What a command prints as JSON, when it does well.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.agentctl(&[arguments, &["--output", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The ticket the clerk waits for, once it does.
    fn ticket(&self) -> String {
        // Bounded, so that a kernel that never asks is a failure and no hang.
        for _ in 0..2000 {
            let open = self.json(&["approvals"]);
            let pending = open["approvals"].as_array().unwrap().iter().find(|one| one["state"] == "pending");
            if let Some(pending) = pending {
                return pending["ticket"].as_str().unwrap().to_owned();
            }
            std::thread::yield_now();
        }
        panic!("the clerk does not ask");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.kernel.state() != KernelState::Shutdown {
            let down = self.agentctl(&["shutdown", "--grace", "0", "--yes"]);
            assert_eq!(down.status.code(), Some(0), "{}", text(&down.stderr));
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Asks for one message after the other, and ends when it is told no.
async fn clerk(agent: AgentHandle) -> i32 {
    let mut number = 0;
    while agent.exec("send", json!({ "number": number })).await.is_ok() {
        number += 1;
    }
    number
}

fn agentctl(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentctl"));
    command.args(arguments).arg("--socket").arg(socket);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_operator_looks_stops_approves_and_shuts_down() {
    let host = Host::new();
    let ticket = host.ticket();
    let state = host.json(&["state"]);
    assert_eq!(
        (&state["state"], &state["agents"], &state["version"]),
        (&json!("running"), &json!(2), &json!(1))
    );
    let agents = host.json(&["ps"]);
    let clerk = &agents["agents"][0];
    assert_eq!(
        (&clerk["agent"], &clerk["tenant"], &clerk["state"]),
        (&json!("clerk"), &json!("acme"), &json!("waiting"))
    );
    let table = text(&host.agentctl(&["ps"]).stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("AGENT  STATE") && lines[1].starts_with("clerk  waiting"), "{table}");

    let stopped = host.json(&["signal", "idle", "SIGSTOP", "--reason", "lunch"]);
    assert_eq!(stopped["raised"], "delivered");
    assert_eq!(host.json(&["ps"])["agents"][1]["state"], "stopped");

    assert_eq!(host.json(&["approve", &ticket])["state"], "granted");
    let next = host.ticket();
    assert_ne!(next, ticket, "the first message is sent, and the next one asked for");
    assert_eq!(host.json(&["revoke", &next, "--reason", "enough"])["version"], 1);
    let metrics = host.json(&["metrics"]);
    assert_eq!(metrics["signals"]["SIGSTOP"], 1);

    let report = host.json(&["shutdown", "--grace", "0", "--yes"]);
    assert_eq!((&report["unflushed"], &report["killed"]), (&Value::Null, &json!(1)));
    assert_eq!(host.kernel.state(), KernelState::Shutdown);
}

#[test]
fn a_refusal_reaches_the_agent_and_all_of_them_can_be_killed() {
    let host = Host::new();
    let ticket = host.ticket();
    assert_eq!(host.agentctl(&["deny", &ticket, "--reason", "no"]).status.code(), Some(0));
    while host.kernel.agents().len() == 2 {
        std::thread::yield_now();
    }
    assert_eq!(host.json(&["kill-all", "--yes", "--reason", "fire"])["killed"], 1);
    assert_eq!(host.json(&["ps"])["agents"], json!([]));
}

#[test]
fn the_record_is_followed_from_another_terminal() {
    let host = Host::new();
    let mut tail = host
        .command(&["tail", "--output", "json", "--agent", "idle"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["kind"], "spawn");
    host.json(&["signal", "idle", "SIGSTOP"]);
    assert_eq!(next()["signal"], "SIGSTOP");
    host.json(&["shutdown", "--grace", "0", "--yes"]);
    assert_eq!((next()["signal"].clone(), next()["signal"].clone()), (json!("SIGTERM"), json!("SIGKILL")));
    assert!(tail.wait().unwrap().success());
    let host = Host::new();
    let once = text(&host.agentctl(&["tail", "--once"]).stdout);
    assert!(once.lines().next().unwrap().contains("boot"), "{once}");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let host = Host::new();
    let folder = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| host.agentctl(arguments).status.code();
    assert_eq!(code(&["signal", "nobody", "SIGSTOP"]), Some(1));
    assert!(text(&host.agentctl(&["signal", "nobody", "SIGSTOP"]).stderr).contains("[AK0910]"));
    assert_eq!(code(&["signal", "idle", "SIGSTP"]), Some(2), "no such signal");
    assert_eq!(code(&["kill-all"]), Some(2), "nobody is asked where no terminal is");
    assert_eq!(code(&["shutdown"]), Some(2));
    assert_eq!(host.kernel.agents().len(), 2);
    let nowhere = folder.path().join("none.sock");
    assert_eq!(agentctl(&nowhere, &["ps"]).output().unwrap().status.code(), Some(6));
}

/// Needs root, because it acts as another user.
#[test]
fn another_user_is_not_heard_even_where_the_socket_lies_open() {
    use std::os::unix::process::CommandExt as _;
    let host = Host::new();
    if std::fs::metadata(&host.socket).unwrap().uid() != 0 {
        return;
    }
    let folder = host.socket.parent().unwrap();
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    open(folder);
    let binary = folder.join("agentctl");
    std::fs::copy(env!("CARGO_BIN_EXE_agentctl"), &binary).unwrap();
    open(&binary);
    let as_nobody = || {
        let mut command = Command::new(&binary);
        command
            .args(["kill-all", "--yes", "--socket"])
            .arg(&host.socket)
            .current_dir("/")
            .uid(65534)
            .gid(65534);
        command.output().unwrap()
    };
    let closed = as_nobody();
    assert_eq!(closed.status.code(), Some(6), "{}", text(&closed.stderr));
    open(&host.socket);
    let refused = as_nobody();
    assert_ne!(refused.status.code(), Some(0));
    assert!(text(&refused.stderr).contains("[AK0955]"), "{}", text(&refused.stderr));
    assert_eq!(host.kernel.agents().len(), 2, "nobody was killed");
}
