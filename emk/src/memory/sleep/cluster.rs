//! Which episodes may be summed up, and which of them belong together.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::super::rule::MAX_RULE_SOURCES;
use super::super::tokens::Tokens;
use super::SleepPolicy;
use crate::episode::Outcome;
use crate::recall::wilson_low;

/// What decides whether an episode may be summed up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) age: Duration,
    pub(crate) outcome: Outcome,
    pub(crate) importance: u8,
    pub(crate) pinned: bool,
    pub(crate) compacted: bool,
}

pub(crate) fn is_eligible(traits: &Traits, policy: &SleepPolicy) -> bool {
    let is_kept = policy.keep_failures && traits.outcome == Outcome::Failure;
    policy.min_age <= traits.age
        && traits.importance < policy.keep_importance
        && !(traits.pinned || traits.compacted || is_kept)
}

/// An episode and its stems.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: u64,
    pub(crate) outcome: Outcome,
    pub(crate) stems: Tokens,
}

/// Episodes that belong together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cluster {
    /// In ascending order.
    pub(crate) sources: Vec<u64>,
    pub(crate) majority: Outcome,
    pub(crate) confidence: f64,
}

/// Single link: two candidates belong together if their stems are similar enough, and so does whoever belongs to either.
/// Candidates come in ascending order, clusters in that of their first one.
pub(crate) fn clusters(candidates: &[Candidate], policy: &SleepPolicy) -> Vec<Cluster> {
    let mut groups: BTreeMap<usize, Vec<&Candidate>> = BTreeMap::new();
    let mut sets = linked(candidates, policy.similarity);
    for (index, candidate) in candidates.iter().enumerate() {
        groups.entry(sets.root(index)).or_default().push(candidate);
    }
    let batch = policy.batch.clamp(1, MAX_RULE_SOURCES);
    let batches = groups.values().flat_map(|group| group.chunks(batch));
    let mut found: Vec<Cluster> =
        batches.filter(|batch| policy.min_support.max(1) <= batch.len()).map(cluster).collect();
    found.sort_by_key(|cluster| cluster.sources.first().copied());
    found
}

fn cluster(members: &[&Candidate]) -> Cluster {
    let mut counts: BTreeMap<Outcome, u64> = BTreeMap::new();
    for member in members {
        *counts.entry(member.outcome).or_default() += 1;
    }
    // Outcomes are ordered by their names, and the first of equals counts.
    let (majority, count) =
        counts.into_iter().fold(
            (Outcome::Unknown, 0),
            |best, (outcome, count)| if best.1 < count { (outcome, count) } else { best },
        );
    Cluster {
        sources: members.iter().map(|member| member.seq).collect(),
        majority,
        confidence: wilson_low(count, members.len() as u64),
    }
}

/// Links what is similar without comparing everything with everything: two sets that share `t` of their members share one
/// among the rarest few of each, so only those are looked up (prefix filter; Chaudhuri et al. 2006, Bayardo et al. 2007).
fn linked(candidates: &[Candidate], similarity: f64) -> Sets {
    let mut sets = Sets((0..candidates.len()).collect());
    let mut frequency: HashMap<u64, u32> = HashMap::new();
    for token in candidates.iter().flat_map(|candidate| candidate.stems.as_slice()) {
        *frequency.entry(*token).or_default() += 1;
    }
    let mut same: HashMap<&Tokens, usize> = HashMap::new();
    let mut by_token: HashMap<u64, Vec<(usize, &Tokens)>> = HashMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let stems = &candidate.stems;
        let len = stems.as_slice().len();
        if len == 0 {
            continue;
        }
        if let Some(&twin) = same.get(stems) {
            sets.join(index, twin);
            continue;
        }
        same.insert(stems, index);
        let mut rarest = stems.as_slice().to_vec();
        rarest.sort_unstable_by_key(|token| (frequency.get(token).copied(), *token));
        // A little less than the product, so that rounding never asks for one too many.
        let needed = (similarity * len as f64 - 1e-9).ceil().max(1.0);
        rarest.truncate((len + 1).saturating_sub(needed as usize));
        for token in rarest {
            let others = by_token.entry(token).or_default();
            for &(other, theirs) in others.iter() {
                if sets.root(index) != sets.root(other) && similarity <= stems.jaccard(theirs) {
                    sets.join(index, other);
                }
            }
            others.push((index, stems));
        }
    }
    sets
}

/// Disjoint sets; each is named after its least member.
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut index: usize) -> usize {
        while let Some(&parent) = self.0.get(index)
            && parent != index
        {
            // Halving the path keeps later walks short.
            let above = self.0.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.0.get_mut(index) {
                *slot = above;
            }
            index = above;
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.0.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}
