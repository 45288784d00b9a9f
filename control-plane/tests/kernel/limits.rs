//! Limits of rules and budgets: what is reserved, refused, given back and booked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::atr::{CallContext, Effect, Registry, ToolError};
use agent_control_plane::budget::{AccountId, Budget};
use agent_control_plane::denial::{DenialClass, Reason};
use agent_control_plane::kernel::Was;
use agent_control_plane::primitives::resource::Currency;
use agent_control_plane::primitives::{AgentId, ManualClock, Resource, Signal, TenantId};
use agent_control_plane::{
    AgentHandle, AgentSpec, AgentState, CallError, Denial, FlightRecorder, Kernel, Policy, call::Syscall,
};
use serde_json::{Value, json};

const USD: Resource = Resource::Money(Currency::USD);
const CENT: u64 = 10_000;

fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(answer) = poll(pin!(future)) else { panic!("the call waits") };
    answer
}

fn denial(result: Result<Value, CallError>) -> Denial {
    match result {
        Err(CallError::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    }
}

/// `free` costs nothing and `paid` at most 10 cents. `hang` waits an hour; `told` reports the cents it is told to.
fn tools() -> Registry {
    let mut registry = Registry::builder();
    let schema = json!({"type": "object", "properties": {"cents": {"type": "integer"}}});
    for (name, cost) in [("free", 0), ("paid", 10), ("told", 10), ("hang", 10)] {
        let run = move |context: CallContext, args: Value| async move {
            if name == "hang" {
                let timer = Arc::clone(context.timer());
                timer.sleep_until(timer.monotonic().after(Duration::from_secs(3600))).await;
            }
            if let Some(cents) = args["cents"].as_u64() {
                context.spend(USD, cents * CENT).map_err(|error| ToolError::failed(error.to_string()))?;
            }
            Ok::<_, ToolError>(json!("done"))
        };
        let mut tool = registry.tool(name).description("A tool with a price").effects([Effect::Write]);
        if 0 < cost {
            tool = tool.cost(USD, cost * CENT);
        }
        tool.run_raw(schema.clone(), run).unwrap();
    }
    registry.build()
}

struct Host {
    kernel: Kernel,
    clock: ManualClock,
}

impl Host {
    fn new(limits: &str) -> Self {
        Self::on(limits, FlightRecorder::memory().unwrap())
    }

    fn on(limits: &str, recorder: FlightRecorder) -> Self {
        let text = format!(
            "{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: ['*']{limits}}}, \
             {{id: files, effect: allow, calls: [read, write, open], paths: ['/**']}}]}}"
        );
        let clock = ManualClock::default();
        let kernel = Kernel::builder()
            .policy(Policy::from_yaml("test", &text).unwrap())
            .tools(tools())
            .recorder(recorder)
            .timer(Arc::new(clock.clone()))
            .build()
            .unwrap();
        Self { kernel, clock }
    }

    fn spawn(&self, name: &str) -> AgentHandle {
        self.kernel.spawn(AgentSpec::new(name)).unwrap()
    }

    fn usage(&self, account: &AccountId) -> (u64, u64) {
        let usage = self.kernel.usage(account);
        (usage[0].used, usage[0].reserved)
    }

    /// The JSON of the last event of a kind.
    fn last(&self, kind: &str) -> Value {
        let events = self.kernel.recorder().events(0).map(|stored| stored.unwrap().to_json().unwrap());
        events.filter(|event| event["kind"] == kind).last().unwrap()
    }
}

fn exec(agent: &AgentHandle, tool: &str) -> Result<Value, CallError> {
    now(agent.exec(tool, json!({})))
}

#[test]
fn a_rate_refuses_says_when_and_is_recorded() {
    let host = Host::new(", limits: {rate: 2/min}");
    let agent = host.spawn("a");
    exec(&agent, "free").unwrap();
    host.clock.advance(Duration::from_secs(20));
    exec(&agent, "free").unwrap();
    let refused = denial(exec(&agent, "free"));
    assert_eq!((refused.code(), refused.class(), refused.retryable()), ("AK0301", DenialClass::Limit, true));
    assert_eq!((refused.rule(), refused.retry_after()), (Some("r"), Some(Duration::from_secs(40))));
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));
    let event = host.last("refused");
    assert_eq!((&event["verdict"], &event["reason"]), (&json!("allow"), &json!("AK0301")));

    host.clock.advance(Duration::from_secs(39));
    assert!(exec(&agent, "free").is_err());
    host.clock.advance(Duration::from_secs(1));
    exec(&agent, "free").unwrap();
}

#[test]
fn a_rate_with_a_burst_paces() {
    let host = Host::new(", limits: {rate: {rate: 60/min, burst: 2}}");
    let agent = host.spawn("a");
    let answers = [0, 0, 0, 1, 0].map(|seconds| {
        host.clock.advance(Duration::from_secs(seconds));
        exec(&agent, "free").is_ok()
    });
    assert_eq!(answers, [true, true, false, true, false]);
}

#[test]
fn a_limit_counts_for_whom_it_says() {
    // Agents a and b are of one tenant, c is of none.
    let cases =
        [("agent", [true, true, true]), ("tenant", [true, false, false]), ("policy", [true, false, false])];
    for (per, expected) in cases {
        let host = Host::new(&format!(", limits: {{rate: 1/min, per: {per}}}"));
        let answers = [("a", true), ("b", true), ("c", false)].map(|(name, of_tenant)| {
            let spec = AgentSpec::new(name);
            let spec = if of_tenant { spec.tenant(acme()) } else { spec };
            exec(&host.kernel.spawn(spec).unwrap(), "free").is_ok()
        });
        assert_eq!(answers, expected, "{per}");
    }
}

#[test]
fn a_limit_per_tenant_refuses_an_agent_of_no_tenant() {
    let host = Host::new(", limits: {concurrency: 1, per: tenant}");
    let refused = denial(exec(&host.spawn("a"), "free"));
    assert_eq!((refused.code(), refused.retryable()), ("AK0304", false));
}

#[test]
fn a_new_life_goes_on_with_the_count_of_the_last() {
    let host = Host::new(", limits: {rate: 1/hour}");
    exec(&host.spawn("a"), "free").unwrap();
    host.kernel.signal(&id("a"), Signal::Kill, "anew").unwrap();
    assert_eq!(denial(exec(&host.spawn("a"), "free")).code(), "AK0301");
}

#[test]
fn calls_at_once_are_given_back_however_they_end() {
    let host = Host::new(", limits: {concurrency: 1}");
    let agent = host.spawn("a");
    {
        let mut hangs = pin!(agent.exec("hang", json!({})));
        assert!(poll(hangs.as_mut()).is_pending());
        let refused = denial(exec(&agent, "free"));
        assert!(matches!(refused.reason(), Reason::TooManyRunning { limit: 1, .. }), "{refused}");
    }
    exec(&agent, "free").unwrap();

    // Nobody polls this one again; the kill gives back what it held, and a new life may call.
    let mut hangs = Box::pin(agent.exec("hang", json!({})));
    assert!(poll(hangs.as_mut()).is_pending());
    host.kernel.signal(&id("a"), Signal::Kill, "anew").unwrap();
    exec(&host.spawn("a"), "free").unwrap();
}

#[test]
fn a_kill_frees_the_place_of_a_call_whose_intent_is_on_its_way_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let host =
        Host::on(", limits: {concurrency: 1, per: policy}", FlightRecorder::open(folder.path()).unwrap());
    let (a, b) = (host.spawn("a"), host.spawn("b"));
    // A disk may be done before the call is looked at; then it is made again.
    let made = (0..1000).map(|_| Box::pin(a.exec("free", json!({}))));
    let mut waits = made.map(|mut call| (poll(call.as_mut()).is_pending(), call));
    let (_, _waits) = waits.find(|(pending, _)| *pending).expect("some call waits for the disk");
    let mut refused = Box::pin(b.exec("free", json!({})));
    let Poll::Ready(Err(CallError::Denied(refused))) = poll(refused.as_mut()) else {
        panic!("its place is taken")
    };
    assert_eq!(refused.code(), "AK0302");
    host.kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
    // Admitted: it waits for the disk in its turn.
    assert!(!matches!(poll(pin!(b.exec("free", json!({})))), Poll::Ready(Err(_))));
}

#[test]
fn a_question_reserves_nothing() {
    let host = Host::new(", limits: {rate: 1/day}");
    let agent = host.spawn("a");
    for _ in 0..3 {
        let call = Syscall::Exec {
            tool: "free".into(),
            arguments: agent_control_plane::call::RawArguments::Value(json!({})),
            deadline: None,
        };
        now(agent.check(call)).unwrap();
    }
    exec(&agent, "free").unwrap();
}

#[test]
fn a_cost_in_a_period_is_reserved_settled_and_comes_back() {
    let host = Host::new(", limits: {cost: 0.25 USD/day}");
    let agent = host.spawn("a");
    exec(&agent, "paid").unwrap();
    // Reserved 10 cents, used one.
    now(agent.exec("told", json!({"cents": 1}))).unwrap();
    exec(&agent, "paid").unwrap();
    let refused = denial(exec(&agent, "paid"));
    assert!(
        matches!(refused.reason(), Reason::BudgetExhausted(short) if (short.left, short.retryable) == (4 * CENT, true)),
        "{refused}"
    );
    assert_eq!(denial(exec(&agent, "free")).code(), "AK0304", "a tool without a price cannot be counted");
    host.clock.advance(Duration::from_secs(25 * 3600));
    exec(&agent, "paid").unwrap();
}

#[test]
fn a_budget_is_reserved_on_every_account_and_settled_with_what_was_used() {
    let host = Host::new("");
    let (tenant, agent, task) =
        (AccountId::Tenant(acme()), AccountId::Agent(id("a")), AccountId::Task(id("a")));
    host.kernel.set_budget(&tenant, &Budget::new().limit(USD, 25 * CENT)).unwrap();
    let budget = || Budget::new().limit(USD, 100 * CENT);
    let a = AgentSpec::new("a").tenant(acme()).budget(budget()).task_budget(budget());
    let a = host.kernel.spawn(a).unwrap();
    let b = host.kernel.spawn(AgentSpec::new("b").tenant(acme())).unwrap();

    let mut hangs = Box::pin(a.exec("hang", json!({})));
    assert!(poll(hangs.as_mut()).is_pending());
    for account in [&tenant, &agent, &task] {
        assert_eq!(host.usage(account), (0, 10 * CENT));
    }
    now(b.exec("told", json!({"cents": 3}))).unwrap();
    assert_eq!(host.usage(&tenant), (3 * CENT, 10 * CENT));
    exec(&b, "paid").unwrap();
    let refused = denial(exec(&b, "paid"));
    assert!(refused.retryable(), "the hanging call may turn out cheaper");
    assert_eq!(refused.to_string(), "tool `paid` could use 0.1 USD, and tenant `acme` has 0.02 USD left");
    exec(&b, "free").unwrap();

    // It had begun, and said nothing of what it used.
    drop(hangs);
    for (account, used) in [(&tenant, 23), (&agent, 10), (&task, 10)] {
        assert_eq!(host.usage(account), (used * CENT, 0));
    }
    assert!(!denial(exec(&b, "paid")).retryable());
}

#[test]
fn a_used_up_budget_stops_every_agent_below_once_and_the_host_lets_them_go_on() {
    let host = Host::new("");
    let tenant = AccountId::Tenant(acme());
    host.kernel.set_budget(&tenant, &Budget::new().limit(Resource::Tokens, 1000)).unwrap();
    let a = host.kernel.spawn(AgentSpec::new("a").tenant(acme())).unwrap();
    let _b = host.kernel.spawn(AgentSpec::new("b").tenant(acme())).unwrap();
    let _c = host.spawn("c");

    host.kernel.spend(&AccountId::Agent(id("a")), Resource::Tokens, 800).unwrap();
    let event = host.last("budget");
    assert_eq!((&event["used"], &event["exhausted"]), (&json!(800), &json!(false)));
    host.kernel.spend(&AccountId::Agent(id("a")), Resource::Tokens, 700).unwrap();
    assert_eq!(host.last("budget")["exhausted"], true);
    let state = |name: &str| host.kernel.agent(&id(name)).unwrap();
    assert_eq!(
        (state("a"), state("b"), state("c")),
        (AgentState::Stopped { was: Was::Ready }, AgentState::Stopped { was: Was::Ready }, AgentState::Ready)
    );
    assert_eq!(host.last("signal")["signal"], "SIGBUDGET");

    // Let go on without being given more, it is refused, and not stopped again.
    host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert_eq!(denial(exec(&a, "free")).code(), "AK0303");
    assert_eq!(state("a"), AgentState::Ready);
    host.kernel.set_budget(&tenant, &Budget::new().limit(Resource::Tokens, 2000)).unwrap();
    exec(&a, "free").unwrap();
    host.kernel.spend(&tenant, Resource::Tokens, 500).unwrap();
    assert_eq!(state("a"), AgentState::Stopped { was: Was::Ready });
}

#[test]
fn what_a_tool_uses_beyond_its_declared_cost_is_booked_and_ends_the_budget() {
    let host = Host::new("");
    let a = host.kernel.spawn(AgentSpec::new("a").budget(Budget::new().limit(USD, 20 * CENT))).unwrap();
    now(a.exec("told", json!({"cents": 50}))).unwrap();
    assert_eq!(host.usage(&AccountId::Agent(id("a"))), (50 * CENT, 0));
    host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert_eq!(denial(exec(&a, "free")).code(), "AK0303");
}

#[test]
fn a_budget_of_calls_bytes_and_time_is_measured_by_the_kernel() {
    let host = Host::new("");
    let bytes = Budget::new().limit(Resource::Bytes, 100);
    let a = host.kernel.spawn(AgentSpec::new("a").budget(bytes)).unwrap();
    now(a.write("/mem/working/x", "0123456789")).unwrap();
    let whole = denial(now(a.read("/mem/working/x")).map(|_| Value::Null));
    assert!(matches!(whole.reason(), Reason::BudgetExhausted(short) if short.left == 90), "{whole}");
    let file = agent_control_plane::call::FileRef::Path("/mem/working/x".into());
    now(a.syscall(Syscall::Read { file, offset: None, length: 50, nonblock: false })).unwrap();
    assert_eq!(host.usage(&AccountId::Agent(id("a"))), (20, 0));

    let calls = Budget::new().limit(Resource::Calls, 2);
    let b = host.kernel.spawn(AgentSpec::new("b").budget(calls)).unwrap();
    exec(&b, "free").unwrap();
    exec(&b, "free").unwrap();
    assert_eq!(host.kernel.agent(&id("b")), Some(AgentState::Stopped { was: Was::Ready }));

    let time = Budget::new().limit(Resource::WallTime, 10_000_000);
    let c = host.kernel.spawn(AgentSpec::new("c").budget(time)).unwrap();
    let mut hangs = pin!(c.exec("hang", json!({})));
    assert!(poll(hangs.as_mut()).is_pending());
    host.clock.advance(Duration::from_secs(10));
    assert!(
        matches!(poll(hangs.as_mut()), Poll::Ready(Err(CallError::Timeout))),
        "it is cut off where the budget ends"
    );
    assert_eq!(host.usage(&AccountId::Agent(id("c"))), (10_000_000, 0));
    assert_eq!(host.kernel.agent(&id("c")), Some(AgentState::Stopped { was: Was::Ready }));
}

#[test]
fn cancelling_before_the_start_costs_nothing() {
    let host = Host::new("");
    let a = host.kernel.spawn(AgentSpec::new("a").budget(Budget::new().limit(Resource::Calls, 10))).unwrap();
    host.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
    {
        let mut parked = pin!(a.exec("free", json!({})));
        assert!(poll(parked.as_mut()).is_pending());
    }
    assert_eq!(host.usage(&AccountId::Agent(id("a"))), (0, 0));
}

#[test]
fn callers_on_many_threads_never_overshoot_together() {
    let host = Host::new(", limits: {rate: 150/hour, per: tenant}");
    host.kernel.set_budget(&AccountId::Tenant(acme()), &Budget::new().limit(USD, 1000 * CENT)).unwrap();
    let agents: Vec<AgentHandle> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| host.kernel.spawn(AgentSpec::new(*name).tenant(acme())).unwrap())
        .collect();
    let allowed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = agents
            .iter()
            .map(|agent| {
                scope.spawn(move || {
                    // The last call that the budget pays for stops everybody, so a call may wait.
                    let mut allowed = 0;
                    for _ in 0..100 {
                        if let Poll::Ready(Ok(_)) = poll(pin!(agent.exec("paid", json!({})))) {
                            allowed += 1;
                        }
                    }
                    allowed
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(allowed, 100);
    assert_eq!(host.usage(&AccountId::Tenant(acme())), (1000 * CENT, 0));
}

#[test]
fn a_policy_that_asks_for_mode_and_budgets_is_told_and_the_record_says_what() {
    let host = Host::new(", when: {mode: {in: [open]}, budget: {resource: calls, remaining: {gt: 1}}}");
    let spec = || AgentSpec::new("a").budget(Budget::new().limit(Resource::Calls, 3));
    let agent = host.kernel.spawn(spec()).unwrap();
    assert_eq!(denial(exec(&agent, "free")).code(), "AK0102");
    assert_eq!(host.last("refused")["mode"], "normal");

    host.kernel.set_mode("open".parse().unwrap()).unwrap();
    assert_eq!(host.last("host")["action"], "sets the mode to open");
    let agent = host.kernel.spawn(spec()).unwrap();
    exec(&agent, "free").unwrap();
    exec(&agent, "free").unwrap();
    let budgets = json!([{"level": "agent", "resource": "calls", "limit": 3, "used": 1}]);
    assert_eq!((&host.last("intent")["mode"], &host.last("intent")["budgets"]), (&json!("open"), &budgets));
    assert_eq!(denial(exec(&agent, "free")).code(), "AK0102");
}

#[test]
fn the_most_specific_account_counts_for_each_alone() {
    let host = Host::new("");
    let spec = |name| AgentSpec::new(name).task_budget(Budget::new().limit(Resource::Calls, 2));
    let first = host.kernel.spawn(spec("a")).unwrap();
    exec(&first, "free").unwrap();
    host.kernel.signal(&id("a"), Signal::Kill, "anew").unwrap();
    let second = host.kernel.spawn(spec("a")).unwrap();
    assert_eq!(host.usage(&AccountId::Task(id("a"))), (0, 0), "a life's budget begins with it");
    exec(&second, "free").unwrap();
    assert_eq!(host.usage(&AccountId::Task(id("a"))), (1, 0));
}

#[test]
fn a_rate_too_large_to_remember_each_call_holds_too() {
    let host = Host::new(", limits: {rate: 10001/s}");
    let agent = host.spawn("a");
    let allowed = (0..10_100).filter(|_| exec(&agent, "free").is_ok()).count();
    assert_eq!(allowed, 10_001);
    let wait = denial(exec(&agent, "free")).retry_after().unwrap();
    host.clock.advance(wait - Duration::from_nanos(1));
    assert!(exec(&agent, "free").is_err());
    host.clock.advance(Duration::from_nanos(1));
    exec(&agent, "free").unwrap();
}
