//! A refusal by policy, in terms a model can act on.

use std::fmt;
use std::time::Duration;

use agent_primitives::{Resource, Verdict};
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
    /// Rules allow it, and that is not enough: it takes a human's consent, which no rule asks for.
    Withheld,
    /// A human would have to agree, and none can be asked.
    NoApprover,
    /// A human said no.
    ApprovalRefused,
    /// No human agreed in time.
    ApprovalExpired,
    /// The approval was withdrawn.
    ApprovalRevoked,
    /// The approval that was presented has not been granted.
    ApprovalPending,
    /// The approval that was presented is for another call, or unknown.
    ApprovalMismatch,
    /// The approval that was presented has been used.
    ApprovalUsed,
    /// As many approvals wait as may.
    ApprovalsFull,
    /// The approval could not be kept.
    ApprovalUnkept,
    /// No human could be told.
    ApprovalUnreachable,
    /// Too many such calls came lately.
    RateLimited {
        /// Whose calls are counted.
        account: Box<str>,
        /// When there is room for one more, if nobody else takes it.
        retry_after: Duration,
    },
    /// Too many such calls run at once.
    TooManyRunning {
        /// Whose calls are counted.
        account: Box<str>,
        /// How many may run.
        limit: u32,
    },
    /// The call could use more than is left.
    BudgetExhausted(Box<Shortage>),
    /// A limit cannot be kept because there is nothing to count by.
    Unaccountable {
        /// What is missing.
        what: &'static str,
    },
}

/// What is missing of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// Whose budget.
    pub account: String,
    /// Of what.
    pub resource: Resource,
    /// How much the call could use.
    pub needed: u64,
    /// How much is left.
    pub left: u64,
    /// Whether there can be room later without the host giving more.
    pub retryable: bool,
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

    /// Whether it counts against the agent. A wish that nobody fulfilled does not; what policy forbids does, and so does
    /// what a human refused.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        self.verdict == Verdict::Deny || self.reason == Reason::ApprovalRefused
    }

    /// What kind of refusal this is.
    #[must_use]
    pub fn class(&self) -> DenialClass {
        match self.reason {
            Reason::Rule | Reason::Unmatched | Reason::Withheld => DenialClass::Forbidden,
            Reason::NoApprover
            | Reason::ApprovalRefused
            | Reason::ApprovalExpired
            | Reason::ApprovalRevoked
            | Reason::ApprovalPending
            | Reason::ApprovalMismatch
            | Reason::ApprovalUsed
            | Reason::ApprovalsFull
            | Reason::ApprovalUnkept
            | Reason::ApprovalUnreachable => DenialClass::Approval,
            Reason::RateLimited { .. }
            | Reason::TooManyRunning { .. }
            | Reason::BudgetExhausted(_)
            | Reason::Unaccountable { .. } => DenialClass::Limit,
        }
    }

    /// Whether the same call, made again later without anything else having changed, may be allowed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match &self.reason {
            Reason::Rule | Reason::Unmatched | Reason::Withheld => false,
            Reason::NoApprover | Reason::ApprovalRefused => false,
            // Presented again, a ticket that is over stays over.
            Reason::ApprovalMismatch | Reason::ApprovalUsed | Reason::ApprovalRevoked => false,
            Reason::ApprovalExpired
            | Reason::ApprovalPending
            | Reason::ApprovalsFull
            | Reason::ApprovalUnkept
            | Reason::ApprovalUnreachable => true,
            Reason::RateLimited { .. } | Reason::TooManyRunning { .. } => true,
            Reason::BudgetExhausted(shortage) => shortage.retryable,
            Reason::Unaccountable { .. } => false,
        }
    }

    /// How long to wait before the same call can be allowed, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.reason {
            Reason::RateLimited { retry_after, .. } => Some(retry_after),
            _ => None,
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
        match &self.reason {
            Reason::Rule => {
                "do not repeat this call; reach the goal by other means or report that it is forbidden"
            }
            Reason::Unmatched => {
                "use only what the policy grants; ask the operator for a rule if the task needs more"
            }
            Reason::Withheld => {
                "report that this takes a human's consent, and that the operator's policy has to ask for it"
            }
            Reason::NoApprover => {
                "report that the call needs a human's consent and that nobody can be asked here"
            }
            Reason::ApprovalRefused => {
                "do not repeat this call; a human has said no, so reach the goal by other means or report it"
            }
            Reason::ApprovalExpired => {
                "make the call again to ask once more, or report that nobody answered in time"
            }
            Reason::ApprovalRevoked | Reason::ApprovalUsed => {
                "make the call again without the ticket if it is still needed; a human will be asked anew"
            }
            Reason::ApprovalPending => "wait until a human has answered, then present the ticket again",
            Reason::ApprovalMismatch => {
                "present the ticket with exactly the call it was asked for, or make the call without it"
            }
            Reason::ApprovalsFull => "wait until the approvals asked for already are answered or expire",
            Reason::ApprovalUnkept | Reason::ApprovalUnreachable => {
                "try again later, or report that no human could be asked"
            }
            Reason::RateLimited { .. } => "wait as long as the refusal says, then make the call again",
            Reason::TooManyRunning { .. } => {
                "wait until a call that is under way has ended, then make this one again"
            }
            Reason::BudgetExhausted(shortage) if shortage.retryable => {
                "wait until calls under way have ended or time has passed, or ask for less"
            }
            Reason::BudgetExhausted(_) => {
                "ask for less, or finish with what there is and report that the budget is used up"
            }
            Reason::Unaccountable { .. } => {
                "report that the operator has to complete the policy before this call is possible"
            }
        }
    }

    /// Stable code of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }
}

impl Reason {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rule => "AK0101",
            Self::Unmatched => "AK0102",
            Self::Withheld => "AK0103",
            Self::NoApprover => "AK0201",
            Self::ApprovalRefused => "AK0202",
            Self::ApprovalExpired => "AK0203",
            Self::ApprovalRevoked => "AK0204",
            Self::ApprovalPending => "AK0205",
            Self::ApprovalMismatch => "AK0206",
            Self::ApprovalUsed => "AK0207",
            Self::ApprovalsFull => "AK0208",
            Self::ApprovalUnkept => "AK0209",
            Self::ApprovalUnreachable => "AK0210",
            Self::RateLimited { .. } => "AK0301",
            Self::TooManyRunning { .. } => "AK0302",
            Self::BudgetExhausted(_) => "AK0303",
            Self::Unaccountable { .. } => "AK0304",
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
            Reason::Withheld => {
                write!(f, "{what} is denied: it takes a human's consent, and the policy only allows it")?;
                by_rule(f)
            }
            Reason::Rule => {
                write!(f, "{what} is denied")?;
                by_rule(f)
            }
            Reason::RateLimited { account, retry_after } => {
                let millis = retry_after.as_nanos().div_ceil(1_000_000);
                write!(f, "{what} comes too soon: the rate of {account} allows it in {millis} ms")
            }
            Reason::TooManyRunning { account, limit } => {
                write!(f, "{what} does not start: {account} may have {limit} such calls under way, and has")
            }
            Reason::BudgetExhausted(shortage) => {
                let Shortage { account, resource, needed, left, .. } = &**shortage;
                let (needed, left) = (resource.amount(*needed), resource.amount(*left));
                write!(f, "{what} could use {needed}, and {account} has {left} left")
            }
            Reason::Unaccountable { what: missing } => write!(f, "{what} cannot be counted: {missing}"),
            approval => {
                write!(f, "{what} needs an approval")?;
                by_rule(f)?;
                f.write_str(match approval {
                    Reason::ApprovalRefused => ", and a human refused it",
                    Reason::ApprovalExpired => ", and none came in time",
                    Reason::ApprovalRevoked => ", and it was withdrawn",
                    Reason::ApprovalPending => ", and it is not granted yet",
                    Reason::ApprovalMismatch => ", and the ticket presented is not for this call",
                    Reason::ApprovalUsed => ", and the ticket presented has been used",
                    Reason::ApprovalsFull => ", and as many wait already as may",
                    Reason::ApprovalUnkept => ", and it could not be kept",
                    Reason::ApprovalUnreachable => ", and no human could be told",
                    _ => ", and no approver is there",
                })
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
                denial(Reason::Withheld, Verdict::Deny, Some("all")),
                json!({"code": "AK0103", "class": "forbidden", "rule": "all",
                    "message": "tool `t` is denied: it takes a human's consent, and the policy only allows it by rule `all`",
                    "remedy": "report that this takes a human's consent, and that the operator's policy has to ask for it"}),
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
