//! What the host does with agents: spawn, run, wait, list, mount.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use agent_primitives::json::{self, Value};
use agent_primitives::{AgentId, LabelSet, Signal};
use agent_tool_registry::executor::Executions;
use tracing::{Instrument, Span};

use super::children::CHILD;
use super::files::Files;
use super::policies::Footing;
use super::running::{discard, panic_text};
use super::spec::{AgentSpec, MAX_FACTS, SpawnError};
use super::table::{About, Agent, AgentState, ExitStatus, TableError};
use super::{Inner, Kernel};
use crate::agent::AgentHandle;
use crate::error::{CallError, SignalError};
use crate::observe::spans;
use crate::recorder::{Actor, Body, Trail};
use crate::tree;
use crate::vfs::{Mount, VfsPath};

/// One live agent, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentInfo {
    /// Its name.
    pub id: AgentId,
    /// Which life of that name.
    pub generation: u64,
    /// What it is doing.
    pub state: AgentState,
    /// The agent it is a child of.
    pub parent: Option<AgentId>,
}

impl Kernel {
    /// Starts an agent and returns the handle through which it makes its calls.
    ///
    /// # Errors
    /// See [`SpawnError`]; nothing is left behind.
    pub fn spawn(&self, spec: AgentSpec) -> Result<AgentHandle, SpawnError> {
        let inner = &self.inner;
        let parent = self.parent_of(&spec)?;
        let agent = inner.start(spec, parent.as_ref(), "")?;
        Ok(AgentHandle::new(Arc::clone(inner), agent))
    }

    pub(super) fn parent_of(&self, spec: &AgentSpec) -> Result<Option<Arc<Agent>>, SpawnError> {
        let Some(id) = &spec.parent else { return Ok(None) };
        let parent = self.inner.table.live(id.as_str());
        parent.map(Some).ok_or_else(|| SpawnError::NoParent(id.clone()))
    }

    /// Starts an agent, runs its program to the end and returns how it ended.
    ///
    /// The program is a future: the kernel drops it when the agent is ended from outside, and contains its panics. A
    /// future that never awaits cannot be stopped from outside. What it returns is its exit code.
    ///
    /// # Cancel safety
    /// Dropped, it ends the agent by `SIGKILL`.
    ///
    /// # Errors
    /// The agent could not be started.
    pub async fn run<P, F>(&self, spec: AgentSpec, program: P) -> Result<ExitStatus, SpawnError>
    where
        P: FnOnce(AgentHandle) -> F,
        F: Future<Output = i32>,
    {
        let handle = self.spawn(spec)?;
        let agent = Arc::clone(handle.cell());
        let owned = Owned::new(Arc::clone(&self.inner), Arc::clone(&agent));
        owned.drive(|| program(handle)).await;
        let status = agent.ended().cloned();
        status.ok_or_else(|| SpawnError::Kernel(self.inner.dead(&agent)))
    }

    /// Waits until the agent that has this name now has ended and nothing is left of the programs that ran for it, and takes
    /// its exit status. `None` if no such agent is alive or remembered. For the programs it waits no longer than
    /// [`MAX_SETTLING`](super::MAX_SETTLING).
    ///
    /// Cancel safe: the status is taken only when it is returned.
    pub async fn wait(&self, agent: &AgentId) -> Option<ExitStatus> {
        let inner = &self.inner;
        let Some(cell) = inner.table.live(agent.as_str()) else {
            if let Some(dying) = inner.table.dying(agent) {
                inner.see_out(&dying).await;
            }
            return inner.table.reap(agent, None);
        };
        inner.changed(&cell, |_| false).await;
        inner.see_out(&cell).await;
        // Taken from the table if it is there already; the cell knows it in any case.
        let reaped = inner.table.reap(agent, Some(cell.generation));
        reaped.or_else(|| cell.ended().cloned())
    }

    /// What an agent is doing; `None` when it is neither alive nor remembered.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<AgentState> {
        match self.inner.table.live(id.as_str()) {
            Some(agent) => {
                self.inner.enforce_grace(&agent);
                Some(agent.state())
            }
            None => self.inner.table.zombie(id.as_str()).map(AgentState::Zombie),
        }
    }

    /// The live agents, in order of their names.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentInfo> {
        let info = |agent: &Arc<Agent>| {
            self.inner.enforce_grace(agent);
            let parent = agent.lineage.first().map(|parent| parent.id.clone());
            AgentInfo { id: agent.id.clone(), generation: agent.generation, state: agent.state(), parent }
        };
        let mut agents: Vec<AgentInfo> = self.inner.table.all_live().iter().map(info).collect();
        agents.retain(|agent| !matches!(agent.state, AgentState::Zombie(_)));
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        agents
    }

    /// Says that an agent has been told `text`, such as its user's request, and what that carries: nothing, if the host
    /// vouches for it. Values that stand in it can then be traced to it.
    ///
    /// # Errors
    /// No such agent, more labels than an agent can carry, or a recorder that fails.
    pub fn tell(&self, agent: &AgentId, text: &str, labels: &LabelSet) -> Result<(), CallError> {
        let cell = self.inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        self.inner.join(&cell, labels)?;
        cell.turn.lock().origins.heard(text, labels);
        let action = format!("tells {} bytes carrying [{labels}]", text.len());
        self.inner.append(cell.source(), 0, Body::Host { action: &action }).map(drop)
    }

    /// Takes labels off an agent, on the host's word: what it has read is no longer held against it. `by` and `reason`
    /// are for the record. Returns what was taken off.
    ///
    /// What the agent has written keeps the labels it was written with, and a later read brings them back.
    ///
    /// # Errors
    /// No such agent, or a recorder that fails; then nothing is taken off.
    pub fn declassify(
        &self,
        agent: &AgentId,
        labels: &LabelSet,
        by: &str,
        reason: &str,
    ) -> Result<LabelSet, CallError> {
        let cell = self.inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        self.inner.take_off(&cell, 0, labels, by, reason)
    }

    /// What is known of everything a live agent has read so far; `None` when there is no such agent.
    #[must_use]
    pub fn labels(&self, agent: &AgentId) -> Option<LabelSet> {
        self.inner.table.live(agent.as_str()).map(|cell| cell.turn.lock().labels.clone())
    }

    /// Mounts a store in the tree of a live agent.
    ///
    /// # Errors
    /// No such agent, a mount that does not fit, or a recorder that fails.
    pub fn mount(&self, agent: &AgentId, mount: Mount) -> Result<(), CallError> {
        let cell = self.inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        let labels = mount.added_labels();
        let carrying = if labels.is_empty() { String::new() } else { format!(" carrying [{labels}]") };
        let action = format!("mounts {} {}{carrying}", mount.point(), mount.access().name());
        cell.files.mount(mount)?;
        self.inner.append(cell.source(), 0, Body::Host { action: &action }).map(drop)
    }

    /// Takes a mount of a live agent away, for its open descriptors too.
    ///
    /// # Errors
    /// No such agent, nothing mounted at that point, or a recorder that fails.
    pub fn unmount(&self, agent: &AgentId, point: &VfsPath) -> Result<(), CallError> {
        let cell = self.inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        cell.files.unmount(point)?;
        let action = format!("unmounts {point}");
        self.inner.append(cell.source(), 0, Body::Host { action: &action }).map(drop)
    }
}

/// An agent whose program runs here: when the program is given up, begun or not, the agent ends with it.
pub(super) struct Owned {
    inner: Arc<Inner>,
    agent: Arc<Agent>,
    /// Is told how the agent ended.
    span: Span,
}

impl Owned {
    /// The span of the program lies in the one that is current now.
    pub(super) fn new(inner: Arc<Inner>, agent: Arc<Agent>) -> Self {
        let span = spans::invoking(&agent);
        Self { inner, agent, span }
    }

    /// Runs the program that `start` begins, until it or its agent ends.
    pub(super) async fn drive<F: Future<Output = i32>>(self, start: impl FnOnce() -> F) {
        let span = self.span.clone();
        self.steps(start).instrument(span).await;
    }

    async fn steps<F: Future<Output = i32>>(self, start: impl FnOnce() -> F) {
        let (inner, agent) = (&self.inner, &self.agent);
        let crash = |panic| {
            let status = ExitStatus::Crashed { panic: panic_text(panic) };
            inner.end(agent, status, Actor::Kernel);
        };
        match catch_unwind(AssertUnwindSafe(|| Box::pin(start()))) {
            Err(panic) => crash(panic),
            Ok(mut program) => {
                let mut ended = pin!(inner.changed(agent, |_| false));
                poll_fn(|context| {
                    if agent.word.load().closed() {
                        return Poll::Ready(());
                    }
                    match catch_unwind(AssertUnwindSafe(|| program.as_mut().poll(context))) {
                        Ok(Poll::Pending) => return ended.as_mut().poll(context),
                        Ok(Poll::Ready(code)) => {
                            let status = ExitStatus::Exited { code, message: String::new() };
                            inner.end(agent, status, Actor::Agent(agent.id.as_str()));
                        }
                        Err(panic) => crash(panic),
                    }
                    Poll::Ready(())
                })
                .await;
                discard(program);
                inner.see_out(agent).await;
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let reason = "its program was dropped".to_owned();
        self.inner.end(&self.agent, ExitStatus::Signaled { signal: Signal::Kill, reason }, Actor::Host);
        spans::ended(&self.span, self.agent.ended());
    }
}

impl Inner {
    /// Starts an agent, as a child if there is a parent. `program` is what the kernel will run for it.
    pub(super) fn start(
        &self,
        spec: AgentSpec,
        parent: Option<&Arc<Agent>>,
        program: &str,
    ) -> Result<Arc<Agent>, SpawnError> {
        let span = spans::creating(&spec.id, parent.map(|parent| &parent.id));
        let started = span.in_scope(|| self.begin_life(spec, parent, program));
        spans::created(&span, started.as_ref().map(|agent| &**agent).map_err(SpawnError::code));
        started
    }

    /// See [`Inner::start`].
    fn begin_life(
        &self,
        spec: AgentSpec,
        parent: Option<&Arc<Agent>>,
        program: &str,
    ) -> Result<Arc<Agent>, SpawnError> {
        self.starting()?;
        let spec = match parent {
            Some(parent) => spec.below(parent)?,
            None if spec.id.contains(CHILD) || spec.id.ends_with(':') => {
                return Err(SpawnError::Reserved(spec.id));
            }
            None => spec,
        };
        let id = spec.id.parse::<AgentId>();
        let id = id.map_err(|source| SpawnError::Name { name: spec.id.clone(), source })?;
        // Before anything is put together, so that a spawn that is refused touches nothing of whoever has the name.
        let name = self.table.reserve(&id).map_err(|error| match error {
            TableError::Exists => SpawnError::AlreadyExists(id.clone()),
            TableError::Full => SpawnError::Full { limit: super::MAX_AGENTS },
        })?;
        let agent = Arc::new(self.conceive(id, &spec, parent)?);
        let facts = json::canonical(&Value::Object(spec.facts.clone())).map_err(SpawnError::Facts)?;
        let document = spec.task.as_ref().map(|task| json::canonical(&task.to_json())).transpose();
        let document = document.map_err(SpawnError::Facts)?.unwrap_or_default();
        let born = Body::Spawn {
            facts: &facts,
            tenant: agent.tenant.as_ref().map_or("", |tenant| tenant.as_str()),
            labels: spec.labels.clone(),
            under: agent.footing.generation(),
            task: &document,
            dry_run: agent.dry_run,
        };
        let append = |body| self.recorder.append(self.timer.now(), agent.source(), 0, body);
        // Nobody finds it, to end it or to raise a signal against it, before its beginning is on record.
        let recorded = self.adopt(&agent, || {
            append(born)?;
            if let Some(parent) = parent {
                let (id, generation) = (parent.id.as_str(), parent.generation);
                append(Body::Child { parent: id, parent_generation: generation, program })?;
            }
            name.begins(&agent);
            Ok(())
        })?;
        recorded.map_err(|error| self.recorder_failed(&error))?;
        agent.files.open_inbox(spec.labels.clone());
        // After the name was taken, so that a spawn that is refused changes nobody's budget.
        self.tell(agent.accounts.agent.set(&spec.budget));
        self.tell(agent.accounts.task.set(&spec.task_budget));
        // A shutdown that began meanwhile may have looked at the table before the agent was in it.
        if let Err(down) = self.starting() {
            let reason = "the kernel is shutting down".to_owned();
            self.end(&agent, ExitStatus::Signaled { signal: Signal::Kill, reason }, Actor::Kernel);
            return Err(down.into());
        }
        Ok(agent)
    }

    /// Puts an agent together that is in no table yet.
    fn conceive(
        &self,
        id: AgentId,
        spec: &AgentSpec,
        parent: Option<&Arc<Agent>>,
    ) -> Result<Agent, SpawnError> {
        let canonical = json::canonical(&Value::Object(spec.facts.clone())).map_err(SpawnError::Facts)?;
        if MAX_FACTS < canonical.len() {
            return Err(SpawnError::Facts(json::JsonError::TooLarge { limit: MAX_FACTS }));
        }
        if let Some(task) = &spec.task {
            task.check_tools(&self.tools.known())?;
        }
        let (task, trail) = (spec.task.clone(), Arc::new(Trail::default()));
        let footing = Arc::new(match parent {
            Some(parent) => parent.footing.below(task),
            None => Footing::new(&self.policies, task),
        });
        let tenant = spec.tenant.clone();
        let port = self.exchange.port(&id, tenant.as_ref(), &self.timer);
        let facts = Arc::new(spec.facts.clone());
        let lineage = parent.into_iter().flat_map(|parent| std::iter::once(parent).chain(&parent.lineage));
        let lineage: Box<[Arc<Agent>]> = lineage.cloned().collect();
        let standard = tree::standard(tree::Shown {
            agent: &id,
            tenant: tenant.as_ref(),
            facts: &facts,
            above: lineage.iter().map(|above| (above.id.clone(), Arc::clone(&above.facts))).collect(),
            footing: &footing,
            trail: &trail,
            tools: &self.tools,
            board: port.board(),
            timer: &self.timer,
        });
        let standard = standard.map_err(SpawnError::Tree)?;
        let taken = |mount: &Mount| spec.mounts.iter().any(|own| own.point() == mount.point());
        let standard: Vec<Mount> = standard.into_iter().filter(|mount| !taken(mount)).collect();
        let files = Files::new(standard, spec.mounts.iter().cloned(), port, Arc::clone(&self.timer));
        let files = files.map_err(SpawnError::Mount)?;
        let above = parent.map(|parent| &parent.accounts);
        let accounts = self.accounts.of(&id, tenant.as_ref(), above, self.timer.monotonic());
        let accounts = accounts.map_err(|_full| CallError::TooManyAccounts { limit: super::MAX_ACCOUNTS })?;
        let about = About {
            accounts,
            tenant,
            facts,
            labels: spec.labels.clone(),
            provenance: spec.provenance,
            on_ask: spec.on_ask,
            footing,
            dry_run: spec.dry_run || self.dry_run,
            lineage,
            executions: Executions::new(Arc::clone(&self.timer)),
        };
        let agent = Agent::new(id, self.next_number(), files, trail, about);
        if spec.stopped {
            let _first = agent.word.stop();
            agent.word_changed();
        }
        Ok(agent)
    }

    /// Refuses new agents when the kernel takes none.
    fn starting(&self) -> Result<(), CallError> {
        self.up()?;
        if self.closing.has_begun() {
            return Err(CallError::KernelDown { reason: "it is shutting down".to_owned() });
        }
        Ok(())
    }
}
