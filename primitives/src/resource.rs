//! What calls use up, and how much of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that calls use up and that budgets count. Amounts are whole numbers of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Tokens of a model.
    Tokens,
    /// Money, in millionths of the currency's main unit: 1 USD is 1 000 000.
    Money(Currency),
    /// Calls.
    Calls,
    /// Bytes moved.
    Bytes,
    /// Time that calls take, in microseconds.
    WallTime,
}

impl Resource {
    /// An amount of this, to be read by people: `12 calls`, `1.5 USD`, `0.25 s`.
    #[must_use]
    pub fn amount(self, amount: u64) -> impl fmt::Display {
        Shown { resource: self, amount }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens => f.write_str("tokens"),
            Self::Money(currency) => currency.fmt(f),
            Self::Calls => f.write_str("calls"),
            Self::Bytes => f.write_str("bytes"),
            Self::WallTime => f.write_str("wall_time"),
        }
    }
}

impl FromStr for Resource {
    type Err = BadAmount;

    /// `tokens`, `calls`, `bytes`, `wall_time`, or the code of a currency.
    fn from_str(text: &str) -> Result<Self, BadAmount> {
        Ok(match text {
            "tokens" => Self::Tokens,
            "calls" => Self::Calls,
            "bytes" => Self::Bytes,
            "wall_time" => Self::WallTime,
            _ => Self::Money(text.parse()?),
        })
    }
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

struct Shown {
    resource: Resource,
    amount: u64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resource {
            Resource::Money(_) => write!(f, "{} {}", Millionths(self.amount), self.resource),
            Resource::WallTime => write!(f, "{} s", Millionths(self.amount)),
            Resource::Tokens | Resource::Calls | Resource::Bytes => {
                write!(f, "{} {}", self.amount, self.resource)
            }
        }
    }
}

/// Prints without needless zeros.
struct Millionths(u64);

impl fmt::Display for Millionths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mut rest) = (self.0 / MILLION, self.0 % MILLION);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let mut digits = 6;
        while rest % 10 == 0 {
            (rest, digits) = (rest / 10, digits - 1);
        }
        write!(f, "{whole}.{rest:0digits$}")
    }
}

const MILLION: u64 = 1_000_000;

/// The code of a currency: three capital letters, as in ISO 4217. Whether there is such a currency is not asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The United States dollar.
    pub const USD: Self = Self(*b"USD");
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters get in.
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl FromStr for Currency {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_uppercase))
            .map(Self)
            .ok_or_else(|| BadAmount::Currency { text: shown(text) })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount of money, exact to a millionth. Written `5 USD` or `0.25 EUR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "an amount and its currency is all there is")]
pub struct Money {
    /// Millionths of the currency's main unit.
    pub micros: u64,
    /// The currency.
    pub currency: Currency,
}

impl FromStr for Money {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let bad = || BadAmount::Money { text: shown(text) };
        let (number, currency) = text.split_once(' ').ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || 6 < fraction.len() {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| bad())?;
        let micros = whole.checked_mul(MILLION).and_then(|micros| micros.checked_add(fraction));
        Ok(Self { micros: micros.ok_or_else(bad)?, currency: currency.parse()? })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Resource::Money(self.currency).amount(self.micros).fmt(f)
    }
}

/// A text that is no amount of anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAmount {
    /// Neither a resource nor three capital letters.
    #[error(
        "`{text}` is neither `tokens`, `calls`, `bytes`, `wall_time` nor the code of a currency like `USD`"
    )]
    Currency {
        /// The text, cut to 32 characters.
        text: String,
    },
    /// No number, more than six decimals, or more than there can be.
    #[error("`{text}` is not an amount of money; write one like `5 USD` or `0.25 EUR`")]
    Money {
        /// The text, cut to 32 characters.
        text: String,
    },
}

fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn money_parses_exactly_or_not_at_all() {
        let cases = [
            ("5 USD", Some(5_000_000)),
            ("0.25 EUR", Some(250_000)),
            ("0.000001 USD", Some(1)),
            ("18446744073709.551615 USD", Some(u64::MAX)),
            ("18446744073709.551616 USD", None),
            ("0.0000001 USD", None),
            ("-1 USD", None),
            ("+1 USD", None),
            ("1e3 USD", None),
            ("1. USD", None),
            (".5 USD", None),
            ("5USD", None),
            ("5 usd", None),
            ("5  USD", None),
            ("5 USDT", None),
        ];
        for (text, micros) in cases {
            assert_eq!(text.parse::<Money>().ok().map(|money| money.micros), micros, "{text}");
        }
    }

    #[test]
    fn amounts_read_well() {
        let cases = [
            (Resource::Calls, 12, "12 calls"),
            (Resource::Money(Currency::USD), 1_500_000, "1.5 USD"),
            (Resource::Money(Currency::USD), 50_000, "0.05 USD"),
            (Resource::WallTime, 250_000, "0.25 s"),
            (Resource::WallTime, 60_000_000, "60 s"),
        ];
        for (resource, amount, shown) in cases {
            assert_eq!(resource.amount(amount).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn money_survives_its_text(micros: u64) {
            let money = Money { micros, currency: Currency::EUR };
            prop_assert_eq!(money.to_string().parse(), Ok(money));
        }
    }
}
