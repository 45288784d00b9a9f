//! Several orders made into one, and one made less repetitive.

use std::collections::BTreeMap;

/// The constant of reciprocal rank fusion that its authors found to do well everywhere (Cormack, Clarke and Buettcher 2009).
pub const RRF_K: f64 = 60.0;

/// How much relevance counts against novelty unless said otherwise.
pub const MMR_LAMBDA: f64 = 0.7;

/// Reciprocal rank fusion: each list gives what stands in it `1 / (k + rank)`, ranks from 1. Best first, ties by lower
/// number.
#[must_use]
pub fn rrf(lists: &[&[u64]], k: f64) -> Vec<(u64, f64)> {
    let mut scores: BTreeMap<u64, f64> = BTreeMap::new();
    for list in lists {
        for (rank, number) in (1u32..).zip(*list) {
            *scores.entry(*number).or_default() += 1.0 / (k + f64::from(rank));
        }
    }
    let mut ranked: Vec<(u64, f64)> = scores.into_iter().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked
}

/// Maximal marginal relevance (Carbonell and Goldstein 1998): the places of `k` of the candidates, each chosen for
/// `lambda * relevance - (1 - lambda) * likeness to the most alike that was chosen before`; ties by lower place.
///
/// `alike` says from 0 to 1 (or a cosine) how alike two candidates are. Asked `k` times for every candidate.
#[must_use]
pub fn mmr(relevance: &[f64], k: usize, lambda: f64, alike: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let mut chosen = Vec::new();
    // For each that is left: its place, its relevance, and its likeness to the most alike that was chosen.
    let mut left: Vec<(usize, f64, Option<f64>)> =
        relevance.iter().enumerate().map(|(place, relevance)| (place, *relevance, None)).collect();
    while chosen.len() < k {
        let worth = |one: &(usize, f64, Option<f64>)| lambda * one.1 - (1.0 - lambda) * one.2.unwrap_or(0.0);
        let best = left
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| worth(a).total_cmp(&worth(b)).then(b.0.cmp(&a.0)));
        let Some(best) = best.map(|(at, _)| at) else { break };
        let (place, ..) = left.swap_remove(best);
        chosen.push(place);
        for (other, _, most) in &mut left {
            let likeness = alike(*other, place);
            *most = Some(most.map_or(likeness, |most| most.max(likeness)));
        }
    }
    chosen
}
