//! For tests of programs that embed the kernel (feature `test-util`).
//!
//! The kernel in a [`KernelFixture`] is the real one: it judges, records and kills as it does in production. What is
//! made up is what stands around it: the clock moves when told to, a [`FakeTool`] answers what the test says and keeps a
//! log of what reached it, and a [`ScriptedModel`] asks for what the test says. So a test runs in milliseconds, and twice
//! the same. Whoever writes a store of files holds it to the laws in [`conformance`].
//!
//! ```
//! use agent_control_plane::assert_denied;
//! use agent_control_plane::testing::{FakeTool, KernelFixture, ScriptedModel, Turn};
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mail = FakeTool::new("mail.send").answering(json!({"sent": true}));
//! let fixture = KernelFixture::new(
//!     "version: 1
//! name: support
//! rules:
//!   - {id: colleagues, effect: allow, calls: [exec], tools: [mail.send],
//!      when: {args.to: {email: {domains: [example.com]}}}}",
//!     [&mail],
//! )?;
//! let mut model = ScriptedModel::new([
//!     Turn::exec("mail.send", json!({"to": "ann@example.com"})),
//!     Turn::exec("mail.send", json!({"to": "eve@evil.example"})),
//! ]);
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! let answers = runtime.block_on(model.play(&fixture.agent("support")?));
//! assert!(answers[0].is_ok());
//! assert_denied!(&answers[1], code = "AK0102");
//! assert_eq!(mail.calls(), [json!({"to": "ann@example.com"})]);
//! # Ok(())
//! # }
//! ```

pub mod conformance;
mod fixture;
mod model;
mod tool;
mod transcript;

pub use fixture::{FixtureError, KernelFixture};
pub use model::{ScriptedModel, Turn};
pub use tool::FakeTool;
pub use transcript::transcript;

use crate::denial::Denial;
use crate::error::CallError;

/// The denial in a call's answer; `None` when the call was not denied by policy, a limit or a human.
///
/// What [`assert_denied!`](crate::assert_denied) looks at.
pub fn denial<T>(answer: &Result<T, CallError>) -> Option<&Denial> {
    match answer {
        Err(CallError::Denied(denial)) => Some(denial),
        _ => None,
    }
}

/// Asserts that a call was denied; by the rule and with the code, where they are given.
///
/// `assert_denied!(answer)`, `assert_denied!(answer, rule = "no-secrets")`, `assert_denied!(answer, code = "…")`;
/// `answer` is a `&Result<_, CallError>`.
#[macro_export]
macro_rules! assert_denied {
    ($answer:expr) => {{
        let answer = $answer;
        assert!($crate::testing::denial(answer).is_some(), "it was not denied: {answer:?}");
    }};
    ($answer:expr, rule = $rule:expr) => {{
        let answer = $answer;
        let rule = $crate::testing::denial(answer).map(|denial| denial.rule());
        assert_eq!(rule, Some(Some($rule)), "{answer:?}");
    }};
    ($answer:expr, code = $code:expr) => {{
        let answer = $answer;
        let code = $crate::testing::denial(answer).map(|denial| denial.code());
        assert_eq!(code, Some($code), "{answer:?}");
    }};
}
