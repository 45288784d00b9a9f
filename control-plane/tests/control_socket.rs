//! The control socket, as a client that knows its protocol sees it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use agent_control_plane::approval::{Principal, Scope, TicketId};
use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::control::protocol::MAX_LINE;
use agent_control_plane::control::{ControlError, MAX_CONNECTIONS};
use agent_control_plane::kernel::OnAsk;
use agent_control_plane::{AgentHandle, AgentSpec, Approvals, CallError, Kernel, KernelState, Policy};
use serde_json::{Value, json};

const POLICY: &str = "version: 1\nname: t\nrules:\n  \
    - { id: asks, effect: ask, calls: [exec], tools: [pay], ask: { approvers: [ann, bob], quorum: 2 } }\n";

/// A kernel whose socket is served on a thread of its own.
struct Served {
    kernel: Kernel,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

fn kernel() -> Kernel {
    let mut tools = Registry::builder();
    let schema = json!({"type": "object", "properties": {"again": {}}});
    let pay = tools.tool("pay").description("Pays");
    pay.run_raw(schema, |_context, _arguments| async { Ok::<_, ToolError>(json!("paid")) }).unwrap();
    let policy = Policy::from_yaml("t.yaml", POLICY).unwrap();
    Kernel::builder().policy(policy).tools(tools.build()).approvals(Approvals::new()).build().unwrap()
}

impl Served {
    fn new(principal: Option<&str>) -> Self {
        let (kernel, folder) = (kernel(), tempfile::tempdir().unwrap());
        let path = folder.path().join("control.sock");
        let mut control = kernel.serve_control(&path).unwrap();
        if let Some(name) = principal {
            control = control.principal(rustix::process::geteuid().as_raw(), name.parse().unwrap());
        }
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(control.serve()).unwrap();
        });
        Self { kernel, path, thread: Some(thread), _folder: folder }
    }

    fn client(&self) -> Client {
        Client(BufReader::new(UnixStream::connect(&self.path).unwrap()))
    }

    fn agent(&self, name: &str) -> AgentHandle {
        self.kernel.spawn(AgentSpec::new(name).on_ask(OnAsk::Return)).unwrap()
    }

    /// What the host did, as the record has it.
    fn actions(&self) -> Vec<String> {
        let events = self.kernel.recorder().events(0).map(|event| event.unwrap().to_json().unwrap());
        events.filter_map(|event| event["action"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(self.kernel.shutdown(std::time::Duration::ZERO));
        if let (false, Some(thread)) =
            (matches!(self.kernel.state(), KernelState::Panicked(_)), self.thread.take())
        {
            thread.join().unwrap();
        }
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read != 0).then(|| serde_json::from_str(&line).unwrap())
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let request = match params {
            Value::Null => json!({"version": 1, "id": 7, "method": method}),
            params => json!({"version": 1, "id": 7, "method": method, "params": params}),
        };
        self.say(&request.to_string());
        let answer = self.hear().unwrap();
        assert_eq!((&answer["version"], &answer["id"]), (&json!(1), &json!(7)), "{answer}");
        answer
    }
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn an_operator_sees_the_kernel_and_its_agents() {
    let served = Served::new(None);
    let _agent = served.agent("clerk");
    let mut client = served.client();
    let state = client.ask("state", Value::Null);
    assert_eq!((&state["ok"]["state"], &state["ok"]["agents"]), (&json!("running"), &json!(1)));
    let agents = client.ask("ps", Value::Null);
    let agent = &agents["ok"]["agents"][0];
    assert_eq!(
        (&agent["agent"], &agent["state"], &agent["in_flight"]),
        (&json!("clerk"), &json!("ready"), &json!(0))
    );
    let policy = client.ask("policy", Value::Null);
    assert_eq!(policy["ok"]["digest"], served.kernel.policy().digest().to_string());
    assert_eq!(client.ask("metrics", Value::Null)["ok"]["policy_generation"], 1);
    assert_eq!(served.actions(), Vec::<String>::new(), "looking is not on record");
}

#[test]
fn whoever_stops_or_kills_is_on_record_before_it_happens() {
    let served = Served::new(None);
    let (a, b) = (served.agent("a"), served.agent("b"));
    let mut client = served.client();
    let stop = json!({"agent": "a", "signal": "SIGSTOP", "reason": "look"});
    assert_eq!(client.ask("signal", stop)["ok"]["raised"], "delivered");
    let missing = json!({"agent": "nobody", "signal": "SIGSTOP"});
    assert_eq!(client.ask("signal", missing)["error"]["code"], "AK0910");
    assert_eq!(client.ask("kill_all", json!({"reason": "fire"}))["ok"]["killed"], 2);
    assert_eq!(served.kernel.agents(), []);
    drop((a, b));
    let kinds: Vec<(String, String)> = served
        .kernel
        .recorder()
        .events(0)
        .map(|event| event.unwrap().to_json().unwrap())
        .map(|event| {
            (event["kind"].as_str().unwrap().to_owned(), event["action"].as_str().unwrap_or("").to_owned())
        })
        .collect();
    let action = |what: &str| ("host".to_owned(), format!("user {} over the control socket {what}", uid()));
    let at = |wanted: (String, String)| kinds.iter().position(|kind| *kind == wanted).unwrap();
    assert_eq!(kinds[at(action("raises SIGSTOP against a: look")) + 1].0, "signal");
    assert_eq!(kinds[at(action("kills all agents: fire")) + 1].0, "signal");
}

/// The ticket that a payment is held under.
fn held(agent: &AgentHandle, arguments: Value) -> TicketId {
    match now(agent.exec("pay", arguments)) {
        Err(CallError::Held { ticket, .. }) => ticket,
        other => panic!("{other:?}"),
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(answer) = std::pin::pin!(future).poll(&mut context) else {
        panic!("it waits")
    };
    answer
}

#[test]
fn approvals_count_for_the_principal_the_host_has_named_and_quorums_hold() {
    let served = Served::new(Some("ann"));
    let agent = served.agent("payer");
    let ticket = held(&agent, json!({}));
    let mut client = served.client();
    let listed = client.ask("approvals", Value::Null);
    assert_eq!(listed["ok"]["approvals"][0]["ticket"], ticket.to_string());
    assert_eq!(client.ask("approve", json!({"ticket": ticket}))["ok"]["state"], "pending", "one of two");
    assert_eq!(client.ask("approve", json!({"ticket": ticket}))["error"]["code"], "AK0225", "nobody is two");
    let bob: Principal = "bob".parse().unwrap();
    served.kernel.approve(ticket, &bob, Scope::Once).unwrap();
    assert_eq!(now(agent.exec("pay", json!({}))).unwrap(), json!("paid"));

    let (refused, revoked) = (held(&agent, json!({"again": 1})), held(&agent, json!({"again": 2})));
    assert_eq!(client.ask("revoke", json!({"ticket": revoked, "reason": "late"}))["ok"], json!({}));
    assert_eq!(client.ask("deny", json!({"ticket": refused, "reason": "no"}))["ok"], json!({}));
    assert!(served.actions().iter().any(|action| action.contains(&format!("revokes {revoked}: late"))));
    let error = now(agent.exec("pay", json!({"again": 1}))).unwrap_err();
    assert_eq!(error.code(), "AK0202");

    let stranger = Served::new(None);
    let agent = stranger.agent("payer");
    let ticket = held(&agent, json!({}));
    assert_eq!(stranger.client().ask("approve", json!({"ticket": ticket}))["error"]["code"], "AK0958");
}

#[test]
fn the_record_can_be_followed_to_the_very_end() {
    let served = Served::new(None);
    let mut tail = served.client();
    tail.say(r#"{"version":1,"id":3,"method":"tail","params":{"from":0,"follow":true}}"#);
    assert_eq!(tail.hear().unwrap()["event"]["kind"], "boot");
    let _agent = served.agent("late");
    let event = tail.hear().unwrap();
    assert_eq!((&event["event"]["kind"], &event["event"]["agent"]), (&json!("spawn"), &json!("late")));
    let report = served.client().ask("shutdown", json!({"grace_ms": 0}));
    assert_eq!((&report["ok"]["killed"], &report["ok"]["unflushed"]), (&json!(1), &Value::Null));
    let mut kinds = Vec::new();
    let end = loop {
        let line = tail.hear().unwrap();
        match line.get("event") {
            Some(event) => kinds.push(event["kind"].as_str().unwrap().to_owned()),
            None => break line,
        }
    };
    assert_eq!(kinds.last().unwrap(), "shutdown", "{kinds:?}");
    assert_eq!(end["ok"]["next"], served.kernel.recorder().head().count);
    assert!(tail.hear().is_none(), "the connection ends with the kernel");
}

#[test]
fn what_is_no_request_is_answered_and_the_connection_goes_on() {
    let served = Served::new(None);
    let mut client = served.client();
    for (line, id) in [
        ("", 0),
        ("{", 0),
        ("[]", 0),
        (r#"{"version":2,"id":5,"method":"ps"}"#, 5),
        (r#"{"version":1,"id":5,"method":"launch"}"#, 5),
        (r#"{"version":1,"id":5,"method":"ps","also":1}"#, 5),
        (r#"{"version":1,"id":5,"id":6,"method":"ps"}"#, 0),
        (r#"{"version":1,"id":5,"method":"signal","params":{"agent":"a"}}"#, 5),
        (
            r#"{"version":1,"id":5,"method":"signal","params":{"agent":"a","signal":"SIGSTOP","force":true}}"#,
            5,
        ),
        (r#"{"version":1,"id":5,"method":"signal","params":{"agent":"a","signal":9}}"#, 5),
        ("\u{0}\u{1}", 0),
    ] {
        client.say(line);
        let answer = client.hear().unwrap();
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!("AK0953"), &json!(id)),
            "{line}: {answer}"
        );
    }
    assert_eq!(client.ask("state", Value::Null)["ok"]["state"], "running");
    client.say(&"x".repeat(MAX_LINE + 1));
    assert_eq!(client.hear().unwrap()["error"]["code"], "AK0956");
    assert!(!matches!(client.0.read(&mut [0; 1]), Ok(1..)), "a line without end ends the connection");
    assert_eq!(served.client().ask("state", Value::Null)["ok"]["state"], "running");
}

#[test]
fn one_connection_too_many_is_told_so_and_the_others_go_on() {
    let served = Served::new(None);
    let mut open: Vec<Client> = (0..MAX_CONNECTIONS).map(|_| served.client()).collect();
    for client in &mut open {
        assert_eq!(client.ask("state", Value::Null)["ok"]["state"], "running");
    }
    assert_eq!(served.client().hear().unwrap()["error"]["code"], "AK0954");
    open.pop();
    // The place is free once the kernel has noticed that its client is gone.
    let mut answered = Value::Null;
    for _ in 0..1000 {
        let mut client = served.client();
        let request = r#"{"version":1,"id":7,"method":"state"}"#;
        if writeln!(client.0.get_mut(), "{request}").is_ok() {
            answered = client.hear().unwrap_or_default();
        }
        if answered.get("ok").is_some() {
            break;
        }
    }
    assert_eq!(answered["ok"]["state"], "running");
    assert_eq!(open[0].ask("state", Value::Null)["ok"]["state"], "running");
}

#[test]
fn nobody_else_can_open_the_socket_at_any_moment() {
    let (kernel, folder) = (kernel(), tempfile::tempdir().unwrap());
    let path = folder.path().join("control.sock");
    let control = kernel.serve_control(&path).unwrap();
    assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the socket and its lock: {left:?}");
    drop(control);
    assert!(!path.exists(), "it goes with the one who serves it");
}

fn refused(path: &Path) -> ControlError {
    kernel().serve_control(path).unwrap_err()
}

#[test]
fn the_socket_of_a_dead_kernel_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let stale = UnixListener::bind(&path).unwrap();
    assert!(matches!(refused(&path), ControlError::InUse { .. }), "somebody answers there");
    drop(stale);
    assert!(path.exists());
    let live = kernel().serve_control(&path).unwrap();
    assert!(matches!(refused(&path), ControlError::InUse { .. }), "a kernel is alive there");
    drop(live);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(refused(&path), ControlError::NotASocket { .. }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = folder.path().join("no/such/control.sock");
    assert!(matches!(refused(&nowhere), ControlError::Io { .. }));
}
