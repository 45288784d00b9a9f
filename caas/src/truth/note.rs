//! Conflicts as notes of a context.

use agent_primitives::Timestamp;

use super::value::quoted;
use super::{Conflict, Side};
use crate::assemble::Note;
use crate::model::SourceKind;

/// Which of two that disagree the host goes by. Both are shown under each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// By neither: whoever reads decides.
    #[default]
    Both,
    /// By the one that was changed last.
    Newest,
    /// By what those who make a thing say.
    Official,
    /// By what was observed when it ran.
    Observed,
}

/// Longest title and longest topic in a note, in characters.
const MAX_NAME: usize = 60;
/// Most words of a topic in a note.
const MAX_TOPIC: usize = 4;

impl Conflict {
    /// The side to go by, or `None` where the policy does not decide: under [`Policy::Both`], where a time is not known
    /// or both are of the kind, and where neither is.
    #[must_use]
    pub fn preferred(&self, policy: Policy) -> Option<&Side> {
        let only = |kind: SourceKind| match (self.one.source == kind, self.other.source == kind) {
            (true, false) => Some(&self.one),
            (false, true) => Some(&self.other),
            _ => None,
        };
        match policy {
            Policy::Both => None,
            Policy::Official => only(SourceKind::OfficialDocs),
            Policy::Observed => only(SourceKind::PracticalLogs),
            Policy::Newest => {
                let (one, other) = (self.one.updated_at?, self.other.updated_at?);
                match one.cmp(&other) {
                    std::cmp::Ordering::Less => Some(&self.other),
                    std::cmp::Ordering::Equal => None,
                    std::cmp::Ordering::Greater => Some(&self.one),
                }
            }
        }
    }
}

/// A note for each conflict: both values, each with its source and age, and which of them the host goes by where its policy
/// says so. What is of a document in it stands within quotes, shortened, as it may say anything; the sentences themselves
/// are in the chunks.
#[must_use]
pub fn notes(conflicts: &[Conflict], policy: Policy, now: Timestamp) -> Vec<Note> {
    conflicts.iter().map(|conflict| note(conflict, policy, now)).collect()
}

fn note(conflict: &Conflict, policy: Policy, now: Timestamp) -> Note {
    let Conflict { topic, one, other, severity, .. } = conflict;
    let topic = topic.iter().take(MAX_TOPIC).map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "sources disagree about {} (severity {}): {} against {}.",
        quoted(&topic, MAX_NAME),
        severity.as_str(),
        said(one, now),
        said(other, now)
    );
    if let Some(side) = conflict.preferred(policy) {
        let why = match policy {
            Policy::Both => "",
            Policy::Newest => "the newer",
            Policy::Official => "what is official",
            Policy::Observed => "what was observed",
        };
        text.push_str(&format!(" Go by {why}: {}.", side.value.shown()));
    }
    let about = if one.chunk == other.chunk { vec![one.chunk] } else { vec![one.chunk, other.chunk] };
    Note { text, about }
}

/// A value, and who says so since when.
fn said(side: &Side, now: Timestamp) -> String {
    const DAY: i64 = 86_400_000_000;
    let age = match side.updated_at {
        None => "age unknown".to_owned(),
        Some(time) if now < time => "dated in the future".to_owned(),
        Some(time) => format!("{} days old", (now.as_micros().saturating_sub(time.as_micros())) / DAY),
    };
    format!("{} ({}, {}, {age})", side.value.shown(), quoted(&side.title, MAX_NAME), side.source)
}
