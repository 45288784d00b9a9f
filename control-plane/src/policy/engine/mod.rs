//! Policies in other languages, as layers of a set.
//!
//! An engine's layer combines with the others as any layer does: the strictest answer stands, so an engine can refuse what
//! the rules allow, and cannot allow what they refuse. Where an engine is to decide alone, let the organisation's policy
//! allow everything the engine is asked about. An engine that fails denies.

#[cfg(feature = "cedar")]
mod cedar;
#[cfg(feature = "rego")]
mod rego;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use agent_primitives::{Digest, Verdict};

#[cfg(feature = "cedar")]
pub use self::cedar::CedarEngine;
#[cfg(feature = "rego")]
pub use self::rego::{REGO_DEADLINE, RegoEngine};
use crate::question::{Caller, Question};

/// What an engine says of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opinion {
    /// A verdict and the names of the policies that made it. No names with a deny means that nothing allowed it.
    Answer {
        /// The verdict.
        verdict: Verdict,
        /// What made it.
        rules: Vec<String>,
    },
    /// The engine could not answer. That is a deny, whose rule is `<name>.error`.
    Error(String),
}

/// A policy in a language of its own.
///
/// `judge` is on the road of every call: it must be a pure function of its arguments and come to an end, quickly, by
/// limits of its own. A panic inside it is an [`Opinion::Error`].
pub trait PolicyEngine: fmt::Debug + Send + Sync + 'static {
    /// The engine's name, `cedar` for one. It stands for the layer in decisions.
    fn name(&self) -> &str;

    /// Covers the policy's text and all else that answers depend on.
    fn digest(&self) -> Digest;

    /// The policy's text, for the record.
    fn text(&self) -> &str;

    /// Answers a question. The calls that are always allowed are never asked about.
    fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Opinion;
}

/// Asks an engine; whatever goes wrong is a deny.
pub(super) fn ask(
    engine: &dyn PolicyEngine,
    caller: &Caller<'_>,
    question: &Question<'_>,
) -> (Verdict, Vec<String>) {
    let opinion = catch_unwind(AssertUnwindSafe(|| engine.judge(caller, question)));
    let error = match opinion {
        Ok(Opinion::Answer { verdict, rules }) => return (verdict, rules),
        Ok(Opinion::Error(error)) => error,
        Err(panic) => crate::kernel::panic_text(panic),
    };
    tracing::warn!(engine = engine.name(), error, "a policy engine failed, which is a deny");
    (Verdict::Deny, vec![format!("{}.error", engine.name())])
}
