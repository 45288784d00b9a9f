//! How long to wait before the next attempt.

use std::time::Duration;

/// How a delay is spread, so that callers that failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anywhere from nothing to the delay.
    #[default]
    Full,
    /// Anywhere from half the delay to the delay.
    Equal,
}

/// Exponential backoff: `min(cap, base × factor^attempt)`, in whole milliseconds, spread by [`Jitter`].
///
/// Jitter after M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    base_ms: u64,
    factor: f64,
    cap_ms: u64,
    jitter: Jitter,
}

/// A policy or a fraction that describes no delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backoff: {rule}")]
pub struct InvalidPolicy {
    rule: &'static str,
}

impl Backoff {
    /// A policy whose first delay is `base`. Both durations are cut to whole milliseconds.
    ///
    /// # Errors
    /// A factor below 1 or not finite; a cap below the base or above `u64::MAX` milliseconds.
    pub fn new(base: Duration, factor: f64, cap: Duration, jitter: Jitter) -> Result<Self, InvalidPolicy> {
        let refuse = |rule| Err(InvalidPolicy { rule });
        if !factor.is_finite() || factor < 1.0 {
            return refuse("the factor must be finite and at least 1");
        }
        if cap < base {
            return refuse("the cap must be at least the base");
        }
        match (u64::try_from(base.as_millis()), u64::try_from(cap.as_millis())) {
            (Ok(base_ms), Ok(cap_ms)) => Ok(Self { base_ms, factor, cap_ms, jitter }),
            _ => refuse("the cap is longer than a delay can be"),
        }
    }

    /// The delay before the attempt after `attempt`, counted from 0. Saturates at the cap.
    ///
    /// `u` is the randomness, in [0, 1): see [`id_source::unit`](crate::id_source::unit). Without jitter it is checked and
    /// not used.
    ///
    /// # Errors
    /// `u` outside [0, 1).
    pub fn delay(&self, attempt: u32, u: f64) -> Result<Duration, InvalidPolicy> {
        if !(0.0..1.0).contains(&u) {
            return Err(InvalidPolicy { rule: "the random fraction must be at least 0 and below 1" });
        }
        // Casts from floating point saturate, and no operand is negative. 0 × infinity is not a number, and no base means no delay.
        let grown =
            if self.base_ms == 0 { 0.0 } else { self.base_ms as f64 * self.factor.powf(f64::from(attempt)) };
        let full = (grown as u64).min(self.cap_ms);
        let millis = match self.jitter {
            Jitter::None => full,
            Jitter::Full => (u * full as f64) as u64,
            Jitter::Equal => (full as f64 / 2.0 + u * full as f64 / 2.0) as u64,
        };
        Ok(Duration::from_millis(millis.min(full)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn delays_grow_to_the_cap() {
        let backoff = Backoff::new(MS(100), 2.0, MS(30_000), Jitter::None).unwrap();
        for (attempt, ms) in
            [(0, 100), (3, 800), (8, 25_600), (9, 30_000), (1000, 30_000), (u32::MAX, 30_000)]
        {
            assert_eq!(backoff.delay(attempt, 0.0), Ok(MS(ms)), "{attempt}");
        }
        let none = Backoff::new(MS(0), 2.0, MS(1000), Jitter::None).unwrap();
        assert_eq!(none.delay(u32::MAX, 0.0), Ok(MS(0)));
    }

    #[test]
    fn jitter_spreads_as_named() {
        for (jitter, u, ms) in [
            (Jitter::Full, 0.0, 0),
            (Jitter::Full, 0.25, 800),
            (Jitter::Equal, 0.0, 1600),
            (Jitter::Equal, 0.25, 2000),
        ] {
            let backoff = Backoff::new(MS(100), 2.0, MS(30_000), jitter).unwrap();
            assert_eq!(backoff.delay(5, u), Ok(MS(ms)), "{jitter:?} {u}");
        }
    }

    #[test]
    fn what_describes_no_delay_is_refused() {
        for factor in [0.99, 0.0, -2.0, f64::NAN, f64::INFINITY] {
            assert!(Backoff::new(MS(1), factor, MS(2), Jitter::None).is_err(), "{factor}");
        }
        assert!(Backoff::new(MS(100), 2.0, MS(50), Jitter::None).is_err());
        assert!(Backoff::new(MS(0), 2.0, Duration::MAX, Jitter::None).is_err());
        let backoff = Backoff::new(MS(1), 2.0, MS(2), Jitter::None).unwrap();
        for u in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
            assert!(backoff.delay(0, u).is_err(), "{u}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_never_passes_the_cap_nor_shrinks_with_attempts(
            base in 0u64..10_000, more in 0u64..u64::MAX / 2, factor in 1.0f64..10.0, attempt: u32, u in 0.0f64..1.0,
        ) {
            let cap = MS(base + more);
            for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
                let backoff = Backoff::new(MS(base), factor, cap, jitter).unwrap();
                let delay = backoff.delay(attempt, u).unwrap();
                prop_assert!(delay <= cap);
                prop_assert!(delay <= backoff.delay(attempt.saturating_add(1), u).unwrap());
            }
        }
    }
}
