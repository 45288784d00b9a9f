//! One rule: what it selects, when it holds, what it then says.

use agent_primitives::{SignalSet, Verdict};

use super::ask::AskTerms;
use super::condition::Condition;
use super::decision::OnViolation;
use super::guard::Truth;
use super::limits::RuleLimit;
use super::pattern::{Patterns, Targets};
use crate::question::{CallKind, Caller, Object, Question};

/// A compiled rule. The index has already matched its calls, tools, paths and targets when it is asked.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Box<str>,
    pub(super) effect: Verdict,
    pub(super) calls: Box<[CallKind]>,
    pub(super) agents: Option<Patterns>,
    pub(super) tenants: Option<Patterns>,
    pub(super) signals: Option<SignalSet>,
    /// Where some are meant by what they are to the sender; otherwise the index has matched them all.
    pub(super) targets: Option<Targets>,
    pub(super) when: Box<[Condition]>,
    pub(super) on_violation: OnViolation,
    pub(super) pack: Option<&'static str>,
    /// How often and how much it grants; empty for without limit.
    pub(crate) limits: Box<[RuleLimit]>,
    /// Whose consent it wants; of every rule that asks, and of no other.
    pub(crate) ask: Option<AskTerms>,
}

impl Rule {
    /// Whether the rule says more than its effect: something the kernel has to do besides.
    pub(super) fn obliges(&self) -> bool {
        !self.limits.is_empty() || self.ask.is_some()
    }

    /// Whether the rule is about such callers and questions, whatever its conditions say.
    pub(super) fn is_about(&self, caller: &Caller<'_>, question: &Question<'_>) -> bool {
        if self.agents.as_ref().is_some_and(|agents| !agents.matches(caller.agent.as_str())) {
            return false;
        }
        let of_tenant =
            |tenants: &Patterns| caller.tenant.is_some_and(|tenant| tenants.matches(tenant.as_str()));
        if !self.tenants.as_ref().is_none_or(of_tenant) {
            return false;
        }
        let (Some(signals), Object::Agent { signal, .. }) = (self.signals, question.object) else {
            return true;
        };
        signals.contains(signal)
    }

    /// Whether the rule speaks about this question.
    pub(super) fn matches(&self, caller: &Caller<'_>, question: &Question<'_>) -> bool {
        if !self.is_about(caller, question) {
            return false;
        }
        if let (Some(targets), Object::Agent { id, .. }) = (&self.targets, question.object)
            && !targets.matches(caller.acting.unwrap_or(caller.agent), id)
        {
            return false;
        }
        match self.holds(caller, question) {
            Truth::True => true,
            Truth::False => false,
            // An error counts against the caller, whichever way the rule goes.
            Truth::Unknown => self.effect != Verdict::Allow,
        }
    }

    /// Whether the rule depends on more than the question and what never changes about the agent.
    pub(super) fn is_situational(&self) -> bool {
        self.when.iter().any(Condition::is_situational)
    }

    fn holds(&self, caller: &Caller<'_>, question: &Question<'_>) -> Truth {
        Truth::all(self.when.iter().map(|condition| condition.judge(caller, question)))
    }
}

/// What can be told about a rule without its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleInfo<'p> {
    /// The rule's id, unique in the policy.
    pub id: &'p str,
    /// What the rule says when it matches.
    pub effect: Verdict,
    /// The calls it is about.
    pub calls: &'p [CallKind],
    /// What happens to an agent that this rule refuses; means nothing for a rule that allows.
    pub on_violation: OnViolation,
    /// The built-in pack the rule came with, if it did.
    pub pack: Option<&'static str>,
}

impl<'p> From<&'p Rule> for RuleInfo<'p> {
    fn from(rule: &'p Rule) -> Self {
        Self {
            id: &rule.id,
            effect: rule.effect,
            calls: &rule.calls,
            on_violation: rule.on_violation,
            pack: rule.pack,
        }
    }
}
