//! Building a kernel. The policy is a state of the builder, so a kernel without one does not compile.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use agent_primitives::{TenantId, Timer, ToolId, json};
use agent_tool_registry::{Registry, RegistryError, TokioTimer};
use arc_swap::ArcSwapOption;

use super::accounts::AccountTable;
use super::catalogue::Catalogue;
use super::checkpoint::Key;
use super::metrics::Counters;
use super::own::{self, RESERVED};
use super::policies::Policies;
use super::programs::Programs;
use super::shutdown::Closing;
use super::state::Health;
use super::table::Table;
use super::{Inner, Kernel};
use crate::approval::{Approvals, StoreError};
use crate::budget::{AccountId, Budget};
use crate::error::CallError;
use crate::ipc::Exchange;
use crate::policy::{PolicyErrors, PolicySet};
use crate::recorder::{Body, FlightRecorder, RecorderError, Source};

/// How long an agent has to end in order after `SIGTERM`, unless the host says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The builder has no policy yet; there is no `build` in this state.
#[derive(Debug)]
pub struct NeedsPolicy(());

/// The builder has a policy.
#[derive(Debug)]
pub struct Ready {
    policy: PolicySet,
}

/// Builds a [`Kernel`].
#[derive(Debug)]
#[must_use = "nothing is built until `build` is called"]
pub struct KernelBuilder<State> {
    state: State,
    parts: Parts,
}

/// What a kernel is built from besides its policy.
#[derive(Debug)]
struct Parts {
    tools: Registry,
    recorder: Option<FlightRecorder>,
    timer: Option<Arc<dyn Timer>>,
    grace: Duration,
    approvals: Option<Approvals>,
    budgets: Vec<(AccountId, Budget)>,
    dry_run: bool,
    booting: bool,
    programs: Option<Programs>,
    checkpoint_key: Option<Key>,
}

/// Why a kernel could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The organisation's policy abstains, or a policy names tools that are not registered.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// The start could not be recorded.
    #[error(transparent)]
    Recorder(#[from] CallError),
    /// The policy has no canonical form to be recorded in.
    #[error("the policy cannot be recorded: {0}")]
    Document(json::JsonError),
    /// A tool has a name that is kept for the kernel's own tools.
    #[error("the tool `{0}` has a name that begins with `{RESERVED}`, which is the kernel's own")]
    Reserved(ToolId),
    /// The kernel's own tools could not be registered. This is a bug of the kernel.
    #[error("the kernel's own tools cannot be registered: {0}")]
    OwnTools(RegistryError),
    /// The recorder in memory could not be made.
    #[error(transparent)]
    Memory(RecorderError),
    /// The approvals that were kept could not be read.
    #[error(transparent)]
    Approvals(#[from] StoreError),
}

impl KernelBuilder<NeedsPolicy> {
    pub(super) fn new() -> Self {
        let parts = Parts {
            tools: Registry::builder().build(),
            recorder: None,
            timer: None,
            grace: DEFAULT_GRACE,
            approvals: None,
            budgets: Vec::new(),
            dry_run: false,
            booting: false,
            programs: None,
            checkpoint_key: None,
        };
        Self { state: NeedsPolicy(()), parts }
    }

    /// The policy every call is judged by, or a set of them. [`Policy::deny_all`](crate::Policy::deny_all) is the least.
    pub fn policy(self, policy: impl Into<PolicySet>) -> KernelBuilder<Ready> {
        KernelBuilder { state: Ready { policy: policy.into() }, parts: self.parts }
    }
}

impl<State> KernelBuilder<State> {
    /// The tools agents may ask for. None by default. What is registered, approved or withdrawn there later counts from then
    /// on, under the policy that is in force; a policy that names a tool is only loaded once the tool is registered.
    pub fn tools(mut self, tools: Registry) -> Self {
        self.parts.tools = tools;
        self
    }

    /// Where decisions are recorded. By default in memory: see [`FlightRecorder::memory`] for its bound.
    pub fn recorder(mut self, recorder: FlightRecorder) -> Self {
        self.parts.recorder = Some(recorder);
        self
    }

    /// Where time comes from. By default the machine's clock, on tokio's timer.
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.parts.timer = Some(timer);
        self
    }

    /// What all agents together may use.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.parts.budgets.push((AccountId::Kernel, budget));
        self
    }

    /// What all agents of a tenant together may use.
    pub fn tenant(mut self, tenant: TenantId, budget: Budget) -> Self {
        self.parts.budgets.push((AccountId::Tenant(tenant), budget));
        self
    }

    /// How long an agent has to end in order after `SIGTERM`. Default [`DEFAULT_GRACE`].
    pub fn grace(mut self, grace: Duration) -> Self {
        self.parts.grace = grace;
        self
    }

    /// Lets the kernel ask humans. Without it nobody can be asked, and what a rule wants asked is refused.
    pub fn approvals(mut self, approvals: Approvals) -> Self {
        self.parts.approvals = Some(approvals);
        self
    }

    /// Builds the kernel in the state `Booting`: the host can spawn agents, mount stores and give budgets, and calls are
    /// refused until it says [`Kernel::ready`].
    pub fn booting(mut self) -> Self {
        self.parts.booting = true;
        self
    }

    /// What agents can start as their children by [`SPAWN`](super::SPAWN). Without it they can start none.
    pub fn programs(mut self, programs: Programs) -> Self {
        self.parts.programs = Some(programs);
        self
    }

    /// A secret that goes into the digest of each checkpoint, so that nobody without it can make one that is restored. Without
    /// it the digest tells damage, and not an attacker who makes it anew.
    pub fn checkpoint_key(mut self, key: [u8; 32]) -> Self {
        self.parts.checkpoint_key = Some(Key(key));
        self
    }

    /// Puts every agent on a dry run: see [`AgentSpec::dry_run`](super::AgentSpec::dry_run).
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.parts.dry_run = dry_run;
        self
    }
}

impl KernelBuilder<Ready> {
    /// Builds the kernel and records its start.
    ///
    /// # Errors
    /// A tool has a [reserved](RESERVED) name, a rule names a tool that is not registered, the start cannot be recorded, or
    /// the approvals kept cannot be read.
    pub fn build(self) -> Result<Kernel, BuildError> {
        let Self { state: Ready { policy }, parts } = self;
        let Parts { tools, recorder, timer, grace, approvals, budgets, dry_run, .. } = parts;
        let Parts { booting, programs, checkpoint_key, .. } = parts;
        if let Some(taken) = tools.snapshot().ids().find(|id| own::is_reserved(id)) {
            return Err(BuildError::Reserved(taken.clone()));
        }
        let tools = Catalogue::new(tools).map_err(BuildError::OwnTools)?;
        policy.check(&tools.known())?;
        let document = json::canonical(&policy.to_json()).map_err(BuildError::Document)?;
        let digest = policy.digest();
        let recorder = match recorder {
            Some(recorder) => recorder,
            None => FlightRecorder::memory().map_err(BuildError::Memory)?,
        };
        let timer = timer.unwrap_or_else(|| Arc::new(TokioTimer::new()));
        let desk = approvals.map(|approvals| approvals.open(Arc::clone(&timer))).transpose()?;
        let health = Health::new(booting, recorder.dropped());
        let numbers = AtomicU64::new(recorder.head().count + 1);
        let inner = Inner {
            me: Weak::new(),
            checkpoint_key,
            programs,
            policies: Arc::new(Policies::new(policy, timer.now())),
            shadow: ArcSwapOption::empty(),
            tools,
            recorder,
            timer,
            dry_run,
            desk: desk.map(Arc::new),
            grace,
            table: Table::default(),
            accounts: AccountTable::new(),
            exchange: Exchange::default(),
            mode: Mutex::default(),
            numbers,
            closing: Closing::default(),
            health,
            counters: Counters::default(),
            down: OnceLock::new(),
        };
        inner.append(Source::KERNEL, 0, Body::Boot { policy: digest, document: &document })?;
        inner.publish();
        #[cfg(feature = "metrics")]
        super::meters::policy_generation(inner.policies.current().generation);
        let kernel = Kernel { inner: Arc::new_cyclic(|me| Inner { me: Weak::clone(me), ..inner }) };
        for (account, budget) in budgets {
            kernel.set_budget(&account, &budget)?;
        }
        Ok(kernel)
    }
}
