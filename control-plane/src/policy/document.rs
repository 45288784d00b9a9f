//! Turns a document into a compiled policy, or into all the reasons why not.

use std::collections::HashMap;
use std::sync::Arc;

use agent_primitives::json::canonical;
use agent_primitives::{Digest, Signal, SignalSet, Verdict};
use serde_json::{Value, json};

use super::ask::{self, AskTerms};
use super::budget::Budget;
use super::condition::Condition;
use super::decision::OnViolation;
use super::error::{Code, Mark, PolicyErrors, Report, quoted};
use super::fields::{self, Fields};
use super::index::{Index, IndexBuilder};
use super::limits::{self, RuleLimit};
use super::pack::{PACKS, Pack};
use super::pattern::{Kind, Pattern, Patterns, Targets};
use super::rule::Rule;
use super::snapshot::{Indexes, Looks, Snapshot};
use super::source::{self, Format, Node, Tree};
use crate::question::CallKind;

/// A policy is written by people; a larger file is refused unread.
pub const MAX_POLICY_BYTES: usize = 1 << 20;
/// Most rules in one policy, packs included.
pub const MAX_RULES: usize = 20_000;

pub(super) const FIELDS: [&str; 6] = ["version", "name", "packs", "on_violation", "unmatched", "rules"];
pub(super) const RULE_FIELDS: [&str; 13] = [
    "id",
    "effect",
    "calls",
    "tools",
    "paths",
    "targets",
    "signals",
    "agents",
    "tenants",
    "when",
    "limits",
    "ask",
    "on_violation",
];
pub(super) const UNMATCHED: [(&str, bool); 2] = [("deny", false), ("abstain", true)];
pub(super) const EFFECTS: [(&str, Verdict); 3] =
    [("allow", Verdict::Allow), ("deny", Verdict::Deny), ("ask", Verdict::Ask)];

/// Compiles the bytes of a document.
pub(super) fn load(file: &Arc<str>, format: Format, bytes: &[u8]) -> Result<Snapshot, PolicyErrors> {
    let mut report = Report::new(file);
    if MAX_POLICY_BYTES < bytes.len() {
        let message = format!("the policy is larger than {MAX_POLICY_BYTES} bytes");
        report.add(Code::TooLarge, Mark::NOWHERE, message);
        return report.finish(None);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        report.add(Code::Unreadable, Mark::NOWHERE, "the policy is not UTF-8");
        return report.finish(None);
    };
    let snapshot =
        source::parse(format, text, &mut report).and_then(|root| compile(file, &root, &mut report));
    report.finish(snapshot)
}

/// The policy that allows nothing.
pub(super) fn deny_all() -> Snapshot {
    let document = json!({ "version": 1, "name": "deny_all", "packs": ["default_deny"] });
    Snapshot {
        file: "deny_all".into(),
        name: "deny_all".into(),
        // A value this small has a canonical form.
        digest: digest(&document, &[]).unwrap_or(Digest::ZERO),
        document,
        on_violation: OnViolation::Kill,
        rules: Box::default(),
        looks: Looks::default(),
        indexes: Indexes::default(),
        named_tools: Box::default(),
        abstains: None,
    }
}

pub(super) fn compile(file: &Arc<str>, root: &Node, report: &mut Report) -> Option<Snapshot> {
    let fields = Fields::of(root, "the policy", &FIELDS, report)?;
    version(&fields, report);
    let name = fields.get("name").and_then(|entry| fields::name(&entry.value, "the policy's name", report));
    let on_violation = match fields.get("on_violation") {
        Some(entry) => fields::word(&entry.value, "on_violation", &OnViolation::NAMES, report),
        None => Some(OnViolation::Kill),
    };
    let abstains = abstains(&fields, report);
    let packs = fields.get("packs").and_then(|entry| packs(&entry.value, report)).unwrap_or_default();
    let rules = fields.get("rules").and_then(|entry| fields::list(&entry.value, "`rules`", report));
    if fields.get("rules").is_none() && fields.get("packs").is_none() {
        let help = "a policy that grants nothing is `packs: [default_deny]`";
        report.add_help(Code::Missing, fields.at, "the policy has neither `rules` nor `packs`", help);
    }
    let name = name.unwrap_or("unnamed");
    let mut loader = Loader::new(name, on_violation.unwrap_or(OnViolation::Kill), report);
    for pack in &packs {
        loader.pack(pack);
    }
    loader.rules(rules.unwrap_or_default(), None);
    let (rules, indexes, named_tools) = loader.finish()?;
    let document = root.to_json();
    let Some(digest) = digest(&document, &packs) else {
        report.add(Code::Limit, root.at, "the policy has no canonical form");
        return None;
    };
    let any = |looks: fn(&Condition) -> bool| rules.iter().flat_map(|rule| &rule.when).any(looks);
    Some(Snapshot {
        file: Arc::clone(file),
        name: name.into(),
        digest,
        document,
        on_violation: on_violation?,
        looks: Looks {
            at_arguments: any(Condition::looks_at_arguments),
            at_mode: any(Condition::looks_at_mode),
            at_budgets: any(Condition::looks_at_budgets),
            back: any(Condition::looks_back),
        },
        rules: rules.into(),
        indexes,
        named_tools: named_tools.into(),
        abstains,
    })
}

/// Where the document says that it abstains when nothing in it matches, if it does.
fn abstains(fields: &Fields<'_>, report: &mut Report) -> Option<Mark> {
    let entry = fields.get("unmatched")?;
    fields::word(&entry.value, "word for `unmatched`", &UNMATCHED, report)?.then_some(entry.at)
}

/// Covers what the document says and what its packs meant when it was loaded, not how it is laid out.
fn digest(document: &Value, packs: &[Pack]) -> Option<Digest> {
    let packs: Vec<[&str; 2]> = packs.iter().map(|pack| [pack.name, pack.text]).collect();
    let bytes = canonical(&json!([document, packs])).ok()?;
    Some(Digest::of("agent-os policy v1", &bytes))
}

fn version(fields: &Fields<'_>, report: &mut Report) {
    let Some(entry) = fields.require("version", "the policy", report) else { return };
    match &entry.value.tree {
        Tree::Number(number) if number.as_u64() == Some(1) => {}
        Tree::Reported => {}
        _ => {
            let found = quoted(&entry.value.to_json().to_string());
            report.add(Code::Version, entry.value.at, format!("unknown version {found}; this is version 1"));
        }
    }
}

fn packs(node: &Node, report: &mut Report) -> Option<Vec<Pack>> {
    let known = PACKS.map(|pack| (pack.name, pack));
    let nodes = fields::some_list(node, "`packs`", report)?;
    let mut packs: Vec<Pack> = Vec::new();
    for node in nodes {
        let Some(pack) = fields::word(node, "pack", &known, report) else { continue };
        if packs.iter().any(|earlier| earlier.name == pack.name) {
            report.add(Code::DuplicateRule, node.at, format!("the pack `{}` is named twice", pack.name));
        } else {
            packs.push(pack);
        }
    }
    Some(packs)
}

/// Reads rules one after the other and indexes them.
struct Loader<'r> {
    report: &'r mut Report,
    policy: &'r str,
    default: OnViolation,
    budget: Budget,
    /// Where each id was seen first: in which pack, if any, and in which line.
    ids: HashMap<Box<str>, (Option<&'static str>, u32)>,
    rules: Vec<Rule>,
    named_tools: NamedTools,
    read: IndexBuilder,
    write: IndexBuilder,
    open: IndexBuilder,
    exec: IndexBuilder,
    signal: IndexBuilder,
}

/// The tools that rules name one by one, and where.
type NamedTools = Vec<(Box<str>, Mark)>;

/// What a rule selects.
struct Selectors {
    tools: Option<Vec<Pattern>>,
    paths: Option<Vec<Pattern>>,
    targets: Option<Vec<Pattern>>,
    agents: Option<Vec<Pattern>>,
    tenants: Option<Patterns>,
    signals: Option<SignalSet>,
}

impl<'r> Loader<'r> {
    fn new(policy: &'r str, default: OnViolation, report: &'r mut Report) -> Self {
        Self {
            report,
            policy,
            default,
            budget: Budget::new(),
            ids: HashMap::new(),
            rules: Vec::new(),
            named_tools: Vec::new(),
            read: IndexBuilder::default(),
            write: IndexBuilder::default(),
            open: IndexBuilder::default(),
            exec: IndexBuilder::default(),
            signal: IndexBuilder::default(),
        }
    }

    fn pack(&mut self, pack: &Pack) {
        let name = format!("pack:{}", pack.name).into();
        let mut inner = Report::new(&name);
        let root = source::parse(Format::Yaml, pack.text, &mut inner);
        self.report.absorb(inner);
        let rules = root.as_ref().and_then(|root| fields::map(root, "a pack", self.report)?.first());
        if let Some(rules) = rules.and_then(|entry| fields::list(&entry.value, "`rules`", self.report)) {
            self.rules(rules, Some(pack.name));
        }
    }

    fn rules(&mut self, nodes: &[Node], pack: Option<&'static str>) {
        for node in nodes {
            if self.report.is_full() {
                return;
            }
            if self.rules.len() == MAX_RULES {
                self.report.add(Code::Limit, node.at, format!("more than {MAX_RULES} rules"));
                return;
            }
            self.rule(node, pack);
        }
    }

    /// Reads one rule as far as it can be read, so that one rule can have several errors.
    fn rule(&mut self, node: &Node, pack: Option<&'static str>) -> Option<()> {
        let fields = Fields::of(node, "a rule", &RULE_FIELDS, self.report)?;
        let id = self.id(&fields, pack);
        let effect = fields
            .require("effect", "the rule", self.report)
            .and_then(|entry| fields::word(&entry.value, "effect", &EFFECTS, self.report));
        let on_violation = self.on_violation(&fields, effect);
        let ask = self.ask(&fields, effect);
        let calls = fields
            .require("calls", "the rule", self.report)
            .and_then(|entry| calls(&entry.value, self.report));
        // Without calls, nothing more can be said about the selectors and conditions.
        let calls = calls?;
        let limits = self.limits(&fields, effect, id, &calls);
        let selectors = self.selectors(&fields, &calls);
        let when = match fields.get("when") {
            Some(entry) => conditions(&entry.value, &calls, &mut self.budget, self.report),
            None => Some(Vec::new()),
        };
        for named in when.iter().flatten().flat_map(Condition::named_tools) {
            self.named_tools.push(named.clone());
        }
        let (id, mut selectors) = (id?, selectors?);
        let agents = match selectors.agents.as_deref() {
            Some(agents) => Some(self.together(agents, "agents", node.at)?),
            None => None,
        };
        let targets = Targets::new(selectors.targets.as_deref().unwrap_or_default());
        let targets = match targets {
            Ok(targets) => targets,
            Err(error) => {
                self.report.add(Code::BadPattern, node.at, format!("the patterns of `targets`: {error}"));
                return None;
            }
        };
        let rule = Rule {
            id: id.into(),
            effect: effect?,
            on_violation: on_violation?,
            calls: calls.into(),
            agents,
            tenants: selectors.tenants.take(),
            signals: selectors.signals,
            targets,
            when: when?.into(),
            pack,
            limits: limits?,
            ask: ask?,
        };
        self.index(rule, &selectors);
        Some(())
    }

    fn id<'n>(&mut self, fields: &Fields<'n>, pack: Option<&'static str>) -> Option<&'n str> {
        let entry = fields.require("id", "the rule", self.report)?;
        let id = fields::name(&entry.value, "the rule's id", self.report)?;
        let taken = match self.ids.get(id) {
            Some((Some(pack), _)) => format!("the rule id `{id}` is taken already, by the pack `{pack}`"),
            Some((None, line)) => format!("the rule id `{id}` is taken already, in line {line}"),
            None => {
                self.ids.insert(id.into(), (pack, entry.value.at.line));
                return Some(id);
            }
        };
        self.report.add(Code::DuplicateRule, entry.value.at, taken);
        None
    }

    fn on_violation(&mut self, fields: &Fields<'_>, effect: Option<Verdict>) -> Option<OnViolation> {
        let Some(entry) = fields.get("on_violation") else { return Some(self.default) };
        if effect == Some(Verdict::Allow) {
            let message = "`on_violation` says what a refusal does, and this rule allows";
            self.report.add(Code::Misplaced, entry.at, message);
            return None;
        }
        fields::word(&entry.value, "on_violation", &OnViolation::NAMES, self.report)
    }

    fn limits(
        &mut self,
        fields: &Fields<'_>,
        effect: Option<Verdict>,
        id: Option<&str>,
        calls: &[CallKind],
    ) -> Option<Box<[RuleLimit]>> {
        let Some(entry) = fields.get("limits") else { return Some(Box::default()) };
        if effect == Some(Verdict::Deny) {
            let message = "`limits` bounds what a rule grants, and this rule denies";
            self.report.add(Code::Misplaced, entry.at, message);
            return None;
        }
        limits::parse(&entry.value, (self.policy, id.unwrap_or_default()), calls, self.report)
    }

    /// The terms of a rule that asks, which has some even if it names none.
    #[expect(clippy::option_option, reason = "absent and malformed are two things")]
    fn ask(&mut self, fields: &Fields<'_>, effect: Option<Verdict>) -> Option<Option<AskTerms>> {
        match (fields.get("ask"), effect?) {
            (Some(entry), Verdict::Ask) => ask::parse(&entry.value, self.report).map(Some),
            (Some(entry), _) => {
                let message = "`ask` says whose consent it takes, and this rule asks for none";
                self.report.add(Code::Misplaced, entry.at, message);
                None
            }
            (None, Verdict::Ask) => Some(Some(AskTerms::default())),
            (None, _) => Some(None),
        }
    }

    fn selectors(&mut self, fields: &Fields<'_>, calls: &[CallKind]) -> Option<Selectors> {
        let tools = self.patterns(fields, calls, ("tools", Kind::Tool, &[CallKind::Exec]));
        let files = [CallKind::Read, CallKind::Write, CallKind::Open];
        let paths = self.patterns(fields, calls, ("paths", Kind::Path, &files));
        let targets = self.patterns(fields, calls, ("targets", Kind::Target, &[CallKind::Signal]));
        let signals = self.signals(fields, calls);
        let agents = match fields.get("agents") {
            Some(entry) => self.read_patterns(&entry.value, "`agents`", Kind::Agent).map(Some),
            None => Some(None),
        };
        let tenants = match fields.get("tenants") {
            Some(entry) => {
                let patterns = self.read_patterns(&entry.value, "`tenants`", Kind::Tenant)?;
                Some(self.together(&patterns, "tenants", entry.at)?)
            }
            None => None,
        };
        Some(Selectors {
            tools: tools?,
            paths: paths?,
            targets: targets?,
            agents: agents?,
            tenants,
            signals: signals?,
        })
    }

    /// The selector `name`, which the calls of a kind need and no others can have.
    #[expect(clippy::option_option, reason = "absent and malformed are two things")]
    fn patterns(
        &mut self,
        fields: &Fields<'_>,
        calls: &[CallKind],
        (name, kind, about): (&str, Kind, &[CallKind]),
    ) -> Option<Option<Vec<Pattern>>> {
        let call = calls.iter().find(|call| about.contains(call));
        match (fields.get(name), call) {
            (Some(entry), Some(_)) => self.read_patterns(&entry.value, &format!("`{name}`"), kind).map(Some),
            (Some(entry), None) => {
                self.misfit(name, entry.at, about);
                None
            }
            (None, Some(call)) => {
                let everything = if kind == Kind::Path { "/**" } else { "*" };
                self.report.add_help(
                    Code::Missing,
                    fields.at,
                    format!("a rule about `{call}` has no `{name}`"),
                    format!("to mean everything, write `{name}: [\"{everything}\"]`"),
                );
                None
            }
            (None, None) => Some(None),
        }
    }

    fn read_patterns(&mut self, node: &Node, what: &str, kind: Kind) -> Option<Vec<Pattern>> {
        let texts = fields::texts(node, what, self.report)?;
        let mut patterns = Vec::new();
        for (text, at) in texts {
            let pattern = Pattern::parse(kind, text, at, &mut self.budget, self.report)?;
            if let (Kind::Tool, Pattern::Exact(tool)) = (kind, &pattern) {
                self.named_tools.push((tool.clone(), at));
            }
            patterns.push(pattern);
        }
        (!patterns.is_empty()).then_some(patterns)
    }

    /// The patterns of one selector as one matcher.
    fn together(&mut self, patterns: &[Pattern], selector: &str, at: Mark) -> Option<Patterns> {
        match Patterns::new(patterns) {
            Ok(patterns) => Some(patterns),
            Err(error) => {
                self.report.add(Code::BadPattern, at, format!("the patterns of `{selector}`: {error}"));
                None
            }
        }
    }

    #[expect(clippy::option_option, reason = "absent and malformed are two things")]
    fn signals(&mut self, fields: &Fields<'_>, calls: &[CallKind]) -> Option<Option<SignalSet>> {
        let Some(entry) = fields.get("signals") else { return Some(None) };
        if !calls.contains(&CallKind::Signal) {
            self.misfit("signals", entry.at, &[CallKind::Signal]);
            return None;
        }
        let known = Signal::ALL.map(|signal| (signal.name(), signal));
        let nodes = fields::some_list(&entry.value, "`signals`", self.report)?;
        let signals: Option<SignalSet> =
            nodes.iter().map(|node| fields::word(node, "signal", &known, self.report)).collect::<Option<_>>();
        signals.map(Some)
    }

    fn misfit(&mut self, selector: &str, at: Mark, about: &[CallKind]) {
        let about: Vec<&str> = about.iter().map(|call| call.name()).collect();
        let message = format!("`{selector}` goes only with {}", about.join(", "));
        self.report.add(Code::Selector, at, message);
    }

    fn index(&mut self, rule: Rule, selectors: &Selectors) {
        // MAX_RULES is far below what a u32 holds.
        let number = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        for call in &rule.calls {
            let (index, patterns) = match call {
                CallKind::Read => (&mut self.read, &selectors.paths),
                CallKind::Write => (&mut self.write, &selectors.paths),
                CallKind::Open => (&mut self.open, &selectors.paths),
                CallKind::Exec => (&mut self.exec, &selectors.tools),
                CallKind::Signal => (&mut self.signal, &selectors.targets),
                CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => continue,
            };
            index.add(number, patterns.as_deref().unwrap_or_default(), selectors.agents.as_deref());
        }
        self.rules.push(rule);
    }

    fn finish(self) -> Option<(Vec<Rule>, Indexes, NamedTools)> {
        let report = self.report;
        // What is refused anyway is not worth compiling.
        if !report.is_empty() {
            return None;
        }
        let mut build = |builder: IndexBuilder| -> Option<Index> {
            match builder.build() {
                Ok(index) => Some(index),
                Err(error) => {
                    report.add(
                        Code::BadPattern,
                        Mark::NOWHERE,
                        format!("the patterns do not compile: {error}"),
                    );
                    None
                }
            }
        };
        let indexes = Indexes {
            read: build(self.read)?,
            write: build(self.write)?,
            open: build(self.open)?,
            exec: build(self.exec)?,
            signal: build(self.signal)?,
        };
        Some((self.rules, indexes, self.named_tools))
    }
}

pub(super) fn calls(node: &Node, report: &mut Report) -> Option<Vec<CallKind>> {
    let known = CallKind::ALL.map(|call| (call.name(), call));
    let nodes = fields::some_list(node, "`calls`", report)?;
    let mut calls = Vec::new();
    for node in nodes {
        match fields::word(node, "call", &known, report)? {
            call @ (CallKind::Close | CallKind::CheckPolicy | CallKind::Exit) => {
                let message = format!("`{call}` is always allowed and cannot be named in a rule");
                report.add(Code::AlwaysAllowed, node.at, message);
                return None;
            }
            call if calls.contains(&call) => {}
            call => calls.push(call),
        }
    }
    Some(calls)
}

fn conditions(
    node: &Node,
    calls: &[CallKind],
    budget: &mut Budget,
    report: &mut Report,
) -> Option<Vec<Condition>> {
    let entries = fields::map(node, "`when`", report)?;
    if entries.is_empty() {
        let help = "name a condition, or leave `when` out";
        report.add_help(Code::Empty, node.at, "`when` is an empty map, which says nothing", help);
        return None;
    }
    // Every entry is read, so that one `when` can have several errors.
    let conditions: Vec<Option<Condition>> =
        entries.iter().map(|entry| Condition::parse(entry, calls, budget, report)).collect();
    conditions.into_iter().collect()
}
