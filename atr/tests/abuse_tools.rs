//! The abuse corpus of tools, as far as calls are concerned: each case is named by its id.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_primitives::{AgentId, ManualClock, Timer};
use agent_tool_registry::executor::Pending;
use agent_tool_registry::invoke::{DenyReason, NotKept, Secret};
use agent_tool_registry::{
    AccessRule, AccessRules, Answer, AuditRecord, AuditSink, CallContext, Caller, Command, Invoker, Level,
    Limits, MemoryAudit, Quotas, Registry, SandboxPolicy, Stage, TokioTimer, ToolError,
};
use serde_json::{Value, json};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn timer() -> Arc<dyn Timer> {
    Arc::new(TokioTimer::new())
}

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

/// A registry with one tool that counts its runs.
fn counted(schema: Value) -> (Registry, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut tools = Registry::builder();
    let count = Arc::clone(&runs);
    tools
        .tool("t")
        .description("Counts its runs.")
        .run_raw(schema, move |_: CallContext, _: Value| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(Value::Null) }
        })
        .unwrap();
    (tools.build(), runs)
}

fn one_tool<F, Fut>(tool: F) -> Registry
where
    F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    let mut tools = Registry::builder();
    tools.tool("t").description("Test.").run_raw(any_object(), tool).unwrap();
    tools.build()
}

fn call(tools: Registry, arguments: &[u8]) -> (Result<Answer, ToolError>, Vec<AuditRecord>) {
    let audit = MemoryAudit::new(16);
    let invoker = Invoker::permissive(tools, timer(), audit.clone());
    let answer = block_on(invoker.invoke(agent("a"), "t", arguments));
    (answer, audit.records())
}

#[test]
fn t01_to_t06_arguments_that_are_not_what_the_tool_takes_run_nothing() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
    });
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat((1 << 20) + 1));
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    /// JSON pointer and keyword of a finding.
    type Finding = Option<(&'static str, &'static str)>;
    let cases: [(&str, &str, &str, Finding); 6] = [
        ("T01", r#"{"a": "5"}"#, "AK0515", Some(("/a", "type"))),
        ("T02", "{}", "AK0515", Some(("", "required"))),
        ("T03", r#"{"a": 1, "b": 2}"#, "AK0515", Some(("", "additionalProperties"))),
        ("T04", &large, "AK0512", None),
        ("T05", &deep, "AK0513", None),
        ("T06", r#"{"a": 1, "a": 2}"#, "AK0514", None),
    ];
    for (case, arguments, code, finding) in cases {
        let (tools, runs) = counted(schema.clone());
        let (answer, records) = call(tools, arguments.as_bytes());
        let error = answer.unwrap_err();
        assert_eq!(error.code(), code, "{case}: {error}");
        if let Some((pointer, keyword)) = finding {
            let ToolError::ArgsInvalid { errors, .. } = &error else { panic!("{case}: {error:?}") };
            assert_eq!(
                (errors[0].pointer.as_str(), errors[0].keyword.as_str()),
                (pointer, keyword),
                "{case}"
            );
        }
        assert_eq!(runs.load(Ordering::Relaxed), 0, "{case}");
        assert_eq!(records[0].error, Some(code), "{case}");
    }
}

#[test]
fn t19_the_eleventh_call_in_a_minute_is_refused_and_does_not_wait() {
    let (tools, runs) = counted(any_object());
    let clock = ManualClock::default();
    let quotas = Quotas::none().tool("t".parse().unwrap(), "10/minute".parse().unwrap());
    let invoker = Invoker::builder(tools, Arc::new(clock.clone()), MemoryAudit::new(1))
        .authorizer(AccessRules::new().with(AccessRule::allow("t")))
        .quotas(quotas)
        .build();
    for _ in 0..10 {
        block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap();
    }
    let Err(ToolError::RateLimited { retry_after, .. }) = block_on(invoker.invoke(agent("a"), "t", b"{}"))
    else {
        panic!("the eleventh call went through")
    };
    assert!(Duration::ZERO < retry_after && retry_after <= Duration::from_secs(60));
    assert_eq!(clock.sleepers(), 0);
    block_on(invoker.invoke(agent("b"), "t", b"{}")).unwrap();
    clock.advance(retry_after);
    block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 12);
}

#[test]
fn t20_an_answer_that_breaks_its_schema_is_not_handed_on() {
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Lies about its answer.")
        .output_schema(json!({"type": "integer"}))
        .run_raw(any_object(), |_: CallContext, _: Value| async { Ok("secret text") })
        .unwrap();
    let (answer, records) = call(tools.build(), b"{}");
    let error = answer.unwrap_err();
    assert_eq!(error.code(), "AK0525");
    assert!(!error.to_string().contains("secret text"));
    assert_eq!((records[0].failed_at, records[0].result), (Some(Stage::ValidateOutput), None));
}

#[test]
fn t24_a_tool_that_is_not_idempotent_is_run_once_whatever_fails() {
    for (idempotent, runs) in [(false, 1), (true, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let mut tools = Registry::builder();
        tools
            .tool("t")
            .description("Leaves a mark and dies.")
            .idempotent(idempotent)
            .isolation(SandboxPolicy::at_least(Level::Child))
            .command(any_object(), shell("printf x >> marks; kill -9 $$", dir.path()))
            .unwrap();
        let (answer, records) = call(tools.build(), b"{}");
        let error = answer.unwrap_err();
        assert!(error.retryable(), "{error}");
        let marks = fs::read_to_string(dir.path().join("marks")).unwrap();
        assert_eq!((marks.len(), records[0].attempts), (runs, u32::try_from(runs).unwrap()));
    }
}

#[test]
fn t24_one_that_times_out_is_run_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Leaves a mark and hangs.")
        .limits(Limits { deadline: Duration::from_millis(300), ..Limits::DEFAULT })
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(any_object(), shell("printf x >> marks; exec sleep 60", dir.path()))
        .unwrap();
    let (answer, _) = call(tools.build(), b"{}");
    assert!(matches!(answer, Err(ToolError::Timeout)));
    assert_eq!(fs::read_to_string(dir.path().join("marks")).unwrap(), "x");
}

fn shell(script: &str, dir: &Path) -> Command {
    Command {
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        current_dir: dir.to_owned(),
    }
}

#[test]
fn t27_a_role_without_the_attribute_is_not_enough() {
    let rules = || {
        let rule = AccessRule::allow("t").roles(["clerk"]).attribute("branch", "oslo");
        AccessRules::new().with(rule)
    };
    let cases = [
        (Caller::new(agent("a")).with_role("clerk").with_attribute("branch", "oslo"), true),
        (Caller::new(agent("a")).with_role("clerk").with_attribute("branch", "rome"), false),
        (Caller::new(agent("a")).with_role("clerk"), false),
        (Caller::new(agent("a")).with_attribute("branch", "oslo"), false),
        (Caller::new(agent("a")).with_role("Clerk").with_attribute("branch", "oslo"), false),
        (Caller::new(agent("admin")).with_role("admin"), false),
    ];
    for (caller, allowed) in cases {
        let (tools, runs) = counted(any_object());
        let invoker = Invoker::builder(tools, timer(), MemoryAudit::new(1)).authorizer(rules()).build();
        let answer = block_on(invoker.invoke(caller.clone(), "t", b"{}"));
        assert_eq!(answer.is_ok(), allowed, "{caller:?}");
        assert_eq!(runs.load(Ordering::Relaxed), usize::from(allowed));
        assert!(allowed || matches!(answer, Err(ToolError::AccessDenied { .. })));
    }
}

#[test]
fn t28_without_an_authorizer_every_call_is_denied() {
    let (tools, runs) = counted(any_object());
    let audit = MemoryAudit::new(4);
    let invoker = Invoker::builder(tools.clone(), timer(), audit.clone()).build();
    let answer = block_on(invoker.invoke(agent("a"), "t", b"{}"));
    assert!(matches!(answer, Err(ToolError::AccessDenied { reason: DenyReason::NoAuthorizer, .. })));
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    let permissive = Invoker::permissive(tools, timer(), audit.clone());
    block_on(permissive.invoke(agent("a"), "t", b"{}")).unwrap();
    let names: Vec<_> = audit.records().iter().map(|record| record.authorizer.clone()).collect();
    assert_eq!(names, ["none", "permissive"]);
}

#[test]
fn t31_s21_a_panic_ends_one_call_and_nothing_else() {
    let held = Arc::new(Mutex::new(()));
    let tools = one_tool(move |_, arguments| {
        let held = Arc::clone(&held);
        async move {
            let _guard = held.lock();
            assert!(arguments["panic"] != json!(true), "{}", "x".repeat(5000));
            Ok(json!(1))
        }
    });
    let invoker = Invoker::permissive(tools, timer(), MemoryAudit::new(1));
    let Err(ToolError::Panicked { payload, .. }) =
        block_on(invoker.invoke(agent("a"), "t", br#"{"panic": true}"#))
    else {
        panic!("no panic was reported")
    };
    assert!(payload.chars().count() <= 1025);
    block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap();
}

#[test]
fn t35_an_answer_of_a_byte_too_many_is_not_handed_on() {
    // The two quotes are part of it.
    for (length, fits) in [((1 << 20) - 2, true), ((1 << 20) - 1, false)] {
        let tools = one_tool(move |_, _| async move { Ok(Value::String("x".repeat(length))) });
        let (answer, records) = call(tools, b"{}");
        assert_eq!(answer.is_ok(), fits);
        assert!(fits || matches!(answer, Err(ToolError::OutputTooLarge { limit, .. }) if limit == 1 << 20));
        assert_eq!(records[0].failed_at, (!fits).then_some(Stage::Cap));
    }
}

const KEY: &str = "s3cr3t/k+y value";

/// A tool that is given a secret and gives it away.
fn leaking(leak: impl Fn(&str) -> Result<Value, ToolError> + Send + Sync + 'static) -> Invoker {
    let leak = Arc::new(leak);
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Gives a secret away.")
        .secrets(["key"])
        .run_raw(any_object(), move |cx: CallContext, _: Value| {
            let leak = Arc::clone(&leak);
            async move { leak(cx.secret("key")?.expose()) }
        })
        .unwrap();
    Invoker::builder(tools.build(), timer(), MemoryAudit::new(4))
        .authorizer(AccessRules::new().with(AccessRule::allow("t")))
        .secrets(BTreeMap::from([("key".to_owned(), Secret::new(KEY).unwrap())]))
        .build()
}

#[test]
fn t36_no_form_of_a_secret_comes_back() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let hex = |upper: bool| -> String {
        KEY.bytes().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
    };
    let forms = [
        KEY.to_owned(),
        STANDARD.encode(KEY),
        URL_SAFE_NO_PAD.encode(KEY),
        hex(false),
        hex(true),
        "s3cr3t%2Fk%2By%20value".to_owned(),
        "s3cr3t%2fk%2by%20value".to_owned(),
        KEY.bytes().map(|byte| format!("%{byte:02X}")).collect(),
    ];
    for form in forms {
        let text = format!("before {form} after");
        for leaks_by_error in [true, false] {
            let text = text.clone();
            let invoker = leaking(move |_| {
                if leaks_by_error {
                    Err(ToolError::failed(&text))
                } else {
                    Ok(json!({"list": [text], text.clone(): 1}))
                }
            });
            let shown = match block_on(invoker.invoke(agent("a"), "t", b"{}")) {
                Ok(answer) => answer.output.value().to_string(),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(&form), "{form}: {shown}");
            assert!(shown.contains("before [REDACTED]"), "{form}: {shown}");
        }
    }
}

#[test]
fn t36_nor_within_the_base64_of_a_longer_text() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    for lead in ["", "x", "xy", "xyz"] {
        let text = STANDARD.encode(format!("{lead}{KEY}, and more"));
        let shown = text.clone();
        let invoker = leaking(move |_| Ok(json!(shown)));
        let answer = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap();
        assert!(answer.output.value().as_str().unwrap().contains("[REDACTED]"), "{lead}");
    }
}

#[test]
fn t36_nor_in_a_panic_nor_in_the_record() {
    let audit = MemoryAudit::new(1);
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Panics with a secret.")
        .secrets(["key"])
        .run_raw(any_object(), |cx: CallContext, _: Value| async move {
            let key = cx.secret("key")?.clone();
            assert!(format!("{key:?}").is_empty(), "{}", key.expose());
            Ok(())
        })
        .unwrap();
    let invoker = Invoker::builder(tools.build(), timer(), audit.clone())
        .authorizer(AccessRules::new().with(AccessRule::allow("t")))
        .secrets(BTreeMap::from([("key".to_owned(), Secret::new(KEY).unwrap())]))
        .build();
    let error = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err();
    let record = serde_json::to_string(&audit.records()).unwrap();
    for shown in [format!("{error:?}"), record] {
        assert!(shown.contains("[REDACTED]") && !shown.contains(KEY), "{shown}");
    }
}

#[test]
fn t36_nor_the_start_of_one_where_a_message_is_cut() {
    for shown in 3..KEY.len() {
        let lead = "x".repeat(1024 - shown);
        let invoker = leaking(move |key| Err(ToolError::failed(format!("{lead}{key}"))));
        let error = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err().to_string();
        assert!(error.contains("x[RE") && !error.contains(KEY.get(..3).unwrap()), "{shown}");
    }
}

#[test]
fn t36_nor_one_that_has_several_lines() {
    const LINES: &str = "-- begin \"key\"\nabcdefgh\n-- end";
    for quoted in [false, true] {
        let mut tools = Registry::builder();
        let leak = move |cx: CallContext, _: Value| async move {
            let key = cx.secret("key")?.expose().to_owned();
            Err::<(), _>(if quoted { ToolError::failed(json!(key)) } else { ToolError::failed(key) })
        };
        tools.tool("t").description("Leaks.").secrets(["key"]).run_raw(any_object(), leak).unwrap();
        let invoker = Invoker::builder(tools.build(), timer(), MemoryAudit::new(1))
            .authorizer(AccessRules::new().with(AccessRule::allow("t")))
            .secrets(BTreeMap::from([("key".to_owned(), Secret::new(LINES).unwrap())]))
            .build();
        let error = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err().to_string();
        assert!(error.contains("[REDACTED]") && !error.contains("abcdefgh"), "{error}");
    }
}

#[test]
fn an_argument_that_names_a_secret_is_refused_though_the_schema_is_open() {
    let invoker = leaking(|_| Ok(Value::Null));
    let answer = block_on(invoker.invoke(agent("a"), "t", br#"{"key": "mine"}"#));
    assert!(matches!(answer, Err(ToolError::ArgsInvalid { .. })));
}

#[derive(Debug)]
struct Broken;

impl AuditSink for Broken {
    fn record(&self, _record: AuditRecord) -> Pending<'static, Result<(), NotKept>> {
        Box::pin(async { Err(NotKept::new("the disk /dev/sda is full")) })
    }
}

#[test]
fn t39_a_result_that_is_not_on_record_is_withheld() {
    let (tools, runs) = counted(any_object());
    let invoker = Invoker::permissive(tools, timer(), Broken);
    let error = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err();
    assert!(matches!(error, ToolError::AuditFailed { .. }));
    assert!(!error.to_string().contains("/dev/sda"));
    assert_eq!(error.host_detail().as_deref(), Some("the disk /dev/sda is full"));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn t40_nothing_that_a_tool_says_of_itself_is_fetched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/health", listener.local_addr().unwrap());
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description(&format!("Its health is at {url}."))
        .run_raw(
            json!({"type": "object", "description": url, "properties": {"url": {"default": url}}}),
            |_: CallContext, _: Value| async { Ok(Value::Null) },
        )
        .unwrap();
    let tools = tools.build();
    // No field of a contract is an address of its own: what names one is text.
    let contract = serde_json::to_value(&*tools.get(&"t".parse().unwrap()).unwrap()).unwrap();
    let fields: Vec<&str> = contract.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(!fields.iter().any(|field| field.contains("url") || field.contains("health")), "{fields:?}");
    let invoker = Invoker::permissive(tools, timer(), MemoryAudit::new(1));
    let health = block_on(invoker.on_behalf_of(agent("a")).health("t", b"{}"));
    assert!(matches!(health, agent_tool_registry::invoke::Health::Healthy(_)));
    let connected = listener.accept();
    assert!(connected.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
}
