//! A refusal by policy, in terms a model can act on.

use std::fmt;
use std::time::Duration;

use agent_primitives::Verdict;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::policy::OnViolation;

/// Why policy refused. Each reason has a stable code, and a page under `docs/errors/`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A rule denies it.
    Rule,
    /// No rule allows it.
    Unmatched,
    /// A human would have to agree, and none can be asked.
    NoApprover,
}

/// What kind of refusal this is: what the agent can do about it depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialClass {
    /// It is forbidden, and stays so however it is asked for.
    Forbidden,
    /// It needs a human's consent.
    Approval,
    /// It is allowed, but not so often or so much.
    Limit,
}

impl DenialClass {
    /// The class in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Approval => "approval",
            Self::Limit => "limit",
        }
    }
}

/// A refusal by policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub(crate) reason: Reason,
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<String>,
    pub(crate) on_violation: OnViolation,
    pub(crate) what: String,
    /// How often the same call was refused from memory so far.
    pub(crate) repeats: u32,
}

impl Denial {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What policy said: `Deny`, or `Ask` when it wants a human's consent that is not there.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The rule that decided; `None` when no rule matched, which is a deny too.
    #[must_use]
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// What became of the agent.
    #[must_use]
    pub fn on_violation(&self) -> OnViolation {
        self.on_violation
    }

    /// What kind of refusal this is.
    #[must_use]
    pub fn class(&self) -> DenialClass {
        match self.reason {
            Reason::Rule | Reason::Unmatched => DenialClass::Forbidden,
            Reason::NoApprover => DenialClass::Approval,
        }
    }

    /// Whether the same call, made again later without anything else having changed, may be allowed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self.reason {
            Reason::Rule | Reason::Unmatched | Reason::NoApprover => false,
        }
    }

    /// How long to wait before the call may be allowed, where that is known; only for what is retryable.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.reason {
            Reason::Rule | Reason::Unmatched | Reason::NoApprover => None,
        }
    }

    /// What was refused, in a few words: the tool, the file, the signal.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// How often this very call had been refused before and was answered from memory since, this time included; zero for
    /// a call that was judged.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// What the agent can do instead, in one sentence for the model.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.reason {
            Reason::Rule => {
                "do not repeat this call; reach the goal by other means or report that it is forbidden"
            }
            Reason::Unmatched => {
                "use only what the policy grants; ask the operator for a rule if the task needs more"
            }
            Reason::NoApprover => {
                "report that the call needs a human's consent and that nobody can be asked here"
            }
        }
    }

    /// Stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::Rule => "AK0101",
            Reason::Unmatched => "AK0102",
            Reason::NoApprover => "AK0201",
        }
    }
}

impl Denial {
    /// The denial as a JSON object, to be handed to a model: see the [`Serialize`] implementation.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // The parts are texts, numbers and booleans, which all have JSON.
        serde_json::to_value(self).unwrap_or_else(|_| json!({ "code": self.code() }))
    }
}

/// A stable shape, to which fields may be added: `code`, `class`, `what`, `rule` (null where none decided), `retryable`,
/// `retry_after_ms` (null where that is not known), `repeats`, `message` and `remedy`.
impl Serialize for Denial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wait = self.retry_after().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let mut fields = serializer.serialize_struct("Denial", 9)?;
        fields.serialize_field("code", self.code())?;
        fields.serialize_field("class", self.class().name())?;
        fields.serialize_field("what", &self.what)?;
        fields.serialize_field("rule", &self.rule)?;
        fields.serialize_field("retryable", &self.retryable())?;
        fields.serialize_field("retry_after_ms", &wait)?;
        fields.serialize_field("repeats", &self.repeats)?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("remedy", self.remedy())?;
        fields.end()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        let by_rule = |f: &mut fmt::Formatter<'_>| match &self.rule {
            Some(rule) => write!(f, " by rule `{rule}`"),
            None => Ok(()),
        };
        match &self.reason {
            Reason::Unmatched => write!(f, "{what} is denied: no rule allows it"),
            Reason::Rule => {
                write!(f, "{what} is denied")?;
                by_rule(f)
            }
            Reason::NoApprover => {
                write!(f, "{what} needs an approval")?;
                by_rule(f)?;
                f.write_str(", and no approver is there")
            }
        }
    }
}

impl std::error::Error for Denial {}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(reason: Reason, verdict: Verdict, rule: Option<&str>) -> Denial {
        let (rule, what) = (rule.map(str::to_owned), "tool `t`".to_owned());
        Denial { reason, verdict, rule, on_violation: OnViolation::Deny, what, repeats: 2 }
    }

    #[test]
    fn a_denial_has_one_shape_for_a_model() {
        let cases = [
            (
                denial(Reason::Rule, Verdict::Deny, Some("no")),
                json!({"code": "AK0101", "class": "forbidden", "rule": "no",
                    "message": "tool `t` is denied by rule `no`",
                    "remedy": "do not repeat this call; reach the goal by other means or report that it is forbidden"}),
            ),
            (
                denial(Reason::Unmatched, Verdict::Deny, None),
                json!({"code": "AK0102", "class": "forbidden", "rule": null,
                    "message": "tool `t` is denied: no rule allows it",
                    "remedy": "use only what the policy grants; ask the operator for a rule if the task needs more"}),
            ),
            (
                denial(Reason::NoApprover, Verdict::Ask, Some("big")),
                json!({"code": "AK0201", "class": "approval", "rule": "big",
                    "message": "tool `t` needs an approval by rule `big`, and no approver is there",
                    "remedy": "report that the call needs a human's consent and that nobody can be asked here"}),
            ),
        ];
        for (denial, mut expected) in cases {
            let common =
                json!({"what": "tool `t`", "retryable": false, "retry_after_ms": null, "repeats": 2});
            for (key, value) in common.as_object().into_iter().flatten() {
                expected[key] = value.clone();
            }
            assert_eq!(denial.to_json(), expected);
            assert_eq!(crate::CallError::Denied(denial).to_json(), expected);
        }
    }
}
