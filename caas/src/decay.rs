//! What age makes of relevance.

use std::collections::BTreeMap;

use agent_primitives::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Metadata, SourceKind};

/// How a score fades with the age of a document.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Curve {
    /// `1 - weight + weight * 0.5^(age / half_life)`: age never takes more than `weight`.
    Bounded,
    /// `1 / (1 + age / half_life)`, of the whole score; for those who come from a system with this curve.
    Hyperbolic,
    /// `1 - age / (2 * half_life)`, not below 0; as above.
    Linear,
}

/// How the documents of an index age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decay {
    /// The curve.
    pub curve: Curve,
    /// The most that age takes under [`Curve::Bounded`], 0 to 1.
    pub weight: f64,
    /// Days until half of it is taken, for each kind of source. What is not listed does not age.
    pub half_lives: BTreeMap<SourceKind, f64>,
}

/// Settings that age nothing, or wrongly.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDecay {
    /// A weight that is no part.
    #[error("the weight of age is 0 to 1, not `{0}`")]
    Weight(f64),
    /// A half-life that is no time.
    #[error("a half-life is a number of days above 0, not `{0}`")]
    HalfLife(f64),
}

impl BadDecay {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Weight(_) => "AK0782",
            Self::HalfLife(_) => "AK0783",
        }
    }
}

/// What age makes of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recency {
    /// What the score is multiplied by, 0 to 1.
    pub factor: f64,
    /// Whether the age had to be assumed: there is no time, or one more than a day ahead.
    pub age_unknown: bool,
}

const DAY: f64 = 24.0 * 3600.0 * 1e6;

impl Decay {
    /// Nothing ages.
    pub const NONE: Self = Self { curve: Curve::Bounded, weight: 0.25, half_lives: BTreeMap::new() };

    /// Half-lives in days by kind of source, a quarter of the score at most: logs and incidents 30, chat 60, tickets and code
    /// 90, documents 365, where nobody said 180.
    #[must_use]
    pub fn usual() -> Self {
        use SourceKind::{
            CodeComments, MeetingNotes, OfficialDocs, PracticalLogs, Runbook, TeamChat, Ticket, Unknown, Wiki,
        };
        let half_lives = [
            (OfficialDocs, 365.0),
            (PracticalLogs, 30.0),
            (TeamChat, 60.0),
            (CodeComments, 90.0),
            (Ticket, 90.0),
            (Runbook, 365.0),
            (Wiki, 365.0),
            (MeetingNotes, 60.0),
            (Unknown, 180.0),
        ];
        Self { half_lives: half_lives.into(), ..Self::NONE }
    }

    /// Whether it can be gone by.
    ///
    /// # Errors
    /// [`BadDecay`].
    pub fn check(&self) -> Result<(), BadDecay> {
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(BadDecay::Weight(self.weight));
        }
        match self.half_lives.values().find(|days| !(days.is_finite() && 0.0 < **days)) {
            Some(days) => Err(BadDecay::HalfLife(*days)),
            None => Ok(()),
        }
    }

    /// What its age at `now` makes of a document. Its age counts from when it was last changed, or else written. Where that
    /// is not known, one half-life is assumed.
    #[must_use]
    pub fn recency(&self, metadata: &Metadata, now: Timestamp) -> Recency {
        let Some(half_life) = self.half_lives.get(&metadata.source.kind).copied() else {
            return Recency { factor: 1.0, age_unknown: false };
        };
        let changed = metadata.updated_at.or(metadata.created_at);
        let age = changed.map(|time| (now.as_micros() as f64 - time.as_micros() as f64) / DAY);
        // Clocks differ by a little; by more than a day the time is wrong.
        let known = age.filter(|age| -1.0 <= *age).map(|age| age.max(0.0));
        let lives = known.map_or(1.0, |age| age / half_life);
        let factor = match self.curve {
            Curve::Bounded => 1.0 - self.weight + self.weight * (-lives).exp2(),
            Curve::Hyperbolic => 1.0 / (1.0 + lives),
            Curve::Linear => (1.0 - lives / 2.0).max(0.0),
        };
        Recency { factor, age_unknown: known.is_none() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Classification, Source};

    const NOW: &str = "2026-06-01T00:00:00Z";

    fn aged(days: f64) -> Metadata {
        let now: Timestamp = NOW.parse().unwrap();
        let mut metadata = Metadata::new(Source::of(SourceKind::Ticket), Classification::Public);
        metadata.updated_at = Some(Timestamp::from_micros(now.as_micros() - (days * DAY) as i64));
        metadata
    }

    fn score(relevance: f64, days: f64) -> f64 {
        relevance * Decay::usual().recency(&aged(days), NOW.parse().unwrap()).factor
    }

    #[test]
    fn yesterday_at_eighty_beats_last_year_at_ninety_five_but_not_at_fifty() {
        assert!((score(0.80, 1.0) - 0.7985).abs() < 1e-4);
        assert!((score(0.95, 365.0) - 0.7268).abs() < 1e-4);
        assert!((score(1.0, 31.0) - 0.947).abs() < 1e-3);
        assert!(score(0.50, 1.0) < score(0.95, 365.0));
    }

    #[test]
    fn what_has_no_time_is_one_half_life_old() {
        let now = NOW.parse().unwrap();
        let mut metadata = aged(0.0);
        metadata.updated_at = None;
        let assumed = Recency { factor: 0.875, age_unknown: true };
        assert_eq!(Decay::usual().recency(&metadata, now), assumed);
        assert_eq!(Decay::usual().recency(&aged(-2.0), now), assumed, "the future is not known");
        assert_eq!(Decay::usual().recency(&aged(-0.5), now), Recency { factor: 1.0, age_unknown: false });
        metadata.created_at = aged(90.0).updated_at;
        assert!(!Decay::usual().recency(&metadata, now).age_unknown);
        assert_eq!(Decay::NONE.recency(&metadata, now), Recency { factor: 1.0, age_unknown: false });
    }

    #[test]
    fn settings_are_checked() {
        let set =
            |weight, days| Decay { weight, half_lives: [(SourceKind::Wiki, days)].into(), ..Decay::NONE };
        assert_eq!(set(0.5, 1.0).check(), Ok(()));
        for bad in
            [set(1.5, 1.0), set(f64::NAN, 1.0), set(0.5, 0.0), set(0.5, f64::NAN), set(0.5, f64::INFINITY)]
        {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_older_is_never_the_fresher(young in 0.0f64..4000.0, more in 0.0f64..4000.0, curve in 0usize..3) {
            let curve = [Curve::Bounded, Curve::Hyperbolic, Curve::Linear][curve];
            let decay = Decay { curve, ..Decay::usual() };
            let factor = |days| decay.recency(&aged(days), NOW.parse().unwrap()).factor;
            prop_assert!(factor(young + more) <= factor(young));
            prop_assert!((0.0..=1.0).contains(&factor(young)));
        }
    }
}
