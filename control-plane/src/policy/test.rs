//! Tests of a policy, as data.
//!
//! ```toml
//! [[test]]
//! name = "mail to the team"
//! call = "exec"                       # read, write, open, exec, signal
//! tool = "mail.send"                  # or `path`; or `target` and `signal`
//! args = { to = "ann@example.com" }   # of a tool; none, if left out
//! agent = "reviewer-1"                # `agent`, if left out
//! tenant = "acme"
//! labels = ["untrusted"]              # what the agent carries
//! carries = { to = [] }               # what arguments carry; those left out carry all that the agent does
//! content = ["body"]                  # the arguments that the tool's contract calls content; the others decide
//! effects = ["network", "message"]    # what the contract declares; nothing, if left out
//! mode = "maintenance"
//! done = [                            # what the agent did before, oldest first
//!     { call = "read", path = "/mem/semantic/x", ago = "10m" },
//!     { call = "exec", tool = "refund", args = { amount = 6000 }, ago = "5m" },
//! ]
//! context = { team = "red" }
//! time = "2026-03-01T12:00:00Z"       # the beginning of 1970, if left out
//! expect = "allow"                    # allow, ask or deny
//! rule = "mail-the-team"              # among the rules that decide; "" means that none matched
//! on_violation = "deny"               # kill, stop or deny; looked at only where it is given
//! ```
//!
//! Nothing is run: each test asks the policy one question. A field that is unknown, or that the call does not have, is an
//! error with its line.

use std::collections::BTreeMap;

use agent_primitives::span::parse_duration;
use agent_primitives::{AgentId, Label, LabelSet, Signal, TenantId, Timestamp, ToolId, Verdict};
use agent_tool_registry::{ArgumentRole, Effect, EffectSet};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::error::{Code, Mark, PolicyErrors, Report as Errors, quoted};
use super::{Decision, MAX_POLICY_BYTES, OnViolation, PolicySet};
use crate::flow::Argument;
use crate::history::History;
use crate::mode::Mode;
use crate::question::{CallKind, Caller, Object, Question};
use crate::vfs::VfsPath;

/// Most tests of one file.
pub const MAX_TESTS: usize = 10_000;

/// What the tests of one file, or of several, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many tests found what they expect.
    pub passed: usize,
    /// Those that did not, in their order.
    pub failed: Vec<Failure>,
    /// For each rule of the set, the layers one after the other, how many tests it decided.
    pub coverage: Vec<Coverage>,
}

/// A test that did not find what it expects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The file.
    pub file: String,
    /// The line the test begins in.
    pub line: u32,
    /// The test's name.
    pub name: String,
    /// What was expected and found, in one line.
    pub message: String,
}

/// How many tests a rule decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// The name of the rule's policy.
    pub policy: String,
    /// The rule.
    pub rule: String,
    /// How many tests have it among the rules that decide.
    pub tests: usize,
}

impl Report {
    /// The rules that decided no test.
    pub fn uncovered(&self) -> impl Iterator<Item = &Coverage> {
        self.coverage.iter().filter(|coverage| coverage.tests == 0)
    }

    /// The report of the tests of both files, of one set.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        for coverage in other.coverage {
            match self.coverage.iter_mut().find(|known| coverage.is_of(&known.policy, &known.rule)) {
                Some(known) => known.tests += coverage.tests,
                None => self.coverage.push(coverage),
            }
        }
        self
    }
}

impl Coverage {
    fn is_of(&self, policy: &str, rule: &str) -> bool {
        self.policy == policy && self.rule == rule
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    test: Vec<Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    call: String,
    tool: Option<String>,
    path: Option<String>,
    target: Option<String>,
    signal: Option<String>,
    args: Option<Map<String, Value>>,
    agent: Option<String>,
    tenant: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    carries: Option<BTreeMap<String, Vec<String>>>,
    content: Option<Vec<String>>,
    #[serde(default)]
    effects: Vec<Effect>,
    mode: Option<String>,
    #[serde(default)]
    done: Vec<Deed>,
    #[serde(default)]
    context: Map<String, Value>,
    time: Option<String>,
    expect: Verdict,
    rule: Option<String>,
    on_violation: Option<String>,
}

/// Something the agent did before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deed {
    call: String,
    tool: Option<String>,
    path: Option<String>,
    target: Option<String>,
    signal: Option<String>,
    args: Option<Map<String, Value>>,
    ago: String,
}

/// Asks a policy set every question of a file and compares the answers. `source_name` stands in front of every error.
///
/// # Errors
/// `AK0139` with its line for whatever in the file is no test; then nothing was asked.
pub fn run(set: &PolicySet, source_name: &str, text: &str) -> Result<Report, PolicyErrors> {
    let mut errors = Errors::new(&source_name.into());
    let cases = parse(text, &mut errors).unwrap_or_default();
    let mut asked = Vec::new();
    for case in &cases {
        let at = Mark::of_offset(text, case.span().start);
        match Asked::of(case.get_ref()) {
            Ok(question) => asked.push((at, case.get_ref(), question)),
            Err(message) => {
                errors.add(Code::Case, at, format!("the test {}: {message}", quoted(&case.get_ref().name)));
            }
        }
    }
    errors.finish(Some(()))?;
    let mut report = Report { coverage: rules(set), ..Report::default() };
    for (at, case, asked) in asked {
        let decision = set.decide(&asked.caller(), &asked.question());
        report.cover(&decision);
        match compare(case, &decision) {
            Ok(()) => report.passed += 1,
            Err(message) => report.failed.push(Failure {
                file: source_name.to_owned(),
                line: at.line,
                name: case.name.clone(),
                message,
            }),
        }
    }
    Ok(report)
}

fn parse(text: &str, errors: &mut Errors) -> Option<Vec<Spanned<Case>>> {
    if MAX_POLICY_BYTES < text.len() {
        let message = format!("the tests are larger than {MAX_POLICY_BYTES} bytes");
        errors.add(Code::TooLarge, Mark::NOWHERE, message);
        return None;
    }
    match toml::from_str::<File>(text) {
        Ok(file) if file.test.len() <= MAX_TESTS => Some(file.test),
        Ok(_) => {
            errors.add(Code::Limit, Mark::NOWHERE, format!("more than {MAX_TESTS} tests"));
            None
        }
        Err(error) => {
            let at = error.span().map_or(Mark::NOWHERE, |span| Mark::of_offset(text, span.start));
            errors.add(Code::Case, at, error.message().replace('\n', "; "));
            None
        }
    }
}

fn rules(set: &PolicySet) -> Vec<Coverage> {
    let of = |policy: &super::Policy| {
        let name = policy.name().to_owned();
        let rule =
            |rule: super::RuleInfo<'_>| Coverage { policy: name.clone(), rule: rule.id.to_owned(), tests: 0 };
        policy.rules().map(rule).collect::<Vec<_>>()
    };
    set.policies().flat_map(of).collect()
}

impl Report {
    /// Counts the rules that made an answer, those of all layers that stand behind it.
    fn cover(&mut self, decision: &Decision) {
        for decision in std::iter::once(decision).chain(decision.with()) {
            for rule in decision.rules() {
                let mut known = self.coverage.iter_mut();
                if let Some(known) = known.find(|known| known.is_of(decision.policy_name(), rule)) {
                    known.tests += 1;
                }
            }
        }
    }
}

fn compare(case: &Case, decision: &Decision) -> Result<(), String> {
    let found: Vec<&str> = decision.rules().collect();
    let by = if found.is_empty() { "no rule".to_owned() } else { found.join(", ") };
    if decision.verdict() != case.expect {
        return Err(format!("expected {}, got {} by {by}", case.expect, decision.verdict()));
    }
    match case.rule.as_deref() {
        Some("") if !found.is_empty() => return Err(format!("expected that no rule matches, got {by}")),
        Some(rule) if !rule.is_empty() && !found.contains(&rule) => {
            return Err(format!("expected {} by `{rule}`, got it by {by}", case.expect));
        }
        _ => {}
    }
    match case.on_violation.as_deref() {
        Some(word) if word != decision.on_violation().name() => {
            Err(format!("expected `on_violation: {word}`, got {}", decision.on_violation()))
        }
        _ => Ok(()),
    }
}

/// A test, checked.
struct Asked<'c> {
    agent: AgentId,
    tenant: Option<TenantId>,
    labels: LabelSet,
    facts: &'c Map<String, Value>,
    carried: Option<Vec<Argument>>,
    effects: EffectSet,
    mode: Mode,
    history: History,
    now: Timestamp,
    call: CallKind,
    what: What,
}

enum What {
    File(VfsPath),
    Tool(ToolId, Value),
    Agent(AgentId, Signal),
}

impl<'c> Asked<'c> {
    fn of(case: &'c Case) -> Result<Self, String> {
        let call = call_named(&case.call)?;
        let labels = labels(&case.labels)?;
        let now = case.time.as_deref().map_or(Ok(Timestamp::default()), time)?;
        if call != CallKind::Exec {
            let given = [
                ("carries", case.carries.is_some()),
                ("content", case.content.is_some()),
                ("effects", !case.effects.is_empty()),
            ];
            if let Some((field, _)) = given.into_iter().find(|(_, given)| *given) {
                return Err(format!("`{field}` does not go with `{call}`"));
            }
        }
        if let Some(word) = &case.on_violation
            && !OnViolation::NAMES.iter().any(|(name, _)| name == word)
        {
            return Err(format!("unknown `on_violation` {}", quoted(word)));
        }
        let done = case.done.iter().flat_map(|deed| deed.args.iter().flat_map(Map::values));
        let values = case.context.values().chain(case.args.iter().flat_map(Map::values));
        if values.chain(done).any(holds_date) {
            return Err("dates are no values of a call; put them in quotes".to_owned());
        }
        Ok(Self {
            agent: name(case.agent.as_deref().unwrap_or("agent"))?,
            tenant: case.tenant.as_deref().map(name).transpose()?,
            carried: carried(case, &labels)?,
            labels,
            facts: &case.context,
            effects: case.effects.iter().copied().collect(),
            mode: case.mode.as_deref().map_or(Ok(Mode::default()), name)?,
            history: history(&case.done, now)?,
            now,
            call,
            what: What::of(call, &case.object())?,
        })
    }

    fn caller(&self) -> Caller<'_> {
        Caller::new(&self.agent, self.facts)
            .of_tenant(self.tenant.as_ref())
            .having_read(&self.labels)
            .having_done(&self.history)
            .in_mode(self.mode.as_str())
            .at(self.now)
    }

    fn question(&self) -> Question<'_> {
        Question::new(self.call, self.what.object()).carrying(self.carried.as_deref()).declaring(self.effects)
    }
}

fn call_named(text: &str) -> Result<CallKind, String> {
    let call = CallKind::ALL.into_iter().find(|call| call.name() == text);
    call.ok_or_else(|| format!("unknown call {}", quoted(text)))
}

fn labels(texts: &[String]) -> Result<LabelSet, String> {
    let labels: Result<Vec<Label>, _> = texts.iter().map(|label| label.parse()).collect();
    LabelSet::new(labels.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// What each argument carries, where the test says so of any.
fn carried(case: &Case, agent: &LabelSet) -> Result<Option<Vec<Argument>>, String> {
    if case.carries.is_none() && case.content.is_none() {
        return Ok(None);
    }
    let named = case.carries.iter().flat_map(BTreeMap::keys).chain(case.content.iter().flatten());
    if let Some(name) =
        named.into_iter().find(|name| case.args.as_ref().is_none_or(|args| !args.contains_key(*name)))
    {
        return Err(format!("{} is none of the arguments", quoted(name)));
    }
    let argument = |name: &String| {
        let is_content = case.content.iter().flatten().any(|content| content == name);
        let role = if is_content { ArgumentRole::Content } else { ArgumentRole::Authority };
        let own = case.carries.as_ref().and_then(|carries| carries.get(name));
        let labels = own.map_or_else(|| Ok(agent.clone()), |own| labels(own))?;
        Ok(Argument::new(name, role, labels))
    };
    case.args.iter().flat_map(Map::keys).map(argument).collect::<Result<_, _>>().map(Some)
}

fn history(deeds: &[Deed], now: Timestamp) -> Result<History, String> {
    let mut history = History::default();
    let mut latest = None;
    for deed in deeds {
        let call = call_named(&deed.call)?;
        let what = What::of(call, &deed.object())?;
        let ago = parse_duration(&deed.ago).map_err(|error| error.to_string())?;
        let ago = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
        let time = Timestamp::from_micros(now.as_micros().saturating_sub(ago));
        if latest.is_some_and(|latest| time < latest) {
            return Err("what was done stands in `done` oldest first".to_owned());
        }
        latest = Some(time);
        history.note(&Question::new(call, what.object()), time);
    }
    Ok(history)
}

/// What a call touches, as it is written.
struct Written<'c> {
    tool: Option<&'c str>,
    path: Option<&'c str>,
    target: Option<&'c str>,
    signal: Option<&'c str>,
    args: Option<&'c Map<String, Value>>,
}

macro_rules! written {
    ($($case:ty),*) => {$(
        impl $case {
            fn object(&self) -> Written<'_> {
                Written {
                    tool: self.tool.as_deref(),
                    path: self.path.as_deref(),
                    target: self.target.as_deref(),
                    signal: self.signal.as_deref(),
                    args: self.args.as_ref(),
                }
            }
        }
    )*};
}

written!(Case, Deed);

impl What {
    fn object(&self) -> Object<'_> {
        match self {
            Self::File(path) => Object::File(path),
            Self::Tool(id, arguments) => Object::Tool { id, arguments },
            Self::Agent(id, signal) => Object::Agent { id, signal: *signal },
        }
    }

    fn of(call: CallKind, case: &Written<'_>) -> Result<Self, String> {
        let (fits, needs): (&[&str], &[&str]) = match call {
            CallKind::Exec => (&["tool", "args"], &["tool"]),
            CallKind::Read | CallKind::Write | CallKind::Open => (&["path"], &["path"]),
            CallKind::Signal => (&["target", "signal"], &["target", "signal"]),
            CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => {
                return Err(format!("`{call}` is always allowed, and no policy is asked"));
            }
        };
        let given = [
            ("tool", case.tool.is_some()),
            ("args", case.args.is_some()),
            ("path", case.path.is_some()),
            ("target", case.target.is_some()),
            ("signal", case.signal.is_some()),
        ];
        for (field, given) in given {
            if given && !fits.contains(&field) {
                return Err(format!("`{field}` does not go with `{call}`"));
            }
            if !given && needs.contains(&field) {
                return Err(format!("`{call}` needs `{field}`"));
            }
        }
        let text = |field: Option<&str>| field.unwrap_or_default().to_owned();
        Ok(match call {
            CallKind::Exec => {
                Self::Tool(name(&text(case.tool))?, Value::Object(case.args.cloned().unwrap_or_default()))
            }
            CallKind::Signal => {
                let signal = Signal::ALL.into_iter().find(|signal| signal.name() == text(case.signal));
                let signal =
                    signal.ok_or_else(|| format!("unknown signal {}", quoted(&text(case.signal))))?;
                Self::Agent(name(&text(case.target))?, signal)
            }
            _ => Self::File(VfsPath::parse(&text(case.path)).map_err(|error| error.to_string())?),
        })
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{} is no name: {error}", quoted(text)))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.map(|time| Timestamp::from_micros(time.timestamp_micros()))
        .map_err(|error| format!("{} is no time: {error}", quoted(text)))
}

/// Whether a value is, or holds, a date of TOML, which JSON does not have.
fn holds_date(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.starts_with("$__toml") || holds_date(value))
        }
        Value::Array(items) => items.iter().any(holds_date),
        _ => false,
    }
}
