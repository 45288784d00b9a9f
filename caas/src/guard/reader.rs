//! Who reads, and from what.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use agent_primitives::TenantId;

use super::GuardError;
use crate::filter::Filter;
use crate::model::Classification;

/// Longest name in bytes.
const MAX_NAME: usize = 128;

fn checked(name: &str) -> Result<&str, GuardError> {
    if name.is_empty() || MAX_NAME < name.len() || name.chars().any(char::is_control) {
        let shown = name.chars().filter(|char| !char.is_control()).take(64).collect();
        return Err(GuardError::BadName(shown));
    }
    Ok(name)
}

/// The name of an index behind a guard. It names a collection of the reader's own tenant, and no other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collection(Arc<str>);

impl FromStr for Collection {
    type Err = GuardError;

    fn from_str(text: &str) -> Result<Self, GuardError> {
        checked(text).map(|name| Self(name.into()))
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Who reads, as the host has verified it. It is not read from any text, so that no request can say who it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    tenant: TenantId,
    /// The principal and its groups.
    names: BTreeSet<String>,
    principal: String,
    clearance: Classification,
}

impl Reader {
    /// A principal of a tenant with no group, who may read what is public. Its name must not be that of a group, whose documents it
    /// would read.
    ///
    /// # Errors
    /// `BadName`.
    pub fn new(tenant: TenantId, principal: &str) -> Result<Self, GuardError> {
        let principal = checked(principal)?.to_owned();
        let names = [principal.clone()].into();
        Ok(Self { tenant, names, principal, clearance: Classification::Public })
    }

    /// In a group as well.
    ///
    /// # Errors
    /// `BadName`.
    pub fn in_group(mut self, group: &str) -> Result<Self, GuardError> {
        self.names.insert(checked(group)?.to_owned());
        Ok(self)
    }

    /// With a clearance.
    #[must_use]
    pub const fn cleared_for(mut self, clearance: Classification) -> Self {
        self.clearance = clearance;
        self
    }

    pub(super) const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(super) fn principal(&self) -> &str {
        &self.principal
    }

    pub(super) const fn clearance(&self) -> Classification {
        self.clearance
    }

    pub(super) fn is_any_of(&self, readers: &BTreeSet<String>) -> bool {
        !self.names.is_disjoint(readers)
    }

    /// What the reader may read at all.
    pub(super) fn filter(&self) -> Filter {
        Filter::And(vec![Filter::Clearance(self.clearance), Filter::Readable(self.names.clone())])
    }
}
