//! Words in any text of a value.

use agent_primitives::text::{Limits, Needles};

use super::super::budget::Budget;
use super::super::error::{Code, Report};
use super::super::fields;
use super::super::source::Node;
use super::leaves::Leaves;
use super::{Operand, Truth};

/// Each guard has an automaton of its own: what selects a rule differs from rule to rule, so one automaton for the whole
/// policy would look for words of rules that are not asked. Their sum is bounded instead.
pub(super) fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Needles> {
    let texts = fields::texts(node, "`contains_any`", report)?;
    for (text, at) in &texts {
        if let Err(message) = budget.needle(text) {
            report.add(Code::Limit, *at, message);
            return None;
        }
    }
    match Needles::new(texts.iter().map(|(text, _)| text)) {
        Ok(needles) => Some(needles),
        Err(error) => {
            report.add(Code::BadOperand, node.at, format!("`contains_any`: {error}"));
            None
        }
    }
}

/// Unknown if nothing was found and not everything could be looked at.
pub(super) fn judge(needles: &Needles, operand: Operand<'_>) -> Truth {
    let Some(leaves) = Leaves::of(operand) else { return Truth::Unknown };
    leaves.any(|text| match needles.find(text, &Limits::DEFAULT) {
        Ok(found) => found.is_some().into(),
        Err(_) => Truth::Unknown,
    })
}
