//! Units, and what one of each is in the base of its kind.

/// What a number measures. Numbers of different kinds are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dimension {
    /// Time, in seconds.
    Duration,
    /// Memory and storage, in bytes.
    Bytes,
    /// Parts of a hundred.
    Percent,
    /// Things of one name, which is told apart elsewhere.
    Count,
    /// Things of one name in a second.
    Rate,
    /// Bytes in a second.
    Throughput,
    /// A number of no unit, such as a status code.
    Bare,
}

/// What one of a unit is in the base of its kind. `GiB` and `GB` are not the same: the first is 2^30 bytes, the second 10^9
/// (IEC 80000-13); `m` is minutes, as people write it of times.
pub(super) fn unit(word: &str) -> Option<(Dimension, f64)> {
    let known = match word {
        "ns" | "nanosecond" | "nanoseconds" => (Dimension::Duration, 1e-9),
        "us" | "µs" | "μs" | "microsecond" | "microseconds" => (Dimension::Duration, 1e-6),
        "ms" | "msec" | "millisecond" | "milliseconds" | "millis" => (Dimension::Duration, 1e-3),
        "s" | "sec" | "secs" | "second" | "seconds" => (Dimension::Duration, 1.0),
        "m" | "min" | "mins" | "minute" | "minutes" => (Dimension::Duration, 60.0),
        "h" | "hr" | "hrs" | "hour" | "hours" => (Dimension::Duration, 3600.0),
        "d" | "day" | "days" => (Dimension::Duration, 86_400.0),
        "w" | "week" | "weeks" => (Dimension::Duration, 604_800.0),
        // A month and a year of the Gregorian mean: 365.2425 days.
        "month" | "months" => (Dimension::Duration, 2_629_746.0),
        "year" | "years" | "yr" => (Dimension::Duration, 31_556_952.0),
        "byte" | "bytes" => (Dimension::Bytes, 1.0),
        "kb" | "kilobyte" | "kilobytes" => (Dimension::Bytes, 1e3),
        "mb" | "megabyte" | "megabytes" => (Dimension::Bytes, 1e6),
        "gb" | "gigabyte" | "gigabytes" => (Dimension::Bytes, 1e9),
        "tb" | "terabyte" | "terabytes" => (Dimension::Bytes, 1e12),
        "kib" => (Dimension::Bytes, 1024.0),
        "mib" => (Dimension::Bytes, 1_048_576.0),
        "gib" => (Dimension::Bytes, 1_073_741_824.0),
        "tib" => (Dimension::Bytes, 1_099_511_627_776.0),
        "%" | "percent" => (Dimension::Percent, 1.0),
        _ => return None,
    };
    Some(known)
}

/// How often, as the seconds between.
pub(super) fn period(word: &str) -> Option<f64> {
    let unit_of = |word| unit(word).map(|(_, seconds)| seconds);
    match word {
        "hourly" => unit_of("hour"),
        "daily" | "nightly" => unit_of("day"),
        "weekly" => unit_of("week"),
        "monthly" => unit_of("month"),
        "yearly" | "annually" => unit_of("year"),
        _ => None,
    }
}

/// The number that a word stands for.
pub(super) fn spelled(word: &str) -> Option<f64> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    // "one" is a pronoun more often than a number.
    let place = WORDS.iter().position(|known| *known == word && word != "one")?;
    u32::try_from(place).ok().map(f64::from)
}

/// The month, from 1.
pub(super) fn month(word: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let is = |name: &&str| **name == *word || (word.len() == 3 && name.starts_with(word));
    NAMES.iter().position(is).and_then(|place| u8::try_from(place + 1).ok())
}

/// Days since 1970-01-01 of a date of the Gregorian calendar; `None` for one that is not. Howard Hinnant's
/// `days_from_civil`.
pub(super) fn days(year: i64, month: u8, day: u8) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || last < day || !(1900..=2999).contains(&year) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let month = i64::from(month);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + i64::from(day) - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The date of a day, as it is written.
pub(super) fn written(days: i64) -> String {
    let micros = days.saturating_mul(86_400_000_000);
    let text = agent_primitives::Timestamp::from_micros(micros).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
