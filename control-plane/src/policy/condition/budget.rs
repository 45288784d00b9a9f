//! Conditions on how much of a budget is left.

use std::cmp::Ordering;

use agent_primitives::{Money, Resource};

use super::super::error::{Code, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::{Entry, Node, Tree};
use crate::budget::{BudgetState, Level};

/// Comparisons of what is used or left, all of which must hold.
#[derive(Debug)]
pub(in crate::policy) struct BudgetGuard {
    level: Level,
    resource: Resource,
    bounds: Box<[Bound]>,
}

#[derive(Debug)]
struct Bound {
    /// Of what is left instead of what is used.
    remaining: bool,
    relation: Relation,
    amount: Amount,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::policy) enum Relation {
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Clone, Copy, Debug)]
enum Amount {
    Units(u64),
    /// Of the limit.
    Percent(u64),
}

pub(in crate::policy) const FIELDS: [&str; 4] = ["account", "resource", "remaining", "used"];
pub(in crate::policy) const RELATIONS: [(&str, Relation); 4] =
    [("lt", Relation::Lt), ("lte", Relation::Lte), ("gt", Relation::Gt), ("gte", Relation::Gte)];
/// More than this share of a limit cannot be asked for.
const MAX_PERCENT: u64 = 1000;

impl BudgetGuard {
    /// Reads one map, or several in a list.
    pub(super) fn parse_all(node: &Node, report: &mut Report) -> Option<Box<[Self]>> {
        node.refuse_ambiguous(report);
        let nodes = match &node.tree {
            Tree::List(_) => fields::some_list(node, "`budget`", report)?,
            _ => std::slice::from_ref(node),
        };
        let guards: Vec<Option<Self>> = nodes.iter().map(|node| Self::parse(node, report)).collect();
        guards.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
    }

    fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`budget`", &FIELDS, report)?;
        let level = match guard.get("account") {
            Some(entry) => fields::word(&entry.value, "account", &Level::NAMES, report),
            None => Some(Level::Agent),
        };
        let resource = guard.require("resource", "`budget`", report).and_then(|entry| {
            let text = fields::text(&entry.value, "`resource`", report)?;
            text.parse::<Resource>()
                .map_err(|error| report.add(Code::UnknownWord, entry.value.at, error.to_string()))
                .ok()
        });
        let sides = [(guard.get("remaining"), true), (guard.get("used"), false)];
        if sides.iter().all(|(entry, _)| entry.is_none()) {
            report.add(Code::Missing, node.at, "`budget` compares neither `remaining` nor `used`");
            return None;
        }
        let (level, resource) = (level?, resource?);
        let mut bounds = Vec::new();
        for (entry, remaining) in sides {
            let Some(entry) = entry else { continue };
            bounds.extend(self::bounds(entry, remaining, resource, report)?);
        }
        Some(Self { level, resource, bounds: bounds.into() })
    }

    /// Unknown when the account does not limit the resource.
    pub(super) fn judge(&self, budgets: &[BudgetState]) -> Truth {
        let mine = |state: &&BudgetState| state.level == self.level && state.resource == self.resource;
        match budgets.iter().find(mine) {
            Some(state) => self.bounds.iter().all(|bound| bound.holds(state)).into(),
            None => Truth::Unknown,
        }
    }
}

impl Bound {
    fn holds(&self, state: &BudgetState) -> bool {
        let found = if self.remaining { state.limit.saturating_sub(state.used) } else { state.used };
        // In hundredths on both sides, so that nothing is rounded.
        let (found, bound) = match self.amount {
            Amount::Units(units) => (u128::from(found), u128::from(units)),
            Amount::Percent(percent) => {
                (u128::from(found) * 100, u128::from(state.limit) * u128::from(percent))
            }
        };
        let order = found.cmp(&bound);
        match self.relation {
            Relation::Lt => order == Ordering::Less,
            Relation::Lte => order != Ordering::Greater,
            Relation::Gt => order == Ordering::Greater,
            Relation::Gte => order != Ordering::Less,
        }
    }
}

fn bounds(entry: &Entry, remaining: bool, resource: Resource, report: &mut Report) -> Option<Vec<Bound>> {
    let known = RELATIONS.map(|(name, _)| name);
    let what = format!("`{}`", entry.key);
    let comparisons = Fields::of(&entry.value, &what, &known, report)?;
    let mut bounds = Vec::new();
    for (name, relation) in RELATIONS {
        let Some(entry) = comparisons.get(name) else { continue };
        bounds.push(Bound { remaining, relation, amount: amount(&entry.value, resource, report)? });
    }
    if bounds.is_empty() {
        report.add(Code::Empty, entry.at, format!("{what} compares with nothing"));
        return None;
    }
    Some(bounds)
}

/// A whole number of the resource's unit, `"5 USD"` of money, or a share of the limit as `"80%"`.
fn amount(node: &Node, resource: Resource, report: &mut Report) -> Option<Amount> {
    let found = match (&node.tree, resource) {
        (Tree::Reported, _) => return None,
        (Tree::Number(number), Resource::Tokens | Resource::Calls | Resource::Bytes) => {
            number.as_u64().map(Amount::Units)
        }
        (Tree::Text(text), _) => match (text.strip_suffix('%'), resource) {
            (Some(percent), _) if percent.bytes().all(|byte| byte.is_ascii_digit()) => {
                percent.parse().ok().filter(|percent| *percent <= MAX_PERCENT).map(Amount::Percent)
            }
            (None, Resource::Money(currency)) => {
                let money = text.parse::<Money>().ok().filter(|money| money.currency == currency);
                money.map(|money| Amount::Units(money.micros))
            }
            _ => None,
        },
        _ => None,
    };
    if found.is_none() {
        let shown = quoted(&node.to_json().to_string());
        let help = match resource {
            Resource::Money(currency) => format!("write `5 {currency}` or a share like `\"80%\"`"),
            Resource::WallTime => "write a share like `\"80%\"`".to_owned(),
            _ => "write a whole number or a share like `\"80%\"`".to_owned(),
        };
        report.add_help(Code::BadOperand, node.at, format!("{shown} is not an amount of {resource}"), help);
    }
    found
}
