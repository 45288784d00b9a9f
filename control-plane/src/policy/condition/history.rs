//! Conditions on what the agent has done so far.

use std::time::Duration;

use agent_primitives::Timestamp;
use agent_primitives::span::parse_duration;
use serde_json::Value;

use super::super::budget::Budget;
use super::super::document;
use super::super::error::{Code, Mark, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::guard::{Comparison, Truth};
use super::super::pattern::{Kind, Pattern, Patterns};
use super::super::source::{Entry, Node, Tree};
use crate::history::{Amount, History, MAX_NUMBER_NAME, window};
use crate::question::{CallKind, Caller, Object, Question};

/// A condition on the past with all its items, each of which must hold.
#[derive(Debug)]
pub(in crate::policy) enum HistoryGuard {
    /// How often it was done.
    Count(Box<[Count]>),
    /// What an argument of it adds up to, this call included.
    Sum(Box<[Sum]>),
    /// That it was done.
    After(Box<[Deeds]>),
    /// That it was not done.
    UnlessAfter(Box<[Deeds]>),
}

#[derive(Debug)]
pub(in crate::policy) struct Count {
    deeds: Deeds,
    bounds: Box<[(Comparison, u64)]>,
}

#[derive(Debug)]
pub(in crate::policy) struct Sum {
    deeds: Deeds,
    /// The argument that is added up.
    name: Box<str>,
    bounds: Box<[(Comparison, Amount)]>,
}

/// Which deeds are meant.
#[derive(Debug)]
pub(in crate::policy) struct Deeds {
    calls: Box<[CallKind]>,
    tools: Option<Patterns>,
    paths: Option<Patterns>,
    targets: Option<Patterns>,
    within: Option<Duration>,
    named_tools: Vec<(Box<str>, Mark)>,
}

pub(in crate::policy) const DEEDS: [&str; 5] = ["calls", "tools", "paths", "targets", "within"];
pub(in crate::policy) const COUNT: [&str; 11] =
    ["calls", "tools", "paths", "targets", "within", "eq", "ne", "lt", "lte", "gt", "gte"];
/// Only tool calls have arguments, so there is nothing to say about `calls`.
pub(in crate::policy) const SUM: [&str; 9] = ["of", "tools", "within", "eq", "ne", "lt", "lte", "gt", "gte"];
const FILES: [CallKind; 3] = [CallKind::Read, CallKind::Write, CallKind::Open];

impl HistoryGuard {
    /// Reads an entry of `when` that is named `count`, `sum`, `after` or `unless_after`, in a rule about `calls`.
    pub(super) fn parse(
        entry: &Entry,
        calls: &[CallKind],
        budget: &mut Budget,
        report: &mut Report,
    ) -> Option<Self> {
        let node = &entry.value;
        match entry.key.as_str() {
            "count" => items(node, budget, report, Count::parse).map(Self::Count),
            "sum" => {
                if let Some(call) = calls.iter().find(|call| **call != CallKind::Exec) {
                    let message = format!("a call of `{call}` has no arguments that `sum` could add up");
                    report.add_help(
                        Code::BadSubject,
                        entry.at,
                        message,
                        "write one rule for each kind of call",
                    );
                    return None;
                }
                items(node, budget, report, Sum::parse).map(Self::Sum)
            }
            "after" => items(node, budget, report, Deeds::parse_alone).map(Self::After),
            _ => items(node, budget, report, Deeds::parse_alone).map(Self::UnlessAfter),
        }
    }

    /// Whether the condition holds before this call is made.
    pub(super) fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Truth {
        let (history, now) = (caller.history, caller.now);
        match self {
            Self::Count(items) => Truth::all(items.iter().map(|item| item.judge(history, now))),
            Self::Sum(items) => Truth::all(items.iter().map(|item| item.judge(history, now, question))),
            Self::After(items) => Truth::all(items.iter().map(|deeds| deeds.judge(history, now, true))),
            Self::UnlessAfter(items) => {
                Truth::all(items.iter().map(|deeds| deeds.judge(history, now, false)))
            }
        }
    }

    /// The tools named one by one, and where.
    pub(super) fn named_tools(&self) -> Box<dyn Iterator<Item = &(Box<str>, Mark)> + '_> {
        match self {
            Self::Count(items) => Box::new(items.iter().flat_map(|item| &item.deeds.named_tools)),
            Self::Sum(items) => Box::new(items.iter().flat_map(|item| &item.deeds.named_tools)),
            Self::After(items) | Self::UnlessAfter(items) => {
                Box::new(items.iter().flat_map(|deeds| &deeds.named_tools))
            }
        }
    }
}

impl Count {
    fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(node, "`count`", &COUNT, report)?;
        let deeds = Deeds::parse(&fields, "`count`", budget, report);
        let bounds = bounds(&fields, "`count`", report, |node, report| {
            let number = if let Tree::Number(number) = &node.tree { number.as_u64() } else { None };
            if number.is_none() {
                report.add(Code::WrongType, node.at, "a count is compared with a whole number");
            }
            number
        });
        Some(Self { deeds: deeds?, bounds: bounds? })
    }

    fn judge(&self, history: &History, now: Timestamp) -> Truth {
        let count = history.count(self.deeds.since(now), |call, object| self.deeds.select(call, object));
        compare(count, &self.bounds)
    }
}

impl Sum {
    fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(node, "`sum`", &SUM, report)?;
        let name = fields.require("of", "`sum`", report).and_then(|entry| argument(&entry.value, report));
        let deeds = Deeds::parse(&fields, "`sum`", budget, report);
        let bounds = bounds(&fields, "`sum`", report, |node, report| {
            let amount = if let Tree::Number(number) = &node.tree { Amount::of(number) } else { None };
            if amount.is_none() {
                let message = "a sum is compared with a number below 1.7e20 and of at most 18 decimal places";
                report.add(Code::WrongType, node.at, message);
            }
            amount
        });
        Some(Self { deeds: deeds?, name: name?, bounds: bounds? })
    }

    fn judge(&self, history: &History, now: Timestamp, question: &Question<'_>) -> Truth {
        let Object::Tool { arguments, .. } = question.object else { return Truth::Unknown };
        let own = arguments.get(&*self.name).and_then(|own| match own {
            Value::Number(number) => Amount::of(number),
            _ => None,
        });
        let past =
            history.sum(self.deeds.since(now), &self.name, |call, object| self.deeds.select(call, object));
        compare(past.zip(own).and_then(|(past, own)| past.checked_add(own)), &self.bounds)
    }
}

impl Deeds {
    fn parse_alone(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let what = "a condition on the past";
        let fields = Fields::of(node, what, &DEEDS, report)?;
        Self::parse(&fields, what, budget, report)
    }

    fn parse(fields: &Fields<'_>, what: &str, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let calls = match fields.get("calls") {
            Some(entry) => document::calls(&entry.value, report).map(Some),
            None => Some(None),
        };
        let mut named_tools = Vec::new();
        let mut patterns = |name: &str, kind: Kind, report: &mut Report| match fields.get(name) {
            Some(entry) => patterns(entry, name, kind, &mut named_tools, budget, report).map(Some),
            None => Some(None),
        };
        let tools = patterns("tools", Kind::Tool, report);
        let paths = patterns("paths", Kind::Path, report);
        let targets = patterns("targets", Kind::Agent, report);
        let within = match fields.get("within") {
            Some(entry) => duration(&entry.value, report).map(Some),
            None => Some(None),
        };
        let (calls, within) = (calls?, within?);
        let mut deeds = Self {
            calls: Box::default(),
            tools: tools?,
            paths: paths?,
            targets: targets?,
            within,
            named_tools,
        };
        deeds.calls = deeds.fit(calls, what, fields.at, report)?;
        Some(deeds)
    }

    /// The calls that are meant: those that are named, each of which needs its selector, or else all that go with the
    /// selectors that are there.
    fn fit(
        &self,
        named: Option<Vec<CallKind>>,
        what: &str,
        at: Mark,
        report: &mut Report,
    ) -> Option<Box<[CallKind]>> {
        let selectors: [(&str, &[CallKind], bool); 3] = [
            ("tools", &[CallKind::Exec], self.tools.is_some()),
            ("paths", &FILES, self.paths.is_some()),
            ("targets", &[CallKind::Signal], self.targets.is_some()),
        ];
        let Some(calls) = named else {
            let given = selectors.iter().filter(|(_, _, given)| *given);
            let calls: Vec<CallKind> = given.flat_map(|(_, calls, _)| *calls).copied().collect();
            if calls.is_empty() {
                let help = "write `tools`, `paths` or `targets`";
                report.add_help(Code::Missing, at, format!("{what} selects nothing"), help);
                return None;
            }
            return Some(calls.into());
        };
        for (name, about, given) in selectors {
            let needed = calls.iter().find(|call| about.contains(call));
            match (needed, given) {
                (Some(call), false) => {
                    let everything = if name == "paths" { "/**" } else { "*" };
                    report.add_help(
                        Code::Missing,
                        at,
                        format!("{what} names `{call}` and has no `{name}`"),
                        format!("to mean everything, write `{name}: [\"{everything}\"]`"),
                    );
                    return None;
                }
                (None, true) => {
                    let about: Vec<&str> = about.iter().map(|call| call.name()).collect();
                    let message = format!("`{name}` goes only with {}", about.join(", "));
                    report.add(Code::Selector, at, message);
                    return None;
                }
                _ => {}
            }
        }
        Some(calls.into())
    }

    fn select(&self, call: CallKind, object: &str) -> bool {
        let patterns = match call {
            CallKind::Read | CallKind::Write | CallKind::Open => &self.paths,
            CallKind::Exec => &self.tools,
            CallKind::Signal => &self.targets,
            CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => return false,
        };
        self.calls.contains(&call) && patterns.as_ref().is_some_and(|patterns| patterns.matches(object))
    }

    fn since(&self, now: Timestamp) -> Option<Timestamp> {
        self.within.map(|length| window(now, length))
    }

    fn judge(&self, history: &History, now: Timestamp, wanted: bool) -> Truth {
        let done = history.has_done(self.since(now), |call, object| self.select(call, object));
        done.map_or(Truth::Unknown, |done| (done == wanted).into())
    }
}

/// One map, or a list of maps.
fn items<T>(
    node: &Node,
    budget: &mut Budget,
    report: &mut Report,
    parse: impl Fn(&Node, &mut Budget, &mut Report) -> Option<T>,
) -> Option<Box<[T]>> {
    let nodes = match &node.tree {
        Tree::List(_) => fields::some_list(node, "a list of conditions on the past", report)?,
        _ => std::slice::from_ref(node),
    };
    let items: Vec<Option<T>> = nodes.iter().map(|node| parse(node, budget, report)).collect();
    items.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}

/// What is compared with, at least one.
fn bounds<T>(
    fields: &Fields<'_>,
    what: &str,
    report: &mut Report,
    parse: impl Fn(&Node, &mut Report) -> Option<T>,
) -> Option<Box<[(Comparison, T)]>> {
    let given: Vec<_> = Comparison::NAMES
        .into_iter()
        .filter_map(|(name, comparison)| Some((comparison, fields.get(name)?)))
        .collect();
    if given.is_empty() {
        let names = Comparison::NAMES.map(|(name, _)| name).join(", ");
        let message = format!("{what} compares with nothing");
        report.add_help(Code::Missing, fields.at, message, format!("write one of: {names}"));
        return None;
    }
    let bounds: Vec<Option<_>> =
        given.iter().map(|(comparison, entry)| Some((*comparison, parse(&entry.value, report)?))).collect();
    bounds.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}

fn compare<T: Ord>(found: Option<T>, bounds: &[(Comparison, T)]) -> Truth {
    match found {
        Some(found) => {
            Truth::all(bounds.iter().map(|(comparison, bound)| comparison.holds(found.cmp(bound)).into()))
        }
        None => Truth::Unknown,
    }
}

fn patterns(
    entry: &Entry,
    name: &str,
    kind: Kind,
    named_tools: &mut Vec<(Box<str>, Mark)>,
    budget: &mut Budget,
    report: &mut Report,
) -> Option<Patterns> {
    let texts = fields::texts(&entry.value, &format!("`{name}`"), report)?;
    let mut patterns = Vec::new();
    for (text, at) in texts {
        let pattern = Pattern::parse(kind, text, at, budget, report)?;
        if let (Kind::Tool, Pattern::Exact(tool)) = (kind, &pattern) {
            named_tools.push((tool.clone(), at));
        }
        patterns.push(pattern);
    }
    match Patterns::new(&patterns) {
        Ok(compiled) if !patterns.is_empty() => Some(compiled),
        Ok(_) => None,
        Err(error) => {
            report.add(Code::BadPattern, entry.at, format!("the patterns of `{name}`: {error}"));
            None
        }
    }
}

fn duration(node: &Node, report: &mut Report) -> Option<Duration> {
    let text = fields::text(node, "`within`", report)?;
    match parse_duration(text) {
        Ok(Duration::ZERO) => {
            report.add(Code::BadOperand, node.at, "`within` is zero, and nothing happens in no time");
            None
        }
        Ok(duration) => Some(duration),
        Err(error) => {
            report.add(Code::BadOperand, node.at, format!("`within`: {error}"));
            None
        }
    }
}

/// The name in `args.<name>`. Only what lies at the top of the arguments is kept of past calls.
fn argument(node: &Node, report: &mut Report) -> Option<Box<str>> {
    let text = fields::text(node, "`of`", report)?;
    let name = text
        .strip_prefix("args.")
        .filter(|name| !name.is_empty() && name.len() <= MAX_NUMBER_NAME && !name.contains(['.', '"', ' ']));
    if name.is_none() {
        let message = format!("`of` names one argument, as in `args.amount`, not {}", quoted(text));
        report.add(Code::BadSubject, node.at, message);
    }
    name.map(Into::into)
}
