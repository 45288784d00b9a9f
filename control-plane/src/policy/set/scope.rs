//! Finds the layers that apply to a caller.

use std::collections::HashMap;

use agent_primitives::{AgentId, TenantId};
use smallvec::SmallVec;

use super::super::pattern::{Pattern, Patterns};

/// Numbers of layers.
pub(super) type Applying = SmallVec<[usize; 8]>;

/// Which layers apply to whom.
#[derive(Debug, Default)]
pub(super) struct Scopes {
    everybody: Vec<usize>,
    tenants: ByName,
    agents: ByName,
}

/// Layers by the name they apply to.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<Box<str>, Vec<usize>>,
    patterns: Vec<(Patterns, usize)>,
}

impl Scopes {
    /// The layers that apply to an agent.
    pub(super) fn applying(&self, agent: &AgentId, tenant: Option<&TenantId>) -> Applying {
        let mut found: Applying = self.everybody.iter().copied().collect();
        if let Some(tenant) = tenant {
            self.tenants.find(tenant.as_str(), &mut found);
        }
        self.agents.find(agent.as_str(), &mut found);
        found
    }

    pub(super) fn everybody(&mut self, layer: usize) {
        self.everybody.push(layer);
    }

    pub(super) fn tenants(&mut self) -> &mut ByName {
        &mut self.tenants
    }

    pub(super) fn agents(&mut self) -> &mut ByName {
        &mut self.agents
    }

    /// How many layers have a pattern that each call is matched against.
    pub(super) fn patterns(&self) -> usize {
        self.tenants.patterns.len() + self.agents.patterns.len()
    }
}

impl ByName {
    fn find(&self, name: &str, found: &mut Applying) {
        found.extend(self.exact.get(name).into_iter().flatten().copied());
        let matching = self.patterns.iter().filter(|(pattern, _)| pattern.matches(name));
        found.extend(matching.map(|(_, layer)| *layer));
    }

    /// Adds a layer.
    ///
    /// # Errors
    /// The pattern does not compile.
    pub(super) fn add(&mut self, pattern: &Pattern, layer: usize) -> Result<(), String> {
        if let Pattern::Exact(name) = pattern {
            self.exact.entry(name.clone()).or_default().push(layer);
        } else {
            let pattern = Patterns::new(std::slice::from_ref(pattern)).map_err(|error| error.to_string())?;
            self.patterns.push((pattern, layer));
        }
        Ok(())
    }
}
