//! Tools that are functions: registration, validation, deadlines, panics, cancellation.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_primitives::{AgentId, Clock, ManualClock, ToolId};
use agent_tool_registry::{
    Arguments, CallContext, Effect, Limits, Output, Registry, RegistryBuilder, RegistryError, TokioTimer,
    ToolError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
struct Add {
    a: i64,
    b: i64,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

fn id(text: &str) -> ToolId {
    text.parse().unwrap()
}

fn context() -> CallContext {
    CallContext::new("tester".parse::<AgentId>().unwrap(), Arc::new(TokioTimer::new()))
}

fn on(clock: &ManualClock) -> CallContext {
    CallContext::new("tester".parse::<AgentId>().unwrap(), Arc::new(clock.clone()))
}

fn with_add() -> RegistryBuilder {
    let mut builder = Registry::builder();
    builder
        .tool("math.add")
        .description("Adds two integers.")
        .idempotent(true)
        .run(|_cx, args: Add| async move {
            let _ = args.note;
            args.a
                .checked_add(args.b)
                .map(|sum| Sum { sum })
                .ok_or_else(|| ToolError::failed("the sum overflows"))
        })
        .unwrap();
    builder
}

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

/// A registry with one tool `t` that takes any object.
fn one<R, F, Fut>(limits: Limits, tool: F) -> Registry
where
    R: Serialize + 'static,
    F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let mut builder = Registry::builder();
    builder.tool("t").description("Test.").limits(limits).run_raw(any_object(), tool).unwrap();
    builder.build()
}

async fn call(registry: &Registry, name: &str, args: &str, cx: CallContext) -> Result<Output, ToolError> {
    registry.prepare(&id(name), Arguments::parse(args.as_bytes())?)?.run(cx).await
}

#[test]
fn what_a_host_holds_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Registry>();
    shared::<Arguments>();
    shared::<agent_tool_registry::Invocation>();
    shared::<CallContext>();
    shared::<Output>();
    shared::<ToolError>();
}

#[tokio::test]
async fn a_typed_tool_answers_with_canonical_json() {
    let registry = with_add().build();
    let invocation =
        registry.prepare(&id("math.add"), Arguments::parse(b"{\"b\":2, \"a\":1.0}").unwrap()).unwrap();
    assert_eq!(invocation.arguments().canonical(), br#"{"a":1,"b":2}"#);
    assert_eq!(invocation.contract().id().as_str(), "math.add");
    let output = invocation.run(context()).await.unwrap();
    assert_eq!(output.value(), &json!({"sum": 3}));
    assert_eq!(&output.canonical()[..], br#"{"sum":3}"#);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_explained_and_nothing_runs() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut builder = with_add();
    builder
        .tool("count")
        .description("Counts its runs.")
        .run(move |_cx, _args: Add| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        })
        .unwrap();
    let registry = builder.build();
    let cases: &[(&str, &[(&str, &str)])] = &[
        (r#"{"a":"5","b":1}"#, &[("/a", "type")]),
        (r#"{"a":1}"#, &[("", "required")]),
        (r#"{"a":1,"b":2,"c":3}"#, &[("", "additionalProperties")]),
        (r#"{"a":1.5,"b":null}"#, &[("/a", "type"), ("/b", "type")]),
        (r#"{"a":1,"b":2,"note":7}"#, &[("/note", "type")]),
        ("[]", &[("", "type")]),
    ];
    for (text, expected) in cases {
        let error = call(&registry, "count", text, context()).await.unwrap_err();
        assert!(error.is_argument_error());
        let ToolError::ArgsInvalid { errors, .. } = error else { panic!("{text}: {error}") };
        let found: Vec<_> = errors.iter().map(|error| (&*error.pointer, &*error.keyword)).collect();
        assert_eq!(&found, expected, "{text}");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_type_stricter_than_its_schema_refuses_before_the_call_is_judged() {
    #[derive(Deserialize, JsonSchema)]
    struct Small {
        #[expect(dead_code, reason = "only its range matters")]
        count: u64,
        #[serde(deserialize_with = "never")]
        #[schemars(with = "String")]
        #[expect(dead_code, reason = "never deserialises")]
        text: String,
    }
    fn never<'de, D: serde::Deserializer<'de>>(_: D) -> Result<String, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
    let mut builder = Registry::builder();
    builder.tool("t").description("Test.").run(|_cx, _args: Small| async { Ok(()) }).unwrap();
    let arguments = Arguments::parse(br#"{"count":1,"text":"x"}"#).unwrap();
    let error = builder.build().prepare(&id("t"), arguments).unwrap_err();
    let ToolError::ArgsInvalid { errors, .. } = error else { panic!("{error}") };
    assert_eq!((&*errors[0].keyword, &*errors[0].message), ("deserialize", "never"));
}

#[test]
fn at_most_eight_findings_are_listed_on_one_bounded_line() {
    let mut builder = Registry::builder();
    let schema = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    builder.tool("t").description("Test.").run_raw(schema, |_cx, _args| async { Ok(()) }).unwrap();
    let many: serde_json::Map<_, _> =
        (0..50).map(|index| (format!("k{index}\n{}", "x".repeat(2000)), json!("long".repeat(500)))).collect();
    let error = builder.build().prepare(&id("t"), Arguments::from_value(many.into()).unwrap()).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("longlong"), "{text}");
    let ToolError::ArgsInvalid { errors, .. } = error else { panic!("{text}") };
    assert_eq!(errors.len(), 8);
    assert!(errors.iter().all(|error| error.message.chars().count() <= 257));
    assert!(errors.iter().all(|error| error.pointer.chars().count() <= 257));
}

#[test]
fn names_that_are_not_tool_ids_are_refused() {
    let long = "a".repeat(129);
    for name in ["", " ", "a b", "../x", &long, "1abc", "a\0", "\u{441}alc", "a/b/c"] {
        let mut builder = Registry::builder();
        let refused = builder.tool(name).description("Test.").run(|_cx, _args: Add| async { Ok(()) });
        assert!(matches!(refused, Err(RegistryError::NameInvalid { .. })), "{name:?}");
        assert!(builder.build().is_empty());
    }
}

#[tokio::test]
async fn the_first_tool_keeps_its_name() {
    let mut builder = with_add();
    let refused = builder.tool("math.add").description("Other.").run(|_cx, _args: Add| async { Ok(0) });
    assert!(matches!(&refused, Err(RegistryError::Conflict { .. })));
    assert_eq!(refused.unwrap_err().code(), "AK0502");
    let registry = builder.build();
    assert_eq!(registry.get(&id("math.add")).unwrap().description(), "Adds two integers.");
    let output = call(&registry, "math.add", r#"{"a":1,"b":2}"#, context()).await.unwrap();
    assert_eq!(output.into_value(), json!({"sum": 3}));
}

#[test]
fn a_bad_specification_is_refused() {
    #[derive(Deserialize, JsonSchema)]
    struct Tuple(#[expect(dead_code, reason = "only its schema matters")] i64);
    let zero = Limits { output_bytes: 0, ..Limits::DEFAULT };
    let long = "x".repeat(1025);
    let mut builder = Registry::builder();
    let refusals = [
        (builder.tool("t").run(|_cx, _args: Add| async { Ok(()) }), "AK0503"),
        (builder.tool("t").description(&long).run(|_cx, _args: Add| async { Ok(()) }), "AK0503"),
        (builder.tool("t").description("x").limits(zero).run(|_cx, _args: Add| async { Ok(()) }), "AK0503"),
        (builder.tool("t").description("x").run(|_cx, _args: Tuple| async { Ok(()) }), "AK0504"),
        (builder.tool("t").description("x").run_raw(json!(true), |_cx, _args| async { Ok(()) }), "AK0504"),
    ];
    for (refused, code) in refusals {
        assert_eq!(refused.unwrap_err().code(), code);
    }
    assert!(builder.build().is_empty());
}

#[test]
fn an_unknown_tool_is_answered_with_the_nearest_name() {
    let registry = with_add().build();
    let empty = || Arguments::parse(b"{}").unwrap();
    let near = registry.prepare(&id("math.ad"), empty()).unwrap_err();
    assert_eq!(near.to_string(), "no tool is named `math.ad`; did you mean `math.add`?");
    let far = registry.prepare(&id("zzz"), empty()).unwrap_err();
    assert_eq!((far.to_string().as_str(), far.code()), ("no tool is named `zzz`", "AK0510"));
}

#[test]
fn any_change_to_a_contract_changes_its_digest_and_the_order_of_keys_does_not() {
    let digest = |schema: &str, description: &str, effects: &[Effect], limits: Limits| {
        let mut builder = Registry::builder();
        let tool = builder.tool("t").description(description).effects(effects.iter().copied()).limits(limits);
        tool.run_raw(serde_json::from_str(schema).unwrap(), |_cx, _args| async { Ok(()) }).unwrap();
        builder.build().get(&id("t")).unwrap().digest()
    };
    let schema = r#"{"type":"object","title":"x"}"#;
    let one = digest(schema, "a", &[Effect::Read, Effect::Write], Limits::DEFAULT);
    let same = r#"{ "title" : "\u0078", "type":"object" , "additionalProperties":false}"#;
    assert_eq!(one, digest(same, "a", &[Effect::Write, Effect::Read], Limits::DEFAULT));
    let shorter = Limits { deadline: Duration::from_secs(29), ..Limits::DEFAULT };
    for other in [
        digest(r#"{"type":"object","title":"y"}"#, "a", &[Effect::Read, Effect::Write], Limits::DEFAULT),
        digest(schema, "b", &[Effect::Read, Effect::Write], Limits::DEFAULT),
        digest(schema, "a", &[Effect::Read], Limits::DEFAULT),
        digest(schema, "a", &[Effect::Read, Effect::Write], shorter),
    ] {
        assert_ne!(one, other);
    }
}

#[test]
fn a_contract_serialises_whole() {
    let registry = with_add().build();
    let contract = registry.get(&id("math.add")).unwrap();
    let value = serde_json::to_value(&*contract).unwrap();
    assert_eq!(value["id"], "math.add");
    assert_eq!(value["input_schema"]["additionalProperties"], false);
    assert_eq!(value["effects"], json!([]));
    assert_eq!(value["limits"]["deadline_us"], 30_000_000);
    assert_eq!(value["endpoint"], "function");
    assert_eq!(value["digest"], contract.digest().to_string());
}

#[tokio::test]
async fn a_panic_ends_one_call_and_nothing_else() {
    struct PanicsOnDrop;
    impl Drop for PanicsOnDrop {
        fn drop(&mut self) {
            panic!("while dropped");
        }
    }
    let mut builder = with_add();
    builder
        .tool("at_once")
        .description("Panics before it returns a future.")
        .run_raw(any_object(), |_cx, args: Value| {
            assert!(args.is_null(), "at once");
            async { Ok(()) }
        })
        .unwrap();
    builder
        .tool("later")
        .description("Panics after an await.")
        .run_raw(any_object(), |_cx, _args| async {
            tokio::task::yield_now().await;
            if true {
                panic!("later in /root/secret");
            }
            Ok(())
        })
        .unwrap();
    builder
        .tool("dropped")
        .description("Panics when it is stopped.")
        .run_raw(any_object(), |_cx, _args| async {
            let _guard = PanicsOnDrop;
            pending::<Result<(), ToolError>>().await
        })
        .unwrap();
    let registry = builder.build();
    for (name, payload) in [("at_once", "at once"), ("later", "later in /root/secret")] {
        let error = call(&registry, name, "{}", context()).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), ("the tool panicked", "AK0522"));
        assert_eq!(error.host_detail().as_deref(), Some(payload));
    }
    let cx = context();
    cx.canceller().cancel();
    assert_eq!(call(&registry, "dropped", "{}", cx).await.unwrap_err().code(), "AK0521");
    let soon = context();
    let soon = soon.clone().with_deadline(soon.timer().monotonic().after(Duration::from_millis(1)));
    assert_eq!(call(&registry, "dropped", "{}", soon).await.unwrap_err().code(), "AK0520");
    call(&registry, "math.add", r#"{"a":1,"b":2}"#, context()).await.unwrap();
}

#[test]
fn a_tool_that_hangs_is_dropped_at_its_deadline_and_not_before() {
    let clock = ManualClock::default();
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let registry = one(Limits { deadline: Duration::from_secs(5), ..Limits::DEFAULT }, move |_cx, _args| {
        let held = Arc::clone(&held);
        async move {
            let answer = pending::<Result<(), ToolError>>().await;
            drop(held);
            answer
        }
    });
    let invocation = registry.prepare(&id("t"), Arguments::parse(b"{}").unwrap()).unwrap();
    let mut running = Box::pin(invocation.run(on(&clock)));
    let mut task = Context::from_waker(Waker::noop());
    assert!(running.as_mut().poll(&mut task).is_pending());
    clock.advance(Duration::from_millis(4999));
    assert!(running.as_mut().poll(&mut task).is_pending());
    assert_eq!(Arc::strong_count(&alive), 3);
    clock.advance(Duration::from_millis(1));
    let Poll::Ready(Err(error)) = running.as_mut().poll(&mut task) else { panic!("still running") };
    assert_eq!((error.code(), error.retryable()), ("AK0520", true));
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(running);
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn the_sooner_deadline_counts_and_a_past_one_runs_nothing() {
    let clock = ManualClock::default();
    clock.advance(Duration::from_secs(100));
    let registry = one(Limits::DEFAULT, |cx: CallContext, _args| async move {
        Ok(cx.deadline().unwrap().as_nanos() / 1_000_000_000)
    });
    let ends = |cx: CallContext| {
        let invocation = registry.prepare(&id("t"), Arguments::parse(b"{}").unwrap()).unwrap();
        match Box::pin(invocation.run(cx)).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.map(Output::into_value),
            Poll::Pending => panic!("still running"),
        }
    };
    let at = |seconds: u64| {
        on(&clock).with_deadline(ManualClock::default().monotonic().after(Duration::from_secs(seconds)))
    };
    assert_eq!(ends(on(&clock)).unwrap(), 130);
    assert_eq!(ends(at(110)).unwrap(), 110);
    assert_eq!(ends(at(900)).unwrap(), 130);
    assert_eq!(ends(at(100)).unwrap_err().code(), "AK0520");
}

#[tokio::test]
async fn a_tool_that_never_lets_go_of_its_budget_still_meets_its_deadline() {
    let registry =
        one(Limits { deadline: Duration::from_millis(20), ..Limits::DEFAULT }, |_cx, _args| async {
            loop {
                tokio::task::consume_budget().await;
            }
            #[expect(unreachable_code, reason = "says what the block would answer")]
            Ok(())
        });
    assert_eq!(call(&registry, "t", "{}", context()).await.unwrap_err().code(), "AK0520");
}

#[tokio::test]
async fn a_cancelled_call_ends_and_what_the_tool_started_learns_of_it() {
    let (told, mut tell) = tokio::sync::mpsc::channel(4);
    let registry = one(Limits::DEFAULT, move |cx: CallContext, args: Value| {
        let (told, child) = (told.clone(), cx.clone());
        async move {
            tokio::spawn(async move {
                child.cancelled().await;
                told.send(child.is_cancelled()).await
            });
            if args["return"] == true { Ok(()) } else { pending().await }
        }
    });
    let cx = context();
    let canceller = cx.canceller();
    let running = tokio::spawn({
        let (registry, cx) = (registry.clone(), cx.clone());
        async move { call(&registry, "t", "{}", cx).await }
    });
    tokio::task::yield_now().await;
    canceller.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.retryable()), ("AK0521", false));
    assert_eq!(tell.recv().await, Some(true));

    // A call that was cancelled beforehand does not start.
    assert_eq!(call(&registry, "t", "{}", cx).await.unwrap_err().code(), "AK0521");
    assert!(tell.try_recv().is_err());

    // A dropped future, and an answer, are the end of a call too. The caller's own context stays as it was.
    let cx = context();
    let mut dropped = Box::pin(call(&registry, "t", "{}", cx.clone()));
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    assert_eq!(tell.recv().await, Some(true));
    call(&registry, "t", r#"{"return":true}"#, cx.clone()).await.unwrap();
    assert_eq!(tell.recv().await, Some(true));
    assert!(!cx.is_cancelled());
}

#[tokio::test]
async fn outputs_are_bounded_and_valid() {
    let registry = one(Limits { output_bytes: 10, ..Limits::DEFAULT }, |_cx, args: Value| async move {
        Ok(args["out"].clone())
    });
    let answer = async |out: &str| call(&registry, "t", &format!(r#"{{"out":{out}}}"#), context()).await;
    assert_eq!(answer("\"12345678\"").await.unwrap().canonical().len(), 10);
    let error = answer("\"123456789\"").await.unwrap_err();
    assert_eq!(error.to_string(), "the tool's output is larger than 10 bytes");
    assert_eq!(error.code(), "AK0524");

    let beyond = one(Limits::DEFAULT, |_cx, _args| async { Ok(u64::MAX) });
    let error = call(&beyond, "t", "{}", context()).await.unwrap_err();
    assert_eq!(error.code(), "AK0525");
    let deep =
        one(Limits::DEFAULT, |_cx, _args| async { Ok((0..70).fold(json!(0), |inner, _| json!([inner]))) });
    assert_eq!(call(&deep, "t", "{}", context()).await.unwrap_err().code(), "AK0525");
    let odd_keys =
        one(Limits::DEFAULT, |_cx, _args| async { Ok(std::collections::HashMap::from([(vec![1u8], 1)])) });
    assert_eq!(call(&odd_keys, "t", "{}", context()).await.unwrap_err().code(), "AK0525");
}

#[tokio::test]
async fn a_tool_may_call_another_and_hands_on_its_error_as_its_own() {
    let inner = with_add().build();
    let outer = one(Limits::DEFAULT, move |cx: CallContext, args: Value| {
        let inner = inner.clone();
        async move {
            let invocation = inner.prepare(&id("math.add"), Arguments::from_value(args)?)?;
            Ok(invocation.run(cx).await?.into_value())
        }
    });
    assert_eq!(
        call(&outer, "t", r#"{"a":1,"b":2}"#, context()).await.unwrap().into_value(),
        json!({"sum": 3})
    );
    let error = call(&outer, "t", r#"{"a":"1","b":2}"#, context()).await.unwrap_err();
    assert_eq!(error.code(), "AK0523");
    assert!(!error.is_argument_error());
}
