//! Conditions on the mode the host has chosen.

use super::super::error::{Code, Report};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::Node;

pub(in crate::policy) const FIELDS: [&str; 2] = ["in", "not_in"];

/// In which modes it holds. One of the two lists is set.
#[derive(Debug)]
pub(in crate::policy) struct ModeGuard {
    within: Option<Box<[Box<str>]>>,
    without: Box<[Box<str>]>,
}

impl ModeGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        node.refuse_ambiguous(report);
        let guard = Fields::of(node, "`mode`", &FIELDS, report)?;
        let (within, without) = (guard.get("in"), guard.get("not_in"));
        if within.is_none() && without.is_none() {
            let help = "name modes under `in` or `not_in`";
            report.add_help(Code::Empty, node.at, "`mode` is an empty map, which says nothing", help);
            return None;
        }
        let within = match within {
            Some(entry) => Some(modes(&entry.value, report)?),
            None => None,
        };
        let without = without.map_or_else(|| Some(Box::default()), |entry| modes(&entry.value, report));
        Some(Self { within, without: without? })
    }

    pub(super) fn judge(&self, mode: &str) -> Truth {
        let named = |list: &[Box<str>]| list.iter().any(|known| **known == *mode);
        (self.within.as_deref().is_none_or(named) && !named(&self.without)).into()
    }
}

fn modes(node: &Node, report: &mut Report) -> Option<Box<[Box<str>]>> {
    let nodes = fields::some_list(node, "a list of modes", report)?;
    let modes: Vec<Option<Box<str>>> =
        nodes.iter().map(|node| fields::name(node, "the mode", report).map(Into::into)).collect();
    modes.into_iter().collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}
