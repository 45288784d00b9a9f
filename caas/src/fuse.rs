//! One order out of two: by words and by meaning.

use std::collections::BTreeMap;

use crate::model::{ChunkId, Leg};

/// How two legs become one score of 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fusion {
    /// `alpha` parts meaning and the rest words, after each leg was stretched to 0 to 1; what a leg does not have is 0 there
    /// (Bruch, Gai and Ingber 2022: it beats ranks, and how legs are stretched hardly matters). The scale of words begins at 0.
    /// That of meaning begins at the worst of a hundred hits or more, and the fewer there are the nearer to a cosine of 0.
    Convex {
        /// The part of meaning, 0 to 1.
        alpha: f64,
    },
    /// The sum of `1 / (k + rank)`, as a part of the best possible sum (Cormack, Clarke and Buettcher 2009).
    Reciprocal {
        /// How soon ranks stop to differ; 60 as published.
        k: f64,
    },
}

impl Fusion {
    /// Half and half.
    pub const PROSE: Self = Self::Convex { alpha: 0.5 };
    /// Three tenths meaning: names count for more in code.
    pub const CODE: Self = Self::Convex { alpha: 0.3 };

    /// Whether its parameter is in range.
    #[must_use]
    pub fn is_valid(self) -> bool {
        match self {
            Self::Convex { alpha } => (0.0..=1.0).contains(&alpha),
            Self::Reciprocal { k } => k.is_finite() && 0.0 <= k,
        }
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Self::PROSE
    }
}

/// What two legs have found, and the score of both together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fused {
    /// By words.
    pub lexical: Option<Leg>,
    /// By meaning.
    pub dense: Option<Leg>,
    /// Both, 0 to 1.
    pub score: f64,
}

/// Fuses two lists, each best first. A leg that was not asked is `None`, and the other then counts alone.
///
/// If one chunk is at least as good as another in both legs and better in one, it is better fused (for a convex `alpha`
/// between 0 and 1). No score is NaN for finite scores.
#[must_use]
pub fn fuse(
    lexical: Option<&[(ChunkId, f64)]>,
    dense: Option<&[(ChunkId, f64)]>,
    fusion: Fusion,
) -> BTreeMap<ChunkId, Fused> {
    let mut fused: BTreeMap<ChunkId, Fused> = BTreeMap::new();
    let both = lexical.is_some() && dense.is_some();
    let weights = match fusion {
        _ if !both => (1.0, 1.0),
        Fusion::Convex { alpha } => (1.0 - alpha, alpha),
        Fusion::Reciprocal { .. } => (0.5, 0.5),
    };
    for (leg, is_dense, weight) in [(lexical, false, weights.0), (dense, true, weights.1)] {
        let Some(leg) = leg else { continue };
        let (least, most) = range(leg);
        // Words that are not there are worth 0, so that is where their scale begins.
        let least = if is_dense { unrelated(least, leg.len()) } else { least.min(0.0) };
        for (rank, (chunk, score)) in (1..).zip(leg.iter().copied()) {
            let part = match fusion {
                Fusion::Reciprocal { k } => (k + 1.0) / (k + rank as f64),
                // One hit, or all alike: each is as good as it gets.
                Fusion::Convex { .. } if least == most => 1.0,
                Fusion::Convex { .. } => stretched(score, least, most),
            };
            let entry = fused.entry(chunk).or_default();
            entry.score = (entry.score + weight * part).min(1.0);
            let leg = Some(Leg { score, rank });
            if is_dense {
                entry.dense = leg;
            } else {
                entry.lexical = leg;
            }
        }
    }
    fused
}

/// The worst hit of a leg is still a hit: it must stay above what the leg does not have.
const FLOOR: f64 = 1e-3;

/// So many hits by meaning reach down to texts that have nothing to do with the question.
const TELLING: usize = 100;

/// Where the scale of a leg by meaning begins: the cosine of what is not related.
///
/// What that is differs from model to model, and the worst of many hits shows it. The worst of a few does not: it may be as good as
/// the best, and would count for nothing, whatever its age or its words. So the fewer hits there are, the nearer is
/// the begin to 0, the cosine of directions that have nothing in common.
fn unrelated(least: f64, hits: usize) -> f64 {
    least.min(least * (hits as f64 / TELLING as f64).min(1.0))
}

fn stretched(score: f64, least: f64, most: f64) -> f64 {
    FLOOR + (1.0 - FLOOR) * ((score - least) / (most - least)).clamp(0.0, 1.0)
}

fn range(leg: &[(ChunkId, f64)]) -> (f64, f64) {
    leg.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), (_, score)| {
        (least.min(*score), most.max(*score))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> ChunkId {
        ChunkId(number)
    }

    #[test]
    fn a_leg_of_equals_counts_in_full() {
        let one = [(id(1), 0.3)];
        let fused = fuse(Some(&one), Some(&[]), Fusion::PROSE);
        assert_eq!(fused[&id(1)].score, 0.5);
        let fused = fuse(Some(&one), None, Fusion::PROSE);
        assert_eq!(fused[&id(1)].score, 1.0, "a leg that was not asked takes nothing away");
    }

    #[test]
    fn ranks_fuse_as_published() {
        let (lexical, dense) = ([(id(1), 9.0), (id(2), 8.0)], [(id(2), 0.9), (id(3), 0.1)]);
        let fused = fuse(Some(&lexical), Some(&dense), Fusion::Reciprocal { k: 60.0 });
        let score = |number| fused[&id(number)].score * 2.0 / 61.0;
        for (number, expected) in [(1, 1.0 / 61.0), (2, 1.0 / 62.0 + 1.0 / 61.0), (3, 1.0 / 62.0)] {
            assert!((score(number) - expected).abs() < 1e-12);
        }
    }

    fn meaning(cosines: &[f64]) -> Vec<f64> {
        let leg: Vec<_> = (1..).zip(cosines).map(|(number, cosine)| (id(number), *cosine)).collect();
        fuse(None, Some(&leg), Fusion::PROSE).values().map(|fused| fused.score).collect()
    }

    #[test]
    fn of_a_few_hits_by_meaning_the_worst_is_worth_what_it_is() {
        for (cosines, worst) in [(&[0.82, 0.80][..], 0.975), (&[0.6, 0.3], 0.495), (&[0.5, 0.0], 1e-3)] {
            let scores = meaning(cosines);
            assert_eq!(scores[0], 1.0);
            assert!((scores[1] - worst).abs() < 1e-3, "{cosines:?} {scores:?}");
        }
    }

    #[test]
    fn the_worst_of_a_hundred_by_meaning_is_where_the_scale_begins() {
        for hits in [100, 101, 400] {
            // Models whose unrelated texts are alike, and models whose are not.
            for least in [0.7, 0.0, -0.2] {
                let cosines: Vec<f64> = (0..hits)
                    .map(|place| 0.9 - (0.9 - least) * f64::from(place) / f64::from(hits - 1))
                    .collect();
                let scores = meaning(&cosines);
                assert!(
                    (scores[0] - 1.0).abs() < 1e-12 && (scores[scores.len() - 1] - FLOOR).abs() < 1e-9,
                    "{hits} {least}"
                );
            }
        }
    }

    #[test]
    fn cosines_below_0_keep_their_order() {
        let scores = meaning(&[-0.1, -0.2, -0.3]);
        assert!(scores.is_sorted_by(|one, other| other < one), "{scores:?}");
        assert_eq!(meaning(&[0.0, 0.0]), [1.0, 1.0]);
    }

    fn leg() -> impl Strategy<Value = Vec<(ChunkId, f64)>> {
        proptest::collection::btree_map(0u128..12, -1.0f64..30.0, 0..12).prop_map(|scores| {
            let mut leg: Vec<_> = scores.into_iter().map(|(chunk, score)| (ChunkId(chunk), score)).collect();
            leg.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
            leg
        })
    }

    proptest! {
        #[test]
        fn better_in_every_leg_is_better_fused(lexical in leg(), dense in leg(), alpha in 0.01f64..0.99, ranks: bool) {
            let fusion = if ranks { Fusion::Reciprocal { k: 60.0 } } else { Fusion::Convex { alpha } };
            let fused = fuse(Some(&lexical), Some(&dense), fusion);
            let score = |leg: Option<Leg>| leg.map_or(f64::NEG_INFINITY, |leg| leg.score);
            for one in fused.values() {
                prop_assert!((0.0..=1.0).contains(&one.score) && 0.0 < one.score);
                for other in fused.values() {
                    let (words, meaning) = (score(one.lexical), score(one.dense));
                    if score(other.lexical) < words && score(other.dense) < meaning {
                        prop_assert!(other.score < one.score, "{other:?} {one:?}");
                    }
                }
            }
        }
    }
}
