//! The pipeline of a call: its order, its limits, who is asked, and what stays on record.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::panic, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_primitives::resource::Currency;
use agent_primitives::ticket::{Principal, TicketError};
use agent_primitives::{AgentId, Clock, ManualClock, Rate, Resource, TicketId, Timer};
use agent_tool_registry::invoke::{
    Decision, DenyReason, Durability, JsonlAudit, Retry, StageEvent, Stale, Trace,
};
use agent_tool_registry::{
    AccessRule, AccessRules, Answer, ApprovalError, Approvals, Call, CallChain, CallContext, Caller, Command,
    Invoker, Level, Limits, MemoryAudit, OnBehalf, Quotas, Registry, RegistryError, SandboxPolicy, Secret,
    Stage, TokioTimer, ToolError,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const USD: Resource = Resource::Money(Currency::USD);

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn any_object() -> Value {
    json!({"type": "object", "additionalProperties": true})
}

fn real() -> Arc<dyn Timer> {
    Arc::new(TokioTimer::new())
}

fn all() -> AccessRules {
    AccessRules::new().with(AccessRule::allow("*"))
}

type Running = Pin<Box<dyn Future<Output = Result<Answer, ToolError>>>>;

fn poll(call: &mut Running) -> Poll<Result<Answer, ToolError>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// A tool that counts its runs and answers, or never does.
fn counted(hangs: bool) -> (Registry, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut tools = Registry::builder();
    let count = Arc::clone(&runs);
    let run = move |_: CallContext, _: Value| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            if hangs {
                pending::<()>().await;
            }
            Ok(Value::Null)
        }
    };
    tools.tool("t").description("Counts its runs.").run_raw(any_object(), run).unwrap();
    (tools.build(), runs)
}

#[derive(Clone, Debug, Default)]
struct Watched(Arc<Mutex<Vec<StageEvent>>>);

impl Trace for Watched {
    fn stage(&self, event: StageEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// One way for a call to fail, and the stage at which it does.
const FAILURES: [(Stage, &str); 14] = [
    (Stage::Resolve, "AK0510"),
    (Stage::Resolve, "AK0567"),
    (Stage::State, "AK0550"),
    (Stage::Authorize, "AK0556"),
    (Stage::Parse, "AK0511"),
    (Stage::Validate, "AK0515"),
    (Stage::Quota, "AK0559"),
    (Stage::Quota, "AK0560"),
    (Stage::Approval, "AK0557"),
    (Stage::Inject, "AK0566"),
    (Stage::Isolate, "AK0533"),
    (Stage::Run, "AK0523"),
    (Stage::Cap, "AK0524"),
    (Stage::ValidateOutput, "AK0525"),
];

/// Makes a call with these things wrong with it.
fn call_with(wrong: &[bool; 14]) -> (Result<Answer, ToolError>, Vec<StageEvent>, bool) {
    let on = |code: &str| FAILURES.iter().zip(wrong).any(|((_, known), wrong)| *known == code && *wrong);
    let ran = Arc::new(AtomicUsize::new(0));
    let mut tools = Registry::builder();
    let mut tool = tools
        .tool("t")
        .description("Test.")
        .cost(USD, 5)
        .limits(Limits { output_bytes: 64, ..Limits::DEFAULT })
        .output_schema(json!({"type": "string"}));
    if on("AK0550") {
        tool = tool.proposed();
    }
    if on("AK0533") {
        tool = tool.isolation(SandboxPolicy::at_least(Level::Container));
        tool.command(json!({"type": "object"}), Command::new("/bin/true")).unwrap();
    } else {
        let (fails, long, lies) = (on("AK0523"), on("AK0524"), on("AK0525"));
        let count = Arc::clone(&ran);
        let answer = move |_: CallContext, _: Value| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                match () {
                    () if fails => Err(ToolError::failed("no")),
                    () if long => Ok(json!("x".repeat(100))),
                    () if lies => Ok(json!(1)),
                    () => Ok(json!("fine")),
                }
            }
        };
        tool.secrets(["key"]).run_raw(json!({"type": "object"}), answer).unwrap();
    }
    let mut quotas = Quotas::none().per_principal("1/hour".parse().unwrap());
    quotas = quotas.budget(agent("a"), USD, if on("AK0560") { 4 } else { 100 });
    let mut rules = AccessRules::new().with(AccessRule::allow("spend"));
    if on("AK0557") {
        rules = rules.with(AccessRule::ask("t"));
    } else if !on("AK0556") {
        rules = rules.with(AccessRule::allow("t"));
    }
    if on("AK0556") {
        rules = rules.with(AccessRule::forbid("t"));
    }
    let (watched, timer) = (Watched::default(), Arc::new(ManualClock::default()));
    let mut builder = Invoker::builder(tools.build(), timer, MemoryAudit::new(4)).authorizer(rules);
    if !on("AK0566") {
        builder = builder.secrets(BTreeMap::from([("key".to_owned(), Secret::new("long enough").unwrap())]));
    }
    let invoker = builder.quotas(quotas).trace(watched.clone()).build();
    let arguments: &[u8] = match () {
        () if on("AK0511") => b"{",
        () if on("AK0515") => b"{\"unknown\": 1}",
        () => b"{}",
    };
    let name = match () {
        () if on("AK0510") => "u",
        () if on("AK0567") => "no name",
        () => "t",
    };
    if on("AK0559") && !on("AK0560") {
        // Uses up the rate; what it does otherwise is of no interest.
        let _ = block_on(invoker.invoke(agent("a"), "t", b"{}"));
        watched.0.lock().unwrap().clear();
        ran.store(0, Ordering::Relaxed);
    }
    let answer = block_on(invoker.invoke(agent("a"), name, arguments));
    let events = watched.0.lock().unwrap().clone();
    (answer, events, ran.load(Ordering::Relaxed) != 0)
}

fn stages(events: &[StageEvent]) -> Vec<Stage> {
    events.iter().map(|event| event.stage).collect()
}

#[test]
fn a_call_that_succeeds_goes_through_every_stage_once() {
    let (answer, events, ran) = call_with(&[false; 14]);
    assert!(answer.is_ok() && ran);
    assert_eq!(stages(&events), Stage::ALL);
    assert!(events.iter().all(|event| event.error.is_none()));
}

#[test]
fn each_failure_ends_the_call_at_its_stage() {
    for (index, (stage, code)) in FAILURES.into_iter().enumerate() {
        let mut wrong = [false; 14];
        wrong[index] = true;
        let (answer, events, ran) = call_with(&wrong);
        assert_eq!(answer.unwrap_err().code(), code);
        let failed = events.iter().find(|event| event.error.is_some()).unwrap();
        assert_eq!((failed.stage, failed.error), (stage, Some(code)));
        assert_eq!(ran, Stage::Run <= stage, "{code}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn stages_are_gone_through_in_order_and_none_after_one_that_failed(wrong: [bool; 14]) {
        let (answer, events, ran) = call_with(&wrong);
        let came_to = events.iter().position(|event| event.error.is_some());
        prop_assert_eq!(answer.is_err(), came_to.is_some());
        let mut expected = Stage::ALL.to_vec();
        if let Some(failed) = came_to {
            expected.truncate(failed + 1);
            expected.push(Stage::Settle);
            prop_assert_eq!(events[failed].error, answer.as_ref().err().map(ToolError::code));
        }
        prop_assert_eq!(stages(&events), expected);
        let reached_run = events.iter().any(|event| event.stage == Stage::Run);
        prop_assert_eq!(ran, reached_run);
    }

    #[test]
    fn no_window_of_time_lets_more_calls_through_than_the_rate(
        burst in 1u32..5,
        limiters in 1usize..4,
        steps in prop::collection::vec((0u64..2000, 0usize..6), 1..80),
    ) {
        let (tools, _) = counted(false);
        let clock = ManualClock::default();
        let rate = Rate::new(1, agent_primitives::Period::Second).unwrap().with_burst(burst).unwrap();
        let invoker = Invoker::builder(tools, Arc::new(clock.clone()), MemoryAudit::new(1))
            .authorizer(all())
            .quotas(Quotas::none().per_tool(rate).limiters(limiters))
            .build();
        let mut admitted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (wait, who) in steps {
            clock.advance(Duration::from_millis(wait));
            if block_on(invoker.invoke(agent(&format!("a{who}")), "t", b"{}")).is_ok() {
                admitted.entry(who).or_default().push(clock.monotonic().as_nanos() / 1_000_000);
            }
        }
        for times in admitted.values() {
            for (first, from) in times.iter().enumerate() {
                for (last, to) in times.iter().enumerate().skip(first) {
                    let calls = (last - first + 1) as u64;
                    prop_assert!(calls <= u64::from(burst) + (to - from) / 1000);
                }
            }
        }
    }

    #[test]
    fn the_order_of_rules_means_nothing_and_what_is_forbidden_stays_so(
        rules in prop::collection::vec((0u8..3, 0u8..3, 0u8..3, 0u8..3), 0..8),
        rotate in 0usize..8,
    ) {
        let rule = |(says, tools, role, kind): &(u8, u8, u8, u8)| {
            let tools = ["t", "t*", "u"][usize::from(*tools)];
            let mut rule = match says {
                0 => AccessRule::allow(tools),
                1 => AccessRule::ask(tools),
                _ => AccessRule::forbid(tools),
            };
            match role {
                0 => {}
                1 => rule = rule.roles(["r"]),
                _ => rule = rule.roles(Vec::<String>::new()),
            }
            if *kind == 1 {
                rule = rule.kinds(["k"]);
            }
            rule
        };
        let caller = Caller::new(agent("a")).with_role("r");
        let judge = |rules: &[(u8, u8, u8, u8)]| {
            rules.iter().map(rule).collect::<AccessRules>().judge(&caller, "t")
        };
        let before = judge(&rules);
        let mut turned = rules.clone();
        turned.rotate_left(rotate % rules.len().max(1));
        prop_assert_eq!(&judge(&turned), &before);
        let applies = |(_, tools, role, kind): &(u8, u8, u8, u8)| *tools < 2 && *role < 2 && *kind != 1;
        let expected = match rules.iter().filter(|rule| applies(rule)).map(|rule| rule.0).max() {
            Some(0) => Decision::Allow,
            Some(1) => Decision::Ask,
            Some(_) => Decision::Deny(DenyReason::Forbidden),
            None => Decision::Deny(DenyReason::NotAllowed),
        };
        prop_assert_eq!(before, expected);
    }
}

#[test]
fn a_call_is_allowed_only_if_every_principal_of_the_chain_is() {
    let rules = AccessRules::new().with(AccessRule::allow("t").principals(["root", "deputy"]));
    let chain = |names: &[&str]| {
        let mut chain = CallChain::from(agent(names[0]));
        for name in &names[1..] {
            chain = chain.then(Caller::new(agent(name))).unwrap();
        }
        chain
    };
    for (names, allowed) in [
        (&["root"][..], true),
        (&["root", "deputy"], true),
        (&["guest"], false),
        (&["guest", "deputy"], false),
        (&["deputy", "guest"], false),
    ] {
        let (tools, runs) = counted(false);
        let invoker = Invoker::builder(tools, real(), MemoryAudit::new(1)).authorizer(rules.clone()).build();
        assert_eq!(block_on(invoker.invoke(chain(names), "t", b"{}")).is_ok(), allowed, "{names:?}");
        assert_eq!(runs.load(Ordering::Relaxed), usize::from(allowed));
    }
}

/// `outer` calls `inner` for its caller, and hands its handle out.
fn nested(kept: Arc<Mutex<Option<OnBehalf>>>) -> Registry {
    let mut tools = Registry::builder();
    let outer = move |cx: CallContext, _: Value| {
        let kept = Arc::clone(&kept);
        async move {
            let caller = cx.invoker()?;
            *kept.lock().unwrap() = Some(caller.clone());
            Ok(caller.invoke("inner", b"{}").await?.output.into_value())
        }
    };
    tools.tool("outer").description("Calls another.").run_raw(any_object(), outer).unwrap();
    let inner = |_: CallContext, _: Value| async { Ok(json!("done")) };
    tools.tool("inner").description("Is called.").run_raw(any_object(), inner).unwrap();
    tools.build()
}

#[test]
fn a_tool_can_do_no_more_than_its_caller() {
    for (allowed, rules) in [
        (true, AccessRules::new().with(AccessRule::allow("*").principals(["a"]))),
        (false, AccessRules::new().with(AccessRule::allow("outer").principals(["a"]))),
    ] {
        let (audit, kept) = (MemoryAudit::new(4), Arc::default());
        let invoker = Invoker::builder(nested(kept), real(), audit.clone()).authorizer(rules).build();
        let answer = block_on(invoker.invoke(agent("a"), "outer", b"{}"));
        assert_eq!(answer.is_ok(), allowed);
        let records = audit.records();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].tool, "inner");
        assert_eq!(records[0].parent, Some(records[1].call));
        assert_eq!(records[0].error, (!allowed).then_some("AK0556"));
    }
}

#[test]
fn a_handle_that_outlives_its_call_calls_nothing() {
    let kept = Arc::default();
    let invoker = Invoker::permissive(nested(Arc::clone(&kept)), real(), MemoryAudit::new(4));
    block_on(invoker.invoke(agent("a"), "outer", b"{}")).unwrap();
    let handle = kept.lock().unwrap().take().unwrap();
    assert!(matches!(block_on(handle.invoke("inner", b"{}")), Err(ToolError::Cancelled)));
}

#[test]
fn tools_call_tools_eight_deep_and_no_deeper() {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let mut tools = Registry::builder();
    let again = move |cx: CallContext, _: Value| {
        count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(cx.invoker()?.invoke("t", b"{}").await?.output.into_value()) }
    };
    tools.tool("t").description("Calls itself.").run_raw(any_object(), again).unwrap();
    let audit = MemoryAudit::new(16);
    let invoker = Invoker::permissive(tools.build(), real(), audit.clone());
    assert!(block_on(invoker.invoke(agent("a"), "t", b"{}")).is_err());
    assert_eq!(runs.load(Ordering::Relaxed), 8);
    assert_eq!(audit.records()[0].error, Some("AK0562"));
}

#[test]
fn the_ninth_call_at_once_is_refused_and_an_ended_one_makes_room() {
    let (tools, _) = counted(true);
    let clock = Arc::new(ManualClock::default());
    let invoker = Invoker::permissive(tools, clock, MemoryAudit::new(1));
    let start = |name: &str| -> Running { Box::pin(invoker.invoke(agent(name), "t", b"{}")) };
    let mut calls: Vec<Running> = (0..8).map(|_| start("a")).collect();
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    assert!(matches!(poll(&mut start("a")), Poll::Ready(Err(ToolError::ConcurrencyLimit { limit: 8, .. }))));
    assert!(poll(&mut start("b")).is_pending());
    drop(calls.pop());
    assert!(poll(&mut start("a")).is_pending());
}

#[test]
fn a_budget_is_reserved_and_settled_and_what_did_not_run_is_given_back() {
    let mut tools = Registry::builder();
    let spend = |cx: CallContext, arguments: Value| async move {
        if let Some(spent) = arguments["spends"].as_u64() {
            cx.spend(USD, spent).map_err(ToolError::failed)?;
        }
        if arguments["fails"] == json!(true) { Err(ToolError::failed("no")) } else { Ok(()) }
    };
    tools
        .tool("t")
        .description("Costs.")
        .cost(USD, 40)
        .secrets(["key"])
        .run_raw(any_object(), spend)
        .unwrap();
    let tools = tools.build();
    let invoker = |with_secret: bool, limit| {
        let mut builder = Invoker::builder(tools.clone(), real(), MemoryAudit::new(1)).authorizer(all());
        if with_secret {
            builder =
                builder.secrets(BTreeMap::from([("key".to_owned(), Secret::new("long enough").unwrap())]));
        }
        builder.quotas(Quotas::none().budget(agent("a"), USD, limit)).build()
    };
    let cases: [(&str, u64); 4] = [
        ("{}", 40),
        (r#"{"spends": 7}"#, 7),
        (r#"{"spends": 7, "fails": true}"#, 7),
        (r#"{"spends": 99}"#, 99),
    ];
    for (arguments, charged) in cases {
        let invoker = invoker(true, 100);
        let _ = block_on(invoker.invoke(agent("a"), "t", arguments.as_bytes()));
        assert_eq!(invoker.charged(&agent("a"), USD), charged, "{arguments}");
        let again = block_on(invoker.invoke(agent("a"), "t", b"{}"));
        assert_eq!(again.is_ok(), charged <= 60, "{arguments}");
        assert!(charged <= 60 || matches!(again, Err(ToolError::BudgetExceeded { resource: USD, .. })));
    }
    let without = invoker(false, 40);
    for _ in 0..3 {
        let refused = block_on(without.invoke(agent("a"), "t", b"{}"));
        assert!(matches!(refused, Err(ToolError::SecretUnavailable { .. })));
    }
    assert_eq!(without.charged(&agent("a"), USD), 0);
}

struct Asked {
    invoker: Invoker,
    approvals: Approvals,
    clock: ManualClock,
    runs: Arc<AtomicUsize>,
}

impl Asked {
    fn new() -> Self {
        let (tools, runs) = counted(false);
        let clock = ManualClock::default();
        let approvals = Approvals::new(Arc::new(clock.clone()));
        let invoker = Invoker::builder(tools, Arc::new(clock.clone()), MemoryAudit::new(8))
            .authorizer(AccessRules::new().with(AccessRule::ask("t")))
            .approvals(approvals.clone())
            .build();
        Self { invoker, approvals, clock, runs }
    }

    fn call(&self, who: &str, arguments: &str, ticket: Option<TicketId>) -> Result<Answer, ToolError> {
        let mut call = Call::new("t", arguments.as_bytes());
        if let Some(ticket) = ticket {
            call = call.with_ticket(ticket);
        }
        block_on(self.invoker.on_behalf_of(agent(who)).send(call))
    }

    fn ticket(&self) -> TicketId {
        match self.call("a", "{\"x\": 1}", None) {
            Err(ToolError::ApprovalRequired { ticket: Some(ticket), .. }) => ticket,
            other => panic!("{other:?}"),
        }
    }
}

fn human() -> Principal {
    "ada".parse().unwrap()
}

#[test]
fn a_consent_is_good_for_one_exact_call_once() {
    let asked = Asked::new();
    let ticket = asked.ticket();
    assert_eq!(asked.ticket(), ticket, "the same call waits for the same consent");
    let waiting = asked.approvals.awaiting();
    assert_eq!((waiting.len(), waiting[0].arguments.canonical()), (1, &br#"{"x":1}"#[..]));
    assert!(matches!(
        asked.call("a", "{\"x\": 1}", Some(ticket)),
        Err(ToolError::ApprovalRequired { ticket: Some(same), .. }) if same == ticket
    ));
    asked.approvals.approve(ticket, human()).unwrap();
    for (who, arguments) in [("a", "{\"x\": 2}"), ("a", "{}"), ("b", "{\"x\": 1}")] {
        let error = asked.call(who, arguments, Some(ticket)).unwrap_err();
        assert!(matches!(error, ToolError::ApprovalStale { reason: Stale::OtherCall, .. }));
        assert!(!error.is_violation());
    }
    assert_eq!(asked.runs.load(Ordering::Relaxed), 0);
    asked.call("a", " {\"x\":1.0} ", Some(ticket)).unwrap();
    let replay = asked.call("a", "{\"x\": 1}", Some(ticket)).unwrap_err();
    assert!(matches!(replay, ToolError::ApprovalStale { reason: Stale::Used, .. }));
    assert!(replay.is_violation());
    assert_eq!(asked.runs.load(Ordering::Relaxed), 1);
}

#[test]
fn a_consent_ends_with_time_and_with_a_no() {
    let asked = Asked::new();
    let ticket = asked.ticket();
    asked.approvals.approve(ticket, human()).unwrap();
    asked.clock.advance(Duration::from_secs(300));
    let error = asked.call("a", "{\"x\": 1}", Some(ticket)).unwrap_err();
    assert!(matches!(error, ToolError::ApprovalStale { reason: Stale::Expired, .. }));
    let second = asked.ticket();
    assert_ne!(second, ticket);
    asked.approvals.refuse(second, &human()).unwrap();
    let error = asked.call("a", "{\"x\": 1}", Some(second)).unwrap_err();
    assert!(matches!(error, ToolError::ApprovalStale { reason: Stale::Refused, .. }));
    let error = asked.call("a", "{\"x\": 1}", Some(TicketId::from_bytes([7; 16]))).unwrap_err();
    assert!(matches!(error, ToolError::ApprovalStale { reason: Stale::Unknown, .. }));
}

#[test]
fn nobody_agrees_to_a_call_of_their_own() {
    let asked = Asked::new();
    let ticket = asked.ticket();
    let own = asked.approvals.approve(ticket, "a".parse().unwrap());
    assert_eq!(own, Err(ApprovalError::Ticket(TicketError::OwnRequest)));
    let unknown = asked.approvals.approve(TicketId::from_bytes([7; 16]), human());
    assert_eq!(unknown, Err(ApprovalError::Unknown));
}

#[test]
fn consent_is_asked_for_a_thousand_calls_and_no_more() {
    let asked = Asked::new();
    for number in 0..1024 {
        let who = format!("a{}", number / 128);
        let arguments = format!("{{\"x\": {number}}}");
        let error = asked.call(&who, &arguments, None).unwrap_err();
        assert!(matches!(error, ToolError::ApprovalRequired { ticket: Some(_), .. }));
        if number == 127 {
            let error = asked.call(&who, "{}", None).unwrap_err();
            assert!(matches!(error, ToolError::RateLimited { .. }), "the room of others is theirs");
        }
    }
    let error = asked.call("b", "{}", None).unwrap_err();
    assert!(
        matches!(error, ToolError::RateLimited { retry_after, .. } if retry_after == Duration::from_secs(300))
    );
}

#[test]
fn a_call_that_nobody_waits_for_is_on_record_and_charged() {
    let (tools, _) = counted(true);
    let audit = MemoryAudit::new(4);
    let invoker = Invoker::permissive(tools, Arc::new(ManualClock::default()), audit.clone());
    let mut call: Running = Box::pin(invoker.invoke(agent("a"), "t", b"{}"));
    assert!(poll(&mut call).is_pending());
    assert!(audit.records().is_empty());
    drop(call);
    let records = audit.records();
    assert_eq!((records[0].error, records[0].failed_at), (Some("AK0521"), Some(Stage::Run)));
}

#[test]
fn records_are_written_one_a_line_before_the_answer() {
    for durability in [Durability::Written, Durability::Synced] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let (tools, _) = counted(false);
        let invoker = Invoker::permissive(tools, real(), JsonlAudit::open(&path, durability).unwrap());
        for calls in 1..=3 {
            block_on(invoker.invoke(agent("a"), "t", b"{\"x\": 1}")).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(records.len(), calls);
            assert_eq!(records[calls - 1]["tool"], "t");
            assert_eq!(records[calls - 1]["authorizer"], "permissive");
            assert_eq!(records[calls - 1]["decision"], "allow");
        }
    }
}

#[test]
fn a_record_that_the_disk_does_not_take_withholds_the_result() {
    let (tools, _) = counted(false);
    let full = JsonlAudit::open(std::path::Path::new("/dev/full"), Durability::Written).unwrap();
    let invoker = Invoker::permissive(tools, real(), full);
    for _ in 0..2 {
        let answer = block_on(invoker.invoke(agent("a"), "t", b"{}"));
        assert!(matches!(answer, Err(ToolError::AuditFailed { .. })));
    }
}

#[test]
fn a_record_says_where_a_program_ran_and_how_it_ended() {
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Fails.")
        .isolation(SandboxPolicy::at_least(Level::Child))
        .command(any_object(), Command::new("/bin/sh").arg("-c").arg("echo oh >&2; exit 3"))
        .unwrap();
    let audit = MemoryAudit::new(1);
    let invoker = Invoker::permissive(tools.build(), real(), audit.clone());
    assert!(block_on(invoker.invoke(agent("a"), "t", b"{}")).is_err());
    let record = audit.records().remove(0);
    assert_eq!((record.level, record.exit_code), (Some(Level::Child), Some(3)));
    assert_eq!(record.detail.as_deref(), Some("oh "));
}

#[test]
fn an_idempotent_tool_is_tried_again_within_its_deadline_and_on_its_clock() {
    for (deadline, runs) in [(30, 3), (0, 1)] {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        let mut tools = Registry::builder();
        tools
            .tool("t")
            .description("Is not there.")
            .idempotent(true)
            .limits(Limits { deadline: Duration::from_millis(deadline * 1000 + 1), ..Limits::DEFAULT })
            .run_raw(any_object(), move |_: CallContext, _: Value| {
                counting.fetch_add(1, Ordering::Relaxed);
                async { Err::<(), _>(ToolError::transient("not there")) }
            })
            .unwrap();
        let clock = ManualClock::default();
        let invoker = Invoker::builder(tools.build(), Arc::new(clock.clone()), MemoryAudit::new(1))
            .authorizer(all())
            .ids(agent_primitives::SeededIds::new(7))
            .build();
        let mut call: Running = Box::pin(invoker.invoke(agent("a"), "t", b"{}"));
        let mut waited = Duration::ZERO;
        let answer = loop {
            match poll(&mut call) {
                Poll::Ready(answer) => break answer,
                Poll::Pending => {
                    clock.advance(Duration::from_millis(1));
                    waited += Duration::from_millis(1);
                }
            }
        };
        assert!(answer.is_err());
        assert_eq!(count.load(Ordering::Relaxed), runs);
        assert!(waited <= Duration::from_millis(600), "{waited:?}");
    }
}

#[test]
fn why_a_program_could_not_be_run_is_on_record_and_told_to_the_host_only() {
    let mut tools = Registry::builder();
    let tool = tools.tool("t").description("Is not there.").isolation(SandboxPolicy::at_least(Level::Child));
    tool.command(any_object(), Command::new("/no/such/program")).unwrap();
    let audit = MemoryAudit::new(1);
    let invoker = Invoker::permissive(tools.build(), real(), audit.clone());
    let error = block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("AK0530", "the tool's process could not be run"));
    assert!(error.host_detail().unwrap().contains("No such file"), "{error:?}");
    assert_eq!(audit.records()[0].detail.as_deref(), error.host_detail().as_deref());
}

#[test]
fn a_tool_whose_executor_keeps_failing_is_left_alone_and_then_tried() {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let mut tools = Registry::builder();
    tools
        .tool("t")
        .description("Panics at first, and complains later.")
        .run_raw(any_object(), move |_: CallContext, _: Value| {
            let runs = counting.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(5 <= runs, "not yet");
                Err::<(), _>(ToolError::failed("no"))
            }
        })
        .unwrap();
    let clock = ManualClock::default();
    let invoker = Invoker::builder(tools.build(), Arc::new(clock.clone()), MemoryAudit::new(1))
        .authorizer(all())
        .retry(Retry::never())
        .build();
    let call = || block_on(invoker.invoke(agent("a"), "t", b"{}")).unwrap_err();
    for _ in 0..5 {
        assert!(matches!(call(), ToolError::Panicked { .. }));
    }
    assert!(
        matches!(call(), ToolError::CircuitOpen { retry_after, .. } if retry_after == Duration::from_secs(30))
    );
    assert_eq!(count.load(Ordering::Relaxed), 5);
    clock.advance(Duration::from_secs(30));
    // What a tool answers of itself is no failure of what runs it.
    for _ in 0..10 {
        assert!(matches!(call(), ToolError::Failed { .. }));
    }
}

#[test]
fn a_deprecated_version_is_called_when_it_is_asked_for_and_says_so() {
    let mut tools = Registry::builder();
    for version in ["1.0.0", "2.0.0"] {
        let run = move |_: CallContext, _: Value| async move { Ok(version) };
        tools.tool("t").description("T.").version(version).run_raw(any_object(), run).unwrap();
    }
    let tools = tools.build();
    let old = tools.find(&"t".parse().unwrap(), &"=1.0.0".parse().unwrap()).unwrap();
    tools.deprecate(old.contract().id(), old.contract().digest(), "use 2", "ada").unwrap();
    let caller = Invoker::permissive(tools, real(), MemoryAudit::new(1)).on_behalf_of(agent("a"));
    for (wanted, version, warning) in [("*", "2.0.0", None), ("^1", "1.0.0", Some("use 2"))] {
        let answer =
            block_on(caller.send(Call::new("t", b"{}").with_version(wanted.parse().unwrap()))).unwrap();
        assert_eq!(answer.output.value(), version);
        assert_eq!(answer.warning.as_deref(), warning);
    }
    let missing = block_on(caller.send(Call::new("t", b"{}").with_version("^3".parse().unwrap())));
    assert!(matches!(missing, Err(ToolError::VersionUnsatisfied { .. })));
}

#[test]
fn names_that_are_made_up_are_neither_suggested_to_nor_counted() {
    let (tools, _) = counted(false);
    let invoker = Invoker::permissive(tools, real(), MemoryAudit::new(1));
    let error = block_on(invoker.invoke(agent("a"), "tt", b"{}")).unwrap_err();
    assert_eq!(error.to_string(), "no tool is named `tt`");
    assert!(!invoker.metrics().to_prometheus().contains("tt"));
}

#[test]
fn a_secret_is_no_argument_and_goes_to_functions_only() {
    let schema = json!({"type": "object", "properties": {"key": {"type": "string"}}});
    let mut tools = Registry::builder();
    let run = |_: CallContext, _: Value| async { Ok(()) };
    let clash = tools.tool("t").description("T.").secrets(["key"]).run_raw(schema, run);
    assert!(matches!(clash, Err(RegistryError::SpecInvalid { .. })));
    let program = tools.tool("t").description("T.").secrets(["key"]);
    assert!(program.command(any_object(), Command::new("/bin/true")).is_err());
    assert!(Secret::new("short").is_err());
}

/// One sample of Prometheus' text format.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text format strictly: a type before the samples of a name, nothing twice, nothing unescaped.
fn parse_metrics(text: &str) -> Result<Vec<Sample>, String> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples: Vec<Sample> = Vec::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or(line)?;
            if types.insert(name, kind).is_some() {
                return Err(format!("two types: {line}"));
            }
        } else if !line.starts_with("# HELP ") {
            let sample = parse_sample(line)?;
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
            let known = |name: &str| types.contains_key(name);
            if !known(&sample.name) && base.is_none_or(|name| types.get(name) != Some(&"histogram")) {
                return Err(format!("no type: {line}"));
            }
            if samples.iter().any(|other| other.name == sample.name && other.labels == sample.labels) {
                return Err(format!("twice: {line}"));
            }
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let bad = || format!("no sample: {line}");
    let labelled = line.split_once('{');
    let (name, rest) =
        labelled.or_else(|| line.split_once(' ').map(|(name, _)| (name, "}"))).ok_or_else(bad)?;
    if !name.chars().all(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_') {
        return Err(bad());
    }
    let (mut labels, mut rest) = (BTreeMap::new(), rest);
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"").ok_or_else(bad)?;
        let (mut value, mut symbols) = (String::new(), after.char_indices());
        let end = loop {
            match symbols.next().ok_or_else(bad)? {
                (at, '"') => break at,
                (_, '\\') => match symbols.next().ok_or_else(bad)?.1 {
                    'n' => value.push('\n'),
                    symbol @ ('\\' | '"') => value.push(symbol),
                    _ => return Err(bad()),
                },
                (_, symbol) => value.push(symbol),
            }
        };
        labels.insert(label.to_owned(), value);
        rest = after.get(end + 1..).ok_or_else(bad)?;
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    let value = line.rsplit_once(' ').map(|(_, value)| value).ok_or_else(bad)?;
    let value = value.parse().map_err(|_| bad())?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

#[test]
fn what_is_counted_is_in_the_format_of_prometheus() {
    let (tools, _) = counted(false);
    let invoker = Invoker::permissive(tools, real(), MemoryAudit::new(1));
    for arguments in [&b"{}"[..], b"{}", b"{"] {
        let _ = block_on(invoker.invoke(agent("a"), "t", arguments));
    }
    let samples = parse_metrics(&invoker.to_prometheus()).unwrap();
    let value = |name: &str, label: &str, is: &str| {
        let found = samples
            .iter()
            .find(|sample| sample.name == name && sample.labels.get(label).is_some_and(|v| v == is));
        found.unwrap().value
    };
    assert_eq!(value("atr_calls_total", "outcome", "answered"), 2.0);
    assert_eq!(value("atr_calls_total", "outcome", "refused"), 1.0);
    assert_eq!(value("atr_call_seconds_count", "tool", "t"), 3.0);
    assert_eq!(value("atr_call_seconds_bucket", "le", "+Inf"), 3.0);
    assert_eq!(samples.last().map(|sample| (&*sample.name, sample.value)), Some(("atr_zombie_threads", 0.0)));
    let buckets: Vec<f64> =
        samples.iter().filter(|sample| sample.name.ends_with("_bucket")).map(|sample| sample.value).collect();
    assert!(buckets.is_sorted());
    for broken in ["a{b=\"c} 1\n", "a 1\n", "# TYPE a counter\na{} x\n", "a{} 1\n", "# TYPE a counter\na{} 1"]
    {
        assert!(parse_metrics(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_deadline_of_the_caller_says_nothing_of_the_tool() {
    let (tools, runs) = counted(true);
    let clock = ManualClock::default();
    let caller =
        Invoker::permissive(tools, Arc::new(clock.clone()), MemoryAudit::new(1)).on_behalf_of(agent("a"));
    for ran in 1..=6 {
        let deadline = clock.monotonic().after(Duration::from_secs(1));
        let call = Call::new("t", b"{}").with_deadline(deadline);
        let mut call: Running = Box::pin({
            let caller = caller.clone();
            async move { caller.send(call).await }
        });
        assert!(poll(&mut call).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(matches!(poll(&mut call), Poll::Ready(Err(ToolError::Timeout))));
        assert_eq!(runs.load(Ordering::Relaxed), ran);
    }
}
