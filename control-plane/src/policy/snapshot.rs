//! A compiled policy, shared and never changed.

use std::sync::Arc;

use agent_primitives::Digest;
use serde_json::Value;

use super::decision::OnViolation;
use super::error::Mark;
use super::index::Index;
use super::rule::Rule;
use crate::question::{CallKind, Object, Question};

/// Everything a decision needs.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) file: Arc<str>,
    pub(super) name: Box<str>,
    pub(super) digest: Digest,
    pub(super) document: Value,
    pub(super) on_violation: OnViolation,
    pub(super) rules: Box<[Rule]>,
    /// Whether some rule looks at what arguments carry.
    pub(super) looks_at_arguments: bool,
    /// Whether some condition looks at the mode, or at budgets: only then is there need to know them.
    pub(super) looks_at_mode: bool,
    pub(super) looks_at_budgets: bool,
    pub(super) indexes: Indexes,
    /// The tools that rules name one by one, and where.
    pub(super) named_tools: Box<[(Box<str>, Mark)]>,
    /// Whether some rule depends on what an agent has done.
    pub(super) looks_back: bool,
}

/// One index for each call that rules can be about.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    pub(super) read: Index,
    pub(super) write: Index,
    pub(super) open: Index,
    pub(super) exec: Index,
    pub(super) signal: Index,
}

impl Snapshot {
    pub(super) fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    /// Calls that touch nothing but the caller itself and cannot be named in a rule.
    pub(super) fn always_allowed(&self, call: CallKind) -> bool {
        match call {
            CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => true,
            CallKind::Read | CallKind::Write | CallKind::Open | CallKind::Exec | CallKind::Signal => false,
        }
    }

    /// The index of the call and the text to look up in it; `None` when call and object do not belong together.
    pub(super) fn index_for<'q>(&self, question: &Question<'q>) -> Option<(&Index, &'q str)> {
        match (question.call, question.object) {
            (CallKind::Read, Object::File(path)) => Some((&self.indexes.read, path.as_str())),
            (CallKind::Write, Object::File(path)) => Some((&self.indexes.write, path.as_str())),
            (CallKind::Open, Object::File(path)) => Some((&self.indexes.open, path.as_str())),
            (CallKind::Exec, Object::Tool { id, .. }) => Some((&self.indexes.exec, id.as_str())),
            (CallKind::Signal, Object::Agent { id, .. }) => Some((&self.indexes.signal, id.as_str())),
            _ => None,
        }
    }
}
