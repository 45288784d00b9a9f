//! Conditions: what has to hold, besides the selectors, for a rule to speak.

mod labels;

use self::labels::LabelGuard;
use super::budget::Budget;
use super::error::Report;
use super::guard::{Guard, Truth};
use super::source::Entry;
use super::subject::Subject;
use crate::question::{CallKind, Caller, Question};

/// One entry of `when`.
#[derive(Debug)]
pub(super) enum Condition {
    /// A value of the call or of the host's facts passes a guard.
    Value(Subject, Guard),
    /// What is known of everything the agent has read.
    Labels(LabelGuard),
}

impl Condition {
    /// Reads one entry of `when` in a rule about `calls`.
    pub(super) fn parse(
        entry: &Entry,
        calls: &[CallKind],
        budget: &mut Budget,
        report: &mut Report,
    ) -> Option<Self> {
        if entry.key == "labels" {
            return LabelGuard::parse(&entry.value, report).map(Self::Labels);
        }
        let subject = Subject::parse(&entry.key, calls, entry.at, report);
        entry.value.refuse_ambiguous(report);
        let guard = Guard::parse(&entry.value, budget, report);
        subject.zip(guard).map(|(subject, guard)| Self::Value(subject, guard))
    }

    /// Whether the condition holds. Pure and total.
    pub(super) fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Truth {
        match self {
            Self::Value(subject, guard) => {
                subject.find(caller, question).map_or(Truth::Unknown, |operand| guard.judge(operand))
            }
            Self::Labels(guard) => guard.judge(caller.labels),
        }
    }
}
