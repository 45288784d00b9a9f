#![doc = include_str!("docs/tree.md")]

mod tools;

use std::sync::Arc;

use agent_primitives::{AgentId, Clock, TenantId, Timer};
use bytes::Bytes;
use serde_json::{Map, Value};

use self::tools::Shelf;
use crate::ipc::{self, Board};
use crate::kernel::Footing;
use crate::kernel::catalogue::Catalogue;
use crate::recorder::Trail;
use crate::vfs::{Access, BadPath, Memory, Mount, Projection, Quota, VfsPath};

/// How much an agent may keep under `/mem/working`.
pub const WORKING_MEMORY: Quota = Quota { bytes: 16 << 20, files: 10_000 };

/// Where an agent's working memory is.
pub(crate) const WORKING: &str = "/mem/working";
/// Where the checkpoints of an agent are kept, for it to read.
pub const CHECKPOINTS: &str = "/state/checkpoints";
/// Where the diagnostics of an agent are kept, for it to read.
pub const DIAGNOSTICS: &str = "/state/diagnostics";

/// Where an agent finds its own latest events.
const AUDIT: &str = "/audit";

/// Whether a file tells what the agent itself has done, in words that may be its own.
pub(crate) fn tells_own_past(path: &VfsPath) -> bool {
    path.segments().next() == AUDIT.strip_prefix('/')
}

/// An agent above another, and the facts about it.
pub(crate) type Ancestor = (AgentId, Arc<Map<String, Value>>);

/// What the standard mounts show.
pub(crate) struct Shown<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) facts: &'a Arc<Map<String, Value>>,
    /// The agents it descends from.
    pub(crate) above: Box<[Ancestor]>,
    pub(crate) footing: &'a Arc<Footing>,
    pub(crate) trail: &'a Arc<Trail>,
    pub(crate) tools: &'a Catalogue,
    pub(crate) board: Board,
    pub(crate) timer: &'a Arc<dyn Timer>,
}

/// The standard mounts. What an agent is to remember beyond its own life is for the host to keep, so `/mem/episodic`,
/// `/mem/semantic` and `/mem/procedural` are there only where the host mounts a store.
pub(crate) fn standard(shown: Shown<'_>) -> Result<Vec<Mount>, BadPath> {
    let Shown { agent, tenant, facts, above, footing, trail, tools, board, timer } = shown;
    let shelf = Shelf {
        tools: tools.clone(),
        footing: Arc::clone(footing),
        agent: agent.clone(),
        tenant: tenant.cloned(),
        facts: Arc::clone(facts),
        above,
    };
    let (agent, tenant, trail) = (agent.clone(), tenant.cloned(), Arc::clone(trail));
    let (now, past) = (Arc::clone(footing), Arc::clone(footing));
    let active = move || Ok(Bytes::from(now.active(&agent, tenant.as_ref()).to_string()));
    let history = move || Ok(Bytes::from(past.history().to_string()));
    let events = move || Ok(Bytes::from(trail.to_jsonl()));
    // What is sent is held by the receivers' bounds, not by a store's.
    let messages = Access::ReadWrite(Quota { bytes: 0, files: 0 });
    let kept = |at| Ok(Mount::new(VfsPath::parse(at)?, Arc::new(Memory::new()), Access::ReadOnly));
    Ok(vec![
        kept(CHECKPOINTS)?,
        kept(DIAGNOSTICS)?,
        Mount::new(
            VfsPath::parse(WORKING)?,
            Arc::new(Memory::new().clock(Arc::clone(timer) as Arc<dyn Clock>)),
            Access::ReadWrite(WORKING_MEMORY),
        ),
        Mount::new(
            VfsPath::parse("/policy")?,
            Arc::new(Projection::new().file("active.json", active)?.file("history.json", history)?),
            Access::ReadOnly,
        ),
        Mount::new(
            VfsPath::parse(AUDIT)?,
            Arc::new(Projection::new().file("events.jsonl", events)?),
            Access::ReadOnly,
        ),
        Mount::new(VfsPath::parse("/tools")?, Arc::new(shelf), Access::ReadOnly),
        Mount::new(VfsPath::parse(ipc::POINT)?, Arc::new(board), messages),
    ])
}
