//! Durations as people write them in a policy: a whole number and a unit.

use std::time::Duration;

use crate::suggest;

/// Longest duration that can be written.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// The units, and the milliseconds in each. A day is 24 hours.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Most characters of a refused text that an error repeats.
const MAX_SHOWN: usize = 32;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDuration {
    /// Nothing there.
    #[error("the duration is empty; write one like `30s`")]
    Empty,
    /// A number alone, which some would read as seconds and some as milliseconds.
    #[error("`{number}` has no unit; write `{number}s` for seconds, or use `ms`, `m`, `h` or `d`")]
    NoUnit {
        /// The number as written.
        number: String,
    },
    /// A unit nobody defined.
    #[error("unknown unit `{unit}`; units are `ms`, `s`, `m`, `h` and `d`{}", suggest::hint(*nearest))]
    UnknownUnit {
        /// The unit as written, cut to 32 characters.
        unit: String,
        /// The unit it may have meant.
        nearest: Option<&'static str>,
    },
    /// No whole number in front: a sign, a fraction, a space or a word.
    #[error("`{text}` does not start with a whole number; write one like `30s`")]
    NotANumber {
        /// The text as written, cut to 32 characters.
        text: String,
    },
    /// Longer than [`MAX_DURATION`].
    #[error("`{text}` is longer than 366 days")]
    TooLong {
        /// The text as written, cut to 32 characters.
        text: String,
    },
}

/// Parses `250ms`, `30s`, `5m`, `1h` or `1d`: ASCII digits and a unit, nothing between, before or after. Zero is allowed.
///
/// # Errors
/// See [`BadDuration`]; a number without a unit is refused with the ways it could have been written.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    if text.is_empty() {
        return Err(BadDuration::Empty);
    }
    let shown = |text: &str| text.chars().take(MAX_SHOWN).collect::<String>();
    let unit = text.trim_start_matches(|first: char| first.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or(text);
    if number.is_empty() || unit.starts_with(['.', ',', '_']) {
        return Err(BadDuration::NotANumber { text: shown(text) });
    }
    if unit.is_empty() {
        return Err(BadDuration::NoUnit { number: shown(number) });
    }
    let millis_per_unit = unit_millis(unit)
        .ok_or_else(|| BadDuration::UnknownUnit { unit: shown(unit), nearest: spelled_out(unit) })?;
    number
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(millis_per_unit))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| BadDuration::TooLong { text: shown(text) })
}

fn unit_millis(unit: &str) -> Option<u64> {
    UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, millis)| millis)
}

/// The unit that a longer word stands for.
fn spelled_out(word: &str) -> Option<&'static str> {
    let words = [
        ("ms", ["msec", "millis", "milliseconds"]),
        ("s", ["sec", "secs", "seconds"]),
        ("m", ["min", "mins", "minutes"]),
        ("h", ["hr", "hour", "hours"]),
        ("d", ["day", "days", "d"]),
    ];
    let word = word.trim().to_ascii_lowercase();
    words
        .into_iter()
        .find(|(unit, long)| *unit == word || long.contains(&word.as_str()))
        .map(|(unit, _)| unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        let cases = [("0s", 0), ("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_duration("366d"), Ok(MAX_DURATION));
    }

    #[test]
    fn anything_else_is_refused_with_help() {
        let cases = [
            ("", "the duration is empty; write one like `30s`"),
            ("30", "`30` has no unit; write `30s` for seconds, or use `ms`, `m`, `h` or `d`"),
            ("30sec", "unknown unit `sec`; units are `ms`, `s`, `m`, `h` and `d`; did you mean `s`?"),
            ("5M", "unknown unit `M`; units are `ms`, `s`, `m`, `h` and `d`; did you mean `m`?"),
            ("5 m", "unknown unit ` m`; units are `ms`, `s`, `m`, `h` and `d`; did you mean `m`?"),
            ("1h30m", "unknown unit `h30m`; units are `ms`, `s`, `m`, `h` and `d`"),
            ("1.5h", "`1.5h` does not start with a whole number; write one like `30s`"),
            ("-1s", "`-1s` does not start with a whole number; write one like `30s`"),
            ("s", "`s` does not start with a whole number; write one like `30s`"),
            ("367d", "`367d` is longer than 366 days"),
            ("99999999999999999999d", "`99999999999999999999d` is longer than 366 days"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_duration_is_bounded(text in "[0-9]{0,24}.{0,4}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(duration <= MAX_DURATION);
            }
        }
    }
}
