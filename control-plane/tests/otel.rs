//! What OpenTelemetry makes of the kernel's spans.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::observe::{TraceParent, otel};
use agent_control_plane::primitives::Signal;
use agent_control_plane::{AgentHandle, AgentSpec, Kernel, Policy};
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::json;
use tracing::Instrument as _;
use tracing_subscriber::Registry as Spans;
use tracing_subscriber::layer::SubscriberExt as _;

const POLICY: &str = "version: 1
name: otel
rules:
  - {id: tools, effect: allow, calls: [exec], tools: [greet, fail]}
  - {id: no-pay, effect: deny, on_violation: deny, calls: [exec], tools: [pay]}
";

/// The header that a caller sends.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn kernel() -> Kernel {
    let mut tools = Registry::builder();
    for (name, answer) in [("greet", Ok(())), ("fail", Err(())), ("pay", Ok(()))] {
        let run = move |_context, _arguments| async move {
            answer.map(|()| json!("done")).map_err(|()| ToolError::failed("no"))
        };
        tools.tool(name).description("A test tool").run_raw(json!({"type": "object"}), run).unwrap();
    }
    let policy = Policy::from_yaml("otel.yaml", POLICY).unwrap();
    Kernel::builder().policy(policy).tools(tools.build()).build().unwrap()
}

/// The spans that are exported when `scene` runs.
fn exported(scene: impl Future<Output = ()>) -> Vec<SpanData> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let subscriber = Spans::default().with(otel::layer(provider.tracer("agent-os")));
    tracing::subscriber::with_default(subscriber, || {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(scene);
    });
    exporter.get_finished_spans().unwrap()
}

fn attribute<'s>(span: &'s SpanData, name: &str) -> Option<std::borrow::Cow<'s, str>> {
    span.attributes.iter().find(|one| one.key.as_str() == name).map(|one| one.value.as_str())
}

/// The one span of a name, or the first that ended.
fn named<'s>(spans: &'s [SpanData], name: &str) -> &'s SpanData {
    let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
}

async fn work(kernel: &Kernel) {
    let program = async |agent: AgentHandle| {
        agent.exec("greet", json!({})).await.unwrap();
        agent.exec("fail", json!({})).await.unwrap_err();
        agent.exec("pay", json!({})).await.unwrap_err();
        kernel.signal(agent.id(), Signal::Kill, "enough").unwrap();
        std::future::pending().await
    };
    kernel.run(AgentSpec::new("clerk"), program).await.unwrap();
}

#[test]
fn names_kinds_attributes_and_parents_are_those_of_the_conventions() {
    let kernel = kernel();
    let spans = exported(work(&kernel));
    let agent = named(&spans, "invoke_agent clerk");
    let create = named(&spans, "create_agent clerk");
    let (greet, fail) = (named(&spans, "execute_tool greet"), named(&spans, "execute_tool fail"));
    let guards: Vec<&SpanData> = spans.iter().filter(|span| span.name == "apply_guardrail").collect();
    assert_eq!((guards.len(), spans.len()), (3, 7));
    assert!(spans.iter().all(|span| span.span_kind == SpanKind::Internal));
    for root in [agent, create] {
        assert_eq!(root.parent_span_id, SpanId::INVALID);
    }
    for inside in guards.iter().copied().chain([greet, fail]) {
        assert_eq!(inside.parent_span_id, agent.span_context.span_id(), "{}", inside.name);
        assert_eq!(inside.span_context.trace_id(), agent.span_context.trace_id(), "{}", inside.name);
    }
    for span in &spans {
        let operation = span.name.split(' ').next().unwrap();
        assert_eq!(attribute(span, "gen_ai.operation.name").unwrap(), operation);
        assert_eq!(attribute(span, "gen_ai.agent.id").unwrap(), "clerk");
        assert_eq!(attribute(span, "gen_ai.agent.name").unwrap(), "clerk");
    }
    assert_eq!(attribute(greet, "gen_ai.tool.name").unwrap(), "greet");
    assert_eq!(attribute(greet, "gen_ai.tool.type").unwrap(), "function");
    let call = attribute(guards[0], "agent_os.call").unwrap();
    let life = attribute(agent, "agent_os.agent.generation").unwrap();
    assert_eq!(attribute(greet, "gen_ai.tool.call.id").unwrap(), format!("{life}.{call}"));
    assert_eq!((&greet.status, attribute(greet, "error.type")), (&Status::Unset, None));
    assert_eq!(fail.status, Status::error(""));
    assert!(attribute(fail, "error.type").unwrap().starts_with("AK05"));
    let verdicts: Vec<_> = guards.iter().map(|span| attribute(span, "agent_os.verdict").unwrap()).collect();
    assert_eq!(verdicts, ["allow", "allow", "deny"]);
    assert_eq!(attribute(guards[2], "agent_os.rule.id").unwrap(), "no-pay");
    assert_eq!(guards[2].status, Status::Unset, "a denial is what a guardrail is for");
    assert_eq!(attribute(agent, "error.type").unwrap(), "SIGKILL");
    let event = agent.events.iter().find(|event| event.name == "agent_os.signal").unwrap();
    let signal = event.attributes.iter().find(|one| one.key.as_str() == "agent_os.signal").unwrap();
    assert_eq!(signal.value.as_str(), "SIGKILL");
}

#[test]
fn a_trace_goes_on_from_the_caller_and_out_to_the_next() {
    let kernel = kernel();
    let caller: TraceParent = CALLER.parse().unwrap();
    let mut sent = None;
    let spans = exported(async {
        let request = tracing::info_span!("request");
        assert!(otel::continue_from(&request, &caller));
        sent = otel::traceparent(&request);
        work(&kernel).instrument(request).await;
    });
    let sent = sent.unwrap();
    assert!(sent.is_sampled());
    assert_eq!(sent.trace_id(), caller.trace_id());
    let request = named(&spans, "request");
    assert!(request.parent_span_is_remote);
    assert_eq!(request.parent_span_id.to_bytes(), caller.span_id());
    assert_eq!(request.span_context.span_id().to_bytes(), sent.span_id());
    for span in &spans {
        assert_eq!(span.span_context.trace_id().to_bytes(), caller.trace_id(), "{}", span.name);
    }
    assert_eq!(named(&spans, "invoke_agent clerk").parent_span_id.to_bytes(), sent.span_id());
}

#[test]
fn without_the_layer_there_is_no_trace_to_go_on() {
    let span = tracing::info_span!("request");
    assert!(!otel::continue_from(&span, &CALLER.parse().unwrap()));
    assert_eq!(otel::traceparent(&span), None);
}
