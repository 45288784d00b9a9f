//! Whether two systems differ by more than chance.

/// The probability of a difference of means at least as large as the one of `a` and `b`, if each pair of figures were
/// swapped by the toss of a coin: the paired randomisation test, two-sided, estimated with `rounds` tosses for each pair
/// (Smucker, Allan and Carterette 2007).
///
/// The tosses follow from `seed` alone. Pairs are by place; what has no partner is left out. Never 0: the order that was
/// seen counts as one of the rounds.
#[must_use]
pub fn randomisation_p(a: &[f64], b: &[f64], rounds: u32, seed: u64) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let seen = differences.iter().sum::<f64>().abs();
    let mut coin = Coin(seed);
    let as_large = (0..rounds).filter(|_| {
        let tossed: f64 = differences.iter().map(|d| if coin.toss() { *d } else { -d }).sum();
        // Sums of the same numbers in another sign may differ in their last bits.
        seen <= tossed.abs() + 1e-12
    });
    (as_large.count() as f64 + 1.0) / (f64::from(rounds) + 1.0)
}

/// `SplitMix64`.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) >> 63 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_always_better_is_not_chance_and_what_is_the_same_may_be() {
        let low: Vec<f64> = (0..20).map(|place| f64::from(place) / 40.0).collect();
        let high: Vec<f64> = low.iter().map(|figure| figure + 0.1).collect();
        assert!(randomisation_p(&high, &low, 2000, 1) < 0.01);
        assert!((randomisation_p(&low, &low, 2000, 1) - 1.0).abs() < 1e-12);
        // Of the 16 outcomes for four equal differences, two are as large.
        let p = randomisation_p(&[1.0; 4], &[0.0; 4], 20_000, 7);
        assert!((p - 0.125).abs() < 0.01, "{p}");
    }
}
