#![doc = include_str!("../docs/policy.md")]
#![doc = include_str!("../docs/policy_conditions.md")]
#![doc = include_str!("../docs/policy_grants.md")]
#![doc = include_str!("../docs/policy_guards.md")]

mod ask;
mod budget;
mod condition;
mod decision;
mod document;
pub mod engine;
mod error;
mod fields;
mod guard;
mod index;
mod limits;
mod pack;
mod pattern;
pub(crate) mod permit;
mod prospect;
pub(crate) mod request;
mod rule;
mod schema;
pub mod security_md;
mod set;
pub mod simulate;
mod snapshot;
mod source;
mod subject;
pub mod test;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use agent_primitives::{AgentId, Digest, ToolId, suggest};
use serde_json::Value;

pub use self::ask::{MAX_APPROVERS, MAX_ASK_TIMEOUT};
pub use self::budget::{
    MAX_GLOB_BYTES, MAX_NEEDLE_BYTES, MAX_NEEDLES, MAX_REGEX_COST, MAX_REGEXES, MAX_SCHEMAS,
};
pub use self::decision::{Decision, MAX_DECIDING_RULES, OnViolation};
pub use self::document::{MAX_POLICY_BYTES, MAX_RULES};
pub use self::engine::{Opinion, PolicyEngine};
pub use self::error::{MAX_ERRORS, PolicyError, PolicyErrors};
pub use self::guard::DEFAULT_SQL_FUNCTIONS;
pub(crate) use self::limits::{RuleLimit, Scope};
pub(crate) use self::prospect::Prospect;
pub use self::rule::RuleInfo;
pub use self::schema::schema;
pub(crate) use self::set::Standing;
pub use self::set::{MAX_LAYERS, MAX_PATTERN_LAYERS, PolicySet, PolicySetBuilder};
pub use self::source::MAX_DEPTH;

use self::error::{Code, Mark, Report, quoted};
pub(crate) use self::snapshot::Looks;
use self::snapshot::Snapshot;
use self::source::Format;
use crate::question::{Caller, Question};

/// A compiled policy: immutable, shared, cheap to clone.
///
/// ```
/// use agent_control_plane::policy::Policy;
/// use agent_control_plane::question::{CallKind, Caller, Object, Question};
/// use agent_primitives::Verdict;
/// use serde_json::{Map, json};
///
/// let policy = Policy::from_yaml(
///     "transfers.yaml",
///     r#"
/// version: 1
/// name: transfers
/// rules:
///   - { id: small, effect: allow, calls: [exec], tools: ["bank.transfer"], when: { args.amount: { gt: 0 } } }
///   - { id: large, effect: ask, calls: [exec], tools: ["bank.transfer"], when: { args.amount: { gt: 1000 } } }
/// "#,
/// )?;
/// let (agent, tool) = ("support-1".parse()?, "bank.transfer".parse()?);
/// let decide = |arguments: serde_json::Value| {
///     let object = Object::Tool { id: &tool, arguments: &arguments };
///     policy.decide(&Caller::new(&agent, &Map::new()), &Question::new(CallKind::Exec, object))
/// };
/// assert_eq!(decide(json!({ "amount": 20 })).verdict(), Verdict::Allow);
/// assert_eq!(decide(json!({ "amount": 2000 })).deciding_rule(), Some("large"));
/// assert_eq!(decide(json!({ "amount": "20" })).verdict(), Verdict::Ask);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Policy {
    snapshot: Arc<Snapshot>,
}

impl Policy {
    /// Compiles a document. `source_name` stands in front of every error.
    ///
    /// # Errors
    /// [`PolicyErrors`] lists everything that was found wrong; no part of such a document is ever in force.
    pub fn from_yaml(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Yaml, text)
    }

    /// Compiles a document in JSON, read strictly; otherwise as [`Policy::from_yaml`].
    ///
    /// # Errors
    /// As [`Policy::from_yaml`].
    pub fn from_json(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Json, text)
    }

    /// Compiles what an agent gives the child `owner` to keep to. It is not the host's word: what it limits is counted for
    /// that child only, under a name of its own, so that it touches no count of another policy or of anybody else. And it
    /// asks nobody: who has to agree, and to what, is for the host to say.
    ///
    /// # Errors
    /// As [`Policy::from_yaml`], and `AK0132` for a rule that asks.
    pub(crate) fn from_agent(source_name: &str, owner: &str, text: &str) -> Result<Self, PolicyErrors> {
        let mut snapshot = document::load(&source_name.into(), Format::Json, text.as_bytes())?;
        if let Some(rule) = snapshot.rules.iter().find(|rule| rule.ask.is_some()) {
            let mut report = Report::new(&snapshot.file);
            let message = format!("the rule `{}` asks, which no policy that an agent gives can do", rule.id);
            report.add(Code::Misplaced, Mark::NOWHERE, message);
            return report.finish(None);
        }
        for limit in snapshot.rules.iter_mut().flat_map(|rule| &mut rule.limits) {
            limit.per = Scope::Agent;
            limit.key = format!("{owner}/{}", limit.key).into();
        }
        Ok(Self::of(snapshot))
    }

    /// Compiles a document in TOML; otherwise as [`Policy::from_yaml`].
    ///
    /// # Errors
    /// As [`Policy::from_yaml`].
    pub fn from_toml(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        Self::read(source_name, Format::Toml, text)
    }

    fn read(source_name: &str, format: Format, text: &str) -> Result<Self, PolicyErrors> {
        document::load(&source_name.into(), format, text.as_bytes()).map(Self::of)
    }

    /// Reads a regular file and compiles it; at most [`MAX_POLICY_BYTES`] are read. The name ends in `.yaml`, `.yml`,
    /// `.json` or `.toml` and so says what the file is written in. Blocks the thread.
    ///
    /// # Errors
    /// As [`Policy::from_yaml`], and `AK0110` when the file cannot be read, has another name or is not UTF-8.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyErrors> {
        let file: Arc<str> = path.as_ref().display().to_string().into();
        let Some(format) = Format::of(path.as_ref()) else {
            let mut report = Report::new(&file);
            let message = "the name does not say what the policy is written in";
            let help = "let it end in .yaml, .yml, .json or .toml";
            report.add_help(Code::Unreadable, Mark::NOWHERE, message, help);
            return report.finish(None);
        };
        match read(path.as_ref()) {
            Ok(bytes) => document::load(&file, format, &bytes).map(Self::of),
            Err(error) => {
                let mut report = Report::new(&file);
                report.add(Code::Unreadable, Mark::NOWHERE, format!("cannot read the policy: {error}"));
                report.finish(None)
            }
        }
    }

    /// The policy that allows nothing but what is always allowed, and kills who tries.
    #[must_use]
    pub fn deny_all() -> Self {
        Self::of(document::deny_all())
    }

    /// A built-in policy on its own.
    ///
    /// # Errors
    /// `AK0113` when there is no pack of that name; the help names the nearest.
    pub fn pack(name: &str) -> Result<Self, PolicyErrors> {
        match pack::PACKS.iter().find(|pack| pack.name == name) {
            Some(pack) => {
                let text = format!("version: 1\nname: {0}\npacks: [{0}]\n", pack.name);
                Self::from_yaml(&format!("pack:{}", pack.name), &text)
            }
            None => {
                let mut report = Report::new(&"policy".into());
                let known = pack::PACKS.map(|pack| pack.name);
                report.unknown(Code::UnknownWord, Mark::NOWHERE, "pack", name, &known);
                report.finish(None)
            }
        }
    }

    /// Answers a question. Pure and total: equal policies and equal questions give equal answers, and no input makes it
    /// panic. The cost grows with the rules that select what is asked about, not with all rules.
    #[must_use]
    pub fn decide(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        let ask = |caller| decision::decide(&self.snapshot, caller, question);
        caller.above.iter().map(ask).fold(ask(caller), Decision::meet).given_to(question)
    }

    /// Checks that each tool a rule names one by one is among `known`; patterns are not checked.
    ///
    /// # Errors
    /// One `AK0131` for each such tool that is not, with its place in the document and the nearest known name.
    pub fn check_tools<'t>(&self, known: impl IntoIterator<Item = &'t ToolId>) -> Result<(), PolicyErrors> {
        let known: std::collections::BTreeSet<&str> = known.into_iter().map(ToolId::as_str).collect();
        let mut report = Report::new(&self.snapshot.file);
        for (tool, at) in &self.snapshot.named_tools {
            if !known.contains(&**tool) {
                let message = format!("no tool is registered as {}", quoted(tool));
                match suggest::nearest(tool, known.iter().copied()) {
                    Some(nearest) => {
                        report.add_help(
                            Code::UnknownTool,
                            *at,
                            message,
                            format!("did you mean `{nearest}`?"),
                        );
                    }
                    None => report.add(Code::UnknownTool, *at, message),
                }
            }
        }
        report.finish(Some(()))
    }

    /// Whether the answer to a question of this agent depends on nothing that changes while it lives.
    pub(crate) fn is_timeless(&self, agent: &AgentId, question: &Question<'_>) -> bool {
        decision::is_timeless(&self.snapshot, agent, question)
    }

    /// What the rules look at besides the call.
    pub(crate) fn looks(&self) -> Looks {
        self.snapshot.looks
    }

    /// The policy's name; `unnamed` if the document gives none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.snapshot.name
    }

    /// The digest of what the document says, packs included. Layout, comments and the order of keys do not change it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.snapshot.digest
    }

    /// The rules: those of the packs first, then the document's own, in order.
    #[must_use]
    pub fn rules(&self) -> impl ExactSizeIterator<Item = RuleInfo<'_>> {
        self.snapshot.rules.iter().map(RuleInfo::from)
    }

    /// The document as JSON. Loading its text gives a policy with the same digest.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.snapshot.document.clone()
    }

    fn of(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot) }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name())
            .field("digest", &self.digest())
            .field("rules", &self.snapshot.rules.len())
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // Asked before opening, which for a pipe would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the loader sees that there is too much.
    std::fs::File::open(path)?.take(MAX_POLICY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
