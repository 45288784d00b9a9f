//! What a policy could say to some call of a tool, whatever its arguments and whenever it is made: for the listing of the
//! tools that an agent may call.
//!
//! A tool that some call could get is always found. One that none could get is found too where that cannot be seen from
//! the rules one by one: its conditions on arguments may exclude each other, and an engine cannot be asked what it could say.

use std::ops::BitOr;

use super::condition::Condition;
use super::guard::Truth;
use super::rule::Rule;
use super::snapshot::Snapshot;
use super::{Policy, subject::Root};
use crate::question::{Caller, Question};
use agent_primitives::Verdict;

/// The answers other than deny that can come. None of them: the tool is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prospect {
    pub(crate) allow: bool,
    pub(crate) ask: bool,
    /// It may have nothing to say, and leave it to the other layers.
    pub(super) silent: bool,
}

impl Prospect {
    /// Of an engine, which may say anything.
    pub(super) const ANY: Self = Self { allow: true, ask: true, silent: false };

    pub(super) const fn is_none(self) -> bool {
        !self.allow && !self.ask && !self.silent
    }

    /// The answers that can come of two layers: the stricter of one from each.
    pub(super) fn meet(self, other: Self) -> Self {
        if self.is_none() || other.is_none() {
            return Self::default();
        }
        let lets = |one: Self| one.allow || one.silent;
        Self {
            allow: lets(self) && lets(other) && (self.allow || other.allow),
            ask: self.ask || other.ask,
            silent: self.silent && other.silent,
        }
    }
}

/// Whether a rule matches, for all that does not change while the agent lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matches {
    Never,
    Maybe,
    Always,
}

impl BitOr for Matches {
    type Output = Self;

    /// Of two rules of one effect.
    fn bitor(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Never, Self::Never) => Self::Never,
            _ => Self::Maybe,
        }
    }
}

impl Policy {
    /// What this policy, as a layer, could say to a call of the tool in question. The question's arguments are not looked at.
    pub(super) fn prospect(&self, caller: &Caller<'_>, question: &Question<'_>) -> Prospect {
        prospect(&self.snapshot, caller, question)
    }
}

fn prospect(snapshot: &Snapshot, caller: &Caller<'_>, question: &Question<'_>) -> Prospect {
    let Some((index, text)) = snapshot.index_for(question) else { return Prospect::default() };
    let (mut allows, mut asks, mut denies) = (Matches::Never, Matches::Never, Matches::Never);
    for number in index.candidates(text, caller.agent.as_str()) {
        let Some(rule) = snapshot.rule(number) else { continue };
        let effect = match rule.effect {
            Verdict::Allow => &mut allows,
            Verdict::Ask => &mut asks,
            Verdict::Deny => &mut denies,
        };
        *effect = *effect | rule.could_match(caller, question);
    }
    if denies == Matches::Always {
        return Prospect::default();
    }
    let certain = Matches::Always;
    Prospect {
        allow: allows != Matches::Never && asks != certain,
        ask: asks != Matches::Never,
        silent: snapshot.abstains.is_some() && allows != certain && asks != certain,
    }
}

impl Rule {
    fn could_match(&self, caller: &Caller<'_>, question: &Question<'_>) -> Matches {
        if !self.is_about(caller, question) {
            return Matches::Never;
        }
        let (fixed, open): (Vec<&Condition>, Vec<&Condition>) =
            self.when.iter().partition(|one| one.is_fixed());
        match Truth::all(fixed.into_iter().map(|condition| condition.judge(caller, question))) {
            Truth::False => Matches::Never,
            // An error counts against the caller, whichever way the rule goes.
            Truth::Unknown if self.effect == Verdict::Allow => Matches::Never,
            Truth::True | Truth::Unknown if open.is_empty() => Matches::Always,
            Truth::True | Truth::Unknown => Matches::Maybe,
        }
    }
}

impl Condition {
    /// Whether the condition comes out the same for every call of one tool by one agent, at any time.
    fn is_fixed(&self) -> bool {
        match self {
            Self::Value(subject, _) => subject.root() != Root::Args,
            Self::Effects(_) => true,
            Self::Labels(..) | Self::History(_) | Self::Time(_) | Self::Mode(_) | Self::Budget(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_primitives::{AgentId, ToolId};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::policy::PolicySet;
    use crate::question::{CallKind, Object};

    const EFFECTS: [&str; 3] = ["allow", "deny", "ask"];
    const CONDITIONS: [&str; 8] = [
        "",
        "context.role: {eq: worker}",
        "context.role: {eq: boss}",
        "context.none: {eq: 1}",
        "tool: {eq: t}",
        "args.x: {eq: 1}",
        "args.y: {gt: 1}",
        "labels: {any_of: [secret]}",
    ];

    fn document(rules: &[(usize, Vec<usize>)], abstains: bool) -> String {
        let rule = |(number, (effect, when)): (usize, &(usize, Vec<usize>))| {
            let mut when: Vec<&str> =
                when.iter().map(|one| CONDITIONS[*one]).filter(|one| !one.is_empty()).collect();
            when.sort_unstable();
            when.dedup_by_key(|one| one.split(':').next().unwrap_or_default().to_owned());
            let when =
                if when.is_empty() { String::new() } else { format!(", when: {{{}}}", when.join(", ")) };
            format!("{{id: r{number}, effect: {}, calls: [exec], tools: [t]{when}}}", EFFECTS[*effect])
        };
        let rules: Vec<String> = rules.iter().enumerate().map(rule).collect();
        let unmatched = if abstains { "unmatched: abstain, " } else { "" };
        format!("{{version: 1, {unmatched}rules: [{}]}}", rules.join(", "))
    }

    fn rules() -> impl Strategy<Value = Vec<(usize, Vec<usize>)>> {
        prop::collection::vec((0..3_usize, prop::collection::vec(0..CONDITIONS.len(), 0..3)), 0..5)
    }

    fn arguments() -> Vec<Value> {
        vec![json!({}), json!({"x": 1}), json!({"y": 2}), json!({"x": 1, "y": 2}), json!({"x": 2, "y": 0})]
    }

    /// Every answer but deny that some call gets.
    fn found(set: &PolicySet, agent: &AgentId, facts: &Map<String, Value>) -> (bool, bool) {
        let tool: ToolId = "t".parse().unwrap();
        let secret = agent_primitives::LabelSet::new(["secret".parse().unwrap()]).unwrap();
        let mut answers = (false, false);
        for arguments in arguments() {
            for labels in [agent_primitives::LabelSet::EMPTY, secret.clone()] {
                let caller = Caller::new(agent, facts).having_read(&labels);
                let question =
                    Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments: &arguments });
                match set.decide(&caller, &question).verdict() {
                    Verdict::Allow => answers.0 = true,
                    Verdict::Ask => answers.1 = true,
                    Verdict::Deny => {}
                }
            }
        }
        answers
    }

    proptest! {
        #[test]
        fn no_tool_that_some_call_could_get_is_out_of_prospect(
            organisation in rules(), layer in rules(), abstains in any::<bool>(),
        ) {
            let policy = |rules, abstains| Policy::from_yaml("test", &document(rules, abstains)).unwrap();
            let set = PolicySet::builder(policy(&organisation, false)).everybody(policy(&layer, abstains)).build().unwrap();
            let agent: AgentId = "w".parse().unwrap();
            let facts = json!({"role": "worker"}).as_object().cloned().unwrap();
            let (tool, nothing) = ("t".parse().unwrap(), Value::Null);
            let question = Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments: &nothing });
            let prospect = set.prospect(&Caller::new(&agent, &facts), &question);
            let (allow, ask) = found(&set, &agent, &facts);
            prop_assert!(prospect.allow || !allow, "{:?} {}", prospect, document(&organisation, false));
            prop_assert!(prospect.ask || !ask, "{:?} {}", prospect, document(&organisation, false));
        }

        #[test]
        fn what_depends_on_no_argument_and_no_situation_is_foretold_exactly(
            rules in prop::collection::vec((0..3_usize, prop::collection::vec(0..5_usize, 0..3)), 0..5),
        ) {
            let set: PolicySet = Policy::from_yaml("test", &document(&rules, false)).unwrap().into();
            let agent: AgentId = "w".parse().unwrap();
            let facts = json!({"role": "worker"}).as_object().cloned().unwrap();
            let (tool, nothing) = ("t".parse().unwrap(), Value::Null);
            let question = Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments: &nothing });
            let prospect = set.prospect(&Caller::new(&agent, &facts), &question);
            prop_assert_eq!((prospect.allow, prospect.ask), found(&set, &agent, &facts));
        }
    }
}
