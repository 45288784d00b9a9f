//! Conditions on what a tool may do to the world, by its contract.

use agent_tool_registry::{Effect, EffectSet};

use super::super::error::{Code, Report};
use super::super::fields::{self, Fields};
use super::super::guard::Truth;
use super::super::source::Entry;
use crate::question::CallKind;

pub(in crate::policy) const FIELDS: [&str; 3] = ["only", "any_of", "none_of"];

/// Which effects must, and must not, be declared. A tool that declares nothing cannot be judged by what it declares.
#[derive(Debug, Default)]
pub(in crate::policy) struct EffectGuard {
    only: Option<EffectSet>,
    any_of: Option<EffectSet>,
    none_of: EffectSet,
}

impl EffectGuard {
    pub(super) fn parse(entry: &Entry, calls: &[CallKind], report: &mut Report) -> Option<Self> {
        if let Some(call) = calls.iter().find(|call| **call != CallKind::Exec) {
            let message = format!("a call of `{call}` has no `effects`");
            report.add_help(Code::BadSubject, entry.at, message, "write one rule for each kind of call");
            return None;
        }
        let node = &entry.value;
        let guard = Fields::of(node, "`effects`", &FIELDS, report)?;
        let lists = FIELDS.map(|name| guard.get(name));
        if lists.iter().all(Option::is_none) {
            let help = "name effects under `only`, `any_of` or `none_of`";
            report.add_help(Code::Empty, node.at, "`effects` is an empty map, which says nothing", help);
            return None;
        }
        let [only, any_of, none_of] = lists.map(|list| match list {
            Some(list) => effects(list, report).map(Some),
            None => Some(None),
        });
        Some(Self { only: only?, any_of: any_of?, none_of: none_of?.unwrap_or_default() })
    }

    pub(super) fn judge(&self, declared: Option<EffectSet>) -> Truth {
        let Some(declared) = declared else { return Truth::Unknown };
        let holds = self.only.is_none_or(|only| declared.within(only))
            && self.any_of.is_none_or(|wanted| declared.meets(wanted))
            && !declared.meets(self.none_of);
        holds.into()
    }
}

fn effects(entry: &Entry, report: &mut Report) -> Option<EffectSet> {
    let known = Effect::ALL.map(|effect| (effect.as_str(), effect));
    let nodes = fields::some_list(&entry.value, "a list of effects", report)?;
    let found: Vec<Option<Effect>> =
        nodes.iter().map(|node| fields::word(node, "effect", &known, report)).collect();
    found.into_iter().collect()
}
