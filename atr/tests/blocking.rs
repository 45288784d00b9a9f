//! Functions that block their thread.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_primitives::{AgentId, Clock, ManualClock, Timer};
use agent_tool_registry::executor::{BlockingPool, Executions, Held, MAX_ABANDONED, Order};
use agent_tool_registry::{Arguments, CallContext, Limits, Output, Registry, TokioTimer, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

/// Holds functions where they block until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let (open, changed) = &*self.0;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A tool that says that it has begun, and then blocks.
fn stuck(pool: &BlockingPool) -> (Registry, Gate, Receiver<()>) {
    let gate = Gate::default();
    let (begun, begins): (SyncSender<()>, _) = sync_channel(64);
    let mut tools = Registry::builder().blocking(pool.clone());
    let held = gate.clone();
    tools
        .tool("t")
        .description("Blocks.")
        .limits(Limits { deadline: Duration::from_millis(200), ..Limits::DEFAULT })
        .run_blocking(move |_: CallContext, _: Nothing| {
            begun.send(()).unwrap();
            held.pass();
            Ok(1)
        })
        .unwrap();
    (tools.build(), gate, begins)
}

fn context(timer: Arc<dyn Timer>) -> CallContext {
    CallContext::new("a".parse::<AgentId>().unwrap(), timer)
}

type Running = std::pin::Pin<Box<dyn Future<Output = Result<Output, ToolError>>>>;

fn start(tools: &Registry, cx: CallContext) -> Running {
    let arguments = Arguments::parse(b"{}").unwrap();
    Box::pin(tools.prepare(&"t".parse().unwrap(), arguments).unwrap().run(cx))
}

fn poll(call: &mut Running) -> Poll<Result<Output, ToolError>> {
    call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_call_ends_at_its_deadline_though_its_thread_is_stuck() {
    let pool = BlockingPool::default();
    let (tools, gate, _begins) = stuck(&pool);
    let timer = Arc::new(TokioTimer::new());
    let begun = timer.monotonic();
    let answer = block_on(start(&tools, context(timer.clone())));
    let took = timer.monotonic().since(begun);
    assert!(matches!(answer, Err(ToolError::Timeout)));
    assert!(took <= Duration::from_millis(250), "{took:?}");
    assert_eq!((pool.abandoned(), pool.late()), (1, 0));
    gate.open();
    while pool.abandoned() != 0 {
        std::thread::yield_now();
    }
    assert_eq!(pool.late(), 1);
}

#[test]
fn too_many_stuck_threads_poison_the_pool_until_one_comes_back() {
    let (pool, clock) = (BlockingPool::new(2, 4), Arc::new(ManualClock::default()));
    let (tools, gate, begins) = stuck(&pool);
    for abandoned in 1..=MAX_ABANDONED + 1 {
        let mut call = start(&tools, context(clock.clone()));
        assert!(poll(&mut call).is_pending());
        begins.recv().unwrap();
        drop(call);
        assert_eq!(pool.abandoned(), abandoned);
    }
    let refused = poll(&mut start(&tools, context(clock.clone())));
    assert!(
        matches!(refused, Poll::Ready(Err(ToolError::ExecutorUnavailable { reason, .. })) if reason.starts_with("poisoned"))
    );
    gate.open();
    while pool.abandoned() != 0 {
        std::thread::yield_now();
    }
    assert!(block_on(start(&tools, context(Arc::new(TokioTimer::new())))).is_ok());
}

#[test]
fn what_the_queue_has_no_room_for_is_refused() {
    let (pool, clock) = (BlockingPool::new(1, 2), Arc::new(ManualClock::default()));
    let (tools, gate, begins) = stuck(&pool);
    let mut running = start(&tools, context(clock.clone()));
    assert!(poll(&mut running).is_pending());
    begins.recv().unwrap();
    let mut waiting = [start(&tools, context(clock.clone())), start(&tools, context(clock.clone()))];
    assert!(waiting.iter_mut().all(|call| poll(call).is_pending()));
    let refused = poll(&mut start(&tools, context(clock.clone())));
    assert!(matches!(refused, Poll::Ready(Err(ToolError::ConcurrencyLimit { limit: 2, .. }))));
    let [first, second] = waiting;
    drop(second);
    let mut next = start(&tools, context(clock.clone()));
    assert!(poll(&mut next).is_pending(), "a call that is dropped gives up its place");
    gate.open();
    for call in [running, first, next] {
        assert!(block_on(call).is_ok());
    }
}

#[test]
fn orders_hold_as_far_as_they_can() {
    let (pool, clock) = (BlockingPool::new(1, 4), Arc::new(ManualClock::default()));
    let (tools, gate, begins) = stuck(&pool);
    let executions = Executions::new(clock.clone());
    let cx = || context(clock.clone()).with_executions(executions.clone());
    let (mut running, mut waiting) = (start(&tools, cx()), start(&tools, cx()));
    assert!(poll(&mut running).is_pending() && poll(&mut waiting).is_pending());
    begins.recv().unwrap();
    let held = || block_on(executions.held());
    assert_eq!(held(), [Held::Running, Held::Running]);
    executions.order(Order::Stop);
    assert_eq!(held(), [Held::Cooperative, Held::Hard]);
    gate.open();
    assert!(block_on(running).is_ok(), "a function that computes goes on");
    assert_eq!(held(), [Held::Hard]);
    assert!(begins.try_recv().is_err(), "what has not begun does not");
    executions.order(Order::Continue);
    assert!(block_on(waiting).is_ok());
    assert!(executions.is_empty());
}

#[test]
fn a_kill_ends_the_call_and_abandons_the_thread() {
    let (pool, clock) = (BlockingPool::new(1, 4), Arc::new(ManualClock::default()));
    let (tools, gate, begins) = stuck(&pool);
    let executions = Executions::new(clock.clone());
    let cx = || context(clock.clone()).with_executions(executions.clone());
    let (mut running, mut waiting) = (start(&tools, cx()), start(&tools, cx()));
    assert!(poll(&mut running).is_pending() && poll(&mut waiting).is_pending());
    begins.recv().unwrap();
    executions.order(Order::Kill);
    assert!(matches!(block_on(running), Err(ToolError::Killed)));
    assert!(matches!(block_on(waiting), Err(ToolError::Killed)));
    assert_eq!(block_on(executions.held()), [Held::Abandoned]);
    assert_eq!(pool.abandoned(), 1);
    assert!(matches!(poll(&mut start(&tools, cx())), Poll::Ready(Err(ToolError::Killed))));
    gate.open();
    while !executions.is_empty() {
        std::thread::yield_now();
    }
    assert!(begins.try_recv().is_err());
}

#[test]
fn a_panic_ends_the_call_and_not_the_thread() {
    let mut tools = Registry::builder().blocking(BlockingPool::new(1, 1));
    tools
        .tool("t")
        .description("Panics.")
        .run_blocking(|_: CallContext, _: Nothing| -> Result<(), ToolError> { std::panic::panic_any("oh") })
        .unwrap();
    let tools = tools.build();
    for _ in 0..3 {
        let answer = block_on(start(&tools, context(Arc::new(TokioTimer::new()))));
        assert!(matches!(answer, Err(ToolError::Panicked { payload, .. }) if payload == "oh"));
    }
}
