//! The tools that agents may ask for: the host's, which may come and go, and the kernel's own, which stay.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_primitives::ToolId;
use agent_tool_registry::{Registry, RegistryError, Tool, ToolContract, ToolError};

use super::own;

/// Two registries that share no name: a [reserved](own::RESERVED) one is only ever looked for among the kernel's own.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    host: Registry,
    own: Registry,
}

impl Catalogue {
    pub(crate) fn new(host: Registry) -> Result<Self, RegistryError> {
        Ok(Self { host, own: own::tools()? })
    }

    /// What is called when the tool is asked for.
    pub(crate) fn resolve(&self, id: &ToolId) -> Result<Tool, ToolError> {
        if own::is_reserved(id) { self.own.resolve(id) } else { self.host.resolve(id) }
    }

    /// The refusal of a call for an agent that only these tools are shown to.
    pub(crate) fn refusal(
        &self,
        id: &ToolId,
        error: ToolError,
        seen: &dyn Fn(&ToolContract) -> bool,
    ) -> ToolError {
        let registry = if own::is_reserved(id) { &self.own } else { &self.host };
        registry.snapshot().refusal(id, error, seen)
    }

    /// The contract of what is called when the tool is asked for; none if it cannot be called now.
    pub(crate) fn get(&self, id: &ToolId) -> Option<Arc<ToolContract>> {
        self.resolve(id).ok().map(|tool| Arc::clone(tool.contract()))
    }

    /// What can be called now, ordered by name.
    pub(crate) fn callable(&self) -> Vec<Arc<ToolContract>> {
        let (host, own) = (self.host.snapshot(), self.own.snapshot());
        let host = host.callable().filter(|tool| !own::is_reserved(tool.contract().id()));
        let mut contracts: Vec<_> =
            host.chain(own.callable()).map(|tool| Arc::clone(tool.contract())).collect();
        contracts.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        contracts
    }

    /// The names that a policy can speak of now: those of all tools, whatever their states.
    pub(crate) fn known(&self) -> BTreeSet<ToolId> {
        let (host, own) = (self.host.snapshot(), self.own.snapshot());
        host.ids().chain(own.ids()).cloned().collect()
    }
}
