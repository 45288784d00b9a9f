//! Stopped, let go on, killed, dropped: and that it is so.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use agent_primitives::{Clock, ManualClock, Timestamp};
use agent_tool_registry::executor::{Cause, Control, Executions, Exit, Finished, Held, Order};
use agent_tool_registry::{Artefact, CallContext, Executor, Limits, TokioTimer, ToolError};
use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::{block_on, context, executions, guests, launch, register, tool, until, wasm};

const A_LITTLE: Duration = Duration::from_millis(30);

fn two_threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Calls it as a task, for an agent of which `executions` are all.
fn spawn(module: Bytes, limits: Limits, executions: &Executions) -> JoinHandle<Finished> {
    let launch = launch(module, limits, executions);
    tokio::spawn(async move { wasm().call(launch, Bytes::from_static(b"{}")).await })
}

/// A guest that never answers, and what it uses.
struct Spinner {
    control: Arc<dyn Control>,
    exit: JoinHandle<Exit>,
}

impl Spinner {
    async fn start(executions: &Executions) -> Self {
        let guest = guests::command("(loop $again (br $again)) (i32.const 0)");
        let session = wasm().start(launch(guest, Limits::DEFAULT, executions)).await.unwrap();
        Self { control: session.control, exit: tokio::spawn(session.exit) }
    }

    fn cpu(&self) -> Duration {
        self.control.usage().cpu.unwrap()
    }

    /// Waits until it has computed for as long as this.
    async fn computes(&self, more: Duration) {
        let before = self.cpu();
        until(|| before + more <= self.cpu()).await;
    }
}

#[test]
fn a_stopped_guest_makes_no_progress_until_it_goes_on() {
    two_threads().block_on(async {
        let (mine, others) = (executions(), executions());
        let (stopped, other) = (Spinner::start(&mine).await, Spinner::start(&others).await);
        for _ in 0..3 {
            stopped.computes(A_LITTLE).await;
            mine.order(Order::Stop);
            assert_eq!(mine.held().await, [Held::Hard]);
            let then = stopped.control.usage();
            // As long as it takes another guest to use 300 ms.
            other.computes(Duration::from_millis(300)).await;
            assert_eq!(stopped.control.usage(), then);
            assert_eq!(stopped.control.held().await, Held::Hard);
            mine.order(Order::Continue);
            assert_eq!(stopped.control.held().await, Held::Running);
        }
        stopped.computes(A_LITTLE).await;
        for (executions, spinner) in [(mine, stopped), (others, other)] {
            executions.order(Order::Kill);
            assert_eq!(executions.held().await, [Held::Dead]);
            let exit = spinner.exit.await.unwrap();
            assert_eq!(exit.cause, Cause::Killed);
            assert!(executions.is_empty());
        }
    });
}

#[test]
fn a_kill_takes_hold_within_two_ticks() {
    two_threads().block_on(async {
        let timer = TokioTimer::new();
        let mut took = Vec::new();
        for _ in 0..15 {
            let mine = executions();
            let spinner = Spinner::start(&mine).await;
            spinner.computes(A_LITTLE).await;
            let start = timer.monotonic();
            mine.order(Order::Kill);
            assert_eq!(spinner.control.held().await, Held::Dead);
            took.push(timer.monotonic().since(start));
            until(|| mine.is_empty()).await;
        }
        took.sort_unstable();
        // The best of them say what the executor does, the worst what else this machine does.
        assert!(took.first().is_some_and(|best| *best < Duration::from_millis(11)), "{took:?}");
        assert!(took.last().is_some_and(|worst| *worst < Duration::from_millis(500)), "{took:?}");
    });
}

#[test]
fn a_stopped_call_is_killed_and_says_so() {
    two_threads().block_on(async {
        let mine = executions();
        let call = spawn(guests::spinner(), Limits::DEFAULT, &mine);
        until(|| mine.len() == 1).await;
        mine.order(Order::Stop);
        assert_eq!(mine.held().await, [Held::Hard]);
        mine.order(Order::Kill);
        mine.order(Order::Continue);
        let finished = call.await.unwrap();
        assert!(matches!(finished.result, Err(ToolError::Killed)), "{:?}", finished.result);
        assert!(mine.is_empty());
        let later = spawn(guests::echo(), Limits::DEFAULT, &mine).await.unwrap();
        assert!(matches!(later.result, Err(ToolError::Killed)));
    });
}

#[test]
fn a_call_of_a_stopped_agent_waits_and_then_runs() {
    two_threads().block_on(async {
        let mine = executions();
        mine.order(Order::Stop);
        let call = spawn(guests::echo(), Limits::DEFAULT, &mine);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!call.is_finished() && mine.is_empty());
        mine.order(Order::Continue);
        assert!(call.await.unwrap().result.is_ok());
    });
}

#[test]
fn the_deadline_of_a_stopped_call_stands_still() {
    let clock = ManualClock::at(Timestamp::from_micros(0));
    let limits = Limits { deadline: Duration::from_secs(10), ..Limits::DEFAULT };
    let registry = register(guests::spinner(), limits).unwrap();
    let cx = CallContext::new("tester".parse().unwrap(), Arc::new(clock.clone()));
    let executions = cx.executions().clone();
    two_threads().block_on(async {
        let call = tokio::spawn(tool(&registry, cx));
        until(|| executions.len() == 1).await;
        executions.order(Order::Stop);
        assert_eq!(executions.held().await, [Held::Hard]);
        clock.advance(Duration::from_secs(3600));
        executions.order(Order::Continue);
        until(|| clock.sleepers() == 1).await;
        assert!(!call.is_finished());
        clock.advance(Duration::from_secs(11));
        assert!(matches!(call.await.unwrap(), Err(ToolError::Timeout)));
        assert!(executions.is_empty());
    });
}

#[test]
fn a_call_that_is_dropped_leaves_nothing() {
    fn mappings() -> usize {
        std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
    }
    let mine = executions();
    block_on(async {
        wasm()
            .call(launch(guests::echo(), Limits::DEFAULT, &mine), Bytes::from_static(b"1"))
            .await
            .result
            .unwrap();
        let spinner = guests::spinner();
        wasm().check(&Artefact::Module(spinner.clone()), &Limits::DEFAULT).unwrap();
        let mut before = 0;
        for round in 0..60 {
            let mut call =
                wasm().call(launch(spinner.clone(), Limits::DEFAULT, &mine), Bytes::from_static(b"{}"));
            for _ in 0..2 {
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            assert_eq!(mine.len(), 1);
            drop(call);
            assert!(mine.is_empty());
            if round == 9 {
                before = mappings();
            }
        }
        // Each guest has a mapping for its memory and one for its stack, with their guards.
        let after = mappings();
        assert!(after < before + 50, "{before} mappings became {after}");
    });
}

#[test]
fn a_call_that_is_cancelled_ends() {
    block_on(async {
        let registry = register(guests::spinner(), Limits::DEFAULT).unwrap();
        let cx = context();
        let (canceller, executions) = (cx.canceller(), cx.executions().clone());
        let call = tokio::spawn(tool(&registry, cx));
        until(|| executions.len() == 1).await;
        canceller.cancel();
        assert!(matches!(call.await.unwrap(), Err(ToolError::Cancelled)));
        assert!(executions.is_empty());
    });
}
