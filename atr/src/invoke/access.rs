//! Who may call what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use agent_primitives::ToolId;

use super::{CallChain, Caller};
use crate::ToolContract;
use crate::executor::Pending;

/// A call that somebody has to decide on, for one principal of its chain. The arguments are not looked at yet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallRequest<'a> {
    /// The principal that is asked about.
    pub caller: &'a Caller,
    /// All principals of the call.
    pub chain: &'a CallChain,
    /// The tool.
    pub contract: &'a ToolContract,
}

/// What is decided. Ordered from the least strict: of several decisions on one call, the greatest holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Decision {
    /// The call may happen.
    Allow,
    /// It may happen once somebody has agreed to exactly this call.
    Ask,
    /// It may not.
    Deny(DenyReason),
}

/// Why a call may not happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum DenyReason {
    /// Nobody was there to decide.
    #[error("nobody was set up to allow calls")]
    NoAuthorizer,
    /// Nothing allows it.
    #[error("nothing allows it")]
    NotAllowed,
    /// Something forbids it. A caller that comes here has tried what it is known not to be allowed.
    #[error("a rule forbids it")]
    Forbidden,
}

/// Decides on calls. It is asked about each principal of a chain, and each has to be allowed.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// What stands in audit records for what decided.
    fn name(&self) -> &str;

    /// Decides. A call whose decision cannot be made is denied.
    ///
    /// # Cancel safety
    /// The future is dropped with the call.
    fn decide<'a>(&'a self, request: CallRequest<'a>) -> Pending<'a, Decision>;

    /// Decides on a name that no tool has, for one principal of the chain. What is denied is told to be so, and not that
    /// there is no such tool; so a name that is denied here should be one whose tool would be, and with the same reason.
    /// Denies unless said: who may call nothing of that name learns nothing of it.
    ///
    /// # Cancel safety
    /// As [`Authorizer::decide`].
    fn decide_absent<'a>(&'a self, _caller: &'a Caller, _tool: &'a ToolId) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(Decision::Deny(DenyReason::NotAllowed)))
    }
}

/// Denies all.
#[derive(Debug)]
pub(super) struct Nobody;

impl Authorizer for Nobody {
    fn name(&self) -> &'static str {
        "none"
    }

    fn decide<'a>(&'a self, _request: CallRequest<'a>) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(Decision::Deny(DenyReason::NoAuthorizer)))
    }

    fn decide_absent<'a>(&'a self, _caller: &'a Caller, _tool: &'a ToolId) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(Decision::Deny(DenyReason::NoAuthorizer)))
    }
}

/// Allows all.
#[derive(Debug)]
pub(super) struct Permissive;

impl Authorizer for Permissive {
    fn name(&self) -> &'static str {
        "permissive"
    }

    fn decide<'a>(&'a self, _request: CallRequest<'a>) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(Decision::Allow))
    }

    fn decide_absent<'a>(&'a self, _caller: &'a Caller, _tool: &'a ToolId) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(Decision::Allow))
    }
}

/// Rules that are data: what is not allowed is denied, and what a rule forbids is denied whatever another allows. The order
/// of rules means nothing.
#[derive(Clone, Debug, Default)]
pub struct AccessRules(Vec<AccessRule>);

impl AccessRules {
    /// No rule: everything is denied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a rule more.
    #[must_use]
    pub fn with(mut self, rule: AccessRule) -> Self {
        self.0.push(rule);
        self
    }

    /// What the rules say about a principal and the name of a tool.
    #[must_use]
    pub fn judge(&self, caller: &Caller, tool: &str) -> Decision {
        let applying = self.0.iter().filter(|rule| rule.applies(caller, tool)).map(|rule| rule.says);
        match applying.max() {
            Some(Says::Forbid) => Decision::Deny(DenyReason::Forbidden),
            Some(Says::Ask) => Decision::Ask,
            Some(Says::Allow) => Decision::Allow,
            None => Decision::Deny(DenyReason::NotAllowed),
        }
    }
}

impl FromIterator<AccessRule> for AccessRules {
    fn from_iter<I: IntoIterator<Item = AccessRule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl Authorizer for AccessRules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn decide<'a>(&'a self, request: CallRequest<'a>) -> Pending<'a, Decision> {
        let decision = self.judge(request.caller, request.contract.id().as_str());
        Box::pin(std::future::ready(decision))
    }

    fn decide_absent<'a>(&'a self, caller: &'a Caller, tool: &'a ToolId) -> Pending<'a, Decision> {
        Box::pin(std::future::ready(self.judge(caller, tool.as_str())))
    }
}

/// Ordered by what overrides what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Allow,
    Ask,
    Forbid,
}

/// One rule: what it says of which tools, under which conditions. All conditions have to hold; one that names nobody holds
/// for nobody. All names are compared byte by byte.
#[derive(Clone, Debug)]
pub struct AccessRule {
    says: Says,
    tools: String,
    principals: Option<BTreeSet<String>>,
    roles: Option<BTreeSet<String>>,
    kinds: Option<BTreeSet<String>>,
    attributes: BTreeMap<String, String>,
}

impl AccessRule {
    /// Allows a tool, by its name; every tool whose name begins so if it ends in `*`.
    #[must_use]
    pub fn allow(tools: impl Into<String>) -> Self {
        Self::new(Says::Allow, tools.into())
    }

    /// As [`AccessRule::allow`], once somebody has agreed to the exact call.
    #[must_use]
    pub fn ask(tools: impl Into<String>) -> Self {
        Self::new(Says::Ask, tools.into())
    }

    /// Forbids.
    #[must_use]
    pub fn forbid(tools: impl Into<String>) -> Self {
        Self::new(Says::Forbid, tools.into())
    }

    /// For these principals only, by name.
    #[must_use]
    pub fn principals(mut self, names: impl IntoIterator<Item = impl ToString>) -> Self {
        self.principals = Some(set(names));
        self
    }

    /// For principals that have one of these roles only.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl ToString>) -> Self {
        self.roles = Some(set(roles));
        self
    }

    /// For principals of one of these kinds only.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = impl ToString>) -> Self {
        self.kinds = Some(set(kinds));
        self
    }

    /// For principals with exactly this attribute only, and whatever other attributes were asked for before.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    fn new(says: Says, tools: String) -> Self {
        Self { says, tools, principals: None, roles: None, kinds: None, attributes: BTreeMap::new() }
    }

    fn applies(&self, caller: &Caller, tool: &str) -> bool {
        let tools = match self.tools.strip_suffix('*') {
            Some(start) => tool.starts_with(start),
            None => self.tools == tool,
        };
        let asked = |names: &Option<BTreeSet<String>>, holds: &dyn Fn(&BTreeSet<String>) -> bool| {
            names.as_ref().is_none_or(holds)
        };
        tools
            && asked(&self.principals, &|names| names.contains(caller.id().as_str()))
            && asked(&self.roles, &|names| !names.is_disjoint(caller.roles()))
            && asked(&self.kinds, &|names| caller.kind().is_some_and(|kind| names.contains(kind)))
            && self.attributes.iter().all(|(name, value)| caller.attribute(name) == Some(value))
    }
}

fn set(names: impl IntoIterator<Item = impl ToString>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}
