//! `limits`: how often and how much a rule grants.

use std::num::NonZeroU32;
use std::sync::Arc;

use agent_primitives::{Money, Period, Rate};

use super::error::{Code, Mark, Report, quoted};
use super::fields::{self, Fields};
use super::source::{Entry, Node, Tree};
use crate::budget::{CostLimit, Limit, MAX_CONCURRENCY};
use crate::question::CallKind;

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
    pub(super) const NAMES: [(&'static str, Self); 3] =
        [("agent", Self::Agent), ("tenant", Self::Tenant), ("policy", Self::Policy)];
}

/// One entry of a rule's `limits`. At least one of its bounds is set.
#[derive(Clone, Debug)]
pub(crate) struct RuleLimit {
    pub(crate) per: Scope,
    /// The rule's id.
    pub(crate) rule: Arc<str>,
    /// The policy's name and the rule's id, under which accounts keep the count: two policies may name a rule alike.
    pub(crate) key: Arc<str>,
    /// The place among the rule's limits.
    pub(crate) place: usize,
    pub(crate) limit: Limit,
}

pub(super) const FIELDS: [&str; 4] = ["rate", "concurrency", "cost", "per"];
pub(super) const RATE_FIELDS: [&str; 2] = ["rate", "burst"];

/// Reads the `limits` of a rule about `calls`: one map, or several in a list.
pub(super) fn parse(
    node: &Node,
    (policy, rule): (&str, &str),
    calls: &[CallKind],
    report: &mut Report,
) -> Option<Box<[RuleLimit]>> {
    let nodes = match &node.tree {
        Tree::List(_) => fields::some_list(node, "`limits`", report)?,
        _ => std::slice::from_ref(node),
    };
    // No name holds a slash.
    let (key, rule): (Arc<str>, Arc<str>) = (format!("{policy}/{rule}").into(), rule.into());
    let limits: Vec<Option<RuleLimit>> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| {
            let (per, limit) = entry(node, calls, report)?;
            Some(RuleLimit { per, rule: Arc::clone(&rule), key: Arc::clone(&key), place, limit })
        })
        .collect();
    limits.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}

fn entry(node: &Node, calls: &[CallKind], report: &mut Report) -> Option<(Scope, Limit)> {
    let fields = Fields::of(node, "`limits`", &FIELDS, report)?;
    let per = match fields.get("per") {
        Some(entry) => fields::word(&entry.value, "`per`", &Scope::NAMES, report),
        None => Some(Scope::Agent),
    };
    let (rate, concurrency, cost) = (fields.get("rate"), fields.get("concurrency"), fields.get("cost"));
    if rate.is_none() && concurrency.is_none() && cost.is_none() {
        let help = "name a `rate`, a `concurrency` or a `cost`";
        report.add_help(Code::Empty, node.at, "`limits` sets no bound", help);
        return None;
    }
    let rate = optional(rate, |node| self::rate(node, report));
    let concurrency = optional(concurrency, |node| self::concurrency(node, report));
    let cost = optional(cost, |node| self::cost(node, calls, report));
    Some((per?, Limit { rate: rate?, concurrency: concurrency?, cost: cost? }))
}

#[expect(clippy::option_option, reason = "absent and malformed are two things")]
fn optional<T>(entry: Option<&Entry>, read: impl FnOnce(&Node) -> Option<T>) -> Option<Option<T>> {
    match entry {
        Some(entry) => read(&entry.value).map(Some),
        None => Some(None),
    }
}

/// `60/min`, or `{ rate: 60/min, burst: 10 }`.
fn rate(node: &Node, report: &mut Report) -> Option<Rate> {
    if !matches!(node.tree, Tree::Map(_)) {
        return plain_rate(node, report);
    }
    let fields = Fields::of(node, "`rate`", &RATE_FIELDS, report)?;
    let rate = fields.require("rate", "`rate`", report).and_then(|entry| plain_rate(&entry.value, report));
    let burst = fields.require("burst", "`rate`", report);
    let burst =
        burst.and_then(|entry| number(&entry.value, "`burst`", agent_primitives::rate::MAX_CELLS, report));
    let (rate, burst) = (rate?, burst?);
    rate.with_burst(burst.get())
        .map_err(|error| report.add(Code::BadOperand, node.at, error.to_string()))
        .ok()
}

fn plain_rate(node: &Node, report: &mut Report) -> Option<Rate> {
    let text = fields::text(node, "`rate`", report)?;
    let rate = text
        .parse::<Rate>()
        .map_err(|error| report.add(Code::BadOperand, node.at, error.to_string()))
        .ok()?;
    if rate.burst() != rate.cells() {
        let help = format!(
            "write `{{ rate: {}/{}, burst: {} }}`",
            rate.cells(),
            period_name(rate.period()),
            rate.burst()
        );
        report.add_help(Code::BadOperand, node.at, "a burst stands in a field of its own", help);
        return None;
    }
    Some(rate)
}

fn concurrency(node: &Node, report: &mut Report) -> Option<NonZeroU32> {
    number(node, "`concurrency`", MAX_CONCURRENCY, report)
}

fn number(node: &Node, what: &str, most: u32, report: &mut Report) -> Option<NonZeroU32> {
    let number = match &node.tree {
        Tree::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Tree::Reported => return None,
        _ => None,
    };
    let bound = number.filter(|number| *number <= most).and_then(NonZeroU32::new);
    if bound.is_none() {
        let found = quoted(&node.to_json().to_string());
        report.add(Code::BadOperand, node.at, format!("{what} is a number from 1 to {most}, not {found}"));
    }
    bound
}

/// `5 USD/day`. Only tools have a price.
fn cost(node: &Node, calls: &[CallKind], report: &mut Report) -> Option<CostLimit> {
    let text = fields::text(node, "`cost`", report)?;
    if calls.iter().any(|call| *call != CallKind::Exec) {
        report.add(Code::Misplaced, node.at, "`cost` goes only with exec: nothing else has a price");
        return None;
    }
    let Some((amount, period)) = text.rsplit_once('/') else {
        return no_cost(text, node.at, report);
    };
    // The periods are those of a rate.
    let Ok(period) = format!("1/{period}").parse::<Rate>() else { return no_cost(text, node.at, report) };
    match amount.parse::<Money>() {
        Ok(money) => Some(CostLimit { money, period: period.period() }),
        Err(error) => {
            report.add(Code::BadOperand, node.at, error.to_string());
            None
        }
    }
}

fn no_cost(text: &str, at: Mark, report: &mut Report) -> Option<CostLimit> {
    let message = format!("{} is not a cost in a period; write one like `5 USD/day`", quoted(text));
    report.add(Code::BadOperand, at, message);
    None
}

fn period_name(period: Period) -> &'static str {
    match period {
        Period::Second => "s",
        Period::Minute => "min",
        Period::Hour => "hour",
        _ => "day",
    }
}
