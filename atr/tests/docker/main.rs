//! Programs as containers of a real daemon: what they see, what they may use, how they end, and that nothing of them stays.

#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod confinement;
mod daemon;
mod image;
mod lifecycle;
mod limits;
mod trouble;

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::Clock;
use agent_tool_registry::executor::{Docker, Executions, Exit, Finished, Launch, Session};
use agent_tool_registry::{Artefact, Executor, Limits, Permissions, TokioTimer, ToolError};
use bollard::API_DEFAULT_VERSION;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection of ours, one beside it, and an image, for one test.
pub(crate) struct World {
    pub(crate) docker: Docker,
    pub(crate) raw: bollard::Docker,
    pub(crate) image: String,
    /// Tells the containers of one test from those of others.
    pub(crate) agent: &'static str,
    pub(crate) executions: Executions,
}

impl World {
    pub(crate) async fn new(agent: &'static str) -> Self {
        Self::at(daemon::shared(), agent).await
    }

    pub(crate) async fn at(socket: &std::path::Path, agent: &'static str) -> Self {
        let raw = bollard::Docker::connect_with_unix(socket.to_str().unwrap(), 60, API_DEFAULT_VERSION);
        let raw = raw.unwrap().negotiate_version().await.unwrap();
        let image = image::probe(&raw).await;
        let docker = connected(socket).await;
        let executions = Executions::new(Arc::new(TokioTimer::new()));
        Self { docker, raw, image, agent, executions }
    }

    pub(crate) fn launch(&self, argv: &[&str], limits: Limits) -> Launch {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        Launch {
            artefact: Artefact::Image { reference: self.image.clone(), argv },
            permissions: Permissions::none(),
            limits,
            agent: self.agent.parse().unwrap(),
            timer: Arc::new(TokioTimer::new()),
            executions: self.executions.clone(),
        }
    }

    /// One call, as a registry makes it.
    pub(crate) async fn call(&self, argv: &[&str], limits: Limits) -> Result<Value, ToolError> {
        let finished: Finished = self.docker.call(self.launch(argv, limits), Bytes::from_static(b"{}")).await;
        self.assert_nothing_left().await;
        finished.result.map(agent_tool_registry::Output::into_value)
    }

    pub(crate) async fn probe(&self, argv: &[&str]) -> Value {
        let argv: Vec<&str> = ["/bin/probe"].iter().chain(argv).copied().collect();
        self.call(&argv, Limits::DEFAULT).await.unwrap()
    }

    pub(crate) async fn start(&self, argv: &[&str]) -> Session {
        self.docker.start(self.launch(argv, Limits::DEFAULT)).await.unwrap()
    }

    /// Runs a program to its end: what it wrote on both streams.
    pub(crate) async fn text(&self, argv: &[&str], input: &[u8]) -> (Exit, String, String) {
        let Session { mut stdin, mut stdout, mut stderr, exit, .. } = self.start(argv).await;
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let (mut out, mut err) = (String::new(), String::new());
        let (a, b, exit) =
            tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err), exit);
        assert_eq!((a.unwrap(), b.unwrap()), (out.len(), err.len()));
        self.assert_nothing_left().await;
        (exit, out, err)
    }

    pub(crate) async fn shell(&self, script: &str) -> String {
        let (_, out, err) = self.text(&["/bin/sh", "-c", script], b"").await;
        out + &err
    }

    /// Ids of this test's containers, whatever their state.
    pub(crate) async fn containers(&self) -> Vec<String> {
        let filters = HashMap::from([("label", vec![format!("atr.agent={}", self.agent)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let there = self.raw.list_containers(Some(options)).await.unwrap();
        there.into_iter().map(|container| container.id.unwrap()).collect()
    }

    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(self.containers().await, [] as [&str; 0]);
        assert!(self.executions.is_empty());
    }

    /// Waits until no container of this test is there, and no process of those with these ids.
    pub(crate) async fn gone_within(&self, bound: Duration, ids: &[String]) {
        let timer = TokioTimer::new();
        let until = timer.monotonic().after(bound);
        loop {
            let processes: usize = ids.iter().map(|id| processes(id).len()).sum();
            if self.containers().await.is_empty() && processes == 0 && self.executions.is_empty() {
                return;
            }
            assert!(timer.monotonic() < until, "{processes} processes left, {:?}", self.containers().await);
            pause().await;
        }
    }
}

/// Numbers of the processes in a container, as the host sees them.
pub(crate) fn processes(id: &str) -> Vec<String> {
    let there = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    there
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|name| {
            fs::read_to_string(format!("/proc/{name}/cgroup")).is_ok_and(|groups| groups.contains(id))
        })
        .collect()
}

/// Processor time of all processes in a container, in ticks.
pub(crate) fn ticks(id: &str) -> u64 {
    let of = |pid: String| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1.to_owned();
        let mut fields = fields.split_ascii_whitespace().skip(11).map(|field| field.parse::<u64>().unwrap());
        Some(fields.next()? + fields.next()?)
    };
    processes(id).into_iter().filter_map(of).sum()
}

/// A moment, between two looks at something real.
pub(crate) async fn pause() {
    tokio::task::spawn_blocking(|| std::thread::park_timeout(Duration::from_millis(20))).await.unwrap();
}

pub(crate) async fn pause_for(time: Duration) {
    let timer = TokioTimer::new();
    let until = timer.monotonic().after(time);
    while timer.monotonic() < until {
        pause().await;
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}

/// How long something took, beside what it answered.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let timer = TokioTimer::new();
    let start = timer.monotonic();
    let done = work.await;
    (timer.monotonic().since(start), done)
}

/// A connection. A daemon that many tests use at once may take longer than one attempt waits for it.
async fn connected(socket: &std::path::Path) -> Docker {
    const ATTEMPTS: usize = 15;
    for _ in 1..ATTEMPTS {
        if let Ok(docker) = Docker::connect(socket).await {
            return docker;
        }
    }
    Docker::connect(socket).await.unwrap()
}
