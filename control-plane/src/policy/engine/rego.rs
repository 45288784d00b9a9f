//! Policies in Rego, as a layer.
//!
//! The policy is the package `agentos`; of its rules these count:
//!
//! | rule | must be | says |
//! | --- | --- | --- |
//! | `allow` | a boolean | whether the call is allowed; not defined is no |
//! | `deny` | a boolean, or a set of texts | that it is denied, whatever `allow` says; each text names a reason |
//! | `reasons` | a set of texts | which rules allowed or denied it, for the record |
//!
//! Of anything else under these names the answer is an error, and any error denies. `input` is
//! `{agent, tenant, call, tool, args, path, target, signal, facts, labels, now}`, of which `tenant` and those a call does
//! not have are null; `now` is milliseconds since 1970. There are no built-ins that read a clock, a file or the network,
//! and an error inside a built-in is one of the policy.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{Digest, Verdict};
use regorus::Engine;
use regorus::utils::limits::ExecutionTimerConfig;
use serde_json::{Value, json};

use super::super::document::MAX_POLICY_BYTES;
use super::super::error::{Code, Mark, PolicyErrors, Report};
use super::{Opinion, PolicyEngine};
use crate::question::{Caller, Object, Question};

/// Longest one answer may take, by the interpreter's own clock; a longer one is an error, which denies. Where the machine
/// is so slow that a fitting policy reaches it, the call is denied too.
pub const REGO_DEADLINE: Duration = Duration::from_millis(100);
/// Steps of the interpreter between two looks at its clock.
const CHECK_EVERY: NonZeroU32 = match NonZeroU32::new(64) {
    Some(steps) => steps,
    None => NonZeroU32::MIN,
};
/// Most reasons kept of one answer.
const MAX_REASONS: usize = 8;

/// A Rego module, parsed once.
pub struct RegoEngine {
    engine: Engine,
    text: Box<str>,
}

impl RegoEngine {
    /// Parses Rego text (version 1). `source_name` stands in front of every error.
    ///
    /// # Errors
    /// `AK0137` with the line for text that does not parse, for another package than `agentos`, and for one without
    /// `allow`, which is evaluated once, without an input.
    pub fn from_text(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        let mut report = Report::new(&source_name.into());
        if MAX_POLICY_BYTES < text.len() {
            let message = format!("the policy is larger than {MAX_POLICY_BYTES} bytes");
            report.add(Code::TooLarge, Mark::NOWHERE, message);
            return report.finish(None);
        }
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: REGO_DEADLINE,
            check_interval: CHECK_EVERY,
        });
        match engine.add_policy("policy.rego".to_owned(), text.to_owned()) {
            Ok(package) if package == "data.agentos" => {}
            Ok(package) => {
                let message = format!("rego: the package is `{package}`, and only `data.agentos` is asked");
                report.add(Code::Engine, Mark { line: 1, column: 1 }, message);
            }
            Err(error) => {
                let (at, message) = parse_error(&error.to_string());
                report.add(Code::Engine, at, format!("rego: {message}"));
            }
        }
        let declares = |rule| engine.has_declared_rule_rooted_at("policy.rego", rule).unwrap_or(false);
        if report.is_empty() && !declares("allow") {
            let message = "rego: the package has no rule `allow`, so it would deny everything";
            report.add(Code::Engine, Mark { line: 1, column: 1 }, message);
        }
        // What only shows when the module is prepared, such as a rule that depends on itself, shows now.
        if report.is_empty()
            && let Err(error) = engine.clone().eval_rule("data.agentos.allow".to_owned())
        {
            let (at, message) = parse_error(&error.to_string());
            report.add(Code::Engine, at, format!("rego: {message}"));
        }
        report.finish(Some(Self { engine, text: text.into() }))
    }

    fn answer(&self, input: &Value) -> Result<(Verdict, Vec<String>), String> {
        let mut engine = self.engine.clone();
        engine.set_input_json(&input.to_string()).map_err(|error| error.to_string())?;
        let results =
            engine.eval_query("data.agentos".to_owned(), false).map_err(|error| error.to_string())?;
        let value =
            results.result.first().and_then(|result| result.expressions.first()).map(|found| &found.value);
        let value =
            value.ok_or("the package gave no value")?.to_json_str().map_err(|error| error.to_string())?;
        let rules: Value = serde_json::from_str(&value).map_err(|error| error.to_string())?;
        let allow = match rules.get("allow") {
            None => false,
            Some(Value::Bool(allow)) => *allow,
            Some(_) => return Err("`allow` is no boolean".to_owned()),
        };
        let mut reasons = texts("reasons", rules.get("reasons"))?;
        let deny = match rules.get("deny") {
            None => false,
            Some(Value::Bool(deny)) => *deny,
            some => {
                let denials = texts("deny", some)?;
                let any = !denials.is_empty();
                reasons.splice(0..0, denials);
                any
            }
        };
        reasons.truncate(MAX_REASONS);
        let verdict = if allow && !deny { Verdict::Allow } else { Verdict::Deny };
        // A deny that nobody explained was made by `deny` all the same, and is no mere lack of an allow.
        if deny && reasons.is_empty() {
            reasons.push("deny".to_owned());
        }
        Ok((verdict, reasons))
    }
}

/// The texts of a rule that is a set, or none where it is not defined.
fn texts(rule: &str, value: Option<&Value>) -> Result<Vec<String>, String> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let items = value.as_array().ok_or_else(|| format!("`{rule}` is no set"))?;
    let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| format!("`{rule}` holds something that is no text"))
}

impl PolicyEngine for RegoEngine {
    fn name(&self) -> &str {
        "rego"
    }

    fn digest(&self) -> Digest {
        Digest::of("agent-os rego policy v1", self.text.as_bytes())
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Opinion {
        match self.answer(&input(caller, question)) {
            Ok((verdict, rules)) => Opinion::Answer { verdict, rules },
            Err(error) => Opinion::Error(error),
        }
    }
}

impl fmt::Debug for RegoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegoEngine").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

impl From<RegoEngine> for Arc<dyn PolicyEngine> {
    fn from(engine: RegoEngine) -> Self {
        Arc::new(engine)
    }
}

fn input(caller: &Caller<'_>, question: &Question<'_>) -> Value {
    let (mut tool, mut args, mut path) = (Value::Null, Value::Null, Value::Null);
    let (mut target, mut signal) = (Value::Null, Value::Null);
    match question.object {
        Object::Tool { id, arguments } => (tool, args) = (id.as_str().into(), arguments.clone()),
        Object::File(file) => path = file.as_str().into(),
        Object::Agent { id, signal: raised } => (target, signal) = (id.as_str().into(), raised.name().into()),
    }
    json!({
        "agent": caller.agent.as_str(),
        "tenant": caller.tenant.map(agent_primitives::TenantId::as_str),
        "call": question.call.name(),
        "tool": tool, "args": args, "path": path, "target": target, "signal": signal,
        "facts": caller.facts,
        "labels": caller.labels,
        "now": caller.now.as_micros().div_euclid(1000),
    })
}

/// The place and the words of an error of the interpreter, which tells both over several lines:
/// `--> policy.rego:3:5`, the line itself, and `error: …`.
fn parse_error(text: &str) -> (Mark, String) {
    let place = text.split("--> policy.rego:").nth(1).and_then(|rest| rest.lines().next());
    let mut numbers = place.into_iter().flat_map(|place| place.split(':')).map(str::parse);
    let at = match (numbers.next(), numbers.next()) {
        (Some(Ok(line)), Some(Ok(column))) => Mark { line, column },
        _ => Mark::NOWHERE,
    };
    let message = text.rsplit("error: ").next().unwrap_or(text);
    let message: String = message.split_whitespace().collect::<Vec<_>>().join(" ");
    (at, message.chars().take(200).collect())
}
