//! A kernel with the workload's rules and tools.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_control_plane::atr::{Arguments, CallContext, Effect, Registry};
use agent_control_plane::call::{Change, FileRef, RawArguments, Syscall, WriteTo};
use agent_control_plane::kernel::{KernelBuilder, Ready};
use agent_control_plane::policy::PolicySet;
use agent_control_plane::primitives::{Signal, SignalSet};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder, Kernel, Policy};
use agent_os_benches::naive;
use agent_os_benches::workload::{Request, ToolCalls};
use anyhow::bail;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The file that reads and writes are about.
pub(crate) const FILE: &str = "/mem/working/note";
/// Size of what is read and written.
pub(crate) const FILE_BYTES: usize = 256;

/// Grants the agent its working memory.
const FILE_RULES: &str =
    "- {id: files, effect: allow, calls: [read, write, open], paths: [/mem/working/**]}\n";

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the tools do nothing, but their arguments are deserialised as any tool's are")]
pub(crate) struct ToolArguments {
    path: Option<String>,
    amount: Option<i64>,
}

/// A kernel under the workload's rules, with a tool for each id that occurs in it. The tools do nothing and declare
/// `effect`.
pub(crate) fn kernel(
    workload: &ToolCalls,
    on_violation: &str,
    effect: Effect,
    recorder: FlightRecorder,
) -> anyhow::Result<Kernel> {
    let policy = Policy::from_yaml("bench.yaml", &workload.to_yaml(on_violation, FILE_RULES))?;
    Ok(builder(policy, &workload.tools(), effect)?.recorder(recorder).build()?)
}

/// The beginning of a kernel under `policy`, with these tools. They do nothing and declare `effect`.
pub(crate) fn builder(
    policy: impl Into<PolicySet>,
    ids: &[&str],
    effect: Effect,
) -> anyhow::Result<KernelBuilder<Ready>> {
    let mut tools = Registry::builder();
    for id in ids {
        let nothing = async |_: CallContext, _: ToolArguments| Ok(());
        tools.tool(id).description("Does nothing").effects([effect]).run(nothing)?;
    }
    Ok(Kernel::builder().policy(policy).tools(tools.build()))
}

/// A call of a tool, with arguments that were read and made canonical before.
pub(crate) fn call(tool: &str, arguments: Value) -> anyhow::Result<Syscall> {
    let arguments = RawArguments::Checked(Arguments::from_value(arguments)?);
    Ok(Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None })
}

/// An agent that is refused over and over and goes on: it holds back the signal that would stop it.
pub(crate) fn stubborn(kernel: &Kernel) -> anyhow::Result<AgentHandle> {
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    let looping = SignalSet::EMPTY.with(Signal::Loop);
    at_once(agent.mask(looping, SignalSet::EMPTY))??;
    Ok(agent)
}

/// The requests of a workload that the rules allow, or those they do not.
pub(crate) fn requests(workload: &ToolCalls, allowed: bool) -> Vec<&Request> {
    workload.requests.iter().filter(|request| naive::allows(&workload.rules, request) == allowed).collect()
}

/// Requests as calls, in the form that `make` gives them.
pub(crate) fn calls_of(
    requests: &[&Request],
    make: impl Fn(&Request) -> anyhow::Result<Syscall>,
) -> anyhow::Result<Vec<Syscall>> {
    requests.iter().map(|request| make(request)).collect()
}

/// A call with arguments that were read and made canonical before.
pub(crate) fn checked(request: &Request) -> anyhow::Result<Syscall> {
    let arguments = Arguments::from_value(Value::Object(request.arguments.clone()))?;
    Ok(exec(request, RawArguments::Checked(arguments)))
}

/// A call with arguments as a model writes them.
pub(crate) fn json(request: &Request) -> anyhow::Result<Syscall> {
    let text = Bytes::from(serde_json::to_vec(&request.arguments)?);
    Ok(exec(request, RawArguments::Json(text)))
}

fn exec(request: &Request, arguments: RawArguments) -> Syscall {
    Syscall::Exec { tool: request.tool.clone(), arguments, deadline: None }
}

/// A read of [`FILE`].
pub(crate) fn read() -> Syscall {
    Syscall::Read {
        file: FileRef::Path(FILE.to_owned()),
        offset: None,
        length: FILE_BYTES as u64,
        nonblock: false,
    }
}

/// A write of [`FILE`].
pub(crate) fn write() -> Syscall {
    let to = WriteTo::Path { path: FILE.to_owned(), change: Change::Replace, expected: None, ttl: None };
    Syscall::Write { to, data: Bytes::from(vec![b'x'; FILE_BYTES]) }
}

/// What a call that nothing waits for answers: a call in memory is done when it is first polled.
pub(crate) fn at_once<T>(call: impl Future<Output = T>) -> anyhow::Result<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => bail!("a call in memory waited"),
    }
}

/// An error unless policy refused the call.
pub(crate) fn refused<T>(answer: Result<T, CallError>) -> anyhow::Result<CallError> {
    match answer {
        Err(denied @ CallError::Denied(_)) => Ok(denied),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("a call was allowed that the rules deny"),
    }
}
