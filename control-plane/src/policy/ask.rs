//! `ask`: whose consent a rule wants, how much of it, and for how long the question stands.

use std::time::Duration;

use agent_primitives::span::parse_duration;
use agent_primitives::ticket::{MAX_QUORUM, Principal, Quorum, Scope};

use super::error::{Code, Report, quoted};
use super::fields::{self, Fields};
use super::source::{Node, Tree};

/// Longest that a rule may let a question stand, and a consent hold.
pub const MAX_ASK_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most names in `approvers`.
pub const MAX_APPROVERS: usize = 64;

pub(super) const FIELDS: [&str; 4] = ["approvers", "quorum", "timeout", "scope"];

/// What a rule that asks wants besides. The default is one word of whoever the host lets approve, for one call, within the
/// time the host gives.
#[derive(Clone, Debug)]
pub(crate) struct AskTerms {
    pub(crate) quorum: Quorum,
    pub(crate) timeout: Option<Duration>,
    pub(crate) scope: Scope,
}

impl Default for AskTerms {
    fn default() -> Self {
        Self { quorum: Quorum::new([], 1), timeout: None, scope: Scope::Once }
    }
}

/// Reads `ask`, so that one can have several errors.
pub(super) fn parse(node: &Node, report: &mut Report) -> Option<AskTerms> {
    let fields = Fields::of(node, "`ask`", &FIELDS, report)?;
    let approvers = fields.get("approvers").map(|entry| approvers(&entry.value, report));
    let quorum = fields.get("quorum").map(|entry| quorum(&entry.value, report));
    let timeout = fields.get("timeout").map(|entry| timeout(&entry.value, report));
    let known = Scope::ALL.map(|scope| (scope.name(), scope));
    let scope = fields.get("scope").map(|entry| fields::word(&entry.value, "`scope`", &known, report));
    // The inner `None` of each says that it was reported.
    let approvers = approvers.unwrap_or_else(|| Some(Vec::new()))?;
    let quorum = Quorum::new(approvers, quorum.unwrap_or(Some(1))?);
    let timeout = timeout.map_or(Some(None), |timeout| timeout.map(Some))?;
    Some(AskTerms { quorum, timeout, scope: scope.unwrap_or(Some(Scope::Once))? })
}

fn approvers(node: &Node, report: &mut Report) -> Option<Vec<Principal>> {
    let texts = fields::texts(node, "`approvers`", report)?;
    if MAX_APPROVERS < texts.len() {
        report.add(Code::Limit, node.at, format!("`approvers` names more than {MAX_APPROVERS}"));
        return None;
    }
    let mut approvers = Vec::new();
    for (text, at) in texts {
        match text.parse() {
            Ok(approver) => approvers.push(approver),
            Err(error) => {
                report.add(Code::BadName, at, format!("{} names no approver: {error}", quoted(text)));
            }
        }
    }
    // An entry that was left out because it was reported must not leave an empty list behind, which means everybody.
    (!approvers.is_empty()).then_some(approvers)
}

fn quorum(node: &Node, report: &mut Report) -> Option<u8> {
    let number = match &node.tree {
        Tree::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
        Tree::Reported => return None,
        _ => None,
    };
    let needed = number.filter(|needed| (1..=MAX_QUORUM).contains(needed));
    if needed.is_none() {
        let found = quoted(&node.to_json().to_string());
        report.add(
            Code::BadOperand,
            node.at,
            format!("`quorum` is a number from 1 to {MAX_QUORUM}, not {found}"),
        );
    }
    needed
}

fn timeout(node: &Node, report: &mut Report) -> Option<Duration> {
    let text = fields::text(node, "`timeout`", report)?;
    let message = match parse_duration(text) {
        Ok(timeout) if timeout.is_zero() => "`timeout` is no time at all".to_owned(),
        Ok(timeout) if MAX_ASK_TIMEOUT < timeout => "`timeout` is longer than 7 days".to_owned(),
        Ok(timeout) => return Some(timeout),
        Err(error) => format!("`timeout`: {error}"),
    };
    report.add(Code::BadOperand, node.at, message);
    None
}
