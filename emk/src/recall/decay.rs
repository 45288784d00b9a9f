//! What age and use do to a memory.

use agent_primitives::Timestamp;

/// Days after which an episode that was never recalled keeps `1/e` of its retention.
pub const BASE_STABILITY_DAYS: f64 = 7.0;
/// What each recall multiplies that by.
pub const STABILITY_GROWTH: f64 = 1.5;
/// The most it grows to.
pub const MAX_STABILITY_DAYS: f64 = 365.0;
/// What an hour leaves of recency, as in Generative Agents (Park et al. 2023).
pub const RECENCY_PER_HOUR: f64 = 0.995;

/// How well an episode is remembered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retention {
    /// `S = min(7 * 1.5^accesses, 365)`, in days.
    pub stability_days: f64,
    /// `R = exp(-days / S)`, 0 to 1 (Ebbinghaus' curve).
    pub share: f64,
}

/// The retention of something last seen `days` ago and recalled `accesses` times. A time in the future counts as now.
#[must_use]
pub fn retention(days: f64, accesses: u32) -> Retention {
    let grown = BASE_STABILITY_DAYS * STABILITY_GROWTH.powi(i32::try_from(accesses).unwrap_or(i32::MAX));
    let stability_days = grown.min(MAX_STABILITY_DAYS);
    Retention { stability_days, share: (-days.max(0.0) / stability_days).exp() }
}

/// `0.6 * relevance + 0.25 * 0.995^age_hours + 0.15 * importance / 100`: relevance 0 to 1, an age below 0 counts as 0.
#[must_use]
pub fn composite(relevance: f64, age_hours: f64, importance: u8) -> f64 {
    0.6 * relevance + 0.25 * recency(age_hours) + 0.15 * f64::from(importance) / 100.0
}

/// `0.995^age_hours`.
#[must_use]
pub fn recency(age_hours: f64) -> f64 {
    RECENCY_PER_HOUR.powf(age_hours.max(0.0))
}

/// Hours from one time to a later one; below 0 if it is earlier.
pub(super) fn hours_between(earlier: Timestamp, later: Timestamp) -> f64 {
    // The difference of two times need not fit a time.
    (later.as_micros() as f64 - earlier.as_micros() as f64) / 3.6e9
}
