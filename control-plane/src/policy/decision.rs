//! What a policy answers.

use std::fmt;
use std::sync::Arc;

use agent_primitives::{AgentId, Digest, Verdict};
use smallvec::SmallVec;

use super::rule::Rule;
use super::snapshot::Snapshot;
use crate::kernel::own;
use crate::question::{Caller, Object, Question};

/// Most rule ids a decision keeps; more are only counted.
pub const MAX_DECIDING_RULES: usize = 8;

/// What happens to an agent whose call was refused. Exhaustive on purpose: a kernel must handle each.
///
/// Ordered by strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnViolation {
    /// The call fails and the agent may try something else.
    Deny,
    /// The agent is stopped until somebody lets it go on.
    Stop,
    /// The agent is killed.
    Kill,
}

impl OnViolation {
    pub(super) const NAMES: [(&'static str, Self); 3] =
        [("kill", Self::Kill), ("deny", Self::Deny), ("stop", Self::Stop)];

    /// The word policies use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for OnViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The answer to one question, with the rules that made it. Holds its policy alive, copies nothing out of it.
#[derive(Clone)]
pub struct Decision {
    snapshot: Arc<Snapshot>,
    verdict: Verdict,
    on_violation: OnViolation,
    kept: [u32; MAX_DECIDING_RULES],
    matched: usize,
    policy: Digest,
    generation: u64,
    /// Whether rules allow what only a human can.
    withheld: bool,
    /// `None` while all of it is empty. A decision is moved several times on its way, so it stays small.
    more: Option<Box<More>>,
}

// What is larger is copied by a call of `memcpy` instead of in place.
const _: () = assert!(size_of::<Decision>() <= 128);

/// What most decisions do not have.
#[derive(Clone, Default)]
struct More {
    /// Every rule that made the verdict and obliges, however many.
    obliging: SmallVec<[u32; 2]>,
    /// What answered instead of the rules of the snapshot.
    engine: Option<ByEngine>,
    with: Vec<Decision>,
}

/// The answer of a policy engine.
#[derive(Clone, Debug)]
struct ByEngine {
    name: Box<str>,
    rules: Box<[Box<str>]>,
}

impl Decision {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The ids of the rules that made the verdict, in the order of the document: every rule that matched and has the
    /// winning effect, the first [`MAX_DECIDING_RULES`] of them. Empty when nothing matched, and for the calls that are
    /// always allowed.
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &str> {
        let kept = self.rule_count().min(MAX_DECIDING_RULES);
        (0..kept).map(|index| self.rule_id(index).unwrap_or_default())
    }

    fn rule_id(&self, index: usize) -> Option<&str> {
        match self.engine() {
            Some(engine) => engine.rules.get(index).map(|rule| &**rule),
            None => Some(&*self.snapshot.rule(*self.kept.get(index)?)?.id),
        }
    }

    /// How many rules made the verdict, those included that [`Decision::rules`] leaves out.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.engine().map_or(self.matched, |engine| engine.rules.len())
    }

    /// The first of the rules that made the verdict; `None` when nothing matched.
    #[must_use]
    pub fn deciding_rule(&self) -> Option<&str> {
        self.rules().next()
    }

    /// What a refusal does to the agent: the strictest of what the deciding rules say, or the policy's own word when
    /// nothing matched. For `ask` it is what a human's no leads to; for `allow` it means nothing.
    #[must_use]
    pub fn on_violation(&self) -> OnViolation {
        self.on_violation
    }

    /// The rules that made the verdict and oblige the kernel to something, all of them, in the order of the document; and
    /// those of the other layers, since what each demands has to be met.
    pub(crate) fn obliging(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.own_obliging().chain(self.with().iter().flat_map(Self::own_obliging))
    }

    fn own_obliging(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.obliging_numbers().iter().filter_map(|rule| self.snapshot.rule(*rule))
    }

    fn obliging_numbers(&self) -> &[u32] {
        self.more.as_ref().map_or(&[], |more| &more.obliging)
    }

    fn engine(&self) -> Option<&ByEngine> {
        self.more.as_ref()?.engine.as_ref()
    }

    /// The digest of everything that answered: the whole set of layers, those that had nothing to say included.
    #[must_use]
    pub fn policy_digest(&self) -> Digest {
        self.policy
    }

    /// The name of the policy, or of the engine, whose rules these are.
    #[must_use]
    pub fn policy_name(&self) -> &str {
        self.engine().map_or(&*self.snapshot.name, |engine| &*engine.name)
    }

    /// The generation of the policy set that answered, as [`crate::Kernel::reload`] counts them; zero outside of a
    /// kernel.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this is a deny because the rules, which allow the call, are not enough: those of the kernel's own tools that
    /// give away more than the agent has, such as [`DECLASSIFY`](crate::kernel::DECLASSIFY), are carried out on a human's consent only, so a rule has to ask for it.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// What the other layers said. Of a denied call those that deny it too; of any other all of them, since what each
    /// demands has to be met.
    #[must_use]
    pub fn with(&self) -> &[Self] {
        self.more.as_ref().map_or(&[], |more| &more.with)
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("verdict", &self.verdict)
            .field("rules", &self.rules().collect::<Vec<_>>())
            .field("on_violation", &self.on_violation)
            .finish_non_exhaustive()
    }
}

/// The answer to what is always the caller's own business: its own descriptors, mask, mailbox and end.
pub(super) fn own_business(snapshot: &Arc<Snapshot>) -> Decision {
    Decision {
        snapshot: Arc::clone(snapshot),
        verdict: Verdict::Allow,
        on_violation: snapshot.on_violation,
        kept: [0; MAX_DECIDING_RULES],
        matched: 0,
        policy: snapshot.digest,
        generation: 0,
        withheld: false,
        more: None,
    }
}

/// The answer of an engine, on behalf of the organisation whose snapshot this is.
pub(super) fn by_engine(
    snapshot: &Arc<Snapshot>,
    name: &str,
    verdict: Verdict,
    rules: Vec<String>,
) -> Decision {
    let rules = rules.into_iter().map(String::into_boxed_str).collect();
    let engine = Some(ByEngine { name: name.into(), rules });
    let more = Some(Box::new(More { engine, ..More::default() }));
    Decision { verdict, more, ..own_business(snapshot) }
}

/// Answers a question: deny over ask over allow, and deny when nothing matched.
pub(super) fn decide(snapshot: &Arc<Snapshot>, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
    let mut decision = own_business(snapshot);
    if snapshot.always_allowed(question.call) {
        return decision;
    }
    decision.verdict = Verdict::Deny;
    let Some((index, text)) = snapshot.index_for(question) else { return decision };
    // Looked at where they are: taken out one by one they would be copied first.
    let candidates = index.candidates(text, caller.agent.as_str());
    for &number in &candidates {
        let Some(rule) = snapshot.rule(number) else { continue };
        let outranked = 0 < decision.matched && rule.effect < decision.verdict;
        if !outranked && rule.matches(caller, question) {
            decision.take(number, rule);
        }
    }
    decision
}

/// Whether the answer stays as it is for this life of the agent, whatever it does and whatever time it is: no rule that
/// could match has a condition on the situation.
pub(super) fn is_timeless(snapshot: &Snapshot, agent: &AgentId, question: &Question<'_>) -> bool {
    let Some((index, text)) = snapshot.index_for(question) else { return true };
    let candidates = index.candidates(text, agent.as_str());
    candidates.into_iter().filter_map(|number| snapshot.rule(number)).all(|rule| !rule.is_situational())
}

impl Decision {
    /// The stricter of two answers to one question. Which of the two comes first changes no verdict.
    pub(super) fn meet(self, other: Self) -> Self {
        let rank = |decision: &Self| (decision.verdict, decision.on_violation, 0 < decision.rule_count());
        let (mut head, mut tail) = if rank(&self) < rank(&other) { (other, self) } else { (self, other) };
        if head.verdict == tail.verdict || head.verdict != Verdict::Deny {
            let with = tail.more.as_mut().map(|more| std::mem::take(&mut more.with)).unwrap_or_default();
            for mut one in with.into_iter().chain([tail]) {
                // What one rule demands has to be met once, however many answers it has made.
                let digest = one.snapshot.digest;
                if let Some(more) = &mut one.more {
                    more.obliging.retain(|rule| !head.obliges(digest, *rule));
                }
                head.more.get_or_insert_default().with.push(one);
            }
        }
        head
    }

    /// The answer to be given: what was worked out, unless that hands out what only a human can. It is the last step, after
    /// all layers have spoken, so that one that asks is heard over one that allows.
    pub(super) fn given_to(mut self, question: &Question<'_>) -> Self {
        let own = matches!(question.object, Object::Tool { id, .. } if own::needs_consent(id));
        if own && self.verdict == Verdict::Allow {
            self.verdict = Verdict::Deny;
            // The policy is at fault, not the agent.
            self.on_violation = OnViolation::Deny;
            if let Some(more) = &mut self.more {
                more.obliging.clear();
                more.with.clear();
            }
            self.withheld = true;
        }
        self
    }

    /// Whether a rule of the policy with this digest is among those that oblige.
    fn obliges(&self, policy: Digest, rule: u32) -> bool {
        let own = |decision: &Self| {
            decision.snapshot.digest == policy && decision.obliging_numbers().contains(&rule)
        };
        own(self) || self.with().iter().any(own)
    }

    /// The same answer, as that of a whole set.
    pub(super) fn of_set(mut self, policy: Digest) -> Self {
        self.policy = policy;
        self
    }

    /// The same answer, given under this generation.
    pub(super) fn in_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Counts a rule that matched; a stricter effect than before starts over.
    fn take(&mut self, number: u32, rule: &Rule) {
        if self.matched == 0 || self.verdict < rule.effect {
            self.matched = 0;
            if let Some(more) = &mut self.more {
                more.obliging.clear();
            }
            self.verdict = rule.effect;
            self.on_violation = rule.on_violation;
        }
        if let Some(place) = self.kept.get_mut(self.matched) {
            *place = number;
        }
        if rule.obliges() {
            self.more.get_or_insert_default().obliging.push(number);
        }
        self.matched += 1;
        self.on_violation = self.on_violation.max(rule.on_violation);
    }
}

#[cfg(test)]
mod tests {
    use agent_primitives::ToolId;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::policy::Policy;
    use crate::question::CallKind;
    use crate::vfs::VfsPath;

    /// A rule as the tests see it: its conditions are taken from the compiled policy, its selectors are matched by hand.
    #[derive(Clone, Debug)]
    struct Model {
        effect: &'static str,
        on_violation: Option<&'static str>,
        file: bool,
        patterns: Vec<&'static str>,
        agents: Option<Vec<&'static str>>,
        guard: Option<&'static str>,
        limited: bool,
    }

    impl Model {
        fn text(&self, number: usize) -> String {
            let (calls, selector) = if self.file { ("[read, open]", "paths") } else { ("[exec]", "tools") };
            let mut rule =
                json!({ "id": format!("r{number}"), "effect": self.effect, selector: self.patterns });
            if let Some(agents) = &self.agents {
                rule["agents"] = json!(agents);
            }
            if let Some(word) = self.on_violation.filter(|_| self.effect != "allow") {
                rule["on_violation"] = json!(word);
            }
            if self.limited && self.effect != "deny" {
                rule["limits"] = json!({ "concurrency": 1 });
            }
            let subject = if self.file { "path" } else { "args.x" };
            let when = self.guard.map(|guard| format!(", when: {{{subject}: {guard}}}")).unwrap_or_default();
            let rule = rule.to_string();
            format!("{{calls: {calls}{when}, {}", rule.trim_start_matches('{'))
        }

        fn selects(&self, agent: &str, call: CallKind, text: &str) -> bool {
            let right_call = if self.file {
                matches!(call, CallKind::Read | CallKind::Open)
            } else {
                call == CallKind::Exec
            };
            let any = |patterns: &[&str], text: &str, separator| {
                patterns.iter().any(|pattern| glob(pattern.as_bytes(), text.as_bytes(), separator))
            };
            right_call
                && any(&self.patterns, text, self.file)
                && self.agents.as_ref().is_none_or(|agents| any(agents, agent, false))
        }
    }

    /// The plainest matcher that can be: every star tries every length.
    fn glob(pattern: &[u8], text: &[u8], separator: bool) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|cut| glob(rest, &text[cut..], separator)),
            [b'*', rest @ ..] => {
                let reach = text.iter().position(|byte| separator && *byte == b'/').unwrap_or(text.len());
                (0..=reach).any(|cut| glob(rest, &text[cut..], separator))
            }
            [b'?', rest @ ..] => matches!(text, [byte, after @ ..]
                if !(separator && *byte == b'/') && glob(rest, after, separator)),
            [first, rest @ ..] => {
                matches!(text, [byte, after @ ..] if byte == first && glob(rest, after, separator))
            }
        }
    }

    /// Looks at every rule, in order, and keeps what the strictest say.
    fn naive(policy: &Policy, models: &[Model], caller: &Caller<'_>, question: &Question<'_>) -> Answer {
        let text = match question.object {
            Object::File(path) => path.as_str(),
            Object::Tool { id, .. } => id.as_str(),
            Object::Agent { id, .. } => id.as_str(),
        };
        let matching: Vec<&Rule> = models
            .iter()
            .zip(&policy.snapshot.rules)
            .filter(|(model, _)| model.selects(caller.agent.as_str(), question.call, text))
            .map(|(_, rule)| rule)
            .filter(|rule| rule.matches(caller, question))
            .collect();
        let verdict = matching.iter().map(|rule| rule.effect).max().unwrap_or(Verdict::Deny);
        let deciding: Vec<&&Rule> = matching.iter().filter(|rule| rule.effect == verdict).collect();
        let on_violation = deciding.iter().map(|rule| rule.on_violation).max();
        let ids = deciding.iter().map(|rule| rule.id.to_string()).take(MAX_DECIDING_RULES).collect();
        let obliging = deciding.iter().filter(|rule| rule.obliges());
        let obliging = obliging.map(|rule| rule.id.to_string()).collect();
        (verdict, ids, obliging, deciding.len(), on_violation.unwrap_or(policy.snapshot.on_violation))
    }

    type Answer = (Verdict, Vec<String>, Vec<String>, usize, OnViolation);

    fn answer(policy: &Policy, caller: &Caller<'_>, question: &Question<'_>) -> Answer {
        let decision = policy.decide(caller, question);
        let ids = decision.rules().map(str::to_owned).collect();
        let obliging = decision.obliging().map(|rule| rule.id.to_string()).collect();
        (decision.verdict(), ids, obliging, decision.rule_count(), decision.on_violation())
    }

    const TOOLS: [&str; 5] = ["db", "db.q", "db.query", "mail.send", "mcp.x/get"];
    const TOOL_PATTERNS: [&str; 9] =
        ["db", "db.q", "db.query", "*", "db*", "db.*", "*.send", "mcp.*/g?t", "m*e*"];
    const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b/a"];
    const PATH_PATTERNS: [&str; 8] = ["/", "/a", "/a/b", "/**", "/a/**", "/*", "/*/b", "/a?"];
    const AGENTS: [&str; 3] = ["w", "w2", "boss"];
    const AGENT_PATTERNS: [&str; 5] = ["w", "w2", "boss", "w*", "*s"];
    const GUARDS: [&str; 9] = [
        "{eq: 1}",
        "{ne: 1}",
        "{gt: 1}",
        "{not: {lt: 2}}",
        "{matches: b}",
        "{len: {lt: 3}}",
        "{any_of: [{eq: x}, {gt: 3}]}",
        "{each: {gt: 0}}",
        "{path: {under: [/a]}}",
    ];

    fn pick(
        from: &'static [&'static str],
        count: std::ops::RangeInclusive<usize>,
    ) -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(from), count)
    }

    fn model() -> impl Strategy<Value = Model> {
        let common = (
            prop::sample::select(&["allow", "deny", "ask"][..]),
            prop::option::of(prop::sample::select(&["kill", "deny", "stop"][..])),
            prop::option::weighted(0.4, pick(&AGENT_PATTERNS, 1..=2)),
            prop::option::of(prop::sample::select(&GUARDS[..])),
            any::<bool>(),
        );
        let selector = prop_oneof![
            pick(&PATH_PATTERNS, 1..=3).prop_map(|patterns| (true, patterns)),
            pick(&TOOL_PATTERNS, 1..=3).prop_map(|patterns| (false, patterns)),
        ];
        (common, selector).prop_map(|((effect, on_violation, agents, guard, limited), (file, patterns))| {
            Model { effect, on_violation, file, patterns, agents, guard, limited }
        })
    }

    fn argument() -> impl Strategy<Value = Value> {
        let arguments = [
            json!({}),
            json!({"x": 1}),
            json!({"x": 2.5}),
            json!({"x": "b"}),
            json!({"x": "x"}),
            json!({"x": [1, 2]}),
            json!({"x": [0]}),
            json!({"x": "/a/b"}),
            json!({"x": null}),
            json!({"x": {}}),
        ];
        prop::sample::select(arguments.to_vec())
    }

    #[test]
    fn of_two_answers_the_stricter_stands_and_equal_ones_oblige_together() {
        let text = "{version: 1, rules: [\
            {id: r, effect: allow, calls: [open], paths: ['/**'], limits: {concurrency: 1}},\
            {id: w, effect: allow, calls: [write], paths: ['/**'], limits: [{concurrency: 2, per: tenant}]},\
            {id: rw, effect: allow, calls: [open, write], paths: ['/**'], limits: {concurrency: 3, per: policy}},\
            {id: no, effect: deny, calls: [write], paths: ['/no']}]}";
        let policy = Policy::from_yaml("test", text).unwrap();
        let (agent, facts) = ("w".parse().unwrap(), Map::new());
        let decide = |call, path: &str| {
            let path = VfsPath::parse(path).unwrap();
            policy.decide(&Caller::new(&agent, &facts), &Question::new(call, Object::File(&path)))
        };
        for (path, verdict, obliging) in
            [("/a", Verdict::Allow, &["r", "rw", "w"][..]), ("/no", Verdict::Deny, &[])]
        {
            let both = decide(CallKind::Open, path).meet(decide(CallKind::Write, path));
            assert_eq!(both.verdict(), verdict);
            let mut found: Vec<&str> = both.obliging().map(|rule| &*rule.id).collect();
            found.sort_unstable();
            assert_eq!(found, obliging);
        }
    }

    proptest! {
        #[test]
        fn the_index_answers_as_a_scan_of_all_rules_does(
            models in prop::collection::vec(model(), 0..24),
            agent in prop::sample::select(&AGENTS[..]),
            tool in prop::sample::select(&TOOLS[..]),
            path in prop::sample::select(&PATHS[..]),
            arguments in argument(),
        ) {
            let rules: Vec<String> = models.iter().enumerate().map(|(n, model)| model.text(n)).collect();
            let text = format!("{{version: 1, on_violation: stop, rules: [{}]}}", rules.join(", "));
            let policy = Policy::from_yaml("test", &text).unwrap();
            let (agent, tool): (AgentId, ToolId) = (agent.parse().unwrap(), tool.parse().unwrap());
            let path = VfsPath::parse(path).unwrap();
            let facts = Map::new();
            let caller = Caller::new(&agent, &facts);
            for (call, object) in [
                (CallKind::Exec, Object::Tool { id: &tool, arguments: &arguments }),
                (CallKind::Read, Object::File(&path)),
                (CallKind::Open, Object::File(&path)),
                (CallKind::Write, Object::File(&path)),
            ] {
                let question = Question::new(call, object);
                let found = answer(&policy, &caller, &question);
                prop_assert_eq!(&found, &naive(&policy, &models, &caller, &question), "{}", text);
                // The same document, loaded anew, answers the same.
                let again = Policy::from_yaml("again", &text).unwrap();
                prop_assert_eq!(&found, &answer(&again, &caller, &question));
                prop_assert_eq!(policy.digest(), again.digest());
            }
        }

        #[test]
        fn no_text_makes_the_loader_panic(text in "[\\[\\]{}:,\\-&*!|>'\"#%@`\\\\ \n\ta-z0-9.?~]{0,200}") {
            let _ = Policy::from_yaml("test", &text);
        }

        #[test]
        fn no_argument_makes_a_guard_panic(text in "(?s).{0,60}|(https?|SELECT|select \\* from|WITH)[ -~\u{e9}\u{3002}]{0,80}") {
            let policy = Policy::from_yaml("test", "{version: 1, rules: [{id: a, effect: ask, calls: [exec], tools: [t], when: {\
                args.x: {any_of: [{url: {schemes: [https], hosts: ['*']}}, {path: {under: [/]}}, {matches: '\\d'}, \
                {sql: {statements: [select], tables: ['*']}}, {sql: {dialect: mysql, statements: [select], tables: ['*']}}, \
                {sql: {dialect: postgres, statements: [select], tables: ['*']}}]}}}]}").unwrap();
            let (agent, tool) = ("w".parse().unwrap(), "t".parse().unwrap());
            let object = Object::Tool { id: &tool, arguments: &json!({ "x": text }) };
            let facts = Map::new();
            let caller = Caller::new(&agent, &facts);
            let question = Question::new(CallKind::Exec, object);
            prop_assert_ne!(policy.decide(&caller, &question).verdict(), Verdict::Allow);
        }
    }
}
