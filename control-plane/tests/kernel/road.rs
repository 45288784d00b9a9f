//! The road, call by call: what is allowed, refused, recorded, and what becomes of the agent.

use crate::host::{self, Host};
use std::future::Future;
use std::sync::Arc;

use agent_control_plane::call::{Change, FileRef, RawArguments, Reply, Syscall, WriteTo};
use agent_control_plane::kernel::{BuildError, SpawnError, Was};
use agent_control_plane::primitives::{AgentId, LabelSet, Signal, Verdict};
use agent_control_plane::recorder::{Body, Outcome};
use agent_control_plane::vfs::{Access, Memory, Mount, OpenFlags, Quota, VfsPath};
use agent_control_plane::{AgentSpec, AgentState, CallError, ExitStatus, Kernel, KernelState, Policy};
use serde_json::json;

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

#[tokio::test]
async fn an_allowed_call_is_recorded_before_and_after() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(agent.exec("echo", json!({"text": "hi"})).await.unwrap(), "hi");
    assert_eq!(host.kinds("a"), ["spawn", "intent", "outcome"]);

    let events: Vec<_> = host.kernel.recorder().events(0).map(Result::unwrap).collect();
    let (intent, outcome) = (events[2].event().unwrap(), events[3].event().unwrap());
    assert_eq!(intent.call, outcome.call);
    let Body::Intent { decision, .. } = intent.body else { panic!("{intent:?}") };
    assert_eq!((decision.verdict, decision.rules), (Verdict::Allow, vec!["tools"]));
    assert!(matches!(outcome.body, Body::Outcome { outcome: Outcome::Done { bytes: 4, .. }, .. }));
}

#[tokio::test]
async fn a_denied_call_runs_nothing_and_ends_the_agent_by_sigpolicy() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let error = agent.exec("ungranted", json!({})).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("AK0102", "tool `ungranted` is denied: no rule allows it")
    );
    assert_eq!(host.runs(), 0);
    assert_eq!(host.kinds("a"), ["spawn", "refused", "signal", "exit"]);
    let status = host.kernel.wait(&id("a")).await.unwrap();
    assert!(matches!(status, ExitStatus::Signaled { signal: Signal::Policy, .. }), "{status}");
    assert!(matches!(agent.read("/mem/working/x").await, Err(CallError::Dead(_))));
}

#[tokio::test]
async fn a_rule_may_refuse_without_ending_the_agent_or_stop_it() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let error = agent.exec("soft", json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "tool `soft` is denied by rule `soft`");
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));

    assert!(agent.exec("stops", json!({})).await.is_err());
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Stopped { was: Was::Ready }));
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn an_ask_without_an_approver_is_refused_and_harms_nobody() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let error = agent.exec("transfer", json!({})).await.unwrap_err();
    assert_eq!(error.code(), "AK0201");
    assert_eq!((host.runs(), host.kernel.agent(&id("a"))), (0, Some(AgentState::Ready)));
}

#[tokio::test]
async fn a_mistake_is_refused_recorded_and_forgiven() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let raw =
        |tool: &str, arguments: RawArguments| Syscall::Exec { tool: tool.into(), arguments, deadline: None };
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let cases = [
        (raw("echo", RawArguments::Value(json!({"text": 5}))), "AK0515"),
        (raw("echo", RawArguments::Value(json!({"other": "x"}))), "AK0515"),
        (raw("echo", RawArguments::Json(r#"{"text":"a","text":"b"}"#.into())), "AK0514"),
        (raw("echo", RawArguments::Json(format!(r#"{{"text":{deep}}}"#).into())), "AK0513"),
        (raw("echo", RawArguments::Json(vec![b' '; (1 << 20) + 1].into())), "AK0512"),
        (raw("echo", RawArguments::Json("{".into())), "AK0511"),
        (raw("nothing_like_it", RawArguments::Value(json!({}))), "AK0510"),
        (raw("echo ", RawArguments::Value(json!({}))), "AK0905"),
        (
            Syscall::Read { file: FileRef::Path("mem".into()), offset: None, length: 1, nonblock: false },
            "AK0430",
        ),
        (
            Syscall::Read {
                file: FileRef::Path("/mem/../policy".into()),
                offset: None,
                length: 1,
                nonblock: false,
            },
            "AK0430",
        ),
        (
            Syscall::Read {
                file: FileRef::Path("/agent/b/mem/x".into()),
                offset: None,
                length: 1,
                nonblock: false,
            },
            "AK0431",
        ),
        (
            Syscall::Read {
                file: FileRef::Path("/mem/x".into()),
                offset: None,
                length: (16 << 20) + 1,
                nonblock: false,
            },
            "AK0906",
        ),
        (Syscall::Signal { to: "../b".into(), signal: Signal::Term, reason: String::new() }, "AK0905"),
        (Syscall::CheckPolicy(Box::new(Syscall::Exit { code: 0, message: String::new() })), "AK0909"),
        (Syscall::Exit { code: 0, message: "x".repeat(4097) }, "AK0906"),
    ];
    let count = cases.len();
    for (call, code) in cases {
        let what = format!("{call:?}").chars().take(100).collect::<String>();
        let error = agent.syscall(call).await.unwrap_err();
        assert!(matches!(error, CallError::Invalid(_)), "{what}: {error}");
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    assert!(matches!(
        agent.exec_json(br#"{"tool":"echo","amount":1,"arguments":{}}"#).await,
        Err(CallError::Invalid(_))
    ));
    assert_eq!(host.kinds("a").iter().filter(|kind| *kind == "rejected").count(), count + 1);
    assert_eq!((host.runs(), host.kernel.agent(&id("a"))), (0, Some(AgentState::Ready)));
}

#[tokio::test]
async fn a_tool_that_panics_or_floods_ends_its_call_and_nothing_else() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    for (tool, code) in [("panic", "AK0522"), ("flood", "AK0524")] {
        let error = agent.exec(tool, json!({})).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    assert_eq!(agent.exec("echo", json!({"text": "on"})).await.unwrap(), "on");
    assert_eq!(host.kernel.state(), KernelState::Running);
}

#[tokio::test]
async fn files_are_read_written_appended_listed_and_removed_through_calls() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.write("/mem/working/notes", "one").await.unwrap();
    agent.append("/agent/a/mem/working/notes", " two").await.unwrap();
    assert_eq!(agent.read("/mem/working/notes").await.unwrap(), "one two");
    assert!(String::from_utf8_lossy(&agent.read("/mem/working").await.unwrap()).contains("\"notes\""));

    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let descriptor = agent.open("/mem/working/notes", flags).await.unwrap();
    let read =
        Syscall::Read { file: FileRef::Descriptor(descriptor), offset: None, length: 3, nonblock: false };
    let Reply::Data { data, .. } = agent.syscall(read.clone()).await.unwrap() else { panic!() };
    assert_eq!(data, "one");
    agent.close(descriptor).await.unwrap();
    assert_eq!(agent.syscall(read).await.unwrap_err().code(), "AK0404");

    let create = Syscall::Write {
        to: WriteTo::Path {
            path: "/mem/working/notes".into(),
            change: Change::CreateNew,
            expected: None,
            ttl: None,
        },
        data: "x".into(),
    };
    assert_eq!(agent.syscall(create).await.unwrap_err().code(), "AK0407");
    agent.remove("/mem/working/notes").await.unwrap();
    assert_eq!(agent.read("/mem/working/notes").await.unwrap_err().code(), "AK0401");
}

#[tokio::test]
async fn a_read_is_answered_with_what_the_bytes_carry() {
    let host = Host::new();
    let untrusted = LabelSet::new(["untrusted".parse().unwrap()]).unwrap();
    let quota = Quota { bytes: 100, files: 10 };
    let point = VfsPath::parse("/mem/inbox").unwrap();
    let mount =
        Mount::new(point, Arc::new(Memory::new()), Access::ReadWrite(quota)).labels(untrusted.clone());
    let agent = host.kernel.spawn(AgentSpec::new("a").mount(mount)).unwrap();
    agent.write("/mem/inbox/mail", "x").await.unwrap();
    agent.write("/mem/working/own", "x").await.unwrap();
    let flags = OpenFlags { read: true, ..OpenFlags::default() };
    let descriptor = agent.open("/mem/inbox/mail", flags).await.unwrap();
    for (file, expected) in [
        (FileRef::Path("/mem/inbox/mail".into()), &untrusted),
        (FileRef::Path("/mem/inbox".into()), &untrusted),
        (FileRef::Descriptor(descriptor), &untrusted),
        (FileRef::Path("/mem/working/own".into()), &LabelSet::EMPTY),
    ] {
        let read = Syscall::Read { file: file.clone(), offset: None, length: 9, nonblock: false };
        let Reply::Data { labels, .. } = agent.syscall(read).await.unwrap() else { panic!() };
        assert_eq!(labels, *expected, "{file:?}");
    }
}

#[tokio::test]
async fn an_agent_reads_its_policy_and_its_own_record_and_can_write_neither() {
    let host = Host::new();
    let (a, b) =
        (host.kernel.spawn(AgentSpec::new("a")).unwrap(), host.kernel.spawn(AgentSpec::new("b")).unwrap());
    b.write("/mem/working/secret-of-b", "x").await.unwrap();
    let policy: serde_json::Value =
        serde_json::from_slice(&a.read("/policy/active.json").await.unwrap()).unwrap();
    assert_eq!(policy["name"], "test");
    let record = String::from_utf8(a.read("/audit/events.jsonl").await.unwrap().to_vec()).unwrap();
    assert!(record.lines().all(|line| line.contains(r#""agent":"a""#)), "{record}");
    assert!(!record.contains("secret-of-b"));

    let error = a.write("/policy/active.json", "{}").await.unwrap_err();
    assert_eq!(error.code(), "AK0102");
    let wide = Policy::from_yaml(
        "wide.yaml",
        "version: 1\nname: wide\nrules:\n  - { id: all, effect: allow, calls: [read, write, open], paths: [\"/**\"] }\n",
    );
    let kernel = Kernel::builder().policy(wide.unwrap()).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    for path in ["/policy/active.json", "/audit/events.jsonl"] {
        assert_eq!(agent.write(path, "{}").await.unwrap_err().code(), "AK0414", "{path}");
    }
}

#[tokio::test]
async fn a_question_is_answered_recorded_and_costs_nothing() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let ask = |tool: &str| Syscall::Exec {
        tool: tool.into(),
        arguments: RawArguments::Value(json!({})),
        deadline: None,
    };
    assert_eq!(agent.check(ask("echo")).await.unwrap().verdict(), Verdict::Allow);
    assert_eq!(agent.check(ask("ungranted")).await.unwrap().verdict(), Verdict::Deny);
    assert_eq!(host.runs(), 0);
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));
    assert_eq!(host.kinds("a"), ["spawn", "question", "outcome", "question", "outcome"]);
}

#[tokio::test]
async fn names_are_taken_while_their_agent_lives_and_old_handles_stay_dead() {
    let host = Host::new();
    let first = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert!(matches!(host.kernel.spawn(AgentSpec::new("a")), Err(SpawnError::AlreadyExists(_))));
    assert!(matches!(host.kernel.spawn(AgentSpec::new("../a")), Err(SpawnError::Name { .. })));
    first.exit(3, "done").await.unwrap();
    let second = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    second.write("/mem/working/x", "second").await.unwrap();
    assert!(matches!(first.read("/mem/working/x").await, Err(CallError::Dead(_))));
    assert_eq!(second.read("/mem/working/x").await.unwrap(), "second");
}

#[tokio::test]
async fn a_program_runs_to_its_end_and_its_panic_is_its_own() {
    let host = Host::new();
    let status = host.kernel.run(AgentSpec::new("a"), |_agent| async { 7 }).await.unwrap();
    assert_eq!(status, ExitStatus::Exited { code: 7, message: String::new() });
    let status = host.kernel.run(AgentSpec::new("b"), |_agent| async { panic!("oh") }).await.unwrap();
    assert_eq!(status, ExitStatus::Crashed { panic: "oh".into() });
    let status = host.kernel.run(AgentSpec::new("c"), |agent| async move {
        let _ = agent.exit(4, "bye").await;
        std::future::pending::<i32>().await
    });
    assert_eq!(status.await.unwrap(), ExitStatus::Exited { code: 4, message: "bye".into() });
    assert_eq!(host.kernel.state(), KernelState::Running);
    assert!(host.kernel.agents().is_empty());
}

#[test]
fn a_policy_that_names_an_unknown_tool_builds_no_kernel() {
    let text =
        "version: 1\nname: t\nrules:\n  - { id: r, effect: allow, calls: [exec], tools: [\"eccho\"] }\n";
    let policy = Policy::from_yaml("t.yaml", text).unwrap();
    let error = Kernel::builder().policy(policy).tools(host::tools(&Arc::default())).build().unwrap_err();
    let BuildError::Policy(errors) = error else { panic!("{error}") };
    assert_eq!(
        errors.to_string().lines().next().unwrap(),
        "t.yaml:4:52: no tool is registered as `eccho` [AK0131]; did you mean `echo`?"
    );
}

#[tokio::test]
async fn after_shutdown_nothing_is_taken() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(host.kernel.shutdown(std::time::Duration::ZERO).await.unwrap().killed, 1);
    assert_eq!(host.kernel.state(), KernelState::Shutdown);
    assert!(matches!(agent.exec("echo", json!({})).await, Err(CallError::KernelDown { .. })));
    assert!(matches!(host.kernel.spawn(AgentSpec::new("b")), Err(SpawnError::Kernel(_))));
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn opening_a_file_to_create_it_is_judged_as_a_write_too() {
    let policy = "version: 1\nname: t\npacks: [read_only]\non_violation: deny\n";
    let kernel = Kernel::builder().policy(Policy::from_yaml("t.yaml", policy).unwrap()).build().unwrap();
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    for flags in [
        OpenFlags { write: true, create: true, ..OpenFlags::default() },
        OpenFlags { append: true, ..OpenFlags::default() },
    ] {
        let error = agent.open("/mem/working/created", flags).await.unwrap_err();
        assert!(matches!(error, CallError::Denied(_)), "{error}");
    }
    assert!(agent.read("/mem/working").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_call_dropped_while_its_intent_becomes_durable_is_recorded_as_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(host::POLICY, agent_control_plane::FlightRecorder::open(folder.path()).unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    {
        let mut call = std::pin::pin!(agent.exec("echo", json!({"text": "x"})));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending(), "an fsync takes longer than a poll");
    }
    assert_eq!(host.kinds("a"), ["spawn", "intent", "outcome"]);
    assert_eq!(host.runs(), 0);
}

#[tokio::test]
async fn what_an_agent_leaves_behind_can_panic_without_anybody_noticing() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("while dropped");
        }
    }
    let host = Host::new();
    let kernel = host.kernel.clone();
    let status = host.kernel.run(AgentSpec::new("a"), |agent| async move {
        let _bomb = PanicsWhenDropped;
        let _ = kernel.signal(agent.id(), Signal::Kill, "with a bomb in its hands");
        std::future::pending::<i32>().await
    });
    assert!(matches!(status.await.unwrap(), ExitStatus::Signaled { signal: Signal::Kill, .. }));
    let status =
        host.kernel.run(AgentSpec::new("b"), |_agent| async { std::panic::panic_any(PanicsWhenDropped) });
    assert!(matches!(status.await.unwrap(), ExitStatus::Crashed { .. }));
    let status = host.kernel.run(AgentSpec::new("c"), |_agent| async { panic!("{}", "x".repeat(17 << 20)) });
    assert!(matches!(status.await.unwrap(), ExitStatus::Crashed { panic } if panic.len() == 1024));
    assert_eq!(host.kernel.state(), KernelState::Running);
}

#[tokio::test]
async fn a_wait_answers_for_the_life_it_began_with() {
    let host = Host::new();
    let first = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let name = id("a");
    let mut wait = std::pin::pin!(host.kernel.wait(&name));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(wait.as_mut().poll(&mut context).is_pending());
    first.exit(1, "first").await.unwrap();
    let _second = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let status = wait.await.unwrap();
    assert_eq!(status, ExitStatus::Exited { code: 1, message: "first".into() });
    assert_eq!(host.kernel.agent(&name), Some(AgentState::Ready));
}

#[tokio::test]
async fn an_agent_ends_with_the_program_that_was_given_up() {
    let host = Host::new();
    {
        let mut run =
            std::pin::pin!(host.kernel.run(AgentSpec::new("a"), |_agent| std::future::pending::<i32>()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(run.as_mut().poll(&mut context).is_pending());
    }
    assert!(matches!(host.kernel.agent(&id("a")), Some(AgentState::Zombie(_))));
    assert!(host.kernel.spawn(AgentSpec::new("a")).is_ok());
}

#[tokio::test]
async fn an_agent_cannot_pass_for_the_host_in_the_record() {
    let policy =
        "version: 1\nname: t\nrules:\n  - { id: r, effect: allow, calls: [signal], targets: [\"b\"] }\n";
    let kernel = Kernel::builder().policy(Policy::from_yaml("t.yaml", policy).unwrap()).build().unwrap();
    let forger = kernel.spawn(AgentSpec::new("host")).unwrap();
    let _b = kernel.spawn(AgentSpec::new("b")).unwrap();
    forger.signal("b", Signal::Int, "from above").await.unwrap();
    let events = kernel.recorder().events(0).map(Result::unwrap);
    let from: Vec<String> = events
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Signal { from, .. } => Some(from.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(from, ["agent host"]);
}

#[tokio::test]
async fn only_who_may_run_a_tool_learns_what_is_on_the_hosts_disk() {
    use agent_control_plane::atr::{PathRoot, Registry, ToolError};
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("here"), "x").unwrap();
    let root = || PathRoot { mounted_at: "/data".into(), host: folder.path().into(), must_exist: true };
    let schema =
        || json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let kernel = |policy: Policy| {
        let mut tools = Registry::builder();
        let tool = tools.tool("read").description("Reads").path_argument("/path", root());
        tool.run_raw(schema(), |_context, _arguments| async { Ok::<_, ToolError>(json!("x")) }).unwrap();
        Kernel::builder().policy(policy).tools(tools.build()).build().unwrap()
    };
    let ask = |path: &str| Syscall::Exec {
        tool: "read".into(),
        arguments: RawArguments::Value(json!({ "path": path })),
        deadline: None,
    };
    let stranger = kernel(Policy::deny_all()).spawn(AgentSpec::new("a")).unwrap();
    for path in ["/data/here", "/data/nothing", "/data/../etc/passwd"] {
        assert_eq!(stranger.check(ask(path)).await.unwrap().verdict(), Verdict::Deny, "{path}");
    }
    let all = "version: 1\nname: t\nrules:\n  - { id: r, effect: allow, calls: [exec], tools: [read] }\n";
    let reader = kernel(Policy::from_yaml("t.yaml", all).unwrap()).spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(reader.syscall(ask("/data/nothing")).await.unwrap_err().code(), "AK0517");
    assert!(matches!(reader.syscall(ask("/data/../etc/passwd")).await, Err(CallError::Invalid(_))));
    assert!(reader.syscall(ask("/data/here")).await.is_ok());
}

#[test]
fn no_agent_outlives_a_shutdown_it_was_started_beside() {
    for _ in 0..50 {
        let kernel = Kernel::builder().policy(Policy::deny_all()).build().unwrap();
        let spawner = kernel.clone();
        let thread = std::thread::spawn(move || {
            (0..).take_while(|number| spawner.spawn(AgentSpec::new(format!("a{number}"))).is_ok()).count()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(kernel.shutdown(std::time::Duration::ZERO)).unwrap();
        thread.join().unwrap();
        assert_eq!(kernel.agents(), []);
        assert_eq!(kernel.state(), KernelState::Shutdown);
    }
}
