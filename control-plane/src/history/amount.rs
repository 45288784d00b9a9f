//! Exact decimal numbers, for sums.

use serde_json::Number;

/// Digits after the point.
const PLACES: i32 = 18;
const UNIT: i128 = 1_000_000_000_000_000_000;

/// A decimal number with 18 digits after the point, between about -1.7e20 and 1.7e20. A double stands for the shortest
/// decimal that reads back as it, which is what JSON text and people mean by `0.1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(i128);

impl Amount {
    /// The number as an amount; `None` if it has more digits than an amount holds. Nothing is rounded.
    pub(crate) fn of(number: &Number) -> Option<Self> {
        let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match integer {
            Some(integer) => integer.checked_mul(UNIT).map(Self),
            None => Self::of_double(number.as_f64()?),
        }
    }

    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    fn of_double(double: f64) -> Option<Self> {
        // `-1.25e-3`: the shortest digits that read back as the double.
        let text = format!("{double:e}");
        let (digits, exponent) = text.split_once('e')?;
        let exponent: i32 = exponent.parse().ok()?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        let shift = exponent.checked_add(PLACES)?.checked_sub(places)?;
        let factor = 10_i128.checked_pow(u32::try_from(shift).ok()?)?;
        mantissa.checked_mul(factor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(text: &str) -> Option<Amount> {
        Amount::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn decimals_add_up_as_people_write_them() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("0.30000000000000004", "-0.00000000000000004", "0.3"),
            ("9007199254740991", "1", "9007199254740992.0"),
            ("1e20", "-1e20", "0"),
            ("1.5e-7", "0.5e-7", "2e-7"),
            ("-0.0", "0", "0"),
        ];
        for (left, right, sum) in cases {
            let added = amount(left).unwrap().checked_add(amount(right).unwrap());
            assert_eq!(added, amount(sum), "{left} + {right}");
            assert!(added.is_some(), "{left} + {right}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_rounded() {
        for text in ["1e-19", "1.0000000000000002e-3", "1e21", "-1.8e20", "1e300", "5e-324"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn amounts_are_ordered_as_integers_are(left in any::<i64>(), right in any::<i64>()) {
            let (one, other) = (Amount::of(&left.into()).unwrap(), Amount::of(&right.into()).unwrap());
            prop_assert_eq!(one.cmp(&other), left.cmp(&right));
            let sum = i128::from(left) + i128::from(right);
            prop_assert_eq!(one.checked_add(other), Some(Amount(sum * UNIT)));
        }

        #[test]
        fn no_double_panics(bits in any::<u64>()) {
            if let Some(number) = Number::from_f64(f64::from_bits(bits)) {
                let _ = Amount::of(&number);
            }
        }
    }
}
