//! What every agent finds in its tree: working memory, the policy in force, its own latest events.

use std::sync::Arc;

use bytes::Bytes;

use crate::policy::Policy;
use crate::recorder::Trail;
use crate::vfs::{Access, BadPath, Memory, Mount, Projection, Quota, VfsPath};

/// How much an agent may keep under `/mem/working`.
pub const WORKING_MEMORY: Quota = Quota { bytes: 16 << 20, files: 10_000 };

/// The standard mounts.
pub(crate) fn standard(policy: &Policy, trail: &Arc<Trail>) -> Result<[Mount; 3], BadPath> {
    let (policy, trail) = (policy.clone(), Arc::clone(trail));
    let active = move || Ok(Bytes::from(policy.to_json().to_string()));
    let events = move || Ok(Bytes::from(trail.to_jsonl()));
    Ok([
        Mount::new(
            VfsPath::parse("/mem/working")?,
            Arc::new(Memory::new()),
            Access::ReadWrite(WORKING_MEMORY),
        ),
        Mount::new(
            VfsPath::parse("/policy")?,
            Arc::new(Projection::new().file("active.json", active)?),
            Access::ReadOnly,
        ),
        Mount::new(
            VfsPath::parse("/audit")?,
            Arc::new(Projection::new().file("events.jsonl", events)?),
            Access::ReadOnly,
        ),
    ])
}
