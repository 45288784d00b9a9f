//! Wall-clock time and its one text form.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Wall-clock time: microseconds since 1970-01-01 UTC.
///
/// Prints as RFC 3339 with six digits and `Z`, and parses from RFC 3339 with any offset. In serde it is the number of
/// microseconds; [`rfc3339`] is the text form for `#[serde(with)]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339 without an offset as UTC. Text that does name an offset is read as [`FromStr`] does.
    ///
    /// Only for records of writers known to have meant UTC: guessing an offset moves an event by hours.
    ///
    /// # Errors
    /// `InvalidTimestamp`.
    pub fn parse_assuming_utc(text: &str) -> Result<Self, BadTimestamp> {
        let (local, offset) = split(text).ok_or(BadTimestamp::InvalidTimestamp)?;
        at_offset(local, offset.unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(time) if YEARS.contains(&time.year()) => {
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
            }
            _ => write!(f, "{} us", self.0),
        }
    }
}

/// Years that RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

/// Why a text is not a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTimestamp {
    /// A date and time, and no offset: it could be any hour of the day.
    #[error("the timestamp has no offset; end it with `Z` or one like `+02:00`")]
    MissingOffset,
    /// Not RFC 3339, a date that no calendar has, 24:00, or a leap second.
    #[error("not an RFC 3339 timestamp; one looks like `2026-01-21T20:49:00Z`")]
    InvalidTimestamp,
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    /// RFC 3339: `T` or `t`, one to nine fraction digits of which six are kept (cut, not rounded), `Z`, `z` or an offset
    /// below 24 hours.
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        match split(text) {
            None => Err(BadTimestamp::InvalidTimestamp),
            Some((_, None)) => Err(BadTimestamp::MissingOffset),
            Some((local, Some(offset))) => at_offset(local, offset),
        }
    }
}

fn at_offset(local: NaiveDateTime, offset_seconds: i64) -> Result<Timestamp, BadTimestamp> {
    let micros = local.and_utc().timestamp_micros() - offset_seconds * 1_000_000;
    // An offset can carry the last day of year 9999 into a year that has no text form.
    match DateTime::<Utc>::from_timestamp_micros(micros) {
        Some(time) if YEARS.contains(&time.year()) => Ok(Timestamp(micros)),
        _ => Err(BadTimestamp::InvalidTimestamp),
    }
}

/// The local date and time, and the offset in seconds if there is one; nothing when the text is not RFC 3339.
fn split(text: &str) -> Option<(NaiveDateTime, Option<i64>)> {
    let mut rest = Digits(text.as_bytes());
    let year = rest.number(4)?;
    let month = rest.one_of(b"-").and_then(|()| rest.number(2))?;
    let day = rest.one_of(b"-").and_then(|()| rest.number(2))?;
    let hour = rest.one_of(b"Tt").and_then(|()| rest.number(2))?;
    let minute = rest.one_of(b":").and_then(|()| rest.number(2))?;
    let second = rest.one_of(b":").and_then(|()| rest.number(2))?;
    let micros = rest.fraction()?;
    let offset = rest.offset()?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    Some((date.and_hms_micro_opt(hour, minute, second, micros)?, offset))
}

/// What is left of the text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn one_of(&mut self, allowed: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        allowed.contains(first).then_some(())
    }

    /// A number of exactly `count` digits.
    fn number(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
    }

    /// Microseconds of a fraction of one to nine digits; zero when there is none.
    fn fraction(&mut self) -> Option<u32> {
        let Some((b'.', after)) = self.0.split_first() else { return Some(0) };
        let count = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        self.0 = after;
        let kept = count.min(6);
        let micros = (kept..6).fold(self.number(kept)?, |micros, _| micros * 10);
        self.number(count - kept)?;
        Some(micros)
    }

    /// Seconds east of UTC, and the end of the text.
    fn offset(&mut self) -> Option<Option<i64>> {
        let sign = match self.0 {
            [] => return Some(None),
            [b'Z' | b'z'] => return Some(Some(0)),
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        self.one_of(b"+-")?;
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        let minutes = self.one_of(b":").and_then(|()| self.number(2)).filter(|minutes| *minutes < 60)?;
        self.0.is_empty().then_some(Some(sign * i64::from(hours * 3600 + minutes * 60)))
    }
}

/// The text form in serde: `#[serde(with = "agent_primitives::timestamp::rfc3339")]`.
pub mod rfc3339 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Timestamp;

    /// Writes RFC 3339.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads RFC 3339 with an offset.
    ///
    /// # Errors
    /// A text that is not one, and those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_are_applied_and_fractions_cut() {
        let cases = [
            ("2026-01-21T20:49:00.5+05:30", "2026-01-21T15:19:00.500000Z"),
            ("2024-02-29T12:00:00.123456999-08:00", "2024-02-29T20:00:00.123456Z"),
            ("2026-01-21t20:49:00z", "2026-01-21T20:49:00.000000Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
            ("2026-01-21T20:49:00-00:00", "2026-01-21T20:49:00.000000Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        assert_eq!("2026-01-21T20:49:00".parse::<Timestamp>(), Err(BadTimestamp::MissingOffset));
        for text in [
            "",
            "2026-01-21",
            "2026-01-21 20:49:00Z",
            "2026-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2026-01-21T24:00:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-21T20:49Z",
            "2026-01-21T20:49:00.Z",
            "2026-01-21T20:49:00.1234567890Z",
            "2026-01-21T20:49:00+24:00",
            "2026-01-21T20:49:00+0530",
            "2026-01-21T20:49:00Z ",
            "+2026-01-21T20:49:00Z",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
            "２026-01-21T20:49:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTimestamp::InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn utc_is_assumed_only_where_nothing_else_is_said() {
        let naive = Timestamp::parse_assuming_utc("2026-01-21T20:49:00.5").unwrap();
        assert_eq!(naive.to_string(), "2026-01-21T20:49:00.500000Z");
        assert_eq!(
            Timestamp::parse_assuming_utc("2026-01-21T20:49:00+01:00"),
            "2026-01-21T19:49:00Z".parse()
        );
    }

    #[test]
    fn a_year_without_text_form_prints_as_a_number() {
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), format!("{} us", i64::MAX));
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in -62_167_219_200_000_000i64..=253_402_300_799_999_999) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn no_text_panics(text in "[0-9TtZz:.+\\-é]{0,40}") {
            let _ = text.parse::<Timestamp>();
            let _ = Timestamp::parse_assuming_utc(&text);
        }
    }
}
