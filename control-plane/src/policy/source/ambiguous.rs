//! Plain text that other readers of YAML, those of version 1.1 above all, take for something else.

/// What `text`, which is text in YAML 1.2, is read as elsewhere; `None` if it is text everywhere.
pub(super) fn read_elsewhere_as(text: &str) -> Option<&'static str> {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.strip_prefix(['-', '+']).unwrap_or(&lower);
    if WORDS.contains(&lower.as_str()) {
        Some("a boolean or null")
    } else if base_prefixed(unsigned) || underscored(unsigned) {
        Some("a number")
    } else if sexagesimal(unsigned) {
        Some("a number in base 60")
    } else if date(&lower) {
        Some("a date")
    } else {
        None
    }
}

fn base_prefixed(text: &str) -> bool {
    let digits = ["0b", "0o", "0x"].iter().find_map(|prefix| text.strip_prefix(prefix));
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'_'))
}

/// `1_000`, `0_7`, `1_0.5e+3`.
fn underscored(text: &str) -> bool {
    let plain = text.replace('_', "");
    let number = |byte: u8| byte.is_ascii_digit() || b".e+-".contains(&byte);
    text.contains('_')
        && text.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && plain.bytes().any(|byte| byte.is_ascii_digit())
        && plain.bytes().all(number)
}

/// `1:30`, `12:30:45.5`.
fn sexagesimal(text: &str) -> bool {
    let (first, rest) = text.split_once(':').unwrap_or((text, ""));
    let digits = |text: &str, more: &[u8]| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || more.contains(&byte))
    };
    digits(first, b"_") && digits(rest, b"_.:")
}

/// `2001-12-14`, alone or before a time.
fn date(text: &str) -> bool {
    let day = text.split_once(['t', ' ', '\t']).map_or(text, |(day, _)| day);
    let lengths = [4..=4, 1..=2, 1..=2];
    let parts: Vec<&str> = day.split('-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| {
            length.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
}
