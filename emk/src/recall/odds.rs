//! How bad a record of failures is.

use std::fmt;

use serde::Serialize;

/// The normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// What to make of earlier failures. Ordered by gravity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a host must handle every level")]
pub enum Level {
    /// Nothing speaks against it.
    #[default]
    None,
    /// It failed before, and likely does again.
    Warn,
    /// It failed so often that chance does not explain it.
    Block,
}

impl Level {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The chances of an attempt, from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Odds {
    /// How many failed.
    pub failures: u64,
    /// How many there were, failures included.
    pub attempts: u64,
    /// `(failures + 1) / (attempts + 2)`: the mean of the share that fails, after a prior that knows nothing (Laplace).
    pub posterior: f64,
    /// The lower end of Wilson's 95 % interval for that share.
    pub wilson_low: f64,
    /// [`Level::Block`] from three attempts and a lower end of one half; [`Level::Warn`] from one failure and a mean of one
    /// half.
    pub level: Level,
}

impl Odds {
    /// The odds after `failures` in `attempts`; more failures than attempts count as as many.
    #[must_use]
    pub fn of(failures: u64, attempts: u64) -> Self {
        let attempts = attempts.max(failures);
        let posterior = (failures as f64 + 1.0) / (attempts as f64 + 2.0);
        let wilson_low = wilson_low(failures, attempts);
        let level = if 3 <= attempts && 0.5 <= wilson_low {
            Level::Block
        } else if 1 <= failures && 0.5 <= posterior {
            Level::Warn
        } else {
            Level::None
        };
        Self { failures, attempts, posterior, wilson_low, level }
    }
}

/// The lower end of Wilson's 95 % interval (1927) for a share of `part` in `all`; 0 for none in none.
#[must_use]
pub fn wilson_low(part: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let (all, share) = (all as f64, part.min(all) as f64 / all as f64);
    let square = Z * Z;
    let spread = Z * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    ((share + square / (2.0 * all) - spread) / (1.0 + square / all)).max(0.0)
}
