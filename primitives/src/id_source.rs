//! The one seam through which randomness enters.
//!
//! Identifiers, nonces and jitter are drawn from an [`IdSource`], so a run can be repeated under [`SeededIds`] and gives
//! the same bytes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

use crate::{Digest, Timestamp};

/// The machine has no randomness to give. Whoever meets this refuses what needed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct NoRandomness;

/// Gives bits that nobody has seen before.
pub trait IdSource: fmt::Debug + Send + Sync {
    /// 128 fresh bits.
    ///
    /// # Errors
    /// [`NoRandomness`] when there are none; never a repeated or guessable value instead.
    fn bits(&self) -> Result<[u8; 16], NoRandomness>;
}

/// The randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    fn bits(&self) -> Result<[u8; 16], NoRandomness> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|_| NoRandomness)?;
        Ok(bits)
    }
}

/// The same bits in the same order for the same seed: for tests and replays, never where an id must not be guessed.
#[derive(Debug, Default)]
pub struct SeededIds {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededIds {
    /// A source that starts over for this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl IdSource for SeededIds {
    fn bits(&self) -> Result<[u8; 16], NoRandomness> {
        // `Relaxed`: each draw needs a number of its own, and orders nothing else.
        let draw = self.drawn.fetch_add(1, Ordering::Relaxed);
        let input = (u128::from(self.seed) << 64 | u128::from(draw)).to_be_bytes();
        let digest = Digest::of("agent-os primitives seeded-ids v1", &input);
        Ok(*digest.as_bytes().first_chunk().ok_or(NoRandomness)?)
    }
}

/// A fraction in [0, 1) with 53 random bits: the `u` of [`Backoff::delay`](crate::Backoff::delay).
///
/// # Errors
/// [`NoRandomness`].
pub fn unit(ids: &dyn IdSource) -> Result<f64, NoRandomness> {
    let bits = u128::from_be_bytes(ids.bits()?) >> (128 - 53);
    Ok(bits as f64 / (1u64 << 53) as f64)
}

/// A UUID of version 7 (RFC 9562, section 5.7): milliseconds, then the fraction of a millisecond in the twelve bits of
/// `rand_a` (section 6.2, method 3), then 62 random bits. Ids of later microseconds sort later.
///
/// A time before 1970 counts as 1970.
///
/// # Errors
/// [`NoRandomness`].
pub fn uuid_v7(now: Timestamp, ids: &dyn IdSource) -> Result<Uuid, NoRandomness> {
    let micros = u64::try_from(now.as_micros()).unwrap_or(0);
    let [.., a, b, c, d, e, f, g, h] = ids.bits()?;
    // 1000 steps spread over 4096: monotonic, and the version nibble overwrites nothing of it.
    let [high, low] = u16::try_from(micros % 1000 * 4096 / 1000).unwrap_or(0).to_be_bytes();
    Ok(Builder::from_unix_timestamp_millis(micros / 1000, &[high, low, a, b, c, d, e, f, g, h]).into_uuid())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draw = |seed| {
            let ids = SeededIds::new(seed);
            [ids.bits().unwrap(), ids.bits().unwrap()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7)[0], draw(7)[1]);
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(SystemIds.bits().unwrap(), SystemIds.bits().unwrap());
    }

    #[test]
    fn an_id_carries_its_time_and_version() {
        let id = uuid_v7(Timestamp::from_micros(1_769_008_740_500_999), &SeededIds::new(1)).unwrap();
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert!(id.to_string().starts_with("019be123-3894-7ffb-"), "{id}");
    }

    proptest! {
        #[test]
        fn ids_sort_by_the_microsecond(a in 0i64..1 << 50, b in 0i64..1 << 50, near in 0i64..2000, seed: u64) {
            let ids = SeededIds::new(seed);
            for (a, b) in [(a, b), (a, a + near)].into_iter().filter(|(a, b)| a != b) {
                let (early, late) = (a.min(b), a.max(b));
                let id = |micros| uuid_v7(Timestamp::from_micros(micros), &ids).unwrap();
                prop_assert!(id(early) < id(late));
            }
        }

        #[test]
        fn a_fraction_is_below_one(seed: u64) {
            let fraction = unit(&SeededIds::new(seed)).unwrap();
            prop_assert!((0.0..1.0).contains(&fraction));
        }
    }
}
