//! Calls that wait for a consent: asked, granted, carried out. Beside them what a host would write by hand.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use agent_control_plane::approval::{
    Approvals, ChannelApprover, FileStore, Principal, Requests, Scope, TicketId,
};
use agent_control_plane::atr::Effect;
use agent_control_plane::call::Syscall;
use agent_control_plane::kernel::OnAsk;
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder, Kernel, Policy};
use agent_os_benches::machine;
use agent_os_benches::statistics::{Effort, Figure, Stopwatch, measure};
use agent_os_benches::table::Table;
use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::options::Options;
use crate::world::{self, at_once};
use crate::{durable, print, progress};

const TOOL: &str = "transfer";
const POLICY: &str = "version: 1\nname: bench\non_violation: deny\nrules:\n\
    - {id: asked, effect: ask, calls: [exec], tools: [transfer]}\n";

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let folder = durable::folder()?;
    let kind = machine::file_system(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut table = Table::of_figures("an approval, recorder in memory");

    progress("  in memory");
    let [asked, granted, ran, whole] = by_hand(watch, options.scaled(20_000), Approvals::new(), None)?;
    table.figure("ask: the call is held", &asked);
    table.figure("grant", &granted);
    table.figure("run: the call again", &ran);
    table.figure("the three, call returns", &whole);
    table.figure("the three, call waits, approver on a channel", &waiting(watch, options, &runtime)?);
    progress("  by hand");
    table.figure("by hand, the three, call returns: map behind a lock", &map(watch, options)?);
    table.figure("by hand, the three, call waits: map and oneshot", &oneshots(watch, options, &runtime)?);

    progress("  in files");
    let store = FileStore::open(folder.path().join("tickets"))?;
    let approvals = Approvals::new().store(store);
    let [asked, granted, ran, whole] = by_hand(watch, options.scaled(500), approvals, Some(&runtime))?;
    table.figure("ask, tickets in files", &asked);
    table.figure("grant, tickets in files", &granted);
    table.figure("run, tickets in files", &ran);
    table.figure("the three, tickets in files", &whole);
    print(format!("\n## Approvals, files on {kind}\n\n{table}"))
}

fn kernel(approvals: Approvals) -> anyhow::Result<Kernel> {
    let policy = Policy::from_yaml("bench.yaml", POLICY)?;
    let builder = world::builder(policy, &[TOOL], Effect::Read)?;
    Ok(builder.approvals(approvals).recorder(FlightRecorder::memory()?).build()?)
}

fn call() -> anyhow::Result<Syscall> {
    world::call(TOOL, json!({ "path": "/data/reports/1.txt", "amount": 2000 }))
}

/// The call, polled once; with a runtime, until it is done, as a store on disk has its own threads.
fn answer(
    runtime: Option<&Runtime>,
    agent: &AgentHandle,
    call: &Syscall,
) -> anyhow::Result<Result<agent_control_plane::call::Reply, CallError>> {
    match runtime {
        None => at_once(agent.syscall(call.clone())),
        Some(runtime) => Ok(runtime.block_on(agent.syscall(call.clone()))),
    }
}

fn held<T>(answer: Result<T, CallError>) -> anyhow::Result<TicketId> {
    match answer {
        Err(CallError::Held { ticket, .. }) => Ok(ticket),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("a call ran that nobody had agreed to"),
    }
}

/// `count` calls that are held, granted and made again: each step, and the three together.
fn by_hand(
    watch: &Stopwatch,
    count: usize,
    approvals: Approvals,
    runtime: Option<&Runtime>,
) -> anyhow::Result<[Figure; 4]> {
    const BATCHES: usize = 7;
    let (kernel, call, ann) = (kernel(approvals)?, call()?, "ann".parse::<Principal>()?);
    let agent = kernel.spawn(AgentSpec::new("bench").on_ask(OnAsk::Return))?;
    let (mut samples, mut means) = ([const { Vec::new() }; 4], [const { Vec::new() }; 4]);
    for _ in 0..BATCHES {
        let mut sums = [0; 4];
        let batch = (count / BATCHES).max(1);
        for _ in 0..batch {
            let start = watch.read();
            let ticket = held(answer(runtime, &agent, &call)?)?;
            let asked = watch.lap(start);
            let start = watch.read();
            kernel.approve(ticket, &ann, Scope::Once)?;
            let granted = watch.lap(start);
            let start = watch.read();
            answer(runtime, &agent, &call)??;
            let ran = watch.lap(start);
            let laps = [asked, granted, ran, asked + granted + ran];
            for ((samples, sum), lap) in samples.iter_mut().zip(&mut sums).zip(laps) {
                samples.push(lap);
                *sum += lap;
            }
        }
        for (means, sum) in means.iter_mut().zip(sums) {
            means.push(sum as f64 / batch as f64);
        }
    }
    let [a, b, c, d] = samples;
    let [w, x, y, z] = means;
    Ok([Figure::of(a, w), Figure::of(b, x), Figure::of(c, y), Figure::of(d, z)])
}

/// One call after the other, each waiting for an approver that is a task of the same thread.
fn waiting(watch: &Stopwatch, options: &Options, runtime: &Runtime) -> anyhow::Result<Figure> {
    let (approver, requests) = ChannelApprover::new(16);
    let (kernel, call) = (kernel(Approvals::new().approver(approver))?, call()?);
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    let approving = runtime.spawn(approve_all(kernel.clone(), requests));
    let figure =
        measure(watch, short(options), 1, |_| anyhow::Ok(runtime.block_on(agent.syscall(call.clone()))?))?;
    approving.abort();
    Ok(figure)
}

async fn approve_all(kernel: Kernel, mut requests: Requests) -> anyhow::Result<()> {
    let bob = "bob".parse::<Principal>()?;
    while let Some(request) = requests.next().await {
        kernel.approve(request.id(), &bob, Scope::Once)?;
    }
    Ok(())
}

/// Fewer samples than for a call in memory: each is a handful of calls.
fn short(options: &Options) -> Effort {
    Effort { samples: options.scaled(50_000), ..options.effort() }
}

/// A call that waits by hand, and whether somebody has agreed.
struct Pending {
    agreed: bool,
    arguments: serde_json::Value,
}

/// Nothing is judged, recorded, bound or bounded: a ticket is a number.
fn map(watch: &Stopwatch, options: &Options) -> anyhow::Result<Figure> {
    let pending: Mutex<HashMap<u64, Pending>> = Mutex::default();
    let lock = || pending.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments = json!({ "path": "/data/reports/1.txt", "amount": 2000 });
    let mut ticket = 0;
    measure(watch, options.effort(), 1, |_| {
        ticket += 1;
        lock().insert(ticket, Pending { agreed: false, arguments: arguments.clone() });
        lock().get_mut(&ticket).context("the ticket is gone")?.agreed = true;
        let Pending { agreed, arguments } = lock().remove(&ticket).context("the ticket is gone")?;
        if agreed { Ok(arguments) } else { bail!("nobody agreed") }
    })
}

/// The same with a call that waits.
fn oneshots(watch: &Stopwatch, options: &Options, runtime: &Runtime) -> anyhow::Result<Figure> {
    type Waiting = HashMap<u64, oneshot::Sender<bool>>;
    let waiting: std::sync::Arc<Mutex<Waiting>> = std::sync::Arc::default();
    let (tell, mut told) = mpsc::channel::<u64>(16);
    let shared = std::sync::Arc::clone(&waiting);
    let approving = runtime.spawn(async move {
        while let Some(ticket) = told.recv().await {
            let sender = shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
            if let Some(sender) = sender {
                // Whoever asked may have given up.
                let _ = sender.send(true);
            }
        }
    });
    let arguments = json!({ "path": "/data/reports/1.txt", "amount": 2000 });
    let mut ticket = 0;
    let figure = measure(watch, short(options), 1, |_| {
        ticket += 1;
        runtime.block_on(async {
            let (sender, answer) = oneshot::channel();
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, sender);
            tell.send(ticket).await?;
            if answer.await? { anyhow::Ok(arguments.clone()) } else { bail!("nobody agreed") }
        })
    })?;
    approving.abort();
    Ok(figure)
}
