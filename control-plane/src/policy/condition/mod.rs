//! Conditions: what has to hold, besides the selectors, for a rule to speak.

pub(super) mod budget;
pub(super) mod effects;
pub(super) mod history;
pub(super) mod labels;
pub(super) mod mode;
pub(super) mod time;

use self::budget::BudgetGuard;
use self::effects::EffectGuard;
use self::history::HistoryGuard;
use self::labels::{Bearer, LabelGuard};
use self::mode::ModeGuard;
use self::time::TimeGuard;
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
    /// What the agent, or a part of the call, carries.
    Labels(Bearer, LabelGuard),
    /// What the tool's contract declares.
    Effects(EffectGuard),
    /// The time of the call.
    Time(TimeGuard),
    /// What the host has put the kernel in.
    Mode(ModeGuard),
    /// How much of budgets is left.
    Budget(Box<[BudgetGuard]>),
    /// What the agent has done so far.
    History(HistoryGuard),
}

/// What an entry is read as.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Effects,
    Time,
    Mode,
    Budget,
    History,
}

/// The entries of `when` that are named by one word and take a form of their own. Those on labels have several names:
/// see [`labels::BEARERS`].
pub(super) const KINDS: [(&str, Kind); 8] = [
    ("effects", Kind::Effects),
    ("time", Kind::Time),
    ("mode", Kind::Mode),
    ("budget", Kind::Budget),
    ("count", Kind::History),
    ("sum", Kind::History),
    ("after", Kind::History),
    ("unless_after", Kind::History),
];

/// The fields of each condition, by its name in the schema.
#[cfg(test)]
pub(super) fn field_lists() -> [(&'static str, &'static [&'static str]); 8] {
    [
        ("labels", &labels::FIELDS),
        ("effects", &effects::FIELDS),
        ("window", &time::FIELDS),
        ("mode", &mode::FIELDS),
        ("balance", &budget::FIELDS),
        ("count", &history::COUNT),
        ("sum", &history::SUM),
        ("deeds", &history::DEEDS),
    ]
}

impl Condition {
    /// Reads one entry of `when` in a rule about `calls`.
    pub(super) fn parse(
        entry: &Entry,
        calls: &[CallKind],
        budget: &mut Budget,
        report: &mut Report,
    ) -> Option<Self> {
        if let Some(part) = Bearer::named_by(&entry.key) {
            let bearer = Bearer::parse(part, entry, calls, report);
            let guard = LabelGuard::parse(&entry.value, report);
            return bearer.zip(guard).map(|(bearer, guard)| Self::Labels(bearer, guard));
        }
        let kind = KINDS.into_iter().find(|(name, _)| *name == entry.key);
        if let Some((_, kind)) = kind {
            return match kind {
                Kind::Effects => EffectGuard::parse(entry, calls, report).map(Self::Effects),
                Kind::Time => TimeGuard::parse(&entry.value, report).map(Self::Time),
                Kind::Mode => ModeGuard::parse(&entry.value, report).map(Self::Mode),
                Kind::Budget => BudgetGuard::parse_all(&entry.value, report).map(Self::Budget),
                Kind::History => HistoryGuard::parse(entry, calls, budget, report).map(Self::History),
            };
        }
        let subject = Subject::parse(&entry.key, calls, entry.at, report);
        entry.value.refuse_ambiguous(report);
        let guard = Guard::parse(&entry.value, budget, report);
        subject.zip(guard).map(|(subject, guard)| Self::Value(subject, guard))
    }

    /// Whether the condition looks at what the arguments carry.
    pub(super) fn looks_at_arguments(&self) -> bool {
        matches!(self, Self::Labels(bearer, _) if !matches!(bearer, Bearer::Agent))
    }

    pub(super) fn looks_at_mode(&self) -> bool {
        matches!(self, Self::Mode(_))
    }

    pub(super) fn looks_at_budgets(&self) -> bool {
        matches!(self, Self::Budget(_))
    }

    /// Whether the condition holds. Pure and total.
    pub(super) fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Truth {
        match self {
            Self::Value(subject, guard) => {
                subject.find(caller, question).map_or(Truth::Unknown, |operand| guard.judge(operand))
            }
            Self::Effects(guard) => guard.judge(question.effects),
            Self::Labels(bearer, guard) => guard.judge(|label| bearer.carries(label, caller, question)),
            Self::Time(guard) => guard.judge(caller.now),
            Self::Mode(guard) => guard.judge(caller.mode),
            Self::Budget(guards) => Truth::all(guards.iter().map(|guard| guard.judge(caller.budgets))),
            Self::History(guard) => guard.judge(caller, question),
        }
    }

    /// Whether the same question, put by the same life of an agent, can get another answer later.
    pub(super) fn is_situational(&self) -> bool {
        match self {
            // A tool's contract is the same for as long as the kernel runs.
            Self::Value(..) | Self::Effects(_) => false,
            Self::Labels(..) | Self::History(_) | Self::Time(_) | Self::Mode(_) | Self::Budget(_) => true,
        }
    }

    /// Whether the condition looks at what the agent has done.
    pub(super) fn looks_back(&self) -> bool {
        matches!(self, Self::History(_))
    }

    /// The tools that the condition names one by one, and where.
    pub(super) fn named_tools(&self) -> impl Iterator<Item = &(Box<str>, Mark)> {
        let guard = if let Self::History(guard) = self { Some(guard) } else { None };
        guard.into_iter().flat_map(HistoryGuard::named_tools)
    }
}
