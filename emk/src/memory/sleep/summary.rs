//! What a rule says.

use agent_primitives::truncate::truncate_utf8;

use super::super::tokens::Tokens;
use super::PlannedRule;
use crate::episode::Episode;

/// How much of each text of an episode [`Medoid`] repeats, in bytes.
const QUOTED_BYTES: usize = 4 << 10;

/// The text of a rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Summary {
    /// What it says; at most [`crate::episode::MAX_TEXT_BYTES`]. Redacted before it is kept.
    pub text: String,
    /// The positions of the episodes whose words it repeats: a rule is erased with any of them. All, when in doubt.
    pub quotes: Vec<u64>,
}

impl std::fmt::Debug for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Summary({} bytes, quotes {:?})", self.text.len(), self.quotes)
    }
}

/// Puts into words what episodes come to. A model may do that; what it says is kept as it is, and counts for nothing but
/// reading.
pub trait Summariser {
    /// The words for one rule, from its episodes with their positions, at least one.
    ///
    /// # Errors
    /// Whatever it fails with: the episodes then stay as they are, and the report says why.
    fn summarise(
        &self,
        rule: &PlannedRule,
        episodes: &[(u64, Episode)],
    ) -> Result<Summary, Box<dyn std::error::Error + Send + Sync>>;
}

/// Repeats the episode that has most in common with the others; of equals the oldest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Medoid;

impl Summariser for Medoid {
    fn summarise(
        &self,
        rule: &PlannedRule,
        episodes: &[(u64, Episode)],
    ) -> Result<Summary, Box<dyn std::error::Error + Send + Sync>> {
        let tokens: Vec<Tokens> = episodes.iter().map(|(_, episode)| Tokens::of_episode(episode)).collect();
        let likeness = |own: &Tokens| tokens.iter().map(|other| own.jaccard(other)).sum::<f64>();
        let mut best: Option<(f64, &(u64, Episode))> = None;
        for (own, episode) in tokens.iter().zip(episodes) {
            let likeness = likeness(own);
            if best.is_none_or(|(found, _)| found < likeness) {
                best = Some((likeness, episode));
            }
        }
        let (_, (seq, episode)) = best.ok_or("there is no episode to repeat")?;
        let names = ["goal", "action", "result", "reflection"];
        let said = names.into_iter().zip(episode.texts()).filter(|(_, text)| !text.trim().is_empty());
        let said: Vec<String> =
            said.map(|(name, text)| format!("{name}: {}", truncate_utf8(text, QUOTED_BYTES))).collect();
        let (all, majority) = (episodes.len(), rule.majority);
        let count = episodes.iter().filter(|(_, episode)| episode.outcome() == majority).count();
        let text = format!("{count} of {all} like this one ended as {majority}. {}", said.join("; "));
        Ok(Summary { text, quotes: vec![*seq] })
    }
}
