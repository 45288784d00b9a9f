//! What the host says about an agent it starts, and why one was not started.

use agent_primitives::json::{self, Value};
use agent_primitives::{AgentId, LabelSet, TenantId};
use agent_tool_registry::ToolError;
use serde_json::Map;

use super::consent::OnAsk;
use crate::budget::Budget;
use crate::error::CallError;
use crate::flow::Provenance;
use crate::policy::{Policy, PolicyErrors};
use crate::vfs::{BadPath, Mount, PathError};

/// Most bytes of facts the host may attach to one agent, as canonical JSON.
pub const MAX_FACTS: usize = 64 << 10;

/// What the host says about an agent it starts.
#[derive(Debug)]
pub struct AgentSpec {
    pub(super) id: String,
    pub(super) parent: Option<AgentId>,
    pub(super) tenant: Option<TenantId>,
    pub(super) labels: LabelSet,
    pub(super) provenance: Provenance,
    pub(super) facts: Map<String, Value>,
    pub(super) mounts: Vec<Mount>,
    pub(super) on_ask: OnAsk,
    pub(super) budget: Budget,
    pub(super) task_budget: Budget,
    pub(super) task: Option<Policy>,
    pub(super) dry_run: bool,
    pub(super) stopped: bool,
}

impl AgentSpec {
    /// An agent of this name, with memory under `/mem/working` and nothing else to write to.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            parent: None,
            tenant: None,
            labels: LabelSet::EMPTY,
            provenance: Provenance::default(),
            facts: Map::new(),
            mounts: Vec::new(),
            on_ask: OnAsk::default(),
            budget: Budget::new(),
            task_budget: Budget::new(),
            task: None,
            dry_run: false,
            stopped: false,
        }
    }

    /// The live agent it is a child of. Its name is then `parent::name`: see [`CHILD`](super::CHILD).
    ///
    /// It begins with what its parent knows: it carries the parent's labels, and has its facts besides what is said here. It
    /// has the parent's tenant and provenance, and is on a dry run if the parent is. It is judged by what its parent was
    /// spawned under, never by a wider policy, and each call by what its parent could do as well, and so on up: the strictest
    /// answer stands. What it does and uses counts for its parent too. It ends when its parent does.
    #[must_use]
    pub fn parent(mut self, parent: AgentId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Whose agent it is. Policies select on it, and what a tenant may use is shared by all its agents.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// What is known of everything the agent starts out with: its program, its instructions, its memory.
    #[must_use]
    pub fn labels(mut self, labels: LabelSet) -> Self {
        self.labels = labels;
        self
    }

    /// How the kernel finds out where the agent's arguments came from. [`Provenance::Traced`] unless said.
    #[must_use]
    pub fn provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// A fact about the agent that policies can read as `context.<key>`. The agent cannot change it.
    #[must_use]
    pub fn fact(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.facts.insert(key.into(), value.into());
        self
    }

    /// What a call that needs an approval does to the agent: by default it waits.
    #[must_use]
    pub fn on_ask(mut self, on_ask: OnAsk) -> Self {
        self.on_ask = on_ask;
        self
    }

    /// What the agent may use over all its lives: what an earlier agent of the same name has used counts.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// What the agent may use in this life.
    #[must_use]
    pub fn task_budget(mut self, budget: Budget) -> Self {
        self.task_budget = budget;
        self
    }

    /// A policy for what the agent is to do in this life: one more layer, which can only tighten. Where it says
    /// `unmatched: abstain`, what it does not mention is left to the other layers. Its limits are counted under its name and
    /// the rule's, as those of every policy of the host's, so give it a name of its own.
    #[must_use]
    pub fn task_policy(mut self, policy: Policy) -> Self {
        self.task = Some(policy);
        self
    }

    /// Whether the agent is on a dry run. Its calls are judged and recorded as always, and a refusal has its consequences;
    /// but what is allowed and has side effects is not done: the outcome on record is `simulated`, and the agent gets
    /// [`CallError::Simulated`]. What only reads is done.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Mounts a store in the agent's tree. At the point of a standard mount it takes that one's place.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }
}

/// Why an agent was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The name is none.
    #[error("`{name}` is not the name of an agent: {source}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        source: agent_primitives::BadId,
    },
    /// A live agent has that name.
    #[error("an agent `{0}` is alive already")]
    AlreadyExists(AgentId),
    /// The facts are too large, or have no canonical form.
    #[error("the facts about the agent cannot be recorded: {0}")]
    Facts(json::JsonError),
    /// The policy of its task names tools that are not registered.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// A mount does not fit.
    #[error("cannot mount: {0}")]
    Mount(PathError),
    /// A path of the standard tree does not parse. This is a bug of the kernel.
    #[error("the standard tree is wrong: {0}")]
    Tree(BadPath),
    /// The kernel has as many agents as it takes.
    #[error("the kernel holds {limit} live agents, its limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The kernel takes no agents, or could not record the spawn.
    #[error(transparent)]
    Kernel(#[from] CallError),
    /// A name that only a child can have, or that a child cannot.
    #[error(
        "the name `{0}` is kept for children of agents: a name has no `::` and no `:` at its end, a child's own name no `:`"
    )]
    Reserved(String),
    /// The parent is not alive.
    #[error("there is no live agent `{0}` to be the parent")]
    NoParent(AgentId),
    /// A child of an agent of another tenant.
    #[error("the child of `{parent}` belongs to the tenant that `{parent}` belongs to")]
    OtherTenant {
        /// The parent.
        parent: AgentId,
    },
    /// The parent has as many children as it may.
    #[error("`{parent}` has {limit} children, the most it may have")]
    TooManyChildren {
        /// The parent.
        parent: AgentId,
        /// The limit.
        limit: usize,
    },
    /// The parent descends from as many agents as one may.
    #[error("the agent would descend from more than {limit} others")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// An agent asked for a child, and the host lets agents start no program.
    #[error("no program can be started here: the host registered none")]
    NoPrograms,
    /// An agent asked for a child with a program that the host does not have.
    #[error("there is no program `{0}`")]
    UnknownProgram(String),
    /// The agent is a program of its own, and nothing that is isolated enough can run it.
    #[error("the program of the agent cannot be run: {0}")]
    Unrunnable(ToolError),
}

impl SpawnError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "AK0905",
            Self::AlreadyExists(_) => "AK0912",
            Self::Facts(_) => "AK0913",
            Self::Policy(errors) => errors.code(),
            Self::Mount(error) => error.code(),
            Self::Tree(_) => "AK9904",
            Self::Full { .. } => "AK0914",
            Self::Kernel(error) => error.code(),
            Self::Reserved(_) => "AK0940",
            Self::NoParent(_) => "AK0941",
            Self::OtherTenant { .. } => "AK0942",
            Self::TooManyChildren { .. } => "AK0943",
            Self::TooDeep { .. } => "AK0944",
            Self::NoPrograms => "AK0945",
            Self::UnknownProgram(_) => "AK0946",
            Self::Unrunnable(_) => "AK0980",
        }
    }
}
