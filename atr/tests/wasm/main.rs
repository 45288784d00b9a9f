//! Programs as WebAssembly: what they may be, what they are held to, how they are stopped, and that nothing of them stays.
//! The names of tests carry the numbers of the abuse cases that they show.

#![cfg(feature = "wasm")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::panic, reason = "a test may fail loudly")]

mod answers;
mod bombs;
mod guests;
mod hostile;
mod limits;
mod signals;
mod streams;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_primitives::{Clock, Timer};
use agent_tool_registry::executor::{Executions, Finished, Launch};
use agent_tool_registry::{
    Arguments, Artefact, CallContext, Executor, Executors, Level, Limits, Output, Permissions, Registry,
    RegistryError, SandboxPolicy, TokioTimer, ToolError, Wasm,
};
use bytes::Bytes;
use serde_json::{Value, json};

/// One engine for all tests of a process.
fn wasm() -> &'static Wasm {
    static WASM: OnceLock<Wasm> = OnceLock::new();
    WASM.get_or_init(|| Wasm::new().unwrap())
}

/// On one thread, where a guest that does not come back would keep everything else waiting.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn executions() -> Executions {
    Executions::new(Arc::new(TokioTimer::new()))
}

fn launch(module: Bytes, limits: Limits, executions: &Executions) -> Launch {
    Launch {
        artefact: Artefact::Module(module),
        permissions: Permissions::none(),
        limits,
        agent: "tester".parse().unwrap(),
        timer: Arc::new(TokioTimer::new()),
        executions: executions.clone(),
    }
}

async fn call(module: Bytes, limits: Limits, arguments: &'static str) -> Finished {
    wasm().call(launch(module, limits, &executions()), Bytes::from_static(arguments.as_bytes())).await
}

fn answer(module: Bytes, limits: Limits, arguments: &'static str) -> Result<Value, ToolError> {
    block_on(call(module, limits, arguments)).result.map(Output::into_value)
}

fn register(module: Bytes, limits: Limits) -> Result<Registry, RegistryError> {
    let mut tools = Registry::builder().executors(Executors::none().with(wasm().clone()));
    tools
        .tool("t")
        .description("Test.")
        .limits(limits)
        .isolation(SandboxPolicy::at_least(Level::Wasm))
        .program(json!({"type": "object", "additionalProperties": true}), [Artefact::Module(module)])?;
    Ok(tools.build())
}

fn context() -> CallContext {
    CallContext::new("tester".parse().unwrap(), Arc::new(TokioTimer::new()))
}

/// A call of the tool through the registry, with its deadline.
fn tool(
    registry: &Registry,
    cx: CallContext,
) -> impl Future<Output = Result<Output, ToolError>> + Send + use<> {
    registry.prepare(&"t".parse().unwrap(), Arguments::parse(b"{}").unwrap()).unwrap().run(cx)
}

/// Turns the runtime over until `done`; the bound is only there so that a failing test ends.
async fn until(done: impl Fn() -> bool) {
    let timer = TokioTimer::new();
    let give_up = timer.monotonic().after(Duration::from_secs(60));
    while !done() {
        assert!(timer.monotonic() < give_up, "it never happened");
        timer.sleep_until(timer.monotonic().after(Duration::from_millis(1))).await;
    }
}
