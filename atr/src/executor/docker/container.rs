//! One container, from its making to its end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, StartContainerOptions, StatsOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::ended::{End, cause};
use super::engine::{ANSWER, Engine, Refusal, WORK};
use super::lifeline::Lifeline;
use super::orders::Orders;
use super::streams::{Ends, Pumps, as_io};
use crate::error::ToolError;
use crate::executor::session::{Cause, Exit, Held, Order, Usage};
use crate::isolation::Level;

/// How long whoever waits for the end is kept waiting for the daemon to remove the container.
const REMOVED: Duration = Duration::from_secs(5);
/// How long the daemon is asked again to remove it.
const PERSISTENCE: Duration = Duration::from_secs(60);
/// How long after a removal that failed it is tried again, and how often at most the daemon is asked for the time used.
const PAUSE: Duration = Duration::from_millis(100);
/// How long what the container wrote last may take to its reader before the end is told.
const DRAIN: Duration = Duration::from_secs(1);
/// How often a container is asked to stop.
const MAX_FREEZES: u32 = 5;
/// How often the daemon may fail to say how much time was used.
const MAX_UNKNOWN: u32 = 5;

pub(super) struct Container {
    engine: Arc<Engine>,
    name: String,
    orders: Arc<Orders>,
    /// How much processor time it has.
    cpu: Duration,
    terminated: AtomicBool,
}

/// What an order has come to.
enum Applied {
    Held,
    /// The daemon did not do it, perhaps because the container has ended.
    Doubtful(String),
    Killed,
}

impl Container {
    pub(super) fn new(engine: Arc<Engine>, name: String, orders: Arc<Orders>, cpu: Duration) -> Self {
        Self { engine, name, orders, cpu, terminated: AtomicBool::new(false) }
    }

    /// Makes the container, runs it and removes it. Says on `started` whether it runs, and on `ended` how it ended. `kept` is
    /// what keeps it within reach and counted; it is dropped when nothing is left.
    pub(super) async fn run(
        self,
        body: Box<ContainerCreateBody>,
        ends: Ends,
        started: oneshot::Sender<Result<(), ToolError>>,
        ended: oneshot::Sender<Exit>,
        kept: impl Sized,
    ) {
        let (pumps, lifeline) = match self.begin(body, ends).await {
            Ok(running) => running,
            Err(error) => {
                let removed = self.removed().await;
                self.orders.hold(u64::MAX, if removed { Held::Dead } else { Held::Abandoned });
                drop(kept);
                // Whoever does not wait any more has ordered a kill, and that is done.
                let _ = started.send(Err(error));
                return;
            }
        };
        // As above: then the next order is a kill.
        let _ = started.send(Ok(()));
        let end = self.follow().await;
        let mut cut = matches!(end, End::Lost(_)) && lifeline.cut(&self.engine).await;
        let out_of_memory = matches!(end, End::Code(code) if code != 0) && self.out_of_memory().await;
        let mut cause =
            cause(end, out_of_memory, self.orders.killed(), self.terminated.load(Ordering::Relaxed));
        let mut removed = pin!(self.removed());
        let gone = tokio::select! {
            biased;
            gone = &mut removed => Some(gone),
            () = self.after(if cut { Duration::ZERO } else { REMOVED }) => None,
        };
        self.drain(pumps).await;
        if gone != Some(true) && !cut {
            cut = lifeline.cut(&self.engine).await;
            if !cut {
                cause = Cause::Lost("the daemon does not answer, and the program may still run".to_owned());
            }
        }
        if gone.is_some() || cut {
            self.orders.hold(u64::MAX, if gone == Some(true) || cut { Held::Dead } else { Held::Abandoned });
        }
        let exit = Exit::new(cause, Usage::default());
        if gone.is_some() {
            drop(kept);
            let _ = ended.send(exit);
            return;
        }
        let _ = ended.send(exit);
        let gone = removed.await;
        self.orders.hold(u64::MAX, if gone || cut { Held::Dead } else { Held::Abandoned });
        drop(kept);
    }

    async fn begin(
        &self,
        body: Box<ContainerCreateBody>,
        ends: Ends,
    ) -> Result<(Pumps, Lifeline), ToolError> {
        let unavailable = |refusal| ToolError::unavailable(Level::Container, refusal);
        let id = self.create(body).await.map_err(unavailable)?;
        let client = &self.engine.client;
        let attach = |stdin, stdout, stderr| {
            let options = AttachContainerOptionsBuilder::default().stream(true);
            let options = options.stdin(stdin).stdout(stdout).stderr(stderr).build();
            self.engine.within(WORK, client.attach_container(&self.name, Some(options)))
        };
        let main = attach(true, true, false).await.map_err(unavailable)?;
        let complaints = attach(false, false, true).await.map_err(unavailable)?;
        let pumps = Pumps::start(&self.engine, ends, main, complaints);
        self.may_start().await?;
        let start = client.start_container(&self.name, None::<StartContainerOptions>);
        match self.engine.within(WORK, start).await {
            Ok(()) => {}
            Err(refusal @ Refusal::Said { .. }) => return Err(ToolError::Spawn { source: as_io(refusal) }),
            Err(silent) => return Err(unavailable(silent)),
        }
        let inspected = client.inspect_container(&self.name, None::<InspectContainerOptions>);
        let state = self.engine.within(ANSWER, inspected).await.ok().and_then(|inspected| inspected.state);
        Ok((pumps, Lifeline::of(state.and_then(|state| state.pid), &id)))
    }

    /// Makes it, and answers its id. Where the daemon refuses one of two keys that no guarantee rests on, it is asked once
    /// more without that one.
    async fn create(&self, body: Box<ContainerCreateBody>) -> Result<String, Refusal> {
        let optional = [
            (&self.engine.no_swappiness, "swappiness"),
            (&self.engine.no_cgroup_namespace, "cgroup namespace"),
        ];
        loop {
            let options = CreateContainerOptionsBuilder::default().name(&self.name).build();
            let body = self.spared(body.clone());
            // Boxed, as what describes a container is kilobytes.
            let created = Box::pin(self.engine.client.create_container(Some(options), *body));
            let refusal = match self.engine.within(WORK, created).await {
                Ok(created) => return Ok(created.id),
                Err(refusal) => refusal,
            };
            let Refusal::Said { message, .. } = &refusal else { return Err(refusal) };
            let message = message.to_lowercase();
            let named = optional.iter().find(|(_, word)| message.contains(word));
            if named.is_none_or(|(refused, _)| refused.swap(true, Ordering::Relaxed)) {
                return Err(refusal);
            }
        }
    }

    /// The body without what this daemon is known to refuse.
    fn spared(&self, mut body: Box<ContainerCreateBody>) -> Box<ContainerCreateBody> {
        if let Some(host) = &mut body.host_config {
            if self.engine.no_swappiness.load(Ordering::Relaxed) {
                host.memory_swappiness = None;
            }
            if self.engine.no_cgroup_namespace.load(Ordering::Relaxed) {
                host.cgroupns_mode = None;
            }
        }
        body
    }

    /// Waits while the agent is stopped.
    async fn may_start(&self) -> Result<(), ToolError> {
        let mut held = Held::Running;
        loop {
            let (orders, given) = self.orders.take();
            for order in orders {
                match order {
                    Order::Stop => held = Held::Hard,
                    Order::Continue => held = Held::Running,
                    Order::Terminate | Order::Kill => return Err(ToolError::Killed),
                }
            }
            self.orders.hold(given, held);
            if held == Held::Running {
                return Ok(());
            }
            self.orders.given().await;
        }
    }

    /// Carries out orders until it has ended.
    async fn follow(&self) -> End {
        let mut exits = pin!(self.exit_code());
        let mut held = Held::Running;
        let (mut check, mut unknown) = (self.after(self.cpu), 0);
        loop {
            tokio::select! {
                biased;
                code = &mut exits => return code,
                () = self.orders.given() => match self.carry_out(&mut held).await {
                    Applied::Held => {}
                    Applied::Killed => return End::Killed,
                    Applied::Doubtful(reason) => return tokio::select! {
                        biased;
                        code = &mut exits => code,
                        () = self.after(ANSWER) => End::Lost(reason),
                    },
                },
                () = &mut check => match self.cpu_used().await {
                    Some(used) if self.cpu <= used => return End::Cpu,
                    Some(used) => {
                        unknown = 0;
                        check = self.after(self.soonest(used));
                    }
                    None if unknown == MAX_UNKNOWN => return End::Lost("its time is not known".to_owned()),
                    None => {
                        unknown += 1;
                        check = self.after(PAUSE);
                    }
                },
            }
        }
    }

    async fn carry_out(&self, held: &mut Held) -> Applied {
        let client = &self.engine.client;
        let (orders, given) = self.orders.take();
        for order in orders {
            let done = match order {
                Order::Kill => return Applied::Killed,
                Order::Terminate => {
                    self.terminated.store(true, Ordering::Relaxed);
                    let options = KillContainerOptionsBuilder::default().signal("SIGTERM").build();
                    self.engine.within(WORK, client.kill_container(&self.name, Some(options))).await
                }
                Order::Stop if *held != Held::Hard => self.paused().await.map(|()| *held = Held::Hard),
                Order::Continue if *held == Held::Hard => {
                    let resumed = self.engine.within(WORK, client.unpause_container(&self.name)).await;
                    resumed.map(|()| *held = Held::Running)
                }
                Order::Stop | Order::Continue => Ok(()),
            };
            // What cannot be stopped must not go on.
            if let Err(refusal) = done {
                return Applied::Doubtful(refusal.to_string());
            }
        }
        self.orders.hold(given, *held);
        Applied::Held
    }

    /// Stops it where it is. A freezer of cgroup v1 may fail on a busy machine, and is asked again then.
    async fn paused(&self) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.engine.within(WORK, self.engine.client.pause_container(&self.name)).await {
                Err(Refusal::Said { status: 500, .. }) if tries < MAX_FREEZES && !self.orders.killed() => {
                    self.after(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn exit_code(&self) -> End {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut waiting = pin!(self.engine.client.wait_container(&self.name, Some(options)));
        match waiting.next().await {
            Some(Ok(exited)) => End::Code(exited.status_code),
            Some(Err(Error::DockerContainerWaitError { code, error })) if error.is_empty() => End::Code(code),
            Some(Err(error)) => End::Lost(Refusal::from(error).to_string()),
            None => End::Lost("the daemon closed the connection".to_owned()),
        }
    }

    /// Processor time of the container so far.
    async fn cpu_used(&self) -> Option<Duration> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut stats = pin!(self.engine.client.stats(&self.name, Some(options)));
        let answer = self.engine.within(WORK, async { stats.next().await.transpose() }).await;
        let used = answer.ok().flatten()?.cpu_stats?.cpu_usage?.total_usage?;
        // Nothing at all is what the daemon says of a container that has just ended.
        (used != 0).then(|| Duration::from_nanos(used))
    }

    /// When what is left can have been used up at the earliest.
    fn soonest(&self, used: Duration) -> Duration {
        let daemon = &self.engine.daemon;
        let at_once = if daemon.quota { 1 } else { daemon.processors };
        (self.cpu.saturating_sub(used) / at_once).max(PAUSE)
    }

    async fn out_of_memory(&self) -> bool {
        let inspected = self.engine.client.inspect_container(&self.name, None::<InspectContainerOptions>);
        let state = self.engine.within(ANSWER, inspected).await.ok().and_then(|inspected| inspected.state);
        state.and_then(|state| state.oom_killed) == Some(true)
    }

    /// Removes it with everything in it. Whether that was done: it is tried for a minute.
    async fn removed(&self) -> bool {
        let until = self.engine.timer.monotonic().after(PERSISTENCE);
        while self.engine.remove(&self.name).await.is_err() {
            if until <= self.engine.timer.monotonic() {
                return false;
            }
            self.after(PAUSE).await;
        }
        true
    }

    async fn drain(&self, pumps: Pumps) {
        tokio::select! {
            biased;
            () = pumps.drained() => {}
            () = self.after(DRAIN) => {}
        }
    }

    fn after(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.engine.timer.sleep_until(self.engine.timer.monotonic().after(wait))
    }
}
