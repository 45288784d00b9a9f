//! Requests of the Model Context Protocol, through a kernel.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use agent_control_plane::atr::{Effect, Registry, ToolError};
use agent_control_plane::call::Syscall;
use agent_control_plane::call::mcp::{Action, MAX_REQUESTS, Session, VERSIONS};
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentHandle, AgentSpec, Kernel, Policy};
use serde_json::{Value, json};

const POLICY: &str = "
version: 1
on_violation: deny
rules:
  - { id: echo, effect: allow, calls: [exec], tools: [echo, fails] }
  - { id: files, effect: allow, calls: [read, write], paths: ['/', '/tools/**', '/mem/**'] }
";

struct Client {
    kernel: Kernel,
    agent: AgentHandle,
    session: Session,
    runs: Arc<AtomicU64>,
}

impl Client {
    fn new() -> Self {
        let (runs, mut tools) = (Arc::new(AtomicU64::new(0)), Registry::builder());
        for name in ["echo", "fails", "forbidden"] {
            let runs = Arc::clone(&runs);
            let run = move |_context, arguments: Value| {
                runs.fetch_add(1, Ordering::SeqCst);
                let fails = name == "fails";
                async move { if fails { Err(ToolError::failed("no")) } else { Ok(arguments["text"].clone()) } }
            };
            let text = json!({"type": "object", "properties": {"text": {}}, "required": ["text"]});
            tools.tool(name).description("Says it again").effects([Effect::Read]).run_raw(text, run).unwrap();
        }
        let policy = Policy::from_yaml("mcp.yaml", POLICY).unwrap();
        let kernel = Kernel::builder().policy(policy).tools(tools.build()).build().unwrap();
        let agent = kernel.spawn(AgentSpec::new("w")).unwrap();
        Self { kernel, agent, session: Session::new(), runs }
    }

    /// What the client is sent for what it sends.
    fn send(&mut self, message: &Value) -> Option<Value> {
        self.send_text(message.to_string().as_bytes())
    }

    fn send_text(&mut self, text: &[u8]) -> Option<Value> {
        match self.session.receive(text) {
            Action::Call(request, call) => {
                let result = now(self.agent.syscall(call));
                self.session.answer(request, &result)
            }
            Action::Refuse(error, answer) => {
                now(self.agent.refuse(error));
                answer
            }
            Action::Send(answer) => Some(answer),
            Action::Cancel(_) | Action::Nothing => None,
        }
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).unwrap()
    }

    fn rejections(&self) -> usize {
        let events = self.kernel.recorder().events(0).map(Result::unwrap);
        events.filter(|stored| matches!(stored.event().unwrap().body, Body::Rejected { .. })).count()
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn call(id: Value, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"text": "x"}}})
}

#[test]
fn a_session_begins_in_a_version_that_both_speak() {
    let mut client = Client::new();
    let mut version = |asked: &str| {
        let info =
            json!({"protocolVersion": asked, "capabilities": {"roots": {}}, "clientInfo": {"name": "c"}});
        client.request("initialize", info)["result"]["protocolVersion"].clone()
    };
    assert_eq!(version("2025-03-26"), "2025-03-26");
    assert_eq!(version("1999-01-01"), VERSIONS[0]);
    assert_eq!(client.request("ping", json!({})), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})), None);
    assert_eq!(client.rejections(), 0);
}

#[test]
fn listing_shows_the_tools_within_reach_and_runs_none() {
    let mut client = Client::new();
    let answer = client.request("tools/list", json!({}));
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["echo", "fails"]);
    assert_eq!(tools[0]["description"], "Says it again");
    assert_eq!(tools[0]["inputSchema"]["required"], json!(["text"]));
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
    assert_eq!(client.runs.load(Ordering::SeqCst), 0);
    assert_eq!(client.request("tools/list", json!({"cursor": "2"}))["error"]["code"], -32602);
}

#[test]
fn a_call_runs_once_and_what_comes_of_it_is_told() {
    let mut client = Client::new();
    let mut result = |tool: &str, text: Value| {
        client.request("tools/call", json!({"name": tool, "arguments": {"text": text}}))["result"].clone()
    };
    assert_eq!(
        result("echo", json!("hi")),
        json!({"content": [{"type": "text", "text": "hi"}], "isError": false})
    );
    let structured = result("echo", json!({"a": 1}));
    assert_eq!(
        (&structured["structuredContent"], &structured["content"][0]["text"]),
        (&json!({"a": 1}), &json!("{\"a\":1}"))
    );
    for (tool, code) in [("forbidden", "AK0102"), ("none", ""), ("fails", "")] {
        let refused = result(tool, json!("x"));
        assert_eq!(refused["isError"], true, "{tool}");
        let told: Value = serde_json::from_str(refused["content"][0]["text"].as_str().unwrap()).unwrap();
        assert!(
            told["code"].as_str().unwrap().starts_with(if code.is_empty() { "AK" } else { code }),
            "{told}"
        );
    }
    assert_eq!(client.runs.load(Ordering::SeqCst), 3);
    now(client.agent.exit(0, "")).unwrap();
    let gone = client.request("tools/call", json!({"name": "echo", "arguments": {"text": "x"}}));
    assert_eq!((&gone["error"]["code"], &gone["error"]["data"]["code"]), (&json!(-32000), &json!("AK0902")));
}

#[test]
fn resources_are_files_of_the_own_tree_and_nothing_else() {
    let mut client = Client::new();
    now(client.agent.write("/mem/working/a", "hello")).unwrap();
    now(client.agent.write("/mem/working/b", vec![0xff])).unwrap();
    let mut read = |uri: &str| client.request("resources/read", json!({"uri": uri}));
    assert_eq!(
        read("agentos:///mem/working/a")["result"],
        json!({"contents": [{"uri": "agentos:///mem/working/a", "text": "hello"}]})
    );
    assert_eq!(read("agentos:///mem/working/b")["result"]["contents"][0]["blob"], "/w==");
    assert_eq!(read("agentos:///mem/working/c")["error"]["code"], -32002);
    assert_eq!(read("agentos:///policy/active.json")["error"]["data"]["class"], "forbidden");
    assert_eq!(read("agentos:///agent/v/mem/a")["error"]["data"]["code"], "AK0431");
    for uri in ["file:///etc/passwd", "file:%2f%2f/etc/passwd", "agentos:///mem/../policy", "http://x/", ""] {
        let refused = read(uri);
        assert_eq!(refused["error"]["code"], -32602, "{uri}");
        assert_eq!(refused["error"]["data"]["code"], "AK0901");
    }
    assert_eq!(client.rejections(), 6);
    let answer = client.request("resources/list", json!({}));
    let names: Vec<&Value> =
        answer["result"]["resources"].as_array().unwrap().iter().map(|one| &one["uri"]).collect();
    assert!(names.contains(&&json!("agentos:///mem")), "{names:?}");
}

#[test]
fn what_is_no_plain_request_is_refused_on_record_and_does_nothing() {
    let one = call(json!(1), "echo").to_string();
    let cases: &[(String, i64)] = &[
        ("{".to_owned(), -32700),
        (String::new(), -32700),
        (format!("{one}{one}"), -32700),
        ("\u{feff}".to_owned() + &one, -32700),
        (one.replace("\"id\":1", "\"id\":1,\"id\":2"), -32700),
        (one.replace("\"name\":\"echo\"", "\"name\":\"echo\",\"name\":\"forbidden\""), -32700),
        (format!("[{one}]"), -32600),
        ("[]".to_owned(), -32600),
        ("1".to_owned(), -32600),
        (one.replace("2.0", "1.0"), -32600),
        (one.replace("\"jsonrpc\":\"2.0\",", ""), -32600),
        (one.replace("\"id\":1", "\"id\":1.5"), -32600),
        (one.replace("\"id\":1", "\"id\":[1]"), -32600),
        (one.replace("\"id\":1", &format!("\"id\":\"{}\"", "x".repeat(257))), -32600),
        (one.replace("\"id\":1", "\"id\":1,\"result\":{}"), -32600),
        (one.replace("\"id\":1", "\"id\":1,\"extra\":{}"), -32600),
        (one.replace("tools/call", "Tools/Call"), -32601),
        (one.replace("tools/call", "tools/call "), -32601),
        (one.replace("tools/call", "tools\\u0000/call"), -32601),
        (one.replace("tools/call", "notifications/cancelled"), -32601),
        (one.replace("tools/call", "prompts/get"), -32601),
        (one.replace("\"arguments\"", "\"args\""), -32602),
        (one.replace("\"name\":\"echo\"", "\"name\":[\"echo\"]"), -32602),
        (one.replace("\"name\":\"echo\"", "\"name\":\"echo\",\"tool\":\"forbidden\""), -32602),
        (one.replace("{\"text\":\"x\"}", "\"{}\""), -32602),
        (one.replace("\"name\":\"echo\"", "\"name\":\"echo\",\"_meta\":7"), -32602),
    ];
    for (text, code) in cases {
        let mut client = Client::new();
        let answer = client.send_text(text.as_bytes()).unwrap();
        assert_eq!(answer["error"]["code"], *code, "{text}: {answer}");
        assert_eq!(client.rejections(), 1, "{text}");
        assert_eq!(client.runs.load(Ordering::SeqCst), 0, "{text}");
    }
    // A request without an id would have no answer: it is not carried out.
    for text in [one.replace("\"id\":1,", ""), one.replace("\"id\":1", "\"id\":null")] {
        let mut client = Client::new();
        let answer = client.send_text(text.as_bytes());
        assert!(answer.is_none_or(|answer| answer["error"]["code"] == -32600), "{text}");
        assert_eq!((client.rejections(), client.runs.load(Ordering::SeqCst)), (1, 0), "{text}");
    }
    let mut client = Client::new();
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(1 << 20)});
    let message = client.send(&long).unwrap()["error"]["message"].as_str().unwrap().len();
    assert!(message < 400, "{message}");
}

#[test]
fn meta_is_taken_and_not_read() {
    let mut client = Client::new();
    let params = json!({"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": 1, "tool": "forbidden"}});
    assert_eq!(client.request("tools/call", params)["result"]["isError"], false);
}

fn begun(session: &mut Session, id: Value) -> Option<(agent_control_plane::call::mcp::Request, Syscall)> {
    match session.receive(call(id, "echo").to_string().as_bytes()) {
        Action::Call(request, call) => Some((request, call)),
        _ => None,
    }
}

#[test]
fn a_request_that_is_called_off_is_not_answered() {
    let mut client = Client::new();
    let cancel = |session: &mut Session, id: Value| {
        let message =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        match session.receive(message.to_string().as_bytes()) {
            Action::Cancel(number) => Some(number),
            Action::Nothing => None,
            other => panic!("{other:?}"),
        }
    };
    let (request, call) = begun(&mut client.session, json!(7)).unwrap();
    assert_eq!(cancel(&mut client.session, json!("7")), None);
    assert_eq!(cancel(&mut client.session, json!(7)), Some(request.number()));
    assert_eq!(cancel(&mut client.session, json!(7)), None);
    // The id is free again, and a late answer to the first is no answer to the second.
    let (second, _) = begun(&mut client.session, json!(7)).unwrap();
    let result = now(client.agent.syscall(call));
    assert_eq!(client.session.answer(request, &result), None);
    assert_eq!(client.session.answer(second, &result).unwrap()["id"], 7);
    assert_eq!(cancel(&mut client.session, json!(7)), None);
}

#[test]
fn an_id_is_in_use_once_and_so_many_requests_are_under_way() {
    let mut session = Session::new();
    begun(&mut session, json!(1)).unwrap();
    assert!(begun(&mut session, json!(1)).is_none());
    begun(&mut session, json!("1")).unwrap();
    for id in 2..MAX_REQUESTS {
        begun(&mut session, json!(id)).unwrap();
    }
    assert!(begun(&mut session, json!("one too many")).is_none());
}
