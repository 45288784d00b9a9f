//! Byte pair encoding with the merges of a table.

use std::collections::HashMap;
use std::fmt;

use super::scan::Piece;

/// One token for each line, in the order of their merging: those of `o200k_base` with two bytes and more and a rank below
/// 8192; all of one letter from U+2E80 on, with or without a blank before it, and of two such letters below rank 120,000;
/// and the beginnings of such letters. Blanks, signs that cannot be seen, parts of letters and `%` are two digits after a `%`.
///
/// The vocabulary is published with the program tiktoken under the MIT licence.
const TABLE: &str = include_str!("o200k.txt");

/// Longest run of bytes that is joined; longer ones are joined in parts, which counts a few tokens more.
const WINDOW: usize = 128;

/// Ranks of tokens; the lowest rank is joined first.
pub(super) struct Merges(HashMap<Box<[u8]>, u32>);

impl Merges {
    pub(super) fn built_in() -> Self {
        // A line that could not be read would be left out, which counts more and not less.
        Self((0..).zip(TABLE.lines()).filter_map(|(rank, line)| Some((token(line)?.into(), rank))).collect())
    }

    pub(super) fn tokens(&self, piece: Piece<'_>) -> usize {
        match piece {
            Piece::Known(text) if self.0.contains_key(text.as_bytes()) => 1,
            Piece::Known(text) => text.as_bytes().chunks(WINDOW).map(|bytes| self.joined(bytes)).sum(),
            Piece::Unknown(sign) => sign.len_utf8(),
        }
    }

    /// How many parts are left when nothing can be joined any more.
    fn joined(&self, bytes: &[u8]) -> usize {
        let mut starts: Vec<usize> = (0..=bytes.len()).collect();
        let rank = |starts: &[usize], place: usize| {
            let pair = bytes.get(*starts.get(place)?..*starts.get(place + 2)?)?;
            self.0.get(pair).copied()
        };
        // Of each part and the one after it.
        let mut ranks: Vec<Option<u32>> = (1..bytes.len()).map(|place| rank(&starts, place - 1)).collect();
        loop {
            let best = ranks.iter().enumerate().filter_map(|(place, rank)| Some(((*rank)?, place))).min();
            let Some((_, place)) = best else { return starts.len() - 1 };
            starts.remove(place + 1);
            ranks.remove(place);
            for near in place.saturating_sub(1)..=place {
                if let Some(known) = ranks.get_mut(near) {
                    *known = rank(&starts, near);
                }
            }
        }
    }
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Merges").field(&self.0.len()).finish()
    }
}

/// The bytes that a line of the table stands for.
fn token(line: &str) -> Option<Vec<u8>> {
    let mut bytes = line.bytes();
    let mut token = Vec::new();
    while let Some(byte) = bytes.next() {
        token.push(match byte {
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(token)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The table as it follows from the whole vocabulary, given by rank.
#[cfg(all(test, feature = "tiktoken"))]
pub(in crate::tokens) fn table(vocabulary: impl Iterator<Item = Vec<u8>>) -> (String, &'static str) {
    let far = |text: &str| {
        let letters = text.strip_prefix(' ').unwrap_or(text);
        (letters.chars().all(|letter| '\u{2e80}' <= letter)).then(|| letters.chars().count())
    };
    let kept = |rank: usize, token: &[u8]| match std::str::from_utf8(token) {
        _ if rank < 8192 => true,
        Ok(text) => matches!((far(text), rank), (Some(1), _) | (Some(2), ..120_000)),
        Err(_) => token.len() <= 3 && token.first().is_some_and(|first| 0xe3 <= *first),
    };
    let line = |token: &[u8]| match std::str::from_utf8(token) {
        Ok(text) => text.chars().map(shown).collect::<String>(),
        Err(_) => token.iter().map(|byte| format!("%{byte:02X}")).collect(),
    };
    let tokens = vocabulary.enumerate().filter(|(rank, token)| 1 < token.len() && kept(*rank, token));
    (tokens.map(|(_, token)| line(&token) + "\n").collect(), TABLE)
}

#[cfg(all(test, feature = "tiktoken"))]
fn shown(sign: char) -> String {
    if sign == '%' || sign.is_whitespace() || sign.is_control() || !sign.is_ascii() && !sign.is_alphanumeric()
    {
        let mut bytes = [0; 4];
        return sign.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
    }
    sign.to_string()
}
