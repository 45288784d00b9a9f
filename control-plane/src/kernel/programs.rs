//! What agents can start as their children: programs that the host registers by name.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use agent_primitives::json::Value;
use agent_tool_registry::{Output, ToolError};

use super::Inner;
use super::agents::Owned;
use super::children::CHILD;
use super::own::{self, Spawn, Started};
use super::running::{Intent, panic_text};
use super::spec::{AgentSpec, SpawnError};
use super::table::Agent;
use crate::agent::AgentHandle;
use crate::call::Reply;
use crate::error::CallError;
use crate::observe::spans::Executing;
use crate::policy::Policy;
use crate::policy::permit::Permit;

/// A program under way: it ends with the exit code of its agent.
pub type Run = Pin<Box<dyn Future<Output = i32> + Send>>;

/// A task for the host to run to its end. Dropped before that, it ends its agent.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a child does. Any function from a handle and a value to a future that answers an exit code is one, and so is a
/// program that runs in a place of its own: [`Hosted`](super::Hosted).
pub trait Program: Send + Sync {
    /// Starts the program of an agent that was just started, on what its parent gave it.
    fn start(&self, agent: AgentHandle, input: Value) -> Run;

    /// Whether it can be started here, asked before there is an agent for it.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> Result<(), ToolError> {
        Ok(())
    }
}

impl<P, F> Program for P
where
    P: Fn(AgentHandle, Value) -> F + Send + Sync,
    F: Future<Output = i32> + Send + 'static,
{
    fn start(&self, agent: AgentHandle, input: Value) -> Run {
        Box::pin(self(agent, input))
    }
}

/// The programs that agents can start by [`SPAWN`](super::SPAWN), and where they run.
///
/// The kernel runs nothing by itself: each program is handed to the host's spawner as one future, such as to `tokio::spawn`.
/// The future contains panics and ends when its agent is ended.
///
/// ```
/// use agent_control_plane::kernel::Programs;
///
/// let programs = Programs::new(|task| drop(tokio::spawn(task)))
///     .program("greet", |agent: agent_control_plane::AgentHandle, input| async move {
///         agent.exec("echo", input).await.map_or(1, |_| 0)
///     });
/// ```
#[derive(Clone)]
pub struct Programs {
    spawner: Arc<dyn Fn(Task) + Send + Sync>,
    by_name: HashMap<String, Arc<dyn Program>>,
}

impl Programs {
    /// No program yet; `spawner` is given each to run.
    #[must_use]
    pub fn new(spawner: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self { spawner: Arc::new(spawner), by_name: HashMap::new() }
    }

    /// The same programs and one more. A name given twice means the last.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>, program: impl Program + 'static) -> Self {
        self.by_name.insert(name.into(), Arc::new(program));
        self
    }
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&String> = self.by_name.keys().collect();
        names.sort();
        f.debug_set().entries(names).finish()
    }
}

impl Inner {
    /// Starts a child of an agent, on its permit to.
    pub(crate) fn spawn_child(
        &self,
        agent: &Arc<Agent>,
        intent: &Intent,
        permit: Permit<Spawn>,
    ) -> Result<Reply, CallError> {
        let executing = Executing::begin(agent, intent.call, own::SPAWN);
        let result = executing.span().in_scope(|| self.start_child(agent, intent, permit.redeem()));
        executing.finish(&result);
        result
    }

    fn start_child(&self, agent: &Arc<Agent>, intent: &Intent, spawn: Spawn) -> Result<Reply, CallError> {
        let Spawn { name, program, input, task_policy, dry_run } = spawn;
        let programs = self.programs.as_ref().ok_or(SpawnError::NoPrograms)?;
        let found = programs.by_name.get(&program).map(Arc::clone);
        let found = found.ok_or_else(|| SpawnError::UnknownProgram(program.clone()))?;
        found.check().map_err(SpawnError::Unrunnable)?;
        let owner = format!("{}{CHILD}{name}", agent.id);
        let mut spec = AgentSpec::new(name).on_ask(agent.on_ask).dry_run(dry_run);
        if let Some(document) = task_policy {
            let task = Policy::from_agent("task_policy", &owner, &Value::Object(document).to_string());
            spec = spec.task_policy(task.map_err(SpawnError::from)?);
        }
        // The kernel is there: it is making this call.
        let kernel = self.me.upgrade().ok_or_else(|| self.dead(agent))?;
        let child = self.start(spec, Some(agent), &program)?;
        let output = Output::of(Started { agent: child.id.clone() }, own::MAX_ANSWER);
        let owned = Owned::new(Arc::clone(&kernel), Arc::clone(&child));
        let start = move || found.start(AgentHandle::new(kernel, child), input);
        let task: Task = Box::pin(async move { owned.drive(start).await });
        catch_unwind(AssertUnwindSafe(|| (programs.spawner)(task)))
            .map_err(|panic| CallError::Crashed { panic: panic_text(panic) })?;
        Ok(Reply::Output { output: output?, labels: agent_primitives::LabelSet::EMPTY, call: intent.call })
    }
}
