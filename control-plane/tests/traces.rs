//! The names and fields of spans and events are a contract: dashboards and sampling rules rest on them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{Debug, Write as _};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use agent_control_plane::atr::{Registry, ToolError};
use agent_control_plane::budget::Budget;
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::kernel::{ExitStatus, JudgeContext, OnAsk, Programs};
use agent_control_plane::observe::{TARGET, event, field, span};
use agent_control_plane::primitives::{Resource, Scope, Signal};
use agent_control_plane::recorder::Redaction;
use agent_control_plane::{AgentHandle, AgentSpec, Approvals, CallError, FlightRecorder, Kernel, Policy};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument as _, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry as Spans};

/// Stands in every argument, answer and reason of these tests, and may stand in no span.
const CONTENT: &str = "do-not-show";

/// A span or event as it was told.
#[derive(Debug)]
struct Told {
    name: String,
    target: String,
    level: String,
    parent: Option<usize>,
    is_span: bool,
    fields: BTreeMap<&'static str, String>,
}

#[derive(Debug, Default)]
struct Heard {
    told: Vec<Told>,
    /// The places of the spans that are open.
    open: HashMap<u64, usize>,
}

/// Keeps all that it is told.
#[derive(Clone, Debug, Default)]
struct Ear(Arc<Mutex<Heard>>);

struct Into<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Ear {
    fn add(
        &self,
        of: &'static Metadata<'static>,
        parent: Option<Id>,
        record: impl Fn(&mut Into<'_>),
    ) -> usize {
        let mut heard = self.0.lock().unwrap();
        let parent = parent.map(|parent| heard.open[&parent.into_u64()]);
        let mut fields = BTreeMap::new();
        record(&mut Into(&mut fields));
        let (name, target) = (of.name().to_owned(), of.target().to_owned());
        heard.told.push(Told {
            name,
            target,
            level: of.level().to_string(),
            parent,
            is_span: of.is_span(),
            fields,
        });
        heard.told.len() - 1
    }

    /// Everything that was told, what lies in a span indented below it.
    fn text(&self) -> String {
        let heard = self.0.lock().unwrap();
        let mut text = String::new();
        heard.write(&mut text, None, 0);
        text
    }
}

impl Heard {
    fn write(&self, text: &mut String, parent: Option<usize>, depth: usize) {
        for (at, told) in self.told.iter().enumerate().filter(|(_, told)| told.parent == parent) {
            let indent = "  ".repeat(depth);
            let kind = if told.is_span { "span" } else { "event" };
            writeln!(text, "{indent}{kind} {} {} {}", told.level, told.target, told.name).unwrap();
            for (name, value) in &told.fields {
                // Whatever is added to the language of policies changes it.
                let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
                let value = if *name == field::POLICY_VERSION && is_digest { "<a digest>" } else { value };
                writeln!(text, "{indent}    {name} = {value}").unwrap();
            }
            self.write(text, Some(at), depth + 1);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Ear {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).unwrap().parent().map(|parent| parent.id());
        let at = self.add(attributes.metadata(), parent, |into| attributes.record(into));
        self.0.lock().unwrap().open.insert(id.into_u64(), at);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut heard = self.0.lock().unwrap();
        let at = heard.open[&id.into_u64()];
        values.record(&mut Into(&mut heard.told[at].fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let parent = context.event_span(event).map(|parent| parent.id());
        self.add(event.metadata(), parent, |into| event.record(into));
    }
}

/// What is told while `scene` runs.
fn heard(scene: impl Future<Output = ()>) -> Ear {
    let ear = Ear::default();
    tracing::subscriber::with_default(Spans::default().with(ear.clone()), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(scene);
    });
    ear
}

const POLICY: &str = "version: 1
name: traces
rules:
  - {id: tools, effect: allow, calls: [exec], tools: [greet, fail, hang, secret]}
  - {id: ask-first, effect: ask, calls: [exec], tools: [sign, kernel.spawn]}
  - {id: no-pay, effect: deny, on_violation: deny, calls: [exec], tools: [pay]}
";

fn tools() -> Registry {
    let mut tools = Registry::builder();
    let any = || json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let mut add = |name: &str, answer: Result<(), ()>, hangs: bool| {
        let run = move |_context, _arguments| async move {
            let inside = tracing::info_span!(target: "host", "inside_the_tool");
            drop(inside);
            if hangs {
                std::future::pending::<()>().await;
            }
            answer.map(|()| json!(CONTENT)).map_err(|()| ToolError::failed(CONTENT))
        };
        tools.tool(name).description("A test tool").run_raw(any(), run).unwrap();
    };
    add("greet", Ok(()), false);
    add("secret", Ok(()), false);
    add("pay", Ok(()), false);
    add("sign", Ok(()), false);
    add("fail", Err(()), false);
    add("hang", Ok(()), true);
    tools.build()
}

fn kernel() -> Kernel {
    let redaction = Redaction::new().argument("secret", "").unwrap();
    let recorder = FlightRecorder::memory().unwrap().redacting(redaction);
    let policy = Policy::from_yaml("traces.yaml", POLICY).unwrap();
    let programs = Programs::new(|task| drop(tokio::spawn(task)))
        .program("sleep", |_: AgentHandle, _| std::future::pending::<i32>());
    let builder = Kernel::builder().policy(policy).tools(tools()).recorder(recorder);
    builder.approvals(Approvals::new()).programs(programs).build().unwrap()
}

/// One of each: calls that are allowed, denied, denied again, failing, given up, killed; agents that are started, not
/// started, killed, stopped by a budget; a redacted tool, a child that a human agreed to, a call judged for another host.
async fn scene() {
    let kernel = kernel();
    let content = || json!({"text": CONTENT});
    let program = async |agent: AgentHandle| {
        agent.exec("greet", content()).await.unwrap();
        agent.exec("secret", content()).await.unwrap();
        agent.exec("pay", content()).await.unwrap_err();
        agent.exec("pay", content()).await.unwrap_err();
        agent.exec("fail", content()).await.unwrap_err();
        let mut given_up = Box::pin(agent.exec("hang", content()));
        poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_pending())).await;
        drop(given_up);
        0
    };
    let status = kernel.run(AgentSpec::new("clerk"), program).await.unwrap();
    assert!(matches!(status, ExitStatus::Exited { code: 0, .. }));

    let idle = kernel.spawn(AgentSpec::new("idle")).unwrap();
    kernel.spawn(AgentSpec::new("idle")).unwrap_err();
    kernel.spawn(AgentSpec::new(format!("no name: {CONTENT}"))).unwrap_err();
    kernel.signal(idle.id(), Signal::Kill, CONTENT).unwrap();

    let hangs = async |agent: AgentHandle| {
        agent.exec("hang", content()).await.unwrap_err();
        0
    };
    let id = "hung".parse().unwrap();
    let (status, _) = tokio::join!(kernel.run(AgentSpec::new("hung"), hangs), async {
        kernel.signal(&id, Signal::Kill, CONTENT).unwrap();
    });
    assert!(matches!(status.unwrap(), ExitStatus::Signaled { signal: Signal::Kill, .. }));

    // One that asks a human, and has a child then.
    let parent = kernel.spawn(AgentSpec::new("parent").on_ask(OnAsk::Return)).unwrap();
    let child = || json!({"name": "child", "program": "sleep", "input": {"text": CONTENT}});
    let ticket = match parent.exec("kernel.spawn", child()).await.unwrap_err() {
        CallError::Held { ticket, .. } => ticket,
        other => panic!("{other}"),
    };
    kernel.approve(ticket, &"ann".parse().unwrap(), Scope::Once).unwrap();
    parent.exec("kernel.spawn", child()).await.unwrap();
    kernel.signal(parent.id(), Signal::Kill, CONTENT).unwrap();

    // One that runs elsewhere.
    let arguments = RawArguments::Value(content());
    let call = Syscall::Exec { tool: "pay".to_owned(), arguments, deadline: None };
    kernel.judge(call, &JudgeContext::new("remote")).await.unwrap();

    let budget = Budget::new().limit(Resource::Calls, 1);
    let spender = kernel.spawn(AgentSpec::new("spender").task_budget(budget)).unwrap();
    spender.exec("greet", content()).await.unwrap();
    let left = async |agent: AgentHandle| agent.exit(3, CONTENT).await.map_or(1, |()| 0);
    kernel.run(AgentSpec::new("bad"), left).await.unwrap();
    kernel.run(AgentSpec::new("crash"), async |_| panic!("{CONTENT}")).await.unwrap();
}

#[test]
fn spans_are_as_the_snapshot_has_them_and_tell_nothing_of_contents() {
    let ear = heard(async { scene().instrument(tracing::info_span!(target: "host", "request")).await });
    let told = ear.text();
    assert!(!told.contains(CONTENT), "{told}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/traces.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &told).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert!(expected == told, "the spans differ from `testdata/traces.txt`:\n{told}");
}

#[test]
fn the_contract_names_all_there_is_and_the_page_names_the_same() {
    let ear = heard(scene());
    let heard = ear.0.lock().unwrap();
    let ours = || heard.told.iter().filter(|told| told.target == TARGET);
    let names = |spans| ours().filter(|told| told.is_span == spans).map(|told| &*told.name).collect();
    let (spans, events): (BTreeSet<&str>, BTreeSet<&str>) = (names(true), names(false));
    assert_eq!(spans, BTreeSet::from(span::ALL));
    assert_eq!(events, BTreeSet::from(event::ALL));
    let fields: BTreeSet<&str> = ours().flat_map(|told| told.fields.keys().copied()).collect();
    let mut contract = BTreeSet::from(field::ALL);
    contract.extend([field::OTEL_NAME, field::OTEL_STATUS]);
    assert_eq!(fields, contract);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/traces.md")).unwrap();
    let documented: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let all = spans.iter().chain(&events).chain(&contract).copied().collect();
    assert_eq!(documented, all);
}
