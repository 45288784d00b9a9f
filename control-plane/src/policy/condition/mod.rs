//! Conditions: what has to hold, besides the selectors, for a rule to speak.

mod history;
mod labels;

use self::history::HistoryGuard;
use self::labels::LabelGuard;
use super::budget::Budget;
use super::error::{Mark, Report};
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
    /// What the agent has done so far.
    History(HistoryGuard),
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
        if history::NAMES.contains(&entry.key.as_str()) {
            return HistoryGuard::parse(entry, calls, budget, report).map(Self::History);
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
            Self::History(guard) => guard.judge(caller, question),
        }
    }

    /// Whether the same question, put by the same life of an agent, can get another answer later.
    pub(super) fn is_situational(&self) -> bool {
        match self {
            Self::Value(..) => false,
            Self::Labels(_) | Self::History(_) => true,
        }
    }

    /// Whether the condition looks at what the agent has done.
    pub(super) fn looks_back(&self) -> bool {
        match self {
            Self::Value(..) | Self::Labels(_) => false,
            Self::History(_) => true,
        }
    }

    /// The tools that the condition names one by one, and where.
    pub(super) fn named_tools(&self) -> impl Iterator<Item = &(Box<str>, Mark)> {
        let guard = if let Self::History(guard) = self { Some(guard) } else { None };
        guard.into_iter().flat_map(HistoryGuard::named_tools)
    }
}
