//! `limits`: how often and how much a rule grants.

use std::num::NonZeroU32;

use super::error::{Code, Report, quoted};
use super::fields::{self, Fields};
use super::source::{Node, Tree};

/// Most calls that a limit lets run at once: more than one agent can have in flight.
pub const MAX_CONCURRENCY: u32 = 1_000_000;

/// Whose calls a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Those of one agent, over all its lives.
    Agent,
    /// Those of all agents of a tenant.
    Tenant,
    /// Everybody's.
    Policy,
}

impl Scope {
    const NAMES: [(&'static str, Self); 3] =
        [("agent", Self::Agent), ("tenant", Self::Tenant), ("policy", Self::Policy)];
}

/// One entry of `limits`. At least one of its bounds is set.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    #[expect(dead_code, reason = "the kernel asks once it keeps limits")]
    pub(crate) per: Scope,
    pub(crate) concurrency: Option<NonZeroU32>,
}

const FIELDS: [&str; 2] = ["concurrency", "per"];

/// Reads `limits`: one map, or several in a list.
pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Box<[Limit]>> {
    match &node.tree {
        Tree::List(_) => {
            let nodes = fields::some_list(node, "`limits`", report)?;
            let limits: Vec<Option<Limit>> = nodes.iter().map(|node| limit(node, report)).collect();
            limits.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
        }
        _ => limit(node, report).map(|limit| [limit].into()),
    }
}

fn limit(node: &Node, report: &mut Report) -> Option<Limit> {
    let fields = Fields::of(node, "`limits`", &FIELDS, report)?;
    let per = match fields.get("per") {
        Some(entry) => fields::word(&entry.value, "`per`", &Scope::NAMES, report),
        None => Some(Scope::Agent),
    };
    let concurrency = match fields.get("concurrency") {
        Some(entry) => concurrency(&entry.value, report).map(Some),
        None => Some(None),
    };
    let limit = Limit { per: per?, concurrency: concurrency? };
    if limit.concurrency.is_none() {
        report.add(Code::Empty, node.at, "`limits` sets no bound");
        return None;
    }
    Some(limit)
}

fn concurrency(node: &Node, report: &mut Report) -> Option<NonZeroU32> {
    let number = match &node.tree {
        Tree::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Tree::Reported => return None,
        _ => None,
    };
    let bound = number.filter(|number| *number <= MAX_CONCURRENCY).and_then(NonZeroU32::new);
    if bound.is_none() {
        let found = quoted(&node.to_json().to_string());
        let message = format!("`concurrency` is a number from 1 to {MAX_CONCURRENCY}, not {found}");
        report.add(Code::BadOperand, node.at, message);
    }
    bound
}
