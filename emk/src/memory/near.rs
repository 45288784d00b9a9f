//! Whether two texts say nearly the same, and the last episodes of each agent to compare a new one with.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::tokens::Tokens;
use crate::episode::Episode;

/// How many of an agent's last episodes a new one is compared with.
pub const NEAR_WINDOW: usize = 64;
/// Share of tokens from which two episodes say nearly the same.
pub const NEAR_THRESHOLD: f64 = 0.85;
/// Most bytes kept to compare with. Beyond it the agents that wrote longest ago are compared with fewer.
const MAX_WINDOW_BYTES: usize = 32 << 20;

/// Jaccard similarity of the token sets of two texts, and whether it makes them near duplicates. Texts without tokens are
/// never near duplicates.
#[must_use]
pub fn near_duplicate(a: &str, b: &str, threshold: f64) -> (f64, bool) {
    let (a, b) = (Tokens::of([a]), Tokens::of([b]));
    let jaccard = a.jaccard(&b);
    (jaccard, a.is_near(&b, jaccard, threshold))
}

/// The last episodes of each agent.
#[derive(Default)]
pub(super) struct Windows {
    by_agent: HashMap<u32, VecDeque<Remembered>>,
    /// Agents by the last record that they wrote.
    by_age: BTreeMap<u64, u32>,
    bytes: usize,
}

struct Remembered {
    seq: u64,
    said: Said,
}

/// Reading a ledger makes no tokens of texts that nobody compares.
enum Said {
    Text(String),
    Tokens(Tokens),
}

impl Remembered {
    fn bytes(&self) -> usize {
        match &self.said {
            Said::Text(text) => text.len(),
            Said::Tokens(tokens) => 8 * tokens.as_slice().len(),
        }
    }
}

impl Windows {
    /// The earlier episode of the agent that is most like this one, if it is near; of equals the first.
    pub(super) fn nearest(&mut self, agent: u32, tokens: &Tokens, threshold: f64) -> Option<(u64, f64)> {
        let window = self.by_agent.get_mut(&agent)?;
        let mut best: Option<(u64, f64)> = None;
        for remembered in window {
            let before = remembered.bytes();
            if let Said::Text(text) = &remembered.said {
                remembered.said = Said::Tokens(Tokens::of([text.as_str()]));
            }
            self.bytes = (self.bytes + remembered.bytes()).saturating_sub(before);
            let Said::Tokens(own) = &remembered.said else { continue };
            let Some(jaccard) = own.jaccard_from(tokens, threshold) else { continue };
            if own.is_near(tokens, jaccard, threshold) && best.is_none_or(|(_, found)| found < jaccard) {
                best = Some((remembered.seq, jaccard));
            }
        }
        best
    }

    /// Remembers an episode whose tokens are not known.
    pub(super) fn push_text(&mut self, agent: u32, seq: u64, episode: &Episode) {
        self.push(agent, Remembered { seq, said: Said::Text(episode.texts().join("\n")) });
    }

    pub(super) fn push_tokens(&mut self, agent: u32, seq: u64, tokens: Tokens) {
        self.push(agent, Remembered { seq, said: Said::Tokens(tokens) });
    }

    /// Forgets an episode that was erased or is hidden.
    pub(super) fn remove(&mut self, agent: u32, seq: u64) {
        let Some(window) = self.by_agent.get_mut(&agent) else { return };
        let Some(index) = window.iter().position(|remembered| remembered.seq == seq) else { return };
        if let Some(removed) = window.remove(index) {
            self.bytes = self.bytes.saturating_sub(removed.bytes());
        }
    }

    fn push(&mut self, agent: u32, remembered: Remembered) {
        let (seq, added) = (remembered.seq, remembered.bytes());
        let window = self.by_agent.entry(agent).or_default();
        let last = window.back().map(|last| last.seq);
        window.push_back(remembered);
        if NEAR_WINDOW < window.len()
            && let Some(oldest) = window.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
        }
        self.bytes += added;
        if let Some(last) = last {
            self.by_age.remove(&last);
        }
        self.by_age.insert(seq, agent);
        while MAX_WINDOW_BYTES < self.bytes
            && let Some((_, agent)) = self.by_age.pop_first()
        {
            let dropped = self.by_agent.remove(&agent).unwrap_or_default();
            self.bytes = self.bytes.saturating_sub(dropped.iter().map(Remembered::bytes).sum());
        }
    }
}
