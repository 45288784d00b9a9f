//! Numbers with a checksum or with ranges that were never given out.

use std::ops::Range;

/// Digits of a card number, fewest and most (ISO/IEC 7812).
const CARD_DIGITS: (usize, usize) = (12, 19);
/// The groups that card numbers are printed in.
const CARD_GROUPS: [&[usize]; 6] =
    [&[4, 4, 4, 4], &[4, 6, 5], &[4, 4, 4, 4, 3], &[4, 6, 4], &[4, 4, 5], &[8, 8]];
/// How far before nine digits something has to say that they are a social security number, in bytes.
const SSN_CONTEXT: usize = 24;

/// Payment card numbers.
pub(super) fn cards(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut groups = groups(text);
    let mut pending: Vec<Range<usize>> = Vec::new();
    std::iter::from_fn(move || {
        loop {
            while pending.len() < 5 {
                match groups.next() {
                    Some(group) => pending.push(group),
                    None => break,
                }
            }
            if pending.is_empty() {
                return None;
            }
            let found = card_length(text, &pending);
            let range = pending.first()?.start..pending.get(found.unwrap_or(1) - 1)?.end;
            pending.drain(..found.unwrap_or(1));
            if found.is_some() {
                return Some(range);
            }
        }
    })
}

/// Runs of digits with no letter, digit or decimal point beside them.
fn groups(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + bytes.get(at..)?.iter().position(u8::is_ascii_digit)?;
            let length = bytes.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
            at = start + length;
            if stands_alone(bytes, &(start..at)) {
                return Some(start..at);
            }
        }
    })
}

fn stands_alone(bytes: &[u8], range: &Range<usize>) -> bool {
    let at = |place: usize| bytes.get(place).copied();
    let (before, after) = (at(range.start.wrapping_sub(1)), at(range.end));
    let digit = |place: usize| at(place).is_some_and(|byte| byte.is_ascii_digit());
    let fraction = (before == Some(b'.') && digit(range.start.wrapping_sub(2)))
        || (after == Some(b'.') && digit(range.end + 1));
    let joined = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    !fraction && !joined(before) && !joined(after)
}

/// How many of the groups, from the first on, are a card number.
fn card_length(text: &str, groups: &[Range<usize>]) -> Option<usize> {
    let first = groups.first()?;
    let whole = std::slice::from_ref(first);
    if (CARD_DIGITS.0..=CARD_DIGITS.1).contains(&first.len()) && is_card(text, whole) {
        return Some(1);
    }
    CARD_GROUPS.iter().map(|lengths| lengths.len()).zip(CARD_GROUPS).find_map(|(count, lengths)| {
        let groups = groups.get(..count)?;
        let fits = groups.iter().map(ExactSizeIterator::len).eq(lengths.iter().copied());
        (fits && one_separator(text, groups) && is_card(text, groups)).then_some(count)
    })
}

/// Whether the groups stand apart by one and the same blank or dash.
fn one_separator(text: &str, groups: &[Range<usize>]) -> bool {
    let mut gaps = groups.windows(2).map(|pair| match pair {
        [left, right] => text.get(left.end..right.start),
        _ => None,
    });
    let first = gaps.next().flatten();
    matches!(first, Some(" " | "-")) && gaps.all(|gap| gap == first)
}

fn is_card(text: &str, groups: &[Range<usize>]) -> bool {
    let mut digits = [0; CARD_DIGITS.1];
    let mut length = 0;
    for byte in groups.iter().filter_map(|group| text.as_bytes().get(group.clone())).flatten() {
        let Some(digit) = digits.get_mut(length) else { return false };
        *digit = byte - b'0';
        length += 1;
    }
    digits.get(..length).is_some_and(|digits| is_issued(digits) && passes_luhn(digits))
}

/// Luhn's test, ISO/IEC 7812-1 annex B.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit @ 0..5) => digit * 2,
            (_, digit) => digit * 2 - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether some issuer gives out numbers of this beginning and length.
fn is_issued(digits: &[u8]) -> bool {
    let Some(head) =
        digits.get(..4).map(|head| head.iter().fold(0u32, |head, digit| head * 10 + u32::from(*digit)))
    else {
        return false;
    };
    let length = digits.len();
    match head {
        // Visa.
        4000..=4999 => matches!(length, 13 | 16 | 19),
        // Mastercard.
        5100..=5599 | 2221..=2720 => length == 16,
        // American Express.
        3400..=3499 | 3700..=3799 => length == 15,
        // Discover.
        6011 | 6440..=6599 => (16..=19).contains(&length),
        // Diners Club.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&length),
        // JCB.
        3528..=3589 => (16..=19).contains(&length),
        // UnionPay.
        6200..=6299 => (16..=19).contains(&length),
        // Mir.
        2200..=2204 => (16..=19).contains(&length),
        // RuPay.
        8100..=8199 => length == 16,
        // Maestro.
        5018 | 5020 | 5038 | 5800..=5899 | 6304 | 6759 | 6761..=6763 => (12..=19).contains(&length),
        _ => false,
    }
}

/// Lengths of account numbers by country, from the IBAN registry (ISO 13616).
const IBAN_LENGTHS: [(&[u8; 2], usize); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// International bank account numbers, together or in groups apart by one blank or dash.
pub(super) fn ibans(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(word) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let start = at;
            let inside_word = start
                .checked_sub(1)
                .and_then(|before| bytes.get(before))
                .is_some_and(u8::is_ascii_alphanumeric);
            if let Some(length) = (!inside_word).then(|| iban_length(word)).flatten() {
                at = start + length;
                return Some(start..at);
            }
            at += 1;
        }
        None
    })
}

/// The length of the account number at the start of a text, separators counted.
fn iban_length(text: &[u8]) -> Option<usize> {
    let [first, second, third, fourth, ..] = text else { return None };
    if !third.is_ascii_digit() || !fourth.is_ascii_digit() {
        return None;
    }
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let wanted = IBAN_LENGTHS.iter().find(|(known, _)| **known == country)?.1;
    let (mut length, mut taken, mut after_separator) = (0, 0, false);
    let (mut head, mut rest) = (0u32, 0u32);
    while taken < wanted {
        let byte = *text.get(length)?;
        length += 1;
        if byte.is_ascii_alphanumeric() {
            let remainder = if taken < 4 { &mut head } else { &mut rest };
            let digit = char::from(byte).to_digit(36)?;
            *remainder = (*remainder * if digit < 10 { 10 } else { 100 } + digit) % 97;
            taken += 1;
            after_separator = false;
        } else if matches!(byte, b' ' | b'-') && !after_separator {
            after_separator = true;
        } else {
            return None;
        }
    }
    // The first four characters count as the last: two letters and two digits are six decimal places.
    let whole = (rest * (1_000_000 % 97) + head) % 97;
    let ends = text.get(length).is_none_or(|after| !after.is_ascii_alphanumeric());
    (whole == 1 && ends).then_some(length)
}

/// Social security numbers.
pub(super) fn ssns(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut groups = groups(text);
    let mut last: [Option<Range<usize>>; 2] = [None, None];
    std::iter::from_fn(move || {
        loop {
            let group = groups.next()?;
            if group.len() == 9 && is_said_to_be_ssn(text, group.start) && is_given_out(text, &group) {
                return Some(group);
            }
            let [area, middle] = &mut last;
            if let (Some(area), Some(middle)) = (area.as_ref(), middle.as_ref())
                && (area.len(), middle.len(), group.len()) == (3, 2, 4)
                && one_separator(text, &[area.clone(), middle.clone(), group.clone()])
                && !is_dashed(text, area.start, group.end)
                && is_given_out(text, &(area.start..group.end))
            {
                let range = area.start..group.end;
                last = [None, None];
                return Some(range);
            }
            *area = middle.take();
            *middle = Some(group);
        }
    })
}

/// Whether the number goes on with a dash on either side.
fn is_dashed(text: &str, start: usize, end: usize) -> bool {
    let dash = |place: usize| text.as_bytes().get(place) == Some(&b'-');
    let digit = |place: usize| text.as_bytes().get(place).is_some_and(u8::is_ascii_digit);
    (dash(start.wrapping_sub(1)) && digit(start.wrapping_sub(2))) || (dash(end) && digit(end + 1))
}

fn is_said_to_be_ssn(text: &str, start: usize) -> bool {
    let context = text.as_bytes().get(start.saturating_sub(SSN_CONTEXT)..start).unwrap_or_default();
    let context = context.to_ascii_lowercase();
    [&b"ssn"[..], b"social security", b"social_security"]
        .iter()
        .any(|name| memchr::memmem::find(&context, name).is_some())
}

/// Whether area, group and serial number were ever given out (Social Security Administration, POMS RM 10201.035).
fn is_given_out(text: &str, range: &Range<usize>) -> bool {
    let digits = text.as_bytes().get(range.clone()).unwrap_or_default();
    let number = digits
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0u32, |number, byte| number * 10 + u32::from(byte - b'0'));
    let (area, group, serial) = (number / 1_000_000, number / 10_000 % 100, number % 10_000);
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0
}
