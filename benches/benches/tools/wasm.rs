//! WebAssembly: what a call costs beside the engine alone, how soon a guest is stopped, what a thousand guests take.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_os_benches::machine;
use agent_os_benches::statistics::{Effort, Figure, Stopwatch, measure};
use agent_os_benches::table::{Table, ratio};
use agent_primitives::{Clock, Timer};
use agent_tool_registry::executor::{Executions, Held, Launch, Order};
use agent_tool_registry::{
    Arguments, Artefact, CallContext, Executor, Executors, Level, Limits, Permissions, Registry,
    SandboxPolicy, TokioTimer, ToolError, Wasm,
};
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::runtime::Runtime;
use wasmtime::{Config, Engine, Instance, InstancePre, Linker, Module, Store, TypedFunc};

use crate::{Scale, print};

/// Answers with its arguments; or, as `fib`, with a number that takes a while.
const ECHO: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param $ptr i32) (param $len i32) (result i64)
        (i64.or
            (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
            (i64.extend_i32_u (local.get $len)))))"#;
const FIB: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 16) "7")
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "run") (param i32 i32) (result i64)
        (drop (call $fib (i32.const 27)))
        (i64.const 0x1000000001)))"#;
const SPINNER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param i32 i32) (result i64) (loop $again (br $again)) (unreachable)))"#;
const ARGUMENTS: &[u8] = br#"{"city":"Paris","unit":"c"}"#;
const DEADLINE: Duration = Duration::from_millis(50);
const METERED: Limits = Limits { fuel: Some(1 << 40), ..Limits::DEFAULT };

pub(crate) fn run(watch: &Stopwatch, scale: Scale) -> anyhow::Result<()> {
    let wasm = Wasm::new()?;
    // Calls are polled in place; what they wait for at the most asks tokio for the time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    calls(watch, scale, &wasm)?;
    speed(watch, scale, &wasm)?;
    drop(context);
    stops(watch, scale, &wasm)?;
    crowd(scale, &wasm)
}

fn effort(scale: Scale) -> Effort {
    Effort {
        warm_up: Duration::from_millis(200),
        batch: Duration::from_millis(2),
        batches: scale.of(50),
        repetitions: 5,
        samples: scale.of(20_000),
        longest: Duration::from_secs(5),
    }
}

fn module(text: &str) -> anyhow::Result<Bytes> {
    Ok(wat::parse_str(text)?.into())
}

fn launch(module: &Bytes, limits: Limits, executions: &Executions) -> anyhow::Result<Launch> {
    Ok(Launch {
        artefact: Artefact::Module(module.clone()),
        permissions: Permissions::none(),
        limits,
        agent: "bench".parse()?,
        timer: Arc::new(TokioTimer::new()),
        executions: executions.clone(),
    })
}

fn executions() -> Executions {
    Executions::new(Arc::new(TokioTimer::new()))
}

/// One call, polled in place as a tool's future is; a call that comes back at a tick is polled again.
fn call(wasm: &Wasm, launch: Launch) -> Result<usize, ToolError> {
    let mut call = pin!(wasm.call(launch, Bytes::from_static(ARGUMENTS)));
    loop {
        if let Poll::Ready(finished) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return finished.result.map(|output| output.canonical().len());
        }
    }
}

/// The engine alone: no limit, no clock, no stack of its own, nobody who could stop it.
struct Bare {
    engine: Engine,
    module: InstancePre<()>,
}

/// An instance and its two functions.
struct Ready {
    store: Store<()>,
    instance: Instance,
    alloc: TypedFunc<u32, u32>,
    run: TypedFunc<(u32, u32), u64>,
}

impl Bare {
    fn new(bytes: &Bytes) -> anyhow::Result<Self> {
        let compile = || {
            let engine = Engine::new(&Config::new())?;
            let module = Linker::new(&engine).instantiate_pre(&Module::from_binary(&engine, bytes)?)?;
            wasmtime::Result::Ok(Self { engine, module })
        };
        compile().map_err(said)
    }

    fn instance(&self) -> wasmtime::Result<Ready> {
        let mut store = Store::new(&self.engine, ());
        let instance = self.module.instantiate(&mut store)?;
        let alloc = instance.get_typed_func(&mut store, "alloc")?;
        let run = instance.get_typed_func(&mut store, "run")?;
        Ok(Ready { store, instance, alloc, run })
    }
}

impl Ready {
    fn call(&mut self) -> wasmtime::Result<Vec<u8>> {
        let place = self.alloc.call(&mut self.store, ARGUMENTS.len() as u32)?;
        let memory = self.instance.get_memory(&mut self.store, "memory");
        let memory = memory.ok_or_else(|| wasmtime::format_err!("no memory"))?;
        memory.write(&mut self.store, place as usize, ARGUMENTS)?;
        let answer = self.run.call(&mut self.store, (place, ARGUMENTS.len() as u32))?;
        let mut bytes = vec![0; answer as u32 as usize];
        memory.read(&self.store, (answer >> 32) as usize, &mut bytes)?;
        Ok(bytes)
    }
}

fn said(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn calls(watch: &Stopwatch, scale: Scale, wasm: &Wasm) -> anyhow::Result<()> {
    let (effort, mine) = (effort(scale), executions());
    let mut table = Table::of_figures("a call of a module of one page, 27 bytes there and back");
    let echo = module(ECHO)?;
    let bare = Bare::new(&echo)?;
    let mut kept = bare.instance().map_err(said)?;
    ensure!(kept.call().map_err(said)? == ARGUMENTS, "the engine does not answer");
    table.figure("wasmtime alone, instance kept", &measure(watch, effort, 1, |_| kept.call()).map_err(said)?);
    let fresh = measure(watch, effort, 1, |_| bare.instance()?.call()).map_err(said)?;
    table.figure("wasmtime alone, instantiate + call", &fresh);
    for (what, limits) in [("executor", Limits::DEFAULT), ("executor, fuel counted", METERED)] {
        let launch = launch(&echo, limits, &mine)?;
        ensure!(call(wasm, launch.clone())? == ARGUMENTS.len(), "the executor does not answer");
        table.figure(what, &measure(watch, effort, 1, |_| call(wasm, launch.clone()))?);
    }
    print(format!("\n## WebAssembly\n\n{table}"))
}

/// What being interruptible costs a guest that computes.
fn speed(watch: &Stopwatch, scale: Scale, wasm: &Wasm) -> anyhow::Result<()> {
    let (effort, mine) = (Effort { samples: scale.of(500), ..effort(scale) }, executions());
    let fib = module(FIB)?;
    let bare = Bare::new(&fib)?;
    let alone = measure(watch, effort, 1, |_| bare.instance()?.call()).map_err(said)?;
    let mut table = Table::new(["fib(27), recursive", "mean", "to the engine alone"]);
    let mut row = |what: &str, figure: &Figure| {
        let time = agent_os_benches::table::time(figure.mean);
        table.row([what.to_owned(), time, ratio(figure.mean, alone.mean)]);
    };
    row("wasmtime alone", &alone);
    for (what, limits) in [("executor", Limits::DEFAULT), ("executor, fuel counted", METERED)] {
        let launch = launch(&fib, limits, &mine)?;
        row(what, &measure(watch, effort, 1, |_| call(wasm, launch.clone()))?);
    }
    print(format!("\n{table}"))
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn registry(wasm: &Wasm, spinner: &Bytes) -> anyhow::Result<Registry> {
    let mut tools = Registry::builder().executors(Executors::none().with(wasm.clone()));
    tools
        .tool("spin")
        .description("Computes for ever.")
        .isolation(SandboxPolicy::at_least(Level::Wasm))
        .limits(Limits { deadline: DEADLINE, ..Limits::DEFAULT })
        .program(serde_json::json!({"type": "object"}), [Artefact::Module(spinner.clone())])?;
    Ok(tools.build())
}

/// From the order until it has taken hold, of a guest in an endless loop.
fn stops(watch: &Stopwatch, scale: Scale, wasm: &Wasm) -> anyhow::Result<()> {
    let spinner = module(SPINNER)?;
    let [mut stopped, mut killed, mut late] = [const { Vec::new() }; 3];
    let timer = TokioTimer::new();
    let tools = registry(wasm, &spinner)?;
    runtime()?.block_on(async {
        for _ in 0..scale.of(200) {
            let mine = executions();
            let (wasm, launch) = (wasm.clone(), launch(&spinner, Limits::DEFAULT, &mine)?);
            let call = tokio::spawn(async move { wasm.call(launch, Bytes::from_static(b"{}")).await });
            while mine.is_empty() {
                tokio::task::yield_now().await;
            }
            for (order, held, laps) in
                [(Order::Stop, Held::Hard, &mut stopped), (Order::Kill, Held::Dead, &mut killed)]
            {
                if order == Order::Kill {
                    mine.order(Order::Continue);
                    // So that it computes again when the kill comes.
                    timer.sleep_until(timer.monotonic().after(Duration::from_millis(2))).await;
                }
                let start = watch.read();
                mine.order(order);
                let all = mine.held().await;
                laps.push(watch.lap(start));
                ensure!(all.iter().all(|one| *one == held), "an order did not take hold: {all:?}");
            }
            ensure!(matches!(call.await?.result, Err(ToolError::Killed)), "a killed call has an answer");
            let call = tools.prepare(&"spin".parse()?, Arguments::parse(b"{}")?)?;
            let start = watch.read();
            let ended = tokio::spawn(call.run(CallContext::new("bench".parse()?, Arc::new(timer)))).await?;
            late.push(watch.lap(start).saturating_sub(DEADLINE.as_nanos() as u64));
            ensure!(matches!(ended, Err(ToolError::Timeout)), "an endless loop has an answer");
        }
        anyhow::Ok(())
    })?;
    let mut table = Table::of_figures("an endless loop, order until it holds");
    for (what, laps) in [("stop until no instruction runs", stopped), ("kill until nothing is left", killed)]
    {
        let mean = laps.iter().sum::<u64>() as f64 / laps.len() as f64;
        table.figure(what, &Figure::of(laps, vec![mean]));
    }
    print(format!("\n{table}"))
}

/// What a thousand guests under way take, each parked in the middle of its loop.
fn crowd(scale: Scale, wasm: &Wasm) -> anyhow::Result<()> {
    const GUESTS: usize = 1000;
    let (guests, mine, spinner) = (scale.of(GUESTS), executions(), module(SPINNER)?);
    wasm.check(&Artefact::Module(spinner.clone()), &Limits::DEFAULT).map_err(anyhow::Error::msg)?;
    let before = machine::resident().context("the memory of this process cannot be read")?;
    let mut calls = Vec::with_capacity(guests);
    for _ in 0..guests {
        let mut call =
            Box::pin(wasm.call(launch(&spinner, Limits::DEFAULT, &mine)?, Bytes::from_static(b"{}")));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        ensure!(polled.is_pending(), "an endless loop has ended");
        calls.push(call);
    }
    let after = machine::resident().context("the memory of this process cannot be read")?;
    ensure!(mine.len() == guests, "some are not under way");
    let grown = after.saturating_sub(before);
    let each = grown / u64::try_from(guests)?;
    print(format!("\n{guests} guests at once: {} MiB resident, {} KiB each", grown >> 20, each >> 10))
}
