//! What of a source is not in its text.

use crate::model::{Removed, RemovedKind};

/// Most parts that are listed one by one; what is beyond is added up in the last of its kind.
const MAX_LISTED: usize = 1000;
/// Most of a part's text that is kept, in bytes.
const MAX_KEPT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Removals(Vec<Removed>);

impl Removals {
    pub(super) fn add(&mut self, kind: RemovedKind, text: &str) {
        let said = text.trim();
        if said.is_empty() {
            return;
        }
        if MAX_LISTED <= self.0.len()
            && let Some(last) = self.0.iter_mut().rev().find(|one| one.kind == kind)
        {
            last.bytes = last.bytes.saturating_add(text.len());
            return;
        }
        let end = (0..=said.len().min(MAX_KEPT)).rev().find(|at| said.is_char_boundary(*at)).unwrap_or(0);
        let kept = said.get(..end).unwrap_or_default().to_owned();
        self.0.push(Removed { kind, text: kept, bytes: text.len() });
    }

    pub(super) fn into_list(self) -> Vec<Removed> {
        self.0
    }
}
