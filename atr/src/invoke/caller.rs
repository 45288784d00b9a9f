//! Who calls: one principal, or a chain of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use agent_primitives::AgentId;

/// Most principals of one chain.
pub const MAX_CHAIN: usize = 16;

/// One principal as the host knows it. Nothing here comes from the principal itself; names are compared byte by byte, and
/// no name means anything by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    id: AgentId,
    kind: Option<String>,
    roles: BTreeSet<String>,
    attributes: BTreeMap<String, String>,
}

impl Caller {
    /// A principal of no kind, with no role and no attribute.
    #[must_use]
    pub fn new(id: AgentId) -> Self {
        Self { id, kind: None, roles: BTreeSet::new(), attributes: BTreeMap::new() }
    }

    /// The same with a role more.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.roles.insert(role.into());
        self
    }

    /// The same, of this kind: `agent`, `user`, `service`, or whatever the host calls it.
    #[must_use]
    pub fn of_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// The same with an attribute, in place of one with this name.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// What it is, if the host says so.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Its roles.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// An attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The principals on whose behalf a call is made, from the first to the one that makes it. Each of them has to be allowed
/// the call: whoever acts for another can do no more than that other could. Cloning is a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct CallChain(Arc<[Caller]>);

/// The chain is as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chain has at most {MAX_CHAIN} principals")]
pub struct ChainTooLong;

impl CallChain {
    /// One principal that calls for itself.
    #[must_use]
    pub fn of(caller: Caller) -> Self {
        Self([caller].into())
    }

    /// The same chain, with one more principal that acts for those so far.
    ///
    /// # Errors
    /// [`ChainTooLong`] beyond [`MAX_CHAIN`].
    pub fn then(&self, caller: Caller) -> Result<Self, ChainTooLong> {
        if MAX_CHAIN <= self.0.len() {
            return Err(ChainTooLong);
        }
        Ok(Self(self.0.iter().cloned().chain([caller]).collect()))
    }

    /// The principals, at least one.
    #[must_use]
    pub fn callers(&self) -> &[Caller] {
        &self.0
    }

    /// Their names, each once, in order of names.
    pub(super) fn ids(&self) -> BTreeSet<&AgentId> {
        self.0.iter().map(Caller::id).collect()
    }

    /// The one that makes the call.
    pub(super) fn last(&self) -> Option<&Caller> {
        self.0.last()
    }

    /// Whom approvals are asked for.
    pub(super) fn first(&self) -> Option<&Caller> {
        self.0.first()
    }
}

impl From<Caller> for CallChain {
    fn from(caller: Caller) -> Self {
        Self::of(caller)
    }
}

impl From<AgentId> for CallChain {
    fn from(id: AgentId) -> Self {
        Self::of(Caller::new(id))
    }
}

impl fmt::Debug for CallChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(Caller::id)).finish()
    }
}
