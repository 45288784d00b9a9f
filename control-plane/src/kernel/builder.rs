//! Building a kernel. The policy is a state of the builder, so a kernel without one does not compile.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use agent_primitives::{TenantId, Timer, TooManyLabels, json};
use agent_tool_registry::{Registry, TokioTimer, ToolContract};

use super::accounts::AccountTable;
use super::flow::ToolLabels;
use super::table::Table;
use super::{Inner, Kernel};
use crate::approval::{Approvals, StoreError};
use crate::budget::{AccountId, Budget};
use crate::error::CallError;
use crate::policy::{Policy, PolicyErrors};
use crate::recorder::{Body, FlightRecorder, RecorderError, Source};

/// How long an agent has to end in order after `SIGTERM`, unless the host says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The builder has no policy yet; there is no `build` in this state.
#[derive(Debug)]
pub struct NeedsPolicy(());

/// The builder has a policy.
#[derive(Debug)]
pub struct Ready {
    policy: Policy,
}

/// Builds a [`Kernel`].
#[derive(Debug)]
#[must_use = "nothing is built until `build` is called"]
pub struct KernelBuilder<State> {
    state: State,
    tools: Registry,
    recorder: Option<FlightRecorder>,
    timer: Option<Arc<dyn Timer>>,
    grace: Duration,
    approvals: Option<Approvals>,
    budgets: Vec<(AccountId, Budget)>,
}

/// Why a kernel could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The policy names tools that are not registered.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// The start could not be recorded.
    #[error(transparent)]
    Recorder(#[from] CallError),
    /// The policy has no canonical form to be recorded in.
    #[error("the policy cannot be recorded: {0}")]
    Document(json::JsonError),
    /// A tool's contract declares more labels than one value can carry.
    #[error(transparent)]
    Labels(#[from] TooManyLabels),
    /// The recorder in memory could not be made.
    #[error(transparent)]
    Memory(RecorderError),
    /// The approvals that were kept could not be read.
    #[error(transparent)]
    Approvals(#[from] StoreError),
}

impl KernelBuilder<NeedsPolicy> {
    pub(super) fn new() -> Self {
        Self {
            state: NeedsPolicy(()),
            tools: Registry::builder().build(),
            recorder: None,
            timer: None,
            grace: DEFAULT_GRACE,
            approvals: None,
            budgets: Vec::new(),
        }
    }

    /// The policy every call is judged by. [`Policy::deny_all`] is the least one.
    pub fn policy(self, policy: Policy) -> KernelBuilder<Ready> {
        let Self { state: NeedsPolicy(()), tools, recorder, timer, grace, approvals, budgets } = self;
        KernelBuilder { state: Ready { policy }, tools, recorder, timer, grace, approvals, budgets }
    }
}

impl<State> KernelBuilder<State> {
    /// The tools agents may ask for. None by default.
    pub fn tools(mut self, tools: Registry) -> Self {
        self.tools = tools;
        self
    }

    /// Where decisions are recorded. By default in memory: see [`FlightRecorder::memory`] for its bound.
    pub fn recorder(mut self, recorder: FlightRecorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Where time comes from. By default the machine's clock, on tokio's timer.
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// What all agents together may use.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budgets.push((AccountId::Kernel, budget));
        self
    }

    /// What all agents of a tenant together may use.
    pub fn tenant(mut self, tenant: TenantId, budget: Budget) -> Self {
        self.budgets.push((AccountId::Tenant(tenant), budget));
        self
    }

    /// How long an agent has to end in order after `SIGTERM`. Default [`DEFAULT_GRACE`].
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Lets the kernel ask humans. Without it nobody can be asked, and what a rule wants asked is refused.
    pub fn approvals(mut self, approvals: Approvals) -> Self {
        self.approvals = Some(approvals);
        self
    }
}

impl KernelBuilder<Ready> {
    /// Builds the kernel and records its start.
    ///
    /// # Errors
    /// A rule names a tool that is not registered, the start cannot be recorded, or the approvals kept cannot be read.
    pub fn build(self) -> Result<Kernel, BuildError> {
        let Self { state: Ready { policy }, tools, recorder, timer, grace, approvals, budgets } = self;
        policy.check_tools(tools.iter().map(ToolContract::id))?;
        let recorder = match recorder {
            Some(recorder) => recorder,
            None => FlightRecorder::memory().map_err(BuildError::Memory)?,
        };
        let timer = timer.unwrap_or_else(|| Arc::new(TokioTimer::new()));
        let desk = approvals.map(|approvals| approvals.open(Arc::clone(&timer))).transpose()?;
        let numbers = AtomicU64::new(recorder.head().count + 1);
        let inner = Inner {
            policy,
            tool_labels: ToolLabels::of(&tools)?,
            tools,
            recorder,
            timer,
            desk: desk.map(Arc::new),
            grace,
            table: Table::default(),
            accounts: AccountTable::new(),
            mode: Mutex::default(),
            numbers,
            closing: AtomicBool::new(false),
            down: OnceLock::new(),
        };
        let document = json::canonical(&inner.policy.to_json()).map_err(BuildError::Document)?;
        inner.append(Source::KERNEL, 0, Body::Boot { policy: inner.policy.digest(), document: &document })?;
        inner.publish();
        let kernel = Kernel { inner: Arc::new(inner) };
        for (account, budget) in budgets {
            kernel.set_budget(&account, &budget)?;
        }
        Ok(kernel)
    }
}
