//! Attempts: which are the same, how the failed ones failed, and what was found to work later.

use std::collections::HashMap;

use agent_primitives::failure::{Fingerprint, MAX_NORMALISED, normalise};
use agent_primitives::{Digest, FailureType};

use super::lexical::push_tight;
use crate::episode::{Failure, Outcome};
use crate::memory::Found;

/// What attempts at the same thing have in common.
pub(super) type Situation = u64;
/// What failures of the same kind and reason have in common.
pub(super) type Pattern = u64;

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) document: u32,
    pub(super) pattern: Pattern,
}

/// The attempts of an index, by number.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// For each document, 0 where goal or action are too long to be recognised by their fingerprint.
    situations: Vec<Situation>,
    /// For each document how many distinct words goal and action have; of more than fit, as many as fit.
    words: Vec<u16>,
    failed: Vec<Failed>,
    /// The documents of `failed`, by the first bytes of their content ids; to make another episode begin with the same ones
    /// takes 2^64 tries.
    by_id: HashMap<u64, u32>,
    /// Failures, and later successes that name them as their cause.
    resolved: Vec<(u32, u32)>,
}

impl Attempts {
    /// Adds the next document, with how many distinct words its goal and action have.
    pub(super) fn push(&mut self, document: u32, found: &Found, words: usize) {
        push_tight(&mut self.words, u16::try_from(words).unwrap_or(u16::MAX));
        let Found::Episode(episode) = found else {
            // A rule is no attempt.
            push_tight(&mut self.situations, 0);
            return;
        };
        push_tight(&mut self.situations, situation(episode.goal(), episode.action()).unwrap_or(0));
        match (episode.outcome(), episode.failure()) {
            (Outcome::Failure, Some(failure)) => {
                self.by_id.insert(short(&episode.content_id()), document);
                push_tight(&mut self.failed, Failed { document, pattern: pattern(failure) });
            }
            (Outcome::Success, _) => {
                let causes = episode.caused_by().iter();
                let failures = causes.filter_map(|cause| self.by_id.get(&short(cause)));
                self.resolved.extend(failures.map(|failure| (*failure, document)));
            }
            _ => {}
        }
    }

    /// The documents of one situation, ascending.
    pub(super) fn of(&self, situation: Situation) -> impl Iterator<Item = u32> + '_ {
        let all = (0u32..).zip(&self.situations);
        all.filter(move |(_, held)| **held == situation).map(|(document, _)| document)
    }

    /// How many distinct words the goal and action of a document have, at most 65 535.
    pub(super) fn words(&self, document: u32) -> u16 {
        self.words.get(document as usize).copied().unwrap_or_default()
    }

    /// The situation of a document, if it can be recognised.
    pub(super) fn situation(&self, document: u32) -> Option<Situation> {
        self.situations.get(document as usize).copied().filter(|situation| *situation != 0)
    }

    /// How a document failed.
    pub(super) fn failed(&self, document: u32) -> Option<&Failed> {
        let place = self.failed.binary_search_by_key(&document, |failed| failed.document).ok()?;
        self.failed.get(place)
    }

    /// Failures with the successes that name them as their cause, in the order of the successes.
    pub(super) fn resolved(&self) -> &[(u32, u32)] {
        &self.resolved
    }

    /// Leaves nothing by which an erased attempt could be recognised. What it resolved is open again.
    pub(super) fn forget(&mut self, document: u32) {
        if let Some(situation) = self.situations.get_mut(document as usize) {
            *situation = 0;
        }
        self.failed.retain(|failed| failed.document != document);
        self.by_id.retain(|_, held| *held != document);
        self.resolved.retain(|(failure, by)| *failure != document && *by != document);
    }

    /// Bytes on the heap, as far as the types tell.
    pub(super) fn heap_bytes(&self) -> usize {
        self.situations.capacity() * 8
            + self.words.capacity() * 2
            + self.failed.capacity() * size_of::<Failed>()
            + self.resolved.capacity() * 8
            + self.by_id.capacity() * 8 / 7 * 17
    }
}

/// The situation of an attempt: the fingerprints of its goal and its action. `None` where either is so long that only its
/// beginning would count.
pub(super) fn situation(goal: &str, action: &str) -> Option<Situation> {
    let whole = |text: &str| text.len() < MAX_NORMALISED || normalise(text).chars().count() < MAX_NORMALISED;
    let print = |text: &str| u64::from_be_bytes(*Fingerprint::of(&FailureType::Unknown, text).as_bytes());
    // Turned, so that goal and action cannot change places.
    let both = || print(goal).rotate_left(1) ^ print(action);
    (whole(goal) && whole(action)).then(both).filter(|situation| *situation != 0)
}

/// The pattern of a failure: the fingerprint of its kind and reason.
pub(super) fn pattern(failure: &Failure) -> Pattern {
    u64::from_be_bytes(*Fingerprint::of(&failure.kind, &failure.reason).as_bytes())
}

fn short(id: &Digest) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
