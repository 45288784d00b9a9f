//! Calls that run while others do: one at a time, several at once, or started now and awaited later.

use std::time::Duration;

use agent_control_plane::{AgentHandle, AgentState};
use tokio::task::JoinHandle;

use crate::call::{Call, Ended};
use crate::case::Step;
use crate::fixture::World;
use crate::run::Got;

/// Real time to wait for the disk before looking again whether a call sleeps or is parked.
const TICK: Duration = Duration::from_millis(2);
/// Looks that find nothing new before the clock is moved or a call counts as parked.
const PATIENCE: u32 = 5;
/// Looks at a call that neither ends nor sleeps nor is parked.
const IDLE: u32 = 5_000;
/// Nothing in the cases takes this long on the manual clock.
const END: Duration = Duration::from_secs(3 * 3600);

/// A call, or several in a row, on their way.
pub(crate) struct Task {
    /// The name it was saved under.
    pub(crate) name: String,
    /// Index of the step that started it.
    pub(crate) step: usize,
    agents: Vec<AgentHandle>,
    /// The requests of clients that it answers.
    requests: Vec<u64>,
    handle: JoinHandle<Vec<Ended>>,
    pub(crate) ended: Option<Vec<Ended>>,
}

impl Task {
    pub(crate) fn start(calls: Vec<Call>, name: &str, step: usize) -> Self {
        let agents = calls.iter().filter_map(|call| call.agent().cloned()).collect();
        let requests = calls.iter().filter_map(Call::request).collect();
        let work = async move {
            let mut ended = Vec::new();
            for call in calls {
                ended.push(call.make().await);
            }
            ended
        };
        Self { name: name.to_owned(), step, agents, requests, handle: tokio::spawn(work), ended: None }
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() || self.handle.is_finished()
    }

    async fn look(&mut self) {
        if self.ended.is_none()
            && let Ok(joined) = tokio::time::timeout(TICK, &mut self.handle).await
        {
            let crashed = |error: tokio::task::JoinError| vec![Got::Failed(error.to_string()).into()];
            self.ended = Some(joined.unwrap_or_else(crashed));
        }
    }

    fn is_parked(&self, world: &World) -> bool {
        let stopped =
            |agent: &AgentHandle| matches!(world.kernel.agent(agent.id()), Some(AgentState::Stopped { .. }));
        self.agents.iter().any(stopped)
    }

    /// The client of a request wants no answer any more: whoever serves it drops the call.
    pub(crate) fn call_off(&mut self, request: u64) {
        if self.requests.contains(&request) && !self.is_over() {
            self.give_up(Got::Failed("called off".to_owned()));
        }
    }

    fn give_up(&mut self, got: Got) {
        self.handle.abort();
        self.ended = Some(vec![got.into()]);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Drives tasks to their end, moving the clock while one sleeps beyond those `asleep` before; `Blocked` when all that
/// are left wait for an agent that is stopped and nothing will wake.
pub(crate) async fn drive(world: &World, tasks: &mut [Task], asleep: usize) {
    let (mut idle, mut slept) = (0, Duration::ZERO);
    while let Some(first) = tasks.iter().position(|task| task.ended.is_none()) {
        tasks[first].look().await;
        if tasks[first].ended.is_some() {
            idle = 0;
            continue;
        }
        idle += 1;
        if idle < PATIENCE {
            continue;
        }
        let left = || tasks.iter().filter(|task| !task.is_over());
        let end = if asleep < world.clock.sleepers() {
            if slept < END {
                world.clock.advance(Duration::from_secs(1));
                slept += Duration::from_secs(1);
                continue;
            }
            Got::Failed("the call sleeps for ever".to_owned())
        } else if left().next().is_some() && left().all(|task| task.is_parked(world)) {
            Got::Blocked
        } else if IDLE < idle {
            Got::Failed("the call never ended".to_owned())
        } else {
            continue;
        };
        tasks.iter_mut().filter(|task| !task.is_over()).for_each(|task| task.give_up(end.clone()));
    }
}

/// Lets a task come as far as it gets by itself: to its end, to sleep, or to where it is parked.
pub(crate) async fn settle(world: &World, task: &mut Task, asleep: usize) {
    for _ in 0..250 {
        task.look().await;
        if task.ended.is_some() || asleep < world.clock.sleepers() || task.is_parked(world) {
            return;
        }
    }
}

/// Gives tasks that a change of the clock or a signal woke the time to go on.
pub(crate) async fn let_run(tasks: &mut [Task]) {
    for task in tasks.iter_mut().filter(|task| task.ended.is_none()) {
        for _ in 0..PATIENCE {
            task.look().await;
        }
    }
}

/// Whether a step is calls and nothing else.
pub(crate) fn is_calls(step: &Step) -> bool {
    match step.op.as_str() {
        "parallel" | "repeat" => step.inner().iter().all(is_calls),
        op => op == "adapter" || crate::call::is_call(op),
    }
}

/// The calls of a step, in rows that run beside each other; `None` when one of them is no call.
pub(crate) fn rows(step: &Step, world: &World) -> Option<Vec<Vec<Call>>> {
    let times = |step: &Step| usize::try_from(step.times()).unwrap_or(usize::MAX);
    match step.op.as_str() {
        "parallel" => {
            let mut all = Vec::new();
            for inner in step.inner() {
                for _ in 0..times(step) {
                    all.extend(rows(&inner, world)?);
                }
            }
            Some(all)
        }
        "repeat" => {
            let mut once = Vec::new();
            for inner in step.inner() {
                once.extend(rows(&inner, world)?.into_iter().flatten());
            }
            Some(vec![(0..times(step)).flat_map(|_| once.clone()).collect()])
        }
        "adapter" => Some(vec![crate::adapter::calls(&step.resolved(&world.saved).ok()?, world)]),
        op if crate::call::is_call(op) => Some(vec![vec![Call::of(step, world)]]),
        _ => None,
    }
}
